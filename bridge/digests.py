"""Digests by which two runs are compared: of files and file trees."""

import hashlib
import os
import stat
from pathlib import Path


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_entries(root: Path) -> dict[str, str]:
    """Digest every entry below a directory.

    Names, kinds, contents and the targets of symbolic links count. Owners, modes, times and inode numbers do
    not: they belong to the machine that the run was made on. Nor does the place of the directory: a link by an absolute
    name to what is in it counts by the name below it.

    Returns
    -------
    dict
        For each path relative to `root`, sorted by its bytes: ``file:<sha256>``, ``link:<sha256 of the
        target>``, ``directory``, or ``special`` (sockets, pipes, devices).
    """
    entries: dict[str, str] = {}
    place = os.fsencode(root.resolve()) + b"/"
    for folder, folder_names, file_names in os.walk(root):
        for name in folder_names + file_names:
            path = Path(folder) / name
            entries[str(path.relative_to(root))] = _entry_digest(path, place)
    return {name: entries[name] for name in sorted(entries, key=os.fsencode)}


def tree_digest(root: Path) -> str:
    """SHA-256 over the sorted entries of a directory, in hex: equal for equal trees on any machine."""
    total = hashlib.sha256()
    for name, entry in tree_entries(root).items():
        # Neither a name nor an entry holds a zero byte, so no two trees look alike.
        total.update(os.fsencode(name) + b"\0" + entry.encode() + b"\0")
    return total.hexdigest()


def _entry_digest(path: Path, place: bytes) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISREG(mode):
        return f"file:{file_digest(path)}"
    if stat.S_ISLNK(mode):
        target = os.fsencode(path.readlink())
        if target.startswith(place):
            # No target has a zero byte, so none says this.
            target = b"\0" + target.removeprefix(place)
        return f"link:{hashlib.sha256(target).hexdigest()}"
    return "directory" if stat.S_ISDIR(mode) else "special"
