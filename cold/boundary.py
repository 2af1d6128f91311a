"""The packet-level boundary: datagrams of hot hosts become events of identities, and the other way round.

A hot program cannot tell an identity from a peer that runs the datagram protocol: addresses, ports, headers, ids,
publish times, hops and payloads are what such a peer would send. An identity knows one gossip socket of a hot host:
the port and the version of IP of its first datagram. Payload bytes are kept once per message, and only where they are
not those that the id stands for.
"""

import struct
from collections import Counter

import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch, EventKind
from bridge.directory import HostDirectory
from bridge.simtime import EPOCH, NS_PER_S
from cold.asked_kernels import with_asked_row
from cold.boundary_kernels import (
    ACCEPTED,
    CARRIED_ATTEMPT,
    CARRIED_HOPS,
    CARRIED_PART,
    CARRIED_PARTS,
    HASH_TYPE,
    LARGEST_PAYLOAD,
    MESSAGE_HEADER,
    TYPE_BLOBS,
    TYPE_PLAIN,
    VERDICTS,
    follows_formula,
    packet_sizes,
    parse,
    write_packets,
    write_transactions,
)
from cold.jit import uint64
from cold.messages import MessageTable
from cold.request_kernels import DATAGRAM_HEADERS, RESPONSE_HEADER
from cold.request_layout import (
    ATTEMPT_SHIFT,
    CHUNKS_SHIFT,
    FREE_LETTER,
    FREE_LETTER_COUNT,
    LETTER_BYTES,
    LETTER_NUMBER,
    LETTER_PART,
    LETTER_PARTS,
    LETTER_WHAT,
    NEXT,
    REFUSED_CHUNKS,
)
from cold.row_lists import with_free_rows
from cold.state_kernels import (
    ANNOUNCEMENT,
    AUXILIARY_SHIFT,
    GREETING,
    HOPS_SHIFT,
    HOT_RESPONSE,
    IDONTWANT,
    IHAVE,
    IHAVE_ID,
    IWANT,
    KIND_MASK,
    MESSAGE,
    MOST_HOPS,
    NO_SLOT,
    OUT_COUNT,
    POOLED,
    PRUNE,
    REQUEST,
    RESPONSE,
    SLOT_MASK,
    SLOT_SHIFT,
    TRANSACTION,
    TRANSACTION_ASK,
    WORD,
    State,
)
from cold.transaction_kernels import ASK_BODY, CARRIER_BODY, FIRST_ASKED, HASH_SIZE, WITHOUT
from cold.transaction_kernels import ATTEMPT_SHIFT as ASKED_SHIFT
from cold.transaction_section import MOST_BLOB_BYTES, MOST_TRANSACTION_BYTES
from cold.transactions import Told, Transactions
from cold.wire_addresses import WireAddresses

_EPOCH_NS = EPOCH * NS_PER_S
#: Origin, the origin's number, time, size and type; zeros fill it up.
_HASH = struct.Struct(">IIQIB")


