"""What an event of requests costs, and what is kept for an identity, beside a bare traversal of the same edges.

    python benchmarks/cold_requests.py [--identities 10000 100000 1000000] [--interval 3] [--seconds 4]

For each size a tail over eight regions (configs/topologies/regional.gml), with 50 peers each, asks: every identity a
random peer, again and again, for 4 chunks of 1 KiB that take 1 to 10 ms to find. Nothing else happens. When the flow is
steady some simulated time is measured. The baseline does what no simulation of requests can do without: an identity
draws a peer from its row of the same overlay, and both ends note it, each in a row of its own. It takes the identities
once in their order in memory, once in a random order, as requests come due. Engine and baselines take turns, so that
what else the machine does disturbs them alike; times are of the process's CPU.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from _regional import regional_network  # type: ignore[import-not-found]
from _turns import take_turns  # type: ignore[import-not-found]

from bridge.rng import draw_u64
from bridge.simtime import NS_PER_S
from cold.engine import ColdEngine
from cold.jit import int64, kernel, uint64
from cold.overlay import build_overlay
from cold.request_results import request_table
from cold.scenario import Scenario
from cold.section import ColdSection

SEED = 1
DEGREE = 50
#: The flow is steady from here on: the first requests have been answered.
WARM_NS = 2 * NS_PER_S


def build(identities: int, interval_s: float, stop_ns: int) -> ColdEngine:
    """An engine whose identities ask once in an interval in the mean [s]."""
    directory, paths = regional_network(identities)
    section = ColdSection.model_validate(
        {
            "populations": {"tail": {"count": identities}},
            "overlay": {"degree": DEGREE},
            # Hardly a heartbeat comes in between.
            "gossip": {"heartbeat": "1 h", "seen_ttl": "8 h"},
            "requests": [
                {
                    "name": "blocks",
                    "interval": {"kind": "exponential", "mean": f"{round(interval_s * 1000)} ms"},
                    "size": 40,
                    "chunks": 4,
                    "chunk_size": "1 KiB",
                    "service": ["1 ms", "2 ms", "10 ms"],
                }
            ],
        }
    )
    return ColdEngine(Scenario(section, directory, SEED, stop_ns), paths)


@kernel
def ask_peers(
    rows: npt.NDArray[np.int64],
    row_start: npt.NDArray[np.int64],
    neighbours: npt.NDArray[np.uint32],
    noted: npt.NDArray[np.int64],
    counter: int,
) -> int:
    """Note at each of `rows`, and at a peer that it draws, that there is something between them; returns how many."""
    for identity in rows:
        peers = row_start[identity + 1] - row_start[identity]
        word = uint64(draw_u64(SEED, identity, 1, counter))
        peer = int64(neighbours[row_start[identity] + int64(word % uint64(peers))])
        noted[identity, 0] = peer
        noted[peer, 1] += 1
    return len(rows)


def measure(identities: int, interval_s: float, seconds: float) -> None:
    """Print one line of the curve."""
    span = round(seconds * NS_PER_S)
    started = time.process_time()
    engine = build(identities, interval_s, WARM_NS + span)
    set_up = time.process_time() - started
    engine.run_until(WARM_NS)

    overlay = build_overlay(SEED, 0, identities, min(DEGREE, identities - 1), 0, 0, 0)
    noted = np.zeros((identities, 8), dtype=np.int64)
    orders = [np.arange(identities), np.random.default_rng(SEED).permutation(identities)]

    def asking(rows: npt.NDArray[np.int64]) -> Callable[[int], int]:
        return lambda visited: ask_peers(rows, overlay.row_start, overlay.neighbours, noted, visited)

    before = answered(engine)
    taken = take_turns(engine, WARM_NS, span, [asking(rows) for rows in orders], lambda done: max(done, 1))
    in_order, at_random = taken.visit_ns
    statistics = engine.statistics()
    print(
        f"{identities:12,} {set_up:10.2f} {answered(engine) - before:12,} {taken.events:12,} {taken.event_ns:10.0f}"
        f" {in_order:10.1f} {at_random:10.1f} {statistics['bytes_per_identity']:>12} {statistics['event_bytes']:>14,}"
    )


def answered(engine: ColdEngine) -> int:
    """How many requests have been answered."""
    return int(request_table(engine.partial_results(), ["blocks"])["answered"].sum())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="what an event of requests costs")
    parser.add_argument("--identities", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--interval", type=float, default=3.0, help="mean between two requests of an identity [s]")
    parser.add_argument("--seconds", type=float, default=4.0, help="simulated time that is measured")
    arguments = parser.parse_args()
    warm_up = build(100, 1.0, NS_PER_S * 2)
    warm_up.run_until(2 * NS_PER_S)
    answered(warm_up)
    nowhere = np.zeros(0, dtype=np.int64)
    ask_peers(nowhere, np.zeros(1, np.int64), np.zeros(0, np.uint32), np.zeros((1, 8), np.int64), 0)
    print(
        f"{'identities':>12} {'set-up s':>10} {'answered':>12} {'events':>12} {'ns each':>10} {'in order':>10}"
        f" {'at random':>10} {'B/identity':>12} {'in flight B':>14}"
    )
    for identities in arguments.identities:
        measure(identities, arguments.interval, arguments.seconds)


if __name__ == "__main__":
    main()
