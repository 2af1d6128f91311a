"""When one shard fails, all end soon: with a log that says which, when and why, and with nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.distributed.shards import MPI_ENVIRONMENT, mpi_command
from tests.system.experiment import (
    TIMEOUT_S,
    Configuration,
    Laboratory,
    environment,
    experiment,
    host,
    network,
    processes_of,
    python,
    shell,
)

SHARDS = 3
SHARED_MEMORY = Path("/dev/shm")


def endless(**distributed: object) -> Configuration:
    """Three hosts, one for each shard, that work for longer than any test."""
    loop = shell("while true; do sleep 0.01; echo working; done", expected_final_state="running")
    configuration = experiment({name: host(loop) for name in ("one", "two", "three")}, stop_time="100000000 s")
    return {**configuration, "distributed": distributed}


FLOOD = """
import os, socket, time
while not os.path.exists("go"):
    print("This line is for one window of a second.", flush=True)
    time.sleep(1)
flood = socket.socket(type=socket.SOCK_DGRAM)
while True:
    flood.sendto(bytes(60000), ("one", 5000))
"""


def flooding_when_told() -> Configuration:
    """Make three hosts, one for each shard, that send as much as they can as soon as there is a file `go`."""
    flood = python(FLOOD, expected_final_state="running")
    hosts = {name: host(flood) for name in ("one", "two", "three")}
    # A window lasts a second, in which 1 Gbit is sent: far more than a shard has at hand.
    return experiment(hosts, stop_time="100000000 s", network=network(latency="1 s"))


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S / 3
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def _segments() -> set[str]:
    """Name the shared memory of ours and of Open MPI."""
    return {path.name for path in SHARED_MEMORY.iterdir() if path.name.startswith(("antumbra", "sm_segment", "vader"))}


class Running:
    """An experiment in several processes."""

    def __init__(self, command: list[str], directory: Path) -> None:
        self.directory = directory
        self._segments = _segments()
        self.launcher = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment(**MPI_ENVIRONMENT),
            cwd=directory.parent,
        )

    def shards(self) -> dict[int, int]:
        """Find the process of each shard: it holds its directory open."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                open_places = {str(place.readlink()) for place in (entry / "fd").iterdir()}
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            for shard in range(SHARDS):
                if str(self.directory / f"shard-{shard}") in open_places:
                    found[shard] = int(entry.name)
        return found

    def wait_until_at_work(self) -> dict[int, int]:
        """Wait until every shard has run windows; return their processes."""

        def at_work() -> bool:
            outputs = [*self.directory.glob("shard-*/hosts/*/*.stdout")]
            # By then either program has slept past the end of the first window.
            return len(outputs) == SHARDS and all(path.stat().st_size > 100 for path in outputs)

        eventually(lambda: self.launcher.poll() is not None or at_work(), "work on all shards")
        assert self.launcher.poll() is None, self.launcher.communicate()[0]
        shards = self.shards()
        assert len(shards) == SHARDS
        return shards

    def ended(self) -> tuple[int, str]:
        """Wait for the end; return the exit code, and what all shards printed."""
        output, _ = self.launcher.communicate(timeout=TIMEOUT_S)
        return self.launcher.returncode, output

    def status(self, shard: int | None = None) -> object:
        """Return what a manifest says about the end."""
        folder = self.directory if shard is None else self.directory / f"shard-{shard}"
        return json.loads((folder / "manifest.json").read_text())["status"]

    def assert_nothing_left(self) -> None:
        """No process of any shard, no shared memory."""
        eventually(lambda: not self.shards(), "the end of every shard")
        folders = [self.directory / f"shard-{shard}" for shard in range(SHARDS)]
        eventually(lambda: not any(map(processes_of, folders)), "the end of every managed process")
        eventually(lambda: _segments() <= self._segments, "the end of shared memory")

    def clear_up(self) -> None:
        """End whatever a failed test has left."""
        for number in [*self.shards().values(), self.launcher.pid]:
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.launcher.wait()


@pytest.fixture
def start(laboratory: Laboratory) -> Iterator[Callable[..., Running]]:
    """Start experiments, and clear up after those whose test fails."""
    started: list[Running] = []

    def begin(configuration: Configuration, *, mpi: bool = False, wrapper: Sequence[str] = ()) -> Running:
        if mpi:
            command = mpi_command(laboratory, SHARDS, configuration, name="run", wrapper=wrapper)
        else:
            command = laboratory.command(configuration, "--shards", str(SHARDS), name="run")
        started.append(Running(command, laboratory.folder / "run"))
        return started[-1]

    yield begin
    for running in started:
        running.clear_up()


def test_a_shard_that_is_killed_ends_the_run(start: Callable[..., Running]) -> None:
    running = start(endless())
    os.kill(running.wait_until_at_work()[1], signal.SIGKILL)
    code, text = running.ended()
    assert code == 1, text
    for survivor in (0, 2):
        assert f"shard {survivor}, window " in text
        assert running.status(survivor) == "failed"
        # What was measured so far can be read.
        assert pq.read_table(running.directory / f"shard-{survivor}" / "metrics" / "windows.parquet").num_rows > 1
    assert "shard 1 is gone" in text
    assert "was ended by SIGKILL" in text
    assert "Traceback" not in text
    assert running.status() == "failed"
    running.assert_nothing_left()


def assert_all_know(running: Running, text: str, culprit: int, cause: str) -> None:
    """Every shard has said once which shard failed, in which window, and why; and what it measured can be read."""
    for shard in range(SHARDS):
        lines = [line for line in text.splitlines() if f"shard {shard}, window " in line]
        assert len(lines) == 1, text
        assert cause in lines[0]
        if shard != culprit:
            assert f"shard {culprit} failed: in window " in lines[0]
            assert running.status(shard) == "failed"
            folder = running.directory / f"shard-{shard}" / "metrics"
            assert pq.read_table(folder / "windows.parquet").num_rows >= 1


