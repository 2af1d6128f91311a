"""What of the machine's own /tmp, /var/tmp and /run a host sees.

A host has directories of its own there, so that hosts and runs do not meet in them. But an experiment may itself lie in
/tmp: programs, libraries and files that the configuration of a host's processes names are input, wherever they are. Of
/run only the parts are input where that can lie; what else the configuration names there, a host's servers make: the
machine may have a socket or a number of a process by that name.
"""

import os
import re
from typing import Final

from bridge.errors import UserError
from hot.section import HostPlan

SHARED_DIRECTORIES: Final = ("/tmp", "/var/tmp", "/run")
#: Of all names of a host, each with the byte that ends it; `REAL_NAMES_MAX` of the kernel.
_CAPACITY: Final = 1023
_PART: Final = r"""/+[^/\s:;,'"`<>|&()=\\]+"""
#: Home directories of sessions, removable media, what containers are given, and where NixOS keeps its programs.
_INPUT_IN_RUN: Final = rf"user/+[0-9]+{_PART}|media{_PART}{_PART}|(?:host|secrets|current-system|wrappers){_PART}"
#: A directory or a file in one of them: what follows belongs to it. It may stand inside a word, as in `--file=/tmp/a`.
_NAME: Final = re.compile(rf"(?<![\w./-])(?:(?:/var)?/tmp{_PART}|(?:/var)?/run/+(?:{_INPUT_IN_RUN}))")


def _canonical(name: str) -> str:
    name = os.path.normpath(name)
    return name.removeprefix("/var") if name.startswith("/var/run/") else name


def real_names(host: HostPlan) -> tuple[str, ...]:
    """Find what is real in the directories that a host has of its own.

    Returns
    -------
    tuple of str
        Paths below one of `SHARED_DIRECTORIES`, in order: those that exist, and that the path, the arguments or the
        environment of one of its processes names.

    Raises
    ------
    UserError
        They are too many.
    """
    texts = (
        text
        for process in host.processes
        for text in (
            str(process.executable),
            os.path.realpath(process.executable),
            *process.arguments,
            *(value for _, value in process.environment),
        )
    )
    found = {_canonical(name) for text in texts for name in _NAME.findall(text)}
    names = tuple(sorted(name for name in found if os.path.lexists(name)))
    if sum(len(os.fsencode(name)) + 1 for name in names) > _CAPACITY:
        raise UserError(
            f"its processes name {len(names)} files in {', '.join(SHARED_DIRECTORIES)}, more than fit",
            where=f"hosts.{host.name}",
            hint="put them into one directory, or set experimental.private_tmp to false",
        )
    return names
