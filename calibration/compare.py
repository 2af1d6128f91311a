"""Runs against runs: how far the candidate is from the reference, beside how far another seed would be."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table

from bridge.errors import UserError
from bridge.rundir import disk_errors_reported, write_atomically
from calibration.distances import (
    DISTANCES,
    KOLMOGOROV_SMIRNOV,
    QUANTILES,
    WASSERSTEIN,
    Estimate,
    Sample,
    distances,
)
from calibration.observables import OBSERVABLES, Observable, RunRecords, read_run

#: Fewer clusters than this, and the bootstrap knows too few of the ways in which they differ.
_FEWEST_CLUSTERS: Final = 10
#: Values that must lie beyond a quantile before it says something.
_FEWEST_BEYOND: Final = 5


class Verdict(StrEnum):
    """What a distance and its interval come to."""

    WITHIN_TOLERANCE = "within tolerance"
    WITHIN_NOISE = "within the noise floor"
    OUTSIDE = "outside"
    TOO_FEW = "too few samples"


_STYLES: Final = {
    Verdict.WITHIN_TOLERANCE: "green",
    Verdict.WITHIN_NOISE: "green",
    Verdict.OUTSIDE: "red",
    Verdict.TOO_FEW: "yellow",
}


#: Columns that hold no numbers.
_TEXTS: Final = ("observable", "distance", "verdict")
_LABELS: Final[Mapping[str, str]] = {
    WASSERSTEIN: "Wasserstein-1",
    KOLMOGOROV_SMIRNOV: "KS",
    **{name: name.replace("_", " ") for name in QUANTILES},
}


@dataclass(frozen=True)
class Row:
    """One distance of one observable.

    Attributes
    ----------
    observable, unit, distance : str
        `unit` is that of the observable; Kolmogorov-Smirnov and errors of quantiles have none.
    value, low, high : float
        Candidate against reference, with its confidence interval; NaN where a side has no values.
    floor_value, floor_low, floor_high : float
        Noise runs against reference; NaN where there are none.
    tolerance : float
        What `value` may be to either side.
    reference_values, candidate_values, noise_values : int
        Sizes of the samples.
    reference_clusters, candidate_clusters, noise_clusters : int
        Messages, or peers where there is one value for each.
    verdict : Verdict
    """

    observable: str
    unit: str
    distance: str
    value: float
    low: float
    high: float
    floor_value: float
    floor_low: float
    floor_high: float
    tolerance: float
    reference_values: int
    candidate_values: int
    noise_values: int
    reference_clusters: int
    candidate_clusters: int
    noise_clusters: int
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes
    ----------
    rows : tuple of Row
        By observable, then by distance.
    tolerance, confidence : float
    resamples : int
    runs : dict
        Directories and seeds of the runs, by ``reference``, ``candidate`` and ``noise``.
    """

    rows: tuple[Row, ...]
    tolerance: float
    confidence: float
    resamples: int
    runs: Mapping[str, Sequence[Mapping[str, object]]]

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict of all rows: outside, then too few samples, then within the noise floor."""
        found = {row.verdict for row in self.rows}
        for verdict in (Verdict.OUTSIDE, Verdict.TOO_FEW, Verdict.WITHIN_NOISE):
            if verdict in found:
                return verdict
        return Verdict.WITHIN_TOLERANCE if found else Verdict.TOO_FEW

    def write(self, directory: Path) -> None:
        """Write ``comparison.parquet`` (the rows) and ``comparison.json`` (all of it; null for what is not finite)."""
        with disk_errors_reported(directory):
            directory.mkdir(parents=True, exist_ok=True)
        rows = [{**asdict(row), "verdict": str(row.verdict)} for row in self.rows]
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows), buffer)
        write_atomically(directory / "comparison.parquet", buffer.getvalue().to_pybytes())
        content = {**asdict(self), "verdict": self.verdict, "rows": [_json_row(row) for row in self.rows]}
        text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False)
        write_atomically(directory / "comparison.json", text.encode() + b"\n")

    def table(self) -> Table:
        """Return the rows for a person."""
        title = "How far the candidate is from the reference"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for heading in ("observable", "distance", "value", "interval", "noise floor", "its interval", "verdict"):
            table.add_column(heading, justify="left" if heading in _TEXTS else "right", no_wrap=True)
        before = ""
        for row in self.rows:
            if before and row.observable != before:
                table.add_section()
            table.add_row(
                row.observable if row.observable != before else "",
                _LABELS[row.distance],
                _shown(row, row.value, with_unit=True),
                _interval(row, row.low, row.high),
                _shown(row, row.floor_value, with_unit=True),
                _interval(row, row.floor_low, row.floor_high),
                f"[{_STYLES[row.verdict]}]{row.verdict}[/]",
            )
            before = row.observable
        table.caption = f"tolerance {self.tolerance:.3g}, intervals of {self.confidence:.0%} each"
        return table


def compare(
    reference: Sequence[RunRecords],
    candidate: Sequence[RunRecords],
    noise: Sequence[RunRecords] = (),
    *,
    observables: Iterable[Observable] = tuple(OBSERVABLES.values()),
    tolerance: float = 0.05,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 1,
) -> Comparison:
    """Compare runs.

    Parameters
    ----------
    reference
        Direct runs.
    candidate
        Runs whose accuracy is in question.
    noise
        Direct runs like the reference, with other seeds: as many as the candidate, and best with its seeds.
    observables
        What to compare.
    tolerance
        A relative error, or a Kolmogorov-Smirnov distance, that is good enough. That of a Wasserstein distance is this
        share of the mean of the reference's absolute values.
    confidence, resamples, seed
        See `calibration.distances.distances`.
    """

    def measure(reference: Sample, other: Sample) -> dict[str, Estimate] | None:
        if not len(reference) or not len(other):
            return None
        return distances(reference, other, confidence=confidence, resamples=resamples, seed=seed)

    rows: list[Row] = []
    for observable in observables:
        samples = (observable.sample(reference), observable.sample(candidate), observable.sample(noise))
        rows.extend(_compare_samples(observable, *samples, measure, tolerance))
    runs = {
        role: [{"directory": str(run.directory), "seed": run.seed} for run in records]
        for role, records in (("reference", reference), ("candidate", candidate), ("noise", noise))
    }
    return Comparison(tuple(rows), tolerance, confidence, resamples, runs)


def compare_command(
    reference: Sequence[Path],
    candidate: Sequence[Path],
    noise: Sequence[Path],
    *,
    console: Console,
    observables: Sequence[str] = (),
    peers: Sequence[str] = ("*",),
    output: Path | None = None,
) -> int:
    """Compare run directories for a person: the body of ``antumbra compare``.

    Parameters
    ----------
    reference, candidate, noise
        Directories of runs.
    console
        Where the table goes.
    observables
        Names; all by default.
    peers
        Patterns of the hosts whose peers count.
    output
        Where ``comparison.parquet`` and ``comparison.json`` go, if they are wanted.

    Returns
    -------
    int
        Exit code: 1 if something is outside, else 0.
    """
    chosen = find_observables(observables) if observables else tuple(OBSERVABLES.values())
    roles = [[read_run(directory, peers) for directory in role] for role in (reference, candidate, noise)]
    result = compare(*roles, observables=chosen)
    console.print(result.table())
    if output is not None:
        result.write(output)
    return 1 if result.verdict is Verdict.OUTSIDE else 0


def find_observables(names: Iterable[str]) -> tuple[Observable, ...]:
    """Return observables by their names."""
    found = []
    for name in names:
        if name not in OBSERVABLES:
            raise UserError(f"there is no observable {name!r}", hint=f"there are {', '.join(OBSERVABLES)}")
        found.append(OBSERVABLES[name])
    return tuple(found)


def judge(estimate: Estimate, floor: Estimate | None, tolerance: float) -> Verdict:
    """Say what a distance comes to, of samples that are large enough.

    Within tolerance means that the whole interval is; within the noise floor, that the distance is no larger than the
    interval allows one between two seeds to be; outside, that the whole interval is beyond the tolerance.
    """
    if max(abs(estimate.low), abs(estimate.high)) <= tolerance:
        return Verdict.WITHIN_TOLERANCE
    if floor is not None and abs(estimate.value) <= max(abs(floor.low), abs(floor.high)):
        return Verdict.WITHIN_NOISE
    if estimate.low > tolerance or estimate.high < -tolerance:
        return Verdict.OUTSIDE
    return Verdict.TOO_FEW


def _compare_samples(
    observable: Observable,
    reference: Sample,
    candidate: Sample,
    noise: Sample,
    measure: Callable[[Sample, Sample], dict[str, Estimate] | None],
    tolerance: float,
) -> list[Row]:
    measured, floors = measure(reference, candidate), measure(reference, noise)
    none = Estimate(math.nan, math.nan, math.nan)
    rows = []
    for name in DISTANCES:
        scale = float(abs(reference.values).mean()) if name == WASSERSTEIN and len(reference) else 1.0
        verdict = Verdict.TOO_FEW
        estimate = measured[name] if measured else none
        # A floor of too few samples would be a high one, and excuse anything.
        floor = floors[name] if floors and _enough(name, noise) else None
        if measured and _enough(name, reference) and _enough(name, candidate):
            verdict = judge(estimate, floor, tolerance * scale)
        shown = floors[name] if floors else none
        rows.append(
            Row(
                observable.name,
                observable.unit,
                name,
                estimate.value,
                estimate.low,
                estimate.high,
                shown.value,
                shown.low,
                shown.high,
                tolerance * scale,
                len(reference),
                len(candidate),
                len(noise),
                reference.clusters,
                candidate.clusters,
                noise.clusters,
                verdict,
            )
        )
    return rows


def _enough(distance: str, sample: Sample) -> bool:
    beyond = round(len(sample) * (1 - QUANTILES.get(distance, 0.0)), 6)
    return sample.clusters >= _FEWEST_CLUSTERS and beyond >= _FEWEST_BEYOND


def _json_row(row: Row) -> dict[str, object]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(row).items()
    }


def _shown(row: Row, value: float, *, with_unit: bool) -> str:
    if math.isnan(value):
        return "-"
    if row.distance in QUANTILES:
        return f"{value:+.1%}"
    if row.distance == KOLMOGOROV_SMIRNOV:
        return f"{value:.3f}"
    return f"{value:.4g} {row.unit}" if with_unit else f"{value:.4g}"


def _interval(row: Row, low: float, high: float) -> str:
    if math.isnan(low):
        return "-"
    return f"{_shown(row, low, with_unit=False)} to {_shown(row, high, with_unit=False)}"
