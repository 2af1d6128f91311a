"""Sampled topics in networks that change, beside exact ones of the same network."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from bridge.directory import BandwidthShare, ColdPlacement, build_directory
from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.coarse import CoarseEngine
from cold.engine import ColdEngine
from cold.resolution_section import Resolution
from cold.results import message_table
from cold.section import ColdSection
from tests.statistical.pictures import draw_curves

pytestmark = pytest.mark.statistical

IDENTITIES, MESSAGES, STOP = 1500, 60, 100 * NS_PER_S
CONFIDENCE = 0.99
CASES: dict[str, dict[str, Any]] = {
    "churn": {
        "churn": {
            "sessions": {"kind": "exponential", "mean": "60 s"},
            "absences": {"kind": "exponential", "mean": "20 s"},
            "notice": 0.5,
            "detection": "5 s",
        }
    },
    "crash": {"failures": [{"kind": "crash", "time": "20 s", "until": "80 s", "share": 0.4}]},
    "partition": {
        "failures": [{"kind": "partition", "time": "30 s", "until": "70 s", "regions": [1], "detection": "10 s"}]
    },
    "degradation and silence": {
        "failures": [
            {"kind": "degradation", "time": "20 s", "until": "60 s", "regions": [0], "latency": "80 ms", "loss": 0.1},
            {"kind": "silence", "time": "60 s", "share": 0.3},
        ]
    },
    "clients": {
        "clients": {
            "many": {"share": 1, "gossip": {"d": 12, "d_high": 16, "validation_delay": "3 ms"}},
            "few": {"share": 2, "gossip": {"d": 4, "d_low": 3, "d_lazy": 3, "heartbeat": "700 ms"}},
        }
    },
}


class Compared(NamedTuple):
    """Two tables of the same messages, and the counters of either."""

    exact: npt.NDArray[np.void]
    sampled: npt.NDArray[np.void]
    exact_counters: dict[str, int]
    sampled_counters: dict[str, int]


@pytest.fixture(scope="module", params=CASES)
def compared(request: pytest.FixtureRequest) -> Compared:
    keys = dict(CASES[request.param])
    latency = np.array([[2, 40, 90], [40, 2, 60], [90, 60, 2]], dtype=np.int64) * NS_PER_MS
    paths = PathTable((0, 1, 2), latency, np.zeros((3, 3)), 2 * NS_PER_MS)
    share = BandwidthShare(1.0, 10**9, 10**9)
    places = ((0, 2.0), (1, 1.0), (2, 1.0))
    directory = build_directory([], [ColdPlacement("tail", IDENTITIES, places, (share,))])
    population = {"count": IDENTITIES, **{name: keys.pop(name) for name in ("churn",) if name in keys}}
    section = ColdSection.model_validate(
        {
            "populations": {"tail": population},
            "overlay": {"degree": 30},
            "gossip": {"validation_delay": {"kind": "uniform", "low": "1 ms", "high": "20 ms"}},
            "publications": [{"topic": 1, "time": "10 s", "count": MESSAGES, "interval": "1300 ms", "size": 1000}],
            "resolution": {"default": "sampled", "representatives": 8, "epoch": "100 s"},
            **keys,
        }
    )
    engine = ColdEngine(section, directory, paths, 3, STOP)
    engine.run_until(STOP)
    cuts = np.array([0, IDENTITIES], dtype=np.int64)
    levels = {0: Resolution.SAMPLED}
    coarse = CoarseEngine(section, directory, paths, 3, STOP, levels, owned=range(IDENTITIES), cuts=cuts, shard=0)
    coarse.run_until(STOP)
    result = Compared(
        engine.message_table(), message_table(coarse.partial_results()), engine.counters(), coarse.counters()
    )
    levels_of = np.linspace(0, 1, MESSAGES)
    draw_curves(
        f"rehearsal-{request.param.replace(' ', '-')}",
        f"{MESSAGES} messages among {IDENTITIES} identities: {request.param}",
        "median delay [ms]",
        "share of messages",
        {
            name: (np.sort(table["p50_ns"]) / 1e6, levels_of)
            for name, table in (("exact", result.exact), ("sampled", result.sampled))
        },
    )
    return result


def test_both_tell_of_the_same_messages(compared: Compared) -> None:
    for name in ("id", "origin", "topic", "size", "publish_time_ns"):
        assert (compared.exact[name] == compared.sampled[name]).all()


def test_messages_reach_as_many(compared: Compared) -> None:
    """The mean of the differences: an interval of 99 % of Student's t holds zero, or lies within 3 % of the network."""
    change = compared.sampled["delivered"] - compared.exact["delivered"].astype(np.int64)
    bound = 0.03 * IDENTITIES
    if not change.any():
        return
    low, high = stats.t.interval(CONFIDENCE, MESSAGES - 1, loc=change.mean(), scale=stats.sem(change))
    assert low < bound
    assert high > -bound
    assert high - low < 0.3 * IDENTITIES


@pytest.mark.parametrize("column", ["p50_ns", "p95_ns"])
def test_delays_are_distributed_alike(compared: Compared, column: str) -> None:
    """Kolmogorov-Smirnov of the quantiles over the messages that spread, at the level 0.01; and medians within 15 %.

    A representative stands for several messages, so that its sample is smaller than it looks: 0.01 of a test that is
    the stricter for it.
    """
    spread = [table[column][table["delivered"] > 0.2 * IDENTITIES] for table in (compared.exact, compared.sampled)]
    assert np.median(spread[1]) == pytest.approx(np.median(spread[0]), rel=0.15)
    assert stats.ks_2samp(*spread).pvalue > 0.01


def test_traffic_is_alike(compared: Compared) -> None:
    """IHAVE is counted from the messages' medians on, which leaves out part of what those tell who come late."""
    exact, sampled = compared.exact_counters, compared.sampled_counters
    for name in ("messages_sent", "duplicates", "bytes_sent", "forwards"):
        assert sampled[name] == pytest.approx(exact[name], rel=0.1), name
    for name in ("joins", "departures", "published"):
        assert sampled[name] == exact[name], name
    assert sampled["control_sent"] == pytest.approx(exact["control_sent"], rel=0.02, abs=20)
    assert sampled["ihave_sent"] == pytest.approx(exact["ihave_sent"], rel=0.25)
