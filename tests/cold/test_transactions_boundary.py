"""Transactions between hot hosts and identities: every packet is what the slow twin says."""

import random
import struct
from collections.abc import Container, Sequence
from operator import attrgetter
from typing import Any

import pytest

from bridge.errors import UserError
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.results import merge
from cold.scenario import Scenario
from cold.transaction_kernels import BLOBS, ORIGIN, SEQUENCE, SIZE, TIME, TRANSACTION_COUNTS
from cold.transaction_results import transaction_table
from cold.transactions import Told
from tests.cold.divided import DividedTail, odd_cuts
from tests.cold.hot_hosts import run_beside
from tests.cold.networks import STOP, directory_of, publication, section_of, three_nodes
from tests.cold.test_boundary import (
    ADDRESS,
    COUNT,
    EPOCH_NS,
    HELLO,
    HOT,
    Harness,
    Received,
    datagram,
    payload_of,
)
from tests.cold.transactions_twin import TransactionsTwin

TRANSACTION, ANNOUNCEMENT, ASK, POOLED, GREETING = range(11, 16)
Items = Sequence[tuple[int, ...]]
END = 7 * NS_PER_S
RULES: dict[str, Any] = {
    "rate": 6,
    "size": ["100 B", "300 B", "6 KB", "70 KB"],
    "blob_share": 0.2,
    "blob_size": ["50 KB", "150 KB"],
    "degree": 6,
    "hot_peers": 1,
    "announce_interval": "25 ms",
    "fetch_delay": "100 ms",
    "fetch_timeout": "300 ms",
    "validation_delay": ["0 ms", "10 ms"],
    "lifetime": "2 s",
}
CHURN = {"sessions": {"kind": "exponential", "mean": "3 s"}, "absences": ["300 ms", "900 ms"]}
KEYS: dict[str, Any] = {"overlay": {"degree": 4}, "publications": [publication(count=4)], "transactions": RULES}
GOING: dict[str, Any] = KEYS | {
    "populations": {"tail": {"count": COUNT, "churn": CHURN}},
    "failures": [{"kind": "silence", "time": "3 s", "share": 0.3}],
    "transactions": RULES | {"hot_peers": 2},
}


def hash_of(told: Told) -> bytes:
    kind = 3 if told.blobs else 2
    head = struct.pack(">IIQIB", ADDRESS[told.origin], told.sequence, EPOCH_NS + told.time, told.size, kind)
    return head + bytes(11)


def announcement(*told: Told) -> bytes:
    return datagram(ANNOUNCEMENT, b"".join(map(hash_of, told)), len(told), 0)


def ask(attempt: int, *told: Told) -> bytes:
    return datagram(ASK, struct.pack(">H", attempt) + b"".join(map(hash_of, told)), len(told), 0)


def carried(kind: int, told: Told, attempt: int = 0, hops: int = 0) -> list[bytes]:
    """A whole transaction, in its parts."""
    payload = payload_of(ADDRESS[told.origin] << 32 | told.sequence, told.size)
    parts = [payload[at : at + 60_000] for at in range(0, told.size, 60_000)]
    return [
        datagram(
            kind,
            hash_of(told) + struct.pack(">HHHHI", attempt, hops, number, len(parts), len(part)) + part,
            1,
            0,
        )
        for number, part in enumerate(parts)
    ]


def without(told: Told, attempt: int) -> bytes:
    return datagram(POOLED, hash_of(told) + struct.pack(">HHHHI", attempt, 0, 0, 1, 0), 0, 0)


def greeting(what: int = 0) -> bytes:
    return datagram(GREETING, b"", what, 0)


def read_hash(text: bytes) -> Told:
    address, sequence, time, size, kind = struct.unpack(">IIQIB", text[:21])
    assert (kind in (2, 3), text[21:]) == (True, bytes(11))
    return Told(ADDRESS.index(address), sequence, time - EPOCH_NS, size, int(kind == 3))


