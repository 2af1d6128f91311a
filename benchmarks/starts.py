"""What starting a process costs in the simulator, beside the real kernel's own cost for the same program.

    python benchmarks/starts.py [--pairs 7]

A managed process starts the program (`posix_spawn`), waits for its end, and does it again; the baseline is the same,
natively on one core. A figure is the slope between two numbers of repetitions, so the spawning program and the
simulator's own start are not in it; each pair of runs, simulated and native, follows one another, and the ratio is the
median of the pairs' ratios. CPU time is that of all processes together, which other programs disturb little; wall-clock
time has what the processes wait for each other, too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kernel_calls import build, cpu_seconds, native, simulated  # type: ignore[import-not-found]  # beside this file
from rich.console import Console
from rich.table import Table

EMPTY_C = "int main(void) { return 0; }"
EMPTY_GO = "package main\nfunc main() {}"


@dataclass(frozen=True)
class Cost:
    """Seconds of one run, or of one start."""

    wall: float
    cpu: float


def in_simulator(folder: Path, command: list[str]) -> Cost:
    """Run a command as a managed process; wall-clock time is that of the window loop."""
    before = cpu_seconds()
    wall = simulated(folder, command)
    return Cost(wall, cpu_seconds() - before)


def on_machine(command: list[str]) -> Cost:
    """Run a command natively."""
    before = cpu_seconds()
    wall = native(command)
    return Cost(wall, cpu_seconds() - before)


def slope(few: Cost, many: Cost, repetitions: int) -> Cost:
    """Return the cost of one of the repetitions that `many` has more."""
    return Cost((many.wall - few.wall) / repetitions, (many.cpu - few.cpu) / repetitions)


def programs(folder: Path) -> Iterator[tuple[str, list[str], int]]:
    """Yield programs that end at once: what they are, the command, how often it is to be repeated."""
    source = folder / "empty.c"
    source.write_text(EMPTY_C)
    for kind, flags in (("C, static", ["-static"]), ("C, dynamic", [])):
        program = folder / kind.replace(", ", "-")
        subprocess.run(["gcc", "-O2", *flags, "-o", program, source], check=True)
        yield kind, [str(program)], 500
    if shutil.which("go"):
        source, program = folder / "empty.go", folder / "go"
        source.write_text(EMPTY_GO)
        environment = os.environ | {"GOCACHE": str(folder / "cache"), "CGO_ENABLED": "0", "GO111MODULE": "off"}
        subprocess.run(["go", "build", "-o", program, source], check=True, env=environment)
        yield "Go", [str(program)], 200
    python = os.path.realpath(sys.executable)
    yield "CPython, -S -c pass", [python, "-S", "-c", "pass"], 40


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7, help="of runs, for a median")
    pairs = parser.parse_args().pairs
    table = Table("program", "CPU", "natively", "ratio", "wall", "natively", "ratio", title="posix_spawn, run, wait")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calls = str(build("calls", folder))
        for kind, program, count in programs(folder):
            ours, raw = [], []
            for _ in range(pairs):
                few, many = ([calls, "start", *program, str(n)] for n in (count // 10, count // 10 + count))
                ours.append(slope(in_simulator(folder, few), in_simulator(folder, many), count))
                raw.append(slope(on_machine(few), on_machine(many), count))
            row = [kind]
            for figure in ("cpu", "wall"):
                left, right = ([getattr(cost, figure) for cost in costs] for costs in (ours, raw))
                ratio = statistics.median(a / b for a, b in zip(left, right, strict=True))
                row += [f"{statistics.median(one) * 1e6:.0f} µs" for one in (left, right)] + [f"{ratio:.2f}"]
            table.add_row(*row)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
