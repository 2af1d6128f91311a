"""Kernels of gossip: what an identity does with each event of its own.

`execute` is called once per window, after `state_kernels.collect`. Identities do not see each other inside a
window, so it takes them one after another, each with its events in the order (time, class, source, counter, message
id). Everything here follows gossipsub v1.1 (https://github.com/libp2p/specs/tree/master/pubsub/gossipsub).
"""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

import numpy as np

from bridge.rng import Purpose, philox4x32
from cold.jit import int64, kernel, uint64
from cold.purposes import ColdPurpose
from cold.state_kernels import (
    ACTIVE_COUNT,
    BACKOFF_COUNT,
    BYTES_SENT,
    CHUNK,
    CONTROL_RECEIVED,
    CONTROL_SENT,
    DUPLICATES,
    EDGE_EVENTS,
    EXPIRED,
    FORWARD,
    FORWARDS,
    FREE_COUNT,
    GRAFT,
    HEARTBEATS,
    HELLO,
    IHAVE,
    IHAVE_ID,
    IHAVE_RECEIVED,
    IHAVE_SENT,
    IWANT,
    IWANT_RECEIVED,
    IWANT_SENT,
    IWANT_UNSERVED,
    LEAVE,
    LINK_COUNT,
    MESSAGE,
    MESSAGES_RECEIVED,
    MESSAGES_SENT,
    NEVER,
    OUT_COUNT,
    OUT_IDS_COUNT,
    PACKETS_LOST,
    POSITION,
    PRUNE,
    PUBLISH,
    PUBLISHED,
    RATE_SHIFT,
    WORD,
    Int64Array,
    Parameters,
    State,
    UInt64Array,
    push,
)

# Plain integers: numba takes no members of an IntEnum from a global.
_PACKET_LOSS: Final = int(Purpose.PACKET_LOSS)
_VALIDATION: Final = int(ColdPurpose.VALIDATION)
_FORWARD: Final = int(ColdPurpose.FORWARD)
_GOSSIP_PEERS: Final = int(ColdPurpose.GOSSIP_PEERS)
_GRAFT_PEERS: Final = int(ColdPurpose.GRAFT_PEERS)

#: Bytes on the wire: IPv4 and UDP header (28), the datagram's own header (8), and what each type adds.
CONTROL_BYTES: Final = 36
PRUNE_BYTES: Final = 40
ID_BYTES: Final = 8
MESSAGE_BYTES: Final = 62
#: Most ids that one IHAVE or IWANT datagram carries.
IDS_PER_DATAGRAM: Final = 128

_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)
_DE_BRUIJN: Final = uint64(0x03F79D71B4CB0A89)
_DE_BRUIJN_SHIFT: Final = uint64(58)
_DE_BRUIJN_POSITION: Final = np.array(
    [
        *(0, 1, 48, 2, 57, 49, 28, 3, 61, 58, 50, 42, 38, 29, 17, 4),
        *(62, 55, 59, 36, 53, 51, 43, 22, 45, 39, 33, 30, 24, 18, 12, 5),
        *(63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21, 44, 32, 23, 11),
        *(46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9, 13, 8, 7, 6),
    ],
    dtype=np.int64,
)
_UNIFORM_SHIFT: Final = uint64(11)
_WORD_BITS: Final = uint64(32)
_UNIFORM_SCALE: Final = 2.0**-53


@kernel
def lowest_bit(word: int) -> int:
    """Position of the lowest set bit of a uint64 that is not 0 (Leiserson, Prokop, Randall 1998)."""
    return _DE_BRUIJN_POSITION[((word & (~word + _ONE)) * _DE_BRUIJN) >> _DE_BRUIJN_SHIFT]


@kernel
def has(bits: UInt64Array, row: int, slot: int) -> bool:
    """Whether `slot` is set in a row of words."""
    return bits[row, slot >> 6] >> uint64(slot & 63) & _ONE != _ZERO


