"""The window protocol, run by participants that hold real events."""

import threading
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from bridge.batch import EventBatch, EventKind
from bridge.bus import Data, InProcessBus
from bridge.errors import InternalError
from bridge.simtime import NEVER, NS_PER_MS, NS_PER_S
from bridge.window import CausalityError, LoopResult, Runahead, WindowLoop, WindowRecord
from tests.bridge.phold import Event, Phold

HOSTS = 24
LATENCY = 2 * NS_PER_MS
SPREAD = 5 * NS_PER_MS
STOP = 200 * NS_PER_MS


class ThreadBus:
    """A bus between threads of this process, each of which runs a shard."""

    def __init__(self, shard: int, barrier: threading.Barrier, slots: list[list[object]]) -> None:
        self.shard = shard
        self.shard_count = barrier.parties
        self._barrier = barrier
        self._slots = slots

    def meet(self, outbound: Mapping[int, Data], values: tuple[int, ...]) -> tuple[Mapping[int, Data], tuple[int, ...]]:
        given = self._all_to_all([(values, bytes(outbound.get(shard, b""))) for shard in range(self.shard_count)])
        received = {shard: data for shard, (_, data) in enumerate(given) if data}
        assert self.shard not in received
        return received, tuple(min(column) for column in zip(*(values for values, _ in given), strict=True))

    def share(self, data: bytes) -> list[bytes]:
        received: list[bytes] = self._all_to_all([data] * self.shard_count)
        return received

    def abort(self, reason: str, exit_code: int) -> None:  # noqa: ARG002
        self._barrier.abort()

    def close(self) -> None:
        self._barrier.abort()

    def _all_to_all(self, outbound: list) -> list:  # type: ignore[type-arg]
        self._slots[self.shard] = list(outbound)
        self._barrier.wait()
        received = [self._slots[shard][self.shard] for shard in range(self.shard_count)]
        self._barrier.wait()
        return received


def phold(hosts: range, seed: int = 1) -> Phold:
    return Phold(hosts, HOSTS, seed=seed, latency_ns=LATENCY, spread_ns=SPREAD)


