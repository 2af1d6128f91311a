"""How much later messages of coarse topics come for meeting others at the links of identities.

A field is of a message that meets no other. What an identity's links carry does not depend on how many identities there
are: everybody gets every message of its topics once, and passes it on once. So the exact engine executes the whole plan
in a small network, where messages meet as they do in the large one, and each message is propagated there on its own
besides. The difference is what meeting costs it, at equal shares of the receivers. Where the network changes the small
one changes alike, and a message is on its own in a copy of it: what changes is the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.paths import PathTable
from bridge.simtime import NEVER
from cold.engine import ColdEngine
from cold.orders import stable_order
from cold.propagation import PER_MILLE, SHARES
from cold.publications import Plan, PlannedMessages, PublicationPlan
from cold.representatives import NoMessages, is_unsteady
from cold.resolution import BIN_SHIFT, COMPARED, FEW_AT_A_TIME, topic_families
from cold.results import TailResults, bucket_middles, delay_buckets, delays_at, rows_of
from cold.sampled import receipts, rules_of, spread_message
from cold.sampled_kernels import Mesh
from cold.scenario import Scenario
from cold.section import GossipSection
from cold.sessions import Histories, comes_and_goes, habits_of
from cold.small_networks import copies_carried, is_idle, small_network
from cold.subscriptions import subscriptions
from cold.topic_fields import typical_size
from cold.topic_meshes import standing_mesh
from cold.topics import Topic, TopicGroup

Int64Array = npt.NDArray[np.int64]

#: So many subscribers are wanted in the small network of a topic of which an identity has some of a group.
_MEMBERS: Final = 256


class _Layout(NamedTuple):
    """What is executed to find what n coarse messages lose."""

    small: Scenario
    """The small network."""
    members: Sequence[npt.NDArray[np.uint32]]
    """HostIds of the subscribers of its topics."""
    executed: PlannedMessages
    """What it publishes."""
    compared: Int64Array
    """int64[rows]: which of these are propagated on their own besides."""
    message_id: npt.NDArray[np.uint64]
    """uint64[n]: of the coarse messages."""
    time: Int64Array
    """int64[n]: of their publication, ascending [ns]."""
    followed: Int64Array
    """int64[n]: a place among `compared`, or one past the last for none."""


class _Found(NamedTuple):
    """What n coarse messages lose."""

    message_id: npt.NDArray[np.uint64]
    """uint64[n], ascending."""
    row: Int64Array
    """int64[n]: of `later`."""
    later: Int64Array
    """int64[rows, SHARES], ns."""
    time: Int64Array
    """int64[n]: of publication, ascending [ns]."""
    row_by_time: Int64Array
    """int64[n]: of `later`, in the order of `time`."""


class Meetings:
    """What messages of coarse topics lose by meeting others: worked out when it is first asked for.

    Parameters
    ----------
    scenario
        What the tail is.
    paths
        Latency and loss from the places of identities.
    group
        int32[A]: of each identity.
    members
        int64[T]: how many subscribe to each topic, by its index.
    leaders
        The topic whose fields a topic has, of each coarse topic.
    """

    def __init__(
        self,
        scenario: Scenario,
        paths: PathTable,
        group: npt.NDArray[np.int32],
        members: Int64Array,
        leaders: Mapping[int, int],
    ) -> None:
        self._scenario, self._paths = scenario, paths
        self._group, self._members, self._leaders = group, members, dict(leaders)
        self._found: _Found | None = None

    def of_planned(self, message_id: npt.NDArray[np.uint64]) -> Int64Array:
        """How much later messages of the plan come, at the shares of their receivers: int64[n, SHARES], ns."""
        found = self._worked_out()
        if not len(found.message_id):
            return np.zeros((len(message_id), len(SHARES)), dtype=np.int64)
        place = np.minimum(np.searchsorted(found.message_id, message_id), len(found.message_id) - 1)
        later: Int64Array = found.later[found.row[place]] * (found.message_id[place] == message_id)[:, None]
        return later

    def around(self, time: int) -> Int64Array:
        """How much later a message comes that is none of the plan, and comes in at a time [ns]: int64[SHARES], ns.

        As much as those of the plan in the mean that are published within an eighth of a second of it.
        """
        found = self._worked_out()
        first, last = np.searchsorted(found.time, [time - (1 << BIN_SHIFT), time + (1 << BIN_SHIFT)])
        if first == last:
            return np.zeros(len(SHARES), dtype=np.int64)
        rows = found.row_by_time[first:last]
        return np.asarray(found.later[rows].sum(axis=0) // len(rows), dtype=np.int64)

    def cost(self) -> float:
        """What it takes to work it out, in edge events of the exact engine; 0 where nothing meets."""
        layout = self._layout
        if layout is None:
            return 0.0
        copies = [copies_carried(layout.small.section, len(each)) * len(each) for each in layout.members]
        return FEW_AT_A_TIME * float(np.array(copies)[layout.executed.published.topic].sum())

    def told(self) -> bytes:
        """What others need to know who have not worked it out, docs/formats.md."""
        return self._worked_out().later.astype(">i8").tobytes()

    def learn(self, told: bytes) -> None:
        """Take what another one has worked out."""
        if self._found is None:
            later = np.frombuffer(told, dtype=">i8").astype(np.int64).reshape(-1, len(SHARES))
            self._found = self._found_by(later)

    def _worked_out(self) -> _Found:
        if self._found is None:
            layout = self._layout
            self._found = self._found_by(self._measured(layout) if layout else np.empty((0, len(SHARES)), np.int64))
        return self._found

    def _found_by(self, later: Int64Array) -> _Found:
        """What coarse messages lose where those that are compared lose so much: int64[rows, SHARES], ns."""
        layout = self._layout
        if layout is None:
            none = np.empty(0, dtype=np.int64)
            return _Found(np.empty(0, np.uint64), none, later, none, none)
        order = np.argsort(layout.message_id, kind="stable")
        return _Found(layout.message_id[order], layout.followed[order], later, layout.time, layout.followed)

    @cached_property
    def _layout(self) -> _Layout | None:
        """What is to be executed; None where nothing meets."""
        whole = self._scenario
        most = whole.section.resolution.queues
        planned = PublicationPlan(whole).take(whole.stop_time_ns)
        is_coarse = np.isin(planned.published.topic, list(self._leaders))
        if not most or not is_coarse.any():
            return None
        if is_idle(whole.section, whole.directory, planned.published, self._members):
            return None
        network = small_network(whole.section, whole.directory, min(most / len(self._group), 1.0))
        # Publishers are a greater part of few: whoever publishes sends as many copies as whoever passes on.
        gossip = network.section.gossip.model_copy(update={"flood_publish": False})
        topics, small_topic = self._small_topics(len(network.host))
        section = network.section.model_copy(update={"gossip": gossip, "topics": topics})
        small = whole._replace(section=section, directory=network.directory)
        drawn = subscriptions(section, whole.seed, network.directory)
        members = [drawn.member[begin:end] for begin, end in pairwise(drawn.start.tolist())]
        executed, comparable = self._moved(planned, small_topic, small, network.host, members)
        compared, followed = self._compared(planned, np.flatnonzero(is_coarse), comparable)
        ids, times = planned.message_id[is_coarse], planned.published.time[is_coarse]
        return _Layout(small, members, executed, compared, ids, times, followed)

    def _measured(self, layout: _Layout) -> Int64Array:
        """How much later each message that is compared comes, and a row of zeros: int64[rows, SHARES], ns."""
        small, members = layout.small, layout.members
        moved_id, moved = layout.executed
        engine = ColdEngine(small, self._paths, plan=Plan(layout.executed))
        results = _executed(engine, small.stop_time_ns, small.section.gossip)
        compared = layout.compared
        delivered = _delivered(results, moved_id[compared])
        make = _AloneInCopies if is_unsteady(small.section) else _AloneOnMeshes
        network_alone = make(small, self._paths, members)
        alone, ranks = np.full((2, len(compared), len(SHARES)), -1, dtype=np.int64)
        # Copies of a network are made as time goes on.
        for row in np.argsort(compared, kind="stable").tolist():
            which = compared[row : row + 1]
            delays, there = network_alone.delays(PlannedMessages(moved_id[which], moved.taken(which)))
            ranks[row] = _ranks(min(there, len(delays), int(delivered[row])))
            if ranks[row, 0] > 0:
                alone[row] = delays[ranks[row] - 1]
        together = delays_at(results, moved_id[compared], ranks)
        later = np.where(alone >= 0, np.maximum(together - alone, 0), 0)
        # The last row is of those that follow none.
        return np.concatenate([later, np.zeros((1, len(SHARES)), dtype=np.int64)])

    def _small_topics(self, identities: int) -> tuple[list[Topic], Int64Array]:
        """Topics of the small network, and which of them each topic is there, -1 for none.

        Of a coarse group of which each identity has some, there are no more than have enough subscribers: an identity
        has as many of them, and so as many messages.
        """
        section = self._scenario.section
        topics: list[Topic] = []
        small = np.full(len(section.topic_numbers), -1, dtype=np.int64)
        begin = 0
        for topic, family in zip(section.topics, topic_families(section), strict=True):
            kept = len(family)
            if isinstance(topic, TopicGroup) and topic.per_identity and all(each in self._leaders for each in family):
                kept = min(max(identities * topic.per_identity // _MEMBERS, topic.per_identity), kept)
                topic = topic.model_copy(update={"count": kept})
            places = np.arange(len(family)) * kept // len(family)
            first = np.flatnonzero(np.diff(places, prepend=-1))
            small[family.start + first] = begin + places[first]
            topics.append(topic)
            begin += kept
        return topics, small

    def _moved(
        self,
        planned: PlannedMessages,
        small_topic: Int64Array,
        small: Scenario,
        host: Int64Array,
        members: Sequence[npt.NDArray[np.uint32]],
    ) -> tuple[PlannedMessages, Int64Array]:
        """The plan as the small network publishes it, and which row there each message can be compared in, or -1.

        What is on no topic of its, or on one that nobody there subscribes to, is left out. A message of a group's
        identity is published by a subscriber of the same group, if there is one, at about the same place among the
        group's; where identities come and go, by the next one that is up, or away, as the publisher is. One that is
        away spreads its message later, when others are under way: that is not compared.
        """
        published, whole = planned.published, self._scenario
        first = whole.directory.hot_count
        group = self._group[host - first]
        size = np.bincount(self._group)
        order = stable_order(self._group)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(size) - size, size)
        identity = published.origin - first
        origin = np.full(len(identity), -1, dtype=np.int64)
        is_up = np.ones(len(identity), dtype=np.bool_)
        topics = small_topic[published.topic]
        kinds, kind_of = np.unique(np.stack([topics, self._group[identity]]), axis=1, return_inverse=True)
        theirs, ours = self._histories(whole), self._histories(small)
        for number, (topic, its_group) in enumerate(kinds.T.tolist()):
            if topic < 0:
                continue
            candidates = members[topic].astype(np.int64)
            alike = candidates[group[candidates] == its_group]
            candidates = alike if len(alike) else candidates
            if not len(candidates):
                continue
            rows = np.flatnonzero(kind_of.ravel() == number)
            place = rank[identity[rows]] * len(candidates) // size[its_group]
            if theirs is not None and ours is not None:
                for each, row in enumerate(rows.tolist()):
                    time = int(published.time[row])
                    is_up[row], _ = theirs.interval(int(published.origin[row]), time)
                    place[each] = _next_alike(ours, candidates, int(place[each]), time, bool(is_up[row]))
            origin[rows] = candidates[place]
        kept = np.flatnonzero(origin >= 0)
        comparable = np.full(len(origin), -1, dtype=np.int64)
        comparable[kept] = np.where(is_up[kept], np.arange(len(kept)), -1)
        moved = published.taken(kept)._replace(topic=topics[kept], origin=origin[kept])
        return PlannedMessages(planned.message_id[kept], moved), comparable

    def _histories(self, scenario: Scenario) -> Histories | None:
        """The lives of a network's identities, if they come and go."""
        section, directory, seed, _ = scenario
        if not comes_and_goes(section):
            return None
        return Histories(habits_of(section, directory, self._paths.node_ids), seed, directory.hot_count)

    def _compared(
        self, planned: PlannedMessages, rows: Int64Array, comparable: Int64Array
    ) -> tuple[Int64Array, Int64Array]:
        """Which of the executed messages are propagated on their own, and which of these coarse messages follow.

        Parameters
        ----------
        planned
            All messages.
        rows
            int64[n]: of those on coarse topics.
        comparable
            Row in the small network's plan of each message, or -1 if it is not to be compared.

        Returns
        -------
        int64[m], int64[n]
            Rows in the small network's plan; and for each of `rows` a place among these, m for none.
        """
        published = planned.published.taken(rows)
        leader = np.array([self._leaders[topic] for topic in published.topic.tolist()], dtype=np.int64)
        sizes, which = np.unique(published.size, return_inverse=True)
        size = np.array([typical_size(one) for one in sizes.tolist()], dtype=np.int64)[which.ravel()]
        order = np.lexsort((published.time, size, leader))
        time, row = published.time[order], comparable[rows[order]]
        kind = np.cumsum(_differs(np.stack([leader[order], size[order]])))
        there = np.flatnonzero(row >= 0)
        begins = np.flatnonzero(_differs(np.stack([kind[there], time[there] >> BIN_SHIFT])))
        count = np.diff(np.append(begins, len(there)))
        place = np.arange(len(there)) - np.repeat(begins, count)
        share = place * COMPARED // np.repeat(count, count)
        # The first of each sixteenth; all where they are fewer.
        chosen = there[(np.diff(share, prepend=-1) != 0) | (place == 0)]
        followed = np.full(len(rows), len(chosen), dtype=np.int64)
        if len(chosen):
            until = np.searchsorted(chosen, np.arange(len(order)), side="right")
            # The one after, if it is near; rather the one before.
            for near in (np.minimum(until, len(chosen) - 1), np.maximum(until - 1, 0)):
                is_near = np.abs(time - time[chosen[near]]) <= 1 << BIN_SHIFT
                found = is_near & (kind == kind[chosen[near]])
                followed[order[found]] = near[found]
        return row[chosen], followed


