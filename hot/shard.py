"""The hot participant of a shard: hosts with managed processes, run by the C engine."""

from __future__ import annotations

import logging
import os
import shutil
import weakref
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch, EventKind
from bridge.directory import HostDirectory
from bridge.errors import InternalError, UserError
from bridge.participant import Spell
from bridge.paths import Paths
from bridge.rundir import HOSTS, RunDirectory, disk_errors_reported
from bridge.section import GeneralSection
from bridge.simtime import EPOCH, NEVER, NS_PER_S
from bridge.traffic import PacketCount
from hot._engine import Engine, EngineError
from hot.etc import write_etc
from hot.real_names import SHARED_DIRECTORIES, real_names
from hot.scripts import resolve_program
from hot.section import ExperimentalSection, FinalState, HostPlan, ProcessOutcome, ProcessPlan

CAPTURE_FILE: Final = "eth0.pcap"
"""Name of a host's packet capture in its directory."""

_ETC: Final = ".etc"
"""Where generated files lie in the run's directory, while it runs."""

_STRACE_MODES: Final = {"off": 0, "standard": 1, "deterministic": 2}

_log = logging.getLogger("hot")


class HotShard:
    """Hosts with managed processes, as a participant of the window protocol.

    Parameters
    ----------
    hosts : sequence of HostPlan
        The hosts of this shard.
    directory : HostDirectory
        All hosts of the experiment.
    paths : Paths
        Latency and loss between the nodes in use.
    run_directory : RunDirectory
        Gets a folder per host.
    seed : int
    general, experimental
        Sections of the configuration.
    core : int or None
        Which of the allowed cores to use, counted round; the shards of one run take neighbours. None: any.

    Raises
    ------
    UserError
        A directory or a program cannot be used, or the machine has too little of something.
    """

    def __init__(
        self,
        hosts: Sequence[HostPlan],
        *,
        directory: HostDirectory,
        paths: Paths,
        run_directory: RunDirectory,
        seed: int,
        general: GeneralSection,
        experimental: ExperimentalSection,
        core: int | None = None,
    ) -> None:
        self._hosts = tuple(sorted(hosts, key=lambda host: host.host_id))
        self._warnings = 0
        self._hot_count = directory.hot_count
        self._from_identities = PacketCount()
        self._root = run_directory.path.resolve()
        self._private_tmp = experimental.private_tmp
        etc = self._root / _ETC
        with _FAILURES_EXPLAINED:
            self._engine = Engine(
                shim=str(shim_path()),
                seed=seed,
                bootstrap_end=general.bootstrap_end_time,
                turn_limit=experimental.turn_limit,
                strace_mode=_STRACE_MODES[experimental.strace_logging_mode],
                model_cpu=general.model_unblocked_syscall_latency,
                call_cost=experimental.unblocked_syscall_latency,
                max_unapplied_cpu=experimental.max_unapplied_cpu_latency,
                send_buffer=experimental.socket_send_buffer,
                receive_buffer=experimental.socket_recv_buffer,
                send_autotune=experimental.socket_send_autotune,
                receive_autotune=experimental.socket_recv_autotune,
                round_robin=experimental.interface_qdisc == "round-robin",
            )
        affinity = os.sched_getaffinity(0) if experimental.use_cpu_pinning else None
        # Also when nobody calls close: at the latest when the interpreter ends.
        self._release = weakref.finalize(self, _release, self._engine, etc, affinity)
        try:
            if affinity is not None:
                _pin(affinity, core)
            with disk_errors_reported(etc):
                etc_directories = write_etc(
                    etc,
                    [
                        (name, int(directory.address[i]), directory.address6_of(i))
                        for i, name in enumerate(directory.hostnames)
                    ],
                    own={
                        host.name: [*(process.user for process in host.processes), *host.users]
                        for host in self._hosts
                        if host.processes
                    },
                    seed=seed,
                )
            remaining = iter(etc_directories)
            for host in self._hosts:
                # Where no process is, nobody reads the files of /etc.
                self._add_host(host, directory, run_directory, next(remaining) if host.processes else etc)
            self._set_routes(directory, paths)
        except BaseException:
            with suppress(Exception):
                self.close()
            raise

    def next_event_time(self) -> int:
        """Return the time of the earliest event of any host [ns], or ``NEVER``."""
        with _FAILURES_EXPLAINED:
            return self._engine.next_event_time()

    def run_until(self, window_end: int) -> EventBatch:
        """Run every host up to `window_end`; see `bridge.participant.Participant`."""
        with _FAILURES_EXPLAINED:
            columns = self._engine.run_until(window_end)
            self._log_warnings()
        return _batch_of(columns)

    def run_windows(self, start: int, runahead: int, stop: int, others: int) -> Spell:
        """Run windows that concern nobody else; see `bridge.participant.RunsWindows`."""
        with _FAILURES_EXPLAINED:
            windows, columns, failure = self._engine.run_windows(start, runahead, stop, others)
            if failure is None:
                self._log_warnings()
        return Spell(
            np.frombuffer(windows, np.int64).reshape(-1, 6),
            _batch_of(columns),
            failure and (_explanation(failure) or failure),
        )

    def deliver(self, batch: EventBatch) -> None:
        """Take packets for hosts of this shard."""
        if bool(np.any(batch.kind != EventKind.PACKET)):
            raise InternalError("an event that is no packet was sent to a hot host")
        from_identities = batch.source >= self._hot_count
        if bool(from_identities.any()):
            self._from_identities.add_batch(batch.select(from_identities))
        with _FAILURES_EXPLAINED:
            self._engine.deliver(
                batch.deliver_time,
                batch.source,
                batch.source_event,
                batch.destination,
                batch.payload_offset,
                batch.payload,
            )

    def close(self) -> None:
        """End every process, release all memory, remove the generated files."""
        with _FAILURES_EXPLAINED:
            self._release()

    def events_executed(self) -> int:
        """Return the number of events that the engine has executed."""
        return self._engine.events_executed

    def min_used_latency_ns(self) -> int:
        """Return the smallest latency that a packet has met so far [ns], or ``NEVER``."""
        return self._engine.min_used_latency

    def event_fingerprint(self) -> int:
        """Return the fingerprint of all packets that its hosts have sent to other hosts."""
        return self._engine.fingerprint

    def process_outcomes(self) -> tuple[ProcessOutcome, ...]:
        """Return how every configured process stands now, by HostId and then as configured."""
        with _FAILURES_EXPLAINED:
            states = self._engine.process_states()
        outcomes = []
        for place, number, pid, (kind, code) in states:
            host = self._hosts[place]
            process = host.processes[number]
            outcomes.append(
                ProcessOutcome(
                    host.name,
                    process.executable.name,
                    pid,
                    process.expected_final_state,
                    _final_state(kind, code),
                )
            )
        return tuple(outcomes)

    def process_groups(self) -> dict[int, int]:
        """Return the HostId of each real process group: one for each configured process that runs."""
        with _FAILURES_EXPLAINED:
            return {group: self._hosts[place].host_id for place, group in self._engine.process_groups()}

    def statistics(self) -> dict[str, object]:
        """Return the hosts' counters, added up."""
        total: Counter[str] = Counter()
        with _FAILURES_EXPLAINED:
            for place in range(len(self._hosts)):
                total.update(self._engine.counters(place))
        return {
            "hosts": len(self._hosts),
            "warnings": self._warnings,
            **dict(sorted(total.items())),
        }

    def packets(self) -> npt.NDArray[np.int64]:
        """Count what its hosts sent to others, and what cold identities sent to them.

        Returns
        -------
        int64[n, 4]
            HostIds of source and destination, packets, bytes; in order.
        """
        count = PacketCount()
        count.add(self._from_identities.rows())
        for place, host in enumerate(self._hosts):
            sent = np.frombuffer(self._engine.traffic(place), np.int64).reshape(-1, 3)
            count.add(np.insert(sent, 0, host.host_id, axis=1))
        return count.rows()

    def loads(self) -> npt.NDArray[np.int64]:
        """Return what its hosts had to do: HostId, events executed, system calls; int64[hosts, 3]."""
        counters = [self._engine.counters(place) for place in range(len(self._hosts))]
        rows = [(host.host_id, one["events"], one["calls"]) for host, one in zip(self._hosts, counters, strict=True)]
        return np.array(rows, dtype=np.int64).reshape(-1, 3)

    def counters(self, hostname: str) -> dict[str, int]:
        """Return the counters of one host."""
        place = [host.name for host in self._hosts].index(hostname)
        return self._engine.counters(place)

    def _add_host(self, host: HostPlan, directory: HostDirectory, run_directory: RunDirectory, etc: Path) -> None:
        run_directory.host_directory(host.name)
        own = self._root / HOSTS / host.name
        with disk_errors_reported(own):
            # The folder's own times are what a program sees; see hot/kernel/inode.c.
            os.utime(own, (EPOCH, EPOCH))
        with _FAILURES_EXPLAINED:
            place = self._engine.add_host(
                host_id=host.host_id,
                name=host.name,
                address=int(directory.address[host.host_id]),
                address6=directory.address6_of(host.host_id).to_bytes(16),
                directory=os.fsencode(own),
                etc_directory=os.fsencode(etc),
                real_names=self._real_names(host),
                uplink_bps=int(directory.uplink_bps[host.host_id]),
                downlink_bps=int(directory.downlink_bps[host.host_id]),
                capture_path=os.fsencode(own / CAPTURE_FILE),
                capture_size=host.pcap_capture_size if host.pcap_enabled else 0,
            )
            for process in host.processes:
                self._add_process(place, process)

    def _real_names(self, host: HostPlan) -> bytes:
        names = SHARED_DIRECTORIES if not self._private_tmp else real_names(host)
        return b"".join(os.fsencode(name) + b"\0" for name in names)

    def _add_process(self, place: int, process: ProcessPlan) -> None:
        program, arguments = resolve_program(process.executable, process.arguments)
        shutdown = process.shutdown_time_ns
        self._engine.add_process(
            host=place,
            path=os.fsencode(program),
            name=os.fsencode(process.executable.name),
            arguments=[os.fsencode(argument) for argument in arguments],
            environment=[os.fsencode(f"{name}={value}") for name, value in process.environment],
            start_time=process.start_time_ns,
            shutdown_time=NEVER if shutdown is None else shutdown,
            shutdown_signal=process.shutdown_signal,
            user=process.user.uid,
            group=process.user.gid,
        )

    def _set_routes(self, directory: HostDirectory, paths: Paths) -> None:
        addresses = directory.address[: directory.hot_count]
        order = np.argsort(addresses, kind="stable").astype(np.uint32)
        ranges = sorted(directory.ranges, key=lambda cold: cold.first_address)
        with _FAILURES_EXPLAINED:
            self._engine.set_routes(
                addresses=np.ascontiguousarray(addresses[order], np.uint32),
                address_ids=order,
                range_first=np.array([cold.first_address for cold in ranges], np.uint32),
                range_size=np.array([cold.count for cold in ranges], np.uint32),
                range_first_id=np.array([cold.first_id for cold in ranges], np.uint32),
                prefix6=directory.ipv6.prefix.to_bytes(16),
                exceptions6=b"".join(address.to_bytes(16) for address in directory.exceptions6),
                exception6_ids=np.array(list(directory.exceptions6.values()), np.uint32),
                node_of_host=np.ascontiguousarray(directory.node, np.int32),
                node_count=len(paths.node_ids),
                find_path=paths.between,
            )

    def _log_warnings(self) -> None:
        for time, place, text in self._engine.take_warnings():
            self._warnings += 1
            seconds, nanoseconds = divmod(time, NS_PER_S)
            _log.warning("%d.%09d %s: %s", seconds, nanoseconds, self._hosts[place].name, text)


