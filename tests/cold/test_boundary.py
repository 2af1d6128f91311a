"""Hand-made packets in, packets out: what a hot host sees of an identity."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.batch import EventBatch, pack_payloads
from bridge.simtime import EPOCH, NEVER, NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from tests.cold.networks import directory_of, engine_of, publication

HELLO, LEAVE, GRAFT, PRUNE, IHAVE, IWANT, MESSAGE, IDONTWANT = range(1, 9)
HOT = 2
COUNT = 40
EPOCH_NS = EPOCH * NS_PER_S
DIRECTORY = directory_of(COUNT, HOT)
ADDRESS = DIRECTORY.address.tolist()
ADDRESS6 = [DIRECTORY.address6_of(host).to_bytes(16, "big") for host in range(HOT + COUNT)]


def payload_of(message_id: int, size: int) -> bytes:
    return bytes(((message_id * 0x9E3779B97F4A7C15 + i) >> 32) & 0xFF for i in range(size))


def packet(source: int, destination: int, data: bytes, source_port: int = 9000, destination_port: int = 9000) -> bytes:
    total = 28 + len(data)
    header = struct.pack(">BBHHHBBH", 0x45, 0, total, 0, 0, 64, 17, 0)
    addresses = struct.pack(">II", ADDRESS[source], ADDRESS[destination])
    return header + addresses + struct.pack(">HHHH", source_port, destination_port, 8 + len(data), 0) + data


def packet6(source: int, destination: int, data: bytes, source_port: int = 9000, destination_port: int = 9000) -> bytes:
    header = struct.pack(">IHBB", 6 << 28, 8 + len(data), 17, 64) + ADDRESS6[source] + ADDRESS6[destination]
    return header + struct.pack(">HHHH", source_port, destination_port, 8 + len(data), 0) + data


def datagram(kind: int, body: bytes = b"", count: int = 0, topic: int = 1) -> bytes:
    return struct.pack(">HBBHH", 0x4147, 1, kind, topic, count) + body


def ids_datagram(kind: int, *ids: int) -> bytes:
    return datagram(kind, struct.pack(f">{len(ids)}Q", *ids), len(ids))


def message_datagram(
    message_id: int, origin: int, publish_time: int, hops: int = 0, payload: bytes | None = None
) -> bytes:
    data = payload_of(message_id, 100) if payload is None else payload
    head = struct.pack(">QIQHI", message_id, ADDRESS[origin], EPOCH_NS + publish_time, hops, len(data))
    return datagram(MESSAGE, head + data, 1)


@dataclass(frozen=True)
class Received:
    """One packet for a hot host, taken apart."""

    time: int
    source: int
    event: int
    destination: int
    kind: int
    topic: int
    count: int
    body: bytes
    version: int = 4


def read(batch: EventBatch) -> list[Received]:
    result = []
    for row in range(len(batch)):
        data = batch.payload_of(row)
        source, destination = int(batch.source[row]), int(batch.destination[row])
        ip_version, header = data[0] >> 4, 40 if data[0] >> 4 == 6 else 20
        if ip_version == 6:
            assert data[:8] == struct.pack(">IHBB", 6 << 28, len(data) - header, 17, 64)
            assert (data[8:24], data[24:40]) == (ADDRESS6[source], ADDRESS6[destination])
        else:
            assert (data[0], int.from_bytes(data[2:4]), data[9]) == (0x45, len(data), 17)
            words = sum(struct.unpack(">10H", data[:20]))
            assert (words & 0xFFFF) + (words >> 16) in (0xFFFF, 0x1FFFE)
            assert struct.unpack(">II", data[12:20]) == (ADDRESS[source], ADDRESS[destination])
        assert struct.unpack(">HHHH", data[header : header + 8]) == (9000, 9000, len(data) - header, 0)
        data = data[header + 8 :]
        magic, version, kind, topic, count = struct.unpack(">HBBHH", data[:8])
        assert (magic, version) == (0x4147, 1)
        time, event = int(batch.deliver_time[row]), int(batch.source_event[row])
        result.append(Received(time, source, event, destination, kind, topic, count, data[8:], ip_version))
    return result


class Harness:
    """An engine with two hot hosts, and what it sent to them."""

    def __init__(self, **keys: Any) -> None:
        self.engine: ColdEngine = engine_of(COUNT, hot=HOT, **keys)
        self.events = 0
        self.received: list[Received] = []

    def send(self, time: int, destination: int, data: bytes, source: int = 0, **ports: int) -> None:
        self.deliver(time, destination, packet(source, destination, data, **ports), source)

    def deliver(self, time: int, destination: int, raw: bytes, source: int = 0) -> None:
        offset, payload = pack_payloads([raw])
        self.events += 1
        self.engine.deliver(
            EventBatch.build([time], [source], [self.events], [destination], payload_offset=offset, payload=payload)
        )

    def run(self, end: int) -> list[Received]:
        """Run by windows; returns what came out in this call."""
        new: list[Received] = []
        while (start := self.engine.next_event_time()) < end:
            window_end = min(start + 2 * NS_PER_MS, end)
            batch = self.engine.run_until(window_end)
            assert (batch.deliver_time >= window_end).all()
            new += read(batch)
        self.engine.run_until(end)
        self.received += new
        return new

    def dropped(self) -> dict[str, int]:
        boundary: Any = self.engine.statistics()["boundary"]
        dropped: dict[str, int] = boundary["dropped"]
        return dropped


def of_kind(received: list[Received], kind: int) -> list[Received]:
    return [packet for packet in received if packet.kind == kind]


def test_hello_is_answered_once_after_the_latency_of_the_path() -> None:
    harness = Harness()
    harness.send(NS_PER_S, 2, datagram(HELLO))
    (answer,) = harness.run(2 * NS_PER_S)
    assert (answer.kind, answer.topic, answer.count, answer.body) == (HELLO, 1, 0, b"")
    assert (answer.source, answer.destination, answer.event) == (2, 0, 0)
    assert NS_PER_S + 2 * NS_PER_MS < answer.time < NS_PER_S + 3 * NS_PER_MS
    harness.send(3 * NS_PER_S, 2, datagram(HELLO))
    assert harness.run(4 * NS_PER_S) == []


def test_a_graft_is_accepted_while_there_is_room_and_answered_by_prune_when_there_is_none() -> None:
    harness = Harness(gossip={"d": 8, "d_low": 6, "d_high": 8})
    harness.send(NS_PER_S, 2, datagram(GRAFT))
    (answer,) = harness.run(2 * NS_PER_S)
    assert (answer.kind, answer.count, answer.body) == (PRUNE, 0, struct.pack(">I", 60_000))
    roomy = Harness()
    before = roomy.engine.meshes()[0]
    roomy.send(NS_PER_S, 2, datagram(GRAFT))
    assert roomy.run(2 * NS_PER_S) == []
    assert roomy.engine.meshes()[0] == [*before, 0]


def test_a_pruning_peer_leaves_the_mesh_and_its_backoff_is_kept() -> None:
    harness = Harness(gossip={"prune_backoff": "7 s"})
    harness.send(NS_PER_S, 2, datagram(GRAFT))
    harness.send(2 * NS_PER_S, 2, datagram(PRUNE, struct.pack(">I", 5000)))
    assert harness.run(3 * NS_PER_S) == []
    assert 0 not in harness.engine.meshes()[0]
    harness.send(6 * NS_PER_S, 2, datagram(GRAFT))
    (answer,) = harness.run(7 * NS_PER_S)
    assert (answer.kind, answer.body) == (PRUNE, struct.pack(">I", 7000))
    harness.send(8 * NS_PER_S, 2, datagram(GRAFT))
    assert harness.run(9 * NS_PER_S) == []
    assert 0 in harness.engine.meshes()[0]


def test_an_identity_below_d_low_grafts_a_hot_peer() -> None:
    """With three identities, everybody's mesh lacks members until hot hosts come."""
    engine = engine_of(3, hot=HOT, gossip={"d": 8, "d_low": 6})
    offset, payload = pack_payloads([packet(0, 2, datagram(HELLO))])
    engine.deliver(EventBatch.build([NS_PER_S], [0], [1], [2], payload_offset=offset, payload=payload))
    received = read(engine.run_until(3 * NS_PER_S))
    assert [answer.kind for answer in received] == [HELLO, GRAFT]
    assert engine.meshes()[0][-1] == 0


