"""Rows of blocks: what a shard's calendar has for identities of another, byte for byte, and back.

`write_rows` empties the bucket of a shard into the rows of a block, `take_rows` puts them into the calendar of the
shard that gets it, and `first_bad_word` and `first_bad_event` are what makes them safe to take. The format is in
``docs/formats.md``; numbers are big-endian, and put together byte by byte, which compilers turn into one instruction.
"""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

from typing import Final

import numpy as np

from cold.event_kernels import bucket_of_shard, push, push_message, push_unwanted
from cold.jit import inlined_kernel, int64, kernel, uint64
from cold.lacker_kernels import look_at_note, note_elsewhere
from cold.prefetch_kernels import prefetch
from cold.receipt_kernels import has_seen
from cold.request_layout import PROTOCOL_MASK
from cold.state_kernels import (
    AUXILIARY_SHIFT,
    BUNDLE_HOPS_SHIFT,
    BUNDLE_SLOT_SHIFT,
    BUNDLE_SOURCE_SHIFT,
    BUNDLED_ROW_SHIFT,
    BUNDLED_TIME_MASK,
    CHUNK,
    CHUNK_SHIFT,
    CROSSING_SINCE,
    FREE_COUNT,
    FREE_HEAD,
    GRAFT,
    GREETING,
    HOT_NUMBERS,
    IDONTWANT,
    IHAVE_ID,
    IWANT,
    KIND_MASK,
    LEAVE,
    MESSAGE,
    MESSAGE_FREE_COUNT,
    MESSAGE_FREE_HEAD,
    MOST_BUNDLED,
    MOST_HOPS,
    MOST_ROWS,
    NEVER,
    PRUNE,
    REQUEST,
    RESPONSE,
    SLOT_MASK,
    SLOT_SHIFT,
    TRANSACTION,
    UNWANTED_BUNDLE,
    WORD,
    Int64Array,
    Parameters,
    State,
    UInt8Array,
)

WORD_BYTES: Final = 8
EVENT_BYTES: Final = 22
#: How many events before its turn the processor is told of a receiver's row.
ROWS_AHEAD: Final = 16
#: The same of bundles.
BUNDLES_AHEAD: Final = 8

# What is wrong with a row.
BAD_DESTINATION: Final = 0
BAD_SOURCE: Final = 1
BAD_HOPS: Final = 2
BAD_MESSAGE: Final = 3
BAD_TIME: Final = 4
BAD_KIND: Final = 5
BAD_REFERENCE: Final = 6
BAD_PROTOCOL: Final = 7
BAD_TRANSACTION: Final = 8
BAD_COUNT: Final = 9
REASONS: Final = 10

_NUMBER: Final = MOST_ROWS - 1


@inlined_kernel
def put_bytes(data: UInt8Array, at: int, value: int, size: int) -> None:
    """Write a number of `size` bytes."""
    for place in range(size):
        data[uint64(at + place)] = (value >> (8 * (size - 1 - place))) & 255


@inlined_kernel
def put_word(data: UInt8Array, at: int, word: int) -> None:
    """Write a number of eight bytes."""
    for place in range(8):
        data[uint64(at + place)] = (word >> (56 - 8 * place)) & 255


@inlined_kernel
def get_word(data: UInt8Array, at: int) -> int:
    """Read a number of eight bytes, a signed one."""
    word = int64(0)
    for place in range(8):
        word = word << 8 | int64(data[uint64(at + place)])
    return word


@inlined_kernel
def get_bytes(data: UInt8Array, at: int, size: int) -> int:
    """Read a number of `size` bytes."""
    value = int64(0)
    for place in range(size):
        value = value << 8 | int64(data[uint64(at + place)])
    return value


@kernel
def count_waiting(state: State, parameters: Parameters, waiting: Int64Array) -> None:
    """Count what waits for identities of each shard: int64[shards, 3].

    That is words of copies of messages, other records, and the time of the first of all [ns], NEVER without any.
    """
    for shard in range(len(waiting)):
        bucket = bucket_of_shard(parameters, shard)
        words = events = int64(0)
        chunk = state.message_head[bucket]
        while chunk >= 0:
            following = state.message_chunk_next[chunk]
            words += state.message_tail[bucket] - (int64(chunk) << (CHUNK_SHIFT + 1)) if following < 0 else 2 * CHUNK
            chunk = following
        chunk = state.bucket_head[bucket]
        while chunk >= 0:
            following = state.chunk_next[chunk]
            events += state.bucket_tail[bucket] - (int64(chunk) << CHUNK_SHIFT) if following < 0 else CHUNK
            chunk = following
        waiting[shard, 0] = words
        waiting[shard, 1] = events
        waiting[shard, 2] = state.bucket_first[bucket]


