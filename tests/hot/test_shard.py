"""The shard with real programs: start, end, death, hangs, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from antumbra.resources import FDS_PER_HOST
from bridge.digests import tree_digest
from bridge.directory import HostDirectory
from bridge.errors import InternalError, UserError
from bridge.paths import Paths
from bridge.simtime import NS_PER_S
from hot.etc import address_table, name_table, write_etc
from hot.scripts import resolve_program
from hot.shard import HotShard
from tests.hot.experiment import Experiment, process

Build = Callable[..., Experiment]
App = Callable[[str], Path]

ECHO = "/bin/echo"
SLEEP = "/bin/sleep"
SH = "/bin/sh"


def live_children() -> list[str]:
    """Return the command lines of this process's children."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.append(status.parent.name)
    return found


def test_a_program_runs_and_its_output_is_kept(experiment: Build) -> None:
    run = experiment([process(ECHO, "hello", "world")])
    run.run()
    assert run.output("a") == "hello world\n"
    assert run.states() == ["{exited: 0}"]


def test_an_hour_of_sleep_takes_no_time_and_the_clock_shows_it(experiment: Build) -> None:
    run = experiment([process(SH, "-c", "sleep 3600; date -u +%s", start=1)], stop=4000)
    run.run()
    assert run.output("a") == f"{946684800 + 3601}\n"


def test_the_round_trip_is_twice_the_latency(experiment: Build, app: App) -> None:
    server = [process(app("udp_echo_server"), "9000")]
    run = experiment(server, [process(app("udp_client"), "11.0.0.1", "9000", "5", start=1)])
    run.run()
    lines = run.output("b").splitlines()
    assert [line.split()[-1] for line in lines[:-1]] == ["100000000"] * 5
    assert run.states() == ["running", "{exited: 0}"]


def test_names_of_hosts_resolve(experiment: Build, app: App) -> None:
    server = [process(app("udp_echo_server"), "9000")]
    run = experiment(server, [process(app("udp_client"), "a", "9000", "1", start=1)])
    run.run()
    assert "ok 1 datagrams" in run.output("b")


@pytest.mark.parametrize("foreign", [False, True])
def test_what_has_ended_is_reaped_and_what_is_somebody_elses_is_not(experiment: Build, foreign: bool) -> None:
    before = Counter(live_children())
    other = subprocess.Popen([SH, "-c", "exit 3"]) if foreign else None
    if other:
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    ending = [process(SH, "-c", "/bin/true; /bin/true; exit 5", start=1)]
    run = experiment(ending, ending, [*ending, process(SLEEP, "1000")], stop=1000)
    for second in range(2, 900):
        run.shard.run_until(second * NS_PER_S)
        if (Counter(live_children()) - before).total() == 1 + foreign:
            break
        time.sleep(0.02)
    assert (Counter(live_children()) - before).total() == 1 + foreign
    assert run.states() == ["{exited: 5}"] * 3 + ["running"]
    if other:
        assert other.wait() == 3


def test_ends_of_processes_are_told_apart(experiment: Build, app: App) -> None:
    ways = (("exit", "7"), ("segv",), ("abort",), ("kill",), ("term",))
    run = experiment([process(app("crash"), *way, start=i + 1) for i, way in enumerate(ways)])
    run.run()
    assert run.states() == [
        "{exited: 7}",
        "{signaled: SIGSEGV}",
        "{signaled: SIGABRT}",
        "{signaled: SIGKILL}",
        "{signaled: SIGTERM}",
    ]


def test_a_process_is_sent_its_shutdown_signal(experiment: Build) -> None:
    run = experiment([process(SLEEP, "1000", shutdown=5)])
    run.run()
    assert run.states() == ["{signaled: SIGTERM}"]


def test_a_process_that_spins_is_named_and_ended(experiment: Build, app: App, caplog: pytest.LogCaptureFixture) -> None:
    run = experiment([process(app("spinner"), start=1), process(ECHO, "still here", start=2)], turn_limit="200 ms")
    run.run()
    assert run.states() == ["{signaled: SIGKILL}", "{exited: 0}"]
    assert "process spinner (pid 1000" in caplog.text
    assert "rip spinner+0x" in caplog.text


def test_nothing_is_left_when_the_shard_is_closed(experiment: Build) -> None:
    before = set(live_children())
    affinity = os.sched_getaffinity(0)
    run = experiment([process(SH, "-c", "sleep 1000 & sleep 2000 & sleep 3000"), process(SLEEP, "1000")])
    run.run()
    assert run.states() == ["running", "running"]
    assert set(live_children()) > before
    run.shard.close()
    assert set(live_children()) == before
    assert os.sched_getaffinity(0) == affinity
    assert not (run.path / ".etc").exists()
    maps = Path("/proc/self/maps").read_text()
    assert "antumbra-host" not in maps


