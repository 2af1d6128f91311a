"""gossip-node as a program like any other: real processes over loopback, and a peer played by hand."""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

HELLO, LEAVE, GRAFT, PRUNE, IHAVE, IWANT, MESSAGE, IDONTWANT = range(1, 9)
REQUEST, RESPONSE = 9, 10
TRANSACTION, ANNOUNCEMENT, ASK, POOLED, GREETING = range(11, 16)
GREETS, ANSWERS, LEAVES = range(3)
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


def wait_for_events(node: Node, kind: str, count: int) -> None:
    eventually(lambda: len(node.events(kind)) >= count, f"{count} of {kind} in {node.output.name}")


def wait_for_deliveries(node: Node, count: int) -> None:
    wait_for_events(node, "deliver", count)


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
            assert (magic, version, topic) == (0x4147, 1, 0 if received >= TRANSACTION else 1)
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


def test_who_asks_for_more_than_a_limit_is_refused_until_it_has_tokens_again(
    start: Start, peer: Callable[[int], Peer]
) -> None:
    node, hand, other = start(1, "--serve", "3,10", "--serve-limit", "3,4,10000"), peer(200), peer(201)

    def ask(who: Peer, number: int, chunks: int) -> tuple[int, int]:
        who.send(1, REQUEST, struct.pack(">IBH", number, 0, 0), count=chunks, topic=3)
        answer = who.socket.recv(65536)
        got, answered, status = struct.unpack_from(">HIxB", answer, 6)
        assert answered == number
        assert len(answer) == 22 + 10 * got
        return got, status

    assert ask(hand, 1, 3) == (3, 0)
    assert ask(hand, 2, 2) == (0, 1)
    assert ask(hand, 3, 0) == (0, 0)
    assert ask(hand, 4, 1) == (0, 1)
    assert ask(other, 5, 4) == (4, 0)
    summary = node.end()
    assert (summary["served"], summary["limited"], summary["turned_away"]) == (3, 2, 0)


def test_a_limit_lets_through_what_its_period_fills_up_again(start: Start) -> None:
    server = start(1, "--serve", "4,10", "--serve-limit", "4,1,0.5")
    asker = start(2, "--peer", loopback(1), "--ask", "4,0.5,0.05,40,1,0,20", "--seed", "1")
    wait_for_events(asker, "response", 40)
    summary = asker.end()
    responses = asker.events("response")
    assert responses[0]["outcome"] == "answered"
    assert summary["answered"] + summary["refused"] == 40
    # One at once, and one in each half second; that the machine was held up shows in the times.
    span_ns = responses[-1]["time_ns"] - (responses[0]["time_ns"] - responses[0]["latency_ns"])
    assert 2 <= summary["answered"] <= 1 + span_ns // 500_000_000
    mine = server.end()
    assert (mine["served"], mine["limited"], mine["turned_away"]) == (summary["answered"], summary["refused"], 0)


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


def test_messages_that_have_come_are_served_the_newest_first(start: Start, peer: Callable[[int], Peer]) -> None:
    node, hand = start(1, "--serve-messages", "3,1"), peer(200)
    hand.send(1, REQUEST, struct.pack(">IBH", 6, 0, 0), count=4, topic=3)
    empty = HEADER.pack(0x4147, 1, RESPONSE, 3, 0) + struct.pack(">IBBHHI", 6, 0, 0, 0, 1, 0)
    assert hand.socket.recv(65536) == empty
    for number, size in enumerate((100, 50_000, 20_000)):
        hand.send(1, MESSAGE, message(number + 1, 0, payload(number + 1, size)), count=1)
    sizes = {}
    for chunks in (1, 2, 1024):
        hand.send(1, REQUEST, struct.pack(">IBH", chunks, 0, 0), count=chunks, topic=3)
        part, parts, sizes[chunks] = -1, 1, 0
        while part + 1 != parts:
            got = hand.socket.recv(65536)
            assert struct.unpack_from(">HIBB", got, 6) == (min(chunks, 3), chunks, 0, 0)
            part, parts, size = struct.unpack_from(">HHI", got, 14)
            sizes[chunks] += size
    assert sizes == {1: 20_000, 2: 70_000, 1024: 70_100}
    summary = node.end()
    assert (summary["served"], summary["turned_away"]) == (4, 0)


