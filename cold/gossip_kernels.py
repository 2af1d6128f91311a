"""Kernels of gossip: what an identity does with each event of its own.

`advance` runs over the steps of a window: `event_kernels.collect`, then `execute`. Identities do not see each other
inside a step, so that takes them one after another, each with its events in the order (time, class, source, counter,
message id). Everything here follows gossipsub v1.1 (https://github.com/libp2p/specs/tree/master/pubsub/gossipsub).
"""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

from cold.asked_kernels import want
from cold.disturbance_kernels import can_reach, path_latency, path_loss
from cold.draw_kernels import draw_words, is_lost
from cold.event_kernels import (
    AHEAD,
    FAR_AHEAD,
    NEAR_AHEAD,
    bundle_of,
    collect,
    cross,
    is_needed,
    next_time,
    precedes,
    push,
    push_message,
    push_unwanted,
    schedule,
    send_out,
    set_needed,
    settle,
    travel,
)
from cold.fanout_kernels import drop_fanouts, list_fanout
from cold.heartbeat_kernels import heartbeat, send_prune
from cold.jit import inlined_kernel, int64, kernel, uint64
from cold.lacker_kernels import note_has
from cold.life_kernels import is_silent, is_up
from cold.life_layout import SHORTEST
from cold.load_kernels import downlink_free, uplink_free
from cold.look_ahead_kernels import beats_reach_peers, look_ahead, look_far_ahead, look_near_ahead
from cold.membership_kernels import (
    arrival_place,
    full_row,
    member_of_place,
    mesh_row,
    newest_link,
    next_place,
    node_of,
    peer_of_place,
    place_of_peer,
)
from cold.mesh_kernels import (
    find_link,
    in_backoff,
    in_mesh,
    join_mesh,
    learn_peer,
    leave_mesh,
    list_peers,
    note_need,
    start_backoff,
)
from cold.message_cache_kernels import next_heartbeat, note_spread, remember
from cold.purposes import ColdPurpose
from cold.receipt_kernels import client_of, has_copy, validated_at, validation_delay
from cold.request_kernels import abandon_requests, ask_everybody, execute_request, has_request_room, request_records
from cold.score_kernels import note_delivery
from cold.sending_kernels import CONTROL_BYTES, ID_BYTES, send, send_ids
from cold.state_kernels import (
    ARRIVAL_SHIFT,
    ASKED_FOR,
    AUXILIARY_SHIFT,
    BACKOFF_COUNT,
    BEAT,
    BYTES_SENT,
    CHUNK,
    CONTROL_RECEIVED,
    CONTROL_SENT,
    COPIES_LOST,
    COPIES_SENT,
    COPIES_SPARED,
    D_HIGH,
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
    HELLO,
    HOPS_SHIFT,
    HOT_RESPONSE,
    IDONTWANT,
    IDONTWANT_SENT,
    IDONTWANT_SIZE,
    IHAVE_ID,
    IHAVE_RECEIVED,
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
    NOT_SENT,
    OUT_COUNT,
    OUT_IDS_COUNT,
    PACKETS,
    PACKETS_LOST,
    PHASE,
    POSITION,
    PUBLISH,
    PUBLISHED,
    RATE_SHIFT,
    REQUEST,
    RESPONSE,
    SEEN,
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
    WORD,
    Parameters,
    State,
)
from cold.transaction_kernels import execute_transaction, forget_untold, greet, transaction_ids, transaction_records
from cold.unwanted_kernels import has_unwanted, take_unwanted

# Plain integers: numba takes no members of an IntEnum from a global.
_FORWARD: Final = int(ColdPurpose.FORWARD)
_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)


