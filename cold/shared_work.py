"""How shards share out what coarse topics in a network that changes need executed at the end of a run.

That is the small network in which messages meet (`cold.meetings`), and the representatives that messages follow. The
costs are edge events, or what takes as long, and follow from configuration and seed: all shards share out alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from cold.representatives import Part, Representation


class Task(NamedTuple):
    """Representatives that are executed at once."""

    cost: float
    representation: Representation
    parts: list[Part]
    """Those of them that messages follow, ascending."""


def tasks_of(representation: Representation, parts: Iterable[Part]) -> list[Task]:
    """Put representatives into batches, by time: those of one time share the network without a message."""
    batches: dict[Part, list[Part]] = {}
    for part in sorted(parts):
        batches.setdefault(representation.executed_with(part)[0], []).append(part)
    return [Task(representation.cost_of(batches[first]), representation, batches[first]) for first in sorted(batches)]


def share_out(tasks: Sequence[Task], shards: int, first: float) -> list[list[Task]]:
    """What each shard executes, in order: about as much each, and what comes one after the other together.

    Parameters
    ----------
    tasks
        What is to be executed, by time.
    shards
        How many there are.
    first
        What else the first one has to do, in edge events.
    """
    cost = np.array([task.cost for task in tasks])
    whole = float(cost.sum()) + first
    room = np.full(shards, whole / shards)
    if first > room[0]:
        room[:] = (whole - first) / max(shards - 1, 1)
        room[0] = 0.0
    else:
        room[0] -= first
    # Where the middle of each task is in the whole.
    middle = np.cumsum(cost) - cost / 2
    number = np.minimum(np.searchsorted(np.cumsum(room), middle, side="right"), shards - 1)
    return [[tasks[place] for place in np.flatnonzero(number == shard).tolist()] for shard in range(shards)]
