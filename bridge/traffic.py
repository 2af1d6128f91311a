"""Who sent how much to whom, and what that cost: ``metrics/traffic.parquet``, which also guides partitions.

Hot hosts stand for themselves, under their names. Cold identities are counted in groups, those of one population at
one node of the graph, as ``population@node``: that keeps the table small, and its rows meaningful for a run with
other numbers. Packets that get lost on their way are not counted, nor what stays inside of one host or goes between
identities. The table does not depend on the partition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bridge.batch import EventBatch
from bridge.directory import HostDirectory
from bridge.errors import UserError
from bridge.metrics import write_table
from bridge.rundir import RunDirectory, disk_errors_reported

Table: TypeAlias = Any
Integers: TypeAlias = npt.NDArray[np.int64]

TRAFFIC: Final = "traffic"
#: Stands for all cold identities together where their load is told.
EVERY_IDENTITY: Final = "@"

_SCHEMA: Final = pa.schema(
    [
        ("source", pa.string()),
        ("destination", pa.string()),
        ("packets", pa.int64()),
        ("bytes", pa.int64()),
        ("events", pa.int64()),
        ("calls", pa.int64()),
    ]
)
_COUNTS: Final = ("packets", "bytes", "events", "calls")
_ROWS_BEFORE_ADDING_UP: Final = 65_536


class TrafficError(UserError):
    """A file that is no table of traffic, or one of another experiment."""


@dataclass(frozen=True)
class Groups:
    """Those that are told apart: hot hosts, by HostId; after them groups of identities.

    Attributes
    ----------
    names : tuple of str
        Of each group.
    first : ndarray of int64, shape (groups + 1,)
        First HostId of each, ascending; one past the last host at the end.
    """

    names: tuple[str, ...]
    first: Integers

    @staticmethod
    def of(directory: HostDirectory, node_ids: Sequence[int]) -> Groups:
        """Group the hosts of an experiment.

        Parameters
        ----------
        directory : HostDirectory
        node_ids : sequence of int
            Ids of the graph's nodes, by the numbers that `directory` gives them.
        """
        names = list(directory.hostnames)
        first = list(range(directory.hot_count))
        for cold in directory.ranges:
            node = directory.node[cold.first_id : cold.first_id + cold.count]
            starts = [0, *(np.flatnonzero(np.diff(node)) + 1).tolist()]
            names += [f"{cold.population}@{node_ids[node[start]]}" for start in starts]
            first += [cold.first_id + start for start in starts]
        return Groups(tuple(names), np.array([*first, directory.total_count], dtype=np.int64))

    def of_hosts(self, ids: npt.NDArray[Any]) -> Integers:
        """Return the groups of hosts, by HostId."""
        return np.searchsorted(self.first, ids, side="right").astype(np.int64) - 1


class PacketCount:
    """Packets and bytes between hosts, added up: rows of (source, destination, packets, bytes)."""

    def __init__(self) -> None:
        self._rows: list[Integers] = []
        self._pending = 0

    def add(self, rows: Integers) -> None:
        """Add rows, int64[n, 4]."""
        self._rows.append(rows)
        self._pending += len(rows)
        if self._pending >= _ROWS_BEFORE_ADDING_UP:
            self._rows = [self.rows()]
            self._pending = 0

    def add_batch(self, batch: EventBatch) -> None:
        """Add the packets of a batch."""
        rows = np.ones((len(batch), 4), dtype=np.int64)
        rows[:, 0], rows[:, 1] = batch.source, batch.destination
        rows[:, 3] = np.diff(batch.payload_offset)
        self.add(rows)

    def rows(self) -> Integers:
        """Return one row for each pair, in order: int64[pairs, 4]."""
        rows = np.concatenate([np.zeros((0, 4), dtype=np.int64), *self._rows])
        rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
        starts = np.flatnonzero(np.any(np.diff(rows[:, :2], axis=0, prepend=-1), axis=1))
        if len(starts):
            rows = np.concatenate([rows[starts, :2], np.add.reduceat(rows[:, 2:], starts)], axis=1)
        return rows


def traffic_table(groups: Groups, packets: Integers, loads: Integers, cold_events: int | None) -> Table:
    """Make the table of what one shard knows.

    Parameters
    ----------
    groups : Groups
    packets : int64[n, 4]
        HostIds of source and destination, packets, bytes.
    loads : int64[m, 3]
        Of hot hosts: HostId, events executed, system calls.
    cold_events
        Executed by the cold identities here; None without any.
    """
    count = PacketCount()
    grouped = packets.copy()
    grouped[:, 0], grouped[:, 1] = groups.of_hosts(packets[:, 0]), groups.of_hosts(packets[:, 1])
    count.add(grouped)
    rows = count.rows()
    names = np.array([*groups.names, EVERY_IDENTITY], dtype=object)
    done = loads
    if cold_events is not None:
        done = np.append(loads, np.array([[len(names) - 1, cold_events, 0]], dtype=np.int64), axis=0)
    pairs = pa.table(
        {
            "source": pa.array(names[rows[:, 0]], pa.string()),
            "destination": pa.array(names[rows[:, 1]], pa.string()),
            "packets": rows[:, 2],
            "bytes": rows[:, 3],
            "events": pa.nulls(len(rows), pa.int64()),
            "calls": pa.nulls(len(rows), pa.int64()),
        },
        _SCHEMA,
    )
    nothing = pa.nulls(len(done), pa.int64())
    own = pa.table(
        {
            "source": pa.array(names[done[:, 0]], pa.string()),
            "destination": pa.nulls(len(done), pa.string()),
            "packets": nothing,
            "bytes": nothing,
            "events": done[:, 1],
            "calls": done[:, 2],
        },
        _SCHEMA,
    )
    return merge_traffic([pairs, own])


def merge_traffic(tables: Sequence[Table]) -> Table:
    """Make one table of those of all shards: counts added up, in order of source and destination."""
    added_up = pa.concat_tables(tables).group_by(["source", "destination"]).aggregate([(c, "sum") for c in _COUNTS])
    table = added_up.select(["source", "destination", *(f"{name}_sum" for name in _COUNTS)]).cast(
        pa.schema([(f"{f.name}_sum" if f.name in _COUNTS else f.name, f.type) for f in _SCHEMA])
    )
    by_name = [("source", "ascending"), ("destination", "ascending")]
    return table.rename_columns(_SCHEMA.names).sort_by(by_name).combine_chunks()


def merge_traffic_tables(directory: RunDirectory, shards: Sequence[Path]) -> None:
    """Write the table of a run from those of its shards, given the folders of their tables."""
    tables = []
    for folder in shards:
        with disk_errors_reported(folder):
            tables.append(pq.read_table(folder / f"{TRAFFIC}.parquet"))
    write_table(directory, TRAFFIC, merge_traffic(tables))


@dataclass(frozen=True)
class Hints:
    """What a run has measured, of those groups that an experiment has.

    Attributes
    ----------
    pairs : int64[n, 3]
        Groups of source and destination, packets.
    loads : dict of int to (int, int)
        Events executed and system calls of hot hosts, by HostId.
    cold_events : int or None
        Events executed by all identities together; None if there were none.
    """

    pairs: Integers
    loads: Mapping[int, tuple[int, int]]
    cold_events: int | None


def read_hints(path: Path, groups: Groups) -> Hints:
    """Read a table of traffic as hints for another run.

    Rows of hosts that the experiment does not have are left out: it may have changed since.

    Raises
    ------
    TrafficError
        It cannot be read, is no such table, or none of its hosts is in the experiment.
    """
    with disk_errors_reported(path):
        try:
            table = pq.read_table(path)
        except pa.ArrowInvalid as error:
            raise TrafficError(f"not a Parquet file: {error}", where=str(path)) from None
    missing = [field.name for field in _SCHEMA if field.name not in table.schema.names]
    if missing:
        raise TrafficError(
            f"not a table of traffic: it lacks {', '.join(missing)}",
            where=str(path),
            hint="metrics/traffic.parquet in the directory of a run is one",
        )
    try:
        table = table.select(_SCHEMA.names).cast(_SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TrafficError(f"not a table of traffic: {error}", where=str(path)) from None
    group_of = {name: number for number, name in enumerate(groups.names)}
    pairs: list[tuple[int, int, int]] = []
    loads: dict[int, tuple[int, int]] = {}
    cold_events: int | None = None
    for row in table.to_pylist():
        source, destination = group_of.get(row["source"]), group_of.get(row["destination"])
        if row["destination"] is None and row["source"] == EVERY_IDENTITY:
            cold_events = row["events"] or 0
        elif row["destination"] is None and source is not None:
            loads[source] = (row["events"] or 0, row["calls"] or 0)
        elif source is not None and destination is not None:
            pairs.append((source, destination, max(row["packets"] or 0, 0)))
    if not pairs and not loads and cold_events is None:
        raise TrafficError("none of its hosts is in the experiment", where=str(path))
    return Hints(np.array(pairs, dtype=np.int64).reshape(-1, 3), loads, cold_events)
