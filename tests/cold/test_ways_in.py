"""How much chance in a message's first hops delays it."""

import numpy as np
import pytest
from scipy.optimize import brentq

from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.arrival_curves import Curves, Hazard, Lacking
from cold.propagation import Groups, PropagationField, started
from cold.propagation_kernels import LEVELS
from cold.representatives import Outcome, started_outcome
from cold.sampled_kernels import MESSAGE_BYTES
from cold.section import GossipSection
from cold.ways_in import Branching, delays_of_starts, starts_of

LATENCY_S, UPLINK_BPS, SIZE, MEMBERS = 0.05, 10_000_000, 1000, 100_000


def one_place(**keys: object) -> tuple[Groups, PathTable, GossipSection]:
    group = Groups(
        group=np.zeros(MEMBERS, dtype=np.int32),
        size=np.array([MEMBERS]),
        node=np.zeros(1, dtype=np.int64),
        uplink_bps=np.array([UPLINK_BPS]),
        downlink_bps=np.array([10**12]),
    )
    latency = np.array([[round(LATENCY_S * NS_PER_S)]])
    return group, PathTable((0,), latency, np.zeros((1, 1)), int(latency[0, 0])), GossipSection.model_validate(keys)


def test_the_delay_of_a_start_is_that_of_a_branching_process() -> None:
    """Martingale limits of 100,000 simulated ones, each of copies one after another that share a validation's delay."""
    groups, paths, gossip = one_place(validation_delay={"kind": "uniform", "low": "1 ms", "high": "30 ms"})
    copy = (MESSAGE_BYTES + SIZE) * 8 / UPLINK_BPS
    turns = copy * np.arange(1, gossip.d + 1) + LATENCY_S + (MESSAGE_BYTES + SIZE) * 8 / 10**12
    checks = np.linspace(0.001, 0.03, 2001)
    rate = brentq(lambda s: np.exp(-s * checks).mean() * np.exp(-s * turns[:-1]).sum() - 1, 1.0, 1000.0)
    random = np.random.default_rng(1)
    limit = np.ones(100_000)
    for number in range(12):
        children = turns if number == 11 else turns[:-1]
        validated = np.exp(-rate * random.uniform(0.001, 0.03, len(limit)))
        limit = validated * sum(np.exp(-rate * turn) * random.permutation(limit) for turn in children)
    expected = -np.log(limit / limit.mean()) / rate * NS_PER_S
    drawn = delays_of_starts(groups, paths, gossip, 0, SIZE, 1000)
    assert (np.diff(drawn) <= 0).all()
    assert drawn.mean() == pytest.approx(expected.mean(), rel=0.05)
    assert drawn.std() == pytest.approx(expected.std(), rel=0.05)
    assert expected.mean() > 0.2 * NS_PER_MS


def test_where_members_are_away_or_silent_a_start_depends_on_how_many_pass_it_on() -> None:
    """The same of members that send to none to eight others, of which one in four goes no further; of two types."""
    random, size = np.random.default_rng(4), 400_000
    others = np.array([0.05, 0, 0.1, 0.2, 0.3, 0.2, 0.1, 0.05, 0])
    meshes = np.array([0, 0.05, 0, 0.1, 0.2, 0.3, 0.2, 0.1, 0.05])
    goes = np.array([[0.6, 0.15], [0.2, 0.55]])
    path = np.array([[0.01, 0.08], [0.08, 0.02]])
    copy, checks = np.array([0.001, 0.004]), (np.linspace(0.001, 0.02, 501), np.linspace(0.005, 0.006, 501))
    none = np.zeros((2, 9))
    # A third type is where nobody comes.
    three = np.zeros((3, 3))
    three[:2, :2] = goes
    branching = Branching(
        validation=[*checks, checks[0]],
        copy=np.append(copy, 1.0),
        goes=three,
        path=np.pad(path, ((0, 1), (0, 1))),
        others=np.concatenate([none + others, [none[0]]]),
        meshes=np.concatenate([none + meshes, [none[0]]]),
    )

    def sums(sends: np.ndarray, kind: int, rate: float, limits: list[np.ndarray]) -> np.ndarray:
        many = random.choice(9, size, p=sends)
        total = np.zeros(size)
        for turn in range(1, 9):
            to = random.choice(3, size, p=[*goes[kind], 0.25])
            for other in range(2):
                factor = np.exp(-rate * (turn * copy[kind] + path[kind, other]))
                total += (turn <= many) * (to == other) * factor * random.permutation(limits[other])
        return total * np.exp(-rate * random.choice(checks[kind], size))

    def growth(rate: float) -> float:
        turns = np.array(
            [[np.exp(-rate * copy[kind] * np.arange(1, k + 1)).sum() for k in range(9)] for kind in (0, 1)]
        )
        mean = turns @ others * [np.exp(-rate * each).mean() for each in checks]
        return float(np.abs(np.linalg.eigvals(mean[:, None] * goes * np.exp(-rate * path))).max()) - 1

    rate = brentq(growth, 0.1, 1000.0)
    limits = [np.ones(size), np.ones(size)]
    for _ in range(14):
        limits = [sums(others, kind, rate, limits) for kind in range(2)]
    from_each = [sums(meshes, kind, rate, limits) for kind in range(2)]
    # Where messages enter at members of both types, the one or the other begins.
    mixed = np.where(random.random(size) < 0.3, *from_each)
    for source, limit in (([1, 0, 0], from_each[0]), ([0, 1, 0], from_each[1]), ([0.3, 0.7, 0], mixed)):
        drawn = np.exp(-starts_of(branching, np.array(source), 20_000) / NS_PER_S * rate)
        assert drawn.mean() == pytest.approx(1, rel=0.01)
        assert drawn.var() == pytest.approx((limit / limit.mean()).var(), rel=0.05)
    assert not starts_of(branching, np.eye(3)[2], 8).any()
    assert not starts_of(branching._replace(goes=three * 0.2), np.eye(3)[0], 8).any()


