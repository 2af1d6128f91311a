"""What measured traffic buys when an experiment is divided: the share of packets that cross, by way of partition.

    python benchmarks/partitions.py

Hosts on the regional graph, in communities that send four fifths of their packets among themselves; each community in
one region, or spread over all. Compared are the order of names (the raw baseline: what a run does without a partition
file, unless its windows follow the partition), distances, and METIS on the traffic. Beside each cut stands the demand
of the fullest shard, of which an equal share is 1.
"""

from __future__ import annotations

import time

import numpy as np
from _regional import WEIGHTS, regional_graph  # type: ignore[import-not-found]
from rich.console import Console
from rich.table import Table

from bridge.directory import ColdPlacement, HotPlacement, build_directory
from bridge.partitioner import Demand, community_partition, contiguous_partition, demand_of_shards
from bridge.proximity import order_by_proximity
from bridge.traffic import Groups, Hints
from bridge.traffic_partition import cut_share, traffic_partition

PEERS = 8


def talk(community: np.ndarray, groups: Groups, cold: int, draw: np.random.Generator) -> Hints:
    """Return who sends whom how much: 80 packets to each of some neighbours, 20 to others, 20 to some identities."""
    hosts = len(community)
    pairs = []
    for host in range(hosts):
        neighbours = np.flatnonzero(community == community[host])
        pairs += [(host, int(other), 80) for other in draw.choice(neighbours, PEERS)]
        pairs += [(host, int(other), 20) for other in draw.choice(hosts, PEERS)]
        identities = hosts + draw.integers(cold, size=4 if cold else 0)
        pairs += [(host, int(group), 20) for group in groups.of_hosts(identities)]
    return Hints(np.array(pairs), {}, None)


def main() -> None:
    """Print the table."""
    graph = regional_graph()
    order = order_by_proximity(graph)
    weights = np.array(WEIGHTS) / sum(WEIGHTS)
    shown = Table("hosts", "identities", "communities", "shards", "names", "distance", "METIS", "seconds")
    for hosts, size, spread, cold, shards in (
        (hosts, size, spread, cold, shards)
        for hosts, size in ((400, 20), (4000, 50))
        for spread in (False, True)
        for cold in (0, 100_000)
        for shards in (2, 4, 16)
    ):
        draw = np.random.default_rng(1)
        community = draw.permutation(np.arange(hosts) // size)
        home = draw.choice(len(weights), size=hosts // size, p=weights)
        node = draw.choice(len(weights), size=hosts, p=weights) if spread else home[community]
        tail = [ColdPlacement("tail", cold, tuple((n, float(weights[n])) for n in order.node_ids))] if cold else []
        hot = [HotPlacement(f"host{number:05}", int(node[number]), 1, 1) for number in range(hosts)]
        directory = build_directory(hot, tail, [(1, 1)] * len(weights))
        node_ids = tuple(graph.nodes)
        groups = Groups.of(directory, node_ids)
        hints = talk(community, groups, cold, draw)
        demand = Demand.of(directory, np.full(hosts, 2.0), np.full(hosts, 8e6), 0.01, 1000.0)
        before = time.perf_counter()
        by_traffic = traffic_partition(directory, node_ids, order, shards, demand, hints)
        seconds = time.perf_counter() - before
        cells = []
        for partition in (
            contiguous_partition(directory, shards, demand),
            community_partition(directory, node_ids, order, shards, demand),
            by_traffic,
        ):
            fullest = float(demand_of_shards(partition, demand).max()) * shards
            cells.append(f"{100 * cut_share(partition, groups, hints):.1f} % ({fullest:.2f})")
        where = "spread" if spread else "in one region"
        shown.add_row(str(hosts), f"{cold:,}", where, str(shards), *cells, f"{seconds:.2f}")
    Console(width=110).print(shown)


if __name__ == "__main__":
    main()
