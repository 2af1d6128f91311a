"""The slow twin of `cold.overlay`: edges one by one, in plain Python."""

from collections.abc import Callable, Sequence

from bridge.rng import draw_u64
from cold.purposes import ColdPurpose

#: Who has dialled, and whom.
Edge = tuple[int, int]
Row = dict[int, bool]


def cycle(order: Sequence[int]) -> list[Edge]:
    """Each has dialled the next one, and the last one the first."""
    return [(one, order[(place + 1) % len(order)]) for place, one in enumerate(order)]


def drawn_order(seed: int, hosts: Sequence[int], counter: int) -> list[int]:
    """Numbers of hosts in the order of a draw each."""
    keys = [int(draw_u64(seed, host, int(ColdPurpose.OVERLAY), counter)) for host in hosts]
    return sorted(range(len(hosts)), key=lambda number: (keys[number], number))


def everybody_with_everybody(count: int) -> list[Edge]:
    return [(one, other) for one in range(count) for other in range(one + 1, count)]


def regular_cycles(seed: int, first_id: int, count: int, degree: int) -> list[list[Edge]]:
    """The cycles of a regular overlay, then what joins them."""
    degree = min(degree, count - 1)
    if count < 2:
        return []
    hosts = range(first_id, first_id + count)
    cycles = max(degree // 2, 1)
    edges = [cycle(drawn_order(seed, hosts, number)) for number in range(cycles)]
    if degree % 2 == 1 and degree > 1:
        order = drawn_order(seed, hosts, cycles)
        edges.append(list(zip(order[: count - 1 : 2], order[1::2], strict=True)))
    if count <= degree + 1:
        edges.append(everybody_with_everybody(count))
    return edges


def topic_cycles(
    seed: int, members: Sequence[int], topic: int, peers: int, can_be_dialled: Callable[[int], bool]
) -> list[list[Edge]]:
    """The cycles of a topic's subscribers, then what joins them, by their numbers."""
    if len(members) < 2:
        return []
    counters = [(topic + 1) << 16 | number for number in range(max(peers // 2, 1))]
    edges = [cycle(drawn_order(seed, members, counter)) for counter in counters]
    if len(members) <= peers + 1:
        edges.append(everybody_with_everybody(len(members)))
    return [
        [
            (one, other) if can_be_dialled(other) else (other, one)
            for one, other in some
            if can_be_dialled(one) or can_be_dialled(other)
        ]
        for some in edges
    ]


def rows(count: int, edges: Sequence[Edge]) -> list[Row]:
    """Peers of each, ascending, and whether it has dialled them: of edges both ways, that of the lower one."""
    both = set(edges)
    result: list[Row] = [{} for _ in range(count)]
    for one, other in both:
        is_kept = (other, one) not in both or one < other
        result[one][other] = is_kept
        result[other][one] = not is_kept
    return [dict(sorted(row.items())) for row in result]


def first_mesh(room: Sequence[int], edges: Sequence[Edge]) -> list[list[int]]:
    """Members of each mesh: edge by edge, where both have room and have each other not yet."""
    mesh: list[list[int]] = [[] for _ in room]
    for one, other in edges:
        if len(mesh[one]) < room[one] and len(mesh[other]) < room[other] and other not in mesh[one]:
            mesh[one].append(other)
            mesh[other].append(one)
    return mesh
