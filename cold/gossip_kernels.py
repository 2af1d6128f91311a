"""Kernels of gossip: what an identity does with each event of its own.

`advance` runs over the steps of a window: `event_kernels.collect`, then `execute`. Identities do not see each other
inside a step, so that takes them one after another, each with its events in the order (time, class, source, counter,
message id). Everything here follows gossipsub v1.1 (https://github.com/libp2p/specs/tree/master/pubsub/gossipsub).
"""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

from cold.disturbance_kernels import can_reach, is_known_cut, path_latency, path_loss
from cold.draw_kernels import draw_words, is_lost
from cold.event_kernels import (
    AHEAD,
    FAR_AHEAD,
    NEAR_AHEAD,
    bucket_of_shard,
    bundle_of,
    collect,
    cross,
    is_needed,
    is_own,
    next_time,
    precedes,
    push,
    push_message,
    push_unwanted,
    put,
    schedule,
    send_out,
    set_needed,
    settle,
    shard_of,
    travel,
)
from cold.fanout_kernels import discover, drop_fanouts, has_fanout, list_fanout, mend_fanouts
from cold.jit import inlined_kernel, int64, kernel, uint64
from cold.life_kernels import is_silent, is_up
from cold.membership_kernels import (
    arrival_place,
    count_neighbours,
    first_peer,
    full_row,
    is_outbound,
    member_of_place,
    mesh_row,
    next_place,
    node_of_place,
    partial_row,
    past_row,
    peer_of_place,
    place_of_peer,
    recent,
    set_recent,
    subscribes,
)
from cold.prefetch_kernels import prefetch
from cold.purposes import ColdPurpose
from cold.receipt_kernels import client_of, has_copy, has_seen, validated_at, validation_delay
from cold.request_kernels import (
    abandon_requests,
    ask_everybody,
    execute_request,
    has_request_room,
    request_records,
)
from cold.score_kernels import (
    OPPORTUNISTIC_BEATS,
    OPPORTUNISTIC_PEERS,
    OPPORTUNISTIC_THRESHOLD,
    begin_score,
    decay,
    median_score,
    move_score,
    note_delivery,
    score,
)
from cold.state_kernels import (
    ARRIVAL_SHIFT,
    AUXILIARY_SHIFT,
    BACKOFF_COUNT,
    BEAT,
    BYTES_SENT,
    CACHE_LINE,
    CHUNK,
    CONTROL_RECEIVED,
    CONTROL_SENT,
    COPIES_SPARED,
    D_HIGH,
    D_LAZY,
    D_LOW,
    D_OUT,
    DEPART,
    DEPARTURES,
    DOWNLINK_FREE,
    DOWNLINK_RATE,
    DUE_COUNT,
    DUPLICATE,
    EDGE_EVENTS,
    FANOUT_FREE_COUNT,
    FIRST_OF_REQUESTS,
    FIRST_OF_TRANSACTIONS,
    FIRST_ROW,
    FORWARD,
    FORWARDS,
    FREE_COUNT,
    GRAFT,
    GREETING,
    HEARTBEAT_NS,
    HEARTBEATS,
    HELLO,
    HOPS_SHIFT,
    HOT_RESPONSE,
    IDONTWANT,
    IDONTWANT_SENT,
    IDONTWANT_SIZE,
    IHAVE,
    IHAVE_ID,
    IHAVE_RECEIVED,
    IHAVE_SENT,
    IWANT,
    IWANT_RECEIVED,
    IWANT_SENT,
    IWANT_UNSERVED,
    JOIN,
    JOINS,
    KIND_MASK,
    LEAVE,
    LINK_COUNT,
    MESH_COUNT,
    MESSAGE,
    MESSAGE_BYTES,
    MESSAGE_FREE_COUNT,
    MESSAGES_SENT,
    MOST_HOPS,
    NEEDED,
    NEVER,
    NEXT,
    NO_SLOT,
    NODE,
    OUT_COUNT,
    OUT_IDS_COUNT,
    PACKETS,
    PACKETS_LOST,
    PHASE,
    POOLED,
    POSITION,
    PRUNE,
    PUBLISH,
    PUBLISHED,
    RANK,
    RATE_SHIFT,
    RECENT,
    REQUEST,
    RESPONSE,
    SCORE_PRUNES,
    SEEN,
    SENDER_COLUMNS,
    SLOT_MASK,
    SLOT_SHIFT,
    SPREAD_UNTIL,
    STEP_END,
    STEP_START,
    TELL,
    TRANSACTION,
    TURN,
    UNREACHABLE,
    UPLINK_FREE,
    UPLINK_RATE,
    VALIDATION_DELAY,
    WORD,
    D,
    Parameters,
    State,
    lowest_bit,
)
from cold.transaction_kernels import (
    execute_transaction,
    forget_untold,
    greet,
    mempool_place,
    transaction_ids,
    transaction_records,
)
from cold.unwanted_kernels import has_unwanted, take_unwanted

# Plain integers: numba takes no members of an IntEnum from a global.
_FORWARD: Final = int(ColdPurpose.FORWARD)
_GOSSIP_PEERS: Final = int(ColdPurpose.GOSSIP_PEERS)
_GRAFT_PEERS: Final = int(ColdPurpose.GRAFT_PEERS)

#: Why peers are grafted: a part of the counter of their draws.
_UP_TO_D: Final = 0
_OUTBOUND: Final = 1
_OPPORTUNISTIC: Final = 2

#: Bytes on the wire: IPv4 and UDP header (28), the datagram's own header (8), and what each type adds.
CONTROL_BYTES: Final = 36
PRUNE_BYTES: Final = 40
ID_BYTES: Final = 8
#: Most ids that one IHAVE or IWANT datagram carries.
IDS_PER_DATAGRAM: Final = 128

_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)
_WORD_BITS: Final = uint64(32)


@inlined_kernel
def note_receipt(state: State, parameters: Parameters, identity: int, slot: int, time: int, hops: int) -> None:
    """Record the first copy of a message at a member that has not seen it."""
    state.identity[identity, SEEN + (slot >> 6)] |= int64(1) << (slot & 63)
    state.arrival[arrival_place(state, parameters, identity, slot)] = time << ARRIVAL_SHIFT | hops
    reached = state.reached[slot] + 1
    state.reached[slot] = reached
    topic, word, bit = state.message_topic[slot], slot >> 6, _ONE << uint64(slot & 63)
    if reached == state.members[topic]:
        state.saturated[slot] = 1
        state.open_slots[topic, word] &= ~bit
    elif reached == 1:
        state.open_slots[topic, word] |= bit


@inlined_kernel
def next_heartbeat(state: State, identity: int, time: int) -> int:
    """Number of an identity's first heartbeat at `time` or later."""
    phase = state.sender[identity, PHASE]
    if time <= phase:
        return 0
    heartbeat_ns = state.client[client_of(state, identity), HEARTBEAT_NS]
    return (time - phase + heartbeat_ns - 1) // heartbeat_ns


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
    source = identity + parameters.first_id
    free = max(state.sender[identity, UPLINK_FREE], time) + (size * state.sender[identity, UPLINK_RATE] >> RATE_SHIFT)
    state.sender[identity, UPLINK_FREE] = free
    counter = state.sender[identity, PACKETS]
    state.sender[identity, PACKETS] = counter + 1
    state.counters[BYTES_SENT] += size
    probability = path_loss(state, parameters, free, state.node[source], state.node[peer])
    if probability > 0.0 and is_lost(parameters, source, counter, probability):
        state.counters[PACKETS_LOST] += 1
        return
    arrival = free + path_latency(state, parameters, free, state.node[source], state.node[peer])
    what = hops << HOPS_SHIFT | slot << SLOT_SHIFT | kind
    if peer < parameters.hot_count:
        first_id = state.cursor[OUT_IDS_COUNT]
        send_out(state, arrival, peer << 32 | source, counter << 32 | auxiliary, what, last - first)
        for position in range(first, last):
            state.out_ids[first_id + position - first] = state.message_id[state.wanted[position]]
        state.cursor[OUT_IDS_COUNT] = first_id + last - first
    elif kind == IWANT:
        for position in range(first, last):
            wanted = int64(state.wanted[position])
            state.last_reference[wanted] = max(state.last_reference[wanted], arrival)
            travel(state, parameters, arrival, peer << 32 | source, wanted << SLOT_SHIFT | IWANT)
    elif kind == IHAVE:
        note_heard(state, 1)
        listed = list_sought(state, parameters, time, identity, slot, auxiliary)
        send_ihave(state, parameters, arrival, identity, peer, slot, auxiliary, counter, listed)
    else:
        if kind == MESSAGE:
            state.last_reference[slot] = max(state.last_reference[slot], arrival)
        travel(state, parameters, arrival, peer << 32 | source, auxiliary << AUXILIARY_SHIFT | what)


