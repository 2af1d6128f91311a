"""Nothing of the machine shows through: each source of nondeterminism, by the test that would see it."""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.system.experiment import Laboratory, Run, environment, experiment, host, process, python, shell


@pytest.fixture(scope="module")
def facts(apps: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What tests/apps/randomness.c finds: twice the same, with another seed, and on another host."""
    hosts = {"first": host(process(apps / "randomness")), "second": host(process(apps / "randomness"))}
    laboratory = Laboratory(tmp_path_factory.mktemp("leaks"))
    configuration = experiment(hosts)
    runs = [laboratory.run(configuration, "--seed", seed, name=f"run-{i}") for i, seed in enumerate(("3", "3", "4"))]
    return [
        read_facts(runs[0], "first"),
        *(read_facts(run, "first") for run in runs[1:]),
        read_facts(runs[0], "second"),
    ]


def read_facts(run: Run, name: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in run.stdout(name).splitlines())


RANDOM = ["getrandom", "getrandom_again", "/dev/urandom", "/dev/random", "uuid", "AT_RANDOM"]
ADDRESSES = ["stack", "heap", "large_heap", "mmap", "main_data", "libc", "brk"]


@pytest.mark.parametrize("name", RANDOM)
def test_random_bytes_come_from_the_seed_and_the_host(facts: list[dict[str, str]], name: str) -> None:
    first, again, other_seed, other_host = (found[name] for found in facts)
    assert first == again
    assert len({first, other_seed, other_host}) == 3


def test_random_sources_differ_among_each_other(facts: list[dict[str, str]]) -> None:
    assert len({facts[0][name] for name in RANDOM}) == len(RANDOM)


@pytest.mark.parametrize("name", ADDRESSES)
def test_addresses_are_the_same_in_every_run(facts: list[dict[str, str]], name: str) -> None:
    assert len({found[name] for found in facts}) == 1


@pytest.mark.usefixtures("fixed_processor")
def test_the_processor_is_a_fixed_one_without_random_instructions(facts: list[dict[str, str]]) -> None:
    for found in facts:
        assert found["cpu_model"].endswith(" rdrand 0")
        assert found["rdseed"] == "0 rdpid 0"
        assert found["initial_apic_id"] == "0"
        assert found["processors"] == "1"
        assert found["hwcap"] == facts[0]["hwcap"]


def test_there_is_no_vdso_that_could_read_the_real_clock(facts: list[dict[str, str]]) -> None:
    assert {found["vdso"] for found in facts} == {"0"}


def test_the_time_stamp_counter_counts_simulated_time(facts: list[dict[str, str]]) -> None:
    for name in ("rdtsc", "realtime_ns", "monotonic_ns", "boottime_ns"):
        assert len({found[name] for found in facts}) == 1
    assert facts[0]["realtime_ns"] == "946684800000000000"


def test_use_of_resources_does_not_tell_how_fast_the_machine_is(facts: list[dict[str, str]]) -> None:
    for name in ("process_cpu_ns", "thread_cpu_ns", "rusage", "times", "memory_pages"):
        assert len({found[name] for found in facts}) == 1


def test_process_ids_are_simulated(facts: list[dict[str, str]]) -> None:
    assert {found["pid"] for found in facts} == {"1000 ppid 1 tid 1000 sid 1000 pgid 1000"}


def test_the_host_has_its_own_name_and_place(facts: list[dict[str, str]]) -> None:
    assert facts[0]["hostname"] == "first"
    assert facts[3]["hostname"] == "second"
    assert facts[0]["cwd"] == "/srv/first"
    assert platform.release() not in facts[0]["uname"]
    assert socket.gethostname() not in facts[0]["uname"].split()


def test_files_have_simulated_names_numbers_and_times(facts: list[dict[str, str]]) -> None:
    assert len({found["temporary_file"] for found in facts[:2]}) == 1
    assert " mtime 946684800.000000000" in facts[0]["temporary_file"]


IDENTITY = """
import os, uuid
print(open("/proc/sys/kernel/random/boot_id").read().strip(), open("/etc/machine-id").read().strip())
print(uuid.UUID(open("/proc/sys/kernel/random/uuid").read().strip()).version, uuid.getnode())
"""


def test_machine_and_boot_have_simulated_identities(laboratory: Laboratory) -> None:
    hosts = {"first": host(python(IDENTITY)), "second": host(python(IDENTITY))}
    one = laboratory.run(experiment(hosts), name="one")
    two = laboratory.run(experiment(hosts), name="two")
    assert one.files == two.files
    identities = [one.stdout(name).splitlines()[0].split() for name in hosts]
    assert len({*identities[0], *identities[1]}) == 4
    real = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert real not in identities[0]


LIST_FILES = """
import os
names = [f"file-{number * 7919 % 300:03}" for number in range(300)]
for name in names:
    open(name, "w").close()
found = os.listdir(".")
print(found == sorted(found), len(found))
print([entry.inode() for entry in os.scandir(".")][:5], os.stat(".").st_ino, os.stat("file-001").st_ino)
print([os.stat(name).st_mtime_ns for name in ("file-001", ".", "/etc/hosts")])
print(sorted(os.listdir("/etc")) == os.listdir("/etc"))
"""


def test_directories_list_sorted_with_simulated_inode_numbers_and_times(laboratory: Laboratory, tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("takes a real inode number")
    hosts = {"first": host(python(LIST_FILES, start_time="7 s"))}
    one = laboratory.run(experiment(hosts), name="one")
    (tmp_path / "more in the way").write_text("another")
    two = laboratory.run(experiment(hosts), name="two")
    assert one.files == two.files
    lines = one.stdout("first").splitlines()
    assert lines[0].startswith("True ")
    assert lines[-1] == "True"
    assert str((946684800 + 7) * 10**9) in lines[2]
    real = (one.directory / "hosts" / "first" / "file-001").stat()
    assert str(real.st_ino) not in lines[1]


def test_nothing_of_the_callers_environment_leaks(laboratory: Laboratory) -> None:
    hosts = {"first": host(process("env", environment={"OWN": "value with spaces", "PATH": "/usr/bin:/bin"}))}
    run = laboratory.run(experiment(hosts), environment=environment(LEAKED="secret", LD_PRELOAD="", LANG="de_DE.UTF-8"))
    written = dict(line.split("=", 1) for line in run.stdout("first").splitlines())
    assert written["OWN"] == "value with spaces"
    assert written["PATH"] == "/usr/bin:/bin"
    assert not written.keys() & {"LEAKED", "LANG", "HOME", "USER", "VIRTUAL_ENV", "PYTEST_CURRENT_TEST"}


def test_real_paths_ids_and_descriptors_are_not_shown(laboratory: Laboratory, tmp_path: Path) -> None:
    script = (
        "pwd -P; readlink /proc/self/cwd; readlink -f .; cat /proc/self/cmdline /proc/self/environ | tr '\\0' '\\n';"
        " ls /proc/self/fd; cat /proc/cpuinfo /proc/meminfo /proc/uptime /proc/loadavg /proc/stat /proc/version;"
        " ls /proc; ls -l /proc/self/fd; id; tty; cat /proc/self/mountinfo || true"
    )
    hosts = {"first": host(shell(script, expected_final_state={"exited": 0}))}
    one = laboratory.run(experiment(hosts), name="one")
    two = laboratory.run(experiment(hosts), name="two")
    text = one.stdout("first")
    assert text.splitlines()[:3] == ["/srv/first"] * 3
    for leak in (str(tmp_path), platform.release(), f"{os.getpid()}\n", "memfd"):
        assert leak not in text
    assert text == two.stdout("first")


def test_what_servers_leave_in_run_is_the_hosts_own(laboratory: Laboratory) -> None:
    look = (
        "ls -A /run /run/lock /var/run/; stat -c '%a %U %y' /run; echo $$ > /var/run/server.pid; cat /run/server.pid;"
        " readlink /var/run /var/lock; test -e /run/systemd || grep -c ' /run ' /proc/mounts; ls -A /srv/$HOSTNAME"
    )
    hosts = {name: host(shell(look), shell("cat /run/server.pid; ls -A /run", start_time="2 s")) for name in "ab"}
    run = laboratory.run_twice(experiment(hosts))
    for name in "ab":
        first, second = (path.read_text() for path in sorted((run.directory / "hosts" / name).glob("bash.*.stdout")))
        listed, told = first.split("755 root 2000-01-01 00:00:00.000000000 +0000\n")
        assert listed.splitlines() == ["/run:", "lock", "user", "", "/run/lock:", "", "/var/run/:", "lock", "user"]
        assert told.splitlines() == [
            *("1000", "/run", "/run/lock", "1"),
            *("bash.1000.stderr", "bash.1000.stdout", "bash.1000.strace", "eth0.pcap"),
        ]
        assert second.splitlines() == ["1000", "lock", "server.pid", "user"]
    assert not Path("/run/server.pid").exists()


def test_of_run_only_what_can_be_input_is_the_machines(laboratory: Laboratory) -> None:
    session = Path("/run/user/4294967294")  # nobody's
    if not os.access("/run", os.W_OK):
        pytest.skip("only who may write to /run can put something there")
    with TemporaryDirectory(dir="/run", prefix="antumbra-test-") as server:
        (Path(server) / "pid").write_text("left by a server\n")
        session.mkdir(parents=True)
        try:
            (session / "experiment").write_text("input\n")
            script = (
                f"cat {session}/experiment; ls {session} /run/user; realpath {session}/experiment; cat {server}/pid"
            )
            run = laboratory.run(experiment({"a": host(shell(script, expected_final_state={"exited": 1}))}))
        finally:
            (session / "experiment").unlink()
            session.rmdir()
    assert run.stdout("a").splitlines() == [
        *("input", "/run/user:", session.name, "", f"{session}:", f"{session}/experiment"),
    ]


def test_threads_start_in_the_same_order_in_every_run(laboratory: Laboratory) -> None:
    code = """
import threading, sys
sys.setswitchinterval(1e-6)
order = []
def work(number):
    for step in range(200):
        order.append(number)
workers = [threading.Thread(target=work, args=(number,)) for number in range(12)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
print(order)
"""
    hosts = {"first": host(python(code))}
    runs = [laboratory.run(experiment(hosts), name=name) for name in ("one", "two", "three")]
    assert len({run.stdout("first") for run in runs}) == 1


def test_temporary_files_are_the_hosts_own(laboratory: Laboratory) -> None:
    with TemporaryDirectory(dir="/tmp", prefix="antumbra-test-") as left, TemporaryDirectory(dir="/tmp") as named:
        (Path(named) / "input").write_text("input\n")
        look = (
            f"ls -A /tmp /var/tmp; cat {named}/input; cat /tmp/antumbra-*/*; echo $HOSTNAME > /tmp/mine;"
            " cp /tmp/mine /var/tmp; ln -s /tmp/mine /tmp/link; cat /tmp/link; cd /tmp; pwd; readlink -f link;"
            " stat -c '%a %U %y' /tmp; ls -A /srv/$HOSTNAME"
        )
        (Path(left) / "secret").write_text("left by another program\n")
        hosts = {name: host(shell(look), shell("cat /tmp/mine", start_time="2 s")) for name in "ab"}
        run = laboratory.run_twice(experiment(hosts))
        for name in "ab":
            first, second = (
                path.read_text() for path in sorted((run.directory / "hosts" / name).glob("bash.*.stdout"))
            )
            listed, *told = first.split("1777 root 2000-01-01 00:00:00.000000000 +0000\n")
            assert listed.splitlines() == ["/tmp:", "", "/var/tmp:", "input", name, "/tmp", "/tmp/mine"]
            assert told == ["bash.1000.stderr\nbash.1000.stdout\nbash.1000.strace\neth0.pcap\n"]
            assert second == f"{name}\n"
            assert "/tmp/antumbra-*/*': No such file or directory" in run.path(name, "bash.1000.stderr").read_text()
        assert not Path("/tmp/mine").exists()
        alone, divided = (laboratory.run(experiment(hosts), "--shards", count, name=count) for count in "12")
        assert alone.manifest["digests"] == divided.manifest["digests"]
        assert [(divided.directory / "hosts" / name / ".tmp" / "link").read_text() for name in "ab"] == ["a\n", "b\n"]
        shared = laboratory.run(
            experiment({"a": host(shell("cat /tmp/antumbra-test-*/secret"))}, experimental={"private_tmp": False}),
            name="shared",
        )
        assert shared.stdout("a") == "left by another program\n"