#: What a shard needs and may be denied while it runs, and how it says so.
LIMITS = {
    "disk": (resource.RLIMIT_FSIZE, 0, "File too large"),
    "memory": (resource.RLIMIT_AS, 1, "memory"),
}


def deny(running: Running, shard: int, limit: str) -> str:
    """Give a shard no more of something, and tell its host to go; return how the shard must complain."""
    number, value, cause = LIMITS[limit]
    resource.prlimit(running.wait_until_at_work()[shard], number, (value, value))
    (folder,) = (running.directory / f"shard-{shard}" / "hosts").iterdir()
    (folder / "go").touch()
    return cause


@pytest.mark.parametrize("limit", LIMITS)
def test_a_shard_that_lacks_disk_or_memory_says_so_to_all(start: Callable[..., Running], limit: str) -> None:
    running = start(flooding_when_told() if limit == "memory" else endless())
    cause = deny(running, 1, limit)
    code, text = running.ended()
    assert code == 2, text
    assert "Traceback" not in text
    assert_all_know(running, text, 1, cause)
    running.assert_nothing_left()


@pytest.mark.slow
def test_a_rank_that_lacks_memory_says_so_to_all(start: Callable[..., Running]) -> None:
    running = start(flooding_when_told(), mpi=True)
    cause = deny(running, 1, "memory")
    code, text = running.ended()
    assert code != 0, text
    assert_all_know(running, text, 1, cause)
    running.assert_nothing_left()


@pytest.mark.slow
def test_a_rank_that_never_starts_is_given_up(start: Callable[..., Running]) -> None:
    stuck = ("bash", "-c", 'if [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then exec sleep 1000; fi; exec "$@"', "stuck")
    running = start(endless(start_timeout="4 s"), mpi=True, wrapper=stuck)
    code, text = running.ended()
    assert code != 0
    assert "before window 0: waited more than 4 s for all ranks to start" in text
    assert "shard 1" not in text
    running.assert_nothing_left()


def test_the_first_shard_may_be_the_one_that_is_killed(start: Callable[..., Running]) -> None:
    running = start(endless())
    os.kill(running.wait_until_at_work()[0], signal.SIGKILL)
    code, text = running.ended()
    assert code == -signal.SIGKILL
    running.assert_nothing_left()
    for survivor in (1, 2):
        assert f"shard {survivor}, window " in text
        assert running.status(survivor) == "failed"
    assert "shard 0" in text
    assert "is gone" in text


@pytest.mark.parametrize("shard", [0, 1])
def test_a_shard_that_is_stopped_for_too_long_is_given_up(start: Callable[..., Running], shard: int) -> None:
    running = start(endless(peer_timeout="1 s"))
    processes = running.wait_until_at_work()
    os.kill(processes[shard], signal.SIGSTOP)
    if shard == 0:
        eventually(lambda: running.status(1) == running.status(2) == "failed", "the end of the others")
        os.kill(processes[0], signal.SIGCONT)
    code, text = running.ended()
    assert code == 1, text
    assert f"shard {shard} (process {processes[shard]}) has been stopped for more than 1 s" in text
    running.assert_nothing_left()


def test_a_shard_that_is_stopped_for_a_moment_goes_on(start: Callable[..., Running]) -> None:
    running = start(endless(peer_timeout="1 h"))
    processes = running.wait_until_at_work()
    os.kill(processes[1], signal.SIGSTOP)
    time.sleep(1)
    os.kill(processes[1], signal.SIGCONT)
    running.launcher.send_signal(signal.SIGINT)
    code, text = running.ended()
    assert code == 1
    assert "interrupted at" in text
    assert running.status() == "interrupted"
    running.assert_nothing_left()


def test_a_shard_that_fails_tells_the_others_why(start: Callable[..., Running]) -> None:
    running = start(endless())
    processes = running.wait_until_at_work()
    # What a shard gets when the process that started it dies: it fails, at whatever it is doing.
    os.kill(processes[1], signal.SIGHUP)
    code, text = running.ended()
    assert code == 1, text
    for told in (0, 2):
        lines = [line for line in text.splitlines() if f"shard {told}, window " in line]
        assert len(lines) == 1
        assert "shard 1 failed: in window " in lines[0]
    for shard in range(SHARDS):
        assert running.status(shard) == "failed"
    assert "Traceback" not in text
    running.assert_nothing_left()


@pytest.mark.slow
def test_a_rank_that_is_killed_ends_the_mpi_world(start: Callable[..., Running]) -> None:
    running = start(endless(), mpi=True)
    os.kill(running.wait_until_at_work()[1], signal.SIGKILL)
    code, text = running.ended()
    assert code != 0
    assert "shard 0, window " in text
    running.assert_nothing_left()


@pytest.mark.slow
def test_a_rank_that_does_not_come_is_named_and_ends_the_mpi_world(start: Callable[..., Running]) -> None:
    running = start(endless(peer_timeout="2 s"), mpi=True)
    processes = running.wait_until_at_work()
    os.kill(processes[1], signal.SIGSTOP)
    code, text = running.ended()
    assert code != 0
    assert "waited more than 2 s for shard 1" in text
    assert running.status(0) == running.status(2) == "failed"
    # A stopped process dies of MPI's SIGKILL only; where MPI asked it gently, it hears that now.
    with contextlib.suppress(ProcessLookupError):
        os.kill(processes[1], signal.SIGCONT)
    running.assert_nothing_left()
