"""Simulated time: int64 nanoseconds since the start of the simulation.

Other representations exist only at the two edges: in the configuration ("10 ms") and in what people read.
"""

from typing import Final

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
NS_PER_MINUTE: Final = 60 * NS_PER_S

#: The time of an event that will not happen. Largest int64, so that a minimum over participants needs no
#: special case.
NEVER: Final = 2**63 - 1

#: What the clock of every host says when the simulation starts: 2000-01-01T00:00:00Z, in seconds of Unix
#: time.
EPOCH: Final = 946_684_800
