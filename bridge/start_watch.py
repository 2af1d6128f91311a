"""A watch over the start of an MPI world: a rank that never comes must not hold up the others for ever.

MPI cannot be asked for a time limit while it starts, and nothing else of this process runs meanwhile, no signal
handler and no thread of Python's. So a small process watches from outside, which is gone once the start succeeds.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

#: Between being asked to end and being made to.
_GRACE_S: Final = 2.0


class StartWatch:
    """Ends this process, with a line in its log, unless the block is left in time.

    Parameters
    ----------
    rank
        Of this process, for the log.
    patience_s
        Wall-clock time for the block.
    """

    def __init__(self, rank: int, patience_s: float) -> None:
        self._rank = rank
        self._patience = patience_s

    def __enter__(self) -> Self:
        parent = os.getpid()
        read_end, self._write_end = os.pipe()
        self._watcher = os.fork()
        if self._watcher == 0:
            os.close(self._write_end)
            self._watch(parent, read_end)
        os.close(read_end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write_end)
        with suppress(ChildProcessError):
            os.waitpid(self._watcher, 0)

    def _watch(self, parent: int, read_end: int) -> None:
        # The pipe closes when the parent leaves the block, or ends in whatever way.
        if not select.select([read_end], [], [], self._patience)[0]:
            message = (
                f"ERROR antumbra: shard {self._rank}, before window 0: waited more than {self._patience:g} s for all "
                "ranks to start: one of them never came\n"
            )
            with suppress(OSError):
                os.write(2, message.encode())
            for number in (signal.SIGTERM, signal.SIGKILL):
                if os.getppid() == parent:
                    os.kill(parent, number)
                    select.select([read_end], [], [], _GRACE_S)
        os._exit(0)
