"""Further servers and clients of the web: processes, threads and loops of all kinds, load generators, and QUIC."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.system.captures import read_capture
from tests.system.experiment import Laboratory, Programs, experiment, host, network, process, python, shell

UDP = 17
RUNNING = {"expected_final_state": "running"}

_APACHE = """
ServerName web
PidFile apache.pid
DefaultRuntimeDir .
Mutex fcntl:.
LoadModule mpm_{mpm}_module /usr/lib/apache2/modules/mod_mpm_{mpm}.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
Listen 80
ErrorLog /dev/stderr
StartServers 8
MaxRequestWorkers 50
KeepAlive On
"""


@pytest.mark.parametrize("mpm", ["prefork", "event"])
def test_apache_serves_ab_and_wrk(laboratory: Laboratory, program: Programs, tmp_path: Path, mpm: str) -> None:
    apache, ab, wrk = program("apache2"), program("ab"), program("wrk")
    (tmp_path / "apache.conf").write_text(_APACHE.format(mpm=mpm))
    serve = (
        "mkdir web; seq 3000 > web/index.html;"
        f' exec {apache} -D FOREGROUND -f {tmp_path}/apache.conf -d $PWD -c "DocumentRoot $PWD/web"'
    )
    run = laboratory.run_twice(
        experiment(
            {
                "web": host(shell(serve, **RUNNING)),
                "ab": host(shell(f"{ab} -n 60 -c 6 -k http://web/index.html", start_time="3 s")),
                "wrk": host(
                    process(wrk, "-t", "2", "-c", "4", "-d", "2", "http://web/index.html", start_time="8 s"), node=1
                ),
            },
            network=network(latency="20 ms"),
            stop_time="20 s",
        )
    )
    report = run.stdout("ab")
    assert re.search(r"Complete requests: +60\nFailed requests: +0\nKeep-Alive requests: +60\n", report)
    (taken,) = re.findall(r"Time taken for tests: +([0-9.]+)", report)
    assert 11 * 0.04 <= float(taken) <= 14 * 0.04  # ten round trips each, and those that connect
    # A request waits for a round trip; each thread's connections begin with the one that connects them.
    (rate,) = re.findall(r"Requests/sec: +([0-9.]+)", run.stdout("wrk"))
    assert float(rate) == pytest.approx(4 / 0.04, rel=0.05)


_QUIC_SERVER = """
import asyncio, ssl
from aioquic.asyncio import serve, QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
configuration = QuicConfiguration(is_client=False, alpn_protocols=["echo"], max_datagram_frame_size=65536)
configuration.load_cert_chain("certificate.pem", "key.pem")
async def answer(reader, writer):
    content = await reader.read()
    writer.write(content[::-1])
    writer.write_eof()
async def main():
    handler = lambda reader, writer: asyncio.ensure_future(answer(reader, writer))
    await serve("::", 4433, configuration=configuration, stream_handler=handler)
    await asyncio.Event().wait()
asyncio.run(main())
"""
_QUIC_CLIENT = """
import asyncio, time
from aioquic.asyncio import connect
from aioquic.quic.configuration import QuicConfiguration
configuration = QuicConfiguration(alpn_protocols=["echo"], server_name="server")
configuration.load_verify_locations("ca.pem")
async def ask(client, size):
    reader, writer = await client.create_stream()
    content = bytes(i * size % 251 for i in range(size))
    writer.write(content)
    writer.write_eof()
    return await reader.read() == content[::-1]
async def main():
    start = time.monotonic()
    async with connect("server", 4433, configuration=configuration) as client:
        print(f"connected after {time.monotonic() - start:.2f} s")
        print(await asyncio.gather(*(ask(client, size) for size in (1, 1000, 50_000, 100_000))))
        client.change_connection_id()
        client.request_key_update()
        print(await ask(client, 3000))
        await client.ping()
