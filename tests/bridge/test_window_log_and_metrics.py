"""What is recorded of each window: the log for replay, the tables and the totals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bridge.bus import InProcessBus
from bridge.errors import InternalError
from bridge.metrics import TableRecorder, WindowMetrics, merge_window_tables
from bridge.rundir import RunDirectory, RunDirectoryError
from bridge.simtime import NEVER, NS_PER_MS, NS_PER_S
from bridge.window import LoopResult, QuietWindows, Runahead, WindowLoop, WindowRecord
from bridge.window_log import WindowLog, write_window_log
from tests.bridge.phold import Phold


def record(number: int, *, work: bool = True) -> WindowRecord:
    return WindowRecord(
        number=number,
        start=10 * number,
        end=10 * number + 10,
        runahead=10,
        executed=(2, 3) if work else (0, 0),
        sent=(1, 0) if work else (0, 0),
        crossed=1 if work else 0,
        crossed_bytes=5 if work else 0,
        digest=0xABCDEF0123456789 if work else 0,
        sent_to_shards=0,
        sent_to_shards_bytes=0,
        received_from_shards=0,
        received_from_shards_bytes=0,
        sent_digest=0,
        received_digest=0xFEDCBA9876543210 if work else 0,
        links=((1, 3, 40), (2, 1, 7)) if work else (),
        inner=1,
        execute_wall_ns=(100, 200),
        exchange_wall_ns=30,
        encode_wall_ns=5,
        decode_wall_ns=7,
        meeting_wall_ns=10,
        deliver_wall_ns=20,
    )


def recorded_run(path: Path, *, seed: int = 1) -> dict[str, object]:
    participants = [
        Phold(hosts, 10, seed=seed, latency_ns=NS_PER_MS, spread_ns=NS_PER_MS) for hosts in (range(5), range(5, 10))
    ]
    with RunDirectory(path) as directory:
        log = WindowLog(directory, ["hot", "cold"])
        metrics = WindowMetrics(directory, ["hot", "cold"])

        def on_window(window: WindowRecord) -> None:
            log.append(window)
            metrics.append(window)

        result = WindowLoop(
            participants,
            lambda ids: ids // 5,
            InProcessBus(),
            runahead=Runahead(NS_PER_MS),
            stop_time_ns=50 * NS_PER_MS,
            on_window=on_window,
        ).run()
        log.close()
        metrics.close()
        directory.finish("complete")
        return metrics.statistics(result)


def test_the_log_has_a_line_per_window_with_work_and_none_for_idle_ones(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as directory:
        log = WindowLog(directory, ["hot", "cold"])
        log.append(record(0))
        log.append(record(1, work=False))
        log.append(record(2))
        log.close()
        log.close()
    assert (tmp_path / "windows.log").read_text() == (
        "# antumbra windows.log 2\n"
        "# window start_ns end_ns runahead_ns executed[hot,cold] crossed crossed_bytes digest\n"
        "0 0 10 10 2,3 1 5 abcdef0123456789\n"
        "2 20 30 10 2,3 1 5 abcdef0123456789\n"
    )


def test_log_and_window_table_of_two_runs_are_equal_byte_for_byte(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        recorded_run(tmp_path / name, seed=seed)
    for name in ("windows.log", "metrics/windows.parquet", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "c" / name).read_bytes()
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert set(manifest["digests"]) == {"hosts", "windows.log", "metrics/windows.parquet"}


def test_the_tables_hold_every_window_and_the_totals_their_sums(tmp_path: Path) -> None:
    statistics = recorded_run(tmp_path)
    windows = pq.read_table(tmp_path / "metrics/windows.parquet").to_pydict()
    shards = pq.read_table(tmp_path / "metrics/shards.parquet").to_pydict()
    walltime = pq.read_table(tmp_path / "metrics/walltime.parquet").to_pydict()
    assert windows["window"] == walltime["window"] == list(range(len(windows["window"])))
    assert statistics["windows"] == len(windows["window"])
    assert statistics["events_crossed"] == sum(windows["crossed"]) == sum(shards["sent_hot"] + shards["sent_cold"])
    assert statistics["simulated_seconds"] == 0.05
    participants = statistics["participants"]
    assert isinstance(participants, dict)
    assert participants["hot"]["events_executed"] == sum(windows["executed_hot"])
    assert participants["cold"]["execute_wall_seconds"] == sum(walltime["execute_cold_ns"]) / NS_PER_S
    assert sorted(entry.name for entry in (tmp_path / "metrics").iterdir()) == [
        "links.parquet",
        "shards.parquet",
        "walltime.parquet",
        "windows.parquet",
    ]


def test_totals_of_a_run_that_simulated_nothing_have_no_ratio(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as directory:
        metrics = WindowMetrics(directory, [])
        metrics.close()
        statistics = metrics.statistics(LoopResult(windows=0, reached_ns=0, interrupted=True, wall_ns=0))
    assert statistics["wall_seconds_per_simulated_minute"] is None
    assert pq.read_table(tmp_path / "metrics/windows.parquet").num_rows == 0


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 10])
def test_a_table_written_in_parts_is_the_table(tmp_path: Path, rows: int) -> None:
    with RunDirectory(tmp_path) as directory:
        recorder = TableRecorder(directory, "numbers", ["n", "square"], rows_per_part=3)
        for n in range(rows):
            recorder.append((n, n * n))
        assert recorder.totals()["square"] == sum(n * n for n in range(rows))
        recorder.close()
        recorder.close()
        assert [entry.name for entry in directory.metrics.iterdir()] == ["numbers.parquet"]
        table = pq.read_table(directory.metrics / "numbers.parquet")
    assert table.to_pydict() == {"n": list(range(rows)), "square": [n * n for n in range(rows)]}
    assert recorder.totals()["n"] == sum(range(rows))


@pytest.mark.parametrize("together", [(7,), (1, 2, 3, 4), (3, 3), (0, 8)])
def test_rows_that_come_together_stand_where_they_would_one_by_one(tmp_path: Path, together: tuple[int, ...]) -> None:
    for way in ("together", "one by one"):
        with RunDirectory(tmp_path / way) as directory:
            recorder = TableRecorder(directory, "numbers", ["n", "square"], rows_per_part=3)
            last = 0
            for count in together:
                rows = np.array([(n, n * n) for n in range(last, last + count)], dtype=np.int64).reshape(-1, 2)
                last += count + 1
                if way == "together":
                    recorder.append_rows(rows)
                else:
                    for row in rows.tolist():
                        recorder.append(tuple(row))
                recorder.append((last - 1, 1))
            assert recorder.totals()["n"] == sum(range(last))
            recorder.close()
    one, other = ((tmp_path / way / "metrics/numbers.parquet").read_bytes() for way in ("together", "one by one"))
    assert one == other


def test_quiet_windows_are_written_as_any_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    number = 0
    spells = []
    for count in (1, 17_000, 40):
        start = np.cumsum(rng.integers(10, 1000, count))
        events, wall, digest = (
            rng.integers(0, 3, count),
            rng.integers(0, 99, count),
            rng.integers(-(2**63), 2**63, count),
        )
        next_event = np.where(rng.random(count) < 0.1, NEVER, start + 10)
        windows = np.stack((start, start + 10, events, next_event, wall, digest * (events > 0)), axis=1)
        spells.append(QuietWindows(number, 10, 3, 1, windows))
        number += count + 1
    for way in ("together", "one by one"):
        with RunDirectory(tmp_path / way) as directory:
            log = WindowLog(directory, ["hot", "cold", "others"])
            metrics = WindowMetrics(directory, ["hot", "cold", "others"], 5)
            for spell in spells:
                if way == "together":
                    log.append_quiet(spell)
                    metrics.append_quiet(spell)
                else:
                    for one in spell.records():
                        log.append(one)
                        metrics.append(one)
                last = record(int(spell.numbers[-1]) + 1)
                last = last._replace(executed=(1, 2, 3), sent=(0, 1, 0), execute_wall_ns=(7, 8, 9))
                log.append(last)
                metrics.append(last)
            log.close()
            metrics.close()
    tables = [f"metrics/{name}.parquet" for name in ("windows", "shards", "links", "walltime")]
    for name in ("windows.log", *tables):
        assert (tmp_path / "together" / name).read_bytes() == (tmp_path / "one by one" / name).read_bytes(), name


def test_a_run_that_is_killed_leaves_readable_parts(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as directory:
        recorder = TableRecorder(directory, "numbers", ["n"], rows_per_part=2)
        for n in range(5):
            recorder.append((n,))
        parts = sorted(directory.metrics.iterdir())
        assert [pq.read_table(part).to_pydict()["n"] for part in parts] == [[0, 1], [2, 3]]


def test_a_log_that_the_disk_cuts_short_ends_with_a_whole_line(tmp_path: Path) -> None:
    # A real refusal by the kernel: files of this process may not grow beyond this many bytes.
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from tests.bridge.test_window_log_and_metrics import *\n"
        "log = WindowLog(RunDirectory(Path(sys.argv[1])), ['hot', 'cold'])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    for number in range(10_000): log.append(record(number))\n"
        "except RunDirectoryError as error: print(error)\n"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    log = tmp_path / "windows.log"
    assert result.stdout == f"{log}: File too large [EFBIG]\n"
    lines = log.read_text().splitlines(keepends=True)
    assert 90_000 < log.stat().st_size <= 100_000
    assert all(line.endswith(" abcdef0123456789\n") for line in lines[2:])


def test_a_table_that_cannot_be_written_is_a_run_directory_error(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run") as directory:
        recorder = TableRecorder(directory, "numbers", ["n"], rows_per_part=1)
        recorder.append((1,))
        recorder.append((2,))
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        with pytest.raises(RunDirectoryError, match="ENOENT"):
            recorder.close()


def test_tables_of_shards_make_the_table_of_the_run(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", [tmp_path / "one", tmp_path / "other"]
    digests = (2**63 + 5, 2**63 + 9)
    for shard, path in enumerate(parts):
        with RunDirectory(path) as directory:
            metrics = WindowMetrics(directory, ["hot", "cold"], shard)
            for number in range(7):
                metrics.append(record(number)._replace(digest=digests[shard], executed=(shard, number)))
            metrics.close()
    with RunDirectory(whole) as directory:
        rows = merge_window_tables(directory, [path / "metrics" for path in parts], rows_per_part=3)
        write_window_log(directory, ["hot", "cold"], rows.tolist())
    assert rows[:, 0].tolist() == list(range(7))
    windows = pq.read_table(whole / "metrics/windows.parquet").to_pydict()
    assert windows["executed_hot"] == [1] * 7
    assert windows["executed_cold"] == [2 * number for number in range(7)]
    assert set(windows["digest"]) == {sum(digests) % 2**64}
    assert (whole / "windows.log").read_text().splitlines()[2] == f"0 0 10 10 1,0 2 10 {sum(digests) % 2**64:016x}"
    shards = pq.read_table(whole / "metrics/shards.parquet").to_pydict()
    assert shards["shard"] == [0, 1] * 7
    assert shards["window"] == [number for number in range(7) for _ in range(2)]
    assert set(shards["received_digest"]) == {0xFEDCBA9876543210 - 2**64}
    links = pq.read_table(whole / "metrics/links.parquet").to_pydict()
    in_a_window = [(0, 1, 3, 40), (0, 2, 1, 7), (1, 1, 3, 40), (1, 2, 1, 7)]
    columns = ("window", "shard", "to_shard", "events", "bytes")
    assert list(zip(*(links[name] for name in columns), strict=True)) == [
        (number, *row) for number in range(7) for row in in_a_window
    ]


def test_a_merged_table_has_the_bytes_that_one_shard_would_have_written(tmp_path: Path) -> None:
    for name in ("one", "merged"):
        with RunDirectory(tmp_path / name) as directory:
            recorder = TableRecorder(directory, "windows", ["window", "start", "end", "runahead"], rows_per_part=3)
            others = [
                TableRecorder(directory, other, ["window", "shard", "to_shard"], rows_per_part=3)
                for other in ("shards", "links", "walltime")
            ]
            for n in range(10):
                recorder.append((n, 2 * n, 3 * n, 5))
                for other in others:
                    other.append((n, 0, 1))
            for table in (recorder, *others):
                table.close()
            if name == "merged":
                merge_window_tables(directory, [directory.metrics], rows_per_part=3)
    tables = [(tmp_path / name / "metrics" / "windows.parquet").read_bytes() for name in ("one", "merged")]
    assert tables[0] == tables[1]


def test_shards_that_ran_other_windows_are_not_merged(tmp_path: Path) -> None:
    parts = [tmp_path / "one", tmp_path / "other"]
    for shard, path in enumerate(parts):
        with RunDirectory(path) as directory:
            metrics = WindowMetrics(directory, ["hot", "cold"], shard)
            metrics.append(record(shard))
            metrics.close()
    with RunDirectory(tmp_path / "whole") as directory, pytest.raises(InternalError, match="different windows"):
        merge_window_tables(directory, [path / "metrics" for path in parts])