def hash_of(sequence: int, size: int, submitted_ns: int, kind: int = 2, origin: int = 0x0B000001) -> bytes:
    return struct.pack(">IIQIB", origin, sequence, submitted_ns, size, kind) + bytes(11)


def carried(what: bytes, attempt: int = 0, hops: int = 0) -> list[bytes]:
    """The bodies that a whole transaction is carried in."""
    size = int.from_bytes(what[16:20])
    whole = payload(int.from_bytes(what[:8]), size)
    parts = [whole[at : at + 60_000] for at in range(0, size, 60_000)]
    return [
        what + struct.pack(">HHHHI", attempt, hops, place, len(parts), len(part)) + part
        for place, part in enumerate(parts)
    ]


def meet(hand: Peer, to: int) -> None:
    hand.send(to, GREETING, count=GREETS, topic=0)
    assert hand.receive(GREETING) == b""


def test_transactions_are_pushed_to_the_root_of_the_peers_and_announced_to_the_others(
    start: Start, peer: Callable[[int], Peer]
) -> None:
    node = start(1, "--transactions", "8", "--submit", "0.5,0,1,300", "--submit", "0.5,0,1,4097")
    hands = [peer(200 + number) for number in range(5)]
    for hand in hands:
        meet(hand, 1)
    eventually(lambda: len(node.events("submit")) == 2, "two submissions")
    small, large = ((e["sequence"], e["size"], e["time_ns"]) for e in node.events("submit"))
    origin = int.from_bytes(socket.inet_aton(loopback(1)))
    got = []
    for hand in hands:
        for size, told in ((300, small), (4097, large)):
            data = hand.socket.recv(65536)
            what = hash_of(told[0], size, told[2], origin=origin)
            got.append((data[3], size))
            assert data[8:] == (carried(what)[0] if data[3] == TRANSACTION else what)
    # Two of five, and of the one that is too large none.
    assert Counter(got) == {(TRANSACTION, 300): 2, (ANNOUNCEMENT, 300): 3, (ANNOUNCEMENT, 4097): 5}
    # All of what is here, to who begins anew, and what is asked for; the latter to peers only.
    hands[0].send(1, GREETING, count=GREETS, topic=0)
    assert hands[0].receive(GREETING) == b""
    assert len(hands[0].receive(ANNOUNCEMENT)) == 64
    what = hash_of(large[0], 4097, large[2], origin=origin)
    hands[0].send(1, ASK, struct.pack(">H", 7) + what + hash_of(9, 10, 1) + hash_of(9, 10, large[2]), count=3, topic=0)
    assert hands[0].receive(POOLED) == carried(what, 7)[0]
    assert hands[0].receive(POOLED) == hash_of(9, 10, large[2]) + struct.pack(">HHHHI", 7, 0, 0, 1, 0)
    hands[1].send(1, GREETING, count=LEAVES, topic=0)
    hands[1].send(1, ASK, struct.pack(">H", 7) + what, count=1, topic=0)
    hands[1].settled(1)
    mine = node.end()["transactions"]
    assert hands[2].receive(GREETING) == b""
    assert {name: mine[name] for name in ("peers", "submitted", "pushed", "announced", "served", "unserved")} == {
        "peers": 4,
        "submitted": 2,
        "pushed": 2,
        "announced": 10,
        "served": 1,
        "unserved": 1,
    }
    assert (mine["late"], mine["strangers"], mine["bad"]) == (1, 1, 0)


