"""Edge events per second of the cold engine, beside a bare traversal of the same edges.

    python benchmarks/cold_gossip.py [--identities 10000 100000 1000000] [--messages 20]

For each size a tail over eight regions (D 8, 50 peers) publishes a message of 1 KiB every 100 ms, and when the flow is
steady some simulated time is measured. The baseline relaxes the first eight edges of each row of the same overlay, and
does what no gossip simulation can do without: it reads the peer's place and the latency, and compares with the peer's
first arrival. It takes the rows once in their order in memory, once in a random order, as waves of messages come to
them. Engine and baselines take turns, so that what else the machine does disturbs them alike; times are of the
process's CPU.

Cost model, of an edge event at D = 8. A copy of a message is written to a bucket of the calendar and read back (16
bytes each way, a few hundred open cache lines, one for each bucket). It touches one random cache line, the row of its
receiver, which tells that it is a duplicate and takes its bytes: 6 copies of 7 end here, unsorted. One copy in D - 1 is
the first. It is sorted by receiver (24 bytes, twice each way), touches three random lines more (its arrival, the
sender's row, the mesh), is put back into the calendar until it is validated and received as a whole, is sorted and
touches its lines again, draws a Philox block (about 25 ns, one chain of multiplications), and writes D - 1 copies,
which need the places of their receivers: the members of the mesh of a topic that everybody has lie together, with their
places where 32 bits have room for them, in one line or two (those of other topics are looked up in the row of
neighbours, four lines of 50 peers). So an edge event has about 1 + 4 / 7 random lines, or 2 with those that are touched
again; they are asked for some records ahead, so that they overlap. A random line of the third cache takes about 70 ns,
and a core has 16 under way. The traversal has one random line (an eighth of one, where arrivals fit the cache), and no
order to keep: time makes the difference. A heartbeat touches six lines and draws two blocks or three for its six
IHAVEs; an IHAVE touches one line, its receiver's, or two. Where it tells of nothing that anybody lacks, it is counted
when it is sent: no draw, no record, and no random line.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from _regional import regional_network  # type: ignore[import-not-found]
from _turns import take_turns  # type: ignore[import-not-found]

from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.jit import kernel
from cold.overlay import build_overlay
from cold.scenario import Scenario
from cold.section import ColdSection

SEED = 1
DEGREE = 8
INTERVAL_MS = 100
#: The flow is steady from here on: the first messages have spread, and the first heartbeats told of them.
WARM_NS = 2 * NS_PER_S


def build(identities: int, stop_ns: int) -> tuple[ColdEngine, npt.NDArray[np.int32], PathTable]:
    """The engine, the place of each identity, and the paths."""
    directory, paths = regional_network(identities)
    section = ColdSection.model_validate(
        {
            "populations": {"tail": {"count": identities}},
            "publications": [
                {"topic": 1, "time": "1 s", "count": 10**6, "interval": f"{INTERVAL_MS} ms", "size": 1024}
            ],
        }
    )
    return ColdEngine(Scenario(section, directory, SEED, stop_ns), paths), directory.node.copy(), paths


@kernel
def traverse(
    rows: npt.NDArray[np.int64],
    row_start: npt.NDArray[np.int64],
    neighbours: npt.NDArray[np.uint32],
    degree: int,
    node: npt.NDArray[np.int32],
    latency: npt.NDArray[np.int64],
    arrival: npt.NDArray[np.int64],
) -> int:
    """Relax the first `degree` edges of each of `rows` once; returns how many."""
    visited = 0
    for identity in rows:
        time = arrival[identity]
        place = node[identity]
        for position in range(row_start[identity], min(row_start[identity] + degree, row_start[identity + 1])):
            peer = neighbours[position]
            reached = time + latency[place, node[peer]]
            if reached < arrival[peer]:
                arrival[peer] = reached
            visited += 1
    return visited


def measure(identities: int, messages: int) -> None:
    """Print one line of the curve."""
    span = messages * INTERVAL_MS * NS_PER_MS
    started = time.process_time()
    engine, node, paths = build(identities, WARM_NS + span)
    set_up = time.process_time() - started
    engine.run_until(WARM_NS)

    overlay = build_overlay(SEED, 0, identities, min(50, identities - 1), 1, DEGREE, 12)
    orders = [np.arange(identities), np.random.default_rng(SEED).permutation(identities)]

    def relaxing(rows: npt.NDArray[np.int64]) -> Callable[[int], int]:
        def visit(_: int) -> int:
            arrival = np.full(identities, 2**62, dtype=np.int64)
            arrival[0] = 0
            return traverse(rows, overlay.row_start, overlay.neighbours, DEGREE, node, paths.latency_ns, arrival)

        return visit

    visits = [relaxing(rows) for rows in orders]
    taken = take_turns(engine, WARM_NS, span, visits, lambda done: max(done // 4, identities))
    in_order, at_random = (1e3 / each for each in taken.visit_ns)
    statistics = engine.statistics()
    print(
        f"{identities:12,} {set_up:10.2f} {taken.events:14,} {1e3 / taken.event_ns:10.2f} {in_order:10.1f}"
        f" {at_random:10.1f} {statistics['bytes_per_identity']:>12} {statistics['event_bytes']:>14,}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="edge events per second of the cold engine")
    parser.add_argument("--identities", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--messages", type=int, default=20, help="published in the measured time; fewer above 100,000 identities"
    )
    arguments = parser.parse_args()
    warm_up, node, paths = build(100, NS_PER_S * 4)
    warm_up.run_until(4 * NS_PER_S)
    warm_up.message_table()
    overlay = build_overlay(SEED, 0, 100, 50, 1, DEGREE, 12)
    nowhere = np.zeros(0, dtype=np.int64)
    traverse(
        nowhere, overlay.row_start, overlay.neighbours, DEGREE, node, paths.latency_ns, np.zeros(100, dtype=np.int64)
    )
    print(
        f"{'identities':>12} {'set-up s':>10} {'edge events':>14} {'M/s':>10} {'in order':>10} {'at random':>10}"
        f" {'B/identity':>12} {'in flight B':>14}"
    )
    for identities in arguments.identities:
        measure(identities, max(min(arguments.messages, arguments.messages * 100_000 // identities), 1))


if __name__ == "__main__":
    main()