@inlined_kernel
def note_heard(state: State, count: int) -> None:
    """Count IHAVEs to cold identities that are under way: nothing keeps them from coming, and most do no more."""
    state.counters[EDGE_EVENTS] += count
    state.counters[IHAVE_RECEIVED] += count


@kernel
def send_ihave(
    state: State,
    parameters: Parameters,
    arrival: int,
    identity: int,
    peer: int,
    topic: int,
    number: int,
    counter: int,
    listed: int,
) -> None:
    """Let an IHAVE, the packet `counter` of its source, come to a cold peer.

    The first `listed` slots in `state.wanted` are what `list_sought` has found of what it lists, at the identity's
    heartbeat `number`. Another shard cannot look up what the sender has: it gets a record for each of them.
    """
    if listed == 0:
        return
    ends = peer << 32 | (identity + parameters.first_id)
    if is_own(parameters, peer):
        push(state, parameters, arrival, ends, (number & WORD) << AUXILIARY_SHIFT | topic << SLOT_SHIFT | IHAVE)
        return
    bucket = bucket_of_shard(parameters, shard_of(state, peer))
    for position in range(listed):
        slot = int64(state.wanted[position])
        state.last_reference[slot] = max(state.last_reference[slot], arrival)
        put(state, bucket, arrival, ends, (counter & WORD) << AUXILIARY_SHIFT | slot << SLOT_SHIFT | IHAVE_ID)


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
def in_mesh(state: State, parameters: Parameters, row: int, place: int) -> bool:
    """Whether the peer at a place is in the mesh of the membership `row`."""
    found = False
    first = parameters.first_member
    for position in range(first, first + state.mesh[row, MESH_COUNT]):
        if state.mesh[row, position] == place:
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
def count_cold_peers(state: State, parameters: Parameters, identity: int, topic: int, row: int) -> int:
    """Number of cold peers that subscribe to the topic of the membership `row`."""
    if state.topic_place[topic] < parameters.full_topics:
        return count_neighbours(state, identity)
    number = partial_row(parameters, identity, row)
    return int64(state.known_start[number + 1]) - int64(state.known_start[number])


@kernel
def count_peers(state: State, parameters: Parameters, identity: int, topic: int, row: int) -> int:
    """Number of known peers on the topic of the membership `row`."""
    count = count_cold_peers(state, parameters, identity, topic, row)
    if parameters.hot_count == 0:
        return count
    link = state.link_head[identity]
    while link >= 0:
        if state.link[link, 1] == topic and state.link[link, 3] == 1:
            count += 1
        link = state.link[link, 2]
    return count


@kernel
def place_at(state: State, parameters: Parameters, identity: int, topic: int, row: int, index: int) -> int:
    """The place of the index-th known peer on the topic of the membership `row`: the cold ones, then the hot ones.

    The hot ones come newest first.
    """
    cold = count_cold_peers(state, parameters, identity, topic, row)
    if index < cold:
        if state.topic_place[topic] < parameters.full_topics:
            return index
        return int64(state.known[state.known_start[partial_row(parameters, identity, row)] + index])
    index -= cold
    link = state.link_head[identity]
    while True:
        if state.link[link, 1] == topic and state.link[link, 3] == 1:
            if index == 0:
                return count_neighbours(state, identity) + int64(state.link[link, 0])
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
def leave_mesh(state: State, parameters: Parameters, identity: int, row: int, place: int) -> None:
    """Take the peer at a place out of the mesh of the membership `row`, if it is there; the others keep their order."""
    first = parameters.first_member
    kept = first
    for position in range(first, first + state.mesh[row, MESH_COUNT]):
        if state.mesh[row, position] != place:
            move_member(state, parameters, identity, row, position - first, kept - first)
            kept += 1
    state.mesh[row, MESH_COUNT] = kept - first


@kernel
def move_member(state: State, parameters: Parameters, identity: int, row: int, position: int, new: int) -> None:
    """Move what there is about a member at a position in the mesh of the membership `row` to another position."""
    state.mesh[row, parameters.first_member + new] = state.mesh[row, parameters.first_member + position]
    full = full_row(state, parameters, identity, row)
    if full >= 0:
        state.mesh_peer[full, new] = state.mesh_peer[full, position]
    if parameters.scoring:
        move_score(state, row, position, new)


@kernel
def join_mesh(state: State, parameters: Parameters, time: int, identity: int, row: int, place: int) -> None:
    """Put the peer at a place into the mesh of the membership `row`, where there is room."""
    members = int64(state.mesh[row, MESH_COUNT])
    if parameters.scoring:
        begin_score(state, row, members, time)
    state.mesh[row, parameters.first_member + members] = place
    full = full_row(state, parameters, identity, row)
    if full >= 0:
        state.mesh_peer[full, members] = member_of_place(state, parameters, identity, place)
    state.mesh[row, MESH_COUNT] = members + 1


@kernel
def note_need(state: State, parameters: Parameters, time: int, identity: int) -> None:
    """Work out whether the identity's next heartbeat has something to do."""
    needed = False
    here = is_up(state, parameters, identity + parameters.first_id, time)
    row = state.identity[identity, FIRST_ROW]
    place = next_place(state, parameters, identity, 0)
    while place >= 0 and not needed:
        needed = needs_beat(state, parameters, identity, int64(state.topic_of_place[place]), row, here)
        row += 1
        place = next_place(state, parameters, identity, place + 1)
    note_other_need(state, parameters, time, identity, needed)


@inlined_kernel
def has_cached(state: State, parameters: Parameters, row: int) -> bool:
    """Whether messages were cached in one of the last intervals between heartbeats, on the membership `row`."""
    cached = int64(0)
    for column in range(RECENT, parameters.first_member):
        cached |= int64(state.mesh[row, column])
    return cached != 0


@inlined_kernel
def needs_beat(state: State, parameters: Parameters, identity: int, topic: int, row: int, here: bool) -> bool:
    """Whether the membership `row` gives the next heartbeat something to do; `here` is whether the identity is up."""
    if has_cached(state, parameters, row):
        return True
    if not here:
        return False
    members = int64(state.mesh[row, MESH_COUNT])
    if parameters.scoring and members > 0:
        return True
    if members < state.client[client_of(state, identity), D_LOW] and (
        count_peers(state, parameters, identity, topic, row) > members
    ):
        return True
    return parameters.outbound != 0 and lacking_outbound(state, parameters, identity, topic, row) > 0


@kernel
def note_other_need(state: State, parameters: Parameters, time: int, identity: int, needed: bool) -> None:
    """Note whether the next heartbeat has something to do, where one of its memberships has given it, or not."""
    if (parameters.churn or parameters.disturbances > 0) and has_fanout(state, identity):
        needed = True
    if not needed and parameters.disturbances > 0:
        needed = has_cut_off(state, parameters, time, identity)
    set_needed(state, identity, needed)


@kernel
def has_cut_off(state: State, parameters: Parameters, time: int, identity: int) -> bool:
    """Whether a mesh of an identity has a member from which it has been cut off for long enough to know."""
    first = parameters.first_member
    node = state.node[identity + parameters.first_id]
    found = False
    for row in range(state.identity[identity, FIRST_ROW], past_row(state, parameters, identity)):
        for position in range(first, first + state.mesh[row, MESH_COUNT]):
            other = node_of_place(state, parameters, identity, int64(state.mesh[row, position]))
            if is_known_cut(state, parameters, time, node, other):
                found = True
    return found


@kernel
def note_cuts(state: State, parameters: Parameters, time: int) -> None:
    """Have every identity beat that has to forget a peer from which it is cut off."""
    for identity in range(len(state.identity)):
        if has_cut_off(state, parameters, time, identity):
            set_needed(state, identity, True)


@kernel
def forget_cut_off(state: State, parameters: Parameters, time: int, identity: int, row: int) -> bool:
    """Take those out of a mesh from which the identity has been cut off for long enough; whether there were any."""
    first = parameters.first_member
    node = state.node[identity + parameters.first_id]
    kept = first
    last = first + int64(state.mesh[row, MESH_COUNT])
    for position in range(first, last):
        place = state.mesh[row, position]
        other = node_of_place(state, parameters, identity, int64(place))
        if not is_known_cut(state, parameters, time, node, other):
            move_member(state, parameters, identity, row, position - first, kept - first)
            kept += 1
    state.mesh[row, MESH_COUNT] = kept - first
    return kept < last


