"""The decoder of event batches against damaged and found inputs; tests/fuzz/fuzz_event_batch.py goes on for longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.fuzz_event_batch import CORPUS, check, run_mutations


def test_damaged_batches_are_refused_or_mean_what_they_say() -> None:
    accepted, refused = run_mutations(4000, seed=1)
    # Both ways are gone often enough to say something.
    assert accepted > 100
    assert refused > 2000
    assert run_mutations(500, seed=2) == run_mutations(500, seed=2)


def test_what_is_wrong_with_a_decoder_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge.batch import EventBatch

    data = (CORPUS / "one-packet").read_bytes()
    assert check(data)
    monkeypatch.setattr(EventBatch, "encode", lambda _: data[:-1])
    with pytest.raises(AssertionError, match="does not encode to itself"):
        check(data)


def test_a_search_led_by_coverage_finds_nothing_wrong(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.fuzz_event_batch",
        "--coverage",
        str(tmp_path),
        "-runs=30000",
        "-seed=1",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2], timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "Done 30000 runs" in done.stderr
    assert any(tmp_path.iterdir()), "the search led nowhere"
