"""What a system call, a hand-over and a process start cost in the simulator, beside the real kernel's own cost.

    python benchmarks/kernel_calls.py

Every figure is the slope between two runs with different counts, so that start-up cancels out; the native run of the
same program, and a raw futex ping-pong, are measured in the same run and on the same core.
"""

from __future__ import annotations

import os
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
    """Return the seconds per repetition of `command COUNT`: the median over a few pairs of runs."""
    differences = [(run([*command, str(many)]) - run([*command, str(few)])) / (many - few) for _ in range(REPEATS)]
    return statistics.median(differences)


def main() -> None:
    """Measure and print the table."""
    # One core for all: they differ on a shared machine, and the shard would choose any.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    table = Table("what", "simulated", "baseline", "ratio", "baseline is", title="Cost of a call")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calls, futex = str(build("calls", folder)), str(build("futex_pingpong", folder))

        def row(what: str, kind: str, few: int, many: int, per: int, baseline: float, meaning: str) -> None:
            ours = slope(lambda command: simulated(folder, command), [calls, kind], few, many) / per
            table.add_row(what, f"{ours * 1e6:.3f} µs", f"{baseline * 1e6:.3f} µs", f"{ours / baseline:.2f}", meaning)

        for kind in ("getppid", "fcntl", "setsockopt"):
            own = slope(native, [calls, kind], 100_000, 2_000_000)
            row(f"{kind}, rewritten site", kind, 100_000, 2_000_000, 1, own, "the same call, natively")
        own = slope(native, [calls, "recv"], 20_000, 300_000)
        row("send + recv, UDP loopback", "recv", 20_000, 300_000, 1, own, "the same calls, natively")
        raw = slope(native, [futex], 20_000, 200_000) / 2
        row("blocking hand-over", "pingpong", 20_000, 200_000, 2, raw, "raw futex ping-pong on one core")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
