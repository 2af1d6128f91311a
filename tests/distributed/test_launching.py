"""What is checked before several shards start, and the command that divides an experiment among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from antumbra.cli import run_command
from tests.distributed.shards import BASELINES
from tests.system.experiment import experiment, host, python, write

CONFIGURATION = str(BASELINES / "tcp-three-hosts-loss.yaml")


def test_partition_writes_what_run_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "partition.json"
    assert run_command(["partition", CONFIGURATION, "-n", "2", "-o", str(path)]) == 0
    assert run_command(["partition", CONFIGURATION, "-n", "2"]) == 0
    assert capsys.readouterr().out == path.read_text()
    owners = json.loads(path.read_text())["hosts"]
    # The two that are 20 ms from each other stay together; the third is 35 ms away.
    assert owners["server"] == owners["client1"] != owners["client2"]
    arguments = ["run", CONFIGURATION, "--shards", "2", "--partition-file", str(path), "-d", str(tmp_path / "run")]
    assert run_command(arguments) == 0
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["partition"]["hosts"] == owners


def test_what_one_run_measured_guides_the_partition_of_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Four hosts at each of two places that are far from each other; two teams, each with two hosts at both.
    teams = [["a1", "a2", "b1", "b2"], ["a3", "a4", "b3", "b4"]]
    talk = "import socket, sys; s = socket.socket(type=socket.SOCK_DGRAM)\n"
    talk += "for name in sys.argv[1:] * 5: s.sendto(b'x', (name, 5000))"
    graph = """graph [
        node [ id 0 host_bandwidth_up "1 Gbit" host_bandwidth_down "1 Gbit" ]
        node [ id 1 host_bandwidth_up "1 Gbit" host_bandwidth_down "1 Gbit" ]
        edge [ source 0 target 0 latency "1 ms" ]
        edge [ source 1 target 1 latency "1 ms" ]
        edge [ source 0 target 1 latency "90 ms" ]
    ]"""
    hosts = {name: host(python(talk, *team), node="ab".index(name[0])) for team in teams for name in team}
    configuration = experiment(hosts, network={"graph": {"type": "gml", "inline": graph}})
    file = str(write(configuration, tmp_path / "experiment.yaml"))
    assert run_command(["run", file, "-d", str(tmp_path / "first")]) == 0
    hints = str(tmp_path / "first" / "metrics" / "traffic.parquet")
    together = {}
    for label, options in (("distance", []), ("traffic", ["--traffic", hints])):
        path = tmp_path / f"{label}.json"
        assert run_command(["partition", file, "-n", "2", *options, "-o", str(path)]) == 0
        owners = json.loads(path.read_text())["hosts"]
        together[label] = [[name for name in owners if owners[name] == shard] for shard in range(2)]
    assert together["distance"] == [["a1", "a2", "a3", "a4"], ["b1", "b2", "b3", "b4"]]
    assert sorted(together["traffic"]) == teams
    capsys.readouterr()
    assert run_command(["partition", file, "-n", "2", "--traffic", file]) == 2
    assert "not a Parquet file" in capsys.readouterr().err


def test_a_partition_for_another_number_of_shards_stops_the_run_before_it_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "partition.json"
    assert run_command(["partition", CONFIGURATION, "-n", "2", "-o", str(path)]) == 0
    arguments = ["run", CONFIGURATION, "--shards", "3", "--partition-file", str(path), "-d", str(tmp_path / "run")]
    assert run_command(arguments) == 2
    assert "it is for 2 shards, and the run has 3" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_ranks_and_shards_must_be_as_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    assert run_command(["run", CONFIGURATION, "--shards", "2", "-d", str(tmp_path / "run")]) == 2
    assert "mpiexec has started 4 ranks, and --shards is 2" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_directory_in_use_is_said_once_and_ends_all_shards(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("x")
    assert run_command(["run", CONFIGURATION, "--shards", "2", "-d", str(tmp_path / "run")]) == 2
    errors = capfd.readouterr().err
    assert errors.count("error: ") == 1
    assert "Traceback" not in errors
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["thesis.tex"]
