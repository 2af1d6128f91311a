"""Thousands of running processes in one shard: what starting, keeping and running them costs.

    python benchmarks/processes.py [--processes 2000] [--python 200] [--seconds 4] [--mean-us 50000]

PROCESSES hosts with one process each, of which PYTHON run CPython with asyncio and the rest C, exchange messages: a
message that comes is held for MEAN_US on average and sent on to a random member (benchmarks/apps/phold.c and
phold_asyncio.py). The baseline is the same processes, natively, on one core over the loopback.

`start` is wall-clock time from the first to the last start, by the number of processes; natively that is `posix_spawn`
in a loop, which does not wait for the programs to get anywhere, so the CPU time of both, taken when all sleep for their
first message, is the figure to compare. `memory` counts shared pages once (proportional set size); the simulator's part
is arenas, the shim's private pages and what the shard grew by. Messages are counted per CPU second of all processes,
from when all run to their ends.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from idle_hosts import (  # type: ignore[import-not-found]  # beside this file
    SHIM_END,
    SHIM_IMAGE,
    arena_bytes,
    children,
    private_bytes,
)
from rich.console import Console
from rich.table import Table

from bridge.bus import InProcessBus
from bridge.directory import HotPlacement, build_directory
from bridge.graph import SWITCH_1_GBIT, parse_gml
from bridge.paths import Paths
from bridge.rundir import RunDirectory
from bridge.section import GeneralSection
from bridge.simtime import NS_PER_S
from bridge.window import Runahead, WindowLoop
from hot.section import ExperimentalSection, FinalState, HostPlan, ProcessPlan
from hot.shard import HotShard

APPS = Path(__file__).parent / "apps"
PORT = 20_000
MIB = 2**20


@dataclass
class Figures:
    """What one way of running the processes cost."""

    start_wall: float = 0.0
    """Seconds until all were started."""
    start_cpu: float = 0.0
    """CPU seconds of all processes until all were waiting for messages."""
    memory: int = 0
    """Bytes of all processes, shared ones counted once."""
    simulator: int = 0
    """Bytes of them that are the simulator's."""
    descriptors: int = 0
    """Open descriptors of the shard that the hosts brought with them."""
    wall: float = 0.0
    cpu: float = 0.0
    """Seconds of running."""
    messages: int = 0