def test_what_is_announced_is_fetched_from_one_after_the_other(start: Start, peer: Callable[[int], Peer]) -> None:
    node = start(1, "--transactions", "3", "--fetch-delay-ms", "50", "--fetch-timeout-ms", "300")
    hands = [peer(200), peer(201), peer(202)]
    for hand in hands:
        meet(hand, 1)
    what = hash_of(3, 130_000, time.time_ns(), kind=3)
    for hand in hands[:2]:
        hand.send(1, ANNOUNCEMENT, what * 2, count=2, topic=0)
        hand.settled(1)
    # The first who is asked does not answer, the second not at once; nobody else has offered it.
    readable, _, _ = select.select([hand.socket for hand in hands], [], [], DEADLINE_S)
    first = next(hand for hand in hands if hand.socket in readable)
    second = hands[1 - hands.index(first)]
    assert first.receive(ASK) == struct.pack(">H", 1) + what
    assert second.receive(ASK) == struct.pack(">H", 2) + what
    parts = carried(what, 2, 3)
    for part in (parts[0], parts[2], parts[1], *parts, *parts):
        second.send(1, POOLED, part, count=1, topic=0)
    assert hands[2].receive(ANNOUNCEMENT) == what
    second.settled(1)
    (event,) = node.events("transaction")
    assert (event["origin"], event["sequence"], event["size"], event["blobs"]) == ("11.0.0.1", 3, 130_000, True)
    assert (event["how"], event["hops"], event["from"]) == ("fetched", 3, f"{loopback(hands.index(second) + 200)}:9000")
    hands[2].send(1, ASK, struct.pack(">H", 5) + what, count=1, topic=0)
    assert [hands[2].receive(POOLED) for _ in range(3)] == carried(what, 5, 4)
    mine = node.end()["transactions"]
    assert (mine["got_fetched"], mine["asked"], mine["timeouts"], mine["duplicates"], mine["bad"]) == (1, 2, 1, 1, 2)


def test_what_cannot_be_a_transaction_has_no_effect(start: Start, peer: Callable[[int], Peer]) -> None:
    node, hand, other = start(1, "--transactions", "1"), peer(200), peer(201)
    meet(hand, 1)
    other.send(1, GREETING, count=GREETS, topic=0)
    assert other.socket.recv(65536) == HEADER.pack(0x4147, 1, GREETING, 0, LEAVES)
    now = time.time_ns()
    good = carried(hash_of(1, 300, now))[0]
    bad = [
        carried(hash_of(1, 300, now + 10**12))[0],
        carried(hash_of(1, 300, now, kind=3))[0],
        carried(hash_of(0, 300, now))[0],
        good[:-1] + bytes([good[-1] ^ 1]),
    ]
    late = carried(hash_of(1, 300, now - 12 * 10**9))[0]
    for body in (*bad, late):
        hand.send(1, TRANSACTION, body, count=1, topic=0)
    other.send(1, TRANSACTION, good, count=1, topic=0)
    hand.send(1, TRANSACTION, good, count=1, topic=0)
    hand.send(1, TRANSACTION, good, count=1, topic=0)
    hand.settled(1)
    summary = node.end()
    mine = summary["transactions"]
    assert (mine["bad"], mine["late"], mine["strangers"], mine["refused"]) == (len(bad), 1, 1, 1)
    assert (mine["got_pushed"], mine["duplicates"], summary["bad_datagrams"]) == (1, 1, 0)


def test_a_node_without_transactions_refuses_execution_peers(start: Start, peer: Callable[[int], Peer]) -> None:
    node, hand = start(1), peer(200)
    hand.send(1, GREETING, count=GREETS, topic=0)
    assert hand.socket.recv(65536) == HEADER.pack(0x4147, 1, GREETING, 0, LEAVES)
    hand.send(1, ANNOUNCEMENT, hash_of(1, 300, time.time_ns()), count=1, topic=0)
    hand.settled(1)
    mine = node.end()["transactions"]
    assert (mine["refused"], mine["strangers"], mine["peers"]) == (1, 1, 0)


def test_announcements_wait_for_each_other_and_transactions_for_their_validation(
    start: Start, peer: Callable[[int], Peer]
) -> None:
    waits = ["--announce-interval-ms", "300", "--transaction-delay-ms", "200"]
    node, source, hand = start(1, "--transactions", "2", *waits), peer(200), peer(201)
    meet(source, 1)
    meet(hand, 1)
    begin = time.monotonic()
    hashes = [hash_of(number, 5000, time.time_ns()) for number in (1, 2)]
    for what in hashes:
        for body in carried(what):
            source.send(1, TRANSACTION, body, count=1, topic=0)
    source.settled(1)
    hand.send(1, ASK, struct.pack(">H", 1) + hashes[0], count=1, topic=0)
    assert len(hand.receive(POOLED)) == 44
    assert hand.receive(ANNOUNCEMENT) == b"".join(hashes)
    assert time.monotonic() - begin > 0.5
    assert node.end()["transactions"]["unserved"] == 1


