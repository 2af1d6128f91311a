"""Propagation fields: when a message is where, as distributions instead of as events.

A field says, for messages from one group of publishers, how long a message takes to each group of identities. A group
is what gossip can tell apart of identities from outside: the node they live at and the bandwidths of their links. The
sampled resolution makes fields of representative messages (`cold.sampled`), the mean-field resolution of equations
(`cold.mean_field`). Whoever wants to know when an identity gets a message draws it from a field: a function of (seed,
identity, message) and nothing else.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cold.propagation_kernels import LEVELS

#: More groups than these are more tables than a study can use: a graph of many nodes wants the exact resolution.
MOST_GROUPS: Final = 256
#: Shares of a message's receivers, in thousandths, at which it is told how much later than alone it comes ...
PER_MILLE: Final = (0, 125, 250, 375, 500, 625, 750, 875, 950, 990, 1000)
SHARES: Final = tuple(share / 1000 for share in PER_MILLE)
#: ... and those of its summary: median, 95th and 99th percentile, maximum.
SUMMARY: Final = [SHARES.index(share) for share in (0.5, 0.95, 0.99, 1.0)]


class Groups(NamedTuple):
    """The members of a topic by node and bandwidths. M members, G groups."""

    group: npt.NDArray[np.int32]
    """int32[M]."""
    node: npt.NDArray[np.int32]
    """int32[G]: index into the nodes in use."""
    uplink_bps: npt.NDArray[np.int64]
    """int64[G]."""
    downlink_bps: npt.NDArray[np.int64]
    """int64[G]."""
    size: npt.NDArray[np.int64]
    """int64[G]: members."""


@dataclass(frozen=True)
class PropagationField:
    """How messages of one group of publishers spread. R representatives, G groups, Q + 1 levels.

    Attributes
    ----------
    delay : int64[R, G, Q + 1]
        Quantiles, at equal distances, of the time from publication to receipt [ns], over the members that get it.
    hops : uint8[R, G, Q + 1]
        Hops that the copies at these quantiles came.
    reached : float64[R, G]
        Share of the group's members that get the message.
    totals : int64[R, len(`cold.sampled_kernels.TOTAL_NAMES`)]
        What one message costs.
    summary : int64[R, 4]
        Median, 95th and 99th percentile and maximum of the delay over all members that get it [ns]; -1 without any.
    overall : int64[R, Q + 1]
        Quantiles as in `delay`, of all members that get it [ns].
    copies : float64[R, G]
        Copies that a member of the group sends, on average.
    lasting : float
        In [0, 1]: the probability that an identity's place among its group is its lasting one instead of one drawn
        for the message. Two messages' places have the rank correlation `lasting` squared.
    """

    delay: npt.NDArray[np.int64]
    hops: npt.NDArray[np.uint8]
    reached: npt.NDArray[np.float64]
    totals: npt.NDArray[np.int64]
    summary: npt.NDArray[np.int64]
    overall: npt.NDArray[np.int64]
    copies: npt.NDArray[np.float64]
    lasting: float


def group_members(
    node: npt.NDArray[np.int32], uplink_bps: npt.NDArray[np.int64], downlink_bps: npt.NDArray[np.int64]
) -> Groups:
    """Divide members into groups by node, uplink and downlink, in this order.

    Parameters
    ----------
    node : int32[M]
    uplink_bps, downlink_bps : int64[M]
    """
    order = np.lexsort((downlink_bps, uplink_bps, node))
    columns = [column[order].astype(np.int64) for column in (node, uplink_bps, downlink_bps)]
    new = np.zeros(len(order), dtype=np.bool_)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    group = np.empty(len(order), dtype=np.int32)
    group[order] = np.cumsum(new) - 1
    firsts = np.flatnonzero(new)
    sizes = np.diff(np.append(firsts, len(order)))
    return Groups(group, columns[0][firsts].astype(np.int32), columns[1][firsts], columns[2][firsts], sizes)


def tabulate(
    delays: npt.NDArray[np.int64], hops: npt.NDArray[np.uint8], group: npt.NDArray[np.int32], groups: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Quantiles of delays by group: int64[G, LEVELS], uint8[G, LEVELS], and how many they are of, int64[G].

    Level q of n sorted delays is the one at rank ``round(q (n - 1) / (LEVELS - 1))``, so that every level is a delay
    that occurred: the first the smallest, the last the largest.

    Parameters
    ----------
    delays : int64[n], ns
    hops : uint8[n]
    group : int32[n]
        Group of each.
    groups
        Number of groups.
    """
    order = np.lexsort((delays, group))
    counts = np.bincount(group, minlength=groups).astype(np.int64)
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    ranks = np.rint(np.arange(LEVELS) * np.maximum(counts - 1, 0)[:, None] / (LEVELS - 1)).astype(np.int64)
    places = order[np.minimum(firsts[:, None] + ranks, max(len(order) - 1, 0))] if len(order) else None
    if places is None:
        return np.zeros((groups, LEVELS), dtype=np.int64), np.zeros((groups, LEVELS), dtype=np.uint8), counts
    is_there = (counts > 0)[:, None]
    return np.where(is_there, delays[places], 0), np.where(is_there, hops[places], 0).astype(np.uint8), counts


