"""The configuration section of resolutions: `cold.resolution`."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from bridge.section import Section
from bridge.units import Duration


class Resolution(IntEnum):
    """From fine to coarse."""

    EXACT = 0
    """Every message on every edge."""
    SAMPLED = 1
    """Arrivals drawn from what became of representative messages."""
    MEAN_FIELD = 2
    """Arrivals drawn from the solution of equations for populations."""

    @property
    def written(self) -> str:
        """Return its name in the configuration."""
        return self.name.lower().replace("_", "-")


ResolutionName = Literal["exact", "sampled", "mean-field", "auto"]


class ResolutionSection(Section):
    """`cold.resolution`: how finely topics are modelled; see docs/models.md.

    `topics` names a topic by its number, or all of a group by the group's name; `default` is for all others. `auto`
    keeps the cost of all its topics within `budget`: edge events per simulated second. `epoch` is the longest time for
    which representatives stand in a network that changes. `queues` identities at most show how much later messages of
    coarse topics come for meeting others; with 0 they meet none.
    """

    default: ResolutionName = "exact"
    topics: dict[int | str, ResolutionName] = Field(default_factory=dict)
    budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    representatives: int = Field(default=16, ge=1, le=1024)
    queues: int = Field(default=1024, ge=0, le=65536)
    epoch: Duration = Field(default="60 s", validate_default=True, ge=10**9)

    @property
    def is_coarse(self) -> bool:
        """Return whether any topic may be other than exact."""
        return {self.default, *self.topics.values()} != {"exact"}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        is_automatic = "auto" in {self.default, *self.topics.values()}
        if is_automatic and self.budget is None:
            raise PydanticCustomError(
                "resolution",
                "auto needs a budget: the edge events that a simulated second may cost, such as 20_000_000",
            )
        if self.budget is not None and not is_automatic:
            raise PydanticCustomError("resolution", "budget is for topics that are auto, and there is none")
        return self
