"""Who is up when: the lives of all identities, the same on every shard.

A life is a function of configuration and seed, so that a shard knows of any identity whether it is up without asking.
`Lives` keeps the interval that each identity is in, 12 bytes each, and follows the engine's time.
"""

import copy
from bisect import bisect_right
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.simtime import NEVER, NS_PER_MS
from cold.churn_section import DEFAULT_DETECTION, ChurnSection
from cold.distributions import join_tables
from cold.failure_section import CrashFailure
from cold.jit import uint64
from cold.life_layout import OUTLINES_PER_WORD, SHORTEST
from cold.section import ColdSection
from cold.session_kernels import (
    CHANGE_COLUMNS,
    FOR_EVER,
    IDENTITY,
    NUMBER,
    SILENT,
    TIME,
    Habits,
    apply_changes,
    begin_life,
    begin_lives,
    changes_before,
    end_of_interval,
    outline,
    outline_all,
)

Int64Array = npt.NDArray[np.int64]


def habits_of(section: ColdSection, directory: HostDirectory, node_ids: tuple[int, ...]) -> Habits:
    """How the identities come and go, and when they crash.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    directory
        Every host of the experiment.
    node_ids
        The ids of the graph's nodes in use, by index.
    """
    for_ever, never = np.array([-1, FOR_EVER], dtype=np.int64), np.array([-1, 0], dtype=np.int64)
    tables = [for_ever, never, for_ever, never]
    up_share, notice, dial = [1.0], [1.0], [0]
    habit = dict.fromkeys(section.populations, 0)
    for population in directory.populations:
        churn = section.populations[population.name].churn
        if churn is None:
            continue
        habit[population.name] = len(notice)
        sessions, absences = churn.sessions, churn.absences
        tables += [sessions.table(), absences.table(), sessions.length_biased_table(), absences.length_biased_table()]
        session, absence = mean_lengths(churn)
        up_share.append(session / (session + absence))
        notice.append(churn.notice)
        dial.append(churn.dial)
    table, begins = join_tables(tables)
    crashes = sorted(
        (failure for failure in section.failures if isinstance(failure, CrashFailure)), key=lambda crash: crash.time
    )
    share = np.zeros((len(crashes), len(node_ids)), dtype=np.float64)
    for row, crash in zip(share, crashes, strict=True):
        row[[crash.regions is None or node in crash.regions for node in node_ids]] = crash.share
    return Habits(
        table,
        begins.reshape(-1, 4),
        np.array(up_share),
        np.array(notice),
        np.array(dial, dtype=np.int64),
        directory.by_population(habit, np.uint8),
        np.array([crash.time for crash in crashes], dtype=np.int64),
        np.array([FOR_EVER if crash.until is None else crash.until for crash in crashes], dtype=np.int64),
        share,
        directory.node[directory.hot_count :],
    )


def mean_lengths(churn: ChurnSection) -> tuple[float, float]:
    """Return the means of a session, and of an absence with the dialling after it [ns]."""
    session = max(churn.sessions.expectation(), SHORTEST)
    return session, max(churn.absences.expectation() + churn.dial, SHORTEST)


def comes_and_goes(section: ColdSection) -> bool:
    """Whether any identity is ever down."""
    return any(population.churn for population in section.populations.values()) or any(
        isinstance(failure, CrashFailure) for failure in section.failures
    )


def detection_ms(section: ColdSection, directory: HostDirectory) -> Int64Array:
    """How long peers take to notice that an identity has gone silently: int64[A], ms."""
    detections = {
        name: (DEFAULT_DETECTION if population.churn is None else population.churn.detection) // NS_PER_MS
        for name, population in section.populations.items()
    }
    return directory.by_population(detections, np.int64)


class Changes(NamedTuple):
    """Identities that come and go, by time."""

    time: Int64Array
    """int64[n], ns."""
    identity: Int64Array
    """int64[n]: index of the identity."""
    is_up: npt.NDArray[np.bool_]
    """bool[n]: whether it comes."""
    is_silent: npt.NDArray[np.bool_]
    """bool[n]: whether it goes without notice."""

    @staticmethod
    def none() -> "Changes":
        """Return the changes of those who never change."""
        nothing, nobody = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
        return Changes(nothing, nothing, nobody, nobody)


