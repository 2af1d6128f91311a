"""Event buses: how the shards of one run exchange batches and agree on windows.

Every shard makes the same calls in the same order. A bus that has lost a shard raises in all of them, at
once: nobody waits in a collective for a peer that is gone.
"""

from collections.abc import Sequence
from typing import Protocol

from bridge.batch import EventBatch


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

    def close(self) -> None:
        """Leave the run. Not a barrier: a shard that fails must get out without the others."""
        ...


class InProcessBus:
    """The bus of a run with one shard: what it sends is what it gets."""

    shard = 0
    shard_count = 1

    def allreduce_min(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """Return `values`: there is nobody to disagree."""
        return values

    def exchange(self, outbound: Sequence[EventBatch]) -> EventBatch:
        """Return the one batch."""
        (batch,) = outbound
        return batch

    def close(self) -> None:
        """Do nothing: there is no connection."""
