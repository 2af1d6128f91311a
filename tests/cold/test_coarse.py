"""What hot hosts see of identities on topics that are not exact, and what such topics leave behind."""

import struct
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.batch import EventBatch, EventKind, pack_payloads
from bridge.errors import InternalError
from bridge.paths import PathTable
from bridge.simtime import NEVER, NS_PER_MS, NS_PER_S
from cold.coarse_packets import CoarseMessage, decode_entry, encode_entry
from cold.resolution import resolutions
from cold.resolution_section import Resolution
from cold.scenario import Scenario
from cold.tail import MixedTail, build_tail
from tests.cold.divided import DividedTail, odd_cuts
from tests.cold.networks import STOP, directory_of, engine_of, publication, section_of, three_nodes
from tests.cold.test_boundary import (
    ADDRESS,
    COUNT,
    EPOCH_NS,
    GRAFT,
    HELLO,
    HOT,
    IHAVE,
    IWANT,
    LEAVE,
    MESSAGE,
    PRUNE,
    Harness,
    Received,
    datagram,
    ids_datagram,
    message_datagram,
    of_kind,
    packet,
    payload_of,
    read,
)

COARSE = ["sampled", "mean-field"]


def make_tail(scenario: Scenario, paths: PathTable, *, owned: range, cuts: npt.NDArray[np.int64], shard: int) -> Any:
    return build_tail(scenario, paths, resolutions(scenario), owned=owned, cuts=cuts, shard=shard)


def tail_of(count: int, loss: float = 0.0, hot: int = HOT, seed: int = 1, **keys: Any) -> Any:
    directory = directory_of(count, hot)
    cuts = np.array([hot, hot + count], dtype=np.int64)
    owned = range(hot, hot + count)
    section = section_of(count, **keys)
    return make_tail(Scenario(section, directory, seed, STOP), three_nodes(loss), owned=owned, cuts=cuts, shard=0)


class CoarseHarness(Harness):
    """A tail whose topics are all of one resolution."""

    def __init__(self, resolution: str = "sampled", count: int = COUNT, loss: float = 0.0, **keys: Any) -> None:
        self.engine = tail_of(count, loss, resolution={"default": resolution, "representatives": 4}, **keys)
        self.events = 0
        self.received: list[Received] = []


