"""Disturbed paths: the configuration's partitions and degradations, as arrays for `cold.disturbance_kernels`."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cold.disturbance_kernels import BEGIN, DETECTION, DISTURBANCE_COLUMNS, END, EXTRA_LATENCY
from cold.failure_section import DegradationFailure, PartitionFailure
from cold.section import ColdSection
from cold.session_kernels import FOR_EVER


class Disturbances(NamedTuple):
    """F disturbances of the paths between L nodes."""

    row: npt.NDArray[np.int64]
    """int64[F, DISTURBANCE_COLUMNS]."""
    loss: npt.NDArray[np.float64]
    """float64[F]: loss beside that of the path; 1 in a partition."""
    concerned: npt.NDArray[np.uint8]
    """uint8[F, L, L]: whether packets from one node to another are concerned."""

    def notices(self) -> list[int]:
        """Return when peers notice each of the partitions [ns], ascending."""
        cuts = self.row[self.loss >= 1.0]
        return sorted(
            (cuts[:, BEGIN] + cuts[:, DETECTION])[cuts[:, DETECTION] < cuts[:, END] - cuts[:, BEGIN]].tolist()
        )


def disturbances_of(section: ColdSection, node_ids: tuple[int, ...]) -> Disturbances:
    """The disturbances of `cold.failures`, for nodes with these ids, by index."""
    chosen = [f for f in section.failures if isinstance(f, PartitionFailure | DegradationFailure)]
    # Kernels take no empty arrays of three dimensions: a row beyond those that count stands there.
    row = np.zeros((max(len(chosen), 1), DISTURBANCE_COLUMNS), dtype=np.int64)
    loss = np.zeros(len(row))
    concerned = np.zeros((len(row), len(node_ids), len(node_ids)), dtype=np.uint8)
    for number, failure in enumerate(chosen):
        inside = np.array([failure.regions is None or node in failure.regions for node in node_ids])
        row[number, BEGIN] = failure.time
        row[number, END] = FOR_EVER if failure.until is None else failure.until
        if isinstance(failure, PartitionFailure):
            loss[number] = 1.0
            row[number, DETECTION] = failure.detection
            concerned[number] = inside[:, None] != inside[None, :]
        else:
            loss[number] = failure.loss
            row[number, EXTRA_LATENCY] = failure.latency
            concerned[number] = inside[:, None] | inside[None, :]
    return Disturbances(row, loss, concerned)
