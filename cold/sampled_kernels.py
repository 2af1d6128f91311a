"""Kernels of `cold.sampled`: one message over the whole mesh of its topic, and nothing else under way.

What `propagate` computes is what the exact engine computes for a message that meets no other, bit for bit. It is
quicker, because it settles identities instead of executing copies: buckets of time are no longer than the smallest
latency, so that an identity whose earliest copy lies in a bucket cannot get an earlier one from another identity of the
same bucket (delta-stepping with a delta below the smallest weight: Meyer and Sanders 2003,
doi:10.1016/S0196-6774(03)00076-2). A duplicate is one comparison. Where members tell their meshes that they have a
message (IDONTWANT), who has told a member is worked out when it pushes, in the bucket of that time: whoever has told it
by then had the message in an earlier one.
"""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return, return-value"

import heapq
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.rng import Purpose, philox4x32
from cold.distribution_kernels import draw_value
from cold.jit import int64, kernel, uint64
from cold.purposes import ColdPurpose

Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]
UInt32Array = npt.NDArray[np.uint32]

NEVER: Final = 2**63 - 1
RATE_SHIFT: Final = 20
MOST_HOPS: Final = 255
MESSAGE_BYTES: Final = 62
#: An IHAVE, IWANT or IDONTWANT of one id.
ID_PACKET_BYTES: Final = 44

_PACKET_LOSS: Final = int(Purpose.PACKET_LOSS)
_VALIDATION: Final = int(ColdPurpose.VALIDATION)
_FORWARD: Final = int(ColdPurpose.FORWARD)
_GOSSIP_PEERS: Final = int(ColdPurpose.GOSSIP_PEERS)
_WORD: Final = 0xFFFFFFFF
_WORD_BITS: Final = uint64(32)
_UNIFORM_SHIFT: Final = uint64(11)
_UNIFORM_SCALE: Final = 2.0**-53

#: What `propagate` counts, in the terms of `cold.state_kernels.COUNTER_NAMES`, and what of the copies was lost.
TOTAL_NAMES: Final = (
    "messages_sent",
    "messages_received",
    "delivered",
    "ihave_sent",
    "ihave_received",
    "iwant_sent",
    "iwant_received",
    "iwant_unserved",
    "expired",
    "messages_lost",
    "idontwant_sent",
    "idontwant_received",
    "copies_spared",
)
(
    SENT,
    RECEIVED,
    DELIVERED,
    IHAVE_SENT,
    IHAVE_RECEIVED,
    IWANT_SENT,
    IWANT_RECEIVED,
    IWANT_UNSERVED,
    EXPIRED,
    LOST,
    TELLS_SENT,
    TELLS_RECEIVED,
    SPARED,
) = range(len(TOTAL_NAMES))


class Mesh(NamedTuple):
    """A topic's members, links and mesh. M members, L nodes; peers are member indices."""

    host: UInt32Array
    """uint32[M]: HostIds, ascending."""
    node: Int32Array
    """int32[M]."""
    latency: Int64Array
    """int64[L, L], ns."""
    loss: Float64Array
    """float64[L, L]."""
    uplink_rate: Int64Array
    """int64[M]: ns per byte << RATE_SHIFT."""
    downlink_rate: Int64Array
    phase: Int64Array
    """int64[M]: time of the first heartbeat, ns."""
    member_of_rank: Int32Array
    """int32[M]: members in the order of their phases."""
    row_start: Int64Array
    """int64[M + 1]."""
    neighbours: UInt32Array
    """uint32[row_start[M]]: known peers, ascending in each row."""
    mesh_count: UInt8Array
    """uint8[M]."""
    mesh: UInt32Array
    """uint32[M, room]: mesh peers in the order in which they joined."""
    validation_delay: Int64Array
    """Table of the validation delay [ns], see `cold.distribution_kernels`."""


class Rules(NamedTuple):
    """Scalars of a topic's gossip."""

    key_0: int
    key_1: int
    topic: int
    """Index of the topic."""
    d_lazy: int
    heartbeat_ns: int
    mcache_length: int
    mcache_gossip: int
    seen_ttl_ns: int
    flood_publish: int
    """1 or 0."""
    bucket_shift: int
    """Buckets are 2 ** bucket_shift ns long: not longer than the smallest latency."""
    idontwant_size: int
    """Of payloads of so many bytes or more a member tells its mesh that it has them; NEVER if of none."""


