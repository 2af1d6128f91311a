"""How identities send: a packet takes its time on the uplink, may be lost, and becomes an event of its receiver.

IHAVEs are told apart: those on which nobody can act are counted when they are sent, and never become events.
"""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

from cold.disturbance_kernels import path_latency, path_loss
from cold.draw_kernels import is_lost
from cold.event_kernels import bucket_of_shard, is_own, push, put, send_out, shard_of, travel
from cold.jit import inlined_kernel, int64, kernel, uint64
from cold.lacker_kernels import look_elsewhere, may_lack, row_elsewhere
from cold.load_kernels import uplink_free
from cold.membership_kernels import first_peer, mesh_row, node_of, node_of_member
from cold.message_cache_kernels import list_sought
from cold.prefetch_kernels import prefetch
from cold.receipt_kernels import has_seen
from cold.state_kernels import (
    AUXILIARY_SHIFT,
    BYTES_SENT,
    EDGE_EVENTS,
    HOPS_SHIFT,
    IHAVE,
    IHAVE_ID,
    IHAVE_RECEIVED,
    IHAVE_SENT,
    IWANT,
    MESSAGE,
    NEVER,
    OUT_IDS_COUNT,
    PACKETS,
    PACKETS_LOST,
    RATE_SHIFT,
    SEEN,
    SLOT_SHIFT,
    SOUGHT_UNTIL,
    UPLINK_FREE,
    UPLINK_RATE,
    WORD,
    Parameters,
    State,
)

_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)

#: Bytes on the wire: IPv4 and UDP header (28), the datagram's own header (8), and what each type adds.
CONTROL_BYTES: Final = 36
PRUNE_BYTES: Final = 40
ID_BYTES: Final = 8
#: Most ids that one IHAVE or IWANT datagram carries.
IDS_PER_DATAGRAM: Final = 128


@kernel
def send(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    peer: int,
    size: int,
    kind: int,
    slot: int,
    hops: int,
    auxiliary: int,
    first: int,
    last: int,
) -> None:
    """Queue one packet on the uplink and let it travel.

    An IWANT (to anybody) or IHAVE (to a hot host) carries the slots ``state.wanted[first:last]``; a cold destination
    gets an event for each of an IWANT's ids.
    """
    source = identity + parameters.first_id
    duration = size * state.sender[identity, UPLINK_RATE] >> RATE_SHIFT
    free = uplink_free(state, parameters, time, identity) + duration
    state.sender[identity, UPLINK_FREE] = free
    counter = state.sender[identity, PACKETS]
    state.sender[identity, PACKETS] = counter + 1
    state.counters[BYTES_SENT] += size
    probability = path_loss(state, parameters, free, state.node[source], state.node[peer])
    if probability > 0.0 and is_lost(parameters, source, counter, probability):
        state.counters[PACKETS_LOST] += 1
        return
    arrival = free + path_latency(state, parameters, free, state.node[source], state.node[peer])
    what = hops << HOPS_SHIFT | slot << SLOT_SHIFT | kind
    if peer < parameters.hot_count:
        first_id = state.cursor[OUT_IDS_COUNT]
        send_out(state, arrival, peer << 32 | source, counter << 32 | auxiliary, what, last - first)
        for position in range(first, last):
            state.out_ids[first_id + position - first] = state.message_id[state.wanted[position]]
        state.cursor[OUT_IDS_COUNT] = first_id + last - first
    elif kind == IWANT:
        for position in range(first, last):
            wanted = int64(state.wanted[position])
            state.last_reference[wanted] = max(state.last_reference[wanted], arrival)
            travel(state, parameters, arrival, peer << 32 | source, wanted << SLOT_SHIFT | IWANT)
    elif kind == IHAVE:
        note_heard(state, 1)
        row = mesh_row(state, parameters, identity, slot)
        listed = list_sought(state, parameters, time, identity, slot, row)
        if listed > 0:
            note_sought(state, parameters, free)
        send_ihave(state, parameters, arrival, identity, peer, counter, listed)
    else:
        if kind == MESSAGE:
            state.last_reference[slot] = max(state.last_reference[slot], arrival)
        travel(state, parameters, arrival, peer << 32 | source, auxiliary << AUXILIARY_SHIFT | what)


@inlined_kernel
def note_heard(state: State, count: int) -> None:
    """Count IHAVEs to cold identities that are under way: nothing keeps them from coming, and most do no more."""
    state.counters[EDGE_EVENTS] += count
    state.counters[IHAVE_RECEIVED] += count


@inlined_kernel
def note_sought(state: State, parameters: Parameters, left: int) -> None:
    """Have no time passed over until IHAVEs of what somebody may lack have come, the last of which left at a time.

    It is not looked up whose path is the longest: who is told need not even be known.
    """
    state.cursor[SOUGHT_UNTIL] = max(state.cursor[SOUGHT_UNTIL], left + parameters.longest_latency_ns)


@inlined_kernel
def is_seen_elsewhere(state: State, parameters: Parameters, peer: int, slot: int) -> bool:
    """Whether it is known here that an identity of another shard has the message."""
    if len(state.seen_elsewhere) == 0:
        return False
    return state.seen_elsewhere[row_elsewhere(parameters, peer), slot >> 6] >> uint64(slot & 63) & _ONE != _ZERO


