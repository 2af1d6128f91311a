"""Transactions in plain Python: the reference that the kernels must agree with, bit for bit."""

import heapq
from collections import Counter
from collections.abc import Sequence
from math import isqrt

from bridge.paths import PathTable
from bridge.rng import draw_u64
from cold.overlay import build_overlay
from cold.purposes import ColdPurpose
from cold.scenario import Scenario
from cold.transaction_kernels import TIME
from cold.transactions import planned_transactions, slots_needed
from tests.cold.quantile_twin import draw
from tests.cold.requests_twin import RequestsTwin
from tests.cold.twin import FETCH, NETWORK, OVERDUE, PASS_ON, SUBMIT, TELL_HASHES

FRAME, ANNOUNCED, HASH, GREETING = 64, 38, 33, 90
#: Of datagrams: headers, a hash, what an answer and a request have besides, the largest part. Then hosts' own numbers.
HEADERS, HOT_HASH, CARRIER, ASK, PART, HOT_NUMBERS = 36, 32, 44, 2, 60_000, 1 << 30


#: Names of methods, and their arguments behind the sender.
Items = Sequence[tuple[str, tuple[int, ...]]]


def wire(size: int) -> int:
    """Bytes on the wire of a stream."""
    return size + 52 * max(-(-size // 1448), 1)


class Knowledge:
    """What an identity knows of a transaction."""

    def __init__(self) -> None:
        self.arrival: int | None = None
        self.hops = 0
        self.attempt = 0
        self.activity = "idle"
        self.known: set[int] = set()
        self.offered: set[int] = set()
        self.untold: set[int] = set()


class TransactionsTwin(RequestsTwin):
    """`Twin`, whose identities also spread transactions."""

    def __init__(self, scenario: Scenario, paths: PathTable) -> None:
        section, seed = scenario.section, scenario.seed
        super().__init__(scenario, paths)
        assert section.transactions is not None
        self.rules = section.transactions
        identities = self.count - self.hot
        overlay = build_overlay(
            seed, self.hot, identities, self.rules.degree, 0, 0, 0, purpose=ColdPurpose.TRANSACTION_OVERLAY
        )
        self.connected: list[list[int]] = [[]] * self.hot + [
            overlay.neighbours[overlay.row_start[v] : overlay.row_start[v + 1]].tolist() for v in range(identities)
        ]
        planned = planned_transactions(scenario)
        self.slots = slots_needed(planned[:, TIME], self.rules.lifetime + self.rules.announce_interval)
        self.plan: dict[int, list[int]] = dict(enumerate(planned.tolist()))
        self.knows: list[dict[int, Knowledge]] = [{} for _ in range(self.count)]
        self.waiting_hashes: list[list[int]] = [[] for _ in range(self.count)]
        self.tells_at = [-1] * self.count
        self.spread = {number: Counter[str]() for number in self.plan}
        self.hosts: list[list[int | None]] = [[None] * min(self.rules.hot_peers, self.hot) for _ in range(self.count)]
        self.load = [[0, 0] for _ in range(self.count)]
        for number, (time, origin, *_) in self.plan.items():
            self.own(time, origin, SUBMIT, number, 0, "submit", (number,))

    def add(self, number: int, origin: int, time: int, size: int, blobs: bool) -> None:
        """Make a hot host's transaction known, which hot hosts will tell of."""
        is_pushed = not blobs and size <= self.rules.largest_pushed
        self.plan[number] = [time, origin, size, int(blobs), int(is_pushed)]
        self.spread[number] = Counter[str]()

    def peers_of(self, identity: int) -> list[int]:
        """Peers in the execution network: others, then hot hosts, in the order of their places."""
        return self.connected[identity] + [host for host in self.hosts[identity] if host is not None]

    def slot(self, number: int) -> int:
        """What numbers are announced in the order of."""
        return number if number >= HOT_NUMBERS else number % self.slots

    def to_host(self, time: int, identity: int, host: int, body: int, name: str, item: tuple[int, ...]) -> None:
        self.load[identity][0] += HEADERS + body
        self.send(time, identity, host, HEADERS + body, name, [item])

    def carry(self, time: int, identity: int, host: int, name: str, number: int, attempt: int, hops: int) -> None:
        size = self.plan[number][2]
        parts = -(-size // PART)
        for part in range(parts):
            carried = min(size - part * PART, PART)
            self.to_host(time, identity, host, CARRIER + carried, name, (number, attempt, hops, part, parts, carried))

    def own(
        self, time: int, identity: int, kind: int, number: int, attempt: int, name: str, data: tuple[int, ...]
    ) -> None:
        order = number << 24 | attempt
        heapq.heappush(self.heap, ((time, identity, kind, order, identity, 0), name, data))

    def of(self, identity: int, number: int) -> Knowledge:
        return self.knows[identity].setdefault(number, Knowledge())

    def is_over(self, time: int, number: int) -> bool:
        return bool(time >= self.plan[number][0] + self.rules.lifetime)

    def keeps_quiet(self, time: int, identity: int, number: int) -> bool:
        return self.plan[number][1] != identity and self.is_silent(time, identity)

    def valid_at(self, identity: int, number: int) -> int | None:
        arrival = self.of(identity, number).arrival
        if arrival is None or self.plan[number][1] == identity:
            return arrival
        word = int(draw_u64(self.seed, identity, int(ColdPurpose.TRANSACTION_VALIDATION), number))
        return arrival + draw(self.rules.validation_delay.table(), word)

    def packet(self, time: int, identity: int, peer: int, size: int, items: Items) -> None:
        self.load[identity][0] += wire(size)
        counter = self.packets[identity]
        arrival, _ = self.stream(time, identity, peer, size)
        if arrival >= 0:
            for place, (name, data) in enumerate(items):
                key = (arrival, peer, NETWORK, identity, counter, place)
                heapq.heappush(self.heap, (key, name, (identity, *data)))

    def submit(self, time: int, identity: int, number: int) -> None:
        if not self.is_up(identity, time):
            self.spread[number]["unsubmitted"] += 1
            return
        self.of(identity, number).arrival = time
        self.relay(time, identity, number, 1)

    def pass_on(self, time: int, identity: int, number: int) -> None:
        if self.is_up(identity, time) and not self.is_over(time, number) and self.valid_at(identity, number) == time:
            self.relay(time, identity, number, min(self.of(identity, number).hops + 1, 255))

    def relay(self, time: int, identity: int, number: int, hops: int) -> None:
        if self.is_over(time, number) or self.keeps_quiet(time, identity, number):
            return
        size, may_push = self.plan[number][2], self.plan[number][4]
        mine = self.of(identity, number)
        candidates = [
            peer for peer in self.peers_of(identity) if peer not in mine.known and self.can_reach(time, identity, peer)
        ]
        mine.known.update(candidates)
        pushes = isqrt(len(candidates)) if may_push else 0
        for turn in range(pushes):
            word = self.words(identity, ColdPurpose.TRANSACTION_PUSH, number << 8 | turn // 4)[turn % 4]
            pick = turn + (word * (len(candidates) - turn) >> 32)
            candidates[turn], candidates[pick] = candidates[pick], candidates[turn]
            self.spread[number]["pushed"] += 1
            if candidates[turn] < self.hot:
                self.carry(time, identity, candidates[turn], "transaction", number, 0, hops)
                continue
            self.packet(time, identity, candidates[turn], FRAME + size, [("transaction", (number, hops))])
        if candidates[pushes:]:
            mine.untold.update(candidates[pushes:])
            queue = self.waiting_hashes[identity]
            queue.append(number)
            if self.rules.announce_interval == 0 or len(queue) >= 256:
                self.tell_now(time, identity)
            elif len(queue) == 1:
                self.tells_at[identity] = time + self.rules.announce_interval
                self.own(self.tells_at[identity], identity, TELL_HASHES, 0, 0, "tell_hashes", ())

    def tell_hashes(self, time: int, identity: int) -> None:
        if self.tells_at[identity] == time:
            self.tell_now(time, identity)

    def tell_now(self, time: int, identity: int) -> None:
        numbers = sorted(self.waiting_hashes[identity], key=self.slot)
        for peer in self.peers_of(identity):
            told = [number for number in numbers if peer in self.of(identity, number).untold]
            if told and self.can_reach(time, identity, peer):
                self.announce(time, identity, peer, told)
        for number in numbers:
            self.of(identity, number).untold.clear()
        self.waiting_hashes[identity] = []

    def announce(self, time: int, identity: int, peer: int, numbers: list[int]) -> None:
        for first in range(0, len(numbers), 256):
            part = numbers[first : first + 256]
            for number in part:
                self.of(identity, number).known.add(peer)
                self.spread[number]["announced"] += 1
            if peer < self.hot:
                self.to_host(time, identity, peer, HOT_HASH * len(part), "announcement", tuple(part))
                continue
            contents = [len(part)] + [0] * (len(part) - 1)
            items = [("announcement", (number, many)) for number, many in zip(part, contents, strict=True)]
            self.packet(time, identity, peer, FRAME + ANNOUNCED * len(part), items)

    def tell_pool(self, time: int, identity: int, peer: int) -> None:
        numbers: list[int] = []
        for number in sorted(self.knows[identity], key=self.slot):
            valid = self.valid_at(identity, number)
            is_valid = not self.is_over(time, number) and valid is not None and valid <= time
            if is_valid and not self.keeps_quiet(time, identity, number):
                numbers.append(number)
        self.announce(time, identity, peer, numbers)

    def join(self, time: int, identity: int) -> None:
        super().join(time, identity)
        self.forget_untold(identity)
        for mine in self.knows[identity].values():
            mine.known.clear()
            mine.offered.clear()
            mine.attempt += mine.attempt > 0 or mine.activity != "idle"
            mine.activity = "idle"
        for peer in self.peers_of(identity):
            if self.can_reach(time, identity, peer):
                if peer < self.hot:
                    self.to_host(time, identity, peer, 0, "greeting", (0,))
                else:
                    self.packet(time, identity, peer, FRAME + GREETING, [("greeting", ())])
                self.tell_pool(time, identity, peer)

    def depart(self, time: int, identity: int, noticed_after: int, is_silent: bool) -> None:
        super().depart(time, identity, noticed_after, is_silent)
        self.forget_untold(identity)

    def forget_untold(self, identity: int) -> None:
        for number in self.waiting_hashes[identity]:
            self.of(identity, number).untold.clear()
        self.waiting_hashes[identity] = []
        self.tells_at[identity] = -1

    def greeting(self, time: int, identity: int, source: int) -> None:
        if self.is_missed(time, identity):
            return
        self.load[identity][1] += wire(FRAME + GREETING)
        for mine in self.knows[identity].values():
            mine.known.discard(source)
        self.tell_pool(time, identity, source)

    def announcement(self, time: int, identity: int, source: int, number: int, many: int) -> None:
        if self.is_missed(time, identity):
            return
        if many:
            self.load[identity][1] += wire(FRAME + ANNOUNCED * many)
        self.hear(time, identity, source, number)

    def hear(self, time: int, identity: int, source: int, number: int) -> None:
        if self.is_late(time, number):
            return
        mine = self.of(identity, number)
        mine.known.add(source)
        if mine.arrival is not None:
            return
        mine.offered.add(source)
        if mine.activity == "idle":
            mine.activity = "waiting"
            when = time + self.rules.fetch_delay
            self.own(when, identity, FETCH, number, mine.attempt, "fetch", (number, mine.attempt))

    def is_late(self, time: int, number: int) -> bool:
        self.spread[number]["late"] += self.is_over(time, number)
        return self.is_over(time, number)

    def fetch(self, time: int, identity: int, number: int, attempt: int) -> None:
        self.go_on(time, identity, number, attempt, "waiting")

    def overdue(self, time: int, identity: int, number: int, attempt: int) -> None:
        self.spread[number]["timeouts"] += self.go_on(time, identity, number, attempt, "fetching")

    def go_on(self, time: int, identity: int, number: int, attempt: int, activity: str) -> bool:
        mine = self.of(identity, number)
        if not self.is_up(identity, time) or self.is_over(time, number) or mine.arrival is not None:
            return False
        if mine.activity != activity or mine.attempt != attempt:
            return False
        self.fetch_next(time, identity, number)
        return True

    def fetch_next(self, time: int, identity: int, number: int) -> None:
        mine = self.of(identity, number)
        mine.offered = {peer for peer in mine.offered if self.can_reach(time, identity, peer)}
        before = mine.attempt
        mine.attempt += 1
        if not mine.offered:
            mine.activity = "idle"
            return
        mine.activity = "fetching"
        word = self.words(identity, ColdPurpose.TRANSACTION_FETCH, number << 16 | before)[0]
        offered = [peer for peer in self.peers_of(identity) if peer in mine.offered]
        peer = offered[word * len(offered) >> 32]
        mine.offered.discard(peer)
        self.spread[number]["asked"] += 1
        if peer < self.hot:
            self.to_host(time, identity, peer, ASK + HOT_HASH, "asked", (number, mine.attempt % 2048))
        else:
            self.packet(time, identity, peer, FRAME + HASH, [("asked_for", (number, mine.attempt))])
        when = time + self.rules.fetch_timeout
        self.own(when, identity, OVERDUE, number, mine.attempt, "overdue", (number, mine.attempt))

    def asked_for(self, time: int, identity: int, source: int, number: int, attempt: int) -> None:
        if self.is_missed(time, identity):
            return
        self.load[identity][1] += wire(FRAME + HASH)
        self.give(time, identity, source, number, attempt)

    def give(self, time: int, identity: int, source: int, number: int, attempt: int) -> None:
        if self.is_late(time, number) or self.keeps_quiet(time, identity, number):
            return
        valid = self.valid_at(identity, number)
        if valid is None or valid > time:
            self.spread[number]["unserved"] += 1
            if source < self.hot:
                self.to_host(time, identity, source, CARRIER, "without", (number, attempt, 0, 0, 1, 0))
            else:
                self.packet(time, identity, source, FRAME, [("without", (number, attempt))])
            return
        self.spread[number]["served"] += 1
        mine = self.of(identity, number)
        mine.known.add(source)
        hops = min(mine.hops + 1, 255)
        if source < self.hot:
            self.carry(time, identity, source, "pooled", number, attempt, hops)
            return
        self.packet(time, identity, source, FRAME + self.plan[number][2], [("pooled", (number, hops))])

    def without(self, time: int, identity: int, _source: int, number: int, attempt: int) -> None:
        if self.is_missed(time, identity):
            return
        self.load[identity][1] += wire(FRAME)
        if not self.is_late(time, number):
            self.go_on(time, identity, number, attempt, "fetching")

    def transaction(self, time: int, identity: int, source: int, number: int, hops: int) -> None:
        self.take_copy(time, identity, source, number, hops, "got_pushed")

    def pooled(self, time: int, identity: int, source: int, number: int, hops: int) -> None:
        self.take_copy(time, identity, source, number, hops, "got_fetched")

    def take_copy(self, time: int, identity: int, source: int, number: int, hops: int, how: str) -> None:
        if self.is_missed(time, identity):
            return
        size = wire(FRAME + self.plan[number][2])
        self.load[identity][1] += size
        self.keep(time, identity, source, number, hops, how, self.come_down(time, identity, size))

    def keep(self, time: int, identity: int, source: int, number: int, hops: int, how: str, received: int) -> None:
        if self.is_late(time, number):
            return
        mine = self.of(identity, number)
        mine.known.add(source)
        if mine.arrival is not None:
            self.spread[number]["duplicates"] += 1
            return
        mine.arrival, mine.hops = received, hops
        self.spread[number][how] += 1
        self.spread[number]["hops"] += hops
        valid = self.valid_at(identity, number)
        assert valid is not None
        self.own(valid, identity, PASS_ON, number, 0, "pass_on", (number,))

    # What hot hosts say; the first of each item is its place in the datagram.

    def is_strange(self, identity: int, host: int, number: int) -> bool:
        is_strange = host not in self.hosts[identity]
        self.spread[number]["strangers"] += is_strange
        return is_strange

    def hot_greeting(self, time: int, identity: int, host: int, _place: int, what: int) -> None:
        if self.is_missed(time, identity):
            return
        self.load[identity][1] += HEADERS
        hosts = self.hosts[identity]
        if what == 0:
            is_met = host in hosts or None in hosts
            self.to_host(time, identity, host, 0, "greeting", (1 if is_met else 2,))
            if is_met:
                if host not in hosts:
                    hosts[hosts.index(None)] = host
                for mine in self.knows[identity].values():
                    mine.known.discard(host)
                self.tell_pool(time, identity, host)
        elif what == 2 and host in hosts:
            hosts[hosts.index(host)] = None
            for mine in self.knows[identity].values():
                for those in (mine.known, mine.offered, mine.untold):
                    those.discard(host)

    def hot_announcement(self, time: int, identity: int, host: int, _place: int, number: int, many: int) -> None:
        if self.is_missed(time, identity):
            return
        self.load[identity][1] += HEADERS + HOT_HASH * many if many else 0
        if not self.is_strange(identity, host, number):
            self.hear(time, identity, host, number)

    def hot_ask(self, time: int, identity: int, host: int, place: int, number: int, attempt: int) -> None:
        if self.is_missed(time, identity):
            return
        self.load[identity][1] += HOT_HASH + (0 if place else HEADERS + ASK)
        if not self.is_strange(identity, host, number):
            self.give(time, identity, host, number, attempt)

    def hot_carried(self, time: int, identity: int, host: int, _place: int, number: int, hops: int, asked: int) -> None:
        if self.is_missed(time, identity):
            return
        carried = self.plan[number][2]
        size = -(-carried // PART) * (HEADERS + CARRIER) + carried
        self.load[identity][1] += size
        received = self.come_down(time, identity, size)
        if not self.is_strange(identity, host, number):
            self.keep(time, identity, host, number, hops, "got_fetched" if asked else "got_pushed", received)

    def hot_without(self, time: int, identity: int, host: int, _place: int, number: int, attempt: int) -> None:
        if self.is_missed(time, identity):
            return
        self.load[identity][1] += HEADERS + CARRIER
        if not self.is_strange(identity, host, number) and not self.is_late(time, number):
            self.go_on(time, identity, number, attempt, "fetching")
