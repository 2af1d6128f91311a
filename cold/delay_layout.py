"""Buckets of delays: the form of the histograms of `cold.results`, in which kernels count."""

from typing import Final

SUB_BITS: Final = 10
"""Bits of a delay after the leading one that tell buckets apart."""
EXACT: Final = 2 << SUB_BITS
"""Delays below this have a bucket each [ns]."""
BUCKETS: Final = (63 << SUB_BITS) + EXACT
"""As many as delays of 64 bits can be in."""
