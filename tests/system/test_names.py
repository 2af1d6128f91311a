"""Names: programs with resolvers of their own ask DNS, and the simulated host answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.system.experiment import Laboratory, Programs, environment, experiment, host, process, python, shell

SERVER6 = "fd41:6e74:756d::b07:707"

NODE = """
const dns = require("dns").promises;
const ask = (what, name) => dns[what](name).then(found => found.join(" "), error => error.code);
(async () => {
    console.log(await ask("resolve4", "server"), await ask("resolve6", "server"));
    console.log(await ask("resolve4", "nobody"), await ask("resolveMx", "server"));
    console.log(await ask("resolvePtr", "7.7.7.11.in-addr.arpa"), await ask("reverse", "11.7.7.8"));
})();
"""

GO = """package main

import (
	"context"
	"errors"
	"fmt"
	"net"
)

func main() {
	resolver := &net.Resolver{PreferGo: true}
	for _, name := range []string{"server", "app.localhost", "nobody"} {
		addresses, err := resolver.LookupHost(context.Background(), name)
		var failure *net.DNSError
		if errors.As(err, &failure) {
			fmt.Println(name, failure.IsNotFound, failure.IsTimeout)
		} else {
			fmt.Println(name, addresses, err)
		}
	}
	for _, address := range []string{"11.7.7.7", "fd41:6e74:756d::b07:707", "11.7.7.8"} {
		names, err := resolver.LookupAddr(context.Background(), address)
		fmt.Println(names, err != nil)
	}
}
"""

#: Asks the name server, by the datagrams in hexadecimal, and prints what it answers.
RAW = """
import socket, sys
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(1)
asker.connect(("127.0.0.1", 53))
for query in sys.argv[1:]:
    asker.send(bytes.fromhex(query))
    try:
        print(asker.recv(999).hex())
    except OSError as error:
        print(type(error).__name__)
"""


def _server() -> dict[str, object]:
    return host(process("sleep", "20"), ip_addr="11.7.7.7")


def test_dig_and_its_kin_find_addresses_of_both_families(laboratory: Laboratory, program: Programs) -> None:
    dig = program("dig")
    script = f"""
{dig} +short server; {dig} +short server AAAA; {dig} +short +notcp SeRvEr any; {dig} +short x.localhost
{dig} +noall +comments +answer server MX | grep -o 'status: [A-Z]*'
{dig} +noall +comments nobody.example | grep -o 'status: [A-Z]*'
{dig} +noall +comments +bufsize=4096 server | grep -c 'EDNS: version: 0'
{dig} +noall +comments +noedns server | grep -c EDNS
{dig} +noall +comments server CH txt | grep -o 'status: [A-Z]*'
getent hosts nobody; echo $?
"""
    run = laboratory.run_twice(experiment({"asker": host(shell(script)), "server": _server()}))
    assert run.stdout("asker").splitlines() == [
        *("11.7.7.7", SERVER6, "11.7.7.7", SERVER6, "127.0.0.1"),
        *("status: NOERROR", "status: NXDOMAIN", "1", "0", "status: REFUSED", "2"),
    ]


def test_addresses_have_names(laboratory: Laboratory, program: Programs) -> None:
    dig, busybox = program("dig"), program("busybox")
    script = f"""
{dig} +short -x 11.7.7.7; {dig} +short -x {SERVER6}; {dig} +short -x 127.0.0.1; {dig} +short -x ::1
{dig} +short +notcp 7.7.7.11.IN-ADDR.arpa any; {dig} +noall +comments 7.7.7.11.in-addr.arpa a | grep -o 'status: [A-Z]*'
for name in 8.7.7.11 07.7.7.11 256.7.7.11 7.7.11 7.7.7.7.11; do
    {dig} +noall +comments $name.in-addr.arpa ptr | grep -o 'status: [A-Z]*'
