"""Nothing is delivered before the receiver's last event: the loop and the engine both check it, in every run.

Participants that lie stand in for what would break it: a path shorter than the lookahead, or a host that runs ahead.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bridge.batch import EventBatch, EventKind
from bridge.bus import InProcessBus
from bridge.errors import InternalError
from bridge.simtime import NEVER, NS_PER_MS, NS_PER_S
from bridge.window import CausalityError, Runahead, WindowLoop
from hot.shard import HotShard
from tests.hot.experiment import Experiment, process

Build = Callable[..., Experiment]

RUNAHEAD = 10 * NS_PER_MS
#: A UDP datagram of four bytes from host 7, which is not there, to host 0; checksums are not looked at.
DATAGRAM = (
    bytes.fromhex("4500 0020 0000 0000 4011 0000 0b00 0008 0b00 0001".replace(" ", ""))
    + bytes.fromhex("1388 2328 000c 0000".replace(" ", ""))
    + b"late"
)


class Stranger:
    """Sends host 0 one packet, in the window in which it is due to do so."""

    def __init__(self, sent: int, deliver_time: int) -> None:
        self._sent = sent
        self._deliver_time = deliver_time

    def next_event_time(self) -> int:
        return self._sent

    def run_until(self, window_end: int) -> EventBatch:
        if self._sent >= window_end:
            return EventBatch.empty()
        self._sent = NEVER
        return EventBatch.build(
            [self._deliver_time], [7], [3], [0], EventKind.PACKET, [0, len(DATAGRAM)], list(DATAGRAM)
        )

    def deliver(self, batch: EventBatch) -> None:
        raise AssertionError(f"{len(batch)} events for the stranger")

    def close(self) -> None:
        pass

    def statistics(self) -> dict[str, object]:
        return {}


class Hasty:
    """A hot shard that runs further than it was told to."""

    def __init__(self, shard: HotShard, too_far: int) -> None:
        self._shard = shard
        self._too_far = too_far
        self.deliver = shard.deliver
        self.close = shard.close
        self.statistics = shard.statistics

    def next_event_time(self) -> int:
        return self._shard.next_event_time()

    def run_until(self, window_end: int) -> EventBatch:
        return self._shard.run_until(window_end + self._too_far)


def loop_of(hot: HotShard | Hasty, stranger: Stranger) -> WindowLoop:
    return WindowLoop(
        [hot, stranger],
        lambda ids: (ids == 7).astype(int),
        InProcessBus(),
        runahead=Runahead(RUNAHEAD),
        stop_time_ns=2 * NS_PER_S,
    )


@pytest.fixture
def hot(experiment: Build) -> HotShard:
    """One host, whose program does something every 3 ms."""
    return experiment([process("/bin/sh", "-c", "while true; do sleep 0.003; done")], stop=2).shard


def test_a_packet_that_comes_in_time_is_taken(hot: HotShard) -> None:
    loop = loop_of(hot, Stranger(NS_PER_S, NS_PER_S + RUNAHEAD))
    assert loop.run().reached_ns == 2 * NS_PER_S
    assert hot.counters("a")["packets_received"] == 1


def test_a_packet_for_a_time_that_a_hot_host_has_passed_ends_the_run(hot: HotShard) -> None:
    with pytest.raises(CausalityError, match=r"Stranger returned event 3 of host 7 .* inside the window"):
        loop_of(hot, Stranger(NS_PER_S, NS_PER_S)).run()


def test_the_engine_itself_refuses_a_packet_for_its_past(hot: HotShard) -> None:
    # The loop cannot see it: the packet is for the time after its window. The engine has gone further.
    loop = loop_of(Hasty(hot, 5 * NS_PER_MS), Stranger(NS_PER_S, NS_PER_S + RUNAHEAD + NS_PER_MS))
    with pytest.raises(InternalError, match=r"event 3 of host 7 is for \d+ ns, and this host has already reached") as e:
        loop.run()
    assert "a" in str(e.value)
    assert e.value.exit_code == 3


def test_an_event_that_is_no_packet_is_refused_by_hot_hosts(hot: HotShard) -> None:
    with pytest.raises(InternalError, match="no packet"):
        hot.deliver(EventBatch.build([NS_PER_S], [7], [3], [0], EventKind.TAIL))
