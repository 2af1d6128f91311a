"""Kernels of `cold.boundary`: gossip datagrams in IPv4 and IPv6 packets, as ``docs/gossip-datagram.md`` has them."""

from typing import Final

import numpy as np
import numpy.typing as npt

from cold.jit import int64, kernel, uint64
from cold.request_layout import ATTEMPT_MASK, ATTEMPT_SHIFT, CHUNKS_SHIFT, PROTOCOL_MASK, REFUSED_CHUNKS
from cold.state_kernels import (
    ANNOUNCEMENT,
    GREETING,
    HELLO,
    HOPS_SHIFT,
    IDONTWANT,
    IHAVE,
    IWANT,
    KIND_MASK,
    MESSAGE,
    MOST_HOPS,
    POOLED,
    PRUNE,
    REQUEST,
    RESPONSE,
    SLOT_MASK,
    SLOT_SHIFT,
    TRANSACTION,
    TRANSACTION_ASK,
    WORD,
    Int64Array,
    UInt8Array,
    UInt32Array,
    UInt64Array,
)
from cold.transaction_kernels import (
    ASK_BODY,
    BLOBS,
    CARRIER_BODY,
    HASH_SIZE,
    LEAVES,
    MOST_HASHES,
    ORIGIN,
    SEQUENCE,
    SIZE,
    TIME,
    WITHOUT,
)
from cold.transaction_kernels import ATTEMPT_MASK as ASKED_MASK
from cold.transaction_kernels import ATTEMPT_SHIFT as ASKED_SHIFT

IP_HEADER: Final = 20
IP6_HEADER: Final = 40
UDP_HEADER: Final = 8
HEADER: Final = 8
#: Number and attempt of a request, and how many bytes fill it up; of a response also its status, part, parts and size.
REQUEST_BODY: Final = 7
RESPONSE_BODY: Final = 14
#: Id, origin, publish time, hops and size of a message, before its payload.
MESSAGE_HEADER: Final = 26
MAGIC: Final = 0x4147
VERSION: Final = 1
PROTOCOL_UDP: Final = 17
TIME_TO_LIVE: Final = 64
DO_NOT_FRAGMENT: Final = 0x4000
LARGEST_PAYLOAD: Final = 60_000
MOST_IDS: Final = 128
#: As `cold.request_section` has it.
MOST_CHUNKS: Final = 1024
#: Where in the body of a TRANSACTION or POOLED each field behind the hash begins.
CARRIED_ATTEMPT, CARRIED_HOPS, CARRIED_PART, CARRIED_PARTS, CARRIED_SIZE = 32, 34, 36, 38, 40
#: Of a transaction's hash, behind its origin, the origin's number of it, the time and the size: what it is (EIP-2718).
HASH_TYPE: Final = 20
TYPE_PLAIN: Final = 2
TYPE_BLOBS: Final = 3
#: A socket of a hot host as an identity knows it: its port, and this where it speaks IPv6.
OVER_IPV6: Final = 1 << 16
#: Payload byte i of message m is bits 32 to 39 of m * GOLDEN + i.
GOLDEN: Final = uint64(0x9E3779B97F4A7C15)

#: Verdicts of `parse`, in the order of the checks. The first means that the datagram is good.
VERDICTS: Final = (
    "accepted",
    "bad_packet",
    "wrong_address",
    "wrong_port",
    "bad_header",
    "bad_length",
)
ACCEPTED, BAD_PACKET, WRONG_ADDRESS, WRONG_PORT, BAD_HEADER, BAD_LENGTH = range(len(VERDICTS))


@kernel
def _get(data: UInt8Array, at: int, size: int) -> int:
    value = int64(0)
    for index in range(size):
        value = value << 8 | int64(data[at + index])
    return value


@kernel
def _put(data: UInt8Array, at: int, size: int, value: int) -> None:
    for index in range(size):
        data[at + index] = np.uint8(value >> (8 * (size - 1 - index)) & 255)


@kernel
def _address6(
    host: int, address: UInt32Array, hot_address6: UInt64Array, prefix6: UInt64Array
) -> tuple[np.uint64, np.uint64]:
    """High and low half of the IPv6 address of a host."""
    if host < len(hot_address6):
        return hot_address6[host, 0], hot_address6[host, 1]
    return prefix6[0], prefix6[1] | uint64(address[host])


@kernel
def _has_address6(
    data: UInt8Array, at: int, host: int, address: UInt32Array, hot_address6: UInt64Array, prefix6: UInt64Array
) -> bool:
    """Whether the 16 bytes from `at` on are the IPv6 address of a host."""
    high, low = _address6(host, address, hot_address6, prefix6)
    return uint64(_get(data, at, 8)) == high and uint64(_get(data, at + 8, 8)) == low


