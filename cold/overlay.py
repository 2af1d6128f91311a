"""Who knows whom in the tail, and the meshes that it starts with.

An overlay that is not made by dialling (`cold.dialing`) is a union of random Hamiltonian cycles: symmetric, connected
by construction, nearly regular, and an expander with high probability. The n-th cycle visits the identities in the
order of a keyed random draw each, so that it depends on the seed alone. The first mesh of a topic is made of some of
those cycles: it has degree D (a little less where two cycles share an edge).
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cold.dialing import Dialing, connect, order_of
from cold.dialing_kernels import rows_of_connections
from cold.division import Division
from cold.jit import uint64
from cold.overlay_kernels import (
    add_to_mesh,
    ascending_order,
    choose,
    choose_edges,
    draw_keys,
    draw_keys_of,
    graft_in_turn,
    write_rows_of_edges,
)
from cold.purposes import ColdPurpose

Reachable = npt.NDArray[np.bool_] | None


class Edges(NamedTuple):
    """Connections by their ends' identity indices; the left one has dialled the right one."""

    left: npt.NDArray[np.uint32]
    right: npt.NDArray[np.uint32]

    def touching(self, first: int, past: int) -> "Edges":
        """Those of which an end is from `first` to before `past`."""
        left, right = np.empty_like(self.left), np.empty_like(self.right)
        count = choose_edges(self.left, self.right, first, past, left, right)
        return Edges(left[:count].copy(), right[:count].copy())


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


def _cycle(seed: int, first_id: int, count: int, purpose: ColdPurpose, number: int) -> npt.NDArray[np.uint32]:
    draws = draw_keys(uint64(seed), first_id, count, int(purpose), number)
    return ascending_order(draws)


def rows_of_edges(
    first: int, past: int, first_id: int, left: npt.NDArray[np.uint32], right: npt.NDArray[np.uint32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32], npt.NDArray[np.bool_]]:
    """Rows of sorted, distinct neighbours of some vertices of a multigraph without self-loops, with directed edges.

    The arrays are numpy's own, which asks for huge pages: kernels look up neighbours at random.

    Parameters
    ----------
    first, past
        The vertices from `first` to before `past` have rows; there are less than 2**31 in all.
    first_id
        HostId of vertex 0.
    left, right
        uint32[edges]: ends of each edge; the left one has dialled the right one.

    Returns
    -------
    row_start
        int64[past - first + 1].
    neighbours
        uint32[row_start[-1]]: HostIds.
    dialled
        bool[row_start[-1]]: whether the edge leads from the vertex of the row to the neighbour; of edges in both
        directions between two vertices, the one from the lower vertex is kept.
    """
    neighbours = np.empty(2 * len(left), dtype=np.uint32)
    dialled = np.empty(2 * len(left), dtype=np.bool_)
    row_start, used = write_rows_of_edges(first, past, first_id, left, right, neighbours, dialled)
    return row_start, neighbours[:used], dialled[:used]


