"""What an event of transactions costs, and what is kept for an identity, beside a bare traversal of the same edges.

    python benchmarks/cold_transactions.py [--identities 1000 10000 100000] [--rate 14] [--seconds 2]

For each size a tail over eight regions (configs/topologies/regional.gml), with 50 peers each, has transactions of 300
bytes submitted at a constant rate, and when the flow is steady some simulated time is measured. Nearly all events are
announcements and pushed copies. The baseline goes over every edge of the same overlay once for each transaction, and
does what no simulation of what peers know can do without: it notes at the peer, in a row of its own for the
transaction, that the identity has it. It takes the identities once in their order in memory, once in a random order,
as transactions come to them. Engine and baselines take turns, so that what else the machine does disturbs them alike;
times are of the process's CPU.

Cost model, of an event at 50 peers. Each identity tells about 35 of its peers of a transaction and is told as often. An
announcement is a record of 24 bytes in the calendar, written once, read once and sorted by receiver (24 bytes, twice
each way); it touches the row of the receiver and the transaction (one cache line, at random), its load, and finds the
sender among the 50 peers by halving, which is six steps on three lines. The sender's share is the other half: it looks
at its peers' bits, takes the uplink, and draws one Philox block for 4 of those to which it pushes the whole.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from _regional import regional_network  # type: ignore[import-not-found]
from _turns import take_turns  # type: ignore[import-not-found]

from bridge.simtime import NS_PER_S
from cold.engine import ColdEngine
from cold.jit import int64, kernel
from cold.overlay import build_overlay
from cold.purposes import ColdPurpose
from cold.scenario import Scenario
from cold.section import ColdSection

SEED = 1
DEGREE = 50
LIFETIME_S = 3
#: The flow is steady from here on: transactions come, spread and end.
WARM_NS = (LIFETIME_S + 1) * NS_PER_S


def build(identities: int, rate: float, stop_ns: int) -> ColdEngine:
    """An engine whose identities have transactions submitted at a rate [1/s]."""
    directory, paths = regional_network(identities)
    section = ColdSection.model_validate(
        {
            "populations": {"tail": {"count": identities}},
            "transactions": {
                "interval": f"{round(1e6 / rate)} us",
                "size": 300,
                "degree": DEGREE,
                "lifetime": f"{LIFETIME_S} s",
            },
        }
    )
    return ColdEngine(Scenario(section, directory, SEED, stop_ns), paths)


@kernel
def note_at_peers(
    rows: npt.NDArray[np.int64],
    row_start: npt.NDArray[np.int64],
    neighbours: npt.NDArray[np.uint32],
    known: npt.NDArray[np.int64],
    slot: int,
) -> int:
    """Note at each peer of each of `rows` that it has a transaction; returns over how many edges."""
    visited = 0
    for identity in rows:
        for position in range(row_start[identity], row_start[identity + 1]):
            known[neighbours[position], slot] |= int64(1) << (position & 63)
            visited += 1
    return visited


def measure(identities: int, rate: float, seconds: float) -> None:
    """Print one line of the curve."""
    span = round(seconds * NS_PER_S)
    started = time.process_time()
    engine = build(identities, rate, WARM_NS + span)
    set_up = time.process_time() - started
    engine.run_until(WARM_NS)

    overlay = build_overlay(
        SEED, 0, identities, min(DEGREE, identities - 1), 0, 0, 0, purpose=ColdPurpose.TRANSACTION_OVERLAY
    )
    row_start = overlay.row_start.astype(np.int64)
    slots = max(round(rate * LIFETIME_S), 1)
    known = np.zeros((identities, slots), dtype=np.int64)
    orders = [np.arange(identities), np.random.default_rng(SEED).permutation(identities)]

    def noting(rows: npt.NDArray[np.int64]) -> Callable[[int], int]:
        return lambda visited: note_at_peers(rows, row_start, overlay.neighbours, known, visited % slots)

    taken = take_turns(engine, WARM_NS, span, [noting(rows) for rows in orders], lambda done: max(done, 1))
    in_order, at_random = taken.visit_ns
    statistics = engine.statistics()
    print(
        f"{identities:12,} {set_up:10.2f} {taken.events:14,} {taken.event_ns:10.0f} {in_order:10.1f} {at_random:10.1f}"
        f" {statistics['bytes_per_identity']:>12} {statistics['event_bytes']:>14,}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="what an event of transactions costs")
    parser.add_argument("--identities", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rate", type=float, default=14.0, help="transactions a second; fewer above 10,000 identities")
    parser.add_argument("--seconds", type=float, default=2.0, help="simulated time that is measured")
    arguments = parser.parse_args()
    build(100, arguments.rate, NS_PER_S * 2).run_until(2 * NS_PER_S)
    nowhere = np.zeros(0, dtype=np.int64)
    note_at_peers(nowhere, np.zeros(1, np.int64), np.zeros(0, np.uint32), np.zeros((1, 1), np.int64), 0)
    print(
        f"{'identities':>12} {'set-up s':>10} {'events':>14} {'ns each':>10} {'in order':>10} {'at random':>10}"
        f" {'B/identity':>12} {'in flight B':>14}"
    )
    for identities in arguments.identities:
        measure(identities, min(arguments.rate, arguments.rate * 10_000 / identities), arguments.seconds)


if __name__ == "__main__":
    main()
