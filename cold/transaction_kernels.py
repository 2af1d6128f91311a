"""Kernels of transactions: who pushes them to whom, who announces, asks and answers, as execution clients do.

`gossip_kernels.execute` hands the events of kinds TRANSACTION to GREETING and SUBMIT to OVERDUE to
`execute_transaction`, and tells of identities that come and go. The auxiliary word of such a record is the number of
the transaction in the run; its slot holds

    attempt << 9 | is it without << 8 | hops    of TRANSACTION_ASK, POOLED, FETCH and OVERDUE; hops of TRANSACTION
    announcements in the packet, in its first    of ANNOUNCEMENT

and of GREETING, what it is. A transaction has a slot of `State.mempool` for as long as it lives; a row there is what
an identity knows of it. Connections are those of an overlay of its own, and to hot hosts that have greeted the
identity. The number of a hot host's transaction follows from what the host says of it (`cold.transactions`), so that
all shards have the same; its row of `State.transaction` does not. ``docs/models.md`` has the model.
"""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

import numpy as np

from cold.distribution_kernels import draw_value
from cold.disturbance_kernels import can_reach
from cold.draw_kernels import draw_words
from cold.event_kernels import travel
from cold.jit import int64, kernel, uint64
from cold.life_kernels import is_silent, is_up
from cold.message_kernels import delay_bucket, mixed
from cold.purposes import ColdPurpose
from cold.request_kernels import (
    DATAGRAM_HEADERS,
    LARGEST_PART,
    MOST_PARTS,
    arrange,
    send_datagram,
    send_stream,
    take_downlink,
    wire_bytes,
)
from cold.state_kernels import (
    ANNOUNCEMENT,
    AUXILIARY_SHIFT,
    EDGE_EVENTS,
    FETCH,
    GREETING,
    HOT_NUMBERS,
    KIND_MASK,
    NEVER,
    OUT_IDS_COUNT,
    OVERDUE,
    PASS_ON,
    POOLED,
    SLOT_MASK,
    SLOT_SHIFT,
    SUBMIT,
    TELL_HASHES,
    TRANSACTION,
    TRANSACTION_ASK,
    WORD,
    Int64Array,
    Parameters,
    State,
    lowest_bit,
)

_VALIDATION: Final = int(ColdPurpose.TRANSACTION_VALIDATION)
_PUSH: Final = int(ColdPurpose.TRANSACTION_PUSH)
_FETCH: Final = int(ColdPurpose.TRANSACTION_FETCH)

# Columns of `transaction`.
TIME: Final = 0
"""When it is submitted [ns]."""
ORIGIN: Final = 1
"""HostId of whom it is submitted to."""
SIZE: Final = 2
"""Bytes, as a client's pool counts them."""
BLOBS: Final = 3
"""1 if it carries blobs, else 0."""
PUSHED_AT_ALL: Final = 4
"""1 if it may be pushed, 0 if it is announced only."""
SEQUENCE: Final = 5
"""Of a hot host's, the host's number of it; else 1 + its number here."""
SLOT: Final = 6
"""Where in `mempool` it is while it lives."""
TRANSACTION_COLUMNS: Final = 7

# Entries of `transaction_rules`, of which the first are ns.
LIFETIME: Final = 0
ANNOUNCE_INTERVAL: Final = 1
FETCH_DELAY: Final = 2
FETCH_TIMEOUT: Final = 3
MOST_PEERS: Final = 4
"""Peers of the identity that has most, without hot hosts."""
HOT_PEERS: Final = 5
"""The most hot hosts that are peers of one identity."""
FIRST_COLD: Final = 6
"""HostId of the first identity of all."""
TRANSACTION_RULES: Final = 7

# The first column of `mempool` is the state of the transaction at the identity: 1 + (time of receipt << HOPS_BITS |
# hops) of one that it has; -(4 * attempts + what it does about it) of one that it lacks. Three sets of peers follow,
# bits by place in the identity's row: who has it or has been told of it, who has offered it and was not asked yet, who
# is to be told.
STATUS: Final = 0
KNOWN: Final = 1
HOPS_BITS: Final = 8
MOST_HOPS: Final = 255
IDLE: Final = 0
WAITING: Final = 1
FETCHING: Final = 2

# Columns of `untold`: when the identity tells next [ns], and the first of the words with a bit for each slot of which
# it has somebody to tell.
TELLS_AT: Final = 0
UNTOLD_SLOTS: Final = 1

# Columns of `transaction_load`.
SENT: Final = 0
RECEIVED: Final = 1
LOADS: Final = 2

