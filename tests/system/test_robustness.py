"""What the machine refuses is an error with a message: exit code 2, and never a traceback."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.system.experiment import (
    COMMAND,
    Configuration,
    Laboratory,
    Run,
    environment,
    experiment,
    host,
    process,
    shell,
    write,
)

USER_ERROR = 2
NOBODY = 65534


def small() -> Configuration:
    return experiment({"only": host(process("sleep", "1"))})


def assert_explained(run: Run) -> None:
    assert run.exit_code == USER_ERROR, run.story()
    assert "error:" in run.errors
    assert "Traceback" not in run.errors


def test_a_directory_that_cannot_be_written_is_an_error(laboratory: Laboratory) -> None:
    (laboratory.folder / "file").write_text("a file where a directory is needed")
    run = laboratory.run(write(small(), laboratory.folder / "small.yaml"), name="file/run", expect=None)
    assert_explained(run)
    assert "Not a directory" in run.errors


def test_a_directory_of_something_else_is_left_alone(laboratory: Laboratory) -> None:
    precious = laboratory.folder / "run" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("three years of work")
    assert_explained(laboratory.run(small(), expect=None))
    assert precious.read_text() == "three years of work"


def test_a_run_that_needs_more_than_there_is_is_refused_with_the_numbers(laboratory: Laboratory) -> None:
    configuration = small()
    configuration["hosts"] = {f"host{number}": host(process("sleep", "1")) for number in range(100)}
    configuration["host_option_defaults"] = {"pcap_enabled": True}
    limit = ["bash", "-c", 'ulimit -n 1200; exec "$@"', "limited"]
    run = laboratory.run(configuration, expect=None, prefix=limit)
    assert_explained(run)
    assert "needs about 1324 file descriptors, and the hard limit here is 1200" in run.errors
    assert not run.directory.exists()


def test_a_run_that_needs_more_memory_than_there_is_is_refused_with_the_numbers(laboratory: Laboratory) -> None:
    configuration = small()
    # Populations of the largest size, as many as no machine has memory for.
    configuration["cold"] = {
        "populations": {
            f"tail{number}": {"count": 16_000_000, "addresses": f"{number}.0.0.0/8"} for number in range(32, 96)
        },
        "topics": [1],
    }
    run = laboratory.run(configuration, expect=None)
    assert_explained(run)
    assert re.search(r"needs about [0-9.]+ [GT]iB of memory .* and this machine has [0-9.]+ .iB available", run.errors)
    assert not run.directory.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that makes a file system of a size."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("only root can make a small disk")
        return place

    yield mount
    subprocess.run(["umount", "-l", place], capture_output=True, check=False)


@pytest.mark.parametrize("size", ["4k", "16k", "512k"], ids=["from-the-start", "soon", "by-a-capture"])
def test_a_full_disk_is_an_error(
    laboratory: Laboratory, small_disk: Callable[[str], Path], apps: Path, size: str
) -> None:
    hosts = {
        "server": host(process(apps / "tcp_server", "5000")),
        "client": host(process(apps / "tcp_client", "server", "5000", "up", "3000000", start_time="1 s")),
    }
    disk = small_disk(size)
    configuration = write(experiment(hosts, pcap=True), laboratory.folder / "full.yaml")
    run = laboratory.run(configuration, name=f"{disk.name}/run", expect=None)
    assert_explained(run)
    assert "No space left on device" in run.errors


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_run_does_not_need_root() -> None:
    with TemporaryDirectory() as folder:  # pytest's own are closed to others
        Path(folder).chmod(0o777)
        place = Laboratory(Path(folder))
        version = as_nobody(*COMMAND, "--version")
        if subprocess.run(version, capture_output=True, env=environment(), cwd=folder, check=False).returncode:
            pytest.skip("the interpreter is closed to others")
        script = "id -u; echo written > file; cat file; sleep 5; date -u +%s"
        run = place.run(experiment({"only": host(shell(script))}), prefix=as_nobody())
        assert run.stdout("only") == "0\nwritten\n946684805\n"


def as_nobody(*command: str) -> list[str]:
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", *command]
