"""Who knows whom in the tail, and the meshes that it starts with.

An overlay that is not made by dialling (`cold.dialing`) is a union of random Hamiltonian cycles: symmetric, connected
by construction, nearly regular, and an expander with high probability. The n-th cycle visits the identities in the
order of a keyed random draw each, so that it depends on the seed alone. The first mesh of a topic is made of some of
those cycles: it has degree D (a little less where two cycles share an edge).
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cold.dialing import Dialing, connect, order_of
from cold.dialing_kernels import rows_of_connections
from cold.division import Division, Draw
from cold.jit import uint64
from cold.overlay_kernels import (
    HAS_DIALLED,
    IN_MESH,
    NEIGHBOUR_SHIFT,
    NO_ENTRY,
    Ends,
    add_to_mesh,
    ascending_order,
    draw_keys,
    draw_keys_of,
    graft_in_turn,
    mark_in_turn,
    turn_to_reachable,
    write_ends,
    write_first_members,
    write_rows,
)
from cold.purposes import ColdPurpose

Reachable = npt.NDArray[np.bool_] | None
UInt32Array = npt.NDArray[np.uint32]


def room_for_ends(identities: Sequence[UInt32Array], groups: Sequence[tuple[int, int]]) -> Ends:
    """Make `Ends` of which nothing is drawn yet.

    Parameters
    ----------
    identities
        Indices of the members of groups, ascending.
    groups
        Of each group, the number of its members among `identities`, and how many ends each of them has.
    """
    past = np.cumsum([len(members) for members in identities], dtype=np.int64)
    number, width = np.array(groups, dtype=np.int64).reshape(-1, 2).T
    sizes = np.array([len(members) for members in identities], dtype=np.int64)[number]
    span = np.stack([past[number] - sizes, past[number]], axis=1) if len(number) else np.zeros((0, 2), dtype=np.int64)
    start = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes * width)])
    identity = np.concatenate([np.empty(0, dtype=np.uint32), *identities])
    return Ends(identity, span, np.ascontiguousarray(width), start, np.empty(start[-1], dtype=np.uint32))


def ends_of_group(ends: Ends, group: int) -> UInt32Array:
    """Return the entries of a group: uint32[its members, its width], a view."""
    first, past = ends.start[group : group + 2]
    members = int(ends.span[group, 1] - ends.span[group, 0])
    return ends.entry[first:past].reshape(members, int(ends.width[group]))


NO_ENDS: Ends = room_for_ends([], [])


class Overlay(NamedTuple):
    """Peers of every identity, or of those of one shard. Peers are HostIds; there is a row for each identity."""

    row_start: npt.NDArray[np.int64]
    """int64[identities + 1]."""
    neighbours: npt.NDArray[np.uint32]
    """uint32[row_start[-1]]: HostIds, ascending in each row."""
    dialled: npt.NDArray[np.bool_]
    """bool[row_start[-1]]: whether the row's identity has dialled the neighbour; one of the two ends has."""
    mesh: npt.NDArray[np.uint32]
    """uint32[topics, identities, D_high]: HostIds, the first mesh_count of each row valid."""
    mesh_count: npt.NDArray[np.uint8]
    """uint8[topics, identities]."""

    def rows(self, first: int, past: int) -> "Overlay":
        """The rows from `first` to before `past`, which are views as far as they can be."""
        start = self.row_start[first : past + 1]
        return Overlay(
            start - start[0],
            self.neighbours[start[0] : start[-1]],
            self.dialled[start[0] : start[-1]],
            self.mesh[:, first:past],
            self.mesh_count[:, first:past],
        )

    def dialled_bits(self) -> npt.NDArray[np.uint8]:
        """Return `dialled` as bits for `membership_kernels.is_outbound`: uint8[row_start[-1] / 8, rounded up]."""
        return np.packbits(self.dialled, bitorder="little")


NO_OVERLAY = Overlay(
    np.zeros(1, dtype=np.int64),
    np.empty(0, dtype=np.uint32),
    np.empty(0, dtype=np.bool_),
    np.empty((0, 0, 0), dtype=np.uint32),
    np.empty((0, 0), dtype=np.uint8),
)


def _cycle(seed: int, first_id: int, count: int, purpose: ColdPurpose, number: int) -> npt.NDArray[np.uint32]:
    draws = draw_keys(uint64(seed), first_id, count, int(purpose), number)
    return ascending_order(draws)


