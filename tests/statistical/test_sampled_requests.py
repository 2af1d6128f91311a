"""What some ask in the place of all is what all would ask, as surely as the errors say that are told beside it."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from benchmarks.sampled_requests import protocols
from bridge.directory import BandwidthShare, ColdPlacement, build_directory
from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.request_results import request_table
from cold.scenario import Scenario
from cold.section import ColdSection
from tests.statistical.pictures import Curve, draw_curves

pytestmark = pytest.mark.statistical

IDENTITIES, REPRESENTATIVES, SEEDS = 600, 120, range(1, 41)
END = 20 * NS_PER_S
#: Of an interval for what is estimated.
CONFIDENCE = 0.95
#: That as many of the intervals as are wanted hold what is exact.
CERTAINTY = 0.999
#: By name, the column that has the standard error.
ESTIMATES = {
    "asked": "asked_error",
    "answered": "answered_error",
    "refused": "refused_error",
    "response_bytes": "response_bytes_error",
    "mean_ns": "mean_error_ns",
}


class Run(NamedTuple):
    """One network, with one seed."""

    exact: npt.NDArray[np.void]
    sampled: npt.NDArray[np.void]
    gossip_ns: tuple[float, float]
    """Mean of the median delay of the messages, exact and sampled."""


def run(seed: int, requests: list[dict[str, Any]]) -> tuple[npt.NDArray[np.void], float]:
    latency = np.array([[2, 40, 90], [40, 2, 60], [90, 60, 2]], dtype=np.int64) * NS_PER_MS
    paths = PathTable((0, 1, 2), latency, np.full((3, 3), 0.01), 2 * NS_PER_MS)
    links = (BandwidthShare(0.3, 10**9, 10**9), BandwidthShare(0.7, 50_000_000, 50_000_000))
    placed = ColdPlacement("tail", IDENTITIES, ((0, 2.0), (1, 1.0), (2, 1.0)), links)
    section = ColdSection.model_validate(
        {
            "populations": {"tail": {"count": IDENTITIES}},
            "overlay": {"degree": 12},
            "publications": [{"topic": 1, "time": "1 s", "count": 130, "interval": "140 ms", "size": "10 KB"}],
            "requests": requests,
        }
    )
    engine = ColdEngine(Scenario(section, build_directory([], [placed]), seed, END), paths)
    engine.run_until(END)
    table = request_table(engine.partial_results(), [request["name"] for request in requests])
    return table, float(engine.message_table()["p50_ns"].mean())


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    asked = protocols(0.3)
    coarse = {"level": "sampled", "representatives": REPRESENTATIVES}
    result = []
    for seed in SEEDS:
        exact, true_ns = run(seed, asked)
        sampled, other_ns = run(seed, [{**each, "resolution": coarse} for each in asked])
        result.append(Run(exact, sampled, (true_ns, other_ns)))
    return result


def test_intervals_hold_what_is_exact_as_often_as_they_say(runs: list[Run]) -> None:
    """Deviations in units of the standard error, of each estimate over the seeds."""
    curves: dict[str, Curve] = {}
    bound = stats.norm.ppf(0.5 + CONFIDENCE / 2)
    for protocol, name in ((0, "asked"), (0, "refused"), (0, "mean_ns"), (1, "answered"), (1, "response_bytes")):
        deviations = np.array(
            [
                (each.sampled[name][protocol] - each.exact[name][protocol]) / each.sampled[ESTIMATES[name]][protocol]
                for each in runs
            ]
        )
        share = np.arange(1, len(runs) + 1) / len(runs)
        curves[f"{runs[0].exact['protocol'][protocol]}: {name}"] = np.sort(deviations), share
        # No more are outside than chance puts there, and they are on both sides.
        outside = int(np.count_nonzero(np.abs(deviations) > bound))
        assert outside <= stats.binom.ppf(CERTAINTY, len(runs), 1 - CONFIDENCE), name
        assert abs(deviations.mean()) < stats.norm.ppf(0.5 + CERTAINTY / 2) / np.sqrt(len(runs)), name
        # Nor are the errors far too large.
        assert deviations.std() > 0.5, name
    x = np.linspace(-3, 3, 200)
    curves["normal"] = x, stats.norm.cdf(x)
    title = f"{REPRESENTATIVES} of {IDENTITIES} ask in the place of all, {len(runs)} seeds"
    draw_curves("sampled-requests", title, "(estimate - exact) / standard error", "share of seeds", curves)


def test_gossip_meets_the_requests_that_are_not_executed(runs: list[Run]) -> None:
    """The mean of its median delay, at 99 % confidence: the interval of the difference lies within a twentieth."""
    true, other = np.array([each.gossip_ns for each in runs]).T
    change = (other - true) / true.mean()
    low, high = stats.t.interval(0.99, len(runs) - 1, loc=change.mean(), scale=stats.sem(change))
    assert -0.05 < low < high < 0.05