@kernel
def draw_words(parameters: Parameters, entity: int, purpose: int, counter: int) -> tuple[int, int, int, int]:
    """Four random 32-bit words."""
    wide = uint64(counter)
    w0, w1, w2, w3 = philox4x32(
        wide & uint64(WORD),
        wide >> _WORD_BITS,
        uint64(entity),
        uint64(purpose),
        parameters.key_0,
        parameters.key_1,
    )
    return w0, w1, w2, w3


@kernel
def validated_at(state: State, parameters: Parameters, identity: int, slot: int) -> int:
    """When an identity that has seen the message may forward it [ns]: a function of its arrival, never stored."""
    arrival = state.arrival[slot, identity]
    entity = identity + parameters.hot_count
    if state.message_origin[slot] == entity:
        return arrival
    count = len(state.delay_quantiles)
    if count == 1:
        return arrival + state.delay_quantiles[0]
    words = draw_words(parameters, entity, _VALIDATION, state.message_id[slot])
    scaled = int64(words[0]) * (count - 1)
    segment, part = scaled >> 32, (scaled & WORD) >> 12
    low, high = state.delay_quantiles[segment], state.delay_quantiles[segment + 1]
    return arrival + low + ((high - low) * part >> 20)


@kernel
def next_heartbeat(parameters: Parameters, phase: int, time: int) -> int:
    """Number of the first heartbeat at `time` or later."""
    if time <= phase:
        return 0
    return (time - phase + parameters.heartbeat_ns - 1) // parameters.heartbeat_ns


@kernel
def is_lost(parameters: Parameters, source: int, counter: int, probability: float) -> bool:
    """Draw the loss of a packet."""
    words = draw_words(parameters, source, _PACKET_LOSS, counter)
    bits = uint64(words[0]) | uint64(words[1]) << _WORD_BITS
    return bool((bits >> _UNIFORM_SHIFT) * _UNIFORM_SCALE < probability)


@kernel
def send(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    peer: int,
    size: int,
    kind: int,
    slot: int,
    hops: int,
    auxiliary: int,
    first: int,
    last: int,
) -> None:
    """Queue one packet on the uplink and let it travel.

    An IWANT (to anybody) or IHAVE (to a hot host) carries the slots ``state.wanted[first:last]``; a cold destination
    gets an event for each of an IWANT's ids.
    """
    source = identity + parameters.hot_count
    free = max(state.uplink_free[identity], time) + (size * state.uplink_rate[identity] >> RATE_SHIFT)
    state.uplink_free[identity] = free
    counter = state.packet_counter[identity]
    state.packet_counter[identity] = counter + 1
    state.counters[BYTES_SENT] += size
    probability = state.loss[state.node[source], state.node[peer]]
    if probability > 0.0 and is_lost(parameters, source, counter, probability):
        state.counters[PACKETS_LOST] += 1
        return
    arrival = free + state.latency[state.node[source], state.node[peer]]
    what = hops << 40 | slot << 8 | kind
    if peer < parameters.hot_count:
        index = state.cursor[OUT_COUNT]
        state.cursor[OUT_COUNT] = index + 1
        first_id = state.cursor[OUT_IDS_COUNT]
        state.out[index, 0] = arrival
        state.out[index, 1] = peer << 32 | source
        state.out[index, 2] = counter << 32 | auxiliary
        state.out[index, 3] = what
        state.out[index, 4] = first_id
        state.out[index, 5] = last - first
        for position in range(first, last):
            state.out_ids[first_id + position - first] = state.message_id[state.wanted[position]]
        state.cursor[OUT_IDS_COUNT] = first_id + last - first
    elif kind == IWANT:
        for position in range(first, last):
            wanted = int64(state.wanted[position])
            state.last_reference[wanted] = max(state.last_reference[wanted], arrival)
            push(state, parameters, arrival, peer << 32 | source, counter << 32, wanted << 8 | IWANT)
    else:
        if kind == MESSAGE:
            state.last_reference[slot] = max(state.last_reference[slot], arrival)
        push(state, parameters, arrival, peer << 32 | source, counter << 32 | auxiliary, what)


