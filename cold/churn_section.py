"""The section `cold.populations.<name>.churn`: how long identities stay, and how long they are away."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from bridge.section import Section
from bridge.units import Duration
from cold.distributions import Distribution, Drawn

#: Sessions are like connections on Ethereum's mainnet: 80 % of them last seconds, 10 % about 4 minutes, and 10 % from 5
#: minutes to 1.6 hours.
#: The published figures say nothing of absences.
PRESETS: Final[dict[str, dict[str, Any]]] = {
    "mainnet": {
        "sessions": {
            "kind": "mixture",
            "of": [
                {"share": 80, "of": {"kind": "exponential", "mean": "5 s", "maximum": "60 s"}},
                {"share": 10, "of": {"kind": "uniform", "low": "210 s", "high": "270 s"}},
                {"share": 10, "of": {"kind": "uniform", "low": "5 min", "high": "96 min"}},
            ],
        },
        "absences": {"kind": "exponential", "mean": "2 min"},
        "notice": 0.5,
    }
}


#: How long peers take to notice a silent departure [ns].
DEFAULT_DETECTION: Final = 20 * 10**9


class ChurnSection(Section):
    """How identities of a population come and go. No session or absence is shorter than a second."""

    sessions: Annotated[Distribution, Drawn(Duration)]
    absences: Annotated[Distribution, Drawn(Duration)]
    notice: float = Field(default=1.0, ge=0, le=1)
    detection: Duration = Field(default=f"{DEFAULT_DETECTION} ns", validate_default=True, le=10**12)
    dial: Duration = Field(default="300 ms", validate_default=True)


def _of_preset(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in PRESETS:
        raise PydanticCustomError(
            "churn", "{value} is no preset; known here: {known}", {"value": repr(value), "known": ", ".join(PRESETS)}
        )
    return PRESETS[value]


Churn = Annotated[ChurnSection, BeforeValidator(_of_preset)]
