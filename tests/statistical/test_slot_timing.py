"""When duties are done, against how wrong the clocks are."""

import numpy as np
import pytest
from scipy import stats

from bridge.directory import BandwidthShare, ColdPlacement, build_directory
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.calendar import Calendar
from cold.population import clocks, stakers
from cold.section import ColdSection
from tests.statistical.pictures import draw_curves

pytestmark = pytest.mark.statistical

COUNT = 20_000
SLOT = 12 * NS_PER_S
OFFSET_MS = 40.0
DRIFT_PPM = 50.0


def test_attestations_spread_as_the_clocks_do() -> None:
    """Clocks off by N(0, 40 ms), drifting by N(0, 50 ppm): after T they are off by N(0, 40 ms² + (50 ppm T)²).

    Kolmogorov-Smirnov over the attesters of one slot (about 625), at the level 0.001 for each of four slots.
    """
    section = ColdSection.model_validate(
        {
            "populations": {
                "tail": {
                    "count": COUNT,
                    "clock": {
                        "offset": {"kind": "normal", "mean": "0 s", "deviation": "40 ms"},
                        "drift": {"kind": "normal", "mean": "0 ppm", "deviation": "50 ppm"},
                    },
                }
            },
            "calendar": {"genesis": "10 s", "validators": {"count": COUNT}, "attestations": {"topics": 1}},
        }
    )
    share = BandwidthShare(1.0, 10**9, 10**9)
    directory = build_directory([], [ColdPlacement("tail", COUNT, ((0, 1.0),), (share,))])
    assert section.calendar is not None
    calendar = Calendar(
        section.calendar, section.calendar_topics, clocks(section, directory, 3), stakers(section, directory), 3, 0
    )
    curves = {}
    for slot in (0, 300, 1200, 7200):
        due = 10 * NS_PER_S + slot * SLOT + SLOT // 3
        late = np.sort((calendar.publications(slot).time - due) / NS_PER_MS)
        deviation = np.hypot(OFFSET_MS, DRIFT_PPM * 1e-6 * due / NS_PER_MS)
        assert stats.kstest(late, stats.norm(0, deviation).cdf).pvalue > 0.001
        curves[f"slot {slot}: expected deviation {deviation:.0f} ms"] = (late, (np.arange(len(late)) + 0.5) / len(late))
    draw_curves("slot_timing", "Attestations against the slot's third", "ms late", "share of attesters", curves)
