"""Kernels of `cold.distributions`: the quantile of a random word.

A table begins with -1 and the value of a constant, or with the number of parts of a mixture (1 if it is none). Then
come two words for each part: the first of 2**CHOICE_BITS numbers that choose a later part, and where the part's form
begins, counted from the table's start. A form begins with the number of equal steps of the probability, or with 0 for
steps by octaves, or with -1 for a constant; its quantiles follow. The low bits of a random word choose the part, the
high ones are the probability: they overlap only where the probability is so small that nobody can tell.
"""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

import numpy as np
import numpy.typing as npt

from cold.jit import int64, kernel, uint64
from cold.quantile_layout import CHOICE_BITS, OCTAVES, STEP_BITS

_PART_BITS: Final = 20
_CHOICE_MASK: Final = uint64((1 << CHOICE_BITS) - 1)
_HALF: Final = uint64(1 << 63)
_HIGH_SHIFT: Final = uint64(32)


@kernel
def between(low: int, high: int, part: int) -> int:
    """The value at `part` / 2**20 of the way from `low` to `high`, rounded down, for any distance below 2**63."""
    distance = high - low
    coarse = (distance >> _PART_BITS) * part
    return low + coarse + (((distance & ((1 << _PART_BITS) - 1)) * part) >> _PART_BITS)


@kernel
def part_of(whole: int, part: int) -> int:
    """`whole` * `part` / 2**32, rounded down, for a `whole` below 2**62 and a `part` below 2**32."""
    low = uint64(whole & 0xFFFFFFFF) * uint64(part)
    return (whole >> 32) * part + int64(low >> _HIGH_SHIFT)


@kernel
def highest_bit(word: int) -> int:
    """Position of the highest set bit of a non-negative int64; 0 for 0."""
    position = 0
    for width in (32, 16, 8, 4, 2, 1):
        if word >> width != 0:
            word >>= width
            position += width
    return position


@kernel
def octave_quantile(table: npt.NDArray[np.int64], first: int, word: int) -> int:
    """The quantile of `word` / 2**64 from quantiles by octaves, which begin at `first`."""
    is_upper = uint64(word) & _HALF != uint64(0)
    tail = int64(~uint64(word)) if is_upper else int64(word)
    top = highest_bit(tail)
    octave = max(top - (62 - OCTAVES), 0)
    # Where the steps of the octave begin: the lowest one goes down to 0.
    shift = 62 - OCTAVES + max(octave, 1) - STEP_BITS
    step = (tail >> shift) & ((1 << STEP_BITS) - 1)
    part = (tail >> (shift - _PART_BITS)) & ((1 << _PART_BITS) - 1)
    place = (octave << STEP_BITS) + step
    if is_upper:
        last = first + ((OCTAVES + 1) << (STEP_BITS + 1))
        return between(table[last - place], table[last - place - 1], part)
    return between(table[first + place], table[first + place + 1], part)


@kernel
def draw_value(table: npt.NDArray[np.int64], first: int, word: int) -> int:
    """The value that 64 random bits stand for, from the table that begins at `first`."""
    if table[first] < 0:
        return table[first + 1]
    choice = int64(uint64(word) & _CHOICE_MASK)
    place = first + 1
    while choice >= table[place]:
        place += 2
    form = first + table[place + 1]
    steps = table[form]
    if steps < 0:
        return table[form + 1]
    if steps == 0:
        return octave_quantile(table, form + 1, word)
    scaled = int64(uint64(word) >> _HIGH_SHIFT) * steps
    step, part = scaled >> 32, (scaled & 0xFFFFFFFF) >> (32 - _PART_BITS)
    return between(table[form + 1 + step], table[form + 2 + step], part)


@kernel
def draw_values(table: npt.NDArray[np.int64], words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """`draw_value` for each of uint64[n] words: int64[n]."""
    values = np.empty(len(words), dtype=np.int64)
    for index in range(len(words)):
        values[index] = draw_value(table, 0, words[index])
    return values
