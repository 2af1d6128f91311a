"""What programs measure of the network is what the configuration says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.experiment import Laboratory, experiment, host, network, process, python

NS_PER_MS = 10**6
MTU = 1500
RATE_BPS = 10_000_000

RECEIVE_DATAGRAMS = """
import json, socket, time
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("0.0.0.0", 5000))
receiver.settimeout(5)
arrivals = []
try:
    while True:
        receiver.recv(2000)
        arrivals.append(time.monotonic_ns())
except TimeoutError:
    print(json.dumps(arrivals))
"""

# Far more than the limit lets through, and at a steady pace where the sender's own link is fast.
SEND_DATAGRAMS = """
import socket, sys, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(4000):
    sender.sendto(bytes(1472), ("receiver", 5000))
    time.sleep(float(sys.argv[1]))
"""

RECEIVE_STREAM = """
import json, socket, time
listener = socket.create_server(("0.0.0.0", 5000))
connection, _ = listener.accept()
start = time.monotonic_ns()
seen = []
total = 0
while data := connection.recv(65536):
    total += len(data)
    seen.append((time.monotonic_ns() - start, total))
print(json.dumps([connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG), seen]))
"""

SEND_STREAM = """
import socket
with socket.create_connection(("receiver", 5000)) as connection:
    connection.sendall(bytes(12_500_000))
"""


@pytest.mark.parametrize("latency_ms", [1, 35, 400])
def test_a_round_trip_takes_twice_the_latency(laboratory: Laboratory, apps: Path, latency_ms: int) -> None:
    hosts = {
        "server": host(process(apps / "udp_echo_server", "5000", "20")),
        "client": host(process(apps / "udp_client", "server", "5000", "20", "1400", start_time="1 s"), node=1),
    }
    run = laboratory.run(experiment(hosts, network=network(latency=f"{latency_ms} ms")))
    lines = [line.split() for line in run.stdout("client").splitlines()[:-1]]
    assert len(lines) == 20
    for _, _, _, size, _, rtt in lines:
        # Four links of 1 Gbit/s carry the datagram with its headers; a bucket that is full costs nothing.
        serialisation_ns = 4 * (int(size) + 28) * 8
        assert 0 <= int(rtt) - 2 * latency_ms * NS_PER_MS <= serialisation_ns


def test_a_tcp_connection_takes_one_round_trip(laboratory: Laboratory, apps: Path) -> None:
    hosts = {
        "server": host(process(apps / "tcp_server", "5000")),
        "client": host(process(apps / "tcp_client", "server", "5000", "up", "1", start_time="1 s"), node=1),
    }
    run = laboratory.run(experiment(hosts, network=network(latency="35 ms")))
    words = run.stdout("client").split()
    figures = {name: int(words[words.index(name) + 1]) for name in ("connect_ns", "elapsed_ns")}
    assert 0 <= figures["connect_ns"] - 70 * NS_PER_MS <= 4 * 60 * 8
    # Connection, request and data, answer.
    assert 0 <= figures["elapsed_ns"] - 140 * NS_PER_MS < NS_PER_MS


@pytest.mark.parametrize(
    ("limited", "pause_s"), [("up", "0"), ("down", "0.0005")], ids=["of-the-sender", "of-the-receiver"]
)
def test_a_flood_of_datagrams_fills_the_bandwidth_and_no_more(
    laboratory: Laboratory, limited: str, pause_s: str
) -> None:
    places = {"up": (1, 0), "down": (0, 1)}[limited]
    hosts = {
        "sender": host(python(SEND_DATAGRAMS, pause_s, start_time="1 s"), node=places[0]),
        "receiver": host(python(RECEIVE_DATAGRAMS), node=places[1]),
    }
    slow = network(up="10 Mbit") if limited == "up" else network(down="10 Mbit")
    run = laboratory.run(experiment(hosts, network=slow))
    arrivals = json.loads(run.stdout("receiver"))
    seconds = (arrivals[-1] - arrivals[0]) / 1e9
    assert seconds > 1
    rate = (len(arrivals) - 1) * MTU * 8 / seconds
    assert rate == pytest.approx(RATE_BPS, rel=0.02)


@pytest.mark.parametrize("limited", ["up", "down"], ids=["of-the-sender", "of-the-receiver"])
def test_a_tcp_transfer_fills_the_bandwidth_and_no_more(laboratory: Laboratory, limited: str) -> None:
    places = {"up": (1, 0), "down": (0, 1)}[limited]
    hosts = {
        "sender": host(python(SEND_STREAM, start_time="1 s"), node=places[0]),
        "receiver": host(python(RECEIVE_STREAM), node=places[1]),
    }
    slow = network(up="10 Mbit") if limited == "up" else network(down="10 Mbit")
    run = laboratory.run(experiment(hosts, network=slow))
    segment, seen = json.loads(run.stdout("receiver"))
    # Slow start is over after two seconds.
    steady = [(time_ns, total) for time_ns, total in seen if time_ns > 2 * 10**9]
    (start, before), (end, after) = steady[0], steady[-1]
    assert end - start > 5 * 10**9
    rate = (after - before) * 8 / ((end - start) / 1e9) * MTU / segment
    assert rate == pytest.approx(RATE_BPS, rel=0.02)


#: Three sockets: two that send eight datagrams each at once, and one that sends two after them.
SEND_BY_TURNS = """
import socket, time
first, second, third = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3))
for sender in (first, second, third):
    sender.connect(("receiver", 6000))
time.sleep(1)
for name, sender, count in (("a", first, 8), ("b", second, 8), ("c", third, 2)):
    for _ in range(count):
        sender.send(name.encode() + bytes(1399))
"""
RECEIVE_IN_ORDER = """
import socket
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("0.0.0.0", 6000))
print("".join(receiver.recv(2000)[:1].decode() for _ in range(18)))
"""


@pytest.mark.parametrize(("discipline", "order"), [("fifo", "a" * 8 + "b" * 8 + "cc"), ("round-robin", "turns")])
def test_sockets_wait_for_the_uplink_in_line_or_take_turns(laboratory: Laboratory, discipline: str, order: str) -> None:
    hosts = {
        "sender": host(python(SEND_BY_TURNS), node=1),
        "receiver": host(python(RECEIVE_IN_ORDER), node=0),
    }
    slow = network(up="1 Mbit")
    run = laboratory.run(experiment(hosts, network=slow, experimental={"interface_qdisc": discipline}))
    line = run.stdout("receiver").strip()
    if order != "turns":
        assert line == order
        return
    # What left before the others came is the first socket's; then each has its turn for as long as it has something.
    start = len(line) - len(line.lstrip("a"))
    assert 0 < start < 4
    assert line[start:].startswith("bcabcab")
    assert sorted(line) == sorted("a" * 8 + "b" * 8 + "cc")
