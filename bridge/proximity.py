"""An order of the graph's nodes in which near ones are neighbours: what is contiguous in it is a region.

A pure function of the graph, whoever is attached to it. Single-linkage clustering of shortest paths joins the
same groups in the same order as Kruskal's algorithm joins the nodes by the edges themselves (a minimum spanning
tree of the graph is one of its metric closure), so no paths have to be computed. Where two groups are joined,
each is turned so that the ends of the edge that joins them come as close as they can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bridge.graph import NetworkGraph

#: The distance between nodes that no path connects [ns].
APART: Final = 2**62


@dataclass(frozen=True)
class NodeOrder:
    """Nodes of a graph in an order in which near ones are neighbours.

    Attributes
    ----------
    node_ids : tuple of int
        All nodes of the graph.
    gap_ns : ndarray of int64, shape (nodes - 1,)
        ``gap_ns[i]`` lies between nodes i and i + 1 of the order: the latency of the edge that joined the groups
        to which they belong, `APART` without one.
    """

    node_ids: tuple[int, ...]
    gap_ns: npt.NDArray[np.int64]

    def place_of(self) -> dict[int, int]:
        """Return the place of each node in the order, by its id."""
        return {number: place for place, number in enumerate(self.node_ids)}


def order_by_proximity(graph: NetworkGraph) -> NodeOrder:
    """Order all nodes of a graph.

    Parameters
    ----------
    graph : NetworkGraph
        Of two nodes that several edges join, in whichever direction, the fastest counts.
    """
    # A group is known by its smallest node: its nodes in order, and the gaps between them.
    group_of = {number: number for number in graph.nodes}
    members: dict[int, list[int]] = {number: [number] for number in graph.nodes}
    gaps: dict[int, list[int]] = {number: [] for number in graph.nodes}

    def join(low: int, high: int, latency: int, low_end: int, high_end: int) -> None:
        for group, end, at_begin in ((low, low_end, False), (high, high_end, True)):
            before = members[group].index(end)
            after = len(members[group]) - 1 - before
            if (before > after) if at_begin else (before < after):
                members[group].reverse()
                gaps[group].reverse()
        for number in members[high]:
            group_of[number] = low
        members[low] += members.pop(high)
        gaps[low] += [latency, *gaps.pop(high)]

    links = sorted((edge.latency_ns, *sorted((edge.source, edge.target))) for edge in graph.edges)
    for latency, one, other in links:
        groups = sorted((group_of[one], group_of[other]))
        if groups[0] != groups[1]:
            ends = (one, other) if group_of[one] == groups[0] else (other, one)
            join(groups[0], groups[1], latency, *ends)
            if len(members) == 1:
                break
    for group in sorted(members)[1:]:
        join(min(members), group, APART, members[min(members)][-1], members[group][0])
    (order,) = members.values()
    (between,) = gaps.values()
    return NodeOrder(tuple(order), np.array(between, dtype=np.int64))
