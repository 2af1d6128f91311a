"""What a window costs in which hardly anything happens.

    python benchmarks/windows.py [--windows 50000]

One managed process sleeps for a millisecond, again and again, so that each window of a millisecond has one event and
two hand-overs. `in a row` the engine goes on by itself; `one by one` another participant, which does nothing, has an
event in each window, too. Both without anything that records windows, and with the log and the tables of a run. The
baseline is the raw futex ping-pong of two processes, there and back, on the same core. CPU time of all processes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from packets import Pair, cpu_ns, process  # type: ignore[import-not-found]
from rich.console import Console
from rich.table import Table

from bridge.batch import EventBatch
from bridge.bus import InProcessBus
from bridge.metrics import WindowMetrics
from bridge.participant import Nobody
from bridge.simtime import NS_PER_MS, NS_PER_S
from bridge.window import QuietWindows, Runahead, WindowLoop, WindowRecord
from bridge.window_log import WindowLog

APPS = Path(__file__).parent / "apps"
ROUNDS = 3


class Awake(Nobody):
    """Has an event in each window, and does nothing."""

    def __init__(self) -> None:
        self._next = 0

    def next_event_time(self) -> int:
        """Return when the next window starts."""
        return self._next

    def run_until(self, window_end: int) -> EventBatch:
        """Have the next event as soon as possible."""
        self._next = window_end
        return EventBatch.empty()


def window_ns(folder: Path, program: Path, windows: int, one_by_one: bool, recorded: bool) -> float:
    """Return the CPU time of a window."""
    pair = Pair(folder, 10**9, ((process(program, str(10 * windows)),), ()))
    participants = [pair.shard, Awake()] if one_by_one else [pair.shard]
    names = ("hot", "cold")[: len(participants)]
    log, metrics = WindowLog(pair.run_directory, names), WindowMetrics(pair.run_directory, names)

    def on_window(window: WindowRecord) -> None:
        log.append(window)
        metrics.append(window)

    def on_quiet_windows(quiet: QuietWindows) -> None:
        log.append_quiet(quiet)
        metrics.append_quiet(quiet)

    loop = WindowLoop(
        participants,
        lambda ids: ids * 0,
        InProcessBus(),
        runahead=Runahead(NS_PER_MS),
        stop_time_ns=NS_PER_S + windows * NS_PER_MS,
        on_window=on_window if recorded else None,
        on_quiet_windows=on_quiet_windows if recorded else None,
    )
    pair.shard.run_until(NS_PER_S)
    before = time.process_time_ns() + children_ns(pair)
    loop.run()
    spent = time.process_time_ns() + children_ns(pair) - before
    log.close()
    metrics.close()
    pair.close()
    return spent / loop.window


def children_ns(pair: Pair) -> int:
    """Return the CPU time of the managed process so far [ns]."""
    (pid,) = pair.shard.process_groups()
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def ping_pong_ns(program: Path, count: int) -> float:
    """Return the CPU time of two raw hand-overs."""
    before = cpu_ns()
    subprocess.run([program, str(count)], check=True, stdout=subprocess.DEVNULL)
    spent: int = cpu_ns() - before
    return spent / count


def main() -> None:
    """Measure and print."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--windows", type=int, default=50_000)
    windows = parser.parse_args().windows
    ways = [(one_by_one, recorded) for recorded in (False, True) for one_by_one in (False, True)]
    costs: dict[tuple[bool, bool], list[float]] = {way: [] for way in ways}
    raw = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for program in ("ticks", "futex_pingpong"):
            subprocess.run(["gcc", "-O2", "-o", folder / program, APPS / f"{program}.c"], check=True)
        for turn in range(ROUNDS):
            for i, way in enumerate(ways):
                costs[way].append(window_ns(folder / f"run{turn}{i}", folder / "ticks", windows, *way))
            raw.append(ping_pong_ns(folder / "futex_pingpong", windows))
    baseline = statistics.median(raw)
    table = Table("windows", "recorded", "a window", "ratio", title="Quiet windows")
    for one_by_one, recorded in ways:
        cost = statistics.median(costs[one_by_one, recorded])
        table.add_row(
            "one by one" if one_by_one else "in a row",
            "yes" if recorded else "no",
            f"{cost / 1e3:.1f} µs",
            f"{cost / baseline:.2f}",
        )
    table.add_row("raw ping-pong", "", f"{baseline / 1e3:.1f} µs", "1")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
