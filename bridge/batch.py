"""Event batches: the only thing that crosses a participant's border, in memory as columns and on the wire.

An event is ordered by (deliver time, source, source event, destination) wherever it is: the metadata is the
source's, so the order does not depend on which shard sent or received it, or when.

The wire format, version 1, big-endian throughout:

    offset            field
    0                 magic "AGEB"
    4                 version, u16 = 1
    6                 reserved, u16 = 0
    8                 n, the number of events, u64
    16                p, the number of payload bytes, u64
    24                deliver_time[n] i64, source[n] u32, source_event[n] u64, destination[n] u32, kind[n]
    u16,
                      payload_length[n] u32, payload[p] u8

Events are in order, so that one batch has one encoding and a digest of it means something.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bridge.batch_kernels import fingerprint, first_out_of_order, gather_payload
from bridge.errors import InternalError

_HEADER: Final = struct.Struct(">4sHHQQ")
_MAGIC: Final = b"AGEB"
_VERSION: Final = 1
#: Columns on the wire, in order, with their types.
_WIRE_COLUMNS: Final[dict[str, np.dtype[Any]]] = {
    "deliver_time": np.dtype(">i8"),
    "source": np.dtype(">u4"),
    "source_event": np.dtype(">u8"),
    "destination": np.dtype(">u4"),
    "kind": np.dtype(">u2"),
    "payload_length": np.dtype(">u4"),
}
_BYTES_PER_EVENT: Final = sum(dtype.itemsize for dtype in _WIRE_COLUMNS.values())

Index: TypeAlias = npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]


class EventKind(IntEnum):
    """What the payload of an event is."""

    #: One IPv4 or IPv6 packet as on the wire: header of 20 or 40 bytes, UDP, TCP or ICMP header, data. Checksums may be
    #: 0.
    PACKET = 1
    #: Events between cold identities of two shards: one block for each pair of shards and window, see docs/formats.md.
    TAIL = 2
    #: A message of a hot host has come to a cold identity, on a topic that is not exact, see docs/formats.md.
    ENTRY = 3


_IS_KIND: Final = np.zeros(2**16, dtype=np.bool_)
_IS_KIND[list(EventKind)] = True


class DecodeError(InternalError):
    """Bytes that are not an encoded batch.

    Attributes
    ----------
    offset
        Where in the bytes the first thing wrong is.
    """

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(what, where=f"event batch, byte {offset}")
        self.offset = offset


@dataclass(frozen=True, slots=True, eq=False)
class EventBatch:
    """Events in order, as columns. Nobody writes to the columns once they are in a batch.

    The constructor takes columns that are already in order and contiguous; `build` takes them as they come.

    Attributes
    ----------
    deliver_time : int64[n]
        When the destination gets the event [ns].
    source : uint32[n]
        HostId of the host that caused it.
    source_event : uint64[n]
        Counter of the source: with `source`, it names the event.
    destination : uint32[n]
        HostId of the host it is for.
    kind : uint16[n]
        An `EventKind`.
    payload_offset : int64[n + 1]
        The payload of event i is ``payload[payload_offset[i]:payload_offset[i + 1]]``.
    payload : uint8[payload_offset[n]]
    """

    deliver_time: npt.NDArray[np.int64]
    source: npt.NDArray[np.uint32]
    source_event: npt.NDArray[np.uint64]
    destination: npt.NDArray[np.uint32]
    kind: npt.NDArray[np.uint16]
    payload_offset: npt.NDArray[np.int64]
    payload: npt.NDArray[np.uint8]

    @staticmethod
    def empty() -> "EventBatch":
        """Return the batch without events.

        It is always the same object, because most windows of most participants return it.
        """
        return _EMPTY

    @staticmethod
    def build(
        deliver_time: npt.ArrayLike,
        source: npt.ArrayLike,
        source_event: npt.ArrayLike,
        destination: npt.ArrayLike,
        kind: npt.ArrayLike = EventKind.PACKET,
        payload_offset: npt.ArrayLike | None = None,
        payload: npt.ArrayLike | None = None,
    ) -> "EventBatch":
        """Make a batch of columns in any order.

        Parameters
        ----------
        deliver_time, source, source_event, destination
            Columns of one length n; see the attributes of the class.
        kind
            One kind for all, or a column.
        payload_offset, payload
            Of length n + 1 and ``payload_offset[n]``; `pack_payloads` makes them of separate byte strings.
            Without them, the events carry nothing.
        """
        times = np.ascontiguousarray(deliver_time, dtype=np.int64)
        count = times.shape[0]
        if count == 0:
            return _EMPTY
        offsets = np.zeros(count + 1, np.int64) if payload_offset is None else _column(payload_offset, np.int64)
        data = np.zeros(0, np.uint8) if payload is None else _column(payload, np.uint8)
        kinds = np.asarray(kind, dtype=np.uint16)
        batch = EventBatch(
            deliver_time=times,
            source=_column(source, np.uint32),
            source_event=_column(source_event, np.uint64),
            destination=_column(destination, np.uint32),
            kind=np.full(count, kinds, np.uint16) if kinds.ndim == 0 else np.ascontiguousarray(kinds),
            payload_offset=offsets,
            payload=data,
        )
        batch._check_shapes()
        return batch._in_order()

    @staticmethod
    def concatenate(batches: Sequence["EventBatch"]) -> "EventBatch":
        """All events of `batches`, in order."""
        filled = [batch for batch in batches if len(batch)]
        if not filled:
            return _EMPTY
        if len(filled) == 1:
            return filled[0]
        base = np.cumsum([0, *(batch.payload.shape[0] for batch in filled)])
        offsets = [batch.payload_offset[:-1] + start for batch, start in zip(filled, base, strict=False)]
        return EventBatch(
            deliver_time=np.concatenate([batch.deliver_time for batch in filled]),
            source=np.concatenate([batch.source for batch in filled]),
            source_event=np.concatenate([batch.source_event for batch in filled]),
            destination=np.concatenate([batch.destination for batch in filled]),
            kind=np.concatenate([batch.kind for batch in filled]),
            payload_offset=np.concatenate([*offsets, base[-1:]]),
            payload=np.concatenate([batch.payload for batch in filled]),
        )._in_order()

    def select(self, index: Index) -> "EventBatch":
        """Return the events that `index` picks: a mask of length n, or positions in increasing order."""
        masked = index.dtype == np.bool_
        positions = np.flatnonzero(index) if masked else np.ascontiguousarray(index, dtype=np.int64)
        if positions.shape[0] == 0:
            return _EMPTY
        lengths = self.payload_offset[positions + 1] - self.payload_offset[positions]
        offsets = np.zeros(positions.shape[0] + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        payload = np.empty(int(offsets[-1]), dtype=np.uint8)
        gather_payload(self.payload_offset, self.payload, positions, offsets, payload)
        return EventBatch(
            deliver_time=self.deliver_time[positions],
            source=self.source[positions],
            source_event=self.source_event[positions],
            destination=self.destination[positions],
            kind=self.kind[positions],
            payload_offset=offsets,
            payload=payload,
        )

    def __len__(self) -> int:
        return int(self.deliver_time.shape[0])

    def payload_of(self, position: int) -> bytes:
        """Return the payload of one event."""
        return self.payload[self.payload_offset[position] : self.payload_offset[position + 1]].tobytes()

    def digest(self) -> bytes:
        """SHA-256 of the wire encoding, 32 bytes."""
        return hashlib.sha256(self.encode()).digest()

    def fingerprint(self) -> int:
        """Sum of a 64-bit hash of each event, modulo 2**64.

        That of a whole is the sum of those of its parts, so shards can add theirs. It tells runs apart that
        differ by accident, and proves nothing against malice. Defined in docs/formats.md.
        """
        return int(
            fingerprint(
                self.deliver_time,
                self.source,
                self.source_event,
                self.destination,
                self.kind,
                self.payload_offset,
                self.payload,
            )
        )

    def encode(self) -> bytes:
        """Return the batch in the wire format above."""
        columns: tuple[npt.NDArray[Any], ...] = (
            self.deliver_time,
            self.source,
            self.source_event,
            self.destination,
            self.kind,
            np.diff(self.payload_offset),
        )
        return b"".join(
            (
                _HEADER.pack(_MAGIC, _VERSION, 0, len(self), self.payload.shape[0]),
                *(column.astype(dtype).data for column, dtype in zip(columns, _WIRE_COLUMNS.values(), strict=True)),
                self.payload.data,
            )
        )

    @staticmethod
    def decode(data: bytes | bytearray | memoryview) -> "EventBatch":
        """Read one batch, which must fill `data` exactly.

        Raises
        ------
        DecodeError
            If `data` is anything but the encoding of a batch.
        """
        view = memoryview(data).cast("B")
        count, payload_size = _decode_header(view)
        columns: dict[str, npt.NDArray[Any]] = {}
        start: dict[str, int] = {}
        position = _HEADER.size
        for name, dtype in _WIRE_COLUMNS.items():
            start[name] = position
            columns[name] = np.frombuffer(view, dtype, count, position).astype(dtype.newbyteorder("="))
            position += count * dtype.itemsize
        offsets = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(columns.pop("payload_length"), out=offsets[1:])
        if offsets[-1] != payload_size:
            raise DecodeError(
                f"payload lengths add up to {offsets[-1]}, the header says {payload_size}",
                start["payload_length"],
            )
        batch = EventBatch(
            **columns,
            payload_offset=offsets,
            payload=np.frombuffer(view, np.uint8, payload_size, position).copy(),
        )
        misplaced = batch._first_out_of_order()
        if misplaced >= 0:
            raise DecodeError(f"event {misplaced} is out of order", start["deliver_time"] + 8 * misplaced)
        if count and batch.deliver_time[0] < 0:
            raise DecodeError("negative deliver time", start["deliver_time"])
        known_kind = _IS_KIND[batch.kind]
        if not known_kind.all():
            place = int(np.argmin(known_kind))
            known = ", ".join(f"{kind.value} ({kind.name})" for kind in EventKind)
            raise DecodeError(
                f"event {place} has kind {batch.kind[place]}, known are {known}", start["kind"] + 2 * place
            )
        return batch

    def _first_out_of_order(self) -> int:
        return first_out_of_order(self.deliver_time, self.source, self.source_event, self.destination)

    def _in_order(self) -> "EventBatch":
        if self._first_out_of_order() < 0:
            return self
        order = np.lexsort((self.destination, self.source_event, self.source, self.deliver_time))
        return self.select(order)

    def _check_shapes(self) -> None:
        count = len(self)
        for name in ("source", "source_event", "destination", "kind"):
            length = getattr(self, name).shape
            if length != (count,):
                raise ValueError(f"{name} has shape {length}, deliver_time has ({count},)")
        if self.payload_offset.shape != (count + 1,):
            raise ValueError(f"payload_offset has shape {self.payload_offset.shape}, should have ({count + 1},)")
        if self.payload_offset[0] != 0 or self.payload_offset[-1] != self.payload.shape[0]:
            raise ValueError("payload_offset must start at 0 and end at the length of payload")
        if bool(np.any(self.payload_offset[1:] < self.payload_offset[:-1])):
            raise ValueError("payload_offset must not decrease")


def pack_payloads(payloads: Sequence[bytes]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Columns (payload_offset, payload) of separate byte strings."""
    offsets = np.zeros(len(payloads) + 1, dtype=np.int64)
    np.cumsum([len(payload) for payload in payloads], out=offsets[1:])
    return offsets, np.frombuffer(b"".join(payloads), dtype=np.uint8)


