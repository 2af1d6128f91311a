"""Programs that pass on what others send: between protocols, between hosts, to one of several servers, into TLS."""

from __future__ import annotations

from typing import Any

from tests.system.experiment import Laboratory, Programs, Run, experiment, host, network, process, shell

RUNNING = {"expected_final_state": "running"}


def test_socat_joins_streams_datagrams_sockets_and_programs(laboratory: Laboratory, program: Programs) -> None:
    socat, netcat = program("socat"), program("nc.openbsd")
    upper = process(socat, "TCP-LISTEN:7000,fork,reuseaddr", "EXEC:tr a-z A-Z", **RUNNING)
    reverse = process(socat, "UDP-RECVFROM:7001,fork", "EXEC:rev", **RUNNING)
    script = process(socat, "TCP6-LISTEN:7002,fork,reuseaddr", "EXEC:bash,stderr,setsid", **RUNNING)
    into_unix = process(socat, "TCP-LISTEN:7003,fork,reuseaddr", "UNIX-CONNECT:unix.socket", **RUNNING)
    of_unix = process(socat, "UNIX-LISTEN:unix.socket,fork", "SYSTEM:wc -c; echo counted", **RUNNING)
    onward = process(socat, "TCP-LISTEN:80,fork,reuseaddr", "TCP:server:7000,nodelay", **RUNNING)
    onward_udp = process(socat, "-T1", "UDP-LISTEN:81,fork", "UDP:server:7001", **RUNNING)
    client = f"""
        seq 20000 > numbers; {netcat} -N relay 80 < numbers | cmp - numbers && echo whole
        echo relayed | {netcat} -N relay 80
        echo datagram | {netcat} -u -w 2 relay 81
        echo 'echo $SOCAT_PEERADDR; ls nothing; exit' | {netcat} -N -6 server 7002
        {netcat} -N server 7003 < numbers
        {netcat} -4 -z -v -w 1 server 7000-7004 2>&1 | sed 's/^[^ ]*: //'
    """
    run = laboratory.run_twice(
        experiment(
            {
                "server": host(upper, reverse, script, into_unix, of_unix, ip_addr="11.7.7.7"),
                "relay": host(onward, onward_udp),
                "client": host(shell(client, start_time="2 s")),
            },
            network=network(),
        )
    )
    assert run.stdout("client").splitlines() == [
        "whole",
        "RELAYED",
        "margatad",
        "[fd41:6e74:756d:0000:0000:0000:0b00:0001]",
        "ls: cannot access 'nothing': No such file or directory",
        "108894",
        "counted",
        "Connection to server (11.7.7.7) 7000 port [tcp/bbs] succeeded!",
        "connect to server (11.7.7.7) port 7001 (tcp) failed: Connection refused",
        *(f"Connection to server (11.7.7.7) {port} port [tcp/*] succeeded!" for port in (7002, 7003)),
        "connect to server (11.7.7.7) port 7004 (tcp) failed: Connection refused",
    ]


_HAPROXY = """
global
    nbthread 2
    stats socket unix@haproxy.socket level admin
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
    retries 2
    option redispatch
frontend web
    bind :::80 v4v6
    default_backend servers
frontend figures
    bind :81
    stats enable
    stats uri /
backend servers
    balance roundrobin
    option httpchk GET /name
    server one one:80 check inter 500ms fall 2 rise 1
    server two two:80 check inter 500ms fall 2 rise 1
"""

_NGINX = """
daemon off; worker_processes 1; error_log stderr; pid nginx.pid;
events {}
http { access_log off; server { listen 80; root .; } }
"""


