"""From a plan to a run: builds the shard, runs the window loop, and leaves a whole run directory.

Every shard of a run comes through here. Whatever happens on the way (a failing participant, a full disk, Ctrl-C,
another shard that is gone), every participant is closed, the other shards are told, and the directory says how
the run ended.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from types import FrameType
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from antumbra.configuration import Configuration
from antumbra.doctor import processor_leaks, required_features_missing
from antumbra.plan import Plan, make_plan
from antumbra.resources import raise_descriptor_limit
from antumbra.sharding import (
    ShardResult,
    connect,
    copy_template,
    decide_shard_count,
    gather,
    merge_directories,
    merge_results,
    partition_of,
)
from antumbra.sides import ColdParticipant, HotParticipant, build_hot, build_tail, finish_tail
from bridge.bus import Bus
from bridge.errors import AntumbraError, UserError
from bridge.local_bus import LocalBus
from bridge.lookahead import lookahead_of
from bridge.metrics import WindowMetrics, write_table
from bridge.mpi_bus import MpiBus
from bridge.participant import Nobody, Participant
from bridge.partition import PartitionMap
from bridge.rundir import RunDirectory
from bridge.traffic import TRAFFIC, Groups, traffic_table
from bridge.usage import UsageRecorder
from bridge.window import LoopResult, QuietWindows, Runahead, WindowLoop, WindowRecord
from bridge.window_log import WindowLog
from cold.results import TailResults, message_table
from hot.process_memory import ProcessMemoryRecorder
from hot.section import ProcessOutcome

_MESSAGES: Final = "messages"
_REQUESTS: Final = "requests"
_TRANSACTIONS: Final = "transactions"
_OUR_FAULT: Final = 3

_log = logging.getLogger("antumbra")

MessageTable = npt.NDArray[np.void]


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
    requests : structured ndarray or None
        What became of the requests of each protocol of the tail; None where there are none.
    transactions : structured ndarray or None
        What became of each transaction; None where there are none.
    """

    plan: Plan
    directory: Path
    loop: LoopResult
    statistics: dict[str, object]
    outcomes: tuple[ProcessOutcome, ...]
    messages: MessageTable | None
    requests: npt.NDArray[np.void] | None = None
    transactions: npt.NDArray[np.void] | None = None

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


