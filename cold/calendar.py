"""The calendar: which identity publishes what in each slot, generated slot by slot.

Duties follow the consensus specs (https://github.com/ethereum/consensus-specs, phase0 and altair, validator.md): a
validator attests once an epoch, in a committee of one slot; an aggregator is chosen from each committee; a proposer has
the slot. Where the specs shuffle by hashing, this shuffles by sorting random keys.
"""

from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from bridge.errors import UserError
from bridge.rng import draw_u64, draw_u64_array
from cold.calendar_section import CELL_BYTES, COLUMN_BYTES, CalendarSection
from cold.clocks import Clocks
from cold.distribution_kernels import draw_value, draw_values
from cold.distributions import Distribution
from cold.jit import uint64
from cold.overlay_kernels import draw_keys
from cold.publication_columns import Publications
from cold.purposes import ColdPurpose

Int64Array = npt.NDArray[np.int64]

#: Draws of one duty are numbered: whether it is had at all, its delay, its size.
_CHOICE, _DELAY, _SIZE = range(3)
_DRAWS: Final = 4


class Calendar:
    """Generates the publications of a slot.

    Parameters
    ----------
    section
        `cold.calendar`.
    topics
        The indices of the topics of each kind of message, by the section's path of the key: what
        `cold.topics.indices_of` says of `CalendarSection.topics`.
    clocks
        Of every identity.
    may_stake
        bool[N]: which identities may have validators.
    seed
        Seed of the run.
    first_id
        HostId of identity 0.
    """

    def __init__(
        self,
        section: CalendarSection,
        topics: dict[str, range],
        clocks: Clocks,
        may_stake: npt.NDArray[np.bool_],
        seed: int,
        first_id: int,
    ) -> None:
        self._section = section
        self._topics = topics
        self._clocks = clocks
        # What is asked before every window must not look at every clock.
        self._furthest = Clocks(clocks.offset.max(initial=0, keepdims=True), clocks.drift.max(initial=0, keepdims=True))
        self._seed = seed
        self._first_id = first_id
        self._validators = section.validators.count
        self._owner = self._spread_validators(may_stake)
        slots = section.slots_per_epoch
        per_slot = self._validators // slots // section.target_committee_size
        self._committees = max(1, min(section.most_committees_per_slot, per_slot))
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)
        self._period = -1
        self._sync_committee = np.empty(0, dtype=np.int64)

    def earliest(self, slot: int) -> int:
        """Return a time before which nothing of this slot, or of a later one, is published [ns]."""
        return self._furthest.earliest(self._start(slot))

    def owners(self) -> Int64Array:
        """Return the identity of each validator: int64[validators], ascending."""
        return self._owner

    def publications(self, slot: int) -> Publications:
        """Return what is published for a slot, kind by kind."""
        section = self._section
        parts = [self._block_and_columns(slot)] if section.blocks is not None else []
        if section.attestations is not None:
            parts.append(self._attestations(slot))
        if section.aggregates is not None:
            parts.append(self._aggregates(slot))
        if section.sync_messages is not None:
            parts.append(self._sync_messages(slot))
        if section.contributions is not None:
            parts.append(self._contributions(slot))
        return Publications.joined(parts)

    def proposer(self, slot: int) -> int:
        """Return the validator that proposes in a slot."""
        word = int(draw_u64(self._seed, slot, int(ColdPurpose.PROPOSER), 0))
        return word * self._validators >> 64

    def committees(self, slot: int) -> list[Int64Array]:
        """Return the members of each committee of a slot: validators."""
        section = self._section
        epoch = slot // section.slots_per_epoch
        if epoch != self._epoch:
            keys = draw_keys(uint64(self._seed), 0, self._validators, int(ColdPurpose.SHUFFLE), epoch)
            self._order, self._epoch = np.argsort(keys, kind="stable").astype(np.int64), epoch
        parts = section.slots_per_epoch * self._committees
        first = slot % section.slots_per_epoch * self._committees
        borders = [self._validators * part // parts for part in range(first, first + self._committees + 1)]
        return [self._order[a:b] for a, b in pairwise(borders)]

    def sync_committee(self, slot: int) -> Int64Array:
        """Return the validators of the sync committee, by position; one may have several positions."""
        section = self._section
        period = slot // section.slots_per_epoch // section.epochs_per_sync_period
        if period != self._period:
            positions = np.arange(section.sync_committee_size)
            words = draw_u64_array(self._seed, positions, int(ColdPurpose.SYNC_COMMITTEE), period)
            self._sync_committee, self._period = _below(words, self._validators), period
        return self._sync_committee

    def _start(self, slot: int) -> int:
        return self._section.genesis + slot * self._section.slot

    def _spread_validators(self, may_stake: npt.NDArray[np.bool_]) -> Int64Array:
        """Give every identity validators in proportion to its draw, those of one identity in a row."""
        identities = len(self._clocks.offset)
        ids = np.arange(self._first_id, self._first_id + identities)
        words = draw_u64_array(self._seed, ids, int(ColdPurpose.STAKE), 0)
        stake = np.cumsum(draw_values(self._section.validators.per_identity.table(), words) * may_stake)
        if stake[-1] == 0:
            raise UserError("no identity drew a validator", where="cold.calendar.validators.per_identity")
        past = np.rint(stake / stake[-1] * self._validators).astype(np.int64)
        return np.repeat(np.arange(identities), np.diff(past, prepend=0))

    def _block_and_columns(self, slot: int) -> Publications:
        blocks, columns = self._section.blocks, self._section.columns
        assert blocks is not None
        identity = self._owner[self.proposer(slot) : self.proposer(slot) + 1]
        purpose = ColdPurpose.BLOCK
        delay = self._draw_one(blocks.delay, purpose, slot, _DELAY)
        size = self._draw_one(blocks.size, purpose, slot, _SIZE)
        time = self._clocks.when(self._start(slot), identity) + delay
        block = self._published(time, self._topics["blocks.topic"][0], identity, size)
        if columns is None:
            return block
        blobs = self._draw_one(columns.blobs, ColdPurpose.BLOBS, slot, 0)
        if blobs == 0:
            return block
        topics = self._topics["columns.topics"]
        numbers = np.arange(len(topics))
        delays = self._draw(columns.delay, ColdPurpose.COLUMN, slot, numbers)
        size = COLUMN_BYTES + CELL_BYTES * blobs
        return block.then(self._published(time + delays, topics.start + numbers, identity, size))

    def _attestations(self, slot: int) -> Publications:
        part = self._section.attestations
        assert part is not None
        committees = self.committees(slot)
        topics = self._topics["attestations.topics"]
        first = slot % self._section.slots_per_epoch * self._committees
        subnet = topics.start + (first + np.arange(self._committees)) % len(topics)
        validator = np.concatenate(committees)
        return self._duties(
            part.delay,
            part.size,
            ColdPurpose.ATTESTATION,
            np.repeat(subnet, [len(committee) for committee in committees]),
            validator,
            validator,
            slot // self._section.slots_per_epoch,
            self._start(slot) + self._section.slot // 3,
        )

    def _aggregates(self, slot: int) -> Publications:
        part = self._section.aggregates
        assert part is not None
        epoch = slot // self._section.slots_per_epoch
        validator = np.concatenate(
            [
                self._selected(committee, ColdPurpose.AGGREGATE, epoch, len(committee) // part.per_committee)
                for committee in self.committees(slot)
            ]
        )
        return self._duties(
            part.delay,
            part.size,
            ColdPurpose.AGGREGATE,
            self._topics["aggregates.topic"][0],
            validator,
            validator,
            epoch,
            self._start(slot) + self._section.slot * 2 // 3,
        )

    def _sync_messages(self, slot: int) -> Publications:
        part = self._section.sync_messages
        assert part is not None
        topics = self._topics["sync_messages.topics"]
        position = np.arange(self._section.sync_committee_size)
        subcommittee = position // (len(position) // self._section.sync_subcommittees)
        return self._duties(
            part.delay,
            part.size,
            ColdPurpose.SYNC_MESSAGE,
            topics.start + subcommittee % len(topics),
            self.sync_committee(slot),
            position,
            slot,
            self._start(slot) + self._section.slot // 3,
        )

    def _contributions(self, slot: int) -> Publications:
        part = self._section.contributions
        assert part is not None
        members = self._section.sync_committee_size // self._section.sync_subcommittees
        position = np.arange(self._section.sync_committee_size)
        position = self._selected(position, ColdPurpose.CONTRIBUTION, slot, members // part.per_subcommittee)
        return self._duties(
            part.delay,
            part.size,
            ColdPurpose.CONTRIBUTION,
            self._topics["contributions.topic"][0],
            self.sync_committee(slot)[position],
            position,
            slot,
            self._start(slot) + self._section.slot * 2 // 3,
        )

    def _duties(
        self,
        delay: Distribution,
        size: Distribution,
        purpose: ColdPurpose,
        topic: Int64Array | int,
        validator: Int64Array,
        entity: Int64Array,
        counter: int,
        shown: int,
    ) -> Publications:
        """One message of each validator, when its identity's clock shows a time, and a delay later."""
        identity = self._owner[validator]
        delays = self._draw(delay, purpose, entity, counter * _DRAWS + _DELAY)
        sizes = self._draw(size, purpose, entity, counter * _DRAWS + _SIZE)
        return self._published(self._clocks.when(shown, identity) + delays, topic, identity, sizes)

    def _selected(self, entity: Int64Array, purpose: ColdPurpose, counter: int, one_in: int) -> Int64Array:
        """Return those that are chosen, each with probability 1 / `one_in` (the specs' is_aggregator)."""
        words = draw_u64_array(self._seed, entity, int(purpose), counter * _DRAWS + _CHOICE)
        chosen: Int64Array = entity[words % np.uint64(max(one_in, 1)) == 0]
        return chosen

    def _draw(
        self, distribution: Distribution, purpose: ColdPurpose, entity: Int64Array | int, counter: Int64Array | int
    ) -> Int64Array:
        return draw_values(distribution.table(), draw_u64_array(self._seed, entity, int(purpose), counter))

    def _draw_one(self, distribution: Distribution, purpose: ColdPurpose, slot: int, which: int) -> int:
        word = draw_u64(self._seed, slot, int(purpose), which)
        return int(draw_value(distribution.table(), 0, uint64(word)))

    def _published(
        self, time: Int64Array, topic: Int64Array | int, identity: Int64Array, size: Int64Array | int
    ) -> Publications:
        columns = np.broadcast_arrays(time, topic, identity + self._first_id, size)
        return Publications(*(np.ascontiguousarray(column, dtype=np.int64) for column in columns))


def _below(words: npt.NDArray[np.uint64], count: int) -> Int64Array:
    """Whole numbers below `count` < 2**32 from random words, each as likely as the others to within 2**-32."""
    numbers: Int64Array = ((words >> np.uint64(32)) * np.uint64(count) >> np.uint64(32)).astype(np.int64)
    return numbers
