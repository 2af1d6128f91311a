"""Blocks of events between identities of two shards: what ``TAIL`` and ``NEWS`` events of `bridge.batch` carry.

A block has copies of messages and other events, as rows, and a dictionary of the messages that they name by their
places in it, with what the receiver has not been told of these. Numbers are big-endian; ``docs/formats.md`` has the
format and an example. This module knows bytes and columns; what they mean to an engine is the matter of
`cold.exchange`, and rows that of `cold.block_kernels`.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from bridge.errors import InternalError
from cold.block_kernels import (
    BAD_COUNT,
    BAD_DESTINATION,
    BAD_HOPS,
    BAD_KIND,
    BAD_MESSAGE,
    BAD_PROTOCOL,
    BAD_REFERENCE,
    BAD_SOURCE,
    BAD_TIME,
    BAD_TRANSACTION,
    EVENT_BYTES,
    REASONS,
    WORD_BYTES,
    first_bad_event,
    first_bad_word,
    hot_numbers,
)
from cold.state_kernels import MOST_HOPS

_HEADER: Final = struct.Struct(">4sHHqIIIIIIII")
_MAGIC: Final = b"AGTB"
_VERSION: Final = 5
#: On the wire: no host of this experiment is known to be the publisher.
_NOBODY: Final = 0xFFFFFFFF
#: Columns on the wire behind the rows, in order: name, type there, type in memory. The ids of the dictionary, then what
#: is said of some of its messages, then the list of complete ones, then what is said of transactions of hot hosts.
_IDS: Final = (("message_id", ">u8", np.uint64),)
_NEWS: Final = (
    ("place", ">u4", np.int64),
    ("publish_time", ">i8", np.int64),
    ("origin", ">u4", np.int64),
    ("origin_address", ">u4", np.uint32),
    ("size", ">u4", np.int64),
    ("topic", ">u2", np.int64),
    ("payload_length", ">u4", np.int64),
)
_COMPLETE: Final = (("complete", ">u4", np.int64),)
_TOLD: Final = (
    ("told_origin", ">u4", np.int64),
    ("told_sequence", ">u4", np.int64),
    ("told_time", ">i8", np.int64),
    ("told_size", ">u4", np.int64),
    ("told_blobs", ">u1", np.int64),
)
_GROUPS: Final = (_NEWS, _COMPLETE, _TOLD)
_COLUMNS: Final = (*_IDS, *_NEWS, *_COMPLETE, *_TOLD)
#: Bytes for each of what the header counts.
_WIDTHS: Final = tuple(sum(np.dtype(wire).itemsize for _, wire, _ in group) for group in (_IDS, *_GROUPS))
#: A block's bytes before its rows, and behind them at most for each message of the dictionary, but for payloads.
HEADER_BYTES: Final = _HEADER.size
MOST_BYTES_PER_MESSAGE: Final = sum(_WIDTHS[:-1])
#: And for each transaction of a hot host.
TOLD_BYTES: Final = _WIDTHS[-1]
#: The columns of what a block says of messages and transactions besides their ids.
SAID: Final = (*(name for group in _GROUPS for name, _, _ in group), "payload")
#: Most blocks say nothing of them.
_NOTHING: Final[dict[str, npt.NDArray[Any]]] = {
    name: np.empty(0, dtype=kind) for name, _, kind in (*_COLUMNS, ("payload", ">u1", np.uint8))
}


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
        Number of transactions that are not those of hot hosts.
    first_cold
        Number of hot hosts.
    sources, destinations
        How many identities the sending and the receiving shard have.
    not_before
        No event is earlier [ns].
    """

    topics: int
    hosts: int
    protocols: int
    transactions: int
    first_cold: int
    sources: int
    destinations: int
    not_before: int


