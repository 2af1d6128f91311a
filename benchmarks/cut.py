"""What the cut between two shards costs, and what windows that follow the partition save.

    python benchmarks/cut.py [--repeats N]

Runs configs/examples/gossip-cut.yaml, without captures and logs of calls and with more messages, on one shard (the
raw baseline) and on two, at cuts of 0, 50 and 100 %; and at 0 % with `experimental.lookahead: partition`. Inside its
regions the graph has edges of 2 ms, between them of 60 ms: a window of 2 ms, or one of 60 ms with windows of 2 ms
inside. Shown are medians: wall-clock time of the window loop, CPU time of all processes (programs included),
windows, the time that shards waited for each other, and that per window.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

EXAMPLE = Path(__file__).parents[1] / "configs" / "examples" / "gossip-cut.yaml"
#: Many windows with something in them: heartbeats of 24 peers at times of their own, and 8 publishers.
PUBLISH = "--publish 1,4,0.05,600,1000"


def configuration(folder: Path, lookahead: str) -> Path:
    """Write the example as it is measured."""
    text = EXAMPLE.read_text().replace("--publish 1,4,0.5,20,1000", PUBLISH).replace("--run-for 20", "--run-for 40")
    content = yaml.safe_load(text)
    content["general"]["stop_time"] = "45 s"
    content["host_option_defaults"]["pcap_enabled"] = False
    content["experimental"] = {"lookahead": lookahead}
    path = folder / f"{lookahead}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def measure(file: Path, folder: Path, shards: int, cut: int) -> tuple[float, float, int, float, float]:
    """Run once; return seconds of the loop, seconds of CPU, windows, seconds waited, and the share that crossed."""
    command = [
        sys.executable,
        "-c",
        "from antumbra.cli import main; main()",
        "run",
        str(file),
        "-d",
        str(folder / "run"),
    ]
    if shards > 1:
        partition = EXAMPLE.with_suffix("") / f"{shards}-shards-{cut}.json"
        command += ["--shards", str(shards), "--partition-file", str(partition)]
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    told = json.loads((folder / "run" / "sim-stats.json").read_text())
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    wall = max(shard["wall_seconds"] for shard in told["shards"])
    idle = sum(shard["barrier_idle_seconds"] for shard in told["shards"]) / shards
    crossed = sum(map(sum, told["cut"]["events"])) / told["hot"]["packets_sent"]
    return wall, cpu, told["windows"], idle, crossed


def main(repeats: Annotated[int, typer.Option(min=1)] = 5) -> None:
    """Print the table."""
    table = Table("shards", "cut", "lookahead", "loop s", "CPU s", "windows", "waited s", "µs waited a window")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {lookahead: configuration(folder, lookahead) for lookahead in ("global", "partition")}
        for shards, cut, lookahead in (
            (1, 0, "global"),
            (2, 0, "global"),
            (2, 50, "global"),
            (2, 100, "global"),
            (2, 0, "partition"),
        ):
            runs = [measure(files[lookahead], folder, shards, cut) for _ in range(repeats)]
            wall, cpu, windows, idle, crossed = (statistics.median(column) for column in zip(*runs, strict=True))
            numbers = f"{wall:.2f}", f"{cpu:.2f}", f"{windows:.0f}", f"{idle:.2f}", f"{1e6 * idle / windows:.0f}"
            table.add_row(str(shards), f"{100 * crossed:.0f} %", lookahead, *numbers)
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(main)