@kernel
def note_needs(state: State, parameters: Parameters) -> None:
    """Work out for every identity whether its next heartbeat has something to do."""
    for identity in range(len(state.identity)):
        note_need(state, parameters, 0, identity)


@inlined_kernel
def forward(
    state: State, parameters: Parameters, time: int, identity: int, slot: int, came_from: int, hops: int
) -> None:
    """Push a message to the mesh, but not to where it came from, nor its origin, nor those that do not want it."""
    unwanted = _ZERO
    if has_unwanted(state, identity):
        unwanted = take_unwanted(state, parameters, time, identity, slot)
    size = MESSAGE_BYTES + state.message_size[slot]
    what = hops << HOPS_SHIFT | slot << SLOT_SHIFT | MESSAGE
    state.counters[MESSAGES_SENT] += send_to_mesh(
        state, parameters, time, identity, slot, came_from, unwanted, size, what
    )


@kernel
def tell(state: State, parameters: Parameters, time: int, identity: int, slot: int, came_from: int) -> None:
    """Tell the mesh that it need not send a message, but for where it came from, and its origin."""
    what = slot << SLOT_SHIFT | IDONTWANT
    state.counters[IDONTWANT_SENT] += send_to_mesh(
        state, parameters, time, identity, slot, came_from, _ZERO, CONTROL_BYTES + ID_BYTES, what
    )


@kernel
def tells(state: State, identity: int, slot: int) -> bool:
    """Whether the identity tells its mesh of a message of this size that it need not be sent."""
    return state.message_size[slot] >= state.client[client_of(state, identity), IDONTWANT_SIZE]


@kernel
def send_to_mesh(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    slot: int,
    came_from: int,
    unwanted: int,
    size: int,
    what: int,
) -> int:
    """Send a MESSAGE or IDONTWANT of `size` bytes about a message to the mesh; returns the number of packets.

    It does not go to where the message came from, nor to its origin, nor to the places in the mesh that have bits in
    `unwanted`. The loop of `send`, with all that does not depend on the peer taken out of it.
    """
    source = identity + parameters.first_id
    topic = int64(state.message_topic[slot])
    row = mesh_row(state, parameters, identity, topic)
    members = int64(state.mesh[row, MESH_COUNT])
    origin = state.message_origin[slot]
    full = full_row(state, parameters, identity, row)
    duration = size * state.sender[identity, UPLINK_RATE] >> RATE_SHIFT
    free = max(state.sender[identity, UPLINK_FREE], time)
    counter = state.sender[identity, PACKETS]
    node = state.sender[identity, NODE]
    latest = state.last_reference[slot]
    words = draw_words(parameters, source, _FORWARD, state.message_id[slot])
    position = int64(words[0]) * members >> 32
    is_message = what & KIND_MASK == MESSAGE
    hops = (what >> HOPS_SHIFT) & MOST_HOPS
    bundle = bundle_of(parameters, source, slot, hops, what & KIND_MASK)
    sent = 0
    for _ in range(members):
        if full >= 0:
            member = int64(state.mesh_peer[full, position])
        else:
            place = int64(state.mesh[row, parameters.first_member + position])
            member = member_of_place(state, parameters, identity, place)
        peer = member & parameters.host_mask
        bit = unwanted >> uint64(position) & _ONE
        position += 1
        if position == members:
            position = int64(0)
        if peer in (came_from, origin):
            continue
        if bit != _ZERO:
            state.counters[COPIES_SPARED] += 1
            continue
        free += duration
        other = member >> parameters.host_bits if parameters.host_bits < 32 else int64(state.node[peer])
        probability = path_loss(state, parameters, free, node, other)
        if probability > 0.0 and is_lost(parameters, source, counter + sent, probability):
            state.counters[PACKETS_LOST] += 1
        else:
            arrival = free + path_latency(state, parameters, free, node, other)
            if peer < parameters.hot_count:
                if is_message:
                    send_out(state, arrival, peer << 32 | source, (counter + sent) << 32, what, 0)
                else:
                    send_out(
                        state, arrival, peer << 32 | source, (counter + sent) << 32, topic << SLOT_SHIFT | IDONTWANT, 1
                    )
                    state.out_ids[state.cursor[OUT_IDS_COUNT]] = state.message_id[slot]
                    state.cursor[OUT_IDS_COUNT] += 1
            else:
                latest = max(latest, arrival)
                receiver = peer - parameters.first_id
                if uint64(receiver) >= uint64(parameters.rows):
                    cross(state, parameters, arrival, peer, bundle)
                elif is_message:
                    push_message(state, parameters, arrival, receiver, source, slot, hops)
                else:
                    push_unwanted(state, parameters, arrival, receiver, source, slot)
        sent += 1
    state.last_reference[slot] = latest
    state.sender[identity, UPLINK_FREE] = free
    state.sender[identity, PACKETS] = counter + sent
    state.counters[BYTES_SENT] += sent * size
    return sent


@inlined_kernel
def pass_on(
    state: State, parameters: Parameters, time: int, identity: int, slot: int, came_from: int, hops: int
) -> None:
    """Remember a message of others, which has been found valid, and push it, unless the identity tells of none."""
    state.counters[FORWARDS] += 1
    remember(state, parameters, time, identity, slot)
    if is_silent(state, parameters, identity + parameters.first_id, time):
        take_unwanted(state, parameters, time, identity, slot)
    else:
        forward(state, parameters, time, identity, slot, came_from, hops)


@inlined_kernel
def remember(state: State, parameters: Parameters, time: int, identity: int, slot: int) -> None:
    """Put a message into the message cache: the next heartbeats gossip about it.

    Of its per-identity state, hot hosts can see something for as long as it is cached; cold ones ask only for what
    they have not seen, and every event that can make them is in the calendar already.
    """
    interval = next_heartbeat(state, identity, time) % parameters.mcache_gossip
    row = mesh_row(state, parameters, identity, state.message_topic[slot])
    set_recent(state, row, interval, recent(state, row, interval) + 1)
    set_needed(state, identity, True)
    if parameters.hot_count > 0:
        heartbeat_ns = state.client[client_of(state, identity), HEARTBEAT_NS]
        kept_until = time + (parameters.mcache_length + 1) * heartbeat_ns
        state.last_reference[slot] = max(state.last_reference[slot], kept_until)


@kernel
def publish(state: State, parameters: Parameters, time: int, identity: int, slot: int) -> None:
    """Send a message of one's own: to all known peers (flood publish), or to the mesh.

    Who does not subscribe has no mesh: without flooding it sends to its fanout.
    """
    topic = int64(state.message_topic[slot])
    state.counters[PUBLISHED] += 1
    row = mesh_row(state, parameters, identity, topic)
    if row >= 0:
        note_receipt(state, parameters, identity, slot, time, 0)
        remember(state, parameters, time, identity, slot)
        if not parameters.flood_publish:
            forward(state, parameters, time, identity, slot, -1, 0)
            return
    if not is_up(state, parameters, identity + parameters.first_id, time):
        return
    if parameters.flood_publish:
        count = list_peers(state, parameters, time, identity, topic, row)
    else:
        number = next_heartbeat(state, identity, time)
        last = next_heartbeat(state, identity, time + parameters.fanout_ttl_ns + 1)
        count = list_fanout(state, parameters, time, identity, topic, number, last)
        if parameters.churn or parameters.disturbances > 0:
            set_needed(state, identity, True)
    words = draw_words(parameters, identity + parameters.first_id, _FORWARD, state.message_id[slot])
    first = int64(words[0]) * count >> 32
    size = MESSAGE_BYTES + state.message_size[slot]
    for turn in range(count):
        peer = int64(state.scratch[(first + turn) % count])
        if can_reach(state, parameters, time, identity, peer):
            send(state, parameters, time, identity, peer, size, MESSAGE, slot, 0, 0, 0, 0)
            state.counters[MESSAGES_SENT] += 1


