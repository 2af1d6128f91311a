"""Requests between hot hosts and identities: every packet is what the slow twin says."""

import random
import struct
from operator import attrgetter
from typing import Any

import numpy as np
import pytest

from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.scenario import Scenario
from tests.cold.divided import DividedTail, odd_cuts
from tests.cold.hot_hosts import run_beside
from tests.cold.networks import STOP, directory_of, engine_of, publication, section_of, three_nodes
from tests.cold.requests_twin import Part, RequestsTwin
from tests.cold.test_boundary import (
    ADDRESS,
    COUNT,
    HELLO,
    HOT,
    LEAVE,
    Harness,
    Received,
    datagram,
    payload_of,
)
from tests.cold.test_requests import agree

REQUEST, RESPONSE = 9, 10
END = 6 * NS_PER_S
KEYS: dict[str, Any] = {
    "overlay": {"degree": 4},
    "publications": [publication(count=10, interval="400 ms")],
    "requests": [
        {
            "name": "ping",
            "interval": "400 ms",
            "size": 8,
            "chunk_size": 8,
            "timeout": "300 ms",
            "retries": 1,
            "limit": {"tokens": 9, "period": "3 s"},
        },
        {
            "name": "blocks",
            "interval": {"kind": "exponential", "mean": "700 ms"},
            "size": [10, 90],
            "chunks": [0, 4],
            "chunk_size": ["1 KB", "70 KB"],
            "service": ["0 ms", "9 ms"],
            "timeout": "900 ms",
        },
    ],
}


def request_datagram(protocol: int, number: int, chunks: int, attempt: int = 0, size: int = 0) -> bytes:
    return datagram(REQUEST, struct.pack(">IBH", number, attempt, size) + bytes(size), chunks, protocol)


def response_datagram(part: Part) -> bytes:
    refused = part.chunks is None
    head = struct.pack(">IBBHHI", part.number, part.attempt, int(refused), part.part, part.parts, part.size)
    return datagram(RESPONSE, head + bytes(part.size), part.chunks or 0, part.protocol)


