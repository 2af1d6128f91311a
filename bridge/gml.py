"""Reading GML, the Graph Modelling Language: fast where it is plain, as graphs of networks are, else by networkx.

Plain is a graph of nodes and edges whose attributes are whole numbers, reals and strings, each once: no comments,
no nested lists, no character entities. A million edges are read in seconds. Whatever else there is, and whatever
is wrong, is networkx's to read or to name; what both can read comes out the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

_INTEGER: Final = r"[+-]?[0-9]+"
_REAL: Final = r"[+-]?(?:[0-9]*\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][+-]?[0-9]+)?"
_PAIR: Final = re.compile(rf'([A-Za-z]\w*)\s+(?:({_REAL})|({_INTEGER})|"([^"&\n]*)")\s*')
_PAIRS: Final = rf'(?:[A-Za-z]\w*\s+(?:{_REAL}|{_INTEGER}|"[^"&\n]*")\s+)*?'
_OPENING: Final = re.compile(rf"\s*graph\s*\[\s*({_PAIRS})(?=node|edge|\])")
_BLOCK: Final = re.compile(r'(node|edge)\s*\[\s*((?:[^\[\]"&#]|"[^"&\n]*")*)\]\s*')
_CLOSING: Final = re.compile(r"\]\s*\Z")

_NODE_BLOCK: Final = re.compile(r"\bnode\s*\[([^\]]*)\]")
_EDGE_BLOCK: Final = re.compile(r"\bedge\s*\[([^\]]*)\]")
_GRAPH_OPENING: Final = re.compile(r"^(\s*graph\s*\[)", re.MULTILINE)
_ANNOUNCED: Final = re.compile(r"\bgraph\s*\[[^\[\]]*\bmultigraph\s+1\b")
_POSITION: Final = re.compile(r" at \((\d+), \d+\)$")

Attributes = dict[str, Any]


class GmlError(ValueError):
    """Text that is not a graph in GML; `line` counts from 1, None if no line is to blame."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Gml:
    """A graph as it was written.

    Attributes
    ----------
    directed : bool
    nodes : dict
        Attributes of each node, by its id.
    edges : list of (source, target, dict)
        Ids of the ends, and attributes. Parallel edges are allowed. The order is not that of the text.
    """

    directed: bool
    nodes: dict[Any, Attributes]
    edges: list[tuple[Any, Any, Attributes]]


def read_gml(text: str) -> Gml:
    """Read a graph; parallel edges are allowed, whether the text announces a multigraph or not.

    Raises
    ------
    GmlError
        With the line where one is to blame.
    """
    return _read_plain(text) or _read_any(text)


def line_of_node(text: str, number: object) -> int | None:
    """Return the line where a node begins."""
    wanted = re.compile(rf"\bid\s+{re.escape(str(number))}\b")
    return next((_line_at(text, b.start()) for b in _NODE_BLOCK.finditer(text) if wanted.search(b[1])), None)


def line_of_edge(text: str, source: int, target: int) -> int | None:
    """Return the line of the first edge between two nodes, whichever is its source."""
    for block in _EDGE_BLOCK.finditer(text):
        ends = {int(match[2]) for match in re.finditer(r"\b(source|target)\s+(\d+)", block[1])}
        if ends == {source, target}:
            return _line_at(text, block.start())
    return None


def _read_plain(text: str) -> Gml | None:
    """Read a plain graph; None if it is not plain, or not right."""
    opening = _OPENING.match(text) if text.isascii() else None
    header = _attributes(opening[1]) if opening else None
    if opening is None or header is None or header.get("directed", 0) not in (0, 1):
        return None
    nodes: dict[Any, Attributes] = {}
    edges: list[tuple[Any, Any, Attributes]] = []
    position = opening.end()
    while block := _BLOCK.match(text, position):
        position = block.end()
        attributes = _attributes(block[2])
        if attributes is None:
            return None
        if block[1] == "edge":
            # An id that is no integer, as `3.` is none, may be equal to one and be written otherwise.
            if not _has_integers(attributes, "source", "target") or "key" in attributes:
                return None
            edges.append((attributes.pop("source"), attributes.pop("target"), attributes))
        else:
            if not _has_integers(attributes, "id") or attributes["id"] in nodes:
                return None
            nodes[attributes.pop("id")] = attributes
    known = all(source in nodes and target in nodes for source, target, _ in edges)
    return Gml(header.get("directed", 0) == 1, nodes, edges) if known and _CLOSING.match(text, position) else None


def _has_integers(attributes: Attributes, *keys: str) -> bool:
    return all(isinstance(attributes.get(key), int) for key in keys)


def _attributes(text: str) -> Attributes | None:
    found: Attributes = {}
    position = 0
    while pair := _PAIR.match(text, position):
        key, real, integer, string = pair.groups()
        if key in found:
            return None
        found[key] = string if string is not None else int(integer) if integer is not None else float(real)
        position = pair.end()
    return found if position == len(text) else None


def _read_any(text: str) -> Gml:
    import networkx as nx

    if not _ANNOUNCED.search(text):
        text = _GRAPH_OPENING.sub(r"\1 multigraph 1", text, count=1)
    try:
        graph = nx.parse_gml(text.split("\n"), label="id")
    except (nx.NetworkXError, TypeError, ValueError) as error:
        raise _syntax_error(text, str(error)) from None
    except IndexError:
        raise GmlError("not GML: a string does not end where it should") from None
    return Gml(graph.is_directed(), dict(graph.nodes(data=True)), list(graph.edges(data=True)))


def _syntax_error(text: str, message: str) -> GmlError:
    position = _POSITION.search(message)
    if position:
        # The end of the text is a line further than its last.
        line = min(int(position[1]), text.rstrip("\n").count("\n") + 1)
        return GmlError(f"not GML: {message[: position.start()]}", line)
    element = re.match(r"(node|edge) #(\d+)", message)
    if element:
        blocks = list((_NODE_BLOCK if element[1] == "node" else _EDGE_BLOCK).finditer(text))
        if int(element[2]) < len(blocks):
            return GmlError(message, _line_at(text, blocks[int(element[2])].start()))
    return GmlError(message)


def _line_at(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1
