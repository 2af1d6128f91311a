"""Shards that are connected draw the overlay together, and each has the rows that it would have made by itself."""

import hashlib
import os
import traceback
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from bridge.bus import Bus, InProcessBus
from bridge.local_bus import fork_shards
from cold import division as division_module
from cold.division import Division, Draw
from cold.memberships import Connections, Memberships, connections_of, memberships
from tests.cold.divided import odd_cuts
from tests.cold.networks import BEHIND_NAT, PARTIAL_TOPICS, directory_of, section_of

COUNT, HOT, SEED = 90, 3, 5
CASES: dict[str, tuple[list[int], dict[str, Any]]] = {
    "regular, odd degree": ([0], {"overlay": {"degree": 13}}),
    "complete": ([0], {"overlay": {"degree": 200}}),
    "two topics, execution clients": ([0, 1], {"topics": [1, 7], "transactions": {"rate": 2, "degree": 9}}),
    "topics of some": (list(range(74)), {"topics": PARTIAL_TOPICS, "overlay": {"degree": 12, "topic_peers": 4}}),
    "small topics": (
        [0, 1],
        {
            "topics": [{"name": "few", "first": 1, "count": 2, "share": 0.05}],
            "overlay": {"degree": 4, "topic_peers": 12},
        },
    ),
    "topics of some, kinds of clients": (
        list(range(74)),
        {
            "topics": PARTIAL_TOPICS,
            "overlay": {"degree": 12, "topic_peers": 8},
            "clients": {"default": {"share": 2}, "small": {"share": 1, "gossip": {"d": 5, "d_low": 3, "d_high": 10}}},
        },
    ),
    "dialled": ([0], BEHIND_NAT),
    "dialled, topics of some": (list(range(74)), {**BEHIND_NAT, "topics": PARTIAL_TOPICS}),
}


def connections(case: str, shards: int, bus: Bus, shard: int) -> Connections:
    topics, keys = CASES[case]
    section = section_of(COUNT, **keys)
    directory = directory_of(COUNT, HOT)
    division = Division.of(odd_cuts(directory, shards), shard, HOT, COUNT, bus)
    return connections_of(section, directory, SEED, topics, division)


def digest(made: Connections) -> bytes:
    arrays: list[np.ndarray[Any, Any]] = [*made.members, *made.sought]
    for overlay in (made.overlay, made.transaction_overlay):
        if overlay is not None:
            arrays += [overlay.row_start, overlay.neighbours, overlay.dialled, overlay.mesh, overlay.mesh_count]
    described = b"".join(f"{array.dtype}{array.shape}".encode() + array.tobytes() for array in arrays)
    return hashlib.sha256(described).digest()


def told_by_shards(count: int, work: Callable[[Bus], bytes]) -> list[bytes]:
    """What `work` returns in a process for each shard."""
    bus = fork_shards(count, patience_s=60)
    if bus.shard:
        code = 0
        try:
            bus.share(work(bus))
        except BaseException:
            traceback.print_exc()
            code = 9
        os._exit(code)
    try:
        return bus.share(work(bus))
    finally:
        bus.close()


@pytest.mark.parametrize("shards", [2, 5])
@pytest.mark.parametrize("case", CASES)
def test_shards_that_draw_together_have_what_each_would_make_alone(
    monkeypatch: pytest.MonkeyPatch, case: str, shards: int
) -> None:
    monkeypatch.setattr(division_module, "_PIECE_BYTES", 100)
    told = told_by_shards(shards, lambda bus: digest(connections(case, shards, bus, bus.shard)))
    assert told == [digest(connections(case, shards, InProcessBus(), shard)) for shard in range(shards)]


