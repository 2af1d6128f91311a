"""How processes end, how that is compared with what was expected, and what a person is told."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.system.experiment import Laboratory, experiment, host, process, python, shell

FAILED = 1

SAY_SIGNAL = """
import signal, sys, time
def told(number, frame):
    print(signal.Signals(number).name, time.monotonic_ns() // 10**9 - start)
    sys.exit(4)
signal.signal(signal.SIGTERM, told)
signal.signal(signal.SIGUSR1, told)
start = time.monotonic_ns() // 10**9
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.parametrize(
    ("arguments", "ending", "told"),
    [
        (["exit", "3"], {"exited": 3}, "{exited: 3}"),
        (["exit", "0"], {"exited": 0}, "{exited: 0}"),
        (["abort"], {"signaled": "SIGABRT"}, "{signaled: SIGABRT}"),
        (["segv"], {"signaled": "SIGSEGV"}, "{signaled: SIGSEGV}"),
        (["fpe"], {"signaled": "SIGFPE"}, "{signaled: SIGFPE}"),
        (["ill"], {"signaled": "SIGILL"}, "{signaled: SIGILL}"),
        (["kill"], {"signaled": "SIGKILL"}, "{signaled: SIGKILL}"),
        (["term"], {"signaled": "SIGTERM"}, "{signaled: SIGTERM}"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_process_ends_as_expected_or_the_run_fails(
    laboratory: Laboratory, apps: Path, arguments: list[str], ending: dict[str, Any], told: str
) -> None:
    expected = {"expected": ending, "other": {"exited": 9}}
    hosts = {
        name: host(process(apps / "crash", *arguments, expected_final_state=state)) for name, state in expected.items()
    }
    run = laboratory.run(experiment(hosts), expect=FAILED)
    assert run.endings() == {"expected": told, "other": told}
    assert [line for line in run.output.splitlines() if "failed:" in line] == [
        f"failed: other: crash (pid 1000) ended as {told}, and {{exited: 9}} was expected"
    ]
    assert run.manifest["status"] == "failed"


def test_a_process_may_be_expected_to_run_to_the_end(laboratory: Laboratory) -> None:
    hosts = {"sleeper": host(process("sleep", "1000", expected_final_state="running"))}
    run = laboratory.run(experiment(hosts))
    assert run.endings() == {"sleeper": "running"}
    assert run.manifest["status"] == "complete"


@pytest.mark.parametrize(
    ("seconds", "expected", "told"),
    [
        ("1000", {"exited": 0}, "ended as running, and {exited: 0} was"),
        ("1", "running", "ended as {exited: 0}, and running was"),
    ],
    ids=["too-long", "too-short"],
)
def test_a_process_that_runs_too_long_or_too_short_fails_the_run(
    laboratory: Laboratory, seconds: str, expected: object, told: str
) -> None:
    hosts = {"sleeper": host(process("sleep", seconds, expected_final_state=expected))}
    run = laboratory.run(experiment(hosts), expect=FAILED)
    assert f"failed: sleeper: sleep (pid 1000) {told} expected" in run.output


def test_shutdown_sends_a_signal_at_its_time(laboratory: Laboratory) -> None:
    ended = {"exited": 4}
    hosts = {
        "default": host(python(SAY_SIGNAL, shutdown_time="20 s", expected_final_state=ended)),
        "chosen": host(
            python(
                SAY_SIGNAL,
                start_time="5 s",
                shutdown_time="20 s",
                shutdown_signal="SIGUSR1",
                expected_final_state=ended,
            )
        ),
        "unheard": host(
            process("sleep", "1000", shutdown_time="20 s", expected_final_state={"signaled": "SIGTERM"}),
        ),
        "over": host(process("sleep", "1", shutdown_time="20 s")),
    }
    run = laboratory.run(experiment(hosts))
    assert run.stdout("default") == "ready\nSIGTERM 20\n"
    assert run.stdout("chosen") == "ready\nSIGUSR1 15\n"


def test_a_process_that_spins_without_calls_is_named_and_ended(laboratory: Laboratory, apps: Path) -> None:
    hosts = {
        "stuck": host(process(apps / "spinner", start_time="1 s", expected_final_state={"signaled": "SIGKILL"})),
        "other": host(shell("sleep 30; echo awake")),
    }
    run = laboratory.run(experiment(hosts, experimental={"turn_limit": "1 s"}))
    (warning,) = [line for line in run.errors.splitlines() if "kept the turn" in line]
    assert "stuck: process spinner (pid 1000, real pid " in warning
    assert "rip spinner+0x" in warning
    assert run.stdout("stuck") == "spinning\n"
    assert run.stdout("other") == "awake\n"


def test_the_last_call_of_a_process_that_spins_is_named_though_its_site_was_rewritten(laboratory: Laboratory) -> None:
    spin = "import os\nfor _ in range(3): os.write(1, b'spinning\\n')\nwhile True: pass"
    hosts = {"stuck": host(python(spin, expected_final_state={"signaled": "SIGKILL"}))}
    run = laboratory.run(experiment(hosts, experimental={"turn_limit": "1 s"}))
    (warning,) = [line for line in run.errors.splitlines() if "kept the turn" in line]
    assert re.search(r"its last system call was number 1, made at libc\S*\+0x[0-9a-f]+; it is ended", warning)


def test_a_process_that_computes_less_than_the_limit_is_left_alone(laboratory: Laboratory, apps: Path) -> None:
    hosts = {"busy": host(process(apps / "spinner", "300000000"))}
    run = laboratory.run(experiment(hosts))
    assert run.stdout("busy").splitlines()[-1] == "spun 300000000"


def test_children_do_not_outlive_the_run_and_do_not_decide_it(laboratory: Laboratory) -> None:
    hosts = {"parent": host(shell("(sleep 1000; echo never) & (exit 9) & sleep 1; echo done"))}
    run = laboratory.run(experiment(hosts))
    assert run.stdout("parent") == "done\n"


def test_processes_of_a_host_start_at_their_times_and_see_each_other(laboratory: Laboratory) -> None:
    hosts = {
        "machine": host(
            shell("echo one > note; sleep 10; cat note"),
            process("cat", "note", start_time="2 s"),
            shell("kill -0 1000 && echo alive; echo two > note", start_time="5 s"),
            shell("kill -0 1000 || echo gone", start_time="20 s"),
        )
    }
    run = laboratory.run(experiment(hosts))
    written = {path.name.split(".")[1]: path.read_text() for path in run.directory.glob("hosts/machine/*.stdout")}
    assert sorted(written.values()) == ["alive\n", "gone\n", "one\n", "two\n"]


def test_a_program_that_is_overwritten_between_its_starts_runs_as_it_is_then(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    """Where its first version made system calls is known by then, and the second has other code there."""
    source = tmp_path / "program.c"
    for version in (1, 2):
        filler = '__asm__ volatile("nop");' * (3 * version)
        source.write_text(
            f"#include <unistd.h>\nint main(void) {{ {filler}"
            f'for (int i = 0; i < 5; i++) if (getppid() < 1 || write(1, "{version}", 1) != 1) return 1; }}'
        )
        program = str(tmp_path / f"version{version}")
        subprocess.run(["gcc", "-O2", "-static", "-o", program, str(source)], check=True)
    start = f"cat {tmp_path}/version$version > program && chmod +x program && ./program && ./program"
    script = f"for version in 1 1 2 2 1; do {start}; done"
    run = laboratory.run(experiment({"alone": host(shell(script))}))
    assert run.stdout("alone") == "".join(version * 10 for version in "11221")
