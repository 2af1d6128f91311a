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
    nothing: PlaceArray,
) -> tuple[npt.NDArray[np.uint32], PlaceArray]:
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
    nothing
        place[0], of the type that the places are wanted in.

    Returns
    -------
    known_start
        uint32[Q + 1]: where each membership's begin in `known`.
    known
        place[known_start[Q]]: places of neighbours, ascending for each membership.
    """
    words = subscribed.shape[1]
    common = np.empty((longest, words), dtype=np.uint64)
    fill = np.empty(64 * words, dtype=np.int64)
    known_start = np.zeros(partial_start[-1] + 1, dtype=np.uint32)
    known = np.empty(len(neighbours) // 8, nothing.dtype)
    used = int64(0)
    for identity in range(len(row_start) - 1):
        host = first_id - hot_count + identity
        begin, first = row_start[identity], partial_start[identity]
        peers = row_start[identity + 1] - begin
        # What is random in memory comes first, so that it can come at the same time.
        for peer in range(peers):
            other = int64(neighbours[begin + peer]) - hot_count
            for word in range(words):
                common[peer, word] = subscribed[host, word] & subscribed[other, word]
        topics = partial_start[identity + 1] - first
        fill[:topics] = 0
        for peer in range(peers):
            before = int64(0)
            for word in range(words):
                own, both = subscribed[host, word], common[peer, word]
                while both != _ZERO:
                    fill[before + count_bits(own & ((both & (~both + _ONE)) - _ONE))] += 1
                    both &= both - _ONE
                before += count_bits(own)
        for topic in range(topics):
            size = fill[topic]
            fill[topic] = used
            used += size
            known_start[first + topic + 1] = used
        if used > len(known):
            longer = np.empty(used + used // 4, nothing.dtype)
            longer[: len(known)] = known
            known = longer
        for peer in range(peers):
            before = int64(0)
            for word in range(words):
                own, both = subscribed[host, word], common[peer, word]
                while both != _ZERO:
                    topic = before + count_bits(own & ((both & (~both + _ONE)) - _ONE))
                    known[fill[topic]] = peer
                    fill[topic] += 1
                    both &= both - _ONE
                before += count_bits(own)
    return known_start, known[:used].copy()
