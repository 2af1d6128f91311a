"""Groups, tables of quantiles, and what is drawn from them."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.rng import philox4x32
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.jit import uint64
from cold.propagation import group_members, summarise, tabulate
from cold.propagation_kernels import LEVELS, NEVER, draw_arrivals, entry_key
from cold.purposes import ColdPurpose
from cold.topic_fields import SIZE_BITS, TopicFields, WayIn, typical_size
from cold.ways_in import exposure, exposures, lacking
from tests.cold.networks import directory_of, section_of, three_nodes
from tests.cold.test_sampled import mesh_and_rules

SEED = 2**40 + 7
NO_HOPS = np.zeros((1, LEVELS), dtype=np.uint8)
Drawn: TypeAlias = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def draw(
    starts: Sequence[int],
    host: npt.NDArray[np.uint32],
    group: npt.NDArray[np.int32],
    topic: int,
    key: int,
    tables: Sequence[npt.NDArray[np.int64]],
    hops: Sequence[npt.NDArray[np.uint8]],
    reached: Sequence[npt.NDArray[np.int64]],
    lasting: int | npt.NDArray[np.int64],
    shape: npt.NDArray[np.float64] | None = None,
) -> Drawn:
    """`draw_arrivals` of ways in, with `lasting` of all or of each."""
    each = np.broadcast_to(np.asarray(lasting, dtype=np.int64), len(starts)).copy()
    curves = exposures(np.full(len(tables[0]), 2.0) if shape is None else shape)
    start, delay, ways, shares = np.array(starts, dtype=np.int64), np.stack(tables), np.stack(hops), np.stack(reached)
    return draw_arrivals(uint64(SEED), host, group, topic, uint64(key), start, delay, ways, shares, each, curves)


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
    drawn, over, by = draw([0], host, group, 9, key, [table], [hops], [reached], 2**30)
    assert not by.any()
    assert list(zip(drawn.tolist(), over.tolist(), strict=True)) == [
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
        drawn, _, _ = draw([0], host, group, 0, 77, [table], [NO_HOPS], [reached], lasting)
        drawn.sort()
        below = np.interp(drawn, table[0], np.linspace(0, 1, LEVELS))
        assert np.abs(below - (np.arange(100_000) + 0.5) / 100_000).max() < 0.0062


@pytest.mark.parametrize(("lasting", "correlation"), [(0.0, 0.0), (0.5, 0.25), (0.9, 0.81)])
def test_places_of_two_messages_are_as_alike_as_they_should_be(lasting: float, correlation: float) -> None:
    """The standard error of a correlation of 100,000 pairs is 0.003; four of them have a probability of 0.01 %."""
    table = np.linspace(0, NS_PER_S, LEVELS).astype(np.int64)[None, :]
    host, group = np.arange(100_000, dtype=np.uint32), np.zeros(100_000, dtype=np.int32)
    one, other = (
        draw([0], host, group, 0, key, [table], [NO_HOPS], [np.array([2**32])], round(lasting * 2**32))[0]
        for key in (1, 2)
    )
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(correlation, abs=0.013)


def test_what_two_ways_expose_an_identity_to_adds_up() -> None:
    """Of two ways alike at a time, whoever needs x gets it when one would have exposed it to x / 2."""
    table = (np.linspace(0.01, 1, LEVELS) ** 2 * NS_PER_S).astype(np.int64)[None, :]
    host, group, reached = np.arange(4000, dtype=np.uint32), np.zeros(4000, dtype=np.int32), np.array([2**32])
    shape = np.array([3.0])
    one, _, _ = draw([0], host, group, 0, 77, [table], [NO_HOPS], [reached], 2**30)
    two, _, _ = draw([0, 0], host, group, 0, 77, [table] * 2, [NO_HOPS] * 2, [reached] * 2, 2**30, shape=shape)
    curve = exposures(shape)[0]
    needed = np.interp(one, table[0], curve)
    assert two == pytest.approx(np.interp(needed / 2, curve, table[0]), abs=2000)
    left = lacking(exposure(1 - np.array([0.1, 0.5]), 3.0) * 2, 3.0)
    whole = np.linspace(0, 1, LEVELS)
    assert [(two < np.interp(share, whole, table[0])).mean() for share in (0.1, 0.5)] == pytest.approx(
        1 - left, abs=0.03
    )


@settings(deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 2 * NS_PER_S), min_size=1, max_size=6))
def test_a_way_changes_nothing_before_anything_can_have_come_by_it(seed: int, starts: list[int]) -> None:
    """All shards know of a way in before that, and none takes an arrival back."""
    random = np.random.default_rng(seed)
    tables = [np.sort(random.integers(NS_PER_MS, NS_PER_S, size=(2, LEVELS)), axis=1) for _ in starts]
    hops = [np.full((2, LEVELS), number, dtype=np.uint8) for number in range(len(starts))]
    reached = [random.integers(0, 2**32, size=2, endpoint=True) for _ in starts]
    host, group = np.arange(60, dtype=np.uint32), (np.arange(60) % 2).astype(np.int32)
    lasting = random.integers(0, 2**32, size=len(starts))
    before = np.full(60, NEVER)
    for count in range(1, len(starts) + 1):
        ways = slice(count)
        times, over, by = draw(starts[ways], host, group, 0, 5, tables[ways], hops[ways], reached[ways], lasting[ways])
        begins = starts[count - 1] + tables[count - 1][group, 0]
        changed = times != before
        assert (times[changed] < before[changed]).all()
        assert (times[changed] >= begins[changed]).all()
        assert (over == by)[times != NEVER].all()
        before = times


def test_entries_of_one_message_follow_representatives_of_their_own() -> None:
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
            way = WayIn(0, publisher, source, 0, relayed)
            delays, _ = fields.arrivals(99, 1000, [way], mesh.host[others], groups.group[others])
            assert (delays >= best[directory.node[publisher], directory.node[others]]).all()
            assert delays.max() < NS_PER_S
            assert summarise(delays)[0] > 10 * NS_PER_MS
