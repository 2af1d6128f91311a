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
_KEYS_OF_BUCKET = 4
#: The rows of a band of 2**12 vertices with 100 neighbours each take 1.6 MB.
_BAND_BITS = 12
#: 128 MiB of ends of edges.
_ENDS_AT_A_TIME = 1 << 24
#: No entry of a row: a vertex has 31 bits, and there is none of the highest number.
_NO_ENTRY = np.uint32(0xFFFFFFFF)


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
def ascending_order(keys: UInt64Array) -> UInt32Array:
    """Order of random keys, of equal ones the first first: uint32[n], as of a stable argsort.

    Parameters
    ----------
    keys
        uint64[n]. They are dealt to buckets by their highest bits, some keys to each if all values are equally likely.
    """
    bits = int64(0)
    while len(keys) >> bits > _KEYS_OF_BUCKET:
        bits += 1
    # A shift by 64 would be none.
    shift = uint64(63 - bits)
    end = np.zeros(int64(1) << bits, dtype=np.uint32)
    for index in range(len(keys)):
        end[int64(keys[index] >> uint64(1) >> shift)] += 1
    begin = int64(0)
    for bucket in range(len(end)):
        size = int64(end[bucket])
        end[bucket] = begin
        begin += size
    order = np.empty(len(keys), dtype=np.uint32)
    for index in range(len(keys)):
        bucket = int64(keys[index] >> uint64(1) >> shift)
        order[end[bucket]] = index
        end[bucket] += 1
    begin = int64(0)
    for bucket in range(len(end)):
        last = int64(end[bucket])
        for position in range(begin + 1, last):
            index = order[position]
            key = keys[index]
            hole = position
            while hole > begin and keys[order[hole - 1]] > key:
                order[hole] = order[hole - 1]
                hole -= 1
            order[hole] = index
        begin = last
    return order


@kernel
def choose_edges(
    left: UInt32Array, right: UInt32Array, first: int, past: int, chosen_left: UInt32Array, chosen_right: UInt32Array
) -> int:
    """Write the edges of which an end is from `first` to before `past`; returns how many they are.

    Parameters
    ----------
    left, right
        uint32[edges]: ends of each edge.
    first, past
        See above.
    chosen_left, chosen_right
        uint32[edges], written.
    """
    count = int64(0)
    for edge in range(len(left)):
        a, b = int64(left[edge]), int64(right[edge])
        # Without a branch: whether an edge is chosen is as random as its ends.
        chosen_left[count], chosen_right[count] = a, b
        count += (first <= a) & (a < past) | (first <= b) & (b < past)
    return count


@kernel
def write_rows_of_edges(
    first: int,
    past: int,
    first_id: int,
    left: UInt32Array,
    right: UInt32Array,
    neighbours: UInt32Array,
    dialled: npt.NDArray[np.bool_],
) -> tuple[Int64Array, int]:
    """`cold.overlay.rows_of_edges`, into arrays that have room for them.

    Ends of edges are first dealt to bands of neighbouring vertices, whose rows fit a cache, and to as many bands at a
    time as keep the memory small.

    Parameters
    ----------
    first, past, first_id, left, right
        See there.
    neighbours, dialled
        uint32[2 * edges] and bool[2 * edges], written.

    Returns
    -------
    row_start
        See there.
    used
        How many neighbours there are.
    """
    bands = (past - first + (1 << _BAND_BITS) - 1) >> _BAND_BITS
    band_start = np.zeros(bands + 1, dtype=np.int64)
    for edge in range(len(left)):
        a, b = int64(left[edge]) - first, int64(right[edge]) - first
        if 0 <= a < past - first:
            band_start[(a >> _BAND_BITS) + 1] += 1
        if 0 <= b < past - first:
            band_start[(b >> _BAND_BITS) + 1] += 1
    room = int64(0)
    for band in range(bands):
        room = max(room, band_start[band + 1])
        band_start[band + 1] += band_start[band]
    room = max(room, min(int64(_ENDS_AT_A_TIME), band_start[bands]))
    vertices = np.empty(room, dtype=np.uint32)
    # The neighbour, and in the lowest bit the direction.
    entries = np.empty(room, dtype=np.uint32)

    row_start = np.zeros(past - first + 1, dtype=np.int64)
    used = int64(0)
    first_band = int64(0)
    while first_band < bands:
        past_band = first_band + 1
        while past_band < bands and band_start[past_band + 1] - band_start[first_band] <= _ENDS_AT_A_TIME:
            past_band += 1
        fill = band_start[first_band:past_band] - band_start[first_band]
        begin_row = first + (first_band << _BAND_BITS)
        rows = min(past_band << _BAND_BITS, past - first) - (first_band << _BAND_BITS)
        for edge in range(len(left)):
            a, b = int64(left[edge]), int64(right[edge])
            row_of_a, row_of_b = a - begin_row, b - begin_row
            if 0 <= row_of_a < rows:
                place = fill[row_of_a >> _BAND_BITS]
                vertices[place], entries[place] = row_of_a, b << 1 | 1
                fill[row_of_a >> _BAND_BITS] += 1
            if 0 <= row_of_b < rows:
                place = fill[row_of_b >> _BAND_BITS]
                vertices[place], entries[place] = row_of_b, a << 1
                fill[row_of_b >> _BAND_BITS] += 1
        begin = int64(0)
        for band in range(first_band, past_band):
            end = fill[band - first_band]
            used = _write_rows(
                begin_row,
                (band - first_band) << _BAND_BITS,
                min((band - first_band + 1) << _BAND_BITS, rows),
                first_id,
                vertices[begin:end],
                entries[begin:end],
                row_start[first_band << _BAND_BITS :],
                neighbours,
                dialled,
                used,
            )
            begin = end
        first_band = past_band
    return row_start, used