@kernel
def list_peers(state: State, parameters: Parameters, time: int, identity: int, topic: int, row: int) -> int:
    """List the HostIds of the known peers on a topic in `state.scratch`; returns how many they are.

    `row` is that of the membership, or -1: then they are the cold peers that subscribe, and where these are fewer than
    D, other subscribers that the identity discovers.
    """
    count = 0
    if row >= 0:
        count = count_peers(state, parameters, identity, topic, row)
        for index in range(count):
            place = place_at(state, parameters, identity, topic, row, index)
            state.scratch[index] = peer_of_place(state, parameters, identity, place)
        return count
    first = first_peer(state, identity)
    for place in range(count_neighbours(state, identity)):
        peer = int64(state.neighbours[first + place]) & parameters.host_mask
        if subscribes(state, parameters, peer, topic):
            state.scratch[count] = peer
            count += 1
    wanted = state.client[client_of(state, identity), D]
    return discover(state, parameters, time, identity, topic, count, wanted)


@kernel
def graft_peers(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    topic: int,
    row: int,
    heartbeat: int,
    reason: int,
    wanted: int,
) -> None:
    """Put up to `wanted` random peers that no backoff forbids into the mesh of the membership `row`."""
    candidates = 0
    for index in range(count_peers(state, parameters, identity, topic, row)):
        place = place_at(state, parameters, identity, topic, row, index)
        peer = peer_of_place(state, parameters, identity, place)
        if (
            (reason != _OUTBOUND or has_dialled(state, identity, place))
            and can_reach(state, parameters, time, identity, peer)
            and not in_mesh(state, parameters, row, place)
            and not in_backoff(state, identity, peer, topic, time)
        ):
            state.scratch[candidates] = place
            candidates += 1
    for turn in range(min(wanted, candidates)):
        counter = heartbeat << 32 | topic << 16 | reason << 12 | turn
        words = draw_words(parameters, identity + parameters.first_id, _GRAFT_PEERS, counter)
        pick = turn + (int64(words[0]) * (candidates - turn) >> 32)
        place = int64(state.scratch[pick])
        state.scratch[pick] = state.scratch[turn]
        join_mesh(state, parameters, time, identity, row, place)
        peer = peer_of_place(state, parameters, identity, place)
        send(state, parameters, time, identity, peer, CONTROL_BYTES, GRAFT, topic, 0, 0, 0, 0)
        state.counters[CONTROL_SENT] += 1


@kernel
def choose_gossip_peers_in_reach(
    state: State, parameters: Parameters, time: int, identity: int, topic: int, row: int, heartbeat: int
) -> int:
    """As `choose_gossip_peers`, of those peers that can be reached."""
    candidates = 0
    for index in range(count_peers(state, parameters, identity, topic, row)):
        place = place_at(state, parameters, identity, topic, row, index)
        peer = peer_of_place(state, parameters, identity, place)
        if can_reach(state, parameters, time, identity, peer) and not in_mesh(state, parameters, row, place):
            state.scratch[candidates] = place
            candidates += 1
    chosen = min(state.client[client_of(state, identity), D_LAZY], candidates)
    if chosen == candidates:
        return chosen
    for turn in range(chosen):
        words = draw_words(
            parameters, identity + parameters.first_id, _GOSSIP_PEERS, heartbeat << 32 | topic << 16 | turn
        )
        pick = turn + (int64(words[0]) * (candidates - turn) >> 32)
        place = int64(state.scratch[pick])
        state.scratch[pick] = state.scratch[turn]
        state.scratch[turn] = place
    return chosen


@kernel
def choose_gossip_peers(
    state: State, parameters: Parameters, identity: int, topic: int, row: int, heartbeat: int
) -> int:
    """Choose up to D_lazy random known peers outside the mesh, by their places, into `state.scratch`; how many."""
    lazy = state.client[client_of(state, identity), D_LAZY]
    known = count_peers(state, parameters, identity, topic, row)
    first, past = parameters.first_member, parameters.first_member + int64(state.mesh[row, MESH_COUNT])
    for position in range(first, past):
        state.marks[state.mesh[row, position]] = 1
    if known - (past - first) <= lazy:
        chosen = list_unmarked(state, parameters, identity, topic, row, known)
    else:
        chosen = draw_unmarked(state, parameters, identity, topic, row, heartbeat, known, lazy)
    for position in range(first, past):
        state.marks[state.mesh[row, position]] = 0
    return chosen


@kernel
def list_unmarked(state: State, parameters: Parameters, identity: int, topic: int, row: int, known: int) -> int:
    """List the places of known peers that have no marks in `state.scratch`; returns how many they are.

    Without branches, whose outcome would be as good as random.
    """
    chosen = 0
    cold = count_cold_peers(state, parameters, identity, topic, row)
    if state.topic_place[topic] < parameters.full_topics:
        for place in range(cold):
            state.scratch[chosen] = place
            chosen += 1 - int64(state.marks[place])
    else:
        start = int64(state.known_start[partial_row(parameters, identity, row)])
        for index in range(start, start + cold):
            place = int64(state.known[index])
            state.scratch[chosen] = place
            chosen += 1 - int64(state.marks[place])
    for index in range(cold, known):
        place = place_at(state, parameters, identity, topic, row, index)
        state.scratch[chosen] = place
        chosen += 1 - int64(state.marks[place])
    return chosen


@kernel
def draw_unmarked(
    state: State, parameters: Parameters, identity: int, topic: int, row: int, heartbeat: int, known: int, wanted: int
) -> int:
    """Draw as many places as are `wanted` of known peers without marks into `state.scratch`; there are more of them."""
    chosen = int64(0)
    block = 0
    is_full = state.topic_place[topic] < parameters.full_topics
    cold = count_cold_peers(state, parameters, identity, topic, row)
    while chosen < wanted:
        words = draw_words(
            parameters, identity + parameters.first_id, _GOSSIP_PEERS, heartbeat << 32 | topic << 16 | block
        )
        block += 1
        for word in words:
            place = int64(word) * known >> 32
            if not is_full or place >= cold:
                place = place_at(state, parameters, identity, topic, row, place)
            if chosen < wanted and state.marks[place] == 0:
                state.marks[place] = 1
                state.scratch[chosen] = place
                chosen += 1
    for position in range(chosen):
        state.marks[state.scratch[position]] = 0
    return chosen


@kernel
def heartbeat(state: State, parameters: Parameters, time: int, identity: int) -> None:
    """Mend the meshes, and tell some peers outside them what messages there were.

    A mesh cannot be above D_high: a GRAFT finds room below it or is answered by PRUNE.
    """
    busy = needed = False
    here = is_up(state, parameters, identity + parameters.first_id, time)
    number = next_heartbeat(state, identity, time)
    interval = (number + 1) % parameters.mcache_gossip
    # A mesh that is large enough asks for nothing, but for these.
    is_stable = parameters.scoring == 0 and parameters.outbound == 0 and parameters.disturbances == 0
    enough = state.client[client_of(state, identity), D_LOW]
    row = state.identity[identity, FIRST_ROW]
    place = next_place(state, parameters, identity, 0)
    while place >= 0:
        mends = not is_stable or state.mesh[row, MESH_COUNT] < enough
        if mends or has_cached(state, parameters, row):
            topic = int64(state.topic_of_place[place])
            if mends and mend_mesh(state, parameters, time, identity, topic, row, number):
                busy = True
            if tell_recent(state, parameters, time, identity, topic, row, number, interval):
                busy = True
            needed = needed or needs_beat(state, parameters, identity, topic, row, here)
        row += 1
        place = next_place(state, parameters, identity, place + 1)
    if has_fanout(state, identity) and mend_fanouts(state, parameters, time, identity, number):
        busy = True
    if busy:
        state.counters[HEARTBEATS] += 1
    note_other_need(state, parameters, time, identity, needed)


@kernel
def mend_mesh(
    state: State, parameters: Parameters, time: int, identity: int, topic: int, row: int, number: int
) -> bool:
    """Mend the mesh of the membership `row` at the identity's heartbeat `number`; whether there was something to do."""
    busy = parameters.disturbances > 0 and forget_cut_off(state, parameters, time, identity, row)
    if not is_up(state, parameters, identity + parameters.first_id, time):
        return busy
    if parameters.scoring and state.mesh[row, MESH_COUNT] > 0:
        busy = True
        decay(state, row)
        prune_low_scores(state, parameters, time, identity, topic, row)
    client = client_of(state, identity)
    members = int64(state.mesh[row, MESH_COUNT])
    if members < state.client[client, D_LOW]:
        if count_peers(state, parameters, identity, topic, row) > members:
            busy = True
        wanted = state.client[client, D] - members
        graft_peers(state, parameters, time, identity, topic, row, number, _UP_TO_D, wanted)
    if parameters.outbound:
        lacking = lacking_outbound(state, parameters, identity, topic, row)
        if lacking > 0:
            busy = True
            graft_peers(state, parameters, time, identity, topic, row, number, _OUTBOUND, lacking)
    members = int64(state.mesh[row, MESH_COUNT])
    rules = state.score_rules
    if (
        parameters.scoring
        and number % rules[OPPORTUNISTIC_BEATS] == 0
        and members > 1
        and median_score(state, row, time) < rules[OPPORTUNISTIC_THRESHOLD]
    ):
        wanted = min(rules[OPPORTUNISTIC_PEERS], state.client[client, D_HIGH] - members)
        graft_peers(state, parameters, time, identity, topic, row, number, _OPPORTUNISTIC, wanted)
    return busy