def rows_of_ends(
    first: int,
    past: int,
    first_id: int,
    *,
    regular: Ends = NO_ENDS,
    sought: Ends = NO_ENDS,
    kept: tuple[npt.NDArray[np.int64], UInt32Array] | None = None,
) -> tuple[npt.NDArray[np.int64], UInt32Array, npt.NDArray[np.bool_]]:
    """Rows of sorted, distinct neighbours of some identities, from the ends of their connections.

    The arrays are numpy's own, which asks for huge pages: kernels look up neighbours at random.

    Parameters
    ----------
    first, past
        The identities from `first` to before `past` have rows.
    first_id
        HostId of identity 0.
    regular, sought
        Ends of connections of these identities, and of no others. In each entry that has one, the neighbour's place in
        the row takes the place of the neighbour.
    kept
        More of them, in rows of identities from 0 on: where each begins, int64[identities + 1], and entries.

    Returns
    -------
    row_start
        int64[past - first + 1].
    neighbours
        uint32[row_start[-1]]: HostIds.
    dialled
        bool[row_start[-1]]: whether the identity of the row has dialled the neighbour; of connections in both
        directions between two identities, the one from the lower identity is kept.
    """
    kept_start, kept_entries = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint32)) if kept is None else kept
    most = len(regular.entry) + len(sought.entry) + len(kept_entries)
    neighbours, dialled = np.empty(most, dtype=np.uint32), np.empty(most, dtype=np.bool_)
    row_start, used = write_rows(first, past, first_id, kept_start, kept_entries, regular, sought, neighbours, dialled)
    return row_start, neighbours[:used], dialled[:used]


