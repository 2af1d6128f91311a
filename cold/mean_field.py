"""Mean-field resolution: shares of groups that have a message, by delay equations.

Pushing over a random mesh of degree D is followed by the probability that one given mesh peer of an identity has not
delivered to it: theta. This is the edge-based form of an epidemic on a configuration network (Volz 2008,
doi:10.1007/s00285-007-0116-4; Miller, Slim and Volz 2012, doi:10.1098/rsif.2011.0403), which is exact for a large mesh
without short cycles. For groups a, b with shares w of the members::

    S_b(t) = sigma_b(t) theta_b(t)^D phi_b(t)            members of b that do not have the message
    C_b(t) = sigma_b(t) theta_b(t)^(D - 1) phi_b(t)      the same, of a mesh peer, before the one who asks tells it
    theta_b(t) = 1 - sum over a of w_a (1 - loss_ab) integral of (1 - C_a(t - d)) K_ab(d) dd
    sigma_b(t) = 1 - share that the publisher sends to, times the distribution of when it comes
    phi_b' = - phi_b (1 - loss_b)^3 (D_lazy / heartbeat) sum over a of w_a (1 - S_a(t - T_ab))

K_ab is the distribution of a hop's delay, from receipt to receipt: validation, place in the order of pushing (uniform)
times the uplink's time for one copy, latency, the downlink's time. (Where members tell each other of messages, the
place in the order follows from who has told: `cold.sparing`.) T_ab is how long it takes from a holder's receipt to
that of who asked it for the message. Since no hop takes no time, the right sides lie in the past: the equations are
solved by the method of steps, on a grid.

Ordinary differential equations, with a chain of stages for each delay, are the usual way and the wrong one here: a
hundred stages spread a latency of 70 ms by 7 ms, and within a region, 2 ms apart, a message is everywhere in 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bridge.paths import PathTable
from bridge.simtime import NS_PER_S
from cold.distribution_kernels import draw_values
from cold.propagation import Groups, PropagationField
from cold.propagation_kernels import LEVELS
from cold.sampled_kernels import (
    DELIVERED,
    ID_PACKET_BYTES,
    IHAVE_RECEIVED,
    IHAVE_SENT,
    IWANT_RECEIVED,
    IWANT_SENT,
    LOST,
    MESSAGE_BYTES,
    RECEIVED,
    SENT,
    SPARED,
    TELLS_RECEIVED,
    TELLS_SENT,
    TOTAL_NAMES,
)
from cold.section import GossipSection
from cold.sparing import SparedPushes, Sparing

Float64Array = npt.NDArray[np.float64]

#: Steps of the grid in the shortest hop, as long as the longest does not take more than MOST_STEPS.
STEPS: Final = 4
MOST_STEPS: Final = 1500
#: Points at which the distribution of the validation delay is taken.
_VALIDATION_BITS: Final = 6
_VALIDATION_POINTS: Final = 1 << _VALIDATION_BITS
#: Tables are rounded to this [ns], far below the error of the model, so that libraries' last bits do not matter.
_GRAIN_NS: Final = 1000
_NOTHING: Final = 1e-12
#: Where less than this lacks the message, everybody has it.
_HALF_A_MEMBER: Final = 0.5


@dataclass(frozen=True)
class Hops:
    """Delays of hops [s], and what else the equations need of the network. G groups.

    Attributes
    ----------
    degree
        D of the mesh.
    weight : float64[G]
        Shares of the members.
    step
        Of the grid [s].
    kernel : float64[G, G, K]
        ``kernel[a, b, k]``: probability that a member of b gets the copy that a mesh peer of group a sends it, k steps
        after the peer's receipt. Sums to 1 - loss.
    first : float64[G, F]
        Probability that the publisher's copy comes to a member of the group, by steps.
    mended, asking : float64[G, G]
        Time from the receipt of a holder in group a to that of a member of b who asks it, and to that of its IHAVE [s].
    told
        IHAVE packets that a member gets in a second once all others have the message.
    mends, heard : float64[G]
        Probability that IHAVE, IWANT and the copy all come through; that an IHAVE does.
    earliest_ns : int64[G]
        No copy can be at a member of the group before [ns].
    mean
        Delay of a hop over all pairs of members [s].
    pushed_to
        Members that the publisher sends to.
    path : float64[G, G]
        ``path[b, a]``: how long a copy takes from a to b once it has left, beside what its leaving counts [steps].
    sparing
        Where members tell each other of the message: what takes the place of `kernel`.
    """

    degree: int
    weight: Float64Array
    step: float
    kernel: Float64Array
    first: Float64Array
    mended: Float64Array
    asking: Float64Array
    told: float
    mends: Float64Array
    heard: Float64Array
    earliest_ns: npt.NDArray[np.int64]
    mean: float
    pushed_to: int
    path: Float64Array
    sparing: Sparing | None = None


@dataclass(frozen=True)
class MeanFieldSpread:
    """A solution. T steps, G groups.

    Attributes
    ----------
    time : float64[T]
        Since publication [s].
    susceptible : float64[T, G]
        Share of each group that does not have the message: S.
    cavity : float64[T, G]
        C.
    theta : float64[T, G]
    asked : float64[G]
        IWANTs that a member of the group sends, on average.
    missing : float64[G]
        Share of its mesh, beside who sent it the message, that a member of the group pushes it to.
    """

    time: Float64Array
    susceptible: Float64Array
    cavity: Float64Array
    theta: Float64Array
    asked: Float64Array
    missing: Float64Array


def mesh_degree(gossip: GossipSection, members: int) -> int:
    """Degree of a topic's mesh: the cycles that it begins with have an even one."""
    return int(min(2 * max(gossip.d // 2, 1), max(members - 1, 1)))


def measure_hops(
    groups: Groups,
    paths: PathTable,
    gossip: GossipSection,
    known_peers: int,
    source_group: int,
    payload_size: int,
    *,
    relayed: bool = False,
) -> Hops:
    """Delays of hops among the members of a topic. Parameters as for `mean_field`."""
    members = int(groups.size.sum())
    weight = groups.size / members
    degree = mesh_degree(gossip, members)
    latency = paths.latency_ns[np.ix_(groups.node, groups.node)] / NS_PER_S
    loss = np.asarray(paths.loss[np.ix_(groups.node, groups.node)], dtype=np.float64)
    up = (MESSAGE_BYTES + payload_size) * 8 / groups.uplink_bps
    down = (MESSAGE_BYTES + payload_size) * 8 / groups.downlink_bps
    validation = validation_delays(gossip)
    path = latency + down
    own = leaving_delays(groups, gossip, degree, payload_size)
    pushed_to = min(known_peers if gossip.flood_publish and not relayed else degree, members - 1)
    first = (up[source_group] * np.arange(1, pushed_to + 1) + (validation[:, None] if relayed else 0.0)).ravel()

    shortest = float((own.min(axis=1)[:, None] + path).min())
    longest = float((own.max(axis=1)[:, None] + path).max())
    step = max(shortest / STEPS, longest / MOST_STEPS)
    steps = int(longest / step) + 2
    kernel = np.stack([[by_step(own[a] + p, step, steps) for p in path[a]] for a in range(len(up))])
    first_steps = int((first.max() + path[source_group].max()) / step) + 2
    reach = pushed_to / max(members - 1, 1) * (1 - loss[source_group])
    told = gossip.d_lazy * NS_PER_S / gossip.heartbeat
    heard = weight @ (1 - loss)
    common = float(path.min())
    sparing = None
    if gossip.idontwant_size is not None and payload_size >= gossip.idontwant_size:
        # IDONTWANTs to all of the mesh are on the uplink before.
        telling = ID_PACKET_BYTES * 8 / groups.uplink_bps * (degree - 1)
        waits = np.maximum(validation, telling[:, None])
        sparing = Sparing(
            # A step more, and less in what follows: nothing is at step 0.
            ready=np.stack([by_step(each + step, step, int(waits.max() / step) + 3) for each in waits]),
            copy=up / step,
            lead=common / step - 1,
            others=np.full(len(up), max(degree - 2, 0)),
            told=weight * (1 - loss).T,
            after=(telling / 2 + latency.T) / step,
        )
    earliest = first.min() + path[source_group]
    for _ in range(len(up)):
        earliest = np.minimum(earliest, (earliest[:, None] + own.min(axis=1)[:, None] + path).min(axis=0))
    return Hops(
        degree=degree,
        weight=weight,
        step=step,
        kernel=kernel * (1 - loss)[:, :, None],
        first=reach[:, None] * np.stack([by_step(first + p, step, first_steps) for p in path[source_group]]),
        mended=validation.mean() + 2 * latency + latency.T + up[:, None] + down,
        asking=validation.mean() + latency,
        told=told * min(1.0, max(known_peers - degree, 0) / max(gossip.d_lazy, 1)),
        mends=heard**3,
        heard=heard,
        earliest_ns=np.floor(earliest * NS_PER_S).astype(np.int64),
        mean=float(weight @ (own.mean(axis=1)[:, None] + path) @ weight),
        pushed_to=pushed_to,
        path=(path.T - common) / step,
        sparing=sparing,
    )


def leaving_delays(groups: Groups, gossip: GossipSection, degree: int, payload_size: int) -> Float64Array:
    """Time from a member's receipt to its copy's leaving the uplink, at equal probabilities: float64[G, V] [s]."""
    up = (MESSAGE_BYTES + payload_size) * 8 / groups.uplink_bps
    turns = np.arange(1, max(degree - 1, 1) + 1)
    return (validation_delays(gossip)[:, None] + up[:, None, None] * turns).reshape(len(up), -1)


def validation_delays(gossip: GossipSection) -> Float64Array:
    """Validation delays at equal probabilities [s]."""
    table = gossip.validation_delay.table()
    if table[0] < 0:
        return table[1:2] / NS_PER_S
    middles = (2 * np.arange(_VALIDATION_POINTS, dtype=np.uint64) + np.uint64(1)) << np.uint64(63 - _VALIDATION_BITS)
    return np.asarray(draw_values(table, middles) / NS_PER_S, dtype=np.float64)


def by_step(delays: Float64Array, step: float, steps: int) -> Float64Array:
    """Distribution of delays over the grid, with their mean: float64[steps], of sum 1, none at step 0."""
    places = np.maximum(delays / step, 1.0)
    lower = np.minimum(places.astype(np.int64), steps - 2)
    part = np.minimum(places - lower, 1.0)
    result = np.bincount(lower, weights=1 - part, minlength=steps)
    result += np.bincount(lower + 1, weights=part, minlength=steps)
    return np.asarray(result / len(delays), dtype=np.float64)


def solve(hops: Hops, members: int, horizon: float) -> MeanFieldSpread:
    """Step the equations until less than half a member lacks the message, or nothing more can happen.

    Parameters
    ----------
    hops
        From `measure_hops`.
    members
        Of the topic.
    horizon
        The message's time to live [s].
    """
    groups, _, steps = hops.kernel.shape
    # Row k of the table belongs to what happened `steps` - k steps ago, group by group.
    table = (hops.weight[:, None, None] * hops.kernel[:, :, :0:-1]).transpose(2, 0, 1).reshape(-1, groups)
    past = steps - 1
    first = np.cumsum(hops.first, axis=1)
    mended = np.maximum(np.rint(hops.mended / hops.step).astype(np.int64), 1)
    asking = np.maximum(np.rint(hops.asking / hops.step).astype(np.int64), 1)
    spared = None if hops.sparing is None else SparedPushes(hops.sparing)
    whole = np.floor(hops.path).astype(np.int64)
    part = hops.path - whole
    coming = hops.weight * hops.kernel.sum(axis=2).T
    before = max(past, int(mended.max()), int(asking.max()), int(whole.max()) + 2)
    before = max(before, 0 if spared is None else spared.looks_back)
    most = int(horizon / hops.step) + 1

    room = 1024
    told_by, has, left = (np.zeros((before + room, groups)) for _ in range(3))
    theta_rows: list[Float64Array] = []
    phi, heard, asked = np.ones(groups), np.zeros(groups), np.zeros(groups)
    sources = np.arange(groups)[:, None]
    number = 0
    while number < most:
        at = before + number
        if at == len(has):
            told_by, has, left = (np.concatenate([rows, np.zeros_like(rows)]) for rows in (told_by, has, left))
        if spared is None:
            theta = 1 - told_by[at - past : at].ravel() @ table
        else:
            left[at] = spared.left()
            there = (1 - part) * left[at - whole, sources.T] + part * left[at - whole - 1, sources.T]
            theta = np.clip(1 - (coming * there).sum(axis=1), 0.0, 1.0)
        theta_rows.append(theta)
        sigma = 1 - first[:, min(number, first.shape[1] - 1)]
        lacking = sigma * theta**hops.degree * phi
        told_by[at] = 1 - sigma * theta ** (hops.degree - 1) * phi
        has[at] = 1 - lacking
        if spared is not None:
            spared.push(told_by, at, has, theta)
        number += 1
        without = float(lacking @ hops.weight) * members
        is_quiet = np.abs(told_by[at] - told_by[at - past]).max() < _NOTHING and number > first.shape[1]
        if without < _HALF_A_MEMBER or (is_quiet and (hops.told == 0 or without < _NOTHING)):
            break
        old_enough = hops.weight @ has[at - mended, sources]
        phi = phi * np.exp(-hops.step * hops.told * hops.mends * old_enough)
        telling = hops.step * hops.told * hops.heard * (hops.weight @ has[at - asking, sources])
        asked += lacking * np.exp(-heard) * telling
        heard += telling
    rows = slice(before, before + number)
    return MeanFieldSpread(
        time=np.asarray(np.arange(number) * hops.step, dtype=np.float64),
        susceptible=1 - has[rows],
        cavity=1 - told_by[rows],
        theta=np.stack(theta_rows),
        asked=asked,
        missing=np.ones(groups) if spared is None else spared.missing,
    )


def mean_field(
    groups: Groups,
    paths: PathTable,
    gossip: GossipSection,
    known_peers: int,
    source_group: int,
    payload_size: int,
    *,
    relayed: bool = False,
) -> PropagationField:
    """The field that the equations give: one, the same for each message of the group.

    Quantiles are those of the distribution at the levels of the tables; the first and last are at half a member from
    its ends. The grid may let copies arrive a step before the earliest possible time: those arrive then.

    Parameters
    ----------
    groups
        The topic's members.
    paths
        Latency and loss.
    gossip
        The configuration's `cold.gossip`.
    known_peers
        Peers that a member knows on the topic.
    source_group
        The publisher's group.
    payload_size
        Bytes.
    relayed
        The message enters at a member of the group, which validates it and pushes it to its mesh.
    """
    members = int(groups.size.sum())
    hops = measure_hops(groups, paths, gossip, known_peers, source_group, payload_size, relayed=relayed)
    spread = solve(hops, members, gossip.seen_ttl / NS_PER_S)
    got = np.maximum.accumulate(1 - spread.susceptible, axis=0)
    reached = got[-1]
    if float((1 - reached) @ groups.size) < _HALF_A_MEMBER:
        reached = np.ones(len(reached))
    delay = np.empty((1, len(groups.size), LEVELS), dtype=np.int64)
    for number in range(len(groups.size)):
        half = min(0.5 / max(int(groups.size[number]), 1), 0.5)
        levels = np.clip(np.linspace(0, 1, LEVELS), half, 1 - half) * got[-1, number]
        seconds = np.interp(levels, got[:, number], spread.time)
        rounded = np.ceil(seconds * NS_PER_S / _GRAIN_NS).astype(np.int64) * _GRAIN_NS
        delay[0, number] = np.maximum(rounded, hops.earliest_ns[number])
    everybody = got @ hops.weight
    summary = np.full(4, -1, dtype=np.int64)
    overall = np.zeros(LEVELS, dtype=np.int64)
    delivered = round(float(reached @ hops.weight) * (members - 1))
    if delivered:
        half = 0.5 / delivered
        levels = np.concatenate([[0.5, 0.95, 0.99, 1.0], np.linspace(0, 1, LEVELS)])
        at = np.interp(np.clip(levels, half, 1 - half) * everybody[-1], everybody, spread.time)
        rounded = np.ceil(at * NS_PER_S / _GRAIN_NS).astype(np.int64) * _GRAIN_NS
        summary, overall = rounded[:4], rounded[4:]
    return PropagationField(
        delay=delay,
        hops=np.clip(delay / NS_PER_S / hops.mean, int(relayed), 255).astype(np.uint8),
        reached=reached[None, :],
        totals=_totals(hops, groups, gossip, known_peers, spread, delivered)[None, :],
        summary=summary[None, :],
        overall=overall[None, :],
        copies=(mesh_degree(gossip, members) - 1.0) * (reached * spread.missing)[None, :],
        lasting=0.0,
    )


def _totals(
    hops: Hops, groups: Groups, gossip: GossipSection, known_peers: int, spread: MeanFieldSpread, delivered: int
) -> npt.NDArray[np.int64]:
    """What one message costs. Every packet that is sent is received or lost."""
    loss = 1 - float(hops.heard @ hops.weight)
    totals = np.zeros(len(TOTAL_NAMES), dtype=np.int64)
    asked = round(float(spread.asked @ groups.size))
    totals[IWANT_SENT] = asked
    totals[IWANT_RECEIVED] = asked - round(asked * loss)
    pushes = delivered * (hops.degree - 1)
    needed = (1 - spread.susceptible[-1]) * groups.size
    totals[SPARED] = round(pushes * (1 - float(needed @ spread.missing) / max(float(needed.sum()), 1e-300)))
    if hops.sparing is not None:
        totals[TELLS_SENT], totals[TELLS_RECEIVED] = pushes, pushes - round(pushes * loss)
    totals[SENT] = hops.pushed_to + pushes - totals[SPARED] + totals[IWANT_RECEIVED]
    totals[LOST] = round(int(totals[SENT]) * loss)
    totals[RECEIVED] = totals[SENT] - totals[LOST]
    totals[DELIVERED] = delivered
    told = gossip.mcache_gossip * min(gossip.d_lazy, max(known_peers - hops.degree, 0)) * (delivered + 1)
    totals[IHAVE_SENT], totals[IHAVE_RECEIVED] = told, told - round(told * loss)
    return totals