class Boundary:
    """Reads and writes the packets between hot hosts and identities.

    Parameters
    ----------
    directory
        Who has which address.
    port
        uint16[identities]: UDP port of each.
    topics
        Topic numbers, by topic index.
    seen_ttl_ns
        A message older than this is refused.
    heartbeat_ns
        Between two heartbeats of an identity.
    full_topics
        `Parameters.full_topics`.
    first_id
        HostId of the shard's first identity.
    protocols
        Number of protocols of requests.
    """

    def __init__(
        self,
        directory: HostDirectory,
        port: npt.NDArray[np.uint16],
        topics: list[int],
        seen_ttl_ns: int,
        heartbeat_ns: int,
        full_topics: int,
        first_id: int,
        protocols: int,
    ) -> None:
        self._directory = directory
        self._addresses = WireAddresses.of(directory)
        self._port = port
        #: Of a hot host at an identity: its port and address family.
        self.sockets: dict[int, int] = {}
        self._topic_number = np.array(topics, dtype=np.int64)
        self._topic_index = {number: index for index, number in enumerate(topics)}
        self._seen_ttl_ns = seen_ttl_ns
        self._heartbeat_ns = heartbeat_ns
        self._full_topics = full_topics
        self._first_id = first_id
        self._protocols = protocols
        #: How many rows of `State.asked` are in use.
        self._asked_rows = 0
        #: Those of the run; None where there are none.
        self.transactions: Transactions | None = None
        #: By the ends of a transaction in parts, its type and its number: the part that comes next.
        self._part: dict[tuple[int, int, int], int] = {}
        self.received = 0
        self.sent = 0
        self.dropped: Counter[str] = Counter()

    def decode(
        self, batch: EventBatch, messages: MessageTable, state: State, now: int
    ) -> tuple[State, npt.NDArray[np.int64]]:
        """Turn packets into records for the calendar, int64[n, 3]; messages get their slots."""
        self.received += len(batch)
        # To numba an array that is read-only has another type, for which it would compile another kernel.
        payload = batch.payload if batch.payload.flags.writeable else batch.payload.copy()
        verdicts = parse(
            batch.payload_offset,
            payload,
            batch.source,
            batch.destination,
            *self._addresses,
            self._port,
            self._directory.hot_count,
        )
        records: list[tuple[int, int, int]] = []
        for row, (verdict, socket, kind, number, count, body) in enumerate(verdicts.tolist()):
            source = int(batch.source[row])
            is_asked = kind >= REQUEST
            topic = self._topic_index.get(number)
            if batch.kind[row] != EventKind.PACKET or verdict != ACCEPTED:
                self.dropped[VERDICTS[verdict] if verdict != ACCEPTED else "bad_packet"] += 1
                continue
            time = int(batch.deliver_time[row])
            ends = int(batch.destination[row]) << 32 | source
            if kind in (REQUEST, RESPONSE) and number >= self._protocols:
                self.dropped["unknown_protocol"] += 1
                continue
            if kind >= TRANSACTION and self.transactions is None:
                self.dropped["no_transactions"] += 1
                continue
            if not is_asked and topic is None:
                self.dropped["unknown_topic"] += 1
                continue
            if topic is not None and not is_asked and not self._subscribes(state, int(batch.destination[row]), topic):
                self.dropped["not_subscribed"] += 1
                continue
            if self.sockets.setdefault(ends, socket) != socket:
                self.dropped["second_port"] += 1
                continue
            if kind >= TRANSACTION:
                data = payload[body : batch.payload_offset[row + 1]]
                state, words = self._take_transactions(data, kind, count, ends, time, state, now)
                records += [(time, ends, what) for what in words]
                continue
            if is_asked:
                state, what = self._take_request(payload, body, kind, number, count, state)
                records.append((time, ends, what))
                continue
            assert topic is not None
            datagram = (int(batch.source_event[row]) & WORD) << AUXILIARY_SHIFT
            if kind in (IHAVE, IWANT, IDONTWANT):
                if kind == IHAVE:
                    state = self._with_asked_row(state, int(batch.destination[row]) - self._first_id)
                ids = np.frombuffer(payload[body : body + 8 * count].tobytes(), dtype=">u8").tolist()
                for message_id in sorted(set(ids)):
                    slot = NO_SLOT
                    if kind != IWANT or messages.is_known(message_id):
                        state, slot = messages.reserve(state, message_id, topic, now, time)
                        # What an identity has asked for is remembered until its next heartbeat.
                        state.last_reference[slot] = max(int(state.last_reference[slot]), time + self._heartbeat_ns)
                    records.append((time, ends, datagram | slot << SLOT_SHIFT | (IHAVE_ID if kind == IHAVE else kind)))
            elif kind == MESSAGE:
                state, slot = self._take_message(payload, body, topic, time, messages, state, now)
                if slot >= 0:
                    hops = min(int.from_bytes(payload[body + 20 : body + 22].tobytes()), MOST_HOPS)
                    records.append((time, ends, hops << HOPS_SHIFT | slot << SLOT_SHIFT | MESSAGE))
            else:
                backoff_ms = int.from_bytes(payload[body : body + 4].tobytes()) if kind == PRUNE else 0
                records.append((time, ends, backoff_ms << AUXILIARY_SHIFT | topic << SLOT_SHIFT | kind))
        return state, np.array(records, dtype=np.uint64).view(np.int64).reshape(-1, 3)

    def _subscribes(self, state: State, host: int, topic: int) -> bool:
        """Whether an identity subscribes to a topic, by its index."""
        number = int(state.topic_place[topic]) - self._full_topics
        if number < 0:
            return True
        return bool(int(state.subscribed[host - self._directory.hot_count, number >> 6]) >> (number & 63) & 1)

    def _with_asked_row(self, state: State, identity: int) -> State:
        """The state, in which an identity has a row of `asked`."""
        if state.asked_row[identity] >= 0:
            return state
        self._asked_rows += 1
        return with_asked_row(state, identity, self._asked_rows - 1)

    @staticmethod
    def _take_request(
        payload: npt.NDArray[np.uint8], body: int, kind: int, protocol: int, count: int, state: State
    ) -> tuple[State, int]:
        """The third word of the record of a REQUEST or RESPONSE: what does not fit it is a letter."""
        number = int.from_bytes(payload[body : body + 4].tobytes())
        attempt, status = int(payload[body + 4]), int(payload[body + 5])
        if kind == RESPONSE and status != 0:
            count = REFUSED_CHUNKS
        what = count << CHUNKS_SHIFT | attempt << ATTEMPT_SHIFT | protocol
        if kind == REQUEST:
            return state, number << AUXILIARY_SHIFT | what << SLOT_SHIFT | REQUEST
        state = with_free_rows(state, "letter", 1)
        row = int(state.request_cursor[FREE_LETTER])
        letter = state.letter[row]
        state.request_cursor[FREE_LETTER] = letter[NEXT]
        state.request_cursor[FREE_LETTER_COUNT] -= 1
        part, parts, carried = (
            int.from_bytes(payload[body + at : body + at + size].tobytes()) for at, size in ((6, 2), (8, 2), (10, 4))
        )
        letter[LETTER_WHAT], letter[LETTER_NUMBER] = what, number
        letter[LETTER_PART], letter[LETTER_PARTS] = part, parts
        letter[LETTER_BYTES] = DATAGRAM_HEADERS + RESPONSE_HEADER + carried
        return state, row << AUXILIARY_SHIFT | HOT_RESPONSE

    def _take_transactions(
        self, body: npt.NDArray[np.uint8], kind: int, count: int, ends: int, time: int, state: State, now: int
    ) -> tuple[State, list[int]]:
        """The third words of the records of a datagram about transactions, whose length is right."""
        if kind == GREETING:
            return state, [count << SLOT_SHIFT | GREETING]
        if kind in (TRANSACTION, POOLED):
            return self._take_carried(body, kind, count, ends, time, state, now)
        first = ASK_BODY if kind == TRANSACTION_ASK else 0
        numbers: dict[int, None] = {}
        for place in range(count):
            at = first + HASH_SIZE * place
            state, number = self._number_of(body[at : at + HASH_SIZE].tobytes(), time, state, now)
            if number >= 0:
                numbers[number] = None
        contents = 0
        if kind == TRANSACTION_ASK:
            contents = int.from_bytes(body[:2].tobytes()) << ASKED_SHIFT
        words = [number << AUXILIARY_SHIFT | contents << SLOT_SHIFT | kind for number in numbers]
        if words:
            # The first stands for the whole datagram's bytes.
            words[0] |= (count if kind == ANNOUNCEMENT else FIRST_ASKED) << SLOT_SHIFT
        return state, words

    def _take_carried(
        self, body: npt.NDArray[np.uint8], kind: int, count: int, ends: int, time: int, state: State, now: int
    ) -> tuple[State, list[int]]:
        """A transaction, or a part of one, or the answer that it is not there."""
        attempt, hops, part, parts = (
            int.from_bytes(body[at : at + 2].tobytes())
            for at in (CARRIED_ATTEMPT, CARRIED_HOPS, CARRIED_PART, CARRIED_PARTS)
        )
        message_id = int.from_bytes(body[:8].tobytes())
        if not follows_formula(uint64(message_id), part * LARGEST_PAYLOAD, body[CARRIER_BODY:]):
            self.dropped["bad_transaction"] += 1
            return state, []
        if kind == TRANSACTION and body[HASH_TYPE] == TYPE_BLOBS:
            # EIP-4844: those are announced only.
            self.dropped["pushed_blobs"] += 1
            return state, []
        state, number = self._number_of(body[:HASH_SIZE].tobytes(), time, state, now)
        if number < 0:
            return state, []
        # Hosts count from 0 at the origin, identities from 1.
        contents = attempt << ASKED_SHIFT | (min(hops + 1, MOST_HOPS) if count else WITHOUT)
        if kind == TRANSACTION:
            contents &= MOST_HOPS
        if parts > 1:
            if part != (self._part.pop((ends, kind, number), 0) if part else 0):
                self.dropped["missing_part"] += 1
                return state, []
            if part + 1 < parts:
                self._part[ends, kind, number] = part + 1
                return state, []
        return state, [number << AUXILIARY_SHIFT | contents << SLOT_SHIFT | kind]

    def _number_of(self, text: bytes, time: int, state: State, now: int) -> tuple[State, int]:
        """The number of the transaction with a hash, which a datagram brings at a time [ns]; -1 if it is refused."""
        assert self.transactions is not None
        address, sequence, submitted, size, what = _HASH.unpack(text[: HASH_TYPE + 1])
        said = Told(
            self._directory.id_of_address(address), sequence, submitted - _EPOCH_NS, size, int(what == TYPE_BLOBS)
        )
        is_ours = said.origin >= self._directory.hot_count
        largest = MOST_BLOB_BYTES if said.blobs else MOST_TRANSACTION_BYTES
        if (
            what not in (TYPE_PLAIN, TYPE_BLOBS)
            or any(text[HASH_TYPE + 1 :])
            or said.origin < 0
            or not 1 <= size <= largest
            or not (is_ours or 1 <= sequence <= self.transactions.most_sequences)
        ):
            self.dropped["bad_transaction"] += 1
        elif not self.transactions.lives(said.time, time):
            self.dropped["stale_transaction"] += 1
        elif not is_ours:
            return self.transactions.hear(state, said, now)
        elif self.transactions.is_planned(said):
            return state, sequence - 1
        else:
            self.dropped["unknown_transaction"] += 1
        return state, -1

    def _take_message(
        self,
        payload: npt.NDArray[np.uint8],
        body: int,
        topic: int,
        time: int,
        messages: MessageTable,
        state: State,
        now: int,
    ) -> tuple[State, int]:
        """Slot of the message in a datagram, or -1 if it is refused."""
        head = payload[body : body + MESSAGE_HEADER].tobytes()
        message_id = int.from_bytes(head[0:8])
        origin_address = int.from_bytes(head[8:12])
        publish_time = int.from_bytes(head[12:20]) - _EPOCH_NS
        size = int.from_bytes(head[22:26])
        if not time - self._seen_ttl_ns < publish_time <= time:
            self.dropped["stale_message"] += 1
            return state, -1
        state, slot = messages.reserve(state, message_id, topic, now, time)
        if not messages.is_published(slot):
            origin = self._directory.id_of_address(origin_address)
            state = messages.describe(state, slot, topic, publish_time, origin, origin_address, size)
            messages.note_fresh(slot)
            carried = payload[body + MESSAGE_HEADER : body + MESSAGE_HEADER + size]
            if not follows_formula(uint64(message_id), 0, carried):
                messages.payload[slot] = carried.tobytes()
        elif not messages.agrees(state, slot, publish_time, origin_address, topic, size):
            self.dropped["conflicting_message"] += 1
            return state, -1
        state.last_reference[slot] = max(int(state.last_reference[slot]), time)
        return state, slot

    def encode(self, messages: MessageTable, state: State, window_end: int) -> EventBatch:
        """Turn the records for hot hosts into packets, delivered at `window_end` at the earliest."""
        count = int(state.cursor[OUT_COUNT])
        if count == 0:
            return EventBatch.empty()
        self.sent += count
        out = state.out[:count]
        ends = out[:, 1] << 32 | out[:, 1] >> 32
        sockets = np.array([self.sockets[pair] for pair in ends.tolist()], dtype=np.int64)
        offset = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(packet_sizes(out, sockets, state.message_size), out=offset[1:])
        data = np.zeros(int(offset[-1]), dtype=np.uint8)
        write_packets(
            out,
            state.out_ids,
            offset,
            *self._addresses,
            self._port,
            sockets,
            self._directory.hot_count,
            self._topic_number,
            state.message_id,
            state.message_topic,
            messages.origin_address,
            messages.publish_time + _EPOCH_NS,
            state.message_size,
            data,
        )
        if self.transactions is not None:
            write_transactions(
                *(out, state.out_ids, offset, self._addresses.address, sockets, state.transaction, _EPOCH_NS, data)
            )
        if messages.payload:
            self._put_payloads(out, offset, messages, data)
        return EventBatch.build(
            np.maximum(out[:, 0], window_end),
            out[:, 1] & 0xFFFFFFFF,
            out[:, 2] >> 32,
            out[:, 1] >> 32,
            EventKind.PACKET,
            offset,
            data,
        )

    @staticmethod
    def _put_payloads(
        out: npt.NDArray[np.int64],
        offset: npt.NDArray[np.int64],
        messages: MessageTable,
        data: npt.NDArray[np.uint8],
    ) -> None:
        for row in np.flatnonzero(out[:, 3] & KIND_MASK == MESSAGE).tolist():
            payload = messages.payload.get(int(out[row, 3] >> SLOT_SHIFT) & SLOT_MASK)
            if payload is not None:
                end = int(offset[row + 1])
                data[end - len(payload) : end] = np.frombuffer(payload, dtype=np.uint8)