@kernel
def place_of(state: State, slot: int, known: int) -> int:
    """The place of a slot in a dictionary, the first `known` of ``state.wanted``; the next one if it has none."""
    place = int64(state.place[slot])
    if place < 0:
        place = known
        state.place[slot] = place
        state.wanted[place] = slot
    return place


@kernel
def write_rows(state: State, parameters: Parameters, shard: int, start: int, data: UInt8Array, at: int) -> int:
    """Write all records for identities of a shard as rows, from `at` on, copies before others, and forget them.

    None is before `start`. The messages that they name get places in a dictionary: ``state.place`` has the place of
    each slot, -1 before, and ``state.wanted`` the slot of each place. Returns how many they are.
    """
    bucket = bucket_of_shard(parameters, shard)
    past, known = write_copies(state, bucket, start, data, at)
    known = write_events(state, parameters, bucket, state.cuts[shard], past, data, known)
    state.bucket_first[bucket] = NEVER
    state.last_bundle[shard] = -1
    return known


@kernel
def write_ids(state: State, told: UInt8Array, shard: int, known: int, data: UInt8Array, at: int) -> int:
    """Write the ids of a dictionary of `known` messages, from `at` on, and take their places away from them.

    Returns how many of them the shard has not been told of, as `told` of `cold.messages.MessageTable` has it.
    """
    untold = int64(0)
    for place in range(known):
        slot = int64(state.wanted[place])
        state.place[slot] = -1
        put_word(data, at + place * WORD_BYTES, state.message_id[slot])
        untold += 1 - int64(told[slot, shard])
    return untold


@kernel
def write_copies(state: State, bucket: int, start: int, data: UInt8Array, at: int) -> tuple[int, int]:
    """Write the words in a bucket; returns where they end, and how many messages have places in the dictionary."""
    known = left = int64(0)
    later = start - state.cursor[CROSSING_SINCE]
    chunk = state.message_head[bucket]
    tail = state.message_tail[bucket]
    state.message_head[bucket] = -1
    state.message_tail[bucket] = 0
    while chunk >= 0:
        following = state.message_chunk_next[chunk]
        begin = int64(chunk) << (CHUNK_SHIFT + 1)
        for position in range(begin, tail if following < 0 else begin + 2 * CHUNK):
            word = state.message_pool[uint64(position >> 1), position & 1]
            if left > 0:
                left -= 1
                word -= later
            else:
                left = word & MOST_BUNDLED
                place = place_of(state, word >> BUNDLE_SLOT_SHIFT, known)
                known = max(known, place + 1)
                word = place << BUNDLE_SLOT_SHIFT | word & ((1 << BUNDLE_SLOT_SHIFT) - 1)
            put_word(data, at, word)
            at += WORD_BYTES
        state.message_chunk_next[chunk] = state.cursor[MESSAGE_FREE_HEAD]
        state.cursor[MESSAGE_FREE_HEAD] = chunk
        state.cursor[MESSAGE_FREE_COUNT] += 1
        chunk = following
    return at, known


@kernel
def write_events(
    state: State,
    parameters: Parameters,
    bucket: int,
    first_destination: int,
    at: int,
    data: UInt8Array,
    known: int,
) -> int:
    """Write the other records of a bucket as rows, from `at` on; returns what `write_copies` does."""
    chunk = state.bucket_head[bucket]
    tail = state.bucket_tail[bucket]
    state.bucket_head[bucket] = -1
    state.bucket_tail[bucket] = 0
    while chunk >= 0:
        following = state.chunk_next[chunk]
        begin = int64(chunk) << CHUNK_SHIFT
        for position in range(begin, tail if following < 0 else begin + CHUNK):
            ends, what = state.pool[position, 1], state.pool[position, 2]
            kind, reference = what & KIND_MASK, what >> SLOT_SHIFT & SLOT_MASK
            if is_about_message(kind):
                reference = place_of(state, reference, known)
                known = max(known, reference + 1)
            put_word(data, at, state.pool[position, 0])
            put_bytes(data, at + 8, (ends >> 32) - first_destination, 3)
            put_bytes(data, at + 11, (ends & WORD) - parameters.first_id, 3)
            put_bytes(data, at + 14, kind, 1)
            put_bytes(data, at + 15, reference, 3)
            put_bytes(data, at + 18, what >> AUXILIARY_SHIFT & WORD, 4)
            at += EVENT_BYTES
        state.chunk_next[chunk] = state.cursor[FREE_HEAD]
        state.cursor[FREE_HEAD] = chunk
        state.cursor[FREE_COUNT] += 1
        chunk = following
    return known


