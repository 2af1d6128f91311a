"""gossip-node as a program like any other: real processes over loopback, and a peer played by hand."""

import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HELLO, LEAVE, GRAFT, PRUNE, IHAVE, IWANT, MESSAGE, IDONTWANT = range(1, 9)
REQUEST, RESPONSE = 9, 10
HEADER = struct.Struct(">HBBHH")
MESSAGE_FIELDS = struct.Struct(">QIQHI")
DEADLINE_S = 30.0

Event = dict[str, Any]


def loopback(number: int) -> str:
    """One of 254 addresses that no other test process running now uses."""
    pid = os.getpid()
    return f"127.{1 + (pid >> 8) % 254}.{pid % 256}.{number}"


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.02)


class Node:
    """A running gossip-node and what it has written so far."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self.output = output

    def events(self, kind: str) -> list[Event]:
        # Without the last piece: it is empty, or a line that is being written.
        lines = self.output.read_text().split("\n")[:-1]
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def end(self, ending: signal.Signals = signal.SIGTERM) -> Event:
        self.process.send_signal(ending)
        assert self.process.wait(timeout=DEADLINE_S) == 0
        (summary,) = self.events("summary")
        return summary


def wait_for_deliveries(node: Node, count: int) -> None:
    eventually(lambda: len(node.events("deliver")) >= count, f"{count} messages in {node.output.name}")


Start = Callable[..., Node]


@pytest.fixture
def start(gossip_node: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a node at ``loopback(number)`` with a fast heartbeat; it does not outlive the test."""
    nodes: list[Node] = []

    def start_node(number: int, *options: str) -> Node:
        output = tmp_path / f"node{number}.jsonl"
        command = [str(gossip_node), "--listen", f"{loopback(number)}:9000", "--name", f"node{number}"]
        with output.open("wb") as stdout:
            process = subprocess.Popen([*command, "--heartbeat-ms", "100", *options], stdout=stdout)
        nodes.append(Node(process, output))
        eventually(lambda: bool(nodes[-1].events("start")), "the start of the node")
        return nodes[-1]

    yield start_node
    for node in nodes:
        node.process.kill()
        node.process.wait()


