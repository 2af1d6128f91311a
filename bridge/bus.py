"""Event buses: how the shards of one run exchange batches and agree on windows.

Every shard makes the same calls in the same order. A bus that has lost a shard raises `ShardLost` in all of
the others: nobody waits in a collective for a peer that is gone. ``bridge/local_bus.py`` connects processes of
one machine, ``bridge/mpi_bus.py`` the ranks of an MPI world. A bus moves bytes; that they are batches in their wire
format is between those who call it.
"""

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from bridge.errors import AntumbraError

#: What crosses a bus.
Data: TypeAlias = bytes | bytearray | memoryview


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

    def meet(self, outbound: Mapping[int, Data], values: tuple[int, ...]) -> tuple[Mapping[int, Data], tuple[int, ...]]:
        """Give something to some of the other shards, and agree on the smallest of some values.

        A window needs one such meeting: nothing that shards have to agree on depends on what is given in it. Nobody
        leaves it before everybody has come.

        Parameters
        ----------
        outbound
            By shard. Nothing travels to those that are missing, or that get no bytes.
        values
            Up to `MOST_VALUES` of int64, the same number on all shards.

        Returns
        -------
        mapping
            What others gave this shard, ascending by shard; those that gave nothing are missing.
        tuple of int
            The smallest value of any shard, at each position.
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


#: So many values may be agreed on in one meeting.
MOST_VALUES = 4


class InProcessBus:
    """The bus of a run with one shard: there is nobody to meet."""

    shard = 0
    shard_count = 1

    def meet(self, outbound: Mapping[int, Data], values: tuple[int, ...]) -> tuple[Mapping[int, Data], tuple[int, ...]]:  # noqa: ARG002
        """Return nothing, and `values`: there is nobody to disagree."""
        return {}, values

    def share(self, data: bytes) -> list[bytes]:
        """Return what the only shard gave."""
        return [data]

    def abort(self, reason: str, exit_code: int) -> None:
        """Do nothing: there is nobody to tell."""

    def close(self) -> None:
        """Do nothing: there is no connection."""