class Block(NamedTuple):
    """n words of copies and k other events, m messages of which d are described and c complete, p bytes of payloads.

    Of t transactions of hot hosts it says what `cold.transactions.Told` has.
    """

    start: int
    """No copy is earlier [ns]."""
    rows: npt.NDArray[np.uint8]
    """uint8[WORD_BYTES * n + EVENT_BYTES * k]: the copies, then the events; those of one source as it sent them."""
    words: int
    events: int
    referenced: int
    """The first messages of the dictionary, which rows name."""
    message_id: npt.NDArray[np.uint64]
    """uint64[m]: no id twice."""
    place: npt.NDArray[np.int64]
    """int64[d]: places in the dictionary of the messages described by the following columns, ascending."""
    publish_time: npt.NDArray[np.int64]
    """int64[d], ns."""
    origin: npt.NDArray[np.int64]
    """int64[d]: HostId of the publisher, -1 if unknown."""
    origin_address: npt.NDArray[np.uint32]
    """uint32[d]."""
    size: npt.NDArray[np.int64]
    """int64[d], bytes."""
    topic: npt.NDArray[np.int64]
    """int64[d]: index of the topic."""
    payload_length: npt.NDArray[np.int64]
    """int64[d]: `size`, or 0: it is what the id stands for."""
    complete: npt.NDArray[np.int64]
    """int64[c]: places in the dictionary of messages that all identities of the sending shard have, ascending."""
    told_origin: npt.NDArray[np.int64]
    """int64[t]: HostId."""
    told_sequence: npt.NDArray[np.int64]
    """int64[t]."""
    told_time: npt.NDArray[np.int64]
    """int64[t], ns."""
    told_size: npt.NDArray[np.int64]
    """int64[t], bytes."""
    told_blobs: npt.NDArray[np.int64]
    """int64[t]: 1 or 0."""
    payload: npt.NDArray[np.uint8]
    """uint8[p]: one after the other."""

    def hot_numbers(self) -> npt.NDArray[np.int64]:
        """Return the numbers of transactions of hot hosts that events are about: int64[n], ascending."""
        return hot_numbers(self.rows, WORD_BYTES * self.words, self.events)

    def encode(self) -> bytes:
        """Return the wire format."""
        said = {name: getattr(self, name) for name in SAID}
        counts = (self.words, self.events, len(self.message_id), self.referenced)
        header, rest = around(self.start, *counts, said)
        return b"".join([header, self.rows.data, self.message_id.astype(">u8").data, rest])

    @classmethod
    def decode(cls, data: npt.NDArray[np.uint8], limits: Limits) -> Self:
        """Read a block, which must fill `data`, writeable, exactly; its rows remain there.

        Raises
        ------
        BlockError
            It is anything but the encoding of a block that keeps within `limits`.
        """
        start, words, events, messages, referenced, news, complete, told, payload_size = _counts(data)
        place = {"start": 8, "referenced": 28, "rows": _HEADER.size}
        at = _HEADER.size + WORD_BYTES * words + EVENT_BYTES * events
        columns: dict[str, Any] = {**_NOTHING, "start": start, "rows": data[_HEADER.size : at]}
        columns |= {"words": words, "events": events, "referenced": referenced}
        for count, group in zip((messages, news, complete, told), (_IDS, *_GROUPS), strict=True):
            for name, wire, kind in group:
                place[name] = at
                if count:
                    columns[name] = np.frombuffer(data, wire, count, at).astype(kind)
                    at += count * np.dtype(wire).itemsize
        if news:
            columns["origin"][columns["origin"] == _NOBODY] = -1
        columns["payload"] = data[at : at + payload_size]
        block = cls(**columns)
        block._check(limits, place)
        block._check_rows(limits)
        return block

    def _check(self, limits: Limits, place: dict[str, int]) -> None:
        """Check everything but the rows; `place` is where each of it begins on the wire."""
        messages = len(self.message_id)
        for name, value, wrong, expected in (
            ("start", self.start, self.start < limits.not_before, f"{limits.not_before} or later"),
            ("referenced", self.referenced, self.referenced > messages, f"{messages} messages at most"),
        ):
            if wrong:
                raise BlockError(f"{name} is {value}, should be {expected}", place[name])
        carried = self.payload_length
        checks: list[tuple[str, npt.NDArray[np.bool_], str]] = []
        if len(set(self.message_id.tolist())) < messages:
            everywhere = np.sort(self.message_id)
            repeated = np.isin(self.message_id, everywhere[1:][everywhere[1:] == everywhere[:-1]])
            checks.append(("message_id", repeated, "one that is not repeated"))
        if len(self.place):
            checks += [
                ("place", _out_of_order(self.place, messages), f"one of {messages} messages, ascending"),
                ("publish_time", self.publish_time < 0, "0 or later"),
                ("origin", self.origin >= limits.hosts, f"one of {limits.hosts} hosts, or {_NOBODY:#x}"),
                ("topic", self.topic >= limits.topics, f"one of {limits.topics} topics"),
                ("payload_length", (carried != 0) & (carried != self.size), "0 or the size"),
            ]
        if len(self.complete):
            checks.append(
                ("complete", _out_of_order(self.complete, messages), f"one of {messages} messages, ascending")
            )
        if len(self.told_origin):
            checks += [
                ("told_origin", self.told_origin >= limits.first_cold, f"one of {limits.first_cold} hot hosts"),
                ("told_sequence", self.told_sequence < 1, "1 or more"),
                ("told_time", self.told_time < 0, "0 or later"),
                ("told_size", self.told_size < 1, "1 or more"),
                ("told_blobs", self.told_blobs > 1, "0 or 1"),
            ]
        for name, wrongs, expected in checks:
            if wrongs.any():
                index = int(np.flatnonzero(wrongs)[0])
                width = next(np.dtype(wire).itemsize for column, wire, _ in _COLUMNS if column == name)
                raise BlockError(
                    f"{name} of entry {index} is {getattr(self, name)[index]}, should be {expected}",
                    place[name] + index * width,
                )
        lengths = int(carried.sum()) if len(carried) else 0
        if lengths != len(self.payload):
            raise BlockError(
                f"payload lengths add up to {lengths}, the header says {len(self.payload)}", place["payload_length"]
            )

    def _check_rows(self, limits: Limits) -> None:
        first_event = WORD_BYTES * self.words
        within = (limits.destinations, limits.sources, self.referenced)
        for what, found, at, width in (
            ("word", first_bad_word(self.rows, 0, self.words, *within), 0, WORD_BYTES),
            (
                "event",
                first_bad_event(
                    *(self.rows, first_event, self.events),
                    *(*within, limits.topics, limits.protocols, limits.transactions, limits.not_before),
                ),
                first_event,
                EVENT_BYTES,
            ),
        ):
            if found >= 0:
                index, reason = divmod(found, REASONS)
                expected = {
                    BAD_COUNT: "a bundle should have one copy or more, all of them here",
                    BAD_DESTINATION: f"the destination should be one of {limits.destinations} identities",
                    BAD_SOURCE: f"the source should be one of {limits.sources} identities",
                    BAD_HOPS: f"an IDONTWANT has no hops, and a copy has {MOST_HOPS} at most",
                    BAD_MESSAGE: f"the message should be one of {self.referenced}",
                    BAD_TIME: f"the time should be {limits.not_before} or later",
                    BAD_KIND: "the kind is unknown",
                    BAD_REFERENCE: f"the reference should be one of {limits.topics} topics, or of 20 bits",
                    BAD_PROTOCOL: f"the protocol should be one of {limits.protocols}",
                    BAD_TRANSACTION: f"the transaction should be one of {limits.transactions}",
                }[reason]
                row = self.rows[at + index * width :][:width].tobytes().hex()
                raise BlockError(f"{what} {index}, {row}: {expected}", _HEADER.size + at + index * width)


