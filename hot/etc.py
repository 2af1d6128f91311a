"""The files below /etc that every simulated host sees instead of the machine's own.

They lie outside of the hosts' own directories, because programs must not find or change them there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from bridge.simtime import EPOCH
from hot.users import User, group_file, passwd_file

_NAME_BYTES: Final = 64
_IPV4_MAPPED: Final = 0xFFFF << 32

_SAME_EVERYWHERE: Final[Mapping[str, str | bytes]] = {
    # The simulated kernel answers there (hot/kernel/dns.c), at once.
    "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "host.conf": "multi on\n",
    "passwd": passwd_file(),
    "group": group_file(),
    # The GNU C library's own table is that of RFC 3484, which knows no unique local addresses (fc00::/7) and would put
    # them before IPv4. These are the preferences of RFC 6724 section 2.1, as other resolvers have them.
    "gai.conf": "precedence ::1/128 50\nprecedence ::/0 40\nprecedence ::ffff:0:0/96 35\nprecedence 2002::/16 30\n"
    "precedence 2001::/32 5\nprecedence fc00::/7 3\nprecedence ::/96 1\nprecedence fec0::/10 1\n"
    "precedence 3ffe::/16 1\n",
}


def hosts_file(hosts: Sequence[tuple[str, int, int]]) -> str:
    """Return /etc/hosts for an experiment; `hosts` are names, IPv4 and IPv6 addresses."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    for name, ipv4, ipv6 in hosts:
        lines += (f"{IPv4Address(ipv4)} {name}", f"{IPv6Address(ipv6)} {name}")
    return "\n".join(lines) + "\n"


def name_table(hosts: Sequence[tuple[str, int, int]]) -> bytes:
    """Return what the simulated kernel searches for the names that programs ask DNS for.

    Parameters
    ----------
    hosts
        Names, IPv4 and IPv6 addresses.

    Returns
    -------
    bytes
        Rows of 84 bytes in order of the names: the name in lower case, filled up to 64 bytes with NULs, the IPv4 and
        the IPv6 address as on the wire (``struct row`` of ``hot/kernel/dns.c``).
    """
    rows = {
        name.lower().encode("ascii").ljust(_NAME_BYTES, b"\0"): ipv4.to_bytes(4, "big") + ipv6.to_bytes(16, "big")
        for name, ipv4, ipv6 in reversed(hosts)  # of two that differ in case only, the first
        if len(name) < _NAME_BYTES
    }
    return b"".join(name + rows[name] for name in sorted(rows))


def address_table(hosts: Sequence[tuple[str, int, int]]) -> bytes:
    """Return what the simulated kernel searches for the addresses that programs ask DNS for.

    Parameters
    ----------
    hosts
        Names, IPv4 and IPv6 addresses.

    Returns
    -------
    bytes
        Rows of 80 bytes in order of the addresses: an address as 16 bytes, that of IPv4 mapped to IPv6, and the name in
        lower case, filled up to 64 bytes with NULs (``struct reverse_row`` of ``hot/kernel/dns.c``).
    """
    rows = {
        address.to_bytes(16, "big"): name.lower().encode("ascii").ljust(_NAME_BYTES, b"\0")
        for name, ipv4, ipv6 in reversed(hosts)
        if len(name) < _NAME_BYTES
        for address in (_IPV4_MAPPED | ipv4, ipv6)
    }
    return b"".join(address + rows[address] for address in sorted(rows))


def write_etc(
    root: Path, hosts: Sequence[tuple[str, int, int]], *, own: Mapping[str, Sequence[User]], seed: int
) -> list[Path]:
    """Write the files of the hosts that are simulated here and return their directories, in order.

    Parameters
    ----------
    root
        Made if it is not there. Files that all hosts share exist once, under several names.
    hosts
        Names, IPv4 and IPv6 addresses, as /etc/hosts will list them.
    own
        The hosts whose files are written, in order, and their users beside those of every host.
    seed
        Of the run: machine ids depend on it and on the name.
    """
    root.mkdir(exist_ok=True)
    tables = {"names": name_table(hosts), "addresses": address_table(hosts)}
    shared = {"hosts": hosts_file(hosts), **tables, **_SAME_EVERYWHERE}
    latest = {name: root / name for name in shared}
    for name, text in shared.items():
        _write(latest[name], text)
    directories = []
    for hostname, users in own.items():
        directory = root / f"host-{hostname}"
        directory.mkdir(exist_ok=True)
        for name, text in shared.items():
            target = directory / name
            target.unlink(missing_ok=True)
            try:
                target.hardlink_to(latest[name])
            except OSError:
                # Some file systems know no hard links, others allow only so many of one file.
                _write(target, text)
                latest[name] = target
        special = {"passwd": passwd_file(users, home=f"/srv/{hostname}"), "group": group_file(users)}
        for name, text in special.items():
            if text != shared[name]:
                (directory / name).unlink()
                _write(directory / name, text)
        _write(directory / "hostname", hostname + "\n")
        identity = hashlib.sha256(f"{seed} {hostname}".encode()).hexdigest()[:32]
        _write(directory / "machine-id", identity + "\n")
        directories.append(directory)
    return directories


def _write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content.encode("ascii") if isinstance(content, str) else content)
    path.chmod(0o644)
    # Programs see these times; two runs must show the same.
    os.utime(path, (EPOCH, EPOCH))
