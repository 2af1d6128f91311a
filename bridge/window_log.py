"""``windows.log``: what was decided and exchanged in each window, for people and for replay.

One line per window in which something was executed or sent. It holds nothing of the machine, the wall clock or
the partition, so the logs of two runs of one experiment are equal byte for byte, and their first difference is
where the runs part. Its columns are named in its first lines; the digest is the sum of the fingerprints of all
events that hosts caused for other hosts (docs/formats.md).
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from bridge.rundir import WINDOWS_LOG, RunDirectory, disk_errors_reported, write_atomically
from bridge.window import QuietWindows, WindowRecord

_BUFFERED_BYTES: Final = 64 * 1024
_MASK: Final = 2**64 - 1


class WindowLog:
    """Writes ``windows.log``.

    Lines are collected and written many at a time. A write that the disk cuts short is taken back to the last
    complete line, so the file never ends in half of one.

    Parameters
    ----------
    directory
        The run's directory.
    participants
        Names of the participants, in the order of the record's columns.
    """

    def __init__(self, directory: RunDirectory, participants: Sequence[str]) -> None:
        self._path: Path = directory.path / WINDOWS_LOG
        self._lines: list[str] = [_heading(participants)]
        self._buffered = 0
        self._size = 0
        with disk_errors_reported(self._path):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o666)
        self._flush()

    def append(self, record: WindowRecord) -> None:
        """Add a line if the window had any work."""
        line = _line(
            record.number,
            record.start,
            record.end,
            record.runahead,
            record.executed,
            record.crossed,
            record.crossed_bytes,
            record.digest,
        )
        self._add(line)

    def append_quiet(self, windows: QuietWindows) -> None:
        """Add a line for each window that had any work."""
        before, after = (0,) * windows.position, (0,) * (windows.participants - windows.position - 1)
        rows = enumerate(windows.windows.tolist(), windows.number)
        self._add(
            "".join(
                _line(number, start, end, windows.runahead, (*before, executed, *after), 0, 0, digest)
                for number, (start, end, executed, _, _, digest) in rows
            )
        )

    def _add(self, lines: str) -> None:
        if not lines:
            return
        self._lines.append(lines)
        self._buffered += len(lines)
        if self._buffered >= _BUFFERED_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left. A second call does nothing."""
        if self._file < 0:
            return
        try:
            self._flush()
        finally:
            os.close(self._file)
            self._file = -1

    def _flush(self) -> None:
        data = "".join(self._lines).encode()
        self._lines.clear()
        self._buffered = 0
        written = 0
        with disk_errors_reported(self._path):
            try:
                while written < len(data):
                    written += os.write(self._file, data[written:])
            except OSError:
                os.ftruncate(self._file, self._size + data.rfind(b"\n", 0, written) + 1)
                raise
        self._size += len(data)


def write_window_log(directory: RunDirectory, participants: Sequence[str], rows: Iterable[Sequence[int]]) -> None:
    """Write ``windows.log`` at once.

    Parameters
    ----------
    directory
        The run's directory.
    participants
        Names of the participants.
    rows
        Those of ``metrics/windows.parquet``.
    """
    last = 4 + len(participants)
    lines = [_heading(participants)]
    for row in rows:
        number, start, end, runahead = row[:4]
        crossed, crossed_bytes, digest = row[last:]
        lines.append(_line(number, start, end, runahead, row[4:last], crossed, crossed_bytes, digest))
    write_atomically(directory.path / WINDOWS_LOG, "".join(lines).encode())


def _heading(participants: Sequence[str]) -> str:
    return (
        "# antumbra windows.log 2\n"
        f"# window start_ns end_ns runahead_ns executed[{','.join(participants)}] crossed crossed_bytes digest\n"
    )


def _line(
    number: int, start: int, end: int, runahead: int, executed: Sequence[int], crossed: int, size: int, digest: int
) -> str:
    """Return the line of a window; nothing for one without any work."""
    if not (crossed or digest or any(executed)):
        return ""
    counts = ",".join(map(str, executed)) or "-"
    return f"{number} {start} {end} {runahead} {counts} {crossed} {size} {digest & _MASK:016x}\n"
