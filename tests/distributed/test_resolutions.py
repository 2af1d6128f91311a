"""Real gossip peers beside a tail whose topics are not exact, on any number of shards."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
import pytest

from antumbra.report import read_peer_logs
from tests.distributed.shards import differences
from tests.system.experiment import ROOT, Configuration, Laboratory, Run

IDENTITIES = 3000
FIRST, LAST = "100.64.0.0", "100.64.11.183"
PEERS = {
    "alice": (1, "100.64.0.9,100.64.3.1,100.64.8.77,100.64.11.1", "--publish 1,4,2,2,500"),
    "bob": (4, "100.64.1.1,100.64.2.2,100.64.6.6,100.64.10.200", ""),
    "carol": (2, "100.64.0.200,100.64.5.5,100.64.7.7,100.64.9.9", "--publish 1,5,2,3,500"),
}


def experiment(resolution: dict[str, Any], topics: list[Any], publications: list[dict[str, Any]]) -> Configuration:
    hosts = {
        name: {
            "network_node_id": node,
            "processes": [
                {
                    "path": "gossip-node",
                    "start_time": "1 s",
                    "args": f"--name {name} --peer {identities} --d 4 --d-low 3 --d-high 8 --run-for 18 {more}",
                }
            ],
        }
        for name, (node, identities, more) in PEERS.items()
    }
    return {
        "general": {"stop_time": "20 s", "seed": 3},
        "network": {"graph": {"type": "gml", "file": {"path": str(ROOT / "configs" / "topologies" / "regional.gml")}}},
        "hosts": hosts,
        "cold": {
            "populations": {
                "tail": {
                    "count": IDENTITIES,
                    "addresses": "100.64.0.0/16",
                    "regions": {1: 5, 2: 1, 4: 3},
                    "bandwidth": [
                        {"share": 0.2, "up": "1 Gbit", "down": "1 Gbit"},
                        {"share": 0.8, "up": "50 Mbit", "down": "50 Mbit"},
                    ],
                }
            },
            "gossip": {"validation_delay": ["1 ms", "2 ms", "10 ms"]},
            "topics": topics,
            "publications": publications,
            "resolution": resolution,
        },
    }


def delays_ms(run: Run) -> dict[int, dict[str, float]]:
    """When each peer got each message, after its publication."""
    _, messages = read_peer_logs(run.directory / "hosts")
    return {
        number: {peer: (time - (message.published_ns or 0)) / 1e6 for peer, time in message.delivered_ns.items()}
        for number, message in messages.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("resolution", ["sampled", "mean-field"])
def test_real_peers_get_every_message_whatever_the_resolution(laboratory: Laboratory, resolution: str) -> None:
    publications = [{"topic": 1, "time": "6 s", "count": 8, "interval": "600 ms", "size": 800}]
    coarse = experiment({"default": resolution}, [1], publications)
    one = laboratory.run(coarse, name="one")
    two = laboratory.run(coarse, "--shards", "2", name="two")
    assert not differences(one, two)
    assert one.manifest["resolutions"] == {"1": resolution}
    exact = laboratory.run(experiment({}, [1], publications), name="exact")

    table = pq.read_table(one.directory / "metrics" / "messages.parquet").to_pydict()
    assert len(table["id"]) == 8 + 2 + 3
    assert min(table["delivered"]) >= IDENTITIES - 1
    seen, true = delays_ms(one), delays_ms(exact)
    assert seen.keys() == true.keys()
    for number, peers in seen.items():
        assert peers.keys() == true[number].keys()
        assert all(0 <= delay < 1000 for delay in peers.values())
    mean, expected = (
        sum(sum(peers.values()) for peers in run.values()) / sum(len(peers) for peers in run.values())
        for run in (seen, true)
    )
    assert mean == pytest.approx(expected, rel=0.25)


def in_a_network_that_changes(resolution: dict[str, Any]) -> Configuration:
    """The same peers, on topic 1, beside identities that come and go and publish on topic 2 as well."""
    publications = [
        {"topic": topic, "time": "6 s", "count": 8, "interval": "600 ms", "size": 800, "origin": 40} for topic in (1, 2)
    ]
    wanted = experiment({**resolution, "representatives": 2}, [1, 2], publications)
    tail = wanted["cold"]["populations"]["tail"]
    tail["count"] = 600
    tail["churn"] = {"sessions": {"kind": "exponential", "mean": "60 s"}, "absences": ["2 s", "9 s"]}
    for host, peers in {
        "alice": "100.64.0.9,100.64.1.1",
        "bob": "100.64.2.2,100.64.0.77",
        "carol": "100.64.1.5",
    }.items():
        process = wanted["hosts"][host]["processes"][0]
        process["args"] = process["args"].replace(PEERS[host][1], peers)
    return wanted


@pytest.mark.slow
@pytest.mark.parametrize("resolution", ["sampled", "mean-field"])
def test_real_peers_talk_on_exact_topics_beside_coarse_ones_in_a_network_that_changes(
    laboratory: Laboratory, resolution: str
) -> None:
    mixed = in_a_network_that_changes({"default": resolution, "topics": {1: "exact"}})
    one = laboratory.run(mixed, name="one")
    assert not differences(one, laboratory.run(mixed, "--shards", "2", name="two"))
    assert one.manifest["resolutions"] == {"1": "exact", "2": resolution}
    exact = laboratory.run(in_a_network_that_changes({}), name="exact")
    seen, true = delays_ms(one), delays_ms(exact)
    assert seen.keys() == true.keys()
    assert len(seen) >= 2 + 3
    assert all(peers.keys() == true[number].keys() for number, peers in seen.items())
    table = pq.read_table(one.directory / "metrics" / "messages.parquet").to_pydict()
    assert sorted(set(table["topic"])) == [1, 2]
    assert min(table["delivered"]) > 450


@pytest.mark.slow
@pytest.mark.parametrize("resolution", ["sampled", "mean-field"])
def test_real_peers_talk_on_coarse_topics_in_a_network_that_changes(laboratory: Laboratory, resolution: str) -> None:
    one = laboratory.run(in_a_network_that_changes({"default": resolution}), name="one")
    two = laboratory.run(in_a_network_that_changes({"default": resolution}), "--shards", "2", name="two")
    assert not differences(one, two)
    exact = laboratory.run(in_a_network_that_changes({}), name="exact")
    seen, true = delays_ms(one), delays_ms(exact)
    assert seen.keys() == true.keys()
    assert len(seen) >= 2 + 3
    assert all(0 <= delay < 5000 for peers in seen.values() for delay in peers.values())
    receipts, expected = (sum(len(peers) for peers in run.values()) for run in (seen, true))
    assert receipts == pytest.approx(expected, abs=2)
    table = pq.read_table(one.directory / "metrics" / "messages.parquet").to_pydict()
    assert sorted(set(table["topic"])) == [1, 2]


@pytest.mark.slow
def test_the_example_of_a_coarse_topic_that_changes_is_the_same_on_two_shards(laboratory: Laboratory) -> None:
    file = ROOT / "configs" / "examples" / "coarse-churn.yaml"
    one = laboratory.run(file, name="one")
    assert not differences(one, laboratory.run(file, "--shards", "2", name="two"))
    assert one.manifest["resolutions"] == {"1": "sampled"}
    seen = delays_ms(one)
    # Others of the tail publish where they are away, and few or none get what they tell of when they are back.
    assert len(seen) >= 40
    assert all(delay >= 0 for peers in seen.values() for delay in peers.values())
