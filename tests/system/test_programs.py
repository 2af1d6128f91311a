"""Unmodified programs behave as on the machine itself: dynamic, static, threaded, forking, interpreted."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from tests.system.experiment import (
    Laboratory,
    Programs,
    environment,
    experiment,
    host,
    network,
    process,
    python,
    shell,
)

THREADS = """
import concurrent.futures, queue, threading, time
numbers = queue.Queue()
def produce(number):
    for step in range(50):
        numbers.put(number * 1000 + step)
        time.sleep(0.001 * (number + 1))
producers = [threading.Thread(target=produce, args=(number,)) for number in range(8)]
[producer.start() for producer in producers]
[producer.join() for producer in producers]
print(sorted(numbers.get() for _ in range(400)) == sorted(n * 1000 + s for n in range(8) for s in range(50)))
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(lambda n: n * n, range(1000))))
event = threading.Event()
threading.Timer(30, event.set).start()
start = time.monotonic()
print(event.wait(10), round(time.monotonic() - start, 6), event.wait(), round(time.monotonic() - start, 6))
"""

ASYNCIO = """
import asyncio
async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()
async def ask(number):
    reader, writer = await asyncio.open_connection("127.0.0.1", 7000)
    for step in range(20):
        writer.write(b"hello %d %d\\n" % (number, step))
        assert await reader.readline() == b"HELLO %d %d\\n" % (number, step)
        await asyncio.sleep(0.01 * number)
    writer.close()
    return number
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 7000)
    print(await asyncio.gather(*(ask(number) for number in range(10))))
    child = await asyncio.create_subprocess_exec("/bin/echo", "from a child", stdout=asyncio.subprocess.PIPE)
    print((await child.communicate())[0])
    try:
        await asyncio.wait_for(asyncio.sleep(100), 3)
    except TimeoutError:
        print("too late")
    print(await asyncio.to_thread(sum, range(100)))
    server.close()
asyncio.run(main())
"""

SUBPROCESS = """
import multiprocessing, os, signal, subprocess
print(subprocess.run(["sort", "-r"], input="b\\na\\nc\\n", capture_output=True, text=True).stdout.split())
print(subprocess.check_output("seq 1 10 | paste -sd+", shell=True, text=True).strip())
sleeper = subprocess.Popen(["sleep", "100"])
try:
    sleeper.wait(timeout=2)
except subprocess.TimeoutExpired:
    sleeper.kill()
    print("killed", sleeper.wait())
def square(number):
    return number * number
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(pool.map(square, range(8)))
child = os.fork()
if child == 0:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

SOCKETSERVER = """
import socket, socketserver, threading
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line[::-1])
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
with Server(("localhost", 9999), Echo) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for text in (b"one", b"two"):
        with socket.create_connection(("localhost", 9999)) as connection:
            connection.sendall(text + b"\\n")
            connection.shutdown(socket.SHUT_WR)
            print(connection.makefile("rb").read())
    server.shutdown()
"""

BASH = r"""
for number in 1 2 3; do (sleep 0.$((4 - number)); echo "job $number") & done
wait
seq 1 2000 | grep 7 | sort -rn | head -3
false | true
echo "${PIPESTATUS[@]}"
trap 'echo got usr1' USR1
kill -USR1 $$
text=$(echo sub | tr a-z A-Z)
echo "$text"
cat < <(echo from a process)
cat <<< "here"
sleep 100 & kill %1; wait %1; echo "status $?"
(exit 5); echo "status $?"
timeout 0.2 sleep 10; echo "status $?"
printf '%s\n' b a c | sort | xargs echo
coproc cat; echo hello >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"
mkdir folder; touch folder/file; ln -s folder link; find . -name file -o -type l | sort
"""

