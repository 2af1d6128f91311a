"""Runtimes of further languages, with servers of their own libraries."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.system.experiment import Laboratory, Programs, experiment, host, network, process

PREFIX = "fd41:6e74:756d::"
RUNNING = {"expected_final_state": "running"}

_ERLANG_SERVER = """
-module(server).
-export([start/0, loop/1, work/2]).
start() -> register(counter, self()), loop(0).
loop(Sum) ->
    receive
        {add, From, Number} -> From ! {sum, node(), Sum + Number}, loop(Sum + Number);
        stop -> init:stop()
    end.
work(From, Numbers) -> From ! {worked, node(), lists:sum(Numbers)}.
"""
_ERLANG_CLIENT = """
-module(client).
-export([start/0]).
start() ->
    Nodes = ['n@one', 'n@two'],
    [pong = net_adm:ping(Node) || Node <- Nodes],
    io:format("~p~n", [lists:sort(nodes())]),
    io:format("~p~n", [rpc:multicall(Nodes, erlang, node, [])]),
    [[{counter, Node} ! {add, self(), N} || N <- lists:seq(1, 100)] || Node <- Nodes],
    Sums = [receive {sum, From, Sum} -> {From, Sum} end || _ <- lists:seq(1, 200)],
    io:format("~p~n", [[lists:max([Sum || {From, Sum} <- Sums, From == Node]) || Node <- Nodes]]),
    [spawn(Node, server, work, [self(), lists:seq(1, 100000)]) || Node <- Nodes],
    io:format("~p~n", [lists:sort([receive {worked, From, Sum} -> {From, Sum} end || _ <- Nodes])]),
    monitor_node('n@two', true),
    {counter, 'n@two'} ! stop,
    receive {nodedown, Down} -> io:format("~p is down~n", [Down]) end,
    {counter, 'n@one'} ! stop,
    init:stop().
"""


def test_erlang_nodes_talk_across_hosts(laboratory: Laboratory, program: Programs, tmp_path: Path) -> None:
    erl, epmd, erlc = program("erl"), program("epmd"), program("erlc")
    for name, source in (("server", _ERLANG_SERVER), ("client", _ERLANG_CLIENT)):
        (tmp_path / f"{name}.erl").write_text(source)
        subprocess.run([erlc, f"{name}.erl"], cwd=tmp_path, check=True, timeout=60)

    def node(name: str, module: str, **keys: object) -> dict[str, Any]:
        options = f"-noshell -setcookie c +S 2:2 -kernel net_ticktime 8 -pa {tmp_path}".split()
        arguments = ("-sname", f"n@{name}", *options, "-s", module)
        return host(process(epmd, **RUNNING), process(erl, *arguments, environment={"HOME": "."}, **keys))

    run = laboratory.run_twice(
        experiment(
            {
                "one": node("one", "server", start_time="1 s"),
                "two": node("two", "server", start_time="1 s"),
                "client": node("client", "client", start_time="5 s"),
            },
            network=network(latency="10 ms"),
        )
    )
    assert run.stdout("client", "erl").splitlines() == [
        "[n@one,n@two]",
        "{[n@one,n@two],[]}",
        "[5050,5050]",
        "[{n@one,5000050000},{n@two,5000050000}]",
        "n@two is down",
    ]


_RUBY_SERVER = """
require "webrick"
server = WEBrick::HTTPServer.new(Port: 8080, AccessLog: [])
server.mount_proc("/") { |request, answer| answer.body = "ruby got #{request.body} by #{request.request_method}\\n" }
server.mount_proc("/fork") { |request, answer| answer.body = IO.popen(["hostname"]).read }
server.start
"""
_RUBY_CLIENT = """
require "net/http"
puts Net::HTTP.post(URI("http://server:8080/"), "question").body, Net::HTTP.get(URI("http://server:8080/fork"))
workers = 4.times.map do |number|
  Thread.new { Net::HTTP.start("server", 8080) do |http|
    5.times.map { |i| http.post("/", "#{number * 5 + i}").body[/\\d+/].to_i }
  end }
end
p workers.flat_map(&:value).sum
reader, writer = IO.pipe
fork { reader.close; writer.puts(Process.pid != Process.ppid, Socket.gethostname) }
writer.close
Process.wait
puts reader.read, Time.now.utc.year
"""
_PHP_SERVER = """<?php
if ($_SERVER["REQUEST_URI"] === "/slow") sleep(2);
if ($_SERVER["REQUEST_METHOD"] === "PUT") file_put_contents("stored", file_get_contents("php://input"));
header("Content-Type: application/json");
echo json_encode(["uri" => $_SERVER["REQUEST_URI"], "from" => $_SERVER["REMOTE_ADDR"], "pid" => getmypid()]), "\\n";
"""
_PHP_CLIENT = """<?php
echo file_get_contents("http://server:8080/first");
$streams = [];
foreach (["/slow", "/fast"] as $name) {
    $streams[$name] = stream_socket_client("tcp://server:8080");
    fwrite($streams[$name], "GET $name HTTP/1.0\\r\\n\\r\\n");
}
while ($streams) {
    $ready = $streams; $none = [];
    stream_select($ready, $none, $none, 10);
    foreach ($ready as $name => $stream)
        if (($line = fgets($stream)) === false) unset($streams[$name]);
        elseif ($line[0] === "{") printf("%s after %.1f s\\n", json_decode($line)->uri, microtime(true) - 946684805);
}
$context = stream_context_create(["http" => [
    "method" => "PUT", "header" => "Content-Type: text/plain", "content" => str_repeat("php", 50000)
]]);
echo file_get_contents("http://server:8080/stored", false, $context);
"""
_PERL_SERVER = """
use strict; use warnings; use IO::Socket::IP; use IO::Select; use POSIX ":sys_wait_h";
my $ended = 0;
$SIG{CHLD} = sub { while (waitpid(-1, WNOHANG) > 0) { $ended++ } };
my $server = IO::Socket::IP->new(LocalPort => 7000, LocalHost => "::", V6Only => 0, Listen => 5, ReuseAddr => 1)
    or die $@;
