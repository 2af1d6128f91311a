"""Who is who: the id, addresses, place and bandwidths of every host, decided before anything is sharded.

Hot hosts come first, by hostname; then cold identities, by node of the graph, by population and by bandwidths, so that
a range of ids is a region, whoever lives there. The addresses of a population are one range, in the order of its ids.
The directory is the same on every shard, whatever the partition.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from bridge.ipv6 import DEFAULT_PREFIX, NOBODY, Ipv6Addresses

Scalar = TypeVar("Scalar", bound=np.generic)

FIRST_HOT_ADDRESS: Final = int(IPv4Address("11.0.0.1"))
"""Where the automatic addresses of hot hosts begin, as in Shadow."""

FIRST_COLD_ADDRESS: Final = int(IPv4Address("100.64.0.0"))
LAST_COLD_ADDRESS: Final = int(IPv4Address("100.127.255.255"))
"""The automatic addresses of cold identities: the shared address space of RFC 6598."""


class DirectoryError(ValueError):
    """Addresses that cannot be given.

    Attributes
    ----------
    name : str
        The host or population that is concerned.
    ipv6 : bool
        Whether it is about an IPv6 address.
    """

    def __init__(self, name: str, message: str, *, ipv6: bool = False) -> None:
        super().__init__(message)
        self.name = name
        self.ipv6 = ipv6


@dataclass(frozen=True, slots=True)
class HotPlacement:
    """A hot host as the configuration has it. `node` is an index into the nodes in use."""

    name: str
    node: int
    uplink_bps: int
    downlink_bps: int
    address: int | None = None
    address6: int | None = None


@dataclass(frozen=True, slots=True)
class BandwidthShare:
    """Access links of one kind: their share of a population (any positive weight), bits per second."""

    share: float
    uplink_bps: int
    downlink_bps: int


@dataclass(frozen=True, slots=True)
class ColdPlacement:
    """A cold population as the configuration has it.

    Attributes
    ----------
    nodes : tuple of (int, float)
        Index of a node in use, and the weight of the identities that live there.
    bandwidth : tuple of BandwidthShare
        Empty: identities have the bandwidths of their node.
    addresses : (int, int) or None
        First and last address of the range to take addresses from.
    """

    name: str
    count: int
    nodes: tuple[tuple[int, float], ...]
    bandwidth: tuple[BandwidthShare, ...] = ()
    addresses: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class PlacedPopulation:
    """A cold population and its addresses: its identity number n has `first_address` + n."""

    name: str
    count: int
    first_address: int


@dataclass(frozen=True, slots=True)
class ColdRange:
    """Identities of one population with neighbouring ids.

    The i-th of them has the id `first_id` + i and the address `first_address` + i, and is number `first_number` + i of
    its population, whose name is `population`.
    """

    population: str
    first_id: int
    count: int
    first_number: int
    first_address: int


@dataclass(frozen=True)
class HostDirectory:
    """Every host of the experiment, by HostId.

    Attributes
    ----------
    hostnames : tuple of str
        Of the hot hosts; the index is the HostId.
    total_count : int
        Hot hosts and cold identities.
    address : ndarray of uint32, shape (total_count,)
        IPv4 addresses as host-order integers.
    node : ndarray of int32, shape (total_count,)
        Index into the nodes in use, a place of `bridge.paths.Paths`.
    uplink_bps, downlink_bps : ndarray of int64, shape (total_count,)
        Bits per second.
    populations : tuple of PlacedPopulation
        By name.
    ranges : tuple of ColdRange
        Of all cold identities, by first id. A population that lives at several nodes may have several, and those of its
        identities that have greater ids have greater numbers and addresses.
    ipv6 : Ipv6Addresses
        The rule for IPv6 addresses, and the hosts that have others.
    """

    hostnames: tuple[str, ...]
    total_count: int
    address: npt.NDArray[np.uint32]
    node: npt.NDArray[np.int32]
    uplink_bps: npt.NDArray[np.int64]
    downlink_bps: npt.NDArray[np.int64]
    populations: tuple[PlacedPopulation, ...]
    ranges: tuple[ColdRange, ...]
    ipv6: Ipv6Addresses

    @property
    def hot_count(self) -> int:
        """Return the number of hot hosts; their ids are 0 up to it."""
        return len(self.hostnames)

    @cached_property
    def _id_by_name(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.hostnames)}

    @cached_property
    def _hot_id_by_address(self) -> dict[int, int]:
        return {int(address): number for number, address in enumerate(self.address[: self.hot_count])}

    @cached_property
    def _ranges_by_address(self) -> tuple[list[int], list[ColdRange]]:
        ranges = sorted(self.ranges, key=lambda cold: cold.first_address)
        return [cold.first_address for cold in ranges], ranges

    @cached_property
    def _first_ids(self) -> list[int]:
        return [cold.first_id for cold in self.ranges]

    def id_of_name(self, name: str) -> int:
        """Return the id of the hot host of this name, or -1."""
        return self._id_by_name.get(name, -1)

    def id_of_address(self, address: int) -> int:
        """Return the id of the host that has this address, or -1."""
        starts, ranges = self._ranges_by_address
        place = bisect_right(starts, address) - 1
        if place >= 0 and address - starts[place] < ranges[place].count:
            return ranges[place].first_id + address - starts[place]
        return self._hot_id_by_address.get(address, -1)

    def id_of_identity(self, number: int) -> int:
        """Return the id of a cold identity by its number, counted through the populations, by name."""
        for population in self.populations:
            if number < population.count:
                return self.id_of_address(population.first_address + number)
            number -= population.count
        raise IndexError("there are not so many identities")

    def by_population(self, values: Mapping[str, object], dtype: type[Scalar]) -> npt.NDArray[Scalar]:
        """Return for each cold identity what its population has in `values`: dtype[cold identities]."""
        of_ranges = np.array([values[cold.population] for cold in self.ranges], dtype=dtype)
        return np.repeat(of_ranges, np.array([cold.count for cold in self.ranges], dtype=np.int64))

    def address6_of(self, host_id: int) -> int:
        """Return the IPv6 address of a host, as a 128-bit integer."""
        return self.ipv6.address_of(host_id, int(self.address[host_id]))

    @cached_property
    def exceptions6(self) -> dict[int, int]:
        """Return the IPv6 addresses that are not computed, ascending, and whose they are (or `bridge.ipv6.NOBODY`)."""
        return self.ipv6.exceptions({host_id: int(self.address[host_id]) for host_id in self.ipv6.own})

    def id_of_address6(self, address: int) -> int:
        """Return the id of the host that has this IPv6 address, or -1."""
        if address in self.exceptions6:
            owner = self.exceptions6[address]
            return -1 if owner == NOBODY else owner
        embedded = self.ipv6.embedded(address)
        return self.id_of_address(embedded) if embedded >= 0 else -1

    def name_of(self, host_id: int) -> str:
        """Return a name for messages: the hostname, or the population and the identity's number in it."""
        if host_id < self.hot_count:
            return self.hostnames[host_id]
        cold = self.ranges[bisect_right(self._first_ids, host_id) - 1]
        return f"{cold.population}[{cold.first_number + host_id - cold.first_id}]"


