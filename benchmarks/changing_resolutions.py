"""The coarse resolutions of a topic in networks that change, beside the exact one, on the same network.

    python benchmarks/changing_resolutions.py [--identities 1500] [--case churn] [--seeds 1] [--representatives 8]

Random identities of a tail over three regions (D 8, 30 peers) publish a message every 1.3 s, from the tenth second to
the 88th, while identities churn, 40 % of them crash, a region is cut off, paths get worse and identities silent, or are
of two kinds of clients, or graft those that they have dialled and tell each other what they need not be sent. The
exact engine executes the messages; its time on the processor is the raw baseline. A coarse topic's time depends on its
representatives, not on the messages: eight for each time between changes.

What is compared: means of median, 95th and 99th percentile of the delay over the messages that reach more than a fifth
of the network and are not told of while it breaks or heals; the receivers of all messages; totals of duplicates, bytes,
IHAVE packets, IWANT ids and control packets. Under churn it is chance whether a message lives on among those that come:
of some messages the 95th percentile is half a second, of others half a minute, and the mean is that of many seeds.
"""

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.directory import BandwidthShare, ColdPlacement, build_directory
from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.coarse import CoarseEngine
from cold.engine import ColdEngine
from cold.resolution_section import Resolution
from cold.results import message_table
from cold.scenario import Scenario
from cold.section import ColdSection

IDENTITIES: Final = 1500
MESSAGES: Final = 60
REPRESENTATIVES: Final = 8
STOP: Final = 100 * NS_PER_S
COARSE: Final = (Resolution.SAMPLED, Resolution.MEAN_FIELD)
_SEED: Final = 3
#: Caches tell of a message for about as long.
_TOLD_NS: Final = 5 * NS_PER_S
#: Messages whose 95th percentile is larger live on among those that come.
_LATE_NS: Final = 2 * NS_PER_S
CASES: Final[dict[str, dict[str, Any]]] = {
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
    "outbound quota, IDONTWANT": {
        "overlay": {"target": 26, "maximum": 30},
        "gossip": {"d_out": 4, "idontwant_size": 500},
    },
}


class Outcome(NamedTuple):
    """What one resolution says."""

    table: npt.NDArray[np.void]
    """`cold.results.TABLE_TYPE`."""
    counters: dict[str, int]
    seconds: float
    """CPU."""


class Compared(NamedTuple):
    """One case at all resolutions."""

    outcome: dict[Resolution, Outcome]
    steady: npt.NDArray[np.bool_]
    """bool[MESSAGES]: which messages are not told of while the network breaks or heals."""


@functools.cache
def measure(
    case: str, identities: int = IDENTITIES, seed: int = _SEED, representatives: int = REPRESENTATIVES
) -> Compared:
    """Run a case at all resolutions."""
    keys = dict(CASES[case])
    latency = np.array([[2, 40, 90], [40, 2, 60], [90, 60, 2]], dtype=np.int64) * NS_PER_MS
    paths = PathTable((0, 1, 2), latency, np.zeros((3, 3)), 2 * NS_PER_MS)
    share = BandwidthShare(1.0, 10**9, 10**9)
    directory = build_directory([], [ColdPlacement("tail", identities, ((0, 2.0), (1, 1.0), (2, 1.0)), (share,))])
    population = {"count": identities, **{name: keys.pop(name) for name in ("churn",) if name in keys}}
    section = ColdSection.model_validate(
        {
            "populations": {"tail": population},
            "overlay": {"degree": 30},
            "gossip": {
                "validation_delay": {"kind": "uniform", "low": "1 ms", "high": "20 ms"},
                **keys.pop("gossip", {}),
            },
            "publications": [{"topic": 1, "time": "10 s", "count": MESSAGES, "interval": "1300 ms", "size": 1000}],
            "resolution": {"default": "sampled", "representatives": representatives, "epoch": "100 s"},
            **keys,
        }
    )
    started = time.process_time()
    scenario = Scenario(section, directory, seed, STOP)
    engine = ColdEngine(scenario, paths)
    engine.run_until(STOP)
    table = engine.message_table()
    outcome = {Resolution.EXACT: Outcome(table, engine.counters(), time.process_time() - started)}
    cuts = np.array([0, identities], dtype=np.int64)
    for level in COARSE:
        started = time.process_time()
        coarse = CoarseEngine(scenario, paths, {0: level}, owned=range(identities), cuts=cuts, shard=0)
        coarse.run_until(STOP)
        drawn, counters = message_table(coarse.partial_results()), coarse.counters()
        outcome[level] = Outcome(drawn, counters, time.process_time() - started)
    changes = [time for failure in section.failures for time in (failure.time, failure.until) if time is not None]
    ahead = np.array(changes, dtype=np.int64) - table["publish_time_ns"][:, None]
    return Compared(outcome, ~((ahead > 0) & (ahead < _TOLD_NS)).any(axis=1))


