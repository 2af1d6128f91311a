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

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from bridge.paths import PathTable
from bridge.simtime import NS_PER_S
from cold.mean_field import leaving_delays, mesh_degree
from cold.propagation import Groups
from cold.propagation_kernels import LEVELS
from cold.sampled_kernels import MESSAGE_BYTES
from cold.section import GossipSection

Float64Array = npt.NDArray[np.float64]

#: Shapes and exposures are rounded to these, far below the model's error, so that libraries' last bits do not matter.
_SHAPE_GRAIN: Final = 2.0**-10
_GRAIN: Final = 2.0**-24
#: A shape so great is as good as infinite.
_MOST: Final = 2.0**20
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
    members = int(groups.size.sum())
    degree = mesh_degree(gossip, members)
    others = degree - 1
    node = np.ix_(groups.node, groups.node)
    bits = (MESSAGE_BYTES + payload_size) * 8
    path = paths.latency_ns[node] / NS_PER_S + bits / groups.downlink_bps
    comes = groups.size[:, None] / max(members, 1) * (1 - paths.loss[node])
    own = leaving_delays(groups, gossip, degree, payload_size)

    def transform(rate: float) -> Float64Array:
        leaving = np.exp(-rate * own).mean(axis=1)
        return np.asarray((comes * leaving[:, None] * np.exp(-rate * path)).T, dtype=np.float64)

    def growth(rate: float) -> float:
        return others * float(np.abs(np.linalg.eigvals(transform(rate))).max()) - 1

    count = len(groups.size)
    if others < 2 or growth(0.0) <= 0:
        return np.full(count, _MOST)
    shortest = float((own.min(axis=1)[:, None] + path).min())
    rate = float(brentq(growth, 0.0, np.log(others) / shortest, rtol=1e-6))
    once, twice = transform(rate), transform(2 * rate)
    values, vectors = np.linalg.eig(others * once)
    first = np.abs(vectors[:, np.argmax(values.real)].real)
    one = once @ first
    second = np.linalg.solve(np.eye(count) - others * twice, others * (others - 1) * one**2)
    mean = degree * one
    square = degree * twice @ second + degree * others * one**2
    shape = mean**2 / np.maximum(square - mean**2, mean**2 / _MOST)
    return np.asarray(np.maximum(np.rint(shape / _SHAPE_GRAIN), 1.0) * _SHAPE_GRAIN, dtype=np.float64)


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
