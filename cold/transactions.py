"""Transactions at the identities of a shard: what is submitted when, and the arrays of `cold.transaction_kernels`.

What is submitted is a function of configuration and seed, so that every shard knows all of it. A transaction has the
slot (its number) mod (number of slots); there are so many that one has ended before the next gets its slot. What hot
hosts submit a shard hears of from them, or from other shards; it has slots behind those, of each shard's own.
"""

from bisect import bisect_left
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.errors import UserError
from bridge.rng import draw_u64_array, draw_uniform_array
from bridge.simtime import NEVER
from cold.distribution_kernels import draw_values
from cold.distributions import Exponential
from cold.messages import aligned_zeros
from cold.overlay import Overlay
from cold.population import client_kinds
from cold.purposes import ColdPurpose
from cold.reference import by_reference
from cold.requests import in_role
from cold.scenario import Scenario
from cold.state_kernels import AUXILIARY_SHIFT, HOT_NUMBERS, RECORDS, SUBMIT, State
from cold.transaction_kernels import (
    ANNOUNCE_INTERVAL,
    BLOBS,
    FETCH_DELAY,
    FETCH_TIMEOUT,
    FIRST_COLD,
    HOT_PEERS,
    KNOWN,
    LIFETIME,
    LOADS,
    MOST_PEERS,
    ORIGIN,
    PUSHED_AT_ALL,
    SEQUENCE,
    SIZE,
    SLOT,
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
#: Of a hot host's transaction, the number has bits that differ with what the host says of it.
_VARIANT_BITS: Final = 8
_SEQUENCES: Final = HOT_NUMBERS >> _VARIANT_BITS
_GOLDEN: Final = 0x9E3779B97F4A7C15
_MORE_SLOTS: Final = 8


class Told(NamedTuple):
    """What a hot host says of a transaction of its own: its hash stands for all of it."""

    origin: int
    """HostId."""
    sequence: int
    """The host's number of it, from 1."""
    time: int
    """When it was submitted [ns]."""
    size: int
    blobs: int
    """1 or 0."""


class Spread(NamedTuple):
    """What became of one transaction on a shard."""

    row: int
    """Of `State.transaction`."""
    bucket: Int64Array
    """int64[n]: buckets of delays, as in `cold.results`."""
    counts: Int64Array
    longest: int


def planned_transactions(scenario: Scenario) -> Int64Array:
    """All transactions before the end, by time: int64[n, TRANSACTION_COLUMNS]; listed ones first where times agree."""
    section, directory, seed, stop_time_ns = scenario
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
        if each.origin == "random":
            origin = directory.hot_count + int(
                _random_indices(seed, np.array([_MOST_TRANSACTIONS + row], dtype=np.int64), identities)[0]
            )
        else:
            origin = directory.id_of_identity(each.origin)
        listed[row] = (each.time, origin, each.size, int(each.blobs), 0, 0, 0)
    table = table[table[:, TIME] < stop_time_ns]
    table = table[np.argsort(table[:, TIME], kind="stable")]
    table[:, SEQUENCE] = np.arange(1, len(table) + 1)
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


def slots_needed(times: Int64Array, in_use: int) -> int:
    """How many slots it takes that none is given to a transaction before its last one has been over for `SPAN_NS`.

    Parameters
    ----------
    times
        When they are submitted [ns], ascending.
    in_use
        How long what concerns one may have to be told [ns].
    """
    if not len(times):
        return 1
    first_alive = np.searchsorted(times, times - in_use - SPAN_NS, side="right")
    return int((np.arange(len(times)) - first_alive).max()) + 1


class Transactions:
    """The transactions of a run, at the identities of a shard.

    Parameters
    ----------
    scenario
        What the tail is; its section has transactions.
    owned
        HostIds of this shard's identities.
    present
        Which shards have identities: bool[shards].
    shard
        This shard.
    overlay
        The connections of this shard's identities: `cold.memberships.Connections.transaction_overlay`.

    Attributes
    ----------
    planned : int
        How many there are that do not come from hot hosts.
    """

    def __init__(
        self,
        scenario: Scenario,
        owned: range,
        present: npt.NDArray[np.bool_],
        shard: int,
        overlay: Overlay,
    ) -> None:
        section, directory, _, _ = scenario
        assert section.transactions is not None
        self._rules = section.transactions
        self._owned = owned
        self._directory = directory
        self._others = [other for other in np.flatnonzero(present).tolist() if other != shard]
        self._plan = planned_transactions(scenario)
        self._begun = 0
        self._listed_until = 0
        self._overlay = overlay
        self.planned = len(self._plan)
        # An announcement may still wait when its transaction's life ends.
        self._in_use = self._rules.lifetime + self._rules.announce_interval
        self._slots = slots_needed(self._plan[:, TIME], self._in_use)
        self._plan[:, SLOT] = np.arange(self.planned) % self._slots
        self._most_peers = max(int(np.diff(self._overlay.row_start).max(initial=0)), 1)
        self._hot_peers = min(self._rules.hot_peers, directory.hot_count)
        self._finished: list[Spread] = []
        self._digest = (0, 0)
        self._told: list[Told] = []
        self._number_of: list[int] = []
        self._alive: dict[int, int] = {}
        self._untold: list[set[int]] = [set() for _ in present]

    @property
    def most_peers(self) -> int:
        """Return how many peers the identity may have that has most."""
        return self._most_peers + self._hot_peers

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
            (HOT_PEERS, self._hot_peers),
            (FIRST_COLD, self._directory.hot_count),
        ):
            rules[entry] = value
        columns = KNOWN + 3 * -(-self.most_peers // 64)
        # Room for others behind them: for those of hot hosts.
        rows_of_plan = max(self.planned, 1)
        table = np.zeros((rows_of_plan, TRANSACTION_COLUMNS), dtype=np.int64)
        table[: self.planned] = self._plan
        untold = np.zeros((rows, UNTOLD_SLOTS + -(-self._slots // 64)), dtype=np.int64)
        untold[:, TELLS_AT] = NEVER
        return {
            "transaction_rules": rules,
            "transaction": table,
            "hot_number": np.array([[HOT_NUMBERS], [0]], dtype=np.int64),
            "hot_peer": np.full((rows, max(self._hot_peers, 1)), -1, dtype=np.int64),
            "transaction_table": wanted.validation_delay.table(),
            "transaction_row": self._overlay.row_start.astype(np.int64),
            "transaction_peers": self._overlay.neighbours,
            "mempool": aligned_zeros(rows * self._slots, columns).reshape(rows, self._slots, columns),
            "transaction_in": np.full(self._slots, -1, dtype=np.int64),
            "untold": untold,
            "listed": np.zeros(self._slots, dtype=np.int64),
            "transaction_counts": np.zeros((rows_of_plan, len(TRANSACTION_COUNTS)), dtype=np.int64),
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
                self._finish(state, past, past)
            begin_transaction(state, self._begun)
            self._begun += 1
        number = np.arange(first, self._begun, dtype=np.int64)
        origin = self._plan[number, ORIGIN]
        number = number[(origin >= self._owned.start) & (origin < self._owned.stop)]
        origin = self._plan[number, ORIGIN]
        what = number << AUXILIARY_SHIFT | SUBMIT
        return np.stack([self._plan[number, TIME], origin << 32 | origin, what], axis=1), self._listed_until

    # Those of hot hosts.

    @property
    def from_hosts(self) -> bool:
        """Return whether there are hot hosts, which may submit some."""
        return self._directory.hot_count > 0

    @property
    def most_sequences(self) -> int:
        """Return how many transactions each hot host may submit."""
        return _SEQUENCES // max(self._directory.hot_count, 1)

    def lives(self, submitted: int, time: int) -> bool:
        """Whether a transaction that was submitted at a time lives at another [ns]."""
        return time - self._rules.lifetime < submitted <= time

    def is_planned(self, said: Told) -> bool:
        """Whether a description is that of a transaction that is submitted to an identity."""
        number = said.sequence - 1
        if not 0 <= number < self.planned:
            return False
        row = self._plan[number]
        return said == Told(int(row[ORIGIN]), said.sequence, int(row[TIME]), int(row[SIZE]), int(row[BLOBS]))

    def number_of(self, told: Told) -> int:
        """The number of a hot host's transaction, of which every part of its description is a part."""
        mixed = (told.time * 3 + told.size * 2 + told.blobs) * _GOLDEN & _MASK
        variant = mixed >> (64 - _VARIANT_BITS)
        place = told.origin * self.most_sequences + told.sequence - 1
        return HOT_NUMBERS | place << _VARIANT_BITS | variant

    def hear(self, state: State, told: Told, now: int, source: int = -1) -> tuple[State, int]:
        """Give a hot host's transaction its row and its slot, if it has none.

        Parameters
        ----------
        state
            The kernels' arrays; those returned replace them.
        told
            What is said of it.
        now
            Events before this time have been executed [ns].
        source
            The shard that has told of it, which need not be told; -1 if it was a host.

        Returns
        -------
        state, number
        """
        number = self.number_of(told)
        place = bisect_left(self._number_of, number)
        if place < len(self._number_of) and self._number_of[place] == number:
            row = int(state.hot_number[1, place])
            if self._told[row - self.planned] != told:
                raise UserError(
                    f"host {self._directory.name_of(told.origin)!r} has told of two transactions {told.sequence}: "
                    f"{self._told[row - self.planned]} and {told}",
                    where="transactions of hot hosts",
                    hint="its program must give every transaction another number",
                )
            if source >= 0:
                self._untold[source].discard(number)
            return state, number
        row = self.planned + len(self._told)
        self._told.append(told)
        self._number_of.insert(place, number)
        rows = np.insert(state.hot_number[1, : len(self._told) - 1], place, row)
        for other in self._others:
            if other != source:
                self._untold[other].add(number)
        if row >= len(state.transaction):
            state = state._replace(
                transaction=_longer(state.transaction, len(state.transaction)),
                transaction_counts=_longer(state.transaction_counts, len(state.transaction)),
            )
        state = state._replace(hot_number=np.stack([np.array(self._number_of, dtype=np.int64), rows]))
        is_pushed = not told.blobs and told.size <= self._rules.largest_pushed
        state.transaction[row] = (told.time, told.origin, told.size, told.blobs, is_pushed, told.sequence, 0)
        if self.lives(told.time, max(now, told.time)):
            state = self._give_slot(state, number, row, now)
        return state, number

    def _give_slot(self, state: State, number: int, row: int, now: int) -> State:
        for other, slot in list(self._alive.items()):
            if self._told[other - self.planned].time + self._in_use < now:
                self._finish(by_reference(state, RECORDS), other, int(state.transaction_in[slot]))
                del self._alive[other]
                state.transaction[other, SLOT] = 0
                state.transaction_in[slot] = -1
        slots = state.mempool.shape[1]
        free = sorted(set(range(self._slots, slots)) - set(self._alive.values()))
        if not free:
            state = _with_slots(state, max(slots - self._slots, _MORE_SLOTS))
            free = [slots]
        self._alive[row] = free[0]
        state.transaction[row, SLOT] = free[0]
        begin_transaction(by_reference(state, RECORDS), number)
        return state

    def numbers(self) -> list[int]:
        """Return the numbers of all transactions of hot hosts that this shard has heard of, ascending."""
        return self._number_of

    def news_for(self, state: State, shard: int) -> list[Told]:
        """What another shard has not been told of transactions of hot hosts; from now on it has been."""
        untold, self._untold[shard] = sorted(self._untold[shard]), set()
        return [self._told[int(state.hot_number[1, bisect_left(self._number_of, n)]) - self.planned] for n in untold]

    # What became of them.

    def table(self, state: State) -> tuple[Int64Array, Int64Array]:
        """Return the rows of all that there are, and their counts: int64[n, columns] both."""
        count = self.planned + len(self._told)
        return state.transaction[:count], state.transaction_counts[:count]

    def spreads(self, state: State) -> tuple[list[Spread], tuple[int, int]]:
        """Return what has become of all that were begun, and the sums of two hashes of their arrivals."""
        every, digest = list(self._finished), self._digest
        alive = [(row, row) for row in range(max(self._begun - self._slots, 0), self._begun)]
        alive += [(row, int(state.transaction_in[slot])) for row, slot in self._alive.items()]
        reference = by_reference(state, RECORDS)
        for row, number in alive:
            spread, digest = self._spread_of(reference, row, number, digest)
            every.append(spread)
        return every, digest

    def _finish(self, state: State, row: int, number: int) -> None:
        spread, self._digest = self._spread_of(state, row, number, self._digest)
        self._finished.append(spread)

    def _spread_of(
        self, state: State, row: int, number: int, digest: tuple[int, int]
    ) -> tuple[Spread, tuple[int, int]]:
        counts, longest, first, second = spread_of_transaction(state, number, self._owned.start)
        bucket = np.flatnonzero(counts)
        sums = ((digest[0] + int(first)) & _MASK, (digest[1] + int(second)) & _MASK)
        return Spread(row, bucket.astype(np.int64), counts[bucket], int(longest)), sums


def _longer(array: npt.NDArray[Any], more: int) -> npt.NDArray[Any]:
    """A copy with `more` rows of zeros behind its own."""
    return np.concatenate([array, np.zeros((more, *array.shape[1:]), dtype=array.dtype)])


def _with_slots(state: State, more: int) -> State:
    """The state, with so many slots more."""
    rows, slots, columns = state.mempool.shape
    mempool = aligned_zeros(rows * (slots + more), columns).reshape(rows, slots + more, columns)
    mempool[:, :slots] = state.mempool
    untold = np.zeros((rows, UNTOLD_SLOTS + -(-(slots + more) // 64)), dtype=np.int64)
    untold[:, : state.untold.shape[1]] = state.untold
    return state._replace(
        mempool=mempool,
        untold=untold,
        transaction_in=np.concatenate([state.transaction_in, np.full(more, -1, dtype=np.int64)]),
        listed=_longer(state.listed, more),
    )


def no_transactions() -> dict[str, npt.NDArray[Any]]:
    """The fields of `State` that are about transactions, where there are none."""
    empty = np.zeros((1, 1), dtype=np.int64)
    return {
        "transaction_rules": np.zeros(TRANSACTION_RULES, dtype=np.int64),
        "transaction": empty,
        "transaction_table": np.zeros(1, dtype=np.int64),
        "transaction_row": np.zeros(1, dtype=np.int64),
        "transaction_peers": np.zeros(1, dtype=np.uint32),
        "hot_number": np.array([[HOT_NUMBERS], [0]], dtype=np.int64),
        "hot_peer": np.full((1, 1), -1, dtype=np.int64),
        "mempool": np.zeros((1, 1, 1), dtype=np.int64),
        "transaction_in": np.zeros(1, dtype=np.int64),
        "untold": empty,
        "listed": np.zeros(1, dtype=np.int64),
        "transaction_counts": empty,
        "transaction_load": empty,
    }
