"""The network graph: GML, in Shadow's dialect.

A node is a place that hosts attach to; an edge carries latency and packet loss. `bridge.paths` finds the way from one
node to another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import networkx as nx

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

_GRAPH_OPENING: Final = re.compile(r"^(\s*graph\s*\[)", re.MULTILINE)
_POSITION: Final = re.compile(r" at \((\d+), \d+\)$")
_EDGE_BLOCK: Final = re.compile(r"\bedge\s*\[([^\]]*)\]")
_NODE_BLOCK: Final = re.compile(r"\bnode\s*\[([^\]]*)\]")


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
    """Read a graph in Shadow's dialect of GML.

    Parallel edges are allowed (the fastest counts), so the text is read as a multigraph whether it says so or
    not.

    Raises
    ------
    GraphError
        With the line inside `text` where one is to blame.
    """
    if not re.search(r"\bmultigraph\s+1\b", text):
        text = _GRAPH_OPENING.sub(r"\1 multigraph 1", text, count=1)
    try:
        graph = nx.parse_gml(text.split("\n"), label="id")
    except (nx.NetworkXError, TypeError, ValueError) as error:
        raise _syntax_error(text, str(error)) from None
    nodes = {number: _read_node(text, number, graph.nodes[number]) for number in sorted(graph.nodes)}
    edges = tuple(_read_edge(text, *edge) for edge in graph.edges(data=True))
    if not nodes:
        raise GraphError("the graph has no node")
    return NetworkGraph(nodes, edges, graph.is_directed())


def _read_node(text: str, number: object, attributes: dict[str, Any]) -> GraphNode:
    line = _line_of_node(text, number)
    if not isinstance(number, int) or number < 0:
        raise GraphError(f"node {number}: its id must be a whole number, 0 or more", line)
    bandwidth: dict[str, int | None] = {}
    for key in ("host_bandwidth_up", "host_bandwidth_down"):
        try:
            bandwidth[key] = parse_bandwidth(attributes[key]) if key in attributes else None
        except UnitError as error:
            raise GraphError(f"node {number}, {key}: {error}", line) from None
        if bandwidth[key] == 0:
            raise GraphError(f"node {number}, {key}: must be more than 0", line)
    label = str(attributes.get("label", number))
    return GraphNode(number, label, bandwidth["host_bandwidth_up"], bandwidth["host_bandwidth_down"])


def _read_edge(text: str, source: int, target: int, attributes: dict[str, Any]) -> GraphEdge:
    name = f"edge {source} to {target}"
    if "latency" not in attributes:
        raise GraphError(f'{name}: has no latency; write it as latency "10 ms"', _line_of_edge(text, source, target))
    try:
        latency_ns = parse_time(attributes["latency"])
        if "jitter" in attributes:
            parse_time(attributes["jitter"])
    except UnitError as error:
        raise GraphError(f"{name}: {error}", _line_of_edge(text, source, target)) from None
    if latency_ns == 0:
        raise GraphError(f"{name}: latency must be more than 0", _line_of_edge(text, source, target))
    loss = attributes.get("packet_loss", 0.0)
    if isinstance(loss, bool) or not isinstance(loss, int | float) or not 0 <= loss <= 1:
        message = f"{name}: packet_loss is {loss!r}, and must be a number from 0 to 1"
        raise GraphError(message, _line_of_edge(text, source, target))
    return GraphEdge(source, target, latency_ns, float(loss))


def _syntax_error(text: str, message: str) -> GraphError:
    position = _POSITION.search(message)
    if position:
        # The end of the text is a line further than its last.
        line = min(int(position[1]), text.rstrip("\n").count("\n") + 1)
        return GraphError(f"not GML: {message[: position.start()]}", line)
    element = re.match(r"(node|edge) #(\d+)", message)
    if element:
        blocks = list((_NODE_BLOCK if element[1] == "node" else _EDGE_BLOCK).finditer(text))
        if int(element[2]) < len(blocks):
            return GraphError(message, _line_at(text, blocks[int(element[2])].start()))
    return GraphError(message)


def _line_of_node(text: str, number: object) -> int | None:
    wanted = re.compile(rf"\bid\s+{re.escape(str(number))}\b")
    return next((_line_at(text, b.start()) for b in _NODE_BLOCK.finditer(text) if wanted.search(b[1])), None)


def _line_of_edge(text: str, source: int, target: int) -> int | None:
    """Find the first edge between two nodes; networkx may hand over an undirected edge's ends either way."""
    for block in _EDGE_BLOCK.finditer(text):
        ends = {int(match[2]) for match in re.finditer(r"\b(source|target)\s+(\d+)", block[1])}
        if ends == {source, target}:
            return _line_at(text, block.start())
    return None


def _line_at(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1
