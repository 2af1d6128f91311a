"""Comparisons: what each verdict takes, and that what is written is what was found."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bridge.errors import UserError
from calibration import OBSERVABLES, Comparison, Estimate, RunRecords, Verdict, compare, compare_command, read_run
from calibration.compare import judge

MakeRun = Callable[..., Path]
DELAY = [OBSERVABLES["delivery_delay"]]


def drawn(seed: int, *, messages: int = 60, peers: int = 12, stretch: float = 1.0) -> npt.NDArray[np.float64]:
    """Delays that vary little from message to message, so that few messages say much."""
    generator = np.random.default_rng(seed)
    return stretch * (100 + generator.gamma(4, 2, size=(messages, 1)) + generator.gamma(4, 5, size=(messages, peers)))


@pytest.fixture
def records(make_run: MakeRun) -> Callable[..., list[RunRecords]]:
    def make(*seeds: int, **options: float) -> list[RunRecords]:
        return [read_run(make_run(drawn(seed, **options), seed=seed)) for seed in seeds]  # type: ignore[arg-type]

    return make


Records = Callable[..., list[RunRecords]]


def verdicts(comparison: Comparison) -> dict[str, Verdict]:
    return {row.distance: row.verdict for row in comparison.rows}


def test_runs_of_one_experiment_are_within_tolerance(records: Records) -> None:
    result = compare(records(1, 2), records(3, 4), records(5, 6), observables=DELAY, resamples=200)
    found = verdicts(result)
    assert {found[name] for name in ("wasserstein", "p50_error", "p95_error", "p99_error")} == {
        Verdict.WITHIN_TOLERANCE
    }
    # 0.05 of Kolmogorov-Smirnov is more than this many messages can show: only the noise floor excuses it.
    assert found["kolmogorov_smirnov"] is Verdict.WITHIN_NOISE
    assert result.verdict is Verdict.WITHIN_NOISE


def test_a_slower_network_is_outside_whatever_the_noise(records: Records) -> None:
    result = compare(records(1, 2), records(3, 4, stretch=1.3), records(5, 6), observables=DELAY, resamples=200)
    assert set(verdicts(result).values()) == {Verdict.OUTSIDE}
    assert result.verdict is Verdict.OUTSIDE
    row = next(row for row in result.rows if row.distance == "p50_error")
    assert row.low < 0.3 < row.high
    assert abs(row.floor_value) < 0.05


def test_few_messages_allow_no_verdict_however_many_deliveries(records: Records) -> None:
    result = compare(
        records(1, messages=9, peers=100), records(2, messages=9, peers=100), observables=DELAY, resamples=100
    )
    assert set(verdicts(result).values()) == {Verdict.TOO_FEW}
    assert result.rows[0].reference_values == 900
    assert result.rows[0].reference_clusters == 9


def test_high_quantiles_need_values_beyond_them(records: Records) -> None:
    result = compare(
        records(1, messages=20, peers=12), records(2, messages=20, peers=12), observables=DELAY, resamples=100
    )
    assert verdicts(result)["p99_error"] is Verdict.TOO_FEW
    assert verdicts(result)["p50_error"] is not Verdict.TOO_FEW


def test_a_noise_floor_of_few_samples_excuses_nothing(records: Records) -> None:
    noisy = records(5, messages=2, stretch=3.0)
    result = compare(records(1, 2), records(3, 4, stretch=1.3), noisy, observables=DELAY, resamples=200)
    assert set(verdicts(result).values()) == {Verdict.OUTSIDE}
    assert result.rows[0].floor_value > result.rows[0].value


def test_what_no_run_measured_is_too_few_samples(make_run: MakeRun) -> None:
    run = [read_run(make_run(drawn(1), seed=1), ("nobody",))]
    result = compare(run, run, run, observables=DELAY)
    assert set(verdicts(result).values()) == {Verdict.TOO_FEW}
    assert all(math.isnan(row.value) for row in result.rows)


def test_every_observable_has_every_distance(records: Records) -> None:
    result = compare(records(1), records(2), records(3), resamples=100)
    assert [row.observable for row in result.rows[::5]] == list(OBSERVABLES)
    assert len({(row.observable, row.distance) for row in result.rows}) == len(result.rows) == 5 * len(OBSERVABLES)


ENDS = st.floats(-1, 1)


@given(ENDS, ENDS, ENDS, st.floats(0.001, 0.5), st.floats(0, 1))
def test_verdicts_follow_from_interval_floor_and_tolerance(
    first: float, second: float, third: float, tolerance: float, noise: float
) -> None:
    low, value, high = sorted((first, second, third))
    estimate = Estimate(value, low, high)
    alone = judge(estimate, None, tolerance)
    assert (alone is Verdict.WITHIN_TOLERANCE) == (-tolerance <= low and high <= tolerance)
    assert (alone is Verdict.OUTSIDE) == (low > tolerance or high < -tolerance)
    beside = judge(estimate, Estimate(0.0, -noise, noise / 2), tolerance)
    if alone is Verdict.WITHIN_TOLERANCE or abs(value) > noise:
        assert beside is alone
    else:
        assert beside is Verdict.WITHIN_NOISE


def test_what_is_written_is_what_was_found(records: Records, tmp_path: Path) -> None:
    result = compare(records(1), records(2), observables=DELAY, resamples=100)
    result.write(tmp_path / "deep" / "result")
    result.write(tmp_path / "again")
    for name in ("comparison.json", "comparison.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "deep" / "result" / name).read_bytes()
    table = pq.read_table(tmp_path / "again" / "comparison.parquet").to_pylist()
    content = json.loads((tmp_path / "again" / "comparison.json").read_text())
    assert [row["value"] for row in table] == [row.value for row in result.rows]
    assert [row["verdict"] for row in content["rows"]] == [str(row.verdict) for row in result.rows]
    assert content["rows"][0]["floor_value"] is None
    assert math.isnan(table[0]["floor_value"])
    assert content["verdict"] == str(result.verdict)
    assert [run["seed"] for run in content["runs"]["candidate"]] == [2]


def test_the_command_prints_a_table_and_fails_when_something_is_outside(make_run: MakeRun, tmp_path: Path) -> None:
    direct = [make_run(drawn(seed)) for seed in (1, 2, 3, 4)]
    slow = [make_run(drawn(seed, stretch=1.5)) for seed in (5, 6)]
    console = Console(width=160, record=True, file=io.StringIO())
    chosen = ["delivery_delay", "coverage"]
    code = compare_command(
        direct[:2], slow, direct[2:], console=console, observables=chosen, output=tmp_path / "result"
    )
    text = console.export_text()
    assert code == 1
    assert "+50." in text
    assert "outside" in text
    assert (tmp_path / "result" / "comparison.parquet").exists()
    assert compare_command(direct[:2], direct[:2], direct[2:], console=console, observables=chosen) == 0


def test_an_unknown_observable_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"no observable 'delay' \(there are delivery_delay, "):
        compare_command([], [], [], console=Console(quiet=True), observables=["delay"])