def partition(parts: int) -> list[range]:
    return [range(part * HOSTS // parts, (part + 1) * HOSTS // parts) for part in range(parts)]


def part_of(parts: int) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(parts), [len(hosts) for hosts in partition(parts)])


def everyone_is_first(ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    return np.zeros(len(ids), dtype=np.int64)


def traces_of_one_shard(
    parts: int, *, seed: int = 1, runahead: Runahead | None = None
) -> tuple[list[Event], list[WindowRecord]]:
    participants = [phold(hosts, seed) for hosts in partition(parts)]
    owner = part_of(parts)
    records: list[WindowRecord] = []
    WindowLoop(
        participants,
        lambda ids: owner[ids],
        InProcessBus(),
        runahead=runahead or Runahead(LATENCY),
        stop_time_ns=STOP,
        on_window=records.append,
    ).run()
    return sorted(event for participant in participants for event in participant.trace), records


def run_shards(shards: int, run: Callable[[int, ThreadBus], None]) -> None:
    """Run each shard in a thread, and raise what went wrong first in any of them."""
    barrier = threading.Barrier(shards, timeout=60)
    slots: list[list[object]] = [[] for _ in range(shards)]
    failures: list[BaseException] = []

    def run_one(shard: int) -> None:
        bus = ThreadBus(shard, barrier, slots)
        try:
            run(shard, bus)
        except threading.BrokenBarrierError:
            return
        except BaseException as error:
            failures.append(error)
            bus.close()

    threads = [threading.Thread(target=run_one, args=(shard,)) for shard in range(shards)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def traces_of_shards(shards: int, parts_per_shard: int) -> list[Event]:
    parts = shards * parts_per_shard
    participants = [phold(hosts) for hosts in partition(parts)]
    owner = part_of(parts)

    def run(shard: int, bus: ThreadBus) -> None:
        first = shard * parts_per_shard
        loop = WindowLoop(
            participants[first : first + parts_per_shard],
            lambda ids: owner[ids] - first,
            bus,
            runahead=Runahead(LATENCY),
            stop_time_ns=STOP,
            shard_of=lambda ids: owner[ids] // parts_per_shard,
        )
        assert loop.run().reached_ns == STOP

    run_shards(shards, run)
    return sorted(event for participant in participants for event in participant.trace)


def test_the_partition_into_participants_does_not_change_what_happens() -> None:
    alone, records = traces_of_one_shard(1)
    assert len(alone) > 500
    assert all(record.crossed == 0 for record in records)
    for parts in (2, 3, 5):
        shared, records = traces_of_one_shard(parts)
        assert shared == alone
        assert sum(record.crossed for record in records) > 100


@pytest.mark.parametrize(("shards", "parts_per_shard"), [(2, 1), (2, 2), (3, 1)])
def test_the_partition_into_shards_does_not_change_what_happens(shards: int, parts_per_shard: int) -> None:
    alone, _ = traces_of_one_shard(1)
    assert traces_of_shards(shards, parts_per_shard) == alone


@pytest.mark.parametrize(("shards", "parts_per_shard"), [(2, 1), (2, 2), (3, 2)])
def test_longer_windows_between_shards_do_not_change_what_happens(shards: int, parts_per_shard: int) -> None:
    parts = shards * parts_per_shard
    owner = part_of(parts)

    def latency(source: int, destination: int) -> int:
        together = owner[source] // parts_per_shard == owner[destination] // parts_per_shard
        return LATENCY if together else 7 * LATENCY

    def all_of(hosts: list[range]) -> list[Phold]:
        return [Phold(part, HOSTS, seed=1, latency_ns=latency, spread_ns=SPREAD) for part in hosts]

    (alone,) = all_of([range(HOSTS)])
    whole = WindowLoop([alone], everyone_is_first, InProcessBus(), runahead=Runahead(LATENCY), stop_time_ns=STOP).run()
    participants = all_of(partition(parts))
    records: list[list[WindowRecord]] = [[] for _ in range(shards)]

    def run(shard: int, bus: ThreadBus) -> None:
        first = shard * parts_per_shard
        WindowLoop(
            participants[first : first + parts_per_shard],
            lambda ids: owner[ids] - first,
            bus,
            runahead=Runahead(7 * LATENCY),
            stop_time_ns=STOP,
            shard_of=lambda ids: owner[ids] // parts_per_shard,
            on_window=records[shard].append,
            inner_runahead_ns=LATENCY,
        ).run()

    run_shards(shards, run)
    assert sorted(event for participant in participants for event in participant.trace) == sorted(alone.trace)
    assert len(records[0]) < whole.windows / 3
    for shard in range(shards):
        assert sum(record.inner for record in records[shard]) > 2 * len(records[shard])
        for participant in participants:
            assert participant.trace == sorted(participant.trace)
    for number in range(len(records[0])):
        same = [(one[number].start, one[number].end) for one in records]
        assert same == same[:1] * shards


def test_windows_that_are_too_long_for_the_latencies_between_shards_are_noticed() -> None:
    owner = part_of(2)
    participants = [phold(hosts) for hosts in partition(2)]

    def run(shard: int, bus: ThreadBus) -> None:
        WindowLoop(
            [participants[shard]],
            lambda ids: owner[ids] - shard,
            bus,
            runahead=Runahead(4 * LATENCY),
            stop_time_ns=STOP,
            shard_of=lambda ids: owner[ids],
            inner_runahead_ns=LATENCY,
        ).run()

    with pytest.raises(CausalityError, match="has already reached"):
        run_shards(2, run)


def test_every_participant_executes_in_order_and_before_the_stop_time() -> None:
    participants = [phold(hosts) for hosts in partition(2)]
    owner = part_of(2)
    loop = WindowLoop(
        participants, lambda ids: owner[ids], InProcessBus(), runahead=Runahead(LATENCY), stop_time_ns=STOP
    )
    result = loop.run()
    assert (result.reached_ns, result.interrupted) == (STOP, False)
    for participant in participants:
        assert participant.trace == sorted(participant.trace)
        assert participant.trace[-1][0] < STOP <= participant.next_event_time()


def test_two_runs_have_the_same_windows_and_digests_and_another_seed_has_others() -> None:
    _, first = traces_of_one_shard(2)
    _, second = traces_of_one_shard(2)
    _, other = traces_of_one_shard(2, seed=2)

    def decisions(records: list[WindowRecord]) -> list[tuple[object, ...]]:
        return [record[: WindowRecord._fields.index("execute_wall_ns")] for record in records]

    assert decisions(first) == decisions(second)
    assert decisions(first) != decisions(other)


def test_windows_follow_each_other_and_account_for_every_event() -> None:
    events, records = traces_of_one_shard(2)
    assert [record.number for record in records] == list(range(len(records)))
    for record, following in pairwise(records):
        assert record.start < record.end == min(record.start + record.runahead, STOP)
        assert record.end <= following.start
    assert records[-1].end <= STOP
    assert sum(sum(record.executed) for record in records) == len(events)
    for record in records:
        assert sum(record.sent) == record.crossed == record.crossed_bytes
        assert (record.digest == 0) == (record.crossed == 0)
        assert len(record.execute_wall_ns) == 2


def test_the_dynamic_runahead_follows_the_smallest_latency_in_use() -> None:
    fixed, fixed_records = traces_of_one_shard(2)
    # The smallest latency that is possible is half of what any event uses: windows can be twice as long.
    dynamic, records = traces_of_one_shard(2, runahead=Runahead(LATENCY // 2, dynamic=True))
    assert dynamic == fixed
    assert records[0].runahead == LATENCY // 2
    assert records[-1].runahead >= LATENCY
    static, static_records = traces_of_one_shard(2, runahead=Runahead(LATENCY // 2))
    assert static == fixed
    assert len(static_records) > len(records)
    assert {record.runahead for record in fixed_records} == {LATENCY}


def test_the_configured_minimum_bounds_the_runahead_from_below() -> None:
    runahead = Runahead(5, configured_minimum_ns=3, dynamic=True)
    assert runahead.current_ns == 5
    runahead.observe(NEVER)
    assert runahead.current_ns == 5
    runahead.observe(4)
    assert runahead.current_ns == 4
    runahead.observe(1)
    assert runahead.current_ns == 3
    assert Runahead(5, configured_minimum_ns=8).current_ns == 8
    with pytest.raises(ValueError):
        Runahead(0)


class Scripted:
    """Executes and causes what the test wrote down."""

    def __init__(self, times: list[int], answer: EventBatch | None = None) -> None:
        self.times = times
        self.answer = answer or EventBatch.empty()
        self.ends: list[int] = []
        self.delivered: list[EventBatch] = []
        self.closed = 0

    def next_event_time(self) -> int:
        return min(self.times, default=NEVER)

    def run_until(self, window_end: int) -> EventBatch:
        self.ends.append(window_end)
        self.times = [time for time in self.times if time >= window_end]
        answer, self.answer = self.answer, EventBatch.empty()
        return answer

    def deliver(self, batch: EventBatch) -> None:
        self.delivered.append(batch)
        self.times.extend(int(time) for time in batch.deliver_time)

    def close(self) -> None:
        self.closed += 1

    def statistics(self) -> dict[str, object]:
        return {}


def loop_of(*participants: Scripted, runahead_ns: int = 10, stop_time_ns: int = NS_PER_S) -> WindowLoop:
    return WindowLoop(
        participants,
        everyone_is_first,
        InProcessBus(),
        runahead=Runahead(runahead_ns),
        stop_time_ns=stop_time_ns,
    )


def test_an_idle_stretch_costs_one_window() -> None:
    participant = Scripted([5, 900_000_000])
    result = loop_of(participant).run()
    assert participant.ends == [15, 900_000_010]
    assert result.windows == 2
    assert result.reached_ns == NS_PER_S


def test_the_last_window_ends_at_the_stop_time_and_leaves_later_events() -> None:
    participant = Scripted([7, 8])
    result = loop_of(participant, stop_time_ns=8).run()
    assert participant.ends == [8]
    assert participant.times == [8]
    assert result.reached_ns == 8


def test_a_run_without_events_ends_at_once() -> None:
    result = loop_of(Scripted([]), Scripted([])).run()
    assert (result.windows, result.reached_ns, result.interrupted) == (0, NS_PER_S, False)
    assert loop_of().run().windows == 0


def test_an_event_is_executed_in_a_window_after_its_delivery() -> None:
    sender = Scripted([0], EventBatch.build([10], [9], [1], [0]))
    receiver = Scripted([])
    WindowLoop([receiver, sender], everyone_is_first, InProcessBus(), runahead=Runahead(10), stop_time_ns=100).run()
    assert len(receiver.delivered) == 1
    assert receiver.ends == [10, 20]


def test_an_event_returned_for_the_running_window_is_a_causality_error() -> None:
    loop = loop_of(Scripted([0], EventBatch.build([9], [77], [5], [0])))
    with pytest.raises(CausalityError, match=r"Scripted.*event 5 of host 77 for 9 ns.*10 ns") as caught:
        loop.run()
    assert caught.value.exit_code == 3


def test_a_participant_that_stays_behind_its_window_is_a_causality_error() -> None:
    class Lazy(Scripted):
        def next_event_time(self) -> int:
            return 3

    with pytest.raises(CausalityError, match="window 0"):
        loop_of(Lazy([3])).run()


def test_a_bus_that_delivers_into_the_past_is_a_causality_error() -> None:
    class LateBus(InProcessBus):
        def meet(
            self, outbound: Mapping[int, Data], values: tuple[int, ...]
        ) -> tuple[Mapping[int, Data], tuple[int, ...]]:
            _, agreed = super().meet(outbound, values)
            return {1: EventBatch.build([4], [8], [6], [3]).encode()}, agreed

    loop = WindowLoop([Scripted([0])], everyone_is_first, LateBus(), runahead=Runahead(5), stop_time_ns=50)
    with pytest.raises(CausalityError, match=r"event 6 of host 8 is for 4 ns.*host 3, has already reached 5 ns"):
        loop.run()


def test_an_event_for_a_host_that_nobody_owns_is_our_fault() -> None:
    loop = WindowLoop(
        [Scripted([0], EventBatch.build([9], [1], [1], [5]))],
        lambda ids: np.full(len(ids), -1),
        InProcessBus(),
        runahead=Runahead(5),
        stop_time_ns=50,
    )
    with pytest.raises(InternalError, match="no participant"):
        loop.run()


def test_a_requested_stop_is_honoured_between_windows() -> None:
    class Stopping(Scripted):
        def run_until(self, window_end: int) -> EventBatch:
            loop.request_stop()
            return super().run_until(window_end)

    participant = Stopping([5, 500, 5000])
    loop = loop_of(participant)
    result = loop.run()
    assert (result.windows, result.reached_ns, result.interrupted) == (1, 15, True)
    assert participant.times == [500, 5000]


def windows_of(shards: int, run: Callable[[int], Scripted], *, stop_time_ns: int = 200) -> list[tuple[int, int]]:
    """Starts and ends of the windows, which all shards agree about; host s is on shard s, or all are on one."""
    records: list[list[WindowRecord]] = [[] for _ in range(shards)]

    def run_shard(shard: int, bus: ThreadBus) -> None:
        WindowLoop(
            [run(shard)],
            everyone_is_first,
            bus,
            runahead=Runahead(10),
            stop_time_ns=stop_time_ns,
            shard_of=lambda ids: ids.astype(np.int64),
            on_window=records[shard].append,
        ).run()

    run_shards(shards, run_shard)
    windows = [[(record.start, record.end) for record in one] for one in records]
    assert windows == windows[:1] * shards
    return windows[0]


def test_the_next_window_starts_where_an_event_arrives_whatever_becomes_of_it() -> None:
    """A receiver that drops it must not let windows depend on whether it is on the sender's shard."""

    class Deaf(Scripted):
        def deliver(self, batch: EventBatch) -> None:
            self.delivered.append(batch)

    def event_to(destination: int) -> EventBatch:
        return EventBatch.build([25], [0], [1], [destination])

    deaf = Deaf([100])
    together = [Scripted([0], event_to(1)), deaf]
    alone: list[WindowRecord] = []
    WindowLoop(
        together,
        lambda ids: ids.astype(np.int64),
        InProcessBus(),
        runahead=Runahead(10),
        stop_time_ns=200,
        on_window=alone.append,
    ).run()
    assert len(deaf.delivered) == 1
    apart = windows_of(2, lambda shard: Scripted([0], event_to(1)) if shard == 0 else Deaf([100]))
    assert apart == [(record.start, record.end) for record in alone] == [(0, 10), (25, 35), (100, 110)]


def test_what_only_tells_something_may_bring_a_window_forward_and_is_none_itself() -> None:
    class Told(Scripted):
        def deliver(self, batch: EventBatch) -> None:
            assert batch.kind.tolist() == [EventKind.ENTRY]
            self.times.append(30)

    entry = EventBatch.build([50], [0], [1], [1], EventKind.ENTRY)
    windows = windows_of(3, lambda shard: [Scripted([0, 90], entry), Told([]), Scripted([])][shard])
    assert windows == [(0, 10), (30, 40), (90, 100)]


def test_a_participant_that_makes_an_event_of_the_past_of_a_delivery_is_noticed() -> None:
    class Hasty(Scripted):
        def deliver(self, batch: EventBatch) -> None:
            self.times.append(int(batch.deliver_time[0]) - 1)

    sender = Scripted([0], EventBatch.build([25], [0], [1], [0]))
    with pytest.raises(CausalityError, match=r"24 ns is still to come.*begins at 25 ns"):
        WindowLoop([Hasty([]), sender], everyone_is_first, InProcessBus(), runahead=Runahead(10), stop_time_ns=99).run()


def test_a_stop_requested_before_the_start_runs_nothing() -> None:
    participant = Scripted([5])
    loop = loop_of(participant)
    loop.request_stop()
    assert loop.run().interrupted
    assert participant.ends == []


def test_a_stop_requested_in_the_last_window_is_no_interruption() -> None:
    class Stopping(Scripted):
        def run_until(self, window_end: int) -> EventBatch:
            loop.request_stop()
            return super().run_until(window_end)

    loop = loop_of(Stopping([5]))
    result = loop.run()
    assert (result.reached_ns, result.interrupted) == (NS_PER_S, False)


def test_a_stop_requested_in_one_shard_stops_all_after_the_same_window() -> None:
    results: dict[int, LoopResult] = {}

    def run(shard: int, bus: ThreadBus) -> None:
        loop = WindowLoop(
            [Scripted([5, 500, 5000])],
            everyone_is_first,
            bus,
            runahead=Runahead(10),
            stop_time_ns=NS_PER_S,
            shard_of=everyone_is_first,
            on_window=lambda _: loop.request_stop() if shard == 1 else None,
        )
        results[shard] = loop.run()

    run_shards(2, run)
    assert [(results[shard].windows, results[shard].interrupted) for shard in range(2)] == [(2, True)] * 2


def test_several_shards_need_to_know_who_owns_what() -> None:
    bus = ThreadBus(0, threading.Barrier(2), [[], []])
    with pytest.raises(ValueError, match="shard_of"):
        WindowLoop([], everyone_is_first, bus, runahead=Runahead(1), stop_time_ns=1)


def test_progress_ends_with_the_time_reached() -> None:
    seen: list[int] = []
    WindowLoop(
        [Scripted([5])],
        everyone_is_first,
        InProcessBus(),
        runahead=Runahead(10),
        stop_time_ns=70,
        on_progress=seen.append,
    ).run()
    assert seen[-1] == 70


def test_closing_closes_everyone_even_if_one_fails() -> None:
    class Failing(Scripted):
        def close(self) -> None:
            super().close()
            raise OSError("first")

    participants = [Scripted([]), Failing([]), Failing([]), Scripted([])]
    with pytest.raises(OSError, match="first"):
        loop_of(*participants).close()
    assert [participant.closed for participant in participants] == [1, 1, 1, 1]
