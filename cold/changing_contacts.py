"""Identities that hot hosts talk to on coarse topics, in a network that changes.

What `cold.contacts` does for a network that stands still. Here an identity's links are those that it has: the exact
engine executes the tail's connections and meshes on the coarse topics, too, without their messages. It takes HELLO,
LEAVE, GRAFT and PRUNE of hot hosts and says them; this module asks it who is in a mesh, and has identities push, tell
and serve the messages that the rehearsed or solved representatives bring them.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.batch import EventBatch
from cold.coarse_packets import CoarseMessage, Datagram
from cold.contacts import NETWORK, Contact, Contacts, RestOfTail, Station
from cold.engine import ColdEngine
from cold.purposes import ColdPurpose
from cold.section import GossipSection
from cold.sending_kernels import CONTROL_BYTES, ID_BYTES, IDS_PER_DATAGRAM
from cold.state_kernels import IDONTWANT, IHAVE
from cold.surroundings import Surroundings


class Links:
    """The connections and meshes of a shard's identities on all topics.

    Parameters
    ----------
    engine
        Executes them, and the messages of the exact topics. Nobody else lets its time pass before that of the coarse
        topics.
    """

    def __init__(self, engine: ColdEngine) -> None:
        self._engine = engine
        self._batches: list[EventBatch] = []

    def go_to(self, time: int) -> None:
        """Let happen what happens before a time [ns]."""
        if self._engine.next_event_time() < time:
            self._batches.append(self._engine.run_until(time))

    def mesh_of(self, host: int, topic: int) -> list[int]:
        """HostIds in the mesh of an identity on a topic, in the order in which they joined."""
        return self._engine.mesh_of(host, topic)

    def peers_of(self, host: int, topic: int, time: int) -> list[tuple[int, bool]]:
        """HostIds of the peers that an identity knows on a topic, and who of them can be reached at a time [ns]."""
        return self._engine.peers_of(host, topic, time)

    def taken(self) -> list[EventBatch]:
        """What was sent meanwhile."""
        batches, self._batches = self._batches, []
        return batches


class ChangingContacts(Contacts):
    """The identities of a shard that hot hosts talk to.

    Parameters
    ----------
    rest
        Of the tail.
    links
        Of the identities.
    surroundings
        Of the identities.
    """

    def __init__(self, rest: RestOfTail, links: Links, surroundings: Surroundings) -> None:
        super().__init__(rest)
        self._links, self._surroundings = links, surroundings
        self._hot_count = rest.directory.hot_count

    # What identities are.

    def _gossip_of(self, host: int) -> GossipSection:
        return self._surroundings.gossip(host)

    def _path(self, time: int, one: int, other: int) -> tuple[int, float]:
        return self._surroundings.path(time, one, other)

    def _lacks_members(self, _contact: Contact, _topic: int) -> bool:
        """Meshes are not mended here."""
        return False

    def _members(self, station: Station, topic: int, time: int) -> list[int]:
        self._links.go_to(time)
        return self._links.mesh_of(station.host, topic)

    def _tells_nobody(self, station: Station, time: int) -> bool:
        return self._surroundings.is_silent(station.host, time)

    # Receiving.

    def watch(self, time: int, source: int, event: int, host: int, topic: int) -> None:
        """Let an identity get what comes to it from the time on at which a hot host has spoken of links to it [ns]."""
        self._push((time, host, NETWORK, source, event, 0), lambda: self._begin(host, topic, time))

    def _begin(self, host: int, topic: int, time: int) -> None:
        if self._surroundings.is_up(host, time):
            self._contact(self._station(host), topic)

    def _receive_datagram(self, datagram: Datagram, message: CoarseMessage | None) -> None:
        if self._surroundings.is_up(datagram.destination, datagram.time):
            super()._receive_datagram(datagram, message)
            return
        self.counters["edge_events"] += 1
        self.counters["ihave_received" if datagram.kind == IHAVE else "unreachable"] += 1

    def _receive_iwant(self, station: Station, datagram: Datagram) -> None:
        if not self._tells_nobody(station, datagram.time):
            super()._receive_iwant(station, datagram)
            return
        self.counters["iwant_received"] += len(datagram.ids)
        self.counters["iwant_unserved"] += len(datagram.ids)

    # Sending.

    def _forward(self, message: CoarseMessage, station: Station, time: int, came_from: int, hops: int) -> None:
        if not self._tells_nobody(station, time):
            super()._forward(message, station, time, came_from, hops)
            return
        self.counters["forwards"] += 1
        self._cache(message, station, time)
        station.contacts[message.topic].unwanted.pop(message.message_id, None)

    def _publish(self, message: CoarseMessage, station: Station) -> None:
        time, host = message.publish_time, station.host
        message.received[host] = (time, 0)
        self._cache(message, station, time)
        if not self._gossip.flood_publish:
            self._push_to_mesh(message, station, time, host, 0)
            return
        if not self._surroundings.is_up(host, time):
            return
        self._links.go_to(time)
        peers = self._links.peers_of(host, message.topic, time)
        first = self._words(host, ColdPurpose.FORWARD, message.message_id)[0] * len(peers) >> 32
        reached = [peer for peer, is_in_reach in peers[first:] + peers[:first] if is_in_reach]
        self._send_in_turn(message, station, time, reached, 0)

    def _push_to_mesh(self, message: CoarseMessage, station: Station, time: int, came_from: int, hops: int) -> None:
        """Push to the mesh but not to the origin, nor to where it came from: a hot host, a cold one (-1), or here."""
        contact, members = station.contacts[message.topic], self._members(station, message.topic, time)
        words = self._words(station.host, ColdPurpose.FORWARD, message.message_id)
        first = words[0] * len(members) >> 32
        unwanted = contact.unwanted.pop(message.message_id, set()).intersection(members)
        unwanted -= {came_from, message.origin}
        self.counters["copies_spared"] += len(unwanted)
        without = {came_from, message.origin, *unwanted, *self._sender(members, came_from, words[1])}
        receivers = [peer for peer in members[first:] + members[:first] if peer not in without]
        self._send_in_turn(message, station, time, receivers, hops)

    def _sender(self, members: Sequence[int], came_from: int, word: int) -> set[int]:
        """The member that a copy came from which came from inside the tail (-1): any of the cold ones."""
        cold = [member for member in members if member >= self._hot_count]
        return {cold[word * len(cold) >> 32]} if came_from < 0 and cold else set()

    def _send_in_turn(
        self, message: CoarseMessage, station: Station, time: int, receivers: Sequence[int], hops: int
    ) -> None:
        for peer in receivers:
            if peer < self._hot_count:
                self._send_message(station, time, peer, message, hops)
            else:
                self._push_to_cold(message, station, time, peer, hops)

    def _tell_unwanted(self, message: CoarseMessage, station: Station, time: int, came_from: int) -> None:
        if self._tells_nobody(station, time):
            return
        members = self._members(station, message.topic, time)
        words = self._words(station.host, ColdPurpose.FORWARD, message.message_id)
        first = words[0] * len(members) >> 32
        without = {came_from, message.origin, *self._sender(members, came_from, words[1])}
        for peer in members[first:] + members[:first]:
            if peer in without:
                continue
            if peer < self._hot_count:
                self._send_ids(station, time, peer, IDONTWANT, message.topic, [message.message_id])
                self.counters["idontwant_sent"] += 1
            else:
                self._occupy(station, time, CONTROL_BYTES + ID_BYTES)

    def _tell(
        self, station: Station, _contact: Contact, topic: int, time: int, number: int, ids: Sequence[int]
    ) -> None:
        """Send IHAVE to random peers outside the mesh; those to cold ones only take their time."""
        if self._tells_nobody(station, time) or not self._surroundings.is_up(station.host, time):
            return
        # Meshes are mended before.
        members = set(self._members(station, topic, time + 1))
        peers = self._links.peers_of(station.host, topic, time)
        candidates = [peer for peer, is_in_reach in peers if is_in_reach and peer not in members]
        chosen = min(station.gossip.d_lazy, len(candidates))
        if chosen < len(candidates):
            for turn in range(chosen):
                counter = number << 32 | topic << 16 | turn
                word = self._words(station.host, ColdPurpose.GOSSIP_PEERS, counter)[0]
                pick = turn + (word * (len(candidates) - turn) >> 32)
                candidates[turn], candidates[pick] = candidates[pick], candidates[turn]
        size = CONTROL_BYTES * -(-len(ids) // IDS_PER_DATAGRAM) + ID_BYTES * len(ids)
        for peer in candidates[:chosen]:
            if peer < self._hot_count:
                self._send_ids(station, time, peer, IHAVE, topic, ids)
                self.counters["ihave_sent"] += 1
            else:
                self._occupy(station, time, size)
