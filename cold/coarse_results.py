"""What became of messages on topics that are not exact: rows of the table, counters, a digest.

A message that an identity published has followed one of its field's representatives: its row is that one's, up to
the end of the run. A message of a hot host came in somewhere: its arrivals are drawn for every member.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bridge.paths import PathTable
from bridge.simtime import NEVER
from cold.changing_arrivals import ChangingArrivals, curves_of
from cold.coarse_fields import CoarseFields
from cold.coarse_packets import CoarseMessage
from cold.contacts import StandingSpread
from cold.jit import uint64
from cold.mean_field import mesh_degree
from cold.propagation import SUMMARY, PropagationField, all_put_off, put_off, summarise
from cold.propagation_kernels import LEVELS, choose_representatives
from cold.publications import PlannedMessages
from cold.representatives import (
    Outcome,
    Part,
    Representation,
    decode_outcomes,
    encode_outcome,
    put_off_outcome,
)
from cold.results import SPREAD_TYPE, TailResults, delay_buckets
from cold.sampled_kernels import (
    DELIVERED,
    EXPIRED,
    ID_PACKET_BYTES,
    LOST,
    MESSAGE_BYTES,
    RECEIVED,
    SENT,
    TELLS_RECEIVED,
    TELLS_SENT,
    TOTAL_NAMES,
)
from cold.section import GossipSection
from cold.shared_work import Task, share_out, tasks_of
from cold.state_kernels import BYTES_SENT, COUNTER_NAMES, MESSAGES_SENT, PUBLISHED
from cold.topic_fields import typical_size
from cold.ways_in import exposure, lacking

_CONTROL_BYTES: Final = 36
_ID_BYTES: Final = 8
_PERCENTILES: Final = (50, 95, 99)
#: Totals that are no counters of one message, or under another name.
_APART: Final = ("delivered", "ihave_sent", "ihave_received", "messages_lost")
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_Row: TypeAlias = tuple[npt.NDArray[np.int64], int, npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""The last four columns of `Followed`, of one message."""


class Followed(NamedTuple):
    """What messages have come to. n messages."""

    message_id: npt.NDArray[np.uint64]
    topic: npt.NDArray[np.int64]
    """int64[n]: index."""
    origin: npt.NDArray[np.int64]
    origin_address: npt.NDArray[np.uint32]
    size: npt.NDArray[np.int64]
    publish_time: npt.NDArray[np.int64]
    summary: npt.NDArray[np.int64]
    """int64[n, 4]: median, 95th and 99th percentile, maximum of the delay so far [ns]; -1 where nobody got it."""
    delivered: npt.NDArray[np.int64]
    """int64[n]: identities that have got it."""
    told: npt.NDArray[np.int64]
    """int64[n, 2]: IHAVE packets that tell of it, and those that are received. In a network that changes
    int64[n, 2 K + 1]: the packets by the K kinds of clients that send them, `Outcome.tellers`, and those received."""
    counters: npt.NDArray[np.int64]
    """int64[n, len(COUNTER_NAMES)]: what it cost so far, but for IHAVE."""

    def taken(self, rows: npt.NDArray[np.bool_]) -> Followed:
        """Return some of the messages."""
        columns: list[Any] = [column[rows] for column in self]
        return Followed(*columns)