done
{dig} +noall +comments -x 2001:db8::1 | grep -o 'status: [A-Z]*'
{busybox} nslookup 11.7.7.7 | grep -o 'name = .*'
getent hosts 11.7.7.7
"""
    run = laboratory.run_twice(experiment({"asker": host(shell(script)), "server": _server(), "x.y-z": host()}))
    assert run.stdout("asker").splitlines() == [
        *("server.", "server.", "localhost.", "localhost.", "server.", "status: NOERROR"),
        *["status: NXDOMAIN"] * 6,
        "name = server",
        "11.7.7.7        server",
    ]


def test_the_resolvers_of_node_and_go_are_answered(laboratory: Laboratory, program: Programs, tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text(GO)
    subprocess.run(
        [program("go"), "build", "-o", "main", "main.go"],
        cwd=tmp_path,
        env=environment(CGO_ENABLED="0", GOTOOLCHAIN="local", GOFLAGS="-p=2"),
        check=True,
        timeout=280,
    )
    hosts = {
        "go": host(process(tmp_path / "main")),
        "node": host(process(program("node"), "-e", NODE)),
        "server": _server(),
    }
    run = laboratory.run_twice(experiment(hosts))
    assert run.stdout("node").splitlines() == [f"11.7.7.7 {SERVER6}", "ENOTFOUND ENODATA", "server ENOTFOUND"]
    assert run.stdout("go").splitlines() == [
        f"server [11.7.7.7 {SERVER6}] <nil>",
        "app.localhost [::1 127.0.0.1] <nil>",
        "nobody true false",
        *("[server] false", "[server] false", "[] true"),
    ]


def test_queries_that_make_no_sense_are_answered_so_or_not_at_all(laboratory: Laboratory) -> None:
    question = "0673657276657200"  # server.
    queries = [
        f"123401000001000000000000{question}00010001",  # A, as it should be
        f"12340100000200000000000000{question}00010001",  # two questions
        f"123410000001000000000000{question}00010001",  # opcode 2
        "1234010000010000000000003f",  # a label beyond the end
        "12340100000100000000000040" + "61" * 64 + "0000010001",  # a label too long, or a pointer
        "1234010000010000000000",  # less than a header
        f"123481000001000000000000{question}00010001",  # an answer
    ]
    run = laboratory.run(experiment({"asker": host(python(RAW, *queries)), "server": _server()}))
    answer = f"123485800001000100000000{question}00010001c00c000100010000003c00040b070707"
    assert run.stdout("asker").splitlines() == [
        answer,
        "123485810000000000000000",
        f"123494840001000000000000{question}00010001",
        "123485810000000000000000",
        "123485810000000000000000",
        "TimeoutError",
        "TimeoutError",
    ]


#: Asks over TCP: two queries in one segment, one in three, one that is too long, none; then closes its side.
STREAM = """
import socket, sys
queries = [bytes.fromhex(query) for query in sys.argv[1:]]
framed = [len(query).to_bytes(2, "big") + query for query in queries]
asker = socket.create_connection(("127.0.0.1", 53))
reader = asker.makefile("rb")
def answer():
    return reader.read(int.from_bytes(reader.read(2), "big"))
asker.sendall(framed[0] + framed[1])
print(answer().hex(), answer().hex())
for part in (framed[0][:1], framed[0][1:9], framed[0][9:]):
    asker.send(part)
