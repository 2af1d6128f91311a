"""Coarse resolutions beside the exact one where messages meet at the links of identities.

    python benchmarks/cold_meetings.py [--identities 4000] [--size 30000] [--seconds 10] [--loads 0.02,0.3,0.6,0.85]
        [--queues 1024] [--changing]

Random identities of a tail over eight regions (configs/topologies/regional.gml, D 8, 50 peers) publish messages at
random times. The load is the share of time for which the uplink of an identity with 50 Mbit/s, as four in five have,
carries the D - 1 copies of each that it passes on. The exact engine executes them; for each coarse resolution the same
messages are drawn twice, alone and as they meet in a small network of `--queues` identities (`cold.resolution.queues`).
With `--changing` one identity in a thousand is silent, so that the network is one that changes, where none meet.

What is compared, each a mean over the messages: median, 95th and 99th percentile of the delay, duplicates, bytes that
an identity sends, IWANT ids; and the correlation of the messages' medians with the exact ones. Times are of the
process's CPU, for building and running each tail.
"""

import argparse
import time
from dataclasses import dataclass

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
#: From the last publication on.
_AFTER_S = 6


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

    def mean_ms(self, column: str) -> float:
        """Return the mean over the messages of a column of the table [ms]."""
        return float(self.table[column].mean()) / NS_PER_MS


def measure(
    identities: int, load: float, size: int, seconds: float, resolution: str, queues: int, *, changes: bool = False
) -> Outcome:
    """Run a tail whose only topic is of a resolution, and in which `queues` identities tell what meeting costs.

    If it `changes`, a few of the identities are silent.
    """
    directory, paths = regional_network(identities)
    count = max(int(load * SLOW_BPS * seconds / ((MESSAGE_BYTES + size) * 8 * (DEGREE - 1))), 1)
    times = NS_PER_S + np.sort(np.random.default_rng(SEED).integers(0, int(seconds * NS_PER_S), count))
    section = ColdSection.model_validate(
        {
            "populations": {"tail": {"count": identities}},
            "overlay": {"degree": PEERS},
            "gossip": {"d": DEGREE},
            "publications": [{"topic": 1, "time": f"{at} ns", "count": 1, "size": size} for at in times.tolist()],
            "failures": [{"kind": "silence", "time": "1 s", "share": 0.001}] if changes else [],
            "resolution": {"default": resolution, "queues": queues},
        }
    )
    stop = int((seconds + _AFTER_S) * NS_PER_S)
    started = time.process_time()
    scenario = Scenario(section, directory, SEED, stop)
    cuts = np.array([0, identities], dtype=np.int64)
    tail = build_tail(scenario, paths, resolutions(scenario), owned=range(identities), cuts=cuts, shard=0)
    tail.run_until(stop)
    table, counters = tail.message_table(), tail.counters()
    taken = time.process_time() - started
    each = [counters[name] / count for name in ("duplicates", "bytes_sent", "iwant_sent")]
    return Outcome(table, each[0], each[1] / identities, each[2], taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="the coarse resolutions where messages meet")
    parser.add_argument("--identities", type=int, default=4000)
    parser.add_argument("--size", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--loads", default="0.02,0.3,0.6,0.85")
    parser.add_argument("--queues", type=int, default=1024)
    parser.add_argument("--changing", action="store_true")
    arguments = parser.parse_args()
    queues, changes = arguments.queues, arguments.changing
    measure(200, 0.1, 1000, 1.0, "sampled", queues)
    print(f"{'load':5} {'':18} {'p50, ms':>17} {'p95, ms':>17} {'p99, ms':>17} {'duplicates':>18} ", end="")
    print(f"{'bytes':>18} {'IWANT':>15} {'alike':>6} {'CPU, s':>7}")
    for load in (float(text) for text in arguments.loads.split(",")):
        true: Outcome | None = None
        coarse = [(name, small) for name in ("sampled", "mean-field") for small in ((0,) if changes else (0, queues))]
        for resolution, small in (("exact", 0), *coarse):
            outcome = measure(
                *(arguments.identities, load, arguments.size, arguments.seconds, resolution, small), changes=changes
            )
            true = true or outcome
            values = [(outcome.mean_ms(name), true.mean_ms(name)) for name in ("p50_ns", "p95_ns", "p99_ns")]
            values += [(outcome.duplicates, true.duplicates), (outcome.bytes_sent, true.bytes_sent)]
            values += [(outcome.asked, true.asked)]
            text = " ".join(f"{value:10,.1f} {(value / real - 1) * 100:+4.0f} %" for value, real in values)
            alike = np.corrcoef(outcome.table["p50_ns"], true.table["p50_ns"])[0, 1]
            name = "exact" if resolution == "exact" else f"{resolution}, {'meeting' if small else 'alone'}"
            print(f"{load:<5} {name:18} {text} {alike:6.2f} {outcome.seconds:7.2f}", flush=True)


if __name__ == "__main__":
    main()
