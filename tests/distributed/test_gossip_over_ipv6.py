"""Real peers that speak IPv6 gossip with identities, ask them, and exchange transactions, on any number of shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.distributed.shards import differences
from tests.system.captures import read_capture
from tests.system.experiment import ROOT, Configuration, Laboratory, Run

PREFIX = "fd41:6e74:756d::6440:"
#: Only IPv6, with an address of its own; both families; IPv4 only.
PEERS = {
    "six": (1, "--listen [::]:9000", f"[{PREFIX}9]:9000,{PREFIX}4d,dual"),
    "dual": (4, "--listen [::]:9000", f"{PREFIX}1,100.64.0.200,11.0.0.2"),
    "four": (2, "", "100.64.0.5,100.64.0.150"),
}
MORE = {
    "six": "--ask 0,4,1,8,2,8,3 --publish 1,3,2,3,500 --submit 3,0.5,3,300 --submit 4,0,1,200000,blobs",
    "dual": "--serve 0,100 --publish 1,4,2,3,500 --submit 3.2,0.5,3,300",
    "four": "--publish 1,5,2,3,500 --submit 3.4,0.5,3,300",
}
#: What is submitted to each peer, small transactions and blobs.
SUBMITTED = {"six": 3 + 1, "dual": 3, "four": 3}


def _experiment(resolution: str) -> Configuration:
    hosts: dict[str, Any] = {
        name: {
            "network_node_id": node,
            "host_options": {"pcap_enabled": True},
            "processes": [
                {
                    "path": "gossip-node",
                    "start_time": "1 s",
                    "args": f"--name {name} {listen} --peer {peers} --run-for 18 {MORE[name]}"
                    f" --execution-peer {peers} --transactions 8",
                }
            ],
        }
        for name, (node, listen, peers) in PEERS.items()
    }
    hosts["six"]["ip6_addr"] = "fd00::66"
    return {
        "general": {"stop_time": "20 s", "seed": 4},
        "network": {"graph": {"type": "gml", "file": {"path": str(ROOT / "configs" / "topologies" / "regional.gml")}}},
        "hosts": hosts,
        "cold": {
            "populations": {"tail": {"count": 300, "addresses": "100.64.0.0/16", "regions": {1: 5, 2: 1, 4: 3}}},
            "overlay": {"degree": 8},
            "clients": {"one": {"share": 1}},
            "publications": [{"topic": 1, "time": "6 s", "count": 4, "interval": "1 s", "size": 800}],
            "resolution": {"default": resolution},
            "transactions": {"listed": [{"time": "6 s", "size": 300}, {"time": "6 s", "size": 9000}]},
            "requests": [{"name": "ping", "interval": "1 s", "size": 8, "chunk_size": 100, "timeout": "2 s"}],
        },
    }


def _events(run: Run, host: str, kind: str) -> list[dict[str, Any]]:
    (output,) = (run.directory / "hosts" / host).glob("gossip-node*.stdout")
    lines = (json.loads(line) for line in output.read_text().splitlines())
    return [event for event in lines if event["event"] == kind]


def _versions(path: Path) -> set[int]:
    return {packet.content[0] >> 4 for packet in read_capture(path).packets}


@pytest.mark.slow
@pytest.mark.parametrize("resolution", ["exact", "sampled"])
def test_peers_of_ipv6_gossip_ask_and_spread_transactions(laboratory: Laboratory, resolution: str) -> None:
    one = laboratory.run(_experiment(resolution), name="one")
    two = laboratory.run(_experiment(resolution), "--shards", "2", name="two")
    assert not differences(one, two)
    assert _versions(one.path("six", "eth0.pcap")) == {6}
    assert _versions(one.path("dual", "eth0.pcap")) == {4, 6}
    assert _versions(one.path("four", "eth0.pcap")) == {4}

    published = {event["id"] for host in PEERS for event in _events(one, host, "publish")}
    assert len(published) == 9
    for host in PEERS:
        delivered = _events(one, host, "deliver")
        own = {event["id"] for event in _events(one, host, "publish")}
        assert len({event["id"] for event in delivered} & (published - own)) == 6
        assert len(delivered) == 6 + 4  # and what identities have published
        assert all(event["ok"] for event in delivered)
    senders = {event["from"] for event in _events(one, "six", "deliver")}
    assert all(sender.startswith(f"[{PREFIX[:-5]}") for sender in senders)
    answers = _events(one, "six", "response")
    assert [event["outcome"] for event in answers] == ["answered"] * 8
    assert one.statistics["cold"]["boundary"]["dropped"] == {}
    _check_transactions(one)


def _check_transactions(run: Run) -> None:
    """Everybody has every transaction, and hosts were execution peers of those whom they were told of."""
    table = pq.read_table(run.directory / "metrics" / "transactions.parquet").to_pylist()
    assert len(table) == sum(SUBMITTED.values()) + 2
    assert all(row["delivered"] >= 299 and row["strangers"] == 0 for row in table)
    addresses = {host: _events(run, host, "start")[0]["advertise"] for host in PEERS}
    for host, (_, _, peers) in PEERS.items():
        got = _events(run, host, "transaction")
        for other, address in addresses.items():
            mine = sorted(event["sequence"] for event in got if event["origin"] == address)
            assert mine == ([] if other == host else list(range(1, SUBMITTED[other] + 1)))
        assert len(got) == sum(SUBMITTED.values()) - SUBMITTED[host] + 2
        (summary,) = _events(run, host, "summary")
        mine = summary["transactions"]
        # Six and dual are peers of dual and four besides those whom they were told of.
        assert mine["peers"] == len(peers.split(",")) + (host in ("dual", "four"))
        assert mine["pushed"] > 0
        assert mine["served"] > 0
        assert mine["bad"] == mine["late"] == mine["strangers"] == mine["refused"] == summary["bad_datagrams"] == 0
    (blobs,) = (event for event in _events(run, "dual", "transaction") if event["blobs"])
    assert (blobs["size"], blobs["how"]) == (200_000, "fetched")