def _next_alike(histories: Histories, candidates: Int64Array, place: int, time: int, is_up: bool) -> int:
    """The first place from one on, around the end, of a candidate that is up or away at a time [ns], or that one."""
    for further in range(len(candidates)):
        found = (place + further) % len(candidates)
        if histories.interval(int(candidates[found]), time)[0] == is_up:
            return found
    return place


def _differs(keys: Int64Array) -> npt.NDArray[np.bool_]:
    """Whether each column, of int64[., n], differs from the one before it."""
    return np.concatenate([np.ones(min(keys.shape[1], 1), dtype=np.bool_), (np.diff(keys, axis=1) != 0).any(axis=0)])


def _executed(engine: ColdEngine, stop_time_ns: int, gossip: GossipSection) -> TailResults:
    """Execute all that is planned, to the end of what is told of it."""
    end = stop_time_ns
    engine.run_until(end)
    while engine.has_news() and end < stop_time_ns + gossip.seen_ttl:
        end += gossip.heartbeat
        engine.run_until(end)
    # What was told of last is asked for and comes.
    engine.run_until(end + gossip.heartbeat)
    return engine.partial_results()


def _ranks(count: int) -> Int64Array:
    """Ranks at `cold.propagation.SHARES` of so many receivers, from 1 on: int64[SHARES]; 0 without any."""
    return np.minimum(np.maximum((count * np.array(PER_MILLE, dtype=np.int64) + 999) // 1000, 1), count)


def _ascending(delays: Int64Array) -> Int64Array:
    """Delays as results tell of them, middles of buckets, in order."""
    return np.sort(bucket_middles(delay_buckets(delays)))


def _delivered(results: TailResults, message_id: npt.NDArray[np.uint64]) -> Int64Array:
    """How many have got messages: int64[n]."""
    return np.asarray(results.spread["delivered"][rows_of(results, message_id)], dtype=np.int64)


class _AloneOnMeshes:
    """Messages on their own in a small network that stands still.

    Parameters
    ----------
    scenario
        The small network.
    paths
        Latency and loss from the places of identities.
    members
        HostIds of the subscribers of its topics.
    """

    def __init__(self, scenario: Scenario, paths: PathTable, members: Sequence[npt.NDArray[np.uint32]]) -> None:
        self._scenario, self._paths, self._members = scenario, paths, members
        self._meshes: dict[int, Mesh] = {}

    def delays(self, message: PlannedMessages) -> tuple[Int64Array, int]:
        """Delays of a message, ascending [ns]; and how many subscribers it may come to."""
        scenario, paths, published = self._scenario, self._paths, message.published
        time, topic, origin, size = (int(column[0]) for column in published)
        if topic not in self._meshes:
            self._meshes[topic] = standing_mesh(scenario, paths, topic, self._members[topic])
        mesh = self._meshes[topic]
        rules = rules_of(scenario.section.gossip, paths, scenario.seed, topic)
        place = int(np.searchsorted(mesh.host, origin))
        spread = spread_message(mesh, rules, int(message.message_id[0]), time, size, publisher=place)
        times = receipts(mesh, spread, place, size)
        times[place] = -1
        return _ascending(times[times >= 0] - time), len(times) - 1


class _AloneInCopies:
    """Messages on their own in copies of a small network that changes, made at their publications.

    Parameters are as for `_AloneOnMeshes`.
    """

    def __init__(self, scenario: Scenario, paths: PathTable, members: Sequence[npt.NDArray[np.uint32]]) -> None:
        self._engine = ColdEngine(scenario, paths, plan=NoMessages())
        self._stage: ColdEngine | None = None
        self._members = members
        section = scenario.section
        self._beat = max(client.heartbeat for client in section.client_gossip)
        # Whoever is there is told of a message in so many heartbeats, or by nobody that had it from the first.
        self._beats = section.gossip.mcache_gossip + 1

    def delays(self, message: PlannedMessages) -> tuple[Int64Array, int]:
        """Delays of a message, not before that of the last call; and how many of the subscribers are there."""
        time, topic, origin, _ = (int(column[0]) for column in message.published)
        self._engine.run_until(time)
        if self._stage is None:
            self._stage = self._engine.fork(Plan(message))
        else:
            self._stage.renew(self._engine, Plan(message))
        others = self._members[topic][self._members[topic] != origin]
        there = int(self._engine.is_up(time)[others].sum())
        received = np.empty(0, dtype=np.int64)
        for beat in range(1, self._beats + 1):
            self._stage.run_until(time + beat * self._beat)
            host, when, _ = self._stage.receipts(int(message.message_id[0]))
            received = when[(host != origin) & (when != NEVER)] - time
            if len(received) >= there:
                break
        return _ascending(received), there
