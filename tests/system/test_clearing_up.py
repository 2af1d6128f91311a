"""However a run ends, no process and no shared memory is left, and the run's directory says how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.experiment import (
    TIMEOUT_S,
    Configuration,
    Laboratory,
    experiment,
    host,
    process,
    processes_of,
    python,
    shell,
)

SHARED_MEMORY = Path("/dev/shm")

FOR_EVER = """
import os, time
if os.fork():
    print("running", flush=True)
while True:
    time.sleep(0.001)
"""


def busy() -> Configuration:
    """An experiment that takes far longer than any test."""
    hosts = {
        "python": host(python(FOR_EVER, expected_final_state="running")),
        "shell": host(shell("while true; do sleep 0.01; done", expected_final_state="running")),
        "asleep": host(process("sleep", "1000000000", expected_final_state="running")),
    }
    return experiment(hosts, stop_time="100000000 s")


def spinning(apps: Path) -> Configuration:
    """An experiment that one process holds up for longer than any test."""
    hosts = {
        "spinner": host(process(apps / "spinner", expected_final_state={"signaled": "SIGKILL"})),
        "asleep": host(process("sleep", "10")),
    }
    return experiment(hosts, experimental={"turn_limit": "1 h"})


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S / 3
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def wait_for_start(running: subprocess.Popen[str], directory: Path, hostname: str, processes: int) -> None:
    """Return when a program has said that it runs, and so many processes are there."""

    def started() -> bool:
        assert running.poll() is None, running.communicate()
        said = any(path.stat().st_size > 0 for path in directory.glob(f"hosts/{hostname}/*.stdout"))
        return said and len(processes_of(directory)) >= processes

    eventually(started, "the start of the processes")


@pytest.fixture
def nothing_left(laboratory: Laboratory) -> Iterator[Callable[[], None]]:
    """Return a check that nothing of the run is left; it happens at the end in any case."""

    def check() -> None:
        eventually(lambda: not processes_of(laboratory.folder / "run"), "the end of every process")
        assert not [path.name for path in SHARED_MEMORY.iterdir() if "antumbra" in path.name]
        assert not list((laboratory.folder / "run").rglob("*.partial"))
        assert not (laboratory.folder / "run" / ".etc").exists()

    yield check
    for left in processes_of(laboratory.folder / "run"):
        os.kill(left, signal.SIGKILL)


def ended(running: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end of a run; its exit code, and everything that it printed."""
    output, errors = running.communicate(timeout=TIMEOUT_S)
    return running.returncode, output + errors


def status(directory: Path) -> object:
    return json.loads((directory / "manifest.json").read_text())["status"]


def working_directory(pid: int) -> Path | None:
    """None of a process that has ended since it was listed."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except (FileNotFoundError, ProcessLookupError):
        return None


def process_on(directory: Path, hostname: str) -> int:
    """Real id of the only process of a host."""
    place = (directory / "hosts" / hostname).resolve()
    (found,) = [pid for pid in processes_of(directory) if working_directory(pid) == place]
    return found


def test_a_run_leaves_nothing_but_its_directory(laboratory: Laboratory, nothing_left: Callable[[], None]) -> None:
    name = f"antumbra-test-{os.getpid()}"
    use_shared_memory = f"""
