"""Coarse resolutions beside the exact one where messages meet at the links of identities.

    python benchmarks/cold_meetings.py [--identities 4000] [--size 30000] [--seconds 10] [--loads 0.02,0.3,0.6,0.85]
        [--queues 1024] [--case churn ...]

Random identities of a tail over eight regions (configs/topologies/regional.gml, D 8, 50 peers) publish messages at
random times. The load is the share of time for which the uplink of an identity with 50 Mbit/s, as four in five have,
carries the D - 1 copies of each that it passes on. The exact engine executes them; for each coarse resolution the same
messages are drawn twice, alone and as they meet in a small network of `--queues` identities (`cold.resolution.queues`).
With a `--case` (`CASES`) the network changes meanwhile.

What is compared, each a mean over the messages: median, 95th and 99th percentile of the delay, duplicates, bytes that
an identity sends, IWANT ids; and the correlation of the messages' medians with the exact ones. In a network that
changes, delays are of messages that reach more than a fifth of it at all resolutions and whose median is below a
second: some are told of only when a partition heals, or their publisher is back. Times are of the process's CPU, for
building and running each tail.
"""

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from _regional import regional_network  # type: ignore[import-not-found]

from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.resolution import resolutions
from cold.sampled_kernels import MESSAGE_BYTES
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.tail import build_tail

SEED = 1
PEERS, DEGREE = 50, 8
SLOW_BPS = 50_000_000
#: What changes; messages are published from the first second on.
CASES: Final[dict[str, dict[str, Any]]] = {
    "still": {},
    "churn": {
        "churn": {
            "sessions": {"kind": "exponential", "mean": "60 s"},
            "absences": {"kind": "exponential", "mean": "20 s"},
            "notice": 0.5,
            "detection": "5 s",
        }
    },
    "crash": {"failures": [{"kind": "crash", "time": "3 s", "until": "60 s", "share": 0.3}]},
    "partition": {
        "failures": [{"kind": "partition", "time": "3 s", "until": "7 s", "regions": [2, 5], "detection": "1 s"}]
    },
    "degradation and silence": {
        "failures": [
            {"kind": "degradation", "time": "3 s", "until": "9 s", "regions": [1], "latency": "60 ms", "loss": 0.05},
            {"kind": "silence", "time": "5 s", "share": 0.2},
        ]
    },
    "clients": {
        "clients": {
            "many": {"share": 1, "gossip": {"d": 10, "d_high": 14, "validation_delay": "3 ms"}},
            "few": {"share": 1, "gossip": {"d": 6, "d_low": 5, "heartbeat": "700 ms"}},
        }
    },
    "outbound quota": {"overlay": {"target": 50, "maximum": 55}, "gossip": {"d_out": 4}},
}
#: From the last publication on.
_AFTER_S = 6
_SPREAD = 0.2
_PUSHED_NS = NS_PER_S


@dataclass(frozen=True)
class Outcome:
    """What one resolution says of the messages.

    Attributes
    ----------
    table
        Rows of `cold.results.TABLE_TYPE`.
    duplicates, bytes_sent, asked
        Of a message: copies that were not the first; bytes that an identity sends; IWANT ids.
    seconds
        CPU.
    """

    table: npt.NDArray[np.void]
    duplicates: float
    bytes_sent: float
    asked: float
    seconds: float

    def mean_ms(self, column: str, rows: npt.NDArray[np.bool_] | slice = slice(None)) -> float:
        """Return the mean over the messages, or some of them, of a column of the table [ms]."""
        return float(self.table[column][rows].mean()) / NS_PER_MS


