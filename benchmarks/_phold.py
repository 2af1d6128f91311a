"""PHOLD, the classic load of parallel discrete-event simulators, as a participant that is as fast as an engine.

Every event that a host executes does some work and causes one other event, for a host of its own group or of another
one, after a delay of at least the latency. Groups are the same however many shards there are, so every number of
shards executes the same events: `Phold.checksum` says so.
"""

from __future__ import annotations

from typing import Final

import numba as nb
import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch
from bridge.simtime import NEVER

GROUPS: Final = 4
PAYLOAD_BYTES: Final = 100
"""Of every event that goes to another shard."""

# Fields of an event, in the order that events have.
_TIME, _SOURCE, _NUMBER, _DESTINATION, _FIELDS = range(5)


@nb.njit(cache=True, inline="always")
def _mixed(state: np.uint64, word: np.uint64) -> np.uint64:
    state = (state ^ word) * np.uint64(0x9E3779B97F4A7C15)
    return state ^ (state >> np.uint64(32))


@nb.njit(cache=True, inline="always")
def _before(events: npt.NDArray[np.int64], one: int, other: int) -> bool:
    for field in range(_NUMBER + 1):
        if events[one, field] != events[other, field]:
            return bool(events[one, field] < events[other, field])
    return False


@nb.njit(cache=True)
def _push(heap: npt.NDArray[np.int64], count: int, event: npt.NDArray[np.int64]) -> int:
    heap[count] = event
    place = count
    while place > 0 and _before(heap, place, (place - 1) // 2):
        above = (place - 1) // 2
        for field in range(_FIELDS):
            heap[place, field], heap[above, field] = heap[above, field], heap[place, field]
        place = above
    return count + 1


@nb.njit(cache=True)
def _pop(heap: npt.NDArray[np.int64], count: int, event: npt.NDArray[np.int64]) -> int:
    event[:] = heap[0]
    count -= 1
    heap[0] = heap[count]
    place = 0
    while True:
        least = place
        for below in (2 * place + 1, 2 * place + 2):
            if below < count and _before(heap, below, least):
                least = below
        if least == place:
            return count
        for field in range(_FIELDS):
            heap[place, field], heap[least, field] = heap[least, field], heap[place, field]
        place = least


@nb.njit(cache=True)
def _execute(
    heap: npt.NDArray[np.int64],
    count: int,
    end: int,
    first: int,
    last: int,
    group_size: int,
    remote_share: float,
    latency: int,
    spread: int,
    work: int,
    sent: npt.NDArray[np.int64],
    outbound: npt.NDArray[np.int64],
    totals: npt.NDArray[np.uint64],
) -> tuple[int, int]:
    """Execute the events before `end`. Returns the numbers of events that wait, and of those for other shards."""
    event = np.empty(_FIELDS, np.int64)
    caused = np.empty(_FIELDS, np.int64)
    leaving = 0
    groups = sent.shape[0] // group_size
    while count and heap[0, _TIME] < end:
        count = _pop(heap, count, event)
        host = event[_DESTINATION]
        sent[host] += 1
        state = _mixed(np.uint64(host), np.uint64(sent[host]))
        for _ in range(work):
            state = _mixed(state, np.uint64(event[_TIME]))
        totals[0] += np.uint64(1)
        totals[1] += state
        choice = _mixed(state, np.uint64(1))
        place = np.int64(choice % np.uint64(group_size))
        group = host // group_size
        if groups > 1 and np.float64(_mixed(choice, np.uint64(2)) >> np.uint64(11)) * 2.0**-53 < remote_share:
            group = (group + 1 + np.int64(_mixed(choice, np.uint64(3)) % np.uint64(groups - 1))) % groups
        caused[_TIME] = event[_TIME] + latency + np.int64(_mixed(choice, np.uint64(4)) % np.uint64(spread))
        caused[_SOURCE] = host
        caused[_NUMBER] = sent[host]
        caused[_DESTINATION] = group * group_size + place
        if first <= caused[_DESTINATION] < last:
            count = _push(heap, count, caused)
        else:
            outbound[leaving] = caused
            leaving += 1
    return count, leaving


@nb.njit(cache=True)
def _push_all(heap: npt.NDArray[np.int64], count: int, events: npt.NDArray[np.int64]) -> int:
    for i in range(events.shape[0]):
        count = _push(heap, count, events[i])
    return count


class Phold:
    """The hosts of a shard.

    Parameters
    ----------
    shard, shards
        Which of how many equal ranges of hosts it has.
    hosts
        Number of hosts on all shards, a multiple of `groups` times `shards`.
    population
        Number of events that are under way at any time, for each host.
    remote_share
        Probability that an event is for another group.
    latency_ns, spread_ns
        An event is for so much later at least, and up to so much more.
    work
        Rounds of hashing that an event costs, about a nanosecond each.
    groups
        Number of groups of hosts.
    """

    def __init__(
        self,
        shard: int,
        shards: int,
        hosts: int,
        *,
        population: int,
        remote_share: float,
        latency_ns: int,
        spread_ns: int,
        work: int,
        groups: int = GROUPS,
    ) -> None:
        size = hosts // shards
        self._first, self._last = shard * size, (shard + 1) * size
        self._group_size = hosts // groups
        self._remote_share, self._latency, self._spread, self._work = remote_share, latency_ns, spread_ns, work
        self._sent = np.zeros(hosts, dtype=np.int64)
        # Whatever happens, no more events are under way than on all hosts together.
        self._heap = np.zeros((hosts * population + 1, _FIELDS), dtype=np.int64)
        self._outbound = np.zeros((hosts * population + 1, _FIELDS), dtype=np.int64)
        self._totals = np.zeros(2, dtype=np.uint64)
        own = np.repeat(np.arange(self._first, self._last, dtype=np.int64), population)
        number = np.tile(np.arange(population, dtype=np.int64), size)
        events = np.zeros((len(own), _FIELDS), dtype=np.int64)
        events[:, _TIME] = (own * 7919 + number * 104729) * 997 % spread_ns
        events[:, _SOURCE] = events[:, _DESTINATION] = own
        events[:, _NUMBER] = -number
        self._count = _push_all(self._heap, 0, events)

    @property
    def checksum(self) -> int:
        """Return a sum over all events executed; that of all shards is the same for any number of them."""
        return int(self._totals[1])

    def next_event_time(self) -> int:
        """Return the time of the next event [ns]."""
        return int(self._heap[0, _TIME]) if self._count else NEVER

    def run_until(self, window_end: int) -> EventBatch:
        """Execute the events before `window_end`."""
        self._count, leaving = _execute(
            self._heap,
            self._count,
            window_end,
            self._first,
            self._last,
            self._group_size,
            self._remote_share,
            self._latency,
            self._spread,
            self._work,
            self._sent,
            self._outbound,
            self._totals,
        )
        events = self._outbound[:leaving]
        return EventBatch.build(
            events[:, _TIME],
            events[:, _SOURCE],
            events[:, _NUMBER],
            events[:, _DESTINATION],
            payload_offset=np.arange(leaving + 1, dtype=np.int64) * PAYLOAD_BYTES,
            payload=np.zeros(leaving * PAYLOAD_BYTES, dtype=np.uint8),
        )

    def deliver(self, batch: EventBatch) -> None:
        """Take events of other shards."""
        columns = (batch.deliver_time, batch.source, batch.source_event, batch.destination)
        events = np.stack([column.astype(np.int64) for column in columns], axis=1)
        self._count = _push_all(self._heap, self._count, events)

    def close(self) -> None:
        """Do nothing: there is only memory."""

    def statistics(self) -> dict[str, object]:
        """Return the number of events executed."""
        return {"events": self.events_executed()}

    def events_executed(self) -> int:
        """Return the number of events executed."""
        return int(self._totals[0])
