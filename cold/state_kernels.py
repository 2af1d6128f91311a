"""The arrays that the kernels of gossip work on, and the calendar of events.

A calendar is a ring of buckets of simulated time; a bucket is a list of chunks of records, first in, first out, so that
pushing writes to a few hot cache lines and executing reads them in order. A record is three int64 words:

    time | destination << 32 | source | auxiliary << 32 | hops << 24 | slot << 4 | kind

Destination and source are HostIds. Auxiliary is the heartbeat of an IHAVE, the backoff [ms] of a PRUNE, the number of
the datagram that an IHAVE_ID came in. The slot of a message is its row in the message arrays; of GRAFT, PRUNE, HELLO,
LEAVE and IHAVE it is the topic's index. Packets of one source with one time of arrival keep the order in which they
were sent, because every step from `push` to `execute` is stable.

A shard has rows for its own identities only. Records for identities of other shards leave by `State.crossing`.

What an event touches lies together, against the rule that state is structure-of-arrays: that rule is for streaming,
and events come to identities at random, so that each array costs a cache miss. A row of `identity` is what receiving
touches, a row of `mesh` what forwarding touches besides; with the default parameters both are one cache line.
"""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cold.jit import int64, kernel, uint64

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]
UInt16Array = npt.NDArray[np.uint16]
UInt32Array = npt.NDArray[np.uint32]
UInt64Array = npt.NDArray[np.uint64]
Float64Array = npt.NDArray[np.float64]

NEVER: Final = 2**63 - 1
WORD: Final = 0xFFFFFFFF
CHUNK_SHIFT: Final = 7
CHUNK: Final = 1 << CHUNK_SHIFT
#: Rates are ns per byte in fixed point.
RATE_SHIFT: Final = 20
CACHE_LINE: Final = 64

# The third word of a record.
KIND_MASK: Final = 15
SLOT_SHIFT: Final = 4
SLOT_MASK: Final = 0xFFFFF
#: In an IWANT: a message that nobody here has heard of.
NO_SLOT: Final = SLOT_MASK
HOPS_SHIFT: Final = 24
MOST_HOPS: Final = 255
AUXILIARY_SHIFT: Final = 32

# Columns of `identity`.
DOWNLINK_FREE: Final = 0
"""When the last queued byte has come in [ns]."""
DOWNLINK_RATE: Final = 1
"""ns per byte << RATE_SHIFT."""
UPLINK_FREE: Final = 2
UPLINK_RATE: Final = 3
PACKETS: Final = 4
"""Packets sent."""
PHASE: Final = 5
"""Time of the first heartbeat [ns]."""
RANK: Final = 6
"""Position of the identity in the order of client kinds and phases, and its client kind << CLIENT_SHIFT."""
CLIENT_SHIFT: Final = 32
SEEN: Final = 7
"""The first of the words with a bit for each message received."""

# Columns of `mesh`.
MESH_COUNT: Final = 0
RECENT: Final = 1
"""The first of `mcache_gossip` counts: messages cached in each of the last intervals between heartbeats."""

# Columns of `client`: the gossip parameters of a kind of client.
D: Final = 0
D_LOW: Final = 1
D_HIGH: Final = 2
D_LAZY: Final = 3
HEARTBEAT_NS: Final = 4
VALIDATION_DELAY: Final = 5
"""Where in `validation_delay` the kind's table begins."""
FIRST_RANK: Final = 6
"""Of the identities of the kind, which have consecutive ranks."""
PAST_RANK: Final = 7
TURN: Final = 8
"""The last multiple of HEARTBEAT_NS before the step at work, or at its start [ns]."""
CLIENT_COLUMNS: Final = 9

#: First arrivals are kept as time << ARRIVAL_SHIFT | hops.
ARRIVAL_SHIFT: Final = 8

