"""What takes part in the window protocol inside a shard.

Three verbs carry the simulation; nothing else crosses a participant's border. The window loop calls them in
one order, always: ``run_until``, ``deliver``, ``next_event_time``.
"""

from typing import Protocol, runtime_checkable

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
