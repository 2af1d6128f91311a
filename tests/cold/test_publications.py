"""The plan of what identities publish: complete, ordered, and the same however it is taken."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.rng import draw_uniform
from bridge.simtime import NEVER, NS_PER_MS, NS_PER_S
from cold.publication_columns import Publications
from cold.publications import PublicationPlan
from cold.purposes import ColdPurpose
from cold.scenario import Scenario
from tests.cold.networks import directory_of, publication, section_of

LISTED = [
    publication(count=5, interval="700 ms"),
    publication(count=40, interval="0 ms", origin=3, size=3000),
    publication(topic=7, time="1 s", count=30, interval="10 ms", origin=3),
    publication(topic=7, time="3700 ms", count=3, interval="1 s"),
]


def plan_of(stop: int = 60 * NS_PER_S) -> PublicationPlan:
    section = section_of(50, topics=[1, 7], publications=LISTED)
    return PublicationPlan(Scenario(section, directory_of(50, hot=2), 11, stop))


def test_messages_come_by_time_with_ids_that_count_their_publishers_messages() -> None:
    directory = directory_of(50, hot=2)
    planned = plan_of().take(NEVER)
    published = planned.published
    assert len(published.time) == 78
    assert (np.diff(published.time) >= 0).all()
    counts: Counter[int] = Counter()
    for message_id, origin in zip(planned.message_id.tolist(), published.origin.tolist(), strict=True):
        counts[origin] += 1
        assert message_id == int(directory.address[origin]) << 32 | counts[origin]
    assert published.origin.min() >= 2
    assert published.origin.max() < 52


@settings(deadline=None)
@given(ends=st.lists(st.integers(0, 5 * NS_PER_S), max_size=12))
def test_a_plan_taken_in_pieces_is_the_plan(ends: list[int]) -> None:
    whole, pieces = plan_of().take(NEVER), plan_of()
    ids, published = [], Publications.none()
    for end in [*sorted(ends), NEVER]:
        before = pieces.next_time()
        piece = pieces.take(end)
        assert (piece.published.time < end).all()
        assert len(piece.message_id) == 0 or piece.published.time[0] == before
        assert pieces.next_time() >= end
        ids += piece.message_id.tolist()
        published = published.then(piece.published)
    assert ids == whole.message_id.tolist()
    assert all(np.array_equal(one, other) for one, other in zip(published, whole.published, strict=True))


@pytest.mark.parametrize(("stop", "count"), [(NS_PER_S, 0), (NS_PER_S + 1, 42), (1010 * NS_PER_MS + 1, 43)])
def test_nothing_is_published_at_the_end_or_later(stop: int, count: int) -> None:
    plan = plan_of(stop)
    assert len(plan.take(NEVER).message_id) == count
    assert plan.next_time() == NEVER


def test_withheld_messages_come_late_or_not_at_all() -> None:
    """The chosen are those that draw below the share; the failures apply one after another."""
    directory = directory_of(50, hot=2)
    listed = [publication(count=400, interval="10 ms")]
    late = {"kind": "withholding", "time": "2 s", "until": "4 s", "share": 0.5, "delay": "3 s"}
    never = {"kind": "withholding", "time": "3 s", "share": 0.3}
    sections = (section_of(50, publications=listed, failures=failures) for failures in ([], [late, never]))
    plain, withheld = (
        PublicationPlan(Scenario(section, directory, 5, 60 * NS_PER_S)).take(NEVER) for section in sections
    )
    expected = []
    for time, origin in zip(plain.published.time.tolist(), plain.published.origin.tolist(), strict=True):
        draws = [draw_uniform(5, origin, int(ColdPurpose.MISBEHAVIOUR), number) for number in (0, 1)]
        if draws[0] < 0.5 and 2 * NS_PER_S <= time < 4 * NS_PER_S:
            time += 3 * NS_PER_S
        if not (draws[1] < 0.3 and time >= 3 * NS_PER_S):
            expected.append((time, origin))
    published = withheld.published
    assert sorted(zip(published.time.tolist(), published.origin.tolist(), strict=True)) == sorted(expected)
    assert (np.diff(published.time) >= 0).all()
    assert 0 < len(expected) < 400
