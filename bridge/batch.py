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
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bridge.batch_kernels import (
    KIND,
    LENGTHS,
    NEGATIVE,
    ORDER,
    Columns,
    decode,
    encode,
    fingerprint,
    first_awaited,
    gather,
    group,
    order_of,
)
from bridge.errors import InternalError

_HEADER: Final = struct.Struct(">4sHHQQ")
_MAGIC: Final = b"AGEB"
_VERSION: Final = 1
#: Of its columns: 8 + 4 + 8 + 4 + 2 + 4.
_BYTES_PER_EVENT: Final = 30

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
    #: What messages all identities of a shard have, where it has no events for another: a block without rows.
    NEWS = 4


#: This kind and those after it only tell something. To a kernel a plain number is far cheaper to give than a member of
#: an enumeration.
_FIRST_TELLING: Final = int(EventKind.ENTRY)
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
        return self._at(positions)

    def __len__(self) -> int:
        return len(self.deliver_time)

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
        return int(fingerprint(*self._columns()))

    def encode(self) -> memoryview:
        """Return the batch in the wire format above."""
        return self._encode(np.arange(len(self)), self.payload.shape[0])

    def divide(self, shards: npt.NDArray[np.integer[Any]], shard_count: int, shard: int) -> "Division":
        """Divide the batch among shards; what is for others is brought into the wire format.

        Parameters
        ----------
        shards
            Shard of each event's destination: integers[n].
        shard_count
            Number of shards.
        shard
            The one that this batch is on.
        """
        positions, groups = group(shards.astype(np.int64, copy=False), shard_count, self.payload_offset)
        kept = _EMPTY
        encoded: dict[int, memoryview] = {}
        links: list[tuple[int, int, int]] = []
        for number, first, last, size in groups.tolist():
            part = positions[first:last]
            if number == shard:
                kept = self if last - first == len(self) else self._at(part)
                continue
            encoded[number] = self._encode(part, size)
            links.append((number, last - first, size))
        return Division(kept, encoded, tuple(links))

    def first_awaited(self) -> tuple[int, int]:
        """When the first event happens [ns], and how many others only tell something: ``ENTRY`` and ``NEWS`` events.

        What these tell may change what happens before their deliver time, and at that time nothing happens.
        """
        return first_awaited(self.deliver_time, self.kind, _FIRST_TELLING)

    @staticmethod
    def decode(data: bytes | bytearray | memoryview) -> "EventBatch":
        """Read one batch, which must fill `data` exactly; payloads remain there.

        Raises
        ------
        DecodeError
            If `data` is anything but the encoding of a batch.
        """
        view = memoryview(data).cast("B")
        count, payload_size = _decode_header(view)
        batch = EventBatch(
            np.empty(count, np.int64),
            np.empty(count, np.uint32),
            np.empty(count, np.uint64),
            np.empty(count, np.uint32),
            np.empty(count, np.uint16),
            np.empty(count + 1, np.int64),
            # Not copied: nobody writes to what has been received.
            np.frombuffer(view, np.uint8, payload_size, len(view) - payload_size),
        )
        columns = batch._columns()
        wrong, place = decode(np.frombuffer(view, np.uint8), _HEADER.size, *columns[:-1], payload_size, _IS_KIND)
        if wrong == LENGTHS:
            raise DecodeError(
                f"payload lengths add up to {place}, the header says {payload_size}", _HEADER.size + 26 * count
            )
        if wrong == ORDER:
            raise DecodeError(f"event {place} is out of order", _HEADER.size + 8 * place)
        if wrong == NEGATIVE:
            raise DecodeError("negative deliver time", _HEADER.size)
        if wrong == KIND:
            known = ", ".join(f"{kind.value} ({kind.name})" for kind in EventKind)
            raise DecodeError(
                f"event {place} has kind {batch.kind[place]}, known are {known}", _HEADER.size + 24 * count + 2 * place
            )
        return batch

    def _columns(self) -> Columns:
        return (
            self.deliver_time,
            self.source,
            self.source_event,
            self.destination,
            self.kind,
            self.payload_offset,
            self.payload,
        )

    def _at(self, positions: npt.NDArray[np.int64]) -> "EventBatch":
        return EventBatch(*gather(*self._columns(), positions)) if positions.shape[0] else _EMPTY

    def _encode(self, positions: npt.NDArray[np.int64], payload_size: int) -> memoryview:
        """Return some events in the wire format."""
        count = positions.shape[0]
        encoded = np.empty(_HEADER.size + count * _BYTES_PER_EVENT + payload_size, np.uint8)
        _HEADER.pack_into(encoded.data, 0, _MAGIC, _VERSION, 0, count, payload_size)
        encode(*self._columns(), positions, _HEADER.size, encoded)
        return encoded.data

    def _in_order(self) -> "EventBatch":
        order = order_of(self.deliver_time, self.source, self.source_event, self.destination)
        return self._at(order) if order.shape[0] else self

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
        if count > 1 and bool((self.payload_offset[1:] < self.payload_offset[:-1]).any()):
            raise ValueError("payload_offset must not decrease")


class Division(NamedTuple):
    """The events of a batch, by the shards that they are for.

    Attributes
    ----------
    kept
        Those that stay.
    encoded
        In the wire format, by shard: those for other shards, of which most may get nothing.
    links
        Shard, events and payload bytes of each of these.
    """

    kept: EventBatch
    encoded: dict[int, memoryview]
    links: tuple[tuple[int, int, int], ...]


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