class Spread(NamedTuple):
    """How far the message has come: rows by member."""

    arrival: Int64Array
    """int64[M]: when the first copy comes off the network (a publisher: publishes), ns; NEVER if none does."""
    ready: Int64Array
    """int64[M]: when it is validated; NEVER until the member has it for certain."""
    came_from: Int64Array
    """int64[M]: who sent the first copy; -1 if none of the members did."""
    hops: UInt8Array
    uplink_free: Int64Array
    packets: Int64Array
    told_from: Int64Array
    """int64[M]: from when on the uplink carries the member's IDONTWANTs, ns; NEVER until it tells of the message."""
    told_packet: Int64Array
    """int64[M]: number of the packet that is the first of them."""
    copies: Int64Array
    """int64[M]: copies that the member sent."""
    following: Int32Array
    """int32[M]: next in the same bucket, or -1. A member is in one list at a time."""
    preceding: Int32Array
    head: Int32Array
    """int32[ring]: first member of each bucket of arrivals, or -1."""
    pushing: Int32Array
    """int32[ring]: first member of each bucket of those that have the message and will push it, or -1."""
    totals: Int64Array
    """int64[TOTAL_NAMES]."""


@kernel
def _draw_words(rules: Rules, entity: int, purpose: int, counter: int) -> tuple[int, int, int, int]:
    wide = uint64(counter)
    w0, w1, w2, w3 = philox4x32(
        wide & uint64(_WORD), wide >> _WORD_BITS, uint64(entity), uint64(purpose), rules.key_0, rules.key_1
    )
    return w0, w1, w2, w3


@kernel
def _validation_delay(mesh: Mesh, rules: Rules, member: int, message_id: int) -> int:
    if mesh.validation_delay[0] < 0:
        return mesh.validation_delay[1]
    words = _draw_words(rules, mesh.host[member], _VALIDATION, message_id)
    return draw_value(mesh.validation_delay, 0, uint64(words[0]) | uint64(words[1]) << _WORD_BITS)


@kernel
def _next_heartbeat(rules: Rules, phase: int, time: int) -> int:
    if time <= phase:
        return 0
    return (time - phase + rules.heartbeat_ns - 1) // rules.heartbeat_ns


@kernel
def _send(mesh: Mesh, rules: Rules, spread: Spread, time: int, member: int, peer: int, size: int) -> int:
    """Put a packet on the uplink; returns when it arrives, or NEVER if it is lost."""
    free = max(spread.uplink_free[member], time) + (size * mesh.uplink_rate[member] >> RATE_SHIFT)
    spread.uplink_free[member] = free
    counter = spread.packets[member]
    spread.packets[member] = counter + 1
    if _is_lost(mesh, rules, member, peer, counter):
        return NEVER
    return free + mesh.latency[mesh.node[member], mesh.node[peer]]


@kernel
def _is_lost(mesh: Mesh, rules: Rules, member: int, peer: int, counter: int) -> bool:
    """Whether the packet of this number does not come to the peer."""
    probability = mesh.loss[mesh.node[member], mesh.node[peer]]
    if probability <= 0.0:
        return False
    words = _draw_words(rules, mesh.host[member], _PACKET_LOSS, counter)
    bits = uint64(words[0]) | uint64(words[1]) << _WORD_BITS
    return (bits >> _UNIFORM_SHIFT) * _UNIFORM_SCALE < probability


@kernel
def _link(rules: Rules, spread: Spread, head: Int32Array, time: int, member: int) -> None:
    """Put a member into the list of a time's bucket."""
    bucket = (time >> rules.bucket_shift) & (len(head) - 1)
    first = head[bucket]
    head[bucket] = member
    spread.preceding[member] = -1
    spread.following[member] = first
    if first >= 0:
        spread.preceding[first] = member


@kernel
def _unlink(rules: Rules, spread: Spread, head: Int32Array, time: int, member: int) -> None:
    """Take a member out of the list of a time's bucket."""
    before, after = spread.preceding[member], spread.following[member]
    if before >= 0:
        spread.following[before] = after
    else:
        head[(time >> rules.bucket_shift) & (len(head) - 1)] = after
    if after >= 0:
        spread.preceding[after] = before


