"""The partition: which shard owns which host.

Ids, addresses and random numbers do not depend on it: it decides where something is computed, never what.
The cold identities of all populations live on one shard, since one engine computes them together; spreading
them over several shards is a matter of that engine, not of this map.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from bridge.directory import HostDirectory
from bridge.errors import UserError
from bridge.graph import UNREACHABLE, PathTable
from bridge.rundir import write_atomically

_FORMAT: Final = "antumbra-partition"
_VERSION: Final = 1
#: A cut may move this far from where it would balance best, as a share of one shard's load.
_TOLERANCE: Final = 0.1
#: Above this many places, their order is not optimised further: it would take minutes.
_MOST_OPTIMISED: Final = 500


class PartitionError(UserError):
    """A partition that does not fit the experiment."""


@dataclass(frozen=True)
class PartitionMap:
    """Owners of all hosts.

    Attributes
    ----------
    shard_count : int
    hot : ndarray of int32, shape (hot hosts,)
        Shard of each hot host, by HostId.
    cold : int
        Shard of all cold identities.
    """

    shard_count: int
    hot: npt.NDArray[np.int32]
    cold: int = 0

    @staticmethod
    def of(shard_count: int, hot: Sequence[int], cold: int = 0) -> PartitionMap:
        """Make one of the shards of the hot hosts, by HostId."""
        return PartitionMap(shard_count, np.array(hot, dtype=np.int32), cold)

    @cached_property
    def _by_id(self) -> npt.NDArray[np.int32]:
        # One entry more stands for all identities, whose ids come after those of hot hosts.
        return np.append(self.hot, np.int32(self.cold))

    def shard_of(self, ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        """Return the shards that own hosts: int32[n] for HostIds uint32[n]."""
        shards: npt.NDArray[np.int32] = self._by_id[np.minimum(ids, len(self.hot))]
        return shards

    def hosts_of(self, shard: int) -> list[int]:
        """Return the HostIds of the hot hosts of a shard, ascending."""
        ids: list[int] = np.flatnonzero(self.hot == shard).tolist()
        return ids

    def describe(self, directory: HostDirectory) -> dict[str, object]:
        """Return it by names, as a partition file has it."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "shards": self.shard_count,
            "hosts": {name: int(shard) for name, shard in zip(directory.hostnames, self.hot, strict=True)},
            "populations": {population.name: self.cold for population in directory.populations},
        }


def contiguous_partition(directory: HostDirectory, shards: int, load: Sequence[float]) -> PartitionMap:
    """Divide the hot hosts, in the order of their ids, into runs of about equal load.

    Parameters
    ----------
    directory : HostDirectory
    shards : int
    load : sequence of float
        Of each hot host, by HostId.
    """
    _check_load(directory, load)
    return PartitionMap(shards, _runs(np.arange(directory.hot_count), shards, np.asarray(load, dtype=np.float64), None))


def community_partition(directory: HostDirectory, paths: PathTable, shards: int, load: Sequence[float]) -> PartitionMap:
    """Divide the hot hosts so that those close to each other share a shard, and loads are about equal.

    Places are put in an order in which near ones are neighbours (the leaves of an average-linkage tree over
    the latencies), and that order is cut into runs: each cut is made where the latency between neighbours is
    largest, not far from where it would balance best.

    Parameters
    ----------
    directory, paths
        Of the experiment.
    shards : int
    load : sequence of float
        Of each hot host, by HostId.
    """
    _check_load(directory, load)
    node = directory.node[: directory.hot_count]
    used = np.unique(node)
    distance = _distances(paths, used)
    place_in_order = np.empty(len(used), dtype=np.int64)
    place_in_order[_near_ones_together(distance)] = np.arange(len(used))
    vertex = np.searchsorted(used, node)
    order = np.lexsort((np.arange(len(node)), place_in_order[vertex]))
    gaps = distance[vertex[order[:-1]], vertex[order[1:]]]
    return PartitionMap(shards, _runs(order, shards, np.asarray(load, dtype=np.float64), gaps))


