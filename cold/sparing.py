"""What IDONTWANT saves, in the equations of the mean field: when copies leave, and how many.

A member that has the message whole tells its mesh so; who has been told when it pushes leaves that peer out. Nobody
gets the message later by that, as only duplicates are left out; but copies that are left out do not take the uplink, so
that the others leave earlier. Of a member of type a, which got the message at T and pushes it at t, a mesh peer that
neither sent it the message nor is the one who asks has not told it with the probability::

    m_a(T, t) = (1 - sum over b of e_ab h_ba (1 - C_b(t - tell_ba))) / theta_a(T)

with e_ab the share of its mesh peers that are of type b, h_ba the probability that b tells and its IDONTWANT comes, and
tell_ba how long that takes from b's receipt: given that the peer has not delivered by T, which implies that it has not
told long before. (Whoever delivers has told before.) So before a copy of the D - 2 others a binomial number of copies
is on the uplink, of which the one that is asked for takes each place alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import comb

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


class Sparing(NamedTuple):
    """What the equations need. T types; times in steps of the grid."""

    ready: Float64Array
    """float64[T, V]: distribution of the time from a member's receipt to its pushing."""
    copy: Float64Array
    """float64[T]: how long a copy takes on the uplink."""
    lead: float
    """What is counted with a copy's leaving beside that."""
    others: Int64Array
    """int64[T]: members of the mesh beside the one who asks and the one who sent the message."""
    told: Float64Array
    """float64[T, T]: ``told[a, b]``: probability that a mesh peer of a is of type b, and that its IDONTWANT comes."""
    after: Float64Array
    """float64[T, T]: ``after[a, b]``: how long from the receipt of b until a has been told."""


class SparedPushes:
    """Copies on their way out, step by step.

    Parameters
    ----------
    sparing
        The network.
    """

    def __init__(self, sparing: Sparing) -> None:
        self._sparing = sparing
        types, lags = sparing.ready.shape
        most = int(sparing.others.max(initial=0))
        longest = int(np.ceil(sparing.lead + sparing.copy.max() * (most + 1))) + 2
        self._past = lags
        self._room = 1024
        # Rows begin with as many as are looked back on, or end with as many as are looked ahead to.
        self._gained, self._weighted, self._really = (np.zeros((lags + self._room, types)) for _ in range(3))
        self._leaves = np.zeros((self._room + longest, types))
        self._left = np.zeros(types)
        self._number = 0
        self._ready = np.ascontiguousarray(sparing.ready[:, ::-1].T)
        self._whole = np.floor(sparing.after).astype(np.int64)
        self._part = sparing.after - self._whole
        self.looks_back = int(self._whole.max()) + 2
        turns = np.arange(1, most + 2)
        delay = np.maximum(sparing.lead + turns[:, None] * sparing.copy, 1.0)
        self._delay = np.floor(delay).astype(np.int64)
        self._delay_part = delay - self._delay
        # The number of copies that leave is binomial, and of n others that stay each place before them is alike.
        stay = np.arange(most + 1)
        self._stay = stay[:, None]
        self._ways = np.where(stay[:, None] <= sparing.others, comb(sparing.others[None, :], stay[:, None]), 0.0)
        self._alike = np.triu(np.ones((most + 1, most + 1)) / (stay + 1))
        self._pushes, self._needed = np.zeros(types), np.zeros(types)

    @property
    def missing(self) -> Float64Array:
        """Return the share of a mesh, beside who sent the message, that had not told by the time of pushing: [T]."""
        return np.asarray(self._needed / np.maximum(self._pushes, 1e-300), dtype=np.float64)

    def left(self) -> Float64Array:
        """Return the probability that a copy has left by this step: float64[T]."""
        self._left = self._left + self._leaves[self._number]
        return self._left

    def push(self, told_by: Float64Array, at: int, has: Float64Array, theta: Float64Array) -> None:
        """Have those push who are ready in this step.

        Parameters
        ----------
        told_by
            float64[., T]: 1 - C, by steps, up to the row `at` of this one.
        at
            The row.
        has
            float64[., T]: 1 - S, in the same way.
        theta
            float64[T], in this step.
        """
        number, sparing = self._number, self._sparing
        if number == self._room:
            more = np.zeros((self._room, len(theta)))
            self._room *= 2
            self._leaves, self._gained, self._weighted, self._really = (
                np.concatenate([rows, more]) for rows in (self._leaves, self._gained, self._weighted, self._really)
            )
        row = number + self._past
        self._gained[row] = told_by[at] - told_by[at - 1]
        self._really[row] = has[at] - has[at - 1]
        self._weighted[row] = self._gained[row] / np.maximum(theta, 1e-12)
        span = slice(row + 1 - self._past, row + 1)
        ready = (self._gained[span] * self._ready).sum(axis=0)
        weighted = (self._weighted[span] * self._ready).sum(axis=0)
        source = np.arange(len(theta))[None, :]
        then = at - self._whole
        heard = (1 - self._part) * told_by[then, source] + self._part * told_by[then - 1, source]
        untold = 1 - (sparing.told * heard).sum(axis=1)
        missing = np.clip(untold * weighted / np.maximum(ready, 1e-300), 0.0, 1.0)
        stays = self._ways * missing**self._stay * (1 - missing) ** np.maximum(sparing.others - self._stay, 0)
        leaving = ready * (self._alike @ stays)
        np.add.at(self._leaves, (number + self._delay, source), leaving * (1 - self._delay_part))
        np.add.at(self._leaves, (number + self._delay + 1, source), leaving * self._delay_part)
        really = (self._really[span] * self._ready).sum(axis=0)
        self._pushes += really
        self._needed += really * missing
        self._number += 1
