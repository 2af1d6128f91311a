"""Programs and a place for experiments, for tests that run real programs on the real simulator."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from antumbra.doctor import required_features_missing
from tests.system.experiment import ROOT, Laboratory, Programs


@pytest.fixture(scope="session", autouse=True)
def _machine() -> None:
    missing = required_features_missing()
    if missing:
        pytest.skip("this machine cannot run hot hosts: " + "; ".join(missing))


@pytest.fixture(scope="session")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with every program of tests/apps, compiled."""
    folder = tmp_path_factory.mktemp("apps")
    for source in sorted((ROOT / "tests" / "apps").glob("*.c")):
        command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", str(source), "-o", str(folder / source.stem)]
        subprocess.run(command, check=True, timeout=120)
    return folder


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    """Where a test runs its experiments."""
    return Laboratory(tmp_path)


@pytest.fixture(scope="session")
def program() -> Programs:
    """Look for a program that not every machine has; a test that needs a missing one is skipped."""
    return Programs()
