"""The sections of the hot side, as Shadow 3 has them: hosts, host_option_defaults, experimental.

`HostPlan` and `ProcessPlan` are what these sections become once names, paths and defaults are resolved: the
hot shard is handed plans, and never looks at the configuration.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from bridge.ipv6 import why_not_a_host
from bridge.section import LogLevel, Section
from bridge.units import Bandwidth, Duration, Size
from hot.users import ROOT, User, UserChoice, parse_user

StraceMode = Literal["off", "standard", "deterministic"]

_HOSTNAME_CHARACTERS: Final = re.compile(r"[a-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class FinalState:
    """How a process stands at the end of the simulation.

    `value` is the exit code of an "exited" process, the signal number of a "signaled" one, and 0 for
    "running".
    """

    kind: Literal["running", "exited", "signaled"]
    value: int = 0

    def __str__(self) -> str:
        if self.kind in ("not started", "running"):
            return self.kind
        value = signal_name(self.value) if self.kind == "signaled" else str(self.value)
        return f"{{{self.kind}: {value}}}"


def signal_name(number: int) -> str:
    """Return "SIGKILL" for 9; a number without a name stays a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _parse_signal(value: object) -> int:
    if isinstance(value, str) and value in signal.Signals.__members__:
        return int(signal.Signals[value])
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 64:
        return value
    raise PydanticCustomError(
        "signal",
        "{value} is not a signal; write its name as 'SIGTERM', or its number, 1 to 64",
        {"value": repr(value)},
    )


