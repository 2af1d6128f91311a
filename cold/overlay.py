"""Who knows whom in the tail, and the meshes that it starts with.

An overlay that is not made by dialling (`cold.dialing`) is a union of random Hamiltonian cycles: symmetric, connected
by construction, nearly regular, and an expander with high probability. The n-th cycle visits the identities in the
order of a keyed random draw each, so that it depends on the seed alone. The first mesh of a topic is made of some of
those cycles: it has degree D (a little less where two cycles share an edge).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cold.dialing import Dialing, connect, order_of
from cold.dialing_kernels import rows_of_connections
from cold.jit import uint64
from cold.overlay_kernels import add_to_mesh, draw_keys, graft_in_turn, rows_of_edges
from cold.purposes import ColdPurpose


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
        if last - first == len(self.mesh_count[0]):
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


def _cycle(seed: int, first_id: int, count: int, number: int) -> npt.NDArray[np.uint32]:
    draws = draw_keys(uint64(seed), first_id, count, int(ColdPurpose.OVERLAY), number)
    return np.argsort(draws, kind="stable").astype(np.uint32)


def build_overlay(
    seed: int,
    first_id: int,
    count: int,
    shape: int | Dialing,
    topics: int,
    mesh_degree: npt.NDArray[np.uint8] | int,
    mesh_room: int,
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
        Number of topics.
    mesh_degree
        D of gossipsub, of each identity (uint8[count]) or of all.
    mesh_room
        The largest D_high.
    """
    most = np.full(count, mesh_degree, dtype=np.uint8) if isinstance(mesh_degree, int) else mesh_degree
    mesh = np.zeros((topics, count, mesh_room), dtype=np.uint32)
    mesh_count = np.zeros((topics, count), dtype=np.uint8)
    if isinstance(shape, Dialing):
        return _dialled(seed, first_id, shape, most, mesh, mesh_count)
    degree = min(shape, count - 1)
    lefts: list[npt.NDArray[np.uint32]] = []
    rights: list[npt.NDArray[np.uint32]] = []
    cycles = max(degree // 2, 1) if count > 1 else 0
    mesh_cycles = min(max(int(most.max()) // 2, 1), cycles)
    for number in range(cycles):
        order = _cycle(seed, first_id, count, number)
        following = np.roll(order, -1)
        lefts.append(order)
        rights.append(following)
        for topic in range(topics):
            if (number - topic * mesh_cycles) % cycles < mesh_cycles:
                add_to_mesh(mesh[topic], mesh_count[topic], most, order, following, first_id)
    if degree % 2 and degree > 1 and count > 1:
        order = _cycle(seed, first_id, count, cycles)
        lefts.append(order[0 : count - 1 : 2])
        rights.append(order[1:count:2])
    if 1 < count <= degree + 1:
        rows, columns = np.triu_indices(count, 1)
        lefts.append(rows.astype(np.uint32))
        rights.append(columns.astype(np.uint32))
    empty = np.empty(0, dtype=np.uint32)
    row_start, neighbours, dialled = rows_of_edges(
        count, np.concatenate([empty, *lefts]), np.concatenate([empty, *rights])
    )
    return Overlay(row_start, neighbours + np.uint32(first_id), dialled, mesh, mesh_count)


def _dialled(
    seed: int,
    first_id: int,
    dialing: Dialing,
    most: npt.NDArray[np.uint8],
    mesh: npt.NDArray[np.uint32],
    mesh_count: npt.NDArray[np.uint8],
) -> Overlay:
    """The overlay of identities that dial; each topic's mesh begins with the turn of another identity."""
    topics, count = mesh_count.shape
    row_start, neighbours, dialled = rows_of_connections(connect(dialing, seed, first_id))
    order = order_of(seed, first_id, count, dialing.rounds)
    for topic in range(topics):
        turns = np.roll(order, -(topic * count // topics))
        graft_in_turn(uint64(seed), first_id, topic, turns, row_start, neighbours, most, mesh[topic], mesh_count[topic])
    neighbours += np.uint32(first_id)
    return Overlay(row_start, neighbours, dialled, mesh, mesh_count)
