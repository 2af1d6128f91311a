"""What became of messages on topics that are not exact: rows of the table, counters, a digest.

A message that an identity published has followed one of its field's representatives: its row is that one's, up to
the end of the run. A message of a hot host came in somewhere: its arrivals are drawn for every member.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.paths import PathTable
from bridge.simtime import NEVER
from cold.coarse_fields import CoarseFields
from cold.coarse_packets import CoarseMessage
from cold.contacts import arrivals
from cold.jit import uint64
from cold.mean_field import mesh_degree
from cold.propagation import PropagationField, summarise
from cold.propagation_kernels import LEVELS, choose_representatives
from cold.publications import PlannedMessages
from cold.results import EXACT, SPREAD_TYPE, SUB_BITS, TailResults
from cold.sampled_kernels import (
    DELIVERED,
    EXPIRED,
    ID_PACKET_BYTES,
    IWANT_RECEIVED,
    IWANT_SENT,
    IWANT_UNSERVED,
    LOST,
    MESSAGE_BYTES,
    RECEIVED,
    SENT,
)
from cold.section import GossipSection
from cold.topic_fields import typical_size

_CONTROL_BYTES: Final = 36
_ID_BYTES: Final = 8
_PERCENTILES: Final = (50, 95, 99)
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


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
    totals: npt.NDArray[np.int64]
    """int64[n, len(TOTAL_NAMES)]."""


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
    """

    def __init__(
        self, fields: CoarseFields, paths: PathTable, gossip: GossipSection, seed: int, topic_numbers: Sequence[int]
    ) -> None:
        self._fields, self._paths, self._gossip, self._seed = fields, paths, gossip, seed
        self._number = np.array(topic_numbers, dtype=np.int64)

    def follow(self, planned: PlannedMessages, end: int) -> Followed:
        """What the messages that identities published have come to before `end` [ns]."""
        published = planned.published
        count = len(planned.message_id)
        group = np.zeros(count, dtype=np.int64)
        for topic in np.unique(published.topic).tolist():
            rows = published.topic == topic
            group[rows] = self._fields.source_groups(topic, published.origin[rows])
        size = np.array([typical_size(one) for one in published.size.tolist()], dtype=np.int64)
        summary = np.empty((count, 4), dtype=np.int64)
        totals: list[npt.NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * count
        kinds, kind_of = np.unique(np.stack([published.topic, group, size]), axis=1, return_inverse=True)
        for number, (topic, source_group, payload) in enumerate(kinds.T.tolist()):
            rows = np.flatnonzero(kind_of.ravel() == number)
            field = self._fields.of(topic).field(source_group, payload)
            chosen = choose_representatives(
                uint64(self._seed), published.origin[rows], planned.message_id[rows], len(field.delay)
            )
            for row, representative in zip(rows.tolist(), chosen.tolist(), strict=True):
                elapsed = end - int(published.time[row])
                summary[row], totals[row] = _so_far(field, representative, elapsed)
        return Followed(
            planned.message_id,
            published.topic,
            published.origin,
            (planned.message_id >> np.uint64(32)).astype(np.uint32),
            published.size,
            published.time,
            summary,
            np.stack(totals) if count else np.zeros((0, LOST + 1), dtype=np.int64),
        )

    def follow_entered(self, messages: Sequence[CoarseMessage], end: int) -> Followed:
        """What the messages of hot hosts have come to before `end` [ns]."""
        summary, totals = [], []
        for message in messages:
            members = self._fields.members(message.topic)
            times, _ = arrivals(self._fields, message, members)
            for time, host, _ in message.entries:
                place = int(np.searchsorted(members, host))
                times[place] = min(int(times[place]), time)
            delays = times[times < min(end, NEVER)] - message.publish_time
            summary.append(summarise(delays))
            _, host, _ = message.entries[0]
            source_group = int(self._fields.source_groups(message.topic, np.array([host]))[0])
            topic = self._fields.of(message.topic)
            field = topic.field(source_group, message.size, relayed=True)
            number = topic.representative(host, source_group, message.message_id, message.size, relayed=True)
            row = field.totals[number]
            shared = _scaled(row, len(delays) / max(int(row[DELIVERED]), 1))
            shared[DELIVERED] = len(delays)
            totals.append(shared)
        count = len(messages)
        return Followed(
            np.array([message.message_id for message in messages], dtype=np.uint64),
            np.array([message.topic for message in messages], dtype=np.int64),
            np.array([message.origin for message in messages], dtype=np.int64),
            np.array([message.origin_address for message in messages], dtype=np.uint32),
            np.array([message.size for message in messages], dtype=np.int64),
            np.array([message.publish_time for message in messages], dtype=np.int64),
            np.stack(summary) if count else np.zeros((0, 4), dtype=np.int64),
            np.stack(totals) if count else np.zeros((0, LOST + 1), dtype=np.int64),
        )

    def table(self, parts: Iterable[Followed]) -> TailResults:
        """Rows of the message table. The histogram of a message has an entry for each quantile of the table."""
        joined: list[Any] = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
        whole = Followed(*joined)
        order = np.lexsort((whole.message_id, whole.publish_time))
        ordered: list[Any] = [column[order] for column in joined]
        whole = Followed(*ordered)
        spread = np.zeros(len(order), dtype=SPREAD_TYPE)
        delivered = whole.totals[:, DELIVERED]
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
        bucket = _buckets(np.maximum(whole.summary, 0))
        there = counts > 0
        start = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64)
        return TailResults(spread, start, bucket[there].astype(np.int32), counts[there], _digest(whole))

    def counters(self, parts: Iterable[Followed]) -> Counter[str]:
        """Totals of the messages' own traffic, but for IHAVE, which tells of several messages at once."""
        total: Counter[str] = Counter()
        for part in parts:
            sums = part.totals.sum(axis=0).tolist()
            total["published"] += len(part.message_id)
            total["forwards"] += sums[DELIVERED]
            total["messages_sent"] += sums[SENT]
            total["messages_received"] += sums[RECEIVED]
            total["duplicates"] += sums[RECEIVED] - sums[DELIVERED]
            total["expired"] += sums[EXPIRED]
            total["packets_lost"] += sums[LOST] + sums[IWANT_SENT] - sums[IWANT_RECEIVED]
            total["iwant_sent"] += sums[IWANT_SENT]
            total["iwant_received"] += sums[IWANT_RECEIVED]
            total["iwant_unserved"] += sums[IWANT_UNSERVED]
            total["edge_events"] += sums[RECEIVED] + sums[EXPIRED] + sums[IWANT_RECEIVED]
            total["bytes_sent"] += int((part.totals[:, SENT] * (MESSAGE_BYTES + part.size)).sum())
            total["bytes_sent"] += ID_PACKET_BYTES * sums[IWANT_SENT]
        return total

    def told(self, topic: int, parts: Iterable[Followed], end: int) -> Counter[str]:
        """Expected IHAVE traffic of all members of a topic.

        A member's heartbeat tells of what it validated in the last `mcache_gossip` intervals: with r the time of a
        message plus its median delay, members have something to tell in the union of the spans from r to r +
        `mcache_gossip` heartbeats.
        """
        hosts = len(self._fields.members(topic))
        known = self._fields.known_peers(topic)
        told = min(self._gossip.d_lazy, max(known - mesh_degree(self._gossip, hosts), 0))
        span = self._gossip.mcache_gossip * self._gossip.heartbeat
        begins = np.concatenate(
            [(part.publish_time + np.maximum(part.summary[:, 0], 0))[part.topic == topic] for part in parts]
        )
        begins = np.sort(begins[begins < end])
        covered = int(np.minimum(np.diff(begins, append=end), span).sum())
        ids = int(np.minimum(end - begins, span).sum())
        packets = hosts * told * covered // self._gossip.heartbeat
        listed = hosts * told * ids // self._gossip.heartbeat
        weight = np.bincount(self._fields.group_of(self._fields.members(topic))) / max(hosts, 1)
        node = self._fields.groups.node[: len(weight)]
        loss = float(weight @ self._paths.loss[np.ix_(node, node)] @ weight)
        lost = round(packets * loss)
        return Counter(
            {
                "ihave_sent": packets,
                "ihave_received": packets - lost,
                "packets_lost": lost,
                "edge_events": packets - lost,
                "bytes_sent": packets * _CONTROL_BYTES + listed * _ID_BYTES,
            }
        )


