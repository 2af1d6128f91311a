"""Kernels of `cold.overlay`: from a list of edges to rows of neighbours and meshes."""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

import numpy as np
import numpy.typing as npt

from bridge.rng import draw_u64
from cold.jit import int64, kernel, uint64
from cold.purposes import ColdPurpose

Int64Array = npt.NDArray[np.int64]
UInt32Array = npt.NDArray[np.uint32]
UInt64Array = npt.NDArray[np.uint64]

_FIRST_MESH = int(ColdPurpose.FIRST_MESH)
_HIGH = uint64(32)


@kernel
def draw_keys(seed: int, first_id: int, count: int, purpose: int, counter: int) -> UInt64Array:
    """One draw for each of `count` entities from `first_id` on: uint64[count]."""
    keys = np.empty(count, dtype=np.uint64)
    for index in range(count):
        keys[index] = draw_u64(seed, first_id + index, purpose, counter)
    return keys


@kernel
def draw_keys_of(seed: int, entities: UInt32Array, purpose: int, counter: int) -> UInt64Array:
    """One draw for each of the entities, uint32[n]: uint64[n]."""
    keys = np.empty(len(entities), dtype=np.uint64)
    for index in range(len(entities)):
        keys[index] = draw_u64(seed, int64(entities[index]), purpose, counter)
    return keys


@kernel
def rows_of_edges(
    count: int, left: UInt32Array, right: UInt32Array
) -> tuple[Int64Array, UInt32Array, npt.NDArray[np.bool_]]:
    """Rows of sorted, distinct neighbours of a multigraph without self-loops, whose edges have a direction.

    Of edges in both directions between two vertices, the one from the lower vertex is kept.

    Parameters
    ----------
    count
        Number of vertices, at most 2**31.
    left, right
        uint32[edges]: ends of each edge; the left one has dialled the right one.

    Returns
    -------
    row_start
        int64[count + 1].
    neighbours
        uint32[row_start[count]].
    dialled
        bool[row_start[count]]: whether the edge leads from the vertex of the row to the neighbour.
    """
    start = np.zeros(count + 1, dtype=np.int64)
    for edge in range(len(left)):
        start[left[edge] + 1] += 1
        start[right[edge] + 1] += 1
    for vertex in range(count):
        start[vertex + 1] += start[vertex]
    fill = start[:count].copy()
    # The neighbour, and in the lowest bit the direction.
    entries = np.empty(start[count], dtype=np.uint32)
    for edge in range(len(left)):
        a, b = int64(left[edge]), int64(right[edge])
        entries[fill[a]] = b << 1 | 1
        fill[a] += 1
        entries[fill[b]] = a << 1
        fill[b] += 1

    row_start = np.zeros(count + 1, dtype=np.int64)
    dialled = np.empty(len(entries), dtype=np.bool_)
    used = 0
    for vertex in range(count):
        first, last = start[vertex], start[vertex + 1]
        for position in range(first + 1, last):
            entry = entries[position]
            hole = position
            while hole > first and entries[hole - 1] > entry:
                entries[hole] = entries[hole - 1]
                hole -= 1
            entries[hole] = entry
        row_begin = used
        for position in range(first, last):
            neighbour, outbound = int64(entries[position] >> 1), entries[position] & 1 != 0
            if used == row_begin or entries[used - 1] != neighbour:
                entries[used] = neighbour
                dialled[used] = outbound
                used += 1
            elif dialled[used - 1] != outbound:
                dialled[used - 1] = vertex < neighbour
        row_start[vertex + 1] = used
    return row_start, entries[:used].copy(), dialled[:used].copy()


@kernel
def is_outbound(dialled: npt.NDArray[np.uint8], place: int) -> bool:
    """Whether an identity has dialled a neighbour.

    Parameters
    ----------
    dialled
        uint8[edges / 8]: `Overlay.dialled_bits`.
    place
        Of the neighbour in `neighbours`, counted from the first row on: ``row_start[identity] + number``.
    """
    return bool(dialled[place >> 3] >> (place & 7) & 1)


@kernel
def add_to_mesh(
    mesh: UInt32Array,
    mesh_count: npt.NDArray[np.uint8],
    room: npt.NDArray[np.uint8],
    left: UInt32Array,
    right: UInt32Array,
    first_id: int,
) -> None:
    """Add edges to one topic's mesh, in the order given; an edge that is there, or has no room, is left out.

    Parameters
    ----------
    mesh
        uint32[identities, width]: HostIds.
    mesh_count
        uint8[identities].
    room
        uint8[identities]: the most members of each mesh, at most its width.
    left, right
        uint32[edges]: ends of each edge, as identity indices.
    first_id
        HostId of identity 0.
    """
    for edge in range(len(left)):
        a, b = left[edge], right[edge]
        if mesh_count[a] >= room[a] or mesh_count[b] >= room[b]:
            continue
        there = False
        for position in range(mesh_count[a]):
            if mesh[a, position] == b + first_id:
                there = True
        if not there:
            mesh[a, mesh_count[a]] = b + first_id
            mesh_count[a] += 1
            mesh[b, mesh_count[b]] = a + first_id
            mesh_count[b] += 1


@kernel
def graft_in_turn(
    seed: int,
    first_id: int,
    topic: int,
    order: UInt32Array,
    row_start: Int64Array,
    neighbours: UInt32Array,
    room: npt.NDArray[np.uint8],
    mesh: UInt32Array,
    mesh_count: npt.NDArray[np.uint8],
) -> None:
    """Make a topic's first mesh along the edges of a graph.

    Twice each identity has its turn, and takes random neighbours that have room: until it has half of what it wants,
    and then all. So nobody is left without members because others were before it, and at the end no edge is left
    between two that both have room.

    Parameters
    ----------
    seed, first_id, topic
        Of the draws; `first_id` is the HostId of identity 0.
    order
        uint32[A]: whose turn is when.
    row_start, neighbours
        int64[A + 1] and uint32[edges]: neighbours of each, as indices.
    room
        uint8[A]: the most members of each mesh.
    mesh
        uint32[A, width]: HostIds; filled in.
    mesh_count
        uint8[A]; filled in.
    """
    longest = int64(0)
    for identity in range(len(order)):
        longest = max(longest, row_start[identity + 1] - row_start[identity])
    others = np.empty(longest, dtype=np.uint32)
    for turn in range(2 * len(order)):
        identity = int64(order[turn % len(order)])
        wanted = int64(room[identity])
        if turn < len(order):
            wanted = (wanted + 1) // 2
        start = row_start[identity]
        count = row_start[identity + 1] - start
        others[:count] = neighbours[start : start + count]
        tried = int64(0)
        while mesh_count[identity] < wanted and tried < count:
            counter = topic << 32 | (turn // len(order)) << 16 | tried
            word = uint64(draw_u64(seed, first_id + identity, _FIRST_MESH, counter)) >> _HIGH
            pick = tried + int64(word * uint64(count - tried) >> _HIGH)
            peer = int64(others[pick])
            others[pick] = others[tried]
            tried += 1
            members = int64(mesh_count[identity])
            fresh = mesh_count[peer] < room[peer]
            for position in range(members):
                if mesh[identity, position] == first_id + peer:
                    fresh = False
            if fresh:
                mesh[identity, members] = first_id + peer
                mesh[peer, mesh_count[peer]] = first_id + identity
                mesh_count[identity] = members + 1
                mesh_count[peer] += 1