class Hosts:
    """Hot hosts that greet identities, submit, push, announce, ask and answer, not always as they should."""

    def __init__(self, seed: int, number_of: Any, planned: dict[Told, int]) -> None:
        self.draw = random.Random(seed)
        self.number_of, self.planned = number_of, planned
        #: Time, source, event, destination, name in the twin, items, datagram.
        self.said: list[tuple[int, int, int, int, str, Items, bytes]] = []
        self.events = 0
        self.own: dict[Told, int] = {}
        times = sorted(self.draw.sample(range(NS_PER_MS, END), 400))
        for place, time in enumerate(times):
            source, destination = self.draw.randrange(HOT), self.draw.randrange(HOT, HOT + COUNT)
            if place < 120:
                what = self.draw.choice([0, 0, 0, 0, 1, 2])
                self.say(place * 20 * NS_PER_MS + 1, source, destination, "hot_greeting", [(0, what)], greeting(what))
            if self.draw.random() < 0.2 or not self.own:
                self.submit(source, time - self.draw.randrange(0, NS_PER_MS))
            self.tell(time, source, destination)

    def submit(self, source: int, time: int) -> None:
        # Two hosts may have the same numbers, and one may use a number twice.
        sequence = self.draw.randrange(1, 40)
        told = Told(source, sequence, max(time, 0), self.draw.choice([90, 300, 9000, 130_000]), 0)
        if told.size == 9000:
            told = told._replace(blobs=1, size=125_000)
        number = self.number_of(told)
        if number not in self.own.values():
            self.own[told] = number

    def alive(self, time: int) -> list[Told]:
        return [t for t in (*self.own, *self.planned) if time - 2 * NS_PER_S < t.time <= time]

    def number(self, told: Told) -> int:
        return self.own[told] if told in self.own else self.planned[told]

    def tell(self, time: int, source: int, destination: int) -> None:
        known = self.alive(time)
        if not known:
            return
        some = list(dict.fromkeys(self.draw.choices(known, k=self.draw.choice([1, 1, 3]))))
        told = some[0]
        name = self.draw.choice(["push", "announce", "announce", "ask", "answer", "without"])
        if name == "announce":
            items = [(at, self.number(t), 0 if at else len(some)) for at, t in enumerate(some)]
            self.say(time, source, destination, "hot_announcement", items, announcement(*some))
        elif name == "ask":
            attempt = self.draw.randrange(2048)
            items = [(at, self.number(t), attempt) for at, t in enumerate(some)]
            self.say(time, source, destination, "hot_ask", items, ask(attempt, *some))
        elif name == "without":
            attempt = self.draw.randrange(4)
            item = (0, self.number(told), attempt)
            self.say(time, source, destination, "hot_without", [item], without(told, attempt))
        elif not (name == "push" and told.blobs):
            self.carry(time, source, destination, told, 0 if name == "push" else 1, self.draw.randrange(300))

    def carry(self, time: int, source: int, destination: int, told: Told, asked: int, hops: int) -> None:
        parts = carried(POOLED if asked else TRANSACTION, told, asked * 7, hops)
        for place, part in enumerate(parts):
            items = [(0, self.number(told), min(hops + 1, 255), asked)] if place == len(parts) - 1 else []
            self.say(time, source, destination, "hot_carried", items, part)

    def say(self, time: int, source: int, destination: int, name: str, items: Items, data: bytes) -> None:
        self.events += 1
        self.said.append((time, source, self.events, destination, name, items, data))

    def hear(self, packets: list[Received]) -> None:
        """Answer, and ask for what is announced."""
        for each in packets:
            time = each.time + self.draw.randrange(5 * NS_PER_MS, 90 * NS_PER_MS)
            here, there = each.destination, each.source
            if each.kind == ASK:
                attempt, told = int.from_bytes(each.body[:2]), read_hash(each.body[2:])
                if self.draw.random() < 0.3:
                    self.say(
                        time, here, there, "hot_without", [(0, self.number(told), attempt)], without(told, attempt)
                    )
                elif time < told.time + 2 * NS_PER_S:
                    self.carry(time, here, there, told, 1, 3)
            elif each.kind == ANNOUNCEMENT and self.draw.random() < 0.5:
                told = read_hash(each.body[:32])
                if time < told.time + 2 * NS_PER_S:
                    self.say(time, here, there, "hot_ask", [(0, self.number(told), 5)], ask(5, told))