def test_a_message_of_a_hot_host_spreads_through_the_tail() -> None:
    harness = Harness()
    message_id = ADDRESS[0] << 32 | 1
    harness.send(NS_PER_S, 2, message_datagram(message_id, 0, NS_PER_S - 5 * NS_PER_MS))
    harness.run(5 * NS_PER_S)
    (row,) = harness.engine.message_table()
    assert (row["id"], row["origin"], row["delivered"], row["topic"]) == (message_id, 0, COUNT, 1)
    assert row["publish_time_ns"] == NS_PER_S - 5 * NS_PER_MS


def test_a_copy_from_a_hot_host_is_a_duplicate_where_the_message_is_known() -> None:
    harness = Harness()
    data = message_datagram(ADDRESS[0] << 32 | 1, 0, NS_PER_S)
    harness.send(NS_PER_S, 2, data)
    harness.run(3 * NS_PER_S)
    duplicates = harness.engine.counters()["duplicates"]
    harness.send(4 * NS_PER_S, 2, data)
    harness.run(5 * NS_PER_S)
    assert harness.engine.counters()["duplicates"] == duplicates + 1


@pytest.mark.parametrize("payload", [None, b"not what the id stands for", b""])
def test_mesh_members_get_messages_with_their_own_bytes(payload: bytes | None) -> None:
    harness = Harness(gossip={"validation_delay": "3 ms"})
    message_id = ADDRESS[1] << 32 | 9
    harness.send(NS_PER_S, 2, datagram(GRAFT), source=0)
    harness.send(2 * NS_PER_S, 2, message_datagram(message_id, 1, 2 * NS_PER_S, hops=4, payload=payload), source=1)
    (copy,) = of_kind(harness.run(2 * NS_PER_S + 50 * NS_PER_MS), MESSAGE)
    expected = payload_of(message_id, 100) if payload is None else payload
    assert copy.destination == 0
    assert copy.body == (
        struct.pack(">QIQHI", message_id, ADDRESS[1], EPOCH_NS + 2 * NS_PER_S, 5, len(expected)) + expected
    )
    assert copy.time >= 2 * NS_PER_S + 5 * NS_PER_MS


