"""What building the tail of an experiment takes, pass by pass: time, memory, and what the machine's memory allows.

    python benchmarks/cold_set_up.py [--configuration configs/studies/slot-1m.yaml] [--shards 1 2] [--repeats 3]

Every case runs in processes of its own, one for each shard, in which a small tail has loaded the kernels. A process
builds the same tail `--repeats` times: the first time on memory that it has not had before, then on
such that it has given back. Times are of a process's CPU; of shards, those of the one that took most. Memory is the
most that was resident in the first build beyond what was there before.

Passes are kernels. Beside the time of each are the bytes that it reads and writes at the least, every array that it
goes through counted once, for each end of a connection, and how fast it moved them; beside all, how fast the same
process copied an array of 256 MiB that it had touched before, and how fast it touched one for the first time.
"""

import argparse
import functools
import gc
import json
import multiprocessing
import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from antumbra.configuration import load_configuration
from antumbra.plan import make_plan
from antumbra.sharding import partition_of
from antumbra.sides import build_tail
from bridge.bus import InProcessBus
from bridge.local_bus import fork_shards
from cold import compile as compiling
from cold import memberships, overlay, subscriptions
from cold.overlay_kernels import write_rows

_BYTES = 1 << 28
#: No title of a pass.
_ENDS = "neighbours"
#: Where the passes are called, and the bytes that one reads and writes at the least for each end of a connection.
PASSES: list[tuple[ModuleType, tuple[str, ...], str, float]] = [
    (subscriptions, ("subscribers_of_some", "subscribers_by_share"), "subscribers", 0.0),
    # Of two ends: a key; the keys, the words that are sorted, the order; the order, and two entries.
    (overlay, ("draw_keys", "draw_keys_of"), "draws", 4.0),
    (overlay, ("ascending_order",), "orders", 22.0),
    (overlay, ("write_ends",), "ends", 6.0),
    # Entries there and back, to rows and from them; a neighbour and who dialled it.
    (overlay, ("write_rows",), "rows", 21.0),
    (overlay, ("write_first_members",), "first meshes, full topics", 0.0),
    (memberships, ("write_first_meshes",), "first meshes, others", 0.0),
    (memberships, ("known_peers",), "known peers", 20.0),
]


class Built(NamedTuple):
    """What one shard says of one build."""

    cpu_s: float
    """User and system time."""
    system_s: float
    wall_s: float
    passes: dict[str, float]
    """CPU time by pass [s]."""
    ends: int
    """Of connections of all identities."""


class Shard(NamedTuple):
    """What one shard says."""

    built: list[Built]
    resident: int
    """Bytes, at the most, beyond what was there before."""
    copy_s: float
    touch_s: float


def _timed(kernel: Callable[..., Any], title: str, spent: dict[str, float]) -> Callable[..., Any]:
    @functools.wraps(kernel)
    def call(*arguments: Any) -> Any:
        begin = time.process_time()
        result = kernel(*arguments)
        spent[title] += time.process_time() - begin
        if kernel is write_rows:
            spent[_ENDS] += result[1]
        return result

    return call


def _memory() -> tuple[float, float]:
    """Seconds to copy `_BYTES` that have been touched, and to touch as many for the first time."""
    begin = time.process_time()
    source = np.ones(_BYTES, dtype=np.uint8)
    touched = time.process_time() - begin
    target = source.copy()
    begin = time.process_time()
    for _ in range(4):
        target[:] = source
    return (time.process_time() - begin) / 4, touched


def measure(configuration: str, shards: int, repeats: int) -> list[Shard]:
    """Build the tail of a configuration in this process and in others that it forks."""
    compiling.compile_kernels()
    plan = make_plan(load_configuration(Path(configuration)))
    partition = partition_of(plan, shards)
    spent: dict[str, float] = defaultdict(float)
    for module, names, title, _ in PASSES:
        for name in names:
            setattr(module, name, _timed(getattr(module, name), title, spent))
    bus = fork_shards(shards, patience_s=600) if shards > 1 else InProcessBus()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    built, most = [], sys.maxsize
    for _ in range(repeats):
        spent.clear()
        before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        tail = build_tail(plan, partition, bus)
        wall = time.perf_counter() - wall
        after = resource.getrusage(resource.RUSAGE_SELF)
        system = after.ru_stime - before.ru_stime
        cpu = after.ru_utime - before.ru_utime + system
        built.append(Built(cpu, system, wall, {title: spent[title] for _, _, title, _ in PASSES}, int(spent[_ENDS])))
        most = min(most, after.ru_maxrss)
        # An engine is a cycle of references.
        del tail
        gc.collect()
    told = bus.share(json.dumps([built, (most - resident) * 1024, *_memory()]).encode())
    if bus.shard > 0:
        os._exit(0)
    bus.close()
    return [Shard([Built(*each) for each in built], *rest) for built, *rest in map(json.loads, told)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configuration", default=str(Path(__file__).parent.parent / "configs/studies/slot-1m.yaml"))
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    for shards in arguments.shards:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            told = pool.apply(measure, (arguments.configuration, shards, arguments.repeats))
        print(
            f"\n{shards} shard{'s' * (shards > 1)}: {', '.join(f'{each.resident / 2**20:,.0f} MiB' for each in told)}"
        )
        print(f"{'build':>6}{'CPU s':>8}{'of it in the kernel of the system':>35}{'wall s':>8}{'ends':>14}")
        for number in range(arguments.repeats):
            slowest = max((each.built[number] for each in told), key=lambda built: built.cpu_s)
            ends = sum(each.built[number].ends for each in told)
            print(f"{number + 1:6}{slowest.cpu_s:8.2f}{slowest.system_s:35.2f}{slowest.wall_s:8.2f}{ends:14,}")
        print(f"{'pass, in the last build':28}{'CPU s':>8}{'ns an end':>12}{'bytes an end':>14}{'GB/s':>8}")
        for _, _, title, size in PASSES:
            ends = sum(each.built[-1].ends for each in told)
            seconds = sum(each.built[-1].passes[title] for each in told)
            moved = f"{size:14.0f}{size * ends / seconds / 1e9:8.1f}" if size and seconds else ""
            print(f"{title:28}{seconds:8.2f}{seconds / ends * 1e9:12.2f}{moved}")
        copied, touched = 2 * _BYTES / told[0].copy_s / 1e9, _BYTES / told[0].touch_s / 1e9
        print(f"a copy moves {copied:.1f} GB/s; memory is touched for the first time at {touched:.1f} GB/s")


if __name__ == "__main__":
    main()
