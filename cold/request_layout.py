"""How requests are laid out in arrays: `cold.requests` makes these, and kernels read them."""

from typing import Final

#: Requests, and deadlines of those that are open, become events at most this long before they are due [ns].
ASKED_AHEAD_NS: Final = 10**9

# What is asked, in the slot of a record.
PROTOCOL_MASK: Final = 31
ATTEMPT_SHIFT: Final = 5
ATTEMPT_MASK: Final = 15
CHUNKS_SHIFT: Final = 9
#: In place of a number of chunks: the server has refused.
REFUSED_CHUNKS: Final = 2047

# Columns of `protocol`. Tables are where they begin in `request_table`; those of intervals are -1 where there are none.
INTERVAL: Final = 0
COVERING_INTERVAL: Final = 1
"""Of the interval that covers a given moment."""
ON_JOIN: Final = 2
"""1 if every peer is asked at the begin of a session, else 0."""
REQUEST_SIZE: Final = 3
CHUNKS: Final = 4
CHUNK_SIZE: Final = 5
SERVICE: Final = 6
TIMEOUT: Final = 7
"""ns."""
RETRIES: Final = 8
RETRY_DELAY: Final = 9
"""ns."""
TOKENS: Final = 10
"""A bucket of a server's limit for each peer; 0 where there is none."""
TOKEN_NS: Final = 11
"""How long it takes to get one token back."""
FIRST_REPRESENTATIVE: Final = 12
"""Of `representative`: where those of the protocol begin."""
PAST_REPRESENTATIVE: Final = 13
"""Where they end: the same, where everybody asks."""
PROTOCOL_COLUMNS: Final = 14

#: Of the number of a request: whatever the protocol's resolution, the asker stands for itself alone.
INDIVIDUAL: Final = 1 << 30
#: How many identities a representative stands for is in fixed point.
WEIGHT_SHIFT: Final = 20

#: Bits of `role` that say what the identity asks begin here; those below say what it serves.
ASKS_SHIFT: Final = 32

# Columns of `open` and of `letter`. The first is the next one in the list, of an identity or of free rows.
NEXT: Final = 0
WHAT: Final = 1
"""Protocol and attempt, as in the slot of a record."""
NUMBER: Final = 2
FIRST_ASKED: Final = 3
"""When the request began [ns]."""
LAST_ASKED: Final = 4
"""When its last attempt began [ns]."""
SERVER: Final = 5
"""1 + HostId of who was asked; 0 while nobody is, and in free rows."""
NEXT_PART: Final = 6
"""Of a response of a hot host: how many parts have come."""
ASKER: Final = 7
"""Row of the identity that asks."""
OPEN_COLUMNS: Final = 8

# Columns of `meter`, a hash table with linear probing.
METER_KEY: Final = 0
"""1 + (row of the server << 37 | HostId of the asker << 5 | protocol), or 0 where nothing has been yet."""
METER_FULL_AT: Final = 1
"""When the bucket is full again [ns]: it is as good as not there from then on."""
METER_COLUMNS: Final = 2

LETTER_WHAT: Final = 1
"""As in the slot of a record, REFUSED_CHUNKS where the status is not 0."""
LETTER_NUMBER: Final = 2
LETTER_PART: Final = 3
LETTER_PARTS: Final = 4
LETTER_BYTES: Final = 5
"""Of the packet."""
LETTER_COLUMNS: Final = 6

# Entries of `request_cursor`: of each list of free rows its head, and how many there are.
FREE_OPEN: Final = 0
FREE_OPEN_COUNT: Final = 1
FREE_LETTER: Final = 2
FREE_LETTER_COUNT: Final = 3
METERS: Final = 4
"""How many rows of `meter` have a key."""
PROTOCOLS: Final = 5
"""How many protocols there are."""
JOIN_PROTOCOLS: Final = 6
"""How many of them ask on joining."""
COMMON_ROLES: Final = 7
"""The bits of `role` that all identities have."""
LISTED_UNTIL: Final = 8
"""Deadlines before this time [ns] are events, if their requests wait for them."""
NEXT_DEADLINE: Final = 9
"""No deadline of a request that waits is at LISTED_UNTIL or later, and before this time [ns]."""
REQUEST_CURSORS: Final = 10

# Columns of `request_counts`.
REQUEST_COUNTS: Final = (
    "asked",
    "attempts",
    "answered",
    "empty",
    "failed",
    "abandoned",
    "unasked",
    "timeouts",
    "refused",
    "late",
    "received",
    "served",
    "limited",
    "chunks",
    "request_bytes",
    "response_bytes",
    "latency_sum_ns",
)
(
    ASKED,
    ATTEMPTS,
    ANSWERED,
    EMPTY,
    FAILED,
    ABANDONED,
    UNASKED,
    TIMEOUTS,
    REFUSED,
    LATE,
    RECEIVED,
    SERVED,
    LIMITED,
    CHUNKS_RECEIVED,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    LATENCY_SUM,
) = range(len(REQUEST_COUNTS))

# Columns of `load`: of streams of requests that are not executed, on the uplink and then on the downlink.
LOAD_NEXT: Final = 0
"""When the next one comes [ns]: those before have taken their time on the link. -1 at first; NEVER without any."""
LOAD_GAP: Final = 1
"""Mean time from one to the next [ns]."""
LOAD_MEMORY: Final = 2
"""What came so much earlier [ns] has left the link long since."""
LOAD_DRAWS: Final = 3
"""How often one has been drawn."""
LINK_COLUMNS: Final = 4
LOAD_COLUMNS: Final = 2 * LINK_COLUMNS

# Columns of `load_kind`: what such a stream may be.
KIND_TABLE: Final = 0
"""Where in `load_table` the distribution of its bytes on the wire begins."""
KIND_IS_OWN: Final = 1
"""1 for requests of the identity and what answers them: one that asks by itself has none that are not executed."""
KIND_COLUMNS: Final = 2
#: The mean of the distribution at the begin of `load_table`, which is exponential.
LOAD_UNIT: Final = 1 << 20

#: Buckets of a latency below 2**49 ns, longer than all attempts of a request together.
LATENCY_BUCKETS: Final = 40 << 10
