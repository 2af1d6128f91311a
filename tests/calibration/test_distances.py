"""Distances against their definitions, and their intervals against repeated draws."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from calibration import DISTANCES, Sample, distances, pool

VALUES = st.lists(
    st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: round(value, 3)), min_size=1, max_size=60
)


def values_of(reference: Sample, candidate: Sample) -> dict[str, float]:
    return {name: estimate.value for name, estimate in distances(reference, candidate, resamples=2).items()}


@given(VALUES, VALUES)
def test_distances_are_those_of_scipy_and_numpy(first: list[float], second: list[float]) -> None:
    found = values_of(Sample.of(first), Sample.of(second))
    assert tuple(found) == DISTANCES
    assert found["wasserstein"] == pytest.approx(scipy.stats.wasserstein_distance(first, second), rel=1e-9, abs=1e-6)
    steps = [scipy.stats.ecdf(values).cdf.evaluate(first + second) for values in (first, second)]
    assert found["kolmogorov_smirnov"] == pytest.approx(np.abs(steps[0] - steps[1]).max())
    for name, share in (("p50_error", 0.5), ("p95_error", 0.95), ("p99_error", 0.99)):
        before, after = (np.quantile(values, share, method="inverted_cdf") for values in (first, second))
        if before:
            assert found[name] == pytest.approx((after - before) / abs(before))


@given(VALUES)
def test_a_sample_is_at_no_distance_from_itself(values: list[float]) -> None:
    assert set(values_of(Sample.of(values), Sample.of(values)).values()) == {0.0}


@given(VALUES, VALUES)
def test_distances_are_symmetric_and_values_lie_in_their_intervals(first: list[float], second: list[float]) -> None:
    there = distances(Sample.of(first), Sample.of(second), resamples=20)
    back = distances(Sample.of(second), Sample.of(first), resamples=20)
    for name in ("wasserstein", "kolmogorov_smirnov"):
        assert there[name].value == pytest.approx(back[name].value)
        assert 0 <= there[name].low <= there[name].value <= there[name].high


@given(VALUES, st.floats(0.001, 1000))
def test_a_shift_is_its_own_wasserstein_distance(values: list[float], shift: float) -> None:
    moved = Sample.of(np.array(values) + shift)
    assert values_of(Sample.of(values), moved)["wasserstein"] == pytest.approx(shift, rel=1e-6, abs=1e-6)


def test_a_stretch_is_the_error_of_every_quantile() -> None:
    values = np.linspace(10, 1000, 500)
    found = values_of(Sample.of(values), Sample.of(values * 1.1))
    for name in ("p50_error", "p95_error", "p99_error"):
        assert found[name] == pytest.approx(0.1)
    assert values_of(Sample.of(-values), Sample.of(-values * 1.1))["p50_error"] == pytest.approx(-0.1)


def test_an_error_against_zero_is_infinite_unless_both_are_zero() -> None:
    zero, one = Sample.of([0.0] * 20), Sample.of([1.0] * 20)
    error = distances(zero, one, resamples=50)["p50_error"]
    assert (error.value, error.low, error.high) == (math.inf, math.inf, math.inf)
    assert distances(zero, zero, resamples=50)["p50_error"].high == 0


def test_the_same_seed_gives_the_same_intervals_and_another_does_not() -> None:
    generator = np.random.default_rng(1)
    first, second = Sample.of(generator.normal(size=100)), Sample.of(generator.normal(size=100))
    once, again, other = (distances(first, second, seed=seed, resamples=100) for seed in (7, 7, 8))
    assert once == again
    assert once != other
    assert {name: estimate.value for name, estimate in once.items()} == {
        name: estimate.value for name, estimate in other.items()
    }


def test_values_of_one_cluster_count_as_one_draw() -> None:
    """Writing every value down ten times tells nothing new, and must not make the interval narrower."""
    generator = np.random.default_rng(3)
    first, second = generator.normal(10, 1, 40), generator.normal(11, 1, 40)
    alone = distances(Sample.of(first), Sample.of(second))
    labels = np.tile(np.arange(40), 10)
    tenfold = distances(Sample.of(np.tile(first, 10), labels), Sample.of(np.tile(second, 10), labels))
    for name in DISTANCES:
        assert tenfold[name].high - tenfold[name].low == pytest.approx(alone[name].high - alone[name].low)


def test_pooling_keeps_the_clusters_of_different_runs_apart() -> None:
    first, second = Sample.of([1.0, 2.0, 3.0], ["a", "a", "b"]), Sample.of([4.0, 5.0], ["a", "b"])
    both = pool([first, second])
    assert both.values.tolist() == [1, 2, 3, 4, 5]
    assert both.cluster.tolist() == [0, 0, 1, 2, 3]
    assert both.clusters == 4
    assert len(pool([])) == 0


def test_samples_refuse_what_has_no_distance() -> None:
    with pytest.raises(ValueError, match="finite"):
        Sample.of([1.0, math.nan])
    with pytest.raises(ValueError, match="label"):
        Sample.of([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="empty"):
        distances(Sample.of([]), Sample.of([1.0]))


def delays(generator: np.random.Generator, messages: int, stretch: float = 1.0, shift: float = 0.0) -> Sample:
    """Delays of messages at 20 peers; what a message and its deliveries have in common is half of their variance."""
    common: npt.NDArray[np.float64] = generator.gamma(20, 5, size=(messages, 1))
    values = common + generator.gamma(4, 12.5, size=(messages, 20))
    return Sample.of((values * stretch + shift).ravel(), np.repeat(np.arange(messages), 20))


@pytest.mark.statistical
@pytest.mark.parametrize(("stretch", "shift"), [(1.0, 0.0), (1.05, 0.0), (1.0, 40.0)])
def test_intervals_cover_the_truth_as_often_as_they_say(stretch: float, shift: float) -> None:
    """95 % intervals, 100 draws: fewer than 86 hits have a probability below 0.0003 if 95 % is true.

    No distance at all is the case that matters most: there the noise floor is made.
    """
    if (stretch, shift) == (1.0, 0.0):
        truth = dict.fromkeys(DISTANCES, 0.0)
    else:
        large = np.random.default_rng(1), np.random.default_rng(2)
        truth = values_of(delays(large[0], 30_000), delays(large[1], 30_000, stretch, shift))
    hits = dict.fromkeys(DISTANCES, 0)
    for draw in range(100):
        generator = np.random.default_rng(100 + draw)
        found = distances(delays(generator, 40), delays(generator, 40, stretch, shift), resamples=200)
        for name, estimate in found.items():
            hits[name] += estimate.low <= truth[name] <= estimate.high
    print(f"stretch {stretch}, shift {shift} ms:", hits)
    assert min(hits.values()) >= 86, hits
