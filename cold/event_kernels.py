"""The calendar of events: how records are put into it, and how those of a step are taken out, in order.

A step is a part of one bucket of time. `collect` takes its records out of the calendar. Most are copies of messages,
and most of those are duplicates: they are looked through in the order of memory, because nothing about duplicates
depends on their order, and only the first copies, with all that is no copy of a message, are sorted for
`gossip_kernels`.
"""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

from typing import Final

from cold.jit import inlined_kernel, int64, kernel, uint64
from cold.life_kernels import is_up
from cold.load_kernels import pass_answers
from cold.membership_kernels import arrival_place, mesh_row, partial_row
from cold.prefetch_kernels import prefetch
from cold.receipt_kernels import has_copy
from cold.state_kernels import (
    ABSENT,
    ARRIVAL_SHIFT,
    BEAT,
    BUNDLE_HOPS_SHIFT,
    BUNDLE_SLOT_SHIFT,
    BUNDLE_SOURCE_SHIFT,
    BUNDLED_ROW_SHIFT,
    BUNDLED_TIME_MASK,
    CHUNK,
    CHUNK_SHIFT,
    CROSSING_SINCE,
    DOWNLINK_FREE,
    DOWNLINK_RATE,
    DUE_COUNT,
    DUPLICATE,
    DUPLICATES,
    EDGE_EVENTS,
    EXPIRED,
    FIRST_OF_REQUESTS,
    FIRST_OWN,
    FIRST_RANK,
    FREE_COUNT,
    FREE_HEAD,
    HEARTBEAT_NS,
    HOPS_SHIFT,
    IDONTWANT,
    IDONTWANT_RECEIVED,
    IHAVE_ID,
    KIND_MASK,
    LATE_BUCKET,
    LATE_BYTES,
    MESSAGE,
    MESSAGE_BYTES,
    MESSAGE_FREE_COUNT,
    MESSAGE_FREE_HEAD,
    MESSAGE_HOPS_SHIFT,
    MESSAGE_SLOT_BITS,
    MESSAGE_TIME_MASK,
    MESSAGES_RECEIVED,
    MOST_BUNDLED,
    MOST_HOPS,
    MOST_ROWS,
    NEEDED,
    NEEDED_UNWANTED,
    NEVER,
    OUT_COUNT,
    OUT_IDS_COUNT,
    PAST_RANK,
    PHASE,
    PHASE_SHIFT,
    POSITION,
    RANK,
    RATE_SHIFT,
    ROW_SHIFT,
    SEEN,
    SLOT_MASK,
    SLOT_SHIFT,
    SOURCE_MASK,
    SOURCE_SHIFT,
    STEP_TIME_SHIFT,
    UNREACHABLE,
    UNWANTED,
    UNWANTED_BUNDLE,
    UNWANTED_FREE_COUNT,
    WORD,
    Int64Array,
    Parameters,
    State,
    lowest_bit,
)
from cold.unwanted_kernels import note_unwanted

#: How many records before its turn the processor is told of the row that a record will touch, and then of the rest.
FAR_AHEAD: Final = 20
AHEAD: Final = 10
NEAR_AHEAD: Final = 4
#: The same for copies of messages, most of which are done with at once.
COPIES_AHEAD: Final = 32
#: The same for copies that may be first ones: their receivers' ranks, and then their arrivals.
RANKS_AHEAD: Final = 16
ARRIVALS_AHEAD: Final = 8
#: So many records of a calendar of messages lie in a cache line.
COPIES_PER_LINE: Final = 4

_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)
_ALL: Final = uint64(0xFFFFFFFFFFFFFFFF)


@inlined_kernel
def push(state: State, parameters: Parameters, time: int, ends: int, what: int) -> None:
    """Put one record into the calendar. There must be a free chunk."""
    put(state, (time >> parameters.bucket_shift) & parameters.bucket_mask, time, ends, what)


@inlined_kernel
def put(state: State, number: int, time: int, ends: int, what: int) -> None:
    """Put one record into the bucket of a number. There must be a free chunk."""
    # An index that may be negative costs numba's code three instructions more.
    bucket = uint64(number)
    position = state.bucket_tail[bucket]
    if position & (CHUNK - 1) == 0:
        fresh = state.cursor[FREE_HEAD]
        state.cursor[FREE_HEAD] = state.chunk_next[fresh]
        state.cursor[FREE_COUNT] -= 1
        state.chunk_next[fresh] = -1
        if state.bucket_head[bucket] < 0:
            state.bucket_head[bucket] = fresh
        else:
            state.chunk_next[(position - 1) >> CHUNK_SHIFT] = fresh
        position = fresh << CHUNK_SHIFT
    place = uint64(position)
    state.pool[place, 0] = time
    state.pool[place, 1] = ends
    state.pool[place, 2] = what
    state.bucket_tail[bucket] = position + 1
    if time < state.bucket_first[bucket]:
        state.bucket_first[bucket] = time


