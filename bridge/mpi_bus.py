"""The bus between the ranks of an MPI world: one rank is one shard.

Collectives are started without blocking and then waited for here, so that a rank that waits still hears that
another one has failed, that it was told to end, or that nobody has come for too long. What crosses is numbers
and bytes, never pickles. A rank sends to those that it has something for and to nobody else: how many send to it, it
hears from a sum over all ranks. So the rounds of a meeting grow as the logarithm of the number of ranks.

This module may be imported anywhere; MPI itself is loaded when an `MpiBus` is made.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import numpy as np

from bridge.bus import Data, ShardLost
from bridge.errors import InternalError, UserError
from bridge.start_watch import StartWatch

_ABORT_TAG: Final = 7
_PRESENT_TAG: Final = 8
#: Of what is given in a meeting, and one more for every other meeting: nobody is further ahead of another than one.
_DATA_TAG: Final = 10
#: Size of the world and rank in it, as Open MPI, MPICH and its relatives, and MVAPICH tell them.
_WORLD_VARIABLES: Final = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
)
_SPIN_NS: Final = 50_000
_LONGEST_SLEEP_S: Final = 0.001
#: Once told to end by a signal, for how long to go on waiting for the others. Launchers kill soon after.
_HURRIED_S: Final = 0.1
#: How long others get to end in an orderly way before the world is torn down.
_GRACE_S: Final = 2.0
_LARGEST_MESSAGE: Final = 2**31 - 1


def world_size() -> int:
    """Return the number of ranks that an MPI launcher has started this process with; 1 without one."""
    return _world()[0]


def world_rank() -> int:
    """Return this process's rank among them; 0 without a launcher."""
    return _world()[1]


def _world() -> tuple[int, int]:
    for size, rank in _WORLD_VARIABLES:
        if os.environ.get(size, "").isdigit() and os.environ.get(rank, "").isdigit():
            return int(os.environ[size]), int(os.environ[rank])
    return 1, 0


