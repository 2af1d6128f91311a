"""What takes part in the window protocol inside a shard.

Three verbs carry the simulation; nothing else crosses a participant's border. The window loop calls them in
one order, always: ``run_until``, ``deliver``, ``next_event_time``. Whoever `RunsWindows` spares it many of the calls.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch
from bridge.simtime import NEVER


class Participant(Protocol):
    """An engine that owns hosts or identities, with all of their mutable state."""

    def next_event_time(self) -> int:
        """Time of the earliest event it holds [ns], or ``NEVER``.

        The next window starts at the smallest of these: an idle stretch costs one window, however long it is.
        It must be exact or early, never late, and never before the end of the last window run.
        """
        ...

    def run_until(self, window_end: int) -> EventBatch:
        """Execute its events before `window_end` and return those it caused for others.

        Everything returned is delivered at `window_end` or later: that is what lets all participants run a
        window without hearing from each other. Where a configured runahead exceeds the latency of a path, the
        participant moves the event to `window_end` itself.
        """
        ...

    def deliver(self, batch: EventBatch) -> None:
        """Take the events that others caused for its hosts.

        Called before the window that can execute them. The receiver gives an event no new metadata: its order
        is that of its source, whoever computed it.
        """
        ...

    def close(self) -> None:
        """Release processes, memory and files, leaving nothing behind. Called once, also after an error."""
        ...

    def statistics(self) -> dict[str, object]:
        """Return totals of JSON's types for ``sim-stats.json``. Called after the last window."""
        ...


@runtime_checkable
class CountsEvents(Protocol):
    """A participant whose share in each window can be told apart in the metrics."""

    def events_executed(self) -> int:
        """Events executed since the start. It must not depend on the machine or the wall clock."""
        ...


@runtime_checkable
class ReportsUsedLatency(Protocol):
    """A participant that lets the runahead follow the latencies in use instead of those configured."""

    def min_used_latency_ns(self) -> int:
        """Smallest latency of any event it has sent to another host so far [ns], or ``NEVER``."""
        ...


@runtime_checkable
class FingerprintsEvents(Protocol):
    """A participant that fingerprints all events that it causes for other hosts, also those that stay inside."""

    def event_fingerprint(self) -> int:
        """Sum of `bridge.batch.EventBatch.fingerprint` over all events so far, modulo 2**64.

        It must not depend on which hosts share a shard.
        """
        ...


class Spell(NamedTuple):
    """Windows that a participant has run in a row; see `RunsWindows`.

    Attributes
    ----------
    windows
        int64[windows, 6]: start and end; events executed; its next event after the window, or ``NEVER``; wall-clock
        time [ns]; the 64 bits of the fingerprint of the events caused.
    caused
        Events that the last window caused for others. Those before it caused none.
    failure
        Why the window after these failed, if one did. Then nobody else knows of the last window either.
    """

    windows: npt.NDArray[np.int64]
    caused: EventBatch
    failure: BaseException | None


@runtime_checkable
class RunsWindows(Protocol):
    """A participant that can go on by itself where a window tells nobody else anything.

    It counts and fingerprints its events, too.
    """

    def run_windows(self, start: int, runahead: int, stop: int, others: int) -> Spell:
        """Run a window, and those after it that the window loop would open, as long as nobody else is needed.

        Parameters
        ----------
        start
            Of the first window; before `stop`.
        runahead
            The longest window.
        stop
            No window goes beyond.
        others
            The earliest event of the other participants here: no window but the first may go beyond.

        Returns
        -------
        Spell
            What the loop would have been told of each window. Only in the last one events were caused for others,
            or the smallest latency in use has changed. How many windows there are may depend on the machine and the
            wall clock, and they are few enough for whoever wants to stop.
        """
        ...


class Nobody:
    """Stands for a kind of participant that has nothing on this shard, so that all shards count alike."""

    def next_event_time(self) -> int:
        """Return ``NEVER``."""
        return NEVER

    def run_until(self, window_end: int) -> EventBatch:  # noqa: ARG002
        """Do nothing."""
        return EventBatch.empty()

    def deliver(self, batch: EventBatch) -> None:
        """Refuse: there is nobody here."""
        raise AssertionError(f"{len(batch)} events for nobody")

    def close(self) -> None:
        """Release nothing."""

    def statistics(self) -> dict[str, object]:
        """Return nothing."""
        return {}
