"""Windows that the engine runs in a row are those that the loop would have opened, and nobody sees a difference."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bridge.batch import EventBatch
from bridge.bus import InProcessBus
from bridge.errors import UserError
from bridge.metrics import WindowMetrics
from bridge.participant import Participant, Spell
from bridge.paths import Paths
from bridge.simtime import NEVER, NS_PER_MS, NS_PER_S
from bridge.window import QuietWindows, Runahead, WindowLoop, WindowRecord
from bridge.window_log import WindowLog
from hot.section import ProcessPlan
from hot.shard import HotShard
from tests.hot.experiment import Experiment, process

Build = Callable[..., Experiment]
App = Callable[[str], Path]

#: Has neither hour nor machine in it.
COMPARED = ("windows.log", "metrics/windows.parquet", "metrics/shards.parquet", "metrics/links.parquet")
STOP_NS = 3 * NS_PER_S + 123_456


class OneByOne:
    """A hot shard that is told of every window."""

    def __init__(self, shard: HotShard) -> None:
        self.next_event_time = shard.next_event_time
        self.run_until = shard.run_until
        self.deliver = shard.deliver
        self.close = shard.close
        self.statistics = shard.statistics
        self.events_executed = shard.events_executed
        self.min_used_latency_ns = shard.min_used_latency_ns
        self.event_fingerprint = shard.event_fingerprint


@pytest.fixture(autouse=True)
def all_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the loop the question whether it is worth while."""
    monkeypatch.setattr("bridge.window._MANY_WINDOWS", 1)


class Tail:
    """Stands for cold identities: has something to do every 7 ms for a second, and answers each packet later."""

    def __init__(self, identity: int) -> None:
        self._identity = identity
        self._times = list(range(NS_PER_S, 2 * NS_PER_S, 7 * NS_PER_MS))
        self._executed = 0
        self.heard = 0

    def next_event_time(self) -> int:
        return min(self._times, default=NEVER)

    def run_until(self, window_end: int) -> EventBatch:
        due = [at for at in self._times if at < window_end]
        self._times = [at for at in self._times if at >= window_end]
        self._executed += len(due)
        return EventBatch.empty()

    def deliver(self, batch: EventBatch) -> None:
        self.heard += len(batch)
        self._times += [int(at) + 2 * NS_PER_MS for at in batch.deliver_time]

    def close(self) -> None:
        pass

    def statistics(self) -> dict[str, object]:
        return {}

    def events_executed(self) -> int:
        return self._executed


class Recorded:
    """A run with the log and the tables of one by the command line."""

    def __init__(
        self, run: Experiment, one_by_one: bool, dynamic: bool, tail: Tail | None, *, inner: bool = False
    ) -> None:
        self.quiet: list[QuietWindows] = []
        self.path = run.path
        participants: list[Participant] = [OneByOne(run.shard) if one_by_one else run.shard]
        if tail is not None:
            participants.append(tail)
        names = ("hot", "cold")[: len(participants)]
        self._log = WindowLog(run.run_directory, names)
        self._metrics = WindowMetrics(run.run_directory, names)
        hot_count = run.directory.hot_count
        self.loop = WindowLoop(
            participants,
            lambda ids: (ids >= hot_count).astype(int),
            InProcessBus(),
            runahead=Runahead(run.paths.min_latency_ns * (10 if inner else 1), dynamic=dynamic),
            stop_time_ns=STOP_NS,
            shard_of=(lambda ids: ids * 0) if inner else None,
            inner_runahead_ns=run.paths.min_latency_ns if inner else None,
            on_window=self._on_window,
            on_quiet_windows=self._on_quiet_windows,
        )

    def _on_window(self, record: WindowRecord) -> None:
        self._log.append(record)
        self._metrics.append(record)

    def _on_quiet_windows(self, windows: QuietWindows) -> None:
        self.quiet.append(windows)
        self._log.append_quiet(windows)
        self._metrics.append_quiet(windows)

    def close(self) -> None:
        self._log.close()
        self._metrics.close()


def plan(app: App) -> list[list[ProcessPlan]]:
    """Plan three hosts with packets 1 and 50 ms long, timers, starts, a shutdown and a stretch in which nothing is."""
    client = app("udp_client")
    return [
        [process(app("udp_echo_server"), "9000"), process("/bin/sleep", "100", start=0.5, shutdown=2.25)],
        [process(client, "a", "9000", "9", start=0.3)],
        [
            process(client, "a", "9000", "300", start=0.9),
            process("/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.003; done", start=2.5),
        ],
    ]


