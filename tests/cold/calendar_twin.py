"""The slow twin of `cold.calendar`: one duty after another, in Python integers, as the specs tell it."""

from typing import NamedTuple

from bridge.directory import HostDirectory
from bridge.rng import draw_u64
from cold.distributions import Distribution
from cold.purposes import ColdPurpose
from cold.section import ColdSection
from tests.cold import quantile_twin


class Duty(NamedTuple):
    time: int
    topic: int
    origin: int
    size: int


class CalendarTwin:
    def __init__(self, section: ColdSection, directory: HostDirectory, seed: int) -> None:
        assert section.calendar is not None
        self.calendar, self.topics, self.seed = section.calendar, section.calendar_topics, seed
        self.hot = directory.hot_count
        self.clock: dict[int, tuple[int, int]] = {}
        for cold in directory.ranges:
            written = section.populations[cold.population].clock
            for host in range(cold.first_id, cold.first_id + cold.count):
                self.clock[host] = (0, 0)
                if written is not None:
                    offset = self.draw(written.offset, ColdPurpose.CLOCK_OFFSET, host, 0)
                    self.clock[host] = offset, self.draw(written.drift, ColdPurpose.CLOCK_DRIFT, host, 0)
        stakes = {
            host: self.draw(self.calendar.validators.per_identity, ColdPurpose.STAKE, host, 0) for host in self.clock
        }
        named = self.calendar.validators.populations
        for cold in directory.ranges:
            if named is not None and cold.population not in named:
                for host in range(cold.first_id, cold.first_id + cold.count):
                    stakes[host] = 0
        self.owner: list[int] = []
        past = 0
        for host, stake in stakes.items():
            past += stake
            wanted = round(past / sum(stakes.values()) * self.calendar.validators.count)
            self.owner += [host] * (wanted - len(self.owner))

    def word(self, purpose: ColdPurpose, entity: int, counter: int) -> int:
        return int(draw_u64(self.seed, entity, int(purpose), counter))

    def draw(self, distribution: Distribution, purpose: ColdPurpose, entity: int, counter: int) -> int:
        return quantile_twin.draw(distribution.table(), self.word(purpose, entity, counter))

    def moment(self, shown: int, host: int) -> int:
        offset, drift = self.clock[host]
        elapsed = shown - offset
        return max(elapsed - round(elapsed * (drift / (1e9 + drift))), 0)

    def slot(self, slot: int) -> list[Duty]:
        calendar = self.calendar
        start = calendar.genesis + slot * calendar.slot
        third, two_thirds = start + calendar.slot // 3, start + calendar.slot * 2 // 3
        epoch, place = divmod(slot, calendar.slots_per_epoch)
        count = len(self.owner)
        duties = []
        if calendar.blocks is not None:
            host = self.owner[self.word(ColdPurpose.PROPOSER, slot, 0) * count >> 64]
            time = self.moment(start, host) + self.draw(calendar.blocks.delay, ColdPurpose.BLOCK, slot, 1)
            size = self.draw(calendar.blocks.size, ColdPurpose.BLOCK, slot, 2)
            duties.append(Duty(time, self.topics["blocks.topic"][0], host, size))
            columns = calendar.columns
            blobs = self.draw(columns.blobs, ColdPurpose.BLOBS, slot, 0) if columns is not None else 0
            for number, topic in enumerate(self.topics.get("columns.topics", ())):
                if columns is not None and blobs > 0:
                    later = time + self.draw(columns.delay, ColdPurpose.COLUMN, slot, number)
                    duties.append(Duty(later, topic, host, 356 + 2144 * blobs))
        order = sorted(range(count), key=lambda v: (self.word(ColdPurpose.SHUFFLE, v, epoch), v))
        per_slot = count // calendar.slots_per_epoch // calendar.target_committee_size
        per_slot = max(1, min(calendar.most_committees_per_slot, per_slot))
        parts = per_slot * calendar.slots_per_epoch
        committees = [
            (number, order[count * number // parts : count * (number + 1) // parts])
            for number in range(place * per_slot, (place + 1) * per_slot)
        ]
        if calendar.attestations is not None:
            topics = self.topics["attestations.topics"]
            for number, members in committees:
                for validator in members:
                    purpose, part = ColdPurpose.ATTESTATION, calendar.attestations
                    time = self.moment(third, self.owner[validator])
                    time += self.draw(part.delay, purpose, validator, epoch * 4 + 1)
                    size = self.draw(part.size, purpose, validator, epoch * 4 + 2)
                    duties.append(Duty(time, topics[number % len(topics)], self.owner[validator], size))
        if calendar.aggregates is not None:
            for _, members in committees:
                for validator in members:
                    aggregates, purpose = calendar.aggregates, ColdPurpose.AGGREGATE
                    modulo = max(1, len(members) // aggregates.per_committee)
                    if self.word(purpose, validator, epoch * 4) % modulo == 0:
                        time = self.moment(two_thirds, self.owner[validator])
                        time += self.draw(aggregates.delay, purpose, validator, epoch * 4 + 1)
                        size = self.draw(aggregates.size, purpose, validator, epoch * 4 + 2)
                        duties.append(Duty(time, self.topics["aggregates.topic"][0], self.owner[validator], size))
        period = epoch // calendar.epochs_per_sync_period
        members_each = calendar.sync_committee_size // calendar.sync_subcommittees
        committee = [
            self.owner[(self.word(ColdPurpose.SYNC_COMMITTEE, position, period) >> 32) * count >> 32]
            for position in range(calendar.sync_committee_size)
        ]
        for position, host in enumerate(committee):
            if calendar.sync_messages is not None:
                purpose, messages = ColdPurpose.SYNC_MESSAGE, calendar.sync_messages
                topics = self.topics["sync_messages.topics"]
                time = self.moment(third, host) + self.draw(messages.delay, purpose, position, slot * 4 + 1)
                size = self.draw(messages.size, purpose, position, slot * 4 + 2)
                duties.append(Duty(time, topics[position // members_each % len(topics)], host, size))
            if calendar.contributions is not None:
                purpose, given = ColdPurpose.CONTRIBUTION, calendar.contributions
                if self.word(purpose, position, slot * 4) % max(1, members_each // given.per_subcommittee) == 0:
                    time = self.moment(two_thirds, host) + self.draw(given.delay, purpose, position, slot * 4 + 1)
                    size = self.draw(given.size, purpose, position, slot * 4 + 2)
                    duties.append(Duty(time, self.topics["contributions.topic"][0], host, size))
        return sorted(duties)