def _so_far(field: PropagationField, number: int, elapsed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Summary and totals of a message that follows a representative, after some time [ns]."""
    totals, levels = field.totals[number], field.overall[number]
    if elapsed > levels[-1] or not totals[DELIVERED]:
        return field.summary[number], totals
    share = float(np.interp(elapsed, levels, np.linspace(0, 1, LEVELS), left=0.0))
    so_far = _scaled(totals, share)
    if not so_far[DELIVERED]:
        return np.full(4, -1, dtype=np.int64), so_far
    at = np.array([percent / 100 for percent in (*_PERCENTILES, 100)]) * share
    return np.interp(at, np.linspace(0, 1, LEVELS), levels).astype(np.int64), so_far


def _scaled(totals: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.int64]:
    """A share of what a message costs; what is sent is still what is received, lost or too late."""
    part = (totals * min(share, 1.0)).astype(np.int64)
    part[RECEIVED] = max(part[RECEIVED], part[DELIVERED])
    part[SENT] = part[RECEIVED] + part[LOST] + part[EXPIRED]
    return part


def _buckets(delays: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`cold.message_kernels.delay_bucket` of many delays [ns]."""
    shift = np.maximum(np.frexp(delays.astype(np.float64))[1] - EXACT.bit_length() + 1, 0)
    return np.asarray((shift << SUB_BITS) + (delays >> shift), dtype=np.int64)


def _digest(whole: Followed) -> npt.NDArray[np.uint64]:
    """Sums of two hashes of what is known of each message, modulo 2**64."""
    columns = [whole.message_id, whole.topic, whole.publish_time, *whole.summary.T, *whole.totals.T]
    with np.errstate(over="ignore"):
        sums = []
        for turn in range(2):
            state = np.full(len(whole.message_id), turn, dtype=np.uint64)
            for column in columns:
                state = (state ^ column.astype(np.uint64)) * _GOLDEN
                state ^= state >> np.uint64(32)
            sums.append(state.sum(dtype=np.uint64))
    return np.array(sums, dtype=np.uint64)
