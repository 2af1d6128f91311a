"""Whose heartbeats have something to do, and what memberships name of what was cached."""

from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cold.engine
from bridge.simtime import NS_PER_S
from cold.engine import ColdEngine
from cold.event_kernels import first_rank, is_needed, next_needed, set_needed
from cold.membership_kernels import add_recent, count_recent, recent, set_recent
from cold.messages import MessageTable
from cold.reference import by_reference
from cold.scenario import Scenario
from cold.state_kernels import (
    FIRST_RANK,
    MOST_RECENT,
    PAST_RANK,
    PHASE,
    RANK,
    RECENT,
    SENDER_COLUMNS,
    SEVERAL,
    State,
)
from tests.cold.networks import directory_of, publication, section_of, three_nodes

#: More than two words of `needed_words` are about.
IDENTITIES = 10_000
#: Of a tail that gossips.
COUNT = 120


class Ranks(NamedTuple):
    """What of the state says who beats; each identity has its own number as its rank."""

    sender: npt.NDArray[np.int64]
    needed: npt.NDArray[np.uint64]
    needed_words: npt.NDArray[np.uint64]


class Memberships(NamedTuple):
    """What of the state says what was cached."""

    mesh: npt.NDArray[np.uint8]


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.one_of(st.integers(0, IDENTITIES - 1), st.sampled_from([0, 63, 64, 4095, 4096, 8191, 9999])),
            st.booleans(),
        ),
        max_size=40,
    ),
    first=st.integers(0, IDENTITIES),
    past=st.integers(0, IDENTITIES),
)
def test_the_next_rank_that_is_needed_is_found_over_any_distance(
    steps: list[tuple[int, bool]], first: int, past: int
) -> None:
    sender = np.zeros((IDENTITIES, SENDER_COLUMNS), dtype=np.int64)
    sender[:, RANK] = np.arange(IDENTITIES)
    ranks = Ranks(
        sender,
        np.zeros(IDENTITIES // 64 + 1, dtype=np.uint64),
        np.zeros(IDENTITIES // 4096 + 1, dtype=np.uint64),
    )
    state = cast(State, by_reference(ranks))
    expected: set[int] = set()
    for identity, needed in steps:
        set_needed(state, identity, needed)
        (expected.add if needed else expected.discard)(identity)
        assert is_needed(state, identity) == needed
    after = [rank for rank in expected if first <= rank < past]
    assert next_needed(state, first, past) == min(after, default=past)


def test_a_membership_names_the_only_message_of_an_interval_and_counts_several() -> None:
    arrays = Memberships(np.zeros((2, RECENT + 2 * 3), dtype=np.uint8))
    state = cast(State, by_reference(arrays))
    assert count_recent(state, 1, 2) == 0
    add_recent(state, 1, 2, 700)
    assert (recent(state, 1, 2), count_recent(state, 1, 2)) == (701, 1)
    add_recent(state, 1, 2, 3)
    assert recent(state, 1, 2) > SEVERAL
    assert count_recent(state, 1, 2) == 2
    # A slot that has no room is only counted, and counts end somewhere.
    add_recent(state, 1, 0, SEVERAL - 1)
    assert recent(state, 1, 0) > SEVERAL
    assert count_recent(state, 1, 0) == 1
    add_recent(state, 1, 1, SEVERAL - 2)
    assert recent(state, 1, 1) == SEVERAL - 1
    set_recent(state, 1, 1, SEVERAL + MOST_RECENT)
    add_recent(state, 1, 1, 5)
    assert count_recent(state, 1, 1) == MOST_RECENT
    set_recent(state, 1, 2, 0)
    assert count_recent(state, 1, 2) == 0
    assert not arrays.mesh[0].any()


class _AlwaysLookedUp(MessageTable):
    """Has every heartbeat look up arrivals, as if what memberships name could be another message."""

    def reserve(self, state: State, message_id: int, topic: int, now: int, time: int) -> tuple[State, int]:
        state, slot = super().reserve(state, message_id, topic, now, time)
        state.was_another[slot] = 1
        return state, slot


def test_what_memberships_name_is_what_arrivals_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes back lacks messages, whose slots others have had a moment before."""
    churn = {"sessions": {"kind": "exponential", "mean": "6 s"}, "absences": ["500 ms", "2 s"]}
    section = section_of(
        COUNT,
        populations={"tail": {"count": COUNT, "churn": churn}},
        gossip={"heartbeat": "900 ms", "seen_ttl": "4500 ms", "mcache_length": 5, "mcache_gossip": 4},
        publications=[publication(count=220, time="100 ms", interval="40 ms", size=100)],
    )
    engines = []
    for table in (MessageTable, _AlwaysLookedUp):
        monkeypatch.setattr(cold.engine, "MessageTable", table)
        engine = ColdEngine(Scenario(section, directory_of(COUNT), 3, 14 * NS_PER_S), three_nodes())
        engine.run_until(14 * NS_PER_S)
        engines.append(engine)
    named, looked_up = engines
    assert named.counters() == looked_up.counters()
    assert named.arrival_digest() == looked_up.arrival_digest()
    assert named.counters()["iwant_sent"] > 100
    # Some slots had to be looked up, and some had not.
    was_another = named._state.was_another[named._state.named_until > 0]
    assert 0 < was_another.sum() < len(was_another)


@pytest.mark.parametrize("count", [1, 7, 900])
def test_the_first_heartbeat_from_a_phase_on_is_found(count: int) -> None:
    """Of kinds of clients of different sizes and heartbeats, also where nobody is of a kind."""
    clients = {
        "most": {"share": 20},
        "few": {"share": 1, "gossip": {"heartbeat": "3 ns"}},
        "slow": {"share": 1, "gossip": {"heartbeat": "40 s"}},
    }
    section = section_of(count, clients=clients, gossip={"seen_ttl": "400 s"})
    engine = ColdEngine(Scenario(section, directory_of(count), 3, NS_PER_S), three_nodes())
    state = engine._state
    phase = state.sender[state.identity_of_rank, PHASE]
    for kind, heartbeat in enumerate((NS_PER_S, 3, 40 * NS_PER_S)):
        first, past = state.client[kind, [FIRST_RANK, PAST_RANK]].tolist()
        its = phase[first:past]
        assert (np.diff(its) >= 0).all()
        for offset in (-5, 0, 1, heartbeat - 1, heartbeat, 2 * heartbeat, *its.tolist(), *(its + 1).tolist()):
            assert first_rank(engine._reference, kind, offset) == first + np.searchsorted(its, offset), (kind, offset)
