"""What cold identities publish, and when: as columns that are made as time goes, never a Python object per message.

Everything here is a function of configuration and seed, so that every shard computes the same.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bridge.rng import draw_u64_array
from bridge.simtime import NEVER
from cold.calendar import Calendar
from cold.distribution_kernels import draw_values
from cold.misbehaviour import Withholding
from cold.population import clocks, stakers
from cold.publication_columns import Publications
from cold.purposes import ColdPurpose
from cold.scenario import Scenario
from cold.section import Publication


class PlannedMessages(NamedTuple):
    """Messages with their ids, by time."""

    message_id: npt.NDArray[np.uint64]
    """uint64[n]: the publisher's address << 32 | the number of its message, from 1 on."""
    published: Publications
    """Of n rows."""


class MessagePlan(Protocol):
    """What is published, taken piece by piece."""

    def next_time(self) -> int:
        """Time of the next message that was not taken yet [ns]; NEVER if there is none."""

    def take(self, end: int) -> PlannedMessages:
        """Return the messages before `end` that were not taken yet."""


class Plan:
    """Messages by time, whoever thought of them."""

    def __init__(self, planned: PlannedMessages) -> None:
        self._planned = planned
        self._taken = 0

    def next_time(self) -> int:
        """Time of the next message that was not taken yet [ns]; NEVER if there is none."""
        time = self._planned.published.time
        return int(time[self._taken]) if self._taken < len(time) else NEVER

    def take(self, end: int) -> PlannedMessages:
        """Return the messages before `end` that were not taken yet."""
        published = self._planned.published
        last = int(np.searchsorted(published.time, end))
        rows = slice(self._taken, max(last, self._taken))
        self._taken = rows.stop
        return PlannedMessages(self._planned.message_id[rows], published.taken(rows))


class PublicationPlan:
    """All messages of a run, taken piece by piece. Messages of one time keep the order of the configuration.

    Parameters
    ----------
    scenario
        What the tail is.
    """

    def __init__(self, scenario: Scenario) -> None:
        section, directory, seed, stop_time_ns = scenario
        self._first_id = directory.hot_count
        self._address = directory.address[self._first_id :]
        self._published = np.zeros(len(self._address), dtype=np.uint32)
        self._stop_time_ns = stop_time_ns
        self._withholding = Withholding(scenario)
        self._calendar: Calendar | None = None
        self._slot = 0
        if section.calendar is not None:
            self._calendar = Calendar(
                section.calendar,
                section.calendar_topics,
                clocks(section, directory, seed),
                stakers(section, directory),
                seed,
                self._first_id,
            )
        self._ahead = Publications.none()
        self._earliest = self._earliest_slot()
        self._admit(listed_publications(scenario))

    def next_time(self) -> int:
        """Time of the next message that was not taken yet [ns]; NEVER if there is none."""
        while self._earliest <= min(self._first_ahead, NEVER - 1):
            self._admit_slot()
        return self._first_ahead

    def take(self, end: int) -> PlannedMessages:
        """Return the messages before `end` that were not taken yet."""
        while self._earliest < end:
            self._admit_slot()
        count = int(np.searchsorted(self._ahead.time, end))
        due = self._ahead.taken(slice(count))
        self._keep(self._ahead.taken(slice(count, None)))
        identity = due.origin - self._first_id
        ids = self._address[identity].astype(np.uint64) << np.uint64(32) | self._number(identity)
        return PlannedMessages(ids, due)

    def _earliest_slot(self) -> int:
        """Time before which nothing is published but what is ahead already [ns]; NEVER if that is all."""
        earliest = NEVER if self._calendar is None else self._calendar.earliest(self._slot)
        return earliest if earliest < self._stop_time_ns else NEVER

    def _admit_slot(self) -> None:
        assert self._calendar is not None
        self._admit(self._calendar.publications(self._slot))
        self._slot += 1
        self._earliest = self._earliest_slot()

    def _admit(self, more: Publications) -> None:
        """Put publications behind those ahead that have the same time; nothing after the end is kept."""
        more = self._withholding.apply(more)
        both = self._ahead.then(more.taken(more.time < self._stop_time_ns))
        self._keep(both.taken(np.argsort(both.time, kind="stable")))

    def _keep(self, ahead: Publications) -> None:
        """Have these publications ahead."""
        self._ahead = ahead
        # Whoever asks before every window is not to look at columns.
        self._first_ahead = int(ahead.time[0]) if len(ahead.time) else NEVER

    def _number(self, identity: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """Count one message of each of these identities, in this order: how many it is now, uint64[n]."""
        order = np.argsort(identity, kind="stable")
        ordered = identity[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        lengths = np.diff(starts, append=len(ordered))
        rank = np.arange(len(ordered)) - np.repeat(starts, lengths) + 1
        numbers = np.empty(len(ordered), dtype=np.uint64)
        numbers[order] = self._published[ordered] + rank.astype(np.uint64)
        self._published[ordered[starts]] += lengths.astype(np.uint32)
        return numbers


class PlanOfSomeTopics(PublicationPlan):
    """The messages of some of a section's topics, which keep the ids that they have among all.

    Parameters
    ----------
    scenario
        As for `PublicationPlan`.
    topics
        Indices of the topics.
    """

    def __init__(self, scenario: Scenario, topics: Sequence[int]) -> None:
        super().__init__(scenario)
        self._is_ours = np.zeros(len(scenario.section.topic_numbers), dtype=np.bool_)
        self._is_ours[list(topics)] = True

    def take(self, end: int) -> PlannedMessages:
        """Return the messages of these topics before `end` that were not taken yet."""
        planned = super().take(end)
        ours = self._is_ours[planned.published.topic]
        return PlannedMessages(planned.message_id[ours], planned.published.taken(ours))


def listed_publications(scenario: Scenario) -> Publications:
    """The messages of `cold.publications` before the end, in the order of the configuration."""
    return Publications.joined(
        [
            _listed(scenario, index, publication, _count(publication, scenario.stop_time_ns))
            for index, publication in enumerate(scenario.section.publications)
        ]
    )


def _count(publication: Publication, stop_time_ns: int) -> int:
    """How many of the messages are published before the end."""
    if publication.time >= stop_time_ns:
        return 0
    if publication.interval == 0:
        return publication.count
    return min(publication.count, -((publication.time - stop_time_ns) // publication.interval))


def _listed(scenario: Scenario, index: int, publication: Publication, count: int) -> Publications:
    section, directory, seed, _ = scenario
    number = np.arange(count, dtype=np.int64)
    first_id, identities = directory.hot_count, directory.total_count - directory.hot_count
    if publication.origin == "random":
        words = draw_u64_array(seed, index, int(ColdPurpose.ORIGIN), number)
        # The high half is enough: there are fewer than 2**32 identities.
        identity = ((words >> np.uint64(32)) * np.uint64(identities) >> np.uint64(32)).astype(np.int64)
    else:
        identity = np.full(count, directory.id_of_identity(publication.origin) - first_id, dtype=np.int64)
    return Publications(
        publication.time + number * publication.interval,
        np.full(count, section.topic_numbers.index(publication.topic), dtype=np.int64),
        first_id + identity,
        draw_values(publication.size.table(), draw_u64_array(seed, index, int(ColdPurpose.MESSAGE_SIZE), number)),
    )
