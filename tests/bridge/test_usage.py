"""What a shard's process uses is noted now and then."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq

from bridge.metrics import concatenate_tables
from bridge.rundir import RunDirectory
from bridge.usage import UsageRecorder


def test_a_row_is_added_at_the_interval_and_at_the_end(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run") as directory:
        usage = UsageRecorder(directory, 3, interval_ns=0)
        held = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
        usage.note(0)
        for descriptor in held:
            os.close(descriptor)
        usage.note(1)
        usage.close()
        usage.close()
        rows = pq.read_table(directory.metrics / "usage.parquet").to_pylist()
        assert [row["window"] for row in rows] == [0, 1, 1]
        assert {row["shard"] for row in rows} == {3}
        assert rows[0]["descriptors"] - rows[1]["descriptors"] == 50
        assert rows[0]["wall_ns"] < rows[1]["wall_ns"] <= rows[2]["wall_ns"]
        assert 10**6 < rows[0]["resident_bytes"] < rows[0]["virtual_bytes"]
        assert rows[0]["user_cpu_ns"] > 0


def test_within_the_interval_nothing_is_added(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run") as directory:
        usage = UsageRecorder(directory, 0, interval_ns=10**15)
        for window in range(100):
            usage.note(window)
        usage.close()
        assert [row["window"] for row in pq.read_table(directory.metrics / "usage.parquet").to_pylist()] == [99]


def test_the_tables_of_shards_follow_one_another(tmp_path: Path) -> None:
    folders = []
    for shard in range(3):
        with RunDirectory(tmp_path / f"shard-{shard}") as own:
            usage = UsageRecorder(own, shard, interval_ns=0)
            for window in range(shard):
                usage.note(window)
            usage.close()
            folders.append(own.metrics)
    with RunDirectory(tmp_path / "run") as directory:
        concatenate_tables(directory, folders, "usage")
        rows = pq.read_table(directory.metrics / "usage.parquet").to_pylist()
    assert [row["shard"] for row in rows] == [0, 1, 1, 2, 2, 2]
