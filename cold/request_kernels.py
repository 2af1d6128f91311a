"""Kernels of requests and responses: who asks whom for what, how long it takes, and who is refused.

`gossip_kernels.execute` hands the events of kinds REQUEST, RESPONSE, HOT_RESPONSE, ASK, ANSWER and DEADLINE to
`execute_request`, and tells of identities that come and go. The slot of such a record says what is asked:

    chunks << 9 | attempt << 5 | protocol

and its auxiliary word is the asker's number of the request. What is asked for, and how large it is, is drawn for the
asker and that number, so that a request carries no more than that, and whoever needs to know draws it again. Streams
between identities are as those of TCP; hot hosts are sent datagrams (docs/gossip-datagram.md). ``docs/models.md`` has
the model.
"""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

from bridge.rng import draw_u64
from cold.distribution_kernels import draw_value, part_of
from cold.disturbance_kernels import can_reach, path_latency, path_loss
from cold.draw_kernels import draw_words, is_lost
from cold.event_kernels import push, schedule, send_out, settle, travel
from cold.jit import inlined_kernel, int64, kernel, uint64
from cold.life_kernels import is_up
from cold.load_kernels import downlink_free, uplink_free
from cold.membership_kernels import count_neighbours, first_peer, member_of, newest_link, node_of, node_of_member
from cold.message_kernels import delay_bucket
from cold.purposes import ColdPurpose
from cold.request_layout import (
    ABANDONED,
    ANSWERED,
    ASKED,
    ASKER,
    ASKS_SHIFT,
    ATTEMPT_MASK,
    ATTEMPT_SHIFT,
    ATTEMPTS,
    CHUNK_SIZE,
    CHUNKS,
    CHUNKS_RECEIVED,
    CHUNKS_SHIFT,
    COMMON_ROLES,
    COVERING_INTERVAL,
    EMPTY,
    FAILED,
    FIRST_ASKED,
    FIRST_REPRESENTATIVE,
    FREE_LETTER,
    FREE_LETTER_COUNT,
    FREE_OPEN,
    FREE_OPEN_COUNT,
    INDIVIDUAL,
    INTERVAL,
    JOIN_PROTOCOLS,
    LAST_ASKED,
    LATE,
    LATENCY_SUM,
    LETTER_BYTES,
    LETTER_NUMBER,
    LETTER_PART,
    LETTER_PARTS,
    LETTER_WHAT,
    LIMITED,
    LISTED_UNTIL,
    METER_FULL_AT,
    METER_KEY,
    METERS,
    NEXT,
    NEXT_DEADLINE,
    NEXT_PART,
    NUMBER,
    ON_JOIN,
    PAST_REPRESENTATIVE,
    PROTOCOL_MASK,
    PROTOCOLS,
    RECEIVED,
    REFUSED,
    REFUSED_CHUNKS,
    REQUEST_BYTES,
    REQUEST_SIZE,
    RESPONSE_BYTES,
    RETRIES,
    RETRY_DELAY,
    SERVED,
    SERVER,
    SERVICE,
    TIMEOUT,
    TIMEOUTS,
    TOKEN_NS,
    TOKENS,
    UNASKED,
    WEIGHT_SHIFT,
    WHAT,
)
from cold.state_kernels import (
    ANSWER,
    ASK,
    ASKED_SHIFT,
    AUXILIARY_SHIFT,
    BYTES_SENT,
    DEADLINE,
    DOWNLINK_FREE,
    DOWNLINK_RATE,
    EDGE_EVENTS,
    HOT_RESPONSE,
    KIND_MASK,
    NEVER,
    OUT_COUNT,
    PACKETS,
    PACKETS_LOST,
    RATE_SHIFT,
    REQUEST,
    REQUESTS,
    RESPONSE,
    SLOT_MASK,
    SLOT_SHIFT,
    STEP_END,
    STEP_START,
    UNREACHABLE,
    UPLINK_FREE,
    UPLINK_RATE,
    WORD,
    Int64Array,
    Parameters,
    State,
)

_ASK_START: Final = int(ColdPurpose.ASK_START)
_ASK_INTERVAL: Final = int(ColdPurpose.ASK_INTERVAL)
_SERVER: Final = int(ColdPurpose.REQUEST_SERVER)
_REQUEST_SIZE: Final = int(ColdPurpose.REQUEST_SIZE)
_CHUNKS: Final = int(ColdPurpose.RESPONSE_CHUNKS)
_CHUNK_SIZE: Final = int(ColdPurpose.CHUNK_SIZE)
_SERVICE: Final = int(ColdPurpose.SERVICE)
_STREAM_LOSS: Final = int(ColdPurpose.STREAM_LOSS)

#: Odd factors of a key's hash: 2**32 over the golden ratio (Knuth, The Art of Computer Programming, volume 3, section
#: 6.4), and those of MurmurHash3's finalizer.
_LOW_FACTOR: Final = uint64(0x9E3779B1)
_HIGH_FACTOR: Final = uint64(0x85EBCA6B)
_LAST_FACTOR: Final = uint64(0xC2B2AE35)
_HASH_SHIFT: Final = uint64(15)
_METER_SERVER_SHIFT: Final = 37

#: So many times four peers are drawn, before those that can be asked are listed.
_SERVER_BLOCKS: Final = 4
_SERVER_BLOCK_BITS: Final = 3

#: No interval between two requests of an identity is shorter [ns].
SHORTEST_INTERVAL: Final = 1000
#: Times of less than nine years have fewer bits, and there are less than 64 protocols.
_PROTOCOL_SHIFT: Final = 58

