"""What an identity keeps of its peers on a topic: whom it knows, who is in its mesh, and whom it may not graft yet.

Everything here follows gossipsub v1.1 (https://github.com/libp2p/specs/tree/master/pubsub/gossipsub).
"""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from cold.disturbance_kernels import is_known_cut
from cold.event_kernels import set_needed
from cold.fanout_kernels import discover, has_fanout
from cold.jit import inlined_kernel, int64, kernel
from cold.life_kernels import is_up
from cold.membership_kernels import (
    count_neighbours,
    first_known,
    first_peer,
    full_row,
    is_outbound,
    member_of_place,
    newest_link,
    next_place,
    node_of_place,
    partial_row,
    past_row,
    peer_of_place,
    subscribes,
)
from cold.message_cache_kernels import has_cached
from cold.receipt_kernels import client_of
from cold.score_kernels import begin_score, move_score
from cold.state_kernels import (
    BACKOFF_COUNT,
    D_HIGH,
    D_LOW,
    D_OUT,
    FIRST_ROW,
    LINK_COUNT,
    MESH_COUNT,
    D,
    Parameters,
    State,
)


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
def find_link(state: State, parameters: Parameters, identity: int, peer: int, topic: int) -> int:
    """The link of an identity to a hot peer on a topic, known or forgotten, or -1."""
    link = newest_link(state, parameters, identity)
    while link >= 0 and (state.link[link, 0] != peer or state.link[link, 1] != topic):
        link = int64(state.link[link, 2])
    return link


@kernel
def learn_peer(state: State, parameters: Parameters, identity: int, peer: int, topic: int) -> bool:
    """Record a hot peer on a topic. True if it was not known."""
    link = find_link(state, parameters, identity, peer, topic)
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
    return int64(state.known_count[partial_row(parameters, identity, row)])


@kernel
def count_peers(state: State, parameters: Parameters, identity: int, topic: int, row: int) -> int:
    """Number of known peers on the topic of the membership `row`."""
    count = count_cold_peers(state, parameters, identity, topic, row)
    link = newest_link(state, parameters, identity)
    while link >= 0:
        if state.link[link, 1] == topic and state.link[link, 3] == 1:
            count += 1
        link = int64(state.link[link, 2])
    return count


@kernel
def cold_peers_start(state: State, parameters: Parameters, identity: int, topic: int, row: int) -> int:
    """Where in `State.known` the cold peers of the membership `row` begin; -1 if they are all neighbours."""
    if state.topic_place[topic] < parameters.full_topics:
        return -1
    start = first_known(state, identity)
    first = state.identity[identity, FIRST_ROW] + parameters.full_topics
    number = partial_row(parameters, identity, first)
    for membership in range(number, number + row - first):
        start += int64(state.known_count[membership])
    return start


@inlined_kernel
def cold_place_at(state: State, start: int, index: int) -> int:
    """The place of the index-th cold peer of a membership whose `cold_peers_start` is `start`."""
    return index if start < 0 else int64(state.known[start + index])


@inlined_kernel
def place_at(state: State, parameters: Parameters, identity: int, topic: int, start: int, cold: int, index: int) -> int:
    """The place of the index-th known peer on a topic: the cold ones, then the hot ones, the newest first.

    `start` and `cold` are what `cold_peers_start` and `count_cold_peers` return.
    """
    if index < cold:
        return cold_place_at(state, start, index)
    return hot_place_at(state, parameters, identity, topic, index - cold)


@kernel
def hot_place_at(state: State, parameters: Parameters, identity: int, topic: int, index: int) -> int:
    """The place of the index-th known hot peer on a topic, the newest first."""
    link = newest_link(state, parameters, identity)
    while True:
        if state.link[link, 1] == topic and state.link[link, 3] == 1:
            if index == 0:
                return count_neighbours(state, identity) + int64(state.link[link, 0])
            index -= 1
        link = int64(state.link[link, 2])


@kernel
def list_peers(state: State, parameters: Parameters, time: int, identity: int, topic: int, row: int) -> int:
    """List the HostIds of the known peers on a topic in `state.scratch`; returns how many they are.

    `row` is that of the membership, or -1: then they are the cold peers that subscribe, and where these are fewer than
    D, other subscribers that the identity discovers.
    """
    count = 0
    if row >= 0:
        count = count_peers(state, parameters, identity, topic, row)
        cold = count_cold_peers(state, parameters, identity, topic, row)
        start = cold_peers_start(state, parameters, identity, topic, row)
        for index in range(count):
            place = place_at(state, parameters, identity, topic, start, cold, index)
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
    start = cold_peers_start(state, parameters, identity, topic, row)
    for index in range(count_cold_peers(state, parameters, identity, topic, row)):
        known += has_dialled(state, identity, cold_place_at(state, start, index))
    return min(min(quota, known) - inside, room)


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
def part_from_those_away(state: State, parameters: Parameters) -> None:
    """Leave in the meshes, as the run begins, those of all identities that are up, and members that are."""
    first = parameters.first_member
    for identity in range(parameters.rows):
        here = is_up(state, parameters, identity + parameters.first_id, 0)
        for row in range(state.identity[identity, FIRST_ROW], past_row(state, parameters, identity)):
            kept = first
            for position in range(first, first + int64(state.mesh[row, MESH_COUNT])):
                place = state.mesh[row, position]
                if here and is_up(state, parameters, peer_of_place(state, parameters, identity, int64(place)), 0):
                    state.mesh[row, kept] = place
                    kept += 1
            state.mesh[row, MESH_COUNT] = kept - first


@kernel
def note_needs(state: State, parameters: Parameters) -> None:
    """Work out for every identity whether its next heartbeat has something to do."""
    for identity in range(len(state.identity)):
        note_need(state, parameters, 0, identity)
