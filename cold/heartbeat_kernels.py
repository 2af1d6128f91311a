"""Heartbeats: meshes are mended, and peers outside them are told what messages there were.

Everything here follows gossipsub v1.1 (https://github.com/libp2p/specs/tree/master/pubsub/gossipsub).
"""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

from cold.disturbance_kernels import can_reach
from cold.draw_kernels import draw_words
from cold.fanout_kernels import has_fanout, mend_fanouts
from cold.jit import int64, kernel
from cold.lacker_kernels import may_lack
from cold.life_kernels import are_dialled, is_silent, is_up, up_bit
from cold.membership_kernels import (
    count_neighbours,
    count_recent,
    first_peer,
    next_place,
    peer_of_place,
    set_recent,
)
from cold.mesh_kernels import (
    cold_peers_start,
    cold_place_at,
    count_cold_peers,
    count_peers,
    forget_cut_off,
    has_dialled,
    hot_place_at,
    in_backoff,
    in_mesh,
    join_mesh,
    lacking_outbound,
    leave_mesh,
    needs_beat,
    note_other_need,
    place_at,
    start_backoff,
)
from cold.message_cache_kernels import has_cached, list_recent, list_sought, next_heartbeat, tally_told
from cold.purposes import ColdPurpose
from cold.receipt_kernels import client_of
from cold.score_kernels import (
    OPPORTUNISTIC_BEATS,
    OPPORTUNISTIC_PEERS,
    OPPORTUNISTIC_THRESHOLD,
    decay,
    median_score,
    score,
)
from cold.sending_kernels import (
    CONTROL_BYTES,
    ID_BYTES,
    IDS_PER_DATAGRAM,
    PRUNE_BYTES,
    send,
    send_ids,
    tell_cold_peers,
    tell_in_vain,
)
from cold.state_kernels import (
    CONTROL_SENT,
    D_HIGH,
    D_LAZY,
    D_LOW,
    FIRST_ROW,
    GRAFT,
    HEARTBEATS,
    IHAVE,
    IHAVE_SENT,
    MESH_COUNT,
    PRUNE,
    SCORE_PRUNES,
    D,
    Parameters,
    State,
)

_GOSSIP_PEERS: Final = int(ColdPurpose.GOSSIP_PEERS)
_GRAFT_PEERS: Final = int(ColdPurpose.GRAFT_PEERS)
#: Why peers are grafted: a part of the counter of their draws.
_UP_TO_D: Final = 0
_OUTBOUND: Final = 1
_OPPORTUNISTIC: Final = 2
#: So many times four peers are drawn, before those that can be told are listed.
_GOSSIP_BLOCKS: Final = 16
#: Of more peers outside the mesh than so many times D_lazy, it is not looked up whether one of them lacks anything.
_FEW_LAZY: Final = 4


