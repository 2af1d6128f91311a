"""Representatives of messages in a network that changes: executed by the exact engine on copies of the network.

Where identities come and go, fail, or are of several kinds, there is no one mesh that representatives could be
propagated over. So the exact engine executes the network without messages: sessions, crashes, partitions, meshes that
are mended. At the time of a representative the engine is copied, and the copy publishes the representative and goes on
until nobody tells of it any more. What the copy counts beyond another copy that publishes nothing is the message's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from bridge.paths import PathTable
from bridge.rng import draw_u64
from bridge.simtime import NEVER
from cold.arrival_curves import Curves, Observed, observed_curves
from cold.changing_field import ChangingField
from cold.engine import ColdEngine
from cold.memberships import mean_known_peers
from cold.population import client_kinds
from cold.propagation_kernels import LEVELS
from cold.publication_columns import Publications
from cold.publications import MessagePlan, PlannedMessages
from cold.purposes import ColdPurpose
from cold.representatives import NoMessages, Outcome, Part, Representation, Represented, Schedule, is_unsteady
from cold.resolution_section import Resolution
from cold.results import bucket_middles
from cold.scenario import Scenario
from cold.sessions import Changes
from cold.state_kernels import COUNTER_NAMES

Int64Array = npt.NDArray[np.int64]

#: An IHAVE of one id on the wire, in bytes.
_IHAVE_BYTES: Final = 44
#: Ids of representatives: no real message has an origin address with the highest bits all set.
_FIRST_ID: Final = 0xFFFF_FFFF_0000_0000
_COLUMN: Final = {name: place for place, name in enumerate(COUNTER_NAMES)}
_PERCENTILES: Final = (50, 95, 99, 100)
#: Of `Part.standing`: who is away and does not subscribe, and who is up and does.
_AWAY: Final = 0
_UP_AND_SUBSCRIBED: Final = 3
#: So many are looked at for a publisher that is away and comes back when it should.
_TRIED: Final = 64


class _OneMessage:
    """A plan of one message."""

    def __init__(self, message: PlannedMessages) -> None:
        self._message = message
        self._is_taken = False

    def next_time(self) -> int:
        return NEVER if self._is_taken else int(self._message.published.time[0])

    def take(self, end: int) -> PlannedMessages:
        if self.next_time() >= end:
            return NoMessages().take(end)
        self._is_taken = True
        return self._message


class Rehearsal:
    """A topic's representatives in a network that changes, and in which no host is hot and nobody asks for anything.

    Parameters
    ----------
    represented
        The topic, and the network.
    """

    def __init__(self, represented: Represented) -> None:
        scenario, paths, topic, group, members = represented
        section, directory, seed, _ = scenario
        alone = scenario._replace(section=section.model_copy(update={"requests": [], "transactions": None}))
        self._engine = ColdEngine(alone, paths, topics=[topic], plan=NoMessages())
        self._time = 0
        self._stage: ColdEngine | None = None
        self._quiet_stage: ColdEngine | None = None
        self._touched = np.empty(0, dtype=np.int64)
        # Hot hosts ask for representatives in the order in which their messages are published.
        self._is_asked = directory.hot_count > 0
        self._at_first = self._engine.fork(NoMessages()) if self._is_asked else None
        self._at_begin: tuple[int, ColdEngine] | None = None
        self._members = members
        kinds = client_kinds(section, seed, directory.hot_count, len(group)).astype(np.int64)
        of_type, kind_of = np.unique(np.stack([group.astype(np.int64), kinds]), axis=1, return_inverse=True)
        self._type = kind_of.ravel().astype(np.int64)
        self._kind, self._clients = kinds, section.client_gossip
        self._known = mean_known_peers(section, topic, len(members(topic)))
        place = np.zeros(of_type.shape[1], dtype=np.int64)
        place[self._type] = directory.node[directory.hot_count :]
        self._place = place
        self._seed, self._topic, self._group, self._first = seed, topic, group, directory.hot_count
        self.schedule = Schedule(represented)
        self._beat = max(client.heartbeat for client in section.client_gossip)
        self._seen_ttl = section.gossip.seen_ttl
        self._outcome: dict[Part, Outcome] = {}

    def type_of(self, host: int) -> int:
        """Whose curve of a representative's is that of an identity."""
        return int(self._type[host - self._first])

    def play(self, parts: Iterable[Part]) -> None:
        """Execute representatives that were not."""
        moment: _Moment | None = None
        for part in sorted(set(parts) - self._outcome.keys()):
            if moment is None or part.time != moment.time:
                self._go_to(part)
                moment = self._moment(part.time)
            self._outcome[part] = self._play(part, moment)

    def _go_to(self, part: Part) -> None:
        """Have the engine at the time of a representative, which may be before that of the last one."""
        if self._is_asked:
            begin = self.schedule.begin_of(part.number)
            if part.time < self._time:
                assert self._at_first is not None, "it is kept where hot hosts ask"
                kept = (0, self._at_first)
                if self._at_begin is not None and self._at_begin[0] <= part.time:
                    kept = self._at_begin
                self._time, self._engine = kept[0], kept[1].fork(NoMessages())
            if self._time <= begin and (self._at_begin is None or self._at_begin[0] != begin):
                self._engine.run_until(begin)
                self._at_begin = begin, self._engine.fork(NoMessages())
        self._engine.run_until(part.time)
        self._time = part.time

    def outcome(self, part: Part) -> Outcome:
        """What became of a representative that was played."""
        return self._outcome[part]

    def own_counters(self, end: int) -> dict[str, int]:
        """What the network counts that has no messages, up to a time after all representatives [ns]."""
        self._engine.run_until(end)
        return self._engine.counters()

    def _moment(self, time: int) -> _Moment:
        """The network at the time at which the engine has stopped."""
        if self._quiet_stage is None:
            self._quiet_stage = self._engine.fork(NoMessages())
        else:
            self._quiet_stage.renew(self._engine, NoMessages())
        standing = self._engine.is_up(time).astype(np.uint8)
        standing[self._members(self._topic) - np.uint32(self._first)] += 2
        quiet = _Quiet(self._quiet_stage, time, self._beat)
        return _Moment(time, quiet, standing, self._group, self._tellers(standing == _UP_AND_SUBSCRIBED))

    def _play(self, part: Part, moment: _Moment) -> Outcome:
        """Work out what becomes of a representative that is published at this moment."""
        index = part.is_relayed << 40 | part.number << 10 | part.group << 2 | part.standing
        origin = self._publisher(part, index, moment.candidates(part.group, part.standing) + self._first)
        if moment.standing[origin - self._first] == _AWAY and not part.is_relayed:
            return self._unsent(part, moment)
        return self._executed(part, moment, index, origin)

    def _unsent(self, part: Part, moment: _Moment) -> Outcome:
        """What becomes of a representative whose publisher is away, and does not keep it: nobody hears of it."""
        counters = np.zeros(len(COUNTER_NAMES), dtype=np.int64)
        counters[_COLUMN["published"]] = 1
        curves = None
        if self._is_asked:
            # So long it takes to see that there is no news.
            changes = self._engine.changes_until(part.time + 2 * self._beat)
            host = self._members(self._topic).astype(np.int64)
            received = np.full(len(host), NEVER, dtype=np.int64)
            curves = self._curves(part, moment, changes, host, received, np.zeros(len(host), dtype=np.int64))
        return Outcome(
            np.full(4, -1, dtype=np.int64),
            np.zeros(LEVELS, dtype=np.int64),
            counters,
            0,
            np.zeros(len(self._clients), dtype=np.int64),
            moment.tellers,
            0,
            moment.there,
            curves,
        )

    def _executed(self, part: Part, moment: _Moment, index: int, origin: int) -> Outcome:
        """Execute a representative that an identity publishes."""
        message_id = _FIRST_ID | index & 0xFFFFFFFF
        if part.is_relayed:
            engine = self._staged(NoMessages(), origin)
            engine.bring(message_id, self._topic, part.time, origin, part.size)
        else:
            columns = (np.array([value], dtype=np.int64) for value in (part.time, self._topic, origin, part.size))
            message = PlannedMessages(np.array([message_id], dtype=np.uint64), Publications(*columns))
            engine = self._staged(_OneMessage(message), origin)
        beats = 0
        while beats * self._beat < self._seen_ttl:
            beats += 1
            engine.run_until(part.time + beats * self._beat)
            if not engine.has_news():
                # What was told of last is asked for and comes.
                break
        beats += 1
        end = part.time + beats * self._beat
        engine.run_until(end)
        changes = self._engine.changes_until(end) if self._is_asked else None
        results = engine.partial_results()
        middles, reached = bucket_middles(results.bucket), np.cumsum(results.counts)
        delivered = int(results.spread["delivered"][0])
        summary, overall = np.full(4, -1, dtype=np.int64), np.zeros(LEVELS, dtype=np.int64)
        if delivered:
            middles = np.minimum(middles, int(results.spread["max_ns"][0]))
            ranks = (delivered * np.array(_PERCENTILES) + 99) // 100 - 1
            summary = middles[np.searchsorted(reached, ranks, side="right")]
            summary[3] = results.spread["max_ns"][0]
            levels = np.rint(np.arange(LEVELS) * (delivered - 1) / (LEVELS - 1)).astype(np.int64)
            overall = middles[np.searchsorted(reached, levels, side="right")]
        counters = _counted(engine) - moment.quiet.counted_after(beats)
        told, heard = int(counters[_COLUMN["ihave_sent"]]), int(counters[_COLUMN["ihave_received"]])
        for name, what in (
            ("ihave_sent", told),
            ("ihave_received", heard),
            ("edge_events", heard),
            ("packets_lost", told - heard),
            ("bytes_sent", told * _IHAVE_BYTES),
            ("heartbeats", counters[_COLUMN["heartbeats"]]),
        ):
            counters[_COLUMN[name]] -= what
        curves = None
        if changes is not None:
            # The publisher is like nobody.
            host, time, hops = engine.receipts(message_id)
            others = host != origin
            curves = self._curves(part, moment, changes, host[others], time[others], hops[others])
        told_by = self._by_kind(engine, message_id, told)
        there = moment.there - int(moment.standing[origin - self._first] == _UP_AND_SUBSCRIBED)
        return Outcome(summary, overall, counters, delivered, told_by, moment.tellers, heard, there, curves)

    def _staged(self, plan: MessagePlan, origin: int) -> ColdEngine:
        """A copy of the network in which an identity will publish; there is one at a time."""
        if self._stage is None:
            self._stage = self._engine.fork(plan)
        else:
            self._stage.renew(self._engine, plan, self._touched)
        # Nobody else takes part, but for those that come and go.
        self._touched = np.append(self._members(self._topic).astype(np.int64), origin) - self._first
        return self._stage

    def _publisher(self, part: Part, index: int, candidates: npt.NDArray[np.integer]) -> int:
        """A random one of these hosts, and if it is away one that comes back as the publisher did, if that is found."""
        tried: list[int] = []
        for attempt in range(_TRIED if part.standing == 2 else 1):
            counter = 1 << 63 | attempt << 48 | index
            draw = int(draw_u64(self._seed, self._topic, int(ColdPurpose.REPRESENTATIVE), counter)) >> 32
            tried.append(int(candidates[draw * len(candidates) >> 32]))
            if part.standing != 2 or self.schedule.missed_by(tried[-1], part.time) == part.missed:
                return tried[-1]
        return tried[0]

    def _tellers(self, members: npt.NDArray[np.bool_]) -> Int64Array:
        """IHAVE packets of these in a heartbeat, by the kinds of clients that send them."""
        each = [min(client.d_lazy, max(self._known - client.d, 0)) for client in self._clients]
        return np.bincount(self._kind[members], minlength=len(each)) * np.array(each, dtype=np.int64)

    def _by_kind(self, engine: ColdEngine, message_id: int, told: int) -> Int64Array:
        """So many IHAVE packets by the kinds of clients that send them, in proportion to who has got the message."""
        if len(self._clients) == 1:
            return np.array([told], dtype=np.int64)
        host, time, _ = engine.receipts(message_id)
        got = np.zeros(len(self._group), dtype=np.bool_)
        got[host[time != NEVER] - self._first] = True
        until = np.cumsum(self._tellers(got))
        rounded = told * until // max(int(until[-1]), 1)
        return np.asarray(rounded - np.concatenate([[0], rounded[:-1]]), dtype=np.int64)

    def _curves(
        self,
        part: Part,
        moment: _Moment,
        changes: Changes,
        host: Int64Array,
        time: Int64Array,
        hops: Int64Array,
    ) -> Curves:
        """When those alike get a representative, of when each of these subscribers does [ns], NEVER if it does not."""
        identity = host - self._first
        received = np.where(time == NEVER, NEVER, time - part.time)
        row = np.full(len(self._group), -1, dtype=np.int64)
        row[identity] = np.arange(len(identity))
        ours = (row[changes.identity] >= 0) & (changes.time >= part.time)
        observed = Observed(
            *(received, hops, moment.standing[identity] & 1 == 1),
            *(changes.time[ours] - part.time, row[changes.identity[ours]], changes.is_up[ours]),
        )
        return observed_curves(observed, self._type[identity], self._place)


