"""When messages of coarse topics come to the identities that hot hosts talk to, in a network that changes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.paths import PathTable
from bridge.rng import draw_uniform
from bridge.simtime import NEVER
from cold.arrival_curves import Curves, draw_arrival
from cold.coarse_packets import CoarseMessage
from cold.contacts import Way
from cold.jit import uint64
from cold.population import link_rates
from cold.propagation_kernels import entry_key
from cold.publication_columns import Publications
from cold.publications import PlannedMessages
from cold.purposes import ColdPurpose
from cold.representatives import Outcome, Part, Representation
from cold.section import ColdSection
from cold.state_kernels import COUNTER_NAMES, MESSAGE_BYTES, MOST_HOPS, RATE_SHIFT
from cold.surroundings import Surroundings, quickest_ways
from cold.topic_fields import typical_size

Int64Array = npt.NDArray[np.int64]
_EVERYBODY_ELSE: int = -1


class ChangingArrivals:
    """Draws arrivals from what became of representatives.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    directory, paths
        Of the experiment.
    seed
        Seed of the run.
    rehearsals
        What executes the representatives of each coarse topic, by its index.
    surroundings
        Of the identities.
    """

    def __init__(
        self,
        section: ColdSection,
        directory: HostDirectory,
        paths: PathTable,
        seed: int,
        rehearsals: Mapping[int, Representation],
        surroundings: Surroundings,
    ) -> None:
        self._directory, self._seed, self._rehearsals = directory, seed, rehearsals
        self._surroundings, self._seen_ttl = surroundings, section.gossip.seen_ttl
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
            (self._part[key],) = rehearsal.parts_of(planned)
        return self._played(rehearsal, self._part[key])

    def entered(self, message: CoarseMessage, time: int, host: int) -> Outcome:
        """What became of the representative that a message follows where a hot host brings it in, at a time [ns]."""
        rehearsal = self._rehearsals[message.topic]
        key = (message.message_id, host)
        if key not in self._part:
            self._part[key] = rehearsal.entry_of(time, host, message.message_id, message.size)
        return self._played(rehearsal, self._part[key])

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
        ways = []
        if message.is_planned:
            ways.append((message.publish_time, message.origin, 0, message.message_id, self.published(message)))
        for time, host, over in message.entries:
            if self.passes_on(time, host):
                key = int(entry_key(uint64(message.message_id), host))
                ways.append((time, host, over, key, self.entered(message, time, host)))
        for start, source, over, key, outcome in ways:
            assert outcome.curves is not None, "they are kept where hot hosts are"
            for place, host in enumerate(hosts.tolist()):
                if host == source:
                    continue
                time, further = self._draw(message, outcome.curves, start, source, host, key)
                if time < times[place]:
                    times[place], hops[place] = time, min(over + further, MOST_HOPS)
        return times, hops

    def _draw(
        self, message: CoarseMessage, curves: Curves, start: int, source: int, host: int, key: int
    ) -> tuple[int, int]:
        """When an identity gets a message, by one way."""
        until = min(start + curves.end + self._beat, message.publish_time + self._seen_ttl)
        spans = self._surroundings.sessions(host, start, until)
        sessions = [(begin - start, end - start) for begin, end in spans]
        draw = draw_uniform(uint64(self._seed), host, int(ColdPurpose.SAMPLED_ARRIVAL), uint64(key))
        which = self._rehearsals[message.topic].type_of(host)
        delay, hops = draw_arrival(curves, which, sessions, draw, self._beat)
        if delay == NEVER:
            return NEVER, 0
        directory = self._directory
        rate = int(link_rates(directory.downlink_bps[host : host + 1])[0])
        transfer = (MESSAGE_BYTES + typical_size(message.size)) * rate >> RATE_SHIFT
        # A publisher of the representative may have been nearer.
        earliest = int(self._quickest[directory.node[source], directory.node[host]]) + transfer + 1
        return start + max(delay, earliest), hops
