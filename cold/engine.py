"""The cold participant at exact resolution: every message on every edge of the overlay, by windows.

The engine owns the arrays, lets kernels run over them, and makes them longer when a kernel says that they are too
short.
"""

import copy
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch, EventKind
from bridge.errors import InternalError, UserError
from bridge.paths import PathTable
from bridge.simtime import NEVER
from cold.block_kernels import take_rows
from cold.boundary import Boundary
from cold.dialing import redial_phases
from cold.distributions import join_tables
from cold.disturbance_kernels import EXTRA_LATENCY
from cold.disturbances import Disturbances, disturbances_of
from cold.division import Division
from cold.event_kernels import insert, next_time
from cold.exchange import Arrival, Exchange
from cold.failure_section import DegradationFailure, PartitionFailure, SilenceFailure
from cold.fanout_kernels import FIRST_PEER
from cold.gossip_kernels import advance, backoffs_for, room_for
from cold.jit import uint64
from cold.lacker_kernels import count_all, follow_lives
from cold.lacker_layout import LACKER_BLOCK_SHIFT
from cold.life_layout import SHORTEST
from cold.link_kernels import members_of, peers_of
from cold.membership_kernels import fill_mesh_peers
from cold.memberships import Connections, connections_of, memberships
from cold.mesh_kernels import note_cuts, note_needs, part_from_those_away
from cold.message_kernels import list_subscribers
from cold.messages import MessageTable, aligned_zeros
from cold.misbehaviour import Silences, silences_of
from cold.overlay import NO_OVERLAY
from cold.overlay_kernels import add_nodes
from cold.population import client_kinds, heartbeat_phases, link_rates, ports
from cold.publications import MessagePlan, PlanOfSomeTopics
from cold.reference import by_reference
from cold.renewal import CONSTANT_ARRAYS, POOLS, add_chunks, renewed
from cold.request_kernels import opened_by
from cold.request_layout import LISTED_UNTIL
from cold.request_load import RequestLoad
from cold.request_results import request_results
from cold.requests import Asking, request_arrays, roles_of, with_room_for_meters
from cold.results import TailResults, message_table
from cold.row_lists import ROW_LISTS, first_rows, with_free_rows
from cold.scenario import Scenario
from cold.score_layout import RULES, SCORE_COLUMNS
from cold.section import GossipSection
from cold.sessions import Changes, Lives, comes_and_goes, detection_ms, habits_of
from cold.state_kernels import (
    ABSENT,
    ARRIVAL_SHIFT,
    AUXILIARY_SHIFT,
    BACKOFF_COUNT,
    CHUNK,
    CLIENT_COLUMNS,
    CLIENT_SHIFT,
    COUNTER_NAMES,
    CROSSING_SINCE,
    CURSORS,
    D_HIGH,
    D_LAZY,
    D_LOW,
    D_OUT,
    DEPART,
    DOWNLINK_RATE,
    FIRST_RANK,
    FIRST_ROW,
    FREE_COUNT,
    FREE_HEAD,
    HEARTBEAT_NS,
    IDONTWANT_SIZE,
    JOIN,
    KNOWN_SHIFT,
    LINK_COUNT,
    MESH_COUNT,
    MESSAGE,
    MESSAGE_FREE_COUNT,
    MOST_HOPS,
    MOST_HOSTS,
    MOST_ROWS,
    MOST_TALLIED,
    NEEDED,
    NEEDED_UNWANTED,
    NEXT,
    NODE,
    OUT_COUNT,
    OUT_IDS_COUNT,
    PAST_RANK,
    PEERS,
    PEERS_MASK,
    PEERS_SHIFT,
    PHASE,
    PHASE_SHIFT,
    PUBLISH,
    RANK,
    RECENT,
    RECORDS,
    SENDER_COLUMNS,
    SLOT_SHIFT,
    SOUGHT_UNTIL,
    SPREAD_UNTIL,
    UNWANTED_FREE_COUNT,
    UNWANTED_FREE_HEAD,
    UPLINK_RATE,
    VALIDATION_DELAY,
    D,
    Parameters,
    State,
)
from cold.transaction_results import transaction_results
from cold.transactions import Transactions, no_transactions
from cold.unwanted_kernels import free_entries

Scalar = TypeVar("Scalar", bound=np.generic)

_CHUNKS_AT_FIRST = 4096
_DUE_AT_FIRST = 4096
_OUT_AT_FIRST = 1024
_LINKS_AT_FIRST = 256
_UNWANTED_AT_FIRST = 256
_PHASES_PER_COLUMN = 4
#: The calendar's ring is as long as most packets travel: the largest latency and this much queueing [ns].
_RING_SLACK_NS = 500_000_000
_MOST_BUCKETS = 4096
#: A copy's time since the start of its step has room in so many bits.
_MOST_BUCKET_BITS = 28
_EVENT_ARRAYS = (
    "pool",
    "chunk_next",
    "message_pool",
    "message_chunk_next",
    "due",
    "spare",
    "pending",
    "out",
    "out_ids",
    "unwanted",
    "meter",
    *ROW_LISTS,
)