def _column(values: npt.ArrayLike, dtype: type[np.generic]) -> npt.NDArray[Any]:
    return np.ascontiguousarray(values, dtype=dtype)


def _decode_header(view: memoryview) -> tuple[int, int]:
    """Return the numbers of events and payload bytes, which `view` has been found to be long enough for."""
    if len(view) < _HEADER.size:
        raise DecodeError(f"truncated header: {len(view)} of {_HEADER.size} bytes", len(view))
    magic, version, reserved, count, payload_size = _HEADER.unpack_from(view)
    if magic != _MAGIC:
        raise DecodeError(f"magic is {magic!r}, should be {_MAGIC!r}", 0)
    if version != _VERSION:
        raise DecodeError(f"version is {version}, only {_VERSION} is known", 4)
    if reserved != 0:
        raise DecodeError(f"reserved field is {reserved}, should be 0", 6)
    expected = _HEADER.size + count * _BYTES_PER_EVENT + payload_size
    if len(view) != expected:
        raise DecodeError(
            f"{len(view)} bytes, but {count} events with {payload_size} payload bytes take {expected}",
            min(len(view), expected),
        )
    return count, payload_size


_EMPTY: Final = EventBatch(
    deliver_time=np.zeros(0, np.int64),
    source=np.zeros(0, np.uint32),
    source_event=np.zeros(0, np.uint64),
    destination=np.zeros(0, np.uint32),
    kind=np.zeros(0, np.uint16),
    payload_offset=np.zeros(1, np.int64),
    payload=np.zeros(0, np.uint8),
)
# The one element that everybody shares.
_EMPTY.payload_offset.flags.writeable = False
