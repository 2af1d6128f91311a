"""Blocks of identities, in which `cold.lacker_kernels` counts who lacks what."""

from typing import Final

#: A block has 1 << LACKER_BLOCK_SHIFT identities, so that a count fits a byte.
LACKER_BLOCK_SHIFT: Final = 7
