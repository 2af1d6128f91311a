"""Blocks of events between identities of two shards: what `bridge.batch.EventKind.TAIL` events carry.

A block has a dictionary of messages, the messages of it that every identity of the sending shard has, and events as
columns; messages are named by their place in the dictionary. Numbers are big-endian; ``docs/formats.md`` has the format
and an example. This module knows bytes and columns; what they mean to an engine is the matter of `cold.exchange`.
"""

import struct
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from bridge.errors import InternalError
from cold.request_kernels import PROTOCOL_MASK
from cold.state_kernels import (
    ANNOUNCEMENT,
    GRAFT,
    GREETING,
    IDONTWANT,
    IHAVE_ID,
    IWANT,
    LEAVE,
    MESSAGE,
    POOLED,
    PRUNE,
    REQUEST,
    RESPONSE,
    SLOT_MASK,
    TRANSACTION,
    TRANSACTION_ASK,
)

_HEADER: Final = struct.Struct(">4sHHIIII")
_MAGIC: Final = b"AGTB"
_VERSION: Final = 2
#: On the wire: no host of this experiment is known to be the publisher.
_NOBODY: Final = 0xFFFFFFFF
#: Kinds of events whose `reference` is a message, or says what is asked for, as `cold.request_kernels` has it; that of
#: GRAFT, PRUNE and LEAVE is a topic. All kinds that may cross are in `KINDS`.
ABOUT_MESSAGES: Final = (IWANT, MESSAGE, IDONTWANT, IHAVE_ID)
ABOUT_REQUESTS: Final = (REQUEST, RESPONSE)
#: Their `auxiliary` is a transaction, and their `reference` as `cold.transaction_kernels` has it.
ABOUT_TRANSACTIONS: Final = (TRANSACTION, ANNOUNCEMENT, TRANSACTION_ASK, POOLED, GREETING)
KINDS: Final = (LEAVE, GRAFT, PRUNE, *ABOUT_MESSAGES, *ABOUT_REQUESTS, *ABOUT_TRANSACTIONS)
#: Columns on the wire, in order: name, type there, type in memory. Those of the dictionary, then the list of complete
#: messages, then the events.
_DICTIONARY: Final = (
    ("message_id", ">u8", np.uint64),
    ("publish_time", ">i8", np.int64),
    ("origin", ">u4", np.int64),
    ("origin_address", ">u4", np.uint32),
    ("size", ">u4", np.int64),
    ("topic", ">u2", np.int64),
    ("payload_length", ">u4", np.int64),
)
_COMPLETE: Final = (("complete", ">u4", np.int64),)
_EVENTS: Final = (
    ("time", ">i8", np.int64),
    ("destination", ">u4", np.int64),
    ("source", ">u4", np.int64),
    ("kind", ">u1", np.int64),
    ("hops", ">u1", np.int64),
    ("reference", ">u4", np.int64),
    ("auxiliary", ">u4", np.int64),
)