# Kinds of events. The first eight arrive from the network and have the numbers of the datagram format where they can.
HELLO: Final = 1
LEAVE: Final = 2
GRAFT: Final = 3
PRUNE: Final = 4
#: IHAVE of a cold identity: its ids are looked up in what the sender had at that heartbeat, which changes no more.
IHAVE: Final = 5
#: One id of an IWANT.
IWANT: Final = 6
MESSAGE: Final = 7
#: One id of an IHAVE of a hot host.
IHAVE_ID: Final = 8
# Kinds that an identity schedules for itself.
FORWARD: Final = 9
PUBLISH: Final = 10
#: A heartbeat that has something to do: names the identity, no more.
BEAT: Final = 11
#: An IHAVE for an identity of another shard, whose identities have all that it lists: counted here, when it arrives.
SPARED: Final = 12

# Entries of `cursor`.
FREE_HEAD: Final = 0
FREE_COUNT: Final = 1
DUE_COUNT: Final = 2
POSITION: Final = 3
OUT_COUNT: Final = 4
OUT_IDS_COUNT: Final = 5
LINK_COUNT: Final = 6
BACKOFF_COUNT: Final = 7
NEEDED: Final = 8
CROSSING_COUNT: Final = 9
CURSORS: Final = 10

# Entries of `counters`.
COUNTER_NAMES: Final = (
    "edge_events",
    "messages_received",
    "duplicates",
    "expired",
    "ihave_received",
    "iwant_received",
    "iwant_unserved",
    "control_received",
    "messages_sent",
    "ihave_sent",
    "iwant_sent",
    "control_sent",
    "bytes_sent",
    "packets_lost",
    "forwards",
    "heartbeats",
    "published",
)
(
    EDGE_EVENTS,
    MESSAGES_RECEIVED,
    DUPLICATES,
    EXPIRED,
    IHAVE_RECEIVED,
    IWANT_RECEIVED,
    IWANT_UNSERVED,
    CONTROL_RECEIVED,
    MESSAGES_SENT,
    IHAVE_SENT,
    IWANT_SENT,
    CONTROL_SENT,
    BYTES_SENT,
    PACKETS_LOST,
    FORWARDS,
    HEARTBEATS,
    PUBLISHED,
) = range(len(COUNTER_NAMES))


class Parameters(NamedTuple):
    """Scalars that do not change in a run."""

    key_0: int
    key_1: int
    hot_count: int
    """Every smaller HostId is that of a hot host."""
    first_id: int
    """HostId of the first row: rows are the identities of this shard."""
    rows: int
    """Number of identities of this shard."""
    topics: int
    most_lazy: int
    """The largest D_lazy of a kind of client."""
    mcache_length: int
    mcache_gossip: int
    prune_backoff_ms: int
    flood_publish: int
    """1 or 0."""
    bucket_shift: int
    bucket_mask: int
    largest_row: int
    digit_bits: int
    """Half of the bits of the largest row, rounded up."""
    first_member: int
    """Column of `State.mesh` where the members begin."""