def run_both(
    build: Build, app: App, *, dynamic: bool = False, tail: bool = False, inner: bool = False
) -> list[Recorded]:
    runs = []
    for one_by_one in (True, False):
        hosts = plan(app)
        if tail:
            script = "for i in {1..60}; do echo $i > /dev/udp/100.64.0.0/9; sleep 0.0043; done"
            hosts[1].append(process("/bin/bash", "-c", script, start=1.2))
        run = build(*hosts, stop=4, identities=int(tail))
        stranger = Tail(run.directory.hot_count) if tail else None
        recorded = Recorded(run, one_by_one, dynamic, stranger, inner=inner)
        recorded.loop.run()
        recorded.close()
        run.close()
        if stranger is not None:
            assert stranger.heard == 60
        runs.append(recorded)
    return runs


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("tail", [False, True])
def test_log_and_tables_are_those_of_windows_that_are_run_one_by_one(
    experiment: Build, app: App, tail: bool, dynamic: bool
) -> None:
    one_by_one, in_a_row = run_both(experiment, app, dynamic=dynamic, tail=tail)
    assert not one_by_one.quiet
    assert in_a_row.quiet
    assert in_a_row.loop.window > 300
    for name in COMPARED:
        assert (one_by_one.path / name).read_bytes() == (in_a_row.path / name).read_bytes(), name
    for host in "abc":
        files = [sorted((run.path / "hosts" / host).glob("*.std*")) for run in (one_by_one, in_a_row)]
        assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


@pytest.mark.parametrize("tail", [False, True])
def test_windows_inside_of_windows_are_run_in_a_row_too(
    experiment: Build, app: App, monkeypatch: pytest.MonkeyPatch, tail: bool
) -> None:
    spells: list[int] = []
    run_windows = HotShard.run_windows

    def counted(shard: HotShard, start: int, runahead: int, stop: int, others: int) -> Spell:
        spell = run_windows(shard, start, runahead, stop, others)
        spells.append(len(spell.windows))
        return spell

    monkeypatch.setattr(HotShard, "run_windows", counted)
    one_by_one, in_a_row = run_both(experiment, app, tail=tail, inner=True)
    assert len(spells) < sum(spells)
    inner = pq.read_table(in_a_row.path / "metrics/shards.parquet")["inner"].to_pylist()
    assert sum(inner) > 2 * len(inner)
    for name in COMPARED:
        assert (one_by_one.path / name).read_bytes() == (in_a_row.path / name).read_bytes(), name


def test_windows_before_one_that_fails_are_told(experiment: Build, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    between = Paths.between

    def no_way_across(paths: Paths, source: int, destination: int) -> tuple[int, float]:
        if source != destination:
            raise UserError("no way across")
        return between(paths, source, destination)

    monkeypatch.setattr(Paths, "between", no_way_across)
    runs = []
    for one_by_one in (True, False):
        hosts = plan(app)
        hosts[1] = [process(app("udp_client"), "a", "9000", "1", start=1.0123)]
        run = experiment(*hosts)
        recorded = Recorded(run, one_by_one, False, None)
        with pytest.raises(UserError, match="no way across"):
            recorded.loop.run()
        recorded.close()
        run.close()
        runs.append(recorded)
    assert runs[1].quiet
    assert runs[0].loop.window == runs[1].loop.window > 100
    for name in COMPARED:
        assert (runs[0].path / name).read_bytes() == (runs[1].path / name).read_bytes(), name


def test_whoever_wants_to_stop_does_not_wait_for_all_windows(experiment: Build) -> None:
    ticking = "import time\nwhile True: time.sleep(0.001)"
    run = experiment([process(sys.executable, "-S", "-c", ticking)], stop=100_000)
    loop = WindowLoop(
        [run.shard],
        lambda ids: ids * 0,
        InProcessBus(),
        runahead=Runahead(NS_PER_MS),
        stop_time_ns=100_000 * NS_PER_S,
        on_quiet_windows=lambda _: loop.request_stop(),
    )
    assert loop.run().interrupted
    assert loop.window < 3000
