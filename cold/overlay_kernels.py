"""Kernels of `cold.overlay`: from cycles to the ends of their edges, from these to rows of neighbours and meshes."""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

from typing import Final, NamedTuple

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
#: The rows of so many identities with 100 neighbours each take 0.4 MB: they stay in the cache of a core.
_IDENTITIES_OF_BAND = 1 << 10
#: An entry of `Ends`: the neighbour, an identity's index of up to 29 bits, above these two.
NEIGHBOUR_SHIFT: Final = 2
#: Whether the connection is one of the first mesh, unless there is another one to the same neighbour before it.
IN_MESH: Final = 2
#: Whether the entry's identity has dialled the neighbour.
HAS_DIALLED: Final = 1
#: No connection. There is no neighbour of the highest number.
NO_ENTRY: Final = np.uint32(0xFFFFFFFF)
_ONE: Final = np.uint32(1)
_LOW: Final = uint64(0xFFFFFFFF)


class Ends(NamedTuple):
    """Ends of connections, in groups of identities of which each has the same number of ends.

    A group is a cycle, or all cycles of a topic: what leads from one identity to the next lies together, in the order
    of the identities, so that rows are made by reading all groups side by side from their beginnings.
    """

    identity: UInt32Array
    """uint32[n]: indices of identities, ascending in each group."""
    span: Int64Array
    """int64[groups, 2]: where in `identity` a group begins, and where it ends; several may have the same ones."""
    width: Int64Array
    """int64[groups]: how many ends each identity has."""
    start: Int64Array
    """int64[groups + 1]: where in `entry` a group begins."""
    entry: UInt32Array
    """uint32[start[groups]]: by identity, neighbour << NEIGHBOUR_SHIFT | IN_MESH | HAS_DIALLED, or NO_ENTRY."""


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
    # The highest bits of a key, and its index: words lie together, and the keys are seldom looked at again.
    index_bits = int64(0)
    while len(keys) >> index_bits > 0:
        index_bits += 1
    index_mask = (uint64(1) << uint64(index_bits)) - uint64(1)
    words = np.empty(len(keys), dtype=np.uint64)
    for index in range(len(keys)):
        bucket = int64(keys[index] >> uint64(1) >> shift)
        words[end[bucket]] = keys[index] & ~index_mask | uint64(index)
        end[bucket] += 1
    for position in range(1, len(words)):
        word = words[position]
        hole = position
        while hole > 0 and words[hole - 1] > word:
            words[hole] = words[hole - 1]
            hole -= 1
        words[hole] = word
    order = np.empty(len(keys), dtype=np.uint32)
    for position in range(len(words)):
        order[position] = words[position] & index_mask
    for position in range(1, len(words)):
        if (words[position] ^ words[position - 1]) & ~index_mask == uint64(0):
            # The words do not tell which key is the smaller one.
            index = order[position]
            hole = position
            while hole > 0 and keys[order[hole - 1]] > keys[index]:
                order[hole] = order[hole - 1]
                hole -= 1
            order[hole] = index
    return order


@kernel
def write_ends(order: UInt32Array, identity: UInt32Array, column: int, mark: int, ends: UInt32Array) -> None:
    """Write the two ends that each member of a cycle has, in the order in which the cycle comes by them.

    Parameters
    ----------
    order
        uint32[n]: the cycle, as numbers of its members. Each has dialled the next one, and the last one the first.
    identity
        uint32[n]: the members.
    column
        Where in a row of `ends` the two go.
    mark
        IN_MESH, or 0.
    ends
        uint32[n, width], written: entries of `Ends`.
    """
    before = int64(order[len(order) - 1])
    member = int64(order[0])
    for position in range(len(order)):
        after = int64(order[position + 1 if position + 1 < len(order) else 0])
        ends[member, column] = int64(identity[before]) << NEIGHBOUR_SHIFT | mark
        ends[member, column + 1] = int64(identity[after]) << NEIGHBOUR_SHIFT | mark | HAS_DIALLED
        before = member
        member = after
    # The edge from the last one to the first one comes last.
    ends[member, column], ends[member, column + 1] = ends[member, column + 1], ends[member, column]


