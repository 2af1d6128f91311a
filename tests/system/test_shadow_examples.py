"""Configurations written as Shadow documents them run as they are."""

from __future__ import annotations

import pytest

from tests.system.experiment import ROOT, Laboratory, Programs

EXAMPLES = ROOT / "configs" / "examples"


@pytest.fixture(autouse=True)
def _curl(program: Programs) -> None:
    program("curl")


def test_the_basic_file_transfer_runs(laboratory: Laboratory) -> None:
    run = laboratory.run(EXAMPLES / "basic-file-transfer.yaml")
    pages = {run.stdout(f"client{number}", "curl") for number in (1, 2, 3)}
    assert len(pages) == 1
    assert "<title>Directory listing for /</title>" in pages.pop()
    requests = run.stderr("server", "python*").splitlines()
    assert sorted(line.split()[0] for line in requests) == [
        run.manifest["hosts"][f"client{number}"] for number in (1, 2, 3)
    ]
    assert all(line.split('"', 1)[1] == 'GET / HTTP/1.1" 200 -' for line in requests)
    assert all("[01/Jan/2000 00:00:05]" in line for line in requests)


def test_the_traced_file_transfer_shows_every_call_and_packet(laboratory: Laboratory) -> None:
    run = laboratory.run(EXAMPLES / "traced-file-transfer.yaml")
    assert "Directory listing" in run.stdout("client", "curl")
    trace = run.path("client", "curl.*.strace").read_text()
    for call in ("execve", "openat", "socket", "connect", "sendto", "recvfrom", "exit_group"):
        assert f"] {call}(" in trace or call == "execve", call
    assert trace.startswith("00:00:05.0000")
    for name in ("client", "server"):
        assert run.path(name, "eth0.pcap").read_bytes()[:4] == bytes.fromhex("4d3cb2a1")
