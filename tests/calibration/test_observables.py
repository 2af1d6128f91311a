"""Reading run directories: what becomes a value, what belongs together, and what is refused."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from antumbra import programs
from bridge.errors import UserError
from bridge.rundir import RunDirectory
from bridge.simtime import EPOCH, NS_PER_MS, NS_PER_S
from calibration import OBSERVABLES, Sample, read_run

MakeRun = Callable[..., Path]
START_NS = EPOCH * NS_PER_S


def sample(run: Path, name: str, peers: tuple[str, ...] = ("*",)) -> Sample:
    return OBSERVABLES[name].sample([read_run(run, peers)])


def delivery_line(number: int, delay_ms: float, *, ok: str = "true") -> str:
    delay_ns = round(delay_ms * NS_PER_MS)
    time_ns = START_NS + (number + 1) * NS_PER_S + delay_ns
    return (
        f'{{"event":"deliver","time_ns":{time_ns},"topic":1,"id":"0x{0x0B000001 << 32 | number:016x}","hops":0,'
        f'"delay_ns":{delay_ns},"ok":{ok}}}'
    )


def test_delays_are_one_value_for_each_message_and_peer_grouped_by_message(make_run: MakeRun) -> None:
    delays = sample(make_run([[10, 20.5, 30], [40, -1, 60]]), "delivery_delay")
    assert delays.values.tolist() == [10, 20.5, 30, 40, 60]
    assert delays.cluster.tolist() == [0, 0, 0, 1, 1]
    assert delays.clusters == 2


def test_hops_are_those_of_the_first_delivery(make_run: MakeRun) -> None:
    assert sample(make_run([[10, 20, 30]]), "hops").values.tolist() == [0, 1, 2]


def test_coverage_is_what_each_peer_got_of_what_it_was_due(make_run: MakeRun) -> None:
    run = make_run([[1, 1], [1, -1], [1, -1], [1, -1]])
    # The publisher was due nothing: all messages are its own.
    assert sample(run, "coverage").values.tolist() == [1.0, 0.25]


def test_messages_of_other_topics_and_other_times_are_not_due(make_run: MakeRun) -> None:
    late_start = START_NS + 3 * NS_PER_S
    lines = {
        "other": [f'{{"event":"start","time_ns":{START_NS},"topics":[2]}}'],
        "late": [f'{{"event":"start","time_ns":{late_start},"topics":[1]}}', delivery_line(3, 5)],
    }
    coverage = sample(make_run(np.ones((4, 1)), lines=lines), "coverage", ("late", "other"))
    assert coverage.values.tolist() == [0.5]


def test_totals_become_rates_for_each_peer(make_run: MakeRun) -> None:
    run = make_run(np.full((10, 2), 5.0), duplicates=25)
    assert sample(run, "duplicates").values.tolist() == [2.5] * 3
    # 12 control messages and 125 kB in the 20 s that every peer ran.
    assert sample(run, "control").values.tolist() == pytest.approx([0.6] * 3)
    assert sample(run, "upload").values.tolist() == pytest.approx([50] * 3)


def test_a_peer_that_was_killed_has_deliveries_and_no_totals(make_run: MakeRun) -> None:
    lines = {
        "killed": [f'{{"event":"start","time_ns":{START_NS},"topics":[1]}}', delivery_line(0, 70), '{"event":"del']
    }
    run = make_run([[10.0]], lines=lines)
    assert sample(run, "delivery_delay").values.tolist() == [70, 10]
    assert len(sample(run, "control")) == 2


def test_damaged_and_repeated_deliveries_do_not_count(make_run: MakeRun) -> None:
    more = {"peer0": [delivery_line(0, 99), delivery_line(1, 50, ok="false")]}
    assert sample(make_run([[10.0], [-1.0]], lines=more), "delivery_delay").values.tolist() == [10]


def test_spread_is_measured_at_all_peers_and_delays_at_the_chosen_ones(make_run: MakeRun) -> None:
    run = make_run([[10, 20, 30, 40]])
    assert sample(run, "spread_p50", ("peer0",)).values.tolist() == [20]
    assert sample(run, "spread_p95", ("peer0",)).values.tolist() == [40]
    assert sample(run, "delivery_delay", ("peer0", "peer3")).values.tolist() == [10, 40]


def tail_table(delivered: list[int]) -> pa.Table:
    rows = len(delivered)
    return pa.table(
        {
            "id": pa.array([(0x64400001 << 32) + number for number in range(rows)], pa.uint64()),
            "topic": pa.array([1] * rows, pa.int64()),
            "publish_time_ns": pa.array([5 * NS_PER_S] * rows, pa.int64()),
            "delivered": pa.array(delivered, pa.int64()),
            **{f"p{share}_ns": pa.array([share * NS_PER_MS] * rows, pa.int64()) for share in (50, 95, 99)},
        }
    )


def test_spread_of_a_run_with_a_tail_is_the_tails(make_run: MakeRun) -> None:
    run = make_run([[10.0]], tail=tail_table([100, 0]))
    assert sample(run, "spread_p50").values.tolist() == [50]
    assert sample(run, "spread_p99").values.tolist() == [99]


def test_messages_that_only_the_tail_knows_are_due_too(make_run: MakeRun) -> None:
    run = make_run(np.full((2, 1), 5.0), tail=tail_table([100, 100]))
    assert sample(run, "coverage", ("peer0",)).values.tolist() == [0.5]


def test_programs_that_are_no_peers_may_write_what_they_like(make_run: MakeRun) -> None:
    lines = {"web": ["Serving HTTP on 0.0.0.0", '{"event":"start","time_ns":"noon"}', '{"event":7}', "\x00"]}
    records = read_run(make_run([[10.0]], lines=lines))
    assert [peer.name for peer in records.peers] == ["peer0/gossip-node.1000", "publisher/gossip-node.1000"]


def test_runs_without_peers_give_empty_samples(make_run: MakeRun) -> None:
    with RunDirectory(make_run([[1.0]]).parent / "empty") as directory:
        directory.describe({}, seed=1)
        directory.finish("complete")
    for name in OBSERVABLES:
        assert len(sample(directory.path, name)) == 0


@pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
def test_runs_that_did_not_end_well_are_refused(make_run: MakeRun, status: str) -> None:
    run = make_run([[1.0]], status=status)
    with pytest.raises(UserError, match=f"run1: this run is '{status}'"):
        read_run(run)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not the directory of a run"):
        read_run(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        read_run(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(UserError, match="not that of a run"):
        read_run(tmp_path)


def test_an_event_that_cannot_be_read_is_named_by_its_line(make_run: MakeRun) -> None:
    run = make_run([[1.0]], lines={"peer0": ['{"event":"deliver","time_ns":1,"ok":true,"topic":1}']})
    with pytest.raises(UserError, match=r"peer0/gossip-node.1000.stdout:4: a 'deliver' event .*'id'"):
        read_run(run)


def test_a_damaged_table_is_named(make_run: MakeRun) -> None:
    run = make_run([[1.0]], tail=tail_table([1]))
    table = run / "metrics" / "messages.parquet"
    table.write_bytes(b"not parquet")
    with pytest.raises(UserError, match=r"messages\.parquet: the table cannot be read"):
        read_run(run)


def test_what_gossip_node_really_writes_can_be_read(tmp_path: Path) -> None:
    try:
        program = str(programs.find("gossip-node"))
    except FileNotFoundError:
        pytest.skip("gossip-node is not installed")
    addresses = [f"127.77.{number}.1:9000" for number in (1, 2)]
    with RunDirectory(tmp_path / "run") as directory:
        directory.describe({}, seed=1)
        nodes = []
        for name, own, other in (("a", *addresses), ("b", *reversed(addresses))):
            command = [program, "--listen", own, "--name", name, "--peer", other, "--topic", "1"]
            command += ["--heartbeat-ms", "100", "--publish", "1,0.5,0.1,3,100"] if name == "a" else []
            with (directory.host_directory(name) / "gossip-node.1000.stdout").open("wb") as stdout:
                nodes.append(subprocess.Popen(command, stdout=stdout))
        log = directory.host_directory("b") / "gossip-node.1000.stdout"
        deadline = time.monotonic() + 30
        while log.read_text().count('"deliver"') < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        for node in nodes:
            node.send_signal(signal.SIGTERM)
            assert node.wait(timeout=30) == 0
        directory.finish("complete")
    records = read_run(tmp_path / "run")
    assert len(OBSERVABLES["delivery_delay"].sample([records])) == 3
    assert OBSERVABLES["coverage"].sample([records]).values.tolist() == [1.0]
    for name in ("duplicates", "control", "upload"):
        assert len(OBSERVABLES[name].sample([records])) == 2