def read_partition(path: Path, directory: HostDirectory, shards: int | None = None) -> PartitionMap:
    """Read a partition file.

    Parameters
    ----------
    path
        A file that `write_partition` made, or that has its form.
    directory
        Of the experiment: the file must name every hot host and population, and nothing else.
    shards
        The number of shards of the run, if it is decided already.

    Raises
    ------
    PartitionError
        It cannot be read, or belongs to another experiment or number of shards.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise PartitionError(f"the partition cannot be read: {error.strerror}", where=str(path)) from None
    except ValueError as error:
        raise PartitionError(f"not a partition: {error}", where=str(path)) from None
    if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != _VERSION:
        message = f'not a partition: it must say "format": "{_FORMAT}", "version": {_VERSION}'
        raise PartitionError(message, where=str(path))
    count = content.get("shards")
    if not isinstance(count, int) or count < 1:
        raise PartitionError('"shards" must be a whole number, 1 or more', where=str(path))
    if shards is not None and count != shards:
        raise PartitionError(
            f"it is for {count} shards, and the run has {shards}",
            where=str(path),
            hint=f"antumbra partition CONFIG -n {shards} makes one",
        )
    hot = _owners(content, "hosts", directory.hostnames, count, path)
    cold = _owners(content, "populations", [population.name for population in directory.populations], count, path)
    if len(set(cold)) > 1:
        raise PartitionError("all populations must be on one shard", where=f"{path}: populations")
    return PartitionMap.of(count, hot, cold[0] if cold else 0)


def write_partition(path: Path, partition: PartitionMap, directory: HostDirectory) -> None:
    """Write a partition file: JSON, the same bytes for the same partition."""
    write_atomically(path, partition_text(partition, directory).encode())


def partition_text(partition: PartitionMap, directory: HostDirectory) -> str:
    """Return what a partition file holds."""
    return json.dumps(partition.describe(directory), indent=2) + "\n"


def _check_load(directory: HostDirectory, load: Sequence[float]) -> None:
    if len(load) != directory.hot_count:
        raise ValueError(f"{len(load)} loads for {directory.hot_count} hosts")


def _runs(
    order: npt.NDArray[np.int64], shards: int, load: npt.NDArray[np.float64], gaps: npt.NDArray[np.float64] | None
) -> npt.NDArray[np.int32]:
    """Cut `order` into runs of about equal load; return the run of each host.

    ``gaps[i]`` is the distance between neighbours i and i + 1 of the order.
    """
    count = len(order)
    owner = np.zeros(count, dtype=np.int32)
    before = np.concatenate([[0.0], np.cumsum(load[order])])
    share = before[-1] / shards
    start = 0
    for number in range(1, shards):
        away = np.abs(before[start:] - number * share)
        candidates = np.flatnonzero(away <= max(float(away.min()), _TOLERANCE * share)) + start
        gap = np.array([0.0 if gaps is None or not 0 < cut < count else gaps[cut - 1] for cut in candidates])
        best = np.lexsort((candidates, np.abs(before[candidates] - number * share), -gap))[0]
        cut = int(candidates[best])
        owner[order[cut:]] = number
        start = cut
    return owner


def _distances(paths: PathTable, used: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Latencies between places both ways, [ns]; places without a path are farther than all others."""
    latency = paths.latency_ns[np.ix_(used, used)].astype(np.float64)
    latency[latency == UNREACHABLE] = 2.0 * max(float(latency.max(initial=1.0)), 1.0)
    np.fill_diagonal(latency, 0.0)
    symmetric: npt.NDArray[np.float64] = np.minimum(latency, latency.T)
    return symmetric


def _near_ones_together(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    if len(distance) < 3:
        return np.arange(len(distance))
    condensed = squareform(distance, checks=False)
    tree = linkage(condensed, method="average")
    if len(distance) <= _MOST_OPTIMISED:
        tree = optimal_leaf_ordering(tree, condensed)
    leaves: npt.NDArray[np.int64] = leaves_list(tree).astype(np.int64)
    return leaves


def _owners(content: Mapping[str, Any], key: str, names: Sequence[str], shards: int, path: Path) -> list[int]:
    entries = content.get(key, {})
    if not isinstance(entries, dict):
        raise PartitionError("must map names to shards", where=f"{path}: {key}")
    unknown = sorted(set(entries) - set(names))
    missing = [name for name in names if name not in entries]
    for what, found in (("names what the experiment does not have", unknown), ("has no shard for", missing)):
        if found:
            shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
            raise PartitionError(f"{what}: {shown}", where=f"{path}: {key}")
    for name in names:
        shard = entries[name]
        if isinstance(shard, bool) or not isinstance(shard, int) or not 0 <= shard < shards:
            raise PartitionError(f"{shard!r} is not a shard, 0 to {shards - 1}", where=f"{path}: {key}.{name}")
    return [entries[name] for name in names]