def expected(twin: TransactionsTwin, told: dict[int, Told], over_ipv6: Container[int]) -> list[Received]:
    """What the twin sent of transactions to hot hosts, some of which speak IPv6, as it looks on the wire."""
    result = []
    for time, source, counter, peer, name, (item,) in twin.out:
        if name == "greeting":
            data = greeting(item[0])
        elif name == "announcement":
            data = announcement(*(told[number] for number in item))
        elif name == "asked":
            data = ask(item[1], told[item[0]])
        elif name == "without":
            data = without(told[item[0]], item[1])
        elif name in ("transaction", "pooled"):
            number, attempt, hops, part, _, _ = item
            data = carried(TRANSACTION if name == "transaction" else POOLED, told[number], attempt, hops - 1)[part]
        else:
            continue
        kind, count = data[3], int.from_bytes(data[6:8])
        version = 6 if peer in over_ipv6 else 4
        result.append(Received(time, source, counter, peer, kind, 0, count, data[8:], version))
    return result


def hosts_of(engine: ColdEngine, seed: int) -> Hosts:
    transactions = engine._transactions
    assert transactions is not None
    rows = transactions._plan.tolist()
    planned = {Told(r[ORIGIN], r[SEQUENCE], r[TIME], r[SIZE], r[BLOBS]): n for n, r in enumerate(rows)}
    return Hosts(seed, transactions.number_of, planned)


@pytest.mark.parametrize(
    ("seed", "loss", "keys", "over_ipv6"),
    [(1, 0.0, KEYS, set()), (2, 0.1, KEYS, {0}), (3, 0.05, GOING, set()), (4, 0.05, GOING, {0, 1})],
)
def test_the_kernels_agree_with_the_twin_about_hot_hosts(
    seed: int, loss: float, keys: dict[str, Any], over_ipv6: set[int]
) -> None:
    arguments = (Scenario(section_of(COUNT, **keys), directory_of(COUNT, HOT), seed, STOP), three_nodes(loss))
    engine, twin = ColdEngine(*arguments), TransactionsTwin(*arguments)
    hosts = hosts_of(engine, seed)
    heard = run_beside(engine, hosts, END, by_time=True, over_ipv6=over_ipv6)
    received = [each for each in heard if each.kind >= TRANSACTION]
    for told, number in hosts.own.items():
        twin.add(number, told.origin, told.time, told.size, bool(told.blobs))
    for time, source, event, destination, name, items, _ in hosts.said:
        twin.deliver(time, source, event, destination, name, items)
    twin.run(END)

    assert {name: twin.counters[name] for name in engine.counters()} == engine.counters()
    assert engine._state.transaction_load.tolist() == twin.load[twin.hot :]
    results = merge([engine.partial_results()])
    table = transaction_table(results)
    numbers = {number: told for told, number in (hosts.own | hosts.planned).items()}
    counts = {number: [each[name] for name in TRANSACTION_COUNTS] for number, each in twin.spread.items()}
    mine = {}
    for row, got in zip(results.submitted.tolist(), results.transactions.tolist(), strict=True):
        is_hot, time, sequence, origin, size, blobs = row
        mine[hosts.number(Told(origin, sequence, time, size, blobs))] = got
        assert is_hot == (origin < HOT)
    assert {n: c for n, c in counts.items() if n in mine or any(c)} == mine
    order = attrgetter("time", "source", "event")
    assert sorted(received, key=order) == sorted(expected(twin, numbers, over_ipv6), key=order)
    for kind in (TRANSACTION, ANNOUNCEMENT, ASK, POOLED):
        assert sum(each.kind == kind for each in received) > 5
    assert {each.count for each in received if each.kind == GREETING} == ({0, 1} if keys is GOING else {1, 2})
    from_hot = table[table["origin"] < HOT]
    assert (from_hot["delivered"] > 20).sum() > 5
    assert from_hot["got_fetched"].sum() > 0
    assert from_hot["strangers"].sum() > 0


