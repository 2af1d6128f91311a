"""A place for experiments that are spread over several processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from antumbra.doctor import required_features_missing
from tests.system.experiment import Laboratory, Programs, build_apps


@pytest.fixture(scope="session", autouse=True)
def _machine() -> None:
    missing = required_features_missing()
    if missing:
        pytest.skip("this machine cannot run hot hosts: " + "; ".join(missing))


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    """Where a test runs its experiments."""
    return Laboratory(tmp_path)


@pytest.fixture(scope="session")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the programs of tests/apps that take part here, compiled."""
    return build_apps(tmp_path_factory.mktemp("apps"), "transaction_*")


@pytest.fixture(scope="session")
def program() -> Programs:
    """Look for a program that not every machine has; a test that needs a missing one is skipped."""
    return Programs()
