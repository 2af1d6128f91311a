"""One run of PHOLD, as one process: shard 0 of a local bus, which forks the others, or a rank that mpiexec started.

    python benchmarks/_phold_rank.py SHARDS RUNS            RUNS is a list of runs in JSON
    mpiexec -n 2 python benchmarks/_phold_rank.py mpi RUNS

Shard 0 prints a list with what each run measured, in JSON. See `benchmarks/scaling.py`, which starts this.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))

from _phold import PAYLOAD_BYTES, Phold  # type: ignore[import-not-found]

from bridge.batch import EventBatch
from bridge.bus import Bus, ExchangeCost, InProcessBus
from bridge.local_bus import fork_shards
from bridge.mpi_bus import MpiBus
from bridge.window import Runahead, WindowLoop, WindowRecord

PATIENCE_S = 60.0
UNDISTURBED = 0.2
"""Of the costs of all windows, the quantile that is told: other programs on the machine only ever add to them."""


class Stopwatch:
    """A bus that knows how long its collectives took. The last shard to come waits for nobody."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.shard, self.shard_count = bus.shard, bus.shard_count
        self.synchronise_ns: list[int] = []
        self.exchange_ns: list[int] = []
        self.bytes_sent = 0

    def allreduce_min(self, values: tuple[int, ...]) -> tuple[int, ...]:
        before = time.perf_counter_ns()
        agreed = self._bus.allreduce_min(values)
        self.synchronise_ns.append(time.perf_counter_ns() - before)
        return agreed

    def exchange(self, outbound: Sequence[EventBatch]) -> EventBatch:
        before = time.perf_counter_ns()
        inbound = self._bus.exchange(outbound)
        self.exchange_ns.append(time.perf_counter_ns() - before)
        return inbound

    @property
    def cost(self) -> ExchangeCost:
        return self._bus.cost

    def share(self, data: bytes) -> list[bytes]:
        return self._bus.share(data)

    def abort(self, reason: str, exit_code: int) -> None:
        self._bus.abort(reason, exit_code)

    def close(self) -> None:
        """The bus goes on to the next run."""


def cpu_s() -> float:
    """Return the CPU time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run(bus: Bus, *, hosts: int, window_ns: int, simulated_ns: int, **phold: Any) -> dict[str, Any]:
    """Run PHOLD over the window loop; returns what this shard measured."""
    size = hosts // bus.shard_count

    def shard_of(ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.integer[Any]]:
        return ids // np.uint32(size)

    watch = Stopwatch(bus)
    participant = Phold(bus.shard, bus.shard_count, hosts, **phold)
    execute: list[int] = []
    ends: list[int] = []

    def note(record: WindowRecord) -> None:
        execute.append(sum(record.execute_wall_ns) + record.deliver_wall_ns)
        ends.append(time.perf_counter_ns())

    loop = WindowLoop(
        [participant],
        lambda ids: np.zeros(len(ids), dtype=np.intp),
        watch,
        runahead=Runahead(window_ns),
        stop_time_ns=simulated_ns,
        shard_of=shard_of,
        on_window=note,
    )
    bus.allreduce_min((0,))
    before = cpu_s()
    ended = loop.run()
    used = cpu_s() - before
    # Synchronise, exchange, and what is neither those nor the engine's, of each window but the first.
    parts = np.stack([watch.synchronise_ns[2:], watch.exchange_ns[1:], np.diff(ends)])
    parts[2] -= parts[0] + parts[1] + np.array(execute[1:])
    synchronise_us, exchange_us, python_us = np.quantile(parts, UNDISTURBED, axis=1) / 1e3
    return {
        "events": participant.events_executed(),
        "checksum": participant.checksum,
        "windows": ended.windows,
        "wall_s": ended.wall_ns / 1e9,
        "cpu_s": used,
        "sent": sum(loop.cut()[0]) - loop.cut()[0][bus.shard] if bus.shard_count > 1 else 0,
        "synchronise_us": float(synchronise_us),
        "exchange_us": float(exchange_us),
        "python_us": float(python_us),
        "execute_s": sum(execute) / 1e9,
    }


def raw_mpi(rounds: int, sizes: Sequence[int]) -> list[dict[str, float]]:
    """Time the three collectives of a window without the rest, for each number of bytes to each rank."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    ranks = world.Get_size()
    reduced, counts, heard = np.zeros(3, np.int64), np.zeros(2 * ranks, np.int64), np.zeros(2 * ranks, np.int64)
    results = []
    for size in sizes:
        sent, received = np.zeros(size * ranks, np.uint8), np.zeros(size * ranks, np.uint8)
        parts = ([size] * ranks, [size * rank for rank in range(ranks)])
        taken = np.zeros((rounds, 2))
        for number in range(rounds):
            start = time.perf_counter_ns()
            world.Allreduce(MPI.IN_PLACE, reduced, op=MPI.MIN)
            middle = time.perf_counter_ns()
            world.Alltoall(counts, heard)
            if size:
                world.Alltoallv([sent, parts, MPI.BYTE], [received, parts, MPI.BYTE])
            taken[number] = middle - start, time.perf_counter_ns() - middle
        reduce_us, exchange_us = np.quantile(taken, UNDISTURBED, axis=0) / 1e3
        results.append({"bytes": size, "synchronise_us": float(reduce_us), "exchange_us": float(exchange_us)})
    return results


def raw_codec(events: int) -> float:
    """Return the time to encode and decode a batch [ns per event]."""
    times = np.arange(events, dtype=np.int64)
    offsets = np.arange(events + 1) * PAYLOAD_BYTES
    payload = np.zeros(events * PAYLOAD_BYTES, np.uint8)
    batch = EventBatch.build(times, times, times, times, payload_offset=offsets, payload=payload)
    taken = []
    for _ in range(30):
        start = time.perf_counter_ns()
        EventBatch.decode(batch.encode())
        taken.append(time.perf_counter_ns() - start)
    return float(np.median(taken)) / events


def main() -> None:
    """Run what the command line says."""
    how, runs = sys.argv[1], json.loads(sys.argv[2])
    bus: Bus
    if how == "mpi":
        bus = MpiBus(patience_s=PATIENCE_S, start_patience_s=PATIENCE_S)
    elif how == "1":
        bus = InProcessBus()
    else:
        bus = fork_shards(int(how), patience_s=PATIENCE_S)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[bus.shard % len(cores)]})
    # What numba has not compiled yet must not be measured.
    small = {"hosts": 64, "population": 1, "latency_ns": 100, "spread_ns": 100, "work": 1}
    run(bus, window_ns=100, simulated_ns=2000, remote_share=0.5, **small)
    results: list[Any] = []
    for wanted in runs:
        if "raw_mpi" in wanted:
            own: Any = raw_mpi(wanted["rounds"], wanted["raw_mpi"])
        elif "codec" in wanted:
            own = raw_codec(wanted["codec"])
        else:
            own = run(bus, **wanted)
        results.append([json.loads(told) for told in bus.share(json.dumps(own).encode())])
    if bus.shard == 0:
        print(json.dumps(results))
    bus.close()
    if how != "mpi" and bus.shard > 0:
        os._exit(0)


if __name__ == "__main__":
    main()
