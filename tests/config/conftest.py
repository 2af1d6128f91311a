"""Writing configurations for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a configuration and returns its path."""

    def write_configuration(text: str) -> Path:
        path = tmp_path / "experiment.yaml"
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return write_configuration