def test_two_runs_leave_the_same_bytes_and_another_seed_does_not(experiment: Build, app: App) -> None:
    random = "import os, random; print(os.urandom(8).hex(), random.random(), id(random), hash('x'))"
    hosts = (
        [process(app("udp_echo_server"), "9000"), process(sys.executable, "-B", "-c", random, start=1)],
        [process(app("udp_client"), "a", "9000", "20", start=1)],
    )
    digests = []
    for seed in (1, 1, 2):
        run = experiment(*hosts, seed=seed, pcap=True, strace_logging_mode="deterministic")
        run.run()
        run.close()
        digests.append(tree_digest(run.path / "hosts"))
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_two_shards_do_not_fit_one_process(experiment: Build) -> None:
    experiment([process(ECHO)])
    with pytest.raises(InternalError, match="another shard"):
        experiment([process(ECHO)])


def test_a_table_of_addresses_names_only_hosts_that_have_a_node(
    experiment: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = HotShard._set_routes

    def without_the_last_node(shard: HotShard, directory: HostDirectory, paths: Paths) -> None:
        original(shard, replace(directory, node=directory.node[:-1]), paths)

    monkeypatch.setattr(HotShard, "_set_routes", without_the_last_node)
    with pytest.raises(ValueError, match="address_ids has the number of a host that is not among the 1 of"):
        experiment([process(ECHO)], [process(ECHO)])


def test_a_program_that_cannot_be_run_is_the_users_error(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!\n")
    with pytest.raises(UserError, match="names no program"):
        resolve_program(script, [str(script)])


def test_a_script_becomes_its_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#! /bin/sh -e\necho $0\n")
    program, arguments = resolve_program(script, ["name", "argument"])
    assert program == Path("/bin/sh").resolve()
    assert arguments == ("/bin/sh", "-e", str(script), "argument")


def test_generated_files_do_not_depend_on_when_they_are_written(tmp_path: Path) -> None:
    (directory,) = write_etc(tmp_path / "etc", [("alone", 0x0B000001, 0xFD << 120 | 7)], own={"alone": []}, seed=1)
    assert (directory / "hosts").read_text() == (
        "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n11.0.0.1 alone\nfd00::7 alone\n"
    )
    assert (directory / "hostname").read_text() == "alone\n"
    assert len((directory / "machine-id").read_text()) == 33
    assert {file.stat().st_mtime for file in directory.iterdir()} == {946684800.0}


def test_the_table_of_names_is_sorted_and_knows_no_case() -> None:
    hosts = [("zulu", 1, 2), ("Alpha", 0x0B000001, 0xFD << 120 | 7), ("alpha", 3, 4), ("a" * 64, 5, 6)]
    table = name_table(hosts)
    rows = [table[at : at + 84] for at in range(0, len(table), 84)]
    assert [row[:64].rstrip(b"\0") for row in rows] == [b"alpha", b"zulu"]
    assert rows[0][64:] == b"\x0b\0\0\x01" + b"\xfd" + b"\0" * 14 + b"\x07"
    table = address_table(hosts)
    reverse = [table[at : at + 80] for at in range(0, len(table), 80)]
    assert [(int.from_bytes(row[:16]), row[16:].rstrip(b"\0")) for row in reverse] == [
        (2, b"zulu"),
        (4, b"alpha"),
        (0xFFFF << 32 | 1, b"zulu"),
        (0xFFFF << 32 | 3, b"alpha"),
        (0xFFFF << 32 | 0x0B000001, b"alpha"),
        (0xFD << 120 | 7, b"alpha"),
    ]


@pytest.mark.parametrize("captured", [False, True])
def test_hosts_take_the_descriptors_that_the_machine_is_asked_for(experiment: Build, captured: bool) -> None:
    taken = []
    for hosts in (1, 6):
        before = sum(1 for _ in Path("/proc/self/fd").iterdir())
        run = experiment(*[[process(SLEEP, "1000")] * 2] * hosts, stop=1000, pcap=captured)
        run.shard.run_until(NS_PER_S)
        taken.append(sum(1 for _ in Path("/proc/self/fd").iterdir()) - before)
        run.close()
    assert taken[1] - taken[0] == 5 * (FDS_PER_HOST + captured)
