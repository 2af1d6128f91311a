"""How the ways add up by which a message of a hot host comes into the tail.

A message that comes in at several identities spreads from each, and stops where it meets itself. With W_k and W the
limits of the branching processes forwards from the k-th identity, where it came in at t_k, and backwards from a
receiver, this has not got it at t with the probability

    E exp(-W x(t)),  x(t) = sum over k of W_k exp(lambda (t - t_k)),

as for first passage percolation on sparse random graphs (Bhamidi, van der Hofstad and Hooghiemstra 2017,
doi:10.1214/16-AOP1120). So it is x that adds up, and not the hazard: with S_k the share that the k-th way alone would
leave without the message, and Phi(x) = E exp(-W x),

    S = Phi(sum over k of Phi^-1(S_k)).

W is taken for a Gamma variable of mean 1 and variance 1 / theta: Phi(x) = (1 + x / theta) ** -theta. Its moments follow
from those of a hop (`shapes`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import gammaincinv

from bridge.paths import PathTable
from bridge.simtime import NS_PER_S
from cold.mean_field import leaving_delays, mesh_degree, validation_delays
from cold.propagation import Groups
from cold.propagation_kernels import LEVELS
from cold.sampled_kernels import MESSAGE_BYTES
from cold.section import GossipSection

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Shapes and exposures are rounded to these, far below the model's error, so that libraries' last bits do not matter.
_SHAPE_GRAIN: Final = 2.0**-10
_GRAIN: Final = 2.0**-24
#: A shape so great is as good as infinite.
_MOST: Final = 2.0**20
#: Delays of starts are rounded to this [ns].
_DELAY_GRAIN_NS: Final = 1000
#: In place of a share of zero, whose exposure is infinite.
_NOBODY: Final = 2.0**-40


def shapes(groups: Groups, paths: PathTable, gossip: GossipSection, payload_size: int) -> Float64Array:
    """Shapes theta of receivers' exposure: float64[G], the greatest where copies alone keep no message alive.

    Backwards from a member of group b, each of its D mesh peers, and of the D - 1 others of each of those, is of group
    a and has sent it the message with the probability w_a (1 - loss_ab), d before, as K_ab says. With L_ab(s) the
    Laplace transform of K_ab times that probability, the rate of growth lambda makes 1 the greatest eigenvalue of
    (D - 1) L(lambda). X_b is what one peer adds to W: E X_b = sum over a of L_ab(lambda) E W_a,
    E X_b^2 = sum over a of L_ab(2 lambda) E W_a^2; and W_b is the sum of D - 1 of them, D at the receiver itself.

    Parameters
    ----------
    groups
        The topic's members.
    paths
        Latency and loss.
    gossip
        The configuration's `cold.gossip`.
    payload_size
        Of the messages [bytes].
    """
    degree = mesh_degree(gossip, int(groups.size.sum()))
    others, count = degree - 1, len(groups.size)
    transform = _hops(groups, paths, gossip, payload_size)
    rate = _growth(groups, paths, gossip, payload_size)
    if rate is None:
        return np.full(count, _MOST)
    once, twice = transform(rate), transform(2 * rate)
    values, vectors = np.linalg.eig(others * once)
    first = np.abs(vectors[:, np.argmax(values.real)].real)
    one = once @ first
    second = np.linalg.solve(np.eye(count) - others * twice, others * (others - 1) * one**2)
    mean = degree * one
    square = degree * twice @ second + degree * others * one**2
    shape = mean**2 / np.maximum(square - mean**2, mean**2 / _MOST)
    return np.asarray(np.maximum(np.rint(shape / _SHAPE_GRAIN), 1.0) * _SHAPE_GRAIN, dtype=np.float64)


def _hops(
    groups: Groups, paths: PathTable, gossip: GossipSection, payload_size: int
) -> Callable[[float], Float64Array]:
    """L: float64[G, G] at a rate [1/s], ``L[b, a]``."""
    members = int(groups.size.sum())
    comes, path = _paths(groups, paths, payload_size)
    own = leaving_delays(groups, gossip, mesh_degree(gossip, members), payload_size)

    def transform(rate: float) -> Float64Array:
        leaving = np.exp(-rate * own).mean(axis=1)
        return np.asarray((comes * leaving[:, None] * np.exp(-rate * path)).T, dtype=np.float64)

    return transform


def _paths(groups: Groups, paths: PathTable, payload_size: int) -> tuple[Float64Array, Float64Array]:
    """Share of all members that are of a group, first index, times the share that comes from there; how long it takes.

    float64[G, G] both, the second in seconds.
    """
    node = np.ix_(groups.node, groups.node)
    bits = (MESSAGE_BYTES + payload_size) * 8
    path = paths.latency_ns[node] / NS_PER_S + bits / groups.downlink_bps
    comes = groups.size[:, None] / max(int(groups.size.sum()), 1) * (1 - paths.loss[node])
    return np.asarray(comes, dtype=np.float64), np.asarray(path, dtype=np.float64)


def _growth(groups: Groups, paths: PathTable, gossip: GossipSection, payload_size: int) -> float | None:
    """Return the rate lambda [1/s]; None where copies alone keep no message alive."""
    degree = mesh_degree(gossip, int(groups.size.sum()))
    transform = _hops(groups, paths, gossip, payload_size)

    def excess(rate: float) -> float:
        return (degree - 1) * float(np.abs(np.linalg.eigvals(transform(rate))).max()) - 1

    if degree < 3 or excess(0.0) <= 0:
        return None
    own = leaving_delays(groups, gossip, degree, payload_size)
    shortest = float((own.min(axis=1)[:, None] + _paths(groups, paths, payload_size)[1]).min())
    return float(brentq(excess, 0.0, np.log(degree - 1) / shortest, rtol=1e-6))


class Branching(NamedTuple):
    """How a message spreads from who has it, while few have. T types of members."""

    validation: Sequence[Float64Array]
    """Of each type: how long a member validates it, at equal probabilities [s]."""
    copy: Float64Array
    """float64[T]: how long a copy takes on the uplink [s]."""
    goes: Float64Array
    """float64[T, T]: how many of the copies of one of a type, first index, come to one of another that passes it on."""
    path: Float64Array
    """float64[T, T]: how long they take on their way [s]."""
    others: Float64Array
    """float64[T, K + 1]: probability that one who got the message from another sends k copies."""
    meshes: Float64Array
    """float64[T, K + 1]: the same of one who got it from outside."""


def delays_of_starts(
    groups: Groups, paths: PathTable, gossip: GossipSection, source_group: int, payload_size: int, count: int
) -> Int64Array:
    """`starts_of` a network that stands still: int64[count], ns.

    Parameters
    ----------
    groups, paths, gossip, payload_size
        As for `shapes`.
    source_group
        Where messages enter.
    count
        Of the representatives.
    """
    degree = mesh_degree(gossip, int(groups.size.sum()))
    types = len(groups.size)
    share = groups.size / max(int(groups.size.sum()), 1)
    sends = np.eye(degree + 1)[[degree - 1, degree]]
    branching = Branching(
        validation=[validation_delays(gossip)] * types,
        copy=np.asarray((MESSAGE_BYTES + payload_size) * 8 / groups.uplink_bps, dtype=np.float64),
        goes=np.asarray(share * (1 - paths.loss[np.ix_(groups.node, groups.node)]), dtype=np.float64),
        path=_paths(groups, paths, payload_size)[1],
        others=np.broadcast_to(sends[0], (types, degree + 1)),
        meshes=np.broadcast_to(sends[1], (types, degree + 1)),
    )
    return starts_of(branching, np.eye(types)[source_group], count)


def starts_of(branching: Branching, source: Float64Array, count: int) -> Int64Array:
    """How much later messages come than the equations say for the chance of their first hops: int64[count], ns.

    A message that enters at one member grows as W exp(lambda t), with a W of its own; equations for populations have
    its mean, 1, and so are too early: what matters is E ln W < 0. A member of type a that gets the message validates
    it, for a time that all its copies share, and sends to k others in turn, with the probability p_ak. With
    v_a(s) = E exp(-s validation), e_ak(s) = sum over j up to k of exp(-s j copy_a), means over k

        u_a = E e_ak(lambda),  u2_a = E e_ak(2 lambda),  pairs_a = E e_ak(lambda)^2 - u2_a,

    and P_a(s)_b = goes_ab exp(-s path_ab),

        E W_a = v_a(lambda) u_a P_a(lambda) E W,
        E W_a^2 = v_a(2 lambda) (u2_a P_a(2 lambda) E W^2 + pairs_a (P_a(lambda) E W)^2),

    and where it enters, the same with the number of all members of a mesh. lambda makes 1 the greatest eigenvalue of
    the first. W is taken for a Gamma variable of that mean and variance. The delays are -ln(W) / lambda at equal
    probabilities, for as many representatives, from the latest to the earliest.

    Parameters
    ----------
    branching
        The network.
    source
        float64[T]: shares of the types of the members where messages enter, over which moments there are means.
    count
        Of the representatives.
    """
    none = np.zeros(count, dtype=np.int64)
    there = _reached(branching.goes, source)
    if not there.any():
        return none
    validation = [each for each, is_there in zip(branching.validation, there.tolist(), strict=True) if is_there]
    copy, others = branching.copy[there], branching.others[there]
    goes, path = (each[np.ix_(there, there)] for each in (branching.goes, branching.path))

    def checks(s: float) -> Float64Array:
        return np.array([float(np.exp(-s * each).mean()) for each in validation])

    def turns(sends: Float64Array, s: float) -> Float64Array:
        """e: float64[T, K + 1]."""
        each = np.exp(-s * copy[:, None] * np.arange(1, sends.shape[1]))
        return np.concatenate([np.zeros((len(copy), 1)), np.cumsum(each, axis=1)], axis=1)

    def grows(s: float) -> Float64Array:
        mean = checks(s) * (others * turns(others, s)).sum(axis=1)
        return np.asarray(mean[:, None] * goes * np.exp(-s * path), dtype=np.float64)

    def excess(s: float) -> float:
        return float(np.abs(np.linalg.eigvals(grows(s))).max()) - 1

    start = excess(0.0)
    if start <= 0:
        return none
    shortest = min(float(each.min()) for each in validation) + float(copy.min()) + float(path.min())
    rate = float(brentq(excess, 0.0, 2 * np.log(start + 1) / shortest, rtol=1e-6))
    values, vectors = np.linalg.eig(grows(rate))
    mean = np.abs(vectors[:, np.argmax(values.real)].real)
    reach, again = (goes * np.exp(-s * path) for s in (rate, 2 * rate))
    reached = reach @ mean
    once, twice = checks(rate), checks(2 * rate)

    def moments(sends: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
        first, second = turns(sends, rate), turns(sends, 2 * rate)
        return (sends * first).sum(axis=1), (sends * second).sum(axis=1), (sends * (first**2 - second)).sum(axis=1)

    _, second, pairs = moments(others)
    square = np.linalg.solve(np.eye(len(mean)) - (twice * second)[:, None] * again, twice * pairs * reached**2)
    first, second, pairs = moments(branching.meshes[there])
    average = float(source[there] @ (once * first * reached))
    if average <= 0:
        return none
    ratio = float(source[there] @ (twice * (second * (again @ square) + pairs * reached**2))) / average**2
    shape = min(1 / max(ratio - 1, 1 / _MOST), _MOST)
    starts = gammaincinv(shape, (np.arange(count) + 0.5) / count) / shape
    return np.asarray(np.rint(-np.log(starts) / rate * NS_PER_S / _DELAY_GRAIN_NS) * _DELAY_GRAIN_NS, dtype=np.int64)


def _reached(goes: Float64Array, source: Float64Array) -> npt.NDArray[np.bool_]:
    """Which types a message comes to that enters at some, and these themselves: bool[T]; none if to nobody."""
    there = source > 0
    while (further := there | (goes[there] > 0).any(axis=0)).sum() > there.sum():
        there = further
    return np.asarray(there & bool((goes[source > 0] > 0).any()), dtype=np.bool_)


def exposure(lacking: float | Float64Array, shape: float | Float64Array) -> Float64Array:
    """Phi^-1: what a share of identities that lacks the message has been exposed to.

    Parameters
    ----------
    lacking : float64[...]
        In [0, 1].
    shape
        From `shapes`, of the same dimensions.
    """
    bounded = np.maximum(lacking, _NOBODY)
    return np.asarray(np.rint(shape * np.expm1(-np.log(bounded) / shape) / _GRAIN) * _GRAIN, dtype=np.float64)


def exposures(shape: Float64Array) -> Float64Array:
    """`exposure` of the members of each group at the levels of a table: float64[G, LEVELS], from shapes float64[G]."""
    lacking = 1 - np.linspace(0, 1, LEVELS)
    # The last of a table is somewhere in the last of its parts.
    lacking[-1] = lacking[-2] / 2
    return exposure(np.broadcast_to(lacking, (len(shape), LEVELS)), shape[:, None])


def lacking(exposed: Float64Array, shape: float | Float64Array) -> Float64Array:
    """Phi: the share that lacks the message after an exposure."""
    return np.asarray(np.exp(-shape * np.log1p(exposed / shape)), dtype=np.float64)
