"""Kernels of `cold.memberships`: places of peers, and who of an identity's peers subscribes to what it does."""

from typing import Final

import numpy as np
import numpy.typing as npt

from cold.jit import int64, kernel, uint64
from cold.state_kernels import PlaceArray, count_bits

_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)


@kernel
def write_places(
    mesh: PlaceArray,
    row: npt.NDArray[np.int64],
    identity: npt.NDArray[np.int64],
    row_start: npt.NDArray[np.int64],
    neighbours: npt.NDArray[np.uint32],
    members: npt.NDArray[np.uint32],
    count: npt.NDArray[np.uint8],
    first_member: int,
) -> None:
    """Write the places of the first members of meshes.

    Parameters
    ----------
    mesh
        place[M, width]: `State.mesh`, written from the column `first_member` on.
    row
        int64[n]: rows of `mesh`.
    identity
        int64[n]: whose they are, numbers of rows of neighbours.
    row_start, neighbours
        `Overlay.row_start` and `Overlay.neighbours`, ascending in each row.
    members, count
        uint32[n, room] and uint8[n]: HostIds, all of them neighbours.
    first_member
        See `mesh`.
    """
    for index in range(len(row)):
        begin = row_start[identity[index]]
        for position in range(count[index]):
            low, high = begin, row_start[identity[index] + 1]
            while low < high:
                middle = (low + high) // 2
                if neighbours[middle] < members[index, position]:
                    low = middle + 1
                else:
                    high = middle
            mesh[row[index], first_member + position] = low - begin


@kernel
def count_known(
    row_start: npt.NDArray[np.int64],
    neighbours: npt.NDArray[np.uint32],
    subscribed: npt.NDArray[np.uint64],
    first_id: int,
    hot_count: int,
    partial_start: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Count the neighbours that have each of an identity's partial topics too: int64[Q].

    Parameters
    ----------
    row_start, neighbours
        Of `Overlay`, of the identities of this shard.
    subscribed
        `State.subscribed`.
    first_id
        HostId of the first identity of this shard.
    hot_count
        HostId of the first identity of all.
    partial_start
        int64[N + 1]: where each identity's memberships begin among those of partial topics.
    """
    counts = np.zeros(partial_start[-1], dtype=np.int64)
    for identity in range(len(row_start) - 1):
        host = first_id - hot_count + identity
        for position in range(row_start[identity], row_start[identity + 1]):
            peer = int64(neighbours[position]) - hot_count
            before = partial_start[identity]
            for word in range(subscribed.shape[1]):
                own = subscribed[host, word]
                both = own & subscribed[peer, word]
                while both != _ZERO:
                    bit = both & (~both + _ONE)
                    counts[before + count_bits(own & (bit - _ONE))] += 1
                    both &= both - _ONE
                before += count_bits(own)
    return counts


@kernel
def fill_known(
    row_start: npt.NDArray[np.int64],
    neighbours: npt.NDArray[np.uint32],
    subscribed: npt.NDArray[np.uint64],
    first_id: int,
    hot_count: int,
    partial_start: npt.NDArray[np.int64],
    known_start: npt.NDArray[np.uint32],
    known: PlaceArray,
) -> None:
    """Write the places of the neighbours that `count_known` counts into `known`, from ``known_start[q]`` on."""
    fill = known_start.astype(np.int64)
    for identity in range(len(row_start) - 1):
        host = first_id - hot_count + identity
        begin = row_start[identity]
        for position in range(begin, row_start[identity + 1]):
            peer = int64(neighbours[position]) - hot_count
            before = partial_start[identity]
            for word in range(subscribed.shape[1]):
                own = subscribed[host, word]
                both = own & subscribed[peer, word]
                while both != _ZERO:
                    bit = both & (~both + _ONE)
                    membership = before + count_bits(own & (bit - _ONE))
                    known[fill[membership]] = position - begin
                    fill[membership] += 1
                    both &= both - _ONE
                before += count_bits(own)