@inlined_kernel
def push_message(state: State, parameters: Parameters, time: int, row: int, source: int, slot: int, hops: int) -> None:
    """Put one copy of a message for an identity of this shard into the calendar. There must be a free chunk."""
    push_note(state, parameters, time, slot, row << ROW_SHIFT | source << SOURCE_SHIFT | hops << MESSAGE_HOPS_SHIFT)


@kernel
def push_unwanted(state: State, parameters: Parameters, time: int, row: int, source: int, slot: int) -> None:
    """Put an IDONTWANT for an identity of this shard into the calendar. There must be a free chunk."""
    state.bucket_unwanted[(time >> parameters.bucket_shift) & parameters.bucket_mask] += 1
    push_note(state, parameters, time, slot, UNWANTED | row << ROW_SHIFT | source << SOURCE_SHIFT)


@inlined_kernel
def push_note(state: State, parameters: Parameters, time: int, slot: int, note: int) -> None:
    """Put a record, whose second word is `note` and a part of the slot, into the calendar of messages."""
    put_note(state, (time >> parameters.bucket_shift) & parameters.bucket_mask, time, slot, note)


@inlined_kernel
def put_note(state: State, number: int, time: int, slot: int, note: int) -> None:
    """Put a record, as `push_note` does, into the bucket of a number."""
    bucket = uint64(number)
    position = state.message_tail[bucket]
    if position & (CHUNK - 1) == 0:
        fresh = state.cursor[MESSAGE_FREE_HEAD]
        state.cursor[MESSAGE_FREE_HEAD] = state.message_chunk_next[fresh]
        state.cursor[MESSAGE_FREE_COUNT] -= 1
        state.message_chunk_next[fresh] = -1
        if state.message_head[bucket] < 0:
            state.message_head[bucket] = fresh
        else:
            state.message_chunk_next[(position - 1) >> CHUNK_SHIFT] = fresh
        position = fresh << CHUNK_SHIFT
    place = uint64(position)
    state.message_pool[place, 0] = time << MESSAGE_SLOT_BITS | slot & 0xFFFF
    state.message_pool[place, 1] = note | slot >> MESSAGE_SLOT_BITS
    state.message_tail[bucket] = position + 1
    if time < state.bucket_first[bucket]:
        state.bucket_first[bucket] = time


@kernel
def shard_of(state: State, peer: int) -> int:
    """The shard of an identity."""
    low, high = 0, len(state.cuts) - 2
    while low < high:
        middle = (low + high) >> 1
        if peer < state.cuts[middle + 1]:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def bucket_of_shard(parameters: Parameters, shard: int) -> int:
    """Where records for identities of another shard wait for the end of the window."""
    return parameters.bucket_mask + 1 + shard


@kernel
def is_own(parameters: Parameters, peer: int) -> bool:
    """Whether a HostId is that of an identity of this shard."""
    return uint64(peer - parameters.first_id) < uint64(parameters.rows)


@kernel
def travel(state: State, parameters: Parameters, arrival: int, ends: int, what: int) -> None:
    """Make a packet an event of its cold destination, here or on another shard."""
    peer, source = ends >> 32, ends & WORD
    if what & KIND_MASK != MESSAGE:
        if is_own(parameters, peer):
            push(state, parameters, arrival, ends, what)
        else:
            put(state, bucket_of_shard(parameters, shard_of(state, peer)), arrival, ends, what)
        return
    slot, hops = (what >> SLOT_SHIFT) & SLOT_MASK, (what >> HOPS_SHIFT) & MOST_HOPS
    if is_own(parameters, peer):
        push_message(state, parameters, arrival, peer - parameters.first_id, source, slot, hops)
    else:
        cross(state, parameters, arrival, peer, bundle_of(parameters, source, slot, hops, MESSAGE))


@inlined_kernel
def bundle_of(parameters: Parameters, source: int, slot: int, hops: int, kind: int) -> int:
    """A bundle, without any copies yet, of a message or an IDONTWANT of an identity of this shard."""
    number = source - parameters.first_id
    word = slot << BUNDLE_SLOT_SHIFT | number << BUNDLE_SOURCE_SHIFT
    return word | (hops << BUNDLE_HOPS_SHIFT if kind == MESSAGE else UNWANTED_BUNDLE)