@inlined_kernel
def is_about_message(kind: int) -> bool:
    """Whether the reference of an event is a message."""
    return kind in (IWANT, IHAVE_ID) or is_copy(kind)


@inlined_kernel
def is_copy(kind: int) -> bool:
    """Whether an event is a copy of a message or an IDONTWANT, of a time that has no room in a word."""
    return kind in (MESSAGE, IDONTWANT)


@inlined_kernel
def is_about_request(kind: int) -> bool:
    """Whether the reference of an event says what is asked for, as `cold.request_kernels` has it."""
    return kind in (REQUEST, RESPONSE)


@inlined_kernel
def is_about_transaction(kind: int) -> bool:
    """Whether an event's auxiliary is a transaction, and its reference as `cold.transaction_kernels` has it."""
    return TRANSACTION <= kind <= GREETING


@inlined_kernel
def is_about_topic(kind: int) -> bool:
    """Whether the reference of an event is the index of a topic."""
    return kind in (LEAVE, GRAFT, PRUNE)


@kernel
def first_bad_word(data: UInt8Array, at: int, count: int, destinations: int, sources: int, messages: int) -> int:
    """Look for a word among `count`, from `at` on, that is no bundle from one of so many identities, or no copy of one.

    Returns REASONS times its number, and what is wrong with it; -1 if there is none.
    """
    index = int64(0)
    while index < count:
        word = get_word(data, at + index * WORD_BYTES)
        copies = word & MOST_BUNDLED
        if copies == 0 or copies >= count - index:
            return index * REASONS + BAD_COUNT
        if word >> BUNDLE_SOURCE_SHIFT & _NUMBER >= sources:
            return index * REASONS + BAD_SOURCE
        if word >> BUNDLE_SLOT_SHIFT & _NUMBER >= messages:
            return index * REASONS + BAD_MESSAGE
        if word & UNWANTED_BUNDLE != 0 and word >> BUNDLE_HOPS_SHIFT & MOST_HOPS != 0:
            return index * REASONS + BAD_HOPS
        index += 1
        for copy in range(index, index + copies):
            if get_word(data, at + copy * WORD_BYTES) >> BUNDLED_ROW_SHIFT & _NUMBER >= destinations:
                return copy * REASONS + BAD_DESTINATION
        index += copies
    return -1


@kernel
def first_bad_event(
    data: UInt8Array,
    at: int,
    count: int,
    destinations: int,
    sources: int,
    messages: int,
    topics: int,
    protocols: int,
    transactions: int,
    not_before: int,
) -> int:
    """Look for a row among `count`, from `at` on, that is no event between such identities; as `first_bad_word`."""
    for index in range(count):
        row = at + index * EVENT_BYTES
        kind, reference = get_bytes(data, row + 14, 1), get_bytes(data, row + 15, 3)
        reason = -1
        if get_word(data, row) < not_before:
            reason = BAD_TIME
        elif get_bytes(data, row + 8, 3) >= destinations:
            reason = BAD_DESTINATION
        elif get_bytes(data, row + 11, 3) >= sources:
            reason = BAD_SOURCE
        elif is_about_message(kind):
            if reference >= messages:
                reason = BAD_MESSAGE
            elif is_copy(kind) and get_bytes(data, row + 18, 4) > (MOST_HOPS if kind == MESSAGE else 0):
                reason = BAD_HOPS
        elif is_about_topic(kind):
            if reference >= topics:
                reason = BAD_REFERENCE
        elif not is_about_request(kind) and not is_about_transaction(kind):
            reason = BAD_KIND
        elif reference > SLOT_MASK:
            reason = BAD_REFERENCE
        elif is_about_request(kind):
            if reference & PROTOCOL_MASK >= protocols:
                reason = BAD_PROTOCOL
        elif kind != GREETING and transactions <= get_bytes(data, row + 18, 4) < HOT_NUMBERS:
            reason = BAD_TRANSACTION
        if reason >= 0:
            return index * REASONS + reason
    return -1


@kernel
def hot_numbers(data: UInt8Array, at: int, count: int) -> Int64Array:
    """Numbers of transactions of hot hosts that `count` rows of events from `at` on are about: int64[n], ascending."""
    found = np.empty(count, dtype=np.int64)
    used = 0
    for index in range(count):
        row = at + index * EVENT_BYTES
        kind, number = get_bytes(data, row + 14, 1), get_bytes(data, row + 18, 4)
        if is_about_transaction(kind) and kind != GREETING and number >= HOT_NUMBERS:
            found[used] = number
            used += 1
    return np.unique(found[:used])


