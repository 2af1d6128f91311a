"""Kernels never count from an array's end: compiled, they would look before its begin (`cold.reference`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUARDED = [sys.executable, "-m", "pytest", "-q", "-p", "tests.cold.guarded_arrays", "-p", "no:cacheprovider"]

ONE = """
from typing import NamedTuple
import numpy as np
import pytest
import cold.reference

class Fields(NamedTuple):
    some: np.ndarray

@pytest.mark.parametrize("index", [-1, (0, np.int64(-2))])
def test_refused(index):
    fields = cold.reference.by_reference(Fields(np.zeros((3, 3))))
    assert fields.some[2, 1] == 0
    with pytest.raises(IndexError):
        fields.some[index]
    with pytest.raises(IndexError):
        fields.some[index] = 1
"""


def _run_without_compiler(*arguments: str) -> None:
    done = subprocess.run(
        [*GUARDED, *arguments],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]


def test_arrays_refuse_negative_indices(tmp_path: Path) -> None:
    file = tmp_path / "test_one.py"
    file.write_text(ONE)
    _run_without_compiler(str(file))


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("test_twin.py", "plain or NAT or told or everybody or identit"),
        ("test_division.py", "whole_does and few"),
        ("test_transactions_boundary.py", "greeting or announced or no_more"),
    ],
)
def test_no_index_is_negative(file: str, names: str) -> None:
    """Tests of small networks, without the compiler."""
    _run_without_compiler("-k", names, f"tests/cold/{file}")