@kernel
def cross(state: State, parameters: Parameters, arrival: int, peer: int, bundle: int) -> None:
    """Note a copy of a message, or an IDONTWANT, for an identity of another shard. There must be a free chunk.

    It joins the last bundle for that shard, if that is one of the same, or begins `bundle`.
    """
    shard = shard_of(state, peer)
    bucket = bucket_of_shard(parameters, shard)
    time = arrival - state.cursor[CROSSING_SINCE]
    if time > BUNDLED_TIME_MASK:
        put_alone(state, parameters, bucket, arrival, peer, bundle)
        return
    last = state.last_bundle[shard]
    word = state.message_pool[uint64(last >> 1), last & 1] if last >= 0 else int64(0)
    if last >= 0 and word & ~MOST_BUNDLED == bundle and word & MOST_BUNDLED < MOST_BUNDLED:
        state.message_pool[uint64(last >> 1), last & 1] = word + 1
    else:
        state.last_bundle[shard] = put_word_apart(state, bucket, bundle + 1)
    put_word_apart(state, bucket, (peer - state.cuts[shard]) << BUNDLED_ROW_SHIFT | time)
    if arrival < state.bucket_first[bucket]:
        state.bucket_first[bucket] = arrival


@inlined_kernel
def put_word_apart(state: State, bucket: int, word: int) -> int:
    """Put a word into the bucket of a shard; returns where it is. There must be a free chunk."""
    position = state.message_tail[bucket]
    if position & (2 * CHUNK - 1) == 0:
        fresh = state.cursor[MESSAGE_FREE_HEAD]
        state.cursor[MESSAGE_FREE_HEAD] = state.message_chunk_next[fresh]
        state.cursor[MESSAGE_FREE_COUNT] -= 1
        state.message_chunk_next[fresh] = -1
        if state.message_head[bucket] < 0:
            state.message_head[bucket] = fresh
        else:
            state.message_chunk_next[(position - 1) >> (CHUNK_SHIFT + 1)] = fresh
        position = fresh << (CHUNK_SHIFT + 1)
    state.message_pool[uint64(position >> 1), position & 1] = word
    state.message_tail[bucket] = position + 1
    return position


@kernel
def put_alone(state: State, parameters: Parameters, bucket: int, arrival: int, peer: int, bundle: int) -> None:
    """Put a copy for another shard that arrives too late for a bundle into the calendar's other pool."""
    source = (bundle >> BUNDLE_SOURCE_SHIFT & (MOST_ROWS - 1)) + parameters.first_id
    what = bundle >> BUNDLE_SLOT_SHIFT << SLOT_SHIFT | (bundle >> BUNDLE_HOPS_SHIFT & MOST_HOPS) << HOPS_SHIFT
    put(state, bucket, arrival, peer << 32 | source, what | (IDONTWANT if bundle & UNWANTED_BUNDLE != 0 else MESSAGE))


@kernel
def send_out(state: State, arrival: int, ends: int, marks: int, what: int, ids: int) -> None:
    """Note a packet for a hot host, with the next `ids` of ``state.out_ids``."""
    index = state.cursor[OUT_COUNT]
    state.cursor[OUT_COUNT] = index + 1
    state.out[index, 0] = arrival
    state.out[index, 1] = ends
    state.out[index, 2] = marks
    state.out[index, 3] = what
    state.out[index, 4] = state.cursor[OUT_IDS_COUNT]
    state.out[index, 5] = ids


@kernel
def insert(state: State, parameters: Parameters, records: Int64Array) -> None:
    """Put int64[n, 3] records into the calendar. There must be free chunks for them all."""
    for index in range(len(records)):
        time, ends, what = records[index, 0], records[index, 1], records[index, 2]
        if what & KIND_MASK == MESSAGE:
            slot, hops = (what >> SLOT_SHIFT) & SLOT_MASK, (what >> HOPS_SHIFT) & MOST_HOPS
            push_message(state, parameters, time, (ends >> 32) - parameters.first_id, ends & WORD, slot, hops)
        elif what & KIND_MASK == IDONTWANT:
            slot = (what >> SLOT_SHIFT) & SLOT_MASK
            push_unwanted(state, parameters, time, (ends >> 32) - parameters.first_id, ends & WORD, slot)
        else:
            push(state, parameters, time, ends, what)