BUSYBOX = """
busybox seq 1 1000 | busybox awk '{sum += $1} END {print sum}'
echo a > file; busybox md5sum file; busybox sed s/a/b/ file
(busybox sleep 0.3; echo late) & echo early; wait
busybox printf 'b\\na\\n' | busybox sort | busybox tr ab AB
busybox tar c file | busybox tar t
"""

PERL = r"""
use strict; use IO::Select; use Socket; $| = 1;
my $child = fork();
if (!$child) { select(undef, undef, undef, 0.2); exit 7 }
waitpid($child, 0); print $? >> 8, "\n";
socketpair(my $one, my $two, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die;
syswrite($one, "across\n"); sysread($two, my $line, 100); print $line;
print IO::Select->new($two)->can_read(0.1) ? "more\n" : "no more\n";
open(my $pipe, "-|", "echo from a pipe") or die; print <$pipe>; close $pipe;
local $SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 1; sleep 10; }; print $@;
print join(",", sort map { $_ ** 2 } 1..9), "\n";
"""


@pytest.mark.parametrize("app", ["threads", "forker", "signals", "timers", "unixpair"])
def test_a_native_program_prints_what_it_prints_natively(
    laboratory: Laboratory, apps: Path, tmp_path: Path, app: str
) -> None:
    native = subprocess.run([apps / app], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True)
    run = laboratory.run(experiment({"machine": host(process(apps / app))}))
    assert run.stdout("machine") == native.stdout


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["python3", "-c", THREADS.replace("30, event", "0.3, event").replace("wait(10)", "wait(0.1)")], "timed"),
        (["python3", "-c", ASYNCIO.replace("(100), 3)", "(100), 0.3)")], ""),
        (["python3", "-c", SUBPROCESS.replace("timeout=2", "timeout=0.2")], ""),
        (["python3", "-c", SOCKETSERVER], ""),
        (["bash", "-c", BASH], ""),
        (["busybox", "sh", "-c", BUSYBOX], ""),
        (["perl", "-e", PERL], ""),
    ],
    ids=["python-threads", "python-asyncio", "python-subprocess", "python-socketserver", "bash", "busybox", "perl"],
)
def test_a_script_prints_what_it_prints_natively(
    laboratory: Laboratory, program: Programs, tmp_path: Path, command: list[str], text: str
) -> None:
    path = program(command[0])
    place = tmp_path / "native"
    place.mkdir()
    native = subprocess.run(
        [path, *command[1:]],
        capture_output=True,
        text=True,
        cwd=place,
        timeout=60,
        check=True,
        env=environment(LC_ALL="C"),
    )
    run = laboratory.run_twice(experiment({"machine": host(process(*command, environment={"LC_ALL": "C"}))}))
    printed = [output.splitlines() for output in (native.stdout, run.stdout("machine"))]
    if text == "timed":
        # The last line holds measured times, which natively are only roughly what they should be.
        assert printed[1].pop().split() == ["False", "0.1", "True", "0.3"]
        printed[0].pop()
    assert printed[0] == printed[1]


GO = """
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

func main() {
	start := time.Now()
	var group sync.WaitGroup
	sums := make(chan int, 8)
	for worker := 0; worker < 8; worker++ {
		group.Add(1)
		go func(worker int) {
			defer group.Done()
			time.Sleep(time.Duration(worker) * time.Second)
			sum := 0
			for i := 0; i <= 1000; i++ {
				sum += i
			}
			sums <- sum
		}(worker)
	}
	group.Wait()
	fmt.Println(len(sums), <-sums, time.Since(start).Round(time.Millisecond))
	addresses, err := net.LookupHost("server")
	fmt.Println(addresses, err)
	connection, err := net.Dial("tcp", "server:8000")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Fprint(connection, "GET / HTTP/1.0\\r\\n\\r\\n")
	answer, err := io.ReadAll(connection)
	fmt.Println(strings.SplitN(string(answer), "\\r\\n", 2)[0], len(answer) > 100, err)
}
"""