@pytest.mark.parametrize("case", CASES)
def test_the_rows_of_all_shards_are_those_of_the_whole(case: str) -> None:
    whole = connections(case, 1, InProcessBus(), 0)
    parts = [connections(case, 3, InProcessBus(), shard) for shard in range(3)]
    for overlay, of_parts in (
        (whole.overlay, [part.overlay for part in parts]),
        (whole.transaction_overlay, [part.transaction_overlay for part in parts]),
    ):
        if overlay is None:
            assert of_parts == [None] * 3
            continue
        lengths = [np.diff(part.row_start) for part in of_parts if part is not None]
        assert np.array_equal(np.concatenate(lengths), np.diff(overlay.row_start))
        for name, axis in (("neighbours", 0), ("dialled", 0), ("mesh", 1), ("mesh_count", 1)):
            joined = np.concatenate([getattr(part, name) for part in of_parts], axis=axis)
            assert np.array_equal(joined, getattr(overlay, name)), name


@pytest.mark.parametrize("case", CASES)
def test_the_memberships_of_all_shards_are_those_of_the_whole(case: str) -> None:
    """First meshes, known peers and ranks; a rank is counted among the subscribers of a shard."""
    topics = len(section_of(COUNT, **CASES[case][1]).topic_numbers)

    def of(shards: int, shard: int) -> Memberships:
        cuts = odd_cuts(directory_of(COUNT, HOT), shards)
        owned = range(int(cuts[shard]), int(cuts[shard + 1]))
        return memberships(connections(case, shards, InProcessBus(), shard), topics, cuts, owned, HOT, 7)

    whole, parts = of(1, 0), [of(3, shard) for shard in (0, 2)]
    assert np.array_equal(parts[0].members.sum(axis=1), whole.members[:, 0])
    for name in ("mesh", "known_count", "known"):
        assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name)), name
    for each in (whole, *parts):
        past = np.append(0, np.cumsum(each.known_count, dtype=np.int64))
        before = each.first_row - each.full_topics * np.arange(len(each.first_row))
        assert past[-1] == len(each.known)
        assert np.array_equal(each.known_start, past[before])
    assert np.array_equal(parts[0].rank, whole.rank[: len(parts[0].rank)])
    assert (parts[1].rank <= whole.rank[len(parts[0].rank) :]).all()


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_rows_are_drawn_once_and_each_shard_gets_its_own(monkeypatch: pytest.MonkeyPatch, shards: int) -> None:
    monkeypatch.setattr(division_module, "_PIECE_BYTES", 20)
    drawn = []

    def work(bus: Bus) -> bytes:
        cuts = np.array([0, *range(2, 2 + shards)])
        division = Division.of(cuts, bus.shard, 0, int(cuts[-1]), bus)

        def draw(number: int, rows: np.ndarray[Any, np.dtype[np.uint32]]) -> None:
            drawn.append(number)
            rows[:] = 100 * number + np.arange(rows.size).reshape(rows.shape)

        own = [np.zeros((division.past - division.first, 3), dtype=np.uint32) for _ in range(7)]
        bounds = list(pairwise(cuts.tolist()))
        division.dealt([Draw(partial(draw, number), int(cuts[-1]), bounds, own[number]) for number in range(7)])
        for number, rows in enumerate(own):
            assert rows.ravel().tolist() == [100 * number + n for n in range(3 * division.first, 3 * division.past)]
        return bytes(drawn)

    assert sorted(b"".join(told_by_shards(shards, work))) == list(range(7))


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_each_order_is_drawn_once(shards: int) -> None:
    drawn = []

    def draw(number: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
        drawn.append(number)
        return np.arange(number, dtype=np.uint32)

    def work(bus: Bus) -> bytes:
        division = Division.of(np.array([0, *range(2, 2 + shards)]), bus.shard, 0, 9, bus)
        orders = list(division.drawn([lambda number=number: draw(number) for number in range(7)]))  # type: ignore[misc]
        assert [len(order) for order in orders] == list(range(7))
        return bytes(drawn)

    assert sorted(b"".join(told_by_shards(shards, work))) == list(range(7))