def test_haproxy_balances_over_nginx_and_notices_death(laboratory: Laboratory, program: Programs) -> None:
    nginx, haproxy, socat = program("nginx"), program("haproxy"), program("socat")
    program("curl")
    serve = f"mkdir -p logs; hostname > name; echo '{_NGINX}' > n.conf; exec {nginx} -p . -c $PWD/n.conf"
    balance = f"echo '{_HAPROXY}' > h.cfg; exec {haproxy} -db -f h.cfg 2> log"
    ask = "for i in 1 2 3 4 5 6; do curl -sS -m 5 http://balancer/name; done | sort | uniq -c | awk '{print $1, $2}'"
    dies = {"shutdown_time": "8 s", "expected_final_state": {"exited": 0}}
    state = "| cut -d, -f 2,18 | grep -E '^(one|two),'"
    run = laboratory.run_twice(
        experiment(
            {
                "one": host(shell(serve, **RUNNING)),
                "two": host(shell(serve, **dies)),
                "balancer": host(
                    shell(balance, start_time="1 s", **RUNNING),
                    shell(f"echo show stat | {socat} - UNIX-CONNECT:haproxy.socket {state} > state", start_time="12 s"),
                ),
                "client": host(
                    shell(f"{ask}; sleep 6; {ask}; curl -sS 'http://balancer:81/;csv' {state}", start_time="5 s")
                ),
            },
            stop_time="20 s",
            network=network(latency="5 ms"),
        )
    )
    assert run.path("balancer", "state").read_text() == "one,UP\ntwo,DOWN\n"
    assert run.stdout("client") == "3 one\n3 two\n6 one\none,UP\ntwo,DOWN\n"
    # One stopped at 8 s; two checks in a row had to fail.
    assert "Server servers/two is DOWN" in run.path("balancer", "log").read_text()


_STUNNEL = "foreground = yes\npid =\n[redis]\n"
_OUTER = f"{_STUNNEL}accept = :::6380\nconnect = 127.0.0.1:6379\ncert = certificate.pem\nkey = key.pem\n"
_INNER = (
    f"{_STUNNEL}client = yes\naccept = 127.0.0.1:6379\nconnect = server:6380\n"
    "verifyChain = yes\nCAfile = ca.pem\ncheckHost = "
)


def test_stunnel_carries_a_plain_protocol_in_tls(laboratory: Laboratory, program: Programs) -> None:
    stunnel, socat, redis = program("stunnel4"), program("socat"), program("redis-server")
    certify = (
        f"{program('openssl')} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=server"
        " -addext subjectAltName=DNS:server -keyout key.pem -out certificate.pem 2> /dev/null"
    )
    ask = (
        "redis-cli set key value; redis-cli get key; seq 5000 | tr '\\n' ' ' | redis-cli -x set long;"
        "redis-cli strlen long; (echo ping; sleep 1; echo ping) | redis-cli; "
        "redis-cli client list | grep -o ' addr=127.0.0.1'"
    )

    def client(name: str, ask: str) -> dict[str, Any]:
        begin = (
            f"{socat} -u TCP:server:99 CREATE:ca.pem; echo '{_INNER}{name}' > s.conf; exec {stunnel} $PWD/s.conf 2> log"
        )
        return host(shell(begin, start_time="3 s", **RUNNING), shell(f"({ask}) > answers 2>&1", start_time="6 s"))

    run = laboratory.run_twice(
        experiment(
            {
                "server": host(
                    shell(f"{certify}; echo '{_OUTER}' > s.conf; exec {stunnel} $PWD/s.conf", **RUNNING),
                    process(redis, "--save", "", **RUNNING),
                    process(socat, "-U", "TCP-LISTEN:99,fork", "OPEN:certificate.pem", start_time="2 s", **RUNNING),
                ),
                "client": client("server", ask),
                "stranger": client("other", "redis-cli get key || echo refused"),
            },
            stop_time="20 s",
            network=network(latency="5 ms"),
        )
    )
    answers = run.path("client", "answers").read_text().splitlines()
    assert answers == ["OK", "value", "OK", "23893", "PONG", "PONG", " addr=127.0.0.1"]
    assert run.path("stranger", "answers").read_text().splitlines()[-1] == "refused"
    assert "Rejected by CERT" in run.path("stranger", "log").read_text()
    assert b"PONG" not in _packets(run, "server") + _packets(run, "client")


def _packets(run: Run, name: str) -> bytes:
    return (run.directory / "hosts" / name / "eth0.pcap").read_bytes()
