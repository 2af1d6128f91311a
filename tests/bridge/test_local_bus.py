"""The bus between processes, with real processes."""

import os
import signal
import socket
import traceback
from collections.abc import Callable

import numpy as np
import pytest

from bridge.batch import EventBatch
from bridge.bus import ShardLost
from bridge.errors import AntumbraError, InternalError
from bridge.local_bus import LocalBus, fork_shards


def on_shards(count: int, work: Callable[[LocalBus], None], *, patience_s: float = 60) -> list[BaseException | None]:
    """Run `work` in a process per shard. Returns what it raised on shard 0; others must raise nothing unexpected."""
    bus = fork_shards(count, patience_s=patience_s)
    if bus.shard:
        code = 0
        try:
            work(bus)
        except AntumbraError:
            code = 7
        except BaseException:
            traceback.print_exc()
            code = 9
        os._exit(code)
    raised: BaseException | None = None
    try:
        work(bus)
    except AntumbraError as error:
        raised = error
    finally:
        bus.close()
    return [raised]


def batch_for(shard: int, source: int, size: int) -> EventBatch:
    payload = np.full(size, source, dtype=np.uint8)
    return EventBatch.build([100 - source], [source], [source], [shard], 1, [0, size], payload)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_shards_agree_on_the_smallest_and_share_what_they_have(count: int) -> None:
    def work(bus: LocalBus) -> None:
        for step in range(50):
            received, low = bus.meet({}, (step + bus.shard, -bus.shard, 2**63 - 1))
            assert low == (step, 1 - count, 2**63 - 1)
            assert not received
        assert bus.share(f"{bus.shard}".encode()) == [f"{shard}".encode() for shard in range(count)]
        assert bus.share(b"") == [b""] * count

    assert on_shards(count, work) == [None]


@pytest.mark.parametrize("size", [1, 5_000_000])
def test_what_is_given_arrives_however_large_it_is(size: int) -> None:
    """Everybody sends before anybody receives: sockets that are full on both sides must not hold each other up."""

    def work(bus: LocalBus) -> None:
        count = bus.shard_count
        outbound = {shard: batch_for(shard, bus.shard, size).encode() for shard in range(count)}
        received, _ = bus.meet(outbound, ())
        assert list(received) == [shard for shard in range(count) if shard != bus.shard]
        for source, data in received.items():
            batch = EventBatch.decode(data)
            assert (batch.source.tolist(), batch.destination.tolist()) == ([source], [bus.shard])
            assert batch.payload_of(0) == bytes([source]) * size

    assert on_shards(3, work) == [None]


def test_only_those_who_are_given_something_get_it() -> None:
    """Each shard gives to the next one and to nobody else, and every third time nobody does."""

    def work(bus: LocalBus) -> None:
        count = bus.shard_count
        for step in range(60):
            data = {} if step % 3 == 0 else {(bus.shard + 1) % count: f"{step} of {bus.shard}".encode()}
            received, (low,) = bus.meet(data, (step,))
            assert low == step
            giver = (bus.shard - 1) % count
            assert {shard: bytes(data) for shard, data in received.items()} == (
                {giver: f"{step} of {giver}".encode()} if data else {}
            )

    assert on_shards(4, work) == [None]


def test_a_failure_reaches_the_others_with_its_reason_and_exit_code() -> None:
    def work(bus: LocalBus) -> None:
        bus.meet({}, (1,))
        if bus.shard == 1:
            bus.abort("the disk is full", 2)
            bus.close()
        else:
            bus.meet({}, (2,))

    (raised,) = on_shards(2, work)
    assert isinstance(raised, ShardLost)
    assert str(raised) == "shard 1 failed: the disk is full"
    assert raised.exit_code == 2


def test_a_shard_that_is_killed_is_missed() -> None:
    def work(bus: LocalBus) -> None:
        if bus.shard == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        bus.meet({}, (2,))

    (raised,) = on_shards(3, work)
    assert isinstance(raised, ShardLost)
    assert "shard 1 is gone" in str(raised)


def test_a_connection_that_closes_ends_the_run_for_all() -> None:
    def work(bus: LocalBus) -> None:
        bus.meet({}, (1,))
        if bus.shard == 1:
            bus._peers[0].socket.shutdown(socket.SHUT_RDWR)  # to shard 0; that to shard 2 stays
        try:
            bus.meet({}, (2,))
            bus.meet({}, (3,))
        except ShardLost as error:
            bus.abort(str(error), 1)
            lost = str(error)
        else:
            raise AssertionError("nobody noticed")
        assert {0: "shard 1 is gone", 1: "shard 0 is gone"}.get(bus.shard, "is gone") in lost
        raise ShardLost(lost)

    (raised,) = on_shards(3, work)
    assert isinstance(raised, ShardLost)
    assert "its connection is closed" in str(raised)


def test_shards_that_are_out_of_step_notice_it() -> None:
    def work(bus: LocalBus) -> None:
        if bus.shard == 0:
            bus.meet({}, (2,))
        else:
            bus.share(b"12345678")

    (raised,) = on_shards(2, work)
    assert isinstance(raised, InternalError)
    assert "(share)" in str(raised)
    assert "(meet)" in str(raised)


def test_a_bus_that_was_left_cannot_be_used() -> None:
    def work(bus: LocalBus) -> None:
        bus.meet({}, (2,))
        bus.close()
        bus.close()
        bus.meet({}, (2,))

    (raised,) = on_shards(2, work)
    assert isinstance(raised, ShardLost)