def build_directory(
    hosts: Sequence[HotPlacement],
    populations: Sequence[ColdPlacement],
    node_bandwidth: Sequence[tuple[int, int]] = (),
    *,
    node_order: Sequence[int] = (),
    prefix6: int = int(DEFAULT_PREFIX.network_address),
) -> HostDirectory:
    """Give every host its id and address.

    Parameters
    ----------
    hosts, populations
        In any order; the result does not depend on it.
    node_bandwidth
        Uplink and downlink in bits per second of each node in use, for populations without bandwidth classes.
    node_order
        Indices of nodes in use: cold ids are given in this order of their nodes. Nodes that it lacks come after it, in
        the order in which the populations, by name, list them.
    prefix6
        Of computed IPv6 addresses; the last 32 bits are 0.

    Raises
    ------
    DirectoryError
        Two hosts with one address, or a range that is too small.
    """
    hot = sorted(hosts, key=lambda host: host.name)
    cold = sorted(populations, key=lambda population: population.name)
    explicit: dict[int, str] = {}
    for host in hot:
        if host.address is not None and explicit.setdefault(host.address, host.name) != host.name:
            message = f"{IPv4Address(host.address)} is already the address of host {explicit[host.address]}"
            raise DirectoryError(host.name, message)
    first_addresses = _place_populations(cold, explicit)
    hot_addresses = _hot_addresses(hot, set(explicit), [(first_addresses[c.name], c.count) for c in cold])

    hot_count = len(hot)
    total = hot_count + sum(population.count for population in cold)
    address = np.empty(total, dtype=np.uint32)
    node = np.empty(total, dtype=np.int32)
    uplink = np.empty(total, dtype=np.int64)
    downlink = np.empty(total, dtype=np.int64)
    address[:hot_count] = hot_addresses
    node[:hot_count] = [host.node for host in hot]
    uplink[:hot_count] = [host.uplink_bps for host in hot]
    downlink[:hot_count] = [host.downlink_bps for host in hot]
    placed = [PlacedPopulation(c.name, c.count, first_addresses[c.name]) for c in cold]
    order = dict.fromkeys([*node_order, *(place for population in cold for place, _ in population.nodes)])
    members = [_members(population, order) for population in cold]
    runs = [(number, of.get(place, 0)) for place in order for number, of in enumerate(members)]
    ranges = lay_out(hot_count, placed, runs)
    for cold_range in ranges:
        ids = slice(cold_range.first_id, cold_range.first_id + cold_range.count)
        address[ids] = np.arange(cold_range.first_address, cold_range.first_address + cold_range.count, dtype=np.int64)
    first_id = hot_count
    for place in order:
        for population, of in zip(cold, members, strict=True):
            for link, count in _links(population, place, of.get(place, 0), node_bandwidth):
                ids = slice(first_id, first_id + count)
                node[ids], uplink[ids], downlink[ids] = place, link.uplink_bps, link.downlink_bps
                first_id += count
    for column in (address, node, uplink, downlink):
        column.flags.writeable = False
    ipv6 = Ipv6Addresses(prefix6, {i: host.address6 for i, host in enumerate(hot) if host.address6 is not None})
    directory = HostDirectory(
        tuple(host.name for host in hot), total, address, node, uplink, downlink, tuple(placed), ranges, ipv6
    )
    _check_own_addresses6(directory)
    return directory