def summarise(delays: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Median, 95th and 99th percentile and maximum, as the message table has them; -1 of nothing: int64[4]."""
    if not len(delays):
        return np.full(4, -1, dtype=np.int64)
    ranks = [(len(delays) * percent + 99) // 100 - 1 for percent in (50, 95, 99, 100)]
    return np.partition(delays, ranks)[ranks]


def started(field: PropagationField, later: npt.NDArray[np.int64]) -> PropagationField:
    """A field of one representative as one of several, which come later by int64[R], ns.

    Nothing comes before the first of its group does in the one: that takes the shortest way.
    """
    count = len(later)
    delay = np.maximum(field.delay + later[:, None, None], field.delay[:, :, :1])
    overall = np.maximum(field.overall + later[:, None], field.overall[:, :1])
    summary = np.where(field.summary < 0, -1, np.maximum(field.summary + later[:, None], field.overall[:, :1]))
    return PropagationField(
        delay=delay,
        hops=np.repeat(field.hops, count, axis=0),
        reached=np.repeat(field.reached, count, axis=0),
        totals=np.repeat(field.totals, count, axis=0),
        summary=summary,
        overall=overall,
        copies=np.repeat(field.copies, count, axis=0),
        lasting=field.lasting,
    )


def put_off(
    delay: npt.NDArray[np.int64],
    overall: npt.NDArray[np.int64],
    later: npt.NDArray[np.int64],
    receivers: float = 1.0,
) -> npt.NDArray[np.int64]:
    """Tables of a message that comes later for meeting others.

    Parameters
    ----------
    delay : int64[..., Q], ns
        Ascending in each row.
    overall : int64[LEVELS], ns
        Quantiles of the delay over all receivers, by which a delay has its share of them.
    later : int64[SHARES], ns
    receivers
        All receivers for each of those whose shares `later` is at; beyond the last of these it is that one's.
    """
    if not later.any():
        return delay
    share = np.interp(delay, overall, np.linspace(0, receivers, len(overall)))
    added: npt.NDArray[np.int64] = delay + np.rint(np.interp(share, SHARES, later)).astype(np.int64)
    return np.maximum.accumulate(added, axis=-1)


def all_put_off(
    delay: npt.NDArray[np.int64],
    overall: npt.NDArray[np.int64],
    later: npt.NDArray[np.int64],
    receivers: float = 1.0,
) -> npt.NDArray[np.int64]:
    """`put_off` of one table, int64[Q], for many messages that come later, int64[n, SHARES]: int64[n, Q], ns."""
    share = np.minimum(np.interp(delay, overall, np.linspace(0, receivers, len(overall))), 1.0)
    before = np.clip(np.searchsorted(SHARES, share, side="right") - 1, 0, len(SHARES) - 2)
    begin, end = np.array(SHARES)[before], np.array(SHARES)[before + 1]
    slope = (later[:, before + 1] - later[:, before]) / (end - begin)
    added: npt.NDArray[np.int64] = delay + np.rint(slope * (share - begin) + later[:, before]).astype(np.int64)
    return np.maximum.accumulate(added, axis=-1)
