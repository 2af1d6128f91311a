"""Captures hold the packets that passed, at the times at which they did, in a form that others read."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.system.experiment import Laboratory, Programs, Run, experiment, host, network, process

EPOCH_S: Final = 946_684_800
RECORD = struct.Struct("<IIII")


@pytest.fixture
def echoes(laboratory: Laboratory, apps: Path) -> Run:
    """Three datagrams and their echoes, over 10 ms."""
    hosts = {
        "server": host(process(apps / "udp_echo_server", "5000", "3")),
        "client": host(process(apps / "udp_client", "server", "5000", "3", "100", start_time="1 s"), node=1),
    }
    return laboratory.run(experiment(hosts, network=network(), pcap=True))


def read(path: Path) -> list[tuple[int, bytes]]:
    """Time in nanoseconds since the start, and bytes, of every packet."""
    content = path.read_bytes()
    # Nanoseconds, version 2.4, raw IP.
    assert struct.unpack_from("<IHH", content) == (0xA1B23C4D, 2, 4)
    assert struct.unpack_from("<I", content, 20) == (101,)
    packets = []
    at = 24
    while at < len(content):
        seconds, nanoseconds, captured, length = RECORD.unpack_from(content, at)
        at += RECORD.size
        assert captured == length
        packets.append(((seconds - EPOCH_S) * 10**9 + nanoseconds, content[at : at + captured]))
        at += captured
    return packets


def internet_checksum(header: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def test_a_capture_holds_both_directions_at_their_times(echoes: Run) -> None:
    client, server = (read(echoes.path(name, "eth0.pcap")) for name in ("client", "server"))
    assert len(client) == len(server) == 6
    ms = 10**6
    assert [time // ms for time, _ in client] == [1000, 1020, 1020, 1040, 1040, 1060]
    assert [time // ms for time, _ in server] == [1010, 1010, 1030, 1030, 1050, 1050]
    for (_, sent), (_, received) in zip(client, server, strict=True):
        assert sent[20:] == received[20:]
        assert internet_checksum(sent[:20]) == 0


def test_tshark_reads_a_capture_and_finds_every_checksum_right(
    laboratory: Laboratory, apps: Path, program: Programs
) -> None:
    tshark = program("tshark")
    hosts = {
        "server": host(process(apps / "tcp_server", "5000")),
        "client": host(process(apps / "tcp_client", "server", "5000", "up", "100000", start_time="1 s"), node=1),
    }
    run = laboratory.run(experiment(hosts, network=network(), pcap=True))
    fields = ["frame.time_epoch", "ip.src", "tcp.flags.str", "tcp.len", "tcp.checksum.status", "ip.checksum.status"]
    options = [option for field in fields for option in ("-e", field)]
    checks = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    capture = str(run.path("client", "eth0.pcap"))
    done = subprocess.run(
        [tshark, "-n", "-r", capture, *checks, "-T", "fields", *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    addresses = run.manifest["hosts"]
    assert [float(row[0]) for row in rows[:2]] == pytest.approx([EPOCH_S + 1, EPOCH_S + 1.02], abs=1e-5)
    assert [row[1] for row in rows[:2]] == [addresses["client"], addresses["server"]]
    assert ["S" in row[2] for row in rows[:3]] == [True, True, False]
    assert sum(int(row[3]) for row in rows if row[1] == addresses["client"]) == 100_000 + 9
    assert {(row[4], row[5]) for row in rows} == {("1", "1")}
    problems = subprocess.run(
        [tshark, "-n", "-r", capture, *checks, "-Y", "tcp.analysis.retransmission || tcp.analysis.lost_segment"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert problems.stdout == ""


def test_a_capture_size_cuts_packets(laboratory: Laboratory, apps: Path) -> None:
    options = {"pcap_enabled": True, "pcap_capture_size": "40 B"}
    hosts = {
        "server": host(process(apps / "udp_echo_server", "5000", "3")),
        "client": host(
            process(apps / "udp_client", "server", "5000", "3", "1000", start_time="1 s"), host_options=options
        ),
    }
    run = laboratory.run(experiment(hosts))
    content = run.path("client", "eth0.pcap").read_bytes()
    assert struct.unpack_from("<I", content, 16) == (40,)
    _, _, captured, length = RECORD.unpack_from(content, 24)
    assert captured == min(40, length)
    assert not list((run.directory / "hosts" / "server").glob("*.pcap"))
