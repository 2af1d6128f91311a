"""What the kernel would run for a path: the program itself, or the interpreter that its first line names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bridge.errors import UserError

_LINE_LIMIT: Final = 256
_DEPTH_LIMIT: Final = 5


def resolve_program(executable: Path, arguments: Sequence[str]) -> tuple[Path, tuple[str, ...]]:
    """Follow #! lines as Linux does (execve(2), "Interpreter scripts").

    Parameters
    ----------
    executable
        Absolute path of a program or a script.
    arguments
        Its argument vector, `argv[0]` included.

    Returns
    -------
    program : pathlib.Path
        The ELF program to load, without symbolic links.
    arguments : tuple of str
        The argument vector that it gets.
    """
    vector = tuple(arguments)
    for _ in range(_DEPTH_LIMIT):
        with executable.open("rb") as file:
            line = file.read(_LINE_LIMIT).split(b"\n")[0]
        if not line.startswith(b"#!"):
            return Path(os.path.realpath(executable)), vector
        words = os.fsdecode(line[2:]).strip(" \t").split(maxsplit=1)
        if not words:
            break
        vector = (*words, str(executable), *vector[1:])
        executable = Path(words[0])
    raise UserError("its first line names no program that can be run", where=str(executable))
