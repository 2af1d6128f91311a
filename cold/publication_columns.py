"""Publications as columns: what every source of them gives, and the plan puts in order."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt


class Publications(NamedTuple):
    """Publications in columns. Sources give them in any order; a plan, by time."""

    time: npt.NDArray[np.int64]
    """int64[n], ns."""
    topic: npt.NDArray[np.int64]
    """int64[n]: index of the topic."""
    origin: npt.NDArray[np.int64]
    """int64[n]: HostId."""
    size: npt.NDArray[np.int64]
    """int64[n]: bytes."""

    @classmethod
    def none(cls) -> Self:
        """Return no publications."""
        return cls(*(np.empty(0, dtype=np.int64) for _ in cls._fields))

    def taken(self, which: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> Self:
        """Return the rows that numpy takes by `which`."""
        return type(self)(*(column[which] for column in self))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of the first part, then those of the second, ..."""
        return cls(*(np.concatenate(column) for column in zip(cls.none(), *parts, strict=True)))

    def then(self, more: Self) -> Self:
        """Return these rows and the others behind them."""
        return self.joined([self, more])