# The slot of a record.
WITHOUT: Final = 1 << 8
ATTEMPT_SHIFT: Final = 9
ATTEMPT_MASK: Final = 0x7FF
#: Of a TRANSACTION_ASK of a hot host, in place of hops: it is the first of those of its datagram.
FIRST_ASKED: Final = 1
# Of a GREETING.
GREETS: Final = 0
ANSWERS: Final = 1
LEAVES: Final = 2

#: Columns of `transaction_counts`.
TRANSACTION_COUNTS: Final = (
    "pushed",
    "announced",
    "asked",
    "served",
    "unserved",
    "timeouts",
    "got_pushed",
    "got_fetched",
    "duplicates",
    "late",
    "unsubmitted",
    "strangers",
    "hops",
)
(
    PUSHED,
    ANNOUNCED,
    ASKED,
    SERVED,
    UNSERVED,
    TIMEOUTS,
    GOT_PUSHED,
    GOT_FETCHED,
    DUPLICATE_COPIES,
    LATE,
    UNSUBMITTED,
    STRANGERS,
    HOPS_SUM,
) = range(len(TRANSACTION_COUNTS))

#: Bytes of a message's frame: header, two MACs, and what the message's id, lists and padding add (devp2p, rlpx.md).
FRAME_BYTES: Final = 64
#: Of an announced transaction: a type, a size, a hash (EIP-5793); of one that is asked for, its hash (EIP-2464).
ANNOUNCEMENT_BYTES: Final = 38
HASH_BYTES: Final = 33
#: Of a Status message's contents (devp2p, caps/eth.md).
GREETING_BYTES: Final = 90
#: Most hashes of one packet, and transactions that wait to be announced: geth's limit of a request.
MOST_HASHES: Final = 256

#: Datagrams to and from hot hosts: what each type adds to the headers.
CARRIER_BODY: Final = 44
#: Nothing larger is pushed: without blobs nothing is, as `cold.transaction_section` has it.
MOST_PUSHED: Final = 128 * 2**10
ASK_BODY: Final = 2
HASH_SIZE: Final = 32

_WORD_BITS: Final = uint64(32)
_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)
_SIGN: Final = uint64(1 << 63)
_SECOND: Final = uint64(0xD1B54A32D192ED03)


@kernel
def row_of(state: State, number: int) -> int:
    """The row of `State.transaction` of a transaction that this shard has heard of."""
    if number < HOT_NUMBERS:
        return number
    low, high = 0, state.hot_number.shape[1] - 1
    while low < high:
        middle = (low + high) // 2
        if state.hot_number[0, middle] < number:
            low = middle + 1
        else:
            high = middle
    return state.hot_number[1, low]


@kernel
def slot_of(state: State, number: int) -> int:
    """The slot of a transaction that is not over."""
    return state.transaction[row_of(state, number), SLOT]


@kernel
def note(state: State, number: int, count: int) -> None:
    """Add one to a column of a transaction's counts."""
    state.transaction_counts[row_of(state, number), count] += 1


@kernel
def mempool_place(state: State, identity: int, number: int) -> int:
    """Where in all of `State.mempool` the row of an identity and a transaction begins."""
    return (identity * state.mempool.shape[1] + slot_of(state, number)) * state.mempool.shape[2]


@kernel
def words_of_peers(state: State) -> int:
    """How many words a set of peers has."""
    return (state.mempool.shape[2] - KNOWN) // 3


@kernel
def is_over(state: State, number: int, time: int) -> bool:
    """Whether a transaction's life is over."""
    return time >= state.transaction[row_of(state, number), TIME] + state.transaction_rules[LIFETIME]


@kernel
def has_bit(state: State, identity: int, slot: int, first: int, place: int) -> bool:
    """Whether a peer is in the set whose words begin at the column `first`."""
    return state.mempool[identity, slot, first + (place >> 6)] >> (place & 63) & 1 != 0


@kernel
def set_bit(state: State, identity: int, slot: int, first: int, place: int) -> None:
    """Put a peer into a set."""
    state.mempool[identity, slot, first + (place >> 6)] |= int64(1) << (place & 63)


@kernel
def clear_bit(state: State, identity: int, slot: int, first: int, place: int) -> None:
    """Take a peer out of a set."""
    state.mempool[identity, slot, first + (place >> 6)] &= ~(int64(1) << (place & 63))


@kernel
def count_cold(state: State, identity: int) -> int:
    """Number of an identity's connections to others."""
    return state.transaction_row[identity + 1] - state.transaction_row[identity]


@kernel
def count_places(state: State, identity: int) -> int:
    """Number of an identity's peers, and of the places for hot ones that are behind them."""
    return count_cold(state, identity) + state.transaction_rules[HOT_PEERS]


@kernel
def peer_at(state: State, identity: int, place: int) -> int:
    """HostId of the peer at a place, -1 where it is free."""
    cold = count_cold(state, identity)
    if place >= cold:
        return state.hot_peer[identity, place - cold]
    return int64(state.transaction_peers[state.transaction_row[identity] + place])


