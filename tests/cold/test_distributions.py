"""Distributions of the configuration: what they draw, against scipy's; and what is refused."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from bridge.rng import draw_u64_array
from bridge.units import Duration, Size
from cold.distribution_kernels import draw_value, draw_values
from cold.distributions import Distribution, Drawn, join_tables
from cold.jit import uint64
from tests.cold import quantile_twin

SECOND = 10**9
WORDS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.builds(lambda bit, low: (1 << bit) + low % (1 << bit), st.integers(0, 63), st.integers(0, 2**63)),
    st.builds(lambda bit, low: 2**64 - 1 - ((1 << bit) + low % (1 << bit)), st.integers(0, 62), st.integers(0, 2**63)),
)
# What a file may say, the same for scipy [s], and where values end [s].
CASES: dict[str, tuple[Any, Any, float]] = {
    "uniform": ({"kind": "uniform", "low": "1 s", "high": "4 s"}, stats.uniform(1, 3), np.inf),
    "exponential": ({"kind": "exponential", "mean": "5 s"}, stats.expon(scale=5), np.inf),
    "weibull": ({"kind": "weibull", "shape": 0.5, "scale": "5 s"}, stats.weibull_min(0.5, scale=5), np.inf),
    "lognormal": ({"kind": "lognormal", "median": "5 s", "sigma": 1.5}, stats.lognorm(1.5, scale=5), np.inf),
    "pareto": ({"kind": "pareto", "minimum": "5 s", "alpha": 1.5}, stats.pareto(1.5, scale=5), np.inf),
    "exponential, cut": ({"kind": "exponential", "mean": "5 s", "maximum": "4 s"}, stats.expon(scale=5), 4),
    "weibull, cut": (
        {"kind": "weibull", "shape": 2, "scale": "5 s", "maximum": "6 s"},
        stats.weibull_min(2, scale=5),
        6,
    ),
    "lognormal, cut": (
        {"kind": "lognormal", "median": "5 s", "sigma": 1.5, "maximum": "9 s"},
        stats.lognorm(1.5, scale=5),
        9,
    ),
    "pareto, cut": (
        {"kind": "pareto", "minimum": "5 s", "alpha": 0.5, "maximum": "1 h"},
        stats.pareto(0.5, scale=5),
        3600,
    ),
    "quantiles": (["1 s", "2 s"], stats.uniform(1, 1), np.inf),
}


def durations(written: Any) -> Distribution:
    return read(written, Drawn(Duration))


def read(written: Any, drawn: Drawn) -> Distribution:
    distribution: Distribution = TypeAdapter(Annotated[Distribution, drawn]).validate_python(written)
    return distribution


def draws(distribution: Distribution, count: int) -> npt.NDArray[np.int64]:
    return draw_values(distribution.table(), draw_u64_array(7, np.arange(count), 1, 0))


@pytest.mark.parametrize("case", CASES)
def test_draws_follow_the_distribution(case: str) -> None:
    """Kolmogorov-Smirnov over 200,000 draws; a right sampler fails with probability 0.001 for a new seed."""
    written, reference, end = CASES[case]
    values = draws(durations(written), 200_000) / SECOND
    whole = reference.cdf(end)
    assert values.max() <= end
    assert stats.kstest(values, lambda x: reference.cdf(x) / whole).pvalue > 0.001


@pytest.mark.parametrize("case", ["exponential", "weibull", "lognormal", "pareto"])
def test_quantiles_are_right_far_out_in_both_tails(case: str) -> None:
    """The steps of the table are 1/64 of their tail's probability: interpolation errs by less than a thousandth."""
    written, reference, _ = CASES[case]
    table = durations(written).table()
    for exponent in range(2, 31, 4):
        tail = 0.7 * 2.0**-exponent
        low = draw_value(table, 0, uint64(int(tail * 2**64)))
        high = draw_value(table, 0, uint64(2**64 - int(tail * 2**64)))
        assert low == pytest.approx(reference.ppf(tail) * SECOND, rel=1e-3, abs=2)
        assert high == pytest.approx(reference.isf(tail) * SECOND, rel=1e-3)


def test_a_normal_distribution_is_for_what_may_be_negative() -> None:
    written = {"kind": "normal", "mean": "1 s", "deviation": "2 s"}
    distribution = read(written, Drawn(Duration, least=-(2**62)))
    values = draws(distribution, 200_000) / SECOND
    assert stats.kstest(values, stats.norm(1, 2).cdf).pvalue > 0.001
    with pytest.raises(ValidationError, match="draws go down to -"):
        durations(written)


def test_a_mixture_draws_from_each_part_in_its_share() -> None:
    """The count of each part is binomial: within 4.5 standard deviations, with probability 1 - 10**-5."""
    mixture = durations(
        {
            "kind": "mixture",
            "of": [
                {"share": 8, "of": {"kind": "exponential", "mean": "3 s", "maximum": "30 s"}},
                {"share": 1, "of": "4 min"},
                {"share": 1, "of": ["5 min", "96 min"]},
            ],
        }
    )
    count = 100_000
    values = draws(mixture, count) / SECOND
    for share, inside in ((0.8, values <= 30), (0.1, values == 240), (0.1, values >= 300)):
        assert abs(inside.sum() - share * count) < 4.5 * np.sqrt(count * share * (1 - share))
    short = stats.truncexpon(10, scale=3)
    assert stats.kstest(values[values <= 30], short.cdf).pvalue > 0.001
    assert stats.kstest(values[values >= 300], stats.uniform(300, 5460).cdf).pvalue > 0.001


@settings(max_examples=300, deadline=None)
@given(word=WORDS, case=st.sampled_from(sorted(CASES)))
def test_the_kernel_agrees_with_its_twin(word: int, case: str) -> None:
    table = durations(CASES[case][0]).table()
    assert draw_value(table, 0, uint64(word)) == quantile_twin.draw(table, word)


