"""Peer graphs that identities make by dialling."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cold.dialing import Dialing, connect, dialing_of, reachability
from cold.dialing_kernels import Wishes
from cold.overlay import Overlay, build_overlay
from tests.cold.dialing_twin import DialingTwin
from tests.cold.networks import directory_of, section_of


def dialing_for(count: int, target: int, maximum: int, outbound: int, reachable: float, rounds: int) -> Dialing:
    """Identities that are alike, but that some want two more or fewer."""
    several = np.arange(count) % 3 - 1
    wishes = Wishes(
        np.maximum(target + 2 * several, 1).astype(np.uint16),
        np.maximum(maximum + 2 * several, 1).astype(np.uint16),
        np.minimum(outbound, np.maximum(target + 2 * several, 1)).astype(np.uint16),
    )
    return Dialing(wishes, np.random.default_rng(count).random(count) < reachable, rounds)


def outbound_of(overlay: Overlay) -> np.ndarray[Any, np.dtype[np.int64]]:
    identities = len(overlay.row_start) - 1
    row = np.repeat(np.arange(identities), np.diff(overlay.row_start))
    return np.bincount(row, weights=overlay.dialled, minlength=identities).astype(np.int64)


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(1, 60),
    target=st.integers(1, 20),
    more=st.integers(0, 10),
    outbound=st.integers(0, 20),
    reachable=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    rounds=st.integers(1, 4),
    seed=st.integers(0, 2**64 - 1),
)
def test_the_kernels_agree_with_the_twin(
    count: int, target: int, more: int, outbound: int, reachable: float, rounds: int, seed: int
) -> None:
    dialing = dialing_for(count, target, target + more, min(outbound, target), reachable, rounds)
    twin = DialingTwin(dialing, seed, 5)
    connections = connect(dialing, seed, 5)
    rows = [row[:made].tolist() for row, made in zip(connections.dialled, connections.made.tolist(), strict=True)]
    assert rows == twin.dialled
    overlay = build_overlay(seed, 5, count, dialing, 2, 4, 6)
    for identity in range(count):
        start, last = overlay.row_start[identity : identity + 2]
        row = dict(
            zip((overlay.neighbours[start:last] - 5).tolist(), overlay.dialled[start:last].tolist(), strict=True)
        )
        assert list(row) == sorted(twin.dialled[identity] + twin.diallers(identity))
        assert {peer for peer, dialled in row.items() if dialled} == set(twin.dialled[identity])


def test_nobody_has_more_connections_than_the_maximum_and_nobody_dials_the_unreachable() -> None:
    dialing = dialing_for(3000, 20, 23, 8, 0.6, 5)
    overlay = build_overlay(3, 0, 3000, dialing, 1, 8, 12)
    degree, outbound = np.diff(overlay.row_start), outbound_of(overlay)
    assert (degree <= dialing.wishes.maximum).all()
    assert degree.max() > 20
    assert (degree == outbound)[~dialing.is_reachable].all()
    assert (degree - outbound)[dialing.is_reachable].mean() > 10


def test_identities_have_what_they_want_where_there_is_room() -> None:
    dialing = dialing_for(3000, 20, 30, 8, 0.8, 6)
    overlay = build_overlay(3, 0, 3000, dialing, 1, 8, 12)
    degree, outbound = np.diff(overlay.row_start), outbound_of(overlay)
    assert (degree >= dialing.wishes.target).mean() > 0.999
    assert (outbound >= dialing.wishes.outbound).mean() > 0.99


def test_the_first_meshes_are_of_neighbours_with_room_and_differ_by_topic() -> None:
    dialing = dialing_for(2000, 20, 25, 8, 0.7, 4)
    room = (np.arange(2000) % 3 + 4).astype(np.uint8)
    overlay = build_overlay(3, 10, 2000, dialing, 2, room, 12)
    meshes = []
    for topic in range(2):
        rows = [
            set((row[:count] - 10).tolist())
            for row, count in zip(overlay.mesh[topic], overlay.mesh_count[topic].tolist(), strict=True)
        ]
        assert [len(row) for row in rows] == overlay.mesh_count[topic].tolist()
        for identity, row in enumerate(rows):
            start, last = overlay.row_start[identity : identity + 2]
            neighbours = set((overlay.neighbours[start:last] - 10).tolist())
            assert row <= neighbours
            assert all(identity in rows[peer] for peer in row)
            assert len(row) <= room[identity]
            if len(row) < room[identity]:
                # Whoever is left outside is full.
                assert all(len(rows[peer]) == room[peer] for peer in neighbours - row)
        assert np.mean([len(row) for row in rows]) > 4.9
        meshes.append(rows)
    assert meshes[0] != meshes[1]


def test_kinds_of_clients_dial_as_they_are_configured() -> None:
    section = section_of(
        6000,
        overlay={"target": 30, "outbound": 0.5, "rounds": 6},
        clients={
            "many": {"share": 1, "overlay": {"maximum": 60}},
            "few": {"share": 2, "overlay": {"target": 9, "maximum": 12, "outbound": 1.0}},
        },
        populations={"tail": {"count": 6000, "reachable": 0.7}},
    )
    directory = directory_of(6000)
    dialing = dialing_of(section, directory, 4)
    assert dialing is not None
    is_few = dialing.wishes.target == 9
    assert is_few.mean() == pytest.approx(2 / 3, abs=0.02)
    assert set(zip(*(column.tolist() for column in dialing.wishes), strict=True)) == {(30, 60, 15), (9, 12, 9)}
    assert reachability(section, directory, 4).mean() == pytest.approx(0.7, abs=0.02)
    overlay = build_overlay(4, 0, 6000, dialing, 1, 8, 12)
    degree = np.diff(overlay.row_start)
    assert degree[is_few].mean() < 12.1
    assert degree[~is_few].mean() > 29
    assert section.mean_degree == 16
