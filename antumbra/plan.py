"""From a configuration to a plan that can run: the checks that need the graph, files or the machine.

All problems are collected before any is told, as far as one does not make the next check meaningless.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antumbra.binaries import BinaryError, find_binary
from antumbra.configuration import Configuration, Sections
from antumbra.problems import Problems
from antumbra.resources import Estimate, estimate, shortages, this_machine
from antumbra.source import Path as KeyPath
from bridge.collector import without_collections
from bridge.directory import (
    BandwidthShare,
    ColdPlacement,
    DirectoryError,
    HostDirectory,
    HotPlacement,
    build_directory,
)
from bridge.graph import SWITCH_1_GBIT, GraphError, GraphNode, NetworkGraph, parse_gml
from bridge.paths import Paths
from bridge.proximity import order_by_proximity
from bridge.section import GraphFile
from bridge.units import format_time
from cold.memory import estimate_memory as estimate_cold_memory
from cold.resolution_section import Resolution
from cold.section import MOST_DATAGRAM_BYTES, ColdPopulation
from hot.section import WITHOUT_EFFECT, HostPlan, HostSection, ProcessPlan, ProcessSection
from hot.users import resolve_users

_MOST_PAIRS_TOLD = 10
_MOST_NODES_OF_A_TAIL = 2**16
"""Its kernels keep the node of a host in 16 bits."""


@dataclass(frozen=True)
class Plan:
    """An experiment that passed every check, and can be assembled.

    Attributes
    ----------
    configuration : Configuration
    graph : NetworkGraph
        As written; `paths.node_ids` are the nodes in use.
    directory : HostDirectory
    paths : Paths
    hosts : tuple of HostPlan
        By HostId.
    runahead_ns : int
        The length of a window.
    estimate : Estimate
        What it needs of the machine.
    resolutions : tuple of Resolution
        Of every topic of the cold tail, by its index.
    notes : tuple of str
        What the user should know, and what need not stop the run.
    """

    configuration: Configuration
    graph: NetworkGraph
    directory: HostDirectory
    paths: Paths
    hosts: tuple[HostPlan, ...]
    runahead_ns: int
    estimate: Estimate
    resolutions: tuple[Resolution, ...]
    notes: tuple[str, ...]

    @property
    def sections(self) -> Sections:
        """Return the configuration's sections."""
        return self.configuration.sections

    @property
    def described_resolutions(self) -> dict[str, str]:
        """Return the resolution of every topic of the tail: its name by the topic's number."""
        numbers = self.sections.cold.topic_numbers if self.sections.cold else []
        return {str(number): level.written for number, level in zip(numbers, self.resolutions, strict=True)}

    @property
    def dynamic_runahead(self) -> bool:
        """Return whether windows may grow with the latencies in use: never beside a cold tail."""
        return self.sections.experimental.use_dynamic_runahead and self.sections.cold is None


@without_collections
def make_plan(configuration: Configuration) -> Plan:
    """Check a configuration against its graph, the programs it names and this machine.

    Raises
    ------
    ConfigurationError
        Every problem found.
    """
    sections = configuration.sections
    problems = Problems(configuration.file, configuration.source)
    _check_times(sections, problems)
    _check_lookahead(sections, problems)
    _check_messages(sections, problems)
    binaries = _find_binaries(sections, problems)
    graph = _read_graph(configuration, problems)
    if graph is not None:
        in_use = _nodes_in_use(sections, graph, problems)
    problems.stop()
    assert graph is not None, "a graph that cannot be read is a problem, and has stopped us"

    paths = Paths(graph, in_use, sections.network.use_shortest_path)
    if sections.cold and len(paths.node_ids) > _MOST_NODES_OF_A_TAIL:
        message = (
            f"{len(paths.node_ids):,} nodes are in use; beside a cold tail at most {_MOST_NODES_OF_A_TAIL:,} can be"
        )
        problems.add(("network", "graph"), message)
    processes = [len(host.processes) for host in sections.hosts.values()]
    defaults = sections.host_option_defaults
    needed = estimate(
        hosts=len(processes),
        busy_hosts=len(processes) - processes.count(0),
        captures=sum(defaults.overridden_by(host.host_options).pcap_enabled for host in sections.hosts.values()),
        processes=sum(processes),
        identities=sections.cold.identity_count if sections.cold else 0,
        cold_bytes=estimate_cold_memory(sections.cold) if sections.cold else 0,
        cold_paths=len(_nodes_of_tail(sections, graph)) * len(paths.node_ids),
    )
    for shortage in shortages(needed, this_machine()):
        problems.add_machine(shortage)
    # Before the directory, which for a tail that does not fit would not fit either.
    problems.stop()
    directory = _build_directory(sections, graph, paths, problems)
    _check_paths(sections, paths, directory, problems)
    problems.stop()
    runahead_ns, notes = _runahead(sections, paths)
    return Plan(
        configuration,
        graph,
        directory,
        paths,
        tuple(_host_plan(number, name, sections, binaries) for number, name in enumerate(directory.hostnames)),
        runahead_ns,
        needed,
        _resolutions(sections, directory),
        (*notes, *_without_effect(sections)),
    )


