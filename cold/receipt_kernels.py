"""What an identity has received, and when it may pass that on: functions of its arrivals and of drawn delays."""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

from cold.distribution_kernels import draw_value
from cold.draw_kernels import draw_words
from cold.jit import kernel, uint64
from cold.membership_kernels import arrival_place
from cold.purposes import ColdPurpose
from cold.state_kernels import (
    ARRIVAL_SHIFT,
    CLIENT_SHIFT,
    RANK,
    SEEN,
    VALIDATION_DELAY,
    Parameters,
    State,
)

_VALIDATION: Final = int(ColdPurpose.VALIDATION)
_WORD_BITS: Final = uint64(32)


@kernel
def client_of(state: State, identity: int) -> int:
    """The kind of client of an identity."""
    return state.sender[identity, RANK] >> CLIENT_SHIFT


@kernel
def has_seen(state: State, identity: int, slot: int) -> bool:
    """Whether the identity has the message."""
    return has_copy(state, identity, slot) or state.saturated[slot] != 0


@kernel
def has_copy(state: State, identity: int, slot: int) -> bool:
    """Whether the identity has the message, and its arrival is still known."""
    return state.identity[identity, SEEN + (slot >> 6)] >> (slot & 63) & 1 != 0


@kernel
def validation_delay(state: State, parameters: Parameters, identity: int, slot: int) -> int:
    """How long an identity takes to validate a message of others [ns]."""
    first = state.client[client_of(state, identity), VALIDATION_DELAY]
    if state.validation_delay[first] < 0:
        return state.validation_delay[first + 1]
    words = draw_words(parameters, identity + parameters.first_id, _VALIDATION, state.message_id[slot])
    return draw_value(state.validation_delay, first, uint64(words[0]) | uint64(words[1]) << _WORD_BITS)


@kernel
def validated_at(state: State, parameters: Parameters, identity: int, slot: int) -> int:
    """When an identity that has seen the message may forward it [ns]: a function of its arrival, never stored."""
    arrival = state.arrival[arrival_place(state, parameters, identity, slot)] >> ARRIVAL_SHIFT
    if state.message_origin[slot] == identity + parameters.first_id:
        return arrival
    return arrival + validation_delay(state, parameters, identity, slot)
