"""One experiment gives the same bytes on 1, 2 or 4 shards, forked or under MPI, again and again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyarrow import parquet

from antumbra import load_configuration, make_plan
from bridge.partition import PartitionMap, write_partition
from tests.distributed.shards import BASELINES, DIGESTS, differences, recorded, results, run_mpi
from tests.system.experiment import ROOT, Laboratory, Programs

NAMES = sorted(path.stem for path in BASELINES.glob("*.yaml"))
#: Starting ranks takes far longer than the runs: four of them only where most crosses.
WITH_FOUR_RANKS = {"tcp-three-hosts-loss", "udp-three-hosts-loss"}


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_is_the_same_on_any_number_of_shards(laboratory: Laboratory, name: str) -> None:
    file = BASELINES / f"{name}.yaml"
    one = laboratory.run(file, name="one")
    assert {path.rpartition(".")[2] for path in one.files} >= {"stdout", "strace", "pcap"}
    for label, shards in (("again", 1), ("two", 2), ("two-again", 2), ("four", 4)):
        other = laboratory.run(file, "--shards", str(shards), name=label)
        assert not differences(one, other)
        cut = other.statistics["cut"]["events"]
        assert (sum(map(sum, cut)) > 0) == (shards > 1)
    assert recorded(one) == json.loads(DIGESTS.read_text())[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_is_the_same_under_mpi(laboratory: Laboratory, name: str) -> None:
    file = BASELINES / f"{name}.yaml"
    one = laboratory.run(file, name="one")
    for ranks in (2, 4) if name in WITH_FOUR_RANKS else (2,):
        assert not differences(one, run_mpi(laboratory, ranks, file, name=f"mpi{ranks}"))


def test_fingerprints_of_batches_are_those_that_the_engine_computes(laboratory: Laboratory) -> None:
    """Where every packet goes to the other shard, both have seen each: the engine one by one, the bus in batches."""
    run = laboratory.run(BASELINES / "tcp-two-hosts.yaml", "--shards", "2")
    tables = {name: parquet.read_table(run.directory / "metrics" / f"{name}.parquet") for name in ("windows", "shards")}
    sums = {
        (name, column): sum(tables[name][column].to_pylist()) % 2**64
        for name, column in (("windows", "digest"), ("shards", "sent_digest"), ("shards", "received_digest"))
    }
    assert len(set(sums.values())) == 1
    assert sums["windows", "digest"] != 0


def test_another_seed_gives_other_results_on_any_number_of_shards(laboratory: Laboratory) -> None:
    file = BASELINES / "udp-three-hosts-loss.yaml"
    runs = [laboratory.run(file, "--seed", str(seed), "--shards", "2", name=f"seed{seed}") for seed in (1, 2)]
    assert differences(*runs)


def test_the_merged_directory_is_that_of_one_shard(laboratory: Laboratory) -> None:
    file = BASELINES / "tcp-two-hosts.yaml"
    one, two = (laboratory.run(file, "--shards", shards, name=f"shards{shards}") for shards in ("1", "2"))
    names = [{path.name for path in run.directory.iterdir()} for run in (one, two)]
    assert names[1] - names[0] == {"shard-0", "shard-1"}
    assert not names[0] - names[1]
    assert {path.name for path in (one.directory / "metrics").iterdir()} == {
        path.name for path in (two.directory / "metrics").iterdir()
    }
    assert two.manifest["partition"]["hosts"] == {"client": 0, "server": 1}
    assert [shard["shard"] for shard in two.statistics["shards"]] == [0, 1]
    for name, whole in two.statistics["participants"].items():
        parts = [shard["participants"][name] for shard in two.statistics["shards"]]
        assert sum(part["events_executed"] for part in parts) == whole["events_executed"]
    # A second run in the same place replaces all of it.
    again = laboratory.run(file, name="shards2")
    assert results(again) == results(one)
    assert not list(again.directory.glob("shard-*"))


def test_any_partition_gives_the_same_results(laboratory: Laboratory) -> None:
    file = BASELINES / "tcp-three-hosts-loss.yaml"
    one = laboratory.run(file, name="one")
    for label, owners in (("together", (1, 1, 1)), ("apart", (2, 0, 1)), ("mixed", (0, 1, 0))):
        shards = max(owners) + 1
        content = {
            "format": "antumbra-partition",
            "version": 2,
            "shards": shards,
            "hosts": dict(zip(("client1", "client2", "server"), owners, strict=True)),
        }
        path = laboratory.folder / f"{label}.json"
        path.write_text(json.dumps(content))
        other = laboratory.run(file, "--shards", str(shards), "--partition-file", str(path), name=label)
        assert not differences(one, other)


def test_a_template_directory_reaches_the_hosts_of_every_shard(laboratory: Laboratory) -> None:
    template = laboratory.folder / "template"
    for name in ("client", "server", "nobody"):
        (template / "hosts" / name).mkdir(parents=True)
        (template / "hosts" / name / "given.txt").write_text(f"for {name}\n")
    (template / "note.txt").write_text("kept\n")
    text = (BASELINES / "udp-two-hosts.yaml").read_text()
    file = laboratory.folder / "templated.yaml"
    file.write_text(text.replace("general:\n", f"general:\n  template_directory: {template}\n"))
    one, two = (laboratory.run(file, "--shards", shards, name=f"shards{shards}") for shards in ("1", "2"))
    assert not differences(one, two)
    assert (two.directory / "hosts" / "server" / "given.txt").read_text() == "for server\n"
    assert (two.directory / "note.txt").read_text() == "kept\n"


@pytest.mark.slow
def test_the_quickstart_is_the_same_however_hot_and_cold_are_divided(
    laboratory: Laboratory, program: Programs, tmp_path: Path
) -> None:
    program("curl")
    file = ROOT / "configs" / "quickstart.yaml"
    plan = make_plan(load_configuration(file))
    # The peers go on after this: how the run ends is not the matter here.
    until = ("--stop-time", "13 s")
    one = laboratory.run(file, *until, name="one", expect=None)
    assert one.statistics["events_crossed"] > 300
    odd = tmp_path / "odd.json"
    hot = [number % 3 for number in range(plan.directory.hot_count)]
    write_partition(odd, PartitionMap.of(hot, [33_333, 0, 66_667]), plan.directory)
    runs = [
        laboratory.run(file, *until, "--shards", "3", "--partition-file", str(odd), name="odd", expect=None),
        laboratory.run(file, *until, "--shards", "2", name="two", expect=None),
        laboratory.run(file, *until, "--shards", "4", name="four", expect=None),
        run_mpi(laboratory, 2, file, *until, name="ranks", expect=None),
    ]
    for other in runs:
        assert one.exit_code == other.exit_code, other.story()
        assert not differences(one, other)