def allot(count: int, weights: Sequence[float]) -> list[int]:
    """Divide `count` in proportion to `weights` by largest remainder, ties to the earlier weight."""
    whole = sum(weights)
    quotas = [count * weight / whole for weight in weights]
    shares = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(weights)), key=lambda place: (shares[place] - quotas[place], place))
    for place in by_remainder[: count - sum(shares)]:
        shares[place] += 1
    return shares


def lay_out(
    first_id: int, populations: Sequence[PlacedPopulation], runs: Iterable[tuple[int, int]]
) -> tuple[ColdRange, ...]:
    """Give ids to identities, run after run, and to those of a population its numbers and addresses.

    Parameters
    ----------
    first_id
        The first id that is given.
    populations
        All of them.
    runs
        Index of a population, and how many of its identities come next. Runs of one population that follow each other
        become one range; runs of none leave no trace.
    """
    numbered = [0] * len(populations)
    ranges: list[ColdRange] = []
    for index, count in runs:
        if not count:
            continue
        population, first_number = populations[index], numbered[index]
        numbered[index] += count
        if ranges and ranges[-1].population == population.name:
            ranges[-1] = replace(ranges[-1], count=ranges[-1].count + count)
        else:
            first_address = population.first_address + first_number
            ranges.append(ColdRange(population.name, first_id, count, first_number, first_address))
        first_id += count
    return tuple(ranges)


