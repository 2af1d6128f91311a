"""What the events of a step will touch: the processor is told to fetch it some events before they are executed."""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

from cold.jit import int64, kernel, uint64
from cold.membership_kernels import (
    arrival_place,
    count_neighbours,
    count_partial,
    first_known,
    first_peer,
    full_row,
    mesh_row,
    partial_row,
)
from cold.prefetch_kernels import prefetch
from cold.receipt_kernels import client_of
from cold.request_kernels import drawn_first, meter_key, meter_place, newest_open
from cold.request_layout import METER_COLUMNS, OPEN_COLUMNS, PROTOCOL_MASK
from cold.state_kernels import (
    ANSWER,
    ASK,
    AUXILIARY_SHIFT,
    BEAT,
    CACHE_LINE,
    FIRST_OF_REQUESTS,
    FIRST_OF_TRANSACTIONS,
    FIRST_ROW,
    FORWARD,
    KIND_MASK,
    MESSAGE,
    POOLED,
    PRUNE,
    RANK,
    REQUEST,
    RESPONSE,
    SENDER_COLUMNS,
    SLOT_MASK,
    SLOT_SHIFT,
    TELL,
    TRANSACTION,
    VALIDATION_DELAY,
    WORD,
    Parameters,
    State,
)
from cold.transaction_kernels import mempool_place

_ZERO: Final = uint64(0)


@kernel
def look_far_ahead(state: State, parameters: Parameters, position: int) -> None:
    """Have the processor fetch what the event at `position` of `due` will touch for certain."""
    ends, what = state.due[position, 1], state.due[position, 2]
    identity = (ends >> 32) - parameters.first_id
    prefetch(state.sender, identity * SENDER_COLUMNS)
    kind = what & KIND_MASK
    slot = (what >> SLOT_SHIFT) & SLOT_MASK
    if kind == REQUEST:
        key = meter_key(identity, ends & WORD, slot & PROTOCOL_MASK)
        prefetch(state.meter, METER_COLUMNS * meter_place(state.meter, key))
        prefetch(state.node, ends & WORD)
        return
    if FIRST_OF_REQUESTS <= kind < FIRST_OF_TRANSACTIONS:
        if kind == ANSWER:
            prefetch(state.node, ends & WORD)
        return
    prefetch(state.identity, identity * state.identity.shape[1])
    if kind == RESPONSE:
        return
    if parameters.most_memberships > parameters.full_topics:
        prefetch(state.subscribed, (identity + parameters.first_id - parameters.hot_count) * state.subscribed.shape[1])
    if kind == MESSAGE and state.topic_place[state.message_topic[slot]] < parameters.full_topics:
        prefetch(state.arrival, state.arrival_start[slot] + identity)
    elif TRANSACTION <= kind <= POOLED:
        prefetch(state.mempool, mempool_place(state, identity, (what >> AUXILIARY_SHIFT) & WORD))


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
        for membership in range(number, number + count_partial(state, parameters, identity), CACHE_LINE):
            prefetch(state.known_count, membership)
        if reaches_peers:
            look_at_neighbours(state, identity)
    elif kind == ASK:
        number = (what >> AUXILIARY_SHIFT) & WORD
        prefetch(state.neighbours, drawn_first(state, parameters, identity, slot, number))
    elif kind == RESPONSE:
        row = newest_open(state, identity)
        if row >= 0:
            prefetch(state.open, row * OPEN_COLUMNS)
    elif kind <= PRUNE:
        # The sender is looked for among the neighbours.
        prefetch(state.mesh, mesh_row(state, parameters, identity, slot) * width)
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
        start = past = first_known(state, identity)
        for membership in range(number, number + count_partial(state, parameters, identity)):
            past += int64(state.known_count[membership])
        for place in range(start, past, CACHE_LINE):
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