@kernel
def _put_address6(
    data: UInt8Array, at: int, host: int, address: UInt32Array, hot_address6: UInt64Array, prefix6: UInt64Array
) -> None:
    high, low = _address6(host, address, hot_address6, prefix6)
    _put(data, at, 8, int64(high))
    _put(data, at + 8, 8, int64(low))


@kernel
def parse(
    offset: Int64Array,
    payload: UInt8Array,
    source: UInt32Array,
    destination: UInt32Array,
    address: UInt32Array,
    hot_address6: UInt64Array,
    prefix6: UInt64Array,
    port: npt.NDArray[np.uint16],
    hot_count: int,
) -> Int64Array:
    """Check packets for cold identities and find the datagrams in them.

    Parameters
    ----------
    offset, payload
        int64[n + 1] and uint8: the packets.
    source, destination
        uint32[n]: HostIds.
    address, hot_address6, prefix6
        `cold.wire_addresses.WireAddresses`.
    port
        uint16[identities].
    hot_count
        HostId of identity 0.

    Returns
    -------
    int64[n, 6]
        Verdict, source port (with `OVER_IPV6`), type, topic, count, and where the body begins in `payload`.
    """
    result = np.zeros((len(source), 6), dtype=np.int64)
    for index in range(len(source)):
        at, size = offset[index], offset[index + 1] - offset[index]
        sender, receiver = int64(source[index]), int64(destination[index])
        is_ipv6 = size >= IP6_HEADER and payload[at] >> 4 == 6
        header = IP6_HEADER if is_ipv6 else IP_HEADER
        udp = at + header
        if is_ipv6:
            is_whole = _get(payload, at + 4, 2) == size - header and payload[at + 6] == PROTOCOL_UDP
        else:
            is_whole = (
                size >= header
                and payload[at] == 0x45
                and _get(payload, at + 2, 2) == size
                and payload[at + 9] == PROTOCOL_UDP
            )
        if not is_whole or size < header + UDP_HEADER or _get(payload, udp + 4, 2) != size - header:
            result[index, 0] = BAD_PACKET
            continue
        if is_ipv6:
            is_theirs = _has_address6(payload, at + 8, sender, address, hot_address6, prefix6) and _has_address6(
                payload, at + 24, receiver, address, hot_address6, prefix6
            )
        else:
            is_theirs = _get(payload, at + 12, 4) == address[sender] and _get(payload, at + 16, 4) == address[receiver]
        if not is_theirs:
            result[index, 0] = WRONG_ADDRESS
            continue
        result[index, 1] = _get(payload, udp, 2) | (OVER_IPV6 if is_ipv6 else 0)
        if _get(payload, udp + 2, 2) != port[receiver - hot_count]:
            result[index, 0] = WRONG_PORT
            continue
        head = udp + UDP_HEADER
        length = size - header - UDP_HEADER
        if length < HEADER or _get(payload, head, 2) != MAGIC or payload[head + 2] != VERSION:
            result[index, 0] = BAD_HEADER
            continue
        kind, count = int64(payload[head + 3]), _get(payload, head + 6, 2)
        body = length - HEADER
        if not HELLO <= kind <= GREETING:
            result[index, 0] = BAD_HEADER
        elif kind >= TRANSACTION:
            result[index, 0] = check_transaction(payload, head, kind, count, body)
        elif kind == REQUEST:
            if (
                body < REQUEST_BODY
                or count > MOST_CHUNKS
                or payload[head + HEADER + 4] > ATTEMPT_MASK
                or body != REQUEST_BODY + _get(payload, head + HEADER + 5, 2)
            ):
                result[index, 0] = BAD_LENGTH
        elif kind == RESPONSE:
            if body < RESPONSE_BODY or count > MOST_CHUNKS or payload[head + HEADER + 4] > ATTEMPT_MASK:
                result[index, 0] = BAD_LENGTH
            else:
                part, parts = _get(payload, head + HEADER + 6, 2), _get(payload, head + HEADER + 8, 2)
                carried = _get(payload, head + HEADER + 10, 4)
                if part >= parts or carried > LARGEST_PAYLOAD or body != RESPONSE_BODY + carried:
                    result[index, 0] = BAD_LENGTH
        elif kind in (IHAVE, IWANT, IDONTWANT):
            if count < 1 or count > MOST_IDS or body != 8 * count:
                result[index, 0] = BAD_LENGTH
        elif kind == MESSAGE:
            if count != 1 or body < MESSAGE_HEADER:
                result[index, 0] = BAD_LENGTH
            else:
                carried = _get(payload, head + HEADER + 22, 4)
                if carried > LARGEST_PAYLOAD or body != MESSAGE_HEADER + carried:
                    result[index, 0] = BAD_LENGTH
        elif count != 0 or body != (4 if kind == PRUNE else 0):
            result[index, 0] = BAD_LENGTH
        result[index, 2] = kind
        result[index, 3] = _get(payload, head + 4, 2)
        result[index, 4] = count
        result[index, 5] = head + HEADER
    return result


