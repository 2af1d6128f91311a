"""Kernels of fanouts: to whom a publisher sends what it publishes on a topic that it lacks, where it does not flood.

A fanout is a row of `State.fanout`, in a list of its identity: D peers that have the topic. `gossip_kernels.publish`
makes it, and each publication puts off its end; heartbeats take out who has gone, and fill it up. Where nobody ever
goes, heartbeats have nothing to do, and a fanout that is over is found when its identity publishes again.
"""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

from cold.disturbance_kernels import can_reach
from cold.draw_kernels import draw_words
from cold.jit import int64, kernel
from cold.membership_kernels import count_neighbours, first_peer, subscribes
from cold.purposes import ColdPurpose
from cold.receipt_kernels import client_of
from cold.state_kernels import FANOUT_FREE_COUNT, FANOUT_FREE_HEAD, D, Parameters, State

_DISCOVERY: Final = int(ColdPurpose.FANOUT)
_FANOUT_PEERS: Final = int(ColdPurpose.FANOUT_PEERS)

# Columns of `fanout`.
NEXT: Final = 0
"""The next row in the list, of the identity or of free rows."""
TOPIC: Final = 1
LAST_BEAT: Final = 2
"""Number of the heartbeat that ends it."""
COUNT: Final = 3
FIRST_PEER: Final = 4
"""The first of its peers' HostIds, in the order in which they were taken."""

#: Draws of four identities for each subscriber that is looked for.
BLOCKS_FOR_EACH: Final = 16


@kernel
def find_fanout(state: State, identity: int, topic: int, number: int) -> int:
    """The row of an identity's fanout on a topic, or -1. Those that ended before its heartbeat `number` are freed."""
    found = before = int64(-1)
    row = int64(state.fanout_head[identity])
    while row >= 0:
        following = state.fanout[row, NEXT]
        if state.fanout[row, LAST_BEAT] < number:
            free_fanout(state, identity, before, row)
        else:
            if state.fanout[row, TOPIC] == topic:
                found = row
            before = row
        row = following
    return found


@kernel
def has_fanout(state: State, identity: int) -> bool:
    """Whether an identity has a fanout; where nobody has any, its list is not looked at, which is a random access."""
    return state.cursor[FANOUT_FREE_COUNT] < len(state.fanout) and state.fanout_head[identity] >= 0


@kernel
def free_fanout(state: State, identity: int, before: int, row: int) -> None:
    """Take a row, which follows the row `before` or is the first, from an identity's list."""
    if before < 0:
        state.fanout_head[identity] = state.fanout[row, NEXT]
    else:
        state.fanout[before, NEXT] = state.fanout[row, NEXT]
    state.fanout[row, NEXT] = state.cursor[FANOUT_FREE_HEAD]
    state.cursor[FANOUT_FREE_HEAD] = row
    state.cursor[FANOUT_FREE_COUNT] += 1


@kernel
def drop_fanouts(state: State, identity: int) -> None:
    """Forget all fanouts of an identity, which goes."""
    while has_fanout(state, identity):
        free_fanout(state, identity, -1, int64(state.fanout_head[identity]))


@kernel
def begin_fanout(state: State, parameters: Parameters, time: int, identity: int, topic: int, number: int) -> int:
    """Make an identity's fanout on a topic before its heartbeat `number`; returns the row. One must be free."""
    row = state.cursor[FANOUT_FREE_HEAD]
    state.cursor[FANOUT_FREE_HEAD] = state.fanout[row, NEXT]
    state.cursor[FANOUT_FREE_COUNT] -= 1
    state.fanout[row, NEXT] = state.fanout_head[identity]
    state.fanout_head[identity] = row
    state.fanout[row, TOPIC] = topic
    state.fanout[row, COUNT] = 0
    fill_fanout(state, parameters, time, identity, row, number << 1)
    return row


@kernel
def in_fanout(state: State, row: int, host: int) -> bool:
    """Whether a host is in a fanout."""
    for position in range(FIRST_PEER, FIRST_PEER + state.fanout[row, COUNT]):
        if state.fanout[row, position] == host:
            return True
    return False


@kernel
def take_into(state: State, row: int, host: int) -> None:
    """Put a host into a fanout, where there is room."""
    count = state.fanout[row, COUNT]
    state.fanout[row, FIRST_PEER + count] = host
    state.fanout[row, COUNT] = count + 1


