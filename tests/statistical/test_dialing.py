"""Peer graphs that are made by dialling, beside what theory says of one round of it."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import integrate, stats

from cold.dialing import Dialing, connect
from cold.dialing_kernels import Connections, Wishes
from tests.statistical.pictures import draw_curves

pytestmark = pytest.mark.statistical

IDENTITIES, TARGET = 60_000, 20


def dialled(reachable: float, maximum: int, outbound: int, rounds: int) -> tuple[Connections, npt.NDArray[np.bool_]]:
    wishes = Wishes(*(np.full(IDENTITIES, each, dtype=np.uint16) for each in (TARGET, maximum, outbound)))
    is_reachable = np.random.default_rng(3).random(IDENTITIES) < reachable
    return connect(Dialing(wishes, is_reachable, rounds), 11, 0), is_reachable


def degrees_of_theory(reachable: float, most: int) -> npt.NDArray[np.float64]:
    """Probability that a reachable identity has T + k connections, for k from 0 to `most`; one round, and no maximum.

    Before its turn at x in [0, 1), a Poisson number N of mean y(x) has dialled it, and it dials max(T - N, 0) itself,
    or T where it cannot be dialled. So y' = ((1 - r) T + r E max(T - N, 0)) / r for a share r that is reachable, and a
    Poisson number of mean y(1) - y(x) comes after.
    """
    number = np.arange(200)

    def rate(_: float, mean: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        wanted = np.maximum(TARGET - number, 0) @ stats.poisson.pmf(number, mean[0])
        return np.array([((1 - reachable) * TARGET + reachable * wanted) / reachable])

    places, weights = np.polynomial.legendre.leggauss(60)
    places = np.append((places + 1) / 2, 1.0)
    *means, last = integrate.solve_ivp(rate, (0, 1), [0.0], t_eval=places, rtol=1e-9).y[0]
    total = np.zeros(most + 1)
    for mean, weight in zip(means, weights / 2, strict=True):
        own = stats.poisson.pmf(number, mean)
        at_turn = np.append(own[: TARGET + 1].sum(), own[TARGET + 1 : TARGET + most + 1])
        total += weight * np.convolve(at_turn, stats.poisson.pmf(np.arange(most + 1), last - mean))[: most + 1]
    return total


@pytest.mark.parametrize("reachable", [1.0, 0.8])
def test_one_round_of_dials_makes_the_degrees_of_theory(reachable: float) -> None:
    """Chi-square of the degrees of 60,000 identities, at the level 0.001.

    Degrees are not independent of each other, as both ends of a connection count it; this makes their counts differ
    less from the means than those of a multinomial. One dial in 3,000 is in vain, as the two are connected already.
    """
    connections, is_reachable = dialled(reachable, 500, 0, 1)
    degree = connections.degree.astype(np.int64)
    assert (degree[~is_reachable] == TARGET).all()
    more = degree[is_reachable] - TARGET
    most = 22
    expected = degrees_of_theory(reachable, most)
    expected[-1] = 1 - expected[:-1].sum()
    found = np.bincount(np.minimum(more, most), minlength=most + 1)
    assert more.min() >= 0
    grid = np.arange(TARGET, TARGET + most + 1, dtype=np.float64)
    draw_curves(
        f"dialling-{reachable}",
        f"One round of dials, target {TARGET}, {reachable:.0%} reachable",
        "connections",
        "share of the reachable",
        {"dialled": (grid, found / found.sum()), "theory": (grid, expected)},
    )
    assert stats.chisquare(found, expected * found.sum()).pvalue > 0.001


def test_more_rounds_bring_degrees_between_target_and_maximum() -> None:
    """Where there is room for all, who is short finds it, and the excess shrinks from round to round."""
    curves, excess = {}, []
    for rounds in (1, 2, 4, 8):
        connections, is_reachable = dialled(0.8, TARGET + 4, 6, rounds)
        degree = connections.degree[is_reachable].astype(np.int64)
        share = np.bincount(degree, minlength=TARGET + 5) / len(degree)
        curves[f"{rounds} rounds"] = (np.arange(TARGET - 5, TARGET + 5, dtype=np.float64), share[TARGET - 5 :])
        assert degree.max() == TARGET + 4
        excess.append(degree.mean() - TARGET)
    draw_curves("dialling-rounds", "Rounds of dials, 80 % reachable", "connections", "share of the reachable", curves)
    assert excess == sorted(excess, reverse=True)
    assert (connections.degree >= TARGET).mean() > 0.999
    assert (connections.made >= 6).mean() > 0.99


def test_the_unreachable_find_what_room_there_is() -> None:
    """With three in four unreachable, at the end the reachable have the maximum, and the others share the rest.

    A connection has a reachable end, so that there are at most R * maximum of them, of which those between two
    reachable ones take two places each.
    """
    connections, is_reachable = dialled(0.25, TARGET + 4, 6, 8)
    degree, made = connections.degree.astype(np.int64), connections.made.astype(np.int64)
    assert (degree[is_reachable] >= TARGET + 3).mean() > 0.99
    among = made[is_reachable].sum()
    assert degree[~is_reachable].sum() == degree[is_reachable].sum() - 2 * among
    assert degree[~is_reachable].mean() < TARGET / 2
