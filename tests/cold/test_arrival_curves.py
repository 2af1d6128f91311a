"""When identities get a message, drawn from what was observed of others."""

import numpy as np
import pytest

from bridge.simtime import NEVER, NS_PER_MS, NS_PER_S
from cold.arrival_curves import Curves, Observed, draw_arrival, observed_curves, share_lacking

ALWAYS = [(0, 60 * NS_PER_S)]
BEAT = NS_PER_S


def observe(
    received: list[float], changes: tuple[tuple[float, int, bool], ...] = (), away: tuple[int, ...] = ()
) -> Curves:
    """Of identities that got a message after so many ms, or never (inf), and that come and go at times in ms."""
    times = [NEVER if each == float("inf") else int(each * NS_PER_MS) for each in received]
    was_up = np.ones(len(times), dtype=np.bool_)
    was_up[list(away)] = False
    observed = Observed(
        np.array(times),
        np.arange(len(times)),
        was_up,
        np.array([int(when * NS_PER_MS) for when, _, _ in changes], dtype=np.int64),
        np.array([who for _, who, _ in changes], dtype=np.int64),
        np.array([comes for _, _, comes in changes], dtype=np.bool_),
    )
    return observed_curves(observed, np.zeros(len(times), dtype=np.int64), np.zeros(1, dtype=np.int64))


def drawn(curves: Curves, sessions: list[tuple[int, int]], count: int = 1000) -> list[float]:
    """Arrivals in ms at even draws; inf where none."""
    found = [draw_arrival(curves, 0, sessions, (number + 0.5) / count, BEAT)[0] for number in range(count)]
    return [float("inf") if each == NEVER else each / NS_PER_MS for each in found]


def test_those_that_are_up_get_it_as_those_did_that_were_observed() -> None:
    received = sorted(np.random.default_rng(1).gamma(4.0, 20.0, 400).tolist())
    times = drawn(observe(received), ALWAYS)
    for percent in (10, 25, 50, 75, 99):
        assert np.percentile(times, percent) == pytest.approx(np.percentile(received, percent), rel=0.03)
    assert min(times) >= received[0] - 0.001
    assert max(times) <= received[-1] + 0.001


def test_a_curve_of_many_has_few_points_and_says_the_same() -> None:
    received = sorted(np.random.default_rng(3).gamma(4.0, 20.0, 20_000).tolist())
    curves = observe(received)
    assert len(curves.present[0].time) < 1100
    times = drawn(curves, ALWAYS)
    for percent in (1, 25, 50, 75, 99):
        assert np.percentile(times, percent) == pytest.approx(np.percentile(received, percent), rel=0.03)
    assert max(times) <= received[-1] + 0.001


def test_those_that_nothing_came_to_get_nothing() -> None:
    times = drawn(observe([10, 20, 30, float("inf")]), ALWAYS)
    assert sum(each == float("inf") for each in times) == pytest.approx(250, abs=1)
    assert all(each == float("inf") for each in drawn(observe([float("inf")] * 3), ALWAYS))


def test_who_leaves_early_is_counted_as_one_of_whom_nothing_is_known() -> None:
    """Half of the identities leave after 15 ms: of those that remain, all get it."""
    received = [10.0] * 20 + [float("inf")] * 40 + [50.0] * 40
    leave = tuple((15.0, number, False) for number in range(20, 60))
    times = np.array(drawn(observe(received, leave), ALWAYS))
    assert np.isfinite(times).all()
    assert (times <= 10.001).mean() == pytest.approx(0.2, abs=0.01)


def test_who_is_away_gets_nothing() -> None:
    curves = observe([10.0] * 50 + [200.0] * 50)
    until = 100 * NS_PER_MS
    times = np.array(drawn(curves, [(0, until)]))
    assert (times[np.isfinite(times)] <= 100).all()
    assert np.isfinite(times).mean() == pytest.approx(0.5, abs=0.02)
    assert all(each == float("inf") for each in drawn(curves, []))


def test_who_comes_gets_it_as_quickly_as_others_that_came() -> None:
    """A hundred come after a second; each gets it after an exponential time of 2 s in the mean."""
    generator = np.random.default_rng(2)
    late = 1000 + generator.exponential(2000.0, 100)
    received = [20.0] * 100 + late.tolist()
    comes = tuple((1000.0, number, True) for number in range(100, 200))
    curves = observe(received, comes, tuple(range(100, 200)))
    times = np.array(drawn(curves, [(3 * NS_PER_S, 60 * NS_PER_S)]))
    assert times.min() >= 3000
    got = times[np.isfinite(times)]
    assert np.median(got - 3000) == pytest.approx(2000 * np.log(2), rel=0.25)


def test_what_is_left_to_those_that_were_there_goes_on_when_they_return() -> None:
    received = [20.0] * 100 + [1500.0] * 100
    comes = tuple((1000.0, number, True) for number in range(100, 200))
    curves = observe(received, comes, tuple(range(100, 200)))
    times = np.array(drawn(curves, [(0, 10 * NS_PER_MS), (NS_PER_S, 60 * NS_PER_S)]))
    got = times[np.isfinite(times)]
    assert len(got) > 900
    assert (got >= 1000).all()


def test_the_share_that_lacks_a_message_is_that_of_those_who_have_drawn_later_times() -> None:
    """Of identities that are away for some time, come late, or are always there."""
    random = np.random.default_rng(4)
    received = random.gamma(4.0, 20.0, 400)
    leave = tuple((30.0, number, False) for number in range(100))
    come = tuple((90.0 + number / 10, number, True) for number in range(100))
    received[:100] = np.where(received[:100] < 30, received[:100], received[:100] + 200)
    curves = observe(received.tolist(), leave + come)
    ms = NS_PER_MS
    for sessions in (ALWAYS, [(0, 60 * ms), (110 * ms, 400 * ms)], [(100 * ms, 250 * ms), (260 * ms, 300 * ms)]):
        times = np.array(drawn(curves, sessions))
        at = np.array([1, 40, 60, 80, 120, 240, 270, 500])
        shares = share_lacking(curves, 0, sessions, at * ms, BEAT)
        assert (times > at[:, None]).mean(axis=1) == pytest.approx(shares, abs=0.003), sessions