@kernel
def has_dialled(state: State, identity: int, place: int) -> bool:
    """Whether the connection to the peer at a place is an outbound one; those to hot hosts never are."""
    return place < count_neighbours(state, identity) and is_outbound(state.dialled, first_peer(state, identity) + place)


@kernel
def lacking_outbound(state: State, parameters: Parameters, identity: int, topic: int, row: int) -> int:
    """How many members with outbound connections a mesh lacks, of those that are known and that it has room for."""
    client = client_of(state, identity)
    members = int64(state.mesh[row, MESH_COUNT])
    quota, room = state.client[client, D_OUT], state.client[client, D_HIGH] - members
    if min(quota, room) <= 0:
        return 0
    inside = known = int64(0)
    for position in range(parameters.first_member, parameters.first_member + members):
        inside += has_dialled(state, identity, int64(state.mesh[row, position]))
    for index in range(count_cold_peers(state, parameters, identity, topic, row)):
        known += has_dialled(state, identity, place_at(state, parameters, identity, topic, row, index))
    return min(min(quota, known) - inside, room)


@kernel
def prune_low_scores(state: State, parameters: Parameters, time: int, identity: int, topic: int, row: int) -> None:
    """Put members of a negative score out of the mesh."""
    position = int64(0)
    while position < state.mesh[row, MESH_COUNT]:
        if score(state, row, position, time) >= 0:
            position += 1
            continue
        place = int64(state.mesh[row, parameters.first_member + position])
        peer = peer_of_place(state, parameters, identity, place)
        leave_mesh(state, parameters, identity, row, place)
        start_backoff(state, identity, peer, topic, time + parameters.prune_backoff_ms * 1_000_000)
        send_prune(state, parameters, time, identity, peer, topic)
        state.counters[SCORE_PRUNES] += 1


@kernel
def send_prune(state: State, parameters: Parameters, time: int, identity: int, peer: int, topic: int) -> None:
    """Tell a peer that it is not in the mesh."""
    backoff_ms = parameters.prune_backoff_ms
    send(state, parameters, time, identity, peer, PRUNE_BYTES, PRUNE, topic, 0, backoff_ms, 0, 0)
    state.counters[CONTROL_SENT] += 1


