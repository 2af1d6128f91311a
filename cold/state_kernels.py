"""The arrays that the kernels of gossip work on, and the calendar of events.

A calendar is a ring of buckets of simulated time; a bucket is a list of chunks of records, so that pushing writes to a
few hot cache lines and executing reads them in order. A record is four int64 words:

    time | destination << 32 | source | counter << 32 | auxiliary | hops << 40 | slot << 8 | kind

Destination and source are HostIds. The counter is the source's count of packets: with the time and the source it orders
events, and it keys the draw of the packet's loss. Auxiliary is the heartbeat of an IHAVE, the backoff [ms] of a PRUNE.
The slot of a message is its row in the message arrays; of GRAFT, PRUNE, HELLO, LEAVE and IHAVE it is the topic's index.
"""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cold.jit import int64, kernel

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]
UInt16Array = npt.NDArray[np.uint16]
UInt32Array = npt.NDArray[np.uint32]
UInt64Array = npt.NDArray[np.uint64]
Float64Array = npt.NDArray[np.float64]

NEVER: Final = 2**63 - 1
WORD: Final = 0xFFFFFFFF
CHUNK: Final = 128
#: Rates are ns per byte in fixed point.
RATE_SHIFT: Final = 20
#: Where more than one identity of this many is active, they are executed in their order in memory.
SWEEP_SHARE: Final = 16

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

# Entries of `cursor`.
FREE_HEAD: Final = 0
FREE_COUNT: Final = 1
ACTIVE_COUNT: Final = 2
POSITION: Final = 3
OUT_COUNT: Final = 4
OUT_IDS_COUNT: Final = 5
LINK_COUNT: Final = 6
BACKOFF_COUNT: Final = 7
NEEDED: Final = 8
CURSORS: Final = 9

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
    """HostId of identity 0: every smaller one is a hot host."""
    topics: int
    d: int
    d_low: int
    d_high: int
    d_lazy: int
    heartbeat_ns: int
    mcache_length: int
    mcache_gossip: int
    prune_backoff_ms: int
    flood_publish: bool
    bucket_shift: int
    bucket_mask: int
    largest_row: int


class State(NamedTuple):
    """Arrays. N identities, H hot hosts, S message slots, W = S / 64 words of slots, T topics, L nodes."""

    # The network.
    node: UInt16Array
    """uint16[H + N]."""
    latency: Int64Array
    """int64[L, L], ns."""
    loss: Float64Array
    """float64[L, L]."""
    uplink_rate: Int64Array
    """int64[N]: ns per byte << RATE_SHIFT."""
    downlink_rate: Int64Array
    delay_quantiles: Int64Array
    """int64[quantiles]: of the validation delay, ns."""

    # Identities.
    uplink_free: Int64Array
    """int64[N]: when the last queued byte has left."""
    downlink_free: Int64Array
    packet_counter: Int64Array
    """int64[N]: packets sent."""
    seen: UInt64Array
    """uint64[N, W]: messages received."""
    recent: UInt64Array
    """uint64[N, W]: messages that the next heartbeats gossip about."""
    asked: UInt64Array
    """uint64[N, W]: messages asked for in the heartbeat interval `asked_heartbeat`."""
    asked_heartbeat: Int32Array
    phase: Int64Array
    """int64[N]: time of the first heartbeat."""
    phase_rank: Int32Array
    """int32[N]: position of the identity in the order of phases."""
    identity_of_rank: Int32Array
    sorted_phase: Int64Array
    heartbeat_needed: UInt8Array
    """uint8[N]: by phase rank: the next heartbeat has something to do."""

    # The overlay.
    row_start: Int64Array
    neighbours: UInt32Array
    mesh: UInt32Array
    """uint32[T, N, D_high]: HostIds."""
    mesh_count: UInt8Array
    """uint8[T, N]."""
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
    topic_slots: UInt64Array
    """uint64[T, W]: slots in use."""
    arrival: Int64Array
    """int64[S, N]: time of the first receipt, valid where seen."""
    hops: UInt8Array
    """uint8[S, N]: hops of the first copy, at most 255."""

    # The calendar and the window at work.
    pool: Int64Array
    """int64[chunks, CHUNK, 4]."""
    chunk_next: Int32Array
    bucket_head: Int32Array
    bucket_fill: Int32Array
    bucket_first: Int64Array
    """int64[buckets]: earliest time in the bucket."""
    staged: Int64Array
    """int64[capacity, 4]: due records as they come out of the calendar."""
    due: Int64Array
    """int64[capacity, 4]: due records by destination."""
    due_place: Int32Array
    """int32[N]: 0 between windows; in `collect` the number of due records, then the place of the next."""
    active: Int32Array
    """int32[N]: identities with events, or with a heartbeat that has something to do."""
    active_start: Int32Array
    """int32[N + 1]: first record of each of `active` in `due`."""
    queue: Int64Array
    """int64[2 * capacity + 2, 4]: one identity's due records in order."""
    scratch: UInt32Array
    """uint32[peers of the largest row + hot peers]."""
    wanted: Int32Array
    """int32[S]."""
    out: Int64Array
    """int64[capacity, 6]: records for hot hosts, then offset and count of their ids."""
    out_ids: UInt64Array
    cursor: Int64Array
    counters: Int64Array


