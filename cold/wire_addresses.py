"""Addresses of hosts as the kernels of `cold.boundary_kernels` read and write them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory


class WireAddresses(NamedTuple):
    """Both addresses of every host, without a table of the identities' IPv6 addresses.

    Attributes
    ----------
    address
        uint32[hosts]: IPv4.
    hot_address6
        uint64[hot hosts, 2]: IPv6 addresses of the hot hosts, high and low.
    prefix6
        uint64[2]: of those of all others, whose last 32 bits are their IPv4 addresses (`bridge.ipv6`).
    """

    address: npt.NDArray[np.uint32]
    hot_address6: npt.NDArray[np.uint64]
    prefix6: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, directory: HostDirectory) -> WireAddresses:
        """Return those of a directory. Its own array is read-only, of which numba would make another type."""
        hot = [directory.address6_of(host) for host in range(directory.hot_count)]
        return cls(directory.address.copy(), _halves(hot), _halves([directory.ipv6.prefix])[0])


def _halves(addresses: list[int]) -> npt.NDArray[np.uint64]:
    return np.array([(each >> 64, each & (1 << 64) - 1) for each in addresses], dtype=np.uint64).reshape(-1, 2)