@kernel
def set_needed(state: State, identity: int, needed: bool) -> None:
    """Note whether the next heartbeat of an identity has something to do."""
    rank = state.sender[identity, RANK] & WORD
    bit = _ONE << uint64(rank & 63)
    word = rank >> 6
    left = state.needed[word] | bit if needed else state.needed[word] & ~bit
    state.needed[word] = left
    bit = _ONE << uint64(word & 63)
    if left != _ZERO:
        state.needed_words[word >> 6] |= bit
    else:
        state.needed_words[word >> 6] &= ~bit


@kernel
def is_needed(state: State, identity: int) -> bool:
    """Whether the next heartbeat of an identity has something to do."""
    rank = state.sender[identity, RANK] & WORD
    return state.needed[rank >> 6] >> uint64(rank & 63) & _ONE != _ZERO


@kernel
def next_needed(state: State, rank: int, past: int) -> int:
    """First rank, from `rank` to before `past`, whose next heartbeat has something to do; `past` if none."""
    if rank >= past:
        return past
    word = rank >> 6
    left = state.needed[word] & (_ALL << uint64(rank & 63))
    if left == _ZERO:
        word = next_word(state, word + 1)
        if word < 0:
            return past
        left = state.needed[word]
    return min(word * 64 + lowest_bit(left), past)


@kernel
def next_word(state: State, word: int) -> int:
    """First of the words of `needed` from `word` on that has bits; -1 if none."""
    group = word >> 6
    if group >= len(state.needed_words):
        return -1
    left = state.needed_words[group] & (_ALL << uint64(word & 63))
    while left == _ZERO:
        group += 1
        if group == len(state.needed_words):
            return -1
        left = state.needed_words[group]
    return group * 64 + lowest_bit(left)


@kernel
def phase_of_rank(state: State, rank: int) -> int:
    """The time of the first heartbeat of the identity with a rank [ns]."""
    return state.sender[int64(state.identity_of_rank[rank]), PHASE]


@kernel
def first_rank(state: State, kind: int, offset: int) -> int:
    """The first rank in a kind of client with a phase at `offset` or later; one past its last rank if none."""
    if offset <= 0:
        return state.client[kind, FIRST_RANK]
    if offset >= state.client[kind, HEARTBEAT_NS]:
        return state.client[kind, PAST_RANK]
    column = offset >> state.client[kind, PHASE_SHIFT]
    low, high = int64(state.rank_of_phase[kind, column]), int64(state.rank_of_phase[kind, column + 1])
    while low < high:
        middle = (low + high) // 2
        if phase_of_rank(state, middle) < offset:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def next_time(state: State, parameters: Parameters, now: int) -> int:
    """Time of the earliest event or of the earliest heartbeat with something to do, not before `now`; NEVER if none."""
    first = NEVER
    turn = now >> parameters.bucket_shift
    for ahead in range(parameters.bucket_mask + 1):
        # What is in later buckets is later than all that this one's turn can have.
        if first <= (turn + ahead) << parameters.bucket_shift:
            break
        first = min(first, state.bucket_first[(turn + ahead) & parameters.bucket_mask])
    for kind in range(len(state.client)):
        past = state.client[kind, PAST_RANK]
        turn = now - now % state.client[kind, HEARTBEAT_NS]
        rank = next_needed(state, first_rank(state, kind, now - turn), past)
        if rank == past:
            rank = next_needed(state, state.client[kind, FIRST_RANK], past)
            turn += state.client[kind, HEARTBEAT_NS]
        if rank < past:
            first = min(first, turn + phase_of_rank(state, rank))
    return first


@kernel
def precedes(state: State, left: Int64Array, right: Int64Array) -> bool:
    """Whether the record `left` comes before `right` where both have the same time and destination.

    What comes from the network is first, by source; of one source as it was sent.
    """
    left_kind, right_kind = left[2] & KIND_MASK, right[2] & KIND_MASK
    if left_kind < FIRST_OWN and right_kind < FIRST_OWN:
        return left[1] < right[1]
    if left_kind != right_kind:
        return left_kind < right_kind
    if left_kind >= FIRST_OF_REQUESTS:
        return left[2] < right[2] or (left[2] == right[2] and left[1] < right[1])
    left_slot, right_slot = (left[2] >> SLOT_SHIFT) & SLOT_MASK, (right[2] >> SLOT_SHIFT) & SLOT_MASK
    return state.message_id[left_slot] < state.message_id[right_slot]