def test_flood_publish_reaches_hot_peers_outside_the_mesh() -> None:
    harness = Harness(publications=[publication(time="3 s", origin=0, size=50)])
    harness.send(NS_PER_S, 2, datagram(HELLO))
    copies = of_kind(harness.run(3 * NS_PER_S + 100 * NS_PER_MS), MESSAGE)
    message_id = ADDRESS[2] << 32 | 1
    (copy,) = copies
    assert copy.body == (
        struct.pack(">QIQHI", message_id, ADDRESS[2], EPOCH_NS + 3 * NS_PER_S, 0, 50) + payload_of(message_id, 50)
    )


def test_a_hot_peer_is_told_by_ihave_and_served_by_iwant() -> None:
    harness = Harness(gossip={"d_lazy": 64}, publications=[publication(time="3 s", origin=5, size=64)])
    harness.send(NS_PER_S, 2, datagram(HELLO))
    message_id = ADDRESS[2 + 5] << 32 | 1
    told = of_kind(harness.run(6 * NS_PER_S), IHAVE)
    assert len(told) == 3
    assert {(packet.count, packet.body) for packet in told} == {(1, struct.pack(">Q", message_id))}
    harness.send(6 * NS_PER_S, 2, ids_datagram(IWANT, message_id, message_id, 12345))
    (copy,) = of_kind(harness.run(7 * NS_PER_S), MESSAGE)
    assert copy.body[:8] == struct.pack(">Q", message_id)
    assert copy.body[26:] == payload_of(message_id, 64)
    assert copy.body[20:22] != b"\0\0"
    harness.send(30 * NS_PER_S, 2, ids_datagram(IWANT, message_id))
    assert of_kind(harness.run(31 * NS_PER_S), MESSAGE) == []
    assert harness.engine.counters()["iwant_unserved"] == 2


