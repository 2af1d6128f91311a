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
    assert [(cold.name, cold.first_id, cold.count) for cold in directory.populations] == [
        ("y", 2, 3),
        ("z", 5, 2),
    ]
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
