"""Who knows whom in the tail, and the meshes that it starts with.

An overlay that is not made by dialling (`cold.dialing`) is a union of random Hamiltonian cycles: symmetric, connected
by construction, nearly regular, and an expander with high probability. The n-th cycle visits the identities in the
order of a keyed random draw each, so that it depends on the seed alone. The first mesh of a topic is made of some of
those cycles: it has degree D (a little less where two cycles share an edge).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cold.dialing import Dialing, connect, order_of
from cold.dialing_kernels import rows_of_connections
from cold.jit import uint64
from cold.overlay_kernels import (
    add_to_mesh,
    ascending_order,
    choose,
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


class Overlay(NamedTuple):
    """Peers of every identity. Peers are HostIds; rows are identity indices."""

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

    def rows(self, first: int, last: int) -> "Overlay":
        """The rows of the identities from `first` to `last`, the first that is left out."""
        if last - first == len(self.row_start) - 1:
            return self
        start = self.row_start[first : last + 1]
        return Overlay(
            start - start[0],
            self.neighbours[start[0] : start[-1]].copy(),
            self.dialled[start[0] : start[-1]].copy(),
            self.mesh[:, first:last],
            self.mesh_count[:, first:last],
        )

    def dialled_bits(self) -> npt.NDArray[np.uint8]:
        """Return `dialled` as bits for `overlay_kernels.is_outbound`: uint8[row_start[-1] / 8, rounded up]."""
        return np.packbits(self.dialled, bitorder="little")


def _cycle(seed: int, first_id: int, count: int, purpose: ColdPurpose, number: int) -> npt.NDArray[np.uint32]:
    draws = draw_keys(uint64(seed), first_id, count, int(purpose), number)
    return ascending_order(draws)


def rows_of_edges(
    count: int, first_id: int, left: npt.NDArray[np.uint32], right: npt.NDArray[np.uint32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32], npt.NDArray[np.bool_]]:
    """Rows of sorted, distinct neighbours of a multigraph without self-loops, whose edges have a direction.

    The arrays are numpy's own, which asks for huge pages: kernels look up neighbours at random.

    Parameters
    ----------
    count
        Number of vertices, less than 2**31.
    first_id
        HostId of vertex 0.
    left, right
        uint32[edges]: ends of each edge; the left one has dialled the right one.

    Returns
    -------
    row_start
        int64[count + 1].
    neighbours
        uint32[row_start[count]]: HostIds.
    dialled
        bool[row_start[count]]: whether the edge leads from the vertex of the row to the neighbour; of edges in both
        directions between two vertices, the one from the lower vertex is kept.
    """
    neighbours = np.empty(2 * len(left), dtype=np.uint32)
    dialled = np.empty(2 * len(left), dtype=np.bool_)
    row_start, used = write_rows_of_edges(count, first_id, left, right, neighbours, dialled)
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
        Connections besides: those that identities seek on topics to which some do not subscribe.
    purpose
        Of the draws of a regular graph.
    """
    most = np.full(count, mesh_degree, dtype=np.uint8) if isinstance(mesh_degree, int) else mesh_degree
    mesh = np.zeros((topics, count, mesh_room), dtype=np.uint32)
    mesh_count = np.zeros((topics, count), dtype=np.uint8)
    if isinstance(shape, Dialing):
        return _dialled(seed, first_id, shape, most, mesh, mesh_count, sought)
    degree = min(shape, count - 1)
    lefts: list[npt.NDArray[np.uint32]] = []
    rights: list[npt.NDArray[np.uint32]] = []
    cycles = max(degree // 2, 1) if count > 1 else 0
    mesh_cycles = min(max(int(most.max()) // 2, 1), cycles)
    for number in range(cycles):
        order = _cycle(seed, first_id, count, purpose, number)
        following = np.roll(order, -1)
        lefts.append(order)
        rights.append(following)
        for topic in range(topics):
            if (number - topic * mesh_cycles) % cycles < mesh_cycles:
                add_to_mesh(mesh[topic], mesh_count[topic], most, order, following, first_id)
    if degree % 2 and degree > 1 and count > 1:
        order = _cycle(seed, first_id, count, purpose, cycles)
        lefts.append(order[0 : count - 1 : 2])
        rights.append(order[1:count:2])
    if 1 < count <= degree + 1:
        rows, columns = np.triu_indices(count, 1)
        lefts.append(rows.astype(np.uint32))
        rights.append(columns.astype(np.uint32))
    for edges in sought:
        lefts.append(edges.left)
        rights.append(edges.right)
    empty = np.empty(0, dtype=np.uint32)
    ends = np.concatenate([empty, *lefts]), np.concatenate([empty, *rights])
    return Overlay(*rows_of_edges(count, first_id, *ends), mesh, mesh_count)


def _dialled(
    seed: int,
    first_id: int,
    dialing: Dialing,
    most: npt.NDArray[np.uint8],
    mesh: npt.NDArray[np.uint32],
    mesh_count: npt.NDArray[np.uint8],
    sought: Sequence[Edges],
) -> Overlay:
    """The overlay of identities that dial; each topic's mesh begins with the turn of another identity."""
    topics, count = mesh_count.shape
    row_start, neighbours, dialled = rows_of_connections(connect(dialing, seed, first_id))
    order = order_of(seed, first_id, count, dialing.rounds)
    for topic in range(topics):
        turns = np.roll(order, -(topic * count // topics))
        graft_in_turn(uint64(seed), first_id, topic, turns, row_start, neighbours, most, mesh[topic], mesh_count[topic])
    if sought:
        caller = np.repeat(np.arange(count, dtype=np.uint32), np.diff(row_start))[dialled]
        lefts = [caller, *(edges.left for edges in sought)]
        rights = [neighbours[dialled], *(edges.right for edges in sought)]
        rows = rows_of_edges(count, first_id, np.concatenate(lefts), np.concatenate(rights))
        return Overlay(*rows, mesh, mesh_count)
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
) -> Edges:
    """The connections of `topic_cycles`; subscribers that are not more than `peers` + 1 are all connected.

    Two identities that nobody can dial are not; `is_reachable` says of each subscriber whether it can be dialled.
    """
    empty = np.empty(0, dtype=np.uint32)
    lefts, rights = [empty, *cycles], [empty, *(np.roll(order, -1) for order in cycles)]
    if 1 < len(members) <= peers + 1:
        rows, columns = np.triu_indices(len(members), 1)
        lefts.append(rows.astype(np.uint32))
        rights.append(columns.astype(np.uint32))
    identity = members - np.uint32(first_id)
    left, right = _dialled_edges(np.concatenate(lefts), np.concatenate(rights), is_reachable)
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
    rows = rows_of_edges(len(members), first_id, edges.left, edges.right)
    degree = np.full(len(members), mesh_degree, dtype=np.uint8)
    mesh, count = topic_mesh(numbers, cycles[: max(sought // 2, 1)], degree, mesh_room, is_reachable)
    return Overlay(*rows, mesh[None], count[None])
