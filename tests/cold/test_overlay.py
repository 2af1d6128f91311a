"""The peer graph of the tail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from cold import overlay_kernels
from cold.membership_kernels import is_outbound
from cold.overlay import Overlay, build_overlay, rows_of_edges
from cold.overlay_kernels import ascending_order, write_rows_of_edges


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


@settings(deadline=None, max_examples=100)
@given(high=st.lists(st.integers(0, 40), max_size=60), shift=st.integers(0, 58), repeat=st.integers(1, 5))
def test_keys_are_ordered_as_a_stable_sort_orders_them(high: list[int], shift: int, repeat: int) -> None:
    keys = np.array(high * repeat, dtype=np.uint64) << np.uint64(shift)
    assert ascending_order(keys).tolist() == np.argsort(keys, kind="stable").tolist()


@pytest.mark.parametrize("ends_at_a_time", [1, 30_000, 1 << 24])
def test_rows_are_the_edges_of_a_graph_whatever_is_done_at_a_time(
    monkeypatch: pytest.MonkeyPatch, ends_at_a_time: int
) -> None:
    monkeypatch.setattr(overlay_kernels, "_ENDS_AT_A_TIME", ends_at_a_time)
    # What is compiled keeps the constant that it was compiled with.
    interpreted = write_rows_of_edges.py_func  # type: ignore[attr-defined]
    monkeypatch.setattr("cold.overlay.write_rows_of_edges", interpreted)
    count, first_id = 9000, 7
    random = np.random.default_rng(5)
    left, right = random.integers(0, count, (2, 30_000), dtype=np.uint32)
    left, right = left[left != right], right[left != right]
    # Some edges are there twice, and some both ways.
    left, right = (
        np.concatenate([left, left[:300], right[200:900]]),
        np.concatenate([right, right[:300], left[200:900]]),
    )
    row_start, neighbours, dialled = rows_of_edges(0, count, first_id, left, right)
    edges = set(zip(left.tolist(), right.tolist(), strict=True))
    wanted = {
        (vertex, other): (vertex, other) in edges and ((other, vertex) not in edges or vertex < other)
        for edge in edges
        for vertex, other in (edge, edge[::-1])
    }
    vertices = np.repeat(np.arange(count), np.diff(row_start)).tolist()
    found = list(zip(vertices, (neighbours.astype(np.int64) - first_id).tolist(), strict=True))
    assert found == sorted(wanted)
    assert dialled.tolist() == [wanted[edge] for edge in found]


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
