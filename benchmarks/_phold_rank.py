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
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))

from _phold import PAYLOAD_BYTES, Phold  # type: ignore[import-not-found]

from bridge.batch import EventBatch
from bridge.bus import Bus, InProcessBus
from bridge.local_bus import fork_shards
from bridge.mpi_bus import MpiBus
from bridge.window import Runahead, WindowLoop, WindowRecord

PATIENCE_S = 60.0
UNDISTURBED = 0.2
"""Of the costs of all windows, the quantile that is told: other programs on the machine only ever add to them."""


def cpu_s() -> float:
    """Return the CPU time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run(bus: Bus, *, hosts: int, window_ns: int, simulated_ns: int, **phold: Any) -> dict[str, Any]:
    """Run PHOLD over the window loop; returns what this shard measured."""
    size = hosts // bus.shard_count

    def shard_of(ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.integer[Any]]:
        return ids // np.uint32(size)

    participant = Phold(bus.shard, bus.shard_count, hosts, **phold)
    spent: list[tuple[int, int, int]] = []
    ends: list[int] = []

    def note(record: WindowRecord) -> None:
        execute = sum(record.execute_wall_ns) + record.deliver_wall_ns
        spent.append((record.meeting_wall_ns, record.exchange_wall_ns, execute))
        ends.append(time.perf_counter_ns())

    loop = WindowLoop(
        [participant],
        lambda ids: np.zeros(len(ids), dtype=np.intp),
        bus,
        runahead=Runahead(window_ns),
        stop_time_ns=simulated_ns,
        shard_of=shard_of,
        on_window=note,
    )
    bus.meet({}, ())
    before = cpu_s()
    ended = loop.run()
    used = cpu_s() - before
    # Meeting, exchange, and what is neither those nor the engine's, of each window but the first.
    parts = np.array(spent[1:]).T
    parts[2] = np.diff(ends) - parts.sum(axis=0)
    meeting_us, exchange_us, python_us = np.quantile(parts, UNDISTURBED, axis=1) / 1e3
    return {
        "events": participant.events_executed(),
        "checksum": participant.checksum,
        "windows": ended.windows,
        "wall_s": ended.wall_ns / 1e9,
        "cpu_s": used,
        "sent": sum(loop.cut()[0]) - loop.cut()[0][bus.shard] if bus.shard_count > 1 else 0,
        "meeting_us": float(meeting_us),
        "exchange_us": float(exchange_us),
        "python_us": float(python_us),
    }


def raw_mpi(rounds: int, size: int) -> dict[str, float]:
    """Time what MPI does in a meeting without the rest: two reductions, and a message to the next rank."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    ranks, rank = world.Get_size(), world.Get_rank()
    values, smallest = np.zeros(4, np.int64), np.zeros(4, np.int64)
    counts, total = np.zeros(ranks, np.int32), np.zeros(ranks, np.int32)
    sent, received = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    taken = np.zeros((rounds, 2))
    for number in range(rounds):
        start = time.perf_counter_ns()
        world.Allreduce(values, smallest, op=MPI.MIN)
        world.Allreduce(counts, total, op=MPI.SUM)
        middle = time.perf_counter_ns()
        world.Sendrecv(sent, (rank + 1) % ranks, recvbuf=received, source=(rank - 1) % ranks)
        taken[number] = middle - start, time.perf_counter_ns() - middle
    reduce_us, message_us = np.quantile(taken, UNDISTURBED, axis=0) / 1e3
    return {"reduce_us": float(reduce_us), "message_us": float(message_us)}


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
