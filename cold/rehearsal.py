"""Representatives of messages in a network that changes: executed by the exact engine on copies of the network.

Where identities come and go, fail, or are of several kinds, there is no one mesh that representatives could be
propagated over. So the exact engine executes the network without messages: sessions, crashes, partitions, meshes that
are mended. At the time of a representative the engine is copied, and the copy publishes the representative and goes on
until nobody tells of it any more. What the copy counts beyond another copy that publishes nothing is the message's.
Representatives of one time share a copy whose publishers are up, and so do others that differ in their publisher's
group alone: as many as do not keep each other waiting at links to speak of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bridge.paths import PathTable
from bridge.rng import draw_u64
from bridge.simtime import NEVER
from cold.arrival_curves import Curves, Observed, observed_curves
from cold.changing_field import ChangingField
from cold.engine import ColdEngine
from cold.memberships import mean_known_peers
from cold.orders import stable_order
from cold.population import client_kinds
from cold.propagation_kernels import LEVELS
from cold.publication_columns import Publications
from cold.publications import MessagePlan, Plan, PlannedMessages
from cold.purposes import ColdPurpose
from cold.representatives import NoMessages, Outcome, Part, Representation, Represented, Schedule, is_unsteady
from cold.resolution import FEW_AT_A_TIME, REHEARSAL_EVENTS
from cold.resolution_section import Resolution
from cold.results import TailResults, delays_at, rows_of
from cold.scenario import Scenario
from cold.sending_kernels import CONTROL_BYTES, ID_BYTES
from cold.sessions import Changes
from cold.small_networks import copies_carried, most_at_once
from cold.state_kernels import (
    ASKED_FOR,
    COPIES_LOST,
    COPIES_SENT,
    COUNTER_NAMES,
    MESSAGE_BYTES,
    NOT_SENT,
    TOLD,
)

Int64Array = npt.NDArray[np.int64]
#: What `ColdEngine.receipts` returns.
Receipts: TypeAlias = tuple[Int64Array, Int64Array, Int64Array]

#: Ids of representatives: no real message has an origin address with the highest bits all set.
_FIRST_ID: Final = 0xFFFF_FFFF_0000_0000
_COLUMN: Final = {name: place for place, name in enumerate(COUNTER_NAMES)}
_PERCENTILES: Final = (50, 95, 99, 100)
#: Of `Part.standing`: who is away and does not subscribe, and who is up and does.
_AWAY: Final = 0
_UP_AND_SUBSCRIBED: Final = 3
#: So many are looked at for a publisher that is away and comes back when it should.
_TRIED: Final = 64


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
        self._engine = ColdEngine(alone, paths, topics=[topic], plan=NoMessages(), tallies=True)
        self._time = 0
        self._stage: ColdEngine | None = None
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
        # To be told of to the end, and what it takes to come to everybody.
        self._usual_beats = section.gossip.mcache_gossip + 4
        subscribers = len(members(topic))
        #: Of a message, of all subscribers.
        self._copies = copies_carried(section, subscribers) * subscribers
        self._most_at_once = cache(partial(most_at_once, section, directory, subscribers))
        self._outcome: dict[Part, Outcome] = {}

    def type_of(self, host: int) -> int:
        """Whose curve of a representative's is that of an identity."""
        return int(self._type[host - self._first])

    def executed_with(self, part: Part) -> list[Part]:
        """The representatives that share a copy of the network with one, itself among them, ascending."""
        return self.schedule.parts_in(part, self._most_at_once(part.size))

    def cost_of(self, parts: Sequence[Part]) -> float:
        """What it takes to execute representatives in one copy of the network, in edge events of the exact engine."""
        # Heartbeats are as much again as one that spreads; those who are away publish nothing at once.
        spreading = sum(part.standing & 1 for part in parts)
        return FEW_AT_A_TIME * (self._copies * (spreading + 1) + REHEARSAL_EVENTS)

    def play(self, parts: Iterable[Part]) -> None:
        """Execute representatives that were not, and all that share a copy of the network with them."""
        moment: _Moment | None = None
        for part in sorted(set(parts) - self._outcome.keys()):
            if part in self._outcome:
                continue
            if moment is None or part.time != moment.time:
                self._go_to(part)
                moment = self._moment(part.time)
            batch = self.executed_with(part)
            self._outcome.update(zip(batch, self._play(batch, moment), strict=True))

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
        standing = self._engine.is_up(time).astype(np.uint8)
        standing[self._members(self._topic) - np.uint32(self._first)] += 2
        nobody = np.empty(0, dtype=np.int64)
        quiet = _Quiet(lambda: self._staged(NoMessages(), nobody), time, self._beat, self._usual_beats)
        return _Moment(time, quiet, standing, self._group, self._tellers(standing == _UP_AND_SUBSCRIBED))

    def _play(self, batch: Sequence[Part], moment: _Moment) -> list[Outcome]:
        """Work out what becomes of representatives that are published at this moment."""
        unsent, sent = {}, {}
        for part in batch:
            candidates = moment.candidates(part.group, part.standing) + self._first
            if part.is_relayed:
                candidates = self._telling(candidates, part.time)
            origin = self._publisher(part, candidates)
            if moment.standing[origin - self._first] == _AWAY and not part.is_relayed:
                unsent[part] = self._unsent(part, moment)
            else:
                sent[part] = origin
        outcomes = dict(zip(sent, self._executed(sent, moment), strict=True)) if sent else {}
        outcomes.update(unsent)
        return [outcomes[part] for part in batch]

    def _telling(self, candidates: Int64Array, time: int) -> Int64Array:
        """Those of some hosts that pass on what a hot host brings them; no message follows what others are brought."""
        telling = candidates[~self._engine.are_silent(candidates, time)]
        return telling if len(telling) else candidates

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

    def _executed(self, origin_of: Mapping[Part, int], moment: _Moment) -> list[Outcome]:
        """Execute representatives of one time that identities publish, or one that a hot host brings in."""
        parts, origins = list(origin_of), np.array(list(origin_of.values()), dtype=np.int64)
        time = parts[0].time
        ids = np.array([_FIRST_ID | _number_of(part) & 0xFFFFFFFF for part in parts], dtype=np.uint64)
        if parts[0].is_relayed:
            engine = self._staged(NoMessages(), origins)
            engine.bring(int(ids[0]), self._topic, time, int(origins[0]), parts[0].size)
        else:
            topics, sizes = np.full(len(parts), self._topic, dtype=np.int64), np.array([part.size for part in parts])
            published = Publications(np.full(len(parts), time, dtype=np.int64), topics, origins, sizes)
            engine = self._staged(Plan(PlannedMessages(ids, published)), origins)
        beats = 0
        while beats * self._beat < self._seen_ttl:
            beats += 1
            engine.run_until(time + beats * self._beat)
            if not engine.has_news():
                # What was told of last is asked for and comes.
                break
        beats += 1
        end = time + beats * self._beat
        engine.run_until(end)
        changes = self._engine.changes_until(end) if self._is_asked else None
        results, counted = engine.partial_results(), _counted(engine)
        delivered = results.spread["delivered"][rows_of(results, ids)]
        delays = _delays(results, ids, delivered)
        tally = np.array([engine.tally(message_id) for message_id in ids.tolist()])
        receipts: list[Receipts | None] = [None] * len(parts)
        if changes is not None or len(self._clients) > 1:
            receipts = [engine.receipts(message_id) for message_id in ids.tolist()]
        # The copy is of no use any more where this needs one.
        counters, heard = _costs(counted - moment.quiet.counted_after(beats), parts[0].size, delivered, tally)
        outcomes = []
        for place, part in enumerate(parts):
            summary, overall = np.split(delays[place], [len(_PERCENTILES)])
            curves, its_receipts = None, receipts[place]
            if changes is not None and its_receipts is not None:
                # The publisher is like nobody.
                others = its_receipts[0] != origins[place]
                curves = self._curves(part, moment, changes, *(column[others] for column in its_receipts))
            told_by = self._by_kind(its_receipts, int(tally[place, TOLD]))
            there = moment.there - int(moment.standing[origins[place] - self._first] == _UP_AND_SUBSCRIBED)
            outcomes.append(
                Outcome(
                    *(summary, overall, counters[place], int(delivered[place]), told_by, moment.tellers),
                    *(int(heard[place]), there, curves),
                )
            )
        return outcomes

    def _staged(self, plan: MessagePlan, origins: Int64Array) -> ColdEngine:
        """A copy of the network in which identities will publish; there is one at a time."""
        if self._stage is None:
            self._stage = self._engine.fork(plan)
        else:
            self._stage.renew(self._engine, plan, self._touched)
        # Nobody else takes part, but for those that come and go.
        self._touched = np.concatenate([self._members(self._topic).astype(np.int64), origins]) - self._first
        return self._stage

    def _publisher(self, part: Part, candidates: npt.NDArray[np.integer]) -> int:
        """A random one of these hosts, and if it is away one that comes back as the publisher did, if that is found."""
        tried: list[int] = []
        for attempt in range(_TRIED if part.standing == 2 else 1):
            counter = 1 << 63 | attempt << 48 | _number_of(part)
            draw = int(draw_u64(self._seed, self._topic, int(ColdPurpose.REPRESENTATIVE), counter)) >> 32
            tried.append(int(candidates[draw * len(candidates) >> 32]))
            if part.standing != 2 or self.schedule.missed_by(tried[-1], part.time) == part.missed:
                return tried[-1]
        return tried[0]

    def _tellers(self, members: npt.NDArray[np.bool_]) -> Int64Array:
        """IHAVE packets of these in a heartbeat, by the kinds of clients that send them."""
        each = [min(client.d_lazy, max(self._known - client.d, 0)) for client in self._clients]
        return np.bincount(self._kind[members], minlength=len(each)) * np.array(each, dtype=np.int64)

    def _by_kind(self, receipts: Receipts | None, told: int) -> Int64Array:
        """So many IHAVE packets by the kinds of clients that send them, in proportion to who has got the message."""
        if receipts is None or len(self._clients) == 1:
            return np.array([told], dtype=np.int64)
        host, time, _ = receipts
        got = np.zeros(len(self._group), dtype=np.bool_)
        got[host[time != NEVER] - self._first] = True
        return _dealt_out(np.array([told]), self._tellers(got))[:, 0]

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
        self._order = stable_order(key)
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
    stage
        Makes a copy of the network, for as long as it is needed.
    begin
        The time at which it has stopped [ns].
    beat
        The interval [ns].
    usual
        So many intervals are enough for most.
    """

    def __init__(self, stage: Callable[[], ColdEngine], begin: int, beat: int, usual: int) -> None:
        self._stage, self._begin, self._beat, self._usual = stage, begin, beat, usual
        self._counted: list[Int64Array] = []

    def counted_after(self, beats: int) -> Int64Array:
        """Its counters, so many intervals later: int64[COUNTER_NAMES]."""
        if beats >= len(self._counted):
            engine = self._stage()
            self._counted = [_counted(engine)]
            for number in range(1, max(beats, self._usual) + 1):
                engine.run_until(self._begin + number * self._beat)
                self._counted.append(_counted(engine))
        return self._counted[beats]


def _number_of(part: Part) -> int:
    """A number of a representative below 2**48; those of one time and size differ in the lowest 32 bits."""
    low = (part.number & 0xFFF) << 20 | part.group << 2 | part.standing
    return part.is_relayed << 47 | part.number >> 12 << 32 | low


def _delays(results: TailResults, message_id: npt.NDArray[np.uint64], delivered: Int64Array) -> Int64Array:
    """`Outcome.summary`, and then `Outcome.overall`, of messages that so many have got: int64[n, 4 + LEVELS]."""
    count = delivered[:, None]
    levels = np.rint(np.arange(LEVELS) * (count - 1) / (LEVELS - 1)).astype(np.int64) + 1
    ranks = np.concatenate([(count * np.array(_PERCENTILES) + 99) // 100, levels], axis=1)
    longest = results.spread["max_ns"][rows_of(results, message_id)][:, None]
    delays = np.minimum(delays_at(results, message_id, np.maximum(ranks, 1)), longest)
    delays[:, len(_PERCENTILES) - 1] = longest[:, 0]
    nothing = np.repeat([-1, 0], [len(_PERCENTILES), LEVELS])
    return np.where(count > 0, delays, nothing)


def _costs(counters: Int64Array, size: int, delivered: Int64Array, tally: Int64Array) -> tuple[Int64Array, Int64Array]:
    """What n representatives have cost that have shared an engine.

    Of each it is known how many copies were sent, lost, spared and asked for, how many IHAVEs told of it, and how many
    have got it; all else is shared out in proportion to these.

    Parameters
    ----------
    counters
        int64[COUNTER_NAMES]: what was counted beyond what the network counts without them.
    size
        Of each [bytes].
    delivered
        int64[n]: how many have got each.
    tally
        int64[n, TALLIED]: of each.

    Returns
    -------
    int64[n, COUNTER_NAMES], int64[n]
        As of `Outcome.counters`; and IHAVE packets that tell of each and are received.
    """
    counters, told = counters.copy(), tally[:, TOLD]
    packets, received = int(counters[_COLUMN["ihave_sent"]]), int(counters[_COLUMN["ihave_received"]])
    for name, what in (
        ("ihave_sent", packets),
        ("ihave_received", received),
        ("edge_events", received),
        ("packets_lost", packets - received),
        ("bytes_sent", packets * CONTROL_BYTES + int(told.sum()) * ID_BYTES),
        ("heartbeats", counters[_COLUMN["heartbeats"]]),
    ):
        counters[_COLUMN[name]] -= what
    # Nobody tells of what nobody has got.
    got = delivered if delivered.any() else np.ones(len(delivered), dtype=np.int64)
    copies, first = _COLUMN["messages_received"], _COLUMN["duplicates"]
    sent, lost = tally[:, COPIES_SENT], tally[:, COPIES_LOST]
    counters[_COLUMN["edge_events"]] -= counters[copies]
    counters[_COLUMN["packets_lost"]] -= lost.sum()
    counters[_COLUMN["bytes_sent"]] -= sent.sum() * (MESSAGE_BYTES + size)
    # Until they are subtracted, first copies are in the place of all others.
    counters[first] = counters[copies] - counters[first]
    each = _dealt_out(counters, got)
    for names, weight in (
        (("messages_received", "expired", "unreachable"), sent - lost),
        (("iwant_sent", "iwant_received", "iwant_unserved"), tally[:, ASKED_FOR]),
    ):
        if weight.any():
            columns = [_COLUMN[name] for name in names]
            each[:, columns] = _dealt_out(counters[columns], weight)
    each[:, _COLUMN["messages_sent"]], each[:, _COLUMN["copies_spared"]] = sent, tally[:, NOT_SENT]
    each[:, first] = each[:, copies] - each[:, first]
    each[:, _COLUMN["edge_events"]] += each[:, copies]
    each[:, _COLUMN["packets_lost"]] += lost
    each[:, _COLUMN["bytes_sent"]] += sent * (MESSAGE_BYTES + size)
    each[:, _COLUMN["published"]] = counters[_COLUMN["published"]] > 0
    return each, told * received // max(packets, 1)


def _dealt_out(totals: Int64Array, weight: Int64Array) -> Int64Array:
    """Whole numbers in proportion to n weights that add up to each of m totals: int64[n, m]; none without weight."""
    until = np.concatenate([[0], np.cumsum(weight)])
    shares = np.multiply.outer(until, totals) // max(int(until[-1]), 1)
    return np.asarray(np.diff(shares, axis=0), dtype=np.int64)


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
