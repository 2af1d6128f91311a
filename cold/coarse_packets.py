"""Packets between hot hosts and identities on topics that are not exact, and what shards tell each other of them.

Both are as in `cold.boundary`, whose kernels do the work: a hot host cannot see a topic's resolution.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch, EventKind
from bridge.directory import HostDirectory
from bridge.simtime import EPOCH, NS_PER_S
from cold.boundary import Boundary
from cold.boundary_kernels import (
    ACCEPTED,
    MESSAGE_HEADER,
    VERDICTS,
    follows_formula,
    packet_sizes,
    parse,
    write_packets,
)
from cold.jit import uint64
from cold.state_kernels import (
    HOPS_SHIFT,
    IDONTWANT,
    IHAVE,
    IWANT,
    MESSAGE,
    MOST_HOPS,
    PRUNE,
    REQUEST,
    RESPONSE,
    SLOT_SHIFT,
)
from cold.wire_addresses import WireAddresses

_EPOCH_NS: Final = EPOCH * NS_PER_S
_MESSAGE_HEAD: Final = struct.Struct(">QIQHI")
_ENTRY: Final = struct.Struct(">QIHqIIqBI")
#: Packets of coarse topics are counted apart from those of exact ones, so that an event's number names one packet.
FIRST_EVENT: Final = 1 << 32


@dataclass(eq=False, slots=True)
class CoarseMessage:
    """A message on a coarse topic that hot hosts may hear or speak of.

    Attributes
    ----------
    message_id, topic
        Topic by its index.
    publish_time
        ns.
    origin, origin_address, size
        As published; `origin` is -1 if no host has the address.
    payload
        Bytes, if they are not those that the id stands for.
    is_planned
        An identity of the tail publishes it: where it comes follows from that. Otherwise from its entries.
    entries
        Times [ns], HostIds and hops of the copies that came from outside to identities that did not have the message.
    received
        By HostId: when an identity got it whole [ns], and the hops of the copy.
    cached
        By HostId: number of the first heartbeat that tells of it.
    is_past
        Everybody has it, and no message cache: what is kept for each identity is gone.
    """

    message_id: int
    topic: int
    publish_time: int
    origin: int
    origin_address: int
    size: int
    payload: bytes | None = None
    is_planned: bool = True
    entries: list[tuple[int, int, int]] = field(default_factory=list)
    received: dict[int, tuple[int, int]] = field(default_factory=dict)
    cached: dict[int, int] = field(default_factory=dict)
    is_past: bool = False


class Datagram(NamedTuple):
    """A packet of a hot host, taken apart."""

    time: int
    source: int
    event: int
    destination: int
    kind: int
    topic: int
    """Index of the topic."""
    ids: tuple[int, ...]
    """Of an IHAVE, IWANT or IDONTWANT, ascending."""
    message: CoarseMessage | None
    hops: int
    backoff_ns: int


class Packet(NamedTuple):
    """A packet for a hot host."""

    time: int
    source: int
    counter: int
    destination: int
    kind: int
    topic: int
    ids: tuple[int, ...] = ()
    message: CoarseMessage | None = None
    hops: int = 0
    backoff_ms: int = 0


class CoarsePackets:
    """Reads and writes packets.

    Parameters
    ----------
    directory
        Who has which address.
    port
        uint16[identities]: UDP port of each.
    topic_numbers
        Of all topics, by index.
    coarse
        Indices of the topics that are not exact.
    links
        Who reads and writes what HELLO, LEAVE, GRAFT and PRUNE say on these topics, if it is somebody else.
    """

    def __init__(
        self,
        directory: HostDirectory,
        port: npt.NDArray[np.uint16],
        topic_numbers: Sequence[int],
        coarse: Sequence[int],
        links: Boundary | None = None,
    ) -> None:
        self._directory = directory
        self._addresses = WireAddresses.of(directory)
        self._port = port
        self._number = np.array(topic_numbers, dtype=np.int64)
        self._coarse = {topic_numbers[index]: index for index in coarse}
        # A hot host has one port for an identity, whoever of us hears it first.
        self._socket: dict[int, int] = {} if links is None else links.sockets
        self._has_links = links is None
        self.received = 0
        self.sent = 0
        self.dropped: Counter[str] = Counter()

    def _parse(self, batch: EventBatch) -> npt.NDArray[np.int64]:
        payload = batch.payload if batch.payload.flags.writeable else batch.payload.copy()
        return parse(
            batch.payload_offset,
            payload,
            batch.source,
            batch.destination,
            *self._addresses,
            self._port,
            self._directory.hot_count,
        )

    def claims(self, batch: EventBatch) -> npt.NDArray[np.bool_]:
        """Which events are packets about coarse topics: bool[n]."""
        verdicts = self._parse(batch)
        kind = verdicts[:, 2]
        coarse = np.isin(verdicts[:, 3], list(self._coarse)) & (kind < REQUEST) & (self._has_links | (kind >= IHAVE))
        return np.asarray((verdicts[:, 0] == ACCEPTED) & (batch.kind == EventKind.PACKET) & coarse, dtype=np.bool_)

    def about_links(self, batch: EventBatch) -> list[tuple[int, int]]:
        """Rows of the packets that speak of links on coarse topics, and the topics' indices."""
        found = []
        for row, (verdict, _, kind, number, _, _) in enumerate(self._parse(batch).tolist()):
            if verdict == ACCEPTED and kind < IHAVE and number in self._coarse:
                found.append((row, self._coarse[number]))
        return found

    def decode(self, batch: EventBatch) -> list[Datagram]:
        """Take packets apart; those that are not good are dropped and counted."""
        self.received += len(batch)
        datagrams = []
        for row, (verdict, socket, kind, number, _, body) in enumerate(self._parse(batch).tolist()):
            if verdict != ACCEPTED:
                self.dropped[VERDICTS[verdict]] += 1
                continue
            if kind >= REQUEST:
                self.dropped["unknown_protocol" if kind <= RESPONSE else "no_transactions"] += 1
                continue
            if number not in self._coarse:
                self.dropped["unknown_topic"] += 1
                continue
            source, destination = int(batch.source[row]), int(batch.destination[row])
            if self._socket.setdefault(destination << 32 | source, socket) != socket:
                self.dropped["second_port"] += 1
                continue
            data = batch.payload[body : int(batch.payload_offset[row + 1])].tobytes()
            ids: tuple[int, ...] = ()
            message, hops, backoff_ns = None, 0, 0
            topic = self._coarse[number]
            if kind in (IHAVE, IWANT, IDONTWANT):
                ids = tuple(sorted(set(struct.unpack(f">{len(data) // 8}Q", data))))
            elif kind == MESSAGE:
                message, hops = self._message(data, topic)
            elif kind == PRUNE:
                backoff_ns = int.from_bytes(data) * 1_000_000
            time, event = int(batch.deliver_time[row]), int(batch.source_event[row])
            datagrams.append(Datagram(time, source, event, destination, kind, topic, ids, message, hops, backoff_ns))
        return datagrams

    def _message(self, data: bytes, topic: int) -> tuple[CoarseMessage, int]:
        message_id, address, published, hops, size = _MESSAGE_HEAD.unpack_from(data)
        body = np.frombuffer(data, dtype=np.uint8)[MESSAGE_HEADER:]
        payload = None if follows_formula(uint64(message_id), 0, body.copy()) else body.tobytes()
        origin = self._directory.id_of_address(address)
        message = CoarseMessage(
            message_id, topic, published - _EPOCH_NS, origin, address, size, payload, is_planned=False
        )
        return message, min(hops, MOST_HOPS)

    def encode(self, packets: Sequence[Packet], window_end: int) -> EventBatch:
        """Put packets together, delivered at `window_end` at the earliest."""
        if not packets:
            return EventBatch.empty()
        self.sent += len(packets)
        slots: dict[int, int] = {}
        messages: list[CoarseMessage] = []
        ids: list[int] = []
        out = np.zeros((len(packets), 6), dtype=np.int64)
        for row, packet in enumerate(packets):
            slot = packet.topic
            if packet.message is not None:
                slot = slots.setdefault(packet.message.message_id, len(messages))
                if slot == len(messages):
                    messages.append(packet.message)
            out[row] = (
                packet.time,
                packet.destination << 32 | packet.source,
                packet.counter << 32 | packet.backoff_ms,
                packet.hops << HOPS_SHIFT | slot << SLOT_SHIFT | packet.kind,
                len(ids),
                len(packet.ids),
            )
            ids.extend(packet.ids)
        size = np.array([message.size for message in messages] or [0], dtype=np.int64)
        offset = np.zeros(len(packets) + 1, dtype=np.int64)
        sockets = np.array([self._socket[p.source << 32 | p.destination] for p in packets], dtype=np.int64)
        np.cumsum(packet_sizes(out, sockets, size), out=offset[1:])
        data = np.zeros(int(offset[-1]), dtype=np.uint8)
        write_packets(
            out,
            np.array(ids, dtype=np.uint64),
            offset,
            *self._addresses,
            self._port,
            sockets,
            self._directory.hot_count,
            self._number,
            np.array([message.message_id for message in messages] or [0], dtype=np.uint64),
            np.array([message.topic for message in messages] or [0], dtype=np.int32),
            np.array([message.origin_address for message in messages] or [0], dtype=np.uint32),
            np.array([message.publish_time + _EPOCH_NS for message in messages] or [0], dtype=np.int64),
            size,
            data,
        )
        for row, packet in enumerate(packets):
            if packet.message is not None and packet.message.payload is not None:
                end = int(offset[row + 1])
                payload = np.frombuffer(packet.message.payload, dtype=np.uint8)
                data[end - len(payload) : end] = payload
        return EventBatch.build(
            np.maximum(out[:, 0], window_end),
            [packet.source for packet in packets],
            [packet.counter + FIRST_EVENT for packet in packets],
            [packet.destination for packet in packets],
            EventKind.PACKET,
            offset,
            data,
        )


