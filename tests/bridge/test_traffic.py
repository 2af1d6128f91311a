"""What hosts sent to each other: the table, and partitions that follow it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.batch import EventBatch, EventKind
from bridge.directory import ColdPlacement, HostDirectory, HotPlacement, build_directory
from bridge.graph import GraphEdge, GraphNode, NetworkGraph
from bridge.partition import PartitionMap
from bridge.partitioner import Demand, contiguous_partition, demand_of_shards
from bridge.proximity import order_by_proximity
from bridge.rundir import RunDirectoryError
from bridge.simtime import NS_PER_MS
from bridge.traffic import Groups, Hints, PacketCount, TrafficError, merge_traffic, read_hints, traffic_table
from bridge.traffic_partition import cut_share, traffic_partition

NODES = (10, 20)
GRAPH = NetworkGraph(
    {number: GraphNode(number, "", None, None) for number in NODES},
    (GraphEdge(10, 20, 50 * NS_PER_MS, 0.0), GraphEdge(10, 10, NS_PER_MS, 0.0), GraphEdge(20, 20, NS_PER_MS, 0.0)),
    False,
)


def directory(hosts: int, cold: int = 0) -> HostDirectory:
    hot = [HotPlacement(f"host{number}", number % 2, 1, 1) for number in range(hosts)]
    tail = [ColdPlacement("tail", cold, ((0, 3.0), (1, 1.0)))] if cold else []
    return build_directory(hot, tail, [(1, 1)] * 2)


def rows_of(table: pa.Table) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


def test_identities_are_grouped_by_population_and_node() -> None:
    groups = Groups.of(directory(2, cold=8), NODES)
    assert groups.names == ("host0", "host1", "tail@10", "tail@20")
    assert groups.of_hosts(np.arange(10, dtype=np.uint32)).tolist() == [0, 1, *[2] * 6, *[3] * 2]


def test_identities_of_several_populations_are_grouped_by_population_and_node() -> None:
    tail = [ColdPlacement("a", 4, ((0, 1.0), (1, 1.0))), ColdPlacement("b", 3, ((1, 2.0), (0, 1.0)))]
    groups = Groups.of(build_directory([], tail, [(1, 1)] * 2), NODES)
    assert groups.names == ("a@10", "b@10", "a@20", "b@20")
    assert groups.of_hosts(np.arange(7, dtype=np.uint32)).tolist() == [0, 0, 1, 2, 2, 3, 3]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 99)), max_size=60), st.integers(1, 7))
def test_packets_are_added_up_however_they_come(packets: list[tuple[int, int, int]], at_once: int) -> None:
    count = PacketCount()
    for start in range(0, len(packets), at_once):
        source, destination, size = np.array(packets[start : start + at_once]).T
        offset = np.concatenate([[0], np.cumsum(size)])
        data = np.zeros(offset[-1], dtype=np.uint8)
        count.add_batch(
            EventBatch.build(size, source, np.arange(len(size)), destination, EventKind.PACKET, offset, data)
        )
    expected: dict[tuple[int, int], list[int]] = {}
    for one, other, length in packets:
        total = expected.setdefault((one, other), [0, 0])
        total[0] += 1
        total[1] += length
    assert count.rows().tolist() == [[*pair, *expected[pair]] for pair in sorted(expected)]


def test_a_long_count_is_added_up_on_the_way() -> None:
    count = PacketCount()
    for _ in range(30):
        count.add(np.tile(np.array([[1, 2, 1, 10]]), (10_000, 1)))
    assert count.rows().tolist() == [[1, 2, 300_000, 3_000_000]]


def test_the_tables_of_shards_make_that_of_one() -> None:
    groups = Groups.of(directory(2, cold=8), NODES)
    packets = np.array([[0, 1, 5, 500], [0, 3, 1, 10], [0, 4, 2, 20], [9, 0, 7, 70], [1, 9, 1, 1]])
    loads = np.array([[0, 100, 1000], [1, 50, 60]])
    whole = traffic_table(groups, packets, loads, 30)
    parts = [
        traffic_table(groups, packets[4:], loads[1:], 10),
        traffic_table(groups, packets[:4], loads[:1], 20),
        traffic_table(groups, packets[:0], loads[:0], None),
    ]
    assert merge_traffic(parts).equals(whole)
    assert rows_of(whole) == [
        ("@", None, None, None, 30, 0),
        ("host0", "host1", 5, 500, None, None),
        ("host0", "tail@10", 3, 30, None, None),
        ("host0", None, None, None, 100, 1000),
        ("host1", "tail@20", 1, 1, None, None),
        ("host1", None, None, None, 50, 60),
        ("tail@20", "host0", 7, 70, None, None),
    ]


def test_a_table_is_a_hint_for_an_experiment_that_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "traffic.parquet"
    packets, loads = np.array([[0, 1, 5, 500], [1, 2, 6, 600]]), np.array([[2, 100, 1000]])
    pq.write_table(traffic_table(Groups.of(directory(3), NODES), packets, loads, None), path)
    groups = Groups.of(directory(2, cold=4), NODES)
    hints = read_hints(path, groups)
    assert hints.pairs.tolist() == [[0, 1, 5]]
    assert (hints.loads, hints.cold_events) == ({}, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text", "not a Parquet file"),
        (pa.table({"source": ["host0"]}), "it lacks destination, packets"),
        (
            pa.table({name: ["x"] for name in ("source", "destination", "packets", "bytes", "events", "calls")}),
            "not a table of traffic",
        ),
        (
            traffic_table(Groups.of(directory(3), NODES), np.array([[2, 2, 1, 1]]), np.zeros((0, 3), np.int64), None),
            "none of its hosts",
        ),
    ],
)
def test_what_is_no_table_of_traffic_is_an_error_about_the_file(
    tmp_path: Path, content: pa.Table | bytes, message: str
) -> None:
    path = tmp_path / "traffic.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(content, path)
    with pytest.raises(TrafficError, match=message) as caught:
        read_hints(path, Groups.of(directory(2), NODES))
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2
    with pytest.raises(RunDirectoryError):
        read_hints(tmp_path / "missing", Groups.of(directory(2), NODES))


def equal(hosts: HostDirectory) -> Demand:
    return Demand.of(hosts, [1.0] * hosts.hot_count, [1.0] * hosts.hot_count, 0.01, 0.01)


def test_hosts_that_talk_share_a_shard_wherever_they_are() -> None:
    hosts = directory(40, cold=400)
    groups = Groups.of(hosts, NODES)
    # Two circles of hosts, both spread over both nodes; and some noise, also with the tail.
    circle = np.arange(40) // 2 % 2
    talk = [(a, b, 100 if circle[a] == circle[b] else 1) for a in range(40) for b in range(40) if a != b]
    talk += [(a, 40, 1) for a in range(40)]
    hints = Hints(np.array(talk), {}, None)
    partition, again = (
        traffic_partition(hosts, NODES, order_by_proximity(GRAPH), 2, equal(hosts), hints) for _ in range(2)
    )
    assert partition.hot.tolist() == again.hot.tolist()
    assert partition.cuts.tolist() == again.cuts.tolist()
    for number in (0, 1):
        assert len(set(partition.hot[circle == number].tolist())) == 1
    assert demand_of_shards(partition, equal(hosts)).max() * 2 < 1.1
    assert cut_share(partition, groups, hints) < 0.02
    assert cut_share(contiguous_partition(hosts, 2, equal(hosts)), groups, hints) > 0.3


def test_the_cut_is_what_would_cross() -> None:
    groups = Groups.of(directory(2, cold=8), NODES)
    # host0 to host1, and host0 to the six identities at node 10, of which shard 0 has four.
    hints = Hints(np.array([[0, 1, 10], [0, 2, 30]]), {}, None)
    assert cut_share(PartitionMap.of([0, 1], [4, 4]), groups, hints) == pytest.approx((10 + 30 * 2 / 6) / 40)
    assert cut_share(PartitionMap.of([0, 0], [8, 0]), groups, hints) == 0
    assert cut_share(PartitionMap.of([0, 1], [4, 4]), groups, Hints(np.zeros((0, 3), np.int64), {}, 5)) == 0


@pytest.mark.parametrize(("hosts", "shards"), [(1, 4), (3, 3), (5, 1)])
def test_few_hosts_can_be_divided_too(hosts: int, shards: int) -> None:
    few = directory(hosts)
    hints = Hints(np.array([[0, hosts - 1, 3]]), {}, None)
    partition = traffic_partition(few, NODES, order_by_proximity(GRAPH), shards, equal(few), hints)
    assert partition.shard_count == shards
    assert all(0 <= owner < shards for owner in partition.hot.tolist())
