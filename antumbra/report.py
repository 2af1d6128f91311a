"""What a person sees: the plan that `antumbra check` prints, and what happened, at the end of a run.

The hot half of the report is read from what the peers themselves wrote: `gossip-node` prints a line of JSON
for every message that it publishes or gets.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from antumbra.plan import Plan
from bridge.directory import HostDirectory
from bridge.paths import Paths
from bridge.simtime import EPOCH, NS_PER_MS, NS_PER_S
from bridge.units import format_bandwidth, format_size, format_time

if TYPE_CHECKING:
    from antumbra.assembly import MessageTable, RunResult

_MOST_PEERS: Final = 40
_MOST_MESSAGES_PER_TABLE: Final = 6
_MOST_ROWS: Final = 40


@dataclass
class MessageAtPeers:
    """What hot peers wrote about one message. Times are nanoseconds since the start of the simulation."""

    id: int
    published_ns: int | None = None
    delivered_ns: dict[str, int] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


def read_peer_logs(hosts: Path) -> tuple[list[str], dict[int, MessageAtPeers]]:
    """Read the lines of JSON that peers wrote to their stdout.

    Parameters
    ----------
    hosts
        The folder `hosts` of a run's directory.

    Returns
    -------
    list of str
        The hosts that have such a peer, by name.
    dict
        Messages by id, by publishing time.
    """
    peers: set[str] = set()
    messages: dict[int, MessageAtPeers] = {}
    for log in sorted(hosts.glob("*/*.stdout")):
        for event in _events(log):
            peers.add(log.parent.name)
            if event["event"] not in ("publish", "deliver"):
                continue
            number = _message_id(event["id"])
            message = messages.setdefault(number, MessageAtPeers(number))
            time_ns = int(event["time_ns"]) - EPOCH * NS_PER_S
            if event["event"] == "publish":
                message.published_ns = time_ns
            else:
                message.delivered_ns.setdefault(log.parent.name, time_ns)
                if not event.get("ok", True):
                    message.damaged.append(log.parent.name)
                if message.published_ns is None and "delay_ns" in event:
                    message.published_ns = time_ns - int(event["delay_ns"])
    ordered = sorted(messages.values(), key=lambda message: (message.published_ns or 0, message.id))
    return sorted(peers, key=_natural), {message.id: message for message in ordered}


def print_plan(console: Console, plan: Plan) -> None:
    """Print what would run, and what it needs of the machine."""
    general = plan.sections.general
    directory = plan.directory
    table = _facts(f"{plan.configuration.file}: this can run")
    table.add_row("simulated time", format_time(general.stop_time))
    table.add_row("seed", str(general.seed))
    nodes = len(plan.paths.node_ids)
    table.add_row(
        "graph",
        f"{_count(len(plan.graph.nodes), 'node')}, {nodes} in use, {_count(len(plan.graph.edges), 'edge')}",
    )
    table.add_row("smallest latency", _smallest_latency(plan.paths))
    table.add_row("window", format_time(plan.runahead_ns))
    processes = sum(len(host.processes) for host in plan.hosts)
    table.add_row("hot hosts", f"{directory.hot_count:,} with {_count(processes, 'process', 'processes')}")
    table.add_row("cold identities", f"{directory.total_count - directory.hot_count:,}")
    for cold in directory.populations:
        first, last = IPv4Address(cold.first_address), IPv4Address(cold.first_address + cold.count - 1)
        table.add_row(f"  {escape(cold.name)}", f"{cold.count:,}, {first} to {last}")
    if plan.sections.cold is not None and plan.sections.cold.resolution.is_coarse:
        for level, count in sorted(Counter(plan.resolutions).items()):
            table.add_row("  resolution", f"{level.written}: {_count(count, 'topic')}")
    needed = plan.estimate
    table.add_row(
        "estimated memory",
        f"{format_size(needed.total_bytes)} (hot {format_size(needed.hot_bytes)}, cold "
        f"{format_size(needed.cold_bytes)}, the rest {format_size(needed.shared_bytes)})",
    )
    table.add_row("run directory", escape(general.data_directory))
    console.print(table)
    _print_hosts(console, plan)
    for note in plan.notes:
        console.print(f"[yellow]note:[/] {escape(note)}")


def print_result(console: Console, result: RunResult) -> None:
    """Print what happened in a run."""
    peers, messages = read_peer_logs(result.directory / "hosts")
    if messages:
        _print_peer_matrix(console, result, peers, list(messages.values()))
    if result.messages is not None and len(result.messages):
        console.print(_tail_table(result.messages, result.plan.directory))
    if result.requests is not None:
        console.print(_request_table(result.requests))
    if result.transactions is not None:
        console.print(_transaction_table(result.transactions))
    console.print(_summary(result))
    for outcome in result.failures:
        console.print(
            f"[red]failed:[/] {escape(outcome.host)}: {escape(outcome.program)} (pid {outcome.pid}) ended as "
            f"{escape(str(outcome.actual))}, and {escape(str(outcome.expected))} was expected"
        )
    if result.loop.interrupted:
        console.print(f"[yellow]interrupted[/] at {format_time(result.loop.reached_ns)} of simulated time")


def _print_hosts(console: Console, plan: Plan) -> None:
    directory = plan.directory
    if not plan.hosts:
        return
    table = Table(title="Hot hosts", title_justify="left")
    for heading in ("host", "address", "IPv6 address", "node", "up", "down", "processes"):
        table.add_column(heading)
    for host in plan.hosts[:_MOST_ROWS]:
        number = host.host_id
        programs = ", ".join(process.executable.name for process in host.processes)
        table.add_row(
            escape(host.name),
            str(IPv4Address(int(directory.address[number]))),
            str(IPv6Address(directory.address6_of(number))),
            str(plan.paths.node_ids[directory.node[number]]),
            format_bandwidth(int(directory.uplink_bps[number])),
            format_bandwidth(int(directory.downlink_bps[number])),
            escape(programs),
        )
    console.print(table)
    if len(plan.hosts) > _MOST_ROWS:
        console.print(f"... and {len(plan.hosts) - _MOST_ROWS:,} more")


def _print_peer_matrix(
    console: Console, result: RunResult, peers: Sequence[str], messages: Sequence[MessageAtPeers]
) -> None:
    """Print when each hot peer got each message, or, where there are too many peers, how many got it."""
    if len(peers) > _MOST_PEERS or len(messages) > _MOST_ROWS:
        console.print(_peer_counts(result, peers, messages[:_MOST_ROWS]))
        return
    tables = -(-len(messages) // _MOST_MESSAGES_PER_TABLE)
    width = -(-len(messages) // tables)
    for start in range(0, len(messages), width):
        part = messages[start : start + width]
        table = Table(title="When the hot peers got each message (ms after it)", title_justify="left")
        table.add_column("message")
        for message in part:
            table.add_column(_message_name(message.id, result.plan.directory), justify="right")
        table.add_row("published at", *(_seconds(message.published_ns) for message in part), end_section=True)
        for peer in peers:
            table.add_row(escape(peer), *(_delivery(message, peer, result.plan.directory) for message in part))
        table.add_section()
        table.add_row("hot peers", *(f"{_reached(message, result.plan.directory)} of {len(peers)}" for message in part))
        console.print(table)


def _peer_counts(result: RunResult, peers: Sequence[str], messages: Iterable[MessageAtPeers]) -> Table:
    table = Table(title="Messages at the hot peers", title_justify="left")
    for heading in ("message", "published at", "hot peers", "first ms", "median ms", "last ms", "damaged"):
        table.add_column(heading, justify="left" if heading == "message" else "right")
    for message in messages:
        delays = sorted(_delay_ms(message, time_ns) for time_ns in message.delivered_ns.values())
        spread = [f"{delays[0]:.1f}", f"{delays[len(delays) // 2]:.1f}", f"{delays[-1]:.1f}"] if delays else ["-"] * 3
        table.add_row(
            _message_name(message.id, result.plan.directory),
            _seconds(message.published_ns),
            f"{_reached(message, result.plan.directory)} of {len(peers)}",
            *spread,
            str(len(message.damaged)),
        )
    return table


def _tail_table(messages: MessageTable, directory: HostDirectory) -> Table:
    identities = directory.total_count - directory.hot_count
    table = Table(title=f"Spread through the tail of {identities:,} identities", title_justify="left")
    for heading in ("message", "topic", "published at", "reached", "p50 ms", "p95 ms", "p99 ms", "last ms"):
        table.add_column(heading, justify="left" if heading == "message" else "right", no_wrap=True)
    for row in messages[:_MOST_ROWS]:
        # A cold publisher has its message without getting it.
        reached = int(row["delivered"]) + (int(row["origin"]) >= directory.hot_count)
        table.add_row(
            _message_name(int(row["id"]), directory),
            str(row["topic"]),
            _seconds(int(row["publish_time_ns"])),
            _coverage(reached, identities),
            *(_quantile(row, name) for name in ("p50_ns", "p95_ns", "p99_ns", "max_ns")),
        )
    if len(messages) > _MOST_ROWS:
        table.caption = f"and {len(messages) - _MOST_ROWS:,} more in metrics/messages.parquet"
    return table


def _transaction_table(transactions: npt.NDArray[np.void]) -> Table:
    """A row for each way in which transactions spread; delays are means of what the rows say of each."""
    table = Table(title="Transactions of the tail", title_justify="left")
    headings = ("how", "transactions", "reached by each", "pushed", "announced", "asked", "p50 ms", "p95 ms", "p99 ms")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "how" else "right", no_wrap=True)
    for name, chosen in (
        ("pushed", transactions["pushed"] > 0),
        ("announced only", (transactions["pushed"] == 0) & (transactions["announced"] > 0)),
    ):
        rows = transactions[chosen]
        if not len(rows):
            continue
        reached = rows[rows["max_ns"] >= 0]
        columns = ("p50_ns", "p95_ns", "p99_ns") if len(reached) else ()
        means = [f"{reached[column].mean() / 1e6:,.1f}" for column in columns] or ["-"] * 3
        table.add_row(
            name,
            f"{len(rows):,}",
            f"{rows['delivered'].mean():,.1f}",
            *(f"{int(rows[column].sum()):,}" for column in ("pushed", "announced", "asked")),
            *means,
        )
    return table


def _request_table(requests: npt.NDArray[np.void]) -> Table:
    table = Table(title="Requests of the tail", title_justify="left")
    for heading in ("protocol", "asked", "answered", "failed", "timeouts", "refused", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(heading, justify="left" if heading == "protocol" else "right", no_wrap=True)
    for row in requests:
        protocol = str(row["protocol"])
        is_estimate = "executed" in (requests.dtype.names or ()) and row["executed"] < row["askers"]
        if is_estimate:
            protocol += f" ({int(row['executed']):,} of {int(row['askers']):,})"
        table.add_row(
            escape(protocol),
            *(
                ("≈ " if is_estimate else "") + f"{int(row[name]):,}"
                for name in ("asked", "answered", "failed", "timeouts", "refused")
            ),
            *(_quantile(row, name) for name in ("p50_ns", "p95_ns", "p99_ns")),
        )
    return table


def _summary(result: RunResult) -> Table:
    statistics = result.statistics
    directory = result.plan.directory
    table = _facts("The run")
    wall = result.loop.wall_ns / NS_PER_S
    table.add_row("simulated time", format_time(result.loop.reached_ns))
    table.add_row("wall time", f"{wall:.2f} s in {result.loop.windows:,} windows")
    per_minute: Any = statistics.get("wall_seconds_per_simulated_minute")
    table.add_row("wall time per simulated minute", "-" if per_minute is None else f"{per_minute:.2f} s")
    ended = sum(outcome.as_expected for outcome in result.outcomes)
    table.add_row(
        "hot hosts",
        f"{directory.hot_count:,} with {_count(len(result.outcomes), 'process', 'processes')}, "
        f"{ended:,} ended as expected",
    )
    table.add_row("cold identities", f"{directory.total_count - directory.hot_count:,}")
    crossed: Any = statistics.get("events_crossed", 0)
    table.add_row("packets between hot and cold", f"{crossed:,}")
    table.add_row("run directory", escape(str(result.directory)))
    return table


def _facts(title: str) -> Table:
    table = Table(title=escape(title), title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    return table


def _events(log: Path) -> Iterator[dict[str, Any]]:
    """Yield the events in a log; most programs write something else, and their logs may hold anything."""
    with log.open("rb") as file:
        for line in file:
            if not line.startswith(b'{"event"'):
                continue
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def _message_id(written: object) -> int:
    return int(written, 0) if isinstance(written, str) else int(str(written))


def _message_name(number: int, directory: HostDirectory) -> str:
    """Name a message by its publisher and its sequence number: the two halves of its id."""
    origin = directory.id_of_address(number >> 32)
    name = directory.name_of(origin) if origin >= 0 else str(IPv4Address(number >> 32))
    return escape(f"{name} #{number & 0xFFFFFFFF}")


def _origin_name(message: MessageAtPeers, directory: HostDirectory) -> str:
    origin = directory.id_of_address(message.id >> 32)
    return directory.name_of(origin) if origin >= 0 else ""


def _reached(message: MessageAtPeers, directory: HostDirectory) -> int:
    """Return how many hot peers have the message; one that published it has it without getting it."""
    origin = directory.id_of_address(message.id >> 32)
    own = 0 <= origin < directory.hot_count and directory.hostnames[origin] not in message.delivered_ns
    return len(message.delivered_ns) + own


def _delivery(message: MessageAtPeers, peer: str, directory: HostDirectory) -> str:
    if peer in message.damaged:
        return "[red]damaged[/]"
    if peer in message.delivered_ns:
        return f"{_delay_ms(message, message.delivered_ns[peer]):.1f}"
    return "published" if _origin_name(message, directory) == peer else "[red]-[/]"


def _delay_ms(message: MessageAtPeers, time_ns: int) -> float:
    return (time_ns - (message.published_ns or 0)) / NS_PER_MS


def _quantile(row: np.void, name: str) -> str:
    return f"{row[name] / NS_PER_MS:.1f}" if row[name] >= 0 else "-"


def _coverage(reached: int, identities: int) -> str:
    return f"{reached:,} ({reached / max(identities, 1):.2%})"


def _smallest_latency(paths: Paths) -> str:
    return format_time(paths.min_latency_ns) if paths.min_latency_ns else "no paths"


def _seconds(time_ns: int | None) -> str:
    return "?" if time_ns is None else f"{time_ns / NS_PER_S:.3f} s"


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def _natural(name: str) -> list[tuple[int, str | int]]:
    """Sort node2 before node10."""
    parts: list[tuple[int, str | int]] = []
    digits = ""
    for character in name + "\0":
        if character.isdigit():
            digits += character
            continue
        if digits:
            parts.append((0, int(digits)))
            digits = ""
        parts.append((1, character))
    return parts
