"""Requests and responses in plain Python: the reference that the kernels must agree with, bit for bit."""

import heapq
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from bridge.paths import PathTable
from bridge.rng import draw_u64, draw_uniform
from bridge.simtime import NEVER
from cold.distributions import Distribution
from cold.population import client_kinds
from cold.purposes import ColdPurpose
from cold.request_askers import Representatives
from cold.request_layout import INDIVIDUAL
from cold.request_section import RequestSection, RoleSection
from cold.scenario import Scenario
from tests.cold.quantile_twin import draw
from tests.cold.twin import ANSWER, ASK, DEADLINE, NETWORK, Twin


class Open:
    """A request that somebody waits for."""

    def __init__(self, protocol: int, number: int, asked: int) -> None:
        self.protocol, self.number, self.first_asked = protocol, number, asked
        self.attempt = 0
        self.last_asked = asked
        self.server = -1
        self.parts = 0


class Part(NamedTuple):
    """What a datagram of a hot host's response says."""

    protocol: int
    number: int
    attempt: int
    chunks: int | None
    part: int
    parts: int
    size: int


class Load:
    """What an engine expects of requests that are not executed, as lists: of each identity, up and down."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        load, table = arrays["load"], arrays["load_table"]
        self.next = np.where(load[:, [0, 4]] == NEVER, NEVER, -1).tolist()
        self.gap = load[:, [1, 5]].tolist()
        self.memory = load[:, [2, 6]].tolist()
        self.draws = [[0, 0] for _ in load]
        self.unit = table
        self.shares = arrays["load_share"].reshape(len(load), 2, -1).tolist()
        self.sizes = [[table[first:] for first in kinds] for kinds in arrays["load_kind"][:, 0].reshape(2, -1).tolist()]


class RequestsTwin(Twin):
    """`Twin`, whose identities also ask each other. `chunks` is None where a response says no.

    With `representatives`, they alone ask, and those who have met a hot host.
    """

    def __init__(self, scenario: Scenario, paths: PathTable, representatives: Representatives | None = None) -> None:
        section, directory, seed, stop_time_ns = scenario
        super().__init__(scenario, paths)
        self.requests = section.requests
        self.counts: list[Counter[str]] = [Counter() for _ in self.requests]
        self.tallies: dict[tuple[int, int], Counter[str]] = {}
        self.weights: list[dict[int, int]] = [{} for _ in self.requests]
        for protocol in range(len(self.requests)):
            if representatives is None:
                break
            part = slice(*representatives.begins[protocol : protocol + 2])
            hosts = representatives.host[part].tolist()
            self.weights[protocol] = dict(zip(hosts, representatives.weight[part].tolist(), strict=True))
            self.tallies |= {(protocol, host): Counter() for host in hosts}
        #: Each with its weight.
        self.latencies: list[list[tuple[int, int]]] = [[] for _ in self.requests]
        self.unexecuted: Load | None = None
        self.numbers = [0] * self.count
        self.waiting: list[dict[int, Open]] = [{} for _ in range(self.count)]
        self.meters: dict[tuple[int, int, int], int] = {}
        kinds = client_kinds(section, seed, self.hot, self.count - self.hot).tolist()
        names = list(section.clients) or [""]
        self.client_name = [""] * self.hot + [names[kind] for kind in kinds]
        self.population = [""] * self.count
        for cold in directory.ranges:
            for host in range(cold.first_id, cold.first_id + cold.count):
                self.population[host] = cold.population
        for protocol, request in enumerate(self.requests):
            for identity in range(self.hot, self.count):
                if request.interval is None or not self.is_in_role(request.askers, identity):
                    continue
                time = self.first_ask(request.interval, protocol, identity)
                while time < stop_time_ns:
                    key = (time, identity, ASK, protocol, identity, 0)
                    heapq.heappush(self.heap, (key, "begin", (protocol,)))
                    word = int(draw_u64(seed, identity, int(ColdPurpose.ASK_INTERVAL), protocol << 58 ^ time))
                    time += max(draw(request.interval.table(), word), 1000)

    def asks(self, protocol: int, identity: int) -> bool:
        return not self.weights[protocol] or identity in self.weights[protocol] or bool(self.hot_peers[identity])

    def counted(self, protocol: int, asker: int, number: int) -> Counter[str]:
        if not self.weights[protocol] or asker < self.hot or number & INDIVIDUAL:
            return self.counts[protocol]
        return self.tallies[protocol, asker]

    def weight(self, protocol: int, asker: int, number: int) -> int:
        if not self.weights[protocol]:
            return 1
        return 1 << 20 if number & INDIVIDUAL else self.weights[protocol][asker]

    def take_streams(self, link: int, time: int, identity: int) -> None:
        if self.unexecuted is None:
            return
        load, row = self.unexecuted, identity - self.hot
        came, gap, memory = load.next[row][link], load.gap[row][link], load.memory[row][link]
        if time <= came:
            return
        free, rates = (self.uplink_free, self.up) if link == 0 else (self.downlink_free, self.down)
        since = max(time - memory, 0)
        is_new = came < since
        came = max(came, since)
        while came < time:
            words = self.words(identity, ColdPurpose.LOAD, 2 * load.draws[row][link] + link)
            load.draws[row][link] += 1
            shares = load.shares[row][link]
            kind = next(kind for kind, share in enumerate(shares) if share >= max(words[2] & 0xFFFF, 1))
            # Requests of one's own come first, of each protocol.
            if not is_new and not (kind % 2 == 0 and self.hot_peers[identity]):
                size = draw(load.sizes[link][kind], words[3] << 32)
                free[identity] = max(free[identity], came) + (size * rates[identity] >> 20)
            is_new = False
            came += gap * draw(load.unit, words[0] | words[1] << 32) >> 20
        load.next[row][link] = came

    def first_ask(self, interval: Distribution, protocol: int, identity: int) -> int:
        whole, part = (
            int(draw_u64(self.seed, identity, int(ColdPurpose.ASK_START), 2 * protocol + which)) for which in (0, 1)
        )
        return draw(interval.length_biased_table(), whole) * (part >> 32) >> 32

    def is_in_role(self, role: RoleSection, host: int) -> bool:
        return host < self.hot or (
            (role.populations is None or self.population[host] in role.populations)
            and (role.clients is None or self.client_name[host] in role.clients)
        )

    def drawn(self, distribution: Distribution, entity: int, purpose: ColdPurpose, counter: int) -> int:
        return draw(distribution.table(), int(draw_u64(self.seed, entity, int(purpose), counter)))

    def stream(self, time: int, source: int, peer: int, size: int) -> tuple[int, int]:
        """When the last byte of a stream arrives, -1 if never, and its bytes on the wire."""
        near, far = self.node[source], self.node[peer]
        segments = max(-(-size // 1448), 1)
        wire = size + 52 * segments
        self.take_streams(0, time, source)
        free = max(self.uplink_free[source], time) + (wire * self.up[source] >> 20)
        counter = self.packets[source]
        self.packets[source] += 1
        self.counters["bytes_sent"] += wire
        self.uplink_free[source] = free
        probability, more, back = self.loss[near][far], 0, 0
        for failure in self.disturbed(free, source, peer):
            probability += (1.0 - probability) * (1.0 if failure.kind == "partition" else failure.loss)
            more += failure.latency if failure.kind == "degradation" else 0
        for failure in self.disturbed(free, peer, source):
            back += failure.latency if failure.kind == "degradation" else 0
        latency = self.latency[near][far] + more
        round_trip = latency + self.latency[far][near] + back
        rounds = 0
        if probability > 0.0:
            rounds = self.rounds(source, counter, segments, probability) if probability < 1.0 else 16
        if rounds > 15:
            self.counters["packets_lost"] += 1
            return -1, wire
        arrival, lost, repeated = free + latency, segments * probability, 0
        for number in range(rounds):
            repeated += max(int(lost + 0.5), 1)
            lost *= probability
            arrival += round_trip if segments >= 4 else (round_trip + 200_000_000) << number
        self.counters["packets_lost"] += repeated
        again = repeated * (1500 if segments > 1 else wire)
        self.counters["bytes_sent"] += again
        self.uplink_free[source] += again * self.up[source] >> 20
        arrival += again * self.up[source] >> 20
        sent = window = 10
        while sent < segments and round_trip > window * 1500 * self.up[source] >> 20:
            arrival += round_trip - (window * 1500 * self.up[source] >> 20)
            window *= 2
            sent += window
        return arrival, wire

    def rounds(self, source: int, counter: int, segments: int, probability: float) -> int:
        uniform = draw_uniform(self.seed, source, int(ColdPurpose.STREAM_LOSS), counter)
        still = probability
        for rounds in range(16):
            arrived, factor = 1.0, 1.0 - still
            for bit in reversed(f"{segments:b}"):
                if bit == "1":
                    arrived *= factor
                factor *= factor
            if uniform < arrived:
                return rounds
            still *= probability
        return 16

    def known(self, identity: int) -> list[int]:
        hot: list[int] = []
        for (peer, _), known in reversed(self.hot_peers[identity].items()):
            if known and peer not in hot:
                hot.append(peer)
        return self.cold_peers[identity] + hot

    def serves(self, time: int, identity: int, peer: int, protocol: int) -> bool:
        return self.is_in_role(self.requests[protocol].servers, peer) and self.can_reach(time, identity, peer)

    def servers(self, time: int, identity: int, protocol: int) -> list[int]:
        return [peer for peer in self.known(identity) if self.serves(time, identity, peer, protocol)]

    def draw_server(self, time: int, identity: int, request: Open) -> int | None:
        known, counter = self.known(identity), request.number << 7 | request.attempt << 3
        for block in range(4):
            for word in self.words(identity, ColdPurpose.REQUEST_SERVER, counter | block):
                if known and self.serves(time, identity, known[word * len(known) >> 32], request.protocol):
                    return known[word * len(known) >> 32]
        servers = self.servers(time, identity, request.protocol)
        word = self.words(identity, ColdPurpose.REQUEST_SERVER, counter | 4)[0]
        return servers[word * len(servers) >> 32] if servers else None

    def open(self, time: int, identity: int, protocol: int) -> Open:
        is_individual = bool(self.weights[protocol]) and bool(self.hot_peers[identity])
        request = Open(protocol, self.numbers[identity] | (INDIVIDUAL if is_individual else 0), time)
        self.numbers[identity] += 1
        self.waiting[identity][request.number] = request
        self.counted(protocol, identity, request.number)["asked"] += 1
        return request

    def begin(self, time: int, identity: int, protocol: int) -> None:
        if self.is_up(identity, time) and self.asks(protocol, identity):
            self.ask_somebody(time, identity, self.open(time, identity, protocol))

    def again(self, time: int, identity: int, number: int) -> None:
        if number in self.waiting[identity]:
            self.ask_somebody(time, identity, self.waiting[identity][number])

    def end(self, identity: int, request: Open, how: str) -> None:
        del self.waiting[identity][request.number]
        self.counted(request.protocol, identity, request.number)[how] += 1

    def ask_somebody(self, time: int, identity: int, request: Open) -> None:
        server = self.draw_server(time, identity, request)
        if server is None:
            self.end(identity, request, "failed" if request.attempt else "unasked")
        else:
            self.ask(time, identity, request, server)

    def ask(self, time: int, identity: int, request: Open, server: int) -> None:
        section = self.requests[request.protocol]
        counts = self.counted(request.protocol, identity, request.number)
        request.server, request.last_asked, request.parts = server, time, 0
        counts["attempts"] += 1
        order = request.number << 20 | request.attempt << 5 | request.protocol
        key = (time + section.timeout, identity, DEADLINE, order, server, 0)
        heapq.heappush(self.heap, (key, "deadline", (request.number, request.attempt)))
        size = self.drawn(section.size, identity, ColdPurpose.REQUEST_SIZE, request.number)
        chunks = self.drawn(section.chunks, identity, ColdPurpose.RESPONSE_CHUNKS, request.number)
        item = (request.protocol, request.number, request.attempt, chunks)
        if server < self.hot:
            self.send(time, identity, server, 43 + size, "request", [(*item, size)])
            counts["request_bytes"] += 43 + size
            return
        counter = self.packets[identity]
        arrival, wire = self.stream(time, identity, server, size)
        counts["request_bytes"] += wire
        if arrival >= 0:
            key = (arrival, server, NETWORK, identity, counter, 0)
            heapq.heappush(self.heap, (key, "request", (identity, *item)))

    def fail(self, time: int, identity: int, request: Open) -> None:
        section = self.requests[request.protocol]
        if request.attempt >= section.retries:
            self.end(identity, request, "failed")
            return
        request.attempt += 1
        request.server = -1
        order = request.number << 20 | request.attempt << 5 | request.protocol
        key = (time + section.retry_delay, identity, ASK, order, identity, 0)
        heapq.heappush(self.heap, (key, "again", (request.number,)))

    def deadline(self, time: int, identity: int, number: int, attempt: int) -> None:
        request = self.waiting[identity].get(number)
        if request is not None and request.attempt == attempt and request.server >= 0:
            self.counted(request.protocol, identity, request.number)["timeouts"] += 1
            self.fail(time, identity, request)

    def request(
        self, time: int, identity: int, source: int, protocol: int, number: int, attempt: int, chunks: int
    ) -> None:
        if self.is_missed(time, identity):
            return
        section = self.requests[protocol]
        self.counted(protocol, source, number)["received"] += 1
        is_served = self.is_in_role(section.servers, identity)
        if not (is_served and self.admits(time, identity, source, protocol, section, max(chunks, 1))):
            self.respond(time, identity, source, protocol, number, attempt, None)
            return
        service = self.drawn(section.service, source, ColdPurpose.SERVICE, number << 4 | attempt)
        if service == 0:
            self.respond(time, identity, source, protocol, number, attempt, chunks)
            return
        order = number << 20 | chunks << 9 | attempt << 5 | protocol
        key = (time + service, identity, ANSWER, order, source, 0)
        heapq.heappush(self.heap, (key, "answer", (source, protocol, number, attempt, chunks)))

    def admits(self, time: int, server: int, peer: int, protocol: int, section: RequestSection, tokens: int) -> bool:
        if section.limit is None:
            return True
        token_ns = section.limit.period // section.limit.tokens
        full_at = max(self.meters.get((server, peer, protocol), 0), time) + tokens * token_ns
        if full_at - time > section.limit.tokens * token_ns:
            return False
        self.meters[server, peer, protocol] = full_at
        return True

    def answer(
        self, time: int, identity: int, source: int, protocol: int, number: int, attempt: int, chunks: int
    ) -> None:
        if self.is_up(identity, time):
            self.respond(time, identity, source, protocol, number, attempt, chunks)

    def sizes(self, asker: int, protocol: int, number: int, chunks: int) -> list[int]:
        section = self.requests[protocol]
        return [
            self.drawn(section.chunk_size, asker, ColdPurpose.CHUNK_SIZE, number << 10 | chunk)
            for chunk in range(chunks)
        ]

    def respond(
        self, time: int, identity: int, asker: int, protocol: int, number: int, attempt: int, chunks: int | None
    ) -> None:
        counts = self.counted(protocol, asker, number)
        counts["limited" if chunks is None else "served"] += 1
        sizes = self.sizes(asker, protocol, number, chunks or 0)
        if asker < self.hot:
            while sum(sizes) > 1024 * 60_000:
                sizes.pop()
            listed = None if chunks is None else len(sizes)
            size = max(sum(sizes), 1)
            parts = -(-size // 60_000)
            for part in range(parts):
                carried = min(size - part * 60_000, 60_000)
                counts["response_bytes"] += 50 + carried
                item = Part(protocol, number, attempt, listed, part, parts, carried)
                self.send(time, identity, asker, 50 + carried, "response", [item])
            return
        size = max(sum(sizes), 1)
        counter = self.packets[identity]
        arrival, wire = self.stream(time, identity, asker, size)
        counts["response_bytes"] += wire
        if arrival >= 0:
            key = (arrival, asker, NETWORK, identity, counter, 0)
            heapq.heappush(self.heap, (key, "response", (identity, protocol, number, attempt, chunks, wire)))

    def come_down(self, time: int, identity: int, size: int) -> int:
        bucket, (late_bucket, late) = time // self.bucket_ns, self.late[identity]
        if late and late_bucket < bucket:
            self.take_streams(1, late_bucket * self.bucket_ns, identity)
            since = max(self.downlink_free[identity], late_bucket * self.bucket_ns)
            self.downlink_free[identity] = since + (late * self.down[identity] >> 20)
            self.late[identity] = (late_bucket, 0)
        self.take_streams(1, time, identity)
        received = max(time, self.downlink_free[identity]) + (size * self.down[identity] >> 20)
        self.downlink_free[identity] = received
        return int(received)

    def response(
        self,
        time: int,
        identity: int,
        source: int,
        protocol: int,
        number: int,
        attempt: int,
        chunks: int | None,
        wire: int,
    ) -> None:
        if self.is_missed(time, identity):
            return
        received = self.come_down(time, identity, wire)
        self.take_response(received, identity, source, protocol, number, attempt, chunks)

    def take_response(
        self, received: int, identity: int, source: int, protocol: int, number: int, attempt: int, chunks: int | None
    ) -> None:
        request = self.waiting[identity].get(number)
        counts = self.counted(protocol, identity, number)
        if (
            request is None
            or (request.server, request.attempt, request.protocol) != (source, attempt, protocol)
            or received > request.last_asked + self.requests[protocol].timeout
        ):
            counts["late"] += 1
            return
        if chunks is None:
            counts["refused"] += 1
            self.fail(received, identity, request)
            return
        latency = received - request.first_asked
        self.latencies[protocol].append((latency, self.weight(protocol, identity, number)))
        counts["latency_sum_ns"] += latency
        counts["chunks"] += chunks
        counts["empty"] += chunks == 0
        self.end(identity, request, "answered")

    def part(self, time: int, identity: int, source: int, *item: Any) -> None:
        part = Part(*item)
        if self.is_missed(time, identity):
            return
        received = self.come_down(time, identity, 50 + part.size)
        request = self.waiting[identity].get(part.number)
        awaited = (
            request is not None
            and (request.server, request.attempt, request.protocol) == (source, part.attempt, part.protocol)
            and request.parts == part.part
        )
        if request is not None and awaited:
            request.parts += 1
        if part.part + 1 < part.parts:
            return
        if not awaited:
            self.counted(part.protocol, identity, part.number)["late"] += 1
            return
        self.take_response(received, identity, source, part.protocol, part.number, part.attempt, part.chunks)

    def join(self, time: int, identity: int) -> None:
        super().join(time, identity)
        for protocol, section in enumerate(self.requests):
            if section.on_join and self.is_in_role(section.askers, identity) and self.asks(protocol, identity):
                for server in self.servers(time, identity, protocol):
                    self.ask(time, identity, self.open(time, identity, protocol), server)

    def depart(self, time: int, identity: int, noticed_after: int, is_silent: bool) -> None:
        super().depart(time, identity, noticed_after, is_silent)
        for request in list(self.waiting[identity].values()):
            self.end(identity, request, "abandoned")