@kernel
def _send_copy(
    mesh: Mesh, rules: Rules, spread: Spread, time: int, member: int, peer: int, size: int, hops: int, expiry: int
) -> int:
    """Send a copy of the message; returns 1 if the peer did not expect one before, else 0."""
    spread.totals[SENT] += 1
    spread.copies[member] += 1
    arrival = _send(mesh, rules, spread, time, member, peer, size)
    if arrival == NEVER:
        spread.totals[LOST] += 1
        return 0
    if arrival >= expiry:
        spread.totals[EXPIRED] += 1
        return 0
    spread.totals[RECEIVED] += 1
    known = spread.arrival[peer]
    if arrival > known or (arrival == known and member >= spread.came_from[peer]):
        return 0
    if known != NEVER:
        _unlink(rules, spread, spread.head, known, peer)
    spread.arrival[peer] = arrival
    spread.came_from[peer] = member
    spread.hops[peer] = min(hops, MOST_HOPS)
    _link(rules, spread, spread.head, arrival, peer)
    return 1 if known == NEVER else 0


@kernel
def _in_mesh(mesh: Mesh, member: int, peer: int) -> bool:
    found = False
    for position in range(mesh.mesh_count[member]):
        if mesh.mesh[member, position] == peer:
            found = True
    return found


@kernel
def _choose_gossip_peers(mesh: Mesh, rules: Rules, member: int, heartbeat: int, chosen: Int64Array) -> int:
    """Choose up to D_lazy known peers outside the mesh, as `heartbeat_kernels.choose_gossip_peers` does."""
    first = mesh.row_start[member]
    known = mesh.row_start[member + 1] - first
    count = 0
    if known - mesh.mesh_count[member] <= rules.d_lazy:
        for index in range(known):
            peer = int64(mesh.neighbours[first + index])
            if not _in_mesh(mesh, member, peer):
                chosen[count] = peer
                count += 1
        return count
    block = 0
    while True:
        words = _draw_words(rules, mesh.host[member], _GOSSIP_PEERS, heartbeat << 32 | rules.topic << 16 | block)
        block += 1
        for word in words:
            if count == rules.d_lazy:
                return count
            peer = int64(mesh.neighbours[first + (int64(word) * known >> 32)])
            fresh = not _in_mesh(mesh, member, peer)
            for position in range(count):
                if chosen[position] == peer:
                    fresh = False
            if fresh:
                chosen[count] = peer
                count += 1


@kernel
def _push(
    mesh: Mesh,
    rules: Rules,
    spread: Spread,
    time: int,
    member: int,
    publisher: int,
    message_id: int,
    size: int,
    expiry: int,
) -> int:
    """Push a validated message to the mesh (a publisher that floods: to all it knows); returns how many are new."""
    words = _draw_words(rules, mesh.host[member], _FORWARD, message_id)
    fresh = 0
    if member == publisher and rules.flood_publish:
        first = mesh.row_start[member]
        count = mesh.row_start[member + 1] - first
        begin = int64(words[0]) * count >> 32
        for turn in range(count):
            peer = int64(mesh.neighbours[first + (begin + turn) % count])
            fresh += _send_copy(mesh, rules, spread, time, member, peer, size, 0, expiry)
        return fresh
    count = int64(mesh.mesh_count[member])
    begin = int64(words[0]) * count >> 32
    hops = 0 if member == publisher else int64(spread.hops[member]) + 1
    for turn in range(count):
        place = begin + turn
        if place >= count:
            place -= count
        peer = int64(mesh.mesh[member, place])
        if peer == spread.came_from[member] or peer == publisher:
            continue
        if _has_told(mesh, rules, spread, peer, member, time, publisher, message_id):
            spread.totals[SPARED] += 1
        else:
            fresh += _send_copy(mesh, rules, spread, time, member, peer, size, hops, expiry)
    return fresh


@kernel
def _tell(mesh: Mesh, rules: Rules, spread: Spread, time: int, member: int, publisher: int) -> None:
    """Send IDONTWANT to the mesh, but for where the message came from, and its publisher."""
    spread.told_from[member] = max(spread.uplink_free[member], time)
    spread.told_packet[member] = spread.packets[member]
    for place in range(mesh.mesh_count[member]):
        peer = int64(mesh.mesh[member, place])
        if peer != spread.came_from[member] and peer != publisher:
            spread.totals[TELLS_SENT] += 1
            spread.totals[TELLS_RECEIVED] += _send(mesh, rules, spread, time, member, peer, ID_PACKET_BYTES) != NEVER


