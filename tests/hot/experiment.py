"""Experiments of a few hosts, built without a configuration file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bridge.bus import InProcessBus
from bridge.directory import ColdPlacement, HostDirectory, HotPlacement, build_directory
from bridge.graph import parse_gml
from bridge.paths import Paths
from bridge.rundir import RunDirectory
from bridge.section import GeneralSection
from bridge.simtime import NS_PER_S
from bridge.window import Runahead, WindowLoop
from hot.section import ExperimentalSection, FinalState, HostPlan, ProcessPlan
from hot.shard import HotShard

GRAPH = """
graph [
  node [ id 0 host_bandwidth_up "10 Mbit" host_bandwidth_down "10 Mbit" ]
  node [ id 1 host_bandwidth_up "10 Mbit" host_bandwidth_down "10 Mbit" ]
  edge [ source 0 target 1 latency "50 ms" ]
  edge [ source 0 target 0 latency "1 ms" ]
  edge [ source 1 target 1 latency "1 ms" ]
]
"""


def process(program: str | Path, *arguments: str, start: float = 0, **options: Any) -> ProcessPlan:
    """Plan a process; `program` is an absolute path."""
    stop = options.get("shutdown")
    return ProcessPlan(
        executable=Path(program),
        arguments=(str(program), *arguments),
        environment=tuple(options.get("environment", {}).items()),
        start_time_ns=int(start * NS_PER_S),
        shutdown_time_ns=None if stop is None else int(stop * NS_PER_S),
        shutdown_signal=15,
        expected_final_state=FinalState("exited", 0),
    )


class Experiment:
    """Hosts a, b, ... on nodes 0, 1, 0, ..., and cold identities on node 0; run once."""

    def __init__(self, directory: Path, hosts: Sequence[Sequence[ProcessPlan]], *, stop: float, **options: Any) -> None:
        names = "abcdefgh"[: len(hosts)]
        identities = options.pop("identities", 0)
        graph = parse_gml(options.pop("graph", GRAPH))
        self.directory: HostDirectory = build_directory(
            [HotPlacement(name, i % 2, 10_000_000, 10_000_000) for i, name in enumerate(names)],
            [ColdPlacement("tail", identities, ((0, 1.0),))] if identities else [],
            [(10_000_000, 10_000_000)],
        )
        self.paths = Paths(graph, [0, 1])
        self.path = directory
        self.stop_ns = int(stop * NS_PER_S)
        self.run_directory = RunDirectory(directory)
        capture = options.pop("pcap", False)
        general = GeneralSection.model_validate({"stop_time": f"{self.stop_ns} ns", "seed": options.pop("seed", 1)})
        self.shard = HotShard(
            [
                HostPlan(i, name, tuple(hosts[i]), None, capture, 65535)
                for i, name in enumerate(self.directory.hostnames)
            ],
            directory=self.directory,
            paths=self.paths,
            run_directory=self.run_directory,
            seed=general.seed,
            general=general,
            experimental=ExperimentalSection(**options),
        )

    def run(self) -> None:
        """Run to the end and leave the shard open."""
        runahead = Runahead(self.paths.min_latency_ns)
        WindowLoop(
            [self.shard],
            lambda ids: ids * 0,
            InProcessBus(),
            runahead=runahead,
            stop_time_ns=self.stop_ns,
        ).run()

    def output(self, host: str, stream: str = "stdout") -> str:
        """Return what all processes of a host wrote, in order of their pids."""
        files = sorted((self.path / "hosts" / host).glob(f"*.{stream}"), key=lambda p: int(p.suffixes[-2][1:]))
        return "".join(file.read_text() for file in files)

    def states(self) -> list[str]:
        """Return the state of each process."""
        return [str(outcome.actual) for outcome in self.shard.process_outcomes()]

    def close(self) -> None:
        """End everything."""
        self.shard.close()
        self.run_directory.close()
