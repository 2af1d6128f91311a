"""Memory of an idle hot host: what the simulator adds to the process that sleeps there.

    python benchmarks/idle_hosts.py [--hosts 200]

Every host runs one `sleep`. `arena` is the host's kernel state (pages of its memfd), `shim` the shim's private pages in
the process, `shard` what the engine and Python grew by; the baseline is the same process, run natively.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

import antumbra
from antumbra.sides import build_hot
from bridge.partition import PartitionMap
from bridge.rundir import RunDirectory
from bridge.simtime import NS_PER_S

SLEEP = "/bin/sleep"
SHIM_IMAGE, SHIM_END = 0x600000000000, 0x620000000000
KIB = 1024


def private_bytes(pid: int, first: int = 0, end: int = 2**64) -> int:
    """Return the private bytes of a process in a range of addresses."""
    total, inside = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        header = re.match(r"([0-9a-f]+)-[0-9a-f]+ ", line)
        if header:
            inside = first <= int(header[1], 16) < end
        elif inside and line.startswith(("Private_Dirty:", "Private_Clean:")):
            total += int(line.split()[1]) * KIB
    return total


def children() -> list[int]:
    """Return the real ids of this process's children."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def arena_bytes() -> int:
    """Return the bytes of the pages that the arenas have touched."""
    total = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            if str(link.readlink()).startswith("/memfd:antumbra-host"):
                total += link.stat().st_blocks * 512
        except FileNotFoundError:  # the descriptor that listed the folder
            continue
    return total


def measure(hosts: int, folder: Path) -> tuple[int, int, int]:
    """Return the bytes of all arenas, of all shims, and the private bytes of the shard, with `hosts` idle hosts."""
    configuration = folder / "idle.yaml"
    process = {"path": SLEEP, "args": "1000", "expected_final_state": "running"}
    plan = {
        "general": {"stop_time": "100 s"},
        "network": {"graph": {"type": "1_gbit_switch"}},
        "hosts": {f"host{i:05d}": {"network_node_id": 0, "processes": [process]} for i in range(hosts)},
    }
    configuration.write_text(yaml.safe_dump(plan))
    with RunDirectory(folder / f"run{hosts}") as run_directory:
        partition = PartitionMap.of([0] * hosts, [0])
        shard = build_hot(
            antumbra.make_plan(antumbra.load_configuration(configuration)), run_directory, partition, shard=0
        )
        assert shard is not None
        try:
            shard.run_until(NS_PER_S)
            shims = sum(private_bytes(pid, SHIM_IMAGE, SHIM_END) for pid in children())
            return arena_bytes(), shims, private_bytes(os.getpid())
        finally:
            shard.close()


def native_private() -> int:
    """Return the private bytes of the sleeping process by itself."""
    process = subprocess.Popen([SLEEP, "1000"])
    try:
        time.sleep(0.5)  # it is asleep long before; nothing tells us when
        return private_bytes(process.pid)
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=200)
    hosts = parser.parse_args().hosts
    few = max(hosts // 10, 1)
    with tempfile.TemporaryDirectory() as name:
        small, large = measure(few, Path(name)), measure(hosts, Path(name))
    arena, shim, shard = ((b - a) / (hosts - few) / KIB for a, b in zip(small, large, strict=True))
    table = Table("what", "KiB per host", title=f"Memory of an idle hot host ({few} to {hosts} hosts)")
    for what, value in (("arena", arena), ("shim", shim), ("shard", shard), ("simulator", arena + shim + shard)):
        table.add_row(what, f"{value:.1f}")
    table.add_row("baseline: the process itself, natively", f"{native_private() / KIB:.1f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
