"""TCP bulk transfer between two hosts: simulated seconds per wall-clock second, beside the machine's own loopback.

    python benchmarks/bulk.py [--mebibytes 1000] [--mbps 1000] [--latency-ms 1,10,50] [--connections 1,8]

Two managed processes, one core; MEBIBYTES go from one to the other over links of MBPS whose latency is LATENCY_MS.
`goodput` is what arrives in simulated time: a window of 4 to 6 MB, which is Linux's default limit, fills 1 Gbit/s up to
a round trip of about 40 ms, and beyond that takes several connections. `x real time` is the simulated length of the
transfer by its wall-clock time; `per CPU second` the transfer by the CPU time of shard and processes. The baseline is
the same two programs, natively, over the loopback on one core: what the real kernel needs for the same bytes, in
segments of up to 64 KiB, where the simulated wire carries 1500 bytes.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bridge.bus import InProcessBus
from bridge.directory import HotPlacement, build_directory
from bridge.graph import parse_gml
from bridge.paths import Paths
from bridge.rundir import RunDirectory
from bridge.section import GeneralSection
from bridge.simtime import NS_PER_S
from bridge.window import Runahead, WindowLoop
from hot.section import ExperimentalSection, FinalState, HostPlan, ProcessPlan
from hot.shard import HotShard

SOURCE = Path(__file__).parent / "apps" / "tcp_bulk.c"
PORT = 9000
MIB = 2**20
STOP_S = 1000


def cpu_ns() -> int:
    """Return the CPU time of this process and of its children that have ended [ns]."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() + round((children.ru_utime + children.ru_stime) * 1e9)


def process(program: Path, *arguments: str, start_ns: int = 0) -> ProcessPlan:
    """Plan a process that ends by itself."""
    return ProcessPlan(program, (str(program), *arguments), (), start_ns, None, 15, FinalState("exited", 0))


def simulated(
    folder: Path, program: Path, size: int, bps: int, latency_ms: int, connections: int
) -> tuple[int, int, int, int]:
    """Transfer in the simulator.

    Returns
    -------
    size : int
        Bytes that arrived.
    simulated, wall, cpu : int
        Time of the transfer as the receiver sees it, of the whole run, and CPU time of all processes [ns].
    """
    graph = f'graph [ node [ id 0 ] edge [ source 0 target 0 latency "{latency_ms} ms" packet_loss 0.0 ] ]'
    directory = build_directory([HotPlacement(name, 0, bps, bps) for name in "ab"], [])
    paths = Paths(parse_gml(graph), [0])
    sender = process(program, "send", "11.0.0.2", str(PORT), str(connections), str(size), start_ns=NS_PER_S)
    processes = ((sender,), (process(program, "receive", str(PORT), str(connections)),))
    with RunDirectory(folder) as run_directory:
        shard = HotShard(
            [HostPlan(i, name, processes[i], None, False, 65535) for i, name in enumerate("ab")],
            directory=directory,
            paths=paths,
            run_directory=run_directory,
            seed=1,
            general=GeneralSection.model_validate({"stop_time": f"{STOP_S} s"}),
            experimental=ExperimentalSection(),
        )
        loop = WindowLoop(
            [shard],
            lambda ids: np.zeros(len(ids), np.intp),
            InProcessBus(),
            runahead=Runahead(paths.min_latency_ns),
            stop_time_ns=STOP_S * NS_PER_S,
        )
        before, wall = cpu_ns(), time.perf_counter_ns()
        loop.run()
        wall = time.perf_counter_ns() - wall
        shard.close()
    arrived, took = (folder / "hosts" / "b" / "tcp_bulk.1000.stdout").read_text().split()
    return int(arrived), int(took), wall, cpu_ns() - before


def native(program: Path, size: int, connections: int) -> tuple[int, int]:
    """Transfer natively, on one core. Returns wall-clock and CPU time [ns]."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    before, wall = cpu_ns(), time.perf_counter_ns()
    receiver = subprocess.Popen(
        [program, "receive", port, str(connections)],
        stdout=subprocess.PIPE,
    )
    for attempt in range(100):  # until it listens
        time.sleep(0.01)
        command = [str(program), "send", "127.0.0.1", port, str(connections), str(size)]
        if subprocess.run(command).returncode == 0:
            break
        if attempt == 99:
            raise SystemExit("the native receiver does not listen")
    receiver.communicate()
    return time.perf_counter_ns() - wall, cpu_ns() - before


def numbers(text: str) -> list[int]:
    """Return the whole numbers of "1,2"."""
    return [int(number) for number in text.split(",")]


def main() -> None:
    """Measure and print the table."""
    # One core for all: they differ on a shared machine, and the shard would choose any.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mebibytes", type=int, default=1000, help="of a transfer")
    parser.add_argument("--mbps", type=int, default=1000, help="bandwidth of both links")
    parser.add_argument("--latency-ms", type=numbers, default="1,10,50")
    parser.add_argument("--connections", type=numbers, default="1,8")
    options = parser.parse_args()
    size, bps = options.mebibytes * MIB, options.mbps * 10**6
    table = Table("latency", "connections", "goodput", "x real time", "per CPU second", "x loopback", title="TCP bulk")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = folder / "tcp_bulk"
        subprocess.run(["gcc", "-O2", "-o", program, SOURCE], check=True)
        for connections in options.connections:
            _, raw = native(program, size, connections)
            table.add_row("native", str(connections), "", "", f"{size * 8 / raw:.2f} Gbit", "1.00")
            for latency in options.latency_ms:
                own = folder / f"{latency}.{connections}"
                arrived, took, wall, cpu = simulated(own, program, size, bps, latency, connections)
                goodput = arrived * 8 / took * 1e3
                speed = (f"{took / wall:.2f}", f"{arrived * 8 / cpu:.2f} Gbit", f"{raw / cpu:.2f}")
                table.add_row(f"{latency} ms", str(connections), f"{goodput:.0f} Mbit/s", *speed)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