@kernel
def turn_to_reachable(identity: UInt32Array, is_reachable: npt.NDArray[np.bool_], ends: UInt32Array) -> None:
    """Have those dialled who can be; connections of two who cannot are taken out.

    Parameters
    ----------
    identity
        uint32[n]: whose ends they are.
    is_reachable
        bool[A]: whether an identity can be dialled.
    ends
        uint32[n, width]: entries of `Ends`, changed.
    """
    for member in range(len(identity)):
        is_own = is_reachable[identity[member]]
        for column in range(ends.shape[1]):
            entry = int64(ends[member, column])
            if entry == NO_ENTRY:
                continue
            is_other = is_reachable[entry >> NEIGHBOUR_SHIFT]
            if not (is_other if entry & HAS_DIALLED else is_own):
                ends[member, column] = entry ^ HAS_DIALLED if is_own or is_other else NO_ENTRY


@kernel
def mark_in_turn(
    order: UInt32Array, column: int, room: npt.NDArray[np.uint8], count: npt.NDArray[np.uint8], ends: UInt32Array
) -> None:
    """Mark connections of a cycle as of the mesh, in the order of the cycle, as long as both ends have room.

    Parameters
    ----------
    order
        As `write_ends` takes it.
    column
        Where in a row of `ends` the two of this cycle are; those of earlier cycles are before them.
    room
        uint8[n]: the most members of each mesh.
    count
        uint8[n]: how many each has, changed.
    ends
        uint32[n, width]: entries of `Ends`, changed.
    """
    last = len(order) - 1
    for position in range(len(order)):
        a, b = int64(order[position]), int64(order[position + 1 if position < last else 0])
        # See `write_ends` for the first one.
        at_a, at_b = column + int64(position > 0), column + int64(position == last)
        entry = int64(ends[a, at_a])
        if entry == NO_ENTRY or count[a] >= room[a] or count[b] >= room[b]:
            continue
        there = False
        for earlier in range(at_a):
            other = int64(ends[a, earlier])
            if other & IN_MESH and other >> NEIGHBOUR_SHIFT == entry >> NEIGHBOUR_SHIFT:
                there = True
        if not there:
            ends[a, at_a] = entry | IN_MESH
            ends[b, at_b] |= IN_MESH
            count[a] += 1
            count[b] += 1


