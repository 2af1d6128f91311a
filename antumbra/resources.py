"""What an experiment asks of the machine, and what the machine has."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.units import format_size

BASE_BYTES: Final = 300 * 2**20
"""The simulator itself: the interpreter, numpy, scipy, numba and its compiled kernels."""

HOT_HOST_BYTES: Final = 256 * 2**10
"""An idle hot host's kernel state: the design's upper bound."""

PROCESS_BYTES: Final = 8 * 2**20
"""Private memory of a small managed process (CPython at its prompt); clients need what they need natively."""

CONFIGURED_BYTES: Final = 8 * 2**10
"""A hot host as the configuration has it, in every shard: benchmarks/host_scale.py."""

PATH_BYTES: Final = 16
"""Latency and loss of a pair of nodes, where they are kept as tables."""

DIRECTORY_BYTES: Final = 24
"""A line of the host directory: address, node, bandwidths."""

FDS_PER_HOST: Final = 2
"""A host's memory, and the socket for files on their way between processes. Another one is its capture file; a process
has a table of its own and costs the shard none."""

FDS_BASE: Final = 1024
"""Besides: the simulator's own, and the numbers up to 910, of which a managed process keeps three."""

PROCESSES_BASE: Final = 64
"""Processes that the simulator needs besides."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an experiment is expected to need."""

    hot_bytes: int
    cold_bytes: int
    shared_bytes: int
    processes: int
    descriptors: int

    @property
    def total_bytes(self) -> int:
        """Return all memory together."""
        return self.hot_bytes + self.cold_bytes + self.shared_bytes


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is. Limits that do not exist are None."""

    available_bytes: int
    processes: int | None
    descriptors: int | None


def estimate(
    hosts: int, busy_hosts: int, captures: int, processes: int, identities: int, cold_bytes: int, cold_paths: int
) -> Estimate:
    """Estimate the needs of an experiment from its counts.

    Parameters
    ----------
    hosts, busy_hosts
        Hot hosts, and how many of them have processes; another has a kernel once a packet comes for it.
    captures
        Hosts whose packets are captured.
    processes
        Managed processes.
    identities, cold_bytes
        Cold identities, and the memory of their engine.
    cold_paths
        Entries of the engine's table of paths: the nodes that have identities times all that are in use.
    """
    return Estimate(
        hot_bytes=hosts * CONFIGURED_BYTES + busy_hosts * HOT_HOST_BYTES + processes * PROCESS_BYTES,
        cold_bytes=cold_bytes + cold_paths * PATH_BYTES,
        shared_bytes=BASE_BYTES + (hosts + identities) * DIRECTORY_BYTES,
        processes=processes,
        descriptors=busy_hosts * FDS_PER_HOST + captures,
    )


def this_machine() -> Machine:
    """Measure the machine that this runs on, including the limits of its control group."""
    available = [_meminfo("MemAvailable"), *_cgroup_room()]
    processes = [_number(Path("/proc/sys/kernel/pid_max")), _number(Path("/proc/sys/kernel/threads-max"))]
    if os.geteuid() != 0:
        processes.append(_hard_limit(resource.RLIMIT_NPROC))
    return Machine(
        available_bytes=min(available),
        processes=min((limit for limit in processes if limit is not None), default=None),
        descriptors=_hard_limit(resource.RLIMIT_NOFILE),
    )


def shortages(needed: Estimate, machine: Machine) -> Iterator[str]:
    """Yield a sentence, with the numbers, for everything that the machine has too little of."""
    if needed.total_bytes > machine.available_bytes:
        yield (
            f"the experiment needs about {format_size(needed.total_bytes)} of memory "
            f"({format_size(needed.hot_bytes)} for hot hosts, {format_size(needed.cold_bytes)} for the cold "
            f"tail, {format_size(needed.shared_bytes)} for the rest), and this machine has "
            f"{format_size(machine.available_bytes)} available"
        )
    if machine.processes is not None and needed.processes + PROCESSES_BASE > machine.processes:
        yield (
            f"the experiment starts {needed.processes} processes, and this machine allows "
            f"{machine.processes} (ulimit -u, kernel.pid_max, kernel.threads-max)"
        )
    if machine.descriptors is not None and needed.descriptors + FDS_BASE > machine.descriptors:
        yield (
            f"the experiment needs about {needed.descriptors + FDS_BASE} file descriptors, and the hard "
            f"limit here is {machine.descriptors} (ulimit -Hn)"
        )


def raise_descriptor_limit() -> None:
    """Raise the soft limit on open files to the hard one, which `shortages` compares with."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _meminfo(field: str) -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise OSError(f"/proc/meminfo has no {field}")


def _cgroup_room() -> Iterator[int]:
    """Yield what the control group still allows (version 2, then the mounted root of version 1)."""
    for maximum, current in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", None)):
        limit = _number(Path("/sys/fs/cgroup") / maximum)
        used = _number(Path("/sys/fs/cgroup") / current) if current else 0
        if limit is not None:
            yield max(0, limit - (used or 0))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _hard_limit(which: int) -> int | None:
    _, hard = resource.getrlimit(which)
    return None if hard == resource.RLIM_INFINITY else hard
