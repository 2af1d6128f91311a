"""Ids, addresses and places: decided before sharding, the same whatever the order of the configuration."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.directory import (
    BandwidthShare,
    ColdPlacement,
    DirectoryError,
    HotPlacement,
    allot,
    build_directory,
)
from bridge.ipv6 import DEFAULT_PREFIX, NOBODY


def hot(name: str, address: str | None = None, node: int = 0) -> HotPlacement:
    return HotPlacement(name, node, 10, 20, int(IPv4Address(address)) if address else None)


def addresses(*ends: str) -> tuple[int, int]:
    return int(IPv4Address(ends[0])), int(IPv4Address(ends[1]))


def test_hosts_come_by_name_then_populations_by_name() -> None:
    cold = [ColdPlacement("z", 2, ((0, 1.0),)), ColdPlacement("y", 3, ((0, 1.0),))]
    directory = build_directory([hot("b"), hot("a")], cold, [(5, 6)])
    assert directory.hostnames == ("a", "b")
    assert directory.hot_count == 2
    assert directory.total_count == 7
    assert [(cold.population, cold.first_id, cold.count) for cold in directory.ranges] == [("y", 2, 3), ("z", 5, 2)]
    assert [str(IPv4Address(int(a))) for a in directory.address] == [
        *("11.0.0.1", "11.0.0.2", "100.64.0.0", "100.64.0.1", "100.64.0.2", "100.64.0.3", "100.64.0.4")
    ]
    assert directory.uplink_bps.tolist() == [10, 10, 5, 5, 5, 5, 5]
    assert directory.downlink_bps.tolist() == [20, 20, 6, 6, 6, 6, 6]
    assert directory.id_of_name("b") == 1
    assert directory.id_of_name("c") == -1
    assert directory.name_of(1) == "b"
    assert directory.name_of(6) == "z[1]"


def test_automatic_addresses_skip_those_in_use_and_network_ends() -> None:
    hosts = [hot(f"h{n:03}") for n in range(300)] + [hot("x", "11.0.0.2")]
    directory = build_directory(hosts, [])
    given_out = [int(a) for a in directory.address]
    assert len(set(given_out)) == 301
    assert given_out[:2] == [int(IPv4Address("11.0.0.1")), int(IPv4Address("11.0.0.3"))]
    assert not {a & 0xFF for a in given_out} & {0, 255}


def test_every_address_leads_back_to_its_id() -> None:
    cold = [ColdPlacement("t", 500, ((0, 1.0),), addresses=addresses("11.0.0.0", "11.0.3.255"))]
    directory = build_directory([hot("a"), hot("b", "9.9.9.9")], cold, [(1, 1)])
    assert [directory.id_of_address(int(a)) for a in directory.address] == list(range(502))
    assert directory.id_of_address(int(IPv4Address("8.8.8.8"))) == -1
    assert directory.id_of_address(int(directory.address.max()) + 1) == -1


@pytest.mark.parametrize(
    ("hosts", "cold", "name", "message"),
    [
        ([hot("a", "11.0.0.9"), hot("b", "11.0.0.9")], [], "b", "11.0.0.9 is already the address of host a"),
        (
            [],
            [ColdPlacement("t", 300, ((0, 1.0),), addresses=addresses("10.0.0.0", "10.0.0.255"))],
            "t",
            "300 identities do not fit 10.0.0.0 to 10.0.0.255",
        ),
        ([], [ColdPlacement("t", 5_000_000, ((0, 1.0),))], "t", "do not fit"),
        ([hot("a", "100.64.0.3")], [ColdPlacement("t", 9, ((0, 1.0),))], "t", "include 100.64.0.3 of host a"),
        (
            [],
            [
                ColdPlacement("s", 9, ((0, 1.0),), addresses=addresses("10.0.0.0", "10.0.0.255")),
                ColdPlacement("t", 9, ((0, 1.0),), addresses=addresses("10.0.0.8", "10.0.0.255")),
            ],
            "t",
            "overlap those of population s",
        ),
    ],
)
def test_addresses_that_collide_are_refused(
    hosts: list[HotPlacement], cold: list[ColdPlacement], name: str, message: str
) -> None:
    with pytest.raises(DirectoryError, match=message) as caught:
        build_directory(hosts, cold, [(1, 1)])
    assert caught.value.name == name


def test_ipv6_addresses_follow_from_ipv4_ones_but_for_those_of_their_own() -> None:
    prefix = int(IPv6Address("2001:db8::"))
    own = int(IPv6Address("2001:db8:1::7"))
    hosts = [hot("a"), dataclasses.replace(hot("b"), address6=own), hot("c")]
    cold = [ColdPlacement("t", 3, ((0, 1.0),))]
    directory = build_directory(hosts, cold, [(1, 1)], prefix6=prefix)
    assert [str(IPv6Address(directory.address6_of(i))) for i in range(6)] == [
        "2001:db8::b00:1",
        "2001:db8:1::7",
        "2001:db8::b00:3",
        "2001:db8::6440:0",
        "2001:db8::6440:1",
        "2001:db8::6440:2",
    ]
    assert [directory.id_of_address6(directory.address6_of(i)) for i in range(6)] == list(range(6))
    # What b would have had is nobody's, until another host takes it.
    assert directory.id_of_address6(prefix | int(IPv4Address("11.0.0.2"))) == -1
    assert directory.id_of_address6(own + 1) == -1
    assert directory.id_of_address6(prefix | 1 << 32 | int(IPv4Address("11.0.0.1"))) == -1
    assert directory.exceptions6 == {prefix | int(IPv4Address("11.0.0.2")): NOBODY, own: 1}
    hosts[2] = dataclasses.replace(hosts[2], address6=prefix | int(IPv4Address("11.0.0.2")))
    directory = build_directory(hosts, cold, [(1, 1)], prefix6=prefix)
    assert directory.id_of_address6(prefix | int(IPv4Address("11.0.0.2"))) == 2
    assert list(directory.exceptions6) == sorted(directory.exceptions6)


def test_an_ipv6_address_that_an_identity_has_is_refused() -> None:
    taken = int(DEFAULT_PREFIX.network_address) | int(IPv4Address("100.64.0.2"))
    with pytest.raises(DirectoryError, match=r"is the address of t\[2\], which comes from its IPv4 address") as caught:
        build_directory([dataclasses.replace(hot("a"), address6=taken)], [ColdPlacement("t", 3, ((0, 1.0),))], [(1, 1)])
    assert (caught.value.name, caught.value.ipv6) == ("a", True)


def test_populations_live_at_nodes_by_weight_and_in_classes_by_share() -> None:
    cold = ColdPlacement("t", 10, ((0, 1.0), (2, 4.0)), (BandwidthShare(0.25, 7, 8), BandwidthShare(0.75, 70, 80)))
    directory = build_directory([], [cold])
    assert directory.node.tolist() == [0] * 2 + [2] * 8
    assert directory.uplink_bps.tolist() == [7, 70] + [7] * 2 + [70] * 6
    assert directory.downlink_bps.tolist() == [8, 80] + [8] * 2 + [80] * 6


def test_identities_of_one_place_have_neighbouring_ids_whatever_their_population() -> None:
    links = (BandwidthShare(0.5, 7, 8), BandwidthShare(0.5, 70, 80))
    cold = [
        ColdPlacement("z", 6, ((0, 1.0), (2, 2.0)), links),
        ColdPlacement("y", 5, ((2, 2.0), (1, 1.0), (0, 2.0))),
        ColdPlacement("x", 1, ((0, 1.0), (1, 2.0))),
    ]
    directory = build_directory([hot("a")], cold, [(1, 2), (3, 4), (5, 6)], node_order=[2, 0, 1])
    assert [(c.name, c.count, str(IPv4Address(c.first_address))) for c in directory.populations] == [
        ("x", 1, "100.64.0.0"),
        ("y", 5, "100.64.0.1"),
        ("z", 6, "100.64.0.6"),
    ]
    tail = range(1, 13)
    assert [f"{directory.node[i]} {directory.name_of(i)} {IPv4Address(int(directory.address[i]))}" for i in tail] == [
        "2 y[0] 100.64.0.1",
        "2 y[1] 100.64.0.2",
        "2 z[0] 100.64.0.6",
        "2 z[1] 100.64.0.7",
        "2 z[2] 100.64.0.8",
        "2 z[3] 100.64.0.9",
        "0 y[2] 100.64.0.3",
        "0 y[3] 100.64.0.4",
        "0 z[4] 100.64.0.10",
        "0 z[5] 100.64.0.11",
        "1 x[0] 100.64.0.0",
        "1 y[4] 100.64.0.5",
    ]
    assert directory.uplink_bps[1:].tolist() == [5, 5, 7, 7, 70, 70, 1, 1, 7, 70, 3, 3]
    assert directory.downlink_bps[1:].tolist() == [6, 6, 8, 8, 80, 80, 2, 2, 8, 80, 4, 4]
    assert [directory.id_of_identity(number) for number in range(12)] == [11, 1, 2, 7, 8, 12, 3, 4, 5, 6, 9, 10]
    with pytest.raises(IndexError):
        directory.id_of_identity(12)


def test_what_populations_have_is_told_of_each_identity() -> None:
    cold = [ColdPlacement("a", 3, ((0, 1.0), (1, 2.0))), ColdPlacement("b", 2, ((0, 1.0), (1, 1.0)))]
    directory = build_directory([hot("h")], cold, [(5, 6)] * 2)
    told = directory.by_population({"b": 9000, "a": 70000, "c": 1}, np.int32)
    assert told.tolist() == [70000, 9000, 70000, 70000, 9000]
    assert told.dtype == np.int32
    nobody = build_directory([hot("h")], [], [(5, 6)]).by_population({}, np.bool_)
    assert nobody.tolist() == []


def test_nodes_without_an_order_come_as_populations_list_them() -> None:
    cold = [ColdPlacement("z", 4, ((1, 1.0), (3, 1.0))), ColdPlacement("y", 4, ((3, 1.0), (0, 1.0)))]
    directory = build_directory([], cold, [(1, 1)] * 4)
    assert directory.node.tolist() == [3] * 4 + [0] * 2 + [1] * 2
    assert [directory.name_of(number) for number in range(8)] == [
        *("y[0]", "y[1]", "z[0]", "z[1]", "y[2]", "y[3]", "z[2]", "z[3]")
    ]


_PLACED = st.tuples(
    st.integers(1, 40),
    st.dictionaries(st.integers(0, 5), st.floats(0.1, 10), min_size=1),
    st.lists(st.floats(0.1, 1), max_size=3),
)


@given(st.lists(_PLACED, min_size=1, max_size=4), st.permutations(range(6)), st.integers(0, 2))
def test_a_population_is_the_same_by_its_addresses_whoever_lives_beside_it(
    wanted: list[tuple[int, dict[int, float], list[float]]], order: list[int], hosts: int
) -> None:
    placed = [
        ColdPlacement(
            f"p{number}", count, tuple(nodes.items()), tuple(BandwidthShare(s, i, 9) for i, s in enumerate(shares, 1))
        )
        for number, (count, nodes, shares) in enumerate(wanted)
    ]
    hot_hosts = [hot(f"h{number}") for number in range(hosts)]
    bandwidth = [(100 + node, 200 + node) for node in range(6)]
    directory = build_directory(hot_hosts, placed[::-1], bandwidth, node_order=order)
    assert [directory.id_of_address(int(a)) for a in directory.address] == list(range(directory.total_count))
    tail = np.arange(hosts, directory.total_count)
    place = np.array(order).argsort()[directory.node[tail]]
    name = [directory.name_of(number).partition("[")[0] for number in tail.tolist()]
    assert sorted(zip(place.tolist(), name, strict=True)) == list(zip(place.tolist(), name, strict=True))
    assert sum(cold.count for cold in directory.ranges) == len(tail)
    for cold, population in zip(placed, directory.populations, strict=True):
        assert (cold.name, cold.count) == (population.name, population.count)
        alone = build_directory([], [cold], bandwidth, node_order=order)
        ids = [directory.id_of_address(population.first_address + number) for number in range(cold.count)]
        assert ids == sorted(ids)
        assert [directory.name_of(number) for number in ids] == [alone.name_of(n) for n in range(cold.count)]
        for column in ("node", "uplink_bps", "downlink_bps"):
            assert getattr(directory, column)[ids].tolist() == getattr(alone, column).tolist()


def test_one_population_is_one_range() -> None:
    directory = build_directory([hot("a")], [ColdPlacement("t", 10, ((0, 1.0), (2, 4.0)))], [(1, 1)] * 3)
    (cold,) = directory.ranges
    assert (cold.first_id, cold.count, cold.first_number) == (1, 10, 0)
    assert [int(a) for a in directory.address[1:]] == [cold.first_address + number for number in range(10)]


def test_the_directory_cannot_be_changed() -> None:
    directory = build_directory([hot("a")], [])
    with pytest.raises(ValueError, match="read-only"):
        directory.node[0] = 3


@given(st.integers(1, 10**6), st.lists(st.floats(0.01, 1e4), min_size=1, max_size=20))
def test_an_allotment_is_whole_and_within_one_of_its_quota(count: int, weights: list[float]) -> None:
    shares = allot(count, weights)
    assert sum(shares) == count
    quotas = np.array(weights) * count / sum(weights)
    assert (np.abs(np.array(shares) - quotas) <= 1 + 1e-6).all()
