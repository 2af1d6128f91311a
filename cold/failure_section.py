"""The section `cold.failures`: what goes wrong, when, and where."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from bridge.section import Section
from bridge.units import Duration

_Share = Annotated[float, Field(gt=0, le=1)]
_Nodes = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class _Failure(Section):
    """What all failures have: they last from `time` until `until`, or to the end of the run."""

    time: Duration = Field(ge=10**9)
    until: Duration | None = None

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.until is not None and self.until < self.time + 10**9:
            raise PydanticCustomError("failure", "until must be at least a second after time")
        return self


class CrashFailure(_Failure):
    """A share of the identities (of `regions`, or of all) is gone without notice, and comes back after `until`."""

    kind: Literal["crash"]
    share: _Share = 1.0
    regions: _Nodes | None = None


class PartitionFailure(_Failure):
    """No packet passes between the nodes `regions` and all others; peers notice it after `detection`."""

    kind: Literal["partition"]
    regions: _Nodes
    detection: Duration = Field(default="20 s", validate_default=True)


class DegradationFailure(_Failure):
    """Packets from or to the nodes `regions` (all by default) take longer, and more of them are lost."""

    kind: Literal["degradation"]
    regions: _Nodes | None = None
    latency: Duration = Field(default=0, le=10**10)
    loss: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _degrades(self) -> Self:
        if self.latency == 0 and self.loss == 0.0:
            raise PydanticCustomError("failure", "a degradation needs latency or loss")
        return self


class SilenceFailure(_Failure):
    """A share of the identities (of `regions`, or of all) takes messages and tells nobody of those of others."""

    kind: Literal["silence"]
    share: _Share
    regions: _Nodes | None = None


class WithholdingFailure(_Failure):
    """A share of the identities publishes `delay` later than it should; without a delay, not at all."""

    kind: Literal["withholding"]
    share: _Share
    delay: Duration | None = Field(default=None, gt=0)


Failure = Annotated[
    CrashFailure | PartitionFailure | DegradationFailure | SilenceFailure | WithholdingFailure,
    Field(discriminator="kind"),
]
