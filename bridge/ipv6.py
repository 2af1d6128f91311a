"""IPv6 addresses of hosts and identities: a pure function of their IPv4 addresses, and the few that differ.

The address is the experiment's prefix with the IPv4 address as its last 32 bits. So a population of any size needs no
table. The default prefix is of the unique local addresses (RFC 4193): by RFC 6724's preferences a name that has both
kinds of addresses means the IPv4 one first, and an experiment that never mentions IPv6 runs as if there were none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import Final

DEFAULT_PREFIX: Final = IPv6Network("fd41:6e74:756d::/96")
"""Its first bytes after fd spell "Antum"."""

LONGEST_PREFIX: Final = 96
"""Leaves 32 bits for an IPv4 address."""

NOBODY: Final = 2**32 - 1
"""Stands for a HostId where an address is nobody's."""

_IPV4_BITS: Final = 2**32


def why_not_a_host(address: IPv6Address) -> str:
    """Return why `address` cannot be that of a host, "" if it can."""
    if address.ipv4_mapped is not None or int(address) < _IPV4_BITS:
        return "loopback, unspecified, or an IPv4 address in disguise"
    if address.is_multicast or address.is_link_local:
        return "multicast or link-local"
    return ""


@dataclass(frozen=True, slots=True)
class Ipv6Addresses:
    """Who has which IPv6 address.

    Attributes
    ----------
    prefix : int
        The experiment's prefix; its last 32 bits are 0.
    own : mapping of int to int
        HostId to address, for hosts that have one of their own instead of the computed one.
    """

    prefix: int = int(DEFAULT_PREFIX.network_address)
    own: Mapping[int, int] = field(default_factory=dict)

    def address_of(self, host_id: int, ipv4: int) -> int:
        """Return the IPv6 address of a host that has this IPv4 address."""
        return self.own.get(host_id, self.prefix | ipv4)

    def embedded(self, address: int) -> int:
        """Return the IPv4 address from which `address` would be computed, or -1."""
        return address - self.prefix if 0 <= address - self.prefix < _IPV4_BITS else -1

    def exceptions(self, ipv4_of: Mapping[int, int]) -> dict[int, int]:
        """Return the addresses that do not follow the rule, ascending, and whose they are: a HostId or `NOBODY`.

        Parameters
        ----------
        ipv4_of
            IPv4 addresses of at least the hosts in `own`.
        """
        unused = {self.prefix | ipv4_of[host_id]: NOBODY for host_id in self.own}
        return dict(sorted({**unused, **{address: host_id for host_id, address in self.own.items()}}.items()))
