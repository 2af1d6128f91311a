"""Counts of those who lack a message are exact, and too high only where another shard has not told of somebody."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.lacker_layout import LACKER_BLOCK_SHIFT
from cold.life_layout import CHANGES_SOON, IS_UP, OUTLINE_BITS, OUTLINES_PER_WORD, OUTLINES_SHIFT
from cold.scenario import Scenario
from cold.state_kernels import SEEN
from tests.cold.divided import DividedTail, odd_cuts
from tests.cold.networks import BEHIND_NAT, STOP, directory_of, publication, section_of, three_nodes

COUNT = 700
CHURN = {"sessions": {"kind": "exponential", "mean": "6 s"}, "absences": ["300 ms", "4 s"], "notice": 0.5}
TOPICS = [1, {"name": "columns", "first": 10, "count": 66, "per_identity": 5}]
PUBLICATIONS = [
    publication(count=30, interval="250 ms"),
    publication(topic=12, count=10, interval="500 ms"),
    publication(topic=75, count=10, interval="500 ms", time="1300 ms"),
]
CASES: dict[str, dict[str, Any]] = {
    "steady": {},
    "churn": {"populations": {"tail": {"count": COUNT, "churn": CHURN}}},
    "a crash, a partition": {
        "failures": [
            {"kind": "crash", "time": "2 s", "until": "4 s", "share": 0.3},
            {"kind": "partition", "time": "3 s", "until": "5 s", "regions": [1]},
        ]
    },
    "dialling": {
        **BEHIND_NAT,
        "populations": {"tail": {"count": COUNT, "reachable": 0.6, "churn": CHURN}},
    },
}


def scenario_of(keys: dict[str, Any]) -> Scenario:
    """The scenario of a case, in which slots of messages are used again."""
    overlay = {"degree": 12, "topic_peers": 4}
    gossip = {"heartbeat": "400 ms", "seen_ttl": "3 s"}
    section = section_of(
        COUNT, **{"overlay": overlay, "gossip": gossip, "topics": TOPICS, "publications": PUBLICATIONS, **keys}
    )
    return Scenario(section, directory_of(COUNT), 5, STOP)


def having(engine: ColdEngine, slot: int, first: int) -> npt.NDArray[np.bool_]:
    """Who has a message, as far as the engine of the identities from `first` on knows: bool[COUNT]."""
    state = engine._state
    word, bit = slot >> 6, np.uint64(1 << (slot & 63))
    known = np.zeros(COUNT, dtype=np.bool_)
    is_own = np.zeros(COUNT, dtype=np.bool_)
    is_own[first : first + len(state.identity)] = True
    known[is_own] = state.identity[:, SEEN + word].view(np.uint64) & bit != 0
    if len(state.seen_elsewhere):
        known[~is_own] = state.seen_elsewhere[:, word] & bit != 0
    return known


def counts(who: npt.NDArray[np.bool_]) -> list[int]:
    """How many they are in each block."""
    blocks = np.flatnonzero(who) >> LACKER_BLOCK_SHIFT
    found: list[int] = np.bincount(blocks, minlength=-(-COUNT >> LACKER_BLOCK_SHIFT)).tolist()
    return found


def subscribing(engine: ColdEngine, topic: int) -> npt.NDArray[np.bool_]:
    """Who subscribes to a topic: bool[COUNT]."""
    number = int(engine._state.topic_place[topic]) - engine._full_topics
    result = np.ones(COUNT, dtype=np.bool_)
    if number >= 0:
        result[:] = engine._state.subscribed[:, number >> 6] >> np.uint64(number & 63) & np.uint64(1) != 0
    return result


def counting(engine: ColdEngine) -> npt.NDArray[np.bool_]:
    """Who is counted where he lacks something: bool[COUNT]."""
    counted = engine._state.counted
    if not engine.changes_until(STOP).time.size:
        return np.ones(COUNT, dtype=np.bool_)
    identity = np.arange(COUNT)
    shift = (OUTLINE_BITS * (identity & (OUTLINES_PER_WORD - 1))).astype(np.uint64)
    result: npt.NDArray[np.bool_] = counted[identity >> OUTLINES_SHIFT] >> shift & np.uint64(IS_UP | CHANGES_SOON) != 0
    return result


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shards", [1, 3])
def test_counts_are_those_of_a_recount(case: str, shards: int) -> None:
    scenario = scenario_of(CASES[case])
    cuts = odd_cuts(scenario.directory, shards)
    tail = DividedTail(scenario, three_nodes(), cuts)
    rows = some = nobody = 0
    now = 0
    while now < 8 * NS_PER_S:
        now += 50 * NS_PER_MS
        while (time := tail.next_event_time()) < now:
            tail.run_until(min(time + 2 * NS_PER_MS, now))
        tail.run_until(now)
        for shard, engine in tail.engines.items():
            state, counted = engine._state, counting(engine)
            assert not (engine.is_up(now - 1) & ~counted).any()
            for topic in range(len(state.topic_slots)):
                assert state.subscribers_up[topic].tolist() == counts(subscribing(engine, topic) & counted)
            for slot in np.flatnonzero(state.message_topic >= 0).tolist():
                members = subscribing(engine, int(state.message_topic[slot]))
                lackers = counts(members & counted & ~having(engine, slot, int(cuts[shard] - cuts[0])))
                assert state.lackers[slot].tolist() == lackers
                bits = np.unpackbits(state.lacked[slot].view(np.uint8), bitorder="little")[: len(lackers)]
                assert bits.tolist() == [int(count > 0) for count in lackers]
                rows += 1
                some += 0 < int(bits.sum()) < len(bits)
                nobody += not bits.any()
    # They tell something: of many messages there are blocks in which nobody lacks them.
    assert some + nobody > rows // 20
