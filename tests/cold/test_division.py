"""A tail divided among shards does what it does undivided, event by event."""

import random
from typing import Any

import numpy as np
import pytest

from bridge.batch import EventBatch, EventKind, pack_payloads
from bridge.errors import InternalError
from bridge.paths import PathTable
from bridge.simtime import NEVER, NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.results import merge
from cold.scenario import Scenario
from tests.cold.divided import DividedTail, odd_cuts
from tests.cold.networks import (
    BEHIND_NAT,
    FANOUTS_KEPT,
    FANOUTS_WHOSE_PEERS_LEAVE,
    PARTIAL_TOPICS,
    STOP,
    directory_of,
    publication,
    section_of,
    three_nodes,
)
from tests.cold.test_boundary import (
    ADDRESS,
    COUNT,
    GRAFT,
    HOT,
    MESSAGE,
    Received,
    datagram,
    message_datagram,
    packet,
    read,
)
from tests.cold.test_twin_boundary import KEYS, Said, packet_of, talk

END = 3 * NS_PER_S
PUBLICATIONS = [
    publication(count=30, interval="90 ms"),
    publication(count=20, interval="0 ms", origin=3, size=5000, time="2 s"),
]
CASES: dict[str, tuple[int, float, dict[str, Any]]] = {
    "few": (
        16,
        0.1,
        {
            "gossip": {"heartbeat": "1 s"},
            "overlay": {"degree": 6},
            "publications": [publication(count=2)],
            "transactions": {"rate": 2, "degree": 4},
            "requests": [{"name": "ping", "interval": "2 s", "chunk_size": 8}],
        },
    ),
    "plain": (120, 0.0, {"overlay": {"degree": 20}, "publications": PUBLICATIONS}),
    "loss, validation, two topics": (
        90,
        0.2,
        {
            "topics": [1, 7],
            "overlay": {"degree": 24},
            "gossip": {"validation_delay": ["1 ms", "2 ms", "80 ms"], "flood_publish": False},
            "publications": [*PUBLICATIONS, publication(topic=7, count=20, interval="70 ms")],
        },
    ),
    "clients that come and go": (
        90,
        0.1,
        {
            "populations": {
                "tail": {
                    "count": 90,
                    "churn": {
                        "sessions": {"kind": "exponential", "mean": "4 s"},
                        "absences": ["500 ms", "2 s"],
                        "notice": 0.5,
                        "detection": "700 ms",
                    },
                }
            },
            "clients": {
                "default": {"share": 2},
                "lighthouse": {"share": 1, "gossip": {"d": 5, "d_low": 3, "d_high": 10, "heartbeat": "1100 ms"}},
            },
            "topics": [1, 7],
            "overlay": {"degree": 20},
            "gossip": {"heartbeat": "500 ms", "validation_delay": ["1 ms", "40 ms"], "prune_backoff": "1 s"},
            "failures": [
                {"kind": "crash", "time": "1200 ms", "until": "2500 ms", "share": 0.4, "regions": [1]},
                {"kind": "partition", "time": "1500 ms", "until": "3 s", "regions": [2], "detection": "600 ms"},
                {"kind": "degradation", "time": "1 s", "latency": "3 ms", "loss": 0.1},
                {"kind": "silence", "time": "2 s", "share": 0.3},
                {"kind": "withholding", "time": "1 s", "share": 0.3, "delay": "250 ms"},
            ],
            "publications": [*PUBLICATIONS, publication(topic=7, count=20, interval="70 ms")],
        },
    ),
    "identities behind NAT that come and go": (
        90,
        0.1,
        {
            **BEHIND_NAT,
            "topics": [1, 7],
            "gossip": {"heartbeat": "500 ms", "validation_delay": ["1 ms", "40 ms"], "prune_backoff": "1 s"},
            "publications": [*PUBLICATIONS, publication(topic=7, count=20, interval="70 ms")],
        },
    ),
    "members of meshes that are scored": (
        80,
        0.1,
        {
            "overlay": {"degree": 20},
            "gossip": {
                "heartbeat": "300 ms",
                "prune_backoff": "1 s",
                "d_out": 4,
                "score": {
                    "delivery_threshold": 3,
                    "delivery_decay": 0.9,
                    "delivery_activation": "700 ms",
                    "first_cap": 2.5,
                    "opportunistic_threshold": 1,
                    "opportunistic_beats": 2,
                },
            },
            "failures": [{"kind": "silence", "time": "1 s", "share": 0.3}],
            "publications": PUBLICATIONS,
        },
    ),
    "large messages that peers are told not to send": (
        80,
        0.1,
        {
            "overlay": {"degree": 20},
            "gossip": {"idontwant_size": "1 KiB", "validation_delay": ["0 ms", "40 ms"], "heartbeat": "500 ms"},
            "publications": [*PUBLICATIONS, publication(count=10, interval="100 ms", size=4000)],
        },
    ),
    "topics that some have": (
        90,
        0.2,
        {
            "topics": PARTIAL_TOPICS,
            "overlay": {"degree": 16, "topic_peers": 4},
            "gossip": {"validation_delay": ["1 ms", "40 ms"], "heartbeat": "400 ms"},
            "publications": [
                *PUBLICATIONS,
                *(publication(topic=topic, count=9, interval="150 ms") for topic in (*range(10, 80, 6), 201)),
                publication(topic=202, count=20, interval="70 ms", origin=1, size=30_000),
            ],
        },
    ),
    "publishers that keep fanouts": FANOUTS_KEPT,
    "fanouts whose peers come and go": FANOUTS_WHOSE_PEERS_LEAVE,
    "requests of identities that come and go": (
        90,
        0.1,
        {
            "populations": {
                "tail": {
                    "count": 90,
                    "churn": {"sessions": {"kind": "exponential", "mean": "3 s"}, "absences": ["500 ms", "2 s"]},
                }
            },
            "clients": {"one": {"share": 2}, "other": {"share": 1}},
            "overlay": {"degree": 20},
            "failures": [{"kind": "partition", "time": "1500 ms", "until": "3 s", "regions": [2]}],
            "publications": PUBLICATIONS,
            "requests": [
                {"name": "status", "interval": "1 s", "on_join": True, "size": 92, "chunk_size": 92, "timeout": "1 s"},
                {
                    "name": "blocks",
                    "interval": {"kind": "exponential", "mean": "300 ms"},
                    "chunks": [0, 4],
                    "chunk_size": ["1 KB", "90 KB"],
                    "service": ["0 ms", "9 ms"],
                    "timeout": "300 ms",
                    "retries": 2,
                    "retry_delay": "70 ms",
                    "limit": {"tokens": 8, "period": "2 s"},
                    "servers": {"clients": ["one"]},
                },
            ],
        },
    ),
    "transactions": (
        80,
        0.1,
        {
            "populations": {
                "tail": {
                    "count": 80,
                    "churn": {"sessions": {"kind": "exponential", "mean": "3 s"}, "absences": ["500 ms", "2 s"]},
                }
            },
            "overlay": {"degree": 20},
            "failures": [
                {"kind": "partition", "time": "1500 ms", "until": "2500 ms", "regions": [2]},
                {"kind": "silence", "time": "1 s", "share": 0.2},
            ],
            "publications": PUBLICATIONS,
            "transactions": {
                "rate": 40,
                "size": ["100 B", "500 B", "9 KB"],
                "blob_share": 0.05,
                "degree": 14,
                "announce_interval": "9 ms",
                "fetch_delay": "90 ms",
                "fetch_timeout": "250 ms",
                "validation_delay": ["0 ms", "9 ms"],
                "lifetime": "700 ms",
            },
        },
    ),
    "short memory, and meshes that must be filled": (
        70,
        0.5,
        {
            "overlay": {"degree": 14},
            "gossip": {
                "heartbeat": "200 ms",
                "mcache_length": 2,
                "mcache_gossip": 2,
                "seen_ttl": "400 ms",
                "d": 9,
                "d_low": 9,
                "d_high": 9,
                "prune_backoff": "2 s",
            },
            "publications": [publication(count=150, interval="30 ms")],
        },
    ),
}