#: Bytes of data in a TCP segment, and of its headers: IPv4, TCP, timestamps (RFC 7323).
SEGMENT_DATA: Final = 1448
SEGMENT_HEADERS: Final = 52
#: RFC 6928.
INITIAL_WINDOW: Final = 10
#: So many segments in flight tell of a loss by the acknowledgements of the others (RFC 5681); fewer have to time out.
FAST_SEGMENTS: Final = 4
#: The least that Linux adds to the round-trip time before it takes a segment for lost (TCP_RTO_MIN) [ns].
RETRANSMISSION_NS: Final = 200_000_000
#: A segment that is lost so often in a row ends the stream.
MOST_ROUNDS: Final = 15
#: A response is no shorter: its result code.
LEAST_RESPONSE: Final = 1

#: Datagrams to hot hosts: IPv4 and UDP header and the header of the datagram, then what each type adds.
DATAGRAM_HEADERS: Final = 36
REQUEST_HEADER: Final = 7
RESPONSE_HEADER: Final = 14
LARGEST_PART: Final = 60_000
#: So many datagrams are sent for one response to a hot host; chunks that would need more are left out.
MOST_PARTS: Final = 1024

_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)
_WORD_BITS: Final = uint64(32)
_LOW_WORD: Final = uint64(WORD)
_UNIFORM_SHIFT: Final = uint64(11)
_UNIFORM_SCALE: Final = 2.0**-53


@kernel
def drawn(state: State, parameters: Parameters, table: int, entity: int, purpose: int, counter: int) -> int:
    """A value of the distribution whose table begins at `table`, keyed as every draw."""
    if state.request_table[table] < 0:
        return state.request_table[table + 1]
    words = draw_words(parameters, entity, purpose, counter)
    return draw_value(state.request_table, table, uint64(words[0]) | uint64(words[1]) << _WORD_BITS)


@kernel
def is_in_role(state: State, parameters: Parameters, host: int, bit: int) -> bool:
    """Whether an identity has a bit of `role`; hot hosts have all."""
    if host < parameters.hot_count or state.request_cursor[COMMON_ROLES] >> bit & 1 != 0:
        return True
    # Where there is one entry for all, they have no other bits than the common ones.
    return len(state.role) > 1 and state.role[host - parameters.hot_count] >> uint64(bit) & _ONE != _ZERO


# Who asks in the place of whom.


@kernel
def is_sampled(state: State, protocol: int) -> bool:
    """Whether some ask in the place of all."""
    return state.protocol[protocol, PAST_REPRESENTATIVE] > state.protocol[protocol, FIRST_REPRESENTATIVE]


@kernel
def find_representative(state: State, protocol: int, host: int) -> int:
    """Where in `State.representative` an identity is that asks in the place of others, or -1."""
    low, past = state.protocol[protocol, FIRST_REPRESENTATIVE], state.protocol[protocol, PAST_REPRESENTATIVE]
    high = past
    while low < high:
        middle = (low + high) >> 1
        if int64(state.representative[middle]) < host:
            low = middle + 1
        else:
            high = middle
    return low if low < past and int64(state.representative[low]) == host else int64(-1)


@kernel
def is_individual(state: State, parameters: Parameters, protocol: int, identity: int) -> bool:
    """Whether an identity stands for itself alone where others do not: it has met a hot host."""
    return is_sampled(state, protocol) and newest_link(state, parameters, identity) >= 0


@kernel
def asks(state: State, parameters: Parameters, identity: int, protocol: int) -> bool:
    """Whether an identity whose role it is to ask does so by itself."""
    return (
        not is_sampled(state, protocol)
        or newest_link(state, parameters, identity) >= 0
        or find_representative(state, protocol, identity + parameters.first_id) >= 0
    )


@kernel
def counted_in(state: State, parameters: Parameters, protocol: int, asker: int, number: int) -> int:
    """The row of `State.request_counts` in which what becomes of a request is counted."""
    if not is_sampled(state, protocol) or asker < parameters.hot_count or number & INDIVIDUAL != 0:
        return protocol
    return state.request_cursor[PROTOCOLS] + find_representative(state, protocol, asker)


@kernel
def weight_of(state: State, protocol: int, row: int) -> int:
    """How much a latency counts that is of a request counted in `row`: of a sampled protocol, in fixed point."""
    if not is_sampled(state, protocol):
        return int64(1)
    place = row - state.request_cursor[PROTOCOLS]
    return state.representative_weight[place] if place >= 0 else int64(1 << WEIGHT_SHIFT)


# Lists of rows.


@kernel
def newest_open(state: State, identity: int) -> int:
    """The row of the newest open request of an identity, or -1."""
    return (state.sender[identity, REQUESTS] & WORD) - 1


@kernel
def set_newest_open(state: State, identity: int, row: int) -> None:
    """Set what `newest_open` returns."""
    state.sender[identity, REQUESTS] = state.sender[identity, REQUESTS] & ~WORD | (row + 1)


@kernel
def next_number(state: State, identity: int) -> int:
    """The number of the request that an identity begins next."""
    return (state.sender[identity, REQUESTS] >> ASKED_SHIFT) & WORD


@kernel
def take_open(state: State, identity: int) -> int:
    """Put a free row at the front of an identity's open requests."""
    row = state.request_cursor[FREE_OPEN]
    state.request_cursor[FREE_OPEN] = state.open[row, NEXT]
    state.request_cursor[FREE_OPEN_COUNT] -= 1
    state.open[row, NEXT] = newest_open(state, identity)
    state.open[row, ASKER] = identity
    set_newest_open(state, identity, row)
    return row


@kernel
def find_open(state: State, identity: int, number: int) -> int:
    """The open request of an identity with a number, or -1."""
    row = newest_open(state, identity)
    while row >= 0 and state.open[row, NUMBER] != number:
        row = state.open[row, NEXT]
    return row