@kernel
def is_hot(state: State, host: int) -> bool:
    """Whether a HostId is that of a hot host."""
    return host < state.transaction_rules[FIRST_COLD]


@kernel
def reaches(state: State, parameters: Parameters, time: int, identity: int, place: int) -> bool:
    """Whether there is a peer at a place that can be reached."""
    peer = peer_at(state, identity, place)
    return peer >= 0 and can_reach(state, parameters, time, identity, peer)


@kernel
def hot_place(state: State, identity: int, host: int) -> int:
    """The place of a hot host, or, with -1 for the host, the first free one of those; -1 if there is none."""
    for number in range(state.transaction_rules[HOT_PEERS]):
        if state.hot_peer[identity, number] == host:
            return count_cold(state, identity) + number
    return -1


@kernel
def place_of(state: State, identity: int, peer: int) -> int:
    """The place of a peer: an identity must be one, of a hot host that is none it is -1."""
    if is_hot(state, peer):
        return hot_place(state, identity, peer)
    first = state.transaction_row[identity]
    low, high = first, state.transaction_row[identity + 1]
    while low < high:
        middle = (low + high) // 2
        if int64(state.transaction_peers[middle]) < peer:
            low = middle + 1
        else:
            high = middle
    return low - first


@kernel
def in_pool_at(state: State, parameters: Parameters, identity: int, number: int) -> int:
    """When a transaction that an identity has got is valid there [ns]; NEVER of one that it lacks."""
    status = state.mempool[identity, slot_of(state, number), STATUS]
    if status <= 0:
        return NEVER
    arrival = (status - 1) >> HOPS_BITS
    source = identity + parameters.first_id
    if state.transaction[row_of(state, number), ORIGIN] == source:
        return arrival
    if state.transaction_table[0] < 0:
        return arrival + state.transaction_table[1]
    words = draw_words(parameters, source, _VALIDATION, number)
    return arrival + draw_value(state.transaction_table, 0, uint64(words[0]) | uint64(words[1]) << _WORD_BITS)


@kernel
def keeps_quiet(state: State, parameters: Parameters, identity: int, number: int, time: int) -> bool:
    """Whether an identity tells nobody of a transaction, because it is another's and the identity is silent."""
    host = identity + parameters.first_id
    return state.transaction[row_of(state, number), ORIGIN] != host and is_silent(state, parameters, host, time)


@kernel
def send_packet(state: State, parameters: Parameters, time: int, identity: int, peer: int, size: int) -> int:
    """Send a message of `size` bytes; returns when its last byte arrives [ns], or -1 if it does not."""
    state.transaction_load[identity, SENT] += wire_bytes(size)
    return send_stream(state, parameters, time, identity, int64(state.node[peer]), size)


@kernel
def send_to_host(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    host: int,
    body: int,
    what: int,
    number: int,
    place: int,
    carried: int,
) -> None:
    """Send a hot host a datagram with a body of so many bytes, `carried` of them behind its fields.

    `place` and `carried` are the last two columns of `State.out`.
    """
    size = DATAGRAM_HEADERS + body
    state.transaction_load[identity, SENT] += size
    send_datagram(state, parameters, time, identity, host, size, what, row_of(state, number), place, carried)