@kernel
def put_last_in_order(state: State, records: Int64Array, first: int, last: int) -> None:
    """Move the record `last` to its place among the ordered ones from `first` on."""
    time, ends, what = records[last, 0], records[last, 1], records[last, 2]
    hole = last
    while hole > first:
        before = records[hole - 1, 1] >> 32
        if before < ends >> 32:
            break
        if before == ends >> 32 and (
            records[hole - 1, 0] < time
            or (records[hole - 1, 0] == time and not precedes(state, records[hole], records[hole - 1]))
        ):
            break
        for column in range(3):
            records[hole, column] = records[hole - 1, column]
        records[hole - 1, 0] = time
        records[hole - 1, 1] = ends
        records[hole - 1, 2] = what
        hole -= 1


@kernel
def schedule(state: State, first: int, count: int, time: int, ends: int, what: int) -> int:
    """Put a record among those from `first` to `count` in `state.pending`, in order; returns how many there are."""
    state.pending[count, 0] = time
    state.pending[count, 1] = ends
    state.pending[count, 2] = what
    put_last_in_order(state, state.pending, first, count)
    return count + 1


@kernel
def count_digits(state: State, parameters: Parameters, identity: int) -> None:
    """Count one more record for an identity."""
    bits = parameters.digit_bits
    state.digits[0, (identity & ((1 << bits) - 1)) + 1] += 1
    state.digits[1, ((identity >> bits) & WORD) + 1] += 1


@kernel
def sort_due(state: State, parameters: Parameters, count: int) -> None:
    """Sort the first `count` records of `due` by destination, time, and `precedes`; equals keep their order.

    Two passes of a radix sort, whose digits `count_digits` has counted, bring them into the order of destinations; most
    destinations have one record.
    """
    bits = parameters.digit_bits
    mask = (1 << bits) - 1
    for digit in range(mask):
        state.digits[0, digit + 1] += state.digits[0, digit]
        state.digits[1, digit + 1] += state.digits[1, digit]
    for index in range(count):
        ends = state.due[index, 1]
        digit = ((ends >> 32) - parameters.first_id) & mask
        place = state.digits[0, digit]
        state.digits[0, digit] = place + 1
        state.spare[place, 0] = state.due[index, 0]
        state.spare[place, 1] = ends
        state.spare[place, 2] = state.due[index, 2]
    for index in range(count):
        ends = state.spare[index, 1]
        digit = (((ends >> 32) - parameters.first_id) >> bits) & mask
        place = state.digits[1, digit]
        state.digits[1, digit] = place + 1
        state.due[place, 0] = state.spare[index, 0]
        state.due[place, 1] = ends
        state.due[place, 2] = state.spare[index, 2]
    for index in range(1, count):
        if state.due[index - 1, 1] >> 32 == state.due[index, 1] >> 32:
            put_last_in_order(state, state.due, 0, index)


@kernel
def add_beats(state: State, parameters: Parameters, due_count: int, turn: int, low: int, high: int) -> int:
    """Put the heartbeats of the ranks from `low` to before `high` that have something to do into `due`.

    They are at `turn` and their phases. Returns how many records are in `due`.
    """
    rank = next_needed(state, low, high)
    while rank < high:
        identity = int64(state.identity_of_rank[rank])
        state.due[due_count, 0] = turn + state.sender[identity, PHASE]
        state.due[due_count, 1] = (identity + parameters.first_id) << 32
        state.due[due_count, 2] = BEAT
        due_count += 1
        count_digits(state, parameters, identity)
        rank = next_needed(state, rank + 1, high)
    return due_count


@kernel
def settle(state: State, parameters: Parameters, identity: int, bucket: int) -> None:
    """Let the duplicates of an earlier bucket than `bucket` take their time on the downlink."""
    late = state.identity[identity, LATE_BYTES]
    if late != 0 and state.identity[identity, LATE_BUCKET] < bucket:
        since = state.identity[identity, LATE_BUCKET] << parameters.bucket_shift
        pass_answers(state, parameters, since, identity)
        state.identity[identity, DOWNLINK_FREE] = max(state.identity[identity, DOWNLINK_FREE], since) + (
            late * state.identity[identity, DOWNLINK_RATE] >> RATE_SHIFT
        )
        state.identity[identity, LATE_BYTES] = 0