def run(
    configuration: Configuration | Plan,
    directory: str | Path | None = None,
    *,
    shards: int | None = None,
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
    shards
        Number of processes to divide the run among; what `distributed` says by default. It changes no result.
        Under an MPI launcher every rank calls this, and gets the whole result.
    on_progress
        Called a few times a second with the simulated time that was reached [ns], on shard 0.

    Raises
    ------
    UserError
        The configuration, the machine or the directory does not allow the run.
    ShardLost
        Another shard failed, or is gone.
    """
    plan = configuration if isinstance(configuration, Plan) else make_plan(configuration)
    missing = required_features_missing() if plan.hosts else []
    if missing:
        raise UserError("this machine cannot run it: " + "; ".join(missing), hint="antumbra doctor says what helps")
    raise_descriptor_limit()
    count, mpi = decide_shard_count(plan, shards)
    partition = partition_of(plan, count)
    where = Path(directory or plan.sections.general.data_directory)
    bus = connect(plan, count, mpi)
    if plan.hosts and bus.shard == 0:
        _warn_of_processor()
    part = _Part(plan, partition, bus, where, on_progress if bus.shard == 0 else None)
    if isinstance(bus, LocalBus) and bus.shard > 0:
        # A process of our own making: nobody expects it to come back.
        os._exit(_run_as_child(part))
    return _run_on(part)


@cache
def _warn_of_processor() -> None:
    """Say once that the machine's own processor shows, if it does."""
    if leaks := processor_leaks():
        _log.warning("%s", leaks)


@dataclass(frozen=True)
class _Part:
    """What the process of one shard has of the whole run."""

    plan: Plan
    partition: PartitionMap
    bus: Bus
    where: Path
    on_progress: Callable[[int], None] | None


def _run_as_child(part: _Part) -> int:
    try:
        code = _run_on(part).exit_code
    except AntumbraError as error:
        code = error.exit_code
    except KeyboardInterrupt:
        code = 1
    except BaseException:
        traceback.print_exc()
        code = _OUR_FAULT
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _run_on(part: _Part) -> RunResult:
    try:
        return _run_alone(part) if part.bus.shard_count == 1 else _run_together(part)
    except BaseException as error:
        _tell_failure(part.bus, error, None)
        raise
    finally:
        part.bus.close()


def _run_alone(part: _Part) -> RunResult:
    with RunDirectory(part.where) as run_directory, _ending_told(run_directory):
        copy_template(part.plan.sections.general.template_directory, run_directory.path)
        _describe(part.plan, part.partition, run_directory)
        own, ended = _run_shard(part, run_directory)
        result = _result_of([own], part.plan, part.where, ended)
        _write_tail(run_directory, result)
        run_directory.write_statistics(result.statistics)
        run_directory.finish(_status(result))
    return result


def _run_together(part: _Part) -> RunResult:
    plan = part.plan
    if part.bus.shard > 0:
        return _run_one_of_many(part)[0]
    with RunDirectory(part.where) as whole, _ending_told(whole):
        copy_template(plan.sections.general.template_directory, part.where, without=plan.directory.hostnames)
        _describe(plan, part.partition, whole)
        result, finish = _run_one_of_many(part)
        merge_directories(whole, _kinds(plan), part.bus.shard_count)
        _write_tail(whole, result)
        whole.write_statistics(result.statistics)
        whole.finish(_status(result))
        finish()
    return result


def _run_one_of_many(part: _Part) -> tuple[RunResult, Callable[[], None]]:
    """Run one of several shards. Shard 0 has to say, with the function returned, when the whole run is written."""
    plan, bus = part.plan, part.bus

    def barrier() -> None:
        bus.meet({}, ())

    # Nobody writes before shard 0 has claimed the run's directory and cleared it.
    barrier()
    with RunDirectory(part.where / f"shard-{bus.shard}") as own_directory, _ending_told(own_directory, digests=False):
        own_directory.describe({}, seed=plan.sections.general.seed, shard=bus.shard, shards=bus.shard_count)
        names = [plan.directory.hostnames[number] for number in part.partition.hosts_of(bus.shard)]
        copy_template(plan.sections.general.template_directory, own_directory.path, only=names)
        own, ended = _run_shard(part, own_directory)
        own_directory.write_statistics(own.statistics)
        result = _result_of(gather(bus, own), plan, part.where, ended)
        own_directory.finish(_status(result), digests=False)
    if bus.shard > 0:
        barrier()
    return result, barrier


def _result_of(results: Sequence[ShardResult], plan: Plan, where: Path, ended: LoopResult) -> RunResult:
    merged = merge_results(results, plan.directory.hostnames)
    messages = None if merged.messages is None else message_table(merged.messages)
    requests = _request_table(merged.messages, plan)
    transactions, loads = _transaction_table(merged.messages, plan)
    statistics = merged.statistics | loads
    return RunResult(plan, where, ended, statistics, merged.outcomes, messages, requests, transactions)


def _request_table(results: TailResults | None, plan: Plan) -> npt.NDArray[np.void] | None:
    if results is None or plan.sections.cold is None or not plan.sections.cold.requests:
        return None
    # Here, as everything that loads compiled kernels.
    from cold.request_results import request_table

    return request_table(results, [request.name for request in plan.sections.cold.requests])


def _transaction_table(
    results: TailResults | None, plan: Plan
) -> tuple[npt.NDArray[np.void] | None, dict[str, object]]:
    """What became of each transaction, and what `sim-stats.json` holds of them; nothing where there are none."""
    if results is None or plan.sections.cold is None or plan.sections.cold.transactions is None:
        return None, {}
    # Here, as everything that loads compiled kernels.
    from cold.transaction_results import load_summary, transaction_table

    return transaction_table(results), {"transaction_bytes": load_summary(results)}


def _write_tail(run_directory: RunDirectory, result: RunResult) -> None:
    """Write what the tail knows of each message, of each protocol of requests, and of each transaction."""
    tables = ((_MESSAGES, result.messages), (_REQUESTS, result.requests), (_TRANSACTIONS, result.transactions))
    for name, rows in tables:
        if rows is not None:
            columns = {column: pa.array(rows[column]) for column in rows.dtype.names or ()}
            write_table(run_directory, name, pa.table(columns))


@contextmanager
def _ending_told(run_directory: RunDirectory, *, digests: bool = True) -> Iterator[None]:
    """Say in the directory's manifest that the run has failed, if it does."""
    try:
        yield
    except BaseException as error:
        # The error itself is what the user must see, even where the disk refuses this last word too.
        with suppress(UserError):
            run_directory.finish("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", digests=digests)
        raise


def _tell_failure(bus: Bus, error: BaseException, window: int | None) -> None:
    """Tell the other shards, and the log of this one, why it cannot go on; only the first time."""
    if bus.shard_count == 1 or getattr(error, "told", False):
        return
    error.told = True  # type: ignore[attr-defined]
    what = str(error) or type(error).__name__
    where = f"shard {bus.shard}" if window is None else f"shard {bus.shard}, window {window}"
    expected = isinstance(error, AntumbraError | KeyboardInterrupt)
    code = getattr(error, "exit_code", 1) if expected else _OUR_FAULT
    bus.abort(what if window is None else f"in window {window}: {what}", code)
    _log.error("%s: %s", where, what, exc_info=not expected)


def _kinds(plan: Plan) -> list[str]:
    """Name the kinds of participants of a run; every shard has all of them, if only in name."""
    return [name for name, there in (("hot", plan.hosts), ("cold", plan.sections.cold is not None)) if there]


def _run_shard(part: _Part, run_directory: RunDirectory) -> tuple[ShardResult, LoopResult]:
    plan, partition, bus = part.plan, part.partition, part.bus
    participants: dict[str, Participant] = {}
    recorders: list[WindowMetrics | WindowLog | UsageRecorder | ProcessMemoryRecorder] = []
    loop: WindowLoop | None = None
    try:
        hot = build_hot(plan, run_directory, partition, bus.shard)
        if plan.hosts:
            participants["hot"] = hot or Nobody()
        cold = build_tail(plan, partition, bus)
        if plan.sections.cold is not None:
            participants["cold"] = cold or Nobody()
        names = tuple(participants)
        metrics = WindowMetrics(run_directory, names, bus.shard)
        recorders.append(metrics)
        log = WindowLog(run_directory, names)
        recorders.append(log)
        usage = UsageRecorder(run_directory, bus.shard)
        recorders.append(usage)
        memory = ProcessMemoryRecorder(run_directory, bus.shard, hot.process_groups if hot is not None else dict)
        recorders.append(memory)

        def record(window: WindowRecord) -> None:
            metrics.append(window)
            log.append(window)
            usage.note(window.number)
            memory.note(window.number)

        def record_quiet(windows: QuietWindows) -> None:
            metrics.append_quiet(windows)
            log.append_quiet(windows)
            last = int(windows.numbers[-1])
            usage.note(last)
            memory.note(last)

        outer_ns, inner_ns = _window_lengths(plan, partition, bus.shard)
        loop = WindowLoop(
            tuple(participants.values()),
            _owner(plan),
            bus,
            runahead=Runahead(outer_ns, dynamic=plan.dynamic_runahead),
            stop_time_ns=plan.sections.general.stop_time,
            shard_of=partition.shard_of,
            on_window=record,
            on_quiet_windows=record_quiet,
            on_progress=part.on_progress,
            inner_runahead_ns=inner_ns,
        )
        with _stopping_on_signals(loop, bus):
            ended = loop.run()
        memory.look(loop.window)
        if cold is not None:
            # No event is left; but messages of coarse topics, which are none, are told of up to the time reached.
            cold.run_until(ended.reached_ns)
        finish_tail(plan, partition, bus, cold)
        outcomes = tuple(hot.process_outcomes()) if hot is not None else ()
        messages = cold.partial_results() if cold is not None else None
        statistics = {**metrics.statistics(ended), **_statistics(plan, ended, participants, outcomes)}
        statistics["cut"] = dict(zip(("events", "bytes"), loop.cut(), strict=True))
        write_table(run_directory, TRAFFIC, _traffic(plan, hot, cold))
    except BaseException as caught:
        error = UserError("there is no more memory", hint=str(caught)) if isinstance(caught, MemoryError) else caught
        _tell_failure(bus, error, loop.window if loop is not None else None)
        # What went wrong first is what the user must see; what goes wrong while clearing up after it is a
        # consequence.
        with suppress(Exception):
            _close_all([*participants.values(), *recorders])
        if error is caught:
            raise
        raise error from caught
    _close_all([*participants.values(), *recorders])
    return ShardResult(bus.shard, statistics, outcomes, messages), ended


def _window_lengths(plan: Plan, partition: PartitionMap, shard: int) -> tuple[int, int | None]:
    """Return how long windows are, and those that the shard runs inside them, if it does."""
    experimental = plan.sections.experimental
    if experimental.lookahead == "global" or partition.shard_count == 1:
        return plan.runahead_ns, None
    lookahead = lookahead_of(partition, plan.directory, plan.paths, experimental.runahead)
    return lookahead.outer_ns, lookahead.inner_ns[shard]


def _traffic(plan: Plan, hot: HotParticipant | None, cold: ColdParticipant | None) -> pa.Table:
    """Return the table of what hosts sent to each other, as far as this shard knows."""
    return traffic_table(
        Groups.of(plan.directory, plan.paths.node_ids),
        hot.packets() if hot is not None else np.zeros((0, 4), dtype=np.int64),
        hot.loads() if hot is not None else np.zeros((0, 3), dtype=np.int64),
        cold.events_executed() if cold is not None else None,
    )


def _owner(plan: Plan) -> Callable[[npt.NDArray[np.uint32]], npt.NDArray[np.intp]]:
    """Return the map from HostIds to participants: hot before cold, or all to the only one."""
    hot_count = plan.directory.hot_count
    both = hot_count > 0 and plan.sections.cold is not None

    def owner(ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.intp]:
        return (ids >= hot_count).astype(np.intp) if both else np.zeros(len(ids), dtype=np.intp)

    return owner


def _close_all(
    closables: Sequence[Participant | WindowMetrics | WindowLog | UsageRecorder | ProcessMemoryRecorder],
) -> None:
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
def _stopping_on_signals(loop: WindowLoop, bus: Bus) -> Iterator[None]:
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
        if number == signal.SIGTERM and isinstance(bus, MpiBus):
            # That is how a launcher ends the others when it has lost a rank; it does not wait long either.
            _log.error("shard %d, window %d: told to end by the launcher (SIGTERM)", bus.shard, loop.window)
            bus.hurry()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _describe(plan: Plan, partition: PartitionMap, run_directory: RunDirectory) -> None:
    directory = plan.directory
    run_directory.describe(
        plan.sections.model_dump(mode="json"),
        seed=plan.sections.general.seed,
        partition=partition.describe(directory),
        hosts={
            name: str(IPv4Address(int(directory.address[number]))) for number, name in enumerate(directory.hostnames)
        },
        populations={
            cold.name: {
                "count": cold.count,
                "first_address": str(IPv4Address(cold.first_address)),
                "ranges": [
                    {"first_id": ids.first_id, "count": ids.count}
                    for ids in directory.ranges
                    if ids.population == cold.name
                ],
            }
            for cold in directory.populations
        },
        runahead_ns=plan.runahead_ns,
        resolutions=plan.described_resolutions,
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
