"""Making partitions: near hosts together, and what every shard has to do about equal.

What is divided is a sequence of *items*: the hot hosts, and blocks of neighbouring cold identities. A partition
is a pure function of its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.partition import PartitionMap
from bridge.proximity import NodeOrder

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: A cut may move this far from where it would balance best, as a share of what one shard has to do.
_TOLERANCE: Final = 0.1
#: Cold identities are divided into so many blocks for each shard, if they are at one place, and more if not.
_BLOCKS_PER_SHARD: Final = 64
#: A division is balanced in which the fullest shard has up to this much more to do than in the most even one.
BALANCED: Final = 1.1


@dataclass(frozen=True)
class Demand:
    """What hosts take of a shard, as shares of what the whole experiment takes.

    Attributes
    ----------
    hot : ndarray of float64, shape (hot hosts,)
        Of each hot host, by HostId.
    identity : float
        Of each cold identity.
    """

    hot: Floats
    identity: float

    @staticmethod
    def of(
        directory: HostDirectory,
        load: Sequence[float] | Floats,
        memory: Sequence[float] | Floats,
        identity_load: float,
        identity_memory: float,
    ) -> Demand:
        """Weigh load and memory alike: a shard with its share of both sums may have too much of neither.

        Parameters
        ----------
        directory : HostDirectory
        load, memory : sequence of float
            Of each hot host, by HostId, in any units.
        identity_load, identity_memory : float
            Of one cold identity, in the same units.
        """
        identities = directory.total_count - directory.hot_count
        hot = np.zeros(directory.hot_count)
        identity = 0.0
        for of_hosts, of_identity in ((load, identity_load), (memory, identity_memory)):
            column = np.asarray(of_hosts, dtype=np.float64)
            if column.shape != (directory.hot_count,):
                raise ValueError(f"{len(of_hosts)} values for {directory.hot_count} hot hosts")
            whole = float(column.sum()) + identities * of_identity
            if whole > 0:
                hot += column / (2 * whole)
                identity += of_identity / (2 * whole)
        return Demand(hot, identity)


def contiguous_partition(directory: HostDirectory, shards: int, demand: Demand) -> PartitionMap:
    """Divide the hot hosts, in the order of their ids, into runs of about equal demand; fill up with identities.

    Parameters
    ----------
    directory : HostDirectory
    shards : int
    demand : Demand
    """
    hot = _runs(demand.hot, shards, np.zeros(max(directory.hot_count - 1, 0)))
    identities = directory.total_count - directory.hot_count
    taken: Floats = np.bincount(hot, weights=demand.hot, minlength=shards).astype(np.float64)
    filled = _fill_up(taken, identities * demand.identity)
    return PartitionMap.of(hot.tolist(), _whole_numbers(filled, identities))


def community_partition(
    directory: HostDirectory, node_ids: Sequence[int], order: NodeOrder, shards: int, demand: Demand
) -> PartitionMap:
    """Divide all hosts so that those close to each other share a shard, and demands are about equal.

    Places are put in an order in which near ones are neighbours, and that is cut into runs: each cut is made where
    the latency between neighbours is largest, not far from where it would balance best.

    Parameters
    ----------
    directory : HostDirectory
    node_ids : sequence of int
        Ids of the graph's nodes, by the numbers that `directory` gives them.
    order : NodeOrder
        All nodes of the graph.
    shards : int
    demand : Demand
    """
    items = Items.of(directory, node_ids, order, shards, demand)
    return items.partition(_runs(items.demand, shards, items.gaps(order)), shards)


@dataclass(frozen=True)
class Items:
    """Hot hosts and blocks of identities, sorted by place: what is near is close together.

    Attributes
    ----------
    place : ndarray of int64, shape (items,)
        Places of their nodes in the order by proximity.
    first : ndarray of int64, shape (items,)
        HostId of the host, or of the first identity.
    count : ndarray of int64, shape (items,)
        Number of identities; 0 for a hot host.
    demand : ndarray of float64, shape (items,)
    hot_count : int
    """

    place: Indices
    first: Indices
    count: Indices
    demand: Floats
    hot_count: int

    @staticmethod
    def of(
        directory: HostDirectory,
        node_ids: Sequence[int],
        order: NodeOrder,
        shards: int,
        demand: Demand,
        *,
        blocks_per_shard: int = _BLOCKS_PER_SHARD,
    ) -> Items:
        """Make items of all hosts of an experiment; see `community_partition`."""
        hot_count = directory.hot_count
        place_of = order.place_of()
        place = np.array([place_of[number] for number in node_ids], dtype=np.int64)[directory.node]
        first, count = _blocks(place[hot_count:], blocks_per_shard * shards)
        firsts = np.concatenate([np.arange(hot_count), hot_count + first])
        counts = np.concatenate([np.zeros(hot_count, dtype=np.int64), count])
        demands = np.concatenate([demand.hot, count * demand.identity])
        places = place[firsts]
        sequence = np.lexsort((firsts, places))
        return Items(places[sequence], firsts[sequence], counts[sequence], demands[sequence], hot_count)

    def gaps(self, order: NodeOrder) -> Floats:
        """Return the distance between each item and the next [ns]."""
        gaps = np.zeros(max(len(self.place) - 1, 0))
        moves = np.flatnonzero(np.diff(self.place))
        for item in moves.tolist():
            gaps[item] = order.gap_ns[self.place[item] : self.place[item + 1]].max()
        return gaps

    def partition(self, owner: npt.NDArray[np.int32], shards: int) -> PartitionMap:
        """Return the partition in which items have these owners.

        A shard gets as many identities as its blocks have, and those very ones as far as ranges in the order of the
        shards allow it.
        """
        is_host = self.count == 0
        hot = np.zeros(self.hot_count, dtype=np.int32)
        hot[self.first[is_host]] = owner[is_host]
        identities = np.bincount(owner, weights=self.count, minlength=shards).astype(np.int64)
        return PartitionMap.of(hot.tolist(), identities.tolist())


def demand_of_shards(partition: PartitionMap, demand: Demand) -> Floats:
    """Return what each shard has to do, as a share of the whole: float64[shards]."""
    hot: Floats = np.bincount(partition.hot, weights=demand.hot, minlength=partition.shard_count).astype(np.float64)
    return hot + np.diff(partition.cuts) * demand.identity


def _blocks(place: Indices, least: int) -> tuple[Indices, Indices]:
    """Divide identities into blocks at one place each, so many or more; return their first identities and numbers."""
    count = len(place)
    if count == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    longest = max(count // least, 1)
    borders = np.concatenate([[0], np.flatnonzero(np.diff(place)) + 1, [count]])
    first = np.concatenate([np.arange(begin, end, longest) for begin, end in pairwise(borders)])
    return first, np.diff(np.append(first, count))


def _runs(demand: Floats, shards: int, gaps: Floats) -> npt.NDArray[np.int32]:
    """Cut a sequence into runs of about equal demand; return the number of each item's run.

    ``gaps[i]`` is the distance between items i and i + 1: of the cuts that balance well, the one at the largest gap
    is taken.
    """
    count = len(demand)
    owner = np.zeros(count, dtype=np.int32)
    before = np.concatenate([[0.0], np.cumsum(demand)])
    gap_before = np.concatenate([[0.0], gaps, [0.0]])
    share = before[-1] / shards
    start = 0
    for number in range(1, shards):
        away = np.abs(before[start:] - number * share)
        candidates = np.flatnonzero(away <= max(float(away.min()), _TOLERANCE * share)) + start
        best = np.lexsort((candidates, away[candidates - start], -gap_before[candidates]))[0]
        start = int(candidates[best])
        owner[start:] = number
    return owner


def _fill_up(taken: Floats, more: float) -> Floats:
    """Distribute `more` so that the shards with least get level; return what each gets."""
    ascending = np.sort(taken)
    # With the k shards that have least at one level, the level is (their sum + more) / k.
    levels = (np.cumsum(ascending) + more) / np.arange(1, len(taken) + 1)
    reached = int(np.flatnonzero(levels >= ascending)[-1])
    given: Floats = np.maximum(levels[reached] - taken, 0.0)
    return given


def _whole_numbers(shares: Floats, total: int) -> list[int]:
    """Divide `total` in proportion to `shares`, in whole numbers."""
    if total == 0:
        return [0] * len(shares)
    ends = np.rint(np.cumsum(shares) * (total / shares.sum())).astype(np.int64)
    numbers: list[int] = np.diff(ends, prepend=0).tolist()
    return numbers
