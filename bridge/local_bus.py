"""The bus between processes of one machine: a mesh of Unix sockets, and the processes themselves.

The caller of `fork_shards` becomes shard 0 and the parent of the others. All have the configuration and the
code in memory already, so a shard starts in milliseconds.

A frame on a socket, big-endian: magic "AGBF", version u16 = 2, kind u16, sequence u64 (how many collective
calls the sender has made), length u64, four values i64 to be reduced, then `length` bytes. Shards that got out of step
notice it here. Every pair of shards exchanges one frame a meeting, whether there is something to give or not.
"""

import ctypes
import json
import logging
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from types import FrameType
from typing import Final

import numpy as np

from bridge.bus import MOST_VALUES, Data, ShardLost
from bridge.errors import InternalError

_HEADER: Final = struct.Struct(f">4sHHQQ{MOST_VALUES}q")
_MAGIC: Final = b"AGBF"
_VERSION: Final = 2
_MEET, _SHARE, _ABORT = 1, 2, 3
_KINDS: Final = {_MEET: "meet", _SHARE: "share", _ABORT: "abort"}
_NO_VALUES: Final = (0,) * MOST_VALUES
_BUFFER_BYTES: Final = 1 << 20
_CHECK_INTERVAL_MS: Final = 500
#: Who waits looks again and again for so long before it sleeps, where waits have been shorter than that: to be woken
#: takes as long as many of them.
_SPIN_NS: Final = 200_000
#: How many of the last waits tell what to expect of the next one, roughly: the larger, the slower to change.
_WAITS_REMEMBERED: Final = 8
#: Longer waits count as this: one of a second must not be remembered for a thousand windows.
_LONG_WAIT_NS: Final = 2_000_000
_PR_SET_PDEATHSIG: Final = 1
#: How long shard 0 waits for the others to end by themselves once the run has failed.
_GRACE_S: Final = 10.0

_log = logging.getLogger("bridge")


class _Peer:
    """One connection: the frame that is being sent, and the one that is being received."""

    def __init__(self, shard: int, connection: socket.socket) -> None:
        self.shard = shard
        self.socket = connection
        self.outgoing: list[memoryview] = []
        self.partly_sent = False
        self.send_failed = False
        self.body = memoryview(b"")
        self._header = bytearray(_HEADER.size)
        self._view = memoryview(self._header)
        self._missing = 0
        self._in_body = False
        self.kind = 0
        self.sequence = 0
        self.values = _NO_VALUES

    def begin(self, header: bytes, data: Data) -> None:
        self.outgoing = [memoryview(part) for part in (header, data) if part]
        self._view = memoryview(self._header)
        self._missing = _HEADER.size
        self._in_body = False

    @property
    def receiving(self) -> bool:
        return self._missing > 0

    @property
    def busy(self) -> bool:
        return bool(self.outgoing) or self._missing > 0

    def push(self) -> None:
        """Send what the socket takes. A peer that takes nothing any more may still have said why."""
        while self.outgoing:
            try:
                sent = self.socket.sendmsg(self.outgoing)
            except BlockingIOError:
                return
            except OSError:
                self.send_failed = True
                self.outgoing = []
                return
            self.partly_sent = True
            while sent:
                part = self.outgoing[0]
                taken = min(sent, len(part))
                sent -= taken
                if taken == len(part):
                    del self.outgoing[0]
                else:
                    self.outgoing[0] = part[taken:]
        self.partly_sent = False

    def pull(self) -> None:
        """Receive what is there, up to the end of one frame."""
        while self._missing:
            try:
                count = self.socket.recv_into(self._view)
            except BlockingIOError:
                return
            except OSError:
                count = 0
            if count == 0:
                raise ShardLost(f"shard {self.shard} is gone: its connection is closed")
            self._missing -= count
            self._view = self._view[count:]
            if self._missing == 0 and not self._in_body:
                self._begin_body()

    def _begin_body(self) -> None:
        magic, version, self.kind, self.sequence, length, *values = _HEADER.unpack(self._header)
        if magic != _MAGIC or version != _VERSION or self.kind not in _KINDS:
            raise InternalError(f"shard {self.shard} sent a frame that is none: {bytes(self._header)!r}")
        self.values = tuple(values)
        # Not filled with zeros first, as a bytearray is.
        self.body = np.empty(length, np.uint8).data
        self._view = self.body
        self._missing = length
        self._in_body = True