class Hosts:
    """Hot hosts that greet identities, ask them, and answer them, not always as they should."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        #: Time, source, event, destination, name in the twin, item, datagram.
        self.said: list[tuple[int, int, int, int, str, tuple[Any, ...], bytes]] = []
        self.events = 0
        for time in sorted(self.draw.sample(range(NS_PER_MS, END), 250)):
            source, destination = self.draw.randrange(HOT), self.draw.randrange(HOT, HOT + COUNT)
            name = self.draw.choice(["hello"] * 4 + ["leave", "request", "request"])
            if name == "request":
                protocol, chunks, attempt = self.draw.randrange(2), self.draw.randrange(6), self.draw.randrange(16)
                item = (protocol, len(self.said) % 40, attempt, chunks)
                data = request_datagram(protocol, item[1], chunks, attempt, self.draw.randrange(100))
                self.say(time, source, destination, name, item, data)
            else:
                self.say(time, source, destination, name, (0,), datagram(HELLO if name == "hello" else LEAVE))

    def say(self, time: int, source: int, destination: int, name: str, item: tuple[Any, ...], data: bytes) -> None:
        self.events += 1
        self.said.append((time, source, self.events, destination, name, item, data))

    def hear(self, packets: list[Received]) -> None:
        for each in packets:
            if each.kind != REQUEST:
                continue
            number, attempt, _ = struct.unpack_from(">IBH", each.body)
            parts, size = self.draw.choice([(1, 0), (1, 300), (1, 60_000), (3, 9000)])
            chunks = None if self.draw.random() < 0.1 and parts == 1 else each.count
            time = each.time + self.draw.randrange(5 * NS_PER_MS, 250 * NS_PER_MS)
            for number_of_part in range(parts):
                if self.draw.random() < 0.1:
                    continue
                time += self.draw.randrange(0, 2 * NS_PER_MS)
                right = attempt if self.draw.random() < 0.9 else attempt ^ 1
                part = Part(each.topic, number, right, chunks, number_of_part, parts, size)
                self.say(time, each.destination, each.source, "part", tuple(part), response_datagram(part))


def expected(twin: RequestsTwin) -> list[Received]:
    """What the twin sent of requests to hot hosts, as it looks on the wire."""
    result = []
    for time, source, counter, peer, name, items in twin.out:
        if name == "request":
            protocol, number, attempt, chunks, size = items[0]
            body = struct.pack(">IBH", number, attempt, size) + bytes(size)
            result.append(Received(time, source, counter, peer, REQUEST, protocol, chunks, body))
        elif name == "response":
            part = Part(*items[0])
            head = struct.pack(
                ">IBBHHI", part.number, part.attempt, int(part.chunks is None), part.part, part.parts, part.size
            )
            whole = payload_of(ADDRESS[peer] << 32 | part.number, part.part * 60_000 + part.size)
            body = head + whole[part.part * 60_000 :]
            result.append(Received(time, source, counter, peer, RESPONSE, part.protocol, part.chunks or 0, body))
    return result


@pytest.mark.parametrize(("seed", "loss"), [(1, 0.0), (2, 0.1)])
def test_the_kernels_agree_with_the_twin_about_hot_hosts(seed: int, loss: float) -> None:
    arguments = (Scenario(section_of(COUNT, **KEYS), directory_of(COUNT, HOT), seed, STOP), three_nodes(loss))
    hosts, engine, twin = Hosts(seed), ColdEngine(*arguments), RequestsTwin(*arguments)
    received = [each for each in run_beside(engine, hosts, END) if each.kind in (REQUEST, RESPONSE)]
    for time, source, event, destination, name, item, _ in hosts.said:
        twin.deliver(time, source, event, destination, name, [item])
    twin.run(END)

    agree(twin, engine)
    order = attrgetter("time", "source", "event")
    assert sorted(received, key=order) == sorted(expected(twin), key=order)
    assert sum(each.kind == REQUEST for each in received) > 50
    assert sum(each.kind == RESPONSE for each in received) > 50
    assert all(counts["late"] and counts["answered"] and counts["timeouts"] for counts in twin.counts)
    assert twin.counts[0]["refused"]


def test_hot_hosts_may_ask_identities_of_any_shard() -> None:
    directory = directory_of(COUNT, HOT)
    arguments = (Scenario(section_of(COUNT, **KEYS), directory, 3, STOP), three_nodes(0.1))
    engine = ColdEngine(*arguments)
    # Shards hand over what their windows have brought one after the other.
    order = attrgetter("time", "source", "event")
    whole = sorted(run_beside(engine, Hosts(3), END), key=order)
    for shards in (2, 5):
        divided = DividedTail(*arguments, odd_cuts(directory, shards))
        assert sorted(run_beside(divided, Hosts(3), END), key=order) == whole
        assert divided.counters() == engine.counters()
        assert np.array_equal(divided.results().requests, engine.partial_results().requests)


def test_a_response_too_large_for_a_thousand_datagrams_is_cut_at_a_chunk() -> None:
    ask = {"name": "blocks", "interval": "1000 s", "chunks": 1, "chunk_size": "9 MiB"}
    harness = Harness(requests=[ask])
    harness.send(NS_PER_S, HOT + 3, request_datagram(0, 9, 1024))
    parts = [each for each in harness.run(120 * NS_PER_S) if each.kind == RESPONSE]
    assert {each.count for each in parts} == {6}
    assert len(parts) == -(-6 * 9 * 2**20 // 60_000)
    assert sum(len(each.body) - 14 for each in parts) == 6 * 9 * 2**20


def test_requests_that_nothing_is_known_of_are_dropped_and_counted() -> None:
    harness = Harness(requests=KEYS["requests"])
    good = request_datagram(1, 3, 2, 1, 5)
    bad = [
        request_datagram(2, 1, 1),
        request_datagram(0, 1, 1025),
        request_datagram(0, 1, 1, attempt=16),
        good[:-1],
        good + b"x",
        datagram(REQUEST, b"", 1, 0),
        datagram(RESPONSE, struct.pack(">IBBHHI", 1, 0, 0, 1, 1, 0), 1, 0),
        datagram(RESPONSE, struct.pack(">IBBHHI", 1, 0, 0, 0, 1, 1), 1, 0),
        datagram(RESPONSE, struct.pack(">IBBHHI", 1, 0, 0, 0, 1, 60_001) + bytes(60_001), 1, 0),
        datagram(RESPONSE, b"", 1, 0),
    ]
    for number, data in enumerate(bad):
        harness.send(NS_PER_S + number, HOT + 3, data)
    harness.send(2 * NS_PER_S, HOT + 3, good)
    parts = [each for each in harness.run(3 * NS_PER_S) if each.kind == RESPONSE]
    assert {struct.unpack_from(">IB", part.body) for part in parts} == {(3, 1)}
    boundary = harness.engine.statistics()["boundary"]
    assert isinstance(boundary, dict)
    assert boundary["dropped"] == {"bad_length": 9, "unknown_protocol": 1}


def test_a_tail_without_protocols_knows_no_requests() -> None:
    harness = Harness()
    harness.send(NS_PER_S, HOT, request_datagram(0, 1, 1))
    assert not [each for each in harness.run(2 * NS_PER_S) if each.kind == RESPONSE]
    boundary = harness.engine.statistics()["boundary"]
    assert isinstance(boundary, dict)
    assert boundary["dropped"] == {"unknown_protocol": 1}


def test_room_is_made_for_many_open_requests() -> None:
    """More than the lists have at first, at one identity."""
    ask = {"name": "ping", "interval": "5 ms", "chunk_size": 8, "timeout": "60 s"}
    engine = engine_of(4, loss=0.999, requests=[ask])
    engine.run_until(2 * NS_PER_S)
    counts = engine.partial_results().requests[0]
    assert counts[0] == pytest.approx(1600, abs=10)
    assert counts[1] == counts[0]
