"""Transactions at the identities of a shard: what is submitted when, and the arrays of `cold.transaction_kernels`.

What is submitted is a function of configuration and seed, so that every shard knows all of it. A transaction has the
slot (its number) mod (number of slots); there are so many that one has ended before the next gets its slot.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.errors import UserError
from bridge.rng import draw_u64_array, draw_uniform_array
from bridge.simtime import NEVER
from cold.distribution_kernels import draw_values
from cold.distributions import Exponential
from cold.messages import aligned_zeros
from cold.overlay import build_overlay
from cold.population import client_kinds
from cold.purposes import ColdPurpose
from cold.requests import in_role
from cold.section import ColdSection
from cold.state_kernels import AUXILIARY_SHIFT, SUBMIT, State
from cold.transaction_kernels import (
    ANNOUNCE_INTERVAL,
    BLOBS,
    FETCH_DELAY,
    FETCH_TIMEOUT,
    KNOWN,
    LIFETIME,
    LOADS,
    MOST_PEERS,
    ORIGIN,
    PUSHED_AT_ALL,
    SIZE,
    TELLS_AT,
    TIME,
    TRANSACTION_COLUMNS,
    TRANSACTION_COUNTS,
    TRANSACTION_RULES,
    UNTOLD_SLOTS,
    begin_transaction,
    spread_of_transaction,
)
from cold.transaction_section import TransactionsSection

Int64Array = npt.NDArray[np.int64]

#: Transactions become events at most this long before they are submitted [ns].
SPAN_NS: Final = 10**9
#: A number has 31 bits in a record; long before that the counts of all would not fit memory.
_MOST_TRANSACTIONS: Final = 10_000_000
_DRAWN_AT_A_TIME: Final = 4096
_MASK: Final = 2**64 - 1


class Spread(NamedTuple):
    """What became of one transaction on a shard."""

    number: int
    bucket: Int64Array
    """int64[n]: buckets of delays, as in `cold.results`."""
    counts: Int64Array
    longest: int


def planned_transactions(section: ColdSection, directory: HostDirectory, seed: int, stop_time_ns: int) -> Int64Array:
    """All transactions before the end, by time: int64[n, TRANSACTION_COLUMNS]; listed ones first where times agree."""
    wanted = section.transactions
    assert wanted is not None
    drawn = _arrivals(wanted, seed, stop_time_ns)
    count = len(drawn)
    number = np.arange(count, dtype=np.int64)
    table = np.zeros((count + len(wanted.listed), TRANSACTION_COLUMNS), dtype=np.int64)
    mine, listed = table[len(wanted.listed) :], table[: len(wanted.listed)]
    identities = directory.total_count - directory.hot_count
    kinds = client_kinds(section, seed, directory.hot_count, identities)
    origins = np.flatnonzero(in_role(wanted.origins, section, directory, kinds))
    if count and not len(origins):
        raise UserError("no identity is of these populations and clients", where="cold.transactions.origins")
    mine[:, TIME] = drawn
    mine[:, BLOBS] = draw_uniform_array(seed, number, int(ColdPurpose.TRANSACTION_BLOBS), 0) < wanted.blob_share
    words = draw_u64_array(seed, number, int(ColdPurpose.TRANSACTION_SIZE), 0)
    mine[:, SIZE] = np.where(
        mine[:, BLOBS] == 1, draw_values(wanted.blob_size.table(), words), draw_values(wanted.size.table(), words)
    )
    mine[:, ORIGIN] = directory.hot_count
    if len(origins):
        mine[:, ORIGIN] += origins[_random_indices(seed, number, len(origins))]
    for row, each in enumerate(wanted.listed):
        origin = each.origin
        if origin == "random":
            origin = int(_random_indices(seed, np.array([_MOST_TRANSACTIONS + row], dtype=np.int64), identities)[0])
        listed[row] = (each.time, directory.hot_count + origin, each.size, int(each.blobs), 0)
    table = table[table[:, TIME] < stop_time_ns]
    table = table[np.argsort(table[:, TIME], kind="stable")]
    table[:, PUSHED_AT_ALL] = (table[:, BLOBS] == 0) & (table[:, SIZE] <= wanted.largest_pushed)
    return table


def _random_indices(seed: int, number: Int64Array, count: int) -> Int64Array:
    words = draw_u64_array(seed, number, int(ColdPurpose.TRANSACTION_ORIGIN), 0)
    return ((words >> np.uint64(32)) * np.uint64(count) >> np.uint64(32)).astype(np.int64)


def _arrivals(wanted: TransactionsSection, seed: int, stop_time_ns: int) -> Int64Array:
    """Times of those that are drawn: int64[n], ascending."""
    interval = wanted.interval
    if wanted.rate is not None:
        interval = Exponential[Any].model_validate({"kind": "exponential", "mean": round(1e9 / wanted.rate)})
    if interval is None:
        return np.zeros(0, dtype=np.int64)
    expected = stop_time_ns / wanted.mean_interval
    if expected > _MOST_TRANSACTIONS:
        raise UserError(
            f"there would be {expected:,.0f} of them, and there may be {_MOST_TRANSACTIONS:,}",
            where="cold.transactions",
        )
    table = interval.table()
    parts: list[Int64Array] = []
    last = first = 0
    while last < stop_time_ns:
        counters = np.arange(first, first + _DRAWN_AT_A_TIME, dtype=np.int64)
        words = draw_u64_array(seed, 0, int(ColdPurpose.TRANSACTION_TIME), counters)
        parts.append(last + np.cumsum(draw_values(table, words)))
        last = int(parts[-1][-1])
        first += _DRAWN_AT_A_TIME
    times = np.concatenate(parts)
    return times[times < stop_time_ns]


def slots_needed(times: Int64Array, lifetime: int) -> int:
    """How many slots it takes that none is given to a transaction before its last one has ended for `SPAN_NS`."""
    if not len(times):
        return 1
    first_alive = np.searchsorted(times, times - lifetime - SPAN_NS, side="right")
    return int((np.arange(len(times)) - first_alive).max()) + 1


class Transactions:
    """The transactions of a run, at the identities of a shard.

    Parameters
    ----------
    section
        The configuration's `cold` section, which has transactions.
    directory
        Every host of the experiment.
    seed
        Seed of the run.
    stop_time_ns
        Nothing is submitted at this time or later.
    owned
        HostIds of this shard's identities.
    """

    def __init__(
        self, section: ColdSection, directory: HostDirectory, seed: int, stop_time_ns: int, owned: range
    ) -> None:
        assert section.transactions is not None
        self._rules = section.transactions
        self._owned = owned
        self._plan = planned_transactions(section, directory, seed, stop_time_ns)
        self._begun = 0
        self._listed_until = 0
        first_id, count = directory.hot_count, directory.total_count - directory.hot_count
        self._overlay = build_overlay(
            seed, first_id, count, self._rules.degree, 0, 0, 0, purpose=ColdPurpose.TRANSACTION_OVERLAY
        ).rows(owned.start - first_id, owned.stop - first_id)
        self._slots = slots_needed(self._plan[:, TIME], self._rules.lifetime)
        self._most_peers = max(int(np.diff(self._overlay.row_start).max(initial=0)), 1)
        self._finished: list[Spread] = []
        self._digest = (0, 0)

    @property
    def most_peers(self) -> int:
        """Return how many peers the identity has that has most."""
        return self._most_peers

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the fields of `State` that are about transactions."""
        wanted, rows = self._rules, len(self._owned)
        rules = np.zeros(TRANSACTION_RULES, dtype=np.int64)
        for entry, value in (
            (LIFETIME, wanted.lifetime),
            (ANNOUNCE_INTERVAL, wanted.announce_interval),
            (FETCH_DELAY, wanted.fetch_delay),
            (FETCH_TIMEOUT, wanted.fetch_timeout),
            (MOST_PEERS, self._most_peers),
        ):
            rules[entry] = value
        columns = KNOWN + 3 * -(-self._most_peers // 64)
        untold = np.zeros((rows, UNTOLD_SLOTS + -(-self._slots // 64)), dtype=np.int64)
        untold[:, TELLS_AT] = NEVER
        return {
            "transaction_rules": rules,
            "transaction": self._plan,
            "transaction_table": wanted.validation_delay.table(),
            "transaction_row": self._overlay.row_start.astype(np.int64),
            "transaction_peers": self._overlay.neighbours,
            "mempool": aligned_zeros(rows * self._slots, columns).reshape(rows, self._slots, columns),
            "transaction_in": np.full(self._slots, -1, dtype=np.int64),
            "untold": untold,
            "listed": np.zeros(self._slots, dtype=np.int64),
            "transaction_counts": np.zeros((len(self._plan), len(TRANSACTION_COUNTS)), dtype=np.int64),
            "transaction_load": np.zeros((rows, LOADS), dtype=np.int64),
        }

    def next_time(self) -> int:
        """Time of the next one that is no event yet [ns]; NEVER if there is none."""
        return int(self._plan[self._begun, TIME]) if self._begun < len(self._plan) else NEVER

    def take(self, state: State, now: int) -> tuple[Int64Array, int]:
        """Give slots to those that are due soon after `now`.

        Parameters
        ----------
        state
            By reference, as kernels take it.
        now
            ns.

        Returns
        -------
        records
            Those of this shard's identities, for the calendar: int64[n, 3].
        until
            All before this time are events then, or begun elsewhere [ns].
        """
        if self._listed_until > now:
            return np.empty((0, 3), dtype=np.int64), self._listed_until
        self._listed_until = now + SPAN_NS
        first = self._begun
        while self.next_time() < self._listed_until:
            past = self._begun - self._slots
            if past >= 0:
                spread, self._digest = self._spread_of(state, past, self._digest)
                self._finished.append(spread)
            begin_transaction(state, self._begun)
            self._begun += 1
        number = np.arange(first, self._begun, dtype=np.int64)
        origin = self._plan[number, ORIGIN]
        number = number[(origin >= self._owned.start) & (origin < self._owned.stop)]
        origin = self._plan[number, ORIGIN]
        what = number << AUXILIARY_SHIFT | SUBMIT
        return np.stack([self._plan[number, TIME], origin << 32 | origin, what], axis=1), self._listed_until

    def spreads(self, state: State) -> tuple[list[Spread], tuple[int, int]]:
        """Return what has become of all that were begun, and the sums of two hashes of their arrivals."""
        every, digest = list(self._finished), self._digest
        for number in range(max(self._begun - self._slots, 0), self._begun):
            spread, digest = self._spread_of(state, number, digest)
            every.append(spread)
        return every, digest

    def _spread_of(self, state: State, number: int, digest: tuple[int, int]) -> tuple[Spread, tuple[int, int]]:
        counts, longest, first, second = spread_of_transaction(state, number, self._owned.start)
        bucket = np.flatnonzero(counts)
        sums = ((digest[0] + int(first)) & _MASK, (digest[1] + int(second)) & _MASK)
        return Spread(number, bucket.astype(np.int64), counts[bucket], int(longest)), sums


def no_transactions() -> dict[str, npt.NDArray[Any]]:
    """The fields of `State` that are about transactions, where there are none."""
    empty = np.zeros((1, 1), dtype=np.int64)
    return {
        "transaction_rules": np.zeros(TRANSACTION_RULES, dtype=np.int64),
        "transaction": empty,
        "transaction_table": np.zeros(1, dtype=np.int64),
        "transaction_row": np.zeros(1, dtype=np.int64),
        "transaction_peers": np.zeros(1, dtype=np.uint32),
        "mempool": np.zeros((1, 1, 1), dtype=np.int64),
        "transaction_in": np.zeros(1, dtype=np.int64),
        "untold": empty,
        "listed": np.zeros(1, dtype=np.int64),
        "transaction_counts": empty,
        "transaction_load": empty,
    }