def test_eight_execution_clients_have_every_transaction(start: Start) -> None:
    nodes = {}
    for number in range(1, 9):
        peers = ",".join(loopback((number - 1 + step) % 8 + 1) for step in (0, 1, 2))
        options = ["--transactions", "5", "--execution-peer", peers, "--fetch-delay-ms", "20", "--seed", str(number)]
        if number <= 2:
            options += ["--submit", "2,0.05,5,300", "--submit", "2,0.05,2,200000,blobs"]
        nodes[number] = start(number, *options)
    for number, node in nodes.items():
        expected = 14 - 7 * (number <= 2)
        wait_for_events(node, "transaction", expected)
    for number, node in nodes.items():
        mine = node.end()["transactions"]
        got = {(event["origin"], event["sequence"]) for event in node.events("transaction")}
        origins = [loopback(origin) for origin in (1, 2) if origin != number]
        assert got == {(origin, sequence) for origin in origins for sequence in range(1, 8)}
        assert mine["got_pushed"] + mine["got_fetched"] == len(got)
        assert (mine["bad"], mine["strangers"]) == (0, 0)
        assert all(event["how"] == "fetched" for event in node.events("transaction") if event["blobs"])


def _ports_of_ipv6(count: int) -> list[int]:
    """Ports of ::1 that nobody else uses."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) for _ in range(count)]
        for each in sockets:
            try:
                each.bind(("::1", 0))
            except OSError:
                pytest.skip("this machine has no IPv6")
        return [each.getsockname()[1] for each in sockets]


def test_execution_clients_that_speak_ipv6_have_every_transaction(start: Start) -> None:
    ports = _ports_of_ipv6(4)
    nodes = []
    for number, port in enumerate(ports):
        peers = ",".join(f"[::1]:{other}" for other in (ports[number - 1], ports[number - 2]))
        options = ["--listen", f"[::1]:{port}", "--advertise", f"11.0.0.{number}", "--seed", str(number)]
        options += ["--transactions", "4", "--execution-peer", peers, "--fetch-delay-ms", "20"]
        nodes.append(start(number + 1, *options, "--submit", "2,0.05,3,300", "--submit", "2,0,1,200000,blobs"))
    for node in nodes:
        wait_for_events(node, "transaction", 3 * 4)
    for number, node in enumerate(nodes):
        mine = node.end()["transactions"]
        got = node.events("transaction")
        assert {(event["origin"], event["sequence"]) for event in got} == {
            (f"11.0.0.{origin}", sequence) for origin in range(4) if origin != number for sequence in range(1, 5)
        }
        assert {event["from"] for event in got} <= {f"[::1]:{port}" for port in ports}
        assert (mine["got_pushed"] + mine["got_fetched"], mine["bad"], mine["strangers"]) == (12, 0, 0)


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
        (["--serve-messages", "1"], "PROTOCOL,TOPIC"),
        (["--serve-messages", "1,5"], "--topic 5"),
        (["--serve-limit", "1,5"], "PROTOCOL,TOKENS,PERIOD_S"),
        (["--serve", "1,5", "--serve-limit", "1,0,1"], "--serve-limit TOKENS"),
        (["--serve", "1,5", "--serve-limit", "1,5,0.0001"], "0.001 to 10000 seconds"),
        (["--serve", "1,5", "--serve-limit", "2,5,1"], "--serve 2,SIZE"),
        (["--serve", "1,5", "--serve-limit", "1,5,1", "--serve-limit", "1,6,1"], "two limits"),
        (["--submit", "0,1,5"], "START_S,INTERVAL_S,COUNT,SIZE[,blobs]"),
        (["--submit", "0,1,5,1,blob"], "START_S,INTERVAL_S,COUNT,SIZE[,blobs]"),
        (["--submit", "0,1,5,131073"], "131073"),
        (["--submit", "0,1,5,9"], "--transactions MOST"),
        (["--execution-peer", "127.0.0.1"], "--transactions MOST"),
        (["--transactions", "1001"], "1001"),
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