@kernel
def check_transaction(payload: UInt8Array, head: int, kind: int, count: int, body: int) -> int:
    """The verdict about a datagram of transactions from `head` on, with a body of so many bytes."""
    if _get(payload, head + 4, 2) != 0:
        return BAD_HEADER
    at = head + HEADER
    if kind == GREETING:
        return ACCEPTED if count <= LEAVES and body == 0 else BAD_LENGTH
    if kind == ANNOUNCEMENT:
        return ACCEPTED if 1 <= count <= MOST_HASHES and body == HASH_SIZE * count else BAD_LENGTH
    if kind == TRANSACTION_ASK:
        is_whole = 1 <= count <= MOST_HASHES and body == ASK_BODY + HASH_SIZE * count
        return ACCEPTED if is_whole and _get(payload, at, 2) <= ASKED_MASK else BAD_LENGTH
    if body < CARRIER_BODY or count > 1 or (count == 0 and kind == TRANSACTION):
        return BAD_LENGTH
    part, parts = _get(payload, at + CARRIED_PART, 2), _get(payload, at + CARRIED_PARTS, 2)
    size, carried = _get(payload, at + 16, 4) * count, _get(payload, at + CARRIED_SIZE, 4)
    is_whole = (
        body == CARRIER_BODY + carried
        and parts == max((size + LARGEST_PAYLOAD - 1) // LARGEST_PAYLOAD, 1)
        and part < parts
        and carried == min(size - part * LARGEST_PAYLOAD, LARGEST_PAYLOAD)
        and _get(payload, at + CARRIED_ATTEMPT, 2) <= ASKED_MASK
    )
    return ACCEPTED if is_whole else BAD_LENGTH


@kernel
def follows_formula(message_id: int, first: int, payload: UInt8Array) -> bool:
    """Whether a message's payload, from its byte `first` on, is the one that its id stands for."""
    value = uint64(message_id) * GOLDEN + uint64(first)
    for index in range(len(payload)):
        if payload[index] != np.uint8(value >> uint64(32) & uint64(255)):
            return False
        value += uint64(1)
    return True


@kernel
def packet_sizes(out: Int64Array, socket: Int64Array, message_size: Int64Array) -> Int64Array:
    """Bytes of the packet that each record for a hot host becomes, int64[n]; `socket` as `write_packets` has it."""
    sizes = np.empty(len(out), dtype=np.int64)
    for index in range(len(out)):
        kind, slot = out[index, 3] & KIND_MASK, (out[index, 3] >> SLOT_SHIFT) & SLOT_MASK
        size = (IP6_HEADER if socket[index] & OVER_IPV6 else IP_HEADER) + UDP_HEADER + HEADER
        if kind == PRUNE:
            size += 4
        elif kind in (IHAVE, IWANT, IDONTWANT):
            size += 8 * out[index, 5]
        elif kind == MESSAGE:
            size += MESSAGE_HEADER + message_size[slot]
        elif kind == REQUEST:
            size += REQUEST_BODY + out[index, 5]
        elif kind == RESPONSE:
            size += RESPONSE_BODY + out[index, 5]
        elif kind in (TRANSACTION, POOLED):
            size += CARRIER_BODY + out[index, 5]
        elif kind in (ANNOUNCEMENT, TRANSACTION_ASK):
            size += HASH_SIZE * out[index, 5] + (ASK_BODY if kind == TRANSACTION_ASK else 0)
        sizes[index] = size
    return sizes


@kernel
def _put_header(data: UInt8Array, at: int, size: int, identification: int, source: int, destination: int) -> None:
    """Write an IPv4 header with its checksum (RFC 791)."""
    _put(data, at, 2, 0x4500)
    _put(data, at + 2, 2, size)
    _put(data, at + 4, 2, identification)
    _put(data, at + 6, 2, DO_NOT_FRAGMENT)
    _put(data, at + 8, 2, TIME_TO_LIVE << 8 | PROTOCOL_UDP)
    _put(data, at + 10, 2, 0)
    _put(data, at + 12, 4, source)
    _put(data, at + 16, 4, destination)
    total = int64(0)
    for word in range(IP_HEADER // 2):
        total += _get(data, at + 2 * word, 2)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    _put(data, at + 10, 2, ~total & 0xFFFF)


@kernel
def write_packets(
    out: Int64Array,
    out_ids: UInt64Array,
    offset: Int64Array,
    address: UInt32Array,
    hot_address6: UInt64Array,
    prefix6: UInt64Array,
    port: npt.NDArray[np.uint16],
    socket: Int64Array,
    hot_count: int,
    topic_number: Int64Array,
    message_id: UInt64Array,
    message_topic: npt.NDArray[np.int32],
    message_origin_address: UInt32Array,
    message_publish_time: Int64Array,
    message_size: Int64Array,
    data: UInt8Array,
) -> None:
    """Write the packets of the records `out` into `data`, packet i from ``offset[i]`` on, to the socket ``socket[i]``.

    That is a port, with `OVER_IPV6` where the packet is one of IPv6. `message_publish_time` is in Unix nanoseconds.
    Payloads are those that the ids stand for; the caller puts others in their place, and `write_transactions` writes
    what is about transactions. The UDP checksum is 0, as everywhere on the simulated wire.
    """
    for index in range(len(out)):
        at, size = offset[index], offset[index + 1] - offset[index]
        peer, source = out[index, 1] >> 32, out[index, 1] & WORD
        auxiliary, what = out[index, 2] & WORD, out[index, 3]
        kind, slot, hops = what & KIND_MASK, (what >> SLOT_SHIFT) & SLOT_MASK, what >> HOPS_SHIFT

        header = IP6_HEADER if socket[index] & OVER_IPV6 else IP_HEADER
        if socket[index] & OVER_IPV6:
            _put(data, at, 4, 6 << 28)
            _put(data, at + 4, 2, size - IP6_HEADER)
            _put(data, at + 6, 2, PROTOCOL_UDP << 8 | TIME_TO_LIVE)
            _put_address6(data, at + 8, source, address, hot_address6, prefix6)
            _put_address6(data, at + 24, peer, address, hot_address6, prefix6)
        else:
            _put_header(data, at, size, out[index, 2] >> 32 & 0xFFFF, int64(address[source]), int64(address[peer]))

        udp = at + header
        _put(data, udp, 2, int64(port[source - hot_count]))
        _put(data, udp + 2, 2, socket[index] & 0xFFFF)
        _put(data, udp + 4, 2, size - header)
        _put(data, udp + 6, 2, 0)

        head = udp + UDP_HEADER
        if kind in (REQUEST, RESPONSE):
            write_request(out[index], address, head, size - header - UDP_HEADER, data)
            continue
        if TRANSACTION <= kind <= GREETING:
            continue
        topic = int64(message_topic[slot]) if kind == MESSAGE else slot
        count = 1 if kind == MESSAGE else out[index, 5]
        _put(data, head, 2, MAGIC)
        _put(data, head + 2, 1, VERSION)
        _put(data, head + 3, 1, kind)
        _put(data, head + 4, 2, topic_number[topic])
        _put(data, head + 6, 2, count)
        body = head + HEADER
        if kind == PRUNE:
            _put(data, body, 4, auxiliary)
        elif kind in (IHAVE, IWANT, IDONTWANT):
            for position in range(count):
                _put(data, body + 8 * position, 8, int64(out_ids[out[index, 4] + position]))
        elif kind == MESSAGE:
            _put(data, body, 8, int64(message_id[slot]))
            _put(data, body + 8, 4, int64(message_origin_address[slot]))
            _put(data, body + 12, 8, message_publish_time[slot])
            _put(data, body + 20, 2, hops)
            _put(data, body + 22, 4, message_size[slot])
            value = message_id[slot] * GOLDEN
            for position in range(message_size[slot]):
                data[body + MESSAGE_HEADER + position] = np.uint8(value >> uint64(32) & uint64(255))
                value += uint64(1)


@kernel
def write_transactions(
    out: Int64Array,
    out_ids: UInt64Array,
    offset: Int64Array,
    address: UInt32Array,
    socket: Int64Array,
    transaction: Int64Array,
    epoch_ns: int,
    data: UInt8Array,
) -> None:
    """Write the datagrams of TRANSACTION to GREETING, into packets that `write_packets` has begun."""
    for index in range(len(out)):
        kind, contents = out[index, 3] & KIND_MASK, (out[index, 3] >> SLOT_SHIFT) & SLOT_MASK
        if not TRANSACTION <= kind <= GREETING:
            continue
        head = offset[index] + UDP_HEADER + (IP6_HEADER if socket[index] & OVER_IPV6 else IP_HEADER)
        row, place, items = out[index, 2] & WORD, out[index, 4], out[index, 5]
        count = items
        if kind == GREETING:
            count = contents
        elif kind in (TRANSACTION, POOLED):
            count = 0 if kind == POOLED and contents & WITHOUT else 1
        _put(data, head, 2, MAGIC)
        _put(data, head + 2, 1, VERSION)
        _put(data, head + 3, 1, kind)
        _put(data, head + 4, 2, 0)
        _put(data, head + 6, 2, count)
        body = head + HEADER
        attempt = contents >> ASKED_SHIFT
        if kind == ANNOUNCEMENT:
            for position in range(items):
                _put_hash(data, body + HASH_SIZE * position, address, transaction[out_ids[place + position]], epoch_ns)
        elif kind == TRANSACTION_ASK:
            _put(data, body, 2, attempt)
            _put_hash(data, body + ASK_BODY, address, transaction[row], epoch_ns)
        elif kind != GREETING:
            _put_hash(data, body, address, transaction[row], epoch_ns)
            _put(data, body + CARRIED_ATTEMPT, 2, attempt if kind == POOLED else 0)
            # Hosts count from 0 at the origin, identities from 1.
            _put(data, body + CARRIED_HOPS, 2, (contents & MOST_HOPS) - 1 if count == 1 else 0)
            _put(data, body + CARRIED_PART, 2, place >> 16)
            _put(data, body + CARRIED_PARTS, 2, place & 0xFFFF)
            _put(data, body + CARRIED_SIZE, 4, items)
            message_id = uint64(_get(data, body, 8))
            value = message_id * GOLDEN + uint64((place >> 16) * LARGEST_PAYLOAD)
            for position in range(body + CARRIER_BODY, body + CARRIER_BODY + items):
                data[position] = np.uint8(value >> uint64(32) & uint64(255))
                value += uint64(1)


@kernel
def _put_hash(data: UInt8Array, at: int, address: UInt32Array, transaction: Int64Array, epoch_ns: int) -> None:
    """Write the hash of a transaction, given its row of `State.transaction`."""
    _put(data, at, 4, int64(address[transaction[ORIGIN]]))
    _put(data, at + 4, 4, transaction[SEQUENCE])
    _put(data, at + 8, 8, transaction[TIME] + epoch_ns)
    _put(data, at + 16, 4, transaction[SIZE])
    _put(data, at + HASH_TYPE, 1, TYPE_BLOBS if transaction[BLOBS] else TYPE_PLAIN)
    for position in range(at + HASH_TYPE + 1, at + HASH_SIZE):
        data[position] = np.uint8(0)


@kernel
def write_request(record: Int64Array, address: UInt32Array, head: int, length: int, data: UInt8Array) -> None:
    """Write the datagram of a REQUEST or RESPONSE from `head` on, of the last dimension of `State.out`."""
    kind, slot, number = record[3] & KIND_MASK, (record[3] >> SLOT_SHIFT) & SLOT_MASK, record[2] & WORD
    chunks, is_refused = slot >> CHUNKS_SHIFT, slot >> CHUNKS_SHIFT == REFUSED_CHUNKS
    _put(data, head, 2, MAGIC)
    _put(data, head + 2, 1, VERSION)
    _put(data, head + 3, 1, kind)
    _put(data, head + 4, 2, slot & PROTOCOL_MASK)
    _put(data, head + 6, 2, 0 if is_refused else chunks)
    body = head + HEADER
    _put(data, body, 4, number)
    _put(data, body + 4, 1, (slot >> ATTEMPT_SHIFT) & ATTEMPT_MASK)
    if kind == REQUEST:
        _put(data, body + 5, 2, record[5])
        for position in range(body + REQUEST_BODY, head + length):
            data[position] = np.uint8(0)
        return
    part = record[4] >> 16
    _put(data, body + 5, 1, 1 if is_refused else 0)
    _put(data, body + 6, 2, part)
    _put(data, body + 8, 2, record[4] & 0xFFFF)
    _put(data, body + 10, 4, record[5])
    value = uint64(int64(address[record[1] >> 32]) << 32 | number) * GOLDEN + uint64(part * LARGEST_PAYLOAD)
    for position in range(body + RESPONSE_BODY, head + length):
        data[position] = np.uint8(value >> uint64(32) & uint64(255))
        value += uint64(1)
