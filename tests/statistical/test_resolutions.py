"""The coarse resolutions beside the exact one: what they say of the same messages on the same network."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from benchmarks.cold_resolutions import (
    Network,
    Outcome,
    build_network,
    bytes_sent,
    duplicates,
    measure_drawn,
    measure_exact,
    rank_correlation,
)
from tests.statistical.pictures import draw_curves

pytestmark = pytest.mark.statistical

IDENTITIES, MESSAGES = 6000, 40
#: Every bound below is checked against an interval of this confidence for the mean over the messages.
CONFIDENCE = 0.99
Coarse = Literal["sampled", "mean-field"]
Measured = tuple[Network, Outcome, dict[Coarse, Outcome]]


def measure(loss: float, size: int, idontwant_size: int | None) -> Measured:
    validation = {"kind": "uniform", "low": "1 ms", "high": "30 ms"}
    network = build_network(
        IDENTITIES, MESSAGES, loss, size, validation_delay=validation, idontwant_size=idontwant_size
    )
    exact, table = measure_exact(network)
    drawn: dict[Coarse, Outcome] = {
        "sampled": measure_drawn(network, table, "sampled"),
        "mean-field": measure_drawn(network, table, "mean-field"),
    }
    return network, exact, drawn


@pytest.fixture(
    scope="module",
    params=[
        ("plain", 0.0, 1024, None),
        ("lossy", 0.1, 1024, None),
        ("large", 0.0, 30_000, None),
        ("told", 0.1, 1024, 1024),
        ("large and told", 0.0, 30_000, 1024),
    ],
    ids=lambda case: str(case[0]),
)
def measured(request: pytest.FixtureRequest) -> Measured:
    name, loss, size, told = request.param
    network, exact, drawn = measure(loss, size, told)
    draw_curves(
        f"resolutions-{name.replace(' ', '-')}",
        f"{IDENTITIES} identities, {MESSAGES} messages of {size} bytes, loss {loss}",
        "delivery delay [ms]",
        "share of identities and messages",
        {"exact": distribution(exact), **{resolution: distribution(outcome) for resolution, outcome in drawn.items()}},
    )
    return network, exact, drawn


def distribution(outcome: Outcome) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    delays = np.sort(outcome.delay[outcome.delay >= 0])
    shares = np.linspace(0, 1, 400)
    return np.quantile(delays, shares) / 1e6, shares


def interval(changes: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Interval of Student's t for the mean."""
    low, high = stats.t.interval(CONFIDENCE, len(changes) - 1, loc=changes.mean(), scale=stats.sem(changes))
    return float(low), float(high)


@pytest.mark.parametrize(("column", "name"), [(0, "median"), (1, "p95"), (2, "p99")])
@pytest.mark.parametrize("resolution", ["sampled", "mean-field"])
def test_delays_differ_by_less_than_the_bound(measured: Measured, resolution: Coarse, column: int, name: str) -> None:
    """Message by message, relative to the mean of the exact ones: the whole interval lies within the bound.

    A large message depends on who of the publisher's peers gets it first, which forty messages do not average out.
    """
    _, exact, coarse = measured
    true = exact.summary[:, column]
    bound = 0.04 if exact.payload_size < 10_000 else 0.08
    low, high = interval((coarse[resolution].summary[:, column] - true) / true.mean())
    assert -bound < low, name
    assert high < bound, name


@pytest.mark.parametrize("resolution", ["sampled", "mean-field"])
def test_traffic_differs_by_less_than_one_in_a_hundred(measured: Measured, resolution: Coarse) -> None:
    """Equations err by somewhat more in what is spared where messages are told of."""
    network, exact, coarse = measured
    other = coarse[resolution]
    is_told = exact.per_message["idontwant_sent"] > 0
    bound = 0.025 if is_told and resolution == "mean-field" else 0.01
    assert duplicates(other) == pytest.approx(duplicates(exact), rel=bound)
    assert bytes_sent(network, other) == pytest.approx(bytes_sent(network, exact), rel=bound)
    assert other.per_message["idontwant_sent"] == pytest.approx(exact.per_message["idontwant_sent"], rel=0.01)
    assert other.per_message["copies_spared"] == pytest.approx(exact.per_message["copies_spared"], rel=2 * bound)
    assert other.per_message["ihave_sent"] == pytest.approx(exact.per_message["ihave_sent"], rel=0.01)
    assert other.per_message["delivered"] == pytest.approx(exact.per_message["delivered"], rel=0.001)


@pytest.mark.parametrize(("resolution", "factor"), [("sampled", 1.5), ("mean-field", 2.5)])
def test_requests_are_of_the_right_order(measured: Measured, resolution: Coarse, factor: float) -> None:
    """IWANT is rare: some in a thousand identities ask for a message before it is pushed to them."""
    _, exact, coarse = measured
    true = exact.per_message["iwant_sent"]
    assert true / factor < coarse[resolution].per_message["iwant_sent"] < true * factor


def test_the_same_identities_come_late_where_arrivals_are_sampled(measured: Measured) -> None:
    network, exact, coarse = measured
    assert rank_correlation(network, coarse["sampled"]) == pytest.approx(rank_correlation(network, exact), abs=0.15)
    # Equations know no identities.
    assert rank_correlation(network, coarse["mean-field"]) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("resolution", ["sampled", "mean-field"])
def test_messages_differ_as_much_as_they_do(measured: Measured, resolution: Coarse) -> None:
    """The place of the publisher makes most of the difference between messages, and both keep it."""
    _, exact, coarse = measured
    medians, true = coarse[resolution].summary[:, 0], exact.summary[:, 0]
    assert medians.std() == pytest.approx(true.std(), rel=0.35)
    assert np.corrcoef(medians, true)[0, 1] > 0.5