class State(NamedTuple):
    """Arrays. N identities of this shard of R, A of all, H hot hosts, S slots, W = S / 64 words, T topics, L nodes."""

    # The network.
    node: UInt16Array
    """uint16[H + A]."""
    cuts: Int64Array
    """int64[R + 1]: first HostId of each shard's identities, and one past the last identity."""
    latency: Int64Array
    """int64[L, L], ns."""
    loss: Float64Array
    """float64[L, L]."""
    validation_delay: Int64Array
    """int64[n]: the tables of the validation delays' distributions [ns], see `cold.distribution_kernels`."""
    client: Int64Array
    """int64[K, CLIENT_COLUMNS]: the columns above, of each kind of client."""

    # Identities.
    identity: Int64Array
    """int64[N, SEEN + W]: the columns above, in rows that begin at a cache line where W is 1."""
    asked: UInt64Array
    """uint64[N, W]: messages asked for in the heartbeat interval `asked_heartbeat`."""
    asked_heartbeat: Int32Array
    identity_of_rank: Int32Array
    sorted_phase: Int64Array
    needed: UInt64Array
    """uint64[N / 64 + 1]: a bit by phase rank: the next heartbeat has something to do."""

    # The overlay.
    row_start: Int64Array
    neighbours: UInt32Array
    mesh: UInt32Array
    """uint32[T, N, width]: number of members, RECENT counts, and the members' HostIds."""
    link_head: Int32Array
    """int32[N]: newest link of the identity to a hot peer, or -1."""
    link: Int32Array
    """int32[links, 4]: hot peer, topic, next link or -1, known."""
    backoff_head: Int32Array
    """int32[N]: newest backoff, or -1."""
    backoff: Int64Array
    """int64[backoffs, 4]: peer, topic, next or -1, end [ns]."""

    # Messages.
    message_id: UInt64Array
    """uint64[S]."""
    message_topic: Int32Array
    """int32[S]: topic index, -1 for a free slot."""
    message_origin: Int64Array
    """int64[S]: HostId of the publisher, -1 if it is none of ours."""
    message_size: Int64Array
    message_expiry: Int64Array
    last_reference: Int64Array
    """int64[S]: when nothing can refer to the message any more, as far as is known."""
    reached: Int64Array
    """int64[S]: identities that have the message."""
    saturated: UInt8Array
    """uint8[S]: every identity of this shard has the message."""
    complete: UInt8Array
    """uint8[S, R]: every identity of that shard has the message, as far as it has said so."""
    topic_slots: UInt64Array
    """uint64[T, W]: slots in use."""
    open_slots: UInt64Array
    """uint64[T, W]: slots of messages that some identities of this shard have and some have not."""
    missing: UInt64Array
    """uint64[R, T, W]: slots in use that are not complete at that shard."""
    arrival: Int64Array
    """int64[S, N]: first receipt, time << ARRIVAL_SHIFT | hops of that copy; valid where seen."""

    # The calendar and the window at work.
    pool: Int64Array
    """int64[chunks * CHUNK, 3]."""
    chunk_next: Int32Array
    """int32[chunks]: -1 in the last of a bucket."""
    bucket_head: Int32Array
    """int32[buckets]: first chunk, or -1."""
    bucket_tail: Int64Array
    """int64[buckets]: where in the pool the next record goes; a multiple of CHUNK where that takes a new chunk."""
    bucket_first: Int64Array
    """int64[buckets]: earliest time in the bucket."""
    due: Int64Array
    """int64[capacity, 3]: records of the window."""
    spare: Int64Array
    """int64[capacity, 3]: the other side of sorting."""
    digits: Int32Array
    """int32[2, 2 ** digit_bits + 1]: how many records have each digit, then where the next goes."""
    pending: Int64Array
    """int64[capacity, 3]: what one identity scheduled for itself in this window, in order."""
    scratch: UInt32Array
    """uint32[peers of the largest row + hot peers]."""
    wanted: Int32Array
    """int32[S]."""
    out: Int64Array
    """int64[capacity, 6]: records for hot hosts: time, peer << 32 | source, counter << 32 | auxiliary, hops and slot
    and kind, then offset and count of their ids. The counter is the source's count of packets."""
    out_ids: UInt64Array
    crossing: Int64Array
    """int64[capacity, 3]: records for identities of other shards, in the order in which each source sent them."""
    cursor: Int64Array
    counters: Int64Array


_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)
_ALL: Final = uint64(0xFFFFFFFFFFFFFFFF)
_DE_BRUIJN: Final = uint64(0x03F79D71B4CB0A89)
_DE_BRUIJN_SHIFT: Final = uint64(58)
_DE_BRUIJN_POSITION: Final = np.array(
    [
        *(0, 1, 48, 2, 57, 49, 28, 3, 61, 58, 50, 42, 38, 29, 17, 4),
        *(62, 55, 59, 36, 53, 51, 43, 22, 45, 39, 33, 30, 24, 18, 12, 5),
        *(63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21, 44, 32, 23, 11),
        *(46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9, 13, 8, 7, 6),
    ],
    dtype=np.int64,
)


@kernel
def lowest_bit(word: int) -> int:
    """Position of the lowest set bit of a uint64 that is not 0 (Leiserson, Prokop, Randall 1998)."""
    return _DE_BRUIJN_POSITION[((word & (~word + _ONE)) * _DE_BRUIJN) >> _DE_BRUIJN_SHIFT]