@pytest.mark.parametrize("keys", [KEYS, GOING])
def test_hot_hosts_may_be_peers_of_identities_of_any_shard(keys: dict[str, Any]) -> None:
    directory = directory_of(COUNT, HOT)
    arguments = (Scenario(section_of(COUNT, **keys), directory, 3, STOP), three_nodes(0.05))
    engine = ColdEngine(*arguments)
    whole = run_beside(engine, hosts_of(engine, 3), END, by_time=True)
    results = merge([engine.partial_results()])
    for shards in (2, 5):
        divided = DividedTail(*arguments, odd_cuts(directory, shards))
        assert run_beside(divided, hosts_of(engine, 3), END, by_time=True) == whole
        assert divided.counters() == engine.counters()
        assert divided.arrival_digest() == engine.arrival_digest()
        assert transaction_table(divided.results()).tolist() == transaction_table(results).tolist()


def harness_of(**rules: Any) -> Harness:
    """Transactions that are all but none, unless a test says of others; two hosts are peers of identities 2 and 3."""
    wanted = {"listed": [{"time": "50 s", "size": 90}], "degree": 6} | rules
    return Harness(transactions=wanted)


def of_kind(received: list[Received], kind: int) -> list[Received]:
    return [each for each in received if each.kind == kind]


def test_a_greeting_is_answered_and_brings_the_pool() -> None:
    harness = harness_of(listed=[{"time": "1 s", "size": 90, "origin": 0}, {"time": "1 s", "size": 9000, "origin": 0}])
    harness.send(2 * NS_PER_S, HOT, greeting())
    answer, pool = harness.run(3 * NS_PER_S)
    assert (answer.kind, answer.count) == (GREETING, 1)
    assert (pool.kind, pool.count) == (ANNOUNCEMENT, 2)
    assert [read_hash(pool.body[at : at + 32]) for at in (0, 32)] == [
        Told(HOT, 1, NS_PER_S, 90, 0),
        Told(HOT, 2, NS_PER_S, 9000, 0),
    ]
    told = read_hash(pool.body[32:])
    harness.send(3 * NS_PER_S, HOT, ask(2047, told))
    (got,) = harness.run(4 * NS_PER_S)
    assert datagram(POOLED, got.body, got.count, 0) == carried(POOLED, told, 2047, 0)[0]


def test_what_a_hot_host_pushes_spreads_and_comes_to_its_other_peers() -> None:
    harness = harness_of()
    harness.send(NS_PER_S, 2, greeting())
    harness.send(NS_PER_S, 9, greeting(), source=1)
    harness.run(2 * NS_PER_S)
    told = Told(0, 1, 2 * NS_PER_S, 300, 0)
    harness.send(2 * NS_PER_S + NS_PER_MS, 2, carried(TRANSACTION, told)[0])
    received = harness.run(4 * NS_PER_S)
    assert {(each.source, each.destination) for each in received} == {(9, 1)}
    (row,) = [row for row in transaction_table(merge([harness.engine.partial_results()])) if row["origin"] == 0]
    assert (row["number"], row["time_ns"], row["size"], row["delivered"]) == (1, told.time, 300, COUNT)
    # Not before any path lets it: over two identities at least, and then to the host.
    assert received[0].time > told.time + 5 * NS_PER_MS


