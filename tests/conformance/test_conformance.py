"""Small C programs run natively on Linux and in the simulator, and print the same.

Every C file of every folder below this one is a program of its own, one per kernel concept. What it prints natively is
what is right. Those of as_root need to be root to say anything; the simulator needs not.
"""

from __future__ import annotations

import difflib
import os
import subprocess
from pathlib import Path

import pytest

from antumbra.doctor import required_features_missing
from tests.system.experiment import Laboratory, experiment, host, process

HERE = Path(__file__).parent
PROGRAMS = sorted(HERE.glob("*/*.c"))
WARNINGS = ("-Wall", "-Wextra", "-Werror")
#: Programs end by themselves after 20 s, hung or not; this only catches what an alarm cannot end.
TIMEOUT_S = 60
#: What a process sees of the environment, natively and simulated.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


@pytest.fixture(scope="session", autouse=True)
def _machine() -> None:
    missing = required_features_missing()
    if missing:
        pytest.skip("this machine cannot run hot hosts: " + "; ".join(missing))


@pytest.fixture(scope="session")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for compiled programs; each is compiled by the first test that wants it."""
    return tmp_path_factory.mktemp("conformance")


def compiled(source: Path, folder: Path) -> Path:
    """Compile a program unless that was done already."""
    binary = folder / f"{source.parent.name}-{source.stem}"
    if not binary.exists():
        flags = ["-O1", "-std=gnu11", "-pthread", f"-I{HERE}", *WARNINGS]
        subprocess.run(["gcc", *flags, str(source), "-o", str(binary), "-lrt"], check=True, timeout=120)
    return binary


def natively(program: Path, folder: Path) -> str:
    """What the program prints on this machine."""
    folder.mkdir()
    # As in the simulator, no signal is ignored at first; who runs the tests may ignore those of the keyboard.
    done = subprocess.run(
        ["env", "--default-signal", program],
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
        text=True,
        errors="backslashreplace",
        start_new_session=True,
    )
    story = f"natively it ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert done.returncode == 0, story
    return done.stdout


@pytest.mark.parametrize("source", PROGRAMS, ids=[f"{path.parent.name}-{path.stem}" for path in PROGRAMS])
def test_a_program_prints_in_the_simulator_what_it_prints_on_linux(
    source: Path, binaries: Path, tmp_path: Path
) -> None:
    if source.parent.name == "as_root" and os.geteuid() != 0:
        pytest.skip("only root can run it natively")
    if source.name.startswith("inet6") and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    program = compiled(source, binaries)
    expected = natively(program, tmp_path / "native")
    hosts = {"oracle": host(process(program, environment=ENVIRONMENT))}
    run = Laboratory(tmp_path).run(experiment(hosts, stop_time="60 s"), expect=None)
    simulated = run.path("oracle", "*.stdout").read_text(encoding="utf-8", errors="backslashreplace")
    difference = difflib.unified_diff(
        expected.splitlines(), simulated.splitlines(), "Linux", "simulator", lineterm="", n=4
    )
    assert simulated == expected, "\n".join([*difference, run.story()])
    assert run.exit_code == 0, run.story()
