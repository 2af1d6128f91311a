"""How far a shard may run without hearing from others, when that is more than the smallest latency of all.

What crosses from shard to shard takes at least the smallest latency between hosts of *different* shards: so long the
shards run on their own, in an outer window. Inside it, the participants of a shard still have to hear from each other
and from themselves: they run inner windows, no longer than the smallest latency between hosts of the *same* shard, of
which at least one is hot. Events between cold identities of one shard never leave their participant, which knows by
itself how far it may go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from bridge.directory import HostDirectory
from bridge.partition import PartitionMap
from bridge.paths import Paths
from bridge.simtime import NEVER, NS_PER_S

#: However far apart shards are: a request to stop is heard between windows.
_LONGEST_NS: Final = NS_PER_S


@dataclass(frozen=True)
class Lookahead:
    """Lengths of windows that depend on the partition.

    Attributes
    ----------
    outer_ns : int
        Length of the windows after which shards exchange events.
    inner_ns : tuple of int
        By shard: length of the windows that it runs inside these. At most `outer_ns`.
    """

    outer_ns: int
    inner_ns: tuple[int, ...]


def lookahead_of(
    partition: PartitionMap, directory: HostDirectory, paths: Paths, shortest_ns: int | None = None
) -> Lookahead:
    """Find the longest windows that a partition allows.

    Parameters
    ----------
    partition, directory, paths
        Of the experiment.
    shortest_ns
        Inner windows are not longer than this, whatever the latencies.
    """
    shards = partition.shard_count
    everybody, hot = np.zeros((2, shards, len(paths.node_ids)), dtype=np.bool_)
    shard = partition.shard_of(np.arange(directory.total_count, dtype=np.uint32))
    everybody[shard, directory.node] = True
    hot[partition.hot, directory.node[: directory.hot_count]] = True
    outer, inner = _LONGEST_NS, []
    for number in range(shards):
        here = everybody[number]
        others = everybody.sum(axis=0) > here
        outer = min(outer, paths.smallest_latency(here, others) or NEVER)
        met = (paths.smallest_latency(hot[number], here), paths.smallest_latency(here, hot[number]))
        inner.append(min(latency or NEVER for latency in met))
    return Lookahead(outer, tuple(min(length, outer, shortest_ns or outer) for length in inner))
