"""A small network like a large one, without messages: what meshes are like, and who is up, as a network changes.

The equations of the mean field need to know how many peers push to an identity, and from where. Where identities come
and go, fail, or are of several kinds, that follows from grafting, pruning, backoffs, notices and detections: the exact
engine executes them among as many identities as make a good sample.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cold.disturbance_kernels import BEGIN, END, EXTRA_LATENCY
from cold.disturbances import disturbances_of
from cold.engine import ColdEngine
from cold.failure_section import DegradationFailure, WithholdingFailure
from cold.misbehaviour import silences_of
from cold.population import client_kinds, heartbeat_phases
from cold.representatives import NoMessages, Represented
from cold.scenario import Scenario
from cold.sessions import Lives, comes_and_goes, habits_of
from cold.small_networks import small_network
from cold.subscriptions import subscriptions

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Subscribers of the topic that are wanted in the small network, and the most identities that it has for that.
_MEMBERS: Final = 4096
_MOST_IDENTITIES: Final = 65536


class Ways(NamedTuple):
    """What messages meet in the small network at one time. n subscribers, L nodes in use."""

    is_silent: BoolArray
    """bool[n]: tells nobody of others' messages."""
    latency_ns: Int64Array
    """int64[L, L]: of paths, as they are then."""
    loss: Float64Array
    """float64[L, L]: 1 between nodes that are cut off from each other."""


class Snapshot(NamedTuple):
    """The small network at one time. n subscribers."""

    time: int
    is_up: BoolArray
    """bool[n]."""
    ways: Ways
    members: Int64Array
    """int64[n]: of its own mesh, whether they are up or not."""
    living: Int64Array
    """int64[n]: of its own mesh, that are up and not cut off."""
    pushers: Int64Array
    """int64[n]: whose mesh it is in, that are up, silent or cut off or not."""
    is_meshed: BoolArray
    """bool[n]: up, and in a mesh or with one of its own; others have come since their last heartbeat."""
    mixing: Float64Array
    """float64[C, C]: by class, how many of the pushers of a member of one are of the other; sums over each row."""
    away: float
    """Share of the members of meshes that are away."""
    cut: float
    """Share of the members of meshes that are cut off."""
    lost: float
    """Share of the packets to the others that are lost on their way."""