@inlined_kernel
def note_receipt(state: State, parameters: Parameters, identity: int, slot: int, time: int, hops: int) -> None:
    """Record the first copy of a message at a member that has not seen it."""
    state.identity[identity, SEEN + (slot >> 6)] |= int64(1) << (slot & 63)
    state.arrival[arrival_place(state, parameters, identity, slot)] = time << ARRIVAL_SHIFT | hops
    note_has(state, parameters, identity + parameters.first_id, slot)
    reached = state.reached[slot] + 1
    state.reached[slot] = reached
    if reached == state.members[state.message_topic[slot]]:
        state.saturated[slot] = 1


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
    sent = send_to_mesh(state, parameters, time, identity, slot, came_from, unwanted, size, what)
    state.counters[MESSAGES_SENT] += sent
    state.tally[slot, COPIES_SENT] += sent


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
    free = uplink_free(state, parameters, time, identity)
    counter = state.sender[identity, PACKETS]
    node = node_of(state, identity)
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
            state.tally[slot, NOT_SENT] += 1
            continue
        free += duration
        other = member >> parameters.host_bits if parameters.host_bits < 32 else int64(state.node[peer])
        probability = path_loss(state, parameters, free, node, other)
        if probability > 0.0 and is_lost(parameters, source, counter + sent, probability):
            state.counters[PACKETS_LOST] += 1
            state.tally[slot, COPIES_LOST] += int64(is_message)
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
        if has_unwanted(state, identity):
            take_unwanted(state, parameters, time, identity, slot)
    else:
        forward(state, parameters, time, identity, slot, came_from, hops)


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
            state.tally[slot, COPIES_SENT] += 1


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
                state.tally[slot, COPIES_SENT] += 1
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
        if learn_peer(state, parameters, identity, sender, topic):
            send(state, parameters, time, identity, sender, CONTROL_BYTES, HELLO, topic, 0, 0, 0, 0)
            state.counters[CONTROL_SENT] += 1
    elif kind == LEAVE:
        leave_mesh(state, parameters, identity, row, place)
        link = find_link(state, parameters, identity, sender, topic)
        if link >= 0:
            state.link[link, 3] = 0
    elif kind == GRAFT:
        if is_hot:
            learn_peer(state, parameters, identity, sender, topic)
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
    link = newest_link(state, parameters, identity)
    while link >= 0:
        if state.link[link, 3] == 1 and told == 0:
            peer, topic = int64(state.link[link, 0]), int64(state.link[link, 1])
            send(state, parameters, time, identity, peer, CONTROL_BYTES, LEAVE, topic, 0, 0, 0, 0)
            state.counters[CONTROL_SENT] += 1
        state.link[link, 3] = 0
        link = int64(state.link[link, 2])
    note_need(state, parameters, time, identity)


@kernel
def miss(state: State, parameters: Parameters, time: int, identity: int, source: int, kind: int, topic: int) -> None:
    """Let a packet go by that comes to an identity that is not there.

    A cold peer that grafts it learns that the connection is gone.
    """
    state.counters[EDGE_EVENTS] += 1
    state.counters[UNREACHABLE] += 1
    if kind == GRAFT and source >= parameters.hot_count:
        tell_leaving(state, parameters, time, identity, source, topic, 0)


@kernel
def room_for(state: State, parameters: Parameters, events: int) -> tuple[int, int, int]:
    """The most that `events` of one identity in a step can need: records for hot hosts, chunks, ids for hot hosts.

    Each may send copies to its mesh, and IDONTWANTs, or a message to all peers. In a step there is one heartbeat at
    most, and one coming or going in as long as the shortest session: only these do something on every membership. A
    heartbeat tells of a message on one membership, and so to `most_lazy` peers; what an IHAVE lists goes to cold peers
    id by id.
    """
    slots = len(state.message_id)
    per_event = 2 * parameters.largest_row + 8 + request_records(state, parameters) + transaction_records(state)
    rare = 3 + parameters.longest_step_ns // SHORTEST
    on_each = parameters.largest_row + 128 + slots // 64
    records = (events + 1) * per_event + rare * (parameters.most_memberships * on_each + slots)
    listed = (parameters.most_lazy + 1) * slots
    chunks = min(records, records // CHUNK + len(state.message_head)) + listed // CHUNK + 1
    if parameters.hot_count == 0:
        return 0, chunks, 0
    return records, chunks, listed + (events + 1) * (parameters.largest_row + 1 + transaction_ids(state))


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
    received = downlink_free(state, parameters, time, identity) + (
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
            elif kind == IWANT:
                state.counters[EDGE_EVENTS] += 1
                answer_iwant(state, parameters, time, identity, source, slot)
            elif kind == IHAVE_ID:
                if is_up(state, parameters, here, time) and want(state, parameters, time, identity, slot):
                    state.wanted[asking] = slot
                    state.tally[slot, ASKED_FOR] += 1
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
                abandon_requests(state, parameters, identity)
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