def _check_messages(sections: Sections, problems: Problems) -> None:
    """Messages of the tail must fit the datagrams that hot hosts get."""
    if sections.hosts and sections.cold is not None and sections.cold.largest_message > MOST_DATAGRAM_BYTES:
        message = (
            f"messages of up to {sections.cold.largest_message} bytes do not fit a datagram to hot hosts; "
            f"{MOST_DATAGRAM_BYTES} bytes do"
        )
        problems.add(("cold",), message)


def _check_times(sections: Sections, problems: Problems) -> None:
    stop = sections.general.stop_time
    for key, process in _processes(sections):
        if process.start_time >= stop:
            problems.add((*key, "start_time"), f"must be before general.stop_time, which is {format_time(stop)}")
        if process.shutdown_time is None:
            continue
        if process.shutdown_time >= stop:
            problems.add((*key, "shutdown_time"), f"must be before general.stop_time, which is {format_time(stop)}")
        if process.shutdown_time <= process.start_time:
            start = format_time(process.start_time)
            problems.add((*key, "shutdown_time"), f"must be after the process's start_time, which is {start}")


def _check_lookahead(sections: Sections, problems: Problems) -> None:
    experimental = sections.experimental
    if experimental.lookahead == "partition" and experimental.use_dynamic_runahead:
        message = (
            "cannot be 'partition' where use_dynamic_runahead is true: windows follow the latencies in use, or the"
        )
        problems.add(("experimental", "lookahead"), f"{message} partition")


def _find_binaries(sections: Sections, problems: Problems) -> dict[str, Path]:
    """Return the program behind each `path`; a thousand hosts that run one program look once."""
    found: dict[str, Path] = {}
    failed: dict[str, str] = {}
    for key, process in _processes(sections):
        if process.path not in found and process.path not in failed:
            try:
                found[process.path] = find_binary(process.path)
            except BinaryError as error:
                failed[process.path] = str(error)
        if process.path in failed:
            problems.add((*key, "path"), failed[process.path])
    return found


def _processes(sections: Sections) -> Iterator[tuple[KeyPath, ProcessSection]]:
    for name, host in sections.hosts.items():
        for place, process in enumerate(host.processes):
            yield ("hosts", name, "processes", place), process


