"""How checking and starting an experiment grow with the number of configured hosts.

    python benchmarks/host_scale.py [--hosts 1000,10000,100000]

Hosts are attached to 8 regions, to 1,000 regions (both complete graphs with latencies of their own) or to 10,000
networks below 50 regions, and written one by one, as generators write them. `check` is `antumbra check` of hosts that
each have a process; `run` is a whole run of idle ones. CPU time and peak memory of the command; the baseline is reading
the same file with libyaml alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

REGIONS: Final = 50
NETWORKS: Final = 10_000
BASELINE: Final = "import sys, yaml; yaml.compose(open(sys.argv[1]), Loader=yaml.CSafeLoader)"


def node(number: int) -> str:
    """Return a node with bandwidths."""
    return f'node [ id {number} host_bandwidth_up "100 Mbit" host_bandwidth_down "100 Mbit" ]'


def edge(source: int, target: int, latency_us: int, loss: float = 0.0) -> str:
    """Return an edge."""
    return f'edge [ source {source} target {target} latency "{latency_us} us" packet_loss {loss} ]'


def regional(count: int) -> tuple[str, range]:
    """Return a complete graph of regions, and its nodes."""
    latencies = ((a, b, 2000 + (a * 7919 + b * 104729) % 80_000) for a in range(count) for b in range(a, count))
    return "\n".join(["graph [", *map(node, range(count)), *(edge(*link) for link in latencies), "]\n"]), range(count)


def hierarchical() -> tuple[str, range]:
    """Return a graph of networks below regions, and the networks."""
    every = range(REGIONS + NETWORKS)
    lines = ["graph [", *map(node, every)]
    lines += [edge(a, b, 10_000 + (a * 7919 + b * 104729) % 80_000) for a in range(REGIONS) for b in range(a)]
    for network in every[REGIONS:]:
        lines += [edge(network, network % REGIONS, 1000 + network % 3000, 0.001), edge(network, network, 1000)]
    return "\n".join([*lines, "]\n"]), every[REGIONS:]


def configuration(graph: Path, hosts: int, nodes: Sequence[int], processes: bool) -> str:
    """Return the text of an experiment."""
    lines = ["general: {stop_time: 10 s}", f"network: {{graph: {{type: gml, file: {{path: {graph}}}}}}}", "hosts:"]
    for number in range(hosts):
        lines += [f"  host{number}:", f"    network_node_id: {nodes[number % len(nodes)]}"]
        if processes:
            lines += ["    processes:", "    - path: /bin/sleep", "      args: ['1']", "      start_time: 5 s"]
        else:
            lines += ["    processes: []"]
    return "\n".join(lines) + "\n"


def measure(command: Sequence[str | Path]) -> tuple[float, float, int]:
    """Run a command; returns its CPU time [s], its wall-clock time [s] and its peak memory [MiB].

    A check works out what a run would need, and may find that this machine does not have it: that is an answer, too.
    """
    before = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode and b"the experiment needs about" not in told:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{told.decode()}")
    return used.ru_utime + used.ru_stime, time.monotonic() - before, used.ru_maxrss // 1024


def tell(nodes: int, hosts: int, what: str, measured: tuple[float, float, int], baseline: float | None = None) -> None:
    """Print a line of the table."""
    cpu, wall, mebibytes = measured
    ratio = f"{cpu / baseline:.1f}" if baseline else ""
    print(f"{nodes:>8,}{hosts:>10,}  {what:8}{cpu:>8.1f}{wall:>8.1f}{mebibytes:>10,}{ratio:>11}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", default="1000,10000,100000")
    sizes = [int(size) for size in parser.parse_args().hosts.split(",")]
    print(f"{'nodes':>8}{'hosts':>10}  {'':8}{'CPU s':>8}{'wall s':>8}{'peak MiB':>10}{'x libyaml':>11}")
    antumbra = [Path(sys.executable).parent / "antumbra"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for text, nodes in (regional(8), regional(1000), hierarchical()):
            graph = folder / "graph.gml"
            graph.write_text(text)
            for hosts in sizes:
                busy, idle = folder / "busy.yaml", folder / "idle.yaml"
                busy.write_text(configuration(graph, hosts, nodes, processes=True))
                idle.write_text(configuration(graph, hosts, nodes, processes=False))
                baseline = measure([sys.executable, "-c", BASELINE, busy])
                tell(len(nodes), hosts, "libyaml", baseline)
                tell(len(nodes), hosts, "check", measure([*antumbra, "check", busy]), baseline[0])
                directory = folder / f"run-{len(nodes)}-{hosts}"
                tell(len(nodes), hosts, "run", measure([*antumbra, "run", idle, "-d", directory]))
                shutil.rmtree(directory)


if __name__ == "__main__":
    main()
