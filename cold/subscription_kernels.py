"""Kernels of `cold.subscriptions`: which topics of a group each identity subscribes to."""

import numpy as np
import numpy.typing as npt

from bridge.rng import draw_u64, draw_uniform
from cold.jit import int64, kernel, uint64

UInt32Array = npt.NDArray[np.uint32]


@kernel
def choose_topics(seed: int, purpose: int, entity: int, group: int, chosen: npt.NDArray[np.int64], count: int) -> None:
    """Fill `chosen` with distinct numbers below `count`, every set of them equally likely (Floyd's algorithm).

    Parameters
    ----------
    seed, purpose, entity
        Whose draws.
    group
        First topic's index of the group; the draw's counter is it << 32 | the number of the choice.
    chosen
        int64[k], overwritten.
    count
        At least k.
    """
    wanted = len(chosen)
    for turn in range(wanted):
        last = count - wanted + turn
        word = draw_u64(seed, entity, purpose, group << 32 | turn)
        pick = int64(((word >> uint64(32)) * uint64(last + 1)) >> uint64(32))
        for earlier in range(turn):
            if chosen[earlier] == pick:
                pick = last
        chosen[turn] = pick


@kernel
def subscribers_of_some(
    seed: int, purpose: int, first_id: int, identities: int, group: int, count: int, wanted: int
) -> tuple[npt.NDArray[np.int64], UInt32Array]:
    """Subscribers of each topic of a group where each identity has `wanted` of `count`.

    Returns
    -------
    start
        int64[count + 1].
    members
        uint32[start[count]]: HostIds, ascending in each topic.
    """
    start = np.zeros(count + 1, dtype=np.int64)
    chosen = np.empty(wanted, dtype=np.int64)
    choices = np.empty((identities, wanted), dtype=np.uint16)
    for identity in range(identities):
        choose_topics(seed, purpose, first_id + identity, group, chosen, count)
        for turn in range(wanted):
            start[chosen[turn] + 1] += 1
            choices[identity, turn] = chosen[turn]
    for topic in range(count):
        start[topic + 1] += start[topic]
    fill = start[:count].copy()
    members = np.empty(start[count], dtype=np.uint32)
    for identity in range(identities):
        for turn in range(wanted):
            choice = int64(choices[identity, turn])
            members[fill[choice]] = first_id + identity
            fill[choice] += 1
    return start, members


@kernel
def subscribers_by_share(
    seed: int, purpose: int, first_id: int, identities: int, group: int, count: int, share: float
) -> tuple[npt.NDArray[np.int64], UInt32Array]:
    """Subscribers of each topic of a group where each identity has each topic with probability `share`.

    Returns as `subscribers_of_some` does.
    """
    start = np.zeros(count + 1, dtype=np.int64)
    for topic in range(count):
        for identity in range(identities):
            if draw_uniform(seed, first_id + identity, purpose, (group + topic) << 32) < share:
                start[topic + 1] += 1
        start[topic + 1] += start[topic]
    members = np.empty(start[count], dtype=np.uint32)
    used = 0
    for topic in range(count):
        for identity in range(identities):
            if draw_uniform(seed, first_id + identity, purpose, (group + topic) << 32) < share:
                members[used] = first_id + identity
                used += 1
    return start, members
