"""Running one experiment in several ways, and what has to be the same whichever way it was."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tests.system.experiment import ROOT, TIMEOUT_S, Configuration, Laboratory, Run, environment, write

BASELINES = ROOT / "configs" / "baselines"
DIGESTS = BASELINES / "digests.json"
MPIEXEC = Path(sys.executable).parent / "mpiexec"

#: What depends on where one window ends and the next begins.
_BY_WINDOW = frozenset({"windows.log", "metrics/windows.parquet", "windows"})

#: So that tests run as root, and with more ranks than cores.
MPI_ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def mpi_command(
    laboratory: Laboratory,
    ranks: int,
    configuration: Configuration | Path,
    *options: str,
    name: str,
    wrapper: Sequence[str] = (),
) -> list[str]:
    """Return the command line that runs an experiment under MPI; without an MPI, the test is skipped."""
    if not MPIEXEC.exists():
        pytest.skip("there is no mpiexec beside the interpreter")
    return [str(MPIEXEC), "-n", str(ranks), *wrapper, *laboratory.command(configuration, *options, name=name)]


def run_mpi(
    laboratory: Laboratory,
    ranks: int,
    configuration: Configuration | Path,
    *options: str,
    name: str,
    expect: int | None = 0,
) -> Run:
    """Run an experiment with MPI to its end."""
    done = subprocess.run(
        mpi_command(laboratory, ranks, configuration, *options, name=name),
        capture_output=True,
        text=True,
        env=environment(**MPI_ENVIRONMENT),
        cwd=laboratory.folder,
        timeout=TIMEOUT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    run = Run(laboratory.folder / name, done.returncode, done.stdout, done.stderr)
    assert expect is None or run.exit_code == expect, run.story()
    return run


def results(run: Run) -> dict[str, Any]:
    """Return everything that must not depend on the number of shards, nor on what connects them."""
    wanted = ("hot", "processes", "windows", "events_crossed", "bytes_crossed", "simulated_seconds")
    return {
        **{f"hosts/{name}": entry for name, entry in run.files.items()},
        **run.manifest["digests"],
        **{name: run.statistics.get(name) for name in wanted},
        # How much memory it takes to hold the tail is a matter of how it is divided.
        "cold": {
            k: v
            for k, v in (run.statistics.get("cold") or {}).items()
            if k not in ("bytes_per_identity", "event_bytes")
        },
    }


def differences(one: Run, other: Run, *, windows: bool = True) -> list[str]:
    """Name what differs between the results of two runs; if `windows` is false, not how time was cut into windows."""
    first, second = results(one), results(other)
    left_out = frozenset() if windows else _BY_WINDOW
    if not windows and first["hot"]:
        # Programs get the turn at least once in each window in which their host has something to do.
        first["hot"], second["hot"] = ({**run["hot"], "switches": None} for run in (first, second))
    return sorted(name for name in {*first, *second} - left_out if first.get(name) != second.get(name))


def window_totals(run: Run) -> dict[str, int]:
    """Add up what the windows of a run say about its events: the same however time is cut into windows."""
    table = pq.read_table(run.directory / "metrics" / "windows.parquet")
    names = [name for name in table.schema.names if name.startswith(("executed", "crossed", "digest"))]
    return {name: sum(table[name].to_pylist()) % 2**64 for name in names}


def with_experimental(laboratory: Laboratory, file: Path, name: str, **keys: object) -> Path:
    """Write a configuration again, with other keys in its `experimental` section; graph files are found as before."""
    content = yaml.safe_load(file.read_text())
    content["experimental"] = {**content.get("experimental", {}), **keys}
    graph = content["network"]["graph"].get("file")
    if graph is not None:
        graph["path"] = str(file.parent / graph["path"])
    return write(content, laboratory.folder / f"{name}.yaml")


def recorded(run: Run) -> dict[str, str]:
    """Return digests of what does not depend on the machine's programs: outputs, packets, windows.

    Not of strace: which calls an interpreter makes is a matter of its version.
    """
    files = [run.directory / "windows.log", *sorted(run.directory.glob("hosts/*/*.stdout"))]
    files += sorted(run.directory.glob("hosts/*/*.pcap"))
    return {str(path.relative_to(run.directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
