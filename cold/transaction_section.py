"""The section `cold.transactions`: what is submitted to execution clients, and how they tell each other."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from bridge.section import Section
from bridge.units import Duration, Size
from cold.distributions import Distribution, Drawn
from cold.request_section import RoleSection

#: geth's txMaxSize: four slots of 32 KiB.
MOST_TRANSACTION_BYTES: Final = 128 * 2**10
MOST_BLOB_BYTES: Final = 4 * 2**20
_SHORTEST_MEAN: Final = 1000

TransactionSize = Annotated[Distribution, Drawn(Size, least=1, most=MOST_TRANSACTION_BYTES)]


class ListedTransaction(Section):
    """`cold.transactions.listed[i]`: one transaction."""

    time: Duration
    size: Annotated[Size, Field(ge=1, le=MOST_BLOB_BYTES)]
    blobs: bool = False
    origin: Annotated[int, Field(ge=0)] | Literal["random"] = "random"

    @model_validator(mode="after")
    def _size_fits(self) -> Self:
        if not self.blobs and self.size > MOST_TRANSACTION_BYTES:
            raise PydanticCustomError(
                "transaction", "without blobs a transaction has at most {most} bytes", {"most": MOST_TRANSACTION_BYTES}
            )
        return self


class TransactionsSection(Section):
    """`cold.transactions`: arrivals, sizes, the execution network, and what its clients do.

    The defaults of the overlay and of what clients do are geth's: node/defaults.go (MaxPeers), eth/handler.go
    (txMaxBroadcastSize), eth/fetcher/tx_fetcher.go (txArriveTimeout, txFetchTimeout). Sizes and lifetime are assumed.
    """

    rate: float | None = Field(default=None, gt=0, le=10**6)
    interval: Annotated[Distribution, Drawn(Duration)] | None = None
    listed: list[ListedTransaction] = Field(default_factory=list, max_length=100_000)
    size: TransactionSize = Field(
        default={"kind": "lognormal", "median": "250 B", "sigma": 0.9, "maximum": "128 KiB"}, validate_default=True
    )
    blob_share: float = Field(default=0.0, ge=0, le=1)
    blob_size: Annotated[Distribution, Drawn(Size, least=1, most=MOST_BLOB_BYTES)] = Field(
        default={"kind": "uniform", "low": "134 KB", "high": "800 KB"}, validate_default=True
    )
    origins: RoleSection = RoleSection()
    degree: int = Field(default=50, ge=2, le=512)
    hot_peers: int = Field(default=8, ge=0, le=512)
    largest_pushed: Annotated[Size, Field(ge=0)] = 4096
    announce_interval: Duration = 0
    fetch_delay: Duration = Field(default=500 * 10**6, le=10**12)
    fetch_timeout: Duration = Field(default=5 * 10**9, ge=10**6, le=10**12)
    validation_delay: Annotated[Distribution, Drawn(Duration, most=10**12)] = Field(
        default="0 s", validate_default=True
    )
    lifetime: Duration = Field(default=12 * 10**9, ge=10**6, le=10**13)

    @property
    def mean_interval(self) -> float:
        """Return the mean time between two that are drawn [ns]; infinite where none are."""
        if self.rate is not None:
            return 1e9 / self.rate
        return self.interval.expectation() if self.interval is not None else float("inf")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rate is None and self.interval is None and not self.listed:
            raise PydanticCustomError("transactions", "there are none: give a rate [1/s], an interval, or listed ones")
        if self.rate is not None and self.interval is not None:
            raise PydanticCustomError("transactions", "they have a rate or an interval, not both")
        if self.interval is not None and self.interval.expectation() < _SHORTEST_MEAN:
            raise PydanticCustomError("transactions", "the mean interval must be at least a microsecond")
        if self.announce_interval >= self.lifetime:
            raise PydanticCustomError("transactions", "announce_interval must be shorter than lifetime")
        drawn = {"size", "blob_share", "blob_size", "origins"} & self.model_fields_set
        if drawn and self.rate is None and self.interval is None:
            raise PydanticCustomError(
                "transactions",
                "{key} is about what is drawn, and there is neither rate nor interval",
                {"key": min(drawn)},
            )
        if "blob_size" in self.model_fields_set and self.blob_share == 0.0:
            raise PydanticCustomError("transactions", "blob_size belongs to a blob_share above 0")
        return self


def check_transactions(section: TransactionsSection, populations: set[str], clients: set[str], identities: int) -> None:
    """Raise what of it does not fit the rest of `cold`.

    Parameters
    ----------
    section
        The section.
    populations, clients
        Names that there are.
    identities
        Number of all identities.
    """
    for kind, named, known in (
        ("populations", section.origins.populations, populations),
        ("clients", section.origins.clients, clients),
    ):
        unknown = sorted(set(named or ()) - known)
        if unknown:
            raise PydanticCustomError(
                "transactions",
                "transactions.origins.{kind}: there is no {name}",
                {"kind": kind, "name": ", ".join(unknown)},
            )
    for place, listed in enumerate(section.listed):
        if listed.origin != "random" and listed.origin >= identities:
            raise PydanticCustomError(
                "transactions",
                "transactions.listed[{place}].origin: there is no identity {origin}; the last is {last}",
                {"place": place, "origin": listed.origin, "last": identities - 1},
            )