@inlined_kernel
def note_late(state: State, parameters: Parameters, identity: int, slot: int, bucket: int) -> None:
    """Have a duplicate's bytes queue on the downlink behind the first copies of its bucket.

    What those of an earlier bucket take is added as `settle` does it, but without asking whether there are any, which
    is hard to predict: a downlink that is free since the beginning of that bucket is free at any time of this one.
    """
    late = state.identity[identity, LATE_BYTES]
    before = state.identity[identity, LATE_BUCKET]
    if before != bucket:
        if late != 0:
            pass_answers(state, parameters, before << parameters.bucket_shift, identity)
        state.identity[identity, DOWNLINK_FREE] = max(
            state.identity[identity, DOWNLINK_FREE], before << parameters.bucket_shift
        ) + (late * state.identity[identity, DOWNLINK_RATE] >> RATE_SHIFT)
        state.identity[identity, LATE_BUCKET] = bucket
        late = 0
    state.identity[identity, LATE_BYTES] = late + MESSAGE_BYTES + state.message_size[slot]


@inlined_kernel
def note_duplicate(
    state: State, parameters: Parameters, index: int, time: int, identity: int, source: int, slot: int
) -> None:
    """Make a duplicate the record `index` of `due`."""
    state.due[index, 0] = time
    state.due[index, 1] = (identity + parameters.first_id) << 32 | source
    state.due[index, 2] = slot << SLOT_SHIFT | DUPLICATE
    count_digits(state, parameters, identity)


@kernel
def look_through(state: State, parameters: Parameters, start: int, end: int, due_count: int) -> int:
    """Take the copies of messages in [start, end) out of their calendar; returns how many records are in `due` then.

    The first copy of a message at an identity, by time and source, becomes a record in `due`. The others are counted,
    and their bytes noted, in whatever order they come. An IDONTWANT is noted with its time: the identity has not yet
    come to it. Where members of meshes are scored, duplicates become records, too.
    """
    turn = start >> parameters.bucket_shift
    bucket = turn & parameters.bucket_mask
    columns = state.identity.shape[1]
    chunk = state.message_head[bucket]
    tail = state.message_tail[bucket]
    state.message_head[bucket] = -1
    state.message_tail[bucket] = 0
    first_new = due_count
    taken = told = expired = unreachable = duplicates = int64(0)
    while chunk >= 0:
        following = state.message_chunk_next[chunk]
        begin = int64(chunk) << CHUNK_SHIFT
        chunk_end = tail if following < 0 else begin + CHUNK
        # From a place in this chunk to the same place in the next one, and from the end of this chunk to its beginning.
        to_next = (int64(following) << CHUNK_SHIFT) - begin if following >= 0 else int64(0)
        to_beginning = to_next - CHUNK if following >= 0 else int64(0)
        for position in range(begin, chunk_end):
            if position & (COPIES_PER_LINE - 1) == 0:
                prefetch(state.message_pool, 2 * (position + to_next))
            far = position + COPIES_AHEAD
            if far >= chunk_end:
                far += to_beginning
            prefetch(state.identity, (state.message_pool[uint64(far), 1] >> ROW_SHIFT & (MOST_ROWS - 1)) * columns)
            place = uint64(position)
            head, what = state.message_pool[place, 0], state.message_pool[place, 1]
            time = start + (((head >> MESSAGE_SLOT_BITS) - start) & MESSAGE_TIME_MASK)
            row, source = (what >> ROW_SHIFT) & (MOST_ROWS - 1), (what >> SOURCE_SHIFT) & SOURCE_MASK
            hops = (what >> MESSAGE_HOPS_SHIFT) & MOST_HOPS
            slot = (what & 15) << MESSAGE_SLOT_BITS | head & 0xFFFF
            if what & UNWANTED != 0:
                if time >= end:
                    push_unwanted(state, parameters, time, row, source, slot)
                elif is_up(state, parameters, row + parameters.first_id, time):
                    told += 1
                    note_unwanted(state, parameters, time, row, source, slot)
                else:
                    state.counters[EDGE_EVENTS] += 1
                    state.counters[UNREACHABLE] += 1
                continue
            if time >= end:
                push_message(state, parameters, time, row, source, slot, hops)
                continue
            taken += 1
            if not is_up(state, parameters, row + parameters.first_id, time):
                unreachable += 1
                continue
            if time >= state.message_expiry[slot]:
                expired += 1
                continue
            if state.identity[row, SEEN + (slot >> 6)] >> (slot & 63) & 1 == 0 and state.saturated[slot] == 0:
                # Negative, in contrast to the last words of records.
                state.due[due_count, 0] = (time - start) << STEP_TIME_SHIFT | source << ARRIVAL_SHIFT | hops
                state.due[due_count, 1] = row
                state.due[due_count, 2] = ~slot
                due_count += 1
                if state.topic_place[state.message_topic[slot]] < parameters.full_topics:
                    prefetch(state.arrival, state.arrival_start[slot] + row)
                else:
                    prefetch(
                        state.subscribed,
                        (row + parameters.first_id - parameters.hot_count) * state.subscribed.shape[1],
                    )
                continue
            duplicates += 1
            if parameters.scoring:
                note_duplicate(state, parameters, due_count, time, row, source, slot)
                due_count += 1
            note_late(state, parameters, row, slot, turn)
        state.message_chunk_next[chunk] = state.cursor[MESSAGE_FREE_HEAD]
        state.cursor[MESSAGE_FREE_HEAD] = chunk
        state.cursor[MESSAGE_FREE_COUNT] += 1
        chunk = following
    state.counters[EDGE_EVENTS] += taken + told
    state.counters[IDONTWANT_RECEIVED] += told
    state.counters[EXPIRED] += expired
    state.counters[UNREACHABLE] += unreachable
    state.counters[MESSAGES_RECEIVED] += taken - expired - unreachable
    state.counters[DUPLICATES] += duplicates
    return keep_first(state, parameters, start, first_new, due_count)


