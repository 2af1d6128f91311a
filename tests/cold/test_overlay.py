"""The peer graph of the tail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from cold.overlay import Overlay, build_overlay
from cold.overlay_kernels import is_outbound


def graph_of(overlay: Overlay, first_id: int) -> csr_array:
    count = len(overlay.row_start) - 1
    columns = overlay.neighbours.astype(np.int64) - first_id
    return csr_array((np.ones(len(columns)), columns, overlay.row_start), shape=(count, count))


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 200),
    degree=st.integers(2, 40),
    first_id=st.integers(0, 100),
    topics=st.integers(1, 3),
)
def test_the_overlay_is_symmetric_connected_and_has_no_loops(
    count: int, degree: int, first_id: int, topics: int
) -> None:
    degree = min(degree, count - 1)
    overlay = build_overlay(3, first_id, count, degree, topics, 8, 12)
    graph = graph_of(overlay, first_id)
    assert (graph != graph.T).nnz == 0
    assert graph.diagonal().sum() == 0
    assert connected_components(graph)[0] == 1
    for identity in range(count):
        row = overlay.neighbours[overlay.row_start[identity] : overlay.row_start[identity + 1]]
        assert (np.diff(row.astype(np.int64)) > 0).all()
        for topic in range(topics):
            mesh = overlay.mesh[topic, identity, : overlay.mesh_count[topic, identity]]
            assert len(set(mesh.tolist())) == len(mesh)
            assert set(mesh.tolist()) <= set(row.tolist())


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 120), degree=st.integers(2, 30), first=st.integers(0, 60))
def test_one_end_of_every_connection_has_dialled_it(count: int, degree: int, first: int) -> None:
    overlay = build_overlay(3, 9, count, min(degree, count - 1), 1, 8, 12)
    own = overlay.rows(min(first, count - 1), count)
    bits = own.dialled_bits()
    for row, identity in enumerate(range(min(first, count - 1), count)):
        for place in range(own.row_start[row], own.row_start[row + 1]):
            peer = int(own.neighbours[place]) - 9
            back = overlay.row_start[peer] + overlay.neighbours[
                overlay.row_start[peer] : overlay.row_start[peer + 1]
            ].tolist().index(identity + 9)
            assert is_outbound(bits, place) != overlay.dialled[back]


def test_identities_of_a_regular_overlay_have_dialled_half_of_their_connections() -> None:
    overlay = build_overlay(1, 0, 2000, 20, 1, 8, 12)
    outbound = np.add.reduceat(overlay.dialled.astype(np.int64), overlay.row_start[:-1])
    assert outbound.min() >= 6
    assert outbound.max() == 10


@pytest.mark.parametrize("degree", [7, 20, 50])
def test_the_mean_degree_is_the_one_asked_for(degree: int) -> None:
    overlay = build_overlay(1, 0, 5000, degree, 1, 8, 12)
    assert overlay.row_start[-1] / 5000 == pytest.approx(degree, rel=0.02)


def test_a_population_no_larger_than_the_degree_is_a_complete_graph() -> None:
    overlay = build_overlay(1, 0, 12, 11, 1, 8, 12)
    assert (np.diff(overlay.row_start) == 11).all()


def test_overlays_of_two_seeds_differ() -> None:
    first, second = (build_overlay(seed, 0, 100, 10, 1, 8, 12) for seed in (1, 2))
    assert not np.array_equal(first.neighbours, second.neighbours)
