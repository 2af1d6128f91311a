"""How ``pytest -n`` divides the tests among processes (`make test` does it)."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
#: Rooms whose tests compute and nothing else: any file may run beside any other. All others start programs, look at
#: what the machine has of processes and shared memory, or keep real time: one process runs them, one after the other.
COMPUTING = frozenset({"bridge", "calibration", "cold", "config", "statistical"})


def _group(item: pytest.Item) -> str:
    room, *_, file = item.path.relative_to(HERE).parts
    return f"{room}/{file}" if room in COMPUTING else "machine"


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put each test in its group; the largest, which nothing can shorten, begins first."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: _group(item) != "machine")