@kernel
def send_ids(
    state: State, parameters: Parameters, time: int, identity: int, peer: int, kind: int, topic: int, count: int
) -> None:
    """Send an IWANT, or an IHAVE to a hot host, of the first `count` slots in `state.wanted`, by message id."""
    for position in range(1, count):
        slot = state.wanted[position]
        hole = position
        while hole > 0 and state.message_id[state.wanted[hole - 1]] > state.message_id[slot]:
            state.wanted[hole] = state.wanted[hole - 1]
            hole -= 1
        state.wanted[hole] = slot
    sent = 0
    while sent < count:
        last = min(count, sent + IDS_PER_DATAGRAM)
        size = CONTROL_BYTES + ID_BYTES * (last - sent)
        send(state, parameters, time, identity, peer, size, kind, topic, 0, 0, sent, last)
        sent = last


@kernel
def in_mesh(state: State, topic: int, identity: int, peer: int) -> bool:
    """Whether `peer` is in the identity's mesh."""
    found = False
    for position in range(state.mesh_count[topic, identity]):
        if state.mesh[topic, identity, position] == peer:
            found = True
    return found


@kernel
def find_link(state: State, identity: int, peer: int, topic: int) -> int:
    """The link of an identity to a hot peer on a topic, known or forgotten, or -1."""
    link = state.link_head[identity]
    while link >= 0 and (state.link[link, 0] != peer or state.link[link, 1] != topic):
        link = state.link[link, 2]
    return link


@kernel
def learn_peer(state: State, identity: int, peer: int, topic: int) -> bool:
    """Record a hot peer on a topic. True if it was not known."""
    link = find_link(state, identity, peer, topic)
    if link < 0:
        link = state.cursor[LINK_COUNT]
        state.cursor[LINK_COUNT] = link + 1
        state.link[link, 0] = peer
        state.link[link, 1] = topic
        state.link[link, 2] = state.link_head[identity]
        state.link[link, 3] = 0
        state.link_head[identity] = link
    new = state.link[link, 3] == 0
    state.link[link, 3] = 1
    return new


@kernel
def count_peers(state: State, identity: int, topic: int) -> int:
    """Number of known peers on a topic."""
    count = state.row_start[identity + 1] - state.row_start[identity]
    link = state.link_head[identity]
    while link >= 0:
        if state.link[link, 1] == topic and state.link[link, 3] == 1:
            count += 1
        link = state.link[link, 2]
    return count


@kernel
def peer_at(state: State, identity: int, topic: int, index: int) -> int:
    """The index-th known peer on a topic: the cold ones by id, then the hot ones, newest first."""
    first = state.row_start[identity]
    row = state.row_start[identity + 1] - first
    if index < row:
        return int64(state.neighbours[first + index])
    index -= row
    link = state.link_head[identity]
    while True:
        if state.link[link, 1] == topic and state.link[link, 3] == 1:
            if index == 0:
                return int64(state.link[link, 0])
            index -= 1
        link = state.link[link, 2]


@kernel
def find_backoff(state: State, identity: int, peer: int, topic: int) -> int:
    """The backoff entry of a peer on a topic, running or not, or -1."""
    entry = int64(state.backoff_head[identity])
    while entry >= 0 and (state.backoff[entry, 0] != peer or state.backoff[entry, 1] != topic):
        entry = state.backoff[entry, 2]
    return entry


@kernel
def in_backoff(state: State, identity: int, peer: int, topic: int, time: int) -> bool:
    """Whether a backoff of the peer is running."""
    entry = find_backoff(state, identity, peer, topic)
    return entry >= 0 and state.backoff[entry, 3] > time


@kernel
def start_backoff(state: State, identity: int, peer: int, topic: int, end: int) -> None:
    """Keep the peer out of the mesh until `end`."""
    entry = find_backoff(state, identity, peer, topic)
    if entry < 0:
        entry = state.cursor[BACKOFF_COUNT]
        state.cursor[BACKOFF_COUNT] = entry + 1
        state.backoff[entry, 0] = peer
        state.backoff[entry, 1] = topic
        state.backoff[entry, 2] = state.backoff_head[identity]
        state.backoff_head[identity] = entry
    state.backoff[entry, 3] = end


