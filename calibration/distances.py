"""How far two samples are from each other, with bootstrap confidence intervals.

Values are not independent: deliveries of one message share its path and its moment. So the bootstrap draws whole
clusters (messages, or peers where there is one value for each) with replacement, on both sides at once (Davison and
Hinkley, "Bootstrap Methods and their Application", section 3.8).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

WASSERSTEIN: Final = "wasserstein"
KOLMOGOROV_SMIRNOV: Final = "kolmogorov_smirnov"
QUANTILES: Final[Mapping[str, float]] = {"p50_error": 0.50, "p95_error": 0.95, "p99_error": 0.99}
#: Every distance, in the order in which tables show them.
DISTANCES: Final = (WASSERSTEIN, KOLMOGOROV_SMIRNOV, *QUANTILES)


@dataclass(frozen=True)
class Sample:
    """Values of one observable, and which of them belong together.

    Attributes
    ----------
    values : float64[n]
        In the observable's unit; finite.
    cluster : int64[n]
        Cluster of each value, 0 to ``clusters - 1``.
    clusters : int
    """

    values: FloatArray
    cluster: npt.NDArray[np.int64]
    clusters: int

    @classmethod
    def of(cls, values: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> Sample:
        """Make a sample of values and any labels of their clusters; without labels each value stands alone."""
        data = np.asarray(values, dtype=np.float64)
        if not np.isfinite(data).all():
            raise ValueError("a sample holds finite values only")
        if labels is None:
            return cls(data, np.arange(len(data), dtype=np.int64), len(data))
        unique, cluster = np.unique(np.asarray(labels), return_inverse=True)
        if cluster.shape != data.shape:
            raise ValueError("a sample needs one label for each value")
        return cls(data, cluster.astype(np.int64), len(unique))

    def __len__(self) -> int:
        return len(self.values)


def pool(samples: Sequence[Sample]) -> Sample:
    """Put samples of several runs together; clusters of different runs stay different."""
    first = np.cumsum([0, *(sample.clusters for sample in samples)])
    return Sample(
        np.concatenate([np.empty(0), *(sample.values for sample in samples)]),
        np.concatenate(
            [np.empty(0, np.int64), *(sample.cluster + start for sample, start in zip(samples, first, strict=False))]
        ),
        int(first[-1]),
    )


@dataclass(frozen=True)
class Estimate:
    """A number, and the ends of its confidence interval."""

    value: float
    low: float
    high: float


def distances(
    reference: Sample, candidate: Sample, *, confidence: float = 0.95, resamples: int = 1000, seed: int = 1
) -> dict[str, Estimate]:
    """Measure how far `candidate` is from `reference`.

    Parameters
    ----------
    reference, candidate
        Neither may be empty.
    confidence
        Of the intervals, each by itself.
    resamples
        Bootstrap resamples.
    seed
        Of the bootstrap: the same samples and the same seed give the same intervals.

    Returns
    -------
    dict
        By the names in `DISTANCES`: ``wasserstein`` in the observable's unit; ``kolmogorov_smirnov``, from 0 to 1; and
        the relative errors of quantiles, signed, as shares of the reference's absolute value: infinite where only the
        reference is zero.

    Notes
    -----
    Both distances are norms of the difference of two distribution functions, so sampling moves them by no more than the
    norm of what it adds to that difference (the triangle inequality). Their interval is the estimate plus and minus a
    quantile of that norm, bootstrapped, and cut at zero. It is a cautious one, but it holds where the usual ones fail:
    at a distance of zero, which noise can only ever make larger, the percentile interval always misses. Errors of
    quantiles take the percentile interval.
    """
    if not len(reference) or not len(candidate):
        raise ValueError("there is no distance to an empty sample")
    pair = _Pair(reference, candidate)
    generator = np.random.Generator(np.random.Philox(seed))
    apart = pair.difference(np.ones(reference.clusters), np.ones(candidate.clusters))
    point = pair.norms(apart.difference)
    deviations = np.empty((resamples, len(point)))
    errors = np.empty((resamples, len(QUANTILES)))
    for turn in range(resamples):
        redrawn = pair.difference(_redraw(generator, reference.clusters), _redraw(generator, candidate.clusters))
        deviations[turn] = pair.norms(redrawn.difference - apart.difference)
        errors[turn] = redrawn.errors
    margins = np.quantile(deviations, confidence, axis=0, method="inverted_cdf")
    # Order statistics, not interpolations: between infinite errors there is nothing to interpolate.
    tail = (1 - confidence) / 2
    low, high = np.quantile(errors, [tail, 1 - tail], axis=0, method="inverted_cdf")
    ends = [
        *((max(0.0, value - margin), value + margin) for value, margin in zip(point, margins, strict=True)),
        *zip(low, high, strict=True),
    ]
    return {
        name: Estimate(float(value), float(lowest), float(highest))
        for name, value, (lowest, highest) in zip(DISTANCES, [*point, *apart.errors], ends, strict=True)
    }


def _redraw(generator: np.random.Generator, clusters: int) -> FloatArray:
    """How often each cluster comes up among as many draws with replacement."""
    return np.bincount(generator.integers(clusters, size=clusters), minlength=clusters).astype(np.float64)


@dataclass(frozen=True)
class _Difference:
    """Distribution function of the reference less that of the candidate, at each value; errors of the quantiles."""

    difference: FloatArray
    errors: FloatArray


class _Pair:
    """Two samples sorted into one line, once, so that a resample is only another set of weights."""

    def __init__(self, reference: Sample, candidate: Sample) -> None:
        values = np.concatenate([reference.values, candidate.values])
        order = np.argsort(values, kind="stable")
        self._values = values[order]
        self._gaps = np.diff(self._values)
        # Among equal values only the last has the whole step of the distribution functions behind it.
        self._last_of_equals = (self._gaps > 0).astype(np.float64)
        # The weight after that of the last cluster is zero: it is that of the other side's values.
        self._reference = np.append(reference.cluster, np.full(len(candidate), reference.clusters))[order]
        self._candidate = np.append(np.full(len(reference), candidate.clusters), candidate.cluster)[order]

    def difference(self, reference_weights: FloatArray, candidate_weights: FloatArray) -> _Difference:
        """Compare the samples with a weight for each of their clusters."""
        reference = np.cumsum(np.append(reference_weights, 0.0)[self._reference])
        candidate = np.cumsum(np.append(candidate_weights, 0.0)[self._candidate])
        errors = [
            _relative(self._quantile(candidate, share), self._quantile(reference, share))
            for share in QUANTILES.values()
        ]
        return _Difference(reference / reference[-1] - candidate / candidate[-1], np.array(errors))

    def norms(self, difference: FloatArray) -> FloatArray:
        """Area and height of a difference: Wasserstein-1 and Kolmogorov-Smirnov."""
        sizes = np.abs(difference[:-1])
        area = np.sum(sizes * self._gaps)
        sizes *= self._last_of_equals
        return np.array([area, sizes.max(initial=0.0)])

    def _quantile(self, cumulative: FloatArray, share: float) -> float:
        return float(self._values[np.searchsorted(cumulative, share * cumulative[-1])])


def _relative(value: float, reference: float) -> float:
    if value == reference:
        return 0.0
    return (value - reference) / abs(reference) if reference else math.copysign(math.inf, value)
