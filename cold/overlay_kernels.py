"""Kernels of `cold.overlay`: from a list of undirected edges to rows of neighbours and meshes."""

import numpy as np
import numpy.typing as npt

from bridge.rng import draw_u64
from cold.jit import kernel

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
def rows_of_edges(count: int, left: UInt32Array, right: UInt32Array) -> tuple[Int64Array, UInt32Array]:
    """Rows of sorted, distinct neighbours of an undirected multigraph without self-loops.

    Parameters
    ----------
    count
        Number of vertices.
    left, right
        uint32[edges]: ends of each edge.

    Returns
    -------
    row_start
        int64[count + 1].
    neighbours
        uint32[row_start[count]].
    """
    start = np.zeros(count + 1, dtype=np.int64)
    for edge in range(len(left)):
        start[left[edge] + 1] += 1
        start[right[edge] + 1] += 1
    for vertex in range(count):
        start[vertex + 1] += start[vertex]
    fill = start[:count].copy()
    entries = np.empty(start[count], dtype=np.uint32)
    for edge in range(len(left)):
        entries[fill[left[edge]]] = right[edge]
        fill[left[edge]] += 1
        entries[fill[right[edge]]] = left[edge]
        fill[right[edge]] += 1

    row_start = np.zeros(count + 1, dtype=np.int64)
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
            if used == row_begin or entries[used - 1] != entries[position]:
                entries[used] = entries[position]
                used += 1
        row_start[vertex + 1] = used
    return row_start, entries[:used].copy()


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
