"""Transactions spread the same way on any number of shards, and the run's tables tell how."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.distributed.shards import differences
from tests.distributed.test_requests import events
from tests.system.experiment import ROOT, Configuration, Laboratory, host, process

EXPERIMENT: Configuration = {
    "general": {"stop_time": "5 s", "seed": 3},
    "network": {"graph": {"type": "gml", "file": {"path": str(ROOT / "configs" / "topologies" / "regional.gml")}}},
    "cold": {
        "populations": {"tail": {"count": 300, "regions": {1: 5, 2: 1, 4: 3}}},
        "overlay": {"degree": 8},
        "publications": [{"topic": 1, "time": "2 s", "count": 4, "interval": "600 ms", "size": 8000}],
        # Transactions need no exact topic.
        "resolution": {"default": "sampled"},
        "transactions": {"rate": 12, "blob_share": 0.2, "degree": 16, "announce_interval": "20 ms", "lifetime": "2 s"},
    },
}


@pytest.mark.slow
def test_transactions_are_the_same_on_any_number_of_shards(laboratory: Laboratory) -> None:
    one = laboratory.run(EXPERIMENT, name="one")
    for shards in (2, 4):
        assert not differences(one, laboratory.run(EXPERIMENT, "--shards", str(shards), name=f"{shards}"))
    columns = pq.read_table(one.directory / "metrics" / "transactions.parquet").to_pydict()
    table = {name: np.array(values) for name, values in columns.items()}
    over = table["time_ns"] < 2.5 * 10**9
    small = over & ~table["blobs"] & (table["size"] <= 4096)
    # Who asks somebody whose uplink is full of blobs may get the answer too late.
    assert (table["delivered"][small] + table["late"][small] >= 299).all()
    assert (table["delivered"][small] == 299).mean() > 0.8
    assert (table["p50_ns"][small] < 500 * 10**6).all()
    assert (table["pushed"][table["blobs"]] == 0).all()
    assert (table["p50_ns"][over & table["blobs"]] > 500 * 10**6).all()
    loads = json.loads((one.directory / "sim-stats.json").read_text())["transaction_bytes"]
    assert 0 < loads["received"]["p50"] <= loads["received"]["p99"]
    # Blobs are still under way at the end.
    assert 0.5 * loads["sent"]["mean"] < loads["received"]["mean"] < loads["sent"]["mean"]


CLIENTS = {
    "alice": ("11.0.0.1", 1, "100.64.0.9,100.64.0.77,100.64.0.200", "2,0.2,8,300"),
    "bob": ("11.0.0.2", 4, "100.64.0.1,100.64.0.250", "2,0.9,3,200000,blobs"),
}
#: Kinds of requests: those of the first are for the newest messages that a peer has, those of the second for a status.
PROTOCOLS = [
    {"name": "blocks", "interval": "2 s", "size": 24, "chunks": [1, 4], "chunk_size": "8 KB"},
    {"name": "status", "interval": "1 s", "size": 92, "chunk_size": "92 B"},
    {"name": "columns", "interval": "500 ms", "size": 24, "chunk_size": "2 KB"},
]


def with_clients(resolution: str) -> Configuration:
    """The same tail, beside two real clients: small transactions of the one, and blobs of the other.

    Both gossip and serve requests besides.
    """
    hosts = {}
    for name, (address, node, peers, submissions) in CLIENTS.items():
        arguments = f"--name {name} --peer {peers} --execution-peer {peers} --transactions 50 --submit {submissions}"
        arguments += " --transaction-life-s 8 --serve-messages 0,1 --serve 1,92 --run-for 13"
        hosts[name] = host(process("gossip-node", *arguments.split()), node=node, ip_addr=address)
    cold: dict[str, Any] = EXPERIMENT["cold"] | {
        "populations": {"tail": {"count": 300, "addresses": "100.64.0.0/16", "regions": {1: 5, 2: 1, 4: 3}}},
        "resolution": {"default": resolution},
        "transactions": EXPERIMENT["cold"]["transactions"] | {"rate": 2, "lifetime": "8 s"},
        "requests": PROTOCOLS,
    }
    return EXPERIMENT | {"general": {"stop_time": "14 s", "seed": 3}, "hosts": hosts, "cold": cold}


@pytest.mark.slow
@pytest.mark.parametrize("resolution", ["exact", "sampled"])
def test_real_clients_and_identities_tell_each_other_of_transactions(laboratory: Laboratory, resolution: str) -> None:
    one = laboratory.run(with_clients(resolution), name="one")
    assert not differences(one, laboratory.run(with_clients(resolution), name="again"))
    two = laboratory.run(with_clients(resolution), "--shards", "2", name="two")
    assert not differences(one, two)

    columns = pq.read_table(one.directory / "metrics" / "transactions.parquet").to_pydict()
    table = {name: np.array(values) for name, values in columns.items()}
    small, large = (table["origin"] == origin for origin in range(2))
    assert (small.sum(), large.sum()) == (8, 3)
    # Everybody gets them, and the blobs only who asks.
    assert (table["delivered"][small] == 300).all()
    assert (table["pushed"][large] == 0).all()
    assert (table["delivered"][large] > 250).all()
    assert (table["strangers"] == 0).all()
    # What one client has submitted comes to the other over the tail, whole and right, when the paths allow it.
    for name, origin, count in (("bob", "11.0.0.1", 8), ("alice", "11.0.0.2", 3)):
        got = [event for event in events(one, name, "transaction") if event["origin"] == origin]
        assert sorted(event["sequence"] for event in got) == list(range(1, count + 1))
        assert all(event["hops"] >= 2 and 20_000_000 < event["delay_ns"] < 8_000_000_000 for event in got)
        assert all(event["how"] == "fetched" for event in got if event["blobs"])
    # What is submitted to identities comes to both.
    tail = int((~small & ~large & (table["time_ns"] > 2e9) & (table["time_ns"] < 6e9)).sum())
    for name in CLIENTS:
        (summary,) = events(one, name, "summary")
        mine = summary["transactions"]
        assert mine["peers"] == len(CLIENTS[name][2].split(","))
        assert mine["got_pushed"] + mine["got_fetched"] == len(events(one, name, "transaction")) >= tail
        assert mine["bad"] == mine["strangers"] == summary["bad_datagrams"] == 0
        # Identities ask those whom they know on an exact topic; what is not served is refused.
        is_known = resolution == "exact"
        assert (summary["served"] > 0) == (summary["turned_away"] > 0) == is_known
        assert summary["received"]["request"] == summary["served"] + summary["turned_away"]
    (summary,) = events(one, "bob", "summary")
    assert summary["transactions"]["served"] >= 3
