"""Transactions against theory: arrivals, who is pushed to, coverage, and how many hops it takes."""

from math import isqrt, log
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from bridge.directory import ColdPlacement, build_directory
from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.results import merge
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.transaction_kernels import TIME
from cold.transaction_results import transaction_table
from cold.transactions import planned_transactions
from tests.statistical.pictures import draw_curves

pytestmark = pytest.mark.statistical

CONFIDENCE = 0.99
FAST = 10**12
LATENCY = 50 * NS_PER_MS


def spread(count: int, seed: int, stop: int, **keys: Any) -> npt.NDArray[np.void]:
    """The table of transactions among identities that are all 50 ms apart, with links that take no time."""
    section = ColdSection.model_validate({"populations": {"tail": {"count": count}}, "transactions": keys})
    directory = build_directory([], [ColdPlacement("tail", count, ((0, 1.0),))], [(FAST, FAST)])
    paths = PathTable((0,), np.array([[LATENCY]]), np.zeros((1, 1)), LATENCY)
    engine = ColdEngine(Scenario(section, directory, seed, stop), paths)
    engine.run_until(stop)
    return transaction_table(merge([engine.partial_results()]))


def test_arrivals_are_a_poisson_process() -> None:
    section = ColdSection.model_validate({"populations": {"tail": {"count": 9}}, "transactions": {"rate": 20}})
    directory = build_directory([], [ColdPlacement("tail", 9, ((0, 1.0),))], [(FAST, FAST)])
    times = planned_transactions(Scenario(section, directory, 5, 1000 * NS_PER_S))[:, TIME]
    counts = np.bincount(times // NS_PER_S, minlength=1000)
    # The dispersion of Poisson counts is chi-squared.
    dispersion = float(((counts - counts.mean()) ** 2).sum() / counts.mean())
    low, high = stats.chi2.interval(CONFIDENCE, len(counts) - 1)
    assert low < dispersion < high
    expected = stats.poisson.interval(CONFIDENCE, 20_000)
    assert expected[0] <= len(times) <= expected[1]
    assert stats.kstest(np.diff(times), "expon", args=(0, NS_PER_S / 20)).pvalue > 1 - CONFIDENCE


def test_the_origin_pushes_to_the_root_of_its_peers() -> None:
    """After one latency only its peers have it: those pushed to have it, the others have been told."""
    stop = NS_PER_S + LATENCY + NS_PER_MS
    listed = [{"time": "1 s", "size": 200} for _ in range(60)]
    for degree in (9, 20, 50, 101):
        table = spread(3000, 2, stop, listed=listed, degree=degree, validation_delay="1 s")
        pushed, announced = table["pushed"], table["announced"]
        assert (pushed == [isqrt(peers) for peers in (pushed + announced).tolist()]).all()
        # A few edges are shared by two of the cycles that the network is made of.
        assert (pushed + announced).mean() == pytest.approx(degree * (1 - degree / 6000), abs=0.5)
        assert (table["delivered"] == pushed).all()


def test_everybody_gets_every_transaction_in_as_many_hops_as_a_branching_process() -> None:
    sizes, hops = (300, 1000, 3000, 10_000), []
    for count in sizes:
        table = spread(count, 3, 6 * NS_PER_S, rate=4, size="200 B", lifetime="4 s")
        done = table[table["time_ns"] < 3 * NS_PER_S]
        assert (done["delivered"] == count - 1).all()
        # With links that take no time and equal latencies, who is pushed to has it after a whole number of latencies.
        hops.append(float(done["mean_hops"].mean()))
    growth = [log(count) / log(isqrt(50) * 0.95) for count in sizes]
    sizes_of_all = np.array(sizes, dtype=np.float64)
    curves = {"mean over first copies": np.array(hops), "ln N / ln √n": np.array(growth)}
    draw_curves(
        *("transaction-hops", "Hops that transactions take", "identities", "hops"),
        {text: (sizes_of_all, values) for text, values in curves.items()},
    )
    # A hop more for a factor √n more identities.
    slope = np.polyfit(np.log(sizes), hops, 1)[0]
    assert slope == pytest.approx(1 / log(isqrt(50)), rel=0.15)
    assert all(abs(found - expected) < 1.5 for found, expected in zip(hops, growth, strict=True))


def test_what_is_only_announced_takes_the_wait_and_three_latencies_a_hop() -> None:
    table = spread(200, 4, 9 * NS_PER_S, listed=[{"time": "1 s", "size": "100 KB", "blobs": True}], degree=199)
    (row,) = table
    assert row["delivered"] == row["got_fetched"] == row["asked"] == 199
    assert row["pushed"] == row["duplicates"] == 0
    assert row["p50_ns"] > 500 * NS_PER_MS + 3 * LATENCY
    assert row["mean_hops"] == 1.0