@kernel
def tell_recent(
    state: State, parameters: Parameters, time: int, identity: int, topic: int, row: int, number: int, following: int
) -> bool:
    """Tell peers outside the mesh of the membership `row` what was cached lately; whether there was something.

    What was cached in the oldest interval is forgotten, for the interval `following` has its place.
    """
    ids = int64(0)
    for interval in range(parameters.mcache_gossip):
        ids += recent(state, row, interval)
    set_recent(state, row, following, 0)
    host = identity + parameters.first_id
    if ids == 0 or not is_up(state, parameters, host, time) or is_silent(state, parameters, host, time):
        return ids != 0
    size = CONTROL_BYTES * ((ids + IDS_PER_DATAGRAM - 1) // IDS_PER_DATAGRAM) + ID_BYTES * ids
    sought = list_sought(state, parameters, time, identity, topic, number)
    is_steady = parameters.churn == 0 and parameters.disturbances == 0
    known = count_peers(state, parameters, identity, topic, row)
    is_cold = parameters.hot_count == 0 or known == count_cold_peers(state, parameters, identity, topic, row)
    if sought == 0 and is_steady and is_cold and parameters.lossy == 0:
        # Whoever is told does nothing: it does not matter who.
        outside = known - int64(state.mesh[row, MESH_COUNT])
        tell_in_vain(state, time, identity, size, min(state.client[client_of(state, identity), D_LAZY], outside))
        return True
    if is_steady:
        chosen = choose_gossip_peers(state, parameters, identity, topic, row, number)
    else:
        chosen = choose_gossip_peers_in_reach(state, parameters, time, identity, topic, row, number)
    cold = int64(chosen)
    if not is_cold:
        cold = int64(0)
        while cold < chosen and int64(state.scratch[cold]) < count_neighbours(state, identity):
            cold += 1
    tell_cold_peers(state, parameters, time, identity, topic, number, size, cold, sought)
    for position in range(cold, chosen):
        peer = peer_of_place(state, parameters, identity, int64(state.scratch[position]))
        if peer < parameters.hot_count:
            listed = list_recent(state, parameters, time, identity, topic, number)
            send_ids(state, parameters, time, identity, peer, IHAVE, topic, listed)
        else:
            send(state, parameters, time, identity, peer, size, IHAVE, topic, 0, number & WORD, 0, 0)
    state.counters[IHAVE_SENT] += chosen
    return True


@inlined_kernel
def tell_in_vain(state: State, time: int, identity: int, size: int, count: int) -> None:
    """Send IHAVEs of `size` bytes that are not lost, and make nobody ask for anything."""
    if count > 0:
        duration = size * state.sender[identity, UPLINK_RATE] >> RATE_SHIFT
        state.sender[identity, UPLINK_FREE] = max(state.sender[identity, UPLINK_FREE], time) + count * duration
        state.sender[identity, PACKETS] += count
        state.counters[BYTES_SENT] += count * size
        state.counters[IHAVE_SENT] += count
        note_heard(state, count)


@kernel
def tell_cold_peers(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    topic: int,
    number: int,
    size: int,
    count: int,
    sought: int,
) -> None:
    """Send an IHAVE of `size` bytes to the first `count` places in `state.scratch`, all of them cold peers'.

    The loop of `send`, with all that does not depend on the peer taken out of it. The first `sought` slots in
    `state.wanted` are as for `send_ihave`.
    """
    source = identity + parameters.first_id
    first = first_peer(state, identity)
    duration = size * state.sender[identity, UPLINK_RATE] >> RATE_SHIFT
    free = max(state.sender[identity, UPLINK_FREE], time)
    counter = state.sender[identity, PACKETS]
    node = state.sender[identity, NODE]
    heard = int64(0)
    for position in range(count):
        member = int64(state.neighbours[first + int64(state.scratch[position])])
        peer = member & parameters.host_mask
        other = member >> parameters.host_bits if parameters.host_bits < 32 else int64(state.node[peer])
        free += duration
        probability = path_loss(state, parameters, free, node, other)
        if probability > 0.0 and is_lost(parameters, source, counter + position, probability):
            state.counters[PACKETS_LOST] += 1
            continue
        heard += 1
        arrival = free + path_latency(state, parameters, free, node, other)
        send_ihave(state, parameters, arrival, identity, peer, topic, number, counter + position, sought)
    if count > 0:
        state.sender[identity, UPLINK_FREE] = free
        state.sender[identity, PACKETS] = counter + count
        state.counters[BYTES_SENT] += count * size
        note_heard(state, heard)


@kernel
def list_sought(state: State, parameters: Parameters, time: int, identity: int, topic: int, number: int) -> int:
    """List what an IHAVE at the heartbeat `number` tells of that anybody may lack in `state.wanted`; how many they are.

    Who lacks what is as of the beginning of the window, when all shards know it: so what becomes an event does not
    depend on how identities are divided among shards.
    """
    count = 0
    for word in range(state.lacking.shape[1]):
        left = state.lacking[topic, word] & uint64(state.identity[identity, SEEN + word])
        while left != _ZERO:
            slot = word * 64 + lowest_bit(left)
            left &= left - _ONE
            if time < state.message_expiry[slot] and is_recent(state, parameters, time, identity, slot, number):
                state.wanted[count] = slot
                count += 1
    return count


@kernel
def note_spread(state: State, parameters: Parameters) -> None:
    """Note, as a window begins, which messages have come to all identities of all shards."""
    for topic in range(state.lacking.shape[0]):
        for word in range(state.lacking.shape[1]):
            left = state.lacking[topic, word]
            while left != _ZERO:
                slot = word * 64 + lowest_bit(left)
                bit = left & (~left + _ONE)
                left ^= bit
                is_everywhere = state.saturated[slot] != 0
                for shard in range(state.complete.shape[1]):
                    if shard != parameters.shard and state.complete[slot, shard] == 0:
                        is_everywhere = False
                if is_everywhere:
                    state.lacking[topic, word] &= ~bit


@kernel
def list_recent(state: State, parameters: Parameters, time: int, identity: int, topic: int, number: int) -> int:
    """List in `state.wanted` what the identity has cached in the last intervals before its heartbeat `number`."""
    count = 0
    for word in range(state.topic_slots.shape[1]):
        left = state.topic_slots[topic, word] & uint64(state.identity[identity, SEEN + word])
        while left != _ZERO:
            slot = word * 64 + lowest_bit(left)
            left &= left - _ONE
            if is_recent(state, parameters, time, identity, slot, number):
                state.wanted[count] = slot
                count += 1
    return count


@kernel
def is_recent(state: State, parameters: Parameters, time: int, identity: int, slot: int, number: int) -> bool:
    """Whether the identity, which has the message, put it into its cache in the last intervals before `number`.

    `number` is that of its heartbeat at `time`.
    """
    cached_at = validated_at(state, parameters, identity, slot)
    cached = next_heartbeat(state, identity, cached_at)
    return cached_at <= time and number - cached < parameters.mcache_gossip


@kernel
def want(state: State, time: int, identity: int, slot: int) -> bool:
    """Whether to ask for a message: not seen, not too old, not asked for in this heartbeat interval. Marks it asked."""
    if has_seen(state, identity, slot) or time >= state.message_expiry[slot]:
        return False
    interval = next_heartbeat(state, identity, time)
    if state.asked_heartbeat[identity] != interval:
        state.asked_heartbeat[identity] = interval
        for word in range(state.asked.shape[1]):
            state.asked[identity, word] = _ZERO
    bit = _ONE << uint64(slot & 63)
    if state.asked[identity, slot >> 6] & bit != _ZERO:
        return False
    state.asked[identity, slot >> 6] |= bit
    return True


@kernel
def receive_ihave(
    state: State, parameters: Parameters, time: int, identity: int, sender: int, topic: int, number: int
) -> None:
    """Take a cold peer's IHAVE: what it had cached at its heartbeat `number`, and this identity has not seen."""
    other = sender - parameters.first_id
    sent_at = state.sender[other, PHASE] + number * state.client[client_of(state, other), HEARTBEAT_NS]
    count = 0
    for word in range(state.open_slots.shape[1]):
        left = state.open_slots[topic, word] & ~uint64(state.identity[identity, SEEN + word])
        if left != _ZERO:
            left &= uint64(state.identity[other, SEEN + word])
        while left != _ZERO:
            slot = word * 64 + lowest_bit(left)
            left &= left - _ONE
            cached_at = validated_at(state, parameters, other, slot)
            if cached_at > sent_at:
                continue
            cached = next_heartbeat(state, other, cached_at)
            if number - cached < parameters.mcache_gossip and want(state, time, identity, slot):
                state.wanted[count] = slot
                count += 1
    if count > 0:
        send_ids(state, parameters, time, identity, sender, IWANT, topic, count)
        state.counters[IWANT_SENT] += count


@kernel
def answer_iwant(state: State, parameters: Parameters, time: int, identity: int, sender: int, slot: int) -> None:
    """Send the message, if it is still in the message cache."""
    state.counters[IWANT_RECEIVED] += 1
    if (
        slot != NO_SLOT
        and has_copy(state, identity, slot)
        and time < state.message_expiry[slot]
        and not is_silent(state, parameters, identity + parameters.first_id, time)
    ):
        cached_at = validated_at(state, parameters, identity, slot)
        if cached_at < time:
            age = next_heartbeat(state, identity, time) - next_heartbeat(state, identity, cached_at)
            if age < parameters.mcache_length:
                hops = state.arrival[arrival_place(state, parameters, identity, slot)] & MOST_HOPS
                if state.message_origin[slot] != identity + parameters.first_id:
                    hops = min(hops + 1, MOST_HOPS)
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
    """Take a HELLO, LEAVE, GRAFT or PRUNE on a topic that the identity subscribes to."""
    state.counters[CONTROL_RECEIVED] += 1
    is_hot = sender < parameters.hot_count
    row = mesh_row(state, parameters, identity, topic)
    place = place_of_peer(state, parameters, identity, sender)
    if kind == HELLO:
        if learn_peer(state, identity, sender, topic):
            send(state, parameters, time, identity, sender, CONTROL_BYTES, HELLO, topic, 0, 0, 0, 0)
            state.counters[CONTROL_SENT] += 1
    elif kind == LEAVE:
        leave_mesh(state, parameters, identity, row, place)
        link = find_link(state, identity, sender, topic)
        if link >= 0:
            state.link[link, 3] = 0
    elif kind == GRAFT:
        if is_hot:
            learn_peer(state, identity, sender, topic)
        if not in_mesh(state, parameters, row, place):
            members = int64(state.mesh[row, MESH_COUNT])
            most = state.client[client_of(state, identity), D_HIGH]
            if members < most and not in_backoff(state, identity, sender, topic, time):
                join_mesh(state, parameters, time, identity, row, place)
            else:
                send_prune(state, parameters, time, identity, sender, topic)
    else:
        leave_mesh(state, parameters, identity, row, place)
        start_backoff(state, identity, sender, topic, time + auxiliary * 1_000_000)
    note_need(state, parameters, time, identity)


@kernel
def tell_leaving(
    state: State, parameters: Parameters, time: int, identity: int, peer: int, topic: int, noticed_after: int
) -> None:
    """Let a cold peer learn that its connection to an identity is closed. It is no packet: no link carries it."""
    source = identity + parameters.first_id
    arrival = time + noticed_after + state.latency[state.node[source], state.node[peer]]
    travel(state, parameters, arrival, peer << 32 | source, topic << SLOT_SHIFT | LEAVE)


@kernel
def depart(state: State, parameters: Parameters, time: int, identity: int, told: int) -> None:
    """End a session: every connection is closed, and the peers learn of it, now or (`told` - 1) ms later."""
    state.counters[DEPARTURES] += 1
    noticed_after = max(told - 1, 0) * 1_000_000
    first = parameters.first_member
    row = state.identity[identity, FIRST_ROW]
    place = next_place(state, parameters, identity, 0)
    while place >= 0:
        topic = int64(state.topic_of_place[place])
        for position in range(first, first + state.mesh[row, MESH_COUNT]):
            peer = peer_of_place(state, parameters, identity, int64(state.mesh[row, position]))
            if peer >= parameters.hot_count:
                tell_leaving(state, parameters, time, identity, peer, topic, noticed_after)
        state.mesh[row, MESH_COUNT] = 0
        row += 1
        place = next_place(state, parameters, identity, place + 1)
    drop_fanouts(state, identity)
    link = state.link_head[identity]
    while link >= 0:
        if state.link[link, 3] == 1 and told == 0:
            peer, topic = int64(state.link[link, 0]), int64(state.link[link, 1])
            send(state, parameters, time, identity, peer, CONTROL_BYTES, LEAVE, topic, 0, 0, 0, 0)
            state.counters[CONTROL_SENT] += 1
        state.link[link, 3] = 0
        link = state.link[link, 2]
    note_need(state, parameters, time, identity)


@kernel
def miss(state: State, parameters: Parameters, time: int, identity: int, source: int, kind: int, topic: int) -> None:
    """Let a packet go by that comes to an identity that is not there.

    A cold peer that grafts it learns that the connection is gone. An IHAVE has counted as received: where it can have
    no effect nobody looks where it goes.
    """
    if kind == IHAVE:
        return
    state.counters[EDGE_EVENTS] += 1
    state.counters[UNREACHABLE] += 1
    if kind == GRAFT and source >= parameters.hot_count:
        tell_leaving(state, parameters, time, identity, source, topic, 0)


@kernel
def room_for(state: State, parameters: Parameters, events: int) -> tuple[int, int, int]:
    """The most records, chunks and ids for hot hosts that `events` of one identity in a window can need."""
    slots = len(state.message_id)
    per_event = 2 * parameters.largest_row + parameters.most_memberships * (128 + slots // 64) + slots + 8
    per_event += request_records(state, parameters) + transaction_records(state)
    records = (events + 1) * per_event
    chunks = min(records, records // CHUNK + len(state.message_head))
    ids = (events + parameters.most_memberships * parameters.most_lazy + 1) * slots
    if len(state.cuts) > 2:
        # What an IHAVE lists goes to other shards id by id.
        chunks += ids // CHUNK + 1
    ids += (events + 1) * transaction_ids(state)
    return records, chunks, ids


@kernel
def backoffs_for(parameters: Parameters, events: int) -> int:
    """The most backoffs that `events` of one identity, and a heartbeat, can start."""
    return events + parameters.scoring * parameters.most_memberships * parameters.largest_row


@inlined_kernel
def has_room(state: State, parameters: Parameters, events: int, records: int, chunks: int, ids: int) -> bool:
    """Whether everything that `events` of one identity can cause has room: what `room_for` them says, and the rest."""
    return (
        state.cursor[FREE_COUNT] >= chunks
        and state.cursor[MESSAGE_FREE_COUNT] >= chunks
        and state.cursor[OUT_COUNT] + records <= len(state.out)
        and state.cursor[OUT_IDS_COUNT] + ids <= len(state.out_ids)
        and state.cursor[LINK_COUNT] + events <= len(state.link)
        and state.cursor[BACKOFF_COUNT] + backoffs_for(parameters, events) <= len(state.backoff)
        and state.cursor[FANOUT_FREE_COUNT] >= events
        and has_request_room(state, parameters, events)
    )


@inlined_kernel
def receive_message(
    state: State, parameters: Parameters, time: int, identity: int, source: int, slot: int, hops: int
) -> tuple[int, int]:
    """Take the first copy of a message; returns when it has come whole, and when it may be forwarded [ns]."""
    settle(state, parameters, identity, time >> parameters.bucket_shift)
    if parameters.scoring:
        note_delivery(state, parameters, identity, source, slot, True)
    size = MESSAGE_BYTES + state.message_size[slot]
    received = max(time, state.identity[identity, DOWNLINK_FREE]) + (
        size * state.identity[identity, DOWNLINK_RATE] >> RATE_SHIFT
    )
    state.identity[identity, DOWNLINK_FREE] = received
    note_receipt(state, parameters, identity, slot, received, hops)
    ready = received + validation_delay(state, parameters, identity, slot)
    state.last_reference[slot] = max(state.last_reference[slot], ready)
    return received, ready


@inlined_kernel
def receive_alone(state: State, parameters: Parameters, index: int, identity: int, end: int) -> None:
    """Execute the MESSAGE at `index` of `due` where it is all that the identity has to do in the step."""
    time, ends, what = state.due[index, 0], state.due[index, 1], state.due[index, 2]
    slot, hops = (what >> SLOT_SHIFT) & SLOT_MASK, (what >> HOPS_SHIFT) & MOST_HOPS
    here, source = identity + parameters.first_id, ends & WORD
    received, ready = receive_message(state, parameters, time, identity, source, slot, hops)
    if tells(state, identity, slot):
        if received >= end:
            push(state, parameters, received, here << 32 | source, slot << SLOT_SHIFT | TELL)
        elif not is_silent(state, parameters, here, received):
            tell(state, parameters, received, identity, slot, source)
    if ready < end:
        pass_on(state, parameters, ready, identity, slot, source, min(hops + 1, MOST_HOPS))
    else:
        following = min(hops + 1, MOST_HOPS) << HOPS_SHIFT | slot << SLOT_SHIFT | FORWARD
        push(state, parameters, ready, here << 32 | source, following)


@kernel
def look_far_ahead(state: State, parameters: Parameters, position: int) -> None:
    """Have the processor fetch what the event at `position` of `due` will touch for certain."""
    ends, what = state.due[position, 1], state.due[position, 2]
    identity = (ends >> 32) - parameters.first_id
    prefetch(state.identity, identity * state.identity.shape[1])
    prefetch(state.sender, identity * SENDER_COLUMNS)
    if parameters.most_memberships > parameters.full_topics:
        prefetch(state.subscribed, (identity + parameters.first_id - parameters.hot_count) * state.subscribed.shape[1])
    kind = what & KIND_MASK
    slot = (what >> SLOT_SHIFT) & SLOT_MASK
    if kind == MESSAGE and state.topic_place[state.message_topic[slot]] < parameters.full_topics:
        prefetch(state.arrival, state.arrival_start[slot] + identity)
    elif TRANSACTION <= kind <= POOLED:
        prefetch(state.mempool, mempool_place(state, identity, (what >> AUXILIARY_SHIFT) & WORD))
    elif kind == IHAVE:
        other = (ends & WORD) - parameters.first_id
        prefetch(state.identity, other * state.identity.shape[1])
        prefetch(state.sender, other * SENDER_COLUMNS)


@kernel
def beats_reach_peers(state: State, parameters: Parameters) -> bool:
    """Whether most heartbeats may choose peers: elsewhere they tell in vain, and only count who could be told."""
    if parameters.hot_count > 0 or parameters.churn or parameters.disturbances or parameters.lossy:
        return True
    if parameters.scoring or parameters.outbound:
        return True
    for topic in range(state.lacking.shape[0]):
        for word in range(state.lacking.shape[1]):
            if state.lacking[topic, word] != _ZERO:
                return True
    return False


@kernel
def look_ahead(state: State, parameters: Parameters, position: int, reaches_peers: bool) -> None:
    """Have the processor fetch what the row of the identity at `position` of `due`, which should be here, leads to.

    `reaches_peers` is as `beats_reach_peers` tells, here and in `look_near_ahead`.
    """
    identity = (state.due[position, 1] >> 32) - parameters.first_id
    prefetch(state.needed, (state.sender[identity, RANK] & WORD) >> 6)
    what = state.due[position, 2]
    kind, slot = what & KIND_MASK, (what >> SLOT_SHIFT) & SLOT_MASK
    width = state.mesh.shape[1]
    if kind == BEAT:
        row = state.identity[identity, FIRST_ROW]
        for byte in range(row * width, (row + parameters.most_memberships) * width, CACHE_LINE):
            prefetch(state.mesh, byte)
        number = partial_row(parameters, identity, row + parameters.full_topics)
        for start in range(number, number + parameters.most_memberships - parameters.full_topics, CACHE_LINE // 4):
            prefetch(state.known_start, start)
        if reaches_peers:
            look_at_neighbours(state, identity)
    elif kind in (MESSAGE, TELL, FORWARD):
        topic = state.message_topic[slot]
        row = mesh_row(state, parameters, identity, topic)
        if kind == MESSAGE and state.topic_place[topic] >= parameters.full_topics:
            prefetch(state.rank, partial_row(parameters, identity, row))
        if kind != MESSAGE or forwards_at_once(state, identity):
            prefetch(state.mesh, row * width)
            prefetch(state.mesh, row * width + width - 1)
            full = full_row(state, parameters, identity, row)
            if full >= 0:
                width = state.mesh_peer.shape[1]
                prefetch(state.mesh_peer, full * width)
                prefetch(state.mesh_peer, full * width + width - 1)
            else:
                look_at_neighbours(state, identity)


@kernel
def look_near_ahead(state: State, parameters: Parameters, position: int, reaches_peers: bool) -> None:
    """Have the processor fetch what those rows lead to that `look_ahead` has had fetched."""
    what = state.due[position, 2]
    kind, slot = what & KIND_MASK, (what >> SLOT_SHIFT) & SLOT_MASK
    identity = (state.due[position, 1] >> 32) - parameters.first_id
    if kind == MESSAGE:
        prefetch(state.arrival, arrival_place(state, parameters, identity, slot))
    elif kind == BEAT and reaches_peers:
        row = state.identity[identity, FIRST_ROW] + parameters.full_topics
        number = partial_row(parameters, identity, row)
        past = min(number + parameters.most_memberships - parameters.full_topics, len(state.known_start) - 1)
        for place in range(int64(state.known_start[number]), int64(state.known_start[past]), CACHE_LINE):
            prefetch(state.known, place)


@kernel
def forwards_at_once(state: State, identity: int) -> bool:
    """Whether the identity validates messages in no time."""
    first = state.client[client_of(state, identity), VALIDATION_DELAY]
    return state.validation_delay[first] < 0 and state.validation_delay[first + 1] == 0


@kernel
def look_at_neighbours(state: State, identity: int) -> None:
    """Have the processor fetch the identity's row of neighbours."""
    first = first_peer(state, identity)
    for peer in range(first, first + count_neighbours(state, identity), CACHE_LINE // 4):
        prefetch(state.neighbours, peer)


@kernel
def execute(state: State, parameters: Parameters) -> int:
    """Execute the collected events of the step from ``cursor[POSITION]`` on.

    Returns 0 when all are done. Otherwise the number of events of the identity that comes next: there is no room for
    what they may cause. Call again with larger arrays.
    """
    first_id = parameters.first_id
    start, end = state.cursor[STEP_START], state.cursor[STEP_END]
    for client in range(len(state.client)):
        state.client[client, TURN] = start - start % state.client[client, HEARTBEAT_NS]
    due_count = state.cursor[DUE_COUNT]
    last = state.cursor[POSITION]
    # Most identities have one event.
    records_of_one, chunks_of_one, ids_of_one = room_for(state, parameters, 1)
    reaches_peers = beats_reach_peers(state, parameters)
    while last < due_count:
        index = last
        here = state.due[index, 1] >> 32
        last += 1
        while last < due_count and state.due[last, 1] >> 32 == here:
            last += 1
        if last - index > 1:
            records, chunks, ids = room_for(state, parameters, last - index)
        else:
            records, chunks, ids = records_of_one, chunks_of_one, ids_of_one
        if not has_room(state, parameters, last - index, records, chunks, ids):
            state.cursor[POSITION] = index
            return last - index
        for ahead in range(index + FAR_AHEAD, min(last + FAR_AHEAD, due_count)):
            look_far_ahead(state, parameters, ahead)
        for ahead in range(index + AHEAD, min(last + AHEAD, due_count)):
            look_ahead(state, parameters, ahead, reaches_peers)
        if parameters.most_memberships > parameters.full_topics:
            for ahead in range(index + NEAR_AHEAD, min(last + NEAR_AHEAD, due_count)):
                look_near_ahead(state, parameters, ahead, reaches_peers)

        # The mask tells the compiler that it is not negative.
        identity = (here - first_id) & WORD
        client = client_of(state, identity)
        beat = state.client[client, TURN] + state.sender[identity, PHASE]
        if beat < start:
            beat += state.client[client, HEARTBEAT_NS]
        if beat >= end:
            beat = NEVER
        if last - index == 1 and beat == NEVER and state.due[index, 2] & KIND_MASK == MESSAGE:
            receive_alone(state, parameters, index, identity, end)
            continue
        waiting = pending = 0
        asking = 0
        while True:
            time = state.due[index, 0] if index < last else NEVER
            is_own = waiting < pending and (
                state.pending[waiting, 0] < time
                or (state.pending[waiting, 0] == time and precedes(state, state.pending[waiting], state.due[index]))
            )
            if is_own:
                time = state.pending[waiting, 0]
            if beat < time:
                if is_needed(state, identity):
                    heartbeat(state, parameters, beat, identity)
                beat = NEVER
                continue
            if time == NEVER:
                break
            if is_own:
                ends, what = state.pending[waiting, 1], state.pending[waiting, 2]
                waiting += 1
            else:
                ends, what = state.due[index, 1], state.due[index, 2]
                index += 1
            kind = what & KIND_MASK
            slot, hops = (what >> SLOT_SHIFT) & SLOT_MASK, (what >> HOPS_SHIFT) & MOST_HOPS
            auxiliary = (what >> AUXILIARY_SHIFT) & WORD
            source = ends & WORD
            if kind < IHAVE_ID and kind != MESSAGE and not is_up(state, parameters, here, time):
                miss(state, parameters, time, identity, source, kind, slot)
            elif kind == MESSAGE:
                received, ready = receive_message(state, parameters, time, identity, source, slot, hops)
                if tells(state, identity, slot):
                    if received < end:
                        pending = schedule(
                            state, waiting, pending, received, here << 32 | source, slot << SLOT_SHIFT | TELL
                        )
                    else:
                        push(state, parameters, received, here << 32 | source, slot << SLOT_SHIFT | TELL)
                following = min(hops + 1, MOST_HOPS) << HOPS_SHIFT | slot << SLOT_SHIFT | FORWARD
                if ready < end:
                    pending = schedule(state, waiting, pending, ready, here << 32 | source, following)
                else:
                    push(state, parameters, ready, here << 32 | source, following)
            elif kind == DUPLICATE:
                note_delivery(state, parameters, identity, source, slot, False)
            elif kind == TELL:
                if not is_silent(state, parameters, here, time):
                    tell(state, parameters, time, identity, slot, source)
            elif kind == FORWARD:
                pass_on(state, parameters, time, identity, slot, source, hops)
            elif kind == IHAVE:
                receive_ihave(state, parameters, time, identity, source, slot, auxiliary)
            elif kind == IWANT:
                state.counters[EDGE_EVENTS] += 1
                answer_iwant(state, parameters, time, identity, source, slot)
            elif kind == IHAVE_ID:
                if is_up(state, parameters, here, time) and want(state, time, identity, slot):
                    state.wanted[asking] = slot
                    asking += 1
                if index == last or not same_datagram(state, index - 1):
                    if source < parameters.hot_count:
                        state.counters[EDGE_EVENTS] += 1
                        state.counters[IHAVE_RECEIVED] += 1
                    if asking > 0:
                        topic = int64(state.message_topic[slot])
                        send_ids(state, parameters, time, identity, source, IWANT, topic, asking)
                        state.counters[IWANT_SENT] += asking
                        asking = 0
            elif kind == PUBLISH:
                publish(state, parameters, time, identity, slot)
            elif kind == JOIN:
                state.counters[JOINS] += 1
                note_need(state, parameters, time, identity)
                ask_everybody(state, parameters, time, identity)
                greet(state, parameters, time, identity)
            elif kind == DEPART:
                depart(state, parameters, time, identity, auxiliary)
                abandon_requests(state, identity)
                forget_untold(state, identity)
            elif TRANSACTION <= kind <= GREETING or kind >= FIRST_OF_TRANSACTIONS:
                pending = execute_transaction(state, parameters, time, ends, what, waiting, pending)
            elif kind in (REQUEST, RESPONSE, HOT_RESPONSE) or kind >= FIRST_OF_REQUESTS:
                pending = execute_request(state, parameters, time, ends, what, waiting, pending)
            elif kind != BEAT:
                state.counters[EDGE_EVENTS] += 1
                receive_control(state, parameters, time, identity, source, kind, slot, auxiliary)
    state.cursor[POSITION] = due_count
    return 0


@kernel
def same_datagram(state: State, position: int) -> bool:
    """Whether the record after `position` in `due` is an id of the same IHAVE."""
    what, following = state.due[position, 2], state.due[position + 1, 2]
    return (
        state.due[position, 0] == state.due[position + 1, 0]
        and state.due[position, 1] == state.due[position + 1, 1]
        and following & KIND_MASK == IHAVE_ID
        and what >> AUXILIARY_SHIFT == following >> AUXILIARY_SHIFT
    )


@kernel
def advance(state: State, parameters: Parameters, start: int, stop: int) -> int:
    """Execute the events before `stop`, step by step; none is before `start`.

    Returns 0 when there are no more, with the time of the next one in ``cursor[NEXT]``. Otherwise there is no room: -1
    for the records of a step, ``cursor[NEEDED]``, or for a chunk of each pool; or the number of events of the identity
    that comes next. Call again with longer arrays, and ``cursor[NEXT]`` for `start`.
    """
    while True:
        if state.cursor[POSITION] < state.cursor[DUE_COUNT]:
            events = execute(state, parameters)
            if events > 0:
                return events
            start = state.cursor[STEP_END]
        start = next_time(state, parameters, start)
        state.cursor[NEXT] = start
        if start >= stop:
            return 0
        if start >= state.cursor[SPREAD_UNTIL]:
            note_spread(state, parameters)
            # Where windows are longer, nobody has to agree on who lacks what.
            state.cursor[SPREAD_UNTIL] = start + parameters.lookahead_ns
        border = ((start >> parameters.bucket_shift) + 1) << parameters.bucket_shift
        end = min(min(stop, border), start + parameters.longest_step_ns)
        state.cursor[STEP_START] = start
        state.cursor[STEP_END] = end
        state.cursor[NEEDED] = 0
        if (
            state.cursor[FREE_COUNT] == 0
            or state.cursor[MESSAGE_FREE_COUNT] == 0
            or not collect(state, parameters, start, end)
        ):
            return -1
