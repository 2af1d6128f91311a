"""Captures hold the packets that passed, at the times at which they did, in a form that others read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from scapy.utils import checksum

from tests.system.captures import EPOCH_S, read_capture
from tests.system.experiment import Laboratory, Programs, Run, experiment, host, network, process

LINKTYPE_RAW = 101


@pytest.fixture
def echoes(laboratory: Laboratory, apps: Path) -> Run:
    """Three datagrams and their echoes, over 10 ms."""
    hosts = {
        "server": host(process(apps / "udp_echo_server", "5000", "3")),
        "client": host(process(apps / "udp_client", "server", "5000", "3", "100", start_time="1 s"), node=1),
    }
    return laboratory.run(experiment(hosts, network=network(), pcap=True))


def test_a_capture_holds_both_directions_at_their_times(echoes: Run) -> None:
    captures = [read_capture(echoes.path(name, "eth0.pcap")) for name in ("client", "server")]
    assert [capture.link_type for capture in captures] == [LINKTYPE_RAW] * 2
    client, server = (capture.packets for capture in captures)
    assert len(client) == len(server) == 6
    ms = 10**6
    assert [packet.time_ns // ms for packet in client] == [1000, 1020, 1020, 1040, 1040, 1060]
    assert [packet.time_ns // ms for packet in server] == [1010, 1010, 1030, 1030, 1050, 1050]
    for sent, received in zip(client, server, strict=True):
        assert len(sent.content) == sent.length
        assert sent.content[20:] == received.content[20:]
        assert checksum(sent.content[:20]) == 0


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
    capture = read_capture(run.path("client", "eth0.pcap"))
    assert capture.snapshot_bytes == 40
    lengths = [packet.length for packet in capture.packets]
    assert [len(packet.content) for packet in capture.packets] == [min(40, length) for length in lengths]
    assert min(lengths) < 40 < max(lengths)
    assert not list((run.directory / "hosts" / "server").glob("*.pcap"))