def test_mesh_members_are_told_of_a_large_message_before_it_is_valid_and_not_sent_what_they_refuse() -> None:
    harness = Harness(gossip={"idontwant_size": 300, "validation_delay": "100 ms"})
    large, small = message_datagram(7, 0, NS_PER_S, payload=bytes(300)), message_datagram(8, 0, NS_PER_S)
    for hot in (0, 1):
        harness.send(NS_PER_S // 2, 2, datagram(GRAFT), source=hot)
    harness.send(NS_PER_S, 2, large)
    harness.send(NS_PER_S, 2, small)
    told = harness.run(NS_PER_S + 50 * NS_PER_MS)
    assert [(each.source, each.destination, each.kind, each.topic, each.count, each.body) for each in told] == [
        (2, 1, IDONTWANT, 1, 1, struct.pack(">Q", 7))
    ]
    harness.send(NS_PER_S + 60 * NS_PER_MS, 2, ids_datagram(IDONTWANT, 7, 99), source=1)
    copies = of_kind(harness.run(2 * NS_PER_S), MESSAGE)
    assert [(each.source, each.destination, each.body[:8]) for each in copies] == [(2, 1, struct.pack(">Q", 8))]
    assert harness.engine.counters()["copies_spared"] >= 1


def test_unseen_ids_of_an_ihave_are_asked_for_once_per_heartbeat_interval() -> None:
    harness = Harness(gossip={"heartbeat": "10 s", "seen_ttl": "120 s"})
    ids = [ADDRESS[0] << 32 | number for number in (3, 1, 2)]
    harness.send(NS_PER_S, 2, ids_datagram(IHAVE, *ids))
    harness.send(NS_PER_S + 1, 2, ids_datagram(IHAVE, *ids))
    (request,) = harness.run(1_010_000_000)
    assert (request.kind, request.count, request.body) == (IWANT, 3, struct.pack(">3Q", *sorted(ids)))
    harness.send(12 * NS_PER_S, 2, ids_datagram(IHAVE, *ids))
    assert len(harness.run(13 * NS_PER_S)) == 1
    assert len(harness.engine.message_table()) == 0


def test_ids_on_topics_that_an_identity_lacks_are_asked_for_once_per_interval_too() -> None:
    """Also when all who subscribe have the message, and however many others have come since."""
    halves = {"name": "halves", "first": 2, "count": 2, "share": 0.5}
    keys: dict[str, Any] = {"topics": [1, halves], "gossip": {"heartbeat": "400 s", "seen_ttl": "4000 s"}}
    published = [publication(topic=topic, time="500 ms", origin=0) for topic in (2, 3)]
    later = publication(topic=1, time="2 s", count=600, interval="1 ms", origin=0)
    harness = Harness(**keys, publications=[*published, later])
    ids = [ADDRESS[HOT] << 32 | number for number in (1, 2)]
    has = harness.engine.mesh_degrees()[1:] > 0
    # Of either topic: whoever lacks it, and has the other.
    for lacked, other in ((0, 1), (1, 0)):
        identity = int(np.flatnonzero(~has[lacked] & has[other])[0])
        for time in (NS_PER_S, NS_PER_S + 1, 3 * NS_PER_S):
            harness.send(time, HOT + identity, ids_datagram(IHAVE, ids[lacked]), source=time & 1)
    asked = of_kind(harness.run(4 * NS_PER_S), IWANT)
    assert sorted(each.body for each in asked) == sorted(struct.pack(">Q", number) for number in ids)
    assert harness.engine.counters()["iwant_sent"] == 2
    for _ in range(2):
        harness.send(500 * NS_PER_S, HOT + identity, ids_datagram(IHAVE, ids[1]))
    assert len(of_kind(harness.run(501 * NS_PER_S), IWANT)) == 1


def test_a_peer_that_left_gets_nothing_more() -> None:
    harness = Harness(publications=[publication(time="3 s", origin=0)])
    harness.send(NS_PER_S, 2, datagram(GRAFT))
    harness.send(2 * NS_PER_S, 2, datagram(LEAVE))
    assert harness.run(20 * NS_PER_S) == []


def broken(change: Callable[[bytearray], object]) -> bytes:
    data = bytearray(packet(0, 2, datagram(HELLO)))
    change(data)
    return bytes(data)


OLD_MESSAGE = message_datagram(7, 0, -200 * NS_PER_S)
FUTURE_MESSAGE = message_datagram(7, 0, 2 * NS_PER_S)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "bad_packet"),
        (b"\x60" + bytes(47), "bad_packet"),
        (b"\x60" + bytes(38), "bad_packet"),
        (packet6(0, 2, datagram(HELLO))[:-1], "bad_packet"),
        (packet6(0, 2, datagram(HELLO))[:6] + b"\x06" + packet6(0, 2, datagram(HELLO))[7:], "bad_packet"),
        (packet6(1, 2, datagram(HELLO)), "wrong_address"),
        (packet6(0, 3, datagram(HELLO)), "wrong_address"),
        (packet6(0, 2, datagram(HELLO), destination_port=53), "wrong_port"),
        (packet6(0, 2, b"AG\x01\x01"), "bad_header"),
        (packet6(0, 2, datagram(HELLO, b"x")), "bad_length"),
        (packet(0, 2, datagram(HELLO))[:27], "bad_packet"),
        (broken(lambda data: data.__setitem__(0, 0x46)), "bad_packet"),
        (broken(lambda data: data.__setitem__(9, 6)), "bad_packet"),
        (broken(lambda data: data.append(0)), "bad_packet"),
        (broken(lambda data: data.__setitem__(25, 99)), "bad_packet"),
        (broken(lambda data: data.__setitem__(15, 99)), "wrong_address"),
        (broken(lambda data: data.__setitem__(19, 99)), "wrong_address"),
        (packet(0, 2, datagram(HELLO), destination_port=53), "wrong_port"),
        (packet(0, 2, b"AG\x01\x01"), "bad_header"),
        (packet(0, 2, b"AH" + datagram(HELLO)[2:]), "bad_header"),
        (packet(0, 2, b"AG\x02" + datagram(HELLO)[3:]), "bad_header"),
        (packet(0, 2, datagram(0)), "bad_header"),
        (packet(0, 2, datagram(11)), "bad_header"),
        (packet(0, 2, datagram(HELLO, b"x")), "bad_length"),
        (packet(0, 2, datagram(HELLO, count=1)), "bad_length"),
        (packet(0, 2, datagram(PRUNE)), "bad_length"),
        (packet(0, 2, datagram(IHAVE)), "bad_length"),
        (packet(0, 2, datagram(IHAVE, bytes(8 * 129), 129)), "bad_length"),
        (packet(0, 2, datagram(IWANT, bytes(15), 2)), "bad_length"),
        (packet(0, 2, datagram(MESSAGE, bytes(25), 1)), "bad_length"),
        (packet(0, 2, message_datagram(7, 0, 0) + b"x"), "bad_length"),
        (packet(0, 2, message_datagram(7, 0, 0)[:-1]), "bad_length"),
        (packet(0, 2, message_datagram(7, 0, 0, payload=bytes(60_001))), "bad_length"),
        (packet(0, 2, datagram(HELLO, topic=2)), "unknown_topic"),
        (packet(0, 2, OLD_MESSAGE), "stale_message"),
        (packet(0, 2, FUTURE_MESSAGE), "stale_message"),
    ],
)
def test_bad_datagrams_are_dropped_and_counted(raw: bytes, reason: str) -> None:
    harness = Harness()
    harness.deliver(NS_PER_S, 2, raw)
    assert harness.engine.next_event_time() == NEVER
    assert harness.dropped() == {reason: 1}


