"""The slow twin of `cold.distribution_kernels`: finds the step of a probability by looking through all of them."""

import numpy as np
import numpy.typing as npt

from cold.quantile_layout import CHOICE_BITS, OCTAVES, STEP_BITS

WHOLE = 2**64


def draw(table: npt.NDArray[np.int64], word: int) -> int:
    """The value that 64 random bits stand for."""
    words = table.tolist()
    if words[0] == -1:
        return int(words[1])
    choice = word % 2**CHOICE_BITS
    form = next(offset for limit, offset in zip(words[1::2], words[2::2], strict=False) if choice < limit)
    steps, values = words[form], words[form + 1 :]
    if steps == -1:
        return int(values[0])
    if steps > 0:
        word = word >> 32 << 32
        place, rest = divmod(word * steps, WHOLE)
        part = rest * 2**20 // WHOLE
        return int(values[place] + (values[place + 1] - values[place]) * part // 2**20)
    is_upper = word >= WHOLE // 2
    tail = WHOLE - 1 - word if is_upper else word
    borders = octave_borders()
    place = max(number for number, border in enumerate(borders[:-1]) if border <= tail)
    part = (tail - borders[place]) * 2**20 // (borders[place + 1] - borders[place])
    values = values[: 2 * len(borders) - 1]
    if is_upper:
        values = values[::-1]
    low, high = values[place], values[place + 1]
    return int(low + (high - low) * part // 2**20)


def octave_borders() -> list[int]:
    """The borders of the steps below the median, as multiples of 2**-64."""
    steps = 2**STEP_BITS
    lowest = WHOLE >> (OCTAVES + 1)
    borders = [lowest * number // steps for number in range(steps)]
    for octave in range(OCTAVES):
        borders += [(lowest << octave) * (steps + number) // steps for number in range(steps)]
    return [*borders, WHOLE // 2]
