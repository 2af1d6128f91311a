"""How kernels are compiled: the only place that names numba's options and its cache.

Numba's own cache notices a change in the file of a kernel, but not in the files of the kernels that it calls. So the
kernels of a file are cached in a directory named after the contents of that file and of all that it imports from this
project. Set ``NUMBA_CACHE_DIR`` to put them elsewhere, ``NUMBA_DISABLE_JIT=1`` to step through kernels in a debugger.
"""

import ast
import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba.core import types

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

#: Wrap-around integer arithmetic, and no exceptions for a division by zero that cannot happen.
OPTIONS: Final[dict[str, Any]] = {"cache": True, "error_model": "numpy", "boundscheck": False}

#: Conversions inside kernels. They are numpy's; to the type checker every integer of a kernel is an int.
int64: Final = cast(Callable[[Any], int], np.int64)
uint64: Final = cast(Callable[[Any], int], np.uint64)

#: The type of a constant's value, whatever the value.
_unliteral: Final[Callable[[Any], Any]] = types.unliteral

_ROOT: Final = Path(__file__).resolve().parent.parent
#: What follows a module's imports.
_FIRST_DEFINITION: Final = re.compile(rb"^(?:@|def |class )", re.MULTILINE)


@functools.cache
def _contents(module: Path) -> bytes:
    return module.read_bytes()


@functools.cache
def _imported_by(module: Path) -> frozenset[Path]:
    """Files of this project that `module` names in its imports."""
    head = _FIRST_DEFINITION.split(_contents(module), maxsplit=1)[0]
    names: set[str] = set()
    for statement in ast.parse(head).body:
        if isinstance(statement, ast.Import):
            names.update(alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            names.add(statement.module)
            names.update(f"{statement.module}.{alias.name}" for alias in statement.names)
    files = (_ROOT.joinpath(*name.split(".")).with_suffix(".py") for name in names)
    return frozenset(file for file in files if file.is_file())


def sources_of(module: Path) -> list[Path]:
    """`module` and the files of this project that it imports, whose imports count too, in the order of their paths."""
    found, unread = {module}, [module]
    while unread:
        fresh = _imported_by(unread.pop()) - found
        found |= fresh
        unread += fresh
    return sorted(found)


@functools.cache
def _cache_directory(module: Path) -> str:
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__}".encode())
    for path in sources_of(module):
        digest.update(_contents(path))
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return str(base / "antumbra" / "numba" / digest.hexdigest()[:16])


@contextlib.contextmanager
def _caching_at(directory: str) -> Iterator[None]:
    """Have what numba is told to compile cached in `directory`, where the user has not chosen another."""
    configuration: Any = numba.config
    chosen = configuration.CACHE_DIR
    configuration.CACHE_DIR = chosen or directory
    try:
        yield
    finally:
        configuration.CACHE_DIR = chosen


def kernel(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile `function` with numba in nopython mode, with this room's options."""
    return _compiled(function, forceinline=False)


def inlined_kernel(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """As `kernel`, and have LLVM put the code of `function` where it is called.

    For what every edge event calls: a call costs some ten instructions, and works out again what does not change in the
    caller's loop.
    """
    return _compiled(function, forceinline=True)


def _compiled(function: Callable[Parameters, Result], *, forceinline: bool) -> Callable[Parameters, Result]:
    with _caching_at(_cache_directory(Path(function.__code__.co_filename).resolve())):
        compiled: Any = numba.njit(**OPTIONS, forceinline=forceinline)(function)
    if compiled is not function:  # As it is where `NUMBA_DISABLE_JIT` is set.
        compiled.get_call_template = functools.partial(_call_without_literals, compiled.get_call_template)
    return cast(Callable[Parameters, Result], compiled)


def _call_without_literals(template: Callable[..., Any], args: Sequence[Any], kws: Mapping[str, Any]) -> Any:
    """Find the code for a call by the types of its arguments, whatever their values.

    Numba compiles a kernel once more for each constant that it is called with, and for a variable's first value before
    it knows the variable's type: that was a fifth of all compilation. Where a constant matters, LLVM inlines the call.
    """
    return template([_unliteral(arg) for arg in args], {name: _unliteral(kind) for name, kind in kws.items()})