def test_a_static_go_program_uses_goroutines_names_and_sockets(
    laboratory: Laboratory, program: Programs, tmp_path: Path
) -> None:
    compiler = program("go")
    (tmp_path / "main.go").write_text(GO)
    build = environment(CGO_ENABLED="0", GOTOOLCHAIN="local", GOFLAGS="-p=2")
    subprocess.run([compiler, "build", "-o", "main", "main.go"], cwd=tmp_path, env=build, check=True, timeout=280)
    hosts = {
        "server": host(process("python3", "-m", "http.server", "8000", expected_final_state="running")),
        "client": host(process(tmp_path / "main", start_time="2 s")),
    }
    run = laboratory.run_twice(experiment(hosts))
    address = run.manifest["hosts"]["server"]
    assert run.stdout("client").splitlines() == [
        "8 500500 7s",
        f"[{address} fd41:6e74:756d::b00:2] <nil>",
        "HTTP/1.0 200 OK true <nil>",
    ]


RUST = """
use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() == 1 {
        let listener = TcpListener::bind("0.0.0.0:7000").unwrap();
        let handlers: Vec<_> = (0..4).map(|_| {
            let (mut stream, _) = listener.accept().unwrap();
            std::thread::spawn(move || {
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                stream.write_all(text.to_uppercase().as_bytes()).unwrap();
            })
        }).collect();
        for handler in handlers { handler.join().unwrap(); }
        return;
    }
    let start = Instant::now();
    println!("{:?}", (arguments[1].as_str(), 7000).to_socket_addrs().unwrap().collect::<Vec<_>>());
    let answers: HashSet<String> = (0..4).map(|number| {
        let server = arguments[1].clone();
        std::thread::spawn(move || {
            let mut stream = TcpStream::connect((server.as_str(), 7000)).unwrap();
            std::thread::sleep(Duration::from_millis(100 * number));
            write!(stream, "question {number}").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
    }).map(|thread| thread.join().unwrap()).collect();
    let mut sorted: Vec<_> = answers.iter().collect();
    sorted.sort();
    println!("{sorted:?} {}", start.elapsed().as_millis());
    // The order of a hash map's keys is random: drawn from the host's own random numbers.
    println!("{:?}", (0..20).map(|key| (key, ())).collect::<HashMap<_, _>>().keys().collect::<Vec<_>>());
}
"""


def test_a_static_rust_program_uses_threads_names_and_sockets(
    laboratory: Laboratory, program: Programs, tmp_path: Path
) -> None:
    compiler = program("rustc")
    (tmp_path / "main.rs").write_text(RUST)
    command = [compiler, "--edition", "2021", "-O", "-C", "target-feature=+crt-static", "main.rs"]
    subprocess.run(command, cwd=tmp_path, env=environment(), check=True, timeout=280)
    hosts = {
        "server": host(process(tmp_path / "main")),
        "client": host(process(tmp_path / "main", "server", start_time="2 s")),
    }
    first, second = (
        laboratory.run(experiment(hosts, network=network(latency="50 ms")), name=name) for name in ("first", "second")
    )
    addresses, answers, keys = first.stdout("client").splitlines()
    assert addresses == f"[{first.manifest['hosts']['server']}:7000, [fd41:6e74:756d::b00:2]:7000]"
    quoted = ", ".join(f'"QUESTION {number}"' for number in range(4))
    # One after the other (iterators are lazy): connecting, sleeping, asking: 200 ms and the sleep each.
    assert answers == f"[{quoted}] {4 * 200 + 100 + 200 + 300}"
    assert sorted(ast.literal_eval(keys)) == list(range(20))
    assert ast.literal_eval(keys) != list(range(20))
    assert first.files == second.files


