"""Identities that do not do what they should: who they are, and when."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.rng import draw_uniform_array
from cold.failure_section import SilenceFailure, WithholdingFailure
from cold.publication_columns import Publications
from cold.purposes import ColdPurpose
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.session_kernels import FOR_EVER


class Silences(NamedTuple):
    """When identities tell nobody of others' messages."""

    span: npt.NDArray[np.int64]
    """int64[F, 2]: from when until when [ns]; one row that is empty if there are none."""
    concerned: npt.NDArray[np.uint64]
    """uint64[A]: a bit for each span that concerns the identity."""

    def at(self, time: int) -> np.uint64:
        """Return a bit for each span that contains a time [ns]."""
        return np.uint64(sum(1 << row for row, (begin, end) in enumerate(self.span.tolist()) if begin <= time < end))


def _chosen(share: float, number: int, directory: HostDirectory, seed: int) -> npt.NDArray[np.bool_]:
    """Which identities `cold.failures[number]` concerns, each with probability `share`: bool[A]."""
    ids = np.arange(directory.hot_count, directory.total_count)
    chosen: npt.NDArray[np.bool_] = draw_uniform_array(seed, ids, int(ColdPurpose.MISBEHAVIOUR), number) < share
    return chosen


def silences_of(section: ColdSection, directory: HostDirectory, node_ids: tuple[int, ...], seed: int) -> Silences:
    """The silences of `cold.failures`."""
    listed = [(number, f) for number, f in enumerate(section.failures) if isinstance(f, SilenceFailure)]
    span = np.zeros((max(len(listed), 1), 2), dtype=np.int64)
    bits = np.zeros(directory.total_count - directory.hot_count, dtype=np.uint64)
    for row, (number, failure) in enumerate(listed):
        span[row] = failure.time, FOR_EVER if failure.until is None else failure.until
        inside = np.array([failure.regions is None or node in failure.regions for node in node_ids])
        concerned = _chosen(failure.share, number, directory, seed) & inside[directory.node[directory.hot_count :]]
        bits[concerned] |= np.uint64(1 << row)
    return Silences(span, bits)


class Withholding:
    """Makes publications late, or drops them, as `cold.failures` has it.

    Parameters
    ----------
    scenario
        What the tail is.
    """

    def __init__(self, scenario: Scenario) -> None:
        section, directory, seed, _ = scenario
        self._first_id = directory.hot_count
        self._failures = [
            (failure, _chosen(failure.share, number, directory, seed))
            for number, failure in enumerate(section.failures)
            if isinstance(failure, WithholdingFailure)
        ]

    def apply(self, publications: Publications) -> Publications:
        """Return what is published of these, and when; in the order of the configuration's failures."""
        for failure, chosen in self._failures:
            time = publications.time
            end = FOR_EVER if failure.until is None else failure.until
            concerned = chosen[publications.origin - self._first_id] & (time >= failure.time) & (time < end)
            if failure.delay is None:
                publications = publications.taken(~concerned)
            else:
                publications = publications._replace(time=np.where(concerned, time + failure.delay, time))
        return publications