@kernel
def leave_mesh(state: State, topic: int, identity: int, peer: int) -> None:
    """Take a peer out of the mesh, if it is there; the others keep their order."""
    kept = 0
    for position in range(state.mesh_count[topic, identity]):
        other = state.mesh[topic, identity, position]
        if other != peer:
            state.mesh[topic, identity, kept] = other
            kept += 1
    state.mesh_count[topic, identity] = kept


@kernel
def note_need(state: State, parameters: Parameters, identity: int) -> None:
    """Work out whether the identity's next heartbeat has something to do."""
    needed = False
    for word in range(state.recent.shape[1]):
        if state.recent[identity, word] != _ZERO:
            needed = True
    if not needed:
        for topic in range(parameters.topics):
            members = state.mesh_count[topic, identity]
            if members < parameters.d_low and count_peers(state, identity, topic) > members:
                needed = True
    state.heartbeat_needed[state.phase_rank[identity]] = needed


@kernel
def note_needs(state: State, parameters: Parameters) -> None:
    """Work out for every identity whether its next heartbeat has something to do."""
    for identity in range(len(state.phase)):
        note_need(state, parameters, identity)


@kernel
def forward(
    state: State, parameters: Parameters, time: int, identity: int, slot: int, came_from: int, hops: int
) -> None:
    """Push a message to the mesh, but not to where it came from, nor to its origin.

    The loop of `send`, with all that does not depend on the peer taken out of it.
    """
    source = identity + parameters.hot_count
    topic = int64(state.message_topic[slot])
    members = int64(state.mesh_count[topic, identity])
    origin = state.message_origin[slot]
    size = MESSAGE_BYTES + state.message_size[slot]
    duration = size * state.uplink_rate[identity] >> RATE_SHIFT
    free = max(state.uplink_free[identity], time)
    counter = state.packet_counter[identity]
    node = state.node[source]
    latest = state.last_reference[slot]
    words = draw_words(parameters, source, _FORWARD, state.message_id[slot])
    position = int64(words[0]) * members >> 32
    what = hops << 40 | slot << 8 | MESSAGE
    sent = 0
    for _ in range(members):
        peer = int64(state.mesh[topic, identity, position])
        position += 1
        if position == members:
            position = 0
        if peer in (came_from, origin):
            continue
        free += duration
        place = state.node[peer]
        marks = counter << 32
        counter += 1
        sent += 1
        probability = state.loss[node, place]
        if probability > 0.0 and is_lost(parameters, source, counter - 1, probability):
            state.counters[PACKETS_LOST] += 1
            continue
        arrival = free + state.latency[node, place]
        if peer < parameters.hot_count:
            index = state.cursor[OUT_COUNT]
            state.cursor[OUT_COUNT] = index + 1
            state.out[index, 0] = arrival
            state.out[index, 1] = peer << 32 | source
            state.out[index, 2] = marks
            state.out[index, 3] = what
            state.out[index, 4] = 0
            state.out[index, 5] = 0
        else:
            latest = max(latest, arrival)
            push(state, parameters, arrival, peer << 32 | source, marks, what)
    state.last_reference[slot] = latest
    state.uplink_free[identity] = free
    state.packet_counter[identity] = counter
    state.counters[BYTES_SENT] += sent * size
    state.counters[MESSAGES_SENT] += sent


@kernel
def remember(state: State, parameters: Parameters, time: int, identity: int, slot: int) -> None:
    """Put a message into the message cache: the next heartbeats gossip about it."""
    state.recent[identity, slot >> 6] |= _ONE << uint64(slot & 63)
    state.heartbeat_needed[state.phase_rank[identity]] = 1
    kept_until = time + (parameters.mcache_length + 1) * parameters.heartbeat_ns
    state.last_reference[slot] = max(state.last_reference[slot], kept_until)


