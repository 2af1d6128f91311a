"""What managed processes take of the machine's memory is looked at now and then."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from bridge.rundir import RunDirectory
from bridge.simtime import NS_PER_S
from hot.process_memory import ProcessMemoryRecorder
from tests.hot.experiment import Experiment, process

Build = Callable[..., Experiment]

PYTHON = os.path.realpath(sys.executable)
HOLD = "import time; held = bytearray(b'x' * (64 << 20)); time.sleep(1000)"
SH = "/bin/sh"


def test_every_process_of_a_host_counts_and_nobody_elses(experiment: Build, tmp_path: Path) -> None:
    hosts = [[process(SH, "-c", "sleep 1000 & sleep 1000 & wait")], [process(PYTHON, "-S", "-c", HOLD)]]
    run = experiment([*hosts[0], process(SH, "-c", "exit 0")], hosts[1], [], stop=1000)
    other = subprocess.Popen(["/bin/sleep", "1000"])
    with RunDirectory(tmp_path / "metrics") as directory:
        memory = ProcessMemoryRecorder(directory, 2, run.shard.process_groups)
        run.shard.run_until(NS_PER_S)
        memory.look(7)
        memory.close()
        rows = pq.read_table(directory.metrics / "processes.parquet").to_pylist()
    other.kill()
    other.wait()
    assert [(row["window"], row["shard"], row["host"]) for row in rows] == [(7, 2, 0), (7, 2, 1)]
    few, many = rows
    assert few["processes"] in (3, 4)  # the one that has ended may still be on its way out
    assert many["processes"] == 1
    assert many["proportional_bytes"] > 64 << 20
    assert 0 < few["proportional_bytes"] < 8 << 20
    for row in rows:
        assert row["proportional_bytes"] <= row["resident_bytes"]


def test_looking_waits_for_its_time_and_then_for_the_interval(experiment: Build, tmp_path: Path) -> None:
    run = experiment([process("/bin/sleep", "1000")], stop=1000)
    run.shard.run_until(NS_PER_S)
    for first, expected in ((10**15, []), (0, [0])):
        with RunDirectory(tmp_path / f"after-{first}") as directory:
            memory = ProcessMemoryRecorder(directory, 0, run.shard.process_groups, first_ns=first, interval_ns=10**15)
            for window in range(10):
                memory.note(window)
            memory.close()
            rows = pq.read_table(directory.metrics / "processes.parquet").to_pylist()
        assert [row["window"] for row in rows] == expected
