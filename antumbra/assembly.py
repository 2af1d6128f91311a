"""From a plan to a run: builds the shard, runs the window loop, and leaves a whole run directory.

Whatever happens on the way (a failing participant, a full disk, Ctrl-C), every participant is closed, and the
directory says how the run ended.
"""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from types import FrameType
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from antumbra.configuration import Configuration
from antumbra.doctor import required_features_missing
from antumbra.plan import Plan, make_plan
from antumbra.resources import raise_descriptor_limit
from bridge.bus import InProcessBus
from bridge.errors import UserError
from bridge.metrics import WindowMetrics, write_table
from bridge.participant import Participant
from bridge.rundir import RunDirectory, disk_errors_reported
from bridge.window import LoopResult, Runahead, WindowLoop, WindowRecord
from bridge.window_log import WindowLog
from hot.section import ProcessOutcome

MessageTable = npt.NDArray[np.void]


class HotParticipant(Participant, Protocol):
    """What the assembly needs of the hot side beyond the window protocol."""

    def process_outcomes(self) -> Sequence[ProcessOutcome]:
        """Return how every configured process stands. Called after the last window, before `close`."""
        ...


class ColdParticipant(Participant, Protocol):
    """What the assembly needs of the cold side beyond the window protocol."""

    def message_table(self) -> MessageTable:
        """Return a structured array: a row for each message that the tail knows."""
        ...


@dataclass(frozen=True)
class RunResult:
    """A run that reached its end, or was interrupted.

    Attributes
    ----------
    plan : Plan
    directory : pathlib.Path
        The run's directory.
    loop : LoopResult
        Windows, simulated time and wall-clock time.
    statistics : dict
        What `sim-stats.json` holds.
    outcomes : tuple of ProcessOutcome
        By HostId, then in the order of the configuration.
    messages : structured ndarray or None
        What the cold tail knows of each message; None without a tail.
    """

    plan: Plan
    directory: Path
    loop: LoopResult
    statistics: dict[str, object]
    outcomes: tuple[ProcessOutcome, ...]
    messages: MessageTable | None

    @property
    def failures(self) -> tuple[ProcessOutcome, ...]:
        """Return the processes that ended otherwise than expected; an interrupted run expects nothing."""
        if self.loop.interrupted:
            return ()
        return tuple(outcome for outcome in self.outcomes if not outcome.as_expected)

    @property
    def exit_code(self) -> int:
        """Return 0 if the experiment went as it should, 1 if it failed or was interrupted."""
        return 1 if self.loop.interrupted or self.failures else 0


def build_hot(plan: Plan, run_directory: RunDirectory) -> HotParticipant | None:
    """Build the hot side, or nothing if no host has managed processes."""
    if not plan.hosts:
        return None
    # Here, so that a purely cold experiment neither loads nor needs the C engine.
    from hot.shard import HotShard

    general = plan.sections.general
    return HotShard(
        plan.hosts,
        directory=plan.directory,
        paths=plan.paths,
        run_directory=run_directory,
        seed=general.seed,
        general=general,
        experimental=plan.sections.experimental,
    )


def build_cold(plan: Plan) -> ColdParticipant | None:
    """Build the cold side, or nothing if the configuration has no tail."""
    if plan.sections.cold is None:
        return None
    # Here, because it loads numba's compiled kernels, which checking a configuration can do without.
    from cold.engine import ColdEngine

    general = plan.sections.general
    return ColdEngine(plan.sections.cold, plan.directory, plan.paths, general.seed, general.stop_time)


