"""How scores are laid out in arrays: for the kernels, and for the configuration, which is read without them."""

from typing import Final

#: Counts and scores are in fixed point, with so many bits behind the point.
FRACTION_BITS: Final = 16

#: Numbers that are kept of each member of a mesh.
SCORE_COLUMNS: Final = 3

#: Entries of `State.score_rules`: the keys of `cold.gossip.score`.
RULES: Final = (
    "time_weight",
    "time_quantum",
    "time_cap",
    "first_weight",
    "first_decay",
    "first_cap",
    "delivery_weight",
    "delivery_decay",
    "delivery_cap",
    "delivery_threshold",
    "delivery_activation",
    "opportunistic_threshold",
    "opportunistic_beats",
    "opportunistic_peers",
)
