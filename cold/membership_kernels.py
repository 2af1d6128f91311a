"""Who subscribes to what, as kernels ask it: memberships, and the places of peers.

The topics of an identity are numbered by their places: first those to which everybody subscribes, then those of the
others that it has. So its rows of `State.mesh` follow from the first one and from its bits in `State.subscribed`, and
nothing has to be searched. Peers have places too: a cold one its number in the identity's row of `State.neighbours`, a
hot one its HostId behind the last of them.
"""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

from typing import Final

import numpy as np
import numpy.typing as npt

from cold.jit import inlined_kernel, int64, kernel, uint64
from cold.state_kernels import (
    FIRST_ROW,
    KNOWN_SHIFT,
    MESH_COUNT,
    MOST_RECENT,
    NODE,
    NODE_MASK,
    PEERS,
    PEERS_MASK,
    PEERS_SHIFT,
    RANK_BLOCK_SHIFT,
    RECENT,
    SEVERAL,
    Parameters,
    State,
    count_bits,
    lowest_bit,
)

_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)
_ALL: Final = uint64(0xFFFFFFFFFFFFFFFF)


@kernel
def subscribes(state: State, parameters: Parameters, host: int, topic: int) -> bool:
    """Whether any identity, by its HostId, subscribes to a topic."""
    number = state.topic_place[topic] - parameters.full_topics
    if number < 0:
        return True
    word = state.subscribed[host - parameters.hot_count, number >> 6]
    return word >> uint64(number & 63) & _ONE != _ZERO


@inlined_kernel
def mesh_row(state: State, parameters: Parameters, identity: int, topic: int) -> int:
    """The row of `State.mesh` of an identity of this shard on a topic, -1 if it does not subscribe."""
    first = state.identity[identity, FIRST_ROW]
    place = int64(state.topic_place[topic])
    number = place - parameters.full_topics
    if number < 0:
        return first + place
    host = identity + parameters.first_id - parameters.hot_count
    bit = _ONE << uint64(number & 63)
    word = state.subscribed[host, number >> 6]
    if word & bit == _ZERO:
        return -1
    before = count_bits(word & (bit - _ONE))
    for earlier in range(number >> 6):
        before += count_bits(state.subscribed[host, earlier])
    return first + parameters.full_topics + before


@kernel
def next_place(state: State, parameters: Parameters, identity: int, place: int) -> int:
    """The first place of a topic, from `place` on, to which an identity of this shard subscribes; -1 if none."""
    number = place - parameters.full_topics
    if number < 0:
        return place
    host = identity + parameters.first_id - parameters.hot_count
    words = state.subscribed.shape[1]
    word = number >> 6
    if word >= words:
        return -1
    left = state.subscribed[host, word] & (_ALL << uint64(number & 63))
    while left == _ZERO:
        word += 1
        if word == words:
            return -1
        left = state.subscribed[host, word]
    return parameters.full_topics + word * 64 + lowest_bit(left)


@kernel
def past_row(state: State, parameters: Parameters, identity: int) -> int:
    """One past the last row of `State.mesh` of an identity of this shard."""
    if identity + 1 < parameters.rows:
        return state.identity[identity + 1, FIRST_ROW]
    return len(state.mesh)


@kernel
def count_partial(state: State, parameters: Parameters, identity: int) -> int:
    """How many topics an identity of this shard has to which some do not subscribe."""
    host = identity + parameters.first_id - parameters.hot_count
    count = int64(0)
    for word in range(state.subscribed.shape[1]):
        count += count_bits(state.subscribed[host, word])
    return count


@kernel
def partial_row(parameters: Parameters, identity: int, row: int) -> int:
    """Number of a membership, by its row of `State.mesh`, among those of topics to which some do not subscribe."""
    return row - parameters.full_topics * (identity + 1)


@inlined_kernel
def rank_in(state: State, parameters: Parameters, identity: int, topic: int) -> int:
    """Number of an identity that subscribes to a topic among those of this shard that do."""
    number = int64(state.topic_place[topic]) - parameters.full_topics
    if number < 0:
        return identity
    row = mesh_row(state, parameters, identity, topic)
    before = int64(state.rank_before[identity >> RANK_BLOCK_SHIFT, number])
    return before + int64(state.rank[partial_row(parameters, identity, row)])


@inlined_kernel
def arrival_place(state: State, parameters: Parameters, identity: int, slot: int) -> int:
    """Where in `State.arrival` the receipt of a message at a member of its topic is."""
    return state.arrival_start[slot] + rank_in(state, parameters, identity, state.message_topic[slot])


@kernel
def recent(state: State, row: int, interval: int) -> int:
    """What the membership `row` says of the messages that were cached in an interval between heartbeats.

    It is 0 without any; 1 + its slot of a single one; and SEVERAL + how many of others.
    """
    column = RECENT + 2 * interval
    return int64(state.mesh[row, column]) | int64(state.mesh[row, column + 1]) << 8


@kernel
def set_recent(state: State, row: int, interval: int, what: int) -> None:
    """Set what `recent` returns."""
    column = RECENT + 2 * interval
    state.mesh[row, column] = what & 255
    state.mesh[row, column + 1] = what >> 8


