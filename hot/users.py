"""Users of a simulated host: who its processes run as, and what its /etc/passwd and /etc/group say.

Users exist in the simulation only; the real processes belong to whoever runs the simulator. Every host has Debian's
static accounts (Debian policy, 9.2.2), so that servers find the users that they change to, and those that its
processes ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic_core import PydanticCustomError

_NAME: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_LARGEST: Final = 2**32 - 2
"""The largest id; one more means "none"."""
_FIRST_DYNAMIC: Final = 100
"""Where ids of accounts that a host was asked for by name begin, as those of Debian's packages do."""
_NO_LOGIN: Final = "/usr/sbin/nologin"


@dataclass(frozen=True, slots=True, order=True)
class User:
    """A user of a simulated host, and the group that is its first."""

    uid: int
    gid: int
    name: str


ROOT: Final = User(0, 0, "root")

_ACCOUNTS: Final = (
    (ROOT, "/root", "/bin/bash"),
    (User(1, 1, "daemon"), "/usr/sbin", _NO_LOGIN),
    (User(2, 2, "bin"), "/bin", _NO_LOGIN),
    (User(3, 3, "sys"), "/dev", _NO_LOGIN),
    (User(8, 8, "mail"), "/var/mail", _NO_LOGIN),
    (User(13, 13, "proxy"), "/bin", _NO_LOGIN),
    (User(33, 33, "www-data"), "/var/www", _NO_LOGIN),
    (User(34, 34, "backup"), "/var/backups", _NO_LOGIN),
    (User(65534, 65534, "nobody"), "/nonexistent", _NO_LOGIN),
)
_GROUPS: Final = (
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("adm", 4),
    ("tty", 5),
    ("disk", 6),
    ("mail", 8),
    ("proxy", 13),
    ("www-data", 33),
    ("backup", 34),
    ("shadow", 42),
    ("utmp", 43),
    ("staff", 50),
    ("users", 100),
    ("nogroup", 65534),
)


@dataclass(frozen=True, slots=True)
class UserChoice:
    """What the configuration says of a process's user: a name, or numbers."""

    name: str | None = None
    uid: int | None = None
    gid: int | None = None


def parse_user(value: object) -> UserChoice:
    """Read `user` of a process: ``postgres``, ``1000`` or ``1000:100``.

    Raises
    ------
    PydanticCustomError
        It is none of these.
    """
    if isinstance(value, UserChoice):
        return value
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if _NAME.fullmatch(text):
        return UserChoice(name=text)
    numbers = re.fullmatch(r"([0-9]+)(?::([0-9]+))?", text)
    ids = [int(number) for number in numbers.groups() if number is not None] if numbers else []
    if not ids or max(ids) > _LARGEST:
        raise PydanticCustomError(
            "user",
            "{value} is not a user; write a name as 'postgres', a number as 1000, or a number and its group as "
            "'1000:100' (0 to 4294967294)",
            {"value": repr(value)},
        )
    return UserChoice(uid=ids[0], gid=ids[1] if len(ids) > 1 else None)


def resolve_users(choices: Sequence[UserChoice]) -> list[User]:
    """Return who the processes of one host run as, in their order.

    A name that Debian does not know gets the next free number from 100 on, in order of names; a number without a
    name gets one. So the numbers depend on this host's processes alone.
    """
    by_name = {user.name: user for user, _, _ in _ACCOUNTS}
    by_uid = {user.uid: user for user, _, _ in _ACCOUNTS}
    taken = {*by_uid, *(gid for _, gid in _GROUPS), *(choice.uid for choice in choices)}
    taken.update(choice.gid for choice in choices)
    number = _FIRST_DYNAMIC
    for name in sorted({choice.name for choice in choices if choice.name is not None} - by_name.keys()):
        while number in taken:
            number += 1
        by_name[name] = User(number, number, name)
        number += 1
    users = []
    for choice in choices:
        if choice.name is not None:
            users.append(by_name[choice.name])
            continue
        assert choice.uid is not None
        known = by_uid.get(choice.uid)
        gid = choice.gid if choice.gid is not None else known.gid if known else choice.uid
        users.append(User(choice.uid, gid, known.name if known else f"user{choice.uid}"))
    return users


def passwd_file(users: Iterable[User] = (), *, home: str = "/") -> str:
    """Return /etc/passwd of a host on which `users` run, whose home is `home` unless Debian says otherwise."""
    accounts = list(_ACCOUNTS)
    for user in sorted(users):
        if user.uid not in {account.uid for account, _, _ in accounts}:
            accounts.append((user, home, "/bin/sh"))
    return "".join(
        f"{account.name}:x:{account.uid}:{account.gid}:{account.name}:{directory}:{shell}\n"
        for account, directory, shell in sorted(accounts)
    )


def group_file(users: Iterable[User] = ()) -> str:
    """Return /etc/group of a host on which `users` run."""
    groups = {gid: name for name, gid in _GROUPS}
    for user in sorted(users):
        groups.setdefault(user.gid, user.name if user.gid == user.uid else f"group{user.gid}")
    return "".join(f"{name}:x:{gid}:\n" for gid, name in sorted(groups.items()))
