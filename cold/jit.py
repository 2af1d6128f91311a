"""How kernels are compiled: the only place that names numba's options and its cache.

Numba's own cache notices a change in the file of a kernel, but not in the files of the kernels that it calls. So the
cache of this room lies in a directory named after the contents of all of them. Set ``NUMBA_CACHE_DIR`` to put it
elsewhere, ``NUMBA_DISABLE_JIT=1`` to step through kernels in a debugger.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba
import numpy as np

import bridge.rng

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

#: Wrap-around integer arithmetic, and no exceptions for a division by zero that cannot happen.
OPTIONS: Final[dict[str, Any]] = {"cache": True, "error_model": "numpy", "boundscheck": False}

#: Conversions inside kernels. They are numpy's; to the type checker every integer of a kernel is an int.
int64: Final = cast(Callable[[Any], int], np.int64)
uint64: Final = cast(Callable[[Any], int], np.uint64)


def _sources_digest() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__}".encode())
    room = Path(__file__).parent
    names = ("purposes", "quantile_layout", "results", "score_layout")
    constants = [room / f"{name}.py" for name in names]
    for path in [*sorted(room.glob("*_kernels.py")), *constants, Path(bridge.rng.__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _choose_cache_directory() -> None:
    configuration: Any = numba.config
    if configuration.CACHE_DIR:
        return
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    configuration.CACHE_DIR = str(base / "antumbra" / "numba" / _sources_digest())


_choose_cache_directory()


def kernel(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile `function` with numba in nopython mode, with this room's options."""
    return cast(Callable[Parameters, Result], numba.njit(**OPTIONS)(function))