def test_a_second_port_of_a_hot_host_and_conflicting_copies_are_dropped() -> None:
    harness = Harness()
    harness.send(NS_PER_S, 2, message_datagram(7, 0, NS_PER_S))
    harness.send(NS_PER_S, 2, datagram(HELLO), source_port=9001)
    harness.deliver(NS_PER_S, 2, packet6(0, 2, datagram(HELLO)))
    harness.send(NS_PER_S + 1, 2, message_datagram(7, 0, NS_PER_S, payload=b"other"))
    assert harness.dropped() == {"conflicting_message": 1, "second_port": 2}


def test_a_hot_peer_of_ipv6_is_answered_over_ipv6_and_hears_what_others_publish() -> None:
    harness = Harness(gossip={"validation_delay": "3 ms"})
    harness.deliver(NS_PER_S, 2, packet6(0, 2, datagram(HELLO)))
    harness.deliver(NS_PER_S + 1, 2, packet6(0, 2, datagram(GRAFT)))
    harness.send(2 * NS_PER_S, 2, message_datagram(ADDRESS[1] << 32 | 9, 1, 2 * NS_PER_S), source=1)
    harness.deliver(3 * NS_PER_S, 2, packet6(0, 2, message_datagram(ADDRESS[0] << 32 | 1, 0, 3 * NS_PER_S)))
    hello, copy = harness.run(4 * NS_PER_S)[:2]
    assert (hello.kind, hello.destination, hello.version) == (HELLO, 0, 6)
    assert (copy.kind, copy.destination, copy.version) == (MESSAGE, 0, 6)
    assert copy.body[26:] == payload_of(ADDRESS[1] << 32 | 9, 100)
    assert [row["delivered"] for row in harness.engine.message_table()] == [COUNT, COUNT]
    assert harness.dropped() == {}


