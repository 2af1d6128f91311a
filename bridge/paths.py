"""The paths between the nodes in use: latency and loss of any pair, worked out when somebody asks.

A configuration may attach its hosts to tens of thousands of nodes, so there is no table of all pairs. What is kept
grows with the graph: its links, and trees of shortest paths from those vertices that packets have started from,
which are bounded in memory and forgotten least recently used first. What is answered depends on the graph alone,
never on what was asked before or forgotten, so it is the same on every shard.

Two things keep the work small. Vertices with one neighbour (an access network below its region, and whatever hangs
off it) are taken off, again and again, until only a *core* is left where paths have to be searched: a hierarchical
graph is searched among its regions only, and a tree not at all. And the smallest latency of all, which is the
lookahead, needs no tables: see `_smallest_latency`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush
from typing import Final

import numpy as np
import numpy.typing as npt

from bridge.graph import UNREACHABLE, NetworkGraph

_TREES_BYTES: Final = 256 * 2**20
"""Memory for trees of shortest paths: those from 2,000 vertices of a core of 10,000."""


@dataclass(frozen=True, slots=True)
class PathTable:
    """What a packet meets between each of some nodes and each of some others, which may be the same.

    Attributes
    ----------
    node_ids : tuple of int
        The nodes of the columns, of which those of the rows are the first.
    latency_ns : ndarray of int64, shape (R, N)
        From row to column; `UNREACHABLE` without a path. The diagonal is the self-loop.
    loss : ndarray of float64, shape (R, N)
        Probability that a packet is lost on the whole path; 1 without a path.
    min_latency_ns : int
        No packet between two hosts of the experiment can be faster.
    """

    node_ids: tuple[int, ...]
    latency_ns: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float64]
    min_latency_ns: int


@dataclass(frozen=True, slots=True)
class _Links:
    """The fastest link of each ordered pair of vertices, by (source, target). A vertex is the place of a node."""

    source: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    latency: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float64]

    def at(self, places: npt.NDArray[np.bool_]) -> _Links:
        return _Links(self.source[places], self.target[places], self.latency[places], self.loss[places])

    def row_starts(self, vertices: int) -> npt.NDArray[np.int64]:
        return np.searchsorted(self.source, np.arange(vertices + 1)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The graph as `bridge.path_kernels` wants it: a core, and the trees that hang off it."""

    parent: npt.NDArray[np.int64]
    depth: npt.NDArray[np.int64]
    root: npt.NDArray[np.int64]
    core_place: npt.NDArray[np.int64]
    up_latency: npt.NDArray[np.int64]
    up_loss: npt.NDArray[np.float64]
    down_latency: npt.NDArray[np.int64]
    down_loss: npt.NDArray[np.float64]
    core: _Links
    core_row_start: npt.NDArray[np.int64]


