"""Kernels of `cold.memberships`: places of peers, and who of an identity's peers subscribes to what it does."""

from typing import Final

import numpy as np
import numpy.typing as npt

from cold.jit import int64, kernel, uint64
from cold.prefetch_kernels import prefetch
from cold.state_kernels import CACHE_LINE, MESH_COUNT, PlaceArray, lowest_bit

#: How many rows, and how many neighbours, before their turn the processor is told of what they lead to.
_ROWS_AHEAD: Final = 4
_NEIGHBOURS_AHEAD: Final = 64

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
    """Write the numbers of first members of meshes, and their places.

    Parameters
    ----------
    mesh
        place[M, width]: `State.mesh`, whose column MESH_COUNT is written, and those from `first_member` on.
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
    width = mesh.shape[1]
    for index in range(len(row)):
        if index + _ROWS_AHEAD < len(row):
            ahead = identity[index + _ROWS_AHEAD]
            prefetch(mesh, row[index + _ROWS_AHEAD] * width)
            for peer in range(row_start[ahead], row_start[ahead + 1], CACHE_LINE // 4):
                prefetch(neighbours, peer)
        mesh[row[index], MESH_COUNT] = count[index]
        peers = neighbours[row_start[identity[index]] : row_start[identity[index] + 1]]
        for position in range(count[index]):
            # Without branches, which a search would have: many rows are on their way from memory at a time.
            place = int64(0)
            for peer in range(len(peers)):
                place += peers[peer] < members[index, position]
            mesh[row[index], first_member + position] = place


@kernel
def known_peers(
    row_start: npt.NDArray[np.int64],
    neighbours: npt.NDArray[np.uint32],
    subscribed: npt.NDArray[np.uint64],
    first_id: int,
    hot_count: int,
    partial_start: npt.NDArray[np.int64],
    longest: int,
    known_start: npt.NDArray[np.uint32],
    nothing: PlaceArray,
) -> tuple[PlaceArray, int]:
    """Find the neighbours that have each of an identity's partial topics too.

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
    longest
        The most neighbours of one identity.
    known_start
        uint32[Q + 1]: where each membership's begin in `known`; 0, and written.
    nothing
        place[0], of the type that the places are wanted in.

    Returns
    -------
    known
        Places of neighbours, ascending for each membership; what follows the last of them is not used.
    used
        How many they are, known_start[Q].
    """
    words = subscribed.shape[1]
    held = np.empty((words, longest), dtype=np.uint64)
    known = np.empty(len(neighbours) // 8, nothing.dtype)
    used = int64(0)
    for identity in range(len(row_start) - 1):
        host = first_id - hot_count + identity
        begin, membership = row_start[identity], partial_start[identity]
        peers = row_start[identity + 1] - begin
        # What is random in memory comes first, so that it can come at the same time.
        for peer in range(peers):
            ahead = begin + peer + _NEIGHBOURS_AHEAD
            if ahead < len(neighbours):
                prefetch(subscribed, (int64(neighbours[ahead]) - hot_count) * words)
            other = int64(neighbours[begin + peer]) - hot_count
            for word in range(words):
                held[word, peer] = subscribed[other, word]
        room = used + (partial_start[identity + 1] - membership) * peers
        if room > len(known):
            longer = np.empty(room + room // 4, nothing.dtype)
            longer[:used] = known[:used]
            known = longer
        for word in range(words):
            left = subscribed[host, word]
            while left != _ZERO:
                number = uint64(lowest_bit(left))
                left &= left - _ONE
                # Without a branch: whether a peer has a topic cannot be guessed.
                for peer in range(peers):
                    known[used] = peer
                    used += int64(held[word, peer] >> number & _ONE)
                membership += 1
                known_start[membership] = used
    return known, used
