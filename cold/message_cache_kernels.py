"""What identities have cached of messages, by the heartbeat interval of the validation, and what others may lack."""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

from cold.event_kernels import set_needed
from cold.jit import inlined_kernel, int64, kernel, uint64
from cold.membership_kernels import add_recent, arrival_place, mesh_row, recent
from cold.prefetch_kernels import prefetch
from cold.receipt_kernels import client_of, validated_at
from cold.state_kernels import (
    ARRIVAL_SHIFT,
    HEARTBEAT_NS,
    PHASE,
    RECENT,
    SEEN,
    SEVERAL,
    TOLD,
    Parameters,
    State,
    lowest_bit,
)

_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)


@inlined_kernel
def next_heartbeat(state: State, identity: int, time: int) -> int:
    """Number of an identity's first heartbeat at `time` or later."""
    phase = state.sender[identity, PHASE]
    if time <= phase:
        return 0
    heartbeat_ns = state.client[client_of(state, identity), HEARTBEAT_NS]
    return (time - phase + heartbeat_ns - 1) // heartbeat_ns


@inlined_kernel
def remember(state: State, parameters: Parameters, time: int, identity: int, slot: int) -> None:
    """Put a message into the message cache: the next heartbeats gossip about it.

    Of its per-identity state, hot hosts can see something for as long as it is cached; cold ones ask only for what
    they have not seen, and every event that can make them is in the calendar already.
    """
    interval = next_heartbeat(state, identity, time) % parameters.mcache_gossip
    row = mesh_row(state, parameters, identity, state.message_topic[slot])
    add_recent(state, row, interval, slot)
    if parameters.tallies:
        state.told_of[row, interval] = uint64(state.told_of[row, interval]) | _ONE << uint64(slot)
    set_needed(state, identity, True)
    heartbeat_ns = state.client[client_of(state, identity), HEARTBEAT_NS]
    named_until = time + (parameters.mcache_gossip + 1) * heartbeat_ns
    state.named_until[slot] = max(state.named_until[slot], named_until)
    if parameters.hot_count > 0:
        kept_until = time + (parameters.mcache_length + 1) * heartbeat_ns
        state.last_reference[slot] = max(state.last_reference[slot], kept_until)


@inlined_kernel
def has_cached(state: State, parameters: Parameters, row: int) -> bool:
    """Whether messages were cached in one of the last intervals between heartbeats, on the membership `row`."""
    cached = int64(0)
    for column in range(RECENT, parameters.first_member):
        cached |= int64(state.mesh[row, column])
    return cached != 0


@kernel
def tally_told(state: State, parameters: Parameters, row: int, packets: int) -> None:
    """Count IHAVEs that tell of all messages that were cached lately on the membership `row`."""
    for interval in range(parameters.mcache_gossip):
        left = uint64(state.told_of[row, interval])
        while left != _ZERO:
            slot = lowest_bit(left)
            left &= left - _ONE
            state.tally[slot, TOLD] += packets


@kernel
def is_recent(state: State, parameters: Parameters, time: int, identity: int, slot: int) -> bool:
    """Whether the identity, which has the message, put it into its cache in the last intervals before `time`.

    That is the time of one of its heartbeats. Only near the borders does it matter how long the validation has taken.
    """
    earliest = time - parameters.mcache_gossip * state.client[client_of(state, identity), HEARTBEAT_NS]
    arrival = state.arrival[arrival_place(state, parameters, identity, slot)] >> ARRIVAL_SHIFT
    latest = arrival + parameters.longest_validation_ns
    if latest <= earliest or arrival > time:
        return False
    return (earliest < arrival and latest <= time) or earliest < validated_at(state, parameters, identity, slot) <= time


@kernel
def list_recent(state: State, parameters: Parameters, time: int, identity: int, topic: int) -> int:
    """List in `state.wanted` what the identity has cached in the last intervals before its heartbeat at `time`."""
    count = 0
    for word in range(state.topic_slots.shape[1]):
        left = state.topic_slots[topic, word] & uint64(state.identity[identity, SEEN + word])
        while left != _ZERO:
            slot = word * 64 + lowest_bit(left)
            left &= left - _ONE
            if is_recent(state, parameters, time, identity, slot):
                state.wanted[count] = slot
                count += 1
    return count


@kernel
def list_sought(state: State, parameters: Parameters, time: int, identity: int, topic: int, row: int) -> int:
    """List what an IHAVE at a heartbeat tells of that anybody may lack in `state.wanted`; returns how many they are.

    `row` is that of the membership. Where it names what was cached, and nothing else can be meant, arrivals need not be
    looked up.

    Who lacks what is as of the beginning of the window, when all shards know it: so what becomes an event does not
    depend on how identities are divided among shards.
    """
    count = 0
    if parameters.tallies:
        for interval in range(parameters.mcache_gossip):
            left = uint64(state.told_of[row, interval])
            while left != _ZERO:
                slot = lowest_bit(left)
                left &= left - _ONE
                if is_sought(state, time, topic, slot):
                    state.wanted[count] = slot
                    count += 1
        return count
    is_named = True
    for interval in range(parameters.mcache_gossip):
        what = recent(state, row, interval)
        if what == 0:
            continue
        if what >= SEVERAL or state.was_another[what - 1] != 0:
            is_named = False
        elif is_sought(state, time, topic, what - 1):
            state.wanted[count] = what - 1
            count += 1
    if is_named:
        return count
    listed = 0
    for word in range(state.lacking.shape[1]):
        left = state.lacking[topic, word] & uint64(state.identity[identity, SEEN + word])
        while left != _ZERO:
            slot = word * 64 + lowest_bit(left)
            left &= left - _ONE
            if is_sought(state, time, topic, slot):
                # Each message has a table of arrivals of its own, and there may be thousands.
                prefetch(state.arrival, arrival_place(state, parameters, identity, slot))
                state.wanted[listed] = slot
                listed += 1
    count = 0
    for index in range(listed):
        slot = int64(state.wanted[index])
        if is_recent(state, parameters, time, identity, slot):
            state.wanted[count] = slot
            count += 1
    return count


@inlined_kernel
def is_sought(state: State, time: int, topic: int, slot: int) -> bool:
    """Whether anybody may lack a message of a topic, and would take it."""
    return state.lacking[topic, slot >> 6] >> uint64(slot & 63) & _ONE != _ZERO and time < state.message_expiry[slot]


@kernel
def note_spread(state: State, parameters: Parameters) -> None:
    """Note, as a window begins, which messages have come to all identities of all shards."""
    for topic in range(state.lacking.shape[0]):
        for word in range(state.lacking.shape[1]):
            left = state.lacking[topic, word]
            while left != _ZERO:
                slot = word * 64 + lowest_bit(left)
                bit = left & (~left + _ONE)
                left ^= bit
                is_everywhere = state.saturated[slot] != 0
                for shard in range(state.complete.shape[1]):
                    if shard != parameters.shard and state.complete[slot, shard] == 0:
                        is_everywhere = False
                if is_everywhere:
                    state.lacking[topic, word] &= ~bit