@kernel
def send_ihave(
    state: State, parameters: Parameters, arrival: int, identity: int, peer: int, counter: int, listed: int
) -> None:
    """Let an IHAVE, the packet `counter` of its source, come to a cold peer.

    The first `listed` slots in `state.wanted` are what `list_sought` has found of what it lists. The peer gets a record
    for each of those that it may lack.

    What a peer has got it will not ask for. Who has what now depends on the order of execution, and what is known of it
    on the division: so what becomes an event does, too, and no more than that.
    """
    if listed == 0:
        return
    ends = peer << 32 | (identity + parameters.first_id)
    own = is_own(parameters, peer)
    bucket = int64(0) if own else bucket_of_shard(parameters, shard_of(state, peer))
    for position in range(listed):
        slot = int64(state.wanted[position])
        if not may_lack(state, parameters, peer, slot):
            continue
        if (
            has_seen(state, peer - parameters.first_id, slot)
            if own
            else is_seen_elsewhere(state, parameters, peer, slot)
        ):
            continue
        what = (counter & WORD) << AUXILIARY_SHIFT | slot << SLOT_SHIFT | IHAVE_ID
        state.last_reference[slot] = max(state.last_reference[slot], arrival)
        if own:
            push(state, parameters, arrival, ends, what)
        else:
            put(state, bucket, arrival, ends, what)


@kernel
def send_ids(
    state: State, parameters: Parameters, time: int, identity: int, peer: int, kind: int, topic: int, count: int
) -> None:
    """Send an IWANT, or an IHAVE to a hot host, of the first `count` slots in `state.wanted`, by message id."""
    for position in range(1, count):
        slot = state.wanted[position]
        hole = position
        while hole > 0 and state.message_id[state.wanted[hole - 1]] > state.message_id[slot]:
            state.wanted[hole] = state.wanted[hole - 1]
            hole -= 1
        state.wanted[hole] = slot
    sent = 0
    while sent < count:
        last = min(count, sent + IDS_PER_DATAGRAM)
        size = CONTROL_BYTES + ID_BYTES * (last - sent)
        send(state, parameters, time, identity, peer, size, kind, topic, 0, 0, sent, last)
        sent = last


@inlined_kernel
def tell_in_vain(
    state: State, parameters: Parameters, time: int, identity: int, size: int, count: int, sought: int
) -> None:
    """Send IHAVEs of `size` bytes that are not lost, and make nobody ask for anything.

    They tell of `sought` messages that somebody lacks, but nobody who is told.
    """
    if count > 0:
        duration = size * state.sender[identity, UPLINK_RATE] >> RATE_SHIFT
        free = uplink_free(state, parameters, time, identity) + count * duration
        state.sender[identity, UPLINK_FREE] = free
        state.sender[identity, PACKETS] += count
        state.counters[BYTES_SENT] += count * size
        state.counters[IHAVE_SENT] += count
        note_heard(state, count)
        if sought > 0:
            note_sought(state, parameters, free)


@inlined_kernel
def arrival_at(state: State, parameters: Parameters, time: int, identity: int, member: int, counter: int) -> int:
    """When a packet comes to a member of `State.neighbours` that has left at a time; NEVER if it is lost."""
    node = node_of(state, identity)
    other = node_of_member(state, parameters, member)
    probability = path_loss(state, parameters, time, node, other)
    if probability > 0.0 and is_lost(parameters, identity + parameters.first_id, counter, probability):
        return NEVER
    return time + path_latency(state, parameters, time, node, other)


@inlined_kernel
def look_at_seen(state: State, parameters: Parameters, peer: int, slot: int) -> None:
    """Have the processor fetch what says whether a cold peer has a message."""
    row = peer - parameters.first_id
    if uint64(row) < uint64(parameters.rows):
        prefetch(state.identity, row * state.identity.shape[1] + SEEN + (slot >> 6))
    elif len(state.seen_elsewhere) > 0:
        look_elsewhere(state, parameters, peer, slot)


@kernel
def tell_cold_peers(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    size: int,
    count: int,
    sought: int,
) -> None:
    """Send an IHAVE of `size` bytes to the first `count` places in `state.scratch`, all of them cold peers'.

    The loop of `send`, with all that does not depend on the peer taken out of it. The first `sought` slots in
    `state.wanted` are as for `send_ihave`.
    """
    first = first_peer(state, identity)
    duration = size * state.sender[identity, UPLINK_RATE] >> RATE_SHIFT
    free = uplink_free(state, parameters, time, identity) if count > 0 else time
    counter = state.sender[identity, PACKETS]
    begin, heard = free, int64(0)
    # A bit for each place whose peer may lack something, modulo 64.
    may_ask = _ZERO
    for position in range(count):
        member = int64(state.neighbours[first + int64(state.scratch[position])])
        free += duration
        arrival = arrival_at(state, parameters, free, identity, member, counter + position)
        if arrival == NEVER:
            state.counters[PACKETS_LOST] += 1
            continue
        heard += 1
        peer = member & parameters.host_mask
        for number in range(sought):
            slot = int64(state.wanted[number])
            if may_lack(state, parameters, peer, slot):
                may_ask |= _ONE << uint64(position & 63)
                look_at_seen(state, parameters, peer, slot)
    if may_ask != _ZERO:
        for position in range(count):
            if may_ask >> uint64(position & 63) & _ONE == _ZERO:
                continue
            member = int64(state.neighbours[first + int64(state.scratch[position])])
            left = begin + (position + 1) * duration
            arrival = arrival_at(state, parameters, left, identity, member, counter + position)
            if arrival != NEVER:
                peer = member & parameters.host_mask
                send_ihave(state, parameters, arrival, identity, peer, counter + position, sought)
    if count > 0:
        state.sender[identity, UPLINK_FREE] = free
        state.sender[identity, PACKETS] = counter + count
        state.counters[BYTES_SENT] += count * size
        note_heard(state, heard)
        if sought > 0:
            note_sought(state, parameters, free)