@kernel
def push(state: State, parameters: Parameters, time: int, ends: int, what: int) -> None:
    """Put one record into the calendar. There must be a free chunk."""
    bucket = uint64((time >> parameters.bucket_shift) & parameters.bucket_mask)
    position = state.bucket_tail[bucket]
    if position & (CHUNK - 1) == 0:
        fresh = state.cursor[FREE_HEAD]
        state.cursor[FREE_HEAD] = state.chunk_next[fresh]
        state.cursor[FREE_COUNT] -= 1
        state.chunk_next[fresh] = -1
        if state.bucket_head[bucket] < 0:
            state.bucket_head[bucket] = fresh
        else:
            state.chunk_next[(position - 1) >> CHUNK_SHIFT] = fresh
        position = fresh << CHUNK_SHIFT
    # An index that may be negative costs numba's code three instructions more.
    place = uint64(position)
    state.pool[place, 0] = time
    state.pool[place, 1] = ends
    state.pool[place, 2] = what
    state.bucket_tail[bucket] = position + 1
    if time < state.bucket_first[bucket]:
        state.bucket_first[bucket] = time


@kernel
def cross(state: State, time: int, ends: int, what: int) -> None:
    """Note one record for an identity of another shard. There must be room."""
    index = state.cursor[CROSSING_COUNT]
    state.cursor[CROSSING_COUNT] = index + 1
    state.crossing[index, 0] = time
    state.crossing[index, 1] = ends
    state.crossing[index, 2] = what


@kernel
def is_own(parameters: Parameters, peer: int) -> bool:
    """Whether a HostId is that of an identity of this shard."""
    return uint64(peer - parameters.first_id) < uint64(parameters.rows)


@kernel
def shard_of(state: State, peer: int) -> int:
    """The shard of an identity."""
    shard = 0
    while peer >= state.cuts[shard + 1]:
        shard += 1
    return shard


@kernel
def insert(state: State, parameters: Parameters, records: Int64Array) -> None:
    """Put int64[n, 3] records into the calendar. There must be free chunks for them all."""
    for index in range(len(records)):
        push(state, parameters, records[index, 0], records[index, 1], records[index, 2])


@kernel
def client_of(state: State, identity: int) -> int:
    """The kind of client of an identity."""
    return state.identity[identity, RANK] >> CLIENT_SHIFT


@kernel
def set_needed(state: State, identity: int, needed: bool) -> None:
    """Note whether the next heartbeat of an identity has something to do."""
    rank = state.identity[identity, RANK] & WORD
    bit = _ONE << uint64(rank & 63)
    if needed:
        state.needed[rank >> 6] |= bit
    else:
        state.needed[rank >> 6] &= ~bit


@kernel
def is_needed(state: State, identity: int) -> bool:
    """Whether the next heartbeat of an identity has something to do."""
    rank = state.identity[identity, RANK] & WORD
    return state.needed[rank >> 6] >> uint64(rank & 63) & _ONE != _ZERO


@kernel
def next_needed(state: State, rank: int, past: int) -> int:
    """First rank, from `rank` to before `past`, whose next heartbeat has something to do; `past` if none."""
    if rank >= past:
        return past
    left = state.needed[rank >> 6] & (_ALL << uint64(rank & 63))
    for word in range(rank >> 6, ((past - 1) >> 6) + 1):
        if word > rank >> 6:
            left = state.needed[word]
        if left != _ZERO:
            return min(word * 64 + lowest_bit(left), past)
    return past


@kernel
def first_rank(state: State, kind: int, offset: int) -> int:
    """The first rank in a kind of client with a phase at `offset` or later; one past its last rank if none."""
    low, high = state.client[kind, FIRST_RANK], state.client[kind, PAST_RANK]
    while low < high:
        middle = (low + high) // 2
        if state.sorted_phase[middle] < offset:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def next_time(state: State, now: int) -> int:
    """Time of the earliest event or of the earliest heartbeat with something to do, not before `now`; NEVER if none."""
    first = NEVER
    for bucket in range(len(state.bucket_first)):
        first = min(first, state.bucket_first[bucket])
    for kind in range(len(state.client)):
        past = state.client[kind, PAST_RANK]
        turn = now - now % state.client[kind, HEARTBEAT_NS]
        rank = next_needed(state, first_rank(state, kind, now - turn), past)
        if rank == past:
            rank = next_needed(state, state.client[kind, FIRST_RANK], past)
            turn += state.client[kind, HEARTBEAT_NS]
        if rank < past:
            first = min(first, turn + state.sorted_phase[rank])
    return first


