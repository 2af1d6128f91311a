"""ping, the first thing that anybody tries: it shows the latency and the loss that the configuration says."""

from __future__ import annotations

import re

from tests.system.experiment import Laboratory, Programs, experiment, host, network, process


def test_ping_shows_the_configured_latency_and_loss(laboratory: Laboratory, program: Programs) -> None:
    ping = program("ping")
    nobody = process(ping, "-c", "2", "-W", "1", "11.99.99.99", start_time="20 s", expected_final_state={"exited": 1})
    configuration = experiment(
        {
            "near": host(
                process(ping, "-c", "5", "far"),
                process(ping, "-6", "-c", "5", "-s", "1000", "far", start_time="10 s"),
                nobody,
            ),
            "far": host(node=1),
        },
        stop_time="60 s",
        network=network(latency="30 ms"),
        pcap=True,
    )
    first, second = (laboratory.run(configuration, name=name) for name in ("first", "second"))
    for number in (1000, 1001):
        said = first.path("near", f"ping.{number}.stdout").read_text()
        assert "5 packets transmitted, 5 received, 0% packet loss" in said
        assert "BAD CHECKSUM" not in said
        assert {round(float(time)) for time in re.findall(r"time=([0-9.]+) ms", said)} == {60}
    assert "2 packets transmitted, 0 received, 100% packet loss" in first.path("near", "ping.1002.stdout").read_text()
    assert first.files == second.files
    lossy = laboratory.run(
        experiment(
            {"near": host(process(ping, "-c", "200", "-i", "0.2", "far")), "far": host(node=1)},
            stop_time="60 s",
            network=network(latency="30 ms", loss=0.2),
        ),
        name="lossy",
    )
    found = re.search(r"200 packets transmitted, (\d+) received", lossy.path("near", "ping.1000.stdout").read_text())
    # 0.64 of them pass both ways; a wrong answer for one seed in a thousand (3.3 standard deviations of 6.8).
    assert found is not None
    assert 106 <= int(found[1]) <= 150