class _Span:
    """A span of time, and all changes in it.

    Attributes
    ----------
    until : int
        Where it ends [ns]; NEVER where nobody changes any more.
    changes : ndarray of int64, shape (n, CHANGE_COLUMNS)
        By time.
    following : _Span or None
        The next one, if it is known. Nothing leads back: what nobody goes through any more takes no memory.
    """

    def __init__(self, until: int, changes: Int64Array) -> None:
        self.until, self.changes = until, changes
        self.following: _Span | None = None


class _Listing:
    """Works out the changes of identities, a span of time at a stroke, for all who go through them.

    Parameters
    ----------
    habits, seed, first_id
        As for `Lives`.
    number, until
        The intervals at time 0, as `Lives` has them; they are copied.

    Attributes
    ----------
    last : _Span
        The last one known, at first an empty one that ends at time 0.
    """

    def __init__(
        self, habits: Habits, seed: int, first_id: int, number: npt.NDArray[np.uint32], until: Int64Array
    ) -> None:
        self._habits, self._seed, self._first_id = habits, seed, first_id
        # What they will be when every change has happened that is known.
        self._number, self._until = number.copy(), until.copy()
        self.last = _Span(0, np.empty((0, CHANGE_COLUMNS), dtype=np.int64))

    def after(self, span: _Span) -> _Span:
        """The span after another one: the next in which there are changes."""
        if span.following is None:
            span.following = self.last = self._next_span()
        return span.following

    def _next_span(self) -> _Span:
        nothing = self.last.changes[:0]
        first = int(self._until.min(initial=NEVER))
        if first >= FOR_EVER:
            return _Span(NEVER, nothing)
        until = max(self.last.until, first) + SHORTEST
        found = changes_before(self._habits, self._seed, self._first_id, self._number, self._until, until)
        apply_changes(found, 0, NEVER, self._number, self._until, np.empty(0, dtype=np.int64))
        return _Span(until, found[np.argsort(found[:, TIME], kind="stable")])


_ARRAYS_OF_LIVES: Final = ("number", "until", "since", "outlines")


