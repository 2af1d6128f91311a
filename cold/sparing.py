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

from cold.spread_kernels import Leaving, have_left, push_untold

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

    Attributes
    ----------
    leaving
        Them, for kernels.
    looks_back
        How many rows there have to be before the one that is pushed in.
    """

    def __init__(self, sparing: Sparing) -> None:
        types, lags = sparing.ready.shape
        most = int(sparing.others.max(initial=0))
        longest = int(np.ceil(sparing.lead + sparing.copy.max() * (most + 1))) + 2
        room = 1024
        turns, stay = np.arange(1, most + 2), np.arange(most + 1)
        delay = np.maximum(sparing.lead + turns[:, None] * sparing.copy, 1.0)
        whole = np.floor(sparing.after).astype(np.int64)
        ways = np.where(stay[:, None] <= sparing.others, comb(sparing.others[None, :], stay[:, None]), 0.0)
        self.leaving = Leaving(
            ready=np.ascontiguousarray(sparing.ready[:, ::-1].T),
            told=np.ascontiguousarray(sparing.told),
            whole=whole,
            part=sparing.after - whole,
            others=sparing.others,
            ways=ways,
            delay=np.floor(delay).astype(np.int64),
            delay_part=delay - np.floor(delay),
            gained=np.zeros((lags + room, types)),
            weighted=np.zeros((lags + room, types)),
            really=np.zeros((lags + room, types)),
            leaves=np.zeros((room + longest, types)),
            left=np.zeros(types),
            pushes=np.zeros(types),
            needed=np.zeros(types),
        )
        self.looks_back = int(whole.max()) + 2
        self._number, self._lags = 0, lags

    @property
    def missing(self) -> Float64Array:
        """Return the share of a mesh, beside who sent the message, that had not told by the time of pushing: [T]."""
        return np.asarray(self.leaving.needed / np.maximum(self.leaving.pushes, 1e-300), dtype=np.float64)

    def make_room(self, steps: int) -> None:
        """Have room for so many steps in all."""
        leaving = self.leaving
        while (room := len(leaving.gained) - self._lags) < steps:
            more = np.zeros((room, len(leaving.left)))
            gained, weighted, really, leaves = (
                np.concatenate([rows, more])
                for rows in (leaving.gained, leaving.weighted, leaving.really, leaving.leaves)
            )
            leaving = leaving._replace(gained=gained, weighted=weighted, really=really, leaves=leaves)
        self.leaving = leaving

    def left(self) -> Float64Array:
        """Return the probability that a copy has left by this step: float64[T]."""
        self.make_room(self._number + 1)
        have_left(self.leaving, self._number)
        return self.leaving.left

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
        push_untold(self.leaving, self._number, told_by, has, at, theta)
        self._number += 1


def nobody_spares() -> Leaving:
    """Return what kernels take where members do not tell each other."""
    shares, steps = np.zeros((0, 0)), np.zeros((0, 0), dtype=np.int64)
    none = np.zeros(0)
    return Leaving(
        ready=shares,
        told=shares,
        whole=steps,
        part=shares,
        others=np.zeros(0, dtype=np.int64),
        ways=shares,
        delay=steps,
        delay_part=shares,
        gained=shares,
        weighted=shares,
        really=shares,
        leaves=shares,
        left=none,
        pushes=none,
        needed=none,
    )
