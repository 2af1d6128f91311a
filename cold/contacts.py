"""Identities that hot hosts talk to on coarse topics: each for itself, whatever the resolution.

When such an identity gets a message is drawn from the topic's field; everything that it does with its hot peers then
follows the rules of gossip, event by event, as in `cold.gossip_kernels`: validation, pushing in the order of the mesh,
message cache, heartbeats, IHAVE and IWANT, GRAFT, PRUNE and backoff, the queues of its own links. Its cold peers are
there as numbers: D in the mesh, the others outside; what is sent to them takes its time on the uplink and goes nowhere.

The code is plain Python: an event costs some microseconds, and there are as many as packets that hot hosts must handle
themselves, which costs them more.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.errors import InternalError
from bridge.paths import PathTable
from bridge.rng import Purpose, draw_uniform, philox4x32
from bridge.simtime import NEVER
from cold.coarse_fields import CoarseFields
from cold.coarse_packets import FIRST_EVENT, CoarseMessage, Datagram, Packet
from cold.distribution_kernels import draw_value
from cold.jit import uint64
from cold.mean_field import mesh_degree
from cold.population import heartbeat_phases, link_rates
from cold.propagation_kernels import entry_key
from cold.purposes import ColdPurpose
from cold.sampled_kernels import SENT, SPARED
from cold.section import GossipSection
from cold.sending_kernels import CONTROL_BYTES, ID_BYTES, IDS_PER_DATAGRAM, PRUNE_BYTES
from cold.state_kernels import (
    GRAFT,
    HELLO,
    IDONTWANT,
    IHAVE,
    IWANT,
    LEAVE,
    MESSAGE,
    MESSAGE_BYTES,
    MOST_HOPS,
    PRUNE,
    RATE_SHIFT,
)
from cold.topic_fields import WayIn, typical_size

NETWORK, _TELL, _FORWARD, _PUBLISH, _HEARTBEAT = range(5)
_WORD: Final = 0xFFFFFFFF
Key: TypeAlias = tuple[int, int, int, int, int, int]
"""Time, identity, class, source, counter of the source, message id: the order of events."""
_Act: TypeAlias = Callable[[], None]
Way: TypeAlias = tuple[int, int]
"""When and at which identity a message entered the tail, or was published [ns, HostId]."""


class Spreading(Protocol):
    """What becomes of messages inside the tail."""

    def arrivals(
        self, message: CoarseMessage, hosts: npt.NDArray[np.uint32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return when identities get a message, whole, and over how many hops: int64[n], ns, and int64[n].

        The earliest over all ways: from its publisher in the tail, or else from each of the identities where it came
        in. NEVER where it does not come.
        """

    def spared(self, message: CoarseMessage, way: Way) -> float:
        """Return the share of its pushes that identities leave out, as IDONTWANT has told them to."""


@dataclass(eq=False, slots=True)
class Contact:
    """An identity on one topic, as its hot peers know it."""

    peers: dict[int, bool] = field(default_factory=dict)
    """Hot hosts that it has met, in this order, and whether it knows them still."""
    mesh: list[int] = field(default_factory=list)
    backoff: dict[int, int] = field(default_factory=dict)
    """By hot host: until when it stays out of the mesh [ns]."""
    unwanted: dict[int, set[int]] = field(default_factory=dict)
    """By the id of a message that has not been passed on: hot hosts that need not be sent it."""


@dataclass(eq=False, slots=True)
class Station:
    """An identity with contacts."""

    host: int
    node: int
    uplink_rate: int
    downlink_rate: int
    phase: int
    gossip: GossipSection
    """Of its kind of client."""
    uplink_free: int = 0
    downlink_free: int = 0
    packets: int = 0
    beat: int = -1
    """Number of the heartbeat that is to come; -1 if it has nothing to do."""
    asked_interval: int = -1
    asked: set[int] = field(default_factory=set)
    contacts: dict[int, Contact] = field(default_factory=dict)


class Degrees(NamedTuple):
    """Cold peers of a topic's member: how many it knows, and how many of them are in its mesh."""

    known: int
    mesh: int


