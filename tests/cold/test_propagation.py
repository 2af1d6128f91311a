"""Groups, tables of quantiles, and what is drawn from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.rng import philox4x32
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.jit import uint64
from cold.propagation import group_members, summarise, tabulate
from cold.propagation_kernels import LEVELS, NEVER, draw_arrivals, entry_key
from cold.purposes import ColdPurpose
from cold.topic_fields import SIZE_BITS, TopicFields, typical_size
from tests.cold.networks import directory_of, section_of, three_nodes
from tests.cold.test_sampled import mesh_and_rules

SEED = 2**40 + 7
NO_HOPS = np.zeros((1, LEVELS), dtype=np.uint8)


def test_members_are_grouped_by_node_and_links() -> None:
    directory = directory_of(800)
    groups = group_members(directory.node, directory.uplink_bps, directory.downlink_bps)
    assert groups.size.sum() == 800
    assert len(groups.size) == 6
    for number, size in enumerate(groups.size.tolist()):
        own = groups.group == number
        assert own.sum() == size
        assert (directory.node[own] == groups.node[number]).all()
        assert (directory.uplink_bps[own] == groups.uplink_bps[number]).all()
        assert (directory.downlink_bps[own] == groups.downlink_bps[number]).all()


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 3)), max_size=400))
def test_a_table_begins_with_the_smallest_and_ends_with_the_largest(entries: list[tuple[int, int]]) -> None:
    delays = np.array([delay for delay, _ in entries], dtype=np.int64)
    group = np.array([group for _, group in entries], dtype=np.int32)
    table, _, counts = tabulate(delays, np.zeros(len(entries), dtype=np.uint8), group, 4)
    assert counts.sum() == len(entries)
    for number in range(4):
        own = np.sort(delays[group == number])
        if not len(own):
            assert not table[number].any()
            continue
        assert table[number, 0] == own[0]
        assert table[number, -1] == own[-1]
        assert (np.diff(table[number]) >= 0).all()
        assert np.isin(table[number], own).all()
        assert table[number, LEVELS // 2] in (own[(len(own) - 1) // 2], own[len(own) // 2])


def slow_draw(
    host: int, topic: int, key: int, table: list[int], hops: list[int], reached: int, lasting: int
) -> tuple[int, int]:
    def words(purpose: int, counter: int) -> list[int]:
        key_words = SEED & 0xFFFFFFFF, SEED >> 32
        return [int(word) for word in philox4x32(counter & 0xFFFFFFFF, counter >> 32, host, purpose, *key_words)]

    place, choice, reach, _ = words(ColdPurpose.SAMPLED_ARRIVAL, key)
    if reach >= reached:
        return NEVER, 0
    if choice < lasting:
        place = words(ColdPurpose.LASTING_PLACE, topic)[0]
    segment, part = divmod(place * (LEVELS - 1), 2**32)
    low, high = table[segment : segment + 2]
    nearest = segment + (part >= 2**31)
    return low + ((high - low) * (part >> 12) >> 20), hops[nearest]


def test_draws_are_those_of_the_slow_twin() -> None:
    random = np.random.default_rng(1)
    table = np.sort(random.integers(0, 5 * NS_PER_S, size=(3, LEVELS)), axis=1)
    host = random.choice(2**31, size=500, replace=False).astype(np.uint32)
    group = random.integers(0, 3, size=500).astype(np.int32)
    reached = np.array([0, 2**31, 2**32], dtype=np.int64)
    key = 2**63 + 12345
    hops = random.integers(0, 9, size=(3, LEVELS)).astype(np.uint8)
    drawn, ways = draw_arrivals(uint64(SEED), host, group, 9, uint64(key), table, hops, reached, 2**30)
    assert list(zip(drawn.tolist(), ways.tolist(), strict=True)) == [
        slow_draw(h, 9, key, table[g].tolist(), hops[g].tolist(), int(reached[g]), 2**30)
        for h, g in zip(host.tolist(), group.tolist(), strict=True)
    ]
    assert (drawn[group == 0] == NEVER).all()
    assert 0 < (drawn[group == 1] == NEVER).sum() < (group == 1).sum()
    assert (drawn[group == 2] != NEVER).all()


def test_draws_follow_their_table() -> None:
    """Kolmogorov and Smirnov's bound: with 100,000 draws, a distance of 0.0062 has a probability of 0.1 %."""
    table = (np.linspace(0, 1, LEVELS) ** 2 * NS_PER_S).astype(np.int64)[None, :]
    host = np.arange(100_000, dtype=np.uint32)
    group, reached = np.zeros(100_000, dtype=np.int32), np.array([2**32])
    for lasting in (0, 2**31, 2**32):
        drawn, _ = draw_arrivals(uint64(SEED), host, group, 0, uint64(77), table, NO_HOPS, reached, lasting)
        drawn.sort()
        below = np.interp(drawn, table[0], np.linspace(0, 1, LEVELS))
        assert np.abs(below - (np.arange(100_000) + 0.5) / 100_000).max() < 0.0062


@pytest.mark.parametrize(("lasting", "correlation"), [(0.0, 0.0), (0.5, 0.25), (0.9, 0.81)])
def test_places_of_two_messages_are_as_alike_as_they_should_be(lasting: float, correlation: float) -> None:
    """The standard error of a correlation of 100,000 pairs is 0.003; four of them have a probability of 0.01 %."""
    table = np.linspace(0, NS_PER_S, LEVELS).astype(np.int64)[None, :]
    host, group = np.arange(100_000, dtype=np.uint32), np.zeros(100_000, dtype=np.int32)
    one, other = (
        draw_arrivals(
            uint64(SEED), host, group, 0, uint64(key), table, NO_HOPS, np.array([2**32]), round(lasting * 2**32)
        )[0]
        for key in (1, 2)
    )
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(correlation, abs=0.013)


def test_entries_of_one_message_have_draws_of_their_own() -> None:
    keys = {int(entry_key(uint64(message), entry)) for message in (1, 2, 2**64 - 1) for entry in range(1000)}
    assert len(keys) == 3000


@given(st.integers(0, 60_000))
def test_messages_that_share_a_field_differ_little(size: int) -> None:
    assert abs(typical_size(size) - size) <= (size + 62) / 2**SIZE_BITS
    assert typical_size(typical_size(size)) == typical_size(size)


@pytest.mark.parametrize("resolution", ["sampled", "mean-field"])
def test_no_message_is_anywhere_before_light_could_be(resolution: str) -> None:
    """Not before the publisher's copies could have come, over any number of hops."""
    section, directory, paths = section_of(600), directory_of(600), three_nodes()
    groups = group_members(directory.node, directory.uplink_bps, directory.downlink_bps)
    mesh, _ = mesh_and_rules(section, 600, 0.0, 1)
    fields = TopicFields(groups, paths, section.gossip, 50, 1, 0, resolution, 4, lambda: mesh)  # type: ignore[arg-type]
    best = paths.latency_ns.copy()
    for middle in range(3):
        best = np.minimum(best, best[:, middle, None] + best[None, middle, :])
    for publisher in (0, 400, 599):
        source = int(groups.group[publisher])
        for relayed in (False, True):
            others = np.delete(np.arange(600), publisher)
            delays, _ = fields.arrivals(
                publisher, source, 99, 1000, mesh.host[others], groups.group[others], relayed=relayed
            )
            assert (delays >= best[directory.node[publisher], directory.node[others]]).all()
            assert delays.max() < NS_PER_S
            assert summarise(delays)[0] > 10 * NS_PER_MS
