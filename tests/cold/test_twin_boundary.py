"""The kernels and the slow twin agree about every packet between hot hosts and identities."""

import random
import struct
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import pytest

from bridge.batch import EventBatch, pack_payloads
from bridge.simtime import NEVER, NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.scenario import Scenario
from tests.cold.networks import STOP, directory_of, publication, section_of, three_nodes
from tests.cold.test_boundary import (
    ADDRESS,
    COUNT,
    EPOCH_NS,
    GRAFT,
    HELLO,
    HOT,
    IDONTWANT,
    IHAVE,
    IWANT,
    LEAVE,
    MESSAGE,
    PRUNE,
    Received,
    datagram,
    ids_datagram,
    message_datagram,
    packet,
    payload_of,
    read,
)
from tests.cold.twin import Message, Twin

KINDS = {
    "hello": HELLO,
    "leave": LEAVE,
    "graft": GRAFT,
    "prune": PRUNE,
    "ihave": IHAVE,
    "iwant": IWANT,
    "idontwant": IDONTWANT,
}
END = 12 * NS_PER_S
TTL = 3 * NS_PER_S
KEYS: dict[str, Any] = {
    "overlay": {"degree": 14},
    "gossip": {
        "heartbeat": "300 ms",
        "mcache_length": 2,
        "mcache_gossip": 2,
        "seen_ttl": TTL,
        "prune_backoff": "900 ms",
        "validation_delay": ["0 ms", "4 ms"],
        "idontwant_size": 1000,
    },
    "publications": [publication(count=80, interval="60 ms"), publication(count=20, interval="150 ms", size=999)],
}


class Said(NamedTuple):
    """One datagram of a hot host."""

    time: int
    source: int
    destination: int
    name: str
    messages: tuple[int, ...]


def talk(draw: random.Random, publish_time: dict[int, int]) -> list[Said]:
    """Let hot hosts say all sorts of things, some of them twice, and send copies of messages, some of them late."""
    said = []
    sent: set[int] = set()
    for time in sorted(draw.sample(range(NS_PER_S, END), 2500)):
        name = draw.choice([*KINDS, "graft", "iwant", *["receive"] * 5])
        ids = list(publish_time)
        if name == "receive":
            ids = [number for number, at in publish_time.items() if at < time < at + TTL]
        elif name == "iwant":
            ids = sorted(sent)
        chosen = draw.sample(ids, min(len(ids), 1 if name == "receive" else draw.randrange(1, 6)))
        if name in ("ihave", "iwant", "idontwant", "receive") and not chosen:
            continue
        if name == "receive":
            sent.update(chosen)
        said.append(Said(time, draw.randrange(HOT), draw.randrange(HOT, HOT + COUNT), name, tuple(chosen)))
        if name == "ihave":
            again = min(time + draw.randrange(600 * NS_PER_MS), END - 1)
            some = draw.sample(chosen, draw.randrange(1, len(chosen) + 1))
            said.append(Said(again, draw.randrange(HOT), said[-1].destination, name, tuple(some)))
    return sorted(said, key=attrgetter("time"))


def packet_of(said: Said, event: int, publish_time: dict[int, int]) -> EventBatch:
    if said.name == "receive":
        (number,) = said.messages
        data = message_datagram(number, origin_of(number), publish_time[number], hops=3)
    elif said.name in ("ihave", "iwant", "idontwant"):
        data = ids_datagram(KINDS[said.name], *said.messages)
    else:
        data = datagram(KINDS[said.name], struct.pack(">I", 700) if said.name == "prune" else b"")
    offset, payload = pack_payloads([packet(said.source, said.destination, data)])
    return EventBatch.build(
        [said.time], [said.source], [event], [said.destination], payload_offset=offset, payload=payload
    )


def items_of(said: Said) -> list[tuple[Any, ...]]:
    if said.name == "receive":
        return [(said.messages[0], 3)]
    if said.name == "ihave":
        return [(tuple(sorted(said.messages)),)]
    if said.name in ("iwant", "idontwant"):
        return [(number,) for number in said.messages]
    return [(0, 700)] if said.name == "prune" else [(0,)]


def origin_of(number: int) -> int:
    return int(ADDRESS.index(number >> 32))


def expected(twin: Twin) -> list[Received]:
    """What the twin sent to hot hosts, as it looks on the wire."""
    result = []
    for time, source, counter, peer, name, items in twin.out:
        kind, count, body = KINDS.get(name, MESSAGE), 0, b""
        if name == "receive":
            number, hops = items[0]
            message = twin.message[number]
            origin = ADDRESS[origin_of(number)]
            head = struct.pack(">QIQHI", number, origin, EPOCH_NS + message.time, hops, message.size)
            count, body = 1, head + payload_of(number, message.size)
        elif name in ("ihave", "iwant", "idontwant"):
            ids = items[0][0] if name == "ihave" else [number for (number,) in items]
            count, body = len(ids), struct.pack(f">{len(ids)}Q", *ids)
        elif name == "prune":
            body = struct.pack(">I", items[0][1])
        result.append(Received(time, source, counter, peer, kind, 1, count, body))
    return result


@pytest.mark.parametrize(("seed", "loss"), [(1, 0.0), (2, 0.05), (3, 0.3)])
def test_the_kernels_agree_with_the_twin_about_hot_hosts(seed: int, loss: float) -> None:
    """On links with loss, and with copies of messages whose slots are long used by others."""
    draw = random.Random(seed)
    publish_time = {
        ADDRESS[number % HOT] << 32 | 1000 + number: draw.randrange(NS_PER_S, END - NS_PER_S) for number in range(60)
    }
    said = talk(draw, publish_time)
    arguments = (Scenario(section_of(COUNT, **KEYS), directory_of(COUNT, HOT), seed, STOP), three_nodes(loss))
    twin, engine = Twin(*arguments), ColdEngine(*arguments)
    for event, each in enumerate(said):
        if each.name == "receive":
            (number,) = each.messages
            twin.message[number] = Message(publish_time[number], 0, origin_of(number), 100)
        twin.deliver(each.time, each.source, event, each.destination, each.name, items_of(each))
    twin.run(END)

    received: list[Received] = []
    event = 0
    while (start := min(engine.next_event_time(), said[event].time if event < len(said) else NEVER)) < END:
        window_end = min(start + 2 * NS_PER_MS, END)
        while event < len(said) and said[event].time < window_end:
            engine.deliver(packet_of(said[event], event, publish_time))
            event += 1
        received += read(engine.run_until(window_end))
    engine.run_until(END)

    assert engine.counters() == {name: twin.counters[name] for name in engine.counters()}
    assert len(received) > 200
    order = attrgetter("time", "source", "event")
    assert sorted(received, key=order) == sorted(expected(twin), key=order)
    assert np.array_equal(twin.mesh_degrees(), engine.mesh_degrees())
    assert engine.arrival_digest() == twin.arrival_digest()
