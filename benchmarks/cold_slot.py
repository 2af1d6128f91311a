"""What churn and requests cost in one slot of a network, beside the slot's 12 s, and the run of the same slot without.

    python benchmarks/cold_slot.py [--identities 100000] [--shards 1] [--lookahead partition] [--cases plain churn ...]

The slot is that of configs/studies/slot-1m.yaml. With *churn*, 40 % of its identities come and go with the preset
`mainnet`; with *requests*, all ask what those of configs/studies/requests-100k.yaml ask, but for ranges of blocks; with
*sampled* requests, 4,096 ask in the place of all. Shards meet after the smallest latency between them, or after that of
all (*global*). Every case is a run of `antumbra run` of its own. The loop is the wall-clock time of its windows, which
includes neither building the tail and executing what coarse topics follow, nor writing the tables; *in all* is the
wall-clock time, and *CPU* the CPU time, of all of it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

STUDIES = Path(__file__).parent.parent / "configs" / "studies"
CASES = ("plain", "churn", "requests", "sampled-requests", "both", "both-sampled")
#: Of the identities that come and go.
_CHURNING = 0.4
_REPRESENTATIVES = 4096


def configuration(case: str, identities: int) -> dict[str, Any]:
    """Return the configuration of a case."""
    slot: dict[str, Any] = yaml.safe_load((STUDIES / "slot-1m.yaml").read_text())
    graph = slot["network"]["graph"]["file"]
    graph["path"] = str((STUDIES / graph["path"]).resolve())
    nodes = slot["cold"]["populations"].pop("nodes")
    churning = round(identities * _CHURNING) if case in ("churn", "both", "both-sampled") else 0
    slot["cold"]["populations"]["steady"] = {**nodes, "count": identities - churning}
    if churning:
        slot["cold"]["populations"]["churning"] = {**nodes, "count": churning, "churn": "mainnet"}
    if case not in ("plain", "churn"):
        asked = yaml.safe_load((STUDIES / "requests-100k.yaml").read_text())["cold"]["requests"]
        slot["cold"]["requests"] = [request for request in asked if request["name"] != "blocks_by_range"]
    if case in ("sampled-requests", "both-sampled"):
        for request in slot["cold"]["requests"]:
            request["resolution"] = {"level": "sampled", "representatives": _REPRESENTATIVES}
    return slot


def measure(case: str, identities: int, shards: int, lookahead: str, directory: Path) -> dict[str, Any]:
    """Run a case; returns its statistics, with the wall-clock time and the CPU time of its processes [s]."""
    file = directory / f"{case}.yaml"
    content = configuration(case, identities)
    content["experimental"]["lookahead"] = lookahead
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    program = "from antumbra.cli import main; main()"
    command = [sys.executable, "-c", program, "run", str(file), "-d", str(directory / case)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*command, "--shards", str(shards)], check=True, stdout=subprocess.DEVNULL)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    statistics: dict[str, Any] = json.loads((directory / case / "sim-stats.json").read_text())
    statistics["in_all_s"] = ended - started
    statistics["cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return statistics


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--lookahead", choices=("partition", "global"), default="partition")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    arguments = parser.parse_args()
    print(f"{arguments.identities:,} identities, {arguments.shards} shards, load {os.getloadavg()[0]:.1f}")
    print(
        f"{'case':18}{'windows':>8}{'loop s':>8}{'of 12 s':>9}{'in all s':>10}{'CPU s':>8}{'events':>14}"
        f"{'bytes an identity':>19}{'peak MiB':>10}"
    )
    for case in arguments.cases:
        with tempfile.TemporaryDirectory() as directory:
            told = measure(case, arguments.identities, arguments.shards, arguments.lookahead, Path(directory))
        loop, cold = told["wall_seconds"], told["participants"]["cold"]
        print(
            f"{case:18}{told['windows']:8,}{loop:8.1f}{loop / told['simulated_seconds']:9.2f}{told['in_all_s']:10.1f}"
            f"{told['cpu_s']:8.1f}{cold['events_executed']:14,}{told['cold']['bytes_per_identity']:19,.0f}"
            f"{told['peak_memory_bytes'] / 2**20:10,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
