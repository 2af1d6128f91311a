"""What the cold engine promises: its results depend on the seed and the configuration alone."""

from typing import Any

import numpy as np
import pytest

from bridge.simtime import NEVER, NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.state_kernels import RANK_BLOCK_SHIFT
from tests.cold.networks import STOP, engine_of, publication

END = 8 * NS_PER_S
LOSSY: dict[str, Any] = {
    "loss": 0.1,
    "gossip": {"validation_delay": ["0 ms", "6 ms"]},
    "publications": [publication(count=5, interval="700 ms")],
}


def run_by_windows(engine: ColdEngine, length: int, end: int = END) -> ColdEngine:
    while (start := engine.next_event_time()) < end:
        batch = engine.run_until(min(start + length, end))
        assert len(batch) == 0
    engine.run_until(end)
    return engine


def result(engine: ColdEngine) -> tuple[bytes, dict[str, int]]:
    return engine.arrival_digest(), engine.counters()


@pytest.mark.parametrize("length", [2 * NS_PER_MS, NS_PER_MS, NS_PER_MS // 2, 777_777])
def test_the_length_of_windows_changes_nothing(length: int) -> None:
    whole = engine_of(400, **LOSSY)
    whole.run_until(END)
    assert result(run_by_windows(engine_of(400, **LOSSY), length)) == result(whole)


def test_a_run_in_pieces_is_the_run() -> None:
    whole, pieces = engine_of(300, **LOSSY), engine_of(300, **LOSSY)
    whole.run_until(END)
    for end in (1, NS_PER_S, NS_PER_S + 1, 1_234_567_891, 4 * NS_PER_S, 4 * NS_PER_S, END):
        pieces.run_until(end)
        assert pieces.next_event_time() >= end
    assert result(pieces) == result(whole)


def test_the_same_seed_gives_the_same_and_another_seed_something_else() -> None:
    runs = [engine_of(300, seed=seed, **LOSSY) for seed in (5, 5, 6, 5 + 2**40)]
    for engine in runs:
        engine.run_until(END)
    first, again, other, high_bits = (engine.arrival_digest() for engine in runs)
    assert first == again
    assert len({first, other, high_bits}) == 3


def test_an_idle_tail_has_no_next_event() -> None:
    engine = engine_of(200)
    assert engine.next_event_time() == NEVER
    assert len(engine.run_until(NS_PER_S)) == 0
    assert engine.events_executed() == 0


def test_heartbeats_with_nothing_to_do_are_no_events() -> None:
    engine = engine_of(200, publications=[publication(time="30 s")])
    assert engine.next_event_time() == 30 * NS_PER_S
    engine.run_until(45 * NS_PER_S)
    assert engine.next_event_time() == NEVER
    assert engine.counters()["heartbeats"] <= 200 * 4


def test_nothing_is_published_at_the_end_of_the_run_or_later() -> None:
    engine = engine_of(50, publications=[publication(time="59 s", count=5)])
    engine.run_until(100 * NS_PER_S)
    assert len(engine.message_table()) == 1


def test_every_copy_but_the_first_is_a_duplicate() -> None:
    engine = engine_of(500, publications=[publication(count=4)])
    engine.run_until(END)
    counters = engine.counters()
    assert counters["messages_received"] - counters["duplicates"] == 4 * 499
    assert counters["messages_received"] == counters["messages_sent"]
    assert counters["forwards"] == 4 * 499
    assert list(engine.message_table()["delivered"]) == [499] * 4


def test_gossip_repairs_what_loss_took() -> None:
    engine = engine_of(500, loss=0.25, publications=[publication(count=4)])
    engine.run_until(20 * NS_PER_S)
    counters = engine.counters()
    assert counters["packets_lost"] > 0
    assert counters["iwant_received"] > 0
    assert list(engine.message_table()["delivered"]) == [499] * 4


def test_meshes_stay_within_their_bounds_and_are_symmetric_after_repair() -> None:
    engine = engine_of(600, overlay={"degree": 40}, gossip={"d": 10, "d_low": 10, "d_high": 14, "prune_backoff": "1 s"})
    for second in range(1, 12):
        engine.run_until(second * NS_PER_S)
        assert engine.mesh_degrees().max() <= 14
    assert engine.mesh_degrees().min() >= 10
    meshes = engine.meshes()
    assert all(identity in meshes[peer] for identity, mesh in enumerate(meshes) for peer in mesh)


def test_first_meshes_need_no_repair_at_the_default_degrees() -> None:
    degrees = engine_of(2000, topics=[1, 2, 3]).mesh_degrees()
    assert degrees.min() >= 6
    assert degrees.max() <= 12


def test_a_message_is_sent_at_the_speed_of_the_uplink() -> None:
    """Two identities 20 ms apart on 20 Mbit/s: a packet of 62 + 1000 bytes takes 0.4248 ms up and as long down."""
    engine = engine_of(2, publications=[publication(origin=0, count=1)])
    engine.run_until(END)
    assert list(engine.message_table()["max_ns"]) == [20 * NS_PER_MS + 2 * 424_800]


def test_slots_are_used_again_and_the_table_keeps_every_message() -> None:
    engine = engine_of(
        30,
        gossip={"heartbeat": "100 ms", "mcache_length": 3, "mcache_gossip": 2, "seen_ttl": "400 ms"},
        publications=[publication(count=300, interval="50 ms")],
    )
    engine.run_until(20 * NS_PER_S)
    table = engine.message_table()
    assert len(table) == 300
    assert (np.diff(table["publish_time_ns"]) >= 0).all()
    assert (table["delivered"] == 29).all()


def test_more_messages_than_slots_make_the_tables_longer() -> None:
    engine = engine_of(30, publications=[publication(count=300, interval="100 us")])
    engine.run_until(20 * NS_PER_S)
    assert (engine.message_table()["delivered"] == 29).all()


def test_a_message_that_everybody_has_takes_no_memory() -> None:
    few, many = (engine_of(200, publications=[publication(count=count, interval="200 ms")]) for count in (20, 250))
    for engine in (few, many):
        engine.run_until(STOP)
    assert len(many.message_table()) == 250
    assert many.statistics()["bytes_per_identity"] == few.statistics()["bytes_per_identity"]


def test_every_subscriber_has_an_arrival_of_its_own_past_the_first_block_of_ranks() -> None:
    count = (1 << RANK_BLOCK_SHIFT) + 6000
    topics = [{"name": "some", "first": 1, "count": 2, "share": 0.02}]
    overlay = {"degree": 4, "topic_peers": 8}
    published = [publication(topic=topic) for topic in (1, 2)]
    engine = engine_of(count, hot=2, topics=topics, overlay=overlay, publications=published)
    engine.run_until(4 * NS_PER_S)
    for topic, message_id in enumerate(engine._messages.slot_of):
        host, time, _ = engine.receipts(message_id)
        assert len(host) == engine._state.members[topic]
        assert np.diff(np.searchsorted(host, [0, 2 + (1 << RANK_BLOCK_SHIFT), 2 + count])).min() > 50
        assert (time >= NS_PER_S).all()
        assert (time < 4 * NS_PER_S).all()


@pytest.mark.parametrize("sparing", [False, True])
@pytest.mark.parametrize("partial", [False, True])
def test_lists_that_nobody_can_have_take_no_memory(partial: bool, sparing: bool) -> None:
    topics = [1, {"name": "some", "first": 2, "count": 3, "per_identity": 1}] if partial else [1]
    gossip = {"idontwant_size": 100} if sparing else {}
    state = engine_of(40, topics=topics, gossip=gossip)._state
    assert len(state.fanout_head) == (40 if partial else 1)
    assert len(state.unwanted_head) == (40 if sparing else 1)
    assert len(engine_of(40, hot=1)._state.unwanted_head) == 40


def test_an_identity_takes_less_than_a_kibibyte() -> None:
    engine = engine_of(50_000, publications=[publication()])
    engine.run_until(3 * NS_PER_S)
    memory = engine.statistics()["bytes_per_identity"]
    assert isinstance(memory, float)
    assert memory < 1024
