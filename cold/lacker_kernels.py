"""Where those are who lack a message and are up: how many in each block of identities, on the topics they subscribe to.

Most of those that an IHAVE could be sent to have what it tells of, and to see that of one of them is a random access to
a large table. Those that are up and lack a message that has spread are few, so that most blocks have none, and a bit
for each message and block fits a processor's own cache. Who is away is not counted, and nobody tells them.

The counts are of all identities, as far as this shard knows what those of others have: they may be too high.
"""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

from cold.jit import inlined_kernel, int64, kernel, uint64
from cold.lacker_layout import LACKER_BLOCK_SHIFT
from cold.life_kernels import outline_of
from cold.life_layout import OUTLINES_PER_WORD, OUTLINES_SHIFT
from cold.membership_kernels import subscribes
from cold.prefetch_kernels import prefetch
from cold.state_kernels import (
    SEEN,
    Parameters,
    State,
    UInt8Array,
    UInt64Array,
    lowest_bit,
)

_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)


@inlined_kernel
def may_lack(state: State, parameters: Parameters, peer: int, slot: int) -> bool:
    """Whether a peer, an identity of any shard that is up and subscribes, may lack a message."""
    block = (peer - parameters.hot_count) >> LACKER_BLOCK_SHIFT
    return state.lacked[slot, block >> 6] >> uint64(block & 63) & _ONE != _ZERO


@inlined_kernel
def is_counted(state: State, parameters: Parameters, host: int) -> bool:
    """Whether an identity is among those whose lack of messages is counted."""
    if parameters.churn == 0:
        return True
    identity = host - parameters.hot_count
    return outline_of(state.counted[identity >> OUTLINES_SHIFT], identity) != 0


@inlined_kernel
def change_lackers(state: State, slot: int, block: int, change: int) -> None:
    """Add to a block's count of those that lack a message, or take away from it."""
    lackers = int64(state.lackers[slot, block]) + change
    state.lackers[slot, block] = lackers
    bit = _ONE << uint64(block & 63)
    if lackers == 0:
        state.lacked[slot, block >> 6] &= ~bit
    elif lackers == change:
        state.lacked[slot, block >> 6] |= bit


@inlined_kernel
def note_has(state: State, parameters: Parameters, host: int, slot: int) -> None:
    """Note that an identity that subscribes has got a message."""
    if is_counted(state, parameters, host):
        change_lackers(state, slot, (host - parameters.hot_count) >> LACKER_BLOCK_SHIFT, -1)


@inlined_kernel
def row_elsewhere(parameters: Parameters, host: int) -> int:
    """The row of `State.seen_elsewhere` of an identity of another shard."""
    identity = host - parameters.hot_count
    return identity - parameters.rows if host >= parameters.first_id else identity


@inlined_kernel
def look_at_note(state: State, parameters: Parameters, host: int, slot: int) -> None:
    """Have the processor fetch what `note_elsewhere` touches."""
    if len(state.seen_elsewhere) > 0:
        look_elsewhere(state, parameters, host, slot)
        prefetch(state.subscribed, (host - parameters.hot_count) * state.subscribed.shape[1])


@inlined_kernel
def look_elsewhere(state: State, parameters: Parameters, host: int, slot: int) -> None:
    """Have the processor fetch what is known here of an identity of another shard and a message."""
    prefetch(state.seen_elsewhere, row_elsewhere(parameters, host) * state.seen_elsewhere.shape[1] + (slot >> 6))


@inlined_kernel
def note_elsewhere(state: State, parameters: Parameters, host: int, slot: int) -> None:
    """Note that an identity of another shard has a message. Who publishes it need not subscribe."""
    if len(state.seen_elsewhere) == 0:
        return
    bit = _ONE << uint64(slot & 63)
    row = row_elsewhere(parameters, host)
    known = state.seen_elsewhere[row, slot >> 6]
    if known & bit == _ZERO:
        state.seen_elsewhere[row, slot >> 6] = known | bit
        if subscribes(state, parameters, host, int64(state.message_topic[slot])):
            note_has(state, parameters, host, slot)


@kernel
def count_all(state: State, parameters: Parameters) -> None:
    """Count who subscribes to what and is up, or changes soon, when there are no messages yet."""
    if parameters.churn:
        state.counted[:] = state.life_outlines
    for host in range(parameters.hot_count, state.cuts[len(state.cuts) - 1]):
        if is_counted(state, parameters, host):
            count(state, parameters, host, 1)


@kernel
def begin_lackers(subscribers_up: UInt8Array, lackers: UInt8Array, lacked: UInt64Array, topic: int, slot: int) -> None:
    """Count who lacks a message that nobody has: all that subscribe. The arrays are those of `State`."""
    for word in range(lacked.shape[1]):
        lacked[slot, word] = _ZERO
    for block in range(lackers.shape[1]):
        lackers[slot, block] = subscribers_up[topic, block]
        if lackers[slot, block] != 0:
            lacked[slot, block >> 6] |= _ONE << uint64(block & 63)


@kernel
def follow_lives(state: State, parameters: Parameters) -> None:
    """Count those that come from now on, and no longer those that have gone."""
    for word in range(len(state.counted)):
        now, then = uint64(state.life_outlines[word]), uint64(state.counted[word])
        if now == then:
            continue
        state.counted[word] = now
        for place in range(OUTLINES_PER_WORD):
            counts, counted = outline_of(now, place) != 0, outline_of(then, place) != 0
            if counts != counted:
                host = (word << OUTLINES_SHIFT) + place + parameters.hot_count
                count(state, parameters, host, 1 if counts else -1)


@kernel
def count(state: State, parameters: Parameters, host: int, change: int) -> None:
    """Add to the counts what one identity makes of them, or take it away."""
    for place in range(parameters.full_topics):
        count_on_topic(state, parameters, host, int64(state.topic_of_place[place]), change)
    identity = host - parameters.hot_count
    for word in range(state.subscribed.shape[1]):
        left = uint64(state.subscribed[identity, word])
        while left != _ZERO:
            place = parameters.full_topics + word * 64 + lowest_bit(left)
            left &= left - _ONE
            count_on_topic(state, parameters, host, int64(state.topic_of_place[place]), change)


@kernel
def count_on_topic(state: State, parameters: Parameters, host: int, topic: int, change: int) -> None:
    """Add to the counts of a topic what one identity makes of them, or take it away."""
    block = (host - parameters.hot_count) >> LACKER_BLOCK_SHIFT
    state.subscribers_up[topic, block] = int64(state.subscribers_up[topic, block]) + change
    for word in range(state.topic_slots.shape[1]):
        left = lacked_slots(state, parameters, host, topic, word)
        while left != _ZERO:
            slot = word * 64 + lowest_bit(left)
            left &= left - _ONE
            change_lackers(state, slot, block, change)


@kernel
def lacked_slots(state: State, parameters: Parameters, host: int, topic: int, word: int) -> int:
    """A word of the slots in use of messages of a topic that an identity lacks, as far as is known here."""
    slots = uint64(state.topic_slots[topic, word])
    if slots == _ZERO:
        return slots
    row = host - parameters.first_id
    if uint64(row) < uint64(parameters.rows):
        return slots & ~uint64(state.identity[row, SEEN + word])
    if len(state.seen_elsewhere) == 0:
        return slots
    return slots & ~uint64(state.seen_elsewhere[row_elsewhere(parameters, host), word])
