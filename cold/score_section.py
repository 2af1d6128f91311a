"""The configuration section of peer scores: `cold.gossip.score`."""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from bridge.section import Section
from bridge.units import Duration
from cold.score_layout import FRACTION_BITS, RULES

#: Of weights, caps and thresholds: products of three of them have room in 64 bits.
_LARGEST = 1000.0

Weight = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=_LARGEST, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class ScoreSection(Section):
    """`cold.gossip.score`: what identities think of the members of their meshes; see docs/models.md.

    Decays are of each heartbeat, deliveries are counted in messages.
    """

    time_weight: Weight = 0.03
    time_quantum: Annotated[Duration, Field(ge=1)] = 12 * 10**9
    time_cap: Annotated[int, Field(ge=0, le=1000)] = 300
    first_weight: Weight = 1.0
    first_decay: Share = 0.99
    first_cap: Amount = 40.0
    delivery_weight: Weight = 1.0
    delivery_decay: Share = 0.99
    delivery_cap: Amount = 100.0
    delivery_threshold: Amount = 0.0
    delivery_activation: Duration = 60 * 10**9
    opportunistic_threshold: Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)] = 0.0
    opportunistic_beats: int = Field(default=60, ge=1, le=1_000_000)
    opportunistic_peers: int = Field(default=2, ge=0, le=64)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.delivery_threshold > self.delivery_cap:
            raise PydanticCustomError("score", "delivery_threshold must not be more than delivery_cap")
        return self

    def rules(self) -> npt.NDArray[np.int64]:
        """Return `State.score_rules`: the values in the order of `RULES`, those that are not whole in fixed point."""
        values = (getattr(self, name) for name in RULES)
        return np.array(
            [value if isinstance(value, int) else round(value * (1 << FRACTION_BITS)) for value in values],
            dtype=np.int64,
        )