while ($ended < 4) {
    my $client = $server->accept or next;
    if (!fork) {
        my $count = 0;
        while (<$client>) { chomp; $count++; print $client scalar reverse($_), "\\n"; last if $_ eq "end"; }
        printf STDERR "%s sent %d\\n", $client->peerhost, $count if $count;
        exit 0;
    }
    close $client;
}
print "$ended children\\n";
"""
_PERL_CLIENT = """
use strict; use warnings; use IO::Socket::IP; use Time::HiRes qw(time alarm);
for my $host ("server", "server", $ARGV[0]) {
    my $socket = IO::Socket::IP->new(PeerHost => $host, PeerPort => 7000, Timeout => 3) or die $@;
    my $start = time;
    print $socket "$_\\n" for ("able", "was", "end");
    print join(" ", map { chomp; $_ } <$socket>), sprintf(" %.2f\\n", time - $start);
}
local $SIG{ALRM} = sub { die "in time\\n" };
my $silent = IO::Socket::IP->new(PeerHost => "server", PeerPort => 7000);
eval { alarm 0.5; <$silent>; };
print $@;
"""


def test_ruby_serves_itself_and_forks(laboratory: Laboratory, program: Programs, tmp_path: Path) -> None:
    ruby = program("ruby")
    for name, source in (("server", _RUBY_SERVER), ("client", _RUBY_CLIENT)):
        (tmp_path / f"{name}.rb").write_text(source)
    run = laboratory.run_twice(
        experiment(
            {
                "server": host(process(ruby, str(tmp_path / "server.rb"), **RUNNING)),
                "client": host(process(ruby, str(tmp_path / "client.rb"), start_time="5 s"), node=1),
            },
            network=network(latency="10 ms"),
        )
    )
    answers = ["ruby got question by POST", "server", str(sum(range(20))), "true", "client", "2000"]
    assert run.stdout("client").splitlines() == answers


def test_php_serves_with_four_workers(laboratory: Laboratory, program: Programs, tmp_path: Path) -> None:
    php = program("php")
    for name, source in (("server", _PHP_SERVER), ("client", _PHP_CLIENT)):
        (tmp_path / f"{name}.php").write_text(source)
    serve = process(
        php, "-S", "0.0.0.0:8080", str(tmp_path / "server.php"), environment={"PHP_CLI_SERVER_WORKERS": "4"}, **RUNNING
    )
    run = laboratory.run_twice(
        experiment(
            {
                "server": host(serve),
                "client": host(
                    process(php, str(tmp_path / "client.php"), start_time="5 s"), node=1, ip_addr="11.7.0.1"
                ),
            },
            network=network(latency="10 ms"),
        )
    )
    assert run.stdout("client").splitlines() == [
        r'{"uri":"\/first","from":"11.7.0.1","pid":1000}',
        "/fast after 0.1 s",  # by another worker
        "/slow after 2.1 s",
        r'{"uri":"\/stored","from":"11.7.0.1","pid":1002}',
    ]
    assert run.path("server", "stored").read_bytes() == b"php" * 50_000


def test_perl_forks_for_each_client(laboratory: Laboratory, program: Programs, tmp_path: Path) -> None:
    perl = program("perl")
    for name, source in (("server", _PERL_SERVER), ("client", _PERL_CLIENT)):
        (tmp_path / f"{name}.pl").write_text(source)
    client = process(perl, str(tmp_path / "client.pl"), f"{PREFIX}b07:2", start_time="5 s")
    run = laboratory.run_twice(
        experiment(
            {
                "server": host(process(perl, str(tmp_path / "server.pl")), ip_addr="11.7.0.2"),
                "client": host(client, node=1, ip_addr="11.7.0.1"),
            },
            network=network(latency="10 ms"),
        )
    )
    assert run.stdout("client").splitlines() == ["elba saw dne 0.04"] * 3 + ["in time"]
    addresses = ["::ffff:11.7.0.1"] * 2 + [f"{PREFIX}b07:1"]
    assert run.stderr("server").splitlines() == [f"{address} sent 3" for address in addresses]
    assert run.stdout("server") == "4 children\n"
