"""Sampled resolution: some messages are propagated exactly, and the others are drawn from what became of them.

For each group of publishers, representative messages are published by members that a draw picks, at times spread over a
heartbeat, and propagated over the topic's own mesh, one at a time: nothing else is under way, so that queues hold
only the message's own copies. Each becomes a table of quantiles per group of receivers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.paths import PathTable
from bridge.rng import draw_u64
from cold.jit import uint64
from cold.overlay import Overlay
from cold.population import heartbeat_phases, link_rates
from cold.propagation import Groups, PropagationField, summarise, tabulate
from cold.purposes import ColdPurpose
from cold.reference import by_reference
from cold.sampled_kernels import (
    DELIVERED,
    IHAVE_RECEIVED,
    IHAVE_SENT,
    MESSAGE_BYTES,
    NEVER,
    RATE_SHIFT,
    TOTAL_NAMES,
    Mesh,
    Rules,
    Spread,
    propagate,
    told_after,
)
from cold.section import GossipSection

#: The calendar's ring spans so many buckets; what lies farther ahead is passed over until its turn.
_RING = 4096
#: Ids of representatives: no real message has an origin address with the highest bits all set.
_FIRST_ID = 0xFFFF_FFFF_0000_0000


def rules_of(gossip: GossipSection, paths: PathTable, seed: int, topic: int) -> Rules:
    """The rules of a topic, by its index."""
    return Rules(
        key_0=uint64(seed & 0xFFFFFFFF),
        key_1=uint64(seed >> 32),
        topic=topic,
        d_lazy=gossip.d_lazy,
        heartbeat_ns=gossip.heartbeat,
        mcache_length=gossip.mcache_length,
        mcache_gossip=gossip.mcache_gossip,
        seen_ttl_ns=gossip.seen_ttl,
        flood_publish=int(gossip.flood_publish),
        bucket_shift=paths.min_latency_ns.bit_length() - 1,
        idontwant_size=NEVER if gossip.idontwant_size is None else gossip.idontwant_size,
    )


def mesh_of(
    directory: HostDirectory,
    paths: PathTable,
    overlay: Overlay,
    gossip: GossipSection,
    seed: int,
    topic: int,
    members: npt.NDArray[np.uint32] | None = None,
) -> Mesh:
    """The mesh of a topic.

    Parameters
    ----------
    directory, paths
        Of the experiment.
    overlay
        Of the members, who are numbered from the first identity's HostId on, with the first meshes of the topics.
    gossip
        The configuration's `cold.gossip`.
    seed
        Seed of the run.
    topic
        Index of the topic in the overlay's meshes.
    members
        uint32[M]: HostIds of the topic's subscribers, ascending; all identities by default.
    """
    first = directory.hot_count
    identities = directory.total_count - first
    host = np.arange(first, first + identities, dtype=np.uint32) if members is None else members
    phase = heartbeat_phases(seed, first, identities, gossip.heartbeat)[host - np.uint32(first)]
    return Mesh(
        host=host,
        node=np.ascontiguousarray(directory.node[host], dtype=np.int32),
        latency=paths.latency_ns.astype(np.int64),
        loss=paths.loss.astype(np.float64),
        uplink_rate=link_rates(directory.uplink_bps[host]),
        downlink_rate=link_rates(directory.downlink_bps[host]),
        phase=phase,
        member_of_rank=np.argsort(phase, kind="stable").astype(np.int32),
        row_start=overlay.row_start,
        neighbours=overlay.neighbours - np.uint32(first),
        mesh_count=overlay.mesh_count[topic],
        mesh=overlay.mesh[topic] - np.uint32(first),
        validation_delay=gossip.validation_delay.table(),
    )


def empty_spread(mesh: Mesh) -> Spread:
    """Room for the result of `propagate`."""
    members = len(mesh.host)
    return Spread(
        arrival=np.full(members, NEVER, dtype=np.int64),
        ready=np.full(members, NEVER, dtype=np.int64),
        came_from=np.full(members, -1, dtype=np.int64),
        hops=np.zeros(members, dtype=np.uint8),
        uplink_free=np.zeros(members, dtype=np.int64),
        packets=np.zeros(members, dtype=np.int64),
        told_from=np.full(members, NEVER, dtype=np.int64),
        told_packet=np.zeros(members, dtype=np.int64),
        copies=np.zeros(members, dtype=np.int64),
        following=np.full(members, -1, dtype=np.int32),
        preceding=np.full(members, -1, dtype=np.int32),
        head=np.full(_RING, -1, dtype=np.int32),
        pushing=np.full(_RING, -1, dtype=np.int32),
        totals=np.zeros(len(TOTAL_NAMES), dtype=np.int64),
    )


def spread_message(
    mesh: Mesh,
    rules: Rules,
    message_id: int,
    publish_time: int,
    payload_size: int,
    *,
    references: tuple[Mesh, Rules] | None = None,
    publisher: int = -1,
    entries: Sequence[tuple[int, int]] = (),
) -> Spread:
    """Propagate one message on its own.

    Parameters
    ----------
    mesh, rules
        The topic.
    message_id
        Counter of the draws.
    publish_time
        ns.
    payload_size
        Bytes.
    references
        To `mesh` and `rules`, for who propagates many messages.
    publisher
        The member that publishes, or -1.
    entries
        Times [ns] and members that get a copy from outside of the tail.
    """
    spread = empty_spread(mesh)
    ordered = np.array(sorted(entries), dtype=np.int64).reshape(-1, 2)
    mesh_reference, rules_reference = references or (by_reference(mesh), by_reference(rules))
    propagate(
        mesh_reference,
        rules_reference,
        by_reference(spread),
        publisher,
        np.ascontiguousarray(ordered[:, 1]),
        np.ascontiguousarray(ordered[:, 0]),
        uint64(message_id),
        publish_time,
        payload_size,
    )
    return spread


def receipts(mesh: Mesh, spread: Spread, publisher: int, payload_size: int) -> npt.NDArray[np.int64]:
    """When each member has received the message whole: int64[M], ns; -1 where it did not come."""
    down = (MESSAGE_BYTES + payload_size) * mesh.downlink_rate >> RATE_SHIFT
    times = np.where(spread.arrival == NEVER, -1, spread.arrival + down)
    if publisher >= 0:
        times[publisher] = spread.arrival[publisher]
    return times


def build_field(
    mesh: Mesh,
    groups: Groups,
    rules: Rules,
    seed: int,
    source_group: int,
    payload_size: int,
    representatives: int,
    *,
    relayed: bool = False,
) -> PropagationField:
    """Propagate the representatives of one group of publishers.

    Parameters
    ----------
    mesh, groups
        The topic's members.
    rules
        From `rules_of`.
    seed
        Of the run.
    source_group
        The publishers' group.
    payload_size
        Bytes of the messages.
    representatives
        How many.
    relayed
        The field of messages that enter the tail at a member of the group, instead of those that it publishes: time
        counts from the arrival of the copy, and the member validates it and pushes it to its mesh.
    """
    candidates = np.flatnonzero(groups.group == source_group)
    references = by_reference(mesh), by_reference(rules)
    count = len(groups.size)
    rows = [
        _represent(
            mesh,
            groups,
            rules,
            references,
            seed,
            candidates,
            payload_size,
            source_group << 1 | relayed,
            number,
            relayed,
        )
        for number in range(representatives)
    ]
    delay, hops, reached, totals, summary, overall, copies, places = zip(*rows, strict=True)
    return PropagationField(
        delay=np.stack(delay),
        hops=np.stack(hops),
        reached=np.stack(reached).reshape(representatives, count),
        totals=np.stack(totals),
        summary=np.stack(summary),
        overall=np.stack(overall),
        copies=np.stack(copies),
        lasting=lasting_share(np.stack(places)),
    )


def _represent(
    mesh: Mesh,
    groups: Groups,
    rules: Rules,
    references: tuple[Mesh, Rules],
    seed: int,
    candidates: npt.NDArray[np.int64],
    payload_size: int,
    field: int,
    number: int,
    relayed: bool,
) -> tuple[npt.NDArray[np.generic], ...]:
    draw = int(draw_u64(seed, rules.topic, int(ColdPurpose.REPRESENTATIVE), field << 32 | number))
    source = int(candidates[(draw & 0xFFFFFFFF) * len(candidates) >> 32])
    # From the second interval on every member has had a heartbeat.
    publish_time = rules.heartbeat_ns + ((draw >> 32) * rules.heartbeat_ns >> 32)
    message_id = _FIRST_ID | field << 16 | number
    if relayed:
        entries = [(publish_time, source)]
        spread = spread_message(
            mesh, rules, message_id, publish_time, payload_size, references=references, entries=entries
        )
    else:
        spread = spread_message(
            mesh, rules, message_id, publish_time, payload_size, references=references, publisher=source
        )
    times = receipts(mesh, spread, -1 if relayed else source, payload_size)
    times[source] = -1
    got = times >= 0
    delays = times[got] - publish_time
    delay, hops, counts = tabulate(delays, spread.hops[got], groups.group[got], len(groups.size))
    others = groups.size - np.bincount([groups.group[source]], minlength=len(groups.size))
    reached = np.where(others > 0, counts / np.maximum(others, 1), 0.0)
    totals = spread.totals.copy()
    totals[DELIVERED] = len(delays)
    told, lost = told_after(*references, by_reference(spread))
    totals[IHAVE_SENT], totals[IHAVE_RECEIVED] = told, told - round(lost)
    copies = np.bincount(groups.group, weights=spread.copies, minlength=len(groups.size)) / np.maximum(groups.size, 1)
    overall, _, _ = tabulate(delays, spread.hops[got], np.zeros(len(delays), dtype=np.int32), 1)
    return delay, hops, reached, totals, summarise(delays), overall[0], copies, places_in_groups(times, groups.group)


def places_in_groups(times: npt.NDArray[np.int64], group: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Rank of each member among those of its group that got the message, in (0, 1); NaN where it did not come."""
    places = np.full(len(times), np.nan)
    order = np.lexsort((times, group))
    order = order[times[order] >= 0]
    counts = np.bincount(group[order])
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    places[order] = (np.arange(len(order)) - firsts[group[order]] + 0.5) / counts[group[order]]
    return places


def lasting_share(places: npt.NDArray[np.float64]) -> float:
    """How much of an identity's place is the same for all messages: the root of the intraclass correlation.

    Parameters
    ----------
    places : float64[R, M]
        Place of each member in each representative, NaN where it did not come.

    Returns
    -------
    float
        In [0, 1]. With `r` the correlation of a member's places in two messages, estimated by analysis of variance
        (one-way intraclass correlation, Shrout and Fleiss 1979, doi:10.1037/0033-2909.86.2.420), the root of max(r, 0).
    """
    count = len(places)
    whole = places[:, ~np.isnan(places).any(axis=0)] - 0.5
    if count < 2 or whole.shape[1] < 2:
        return 0.0
    means = whole.mean(axis=0)
    between = count * float((means**2).mean())
    within = float(((whole - means) ** 2).sum(axis=0).mean()) / (count - 1)
    total = between + (count - 1) * within
    correlation = (between - within) / total if total > 0 else 0.0
    return float(np.sqrt(max(correlation, 0.0)))
