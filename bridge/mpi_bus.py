"""The bus between the ranks of an MPI world: one rank is one shard.

Collectives are started without blocking and then waited for here, so that a rank that waits still hears that
another one has failed, that it was told to end, or that nobody has come for too long. What crosses is numbers
and batches in their wire format, never pickles.

This module may be imported anywhere; MPI itself is loaded when an `MpiBus` is made.
"""

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch
from bridge.bus import ExchangeCost, ShardLost, exchange_batches
from bridge.errors import InternalError, UserError
from bridge.start_watch import StartWatch

_ABORT_TAG: Final = 7
_PRESENT_TAG: Final = 8
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
_LARGEST_EXCHANGE: Final = 2**31 - 1


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
        self.cost = ExchangeCost()

    def allreduce_min(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """Allreduce with MIN; see `Bus`."""
        sent = np.array(values, dtype=np.int64)
        received = np.empty_like(sent)
        self._finish(self._comm.Iallreduce(sent, received, op=self._mpi.MIN))
        return tuple(received.tolist())

    def exchange(self, outbound: Sequence[EventBatch]) -> EventBatch:
        """Alltoall of sizes, then Alltoallv of batches in their wire format; see `Bus`."""
        inbound, self.cost = exchange_batches(outbound, self.shard, self._all_to_all, self.cost)
        return inbound

    def share(self, data: bytes) -> list[bytes]:
        """Give `data` to all; see `Bus`."""
        received = [bytes(part) for part in self._all_to_all([data] * self.shard_count)]
        received[self.shard] = data
        return received

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

    def _all_to_all(self, outbound: Sequence[bytes | bytearray]) -> list[memoryview]:
        sizes = np.array([len(data) for data in outbound], dtype=np.int64)
        # The total beside each size tells everybody whether there is anything to exchange at all.
        told = np.stack([sizes, np.full_like(sizes, sizes.sum())], axis=1)
        heard = np.empty_like(told)
        self._finish(self._comm.Ialltoall(told, heard))
        if not heard[:, 1].any():
            return [memoryview(b"")] * self.shard_count
        incoming = heard[:, 0]
        if max(int(sizes.sum()), int(incoming.sum())) > _LARGEST_EXCHANGE:
            raise InternalError(f"a window exchanges {max(sizes.sum(), incoming.sum())} bytes, too many for MPI")
        data = np.empty(int(incoming.sum()), dtype=np.uint8)
        sent = np.frombuffer(b"".join(outbound), dtype=np.uint8)
        arguments = [
            [buffer, (counts.astype(np.int32), _starts(counts)), self._mpi.BYTE]
            for buffer, counts in ((sent, sizes), (data, incoming))
        ]
        self._finish(self._comm.Ialltoallv(*arguments))
        view = data.data
        starts = _starts(incoming).tolist()
        return [view[start : start + int(size)] for start, size in zip(starts, incoming, strict=True)]

    def _finish(self, request: Any) -> None:
        """Wait for a collective: eagerly at first, then without taking the core from those who still work."""
        started = time.perf_counter_ns()
        pause = 0.0
        while not request.Test():
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


def _starts(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Return where each part begins in a buffer that holds all of them one after the other."""
    return (np.cumsum(counts) - counts).astype(np.int32)