@kernel
def precedes(state: State, left: Int64Array, right: Int64Array) -> bool:
    """Whether the record `left` comes before `right` where both have the same time and destination.

    What comes from the network is first, by source; of one source as it was sent.
    """
    left_class, right_class = max(left[2] & KIND_MASK, IHAVE_ID), max(right[2] & KIND_MASK, IHAVE_ID)
    if left_class != right_class:
        return left_class < right_class
    if left_class == IHAVE_ID:
        return left[1] < right[1]
    left_slot, right_slot = (left[2] >> SLOT_SHIFT) & SLOT_MASK, (right[2] >> SLOT_SHIFT) & SLOT_MASK
    return state.message_id[left_slot] < state.message_id[right_slot]


@kernel
def put_last_in_order(state: State, records: Int64Array, first: int, last: int) -> None:
    """Move the record `last` to its place among the ordered ones from `first` on."""
    time, ends, what = records[last, 0], records[last, 1], records[last, 2]
    hole = last
    while hole > first:
        before = records[hole - 1, 1] >> 32
        if before < ends >> 32:
            break
        if before == ends >> 32 and (
            records[hole - 1, 0] < time
            or (records[hole - 1, 0] == time and not precedes(state, records[hole], records[hole - 1]))
        ):
            break
        for column in range(3):
            records[hole, column] = records[hole - 1, column]
        records[hole - 1, 0] = time
        records[hole - 1, 1] = ends
        records[hole - 1, 2] = what
        hole -= 1


@kernel
def count_digits(state: State, parameters: Parameters, identity: int) -> None:
    """Count one more record for an identity."""
    bits = parameters.digit_bits
    state.digits[0, (identity & ((1 << bits) - 1)) + 1] += 1
    state.digits[1, ((identity >> bits) & WORD) + 1] += 1


@kernel
def sort_due(state: State, parameters: Parameters, count: int) -> None:
    """Sort the first `count` records of `due` by destination, time, and `precedes`; equals keep their order.

    Two passes of a radix sort, whose digits `count_digits` has counted, bring them into the order of destinations; most
    destinations have one record.
    """
    bits = parameters.digit_bits
    mask = (1 << bits) - 1
    for digit in range(mask):
        state.digits[0, digit + 1] += state.digits[0, digit]
        state.digits[1, digit + 1] += state.digits[1, digit]
    for index in range(count):
        ends = state.due[index, 1]
        digit = ((ends >> 32) - parameters.first_id) & mask
        place = state.digits[0, digit]
        state.digits[0, digit] = place + 1
        state.spare[place, 0] = state.due[index, 0]
        state.spare[place, 1] = ends
        state.spare[place, 2] = state.due[index, 2]
    for index in range(count):
        ends = state.spare[index, 1]
        digit = (((ends >> 32) - parameters.first_id) >> bits) & mask
        place = state.digits[1, digit]
        state.digits[1, digit] = place + 1
        state.due[place, 0] = state.spare[index, 0]
        state.due[place, 1] = ends
        state.due[place, 2] = state.spare[index, 2]
    for index in range(1, count):
        if state.due[index - 1, 1] >> 32 == state.due[index, 1] >> 32:
            put_last_in_order(state, state.due, 0, index)


@kernel
def add_beats(state: State, parameters: Parameters, due_count: int, turn: int, low: int, high: int) -> int:
    """Put the heartbeats of the ranks from `low` to before `high` that have something to do into `due`.

    They are at `turn` and their phases. Returns how many records are in `due`.
    """
    rank = next_needed(state, low, high)
    while rank < high:
        identity = int64(state.identity_of_rank[rank])
        state.due[due_count, 0] = turn + state.sorted_phase[rank]
        state.due[due_count, 1] = (identity + parameters.first_id) << 32
        state.due[due_count, 2] = BEAT
        due_count += 1
        count_digits(state, parameters, identity)
        rank = next_needed(state, rank + 1, high)
    return due_count