@kernel
def _write_rows(
    begin_row: int,
    first: int,
    past: int,
    first_id: int,
    vertices: UInt32Array,
    entries: UInt32Array,
    row_start: Int64Array,
    neighbours: UInt32Array,
    dialled: npt.NDArray[np.bool_],
    used: int,
) -> int:
    """Write the rows from `first` to before `past` for `write_rows_of_edges`.

    Parameters
    ----------
    begin_row
        The vertex that rows are counted from.
    first, past
        See above.
    first_id
        HostId of vertex 0.
    vertices, entries
        uint32[n] each: ends of edges, in any order: the row; twice the neighbour, plus 1 if the vertex has dialled.
    row_start
        int64[rows + 1], written.
    neighbours, dialled
        Those of `write_rows_of_edges`; written on.
    used
        How many neighbours there are.

    Returns
    -------
    int
        How many there are then.
    """
    start = np.zeros(past - first + 1, dtype=np.int64)
    for end in range(len(vertices)):
        start[int64(vertices[end]) - first + 1] += 1
    for row in range(past - first):
        start[row + 1] += start[row]
    fill = start[:-1].copy()
    rows = np.empty(len(entries), dtype=np.uint32)
    for end in range(len(vertices)):
        row = int64(vertices[end]) - first
        rows[fill[row]] = entries[end]
        fill[row] += 1
    longest = int64(0)
    for row in range(past - first):
        longest = max(longest, start[row + 1] - start[row])
    ascending = np.empty(longest, dtype=np.uint32)
    for row in range(past - first):
        unsorted = rows[start[row] : start[row + 1]]
        for position in range(len(unsorted)):
            ascending[position] = _NO_ENTRY
        # The place of an entry is the number of smaller ones: many are compared at a time, and nothing is to be guessed
        # as in a sort. Equal ones have the same place, and leave free those that follow it.
        for position in range(len(unsorted)):
            entry = unsorted[position]
            place = int64(0)
            for other in range(len(unsorted)):
                place += unsorted[other] < entry
            ascending[place] = entry
        before = int64(-1)
        for position in range(len(unsorted)):
            entry = ascending[position]
            if entry == _NO_ENTRY:
                continue
            neighbour, outbound = int64(entry >> 1), entry & 1 != 0
            if neighbour != before:
                neighbours[used] = first_id + neighbour
                dialled[used] = outbound
                used += 1
                before = neighbour
            elif dialled[used - 1] != outbound:
                dialled[used - 1] = begin_row + first + row < neighbour
        row_start[first + row + 1] = used
    return used


@kernel
def choose(values: UInt32Array, numbers: UInt32Array) -> UInt32Array:
    """Return ``values[numbers]``, uint32[n], for which numpy would first make 64 bits of each number."""
    chosen = np.empty(len(numbers), dtype=np.uint32)
    for index in range(len(numbers)):
        chosen[index] = values[numbers[index]]
    return chosen


@kernel
def add_nodes(neighbours: UInt32Array, node: npt.NDArray[np.uint16], host_bits: int, added: UInt32Array) -> None:
    """Write HostIds, uint32[n], with their nodes above their lowest `host_bits` bits to `added`, uint32[n]."""
    for index in range(len(neighbours)):
        host = int64(neighbours[index])
        added[index] = host | int64(node[host]) << host_bits


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