@kernel
def counted_open(state: State, parameters: Parameters, identity: int, row: int) -> int:
    """`counted_in` of an open request of an identity."""
    protocol, asker = state.open[row, WHAT] & PROTOCOL_MASK, identity + parameters.first_id
    return counted_in(state, parameters, protocol, asker, state.open[row, NUMBER])


@kernel
def close(state: State, parameters: Parameters, identity: int, row: int, outcome: int) -> None:
    """Take a request from an identity's list, and count how it ended."""
    state.request_counts[counted_open(state, parameters, identity, row), outcome] += 1
    following = state.open[row, NEXT]
    if newest_open(state, identity) == row:
        set_newest_open(state, identity, following)
    else:
        before = newest_open(state, identity)
        while state.open[before, NEXT] != row:
            before = state.open[before, NEXT]
        state.open[before, NEXT] = following
    # Its deadlines find nobody who waits.
    state.open[row, SERVER] = 0
    state.open[row, NEXT] = state.request_cursor[FREE_OPEN]
    state.request_cursor[FREE_OPEN] = row
    state.request_cursor[FREE_OPEN_COUNT] += 1


@kernel
def meter_key(identity: int, asker: int, protocol: int) -> int:
    """What a server, the identity, keeps a peer's limit under."""
    return 1 + (identity << _METER_SERVER_SHIFT | asker << ATTEMPT_SHIFT | protocol)


@kernel
def meter_place(meter: Int64Array, key: int) -> int:
    """Where to look for a key first."""
    low, high = uint64(key & WORD), uint64(key >> 32)
    hashed = ((low * _LOW_FACTOR & _LOW_WORD) + (high * _HIGH_FACTOR & _LOW_WORD)) & _LOW_WORD
    hashed = (hashed ^ hashed >> _HASH_SHIFT) * _LAST_FACTOR & _LOW_WORD
    # Of a product the high bits depend on all others.
    return int64(hashed * uint64(len(meter)) >> _WORD_BITS)


@kernel
def admits(state: State, identity: int, asker: int, protocol: int, time: int, tokens: int) -> bool:
    """Whether a server's limit lets a peer have what takes so many tokens; takes them, if it does.

    A row of a bucket that has been full since before the step is free: other servers are at other moments of the step.
    """
    capacity = state.protocol[protocol, TOKENS]
    if capacity == 0:
        return True
    key = meter_key(identity, asker, protocol)
    row = meter_place(state.meter, key)
    free = int64(-1)
    while state.meter[row, METER_KEY] != key and state.meter[row, METER_KEY] != 0:
        if free < 0 and state.meter[row, METER_FULL_AT] <= state.cursor[STEP_START]:
            free = row
        row = (row + 1) & (len(state.meter) - 1)
    full_at = max(state.meter[row, METER_FULL_AT], time) + tokens * state.protocol[protocol, TOKEN_NS]
    if full_at - time > capacity * state.protocol[protocol, TOKEN_NS]:
        return False
    if state.meter[row, METER_KEY] == 0:
        if free >= 0:
            row = free
        else:
            state.request_cursor[METERS] += 1
        state.meter[row, METER_KEY] = key
    state.meter[row, METER_FULL_AT] = full_at
    return True


@kernel
def drop_full_meters(meter: Int64Array, now: int) -> int:
    """Take the rows of buckets that are full at `now` out of the table, in place; returns how many are left.

    There must be a row without a key. It begins behind one, so that what moves is still to be looked at.

    A row that is taken out would end the search for those behind it: so the next one that may be looked for from there
    moves to its place, and from where that was on again (Knuth, The Art of Computer Programming, volume 3, section 6.4,
    algorithm R).
    """
    mask = len(meter) - 1
    count = empty = 0
    while meter[empty, METER_KEY] != 0:
        empty += 1
    for number in range(1, len(meter) + 1):
        row = (empty + number) & mask
        while meter[row, METER_KEY] != 0 and meter[row, METER_FULL_AT] <= now:
            hole, following = row, (row + 1) & mask
            while meter[following, METER_KEY] != 0:
                # As far as its search goes to where it is, it comes through the hole.
                if (following - meter_place(meter, meter[following, METER_KEY])) & mask >= (following - hole) & mask:
                    meter[hole, METER_KEY] = meter[following, METER_KEY]
                    meter[hole, METER_FULL_AT] = meter[following, METER_FULL_AT]
                    hole = following
                following = (following + 1) & mask
            meter[hole, METER_KEY] = 0
            meter[hole, METER_FULL_AT] = 0
        count += int64(meter[row, METER_KEY] != 0)
    return count


@kernel
def copy_meters(meter: Int64Array, longer: Int64Array) -> None:
    """Put all keys into an empty table with more rows."""
    for row in range(len(meter)):
        key = meter[row, METER_KEY]
        if key != 0:
            place = meter_place(longer, key)
            while longer[place, METER_KEY] != 0:
                place = (place + 1) & (len(longer) - 1)
            longer[place, METER_KEY] = key
            longer[place, METER_FULL_AT] = meter[row, METER_FULL_AT]


# Links.


