"""chrony, which measures how far clocks are apart, by what the kernel says when packets left and came."""

from __future__ import annotations

import re

import pytest

from tests.system.experiment import Laboratory, Programs, experiment, host, shell

#: There and back are equally long between 0 and 1, and are not between 0 and 2.
GRAPH = """graph [
    directed 1
    node [ id 0 host_bandwidth_up "100 Mbit" host_bandwidth_down "100 Mbit" ]
    node [ id 1 host_bandwidth_up "100 Mbit" host_bandwidth_down "100 Mbit" ]
    node [ id 2 host_bandwidth_up "100 Mbit" host_bandwidth_down "100 Mbit" ]
    edge [ source 0 target 0 latency "1 ms" ]
    edge [ source 1 target 1 latency "1 ms" ]
    edge [ source 2 target 2 latency "1 ms" ]
    edge [ source 0 target 1 latency "15 ms" packet_loss 0.05 ]
    edge [ source 1 target 0 latency "15 ms" packet_loss 0.05 ]
    edge [ source 0 target 2 latency "40 ms" ]
    edge [ source 2 target 0 latency "10 ms" ]
]"""
_SERVER = "local stratum 2\nallow all"
_CLIENT = "server server iburst minpoll 2 maxpoll 3 xleave"


def test_chrony_is_misled_by_half_of_what_there_and_back_differ(laboratory: Laboratory, program: Programs) -> None:
    chronyd, chronyc = program("chronyd"), program("chronyc")

    def runs(settings: str) -> dict[str, object]:
        # The machine's clock is the simulation's: nobody sets it (-x).
        script = f"echo '{settings}' > chrony.conf; exec {chronyd} -x -d -f /srv/$HOSTNAME/chrony.conf"
        return shell(script, expected_final_state="running")

    ask = shell(f"{chronyc} -n sources; {chronyc} ntpdata; {chronyc} -n tracking", start_time="60 s")
    hosts = {
        "server": {**host(runs(_SERVER)), "users": ["_chrony"]},
        "near": {**host(runs(_CLIENT), ask, node=1), "users": ["_chrony"]},
        "far": {**host(runs(_CLIENT), ask, node=2), "users": ["_chrony"]},
    }
    network = {"graph": {"type": "gml", "inline": GRAPH}}
    run = laboratory.run_twice(experiment(hosts, stop_time="65 s", network=network))
    for name, offset, delay in (("near", 0.0, 0.030), ("far", 0.015, 0.050)):
        told = run.path(name, "bash.1002.stdout").read_text()
        figures = dict(re.findall(r"^(.*?)\s*: ([0-9.]+) seconds", told, re.MULTILINE))
        assert "^* 11.0.0.3" in told
        assert float(figures["Root delay"]) == pytest.approx(delay, rel=0.01)
        assert float(figures["System time"]) == pytest.approx(offset, abs=1e-4)
        for way in ("TX", "RX"):
            assert f"{way} timestamping : Kernel" in told