print(answer().hex())
asker.sendall((65535).to_bytes(2, "big") + queries[0] + bytes(65535 - len(queries[0])))
print(answer().hex())
asker.sendall(bytes(2) + framed[1] + framed[0][:-1])
asker.shutdown(socket.SHUT_WR)
print(answer().hex(), asker.recv(9))
"""


def test_the_name_server_answers_over_tcp(laboratory: Laboratory, program: Programs) -> None:
    dig = program("dig")
    script = f"""
{dig} +short +tcp server; {dig} +short server any; {dig} +short +tcp @::1 -x 11.7.7.7
{dig} +tcp +keepopen +short server server AAAA; {dig} +tcp server | grep -o '(TCP)'
RES_OPTIONS=use-vc getent ahosts server | cut -d ' ' -f 1 | sort -u; RES_OPTIONS=use-vc getent hosts nobody; echo $?
"""
    question = "0673657276657200"  # server.
    queries = [f"123401000001000000000000{question}00010001", f"567801000001000000000000{question}001c0001"]
    hosts = {
        "asker": host(shell(script)),
        "streamer": host(python(STREAM, *queries)),
        "server": _server(),
    }
    run = laboratory.run_twice(experiment(hosts))
    assert run.stdout("asker").splitlines() == [
        *("11.7.7.7", "11.7.7.7", SERVER6, "server.", "11.7.7.7", SERVER6, "(TCP)"),
        *("11.7.7.7", SERVER6, "2"),
    ]
    of_v4 = f"123485800001000100000000{question}00010001c00c000100010000003c00040b070707"
    of_v6 = f"567885800001000100000000{question}001c0001c00c001c00010000003c0010fd416e74756d0000000000000b070707"
    assert run.stdout("streamer").splitlines() == [f"{of_v4} {of_v6}", of_v4, of_v4, f"{of_v6} b''"]


def test_a_name_server_of_the_program_s_own_takes_over(laboratory: Laboratory) -> None:
    code = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.sendto(b"mine", ("127.0.0.1", 53))
print(server.recv(99))
socket.create_connection(("127.0.0.1", 53)).close()
listener = socket.create_server(("127.0.0.1", 53))
asker = socket.create_connection(("127.0.0.1", 53))
asker.send(b"mine, too")
print(listener.accept()[0].recv(99))
"""
    run = laboratory.run(experiment({"asker": host(python(code)), "server": _server()}))
    assert run.stdout("asker").splitlines() == ["b'mine'", "b'mine, too'"]


def test_a_host_may_be_called_otherwise_by_its_programs(laboratory: Laboratory) -> None:
    code = (
        "hostname; hostname other.example; hostname; uname -n; cat /proc/sys/kernel/hostname; getent ahostsv4 $HOSTNAME"
    )
    run = laboratory.run_twice(experiment({"renamed": host(shell(code), ip_addr="11.7.7.8"), "server": _server()}))
    *names, address, _, _ = run.stdout("renamed").splitlines()
    assert names == ["renamed", "other.example", "other.example", "other.example"]
    assert address.split() == ["11.7.7.8", "STREAM", "renamed"]


#: Holds a question back, over TCP, until a timer of the kernel sends it: no process runs then.
CORKED = """
import socket, struct, time
with socket.create_connection(("127.0.0.1", 53)) as asker:
    asker.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    question = struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 0) + b"\\x06server\\x00" + struct.pack(">HH", 1, 1)
    before = time.monotonic()
    asker.send(struct.pack(">H", len(question)) + question)
    answer = asker.recv(999)
    print(time.monotonic() > before, answer[5] & 15, socket.inet_ntoa(answer[-4:]))
"""


def test_a_question_that_a_timer_sends_is_answered(laboratory: Laboratory) -> None:
    run = laboratory.run_twice(experiment({"asker": host(process("python3", "-c", CORKED)), "server": _server()}))
    assert run.stdout("asker") == "True 0 11.7.7.7\n"


def test_the_table_of_routes_shows_those_that_there_are(laboratory: Laboratory) -> None:
    run = laboratory.run(experiment({"asker": host(process("cat", "/proc/net/route"), ip_addr="11.7.9.12")}))
    rows = [line.split() for line in run.stdout("asker").splitlines()]
    assert [(name, to, flags, mask) for name, to, _, flags, _, _, _, mask, *_ in rows[1:]] == [
        ("eth0", "00000000", "0001", "00000000"),
        ("eth0", "0009070B", "0001", "00FFFFFF"),
    ]