def encode_entry(message: CoarseMessage, topic_number: int, time: int, host: int, hops: int) -> bytes:
    """What a shard tells the others of a copy that came from outside: the payload of an ``ENTRY`` event."""
    payload = message.payload or b""
    head = _ENTRY.pack(
        message.message_id,
        message.origin_address,
        topic_number,
        message.publish_time,
        message.size,
        host,
        time,
        hops,
        len(payload),
    )
    return head + payload


def decode_entry(
    data: bytes, directory: HostDirectory, topic_index: dict[int, int]
) -> tuple[CoarseMessage, tuple[int, int, int]]:
    """The message, and time [ns], HostId and hops of its entry.

    Raises
    ------
    ValueError
        It is none.
    """
    if len(data) < _ENTRY.size:
        raise ValueError(f"an entry of {len(data)} bytes, and its head alone has {_ENTRY.size}")
    message_id, address, number, published, size, host, time, hops, carried = _ENTRY.unpack_from(data)
    payload = data[_ENTRY.size :]
    if len(payload) != carried or carried not in (0, size):
        raise ValueError(
            f"an entry with {len(payload)} bytes of payload, and it says {carried}, of a message of {size}"
        )
    if number not in topic_index:
        raise ValueError(f"an entry of topic {number}, which is not a coarse one")
    if not directory.hot_count <= host < directory.total_count:
        raise ValueError(f"an entry at host {host}, which is no identity")
    if time < published:
        raise ValueError(f"an entry at {time} ns of a message that was published at {published} ns")
    message = CoarseMessage(
        message_id,
        topic_index[number],
        published,
        directory.id_of_address(address),
        address,
        size,
        payload if carried else None,
        is_planned=False,
    )
    return message, (time, host, hops)
