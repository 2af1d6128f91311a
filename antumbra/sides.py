"""The two sides of a shard, hot and cold: what a run needs of each, and how they are built from a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from antumbra.plan import Plan
from bridge.bus import Bus
from bridge.directory import HostDirectory
from bridge.participant import Participant
from bridge.partition import PartitionMap
from bridge.paths import PathTable
from bridge.rundir import RunDirectory
from cold.results import TailResults
from hot.section import ProcessOutcome

if TYPE_CHECKING:
    from cold.division import Division


class HotParticipant(Participant, Protocol):
    """What a run needs of the hot side beyond the window protocol."""

    def process_outcomes(self) -> Sequence[ProcessOutcome]:
        """Return how every configured process stands. Called after the last window, before `close`."""
        ...

    def process_groups(self) -> dict[int, int]:
        """Return the HostId of each real process group that its managed processes form."""
        ...

    def packets(self) -> npt.NDArray[np.int64]:
        """Return rows of (source, destination, packets, bytes): what left its hosts, and came from identities."""
        ...

    def loads(self) -> npt.NDArray[np.int64]:
        """Return rows of (HostId, events executed, system calls)."""
        ...


class ColdParticipant(Participant, Protocol):
    """What a run needs of the cold side beyond the window protocol."""

    def partial_results(self) -> TailResults:
        """Return what became of each message at the identities of this shard."""
        ...

    def events_executed(self) -> int:
        """Return the number of events that its identities have executed."""
        ...


def build_hot(plan: Plan, run_directory: RunDirectory, partition: PartitionMap, shard: int) -> HotParticipant | None:
    """Build the hot side of a shard, or nothing if none of its hosts has managed processes."""
    ids = partition.hosts_of(shard)
    if not ids:
        return None
    # Here, so that a purely cold experiment neither loads nor needs the C engine.
    from hot.shard import HotShard

    general = plan.sections.general
    return HotShard(
        [plan.hosts[number] for number in ids],
        directory=plan.directory,
        paths=plan.paths,
        run_directory=run_directory,
        seed=general.seed,
        general=general,
        experimental=plan.sections.experimental,
        core=shard if partition.shard_count > 1 else None,
    )


def build_tail(plan: Plan, partition: PartitionMap, bus: Bus) -> ColdParticipant | None:
    """Build the cold side of a shard, or nothing if it has no identities. All shards have to call it."""
    section, shard, general = plan.sections.cold, bus.shard, plan.sections.general
    if section is None:
        return None
    # Here, because it loads numba's compiled kernels, which checking a configuration can do without.
    from cold import tail
    from cold.scenario import Scenario

    owned = partition.identities_of(shard)
    directory, paths = _as_the_tail_sees_it(plan)
    division = _division_of(plan, partition, bus)
    scenario = Scenario(section, directory, general.seed, general.stop_time)
    connections = tail.connections_of_shard(scenario, plan.resolutions, division)
    if not owned:
        return None
    return tail.build_tail(
        scenario,
        paths,
        list(plan.resolutions),
        owned=owned,
        cuts=partition.cuts,
        shard=shard,
        connections=connections,
    )


def finish_tail(plan: Plan, partition: PartitionMap, bus: Bus, cold: ColdParticipant | None) -> None:
    """Have shards work out together what their tails tell of in the end. All shards have to call it."""
    if plan.sections.cold is None:
        return
    from cold import tail

    tail.rehearse_together(cold, plan.sections.cold, plan.resolutions, _division_of(plan, partition, bus))


def _division_of(plan: Plan, partition: PartitionMap, bus: Bus) -> Division:
    from cold.division import Division

    hot, count = plan.directory.hot_count, plan.directory.total_count
    return Division.of(partition.cuts, bus.shard, hot, count - hot, bus)


def _as_the_tail_sees_it(plan: Plan) -> tuple[HostDirectory, PathTable]:
    """Return the paths from the places of identities to all others as a table, and the directory with its numbers."""
    directory = plan.directory
    rows = np.unique(directory.node[directory.hot_count :])
    table = plan.paths.table(rows)
    number_of = np.empty(len(table.node_ids), dtype=np.int32)
    number_of[plan.paths.columns(rows)] = np.arange(len(table.node_ids))
    node = number_of[directory.node]
    # As all columns of a directory: kernels are compiled for what may be written, and for what may not.
    node.flags.writeable = False
    return replace(directory, node=node), table
