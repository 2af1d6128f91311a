"""Packets per second through one shard, beside the machine's own loopback.

    python benchmarks/packets.py [--packets 300000] [--size 1000]

`engine` is the engine alone: packets that came from elsewhere wait in their host's queue, pass the router and the
downlink's token bucket, and are handed to the kernel's UDP input, where nobody listens. `processes` is the whole way:
one managed process sends, through its uplink, a path and the other host's downlink, to one that receives. `loopback` is
the same two programs, run natively on one core. All rates are per second of CPU time, of all processes together, so
that other programs disturb them little.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from bridge.batch import EventBatch
from bridge.bus import InProcessBus
from bridge.directory import HotPlacement, build_directory
from bridge.graph import SWITCH_1_GBIT, parse_gml
from bridge.paths import Paths
from bridge.rundir import RunDirectory
from bridge.section import GeneralSection
from bridge.simtime import NS_PER_MS, NS_PER_S
from bridge.window import Runahead, WindowLoop
from hot.section import ExperimentalSection, FinalState, HostPlan, ProcessPlan
from hot.shard import HotShard

SOURCE = Path(__file__).parent / "apps" / "udp_flood.c"
PORT = 9000
BATCH = 10_000


def cpu_ns() -> int:
    """Return the CPU time of this process and of its children that have ended [ns]."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() + round((children.ru_utime + children.ru_stime) * 1e9)


def process(program: Path, *arguments: str, start_ns: int = 0) -> ProcessPlan:
    """Plan a process that ends by itself."""
    return ProcessPlan(program, (str(program), *arguments), (), start_ns, None, 15, FinalState("exited", 0))


class Pair:
    """Two hosts on a switch with links of a bandwidth, as an open shard."""

    def __init__(self, folder: Path, bps: int, processes: tuple[tuple[ProcessPlan, ...], ...]) -> None:
        self.directory = build_directory([HotPlacement(name, 0, bps, bps) for name in "ab"], [])
        self.paths = Paths(parse_gml(SWITCH_1_GBIT), [0])
        self.run_directory = RunDirectory(folder)
        self.shard = HotShard(
            [HostPlan(i, name, processes[i], None, False, 65535) for i, name in enumerate("ab")],
            directory=self.directory,
            paths=self.paths,
            run_directory=self.run_directory,
            seed=1,
            general=GeneralSection.model_validate({"stop_time": "100 s"}),
            experimental=ExperimentalSection(),
        )

    def close(self) -> None:
        """End the shard."""
        self.shard.close()
        self.run_directory.close()


def packet(source: int, destination: int, size: int) -> bytes:
    """Return a UDP datagram of `size` payload bytes as on the wire."""
    length = 28 + size
    header = struct.pack(">BBHHHBBHII", 0x45, 0, length, 0, 0x4000, 64, 17, 0, source, destination)
    return header + struct.pack(">HHHH", 1000, PORT, 8 + size, 0) + bytes(size)


def engine_rate(folder: Path, packets: int, size: int) -> float:
    """Deliver batches to one host and run them."""
    pair = Pair(folder, 10**12, ((), ()))
    source, destination = pair.directory.address.tolist()
    one = packet(source, destination, size)
    offsets = np.arange(BATCH + 1, dtype=np.int64) * len(one)
    payload = np.frombuffer(one * BATCH, np.uint8)
    elapsed, done = 0, 0
    while done < packets:
        first = (done // BATCH + 1) * 10 * NS_PER_MS
        batch = EventBatch.build(
            first + np.arange(BATCH, dtype=np.int64) * 100,
            np.zeros(BATCH, np.uint32),
            np.arange(done, done + BATCH, dtype=np.uint64),
            np.ones(BATCH, np.uint32),
            payload_offset=offsets,
            payload=payload,
        )
        before = cpu_ns()
        pair.shard.deliver(batch)
        pair.shard.run_until(first + 10 * NS_PER_MS)
        elapsed += cpu_ns() - before
        done += BATCH
    received = pair.shard.counters("b")["packets_received"]
    pair.close()
    if received != done:
        raise SystemExit(f"{received} of {done} packets arrived")
    return done / elapsed * 1e9


def process_rate(folder: Path, program: Path, packets: int, size: int) -> tuple[float, int]:
    """Let one process flood another. Returns packets per second and how many the receiver counted."""
    sender = process(program, "send", "11.0.0.2", str(PORT), str(packets), str(size), start_ns=NS_PER_S)
    pair = Pair(folder, 10**9, ((sender,), (process(program, "receive", str(PORT)),)))
    loop = WindowLoop(
        [pair.shard],
        lambda ids: np.zeros(len(ids), np.intp),
        InProcessBus(),
        runahead=Runahead(pair.paths.min_latency_ns),
        stop_time_ns=100 * NS_PER_S,
    )
    before = cpu_ns()
    loop.run()
    pair.close()
    elapsed = cpu_ns() - before
    counted = int((folder / "hosts" / "b" / "udp_flood.1000.stdout").read_text())
    return packets / elapsed * 1e9, counted


def loopback_rate(program: Path, packets: int, size: int) -> float:
    """Run the two programs natively on one core."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    receiver = subprocess.Popen([program, "receive", port], stdout=subprocess.DEVNULL)
    time.sleep(0.2)
    before = cpu_ns()
    subprocess.run(
        [program, "send", "127.0.0.1", port, str(packets), str(size)],
        check=True,
    )
    receiver.wait(timeout=10)
    elapsed = cpu_ns() - before
    return packets / elapsed * 1e9


def main() -> None:
    """Measure and print."""
    # One core for all: they differ on a shared machine, and the shard would choose any.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--packets", type=int, default=300_000)
    parser.add_argument("--size", type=int, default=1000, help="payload bytes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = folder / "udp_flood"
        subprocess.run(["gcc", "-O2", "-o", program, SOURCE], check=True)
        engine = engine_rate(folder / "engine", options.packets, options.size)
        processes, counted = process_rate(folder / "processes", program, options.packets, options.size)
        loopback = loopback_rate(program, options.packets, options.size)
    print(f"engine     {engine:12,.0f} packets/s")
    print(f"processes  {processes:12,.0f} packets/s ({counted} of {options.packets} received)")
    print(f"loopback   {loopback:12,.0f} packets/s, natively")
    print(f"ratios     {engine / loopback:.2f} and {processes / loopback:.2f} of the loopback")


if __name__ == "__main__":
    main()
