"""Requests of the identities of a shard: the arrays of `cold.request_kernels`, and when requests are due.

When an identity asks is a function of configuration and seed: a renewal process of its own for each protocol, which is
stationary from time 0. `Asking` keeps the time of the next request of each, 12 bytes, and turns those that come up into
events, a span of time at a stroke. Where some ask in the place of all, it keeps it of these alone.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.simtime import NEVER
from cold.distributions import Distribution, join_tables
from cold.jit import uint64
from cold.messages import aligned_zeros
from cold.request_askers import Representatives, choose_representatives
from cold.request_kernels import begin_intervals, copy_meters, drop_full_meters, due_asks, due_deadlines
from cold.request_layout import (
    ASKED_AHEAD_NS,
    ASKS_SHIFT,
    CHUNK_SIZE,
    CHUNKS,
    COMMON_ROLES,
    COVERING_INTERVAL,
    FIRST_REPRESENTATIVE,
    INTERVAL,
    JOIN_PROTOCOLS,
    LATENCY_BUCKETS,
    LETTER_COLUMNS,
    LISTED_UNTIL,
    METER_COLUMNS,
    METERS,
    NEXT_DEADLINE,
    ON_JOIN,
    OPEN_COLUMNS,
    PAST_REPRESENTATIVE,
    PROTOCOL_COLUMNS,
    PROTOCOLS,
    REQUEST_COUNTS,
    REQUEST_CURSORS,
    REQUEST_SIZE,
    RETRIES,
    RETRY_DELAY,
    SERVICE,
    TIMEOUT,
    TOKEN_NS,
    TOKENS,
)
from cold.request_section import RequestSection, RoleSection
from cold.row_lists import first_rows
from cold.section import ColdSection
from cold.state_kernels import STEP_START, State

Int64Array = npt.NDArray[np.int64]

#: So many of them at a time.
_RECORDS_AT_ONCE = 1 << 14
#: Rows are those of all identities of the shard.
_ALL: Final = np.zeros(0, dtype=np.int64)
#: A power of two.
_METERS_AT_FIRST = 256


def request_arrays(
    section: ColdSection, directory: HostDirectory, kinds: npt.NDArray[np.uint8], seed: int
) -> tuple[dict[str, npt.NDArray[Any]], Representatives]:
    """The fields of `State` that are about requests, but for their load, and who asks in the place of others.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    directory
        Every host of the experiment.
    kinds
        uint8[A]: the kind of client of every identity.
    seed
        Seed of the run.
    """
    requests = section.requests
    protocol, table = _protocols(requests)
    cursor = np.zeros(REQUEST_CURSORS, dtype=np.int64)
    cursor[NEXT_DEADLINE] = NEVER
    cursor[PROTOCOLS], cursor[JOIN_PROTOCOLS] = len(requests), sum(request.on_join for request in requests)
    role = np.zeros(len(kinds), dtype=np.uint64)
    asks: list[npt.NDArray[np.bool_]] = []
    for number, request in enumerate(requests):
        role[in_role(request.servers, section, directory, kinds)] |= np.uint64(1 << number)
        asks.append(in_role(request.askers, section, directory, kinds))
        role[asks[-1]] |= np.uint64(1 << (number + ASKS_SHIFT))
    cursor[COMMON_ROLES] = np.bitwise_and.reduce(role).view(np.int64)
    if (role == role[0]).all():
        role = role[:1].copy()
    representatives = choose_representatives(requests, asks, directory, seed)
    count = len(representatives.host)
    if requests:
        protocol[:, FIRST_REPRESENTATIVE] = representatives.begins[:-1]
        protocol[:, PAST_REPRESENTATIVE] = representatives.begins[1:]
    arrays: dict[str, npt.NDArray[Any]] = {
        "protocol": protocol,
        "request_table": table,
        "role": role,
        "meter": np.zeros((_METERS_AT_FIRST, METER_COLUMNS), dtype=np.int64),
        "request_cursor": cursor,
        "representative": representatives.host if count else np.zeros(1, dtype=np.uint32),
        "representative_weight": representatives.weight if count else np.zeros(1, dtype=np.int64),
        "request_counts": np.zeros((max(len(requests), 1) + count, len(REQUEST_COUNTS)), dtype=np.int64),
        "request_latency": np.zeros((len(requests), LATENCY_BUCKETS) if requests else (1, 1), dtype=np.int64),
    }
    for name, columns in (("open", OPEN_COLUMNS), ("letter", LETTER_COLUMNS)):
        arrays[name] = first_rows(name, columns, cursor)
    return arrays, representatives


def roles_of(role: npt.NDArray[np.uint64], identities: int) -> npt.NDArray[np.uint64]:
    """`State.role` with an entry for each of so many identities, which is all of them: uint64[A]."""
    return np.broadcast_to(role, identities)


def with_room_for_meters(state: State, events: int) -> State:
    """The state, with room for the limits that so many requests touch: buckets that are full again are dropped."""
    meter = state.meter
    if 4 * (int(state.request_cursor[METERS]) + events) <= 3 * len(meter):
        return state
    state.request_cursor[METERS] = drop_full_meters(meter, int(state.cursor[STEP_START]))
    # Half of the rows may have keys; three quarters of them, before it is done again.
    least = 2 * (int(state.request_cursor[METERS]) + events)
    if least <= len(meter):
        return state
    longer = aligned_zeros(1 << (least - 1).bit_length(), METER_COLUMNS)
    copy_meters(meter, longer)
    return state._replace(meter=longer)


def _protocols(requests: list[RequestSection]) -> tuple[Int64Array, Int64Array]:
    """`State.protocol` and `State.request_table`."""
    protocol = np.zeros((max(len(requests), 1), PROTOCOL_COLUMNS), dtype=np.int64)
    places: list[tuple[int, int]] = []
    tables: list[Int64Array] = []

    def tabulate(number: int, column: int, table: Int64Array) -> None:
        places.append((number, column))
        tables.append(table)

    for number, request in enumerate(requests):
        protocol[number, [INTERVAL, COVERING_INTERVAL]] = -1
        if request.interval is not None:
            tabulate(number, INTERVAL, request.interval.table())
            tabulate(number, COVERING_INTERVAL, request.interval.length_biased_table())
        drawn: Iterable[tuple[int, Distribution]] = (
            (REQUEST_SIZE, request.size),
            (CHUNKS, request.chunks),
            (CHUNK_SIZE, request.chunk_size),
            (SERVICE, request.service),
        )
        for column, distribution in drawn:
            tabulate(number, column, distribution.table())
        for column, value in (
            (ON_JOIN, int(request.on_join)),
            (TIMEOUT, request.timeout),
            (RETRIES, request.retries),
            (RETRY_DELAY, request.retry_delay),
            (TOKENS, 0 if request.limit is None else request.limit.tokens),
            (TOKEN_NS, 0 if request.limit is None else request.limit.period // request.limit.tokens),
        ):
            protocol[number, column] = value
    if not requests:
        return protocol, np.zeros(1, dtype=np.int64)
    table, begins = join_tables(tables)
    for (number, column), first in zip(places, begins.tolist(), strict=True):
        protocol[number, column] = first
    return protocol, table


def in_role(
    role: RoleSection, section: ColdSection, directory: HostDirectory, kinds: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_]:
    """Which identities have a role: bool[A]."""
    named_populations = section.populations if role.populations is None else role.populations
    result = directory.by_population({name: name in named_populations for name in section.populations}, np.bool_)
    if role.clients is not None:
        named = [number for number, name in enumerate(section.clients) if name in role.clients]
        result &= np.isin(kinds, named)
    return result


class Asking:
    """When the identities of a shard ask.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    state
        With the arrays of `request_arrays`: by reference, as kernels take it.
    role
        uint64[N]: the shard's own identities' part of `roles_of`.
    representatives
        Who asks in the place of others.
    seed
        Seed of the run.
    first_id
        HostId of the shard's first identity.
    """

    def __init__(
        self,
        section: ColdSection,
        state: State,
        role: npt.NDArray[np.uint64],
        representatives: Representatives,
        seed: int,
        first_id: int,
    ) -> None:
        self._seed, self._first_id, self._role = uint64(seed), first_id, role
        self._protocols = [number for number, request in enumerate(section.requests) if request.interval is not None]
        #: Of the protocols of which only some ask; of the others, every identity has a row.
        self._hosts: dict[int, Int64Array] = {}
        self._next: dict[int, Int64Array] = {}
        self._earliest: dict[int, int] = {}
        self._records = np.empty((_RECORDS_AT_ONCE, 3), dtype=np.int64)
        for number in self._protocols:
            chosen = representatives.of(number)
            if len(chosen):
                own = (chosen >= first_id) & (chosen < first_id + len(role))
                self._hosts[number] = chosen[own].astype(np.int64)
                next_ask = np.zeros(len(self._hosts[number]), dtype=np.int64)
            else:
                next_ask = np.where(self._asks(number), 0, NEVER).astype(np.int64)
            begin_intervals(state, self._seed, first_id, self._hosts.get(number, _ALL), number, next_ask)
            self._next[number] = next_ask
            self._earliest[number] = int(next_ask.min(initial=NEVER))

    def _asks(self, number: int) -> npt.NDArray[np.bool_]:
        """Which identities of the shard have the role of askers: bool[N]."""
        return np.asarray(self._role >> np.uint64(number + ASKS_SHIFT) & np.uint64(1) == 1)

    def copied(self) -> "Asking":
        """Return another that goes on from here by itself."""
        other = copy.copy(self)
        other._hosts, other._earliest = dict(self._hosts), dict(self._earliest)
        other._next = {number: array.copy() for number, array in self._next.items()}
        return other

    def next_time(self, state: State) -> int:
        """When the next request or deadline is that is no event yet [ns]; NEVER if there is none."""
        return min([int(state.request_cursor[NEXT_DEADLINE]), *self._earliest.values()])

    def take(self, state: State, reference: State, now: int) -> Iterator[Int64Array]:
        """Yield, as records, requests that are due soon after `now`, and deadlines of those that are open still.

        They are those of the part of ASKED_AHEAD_NS in which `now` is. A deadline becomes an event only if its request
        is open when its part begins: so parts begin at the same times on all shards, and nothing may be executed that
        is later before they do.

        Each int64[n, 3] is valid until the next one. After the last, all before LISTED_UNTIL are events. `reference` is
        `state` as kernels take it.
        """
        if state.request_cursor[LISTED_UNTIL] > now:
            return
        end = (now // ASKED_AHEAD_NS + 1) * ASKED_AHEAD_NS
        state.request_cursor[NEXT_DEADLINE] = NEVER
        first = 0
        while first < len(state.open):
            count, first = due_deadlines(reference, self._first_id, first, end, self._records)
            yield self._records[:count]
        for number in self._protocols:
            if self._earliest[number] < end:
                yield from self._due(reference, number, 0, end)
                self._earliest[number] = int(self._next[number].min(initial=NEVER))
        state.request_cursor[LISTED_UNTIL] = end

    def _due(self, reference: State, number: int, first: int, end: int) -> Iterator[Int64Array]:
        """Yield the requests of a protocol before `end` of the rows from `first` on, as `take`."""
        hosts, next_ask = self._hosts.get(number, _ALL), self._next[number]
        while first < len(next_ask):
            count, first = due_asks(
                *(reference, self._seed, self._first_id, hosts, number, next_ask, first, end), self._records
            )
            yield self._records[:count]

    def meet(self, state: State, reference: State, records: Int64Array) -> Iterator[Int64Array]:
        """Have those ask by themselves, from then on, whom a hot host has sent something.

        Parameters
        ----------
        state, reference
            As `take`.
        records
            int64[n, 3]: what arrives, none of it before the time up to which events have been executed.

        Yields
        ------
        int64[m, 3]
            As `take`: their requests before LISTED_UNTIL. Of those that do not come to know a hot host the kernels make
            none.
        """
        if not self._hosts or not len(records):
            return
        order = np.argsort(records[:, 0], kind="stable")
        host, first = np.unique(records[order, 1] >> 32, return_index=True)
        since = records[order, 0][first]
        for number, hosts in self._hosts.items():
            fresh = self._asks(number)[host - self._first_id] & ~np.isin(host, hosts)
            if not fresh.any():
                continue
            begin = len(hosts)
            self._hosts[number] = np.concatenate([hosts, host[fresh]])
            self._next[number] = np.concatenate([self._next[number], np.zeros(fresh.sum(), dtype=np.int64)])
            begin_intervals(reference, self._seed, self._first_id, host[fresh], number, self._next[number][begin:])
            for row, time in enumerate(since[fresh].tolist(), begin):
                self._pass_by(reference, number, row, time)
            yield from self._due(reference, number, begin, int(state.request_cursor[LISTED_UNTIL]))
            self._earliest[number] = int(self._next[number].min(initial=NEVER))

    def _pass_by(self, reference: State, number: int, row: int, end: int) -> None:
        """Let the intervals of one row go on to the first that ends at `end` or later."""
        own = slice(row, row + 1)
        hosts, next_ask = self._hosts[number][own], self._next[number][own]
        while next_ask[0] < end:
            due_asks(*(reference, self._seed, self._first_id, hosts, number, next_ask, 0, end), self._records)

    def bytes_taken(self) -> int:
        """Return the bytes that the times of the next requests take."""
        arrays = (self._next, self._hosts)
        return sum(array.nbytes for each in arrays for array in each.values())