asyncio.run(main())
"""


def test_quic_crosses_a_network_that_loses_packets(laboratory: Laboratory, program: Programs) -> None:
    program.package("aioquic")
    certify = (
        f"{program('openssl')} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=server"
        " -addext subjectAltName=DNS:server -keyout key.pem -out certificate.pem 2> /dev/null"
    )
    socat = program("socat")
    run = laboratory.run_twice(
        experiment(
            {
                "server": host(
                    shell(f"{certify}; exec {sys.executable} -c '{_QUIC_SERVER}'", **RUNNING),
                    process(socat, "-U", "TCP-LISTEN:99,fork", "OPEN:certificate.pem", start_time="2 s", **RUNNING),
                ),
                "client": host(
                    shell(
                        f"{socat} -u TCP:server:99 CREATE:ca.pem; exec {sys.executable} -c '{_QUIC_CLIENT}'",
                        start_time="5 s",
                    ),
                    node=1,
                ),
            },
            network=network(latency="25 ms", loss=0.02),
        )
    )
    # One round trip makes a connection, and its keys.
    assert run.stdout("client").splitlines() == ["connected after 0.05 s", str([True] * 4), "True"]
    packets = [packet.content for packet in read_capture(run.path("client", "eth0.pcap")).packets]
    assert sum(packet[0] >> 4 == 4 and packet[9] == UDP for packet in packets) > 2 * 151_000 / 1500
    assert run.statistics["hot"]["packets_lost_on_path"] > 0


_AIOHTTP = """
import asyncio, os
from aiohttp import web
async def hello(request):
    return web.Response(text=f"hello {request.query.get('name')}")
async def socket(request):
    connection = web.WebSocketResponse(heartbeat=1)
    await connection.prepare(request)
    async for message in connection:
        await connection.send_str(message.data.upper())
    return connection
async def app():
    application = web.Application()
    application.add_routes([web.get("/", hello), web.get("/socket", socket)])
    return application
"""
_AIOHTTP_CLIENT = """
import asyncio, aiohttp, sys
import websockets
async def main():
    async with aiohttp.ClientSession() as session:
        async def fetch(name):
            async with session.get("http://server:8080/", params={"name": name}) as answer:
                return await answer.text()
        print(await asyncio.gather(*(fetch(str(number)) for number in range(3))))
        async with session.ws_connect("http://server:8080/socket") as connection:
            await connection.send_str("by aiohttp")
            print((await connection.receive()).data)
    async with websockets.connect("ws://server:8080/socket") as connection:
        await connection.send("by websockets")
        print(await connection.recv())
        await asyncio.sleep(3.5)
        await connection.send("still here")
        print(await connection.recv())
asyncio.run(main())
"""


def test_gunicorn_replaces_a_worker_that_was_killed(laboratory: Laboratory, program: Programs, tmp_path: Path) -> None:
    for package in ("aiohttp", "gunicorn", "websockets"):
        program.package(package)
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "service.py").write_text(_AIOHTTP)
    options = f"--chdir {folder} -b :8080 -w 3 --timeout 5 -k aiohttp.GunicornWebWorker"
    run = laboratory.run_twice(
        experiment(
            {
                "server": host(
                    shell(
                        f"export HOME=$PWD; exec {sys.executable} -B -m gunicorn {options} service:app 2> log",
                        **RUNNING,
                    ),
                    shell("kill -KILL $(pgrep -P $(pgrep -o -f gunicorn) | head -1)", start_time="20 s"),
                ),
                "client": host(python(_AIOHTTP_CLIENT, start_time="10 s"), node=1),
                "late": host(python(_AIOHTTP_CLIENT, start_time="30 s"), node=1),
            },
            network=network(latency="10 ms"),
        )
    )
    answers = ["['hello 0', 'hello 1', 'hello 2']", "BY AIOHTTP", "BY WEBSOCKETS", "STILL HERE"]
    assert [run.stdout(name).splitlines() for name in ("client", "late")] == [answers] * 2
    log = run.path("server", "log").read_text()
    assert "Worker (pid:1001) was sent SIGKILL!" in log
    assert log.count("Booting worker") == 4
