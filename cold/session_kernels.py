"""Kernels of `cold.sessions`: when identities are up, as a function of (seed, identity, number of the interval).

An identity's life is a sequence of intervals: it is up in those with an even number and down in those with an odd one.
No interval is shorter than SHORTEST, so that inside any shorter span an identity changes at most once.
"""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.rng import draw_u64, draw_uniform
from cold.distribution_kernels import draw_value, part_of
from cold.jit import int64, kernel, uint64
from cold.life_layout import CHANGES_SOON, IS_UP, OUTLINE_BITS, OUTLINES_PER_WORD, OUTLINES_SHIFT, SHORTEST
from cold.purposes import ColdPurpose

Int64Array = npt.NDArray[np.int64]

#: Length of an interval that does not end.
FOR_EVER: Final = 2**62 - 1

# Columns of changes: when, who, the interval that begins, when that ends, whether the one before ended silently.
TIME: Final = 0
IDENTITY: Final = 1
NUMBER: Final = 2
UNTIL: Final = 3
SILENT: Final = 4
CHANGE_COLUMNS: Final = 5

_OUTLINE_MASK: Final = uint64(CHANGES_SOON | IS_UP)

_SESSION: Final = int(ColdPurpose.SESSION)
_SESSION_START: Final = int(ColdPurpose.SESSION_START)
_NOTICE: Final = int(ColdPurpose.NOTICE)
_CRASH: Final = int(ColdPurpose.CRASH)
_HIGH: Final = uint64(32)


class Habits(NamedTuple):
    """How identities come and go: P habits, C crashes, L nodes, A identities."""

    table: Int64Array
    """int64[n]: distributions' tables, see `cold.distribution_kernels`."""
    first: Int64Array
    """int64[P, 4]: where in `table` begin the sessions, the absences, and those of either that cover a moment."""
    up_share: npt.NDArray[np.float64]
    """float64[P]: probability of being up at the start."""
    notice: npt.NDArray[np.float64]
    """float64[P]: probability of a departure with notice."""
    dial: Int64Array
    """int64[P], ns: how long connecting takes, which is part of an absence."""
    habit: npt.NDArray[np.uint8]
    """uint8[A]: index of each identity's habit."""
    crash_from: Int64Array
    """int64[C], ns, ascending."""
    crash_until: Int64Array
    """int64[C], ns."""
    crash_share: npt.NDArray[np.float64]
    """float64[C, L]: share of the identities at each node that crash."""
    node: npt.NDArray[np.int32]
    """int32[A]: node of each identity."""


@kernel
def crashes(habits: Habits, seed: int, first_id: int, identity: int, crash: int) -> bool:
    """Whether a crash concerns an identity."""
    share = habits.crash_share[crash, habits.node[identity]]
    return share > 0.0 and draw_uniform(seed, first_id + identity, _CRASH, crash) < share


@kernel
def end_of_interval(habits: Habits, seed: int, first_id: int, identity: int, number: int, begin: int) -> int:
    """When the interval `number` of an identity ends that begins at `begin` [ns]."""
    return constrained(
        habits, seed, first_id, identity, number, begin, drawn_length(habits, seed, first_id, identity, number)
    )


@kernel
def drawn_length(habits: Habits, seed: int, first_id: int, identity: int, number: int) -> int:
    """How long an interval would last without crashes [ns]."""
    habit = habits.habit[identity]
    word = int64(draw_u64(seed, first_id + identity, _SESSION, number))
    length = draw_value(habits.table, habits.first[habit, number & 1], word)
    if number & 1 == 1:
        length += habits.dial[habit]
    return max(length, SHORTEST)


@kernel
def constrained(habits: Habits, seed: int, first_id: int, identity: int, number: int, begin: int, length: int) -> int:
    """When an interval ends, given the crashes: they end sessions, and nobody comes back before they are over."""
    end = begin + length
    for crash in range(len(habits.crash_from)):
        start = habits.crash_from[crash]
        if number & 1 == 0:
            if begin < start < end and crashes(habits, seed, first_id, identity, crash):
                end = start
        elif (
            start < end + SHORTEST
            and habits.crash_until[crash] > begin
            and crashes(habits, seed, first_id, identity, crash)
        ):
            end = max(end, habits.crash_until[crash])
    return end


@kernel
def begin_lives(habits: Habits, seed: int, first_id: int, number: npt.NDArray[np.uint32], until: Int64Array) -> None:
    """Draw the interval that each identity is in at time 0: its number, and when it ends [ns]."""
    for identity in range(len(until)):
        number[identity], until[identity] = begin_life(habits, seed, first_id, identity)


