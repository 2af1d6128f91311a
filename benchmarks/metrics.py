"""What it costs to record metrics: their share of a run's wall-clock time.

    python benchmarks/metrics.py [CONFIG]

Runs an experiment (the quickstart) with clocks around everything that records: the window log, the tables of windows,
the usage of the machine. The raw baseline is the run's own time without them. The counts and clocks that the window
loop reads for them are not in it: a dozen calls a window.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from antumbra.cli import run_command
from bridge.metrics import WindowMetrics
from bridge.usage import UsageRecorder
from bridge.window_log import WindowLog
from hot.process_memory import ProcessMemoryRecorder

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
RECORDERS = (
    (WindowMetrics, ("append", "append_quiet", "close")),
    (WindowLog, ("append", "append_quiet", "close")),
    (UsageRecorder, ("note", "close")),
    (ProcessMemoryRecorder, ("look", "close")),
)


class Clock:
    """Adds up the time of calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.ns = 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, timed."""

        def timed(*arguments: Any, **keys: Any) -> Any:
            before = time.perf_counter_ns()
            try:
                return function(*arguments, **keys)
            finally:
                self.ns += time.perf_counter_ns() - before
                self.calls += 1

        return timed


def main() -> None:
    """Run the experiment and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path, default=CONFIG)
    config = parser.parse_args().config
    clocks = {}
    for recorder, methods in RECORDERS:
        for method in methods:
            clock = clocks[f"{recorder.__name__}.{method}"] = Clock()
            setattr(recorder, method, clock.around(getattr(recorder, method)))
    with TemporaryDirectory() as folder:
        started = time.perf_counter_ns()
        code = run_command(["run", str(config), "-d", str(Path(folder) / "run")])
        wall_ns = time.perf_counter_ns() - started
    if code:
        raise SystemExit(code)
    table = Table("recording", "calls", "µs each", "share of the run", title=f"Metrics of {config.name}")
    for name, clock in clocks.items():
        each = clock.ns / max(clock.calls, 1) / 1e3
        table.add_row(name, f"{clock.calls:,}", f"{each:.1f}", f"{clock.ns / wall_ns:.2%}")
    recording = sum(clock.ns for clock in clocks.values())
    table.add_row("all", "", "", f"{recording / (wall_ns - recording):.2%}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