@kernel
def _has_told(
    mesh: Mesh, rules: Rules, spread: Spread, peer: int, member: int, time: int, publisher: int, message_id: int
) -> bool:
    """Whether a peer's IDONTWANT has come to a member by a time."""
    free = spread.told_from[peer]
    if free >= time or spread.came_from[peer] == member:
        return False
    # They leave in the order in which the peer pushes.
    count = int64(mesh.mesh_count[peer])
    place = int64(_draw_words(rules, mesh.host[peer], _FORWARD, message_id)[0]) * count >> 32
    duration = ID_PACKET_BYTES * mesh.uplink_rate[peer] >> RATE_SHIFT
    counter = spread.told_packet[peer]
    for _ in range(count):
        other = int64(mesh.mesh[peer, place])
        place += 1
        if place == count:
            place = int64(0)
        if other == spread.came_from[peer] or other == publisher:
            continue
        free += duration
        if other == member:
            arrival = free + mesh.latency[mesh.node[peer], mesh.node[member]]
            return arrival <= time and not _is_lost(mesh, rules, peer, member, counter)
        counter += 1
    return False


@kernel
def _settle(
    mesh: Mesh,
    rules: Rules,
    spread: Spread,
    member: int,
    publisher: int,
    message_id: int,
    size: int,
    is_told: bool,
) -> None:
    """The member's first copy is certain: validate it, and tell the mesh of it if there is to be told."""
    if member == publisher:
        spread.ready[member] = spread.arrival[member]
        return
    spread.totals[DELIVERED] += 1
    received = spread.arrival[member] + (size * mesh.downlink_rate[member] >> RATE_SHIFT)
    spread.ready[member] = received + _validation_delay(mesh, rules, member, message_id)
    if is_told:
        _tell(mesh, rules, spread, received, member, publisher)


@kernel
def _is_cached(mesh: Mesh, rules: Rules, spread: Spread, member: int, heartbeat: int) -> bool:
    """Whether the member's heartbeat of this number tells of the message."""
    time = mesh.phase[member] + heartbeat * rules.heartbeat_ns
    if spread.ready[member] > time:
        return False
    return heartbeat - _next_heartbeat(rules, mesh.phase[member], spread.ready[member]) < rules.mcache_gossip