def run(
    configuration: Configuration | Plan,
    directory: str | Path | None = None,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> RunResult:
    """Run an experiment.

    Parameters
    ----------
    configuration
        What `load_configuration` or `make_plan` returned.
    directory
        Where the run's directory is made; `general.data_directory` by default. An earlier run there is
        replaced.
    on_progress
        Called a few times a second with the simulated time that was reached [ns].

    Raises
    ------
    UserError
        The configuration, the machine or the directory does not allow the run.
    """
    plan = configuration if isinstance(configuration, Plan) else make_plan(configuration)
    missing = required_features_missing() if plan.hosts else []
    if missing:
        raise UserError("this machine cannot run it: " + "; ".join(missing), hint="antumbra doctor says what helps")
    raise_descriptor_limit()
    with RunDirectory(directory or plan.sections.general.data_directory) as run_directory:
        try:
            _copy_template(plan.sections.general.template_directory, run_directory)
            _describe(plan, run_directory)
            result = _run_shard(plan, run_directory, on_progress)
            run_directory.write_statistics(result.statistics)
            run_directory.finish(_status(result))
        except BaseException as error:
            # The error itself is what the user must see, even where the disk refuses this last word too.
            with suppress(UserError):
                run_directory.finish("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
    return result


def _run_shard(plan: Plan, run_directory: RunDirectory, on_progress: Callable[[int], None] | None) -> RunResult:
    participants: dict[str, Participant] = {}
    recorders: list[WindowMetrics | WindowLog] = []
    try:
        hot = build_hot(plan, run_directory)
        if hot is not None:
            participants["hot"] = hot
        cold = build_cold(plan)
        if cold is not None:
            participants["cold"] = cold
        names = tuple(participants)
        metrics = WindowMetrics(run_directory, names)
        recorders.append(metrics)
        log = WindowLog(run_directory, names)
        recorders.append(log)

        def record(window: WindowRecord) -> None:
            metrics.append(window)
            log.append(window)

        loop = WindowLoop(
            tuple(participants.values()),
            _owner(plan),
            InProcessBus(),
            runahead=Runahead(plan.runahead_ns, dynamic=plan.dynamic_runahead),
            stop_time_ns=plan.sections.general.stop_time,
            on_window=record,
            on_progress=on_progress,
        )
        with _stopping_on_signals(loop):
            ended = loop.run()
        outcomes = tuple(hot.process_outcomes()) if hot is not None else ()
        messages = cold.message_table() if cold is not None else None
        statistics = {**metrics.statistics(ended), **_statistics(plan, ended, participants, outcomes)}
        if messages is not None:
            columns = {name: pa.array(messages[name]) for name in messages.dtype.names or ()}
            write_table(run_directory, "messages", pa.table(columns))
    except BaseException:
        # What went wrong first is what the user must see; what goes wrong while clearing up after it is a
        # consequence.
        with suppress(Exception):
            _close_all([*participants.values(), *recorders])
        raise
    _close_all([*participants.values(), *recorders])
    return RunResult(plan, run_directory.path, ended, statistics, outcomes, messages)


def _owner(plan: Plan) -> Callable[[npt.NDArray[np.uint32]], npt.NDArray[np.intp]]:
    """Return the map from HostIds to participants: hot before cold, or all to the only one."""
    hot_count = plan.directory.hot_count
    both = hot_count > 0 and plan.sections.cold is not None

    def owner(ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.intp]:
        return (ids >= hot_count).astype(np.intp) if both else np.zeros(len(ids), dtype=np.intp)

    return owner


def _close_all(closables: Sequence[Participant | WindowMetrics | WindowLog]) -> None:
    """Close everything, each even if another fails; the first failure is raised."""
    failure: BaseException | None = None
    for closable in closables:
        try:
            closable.close()
        except BaseException as error:
            failure = failure or error
    if failure is not None:
        raise failure


@contextmanager
def _stopping_on_signals(loop: WindowLoop) -> Iterator[None]:
    """End the loop after the current window on SIGINT or SIGTERM; a second signal does not wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt(signal.Signals(number).name)
        asked = True
        loop.request_stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _copy_template(template: str | None, run_directory: RunDirectory) -> None:
    if template is None:
        return
    source = Path(template).expanduser()
    if not source.is_dir():
        raise UserError(f"there is no folder {source}", where="general.template_directory")
    with disk_errors_reported(run_directory.path):
        try:
            shutil.copytree(source, run_directory.path, symlinks=True, dirs_exist_ok=True)
        except shutil.Error as error:
            raise UserError(str(error.args[0][0][2]), where="general.template_directory") from None


def _describe(plan: Plan, run_directory: RunDirectory) -> None:
    directory = plan.directory
    run_directory.describe(
        plan.sections.model_dump(mode="json"),
        seed=plan.sections.general.seed,
        partition={"shards": 1},
        hosts={
            name: str(IPv4Address(int(directory.address[number]))) for number, name in enumerate(directory.hostnames)
        },
        populations={
            cold.name: {
                "first_id": cold.first_id,
                "count": cold.count,
                "first_address": str(IPv4Address(cold.first_address)),
            }
            for cold in directory.populations
        },
        runahead_ns=plan.runahead_ns,
    )


def _statistics(
    plan: Plan, ended: LoopResult, participants: Mapping[str, Participant], outcomes: Sequence[ProcessOutcome]
) -> dict[str, object]:
    return {
        "hot_hosts": plan.directory.hot_count,
        "cold_identities": plan.directory.total_count - plan.directory.hot_count,
        "interrupted": ended.interrupted,
        "processes": [
            {
                "host": outcome.host,
                "program": outcome.program,
                "pid": outcome.pid,
                "expected": str(outcome.expected),
                "actual": str(outcome.actual),
            }
            for outcome in outcomes
        ],
        **{name: participant.statistics() for name, participant in participants.items()},
    }


def _status(result: RunResult) -> str:
    if result.loop.interrupted:
        return "interrupted"
    return "failed" if result.failures else "complete"
