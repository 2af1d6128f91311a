"""How messages spread through the tail, compared with what is known of epidemics on random regular graphs."""

import numpy as np
import numpy.typing as npt
import pytest

from bridge.directory import BandwidthShare, ColdPlacement, build_directory
from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.scenario import Scenario
from cold.section import ColdSection

pytestmark = pytest.mark.statistical

GBIT = 1_000_000_000
LATENCY = 50 * NS_PER_MS


def spread(count: int, seed: int, flood_publish: bool = True) -> npt.NDArray[np.void]:
    """Five messages among identities that are all 50 ms apart, with links that cost nothing."""
    paths = PathTable((0,), np.array([[LATENCY]]), np.zeros((1, 1)), LATENCY)
    share = BandwidthShare(1.0, 1000 * GBIT, 1000 * GBIT)
    directory = build_directory([], [ColdPlacement("tail", count, ((0, 1.0),), (share,))])
    section = ColdSection.model_validate(
        {
            "populations": {"tail": {"count": count}},
            "gossip": {"flood_publish": flood_publish, "heartbeat": "10 s"},
            "publications": [{"topic": 1, "time": "1 s", "count": 5, "interval": "5 s", "size": 100}],
        }
    )
    engine = ColdEngine(Scenario(section, directory, seed, 60 * NS_PER_S), paths)
    engine.run_until(60 * NS_PER_S)
    return engine.message_table()


@pytest.mark.parametrize("count", [100, 1000, 10_000, 40_000])
def test_without_loss_every_identity_gets_every_message(count: int) -> None:
    assert (spread(count, seed=1)["delivered"] == count - 1).all()


def test_delay_grows_as_the_logarithm_of_the_size() -> None:
    """A mesh of degree D multiplies the reached by at most D - 1 at each hop: the median depth is A log N + B.

    A is 1 / log(D - 1) in the limit. The steps of whole hops bend it by up to a hop over the range of sizes.
    """
    sizes = [300, 1000, 3000, 10_000, 30_000]
    hops = [
        np.mean([spread(size, seed, flood_publish=False)["p50_ns"].mean() for seed in (1, 2, 3)]) / LATENCY
        for size in sizes
    ]
    slope, intercept = np.polyfit(np.log(sizes), hops, 1)
    assert slope == pytest.approx(1 / np.log(7), abs=1 / np.log(sizes[-1] / sizes[0]))
    residuals = np.array(hops) - (slope * np.log(sizes) + intercept)
    # Depths are whole hops, so that the median moves in steps.
    assert np.abs(residuals).max() < 0.5


def test_duplicates_are_what_the_mesh_predicts() -> None:
    """Each of the N - 1 receivers forwards to its D mesh peers but one: N (D - 2) + 2 copies are not the first."""
    count = 5000
    paths = PathTable((0,), np.array([[LATENCY]]), np.zeros((1, 1)), LATENCY)
    share = BandwidthShare(1.0, 1000 * GBIT, 1000 * GBIT)
    directory = build_directory([], [ColdPlacement("tail", count, ((0, 1.0),), (share,))])
    section = ColdSection.model_validate(
        {
            "populations": {"tail": {"count": count}},
            "gossip": {"flood_publish": False, "d_lazy": 0},
            "publications": [{"topic": 1, "time": "1 s", "size": 100}],
        }
    )
    engine = ColdEngine(Scenario(section, directory, 1, 60 * NS_PER_S), paths)
    engine.run_until(10 * NS_PER_S)
    mean_degree = engine.mesh_degrees().mean()
    duplicates = engine.counters()["duplicates"]
    assert duplicates == pytest.approx(count * (mean_degree - 2) + 2, rel=0.01)