def _read_graph(configuration: Configuration, problems: Problems) -> NetworkGraph | None:
    section = configuration.sections.network.graph
    if section.type == "1_gbit_switch":
        return parse_gml(SWITCH_1_GBIT)
    key: KeyPath = ("network", "graph", "inline")
    try:
        if section.file is None:
            return parse_gml(section.inline or "")
        key = ("network", "graph", "file", "path")
        return parse_gml(_read_graph_file(section.file, configuration.folder))
    except GraphError as error:
        if section.file is not None:
            place = section.file.path if error.line is None else f"{section.file.path}:{error.line}"
            problems.add(key, f"{place}: {error}")
        else:
            first = configuration.source.text_lines.get(key)
            line = first + error.line - 1 if first is not None and error.line is not None else None
            problems.add(key, str(error), line)
    except (OSError, UnicodeDecodeError, lzma.LZMAError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problems.add(key, f"the graph cannot be read: {reason}")
    return None


def _read_graph_file(file: GraphFile, folder: Path) -> str:
    """Read a graph: from the working directory as in Shadow, or else from beside the configuration."""
    path = Path(file.path).expanduser() if file.path.startswith("~/") else Path(file.path)
    if not path.exists() and (folder / path).exists():
        path = folder / path
    content = path.read_bytes()
    if file.compression == "xz":
        content = lzma.decompress(content)
    return content.decode("utf-8")


def _nodes_in_use(sections: Sections, graph: NetworkGraph, problems: Problems) -> list[int]:
    """Return the ids of the nodes that hosts and identities are attached to; all of them exist."""
    in_use: set[int] = set()
    for name, host in sections.hosts.items():
        key = ("hosts", name, "network_node_id")
        if host.network_node_id not in graph.nodes:
            problems.add(key, f"there is no node {host.network_node_id} in the graph; {_known_nodes(graph)}")
            continue
        in_use.add(host.network_node_id)
        node = graph.nodes[host.network_node_id]
        for field, own, default in (
            ("bandwidth_up", host.bandwidth_up, node.uplink_bps),
            ("bandwidth_down", host.bandwidth_down, node.downlink_bps),
        ):
            if own is None and default is None:
                message = f"is required, because node {node.id} of the graph has no host_{field}"
                problems.add(("hosts", name, field), message)
    for name, population in sections.cold.populations.items() if sections.cold else ():
        for node_id in population.regions or graph.nodes:
            if node_id not in graph.nodes:
                path: KeyPath = ("cold", "populations", name, "regions", node_id)
                problems.add(path, f"there is no node {node_id} in the graph; {_known_nodes(graph)}")
                continue
            in_use.add(node_id)
            node = graph.nodes[node_id]
            if population.bandwidth is None and (node.uplink_bps is None or node.downlink_bps is None):
                message = f"is required, because node {node.id} of the graph has no host_bandwidth_up and _down"
                problems.add(("cold", "populations", name, "bandwidth"), message)
    for place, failure in enumerate(sections.cold.failures if sections.cold else ()):
        for index, node_id in enumerate(getattr(failure, "regions", None) or ()):
            if node_id not in graph.nodes:
                where: KeyPath = ("cold", "failures", place, "regions", index)
                problems.add(where, f"there is no node {node_id} in the graph; {_known_nodes(graph)}")
    return sorted(in_use)


def _nodes_of_tail(sections: Sections, graph: NetworkGraph) -> set[int]:
    populations = sections.cold.populations.values() if sections.cold else ()
    return {node for population in populations for node in population.regions or graph.nodes}


def _known_nodes(graph: NetworkGraph) -> str:
    ids = list(graph.nodes)
    shown = ", ".join(str(number) for number in ids[:12])
    return f"it has {shown}" + (f" and {len(ids) - 12} more" if len(ids) > 12 else "")


def _build_directory(sections: Sections, graph: NetworkGraph, paths: Paths, problems: Problems) -> HostDirectory:
    index = {number: place for place, number in enumerate(paths.node_ids)}
    hot = [
        _hot_placement(name, host, graph.nodes[host.network_node_id], index) for name, host in sections.hosts.items()
    ]
    # Near nodes one after the other, so that a contiguous range of identities is a region.
    by_proximity = order_by_proximity(graph).node_ids if sections.cold else ()
    cold = [
        _cold_placement(name, population, graph, index)
        for name, population in (sections.cold.populations.items() if sections.cold else ())
    ]
    bandwidth = [(graph.nodes[n].uplink_bps or 0, graph.nodes[n].downlink_bps or 0) for n in paths.node_ids]
    try:
        return build_directory(
            hot,
            cold,
            bandwidth,
            node_order=[index[number] for number in by_proximity if number in index],
            prefix6=int(sections.network.ip6_prefix.network_address),
        )
    except DirectoryError as error:
        key: KeyPath = ("cold", "populations", error.name, "addresses")
        if error.name in sections.hosts:
            key = ("hosts", error.name, "ip6_addr" if error.ipv6 else "ip_addr")
        problems.add(key, str(error))
        problems.stop()
        raise


def _hot_placement(name: str, host: HostSection, node: GraphNode, index: dict[int, int]) -> HotPlacement:
    return HotPlacement(
        name,
        index[node.id],
        host.bandwidth_up or node.uplink_bps or 0,
        host.bandwidth_down or node.downlink_bps or 0,
        host.ip_addr,
        None if host.ip6_addr is None else int(host.ip6_addr),
    )


def _cold_placement(name: str, population: ColdPopulation, graph: NetworkGraph, index: dict[int, int]) -> ColdPlacement:
    weights = population.regions or dict.fromkeys(graph.nodes, 1.0)
    return ColdPlacement(
        name,
        population.count,
        tuple((index[node_id], weight) for node_id, weight in weights.items()),
        tuple(BandwidthShare(link.share, link.up, link.down) for link in population.bandwidth or ()),
        population.addresses,
    )


def _check_paths(sections: Sections, paths: Paths, directory: HostDirectory, problems: Problems) -> None:
    """Find the pairs of hosts that cannot reach each other, and the places that lack a path to themselves."""
    residents = np.bincount(directory.node, minlength=len(paths.node_ids))
    first_of = {int(node): int(host) for node, host in reversed(_first_residents(directory))}
    count, pairs = paths.missing(residents > 0, residents > 1, _MOST_PAIRS_TOLD)
    kind = "path" if sections.network.use_shortest_path else "edge (use_shortest_path is false)"
    for a, b in pairs:
        one, other = directory.name_of(first_of[a]), directory.name_of(first_of[b])
        if a == b:
            node = paths.node_ids[a]
            message = (
                f"{residents[a]} hosts share node {node} ({one}, ...), which has no edge to itself; "
                f"add edge [ source {node} target {node} latency ... ] to the graph"
            )
        else:
            message = f"no {kind} from node {paths.node_ids[a]} ({one}) to node {paths.node_ids[b]} ({other})"
        problems.add(_attachment_key(one, sections), message)
    if count > len(pairs):
        problems.add(("network", "graph"), f"{count} pairs of nodes in use have no {kind} in all")


def _first_residents(directory: HostDirectory) -> list[tuple[int, int]]:
    nodes, hosts = np.unique(directory.node, return_index=True)
    return list(zip(nodes.tolist(), hosts.tolist(), strict=True))


def _attachment_key(name: str, sections: Sections) -> KeyPath:
    if name in sections.hosts:
        return ("hosts", name, "network_node_id")
    return ("cold", "populations", name.partition("[")[0], "regions")


def _host_plan(number: int, name: str, sections: Sections, binaries: dict[str, Path]) -> HostPlan:
    host = sections.hosts[name]
    options = sections.host_option_defaults.overridden_by(host.host_options)
    users = resolve_users([*(process.user for process in host.processes), *host.users])
    further = tuple(users[len(host.processes) :])
    processes = tuple(
        ProcessPlan(
            executable=binaries[process.path],
            arguments=(str(binaries[process.path]), *process.args),
            environment=tuple(sorted(process.environment.items())),
            start_time_ns=process.start_time,
            shutdown_time_ns=process.shutdown_time,
            shutdown_signal=process.shutdown_signal,
            expected_final_state=process.expected_final_state,
            user=user,
        )
        for process, user in zip(host.processes, users, strict=False)
    )
    capture = (options.pcap_enabled, options.pcap_capture_size)
    return HostPlan(number, name, processes, options.log_level, *capture, further)


def _runahead(sections: Sections, paths: Paths) -> tuple[int, list[str]]:
    """Return the length of a window: the smallest latency, or less where the configuration says so."""
    safe = paths.min_latency_ns or sections.general.stop_time
    asked = sections.experimental.runahead
    notes = []
    if asked is not None and asked > safe:
        notes.append(
            f"experimental.runahead is {format_time(asked)}, longer than the smallest latency; windows are "
            f"{format_time(safe)} long, so that no packet comes late"
        )
    if sections.experimental.use_dynamic_runahead and sections.cold:
        notes.append("experimental.use_dynamic_runahead: without effect beside a cold tail")
    return min(asked or safe, safe), notes


def _resolutions(sections: Sections, directory: HostDirectory) -> tuple[Resolution, ...]:
    """Return the resolution of every topic of the tail, by its index."""
    if sections.cold is None:
        return ()
    if not sections.cold.resolution.is_coarse:
        return (Resolution.EXACT,) * len(sections.cold.topic_numbers)
    # Here, because it loads numba, which checking other configurations can do without.
    from cold.resolution import resolutions
    from cold.scenario import Scenario

    general = sections.general
    return tuple(resolutions(Scenario(sections.cold, directory, general.seed, general.stop_time)))


def _without_effect(sections: Sections) -> Iterator[str]:
    keys = [f"experimental.{name}" for name in sorted(sections.experimental.model_fields_set & WITHOUT_EFFECT)]
    if sections.general.parallelism > 1:
        keys.append("general.parallelism")
    if "heartbeat_interval" in sections.general.model_fields_set:
        keys.append("general.heartbeat_interval")
    if keys:
        yield "accepted, without effect here: " + ", ".join(keys)
