"""Programs that look at packets and make their own: tcpdump sees what the simulator's captures have."""

from __future__ import annotations

import re

from tests.system.captures import read_capture
from tests.system.experiment import Laboratory, Programs, experiment, host, network, process, python

LINKTYPE_ETHERNET = 1
ETHERNET_HEADER_BYTES = 14

SERVER = """
import socket
listener = socket.create_server(("::", 5000), family=socket.AF_INET6, dualstack_ipv6=True)
for _ in range(2):
    connection, _ = listener.accept()
    size = 0
    while data := connection.recv(65536):
        size += len(data)
    connection.sendall(str(size).encode())
    connection.close()
"""

CLIENT = """
import socket
for family, _, _, _, address in socket.getaddrinfo("server", 5000, type=socket.SOCK_STREAM):
    connection = socket.socket(family)
    connection.connect(address)
    connection.sendall(bytes(30000))
    connection.shutdown(socket.SHUT_WR)
    print(connection.recv(10))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.connect(("server", 9))
datagrams.send(b"hello")
"""


def test_tcpdump_writes_what_the_simulator_captures(laboratory: Laboratory, program: Programs) -> None:
    tcpdump = program("tcpdump")
    until = {"shutdown_time": "20 s", "shutdown_signal": "SIGINT", "expected_final_state": {"exited": 0}}
    nanoseconds = "--time-stamp-precision=nano"
    hosts = {
        "server": host(python(SERVER)),
        "client": host(
            process(tcpdump, "-i", "eth0", "-w", "dump.pcap", nanoseconds, "-Z", "root", **until),
            process(tcpdump, "-i", "any", "-n", "-l", "-Z", "root", "udp or icmp", **until),
            python(CLIENT, start_time="2 s"),
            node=1,
        ),
    }
    configuration = experiment(hosts, network=network(), pcap=True, stop_time="30 s")
    run = laboratory.run_twice(configuration)
    assert run.stdout("client", "python3").splitlines() == ["b'30000'"] * 2
    own = read_capture(run.path("client", "eth0.pcap"))
    seen = read_capture(run.path("client", "dump.pcap"))
    assert seen.link_type == LINKTYPE_ETHERNET
    assert len(own.packets) > 40
    assert [(packet.time_ns, packet.content[ETHERNET_HEADER_BYTES:]) for packet in seen.packets] == [
        (packet.time_ns, packet.content) for packet in own.packets
    ]
    lines = run.path("client", "tcpdump.1001.stdout").read_text().split("\n")
    assert [line.split()[:4] for line in lines[:2]] == [
        ["00:00:02.120000", "eth0", "Out", "IP"],
        ["00:00:02.140000", "eth0", "In", "IP"],
    ]
    assert lines[0].endswith("UDP, length 5")
    assert "udp port 9 unreachable" in lines[1]
    assert "0 packets dropped by kernel" in run.path("client", "tcpdump.1000.stderr").read_text()


def test_nmap_scans_another_host_by_frames_of_its_own(laboratory: Laboratory, program: Programs) -> None:
    nmap = program("nmap")
    listening = python("import socket, time\nlistener = socket.create_server(('', 5000))\ntime.sleep(20)")
    hosts = {
        "server": host(listening),
        "client": host(process(nmap, "-p", "22,5000", "server", start_time="2 s"), node=1),
    }
    configuration = experiment(hosts, network=network(), pcap=True, stop_time="40 s")
    run = laboratory.run_twice(configuration)
    said = run.stdout("client")
    assert "Nmap scan report for server (11.0.0.2)" in said
    assert re.findall(r"^(\d+)/tcp +(\w+)", said, re.MULTILINE) == [("22", "closed"), ("5000", "open")]
    assert "MAC Address: 02:41:00:00:00:00" in said


def test_nmap_scans_by_ipv6_with_frames_or_headers_of_its_own(laboratory: Laboratory, program: Programs) -> None:
    nmap = program("nmap")
    listening = python(
        "import socket, time\nlistener = socket.create_server(('::', 5000), family=socket.AF_INET6)\ntime.sleep(50)"
    )
    scan = ("-6", "-n", "-sS", "-p", "22,5000", "server")
    hosts = {
        "server": host(listening),
        "frames": host(process(nmap, "--send-eth", *scan, start_time="2 s"), node=1),
        "headers": host(process(nmap, "--send-ip", "-Pn", *scan, start_time="2 s"), node=1),
    }
    run = laboratory.run_twice(experiment(hosts, network=network(), pcap=True, stop_time="60 s"))
    for name in ("frames", "headers"):
        said = run.stdout(name)
        assert "Host is up" in said
        assert re.findall(r"^(\d+)/tcp +(\w+)", said, re.MULTILINE) == [("22", "closed"), ("5000", "open")]
    assert "MAC Address: 02:41:00:00:00:00" in run.stdout("frames")
