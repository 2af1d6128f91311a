"""Running one experiment in several ways, and what has to be the same whichever way it was."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.experiment import ROOT, TIMEOUT_S, Configuration, Laboratory, Run, environment

BASELINES = ROOT / "configs" / "baselines"
DIGESTS = BASELINES / "digests.json"
MPIEXEC = Path(sys.executable).parent / "mpiexec"

#: So that tests run as root, and with more ranks than cores.
MPI_ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def mpi_command(
    laboratory: Laboratory, ranks: int, configuration: Configuration | Path, *options: str, name: str
) -> list[str]:
    """Return the command line that runs an experiment under MPI; without an MPI, the test is skipped."""
    if not MPIEXEC.exists():
        pytest.skip("there is no mpiexec beside the interpreter")
    return [str(MPIEXEC), "-n", str(ranks), *laboratory.command(configuration, *options, name=name)]


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
        "cold": run.statistics.get("cold"),
    }


def differences(one: Run, other: Run) -> list[str]:
    """Name what differs between the results of two runs."""
    first, second = results(one), results(other)
    return sorted(name for name in {*first, *second} if first.get(name) != second.get(name))


def recorded(run: Run) -> dict[str, str]:
    """Return digests of what does not depend on the machine's programs: outputs, packets, windows.

    Not of strace: which calls an interpreter makes is a matter of its version.
    """
    files = [run.directory / "windows.log", *sorted(run.directory.glob("hosts/*/*.stdout"))]
    files += sorted(run.directory.glob("hosts/*/*.pcap"))
    return {str(path.relative_to(run.directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