class LocalBus:
    """One shard's end of a mesh of Unix sockets.

    Parameters
    ----------
    shard
        Of this process.
    connections
        A stream socket to each other shard.
    patience_s
        A shard that the others wait for and that has been stopped (SIGSTOP) for longer is given up.
    children
        Process ids of the shards that this process has to clear up, by shard.
    """

    def __init__(
        self,
        shard: int,
        connections: Mapping[int, socket.socket],
        *,
        patience_s: float,
        children: Mapping[int, int] | None = None,
    ) -> None:
        self.shard = shard
        self.shard_count = len(connections) + 1
        self._patience = patience_s
        self._children = dict(children or {})
        self._peers = [_Peer(number, connections[number]) for number in sorted(connections)]
        for peer in self._peers:
            peer.socket.setblocking(False)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                peer.socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        self._sequence = 0
        self._stopped_since: dict[int, float] = {}
        self._process_of: list[int] = []
        self._failed = False
        self._closed = False
        # Where shards have to share cores, who waits must leave its own to the others.
        self._spin_ns = _SPIN_NS if len(os.sched_getaffinity(0)) >= self.shard_count else 0
        self._usual_wait_ns = 0
        self._process_of = [int(data) for data in self.share(str(os.getpid()).encode())]

    def meet(self, outbound: Mapping[int, Data], values: tuple[int, ...]) -> tuple[Mapping[int, Data], tuple[int, ...]]:
        """Send a frame to every other shard, and take one from each; see `Bus`."""
        self._swap(_MEET, outbound, values)
        received = {peer.shard: peer.body for peer in self._peers if peer.body}
        rows = [peer.values[: len(values)] for peer in self._peers]
        return received, tuple(map(min, zip(values, *rows, strict=True)))

    def share(self, data: bytes) -> list[bytes]:
        """Give `data` to all; see `Bus`."""
        self._swap(_SHARE, dict.fromkeys(range(self.shard_count), data), ())
        received = {peer.shard: bytes(peer.body) for peer in self._peers}
        received[self.shard] = data
        return [received[shard] for shard in range(self.shard_count)]

    def abort(self, reason: str, exit_code: int) -> None:
        """Send the reason wherever no frame is halfway out, and close all connections; see `Bus`."""
        if self._failed or self._closed:
            return
        self._failed = True
        data = json.dumps({"reason": reason, "exit_code": exit_code}).encode()
        frame = _HEADER.pack(_MAGIC, _VERSION, _ABORT, self._sequence, len(data), *_NO_VALUES) + data
        for peer in self._peers:
            with suppress(OSError):
                if not peer.partly_sent:
                    peer.socket.send(frame)
            with suppress(OSError):
                peer.socket.close()

    def close(self) -> None:
        """Close all connections; shard 0 then waits for the other processes, and ends those that do not end."""
        if self._closed:
            return
        self._closed = True
        for peer in self._peers:
            with suppress(OSError):
                peer.socket.close()
        self._reap()

    def _swap(self, kind: int, outbound: Mapping[int, Data], values: tuple[int, ...]) -> None:
        """Send one frame to every other shard and receive one from each, in whatever order they come."""
        if self._failed or self._closed:
            raise ShardLost(f"shard {self.shard} has left the bus")
        self._sequence += 1
        padded = (*values, *_NO_VALUES[len(values) :])
        for peer in self._peers:
            data = outbound.get(peer.shard, b"")
            peer.begin(_HEADER.pack(_MAGIC, _VERSION, kind, self._sequence, len(data), *padded), data)
            peer.push()
        waiting = self._peers
        while True:
            for peer in waiting:
                peer.push()
                peer.pull()
                if not peer.receiving:
                    self._check_frame(peer, kind)
            waiting = [peer for peer in waiting if peer.busy]
            if not waiting:
                break
            self._wait(waiting)
        self._stopped_since.clear()

    def _check_frame(self, peer: _Peer, kind: int) -> None:
        if peer.kind == _ABORT:
            told = json.loads(bytes(peer.body))
            raise ShardLost(f"shard {peer.shard} failed: {told['reason']}", exit_code=told["exit_code"])
        if peer.kind != kind or peer.sequence != self._sequence:
            raise InternalError(
                f"shard {peer.shard} is at step {peer.sequence} ({_KINDS[peer.kind]}), "
                f"shard {self.shard} at step {self._sequence} ({_KINDS[kind]})"
            )

    def _wait(self, waiting: Sequence[_Peer]) -> None:
        poll = select.poll()
        for peer in waiting:
            wanted = (select.POLLIN if peer.receiving else 0) | (select.POLLOUT if peer.outgoing else 0)
            poll.register(peer.socket, wanted)
        begin = time.perf_counter_ns()
        # Who looks in vain takes the core from whoever else would use it, perhaps from those that it waits for.
        deadline = begin + (self._spin_ns if self._usual_wait_ns < self._spin_ns else 0)
        while not (ready := poll.poll(0)) and time.perf_counter_ns() < deadline:
            pass
        if not ready and not poll.poll(_CHECK_INTERVAL_MS):
            for peer in waiting:
                self._check_stopped(peer.shard)
        waited = time.perf_counter_ns() - begin
        self._usual_wait_ns += (min(waited, _LONG_WAIT_NS) - self._usual_wait_ns) // _WAITS_REMEMBERED

    def _check_stopped(self, shard: int) -> None:
        if not self._process_of or _state(self._process_of[shard]) not in ("T", "t"):
            self._stopped_since.pop(shard, None)
            return
        since = self._stopped_since.setdefault(shard, time.monotonic())
        if time.monotonic() - since >= self._patience:
            raise ShardLost(
                f"shard {shard} (process {self._process_of[shard]}) has been stopped for more than {self._patience:g} s"
            )

    def _reap(self) -> None:
        deadline = time.monotonic() + _GRACE_S
        while self._children:
            for shard, process in list(self._children.items()):
                killed = time.monotonic() >= deadline or _state(process) in ("T", "t")
                if killed:
                    os.kill(process, signal.SIGKILL)
                ended, status = os.waitpid(process, 0 if killed else os.WNOHANG)
                if not ended:
                    continue
                del self._children[shard]
                if os.WIFSIGNALED(status):
                    name = signal.Signals(os.WTERMSIG(status)).name
                    _log.error("shard %d (process %d) was ended by %s", shard, process, name)
            if self._children:
                time.sleep(0.002)