class RestOfTail(NamedTuple):
    """What the identities that hot hosts talk to have to do with, beside these."""

    directory: HostDirectory
    """Every host of the experiment."""
    paths: PathTable
    """Latency and loss."""
    gossip: GossipSection
    """The configuration's `cold.gossip`."""
    seed: int
    """Of the run."""
    fields: CoarseFields
    """Of the coarse topics."""
    entered: Callable[[CoarseMessage, int, int, int], None]
    """Called with a message, a time [ns], a HostId and hops, where a copy from a hot host brings a message that the
    tail does not publish to an identity that has not had it."""
    live_on: Callable[[int, int], Sequence[CoarseMessage]]
    """Messages of a topic that are not past at a time [ns]."""
    find: Callable[[int, int, int], CoarseMessage | None]
    """The message of an id that is known on a topic at a time [ns]."""
    spreading: Spreading
    """What becomes of messages inside the tail."""
    least_told: int
    """The smallest payload that identities of any kind tell their meshes of by IDONTWANT [bytes]; NEVER if none."""


class Contacts:
    """The identities of a shard that hot hosts talk to.

    Parameters
    ----------
    rest
        Of the tail.
    """

    def __init__(self, rest: RestOfTail) -> None:
        self._directory, self._gossip, self._seed, self._fields = rest.directory, rest.gossip, rest.seed, rest.fields
        paths = rest.paths
        self._latency, self._loss, self._shortest = paths.latency_ns, paths.loss, paths.min_latency_ns
        self._least_told = rest.least_told
        self._entered, self._live_on, self._find = rest.entered, rest.live_on, rest.find
        self._spreading = rest.spreading
        self._stations: dict[int, Station] = {}
        self._on_topic: dict[int, list[int]] = {}
        self._degrees: dict[int, Degrees] = {}
        self._heap: list[tuple[Key, int, _Act]] = []
        self._expected: dict[tuple[int, int], int] = {}
        self._pushed = 0
        self._now = 0
        self.out: list[Packet] = []
        self.counters: Counter[str] = Counter()
        self.executed = 0

    def next_time(self) -> int:
        """Time of the earliest event [ns]; NEVER if none."""
        while self._heap and self._is_superseded(self._heap[0][0]):
            heapq.heappop(self._heap)
        return self._heap[0][0][0] if self._heap else NEVER

    def run(self, end: int) -> None:
        """Execute the events before `end`."""
        while self.next_time() < end:
            key, _, act = heapq.heappop(self._heap)
            self._now = key[0]
            self.executed += 1
            act()
        self._now = max(self._now, end)

    def take(self, datagram: Datagram, message: CoarseMessage | None) -> None:
        """Schedule a packet of a hot host; `message` is the one it carries, as the tail knows it."""
        key = (datagram.time, datagram.destination, NETWORK, datagram.source, datagram.event, 0)
        self._push(key, lambda: self._receive_datagram(datagram, message))

    def expect(self, message: CoarseMessage, hosts: Sequence[int] | None = None) -> None:
        """Schedule when identities get a message that is on its way: all on its topic, or some.

        An arrival that is past belongs to an identity that nobody watched then: it has got the message already.
        """
        on_topic = self._on_topic.get(message.topic, []) if hosts is None else hosts
        for host, time, hops in self._drawn(message, on_topic):
            station = self._stations[host]
            # The field's messages have a typical size.
            arrival = time - (MESSAGE_BYTES + typical_size(message.size)) * station.downlink_rate // (1 << RATE_SHIFT)
            if hosts is not None and arrival < self._now:
                self._recall(message, station, time, hops)
                continue
            if arrival < self._now:
                raise InternalError(
                    f"message {message.message_id:#x} would have come to {self._directory.name_of(host)} at "
                    f"{arrival} ns, and {self._now} ns are past",
                    where="coarse resolution",
                )
            self._push_copy(message, station, arrival, hops)
        if message.is_planned and message.origin in on_topic and message.origin not in message.received:
            station = self._stations[message.origin]
            if message.publish_time < self._now:
                message.received[message.origin] = (message.publish_time, 0)
                self._cache(message, station, message.publish_time)
            else:
                key = (message.publish_time, message.origin, _PUBLISH, 0, 0, message.message_id)
                self._push(key, lambda: self._publish(message, station))

    def _drawn(self, message: CoarseMessage, hosts: Sequence[int]) -> list[tuple[int, int, int]]:
        """HostIds, times of the whole receipt [ns] and hops, where the message comes from inside the tail."""
        others = np.array([host for host in hosts if host not in message.received], dtype=np.uint32)
        times, hops = self._spreading.arrivals(message, others)
        there = (times != NEVER) & (times < message.publish_time + self._gossip.seen_ttl)
        columns = (others[there], times[there], hops[there])
        return list(zip(*(column.tolist() for column in columns), strict=True))

    # Events.

    def _push(self, key: Key, act: _Act) -> None:
        self._pushed += 1
        heapq.heappush(self._heap, (key, self._pushed, act))

    def _push_copy(self, message: CoarseMessage, station: Station, arrival: int, hops: int) -> None:
        expected = (station.host, message.message_id)
        if self._expected.get(expected, NEVER) <= arrival:
            return
        self._expected[expected] = arrival
        # Nobody in particular sends it: after packets of hot hosts of the same time.
        key = (arrival, station.host, NETWORK, self._directory.total_count, 0, message.message_id)
        self._push(key, lambda: self._receive_copy(message, station, arrival, -1, hops))

    def _is_superseded(self, key: Key) -> bool:
        """Whether the event is a copy that is not expected any more: an earlier one came, or will come.

        Such events are none: when an entry elsewhere is heard of depends on how the tail is divided.
        """
        time, host, _, source, _, message_id = key
        return source == self._directory.total_count and self._expected.get((host, message_id)) != time

    def _push_forward(self, message: CoarseMessage, station: Station, ready: int, came_from: int, hops: int) -> None:
        key = (ready, station.host, _FORWARD, 0, 0, message.message_id)
        self._push(key, lambda: self._forward(message, station, ready, came_from, hops))

    def _push_beat(self, station: Station, time: int) -> None:
        """Have the next heartbeat at `time` or later happen."""
        number = self._interval(station, time)
        if station.beat >= 0:
            return
        station.beat = number
        beat = station.phase + number * station.gossip.heartbeat
        key = (beat, station.host, _HEARTBEAT, 0, 0, 0)
        self._push(key, lambda: self._heartbeat(station, beat, number))

    # What identities are.

    def _station(self, host: int) -> Station:
        if host not in self._stations:
            directory, gossip = self._directory, self._gossip_of(host)
            self._stations[host] = Station(
                host,
                int(directory.node[host]),
                int(link_rates(directory.uplink_bps[host : host + 1])[0]),
                int(link_rates(directory.downlink_bps[host : host + 1])[0]),
                int(heartbeat_phases(self._seed, host, 1, gossip.heartbeat)[0]),
                gossip,
            )
        return self._stations[host]

    def _gossip_of(self, _host: int) -> GossipSection:
        """The gossip parameters of an identity."""
        return self._gossip

    def _contact(self, station: Station, topic: int) -> Contact:
        """The contact of an identity on a topic; a new one learns what it has got so far."""
        contact = station.contacts.get(topic)
        if contact is None:
            contact = station.contacts[topic] = Contact()
            live = list(self._live_on(topic, self._now))
            self._on_topic.setdefault(topic, []).append(station.host)
            for message in live:
                self.expect(message, [station.host])
        return contact

    def _recall(self, message: CoarseMessage, station: Station, received: int, hops: int) -> None:
        """Let an identity have got a message before it was watched."""
        message.received[station.host] = (received, hops)
        ready = received + self._validation_delay(message, station)
        if ready < self._now:
            self._cache(message, station, ready)
        else:
            self._push_forward(message, station, ready, -1, min(hops + 1, MOST_HOPS))

    def _degrees_on(self, topic: int) -> Degrees:
        if topic not in self._degrees:
            known = self._fields.known_peers(topic)
            members = len(self._fields.members(topic))
            self._degrees[topic] = Degrees(known, min(mesh_degree(self._gossip, members), known))
        return self._degrees[topic]

    def _interval(self, station: Station, time: int) -> int:
        return max(0, -((station.phase - time) // station.gossip.heartbeat))

    def _words(self, host: int, purpose: int, counter: int) -> list[int]:
        words = philox4x32(counter & _WORD, counter >> 32, host, purpose, self._seed & _WORD, self._seed >> 32)
        return [int(word) for word in words]

    def _validation_delay(self, message: CoarseMessage, station: Station) -> int:
        words = self._words(station.host, ColdPurpose.VALIDATION, message.message_id)
        return int(draw_value(station.gossip.validation_delay.table(), 0, uint64(words[0] | words[1] << 32)))

    @staticmethod
    def _transfer(message: CoarseMessage, rate: int) -> int:
        return (MESSAGE_BYTES + message.size) * rate >> RATE_SHIFT

    # Sending.

    def _occupy(self, station: Station, time: int, size: int, packets: int = 1) -> None:
        """Let packets for cold peers take their time on the uplink."""
        for _ in range(packets):
            station.uplink_free = max(station.uplink_free, time) + (size * station.uplink_rate >> RATE_SHIFT)

    def _send(self, station: Station, time: int, size: int, packet: Packet) -> None:
        """Queue a packet for a hot host, whose time and counter are set here."""
        self._occupy(station, time, size)
        counter = station.packets
        station.packets += 1
        self.counters["bytes_sent"] += size
        latency, loss = self._path(station.uplink_free, station.node, int(self._directory.node[packet.destination]))
        draw = (uint64(self._seed), station.host, int(Purpose.PACKET_LOSS), FIRST_EVENT + counter)
        if loss > 0 and draw_uniform(*draw) < loss:
            self.counters["packets_lost"] += 1
            return
        arrival = station.uplink_free + latency
        self.out.append(packet._replace(time=arrival, counter=counter))

    def _path(self, _time: int, one: int, other: int) -> tuple[int, float]:
        """Latency and loss of a packet that leaves one node for another at a time [ns]."""
        return int(self._latency[one, other]), float(self._loss[one, other])

    def _send_message(self, station: Station, time: int, peer: int, message: CoarseMessage, hops: int) -> None:
        packet = Packet(0, station.host, 0, peer, MESSAGE, message.topic, message=message, hops=hops)
        self._send(station, time, MESSAGE_BYTES + message.size, packet)
        self.counters["messages_sent"] += 1

    def _send_control(self, station: Station, time: int, peer: int, kind: int, topic: int) -> None:
        backoff_ms = self._gossip.prune_backoff // 1_000_000 if kind == PRUNE else 0
        packet = Packet(0, station.host, 0, peer, kind, topic, backoff_ms=backoff_ms)
        self._send(station, time, PRUNE_BYTES if kind == PRUNE else CONTROL_BYTES, packet)
        self.counters["control_sent"] += 1

    def _send_ids(self, station: Station, time: int, peer: int, kind: int, topic: int, ids: Sequence[int]) -> None:
        for first in range(0, len(ids), IDS_PER_DATAGRAM):
            part = tuple(ids[first : first + IDS_PER_DATAGRAM])
            packet = Packet(0, station.host, 0, peer, kind, topic, ids=part)
            self._send(station, time, CONTROL_BYTES + ID_BYTES * len(part), packet)

    # Receiving.

    def _receive_datagram(self, datagram: Datagram, message: CoarseMessage | None) -> None:
        station = self._station(datagram.destination)
        self.counters["edge_events"] += 1
        if datagram.kind == MESSAGE:
            assert message is not None, "the caller gives the message of a MESSAGE"
            self._contact(station, datagram.topic)
            self._receive_copy(message, station, datagram.time, datagram.source, datagram.hops)
        elif datagram.kind == IHAVE:
            self._receive_ihave(station, datagram)
        elif datagram.kind == IWANT:
            self._receive_iwant(station, datagram)
        elif datagram.kind == IDONTWANT:
            self._receive_idontwant(station, datagram)
        else:
            self._receive_control(station, datagram)

    def _receive_copy(self, message: CoarseMessage, station: Station, time: int, source: int, hops: int) -> None:
        if time >= message.publish_time + self._gossip.seen_ttl:
            self.counters["expired"] += 1
            return
        host = station.host
        received = max(time, station.downlink_free) + self._transfer(message, station.downlink_rate)
        station.downlink_free = received
        if source >= 0:
            self.counters["messages_received"] += 1
            if message.is_past or host in message.received:
                self.counters["duplicates"] += 1
                return
        self._expected.pop((host, message.message_id), None)
        message.received[host] = (received, hops)
        if source >= 0 and not message.is_planned:
            self._entered(message, time, host, hops)
        if station.gossip.idontwant_size is not None and message.size >= station.gossip.idontwant_size:
            key = (received, host, _TELL, 0, 0, message.message_id)
            self._push(key, lambda: self._tell_unwanted(message, station, received, source))
        ready = received + self._validation_delay(message, station)
        self._push_forward(message, station, ready, source, min(hops + 1, MOST_HOPS))

    def _tell_unwanted(self, message: CoarseMessage, station: Station, time: int, came_from: int) -> None:
        """Tell the mesh that it need not send a message; what goes to cold peers only takes its time."""
        contact, degrees = station.contacts[message.topic], self._degrees_on(message.topic)
        self._occupy(station, time, CONTROL_BYTES + ID_BYTES, degrees.mesh - (came_from < 0))
        for peer in contact.mesh:
            if peer not in (came_from, message.origin):
                self._send_ids(station, time, peer, IDONTWANT, message.topic, [message.message_id])
                self.counters["idontwant_sent"] += 1

    def _receive_idontwant(self, station: Station, datagram: Datagram) -> None:
        contact = self._contact(station, datagram.topic)
        for message_id in datagram.ids:
            self.counters["idontwant_received"] += 1
            message = self._find(message_id, datagram.topic, datagram.time)
            if message is None or not (message.is_past or station.host in message.cached):
                contact.unwanted.setdefault(message_id, set()).add(datagram.source)

    def _cache(self, message: CoarseMessage, station: Station, time: int) -> None:
        message.cached[station.host] = self._interval(station, time)
        self._push_beat(station, max(time, self._now))

    def _forward(self, message: CoarseMessage, station: Station, time: int, came_from: int, hops: int) -> None:
        self.counters["forwards"] += 1
        self._cache(message, station, time)
        self._push_to_mesh(message, station, time, came_from, hops)

    def _publish(self, message: CoarseMessage, station: Station) -> None:
        time, host = message.publish_time, station.host
        message.received[host] = (time, 0)
        self._cache(message, station, time)
        if not self._gossip.flood_publish:
            self._push_to_mesh(message, station, time, station.host, 0)
            return
        contact, degrees = station.contacts[message.topic], self._degrees_on(message.topic)
        hot = [peer for peer, known in contact.peers.items() if known][::-1]
        first = self._words(host, ColdPurpose.FORWARD, message.message_id)[0] * (degrees.known + len(hot)) >> 32
        self._in_turn(message, station, time, degrees.known, hot, first, frozenset(), -1, 0)

    def _push_to_mesh(self, message: CoarseMessage, station: Station, time: int, came_from: int, hops: int) -> None:
        """Push to the mesh but not to the origin, nor to where it came from: a hot host, a cold one (-1), or here."""
        contact, degrees = station.contacts[message.topic], self._degrees_on(message.topic)
        words = self._words(station.host, ColdPurpose.FORWARD, message.message_id)
        first = words[0] * (degrees.mesh + len(contact.mesh)) >> 32
        skipped = words[1] * degrees.mesh >> 32 if came_from < 0 else -1
        unwanted = contact.unwanted.pop(message.message_id, set()).intersection(contact.mesh)
        unwanted -= {came_from, message.origin}
        self.counters["copies_spared"] += len(unwanted)
        without = frozenset((came_from, message.origin, *unwanted))
        self._in_turn(message, station, time, degrees.mesh, contact.mesh, first, without, skipped, hops)

    def _in_turn(
        self,
        message: CoarseMessage,
        station: Station,
        time: int,
        cold: int,
        hot: Sequence[int],
        first: int,
        without: frozenset[int],
        skipped: int,
        hops: int,
    ) -> None:
        """Send to `cold` peers, but for one, and the hot ones behind them, in turn from the first on."""
        count = cold + len(hot)
        for turn in range(count):
            place = (first + turn) % count
            if place >= cold:
                if hot[place - cold] not in without:
                    self._send_message(station, time, hot[place - cold], message, hops)
            elif place != skipped:
                self._push_to_cold(message, station, time, place, hops)

    def _push_to_cold(self, message: CoarseMessage, station: Station, time: int, place: int, hops: int) -> None:
        """Take the uplink for a copy to a cold peer, unless that has told that it has the message.

        Its publisher has been told nothing.
        """
        if hops > 0 and message.size >= self._least_told:
            counter = uint64(entry_key(uint64(message.message_id), place))
            draw = draw_uniform(uint64(self._seed), station.host, int(ColdPurpose.COLD_TELLS), counter)
            if draw < self._spreading.spared(message, self._way_to(message, station)):
                return
        self._occupy(station, time, MESSAGE_BYTES + message.size)

    def _way_to(self, message: CoarseMessage, station: Station) -> Way:
        """How a message has come to an identity: the first way in that all shards know of by then, or its own."""
        if message.is_planned:
            return message.publish_time, message.origin
        received, _ = message.received[station.host]
        time, host, _ = message.entries[0] if message.entries else (received, station.host, 0)
        return (time, host) if time + self._shortest <= received else (received, station.host)

    def _receive_ihave(self, station: Station, datagram: Datagram) -> None:
        self.counters["ihave_received"] += 1
        self._contact(station, datagram.topic)
        interval = self._interval(station, datagram.time)
        if station.asked_interval != interval:
            station.asked_interval, station.asked = interval, set()
        wanted = []
        for message_id in datagram.ids:
            message = self._find(message_id, datagram.topic, datagram.time)
            has = message is not None and (
                message.is_past
                or station.host in message.received
                or datagram.time >= message.publish_time + self._gossip.seen_ttl
            )
            if not has and message_id not in station.asked:
                wanted.append(message_id)
        station.asked.update(wanted)
        self.counters["iwant_sent"] += len(wanted)
        self._send_ids(station, datagram.time, datagram.source, IWANT, datagram.topic, wanted)

    def _receive_iwant(self, station: Station, datagram: Datagram) -> None:
        self._contact(station, datagram.topic)
        for message_id in datagram.ids:
            self.counters["iwant_received"] += 1
            message = self._find(message_id, datagram.topic, datagram.time)
            cached = None if message is None else message.cached.get(station.host)
            time = datagram.time
            if (
                message is None
                or cached is None
                or time >= message.publish_time + self._gossip.seen_ttl
                or self._interval(station, time) - cached >= self._gossip.mcache_length
            ):
                self.counters["iwant_unserved"] += 1
                continue
            hops = message.received[station.host][1] + (message.origin != station.host)
            self._send_message(station, time, datagram.source, message, min(hops, MOST_HOPS))

    def _receive_control(self, station: Station, datagram: Datagram) -> None:
        self.counters["control_received"] += 1
        peer, time, topic = datagram.source, datagram.time, datagram.topic
        contact = self._contact(station, topic)
        if datagram.kind == HELLO:
            if not contact.peers.get(peer):
                contact.peers[peer] = True
                self._send_control(station, time, peer, HELLO, topic)
        elif datagram.kind == LEAVE:
            contact.mesh[:] = [member for member in contact.mesh if member != peer]
            if peer in contact.peers:
                contact.peers[peer] = False
        elif datagram.kind == GRAFT:
            contact.peers[peer] = True
            if peer not in contact.mesh:
                members = self._degrees_on(topic).mesh + len(contact.mesh)
                if members < self._gossip.d_high and contact.backoff.get(peer, 0) <= time:
                    contact.mesh.append(peer)
                else:
                    self._send_control(station, time, peer, PRUNE, topic)
        else:
            contact.mesh[:] = [member for member in contact.mesh if member != peer]
            contact.backoff[peer] = time + datagram.backoff_ns
        if self._lacks_members(contact, topic):
            self._push_beat(station, time)

    # Heartbeats.

    def _lacks_members(self, contact: Contact, topic: int) -> bool:
        """Whether the mesh is below D_low, and a hot peer might fill it: the cold ones are all in it then."""
        members = self._degrees_on(topic).mesh + len(contact.mesh)
        outside = any(known and peer not in contact.mesh for peer, known in contact.peers.items())
        return members < self._gossip.d_low and outside

    def _heartbeat(self, station: Station, time: int, number: int) -> None:
        self.counters["heartbeats"] += 1
        station.beat = -1
        again = False
        for topic, contact in sorted(station.contacts.items()):
            if self._lacks_members(contact, topic):
                self._graft(station, contact, topic, time, number)
            again |= self._lacks_members(contact, topic)
            told = [
                (message.message_id, message.cached[station.host])
                for message in self._live_on(topic, time)
                if station.host in message.cached
            ]
            again |= any(number + 1 - cached < self._gossip.mcache_gossip for _, cached in told)
            ids = sorted(message_id for message_id, cached in told if 0 <= number - cached < self._gossip.mcache_gossip)
            if ids:
                self._tell(station, contact, topic, time, number, ids)
        if again:
            self._push_beat(station, time + 1)

    def _graft(self, station: Station, contact: Contact, topic: int, time: int, number: int) -> None:
        hot = [peer for peer, known in contact.peers.items() if known][::-1]
        candidates = [peer for peer in hot if peer not in contact.mesh and contact.backoff.get(peer, 0) <= time]
        missing = self._gossip.d - self._degrees_on(topic).mesh - len(contact.mesh)
        for turn in range(min(missing, len(candidates))):
            counter = number << 32 | topic << 16 | turn
            word = self._words(station.host, ColdPurpose.GRAFT_PEERS, counter)[0]
            pick = turn + (word * (len(candidates) - turn) >> 32)
            candidates[turn], candidates[pick] = candidates[pick], candidates[turn]
            contact.mesh.append(candidates[turn])
            self._send_control(station, time, candidates[turn], GRAFT, topic)

    def _tell(self, station: Station, contact: Contact, topic: int, time: int, number: int, ids: Sequence[int]) -> None:
        """Send IHAVE to random peers outside the mesh; those to cold ones only take their time."""
        degrees = self._degrees_on(topic)
        hot = [peer for peer, known in contact.peers.items() if known][::-1]
        outside = list(range(degrees.mesh, degrees.known))
        outside += [degrees.known + place for place, peer in enumerate(hot) if peer not in contact.mesh]
        chosen = outside
        if len(outside) > self._gossip.d_lazy:
            chosen = []
            block = 0
            count = degrees.known + len(hot)
            while len(chosen) < self._gossip.d_lazy:
                counter = number << 32 | topic << 16 | block
                for word in self._words(station.host, ColdPurpose.GOSSIP_PEERS, counter):
                    place = word * count >> 32
                    if len(chosen) < self._gossip.d_lazy and place in outside and place not in chosen:
                        chosen.append(place)
                block += 1
        size = CONTROL_BYTES * -(-len(ids) // IDS_PER_DATAGRAM) + ID_BYTES * len(ids)
        for place in chosen:
            if place < degrees.known:
                self._occupy(station, time, size)
            else:
                self._send_ids(station, time, hot[place - degrees.known], IHAVE, topic, ids)
                self.counters["ihave_sent"] += 1


class StandingSpread:
    """Messages in a network that stands still, by the fields of their topics.

    Parameters
    ----------
    fields
        Of the coarse topics.
    """

    def __init__(self, fields: CoarseFields) -> None:
        self._fields = fields

    def arrivals(
        self, message: CoarseMessage, hosts: npt.NDArray[np.uint32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return when identities get a message, and over how many hops, as `Spreading` says."""
        fields = self._fields
        known = [(message.publish_time, message.origin, 0, False)] if message.is_planned else []
        known += [(time, host, over, True) for time, host, over in message.entries]
        if not len(hosts) or not known:
            return np.full(len(hosts), NEVER, dtype=np.int64), np.zeros(len(hosts), dtype=np.int64)
        groups = fields.source_groups(message.topic, np.array([source for _, source, _, _ in known]))
        ways = [
            WayIn(
                *(start, source, group, over, relayed),
                fields.later_from(start, None if relayed else message.message_id),
            )
            for (start, source, over, relayed), group in zip(known, groups.tolist(), strict=True)
        ]
        times, hops = fields.of(message.topic).arrivals(
            message.message_id, message.size, ways, hosts, fields.group_of(hosts), topic=message.topic
        )
        # Where it came in it had not been before.
        times[np.isin(hosts, [way.source for way in ways])] = NEVER
        return times, hops

    def spared(self, message: CoarseMessage, way: Way) -> float:
        """Return the share of its pushes that identities leave out."""
        relayed, source = not message.is_planned, way[1]
        source_group = int(self._fields.source_groups(message.topic, np.array([source]))[0])
        topic = self._fields.of(message.topic)
        number = topic.representative(source, source_group, message.message_id, message.size, relayed=relayed)
        totals = topic.field(source_group, message.size, relayed=relayed).totals[number]
        return float(totals[SPARED] / max(int(totals[SPARED] + totals[SENT]), 1))