@kernel
def begin_life(habits: Habits, seed: int, first_id: int, identity: int) -> tuple[int, int]:
    """Draw the interval that an identity is in at time 0, as if it had come and gone for ever before."""
    entity, habit = first_id + identity, habits.habit[identity]
    is_up = draw_uniform(seed, entity, _SESSION_START, 0) < habits.up_share[habit]
    kind = 0 if is_up else 1
    whole = draw_value(habits.table, habits.first[habit, 2 + kind], int64(draw_u64(seed, entity, _SESSION_START, 1)))
    # The rest of an interval that covers a moment is a uniform part of it.
    part = int64(draw_u64(seed, entity, _SESSION_START, 2) >> _HIGH)
    rest = part_of(whole, part) if whole < FOR_EVER else whole
    return kind, constrained(habits, seed, first_id, identity, kind, 0, max(rest, SHORTEST))


@kernel
def changes_before(
    habits: Habits,
    seed: int,
    first_id: int,
    number: npt.NDArray[np.uint32],
    until: Int64Array,
    end: int,
) -> Int64Array:
    """Every change of an identity before `end`.

    Returns
    -------
    int64[n, CHANGE_COLUMNS]
        By identity, then by time.
    """
    count = 0
    for identity in range(len(until)):
        # Nearly all remain what they are, and a call costs as much as a hundred comparisons.
        if until[identity] < end:
            count += changes_of(habits, seed, first_id, identity, int64(number[identity]), until[identity], end)
    changes = np.empty((count, CHANGE_COLUMNS), dtype=np.int64)
    used = 0
    for identity in range(len(until)):
        time, which = until[identity], int64(number[identity])
        while time < end:
            silent = which & 1 == 0 and departs_silently(habits, seed, first_id, identity, which, time)
            which += 1
            following = end_of_interval(habits, seed, first_id, identity, which, time)
            changes[used, TIME] = time
            changes[used, IDENTITY] = identity
            changes[used, NUMBER] = which
            changes[used, UNTIL] = following
            changes[used, SILENT] = int64(silent)
            used += 1
            time = following
    return changes


@kernel
def changes_of(habits: Habits, seed: int, first_id: int, identity: int, number: int, until: int, end: int) -> int:
    """How often an identity changes before `end`, whose interval `number` lasts until `until`."""
    count = 0
    while until < end:
        count += 1
        number += 1
        until = end_of_interval(habits, seed, first_id, identity, number, until)
    return count


@kernel
def apply_changes(
    changes: Int64Array,
    first: int,
    now: int,
    number: npt.NDArray[np.uint32],
    until: Int64Array,
    since: Int64Array,
) -> int:
    """Apply the changes from `first` on that happen at `now` or before; returns the first that does not.

    `since` may be empty, where nobody asks when intervals began.
    """
    while first < len(changes) and changes[first, TIME] <= now:
        identity = changes[first, IDENTITY]
        number[identity] = changes[first, NUMBER]
        until[identity] = changes[first, UNTIL]
        if len(since) > 0:
            since[identity] = changes[first, TIME]
        first += 1
    return first


@kernel
def _outline_one(
    outlines: npt.NDArray[np.uint64],
    number: npt.NDArray[np.uint32],
    until: Int64Array,
    identity: int,
    listed_until: int,
) -> None:
    """Note what an identity is, of which changes before a time are listed."""
    what = int64(number[identity] & 1 == 0) * IS_UP + int64(until[identity] < listed_until) * CHANGES_SOON
    word, shift = identity >> OUTLINES_SHIFT, uint64((identity & (OUTLINES_PER_WORD - 1)) * OUTLINE_BITS)
    outlines[word] = outlines[word] & ~(_OUTLINE_MASK << shift) | uint64(what) << shift


@kernel
def outline_all(
    outlines: npt.NDArray[np.uint64], number: npt.NDArray[np.uint32], until: Int64Array, listed_until: int
) -> None:
    """Note in `Lives.outlines` what all identities are, of which changes before a time are listed."""
    for identity in range(len(number)):
        _outline_one(outlines, number, until, identity, listed_until)


@kernel
def outline(
    outlines: npt.NDArray[np.uint64],
    number: npt.NDArray[np.uint32],
    until: Int64Array,
    changes: Int64Array,
    listed_until: int,
) -> None:
    """Note in `Lives.outlines` what identities are that some changes are about."""
    for position in range(len(changes)):
        _outline_one(outlines, number, until, changes[position, IDENTITY], listed_until)


@kernel
def departs_silently(habits: Habits, seed: int, first_id: int, identity: int, number: int, time: int) -> bool:
    """Whether an identity goes without notice at the end of its session `number`, which is at `time`."""
    for crash in range(len(habits.crash_from)):
        if habits.crash_from[crash] == time and crashes(habits, seed, first_id, identity, crash):
            return True
    return draw_uniform(seed, first_id + identity, _NOTICE, number) >= habits.notice[habits.habit[identity]]
