"""The network graph: GML, in Shadow's dialect.

A node is a place that hosts attach to; an edge carries latency and packet loss. `bridge.paths` finds the way from one
node to another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from bridge.gml import Attributes, GmlError, line_of_edge, line_of_node, read_gml
from bridge.units import UnitError, parse_bandwidth, parse_time

SWITCH_1_GBIT: Final = """\
graph [
  directed 0
  node [ id 0 host_bandwidth_up "1 Gbit" host_bandwidth_down "1 Gbit" ]
  edge [ source 0 target 0 latency "1 ms" packet_loss 0.0 ]
]
"""
"""Shadow's built-in graph `1_gbit_switch`."""

UNREACHABLE: Final = -1
"""The latency of a pair without a path."""


class GraphError(ValueError):
    """A graph that cannot be used. `line` counts from 1 inside the GML text; None if no line is to blame."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A place in the network. Bandwidths are bits per second, None where the graph gives none."""

    id: int
    label: str
    uplink_bps: int | None
    downlink_bps: int | None


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """A link. In an undirected graph it carries packets both ways."""

    source: int
    target: int
    latency_ns: int
    loss: float


@dataclass(frozen=True, slots=True)
class NetworkGraph:
    """The whole graph as it was written; nodes by ascending id."""

    nodes: dict[int, GraphNode]
    edges: tuple[GraphEdge, ...]
    directed: bool


def parse_gml(text: str) -> NetworkGraph:
    """Read a graph in Shadow's dialect of GML. Parallel edges are allowed: the fastest counts.

    Raises
    ------
    GraphError
        With the line inside `text` where one is to blame.
    """
    try:
        graph = read_gml(text)
    except GmlError as error:
        raise GraphError(str(error), error.line) from None
    for number in graph.nodes:
        if not isinstance(number, int) or number < 0:
            message = f"node {number}: its id must be a whole number, 0 or more"
            raise GraphError(message, line_of_node(text, number))
    nodes = {number: _read_node(text, number, graph.nodes[number]) for number in sorted(graph.nodes)}
    edges = tuple(_read_edge(text, *edge) for edge in graph.edges)
    if not nodes:
        raise GraphError("the graph has no node")
    return NetworkGraph(nodes, edges, graph.directed)


def _read_node(text: str, number: int, attributes: Attributes) -> GraphNode:
    bandwidth: dict[str, int | None] = {}
    for key in ("host_bandwidth_up", "host_bandwidth_down"):
        try:
            bandwidth[key] = parse_bandwidth(attributes[key]) if key in attributes else None
        except UnitError as error:
            raise GraphError(f"node {number}, {key}: {error}", line_of_node(text, number)) from None
        if bandwidth[key] == 0:
            raise GraphError(f"node {number}, {key}: must be more than 0", line_of_node(text, number))
    label = str(attributes.get("label", number))
    return GraphNode(number, label, bandwidth["host_bandwidth_up"], bandwidth["host_bandwidth_down"])


def _read_edge(text: str, source: int, target: int, attributes: Attributes) -> GraphEdge:
    def error(message: str) -> GraphError:
        return GraphError(f"edge {source} to {target}: {message}", line_of_edge(text, source, target))

    if "latency" not in attributes:
        raise error('has no latency; write it as latency "10 ms"')
    try:
        latency_ns = _time(attributes["latency"])
        if "jitter" in attributes:
            _time(attributes["jitter"])
    except UnitError as problem:
        raise error(str(problem)) from None
    if latency_ns == 0:
        raise error("latency must be more than 0")
    loss = attributes.get("packet_loss", 0.0)
    if isinstance(loss, bool) or not isinstance(loss, int | float) or not 0 <= loss <= 1:
        raise error(f"packet_loss is {loss!r}, and must be a number from 0 to 1")
    return GraphEdge(source, target, latency_ns, float(loss))


_parse_text: Final = lru_cache(maxsize=2**16)(parse_time)
"""Remembers: the edges of a large graph have few different latencies."""


def _time(value: object) -> int:
    # Numbers are not remembered: 1 and 1.0 would be the same to a cache, and are not to us.
    return _parse_text(value) if isinstance(value, str) else parse_time(value)
