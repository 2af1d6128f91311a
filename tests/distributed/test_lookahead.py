"""Windows as long as the partition allows give the results of windows as long as the smallest latency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from antumbra import load_configuration, make_plan
from antumbra.cli import run_command
from bridge.partition import PartitionMap, write_partition
from tests.distributed.shards import BASELINES, differences, run_mpi, window_totals, with_experimental
from tests.system.experiment import ROOT, Laboratory, Programs, Run

#: Some baselines let windows follow the latencies in use, which this excludes.
BY_PARTITION = {"lookahead": "partition", "use_dynamic_runahead": False}


def inner_windows(run: Run) -> int:
    return int(sum(pq.read_table(run.directory / "metrics" / "shards.parquet")["inner"].to_pylist()))


@pytest.mark.parametrize("name", ["udp-three-hosts-loss", "tcp-two-hosts-1ns"])
def test_a_baseline_is_the_same_with_longer_windows_between_shards(laboratory: Laboratory, name: str) -> None:
    one = laboratory.run(BASELINES / f"{name}.yaml", name="one")
    file = with_experimental(laboratory, BASELINES / f"{name}.yaml", "partition", **BY_PARTITION)
    for label, shards in (("alone", 1), ("two", 2), ("four", 4)):
        other = laboratory.run(file, "--shards", str(shards), name=label)
        assert not differences(one, other, windows=False)
        assert window_totals(one) == window_totals(other)
        if shards > 1:
            assert inner_windows(other) > 2 * other.statistics["windows"]


@pytest.mark.slow
def test_ranks_have_longer_windows_too(laboratory: Laboratory) -> None:
    file = BASELINES / "udp-three-hosts-loss.yaml"
    one = laboratory.run(file, name="one")
    other = run_mpi(laboratory, 2, with_experimental(laboratory, file, "partition", **BY_PARTITION), name="ranks")
    assert not differences(one, other, windows=False)
    assert window_totals(one) == window_totals(other)


@pytest.mark.slow
def test_the_quickstart_is_the_same_with_longer_windows_between_regions(
    laboratory: Laboratory, program: Programs, tmp_path: Path
) -> None:
    program("curl")
    file = ROOT / "configs" / "quickstart.yaml"
    # The peers go on after this: how the run ends is not the matter here.
    one = laboratory.run(file, "--stop-time", "13 s", name="one", expect=None)
    plan = make_plan(load_configuration(file))
    hot_count = plan.directory.hot_count
    # Europe, with those who come after it in the order of identities, on the one shard; the others on the other.
    europe = np.flatnonzero(plan.directory.node == 1)
    first = int(europe[europe >= hot_count][0])
    later = np.unique(plan.directory.node[first:])
    hot = np.isin(plan.directory.node[:hot_count], later).astype(int)
    path = tmp_path / "partition.json"
    identities = [first - hot_count, plan.directory.total_count - first]
    write_partition(path, PartitionMap.of(hot.tolist(), identities), plan.directory)
    other = laboratory.run(
        with_experimental(laboratory, file, "partition", **BY_PARTITION),
        *("--stop-time", "13 s", "--shards", "2", "--partition-file", str(path)),
        name="two",
        expect=None,
    )
    assert not differences(one, other, windows=False)
    assert window_totals(one) == window_totals(other)
    assert other.statistics["windows"] < one.statistics["windows"] / 5


def test_windows_cannot_follow_the_partition_and_latencies_in_use(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {"lookahead": "partition", "use_dynamic_runahead": True}
    file = with_experimental(laboratory, BASELINES / "udp-two-hosts.yaml", "both", **keys)
    assert run_command(["check", str(file)]) == 2
    assert "experimental.lookahead" in capsys.readouterr().err
