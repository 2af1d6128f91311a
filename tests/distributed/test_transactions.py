"""Transactions spread the same way on any number of shards, and the run's tables tell how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.distributed.shards import differences
from tests.system.experiment import ROOT, Configuration, Laboratory, Run, host, process

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


def with_clients(apps: Path, resolution: str) -> Configuration:
    """The same tail, beside two real clients: small transactions of the one, and blobs of the other."""
    peer = apps / "transaction_peer"
    alice = process(peer, "11.0.0.1", "100.64.0.9,100.64.0.77,100.64.0.200", "13", "8", "300", "200", "0")
    bob = process(peer, "11.0.0.2", "100.64.0.1,100.64.0.250", "13", "3", "200000", "900", "1")
    cold: dict[str, Any] = EXPERIMENT["cold"] | {
        "populations": {"tail": {"count": 300, "addresses": "100.64.0.0/16", "regions": {1: 5, 2: 1, 4: 3}}},
        "resolution": {"default": resolution},
        "transactions": EXPERIMENT["cold"]["transactions"] | {"rate": 2, "lifetime": "8 s"},
    }
    return EXPERIMENT | {
        "general": {"stop_time": "14 s", "seed": 3},
        "hosts": {"alice": host(alice, node=1, ip_addr="11.0.0.1"), "bob": host(bob, node=4, ip_addr="11.0.0.2")},
        "cold": cold,
    }


def lines(run: Run, name: str, how: str) -> list[list[str]]:
    return [line.split() for line in run.stdout(name).splitlines() if line.startswith(how + " ")]


@pytest.mark.slow
@pytest.mark.parametrize("resolution", ["exact", "sampled"])
def test_real_clients_and_identities_tell_each_other_of_transactions(
    laboratory: Laboratory, apps: Path, resolution: str
) -> None:
    one = laboratory.run(with_clients(apps, resolution), name="one")
    assert not differences(one, laboratory.run(with_clients(apps, resolution), name="again"))
    two = laboratory.run(with_clients(apps, resolution), "--shards", "2", name="two")
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
        got = [line for line in lines(one, name, "pushed") + lines(one, name, "fetched") if line[1] == origin]
        assert [line[2] for line in sorted(got, key=lambda line: int(line[2]))] == [str(n + 1) for n in range(count)]
        assert all(int(line[6]) >= 2 and 20_000_000 < int(line[8]) < 8_000_000_000 for line in got)
    # What is submitted to identities comes to both.
    tail = int((~small & ~large & (table["time_ns"] > 2e9) & (table["time_ns"] < 6e9)).sum())
    for name in ("alice", "bob"):
        assert len(lines(one, name, "pushed")) + len(lines(one, name, "fetched")) >= tail
        (summary,) = lines(one, name, "here")
        assert summary[-1] == "0"
    (summary,) = lines(one, "bob", "here")
    assert int(summary[summary.index("served") + 1]) >= 3
