"""What the managed processes of each host take of the machine's memory: ``metrics/processes.parquet``.

It belongs to the machine, and has no part in the run's digests.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bridge.metrics import TableRecorder
from bridge.rundir import PROCESSES, RunDirectory
from bridge.simtime import NS_PER_S

_COLUMNS: Final = ("window", "shard", "wall_ns", "host", "processes", "resident_bytes", "proportional_bytes")
_SIZES: Final = re.compile(rb"^(Rss|Pss): +([0-9]+) kB$", re.MULTILINE)

_SHARE: Final = 200
"""One part in so many of the wall-clock time may go into looking: it walks the page tables of every process."""


class ProcessMemoryRecorder:
    """Looks at the managed processes now and then.

    Parameters
    ----------
    directory
        The run's directory.
    shard
        The shard that this process is.
    groups
        Returns the HostId of each real process group of the shard.
    first_ns, interval_ns
        Wall-clock time before the first look, and between two, at least. Where looking takes long, it is done more
        rarely.
    """

    def __init__(
        self,
        directory: RunDirectory,
        shard: int,
        groups: Callable[[], Mapping[int, int]],
        *,
        first_ns: int = NS_PER_S,
        interval_ns: int = 5 * NS_PER_S,
    ) -> None:
        self._table = TableRecorder(directory, PROCESSES, _COLUMNS)
        self._shard = shard
        self._groups = groups
        self._interval = interval_ns
        self._started = time.perf_counter_ns()
        self._next = self._started + first_ns

    def note(self, window: int) -> None:
        """Take notice that a window has ended."""
        if time.perf_counter_ns() >= self._next:
            self.look(window)

    def look(self, window: int) -> None:
        """Add a row for each host with processes."""
        before = time.perf_counter_ns()
        groups = self._groups()
        hosts: dict[int, list[int]] = {}
        for pid in _children():
            try:
                host = groups.get(os.getpgid(pid))
                sizes = _memory(pid) if host is not None else None
            except (ProcessLookupError, FileNotFoundError):  # it has just ended
                continue
            if host is None or sizes is None:
                continue
            total = hosts.setdefault(host, [0, 0, 0])
            for column, value in enumerate((1, *sizes)):
                total[column] += value
        for host, total in sorted(hosts.items()):
            self._table.append((window, self._shard, before - self._started, host, *total))
        after = time.perf_counter_ns()
        self._next = after + max(self._interval, _SHARE * (after - before))

    def close(self) -> None:
        """Write the table. A second call does nothing."""
        self._table.close()


def _children() -> list[int]:
    """Return the real ids of all managed processes: whoever their parents are in the simulation, they are ours."""
    return [int(pid) for pid in Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()]


def _memory(pid: int) -> tuple[int, int] | None:
    """Return the resident and the proportional set size of a process [bytes]; None if it has ended."""
    sizes = {name: int(size) * 1024 for name, size in _SIZES.findall(Path(f"/proc/{pid}/smaps_rollup").read_bytes())}
    return (sizes[b"Rss"], sizes[b"Pss"]) if sizes else None
