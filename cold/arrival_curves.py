"""When identities get a message in a network that changes: by type, of those that were there and of those that came.

A representative is observed, or solved for, once; a message that follows it comes to another identity, which may be
away where the one observed was there. So what is kept is no list of arrivals, but what decides of them: which share of
those alike lacks the message as time goes (the product-limit estimate of Kaplan and Meier 1958,
doi:10.1080/01621459.1958.10501452, as who leaves is lost from sight), and for those that come after the publication the
hazard of getting it (Nelson and Aalen). Who is away gets nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.simtime import NEVER

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class Lacking(NamedTuple):
    """Of those that were up when a message was published, and have been since. N points."""

    time: Int64Array
    """int64[N]: since the publication, ascending [ns]."""
    share: Float64Array
    """float64[N]: that lacks the message, from 1 downwards."""
    hops: Float64Array
    """float64[N]: of the copies that come then."""


class Hazard(NamedTuple):
    """Of those that came after the publication. N points, M rows."""

    time: Int64Array
    """int64[N]: as above."""
    total: Float64Array
    """float64[M, N]: hazard since the publication, of who has been there for m heartbeats; for more in the last row."""


class Curves(NamedTuple):
    """When identities get a representative. T types."""

    present: tuple[Lacking, ...]
    coming: tuple[Hazard, ...]
    there: Float64Array
    """float64[T]: identities of each that were up when it was published."""
    end: int
    """Nobody gets it later than this after its publication [ns]."""


#: Draws are rounded to this [ns], far below the error of the model, so that libraries' last bits do not matter.
_GRAIN_NS: Final = 1000
#: Of a curve.
_MOST_POINTS: Final = 1025
#: Of those whom nobody tells.
NOTHING_COMES = Hazard(np.zeros(1, dtype=np.int64), np.zeros((1, 1)))
NOBODY_GETS_IT = Lacking(np.zeros(1, dtype=np.int64), np.ones(1), np.zeros(1))


def draw_arrival(
    curves: Curves, which: int, sessions: Sequence[tuple[int, int]], draw: float, heartbeat_ns: int
) -> tuple[int, int]:
    """When an identity gets a message, and over how many hops.

    Parameters
    ----------
    curves
        Of the representative that the message follows.
    which
        The identity's type.
    sessions
        From when until when it is up, since the publication [ns]; the first begins at 0 if it was up then.
    draw
        Uniform in [0, 1).
    heartbeat_ns
        Of the identities that tell of messages [ns].

    Returns
    -------
    int, int
        Time since the publication [ns], NEVER if it does not get the message; and hops.
    """
    lacking, coming = curves.present[which], curves.coming[which]
    left = 1.0 - draw
    later = list(sessions)
    if later and later[0][0] == 0:
        _, end = later.pop(0)
        share = float(np.interp(end, lacking.time, lacking.share))
        if share < 1.0 and share <= left:
            return _rounded(float(np.interp(-left, -lacking.share, lacking.time)), lacking)
        left /= share
    needed = -math.log(left)
    rows = len(coming.total)
    for begin, end in later:
        for row in range(rows):
            since = begin + row * heartbeat_ns
            until = end if row == rows - 1 else min(end, since + heartbeat_ns)
            if since >= until:
                break
            total = coming.total[row]
            before, after = np.interp((since, until), coming.time, total).tolist()
            if after - before > needed:
                time = float(np.interp(before + needed, total, coming.time))
                return _rounded(min(max(time, since), until - 1), lacking)
            needed -= after - before
    return NEVER, 0


def share_lacking(
    curves: Curves, which: int, sessions: Sequence[tuple[int, int]], times: Int64Array, heartbeat_ns: int
) -> Float64Array:
    """Share of the identities of such a life that lack a message at times since its publication, int64[n], rising [ns].

    Other parameters are as for `draw_arrival`.
    """
    lacking, coming = curves.present[which], curves.coming[which]
    share, hazard = np.ones(len(times)), np.zeros(len(times))
    rows = len(coming.total)
    for begin, end in sessions:
        if begin == 0:
            share = np.interp(np.minimum(end, times), lacking.time, lacking.share)
            continue
        for row in range(rows):
            since = begin + row * heartbeat_ns
            until = end if row == rows - 1 else min(end, since + heartbeat_ns)
            if since >= until or since >= times[-1]:
                break
            total = coming.total[row]
            before = float(np.interp(since, coming.time, total))
            hazard += np.interp(np.clip(times, since, until), coming.time, total) - before
    return np.asarray(share * np.exp(-hazard), dtype=np.float64)


def _rounded(time: float, lacking: Lacking) -> tuple[int, int]:
    """A time [ns], and the hops of copies that come then."""
    whole = round(time / _GRAIN_NS) * _GRAIN_NS
    return whole, round(float(np.interp(whole, lacking.time, lacking.hops)))


class Observed(NamedTuple):
    """What became of a representative at each of n identities that subscribe, but for its publisher."""

    received: Int64Array
    """int64[n]: since the publication [ns]; NEVER if it did not come."""
    hops: Int64Array
    """int64[n]."""
    was_up: BoolArray
    """bool[n]: at the publication."""
    when: Int64Array
    """int64[C]: of each change of an identity afterwards, since the publication [ns]."""
    who: Int64Array
    """int64[C]: index of the identity."""
    comes: BoolArray
    """bool[C]."""


def observed_curves(observed: Observed, types: Int64Array, places: Int64Array) -> Curves:
    """The curves of what was observed.

    Parameters
    ----------
    observed
        Of n identities.
    types
        int64[n]: of each.
    places
        int64[T]: where each type is. A type that was not there is taken for all that were at its place, or anywhere.
    """
    order = np.lexsort((observed.when, observed.who))
    when, who, comes = observed.when[order], observed.who[order], observed.comes[order]
    following = np.append(when[1:], NEVER)
    following[np.append(who[1:] != who[:-1], True)[: len(who)]] = NEVER
    first = np.append(True, who[1:] != who[:-1])[: len(who)]
    leaves = np.full(len(observed.received), NEVER, dtype=np.int64)
    leaves[who[first & ~comes]] = when[first & ~comes]
    present = tuple(
        _lacking(observed, leaves, rows) if rows.any() else NOBODY_GETS_IT
        for rows in _alike(observed.was_up, types, places)
    )
    since, until, came = when[comes], following[comes], who[comes]
    received = observed.received[came]
    at_risk = received > since
    since, until, came, received = since[at_risk], until[at_risk], came[at_risk], received[at_risk]
    gets = (received <= until) & (received != NEVER)
    everybody = np.ones(len(came), dtype=np.bool_)
    at = places[types[came]] if len(came) else np.zeros(0, dtype=np.int64)
    coming = []
    for place in places.tolist():
        there = at == place
        rows = there if there.any() else everybody
        coming.append(_hazard(since[rows], np.minimum(until, received)[rows], gets[rows]))
    got = observed.received[observed.received != NEVER]
    there = np.bincount(types[observed.was_up], minlength=len(places)).astype(np.float64)
    return Curves(present, tuple(coming), there, int(got.max(initial=0)) + 1)


def _alike(there: BoolArray, types: Int64Array, places: Int64Array) -> list[BoolArray]:
    """Who of those that are there stands for each type: bool[n] each."""
    result = []
    for kind, place in enumerate(places.tolist()):
        rows = there & (types == kind)
        if not rows.any():
            rows = there & (places[types] == place)
        result.append(rows if rows.any() else there)
    return result


def _lacking(observed: Observed, leaves: Int64Array, rows: BoolArray) -> Lacking:
    received, leaves, hops = observed.received[rows], leaves[rows], observed.hops[rows]
    gets = (received <= leaves) & (received != NEVER)
    order = np.lexsort((~gets, np.minimum(received, leaves)))
    gets, received, hops = gets[order], received[order], hops[order]
    at_risk = len(order) - np.arange(len(order))
    share = np.cumprod(np.where(gets, 1.0 - 1.0 / at_risk, 1.0))[gets]
    if not len(share):
        return NOBODY_GETS_IT
    time, hops = received[gets], hops[gets].astype(np.float64)
    # Each receipt stands for the draws around it.
    middle = (np.concatenate([[1.0], share[:-1]]) + share) / 2
    kept = _kept(len(time))
    return Lacking(
        np.concatenate([time[:1], time[kept], time[-1:]]),
        np.concatenate([[1.0], middle[kept], share[-1:]]),
        np.concatenate([hops[:1], hops[kept], hops[-1:]]),
    )


def _kept(points: int) -> Int64Array:
    """Which of the points of a curve to keep, the first and last among them: a network may have a million."""
    return np.unique(np.linspace(0, points - 1, min(points, _MOST_POINTS)).astype(np.int64))


def _hazard(since: Int64Array, until: Int64Array, gets: BoolArray) -> Hazard:
    """Of spans of time in which somebody lacked the message, and whether they ended with its receipt."""
    time = np.sort(until[gets])
    if not len(time):
        return NOTHING_COMES
    at_risk = np.searchsorted(np.sort(since), time) - np.searchsorted(np.sort(until), time)
    # Of those that get it at one time, one after another.
    at_risk -= np.arange(len(time)) - np.searchsorted(time, time)
    total = np.cumsum(1.0 / np.maximum(at_risk, 1))
    # Somebody gets it now and then: what is between two receipts is spread over the time between.
    begin, kept = int(since.min()), _kept(len(time))
    return Hazard(np.concatenate([[begin], time[kept]]), np.concatenate([[0.0], total[kept]])[None, :])
