"""Finding the programs that managed processes run, and seeing whether they can run at all."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from antumbra import programs

_ELF_X86_64: Final = 62
_HEADER_LENGTH: Final = 256


class BinaryError(ValueError):
    """A program that cannot be found or cannot run; the message says why, and what would help."""


def find_binary(path: str) -> Path:
    """Find a program as Shadow does, and then among those installed with this interpreter and with Antumbra.

    Parameters
    ----------
    path
        With a slash: relative to the working directory (`~/` to the user's home). A bare name: looked for in
        PATH, beside the running interpreter, and among the programs that come with Antumbra.

    Returns
    -------
    pathlib.Path
        Absolute, with symbolic links kept: a program may look at the name that it was called by.
    """
    if path.startswith("~/"):
        found = Path.home() / path[2:]
    elif "/" in path:
        found = Path(path).absolute()
    else:
        found = _find_bare(path)
    _check_runnable(found)
    return found


def _find_bare(name: str) -> Path:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.prefix) / "bin"))
    if found is not None:
        return Path(found).absolute()
    try:
        return programs.find(name)
    except FileNotFoundError:
        raise BinaryError(f"no program {name!r} in PATH; install it, or write its whole path") from None


def _check_runnable(path: Path) -> None:
    if not path.exists():
        raise BinaryError(f"there is no file {path}")
    if not path.is_file():
        raise BinaryError(f"{path} is not a file")
    if not os.access(path, os.X_OK):
        raise BinaryError(f"{path} is not executable; chmod +x it")
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_LENGTH)
    except OSError as error:
        raise BinaryError(f"{path} cannot be read: {error.strerror}") from None
    if header.startswith(b"#!"):
        words = header[2:].split(b"\n")[0].split()
        if not words or not Path(os.fsdecode(words[0])).is_file():
            interpreter = os.fsdecode(words[0]) if words else "nothing"
            raise BinaryError(f"{path} is a script for {interpreter}, which is not there")
    elif not header.startswith(b"\x7fELF"):
        raise BinaryError(f"{path} is neither an ELF program nor a script (it begins with neither ELF nor #!)")
    elif header[4:6] != b"\x02\x01" or int.from_bytes(header[18:20], "little") != _ELF_X86_64:
        raise BinaryError(f"{path} is not a 64-bit x86-64 program")
