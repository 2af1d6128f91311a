"""The partition: which shard owns which host, and the files that say so.

Ids, addresses and random numbers do not depend on it: it decides where something is computed, never what.
Hot hosts may be anywhere. Of the cold identities, which many shards compute together, each shard has one
contiguous range of HostIds, in the order of the shards. `bridge.partitioner` makes partitions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeGuard

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.errors import UserError
from bridge.rundir import write_atomically

_FORMAT: Final = "antumbra-partition"
_VERSION: Final = 2


class PartitionError(UserError):
    """A partition that does not fit the experiment."""


@dataclass(frozen=True)
class PartitionMap:
    """Owners of all hosts.

    Attributes
    ----------
    hot : ndarray of int32, shape (hot hosts,)
        Shard of each hot host, by HostId.
    cuts : ndarray of int64, shape (shards + 1,)
        Shard s has the identities whose HostIds are ``cuts[s]`` and more, but less than ``cuts[s + 1]``; the range
        may be empty. The first cut is the number of hot hosts, the last the number of all hosts.
    """

    hot: npt.NDArray[np.int32]
    cuts: npt.NDArray[np.int64]

    @staticmethod
    def of(hot: Sequence[int], identities: Sequence[int]) -> PartitionMap:
        """Make one of the shards of the hot hosts, by HostId, and of the number of identities of each shard."""
        cuts = len(hot) + np.cumsum([0, *identities])
        return PartitionMap(np.array(hot, dtype=np.int32), cuts.astype(np.int64))

    @property
    def shard_count(self) -> int:
        """Number of shards."""
        return len(self.cuts) - 1

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        return np.ascontiguousarray(self.cuts[1:])

    def shard_of(self, ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        """Return the shards that own hosts: int32[n] for HostIds uint32[n]."""
        hot_count = len(self.hot)
        # The range that ends behind an id is its own: empty ones before it end at or before it.
        shards = np.searchsorted(self._ends, ids, side="right").astype(np.int32)
        if hot_count:
            is_hot = ids < hot_count
            shards[is_hot] = self.hot[ids[is_hot]]
        return shards

    def hosts_of(self, shard: int) -> list[int]:
        """Return the HostIds of the hot hosts of a shard, ascending."""
        ids: list[int] = np.flatnonzero(self.hot == shard).tolist()
        return ids

    def identities_of(self, shard: int) -> range:
        """Return the HostIds of the cold identities of a shard."""
        return range(int(self.cuts[shard]), int(self.cuts[shard + 1]))

    def describe(self, directory: HostDirectory) -> dict[str, object]:
        """Return it by names, as a partition file has it."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "shards": self.shard_count,
            "hosts": {name: int(shard) for name, shard in zip(directory.hostnames, self.hot, strict=True)},
            "populations": {population.name: population.count for population in directory.populations},
            "identities": (self.cuts - len(self.hot)).tolist(),
        }


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
        earlier = isinstance(content, dict) and content.get("format") == _FORMAT
        raise PartitionError(
            f'not a partition: it must say "format": "{_FORMAT}", "version": {_VERSION}',
            where=str(path),
            hint="antumbra partition CONFIG -n N -o FILE makes one of this version" if earlier else None,
        )
    count = content.get("shards")
    if not _is_whole(count) or count < 1:
        raise PartitionError('"shards" must be a whole number, 1 or more', where=str(path))
    if shards is not None and count != shards:
        raise PartitionError(
            f"it is for {count} shards, and the run has {shards}",
            where=str(path),
            hint=f"antumbra partition CONFIG -n {shards} makes one",
        )
    hot = _owners(content, directory.hostnames, count, path)
    _check_populations(content, directory, path)
    identities = directory.total_count - directory.hot_count
    cuts = np.array(_cuts(content, count, identities, path), dtype=np.int64) + directory.hot_count
    return PartitionMap(np.array(hot, dtype=np.int32), cuts)


def write_partition(path: Path, partition: PartitionMap, directory: HostDirectory) -> None:
    """Write a partition file: JSON, the same bytes for the same partition."""
    write_atomically(path, partition_text(partition, directory).encode())


def partition_text(partition: PartitionMap, directory: HostDirectory) -> str:
    """Return what a partition file holds."""
    return json.dumps(partition.describe(directory), indent=2) + "\n"


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _entries(content: Mapping[str, Any], key: str, names: Sequence[str], path: Path) -> dict[str, Any]:
    """Return an object of the file, which has an entry for each of the names, and no other."""
    entries = content.get(key, {})
    if not isinstance(entries, dict):
        raise PartitionError("must be an object with an entry for each name", where=f"{path}: {key}")
    unknown = sorted(set(entries) - set(names))
    missing = [name for name in names if name not in entries]
    for what, found in (("names what the experiment does not have", unknown), ("has no entry for", missing)):
        if found:
            shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
            raise PartitionError(f"{what}: {shown}", where=f"{path}: {key}")
    return entries


def _owners(content: Mapping[str, Any], names: Sequence[str], shards: int, path: Path) -> list[int]:
    entries = _entries(content, "hosts", names, path)
    for name in names:
        shard = entries[name]
        if not _is_whole(shard) or not 0 <= shard < shards:
            raise PartitionError(f"{shard!r} is not a shard, 0 to {shards - 1}", where=f"{path}: hosts.{name}")
    return [entries[name] for name in names]


def _check_populations(content: Mapping[str, Any], directory: HostDirectory, path: Path) -> None:
    counts = {population.name: population.count for population in directory.populations}
    for name, count in _entries(content, "populations", list(counts), path).items():
        if count != counts[name]:
            raise PartitionError(
                f"it is for {count!r} identities, and the experiment has {counts[name]}",
                where=f"{path}: populations.{name}",
            )


def _cuts(content: Mapping[str, Any], shards: int, identities: int, path: Path) -> list[int]:
    cuts = content.get("identities", [0] * (shards + 1) if identities == 0 else None)
    fits = (
        isinstance(cuts, list)
        and len(cuts) == shards + 1
        and all(map(_is_whole, cuts))
        and cuts == sorted(cuts)
        and (cuts[0], cuts[-1]) == (0, identities)
    )
    if not fits:
        raise PartitionError(
            f"must be {shards + 1} whole numbers that do not descend, from 0 to {identities}: shard s has the "
            "identities from number s of them to number s + 1",
            where=f"{path}: identities",
        )
    assert isinstance(cuts, list)
    return cuts
