"""Whether a host is up, and does what it should, as kernels ask it."""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

from cold.jit import kernel, uint64
from cold.state_kernels import Parameters, State


@kernel
def is_up(state: State, parameters: Parameters, host: int, time: int) -> bool:
    """Whether a host is up; for identities, as `Lives` has it. Of hot hosts it is not known that they are not."""
    if parameters.churn == 0 or host < parameters.hot_count:
        return True
    identity = host - parameters.hot_count
    return (state.life_number[identity] & 1 == 0) == (time < state.life_until[identity])


@kernel
def is_silent(state: State, parameters: Parameters, host: int, time: int) -> bool:
    """Whether an identity tells nobody of the messages of others."""
    for number in range(parameters.silences):
        if state.silence[number, 0] <= time < state.silence[number, 1] and state.silenced[
            host - parameters.hot_count
        ] >> uint64(number) & uint64(1) != uint64(0):
            return True
    return False
