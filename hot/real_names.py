"""What of the machine's own /tmp and /var/tmp a host sees.

A host has directories of its own there, so that hosts and runs do not meet in them. But an experiment may itself lie in
/tmp: programs, libraries and files that the configuration of a host's processes names are input, wherever they are.
"""

import os
import re
from typing import Final

from bridge.errors import UserError
from hot.section import HostPlan

SHARED_DIRECTORIES: Final = ("/tmp", "/var/tmp")
#: Of all names of a host, each with the byte that ends it; `REAL_NAMES_MAX` of the kernel.
_CAPACITY: Final = 1023
#: A directory or a file in one of them: what follows belongs to it. It may stand inside a word, as in `--file=/tmp/a`.
_NAME: Final = re.compile(r"""(?<![\w./-])(?:/var)?/tmp/+[^/\s:;,'"`<>|&()=\\]+""")


def real_names(host: HostPlan) -> tuple[str, ...]:
    """Find what is real in the host's temporary directories.

    Returns
    -------
    tuple of str
        Paths directly below one of `SHARED_DIRECTORIES`, in order: those that exist, and that the path, the arguments
        or the environment of one of its processes names.

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
    found = {os.path.normpath(name) for text in texts for name in _NAME.findall(text)}
    names = tuple(sorted(name for name in found if os.path.lexists(name)))
    if sum(len(os.fsencode(name)) + 1 for name in names) > _CAPACITY:
        raise UserError(
            f"its processes name {len(names)} files in /tmp and /var/tmp, more than fit",
            where=f"hosts.{host.name}",
            hint="put them into one directory, or set experimental.private_tmp to false",
        )
    return names
