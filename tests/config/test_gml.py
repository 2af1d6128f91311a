"""The fast reader of plain GML and networkx agree about whatever the fast one accepts."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge import gml
from bridge.gml import Gml, GmlError

PLAIN = """\
graph [
  directed 0
  label "plain"
  node [ id 0 label "a" host_bandwidth_up "1 Gbit" ]
  node
  [ id 3 x -1.5e3 y .25 ]
  edge [ source 0 target 3 latency "5 ms" packet_loss 0.1 jitter "1 ms" ]
  edge [ source 3 target 0 latency 2 ] edge [ source 0 target 0 latency "[2] ms" ]
]
"""
#: What may stand where it should not.
PIECES = ["[", "]", '"', " ", "\n", "#", "&amp;", "node", "edge", "graph", "id", "0", "3", "1.5", "-", "+1", ".", "é"]
PIECES += ["directed 1", "multigraph 1", "key 0", "id 0", 'label "x"', "source 3", "target 7", "INF", "1e5", "a_b 1"]


def comparable(graph: Gml) -> tuple[bool, dict[Any, Any], list[Any]]:
    """Edges in one order, and without a direction where they have none."""
    edges = []
    for source, target, attributes in graph.edges:
        ends = (source, target) if graph.directed else tuple(sorted((source, target), key=repr))
        edges.append(repr((ends, sorted(attributes.items()))))
    edges.sort()
    return graph.directed, {number: dict(attributes) for number, attributes in graph.nodes.items()}, edges


def test_a_plain_graph_is_read_as_networkx_reads_it() -> None:
    plain = gml._read_plain(PLAIN)
    assert plain is not None
    assert comparable(plain) == comparable(gml._read_any(PLAIN))
    assert plain.nodes[3] == {"x": -1500.0, "y": 0.25}
    assert len(plain.edges) == 3


@settings(max_examples=500, deadline=None)
@example(changes=[(214, 0, ".")])  # an end that is a real number
@given(st.lists(st.tuples(st.integers(0, len(PLAIN)), st.integers(0, 6), st.sampled_from(["", *PIECES])), max_size=3))
def test_whatever_the_fast_reader_accepts_networkx_reads_alike(changes: list[tuple[int, int, str]]) -> None:
    text = PLAIN
    for position, removed, inserted in changes:
        text = text[:position] + inserted + text[position + removed :]
    plain = gml._read_plain(text)
    if plain is None:
        return
    try:
        expected = gml._read_any(text)
    except GmlError as error:
        raise AssertionError(f"only networkx refuses {text!r}: {error}") from error
    assert comparable(plain) == comparable(expected)
