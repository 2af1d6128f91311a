"""Showing how far a run is: a line rewritten on a terminal, lines at growing intervals elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self, TextIO

from bridge.simtime import NS_PER_S

_FIRST_INTERVAL_S: Final = 1.0
_INTERVAL_GROWTH: Final = 1.5


class Progress:
    """Called with the simulated time that was reached.

    Parameters
    ----------
    stop_time_ns
        Where the run ends.
    stream
        Where to write.
    enabled
        Write nothing if not.
    """

    def __init__(self, stop_time_ns: int, stream: TextIO, *, enabled: bool) -> None:
        self._stop_time_ns = stop_time_ns
        self._stream = stream
        self._enabled = enabled
        self._terminal = stream.isatty()
        self._started = time.monotonic()
        self._interval = 0.25 if self._terminal else _FIRST_INTERVAL_S
        self._next = self._started
        self._dirty = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._dirty:
            self._stream.write("\n")
            self._stream.flush()

    def __call__(self, reached_ns: int) -> None:
        now = time.monotonic()
        finished = reached_ns >= self._stop_time_ns
        if not self._enabled or (now < self._next and not finished):
            return
        elapsed = now - self._started
        speed = reached_ns / NS_PER_S / elapsed if elapsed else 0.0
        line = (
            f"{reached_ns / self._stop_time_ns:4.0%}  simulated {reached_ns / NS_PER_S:.3f} s of "
            f"{self._stop_time_ns / NS_PER_S:.3f} s  wall {elapsed:.1f} s  {speed:.2f} simulated s per s"
        )
        if self._terminal:
            self._stream.write(f"\r\x1b[K{line}")
            self._dirty = True
        else:
            self._stream.write(line + "\n")
            self._interval *= _INTERVAL_GROWTH
        self._stream.flush()
        self._next = now + self._interval