def build_overlay(
    seed: int,
    first_id: int,
    count: int,
    shape: int | Dialing,
    topics: int,
    mesh_degree: npt.NDArray[np.uint8] | int,
    mesh_room: int,
    sought: Sequence[Edges] = (),
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
        Connections besides: those that identities seek on topics to which some do not subscribe. A regular graph needs
        only those that touch this shard's identities.
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
    mesh = np.zeros((topics, count, mesh_room), dtype=np.uint32)
    mesh_count = np.zeros((topics, count), dtype=np.uint8)
    degree = min(shape, count - 1)
    cycles = max(degree // 2, 1) if count > 1 else 0
    mesh_cycles = min(max(int(most.max()) // 2, 1), cycles)
    has_matching = degree % 2 == 1 and degree > 1 and count > 1
    edges: list[Edges] = []
    draws = [partial(_cycle, seed, first_id, count, purpose, number) for number in range(cycles + has_matching)]
    for number, order in enumerate(division.drawn(draws)):
        if number == cycles:
            matching = Edges(order[0 : count - 1 : 2].copy(), order[1:count:2].copy())
            edges.append(_own(matching, division))
            continue
        cycle = Edges(order, np.roll(order, -1))
        for topic in range(topics):
            if (number - topic * mesh_cycles) % cycles < mesh_cycles:
                add_to_mesh(mesh[topic], mesh_count[topic], most, *cycle, first_id)
        edges.append(_own(cycle, division))
    if 1 < count <= degree + 1:
        rows, columns = np.triu_indices(count, 1)
        edges.append(_own(Edges(rows.astype(np.uint32), columns.astype(np.uint32)), division))
    ends = _joined([*edges, *sought])
    del edges
    own = slice(division.first, division.past)
    return Overlay(
        *rows_of_edges(division.first, division.past, first_id, *ends),
        *((mesh, mesh_count) if division.is_whole else (mesh[:, own].copy(), mesh_count[:, own].copy())),
    )


def _own(edges: Edges, division: Division) -> Edges:
    """Edges that touch this shard's identities."""
    return edges if division.is_whole else edges.touching(division.first, division.past)


def _joined(edges: Sequence[Edges]) -> Edges:
    empty = np.empty(0, dtype=np.uint32)
    lefts, rights = [some.left for some in edges], [some.right for some in edges]
    return Edges(np.concatenate([empty, *lefts]), np.concatenate([empty, *rights]))


def _dialled(
    seed: int,
    first_id: int,
    dialing: Dialing,
    topics: int,
    most: npt.NDArray[np.uint8],
    mesh_room: int,
    sought: Sequence[Edges],
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
    sought: Sequence[Edges],
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
    if sought:
        caller = np.repeat(np.arange(count, dtype=np.uint32), np.diff(row_start))[dialled]
        edges = _joined([Edges(caller, neighbours[dialled]), *sought])
        return Overlay(*rows_of_edges(0, count, first_id, *edges), mesh, mesh_count)
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


def _dialled_edges(left: npt.NDArray[np.uint32], right: npt.NDArray[np.uint32], is_reachable: Reachable) -> Edges:
    """Edges of which one end at least can be dialled, and is."""
    if is_reachable is None or is_reachable.all():
        return Edges(left, right)
    possible = is_reachable[left] | is_reachable[right]
    left, right = left[possible], right[possible]
    return Edges(np.where(is_reachable[right], left, right), np.where(is_reachable[right], right, left))


def topic_edges(
    members: npt.NDArray[np.uint32],
    cycles: Sequence[npt.NDArray[np.uint32]],
    peers: int,
    first_id: int,
    is_reachable: Reachable = None,
    own: range | None = None,
) -> Edges:
    """The connections of `topic_cycles`; subscribers that are not more than `peers` + 1 are all connected.

    Two identities that nobody can dial are not; `is_reachable` says of each subscriber whether it can be dialled. With
    `own`, HostIds, only the connections that touch one of these are wanted.
    """
    edges = [Edges(order, np.roll(order, -1)) for order in cycles]
    if 1 < len(members) <= peers + 1:
        rows, columns = np.triu_indices(len(members), 1)
        edges.append(Edges(rows.astype(np.uint32), columns.astype(np.uint32)))
    if own is not None:
        first, past = np.searchsorted(members, [own.start, own.stop]).tolist()
        edges = [some.touching(first, past) for some in edges]
    identity = members - np.uint32(first_id)
    left, right = _dialled_edges(*_joined(edges), is_reachable)
    return Edges(choose(identity, left), choose(identity, right))


def topic_mesh(
    members: npt.NDArray[np.uint32],
    cycles: Sequence[npt.NDArray[np.uint32]],
    mesh_degree: npt.NDArray[np.uint8],
    mesh_room: int,
    is_reachable: Reachable = None,
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
    """The first mesh of a topic, of the first D / 2 of its cycles.

    Parameters
    ----------
    members
        HostIds of the subscribers.
    cycles
        As `topic_cycles` returns them.
    mesh_degree
        D of each subscriber: uint8[members].
    mesh_room
        The largest D_high.
    is_reachable
        Whether each subscriber can be dialled; by default all can.

    Returns
    -------
    mesh
        uint32[members, mesh_room]: HostIds, of which the first `count` of each row are valid.
    count
        uint8[members].
    """
    mesh = np.zeros((len(members), mesh_room), dtype=np.uint32)
    count = np.zeros(len(members), dtype=np.uint8)
    for order in cycles[: max(int(mesh_degree.max(initial=0)) // 2, 1)]:
        add_to_mesh(mesh, count, mesh_degree, *_dialled_edges(order, np.roll(order, -1), is_reachable), 0)
    return choose(members, mesh.ravel()).reshape(mesh.shape) if len(members) else mesh, count


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
    cycles = topic_cycles(seed, members, topic, max(known, sought))
    numbers = np.arange(first_id, first_id + len(members), dtype=np.uint32)
    edges = topic_edges(numbers, cycles, known, first_id, is_reachable)
    rows = rows_of_edges(0, len(members), first_id, *edges)
    degree = np.full(len(members), mesh_degree, dtype=np.uint8)
    mesh, count = topic_mesh(numbers, cycles[: max(sought // 2, 1)], degree, mesh_room, is_reachable)
    return Overlay(*rows, mesh[None], count[None])
