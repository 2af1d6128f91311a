"""The command line: what it prints, and how it exits."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import antumbra
from antumbra.cli import run_command
from antumbra.report import read_peer_logs
from bridge.batch import EventBatch
from bridge.rundir import RunDirectory
from bridge.simtime import EPOCH, NEVER
from hot.section import FinalState, ProcessOutcome

ROOT = Path(__file__).resolve().parents[2]
Write = Callable[[str], Path]

COLD = """\
general: {stop_time: 3 s}
network:
  graph:
    type: gml
    inline: |
      graph [
        node [ id 0 host_bandwidth_up "50 Mbit" host_bandwidth_down "50 Mbit" ]
        edge [ source 0 target 0 latency "5 ms" ]
      ]
cold:
  populations:
    tail: {count: 60}
  overlay: {degree: 10}
  publications:
  - {topic: 1, time: 1 s, size: 1 KB, count: 2, interval: 100 ms}
"""
HOT = """\
general: {stop_time: 3 s}
network: {graph: {type: 1_gbit_switch}}
hosts:
  a:
    network_node_id: 0
    processes: [{path: sleep, args: "1"}]
"""


class EndedHosts:
    """A hot side without the engine: its processes stand as they are told to from the start."""

    def __init__(self, outcomes: Sequence[ProcessOutcome]) -> None:
        self.outcomes = outcomes
        self.closed = False

    def next_event_time(self) -> int:
        return NEVER

    def run_until(self, window_end: int) -> EventBatch:
        assert window_end > 0
        return EventBatch.empty()

    def deliver(self, batch: EventBatch) -> None:
        raise AssertionError(f"nobody sends {len(batch)} events")

    def close(self) -> None:
        self.closed = True

    def statistics(self) -> dict[str, object]:
        return {"packets": 0}

    def process_outcomes(self) -> Sequence[ProcessOutcome]:
        return self.outcomes

    def packets(self) -> npt.NDArray[np.int64]:
        return np.zeros((0, 4), dtype=np.int64)

    def process_groups(self) -> dict[int, int]:
        return {}

    def loads(self) -> npt.NDArray[np.int64]:
        return np.zeros((0, 3), dtype=np.int64)


def test_check_prints_the_plan_and_exits_with_0(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", str(write(HOT))]) == 0
    printed = capsys.readouterr().out
    assert "hot hosts         1 with 1 process" in printed
    assert "estimated memory" in printed
    assert "11.0.0.1" in printed


@pytest.mark.parametrize("file", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda file: str(file.stem))
def test_every_configuration_of_the_repository_is_accepted(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", str(file)]) == 0, capsys.readouterr().err


def test_every_problem_is_one_line_on_stderr_and_the_exit_code_is_2(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(HOT.replace("stop_time", "stoptime").replace("sleep", "no-such-program"))
    assert run_command(["check", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == f"error: {path}:1: general.stop_time: is required, and missing"
    assert lines[1] == f"error: {path}:1: general.stoptime: unknown key; did you mean 'stop_time'?"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["fly"],
        ["run", "x.yaml", "--shards", "0"],
        ["run", "x.yaml", "--seed", "y"],
        ["check", "/no/such.yaml"],
    ],
)
def test_a_wrong_command_line_exits_with_2(arguments: list[str]) -> None:
    assert run_command(arguments) == 2


def test_a_directory_that_holds_something_else_is_left_alone(write: Write, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    assert run_command(["run", str(write(COLD)), "-d", str(tmp_path / "mine")]) == 2
    assert [entry.name for entry in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_a_cold_experiment_runs_and_leaves_a_whole_directory(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", str(write(COLD)), "-d", str(tmp_path / "out"), "--seed", "5", "--progress"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("(100.00%)") == 2
    assert "100%" in captured.err
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["seed"] == 5
    assert manifest["populations"]["tail"]["count"] == 60
    statistics = json.loads((tmp_path / "out" / "sim-stats.json").read_text())
    assert statistics["cold_identities"] == 60
    assert (tmp_path / "out" / "metrics" / "messages.parquet").exists()


def test_two_runs_of_one_seed_are_the_same_and_another_seed_differs(write: Write, tmp_path: Path) -> None:
    configuration = write(COLD)
    logs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        result = antumbra.run(antumbra.load_configuration(configuration, seed=seed), tmp_path / name)
        assert result.messages is not None
        logs.append((result.messages.tobytes(), (result.directory / "windows.log").read_bytes()))
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]


@pytest.mark.parametrize(
    ("actual", "code", "status"),
    [
        (FinalState("exited", 0), 0, "complete"),
        (FinalState("exited", 3), 1, "failed"),
        (FinalState("running"), 1, "failed"),
    ],
)
def test_the_exit_code_says_whether_processes_ended_as_expected(
    actual: FinalState,
    code: int,
    status: str,
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hot = EndedHosts([ProcessOutcome("a", "sleep", 1000, FinalState("exited", 0), actual)])
    monkeypatch.setattr("antumbra.assembly.build_hot", lambda *_: hot)
    monkeypatch.setattr("antumbra.assembly.required_features_missing", list)
    assert run_command(["run", str(write(HOT)), "-d", str(tmp_path / "out")]) == code
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["status"] == status
    assert hot.closed
    told = f"failed: a: sleep (pid 1000) ended as {actual}, and {{exited: 0}} was expected"
    assert (told in capsys.readouterr().out) == (code == 1)


def test_a_machine_without_what_is_needed_is_told_before_anything_starts(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("antumbra.assembly.required_features_missing", lambda: ["no seccomp"])
    assert run_command(["run", str(write(HOT)), "-d", str(tmp_path / "out")]) == 2
    assert "no seccomp" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_our_own_mistakes_exit_with_3_and_leave_the_directory_marked(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hot = EndedHosts([])
    monkeypatch.setattr(hot, "next_event_time", lambda: 0)
    monkeypatch.setattr("antumbra.assembly.build_hot", lambda *_: hot)
    monkeypatch.setattr("antumbra.assembly.required_features_missing", list)
    assert run_command(["run", str(write(HOT)), "-d", str(tmp_path / "out")]) == 3
    assert "a mistake in Antumbra" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["status"] == "failed"
    assert hot.closed


def windows_log_grows(out: Path) -> bool:
    log = out / "windows.log"
    return log.exists() and log.stat().st_size > 4096


def test_interrupting_a_run_ends_it_cleanly_with_1(write: Write, tmp_path: Path) -> None:
    text = COLD.replace("3 s}", "10 h}").replace("count: 2,", "count: 50000,")
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-c",
        "from antumbra.cli import main; main()",
        "run",
        str(write(text)),
        "-d",
        str(out),
    ]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])
    guard = threading.Timer(120, running.kill)
    guard.start()
    try:
        while running.poll() is None and not windows_log_grows(out):
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        printed, errors = running.communicate()
    finally:
        guard.cancel()
        running.kill()
    assert running.returncode == 1, errors.decode()
    assert b"interrupted at" in printed
    assert json.loads((out / "manifest.json").read_text())["status"] == "interrupted"
    assert (out / "metrics" / "windows.parquet").exists()
    with RunDirectory(out):
        pass


def test_a_template_is_copied_into_the_directory(write: Write, tmp_path: Path) -> None:
    template = tmp_path / "template" / "hosts" / "a"
    template.mkdir(parents=True)
    (template / "key").write_text("secret")
    text = COLD.replace("3 s}", f"3 s, template_directory: {tmp_path / 'template'}}}")
    assert run_command(["run", str(write(text)), "-d", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "hosts" / "a" / "key").read_text() == "secret"
    assert run_command(["run", str(write(text.replace("template}", "none}"))), "-d", str(tmp_path / "out")]) == 2


def test_the_logs_of_peers_are_read_and_other_output_is_passed_over(tmp_path: Path) -> None:
    epoch = EPOCH * 10**9
    number = (11 << 24 | 1) << 32 | 7
    logs: dict[str, list[dict[str, object]]] = {
        "a": [{"event": "start"}, {"event": "publish", "time_ns": epoch + 5, "id": f"0x{number:016x}"}],
        "b2": [{"event": "deliver", "time_ns": epoch + 9, "id": f"0x{number:016x}", "ok": True}],
        "b10": [{"event": "deliver", "time_ns": epoch + 8, "id": f"0x{number:016x}", "ok": False}],
    }
    for name, events in logs.items():
        (tmp_path / name).mkdir()
        lines = [json.dumps(event, separators=(",", ":")) for event in events]
        (tmp_path / name / "gossip-node.1000.stdout").write_text("\n".join([*lines, '{"event": broken', "\xff hello"]))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "curl.1000.stdout").write_bytes(b"\xff\x00 <html>")
    peers, messages = read_peer_logs(tmp_path)
    assert peers == ["a", "b2", "b10"]
    assert messages[number].published_ns == 5
    assert messages[number].delivered_ns == {"b2": 9, "b10": 8}
    assert messages[number].damaged == ["b10"]


def test_checking_loads_nothing_that_only_runs_need(tmp_path: Path) -> None:
    """What would cost more than the check itself: kernels, tables, message passing."""
    file = tmp_path / "small.yaml"
    file.write_text(
        "general: {stop_time: 10 s}\nnetwork: {graph: {type: 1_gbit_switch}}\n"
        "hosts: {one: {network_node_id: 0, processes: []}}\ncold: {populations: {tail: {count: 100}}}\n"
    )
    program = (
        "import sys\nfrom antumbra.cli import run_command\n"
        "assert run_command(['check', sys.argv[1]]) == 0\n"
        "needless = {'numba', 'scipy', 'networkx', 'pyarrow', 'mpi4py', 'hot._engine'}\n"
        "print('loaded:', *sorted(needless & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["loaded:"], done.stdout + done.stderr
