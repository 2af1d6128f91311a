"""Hot hosts of the tests beside a tail: what they say goes in, what comes back they hear."""

from collections.abc import Container
from operator import attrgetter
from typing import Any, Protocol

from bridge.batch import EventBatch, pack_payloads
from bridge.simtime import NEVER, NS_PER_MS
from cold.engine import ColdEngine
from tests.cold.divided import DividedTail
from tests.cold.test_boundary import Received, packet, packet6, read


class Hosts(Protocol):
    """What the hosts of a test do."""

    said: list[tuple[int, int, int, int, str, Any, bytes]]
    """Time [ns], source, event id, destination, two fields for a twin, and the datagram."""

    def hear(self, packets: list[Received]) -> None:
        """Take notice of packets, and say something later on."""


def run_beside(
    tail: ColdEngine | DividedTail, hosts: Hosts, end: int, *, by_time: bool = False, over_ipv6: Container[int] = ()
) -> list[Received]:
    """Run a tail beside hot hosts, some of which speak IPv6, to a time [ns], by windows; returns what they got.

    What is said and heard in one window is so in the order in which it was noted, or, `by_time`, in that of its times.
    """
    received: list[Received] = []
    delivered: set[int] = set()
    while True:
        waiting = [each for each in hosts.said if each[2] not in delivered]
        start = min([tail.next_event_time(), *(each[0] for each in waiting)], default=NEVER)
        if start >= end:
            break
        window_end = min(start + 2 * NS_PER_MS, end)
        if by_time:
            waiting.sort(key=lambda each: (each[0], each[2]))
        for time, source, event, destination, _, _, data in waiting:
            if time < window_end:
                delivered.add(event)
                wrap = packet6 if source in over_ipv6 else packet
                offset, payload = pack_payloads([wrap(source, destination, data)])
                tail.deliver(
                    EventBatch.build([time], [source], [event], [destination], payload_offset=offset, payload=payload)
                )
        new = read(tail.run_until(window_end))
        if by_time:
            new.sort(key=attrgetter("time", "source", "event"))
        hosts.hear(new)
        received += new
    tail.run_until(end)
    return received
