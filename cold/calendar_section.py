"""The section `cold.calendar`: slots, who has duties in them, and what they publish.

Defaults are those of Ethereum's consensus layer: https://github.com/ethereum/consensus-specs, phase0 (validator, p2p),
altair (sync committees), electra (single attestations), fulu (columns). Sizes are those of the SSZ encodings there.
"""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from bridge.section import Section
from bridge.units import Duration, Size
from cold.distributions import Distribution, Drawn

#: MAX_PAYLOAD_SIZE of the consensus specs: the largest message that gossip carries.
MOST_MESSAGE_BYTES: Final = 10 * 2**20
#: SSZ bytes of a data column beside its cells: index, three offsets, signed header, inclusion proof (fulu/das-core).
COLUMN_BYTES: Final = 8 + 12 + 208 + 128
#: A cell with its commitment and its proof.
CELL_BYTES: Final = 2048 + 48 + 48

TopicName = int | str
Delay = Annotated[Distribution, Drawn(Duration)]
MessageSize = Annotated[Distribution, Drawn(Size, most=MOST_MESSAGE_BYTES)]
Number = Annotated[int, Field(ge=0)]


class ValidatorsSection(Section):
    """`cold.calendar.validators`: how many, and how they are spread over the identities.

    An identity of these populations (of all by default) has validators in proportion to its draw of `per_identity`.
    """

    count: int = Field(ge=1, le=16_000_000)
    per_identity: Annotated[Distribution, Drawn(Number, most=10**9)] = Field(default=1, validate_default=True)
    populations: list[str] | None = Field(default=None, min_length=1)


class BlocksSection(Section):
    """`cold.calendar.blocks`: the proposer's block, `delay` after its clock shows the slot's start."""

    topic: TopicName
    delay: Delay = Field(default="0 s", validate_default=True)
    size: MessageSize = Field(default="100 KiB", validate_default=True)


class ColumnsSection(Section):
    """`cold.calendar.columns`: the data columns of a block with blobs, each `delay` after the block."""

    topics: TopicName
    delay: Delay = Field(default="0 s", validate_default=True)
    blobs: Annotated[Distribution, Drawn(Number, most=4096)] = Field(default=6, validate_default=True)


class AttestationsSection(Section):
    """`cold.calendar.attestations`: one of each validator an epoch, `delay` after a third of its slot."""

    topics: TopicName
    delay: Delay = Field(default="0 s", validate_default=True)
    size: MessageSize = Field(default="240 B", validate_default=True)


class AggregatesSection(Section):
    """`cold.calendar.aggregates`: of some members of each committee, `delay` after two thirds of the slot."""

    topic: TopicName
    per_committee: int = Field(default=16, ge=1)
    delay: Delay = Field(default="0 s", validate_default=True)
    size: MessageSize = Field(default="506 B", validate_default=True)


class SyncMessagesSection(Section):
    """`cold.calendar.sync_messages`: one of each member of the sync committee, `delay` after a third of a slot."""

    topics: TopicName
    delay: Delay = Field(default="0 s", validate_default=True)
    size: MessageSize = Field(default="144 B", validate_default=True)


class ContributionsSection(Section):
    """`cold.calendar.contributions`: of some members of each subcommittee, `delay` after two thirds of a slot."""

    topic: TopicName
    per_subcommittee: int = Field(default=16, ge=1)
    delay: Delay = Field(default="0 s", validate_default=True)
    size: MessageSize = Field(default="360 B", validate_default=True)


class CalendarSection(Section):
    """`cold.calendar`: duties of identities, slot by slot. What is left out is not published."""

    genesis: Duration = 0
    slot: Duration = Field(default=12 * 10**9, ge=1000)
    slots_per_epoch: int = Field(default=32, ge=1, le=1024)
    target_committee_size: int = Field(default=128, ge=1)
    most_committees_per_slot: int = Field(default=64, ge=1, le=1024)
    sync_committee_size: int = Field(default=512, ge=1, le=65536)
    sync_subcommittees: int = Field(default=4, ge=1)
    epochs_per_sync_period: int = Field(default=256, ge=1)
    validators: ValidatorsSection
    blocks: BlocksSection | None = None
    columns: ColumnsSection | None = None
    attestations: AttestationsSection | None = None
    aggregates: AggregatesSection | None = None
    sync_messages: SyncMessagesSection | None = None
    contributions: ContributionsSection | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.topics():
            raise PydanticCustomError("calendar", "nothing is published: give it blocks, attestations, ...")
        if self.columns is not None and self.blocks is None:
            raise PydanticCustomError("calendar", "columns are those of a block: give it blocks too")
        if self.sync_committee_size % self.sync_subcommittees:
            raise PydanticCustomError("calendar", "sync_committee_size must be a multiple of sync_subcommittees")
        return self

    def topics(self) -> dict[str, TopicName]:
        """Return the topic or group of each kind of message that is published, by the path of the key."""
        named: dict[str, TopicName] = {}
        for key in ("blocks", "columns", "attestations", "aggregates", "sync_messages", "contributions"):
            part = getattr(self, key)
            if part is not None:
                field = "topic" if hasattr(part, "topic") else "topics"
                named[f"{key}.{field}"] = getattr(part, field)
        return named

    def largest_messages(self) -> dict[str, int]:
        """Return the most bytes that each kind of message may have, by the keys of `topics`."""
        largest = {}
        for key in self.topics():
            part = getattr(self, key.split(".")[0])
            is_column = isinstance(part, ColumnsSection)
            largest[key] = COLUMN_BYTES + CELL_BYTES * part.blobs.bounds()[1] if is_column else part.size.bounds()[1]
        return largest