@settings(deadline=None, max_examples=150)
@given(data=st.binary(max_size=120), position=st.integers(0, 8), kind=st.integers(0, 10))
def test_no_datagram_stops_the_engine(data: bytes, position: int, kind: int) -> None:
    """Bytes behind a good beginning of a datagram, of any length."""
    FUZZED.send(FUZZED_TIME[0], 2, (datagram(kind, count=1)[:position] + data))
    FUZZED_TIME[0] += NS_PER_MS
    FUZZED.run(FUZZED_TIME[0])


FUZZED = Harness()
FUZZED_TIME = [NS_PER_S]


def test_packets_do_not_depend_on_the_length_of_windows() -> None:
    def run(length: int) -> list[bytes]:
        harness = Harness(loss=0.1, publications=[publication(time="2 s", count=4)])
        for number, identity in enumerate((2, 3, 9, 20)):
            harness.send(NS_PER_S, identity, datagram(GRAFT), source=number % 2)
            harness.send(NS_PER_S + 1, identity, datagram(HELLO), source=(number + 1) % 2)
        batches = []
        while (start := harness.engine.next_event_time()) < 9 * NS_PER_S:
            batches.append(harness.engine.run_until(min(start + length, 9 * NS_PER_S)))
        whole = EventBatch.concatenate(batches)
        assert len(whole) >= 20
        return [whole.digest(), harness.engine.arrival_digest()]

    assert run(2 * NS_PER_MS) == run(NS_PER_MS) == run(333_333)


def test_packet_counters_name_packets_uniquely() -> None:
    harness = Harness(gossip={"d_lazy": 64}, publications=[publication(count=5)])
    for identity in range(HOT, HOT + COUNT):
        harness.send(NS_PER_S // 2, identity, datagram(HELLO))
    harness.run(12 * NS_PER_S)
    names = [(packet.source, packet.event) for packet in harness.received]
    assert len(set(names)) == len(names) > 5 * COUNT
    assert np.all([packet.destination == 0 for packet in harness.received])