class Peer:
    """A peer that does what the test tells it, and nothing else."""

    def __init__(self, number: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((loopback(number), 9000))
        self.socket.settimeout(DEADLINE_S)

    def send(self, to: int, kind: int, body: bytes = b"", count: int = 0, topic: int = 1) -> None:
        self.send_bytes(to, HEADER.pack(0x4147, 1, kind, topic, count) + body)

    def send_bytes(self, to: int, datagram: bytes) -> None:
        self.socket.sendto(datagram, (loopback(to), 9000))

    def receive(self, kind: int) -> bytes:
        """Body of the next datagram of the kind; others are passed over."""
        while True:
            datagram = self.socket.recv(65536)
            magic, version, received, topic, _count = HEADER.unpack_from(datagram)
            assert (magic, version, topic) == (0x4147, 1, 1)
            if received == kind:
                return datagram[HEADER.size :]

    def settled(self, to: int) -> None:
        """Return when the node has read everything sent before: it answers in order."""
        self.send(to, GRAFT, topic=999)
        while self.socket.recv(65536)[3:6] != struct.pack(">BH", PRUNE, 999):
            pass


@pytest.fixture
def peer() -> Iterator[Callable[[int], Peer]]:
    peers: list[Peer] = []

    def open_peer(number: int) -> Peer:
        peers.append(Peer(number))
        return peers[-1]

    yield open_peer
    for opened in peers:
        opened.socket.close()


def payload(message_id: int, size: int) -> bytes:
    start = message_id * 0x9E3779B97F4A7C15
    return bytes(((start + i) % 2**64) >> 32 & 0xFF for i in range(size))


def message(message_id: int, hops: int, data: bytes, publish_time_ns: int = 0) -> bytes:
    return MESSAGE_FIELDS.pack(message_id, message_id >> 32, publish_time_ns, hops, len(data)) + data


def test_eight_nodes_get_every_message_once_and_whole(start: Start) -> None:
    count = 8
    own_messages = {1: 4, 4: 3, 6: 2}
    publications = {1: "1,2,0.05,4,1000", 4: "1,2.1,0.05,3,60000", 6: "1,2.2,0.05,2,0"}
    nodes = {}
    # Publishers start last, so that all nodes know each other before the first message.
    for number in sorted(range(1, count + 1), key=lambda number: number in publications):
        options = ["--d", "3", "--d-low", "2", "--d-high", "4", "--d-lazy", "3"]
        for step in (1, 2):
            options += ["--peer", loopback((number - 1 + step) % count + 1)]
        if number in publications:
            options += ["--publish", publications[number]]
        nodes[number] = start(number, *options)

    for number, node in nodes.items():
        expected = 9 - own_messages.get(number, 0)
        wait_for_deliveries(node, expected)
    summaries = {number: node.end() for number, node in nodes.items()}

    published = {event["id"]: event for node in nodes.values() for event in node.events("publish")}
    assert sorted(event["size"] for event in published.values()) == [0] * 2 + [1000] * 4 + [60000] * 3
    for number, node in nodes.items():
        own = {event["id"] for event in node.events("publish")}
        delivered = node.events("deliver")
        assert sorted(event["id"] for event in delivered) == sorted(set(published) - own)
        for event in delivered:
            source = published[event["id"]]
            assert event["ok"] is True
            assert (event["topic"], event["size"]) == (1, source["size"])
            assert event["delay_ns"] == event["time_ns"] - source["time_ns"] >= 0
        assert summaries[number]["delivered"] == len(delivered)
        assert summaries[number]["corrupt"] == summaries[number]["bad_datagrams"] == 0
    assert any(event["hops"] > 0 for node in nodes.values() for event in node.events("deliver"))


def test_a_node_outside_every_mesh_is_repaired_by_ihave_and_iwant(start: Start) -> None:
    # Two is between one and three, which do not know each other; three is in nobody's mesh.
    lazy_only = ["--d", "0", "--d-low", "0", "--d-high", "0"]
    two = start(2)
    three = start(3, "--peer", loopback(2), *lazy_only)
    start(1, "--peer", loopback(2), "--publish", "1,1,0.1,5,2000")
    wait_for_deliveries(three, 5)
    assert all(event["ok"] and event["hops"] == 1 for event in three.events("deliver"))
    repaired = three.end()
    assert repaired["ids_requested"] >= 5
    assert repaired["sent"]["iwant"] >= 1
    assert repaired["topics"] == [{"topic": 1, "peers": 1, "mesh": 0}]
    assert two.end()["iwant_served"] >= 5


def test_bad_datagrams_are_counted_and_do_no_harm(start: Start, peer: Callable[[int], Peer]) -> None:
    node, hand = start(1), peer(200)
    ihave = HEADER.pack(0x4147, 1, IHAVE, 1, 2)
    whole = HEADER.pack(0x4147, 1, MESSAGE, 1, 1) + message(5, 0, b"abcd")
    bad = [
        b"",
        b"AG",
        b"\x00" * 8,
        HEADER.pack(0x4147, 2, HELLO, 1, 0),
        HEADER.pack(0x4147, 1, 0, 1, 0),
        HEADER.pack(0x4147, 1, 31, 1, 0),
        HEADER.pack(0x4147, 1, HELLO, 1, 1),
        HEADER.pack(0x4147, 1, HELLO, 1, 0) + b"x",
        ihave,
        ihave + b"\x00" * 15,
        ihave + b"\x00" * 17,
        whole[:-1],
        whole + b"x",
        b"\xff" * 65000,
    ]
    for datagram in bad:
        hand.send_bytes(1, datagram)
    hand.send(1, HELLO)
    assert hand.receive(HELLO) == b""
    summary = node.end()
    assert summary["bad_datagrams"] == len(bad)
    assert summary["delivered"] == 0


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_makes_a_node_say_leave_and_exit_with_0(
    start: Start, peer: Callable[[int], Peer], ending: signal.Signals
) -> None:
    node, hand = start(1), peer(200)
    hand.send(1, HELLO)
    assert hand.receive(HELLO) == b""
    summary = node.end(ending)
    assert hand.receive(LEAVE) == b""
    assert summary["sent"]["leave"] == 1


def test_run_for_ends_a_node_by_itself(start: Start) -> None:
    node = start(1, "--run-for", "0.3")
    assert node.process.wait(timeout=DEADLINE_S) == 0
    assert len(node.events("summary")) == 1


def test_a_configured_peer_is_greeted_until_it_answers(start: Start, peer: Callable[[int], Peer]) -> None:
    hand = peer(200)
    node = start(1, "--peer", f"{loopback(200)}:9000", "--d", "1", "--d-low", "1")
    for _ in range(3):
        assert hand.receive(HELLO) == b""
    hand.send(1, HELLO)
    assert hand.receive(GRAFT) == b""
    hand.send(1, PRUNE, struct.pack(">I", 60000))
    hand.settled(1)
    assert node.end()["topics"] == [{"topic": 1, "peers": 1, "mesh": 0}]


def test_a_full_mesh_refuses_a_graft_with_a_backoff(start: Start, peer: Callable[[int], Peer]) -> None:
    node = start(1, "--d", "0", "--d-low", "0", "--d-high", "1")
    first, second = peer(200), peer(201)
    first.send(1, GRAFT)
    first.settled(1)
    second.send(1, GRAFT)
    assert second.receive(PRUNE) == struct.pack(">I", 60000)
    first.send(1, LEAVE)
    first.settled(1)
    second.send(1, GRAFT)
    assert second.receive(PRUNE) == struct.pack(">I", 60000)
    assert node.end()["topics"] == [{"topic": 1, "peers": 1, "mesh": 0}]


def test_a_new_message_goes_to_the_mesh_but_not_back(start: Start, peer: Callable[[int], Peer]) -> None:
    node = start(1, "--d", "0", "--d-low", "0", "--validation-delay-ms", "20")
    source, other = peer(200), peer(201)
    for each in (source, other):
        each.send(1, GRAFT)
        each.settled(1)
    message_id = 0x0B000001_00000007
    data = payload(message_id, 777)
    sent = message(message_id, 4, data, publish_time_ns=123456789)
    source.send(1, MESSAGE, sent, count=1)
    source.send(1, MESSAGE, sent, count=1)
    assert other.receive(MESSAGE) == message(message_id, 5, data, publish_time_ns=123456789)
    other.send(1, IWANT, struct.pack(">QQ", message_id, 99), count=2)
    assert other.receive(MESSAGE) == message(message_id, 5, data, publish_time_ns=123456789)
    source.settled(1)
    summary = node.end()
    assert summary["sent"]["message"] == 2
    assert (summary["delivered"], summary["duplicates"], summary["iwant_served"]) == (1, 1, 1)
    (event,) = node.events("deliver")
    assert (event["id"], event["from"], event["hops"]) == ("0x0b00000100000007", f"{loopback(200)}:9000", 4)


def test_a_damaged_message_is_reported_and_stays(start: Start, peer: Callable[[int], Peer]) -> None:
    node = start(1, "--d", "0", "--d-low", "0")
    source, other = peer(200), peer(201)
    other.send(1, GRAFT)
    other.settled(1)
    message_id = 0x0B000001_00000001
    good = payload(message_id, 100)
    source.send(1, MESSAGE, message(message_id, 0, good[:50] + bytes([good[50] ^ 1]) + good[51:]), count=1)
    source.send(1, MESSAGE, message(message_id, 0, good), count=1)
    assert other.receive(MESSAGE) == message(message_id, 1, good)
    summary = node.end()
    assert [event["ok"] for event in node.events("deliver")] == [False, True]
    assert (summary["corrupt"], summary["delivered"], summary["sent"]["message"]) == (1, 1, 1)


def test_a_large_message_that_has_come_is_refused_at_once_and_passed_on_to_those_that_want_it(
    start: Start, peer: Callable[[int], Peer]
) -> None:
    node = start(1, "--d", "0", "--d-low", "0", "--idontwant-size", "700")
    source, other, third = peer(200), peer(201), peer(202)
    for each in (source, other, third):
        each.send(1, GRAFT)
        each.settled(1)
    large, small = 0x0B000001_00000007, 0x0B000001_00000008
    other.send(1, IDONTWANT, struct.pack(">QQ", large, 99), count=2)
    other.settled(1)
    source.send(1, MESSAGE, message(large, 0, payload(large, 700)), count=1)
    source.send(1, MESSAGE, message(small, 0, payload(small, 699)), count=1)
    for each in (other, third):
        assert each.receive(IDONTWANT) == struct.pack(">Q", large)
    assert third.receive(MESSAGE) == message(large, 1, payload(large, 700))
    for each in (other, third):
        assert each.receive(MESSAGE) == message(small, 1, payload(small, 699))
    summary = node.end()
    assert (summary["sent"]["idontwant"], summary["received"]["idontwant"], summary["copies_spared"]) == (2, 1, 1)
    assert summary["sent"]["message"] == 3


def test_a_request_is_answered_in_parts_or_refused(start: Start, peer: Callable[[int], Peer]) -> None:
    node, hand = start(1, "--serve", "1,50000"), peer(200)
    hand.send(1, REQUEST, struct.pack(">IBH", 7, 3, 2) + b"xy", count=3)
    whole = b""
    for part, size in enumerate((60000, 60000, 30000)):
        body = hand.receive(RESPONSE)
        assert body[:14] == struct.pack(">IBBHHI", 7, 3, 0, part, 3, size)
        whole += body[14:]
    address = int.from_bytes(socket.inet_aton(loopback(200)))
    assert whole == payload(address << 32 | 7, 150000)
    hand.send(1, REQUEST, struct.pack(">IBH", 8, 0, 0), count=3, topic=2)
    refusal = hand.socket.recv(65536)
    assert refusal == HEADER.pack(0x4147, 1, RESPONSE, 2, 0) + struct.pack(">IBBHHI", 8, 0, 1, 0, 1, 0)
    assert node.end()["served"] == 1


def test_nodes_ask_each_other_and_report_what_came(start: Start) -> None:
    server = start(1, "--serve", "4,30000")
    asker = start(
        2, "--peer", loopback(1), "--ask", "4,0.3,0.05,4,5,100,20", "--ask", "9,0.5,0,1,1,0,20", "--seed", "1"
    )
    eventually(lambda: len(asker.events("response")) == 5, "five responses")
    summary = asker.end()
    events = asker.events("response")
    assert [event["outcome"] for event in events if event["protocol"] == 4] == ["answered"] * 4
    assert all(event["ok"] and event["size"] == 150000 and event["chunks"] == 5 for event in events if event["chunks"])
    assert [event["outcome"] for event in events if event["protocol"] == 9] == ["refused"]
    assert (summary["asked"], summary["answered"], summary["refused"], summary["timeouts"]) == (5, 4, 1, 0)
    assert server.end()["served"] == 4


def test_a_request_that_nobody_answers_times_out(start: Start, peer: Callable[[int], Peer]) -> None:
    hand = peer(200)
    hand.socket.sendto(b"", (loopback(1), 9000))
    node = start(1, "--ask", "1,0.4,0,1,1,8,0.2")
    hand.send(1, HELLO)
    request = hand.receive(REQUEST)
    assert request == struct.pack(">IBH", 1, 0, 8) + bytes(8)
    eventually(lambda: len(node.events("response")) == 1, "the end of waiting")
    hand.send(1, RESPONSE, struct.pack(">IBBHHI", 1, 0, 0, 0, 1, 0), count=1)
    hand.settled(1)
    summary = node.end()
    assert node.events("response")[0]["outcome"] == "timeout"
    assert (summary["timeouts"], summary["late"]) == (1, 1)


def test_an_announced_id_is_asked_for_once_in_a_heartbeat(start: Start, peer: Callable[[int], Peer]) -> None:
    node, hand = start(1, "--heartbeat-ms", "60000"), peer(200)
    ids = struct.pack(">QQ", 5, 6)
    hand.send(1, IHAVE, ids, count=2)
    assert hand.receive(IWANT) == ids
    hand.send(1, IHAVE, ids + struct.pack(">Q", 7), count=3)
    assert hand.receive(IWANT) == struct.pack(">Q", 7)
    assert node.end()["ids_requested"] == 3


def test_peers_are_read_from_a_file_and_the_node_itself_is_passed_over(
    start: Start, peer: Callable[[int], Peer], tmp_path: Path
) -> None:
    hand = peer(200)
    peers = tmp_path / "peers"
    peers.write_text(f"# all nodes\n{loopback(1)}:9000\n\n{loopback(200)}  # by hand\n")
    node = start(1, "--peers-file", str(peers), "--heartbeat-ms", "60000")
    assert hand.receive(HELLO) == b""
    summary = node.end()
    assert (summary["sent"]["hello"], summary["received"]["hello"]) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--nonsense"], "nonsense"),
        (["stray"], "stray"),
        (["--listen", "here:9000"], "here"),
        (["--listen", "127.0.0.1:70000"], "70000"),
        (["--advertise", "1.2.3"], "1.2.3"),
        (["--peer", "no-such-host.invalid"], "no-such-host.invalid"),
        (["--peer", "127.0.0.1,"], "cannot resolve the peer ''"),
        (["--peers-file", "/nonexistent/peers"], "/nonexistent/peers"),
        (["--topic", "65536"], "65536"),
        (["--publish", "1,0,1,5"], "TOPIC,START_S,INTERVAL_S,COUNT,SIZE"),
        (["--publish", "1,0,1,5,60001"], "60001"),
        (["--ask", "1,0,1,5,1,8"], "PROTOCOL,START_S,INTERVAL_S,COUNT,CHUNKS,SIZE,TIMEOUT_S"),
        (["--ask", "1,0,1,5,1025,8,1"], "1025"),
        (["--ask", "1,0,1,5,1,8,0"], "leaves no time to answer"),
        (["--serve", "1"], "PROTOCOL,SIZE"),
        (["--serve", "1,60001"], "60001"),
        (["--publish", "1,-1,1,5,1"], "START_S"),
        (["--publish", "2,0,1,5,1"], "--topic 2"),
        (["--run-for", "soon"], "soon"),
        (["--run-for", "0"], "--run-for"),
        (["--heartbeat-ms", "0"], "--heartbeat-ms"),
        (["--d", "3"], "d-low <= d <= d-high"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_wrong_arguments_end_with_2_and_a_message(gossip_node: Path, arguments: list[str], complaint: str) -> None:
    result = subprocess.run([gossip_node, *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert result.stdout == ""
