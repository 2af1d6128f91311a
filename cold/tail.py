"""The cold participant of a shard: exact topics and others, as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch
from bridge.directory import HostDirectory
from bridge.paths import PathTable
from bridge.simtime import NEVER
from cold.coarse import CoarseEngine
from cold.division import Division
from cold.engine import ColdEngine
from cold.memberships import Connections, connections_of
from cold.publications import PlanOfSomeTopics
from cold.representatives import is_unsteady
from cold.resolution_section import Resolution
from cold.results import TailResults, merge, message_table
from cold.scenario import Scenario
from cold.section import ColdSection


class MixedTail:
    """Identities whose topics are not all exact.

    Parameters
    ----------
    exact
        Of the exact topics, of requests and of transactions, if there are any.
    coarse
        Of the others.
    identities
        How many this shard has.
    """

    def __init__(self, exact: ColdEngine | None, coarse: CoarseEngine, identities: int) -> None:
        self._exact, self._coarse = exact, coarse
        self._identities = identities
        self._results: TailResults | None = None
        self._parts: tuple[ColdEngine | CoarseEngine, ...] = (coarse,) if exact is None else (exact, coarse)

    def next_event_time(self) -> int:
        """Time of the earliest event [ns]; NEVER if none."""
        return min((part.next_event_time() for part in self._parts), default=NEVER)

    def run_until(self, window_end: int) -> EventBatch:
        """Execute the events before `window_end`; return packets for hot hosts, and what other shards must know."""
        self._results = None
        # The coarse topics let the exact ones' time pass, where their identities' links are there.
        batches = [part.run_until(window_end) for part in reversed(self._parts)]
        return EventBatch.concatenate(batches)

    def deliver(self, batch: EventBatch) -> None:
        """Take packets of hot hosts and events of other shards, each for the topics that it is about."""
        if not len(batch):
            return
        self._results = None
        if self._exact is None:
            self._coarse.deliver(batch)
            return
        coarse = self._coarse.claims(batch)
        others = batch
        if coarse.any():
            self._coarse.deliver(batch.select(coarse))
            others = batch.select(~coarse)
        if len(others):
            self._exact.deliver(others)
            self._coarse.overhear(others)

    def close(self) -> None:
        """Nothing to release but memory."""

    def events_executed(self) -> int:
        """Events that identities executed; a message of a coarse topic is none where no hot host listens."""
        return sum(part.events_executed() for part in self._parts)

    def event_fingerprint(self) -> int:
        """Sum of the fingerprints of all packets for hot hosts, modulo 2**64."""
        return sum(part.event_fingerprint() for part in self._parts) % 2**64

    def rehearse_part(self, number: int, shards: int) -> bytes:
        """Execute a part of what messages of coarse topics follow. Parameters as for `cold.coarse.CoarseEngine`."""
        return self._coarse.rehearse_part(number, shards)

    def learn(self, told: Sequence[bytes]) -> None:
        """Take what shards have told each other of these parts."""
        self._results = None
        self._coarse.learn(told)

    def partial_results(self) -> TailResults:
        """What this shard has to tell of messages."""
        if self._results is None:
            self._results = merge([part.partial_results() for part in self._parts])
        return self._results

    def message_table(self) -> npt.NDArray[np.void]:
        """How far each message has spread: one row per message, `cold.results.TABLE_TYPE`, of this shard's part."""
        return message_table(self.partial_results())

    def counters(self) -> dict[str, int]:
        """Totals since the start, by the names in `cold.state_kernels.COUNTER_NAMES`."""
        return self._with_exact_counters(self._coarse.counters())

    def _with_exact_counters(self, coarse: dict[str, int]) -> dict[str, int]:
        total = Counter(coarse)
        if self._exact is not None:
            total.update(self._exact.counters())
        return {name: total[name] for name in coarse}

    def statistics(self) -> dict[str, object]:
        """Counters, sizes and memory, as the exact engine has them; `coarse_counters` is the other topics' share."""
        coarse = self._coarse.counters()
        if self._exact is None:
            return {
                "identities": self._identities,
                "counters": coarse,
                "coarse_counters": coarse,
                "boundary": self._coarse.boundary_statistics(),
                "messages": len(self.partial_results().spread),
                "bytes_per_identity": 0.0,
                "event_bytes": 0,
            }
        whole: dict[str, Any] = self._exact.statistics()
        boundary, other = whole["boundary"], self._coarse.boundary_statistics()
        return whole | {
            "counters": self._with_exact_counters(coarse),
            "coarse_counters": coarse,
            "boundary": {
                "packets_from_hot": boundary["packets_from_hot"] + other["packets_from_hot"],
                "packets_to_hot": boundary["packets_to_hot"] + other["packets_to_hot"],
                "dropped": dict(sorted((Counter(boundary["dropped"]) + Counter(other["dropped"])).items())),
            },
            "messages": len(self.partial_results().spread),
        }


