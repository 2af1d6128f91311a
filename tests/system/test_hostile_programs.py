"""What a process does to its own memory, and how it dies, costs at most its own host, and is told."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.system.experiment import (
    Configuration,
    Laboratory,
    Run,
    experiment,
    host,
    process,
    python,
)

BYSTANDERS = ("server", "client")
SEEDS = 8

# Kernel code nearly all of the time: datagrams, pipes, timers, children.
BUSY = """
import os, socket, time
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("", 0))
inside, outside = os.pipe()
while True:
    for _ in range(200):
        udp.sendto(b"x" * 100, udp.getsockname())
        udp.recv(200)
        os.write(outside, b"y")
        os.read(inside, 1)
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    time.sleep(0.1)
"""


def with_bystanders(apps: Path, others: dict[str, dict[str, Any]], **keys: Any) -> Configuration:
    """Two hosts that talk for all of the run, beside others: their names come first, so that ids are the same."""
    hosts = {
        "client": host(process(apps / "udp_client", "server", "9000", "1000", start_time="10 ms")),
        "server": host(process(apps / "udp_echo_server", "9000", expected_final_state="running")),
        **{f"zz-{name}": entry for name, entry in others.items()},
    }
    return experiment(
        hosts, experimental={"turn_limit": "1 s", "strace_logging_mode": "deterministic"}, pcap=True, **keys
    )


def of_bystanders(run: Run) -> dict[str, str]:
    return {name: entry for name, entry in run.files.items() if name.split("/")[0] in BYSTANDERS}


def working_in(directory: Path) -> list[int]:
    """Real ids of the processes whose working directory this is."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cwd").readlink() == directory:
                found.append(int(entry.name))
    return found


def attack(apps: Path, *arguments: str) -> dict[str, object]:
    return host(process(apps / "hostile", *arguments, expected_final_state="running"))


@pytest.mark.parametrize("target", ["arena", "stacks"])
def test_damaged_memory_of_a_process_or_its_host_harms_no_other_host(
    laboratory: Laboratory, apps: Path, target: str
) -> None:
    quiet = laboratory.run(
        with_bystanders(apps, {str(i): attack(apps, "limits") for i in range(SEEDS)}), name="quiet", expect=None
    )
    others = {str(i): attack(apps, target, str(i)) for i in range(SEEDS)}
    run = laboratory.run(with_bystanders(apps, others), expect=None)
    assert run.exit_code in (0, 1), run.story()
    assert "Traceback" not in run.errors
    assert of_bystanders(run) == of_bystanders(quiet)
    assert of_bystanders(run)
    endings = run.endings()
    assert endings["client"] == "{exited: 0}", run.story()
    given_up = [line for line in run.errors.splitlines() if "the host is given up" in line]
    assert given_up or target == "stacks", run.story()
    assert all("zz-" in line for line in given_up)
    for line in given_up:
        name = line.split("zz-")[1].split(":")[0]
        assert endings[f"zz-{name}"] == "{signaled: SIGKILL}"


def test_a_program_may_close_and_replace_every_descriptor(laboratory: Laboratory, apps: Path) -> None:
    run = laboratory.run(experiment({"only": host(process(apps / "hostile", "descriptors"))}))
    assert run.stdout("only") == "datagram 1 child 0\n"


def test_a_program_may_raise_its_limits_and_mask_sigsys(laboratory: Laboratory, apps: Path) -> None:
    run = laboratory.run(experiment({"only": host(process(apps / "hostile", "limits"))}))
    assert run.stdout("only") == "blocked 1 unblocked 1\n" * 3


def test_a_program_that_unmaps_all_it_can_dies_alone(laboratory: Laboratory, apps: Path) -> None:
    killed = {"signaled": "SIGSEGV"}
    hosts = {
        "only": host(
            process(apps / "hostile", "unmap", expected_final_state=killed),
            process("sleep", "5"),
        )
    }
    run = laboratory.run(experiment(hosts))
    assert run.stdout("only", "hostile") == "still here\n"
    assert "given up" not in run.errors


def test_processes_may_be_killed_at_any_instruction(laboratory: Laboratory, apps: Path) -> None:
    names = [str(number) for number in range(16)]
    busy = {name: host(python(BUSY, expected_final_state="running")) for name in names}
    quiet = laboratory.run(with_bystanders(apps, busy, stop_time="3 s"), name="quiet")
    generator = random.Random(1)
    running = laboratory.start(with_bystanders(apps, busy, stop_time="3 s"))
    directory = laboratory.folder / "run"
    alive = {f"zz-{name}" for name in names}
    while alive and running.poll() is None:
        time.sleep(generator.uniform(0.001, 0.05))
        victim = generator.choice(sorted(alive))
        for pid in working_in(directory / "hosts" / victim):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            alive.discard(victim)
    output, errors = running.communicate()
    run = Run(directory, running.returncode, output, errors or "")
    assert run.exit_code in (0, 1), run.story()
    assert "Traceback" not in run.story()
    assert of_bystanders(run) == of_bystanders(quiet)
    outcomes = {
        entry["host"]: entry["actual"] for entry in json.loads((directory / "sim-stats.json").read_text())["processes"]
    }
    killed = [name for name in names if outcomes[f"zz-{name}"] == "{signaled: SIGKILL}"]
    assert len(killed) >= len(names) - len(alive)
    assert outcomes["client"] == "{exited: 0}"