def around(
    start: int, words: int, events: int, messages: int, referenced: int, said: Mapping[str, npt.NDArray[Any]]
) -> tuple[bytes, bytes]:
    """Return what comes before the rows of a block on the wire, and what comes behind the ids of its dictionary.

    Parameters
    ----------
    start, words, events, referenced
        As `Block` has them.
    messages
        Number of messages in the dictionary.
    said
        The columns of `Block` that are named in `SAID`, at least those that are not empty.
    """
    parts: list[Any] = []
    counts = []
    for group in _GROUPS:
        count = len(said.get(group[0][0], ()))
        counts.append(count)
        if count:
            parts += [said[name].astype(wire) for name, wire, _ in group]
    payload: Any = said.get("payload", b"")
    header = _HEADER.pack(_MAGIC, _VERSION, 0, start, words, events, messages, referenced, *counts, len(payload))
    return header, b"".join([*parts, payload])


def _out_of_order(places: npt.NDArray[np.int64], bound: int) -> npt.NDArray[np.bool_]:
    """Which places are not below a bound, or not above the one before."""
    wrong = places >= bound
    wrong[1:] |= places[1:] <= places[:-1]
    return wrong


def _counts(data: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """What the header says, whose counts `data` has been found to be long enough for."""
    if len(data) < _HEADER.size:
        raise BlockError(f"truncated header: {len(data)} of {_HEADER.size} bytes", len(data))
    magic, version, reserved, start, *counts = _HEADER.unpack(data[: _HEADER.size].tobytes())
    if magic != _MAGIC:
        raise BlockError(f"magic is {magic!r}, should be {_MAGIC!r}", 0)
    if version != _VERSION:
        raise BlockError(f"version is {version}, only {_VERSION} is known", 4)
    if reserved != 0:
        raise BlockError(f"reserved field is {reserved}, should be 0", 6)
    words, events, messages, _, news, complete, told, payload = counts
    expected = _HEADER.size + WORD_BYTES * words + EVENT_BYTES * events + payload
    for count, width in zip((messages, news, complete, told), _WIDTHS, strict=True):
        expected += count * width
    if len(data) != expected:
        what = f"{len(data)} bytes, but {words} words of copies, {events} events, {messages} messages, {news} of them"
        what += f" described and {complete} complete, {told} transactions, {payload} bytes of payloads take {expected}"
        raise BlockError(what, min(len(data), expected))
    return start, *counts