@kernel
def count_recent(state: State, row: int, interval: int) -> int:
    """How many messages were cached in an interval between heartbeats, on the membership `row`."""
    what = recent(state, row, interval)
    return what - SEVERAL if what >= SEVERAL else min(what, 1)


@kernel
def add_recent(state: State, row: int, interval: int, slot: int) -> None:
    """Add a message to those that were cached in an interval between heartbeats, on the membership `row`."""
    count = count_recent(state, row, interval)
    if count == 0 and slot + 1 < SEVERAL:
        set_recent(state, row, interval, slot + 1)
    else:
        set_recent(state, row, interval, SEVERAL + min(count + 1, MOST_RECENT))


@kernel
def first_peer(state: State, identity: int) -> int:
    """Where the identity's row of `State.neighbours` begins."""
    return state.sender[identity, PEERS] >> PEERS_SHIFT


@kernel
def count_neighbours(state: State, identity: int) -> int:
    """Number of cold peers."""
    return state.sender[identity, PEERS] & PEERS_MASK


@inlined_kernel
def node_of(state: State, identity: int) -> int:
    """The node of an identity of this shard."""
    return state.sender[identity, NODE] & NODE_MASK


@inlined_kernel
def first_known(state: State, identity: int) -> int:
    """Where in `State.known` there are the peers of an identity's first membership in a topic that some do not have."""
    return state.sender[identity, NODE] >> KNOWN_SHIFT


@kernel
def peer_of_place(state: State, parameters: Parameters, identity: int, place: int) -> int:
    """HostId of the peer at a place."""
    neighbours = count_neighbours(state, identity)
    if place >= neighbours:
        return place - neighbours
    return int64(state.neighbours[first_peer(state, identity) + place]) & parameters.host_mask


@kernel
def full_row(state: State, parameters: Parameters, identity: int, row: int) -> int:
    """The row of `State.mesh_peer` that belongs to a row of `State.mesh`; -1 if not everybody has the topic."""
    place = row - state.identity[identity, FIRST_ROW]
    return identity * parameters.full_topics + place if place < parameters.full_topics else -1


@kernel
def member_of_place(state: State, parameters: Parameters, identity: int, place: int) -> int:
    """HostId and node of the peer at a place, as in `State.neighbours`."""
    neighbours = count_neighbours(state, identity)
    if place < neighbours:
        return int64(state.neighbours[first_peer(state, identity) + place])
    return member_of(state, parameters, place - neighbours)


@kernel
def member_of(state: State, parameters: Parameters, peer: int) -> int:
    """HostId and node of a peer, as in `State.neighbours`."""
    return peer | int64(state.node[peer]) << parameters.host_bits if parameters.host_bits < 32 else peer


@inlined_kernel
def node_of_member(state: State, parameters: Parameters, member: int) -> int:
    """The node of what `member_of` returns. It is in it, where there are bits for it: that saves a random access."""
    return member >> parameters.host_bits if parameters.host_bits < 32 else int64(state.node[member])


@kernel
def fill_mesh_peers(state: State, parameters: Parameters) -> None:
    """Fill in `State.mesh_peer` from `State.mesh`."""
    for identity in range(parameters.rows):
        first = state.identity[identity, FIRST_ROW]
        for row in range(first, first + parameters.full_topics):
            full = full_row(state, parameters, identity, row)
            for position in range(int64(state.mesh[row, MESH_COUNT])):
                place = int64(state.mesh[row, parameters.first_member + position])
                state.mesh_peer[full, position] = member_of_place(state, parameters, identity, place)


@kernel
def node_of_place(state: State, parameters: Parameters, identity: int, place: int) -> int:
    """The node of the peer at a place."""
    neighbours = count_neighbours(state, identity)
    if place >= neighbours:
        return int64(state.node[place - neighbours])
    return node_of_member(state, parameters, int64(state.neighbours[first_peer(state, identity) + place]))


@kernel
def place_of_peer(state: State, parameters: Parameters, identity: int, peer: int) -> int:
    """The place of a peer, by its HostId; -1 for a cold host that is none."""
    first, neighbours = first_peer(state, identity), count_neighbours(state, identity)
    if peer < parameters.hot_count:
        return neighbours + peer
    for place in range(neighbours):
        if int64(state.neighbours[first + place]) & parameters.host_mask == peer:
            return place
    return -1


@inlined_kernel
def newest_link(state: State, parameters: Parameters, identity: int) -> int:
    """The newest link of an identity to a hot peer, known or forgotten, or -1."""
    return int64(state.link_head[identity]) if parameters.hot_count > 0 else int64(-1)


@kernel
def is_outbound(dialled: npt.NDArray[np.uint8], place: int) -> bool:
    """Whether an identity has dialled a neighbour.

    Parameters
    ----------
    dialled
        uint8[edges / 8]: `Overlay.dialled_bits`.
    place
        Of the neighbour in `neighbours`, counted from the first row on: ``row_start[identity] + number``.
    """
    return bool(dialled[place >> 3] >> (place & 7) & 1)
