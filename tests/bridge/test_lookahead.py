"""How long windows may be, given who is on which shard."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.directory import ColdPlacement, HostDirectory, HotPlacement, build_directory
from bridge.graph import GraphEdge, GraphNode, NetworkGraph
from bridge.lookahead import lookahead_of
from bridge.partition import PartitionMap
from bridge.paths import Paths
from bridge.simtime import NS_PER_MS, NS_PER_S

#: Three places: 2, 3 and 4 ms inside; 50, 70 and 90 ms between.
LINKS = [(0, 0, 2), (1, 1, 3), (2, 2, 4), (0, 1, 50), (1, 2, 70), (0, 2, 90)]


def network(links: list[tuple[int, int, int]], nodes: int = 3) -> Paths:
    edges = tuple(GraphEdge(one, other, latency * NS_PER_MS, 0.0) for one, other, latency in links)
    graph = NetworkGraph({number: GraphNode(number, "", None, None) for number in range(nodes)}, edges, False)
    return Paths(graph, range(nodes))


def directory(hot: list[int], cold: list[tuple[int, float]] | None = None, count: int = 0) -> HostDirectory:
    placed = [HotPlacement(f"host{number}", node, 1, 1) for number, node in enumerate(hot)]
    return build_directory(placed, [ColdPlacement("tail", count, tuple(cold))] if cold else [], [(1, 1)] * 3)


@pytest.mark.parametrize(
    ("nodes", "owners", "outer", "inner"),
    [
        # Each place on a shard of its own: 50 ms; inside, what each place takes.
        ([0, 1, 2], [0, 1, 2], 50, [2, 3, 4]),
        # The two near places together.
        ([0, 1, 2], [0, 0, 1], 70, [2, 4]),
        # One place on two shards: no more than its own latency.
        ([0, 0, 1], [0, 1, 1], 2, [2, 2]),
        # Nobody at the second place; the path between the others leads over it.
        ([0, 2], [0, 1], 90, [2, 4]),
        # Nothing crosses: as long as it takes to hear of a request to stop.
        ([0, 1], [0, 0], 1000, [2, 1000]),
    ],
)
def test_windows_are_as_long_as_latencies_between_shards_and_inside_allow(
    nodes: list[int], owners: list[int], outer: int, inner: list[int]
) -> None:
    partition = PartitionMap.of(owners, [0] * len(inner))
    found = lookahead_of(partition, directory(nodes), network(LINKS))
    assert found.outer_ns == outer * NS_PER_MS
    assert found.inner_ns == tuple(length * NS_PER_MS for length in inner)


def test_identities_alone_need_no_windows_inside() -> None:
    # Ten identities at place 0, ten at place 1; the hot host at place 2 is with the latter.
    hosts = directory([2], [(0, 1.0), (1, 1.0)], 20)
    found = lookahead_of(PartitionMap.of([1], [10, 10]), hosts, network(LINKS))
    assert found.outer_ns == 50 * NS_PER_MS
    # The hot host's own place, as the smallest of what it meets; identities among themselves do not count.
    assert found.inner_ns == (50 * NS_PER_MS, 4 * NS_PER_MS)


def test_a_configured_length_bounds_the_windows_inside() -> None:
    found = lookahead_of(PartitionMap.of([0, 1], [0, 0]), directory([0, 1]), network(LINKS), NS_PER_MS)
    assert found.outer_ns == 50 * NS_PER_MS
    assert found.inner_ns == (NS_PER_MS, NS_PER_MS)


@given(
    links=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 2000)), max_size=8),
    nodes=st.lists(st.integers(0, 2), min_size=1, max_size=6),
    cold=st.integers(0, 6),
    data=st.data(),
)
def test_no_pair_of_hosts_is_faster_than_the_windows_that_separate_it(
    links: list[tuple[int, int, int]], nodes: list[int], cold: int, data: st.DataObject
) -> None:
    paths = network(links)
    hosts = directory(nodes, [(0, 1.0), (1, 1.0), (2, 1.0)] if cold else None, cold)
    owners = data.draw(st.lists(st.integers(0, 2), min_size=len(nodes), max_size=len(nodes)))
    cut = data.draw(st.integers(0, cold))
    partition = PartitionMap.of(owners, [cut, cold - cut, 0])
    found = lookahead_of(partition, hosts, paths)
    shard = partition.shard_of(np.arange(hosts.total_count, dtype=np.uint32))
    crossing, inside = [NS_PER_S], [[NS_PER_S] for _ in range(3)]
    for one in range(hosts.total_count):
        for other in range(hosts.total_count):
            latency, _ = paths.between(int(hosts.node[one]), int(hosts.node[other]))
            if latency < 0:
                continue
            if shard[one] != shard[other]:
                crossing.append(latency)
            elif min(one, other) < len(nodes):
                inside[shard[one]].append(latency)
    assert found.outer_ns == min(crossing)
    assert found.inner_ns == tuple(min(*latencies, found.outer_ns) for latencies in inside)
