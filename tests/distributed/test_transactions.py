"""Transactions spread the same way on any number of shards, and the run's tables tell how."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.distributed.shards import differences
from tests.system.experiment import ROOT, Configuration, Laboratory

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