@kernel
def look_for_rank(state: State, parameters: Parameters, index: int) -> None:
    """Have the processor fetch the rank of the receiver that the record `index` of `due` names, where it has one."""
    row, slot = state.due[index, 1], ~state.due[index, 2]
    if slot >= 0:
        topic = state.message_topic[slot]
        if state.topic_place[topic] >= parameters.full_topics:
            prefetch(state.rank, partial_row(parameters, row, mesh_row(state, parameters, row, topic)))


@kernel
def keep_first(state: State, parameters: Parameters, start: int, first_new: int, due_count: int) -> int:
    """Make records of the first copies among those from `first_new` on in `due`; returns how many records are in `due`.

    A copy that may be first is there as time - start << STEP_TIME_SHIFT | source << ARRIVAL_SHIFT | hops, the
    receiver's row and ~slot; what else there is are records, and stays. Of two copies the later one is a duplicate.
    The first so far is kept in the message's place of `arrival`, and what was there, which is ABSENT or more, with the
    receiver's row.
    """
    turn = start >> parameters.bucket_shift
    duplicates = int64(0)
    kept = first_new
    for index in range(first_new, due_count):
        if parameters.most_memberships > parameters.full_topics and index + RANKS_AHEAD < due_count:
            look_for_rank(state, parameters, index + RANKS_AHEAD)
        near = index + ARRIVALS_AHEAD
        if near < due_count and state.due[near, 2] < 0:
            prefetch(state.arrival, arrival_place(state, parameters, state.due[near, 1], ~state.due[near, 2]))
        candidate, row, slot = state.due[index, 0], state.due[index, 1], ~state.due[index, 2]
        if slot < 0:
            state.due[kept, 0] = candidate
            state.due[kept, 1] = row
            state.due[kept, 2] = ~slot
            kept += 1
            continue
        where = arrival_place(state, parameters, row, slot)
        best = state.arrival[where]
        state.arrival[where] = min(candidate, best)
        if best >= ABSENT:
            state.due[kept, 0] = where
            state.due[kept, 1] = (best - ABSENT) << 32 | row
            state.due[kept, 2] = ~slot
            kept += 1
            continue
        duplicates += 1
        if parameters.scoring:
            late = max(candidate, best)
            time, source = start + (late >> STEP_TIME_SHIFT), (late >> ARRIVAL_SHIFT) & SOURCE_MASK
            note_duplicate(state, parameters, kept, time, row, source, slot)
            kept += 1
        note_late(state, parameters, row, slot, turn)
    state.counters[DUPLICATES] += duplicates
    for index in range(first_new, kept):
        if state.due[index, 2] >= 0:
            continue
        where, slot = state.due[index, 0], ~state.due[index, 2]
        row = state.due[index, 1] & WORD
        best = state.arrival[where]
        state.arrival[where] = ABSENT + (state.due[index, 1] >> 32)
        source, hops = (best >> ARRIVAL_SHIFT) & SOURCE_MASK, best & MOST_HOPS
        state.due[index, 0] = start + (best >> STEP_TIME_SHIFT)
        state.due[index, 1] = (row + parameters.first_id) << 32 | source
        state.due[index, 2] = hops << HOPS_SHIFT | slot << SLOT_SHIFT | MESSAGE
        count_digits(state, parameters, row)
    return kept