@settings(max_examples=100, deadline=None)
@given(word=WORDS)
def test_tables_of_several_distributions_share_an_array(word: int) -> None:
    distributions = [
        durations("3 ns"),
        durations(["1 s", "5 s", "6 s"]),
        durations(CASES["weibull"][0]),
        durations("2 s"),
    ]
    table, first = join_tables([distribution.table() for distribution in distributions])
    for distribution, begin in zip(distributions, first, strict=True):
        expected = quantile_twin.draw(distribution.table(), word)
        assert draw_value(table, begin, uint64(word)) == expected


@settings(max_examples=200, deadline=None)
@given(
    words=st.lists(WORDS, min_size=2, max_size=20),
    shape=st.floats(0.05, 20),
    scale=st.integers(0, 10**12),
    kind=st.sampled_from(["weibull", "exponential", "lognormal", "pareto"]),
)
def test_draws_ascend_with_the_word_and_stay_within_the_bounds(
    words: list[int], shape: float, scale: int, kind: str
) -> None:
    keys: dict[str, dict[str, Any]] = {
        "weibull": {"shape": shape, "scale": f"{scale} ns"},
        "exponential": {"mean": f"{scale} ns"},
        "lognormal": {"median": f"{scale} ns", "sigma": min(shape, 3)},
        "pareto": {"minimum": f"{scale} ns", "alpha": shape},
    }
    distribution = durations({"kind": kind, **keys[kind], "maximum": f"{2 * scale + 1} ns"})
    smallest, largest = distribution.bounds()
    values = draw_values(distribution.table(), np.array(sorted(words), dtype=np.uint64))
    assert (np.diff(values) >= 0).all()
    assert smallest <= values[0]
    assert values[-1] <= largest <= 2 * scale + 1


@pytest.mark.parametrize("name", ["sizes.csv", "sizes.parquet"])
@pytest.mark.parametrize("count", [1, 2, 1000, 50_000])
def test_a_measured_sample_comes_back(name: str, count: int, tmp_path: Path) -> None:
    """Two-sample Kolmogorov-Smirnov at the level 0.001; the sample itself where it is small."""
    sample = np.sort(np.random.default_rng(1).lognormal(3, 1, count).round(2))
    table = pa.table({"other": sample * 0, "size": sample})
    if name.endswith("csv"):
        pyarrow.csv.write_csv(table, tmp_path / name)
    else:
        pyarrow.parquet.write_table(table, tmp_path / name)
    adapter: TypeAdapter[Distribution] = TypeAdapter(Annotated[Distribution, Drawn(Size)])
    written = {"kind": "sample", "path": name, "column": "size", "unit": "1 KB"}
    distribution = adapter.validate_python(written, context={"folder": tmp_path})
    values = draws(distribution, 50_000)
    assert distribution.bounds() == (round(sample[0] * 1000), round(sample[-1] * 1000))
    if count >= 1000:
        assert stats.ks_2samp(values, sample * 1000).pvalue > 0.001


@pytest.mark.parametrize(
    ("written", "place", "message"),
    [
        ("3 parsec", ("constant", "value"), "'parsec' is not a unit of time"),
        ([], ("quantiles", "values"), "at least 1 item"),
        (["2 s", "1 s"], ("quantiles",), "must ascend"),
        ({"kind": "gamma"}, (), "does not match any of the expected tags"),
        ({"kind": "uniform", "low": "2 s", "high": "1 s"}, ("uniform",), "low must not be above high"),
        ({"kind": "uniform", "low": "2 s"}, ("uniform", "high"), "Field required"),
        ({"kind": "weibull", "shape": 0, "scale": "1 s"}, ("weibull", "shape"), "greater than 0"),
        ({"kind": "exponential", "mean": "9 s", "maximum": "0 s"}, ("exponential",), "leaves nothing to draw"),
        ({"kind": "pareto", "minimum": "2 s", "alpha": 1, "maximum": "1 s"}, ("pareto",), "leaves nothing to draw"),
        ({"kind": "pareto", "minimum": "2 s", "alpha": 0.1}, ("pareto",), "give it a maximum"),
        ({"kind": "exponential", "mean": "1 h", "mode": 3}, ("exponential", "mode"), "Extra inputs"),
        ({"kind": "mixture", "of": []}, ("mixture", "of"), "at least 1 item"),
        (
            {"kind": "mixture", "of": [{"share": 1, "of": {"kind": "uniform", "low": "1 s", "high": "x"}}]},
            ("mixture", "of", 0, "of", "uniform", "high"),
            "'x' is not a time",
        ),
        ({"kind": "sample", "path": "/nowhere.csv", "column": "x", "unit": "1 s"}, ("sample",), "cannot be read"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(written: Any, place: tuple[str | int, ...], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        durations(written)
    (error,) = caught.value.errors()
    assert error["loc"] == place
    assert message in error["msg"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "has no column x; it has a, b"),
        ("x\n1\nword\n", "must hold numbers"),
        ("x\n", "must hold numbers"),
        ("x,y\n1,2\n,3\n", "must hold numbers"),
        ("x\n1e30\n", "beyond 62 bits"),
    ],
)
def test_a_bad_file_is_told(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(ValidationError, match=message):
        durations({"kind": "sample", "path": str(tmp_path / "x.csv"), "column": "x", "unit": "1 ms"})


def test_a_distribution_that_can_leave_its_fields_bounds_is_refused() -> None:
    with pytest.raises(ValidationError, match="draws go up to 2000, and must be at most 1999; give it a maximum"):
        read("2 KB", Drawn(Size, most=1999))
