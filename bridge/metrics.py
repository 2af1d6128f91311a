"""Metrics of a run: tables of the windows, and totals for ``sim-stats.json``.

``metrics/windows.parquet`` is the same in every run of one experiment; what belongs to the machine it ran on
is in ``metrics/walltime.parquet``, with the same rows.
"""

import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bridge.rundir import WALLTIME, RunDirectory, disk_errors_reported, write_atomically
from bridge.simtime import NS_PER_MINUTE, NS_PER_S
from bridge.window import LoopResult, WindowRecord

Table: TypeAlias = Any

#: Rows kept in memory before they go to disk: a few megabytes, and a part every few seconds of a busy run.
_ROWS_PER_PART: Final = 16_384


def write_table(directory: RunDirectory, name: str, table: Table) -> None:
    """Write ``metrics/<name>.parquet`` at once, of a `pyarrow.Table`."""
    _write_parquet(directory.metrics / f"{name}.parquet", table)


class TableRecorder:
    """A table of int64 columns that grows row by row and is too long to keep.

    Every so many rows it writes a part, ``metrics/<name>-<number>.parquet``, a whole file that stays readable
    if the run does not end well. Closing joins the parts as row groups of ``metrics/<name>.parquet``.

    Parameters
    ----------
    directory
        The run's directory.
    name
        Name of the table.
    columns
        Names of its columns.
    rows_per_part
        Rows that are kept in memory.
    """

    def __init__(
        self,
        directory: RunDirectory,
        name: str,
        columns: Sequence[str],
        *,
        rows_per_part: int = _ROWS_PER_PART,
    ) -> None:
        self._folder = directory.metrics
        self._name = name
        self._schema = pa.schema([(column, pa.int64()) for column in columns])
        self._rows_per_part = rows_per_part
        self._rows: list[tuple[int, ...]] = []
        self._parts: list[Path] = []
        self._totals = np.zeros(len(columns), dtype=np.int64)
        self._closed = False

    def append(self, row: tuple[int, ...]) -> None:
        """Add a row: a value for each column."""
        self._rows.append(row)
        if len(self._rows) >= self._rows_per_part:
            self._write_part()

    def totals(self) -> dict[str, int]:
        """Sum of each column over all rows so far."""
        totals = self._totals + self._columns().sum(axis=0)
        return {name: int(total) for name, total in zip(self._schema.names, totals, strict=True)}

    def close(self) -> None:
        """Write the table. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._rows or not self._parts:
            self._write_part()
        path = self._folder / f"{self._name}.parquet"
        with disk_errors_reported(path):
            if len(self._parts) > 1:
                self._join_parts(path)
            else:
                self._parts[0].replace(path)

    def _columns(self) -> npt.NDArray[np.int64]:
        return np.array(self._rows, dtype=np.int64).reshape(len(self._rows), len(self._schema))

    def _write_part(self) -> None:
        rows = self._columns()
        self._rows.clear()
        self._totals += rows.sum(axis=0)
        table = pa.Table.from_arrays([pa.array(column) for column in rows.T], schema=self._schema)
        part = self._folder / f"{self._name}-{len(self._parts):05}.parquet"
        _write_parquet(part, table)
        self._parts.append(part)

    def _join_parts(self, path: Path) -> None:
        partial = path.with_name(f".{path.name}.partial")
        try:
            with partial.open("wb") as file, pq.ParquetWriter(file, self._schema) as writer:
                for part in self._parts:
                    writer.write_table(pq.read_table(part))
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        for part in self._parts:
            part.unlink()


class WindowMetrics:
    """Records every window of a shard.

    Parameters
    ----------
    directory
        The run's directory.
    participants
        Names of the participants, in the order of the record's columns.
    """

    def __init__(self, directory: RunDirectory, participants: Sequence[str]) -> None:
        self._participants = tuple(participants)
        executed = [f"executed_{name}" for name in participants]
        sent = [f"sent_{name}" for name in participants]
        execute = [f"execute_{name}_ns" for name in participants]
        self._windows = TableRecorder(
            directory,
            "windows",
            ["window", "start_ns", "end_ns", "runahead_ns", *executed, *sent, "crossed", "crossed_bytes"],
        )
        self._walltime = TableRecorder(
            directory, WALLTIME, ["window", *execute, "exchange_ns", "deliver_ns", "reduce_ns"]
        )

    def append(self, record: WindowRecord) -> None:
        """Add one window."""
        self._windows.append(
            (
                record.number,
                record.start,
                record.end,
                record.runahead,
                *record.executed,
                *record.sent,
                record.crossed,
                record.crossed_bytes,
            )
        )
        self._walltime.append(
            (
                record.number,
                *record.execute_wall_ns,
                record.exchange_wall_ns,
                record.deliver_wall_ns,
                record.reduce_wall_ns,
            )
        )

    def statistics(self, result: LoopResult) -> dict[str, object]:
        """Totals of the run, for ``sim-stats.json``.

        ``wall_seconds_per_simulated_minute`` is None if no time was simulated. ``barrier_idle_fraction`` is
        the share of the loop's wall-clock time in which this shard waited to agree with the others.
        ``peak_memory_bytes`` is that of this process, without the managed ones.
        """
        work = self._windows.totals()
        wall = self._walltime.totals()
        minutes = result.reached_ns / NS_PER_MINUTE
        wall_seconds = result.wall_ns / NS_PER_S
        return {
            "windows": result.windows,
            "simulated_seconds": result.reached_ns / NS_PER_S,
            "wall_seconds": wall_seconds,
            "wall_seconds_per_simulated_minute": wall_seconds / minutes if minutes else None,
            "events_crossed": work["crossed"],
            "bytes_crossed": work["crossed_bytes"],
            "participants": {
                name: {
                    "events_executed": work[f"executed_{name}"],
                    "events_sent": work[f"sent_{name}"],
                    "execute_wall_seconds": wall[f"execute_{name}_ns"] / NS_PER_S,
                }
                for name in self._participants
            },
            "exchange_wall_seconds": wall["exchange_ns"] / NS_PER_S,
            "deliver_wall_seconds": wall["deliver_ns"] / NS_PER_S,
            "barrier_idle_seconds": wall["reduce_ns"] / NS_PER_S,
            "barrier_idle_fraction": wall["reduce_ns"] / result.wall_ns if result.wall_ns else 0.0,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }

    def close(self) -> None:
        """Write both tables."""
        self._windows.close()
        self._walltime.close()


def _write_parquet(path: Path, table: Table) -> None:
    # Through memory: pyarrow's own file errors do not always carry an errno.
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    write_atomically(path, buffer.getvalue().to_pybytes())
