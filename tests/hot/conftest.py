"""Fixtures of the hot side's tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hot.section import ProcessPlan
from tests.hot.experiment import Experiment

APPS = Path(__file__).parent.parent / "apps"


@pytest.fixture
def experiment(tmp_path: Path) -> Iterator[Callable[..., Experiment]]:
    """Build experiments, each in a directory of its own, and close them."""
    built: list[Experiment] = []

    def build(*hosts: Sequence[ProcessPlan], stop: float = 60, **options: Any) -> Experiment:
        made = Experiment(tmp_path / f"run{len(built)}", hosts, stop=stop, **options)
        built.append(made)
        return made

    yield build
    for made in built:
        made.close()


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile a program of tests/apps, once, and return its path."""
    folder = tmp_path_factory.mktemp("apps")

    def compiled(name: str) -> Path:
        target = folder / name
        if not target.exists():
            source = APPS / f"{name}.c"
            subprocess.run(["gcc", "-O1", "-pthread", "-o", target, source], check=True)
        return target

    return compiled
