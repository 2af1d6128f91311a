"""The cold participant for topics that are not exact: messages as columns, and contacts for hot hosts.

Nothing happens where no hot host listens: a message is a row, and what became of it follows from its field when
somebody asks. All shards know all messages, those of hot hosts by their entries, so that each can draw the arrivals at
its own identities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch, EventKind, pack_payloads
from bridge.directory import HostDirectory
from bridge.errors import InternalError
from bridge.paths import PathTable
from cold.changing_arrivals import ChangingArrivals
from cold.changing_contacts import ChangingContacts, Links
from cold.coarse_fields import CoarseFields
from cold.coarse_packets import CoarseMessage, CoarsePackets, Datagram, decode_entry, encode_entry
from cold.coarse_results import CoarseResults, Followed
from cold.contacts import Contacts, RestOfTail, Spreading, StandingSpread
from cold.engine import ColdEngine
from cold.population import ports
from cold.publications import PlannedMessages, PublicationPlan
from cold.rehearsal import rehearsals_of
from cold.representatives import Outcome, is_unsteady
from cold.resolution_section import Resolution
from cold.results import TailResults
from cold.scenario import Scenario
from cold.state_kernels import COUNTER_NAMES, MESSAGE, NEVER
from cold.surroundings import Surroundings

#: Publications are planned so far ahead of the first event that needs them [ns].
_AHEAD_NS: Final = 100_000_000
_MASK: Final = 2**64 - 1


class CoarseEngine:
    """A participant that stands for the identities of a shard on the topics that are not exact.

    Parameters
    ----------
    scenario
        What the tail is.
    paths
        Latency and loss from the places of identities.
    resolution
        Of each topic that is not exact, by its index.
    owned
        HostIds of the identities of this shard.
    cuts
        First HostIds of the ranges of all shards, and one past the last identity: int64[shards + 1].
    shard
        Position of `owned` in `cuts`.
    exact
        In a network that changes and has hot hosts: what executes the identities' links on all topics.
    """

    def __init__(
        self,
        scenario: Scenario,
        paths: PathTable,
        resolution: Mapping[int, Resolution],
        *,
        owned: range,
        cuts: npt.NDArray[np.int64],
        shard: int,
        exact: ColdEngine | None = None,
    ) -> None:
        section, directory, seed, stop_time_ns = scenario
        gossip = section.gossip
        self._directory, self._owned, self._shard = directory, owned, shard
        self._ranges = [range(first, last) for first, last in pairwise(cuts.tolist())]
        self._gossip = gossip
        self._stop = stop_time_ns
        self._numbers = section.topic_numbers
        self._topics = sorted(resolution)
        self._index_of = {self._numbers[topic]: topic for topic in self._topics}
        self._fields = CoarseFields(scenario, paths, resolution)
        everybody = np.arange(directory.hot_count, directory.total_count)
        fields, group = self._fields, self._fields.group_of(everybody)
        rehearsals = rehearsals_of(scenario, paths, fields.leaders, resolution, group, fields.members)
        self._results = CoarseResults(
            self._fields, paths, gossip, seed, self._numbers, rehearsals, section.client_gossip
        )
        self._plan = PublicationPlan(scenario)
        self._planned: list[PlannedMessages] = []
        self._messages: dict[int, CoarseMessage] = {}
        self._release: dict[int, int] = {}
        self._live: dict[int, list[CoarseMessage]] = {}
        self._untold: list[tuple[CoarseMessage, int, int, int]] = []
        self._entries_told = 0
        self._into = _quickest_ways_in(directory, paths, self._ranges)
        clients = section.client_gossip
        self._slowest_validation = max(client.validation_delay.bounds()[1] for client in clients)
        self._longest_beat = max(client.heartbeat for client in clients)
        boundary = None if exact is None else exact.boundary
        self._packets = CoarsePackets(directory, ports(section, directory), self._numbers, self._topics, boundary)
        self._links: Links | None = None
        self._changing: ChangingArrivals | None = None
        spreading: Spreading = StandingSpread(fields)
        make: Callable[[RestOfTail], Contacts] = Contacts
        if is_unsteady(section) and exact is not None:
            around = Surroundings(scenario, paths)
            spreading = self._changing = ChangingArrivals(scenario, paths, rehearsals, around, fields)
            self._links = Links(exact)
            make = partial(ChangingContacts, links=self._links, surroundings=around)
        told = [client.idontwant_size for client in clients]
        least_told = min((size for size in told if size is not None), default=int(NEVER))
        asks = (self._enter, self._live_on, self._message_of)
        self._contacts = make(RestOfTail(directory, paths, gossip, seed, fields, *asks, spreading, least_told))
        self._now = 0
        self._followed: list[Followed] | None = None
        self._fingerprint = 0

    def next_event_time(self) -> int:
        """Time of the earliest event of an identity that hot hosts talk to [ns]; NEVER if none."""
        # Of what happens at one time, a publication may be the first.
        while self._live and (planned := self._plan.next_time()) < min(self._contacts.next_time() + 1, self._stop):
            self._admit(planned + _AHEAD_NS)
        return self._contacts.next_time()

    def run_until(self, window_end: int) -> EventBatch:
        """Execute the events before `window_end`; return packets for hot hosts, and entries for other shards."""
        self._followed = None
        while self.next_event_time() < window_end:
            self._contacts.run(min(window_end, self._contacts.next_time() + 1))
        self._now = max(self._now, window_end)
        batch = self._packets.encode(self._contacts.out, window_end)
        self._contacts.out.clear()
        if len(batch):
            self._fingerprint += batch.fingerprint()
        links = [] if self._links is None else self._links.taken()
        return EventBatch.concatenate([batch, self._tell_entries(), *links])

    def claims(self, batch: EventBatch) -> npt.NDArray[np.bool_]:
        """Which events are for this participant and not for that of exact topics: bool[n]."""
        mine = np.array(batch.kind == EventKind.ENTRY, dtype=np.bool_)
        is_packet = batch.kind == EventKind.PACKET
        if is_packet.any():
            mine[is_packet] = self._packets.claims(batch.select(is_packet))
        return mine

    def deliver(self, batch: EventBatch) -> None:
        """Take packets of hot hosts, and entries on other shards."""
        self._followed = None
        is_entry = batch.kind == EventKind.ENTRY
        if is_entry.any():
            self._take_entries(batch.select(is_entry))
        if not is_entry.all():
            for datagram in self._packets.decode(batch.select(~is_entry)):
                self._take(datagram)

    def overhear(self, batch: EventBatch) -> None:
        """Note which identities hot hosts speak to of links, which others answer: messages come to these, too."""
        if not isinstance(self._contacts, ChangingContacts):
            return
        packets = batch.select(batch.kind == EventKind.PACKET)
        for row, topic in self._packets.about_links(packets):
            host = int(packets.destination[row])
            if self._has_topic(host, topic):
                time, source = int(packets.deliver_time[row]), int(packets.source[row])
                self._contacts.watch(time, source, int(packets.source_event[row]), host, topic)

    def _has_topic(self, host: int, topic: int) -> bool:
        members = self._fields.members(topic)
        place = int(np.searchsorted(members, host))
        return place < len(members) and int(members[place]) == host

    def close(self) -> None:
        """Nothing to release but memory."""

    def events_executed(self) -> int:
        """Events of identities that hot hosts talk to."""
        return self._contacts.executed

    def event_fingerprint(self) -> int:
        """Sum of the fingerprints of all packets for hot hosts, modulo 2**64."""
        return self._fingerprint & _MASK

    def partial_results(self) -> TailResults:
        """What this shard has to tell of the messages that its identities published, or that came in at them."""
        return self._results.table(self._own_followed())

    def counters(self) -> dict[str, int]:
        """Totals by the names of the exact engine's counters: what hot hosts caused, and what messages cost."""
        total = self._results.counters(self._own_followed())
        total.update(self._contacts.counters)
        everything = self._everything_followed()
        for topic in self._topics:
            members = self._fields.members(topic)
            # One shard counts what no message causes alone.
            if len(members) and int(members[0]) in self._owned:
                total.update(self._results.told(topic, everything, self._now))
        if self._owned.start == self._directory.hot_count and self._links is None:
            alone = len(self._topics) == len(self._numbers)
            total.update(self._results.network_counters(self._now, with_lives=alone))
        return {name: total.get(name, 0) for name in COUNTER_NAMES}

    def boundary_statistics(self) -> dict[str, Any]:
        """Packets from and to hot hosts."""
        return {
            "packets_from_hot": self._packets.received,
            "packets_to_hot": self._packets.sent,
            "dropped": dict(sorted(self._packets.dropped.items())),
        }

    # Messages.

    def _admit(self, end: int) -> None:
        """Plan the publications before `end`."""
        planned = self._plan.take(min(end, self._stop))
        ours = np.isin(planned.published.topic, self._topics)
        if not ours.any():
            return
        planned = PlannedMessages(planned.message_id[ours], planned.published.taken(ours))
        self._planned.append(planned)
        followed = np.isin(planned.published.topic, list(self._live))
        for message in _messages(planned, np.flatnonzero(followed)):
            self._keep(message)
            self._contacts.expect(message)

    def _keep(self, message: CoarseMessage) -> None:
        """Make a message known, and note until when somebody may get it or be told of it."""
        self._messages[message.message_id] = message
        self._live[message.topic].append(message)
        if not message.is_planned:
            self._release[message.message_id] = message.publish_time + self._gossip.seen_ttl
        elif self._changing is not None:
            self._hold(message, message.publish_time, _end_of(self._changing.published(message)))
        else:
            source_group = int(self._fields.source_groups(message.topic, np.array([message.origin]))[0])
            fields = self._fields.of(message.topic)
            number = fields.representative(message.origin, source_group, message.message_id, message.size)
            delay = fields.field(source_group, message.size).delay[number]
            later = self._fields.later_from(message.publish_time, message.message_id)
            self._hold(message, message.publish_time, int(delay.max() + later.max()))

    def _hold(self, message: CoarseMessage, start: int, longest: int) -> None:
        """Keep what there is about a message that takes so long, from a time on, to come wherever it comes [ns]."""
        spread = start + longest + self._slowest_validation
        until = spread + (self._gossip.mcache_length + 2) * self._longest_beat
        self._release[message.message_id] = max(self._release.get(message.message_id, 0), until)

    def _live_on(self, topic: int, now: int) -> Sequence[CoarseMessage]:
        """Messages of a topic that are not past. The first time makes those known that were published lately."""
        if topic not in self._live:
            self._live[topic] = []
            self._admit(now + 1)
            for planned in self._planned:
                there = np.flatnonzero(planned.published.topic == topic)
                recent = planned.published.time[there] > now - self._gossip.seen_ttl
                for message in _messages(planned, there[recent]):
                    if message.message_id not in self._messages:
                        self._keep(message)
        live = self._live[topic]
        if any(self._release[message.message_id] < now for message in live):
            for message in live:
                if self._release[message.message_id] < now:
                    message.is_past = True
                    message.received.clear()
                    message.cached.clear()
            self._live[topic] = live = [message for message in live if not message.is_past]
        return live

    def _message_of(self, message_id: int, topic: int, now: int) -> CoarseMessage | None:
        """A message that is known on a topic."""
        self._live_on(topic, now)
        return self._messages.get(message_id)

    def _take(self, datagram: Datagram) -> None:
        if not self._has_topic(datagram.destination, datagram.topic):
            self._packets.dropped["not_subscribed"] += 1
            return
        message = None
        if datagram.kind == MESSAGE:
            assert datagram.message is not None, "a MESSAGE carries one"
            message = self._known(datagram.message, datagram.time)
            if message is None:
                return
        self._contacts.take(datagram, message)

    def _known(self, carried: CoarseMessage, time: int) -> CoarseMessage | None:
        """The message that a hot host's copy is of, new or known; None if it is refused."""
        if not time - self._gossip.seen_ttl < carried.publish_time <= time:
            self._packets.dropped["stale_message"] += 1
            return None
        self._live_on(carried.topic, self._now)
        self._admit(carried.publish_time + 1)
        known = self._messages.get(carried.message_id)
        if known is None:
            self._keep(carried)
            return carried
        if _description(known) != _description(carried):
            self._packets.dropped["conflicting_message"] += 1
            return None
        return known

    # Entries.

    def _enter(self, message: CoarseMessage, time: int, host: int, hops: int) -> None:
        """A hot host's copy has brought a message into the tail."""
        self._untold.append((message, time, host, hops))
        self._add_entry(message, time, host, hops)

    def _add_entry(self, message: CoarseMessage, time: int, host: int, hops: int) -> None:
        message.entries.append((time, host, hops))
        message.entries.sort()
        if self._changing is not None:
            self._hold(message, time, _end_of(self._changing.entered(message, time, host)))
        else:
            source_group = int(self._fields.source_groups(message.topic, np.array([host]))[0])
            fields = self._fields.of(message.topic)
            number = fields.representative(host, source_group, message.message_id, message.size, relayed=True)
            delay = fields.field(source_group, message.size, relayed=True).delay[number]
            self._hold(message, time, int(delay.max() + self._fields.later_from(time, None).max()))
        self._contacts.expect(message)

    def _tell_entries(self) -> EventBatch:
        """Tell the other shards of the entries since the last time."""
        entries, self._untold = self._untold, []
        others = [shard for shard, owned in enumerate(self._ranges) if shard != self._shard and owned]
        if not entries or not others:
            return EventBatch.empty()
        rows = [(entry, shard) for entry in entries for shard in others]
        texts = [encode_entry(message, self._numbers[message.topic], *entry) for (message, *entry), _ in rows]
        offset, payload = pack_payloads(texts)
        first = self._entries_told
        self._entries_told += len(rows)
        return EventBatch.build(
            [time + self._into[shard] for (_, time, _, _), shard in rows],
            [self._owned.start] * len(rows),
            list(range(first, first + len(rows))),
            [self._ranges[shard].start for _, shard in rows],
            EventKind.ENTRY,
            offset,
            payload,
        )

    def _take_entries(self, batch: EventBatch) -> None:
        for row in range(len(batch)):
            try:
                message, entry = decode_entry(batch.payload_of(row), self._directory, self._index_of)
            except ValueError as error:
                raise InternalError(str(error), where=f"an event of host {int(batch.source[row])}") from None
            self._live_on(message.topic, self._now)
            known = self._messages.get(message.message_id)
            if known is None:
                self._keep(message)
                known = message
            self._add_entry(known, *entry)

    # Results.

    def rehearse_part(self, number: int, shards: int) -> bytes:
        """Execute a part of what messages follow in a network that changes; return what others need to know of it.

        Parameters
        ----------
        number
            Of this shard, among those that have a part.
        shards
            How many these are.
        """
        self._admit(self._stop)
        return self._results.rehearse_part(self._planned, number, shards)

    def learn(self, told: Sequence[bytes]) -> None:
        """Take what `rehearse_part` has returned on each of these shards, in their order."""
        self._results.learn(self._planned, told)
        self._followed = None

    def _entered(self) -> list[CoarseMessage]:
        return [message for message in self._messages.values() if message.entries]

    def _everything_followed(self) -> list[Followed]:
        """What all messages of the run have come to, whoever publishes them; worked out once between two events."""
        if self._followed is None:
            self._admit(self._stop)
            self._results.rehearse(self._planned)
            planned = [self._results.follow(planned, self._now) for planned in self._planned]
            self._followed = [*planned, self._results.follow_entered(self._entered(), self._now, self._changing)]
        return self._followed

    def _own_followed(self) -> list[Followed]:
        """Of what began at this shard's identities."""
        *planned, entered = self._everything_followed()
        parts = []
        for part in planned:
            ours = (
                (part.origin >= self._owned.start) & (part.origin < self._owned.stop) & (part.publish_time < self._now)
            )
            parts.append(part.taken(ours))
        ours = np.array([message.entries[0][1] in self._owned for message in self._entered()], dtype=np.bool_)
        return [*parts, entered.taken(ours)]


