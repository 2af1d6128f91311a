"""A PHOLD-like workload: many hosts, one real process on each, that hold messages and send them on.

    python benchmarks/phold.py [--hosts 1000] [--seconds 4] [--mean-us 5000]

Every host starts with one message; a message that comes is held for an exponentially distributed time and then sent to
a host drawn at random (benchmarks/apps/phold.c). The baseline is the same processes, natively, on one core over the
loopback: what the real kernel needs for the same sleeps and datagrams. Costs are slopes between a run and one of a
fifth of its length, so that starting the processes is not in them. `MiB per host` is all private memory of one host:
its process, its share of the shard, its arena.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from idle_hosts import arena_bytes, children, private_bytes  # type: ignore[import-not-found]  # beside this file
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

SOURCE = Path(__file__).parent / "apps" / "phold.c"
PORT = 20_000
MIB = 2**20


def cpu_ns() -> int:
    """Return the CPU time of this process and of its children that have ended [ns]."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() + round((ended.ru_utime + ended.ru_stime) * 1e9)


def simulated(program: Path, hosts: int, seconds: int, mean_us: int, folder: Path) -> tuple[int, int, int, float]:
    """Run the members in the simulator.

    Returns
    -------
    cpu : int
        CPU time of the shard and of all processes [ns].
    messages, events : int
        What the members sent, and what the engine executed.
    memory : float
        Private bytes per host, while all of them run.
    """
    names = [f"host{i:05d}" for i in range(hosts)]
    directory = build_directory([HotPlacement(name, 0, 10**9, 10**9) for name in names], [])
    paths = Paths(parse_gml(SWITCH_1_GBIT), [0])
    members = folder / "members"
    members.write_text(
        "".join(f"{a >> 24}.{a >> 16 & 255}.{a >> 8 & 255}.{a & 255} {PORT}\n" for a in directory.address.tolist())
    )

    def plan(i: int) -> HostPlan:
        arguments = (str(program), str(members), str(i), str(seconds), str(mean_us))
        process = ProcessPlan(program, arguments, (), 0, None, 15, FinalState("exited", 0))
        return HostPlan(i, names[i], (process,), None, False, 65535)

    before, own = cpu_ns(), private_bytes(os.getpid())
    with RunDirectory(folder / f"run{seconds}") as run_directory:
        shard = HotShard(
            [plan(i) for i in range(hosts)],
            directory=directory,
            paths=paths,
            run_directory=run_directory,
            seed=1,
            general=GeneralSection.model_validate({"stop_time": f"{seconds + 2} s"}),
            experimental=ExperimentalSection(),
        )
        shard.run_until(1)
        memory = sum(private_bytes(pid) for pid in children()) + arena_bytes() + private_bytes(os.getpid()) - own
        WindowLoop(
            [shard],
            lambda ids: np.zeros(len(ids), np.intp),
            InProcessBus(),
            runahead=Runahead(paths.min_latency_ns),
            stop_time_ns=(seconds + 2) * NS_PER_S,
        ).run()
        events = shard.events_executed()
        shard.close()
        outputs = run_directory.path.glob("hosts/*/phold.*.stdout")
        return cpu_ns() - before, sum(int(path.read_text()) for path in outputs), events, memory / hosts


def native(program: Path, hosts: int, seconds: int, mean_us: int, folder: Path) -> tuple[int, int]:
    """Run the members natively on one core. Returns their CPU time [ns] and how many messages they sent."""
    members = folder / "native"
    members.write_text("".join(f"127.0.0.1 {PORT + i}\n" for i in range(hosts)))
    core = {min(os.sched_getaffinity(0))}
    before = cpu_ns()
    own = time.process_time_ns()
    running = [
        subprocess.Popen(
            ["taskset", "-c", str(min(core)), program, members, str(i), str(seconds), str(mean_us)],
            stdout=subprocess.PIPE,
        )
        for i in range(hosts)
    ]
    messages = sum(int(process.communicate()[0]) for process in running)
    return cpu_ns() - before - (time.process_time_ns() - own), messages


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=4, help="of the longer run")
    parser.add_argument("--mean-us", type=int, default=5000, help="how long a message is held")
    options = parser.parse_args()
    short = max(options.seconds // 5, 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = folder / "phold"
        subprocess.run(["gcc", "-O2", "-o", program, SOURCE, "-lm"], check=True)
        runs = [simulated(program, options.hosts, n, options.mean_us, folder) for n in (short, options.seconds)]
        raw = [native(program, options.hosts, n, options.mean_us, folder) for n in (short, options.seconds)]
    cpu, messages, events = (runs[1][i] - runs[0][i] for i in range(3))
    raw_cpu, raw_messages = (raw[1][i] - raw[0][i] for i in range(2))
    table = Table("what", "simulated", "natively", "ratio", title=f"PHOLD, {options.hosts} hosts with a process each")
    table.add_row("engine events per CPU second", f"{events / cpu * 1e9:,.0f}", "", "")
    rates = messages / cpu * 1e9, raw_messages / raw_cpu * 1e9
    table.add_row("messages per CPU second", *(f"{rate:,.0f}" for rate in rates), f"{rates[0] / rates[1]:.2f}")
    table.add_row("MiB per host, process included", f"{runs[1][3] / MIB:.3f}", "", "")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
