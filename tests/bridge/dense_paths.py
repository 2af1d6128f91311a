"""The paths between all nodes in use at once, by scipy: slow and simple, to compare `bridge.paths` with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from bridge.graph import UNREACHABLE, NetworkGraph


def dense_paths(
    graph: NetworkGraph, in_use: Sequence[int], use_shortest_path: bool = True
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the latencies and losses between the nodes in use, by ascending id."""
    every = {number: place for place, number in enumerate(graph.nodes)}
    wanted = [every[number] for number in sorted(set(in_use))]
    direct = _fastest_edges(graph, every)
    latency = np.full((len(wanted), len(wanted)), UNREACHABLE, dtype=np.int64)
    loss = np.ones(latency.shape)
    for row, start in enumerate(wanted):
        for column, end in enumerate(wanted):
            if (start, end) in direct and (start == end or not use_shortest_path):
                latency[row, column], loss[row, column] = direct[start, end]
    if use_shortest_path:
        _fill_shortest(direct, len(every), np.array(wanted), latency, loss)
    return latency, loss


def _fastest_edges(graph: NetworkGraph, index: dict[int, int]) -> dict[tuple[int, int], tuple[int, float]]:
    direct: dict[tuple[int, int], tuple[int, float]] = {}
    for edge in graph.edges:
        source, target = index[edge.source], index[edge.target]
        for pair in {(source, target)} if graph.directed else {(source, target), (target, source)}:
            candidate = (edge.latency_ns, edge.loss)
            direct[pair] = min(direct.get(pair, candidate), candidate)
    return direct


def _fill_shortest(
    direct: dict[tuple[int, int], tuple[int, float]],
    size: int,
    wanted: npt.NDArray[np.int64],
    latency: npt.NDArray[np.int64],
    loss: npt.NDArray[np.float64],
) -> None:
    """Of several equally fast paths, take that whose last edge loses least, then comes from the first node."""
    pairs = sorted(pair for pair in direct if pair[0] != pair[1])
    if not pairs:
        return
    sources = np.array([pair[0] for pair in pairs], dtype=np.int64)
    targets = np.array([pair[1] for pair in pairs], dtype=np.int64)
    edge_latency = np.array([direct[pair][0] for pair in pairs], dtype=np.float64)
    edge_loss = np.array([direct[pair][1] for pair in pairs], dtype=np.float64)
    matrix = csr_array((edge_latency, (sources, targets)), shape=(size, size))
    for row, start in enumerate(wanted):
        # Whole nanoseconds below 2**53 are exact.
        distance: npt.NDArray[np.float64] = dijkstra(matrix, indices=int(start))
        with np.errstate(invalid="ignore"):
            tight = np.flatnonzero(distance[sources] + edge_latency == distance[targets])
        tight = tight[np.isfinite(distance[targets[tight]])]
        tight = tight[np.lexsort((sources[tight], edge_loss[tight], targets[tight]))]
        reached, first = np.unique(targets[tight], return_index=True)
        last_edge = tight[first]
        kept = np.zeros(size)
        kept[start] = 1.0
        for edge in last_edge[np.argsort(distance[reached], kind="stable")].tolist():
            kept[targets[edge]] = kept[sources[edge]] * (1.0 - edge_loss[edge])
        other = (wanted != start) & np.isfinite(distance[wanted])
        latency[row, other] = distance[wanted[other]].astype(np.int64)
        loss[row, other] = 1.0 - kept[wanted[other]]
