"""Shards: how many, who owns what, how they are connected, and how what they wrote becomes one run.

A run with N shards is N processes of this program: forked here (`--shards N`), or started by MPI.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from antumbra.plan import Plan
from antumbra.resources import HOT_HOST_BYTES, PROCESS_BYTES
from bridge.bus import Bus, InProcessBus
from bridge.errors import UserError
from bridge.local_bus import fork_shards
from bridge.metrics import concatenate_tables, merge_window_tables
from bridge.mpi_bus import MpiBus, world_size
from bridge.partition import PartitionMap, read_partition
from bridge.partitioner import Demand, community_partition, contiguous_partition
from bridge.proximity import order_by_proximity
from bridge.rundir import HOSTS, METRICS, PROCESSES, USAGE, RunDirectory, disk_errors_reported
from bridge.simtime import NS_PER_S
from bridge.traffic import Groups, Hints, merge_traffic_tables, read_hints
from bridge.traffic_partition import traffic_partition
from bridge.window_log import write_window_log
from cold.memory import estimate_memory as estimate_cold_memory
from cold.results import TailResults, merge, merge_statistics
from hot.section import FinalState, ProcessOutcome

#: What a cold identity computes in proportion to a small managed process, as measured with the quickstart.
_IDENTITY_LOAD: Final = 0.01
#: Rough costs, as measured with the quickstart: hot events with the programs' own work, system calls, cold events [ns].
_EVENT_NS: Final = 10_000
_CALL_NS: Final = 1_000
_IDENTITY_EVENT_NS: Final = 200

_ADDED_UP: Final = ("events_crossed", "bytes_crossed", "peak_memory_bytes")
_OF_EACH_SHARD: Final = (
    "barrier_idle_fraction",
    "barrier_idle_seconds",
    "decode_wall_seconds",
    "deliver_wall_seconds",
    "encode_wall_seconds",
    "exchange_wall_seconds",
    "participants",
    "peak_memory_bytes",
    "wall_seconds",
)


@dataclass(frozen=True)
class ShardResult:
    """What one shard has to tell at the end of a run."""

    shard: int
    statistics: dict[str, Any]
    outcomes: tuple[ProcessOutcome, ...]
    messages: TailResults | None


def decide_shard_count(plan: Plan, asked: int | None) -> tuple[int, bool]:
    """Return the number of shards, and whether they are the ranks of an MPI world.

    Parameters
    ----------
    plan
        Its `distributed` section counts where nothing else is said.
    asked
        The number that the command line asks for.

    Raises
    ------
    UserError
        An MPI launcher has started another number of processes.
    """
    section = plan.sections.distributed
    configured = section.num_shards if section.enabled else None
    wanted = asked if asked is not None else configured
    ranks = world_size()
    if ranks == 1:
        return wanted or 1, False
    if wanted not in (None, ranks):
        source = "--shards" if asked is not None else "distributed.num_shards"
        raise UserError(
            f"mpiexec has started {ranks} ranks, and {source} is {wanted}",
            hint=f"one rank is one shard: mpiexec -n {wanted}",
        )
    return ranks, True


def demand_of_hosts(plan: Plan, hints: Hints | None = None) -> Demand:
    """Estimate what each host takes of a shard.

    Parameters
    ----------
    plan
        A hot host's load is the number of its processes, and one for itself.
    hints
        What an earlier run has measured counts instead, where it knows hot hosts or identities. Hot hosts that it
        does not know are as busy as the others on average.
    """
    processes = np.array([len(host.processes) for host in plan.hosts], dtype=np.float64)
    cold = plan.sections.cold
    load, identity_load = 1.0 + processes, _IDENTITY_LOAD
    if hints is not None and hints.loads:
        measured = {host: _EVENT_NS * events + _CALL_NS * calls for host, (events, calls) in hints.loads.items()}
        mean = sum(measured.values()) / len(measured)
        load = np.array([measured.get(host, mean) for host in range(plan.directory.hot_count)])
        identity_load *= mean / float(np.mean(1.0 + processes))
    if hints is not None and hints.cold_events is not None and cold is not None:
        identity_load = _IDENTITY_EVENT_NS * hints.cold_events / cold.identity_count
    return Demand.of(
        plan.directory,
        load=load,
        memory=HOT_HOST_BYTES + PROCESS_BYTES * processes,
        identity_load=identity_load,
        identity_memory=estimate_cold_memory(cold) / cold.identity_count if cold else 0.0,
    )


def partition_of(plan: Plan, shards: int) -> PartitionMap:
    """Return the partition to run with: that of `distributed.partition_file`, or one that is made here.

    Where windows follow the partition, one that keeps near hosts together.
    """
    file = plan.sections.distributed.partition_file
    if file is None:
        if plan.sections.experimental.lookahead == "partition":
            return propose_partition(plan, shards)
        return contiguous_partition(plan.directory, shards, demand_of_hosts(plan))
    path = Path(file)
    if not path.exists() and (plan.configuration.folder / path).exists():
        path = plan.configuration.folder / path
    return read_partition(path, plan.directory, shards)


def propose_partition(plan: Plan, shards: int, traffic: Path | None = None) -> PartitionMap:
    """Make a partition that keeps hosts together that are close to each other, or that talk with each other.

    Parameters
    ----------
    plan
        The experiment.
    shards
        The number of shards.
    traffic
        ``metrics/traffic.parquet`` of an earlier run; without it, distances have to do.

    Raises
    ------
    TrafficError
        The file is no table of traffic, or has none of the hosts of the experiment.
    """
    order = order_by_proximity(plan.graph)
    place = (plan.directory, plan.paths.node_ids, order, shards)
    if traffic is None:
        return community_partition(*place, demand_of_hosts(plan))
    hints = read_hints(traffic, Groups.of(plan.directory, plan.paths.node_ids))
    return traffic_partition(*place, demand_of_hosts(plan, hints), hints)


def connect(plan: Plan, shards: int, mpi: bool) -> Bus:
    """Start what has to be started, and return this process's end of the bus.

    With shards of one machine this returns once in each of their processes; see `fork_shards`.
    """
    patience_s = plan.sections.distributed.peer_timeout / NS_PER_S
    if mpi:
        section = plan.sections.distributed
        bus = MpiBus(patience_s=patience_s, start_patience_s=section.start_timeout / NS_PER_S)
        if bus.shard_count != shards:
            raise UserError(
                f"MPI connects {bus.shard_count} ranks, and its launcher has announced {shards}",
                hint="use the mpiexec of the MPI that mpi4py is built for",
            )
        return bus
    return fork_shards(shards, patience_s=patience_s) if shards > 1 else InProcessBus()


def copy_template(
    template: str | None, target: Path, *, without: Iterable[str] = (), only: Iterable[str] | None = None
) -> None:
    """Copy Shadow's template directory into a run's directory.

    Parameters
    ----------
    template
        `general.template_directory`.
    target
        The run's directory, or that of a shard.
    without
        Hosts whose directories are left out.
    only
        Copy nothing but the directories of these hosts.
    """
    if template is None:
        return
    source = Path(template).expanduser()
    if not source.is_dir():
        raise UserError(f"there is no folder {source}", where="general.template_directory")
    left_out = frozenset(without)
    hosts = source / HOSTS

    def ignored(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if name in left_out] if Path(folder) == hosts else []

    copies = [(source, target)] if only is None else [(hosts / name, target / HOSTS / name) for name in only]
    with disk_errors_reported(target):
        try:
            for origin, copy in copies:
                if origin.is_dir():
                    shutil.copytree(origin, copy, symlinks=True, dirs_exist_ok=True, ignore=ignored)
        except shutil.Error as error:
            raise UserError(str(error.args[0][0][2]), where="general.template_directory") from None


def gather(bus: Bus, own: ShardResult) -> list[ShardResult]:
    """Return what all shards have to tell, by shard. All have written everything once this returns."""
    told = {
        "statistics": own.statistics,
        "outcomes": [asdict(outcome) for outcome in own.outcomes],
    }
    texts = bus.share(json.dumps(told).encode())
    parts = bus.share(b"" if own.messages is None else own.messages.encode())
    return [
        ShardResult(
            shard,
            content["statistics"],
            tuple(map(_outcome, content["outcomes"])),
            TailResults.decode(part) if part else None,
        )
        for shard, (content, part) in enumerate(zip(map(json.loads, texts), parts, strict=True))
    ]


def merge_results(results: Sequence[ShardResult], hostnames: Sequence[str]) -> ShardResult:
    """Make the whole run's result of those of its shards.

    Parameters
    ----------
    results
        By shard.
    hostnames
        By HostId: processes are listed by host.
    """
    order = {name: number for number, name in enumerate(hostnames)}
    outcomes = sorted(
        (outcome for result in results for outcome in result.outcomes), key=lambda outcome: order[outcome.host]
    )
    processes = [entry for result in results for entry in result.statistics["processes"]]
    processes.sort(key=lambda entry: order[entry["host"]])
    statistics = dict(results[0].statistics)
    for name in _ADDED_UP:
        statistics[name] = sum(result.statistics[name] for result in results)
    parts = [result.messages for result in results if result.messages is not None]
    messages = merge(parts) if parts else None
    statistics["participants"] = {
        name: _added_up([result.statistics["participants"][name] for result in results])
        for name in statistics["participants"]
    }
    for name in statistics["participants"]:
        described = [result.statistics[name] for result in results if result.statistics[name]]
        if name == "cold" and messages is not None:
            statistics[name] = merge_statistics(described, len(messages.spread))
        else:
            statistics[name] = _added_up(described)
    idle = [result.statistics["barrier_idle_fraction"] for result in results]
    statistics |= {
        "processes": processes,
        "barrier_idle_fraction": sum(idle) / len(idle),
        "cut": {what: [result.statistics["cut"][what] for result in results] for what in ("events", "bytes")},
        "shards": [
            {"shard": result.shard, **{name: result.statistics[name] for name in _OF_EACH_SHARD}} for result in results
        ],
    }
    return ShardResult(0, statistics, tuple(outcomes), messages)


def merge_directories(directory: RunDirectory, participants: Sequence[str], shards: int) -> None:
    """Make one run's directory of those of its shards, which have ended.

    Parameters
    ----------
    directory
        The run's directory.
    participants
        Names of the participants.
    shards
        Number of shards.
    """
    folders = [directory.shard_directory(shard) for shard in range(shards)]
    rows = merge_window_tables(directory, [folder / METRICS for folder in folders])
    write_window_log(directory, participants, map(np.ndarray.tolist, rows))
    merge_traffic_tables(directory, [folder / METRICS for folder in folders])
    for name in (USAGE, PROCESSES):
        concatenate_tables(directory, [folder / METRICS for folder in folders], name)
    for folder in folders:
        directory.take_hosts(folder)


def _added_up(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the counters of shards; what only one shard has is taken as it is."""
    if len(parts) == 1:
        return dict(parts[0])
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))


def _outcome(told: Mapping[str, Any]) -> ProcessOutcome:
    states = {name: FinalState(**told[name]) for name in ("expected", "actual")}
    return ProcessOutcome(told["host"], told["program"], told["pid"], **states)