from multiprocessing import shared_memory
print(shared_memory.SharedMemory("{name}", create=True, size=1000).name, flush=True)
import os; os._exit(0)
"""
    hosts = {
        "orphans": host(shell("(sleep 1000; echo never) & disown; exit 0")),
        "shared": host(python(use_shared_memory)),
        "running": host(process("sleep", "100000", expected_final_state="running")),
    }
    run = laboratory.run(experiment(hosts))
    assert run.stdout("shared") == f"{name}\n"
    assert status(run.directory) == "complete"
    nothing_left()


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_everything_and_says_so(
    laboratory: Laboratory, nothing_left: Callable[[], None], asked: signal.Signals
) -> None:
    running = laboratory.start(busy())
    directory = laboratory.folder / "run"
    wait_for_start(running, directory, "python", 4)
    running.send_signal(asked)
    code, text = ended(running)
    assert code == 1, text
    assert "interrupted" in text
    assert "Traceback" not in text
    assert status(directory) == "interrupted"
    nothing_left()


def test_a_run_can_be_interrupted_while_a_process_spins(
    laboratory: Laboratory, apps: Path, nothing_left: Callable[[], None]
) -> None:
    running = laboratory.start(spinning(apps))
    directory = laboratory.folder / "run"
    wait_for_start(running, directory, "spinner", 1)
    # The first signal asks for the end of the window, which does not come; the second does not wait for it.
    while processes_of(directory):
        running.send_signal(signal.SIGINT)
        time.sleep(0.5)
    code, text = ended(running)
    assert code == 1, text
    assert "Traceback" not in text
    assert status(directory) == "interrupted"
    nothing_left()


def test_a_managed_process_that_is_killed_while_it_runs_is_a_process_killed_by_a_signal(
    laboratory: Laboratory, apps: Path, nothing_left: Callable[[], None]
) -> None:
    running = laboratory.start(spinning(apps))
    directory = laboratory.folder / "run"
    wait_for_start(running, directory, "spinner", 1)
    os.kill(process_on(directory, "spinner"), signal.SIGKILL)
    code, text = ended(running)
    assert code == 0, text
    assert status(directory) == "complete"
    nothing_left()


def test_a_managed_process_that_is_killed_while_it_waits_is_noticed(
    laboratory: Laboratory, nothing_left: Callable[[], None]
) -> None:
    running = laboratory.start(busy())
    directory = laboratory.folder / "run"
    wait_for_start(running, directory, "python", 4)
    victim = process_on(directory, "asleep")
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{victim}").exists(), "the funeral of the killed process")
    running.send_signal(signal.SIGINT)
    code, text = ended(running)
    assert code == 1, text
    outcomes = json.loads((directory / "sim-stats.json").read_text())["processes"]
    assert {entry["host"]: entry["actual"] for entry in outcomes}["asleep"] == "{signaled: SIGKILL}"
    nothing_left()


def test_managed_processes_die_with_a_simulator_that_is_killed(
    laboratory: Laboratory, nothing_left: Callable[[], None]
) -> None:
    running = laboratory.start(busy())
    directory = laboratory.folder / "run"
    wait_for_start(running, directory, "python", 4)
    running.kill()
    ended(running)
    eventually(lambda: not processes_of(directory), "the end of every process")
    assert status(directory) == "running"
    # The next run clears up what could not be cleared up.
    laboratory.run(experiment({"next": host(process("true"))}))
    assert status(directory) == "complete"
    nothing_left()


def test_a_program_that_cannot_be_started_ends_the_run_before_it_begins(laboratory: Laboratory, tmp_path: Path) -> None:
    hosts = {"first": host(process("sleep", "5")), "second": host(process(tmp_path / "missing"))}
    run = laboratory.run(experiment(hosts), expect=2)
    assert "hosts.second.processes[0].path" in run.errors
    assert f"there is no file {tmp_path / 'missing'}" in run.errors
    assert not run.directory.exists()


def test_a_program_that_disappears_before_its_start_ends_the_run(
    laboratory: Laboratory, tmp_path: Path, nothing_left: Callable[[], None]
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(Path("/bin/sleep").read_bytes())
    victim.chmod(0o755)
    hosts = {
        "first": host(shell(f"rm {victim}; sleep 1000", expected_final_state="running")),
        "second": host(process(victim, "1", start_time="10 s")),
    }
    run = laboratory.run(experiment(hosts), expect=None)
    assert run.exit_code in (1, 2), run.story()
    assert "victim" in run.output + run.errors
    assert "Traceback" not in run.errors
    nothing_left()