@kernel
def is_idle_id(state: State, parameters: Parameters, ends: int, slot: int) -> bool:
    """Whether an id of a cold identity's IHAVE is of a message that the receiver has."""
    if ends & WORD < parameters.hot_count:
        return False
    return state.saturated[slot] != 0 or has_copy(state, (ends >> 32) - parameters.first_id, slot)


@kernel
def collect(state: State, parameters: Parameters, start: int, end: int) -> bool:
    """Take the events in [start, end), a part of one bucket, out of the calendar into `due`, in order.

    There is a BEAT for each heartbeat, and a MESSAGE for each first copy of a message. An id of an IHAVE goes no
    further where its receiver got the message before this step.

    Returns False, with what is needed in ``cursor[NEEDED]`` and ``cursor[NEEDED_UNWANTED]`` and nothing changed, where
    `due` is too small, or too few entries of `unwanted` are free. There must be a free chunk in each pool.
    """
    turn = start >> parameters.bucket_shift
    bucket = turn & parameters.bucket_mask
    waiting = 0
    for kind in range(len(state.client)):
        heartbeat_ns = state.client[kind, HEARTBEAT_NS]
        phase_end = start % heartbeat_ns + end - start
        waiting += first_rank(state, kind, phase_end) - first_rank(state, kind, start % heartbeat_ns)
        waiting += first_rank(state, kind, phase_end - heartbeat_ns) - state.client[kind, FIRST_RANK]
    chunk = state.bucket_head[bucket]
    while chunk >= 0:
        waiting += CHUNK
        chunk = state.chunk_next[chunk]
    chunk = state.message_head[bucket]
    while chunk >= 0:
        waiting += CHUNK
        chunk = state.message_chunk_next[chunk]
    told = state.bucket_unwanted[bucket]
    if waiting > len(state.due) or told > state.cursor[UNWANTED_FREE_COUNT]:
        state.cursor[NEEDED] = waiting
        state.cursor[NEEDED_UNWANTED] = told
        return False

    for digit in range(state.digits.shape[1]):
        state.digits[0, digit] = 0
        state.digits[1, digit] = 0
    due_count = 0
    columns = state.identity.shape[1]
    if state.bucket_first[bucket] < end:
        state.bucket_first[bucket] = NEVER
        chunk = state.bucket_head[bucket]
        tail = state.bucket_tail[bucket]
        state.bucket_head[bucket] = -1
        state.bucket_tail[bucket] = 0
        while chunk >= 0:
            following = state.chunk_next[chunk]
            begin = int64(chunk) << CHUNK_SHIFT
            chunk_end = tail if following < 0 else begin + CHUNK
            for position in range(begin, chunk_end):
                far = position + FAR_AHEAD
                if following >= 0:
                    prefetch(state.pool, 3 * (position - begin + (int64(following) << CHUNK_SHIFT)))
                if far < chunk_end and state.pool[far, 2] & KIND_MASK == IHAVE_ID:
                    prefetch(state.identity, ((state.pool[far, 1] >> 32) - parameters.first_id) * columns)
                time, ends, what = state.pool[position, 0], state.pool[position, 1], state.pool[position, 2]
                if time >= end:
                    push(state, parameters, time, ends, what)
                    continue
                kind, slot = what & KIND_MASK, (what >> SLOT_SHIFT) & SLOT_MASK
                if kind == IHAVE_ID and is_idle_id(state, parameters, ends, slot):
                    continue
                state.due[due_count, 0] = time
                state.due[due_count, 1] = ends
                state.due[due_count, 2] = what
                due_count += 1
                count_digits(state, parameters, (ends >> 32) - parameters.first_id)
            state.chunk_next[chunk] = state.cursor[FREE_HEAD]
            state.cursor[FREE_HEAD] = chunk
            state.cursor[FREE_COUNT] += 1
            chunk = following
        state.bucket_unwanted[bucket] = 0
        due_count = look_through(state, parameters, start, end, due_count)

    for kind in range(len(state.client)):
        heartbeat_ns = state.client[kind, HEARTBEAT_NS]
        turn = start - start % heartbeat_ns
        low, high = first_rank(state, kind, start - turn), first_rank(state, kind, end - turn)
        due_count = add_beats(state, parameters, due_count, turn, low, high)
        turn += heartbeat_ns
        high = first_rank(state, kind, end - turn)
        due_count = add_beats(state, parameters, due_count, turn, state.client[kind, FIRST_RANK], high)
    sort_due(state, parameters, due_count)
    state.cursor[DUE_COUNT] = due_count
    state.cursor[POSITION] = 0
    return True