def rehearse_together(tail: object, section: ColdSection, resolution: Sequence[Resolution], division: Division) -> None:
    """Have shards execute what messages of coarse topics follow in a network that changes, each a part.

    All shards have to call it, at the end of a run, also one without identities. Where it is not called, each shard
    executes everything when it is asked for results, which are the same.

    Parameters
    ----------
    tail
        What `build_tail` has made of this shard's identities, if it has any.
    section, resolution
        As `build_tail` takes them.
    division
        Which identities each shard has.
    """
    bus = division.bus
    is_coarse = any(level is not Resolution.EXACT for level in resolution)
    if bus.shard_count == 1 or not is_coarse or not is_unsteady(section):
        return
    workers = np.flatnonzero(np.diff(division.cuts)).tolist()
    part = b""
    if isinstance(tail, MixedTail):
        part = tail.rehearse_part(workers.index(bus.shard), len(workers))
    told = bus.share(part)
    if isinstance(tail, MixedTail):
        tail.learn([told[shard] for shard in workers])


def _has_exact_engine(section: ColdSection, directory: HostDirectory, resolution: Sequence[Resolution]) -> bool:
    return (
        not resolution
        or Resolution.EXACT in resolution
        or bool(section.requests)
        or section.transactions is not None
        or _links_are_exact(section, directory)
    )


def _links_are_exact(section: ColdSection, directory: HostDirectory) -> bool:
    """Whether connections and meshes of coarse topics are executed, as hot hosts see them, without their messages."""
    return directory.hot_count > 0 and is_unsteady(section)


def _linked_topics(section: ColdSection, directory: HostDirectory, resolution: Sequence[Resolution]) -> list[int]:
    """Indices of the topics whose connections and meshes the exact engine executes."""
    everything = _links_are_exact(section, directory)
    return [index for index, level in enumerate(resolution) if everything or level is Resolution.EXACT]


def connections_of_shard(
    scenario: Scenario, resolution: Sequence[Resolution], division: Division
) -> Connections | None:
    """What an exact engine on a shard needs of the overlay; None where there is none.

    It is half of the work of building a tail, and shards do it together: all have to call it.
    """
    section, directory, seed, _ = scenario
    if not _has_exact_engine(section, directory, resolution):
        return None
    return connections_of(section, directory, seed, _linked_topics(section, directory, resolution), division)


def build_tail(
    scenario: Scenario,
    paths: PathTable,
    resolution: list[Resolution],
    *,
    owned: range,
    cuts: npt.NDArray[np.int64],
    shard: int,
    connections: Connections | None = None,
) -> ColdEngine | MixedTail:
    """Make what stands for the identities of a shard.

    Parameters
    ----------
    scenario, paths, owned, cuts, shard
        As `cold.engine.ColdEngine` takes them.
    resolution
        Of every topic, by its index.
    connections
        What `connections_of_shard` has returned; by default this shard builds them by itself.
    """
    section, directory = scenario.section, scenario.directory
    coarse = {index: level for index, level in enumerate(resolution) if level is not Resolution.EXACT}
    exact = None
    if _has_exact_engine(section, directory, resolution):
        kept = [index for index, level in enumerate(resolution) if level is Resolution.EXACT]
        exact = ColdEngine(
            scenario,
            paths,
            owned=owned,
            cuts=cuts,
            shard=shard,
            topics=_linked_topics(section, directory, resolution),
            plan=PlanOfSomeTopics(scenario, kept),
            connections=connections,
        )
        if not coarse:
            return exact
    del connections
    engine = CoarseEngine(
        scenario,
        paths,
        coarse,
        owned=owned,
        cuts=cuts,
        shard=shard,
        exact=exact if _links_are_exact(section, directory) else None,
    )
    return MixedTail(exact, engine, len(owned))
