"""Edge events per second of the cold engine, beside a bare traversal of the same edges.

    python benchmarks/cold_gossip.py [--identities 100000] [--interval-ms 100] [--seconds 4]

A tail over eight regions (D 8, 50 peers) publishes a message of 1 KiB every interval. When the flow is steady, the
events of some simulated seconds are timed. The baseline visits as many edges of the same overlay, in the order of the
rows, and does what no gossip simulation can do without: it reads the peer's place and the latency, and compares with
the peer's first arrival. Times are of the process's CPU, so that other programs disturb them little.
"""

import argparse
import time

import numpy as np
import numpy.typing as npt

from bridge.directory import BandwidthShare, ColdPlacement, build_directory
from bridge.graph import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.jit import kernel
from cold.overlay import build_overlay
from cold.section import ColdSection

LATENCY_MS = (
    (2, 165, 110, 180, 150, 110, 220, 190),
    (165, 2, 125, 60, 70, 110, 95, 140),
    (110, 125, 4, 110, 140, 100, 175, 175),
    (180, 60, 110, 5, 110, 150, 110, 145),
    (150, 70, 140, 110, 2, 60, 130, 100),
    (110, 110, 100, 150, 60, 2, 160, 100),
    (220, 95, 175, 110, 130, 160, 7, 190),
    (190, 140, 175, 145, 100, 100, 195, 7),
)
WEIGHTS = (290.0, 5599.0, 1059.0, 161.0, 2894.0, 1240.0, 47.0, 36.0)
SEED = 1


def build(identities: int, interval_ms: int, stop_ns: int) -> tuple[ColdEngine, npt.NDArray[np.int32], PathTable]:
    """The engine, the place of each identity, and the paths."""
    latency = np.array(LATENCY_MS, dtype=np.int64) * NS_PER_MS
    paths = PathTable(tuple(range(8)), latency, np.zeros((8, 8)), int(latency.min()))
    fast, slow = BandwidthShare(0.2, 1_024_000_000, 1_024_000_000), BandwidthShare(0.8, 50_000_000, 50_000_000)
    directory = build_directory([], [ColdPlacement("tail", identities, tuple(enumerate(WEIGHTS)), (fast, slow))])
    section = ColdSection.model_validate(
        {
            "populations": {"tail": {"count": identities}},
            "publications": [
                {"topic": 1, "time": "1 s", "count": 10**6, "interval": f"{interval_ms} ms", "size": 1024}
            ],
        }
    )
    return ColdEngine(section, directory, paths, SEED, stop_ns), directory.node.copy(), paths


@kernel
def traverse(
    row_start: npt.NDArray[np.int64],
    neighbours: npt.NDArray[np.uint32],
    degree: int,
    node: npt.NDArray[np.int32],
    latency: npt.NDArray[np.int64],
    arrival: npt.NDArray[np.int64],
) -> int:
    """Relax the first `degree` edges of every row once; returns how many."""
    visited = 0
    for identity in range(len(row_start) - 1):
        time = arrival[identity]
        place = node[identity]
        for position in range(row_start[identity], min(row_start[identity] + degree, row_start[identity + 1])):
            peer = neighbours[position]
            reached = time + latency[place, node[peer]]
            if reached < arrival[peer]:
                arrival[peer] = reached
            visited += 1
    return visited


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="edge events per second of the cold engine")
    parser.add_argument("--identities", type=int, default=100_000)
    parser.add_argument("--interval-ms", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=4)
    arguments = parser.parse_args()
    warm, end = 4 * NS_PER_S, (4 + arguments.seconds) * NS_PER_S

    warm_up, _, _ = build(100, arguments.interval_ms, NS_PER_S * 2)
    warm_up.run_until(2 * NS_PER_S)
    started = time.process_time()
    engine, node, paths = build(arguments.identities, arguments.interval_ms, end)
    set_up = time.process_time() - started
    engine.run_until(warm)
    before = engine.counters()
    started = time.process_time()
    engine.run_until(end)
    spent = time.process_time() - started
    after = engine.counters()
    events = after["edge_events"] - before["edge_events"]

    overlay = build_overlay(SEED, 0, arguments.identities, min(50, arguments.identities - 1), 1, 8, 12)
    arrival = np.full(arguments.identities, 2**62, dtype=np.int64)
    arrival[0] = 0
    traverse(overlay.row_start, overlay.neighbours, 8, node, paths.latency_ns, arrival)
    visited = 0
    started = time.process_time()
    while visited < events:
        visited += traverse(overlay.row_start, overlay.neighbours, 8, node, paths.latency_ns, arrival)
    bare = visited / (time.process_time() - started)

    statistics = engine.statistics()
    print(f"identities                 {arguments.identities:12,}")
    print(f"set-up, kernels compiled   {set_up:12.2f} s")
    print(f"edge events                {events:12,}")
    print(f"  of them messages         {after['messages_received'] - before['messages_received']:12,}")
    print(f"  of them IHAVE            {after['ihave_received'] - before['ihave_received']:12,}")
    print(f"cold engine                {events / spent / 1e6:12.2f} M edge events/s")
    print(f"bare traversal             {bare / 1e6:12.2f} M edges/s")
    print(f"bytes per identity         {statistics['bytes_per_identity']:>12}")
    print(f"bytes of events in flight  {statistics['event_bytes']:12,}")


if __name__ == "__main__":
    main()
