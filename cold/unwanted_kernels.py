"""What peers have told identities by IDONTWANT: messages that they need not be sent.

Entries of an identity are a list, newest first. An entry is two words of `State.unwanted`:

    time << 16 | slot & 0xFFFF | next << 30 | slot >> 16 << 26 | peer

where `next` is the place of the next entry, or -1, and the time is kept modulo 2**48. Entries are taken off the list
when the identity forwards the message, or when the message's slot is freed; those that are not in use are a list, too.
"""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

from typing import Final

import numpy as np

from cold.jit import int64, kernel, uint64
from cold.membership_kernels import mesh_row, place_of_peer
from cold.receipt_kernels import has_copy, validated_at
from cold.state_kernels import (
    MESH_COUNT,
    MESSAGE_SLOT_BITS,
    MESSAGE_TIME_MASK,
    SOURCE_MASK,
    UNWANTED_FREE_COUNT,
    UNWANTED_FREE_HEAD,
    Int32Array,
    Int64Array,
    Parameters,
    State,
    UInt64Array,
)

_SLOT_LOW: Final = (1 << MESSAGE_SLOT_BITS) - 1
#: Half of the range of times: an entry that is more than that ahead is one of the past.
_HALF: Final = (MESSAGE_TIME_MASK + 1) // 2
_NEXT_SHIFT: Final = 30
_SLOT_HIGH_SHIFT: Final = 26
_SLOT_HIGH_MASK: Final = 15
_ONE: Final = uint64(1)


def free_entries(first: int, count: int, following: int) -> Int64Array:
    """The places from `first` on of `State.unwanted`, int64[count, 2], none in use, and then that of `following`."""
    entries = np.zeros((count, 2), dtype=np.int64)
    entries[:, 1] = np.append(np.arange(first + 1, first + count), following) << _NEXT_SHIFT
    return entries


@kernel
def entry_slot(unwanted: Int64Array, entry: int) -> int:
    """The message of an entry."""
    high = unwanted[entry, 1] >> _SLOT_HIGH_SHIFT & _SLOT_HIGH_MASK
    return high << MESSAGE_SLOT_BITS | unwanted[entry, 0] & _SLOT_LOW


@kernel
def has_unwanted(state: State, identity: int) -> bool:
    """Whether an identity has entries; where nobody has any, its list is not looked at, which is a random access."""
    return state.cursor[UNWANTED_FREE_COUNT] < len(state.unwanted) and state.unwanted_head[identity] >= 0


@kernel
def note_unwanted(state: State, parameters: Parameters, time: int, identity: int, peer: int, slot: int) -> None:
    """Take an IDONTWANT of a peer at `time`. There must be a free entry.

    Of a message that the identity has passed on there is nothing to remember.
    """
    if has_copy(state, identity, slot):
        if validated_at(state, parameters, identity, slot) < time:
            return
    elif state.saturated[slot] != 0:
        return
    entry = state.cursor[UNWANTED_FREE_HEAD]
    state.cursor[UNWANTED_FREE_HEAD] = state.unwanted[entry, 1] >> _NEXT_SHIFT
    state.cursor[UNWANTED_FREE_COUNT] -= 1
    state.unwanted[entry, 0] = time << MESSAGE_SLOT_BITS | slot & _SLOT_LOW
    state.unwanted[entry, 1] = (
        int64(state.unwanted_head[identity]) << _NEXT_SHIFT | slot >> MESSAGE_SLOT_BITS << _SLOT_HIGH_SHIFT | peer
    )
    state.unwanted_head[identity] = entry


@kernel
def take_unwanted(state: State, parameters: Parameters, time: int, identity: int, slot: int) -> int:
    """Forget who does not want a message; returns a bit for each member of the mesh that said so by `time`."""
    places = uint64(0)
    first = parameters.first_member
    row = mesh_row(state, parameters, identity, state.message_topic[slot])
    before = int64(-1)
    entry = int64(state.unwanted_head[identity])
    while entry >= 0:
        following = state.unwanted[entry, 1] >> _NEXT_SHIFT
        if entry_slot(state.unwanted, entry) != slot:
            before = entry
            entry = following
            continue
        ahead = ((state.unwanted[entry, 0] >> MESSAGE_SLOT_BITS) - time) & MESSAGE_TIME_MASK
        if ahead == 0 or ahead >= _HALF:
            peer = state.unwanted[entry, 1] & SOURCE_MASK
            place = place_of_peer(state, parameters, identity, peer)
            for position in range(int64(state.mesh[row, MESH_COUNT])):
                if state.mesh[row, first + position] == place:
                    places |= _ONE << uint64(position)
        if before < 0:
            state.unwanted_head[identity] = following
        else:
            keep = (1 << _NEXT_SHIFT) - 1
            state.unwanted[before, 1] = following << _NEXT_SHIFT | state.unwanted[before, 1] & keep
        state.unwanted[entry, 1] = state.cursor[UNWANTED_FREE_HEAD] << _NEXT_SHIFT
        state.cursor[UNWANTED_FREE_HEAD] = entry
        state.cursor[UNWANTED_FREE_COUNT] += 1
        entry = following
    return places


@kernel
def forget_unwanted(unwanted_head: Int32Array, unwanted: Int64Array, cursor: Int64Array, gone: UInt64Array) -> None:
    """Take the entries of the slots in `gone`, uint64[W], off every identity's list."""
    keep = (1 << _NEXT_SHIFT) - 1
    for identity in range(len(unwanted_head)):
        before = int64(-1)
        entry = int64(unwanted_head[identity])
        while entry >= 0:
            following = unwanted[entry, 1] >> _NEXT_SHIFT
            slot = entry_slot(unwanted, entry)
            if gone[slot >> 6] >> uint64(slot & 63) & _ONE == uint64(0):
                before = entry
            else:
                if before < 0:
                    unwanted_head[identity] = following
                else:
                    unwanted[before, 1] = following << _NEXT_SHIFT | unwanted[before, 1] & keep
                unwanted[entry, 1] = cursor[UNWANTED_FREE_HEAD] << _NEXT_SHIFT
                cursor[UNWANTED_FREE_HEAD] = entry
                cursor[UNWANTED_FREE_COUNT] += 1
            entry = following
