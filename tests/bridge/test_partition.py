"""Partitions: everybody is owned once, and the files that say by whom."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.directory import ColdPlacement, HostDirectory, HotPlacement, build_directory
from bridge.partition import PartitionError, PartitionMap, read_partition, write_partition


def directory(hosts: int, cold: int = 0) -> HostDirectory:
    hot = [HotPlacement(f"host{number:03}", 0, 10**6, 10**6) for number in range(hosts)]
    tail = [ColdPlacement("tail", cold, ((0, 1.0),))] if cold else []
    return build_directory(hot, tail, [(10**6, 10**6)])


@given(
    hot=st.lists(st.integers(0, 4), max_size=12),
    identities=st.lists(st.integers(0, 6), min_size=5, max_size=5),
)
def test_every_host_has_the_one_owner_that_the_map_says(hot: list[int], identities: list[int]) -> None:
    partition = PartitionMap.of(hot, identities)
    assert partition.shard_count == 5
    owners = partition.shard_of(np.arange(len(hot) + sum(identities), dtype=np.uint32)).tolist()
    for shard in range(5):
        mine = [number for number, owner in enumerate(owners) if owner == shard]
        assert mine == partition.hosts_of(shard) + list(partition.identities_of(shard))
        assert len(partition.identities_of(shard)) == identities[shard]


def test_a_partition_file_says_what_it_was_made_of(tmp_path: Path) -> None:
    hosts = directory(5, cold=10)
    written = PartitionMap.of([2, 0, 1, 2, 0], [4, 0, 6])
    path = tmp_path / "partition.json"
    write_partition(path, written, hosts)
    first = path.read_bytes()
    write_partition(path, written, hosts)
    assert path.read_bytes() == first
    read = read_partition(path, hosts, 3)
    assert (read.shard_count, read.hot.tolist()) == (3, written.hot.tolist())
    assert read.cuts.tolist() == written.cuts.tolist() == [5, 9, 9, 15]
    assert json.loads(first)["identities"] == [0, 4, 4, 10]


def test_a_partition_file_counts_a_population_wherever_it_lives(tmp_path: Path) -> None:
    tail = [ColdPlacement(name, 6, ((0, 1.0), (1, 2.0))) for name in ("one", "two")]
    hosts = build_directory([], tail, [(1, 1)] * 2)
    assert len(hosts.ranges) == 4
    path = tmp_path / "partition.json"
    write_partition(path, PartitionMap.of([], [4, 8]), hosts)
    assert json.loads(path.read_bytes())["populations"] == {"one": 6, "two": 6}
    assert read_partition(path, hosts, 2).cuts.tolist() == [0, 4, 12]


def test_a_partition_of_hot_hosts_alone_need_not_speak_of_identities(tmp_path: Path) -> None:
    path = tmp_path / "partition.json"
    content = {"format": "antumbra-partition", "version": 2, "shards": 2, "hosts": {"host000": 1}}
    path.write_text(json.dumps(content))
    assert not any(read_partition(path, directory(1)).identities_of(shard) for shard in range(2))
    with pytest.raises(PartitionError, match="has no entry for: tail"):
        read_partition(path, directory(1, cold=3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a partition"),
        ({"version": 1}, "not a partition"),
        ({"shards": 0}, "1 or more"),
        ({"shards": True}, "1 or more"),
        ({"shards": 3}, "it is for 3 shards, and the run has 2"),
        ({"hosts": {"host000": 0}}, "has no entry for: host001"),
        ({"hosts": {"host000": 0, "host001": 1, "stranger": 1}}, "does not have: stranger"),
        ({"hosts": {"host000": 0, "host001": 2}}, "2 is not a shard, 0 to 1"),
        ({"hosts": {"host000": 0, "host001": True}}, "True is not a shard"),
        ({"hosts": []}, "must be an object"),
        ({"populations": {"tail": 3, "head": 0}}, "does not have: head"),
        ({"populations": {"tail": 4}}, "it is for 4 identities, and the experiment has 3"),
        ({"identities": [0, 3]}, "must be 3 whole numbers that do not descend, from 0 to 3"),
        ({"identities": [0, 2, 4]}, "from 0 to 3"),
        ({"identities": [1, 2, 3]}, "from 0 to 3"),
        ({"identities": [0, -1, 3]}, "from 0 to 3"),
        ({"identities": [0, 1.5, 3]}, "whole numbers"),
        ({"identities": {"tail": 0}}, "whole numbers"),
    ],
)
def test_a_partition_that_does_not_fit_is_an_error_about_its_file(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    hosts = directory(2, cold=3)
    content = {**PartitionMap.of([0, 1], [1, 2]).describe(hosts), **change}
    path = tmp_path / "partition.json"
    path.write_text(json.dumps(content))
    with pytest.raises(PartitionError, match=message) as caught:
        read_partition(path, hosts, 2)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_file_of_an_earlier_version_comes_with_the_way_to_make_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "partition.json"
    path.write_text(json.dumps({"format": "antumbra-partition", "version": 1, "shards": 1, "hosts": {"host000": 0}}))
    with pytest.raises(PartitionError) as caught:
        read_partition(path, directory(1))
    assert "antumbra partition CONFIG" in str(caught.value.hint)


@pytest.mark.parametrize("content", ["", "[]", "{", "not json"])
def test_a_file_that_is_no_partition_is_an_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "partition.json"
    path.write_text(content)
    with pytest.raises(PartitionError, match="not a partition"):
        read_partition(path, directory(1))
    with pytest.raises(PartitionError, match="cannot be read"):
        read_partition(tmp_path / "missing.json", directory(1))
