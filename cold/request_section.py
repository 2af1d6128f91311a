"""The section `cold.requests`: what identities ask each other for, and how they answer."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from bridge.section import Section
from bridge.units import Duration, Size
from cold.distributions import Distribution, Drawn

#: Protocols of an experiment: a set of them is a word of bits.
MOST_PROTOCOLS: Final = 32
#: MAX_REQUEST_BLOCKS of the consensus specs, phase0.
MOST_CHUNKS: Final = 1024
#: MAX_PAYLOAD_SIZE of the consensus specs, phase0.
MOST_CHUNK_BYTES: Final = 10 * 2**20
#: What a request datagram to a hot host has room for.
MOST_REQUEST_BYTES: Final = 60_000
MOST_RETRIES: Final = 15
#: The shortest mean of an interval between two requests of one identity [ns].
_SHORTEST_MEAN: Final = 10**6

Number = Annotated[int, Field(ge=0)]


class RoleSection(Section):
    """`askers` or `servers` of a protocol: identities of any of these populations and any of these kinds of clients."""

    populations: list[str] | None = Field(default=None, min_length=1)
    clients: list[str] | None = Field(default=None, min_length=1)


class LimitSection(Section):
    """`limit` of a protocol: a server's bucket of tokens for each peer, which is filled up again in `period`."""

    tokens: int = Field(ge=1, le=10**6)
    period: Duration = Field(ge=10**6, le=10**13)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.period // self.tokens < 1:
            raise PydanticCustomError("limit", "a token must take at least a nanosecond")
        return self


class RequestResolutionSection(Section):
    """`resolution` of a protocol: whether all identities ask that should, or some in the place of all."""

    level: Literal["exact", "sampled"] = "exact"
    representatives: int = Field(default=4096, ge=2, le=65536)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.level == "exact" and "representatives" in self.model_fields_set:
            raise PydanticCustomError("request", "representatives belong to level: sampled")
        return self


class RequestSection(Section):
    """`cold.requests[i]`: a protocol of requests and responses."""

    name: str = Field(min_length=1, max_length=64)
    interval: Annotated[Distribution, Drawn(Duration)] | None = None
    on_join: bool = False
    size: Annotated[Distribution, Drawn(Size, most=MOST_REQUEST_BYTES)] = Field(default=0, validate_default=True)
    chunks: Annotated[Distribution, Drawn(Number, most=MOST_CHUNKS)] = Field(default=1, validate_default=True)
    chunk_size: Annotated[Distribution, Drawn(Size, most=MOST_CHUNK_BYTES)]
    service: Annotated[Distribution, Drawn(Duration, most=10**12)] = Field(default=0, validate_default=True)
    timeout: Duration = Field(default=10 * 10**9, ge=10**6, le=10**13)
    retries: int = Field(default=0, ge=0, le=MOST_RETRIES)
    retry_delay: Duration = Field(default=0, le=10**13)
    limit: LimitSection | None = None
    askers: RoleSection = RoleSection()
    servers: RoleSection = RoleSection()
    resolution: RequestResolutionSection = RequestResolutionSection()

    @model_validator(mode="after")
    def _is_asked(self) -> Self:
        if self.interval is None and not self.on_join:
            raise PydanticCustomError("request", "nobody ever asks: give it an interval, or on_join: true")
        if self.interval is not None and self.interval.expectation() < _SHORTEST_MEAN:
            raise PydanticCustomError("request", "the mean interval must be at least a millisecond")
        return self


def check_requests(
    requests: list[RequestSection], populations: set[str], clients: set[str], *, has_joins: bool
) -> None:
    """Raise what is wrong with protocols that are right one by one.

    Parameters
    ----------
    requests
        The protocols.
    populations, clients
        Names that there are.
    has_joins
        Whether any identity ever joins.
    """
    names = [request.name for request in requests]
    for place, request in enumerate(requests):
        if request.name in names[:place]:
            raise PydanticCustomError(
                "request", "requests[{place}].name: {name} is there twice", {"place": place, "name": repr(request.name)}
            )
        if request.interval is None and not has_joins:
            raise PydanticCustomError(
                "request",
                "requests[{place}].on_join: nobody joins, as no population has churn and nothing crashes",
                {"place": place},
            )
        for key, role in (("askers", request.askers), ("servers", request.servers)):
            for kind, named, known in (
                ("populations", role.populations, populations),
                ("clients", role.clients, clients),
            ):
                unknown = sorted(set(named or ()) - known)
                if unknown:
                    raise PydanticCustomError(
                        "request",
                        "requests[{place}].{key}.{kind}: there is no {name}",
                        {"place": place, "key": key, "kind": kind, "name": ", ".join(unknown)},
                    )
