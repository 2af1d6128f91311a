"""The doctor says what is there, what is missing and what to do, and leaves nothing behind."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from antumbra import doctor, probes

# Lets a process go on under a seccomp filter that refuses memfd_create (319) and ptrace (101), as a container
# may, and then runs the probes.
_CONFINED_PROBES = f"""
import ctypes, runpy
probes = runpy.run_path({probes.__file__!r})
refuse = 0x00050000 | 1
instructions = (probes["_Instruction"] * 5)(
    (probes["_BPF_LOAD_WORD"], 0, 0, 0),
    (probes["_BPF_JUMP_IF_EQUAL"], 2, 0, 319),
    (probes["_BPF_JUMP_IF_EQUAL"], 1, 0, 101),
    (probes["_BPF_RETURN"], 0, 0, probes["_SECCOMP_RET_ALLOW"]),
    (probes["_BPF_RETURN"], 0, 0, refuse),
)
program = probes["_Program"](5, instructions)
libc = ctypes.CDLL(None)
zero, one = ctypes.c_ulong(0), ctypes.c_ulong(1)
assert libc.prctl(38, one, zero, zero, zero) == 0
assert libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(program), zero, zero) == 0
probes["main"]()
"""


@pytest.fixture
def confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the doctor probe a machine without memfd_create and ptrace."""
    script = tmp_path / "probes.py"
    script.write_text(_CONFINED_PROBES)
    monkeypatch.setattr(probes, "__file__", str(script))


def _children() -> set[str]:
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


@pytest.fixture(scope="module")
def here() -> dict[str, doctor.Check]:
    """What the doctor finds on this machine."""
    return {check.name: check for check in doctor.all_checks()}


def test_every_probe_is_told_by_one_line_of_the_table() -> None:
    result = subprocess.run([sys.executable, "-I", "-S", probes.__file__], capture_output=True, check=True)
    assert sorted(json.loads(result.stdout)) == sorted(feature.probe for feature in doctor._FEATURES)


def test_the_exit_code_says_whether_experiments_can_run(here: dict[str, doctor.Check]) -> None:
    output = io.StringIO()
    status = doctor.run_doctor(Console(file=output, width=200))
    assert status == (2 if doctor.required_features_missing() else 0)
    assert [name for name in here if name not in output.getvalue()] == []


def test_mpi_from_the_package_index_starts_two_ranks(here: dict[str, doctor.Check]) -> None:
    assert here["MPI"].level is doctor.Level.OK, here["MPI"].found


def test_the_probes_leave_no_process_behind() -> None:
    before = _children()
    doctor.required_features_missing()
    assert _children() == before


@pytest.mark.usefixtures("confined")
def test_a_refused_feature_is_named_with_its_reason_and_remedy() -> None:
    checks = {check.name: check for check in doctor._features()}
    memfd = checks["memfd at fixed addresses"]
    assert memfd.level is doctor.Level.MISSING
    assert "Operation not permitted" in memfd.found
    assert "--security-opt" in memfd.remedy
    assert checks["ptrace of children"].level is doctor.Level.WARNING
    assert checks["seccomp traps"].level is doctor.Level.OK


@pytest.mark.usefixtures("confined")
def test_only_what_nothing_runs_without_stops_a_run() -> None:
    missing = doctor.required_features_missing()
    assert any(text.startswith("memfd at fixed addresses: ") for text in missing)
    assert not any("ptrace" in text for text in missing)


@pytest.mark.usefixtures("confined")
def test_a_machine_that_lacks_something_needed_is_told_so() -> None:
    output = io.StringIO()
    assert doctor.run_doctor(Console(file=output, width=200)) == 2
    assert "cannot run experiments" in output.getvalue()


def test_a_missing_compiler_or_program_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("PATH", str(tmp_path))
    compiler, tshark = doctor._compiler(), doctor._optional_program("tshark", "tshark")
    assert compiler.found == "no-such-compiler was not found"
    assert "apt-get install tshark" in tshark.remedy
    assert {compiler.level, tshark.level} == {doctor.Level.WARNING}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("6.1.0-18-amd64", (6, 1, 0)), ("5.11", (5, 11)), ("6.18.44-fc", (6, 18, 44)), ("12", (12,)), ("?", ())],
)
def test_a_version_is_its_leading_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert doctor._version(text) == numbers