class ColdEngine:
    """A participant that stands for all identities of the cold populations.

    Parameters
    ----------
    scenario
        What the tail is.
    paths
        Latency and loss between the nodes in use.
    owned
        HostIds of the identities of this shard, which must be one at least; None stands for all identities. A shard
        without identities has no engine.
    cuts
        First HostIds of the ranges of all shards, ascending, then one past the last identity: int64[shards + 1].
        Needed where `owned` is not all; a shard without identities has an empty range.
    shard
        Position of `owned` in `cuts`.
    topics
        Indices of the topics that are gossiped, ascending; all by default.
    plan
        What is published on them; what the section says by default.
    connections
        What `connections_of` returns for this shard, if it has been called already. The engine takes it over,
        and changes it.
    tallies
        Whether `tally` has how many IHAVEs tell of each message; there are `MOST_TALLIED` at a time at most.
    """

    def __init__(
        self,
        scenario: Scenario,
        paths: PathTable,
        *,
        owned: range | None = None,
        cuts: npt.NDArray[np.int64] | None = None,
        shard: int = 0,
        topics: Sequence[int] | None = None,
        plan: MessagePlan | None = None,
        connections: Connections | None = None,
        tallies: bool = False,
    ) -> None:
        section, directory, seed, _ = scenario
        everybody = range(directory.hot_count, directory.total_count)
        owned = everybody if owned is None else owned
        cuts = np.array([everybody.start, everybody.stop], dtype=np.int64) if cuts is None else cuts.astype(np.int64)
        _check_cuts(everybody, owned, cuts, shard)
        if paths.min_latency_ns < 1:
            raise InternalError(f"the smallest latency is {paths.min_latency_ns} ns", where="cold engine")
        if len(owned) > MOST_ROWS or directory.total_count > MOST_HOSTS:
            raise UserError(
                f"exact gossip has at most {MOST_ROWS:,} identities on a shard, and {MOST_HOSTS:,} hosts in all",
                where="cold.populations",
            )
        gossip, clients = section.gossip, section.client_gossip
        shortest_beat, longest_beat = (pick(client.heartbeat for client in clients) for pick in (min, max))
        self._owned = owned
        self._identities = len(owned)
        self._topics = section.topic_numbers
        topics = range(len(self._topics)) if topics is None else topics
        self._plan: MessagePlan = PlanOfSomeTopics(scenario, topics) if plan is None else plan
        self._now = 0
        self._is_divided = len(owned) < len(everybody)
        self._fingerprint = 0

        bucket_shift, buckets = _calendar_shape(paths)
        shards = len(cuts) - 1
        disturbances = disturbances_of(section, paths.node_ids)
        silences = silences_of(section, directory, paths.node_ids, seed)
        silence_count = sum(isinstance(f, SilenceFailure) for f in section.failures)
        self._notices = disturbances.notices()
        self._first_cold = everybody.start
        self._lives: Lives | None = None
        phase_of_redial = np.empty(0, dtype=np.int32)
        if comes_and_goes(section):
            phase_of_redial = redial_phases(section, directory, seed)
            habits = habits_of(section, directory, paths.node_ids)
            self._lives = Lives(habits, seed, everybody.start, keeps_since=len(phase_of_redial) > 0)
            self._counted_revision = self._lives.revision
            self._detection_ms = detection_ms(section, directory)
            # Of a fork: `Lives.number` when it was made.
            self._number_at_fork = self._lives.number
        kinds = client_kinds(section, seed, everybody.start, len(everybody))
        most_lazy = max(client.d_lazy for client in clients)
        largest_mesh = max(client.d_high for client in clients)
        if connections is None:
            division = Division.of(cuts, shard, everybody.start, len(everybody))
            connections = connections_of(section, directory, seed, topics, division)
        overlay, transaction_overlay = connections.overlay, connections.transaction_overlay
        # What kernels look at only where something in the configuration makes them takes no memory without it.
        has_partial_topics = len(connections.partial) > 0
        says_unwanted = directory.hot_count > 0 or any(client.idontwant_size is not None for client in clients)
        dialled = overlay.dialled_bits() if any(client.d_out > 0 for client in clients) else np.zeros(1, np.uint8)
        row_start, neighbours = overlay.row_start, overlay.neighbours
        row_lengths = np.diff(row_start)
        first_member = RECENT + 2 * gossip.mcache_gossip
        members = memberships(connections, len(self._topics), cuts, owned, directory.hot_count, first_member)
        connections.overlay, connections.transaction_overlay = NO_OVERLAY, None
        del connections, overlay
        host_bits = max((directory.total_count - 1).bit_length(), 1)
        if host_bits + (len(paths.latency_ns) - 1).bit_length() > 32:
            host_bits = 32
        else:
            add_nodes(neighbours, directory.node.astype(np.uint16), host_bits)
        full_topics = members.full_topics
        self._messages = MessageTable(
            self._topics,
            gossip.seen_ttl,
            owned.start,
            directory.hot_count,
            full_topics,
            shard,
            members.members,
            np.diff(cuts) > 0,
        )
        self._boundary = Boundary(
            directory,
            ports(section, directory),
            self._topics,
            gossip.seen_ttl,
            longest_beat,
            full_topics,
            owned.start,
            len(section.requests),
        )
        requests, representatives = request_arrays(section, directory, kinds, seed)
        roles = roles_of(requests["role"], len(everybody))
        load = RequestLoad(section, directory, roles, representatives, seed, owned)
        parameters = Parameters(
            key_0=uint64(seed & 0xFFFFFFFF),
            key_1=uint64(seed >> 32),
            hot_count=directory.hot_count,
            shard=shard,
            first_id=owned.start,
            rows=len(owned),
            full_topics=full_topics,
            most_memberships=members.most,
            most_lazy=most_lazy,
            mcache_length=gossip.mcache_length,
            mcache_gossip=gossip.mcache_gossip,
            prune_backoff_ms=gossip.prune_backoff // 1_000_000,
            fanout_ttl_ns=gossip.fanout_ttl,
            flood_publish=int(gossip.flood_publish),
            scoring=int(gossip.score is not None),
            tallies=int(tallies),
            outbound=int(any(client.d_out > 0 for client in clients)),
            churn=int(self._lives is not None),
            redial_ms=section.overlay.redial // 1_000_000 if len(phase_of_redial) else 0,
            silences=silence_count,
            disturbances=sum(isinstance(f, PartitionFailure | DegradationFailure) for f in section.failures),
            load=int(load.is_there),
            lossy=int(bool((paths.loss > 0.0).any() or (disturbances.loss > 0.0).any())),
            bucket_shift=bucket_shift,
            bucket_mask=buckets - 1,
            lookahead_ns=paths.min_latency_ns,
            longest_validation_ns=max(client.validation_delay.bounds()[1] for client in clients),
            longest_latency_ns=_longest_latency_ns(paths, disturbances),
            longest_step_ns=min(paths.min_latency_ns, shortest_beat),
            largest_row=int(row_lengths.max()) + directory.hot_count,
            digit_bits=((self._identities - 1).bit_length() + 1) // 2,
            first_member=first_member,
            host_bits=host_bits,
            host_mask=(1 << host_bits) - 1,
        )
        self._host_mask = parameters.host_mask
        # What `mesh_of` and `peers_of` list.
        self._peers = np.zeros(parameters.largest_row + 1, dtype=np.int64)
        self._in_reach = np.zeros(len(self._peers), dtype=np.uint8)
        self._parameters = by_reference(parameters)
        self._bucket_shift, self._first_member, self._full_topics = bucket_shift, first_member, full_topics
        n = self._identities
        self._transactions: Transactions | None = None
        if section.transactions is not None:
            assert transaction_overlay is not None, "connections of execution clients are made where there are some"
            if section.transactions.fetch_timeout < parameters.longest_step_ns:
                raise UserError(
                    f"it must be {parameters.longest_step_ns} ns or more here", where="cold.transactions.fetch_timeout"
                )
            self._transactions = Transactions(scenario, owned, np.diff(cuts) > 0, shard, transaction_overlay)
        kinds = kinds[owned.start - everybody.start : owned.stop - everybody.start]
        heartbeat_ns = np.array([client.heartbeat for client in clients], dtype=np.int64)
        phase = heartbeat_phases(seed, owned.start, n, heartbeat_ns[kinds])
        identity_of_rank = np.lexsort((phase, kinds)).astype(np.int32)
        client, delays = _client_table(clients, kinds)
        rank_of_phase = _ranks_of_phases(client, phase[identity_of_rank])
        cursor = np.zeros(CURSORS, dtype=np.int64)
        cursor[FREE_HEAD] = 0
        cursor[FREE_COUNT] = _CHUNKS_AT_FIRST
        cursor[MESSAGE_FREE_COUNT] = _CHUNKS_AT_FIRST
        cursor[UNWANTED_FREE_COUNT] = _UNWANTED_AT_FIRST
        # Where nobody comes or is cut off, whoever lacks a message gets it soon, and it is not worth the memory.
        watched = len(everybody) - len(owned) if parameters.churn or parameters.disturbances else 0
        blocks = -(-len(everybody) >> LACKER_BLOCK_SHIFT)
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "node": directory.node.astype(np.uint16),
            "cuts": cuts,
            "latency": paths.latency_ns.astype(np.int64),
            "silence": silences.span,
            "silenced": silences.concerned if silence_count else np.zeros(1, dtype=np.uint64),
            "disturbance": disturbances.row,
            "disturbance_loss": disturbances.loss,
            "disturbed": disturbances.concerned,
            "loss": paths.loss.astype(np.float64),
            "validation_delay": delays,
            "client": client,
            "life_outlines": np.zeros(1, dtype=np.uint64) if self._lives is None else self._lives.outlines,
            "life_number": np.zeros(1, dtype=np.uint32) if self._lives is None else self._lives.number,
            "life_until": np.zeros(1, dtype=np.int64) if self._lives is None else self._lives.until,
            "life_since": np.zeros(1, dtype=np.int64) if self._lives is None else self._lives.since,
            "redial_phase": phase_of_redial,
            "asked_row": np.full(n if directory.hot_count else 1, -1, dtype=np.int32),
            "identity_of_rank": identity_of_rank,
            "rank_of_phase": rank_of_phase,
            "needed": np.zeros(n // 64 + 1, dtype=np.uint64),
            "needed_words": np.zeros(n // 4096 + 1, dtype=np.uint64),
            "neighbours": neighbours,
            "dialled": dialled,
            "topic_place": members.topic_place,
            "topic_of_place": members.topic_of_place,
            "subscribed": members.subscribed,
            "mesh": members.mesh,
            "told_of": np.zeros((len(members.mesh) if tallies else 0, gossip.mcache_gossip), dtype=np.uint32),
            "mesh_peer": np.zeros((n * full_topics, largest_mesh), dtype=np.uint32),
            "rank": members.rank,
            "rank_before": members.rank_before,
            "known_count": members.known_count,
            "known": members.known,
            "mesh_score": np.zeros(
                (len(members.mesh), largest_mesh, SCORE_COLUMNS) if gossip.score else (1, 1, SCORE_COLUMNS),
                dtype=np.int64,
            ),
            "score_rules": gossip.score.rules() if gossip.score else np.zeros(len(RULES), dtype=np.int64),
            "link_head": np.full(n if directory.hot_count else 1, -1, dtype=np.int32),
            "link": np.zeros((_LINKS_AT_FIRST, 4), dtype=np.int32),
            "backoff_head": np.full(n, -1, dtype=np.int32),
            "backoff": np.zeros((_LINKS_AT_FIRST, 4), dtype=np.int64),
            "fanout_head": np.full(n if has_partial_topics else 1, -1, dtype=np.int32),
            "fanout": first_rows("fanout", FIRST_PEER + max(client.d for client in clients), cursor),
            "unwanted_head": np.full(n if says_unwanted else 1, -1, dtype=np.int32),
            "unwanted": free_entries(0, _UNWANTED_AT_FIRST, -1),
            **self._messages.arrays(n, watched, len(self._topics), shards, blocks),
            "subscribers_up": np.zeros((len(self._topics), blocks), dtype=np.uint8),
            "counted": np.zeros(1 if self._lives is None else len(self._lives.outlines), dtype=np.uint64),
            "sender": aligned_zeros(n, SENDER_COLUMNS),
            "pool": aligned_zeros((_CHUNKS_AT_FIRST + 1) * CHUNK, 3),
            "chunk_next": np.arange(1, _CHUNKS_AT_FIRST + 1, dtype=np.int32),
            "bucket_head": np.full(buckets + shards, -1, dtype=np.int32),
            "bucket_tail": np.zeros(buckets + shards, dtype=np.int64),
            "message_pool": aligned_zeros((_CHUNKS_AT_FIRST + 1) * CHUNK, 2),
            "message_chunk_next": np.arange(1, _CHUNKS_AT_FIRST + 1, dtype=np.int32),
            "message_head": np.full(buckets + shards, -1, dtype=np.int32),
            "message_tail": np.zeros(buckets + shards, dtype=np.int64),
            "last_bundle": np.full(shards, -1, dtype=np.int64),
            "bucket_first": np.full(buckets + shards, NEVER, dtype=np.int64),
            "bucket_unwanted": np.zeros(buckets, dtype=np.int64),
            "due": np.zeros((_DUE_AT_FIRST, 3), dtype=np.int64),
            "spare": np.zeros((_DUE_AT_FIRST, 3), dtype=np.int64),
            "pending": np.zeros((2 * _DUE_AT_FIRST, 3), dtype=np.int64),
            "digits": np.zeros((2, (1 << parameters.digit_bits) + 1), dtype=np.int32),
            "scratch": np.zeros(
                max(
                    int(row_lengths.max()) + directory.hot_count + max(most_lazy, max(client.d for client in clients)),
                    0 if self._transactions is None else self._transactions.most_peers,
                ),
                dtype=np.uint32,
            ),
            "marks": np.zeros(int(row_lengths.max()) + directory.hot_count + 1, dtype=np.uint8),
            "out": np.zeros((_OUT_AT_FIRST, 6), dtype=np.int64),
            "out_ids": np.zeros(_OUT_AT_FIRST, dtype=np.uint64),
            **requests,
            **load.arrays(),
            **(no_transactions() if self._transactions is None else self._transactions.arrays()),
            "cursor": cursor,
            "counters": np.zeros(len(COUNTER_NAMES), dtype=np.int64),
        }
        identity, sender = arrays["identity"], arrays["sender"]
        identity[:, FIRST_ROW] = members.first_row
        identity[:, DOWNLINK_RATE] = link_rates(directory.downlink_bps[owned.start : owned.stop])
        sender[:, UPLINK_RATE] = link_rates(directory.uplink_bps[owned.start : owned.stop])
        sender[:, PHASE] = phase
        sender[:, NODE] = members.known_start << KNOWN_SHIFT | directory.node[owned.start : owned.stop]
        sender[:, PEERS] = row_start[:-1] << PEERS_SHIFT | row_lengths
        sender[identity_of_rank, RANK] = np.arange(n) | kinds[identity_of_rank].astype(np.int64) << CLIENT_SHIFT
        self._state = State(**arrays)  # type: ignore[arg-type]  # the names are those of the fields, the types too
        self._reference = by_reference(self._state, RECORDS)
        self._exchange = Exchange(
            *(cuts, shard, len(self._topics), directory.total_count),
            *(len(section.requests), self._transactions),
        )
        self._boundary.transactions = self._transactions
        if self._lives is not None:
            part_from_those_away(self._reference, self._parameters)
        fill_mesh_peers(self._reference, self._parameters)
        note_needs(self._reference, self._parameters)
        count_all(self._reference, self._parameters)
        self._asking: Asking | None = None
        if section.requests:
            if min(request.timeout for request in section.requests) < parameters.longest_step_ns:
                raise UserError(
                    f"a timeout must be {parameters.longest_step_ns} ns or more here", where="cold.requests"
                )
            own = roles[owned.start - everybody.start : owned.stop - everybody.start]
            self._asking = Asking(section, self._reference, own, representatives, seed, owned.start)
        load.fill(self._state, self._reference, self._parameters)
        self._representatives = representatives
        self._next = min(self._next_outside(), next_time(self._reference, self._parameters, 0))

    def next_event_time(self) -> int:
        """Time of the earliest event, or of the earliest heartbeat that has something to do [ns]; NEVER if none.

        While an IHAVE is under way of what somebody may lack, it is the end of the last window: which of them are
        events depends on the shards, and windows must not.
        """
        if self._state.cursor[SOUGHT_UNTIL] > self._now:
            return min(self._next, self._now)
        return self._next

    def run_until(self, window_end: int) -> EventBatch:
        """Execute the events before `window_end`; return the packets for hot hosts, and blocks for other shards."""
        if self._next >= window_end:
            self._list_requests(window_end)
            self._now = max(self._now, window_end)
            return EventBatch.empty()
        self._state.cursor[CROSSING_SINCE] = self._next
        self._state.cursor[SPREAD_UNTIL] = self._next
        while self._next < window_end:
            limit = self._admit_notices(self._admit_requests(self._admit_changes(window_end)))
            limit = self._admit_transactions(limit)
            # Up to the next publication, which may have to wait for a slot of a message that is over.
            step_end = (self._next | ((1 << self._bucket_shift) - 1)) + 1
            self._admit_publications(min(limit, step_end))
            self._advance(min(limit, max(step_end, self._plan.next_time())))
        self._list_requests(window_end)
        self._now = window_end
        batch = self._boundary.encode(self._messages, self._state, window_end)
        self._state.cursor[OUT_COUNT] = 0
        self._state.cursor[OUT_IDS_COUNT] = 0
        if len(batch):
            self._fingerprint += batch.fingerprint()
        if not self._is_divided:
            return batch
        blocks = self._exchange.encode(self._messages, self._state, self._reference, self._parameters, window_end)
        return EventBatch.concatenate([batch, blocks])

    def deliver(self, batch: EventBatch) -> None:
        """Take packets that hot hosts sent to identities, and blocks of other shards."""
        is_block = (batch.kind == EventKind.TAIL) | (batch.kind == EventKind.NEWS)
        packets = blocks = batch
        if is_block.any() and not is_block.all():
            packets, blocks = batch.select(~is_block), batch.select(is_block)
        if not is_block.all():
            state, records = self._boundary.decode(packets, self._messages, self._state, self._now)
            self._replace_state(state)
            self._insert(records)
            if self._asking is not None:
                for asked in self._asking.meet(self._state, self._reference, records):
                    self._insert(asked)
                self._next = min(self._next, self._asking.next_time(self._state))
        if is_block.any():
            state, arrivals = self._exchange.decode(blocks, self._messages, self._state, self._now)
            self._replace_state(state)
            for arrival in arrivals:
                self._take(arrival)

    def _take(self, arrival: Arrival) -> None:
        """Put the rows of a block of another shard into the calendar."""
        block = arrival.block
        # At worst, events are copies too.
        self._ensure_chunks_for(block.words + block.events)
        first, dropped = take_rows(
            *(self._reference, self._parameters, block.rows, block.words, block.events),
            *(block.start, arrival.first_source, arrival.slots),
        )
        self._exchange.note_dropped(dropped)
        self._next = min(self._next, first)

    def close(self) -> None:
        """Nothing to release but memory."""

    def is_up(self, time: int) -> npt.NDArray[np.bool_]:
        """Whether each identity of the tail is up at a time at which `run_until` has stopped: bool[A]."""
        if self._lives is None:
            return np.ones(int(self._state.cuts[-1] - self._state.cuts[0]), dtype=np.bool_)
        return self._lives.is_up(time)

    def are_silent(self, hosts: npt.NDArray[np.integer], time: int) -> npt.NDArray[np.bool_]:
        """Whether identities of the tail, by HostId, tell nobody of the messages of others at a time [ns]: bool[n]."""
        silences = Silences(self._state.silence, self._state.silenced)
        now = silences.at(time)
        silent: npt.NDArray[np.bool_] = np.zeros(len(hosts), dtype=np.bool_)
        if now:
            silent = silences.concerned[hosts - self._first_cold] & now != 0
        return silent

    def fork(self, plan: MessagePlan) -> "ColdEngine":
        """Return an engine that goes on from here by itself, with other publications.

        Parameters
        ----------
        plan
            What it publishes, from now on.
        """
        self._check_can_fork()
        other = copy.copy(self)
        other._plan = plan
        other._notices = list(self._notices)
        other._messages = copy.deepcopy(self._messages)
        other._asking = None if self._asking is None else self._asking.copied()
        arrays = {
            name: array if name in CONSTANT_ARRAYS else array.copy() for name, array in self._state._asdict().items()
        }
        # There is no message yet: rows that nobody has touched take no memory.
        arrays["arrival"] = np.zeros_like(self._state.arrival)
        if self._lives is not None:
            other._lives = self._lives.copied()
            other._number_at_fork = self._lives.number.copy()
            arrays["life_number"], arrays["life_until"] = other._lives.number, other._lives.until
            arrays["life_since"], arrays["life_outlines"] = other._lives.since, other._lives.outlines
        other._replace_state(State(**arrays))
        other._next = min(self._next, plan.next_time())
        return other

    def renew(self, source: "ColdEngine", plan: MessagePlan, touched: npt.NDArray[np.int64] | None = None) -> None:
        """Become what `fork` returns of an engine, of which this is a fork already, without copying all of it.

        Parameters
        ----------
        source
            The engine.
        plan
            As for `fork`.
        touched
            Of the identities that have not come or gone since the fork, all for which this engine or `source` may have
            executed an event: int64[n]. None if that is not known.
        """
        source._check_can_fork()
        changed = np.empty(0, dtype=np.int64)
        if self._lives is not None:
            assert source._lives is not None, "forks are of the same network"
            then, now = self._number_at_fork, source._lives.number
            changed = np.flatnonzero((self._lives.number != then) | (now != then))
            self._lives.become(source._lives, changed)
            then[changed] = now[changed]
            self._counted_revision = source._counted_revision
        rows = None if touched is None else np.concatenate([touched, changed])
        if rows is not None and len(rows) * 4 > self._identities:
            rows = None
        self._plan = plan
        self._notices = list(source._notices)
        self._messages = copy.deepcopy(source._messages)
        self._asking = None if source._asking is None else source._asking.copied()
        self._replace_state(renewed(self._state, source._state, rows))
        self._now, self._fingerprint = source._now, source._fingerprint
        self._next = min(source._next, plan.next_time())

    def _check_can_fork(self) -> None:
        if self._is_divided or self._plan.next_time() != NEVER or self._messages.count():
            raise InternalError("only a whole tail without messages can be copied", where="cold engine")

    def events_executed(self) -> int:
        """Packets that identities received, and heartbeats and publications that they executed."""
        counters = self.counters()
        return counters["edge_events"] + counters["heartbeats"] + counters["published"] + counters["forwards"]

    def event_fingerprint(self) -> int:
        """Sum of the fingerprints of all packets for hot hosts, modulo 2**64: blocks depend on the partition."""
        return self._fingerprint & (2**64 - 1)

    def counters(self) -> dict[str, int]:
        """Totals since the start, by the names in `cold.state_kernels.COUNTER_NAMES`."""
        return {name: int(value) for name, value in zip(COUNTER_NAMES, self._state.counters.tolist(), strict=True)}

    def tally(self, message_id: int) -> npt.NDArray[np.int64]:
        """What identities of this shard have done with a message that is not over: int64[TALLIED]."""
        slot = self._messages.slot_of[message_id]
        if slot >= MOST_TALLIED:
            raise InternalError(f"messages are tallied in {MOST_TALLIED} slots at most", where="cold engine")
        tally: npt.NDArray[np.int64] = self._state.tally[slot].copy()
        return tally

    def partial_results(self) -> TailResults:
        """What became of each message at the identities of this shard; `cold.results.merge` puts shards together."""
        results = request_results(self._messages.results(self._state), self._state, self._representatives, self._owned)
        if self._transactions is None:
            return results
        return transaction_results(results, self._state, self._transactions)

    def message_table(self) -> npt.NDArray[np.void]:
        """How far each message has spread on this shard: one row per message, see `cold.results.TABLE_TYPE`."""
        return message_table(self.partial_results())

    def arrival_digest(self) -> bytes:
        """Sums of two hashes of every first arrival at an identity of this shard: 16 bytes, see ``docs/models.md``."""
        return self.partial_results().digest.astype(">u8").tobytes()

    def mesh_degrees(self) -> npt.NDArray[np.uint8]:
        """Size of each identity's mesh, hot members included: uint8[topics, identities]; 0 where it has none."""
        degrees = np.zeros((len(self._topics), self._identities), dtype=np.uint8)
        for topic in range(len(self._topics)):
            identity, row = self._rows(topic)
            degrees[topic, identity] = self._state.mesh[row, MESH_COUNT]
        return degrees

    def meshes(self, topic: int = 0) -> list[list[int]]:
        """HostIds in each identity's mesh of a topic's index, in the order in which they joined it."""
        identity, peer = self.mesh_members(topic)
        ends = np.cumsum(np.bincount(identity, minlength=self._identities))
        return [members.tolist() for members in np.split(peer, ends[:-1])]

    def mesh_members(self, topic: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Members of all meshes of a topic's index, mesh by mesh: index of whose it is, and HostId: int64[n] both."""
        identity, row = self._rows(topic)
        count = self._state.mesh[row, MESH_COUNT].astype(np.int64)
        places = self._state.mesh[row, self._first_member :].astype(np.int64)
        place = places[np.arange(places.shape[1]) < count[:, None]]
        whose = np.repeat(identity, count)
        peers = self._state.sender[whose, PEERS]
        first, neighbours = peers >> PEERS_SHIFT, peers & PEERS_MASK
        known = self._state.neighbours[np.where(place < neighbours, first + place, 0)] & np.uint32(self._host_mask)
        return whose, np.where(place < neighbours, known.astype(np.int64), place - neighbours)

    def _rows(self, topic: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Identities of this shard that subscribe to a topic, and the rows of their memberships: int64[n] both."""
        place, first = int(self._state.topic_place[topic]), self._state.identity[:, FIRST_ROW]
        number = place - self._full_topics
        if place < 0:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        if number < 0:
            return np.arange(self._identities), first + place
        begin = self._owned.start - self._first_cold
        own = self._state.subscribed[begin : begin + self._identities]
        word, bit = number >> 6, 1 << (number & 63)
        identity = list_subscribers(own, 0, self._identities, number).astype(np.int64)
        before = np.bitwise_count(own[identity, :word]).sum(axis=1, dtype=np.int64)
        before += np.bitwise_count(own[identity, word] & np.uint64(bit - 1))
        return identity, first[identity] + self._full_topics + before

    def mesh_of(self, host: int, topic: int) -> list[int]:
        """HostIds in the mesh of an identity of this shard that subscribes to a topic's index, as they joined it."""
        count = members_of(self._reference, self._parameters, host - self._owned.start, topic, self._peers)
        members: list[int] = self._peers[:count].tolist()
        return members

    def peers_of(self, host: int, topic: int, time: int) -> list[tuple[int, bool]]:
        """HostIds of the peers that an identity knows on a topic, as `mesh_of`, and who of them can be reached.

        Cold ones come first, then hot ones; `time` is one at which `run_until` has stopped [ns].
        """
        identity = host - self._owned.start
        count = peers_of(self._reference, self._parameters, time, identity, topic, self._peers, self._in_reach)
        return list(zip(self._peers[:count].tolist(), (self._in_reach[:count] != 0).tolist(), strict=True))

    def bring(self, message_id: int, topic: int, time: int, host: int, size: int) -> None:
        """Let a copy of a message that nobody of the tail publishes come to an identity of this shard.

        Parameters
        ----------
        message_id
            Its id.
        topic
            Index of the topic.
        time
            When the copy arrives, which is also taken for the time of the publication [ns].
        host
            HostId of the identity.
        size
            Bytes of the payload.
        """
        state, slot = self._messages.reserve(self._state, message_id, topic, self._now, time)
        self._replace_state(state)
        self._replace_state(self._messages.describe(self._state, slot, topic, time, -1, message_id >> 32, size))
        # The first hot host has sent it: it matters to nobody which.
        self._insert(np.array([[time, host << 32, slot << SLOT_SHIFT | MESSAGE]], dtype=np.int64))

    def receipts(self, message_id: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """When the identities of this shard that subscribe got a message that is not over.

        Returns
        -------
        int64[n], int64[n], int64[n]
            HostIds, ascending; times [ns], NEVER where it has not come; hops.
        """
        slot = self._messages.slot_of[message_id]
        identity, _ = self._rows(int(self._state.message_topic[slot]))
        start = int(self._state.arrival_start[slot])
        arrival = self._state.arrival[start : start + len(identity)]
        time = np.where(arrival >= ABSENT, NEVER, arrival >> ARRIVAL_SHIFT)
        return identity + self._owned.start, time, np.where(arrival >= ABSENT, 0, arrival & MOST_HOPS)

    def changes_until(self, end: int) -> Changes:
        """Who comes and goes from the time on at which `run_until` has stopped [ns]; indices of all identities."""
        if self._lives is None:
            return Changes.none()
        lives = self._lives.copied()
        lives.take(self._now + 1)
        lives.advance(self._now)
        return lives.take(end)

    @property
    def boundary(self) -> Boundary:
        """Where hot hosts are."""
        return self._boundary

    def has_news(self) -> bool:
        """Whether a heartbeat of any identity has still to tell of a message."""
        return bool(self._state.mesh[:, RECENT : self._first_member].any())

    def statistics(self) -> dict[str, object]:
        """Counters, sizes, and memory.

        ``bytes_per_identity`` is of what exists once per identity, with the arrivals of as many messages as were alive
        at once so far; ``event_bytes`` is what events in flight took at their most.
        """
        state = self._state
        event_bytes = sum(getattr(state, name).nbytes for name in _EVENT_ARRAYS)
        unused = (len(state.arrival) - self._messages.arrivals_used) * 8
        identity_bytes = sum(array.nbytes for array in state) - event_bytes - unused
        if self._asking is not None:
            identity_bytes += self._asking.bytes_taken()
        return {
            "identities": self._identities,
            "counters": self.counters(),
            "boundary": {
                "packets_from_hot": self._boundary.received,
                "packets_to_hot": self._boundary.sent,
                "dropped": dict(sorted((self._boundary.dropped + self._exchange.dropped).items())),
            },
            "messages": self._messages.count(),
            "bytes_per_identity": round(identity_bytes / self._identities, 1),
            "event_bytes": event_bytes,
        }

    def _next_outside(self) -> int:
        """Time of the next publication, change of an identity or notice that no record stands for yet [ns]."""
        change = NEVER if self._lives is None else self._lives.next_time()
        asked = NEVER if self._asking is None else self._asking.next_time(self._state)
        submitted = NEVER if self._transactions is None else self._transactions.next_time()
        noticed = self._notices[0] if self._notices else NEVER
        return min(self._plan.next_time(), change, asked, submitted, noticed)

    def _admit_notices(self, end: int) -> int:
        """Let peers notice partitions; returns the next time when they do, at most `end`."""
        while self._notices and self._notices[0] <= self._next:
            note_cuts(self._reference, self._parameters, self._notices.pop(0))
        return min(end, self._notices[0]) if self._notices else end

    def _admit_publications(self, end: int) -> None:
        if self._plan.next_time() >= end:
            return
        planned = self._plan.take(end)
        records = []
        for message_id, time, topic, origin, size in zip(
            planned.message_id.tolist(), *(column.tolist() for column in planned.published), strict=True
        ):
            state, slot = self._messages.reserve(self._state, message_id, topic, self._now, time)
            self._replace_state(state)
            self._replace_state(self._messages.describe(self._state, slot, topic, time, origin, message_id >> 32, size))
            if origin in self._owned:
                records.append((time, origin << 32 | origin, slot << SLOT_SHIFT | PUBLISH))
        self._insert(np.array(records, dtype=np.int64).reshape(-1, 3))

    def _admit_changes(self, end: int) -> int:
        """Let the lives of identities go on to the next event; returns until when they are known, at most `end`."""
        if self._lives is None:
            return end
        end = min(end, self._next + SHORTEST)
        changes = self._lives.take(end)
        self._lives.advance(self._next)
        if self._lives.revision != self._counted_revision:
            self._counted_revision = self._lives.revision
            follow_lives(self._reference, self._parameters)
        if not len(changes.time):
            return end
        host = changes.identity + self._first_cold
        own = (host >= self._owned.start) & (host < self._owned.stop)
        if not own.any():
            return end
        host, is_up = host[own], changes.is_up[own]
        told = np.where(changes.is_silent[own], 1 + self._detection_ms[changes.identity[own]], 0)
        kind = np.where(is_up, JOIN, DEPART | told << AUXILIARY_SHIFT)
        self._insert(np.stack([changes.time[own], host << 32 | host, kind], axis=1))
        return end

    def _admit_requests(self, end: int) -> int:
        """Make events of the requests that identities begin soon; returns until when all are, at most `end`."""
        if self._asking is None:
            return end
        for records in self._asking.take(self._state, self._reference, self._next):
            self._insert(records)
        return min(end, int(self._state.request_cursor[LISTED_UNTIL]))

    def _list_requests(self, end: int) -> None:
        """List requests, and deadlines, also where nothing was executed before `end` that made it necessary.

        Others may have executed something, and windows must not depend on who did.
        """
        if self._asking is None or self._state.request_cursor[LISTED_UNTIL] >= end:
            return
        for records in self._asking.take(self._state, self._reference, end - 1):
            self._insert(records)
        self._next = min(self._next_outside(), next_time(self._reference, self._parameters, end))

    def _admit_transactions(self, end: int) -> int:
        """Begin the transactions that are submitted soon; returns until when all are begun, at most `end`."""
        if self._transactions is None:
            return end
        records, known_until = self._transactions.take(self._reference, self._next)
        self._insert(records)
        return min(end, known_until)

    def _insert(self, records: npt.NDArray[np.int64]) -> None:
        if not len(records):
            return
        self._ensure_chunks_for(len(records))
        insert(self._reference, self._parameters, records)
        self._next = min(self._next, int(records[:, 0].min()))

    def _advance(self, stop: int) -> None:
        """Execute the events before `stop`, but for those that publications from then on will bring."""
        start = self._next
        while lack := advance(self._reference, self._parameters, start, stop):
            start = int(self._state.cursor[NEXT])
            if lack > 0:
                self._make_room(lack)
            else:
                self._ensure_chunks(1)
                self._ensure_due(int(self._state.cursor[NEEDED]))
                self._ensure_unwanted(int(self._state.cursor[NEEDED_UNWANTED]))
        self._now = stop
        self._next = min(self._next_outside(), int(self._state.cursor[NEXT]))

    def _ensure_chunks_for(self, records: int) -> None:
        """Have room for so many records in each pool: at worst every bucket has one more than fills its chunks."""
        self._ensure_chunks(min(records, records // CHUNK + len(self._state.bucket_head)))

    def _ensure_chunks(self, count: int) -> None:
        """Have `count` free chunks in each pool."""
        for each in POOLS:
            state = self._state
            lacking = count - int(state.cursor[each.free])
            if lacking <= 0:
                continue
            pool, chunk_next = getattr(state, each.pool), getattr(state, each.chunk_next)
            chunks = len(chunk_next)
            more = max(chunks, lacking)
            # One chunk more than there are: what is looked at ahead of its turn may lie behind the last.
            longer = aligned_zeros((chunks + more + 1) * CHUNK, pool.shape[1])
            longer[: len(pool)] = pool
            following = np.concatenate([chunk_next, np.empty(more, dtype=np.int32)])
            add_chunks(following, chunks, state.cursor, each)
            self._replace_state(state._replace(**{each.pool: longer, each.chunk_next: following}))

    def _ensure_due(self, count: int) -> None:
        if count <= len(self._state.due):
            return
        capacity = max(2 * len(self._state.due), count)
        self._replace_state(
            self._state._replace(
                due=np.zeros((capacity, 3), dtype=np.int64),
                spare=np.zeros((capacity, 3), dtype=np.int64),
                pending=np.zeros((2 * capacity, 3), dtype=np.int64),
            )
        )

    def _ensure_unwanted(self, count: int) -> None:
        """Have `count` free entries of `unwanted`."""
        state = self._state
        lacking = count - int(state.cursor[UNWANTED_FREE_COUNT])
        if lacking <= 0:
            return
        entries = len(state.unwanted)
        more = max(entries, lacking)
        longer = np.concatenate([state.unwanted, free_entries(entries, more, int(state.cursor[UNWANTED_FREE_HEAD]))])
        state.cursor[UNWANTED_FREE_HEAD] = entries
        state.cursor[UNWANTED_FREE_COUNT] += more
        self._replace_state(state._replace(unwanted=longer))

    def _make_room(self, events: int) -> None:
        """Lengthen what `has_room` measures, for the most that `events` of one identity can cause."""
        state, parameters = self._state, self._parameters
        records, chunks, ids = room_for(self._reference, parameters, events)
        if self._asking is not None:
            opened = opened_by(self._reference, parameters, events)
            self._replace_state(with_room_for_meters(with_free_rows(self._state, "open", opened), events))
        self._replace_state(with_free_rows(self._state, "fanout", events))
        self._ensure_chunks(chunks)
        state = self._state
        self._replace_state(
            state._replace(
                out=_with_room(state.out, int(state.cursor[OUT_COUNT]), records),
                out_ids=_with_room(state.out_ids, int(state.cursor[OUT_IDS_COUNT]), ids),
                link=_with_room(state.link, int(state.cursor[LINK_COUNT]), events),
                backoff=_with_room(state.backoff, int(state.cursor[BACKOFF_COUNT]), backoffs_for(parameters, events)),
            )
        )

    def _replace_state(self, state: State) -> None:
        if state is not self._state:
            self._state = state
            self._reference = by_reference(state, RECORDS)


def _with_room(array: npt.NDArray[Scalar], used: int, more: int) -> npt.NDArray[Scalar]:
    """The array itself if `more` rows are free behind those in `used`, else a copy at least twice as long."""
    if used + more <= len(array):
        return array
    longer = np.zeros((max(2 * len(array), used + more), *array.shape[1:]), dtype=array.dtype)
    longer[:used] = array[:used]
    return longer


def _check_cuts(everybody: range, owned: range, cuts: npt.NDArray[np.int64], shard: int) -> None:
    whole = cuts.ndim == 1 and len(cuts) > 1 and cuts[0] == everybody.start and cuts[-1] == everybody.stop
    if not whole or bool(np.any(np.diff(cuts) < 0)) or not 0 <= shard < len(cuts) - 1:
        raise InternalError(
            f"cuts {cuts.tolist()} and shard {shard}: cuts must ascend from {everybody.start} to {everybody.stop}",
            where="cold engine",
        )
    if not owned or owned != range(int(cuts[shard]), int(cuts[shard + 1])):
        raise InternalError(
            f"{owned} of shard {shard} must be the range from {cuts[shard]} to {cuts[shard + 1]}, and not empty",
            where="cold engine",
        )


def _client_table(
    clients: list[GossipSection], kinds: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """`State.client` and `State.validation_delay` for identities of these kinds."""
    delays, first = join_tables([client.validation_delay.table() for client in clients])
    table = np.zeros((len(clients), CLIENT_COLUMNS), dtype=np.int64)
    past = np.cumsum(np.bincount(kinds, minlength=len(clients)))
    for column, values in (
        (D, [client.d for client in clients]),
        (D_LOW, [client.d_low for client in clients]),
        (D_HIGH, [client.d_high for client in clients]),
        (D_LAZY, [client.d_lazy for client in clients]),
        (HEARTBEAT_NS, [client.heartbeat for client in clients]),
        (D_OUT, [client.d_out for client in clients]),
        (IDONTWANT_SIZE, [NEVER if client.idontwant_size is None else client.idontwant_size for client in clients]),
        (VALIDATION_DELAY, first),
        (FIRST_RANK, np.concatenate([[0], past[:-1]])),
        (PAST_RANK, past),
    ):
        table[:, column] = values
    return table, delays


def _ranks_of_phases(client: npt.NDArray[np.int64], phase: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """`State.rank_of_phase` for phases by rank; sets PHASE_SHIFT, so that a column is for a few identities."""
    spans = [slice(*span) for span in client[:, [FIRST_RANK, PAST_RANK]].tolist()]
    for row, span in zip(client, spans, strict=True):
        columns = max((span.stop - span.start) // _PHASES_PER_COLUMN, 1)
        row[PHASE_SHIFT] = (int(row[HEARTBEAT_NS]) // columns).bit_length()
    columns = int((client[:, HEARTBEAT_NS] >> client[:, PHASE_SHIFT]).max()) + 2
    table = np.empty((len(client), columns), dtype=np.int32)
    for its, row, span in zip(table, client, spans, strict=True):
        its[:] = span.start + np.searchsorted(phase[span], np.arange(columns) << row[PHASE_SHIFT])
    return table


def _longest_latency_ns(paths: PathTable, disturbances: Disturbances) -> int:
    """Return a bound of how long packets travel: on the longest path of all, with what disturbances may add to it."""
    return int(paths.latency_ns[paths.loss < 1.0].max(initial=0)) + int(disturbances.row[:, EXTRA_LATENCY].sum())


def _calendar_shape(paths: PathTable) -> tuple[int, int]:
    """Shift of the time that gives a bucket, and the number of buckets, a power of two.

    The length of a bucket is part of the model of downlinks, so it depends on the network's latencies alone.
    """
    reachable = paths.latency_ns[paths.loss < 1.0]
    horizon = int(reachable.max(initial=paths.min_latency_ns)) + _RING_SLACK_NS
    finest = paths.min_latency_ns.bit_length() - 1
    bucket_shift = max(finest, (horizon // _MOST_BUCKETS).bit_length())
    buckets = 1 << max((horizon >> bucket_shift).bit_length(), 6)
    return min(bucket_shift, _MOST_BUCKET_BITS), buckets
