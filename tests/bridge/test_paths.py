"""Paths that are found one by one are those of a table of all, to the last bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.graph import UNREACHABLE, GraphEdge, GraphNode, NetworkGraph
from bridge.paths import Paths
from tests.bridge.dense_paths import dense_paths

LOSSES = [0.0, 0.1, 0.25, 0.3, 1.0]


def graph_of(nodes: int, edges: list[tuple[int, int, int, float]], directed: bool) -> NetworkGraph:
    """Ids are not places: they are 7, 10, 13, ..."""
    named = {7 + 3 * n: GraphNode(7 + 3 * n, str(n), None, None) for n in range(nodes)}
    links = tuple(GraphEdge(7 + 3 * a, 7 + 3 * b, latency, loss) for a, b, latency, loss in edges)
    return NetworkGraph(named, links, directed)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[NetworkGraph, list[int]]:
    """Any graphs, with ties, parallel edges and self-loops, that have trees hanging off a core, and nodes in use."""
    directed = draw(st.booleans())
    core, leaves = draw(st.integers(1, 6)), draw(st.integers(0, 7))
    vertex = st.integers(0, core - 1)
    latency, loss = st.integers(1, 4), st.sampled_from(LOSSES)
    edges = draw(st.lists(st.tuples(vertex, vertex, latency, loss), max_size=14))
    for leaf in range(core, core + leaves):
        above = draw(st.integers(0, leaf - 1))
        ways = [(leaf, above), (above, leaf)]
        for ends in draw(st.sampled_from([ways[:1], ways[1:], ways])) if directed else ways[:1]:
            edges.append((*ends, draw(latency), draw(loss)))
    renamed = draw(st.permutations(range(core + leaves)))
    edges = [(renamed[a], renamed[b], time, lost) for a, b, time, lost in draw(st.permutations(edges))]
    graph = graph_of(core + leaves, edges, directed)
    return graph, draw(st.lists(st.sampled_from(list(graph.nodes)), min_size=1))


@settings(max_examples=400, deadline=None)
@given(graphs(), st.booleans(), st.randoms(use_true_random=False))
def test_every_path_is_that_of_the_dense_tables(
    case: tuple[NetworkGraph, list[int]], use_shortest_path: bool, random: object
) -> None:
    graph, in_use = case
    latency, loss = dense_paths(graph, in_use, use_shortest_path)
    paths = Paths(graph, in_use, use_shortest_path)
    table = paths.table()
    assert paths.node_ids == table.node_ids == tuple(sorted(set(in_use)))
    assert np.array_equal(table.latency_ns, latency)
    assert np.array_equal(table.loss, loss)
    reachable = latency[latency != UNREACHABLE]
    assert paths.min_latency_ns == (int(reachable.min()) if reachable.size else 0)

    # Asked for one by one in any order, with memory for one tree only.
    forgetful = Paths(graph, in_use, use_shortest_path, trees_bytes=0)
    pairs = list(itertools.product(range(len(latency)), repeat=2))
    random.shuffle(pairs)  # type: ignore[attr-defined]
    for source, target in pairs:
        assert forgetful.between(source, target) == (latency[source, target], loss[source, target])


@settings(max_examples=200, deadline=None)
@given(graphs(), st.booleans(), st.data())
def test_all_pairs_without_a_path_are_found(
    case: tuple[NetworkGraph, list[int]], use_shortest_path: bool, data: st.DataObject
) -> None:
    graph, in_use = case
    latency, _ = dense_paths(graph, in_use, use_shortest_path)
    residents = np.array([data.draw(st.integers(0, 2)) for _ in latency])
    expected = [
        (a, b)
        for a, b in itertools.product(range(len(latency)), repeat=2)
        if latency[a, b] == UNREACHABLE and residents[a] and residents[b] and (a != b or residents[a] > 1)
    ]
    found = Paths(graph, in_use, use_shortest_path).missing(residents > 0, residents > 1, 3)
    assert found == (len(expected), expected[:3])


@settings(max_examples=50, deadline=None)
@given(graphs(), st.data())
def test_a_table_of_some_rows_has_their_columns_first(
    case: tuple[NetworkGraph, list[int]], data: st.DataObject
) -> None:
    graph, in_use = case
    paths = Paths(graph, in_use)
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, len(paths.node_ids) - 1), min_size=1))))
    table, whole, columns = paths.table(rows), paths.table(), paths.columns(rows)
    assert table.node_ids == tuple(paths.node_ids[place] for place in columns)
    assert np.array_equal(columns[: len(rows)], rows)
    assert np.array_equal(table.latency_ns, whole.latency_ns[rows][:, columns])
    assert np.array_equal(table.loss, whole.loss[rows][:, columns])


def test_trees_that_do_not_fit_the_memory_are_forgotten_and_found_again() -> None:
    ring = [(n, (n + 1) % 50, 1 + n % 3, 0.01 * (n % 5)) for n in range(50)]
    graph = graph_of(50, ring, directed=False)
    latency, loss = dense_paths(graph, list(graph.nodes))
    paths = Paths(graph, list(graph.nodes), trees_bytes=5 * 12 * 50)
    for source, target in itertools.product(range(50), repeat=2):
        assert paths.between(target, source) == (latency[target, source], loss[target, source])
        assert paths.trees_kept <= 5
    assert paths.trees_kept == 5


def test_a_hierarchy_is_searched_among_its_regions_only() -> None:
    """Three regions, 20 networks below each, 5 households below each network."""
    regions = [(0, 1, 40, 0.1), (1, 2, 50, 0.1), (0, 2, 90, 0.2)]
    networks = [(3 + n, n % 3, 5 + n, 0.01) for n in range(60)]
    households = [(63 + h, 3 + h % 60, 2, 0.02) for h in range(300)]
    graph = graph_of(363, regions + networks + households, directed=False)
    in_use = [7 + 3 * n for n in range(63, 363)]
    latency, loss = dense_paths(graph, in_use)
    paths = Paths(graph, in_use)
    np.fill_diagonal(latency, UNREACHABLE)
    assert np.array_equal(paths.table().latency_ns, latency)
    assert np.array_equal(paths.table().loss, loss)
    assert paths.trees_kept == 3
    assert paths.min_latency_ns == 4


@pytest.mark.parametrize("directed", [False, True])
def test_the_smallest_latency_may_lead_through_nodes_that_nobody_uses(directed: bool) -> None:
    edges = [(0, 1, 10, 0.0), (0, 2, 2, 0.0), (2, 3, 3, 0.0), (3, 1, 4, 0.0), (2, 0, 1, 0.0)]
    assert Paths(graph_of(4, edges, directed), [7, 10]).min_latency_ns == (9 if directed else 8)