def test_node_serves_a_request_to_curl_on_another_host(laboratory: Laboratory, program: Programs) -> None:
    program("curl")
    code = """
const {Worker} = require("worker_threads");
const worker = new Worker('require("worker_threads").parentPort.postMessage(6 * 7)', {eval: true});
worker.on("message", (answer) => {
    require("http").createServer((request, response) => {
        response.end(`${request.method} ${request.url} ${answer} ${new Date().toISOString()}\\n`);
        request.socket.end();
        setTimeout(() => process.exit(0), 1000);
    }).listen(80);
});
"""
    hosts = {
        "server": host(process(program("node"), "-e", code)),
        "client": host(process("curl", "-sS", "http://server/path", start_time="10 s")),
    }
    run = laboratory.run_twice(experiment(hosts))
    assert run.stdout("client").startswith("GET /path 42 2000-01-01T00:00:10.")


def test_curl_fetches_uploads_and_gives_up(laboratory: Laboratory, program: Programs) -> None:
    program("curl")
    serve = """
import http.server
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()
        print(len(body), body == b"".join(b"%07d\\n" % i for i in range(len(body) // 8)), flush=True)
http.server.ThreadingHTTPServer(("", 80), Handler).serve_forever()
"""
    script = """
for i in $(seq 0 49999); do printf '%07d\\n' "$i"; done > data
curl -sS --fail -T data http://server/data
curl -sS --fail http://server/numbers http://server/numbers | md5sum
curl -sS --fail http://server/missing; echo "status $?"
curl -sS --connect-timeout 3 http://11.255.255.1/; echo "status $?"
curl -sS http://nobody/; echo "status $?"
"""
    hosts = {
        "server": host(shell(f"seq 1 5000 > numbers; exec python3 -c '{serve}'", expected_final_state="running")),
        "client": host(shell(script, start_time="2 s")),
    }
    run = laboratory.run_twice(experiment(hosts, stop_time="300 s"))
    numbers = "".join(f"{number}\n" for number in range(1, 5001)) * 2
    digest = subprocess.run(["md5sum"], input=numbers, capture_output=True, text=True, check=True).stdout
    assert run.stdout("server") == "400000 True\n"
    assert run.stdout("client") == f"{digest}status 22\nstatus 28\nstatus 6\n"


def test_the_resolver_knows_every_host_by_name(laboratory: Laboratory) -> None:
    code = """
import socket
print(socket.getaddrinfo("beta", 80, proto=socket.IPPROTO_TCP)[0][4], socket.gethostbyname(socket.gethostname()))
print(socket.gethostbyaddr(socket.gethostbyname("beta"))[0], socket.getfqdn())
try:
    socket.getaddrinfo("nobody.example", 80)
except socket.gaierror as error:
    print(error.errno in (socket.EAI_NONAME, socket.EAI_AGAIN))
"""
    hosts = {
        "alpha": host(shell("getent hosts beta; getent ahostsv4 alpha | head -1; hostname; cat /etc/hostname")),
        "beta": host(python(code), ip_addr="11.7.7.7"),
    }
    run = laboratory.run_twice(experiment(hosts))
    address = run.manifest["hosts"]["alpha"]
    lines = [" ".join(line.split()) for line in run.stdout("alpha").splitlines()]
    # As everywhere, `getent hosts` asks for IPv6 addresses first.
    assert lines == ["fd41:6e74:756d::b07:707 beta", f"{address} STREAM alpha", "alpha", "alpha"]
    assert run.stdout("beta").splitlines() == ["('11.7.7.7', 80) 11.7.7.7", "beta beta", "True"]


def test_a_script_with_an_interpreter_line_runs_as_a_program(laboratory: Laboratory, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('#!/bin/bash -e\necho "$0: $*"\n"$0-child" "$1"\n')
    child = tmp_path / "script-child"
    child.write_text("#!/usr/bin/env -S bash -u\necho child $1\n")
    for file in (script, child):
        file.chmod(0o755)
    run = laboratory.run_twice(experiment({"machine": host(process(script, "one", "two words"))}))
    assert run.stdout("machine") == f"{script}: one two words\nchild one\n"
