"""Hosts have addresses of both families, and unmodified programs use either, as they would on Linux."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.system.captures import read_capture
from tests.system.experiment import (
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

PREFIX = "fd41:6e74:756d::"

#: A server of both families that says who asked; clients by both addresses and by name.
SERVER = """
import asyncio
async def answer(reader, writer):
    peer = writer.get_extra_info("peername")
    request = await reader.readline()
    writer.write(request.upper() + f"{peer[0]} {len(peer)}\\n".encode() + bytes(200_000))
    await writer.drain()
    writer.close()
async def main():
    import socket
    both = socket.create_server(("::", 7000), family=socket.AF_INET6, dualstack_ipv6=True)
    async with await asyncio.start_server(answer, sock=both):
        await asyncio.sleep(20)
asyncio.run(main())
"""
CLIENT = """
import asyncio, sys
async def ask(name):
    reader, writer = await asyncio.open_connection(name, 7000)
    writer.write(b"hello\\n")
    answer = await reader.read()
    lines = answer.split(b"\\n", 2)
    print(writer.get_extra_info("peername")[0], lines[0].decode(), lines[1].decode(), len(lines[2]))
async def main():
    for name in sys.argv[1:]:
        await ask(name)
asyncio.run(main())
"""
DATAGRAMS = """
import socket
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.bind(("::", 7001))
for _ in range(2):
    data, name = server.recvfrom(2000)
    print(len(data), name[0])
    server.sendto(data, name)
"""
QUESTIONS = """
import socket
for family, name in ((socket.AF_INET6, "server"), (socket.AF_INET, "server")):
    client = socket.socket(family, socket.SOCK_DGRAM)
    client.connect(socket.getaddrinfo(name, 7001, family, socket.SOCK_DGRAM)[0][4])
    client.send(bytes(1000))
    print(len(client.recv(2000)), client.getsockname()[0])
    client.connect(socket.getaddrinfo(name, 9, family, socket.SOCK_DGRAM)[0][4])
    client.send(b"nobody")
    try:
        client.recv(1)
    except ConnectionRefusedError:
        print("refused")
