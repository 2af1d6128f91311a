"""Partitions that cut little of the traffic that an earlier run has measured.

The graph that is divided has the hot hosts and some blocks of cold identities as vertices, and the packets between
them as weights; METIS divides it. Since the identities of a shard must be one range, what METIS says about blocks
counts for their number only. So the result is compared with the partitions that look at distances alone, and the one
that cuts least is taken, of those that balance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.partition import PartitionMap
from bridge.partitioner import (
    BALANCED,
    Demand,
    Items,
    community_partition,
    contiguous_partition,
    demand_of_shards,
)
from bridge.proximity import NodeOrder
from bridge.traffic import Groups, Hints

#: Enough to choose from, and few: each is a neighbour of every host that talks to its group.
_BLOCKS_PER_SHARD: Final = 4
#: METIS counts in 32-bit integers: weights are scaled to these sums.
_DEMAND_SUM: Final = 10_000_000
_TRAFFIC_SUM: Final = 1_000_000_000
#: Per mille that METIS may give a shard more than an equal share.
_UNEVENNESS: Final = 30
_SEED: Final = 1


def traffic_partition(
    directory: HostDirectory,
    node_ids: Sequence[int],
    order: NodeOrder,
    shards: int,
    demand: Demand,
    hints: Hints,
) -> PartitionMap:
    """Divide all hosts so that few packets cross, and demands are about equal.

    Parameters
    ----------
    directory, node_ids, order, shards, demand
        As for `bridge.partitioner.community_partition`.
    hints : Hints
        What an earlier run has measured.
    """
    groups = Groups.of(directory, node_ids)
    items = Items.of(directory, node_ids, order, shards, demand, blocks_per_shard=_BLOCKS_PER_SHARD)
    candidates = [
        items.partition(_divide(items, _edges(items, groups, hints), shards), shards),
        community_partition(directory, node_ids, order, shards, demand),
        contiguous_partition(directory, shards, demand),
    ]

    # Where hosts are few, or some large, no division is even: then one is balanced that is nearly as even as any.
    fullest = [float(demand_of_shards(partition, demand).max(initial=0.0)) for partition in candidates]
    allowed = BALANCED * max(min(fullest), 1.0 / shards)
    balanced = [partition for partition, most in zip(candidates, fullest, strict=True) if most <= allowed]
    return min(balanced, key=lambda partition: cut_share(partition, groups, hints))


def cut_share(partition: PartitionMap, groups: Groups, hints: Hints) -> float:
    """Return the share of the packets that would cross from shard to shard: 0 to 1.

    The packets of a group of identities are taken to be spread evenly over it.
    """
    if not len(hints.pairs):
        return 0.0
    share = _shares(partition, groups)
    source, destination, packets = hints.pairs.T
    stays = (share[source] * share[destination]).sum(axis=1) * packets
    return float(1.0 - stays.sum() / max(packets.sum(), 1))


def _shares(partition: PartitionMap, groups: Groups) -> npt.NDArray[np.float64]:
    """Return which share of each group each shard has: float64[groups, shards]."""
    hot_count = len(partition.hot)
    share = np.zeros((len(groups.names), partition.shard_count))
    share[np.arange(hot_count), partition.hot] = 1.0
    first, last = groups.first[hot_count:-1, None], groups.first[hot_count + 1 :, None]
    here = np.minimum(last, partition.cuts[1:]) - np.maximum(first, partition.cuts[:-1])
    share[hot_count:] = np.maximum(here, 0) / (last - first)
    return share


def _edges(items: Items, groups: Groups, hints: Hints) -> npt.NDArray[np.float64]:
    """Return the graph's edges: rows of (item, another item, packets), each pair in one direction."""
    group_of_item = groups.of_hosts(items.first)
    by_group = np.argsort(group_of_item, kind="stable")
    start = np.searchsorted(group_of_item[by_group], np.arange(len(groups.names) + 1))
    members = np.diff(start)
    source, destination, packets = hints.pairs.T
    # Each item of the one group with each of the other; of a hot host there is one.
    pairs = members[source] * members[destination]
    pair = np.repeat(np.arange(len(pairs)), pairs)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    one = by_group[start[source[pair]] + within // members[destination[pair]]]
    other = by_group[start[destination[pair]] + within % members[destination[pair]]]
    weight = packets[pair] / pairs[pair]
    low, high = np.minimum(one, other), np.maximum(one, other)
    key, place = np.unique(low * len(items.first) + high, return_inverse=True)
    total = np.bincount(place, weights=weight, minlength=len(key))
    edges = np.stack([key // len(items.first), key % len(items.first), total], axis=1)
    between: npt.NDArray[np.float64] = edges[(edges[:, 0] != edges[:, 1]) & (total > 0)]
    return between


def _divide(items: Items, edges: npt.NDArray[np.float64], shards: int) -> npt.NDArray[np.int32]:
    """Let METIS divide the graph of items; the shards are numbered in the order of the identities that they have."""
    count = len(items.first)
    if shards == 1 or count < shards:
        return np.arange(count, dtype=np.int32) % shards
    # Here, because only a partition with hints needs it.
    import pymetis

    one, other = edges[:, 0].astype(np.int64), edges[:, 1].astype(np.int64)
    weight = np.maximum(np.rint(edges[:, 2] * (_TRAFFIC_SUM / max(edges[:, 2].sum(), 1.0))), 1).astype(np.int64)
    tail, head, both = np.concatenate([one, other]), np.concatenate([other, one]), np.tile(weight, 2)
    by_tail = np.lexsort((head, tail))
    _, owner = pymetis.part_graph(
        shards,
        pymetis.CSRAdjacency(np.searchsorted(tail[by_tail], np.arange(count + 1)), head[by_tail]),
        vweights=np.maximum(np.rint(items.demand * _DEMAND_SUM), 1).astype(np.int64).tolist(),
        eweights=both[by_tail].tolist(),
        recursive=False,
        options=pymetis.Options(seed=_SEED, ufactor=_UNEVENNESS, ncuts=4),
    )
    owners = np.array(owner, dtype=np.int64)
    identities = np.bincount(owners, weights=items.count, minlength=shards)
    first = np.bincount(owners, weights=items.count * items.first, minlength=shards)
    mean = np.divide(first, identities, out=np.full(shards, np.inf), where=identities > 0)
    number = np.empty(shards, dtype=np.int32)
    number[np.lexsort((np.arange(shards), mean))] = np.arange(shards)
    renamed: npt.NDArray[np.int32] = number[owners]
    return renamed