class _Moment:
    """A network at a time at which representatives are published.

    Parameters
    ----------
    time
        The time [ns].
    quiet
        The network from then on, without them.
    standing
        uint8[A]: `Part.standing` of each identity.
    group
        int32[A]: of each identity.
    tellers
        `Outcome.tellers`.
    """

    def __init__(
        self,
        time: int,
        quiet: _Quiet,
        standing: npt.NDArray[np.uint8],
        group: npt.NDArray[np.int32],
        tellers: Int64Array,
    ) -> None:
        self.time, self.quiet, self.standing, self.tellers = time, quiet, standing, tellers
        self.there = int((standing == _UP_AND_SUBSCRIBED).sum())
        """Subscribers that are up."""
        self._group = group
        key = group * 4 + standing
        # Small numbers are sorted in linear time.
        self._order = np.argsort(key.astype(np.min_scalar_type(int(key.max(initial=0)))), kind="stable")
        self._last = np.cumsum(np.bincount(key))

    def candidates(self, group: int, standing: int) -> Int64Array:
        """Indices of those who may publish for a group and a standing, ascending: int64[n].

        There is one at least of the group, and if none of them is as the publisher was, anybody who is.
        """
        key = group * 4 + standing
        if key < len(self._last):
            alike = self._order[self._last[key - 1] if key else 0 : self._last[key]]
            if len(alike):
                return alike
        alike = np.flatnonzero(self.standing == standing)
        return alike if len(alike) else np.flatnonzero(self._group == group)


