"""Finding the native programs that are installed with the Python packages.

Each lies in the `bin` folder of a package, so that wheels carry it and no search path has to know it. In an
editable installation it lies in the build folder instead; `importlib.resources` knows where.
"""

import os
from importlib import resources
from pathlib import Path

_PACKAGES = ("antumbra", "shim")


def find(name: str) -> Path:
    """Path of an installed program of ours, such as ``gossip-node`` or ``antumbra-shim``.

    Raises
    ------
    FileNotFoundError
        No package has an executable file of this name in its ``bin`` folder.
    """
    for package in _PACKAGES:
        candidate = resources.files(package) / "bin" / name
        # Not a path: what an editable installation answers for a file that it does not know.
        if isinstance(candidate, Path) and candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError(f"no program {name!r} is installed with Antumbra: install the package again")
