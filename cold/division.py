"""How shards divide what a tail is built from, when the whole of it would be the same on each of them.

What is drawn at random for all is drawn by one shard, which gives the others what they need of it; they take turns.
What cannot be divided is made by shard 0, which gives the others their parts. Every shard has to come to each of these,
also one without identities.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.bus import Bus, InProcessBus

UInt32Array = npt.NDArray[np.uint32]

#: So much of a part crosses in one meeting: a message of MPI has room for less than 2 GiB.
_PIECE_BYTES: Final = 1 << 28


class Draw(NamedTuple):
    """Rows that one shard draws, and of which each shard needs some."""

    write: Callable[[UInt32Array], None]
    """Writes all of them."""
    rows: int
    """How many there are."""
    bounds: Sequence[tuple[int, int]]
    """The first of each shard, and the one after its last."""
    own: UInt32Array
    """uint32[rows of this shard, width], C-contiguous: where they go."""


class Division(NamedTuple):
    """Which identities each shard has, and how shards draw together.

    Identities are counted from the first one of the tail.
    """

    cuts: npt.NDArray[np.int64]
    """int64[shards + 1]: the first of each shard, and their number."""
    shard: int
    bus: Bus
    """Connects the shards; an `InProcessBus` where each makes all that it needs by itself."""

    @staticmethod
    def of(
        cuts: npt.NDArray[np.int64] | None, shard: int, first_id: int, count: int, bus: Bus | None = None
    ) -> Division:
        """Return the division by HostIds, see `cold.engine.ColdEngine`; without `cuts`, one shard has everybody."""
        bounds = np.array([0, count], dtype=np.int64) if cuts is None else cuts.astype(np.int64) - first_id
        return Division(bounds, shard, bus or InProcessBus())

    @property
    def first(self) -> int:
        """Return this shard's first identity."""
        return int(self.cuts[self.shard])

    @property
    def past(self) -> int:
        """Return the one after its last."""
        return int(self.cuts[self.shard + 1])

    @property
    def is_whole(self) -> bool:
        """Return whether this shard has all identities."""
        return self.past - self.first == int(self.cuts[-1])

    def drawn(self, draws: Sequence[Callable[[], UInt32Array]]) -> Iterator[UInt32Array]:
        """Return what each of `draws` returns, in their order; each is called on one shard."""
        bus = self.bus
        for first in range(0, len(draws), bus.shard_count):
            turn = draws[first : first + bus.shard_count]
            if bus.shard_count == 1:
                yield turn[0]()
                continue
            own = turn[bus.shard]() if bus.shard < len(turn) else np.empty(0, dtype=np.uint32)
            for data in bus.share(own.tobytes())[: len(turn)]:
                # A copy, because kernels are compiled for arrays that can be written.
                yield np.frombuffer(data, dtype=np.uint32).copy()

    def dealt(self, draws: Sequence[Draw]) -> None:
        """Make what `draws` describe, each on one shard; they take turns, and keep of the rows what they need."""
        bus = self.bus
        for first in range(0, len(draws), bus.shard_count):
            turn = draws[first : first + bus.shard_count]
            if bus.shard >= len(turn):
                mine, whole = None, np.empty((0, 0), dtype=np.uint32)
            else:
                mine = turn[bus.shard]
                begin, end = mine.bounds[self.shard]
                if end - begin == mine.rows:
                    whole = mine.own
                    mine.write(whole)
                else:
                    whole = np.empty((mine.rows, mine.own.shape[1]), dtype=np.uint32)
                    mine.write(whole)
                    mine.own[:] = whole[begin:end]
            if bus.shard_count > 1:
                self._told(turn, mine, whole)

    def _told(self, turn: Sequence[Draw], mine: Draw | None, whole: UInt32Array) -> None:
        """Give the other shards their rows of `mine`, which are in `whole`, and take those of the turn from them."""
        bus = self.bus
        outgoing = (
            {}
            if mine is None
            else {
                shard: _bytes_of(whole[slice(*bounds)])
                for shard, bounds in enumerate(mine.bounds)
                if shard != bus.shard
            }
        )
        incoming = {shard: _bytes_of(draw.own) for shard, draw in enumerate(turn) if shard != bus.shard}
        most = max((end - begin) * draw.own.itemsize * draw.own.shape[1] for draw in turn for begin, end in draw.bounds)
        for begin in range(0, most, _PIECE_BYTES):
            piece = slice(begin, begin + _PIECE_BYTES)
            taken, _ = bus.meet({shard: data[piece] for shard, data in outgoing.items()}, ())
            for shard, data in taken.items():
                incoming[shard][piece] = data

    def handed_out(self, parts: Callable[[int, int], Sequence[npt.NDArray[Any]]]) -> list[npt.NDArray[Any]]:
        """Return this shard's part of what shard 0 makes.

        Parameters
        ----------
        parts
            Makes the arrays, and returns those of the identities from a first to before a past one; they may be views.
            Called where shards are not connected, and on shard 0 for each of them.
        """
        bus = self.bus
        if bus.shard_count == 1:
            return _kept(parts(self.first, self.past), self.is_whole)
        all_parts = [parts(*bounds) for bounds in pairwise(self.cuts.tolist())] if bus.shard == 0 else []
        described = json.dumps([[(array.dtype.str, array.shape) for array in part] for part in all_parts])
        of_shards = json.loads(bus.share(described.encode())[0])
        own: list[npt.NDArray[Any]] = []
        for number in range(len(of_shards[0])):
            sizes = [np.dtype(kind).itemsize * math.prod(shape) for kind, shape in (part[number] for part in of_shards)]
            outgoing = {shard: _bytes_of(part[number]) for shard, part in enumerate(all_parts) if shard > 0}
            received = np.empty(sizes[bus.shard] if bus.shard > 0 else 0, dtype=np.uint8)
            for begin in range(0, max(sizes[1:]), _PIECE_BYTES):
                end = begin + _PIECE_BYTES
                taken, _ = bus.meet({shard: data[begin:end] for shard, data in outgoing.items()}, ())
                if 0 in taken:
                    received[begin:end] = np.frombuffer(taken[0], dtype=np.uint8)
            if bus.shard > 0:
                kind, shape = of_shards[bus.shard][number]
                own.append(received.view(kind).reshape(shape))
        return own if bus.shard > 0 else _kept(all_parts[0], self.is_whole)


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _kept(part: Sequence[npt.NDArray[Any]], is_whole: bool) -> list[npt.NDArray[Any]]:
    """Copies, where a view of its part would keep the whole."""
    return list(part) if is_whole else [array.copy() for array in part]