@kernel
def tell_host(
    state: State, parameters: Parameters, time: int, identity: int, host: int, kind: int, number: int, contents: int
) -> None:
    """`send_about` for hot hosts: a transaction goes in as many datagrams as it needs, one after the other."""
    what = contents << SLOT_SHIFT | kind
    if kind == TRANSACTION_ASK:
        send_to_host(state, parameters, time, identity, host, ASK_BODY + HASH_SIZE, what, number, 0, 1)
        return
    left = int64(0)
    if kind == TRANSACTION or contents & WITHOUT == 0:
        left = state.transaction[row_of(state, number), SIZE]
    parts = max((left + LARGEST_PART - 1) // LARGEST_PART, 1)
    for part in range(parts):
        carried = min(left, LARGEST_PART)
        left -= carried
        place = part << 16 | parts
        send_to_host(state, parameters, time, identity, host, CARRIER_BODY + carried, what, number, place, carried)


@kernel
def send_about(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    peer: int,
    size: int,
    kind: int,
    number: int,
    contents: int,
) -> None:
    """Send a message about one transaction, whose record has `contents` in place of a slot."""
    if is_hot(state, peer):
        tell_host(state, parameters, time, identity, peer, kind, number, contents)
        return
    arrival = send_packet(state, parameters, time, identity, peer, size)
    if arrival >= 0:
        ends = peer << 32 | (identity + parameters.first_id)
        travel(state, parameters, arrival, ends, number << AUXILIARY_SHIFT | contents << SLOT_SHIFT | kind)


@kernel
def announce(state: State, parameters: Parameters, time: int, identity: int, place: int, count: int) -> None:
    """Announce the first `count` transactions of `state.listed` to a peer, as many in a packet as there may be."""
    peer = peer_at(state, identity, place)
    ends = peer << 32 | (identity + parameters.first_id)
    for first in range(0, count, MOST_HASHES):
        last = min(first + MOST_HASHES, count)
        if is_hot(state, peer):
            announce_to_host(state, parameters, time, identity, peer, place, first, last)
            continue
        size = FRAME_BYTES + (last - first) * ANNOUNCEMENT_BYTES
        arrival = send_packet(state, parameters, time, identity, peer, size)
        for position in range(first, last):
            number = state.listed[position]
            note(state, number, ANNOUNCED)
            set_bit(state, identity, slot_of(state, number), KNOWN, place)
            if arrival >= 0:
                contents = last - first if position == first else 0
                what = number << AUXILIARY_SHIFT | contents << SLOT_SHIFT | ANNOUNCEMENT
                travel(state, parameters, arrival, ends, what)


@kernel
def announce_to_host(
    state: State, parameters: Parameters, time: int, identity: int, host: int, place: int, first: int, last: int
) -> None:
    """Announce the transactions of `state.listed` from `first` to `last` to a hot host, in one datagram."""
    begin = state.cursor[OUT_IDS_COUNT]
    for position in range(first, last):
        number = state.listed[position]
        note(state, number, ANNOUNCED)
        set_bit(state, identity, slot_of(state, number), KNOWN, place)
        state.out_ids[begin + position - first] = uint64(row_of(state, number))
    count = last - first
    state.cursor[OUT_IDS_COUNT] = begin + count
    number = state.listed[first]
    send_to_host(state, parameters, time, identity, host, HASH_SIZE * count, ANNOUNCEMENT, number, begin, count)


@kernel
def put_in_order(state: State, count: int) -> None:
    """Put the first `count` of `state.listed` in order: those of hot hosts, whose slots are the last, by number."""
    for index in range(1, count):
        number = state.listed[index]
        if number < HOT_NUMBERS:
            continue
        hole = index
        while hole > 0 and state.listed[hole - 1] > number and state.listed[hole - 1] >= HOT_NUMBERS:
            state.listed[hole] = state.listed[hole - 1]
            hole -= 1
        state.listed[hole] = number


# Passing on.


@kernel
def relay(state: State, parameters: Parameters, time: int, identity: int, number: int, hops: int) -> None:
    """Push a valid transaction to the root of the number of peers that lack it, and have the others told of it."""
    if is_over(state, number, time) or keeps_quiet(state, parameters, identity, number, time):
        return
    slot, source = slot_of(state, number), identity + parameters.first_id
    candidates = 0
    for place in range(count_places(state, identity)):
        if not has_bit(state, identity, slot, KNOWN, place) and reaches(state, parameters, time, identity, place):
            state.scratch[candidates] = place
            candidates += 1
    pushes = 0
    if state.transaction[row_of(state, number), PUSHED_AT_ALL] != 0:
        while (pushes + 1) * (pushes + 1) <= candidates:
            pushes += 1
    words = draw_words(parameters, source, _PUSH, number << 8)
    for turn in range(pushes):
        if turn > 0 and turn & 3 == 0:
            words = draw_words(parameters, source, _PUSH, number << 8 | turn >> 2)
        pick = turn + (int64(words[turn & 3]) * (candidates - turn) >> 32)
        place = int64(state.scratch[pick])
        state.scratch[pick] = state.scratch[turn]
        set_bit(state, identity, slot, KNOWN, place)
        note(state, number, PUSHED)
        size = FRAME_BYTES + state.transaction[row_of(state, number), SIZE]
        peer = peer_at(state, identity, place)
        send_about(state, parameters, time, identity, peer, size, TRANSACTION, number, hops)
    untold = KNOWN + 2 * words_of_peers(state)
    for turn in range(pushes, candidates):
        place = int64(state.scratch[turn])
        set_bit(state, identity, slot, KNOWN, place)
        set_bit(state, identity, slot, untold, place)
    if pushes < candidates:
        state.untold[identity, UNTOLD_SLOTS + (slot >> 6)] |= int64(1) << (slot & 63)


@kernel
def count_untold(state: State, identity: int) -> int:
    """Of how many transactions an identity has somebody to tell."""
    count = int64(0)
    for word in range(UNTOLD_SLOTS, state.untold.shape[1]):
        left = uint64(state.untold[identity, word])
        while left != _ZERO:
            left &= left - _ONE
            count += 1
    return count


@kernel
def tell_hashes(state: State, parameters: Parameters, time: int, identity: int) -> None:
    """Announce to every peer what it is to be told of."""
    untold = KNOWN + 2 * words_of_peers(state)
    for place in range(count_places(state, identity)):
        count = 0
        for word in range(state.untold.shape[1] - UNTOLD_SLOTS):
            left = uint64(state.untold[identity, UNTOLD_SLOTS + word])
            while left != _ZERO:
                slot = word * 64 + lowest_bit(left)
                left &= left - _ONE
                if has_bit(state, identity, slot, untold, place):
                    clear_bit(state, identity, slot, untold, place)
                    state.listed[count] = state.transaction_in[slot]
                    count += 1
        if count > 0 and reaches(state, parameters, time, identity, place):
            put_in_order(state, count)
            announce(state, parameters, time, identity, place, count)
    for word in range(UNTOLD_SLOTS, state.untold.shape[1]):
        state.untold[identity, word] = 0


@kernel
def pass_on_transaction(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    number: int,
    hops: int,
    here: int,
    first: int,
    count: int,
) -> int:
    """Relay a transaction; what it announces may wait for more. Returns as `execute_transaction`."""
    before = count_untold(state, identity)
    relay(state, parameters, time, identity, number, hops)
    now = count_untold(state, identity)
    interval = state.transaction_rules[ANNOUNCE_INTERVAL]
    if now == before:
        return count
    if interval == 0 or now >= MOST_HASHES:
        tell_hashes(state, parameters, time, identity)
        return count
    if before == 0:
        state.untold[identity, TELLS_AT] = time + interval
        return arrange(state, parameters, time + interval, here << 32 | here, TELL_HASHES, first, count)
    return count


@kernel
def tell_pool(state: State, parameters: Parameters, time: int, identity: int, place: int) -> None:
    """Announce all valid transactions that are alive to a peer to which a connection begins."""
    count = 0
    for slot in range(state.mempool.shape[1]):
        number = state.transaction_in[slot]
        if (
            number >= 0
            and not is_over(state, number, time)
            and in_pool_at(state, parameters, identity, number) <= time
            and not keeps_quiet(state, parameters, identity, number, time)
        ):
            state.listed[count] = number
            count += 1
    put_in_order(state, count)
    announce(state, parameters, time, identity, place, count)


@kernel
def greet(state: State, parameters: Parameters, time: int, identity: int) -> None:
    """At the begin of a session: connections are new, so nobody knows what the other has; both sides announce all."""
    if state.transaction_rules[MOST_PEERS] == 0:
        return
    forget_untold(state, identity)
    for slot in range(state.mempool.shape[1]):
        status = state.mempool[identity, slot, STATUS]
        if status < 0:
            # Of another attempt, so that what is under way for this one is void.
            state.mempool[identity, slot, STATUS] = -4 * ((-status >> 2) + 1)
        for word in range(KNOWN, state.mempool.shape[2]):
            state.mempool[identity, slot, word] = 0
    ends = identity + parameters.first_id
    for place in range(count_places(state, identity)):
        if not reaches(state, parameters, time, identity, place):
            continue
        peer = peer_at(state, identity, place)
        if is_hot(state, peer):
            send_to_host(state, parameters, time, identity, peer, 0, GREETS << SLOT_SHIFT | GREETING, 0, 0, 0)
        else:
            arrival = send_packet(state, parameters, time, identity, peer, FRAME_BYTES + GREETING_BYTES)
            if arrival >= 0:
                travel(state, parameters, arrival, peer << 32 | ends, GREETING)
        tell_pool(state, parameters, time, identity, place)


@kernel
def forget_untold(state: State, identity: int) -> None:
    """Have an identity tell nobody of what it was about to tell."""
    if state.transaction_rules[MOST_PEERS] == 0:
        return
    first = KNOWN + 2 * words_of_peers(state)
    for word in range(state.untold.shape[1] - UNTOLD_SLOTS):
        left = uint64(state.untold[identity, UNTOLD_SLOTS + word])
        while left != _ZERO:
            slot = word * 64 + lowest_bit(left)
            left &= left - _ONE
            for column in range(first, state.mempool.shape[2]):
                state.mempool[identity, slot, column] = 0
        state.untold[identity, UNTOLD_SLOTS + word] = 0
    state.untold[identity, TELLS_AT] = NEVER


@kernel
def forget_known(state: State, identity: int, place: int) -> None:
    """Know no more what the peer at a place has."""
    for slot in range(state.mempool.shape[1]):
        clear_bit(state, identity, slot, KNOWN, place)


@kernel
def meet_host(state: State, parameters: Parameters, time: int, identity: int, host: int, contents: int) -> None:
    """Take a greeting of a hot host, which becomes a peer, if there is a place for it, or the farewell of one."""
    state.transaction_load[identity, RECEIVED] += DATAGRAM_HEADERS
    place = hot_place(state, identity, host)
    if contents == GREETS:
        if place < 0:
            place = hot_place(state, identity, -1)
        what = (LEAVES if place < 0 else ANSWERS) << SLOT_SHIFT | GREETING
        send_to_host(state, parameters, time, identity, host, 0, what, 0, 0, 0)
        if place >= 0:
            state.hot_peer[identity, place - count_cold(state, identity)] = host
            forget_known(state, identity, place)
            tell_pool(state, parameters, time, identity, place)
    elif contents == LEAVES and place >= 0:
        state.hot_peer[identity, place - count_cold(state, identity)] = -1
        words = words_of_peers(state)
        for slot in range(state.mempool.shape[1]):
            for which in range(3):
                clear_bit(state, identity, slot, KNOWN + which * words, place)


# Receiving.


@kernel
def hear(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    source: int,
    number: int,
    here: int,
    first: int,
    count: int,
) -> int:
    """Take an announcement. Returns as `execute_transaction`."""
    slot, place = slot_of(state, number), place_of(state, identity, source)
    set_bit(state, identity, slot, KNOWN, place)
    status = state.mempool[identity, slot, STATUS]
    if status > 0:
        return count
    set_bit(state, identity, slot, KNOWN + words_of_peers(state), place)
    if -status & 3 != IDLE:
        return count
    state.mempool[identity, slot, STATUS] = status - WAITING
    attempt = (-status >> 2) & ATTEMPT_MASK
    record = number << AUXILIARY_SHIFT | attempt << (ATTEMPT_SHIFT + SLOT_SHIFT) | FETCH
    return arrange(
        state, parameters, time + state.transaction_rules[FETCH_DELAY], here << 32 | here, record, first, count
    )


@kernel
def fetch_next(
    state: State, parameters: Parameters, time: int, identity: int, number: int, here: int, first: int, count: int
) -> int:
    """Ask a random one of those that offered a transaction and were not asked. Returns as `execute_transaction`."""
    slot = slot_of(state, number)
    offered = KNOWN + words_of_peers(state)
    attempt = -state.mempool[identity, slot, STATUS] >> 2
    candidates = 0
    for place in range(count_places(state, identity)):
        if has_bit(state, identity, slot, offered, place):
            if reaches(state, parameters, time, identity, place):
                state.scratch[candidates] = place
                candidates += 1
            else:
                clear_bit(state, identity, slot, offered, place)
    if candidates == 0:
        state.mempool[identity, slot, STATUS] = -4 * (attempt + 1)
        return count
    words = draw_words(parameters, here, _FETCH, number << 16 | attempt)
    place = int64(state.scratch[int64(words[0]) * candidates >> 32])
    clear_bit(state, identity, slot, offered, place)
    attempt += 1
    state.mempool[identity, slot, STATUS] = -(4 * attempt + FETCHING)
    note(state, number, ASKED)
    contents = (attempt & ATTEMPT_MASK) << ATTEMPT_SHIFT
    peer = peer_at(state, identity, place)
    size = FRAME_BYTES + HASH_BYTES
    send_about(state, parameters, time, identity, peer, size, TRANSACTION_ASK, number, contents)
    record = number << AUXILIARY_SHIFT | contents << SLOT_SHIFT | OVERDUE
    return arrange(
        state, parameters, time + state.transaction_rules[FETCH_TIMEOUT], here << 32 | here, record, first, count
    )


@kernel
def is_at(state: State, identity: int, number: int, activity: int, contents: int) -> bool:
    """Whether an identity lacks a transaction, and does this about it at the attempt that a record names."""
    status = state.mempool[identity, slot_of(state, number), STATUS]
    return (
        status <= 0
        and -status & 3 == activity
        and (-status >> 2) & ATTEMPT_MASK == (contents >> ATTEMPT_SHIFT) & ATTEMPT_MASK
    )


@kernel
def answer(
    state: State, parameters: Parameters, time: int, identity: int, asker: int, number: int, contents: int
) -> None:
    """Send a transaction that somebody asks for, or say that it is not there. Who is silent does neither."""
    contents &= ATTEMPT_MASK << ATTEMPT_SHIFT
    if keeps_quiet(state, parameters, identity, number, time):
        return
    if in_pool_at(state, parameters, identity, number) > time:
        note(state, number, UNSERVED)
        send_about(state, parameters, time, identity, asker, FRAME_BYTES, POOLED, number, contents | WITHOUT)
        return
    slot = slot_of(state, number)
    set_bit(state, identity, slot, KNOWN, place_of(state, identity, asker))
    note(state, number, SERVED)
    hops = next_hops(state, identity, number)
    size = FRAME_BYTES + state.transaction[row_of(state, number), SIZE]
    send_about(state, parameters, time, identity, asker, size, POOLED, number, contents | hops)


@kernel
def next_hops(state: State, identity: int, number: int) -> int:
    """Hops of the copies that an identity sends of a transaction that it has."""
    hops = (state.mempool[identity, slot_of(state, number), STATUS] - 1) & MOST_HOPS
    return min(hops + 1, MOST_HOPS)


@kernel
def take_copy(
    state: State,
    parameters: Parameters,
    received: int,
    identity: int,
    source: int,
    number: int,
    hops: int,
    how: int,
    here: int,
    first: int,
    count: int,
) -> int:
    """Take a whole transaction, whose last byte has come. Returns as `execute_transaction`."""
    slot = slot_of(state, number)
    set_bit(state, identity, slot, KNOWN, place_of(state, identity, source))
    if state.mempool[identity, slot, STATUS] > 0:
        note(state, number, DUPLICATE_COPIES)
        return count
    state.mempool[identity, slot, STATUS] = 1 + (received << HOPS_BITS | hops)
    note(state, number, how)
    state.transaction_counts[row_of(state, number), HOPS_SUM] += hops
    valid = in_pool_at(state, parameters, identity, number)
    return arrange(state, parameters, valid, here << 32 | here, number << AUXILIARY_SHIFT | PASS_ON, first, count)


@kernel
def take_in(state: State, parameters: Parameters, time: int, identity: int, size: int) -> int:
    """Count the bytes of a message with a transaction, and let them take their time; returns when they have [ns]."""
    wire = wire_bytes(size)
    state.transaction_load[identity, RECEIVED] += wire
    return take_downlink(state, parameters, time, identity, wire)


@kernel
def execute_transaction(
    state: State, parameters: Parameters, time: int, ends: int, what: int, first: int, count: int
) -> int:
    """Execute an event of transactions; returns how many events of the identity are in `state.pending` then.

    Those from `first` to `count` in `state.pending` are still to be executed.
    """
    kind = what & KIND_MASK
    here, source = ends >> 32, ends & WORD
    identity = here - parameters.first_id
    contents, number = (what >> SLOT_SHIFT) & SLOT_MASK, (what >> AUXILIARY_SHIFT) & WORD
    if kind == TELL_HASHES:
        if state.untold[identity, TELLS_AT] == time:
            tell_hashes(state, parameters, time, identity)
        return count
    if kind == GREETING:
        state.counters[EDGE_EVENTS] += 1
        if is_hot(state, source):
            meet_host(state, parameters, time, identity, source, contents)
            return count
        state.transaction_load[identity, RECEIVED] += wire_bytes(FRAME_BYTES + GREETING_BYTES)
        place = place_of(state, identity, source)
        forget_known(state, identity, place)
        tell_pool(state, parameters, time, identity, place)
        return count
    if kind < SUBMIT:
        state.counters[EDGE_EVENTS] += 1
        return receive(state, parameters, time, identity, source, kind, number, contents, here, first, count)
    if not is_up(state, parameters, here, time):
        if kind == SUBMIT:
            note(state, number, UNSUBMITTED)
        return count
    if is_over(state, number, time):
        return count
    if kind == SUBMIT:
        state.mempool[identity, slot_of(state, number), STATUS] = 1 + (time << HOPS_BITS)
        return pass_on_transaction(state, parameters, time, identity, number, 1, here, first, count)
    if kind == PASS_ON:
        if in_pool_at(state, parameters, identity, number) != time:
            return count
        hops = next_hops(state, identity, number)
        return pass_on_transaction(state, parameters, time, identity, number, hops, here, first, count)
    if not is_at(state, identity, number, WAITING if kind == FETCH else FETCHING, contents):
        return count
    if kind == OVERDUE:
        note(state, number, TIMEOUTS)
    return fetch_next(state, parameters, time, identity, number, here, first, count)


@kernel
def take_datagrams(
    state: State, parameters: Parameters, time: int, identity: int, kind: int, number: int, contents: int
) -> int:
    """Count the bytes of what a hot host has sent; a transaction's take their time. Returns when they have [ns]."""
    size = int64(0)
    if kind == ANNOUNCEMENT:
        if contents > 0:
            size = DATAGRAM_HEADERS + HASH_SIZE * contents
    elif kind == TRANSACTION_ASK:
        size = HASH_SIZE
        if contents & MOST_HOPS == FIRST_ASKED:
            size += DATAGRAM_HEADERS + ASK_BODY
    elif contents & WITHOUT != 0:
        size = DATAGRAM_HEADERS + CARRIER_BODY
    else:
        carried = state.transaction[row_of(state, number), SIZE]
        parts = (carried + LARGEST_PART - 1) // LARGEST_PART
        size = parts * (DATAGRAM_HEADERS + CARRIER_BODY) + carried
        state.transaction_load[identity, RECEIVED] += size
        return take_downlink(state, parameters, time, identity, size)
    state.transaction_load[identity, RECEIVED] += size
    return time


@kernel
def receive(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    source: int,
    kind: int,
    number: int,
    contents: int,
    here: int,
    first: int,
    count: int,
) -> int:
    """Take a message about a transaction. Returns as `execute_transaction`."""
    received = time
    if is_hot(state, source):
        received = take_datagrams(state, parameters, time, identity, kind, number, contents)
        if place_of(state, identity, source) < 0:
            note(state, number, STRANGERS)
            return count
    elif kind == ANNOUNCEMENT:
        if contents > 0:
            size = FRAME_BYTES + contents * ANNOUNCEMENT_BYTES
            state.transaction_load[identity, RECEIVED] += wire_bytes(size)
    elif kind == TRANSACTION_ASK:
        state.transaction_load[identity, RECEIVED] += wire_bytes(FRAME_BYTES + HASH_BYTES)
    elif contents & WITHOUT != 0:
        state.transaction_load[identity, RECEIVED] += wire_bytes(FRAME_BYTES)
    else:
        size = FRAME_BYTES + state.transaction[row_of(state, number), SIZE]
        received = take_in(state, parameters, time, identity, size)
    if is_over(state, number, time):
        note(state, number, LATE)
        return count
    if kind == ANNOUNCEMENT:
        return hear(state, parameters, time, identity, source, number, here, first, count)
    if kind == TRANSACTION_ASK:
        answer(state, parameters, time, identity, source, number, contents)
        return count
    if contents & WITHOUT != 0:
        if is_at(state, identity, number, FETCHING, contents):
            return fetch_next(state, parameters, time, identity, number, here, first, count)
        return count
    how = GOT_PUSHED if kind == TRANSACTION else GOT_FETCHED
    return take_copy(
        state, parameters, received, identity, source, number, contents & MOST_HOPS, how, here, first, count
    )


@kernel
def transaction_records(state: State) -> int:
    """The most records that one event can make because of transactions."""
    if state.transaction_rules[MOST_PEERS] == 0:
        return 0
    most = state.transaction_rules[MOST_PEERS] * (max(state.mempool.shape[1], MOST_HASHES) + 2) + 4
    pushed = (MOST_PUSHED + LARGEST_PART - 1) // LARGEST_PART
    return most + state.transaction_rules[HOT_PEERS] * (state.mempool.shape[1] + pushed + 2) + MOST_PARTS


@kernel
def transaction_ids(state: State) -> int:
    """The most hashes for hot hosts that one event can cause."""
    return state.transaction_rules[HOT_PEERS] * state.mempool.shape[1]


# Passes over all identities for one transaction.


@kernel
def begin_transaction(state: State, number: int) -> None:
    """Give a transaction its slot, of which nobody knows anything yet."""
    slot = slot_of(state, number)
    for identity in range(state.mempool.shape[0]):
        for column in range(state.mempool.shape[2]):
            state.mempool[identity, slot, column] = 0
    state.transaction_in[slot] = number


@kernel
def spread_of_transaction(state: State, number: int, first_id: int) -> tuple[Int64Array, int, int, int]:
    """What became of a transaction at the identities of a shard.

    Parameters
    ----------
    state
        Its slot is still that of the transaction.
    number
        Of the transaction.
    first_id
        HostId of the first identity.

    Returns
    -------
    counts
        int64[buckets]: histogram of the delays, as in `cold.results`.
    longest
        The largest delay, -1 if there is none [ns].
    first, second
        Sums of two hashes of each arrival, modulo 2**64; that at the origin counts.
    """
    slot = slot_of(state, number)
    origin, submitted = state.transaction[row_of(state, number), ORIGIN], state.transaction[row_of(state, number), TIME]
    named = mixed(uint64(0), _SIGN | uint64(number))
    longest = int64(-1)
    first, second = uint64(0), uint64(0)
    delays = np.empty(state.mempool.shape[0], dtype=np.int64)
    reached = 0
    for identity in range(state.mempool.shape[0]):
        status = state.mempool[identity, slot, STATUS]
        if status <= 0:
            continue
        hashed = mixed(mixed(named, uint64(first_id + identity)), uint64(status - 1))
        first += hashed
        second += mixed(hashed, _SECOND)
        if first_id + identity != origin:
            delays[reached] = ((status - 1) >> HOPS_BITS) - submitted
            longest = max(longest, delays[reached])
            reached += 1
    counts = np.zeros(delay_bucket(max(longest, 0)) + 1, dtype=np.int64)
    for index in range(reached):
        counts[delay_bucket(delays[index])] += 1
    return counts, longest, first, second
