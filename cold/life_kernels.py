"""Whether a host is up, and does what it should, as kernels ask it."""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

from typing import Final

from cold.jit import inlined_kernel, int64, kernel, uint64
from cold.life_layout import CHANGES_SOON, IS_UP, OUTLINE_BITS, OUTLINES_PER_WORD, OUTLINES_SHIFT
from cold.state_kernels import Parameters, State

_OUTLINE_MASK: Final = uint64(CHANGES_SOON | IS_UP)


@inlined_kernel
def outline_of(word: int, place: int) -> int:
    """The outline of an identity, by its place in a word of outlines; places go round."""
    shift = uint64((place & (OUTLINES_PER_WORD - 1)) * OUTLINE_BITS)
    return int64(uint64(word) >> shift & _OUTLINE_MASK)


@inlined_kernel
def up_bit(state: State, parameters: Parameters, host: int, time: int) -> int:
    """1 if an identity is up, as `Lives` has it, else 0: without a branch for what is as good as random."""
    if parameters.churn == 0:
        return int64(1)
    identity = host - parameters.hot_count
    what = outline_of(state.life_outlines[identity >> OUTLINES_SHIFT], identity)
    if what & CHANGES_SOON != 0:
        return int64((state.life_number[identity] & 1 == 0) == (time < state.life_until[identity]))
    return what & IS_UP


@inlined_kernel
def is_up(state: State, parameters: Parameters, host: int, time: int) -> bool:
    """Whether a host is up; of hot hosts it is not known that they are not."""
    return host < parameters.hot_count or up_bit(state, parameters, host, time) != 0


@kernel
def up_since(state: State, parameters: Parameters, host: int, time: int) -> int:
    """When the session of an identity began that is up [ns]."""
    identity = host - parameters.hot_count
    if time >= state.life_until[identity]:
        return state.life_until[identity]
    return state.life_since[identity]


@kernel
def are_dialled(state: State, parameters: Parameters, one: int, other: int, time: int) -> bool:
    """Whether two neighbours that are up have dialled each other since the last of them came.

    Who comes dials whom it can. One that nobody can dial finds those that came after it when it dials again.
    """
    if parameters.redial_ms == 0 or one < parameters.hot_count or other < parameters.hot_count:
        return True
    hidden, open_one = one, other
    phase = int64(state.redial_phase[hidden - parameters.hot_count])
    if phase < 0:
        hidden, open_one = other, one
        phase = int64(state.redial_phase[hidden - parameters.hot_count])
        if phase < 0:
            return True
    came = up_since(state, parameters, open_one, time)
    if came <= up_since(state, parameters, hidden, time):
        return True
    interval = parameters.redial_ms * 1_000_000
    beats = max((came - phase * 1_000_000 + interval - 1) // interval, int64(0))
    return time >= beats * interval + phase * 1_000_000


@kernel
def is_silent(state: State, parameters: Parameters, host: int, time: int) -> bool:
    """Whether an identity tells nobody of the messages of others."""
    for number in range(parameters.silences):
        if state.silence[number, 0] <= time < state.silence[number, 1] and state.silenced[
            host - parameters.hot_count
        ] >> uint64(number) & uint64(1) != uint64(0):
            return True
    return False
