"""The peer graph of the tail."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from cold import overlay_kernels
from cold.division import Division
from cold.membership_kernels import is_outbound
from cold.overlay import (
    NO_OVERLAY,
    Overlay,
    build_overlay,
    ends_of_group,
    room_for_ends,
    rows_of_ends,
    topic_overlay,
)
from cold.overlay_kernels import IN_MESH, NEIGHBOUR_SHIFT, ascending_order, write_ends
from tests.cold import overlay_twin


def graph_of(overlay: Overlay, first_id: int) -> csr_array:
    count = len(overlay.row_start) - 1
    columns = overlay.neighbours.astype(np.int64) - first_id
    return csr_array((np.ones(len(columns)), columns, overlay.row_start), shape=(count, count))


def rows_of(overlay: Overlay, first_id: int) -> list[dict[int, bool]]:
    """As the twin has them, in the order in which they are."""
    bounds = pairwise(overlay.row_start.tolist())
    return [
        dict(zip((overlay.neighbours[a:b] - first_id).tolist(), overlay.dialled[a:b].tolist(), strict=True))
        for a, b in bounds
    ]


def meshes_of(overlay: Overlay, topic: int, first_id: int) -> list[list[int]]:
    rows = zip(overlay.mesh[topic], overlay.mesh_count[topic].tolist(), strict=True)
    return [(row[:count] - first_id).tolist() for row, count in rows]


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 200),
    degree=st.integers(2, 40),
    first_id=st.integers(0, 100),
    topics=st.integers(1, 3),
)
def test_the_overlay_is_symmetric_connected_and_has_no_loops(
    count: int, degree: int, first_id: int, topics: int
) -> None:
    degree = min(degree, count - 1)
    overlay = build_overlay(3, first_id, count, degree, topics, 8, 12)
    graph = graph_of(overlay, first_id)
    assert (graph != graph.T).nnz == 0
    assert graph.diagonal().sum() == 0
    assert connected_components(graph)[0] == 1
    for identity in range(count):
        row = overlay.neighbours[overlay.row_start[identity] : overlay.row_start[identity + 1]]
        assert (np.diff(row.astype(np.int64)) > 0).all()
        for topic in range(topics):
            mesh = overlay.mesh[topic, identity, : overlay.mesh_count[topic, identity]]
            assert len(set(mesh.tolist())) == len(mesh)
            assert set(mesh.tolist()) <= set(row.tolist())


@settings(deadline=None, max_examples=100)
@given(high=st.lists(st.integers(0, 40), max_size=60), shift=st.integers(0, 58), repeat=st.integers(1, 5))
def test_keys_are_ordered_as_a_stable_sort_orders_them(high: list[int], shift: int, repeat: int) -> None:
    keys = np.array(high * repeat, dtype=np.uint64) << np.uint64(shift)
    assert ascending_order(keys).tolist() == np.argsort(keys, kind="stable").tolist()


def test_keys_that_differ_in_their_lowest_bits_only_are_ordered_by_these() -> None:
    random = np.random.default_rng(3)
    keys = random.integers(0, 2**64, 200, dtype=np.uint64).repeat(5) ^ random.integers(0, 8, 1000, dtype=np.uint64)
    assert ascending_order(keys).tolist() == np.argsort(keys, kind="stable").tolist()


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(1, 40),
    degree=st.integers(1, 45),
    first_id=st.integers(0, 9),
    topics=st.integers(0, 3),
    room=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    shards=st.integers(1, 3),
)
def test_a_regular_overlay_is_what_its_twin_makes(
    count: int, degree: int, first_id: int, topics: int, room: list[int], shards: int
) -> None:
    """Whether all have room for what cycles bring, or some take fewer than others."""
    most = [room[identity % len(room)] for identity in range(count)]
    cycles = overlay_twin.regular_cycles(3, first_id, count, degree)
    rows = overlay_twin.rows(count, [edge for edges in cycles for edge in edges])
    hamiltonian = max(min(degree, count - 1) // 2, 1) if count > 1 else 0
    taken = min(max(max(most) // 2, 1), hamiltonian)
    cuts = first_id + np.linspace(0, count, shards + 1).astype(np.int64)
    for shard in range(shards):
        division = Division.of(cuts, shard, first_id, count)
        overlay = build_overlay(
            3, first_id, count, degree, topics, np.array(most, dtype=np.uint8), 9, division=division
        )
        own = range(division.first, division.past)
        assert rows_of(overlay, first_id) == [rows[identity] for identity in own]
        for topic in range(topics):
            chosen = [number for number in range(hamiltonian) if (number - topic * taken) % hamiltonian < taken]
            mesh = overlay_twin.first_mesh(most, [edge for number in chosen for edge in cycles[number]])
            assert meshes_of(overlay, topic, first_id) == [mesh[identity] for identity in own]


@settings(deadline=None, max_examples=60)
@given(
    hosts=st.sets(st.integers(5, 500), min_size=1, max_size=40),
    known=st.integers(1, 30),
    sought=st.integers(1, 12),
    degree=st.integers(1, 9),
    unreachable=st.sets(st.integers(0, 39)),
)
def test_the_overlay_of_a_topic_is_what_its_twin_makes(
    hosts: set[int], known: int, sought: int, degree: int, unreachable: set[int]
) -> None:
    members = np.array(sorted(hosts), dtype=np.uint32)
    reachable = np.array([number not in unreachable for number in range(len(members))])
    overlay = topic_overlay(4, members, 17, 5, sought, known, degree, 10, reachable)
    peers = max(known, sought)
    cycles = overlay_twin.topic_cycles(4, members.tolist(), 17, peers, lambda number: bool(reachable[number]))
    edges = [edge for some in cycles for edge in some]
    assert rows_of(overlay, 5) == overlay_twin.rows(len(members), edges)
    taken = min(max(degree // 2, 1), max(sought // 2, 1), max(peers // 2, 1))
    mesh = overlay_twin.first_mesh([degree] * len(members), [edge for some in cycles[:taken] for edge in some])
    assert meshes_of(overlay, 0, 5) == mesh


@pytest.mark.parametrize("of_band", [1, 700, 1 << 11])
def test_rows_are_the_connections_whatever_is_done_at_a_time(monkeypatch: pytest.MonkeyPatch, of_band: int) -> None:
    monkeypatch.setattr(overlay_kernels, "_IDENTITIES_OF_BAND", of_band)
    # What is compiled keeps the constant that it was compiled with.
    for name in ("write_rows", "_count_ends", "_copy_ends", "_write_band"):
        kernel = getattr(overlay_kernels, name)
        monkeypatch.setattr(overlay_kernels, name, getattr(kernel, "py_func", kernel))
    monkeypatch.setattr("cold.overlay.write_rows", overlay_kernels.write_rows)
    count, first_id = 2500, 7
    random = np.random.default_rng(5)
    # Several of the same connection, in one direction or in both, are in few groups and in many.
    groups = [np.sort(random.choice(count, size, replace=False)).astype(np.uint32) for size in (900, 3, 2500, 40)]
    sought = room_for_ends(groups, [(number, 2) for number in range(len(groups))])
    edges: list[overlay_twin.Edge] = []
    for number, members in enumerate(groups):
        order = random.permutation(len(members)).astype(np.uint32)
        write_ends(order, members, 0, IN_MESH, ends_of_group(sought, number))
        edges += overlay_twin.cycle(members[order].tolist())
    kept_edges = [(int(one), int(other)) for one, other in random.integers(0, count, (500, 2)) if one != other]
    kept_edges += [(other, one) for one, other in edges[:300]]
    kept_rows = overlay_twin.rows(count, kept_edges)
    kept_start = np.concatenate([[0], np.cumsum([len(row) for row in kept_rows])])
    kept = np.array([peer << NEIGHBOUR_SHIFT | is_own for row in kept_rows for peer, is_own in row.items()], np.uint32)
    before = sought.entry.copy()
    wanted = overlay_twin.rows(count, [*edges, *((a, b) for a, row in enumerate(kept_rows) for b in row if row[b])])
    overlay = Overlay(*rows_of_ends(0, count, first_id, sought=sought, kept=(kept_start, kept)), *NO_OVERLAY[3:])
    assert rows_of(overlay, first_id) == wanted
    # Where a neighbour was, its place is.
    owner = np.repeat(np.concatenate(groups), 2)
    places = overlay.row_start[owner] + (sought.entry >> NEIGHBOUR_SHIFT)
    assert (overlay.neighbours[places] == (before >> NEIGHBOUR_SHIFT) + first_id).all()
    assert ((sought.entry ^ before) & ((1 << NEIGHBOUR_SHIFT) - 1) == 0).all()


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 120), degree=st.integers(2, 30), first=st.integers(0, 60))
def test_one_end_of_every_connection_has_dialled_it(count: int, degree: int, first: int) -> None:
    overlay = build_overlay(3, 9, count, min(degree, count - 1), 1, 8, 12)
    own = overlay.rows(min(first, count - 1), count)
    bits = own.dialled_bits()
    for row, identity in enumerate(range(min(first, count - 1), count)):
        for place in range(own.row_start[row], own.row_start[row + 1]):
            peer = int(own.neighbours[place]) - 9
            back = overlay.row_start[peer] + overlay.neighbours[
                overlay.row_start[peer] : overlay.row_start[peer + 1]
            ].tolist().index(identity + 9)
            assert is_outbound(bits, place) != overlay.dialled[back]


def test_identities_of_a_regular_overlay_have_dialled_half_of_their_connections() -> None:
    overlay = build_overlay(1, 0, 2000, 20, 1, 8, 12)
    outbound = np.add.reduceat(overlay.dialled.astype(np.int64), overlay.row_start[:-1])
    assert outbound.min() >= 6
    assert outbound.max() == 10


@pytest.mark.parametrize("degree", [7, 20, 50])
def test_the_mean_degree_is_the_one_asked_for(degree: int) -> None:
    overlay = build_overlay(1, 0, 5000, degree, 1, 8, 12)
    assert overlay.row_start[-1] / 5000 == pytest.approx(degree, rel=0.02)


def test_a_population_no_larger_than_the_degree_is_a_complete_graph() -> None:
    overlay = build_overlay(1, 0, 12, 11, 1, 8, 12)
    assert (np.diff(overlay.row_start) == 11).all()


def test_overlays_of_two_seeds_differ() -> None:
    first, second = (build_overlay(seed, 0, 100, 10, 1, 8, 12) for seed in (1, 2))
    assert not np.array_equal(first.neighbours, second.neighbours)
