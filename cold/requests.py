"""Requests of the identities of a shard: the arrays of `cold.request_kernels`, and when requests are due.

When an identity asks is a function of configuration and seed: a renewal process of its own for each protocol, which is
stationary from time 0. `Asking` keeps the time of the next request of each, 12 bytes, and turns those that come up into
events, a span of time at a stroke.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.simtime import NEVER
from cold.distributions import Distribution, join_tables
from cold.jit import uint64
from cold.messages import aligned_zeros
from cold.request_kernels import begin_intervals, copy_meters, drop_full_meters, due_asks, due_deadlines
from cold.request_layout import (
    ASKED_AHEAD_NS,
    ASKS_SHIFT,
    CHUNK_SIZE,
    CHUNKS,
    COMMON_ROLES,
    COVERING_INTERVAL,
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
#: A power of two.
_METERS_AT_FIRST = 256


def request_arrays(
    section: ColdSection, directory: HostDirectory, kinds: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[Any]]:
    """The fields of `State` that are about requests.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    directory
        Every host of the experiment.
    kinds
        uint8[A]: the kind of client of every identity.
    """
    requests = section.requests
    protocol, table = _protocols(requests)
    cursor = np.zeros(REQUEST_CURSORS, dtype=np.int64)
    cursor[NEXT_DEADLINE] = NEVER
    cursor[PROTOCOLS], cursor[JOIN_PROTOCOLS] = len(requests), sum(request.on_join for request in requests)
    role = np.zeros(len(kinds) if requests else 1, dtype=np.uint64)
    for number, request in enumerate(requests):
        role[in_role(request.servers, section, directory, kinds)] |= np.uint64(1 << number)
        role[in_role(request.askers, section, directory, kinds)] |= np.uint64(1 << (number + ASKS_SHIFT))
    cursor[COMMON_ROLES] = np.bitwise_and.reduce(role).view(np.int64)
    arrays: dict[str, npt.NDArray[Any]] = {
        "protocol": protocol,
        "request_table": table,
        "role": role,
        "meter": np.zeros((_METERS_AT_FIRST, METER_COLUMNS), dtype=np.int64),
        "request_cursor": cursor,
        "request_counts": np.zeros((max(len(requests), 1), len(REQUEST_COUNTS)), dtype=np.int64),
        "request_latency": np.zeros((len(requests), LATENCY_BUCKETS) if requests else (1, 1), dtype=np.int64),
    }
    for name, columns in (("open", OPEN_COLUMNS), ("letter", LETTER_COLUMNS)):
        arrays[name] = first_rows(name, columns, cursor)
    return arrays


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
    result = np.ones(len(kinds), dtype=np.bool_)
    if role.populations is not None:
        result[:] = False
        for population in directory.populations:
            first = population.first_id - directory.hot_count
            result[first : first + population.count] = population.name in role.populations
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
        uint64[N]: `State.role` of the shard's own identities.
    seed
        Seed of the run.
    first_id
        HostId of the shard's first identity.
    """

    def __init__(
        self, section: ColdSection, state: State, role: npt.NDArray[np.uint64], seed: int, first_id: int
    ) -> None:
        self._seed, self._first_id = uint64(seed), first_id
        self._protocols = [number for number, request in enumerate(section.requests) if request.interval is not None]
        self._next: dict[int, Int64Array] = {}
        self._turn = {number: np.zeros(len(role), dtype=np.uint32) for number in self._protocols}
        self._earliest: dict[int, int] = {}
        self._records = np.empty((_RECORDS_AT_ONCE, 3), dtype=np.int64)
        for number in self._protocols:
            asks = role >> np.uint64(number + ASKS_SHIFT) & np.uint64(1) == 1
            next_ask = np.where(asks, 0, NEVER).astype(np.int64)
            begin_intervals(state, self._seed, first_id, number, next_ask)
            self._next[number] = next_ask
            self._earliest[number] = int(next_ask.min(initial=NEVER))

    def next_time(self, state: State) -> int:
        """When the next request or deadline is that is no event yet [ns]; NEVER if there is none."""
        return min([int(state.request_cursor[NEXT_DEADLINE]), *self._earliest.values()])

    def take(self, state: State, reference: State, now: int) -> Iterator[Int64Array]:
        """Yield, as records, requests that are due soon after `now`, and deadlines of those that are open still.

        Each int64[n, 3] is valid until the next one. After the last, all before LISTED_UNTIL are events. `reference` is
        `state` as kernels take it.
        """
        if state.request_cursor[LISTED_UNTIL] > now:
            return
        end = now + ASKED_AHEAD_NS
        state.request_cursor[NEXT_DEADLINE] = NEVER
        first = 0
        while first < len(state.open):
            count, first = due_deadlines(reference, self._first_id, first, end, self._records)
            yield self._records[:count]
        for number in self._protocols:
            if self._earliest[number] < end:
                first, next_ask = 0, self._next[number]
                while first < len(next_ask):
                    count, first = due_asks(
                        *(reference, self._seed, self._first_id, number, next_ask, self._turn[number], first, end),
                        self._records,
                    )
                    yield self._records[:count]
                self._earliest[number] = int(next_ask.min(initial=NEVER))
        state.request_cursor[LISTED_UNTIL] = end

    def bytes_taken(self) -> int:
        """Return the bytes that the times of the next requests take."""
        return sum(array.nbytes for arrays in (self._next, self._turn) for array in arrays.values())