@kernel
def publish(state: State, parameters: Parameters, time: int, identity: int, slot: int) -> None:
    """Send a message of one's own: to all known peers (flood publish), or to the mesh."""
    topic = int64(state.message_topic[slot])
    state.counters[PUBLISHED] += 1
    state.seen[identity, slot >> 6] |= _ONE << uint64(slot & 63)
    state.arrival[slot, identity] = time
    state.hops[slot, identity] = 0
    remember(state, parameters, time, identity, slot)
    if not parameters.flood_publish:
        forward(state, parameters, time, identity, slot, -1, 0)
        return
    count = count_peers(state, identity, topic)
    words = draw_words(parameters, identity + parameters.hot_count, _FORWARD, state.message_id[slot])
    first = int64(words[0]) * count >> 32
    size = MESSAGE_BYTES + state.message_size[slot]
    for turn in range(count):
        peer = peer_at(state, identity, topic, (first + turn) % count)
        send(state, parameters, time, identity, peer, size, MESSAGE, slot, 0, 0, 0, 0)
        state.counters[MESSAGES_SENT] += 1


@kernel
def graft_peers(state: State, parameters: Parameters, time: int, identity: int, topic: int, heartbeat: int) -> None:
    """Fill a mesh below D_low up to D with random peers that no backoff forbids."""
    candidates = 0
    for index in range(count_peers(state, identity, topic)):
        peer = peer_at(state, identity, topic, index)
        if not in_mesh(state, topic, identity, peer) and not in_backoff(state, identity, peer, topic, time):
            state.scratch[candidates] = peer
            candidates += 1
    missing = min(parameters.d - int64(state.mesh_count[topic, identity]), candidates)
    for turn in range(missing):
        words = draw_words(
            parameters, identity + parameters.hot_count, _GRAFT_PEERS, heartbeat << 24 | topic << 16 | turn
        )
        pick = turn + (int64(words[0]) * (candidates - turn) >> 32)
        peer = int64(state.scratch[pick])
        state.scratch[pick] = state.scratch[turn]
        state.mesh[topic, identity, state.mesh_count[topic, identity]] = peer
        state.mesh_count[topic, identity] += 1
        send(state, parameters, time, identity, peer, CONTROL_BYTES, GRAFT, topic, 0, 0, 0, 0)
        state.counters[CONTROL_SENT] += 1


@kernel
def choose_gossip_peers(state: State, parameters: Parameters, identity: int, topic: int, heartbeat: int) -> int:
    """Choose up to D_lazy random known peers outside the mesh into `state.scratch`; returns how many."""
    known = count_peers(state, identity, topic)
    outside = known - state.mesh_count[topic, identity]
    chosen = 0
    if outside <= parameters.d_lazy:
        for index in range(known):
            peer = peer_at(state, identity, topic, index)
            if not in_mesh(state, topic, identity, peer):
                state.scratch[chosen] = peer
                chosen += 1
        return chosen
    block = 0
    while True:
        words = draw_words(
            parameters, identity + parameters.hot_count, _GOSSIP_PEERS, heartbeat << 24 | topic << 16 | block
        )
        block += 1
        for word in words:
            if chosen == parameters.d_lazy:
                return chosen
            peer = peer_at(state, identity, topic, int64(word) * known >> 32)
            fresh = not in_mesh(state, topic, identity, peer)
            for position in range(chosen):
                if state.scratch[position] == peer:
                    fresh = False
            if fresh:
                state.scratch[chosen] = peer
                chosen += 1


