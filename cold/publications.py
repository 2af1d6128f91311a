"""What cold identities publish, and when: as columns that are made as time goes, never a Python object per message.

Everything here is a function of configuration and seed, so that every shard computes the same.
"""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.rng import draw_u64_array
from bridge.simtime import NEVER
from cold.purposes import ColdPurpose
from cold.section import ColdSection, Publication


class Publications(NamedTuple):
    """Publications in columns. Sources give them in any order; a plan, by time."""

    time: npt.NDArray[np.int64]
    """int64[n], ns."""
    topic: npt.NDArray[np.int64]
    """int64[n]: index of the topic."""
    origin: npt.NDArray[np.int64]
    """int64[n]: HostId."""
    size: npt.NDArray[np.int64]
    """int64[n]: bytes."""

    @classmethod
    def none(cls) -> Self:
        """Return no publications."""
        return cls(*(np.empty(0, dtype=np.int64) for _ in cls._fields))

    def taken(self, which: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> Self:
        """Return the rows that numpy takes by `which`."""
        return type(self)(*(column[which] for column in self))

    def then(self, more: Self) -> Self:
        """Return these rows and the others behind them."""
        return type(self)(*(np.concatenate((left, right)) for left, right in zip(self, more, strict=True)))


class PlannedMessages(NamedTuple):
    """Messages with their ids, by time."""

    message_id: npt.NDArray[np.uint64]
    """uint64[n]: the publisher's address << 32 | the number of its message, from 1 on."""
    published: Publications
    """Of n rows."""


class PublicationPlan:
    """All messages of a run, taken piece by piece. Messages of one time keep the order of the configuration.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    directory
        Every host of the experiment.
    seed
        Seed of the run.
    stop_time_ns
        Nothing is published at this time or later.
    """

    def __init__(self, section: ColdSection, directory: HostDirectory, seed: int, stop_time_ns: int) -> None:
        self._first_id = directory.hot_count
        self._address = directory.address[self._first_id :]
        self._published = np.zeros(len(self._address), dtype=np.uint32)
        self._ahead = _by_time(listed_publications(section, directory, seed, stop_time_ns))

    def next_time(self) -> int:
        """Time of the next message that was not taken yet [ns]; NEVER if there is none."""
        return int(self._ahead.time[0]) if len(self._ahead.time) else NEVER

    def take(self, end: int) -> PlannedMessages:
        """Return the messages before `end` that were not taken yet."""
        count = int(np.searchsorted(self._ahead.time, end))
        due, self._ahead = self._ahead.taken(slice(count)), self._ahead.taken(slice(count, None))
        identity = due.origin - self._first_id
        ids = self._address[identity].astype(np.uint64) << np.uint64(32) | self._number(identity)
        return PlannedMessages(ids, due)

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


def listed_publications(section: ColdSection, directory: HostDirectory, seed: int, stop_time_ns: int) -> Publications:
    """The messages of `cold.publications` that are published before the end, in the order of the configuration."""
    listed = Publications.none()
    for index, publication in enumerate(section.publications):
        listed = listed.then(_listed(section, directory, seed, stop_time_ns, index, publication))
    return listed


def _listed(
    section: ColdSection, directory: HostDirectory, seed: int, stop_time_ns: int, index: int, publication: Publication
) -> Publications:
    count = publication.count
    if publication.interval > 0:
        count = min(count, max(-((publication.time - stop_time_ns) // publication.interval), 0))
    elif publication.time >= stop_time_ns:
        count = 0
    number = np.arange(count, dtype=np.int64)
    first_id, identities = directory.hot_count, directory.total_count - directory.hot_count
    if publication.origin == "random":
        words = draw_u64_array(seed, index, int(ColdPurpose.ORIGIN), number)
        # The high half is enough: there are fewer than 2**32 identities.
        identity = ((words >> np.uint64(32)) * np.uint64(identities) >> np.uint64(32)).astype(np.int64)
    else:
        identity = np.full(count, publication.origin, dtype=np.int64)
    return Publications(
        publication.time + number * publication.interval,
        np.full(count, section.topic_numbers.index(publication.topic), dtype=np.int64),
        first_id + identity,
        np.full(count, publication.size, dtype=np.int64),
    )


def _by_time(publications: Publications) -> Publications:
    return publications.taken(np.argsort(publications.time, kind="stable"))
