"""Event buses: how the shards of one run exchange batches and agree on windows.

Every shard makes the same calls in the same order. A bus that has lost a shard raises `ShardLost` in all of
the others: nobody waits in a collective for a peer that is gone. ``bridge/local_bus.py`` connects processes of
one machine, ``bridge/mpi_bus.py`` the ranks of an MPI world.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from bridge.batch import EventBatch
from bridge.errors import AntumbraError


class ShardLost(AntumbraError):
    """Another shard failed, was killed or does not answer: the run cannot go on.

    Parameters
    ----------
    what
        Which shard, and why as far as it is known.
    exit_code
        That of the shard that failed, where it could still tell.
    """

    def __init__(self, what: str, *, exit_code: int = 1) -> None:
        super().__init__(what)
        self.exit_code = exit_code


class ExchangeCost(NamedTuple):
    """Wall-clock time that a shard has spent in exchanges so far [ns].

    Attributes
    ----------
    encode_ns
        To bring batches into their wire format.
    transport_ns
        To send and receive, waiting for other shards included: an exchange is where a window's shards first meet.
    decode_ns
        To read what came, and put it in order.
    """

    encode_ns: int = 0
    transport_ns: int = 0
    decode_ns: int = 0


class Bus(Protocol):
    """One shard's end of the connection between all shards."""

    @property
    def shard(self) -> int:
        """The shard that this end belongs to, 0 <= shard < shard_count."""
        ...

    @property
    def shard_count(self) -> int:
        """Number of shards in the run."""
        ...

    @property
    def cost(self) -> ExchangeCost:
        """What exchanges have taken so far."""
        ...

    def allreduce_min(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """Return the smallest value of any shard, for each position.

        One call carries all that the shards have to agree on, so that a window costs one barrier. Values are
        int64.
        """
        ...

    def exchange(self, outbound: Sequence[EventBatch]) -> EventBatch:
        """Send ``outbound[s]`` to shard s, and return what all shards sent here, in order.

        The batch that a shard keeps for itself takes part, so that the order does not depend on the
        partition.
        """
        ...

    def share(self, data: bytes) -> list[bytes]:
        """Return what each shard gave, by shard. For the few things that are told once in a run."""
        ...

    def abort(self, reason: str, exit_code: int) -> None:
        """Tell all others that this shard has failed, as far as they can still be told.

        They raise `ShardLost` with the reason when they next use the bus. Never raises, never waits.
        """
        ...

    def close(self) -> None:
        """Leave the run. Not a barrier: a shard that fails must get out without the others."""
        ...


class InProcessBus:
    """The bus of a run with one shard: what it sends is what it gets."""

    shard = 0
    shard_count = 1
    cost = ExchangeCost()

    def allreduce_min(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """Return `values`: there is nobody to disagree."""
        return values

    def exchange(self, outbound: Sequence[EventBatch]) -> EventBatch:
        """Return the one batch."""
        (batch,) = outbound
        return batch

    def share(self, data: bytes) -> list[bytes]:
        """Return what the only shard gave."""
        return [data]

    def abort(self, reason: str, exit_code: int) -> None:
        """Do nothing: there is nobody to tell."""

    def close(self) -> None:
        """Do nothing: there is no connection."""


#: Gives bytes to each shard and returns what each gave, by shard: what a bus adds to the codec.
Swap: TypeAlias = Callable[[Sequence[bytes | bytearray]], Sequence[bytes | bytearray | memoryview]]


def exchange_batches(
    outbound: Sequence[EventBatch], shard: int, swap: Swap, before: ExchangeCost
) -> tuple[EventBatch, ExchangeCost]:
    """Exchange batches in their wire format.

    Parameters
    ----------
    outbound
        For each shard; nothing travels for an empty batch, nor for the one that stays here.
    shard
        The shard whose batches these are.
    swap
        Moves the bytes.
    before
        What exchanges have taken before this one.

    Returns
    -------
    EventBatch
        All events for this shard, in order.
    ExchangeCost
        What exchanges have taken with this one.
    """
    started = time.perf_counter_ns()
    encoded = [batch.encode() if number != shard and len(batch) else b"" for number, batch in enumerate(outbound)]
    sent = time.perf_counter_ns()
    received = swap(encoded)
    arrived = time.perf_counter_ns()
    inbound = EventBatch.concatenate([outbound[shard], *(EventBatch.decode(data) for data in received if len(data))])
    ended = time.perf_counter_ns()
    return inbound, ExchangeCost(
        before.encode_ns + sent - started,
        before.transport_ns + arrived - sent,
        before.decode_ns + ended - arrived,
    )
