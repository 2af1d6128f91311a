"""Real peers and identities ask each other, on any number of shards."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.distributed.shards import differences
from tests.system.experiment import ROOT, Configuration, Laboratory, Run

PEERS = {
    "alice": (1, "100.64.0.9,100.64.0.77", "--serve 1,2000 --ask 1,3,0.25,20,6,24,5 --ask 0,4,0.5,4,1,8,5"),
    "bob": (4, "100.64.0.1,100.64.0.200", "--serve 0,8 --ask 1,3,1,5,90,24,5"),
}
PROTOCOLS = [
    {
        "name": "ping",
        "interval": {"kind": "exponential", "mean": "500 ms"},
        "size": 8,
        "chunk_size": 8,
        "timeout": "2 s",
        "servers": {"clients": ["one"]},
    },
    {
        "name": "blocks",
        "interval": "1 s",
        "size": 24,
        "chunks": [1, 9],
        "chunk_size": ["1 KB", "9 KB"],
        "service": ["0 ms", "3 ms"],
        "retries": 1,
    },
]


def experiment(
    resolution: dict[str, Any],
    peers: dict[str, tuple[int, str, str]] = PEERS,
    protocols: list[dict[str, Any]] = PROTOCOLS,
) -> Configuration:
    return {
        "general": {"stop_time": "20 s", "seed": 3},
        "network": {"graph": {"type": "gml", "file": {"path": str(ROOT / "configs" / "topologies" / "regional.gml")}}},
        "hosts": {
            name: {
                "network_node_id": node,
                "processes": [
                    {
                        "path": "gossip-node",
                        "start_time": "1 s",
                        "args": f"--name {name} --peer {identities} --run-for 18 {more}",
                    }
                ],
            }
            for name, (node, identities, more) in peers.items()
        },
        "cold": {
            "populations": {
                "tail": {
                    "count": 300,
                    "addresses": "100.64.0.0/16",
                    "regions": {1: 5, 2: 1, 4: 3},
                    "bandwidth": [{"share": 1, "up": "50 Mbit", "down": "50 Mbit"}],
                }
            },
            "overlay": {"degree": 8},
            "clients": {"one": {"share": 1}, "two": {"share": 1}},
            "publications": [{"topic": 1, "time": "6 s", "count": 8, "interval": "600 ms", "size": 800}],
            "resolution": resolution,
            "requests": protocols,
        },
    }


def events(run: Run, host: str, kind: str) -> list[dict[str, Any]]:
    (output,) = (run.directory / "hosts" / host).glob("gossip-node*.stdout")
    lines = (json.loads(line) for line in output.read_text().splitlines())
    return [event for event in lines if event["event"] == kind]


@pytest.mark.slow
@pytest.mark.parametrize("resolution", ["exact", "sampled"])
def test_real_peers_and_identities_ask_each_other(laboratory: Laboratory, resolution: str) -> None:
    one = laboratory.run(experiment({"default": resolution}), name="one")
    two = laboratory.run(experiment({"default": resolution}), "--shards", "2", name="two")
    assert not differences(one, two)

    alice, bob = events(one, "alice", "response"), events(one, "bob", "response")
    blocks = [event for event in alice if event["protocol"] == 1]
    assert [event["outcome"] for event in blocks] == ["answered"] * 20
    assert all(event["ok"] and event["chunks"] == 6 and 6000 <= event["size"] <= 54_000 for event in blocks)
    assert all(1_000_000 < event["latency_ns"] < 1_000_000_000 for event in blocks)
    # Half of the identities do not serve this.
    assert {event["outcome"] for event in alice if event["protocol"] == 0} <= {"answered", "refused"}
    # In several datagrams.
    assert all(event["outcome"] == "answered" and event["ok"] and event["size"] > 120_000 for event in bob)
    # Identities ask those whom they know on an exact topic.
    is_known = resolution == "exact"
    for host in ("alice", "bob"):
        (summary,) = events(one, host, "summary")
        assert (summary["received"]["request"] > 0) == (summary["served"] > 0) == is_known
        assert summary["late"] == summary["timeouts"] == summary["bad_datagrams"] == 0

    table = pq.read_table(one.directory / "metrics" / "requests.parquet").to_pydict()
    assert table["protocol"] == ["ping", "blocks"]
    assert table["asked"][1] == pytest.approx(20 * 300, abs=300)
    # What alice and bob were asked for and do not serve, they refused.
    assert (table["refused"][0] > 0) == is_known
    # All are answered in the end; those of the last third of a second, 300 a second, have still to be.
    assert table["failed"][1] == table["abandoned"][1] == table["unasked"][1] == 0
    assert table["asked"][1] - 100 < table["answered"][1] < table["asked"][1]
    assert all(0 < p50 < p99 for p50, p99 in zip(table["p50_ns"], table["p99_ns"], strict=True))


#: A real peer with more tokens than an identity asks for, and one with fewer.
LIMITED = {
    "roomy": (1, "100.64.0.9,100.64.0.77", "--serve 0,300 --serve-limit 0,1000,1"),
    "tight": (4, "100.64.0.1,100.64.0.200", "--serve 0,300 --serve-limit 0,4,2"),
}


@pytest.mark.slow
def test_identities_that_ask_a_real_peer_for_more_than_its_limit_are_refused(laboratory: Laboratory) -> None:
    often = {"name": "status", "interval": "50 ms", "chunks": [0, 3], "chunk_size": 300, "timeout": "2 s"}
    exact = {"default": "exact"}
    one = laboratory.run(experiment(exact, LIMITED, [often]), name="one")
    two = laboratory.run(experiment(exact, LIMITED, [often]), "--shards", "2", name="two")
    assert not differences(one, two)
    ((roomy,), (tight,)) = (events(one, host, "summary") for host in LIMITED)
    assert roomy["served"] == roomy["received"]["request"] > 50
    assert (roomy["limited"], roomy["turned_away"]) == (0, 0)
    # Two identities ask for two tokens 20 times a second, each of one of its nine peers, and have two a second.
    assert tight["served"] > 15
    assert tight["limited"] > 15
    assert tight["served"] + tight["limited"] == tight["received"]["request"]
    assert tight["turned_away"] == 0

    table = pq.read_table(one.directory / "metrics" / "requests.parquet").to_pydict()
    # Nobody else refuses, nothing is lost, and all the answers had time to come.
    assert table["limited"] == [0]
    assert table["refused"] == [tight["limited"]]
    assert table["failed"] == table["refused"]