def history(tail: ColdEngine | DividedTail, length: int, said: list[EventBatch], end: int) -> list[object]:
    """Everything that a run shows: its windows with what was executed and sent in each, and its results."""
    seen: list[object] = []
    event = 0
    while True:
        heard = int(said[event].deliver_time[0]) if event < len(said) else NEVER
        start = min(tail.next_event_time(), heard)
        if start >= end:
            break
        window_end = min(start + length, end)
        while event < len(said) and said[event].deliver_time[0] < window_end:
            tail.deliver(said[event])
            event += 1
        batch = tail.run_until(window_end)
        seen.append((start, window_end, tail.events_executed(), tail.event_fingerprint(), batch.digest()))
    seen += [tail.counters(), tail.message_table().tolist(), tail.arrival_digest(), tail.mesh_degrees().tolist()]
    results = merge([tail.partial_results()]) if isinstance(tail, ColdEngine) else tail.results()
    seen += [results.requests.tolist(), results.request_latency.tolist()]
    seen += [getattr(results, name).tolist() for name in results._fields if name.startswith("transaction")]
    return seen


@pytest.mark.parametrize("case", CASES)
def test_a_divided_tail_does_what_the_whole_does(case: str) -> None:
    count, loss, keys = CASES[case]
    directory = directory_of(count)
    arguments = (Scenario(section_of(count, **keys), directory, 5, STOP), three_nodes(loss))
    for length, counts in ((2 * NS_PER_MS, (1, 2, 7)), (777_777, (3,))):
        whole = history(ColdEngine(*arguments), length, [], END)
        for shards in counts:
            divided = DividedTail(*arguments, odd_cuts(directory, shards))
            assert history(divided, length, [], END) == whole
            assert (divided.blocks > 0) == (shards > 1)


