"""BIRD: routers of four autonomous systems tell each other of prefixes, by BGP."""

from __future__ import annotations

import re
from typing import Any

from tests.system.experiment import Laboratory, Programs, experiment, host, network, shell

#: Each is a neighbour of the one before it and the one after it.
RING = ("east", "south", "west", "north")


def _router(bird: str, number: int, *more: dict[str, Any]) -> dict[str, Any]:
    def neighbour(other: int) -> str:
        return (
            f"protocol bgp {RING[other]} {{ local as {65000 + number}; neighbor 11.0.0.{other + 1} as {65000 + other};"
            # RFC 5082: from the same network alone. Who is stopped says nothing: others wait up to nine seconds.
            ' interface "eth0"; direct; ttl security on; hold time 9; connect delay time 1; connect retry time 5;'
            " ipv4 { import all; export where source ~ [ RTS_STATIC, RTS_BGP ]; next hop self; }; }\n"
        )

    settings = (
        "log stderr all;\nprotocol device {}\nprotocol direct { ipv4; }\n"
        f"protocol static {{ ipv4; route 10.{number}.0.0/16 blackhole; }}\n"
        f"router id 11.0.0.{number + 1};\n{neighbour((number - 1) % 4)}{neighbour((number + 1) % 4)}"
    )
    daemon = shell(
        f"echo '{settings}' > bird.conf; exec {bird} -f -c bird.conf -s bird.ctl",
        start_time=f"{1000 + 100 * number} ms",
        expected_final_state="running",
        # It is silent from then on, and keeps its connections.
        **({"shutdown_time": "20 s", "shutdown_signal": "SIGSTOP"} if RING[number] == "south" else {}),
    )
    return host(daemon, *more, ip_addr=f"11.0.0.{number + 1}")


def test_routers_go_the_other_way_round_when_one_falls_silent(laboratory: Laboratory, program: Programs) -> None:
    bird, birdc = program("bird"), program("birdc")
    show = f"{birdc} -r -s bird.ctl"
    ask = shell(
        f"for t in 7 13 0; do {show} show route for 10.2.0.0/16 all; {show} show protocols; sleep $t; done",
        start_time="15 s",
    )
    hosts = {name: _router(bird, number, *([ask] if not number else [])) for number, name in enumerate(RING)}
    run = laboratory.run_twice(experiment(hosts, stop_time="40 s", network=network(loss=0.01)))
    told = run.path("east", "bash.1001.stdout").read_text()
    before, until, after = told.split("Table master4:")[1:]
    ways = [re.findall(r"BGP.as_path: (.*)", part) for part in (before, until, after)]
    assert ways[0] == ways[1]
    assert sorted(ways[0]) == ["65001 65002", "65003 65002"]
    assert ways[2] == ["65003 65002"]
    assert re.search(r"^south .* Established", until, re.MULTILINE)
    assert re.search(r"^south .* Hold timer expired", after, re.MULTILINE)
    assert re.search(r"^north .* Established", after, re.MULTILINE)
