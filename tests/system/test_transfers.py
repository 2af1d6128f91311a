"""Transfers between hosts are whole, whatever the network does to packets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.system.experiment import Laboratory, experiment, host, network, process

LOSSES = [0.0, 0.01, 0.05]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_tcp_delivers_every_byte_over_latency_and_loss(
    laboratory: Laboratory, apps: Path, direction: str, loss: float
) -> None:
    hosts = {
        "server": host(process(apps / "tcp_server", "5000")),
        "client": host(process(apps / "tcp_client", "server", "5000", direction, "1000003", start_time="1 s"), node=1),
    }
    run = laboratory.run(experiment(hosts, stop_time="600 s", network=network(latency="20 ms", loss=loss)))
    assert run.stdout("client").startswith(f"{direction} bytes 1000003 ok 1 ")
    assert run.stdout("server") == f"served {direction} 1000003 bytes ok\n"
    assert (run.statistics["hot"]["packets_lost_on_path"] > 0) == (loss > 0)


@pytest.mark.parametrize("chunk", ["100", "65536"])
def test_tcp_delivers_every_byte_to_programs_that_wait_with_epoll(
    laboratory: Laboratory, apps: Path, chunk: str
) -> None:
    hosts = {
        "server": host(process(apps / "tcp_server", "5000", "--epoll", "--chunk", "777", "2")),
        "up": host(process(apps / "tcp_client", "server", "5000", "up", "300007", "--epoll", "--chunk", chunk)),
        "down": host(
            process(apps / "tcp_client", "server", "5000", "down", "300007", "--epoll", "--chunk", chunk), node=1
        ),
    }
    for name in ("up", "down"):
        hosts[name]["processes"][0]["start_time"] = "1 s"
    run = laboratory.run_twice(experiment(hosts, stop_time="600 s", network=network(loss=0.01)))
    assert sorted(run.stdout("server").splitlines()) == ["served down 300007 bytes ok", "served up 300007 bytes ok"]


@pytest.mark.parametrize("loss", LOSSES)
def test_udp_delivers_whole_datagrams_or_none(laboratory: Laboratory, apps: Path, loss: float) -> None:
    hosts = {
        "server": host(process(apps / "udp_echo_server", "5000", expected_final_state="running")),
        "client": host(process(apps / "udp_client", "server", "5000", "300", "1400", "500", start_time="1 s"), node=1),
    }
    run = laboratory.run(experiment(hosts, stop_time="600 s", network=network(latency="20 ms", loss=loss)))
    resent = re.fullmatch(r"ok 300 datagrams, (\d+) sent again", run.stdout("client").splitlines()[-1])
    assert resent is not None
    assert (int(resent[1]) > 0) == (loss > 0)


def test_udp_carries_the_largest_datagrams(laboratory: Laboratory, apps: Path) -> None:
    hosts = {
        "server": host(process(apps / "udp_echo_server", "5000", "20")),
        "client": host(process(apps / "udp_client", "server", "5000", "20", "65507", start_time="1 s"), node=1),
    }
    run = laboratory.run(experiment(hosts, network=network()))
    assert run.stdout("client").splitlines()[-1] == "ok 20 datagrams, 0 sent again"


def test_a_process_reaches_another_of_its_own_host(laboratory: Laboratory, apps: Path) -> None:
    hosts = {
        "alone": host(
            process(apps / "tcp_server", "5000", "2"),
            process(apps / "tcp_client", "localhost", "5000", "down", "500000", start_time="1 s"),
            process(apps / "udp_echo_server", "5001", "5"),
            process(apps / "udp_client", "alone", "5001", "5", start_time="1 s"),
            process(
                "curl",
                "-sS",
                "--max-time",
                "5",
                "http://alone:4999/",
                start_time="1 s",
                expected_final_state={"exited": 7},
            ),
            process(apps / "tcp_client", "alone", "5000", "up", "500000", start_time="30 s"),
        )
    }
    run = laboratory.run_twice(experiment(hosts))
    assert "ok 5 datagrams" in run.stdout("alone", "udp_client")
    assert "Failed to connect" in run.stderr("alone", "curl")
