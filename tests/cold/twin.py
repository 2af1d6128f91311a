"""A slow, obvious gossip simulator: the reference that the kernels must agree with, bit for bit.

One heap of events, dictionaries and sets, Python integers. It shares with the engine what is built before the first
event (overlay, phases, link rates, publications) and the random numbers, nothing else.
"""

import heapq
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bridge.paths import PathTable
from bridge.rng import Purpose, draw_u64, draw_uniform, philox4x32
from cold.memberships import connections_of
from cold.population import client_kinds, heartbeat_phases, link_rates
from cold.publications import PublicationPlan
from cold.purposes import ColdPurpose
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.sessions import comes_and_goes, detection_ms
from tests.cold import overlay_twin
from tests.cold.lives_twin import Interval, LivesTwin
from tests.cold.quantile_twin import draw

NETWORK, TELL, FORWARD, PUBLISH, LIFE, ASK, ANSWER, DEADLINE = range(8)
SUBMIT, PASS_ON, TELL_HASHES, FETCH, OVERDUE, HEARTBEAT = range(8, 14)


class Message(NamedTuple):
    """What a publisher says: times in ns, the topic's index, the publisher's HostId."""

    time: int
    topic: int
    origin: int
    size: int


def bucket_length(paths: PathTable) -> int:
    """The length of a bucket of time [ns]: a power of two, the largest that is no longer than the smallest latency."""
    longest = int(paths.latency_ns.max()) + 500_000_000
    return 1 << max(paths.min_latency_ns.bit_length() - 1, (longest // 4096).bit_length())


def _mixed(state: int, word: int) -> int:
    state = (state ^ word) * 0x9E3779B97F4A7C15 % 2**64
    return state ^ (state >> 32)


class Twin:
    """Gossip among the identities of an experiment, and with hot hosts by `deliver` and `out`.

    Lists have an entry for each HostId; those of hot hosts are not used.
    """

    def __init__(self, scenario: Scenario, paths: PathTable) -> None:
        section, directory, seed, stop_time_ns = scenario
        self.gossip = section.gossip
        self.churn = comes_and_goes(section)
        self.disturbances = [f for f in section.failures if f.kind in ("partition", "degradation")]
        self.silences: list[tuple[int, Any]] = [(n, f) for n, f in enumerate(section.failures) if f.kind == "silence"]
        self.node_ids = paths.node_ids
        self.seed = seed
        self.count = directory.total_count
        self.node = directory.node.tolist()
        self.latency = paths.latency_ns.tolist()
        self.loss = paths.loss.tolist()
        self.up = link_rates(directory.uplink_bps).tolist()
        self.down = link_rates(directory.downlink_bps).tolist()
        self.hot = hot = directory.hot_count
        kinds = client_kinds(section, seed, hot, self.count - hot).tolist()
        self.client = [self.gossip] * hot + [section.client_gossip[kind] for kind in kinds]
        heartbeats = np.array([client.heartbeat for client in self.client[hot:]], dtype=np.int64)
        self.phase = [0] * hot + heartbeat_phases(seed, hot, self.count - hot, heartbeats).tolist()
        topics = range(len(section.topic_numbers))
        connections = connections_of(section, directory, seed, topics)
        overlay = connections.overlay
        nobody: list[list[int]] = [[] for _ in range(hot)]
        self.cold_peers: list[list[int]] = nobody + [
            overlay.neighbours[overlay.row_start[v] : overlay.row_start[v + 1]].tolist()
            for v in range(self.count - hot)
        ]
        self.hot_peers: list[dict[tuple[int, int], bool]] = [{} for _ in range(self.count)]
        self.redial = section.overlay.redial // 10**6 * 10**6
        self.is_hidden = [False] * hot + [
            draw_uniform(seed, v, int(ColdPurpose.REACHABLE), 0) >= section.populations[cold.population].reachable
            for cold in directory.ranges
            for v in range(cold.first_id, cold.first_id + cold.count)
        ]
        self.mesh: list[list[list[int]]] = [[[] for _ in range(self.count)] for _ in topics]
        everybody = set(range(hot, self.count))
        # What everybody has comes first.
        self.topics = [*connections.full, *connections.partial]
        self.members = [everybody for _ in topics]
        for place, topic in enumerate(connections.full):
            for v in everybody:
                self.mesh[topic][v] = overlay.mesh[place, v - hot, : overlay.mesh_count[place, v - hot]].tolist()
        for place, topic in enumerate(connections.partial):
            members = connections.members[place].tolist()
            self.members[topic] = set(members)
            for v, mesh in zip(members, self.first_mesh(members, topic, section, seed), strict=True):
                self.mesh[topic][v] = [members[number] for number in mesh]
        self.out: list[tuple[int, int, int, int, str, list[tuple[Any, ...]]]] = []
        self.backoff: dict[tuple[int, int, int], int] = {}
        self.fanout: list[dict[int, tuple[int, list[int]]]] = [{} for _ in range(self.count)]
        self.uplink_free = [0] * self.count
        self.downlink_free = [0] * self.count
        self.late = [(0, 0)] * self.count
        self.bucket_ns = bucket_length(paths)
        self.packets = [0] * self.count
        self.seen: list[dict[int, tuple[int, int]]] = [{} for _ in range(self.count)]
        self.cached: list[dict[int, int]] = [{} for _ in range(self.count)]
        self.asked: list[set[tuple[int, int]]] = [set() for _ in range(self.count)]
        self.outbound = nobody + [
            [
                int(overlay.neighbours[place])
                for place in range(overlay.row_start[v], overlay.row_start[v + 1])
                if overlay.dialled[place]
            ]
            for v in range(self.count - hot)
        ]
        self.marks = {
            (identity, topic, peer): [0, 0, 0]
            for topic in topics
            for identity in range(hot, self.count)
            for peer in self.mesh[topic][identity]
        }
        self.unwanted: set[tuple[int, int, int]] = set()
        self.counters: Counter[str] = Counter()
        self.heap: list[tuple[tuple[int, ...], str, tuple[object, ...]]] = []
        self.message: dict[int, Message] = {}
        planned = PublicationPlan(scenario).take(stop_time_ns)
        for message_id, *row in zip(
            planned.message_id.tolist(), *(column.tolist() for column in planned.published), strict=True
        ):
            self.message[message_id] = message = Message(*row)
            key = (message.time, message.origin, PUBLISH, 0, 0, message_id)
            heapq.heappush(self.heap, (key, "publish", (message_id,)))
        lives = LivesTwin(section, directory, paths.node_ids, seed)
        self.life: list[list[Interval]] = [[]] * hot + [
            lives.intervals(identity, stop_time_ns) for identity in range(hot, self.count)
        ]
        silence = detection_ms(section, directory).tolist()
        for identity in range(hot, self.count):
            self.schedule_heartbeat(identity, 0)
            # Who is away has no mesh, and is in none.
            for topic in topics:
                mesh = self.mesh[topic][identity]
                mesh[:] = [peer for peer in mesh if self.is_up(identity, 0) and self.is_up(peer, 0)]
            for interval in self.life[identity]:
                key = (interval.end, identity, LIFE, 0, 0, 0)
                if interval.is_up:
                    told = silence[identity - hot] * 1_000_000 if interval.is_silent else 0
                    heapq.heappush(self.heap, (key, "depart", (told, interval.is_silent)))
                else:
                    heapq.heappush(self.heap, (key, "join", ()))

    def first_mesh(self, members: list[int], topic: int, section: ColdSection, seed: int) -> list[list[int]]:
        """Of a topic that some do not have: members of each mesh, by their numbers."""
        peers = section.overlay.topic_peers
        cycles = overlay_twin.topic_cycles(
            seed, members, topic, peers, lambda number: not self.is_hidden[members[number]]
        )
        room = [self.client[v].d for v in members]
        taken = min(max(max(room, default=0) // 2, 1), max(peers // 2, 1))
        return overlay_twin.first_mesh(room, [edge for some in cycles[:taken] for edge in some])

    def run(self, end: int) -> None:
        """Execute every event before `end`."""
        while self.heap and self.heap[0][0][0] < end:
            key, name, data = heapq.heappop(self.heap)
            getattr(self, name)(key[0], key[1], *data)

    def arrivals(self, message_id: int) -> list[int]:
        """First arrival of a message at each identity, -1 where it did not come."""
        return [self.seen[v].get(message_id, (-1, 0))[0] for v in range(self.hot, self.count)]

    def arrival_digest(self) -> bytes:
        """What `ColdEngine.arrival_digest` must be."""
        sums = [0, 0]
        for identity in range(self.hot, self.count):
            for message_id, (time, hops) in self.seen[identity].items():
                first = 0
                for word in (message_id, identity, time << 8 | min(hops, 255)):
                    first = _mixed(first, word)
                sums[0] += first
                sums[1] += _mixed(first, 0xD1B54A32D192ED03)
        return b"".join((total % 2**64).to_bytes(8) for total in sums)

    def deliver(
        self, time: int, source: int, event: int, destination: int, name: str, items: Sequence[tuple[Any, ...]]
    ) -> None:
        """Take a datagram of a hot host: what it is called here, and an entry for each event that it becomes."""
        for item in items:
            key = (time, destination, NETWORK, source, event, item[0] if isinstance(item[0], int) else 0)
            heapq.heappush(self.heap, (key, name, (source, *item)))

    def is_silent(self, time: int, identity: int) -> bool:
        return any(
            failure.time <= time
            and (failure.until is None or time < failure.until)
            and (failure.regions is None or self.node_ids[self.node[identity]] in failure.regions)
            and draw_uniform(self.seed, identity, int(ColdPurpose.MISBEHAVIOUR), number) < failure.share
            for number, failure in self.silences
        )

    def disturbed(self, time: int, source: int, peer: int) -> list[Any]:
        """The disturbances of a path between two hosts at a time."""
        nodes = self.node_ids[self.node[source]], self.node_ids[self.node[peer]]
        found: list[Any] = []
        for failure in self.disturbances:
            inside = [failure.regions is None or node in failure.regions for node in nodes]
            concerned = inside[0] != inside[1] if failure.kind == "partition" else any(inside)
            if concerned and failure.time <= time and (failure.until is None or time < failure.until):
                found.append(failure)
        return found

    def can_reach(self, time: int, identity: int, peer: int) -> bool:
        if not self.is_up(peer, time) or not self.is_connected(time, identity, peer):
            return False
        return all(f.kind != "partition" for f in self.disturbed(time, identity, peer))

    def is_connected(self, time: int, identity: int, peer: int) -> bool:
        """Whether two that are up have dialled each other; one behind NAT does when it comes, and then at times."""
        if peer < self.hot:
            return True
        for hidden, other in ((identity, peer), (peer, identity)):
            came, there_since = (self.up_since(v, time) for v in (other, hidden))
            if self.is_hidden[hidden] and came > there_since:
                phase = int(draw_u64(self.seed, hidden, int(ColdPurpose.REDIAL), 0)) % (self.redial // 10**6) * 10**6
                while phase < came:
                    phase += self.redial
                return time >= phase
        return True

    def up_since(self, host: int, time: int) -> int:
        return next(i.begin for i in self.life[host] if i.begin <= time < i.end)

    def forget_cut_off(self, time: int, identity: int, mesh: list[int]) -> bool:
        gone = [
            peer
            for peer in mesh
            for f in self.disturbed(time, identity, peer)
            if f.kind == "partition" and time >= f.time + f.detection
        ]
        mesh[:] = [peer for peer in mesh if peer not in gone]
        return bool(gone)

    def note_delivery(self, identity: int, source: int, message_id: int, is_first: bool) -> None:
        rules, topic = self.gossip.score, self.message[message_id].topic
        if rules is None or source not in self.mesh[topic][identity]:
            return
        mark = self.marks[identity, topic, source]
        mark[2] = min(mark[2] + 65536, round(rules.delivery_cap * 65536))
        if is_first:
            mark[1] = min(mark[1] + 65536, round(rules.first_cap * 65536))

    def score(self, time: int, identity: int, topic: int, peer: int) -> int:
        rules = self.gossip.score
        assert rules is not None
        since, first, delivered = self.marks[identity, topic, peer]
        weights = (rules.time_weight, rules.first_weight, rules.delivery_weight)
        w1, w2, w3 = (round(weight * 65536) for weight in weights)
        total = w1 * min((time - since) // rules.time_quantum, rules.time_cap) + (w2 * first >> 16)
        lacking = round(rules.delivery_threshold * 65536) - delivered
        if lacking > 0 and time - since >= rules.delivery_activation:
            total -= (lacking * lacking >> 16) * w3 >> 16
        return total

    def judge(self, time: int, identity: int, topic: int) -> bool:
        """Let what is known of the mesh's members fade, and put out those of a negative score."""
        rules, mesh = self.gossip.score, self.mesh[topic][identity]
        if rules is None or not mesh:
            return False
        for peer in mesh:
            mark = self.marks[identity, topic, peer]
            mark[1] = mark[1] * round(rules.first_decay * 65536) >> 16
            mark[2] = mark[2] * round(rules.delivery_decay * 65536) >> 16
        for peer in [peer for peer in mesh if self.score(time, identity, topic, peer) < 0]:
            mesh.remove(peer)
            backoff_ms = self.gossip.prune_backoff // 1_000_000
            self.backoff[identity, peer, topic] = time + backoff_ms * 1_000_000
            self.send(time, identity, peer, 40, "prune", [(topic, backoff_ms)])
            self.counters["control_sent"] += 1
            self.counters["score_prunes"] += 1
        return True

    def lacking_outbound(self, identity: int, topic: int) -> int:
        client, mesh = self.client[identity], self.mesh[topic][identity]
        known = self.known_outbound(identity, topic)
        wanted = min(client.d_out, len(known)) - sum(peer in known for peer in mesh)
        return min(wanted, client.d_high - len(mesh)) if client.d_out else 0

    def known_outbound(self, identity: int, topic: int) -> list[int]:
        return [peer for peer in self.outbound[identity] if peer in self.members[topic]]

    def is_mediocre(self, time: int, identity: int, topic: int, number: int) -> bool:
        rules, mesh = self.gossip.score, self.mesh[topic][identity]
        if rules is None or number % rules.opportunistic_beats or len(mesh) < 2:
            return False
        scores = sorted(self.score(time, identity, topic, peer) for peer in mesh)
        return scores[len(scores) // 2] < round(rules.opportunistic_threshold * 65536)

    def is_up(self, host: int, time: int) -> bool:
        return host < self.hot or next(i.is_up for i in self.life[host] if i.begin <= time < i.end)

    def join(self, _time: int, _identity: int) -> None:
        self.counters["joins"] += 1

    def depart(self, time: int, identity: int, noticed_after: int, is_silent: bool) -> None:
        self.counters["departures"] += 1
        self.fanout[identity].clear()
        for topic in self.topics:
            for peer in self.mesh[topic][identity]:
                if peer >= self.hot:
                    self.tell_leaving(time, identity, peer, topic, noticed_after)
            self.mesh[topic][identity].clear()
        for (peer, topic), known in reversed(self.hot_peers[identity].items()):
            if known and not is_silent:
                self.send(time, identity, peer, 36, "leave", [(topic,)])
                self.counters["control_sent"] += 1
            self.hot_peers[identity][peer, topic] = False

    def tell_leaving(self, time: int, identity: int, peer: int, topic: int, noticed_after: int) -> None:
        arrival = time + noticed_after + self.latency[self.node[identity]][self.node[peer]]
        key = (arrival, peer, NETWORK, identity, self.packets[identity], 0)
        heapq.heappush(self.heap, (key, "leave", (identity, topic)))

    def is_missed(self, time: int, identity: int) -> bool:
        """Count a packet, and whether it comes to an identity that is not there."""
        self.counters["edge_events"] += 1
        if self.is_up(identity, time):
            return False
        self.counters["unreachable"] += 1
        return True

    def peers(self, identity: int, topic: int) -> list[int]:
        """Known peers on a topic, the hot ones that were met last first."""
        met = [peer for (peer, on), known in self.hot_peers[identity].items() if known and on == topic]
        return [peer for peer in self.cold_peers[identity] if peer in self.members[topic]] + met[::-1]

    def words(self, entity: int, purpose: int, counter: int) -> list[int]:
        words = philox4x32(
            counter & 0xFFFFFFFF, counter >> 32, entity, purpose, self.seed & 0xFFFFFFFF, self.seed >> 32
        )
        return [int(word) for word in words]

    def take_streams(self, link: int, time: int, identity: int) -> None:
        """Let what is not executed take its time on a link: requests, of which there are none here."""

    def send(self, time: int, source: int, peer: int, size: int, name: str, items: Sequence[tuple[Any, ...]]) -> None:
        self.take_streams(0, time, source)
        self.uplink_free[source] = max(self.uplink_free[source], time) + (size * self.up[source] >> 20)
        counter = self.packets[source]
        self.packets[source] += 1
        self.counters["bytes_sent"] += size
        probability = self.loss[self.node[source]][self.node[peer]]
        disturbances = self.disturbed(self.uplink_free[source], source, peer)
        for failure in disturbances:
            probability += (1.0 - probability) * (1.0 if failure.kind == "partition" else failure.loss)
        if probability > 0 and draw_uniform(self.seed, source, int(Purpose.PACKET_LOSS), counter) < probability:
            self.counters["packets_lost"] += 1
            return
        arrival = self.uplink_free[source] + self.latency[self.node[source]][self.node[peer]]
        arrival += sum(failure.latency for failure in disturbances if failure.kind == "degradation")
        if peer < self.hot:
            self.out.append((arrival, source, counter, peer, name, list(items)))
            return
        if name == "ihave":
            self.note_heard()
        for item in items:
            key = (arrival, peer, NETWORK, source, counter, item[0] if isinstance(item[0], int) else 0)
            heapq.heappush(self.heap, (key, name, (source, *item)))

    def size_of(self, message_id: int) -> int:
        return 62 + self.message[message_id].size

    def expired(self, time: int, message_id: int) -> bool:
        message = self.message.get(message_id)
        return message is not None and time >= message.time + self.gossip.seen_ttl

    def schedule_heartbeat(self, identity: int, number: int) -> None:
        time = self.phase[identity] + number * self.client[identity].heartbeat
        heapq.heappush(self.heap, ((time, identity, HEARTBEAT, 0, 0, 0), "heartbeat", (number,)))

    def interval(self, identity: int, time: int) -> int:
        return int(max(0, -((self.phase[identity] - time) // self.client[identity].heartbeat)))

    def publish(self, time: int, identity: int, message_id: int) -> None:
        self.counters["published"] += 1
        topic = self.message[message_id].topic
        if identity in self.members[topic]:
            self.seen[identity][message_id] = (time, 0)
            self.cached[identity][message_id] = self.interval(identity, time)
            if not self.gossip.flood_publish:
                self.push(time, identity, message_id, -1, 0)
                return
        if not self.is_up(identity, time):
            return
        peers = self.peers(identity, topic)
        if identity not in self.members[topic]:
            if self.gossip.flood_publish:
                peers += self.found(time, identity, topic, peers)
            else:
                peers = self.use_fanout(time, identity, topic)
        assert set(self.mesh[topic][identity]) <= set(peers)
        first = self.words(identity, ColdPurpose.FORWARD, message_id)[0] * len(peers) >> 32
        for peer in peers[first:] + peers[:first]:
            if self.can_reach(time, identity, peer):
                self.send(time, identity, peer, self.size_of(message_id), "receive", [(message_id, 0)])
                self.counters["messages_sent"] += 1

    def found(self, time: int, identity: int, topic: int, known: list[int]) -> list[int]:
        """Subscribers that a publisher discovers where it knows fewer than D."""
        wanted = self.client[identity].d
        drawn = [
            self.hot + (word * (self.count - self.hot) >> 32)
            for block in range(16 * wanted)
            for word in self.words(identity, ColdPurpose.FANOUT, topic << 32 | block)
        ]
        fresh = dict.fromkeys(v for v in drawn if v != identity and v in self.members[topic] and v not in known)
        reached = [v for v in fresh if self.can_reach(time, identity, v)]
        return reached[: max(wanted - len(known), 0)]

    def use_fanout(self, time: int, identity: int, topic: int) -> list[int]:
        """To whom a publisher without the topic sends; from now on the fanout lasts for its time to live."""
        number = self.interval(identity, time)
        _, peers = self.fanout[identity].get(topic, (0, []))
        if topic not in self.fanout[identity]:
            self.fill_fanout(time, identity, topic, peers, 2 * number)
        # The first heartbeat at which the last publication is longer ago.
        last = self.interval(identity, time + self.gossip.fanout_ttl + 1)
        self.fanout[identity][topic] = (last, peers)
        return list(peers)

    def fill_fanout(self, time: int, identity: int, topic: int, peers: list[int], turn: int) -> None:
        candidates = [
            peer
            for peer in self.cold_peers[identity]
            if peer in self.members[topic] and peer not in peers and self.can_reach(time, identity, peer)
        ]
        for number in range(self.client[identity].d - len(peers)):
            if not candidates:
                break
            counter = turn << 24 | topic << 8 | number
            word = self.words(identity, ColdPurpose.FANOUT_PEERS, counter)[0]
            pick = word * len(candidates) >> 32
            candidates[0], candidates[pick] = candidates[pick], candidates[0]
            peers.append(candidates.pop(0))
        peers += self.found(time, identity, topic, peers)

    def mend_fanouts(self, time: int, identity: int, number: int) -> bool:
        """Forget old fanouts, and replace peers that have gone; whether any came or went."""
        mended = False
        for topic, (last, peers) in list(self.fanout[identity].items()):
            if last <= number:
                del self.fanout[identity][topic]
                continue
            before = list(peers)
            peers[:] = [peer for peer in peers if self.can_reach(time, identity, peer)]
            self.fill_fanout(time, identity, topic, peers, 2 * number + 1)
            mended |= peers != before
        return mended

    def receive(self, time: int, identity: int, source: int, message_id: int, hops: int) -> None:
        if self.is_missed(time, identity):
            return
        if self.expired(time, message_id):
            self.counters["expired"] += 1
            return
        self.counters["messages_received"] += 1
        size = self.size_of(message_id)
        bucket, (late_bucket, late) = time // self.bucket_ns, self.late[identity]
        if late_bucket < bucket:
            if late:
                self.take_streams(1, late_bucket * self.bucket_ns, identity)
            since = max(self.downlink_free[identity], late_bucket * self.bucket_ns if late else 0)
            self.downlink_free[identity] = since + (late * self.down[identity] >> 20)
            late = 0
        self.note_delivery(identity, source, message_id, message_id not in self.seen[identity])
        if message_id in self.seen[identity]:
            self.counters["duplicates"] += 1
            self.late[identity] = (bucket, late + size)
            return
        self.late[identity] = (bucket, late)
        self.take_streams(1, time, identity)
        received = max(time, self.downlink_free[identity]) + (size * self.down[identity] >> 20)
        self.downlink_free[identity] = received
        self.seen[identity][message_id] = (received, hops)
        least = self.client[identity].idontwant_size
        if least is not None and self.message[message_id].size >= least:
            key = (received, identity, TELL, 0, 0, message_id)
            heapq.heappush(self.heap, (key, "tell", (message_id, source)))
        low, high = self.words(identity, ColdPurpose.VALIDATION, message_id)[:2]
        delay = draw(self.client[identity].validation_delay.table(), high << 32 | low)
        key = (received + delay, identity, FORWARD, 0, 0, message_id)
        heapq.heappush(self.heap, (key, "forward", (message_id, source, hops + 1)))

    def tell(self, time: int, identity: int, message_id: int, source: int) -> None:
        if self.is_silent(time, identity):
            return
        self.take_streams(0, time, identity)
        for peer in self.in_turn(identity, message_id, source):
            self.send(time, identity, peer, 44, "idontwant", [(message_id,)])
            self.counters["idontwant_sent"] += 1

    def idontwant(self, time: int, identity: int, source: int, message_id: int) -> None:
        if self.is_missed(time, identity):
            return
        self.counters["idontwant_received"] += 1
        self.unwanted.add((identity, source, message_id))

    def forward(self, time: int, identity: int, message_id: int, source: int, hops: int) -> None:
        self.counters["forwards"] += 1
        self.cached[identity][message_id] = self.interval(identity, time)
        if not self.is_silent(time, identity):
            self.push(time, identity, message_id, source, hops)

    def push(self, time: int, identity: int, message_id: int, source: int, hops: int) -> None:
        self.take_streams(0, time, identity)
        for peer in self.in_turn(identity, message_id, source):
            if (identity, peer, message_id) in self.unwanted:
                self.counters["copies_spared"] += 1
                continue
            self.send(time, identity, peer, self.size_of(message_id), "receive", [(message_id, hops)])
            self.counters["messages_sent"] += 1

    def in_turn(self, identity: int, message_id: int, source: int) -> list[int]:
        """The mesh in the order of sending, without where the message came from and its origin."""
        message = self.message[message_id]
        mesh = self.mesh[message.topic][identity]
        first = self.words(identity, ColdPurpose.FORWARD, message_id)[0] * len(mesh) >> 32
        return [peer for peer in mesh[first:] + mesh[:first] if peer not in (source, message.origin)]

    def heartbeat(self, time: int, identity: int, number: int) -> None:
        self.schedule_heartbeat(identity, number + 1)
        needed = False
        for topic in self.topics:
            if identity not in self.members[topic]:
                continue
            mesh, peers = self.mesh[topic][identity], self.peers(identity, topic)
            needed |= self.forget_cut_off(time, identity, mesh)
            here = self.is_up(identity, time)
            client = self.client[identity]
            needed |= here and self.judge(time, identity, topic)
            if here and len(mesh) < client.d_low and len(peers) > len(mesh):
                needed = True
                self.graft_some(time, identity, topic, number, 0, client.d - len(mesh), peers)
            if here and self.lacking_outbound(identity, topic) > 0:
                needed = True
                wanted = self.lacking_outbound(identity, topic)
                self.graft_some(time, identity, topic, number, 1, wanted, self.known_outbound(identity, topic))
            if here and self.is_mediocre(time, identity, topic, number):
                assert self.gossip.score is not None
                wanted = min(self.gossip.score.opportunistic_peers, client.d_high - len(mesh))
                self.graft_some(time, identity, topic, number, 2, wanted, peers)
            ids = sorted(
                m
                for m, cached in self.cached[identity].items()
                if number - cached < self.gossip.mcache_gossip and self.message[m].topic == topic
            )
            if not ids:
                continue
            needed = True
            if not here or self.is_silent(time, identity):
                continue
            chosen = self.gossip_peers(time, identity, topic, number)
            size = 36 * -(-len(ids) // 128) + 8 * len(ids)
            for peer in chosen:
                if peer >= self.hot:
                    self.send(time, identity, peer, size, "ihave", [(tuple(ids),)])
                    continue
                for first in range(0, len(ids), 128):
                    part = tuple(ids[first : first + 128])
                    self.send(time, identity, peer, 36 + 8 * len(part), "ihave", [(part, topic)])
            self.counters["ihave_sent"] += len(chosen)
        needed |= self.mend_fanouts(time, identity, number)
        self.counters["heartbeats"] += needed

    def graft_some(
        self, time: int, identity: int, topic: int, number: int, reason: int, wanted: int, peers: list[int]
    ) -> None:
        mesh = self.mesh[topic][identity]
        candidates = [
            peer
            for peer in peers
            if self.can_reach(time, identity, peer)
            and peer not in mesh
            and self.backoff.get((identity, peer, topic), 0) <= time
        ]
        for turn in range(min(wanted, len(candidates))):
            counter = number << 32 | topic << 16 | reason << 12 | turn
            word = self.words(identity, ColdPurpose.GRAFT_PEERS, counter)[0]
            pick = turn + (word * (len(candidates) - turn) >> 32)
            candidates[turn], candidates[pick] = candidates[pick], candidates[turn]
            mesh.append(candidates[turn])
            self.marks[identity, topic, candidates[turn]] = [time, 0, 0]
            self.send(time, identity, candidates[turn], 36, "graft", [(topic,)])
            self.counters["control_sent"] += 1

    def gossip_peers(self, time: int, identity: int, topic: int, number: int) -> list[int]:
        peers, mesh = self.peers(identity, topic), self.mesh[topic][identity]
        lazy = self.client[identity].d_lazy
        chosen: list[int] = []
        for block in range(16 if len(peers) - len(mesh) > lazy else 0):
            for word in self.words(identity, ColdPurpose.GOSSIP_PEERS, number << 32 | topic << 16 | block):
                peer = peers[word * len(peers) >> 32]
                fits = peer not in mesh and peer not in chosen and self.can_reach(time, identity, peer)
                if len(chosen) < lazy and fits:
                    chosen.append(peer)
        left = [p for p in peers if p not in mesh and p not in chosen and self.can_reach(time, identity, p)]
        drawn, listed = len(chosen), chosen + left
        for turn in range(drawn, lazy if len(listed) > lazy else drawn):
            word = self.words(identity, ColdPurpose.GOSSIP_PEERS, number << 32 | topic << 16 | 16 + turn)[0]
            pick = turn + (word * (len(listed) - turn) >> 32)
            listed[turn], listed[pick] = listed[pick], listed[turn]
        return listed[:lazy]

    def note_heard(self) -> None:
        """Count an IHAVE: nothing keeps it from coming, but that it is lost."""
        self.counters["edge_events"] += 1
        self.counters["ihave_received"] += 1

    def ihave(self, time: int, identity: int, source: int, ids: tuple[int, ...]) -> None:
        if source < self.hot:
            self.note_heard()
        if not self.is_up(identity, time):
            return
        interval = self.interval(identity, time)
        wanted = [
            m
            for m in ids
            if m not in self.seen[identity] and not self.expired(time, m) and (interval, m) not in self.asked[identity]
        ]
        self.asked[identity].update((interval, m) for m in wanted)
        self.counters["iwant_sent"] += len(wanted)
        for first in range(0, len(wanted), 128):
            part = wanted[first : first + 128]
            self.send(time, identity, source, 36 + 8 * len(part), "iwant", [(m,) for m in part])

    def iwant(self, time: int, identity: int, source: int, message_id: int) -> None:
        if self.is_missed(time, identity):
            return
        self.counters["iwant_received"] += 1
        cached = self.cached[identity].get(message_id)
        if (
            cached is None
            or self.is_silent(time, identity)
            or self.expired(time, message_id)
            or self.interval(identity, time) - cached >= self.gossip.mcache_length
        ):
            self.counters["iwant_unserved"] += 1
            return
        hops = self.seen[identity][message_id][1] + (self.message[message_id].origin != identity)
        self.send(time, identity, source, self.size_of(message_id), "receive", [(message_id, hops)])
        self.counters["messages_sent"] += 1

    def graft(self, time: int, identity: int, source: int, topic: int) -> None:
        if self.is_missed(time, identity):
            if source >= self.hot:
                self.tell_leaving(time, identity, source, topic, 0)
            return
        self.counters["control_received"] += 1
        mesh = self.mesh[topic][identity]
        if source < self.hot:
            self.hot_peers[identity][source, topic] = True
        if source in mesh:
            return
        if len(mesh) < self.client[identity].d_high and self.backoff.get((identity, source, topic), 0) <= time:
            mesh.append(source)
            self.marks[identity, topic, source] = [time, 0, 0]
            return
        backoff_ms = self.gossip.prune_backoff // 1_000_000
        self.send(time, identity, source, 40, "prune", [(topic, backoff_ms)])
        self.counters["control_sent"] += 1

    def prune(self, time: int, identity: int, source: int, topic: int, backoff_ms: int) -> None:
        if self.is_missed(time, identity):
            return
        self.counters["control_received"] += 1
        if source in self.mesh[topic][identity]:
            self.mesh[topic][identity].remove(source)
        self.backoff[identity, source, topic] = time + backoff_ms * 1_000_000

    def hello(self, time: int, identity: int, source: int, topic: int) -> None:
        if self.is_missed(time, identity):
            return
        self.counters["control_received"] += 1
        if not self.hot_peers[identity].get((source, topic)):
            self.hot_peers[identity][source, topic] = True
            self.send(time, identity, source, 36, "hello", [(topic,)])
            self.counters["control_sent"] += 1

    def leave(self, time: int, identity: int, source: int, topic: int) -> None:
        if self.is_missed(time, identity):
            return
        self.counters["control_received"] += 1
        if source in self.mesh[topic][identity]:
            self.mesh[topic][identity].remove(source)
        if (source, topic) in self.hot_peers[identity]:
            self.hot_peers[identity][source, topic] = False

    def mesh_degrees(self) -> np.ndarray:
        return np.array([[len(mesh) for mesh in meshes[self.hot :]] for meshes in self.mesh])
