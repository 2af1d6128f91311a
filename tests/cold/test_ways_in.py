"""How much chance in a message's first hops delays it."""

import numpy as np
import pytest
from scipy.optimize import brentq

from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.propagation import Groups, PropagationField, started
from cold.propagation_kernels import LEVELS
from cold.sampled_kernels import MESSAGE_BYTES
from cold.section import GossipSection
from cold.ways_in import delays_of_starts

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