def build_overlay(
    seed: int,
    first_id: int,
    count: int,
    shape: int | Dialing,
    topics: int,
    mesh_degree: npt.NDArray[np.uint8] | int,
    mesh_room: int,
    sought: Ends = NO_ENDS,
    purpose: ColdPurpose = ColdPurpose.OVERLAY,
    division: Division | None = None,
) -> Overlay:
    """Build the peer graph of `count` identities, and the first mesh of each topic.

    Parameters
    ----------
    seed
        Seed of the run.
    first_id
        HostId of identity 0.
    count
        Number of identities, at least 1.
    shape
        Mean degree of a regular graph, which is complete where there are not more identities; or how they dial.
    topics
        Number of topics that all subscribe to.
    mesh_degree
        D of gossipsub, of each identity (uint8[count]) or of all.
    mesh_room
        The largest D_high.
    sought
        Connections besides: those that identities seek on topics to which some do not subscribe. They are of this
        shard's identities, but of all where identities dial, on shard 0, and none on others. See `rows_of_ends` for
        what becomes of them.
    purpose
        Of the draws of a regular graph.
    division
        Of the identities among shards, which all have to call this; the result has the rows of this shard's. By default
        there is one shard.
    """
    division = Division.of(None, 0, first_id, count) if division is None else division
    most = np.full(count, mesh_degree, dtype=np.uint8) if isinstance(mesh_degree, int) else mesh_degree
    if isinstance(shape, Dialing):
        return _dialled(seed, first_id, shape, topics, most, mesh_room, sought, division)
    degree = min(shape, count - 1)
    cycles = max(degree // 2, 1) if count > 1 else 0
    mesh_cycles = min(max(int(most.max()) // 2, 1), cycles)
    has_matching = degree % 2 == 1 and degree > 1 and count > 1
    is_complete = 1 < count <= degree + 1
    everybody = np.arange(count, dtype=np.uint32)
    own = everybody[division.first : division.past]
    groups = [(0, 2)] * cycles + [(0, 1)] * has_matching + [(0, count - 1)] * is_complete
    regular = room_for_ends([own], groups)

    def cycle(number: int) -> UInt32Array:
        return _cycle(seed, first_id, count, purpose, number)

    def topics_of(number: int) -> list[int]:
        """Topics whose first meshes are made of a cycle."""
        return [topic for topic in range(topics) if (number - topic * mesh_cycles) % cycles < mesh_cycles]

    draws: list[Callable[[UInt32Array], None]] = [
        partial(_write_cycle, partial(cycle, number), everybody) for number in range(cycles)
    ]
    if has_matching:
        draws.append(partial(_write_pairs, partial(cycle, cycles)))
    if is_complete:
        ends_of_group(regular, cycles + has_matching)[:] = _ends_of_all(everybody)[division.first : division.past]
    bounds = list(pairwise(division.cuts.tolist()))
    division.dealt([Draw(write, count, bounds, ends_of_group(regular, group)) for group, write in enumerate(draws)])
    has_room = 2 * mesh_cycles <= int(most.min(initial=255))
    meshes = len(own) if has_room else count
    mesh = np.zeros((topics, meshes, mesh_room), dtype=np.uint32)
    mesh_count = np.zeros((topics, meshes), dtype=np.uint8)
    if not has_room:
        # Whom somebody takes depends on whom the others have taken before: each shard makes the meshes of all.
        needed = [number for number in range(cycles) if topics_of(number)]
        for number, order in zip(needed, division.drawn([partial(cycle, each) for each in needed]), strict=True):
            for topic in topics_of(number):
                add_to_mesh(mesh[topic], mesh_count[topic], most, order, first_id)
        if not division.is_whole:
            mesh = mesh[:, division.first : division.past].copy()
            mesh_count = mesh_count[:, division.first : division.past].copy()
    rows = rows_of_ends(division.first, division.past, first_id, regular=regular, sought=sought)
    for topic in range(topics if has_room else 0):
        taken = np.array([number for number in range(cycles) if topic in topics_of(number)], dtype=np.int64)
        write_first_members(*rows[:2], regular, taken, mesh[topic], mesh_count[topic])
    return Overlay(*rows, mesh, mesh_count)


def _write_cycle(draw: Callable[[], UInt32Array], identity: UInt32Array, ends: UInt32Array) -> None:
    write_ends(draw(), identity, 0, IN_MESH, ends)


def _write_pairs(draw: Callable[[], UInt32Array], ends: UInt32Array) -> None:
    """Connect those who follow each other in an order, two by two; the first of a pair has dialled the other."""
    order = draw()
    one, other = order[0 : len(order) - 1 : 2], order[1::2]
    ends[:] = NO_ENTRY
    ends[one, 0] = other << np.uint32(NEIGHBOUR_SHIFT) | np.uint32(HAS_DIALLED)
    ends[other, 0] = one << np.uint32(NEIGHBOUR_SHIFT)


def _ends_of_all(identity: UInt32Array) -> UInt32Array:
    """Connect everybody with everybody; the lower one has dialled: uint32[n, n - 1]."""
    own, number = np.arange(len(identity))[:, None], np.arange(len(identity) - 1)[None]
    return identity[number + (number >= own)] << np.uint32(NEIGHBOUR_SHIFT) | (number >= own).astype(np.uint32)


def _dialled(
    seed: int,
    first_id: int,
    dialing: Dialing,
    topics: int,
    most: npt.NDArray[np.uint8],
    mesh_room: int,
    sought: Ends,
    division: Division,
) -> Overlay:
    """The overlay of identities that dial, which shard 0 makes where shards are connected."""
    made: list[Overlay] = []

    def rows(first: int, past: int) -> Overlay:
        if not made:
            made.append(_connected(seed, first_id, dialing, topics, most, mesh_room, sought))
        return made[0].rows(first, past)

    return Overlay(*division.handed_out(rows))


def _connected(
    seed: int,
    first_id: int,
    dialing: Dialing,
    topics: int,
    most: npt.NDArray[np.uint8],
    mesh_room: int,
    sought: Ends,
) -> Overlay:
    """The overlay of all identities that dial; each topic's mesh begins with the turn of another identity."""
    count = len(most)
    mesh = np.zeros((topics, count, mesh_room), dtype=np.uint32)
    mesh_count = np.zeros((topics, count), dtype=np.uint8)
    row_start, neighbours, dialled = rows_of_connections(connect(dialing, seed, first_id))
    order = order_of(seed, first_id, count, dialing.rounds)
    for topic in range(topics):
        turns = np.roll(order, -(topic * count // topics))
        graft_in_turn(uint64(seed), first_id, topic, turns, row_start, neighbours, most, mesh[topic], mesh_count[topic])
    if len(sought.entry):
        entries = neighbours << np.uint32(NEIGHBOUR_SHIFT) | dialled
        return Overlay(*rows_of_ends(0, count, first_id, sought=sought, kept=(row_start, entries)), mesh, mesh_count)
    neighbours += np.uint32(first_id)
    return Overlay(row_start, neighbours, dialled, mesh, mesh_count)


def topic_cycles(seed: int, members: npt.NDArray[np.uint32], topic: int, peers: int) -> list[npt.NDArray[np.uint32]]:
    """Draw the cycles in which the subscribers of a topic find each other: uint32[members] each, of their ranks.

    Parameters
    ----------
    seed
        Seed of the run.
    members
        HostIds of the subscribers, ascending.
    topic
        Index of the topic.
    peers
        How many each seeks.
    """
    if len(members) < 2:
        return []
    counters = ((topic + 1) << 16 | number for number in range(max(peers // 2, 1)))
    keys = (draw_keys_of(uint64(seed), members, int(ColdPurpose.OVERLAY), counter) for counter in counters)
    return [ascending_order(key) for key in keys]


def ends_of_member(members: int, peers: int) -> int:
    """How many ends each subscriber of a topic has, of which there are so many, that each seek so many peers."""
    return (2 * max(peers // 2, 1) if members > 1 else 0) + (members - 1 if 1 < members <= peers + 1 else 0)


def write_topic(
    seed: int,
    members: UInt32Array,
    identity: UInt32Array,
    topic: int,
    peers: int,
    mesh_peers: int,
    mesh_degree: npt.NDArray[np.uint8],
    is_reachable: Reachable,
    ends: UInt32Array,
) -> None:
    """Draw the connections that the subscribers of a topic seek, those of the first mesh among them.

    The first mesh is of the first D / 2 of `topic_cycles`. Subscribers that are not more than `peers` + 1 are all
    connected. Two identities that nobody can dial are not.

    Parameters
    ----------
    seed
        Seed of the run.
    members
        uint32[n]: HostIds of the subscribers, ascending.
    identity
        uint32[n]: their indices.
    topic
        Index of the topic.
    peers
        How many each seeks.
    mesh_peers
        How many of these may be of the first mesh.
    mesh_degree
        D of each subscriber: uint8[n].
    is_reachable
        bool[identities]: whether an identity can be dialled; by default all can.
    ends
        uint32[n, `ends_of_member`], written: entries of `Ends`.
    """
    cycles = topic_cycles(seed, members, topic, peers)
    mesh_cycles = min(max(int(mesh_degree.max(initial=0)) // 2, 1), max(mesh_peers // 2, 1), len(cycles))
    has_room = 2 * mesh_cycles <= int(mesh_degree.min(initial=255))
    for number, order in enumerate(cycles):
        write_ends(order, identity, 2 * number, IN_MESH if has_room and number < mesh_cycles else 0, ends)
    if ends.shape[1] > 2 * len(cycles):
        ends[:, 2 * len(cycles) :] = _ends_of_all(identity)
    if is_reachable is not None and not is_reachable[identity].all():
        turn_to_reachable(identity, is_reachable, ends)
    if not has_room:
        count = np.zeros(len(members), dtype=np.uint8)
        for number, order in enumerate(cycles[:mesh_cycles]):
            mark_in_turn(order, 2 * number, mesh_degree, count, ends)


def topic_overlay(
    seed: int,
    members: npt.NDArray[np.uint32],
    topic: int,
    first_id: int,
    sought: int,
    known: int,
    mesh_degree: int,
    mesh_room: int,
    is_reachable: Reachable = None,
) -> Overlay:
    """The connections of a topic's subscribers among themselves, who are numbered from `first_id` on.

    Parameters
    ----------
    seed
        Seed of the run.
    members
        HostIds of the subscribers, ascending.
    topic
        Index of the topic.
    first_id
        HostId of the first identity.
    sought
        How many peers each seeks: the first mesh is of these.
    known
        How many peers each knows in all.
    mesh_degree
        D of gossipsub.
    mesh_room
        D_high.
    is_reachable
        Whether each subscriber can be dialled; by default all can.
    """
    peers = max(known, sought)
    identity = np.arange(len(members), dtype=np.uint32)
    ends = room_for_ends([identity], [(0, ends_of_member(len(members), peers))])
    degree = np.full(len(members), mesh_degree, dtype=np.uint8)
    write_topic(seed, members, identity, topic, peers, sought, degree, is_reachable, ends_of_group(ends, 0))
    rows = rows_of_ends(0, len(members), first_id, sought=ends)
    mesh = np.zeros((1, len(members), mesh_room), dtype=np.uint32)
    count = np.zeros((1, len(members)), dtype=np.uint8)
    write_first_members(*rows[:2], ends, np.zeros(1, dtype=np.int64), mesh[0], count[0])
    return Overlay(*rows, mesh, count)
