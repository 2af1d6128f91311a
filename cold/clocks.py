"""The clocks of identities: each is off by an offset, and gains or loses by a drift."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.rng import draw_u64_array
from cold.distribution_kernels import draw_values
from cold.distributions import Distribution
from cold.purposes import ColdPurpose

_PARTS: Final = 1e9


class Clocks(NamedTuple):
    """A clock for each identity: it shows t + offset + t * drift / 10**9 at the simulated time t."""

    offset: npt.NDArray[np.int64]
    """int64[N], ns."""
    drift: npt.NDArray[np.int64]
    """int64[N], parts per billion."""

    def when(self, shown: npt.NDArray[np.int64] | int, identity: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Simulated time at which the clocks of these identities show a time [ns]; at the earliest 0."""
        return moment(shown, self.offset[identity], self.drift[identity])

    def earliest(self, shown: int) -> int:
        """Return a simulated time before which no identity's clock shows this time."""
        return int(moment(shown, self.offset.max(initial=0), self.drift.max(initial=0)))


def moment(
    shown: npt.NDArray[np.int64] | int, offset: npt.NDArray[np.int64], drift: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Solve ``shown = t + offset + t * drift / 10**9`` for t, rounded to a nanosecond; at the earliest 0."""
    elapsed = shown - offset
    correction = np.rint(elapsed * (drift / (_PARTS + drift))).astype(np.int64)
    return np.maximum(elapsed - correction, 0)


def draw_clocks(offset: Distribution, drift: Distribution, seed: int, first_id: int, count: int) -> Clocks:
    """Draw the clocks of `count` identities.

    Parameters
    ----------
    offset, drift
        In ns, and in parts per billion.
    seed
        Seed of the run.
    first_id
        HostId of the first of them.
    count
        How many they are.
    """
    ids = np.arange(first_id, first_id + count)
    return Clocks(
        draw_values(offset.table(), draw_u64_array(seed, ids, int(ColdPurpose.CLOCK_OFFSET), 0)),
        draw_values(drift.table(), draw_u64_array(seed, ids, int(ColdPurpose.CLOCK_DRIFT), 0)),
    )
