"""When messages of coarse topics come to the identities that hot hosts talk to, in a network that changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bridge.paths import PathTable
from bridge.rng import draw_uniform
from bridge.simtime import NEVER
from cold.arrival_curves import Curves, draw_arrival, share_lacking
from cold.coarse_fields import CoarseFields
from cold.coarse_packets import CoarseMessage
from cold.contacts import Way
from cold.jit import uint64
from cold.population import link_rates
from cold.publication_columns import Publications
from cold.publications import PlannedMessages
from cold.purposes import ColdPurpose
from cold.representatives import Outcome, Part, Representation, put_off_outcome
from cold.scenario import Scenario
from cold.state_kernels import COUNTER_NAMES, MESSAGE_BYTES, MOST_HOPS, RATE_SHIFT
from cold.surroundings import Surroundings, quickest_ways
from cold.topic_fields import typical_size
from cold.ways_in import exposure

Int64Array = npt.NDArray[np.int64]
_EVERYBODY_ELSE: Final = -1
#: Where several ways in add up, times are multiples of 2 ** this [ns].
_GRID_SHIFT: Final = 10
#: Of which so many are tried at once.
_TRIED: Final = 32
_LEAST: Final = 2.0**-40
_WayIn: TypeAlias = tuple[int, int, int, Curves]
"""When [ns] and where a message is published or enters, its hops until then, and its representative's curves."""


