"""The window protocol: how participants advance together without ever hearing of an event too late.

Per window: release, ``run_until``, meet, ``deliver``. The next window is ``[t, min(t + runahead, stop))`` where t is
the earliest event of any participant of any shard, or under way between them, so an idle stretch costs one window. No
event caused inside a window can arrive inside it, because no path is shorter than the runahead; the loop checks that
instead of trusting it.

Shards meet once a window: they exchange events and agree on t before those are delivered, because senders know when
they arrive. Whoever receives an event must therefore await it until then, even if nothing will come of it: when windows
start must not depend on who is on which shard. What `bridge.batch.EventBatch.first_awaited` leaves out only tells
something, which may bring a shard's next event forward; after windows with such events shards agree again.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bridge.batch import Division, EventBatch
from bridge.batch_kernels import count_between, group
from bridge.bus import Bus, Data
from bridge.collector import only_new_objects
from bridge.errors import InternalError
from bridge.participant import (
    CountsEvents,
    FingerprintsEvents,
    Participant,
    ReportsUsedLatency,
    RunsWindows,
    Spell,
)
from bridge.simtime import NEVER

#: Maps HostIds to places: the shards that own them, or the participants of this shard.
OwnerOf: TypeAlias = Callable[[npt.NDArray[np.uint32]], npt.NDArray[np.integer[Any]]]

_PROGRESS_INTERVAL_NS: Final = 250_000_000
_MASK: Final = 2**64 - 1
#: Fewer of them are told one by one.
_MANY_WINDOWS: Final = 8
#: Columns of a spell.
_START, _EXECUTED, _WALL, _DIGEST = 0, 2, 4, 5


class CausalityError(InternalError):
    """An event would have reached the past of its destination, or a participant stayed behind its window."""


class WindowRecord(NamedTuple):
    """What one shard did in one window.

    Attributes
    ----------
    number
        Of the window, counted from 0.
    start, end, runahead
        The window and the runahead that set its length [ns].
    executed
        Events executed, per participant; 0 for one that does not count them.
    sent
        Events returned for others, per participant. That depends on the partition.
    crossed, crossed_bytes
        Events that participants here caused for participants of another kind, and their payload bytes. Added
        up over the shards they do not depend on the partition.
    digest
        Fingerprint of the events that participants here caused for other hosts, see
        `bridge.batch.EventBatch.fingerprint`. Added up over the shards, modulo 2**64, it does not depend on the
        partition.
    sent_to_shards, sent_to_shards_bytes, received_from_shards, received_from_shards_bytes
        Events exchanged with other shards, and their payload bytes.
    sent_digest, received_digest
        Fingerprints of the events sent to other shards, and of those received from them.
    links
        Shard, events and payload bytes of each batch sent to another shard.
    inner
        Windows that this shard ran inside this one; 1 if it ran this one as a whole.
    execute_wall_ns
        Wall-clock time in ``run_until``, per participant.
    exchange_wall_ns
        Wall-clock time to route and digest events, and to bring them into their wire format and out of it.
    encode_wall_ns, decode_wall_ns
        Parts of it: to divide events among shards and encode them; to decode what came, and put it in order.
    meeting_wall_ns
        Wall-clock time in meetings with other shards: to send and receive, and the wait at the barrier.
    deliver_wall_ns
        Wall-clock time in ``deliver``.
    next_event
        Time of this shard's own next event after the window; ``NEVER`` without one.
    first_arrival
        Time of the first event that was delivered here at the window's end; ``NEVER`` without one.
    """

    number: int
    start: int
    end: int
    runahead: int
    executed: tuple[int, ...]
    sent: tuple[int, ...]
    crossed: int
    crossed_bytes: int
    digest: int
    sent_to_shards: int
    sent_to_shards_bytes: int
    received_from_shards: int
    received_from_shards_bytes: int
    sent_digest: int
    received_digest: int
    links: tuple[tuple[int, int, int], ...]
    inner: int
    execute_wall_ns: tuple[int, ...]
    exchange_wall_ns: int
    encode_wall_ns: int
    decode_wall_ns: int
    meeting_wall_ns: int
    deliver_wall_ns: int
    next_event: int = NEVER
    first_arrival: int = NEVER


class QuietWindows(NamedTuple):
    """Windows in a row in which one participant worked, and told nobody else anything.

    Attributes
    ----------
    number
        Of the first window.
    runahead
        The runahead that set the lengths [ns].
    participants
        How many there are on this shard.
    position
        Whose work it was.
    windows
        As in `bridge.participant.Spell`; the next event is the shard's, too, since nobody else had one before.
    """

    number: int
    runahead: int
    participants: int
    position: int
    windows: npt.NDArray[np.int64]

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """The number of each window."""
        return np.arange(self.number, self.number + len(self.windows))

    def of_participants(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return a column for each participant: `values` for the one that worked, 0 for others."""
        columns = np.zeros((len(self.windows), self.participants), dtype=np.int64)
        columns[:, self.position] = values
        return columns

    def records(self) -> Iterator[WindowRecord]:
        """Return what there is to be told of each window."""
        nothing = (0,) * self.participants
        before, after = nothing[: self.position], nothing[self.position + 1 :]
        for number, (start, end, executed, next_event, wall, digest) in enumerate(self.windows.tolist(), self.number):
            yield WindowRecord(
                number,
                start,
                end,
                self.runahead,
                executed=(*before, executed, *after),
                sent=nothing,
                crossed=0,
                crossed_bytes=0,
                digest=digest & _MASK,
                sent_to_shards=0,
                sent_to_shards_bytes=0,
                received_from_shards=0,
                received_from_shards_bytes=0,
                sent_digest=0,
                received_digest=0,
                links=(),
                inner=1,
                execute_wall_ns=(*before, wall, *after),
                exchange_wall_ns=0,
                encode_wall_ns=0,
                decode_wall_ns=0,
                meeting_wall_ns=0,
                deliver_wall_ns=0,
                next_event=next_event,
            )