@kernel
def propagate(
    mesh: Mesh,
    rules: Rules,
    spread: Spread,
    publisher: int,
    entry: Int64Array,
    entry_time: Int64Array,
    message_id: int,
    publish_time: int,
    payload_size: int,
) -> None:
    """Propagate one message until everybody has it, or nobody can get it any more.

    Parameters
    ----------
    mesh, rules
        The topic.
    spread
        From `cold.sampled.empty_spread`; holds the result.
    publisher
        The member that publishes, at `publish_time`; -1 if none does.
    entry, entry_time
        int64[entries]: members that get a copy from outside, and when [ns], in ascending order of time.
    message_id
        Counter of the draws.
    payload_size
        Bytes.
    """
    size = MESSAGE_BYTES + payload_size
    is_told = payload_size >= rules.idontwant_size
    expiry = publish_time + rules.seen_ttl_ns
    members, ring = len(mesh.host), len(spread.head)
    linked = pushing = 0
    if publisher >= 0:
        spread.arrival[publisher] = publish_time
        spread.came_from[publisher] = -1
        _link(rules, spread, spread.head, publish_time, publisher)
        linked += 1
    for index in range(len(entry)):
        member = entry[index]
        spread.totals[RECEIVED] += 1
        if entry_time[index] < spread.arrival[member]:
            spread.arrival[member] = entry_time[index]
            spread.came_from[member] = -1
            _link(rules, spread, spread.head, entry_time[index], member)
            linked += 1

    chosen = np.empty(max(rules.d_lazy, 1), dtype=np.int64)
    asked = np.full(members, -1, dtype=np.int64)
    # Time, source, destination. Typed by a first entry that is taken out again.
    ihaves = [(int64(0), int64(0), int64(0))]
    iwants = [(int64(0), int64(0), int64(0))]
    ihaves.pop()
    iwants.pop()
    settled = 0
    last_ready = publish_time
    turn = publish_time >> rules.bucket_shift
    # The first heartbeat at the publication or later, in the order of phases.
    round_number = publish_time // rules.heartbeat_ns
    rank = 0
    while rank < members and round_number * rules.heartbeat_ns + mesh.phase[mesh.member_of_rank[rank]] < publish_time:
        rank += 1

    # Once everybody has it, only who has not pushed, and requests that are on their way, still cause copies.
    while settled < members or pushing > 0 or len(iwants) > 0:
        end = (turn + 1) << rules.bucket_shift
        # What arrives in this bucket is certain from here on, whoever sends it.
        while len(ihaves) > 0 and ihaves[0][0] < end:
            time, source, member = heapq.heappop(ihaves)
            if spread.arrival[member] <= time or time >= expiry:
                continue
            interval = _next_heartbeat(rules, mesh.phase[member], time)
            if asked[member] == interval:
                continue
            asked[member] = interval
            spread.totals[IWANT_SENT] += 1
            arrival = _send(mesh, rules, spread, time, member, source, ID_PACKET_BYTES)
            if arrival != NEVER:
                heapq.heappush(iwants, (arrival, member, source))

        bucket = turn & (ring - 1)
        member = int64(spread.head[bucket])
        while member >= 0:
            after = int64(spread.following[member])
            # What comes a whole turn of the ring later stays.
            if spread.arrival[member] < end:
                _unlink(rules, spread, spread.head, spread.arrival[member], member)
                linked -= 1
                _settle(mesh, rules, spread, member, publisher, message_id, size, is_told)
                settled += 1
                ready = spread.ready[member]
                last_ready = max(last_ready, ready)
                if is_told and ready >= end:
                    _link(rules, spread, spread.pushing, ready, member)
                    pushing += 1
                else:
                    linked += _push(mesh, rules, spread, ready, member, publisher, message_id, size, expiry)
            member = after
        member = int64(spread.pushing[bucket])
        while member >= 0:
            after = int64(spread.following[member])
            ready = spread.ready[member]
            if ready < end:
                _unlink(rules, spread, spread.pushing, ready, member)
                pushing -= 1
                linked += _push(mesh, rules, spread, ready, member, publisher, message_id, size, expiry)
            member = after

        while True:
            while rank == members:
                rank = 0
                round_number += 1
            member = int64(mesh.member_of_rank[rank])
            beat = round_number * rules.heartbeat_ns + mesh.phase[member]
            if len(iwants) > 0 and iwants[0][0] < end and iwants[0][0] <= beat:
                time, source, holder = heapq.heappop(iwants)
                spread.totals[IWANT_RECEIVED] += 1
                phase = mesh.phase[holder]
                age = _next_heartbeat(rules, phase, time) - _next_heartbeat(rules, phase, spread.ready[holder])
                if time < expiry and spread.ready[holder] < time and age < rules.mcache_length:
                    hops = 0 if holder == publisher else int64(spread.hops[holder]) + 1
                    linked += _send_copy(mesh, rules, spread, time, holder, source, size, hops, expiry)
                else:
                    spread.totals[IWANT_UNSERVED] += 1
                continue
            if beat >= end:
                break
            rank += 1
            if not _is_cached(mesh, rules, spread, member, round_number):
                continue
            count = _choose_gossip_peers(mesh, rules, member, round_number, chosen)
            spread.totals[IHAVE_SENT] += count
            for position in range(count):
                peer = chosen[position]
                arrival = _send(mesh, rules, spread, beat, member, peer, ID_PACKET_BYTES)
                if arrival == NEVER:
                    continue
                spread.totals[IHAVE_RECEIVED] += 1
                if spread.arrival[peer] >= end:
                    heapq.heappush(ihaves, (arrival, member, peer))

        gossip_end = last_ready + rules.mcache_gossip * rules.heartbeat_ns
        if linked == 0 and pushing == 0 and len(ihaves) == 0 and len(iwants) == 0 and end > gossip_end:
            break
        turn += 1


@kernel
def told_after(mesh: Mesh, rules: Rules, spread: Spread) -> tuple[int, float]:
    """IHAVE packets that all members send until the message has left the last cache, and how many of them get lost.

    The second is an expectation: over the known peers of the node's members, by the loss to their nodes.
    """
    sent = int64(0)
    lost = 0.0
    for member in range(len(mesh.host)):
        if spread.ready[member] == NEVER:
            continue
        first, last = mesh.row_start[member], mesh.row_start[member + 1]
        packets = rules.mcache_gossip * min(rules.d_lazy, last - first - mesh.mesh_count[member])
        sent += packets
        probability = 0.0
        for index in range(first, last):
            probability += mesh.loss[mesh.node[member], mesh.node[mesh.neighbours[index]]]
        if last > first:
            lost += packets * probability / (last - first)
    return sent, lost