def _parse_arguments(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise PydanticCustomError(
                "arguments", "cannot be split as a shell would: {reason}", {"reason": str(error).lower()}
            ) from None
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise PydanticCustomError("arguments", "must be a command line or a list of strings (put numbers in quotes)")


def _parse_final_state(value: object) -> FinalState:
    if isinstance(value, FinalState):
        return value
    if value == "running":
        return FinalState("running")
    if isinstance(value, dict) and len(value) == 1:
        ((kind, argument),) = value.items()
        if kind == "exited" and isinstance(argument, int) and 0 <= argument <= 255:
            return FinalState("exited", int(argument))
        if kind == "signaled":
            return FinalState("signaled", _parse_signal(argument))
    raise PydanticCustomError(
        "final_state",
        "{value} is not a final state; write running, {exited: 0} (0 to 255) or {signaled: SIGTERM}",
        {"value": repr(value)},
    )


def _parse_address(value: object) -> int:
    try:
        if not isinstance(value, str):
            raise ValueError
        address = ipaddress.IPv4Address(value)
    except ValueError:
        raise PydanticCustomError(
            "address", "{value} is not an IPv4 address; write it as '11.0.0.1'", {"value": repr(value)}
        ) from None
    if address.is_loopback or address.is_multicast or address.is_unspecified or int(address) >> 28 == 0xF:
        raise PydanticCustomError(
            "address",
            "{value} cannot be the address of a host (loopback, multicast or reserved)",
            {"value": value},
        )
    return int(address)


def _parse_address6(value: object) -> ipaddress.IPv6Address:
    if isinstance(value, ipaddress.IPv6Address):
        return value
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        address = ipaddress.IPv6Address(value)
    except ValueError:
        raise PydanticCustomError(
            "address6", "{value} is not an IPv6 address; write it as '2001:db8::1'", {"value": repr(value)}
        ) from None
    reason = why_not_a_host(address)
    if reason:
        raise PydanticCustomError(
            "address6",
            "{value} cannot be the address of a host ({reason})",
            {"value": value, "reason": reason},
        )
    return address


def _check_hostname(value: object) -> str:
    if not isinstance(value, str) or not _HOSTNAME_CHARACTERS.fullmatch(value):
        reason = "only a-z, 0-9, '-' and '.' may appear in it"
    elif value.startswith("-"):
        reason = "it may not begin with '-'"
    elif len(value) > 253 or any(not 1 <= len(element) <= 63 for element in value.split(".")):
        reason = "its elements have 1 to 63 characters, and all of it at most 253"
    elif value == "localhost":
        reason = "it is every host's name for itself"
    else:
        return value
    raise PydanticCustomError(
        "hostname", "{value} is not a hostname: {reason}", {"value": repr(value), "reason": reason}
    )


def _check_variable(value: object) -> str:
    if not isinstance(value, str) or not value or "=" in value or "\0" in value:
        raise PydanticCustomError(
            "variable", "{value} is not the name of an environment variable", {"value": repr(value)}
        )
    return value


Signal = Annotated[int, BeforeValidator(_parse_signal)]
Arguments = Annotated[tuple[str, ...], BeforeValidator(_parse_arguments)]
Address = Annotated[int, BeforeValidator(_parse_address)]
Address6 = Annotated[ipaddress.IPv6Address, BeforeValidator(_parse_address6)]
Hostname = Annotated[str, BeforeValidator(_check_hostname)]
Variable = Annotated[str, BeforeValidator(_check_variable)]


class ProcessSection(Section):
    """`hosts.<name>.processes[i]`: a program, from its start to the state it should end in."""

    path: str = Field(min_length=1)
    args: Arguments = ()
    environment: dict[Variable, str] = Field(default_factory=dict)
    user: Annotated[UserChoice, BeforeValidator(parse_user)] = UserChoice(name=ROOT.name)
    """Ours, not Shadow's: who it runs as inside the simulation. A name, a number, or number:group."""
    start_time: Duration = 0
    shutdown_time: Duration | None = None
    shutdown_signal: Signal = int(signal.SIGTERM)
    expected_final_state: Annotated[FinalState, BeforeValidator(_parse_final_state)] = FinalState("exited", 0)


class HostOptions(Section):
    """`host_option_defaults`, and `hosts.<name>.host_options`, which override it where they are set."""

    log_level: LogLevel | None = None
    pcap_enabled: bool = False
    pcap_capture_size: Size = Field(default=65535, ge=1)

    def overridden_by(self, other: HostOptions) -> HostOptions:
        """Return these options with those that `other` sets explicitly in their place."""
        return self.model_copy(update={name: getattr(other, name) for name in other.model_fields_set})


class HostSection(Section):
    """`hosts.<name>`: a simulated machine with managed processes."""

    network_node_id: int = Field(ge=0)
    processes: list[ProcessSection]
    ip_addr: Address | None = None
    ip6_addr: Address6 | None = None
    """Ours, not Shadow's; without it the address comes from `network.ip6_prefix` and the IPv4 address."""
    bandwidth_down: Annotated[Bandwidth, Field(ge=1)] | None = None
    bandwidth_up: Annotated[Bandwidth, Field(ge=1)] | None = None
    users: list[Annotated[UserChoice, BeforeValidator(parse_user)]] = Field(default_factory=list)
    """Ours, not Shadow's: accounts beside those of its processes, named as there. Servers change to such ones."""
    host_options: HostOptions = HostOptions()


class ExperimentalSection(Section):
    """`experimental`: Shadow's knobs. `WITHOUT_EFFECT` are accepted so that its files run unmodified."""

    runahead: Duration | None = None
    use_dynamic_runahead: bool = False
    strace_logging_mode: StraceMode = "off"
    max_unapplied_cpu_latency: Duration = 1_000
    unblocked_syscall_latency: Duration = 1_000
    unblocked_vdso_latency: Duration = 10
    interface_qdisc: Literal["fifo", "round-robin"] = "fifo"
    """What waits for a host's uplink leaves in the order it came, or its sockets take turns, a packet each."""
    socket_send_buffer: Size = Field(default=131_072, ge=1)
    socket_send_autotune: bool = True
    socket_recv_buffer: Size = Field(default=174_760, ge=1)
    socket_recv_autotune: bool = True
    host_heartbeat_interval: Duration | None = 10**9
    host_heartbeat_log_info: list[Literal["node", "socket", "ram"]] = Field(default=["node"])
    host_heartbeat_log_level: LogLevel = "info"
    log_errors_to_tty: bool = True
    log_errors_to_stderr: bool = True
    native_preemption_enabled: bool = False
    native_preemption_native_interval: Duration = 100 * 10**6
    native_preemption_sim_interval: Duration = 10 * 10**6
    report_errors_to_stderr: bool = True
    scheduler: Literal["thread-per-core", "thread-per-host"] = "thread-per-core"
    use_cpu_pinning: bool = True
    use_memory_manager: bool = False
    use_new_tcp: bool = False
    use_object_counters: bool = True
    use_preload_libc: bool = True
    use_preload_openssl_crypto: bool = False
    use_preload_openssl_rng: bool = True
    use_sched_fifo: bool = False
    use_syscall_counters: bool = True
    use_worker_spinning: bool = True
    lookahead: Literal["global", "partition"] = "global"
    """Ours: how often shards exchange events: after the smallest latency of all, or of those that cross shards.

    In the latter case, a run without a partition file is divided by places."""
    private_tmp: bool = True
    """Ours: each host has its own /tmp, /var/tmp and /run, new but for input that their configuration names."""
    turn_limit: Duration = Field(default=60 * 10**9, gt=0)
    """Ours, not Shadow's: wall-clock time after which a process that makes no progress is ended."""


WITHOUT_EFFECT: Final[frozenset[str]] = frozenset(ExperimentalSection.model_fields) - {
    "runahead",
    "use_dynamic_runahead",
    "strace_logging_mode",
    "max_unapplied_cpu_latency",
    "unblocked_syscall_latency",
    "unblocked_vdso_latency",
    "interface_qdisc",
    "socket_send_buffer",
    "socket_send_autotune",
    "socket_recv_buffer",
    "socket_recv_autotune",
    "use_cpu_pinning",
    "lookahead",
    "turn_limit",
}
"""Options of Shadow that steer its own implementation, and change nothing here."""


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """A managed process, ready to start: absolute path, whole argument vector, times in nanoseconds."""

    executable: Path
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    start_time_ns: int
    shutdown_time_ns: int | None
    shutdown_signal: int
    expected_final_state: FinalState
    user: User = ROOT


@dataclass(frozen=True, slots=True)
class HostPlan:
    """A hot host, ready to be built. Its address, bandwidths and node are in the host directory."""

    host_id: int
    name: str
    processes: tuple[ProcessPlan, ...]
    log_level: LogLevel | None
    pcap_enabled: bool
    pcap_capture_size: int
    users: tuple[User, ...] = ()
    """Accounts of the host beside those of its processes."""


@dataclass(frozen=True, slots=True)
class ProcessOutcome:
    """How a process of the configuration stood at the end, beside how it should have."""

    host: str
    program: str
    pid: int
    expected: FinalState
    actual: FinalState

    @property
    def as_expected(self) -> bool:
        """Return whether the process ended as the configuration says."""
        return self.actual == self.expected