@kernel
def take_rows(
    state: State,
    parameters: Parameters,
    data: UInt8Array,
    words: int,
    events: int,
    start: int,
    first_source: int,
    slots: Int64Array,
) -> tuple[int, int]:
    """Put the rows of a block into the calendar, in which there must be free chunks for them all.

    `slots` has the slot of each place in the dictionary, or -1: what is about such a message is dropped. `first_source`
    is the first of the sender's identities. Returns the time of the first event, NEVER without any, and how many have
    been dropped.
    """
    first, dropped = take_words(state, parameters, data, words, start, first_source, slots)
    columns = state.identity.shape[1]
    for index in range(events):
        at = words * WORD_BYTES + index * EVENT_BYTES
        # Whether the receiver of an id has the message stands in its row, of which hardly any is in a cache.
        if index + ROWS_AHEAD < events:
            prefetch(state.identity, columns * get_bytes(data, at + ROWS_AHEAD * EVENT_BYTES + 8, 3))
        time, kind, reference = get_word(data, at), get_bytes(data, at + 14, 1), get_bytes(data, at + 15, 3)
        row, source = get_bytes(data, at + 8, 3), get_bytes(data, at + 11, 3) + first_source
        auxiliary = get_bytes(data, at + 18, 4)
        if is_about_message(kind):
            reference = slots[reference]
            if reference < 0:
                dropped += 1
                continue
            state.last_reference[reference] = max(state.last_reference[reference], time)
            if kind == IHAVE_ID and has_seen(state, row, reference):
                continue
        first = min(first, time)
        if kind == MESSAGE:
            push_message(state, parameters, time, row, source, reference, auxiliary)
        elif kind == IDONTWANT:
            push_unwanted(state, parameters, time, row, source, reference)
        else:
            ends = (row + parameters.first_id) << 32 | source
            push(state, parameters, time, ends, auxiliary << AUXILIARY_SHIFT | reference << SLOT_SHIFT | kind)
    return first, dropped


@inlined_kernel
def look_at_bundle(
    state: State, parameters: Parameters, data: UInt8Array, words: int, index: int, first_source: int, slots: Int64Array
) -> int:
    """Have the processor fetch what is known of a bundle's source; returns where the next bundle is."""
    if index >= words:
        return index
    bundle = get_word(data, index * WORD_BYTES)
    slot = slots[bundle >> BUNDLE_SLOT_SHIFT & _NUMBER]
    if slot >= 0:
        look_at_note(state, parameters, first_source + (bundle >> BUNDLE_SOURCE_SHIFT & _NUMBER), slot)
    return index + 1 + (bundle & MOST_BUNDLED)


@kernel
def take_words(
    state: State, parameters: Parameters, data: UInt8Array, words: int, start: int, first_source: int, slots: Int64Array
) -> tuple[int, int]:
    """Do with the copies in a block's words what `take_rows` does."""
    first = NEVER
    dropped = int64(0)
    index = ahead = int64(0)
    for _ in range(BUNDLES_AHEAD):
        ahead = look_at_bundle(state, parameters, data, words, ahead, first_source, slots)
    while index < words:
        ahead = look_at_bundle(state, parameters, data, words, ahead, first_source, slots)
        bundle = get_word(data, index * WORD_BYTES)
        past = index + 1 + (bundle & MOST_BUNDLED)
        slot = slots[bundle >> BUNDLE_SLOT_SHIFT & _NUMBER]
        if slot < 0:
            dropped += bundle & MOST_BUNDLED
            index = past
            continue
        source = first_source + (bundle >> BUNDLE_SOURCE_SHIFT & _NUMBER)
        # Whoever sends a message on, or says that it wants no more copies, has it.
        note_elsewhere(state, parameters, source, slot)
        hops = bundle >> BUNDLE_HOPS_SHIFT & MOST_HOPS
        latest = state.last_reference[slot]
        for copy in range(index + 1, past):
            word = get_word(data, copy * WORD_BYTES)
            time, row = start + (word & BUNDLED_TIME_MASK), word >> BUNDLED_ROW_SHIFT & _NUMBER
            first = min(first, time)
            latest = max(latest, time)
            if bundle & UNWANTED_BUNDLE == 0:
                push_message(state, parameters, time, row, source, slot, hops)
            else:
                push_unwanted(state, parameters, time, row, source, slot)
        state.last_reference[slot] = latest
        index = past
    return first, dropped