def test_what_is_announced_is_asked_for_and_spreads_when_it_comes() -> None:
    harness = harness_of(fetch_delay="100 ms", fetch_timeout="1 s")
    harness.send(NS_PER_S, 2, greeting())
    told = Told(0, 7, NS_PER_S, 130_000, 1)
    harness.send(NS_PER_S + NS_PER_MS, 2, announcement(told))
    _, first = harness.run(2 * NS_PER_S)
    assert (first.kind, first.body) == (ASK, struct.pack(">H", 1) + hash_of(told))
    assert NS_PER_S + 103 * NS_PER_MS < first.time < NS_PER_S + 104 * NS_PER_MS
    harness.send(2 * NS_PER_S, 2, without(told, 1))
    harness.send(2 * NS_PER_S + 1, 2, announcement(told))
    (second,) = harness.run(3 * NS_PER_S)
    assert int.from_bytes(second.body[:2]) == 2 + 1
    for number, part in enumerate(carried(POOLED, told, 3)):
        harness.send(3 * NS_PER_S + number, 2, part)
    harness.run(7 * NS_PER_S)
    (row,) = [row for row in transaction_table(merge([harness.engine.partial_results()])) if row["origin"] == 0]
    assert (row["delivered"], row["pushed"], row["unserved"]) == (COUNT, 0, 0)


def test_there_are_no_more_hot_peers_than_configured_and_one_that_leaves_makes_room() -> None:
    harness = harness_of(hot_peers=1)
    harness.send(NS_PER_S, 2, greeting())
    harness.send(NS_PER_S + 1, 2, greeting(), source=1)
    first, second = harness.run(2 * NS_PER_S)
    assert {(each.destination, each.count) for each in (first, second)} == {(0, 1), (1, 2)}
    # A stranger has no say.
    told = Told(1, 1, 2 * NS_PER_S, 300, 0)
    harness.send(2 * NS_PER_S, 2, carried(TRANSACTION, told)[0], source=1)
    harness.run(3 * NS_PER_S)
    harness.send(3 * NS_PER_S, 2, greeting(2))
    harness.send(3 * NS_PER_S + 1, 2, greeting(), source=1)
    (third,) = harness.run(4 * NS_PER_S)
    assert (third.destination, third.count) == (1, 1)
    (row,) = [row for row in transaction_table(merge([harness.engine.partial_results()])) if row["origin"] == 1]
    assert (row["strangers"], row["delivered"]) == (1, 0)


def test_bad_datagrams_about_transactions_are_dropped_and_counted() -> None:
    harness = harness_of()
    told = Told(0, 1, NS_PER_S, 300, 0)
    good, many = carried(TRANSACTION, told)[0], Told(0, 2, NS_PER_S, 130_000, 0)
    harness.send(NS_PER_S, 2, greeting())
    bad: dict[str, list[bytes]] = {
        "bad_header": [datagram(16, b"", 0, 0), datagram(GREETING, b"", 0, 1)],
        "bad_length": [
            greeting(3),
            datagram(GREETING, b"x", 0, 0),
            good[:-1],
            good + b"x",
            datagram(TRANSACTION, good[8:], 0, 0),
            datagram(TRANSACTION, good[8:], 2, 0),
            datagram(TRANSACTION, b"", 1, 0),
            # Parts that do not add up.
            good[:46] + b"\0\2" + good[48:],
            good[:44] + b"\0\1" + good[46:],
            datagram(ANNOUNCEMENT, b"", 0, 0),
            datagram(ANNOUNCEMENT, hash_of(told) * 257, 257, 0),
            announcement(told)[:-1],
            ask(2048, told),
            ask(1, told) + b"x",
            datagram(ASK, b"", 0, 0),
            without(told, 2048),
        ],
        "bad_transaction": [
            good[:-1] + bytes([good[-1] ^ 1]),
            announcement(told._replace(size=0)),
            announcement(told._replace(size=128 * 1024 + 1)),
            announcement(told._replace(size=4 * 2**20 + 1, blobs=1)),
            announcement(told._replace(sequence=0)),
            announcement(told._replace(sequence=2**31)),
            announcement(told)[:28] + b"\4" + announcement(told)[29:],
            announcement(told)[:-1] + b"\1",
            announcement(told)[:8] + b"\1\2\3\4" + announcement(told)[12:],
        ],
        "stale_transaction": [announcement(told._replace(time=3 * NS_PER_S))],
        "unknown_transaction": [announcement(Told(HOT + 1, 1, NS_PER_S, 90, 0))],
        "pushed_blobs": [carried(TRANSACTION, told._replace(blobs=1))[0]],
        "missing_part": [carried(TRANSACTION, many)[1], *carried(TRANSACTION, many)[::2]],
    }
    time = NS_PER_S + NS_PER_MS
    for datagrams in bad.values():
        for data in datagrams:
            time += 1
            harness.send(time, 2, data)
    harness.run(2 * NS_PER_S)
    lengths = {name: len(datagrams) for name, datagrams in bad.items()}
    # The first of the three parts is good.
    assert harness.dropped() == lengths | {"missing_part": 2}
    assert not of_kind(harness.received, ASK)
    harness.send(2 * NS_PER_S, 2, good)
    harness.run(3 * NS_PER_S)
    table = transaction_table(merge([harness.engine.partial_results()]))
    assert table["delivered"][table["size"] == 300].tolist() == [COUNT]


