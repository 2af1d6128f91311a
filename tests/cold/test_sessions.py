"""Lives of identities: when they come and go."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.simtime import NEVER, NS_PER_S
from cold.life_layout import SHORTEST
from cold.sessions import Lives, habits_of
from tests.cold.lives_twin import LivesTwin
from tests.cold.networks import directory_of, section_of

NODES = (0, 1, 2)
CHURN = {
    "sessions": {"kind": "weibull", "shape": 0.6, "scale": "20 s"},
    "absences": {"kind": "exponential", "mean": "5 s"},
    "notice": 0.7,
}
CRASHES = [
    {"kind": "crash", "time": "30 s", "until": "41 s", "share": 0.5},
    {"kind": "crash", "time": "10 s", "until": "50 s", "share": 0.3, "regions": [1, 2]},
    {"kind": "crash", "time": "70 s", "share": 0.1},
]
CASES: dict[str, dict[str, Any]] = {
    "churn": {"churn": CHURN},
    "mainnet": {"churn": "mainnet"},
    "crashes": {"failures": CRASHES},
    "both": {"churn": CHURN, "failures": CRASHES},
    "as short as can be": {"churn": {"sessions": "0 s", "absences": "0 s", "dial": "0 s"}, "failures": CRASHES},
    "nothing": {},
}
END = 90 * NS_PER_S


def section_with(count: int, churn: Any = None, **keys: Any) -> Any:
    return section_of(count, populations={"tail": {"count": count, "churn": churn}}, **keys)


def lives_of(count: int, seed: int, **keys: Any) -> tuple[Lives, LivesTwin]:
    section, directory = section_with(count, **keys), directory_of(count, hot=2)
    return Lives(habits_of(section, directory, NODES), seed, 2), LivesTwin(section, directory, NODES, seed)


@pytest.mark.parametrize("case", CASES)
def test_lives_agree_with_the_twin(case: str) -> None:
    lives, twin = lives_of(80, 2**33 + 1, **CASES[case])
    changes = lives.take(END)
    told = [tuple(row) for row in zip(*(column.tolist() for column in changes), strict=True)]
    expected = [
        (interval.end, host - 2, not interval.is_up, interval.is_silent)
        for host in range(2, 82)
        for interval in twin.intervals(host, END)
        if interval.end < END
    ]
    assert sorted(told) == sorted(expected)
    assert (np.diff(changes.time) >= 0).all()
    assert (case == "nothing") == (len(told) == 0)


@pytest.mark.parametrize("case", CASES)
def test_whether_an_identity_is_up_is_known_at_any_time(case: str) -> None:
    lives, twin = lives_of(40, 7, **CASES[case])
    intervals = [twin.intervals(host, END) for host in range(2, 42)]
    rng = np.random.default_rng(1)
    now = 0
    while now < END - SHORTEST:
        lives.take(now + SHORTEST)
        lives.advance(now)
        for ahead in (0, 1, int(rng.integers(SHORTEST)), SHORTEST - 1):
            time = now + ahead
            expected = [next(i.is_up for i in life if i.begin <= time < i.end) for life in intervals]
            assert lives.is_up(time).tolist() == expected
        now += int(rng.integers(1, 3 * SHORTEST))


@settings(max_examples=20, deadline=None)
@given(ends=st.lists(st.integers(0, END), max_size=8), case=st.sampled_from(sorted(CASES)))
def test_changes_are_the_same_however_they_are_taken(ends: list[int], case: str) -> None:
    whole, pieces = (lives_of(30, 3, **CASES[case])[0] for _ in range(2))
    expected, taken = whole.take(END), []
    for end in [*sorted(ends), END]:
        following = pieces.next_time()
        piece = pieces.take(end)
        assert len(piece.time) == 0 or piece.time[0] == following
        pieces.advance(end - 1)
        taken += piece.time.tolist()
    assert taken == expected.time.tolist()
    assert pieces.next_time() >= END


def test_copies_go_on_by_themselves_whoever_lists_a_span_first() -> None:
    lives, expected = lives_of(50, 9, **CASES["both"])[0], lives_of(50, 9, **CASES["both"])[0]
    lives.take(5 * NS_PER_S)
    lives.advance(5 * NS_PER_S - 1)
    ahead, behind, at_first = lives.copied(), lives.copied(), lives.number.copy()
    assert len(ahead.take(40 * NS_PER_S).time)
    ahead.advance(40 * NS_PER_S - 1)
    expected.take(5 * NS_PER_S)
    expected.advance(5 * NS_PER_S - 1)
    for one in (behind, lives):
        twin = expected.copied()
        for now in range(6 * NS_PER_S, 60 * NS_PER_S, 1500 * 10**6):
            for left, right in zip(one.take(now), twin.take(now), strict=True):
                assert left.tolist() == right.tolist()
            one.advance(now - 1)
            twin.advance(now - 1)
            for name in ("number", "until", "since", "outlines"):
                assert getattr(one, name).tolist() == getattr(twin, name).tolist()
    # One that becomes a copy of another again forgets what it has come to.
    changed = np.flatnonzero((ahead.number != at_first) | (behind.number != at_first))
    assert 0 < len(changed) < 50
    ahead.become(behind, changed)
    for name in ("number", "until", "since", "outlines"):
        assert getattr(ahead, name).tolist() == getattr(behind, name).tolist()
    assert ahead.take(END).time.tolist() == behind.take(END).time.tolist()
    assert ahead.number.tolist() == behind.number.tolist()
    assert ahead.number is not behind.number


def test_without_churn_and_crashes_nothing_ever_changes() -> None:
    lives, _ = lives_of(10, 1)
    assert lives.next_time() == NEVER
    assert len(lives.take(NEVER).time) == 0
    assert lives.is_up(0).all()


def test_the_share_that_is_up_is_stationary() -> None:
    """Up at any time with probability E[session] / (E[session] + E[absence]): within 4.5 standard deviations."""
    count = 20_000
    sessions = {"kind": "lognormal", "median": "20 s", "sigma": 1.0}
    lives, _ = lives_of(count, 5, churn={"sessions": sessions, "absences": ["10 s", "20 s"], "dial": "0 s"})
    # No session is shorter than a second, which a log-normal one is with a probability of 0.0014.
    up = 20 * np.exp(0.5) / (20 * np.exp(0.5) + 15)
    for second in range(0, 121, 10):
        lives.take((second + 1) * NS_PER_S)
        lives.advance(second * NS_PER_S)
        share = lives.is_up(second * NS_PER_S).mean()
        assert abs(share - up) < 4.5 * np.sqrt(up * (1 - up) / count)