def test_without_chance_every_start_is_alike() -> None:
    groups, paths, gossip = one_place()
    fast = groups._replace(uplink_bps=np.array([10**13]))
    assert np.abs(delays_of_starts(fast, paths, gossip, 0, SIZE, 16)).max() < 0.1 * NS_PER_MS
    few = one_place(d=2, d_low=2, d_lazy=2)[2]
    assert not delays_of_starts(groups, paths, few, 0, SIZE, 16).any()


def test_nothing_comes_before_the_first_of_its_group_and_everything_else_as_much_later() -> None:
    delay = np.sort(np.random.default_rng(2).integers(5 * NS_PER_MS, 10**9, (1, 2, LEVELS)), axis=2)
    overall = np.sort(np.random.default_rng(3).integers(5 * NS_PER_MS, 10**9, (1, LEVELS)), axis=1)
    ones = np.ones((1, 2))
    field = PropagationField(
        delay=delay,
        hops=np.ones((1, 2, LEVELS), dtype=np.uint8),
        reached=ones,
        totals=np.ones((1, 3), dtype=np.int64),
        summary=overall[:, [64, 121, 127, 128]],
        overall=overall,
        copies=ones,
        lasting=0.0,
    )
    later = np.array([7 * NS_PER_MS, 0, -20 * NS_PER_MS])
    several = started(field, later)
    assert several.delay.shape == (3, 2, LEVELS)
    assert (several.delay[0] == delay[0] + later[0]).all()
    assert (several.delay[1] == delay[0]).all()
    assert (several.delay[2] == np.maximum(delay[0] + later[2], delay[0, :, :1])).all()
    assert (several.summary[:, 1] - several.summary[1, 1] == later).all()
    assert (np.diff(several.delay, axis=2) >= 0).all()
    assert len(several.hops) == len(several.reached) == len(several.totals) == len(several.copies) == 3


def test_an_outcome_that_starts_earlier_begins_when_the_first_comes() -> None:
    """And one that starts later comes as much later altogether."""
    time = np.array([0, 10, 20, 30, 90], dtype=np.int64) * NS_PER_MS
    there = Lacking(time, np.array([1.0, 1.0, 0.8, 0.3, 0.0]), np.ones(5))
    coming = Hazard(time, np.array([[0.0, 0.0, 0.0, 0.5, 1.0]]))
    overall = np.linspace(12, 90, LEVELS).astype(np.int64) * NS_PER_MS
    none = np.zeros(1, dtype=np.int64)
    curves = Curves((there,), (coming,), np.ones(1), 90 * NS_PER_MS + 1)
    outcome = Outcome(overall[[64, 121, 127, 128]], overall, none, 5, none, none, 0, 5, curves)
    for later in (7 * NS_PER_MS, -15 * NS_PER_MS):
        moved = started_outcome(outcome, later)
        assert moved.curves is not None
        assert (moved.overall == np.maximum(overall + later, overall[0])).all()
        assert (moved.summary == np.maximum(outcome.summary + later, overall[0])).all()
        for curve, first in ((moved.curves.present[0], 10), (moved.curves.coming[0], 20)):
            expected = time + later if later > 0 else np.maximum(time + later, np.minimum(time, first * NS_PER_MS))
            assert (curve.time == expected).all()
            assert (np.diff(curve.time) >= 0).all()
        assert moved.curves.end >= int(moved.curves.present[0].time[-1])
