"""Responses queue on a server's uplink as the theory of the M/D/1 queue has it."""

import math
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from bridge.directory import BandwidthShare, ColdPlacement, HostDirectory, build_directory
from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.delay_layout import EXACT, SUB_BITS
from cold.engine import ColdEngine
from cold.request_kernels import wire_bytes
from cold.request_layout import ANSWERED, LATENCY_BUCKETS, LATENCY_SUM
from cold.scenario import Scenario
from cold.section import ColdSection
from tests.statistical.pictures import Curve, draw_curves

pytestmark = pytest.mark.statistical

#: Of a Student interval for the mean over the seeds.
CONFIDENCE = 0.99
SEEDS = range(1, 13)
ASKERS, SERVERS = 40, 10
SLOW, FAST = 10_000_000, 100_000_000_000
SIZE = 5000
LATENCY = 2 * NS_PER_MS
#: Nothing is measured before this: many times what a queue needs to forget that it began empty.
WARM_UP, END = 5 * NS_PER_S, 20 * NS_PER_S
#: Time of a response on the uplink [ns].
SERVICE = wire_bytes(SIZE) * 8 * NS_PER_S // SLOW


class Measured(NamedTuple):
    """Of the responses of one run after the warm-up."""

    mean_wait_ns: float
    wait_ns: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


def directory() -> HostDirectory:
    return build_directory(
        [],
        [
            ColdPlacement("askers", ASKERS, ((0, 1.0),), (BandwidthShare(1.0, FAST, FAST),)),
            ColdPlacement("servers", SERVERS, ((0, 1.0),), (BandwidthShare(1.0, SLOW, FAST),)),
        ],
    )


def section(load: float) -> ColdSection:
    """Everybody knows everybody, so that every server has the same load."""
    interval = round(ASKERS * SERVICE / (SERVERS * load))
    ask: dict[str, Any] = {
        "name": "blocks",
        "interval": {"kind": "exponential", "mean": f"{interval} ns"},
        "chunk_size": SIZE,
        "timeout": "100 s",
        "askers": {"populations": ["askers"]},
        "servers": {"populations": ["servers"]},
    }
    populations = {"askers": {"count": ASKERS}, "servers": {"count": SERVERS}}
    return ColdSection.model_validate({"populations": populations, "requests": [ask]})


def measure(load: float, seed: int) -> Measured:
    paths = PathTable((0,), np.array([[LATENCY]]), np.zeros((1, 1)), LATENCY)
    engine = ColdEngine(Scenario(section(load), directory(), seed, END), paths)
    states = []
    for end in (WARM_UP, END):
        engine.run_until(end)
        results = engine.partial_results()
        histogram = np.zeros(LATENCY_BUCKETS, dtype=np.int64)
        histogram[results.request_latency[:, 1]] = results.request_latency[:, 2]
        states.append((results.requests[0], histogram))
    counts, histogram = (after - before for before, after in zip(*states, strict=True))
    alone = 2 * LATENCY + SERVICE + (wire_bytes(SIZE) + wire_bytes(0)) * 8 * NS_PER_S / FAST
    there = np.flatnonzero(histogram)
    shift = np.maximum(there // (1 << SUB_BITS) - 1, 0)
    middle = np.where(there < EXACT, there, ((there - (shift << SUB_BITS)) << shift) + ((1 << shift) >> 1))
    mean = int(counts[LATENCY_SUM]) / int(counts[ANSWERED])
    return Measured(mean - alone, middle - alone, histogram[there])


def waits_at_most(load: float, time: float) -> float:
    """P(wait <= time), `time` in units of the service time (Erlang 1909): an alternating sum, so in many digits."""
    with localcontext() as context:
        context.prec = 80
        rho, x = Decimal(load), Decimal(time)
        total = Decimal(0)
        for k in range(math.floor(time) + 1):
            part = rho * (Decimal(k) - x)
            total += part**k / Decimal(math.factorial(k)) * (-part).exp() if k or part else Decimal(1)
        return float((1 - rho) * total)


@pytest.fixture(scope="module")
def curves() -> dict[str, Curve]:
    """What the tests of this module put into one picture."""
    return {}


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_the_mean_wait_is_that_of_an_m_d_1_queue(load: float, curves: dict[str, Curve]) -> None:
    """Rho / (2 mu (1 - rho)) lies in the 99 % interval, which is narrow enough to tell it from M/M/1's, the double."""
    runs = [measure(load, seed) for seed in SEEDS]
    waits = np.array([run.mean_wait_ns for run in runs])
    low, high = stats.t.interval(CONFIDENCE, len(waits) - 1, loc=waits.mean(), scale=stats.sem(waits))
    theory = load / (2 * (1 - load)) * SERVICE

    every = np.concatenate([run.wait_ns for run in runs])
    order = np.argsort(every)
    share = np.cumsum(np.concatenate([run.counts for run in runs])[order]) / sum(run.counts.sum() for run in runs)
    x = np.linspace(0.01, 12, 400)
    curves[f"measured, load {load}"] = (every[order] / SERVICE, share)
    curves[f"M/D/1, load {load}"] = (x, np.array([waits_at_most(load, each) for each in x]))
    draw_curves("requests-md1", "Waiting for a server's uplink", "wait / service time", "share of responses", curves)

    assert low < theory < high
    assert high - low < 0.1 * theory
    for time in (0.5, 1.5, 3.0):
        measured = np.interp(time * SERVICE, every[order], share)
        assert measured == pytest.approx(waits_at_most(load, time), abs=0.01)
