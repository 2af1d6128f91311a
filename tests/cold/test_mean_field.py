"""The equations of the mean-field resolution, beside other ways to the same results."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.mean_field import Hops, mean_field, measure_hops, mesh_degree, solve
from cold.propagation import Groups, group_members
from cold.sampled_kernels import TOTAL_NAMES
from tests.cold.networks import directory_of, section_of, three_nodes


def groups_of(count: int) -> Groups:
    directory = directory_of(count)
    return group_members(directory.node, directory.uplink_bps, directory.downlink_bps)


def one_group(kernel: np.ndarray, step: float, degree: int, reach: float) -> Hops:
    """One group of members that a publisher reaches at once with the probability `reach`; nobody gossips."""
    return Hops(
        degree=degree,
        weight=np.ones(1),
        step=step,
        kernel=kernel[None, None, :],
        first=np.array([[reach]]),
        mended=np.full((1, 1), 1.0),
        asking=np.full((1, 1), 1.0),
        told=0.0,
        mends=np.ones(1),
        heard=np.ones(1),
        earliest_ns=np.zeros(1, dtype=np.int64),
        mean=1.0,
        pushed_to=1,
        path=np.zeros((1, 1)),
    )


def test_with_exponential_delays_the_equations_are_ordinary() -> None:
    """Then 1 - theta = y follows y' = ((1 - C) - y) / mean, which scipy's solver can do as well."""
    mean, degree, reach, step = 0.1, 6, 1e-3, 1e-3
    borders = np.concatenate([[0.0, 0.0], (np.arange(1, 1500) + 0.5) * step])
    kernel = np.diff(-np.exp(-borders / mean))
    spread = solve(one_group(kernel, step, degree, reach), 10**9, 2.0)

    def rate(_time: float, y: np.ndarray) -> np.ndarray:
        return np.asarray(((1 - (1 - reach) * (1 - y) ** (degree - 1)) - y) / mean)

    solved = solve_ivp(rate, (0, float(spread.time[-1])), [0.0], t_eval=spread.time, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(spread.theta[:, 0], 1 - solved.y[0], rtol=0, atol=3e-3)


def test_growth_is_what_the_mesh_degree_gives() -> None:
    """Early receipts grow as exp(r t), with (D - 1) E[exp(-r d)] = 1 (Euler and Lotka)."""
    step, degree = 1e-3, 8
    delays = np.linspace(0.05, 0.15, 101)
    kernel = np.bincount(np.rint(delays / step).astype(int)) / len(delays)
    spread = solve(one_group(kernel, step, degree, 1e-9), 10**12, 5.0)
    growth = brentq(lambda r: (degree - 1) * np.exp(-r * delays).mean() - 1, 1.0, 100.0)
    reached = 1 - spread.cavity[:, 0]
    some = (reached > 1e-7) & (reached < 1e-4)
    slope = np.polyfit(spread.time[some], np.log(reached[some]), 1)[0]
    assert slope == pytest.approx(growth, rel=0.01)


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_nothing_is_created_and_nothing_gets_lost(loss: float) -> None:
    section, groups = section_of(5000), groups_of(5000)
    hops = measure_hops(groups, three_nodes(loss), section.gossip, 50, 0, 1000)
    np.testing.assert_allclose(hops.kernel.sum(axis=2), 1 - loss)
    spread = solve(hops, 5000, 60.0)
    assert (np.diff(spread.susceptible, axis=0) <= 1e-12).all()
    assert spread.susceptible.min() >= 0
    assert spread.susceptible.max() <= 1
    # What mesh peers have sent is at the others, lost, or under way; in the end nothing is under way.
    sent = np.einsum("a,abk,ta->tb", hops.weight, hops.kernel, 1 - spread.cavity)
    under_way = sent - (1 - spread.theta)
    assert under_way.min() > -1e-9
    if loss:
        # Where some are left out, the search for them ends only when nothing is under way.
        quiet = solve(Hops(**{**hops.__dict__, "told": 0.0}), 10**15, 60.0)
        sent = np.einsum("a,abk,a->b", hops.weight, hops.kernel, 1 - quiet.cavity[-1])
        np.testing.assert_allclose(sent, 1 - quiet.theta[-1], atol=1e-9)


def test_the_counters_of_a_message_add_up() -> None:
    section, groups = section_of(5000), groups_of(5000)
    field = mean_field(groups, three_nodes(0.1), section.gossip, 50, 0, 1000)
    totals = dict(zip(TOTAL_NAMES, field.totals[0].tolist(), strict=True))
    assert totals["messages_sent"] == totals["messages_received"] + totals["messages_lost"] + totals["expired"]
    assert totals["delivered"] == 4999
    assert totals["ihave_sent"] == 3 * 6 * 5000
    assert totals["iwant_unserved"] == 0
    # Each of N receivers passes the message to D - 1 others.
    assert totals["messages_sent"] == pytest.approx(5000 * (mesh_degree(section.gossip, 5000) - 1), rel=0.01)


def test_heavy_loss_without_gossip_leaves_some_without() -> None:
    """With loss q each of D peers fails: in the end theta = q + (1 - q) theta^(D - 1), and theta^D have nothing."""
    section = section_of(5000, gossip={"d_lazy": 0, "flood_publish": False})
    field = mean_field(groups_of(5000), three_nodes(0.5), section.gossip, 50, 0, 1000)
    theta = brentq(lambda x: 0.5 + 0.5 * x**7 - x, 0.4, 0.6)
    np.testing.assert_allclose(field.reached, 1 - theta**8, atol=1e-3)


def test_gossip_mends_what_loss_took() -> None:
    section = section_of(5000, gossip={"flood_publish": False})
    field = mean_field(groups_of(5000), three_nodes(0.5), section.gossip, 50, 0, 1000)
    assert field.reached.min() > 0.9999
    # All but some in a thousand are pushed to; the others hear of it at their peers' next heartbeats.
    assert 0.1 * NS_PER_S < np.quantile(field.delay, 0.99) < 0.3 * NS_PER_S
    assert 0.5 * NS_PER_S < field.delay.max() < 6 * NS_PER_S
    assert dict(zip(TOTAL_NAMES, field.totals[0].tolist(), strict=True))["iwant_sent"] > 20


def test_the_publisher_s_place_matters() -> None:
    section, groups = section_of(5000), groups_of(5000)
    near, far = (mean_field(groups, three_nodes(), section.gossip, 50, source, 1000) for source in (0, 5))
    at_home = groups.node == groups.node[0]
    assert (near.delay[0, at_home, 64] < 20 * NS_PER_MS).all()
    assert (far.delay[0, at_home, 64] > 40 * NS_PER_MS).all()
