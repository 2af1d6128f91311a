"""Compares the simulator's TCP with Linux's over a grid of networks: ``python -m tests.fidelity.report``.

Prints a table, one line for each combination of round-trip time, bandwidth, loss and size, and draws a picture. Where
there is loss, completion times are medians over several loss schedules: one lost packet more or less at the wrong
moment changes a single transfer by more than the difference between two implementations of TCP.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from tests.fidelity.grid import Cell, NotPossibleError, Times, build_relay, cells, run_in_simulator, run_on_linux
from tests.system.experiment import Laboratory, build_apps

RTTS_MS: Final = (10, 40, 160)
RATES_BPS: Final = (2_000_000, 10_000_000, 50_000_000)
LOSSES: Final = (0.0, 0.001, 0.01)
SIZES: Final = (30_000, 300_000, 3_000_000)
REPEATS: Final = 9
STOP_TIME_S: Final = 600
#: The client and the server of the transfers, in tests/apps.
TRANSFER_PROGRAMS: Final = "tcp_*"
#: Transfers wait for the network most of the time.
_AT_ONCE: Final = 8


@dataclass(frozen=True)
class Comparison:
    """One kind of transfer: what Linux took and what the simulator took, medians over loss schedules [s]."""

    cell: Cell
    linux_s: float
    simulator_s: float

    @property
    def error(self) -> float:
        """How much longer the simulator's transfer took, as a share of Linux's."""
        return self.simulator_s / self.linux_s - 1

    @property
    def goodput_bps(self) -> tuple[float, float]:
        """Bits of data per second: Linux's and the simulator's."""
        return 8 * self.cell.size / self.linux_s, 8 * self.cell.size / self.simulator_s


def compare(grid: Sequence[Cell], on_linux: Sequence[Times], simulated: Sequence[Times]) -> list[Comparison]:
    """Put the completion times of both side by side, repeats together."""
    times: dict[Cell, tuple[list[float], list[float]]] = {}
    for cell, linux, simulator in zip(grid, on_linux, simulated, strict=True):
        together = times.setdefault(cell.first_repeat(), ([], []))
        together[0].append(linux.completed)
        together[1].append(simulator.completed)
    return [Comparison(cell, statistics.median(a), statistics.median(b)) for cell, (a, b) in times.items()]


def median_error(comparisons: Sequence[Comparison]) -> float:
    """Return the median of the errors' sizes."""
    return statistics.median(abs(comparison.error) for comparison in comparisons)


def _table(comparisons: Sequence[Comparison]) -> Table:
    table = Table("RTT", "rate", "loss", "size", "Linux", "simulator", "goodput", "error", title="Completion times")
    for column in table.columns:
        column.justify = "right"
    for comparison in comparisons:
        cell, (_, goodput) = comparison.cell, comparison.goodput_bps
        table.add_row(
            f"{cell.rtt_ms} ms",
            f"{cell.rate_bps / 1e6:g} Mbit/s",
            f"{cell.loss:.1%}",
            f"{cell.size / 1000:g} kB",
            f"{comparison.linux_s:.3f} s",
            f"{comparison.simulator_s:.3f} s",
            f"{goodput / 1e6:.2f} Mbit/s",
            f"{comparison.error:+.1%}",
        )
    return table


def draw(comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw the simulator's completion times over Linux's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.add_subplot()
    ends = [extreme(comparison.linux_s for comparison in comparisons) for extreme in (min, max)]
    line = [ends[0] / 1.5, ends[1] * 1.5]
    axes.fill_between(line, [0.9 * x for x in line], [1.1 * x for x in line], alpha=0.2, color="gray", label="± 10 %")
    axes.plot(line, line, color="gray", linewidth=0.8)
    for loss in sorted({comparison.cell.loss for comparison in comparisons}):
        chosen = [comparison for comparison in comparisons if comparison.cell.loss == loss]
        axes.scatter(
            [comparison.linux_s for comparison in chosen],
            [comparison.simulator_s for comparison in chosen],
            s=[12 * math.log10(comparison.cell.size / 1000) for comparison in chosen],
            label=f"loss {loss:.1%}",
        )
    axes.set(xscale="log", yscale="log", xlabel="Linux [s]", ylabel="simulator [s]")
    axes.set_title("TCP completion times (CUBIC)")
    axes.legend()
    figure.savefig(path, dpi=120)


def main(
    picture: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("tcp-fidelity.png"),
    repeats: Annotated[int, typer.Option(min=1, help="Loss schedules of each kind of transfer.")] = REPEATS,
) -> None:
    """Run the whole grid on Linux and in the simulator, and compare."""
    grid = cells(RTTS_MS, RATES_BPS, LOSSES, SIZES, repeats)
    console = Console(width=110)
    with TemporaryDirectory() as name:
        folder = Path(name)
        apps, relay = build_apps(folder, TRANSFER_PROGRAMS), build_relay(folder)
        simulated = run_in_simulator(grid, Laboratory(folder), apps, STOP_TIME_S)
        try:
            on_linux = run_on_linux(grid, relay, apps, _AT_ONCE)
        except NotPossibleError as error:
            sys.exit(f"not possible here: {error}")
    comparisons = compare(grid, on_linux, simulated)
    console.print(_table(comparisons))
    for loss in LOSSES:
        some = [comparison for comparison in comparisons if comparison.cell.loss == loss]
        largest = max(abs(comparison.error) for comparison in some)
        console.print(f"loss {loss:.1%}: median error {median_error(some):.1%}, largest {largest:.1%}")
    console.print(f"median error {median_error(comparisons):.1%}")
    draw(comparisons, picture)


if __name__ == "__main__":
    typer.run(main)
