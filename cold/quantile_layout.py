"""How finely `cold.distributions` tabulates, and `cold.distribution_kernels` reads: part of every model's results."""

from typing import Final

OCTAVES: Final = 32
"""Octaves of the probability that are tabulated on either side of the median; below them is a rest."""
STEP_BITS: Final = 6
"""Equal steps of an octave, as a power of two."""
CHOICE_BITS: Final = 20
"""The shares of a mixture's parts are multiples of 2**-CHOICE_BITS."""
