"""Lives: the shortest interval [ns], and two bits for each identity in words of 64, `cold.sessions.Lives.outlines`."""

from typing import Final

SHORTEST: Final = 10**9

OUTLINE_BITS: Final = 2
OUTLINES_SHIFT: Final = 5
OUTLINES_PER_WORD: Final = 1 << OUTLINES_SHIFT
IS_UP: Final = 1
CHANGES_SOON: Final = 2
