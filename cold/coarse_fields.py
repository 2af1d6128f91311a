"""The fields of all topics that are not exact, and the members that they are about."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bridge.errors import UserError
from bridge.paths import PathTable
from cold.meetings import Meetings
from cold.memberships import mean_known_peers
from cold.propagation import MOST_GROUPS, Groups, group_members
from cold.resolution import topic_families
from cold.resolution_section import Resolution
from cold.sampled_kernels import Mesh
from cold.scenario import Scenario
from cold.subscriptions import subscriptions
from cold.topic_fields import TopicFields
from cold.topic_meshes import standing_mesh


class CoarseFields:
    """Fields by topic. Topics of one group of the configuration have the same, made of the first one's members.

    Parameters
    ----------
    scenario
        What the tail is.
    paths
        Latency and loss from the places of identities.
    resolution
        Of each coarse topic, by its index.
    """

    def __init__(self, scenario: Scenario, paths: PathTable, resolution: Mapping[int, Resolution]) -> None:
        section, directory, seed, _ = scenario
        self._scenario, self._paths = scenario, paths
        self._first = first = directory.hot_count
        self._everybody = group_members(
            directory.node[first:], directory.uplink_bps[first:], directory.downlink_bps[first:]
        )
        if len(self._everybody.size) > MOST_GROUPS:
            raise UserError(
                f"the identities are of {len(self._everybody.size)} kinds, by node and bandwidth; a resolution other "
                f"than exact takes {MOST_GROUPS} at most",
                where="cold.resolution",
                hint="place the populations on fewer nodes, or model all topics exactly",
            )
        drawn = subscriptions(section, seed, directory)
        self._subscribers = {
            topic: drawn.member[slice(*drawn.start[[topic, topic + 1]])].copy() for topic in resolution
        }
        members = np.diff(drawn.start)
        del drawn
        self._resolution = dict(resolution)
        self._leader: dict[int, int] = {}
        for family in topic_families(section):
            leaders: dict[Resolution, int] = {}
            for topic in family:
                if topic in self._resolution:
                    self._leader[topic] = leaders.setdefault(self._resolution[topic], topic)
        self._fields: dict[int, TopicFields] = {}
        self._meetings = Meetings(scenario, paths, self._everybody.group, members, self._leader)

    def later(self, message_id: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """How much later messages of the plan come for meeting others: int64[n, `cold.propagation.SHARES`], ns."""
        return self._meetings.of_planned(message_id)

    def later_from(self, time: int, message_id: int | None) -> npt.NDArray[np.int64]:
        """The same of a message of the plan, by its id, or of one that enters from outside at a time [ns]: one row."""
        if message_id is None:
            return self._meetings.around(time)
        row: npt.NDArray[np.int64] = self._meetings.of_planned(np.array([message_id], dtype=np.uint64))[0]
        return row

    @property
    def meetings(self) -> Meetings:
        """Return what messages lose by meeting others."""
        return self._meetings

    def group_of(self, host: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """Groups of identities by their HostIds: int32[n]."""
        group: npt.NDArray[np.int32] = self._everybody.group[host - self._first]
        return group

    @property
    def leaders(self) -> dict[int, int]:
        """Return the topic whose fields a topic has, by the indices of both."""
        return dict(self._leader)

    def members(self, topic: int) -> npt.NDArray[np.uint32]:
        """HostIds of a coarse topic's subscribers, ascending."""
        return self._subscribers[topic]

    def source_groups(self, topic: int, host: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Groups whose fields the messages of publishers follow: int64[n].

        Their own, or, where the topic has no member of it, the nearest that it has, of one latency the first.
        """
        size = self.of(topic).groups.size
        nearest = np.arange(len(size))
        there = np.flatnonzero(size > 0)
        node = self._everybody.node
        for group in np.flatnonzero(size == 0).tolist():
            latency = self._paths.latency_ns[node[group], node[there]]
            nearest[group] = there[np.lexsort((there, latency, node[there] != node[group]))[0]]
        return np.asarray(nearest[self.group_of(host)], dtype=np.int64)

    def known_peers(self, topic: int) -> int:
        """Peers that a member knows on the topic."""
        return mean_known_peers(self._scenario.section, topic, len(self.members(topic)))

    def of(self, topic: int) -> TopicFields:
        """The fields of a topic, by its index."""
        leader = self._leader[topic]
        if leader not in self._fields:
            members = self.members(leader)
            group = self.group_of(members)
            whole, section = self._everybody, self._scenario.section
            self._fields[leader] = TopicFields(
                whole._replace(group=group, size=np.bincount(group, minlength=len(whole.size)).astype(np.int64)),
                self._paths,
                section.gossip,
                self.known_peers(leader),
                self._scenario.seed,
                leader,
                "sampled" if self._resolution[leader] is Resolution.SAMPLED else "mean-field",
                section.resolution.representatives,
                lambda: self._mesh(leader),
            )
        return self._fields[leader]

    def _mesh(self, topic: int) -> Mesh:
        """The mesh of a topic's subscribers, as an exact topic has it."""
        return standing_mesh(self._scenario, self._paths, topic, self.members(topic))

    @property
    def groups(self) -> Groups:
        """All identities by group."""
        return self._everybody
