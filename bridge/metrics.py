"""Metrics of a run: tables of the windows, and totals for ``sim-stats.json``.

``metrics/windows.parquet`` is the same in every run of one experiment, whatever the number of shards. What the
shards exchanged depends on the partition and is in ``metrics/shards.parquet``; what belongs to the machine is in
``metrics/walltime.parquet``. Both have a row per window and shard. ``metrics/links.parquet`` has one per window and
pair of shards of which one sent the other something.
"""

import resource
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bridge.errors import InternalError
from bridge.rundir import LINKS, SHARDS, WALLTIME, WINDOWS, RunDirectory, disk_errors_reported, write_atomically
from bridge.simtime import NEVER, NS_PER_MINUTE, NS_PER_S
from bridge.window import LoopResult, QuietWindows, WindowRecord

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
        self._blocks: list[npt.NDArray[np.int64]] = []
        self._in_blocks = 0
        self._parts: list[Path] = []
        self._totals = np.zeros(len(columns), dtype=np.int64)
        self._closed = False

    def append(self, row: tuple[int, ...]) -> None:
        """Add a row: a value for each column."""
        self._rows.append(row)
        if self._in_blocks + len(self._rows) >= self._rows_per_part:
            self._write_part()

    def append_rows(self, rows: npt.NDArray[np.int64]) -> None:
        """Add rows: int64[rows, columns]."""
        while len(rows):
            self._end_block()
            room = self._rows_per_part - self._in_blocks
            self._add_block(rows[:room])
            rows = rows[room:]
            if self._in_blocks >= self._rows_per_part:
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
        if self._rows or self._blocks or not self._parts:
            self._write_part()
        path = self._folder / f"{self._name}.parquet"
        with disk_errors_reported(path):
            if len(self._parts) > 1:
                self._join_parts(path)
            else:
                self._parts[0].replace(path)

    def _columns(self) -> npt.NDArray[np.int64]:
        self._end_block()
        return np.concatenate([np.zeros((0, len(self._schema)), dtype=np.int64), *self._blocks])

    def _end_block(self) -> None:
        """Put the rows that came one by one where those are that came together."""
        if self._rows:
            self._add_block(np.array(self._rows, dtype=np.int64))
            self._rows.clear()

    def _add_block(self, rows: npt.NDArray[np.int64]) -> None:
        self._blocks.append(rows)
        self._in_blocks += len(rows)

    def _write_part(self) -> None:
        rows = self._columns()
        self._blocks.clear()
        self._in_blocks = 0
        self._totals += rows.sum(axis=0)
        table = pa.Table.from_arrays([pa.array(column) for column in rows.T], schema=self._schema)
        part = self._folder / f"{self._name}-{len(self._parts):05}.parquet"
        _write_parquet(part, table)
        self._parts.append(part)

    def _join_parts(self, path: Path) -> None:
        _write_row_groups(path, self._schema, (pq.read_table(part) for part in self._parts))
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
    shard
        The shard whose windows these are.
    """

    def __init__(self, directory: RunDirectory, participants: Sequence[str], shard: int = 0) -> None:
        self._shard = shard
        self._participants = tuple(participants)
        executed = [f"executed_{name}" for name in participants]
        sent = [f"sent_{name}" for name in participants]
        execute = [f"execute_{name}_ns" for name in participants]
        self._windows = TableRecorder(
            directory,
            WINDOWS,
            ["window", "start_ns", "end_ns", "runahead_ns", *executed, "crossed", "crossed_bytes", "digest"],
        )
        exchanged = [f"{way}{what}" for way in ("sent_to_shards", "received_from_shards") for what in ("", "_bytes")]
        self._shards = TableRecorder(
            directory,
            SHARDS,
            [
                *("window", "shard", *sent, *exchanged, "sent_digest", "received_digest"),
                *("inner", "next_event_ns", "first_arrival_ns"),
            ],
        )
        self._links = TableRecorder(directory, LINKS, ["window", "shard", "to_shard", "events", "bytes"])
        self._walltime = TableRecorder(
            directory,
            WALLTIME,
            [
                *("window", "shard", *execute, "exchange_ns", "encode_ns", "decode_ns"),
                *("meeting_ns", "deliver_ns"),
            ],
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
                record.crossed,
                record.crossed_bytes,
                _signed(record.digest),
            )
        )
        self._shards.append(
            (
                record.number,
                self._shard,
                *record.sent,
                record.sent_to_shards,
                record.sent_to_shards_bytes,
                record.received_from_shards,
                record.received_from_shards_bytes,
                _signed(record.sent_digest),
                _signed(record.received_digest),
                record.inner,
                *(-1 if time == NEVER else time for time in (record.next_event, record.first_arrival)),
            )
        )
        self._walltime.append(
            (
                record.number,
                self._shard,
                *record.execute_wall_ns,
                record.exchange_wall_ns,
                record.encode_wall_ns,
                record.decode_wall_ns,
                record.meeting_wall_ns,
                record.deliver_wall_ns,
            )
        )
        for link in record.links:
            self._links.append((record.number, self._shard, *link))

    def append_quiet(self, windows: QuietWindows) -> None:
        """Add windows in which nothing was told to others."""
        numbers, columns = windows.numbers, windows.windows
        start, end, executed, next_event, wall, digest = columns.T
        none = np.zeros(len(numbers), dtype=np.int64)
        shard = none + self._shard
        self._windows.append_rows(
            np.column_stack(
                (numbers, start, end, none + windows.runahead, windows.of_participants(executed), none, none, digest)
            )
        )
        sent = windows.of_participants(none)
        self._shards.append_rows(
            np.column_stack(
                (numbers, shard, sent, *(none,) * 6, none + 1, np.where(next_event == NEVER, -1, next_event), none - 1)
            )
        )
        self._walltime.append_rows(np.column_stack((numbers, shard, windows.of_participants(wall), *(none,) * 5)))

    def statistics(self, result: LoopResult) -> dict[str, object]:
        """Totals of the run, for ``sim-stats.json``.

        ``wall_seconds_per_simulated_minute`` is None if no time was simulated. ``barrier_idle_fraction`` is
        the share of the loop's wall-clock time in which this shard met the others, and mostly waited for them.
        ``peak_memory_bytes`` is that of this process, without the managed ones.
        """
        work = self._windows.totals()
        exchanged = self._shards.totals()
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
                    "events_sent": exchanged[f"sent_{name}"],
                    "execute_wall_seconds": wall[f"execute_{name}_ns"] / NS_PER_S,
                }
                for name in self._participants
            },
            "exchange_wall_seconds": wall["exchange_ns"] / NS_PER_S,
            "encode_wall_seconds": wall["encode_ns"] / NS_PER_S,
            "decode_wall_seconds": wall["decode_ns"] / NS_PER_S,
            "deliver_wall_seconds": wall["deliver_ns"] / NS_PER_S,
            "barrier_idle_seconds": wall["meeting_ns"] / NS_PER_S,
            "barrier_idle_fraction": wall["meeting_ns"] / result.wall_ns if result.wall_ns else 0.0,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }

    def close(self) -> None:
        """Write the tables."""
        self._windows.close()
        self._shards.close()
        self._links.close()
        self._walltime.close()


def merge_window_tables(
    directory: RunDirectory, shards: Sequence[Path], *, rows_per_part: int = _ROWS_PER_PART
) -> npt.NDArray[np.int64]:
    """Write the tables of a run from those of its shards.

    Parameters
    ----------
    directory
        The run's directory.
    shards
        Folders of the shards' own tables, by shard.
    rows_per_part
        As for `TableRecorder`: with it, the table of windows has the bytes that one shard would have written.

    Returns
    -------
    int64[windows, columns]
        The rows of ``windows.parquet``.

    Raises
    ------
    InternalError
        The shards do not agree about their windows.
    """
    schema, windows = _read_shards(shards, WINDOWS)
    for shard in range(1, len(shards)):
        if not np.array_equal(windows[0, :, :4], windows[shard, :, :4]):
            raise InternalError(f"shards 0 and {shard} have run different windows")
    merged: npt.NDArray[np.int64] = windows.sum(axis=0)
    merged[:, :4] = windows[0, :, :4]
    _write_rows(directory.metrics / f"{WINDOWS}.parquet", schema, merged, rows_per_part)
    for name in (SHARDS, WALLTIME):
        schema, rows = _read_shards(shards, name)
        by_window = rows.transpose(1, 0, 2).reshape(-1, rows.shape[2])
        _write_rows(directory.metrics / f"{name}.parquet", schema, by_window, rows_per_part)
    schema, links = _read_rows(shards, LINKS)
    together = np.concatenate(links)
    in_order = together[np.lexsort((together[:, 2], together[:, 1], together[:, 0]))]
    _write_rows(directory.metrics / f"{LINKS}.parquet", schema, in_order, rows_per_part)
    return merged


def concatenate_tables(directory: RunDirectory, shards: Sequence[Path], name: str) -> None:
    """Write a table of a run from those of its shards, one after the other.

    Parameters
    ----------
    directory
        The run's directory.
    shards
        Folders of the shards' own tables, by shard.
    name
        Name of the table.
    """
    tables = []
    for folder in shards:
        with disk_errors_reported(folder):
            tables.append(pq.read_table(folder / f"{name}.parquet"))
    write_table(directory, name, pa.concat_tables(tables))


def _signed(digest: int) -> int:
    """Return the number with the same 64 bits that fits a signed column."""
    return digest - 2**64 if digest >= 2**63 else digest


def _read_rows(shards: Sequence[Path], name: str) -> tuple[Any, list[npt.NDArray[np.int64]]]:
    """Return the schema of a table, and its rows on each shard: int64[rows, columns]."""
    tables = []
    for folder in shards:
        with disk_errors_reported(folder):
            tables.append(pq.read_table(folder / f"{name}.parquet"))
    rows = [np.stack([column.to_numpy() for column in table.columns], axis=1) for table in tables]
    return tables[0].schema, rows


def _read_shards(shards: Sequence[Path], name: str) -> tuple[Any, npt.NDArray[np.int64]]:
    """Return the schema of a table with a row per window, and its rows on each shard: int64[shards, rows, columns]."""
    schema, rows = _read_rows(shards, name)
    if len({len(part) for part in rows}) > 1:
        raise InternalError(f"the shards have run {[len(part) for part in rows]} windows")
    return schema, np.stack(rows)


def _write_rows(path: Path, schema: Any, rows: npt.NDArray[np.int64], rows_per_part: int) -> None:
    starts = range(0, max(len(rows), 1), rows_per_part)
    parts = (rows[start : start + rows_per_part] for start in starts)
    tables = (pa.Table.from_arrays([pa.array(column) for column in part.T], schema=schema) for part in parts)
    with disk_errors_reported(path):
        _write_row_groups(path, schema, tables)


def _write_row_groups(path: Path, schema: Any, tables: Iterable[Table]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file, pq.ParquetWriter(file, schema) as writer:
            for table in tables:
                writer.write_table(table)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _write_parquet(path: Path, table: Table) -> None:
    # Through memory: pyarrow's own file errors do not always carry an errno.
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    write_atomically(path, buffer.getvalue().to_pybytes())