@kernel
def heartbeat(state: State, parameters: Parameters, time: int, identity: int) -> None:
    """Mend the meshes, and tell some peers outside them what messages there were.

    A mesh cannot be above D_high: a GRAFT finds room below it or is answered by PRUNE.
    """
    state.counters[HEARTBEATS] += 1
    number = next_heartbeat(parameters, state.phase[identity], time)
    for topic in range(parameters.topics):
        if state.mesh_count[topic, identity] < parameters.d_low:
            graft_peers(state, parameters, time, identity, topic, number)
        ids = 0
        for word in range(state.recent.shape[1]):
            left = state.recent[identity, word] & state.topic_slots[topic, word]
            while left != _ZERO:
                slot = word * 64 + lowest_bit(left)
                left &= left - _ONE
                cached = next_heartbeat(
                    parameters, state.phase[identity], validated_at(state, parameters, identity, slot)
                )
                state.wanted[ids] = slot
                ids += 1
                if number - cached >= parameters.mcache_gossip - 1:
                    state.recent[identity, word] &= ~(_ONE << uint64(slot & 63))
        if ids == 0:
            continue
        size = CONTROL_BYTES * ((ids + IDS_PER_DATAGRAM - 1) // IDS_PER_DATAGRAM) + ID_BYTES * ids
        chosen = choose_gossip_peers(state, parameters, identity, topic, number)
        for position in range(chosen):
            peer = int64(state.scratch[position])
            if peer < parameters.hot_count:
                send_ids(state, parameters, time, identity, peer, IHAVE, topic, ids)
            else:
                send(state, parameters, time, identity, peer, size, IHAVE, topic, 0, number, 0, 0)
        state.counters[IHAVE_SENT] += chosen
    note_need(state, parameters, identity)


@kernel
def want(state: State, parameters: Parameters, time: int, identity: int, slot: int) -> bool:
    """Whether to ask for a message: not seen, not too old, not asked for in this heartbeat interval. Marks it asked."""
    if has(state.seen, identity, slot) or time >= state.message_expiry[slot]:
        return False
    interval = next_heartbeat(parameters, state.phase[identity], time)
    if state.asked_heartbeat[identity] != interval:
        state.asked_heartbeat[identity] = interval
        for word in range(state.asked.shape[1]):
            state.asked[identity, word] = _ZERO
    if has(state.asked, identity, slot):
        return False
    state.asked[identity, slot >> 6] |= _ONE << uint64(slot & 63)
    return True


@kernel
def receive_ihave(
    state: State, parameters: Parameters, time: int, identity: int, sender: int, topic: int, number: int
) -> None:
    """Take a cold peer's IHAVE: what it had cached at its heartbeat `number`, and this identity has not seen."""
    other = sender - parameters.hot_count
    sent_at = state.phase[other] + number * parameters.heartbeat_ns
    count = 0
    for word in range(state.seen.shape[1]):
        left = state.topic_slots[topic, word] & state.seen[other, word] & ~state.seen[identity, word]
        while left != _ZERO:
            slot = word * 64 + lowest_bit(left)
            left &= left - _ONE
            cached_at = validated_at(state, parameters, other, slot)
            if cached_at > sent_at:
                continue
            cached = next_heartbeat(parameters, state.phase[other], cached_at)
            if number - cached < parameters.mcache_gossip and want(state, parameters, time, identity, slot):
                state.wanted[count] = slot
                count += 1
    if count > 0:
        send_ids(state, parameters, time, identity, sender, IWANT, topic, count)
        state.counters[IWANT_SENT] += count


@kernel
def answer_iwant(state: State, parameters: Parameters, time: int, identity: int, sender: int, slot: int) -> None:
    """Send the message, if it is still in the message cache."""
    state.counters[IWANT_RECEIVED] += 1
    if has(state.seen, identity, slot) and time < state.message_expiry[slot]:
        cached_at = validated_at(state, parameters, identity, slot)
        if cached_at < time:
            phase = state.phase[identity]
            age = next_heartbeat(parameters, phase, time) - next_heartbeat(parameters, phase, cached_at)
            if age < parameters.mcache_length:
                hops = int64(state.hops[slot, identity])
                if state.message_origin[slot] != identity + parameters.hot_count:
                    hops = min(hops + 1, 255)
                size = MESSAGE_BYTES + state.message_size[slot]
                send(state, parameters, time, identity, sender, size, MESSAGE, slot, hops, 0, 0, 0)
                state.counters[MESSAGES_SENT] += 1
                return
    state.counters[IWANT_UNSERVED] += 1


@kernel
def receive_control(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    sender: int,
    kind: int,
    topic: int,
    auxiliary: int,
) -> None:
    """Take a HELLO, LEAVE, GRAFT or PRUNE."""
    state.counters[CONTROL_RECEIVED] += 1
    is_hot = sender < parameters.hot_count
    if kind == HELLO:
        if learn_peer(state, identity, sender, topic):
            send(state, parameters, time, identity, sender, CONTROL_BYTES, HELLO, topic, 0, 0, 0, 0)
            state.counters[CONTROL_SENT] += 1
    elif kind == LEAVE:
        leave_mesh(state, topic, identity, sender)
        link = find_link(state, identity, sender, topic)
        if link >= 0:
            state.link[link, 3] = 0
    elif kind == GRAFT:
        if is_hot:
            learn_peer(state, identity, sender, topic)
        if not in_mesh(state, topic, identity, sender):
            members = state.mesh_count[topic, identity]
            if members < parameters.d_high and not in_backoff(state, identity, sender, topic, time):
                state.mesh[topic, identity, members] = sender
                state.mesh_count[topic, identity] = members + 1
            else:
                send(
                    state,
                    parameters,
                    time,
                    identity,
                    sender,
                    PRUNE_BYTES,
                    PRUNE,
                    topic,
                    0,
                    parameters.prune_backoff_ms,
                    0,
                    0,
                )
                state.counters[CONTROL_SENT] += 1
    else:
        leave_mesh(state, topic, identity, sender)
        start_backoff(state, identity, sender, topic, time + auxiliary * 1_000_000)
    note_need(state, parameters, identity)


@kernel
def rank_of(kind: int) -> int:
    """Order of the classes of events of one identity at the same time: from the network first."""
    return max(kind, IHAVE_ID)


@kernel
def precedes(state: State, left: Int64Array, right: Int64Array) -> bool:
    """Whether the record `left` comes before `right` where both have the same time and destination."""
    left_kind, right_kind = left[3] & 255, right[3] & 255
    if rank_of(left_kind) != rank_of(right_kind):
        return rank_of(left_kind) < rank_of(right_kind)
    if left_kind <= IHAVE_ID:
        if left[1] != right[1]:
            return left[1] < right[1]
        if left[2] >> 32 != right[2] >> 32:
            return left[2] < right[2]
    left_slot, right_slot = (left[3] >> 8) & WORD, (right[3] >> 8) & WORD
    return state.message_id[left_slot] < state.message_id[right_slot]


@kernel
def enqueue(state: State, count: int, time: int, ends: int, marks: int, what: int) -> None:
    """Put a record among the `count` in `state.queue` that are there, in order."""
    state.queue[count, 0] = time
    state.queue[count, 1] = ends
    state.queue[count, 2] = marks
    state.queue[count, 3] = what
    hole = count
    while hole > 0 and (
        state.queue[hole - 1, 0] > time
        or (state.queue[hole - 1, 0] == time and precedes(state, state.queue[hole], state.queue[hole - 1]))
    ):
        for column in range(4):
            carried = state.queue[hole - 1, column]
            state.queue[hole - 1, column] = state.queue[hole, column]
            state.queue[hole, column] = carried
        hole -= 1


@kernel
def room_for(state: State, parameters: Parameters, events: int) -> tuple[int, int, int]:
    """The most records, chunks and ids for hot hosts that `events` of one identity in a window can need."""
    slots = len(state.message_id)
    per_event = parameters.largest_row + parameters.topics * (128 + slots // 64) + slots + 8
    records = (events + 1) * per_event
    chunks = min(records, records // CHUNK + len(state.bucket_head))
    return records, chunks, (events + parameters.topics * parameters.d_lazy + 1) * slots


@kernel
def has_room(state: State, parameters: Parameters, events: int) -> bool:
    """Whether everything that `events` of one identity in a window can cause has room."""
    records, chunks, ids = room_for(state, parameters, events)
    return (
        state.cursor[FREE_COUNT] >= chunks
        and state.cursor[OUT_COUNT] + records <= len(state.out)
        and state.cursor[OUT_IDS_COUNT] + ids <= len(state.out_ids)
        and state.cursor[LINK_COUNT] + events <= len(state.link)
        and state.cursor[BACKOFF_COUNT] + events <= len(state.backoff)
    )


@kernel
def execute(state: State, parameters: Parameters, start: int, end: int) -> int:
    """Execute the collected events in [start, end), from ``cursor[POSITION]`` on.

    Returns 0 when all are done. Otherwise the number of events of the identity that comes next: there is no room for
    what they may cause. Call again with larger arrays.
    """
    hot_count = parameters.hot_count
    turn = start - start % parameters.heartbeat_ns
    for active in range(state.cursor[POSITION], state.cursor[ACTIVE_COUNT]):
        identity = int64(state.active[active])
        first, last = int64(state.active_start[active]), int64(state.active_start[active + 1])
        if not has_room(state, parameters, last - first):
            state.cursor[POSITION] = active
            return last - first + 1
        count = 0
        for record in range(first, last):
            enqueue(
                state,
                count,
                state.due[record, 0],
                state.due[record, 1],
                state.due[record, 2],
                state.due[record, 3],
            )
            count += 1
        state.due_place[identity] = 0

        phase = state.phase[identity]
        beat = turn + phase
        if beat < start:
            beat += parameters.heartbeat_ns
        here = (identity + hot_count) << 32
        index = 0
        asking = 0
        while True:
            time = state.queue[index, 0] if index < count else NEVER
            if beat < time and beat < end:
                if state.heartbeat_needed[state.phase_rank[identity]]:
                    heartbeat(state, parameters, beat, identity)
                beat += parameters.heartbeat_ns
                continue
            if index == count:
                break
            ends = state.queue[index, 1]
            marks = state.queue[index, 2]
            what = state.queue[index, 3]
            index += 1
            kind, slot, hops = what & 255, (what >> 8) & WORD, what >> 40
            source = ends & WORD
            if kind == MESSAGE:
                state.counters[EDGE_EVENTS] += 1
                if time >= state.message_expiry[slot]:
                    state.counters[EXPIRED] += 1
                    continue
                size = MESSAGE_BYTES + state.message_size[slot]
                received = max(time, state.downlink_free[identity]) + (
                    size * state.downlink_rate[identity] >> RATE_SHIFT
                )
                state.downlink_free[identity] = received
                state.counters[MESSAGES_RECEIVED] += 1
                word, bit = slot >> 6, _ONE << uint64(slot & 63)
                if state.seen[identity, word] & bit != _ZERO:
                    state.counters[DUPLICATES] += 1
                    continue
                state.seen[identity, word] |= bit
                state.arrival[slot, identity] = received
                state.hops[slot, identity] = min(hops, 255)
                ready = validated_at(state, parameters, identity, slot)
                following = min(hops + 1, 255) << 40 | slot << 8 | FORWARD
                state.last_reference[slot] = max(state.last_reference[slot], ready)
                if ready < end:
                    enqueue(state, count, ready, here | source, 0, following)
                    count += 1
                else:
                    push(state, parameters, ready, here | source, 0, following)
            elif kind == FORWARD:
                state.counters[FORWARDS] += 1
                remember(state, parameters, time, identity, slot)
                forward(state, parameters, time, identity, slot, source, hops)
            elif kind == IHAVE:
                state.counters[EDGE_EVENTS] += 1
                state.counters[IHAVE_RECEIVED] += 1
                receive_ihave(state, parameters, time, identity, source, slot, marks & WORD)
            elif kind == IWANT:
                state.counters[EDGE_EVENTS] += 1
                answer_iwant(state, parameters, time, identity, source, slot)
            elif kind == IHAVE_ID:
                if want(state, parameters, time, identity, slot):
                    state.wanted[asking] = slot
                    asking += 1
                last = (
                    index == count
                    or state.queue[index, 0] != time
                    or state.queue[index, 1] != ends
                    or state.queue[index, 2] >> 32 != marks >> 32
                    or state.queue[index, 3] & 255 != IHAVE_ID
                )
                if last:
                    state.counters[EDGE_EVENTS] += 1
                    state.counters[IHAVE_RECEIVED] += 1
                    if asking > 0:
                        topic = int64(state.message_topic[slot])
                        send_ids(state, parameters, time, identity, source, IWANT, topic, asking)
                        state.counters[IWANT_SENT] += asking
                        asking = 0
            elif kind == PUBLISH:
                publish(state, parameters, time, identity, slot)
            else:
                state.counters[EDGE_EVENTS] += 1
                receive_control(state, parameters, time, identity, source, kind, slot, marks & WORD)
    state.cursor[POSITION] = state.cursor[ACTIVE_COUNT]
    return 0