def test_copies_may_be_under_way_for_longer_than_a_bundle_can_say() -> None:
    """Paths that take twenty minutes more: every copy and IDONTWANT that crosses is a record of its own."""
    directory = directory_of(24)
    section = section_of(
        24,
        overlay={"degree": 12},
        gossip={"seen_ttl": "1 h", "idontwant_size": "1 KiB"},
        publications=[publication(count=2, size=size) for size in (1000, 2000)],
    )
    near = three_nodes()
    far = PathTable(near.node_ids, near.latency_ns + 1200 * NS_PER_S, near.loss, 1202 * NS_PER_S)
    arguments = (Scenario(section, directory, 5, STOP), far)
    end = 2500 * NS_PER_S
    whole = history(ColdEngine(*arguments), 2 * NS_PER_MS, [], end)
    divided = DividedTail(*arguments, odd_cuts(directory, 2))
    assert history(divided, 2 * NS_PER_MS, [], end) == whole
    counters = divided.counters()
    assert counters["idontwant_received"] > 0
    assert counters["messages_received"] - counters["expired"] > 4 * len(divided.mesh_degrees()[0])


@pytest.mark.parametrize(("seed", "loss"), [(1, 0.0), (3, 0.3)])
def test_hot_hosts_may_gossip_with_identities_of_any_shard(seed: int, loss: float) -> None:
    draw = random.Random(seed)
    publish_time = {
        ADDRESS[number % HOT] << 32 | 1000 + number: draw.randrange(NS_PER_S, END - NS_PER_S) for number in range(60)
    }
    spoken: list[Said] = [each for each in talk(draw, publish_time) if each.time < END]
    said = [packet_of(each, event, publish_time) for event, each in enumerate(spoken)]
    directory = directory_of(COUNT, HOT)
    arguments = (Scenario(section_of(COUNT, **KEYS), directory, seed, STOP), three_nodes(loss))
    whole = history(ColdEngine(*arguments), 2 * NS_PER_MS, said, END)
    for shards in (2, 7):
        divided = DividedTail(*arguments, odd_cuts(directory, shards))
        assert history(divided, 2 * NS_PER_MS, said, END) == whole


def test_payloads_cross_shards_with_their_messages() -> None:
    """A hot host's own bytes reach another hot host through identities of different shards."""
    directory = directory_of(COUNT, HOT)
    tail = DividedTail(Scenario(section_of(COUNT), directory, 1, STOP), three_nodes(), odd_cuts(directory, 2))
    last = directory.total_count - 1
    message = message_datagram(7, 0, NS_PER_S, payload=b"not what the id stands for")
    for event, (time, source, destination, data) in enumerate(
        [(NS_PER_S // 2, 1, last, datagram(GRAFT)), (NS_PER_S, 0, HOT, message)]
    ):
        offset, payload = pack_payloads([packet(source, destination, data)])
        tail.deliver(EventBatch.build([time], [source], [event], [destination], EventKind.PACKET, offset, payload))
    received: list[Received] = []
    while (start := tail.next_event_time()) < 3 * NS_PER_S:
        received += read(tail.run_until(start + 2 * NS_PER_MS))
    (copy,) = [each for each in received if each.kind == MESSAGE and each.destination == 1]
    assert copy.body[26:] == b"not what the id stands for"


def test_what_comes_from_other_shards_takes_no_more_memory_than_it_fills() -> None:
    """Thousands of records come in a block; few of them need a chunk of the calendar for themselves."""
    directory = directory_of(100_000)
    arguments = (Scenario(section_of(100_000, publications=[publication()]), directory, 1, STOP), three_nodes())
    whole, divided = ColdEngine(*arguments), DividedTail(*arguments, odd_cuts(directory, 2))
    for tail in (whole, divided):
        while (start := tail.next_event_time()) < 2 * NS_PER_S:
            tail.run_until(start + 2 * NS_PER_MS)
    most = whole.statistics()["event_bytes"]
    assert isinstance(most, int)
    for engine in divided.engines.values():
        taken = engine.statistics()["event_bytes"]
        assert isinstance(taken, int)
        assert taken <= 1.5 * most


@pytest.mark.parametrize(
    ("owned", "cuts", "shard"),
    [
        (range(10), [0, 10, 20], 2),
        (range(10), [0, 11, 20], 0),
        (range(10, 20), [0, 10, 19], 1),
        (range(10, 10), [0, 10, 10, 20], 1),
        (range(10), [0, 10, 5, 20], 0),
    ],
)
def test_ranges_that_do_not_fit_the_cuts_are_refused(owned: range, cuts: list[int], shard: int) -> None:
    arguments = (Scenario(section_of(20), directory_of(20), 1, STOP), three_nodes())
    with pytest.raises(InternalError, match="cold engine: "):
        ColdEngine(*arguments, owned=owned, cuts=np.array(cuts), shard=shard)
