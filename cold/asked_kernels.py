"""What identities have asked their peers for, which they do not ask another peer for before their next heartbeat.

Where a message has not come to a member of its topic, the entry of `State.arrival` is ABSENT and the number of the
heartbeat interval in which it was asked for last, modulo `_NEVER_ASKED`; NEVER if it has not been asked for.

Hot hosts may tell an identity of what has no such entry: of ids that nobody has published yet, and of messages on
topics to which it does not subscribe. From then on the identity has a row of `State.asked`: one heartbeat interval,
and a bit for each message it has asked for in this one, whoever told of it.
"""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Any, Final

import numpy as np

from cold.jit import int64, kernel, uint64
from cold.membership_kernels import arrival_place, mesh_row
from cold.message_cache_kernels import next_heartbeat
from cold.receipt_kernels import has_seen
from cold.state_kernels import ABSENT, NEVER, Parameters, State

_NEVER_ASKED: Final = NEVER - ABSENT
_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)


def with_asked_row(state: State, identity: int, used: int) -> State:
    """The state, with the row `used` of `asked` for an identity that has none; those before are taken."""
    state.asked_row[identity] = used
    if used < len(state.asked):
        return state
    longer = np.zeros((2 * used + 1, state.asked.shape[1]), dtype=np.uint64)
    longer[:used] = state.asked
    fields: dict[str, Any] = {"asked": longer}
    return state._replace(**fields)


@kernel
def is_in_row(state: State, identity: int, slot: int, interval: int) -> bool:
    """Whether an identity with a row of `asked` has asked for a message in an interval; from now on it has."""
    row = int64(state.asked_row[identity])
    if state.asked[row, 0] != uint64(interval):
        state.asked[row, 0] = uint64(interval)
        for word in range(1, state.asked.shape[1]):
            state.asked[row, word] = _ZERO
    word, bit = 1 + (slot >> 6), _ONE << uint64(slot & 63)
    if state.asked[row, word] & bit != _ZERO:
        return True
    state.asked[row, word] |= bit
    return False


@kernel
def want(state: State, parameters: Parameters, time: int, identity: int, slot: int) -> bool:
    """Whether to ask for a message: not seen, not too old, not asked for in this heartbeat interval. Marks it asked."""
    is_member, is_published, has_row = True, True, False
    if parameters.hot_count > 0:
        is_member = mesh_row(state, parameters, identity, int64(state.message_topic[slot])) >= 0
        is_published = state.message_expiry[slot] != NEVER
        has_row = state.asked_row[identity] >= 0
    if time >= state.message_expiry[slot] or (is_member and has_seen(state, identity, slot)):
        return False
    interval = next_heartbeat(state, identity, time)
    if is_member and is_published:
        place, mark = arrival_place(state, parameters, identity, slot), ABSENT + interval % _NEVER_ASKED
        if state.arrival[place] == mark:
            return False
        if not has_row:
            state.arrival[place] = mark
    return not (has_row and is_in_row(state, identity, slot, interval))
