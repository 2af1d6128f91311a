"""Loops over links and paths: the tree of shortest paths from one vertex, and what a packet meets along one path.

The graph is split in two (`bridge.paths`): a *core*, whose links are given row by row (CSR), and the *trees* that
hang off it, where a vertex has one parent and paths need no search. All times are nanoseconds.
"""

from heapq import heappop, heappush

import numba as nb
import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

_UNREACHABLE = -1


@nb.njit(cache=True)
def shortest_tree(
    start: int, row_start: Int64s, target: Int64s, latency: Int64s, loss: Floats
) -> tuple[Int64s, Int32s]:
    """Find the paths of least latency from one vertex of the core (Dijkstra).

    Of several equally fast paths to a vertex it is the one whose last link loses least, then comes from the
    first vertex: latencies are positive, so all candidates for the last link are settled before the vertex is.

    Parameters
    ----------
    start
        The vertex to start from.
    row_start : int64[core + 1]
        The links of vertex v are those from `row_start[v]` to `row_start[v + 1]`, by ascending target.
    target, latency, loss : [links]
        Where each link leads, its latency, and the probability that it loses a packet.

    Returns
    -------
    distance : int64[core]
        Latency from `start`; -1 where no path leads.
    via : int32[core]
        The last link of the path; -1 for `start` and where no path leads.
    """
    count = row_start.shape[0] - 1
    distance = np.full(count, _UNREACHABLE, np.int64)
    via = np.full(count, -1, np.int32)
    settled = np.zeros(count, np.bool_)
    source_of_via = np.full(count, -1, np.int64)
    distance[start] = 0
    heap = [(np.int64(0), np.int64(start))]
    while heap:
        reached, vertex = heappop(heap)
        if settled[vertex]:
            continue
        settled[vertex] = True
        for link in range(row_start[vertex], row_start[vertex + 1]):
            other = target[link]
            if settled[other]:
                continue
            candidate = reached + latency[link]
            known = distance[other]
            if known == _UNREACHABLE or candidate < known:
                distance[other] = candidate
                via[other] = link
                source_of_via[other] = vertex
                heappush(heap, (candidate, other))
            elif candidate == known:
                last = loss[via[other]]
                if loss[link] < last or (loss[link] == last and vertex < source_of_via[other]):
                    via[other] = link
                    source_of_via[other] = vertex
    return distance, via


@nb.njit(cache=True)
def follow_paths(
    source: int,
    targets: Int64s,
    parent: Int64s,
    depth: Int64s,
    core_place: Int64s,
    up_latency: Int64s,
    up_loss: Floats,
    down_latency: Int64s,
    down_loss: Floats,
    distance: Int64s,
    via: Int32s,
    link_source: Int64s,
    link_loss: Floats,
    path_latency: Int64s,
    path_loss: Floats,
) -> None:
    """Work out what a packet meets from `source` to each of `targets`, which are other vertices.

    The probability to survive is multiplied link by link from the source on, so that the same path always has the
    same loss to the last bit, however it was found.

    Parameters
    ----------
    source, targets
        Vertices of the whole graph.
    parent, depth, core_place : int64[vertices]
        The parent of a vertex in its tree, how far below the core it is (0: in the core), and its number in the
        core if it is there.
    up_latency, up_loss, down_latency, down_loss : [vertices]
        Of the links to and from the parent; latency -1 where there is none.
    distance, via
        What `shortest_tree` found from where `source`'s tree hangs.
    link_source, link_loss : [links]
        Of the links of the core.
    path_latency, path_loss : [targets]
        The result; latency -1 and loss 1 where no path leads.
    """
    losses = np.empty(depth.shape[0] + 1, np.float64)
    for place in range(targets.shape[0]):
        path_latency[place] = _UNREACHABLE
        path_loss[place] = 1.0
        low, high = source, targets[place]
        latency = np.int64(0)
        kept = 1.0
        top = 0
        broken = False
        # Climb on both sides to where they meet, or to the core.
        while low != high and (depth[low] > 0 or depth[high] > 0) and not broken:
            if depth[low] >= depth[high]:
                broken = up_latency[low] == _UNREACHABLE
                latency += up_latency[low]
                kept *= 1.0 - up_loss[low]
                low = parent[low]
            else:
                broken = down_latency[high] == _UNREACHABLE
                latency += down_latency[high]
                losses[top] = down_loss[high]
                top += 1
                high = parent[high]
        if low != high and not broken:
            start, end = core_place[low], core_place[high]
            broken = distance[end] == _UNREACHABLE
            latency += distance[end]
            while end != start and not broken:
                losses[top] = link_loss[via[end]]
                top += 1
                end = link_source[via[end]]
        if broken:
            continue
        while top > 0:
            top -= 1
            kept *= 1.0 - losses[top]
        path_latency[place] = latency
        path_loss[place] = 1.0 - kept
