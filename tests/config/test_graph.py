"""The graph and its paths: what is read, what is refused, and which way packets go."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.graph import SWITCH_1_GBIT, UNREACHABLE, GraphError, parse_gml
from bridge.paths import Paths

NODE = 'node [ id {} host_bandwidth_up "1 Mbit" host_bandwidth_down "2 Mbit" ]\n'


def gml(nodes: int, edges: str, directed: int = 0) -> str:
    return f"graph [\ndirected {directed}\n" + "".join(NODE.format(n) for n in range(nodes)) + edges + "]\n"


def edge(source: int, target: int, latency: str, loss: float = 0.0) -> str:
    return f'edge [ source {source} target {target} latency "{latency}" packet_loss {loss} ]\n'


def test_the_switch_is_one_node_of_a_gigabit() -> None:
    graph = parse_gml(SWITCH_1_GBIT)
    assert graph.nodes[0].uplink_bps == graph.nodes[0].downlink_bps == 10**9
    paths = Paths(graph, [0]).table()
    assert paths.latency_ns.tolist() == [[10**6]]
    assert paths.min_latency_ns == 10**6


def test_a_path_adds_latencies_and_multiplies_what_survives() -> None:
    paths = Paths(parse_gml(gml(3, edge(0, 1, "10 ms", 0.1) + edge(1, 2, "5 ms", 0.2))), [0, 2]).table()
    assert paths.node_ids == (0, 2)
    assert paths.latency_ns[0, 1] == paths.latency_ns[1, 0] == 15_000_000
    assert paths.loss[0, 1] == pytest.approx(1 - 0.9 * 0.8)
    assert paths.latency_ns[0, 0] == UNREACHABLE


def test_a_detour_is_taken_if_it_is_faster_and_only_if_it_may_be() -> None:
    graph = parse_gml(gml(3, edge(0, 1, "10 ms") + edge(1, 2, "5 ms") + edge(0, 2, "20 ms", 0.5)))
    assert Paths(graph, [0, 2]).table().latency_ns[0, 1] == 15_000_000
    direct = Paths(graph, [0, 1, 2], use_shortest_path=False).table()
    assert direct.latency_ns[0, 2] == 20_000_000
    assert direct.loss[0, 2] == 0.5


def test_hosts_of_one_node_use_its_own_edge_however_slow() -> None:
    paths = Paths(parse_gml(gml(2, edge(0, 0, "50 ms") + edge(0, 1, "1 ms") + edge(1, 1, "2 ms"))), [0, 1]).table()
    assert paths.latency_ns.tolist() == [[50_000_000, 1_000_000], [1_000_000, 2_000_000]]


def test_directed_edges_lead_one_way() -> None:
    paths = Paths(parse_gml(gml(2, edge(0, 1, "3 ms"), directed=1)), [0, 1]).table()
    assert paths.latency_ns[0, 1] == 3_000_000
    assert paths.latency_ns[1, 0] == UNREACHABLE
    assert paths.loss[1, 0] == 1.0


def test_of_parallel_edges_the_fastest_counts() -> None:
    edges = edge(0, 1, "9 ms") + edge(0, 1, "4 ms", 0.3) + edge(1, 0, "4 ms", 0.2)
    paths = Paths(parse_gml(gml(2, edges)), [0, 1]).table()
    assert paths.latency_ns[0, 1] == 4_000_000
    assert paths.loss[0, 1] == pytest.approx(0.2)


def test_a_bare_latency_counts_seconds() -> None:
    graph = parse_gml(gml(1, "edge [ source 0 target 0 latency 2 ]\n"))
    assert Paths(graph, [0]).table().latency_ns[0, 0] == 2 * 10**9


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (gml(1, edge(0, 0, "10 parsec")), 4, "edge 0 to 0: 'parsec' is not a unit of time"),
        (gml(1, edge(0, 0, "0 ms")), 4, "latency must be more than 0"),
        (gml(1, "edge [ source 0 target 0 packet_loss 0.1 ]\n"), 4, "has no latency"),
        (gml(1, edge(0, 0, "1 ms", 1.5)), 4, "packet_loss is 1.5"),
        (gml(1, edge(0, 0, "1 ms") + edge(0, 3, "1 ms")), 5, "undefined target 3"),
        (gml(1, "node [ id 0 ]\n"), None, "node id 0 is duplicated"),
        (gml(1, 'node [ label "x" ]\n'), 4, "no 'id'"),
        (
            gml(0, 'node [ id 4 host_bandwidth_up "1 ms" ]\n'),
            3,
            "node 4, host_bandwidth_up: 'ms' is not a unit",
        ),
        (gml(0, 'node [ id 4 host_bandwidth_up "0 bit" ]\n'), 3, "must be more than 0"),
        (gml(0, "node [ id -4 ]\n"), 3, "whole number"),
        ("graph [\nnode [ id 0\n", 2, "not GML"),
        ("graph [\nnode [ id 0 latency 5 ms ]\n]", 2, "not GML"),
        ("", None, "no graph"),
        ("graph [ ]", None, "no node"),
        ("graph [\nnode [ id 0 id 1 ]\n]", None, "unhashable"),
    ],
)
def test_a_graph_that_cannot_be_used_is_refused_with_its_line(text: str, line: int | None, message: str) -> None:
    with pytest.raises(GraphError, match=message) as caught:
        parse_gml(text)
    assert caught.value.line == line


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 7), st.data())
def test_paths_are_the_shortest_whatever_the_order_of_the_edges(nodes: int, data: st.DataObject) -> None:
    pairs = [(a, b) for a in range(nodes) for b in range(nodes) if a < b]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1))
    edges = [(a, b, data.draw(st.integers(1, 5)), data.draw(st.sampled_from([0.0, 0.25, 0.5]))) for a, b in chosen]
    lines = [edge(a, b, f"{latency} ms", loss) for a, b, latency, loss in edges]
    paths = Paths(parse_gml(gml(nodes, "".join(lines))), range(nodes)).table()
    again = Paths(parse_gml(gml(nodes, "".join(reversed(lines)))), range(nodes)).table()
    assert np.array_equal(paths.latency_ns, again.latency_ns)
    assert np.array_equal(paths.loss, again.loss)
    distance = {(a, b): 0 if a == b else 10**9 for a in range(nodes) for b in range(nodes)}
    for a, b, latency, _ in edges:
        distance[a, b] = distance[b, a] = latency
    for k, a, b in itertools.product(range(nodes), repeat=3):
        distance[a, b] = min(distance[a, b], distance[a, k] + distance[k, b])
    for a, b in itertools.permutations(range(nodes), 2):
        expected = UNREACHABLE if distance[a, b] == 10**9 else distance[a, b] * 10**6
        assert paths.latency_ns[a, b] == expected