def test_a_tail_without_transactions_has_no_execution_peers() -> None:
    harness = Harness()
    harness.send(NS_PER_S, HOT, greeting())
    harness.send(NS_PER_S + 1, HOT, datagram(HELLO))
    (answer,) = harness.run(2 * NS_PER_S)
    assert answer.kind == HELLO
    assert harness.dropped() == {"no_transactions": 1}


def test_a_host_that_means_two_transactions_by_one_hash_is_named() -> None:
    harness = harness_of()
    transactions: Any = harness.engine._transactions
    told = Told(0, 1, NS_PER_S, 300, 0)
    other = next(
        each
        for size in range(301, 100_000)
        if transactions.number_of(each := told._replace(size=size)) == transactions.number_of(told)
    )
    harness.send(NS_PER_S, 2, announcement(told))
    with pytest.raises(UserError, match="host 'hot0' has told of two transactions 1"):
        harness.send(NS_PER_S + 1, 2, announcement(other))


def test_slots_of_hot_transactions_are_used_again_and_none_is_lost() -> None:
    harness = harness_of(lifetime="1 s", announce_interval="200 ms")
    harness.send(NS_PER_S, 2, greeting())
    for number in range(60):
        told = Told(0, number + 1, NS_PER_S + number * 200 * NS_PER_MS, 300, 0)
        harness.run(told.time + NS_PER_MS)
        harness.send(told.time + NS_PER_MS, 2, carried(TRANSACTION, told)[0])
    harness.run(20 * NS_PER_S)
    table = transaction_table(merge([harness.engine.partial_results()]))
    assert table["delivered"][table["origin"] == 0].tolist() == [COUNT] * 60
    assert harness.engine._state.mempool.shape[1] <= 17


def test_the_datagrams_of_the_documents_are_these() -> None:
    """Those of docs/gossip-datagram.md."""
    told = Told(0, 1, 5 * NS_PER_S, 4, 0)
    fields = hash_of(told)
    assert ADDRESS[0] == 0x0B000001
    assert fields.hex(" ") == (
        "0b 00 00 01 00 00 00 01 0d 23 4c d0 7c 48 f2 00 00 00 00 04 02 00 00 00 00 00 00 00 00 00 00 00"
    )
    head = "41 47 01 {:02x} 00 00 00 {:02x} "
    tail = " 00 {:02x} 00 {:02x} 00 00 00 01 00 00 00 04 ce ce ce ce"
    (pushed,), (pooled,) = carried(TRANSACTION, told, 0, 3), carried(POOLED, told, 7, 2)
    assert pushed.hex(" ") == head.format(11, 1) + fields.hex(" ") + tail.format(0, 3)
    assert pooled.hex(" ") == head.format(14, 1) + fields.hex(" ") + tail.format(7, 2)
    assert announcement(told).hex(" ") == head.format(12, 1) + fields.hex(" ")
    assert ask(7, told).hex(" ") == head.format(13, 1) + "00 07 " + fields.hex(" ")
    assert greeting().hex(" ") == head.format(15, 0).strip()