@kernel
def heartbeat(state: State, parameters: Parameters, time: int, identity: int) -> None:
    """Mend the meshes, and tell some peers outside them what messages there were.

    A mesh cannot be above D_high: a GRAFT finds room below it or is answered by PRUNE.
    """
    busy = needed = False
    here = is_up(state, parameters, identity + parameters.first_id, time)
    number = next_heartbeat(state, identity, time)
    following = (number + 1) % parameters.mcache_gossip
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
            if tell_recent(state, parameters, time, identity, topic, row, number):
                busy = True
            # What was cached in the oldest interval is forgotten, for the interval that begins has its place.
            set_recent(state, row, following, 0)
            if parameters.tallies:
                state.told_of[row, following] = 0
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
    cold = count_cold_peers(state, parameters, identity, topic, row)
    start = cold_peers_start(state, parameters, identity, topic, row)
    for index in range(count_peers(state, parameters, identity, topic, row)):
        place = place_at(state, parameters, identity, topic, start, cold, index)
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
    state: State, parameters: Parameters, time: int, identity: int, topic: int, row: int, number: int
) -> bool:
    """Tell peers outside the mesh of the membership `row` what was cached lately; whether there was something."""
    ids = int64(0)
    for interval in range(parameters.mcache_gossip):
        ids += count_recent(state, row, interval)
    host = identity + parameters.first_id
    if ids == 0 or not is_up(state, parameters, host, time) or is_silent(state, parameters, host, time):
        return ids != 0
    size = CONTROL_BYTES * ((ids + IDS_PER_DATAGRAM - 1) // IDS_PER_DATAGRAM) + ID_BYTES * ids
    sought = list_sought(state, parameters, time, identity, topic, row)
    is_steady = parameters.churn == 0 and parameters.disturbances == 0
    known = count_peers(state, parameters, identity, topic, row)
    is_cold = parameters.hot_count == 0 or known == count_cold_peers(state, parameters, identity, topic, row)
    if is_cold and parameters.disturbances == 0 and parameters.lossy == 0:
        lazy = state.client[client_of(state, identity), D_LAZY]
        outside = known - int64(state.mesh[row, MESH_COUNT])
        if sought > 0 and outside > _FEW_LAZY * lazy:
            outside = int64(-1)
        elif sought > 0 or not is_steady:
            outside = count_without_need(state, parameters, time, identity, topic, row, known, lazy, sought)
        if outside >= 0:
            # Whoever is told does nothing: it does not matter who.
            tell_in_vain(state, parameters, time, identity, size, min(lazy, outside), sought)
            if parameters.tallies:
                tally_told(state, parameters, row, min(lazy, outside))
            return True
    chosen = choose_gossip_peers(state, parameters, time, identity, topic, row, number, is_steady)
    cold = int64(chosen)
    if not is_cold:
        cold = int64(0)
        while cold < chosen and int64(state.scratch[cold]) < count_neighbours(state, identity):
            cold += 1
    tell_cold_peers(state, parameters, time, identity, size, cold, sought)
    for position in range(cold, chosen):
        peer = peer_of_place(state, parameters, identity, int64(state.scratch[position]))
        if peer < parameters.hot_count:
            listed = list_recent(state, parameters, time, identity, topic)
            send_ids(state, parameters, time, identity, peer, IHAVE, topic, listed)
        else:
            send(state, parameters, time, identity, peer, size, IHAVE, topic, 0, 0, 0, 0)
    state.counters[IHAVE_SENT] += chosen
    if parameters.tallies:
        tally_told(state, parameters, row, chosen)
    return True


@kernel
def count_without_need(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    topic: int,
    row: int,
    known: int,
    enough: int,
    sought: int,
) -> int:
    """How many known peers outside the mesh can be reached, if none of them may lack what IHAVEs tell of; else -1.

    All of them are cold, and no path is disturbed. IHAVEs tell of the first `sought` slots in `state.wanted`; where
    there are none, it suffices to find `enough`. Where few peers are outside the mesh, and as few of all lack a message
    for long, this is less work than to choose, and to look at who was chosen.
    """
    mark_members(state, parameters, row, 1)
    listed = list_unmarked(state, parameters, identity, topic, row, known, 0)
    mark_members(state, parameters, row, 0)
    first = first_peer(state, identity)
    outside = needy = position = int64(0)
    while position < listed and needy == 0 and (sought > 0 or outside < enough):
        peer = int64(state.neighbours[first + int64(state.scratch[position])]) & parameters.host_mask
        position += 1
        reached = up_bit(state, parameters, peer, time)
        if parameters.redial_ms > 0:
            reached &= int64(are_dialled(state, parameters, identity + parameters.first_id, peer, time))
        for number in range(sought):
            needy |= reached & int64(may_lack(state, parameters, peer, int64(state.wanted[number])))
        outside += reached
    return -1 if needy else outside


@kernel
def mark_members(state: State, parameters: Parameters, row: int, mark: int) -> None:
    """Mark the places of the members of the mesh of the membership `row`, or take their marks away."""
    first = parameters.first_member
    for position in range(first, first + int64(state.mesh[row, MESH_COUNT])):
        state.marks[state.mesh[row, position]] = mark


@kernel
def choose_gossip_peers(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    topic: int,
    row: int,
    heartbeat: int,
    is_steady: bool,
) -> int:
    """Choose up to D_lazy random known peers outside the mesh, by their places, into `state.scratch`; how many.

    Only those that can be reached, which all can where the network `is_steady`.
    """
    lazy = state.client[client_of(state, identity), D_LAZY]
    known = count_peers(state, parameters, identity, topic, row)
    mark_members(state, parameters, row, 1)
    drawn = int64(0)
    if known - int64(state.mesh[row, MESH_COUNT]) > lazy:
        drawn = draw_unmarked(state, parameters, time, identity, topic, row, heartbeat, is_steady, known, lazy)
    chosen = drawn
    if drawn < lazy:
        chosen = draw_listed(state, parameters, time, identity, topic, row, heartbeat, is_steady, known, drawn, lazy)
    for position in range(drawn):
        state.marks[state.scratch[position]] = 0
    mark_members(state, parameters, row, 0)
    return chosen


@kernel
def draw_unmarked(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    topic: int,
    row: int,
    heartbeat: int,
    is_steady: bool,
    known: int,
    wanted: int,
) -> int:
    """Draw as many places as are `wanted` of known peers without marks into `state.scratch`, and mark them.

    It is given up after some attempts. Returns how many there are.
    """
    chosen = int64(0)
    cold = count_cold_peers(state, parameters, identity, topic, row)
    start = cold_peers_start(state, parameters, identity, topic, row)
    for block in range(_GOSSIP_BLOCKS):
        words = draw_words(
            parameters, identity + parameters.first_id, _GOSSIP_PEERS, heartbeat << 32 | topic << 16 | block
        )
        for word in words:
            place = place_at(state, parameters, identity, topic, start, cold, int64(word) * known >> 32)
            if (
                chosen < wanted
                and state.marks[place] == 0
                and (is_steady or reaches_place(state, parameters, time, identity, place))
            ):
                state.marks[place] = 1
                state.scratch[chosen] = place
                chosen += 1
        if chosen == wanted:
            break
    return chosen


@kernel
def reaches_place(state: State, parameters: Parameters, time: int, identity: int, place: int) -> bool:
    """Whether the peer at a place can be reached."""
    return can_reach(state, parameters, time, identity, peer_of_place(state, parameters, identity, place))


@kernel
def draw_listed(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    topic: int,
    row: int,
    heartbeat: int,
    is_steady: bool,
    known: int,
    drawn: int,
    wanted: int,
) -> int:
    """Have `state.scratch`, which holds `drawn` already, hold up to `wanted` places without marks; how many it does."""
    past = list_unmarked(state, parameters, identity, topic, row, known, drawn)
    if not is_steady:
        listed, past = past, drawn
        for position in range(drawn, listed):
            place = int64(state.scratch[position])
            state.scratch[past] = place
            past += int64(reaches_place(state, parameters, time, identity, place))
    if past <= wanted:
        return past
    for turn in range(drawn, wanted):
        counter = heartbeat << 32 | topic << 16 | (_GOSSIP_BLOCKS + turn)
        words = draw_words(parameters, identity + parameters.first_id, _GOSSIP_PEERS, counter)
        pick = turn + (int64(words[0]) * (past - turn) >> 32)
        place = int64(state.scratch[pick])
        state.scratch[pick] = state.scratch[turn]
        state.scratch[turn] = place
    return wanted


@kernel
def list_unmarked(
    state: State, parameters: Parameters, identity: int, topic: int, row: int, known: int, first: int
) -> int:
    """List the places of known peers that have no marks in `state.scratch` from `first` on; returns where they end.

    Without branches, whose outcome would be as good as random.
    """
    last = first
    cold = count_cold_peers(state, parameters, identity, topic, row)
    start = cold_peers_start(state, parameters, identity, topic, row)
    for index in range(cold):
        place = cold_place_at(state, start, index)
        state.scratch[last] = place
        last += 1 - int64(state.marks[place])
    for index in range(known - cold):
        place = hot_place_at(state, parameters, identity, topic, index)
        state.scratch[last] = place
        last += 1 - int64(state.marks[place])
    return last
