"""What a system call, a hand-over and a process start cost in the simulator, beside the real kernel's own cost.

    python benchmarks/kernel_calls.py

Every figure is the slope between two runs with different counts, so that start-up cancels out; the native run of the
same program, or a raw futex ping-pong, takes turns with the simulated one, on the same core. All is CPU time, of all
processes together, so that other programs disturb it little.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

import antumbra

APPS = Path(__file__).parent / "apps"
REPEATS = 5


def build(name: str, folder: Path) -> Path:
    """Compile one of the programs of benchmarks/apps."""
    program = folder / name
    subprocess.run(["gcc", "-O2", "-o", program, APPS / f"{name}.c"], check=True)
    return program


def cpu_seconds() -> float:
    """Return the CPU time of this process and of all that it has waited for, theirs included."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def simulated(folder: Path, command: list[str]) -> float:
    """Return the wall-clock seconds of the window loop of a host that runs nothing but `command`."""
    configuration = folder / "experiment.yaml"
    process = {"path": command[0], "args": command[1:]}
    configuration.write_text(
        yaml.safe_dump(
            {
                "general": {"stop_time": "1 s"},
                "network": {"graph": {"type": "1_gbit_switch"}},
                "hosts": {"alone": {"network_node_id": 0, "processes": [process]}},
            }
        )
    )
    result = antumbra.run(antumbra.load_configuration(configuration), folder / "run")
    if result.failures:
        raise SystemExit(f"{' '.join(command)} failed in the simulator: see {folder / 'run'}")
    return result.loop.wall_ns / 1e9


def native(command: list[str]) -> float:
    """Return the wall-clock seconds of `command` on one core of the real machine."""
    started = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - started


def slope(run: Callable[[list[str]], float], command: list[str], few: int, many: int) -> float:
    """Return the CPU seconds per repetition of `command COUNT`."""
    before = cpu_seconds()
    run([*command, str(few)])
    between = cpu_seconds()
    run([*command, str(many)])
    return (cpu_seconds() - between - (between - before)) / (many - few)


def main() -> None:
    """Measure and print the table."""
    # One core for all: they differ on a shared machine, and the shard would choose any.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    table = Table("what", "simulated", "baseline", "ratio", "baseline is", title="Cost of a call")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calls, futex = str(build("calls", folder)), str(build("futex_pingpong", folder))

        def in_simulator(command: list[str]) -> float:
            return simulated(folder, command)

        def row(what: str, kind: str, repetitions: int, per: int, baseline: list[str], meaning: str) -> None:
            pairs = [
                (
                    slope(in_simulator, [calls, kind], repetitions // 10, repetitions) / per,
                    slope(native, baseline, repetitions // 10, repetitions) / per,
                )
                for _ in range(REPEATS)
            ]
            ours, theirs, ratio = (
                statistics.median(values)
                for values in (
                    [ours for ours, _ in pairs],
                    [theirs for _, theirs in pairs],
                    [ours / theirs for ours, theirs in pairs],
                )
            )
            table.add_row(what, f"{ours * 1e6:.3f} µs", f"{theirs * 1e6:.3f} µs", f"{ratio:.2f}", meaning)

        in_simulator([calls, "getppid", "1"])  # what is loaded once
        for kind in ("getppid", "fcntl", "setsockopt"):
            row(f"{kind}, rewritten site", kind, 5_000_000, 1, [calls, kind], "the same call, natively")
        row("send + recv, UDP loopback", "recv", 500_000, 1, [calls, "recv"], "the same calls, natively")
        row("blocking hand-over", "pingpong", 300_000, 2, [futex], "raw futex ping-pong on one core")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
