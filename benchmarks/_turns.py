"""An engine and bare baselines that take turns, so that what else the machine does disturbs them alike."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cold.engine import ColdEngine

_ROUNDS = 4


class Taken(NamedTuple):
    """Events and visits, and the CPU time that they took [s]."""

    events: int
    spent: float
    visited: list[int]
    visiting: list[float]

    @property
    def event_ns(self) -> float:
        """What an event took."""
        return self.spent / self.events * 1e9

    @property
    def visit_ns(self) -> list[float]:
        """What a visit of each baseline took."""
        return [used / count * 1e9 for count, used in zip(self.visited, self.visiting, strict=True)]


def take_turns(
    engine: ColdEngine,
    begin_ns: int,
    span_ns: int,
    baselines: Sequence[Callable[[int], int]],
    wanted: Callable[[int], int],
) -> Taken:
    """Let an engine pass a span of simulated time, and baselines work in between.

    Parameters
    ----------
    engine
        Has reached `begin_ns`.
    begin_ns, span_ns
        The time that is measured.
    baselines
        Each visits some entries, told how many it has visited before, and returns how many these were.
    wanted
        How many each is to visit in a turn in which the engine has executed so many events, at the least.
    """
    events, spent = 0, 0.0
    visited, visiting = [0] * len(baselines), [0.0] * len(baselines)
    for turn in range(1, _ROUNDS + 1):
        before = engine.counters()["edge_events"]
        started = time.process_time()
        engine.run_until(begin_ns + span_ns * turn // _ROUNDS)
        spent += time.process_time() - started
        done = engine.counters()["edge_events"] - before
        events += done
        for number, visit in enumerate(baselines):
            goal = visited[number] + wanted(done)
            started = time.process_time()
            while visited[number] < goal:
                visited[number] += visit(visited[number])
            visiting[number] += time.process_time() - started
    return Taken(events, spent, visited, visiting)