def spread(compared: Compared, identities: int = IDENTITIES) -> npt.NDArray[np.bool_]:
    """Which messages all resolutions let reach more than a fifth of the network, and no change concerns: bool[n]."""
    reached = [outcome.table["delivered"] > 0.2 * identities for outcome in compared.outcome.values()]
    return np.asarray(compared.steady & np.all(reached, axis=0), dtype=np.bool_)


def _rows(runs: Sequence[Compared], identities: int) -> list[tuple[str, Callable[[Resolution], float]]]:
    """What is compared, of all runs together."""
    rows = [spread(compared, identities) for compared in runs]

    def column(name: str, level: Resolution) -> npt.NDArray[np.int64]:
        tables = (compared.outcome[level].table for compared in runs)
        return np.concatenate([table[name][its] for table, its in zip(tables, rows, strict=True)])

    def delay(name: str) -> Callable[[Resolution], float]:
        return lambda level: float(column(name, level).mean()) / NS_PER_MS

    def mean(what: Callable[[Outcome], float]) -> Callable[[Resolution], float]:
        return lambda level: float(np.mean([what(compared.outcome[level]) for compared in runs]))

    def total(name: str) -> Callable[[Resolution], float]:
        return mean(lambda outcome: outcome.counters[name])

    return [
        ("median delay, ms", delay("p50_ns")),
        ("95th percentile, ms", delay("p95_ns")),
        ("99th percentile, ms", delay("p99_ns")),
        ("95th above 2 s, %", lambda level: 100 * float((column("p95_ns", level) > _LATE_NS).mean())),
        ("receivers", mean(lambda outcome: float(outcome.table["delivered"].mean()))),
        *(
            (name.replace("_", " "), total(name))
            for name in (
                *("duplicates", "copies_spared", "bytes_sent", "ihave_sent", "iwant_sent", "idontwant_sent"),
                "control_sent",
            )
        ),
        ("CPU s", mean(lambda outcome: outcome.seconds)),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="the coarse resolutions in networks that change")
    parser.add_argument("--identities", type=int, default=IDENTITIES)
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--seeds", type=int, default=1, help="of as many networks the means are compared")
    parser.add_argument("--representatives", type=int, default=REPRESENTATIVES, help="of each epoch")
    arguments = parser.parse_args()
    for case in arguments.case or list(CASES):
        seeds = range(_SEED, _SEED + arguments.seeds)
        runs = [measure(case, arguments.identities, seed, arguments.representatives) for seed in seeds]
        print(f"{case:28} {'exact':>14} {'sampled':>14} {'':>8} {'mean field':>14} {'':>8}")
        for name, value in _rows(runs, arguments.identities):
            true, *others = (value(level) for level in runs[0].outcome)
            text = "".join(f" {other:14,.2f} {_change(other, true):>8}" for other in others)
            print(f"  {name:26} {true:14,.2f}{text}")


def _change(value: float, true: float) -> str:
    return f"{(value / true - 1) * 100:+.1f} %" if true else ""


if __name__ == "__main__":
    main()
