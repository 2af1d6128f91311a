"""Groups of topics: who subscribes to what."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bridge.rng import draw_u64, draw_uniform
from cold.memberships import connections_of, memberships
from cold.purposes import ColdPurpose
from cold.subscriptions import Subscriptions, subscriptions
from cold.topics import indices_of
from tests.cold.networks import directory_of, engine_of, section_of


def drawn(identities: int, topics: list[Any], seed: int = 5, hot: int = 0) -> list[list[int]]:
    """Subscribers of each topic."""
    result = subscriptions(section_of(identities, topics=topics), seed, directory_of(identities, hot))
    assert isinstance(result, Subscriptions)
    return [result.member[a:b].tolist() for a, b in zip(result.start[:-1], result.start[1:], strict=True)]


def twin(identities: int, group: int, count: int, wanted: int, seed: int, hot: int) -> list[list[int]]:
    """The slow twin of a group with `per_identity`: a set for each identity."""
    topics: list[list[int]] = [[] for _ in range(count)]
    for identity in range(hot, hot + identities):
        chosen: set[int] = set()
        for turn in range(wanted):
            last = count - wanted + turn
            word = int(draw_u64(seed, identity, int(ColdPurpose.SUBSCRIPTION), group << 32 | turn))
            pick = (word >> 32) * (last + 1) >> 32
            chosen.add(last if pick in chosen else pick)
        for topic in chosen:
            topics[topic].append(identity)
    return topics


@settings(deadline=None, max_examples=50)
@given(
    identities=st.integers(1, 60),
    count=st.integers(1, 40),
    part=st.floats(0, 1),
    seed=st.integers(0, 2**64 - 1),
    hot=st.integers(0, 3),
)
def test_each_identity_has_as_many_topics_as_it_should(
    identities: int, count: int, part: float, seed: int, hot: int
) -> None:
    wanted = max(round(part * count), 1)
    group = {"name": "columns", "first": 10, "count": count, "per_identity": wanted}
    topics = drawn(identities, [1, group, 2], seed, hot)
    assert topics[0] == topics[-1] == list(range(hot, hot + identities))
    assert topics[1:-1] == twin(identities, 1, count, wanted, seed, hot)
    assert (np.bincount([identity for topic in topics[1:-1] for identity in topic])[hot:] == wanted).all()


def test_a_share_is_drawn_for_each_topic() -> None:
    topics = drawn(300, [{"name": "some", "first": 3, "count": 4, "share": 0.3}], seed=9, hot=1)
    purpose = int(ColdPurpose.SUBSCRIPTION)
    for index, members in enumerate(topics):
        assert members == [who for who in range(1, 301) if draw_uniform(9, who, purpose, index << 32) < 0.3]


def test_every_topic_is_as_likely_as_the_others() -> None:
    """Chi-squared over 40,000 identities with 8 of 128 topics; a fair draw fails with probability 0.001 for a new seed.

    The 8 of one identity are distinct, which makes the statistic a little smaller than that of independent draws.
    """
    topics = drawn(40_000, [{"name": "columns", "first": 0, "count": 128, "per_identity": 8}])
    assert stats.chisquare([len(topic) for topic in topics]).pvalue > 0.001


def test_topics_are_found_by_number_and_groups_by_name() -> None:
    section = section_of(3, topics=[7, {"name": "columns", "first": 10, "count": 4}, 3])
    assert section.topic_numbers == [7, 10, 11, 12, 13, 3]
    assert indices_of(section.topics, "columns") == range(1, 5)
    assert indices_of(section.topics, 12) == range(3, 4)
    assert indices_of(section.topics, 3) == range(5, 6)
    assert indices_of(section.topics, 8) is None
    assert indices_of(section.topics, "rows") is None


def test_topics_that_everybody_has_are_topics_like_any() -> None:
    engine = engine_of(40, topics=[{"name": "all", "first": 1, "count": 3, "share": 1.0}])
    assert engine.mesh_degrees().shape == (3, 40)


def test_whoever_has_as_many_neighbours_as_a_byte_has_values_can_know_them_all() -> None:
    section = section_of(
        257, topics=[{"name": "most", "first": 1, "count": 2, "share": 0.998}], overlay={"degree": 300}
    )
    connections = connections_of(section, directory_of(257), 4, [0, 1])
    assert sorted(len(members) for members in connections.members) == [256, 257]
    made = memberships(connections, 2, np.array([0, 257]), range(257), 0, 7)
    assert sorted(made.known_count) == [255] * 256 + [256] * 257
    assert len(made.known) == 255 * 256 + 256 * 257
