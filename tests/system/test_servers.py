"""Unmodified servers and their own clients talk across the simulated network; the same twice."""

from __future__ import annotations

import json
from pathlib import Path

from tests.system.experiment import Laboratory, Programs, experiment, host, process, shell

NGINX = """
daemon off; worker_processes 2; error_log stderr; pid nginx.pid;
events {}
http { access_log off; server { listen 80; root /srv/web; } }
"""

JAVA = """
import com.sun.net.httpserver.HttpServer;
import java.net.*;
public class Echo {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 1) {
            System.out.print(new String(new URL(arguments[0]).openStream().readAllBytes()));
            return;
        }
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 0);
        server.createContext("/", exchange -> {
            byte[] answer = ("java got " + exchange.getRequestURI() + "\\n").getBytes();
            exchange.sendResponseHeaders(200, answer.length);
            exchange.getResponseBody().write(answer);
            exchange.close();
        });
        server.start();
    }
}
"""


def test_redis_serves_its_benchmark_the_same_twice(laboratory: Laboratory, program: Programs) -> None:
    server = ("--port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "")
    benchmark = ("-h", "server", "-n", "500", "-c", "10", "-t", "set,get,lpush", "--csv")
    configuration = experiment(
        {
            "server": host(process(program("redis-server"), *server, expected_final_state="running")),
            "client": host(process(program("redis-benchmark"), *benchmark, start_time="2 s")),
        }
    )
    first, second = (laboratory.run(configuration, name=name) for name in ("first", "second"))
    rows = first.stdout("client").splitlines()
    assert [row.split(",")[0] for row in rows[-3:]] == ['"SET"', '"GET"', '"LPUSH"']
    assert first.files == second.files


def test_nginx_with_two_workers_serves_wget(laboratory: Laboratory, program: Programs) -> None:
    start = f"mkdir logs; echo hello > index.html; echo '{NGINX}' > n.conf; exec {program('nginx')} -p . -c $PWD/n.conf"
    run = laboratory.run_twice(
        experiment(
            {
                "web": host(shell(start, expected_final_state="running")),
                "reader": host(process(program("wget"), "-q", "-O", "-", "http://web/index.html", start_time="3 s")),
            }
        )
    )
    assert run.stdout("reader") == "hello\n"


def test_iperf3_measures_the_configured_bandwidth(laboratory: Laboratory, program: Programs) -> None:
    hosts = {
        "server": host(process(program("iperf3"), "-s", "-1"), bandwidth_down="20 Mbit"),
        "client": host(process(program("iperf3"), "-c", "server", "-t", "10", "-J", start_time="1 s")),
    }
    run = laboratory.run(experiment(hosts))
    report = json.loads(run.stdout("client"))
    payload_share = 1448 / 1500  # of a packet: IP and TCP headers with timestamps
    assert abs(report["end"]["sum_received"]["bits_per_second"] / (20e6 * payload_share) - 1) < 0.02


def test_a_java_virtual_machine_serves_another(laboratory: Laboratory, program: Programs, tmp_path: Path) -> None:
    java, compiler = (str(Path(program(name)).resolve()) for name in ("java", "javac"))
    source = tmp_path / "Echo.java"
    source.write_text(JAVA)
    options = ("-Xmx128m", "-XX:-UsePerfData", "-cp", ".", "Echo")
    build = process(compiler, "-d", ".", str(source))
    run = laboratory.run_twice(
        experiment(
            {
                "server": host(build, process(java, *options, start_time="10 s", expected_final_state="running")),
                "client": host(build, process(java, *options, "http://server:8080/question", start_time="20 s")),
            }
        )
    )
    assert run.stdout("client", "java") == "java got /question\n"


def test_vsftpd_serves_curl_by_connections_of_either_side(laboratory: Laboratory, program: Programs) -> None:
    vsftpd, curl = program("vsftpd"), program("curl")
    settings = (
        *("listen=YES", "listen_ipv6=NO", "background=NO", "run_as_launching_user=YES", "seccomp_sandbox=NO"),
        *("anonymous_enable=YES", "no_anon_password=YES", "ftp_username=nobody"),
        *("anon_root=/srv/server/pub", "secure_chroot_dir=/srv/server/empty"),
    )
    write = f"mkdir -p pub empty; seq 10000 > pub/file; printf '%s\\n' {' '.join(settings)} > conf"
    ways = ("--disable-epsv", "--epsv", "-P -", "--eprt -P -")
    fetch = "; ".join(
        (
            "exec 2>&1",
            f"{curl} -sS ftp://server/ | grep -o 48894.*",
            *(f"{curl} -sS {way} ftp://server/file | md5sum" for way in ways),
            "seq 10000 | md5sum",
            f"{curl} -sS -r 100-109 ftp://server/file; {curl} -sS ftp://server/none",
        )
    )
    run = laboratory.run_twice(
        experiment(
            {
                "server": host(shell(f"{write}; exec {vsftpd} conf", expected_final_state="running")),
                "client": host(shell(fetch, start_time="2 s", expected_final_state={"exited": 78})),
            }
        )
    )
    told = run.stdout("client").splitlines()
    assert told[0] == "48894 Jan 01 00:00 file"
    assert len(set(told[1:6])) == 1
    assert told[6:] == ["7", "38", "39", "40curl: (78) The file does not exist"]
