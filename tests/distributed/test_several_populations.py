"""Real peers beside two populations at the same places, on any number of shards, with windows between regions."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from antumbra import load_configuration, make_plan
from antumbra.cli import run_command
from antumbra.sharding import partition_of
from bridge.lookahead import lookahead_of
from bridge.partition import read_partition
from bridge.simtime import NS_PER_MS
from tests.distributed.shards import differences, window_totals
from tests.system.experiment import ROOT, Configuration, Laboratory, Run, write

#: Half of each population is in Europe, node 1, and half beyond the seas.
REGIONS = {1: 5, 2: 1, 4: 4}
POPULATIONS = {"passing": IPv4Network("100.64.0.0/24"), "steady": IPv4Network("100.64.1.0/24")}
COUNTS = {"passing": 100, "steady": 200}
#: Each knows the first and the last identity of both.
PEERS = "100.64.0.0,100.64.0.99,100.64.1.0,100.64.1.199"
PLACES = {"alice": 1, "bob": 4}


def _experiment(lookahead: str) -> Configuration:
    links = [{"share": 1, "up": "1 Gbit", "down": "1 Gbit"}, {"share": 4, "up": "50 Mbit", "down": "50 Mbit"}]
    populations: dict[str, Any] = {
        name: {"count": COUNTS[name], "addresses": str(addresses), "regions": REGIONS, "bandwidth": links}
        for name, addresses in POPULATIONS.items()
    }
    populations["passing"]["churn"] = {
        "sessions": {"kind": "exponential", "mean": "20 s"},
        "absences": ["1 s", "5 s"],
        "notice": 0.5,
    }
    return {
        "general": {"stop_time": "15 s", "seed": 3},
        "experimental": {"lookahead": lookahead},
        "network": {"graph": {"type": "gml", "file": {"path": str(ROOT / "configs" / "topologies" / "regional.gml")}}},
        "hosts": {
            name: {
                "network_node_id": node,
                "host_options": {"pcap_enabled": True},
                "processes": [
                    {
                        "path": "gossip-node",
                        "start_time": "1 s",
                        "args": f"--name {name} --peer {PEERS} --run-for 13 --publish 1,3,2,3,500",
                    }
                ],
            }
            for name, node in PLACES.items()
        },
        "cold": {
            "populations": populations,
            "overlay": {"degree": 8},
            "gossip": {"validation_delay": ["1 ms", "2 ms", "10 ms"]},
            "publications": [{"topic": 1, "time": "6 s", "count": 8, "interval": "600 ms", "size": 800}],
        },
    }


def _delivered(run: Run, host: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in run.stdout(host, "gossip-node").splitlines())
    return [event for event in lines if event["event"] == "deliver"]


@pytest.mark.slow
def test_real_peers_beside_two_populations_see_the_same_on_any_number_of_shards(laboratory: Laboratory) -> None:
    one = laboratory.run(_experiment("global"), name="global")
    windows = {}
    for shards in (1, 2, 3):
        other = laboratory.run(_experiment("partition"), "--shards", str(shards), name=f"shards{shards}")
        assert not differences(one, other, windows=False)
        assert window_totals(one) == window_totals(other)
        windows[shards] = other.statistics["windows"]
    assert windows[2] < windows[1] / 5
    senders = [IPv4Address(event["from"].partition(":")[0]) for host in PLACES for event in _delivered(one, host)]
    for addresses in POPULATIONS.values():
        assert any(sender in addresses for sender in senders)
    assert {name: each["count"] for name, each in one.manifest["populations"].items()} == COUNTS
    ranges = [each["ranges"] for each in one.manifest["populations"].values()]
    assert [sum(each["count"] for each in of_one) for of_one in ranges] == [100, 200]
    assert [len(of_one) for of_one in ranges] == [3, 3]


def test_shards_of_several_populations_are_as_far_apart_as_their_regions(laboratory: Laboratory) -> None:
    file = write(_experiment("partition"), laboratory.folder / "both.yaml")
    plan = make_plan(load_configuration(file))
    made = partition_of(plan, 2)
    assert lookahead_of(made, plan.directory, plan.paths).outer_ns == 70 * NS_PER_MS
    path = laboratory.folder / "partition.json"
    assert run_command(["partition", str(file), "-n", "2", "-o", str(path)]) == 0
    written = read_partition(path, plan.directory, 2)
    assert (written.hot.tolist(), written.cuts.tolist()) == (made.hot.tolist(), made.cuts.tolist())


def test_windows_that_do_not_follow_the_partition_leave_hosts_in_the_order_of_names(laboratory: Laboratory) -> None:
    content = _experiment("global")
    content["hosts"]["carol"] = {**content["hosts"]["alice"]}
    content["hosts"]["dora"] = {**content["hosts"]["bob"]}
    owners = {}
    for lookahead in ("global", "partition"):
        content["experimental"]["lookahead"] = lookahead
        plan = make_plan(load_configuration(write(content, laboratory.folder / f"{lookahead}.yaml")))
        owners[lookahead] = partition_of(plan, 2).hot.tolist()
    assert owners["global"] == [0, 0, 1, 1]
    assert owners["partition"] in ([0, 1, 0, 1], [1, 0, 1, 0])
