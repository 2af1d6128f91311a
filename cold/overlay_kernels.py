"""Kernels of `cold.overlay`: from a list of undirected edges to rows of neighbours and meshes."""

import numpy as np
import numpy.typing as npt

from bridge.rng import draw_u64
from cold.jit import int64, kernel

Int64Array = npt.NDArray[np.int64]
UInt32Array = npt.NDArray[np.uint32]
UInt64Array = npt.NDArray[np.uint64]


@kernel
def draw_keys(seed: int, first_id: int, count: int, purpose: int, counter: int) -> UInt64Array:
    """One draw for each of `count` entities from `first_id` on: uint64[count]."""
    keys = np.empty(count, dtype=np.uint64)
    for index in range(count):
        keys[index] = draw_u64(seed, first_id + index, purpose, counter)
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
