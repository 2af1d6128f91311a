"""What the machine refuses is an error with a message: exit code 2, and never a traceback."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.experiment import COMMAND, Configuration, Laboratory, Run, environment, experiment, host, process, shell

USER_ERROR = 2
NOBODY = 65534


def small() -> Configuration:
    return experiment({"only": host(process("sleep", "1"))})


def assert_explained(run: Run) -> None:
    assert run.exit_code == USER_ERROR, run.story()
    assert "error:" in run.errors
    assert "Traceback" not in run.errors


def test_a_directory_that_cannot_be_written_is_an_error(laboratory: Laboratory) -> None:
    blocked = laboratory.folder / "file"
    blocked.write_text("a file where a directory is needed")
    run = laboratory.run(small(), name="file/run", expect=None) if False else None
    assert run is None
    done = subprocess.run(
        [*laboratory.command(small()), "-d", str(blocked / "run")],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert_explained(Run(blocked / "run", done.returncode, done.stdout, done.stderr))
    assert "Not a directory" in done.stderr


def test_a_directory_of_something_else_is_left_alone(laboratory: Laboratory) -> None:
    precious = laboratory.folder / "run" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("three years of work")
    assert_explained(laboratory.run(small(), expect=None))
    assert precious.read_text() == "three years of work"


def test_a_run_that_needs_more_memory_than_there_is_is_refused_with_the_numbers(laboratory: Laboratory) -> None:
    configuration = small()
    configuration["hosts"] = {
        f"host{number}": host(*[process("sleep", "1")] * 20) for number in range(1000)
    }
    run = laboratory.run(configuration, expect=None, prefix=["bash", "-c", 'ulimit -Hn 4096; exec "$@"', "limited"])
    assert_explained(run)
    assert "file descriptors, and the hard limit here is 4096" in run.errors
    assert not run.directory.exists()


def test_a_tail_that_does_not_fit_is_refused_with_the_numbers(laboratory: Laboratory) -> None:
    configuration = small()
    configuration["cold"] = {
        "populations": {"tail": {"count": 400_000_000, "addresses": "32.0.0.0/3"}},
        "overlay": {"degree": 50},
        "topics": [1],
    }
    run = laboratory.run(configuration, expect=None)
    assert_explained(run)
    assert "of memory" in run.errors
    assert "this machine has" in run.errors


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", place], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("only root can make a small disk")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_an_error(laboratory: Laboratory, small_disk: Path) -> None:
    fill = shell("head -c 10000000 /dev/zero > fill; echo status $?", expected_final_state={"exited": 0})
    laboratory.folder = small_disk.parent
    configuration = laboratory.command(experiment({"only": host(fill)}))[len(COMMAND) + 1]
    done = subprocess.run(
        [*COMMAND, "run", configuration, "-d", str(small_disk / "run")],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=False,
    )
    run = Run(small_disk / "run", done.returncode, done.stdout, done.stderr)
    assert_explained(run)
    assert "No space left on device" in run.errors


def test_a_program_sees_the_full_disk_as_any_program_does(laboratory: Laboratory) -> None:
    script = "ulimit -f 8; trap '' XFSZ; head -c 100000 /dev/zero > file; echo status $?; stat -c %s file"
    run = laboratory.run(experiment({"only": host(shell(script))}))
    assert run.stdout("only") == "status 1\n8192\n"
    assert "File too large" in run.stderr("only")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_run_does_not_need_root(laboratory: Laboratory, apps: Path) -> None:
    configuration = experiment({"only": host(shell("id -u; echo written > file; cat file; sleep 5; date -u +%s"))})
    laboratory.folder.chmod(0o777)
    for parent in laboratory.folder.parents:
        if not parent.stat().st_mode & 0o001:
            pytest.skip(f"{parent} is closed to others")
    if subprocess.run(as_nobody(*COMMAND, "--version"), capture_output=True, env=environment(), check=False).returncode:
        pytest.skip("the interpreter is closed to others")
    run = laboratory.run(configuration, prefix=as_nobody())
    assert run.stdout("only") == "0\nwritten\n946684805\n"


def as_nobody(*command: str) -> list[str]:
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", *command]
