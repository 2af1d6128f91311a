"""Representatives of messages in a network that changes: when they are published, and which messages follow them.

How a representative is executed is not said here: by the exact engine (`cold.rehearsal`), or by equations
(`cold.changing_field`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bridge.paths import PathTable
from bridge.rng import draw_u64
from bridge.simtime import NEVER
from cold.arrival_curves import Curves
from cold.churn_section import DEFAULT_DETECTION
from cold.failure_section import CrashFailure, PartitionFailure, SilenceFailure, WithholdingFailure
from cold.jit import uint64
from cold.population import client_kinds, heartbeat_phases
from cold.propagation import put_off
from cold.propagation_kernels import LEVELS, choose_representatives, entry_key
from cold.publication_columns import Publications
from cold.publications import PlannedMessages
from cold.purposes import ColdPurpose
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.sessions import Histories, comes_and_goes, habits_of
from cold.state_kernels import COUNTER_NAMES
from cold.topic_fields import typical_size

Int64Array = npt.NDArray[np.int64]


class Represented(NamedTuple):
    """A topic that has representatives, in a network of A identities that changes."""

    scenario: Scenario
    """What the tail is."""
    paths: PathTable
    """Latency and loss from the places of identities."""
    topic: int
    """Its index."""
    group: npt.NDArray[np.int32]
    """int32[A]: of each identity."""
    members: Callable[[int], npt.NDArray[np.uint32]]
    """HostIds of the subscribers of a topic, by its index."""


class Part(NamedTuple):
    """One representative, in the order in which they are made."""

    time: int
    """When it is published [ns]."""
    number: int
    """Epoch times representatives, and which of these."""
    group: int
    standing: int
    """Of its publisher: 1 if that is up, and 2 more if it subscribes to the topic."""
    size: int
    missed: int = 0
    """Heartbeats that its publisher is away for from then on; as many as tell of a message if it is away for longer."""
    is_relayed: bool = False
    """Nobody of the tail publishes it: a copy from outside comes to a member of the group, which pushes it on."""


class Outcome(NamedTuple):
    """What became of a representative."""

    summary: Int64Array
    """int64[4]: median, 95th and 99th percentile and maximum of the delay [ns]; -1 where nobody got it."""
    overall: Int64Array
    """int64[LEVELS]: quantiles of the delay, at equal distances [ns]."""
    counters: Int64Array
    """int64[COUNTER_NAMES]: what it cost, but for its IHAVEs and the heartbeats that sent them."""
    delivered: int
    told: Int64Array
    """int64[kinds of clients]: IHAVE packets that tell of it, by who sends them."""
    tellers: Int64Array
    """int64[kinds of clients]: IHAVE packets in a heartbeat of all who are up at its publication."""
    heard: int
    """IHAVE packets that were received."""
    there: int
    """Subscribers that were up at its publication, but for who published it."""
    curves: Curves | None = None
    """When identities get it; None where no hot host asks."""

    @property
    def receivers(self) -> float:
        """Return how many get it in all for each of those that may who were there."""
        return self.delivered / max(min(self.there, self.delivered), 1)


def encode_outcome(outcome: Outcome) -> bytes:
    """What shards tell each other of a representative, docs/formats.md: not its curves, which hot hosts ask for."""
    columns = (outcome.summary, outcome.overall, outcome.counters, outcome.told, outcome.tellers)
    return np.concatenate([*columns, [outcome.delivered, outcome.heard, outcome.there]]).astype(">i8").tobytes()


def decode_outcomes(data: bytes, kinds: int) -> Iterator[Outcome]:
    """Return what `encode_outcome` has made of representatives, in their order, for so many kinds of clients."""
    lengths = [4, LEVELS, len(COUNTER_NAMES), kinds, kinds, 3]
    for row in np.frombuffer(data, dtype=">i8").astype(np.int64).reshape(-1, sum(lengths)):
        *columns, (delivered, heard, there) = np.split(row, np.cumsum(lengths)[:-1])
        summary, overall, counters, told, tellers = columns
        yield Outcome(summary, overall, counters, int(delivered), told, tellers, int(heard), int(there))


def started_outcome(outcome: Outcome, later: int) -> Outcome:
    """An outcome of equations that know the mean of all starts, of one that is so much later [ns].

    Nothing comes before the first does: that takes the shortest way.
    """
    curves = outcome.curves
    if curves is not None:
        present = tuple(each._replace(time=_started(each.time, each.share < 1.0, later)) for each in curves.present)
        coming = tuple(each._replace(time=_started(each.time, each.total[-1] > 0.0, later)) for each in curves.coming)
        curves = curves._replace(present=present, coming=coming, end=curves.end + max(later, 0))
    overall = np.maximum(outcome.overall + later, outcome.overall[0])
    summary = np.where(outcome.summary < 0, -1, np.maximum(outcome.summary + later, outcome.overall[0]))
    return outcome._replace(summary=summary, overall=overall, curves=curves)


def _started(time: Int64Array, has_begun: npt.NDArray[np.bool_], later: int) -> Int64Array:
    """Times of a curve that is so much later, but does not begin earlier."""
    first = int(time[max(int(np.argmax(has_begun)) - 1, 0)]) if has_begun.any() else int(time[-1])
    return np.asarray(np.maximum(time + later, np.minimum(time, first) if later < 0 else 0), dtype=np.int64)


def put_off_outcome(outcome: Outcome, later: Int64Array) -> Outcome:
    """What becomes of a message that follows a representative, and comes later for meeting others.

    Parameters
    ----------
    outcome
        Of the representative.
    later
        int64[`cold.propagation.SHARES`]: at the shares of those who get it of those that were there [ns].
    """
    if not later.any() or not outcome.delivered:
        return outcome
    overall = outcome.overall
    tables = [outcome.summary, overall]
    curves = outcome.curves
    if curves is not None:
        tables += [*(each.time for each in curves.present), *(each.time for each in curves.coming)]
    summary, levels, *times = (put_off(table, overall, later, outcome.receivers) for table in tables)
    if curves is not None:
        present, coming = times[: len(curves.present)], times[len(curves.present) :]
        curves = curves._replace(
            present=tuple(each._replace(time=time) for each, time in zip(curves.present, present, strict=True)),
            coming=tuple(each._replace(time=time) for each, time in zip(curves.coming, coming, strict=True)),
            end=curves.end + int(later.max()),
        )
    return outcome._replace(summary=summary, overall=levels, curves=curves)


def is_unsteady(section: ColdSection) -> bool:
    """Whether messages of one group, size and topic fare differently by their time or by kinds of identities.

    A quota of outbound members (`d_out`) changes the first meshes, heartbeat by heartbeat.
    """
    return (
        comes_and_goes(section)
        or section.gossip.d_out > 0
        or any(not isinstance(failure, WithholdingFailure) for failure in section.failures)
        or any(client.gossip.model_fields_set for client in section.clients.values())
    )


class Epochs(NamedTuple):
    """The times in which messages share representatives."""

    border: Int64Array
    """int64[n + 1]: when they begin, and the end of the last one [ns]."""
    is_passing: npt.NDArray[np.bool_]
    """bool[n]: in which the network is about to change, or has just changed."""

    def of(self, time: npt.NDArray[np.integer]) -> Int64Array:
        """Which epochs contain these times [ns]; the last one also what is later."""
        found = np.searchsorted(self.border, time, side="right") - 1
        return np.minimum(found, len(self.is_passing) - 1).astype(np.int64)


def epochs_of(section: ColdSection, stop_time_ns: int) -> Epochs:
    """When messages share representatives.

    An epoch ends where a failure begins, is noticed or ends, and after `cold.resolution.epoch` at the latest. What
    caches tell of when a crash, a partition or a silence begins or ends comes to others than what was published before,
    and the more so the later it was published: so that time is an epoch of its own. For as long after the change meshes
    are mended, heartbeat by heartbeat.
    """
    changes, noticed, others = set(), set(), {stop_time_ns}
    silences = [population.churn.detection for population in section.populations.values() if population.churn]
    for failure in section.failures:
        lasts = {failure.time, stop_time_ns if failure.until is None else failure.until}
        if isinstance(failure, CrashFailure | PartitionFailure | SilenceFailure):
            changes |= lasts
        else:
            others |= lasts
        if isinstance(failure, PartitionFailure):
            noticed.add(failure.time + failure.detection)
        elif isinstance(failure, CrashFailure):
            noticed |= {failure.time + detection for detection in (DEFAULT_DETECTION, *silences)}
    told = (section.gossip.mcache_gossip + 1) * max(client.heartbeat for client in section.client_gossip)
    changes = {change for change in changes if change < stop_time_ns}
    spans = [(max(change - told, 0), change) for change in changes]
    spans += [(change, change + told) for change in changes | noticed]
    border = [0]
    for end in sorted(others.union(*spans)):
        while border[-1] < min(end, stop_time_ns):
            border.append(min(border[-1] + section.resolution.epoch, end, stop_time_ns))
    is_passing = [any(begin <= first < end for begin, end in spans) for first in border[:-1]]
    return Epochs(np.array(border, dtype=np.int64), np.array(is_passing, dtype=np.bool_))


def _allotted(section: ColdSection, up: float, subscribed: float) -> Int64Array:
    """How many representatives of an epoch there are for messages of one group and size, by `Part.standing`: int64[4].

    In proportion to how many of its messages are of that standing, if each identity publishes as often: of those that
    are few, `resolution.representatives` would be hardly fewer than there are messages.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    up, subscribed
        The shares of identities that are up, but for crashes, and that subscribe to the topic.
    """
    crashed = max((failure.share for failure in section.failures if isinstance(failure, CrashFailure)), default=0.0)
    away = 1 - up * (1 - crashed)
    shares = np.array([away * (1 - subscribed), up * (1 - subscribed), away * subscribed, up * subscribed])
    allotted: Int64Array = np.maximum(np.ceil(shares * section.resolution.representatives), 1).astype(np.int64)
    return allotted


class Representation(Protocol):
    """What executes the representatives of a topic."""

    schedule: Schedule
    """Which representatives messages follow."""

    def executed_with(self, part: Part) -> list[Part]:
        """Return the representatives that are executed at once with one, itself among them, ascending."""

    def cost_of(self, parts: Sequence[Part]) -> float:
        """Return what it takes to execute representatives at once, in edge events."""

    def play(self, parts: Iterable[Part]) -> None:
        """Execute representatives that were not. Later ones must come later: time does not go back."""

    def outcome(self, part: Part) -> Outcome:
        """Return what became of a representative that was played."""

    def own_counters(self, end: int) -> dict[str, int]:
        """Return what the network counts that has no messages, up to a time after all representatives [ns]."""

    def type_of(self, host: int) -> int:
        """Return whose curve of a representative's is that of an identity."""


