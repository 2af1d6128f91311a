"""Programs and a place for experiments, for tests that run real programs on the real simulator."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from antumbra import programs
from antumbra.doctor import processor_leaks, required_features_missing
from tests.system.experiment import Laboratory, Programs, build_apps


@pytest.fixture(scope="session", autouse=True)
def _machine() -> None:
    # An installation without them is an error; a machine that cannot run them is a reason to skip.
    programs.find("antumbra-shim")
    importlib.import_module("hot._engine")
    missing = required_features_missing()
    if missing:
        pytest.skip("this machine cannot run hot hosts: " + "; ".join(missing))


@pytest.fixture(scope="session")
def fixed_processor() -> None:
    """For tests of what programs see of the processor, or draw from it: skipped where that cannot be kept from them."""
    leaks = processor_leaks()
    if leaks:
        pytest.skip(leaks)


@pytest.fixture(scope="session")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with every program of tests/apps, compiled."""
    return build_apps(tmp_path_factory.mktemp("apps"))


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    """Where a test runs its experiments."""
    return Laboratory(tmp_path)


@pytest.fixture(scope="session")
def program() -> Programs:
    """Look for a program that not every machine has; a test that needs a missing one is skipped."""
    return Programs()
