"""PHOLD, the classic load of parallel discrete-event simulators, as a participant.

Every event a host executes causes one other event, for a random host after a random delay of at least the
path's latency. Events for hosts of the same participant stay inside, as they do in real engines.
"""

import heapq
from collections.abc import Callable

import numpy as np

from bridge.batch import EventBatch, EventKind
from bridge.rng import draw_u64
from bridge.simtime import NEVER

_PURPOSE = 99

#: (deliver time, source, source event, destination), which is also the order of execution.
Event = tuple[int, int, int, int]


class Phold:
    """Owns some of the hosts.

    Parameters
    ----------
    hosts
        HostIds it owns. Each starts with one event, at a random time below `spread_ns`.
    host_count
        Number of hosts in all participants.
    latency_ns
        Smallest delay of an event: for all, or by its source and destination.
    spread_ns
        Delays are up to this much longer.
    """

    def __init__(
        self,
        hosts: range,
        host_count: int,
        *,
        seed: int,
        latency_ns: int | Callable[[int, int], int],
        spread_ns: int,
    ) -> None:
        self.trace: list[Event] = []
        self.closed = False
        self._hosts = hosts
        self._host_count = host_count
        self._seed = seed
        self._latency = latency_ns if callable(latency_ns) else lambda _, __: latency_ns
        self._spread = spread_ns
        self._sent = dict.fromkeys(hosts, 0)
        self._min_used_latency = NEVER
        self._queue: list[Event] = [
            (draw_u64(seed, host, _PURPOSE, 0) % spread_ns, host, 0, host)  # type: ignore[misc]
            for host in hosts
        ]
        heapq.heapify(self._queue)

    def next_event_time(self) -> int:
        return self._queue[0][0] if self._queue else NEVER

    def run_until(self, window_end: int) -> EventBatch:
        outbound: list[Event] = []
        while self._queue and self._queue[0][0] < window_end:
            event = heapq.heappop(self._queue)
            self.trace.append(event)
            caused = self._cause(event)
            if caused[3] in self._hosts:
                heapq.heappush(self._queue, caused)
            else:
                outbound.append(caused)
        if not outbound:
            return EventBatch.empty()
        time, source, source_event, destination = np.array(outbound, dtype=np.int64).T
        payload = np.array([event[2] & 0xFF for event in outbound], dtype=np.uint8)
        return EventBatch.build(
            time, source, source_event, destination, EventKind.PACKET, np.arange(len(outbound) + 1), payload
        )

    def deliver(self, batch: EventBatch) -> None:
        for i in range(len(batch)):
            assert batch.payload_of(i) == bytes([int(batch.source_event[i]) & 0xFF])
            assert int(batch.destination[i]) in self._hosts
            event = (batch.deliver_time[i], batch.source[i], batch.source_event[i], batch.destination[i])
            heapq.heappush(self._queue, (int(event[0]), int(event[1]), int(event[2]), int(event[3])))

    def close(self) -> None:
        self.closed = True

    def statistics(self) -> dict[str, object]:
        return {"events": len(self.trace)}

    def events_executed(self) -> int:
        return len(self.trace)

    def min_used_latency_ns(self) -> int:
        return self._min_used_latency

    def _cause(self, event: Event) -> Event:
        host = event[3]
        self._sent[host] += 1
        random = int(draw_u64(self._seed, host, _PURPOSE, self._sent[host]))
        destination = random % self._host_count
        delay = self._latency(host, destination) + (random >> 32) % self._spread
        self._min_used_latency = min(self._min_used_latency, delay)
        return event[0] + delay, host, self._sent[host], destination
