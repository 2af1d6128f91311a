"""How ``pytest -n`` divides the tests among processes (`make test` does it)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

HERE = Path(__file__).parent
#: Rooms whose tests compute and nothing else: any file may run beside any other. All others start programs, look at
#: what the machine has of processes and shared memory, or keep real time: one process runs them, one after the other.
COMPUTING = frozenset({"bridge", "calibration", "cold", "config", "statistical"})


class Groups(LoadScopeScheduling):  # type: ignore[misc] # it has no types
    """Gives the tests of a group to one process, those of a computing room by file."""

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.split("::")[0])
        room, *_, file = path.relative_to(HERE.name).parts
        return f"{room}/{file}" if room in COMPUTING else "machine"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    """Divide them by groups, the largest first, which nothing can shorten."""
    return Groups(config, log)