@kernel
def write_rows(
    first: int,
    past: int,
    first_id: int,
    kept_start: Int64Array,
    kept: UInt32Array,
    regular: Ends,
    sought: Ends,
    neighbours: UInt32Array,
    dialled: npt.NDArray[np.bool_],
) -> tuple[Int64Array, int]:
    """`cold.overlay.rows_of_ends`, into arrays that have room for them.

    Rows are made band by band, in an order in which nothing is touched that is not near to what was touched before.

    Parameters
    ----------
    first, past, first_id, kept_start, kept, regular, sought
        See there.
    neighbours, dialled
        uint32[ends] and bool[ends], written.

    Returns
    -------
    row_start
        See there.
    used
        How many neighbours there are.
    """
    row_start = np.zeros(past - first + 1, dtype=np.int64)
    start = np.empty(_IDENTITIES_OF_BAND + 1, dtype=np.int64)
    fill = np.empty(_IDENTITIES_OF_BAND, dtype=np.int64)
    rows = np.empty(0, dtype=np.uint32)
    next_regular, next_sought = regular.span[:, 0].copy(), sought.span[:, 0].copy()
    past_regular, past_sought = next_regular.copy(), next_sought.copy()
    used = int64(0)
    for begin in range(first, past, _IDENTITIES_OF_BAND):
        end = min(begin + _IDENTITIES_OF_BAND, past)
        for row in range(end - begin + 1):
            start[row] = 0
        if len(kept_start):
            for row in range(end - begin):
                start[row + 1] = kept_start[begin + row + 1] - kept_start[begin + row]
        _count_ends(regular, begin, end, past_regular, start)
        _count_ends(sought, begin, end, past_sought, start)
        for row in range(end - begin):
            start[row + 1] += start[row]
        if start[end - begin] > len(rows):
            rows = np.empty(start[end - begin] + start[end - begin] // 4, dtype=np.uint32)
        for row in range(end - begin):
            fill[row] = start[row]
        if len(kept_start):
            for row in range(end - begin):
                for entry in range(kept_start[begin + row], kept_start[begin + row + 1]):
                    rows[fill[row]] = kept[entry]
                    fill[row] += 1
        _copy_ends(regular, begin, next_regular, past_regular, fill, rows, True)
        _copy_ends(sought, begin, next_sought, past_sought, fill, rows, True)
        used = _write_band(first, begin, end, first_id, start, rows, row_start, neighbours, dialled, used)
        for row in range(end - begin):
            fill[row] = start[row]
            if len(kept_start):
                fill[row] += kept_start[begin + row + 1] - kept_start[begin + row]
        _copy_ends(regular, begin, next_regular, past_regular, fill, rows, False)
        _copy_ends(sought, begin, next_sought, past_sought, fill, rows, False)
        for group in range(len(next_regular)):
            next_regular[group] = past_regular[group]
        for group in range(len(next_sought)):
            next_sought[group] = past_sought[group]
    return row_start, used


@kernel
def _count_ends(ends: Ends, begin: int, end: int, past_member: Int64Array, start: Int64Array) -> None:
    """Find the members of each group that are before `end`; add how many ends they have, one place after their own."""
    for group in range(len(ends.width)):
        member, past, width = past_member[group], ends.span[group, 1], ends.width[group]
        while member < past and ends.identity[member] < end:
            start[int64(ends.identity[member]) - begin + 1] += width
            member += 1
        past_member[group] = member


@kernel
def _copy_ends(
    ends: Ends,
    begin: int,
    next_member: Int64Array,
    past_member: Int64Array,
    fill: Int64Array,
    rows: UInt32Array,
    into_rows: bool,
) -> None:
    """Copy the entries of the members from `next_member` on to the rows of a band that begins with `begin`, or back."""
    for group in range(len(ends.width)):
        width = ends.width[group]
        at = ends.start[group] + (next_member[group] - ends.span[group, 0]) * width
        for member in range(next_member[group], past_member[group]):
            row = int64(ends.identity[member]) - begin
            place = fill[row]
            if into_rows:
                for column in range(width):
                    rows[place + column] = ends.entry[at + column]
            else:
                for column in range(width):
                    ends.entry[at + column] = rows[place + column]
            fill[row] = place + width
            at += width


@kernel
def _write_band(
    first: int,
    begin: int,
    end: int,
    first_id: int,
    start: Int64Array,
    rows: UInt32Array,
    row_start: Int64Array,
    neighbours: UInt32Array,
    dialled: npt.NDArray[np.bool_],
    used: int,
) -> int:
    """Write the rows of the identities from `begin` to before `end` for `write_rows`.

    Parameters
    ----------
    first
        The identity that `row_start` begins with.
    begin, end
        See above.
    first_id
        HostId of identity 0.
    start, rows
        int64[end - begin + 1] and uint32[start[-1]]: entries of each identity, in any order. Where there is a
        neighbour, its place in the row is written instead.
    row_start
        int64[rows + 1], written.
    neighbours, dialled
        Those of `write_rows`; written on.
    used
        How many neighbours there are.

    Returns
    -------
    int
        How many there are then.
    """
    longest, highest = int64(0), int64(0)
    for row in range(end - begin):
        longest = max(longest, start[row + 1] - start[row])
    for end_of_connection in range(start[end - begin]):
        # NO_ENTRY becomes the lowest one.
        highest = max(highest, int64((rows[end_of_connection] + _ONE) & NO_ENTRY))
    bits = int64(0)
    while longest >> bits > 0:
        bits += 1
    shift = int64(0)
    while highest >> shift + bits > 0:
        shift += 1
    bucket_end = np.empty((1 << bits) + 1, dtype=np.uint32)
    # The entry, and where in the row it is.
    ascending = np.empty(longest, dtype=np.uint64)
    for row in range(end - begin):
        unsorted = rows[start[row] : start[row + 1]]
        # Entries are dealt to buckets by their highest bits, about one to each of every two.
        for bucket in range(len(bucket_end)):
            bucket_end[bucket] = 0
        for position in range(len(unsorted)):
            if unsorted[position] != NO_ENTRY:
                bucket_end[(int64(unsorted[position]) >> shift) + 1] += 1
        count = int64(0)
        for bucket in range(len(bucket_end)):
            count += int64(bucket_end[bucket])
            bucket_end[bucket] = count
        for position in range(len(unsorted)):
            entry = int64(unsorted[position])
            if entry != NO_ENTRY:
                ascending[bucket_end[entry >> shift]] = uint64(entry) << _HIGH | uint64(position)
                bucket_end[entry >> shift] += 1
        for position in range(1, count):
            word = ascending[position]
            hole = position
            while hole > 0 and ascending[hole - 1] > word:
                ascending[hole] = ascending[hole - 1]
                hole -= 1
            ascending[hole] = word
        before = int64(-1)
        begin_row = used
        for position in range(count):
            entry, place = int64(ascending[position] >> _HIGH), int64(ascending[position] & _LOW)
            neighbour, outbound = entry >> NEIGHBOUR_SHIFT, entry & HAS_DIALLED != 0
            if neighbour != before:
                neighbours[used] = first_id + neighbour
                dialled[used] = outbound
                used += 1
                before = neighbour
            elif dialled[used - 1] != outbound:
                dialled[used - 1] = begin + row < neighbour
            unsorted[place] = (used - 1 - begin_row) << NEIGHBOUR_SHIFT | entry & (IN_MESH | HAS_DIALLED)
        row_start[begin - first + row + 1] = used
    return used


@kernel
def write_first_members(
    row_start: Int64Array,
    neighbours: UInt32Array,
    ends: Ends,
    groups: Int64Array,
    mesh: UInt32Array,
    mesh_count: npt.NDArray[np.uint8],
) -> None:
    """Write the neighbours at marked ends to the mesh of each identity, each of them once.

    Parameters
    ----------
    row_start, neighbours
        Of `cold.overlay.Overlay`.
    ends
        As `write_rows` leaves them.
    groups
        int64[n]: the groups to take, of which the rows' identities are the members.
    mesh
        uint32[rows, room]: HostIds. There is room for all.
    mesh_count
        uint8[rows]: 0, and written.
    """
    for row in range(len(mesh)):
        count = int64(0)
        for group in groups:
            first = ends.start[group] + row * ends.width[group]
            for end in range(first, first + ends.width[group]):
                entry = int64(ends.entry[end])
                if entry == NO_ENTRY or not entry & IN_MESH:
                    continue
                peer = neighbours[row_start[row] + (entry >> NEIGHBOUR_SHIFT)]
                there = False
                for position in range(count):
                    there |= mesh[row, position] == peer
                if not there:
                    mesh[row, count] = peer
                    count += 1
        mesh_count[row] = count


@kernel
def add_nodes(neighbours: UInt32Array, node: npt.NDArray[np.uint16], host_bits: int) -> None:
    """Write the nodes of HostIds, uint32[n], above their lowest `host_bits` bits."""
    for index in range(len(neighbours)):
        host = int64(neighbours[index])
        neighbours[index] = host | int64(node[host]) << host_bits


@kernel
def add_to_mesh(
    mesh: UInt32Array,
    mesh_count: npt.NDArray[np.uint8],
    room: npt.NDArray[np.uint8],
    order: UInt32Array,
    first_id: int,
) -> None:
    """Add the edges of a cycle to one topic's mesh, in turn; one that is there, or has no room, is left out.

    Parameters
    ----------
    mesh
        uint32[identities, width]: HostIds.
    mesh_count
        uint8[identities].
    room
        uint8[identities]: the most members of each mesh, at most its width.
    order
        uint32[identities]: the cycle, as indices of identities.
    first_id
        HostId of identity 0.
    """
    for position in range(len(order)):
        a, b = int64(order[position]), int64(order[position + 1 if position + 1 < len(order) else 0])
        if mesh_count[a] >= room[a] or mesh_count[b] >= room[b]:
            continue
        there = False
        for member in range(mesh_count[a]):
            if mesh[a, member] == b + first_id:
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
