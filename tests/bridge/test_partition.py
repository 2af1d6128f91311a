"""Partitions: everybody is owned once, near ones together, loads balanced, and always the same."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.directory import ColdPlacement, HostDirectory, HotPlacement, build_directory
from bridge.graph import PathTable
from bridge.partition import (
    PartitionError,
    PartitionMap,
    community_partition,
    contiguous_partition,
    read_partition,
    write_partition,
)
from bridge.simtime import NS_PER_MS


def directory(hosts: int, nodes: int = 1, cold: int = 0) -> HostDirectory:
    hot = [HotPlacement(f"host{number:03}", number % nodes, 10**6, 10**6) for number in range(hosts)]
    tail = [ColdPlacement("tail", cold, ((0, 1.0),))] if cold else []
    return build_directory(hot, tail, [(10**6, 10**6)] * nodes)


def two_continents(nodes: int) -> PathTable:
    """Even nodes are 5 ms from each other, odd ones too; 100 ms lie between even and odd."""
    parity = np.arange(nodes) % 2
    latency = np.where(parity[:, None] == parity[None, :], 5, 100) * NS_PER_MS
    return PathTable(tuple(range(nodes)), latency.astype(np.int64), np.zeros((nodes, nodes)), 5 * NS_PER_MS)


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_identity_does_not_depend_on_the_partition(shards: int) -> None:
    whole = directory(20, cold=100)
    partition = contiguous_partition(whole, shards, [1.0] * 20)
    owned = [number for shard in range(shards) for number in partition.hosts_of(shard)]
    assert sorted(owned) == list(range(20))
    ids = np.arange(whole.total_count, dtype=np.uint32)
    owners = partition.shard_of(ids)
    for shard in range(shards):
        assert np.flatnonzero(owners[:20] == shard).tolist() == partition.hosts_of(shard)
    assert set(owners[20:].tolist()) == {0}


@given(
    load=st.lists(st.floats(0.1, 100), min_size=1, max_size=40),
    shards=st.integers(1, 9),
)
def test_contiguous_runs_are_balanced_as_well_as_whole_hosts_allow(load: list[float], shards: int) -> None:
    partition = contiguous_partition(directory(len(load)), shards, load)
    owners = partition.hot.tolist()
    assert owners == sorted(owners)
    assert all(0 <= owner < shards for owner in owners)
    most = max(sum(load[number] for number in partition.hosts_of(shard)) for shard in range(shards))
    assert most <= 1.2 * sum(load) / shards + max(load)


def test_there_may_be_more_shards_than_hosts() -> None:
    partition = contiguous_partition(directory(2), 5, [1.0, 1.0])
    assert partition.hot[0] != partition.hot[1]
    assert sum(len(partition.hosts_of(shard)) for shard in range(5)) == 2


def test_hosts_near_each_other_share_a_shard() -> None:
    hosts = directory(40, nodes=8)
    partition = community_partition(hosts, two_continents(8), 2, [1.0] * 40)
    continents = hosts.node[:40] % 2
    for continent in (0, 1):
        assert len(set(partition.hot[continents == continent].tolist())) == 1
    again = community_partition(hosts, two_continents(8), 2, [1.0] * 40)
    assert partition.hot.tolist() == again.hot.tolist()


def test_a_place_too_large_for_one_shard_is_divided() -> None:
    partition = community_partition(directory(30, nodes=1), two_continents(1), 3, [1.0] * 30)
    assert [len(partition.hosts_of(shard)) for shard in range(3)] == [10, 10, 10]


def test_a_partition_file_says_what_it_was_made_of(tmp_path: Path) -> None:
    hosts = directory(5, cold=10)
    written = PartitionMap.of(3, [2, 0, 1, 2, 0], cold=1)
    path = tmp_path / "partition.json"
    write_partition(path, written, hosts)
    first = path.read_bytes()
    write_partition(path, written, hosts)
    assert path.read_bytes() == first
    read = read_partition(path, hosts, 3)
    assert (read.shard_count, read.hot.tolist(), read.cold) == (3, written.hot.tolist(), 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a partition"),
        ({"version": 2}, "not a partition"),
        ({"shards": 0}, "1 or more"),
        ({"shards": 3}, "it is for 3 shards, and the run has 2"),
        ({"hosts": {"host000": 0}}, "has no shard for: host001"),
        ({"hosts": {"host000": 0, "host001": 1, "stranger": 1}}, "does not have: stranger"),
        ({"hosts": {"host000": 0, "host001": 2}}, "2 is not a shard, 0 to 1"),
        ({"hosts": {"host000": 0, "host001": True}}, "True is not a shard"),
        ({"hosts": []}, "must map names to shards"),
        ({"populations": {"tail": 1, "head": 0}}, "does not have: head"),
    ],
)
def test_a_partition_that_does_not_fit_is_an_error_about_its_file(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    hosts = directory(2, cold=3)
    content = {**PartitionMap.of(2, [0, 1]).describe(hosts), **change}
    path = tmp_path / "partition.json"
    path.write_text(json.dumps(content))
    with pytest.raises(PartitionError, match=message) as caught:
        read_partition(path, hosts, 2)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", ["", "[]", "{", "not json"])
def test_a_file_that_is_no_partition_is_an_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "partition.json"
    path.write_text(content)
    with pytest.raises(PartitionError, match="not a partition"):
        read_partition(path, directory(1))
    with pytest.raises(PartitionError, match="cannot be read"):
        read_partition(tmp_path / "missing.json", directory(1))