class NoMessages:
    """A plan of nothing."""

    def next_time(self) -> int:
        """Return the time of the next message: NEVER."""
        return NEVER

    def take(self, _end: int) -> PlannedMessages:
        """Return the messages before a time: none."""
        return PlannedMessages(np.empty(0, dtype=np.uint64), Publications.none())


class Schedule:
    """When representatives of a topic are published, and which of them messages follow.

    Parameters
    ----------
    represented
        The topic, and the network.
    """

    def __init__(self, represented: Represented) -> None:
        (section, directory, seed, stop_time_ns), paths, topic, group, members = represented
        self._members, self._seed, self._topic, self._group = members, seed, topic, group
        self._first = directory.hot_count
        self._groups = np.flatnonzero(np.bincount(group)).astype(np.int64)
        self._representatives = section.resolution.representatives
        self._epochs = epochs_of(section, stop_time_ns)
        self._histories: Histories | None = None
        up = 1.0
        if comes_and_goes(section):
            habits = habits_of(section, directory, paths.node_ids)
            self._histories = Histories(habits, seed, self._first)
            up = float(habits.up_share[habits.habit].mean())
        self._allotted = _allotted(section, up, len(members(topic)) / max(len(group), 1))
        kinds = client_kinds(section, seed, self._first, len(group))
        self._heartbeat = np.array([client.heartbeat for client in section.client_gossip], dtype=np.int64)[kinds]
        self._most_missed = section.gossip.mcache_gossip

    def parts_of(self, planned: PlannedMessages) -> list[Part]:
        """The representatives that messages follow, message by message."""
        published = planned.published
        group = self._group[published.origin - self._first]
        sizes, size_of = np.unique(published.size, return_inverse=True)
        typical = np.array([typical_size(size) for size in sizes.tolist()], dtype=np.int64)[size_of]
        away = self._away(published.time, published.origin)
        standing = (away == 0).astype(np.int64)
        for topic in np.unique(published.topic).tolist():
            there = published.topic == topic
            # Publishers are few beside members: a table of these is made sooner than an order of both.
            standing[there] += 2 * np.isin(published.origin[there], self._members(topic), kind="table")
        # Who does not subscribe tells nobody later, and only one that is away misses the next heartbeats.
        missed = np.where(standing == 2, np.maximum(away - 1, 0), 0)
        alike = self._allotted[standing]
        number = self._chosen(published.time, published.origin, planned.message_id, alike, group)
        kinds, kind_of = np.unique(np.stack([number, group, standing, typical, missed]), axis=1, return_inverse=True)
        parts = [Part(self.time_of(which), which, *of) for which, *of in kinds.T.tolist()]
        return [parts[kind] for kind in kind_of.ravel().tolist()]

    def entry_of(self, time: int, host: int, message_id: int, size: int) -> Part:
        """The representative that a message follows which a hot host brings to an identity at a time [ns]."""
        key = np.array([entry_key(uint64(message_id), host)], dtype=np.uint64)
        group = int(self._group[host - self._first])
        columns = (np.array([value]) for value in (self._representatives, group))
        number = int(self._chosen(np.array([time]), np.array([host]), key, *columns)[0])
        return Part(self.time_of(number), number, group, 3, typical_size(size), is_relayed=True)

    def parts_in(self, part: Part, most: int) -> list[Part]:
        """All representatives that are executed at once with one, so many at most, ascending.

        They differ in the group alone, or all have a publisher that is up; and are the same whichever of them messages
        follow.
        """
        if part.is_relayed:
            return [part]
        standings = (1, 3) if part.standing & 1 else (part.standing,)
        alike = sorted(
            part._replace(group=group, standing=standing)
            for standing in standings
            for group in self._groups_of(part.number, standing).tolist()
        )
        first = alike.index(part) // most * most
        return alike[first : first + most]

    def _groups_of(self, number: int, standing: int) -> Int64Array:
        """Groups whose messages may follow the representative of a number and a `Part.standing`, ascending."""
        epoch, place = divmod(number, self._representatives)
        allotted = int(self._allotted[standing])
        if self._epochs.is_passing[epoch] or allotted == self._representatives:
            return self._groups
        its = np.arange(allotted) * self._representatives // allotted
        return self._groups[np.isin((place - self._groups) % self._representatives, its)]

    def epoch_of(self, number: int) -> range:
        """Numbers of the representatives that share an epoch with one."""
        first = number - number % self._representatives
        return range(first, first + self._representatives)

    def begin_of(self, number: int) -> int:
        """When the epoch of a representative begins [ns]."""
        return int(self._epochs.border[number // self._representatives])

    def time_of(self, number: int) -> int:
        """A moment of the representative's own part of its epoch [ns]."""
        epoch, which = divmod(number, self._representatives)
        begin, end = (int(border) for border in self._epochs.border[epoch : epoch + 2])
        draw = int(draw_u64(self._seed, self._topic, int(ColdPurpose.REHEARSAL_TIME), number)) >> 32
        return begin + ((which << 32 | draw) * (end - begin) // self._representatives >> 32)

    def _chosen(
        self,
        time: Int64Array,
        origin: Int64Array,
        message_id: npt.NDArray[np.uint64],
        allotted: npt.NDArray[np.integer],
        group: npt.NDArray[np.integer],
    ) -> Int64Array:
        """Numbers of the representatives that messages follow: int64[n].

        A random one of the epoch, so that messages differ as much as representatives do; of those kinds of which there
        are few messages, one of the few that are allotted to them, which are at other times for other groups. Where the
        network is about to change, or has just changed, it is the time that makes the difference: there, the one in
        whose part of the epoch the message is.
        """
        count = self._representatives
        chosen = choose_representatives(uint64(self._seed), origin, message_id, count)
        its = chosen * allotted // count
        # As `_groups_of` has it.
        chosen = np.where(allotted < count, (its * count // allotted + group) % count, chosen)
        epoch = self._epochs.of(time)
        begin, end = self._epochs.border[epoch], self._epochs.border[epoch + 1]
        part = np.clip((time - begin) * count // (end - begin), 0, count - 1)
        number: Int64Array = epoch * count + np.where(self._epochs.is_passing[epoch], part, chosen)
        return number

    def missed_by(self, host: int, time: int) -> int:
        """`Part.missed` of an identity that is away at a time [ns]."""
        return max(int(self._away(np.array([time]), np.array([host]))[0]) - 1, 0)

    def _away(self, times: npt.NDArray[np.integer], origins: npt.NDArray[np.integer]) -> Int64Array:
        """0 if a publisher is up at a time [ns], else one more than the heartbeats that it misses, of those that tell.

        int64[n].
        """
        result = np.zeros(len(times), dtype=np.int64)
        if self._histories is None:
            return result
        for row, (time, origin) in enumerate(zip(times.tolist(), origins.tolist(), strict=True)):
            is_up, until = self._histories.interval(origin, time)
            if not is_up:
                beat = int(self._heartbeat[origin - self._first])
                phase = int(heartbeat_phases(self._seed, origin, 1, beat)[0])
                before = -(-(until - phase) // beat) - -(-(time - phase) // beat)
                result[row] = 1 + min(max(before, 0), self._most_missed)
        return result
