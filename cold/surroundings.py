"""What befalls single identities and paths in a network that changes: a function of configuration and seed.

Every shard knows of every identity whether it is up and does what it should, and of every path what it is like.
"""

from __future__ import annotations

import numpy as np

from bridge.paths import PathTable
from bridge.simtime import NEVER
from cold.disturbance_kernels import BEGIN, END, EXTRA_LATENCY
from cold.disturbances import disturbances_of
from cold.misbehaviour import silences_of
from cold.population import client_kinds
from cold.scenario import Scenario
from cold.section import GossipSection
from cold.sessions import Histories, comes_and_goes, habits_of


class Surroundings:
    """Answers about identities, by HostId, and nodes, by index, at any time.

    Parameters
    ----------
    scenario
        What the tail is.
    paths
        Latency and loss, undisturbed.
    """

    def __init__(self, scenario: Scenario, paths: PathTable) -> None:
        section, directory, seed, _ = scenario
        self._first = first = directory.hot_count
        self._paths = paths
        self._histories: Histories | None = None
        if comes_and_goes(section):
            self._histories = Histories(habits_of(section, directory, paths.node_ids), seed, first)
        self._silences = silences_of(section, directory, paths.node_ids, seed)
        self._disturbances = disturbances_of(section, paths.node_ids)
        self._gossip = section.client_gossip
        self._kind = client_kinds(section, seed, first, directory.total_count - first)

    def gossip(self, host: int) -> GossipSection:
        """The parameters of an identity's kind of client."""
        return self._gossip[int(self._kind[host - self._first])]

    def is_up(self, host: int, time: int) -> bool:
        """Whether an identity is up at a time [ns]."""
        return self._histories is None or self._histories.interval(host, time)[0]

    def changes_next(self, host: int, time: int) -> int:
        """When an identity next comes or goes after a time [ns]; NEVER if it does not change."""
        return NEVER if self._histories is None else self._histories.interval(host, time)[1]

    def sessions(self, host: int, begin: int, end: int) -> list[tuple[int, int]]:
        """From when until when an identity is up between two times [ns]."""
        return [(begin, end)] if self._histories is None else self._histories.sessions(host, begin, end)

    def is_silent(self, host: int, time: int) -> bool:
        """Whether an identity tells nobody of the messages of others."""
        return bool(self._silences.concerned[host - self._first] & self._silences.at(time))

    def path(self, time: int, one: int, other: int) -> tuple[int, float]:
        """How long a packet takes that leaves node `one` for `other` at a time [ns], and how likely it is lost."""
        latency, loss = int(self._paths.latency_ns[one, other]), float(self._paths.loss[one, other])
        disturbances = self._disturbances
        for row, extra, concerned in zip(
            disturbances.row.tolist(), disturbances.loss.tolist(), disturbances.concerned, strict=True
        ):
            if row[BEGIN] <= time < row[END] and concerned[one, other]:
                latency += row[EXTRA_LATENCY]
                loss += (1.0 - loss) * extra
        return latency, loss


def quickest_ways(paths: PathTable) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Smallest time in which anything comes from a node to another over any identities [ns]: int64[L, L]."""
    quickest = np.where(paths.loss < 1, paths.latency_ns, NEVER // 4).astype(np.int64)
    for node in range(len(quickest)):
        quickest = np.minimum(quickest, quickest[:, node : node + 1] + quickest[node : node + 1])
    return quickest
