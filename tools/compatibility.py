"""Writes docs/compatibility.md from the code: ``python tools/compatibility.py``.

System calls come from the kernel's own table, programs from the tests that run them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
OUTPUT: Final = ROOT / "docs" / "compatibility.md"
_TABLE: Final = ROOT / "hot" / "kernel" / "syscall_table.h"
_TESTS: Final = ROOT / "tests" / "system"
_CALL: Final = re.compile(r"^CALL\((\d+), (\w+), (\w+), ", re.MULTILINE)
_WIDTH: Final = 118

#: What the functions that serve more than one call do; all others are the simulated kernel's own.
_SHARED: Final = {
    "sys_native": "Passed on to Linux",
    "sys_refuse_permission": "Refused with EPERM",
    "sys_xattr_unsupported": "Refused with EOPNOTSUPP",
    "sys_not_implemented": "Refused with ENOSYS, without a warning",
}
_EMULATED: Final = "Emulated"

#: Programs that helpers of the tests run, beside those that tests name.
_BY_HELPER: Final = {"python": "python3", "shell": "bash"}

_TEXT: Final = """\
# What runs

Written by `python tools/compatibility.py` from the code; a test fails when it is out of date.

## Programs
These run unmodified in the tests, on every change. Behind each are the tests that run it.

{programs}

## System calls
By x86-64 name. What is not here fails with ENOSYS; the first time, a warning names the call, its arguments, and the
module and offset of the caller, and `sim-stats.json` counts them (`hot.unsupported_calls`).

{calls}
"""


class Use(NamedTuple):
    """A program in a test."""

    program: str
    test: str


def calls() -> dict[str, list[str]]:
    """Return the names of the system calls by what is done with them, in the order of the table's numbers."""
    kinds: dict[str, list[str]] = {kind: [] for kind in (_EMULATED, *_SHARED.values())}
    for _, name, function in _CALL.findall(_TABLE.read_text(encoding="utf-8")):
        kinds[_SHARED.get(function, _EMULATED)].append(name)
    return kinds


def uses() -> Iterator[Use]:
    """Find programs in the system tests: what `program("...")` and `process("...")` name, and what helpers run."""
    for path in sorted(_TESTS.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield from (Use(program, node.name) for program in sorted(set(_programs(node))))


def _programs(test: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(test):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id in _BY_HELPER:
            yield _BY_HELPER[node.func.id]
        elif node.func.id in ("program", "process") and node.args and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value)


def document() -> str:
    """Return the text of docs/compatibility.md."""
    tests: dict[str, list[str]] = {}
    for use in uses():
        if "/" not in use.program:
            tests.setdefault(use.program, []).append(use.test.removeprefix("test_").replace("_", " "))
    rows = ["| program | tests |", "| --- | --- |"]
    for program in sorted(tests):
        shown = tests[program][:3]
        more = len(tests[program]) - len(shown)
        rows.append(f"| `{program}` | {'; '.join(shown)}{f'; and {more} more' if more else ''} |")
    sections = [f"### {kind}: {len(names)}\n\n{_paragraph(names)}\n" for kind, names in calls().items() if names]
    return _TEXT.format(programs="\n".join(rows), calls="\n".join(sections)).rstrip() + "\n"


def _paragraph(names: list[str]) -> str:
    lines = [""]
    for name in names:
        word = f"`{name}`"
        if len(lines[-1]) + len(word) + 1 > _WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


if __name__ == "__main__":
    OUTPUT.write_text(document(), encoding="utf-8")