class Miniature:
    """The subscribers of a topic in a network of a bounded number of identities, all of them if they are few.

    Parameters
    ----------
    represented
        The topic, and the network.

    Attributes
    ----------
    identities
        Of the small network.
    scale
        Subscribers of the topic for each of the small network's.
    group, kind, klass : int64[n]
        Of each subscriber: its group; its kind of client; and its class: kinds, and groups of nodes that no failure
        tells apart.
    node : int64[n]
        Index into the nodes in use.
    """

    def __init__(self, represented: Represented) -> None:
        (section, directory, seed, stop_time_ns), paths, topic, group, members = represented
        everybody = directory.total_count - directory.hot_count
        subscribers = members(topic)
        share = min(max(_MEMBERS / max(len(subscribers), 1), _MEMBERS / everybody), _MOST_IDENTITIES / everybody, 1.0)
        small, self._directory, host = small_network(section, directory, share)
        self._section, self._paths, self._topic, self._seed = small, paths, topic, seed
        scenario = Scenario(small, self._directory, seed, stop_time_ns)
        self._engine = ColdEngine(scenario, paths, topics=[topic], plan=NoMessages())
        self.identities = len(host)
        self._lives: Lives | None = None
        if comes_and_goes(small):
            self._lives = Lives(habits_of(small, self._directory, paths.node_ids), seed, 0)
        drawn = subscriptions(small, seed, self._directory)
        self._member = drawn.member[drawn.start[topic] : drawn.start[topic + 1]].astype(np.int64)
        self._place = np.full(len(host), -1, dtype=np.int64)
        self._place[self._member] = np.arange(len(self._member))
        self.scale = len(subscribers) / max(len(self._member), 1)
        self.group = group[host - directory.hot_count].astype(np.int64)[self._member]
        kinds = client_kinds(small, seed, 0, len(host)).astype(np.int64)
        self.kind = kinds[self._member]
        beat = np.array([client.heartbeat for client in small.client_gossip], dtype=np.int64)[kinds]
        self._phase = heartbeat_phases(seed, 0, len(host), beat)[self._member]
        self._beat = beat[self._member]
        self.node = directory.node[host].astype(np.int64)[self._member]
        region = np.zeros(len(paths.node_ids), dtype=np.int64)
        for failure in small.failures:
            if not isinstance(failure, WithholdingFailure | DegradationFailure) and failure.regions is not None:
                inside = np.array([node in failure.regions for node in paths.node_ids])
                region = np.unique(region * 2 + inside, return_inverse=True)[1].ravel()
        self.klass = np.unique(region[self.node] << 8 | self.kind, return_inverse=True)[1].ravel().astype(np.int64)
        self._silences = silences_of(small, self._directory, paths.node_ids, seed)
        self._disturbances = disturbances_of(small, paths.node_ids)

    def ways_at(self, time: int) -> Ways:
        """What messages meet at any time [ns]."""
        silences = self._silences
        now = (silences.span[:, 0] <= time) & (time < silences.span[:, 1])
        bits = np.bitwise_or.reduce(np.where(now, np.uint64(1) << np.arange(len(now), dtype=np.uint64), np.uint64(0)))
        latency, loss = self._paths.latency_ns.astype(np.int64), self._paths.loss.astype(np.float64)
        disturbances = self._disturbances
        for row, extra, concerned in zip(
            disturbances.row, disturbances.loss.tolist(), disturbances.concerned, strict=True
        ):
            if row[BEGIN] <= time < row[END]:
                latency = latency + row[EXTRA_LATENCY] * concerned
                loss = loss + (1 - loss) * extra * concerned
        return Ways(((silences.concerned & bits) != 0)[self._member], latency, loss)

    def ways_after(self, time: int, end: int) -> list[tuple[int, Ways]]:
        """When what messages meet changes after a time and before another [ns], and what it is from then on."""
        changes = np.unique(
            np.concatenate([self._silences.span.ravel(), self._disturbances.row[:, [BEGIN, END]].ravel()])
        )
        return [(change, self.ways_at(change)) for change in changes[(changes > time) & (changes < end)].tolist()]

    def at(self, time: int) -> Snapshot:
        """The network at a time, which is not before that of the last call [ns]."""
        self._engine.run_until(time)
        is_up, ways = self._engine.is_up(time), self.ways_at(time)
        is_silent = np.zeros(self.identities, dtype=np.bool_)
        is_silent[self._member] = ways.is_silent
        whose, peer = self._engine.mesh_members(self._topic)
        node = self._directory.node
        members = np.bincount(whose, minlength=self.identities)
        on_the_way = ways.loss[node[whose], node[peer]]
        lives = is_up[peer] & (on_the_way < 1)
        living = np.bincount(whose[lives], minlength=self.identities)
        talks = is_up[whose] & ~is_silent[whose]
        pushes = is_up[whose] & is_up[peer]
        pushers = np.bincount(peer[pushes], minlength=self.identities)[self._member]
        classes = int(self.klass.max(initial=0)) + 1
        mixing = np.zeros((classes, classes))
        receiver, sender = self.klass[self._place[peer[pushes]]], self.klass[self._place[whose[pushes]]]
        np.add.at(mixing, (receiver, sender), 1.0)
        return Snapshot(
            time,
            is_up[self._member],
            ways,
            members[self._member],
            living[self._member],
            pushers,
            is_up[self._member] & ((members[self._member] > 0) | (pushers > 0)),
            mixing,
            float((~is_up[peer] & (on_the_way < 1))[talks].mean()) if talks.any() else 0.0,
            float((on_the_way >= 1)[talks].mean()) if talks.any() else 0.0,
            float(on_the_way[talks & lives].mean()) if (talks & lives).any() else 0.0,
        )

    def changes_after(self, time: int, end: int) -> tuple[Int64Array, Int64Array, BoolArray]:
        """Who comes and goes from a time on [ns]: times, subscribers and whether they come; by time."""
        if self._lives is None:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
        self._lives.take(time + 1)
        self._lives.advance(time)
        changes = self._lives.copied().take(end)
        ours = self._place[changes.identity] >= 0
        return changes.time[ours], self._place[changes.identity[ours]], changes.is_up[ours]

    def heartbeats_after(self, member: Int64Array, time: Int64Array | int) -> Int64Array:
        """The first heartbeats of subscribers at some time or later [ns]: int64[m]."""
        behind: Int64Array = (self._phase[member] - time) % self._beat[member]
        return time + behind

    def counters(self, end: int) -> dict[str, int]:
        """What the small network has counted up to a time [ns]."""
        self._engine.run_until(end)
        return self._engine.counters()