class ChangingArrivals:
    """Draws arrivals from what became of representatives.

    Parameters
    ----------
    scenario
        What the tail is.
    paths
        Latency and loss from the places of identities.
    rehearsals
        What executes the representatives of each coarse topic, by its index.
    surroundings
        Of the identities.
    fields
        Of the coarse topics.
    """

    def __init__(
        self,
        scenario: Scenario,
        paths: PathTable,
        rehearsals: Mapping[int, Representation],
        surroundings: Surroundings,
        fields: CoarseFields,
    ) -> None:
        section, self._directory, self._seed, _ = scenario
        self._rehearsals = rehearsals
        self._fields, self._surroundings, self._seen_ttl = fields, surroundings, section.gossip.seen_ttl
        self._beat = round(float(np.mean([client.heartbeat for client in section.client_gossip])))
        self._quickest = quickest_ways(paths)
        self._part: dict[tuple[int, int], Part] = {}

    def published(self, message: CoarseMessage) -> Outcome:
        """What became of the representative that a message of the tail follows."""
        rehearsal = self._rehearsals[message.topic]
        key = (message.message_id, _EVERYBODY_ELSE)
        if key not in self._part:
            columns = (message.publish_time, message.topic, message.origin, message.size)
            planned = PlannedMessages(
                np.array([message.message_id], dtype=np.uint64),
                Publications(*(np.array([value], dtype=np.int64) for value in columns)),
            )
            (self._part[key],) = rehearsal.schedule.parts_of(planned)
        later = self._fields.later_from(message.publish_time, message.message_id)
        return put_off_outcome(self._played(rehearsal, self._part[key]), later)

    def entered(self, message: CoarseMessage, time: int, host: int) -> Outcome:
        """What became of the representative that a message follows where a hot host brings it in, at a time [ns]."""
        rehearsal = self._rehearsals[message.topic]
        key = (message.message_id, host)
        if key not in self._part:
            self._part[key] = rehearsal.schedule.entry_of(time, host, message.message_id, message.size)
        return put_off_outcome(self._played(rehearsal, self._part[key]), self._fields.later_from(time, None))

    @staticmethod
    def _played(rehearsal: Representation, part: Part) -> Outcome:
        rehearsal.play([part])
        return rehearsal.outcome(part)

    def passes_on(self, time: int, host: int) -> bool:
        """Whether an identity tells others of a message that comes to it at a time [ns]."""
        return not self._surroundings.is_silent(host, time)

    def spared(self, message: CoarseMessage, way: Way) -> float:
        """Return the share of its pushes that identities leave out, as IDONTWANT has told them to."""
        outcome = self.published(message) if message.is_planned else self.entered(message, *way)
        spared, sent = (int(outcome.counters[COUNTER_NAMES.index(name)]) for name in ("copies_spared", "messages_sent"))
        return spared / max(spared + sent, 1)

    def arrivals(self, message: CoarseMessage, hosts: npt.NDArray[np.uint32]) -> tuple[Int64Array, Int64Array]:
        """When identities get a message from inside the tail, whole, and over how many hops.

        Returns
        -------
        int64[n], int64[n]
            The earliest times over all ways [ns], NEVER where it does not come; and hops.
        """
        times = np.full(len(hosts), NEVER, dtype=np.int64)
        hops = np.zeros(len(hosts), dtype=np.int64)
        if not len(hosts):
            return times, hops
        ways: list[_WayIn] = []
        if message.is_planned:
            ways.append((message.publish_time, message.origin, 0, curves_of(self.published(message))))
        for time, host, over in message.entries:
            if self.passes_on(time, host):
                ways.append((time, host, over, curves_of(self.entered(message, time, host))))
        shapes = self._fields.of(message.topic).shapes(message.size)[self._fields.group_of(hosts)]
        for place, (host, shape) in enumerate(zip(hosts.tolist(), shapes.tolist(), strict=True)):
            if all(host != source for _, source, _, _ in ways):
                times[place], hops[place] = self._draw(message, ways, host, shape)
        return times, hops

    def _draw(self, message: CoarseMessage, ways: Sequence[_WayIn], host: int, shape: float) -> tuple[int, int]:
        """When an identity gets a message, and over how many hops: what the ways in expose it to adds up."""
        draw = draw_uniform(uint64(self._seed), host, int(ColdPurpose.SAMPLED_ARRIVAL), uint64(message.message_id))
        which = self._rehearsals[message.topic].type_of(host)
        directory = self._directory
        rate = int(link_rates(directory.downlink_bps[host : host + 1])[0])
        transfer = (MESSAGE_BYTES + typical_size(message.size)) * rate >> RATE_SHIFT
        time, hops = NEVER, 0
        lives = []
        for start, source, over, curves in ways:
            until = min(start + curves.end + self._beat, message.publish_time + self._seen_ttl)
            sessions = [(begin - start, end - start) for begin, end in self._surroundings.sessions(host, start, until)]
            # A publisher of the representative may have been nearer.
            earliest = start + int(self._quickest[directory.node[source], directory.node[host]]) + transfer + 1
            lives.append((earliest, start, curves, sessions))
            delay, further = draw_arrival(curves, which, sessions, draw, self._beat)
            alone = NEVER if delay == NEVER else max(start + delay, earliest)
            if alone < time:
                time, hops = alone, min(over + further, MOST_HOPS)
        # Ways add up once the second of them can have brought it, and until the quickest alone has: on a grid.
        begun = [earliest for earliest, _, _, _ in lives if earliest < time]
        if len(begun) < 2 or time == NEVER:
            return time, hops
        low, high = sorted(begun)[1] >> _GRID_SHIFT, time >> _GRID_SHIFT
        needed = max(float(exposure(1.0 - draw, shape)), _LEAST)
        while high - low > 1:
            places = np.unique(np.linspace(low, high, _TRIED + 2).astype(np.int64))
            times = places[1:-1] << _GRID_SHIFT
            lacking = [
                np.where(times < earliest, 1.0, share_lacking(curves, which, sessions, times - start, self._beat))
                for earliest, start, curves, sessions in lives
            ]
            enough = np.flatnonzero(exposure(np.array(lacking), shape).sum(axis=0) >= needed)
            first = int(enough[0]) if len(enough) else len(times)
            if len(enough):
                time = int(times[first])
            low, high = int(places[first]), int(places[first + 1])
        return time, hops


def curves_of(outcome: Outcome) -> Curves:
    """When identities of each type got a representative."""
    assert outcome.curves is not None, "they are kept where hot hosts are"
    return outcome.curves