class CoarseResults:
    """Works out results at the end of a run.

    Parameters
    ----------
    fields
        Of the coarse topics.
    paths
        Latency and loss from the places of identities.
    gossip
        The configuration's `cold.gossip`.
    seed
        Seed of the run.
    topic_numbers
        Of all topics, by index.
    rehearsals
        Of the topics whose network changes, by index.
    clients
        The gossip parameters of each kind of client; as `gossip` where the network does not change.
    """

    def __init__(
        self,
        fields: CoarseFields,
        paths: PathTable,
        gossip: GossipSection,
        seed: int,
        topic_numbers: Sequence[int],
        rehearsals: Mapping[int, Representation],
        clients: Sequence[GossipSection],
    ) -> None:
        self._rehearsals, self._spread = rehearsals, StandingSpread(fields)
        self._told: dict[tuple[Representation, Part], Outcome] = {}
        #: What `_parts_of` has found, with the messages, so that no others are at their place.
        self._parts: dict[tuple[int, Representation], tuple[PlannedMessages, npt.NDArray[np.intp], list[Part]]] = {}
        self._beats = [client.heartbeat for client in clients] if rehearsals else [gossip.heartbeat]
        self._told_columns = 2 * len(self._beats) + 1 if rehearsals else 2
        self._fields, self._paths, self._gossip, self._seed = fields, paths, gossip, seed
        self._number = np.array(topic_numbers, dtype=np.int64)

    def rehearse(self, planned: Sequence[PlannedMessages]) -> None:
        """Execute the representatives that messages follow in a network that changes, but for those told of."""
        for rehearsal, parts in self._followed_by(planned):
            rehearsal.play(part for part in parts if (rehearsal, part) not in self._told)

    def rehearse_part(self, planned: Sequence[PlannedMessages], number: int, shards: int) -> bytes:
        """Execute one shard's part of all representatives; return what others need to know of it.

        The first one works out what messages lose by meeting others besides, and has fewer representatives for that.
        """
        told = b""
        if number == 0:
            lost = self._fields.meetings.told()
            told = len(lost).to_bytes(8) + lost
        for task in self._shared_out(planned, shards)[number]:
            task.representation.play(task.parts)
            told += b"".join(encode_outcome(task.representation.outcome(part)) for part in task.parts)
        return told

    def learn(self, planned: Sequence[PlannedMessages], told: Sequence[bytes]) -> None:
        """Take what each shard has returned of its part of the representatives."""
        length = 8 + int.from_bytes(told[0][:8])
        self._fields.meetings.learn(told[0][8:length])
        for tasks, data in zip(self._shared_out(planned, len(told)), [told[0][length:], *told[1:]], strict=True):
            outcomes = decode_outcomes(data, len(self._beats))
            for task in tasks:
                for part in task.parts:
                    self._told[task.representation, part] = next(outcomes)

    def _shared_out(self, planned: Sequence[PlannedMessages], shards: int) -> list[list[Task]]:
        """What each shard executes."""
        tasks = [task for rehearsal, parts in self._followed_by(planned) for task in tasks_of(rehearsal, parts)]
        return share_out(tasks, shards, self._fields.meetings.cost())

    def _followed_by(self, planned: Sequence[PlannedMessages]) -> list[tuple[Representation, set[Part]]]:
        """What executes representatives, and those that messages follow."""
        return [
            (rehearsal, {part for messages in planned for part in self._parts_of(messages, rehearsal)[1]})
            for rehearsal in dict.fromkeys(self._rehearsals.values())
        ]

    def _parts_of(self, planned: PlannedMessages, rehearsal: Representation) -> tuple[npt.NDArray[np.intp], list[Part]]:
        """Which of these messages follow representatives of a topic, by their rows, and which ones these are."""
        key = id(planned), rehearsal
        if key not in self._parts:
            topics = [topic for topic, its in self._rehearsals.items() if its is rehearsal]
            ours = np.isin(planned.published.topic, topics)
            self._parts[key] = planned, np.flatnonzero(ours), rehearsal.schedule.parts_of(_of(planned, ours))
        return self._parts[key][1:]

    def follow(self, planned: PlannedMessages, end: int) -> Followed:
        """What the messages that identities published have come to before `end` [ns]."""
        if self._rehearsals:
            return self._follow_rehearsed(planned, end)
        published = planned.published
        count = len(planned.message_id)
        group = np.zeros(count, dtype=np.int64)
        for topic in np.unique(published.topic).tolist():
            rows = published.topic == topic
            group[rows] = self._fields.source_groups(topic, published.origin[rows])
        size = np.array([typical_size(one) for one in published.size.tolist()], dtype=np.int64)
        summary = np.empty((count, 4), dtype=np.int64)
        totals = np.empty((count, len(TOTAL_NAMES)), dtype=np.int64)
        kinds, kind_of = np.unique(np.stack([published.topic, group, size]), axis=1, return_inverse=True)
        later = self._fields.later(planned.message_id)
        for number, (topic, source_group, payload) in enumerate(kinds.T.tolist()):
            rows = np.flatnonzero(kind_of.ravel() == number)
            field = self._fields.of(topic).field(source_group, payload)
            chosen = choose_representatives(
                uint64(self._seed), published.origin[rows], planned.message_id[rows], len(field.delay)
            )
            summary[rows], totals[rows] = field.summary[chosen], field.totals[chosen]
            its_later = later[rows]
            got = field.totals[chosen, DELIVERED] > 0
            put_back = np.maximum.accumulate(summary[rows] + its_later[:, SUMMARY], axis=1)
            summary[rows] = np.where(got[:, None], put_back, summary[rows])
            elapsed = end - published.time[rows]
            under_way = np.flatnonzero((elapsed <= field.overall[chosen, -1] + its_later[:, -1]) & got)
            for row in under_way.tolist():
                summary[rows[row]], totals[rows[row]] = _so_far(
                    field, int(chosen[row]), int(elapsed[row]), summary[rows[row]], its_later[row]
                )
        columns: list[Any] = [*_described(planned), summary, *_costs(totals, published.size)]
        return Followed(*columns)

    def _follow_rehearsed(self, planned: PlannedMessages, end: int) -> Followed:
        """`follow` where the network changes, and so no topic has fields."""
        published = planned.published
        count = len(planned.message_id)
        summary = np.empty((count, 4), dtype=np.int64)
        told = np.zeros((count, self._told_columns), dtype=np.int64)
        counters = np.zeros((count, len(COUNTER_NAMES)), dtype=np.int64)
        delivered = np.zeros(count, dtype=np.int64)
        later = self._fields.later(planned.message_id)
        for rehearsal in dict.fromkeys(self._rehearsals.values()):
            rows, parts = self._parts_of(planned, rehearsal)
            followers: dict[Part, list[int]] = {}
            for row, part in zip(rows.tolist(), parts, strict=True):
                followers.setdefault(part, []).append(row)
            for part, its in followers.items():
                outcome = self._told.get((rehearsal, part)) or rehearsal.outcome(part)
                elapsed, share = end - published.time[its], np.ones(len(its))
                summary[its] = outcome.summary
                if outcome.delivered:
                    tables = outcome.summary, outcome.overall, later[its], outcome.receivers
                    summary[its] = all_put_off(*tables)
                under_way = elapsed <= outcome.overall[-1] + later[its].max(axis=1)
                for place in np.flatnonzero(under_way).tolist():
                    met = put_off_outcome(outcome, later[its[place]])
                    so_far = met.summary, met.overall, met.delivered, int(elapsed[place])
                    share[place], summary[its[place]] = _summary_so_far(*so_far)
                delivered[its] = (outcome.delivered * share).astype(np.int64)
                told[its] = _told(outcome)
                counters[its] = _counted(outcome, published.size[its], share)
        columns: list[Any] = [*_described(planned), summary, delivered, told, counters]
        return Followed(*columns)

    def follow_entered(
        self, messages: Sequence[CoarseMessage], end: int, changing: ChangingArrivals | None = None
    ) -> Followed:
        """What the messages of hot hosts have come to before `end` [ns]; `changing` is for networks that change."""
        if changing is None:
            followed = [self._follow_one_entered(message, end) for message in messages]
        else:
            followed = [self._follow_one_rehearsed(message, end, changing) for message in messages]
        count = len(messages)
        summary, delivered, told, counters = zip(*followed, strict=True) if followed else ((), (), (), ())
        return Followed(
            np.array([message.message_id for message in messages], dtype=np.uint64),
            np.array([message.topic for message in messages], dtype=np.int64),
            np.array([message.origin for message in messages], dtype=np.int64),
            np.array([message.origin_address for message in messages], dtype=np.uint32),
            np.array([message.size for message in messages], dtype=np.int64),
            np.array([message.publish_time for message in messages], dtype=np.int64),
            np.array(summary, dtype=np.int64).reshape(count, 4),
            np.array(delivered, dtype=np.int64),
            np.array(told, dtype=np.int64).reshape(count, self._told_columns),
            np.array(counters, dtype=np.int64).reshape(count, len(COUNTER_NAMES)),
        )

    def _follow_one_entered(self, message: CoarseMessage, end: int) -> _Row:
        members = self._fields.members(message.topic)
        times, _ = self._spread.arrivals(message, members)
        for time, host, _ in message.entries:
            place = int(np.searchsorted(members, host))
            times[place] = min(int(times[place]), time)
        delays = times[times < min(end, NEVER)] - message.publish_time
        _, host, _ = message.entries[0]
        source_group = int(self._fields.source_groups(message.topic, np.array([host]))[0])
        topic = self._fields.of(message.topic)
        field = topic.field(source_group, message.size, relayed=True)
        number = topic.representative(host, source_group, message.message_id, message.size, relayed=True)
        row = field.totals[number]
        shared = _scaled(row, len(delays) / max(int(row[DELIVERED]), 1))
        shared[DELIVERED] = len(delays)
        delivered, told, counters = _costs(shared[None], np.array([message.size], dtype=np.int64))
        return summarise(delays), int(delivered[0]), told[0], counters[0]

    def _follow_one_rehearsed(self, message: CoarseMessage, end: int, changing: ChangingArrivals) -> _Row:
        """What a message of a hot host has come to, by the representatives that it follows from each entry.

        To those that the best of them has come to, those are added that the ways together come to earlier: what they
        expose the identities of each type to that are there adds up, as for single ones.
        """
        ways = [
            (time, changing.entered(message, time, host))
            for time, host, _ in message.entries
            if time < end and changing.passes_on(time, host)
        ]
        # Who brought it in has it, whomever it tells.
        brought = sum(time < end for time, _, _ in message.entries)
        reachable = max((outcome.delivered for _, outcome in ways), default=0)
        counters = np.zeros(len(COUNTER_NAMES), dtype=np.int64)
        counters[PUBLISHED] = 1
        if not reachable:
            times = np.array([time for time, _, _ in message.entries if time < end], dtype=np.int64)
            untold = np.zeros(self._told_columns, dtype=np.int64)
            return summarise(times - message.publish_time), brought, untold, counters
        levels = np.linspace(0, 1, LEVELS)
        grid = np.unique(np.concatenate([time + outcome.overall for time, outcome in ways]))
        grid = np.append(grid[grid < end], min(end, int(grid[-1])))
        got = [np.interp(grid - time, outcome.overall, levels, left=0.0) * outcome.delivered for time, outcome in ways]
        best = int(np.argmax(np.sum(got, axis=1)))
        together, alone, there = self._of_those_there(message, ways, grid, best)
        share = np.clip((got[best] + (together - alone) * there) / reachable, 0.0, 1.0)
        share = np.maximum.accumulate(share)
        _, first = ways[0]
        delivered = min(max(round(reachable * float(share[-1])), brought), len(self._fields.members(message.topic)))
        at = np.array([percent / 100 for percent in (*_PERCENTILES, 100)]) * float(share[-1])
        summary = np.interp(at, share, grid).astype(np.int64) - message.publish_time
        part = delivered / first.delivered if first.delivered else 0.0
        counters = _counted(first, np.array([message.size]), np.array([part]))[0]
        return summary, delivered, _told(first), counters

    def _of_those_there(
        self, message: CoarseMessage, ways: Sequence[tuple[int, Outcome]], grid: npt.NDArray[np.int64], best: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
        """Share of the identities that were up that have a message at some times, by all ways and by one.

        Returns
        -------
        float64[n], float64[n], float
            The shares, and how many were up.
        """
        fields = self._fields.of(message.topic)
        shape = float(fields.groups.size @ fields.shapes(message.size) / fields.groups.size.sum())
        curves = [(time, curves_of(outcome)) for time, outcome in ways]
        counts = curves[best][1].there
        weight = counts / max(float(counts.sum()), 1.0)
        together, alone = np.zeros(len(grid)), np.zeros(len(grid))
        for which, share in enumerate(weight.tolist()):
            if not share:
                continue
            lacks = [
                np.interp(grid - time, each.present[which].time, each.present[which].share, left=1.0)
                for time, each in curves
            ]
            together += share * (1.0 - lacking(exposure(np.array(lacks), shape).sum(axis=0), shape))
            alone += share * (1.0 - lacks[best])
        return together, alone, float(counts.sum())

    def table(self, parts: Iterable[Followed]) -> TailResults:
        """Rows of the message table. The histogram of a message has an entry for each quantile of the table."""
        joined: list[Any] = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
        whole = Followed(*joined)
        order = np.lexsort((whole.message_id, whole.publish_time))
        ordered: list[Any] = [column[order] for column in joined]
        whole = Followed(*ordered)
        spread = np.zeros(len(order), dtype=SPREAD_TYPE)
        delivered = whole.delivered
        for name, column in (
            ("id", whole.message_id),
            ("origin", whole.origin),
            ("origin_address", whole.origin_address),
            ("topic", self._number[whole.topic]),
            ("size", whole.size),
            ("publish_time_ns", whole.publish_time),
            ("delivered", delivered),
            ("max_ns", whole.summary[:, 3]),
        ):
            spread[name] = column
        ranks = np.stack([(delivered * percent + 99) // 100 for percent in (*_PERCENTILES, 100)], axis=1)
        counts = np.diff(ranks, axis=1, prepend=0)
        bucket = delay_buckets(np.maximum(whole.summary, 0))
        there = counts > 0
        start = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64)
        return TailResults(spread, start, bucket[there].astype(np.int32), counts[there], _digest(whole))

    def counters(self, parts: Iterable[Followed]) -> Counter[str]:
        """Totals of the messages' own traffic, but for IHAVE, which tells of several messages at once."""
        total: Counter[str] = Counter()
        for part in parts:
            total.update(dict(zip(COUNTER_NAMES, part.counters.sum(axis=0).tolist(), strict=True)))
        return total

    def network_counters(self, end: int, *, with_lives: bool) -> Counter[str]:
        """What networks that change cost without messages, before `end` [ns]; who comes and goes, if asked for."""
        total: Counter[str] = Counter()
        lives: dict[str, int] = {}
        for rehearsal in self._rehearsals.values():
            own = rehearsal.own_counters(end)
            lives = {name: own.pop(name) for name in ("joins", "departures")}
            total.update(own)
        if with_lives:
            total.update(lives)
        return total

    def told(self, topic: int, parts: Iterable[Followed], end: int) -> Counter[str]:
        """Expected IHAVE traffic of all members of a topic.

        A member's heartbeat tells of what it validated in the last `mcache_gossip` intervals: with r the time of a
        message plus its median delay, members have something to tell in the union of the spans from r to r +
        `mcache_gossip` heartbeats of their own kind. Of messages that some get and others do not, those who have the
        one have the other, as far as they go.
        """
        hosts = len(self._fields.members(topic))
        begins, told = (
            np.concatenate([column[part.topic == topic] for part, column in columns])
            for columns in (
                [(part, part.publish_time + np.maximum(part.summary[:, 0], 0)) for part in parts],
                [(part, part.told) for part in parts],
            )
        )
        beats = self._gossip.mcache_gossip
        kinds = len(self._beats)
        spans = np.full((len(begins), kinds), beats, dtype=np.int64) * np.array(self._beats)
        if topic in self._rehearsals:
            everything = told.sum(axis=0)
            heard = int(everything[-1]) / max(int(everything[:kinds].sum()), 1)
            # Who comes later tells later: no more tell in a heartbeat than there are.
            in_a_beat = np.minimum(told[:, :kinds] // beats, told[:, kinds : 2 * kinds])
            spans = told[:, :kinds] * np.array(self._beats) // np.maximum(in_a_beat, 1)
        else:
            known = self._fields.known_peers(topic)
            packets_a_beat = hosts * min(self._gossip.d_lazy, max(known - mesh_degree(self._gossip, hosts), 0))
            in_a_beat = np.full((len(begins), 1), packets_a_beat, dtype=np.int64)
            weight = np.bincount(self._fields.group_of(self._fields.members(topic))) / max(hosts, 1)
            node = self._fields.groups.node[: len(weight)]
            heard = 1 - float(weight @ self._paths.loss[np.ix_(node, node)] @ weight)
        order = np.argsort(begins, kind="stable")
        order = order[begins[order] < end]
        packets = listed = 0
        for kind, beat in enumerate(self._beats):
            sent, ids = _told_by_one_kind(begins[order], spans[order, kind], in_a_beat[order, kind], end)
            packets += sent // beat
            listed += ids // beat
        lost = packets - round(packets * heard)
        return Counter(
            {
                "ihave_sent": packets,
                "ihave_received": packets - lost,
                "packets_lost": lost,
                "edge_events": packets - lost,
                "bytes_sent": packets * _CONTROL_BYTES + listed * _ID_BYTES,
            }
        )


def _told_by_one_kind(
    begins: npt.NDArray[np.int64], spans: npt.NDArray[np.int64], in_a_beat: npt.NDArray[np.int64], end: int
) -> tuple[int, int]:
    """IHAVE packets before a time, and the ids that they list, each times the heartbeat [ns].

    Parameters
    ----------
    begins
        int64[n]: from when on messages are told of, ascending [ns].
    spans
        int64[n]: for how long [ns].
    in_a_beat
        int64[n]: packets that tell of each in a heartbeat.
    end
        The time [ns].
    """
    packets = below = 0
    # At every time as many as tell of the message that most tell of: layer by layer.
    for level in np.unique(in_a_beat).tolist():
        ours = in_a_beat >= level
        ends = np.maximum.accumulate(np.minimum(begins + spans, end)[ours])
        before = np.concatenate([[0], ends[:-1]])[: len(ends)]
        packets += (level - below) * int(np.maximum(ends - np.maximum(begins[ours], before), 0).sum())
        below = level
    return packets, sum((np.minimum(end - begins, spans) * in_a_beat).tolist())


def _told(outcome: Outcome) -> npt.NDArray[np.int64]:
    """A row of `Followed.told`."""
    return np.concatenate([outcome.told, outcome.tellers, [outcome.heard]])


def _counted(outcome: Outcome, size: npt.NDArray[np.int64], share: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """What messages of some sizes cost that follow a representative, which has a typical one, where shares get them.

    Returns
    -------
    int64[n, len(COUNTER_NAMES)]
    """
    counters = np.tile(outcome.counters, (len(size), 1))
    longer = size - np.array([typical_size(one) for one in size.tolist()], dtype=np.int64)
    counters[:, BYTES_SENT] += counters[:, MESSAGES_SENT] * longer
    so_far: npt.NDArray[np.int64] = (counters * share[:, None]).astype(np.int64)
    so_far[:, PUBLISHED] = 1
    return so_far


def _of(planned: PlannedMessages, rows: npt.NDArray[np.bool_]) -> PlannedMessages:
    """Some of the messages."""
    return PlannedMessages(planned.message_id[rows], planned.published.taken(rows))


def _described(planned: PlannedMessages) -> tuple[Any, ...]:
    """The first columns of `Followed`."""
    published = planned.published
    address = (planned.message_id >> np.uint64(32)).astype(np.uint32)
    return planned.message_id, published.topic, published.origin, address, published.size, published.time


def _costs(rows: npt.NDArray[np.int64], size: npt.NDArray[np.int64]) -> tuple[Any, ...]:
    """The last columns of `Followed`, of messages with these totals, int64[n, totals], and sizes in bytes."""
    total = dict(zip(TOTAL_NAMES, rows.T, strict=True))
    delivered, received, asked = total["delivered"], total["messages_received"], total["iwant_sent"]
    answered, tells, told = total["iwant_received"], rows[:, TELLS_SENT], rows[:, TELLS_RECEIVED]
    counted = {
        "published": np.ones(len(rows), dtype=np.int64),
        "forwards": delivered,
        "duplicates": received - delivered,
        "packets_lost": total["messages_lost"] + asked - answered + tells - told,
        "edge_events": received + total["expired"] + answered + told,
        "bytes_sent": total["messages_sent"] * (MESSAGE_BYTES + size) + ID_PACKET_BYTES * (asked + tells),
    }
    counted |= {name: total[name] for name in TOTAL_NAMES if name not in _APART}
    counters = np.zeros((len(rows), len(COUNTER_NAMES)), dtype=np.int64)
    for place, name in enumerate(COUNTER_NAMES):
        if name in counted:
            counters[:, place] = counted[name]
    return delivered, np.stack([total["ihave_sent"], total["ihave_received"]], axis=1), counters


def _so_far(
    field: PropagationField,
    number: int,
    elapsed: int,
    summary: npt.NDArray[np.int64],
    later: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Summary and totals of a message that follows a representative, after some time [ns].

    `summary` is that of all of its receipts, and it comes so much later for meeting others (`cold.propagation.SHARES`).
    """
    totals, overall = field.totals[number], field.overall[number]
    share, summary = _summary_so_far(summary, put_off(overall, overall, later), int(totals[DELIVERED]), elapsed)
    return summary, _scaled(totals, share) if share < 1 else totals


def _summary_so_far(
    summary: npt.NDArray[np.int64], levels: npt.NDArray[np.int64], delivered: int, elapsed: int
) -> tuple[float, npt.NDArray[np.int64]]:
    """The share of those that get a message that have got it after some time [ns], and the summary of their delays."""
    if elapsed > levels[-1] or not delivered:
        return 1.0, summary
    share = float(np.interp(elapsed, levels, np.linspace(0, 1, LEVELS), left=0.0))
    if not int(delivered * share):
        return share, np.full(4, -1, dtype=np.int64)
    at = np.array([percent / 100 for percent in (*_PERCENTILES, 100)]) * share
    return share, np.interp(at, np.linspace(0, 1, LEVELS), levels).astype(np.int64)


def _scaled(totals: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.int64]:
    """A share of what a message costs; what is sent is still what is received, lost or too late."""
    part = (totals * min(share, 1.0)).astype(np.int64)
    part[RECEIVED] = max(part[RECEIVED], part[DELIVERED])
    part[SENT] = part[RECEIVED] + part[LOST] + part[EXPIRED]
    return part


def _digest(whole: Followed) -> npt.NDArray[np.uint64]:
    """Sums of two hashes of what is known of each message, modulo 2**64."""
    counted = (whole.delivered, *whole.told.T, *whole.counters.T)
    columns = [whole.message_id, whole.topic, whole.publish_time, *whole.summary.T, *counted]
    with np.errstate(over="ignore"):
        sums = []
        for turn in range(2):
            state = np.full(len(whole.message_id), turn, dtype=np.uint64)
            for column in columns:
                state = (state ^ column.astype(np.uint64)) * _GOLDEN
                state ^= state >> np.uint64(32)
            sums.append(state.sum(dtype=np.uint64))
    return np.array(sums, dtype=np.uint64)
