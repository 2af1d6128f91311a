"""``windows.log``: what was decided and exchanged in each window, for people and for replay.

One line per window in which something was executed, sent or received. It holds nothing of the machine or the
wall clock, so the logs of two runs of one experiment are equal byte for byte, and their first difference is
where the runs part. Its columns are named in its first lines.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bridge.digests import EMPTY_DIGEST
from bridge.rundir import WINDOWS_LOG, RunDirectory, disk_errors_reported
from bridge.window import WindowRecord

_BUFFERED_BYTES: Final = 64 * 1024


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
        names = ",".join(participants)
        self._lines: list[str] = [
            "# antumbra windows.log 1\n",
            f"# window start_ns end_ns runahead_ns executed[{names}] sent[{names}] crossed crossed_bytes "
            "outbound_digest inbound_digest\n",
        ]
        self._buffered = 0
        self._size = 0
        with disk_errors_reported(self._path):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o666)
        self._flush()

    def append(self, record: WindowRecord) -> None:
        """Add a line if the window had any work."""
        if not (record.crossed or any(record.executed) or any(record.sent)):
            return
        line = (
            f"{record.number} {record.start} {record.end} {record.runahead} {_joined(record.executed)} "
            f"{_joined(record.sent)} {record.crossed} {record.crossed_bytes} {_hex(record.outbound_digest)} "
            f"{_hex(record.inbound_digest)}\n"
        )
        self._lines.append(line)
        self._buffered += len(line)
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


def _joined(values: Sequence[int]) -> str:
    return ",".join(map(str, values)) or "-"


def _hex(digest: bytes) -> str:
    return "-" if digest == EMPTY_DIGEST else digest.hex()
