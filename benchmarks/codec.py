"""How fast batches of remote packet events are encoded and decoded, beside copying the same bytes.

    python benchmarks/codec.py [--mebibytes 64]

Batches are as a shard sends them in a window: events in order, of many hosts. MB/s are of the encoded bytes, best of
several; the baseline is `bytes` of them, one copy into memory that has just been asked for, as encoding and decoding do
it too, and what neither can be faster than.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from bridge.batch import EventBatch

PAYLOADS: Final = (0, 100, 1_000, 60_000)
REPEATS: Final = 7
HEADER: Final = 30
"""Bytes of an event's columns."""


def batch_of(events: int, payload: int) -> EventBatch:
    """Return a batch of events with random hosts and bytes."""
    draw = np.random.default_rng(1)
    return EventBatch.build(
        np.sort(draw.integers(0, 10**7, events)),
        draw.integers(0, 10**6, events),
        np.arange(events),
        draw.integers(0, 10**6, events),
        payload_offset=np.arange(events + 1) * payload,
        payload=draw.integers(0, 256, events * payload, dtype=np.uint8),
    )


def seconds(action: Callable[[], object]) -> float:
    """Return the shortest of several times that `action` takes."""
    taken = []
    for _ in range(REPEATS):
        before = time.perf_counter()
        action()
        taken.append(time.perf_counter() - before)
    return min(taken)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, default=64, help="encoded size of a batch")
    size = parser.parse_args().mebibytes * 2**20
    table = Table()
    for heading in ("payload bytes", "events", "encode MB/s", "decode MB/s", "copy MB/s", "encode/copy", "decode/copy"):
        table.add_column(heading, justify="right")
    for payload in PAYLOADS:
        batch = batch_of(size // (HEADER + payload), payload)
        encoded = batch.encode()
        if EventBatch.decode(encoded).encode() != encoded:
            raise SystemExit("a batch is not what it was after encoding and decoding")
        view = memoryview(encoded)
        encode, decode, copy = (
            seconds(action)
            for action in (batch.encode, lambda data=encoded: EventBatch.decode(data), lambda data=view: bytes(data))
        )
        megabytes = len(encoded) / 1e6
        table.add_row(
            f"{payload:,}",
            f"{len(batch):,}",
            *(f"{megabytes / taken:,.0f}" for taken in (encode, decode, copy)),
            f"{encode / copy:.1f}",
            f"{decode / copy:.1f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