"""


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """The same experiment twice on one shard, and on two; its network loses packets."""
    hosts = {
        "server": host(python(SERVER), python(DATAGRAMS)),
        "client": host(
            python(CLIENT, f"{PREFIX}b00:3", "11.0.0.3", "server", start_time="1 s"),
            node=1,
        ),
        "questioner": host(python(QUESTIONS, start_time="15 s")),
    }
    configuration = experiment(hosts, network=network(loss=0.01, up="20 Mbit", down="20 Mbit"), pcap=True)
    laboratory = Laboratory(tmp_path_factory.mktemp("talks"))
    shards = {"first": "1", "second": "1", "two-shards": "2"}
    return [laboratory.run(configuration, "--shards", count, name=name) for name, count in shards.items()]


def test_asyncio_talks_both_families_to_one_socket(talks: list[Run]) -> None:
    client, server = (f"{PREFIX}b00:1", "::ffff:11.0.0.1"), (f"{PREFIX}b00:3", "11.0.0.3")
    output = sorted(talks[0].path("client", "python3.1000.stdout").read_text().splitlines())
    # A name leads to IPv4: unique local addresses come after it in RFC 6724.
    assert output == sorted(
        [
            f"{server[0]} HELLO {client[0]} 4 200000",
            f"{server[1]} HELLO {client[1]} 4 200000",
            f"{server[1]} HELLO {client[1]} 4 200000",
        ]
    )


def test_datagrams_and_their_errors_are_of_both_families(talks: list[Run]) -> None:
    server = talks[0].path("server", "python3.1001.stdout").read_text().splitlines()
    questioner = talks[0].stdout("questioner").splitlines()
    assert server == [f"1000 {PREFIX}b00:2", "1000 ::ffff:11.0.0.2"]
    assert questioner == [f"1000 {PREFIX}b00:2", "refused", "1000 11.0.0.2", "refused"]


def test_ipv6_is_the_same_again_and_on_two_shards(talks: list[Run]) -> None:
    first, second, two_shards = talks
    assert first.files == second.files == two_shards.files
    assert first.manifest["digests"] == second.manifest["digests"] == two_shards.manifest["digests"]
    assert sum(map(sum, two_shards.statistics["cut"]["events"])) > 0


def test_captures_hold_ipv6_packets_that_tshark_finds_right(talks: list[Run], program: Programs) -> None:
    path = talks[0].path("server", "eth0.pcap")
    versions = {packet.content[0] >> 4 for packet in read_capture(path).packets}
    assert versions == {4, 6}
    fields = ("ipv6.plen", "tcp.checksum.status", "udp.checksum.status", "icmpv6.checksum.status", "icmpv6.code")
    columns = [argument for field in fields for argument in ("-e", field)]
    options = [f"-o{protocol}.check_checksum:TRUE" for protocol in ("tcp", "udp")]
    command = [
        program("tshark"),
        "-r",
        str(path),
        "-Y",
        "ipv6",
        *options,
        "-T",
        "fields",
        "-E",
        "occurrence=f",
        *columns,
    ]
    rows = [
        row.split("\t")
        for row in subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    ]
    assert max(int(row[0]) for row in rows) == 1460  # 1500 with the header
    # All are good, but for the datagram that the error quotes: it never was on a real wire, and has none.
    assert {status for row in rows for status in row[1:4] if status and not row[4]} == {"1"}
    assert [row[4] for row in rows if row[4]] == ["4"]  # port unreachable
    statuses = [sum(bool(row[place]) for row in rows) for place in (1, 2, 3)]
    assert statuses[0] > 100
    assert statuses[1] >= 3
    assert statuses[2] == 1


ORDER = """
import socket
print([entry[4][0] for entry in socket.getaddrinfo("server", 80, type=socket.SOCK_STREAM)])
print([entry[4][0] for entry in socket.getaddrinfo("server", 80, socket.AF_INET6, socket.SOCK_STREAM)])
print([entry[4][0] for entry in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)])
print(socket.getnameinfo(socket.getaddrinfo("server", 80, socket.AF_INET6)[0][4], 0)[0])
"""
NODE_ORDER = """
const dns = require("dns"), os = require("os");
dns.lookup("server", {all: true}, (error, found) => {
    console.log(found.map(entry => entry.address).join(" "));
    const own = Object.entries(os.networkInterfaces()).flatMap(([name, list]) => list.map(a => `${name} ${a.cidr}`));
    console.log(own.sort().join(", "));
});
"""


@pytest.mark.parametrize(
    ("prefix", "own", "first"), [(None, f"{PREFIX}b00:2", "11.0.0.2"), ("2001:db8:7::/64", "2001:db8:7::b00:2", None)]
)
def test_names_lead_to_the_family_that_rfc_6724_prefers(
    laboratory: Laboratory, program: Programs, prefix: str | None, own: str, first: str | None
) -> None:
    configuration = experiment(
        {
            "client": host(python(ORDER)),
            "node": host(process(program("node"), "-e", NODE_ORDER)),
            "server": host(process("sleep", "5")),
        },
        network={"graph": {"type": "1_gbit_switch"}, **({"ip6_prefix": prefix} if prefix else {})},
    )
    own = own.replace("b00:2", "b00:3")
    run = laboratory.run(configuration)
    order = ["11.0.0.3", own] if first else [own, "11.0.0.3"]
    assert run.stdout("client").splitlines() == [str(order), str([own]), "['::1', '127.0.0.1']", "server"]
    addresses, interfaces = run.stdout("node").splitlines()
    assert addresses == " ".join(order)
    assert interfaces == ", ".join(
        sorted(
            [
                "lo 127.0.0.1/8",
                "lo ::1/128",
                "eth0 11.0.0.2/24",
                f"eth0 {own.replace('b00:3', 'b00:2')}/64",
                "eth0 fe80::41:bff:fe00:2/64",
            ]
        )
    )


NODE = """
const http = require("http");
http.createServer((request, response) => {
    response.end(`${request.socket.localFamily || request.socket.address().family} ${request.socket.remoteAddress}\\n`);
}).listen(8080, "::");
"""
NGINX = """
daemon off; error_log stderr; pid nginx.pid; events {}
http { access_log off; server { listen [::]:80; root .; } }
"""


def test_curl_node_nginx_and_iperf3_speak_ipv6(laboratory: Laboratory, program: Programs) -> None:
    program("curl")
    serve = f"mkdir -p logs; echo hello > page; echo '{NGINX}' > n.conf; exec {program('nginx')} -p . -c $PWD/n.conf"
    requests = "; ".join(
        (
            "curl -6 -sS http://nginx/page",
            f"curl -sS 'http://[{PREFIX}11.0.0.3]/page'",
            "curl -4 -sS -o page4 http://nginx/page || echo refused over IPv4",  # nginx's [::] is of IPv6 only
            "curl -6 -sS http://node:8080/",
            "curl -4 -sS http://node:8080/",
        )
    )
    configuration = experiment(
        {
            "client": host(shell(requests, start_time="2 s")),
            "iperf-client": host(process(program("iperf3"), "-6", "-c", "server", "-t", "2", "-J", start_time="1 s")),
            "nginx": host(shell(serve, expected_final_state="running")),
            "node": host(process(program("node"), "-e", NODE, expected_final_state="running")),
            "server": host(process(program("iperf3"), "-6", "-s", "-1"), node=1),
        },
        network=network(down="20 Mbit", up="20 Mbit"),
        stop_time="10 s",
    )
    first, second = (laboratory.run(configuration, name=name) for name in ("first", "second"))
    lines = first.stdout("client").splitlines()
    assert lines == ["hello", "hello", "refused over IPv4", f"IPv6 {PREFIX}b00:1", "IPv6 ::ffff:11.0.0.1"]
    report = json.loads(first.stdout("iperf-client"))
    assert report["start"]["connected"][0]["remote_host"] == f"{PREFIX}b00:5"
    # Of 20 Mbit/s, a packet of 1500 bytes carries 1428.
    assert report["end"]["sum_received"]["bits_per_second"] == pytest.approx(20e6 * 1428 / 1500, rel=0.05)
    assert first.files == second.files


GO = """
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if len(os.Args) == 1 {
		listener, err := net.Listen("tcp", ":7000")
		if err != nil {
			panic(err)
		}
		for i := 0; i < 2; i++ {
			connection, err := listener.Accept()
			if err != nil {
				panic(err)
			}
			fmt.Fprintln(connection, connection.RemoteAddr().(*net.TCPAddr).IP)
			connection.Close()
		}
		return
	}
	for _, network := range []string{"tcp6", "tcp4"} {
		connection, err := net.Dial(network, "server:7000")
		if err != nil {
			panic(err)
		}
		answer, _ := io.ReadAll(connection)
		fmt.Print(network, " ", string(answer))
	}
	addresses, err := net.InterfaceAddrs()
	fmt.Println(addresses, err)
}
"""


def test_a_static_go_program_listens_on_both_families(
    laboratory: Laboratory, program: Programs, tmp_path: Path
) -> None:
    (tmp_path / "main.go").write_text(GO)
    subprocess.run(
        [program("go"), "build", "-o", "main", "main.go"],
        cwd=tmp_path,
        env=environment(CGO_ENABLED="0", GOTOOLCHAIN="local", GOFLAGS="-p=2"),
        check=True,
        timeout=280,
    )
    hosts = {
        "client": host(process(tmp_path / "main", "dial", start_time="1 s")),
        "server": host(process(tmp_path / "main")),
    }
    run = laboratory.run_twice(experiment(hosts))
    assert run.stdout("client").splitlines() == [
        f"tcp6 {PREFIX}b00:1",
        "tcp4 11.0.0.1",
        f"[127.0.0.1/8 11.0.0.1/24 ::1/128 {PREFIX}b00:1/64 fe80::41:bff:fe00:1/64] <nil>",
    ]


def test_a_host_may_have_an_ipv6_address_of_its_own(laboratory: Laboratory) -> None:
    ask = "import socket; print(socket.create_connection(('server', 7000)).recv(99).decode())"
    answer = """
import socket
server = socket.create_server(("2001:db8::7", 7000), family=socket.AF_INET6)
client, name = server.accept()
client.send(name[0].encode())
"""
    hosts = {
        "client": host(python(ask, start_time="1 s"), ip6_addr="2001:db8:1::1"),
        "server": host(python(answer), ip6_addr="2001:db8::7"),
    }
    run = laboratory.run(experiment(hosts))
    assert run.stdout("client") == "2001:db8:1::1\n"


def test_packets_to_nobody_are_counted(laboratory: Laboratory) -> None:
    code = f"""
import socket
client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for address in ("2001:db8::1", "{PREFIX}1.2.3.4"):
    client.sendto(b"x", (address, 9))
try:
    client.sendto(b"x", ("fe80::1", 9, 0, socket.if_nametoindex("eth0")))
except OSError as error:
    print(error.strerror)
"""
    run = laboratory.run(experiment({"client": host(python(code))}))
    assert run.stdout("client") == "No route to host\n"
    assert run.statistics["hot"]["packets_dropped_no_route"] == 2
