"""Identities that come and go: their sessions, and what becomes of the meshes."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from bridge.directory import BandwidthShare, ColdPlacement, HostDirectory, build_directory
from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.sessions import Lives, habits_of
from tests.statistical.pictures import draw_curves

pytestmark = pytest.mark.statistical

GBIT = 1_000_000_000
MEAN_SESSION = 60
MEAN_ABSENCE = 20


def network(count: int, **keys: Any) -> tuple[ColdSection, HostDirectory, PathTable]:
    """Identities that are all 50 ms apart, of which some are up at any time."""
    paths = PathTable((0,), np.array([[50 * NS_PER_MS]]), np.zeros((1, 1)), 50 * NS_PER_MS)
    share = BandwidthShare(1.0, GBIT, GBIT)
    directory = build_directory([], [ColdPlacement("tail", count, ((0, 1.0),), (share,))])
    churn = {
        "sessions": {"kind": "exponential", "mean": f"{MEAN_SESSION} s"},
        "absences": {"kind": "exponential", "mean": f"{MEAN_ABSENCE} s"},
        "dial": "0 s",
        "detection": "5 s",
        "notice": 0.5,
    }
    reachable = keys.pop("reachable", 1.0)
    population = {"count": count, "churn": churn, "reachable": reachable}
    section = ColdSection.model_validate({"populations": {"tail": population}, **keys})
    return section, directory, paths


def test_whole_sessions_have_the_lengths_asked_for() -> None:
    """Kolmogorov-Smirnov of the second intervals of 20,000 lives, at the level 0.001, against an exponential of 1 s on.

    Every second interval is taken, however long: a window of time would see too many short ones.
    """
    section, directory, paths = network(20_000)
    lives = Lives(habits_of(section, directory, paths.node_ids), 3, 0)
    changes = lives.take(2000 * NS_PER_S)
    order = np.lexsort((changes.time, changes.identity))
    identity, time, is_up = changes.identity[order], changes.time[order] / NS_PER_S, changes.is_up[order]
    is_second = (np.diff(identity[:-1], prepend=-1) != 0) & (identity[:-1] == identity[1:])
    lengths, begins_up = np.diff(time)[is_second], is_up[:-1][is_second]
    curves = {}
    for name, mean, chosen in (("session", MEAN_SESSION, begins_up), ("absence", MEAN_ABSENCE, ~begins_up)):
        values = np.sort(lengths[chosen])
        longer = values[values > 1.0]
        # The memoryless rest of what is longer than the shortest interval.
        assert stats.kstest(longer - 1.0, stats.expon(scale=mean).cdf).pvalue > 0.001
        grid = np.linspace(1, 6 * mean, 200)
        curves[f"{name}s, drawn"] = (values, 1 - np.arange(len(values)) / len(values))
        curves[f"{name}s, exponential"] = (grid, np.exp(-grid / mean))
    draw_curves("sessions", "Lengths of intervals", "s", "share that is longer", curves)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("churn", {}),
        ("churn_behind_nat", {"reachable": 0.6, "overlay": {"target": 40, "maximum": 60, "redial": "10 s"}}),
    ],
)
def test_meshes_stay_within_their_bounds_under_long_churn(name: str, keys: dict[str, Any]) -> None:
    """After ten mean sessions, the meshes of those that are up for two heartbeats are within D_low and D_high.

    Below D_low are those that lost a member since their last heartbeat: each member goes at a rate of one in a mean
    session, so that of the meshes at D_low a share of less than D_low / mean session is below at any time.
    """
    count, end = 4000, 600
    section, directory, paths = network(count, **keys)
    engine = ColdEngine(Scenario(section, directory, 5, (end + 10) * NS_PER_S), paths)
    lives = Lives(habits_of(section, directory, paths.node_ids), 5, 0)
    lives.take((end + 1) * NS_PER_S)
    lives.advance((end - 3) * NS_PER_S)
    stays = lives.is_up((end - 3) * NS_PER_S) & (lives.until > end * NS_PER_S)
    curves = {}
    for second in (1, 30, 120, end):
        engine.run_until(second * NS_PER_S)
        degrees = engine.mesh_degrees()[0]
        shares = np.bincount(degrees, minlength=13) / count
        curves[f"after {second} s"] = (np.arange(13, dtype=np.float64), shares)
    draw_curves(f"{name}_degrees", "Mesh degrees under churn", "members of the mesh", "share of identities", curves)
    assert degrees.max() <= 12
    assert not degrees[~lives.is_up((end - 3) * NS_PER_S) & (lives.until > end * NS_PER_S)].any()
    below = (degrees[stays] < 6).mean()
    assert below < 6 / MEAN_SESSION
    assert degrees[stays].min() >= 3


def test_as_many_members_of_meshes_are_away_at_the_beginning_as_later() -> None:
    """Of an identity's members, those that have left without notice, for up to 5 s: one in 24 of a mean session."""
    section, directory, paths = network(4000)
    engine = ColdEngine(Scenario(section, directory, 5, 60 * NS_PER_S), paths)
    is_up = engine.is_up(0)
    whose, peer = engine.mesh_members(0)
    assert is_up[whose].all()
    assert is_up[peer].all()
    # Those that are up, of the eight of a first mesh.
    assert np.bincount(whose, minlength=4000)[is_up].mean() == pytest.approx(8 * is_up.mean(), rel=0.03)
    away = []
    for second in range(8, 57, 4):
        engine.run_until(second * NS_PER_S)
        is_up = engine.is_up(second * NS_PER_S)
        whose, peer = engine.mesh_members(0)
        assert is_up[whose].all()
        away.append(float(1 - is_up[peer].mean()))
    assert np.mean(away[:4]) == pytest.approx(0.5 * 5 / MEAN_SESSION, rel=0.25)
    assert np.mean(away[-4:]) == pytest.approx(0.5 * 5 / MEAN_SESSION, rel=0.25)


def test_a_message_reaches_those_that_are_up() -> None:
    """All that are up when it is published and stay have it: with D 8 the mesh of the others is still connected."""
    count = 3000
    section, directory, paths = network(count, publications=[{"topic": 1, "time": "100 s", "size": 1000}])
    engine = ColdEngine(Scenario(section, directory, 7, 200 * NS_PER_S), paths)
    engine.run_until(103 * NS_PER_S)
    lives = Lives(habits_of(section, directory, paths.node_ids), 7, 0)
    lives.take(110 * NS_PER_S)
    lives.advance(100 * NS_PER_S)
    stays = lives.is_up(100 * NS_PER_S) & (lives.until > 103 * NS_PER_S)
    delivered = int(engine.message_table()["delivered"][0])
    assert delivered >= stays.sum() - 1
    assert delivered <= lives.is_up(100 * NS_PER_S).sum() + count * 3 / (MEAN_SESSION + MEAN_ABSENCE) * 2