class _Quiet:
    """What a network counts that has no messages, from a time on, at intervals as long as a heartbeat's.

    Parameters
    ----------
    engine
        A copy of the network, for this alone.
    begin
        The time at which it has stopped [ns].
    beat
        The interval [ns].
    """

    def __init__(self, engine: ColdEngine, begin: int, beat: int) -> None:
        self._begin, self._engine, self._beat = begin, engine, beat
        self._counted = [_counted(self._engine)]

    def counted_after(self, beats: int) -> Int64Array:
        """Its counters, so many intervals later: int64[COUNTER_NAMES]."""
        while len(self._counted) <= beats:
            self._engine.run_until(self._begin + len(self._counted) * self._beat)
            self._counted.append(_counted(self._engine))
        return self._counted[beats]


def _counted(engine: ColdEngine) -> Int64Array:
    return np.array(list(engine.counters().values()), dtype=np.int64)


def rehearsals_of(
    scenario: Scenario,
    paths: PathTable,
    leaders: Mapping[int, int],
    resolution: Mapping[int, Resolution],
    group: npt.NDArray[np.int32],
    members: Callable[[int], npt.NDArray[np.uint32]],
) -> dict[int, Representation]:
    """What executes representatives, by the index of a topic; topics that share a leader share one.

    None in a network that does not change.

    Parameters
    ----------
    scenario, paths, group, members
        As in `cold.representatives.Represented`.
    leaders
        The topic whose representatives a topic has, of each coarse topic.
    resolution
        Of each coarse topic, by its index.
    """
    if not is_unsteady(scenario.section):
        return {}
    made: dict[int, Representation] = {}
    for leader in sorted(set(leaders.values())):
        kind = Rehearsal if resolution[leader] is Resolution.SAMPLED else ChangingField
        made[leader] = kind(Represented(scenario, paths, leader, group, members))
    return {topic: made[leader] for topic, leader in leaders.items()}
