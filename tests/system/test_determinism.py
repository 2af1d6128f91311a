"""Two runs with one seed leave the same bytes behind; another seed leaves others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.system.experiment import (
    Configuration,
    Laboratory,
    Programs,
    Run,
    environment,
    experiment,
    host,
    network,
    process,
    python,
    shell,
)

Hosts = dict[str, dict[str, Any]]

HTTP_CLIENT = """
import random, urllib.request, uuid, tempfile
body = urllib.request.urlopen("http://server:8000/numbers").read()
print(len(body), random.random(), uuid.uuid4(), hash("text"), tempfile.mktemp(), {"b", "a", "c"})
"""

NODE_SERVER = """
const server = require("http").createServer((request, response) => {
    response.end(JSON.stringify([Math.random(), process.hrtime().join(), process.pid, request.headers]));
});
server.listen(8000);
"""


def gossip(_: Path, __: Programs) -> Hosts:
    common = ["--run-for", "20", "--d", "2", "--d-low", "1", "--d-high", "4"]
    others = {"one": "two,three", "two": "three", "three": "one"}
    return {
        name: host(
            process("gossip-node", *common, "--peer", peers, "--publish", f"1,{5 + place},2,3,900", start_time="1 s"),
            node=place % 2,
        )
        for place, (name, peers) in enumerate(others.items())
    }


def web(_: Path, program: Programs) -> Hosts:
    program("curl")
    serve = "seq 1 20000 > numbers; exec python3 -m http.server 8000"
    return {
        "server": host(shell(serve, expected_final_state="running")),
        "curl": host(shell("curl -sS -v http://server:8000/numbers | sha256sum", start_time="2 s"), node=1),
        "python": host(python(HTTP_CLIENT, start_time="2 s"), node=1),
    }


def randomness(apps: Path, _: Programs) -> Hosts:
    return {name: host(process(apps / "randomness"), node=place) for place, name in enumerate(("one", "two"))}


def threads(apps: Path, _: Programs) -> Hosts:
    shuffled = """
import os, random, threading
def work(number):
    seen.append((number, random.random(), threading.get_native_id()))
seen = []
workers = [threading.Thread(target=work, args=(number,)) for number in range(20)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
print(seen, os.urandom(8).hex())
"""
    return {"native": host(process(apps / "threads")), "python": host(python(shuffled))}


def node(_: Path, program: Programs) -> Hosts:
    program("curl")
    return {
        "server": host(process(program("node"), "-e", NODE_SERVER, expected_final_state="running")),
        "client": host(process("curl", "-sS", "http://server:8000/", start_time="5 s"), node=1),
    }


def complete(hosts: Hosts) -> Configuration:
    return experiment(
        hosts,
        network=network(latency="15 ms", loss=0.01),
        experimental={"strace_logging_mode": "deterministic"},
        pcap=True,
    )


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def first_difference(one: Run, other: Run, name: str) -> str:
    """Show where a file of two runs begins to differ."""
    texts = [(run.directory / "hosts" / name).read_bytes().split(b"\n") for run in (one, other)]
    for number, lines in enumerate(zip(*texts, strict=False), 1):
        if lines[0] != lines[1]:
            return f"{name}:{number}:\n  {lines[0][:300]!r}\n  {lines[1][:300]!r}"
    return f"{name}: one is longer"


@pytest.mark.parametrize("build", [gossip, web, randomness, threads, node])
def test_two_runs_with_one_seed_are_the_same_byte_for_byte(
    request: pytest.FixtureRequest,
    laboratory: Laboratory,
    apps: Path,
    program: Programs,
    tmp_path: Path,
    build: Callable[[Path, Programs], Hosts],
) -> None:
    if build is randomness:
        request.getfixturevalue("fixed_processor")
    configuration = complete(build(apps, program))
    one = laboratory.run(configuration, "--seed", "5", name="one")
    elsewhere = tmp_path / "another working directory"
    elsewhere.mkdir()
    two = laboratory.run(
        configuration,
        "--seed",
        "5",
        name="two-with-a-longer-name",
        cwd=elsewhere,
        environment=environment(LANG="tr_TR.UTF-8", TZ="Asia/Tokyo", PYTHONHASHSEED="77", EXTRA="x" * 3000),
        fresh=True,
    )
    different = differences(one.files, two.files)
    assert not different, [first_difference(one, two, name) for name in different]
    assert {name.rpartition(".")[2] for name in one.files} >= {"stdout", "strace", "pcap"}
    assert not differences(one.manifest["digests"], two.manifest["digests"])
    assert not differences(one.statistics["hot"], two.statistics["hot"])

    other = laboratory.run(configuration, "--seed", "6", name="other")
    assert differences(one.files, other.files)
    assert one.manifest["digests"]["hosts"] != other.manifest["digests"]["hosts"]


def test_another_seed_loses_other_packets(laboratory: Laboratory, apps: Path) -> None:
    hosts = {
        "server": host(process(apps / "udp_echo_server", "5000", expected_final_state="running")),
        "client": host(process(apps / "udp_client", "server", "5000", "100", "100", "500", start_time="1 s"), node=1),
    }
    configuration = experiment(hosts, network=network(loss=0.1))
    runs = [laboratory.run(configuration, "--seed", str(seed), name=f"seed-{seed}") for seed in (1, 2)]
    assert runs[0].stdout("client") != runs[1].stdout("client")


MEMORY = """
import ctypes, mmap
pages = mmap.mmap(-1, 16 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
pages[0] = 1
vector = ctypes.create_string_buffer(16)
address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
print(ctypes.CDLL(None).mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(pages)), vector), set(vector.raw))
pages.madvise(mmap.MADV_FREE)
print(pages[0])
"""


def test_what_the_machine_keeps_in_memory_is_not_seen(laboratory: Laboratory) -> None:
    run = laboratory.run(experiment({"asker": host(python(MEMORY))}))
    assert run.stdout("asker").splitlines() == ["0 {1}", "0"]