class BlockError(InternalError):
    """Bytes that are not a block, or one that does not fit the experiment."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(what, where=f"block of tail events, byte {offset}")
        self.offset = offset


class Limits(NamedTuple):
    """What a block must keep within.

    Attributes
    ----------
    topics
        Number of topics.
    hosts
        Number of all hosts, hot and cold.
    protocols
        Number of protocols of requests.
    transactions
        Number of transactions.
    sources, destinations
        HostIds of the identities of the sending and of the receiving shard.
    not_before
        No event is earlier [ns].
    """

    topics: int
    hosts: int
    protocols: int
    transactions: int
    sources: range
    destinations: range
    not_before: int


class Block(NamedTuple):
    """m messages, p bytes of payloads, c complete messages and n events, as columns."""

    message_id: npt.NDArray[np.uint64]
    """uint64[m]: no id twice."""
    publish_time: npt.NDArray[np.int64]
    """int64[m], ns."""
    origin: npt.NDArray[np.int64]
    """int64[m]: HostId of the publisher, -1 if unknown."""
    origin_address: npt.NDArray[np.uint32]
    """uint32[m]."""
    size: npt.NDArray[np.int64]
    """int64[m], bytes."""
    topic: npt.NDArray[np.int64]
    """int64[m]: index of the topic."""
    payload_length: npt.NDArray[np.int64]
    """int64[m]: `size`, or 0: that it is what the id stands for, or has been sent before."""
    payload: npt.NDArray[np.uint8]
    """uint8[p]: one after the other."""
    complete: npt.NDArray[np.int64]
    """int64[c]: places in the dictionary of messages that all identities of the sending shard have."""
    time: npt.NDArray[np.int64]
    """int64[n]: of arrival [ns]."""
    destination: npt.NDArray[np.int64]
    """int64[n]: HostIds."""
    source: npt.NDArray[np.int64]
    """int64[n]: HostIds; events of one source are in the order in which it sent them."""
    kind: npt.NDArray[np.int64]
    """int64[n]: one of `KINDS`."""
    hops: npt.NDArray[np.int64]
    """int64[n]."""
    reference: npt.NDArray[np.int64]
    """int64[n]: a place in the dictionary, what is asked for, or the index of a topic, as the kind has it."""
    auxiliary: npt.NDArray[np.int64]
    """int64[n]: backoff of a PRUNE [ms], datagram of an IHAVE's id, number of a request, 0 for others."""

    def encode(self) -> bytes:
        """Return it in the wire format."""
        counts = (len(self.message_id), len(self.payload), len(self.complete), len(self.time))
        parts = [_HEADER.pack(_MAGIC, _VERSION, 0, *counts)]
        for columns in (_DICTIONARY, None, _COMPLETE, _EVENTS):
            if columns is None:
                parts.append(self.payload.tobytes())
                continue
            parts += [np.asarray(getattr(self, name)).astype(wire).tobytes() for name, wire, _ in columns]
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes, limits: Limits) -> Self:
        """Read a block, which must fill `data` exactly.

        Raises
        ------
        BlockError
            It is anything but the encoding of a block that keeps within `limits`.
        """
        messages, payload_size, complete, events = _counts(data)
        columns: dict[str, npt.NDArray[Any]] = {}
        place: dict[str, int] = {}
        at = _HEADER.size
        for count, group in ((messages, _DICTIONARY), (payload_size, None), (complete, _COMPLETE), (events, _EVENTS)):
            if group is None:
                columns["payload"] = np.frombuffer(data, np.uint8, count, at).copy()
                at += count
                continue
            for name, wire, kind in group:
                columns[name] = np.frombuffer(data, wire, count, at).astype(kind)
                place[name] = at
                at += count * np.dtype(wire).itemsize
        columns["origin"][columns["origin"] == _NOBODY] = -1
        block = cls(**columns)
        block._check(limits, place)
        return block

    def _check(self, limits: Limits, place: dict[str, int]) -> None:
        about_messages = np.isin(self.kind, ABOUT_MESSAGES)
        about_requests = np.isin(self.kind, ABOUT_REQUESTS)
        bound = np.where(about_messages, len(self.message_id), limits.topics)
        about_transactions = np.isin(self.kind, ABOUT_TRANSACTIONS)
        bound[about_requests | about_transactions] = SLOT_MASK + 1
        unknown = about_requests & (self.reference & PROTOCOL_MASK >= limits.protocols)
        everywhere = np.sort(self.message_id)
        repeated = np.isin(self.message_id, everywhere[1:][everywhere[1:] == everywhere[:-1]])
        carried = self.payload_length
        for name, wrong, expected in (
            ("message_id", repeated, "one that is not repeated"),
            ("publish_time", self.publish_time < 0, "0 or later"),
            ("origin", self.origin >= limits.hosts, f"one of {limits.hosts} hosts, or {_NOBODY:#x}"),
            ("topic", self.topic >= limits.topics, f"one of {limits.topics} topics"),
            ("payload_length", (carried != 0) & (carried != self.size), "0 or the size"),
            ("complete", self.complete >= len(self.message_id), f"one of {len(self.message_id)} messages"),
            ("time", self.time < limits.not_before, f"{limits.not_before} or later"),
            ("destination", _outside(self.destination, limits.destinations), f"in {limits.destinations}"),
            ("source", _outside(self.source, limits.sources), f"in {limits.sources}"),
            ("kind", ~np.isin(self.kind, KINDS), f"one of {KINDS}"),
            ("reference", self.reference >= bound, "a message of the dictionary, or a topic"),
            ("reference", unknown, f"of one of {limits.protocols} protocols"),
            (
                "auxiliary",
                about_transactions & (self.kind != GREETING) & (self.auxiliary >= limits.transactions),
                f"one of {limits.transactions} transactions",
            ),
        ):
            if wrong.any():
                index = int(np.flatnonzero(wrong)[0])
                width = next(np.dtype(w).itemsize for n, w, _ in (*_DICTIONARY, *_COMPLETE, *_EVENTS) if n == name)
                raise BlockError(
                    f"{name} of entry {index} is {getattr(self, name)[index]}, should be {expected}",
                    place[name] + index * width,
                )
        if int(carried.sum()) != len(self.payload):
            raise BlockError(
                f"payload lengths add up to {carried.sum()}, the header says {len(self.payload)}",
                place["payload_length"],
            )


def _outside(ids: npt.NDArray[np.int64], allowed: range) -> npt.NDArray[np.bool_]:
    return (ids < allowed.start) | (ids >= allowed.stop)


def _counts(data: bytes) -> tuple[int, int, int, int]:
    """The counts in the header, which `data` has been found to be long enough for."""
    if len(data) < _HEADER.size:
        raise BlockError(f"truncated header: {len(data)} of {_HEADER.size} bytes", len(data))
    magic, version, reserved, *counts = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise BlockError(f"magic is {magic!r}, should be {_MAGIC!r}", 0)
    if version != _VERSION:
        raise BlockError(f"version is {version}, only {_VERSION} is known", 4)
    if reserved != 0:
        raise BlockError(f"reserved field is {reserved}, should be 0", 6)
    messages, payload, complete, events = counts
    expected = _HEADER.size + payload
    for count, columns in ((messages, _DICTIONARY), (complete, _COMPLETE), (events, _EVENTS)):
        expected += count * sum(np.dtype(wire).itemsize for _, wire, _ in columns)
    if len(data) != expected:
        what = f"{len(data)} bytes, but {messages} messages, {payload} bytes of payloads, {complete} complete messages"
        raise BlockError(f"{what} and {events} events take {expected}", min(len(data), expected))
    return messages, payload, complete, events