@kernel
def segments_of(size: int) -> int:
    """TCP segments of a stream of so many bytes."""
    return max((size + SEGMENT_DATA - 1) // SEGMENT_DATA, 1)


@kernel
def wire_bytes(size: int) -> int:
    """Bytes on the wire of a stream of so many bytes, without repetitions."""
    return size + SEGMENT_HEADERS * segments_of(size)


@kernel
def rounds_of_loss(parameters: Parameters, source: int, counter: int, segments: int, probability: float) -> int:
    """How often in a row some of the segments have to be sent again; MOST_ROUNDS + 1 where that ends the stream.

    The quantile of a draw u: the smallest r with u < (1 - probability ** (r + 1)) ** segments.
    """
    words = draw_words(parameters, source, _STREAM_LOSS, counter)
    bits = uint64(words[0]) | uint64(words[1]) << _WORD_BITS
    uniform = (bits >> _UNIFORM_SHIFT) * _UNIFORM_SCALE
    still = probability
    for rounds in range(MOST_ROUNDS + 1):
        # (1 - still) ** segments by squaring: a library's power differs from machine to machine.
        arrived, factor, left = 1.0, 1.0 - still, segments
        while left > 0:
            if left & 1 == 1:
                arrived *= factor
            factor *= factor
            left >>= 1
        if uniform < arrived:
            return rounds
        still *= probability
    return MOST_ROUNDS + 1


@kernel
def send_stream(state: State, parameters: Parameters, time: int, identity: int, far: int, size: int) -> int:
    """Queue a stream of `size` bytes to the node `far` on the uplink.

    Returns when its last byte arrives [ns], or -1 if it does not.
    """
    source = identity + parameters.first_id
    near = node_of(state, identity)
    segments = segments_of(size)
    rate = state.sender[identity, UPLINK_RATE]
    free = uplink_free(state, parameters, time, identity) + (wire_bytes(size) * rate >> RATE_SHIFT)
    counter = state.sender[identity, PACKETS]
    state.sender[identity, PACKETS] = counter + 1
    state.counters[BYTES_SENT] += wire_bytes(size)
    state.sender[identity, UPLINK_FREE] = free
    latency = path_latency(state, parameters, free, near, far)
    round_trip = latency + path_latency(state, parameters, free, far, near)
    probability = path_loss(state, parameters, free, near, far)
    if probability >= 1.0:
        state.counters[PACKETS_LOST] += 1
        return -1
    arrival = free + latency
    if probability > 0.0:
        rounds = rounds_of_loss(parameters, source, counter, segments, probability)
        if rounds > MOST_ROUNDS:
            state.counters[PACKETS_LOST] += 1
            return -1
        lost = segments * probability
        repeated = int64(0)
        for number in range(rounds):
            repeated += max(int64(lost + 0.5), 1)
            lost *= probability
            if segments >= FAST_SEGMENTS:
                arrival += round_trip
            else:
                arrival += (round_trip + RETRANSMISSION_NS) << number
        state.counters[PACKETS_LOST] += repeated
        again = repeated * (SEGMENT_DATA + SEGMENT_HEADERS) if segments > 1 else repeated * wire_bytes(size)
        state.counters[BYTES_SENT] += again
        free += again * rate >> RATE_SHIFT
        arrival += again * rate >> RATE_SHIFT
        state.sender[identity, UPLINK_FREE] = free
    # Slow start: until a window takes as long to send as an acknowledgement to come back.
    window, left = INITIAL_WINDOW, segments - INITIAL_WINDOW
    while left > 0:
        wait = round_trip - (window * (SEGMENT_DATA + SEGMENT_HEADERS) * rate >> RATE_SHIFT)
        if wait <= 0:
            break
        arrival += wait
        window *= 2
        left -= window
    return arrival


@kernel
def take_downlink(state: State, parameters: Parameters, time: int, identity: int, size: int) -> int:
    """Let bytes that arrive take their time on the downlink, behind all before them; returns when they have [ns]."""
    settle(state, parameters, identity, time >> parameters.bucket_shift)
    received = downlink_free(state, parameters, time, identity) + (
        size * state.identity[identity, DOWNLINK_RATE] >> RATE_SHIFT
    )
    state.identity[identity, DOWNLINK_FREE] = received
    return received


@kernel
def send_datagram(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    peer: int,
    size: int,
    what: int,
    number: int,
    place: int,
    contents: int,
) -> None:
    """Send a hot host a datagram of `size` bytes; `place` and `contents` are the last two columns of `State.out`."""
    source = identity + parameters.first_id
    near, far = state.node[source], state.node[peer]
    duration = size * state.sender[identity, UPLINK_RATE] >> RATE_SHIFT
    free = uplink_free(state, parameters, time, identity) + duration
    state.sender[identity, UPLINK_FREE] = free
    counter = state.sender[identity, PACKETS]
    state.sender[identity, PACKETS] = counter + 1
    state.counters[BYTES_SENT] += size
    probability = path_loss(state, parameters, free, near, far)
    if probability > 0.0 and is_lost(parameters, source, counter, probability):
        state.counters[PACKETS_LOST] += 1
        return
    arrival = free + path_latency(state, parameters, free, near, far)
    index = state.cursor[OUT_COUNT]
    send_out(state, arrival, peer << 32 | source, counter << 32 | number, what, 0)
    state.out[index, 4] = place
    state.out[index, 5] = contents


# Asking.


@kernel
def is_first_link(state: State, parameters: Parameters, identity: int, link: int) -> bool:
    """Whether a known link is the newest of its hot peer, which may have one for each topic."""
    other = newest_link(state, parameters, identity)
    while other != link:
        if state.link[other, 0] == state.link[link, 0] and state.link[other, 3] == 1:
            return False
        other = int64(state.link[other, 2])
    return True


@kernel
def serves(state: State, parameters: Parameters, time: int, identity: int, peer: int, protocol: int) -> bool:
    """Whether a peer can be asked."""
    return is_in_role(state, parameters, peer, protocol) and can_reach(state, parameters, time, identity, peer)


@kernel
def list_hot_peers(state: State, parameters: Parameters, identity: int, first: int) -> int:
    """List the hot hosts that are known, newest first, in `state.scratch` from `first` on; returns where they end."""
    last = first
    link = newest_link(state, parameters, identity)
    while link >= 0:
        if state.link[link, 3] == 1 and is_first_link(state, parameters, identity, link):
            state.scratch[last] = state.link[link, 0]
            last += 1
        link = int64(state.link[link, 2])
    return last


@kernel
def list_servers(state: State, parameters: Parameters, time: int, identity: int, protocol: int) -> int:
    """List the peers that can be asked, cold ones by id, then hot ones, in `state.scratch`; returns how many.

    They are listed with their nodes, as `State.neighbours` has them.
    """
    first, count = first_peer(state, identity), 0
    for place in range(first, first + count_neighbours(state, identity)):
        member = int64(state.neighbours[place])
        if serves(state, parameters, time, identity, member & parameters.host_mask, protocol):
            state.scratch[count] = member
            count += 1
    # Nothing about a hot host keeps it from being asked but that packets do not pass.
    last = list_hot_peers(state, parameters, identity, count)
    for position in range(count, last):
        peer = int64(state.scratch[position])
        if serves(state, parameters, time, identity, peer, protocol):
            state.scratch[count] = member_of(state, parameters, peer)
            count += 1
    return count


@kernel
def drawn_first(state: State, parameters: Parameters, identity: int, slot: int, number: int) -> int:
    """Where in `State.neighbours` the peer is at which `draw_server` will look first, if no hot host is known."""
    attempt = (slot >> ATTEMPT_SHIFT) & ATTEMPT_MASK
    if attempt == 0:
        number = next_number(state, identity)
    counter = (number << 4 | attempt) << _SERVER_BLOCK_BITS
    words = draw_words(parameters, identity + parameters.first_id, _SERVER, counter)
    return first_peer(state, identity) + (int64(words[0]) * count_neighbours(state, identity) >> 32)


@kernel
def draw_server(state: State, parameters: Parameters, time: int, identity: int, protocol: int, counter: int) -> int:
    """Draw one of the peers that can be asked, each equally likely, with its node; -1 where there is none.

    Most can be asked of most: so peers are drawn until one can. After some that cannot, those that can are listed.
    """
    source = identity + parameters.first_id
    first, cold = first_peer(state, identity), count_neighbours(state, identity)
    hot = list_hot_peers(state, parameters, identity, 0)
    for block in range(_SERVER_BLOCKS if cold + hot > 0 else 0):
        for word in draw_words(parameters, source, _SERVER, counter << _SERVER_BLOCK_BITS | block):
            index = int64(word) * (cold + hot) >> 32
            if index < cold:
                member = int64(state.neighbours[first + index])
            else:
                member = member_of(state, parameters, int64(state.scratch[index - cold]))
            if serves(state, parameters, time, identity, member & parameters.host_mask, protocol):
                return member
    count = list_servers(state, parameters, time, identity, protocol)
    if count == 0:
        return -1
    words = draw_words(parameters, source, _SERVER, counter << _SERVER_BLOCK_BITS | _SERVER_BLOCKS)
    return int64(state.scratch[int64(words[0]) * count >> 32])


@kernel
def begin(state: State, parameters: Parameters, time: int, identity: int, protocol: int) -> int:
    """Open a request; returns its row."""
    number = next_number(state, identity)
    if is_individual(state, parameters, protocol, identity):
        number |= INDIVIDUAL
    state.sender[identity, REQUESTS] += 1 << ASKED_SHIFT
    row = take_open(state, identity)
    state.open[row, WHAT] = protocol
    state.open[row, NUMBER] = number
    state.open[row, FIRST_ASKED] = time
    state.request_counts[counted_open(state, parameters, identity, row), ASKED] += 1
    return row


@inlined_kernel
def deadline_of(state: State, row: int) -> int:
    """The last word of the DEADLINE of an open request's attempt."""
    return state.open[row, NUMBER] << AUXILIARY_SHIFT | state.open[row, WHAT] << SLOT_SHIFT | DEADLINE


@kernel
def is_awaited(state: State, parameters: Parameters, ends: int, what: int) -> bool:
    """Whether the answer to a request is awaited still at the DEADLINE with these words, of one of its attempts."""
    row = ends & WORD
    return (
        state.open[row, ASKER] == (ends >> 32) - parameters.first_id
        and state.open[row, NUMBER] == (what >> AUXILIARY_SHIFT) & WORD
        and state.open[row, WHAT] == (what >> SLOT_SHIFT) & SLOT_MASK
        and state.open[row, SERVER] != 0
    )


@kernel
def ask(state: State, parameters: Parameters, time: int, identity: int, row: int, member: int) -> None:
    """Send an attempt of an open request to a peer, given with its node, and set its deadline."""
    source, server = identity + parameters.first_id, member & parameters.host_mask
    what, number = state.open[row, WHAT], state.open[row, NUMBER]
    protocol = what & PROTOCOL_MASK
    state.open[row, SERVER] = server + 1
    state.open[row, LAST_ASKED] = time
    state.open[row, NEXT_PART] = 0
    counted = counted_in(state, parameters, protocol, source, number)
    state.request_counts[counted, ATTEMPTS] += 1
    deadline = time + state.protocol[protocol, TIMEOUT]
    if deadline < state.request_cursor[LISTED_UNTIL]:
        push(state, parameters, deadline, source << 32 | row, deadline_of(state, row))
    else:
        state.request_cursor[NEXT_DEADLINE] = min(state.request_cursor[NEXT_DEADLINE], deadline)
    record = number << AUXILIARY_SHIFT | what << SLOT_SHIFT
    size = drawn(state, parameters, state.protocol[protocol, REQUEST_SIZE], source, _REQUEST_SIZE, number)
    chunks = drawn(state, parameters, state.protocol[protocol, CHUNKS], source, _CHUNKS, number)
    record |= chunks << (SLOT_SHIFT + CHUNKS_SHIFT)
    if server < parameters.hot_count:
        wire = DATAGRAM_HEADERS + REQUEST_HEADER + size
        state.request_counts[counted, REQUEST_BYTES] += wire
        slot = (record >> SLOT_SHIFT) & SLOT_MASK
        send_datagram(state, parameters, time, identity, server, wire, slot << SLOT_SHIFT | REQUEST, number, 0, size)
        return
    state.request_counts[counted, REQUEST_BYTES] += wire_bytes(size)
    arrival = send_stream(state, parameters, time, identity, node_of_member(state, parameters, member), size)
    if arrival >= 0:
        travel(state, parameters, arrival, server << 32 | source, record | REQUEST)


@kernel
def ask_somebody(state: State, parameters: Parameters, time: int, identity: int, row: int) -> None:
    """Send an attempt to a random peer that can be asked; without one, the request has failed."""
    what, number = state.open[row, WHAT], state.open[row, NUMBER]
    protocol, attempt = what & PROTOCOL_MASK, (what >> ATTEMPT_SHIFT) & ATTEMPT_MASK
    member = draw_server(state, parameters, time, identity, protocol, number << 4 | attempt)
    if member < 0:
        close(state, parameters, identity, row, UNASKED if attempt == 0 else FAILED)
    else:
        ask(state, parameters, time, identity, row, member)


@kernel
def ask_everybody(state: State, parameters: Parameters, time: int, identity: int) -> None:
    """At the begin of a session: ask every peer what is asked on joining."""
    for protocol in range(state.request_cursor[PROTOCOLS]):
        if state.protocol[protocol, ON_JOIN] == 0 or not is_in_role(
            state, parameters, identity + parameters.first_id, ASKS_SHIFT + protocol
        ):
            continue
        if not asks(state, parameters, identity, protocol):
            continue
        for index in range(list_servers(state, parameters, time, identity, protocol)):
            member = int64(state.scratch[index])
            ask(state, parameters, time, identity, begin(state, parameters, time, identity, protocol), member)


@kernel
def abandon_requests(state: State, parameters: Parameters, identity: int) -> None:
    """At the end of a session: nobody waits any longer."""
    while state.request_cursor[PROTOCOLS] > 0 and newest_open(state, identity) >= 0:
        close(state, parameters, identity, newest_open(state, identity), ABANDONED)


@kernel
def arrange(state: State, parameters: Parameters, time: int, ends: int, what: int, first: int, count: int) -> int:
    """Have an event of the identity at work executed at `time`; returns how many there are in `state.pending` then."""
    if time < state.cursor[STEP_END]:
        return schedule(state, first, count, time, ends, what)
    push(state, parameters, time, ends, what)
    return count


@kernel
def try_again(
    state: State, parameters: Parameters, time: int, identity: int, row: int, here: int, first: int, count: int
) -> int:
    """After an attempt that has failed: the next one is an event of this identity, or the request has failed, too.

    Returns how many events of the identity there are in `state.pending` then.
    """
    what = state.open[row, WHAT]
    protocol, attempt = what & PROTOCOL_MASK, (what >> ATTEMPT_SHIFT) & ATTEMPT_MASK
    if attempt >= state.protocol[protocol, RETRIES]:
        close(state, parameters, identity, row, FAILED)
        return count
    state.open[row, WHAT] = (attempt + 1) << ATTEMPT_SHIFT | protocol
    state.open[row, SERVER] = 0
    record = state.open[row, NUMBER] << AUXILIARY_SHIFT | state.open[row, WHAT] << SLOT_SHIFT | ASK
    again = time + state.protocol[protocol, RETRY_DELAY]
    return arrange(state, parameters, again, here << 32 | here, record, first, count)


# Answering.


@kernel
def respond(state: State, parameters: Parameters, time: int, identity: int, asker: int, number: int, slot: int) -> None:
    """Send a response, of the chunks that `slot` says."""
    protocol, chunks = slot & PROTOCOL_MASK, slot >> CHUNKS_SHIFT
    listed = 0 if chunks == REFUSED_CHUNKS else chunks
    table = state.protocol[protocol, CHUNK_SIZE]
    is_hot = asker < parameters.hot_count
    size = int64(0)
    for chunk in range(listed):
        more = drawn(state, parameters, table, asker, _CHUNK_SIZE, number << 10 | chunk)
        if is_hot and size + more > MOST_PARTS * LARGEST_PART:
            slot = chunk << CHUNKS_SHIFT | slot & ((1 << CHUNKS_SHIFT) - 1)
            break
        size += more
    size = max(size, LEAST_RESPONSE)
    counted = counted_in(state, parameters, protocol, asker, number)
    state.request_counts[counted, LIMITED if chunks == REFUSED_CHUNKS else SERVED] += 1
    if is_hot:
        parts = (size + LARGEST_PART - 1) // LARGEST_PART
        for part in range(parts):
            carried = min(size - part * LARGEST_PART, LARGEST_PART)
            wire = DATAGRAM_HEADERS + RESPONSE_HEADER + carried
            state.request_counts[counted, RESPONSE_BYTES] += wire
            what = slot << SLOT_SHIFT | RESPONSE
            place = part << 16 | parts
            send_datagram(state, parameters, time, identity, asker, wire, what, number, place, carried)
        return
    state.request_counts[counted, RESPONSE_BYTES] += wire_bytes(size)
    arrival = send_stream(state, parameters, time, identity, int64(state.node[asker]), size)
    if arrival >= 0:
        ends = asker << 32 | (identity + parameters.first_id)
        travel(state, parameters, arrival, ends, number << AUXILIARY_SHIFT | slot << SLOT_SHIFT | RESPONSE)


@kernel
def response_size(state: State, parameters: Parameters, asker: int, number: int, slot: int) -> int:
    """Bytes of the response of an identity to an identity."""
    protocol, chunks = slot & PROTOCOL_MASK, slot >> CHUNKS_SHIFT
    size = int64(0)
    if chunks != REFUSED_CHUNKS:
        for chunk in range(chunks):
            size += drawn(
                state, parameters, state.protocol[protocol, CHUNK_SIZE], asker, _CHUNK_SIZE, number << 10 | chunk
            )
    return max(size, LEAST_RESPONSE)


@kernel
def receive_request(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    asker: int,
    number: int,
    slot: int,
    here: int,
    first: int,
    count: int,
) -> int:
    """Take a request: refuse it, answer at once, or later. Returns as `try_again`."""
    protocol, chunks = slot & PROTOCOL_MASK, slot >> CHUNKS_SHIFT
    state.request_counts[counted_in(state, parameters, protocol, asker, number), RECEIVED] += 1
    if not is_in_role(state, parameters, here, protocol) or not admits(
        state, identity, asker, protocol, time, max(chunks, 1)
    ):
        slot |= REFUSED_CHUNKS << CHUNKS_SHIFT
        respond(state, parameters, time, identity, asker, number, slot)
        return count
    attempt = (slot >> ATTEMPT_SHIFT) & ATTEMPT_MASK
    service = drawn(state, parameters, state.protocol[protocol, SERVICE], asker, _SERVICE, number << 4 | attempt)
    if service == 0:
        respond(state, parameters, time, identity, asker, number, slot)
        return count
    record = number << AUXILIARY_SHIFT | slot << SLOT_SHIFT | ANSWER
    return arrange(state, parameters, time + service, here << 32 | asker, record, first, count)


@kernel
def receive_response(
    state: State,
    parameters: Parameters,
    received: int,
    identity: int,
    server: int,
    number: int,
    slot: int,
    here: int,
    first: int,
    count: int,
) -> int:
    """Take a response whose last byte has come. Returns as `try_again`."""
    protocol, chunks = slot & PROTOCOL_MASK, slot >> CHUNKS_SHIFT
    row = find_open(state, identity, number)
    counted = counted_in(state, parameters, protocol, here, number)
    if (
        row < 0
        or state.open[row, SERVER] != server + 1
        or state.open[row, WHAT] != slot & ((1 << CHUNKS_SHIFT) - 1)
        or received > state.open[row, LAST_ASKED] + state.protocol[protocol, TIMEOUT]
    ):
        state.request_counts[counted, LATE] += 1
        return count
    if chunks == REFUSED_CHUNKS:
        state.request_counts[counted, REFUSED] += 1
        return try_again(state, parameters, received, identity, row, here, first, count)
    latency = received - state.open[row, FIRST_ASKED]
    state.request_latency[protocol, delay_bucket(latency)] += weight_of(state, protocol, counted)
    state.request_counts[counted, LATENCY_SUM] += latency
    state.request_counts[counted, CHUNKS_RECEIVED] += chunks
    if chunks == 0:
        state.request_counts[counted, EMPTY] += 1
    close(state, parameters, identity, row, ANSWERED)
    return count


@kernel
def receive_part(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    server: int,
    letter: int,
    here: int,
    first: int,
    count: int,
) -> int:
    """Take a datagram of a hot host's response: the last part, if all before it have come, completes it."""
    slot, number = state.letter[letter, LETTER_WHAT], state.letter[letter, LETTER_NUMBER]
    part, parts = state.letter[letter, LETTER_PART], state.letter[letter, LETTER_PARTS]
    size = state.letter[letter, LETTER_BYTES]
    state.letter[letter, NEXT] = state.request_cursor[FREE_LETTER]
    state.request_cursor[FREE_LETTER] = letter
    state.request_cursor[FREE_LETTER_COUNT] += 1
    state.counters[EDGE_EVENTS] += 1
    if not is_up(state, parameters, here, time):
        state.counters[UNREACHABLE] += 1
        return count
    received = take_downlink(state, parameters, time, identity, size)
    row = find_open(state, identity, number)
    is_awaited = (
        row >= 0
        and state.open[row, SERVER] == server + 1
        and state.open[row, WHAT] == slot & ((1 << CHUNKS_SHIFT) - 1)
        and state.open[row, NEXT_PART] == part
    )
    if is_awaited:
        state.open[row, NEXT_PART] = part + 1
        if part + 1 < parts:
            return count
    elif part + 1 < parts:
        return count
    else:
        # The end of a response of which a part is missing: as good as none.
        row = -1
    if row < 0:
        state.request_counts[counted_in(state, parameters, slot & PROTOCOL_MASK, here, number), LATE] += 1
        return count
    return receive_response(state, parameters, received, identity, server, number, slot, here, first, count)


@kernel
def execute_request(
    state: State, parameters: Parameters, time: int, ends: int, what: int, first: int, count: int
) -> int:
    """Execute an event of requests; returns how many events of the identity are in `state.pending` then.

    Those from `first` to `count` in `state.pending` are still to be executed.
    """
    here, source = ends >> 32, ends & WORD
    identity = here - parameters.first_id
    kind, slot, number = what & KIND_MASK, (what >> SLOT_SHIFT) & SLOT_MASK, (what >> AUXILIARY_SHIFT) & WORD
    if kind == REQUEST:
        state.counters[EDGE_EVENTS] += 1
        return receive_request(state, parameters, time, identity, source, number, slot, here, first, count)
    if kind == RESPONSE:
        state.counters[EDGE_EVENTS] += 1
        size = wire_bytes(response_size(state, parameters, here, number, slot))
        received = take_downlink(state, parameters, time, identity, size)
        return receive_response(state, parameters, received, identity, source, number, slot, here, first, count)
    if kind == HOT_RESPONSE:
        return receive_part(state, parameters, time, identity, source, number, here, first, count)
    if kind == ANSWER:
        if is_up(state, parameters, here, time):
            respond(state, parameters, time, identity, source, number, slot)
        return count
    if kind == ASK:
        if slot >> ATTEMPT_SHIFT == 0:
            if is_up(state, parameters, here, time) and asks(state, parameters, identity, slot):
                ask_somebody(state, parameters, time, identity, begin(state, parameters, time, identity, slot))
            return count
        row = find_open(state, identity, number)
        if row >= 0:
            ask_somebody(state, parameters, time, identity, row)
        return count
    if not is_awaited(state, parameters, ends, what):
        return count
    state.request_counts[counted_in(state, parameters, slot & PROTOCOL_MASK, here, number), TIMEOUTS] += 1
    return try_again(state, parameters, time, identity, source, here, first, count)


@kernel
def request_records(state: State, parameters: Parameters) -> int:
    """The most records that one event can make beside those of gossip, because of requests."""
    if state.request_cursor[PROTOCOLS] == 0:
        return 0
    asked = 1 + state.request_cursor[JOIN_PROTOCOLS] * parameters.largest_row
    return 2 * asked + (MOST_PARTS if parameters.hot_count > 0 else 0)


@kernel
def has_request_room(state: State, parameters: Parameters, events: int) -> bool:
    """Whether there are free rows for what `events` of one identity can open."""
    return state.request_cursor[PROTOCOLS] == 0 or (
        state.request_cursor[FREE_OPEN_COUNT] >= opened_by(state, parameters, events)
        and 4 * (state.request_cursor[METERS] + events) <= 3 * len(state.meter)
    )


@kernel
def opened_by(state: State, parameters: Parameters, events: int) -> int:
    """The most requests that events of one identity can open."""
    return events * (1 + state.request_cursor[JOIN_PROTOCOLS] * parameters.largest_row)


# When requests are due.


@kernel
def host_of_row(first_host: int, hosts: Int64Array, row: int) -> int:
    """The HostId of a row of `Asking`."""
    return first_host + row if len(hosts) == 0 else hosts[row]


@kernel
def begin_intervals(
    state: State, key: int, first_host: int, hosts: Int64Array, protocol: int, next_ask: Int64Array
) -> None:
    """Draw when each identity asks first, as if all had asked for ever: int64[N]; NEVER for those that do not ask.

    Rows are those of `hosts`, int64[N], or, where that is empty, of all identities from `first_host` on.
    """
    for row in range(len(next_ask)):
        if next_ask[row] == NEVER:
            continue
        here = host_of_row(first_host, hosts, row)
        word = int64(draw_u64(key, here, _ASK_START, 2 * protocol))
        whole = draw_value(state.request_table, state.protocol[protocol, COVERING_INTERVAL], word)
        part = int64(draw_u64(key, here, _ASK_START, 2 * protocol + 1) >> _WORD_BITS)
        next_ask[row] = part_of(whole, part)


@kernel
def due_asks(
    state: State,
    key: int,
    first_host: int,
    hosts: Int64Array,
    protocol: int,
    next_ask: Int64Array,
    first: int,
    end: int,
    records: Int64Array,
) -> tuple[int, int]:
    """List the requests of a protocol that identities from row `first` on begin before `end`, in int64[n, 3] `records`.

    Returns how many there are, and the row to go on from when `records` is full, N when all are listed. `next_ask`,
    int64[N], goes on to the first interval that ends at `end` or later; `hosts` is as above. An interval's draw is that
    of when it begins, so that nobody need count them.
    """
    table = state.protocol[protocol, INTERVAL]
    count = 0
    for row in range(first, len(next_ask)):
        time = next_ask[row]
        while time < end:
            if count == len(records):
                next_ask[row] = time
                return count, row
            here = host_of_row(first_host, hosts, row)
            records[count, 0] = time
            records[count, 1] = here << 32 | here
            records[count, 2] = protocol << SLOT_SHIFT | ASK
            count += 1
            word = int64(draw_u64(key, here, _ASK_INTERVAL, protocol << _PROTOCOL_SHIFT ^ time))
            time += max(draw_value(state.request_table, table, word), SHORTEST_INTERVAL)
        next_ask[row] = time
    return count, len(next_ask)


@kernel
def due_deadlines(state: State, first_host: int, first: int, end: int, records: Int64Array) -> tuple[int, int]:
    """List the deadlines from LISTED_UNTIL to before `end` of open requests from row `first` on, as `due_asks`.

    Lowers NEXT_DEADLINE to the first one that is later.
    """
    since, following = state.request_cursor[LISTED_UNTIL], state.request_cursor[NEXT_DEADLINE]
    count = 0
    for row in range(first, len(state.open)):
        if state.open[row, SERVER] == 0:
            continue
        deadline = state.open[row, LAST_ASKED] + state.protocol[state.open[row, WHAT] & PROTOCOL_MASK, TIMEOUT]
        if deadline >= end:
            following = min(following, deadline)
        elif deadline >= since:
            if count == len(records):
                state.request_cursor[NEXT_DEADLINE] = following
                return count, row
            records[count, 0] = deadline
            records[count, 1] = (state.open[row, ASKER] + first_host) << 32 | row
            records[count, 2] = deadline_of(state, row)
            count += 1
    state.request_cursor[NEXT_DEADLINE] = following
    return count, len(state.open)
