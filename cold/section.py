"""The configuration section of the cold tail: `cold`.

Durations are kept as nanoseconds, bandwidths as bits per second, sizes as bytes.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from bridge.section import Section
from bridge.units import Bandwidth, Drift, Duration, SignedDuration, Size
from cold.calendar_section import CalendarSection, MessageSize
from cold.churn_section import Churn
from cold.distributions import Distribution, Drawn
from cold.failure_section import Failure
from cold.request_section import MOST_PROTOCOLS, RequestSection, check_requests
from cold.resolution_section import ResolutionName, ResolutionSection
from cold.score_section import ScoreSection
from cold.topics import Topic, check_topics, indices_of, topic_numbers
from cold.transaction_section import TransactionsSection, check_transactions

#: The largest message that fits a datagram, and so the largest that hot hosts can be sent.
MOST_DATAGRAM_BYTES: Final = 60_000


def _parse_range(value: object) -> tuple[int, int]:
    try:
        if not isinstance(value, str):
            raise ValueError
        network = ipaddress.IPv4Network(value)
    except ValueError:
        raise PydanticCustomError(
            "range",
            "{value} is not a range of IPv4 addresses; write it as '100.64.0.0/10'",
            {"value": repr(value)},
        ) from None
    return int(network.network_address), int(network.broadcast_address)


def _parse_origin(value: object) -> int | Literal["random"]:
    if value == "random":
        return "random"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise PydanticCustomError(
        "origin",
        "{value} is not an origin; write random, or the number of an identity",
        {"value": repr(value)},
    )


class BandwidthClass(Section):
    """`cold.populations.<name>.bandwidth[i]`: access links of one kind, and their share of the population."""

    share: float = Field(gt=0, allow_inf_nan=False)
    up: Annotated[Bandwidth, Field(ge=1)]
    down: Annotated[Bandwidth, Field(ge=1)]


class ClockSection(Section):
    """`cold.populations.<name>.clock`: how wrong clocks are. A positive offset or drift is a clock that is ahead."""

    offset: Annotated[Distribution, Drawn(SignedDuration, least=-(2**50), most=2**50)] = Field(
        default="0 s", validate_default=True
    )
    drift: Annotated[Distribution, Drawn(Drift, least=-1_000_000, most=1_000_000)] = Field(
        default="0 ppm", validate_default=True
    )


class ColdPopulation(Section):
    """`cold.populations.<name>`: how many identities, and where they live."""

    count: int = Field(ge=1, le=16_000_000)
    regions: dict[int, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None = Field(default=None, min_length=1)
    bandwidth: list[BandwidthClass] | None = Field(default=None, min_length=1)
    clock: ClockSection | None = None
    churn: Churn | None = None
    reachable: float = Field(default=1.0, ge=0, le=1)
    addresses: Annotated[tuple[int, int], BeforeValidator(_parse_range)] | None = None
    port: int = Field(default=9000, ge=1, le=65535)


class OverlaySection(Section):
    """`cold.overlay`: the graph of who knows whom; a regular one of a `degree`, or, with a `target`, made by dialling.

    Defaults of dialling are Lighthouse's: PEER_EXCESS_FACTOR, TARGET_OUTBOUND_ONLY_FACTOR and HEARTBEAT_INTERVAL of its
    peer manager.
    """

    degree: int = Field(default=50, ge=2, le=512)
    topic_peers: int = Field(default=8, ge=2, le=64)
    target: int | None = Field(default=None, ge=1, le=512)
    maximum: int | None = Field(default=None, ge=1, le=512)
    outbound: float = Field(default=0.3, ge=0, le=1)
    rounds: int = Field(default=4, ge=1, le=64)
    redial: Duration = Field(default="30 s", validate_default=True, ge=10**9, le=10**12)

    @property
    def most(self) -> int:
        """Return the most connections that an identity has: `maximum`, or a tenth more than `target`."""
        if self.target is None:
            return self.degree
        return self.maximum or min(-(-self.target * 11 // 10), 512)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        own = self.model_fields_set - {"degree", "topic_peers"}
        if self.target is None and own:
            raise PydanticCustomError("overlay", "{key} belongs to a target", {"key": min(own)})
        if self.target is not None and "degree" in self.model_fields_set:
            raise PydanticCustomError("overlay", "an overlay has a degree or a target, not both")
        check_overlay(self)
        return self


def check_overlay(overlay: OverlaySection) -> None:
    """Raise what is wrong with numbers of peers that are right one by one."""
    if overlay.target is not None and overlay.most < overlay.target:
        raise PydanticCustomError(
            "overlay",
            "maximum must be at least the target, and they are {maximum} and {target}",
            {"maximum": overlay.most, "target": overlay.target},
        )


class GossipSection(Section):
    """`cold.gossip`: the parameters of gossipsub v1.1, under the names of its specification."""

    d: int = 8
    d_low: int = Field(default=6, ge=1)
    d_high: int = Field(default=12, le=64)
    d_lazy: int = Field(default=6, ge=0, le=64)
    d_out: int = Field(default=0, ge=0)
    heartbeat: Duration = Field(default=10**9, gt=0)
    mcache_length: int = Field(default=6, ge=1)
    mcache_gossip: int = Field(default=3, ge=1)
    seen_ttl: Duration = 120 * 10**9
    prune_backoff: Duration = 60 * 10**9
    fanout_ttl: Duration = Field(default=60 * 10**9, gt=0)
    flood_publish: bool = True
    idontwant_size: Annotated[Size, Field(ge=0)] | None = None
    score: ScoreSection | None = None
    validation_delay: Annotated[Distribution, Drawn(Duration)] = Field(default="0 s", validate_default=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_gossip(self)
        if self.flood_publish and "fanout_ttl" in self.model_fields_set:
            raise PydanticCustomError(
                "gossip", "fanout_ttl belongs to flood_publish: false, as who floods keeps no fanout"
            )
        return self


def check_gossip(gossip: GossipSection) -> None:
    """Raise what is wrong with gossip parameters that are right one by one."""
    if not gossip.d_low <= gossip.d <= gossip.d_high:
        raise PydanticCustomError(
            "gossip",
            "the mesh degrees must be d_low <= d <= d_high, and are {low}, {d}, {high}",
            {"low": gossip.d_low, "d": gossip.d, "high": gossip.d_high},
        )
    if gossip.d_out > 0 and not (gossip.d_out < gossip.d_low and 2 * gossip.d_out <= gossip.d):
        raise PydanticCustomError(
            "gossip",
            "d_out must be below d_low and not exceed d / 2, and d_out, d_low, d are {out}, {low}, {d}",
            {"out": gossip.d_out, "low": gossip.d_low, "d": gossip.d},
        )
    if gossip.mcache_gossip > gossip.mcache_length:
        raise PydanticCustomError("gossip", "mcache_gossip must not be larger than mcache_length")
    if gossip.seen_ttl < gossip.mcache_length * gossip.heartbeat:
        raise PydanticCustomError("gossip", "seen_ttl must be at least mcache_length heartbeats")


class ClientGossip(Section):
    """`cold.clients.<name>.gossip`: what a kind of client has of its own; the rest is that of `cold.gossip`."""

    d: int | None = None
    d_low: int | None = Field(default=None, ge=1)
    d_high: int | None = Field(default=None, le=64)
    d_lazy: int | None = Field(default=None, ge=0, le=64)
    d_out: int | None = Field(default=None, ge=0)
    heartbeat: Duration | None = Field(default=None, gt=0)
    validation_delay: Annotated[Distribution, Drawn(Duration)] | None = None
    idontwant_size: Annotated[Size, Field(ge=0)] | None = None


class ClientOverlay(Section):
    """`cold.clients.<name>.overlay`: what a kind of client has of its own; the rest is that of `cold.overlay`."""

    target: int | None = Field(default=None, ge=1, le=512)
    maximum: int | None = Field(default=None, ge=1, le=512)
    outbound: float | None = Field(default=None, ge=0, le=1)


class ClientSection(Section):
    """`cold.clients.<name>`: a kind of client, which this share of all identities has."""

    share: float = Field(gt=0, allow_inf_nan=False)
    gossip: ClientGossip = ClientGossip()
    overlay: ClientOverlay = ClientOverlay()


class Publication(Section):
    """`cold.publications[i]`: messages that cold identities publish."""

    topic: int = Field(ge=0, le=65535)
    time: Duration
    count: int = Field(default=1, ge=1)
    interval: Duration = 10**9
    size: MessageSize
    origin: Annotated[int | Literal["random"], BeforeValidator(_parse_origin)] = "random"


class ColdSection(Section):
    """`cold`: the tail of surrogate peers."""

    populations: dict[str, ColdPopulation] = Field(min_length=1)
    overlay: OverlaySection = OverlaySection()
    gossip: GossipSection = GossipSection()
    clients: dict[str, ClientSection] = Field(default_factory=dict, max_length=64)
    topics: list[Topic] = Field(default=[1], min_length=1)
    publications: list[Publication] = Field(default_factory=list)
    calendar: CalendarSection | None = None
    resolution: ResolutionSection = ResolutionSection()
    failures: list[Failure] = Field(default_factory=list, max_length=64)
    requests: list[RequestSection] = Field(default_factory=list, max_length=MOST_PROTOCOLS)
    transactions: TransactionsSection | None = None

    @property
    def identity_count(self) -> int:
        """Return the number of identities of all populations."""
        return sum(population.count for population in self.populations.values())

    @property
    def client_gossip(self) -> list[GossipSection]:
        """Return the gossip parameters of each kind of client; of the only one, if there are no kinds."""
        return [self._gossip_of(client.gossip) for client in self.clients.values()] or [self.gossip]

    @property
    def client_overlay(self) -> list[OverlaySection]:
        """Return how each kind of client connects; the only one, if there are no kinds."""
        return [self._overlay_of(client.overlay) for client in self.clients.values()] or [self.overlay]

    @property
    def mean_degree(self) -> int:
        """Return how many peers an identity wants in the mean."""
        shares = [client.share for client in self.clients.values()] or [1.0]
        wanted = [overlay.target or overlay.degree for overlay in self.client_overlay]
        return round(sum(share * peers for share, peers in zip(shares, wanted, strict=True)) / sum(shares))

    def _overlay_of(self, own: ClientOverlay) -> OverlaySection:
        """Return `cold.overlay` with a client's own values in place of its values, as they are: not yet checked."""
        return self.overlay.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})

    def _gossip_of(self, own: ClientGossip) -> GossipSection:
        """Return `cold.gossip` with a client's own values in place of its values, as they are: not yet checked."""
        return self.gossip.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})

    @model_validator(mode="after")
    def _clients_consistent(self) -> Self:
        for name, client in self.clients.items():
            try:
                part = "gossip"
                check_gossip(self._gossip_of(client.gossip))
                part = "overlay"
                if self.overlay.target is None and client.overlay.model_fields_set:
                    raise PydanticCustomError("overlay", "clients differ in how they dial, and overlay has no target")
                check_overlay(self._overlay_of(client.overlay))
            except PydanticCustomError as error:
                raise PydanticCustomError(
                    "client",
                    "clients.{name}.{part}: {message}",
                    {"name": name, "part": part, "message": error.message()},
                ) from None
        for name, population in self.populations.items():
            if self.overlay.target is None and population.reachable < 1.0:
                raise PydanticCustomError(
                    "overlay",
                    "populations.{name}.reachable is about dialling, and overlay has no target",
                    {"name": name},
                )
        return self

    @property
    def topic_numbers(self) -> list[int]:
        """Return the number of every topic, those of groups included; its place is the topic's index."""
        return topic_numbers(self.topics)

    @field_validator("topics")
    @classmethod
    def _unique(cls, topics: list[Topic]) -> list[Topic]:
        check_topics(topics)
        return topics

    @property
    def resolution_names(self) -> list[ResolutionName]:
        """Return what the configuration says of the resolution of each topic, by the topic's index."""
        names: list[ResolutionName] = [self.resolution.default] * len(self.topic_numbers)
        # A topic's own number comes after its group's name.
        for name, chosen in sorted(self.resolution.topics.items(), key=lambda item: isinstance(item[0], int)):
            for index in indices_of(self.topics, name) or range(0):
                names[index] = chosen
        return names

    @property
    def calendar_topics(self) -> dict[str, range]:
        """Return the indices of the topics of each kind of message of the calendar, by path of the key."""
        named = {} if self.calendar is None else self.calendar.topics()
        return {key: indices_of(self.topics, name) or range(0) for key, name in named.items()}

    @property
    def largest_message(self) -> int:
        """Return the most bytes that a message may have; 0 if nothing is published."""
        sizes = [publication.size.bounds()[1] for publication in self.publications]
        if self.calendar is not None:
            sizes += self.calendar.largest_messages().values()
        return max(sizes, default=0)

    @model_validator(mode="after")
    def _calendar_fits(self) -> Self:
        for key, indices in self.calendar_topics.items():
            if not indices:
                raise PydanticCustomError(
                    "calendar", "calendar.{key} is none of topics, neither a number nor a group's name", {"key": key}
                )
        unknown = set((self.calendar and self.calendar.validators.populations) or ()) - set(self.populations)
        if unknown:
            raise PydanticCustomError(
                "calendar",
                "calendar.validators.populations: there is no population {name}",
                {"name": ", ".join(sorted(unknown))},
            )
        for name, population in self.populations.items():
            if population.clock is not None and self.calendar is None:
                raise PydanticCustomError(
                    "calendar",
                    "populations.{name}.clock times the duties of a calendar, and there is none",
                    {"name": name},
                )
        return self

    @model_validator(mode="after")
    def _resolutions_fit(self) -> Self:
        for name in self.resolution.topics:
            if indices_of(self.topics, name) is None:
                raise PydanticCustomError(
                    "resolution",
                    "resolution.topics.{name} is none of topics, neither a number nor a group's name",
                    {"name": name},
                )
        if self.resolution.is_coarse and self.gossip.score is not None:
            raise PydanticCustomError(
                "resolution", "gossip.score: only exact topics have the deliveries that members are judged by"
            )
        return self

    @model_validator(mode="after")
    def _requests_fit(self) -> Self:
        churns = any(population.churn is not None for population in self.populations.values())
        crashes = any(failure.kind == "crash" for failure in self.failures)
        check_requests(self.requests, set(self.populations), set(self.clients), has_joins=churns or crashes)
        return self

    @model_validator(mode="after")
    def _transactions_fit(self) -> Self:
        if self.transactions is not None:
            check_transactions(self.transactions, set(self.populations), set(self.clients), self.identity_count)
        return self

    @model_validator(mode="after")
    def _publications_fit(self) -> Self:
        for place, publication in enumerate(self.publications):
            if indices_of(self.topics, publication.topic) is None:
                raise PydanticCustomError(
                    "publication",
                    "publications[{place}]: topic {topic} is not one of topics",
                    {"place": place, "topic": publication.topic},
                )
            if publication.origin != "random" and publication.origin >= self.identity_count:
                raise PydanticCustomError(
                    "publication",
                    "publications[{place}]: there is no identity {origin}; the last is {last}",
                    {"place": place, "origin": publication.origin, "last": self.identity_count - 1},
                )
        return self