class Lives:
    """The intervals that identities are in, as the engine's time goes on.

    After `advance`, and for less than `SHORTEST` after its time, an identity is up at t if `number` is even and
    t < `until`, or `number` is odd and t >= `until`.

    Parameters
    ----------
    habits
        How identities come and go.
    seed
        Seed of the run.
    first_id
        HostId of identity 0.
    keeps_since
        Whether to keep `since`.

    Attributes
    ----------
    number : ndarray of uint32, shape (A,)
        Of each identity's interval.
    until : ndarray of int64, shape (A,)
        When that ends [ns].
    since : ndarray of int64, shape (A,) or (0,)
        When that began [ns]; -FOR_EVER before the first change.
    outlines : ndarray of uint64, shape (ceil(A / OUTLINES_PER_WORD),)
        Two bits for each identity, from the lowest on, that fit a cache: IS_UP, whether it is; and CHANGES_SOON,
        whether a change of it is among those listed, so that it depends on the time whether it is.
    revision : int
        How often `outlines` has changed.
    """

    def __init__(self, habits: Habits, seed: int, first_id: int, *, keeps_since: bool = False) -> None:
        identities = len(habits.habit)
        self.number = np.zeros(identities, dtype=np.uint32)
        self.until = np.zeros(identities, dtype=np.int64)
        self.since = np.full(identities if keeps_since else 0, -FOR_EVER, dtype=np.int64)
        begin_lives(habits, uint64(seed), first_id, self.number, self.until)
        self._listing = _Listing(habits, uint64(seed), first_id, self.number, self.until)
        self._span = self._listing.last
        self.outlines = np.zeros(-(-identities // OUTLINES_PER_WORD), dtype=np.uint64)
        outline_all(self.outlines, self.number, self.until, self._span.until)
        self._changes = self._span.changes
        self._applied = 0
        self._taken = 0
        self.revision = 0

    def copied(self) -> "Lives":
        """Return lives that go on by themselves; what is listed for one is listed for all copies."""
        other = copy.copy(self)
        for name in _ARRAYS_OF_LIVES:
            setattr(other, name, getattr(self, name).copy())
        return other

    def become(self, other: "Lives", changed: npt.NDArray[np.int64]) -> None:
        """Be what `copied` returns of other lives, of the same identities, without new memory.

        Parameters
        ----------
        other
            The lives.
        changed
            All that have come or gone, here or there, since these were a copy of those: int64[n].
        """
        mine = {name: getattr(self, name) for name in _ARRAYS_OF_LIVES}
        vars(self).update(vars(other))
        for name, array in mine.items():
            rows = slice(None) if name == "outlines" or not len(array) else changed
            array[rows] = getattr(other, name)[rows]
            setattr(self, name, array)

    def is_up(self, time: int) -> npt.NDArray[np.bool_]:
        """Whether each identity is up at a time less than `SHORTEST` after that of the last `advance`: bool[A]."""
        is_even: npt.NDArray[np.bool_] = (self.number & 1) == 0
        changed: npt.NDArray[np.bool_] = time >= self.until
        return is_even ^ changed

    def next_time(self) -> int:
        """Time of the next change that was not taken yet [ns]; NEVER if there is none."""
        while self._taken == len(self._changes):
            if not self._list_more():
                return NEVER
        return int(self._changes[self._taken, TIME])

    def take(self, end: int) -> Changes:
        """Return the changes before `end` that were not taken yet."""
        while self._span.until < end and self._list_more():
            pass
        last = int(np.searchsorted(self._changes[:, TIME], end))
        taken = self._changes[self._taken : last]
        self._taken = max(last, self._taken)
        return Changes(
            taken[:, TIME].copy(), taken[:, IDENTITY].copy(), (taken[:, NUMBER] & 1) == 0, taken[:, SILENT] != 0
        )

    def advance(self, now: int) -> None:
        """Let everything happen that happens at `now` or before; all of it was taken."""
        before = self._applied
        self._applied = apply_changes(self._changes, before, now, self.number, self.until, self.since)
        self._outline(self._changes[before : self._applied])
        if self._applied == len(self._changes):
            self._changes = self._changes[:0]
            self._applied = self._taken = 0

    def _list_more(self) -> bool:
        """List the changes of the next span of time in which there are some. False if there are none."""
        if self._span.until < NEVER:
            self._span = self._listing.after(self._span)
        if self._span.until == NEVER:
            return False
        self._outline(self._span.changes)
        self._changes = np.concatenate([self._changes, self._span.changes])
        return True

    def _outline(self, changes: npt.NDArray[np.int64]) -> None:
        if len(changes):
            self.revision += 1
            outline(self.outlines, self.number, self.until, changes, self._span.until)


class Histories:
    """The lives of some identities, at any time and in any order; `Lives` has those of all, as time goes on.

    Parameters
    ----------
    habits
        How identities come and go.
    seed
        Seed of the run.
    first_id
        HostId of identity 0.
    """

    def __init__(self, habits: Habits, seed: int, first_id: int) -> None:
        self._habits, self._seed, self._first_id = habits, uint64(seed), first_id
        #: Of each identity that was asked for: the number of its interval at time 0, and when its intervals end.
        self._number: dict[int, int] = {}
        self._ends: dict[int, list[int]] = {}

    def _ends_of(self, host: int, time: int) -> list[int]:
        """When the intervals of an identity end, at least up to the one that it is in at a time [ns]."""
        identity = host - self._first_id
        if identity not in self._ends:
            number, until = begin_life(self._habits, self._seed, self._first_id, identity)
            self._number[identity], self._ends[identity] = int(number), [int(until)]
        ends = self._ends[identity]
        while ends[-1] <= time:
            number = self._number[identity] + len(ends)
            ends.append(int(end_of_interval(self._habits, self._seed, self._first_id, identity, number, ends[-1])))
        return ends

    def interval(self, host: int, time: int) -> tuple[bool, int]:
        """Whether an identity is up at a time, and until when it remains what it is [ns]."""
        ends = self._ends_of(host, time)
        place = bisect_right(ends, time)
        is_up = (self._number[host - self._first_id] + place) & 1 == 0
        return is_up, ends[place]

    def sessions(self, host: int, begin: int, end: int) -> list[tuple[int, int]]:
        """From when until when an identity is up between two times [ns]."""
        found = []
        time = begin
        while time < end:
            is_up, until = self.interval(host, time)
            if is_up:
                found.append((time, min(until, end)))
            time = until
        return found