@kernel
def fill_fanout(state: State, parameters: Parameters, time: int, identity: int, row: int, turn: int) -> bool:
    """Take random peers into a fanout below D, then others that are found; whether there were any.

    `turn` is a number that no other filling of it has.
    """
    topic, before = state.fanout[row, TOPIC], state.fanout[row, COUNT]
    wanted = state.client[client_of(state, identity), D] - before
    if wanted <= 0:
        return False
    first = first_peer(state, identity)
    candidates = 0
    for place in range(count_neighbours(state, identity)):
        peer = int64(state.neighbours[first + place]) & parameters.host_mask
        if (
            subscribes(state, parameters, peer, topic)
            and can_reach(state, parameters, time, identity, peer)
            and not in_fanout(state, row, peer)
        ):
            state.scratch[candidates] = peer
            candidates += 1
    source = identity + parameters.first_id
    for number in range(min(wanted, candidates)):
        words = draw_words(parameters, source, _FANOUT_PEERS, turn << 24 | topic << 8 | number)
        pick = number + (int64(words[0]) * (candidates - number) >> 32)
        peer = int64(state.scratch[pick])
        state.scratch[pick] = state.scratch[number]
        take_into(state, row, peer)
    if candidates < wanted:
        count = state.fanout[row, COUNT]
        for position in range(count):
            state.scratch[position] = state.fanout[row, FIRST_PEER + position]
        for position in range(count, discover(state, parameters, time, identity, topic, count, before + wanted)):
            take_into(state, row, int64(state.scratch[position]))
    return state.fanout[row, COUNT] > before


@kernel
def discover(
    state: State, parameters: Parameters, time: int, identity: int, topic: int, count: int, wanted: int
) -> int:
    """Find subscribers that are not among the first `count` hosts in `state.scratch`; returns how many there are then.

    It stops when there are as many as `wanted`, and looks for the same ones each time.
    """
    source, hosts = identity + parameters.first_id, len(state.subscribed)
    for block in range(BLOCKS_FOR_EACH * wanted):
        if count >= wanted:
            break
        words = draw_words(parameters, source, _DISCOVERY, topic << 32 | block)
        for word in words:
            host = parameters.hot_count + (int64(word) * hosts >> 32)
            if (
                count < wanted
                and host != source
                and subscribes(state, parameters, host, topic)
                and can_reach(state, parameters, time, identity, host)
            ):
                fresh = True
                for position in range(count):
                    if int64(state.scratch[position]) == host:
                        fresh = False
                if fresh:
                    state.scratch[count] = host
                    count += 1
    return count


@kernel
def list_fanout(
    state: State, parameters: Parameters, time: int, identity: int, topic: int, number: int, last: int
) -> int:
    """List the peers to which a publisher sends in `state.scratch`; returns how many they are.

    `number` is that of its next heartbeat; its fanout, which begins if there is none, ends at the heartbeat `last`.
    """
    row = find_fanout(state, identity, topic, number)
    if row < 0:
        row = begin_fanout(state, parameters, time, identity, topic, number)
    state.fanout[row, LAST_BEAT] = last
    count = state.fanout[row, COUNT]
    for position in range(count):
        state.scratch[position] = state.fanout[row, FIRST_PEER + position]
    return count


@kernel
def mend_fanouts(state: State, parameters: Parameters, time: int, identity: int, number: int) -> bool:
    """At the identity's heartbeat `number`: who has gone leaves its fanouts, and others come; whether any did."""
    mended = False
    before, row = int64(-1), int64(state.fanout_head[identity])
    while row >= 0:
        following = state.fanout[row, NEXT]
        if state.fanout[row, LAST_BEAT] <= number:
            free_fanout(state, identity, before, row)
            row = following
            continue
        kept = FIRST_PEER
        past = FIRST_PEER + state.fanout[row, COUNT]
        for position in range(FIRST_PEER, past):
            peer = state.fanout[row, position]
            if can_reach(state, parameters, time, identity, peer):
                state.fanout[row, kept] = peer
                kept += 1
        state.fanout[row, COUNT] = kept - FIRST_PEER
        if kept < past:
            mended = True
        if fill_fanout(state, parameters, time, identity, row, number << 1 | 1):
            mended = True
        before = row
        row = following
    return mended