def fork_shards(count: int, *, patience_s: float) -> LocalBus:
    """Start `count` - 1 further processes, and connect all: returns once in each of them.

    The caller must make sure that a process other than shard 0 never returns to whoever called it: it ends with
    ``os._exit``. A process whose parent dies gets `ShardLost` raised, wherever it is.
    """
    pairs = {pair: socket.socketpair() for pair in combinations(range(count), 2)}
    parent = os.getpid()
    children: dict[int, int] = {}
    shard = 0
    sys.stdout.flush()
    sys.stderr.flush()
    for number in range(1, count):
        process = os.fork()
        if process == 0:
            shard, children = number, {}
            _end_with_parent(parent)
            break
        children[number] = process
    connections = {}
    for (low, high), (low_end, high_end) in pairs.items():
        if low == shard:
            connections[high] = low_end
            high_end.close()
        elif high == shard:
            connections[low] = high_end
            low_end.close()
        else:
            low_end.close()
            high_end.close()
    return LocalBus(shard, connections, patience_s=patience_s, children=children)


def _end_with_parent(parent: int) -> None:
    def parent_died(_: int, __: FrameType | None) -> None:
        raise ShardLost(f"shard 0 (process {parent}) is gone")

    signal.signal(signal.SIGHUP, parent_died)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGHUP), 0, 0, 0)
    if os.getppid() != parent:
        raise ShardLost(f"shard 0 (process {parent}) is gone")


def _state(process: int) -> str:
    """Return the letter of a process's state, as in ``ps``; nothing if it is gone."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b") ")[2][:1].decode()
    except OSError:
        return ""
