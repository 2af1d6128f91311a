"""Every clock of a managed process shows the simulation's time, which passes only when nothing can run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.experiment import Laboratory, experiment, host, network, process, python, shell

EPOCH_S = 946_684_800
YEAR_S = 365 * 24 * 3600


def test_an_hour_of_sleep_ends_at_once_and_every_clock_says_so(laboratory: Laboratory) -> None:
    code = """
import datetime, time
realtime, monotonic = time.time(), time.monotonic()
print(realtime)
time.sleep(3600)
print(time.time() - realtime, time.monotonic() - monotonic, datetime.datetime.now(datetime.UTC).isoformat())
"""
    hosts = {
        "shell": host(shell("date -u +%s; sleep 3600; date -u +%FT%TZ")),
        "python": host(python(code, start_time="1 s")),
    }
    run = laboratory.run(experiment(hosts, stop_time="2 h"))
    assert run.stdout("shell") == f"{EPOCH_S}\n2000-01-01T01:00:00Z\n"
    assert run.stdout("python") == f"{EPOCH_S + 1}.0\n3600.0 3600.0 2000-01-01T01:00:01+00:00\n"


@pytest.mark.parametrize("how", ["nanosleep", "monotonic", "realtime"])
def test_a_sleep_ends_exactly_when_it_should(laboratory: Laboratory, apps: Path, how: str) -> None:
    hosts = {"sleeper": host(process(apps / "sleeper", "86400.123456789", how))}
    run = laboratory.run(experiment(hosts, stop_time="48 h"))
    before, after, result = run.stdout("sleeper").splitlines()
    assert before.startswith(f"before realtime_ns {EPOCH_S * 10**9} ")
    assert after.startswith(f"after realtime_ns {(EPOCH_S + 86400) * 10**9 + 123456789} ")
    assert result == "slept_ns 86400123456789 late_ns 0"


def test_years_pass_in_a_run_that_has_nothing_to_do(laboratory: Laboratory) -> None:
    hosts = {"sleeper": host(shell(f"sleep {10 * YEAR_S}; date -u +%s"))}
    run = laboratory.run(experiment(hosts, stop_time=f"{11 * YEAR_S} s"))
    assert run.stdout("sleeper") == f"{EPOCH_S + 10 * YEAR_S}\n"


@pytest.mark.parametrize("how", ["clock", "rdtsc", "poll", "child", "ticks", "stat", "access", "open", "kill"])
def test_a_program_that_waits_by_looking_sees_time_pass(laboratory: Laboratory, apps: Path, how: str) -> None:
    hosts = {"spinner": host(process(apps / "time_spinner", how))}
    run = laboratory.run(experiment(hosts))
    assert run.stdout("spinner").startswith(f"{how} elapsed_")


def test_a_million_questions_are_no_spin(laboratory: Laboratory, apps: Path) -> None:
    run = laboratory.run(experiment({"only": host(process(apps / "time_spinner", "much"))}))
    assert run.stdout("only") == "much elapsed_ns 0 rounds 1000000\n"
    assert run.statistics["hot"]["spins_detected"] == 0


def test_processes_that_wake_each_other_without_end_do_not_stop_time(laboratory: Laboratory) -> None:
    busy = "mkfifo there back; exec 3<>there 4<>back; cat <&3 >&4 & cat <&4 >&3 & echo >&3; wait"
    hosts = {
        "busy": host(shell(busy, expected_final_state="running")),
        "bystander": host(shell("sleep 1.5; date +%s.%N"), node=1),
    }
    run = laboratory.run(experiment(hosts, stop_time="2 s", network=network()))
    assert run.stdout("bystander") == f"{EPOCH_S + 1}.500000000\n"
    assert 6_000_000 < run.statistics["hot"]["calls"] < 8_000_000


def test_processes_start_and_files_are_stamped_in_simulated_time(laboratory: Laboratory) -> None:
    script = "date -u +%T; touch file; stat -c %Y file; date -u -r file +%T; ps -o etimes= -p $$ || true"
    run = laboratory.run(experiment({"late": host(shell(script, start_time="90 s"))}, stop_time="100 s"))
    assert run.stdout("late").splitlines()[:3] == ["00:01:30", str(EPOCH_S + 90), "00:01:30"]
