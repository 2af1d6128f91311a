"""Which shard executes what at the end of a run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cold.representatives import Part
from cold.shared_work import Task, share_out, tasks_of


class Pairs:
    """Executes representatives of one number at once, at a cost of one each and one besides."""

    def executed_with(self, part: Part) -> list[Part]:
        return [part._replace(group=group) for group in range(2)]

    def cost_of(self, parts: Sequence[Part]) -> float:
        return 1.0 + len(parts)


def part_of(time: int, number: int, group: int) -> Part:
    return Part(time, number, group, 3, 100)


def test_what_is_executed_at_once_is_one_task() -> None:
    pairs: Any = Pairs()
    parts = [part_of(9, 2, 0), part_of(3, 1, 1), part_of(3, 1, 0), part_of(9, 2, 1), part_of(9, 3, 0)]
    tasks = tasks_of(pairs, parts)
    assert [task.parts for task in tasks] == [sorted(parts[1:3]), [parts[0], parts[3]], [parts[4]]]
    assert [task.cost for task in tasks] == [3.0, 3.0, 2.0]


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
@pytest.mark.parametrize("first", [0.0, 5.0, 40.0, 500.0])
def test_shards_have_as_much_to_do_and_what_is_near_in_time_stays_together(shards: int, first: float) -> None:
    draws = np.random.default_rng(shards)
    pairs: Any = Pairs()
    tasks = [Task(float(cost), pairs, [part_of(time, 0, 0)]) for time, cost in enumerate(draws.uniform(1, 3, 60))]
    shared = share_out(tasks, shards, first)
    assert [task for its in shared for task in its] == tasks
    assert len(shared) == shards
    busy = [sum(task.cost for task in its) for its in shared]
    whole = sum(busy)
    if shards > 1 and first > (whole + first) / shards:
        assert not shared[0]
        assert max(busy) - min(busy[1:]) <= 6
    else:
        assert max(busy[0] + first, *busy[1:], 0) - min(busy[0] + first, *busy[1:], whole + first) <= 6


def test_without_anything_to_do_nobody_does_anything() -> None:
    assert share_out([], 3, 0.0) == [[], [], []]
    assert share_out([], 3, 7.0) == [[], [], []]