class MpiBus:
    """One rank's end of the world communicator.

    Parameters
    ----------
    patience_s
        Wall-clock time after which a rank that the others wait for is given up. It must be longer than any
        window takes.
    start_patience_s
        The same while the ranks start.
    """

    def __init__(self, *, patience_s: float, start_patience_s: float) -> None:
        import mpi4py

        mpi4py.rc.thread_level = "funneled"
        with StartWatch(world_rank(), start_patience_s):
            try:
                from mpi4py import MPI
            except (ImportError, RuntimeError) as error:
                raise UserError(f"mpiexec started this, but MPI cannot be loaded: {error}") from None

            self._mpi: Any = MPI
            self._world = MPI.COMM_WORLD
            # Failures are told on a communicator of their own: they must not be taken for something else.
            self._comm = MPI.COMM_WORLD.Dup()
            self._side = MPI.COMM_WORLD.Dup()
        self.shard: int = self._comm.Get_rank()
        self.shard_count: int = self._comm.Get_size()
        self._patience = patience_s
        self._hurried_at: float | None = None
        self._exit_code: int | None = None
        self._told: list[Any] = []
        self._closed = False
        self._meetings = 0
        self._receivers = np.zeros(self.shard_count, dtype=np.int32)
        self._senders = np.zeros(self.shard_count, dtype=np.int32)

    def meet(self, outbound: Mapping[int, Data], values: tuple[int, ...]) -> tuple[Mapping[int, Data], tuple[int, ...]]:
        """Allreduce the values with MIN, and how many send to each rank with SUM; see `Bus`."""
        self._meetings += 1
        tag = _DATA_TAG + self._meetings % 2
        own, smallest = np.array(values, dtype=np.int64), np.empty(len(values), dtype=np.int64)
        self._receivers[:] = 0
        sent = []
        for shard, data in outbound.items():
            if not len(data) or shard == self.shard:
                continue
            if len(data) > _LARGEST_MESSAGE:
                raise InternalError(f"a window gives shard {shard} {len(data)} bytes, too many for one message of MPI")
            self._receivers[shard] = 1
            sent.append(self._comm.Isend([data, self._mpi.BYTE], shard, tag))
        agreed = [self._comm.Iallreduce(self._receivers, self._senders, op=self._mpi.SUM)]
        if values:
            agreed.append(self._comm.Iallreduce(own, smallest, op=self._mpi.MIN))
        for request in agreed:
            self._wait(request.Test)
        received: dict[int, Data] = {}
        while len(received) < self._senders[self.shard]:
            shard, data = self._receive(tag)
            received[shard] = data
        for request in sent:
            self._wait(request.Test)
        return dict(sorted(received.items())), tuple(smallest.tolist())

    def share(self, data: bytes) -> list[bytes]:
        """Give `data` to all; see `Bus`."""
        received, _ = self.meet(dict.fromkeys(range(self.shard_count), data), ())
        return [data if shard == self.shard else bytes(received.get(shard, b"")) for shard in range(self.shard_count)]

    def hurry(self) -> None:
        """Do not wait much longer: this process was told to end. Safe to call from a signal handler."""
        if self._hurried_at is None:
            self._hurried_at = time.monotonic()

    def abort(self, reason: str, exit_code: int) -> None:
        """Send the reason to all; `close` then ends the whole world. See `Bus`."""
        if self._exit_code is not None or self._closed:
            return
        self._exit_code = exit_code or 1
        message = json.dumps({"reason": reason, "exit_code": exit_code}).encode()
        for shard in range(self.shard_count):
            if shard != self.shard:
                with suppress(self._mpi.Exception):
                    self._told.append((message, self._side.Isend([message, self._mpi.BYTE], shard, _ABORT_TAG)))

    def close(self) -> None:
        """Leave the world; after a failure, end it for all ranks, which does not return."""
        if self._closed:
            return
        self._closed = True
        if self._exit_code is None:
            return
        # Whoever comes first takes the others with it: leave them the time to write what they have.
        deadline = time.monotonic() + (0 if self._hurried_at else _GRACE_S)
        while time.monotonic() < deadline:
            # Messages only travel while somebody looks.
            self._side.Iprobe(self._mpi.ANY_SOURCE, self._mpi.ANY_TAG)
            time.sleep(0.01)
        self._world.Abort(self._exit_code)

    def _receive(self, tag: int) -> tuple[int, memoryview]:
        """Wait for a message from anybody; return the sender and what it sent."""
        status = self._mpi.Status()
        message: Any = None

        def has_come() -> bool:
            nonlocal message
            message = self._comm.Improbe(self._mpi.ANY_SOURCE, tag, status)
            return message is not None

        self._wait(has_come)
        # Not filled with zeros first, as a bytearray is.
        data = np.empty(status.Get_count(self._mpi.BYTE), np.uint8).data
        request = message.Irecv([data, self._mpi.BYTE])
        self._wait(request.Test)
        return status.Get_source(), data

    def _wait(self, is_over: Callable[[], bool]) -> None:
        """Wait until something is over: eagerly at first, then without taking the core from those who still work."""
        if is_over():
            return
        started = time.perf_counter_ns()
        pause = 0.0
        while not is_over():
            waited = time.perf_counter_ns() - started
            if waited < _SPIN_NS:
                os.sched_yield()
                continue
            self._check_others(waited * 1e-9)
            pause = min(pause + 0.00002, _LONGEST_SLEEP_S)
            time.sleep(pause)

    def _check_others(self, waited_s: float) -> None:
        status = self._mpi.Status()
        if self._side.Iprobe(self._mpi.ANY_SOURCE, _ABORT_TAG, status):
            data = bytearray(status.Get_count(self._mpi.BYTE))
            self._side.Recv([data, self._mpi.BYTE], status.Get_source(), _ABORT_TAG)
            told = json.loads(data)
            raise ShardLost(f"shard {status.Get_source()} failed: {told['reason']}", exit_code=told["exit_code"])
        if self._hurried_at is not None and time.monotonic() - self._hurried_at > _HURRIED_S:
            raise ShardLost("told to end while waiting for the other shards: one of them is gone")
        if waited_s > self._patience:
            missing = ", ".join(map(str, self._missing()))
            raise ShardLost(f"waited more than {self._patience:g} s for shard {missing or '?'}")

    def _missing(self) -> list[int]:
        """Ask who else is waiting: those who do not say so within a moment are those waited for."""
        others = [shard for shard in range(self.shard_count) if shard != self.shard]
        nothing = bytearray(0)
        for shard in others:
            self._told.append(self._side.Isend([nothing, self._mpi.BYTE], shard, _PRESENT_TAG))
        present: set[int] = set()
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline and len(present) < len(others):
            status = self._mpi.Status()
            if self._side.Iprobe(self._mpi.ANY_SOURCE, _PRESENT_TAG, status):
                self._side.Recv([nothing, self._mpi.BYTE], status.Get_source(), _PRESENT_TAG)
                present.add(status.Get_source())
            else:
                time.sleep(0.01)
        return [shard for shard in others if shard not in present]