@pytest.fixture(params=COARSE)
def resolution(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_hello_is_answered_as_by_an_exact_identity(resolution: str) -> None:
    answers = []
    for harness in (Harness(), CoarseHarness(resolution)):
        harness.send(NS_PER_S, 2, datagram(HELLO))
        (answer,) = harness.run(2 * NS_PER_S)
        answers.append((answer.time, answer.source, answer.destination, answer.kind, answer.topic, answer.body))
        harness.send(3 * NS_PER_S, 2, datagram(HELLO))
        assert harness.run(4 * NS_PER_S) == []
    assert answers[0] == answers[1]


def test_a_graft_finds_room_below_d_high_only(resolution: str) -> None:
    full = CoarseHarness(resolution, gossip={"d": 8, "d_low": 6, "d_high": 8})
    full.send(NS_PER_S, 2, datagram(GRAFT))
    (answer,) = full.run(2 * NS_PER_S)
    assert (answer.kind, answer.count, answer.body) == (PRUNE, 0, struct.pack(">I", 60_000))
    roomy = CoarseHarness(resolution)
    roomy.send(NS_PER_S, 2, datagram(GRAFT))
    assert roomy.run(2 * NS_PER_S) == []


def test_a_pruning_peer_stays_out_for_its_backoff(resolution: str) -> None:
    harness = CoarseHarness(resolution)
    harness.send(NS_PER_S, 2, datagram(GRAFT))
    harness.send(2 * NS_PER_S, 2, datagram(PRUNE, struct.pack(">I", 5_000)))
    harness.send(3 * NS_PER_S, 2, datagram(GRAFT))
    (refusal,) = harness.run(4 * NS_PER_S)
    assert refusal.kind == PRUNE
    harness.send(8 * NS_PER_S, 2, datagram(GRAFT))
    assert harness.run(9 * NS_PER_S) == []


def test_an_identity_below_d_low_grafts_a_hot_peer(resolution: str) -> None:
    harness = CoarseHarness(resolution, count=3)
    harness.send(NS_PER_S, 2, datagram(HELLO))
    assert [answer.kind for answer in harness.run(3 * NS_PER_S)] == [HELLO, GRAFT]


def test_mesh_members_get_every_message_once_and_never_too_early(resolution: str) -> None:
    messages = [publication(time="2 s", count=20, interval="150 ms", size=300)]
    harness = CoarseHarness(resolution, publications=messages, gossip={"validation_delay": "3 ms"})
    directory, latency = directory_of(COUNT, HOT), three_nodes().latency_ns
    best = np.minimum(latency, (latency[:, :, None] + latency[None]).min(axis=1))
    links = [(0, 2), (0, 30), (1, 9), (1, 20)]
    for hot, identity in links:
        harness.send(NS_PER_S, identity, datagram(GRAFT), source=hot)
    copies = of_kind(harness.run(8 * NS_PER_S), MESSAGE)
    seen: dict[tuple[int, int], list[int]] = {}
    for copy in copies:
        message_id, origin, published, hops, size = struct.unpack(">QIQHI", copy.body[:26])
        assert copy.body[26:] == payload_of(message_id, size)
        seen.setdefault((copy.destination, copy.source), []).append(message_id)
        publisher = directory.id_of_address(origin)
        start, here, there = published - EPOCH_NS, directory.node[copy.source], directory.node[copy.destination]
        own_way = 0 if publisher == copy.source else best[directory.node[publisher], here] + 3 * NS_PER_MS
        assert copy.time > start + own_way + latency[here, there]
        assert (hops == 0) == (publisher == copy.source)
    assert sorted(seen) == sorted(links)
    for ids in seen.values():
        assert len(ids) == len(set(ids)) == 20


def test_the_arrivals_that_hot_hosts_see_are_those_that_the_table_has() -> None:
    """Everybody is watched: what the tail passes on, less the way to the hot host, is what the field says."""
    harness = CoarseHarness("sampled", publications=[publication(time="2 s", origin=7, size=300)])
    for identity in range(HOT, HOT + COUNT):
        harness.send(NS_PER_S, identity, datagram(GRAFT), source=identity % HOT)
    copies = of_kind(harness.run(5 * NS_PER_S), MESSAGE)
    assert len(copies) == COUNT
    directory, latency = directory_of(COUNT, HOT), three_nodes().latency_ns
    delays = sorted(
        copy.time - 2 * NS_PER_S - int(latency[directory.node[copy.source], directory.node[copy.destination]])
        for copy in copies
        if copy.source != HOT + 7
    )
    (row,) = harness.engine.message_table()
    # An identity passes a message on up to D + 1 transfers later, each of 0.15 ms at most.
    assert 0 <= delays[len(delays) // 2] - row["p50_ns"] < 12 * NS_PER_MS
    assert row["max_ns"] - 2 * NS_PER_MS < delays[-1] < row["max_ns"] + 4 * NS_PER_MS


def test_hot_peers_of_who_has_been_told_get_large_messages_as_soon_as_from_an_exact_identity(resolution: str) -> None:
    """Of 20 Mbit/s uplinks a copy of 20 KB takes 8 ms, and those who have been told to send few of them are quicker."""
    keys: dict[str, Any] = {
        "publications": [publication(time="2 s", count=40, interval="400 ms", size=20_000)],
        "gossip": {"validation_delay": "60 ms", "idontwant_size": "1 KiB", "flood_publish": False},
    }

    def delays(harness: Harness) -> npt.NDArray[np.float64]:
        for identity in range(HOT, HOT + 40):
            harness.send(NS_PER_S, identity, datagram(GRAFT))
        copies = of_kind(harness.run(20 * NS_PER_S), MESSAGE)
        assert len(copies) > 1000
        published = [struct.unpack(">QIQHI", copy.body[:26])[2] for copy in copies]
        times = np.array([copy.time for copy in copies], dtype=np.int64)
        return (times + EPOCH_NS - np.array(published, dtype=np.int64)) / np.float64(NS_PER_MS)

    exact, coarse = delays(Harness(**keys)), delays(CoarseHarness(resolution, **keys))
    assert len(coarse) == pytest.approx(len(exact), rel=0.02)
    for percent in (25, 50, 75):
        assert np.percentile(coarse, percent) == pytest.approx(np.percentile(exact, percent), rel=0.05)


def test_flood_publish_reaches_hot_peers_outside_the_mesh(resolution: str) -> None:
    harness = CoarseHarness(resolution, publications=[publication(time="3 s", origin=0, size=50)])
    harness.send(NS_PER_S, 2, datagram(HELLO))
    (copy,) = of_kind(harness.run(3 * NS_PER_S + 100 * NS_PER_MS), MESSAGE)
    message_id = ADDRESS[2] << 32 | 1
    head = struct.pack(">QIQHI", message_id, ADDRESS[2], EPOCH_NS + 3 * NS_PER_S, 0, 50)
    assert copy.body == head + payload_of(message_id, 50)


def test_a_hot_peer_is_told_by_ihave_and_served_by_iwant(resolution: str) -> None:
    published = [publication(time="3 s", origin=5, size=64)]
    harness = CoarseHarness(resolution, gossip={"d_lazy": 64}, publications=published)
    harness.send(NS_PER_S, 2, datagram(HELLO))
    message_id = ADDRESS[2 + 5] << 32 | 1
    told = of_kind(harness.run(6 * NS_PER_S), IHAVE)
    assert len(told) == 3
    assert {(packet.count, packet.body) for packet in told} == {(1, struct.pack(">Q", message_id))}
    harness.send(6 * NS_PER_S, 2, ids_datagram(IWANT, message_id, message_id, 12345))
    (copy,) = of_kind(harness.run(7 * NS_PER_S), MESSAGE)
    assert copy.body[:8] == struct.pack(">Q", message_id)
    assert copy.body[26:] == payload_of(message_id, 64)
    harness.send(30 * NS_PER_S, 2, ids_datagram(IWANT, message_id))
    assert of_kind(harness.run(31 * NS_PER_S), MESSAGE) == []


def test_a_peer_that_comes_late_is_told_of_what_was_before(resolution: str) -> None:
    """Whether an identity was watched when it got a message makes no difference."""
    published = [publication(time="3 s", origin=5, size=64)]
    told = []
    for hello in (NS_PER_S, 3 * NS_PER_S + 500 * NS_PER_MS):
        harness = CoarseHarness(resolution, gossip={"d_lazy": 64}, publications=published)
        harness.send(hello, 2, datagram(HELLO))
        told.append([(packet.time // NS_PER_MS, packet.body) for packet in of_kind(harness.run(9 * NS_PER_S), IHAVE)])
    assert len(told[0]) == 3
    assert told[1] == [entry for entry in told[0] if entry[0] > 3500]


def test_unseen_ids_of_an_ihave_are_asked_for_once_per_heartbeat_interval(resolution: str) -> None:
    harness = CoarseHarness(resolution, gossip={"heartbeat": "10 s", "seen_ttl": "120 s"})
    ids = [ADDRESS[0] << 32 | number for number in (3, 1, 2)]
    harness.send(NS_PER_S, 2, ids_datagram(IHAVE, *ids))
    harness.send(NS_PER_S + 1, 2, ids_datagram(IHAVE, *ids))
    (request,) = harness.run(1_010_000_000)
    assert (request.kind, request.count, request.body) == (IWANT, 3, struct.pack(">3Q", *sorted(ids)))
    harness.send(12 * NS_PER_S, 2, ids_datagram(IHAVE, *ids))
    assert len(harness.run(13 * NS_PER_S)) == 1


def test_a_peer_that_left_gets_nothing_more(resolution: str) -> None:
    harness = CoarseHarness(resolution, publications=[publication(time="3 s", origin=0)])
    harness.send(NS_PER_S, 2, datagram(GRAFT))
    harness.send(2 * NS_PER_S, 2, datagram(LEAVE))
    assert harness.run(20 * NS_PER_S) == []


@pytest.mark.parametrize("payload", [None, b"not what the id stands for", b""])
def test_a_message_of_a_hot_host_comes_back_from_elsewhere(resolution: str, payload: bytes | None) -> None:
    harness = CoarseHarness(resolution, gossip={"validation_delay": "3 ms"})
    message_id = ADDRESS[1] << 32 | 9
    for identity in (20, 30):
        harness.send(NS_PER_S, identity, datagram(GRAFT), source=0)
    sent = 2 * NS_PER_S
    harness.send(sent, 2, message_datagram(message_id, 1, sent, hops=4, payload=payload), source=1)
    copies = of_kind(harness.run(5 * NS_PER_S), MESSAGE)
    assert sorted(copy.source for copy in copies) == [20, 30]
    expected = payload_of(message_id, 100) if payload is None else payload
    directory, latency = directory_of(COUNT, HOT), three_nodes().latency_ns
    for copy in copies:
        head = struct.unpack(">QIQHI", copy.body[:26])
        assert head[:3] == (message_id, ADDRESS[1], EPOCH_NS + sent)
        assert head[3] > 5
        assert copy.body[26:] == expected
        # Validated where it entered, one hop at least, validated there, and the way to the hot host.
        quickest = latency[directory.node[2], directory.node[copy.source]]
        back = latency[directory.node[copy.source], directory.node[copy.destination]]
        assert copy.time > sent + 3 * NS_PER_MS + min(quickest, 2 * NS_PER_MS) + 3 * NS_PER_MS + back
    (row,) = harness.engine.message_table()
    assert (row["id"], row["origin"], row["delivered"], row["topic"]) == (message_id, 1, COUNT, 1)
    # It is not given back to its publisher, nor to where it came from.
    assert all(copy.destination == 0 for copy in copies)


def test_a_second_way_in_brings_a_message_no_later(resolution: str) -> None:
    def run(ways: int) -> list[int]:
        harness = CoarseHarness(resolution)
        for identity in range(HOT, HOT + COUNT):
            harness.send(NS_PER_S, identity, datagram(GRAFT), source=0)
        for number in range(ways):
            data = message_datagram(ADDRESS[1] << 32 | 9, 1, 2 * NS_PER_S)
            harness.send(2 * NS_PER_S + number * NS_PER_MS, 2 + 7 * number, data, source=1)
        copies = of_kind(harness.run(5 * NS_PER_S), MESSAGE)
        return [copy.time for copy in sorted(copies, key=lambda copy: copy.source)]

    one, four = run(1), run(4)
    assert len(one) == len(four) == COUNT
    # The queue of an uplink holds more where a message comes from a hot host than from a cold one.
    assert all(late <= early + 2 * NS_PER_MS for early, late in zip(one, four, strict=True))
    assert sum(four) < sum(one)


def test_copies_of_known_messages_are_duplicates_and_other_copies_are_dropped(resolution: str) -> None:
    harness = CoarseHarness(resolution)
    message_id = ADDRESS[0] << 32 | 1
    harness.send(NS_PER_S, 2, message_datagram(message_id, 0, NS_PER_S))
    harness.run(3 * NS_PER_S)
    before = harness.engine.counters()["duplicates"]
    harness.send(4 * NS_PER_S, 2, message_datagram(message_id, 0, NS_PER_S))
    harness.send(4 * NS_PER_S, 2, message_datagram(message_id, 0, NS_PER_S, payload=b"short"))
    harness.send(4 * NS_PER_S, 2, message_datagram(message_id + 1, 0, 5 * NS_PER_S))
    harness.send(4 * NS_PER_S, 2, datagram(HELLO, topic=9))
    harness.send(4 * NS_PER_S, 2, datagram(HELLO), source_port=9001)
    harness.send(4 * NS_PER_S, 2, b"nonsense")
    harness.run(5 * NS_PER_S)
    assert harness.engine.counters()["duplicates"] == before + 1
    assert harness.dropped() == {
        "bad_header": 1,
        "conflicting_message": 1,
        "second_port": 1,
        "stale_message": 1,
        "unknown_topic": 1,
    }


def test_a_copy_of_an_identity_s_own_message_is_known_for_what_it_is(resolution: str) -> None:
    """Nobody had contact with the topic before: the message is found in the plan."""
    harness = CoarseHarness(resolution, publications=[publication(time="1 s", origin=5, size=64)])
    copy = message_datagram(ADDRESS[HOT + 5] << 32 | 1, HOT + 5, NS_PER_S, hops=2, payload=None)
    harness.send(3 * NS_PER_S, 2, copy)
    assert harness.run(4 * NS_PER_S) == []
    assert harness.dropped() == {"conflicting_message": 1}
    right = message_datagram(
        ADDRESS[HOT + 5] << 32 | 1, HOT + 5, NS_PER_S, payload=payload_of(ADDRESS[HOT + 5] << 32 | 1, 64)
    )
    harness.send(5 * NS_PER_S, 2, right)
    harness.run(6 * NS_PER_S)
    assert len(harness.engine.message_table()) == 1
    assert harness.dropped() == {"conflicting_message": 1}


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=120), position=st.integers(0, COUNT - 1), kind=st.integers(0, 9))
def test_no_datagram_stops_the_tail(data: bytes, position: int, kind: int) -> None:
    harness = CoarseHarness("mean-field", publications=[publication(count=2)])
    harness.send(NS_PER_S, HOT + position, data)
    harness.send(NS_PER_S, HOT + position, datagram(kind, data, len(data) // 8))
    harness.run(2 * NS_PER_S)


def test_without_hot_hosts_nothing_happens_and_all_is_told_at_the_end(resolution: str) -> None:
    tail = tail_of(500, hot=0, resolution={"default": resolution}, publications=[publication(count=30)])
    assert tail.next_event_time() == NEVER
    assert len(tail.run_until(NS_PER_S * 40)) == 0
    assert tail.events_executed() == 0
    table = tail.message_table()
    assert list(table["delivered"]) == [499] * 30
    assert (table["p50_ns"] < table["p95_ns"]).all()
    counters = tail.counters()
    assert counters["messages_sent"] == counters["messages_received"] + counters["packets_lost"]
    assert counters["messages_received"] - counters["duplicates"] == 30 * 499
    assert counters["published"] == 30


def test_the_end_of_a_run_cuts_what_is_under_way(resolution: str) -> None:
    tail = tail_of(2000, hot=0, resolution={"default": resolution}, publications=[publication(origin=3)])
    tail.run_until(NS_PER_S + 40 * NS_PER_MS)
    (cut,) = tail.message_table()
    tail.run_until(3 * NS_PER_S)
    (whole,) = tail.message_table()
    assert 0 < cut["delivered"] < whole["delivered"] == 1999
    assert cut["max_ns"] <= 41 * NS_PER_MS
    assert cut["p50_ns"] < whole["p50_ns"]


def test_ihave_traffic_is_what_an_exact_tail_sends(resolution: str) -> None:
    published = [publication(count=12, interval="400 ms"), publication(time="20 s", count=3, interval="7 s")]
    exact = engine_of(600, publications=published)
    coarse = tail_of(600, hot=0, resolution={"default": resolution}, publications=published)
    for tail in (exact, coarse):
        tail.run_until(50 * NS_PER_S)
    true, drawn = exact.counters(), coarse.counters()
    for name in ("ihave_sent", "bytes_sent", "messages_sent", "duplicates"):
        assert drawn[name] == pytest.approx(true[name], rel=0.02), name


KEYS: dict[str, Any] = {
    "topics": [1, 7],
    "gossip": {"validation_delay": ["1 ms", "2 ms", "40 ms"], "d_lazy": 20, "idontwant_size": "1 B"},
    "publications": [
        publication(time="1500 ms", count=20, interval="100 ms"),
        publication(time="1500 ms", topic=7, count=10, interval="230 ms"),
    ],
}


def talk_to(tail: Any, starts: list[int] | None = None) -> EventBatch:
    """Some conversation with identities all over the tail; `starts` gets the times at which windows begin."""
    batches = []
    begun = [] if starts is None else starts
    for number, (time, identity, source, data) in enumerate(
        [
            (NS_PER_S, 2, 0, datagram(GRAFT)),
            (NS_PER_S, 15, 1, datagram(GRAFT)),
            (NS_PER_S, 27, 0, datagram(HELLO)),
            (NS_PER_S, 40, 1, datagram(GRAFT, topic=7)),
            (2 * NS_PER_S, 33, 0, message_datagram(ADDRESS[0] << 32 | 1, 0, 2 * NS_PER_S)),
            (2 * NS_PER_S + 5, 8, 0, message_datagram(ADDRESS[0] << 32 | 1, 0, 2 * NS_PER_S)),
            (2 * NS_PER_S + 5, 41, 1, message_datagram(ADDRESS[1] << 32 | 1, 1, 2 * NS_PER_S, payload=b"own")),
            (3 * NS_PER_S, 30, 1, datagram(GRAFT)),
            (4 * NS_PER_S, 30, 1, ids_datagram(IHAVE, 77)),
            (5 * NS_PER_S, 15, 1, datagram(LEAVE)),
        ]
    ):
        while (start := tail.next_event_time()) < time:
            begun.append(start)
            batches.append(tail.run_until(min(start + 2 * NS_PER_MS, time)))
        offset, payload = pack_payloads([packet(source, identity, data)])
        tail.deliver(EventBatch.build([time], [source], [number], [identity], payload_offset=offset, payload=payload))
    while (start := tail.next_event_time()) < 9 * NS_PER_S:
        begun.append(start)
        batches.append(tail.run_until(min(start + 2 * NS_PER_MS, 9 * NS_PER_S)))
    tail.run_until(9 * NS_PER_S)
    return EventBatch.concatenate(batches)


@pytest.mark.parametrize(
    "levels",
    [
        {"default": "sampled", "representatives": 3},
        {"topics": {7: "mean-field"}},
        {"topics": {1: "sampled"}, "representatives": 3},
    ],
)
@pytest.mark.parametrize("shards", [2, 3, 7])
def test_a_divided_tail_says_what_an_undivided_one_says(shards: int, levels: dict[str, Any]) -> None:
    section = section_of(COUNT, resolution=levels, **KEYS)
    directory, paths = directory_of(COUNT, HOT), three_nodes(0.05)
    results = []
    for cuts in (np.array([HOT, HOT + COUNT]), odd_cuts(directory, shards)):
        tail = DividedTail(Scenario(section, directory, 1, STOP), paths, cuts, make_tail)
        starts: list[int] = []
        whole = talk_to(tail, starts)
        assert len(of_kind(read(whole), MESSAGE)) > 40
        events = (tail.events_executed(), starts)
        results.append((whole.digest(), tail.message_table().tobytes(), tail.counters(), tail.arrival_digest(), events))
        assert tail.event_fingerprint() == whole.fingerprint()
    assert results[0] == results[1]


def test_the_length_of_windows_changes_nothing(resolution: str) -> None:
    def run(length: int) -> bytes:
        harness = CoarseHarness(resolution, loss=0.1, publications=[publication(time="2 s", count=4)])
        for number, identity in enumerate((2, 3, 9, 20)):
            harness.send(NS_PER_S, identity, datagram(GRAFT), source=number % 2)
            harness.send(NS_PER_S + 1, identity, datagram(HELLO), source=(number + 1) % 2)
        batches = []
        while (start := harness.engine.next_event_time()) < 9 * NS_PER_S:
            batches.append(harness.engine.run_until(min(start + length, 9 * NS_PER_S)))
        whole = EventBatch.concatenate(batches)
        assert len(whole) >= 20
        return whole.digest()

    assert run(2 * NS_PER_MS) == run(NS_PER_MS) == run(333_333)


def test_packets_of_exact_and_coarse_topics_have_names_of_their_own() -> None:
    tail = tail_of(COUNT, resolution={"topics": {7: "sampled"}}, **KEYS)
    assert isinstance(tail, MixedTail)
    whole = talk_to(tail)
    names = list(zip(whole.source.tolist(), whole.source_event.tolist(), strict=True))
    assert len(set(names)) == len(names)
    topics = {received.topic for received in read(whole)}
    assert topics == {1, 7}
    assert set(tail.message_table()["topic"]) == {1, 7}


def test_identities_that_do_not_subscribe_hear_nothing() -> None:
    groups: list[Any] = [{"name": "subnets", "first": 10, "count": 4, "per_identity": 1}]
    tail = tail_of(COUNT, topics=groups, resolution={"default": "sampled"})
    answers = 0
    for number in range(4):
        offset, payload = pack_payloads([packet(0, 5, datagram(HELLO, topic=10 + number))])
        tail.deliver(EventBatch.build([NS_PER_S], [0], [number], [5], payload_offset=offset, payload=payload))
        answers += len(tail.run_until((2 + number) * NS_PER_S))
    assert answers == 1
    assert tail.statistics()["boundary"]["dropped"] == {"not_subscribed": 3}


def test_topics_of_a_group_share_fields_and_deliver_to_their_own_members() -> None:
    groups: list[Any] = [{"name": "subnets", "first": 10, "count": 8, "per_identity": 2}]
    published = [publication(topic=10 + number, time="1 s", count=5) for number in range(8)]
    tail = tail_of(4000, hot=0, topics=groups, resolution={"topics": {"subnets": "sampled"}}, publications=published)
    tail.run_until(20 * NS_PER_S)
    table = tail.message_table()
    assert len(table) == 40
    assert ((table["delivered"] > 900) & (table["delivered"] < 1100)).all()


def test_auto_makes_coarse_what_the_budget_does_not_cover() -> None:
    keys: dict[str, Any] = {
        "topics": [1, 2],
        "publications": [publication(count=2), publication(topic=2, count=5000, interval="10 ms")],
    }
    section = section_of(5000, resolution={"default": "auto", "budget": 2e5}, **keys)
    assert resolutions(Scenario(section, directory_of(5000), 1, STOP)) == [Resolution.EXACT, Resolution.SAMPLED]
    rich = section_of(5000, resolution={"default": "auto", "budget": 1e9}, **keys)
    assert resolutions(Scenario(rich, directory_of(5000), 1, STOP)) == [Resolution.EXACT] * 2


def test_entries_are_written_byte_for_byte_as_the_formats_say() -> None:
    directory = directory_of(COUNT, HOT)
    message = CoarseMessage(ADDRESS[1] << 32 | 9, 0, 1000, 1, ADDRESS[1], 3, b"own", is_planned=False)
    data = encode_entry(message, 7, 2000, 5, 4)
    expected = struct.pack(">QIHqIIqBI", ADDRESS[1] << 32 | 9, ADDRESS[1], 7, 1000, 3, 5, 2000, 4, 3)
    assert data == expected + b"own"
    back, entry = decode_entry(data, directory, {7: 0})
    assert entry == (2000, 5, 4)
    assert (back.message_id, back.publish_time, back.origin, back.size, back.payload) == (
        ADDRESS[1] << 32 | 9,
        1000,
        1,
        3,
        b"own",
    )


@given(cut=st.integers(0, 45), flip=st.integers(0, 45))
def test_entries_that_are_none_are_refused(cut: int, flip: int) -> None:
    directory = directory_of(COUNT, HOT)
    data = encode_entry(CoarseMessage(1, 0, 1000, 1, ADDRESS[1], 3, b"own", is_planned=False), 7, 2000, 5, 4)
    assert len(data) == 46
    if cut < len(data):
        with pytest.raises(ValueError, match="entry"):
            decode_entry(data[:cut], directory, {7: 0})
    for wrong in ({"number": 8}, {"host": 1}, {"host": HOT + COUNT}, {"time": 999}):
        values = {"number": 7, "host": 5, "time": 2000} | wrong
        head = struct.pack(">QIHqIIqBI", 1, ADDRESS[1], values["number"], 1000, 3, values["host"], values["time"], 4, 3)
        with pytest.raises(ValueError, match="entry"):
            decode_entry(head + b"own", directory, {7: 0})
    changed = bytearray(data)
    changed[flip] ^= 0xFF
    with suppress(ValueError):
        decode_entry(bytes(changed), directory, {7: 0})


def test_an_entry_from_another_shard_that_is_none_is_our_own_fault() -> None:
    tail = tail_of(COUNT, resolution={"default": "sampled"})
    offset, payload = pack_payloads([b"x"])
    batch = EventBatch.build([1], [9], [0], [2], EventKind.ENTRY, offset, payload)
    with pytest.raises(InternalError, match="an entry of 1 bytes"):
        tail.deliver(batch)


@pytest.mark.parametrize("shards", [3, 7])
@pytest.mark.parametrize("level", ["sampled", "mean-field"])
def test_a_divided_tail_says_in_the_middle_of_a_run_what_an_undivided_one_says(shards: int, level: str) -> None:
    """Some shards have a last heartbeat to tell of the exact message when others have nothing left to do."""
    published = [publication(origin=3), publication(topic=2, count=8, interval="200 ms")]
    section = section_of(COUNT, topics=[1, 2], publications=published, resolution={"topics": {2: level}})
    directory, paths = directory_of(COUNT), three_nodes()
    said = []
    for cuts in (np.array([0, COUNT]), odd_cuts(directory, shards)):
        tail = DividedTail(Scenario(section, directory, 1, STOP), paths, cuts, make_tail)
        middles = []
        for end in range(3 * NS_PER_S, 5 * NS_PER_S, 20 * NS_PER_MS):
            while (start := tail.next_event_time()) < end:
                tail.run_until(min(start + 2 * NS_PER_MS, end))
            tail.run_until(end)
            middles.append((tail.counters(), tail.message_table().tobytes(), tail.arrival_digest()))
        said.append(middles)
    assert said[0] == said[1]
    # Heartbeats tell of the coarse messages all the while.
    told = [counters["ihave_sent"] for counters, *_ in said[0]]
    assert len(set(told)) == len(told)


def test_messages_of_coarse_topics_are_told_of_up_to_the_time_that_the_tail_has_come_to() -> None:
    """They spread after all windows are over, where nothing else is left to happen."""
    published = [publication(), publication(topic=2, time="5 s")]
    tail = tail_of(200, hot=0, topics=[1, 2], publications=published, resolution={"topics": {2: "mean-field"}})
    while (start := tail.next_event_time()) < STOP:
        last = start + 2 * NS_PER_MS
        tail.run_until(last)
    assert last < 6 * NS_PER_S
    assert tail.message_table()["delivered"].tolist() == [199, 0]
    tail.run_until(STOP)
    assert tail.message_table()["delivered"].tolist() == [199, 199]
