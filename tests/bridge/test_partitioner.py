"""Partitions that are made: near hosts together, demands about equal, and always the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.directory import ColdPlacement, HostDirectory, HotPlacement, build_directory
from bridge.graph import GraphEdge, GraphNode, NetworkGraph
from bridge.partition import PartitionMap
from bridge.partitioner import Demand, community_partition, contiguous_partition
from bridge.proximity import APART, NodeOrder, order_by_proximity
from bridge.simtime import NS_PER_MS


def directory(hosts: int, nodes: int = 1, cold: int = 0, order: NodeOrder | None = None) -> HostDirectory:
    hot = [HotPlacement(f"host{number:03}", number % nodes, 10**6, 10**6) for number in range(hosts)]
    places = order.node_ids if order else range(nodes)
    tail = [ColdPlacement("tail", cold, tuple((number, 1.0) for number in places))] if cold else []
    return build_directory(hot, tail, [(10**6, 10**6)] * nodes)


def equal(hosts: HostDirectory, identity: float = 0.1) -> Demand:
    return Demand.of(hosts, [1.0] * hosts.hot_count, [1.0] * hosts.hot_count, identity, identity)


def graph_of(nodes: int, links: list[tuple[int, int, int]]) -> NetworkGraph:
    """A graph of links (one node, another, milliseconds)."""
    edges = tuple(GraphEdge(one, other, latency * NS_PER_MS, 0.0) for one, other, latency in links)
    return NetworkGraph({number: GraphNode(number, "", None, None) for number in range(nodes)}, edges, False)


def two_continents(nodes: int) -> NetworkGraph:
    """Even nodes are 5 ms from each other, odd ones too; 100 ms lie between even and odd."""
    return graph_of(nodes, [(a, b, 5 if (a - b) % 2 == 0 else 100) for a in range(nodes) for b in range(a + 1)])


def demands(partition: PartitionMap, demand: Demand) -> list[float]:
    return [
        sum(demand.hot[number] for number in partition.hosts_of(shard))
        + demand.identity * len(partition.identities_of(shard))
        for shard in range(partition.shard_count)
    ]


def test_neighbours_in_the_order_are_near_in_the_graph() -> None:
    # A chain of pairs, given in a strange order, with a place that nothing leads to.
    order = order_by_proximity(graph_of(7, [(5, 0, 1), (2, 4, 1), (3, 1, 1), (0, 2, 10), (4, 3, 20), (5, 1, 300)]))
    assert order.node_ids == (5, 0, 2, 4, 3, 1, 6)
    assert [gap // NS_PER_MS for gap in order.gap_ns.tolist()[:-1]] == [1, 10, 1, 20, 1]
    assert order.gap_ns[-1] == APART


@given(
    links=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(1, 30)), max_size=40),
    shuffled=st.randoms(use_true_random=False),
)
def test_an_order_holds_every_node_once_and_does_not_depend_on_how_links_are_listed(
    links: list[tuple[int, int, int]], shuffled: object
) -> None:
    first = order_by_proximity(graph_of(9, links))
    assert sorted(first.node_ids) == list(range(9))
    assert len(first.gap_ns) == 8
    again = [(b, a, latency) for a, b, latency in links]
    shuffled.shuffle(again)  # type: ignore[attr-defined]
    second = order_by_proximity(graph_of(9, again))
    assert second.node_ids == first.node_ids
    assert second.gap_ns.tolist() == first.gap_ns.tolist()


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_identity_does_not_depend_on_the_partition(shards: int) -> None:
    whole = directory(20, cold=100)
    partition = contiguous_partition(whole, shards, equal(whole))
    assert sorted(number for shard in range(shards) for number in partition.hosts_of(shard)) == list(range(20))
    ranges = [partition.identities_of(shard) for shard in range(shards)]
    assert [number for one in ranges for number in one] == list(range(20, 120))


@given(
    load=st.lists(st.floats(0.1, 100), min_size=1, max_size=40),
    shards=st.integers(1, 9),
)
def test_contiguous_runs_are_balanced_as_well_as_whole_hosts_allow(load: list[float], shards: int) -> None:
    hosts = directory(len(load))
    partition = contiguous_partition(hosts, shards, Demand.of(hosts, load, load, 0, 0))
    owners = partition.hot.tolist()
    assert owners == sorted(owners)
    assert all(0 <= owner < shards for owner in owners)
    most = max(sum(load[number] for number in partition.hosts_of(shard)) for shard in range(shards))
    assert most <= 1.2 * sum(load) / shards + max(load)


@given(
    load=st.lists(st.floats(0.1, 10), max_size=12),
    cold=st.integers(100, 3000),
    shards=st.integers(1, 5),
)
def test_identities_fill_up_the_shards_whose_hot_hosts_take_least(load: list[float], cold: int, shards: int) -> None:
    hosts = directory(len(load), cold=cold)
    demand = Demand.of(hosts, load, [1.0] * len(load), 0.05, 0.01)
    partition = contiguous_partition(hosts, shards, demand)
    sums = demands(partition, demand)
    with_cold = [sums[shard] for shard in range(shards) if partition.identities_of(shard)]
    # Those that got identities are level, but for rounding to whole ones at both ends; nobody else has less.
    assert max(with_cold) - min(with_cold) <= 2.01 * demand.identity
    assert min(sums) >= min(with_cold) - 2.01 * demand.identity


def test_load_and_memory_count_alike() -> None:
    hosts = directory(2, cold=10)
    demand = Demand.of(hosts, [3.0, 1.0], [10.0, 70.0], 0.6, 2.0)
    assert demand.hot.tolist() == pytest.approx([0.15 + 0.05, 0.05 + 0.35])
    assert demand.identity == pytest.approx(0.03 + 0.01)
    with pytest.raises(ValueError, match="3 values for 2 hot hosts"):
        Demand.of(hosts, [1.0] * 3, [1.0] * 2, 0, 0)


def test_there_may_be_more_shards_than_hosts() -> None:
    hosts = directory(2)
    partition = contiguous_partition(hosts, 5, equal(hosts))
    assert partition.hot[0] != partition.hot[1]
    assert sum(len(partition.hosts_of(shard)) for shard in range(5)) == 2


def test_hosts_and_identities_near_each_other_share_a_shard() -> None:
    order = order_by_proximity(two_continents(8))
    hosts = directory(40, nodes=8, cold=800, order=order)
    first, again = (community_partition(hosts, range(8), order, 2, equal(hosts)) for _ in range(2))
    everybody = np.arange(hosts.total_count, dtype=np.uint32)
    owners = first.shard_of(everybody)
    assert owners.tolist() == again.shard_of(everybody).tolist()
    for continent in (0, 1):
        assert len(set(owners[hosts.node % 2 == continent].tolist())) == 1
    assert set(owners.tolist()) == {0, 1}


def test_a_place_too_large_for_one_shard_is_divided() -> None:
    hosts = directory(30, nodes=1, cold=3000)
    partition = community_partition(hosts, [0], order_by_proximity(two_continents(1)), 3, equal(hosts))
    sums = demands(partition, equal(hosts))
    assert max(sums) < 1.05 * min(sums)


def test_identities_of_several_populations_are_divided_between_places() -> None:
    order = order_by_proximity(two_continents(4))
    places = tuple((number, 1.0) for number in range(4))
    tails = [ColdPlacement(name, count, places) for name, count in (("first", 400), ("second", 300), ("third", 100))]
    hosts = build_directory([], tails, [(10**6, 10**6)] * 4, node_order=order.node_ids)
    partition = community_partition(hosts, range(4), order, 2, equal(hosts))
    assert partition.cuts.tolist() == [0, 400, 800]
    assert [set((hosts.node[list(partition.identities_of(shard))] % 2).tolist()) for shard in (0, 1)] in (
        [{0}, {1}],
        [{1}, {0}],
    )
