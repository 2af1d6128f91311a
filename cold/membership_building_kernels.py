"""Kernels of `cold.memberships`: places of peers, and who of an identity's peers subscribes to what it does."""

from typing import Final

import numpy as np
import numpy.typing as npt

from cold.jit import int64, kernel, uint64
from cold.overlay_kernels import IN_MESH, NEIGHBOUR_SHIFT, NO_ENTRY, Ends
from cold.prefetch_kernels import prefetch
from cold.state_kernels import MESH_COUNT, RANK_BLOCK_SHIFT, PlaceArray, lowest_bit

UInt64Array = npt.NDArray[np.uint64]

#: How many members of a topic, and how many neighbours, before their turn the processor is told of what they lead to.
_MEMBERS_AHEAD: Final = 4
_NEIGHBOURS_AHEAD: Final = 128

_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)


@kernel
def note_subscribers(members: npt.NDArray[np.uint32], first_id: int, number: int, subscribed: UInt64Array) -> None:
    """Set the bit of a topic in `State.subscribed`.

    Parameters
    ----------
    members
        uint32[n]: HostIds of its subscribers.
    first_id
        HostId of the first identity.
    number
        Of the topic among those that some do not have.
    subscribed
        uint64[A, words], changed.
    """
    word, bit = number >> 6, _ONE << uint64(number & 63)
    for index in range(len(members)):
        subscribed[int64(members[index]) - first_id, word] |= bit


@kernel
def write_places(
    mesh: PlaceArray,
    row: npt.NDArray[np.int64],
    row_start: npt.NDArray[np.int64],
    neighbours: npt.NDArray[np.uint32],
    members: npt.NDArray[np.uint32],
    count: npt.NDArray[np.uint8],
    first_member: int,
) -> None:
    """Write the numbers of first members of each identity's mesh, and their places.

    Parameters
    ----------
    mesh
        place[M, width]: `State.mesh`, whose column MESH_COUNT is written, and those from `first_member` on.
    row
        int64[N]: rows of `mesh`.
    row_start, neighbours
        `Overlay.row_start` and `Overlay.neighbours`, ascending in each row.
    members, count
        uint32[N, room] and uint8[N]: HostIds, all of them neighbours.
    first_member
        See `mesh`.
    """
    for identity in range(len(row)):
        mesh[row[identity], MESH_COUNT] = count[identity]
        peers = neighbours[row_start[identity] : row_start[identity + 1]]
        for position in range(count[identity]):
            # Without branches, which a search would have.
            place = int64(0)
            for peer in range(len(peers)):
                place += peers[peer] < members[identity, position]
            mesh[row[identity], first_member + position] = place


@kernel
def write_first_meshes(
    subscribed: UInt64Array,
    sought: Ends,
    full_topics: int,
    first_member: int,
    mesh: PlaceArray,
    rank: npt.NDArray[np.uint16],
    rank_before: npt.NDArray[np.uint32],
) -> None:
    """Write the first meshes of the topics that some do not have.

    Parameters
    ----------
    subscribed
        uint64[N, words]: rows of `State.subscribed`.
    sought
        `cold.memberships.Connections.sought`.
    full_topics
        Number of the other topics.
    first_member
        See `mesh`.
    mesh
        place[M, width]: `State.mesh`, whose column MESH_COUNT is written, and those from `first_member` on.
    rank, rank_before
        uint16[Q] and uint32[blocks, P]: `State.rank` and `State.rank_before`, written.
    """
    next_member = sought.span[:, 0].copy()
    membership = int64(0)
    for identity in range(len(subscribed)):
        block = identity >> RANK_BLOCK_SHIFT
        if identity == block << RANK_BLOCK_SHIFT:
            for topic in range(len(next_member)):
                rank_before[block, topic] = next_member[topic] - sought.span[topic, 0]
        for word in range(subscribed.shape[1]):
            left = subscribed[identity, word]
            while left != _ZERO:
                topic = word * 64 + lowest_bit(left)
                left &= left - _ONE
                number, width = next_member[topic] - sought.span[topic, 0], sought.width[topic]
                next_member[topic] += 1
                rank[membership] = number - int64(rank_before[block, topic])
                row = membership + full_topics * (identity + 1)
                membership += 1
                first = sought.start[topic] + number * width
                prefetch(sought.entry, min(first + _MEMBERS_AHEAD * width, len(sought.entry) - 1))
                count = int64(0)
                for end in range(first, first + width):
                    entry = int64(sought.entry[end])
                    if entry == NO_ENTRY or not entry & IN_MESH:
                        continue
                    there = False
                    for position in range(count):
                        there |= mesh[row, first_member + position] == entry >> NEIGHBOUR_SHIFT
                    if not there:
                        mesh[row, first_member + count] = entry >> NEIGHBOUR_SHIFT
                        count += 1
                mesh[row, MESH_COUNT] = count


@kernel
def known_peers(
    first: int,
    past: int,
    row_start: npt.NDArray[np.int64],
    neighbours: npt.NDArray[np.uint32],
    subscribed: npt.NDArray[np.uint64],
    first_id: int,
    hot_count: int,
    partial_start: npt.NDArray[np.int64],
    longest: int,
    before: int,
    known_start: npt.NDArray[np.int64],
    known_count: PlaceArray,
    known: PlaceArray,
) -> int:
    """Find the neighbours that have each of an identity's partial topics too.

    Parameters
    ----------
    first, past
        For the identities of this shard from `first` to before `past`.
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
    before
        How many have been found for earlier identities.
    known_start
        int64[N]: where each identity's begin among all that are found; written on.
    known_count
        place[Q]: how many there are of each membership; written on.
    known
        place[n], written: places of neighbours, ascending for each membership. There is room if each of these
        identities knew all neighbours on all of its topics.

    Returns
    -------
    int
        How many are found.
    """
    words = subscribed.shape[1]
    held = np.empty((words, longest), dtype=np.uint64)
    used = int64(0)
    for identity in range(first, past):
        host = first_id - hot_count + identity
        begin, membership = row_start[identity], partial_start[identity]
        peers = row_start[identity + 1] - begin
        known_start[identity] = before + used
        # What is random in memory comes first, so that it can come at the same time.
        for peer in range(peers):
            ahead = int64(neighbours[min(begin + peer + _NEIGHBOURS_AHEAD, len(neighbours) - 1)])
            prefetch(subscribed, (ahead - hot_count) * words)
            other = int64(neighbours[begin + peer]) - hot_count
            for word in range(words):
                held[word, peer] = subscribed[other, word]
        for word in range(words):
            left = subscribed[host, word]
            while left != _ZERO:
                number = uint64(lowest_bit(left))
                left &= left - _ONE
                start = used
                # Without a branch: whether a peer has a topic cannot be guessed.
                for peer in range(peers):
                    known[used] = peer
                    used += int64(held[word, peer] >> number & _ONE)
                known_count[membership] = used - start
                membership += 1
    return used