def measure(
    identities: int,
    load: float,
    size: int,
    seconds: float,
    resolution: str,
    queues: int,
    *,
    case: str = "still",
    seed: int = SEED,
) -> Outcome:
    """Run a tail whose only topic is of a resolution, and in which `queues` identities tell what meeting costs."""
    keys = dict(CASES[case])
    directory, paths = regional_network(identities)
    count = max(int(load * SLOW_BPS * seconds / ((MESSAGE_BYTES + size) * 8 * (DEGREE - 1))), 1)
    times = NS_PER_S + np.sort(np.random.default_rng(seed).integers(0, int(seconds * NS_PER_S), count))
    section = ColdSection.model_validate(
        {
            "populations": {
                "tail": {"count": identities, **{name: keys.pop(name) for name in ("churn",) if name in keys}}
            },
            "overlay": {"degree": PEERS},
            "gossip": {"d": DEGREE, **keys.pop("gossip", {})},
            "publications": [{"topic": 1, "time": f"{at} ns", "count": 1, "size": size} for at in times.tolist()],
            "resolution": {"default": resolution, "queues": queues},
            **keys,
        }
    )
    stop = int((seconds + _AFTER_S) * NS_PER_S)
    started = time.process_time()
    scenario = Scenario(section, directory, seed, stop)
    cuts = np.array([0, identities], dtype=np.int64)
    tail = build_tail(scenario, paths, resolutions(scenario), owned=range(identities), cuts=cuts, shard=0)
    tail.run_until(stop)
    table, counters = tail.message_table(), tail.counters()
    taken = time.process_time() - started
    each = [counters[name] / count for name in ("duplicates", "bytes_sent", "iwant_sent")]
    return Outcome(table, each[0], each[1] / identities, each[2], taken)


def pushed(outcomes: Iterable[Outcome]) -> npt.NDArray[np.bool_]:
    """Which messages spread at all resolutions, before heartbeats tell of them: bool[n]."""
    tables = [outcome.table for outcome in outcomes]
    most = max(int(table["delivered"].max()) for table in tables)
    rows = [(table["delivered"] > _SPREAD * most) & (table["p50_ns"] < _PUSHED_NS) for table in tables]
    return np.asarray(np.all(rows, axis=0), dtype=np.bool_)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="the coarse resolutions where messages meet")
    parser.add_argument("--identities", type=int, default=4000)
    parser.add_argument("--size", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--loads", default="0.02,0.3,0.6,0.85")
    parser.add_argument("--queues", type=int, default=1024)
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    queues = arguments.queues
    measure(200, 0.1, 1000, 1.0, "sampled", queues)
    print(f"{'load':5} {'':18} {'p50, ms':>17} {'p95, ms':>17} {'p99, ms':>17} {'duplicates':>18} ", end="")
    print(f"{'bytes':>18} {'IWANT':>15} {'alike':>6} {'CPU, s':>7}")
    for case in arguments.case or ["still"]:
        if case != "still":
            print(case)
        for load in (float(text) for text in arguments.loads.split(",")):
            outcomes: dict[str, Outcome] = {}
            coarse = [(name, small) for name in ("sampled", "mean-field") for small in (0, queues)]
            for resolution, small in (("exact", 0), *coarse):
                name = "exact" if resolution == "exact" else f"{resolution}, {'meeting' if small else 'alone'}"
                outcomes[name] = measure(
                    *(arguments.identities, load, arguments.size, arguments.seconds, resolution, small),
                    case=case,
                    seed=arguments.seed,
                )
            true, rows = outcomes["exact"], pushed(outcomes.values())
            for name, outcome in outcomes.items():
                print(_line(f"{load:<5} {name:18}", outcome, true, rows), flush=True)


def _line(begin: str, outcome: Outcome, true: Outcome, rows: npt.NDArray[np.bool_]) -> str:
    values = [tuple(each.mean_ms(name, rows) for each in (outcome, true)) for name in ("p50_ns", "p95_ns", "p99_ns")]
    values += [(outcome.duplicates, true.duplicates), (outcome.bytes_sent, true.bytes_sent)]
    values += [(outcome.asked, true.asked)]
    text = " ".join(f"{value:10,.1f} {(value / max(real, 1e-9) - 1) * 100:+4.0f} %" for value, real in values)
    alike = np.corrcoef(outcome.table["p50_ns"][rows], true.table["p50_ns"][rows])[0, 1]
    return f"{begin} {text} {alike:6.2f} {outcome.seconds:7.2f} {int(rows.sum())}"


if __name__ == "__main__":
    main()
