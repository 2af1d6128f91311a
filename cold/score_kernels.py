"""What an identity thinks of the members of its meshes: a simple form of gossipsub v1.1's peer score.

Of each member of a mesh three numbers are kept, at its position in the mesh, and forgotten when it leaves. Counts and
scores are in fixed point, with FRACTION_BITS behind the point, so that every machine comes to the same.
"""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

from typing import Final

from cold.jit import int64, kernel
from cold.membership_kernels import mesh_row, place_of_peer
from cold.score_layout import FRACTION_BITS, RULES, SCORE_COLUMNS
from cold.state_kernels import MESH_COUNT, Parameters, State

_WHOLE: Final = 1 << FRACTION_BITS

# Columns of `State.mesh_score`.
SINCE: Final = 0
"""When the member joined [ns]."""
FIRST: Final = 1
"""Messages that it was the first to deliver."""
DELIVERED: Final = 2
"""Messages that it delivered."""

# Entries of `State.score_rules`.
(
    _TIME_WEIGHT,
    _TIME_QUANTUM,
    _TIME_CAP,
    _FIRST_WEIGHT,
    _FIRST_DECAY,
    _FIRST_CAP,
    _DELIVERY_WEIGHT,
    _DELIVERY_DECAY,
    _DELIVERY_CAP,
    _DELIVERY_THRESHOLD,
    _DELIVERY_ACTIVATION,
    OPPORTUNISTIC_THRESHOLD,
    OPPORTUNISTIC_BEATS,
    OPPORTUNISTIC_PEERS,
) = range(len(RULES))


@kernel
def begin_score(state: State, row: int, position: int, time: int) -> None:
    """Forget what was thought of a position in a mesh: a peer has joined there."""
    state.mesh_score[row, position, SINCE] = time
    state.mesh_score[row, position, FIRST] = 0
    state.mesh_score[row, position, DELIVERED] = 0


@kernel
def move_score(state: State, row: int, position: int, new: int) -> None:
    """Keep a member's numbers where it moves to another position in the mesh."""
    for column in range(SCORE_COLUMNS):
        state.mesh_score[row, new, column] = state.mesh_score[row, position, column]


@kernel
def note_delivery(state: State, parameters: Parameters, identity: int, source: int, slot: int, is_first: bool) -> None:
    """Count a copy of a message for its sender, if that is in the mesh."""
    row = mesh_row(state, parameters, identity, state.message_topic[slot])
    peer = place_of_peer(state, parameters, identity, source)
    first = parameters.first_member
    rules = state.score_rules
    for position in range(int64(state.mesh[row, MESH_COUNT])):
        if state.mesh[row, first + position] == peer:
            delivered = state.mesh_score[row, position, DELIVERED] + _WHOLE
            state.mesh_score[row, position, DELIVERED] = min(delivered, rules[_DELIVERY_CAP])
            if is_first:
                delivered = state.mesh_score[row, position, FIRST] + _WHOLE
                state.mesh_score[row, position, FIRST] = min(delivered, rules[_FIRST_CAP])


@kernel
def decay(state: State, row: int) -> None:
    """Let the members' numbers fade, as they do with each heartbeat."""
    for position in range(int64(state.mesh[row, MESH_COUNT])):
        for column, rule in ((FIRST, _FIRST_DECAY), (DELIVERED, _DELIVERY_DECAY)):
            state.mesh_score[row, position, column] = (
                state.mesh_score[row, position, column] * state.score_rules[rule] >> FRACTION_BITS
            )


@kernel
def score(state: State, row: int, position: int, time: int) -> int:
    """What an identity thinks of a member of its mesh."""
    rules = state.score_rules
    age = time - state.mesh_score[row, position, SINCE]
    total = rules[_TIME_WEIGHT] * min(age // rules[_TIME_QUANTUM], rules[_TIME_CAP])
    total += rules[_FIRST_WEIGHT] * state.mesh_score[row, position, FIRST] >> FRACTION_BITS
    lacking = rules[_DELIVERY_THRESHOLD] - state.mesh_score[row, position, DELIVERED]
    if lacking > 0 and age >= rules[_DELIVERY_ACTIVATION]:
        total -= (lacking * lacking >> FRACTION_BITS) * rules[_DELIVERY_WEIGHT] >> FRACTION_BITS
    return total


@kernel
def median_score(state: State, row: int, time: int) -> int:
    """The median of the scores in a mesh, which must have a member; the upper one of two."""
    members = int64(state.mesh[row, MESH_COUNT])
    for position in range(members):
        own = score(state, row, position, time)
        less = equal = 0
        for other in range(members):
            another = score(state, row, other, time)
            less += another < own
            equal += another == own
        if less <= members // 2 < less + equal:
            return own
    return 0
