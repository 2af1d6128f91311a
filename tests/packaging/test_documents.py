"""Documents that are written from the code say what the code says."""

from __future__ import annotations

from tools import compatibility


def test_the_table_of_what_runs_is_up_to_date() -> None:
    assert compatibility.OUTPUT.read_text(encoding="utf-8") == compatibility.document(), (
        "python tools/compatibility.py writes it anew"
    )
