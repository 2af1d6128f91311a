"""What the machine gives to a shard while it runs: ``metrics/usage.parquet``, a row about every second.

It belongs to the machine, and has no part in the run's digests.
"""

import os
import resource
import time
from pathlib import Path
from typing import Final

from bridge.metrics import TableRecorder
from bridge.rundir import USAGE, RunDirectory
from bridge.simtime import NS_PER_S

_COLUMNS: Final = (
    "window",
    "shard",
    "wall_ns",
    "user_cpu_ns",
    "system_cpu_ns",
    "resident_bytes",
    "virtual_bytes",
    "descriptors",
    "processes",
)
_PAGE_BYTES: Final = resource.getpagesize()


class UsageRecorder:
    """Looks at this process now and then.

    Parameters
    ----------
    directory
        The run's directory.
    shard
        The shard that this process is.
    interval_ns
        Wall-clock time between two rows, at least.
    """

    def __init__(self, directory: RunDirectory, shard: int, *, interval_ns: int = NS_PER_S) -> None:
        self._table = TableRecorder(directory, USAGE, _COLUMNS)
        self._shard = shard
        self._interval = interval_ns
        self._started = self._last = time.perf_counter_ns()
        self._window = 0
        self._closed = False

    def note(self, window: int) -> None:
        """Take notice that a window has ended."""
        self._window = window
        now = time.perf_counter_ns()
        if now - self._last >= self._interval:
            self._last = now
            self._table.append(self._row(now))

    def close(self) -> None:
        """Add a last row and write the table. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._table.append(self._row(time.perf_counter_ns()))
            self._table.close()

    def _row(self, now: int) -> tuple[int, ...]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        virtual, resident = (int(pages) * _PAGE_BYTES for pages in Path("/proc/self/statm").read_text().split()[:2])
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        return (
            self._window,
            self._shard,
            now - self._started,
            round(used.ru_utime * NS_PER_S),
            round(used.ru_stime * NS_PER_S),
            resident,
            virtual,
            sum(1 for _ in Path("/proc/self/fd").iterdir()),
            len(children.split()),
        )