def shim_path() -> Path:
    """Return the path of the executable that becomes every managed process.

    Raises
    ------
    InternalError
        It is not installed.
    """
    candidate = resources.files("shim") / "bin" / "antumbra-shim"
    # Not a path: what an editable installation answers for a file that it does not know.
    if isinstance(candidate, Path) and candidate.is_file():
        return candidate
    raise InternalError("antumbra-shim is not installed", hint="install the package again, with a C compiler")


def _pin(allowed: set[int], core: int | None) -> None:
    """Stay on one of the allowed cores, which processes started from here inherit.

    A hand-over between cores costs many times one on the same core. Which core it is has no influence on
    results; simultaneous runs choose different ones.
    """
    cores = sorted(allowed)
    os.sched_setaffinity(0, {cores[(os.getpid() if core is None else core) % len(cores)]})


def _release(engine: Engine, etc: Path, affinity: set[int] | None) -> None:
    try:
        engine.close()
    finally:
        shutil.rmtree(etc, ignore_errors=True)
        if affinity is not None:
            os.sched_setaffinity(0, affinity)


def _final_state(kind: str, code: int) -> FinalState:
    if kind == "exited":
        return FinalState("exited", code)
    if kind == "signaled":
        return FinalState("signaled", code)
    # One that was never started has not ended either; only an interrupted run has such.
    return FinalState("running")


def _batch_of(columns: tuple[bytearray, ...] | None) -> EventBatch:
    """Return packets for others, of the engine's columns."""
    if columns is None:
        return EventBatch.empty()
    deliver_time, source, source_event, destination, payload_offset, payload = columns
    return EventBatch.build(
        np.frombuffer(deliver_time, np.int64),
        np.frombuffer(source, np.uint32),
        np.frombuffer(source_event, np.uint64),
        np.frombuffer(destination, np.uint32),
        EventKind.PACKET,
        np.frombuffer(payload_offset, np.int64),
        np.frombuffer(payload, np.uint8),
    )


def _explanation(error: BaseException) -> BaseException | None:
    """Return what a failure of the engine is called in this project; None: so already."""
    explained: InternalError | UserError
    if isinstance(error, EngineError):
        explained = InternalError(str(error))
    elif isinstance(error, OSError):
        explained = UserError(str(error.strerror), where=str(error.filename or "") or None)
    else:
        return None
    explained.__cause__ = error
    return explained


class _FailuresExplained:
    """Raises the engine's failures as the project's own. No generator: every window enters it several times."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        explained = None if error is None else _explanation(error)
        if explained is not None:
            raise explained from error


_FAILURES_EXPLAINED: Final = _FailuresExplained()