class _Work:
    """What the participants of this shard have done in a window so far; see `WindowRecord`."""

    __slots__ = ("crossed", "crossed_bytes", "deliver_wall", "digest", "execute_wall", "inner", "route_wall", "sent")

    def __init__(self, participants: int) -> None:
        self.sent = [0] * participants
        self.execute_wall = [0] * participants
        self.inner = self.crossed = self.crossed_bytes = self.digest = 0
        self.route_wall = self.deliver_wall = 0


@dataclass(frozen=True, slots=True)
class LoopResult:
    """How a window loop ended.

    Attributes
    ----------
    windows
        Number of windows run.
    reached_ns
        The simulated time up to which everything was executed: the stop time unless interrupted.
    interrupted
        Whether a stop was requested before the stop time was reached.
    wall_ns
        Wall-clock time of the loop.
    """

    windows: int
    reached_ns: int
    interrupted: bool
    wall_ns: int


class Runahead:
    """The length of the next window.

    Parameters
    ----------
    min_path_latency_ns
        Smallest latency between any two hosts that can talk.
    configured_minimum_ns
        The runahead is never shorter than this. Above the smallest latency it trades accuracy for speed:
        participants then move events to the window's end.
    dynamic
        Follow the smallest latency that was used so far instead of the smallest that is possible.
    """

    def __init__(self, min_path_latency_ns: int, *, configured_minimum_ns: int = 0, dynamic: bool = False) -> None:
        if min_path_latency_ns <= 0 and configured_minimum_ns <= 0:
            raise ValueError("a window needs a length: the smallest latency and the configured minimum are both 0")
        self.dynamic = dynamic
        self._configured_minimum = configured_minimum_ns
        self.current_ns = max(min_path_latency_ns, configured_minimum_ns)

    def observe(self, min_used_latency_ns: int) -> None:
        """Take note of the smallest latency that any shard has used so far, ``NEVER`` if none was used."""
        if self.dynamic and min_used_latency_ns != NEVER:
            self.current_ns = max(min_used_latency_ns, self._configured_minimum)