def _members(population: ColdPlacement, order: Iterable[int]) -> dict[int, int]:
    """Return how many of a population live at each of its nodes; where shares are equal, earlier nodes get more."""
    weights = dict(population.nodes)
    places = [place for place in order if place in weights]
    return dict(zip(places, allot(population.count, [weights[place] for place in places]), strict=True))


def _links(
    population: ColdPlacement, place: int, members: int, node_bandwidth: Sequence[tuple[int, int]]
) -> Iterator[tuple[BandwidthShare, int]]:
    """Yield the access links of the members of a population at one node, and how many have each."""
    if members:
        classes = population.bandwidth or (BandwidthShare(1.0, *node_bandwidth[place]),)
        yield from zip(classes, allot(members, [link.share for link in classes]), strict=True)


def _place_populations(cold: Sequence[ColdPlacement], explicit: dict[int, str]) -> dict[str, int]:
    """Return the first address of each population: its own range, or the first gap of the common one."""
    placed: list[tuple[int, int, str]] = []
    first: dict[str, int] = {}
    for population in sorted(cold, key=lambda c: (c.addresses is None, c.name)):
        low, high = population.addresses or (FIRST_COLD_ADDRESS, LAST_COLD_ADDRESS)
        start = low
        if population.addresses is None:
            for begin, end, _ in sorted(placed):
                if begin <= start + population.count - 1 and end >= start:
                    start = end + 1
        end = start + population.count - 1
        if end > high:
            message = (
                f"{population.count} identities do not fit {IPv4Address(low)} to {IPv4Address(high)}; "
                "give the population a larger range in 'addresses'"
            )
            raise DirectoryError(population.name, message)
        for begin, finish, other in placed:
            if begin <= end and finish >= start:
                raise DirectoryError(population.name, f"its addresses overlap those of population {other}")
        for address, host in explicit.items():
            if start <= address <= end:
                raise DirectoryError(population.name, f"its addresses include {IPv4Address(address)} of host {host}")
        placed.append((start, end, population.name))
        first[population.name] = start
    return first


def _check_own_addresses6(directory: HostDirectory) -> None:
    owner: dict[int, int] = {}
    for host_id, address in directory.ipv6.own.items():
        other = owner.setdefault(address, host_id)
        if other != host_id:
            text = f"{IPv6Address(address)} is already the address of host {directory.hostnames[other]}"
            raise DirectoryError(directory.hostnames[host_id], text, ipv6=True)
        embedded = directory.ipv6.embedded(address)
        other = directory.id_of_address(embedded) if embedded >= 0 else -1
        if other not in (-1, host_id) and other not in directory.ipv6.own:
            text = (
                f"{IPv6Address(address)} is the address of {directory.name_of(other)}, which comes from its IPv4 "
                f"address {IPv4Address(embedded)}"
            )
            raise DirectoryError(directory.hostnames[host_id], text, ipv6=True)


def _hot_addresses(hot: Sequence[HotPlacement], used: set[int], ranges: Sequence[tuple[int, int]]) -> list[int]:
    """Return the addresses of the hot hosts: their own, or the next free one not ending in .0 or .255."""
    addresses = []
    candidate = FIRST_HOT_ADDRESS
    for host in hot:
        if host.address is not None:
            addresses.append(host.address)
            continue
        while True:
            taken = next((start + count for start, count in ranges if start <= candidate < start + count), None)
            if taken is not None:
                candidate = taken
            elif candidate & 0xFF in (0, 255) or candidate in used:
                candidate += 1
            else:
                break
        addresses.append(candidate)
        candidate += 1
    return addresses