@kernel
def collect(state: State, parameters: Parameters, start: int, end: int) -> bool:
    """Take the events in [start, end) out of the calendar into `due`, in order, with a BEAT for each heartbeat.

    An IHAVE of a topic on which no message is open can make nobody ask for anything. It is counted, and goes no
    further: that touches no identity.

    Returns False, with the needed size in ``cursor[NEEDED]`` and nothing changed, where `due` is too small. There must
    be a free chunk for each bucket.
    """
    first_bucket, last_bucket = start >> parameters.bucket_shift, (end - 1) >> parameters.bucket_shift
    waiting = 0
    for kind in range(len(state.client)):
        heartbeat_ns = state.client[kind, HEARTBEAT_NS]
        phase_end = start % heartbeat_ns + end - start
        waiting += first_rank(state, kind, phase_end) - first_rank(state, kind, start % heartbeat_ns)
        waiting += first_rank(state, kind, phase_end - heartbeat_ns) - state.client[kind, FIRST_RANK]
    for turn in range(first_bucket, last_bucket + 1):
        chunk = state.bucket_head[turn & parameters.bucket_mask]
        while chunk >= 0:
            waiting += CHUNK
            chunk = state.chunk_next[chunk]
    if waiting > len(state.due):
        state.cursor[NEEDED] = waiting
        return False

    for digit in range(state.digits.shape[1]):
        state.digits[0, digit] = 0
        state.digits[1, digit] = 0
    due_count = 0
    ihaves = 0
    for turn in range(first_bucket, last_bucket + 1):
        bucket = turn & parameters.bucket_mask
        if state.bucket_first[bucket] >= end:
            continue
        chunk = state.bucket_head[bucket]
        tail = state.bucket_tail[bucket]
        state.bucket_head[bucket] = -1
        state.bucket_tail[bucket] = 0
        state.bucket_first[bucket] = NEVER
        while chunk >= 0:
            following = state.chunk_next[chunk]
            begin = int64(chunk) << CHUNK_SHIFT
            for position in range(begin, tail if following < 0 else begin + CHUNK):
                time, ends, what = state.pool[position, 0], state.pool[position, 1], state.pool[position, 2]
                if time >= end:
                    push(state, parameters, time, ends, what)
                    continue
                if what & KIND_MASK == SPARED:
                    ihaves += 1
                    continue
                if what & KIND_MASK == IHAVE:
                    is_open = False
                    for word in range(state.open_slots.shape[1]):
                        if state.open_slots[(what >> SLOT_SHIFT) & SLOT_MASK, word] != _ZERO:
                            is_open = True
                    if not is_open:
                        ihaves += 1
                        continue
                state.due[due_count, 0] = time
                state.due[due_count, 1] = ends
                state.due[due_count, 2] = what
                due_count += 1
                count_digits(state, parameters, (ends >> 32) - parameters.first_id)
            state.chunk_next[chunk] = state.cursor[FREE_HEAD]
            state.cursor[FREE_HEAD] = chunk
            state.cursor[FREE_COUNT] += 1
            chunk = following
    state.counters[EDGE_EVENTS] += ihaves
    state.counters[IHAVE_RECEIVED] += ihaves

    for kind in range(len(state.client)):
        heartbeat_ns = state.client[kind, HEARTBEAT_NS]
        turn = start - start % heartbeat_ns
        low, high = first_rank(state, kind, start - turn), first_rank(state, kind, end - turn)
        due_count = add_beats(state, parameters, due_count, turn, low, high)
        turn += heartbeat_ns
        high = first_rank(state, kind, end - turn)
        due_count = add_beats(state, parameters, due_count, turn, state.client[kind, FIRST_RANK], high)
    sort_due(state, parameters, due_count)
    state.cursor[DUE_COUNT] = due_count
    state.cursor[POSITION] = 0
    return True