class WindowLoop:
    """Runs the participants of one shard from the start of the simulation to `stop_time_ns`.

    Parameters
    ----------
    participants
        In an order that is the same in every run: it is the order of the calls, and of the metrics' columns.
    owner
        Maps HostIds to positions in `participants`: kinds of hosts, the same on all shards.
    bus
        This shard's end of the event bus.
    runahead
        The length of windows.
    stop_time_ns
        Events at this time or later are not executed.
    shard_of
        Maps HostIds to shards; needed only if there is more than one.
    on_window
        Called with the record of each window.
    on_quiet_windows
        Called instead where several windows had nothing to tell to others, which saves time.
    on_progress
        Called with the simulated time reached, a few times a second, and at the end.
    inner_runahead_ns
        If `runahead` is that between hosts of different shards: the longest window that the participants here may run
        without hearing from each other. They then run such windows inside each window, without other shards.
    """

    def __init__(
        self,
        participants: Sequence[Participant],
        owner: OwnerOf,
        bus: Bus,
        *,
        runahead: Runahead,
        stop_time_ns: int,
        shard_of: OwnerOf | None = None,
        on_window: Callable[[WindowRecord], None] | None = None,
        on_quiet_windows: Callable[[QuietWindows], None] | None = None,
        on_progress: Callable[[int], None] | None = None,
        inner_runahead_ns: int | None = None,
    ) -> None:
        if bus.shard_count > 1 and shard_of is None:
            raise ValueError("a bus of several shards needs shard_of")
        self._participants = tuple(participants)
        self._owner = owner
        self._bus = bus
        self._runahead = runahead
        self._stop_time = stop_time_ns
        self._shard_of = shard_of
        self._on_window = on_window
        self._on_quiet_windows = on_quiet_windows
        self._on_progress = on_progress
        self._inner_runahead = inner_runahead_ns
        self._stop_requested = False
        self._event_counters = tuple(
            participant.events_executed if isinstance(participant, CountsEvents) else _count_nothing
            for participant in self._participants
        )
        self._used_latencies = tuple(
            participant.min_used_latency_ns
            for participant in self._participants
            if runahead.dynamic and isinstance(participant, ReportsUsedLatency)
        )
        self._executed_totals = [count() for count in self._event_counters]
        self._fingerprint_counters = tuple(
            participant.event_fingerprint if isinstance(participant, FingerprintsEvents) else None
            for participant in self._participants
        )
        self._fingerprint_totals = [count() if count else 0 for count in self._fingerprint_counters]
        self._has_inner_windows = inner_runahead_ns is not None and shard_of is not None
        # With other shards each window is a meeting, but those inside it are not.
        self._goes_on: tuple[int, RunsWindows] | None = None
        if bus.shard_count == 1 or self._has_inner_windows:
            able = ((i, other) for i, other in enumerate(self._participants) if isinstance(other, RunsWindows))
            self._goes_on = next(able, None)
        self._cut_events = np.zeros(bus.shard_count, dtype=np.int64)
        self._cut_bytes = np.zeros(bus.shard_count, dtype=np.int64)
        self.window = 0

    def cut(self) -> tuple[list[int], list[int]]:
        """Events, and their payload bytes, that this shard has sent to each shard so far."""
        return self._cut_events.tolist(), self._cut_bytes.tolist()

    def request_stop(self) -> None:
        """Ask all shards to stop after the current window. Safe to call from a signal handler, and again."""
        self._stop_requested = True

    def run(self) -> LoopResult:
        """Run windows until no event is left before the stop time, or a stop is requested."""
        with only_new_objects():
            return self._run()

    def _run(self) -> LoopResult:
        started = time.perf_counter_ns()
        next_progress = started + _PROGRESS_INTERVAL_NS
        number = 0
        reached = 0
        start, interrupted, _ = self._agree({}, self._next_event(), 0)[1]
        while start < self._stop_time and not interrupted:
            runahead = self._runahead.current_ns
            spell = None
            if self._goes_on is not None and not self._has_inner_windows:
                spell, start = self._run_quiet_windows(start, runahead)
                number = self.window
            end = min(start + runahead, self._stop_time)
            record, start, interrupted = self._run_window(number, start, end, runahead, spell)
            reached = end
            self.window = number = number + 1
            if self._on_window is not None:
                self._on_window(record)
            if self._on_progress is not None and time.perf_counter_ns() >= next_progress:
                self._on_progress(reached)
                next_progress = time.perf_counter_ns() + _PROGRESS_INTERVAL_NS
        if start >= self._stop_time:
            reached, interrupted = self._stop_time, False
        if self._on_progress is not None:
            self._on_progress(reached)
        return LoopResult(number, reached, interrupted, time.perf_counter_ns() - started)

    def close(self) -> None:
        """Close all participants and the bus, each even if another fails; the first failure is raised."""
        failure: BaseException | None = None
        for close in (*(participant.close for participant in self._participants), self._bus.close):
            try:
                close()
            except BaseException as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _run_quiet_windows(self, start: int, runahead: int) -> tuple[Spell, int]:
        """Let a participant run a window, and those before it that concern nobody else, which are over then.

        Returns the spell, and the start of its last window.
        """
        position, spell, quiet = self._go_on(start, runahead, self._stop_time)
        if len(quiet):
            self._executed_totals[position] += int(quiet[:, _EXECUTED].sum())
            self._fingerprint_totals[position] += int(quiet[:, _DIGEST].sum())
            self._tell(QuietWindows(self.window, runahead, len(self._participants), position, quiet))
            self.window += len(quiet)
        if spell.failure is not None:
            raise spell.failure
        return spell, int(spell.windows[-1, _START])

    def _go_on(self, start: int, runahead: int, stop: int) -> tuple[int, Spell, npt.NDArray[np.int64]]:
        """Let the participant that can run windows in a row; return its position, and which of them are over."""
        assert self._goes_on is not None
        position, participant = self._goes_on
        others = min(
            (other.next_event_time() for place, other in enumerate(self._participants) if place != position),
            default=NEVER,
        )
        spell = participant.run_windows(start, runahead, stop, others)
        return position, spell, spell.windows if spell.failure is not None else spell.windows[:-1]

    def _tell(self, windows: QuietWindows) -> None:
        if self._on_quiet_windows is not None and len(windows.windows) >= _MANY_WINDOWS:
            self._on_quiet_windows(windows)
        elif self._on_window is not None:
            for record in windows.records():
                self._on_window(record)

    def _run_window(
        self, number: int, start: int, end: int, runahead: int, spell: Spell | None
    ) -> tuple[WindowRecord, int, bool]:
        """Run one window, which the participant of a spell has run already.

        Returns its record, the start of the next one, and whether to stop instead.
        """
        clock = time.perf_counter_ns
        work = _Work(len(self._participants))
        everything = self._advance(end, work, spell)
        before = clock()
        division = self._divide(everything)
        encoded = clock()
        next_event = self._next_event()
        awaited, told = NEVER, 0
        sent = len(everything)
        if sent:
            _check_arrival(everything, end)
            awaited, told = everything.first_awaited()
        received, (next_start, interrupted, told) = self._agree(division.encoded, min(next_event, awaited), told)
        if next_start < end:
            raise CausalityError(
                f"an event at {next_start} ns is still to come, after every one before {end} ns was executed",
                where=f"window {number}",
            )
        met = clock()
        kept = inbound = division.kept
        parts = [EventBatch.decode(data) for data in received.values()] if received else []
        if parts:
            inbound = EventBatch.concatenate([kept, *parts])
        decoded = clock()
        sent_digest = everything.fingerprint() - kept.fingerprint() if division.encoded else 0
        received_digest = sum(part.fingerprint() for part in parts) if parts else 0
        exchanged = clock()
        stayed, taken = len(kept), len(inbound)
        if taken:
            self._deliver(inbound, end)
            next_event = self._next_event()
        delivered = clock()
        if told:
            # Once more, now that it has been heard.
            (next_start,) = self._bus.meet({}, (min(next_start, next_event),))[1]
        if next_event < next_start or next_start < end:
            raise CausalityError(
                f"an event at {next_event} ns is still to come, and the next window begins at {next_start} ns",
                where=f"window {number}",
            )
        reduced = clock()

        record = WindowRecord(
            number,
            start,
            end,
            runahead,
            self._executed_since_last(),
            tuple(work.sent),
            work.crossed,
            work.crossed_bytes,
            work.digest & _MASK,
            sent - stayed,
            everything.payload.shape[0] - kept.payload.shape[0],
            taken - stayed,
            inbound.payload.shape[0] - kept.payload.shape[0],
            sent_digest & _MASK,
            received_digest & _MASK,
            division.links,
            work.inner,
            tuple(work.execute_wall),
            work.route_wall + encoded - before + exchanged - met,
            encoded - before,
            decoded - met,
            met - encoded + reduced - delivered,
            work.deliver_wall + delivered - exchanged,
            next_event,
            int(inbound.deliver_time[0]) if taken else NEVER,
        )
        return record, next_start, interrupted

    def _advance(self, end: int, work: _Work, spell: Spell | None) -> EventBatch:
        """Let the participants execute their events before `end`; return what they caused that is not delivered yet."""
        if self._inner_runahead is None or self._shard_of is None:
            return self._step(end, work, spell)
        later: list[EventBatch] = []
        while True:
            start = self._next_event()
            spell = None
            if self._goes_on is not None and start < end:
                position, spell, quiet = self._go_on(start, self._inner_runahead, end)
                if spell.failure is not None:
                    raise spell.failure
                work.inner += len(quiet)
                work.execute_wall[position] += int(quiet[:, _WALL].sum())
                start = int(spell.windows[-1, _START])
            step_end = min(start + self._inner_runahead, end)
            caused = self._step(step_end, work, spell)
            if step_end == end:
                return EventBatch.concatenate([*later, caused])
            if len(caused):
                before = time.perf_counter_ns()
                stays = self._shard_of(caused.destination) == self._bus.shard
                later.append(caused.select(~stays))
                here = caused.select(stays)
                if len(here):
                    self._deliver(here, step_end)
                work.deliver_wall += time.perf_counter_ns() - before

    def _step(self, end: int, work: _Work, spell: Spell | None = None) -> EventBatch:
        """Let each participant execute its events before `end`; return all that they caused for others."""
        clock = time.perf_counter_ns
        outbound: list[EventBatch] = []
        ahead = self._goes_on[0] if self._goes_on is not None and spell is not None else None
        before = clock()
        for position, participant in enumerate(self._participants):
            if spell is not None and position == ahead:
                batch = spell.caused
                work.execute_wall[position] += int(spell.windows[-1, _WALL])
            else:
                batch = participant.run_until(end)
            count = len(batch)
            if count:
                _check_outbound(participant, batch, end)
                outbound.append(batch)
                work.sent[position] += count
            work.digest += self._fingerprint_since_last(position, batch)
            after = clock()
            work.execute_wall[position] += after - before
            before = after
        work.inner += 1
        everything = EventBatch.empty()
        if outbound:
            everything = EventBatch.concatenate(outbound)
            crossed, crossed_bytes = self._count_crossed(everything)
            work.crossed += crossed
            work.crossed_bytes += crossed_bytes
        work.route_wall += clock() - before
        return everything

    def _fingerprint_since_last(self, position: int, batch: EventBatch) -> int:
        count = self._fingerprint_counters[position]
        if count is None:
            return batch.fingerprint() if len(batch) else 0
        total = count()
        caused = total - self._fingerprint_totals[position]
        self._fingerprint_totals[position] = total
        return caused

    def _count_crossed(self, batch: EventBatch) -> tuple[int, int]:
        """Count the events, and their payload bytes, that go from one kind of participant to another."""
        if self._bus.shard_count == 1:
            # What a participant of the only shard returns is for others by definition.
            return len(batch), batch.payload.shape[0]
        source, destination = self._owner(batch.source), self._owner(batch.destination)
        return count_between(
            source.astype(np.int64, copy=False), destination.astype(np.int64, copy=False), batch.payload_offset
        )

    def _executed_since_last(self) -> tuple[int, ...]:
        executed: list[int] = []
        for position, count in enumerate(self._event_counters):
            total = count()
            executed.append(total - self._executed_totals[position])
            self._executed_totals[position] = total
        return tuple(executed)

    def _next_event(self) -> int:
        """Time of the earliest event of this shard [ns], or ``NEVER``."""
        return min([participant.next_event_time() for participant in self._participants], default=NEVER)

    def _agree(
        self, outbound: Mapping[int, Data], next_event: int, told: int
    ) -> tuple[Mapping[int, Data], tuple[int, bool, bool]]:
        """Meet all shards.

        Parameters
        ----------
        outbound
            Encoded batches for other shards.
        next_event
            The earliest of this shard's events, and of those that it caused and others await [ns].
        told
            How many of its events only tell something.

        Returns
        -------
        mapping
            Encoded batches of other shards.
        tuple
            The next event's time, whether to stop, and whether any shard's events tell something.
        """
        used_latency = NEVER
        for min_used_latency_ns in self._used_latencies:
            used_latency = min(used_latency, min_used_latency_ns())
        go_on = 0 if self._stop_requested else 1
        own = (next_event, used_latency, go_on, -told)
        received, (next_start, used_latency, go_on, telling) = self._bus.meet(outbound, own)
        self._runahead.observe(used_latency)
        return received, (next_start, not go_on, telling < 0)

    def _divide(self, batch: EventBatch) -> Division:
        if self._shard_of is None or self._bus.shard_count == 1 or not len(batch):
            return Division(batch, {}, ())
        division = batch.divide(self._shard_of(batch.destination), self._bus.shard_count, self._bus.shard)
        for shard, events, size in (
            (self._bus.shard, len(division.kept), division.kept.payload.shape[0]),
            *division.links,
        ):
            self._cut_events[shard] += events
            self._cut_bytes[shard] += size
        return division

    def _deliver(self, inbound: EventBatch, end: int) -> None:
        _check_arrival(inbound, end)
        owners = self._owner(inbound.destination).astype(np.int64, copy=False)
        positions, groups = group(owners, len(self._participants), inbound.payload_offset)
        for place, first, last, _ in groups.tolist():
            own = inbound if last - first == len(inbound) else inbound.select(positions[first:last])
            self._participants[place].deliver(own)
        if len(positions) < len(inbound):
            raise InternalError(f"{len(inbound) - len(positions)} events are for hosts that no participant here owns")


def _check_outbound(participant: Participant, batch: EventBatch, end: int) -> None:
    # In order, so the first event is the earliest.
    if batch.deliver_time[0] < end:
        raise CausalityError(
            f"{type(participant).__name__} returned event {batch.source_event[0]} of host {batch.source[0]} "
            f"for {batch.deliver_time[0]} ns, inside the window that ends at {end} ns"
        )


def _check_arrival(batch: EventBatch, end: int) -> None:
    if batch.deliver_time[0] < end:
        raise CausalityError(
            f"event {batch.source_event[0]} of host {batch.source[0]} is for {batch.deliver_time[0]} ns, but its "
            f"destination, host {batch.destination[0]}, has already reached {end} ns"
        )


def _count_nothing() -> int:
    return 0
