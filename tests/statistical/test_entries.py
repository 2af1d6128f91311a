"""Messages of hot hosts that enter a coarse topic at several identities, beside the same ones propagated exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from benchmarks.cold_resolutions import SEED, Network, build_network
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.coarse_fields import CoarseFields
from cold.coarse_packets import CoarseMessage
from cold.contacts import StandingSpread
from cold.propagation import summarise
from cold.resolution_section import Resolution
from cold.sampled import receipts, rules_of, spread_message
from cold.sampled_kernels import NEVER
from cold.scenario import Scenario
from tests.statistical.pictures import draw_curves

pytestmark = pytest.mark.statistical

IDENTITIES, MESSAGES, SIZE = 4000, 40, 1024
CONFIDENCE = 0.99
Delays = npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def network() -> Network:
    return build_network(IDENTITIES, 1, 0.0, SIZE, validation_delay={"kind": "uniform", "low": "1 ms", "high": "30 ms"})


def both_ways(network: Network, fields: CoarseFields, entries: int) -> tuple[list[Delays], list[Delays]]:
    """Delays of the same messages, propagated exactly and drawn."""
    random = np.random.default_rng(entries)
    rules = rules_of(network.section.gossip, network.paths, SEED, 0)
    everybody = np.arange(IDENTITIES, dtype=np.uint32)
    exact, drawn = [], []
    for number in range(MESSAGES):
        published = 2 * NS_PER_S
        hosts = random.choice(IDENTITIES, entries, replace=False).tolist()
        times = [published, *(published + random.integers(0, 40 * NS_PER_MS, entries - 1)).tolist()]
        places = list(zip(times, hosts, strict=True))
        spread = spread_message(network.mesh, rules, 10**6 + number, published, SIZE, entries=places)
        exact.append(receipts(network.mesh, spread, -1, SIZE) - published)
        message = CoarseMessage(10**6 + number, 0, published, -1, 0, SIZE, is_planned=False)
        message.entries = sorted((time, host, 0) for time, host in places)
        at, _ = StandingSpread(fields).arrivals(message, everybody)
        for time, host in places:
            at[host] = min(int(at[host]), time)
        drawn.append(at[at != NEVER] - published)
    return exact, drawn


@pytest.mark.parametrize(("resolution", "bound"), [(Resolution.SAMPLED, 0.07), (Resolution.MEAN_FIELD, 0.12)])
def test_several_ways_in_speed_a_message_up_as_much_as_they_do(
    network: Network, resolution: Resolution, bound: float
) -> None:
    """The mean of the median delay, at 99 % confidence: the interval of the difference lies within the bound."""
    fields = CoarseFields(
        Scenario(network.section, network.directory, SEED, 60 * NS_PER_S), network.paths, {0: resolution}
    )
    curves = {}
    medians = {}
    for entries in (1, 4, 16):
        exact, drawn = both_ways(network, fields, entries)
        for name, delays in (("exact", exact), (resolution.written, drawn)):
            whole = np.sort(np.concatenate(delays)) / NS_PER_MS
            curves[f"{name}, {entries}"] = np.quantile(whole, np.linspace(0, 1, 300)), np.linspace(0, 1, 300)
        true, other = (np.array([summarise(one)[0] for one in delays]) for delays in (exact, drawn))
        change = (other - true) / true.mean()
        low, high = stats.t.interval(CONFIDENCE, MESSAGES - 1, loc=change.mean(), scale=stats.sem(change))
        assert -bound < low < high < bound
        medians[entries] = true.mean(), other.mean()
    # Sixteen ways in save a good part of the time, in both.
    assert all(sixteen < 0.85 * one for one, sixteen in zip(medians[1], medians[16], strict=True))
    title = f"{MESSAGES} messages that enter at 1, 4 or 16 of {IDENTITIES} identities"
    draw_curves(f"entries-{resolution.written}", title, "delay [ms]", "share of identities", curves)