def proportional_bytes(pid: int) -> int:
    """Return the proportional set size of a process."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a live process with one thread has used."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) * 1e-9


def cpu_ended() -> float:
    """Return the CPU seconds of the children that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Workload:
    """The command of every member."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.program = folder / "phold"
        subprocess.run(["gcc", "-O2", "-o", self.program, APPS / "phold.c", "-lm"], check=True)

    def command(self, members: Path, number: int, seconds: int) -> list[str]:
        """Return the command of a member: CPython first, then C."""
        # The virtual environment's python would only start the other one.
        python = [os.path.realpath(sys.executable), "-S", str(APPS / "phold_asyncio.py")]
        program = python if number < self.options.python else [str(self.program)]
        return [*program, str(members), str(number), str(seconds), str(self.options.mean_us)]


def simulated(work: Workload) -> Figures:
    """Run the members in the simulator."""
    count, seconds = work.options.processes, work.options.seconds
    names = [f"host{i:05d}" for i in range(count)]
    directory = build_directory([HotPlacement(name, 0, 10**9, 10**9) for name in names], [])
    paths = Paths(parse_gml(SWITCH_1_GBIT), [0])
    members = work.folder / "members"
    members.write_text(
        "".join(f"{a >> 24}.{a >> 16 & 255}.{a >> 8 & 255}.{a & 255} {PORT}\n" for a in directory.address.tolist())
    )

    def plan(number: int) -> HostPlan:
        command = work.command(members, number, seconds)
        process = ProcessPlan(Path(command[0]), tuple(command), (), 0, None, 15, FinalState("exited", 0))
        return HostPlan(number, names[number], (process,), None, False, 65535)

    figures = Figures()
    own, open_before, ended = private_bytes(os.getpid()), descriptors(), cpu_ended()
    with RunDirectory(work.folder / "run") as run_directory:
        shard = HotShard(
            [plan(i) for i in range(count)],
            directory=directory,
            paths=paths,
            run_directory=run_directory,
            seed=1,
            general=GeneralSection.model_validate({"stop_time": f"{seconds + 2} s"}),
            experimental=ExperimentalSection(),
        )
        wall, cpu = time.perf_counter(), time.process_time()
        shard.run_until(1)
        figures.start_wall = time.perf_counter() - wall
        pids = children()
        if len(pids) != count:
            raise SystemExit(f"{len(pids)} of {count} processes run")
        started = sum(map(cpu_of, pids))
        figures.start_cpu = time.process_time() - cpu + started
        figures.descriptors = descriptors() - open_before
        # Arenas are mapped in processes and in the shard, which has a half of each in its proportional size.
        arenas, grown = arena_bytes(), private_bytes(os.getpid()) - own
        figures.memory = sum(map(proportional_bytes, pids)) + arenas // 2 + grown
        figures.simulator = arenas + grown + sum(private_bytes(pid, SHIM_IMAGE, SHIM_END) for pid in pids)
        wall, cpu = time.perf_counter(), time.process_time()
        WindowLoop(
            [shard],
            lambda ids: np.zeros(len(ids), np.intp),
            InProcessBus(),
            runahead=Runahead(paths.min_latency_ns),
            stop_time_ns=(seconds + 2) * NS_PER_S,
        ).run()
        figures.wall = time.perf_counter() - wall
        figures.cpu = time.process_time() - cpu
        shard.close()
        figures.cpu += cpu_ended() - ended - started
        outputs = run_directory.path.glob("hosts/*/*.stdout")
        figures.messages = sum(int(path.read_text()) for path in outputs)
    return figures


def native(work: Workload, seconds: int) -> Figures:
    """Run the members natively, on one core, each for so long that the last starts before the first ends."""
    count = work.options.processes
    members = work.folder / "native"
    members.write_text("".join(f"127.0.0.1 {PORT + i}\n" for i in range(count)))
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    figures = Figures()
    ended, wall, cpu = cpu_ended(), time.perf_counter(), time.process_time()
    commands = [work.command(members, i, seconds) for i in range(count)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) for command in commands]
    figures.start_wall = time.perf_counter() - wall
    # The last ones have hardly begun; the first have sent messages by now, which is little beside.
    time.sleep(0.5)
    started = sum(cpu_of(process.pid) for process in running)
    figures.start_cpu = time.process_time() - cpu + started
    if any(process.poll() is not None for process in running):
        for process in running:
            process.kill()
            process.wait()
        raise SystemExit("natively some have ended before the last had started: the machine does too much besides")
    figures.memory = sum(proportional_bytes(process.pid) for process in running)
    figures.messages = sum(int(process.communicate()[0]) for process in running)
    figures.wall = time.perf_counter() - wall
    figures.cpu = cpu_ended() - ended - started
    os.sched_setaffinity(0, allowed)
    return figures


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--processes", type=int, default=2000)
    parser.add_argument("--python", type=int, default=200, help="how many of them are CPython")
    parser.add_argument("--seconds", type=int, default=4, help="simulated time of messages")
    parser.add_argument("--mean-us", type=int, default=50_000, help="how long a message is held")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        work = Workload(Path(name), options)
        ours = simulated(work)
        raw = native(work, seconds=10 + round(4 * ours.start_wall))
    count = options.processes
    title = f"{count:,} processes, of which {options.python:,} CPython"
    table = Table("what", "simulated", "natively", "ratio", title=title)
    for what, left, right in (
        ("start, wall-clock ms per process", ours.start_wall / count * 1e3, raw.start_wall / count * 1e3),
        ("start, CPU ms per process", ours.start_cpu / count * 1e3, raw.start_cpu / count * 1e3),
        ("memory, MiB in all", ours.memory / MIB, raw.memory / MIB),
        ("messages per CPU second", ours.messages / ours.cpu, raw.messages / raw.cpu),
    ):
        table.add_row(what, f"{left:,.2f}", f"{right:,.2f}", f"{left / right:.2f}")
    table.add_row("simulator's memory, KiB per process", f"{ours.simulator / count / 1024:.1f}", "", "")
    table.add_row("descriptors of the shard per process", f"{ours.descriptors / count:.2f}", "", "")
    table.add_row("simulated seconds per wall-clock second", f"{options.seconds / ours.wall:.3f}", "", "")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