@kernel
def push(state: State, parameters: Parameters, time: int, ends: int, marks: int, what: int) -> None:
    """Put one record into the calendar. There must be a free chunk."""
    bucket = (time >> parameters.bucket_shift) & parameters.bucket_mask
    fill = int64(state.bucket_fill[bucket])
    if fill == CHUNK:
        fresh = state.cursor[FREE_HEAD]
        state.cursor[FREE_HEAD] = state.chunk_next[fresh]
        state.cursor[FREE_COUNT] -= 1
        state.chunk_next[fresh] = state.bucket_head[bucket]
        state.bucket_head[bucket] = fresh
        fill = 0
    chunk = state.bucket_head[bucket]
    state.pool[chunk, fill, 0] = time
    state.pool[chunk, fill, 1] = ends
    state.pool[chunk, fill, 2] = marks
    state.pool[chunk, fill, 3] = what
    state.bucket_fill[bucket] = fill + 1
    if time < state.bucket_first[bucket]:
        state.bucket_first[bucket] = time


@kernel
def insert(state: State, parameters: Parameters, records: Int64Array) -> None:
    """Put int64[n, 4] records into the calendar. There must be free chunks for them all."""
    for index in range(len(records)):
        push(state, parameters, records[index, 0], records[index, 1], records[index, 2], records[index, 3])


@kernel
def first_rank(state: State, offset: int) -> int:
    """Position of the first phase at `offset` or later; the number of identities if there is none."""
    low, high = 0, len(state.sorted_phase)
    while low < high:
        middle = (low + high) // 2
        if state.sorted_phase[middle] < offset:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def next_time(state: State, parameters: Parameters, now: int) -> int:
    """Time of the earliest event or of the earliest heartbeat with something to do, not before `now`; NEVER if none."""
    first = NEVER
    for bucket in range(len(state.bucket_first)):
        first = min(first, state.bucket_first[bucket])
    count = len(state.sorted_phase)
    turn, offset = now // parameters.heartbeat_ns, now % parameters.heartbeat_ns
    rank = first_rank(state, offset)
    for step in range(count):
        position = rank + step
        if position >= count:
            position -= count
        if state.heartbeat_needed[position]:
            time = turn * parameters.heartbeat_ns + state.sorted_phase[position]
            if rank + step >= count:
                time += parameters.heartbeat_ns
            return min(first, time)
    return first


@kernel
def collect(state: State, parameters: Parameters, start: int, end: int) -> bool:
    """Take the events in [start, end) out of the calendar, sort them by destination, and list who is active.

    Returns False, with the needed size in ``cursor[NEEDED]`` and nothing changed, where `due` is too small.
    """
    first_bucket, last_bucket = start >> parameters.bucket_shift, (end - 1) >> parameters.bucket_shift
    waiting = 0
    for turn in range(first_bucket, last_bucket + 1):
        bucket = turn & parameters.bucket_mask
        chunk = state.bucket_head[bucket]
        if chunk >= 0:
            waiting += state.bucket_fill[bucket]
            chunk = state.chunk_next[chunk]
        while chunk >= 0:
            waiting += CHUNK
            chunk = state.chunk_next[chunk]
    if waiting > len(state.due):
        state.cursor[NEEDED] = waiting
        return False

    due_count = 0
    active_count = 0
    for turn in range(first_bucket, last_bucket + 1):
        bucket = turn & parameters.bucket_mask
        if state.bucket_first[bucket] >= end:
            continue
        chunk = state.bucket_head[bucket]
        filled = int64(state.bucket_fill[bucket])
        state.bucket_head[bucket] = -1
        state.bucket_fill[bucket] = CHUNK
        state.bucket_first[bucket] = NEVER
        while chunk >= 0:
            for index in range(filled):
                time = state.pool[chunk, index, 0]
                ends = state.pool[chunk, index, 1]
                if time >= end:
                    push(state, parameters, time, ends, state.pool[chunk, index, 2], state.pool[chunk, index, 3])
                    continue
                state.staged[due_count, 0] = time
                state.staged[due_count, 1] = ends
                state.staged[due_count, 2] = state.pool[chunk, index, 2]
                state.staged[due_count, 3] = state.pool[chunk, index, 3]
                identity = (ends >> 32) - parameters.hot_count
                waiting_for_it = state.due_place[identity]
                state.due_place[identity] = waiting_for_it + 1
                if waiting_for_it == 0:
                    state.active[active_count] = identity
                    active_count += 1
                due_count += 1
            following = state.chunk_next[chunk]
            state.chunk_next[chunk] = state.cursor[FREE_HEAD]
            state.cursor[FREE_HEAD] = chunk
            state.cursor[FREE_COUNT] += 1
            chunk = following
            filled = CHUNK

    offset = start % parameters.heartbeat_ns
    count = len(state.sorted_phase)
    rank = first_rank(state, offset)
    for step in range(count):
        phase_end = offset + end - start
        position = rank + step
        if position >= count:
            position -= count
            phase_end -= parameters.heartbeat_ns
        if state.sorted_phase[position] >= phase_end:
            break
        if state.heartbeat_needed[position]:
            identity = state.identity_of_rank[position]
            if state.due_place[identity] == 0:
                state.due_place[identity] = -1
                state.active[active_count] = identity
                active_count += 1
    if active_count * SWEEP_SHARE > count:
        active_count = 0
        for identity in range(count):
            if state.due_place[identity] != 0:
                state.active[active_count] = identity
                active_count += 1
    place = 0
    for index in range(active_count):
        identity = state.active[index]
        state.active_start[index] = place
        records = max(int64(state.due_place[identity]), 0)
        state.due_place[identity] = place
        place += records
    state.active_start[active_count] = place
    for index in range(due_count):
        identity = (state.staged[index, 1] >> 32) - parameters.hot_count
        place = state.due_place[identity]
        state.due_place[identity] = place + 1
        for column in range(4):
            state.due[place, column] = state.staged[index, column]
    state.cursor[ACTIVE_COUNT] = active_count
    state.cursor[POSITION] = 0
    return True