class Paths:
    """What a packet meets between any two of the nodes in use.

    Between two nodes, packets follow the path of least latency; of equally fast ones, that whose last link loses
    least, then comes from the node of the smallest id. Loss is that of losing the packet on any link. Hosts of one
    node use its self-loop.

    Parameters
    ----------
    graph : NetworkGraph
    in_use : sequence of int
        Ids of the nodes that hosts are attached to; each exists in the graph.
    use_shortest_path : bool
        False: a packet takes the direct link, and there is no path where there is none.
    trees_bytes : int
        Memory for trees of shortest paths. It changes no answer.

    Attributes
    ----------
    node_ids : tuple of int
        The nodes in use, by ascending id. A *place* is an index into it; all methods take and return places.
    min_latency_ns : int
        The smallest latency between two nodes in use, or from one to itself; 0 if there is no path at all.
    """

    def __init__(
        self,
        graph: NetworkGraph,
        in_use: Sequence[int],
        use_shortest_path: bool = True,
        *,
        trees_bytes: int = _TREES_BYTES,
    ) -> None:
        self.node_ids = tuple(sorted(set(in_use)))
        vertex_of = {number: vertex for vertex, number in enumerate(graph.nodes)}
        self._vertex = np.array([vertex_of[number] for number in self.node_ids], dtype=np.int64)
        self._vertices = len(vertex_of)
        self._directed = graph.directed
        self._shortest = use_shortest_path
        self._links = _fastest_links(graph, vertex_of)
        self._key = self._links.source * self._vertices + self._links.target
        self._trees_bytes = trees_bytes
        self._trees: OrderedDict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]] = OrderedDict()
        everywhere = np.ones(len(self.node_ids), dtype=np.bool_)
        self.min_latency_ns = self.smallest_latency(everywhere, everywhere)

    @property
    def trees_kept(self) -> int:
        """Return how many trees of shortest paths are in memory."""
        return len(self._trees)

    def between(self, source: int, target: int) -> tuple[int, float]:
        """Return latency [ns] and loss from one place to another; `UNREACHABLE` and 1 without a path."""
        latency, loss = self.row(source, np.array([target]))
        return int(latency[0]), float(loss[0])

    def row(
        self, source: int, targets: npt.NDArray[np.integer] | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return latencies [ns] and losses from one place to others, by default to all in use."""
        start = int(self._vertex[source])
        ends = self._vertex if targets is None else self._vertex[targets]
        if not self._shortest:
            return self._direct(start, ends)
        latency = np.empty(len(ends), dtype=np.int64)
        loss = np.empty(len(ends), dtype=np.float64)
        if bool(np.any(ends != start)):
            self._follow(start, ends, latency, loss)
        own = ends == start
        if bool(own.any()):
            latency[own], loss[own] = self._direct(start, ends[own])
        return latency, loss

    def smallest_latency(self, sources: npt.NDArray[np.bool_], targets: npt.NDArray[np.bool_]) -> int:
        """Return the smallest latency from one of some places to one of others [ns]; 0 if there is no path at all.

        Parameters
        ----------
        sources, targets
            Masks of places, bool[places]. From a place that is in both to itself, the latency inside it counts.
        """
        ends = np.zeros((2, self._vertices), dtype=np.bool_)
        ends[:, self._vertex] = sources, targets
        return _smallest_latency(self._links, ends[0], ends[1], self._shortest)

    def table(self, rows: npt.NDArray[np.integer] | None = None) -> PathTable:
        """Return latencies and losses as tables, for those who look up too often to ask.

        Parameters
        ----------
        rows
            The places to leave from; all by default. They become the first columns too, and the other places in
            use follow; `columns` says which.
        """
        columns = self.columns(rows)
        count = len(columns) if rows is None else len(rows)
        shape = (count, len(columns))
        latency = np.empty(shape, dtype=np.int64)
        loss = np.empty(shape, dtype=np.float64)
        for number, place in enumerate(columns[:count].tolist()):
            latency[number], loss[number] = self.row(place, columns)
        ids = tuple(self.node_ids[place] for place in columns.tolist())
        return PathTable(ids, latency, loss, self.min_latency_ns)

    def columns(self, rows: npt.NDArray[np.integer] | None = None) -> npt.NDArray[np.int64]:
        """Return the places of the columns of `table(rows)`."""
        every = np.arange(len(self.node_ids))
        return every if rows is None else np.concatenate([rows, np.setdiff1d(every, rows)]).astype(np.int64)

    def missing(
        self, present: npt.NDArray[np.bool_], shared: npt.NDArray[np.bool_], most: int
    ) -> tuple[int, list[tuple[int, int]]]:
        """Find the pairs of places that hosts need a path between, and have none.

        Parameters
        ----------
        present, shared : bool[places]
            Where there are hosts, and where there are several, which need a path to themselves.
        most
            How many to name.

        Returns
        -------
        int
            How many pairs there are.
        list of (int, int)
            The first of them.
        """
        looped = np.zeros(self._vertices, dtype=np.bool_)
        looped[self._links.source[self._links.source == self._links.target]] = True
        lonely = shared & ~looped[self._vertex]
        if self._shortest and not lonely.any() and self._all_reach_all():
            return 0, []
        count = 0
        named: list[tuple[int, int]] = []
        components: dict[int, npt.NDArray[np.bool_]] = {}
        for place in np.flatnonzero(present).tolist():
            holes = present & ~self._reached_from(int(self._vertex[place]), components)
            holes[place] = lonely[place]
            count += int(np.count_nonzero(holes))
            if len(named) < most:
                named += [(place, int(other)) for other in np.flatnonzero(holes)[: most - len(named)]]
        return count, named

    def _all_reach_all(self) -> bool:
        """Whether the nodes in use are strongly connected: all are reached from the first, and all reach it."""
        if len(self._vertex) < 2:
            return True
        first = int(self._vertex[0])
        links = self._links
        ways = [(links.source, links.target)] + [(links.target, links.source)] * self._directed
        return all(bool(_reached(first, self._vertices, *way)[self._vertex].all()) for way in ways)

    def _reached_from(self, start: int, components: dict[int, npt.NDArray[np.bool_]]) -> npt.NDArray[np.bool_]:
        """Return which places a packet from a vertex reaches; remembers the components of an undirected graph."""
        if not self._shortest:
            direct: npt.NDArray[np.bool_] = self._direct(start, self._vertex)[0] != UNREACHABLE
            return direct
        if start in components:
            return components[start]
        everywhere = _reached(start, self._vertices, self._links.source, self._links.target)
        reached = everywhere[self._vertex]
        if not self._directed:
            components.update(dict.fromkeys(np.flatnonzero(everywhere).tolist(), reached))
        return reached

    def _direct(self, start: int, ends: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        wanted = start * self._vertices + ends
        place = np.searchsorted(self._key, wanted)
        found = place < len(self._key)
        found[found] = self._key[place[found]] == wanted[found]
        latency = np.full(len(ends), UNREACHABLE, dtype=np.int64)
        loss = np.ones(len(ends), dtype=np.float64)
        latency[found] = self._links.latency[place[found]]
        loss[found] = self._links.loss[place[found]]
        return latency, loss

    def _follow(
        self,
        start: int,
        ends: npt.NDArray[np.int64],
        latency: npt.NDArray[np.int64],
        loss: npt.NDArray[np.float64],
    ) -> None:
        # Here, because checking a configuration asks for no path, and need not wait for numba.
        from bridge.path_kernels import follow_paths

        layout = self._layout
        distance, via = self._tree(int(layout.root[start]))
        follow_paths(
            start,
            ends,
            layout.parent,
            layout.depth,
            layout.core_place,
            layout.up_latency,
            layout.up_loss,
            layout.down_latency,
            layout.down_loss,
            distance,
            via,
            layout.core.source,
            layout.core.loss,
            latency,
            loss,
        )

    def _tree(self, root: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Return the tree of shortest paths from a vertex of the core."""
        from bridge.path_kernels import shortest_tree

        tree = self._trees.get(root)
        if tree is not None:
            self._trees.move_to_end(root)
            return tree
        layout = self._layout
        core = layout.core
        start = int(layout.core_place[root])
        tree = shortest_tree(start, layout.core_row_start, core.target, core.latency, core.loss)
        size = tree[0].nbytes + tree[1].nbytes
        while self._trees and (len(self._trees) + 1) * size > self._trees_bytes:
            self._trees.popitem(last=False)
        self._trees[root] = tree
        return tree

    @cached_property
    def _layout(self) -> _Layout:
        links = self._links.at(self._links.source != self._links.target)
        count = self._vertices
        parent, order = _peel(links, count)
        depth = np.zeros(count, dtype=np.int64)
        root = np.arange(count, dtype=np.int64)
        for vertex in reversed(order):
            depth[vertex] = depth[parent[vertex]] + 1
            root[vertex] = root[parent[vertex]]
        up_latency, down_latency = np.full((2, count), UNREACHABLE, dtype=np.int64)
        up_loss, down_loss = np.ones((2, count), dtype=np.float64)
        up = links.at(parent[links.source] == links.target)
        up_latency[up.source], up_loss[up.source] = up.latency, up.loss
        down = links.at(parent[links.target] == links.source)
        down_latency[down.target], down_loss[down.target] = down.latency, down.loss
        in_core = depth == 0
        core_place = np.cumsum(in_core) - 1
        inside = links.at(in_core[links.source] & in_core[links.target])
        core = _Links(core_place[inside.source], core_place[inside.target], inside.latency, inside.loss)
        row_start = core.row_starts(int(in_core.sum()))
        return _Layout(parent, depth, root, core_place, up_latency, up_loss, down_latency, down_loss, core, row_start)


def _fastest_links(graph: NetworkGraph, vertex_of: dict[int, int]) -> _Links:
    """Return what counts of the edges: of parallel ones the fastest, then the least lossy; both ways if they go so."""
    source = np.array([vertex_of[edge.source] for edge in graph.edges], dtype=np.int64)
    target = np.array([vertex_of[edge.target] for edge in graph.edges], dtype=np.int64)
    latency = np.array([edge.latency_ns for edge in graph.edges], dtype=np.int64)
    loss = np.array([edge.loss for edge in graph.edges], dtype=np.float64)
    if not graph.directed:
        source, target = np.concatenate([source, target]), np.concatenate([target, source])
        latency, loss = np.tile(latency, 2), np.tile(loss, 2)
    order = np.lexsort((loss, latency, target, source))
    links = _Links(source[order], target[order], latency[order], loss[order])
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (np.diff(links.source) != 0) | (np.diff(links.target) != 0)
    return links.at(first)


def _smallest_latency(
    links: _Links, sources: npt.NDArray[np.bool_], targets: npt.NDArray[np.bool_], use_shortest_path: bool
) -> int:
    """Return the smallest latency from a vertex of `sources` to one of `targets`; 0 without any path.

    A vertex that is both reaches itself by its self-loop only. No tables of paths are needed. On the fastest path of
    all, no vertex on the way is a source or a target, or a part of the path would be faster still: so it is a link from
    one to the other, or it leads through other vertices only. The latter are searched from all sources at once, no
    farther than the best that is known. Since a path must not come back to where it began, each vertex on the way keeps
    the nearest two beginnings.
    """
    between = links.at(sources[links.source] & targets[links.target])
    best = int(between.latency.min()) if len(between.latency) else None
    ends = sources | targets
    if not use_shortest_path or bool(ends.all()):
        return best or 0
    leaving = links.at(sources[links.source] & ~ends[links.target])
    onward = links.at(~ends[links.source] & (links.source != links.target))
    row_start = onward.row_starts(len(ends)).tolist()
    target, latency = onward.target.tolist(), onward.latency.tolist()
    is_end, is_target = ends[onward.target].tolist(), targets[onward.target].tolist()
    beginnings: dict[int, list[int]] = {}
    heap = list(zip(leaving.latency.tolist(), leaving.target.tolist(), leaving.source.tolist(), strict=True))
    heapify(heap)
    while heap:
        reached, vertex, begin = heappop(heap)
        if best is not None and reached >= best:
            break
        known = beginnings.setdefault(vertex, [])
        if len(known) == 2 or begin in known:
            continue
        known.append(begin)
        for link in range(row_start[vertex], row_start[vertex + 1]):
            candidate = reached + latency[link]
            if best is not None and candidate >= best:
                continue
            if not is_end[link]:
                heappush(heap, (candidate, target[link], begin))
            elif is_target[link] and target[link] != begin:
                best = candidate
    return best or 0


def _reached(
    start: int, vertices: int, source: npt.NDArray[np.int64], target: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    reached = np.zeros(vertices, dtype=np.bool_)
    reached[start] = True
    while True:
        new = reached[source] & ~reached[target]
        if not new.any():
            return reached
        reached[target[new]] = True


def _peel(links: _Links, vertices: int) -> tuple[npt.NDArray[np.int64], list[int]]:
    """Take vertices with one neighbour off, until there are none.

    Returns
    -------
    parent : int64[vertices]
        The neighbour that a vertex had left when it was taken off; -1 in the core.
    order : list of int
        The vertices that were taken off, parents after children.
    """
    low, high = np.minimum(links.source, links.target), np.maximum(links.source, links.target)
    pairs = np.unique(low * vertices + high)
    low, high = pairs // vertices, pairs % vertices
    count = np.bincount(low, minlength=vertices) + np.bincount(high, minlength=vertices)
    degree = count.tolist()
    # All neighbours of a vertex, combined by exclusive or: once one is left, this is it.
    combined = np.zeros(vertices, dtype=np.int64)
    np.bitwise_xor.at(combined, low, high)
    np.bitwise_xor.at(combined, high, low)
    neighbours = combined.tolist()
    parent = np.full(vertices, -1, dtype=np.int64)
    order: list[int] = []
    leaves = np.flatnonzero(count == 1).tolist()
    while leaves:
        vertex = leaves.pop()
        if degree[vertex] != 1:
            continue
        neighbour = neighbours[vertex]
        parent[vertex] = neighbour
        order.append(vertex)
        degree[vertex] = 0
        degree[neighbour] -= 1
        neighbours[neighbour] ^= vertex
        if degree[neighbour] == 1:
            leaves.append(neighbour)
    return parent, order
