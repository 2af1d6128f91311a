"""Real peers that speak IPv6 take part in the gossip and the requests of identities, on any number of shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    "six": "--ask 0,4,1,8,2,8,3 --publish 1,3,2,3,500",
    "dual": "--serve 0,100 --publish 1,4,2,3,500",
    "four": "--publish 1,5,2,3,500",
}


def _experiment(resolution: str) -> Configuration:
    hosts: dict[str, Any] = {
        name: {
            "network_node_id": node,
            "host_options": {"pcap_enabled": True},
            "processes": [
                {
                    "path": "gossip-node",
                    "start_time": "1 s",
                    "args": f"--name {name} {listen} --peer {peers} --run-for 18 {MORE[name]}",
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
def test_peers_of_ipv6_gossip_and_ask(laboratory: Laboratory, resolution: str) -> None:
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