def _messages(planned: PlannedMessages, rows: npt.NDArray[np.intp]) -> list[CoarseMessage]:
    published = planned.published.taken(rows)
    return [
        CoarseMessage(message_id, topic, time, origin, message_id >> 32, size)
        for message_id, time, topic, origin, size in zip(
            planned.message_id[rows].tolist(),
            published.time.tolist(),
            published.topic.tolist(),
            published.origin.tolist(),
            published.size.tolist(),
            strict=True,
        )
    ]


def _end_of(outcome: Outcome) -> int:
    """How long a message that follows a representative takes at most [ns]."""
    assert outcome.curves is not None, "they are kept where hot hosts are"
    return outcome.curves.end


def _description(message: CoarseMessage) -> tuple[int, int, int, int]:
    return message.publish_time, message.origin_address, message.topic, message.size


def _quickest_ways_in(directory: HostDirectory, paths: PathTable, ranges: Sequence[range]) -> list[int]:
    """Smallest latency from an identity of another shard to one of each shard [ns]; NEVER where there is none."""
    nodes = [np.unique(directory.node[owned.start : owned.stop]) for owned in ranges]
    ways = []
    for shard, own in enumerate(nodes):
        others = [node for other, node in enumerate(nodes) if other != shard and len(node)]
        if not others or not len(own):
            ways.append(int(NEVER))
            continue
        latency = paths.latency_ns[np.ix_(np.unique(np.concatenate(others)), own)]
        ways.append(int(latency[paths.loss[np.ix_(np.unique(np.concatenate(others)), own)] < 1].min(initial=NEVER)))
    return ways
