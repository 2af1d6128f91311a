"""The arrays that the kernels of gossip work on, and the calendar of events.

A calendar is a ring of buckets of simulated time; a bucket is a list of chunks of records, first in, first out, so that
pushing writes to a few hot cache lines and executing reads them in order. A record is three int64 words:

    time | destination << 32 | source | auxiliary << 32 | slot << 8 | kind

Copies of messages are many times all the others, and have a ring of chunks of their own, of records of two words:

    time << 16 | slot & 0xFFFF | row << 38 | source << 12 | hops << 4 | slot >> 16

where the time is kept modulo 2**48, and the row is the destination's. An IDONTWANT is such a record, too, with the bit
UNWANTED and no hops.

Destination and source are HostIds. Auxiliary is the hops of a MESSAGE or FORWARD, the heartbeat of an IHAVE, the
backoff [ms] of a PRUNE, the number of the datagram that an IHAVE_ID came in. The slot of a message is its row in the
message arrays; of GRAFT, PRUNE, HELLO, LEAVE and IHAVE it is the topic's index. Packets of one source with one time of
arrival keep the order in which they were sent, because every step from `push` to `execute` is stable.

Most IHAVEs tell of nothing that their receiver could lack: there is nothing to do but to count them when they arrive.
So they are a word each, their time, in a second ring of lists of chunks of the same pool.

A shard has rows for its own identities only. Behind the ring, the calendar has a bucket for each shard: records for its
identities wait there for the end of the window. Copies of messages wait there in bundles: those that an identity sends
of a message, one after another. They are words as in the blocks that will carry them (``docs/formats.md``), one for the
bundle and one for each copy,

    slot << 40 | number of the source << 16 | hops << 8 | UNWANTED_BUNDLE | how many copies
    row of that shard << 40 | time since ``cursor[CROSSING_SINCE]``

so that what crosses takes little memory, and next to no work at the end. A copy whose time has no room is a record of
the other pool.

What an event touches lies together, against the rule that state is structure-of-arrays: that rule is for streaming,
and events come to identities at random, so that each array costs a cache miss. A row of `identity` is what any copy of
a message touches, one cache line as long as no more than 192 messages are alive; the first copy touches a row of
`sender`, a row of `mesh` and a part of the neighbours' row besides.

A membership is an identity and a topic that it subscribes to: a row of `mesh`. Those of an identity lie together, see
`membership_kernels`. Members of a mesh are named by their places: a cold peer's is its number in the identity's row of
`neighbours`, a hot peer's is its HostId behind those.
"""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cold.jit import int64, kernel, uint64

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]
UInt16Array = npt.NDArray[np.uint16]
UInt32Array = npt.NDArray[np.uint32]
UInt64Array = npt.NDArray[np.uint64]
Float64Array = npt.NDArray[np.float64]
#: As small as the places of peers allow.
PlaceArray = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.uint32]

NEVER: Final = 2**63 - 1
WORD: Final = 0xFFFFFFFF
CHUNK_SHIFT: Final = 7
CHUNK: Final = 1 << CHUNK_SHIFT
#: Rates are ns per byte in fixed point.
RATE_SHIFT: Final = 20
CACHE_LINE: Final = 64

# The third word of a record.
KIND_MASK: Final = 255
SLOT_SHIFT: Final = 8
SLOT_MASK: Final = 0xFFFFF
#: In an IWANT: a message that nobody here has heard of.
NO_SLOT: Final = SLOT_MASK
AUXILIARY_SHIFT: Final = 32
#: Of a MESSAGE or FORWARD, which have no other auxiliary.
HOPS_SHIFT: Final = AUXILIARY_SHIFT
MOST_HOPS: Final = 255

# The second word of a message's record; the slot's upper bits have the place of the kind, which is known.
ROW_SHIFT: Final = 38
SOURCE_SHIFT: Final = 12
SOURCE_MASK: Final = 0x3FFFFFF
MESSAGE_HOPS_SHIFT: Final = 4
MESSAGE_SLOT_BITS: Final = 16
#: The record is no copy of the message, but tells not to send one.
UNWANTED: Final = 1 << 62

# Words for other shards.
BUNDLE_SLOT_SHIFT: Final = 40
BUNDLE_SOURCE_SHIFT: Final = 16
BUNDLE_HOPS_SHIFT: Final = 8
#: Of a bundle of IDONTWANT.
UNWANTED_BUNDLE: Final = 128
MOST_BUNDLED: Final = 127
BUNDLED_ROW_SHIFT: Final = 40
BUNDLED_TIME_MASK: Final = (1 << BUNDLED_ROW_SHIFT) - 1
MESSAGE_TIME_MASK: Final = (1 << 48) - 1
#: So many identities have room in a record, and so many hosts.
MOST_ROWS: Final = 1 << 24
MOST_HOSTS: Final = SOURCE_MASK + 1

# Columns of `identity`.
DOWNLINK_FREE: Final = 0
"""When the last queued byte has come in [ns], but for those of the next two columns."""
DOWNLINK_RATE: Final = 1
"""ns per byte << RATE_SHIFT."""
LATE_BUCKET: Final = 2
"""The bucket of time in which the last duplicates came."""
LATE_BYTES: Final = 3
"""Their bytes, which queue on the downlink behind the first copies of that bucket."""
FIRST_ROW: Final = 4
"""The identity's first row of `mesh`."""
SEEN: Final = 5
"""The first of the words with a bit for each message received."""

# Columns of `sender`.
UPLINK_FREE: Final = 0
UPLINK_RATE: Final = 1
PACKETS: Final = 2
"""Packets sent."""
PHASE: Final = 3
"""Time of the first heartbeat [ns]."""
RANK: Final = 4
"""Position of the identity in the order of client kinds and phases, and its client kind << CLIENT_SHIFT."""
CLIENT_SHIFT: Final = 32
PEERS: Final = 5
"""Where the identity's row of `neighbours` begins << PEERS_SHIFT, and its length."""
PEERS_SHIFT: Final = 16
PEERS_MASK: Final = 0xFFFF
NODE: Final = 6
"""Where the identity's peers begin in `State.known` << KNOWN_SHIFT, and its entry of `State.node`, which would be a
random access more."""
KNOWN_SHIFT: Final = 16
NODE_MASK: Final = 0xFFFF
REQUESTS: Final = 7
"""How many requests the identity has begun << ASKED_SHIFT, and 1 + the row in `open` of the newest open one, or 0."""
ASKED_SHIFT: Final = 32
SENDER_COLUMNS: Final = 8

# Columns of `mesh`.
MESH_COUNT: Final = 0
RECENT: Final = 1
"""The first of two columns, the low byte before the rest, for each of the last `mcache_gossip` intervals between
heartbeats: which messages were cached then, see `membership_kernels.recent`."""
SEVERAL: Final = 0x8000
"""More than this says how many were cached, but no more than this and MOST_RECENT."""
MOST_RECENT: Final = 0x7FFF

#: Identities of a shard are ranked among so many, so that a rank takes 16 bits.
RANK_BLOCK_SHIFT: Final = 16

# Columns of `client`: the gossip parameters of a kind of client.
D: Final = 0
D_LOW: Final = 1
D_HIGH: Final = 2
D_LAZY: Final = 3
HEARTBEAT_NS: Final = 4
VALIDATION_DELAY: Final = 5
"""Where in `validation_delay` the kind's table begins."""
FIRST_RANK: Final = 6
"""Of the identities of the kind, which have consecutive ranks."""
PAST_RANK: Final = 7
TURN: Final = 8
"""The last multiple of HEARTBEAT_NS before the step at work, or at its start [ns]."""
IDONTWANT_SIZE: Final = 9
"""Bytes from which on the mesh is told of a message that it need not be sent; NEVER if of none."""
D_OUT: Final = 10
PHASE_SHIFT: Final = 11
"""A column of `rank_of_phase` is for so many lower bits of a phase."""
CLIENT_COLUMNS: Final = 12

#: First arrivals are kept as time << ARRIVAL_SHIFT | hops.
ARRIVAL_SHIFT: Final = 8
#: Where a message has not come there is, from this number on, what `cold.asked_kernels` says; NEVER is one of these.
ABSENT: Final = NEVER - 0x7FFFFFFF
#: While the copies of a step are looked through, that of the first so far is time - start << 34 | source << 8 | hops.
STEP_TIME_SHIFT: Final = 34

# Kinds of events. Those that arrive from the network as a datagram, below 32, have the numbers of its types.
HELLO: Final = 1
LEAVE: Final = 2
GRAFT: Final = 3
PRUNE: Final = 4
#: IHAVE of a cold identity: its ids are looked up in what the sender had at that heartbeat, which changes no more.
IHAVE: Final = 5
#: One id of an IWANT.
IWANT: Final = 6
MESSAGE: Final = 7
IDONTWANT: Final = 8
REQUEST: Final = 9
RESPONSE: Final = 10
# What transactions are spread by, see `cold.transaction_kernels`: the auxiliary word is the transaction's number.
#: A whole transaction that nobody asked for.
TRANSACTION: Final = 11
ANNOUNCEMENT: Final = 12
TRANSACTION_ASK: Final = 13
#: The answer to it.
POOLED: Final = 14
#: A connection begins anew. Of a hot host also: it ends.
GREETING: Final = 15
#: Transactions of hot hosts have these numbers and larger ones, of 31 bits.
HOT_NUMBERS: Final = 1 << 30
# Kinds that arrive from the network as a part of a datagram, or stand for one.
#: One id of an IHAVE of a hot host.
IHAVE_ID: Final = 32
#: A MESSAGE that is no first copy, where it matters from whom it comes.
DUPLICATE: Final = 34
#: A RESPONSE datagram of a hot host: the auxiliary word is its row in `State.letter`.
HOT_RESPONSE: Final = 35
# Kinds that an identity schedules for itself, in the order in which those of one time are executed.
FIRST_OWN: Final = 64
#: A message has come: the mesh is told not to send it.
TELL: Final = 64
FORWARD: Final = 65
PUBLISH: Final = 66
#: A heartbeat that has something to do: names the identity, no more.
BEAT: Final = 67
#: An identity's session begins.
JOIN: Final = 68
#: It ends. The auxiliary word is 0 if the peers are told, or 1 + the time until they notice [ms].
DEPART: Final = 69

# Kinds of requests of one's own, see `cold.request_kernels`: their slot says what is asked, not a message.
FIRST_OF_REQUESTS: Final = 80
#: A request is due, or due again.
ASK: Final = 80
#: A response is ready to be sent.
ANSWER: Final = 81
#: Nobody waits any longer for a response.
DEADLINE: Final = 82
# Kinds of transactions of one's own.
FIRST_OF_TRANSACTIONS: Final = 83
#: A transaction comes from outside.
SUBMIT: Final = 83
#: A transaction has been found valid.
PASS_ON: Final = 84
#: What is to be announced has waited for more.
TELL_HASHES: Final = 85
#: What was announced has been waited for.
FETCH: Final = 86
#: Nobody waits any longer for a transaction that was asked for.
OVERDUE: Final = 87

#: Bytes of a message's packet beside its payload: IPv4 and UDP header, the datagram's header, the message's.
MESSAGE_BYTES: Final = 62

# Entries of `cursor`.
FREE_HEAD: Final = 0
FREE_COUNT: Final = 1
DUE_COUNT: Final = 2
POSITION: Final = 3
OUT_COUNT: Final = 4
OUT_IDS_COUNT: Final = 5
LINK_COUNT: Final = 6
BACKOFF_COUNT: Final = 7
NEEDED: Final = 8
MESSAGE_FREE_HEAD: Final = 9
MESSAGE_FREE_COUNT: Final = 10
STEP_START: Final = 11
STEP_END: Final = 12
NEXT: Final = 13
"""Time of the next event, once there is none before the time that was asked for."""
UNWANTED_FREE_HEAD: Final = 14
UNWANTED_FREE_COUNT: Final = 15
NEEDED_UNWANTED: Final = 16
FANOUT_FREE_HEAD: Final = 17
FANOUT_FREE_COUNT: Final = 18
CROSSING_SINCE: Final = 19
"""From when on times of copies for other shards count: no event of the window is earlier [ns]."""
SPREAD_UNTIL: Final = 20
"""Until when it counts who lacked which message as `State.lacking` has it [ns]."""
SOUGHT_UNTIL: Final = 21
"""When all IHAVEs have come that this shard has sent of what somebody may lack, be they events or not [ns]."""
CURSORS: Final = 22

# Columns of `State.tally`.
COPIES_SENT: Final = 0
COPIES_LOST: Final = 1
"""Of those that were pushed."""
NOT_SENT: Final = 2
"""Copies that were spared."""
ASKED_FOR: Final = 3
TOLD: Final = 4
"""IHAVEs that have told of it; counted where `Parameters.tallies`."""
TALLIED: Final = 5
MOST_TALLIED: Final = 32
"""Slots of which TOLD is counted: bits of an entry of `State.told_of`."""

# Entries of `counters`.
COUNTER_NAMES: Final = (
    "edge_events",
    "messages_received",
    "duplicates",
    "expired",
    "ihave_received",
    "iwant_received",
    "iwant_unserved",
    "idontwant_received",
    "control_received",
    "messages_sent",
    "ihave_sent",
    "iwant_sent",
    "idontwant_sent",
    "copies_spared",
    "score_prunes",
    "control_sent",
    "bytes_sent",
    "packets_lost",
    "unreachable",
    "joins",
    "departures",
    "forwards",
    "heartbeats",
    "published",
)
(
    EDGE_EVENTS,
    MESSAGES_RECEIVED,
    DUPLICATES,
    EXPIRED,
    IHAVE_RECEIVED,
    IWANT_RECEIVED,
    IWANT_UNSERVED,
    IDONTWANT_RECEIVED,
    CONTROL_RECEIVED,
    MESSAGES_SENT,
    IHAVE_SENT,
    IWANT_SENT,
    IDONTWANT_SENT,
    COPIES_SPARED,
    SCORE_PRUNES,
    CONTROL_SENT,
    BYTES_SENT,
    PACKETS_LOST,
    UNREACHABLE,
    JOINS,
    DEPARTURES,
    FORWARDS,
    HEARTBEATS,
    PUBLISHED,
) = range(len(COUNTER_NAMES))


class Parameters(NamedTuple):
    """Scalars that do not change in a run."""

    key_0: int
    key_1: int
    hot_count: int
    """Every smaller HostId is that of a hot host."""
    shard: int
    """This shard."""
    first_id: int
    """HostId of the first row: rows are the identities of this shard."""
    rows: int
    """Number of identities of this shard."""
    full_topics: int
    """Number of topics that every identity subscribes to."""
    most_memberships: int
    """The most topics of one identity."""
    most_lazy: int
    """The largest D_lazy of a kind of client."""
    mcache_length: int
    mcache_gossip: int
    prune_backoff_ms: int
    fanout_ttl_ns: int
    flood_publish: int
    """1 or 0."""
    scoring: int
    """1 if members of meshes are scored, else 0."""
    tallies: int
    """1 if it is counted how many IHAVEs tell of each message, else 0."""
    outbound: int
    """1 if a kind of client has a D_out, else 0."""
    churn: int
    """1 if identities come and go, else 0."""
    redial_ms: int
    """How often those dial again that nobody can dial; 0 where everybody can be dialled, or nobody goes."""
    silences: int
    """Number of spans of time in which identities tell nobody of others' messages."""
    disturbances: int
    """Number of disturbances of paths that there may be in the run."""
    lossy: int
    """1 if a packet may be lost on some path at some time, else 0."""
    load: int
    """1 if requests that are not executed take time on links, else 0."""
    bucket_shift: int
    """A bucket is 2 ** bucket_shift ns of time: a function of the network's latencies, and part of the model."""
    bucket_mask: int
    lookahead_ns: int
    """No window is longer that shards run without hearing from each other, nor any other by which they can be told."""
    longest_validation_ns: int
    """Nobody takes longer to validate a message."""
    longest_latency_ns: int
    """No packet that is not lost travels longer."""
    longest_step_ns: int
    """No step is longer: nothing sent in it arrives in it, and no identity has two heartbeats in it."""
    largest_row: int
    digit_bits: int
    """Half of the bits of the largest row, rounded up."""
    first_member: int
    """Column of `State.mesh` where the members begin."""
    host_bits: int
    """Bits of a neighbour that hold its HostId; those above hold its node, but for 32, where there are none."""
    host_mask: int


class State(NamedTuple):
    """Arrays. N identities of this shard of R, A of all, H hot hosts, S slots, W = S / 64 words, T topics, L nodes.

    B blocks of 1 << LACKER_BLOCK_SHIFT identities of all. M memberships of identities of this shard; Q of them in
    topics to which some do not subscribe, of which there are P.
    Of requests: U protocols; their arrays have one row where there are none.
    """

    # The network.
    node: UInt16Array
    """uint16[H + A]."""
    cuts: Int64Array
    """int64[R + 1]: first HostId of each shard's identities, and one past the last identity."""
    latency: Int64Array
    """int64[L, L], ns."""
    loss: Float64Array
    """float64[L, L]."""
    disturbance: Int64Array
    """int64[F, DISTURBANCE_COLUMNS], and so on: see `cold.disturbances`."""
    disturbance_loss: Float64Array
    """float64[F]."""
    disturbed: UInt8Array
    """uint8[F, L, L]."""
    validation_delay: Int64Array
    """int64[n]: the tables of the validation delays' distributions [ns], see `cold.distribution_kernels`."""
    client: Int64Array
    """int64[K, CLIENT_COLUMNS]: the columns above, of each kind of client."""

    # Identities.
    silence: Int64Array
    """int64[F, 2]: `Silences.span`."""
    silenced: UInt64Array
    """uint64[A]: `Silences.concerned`."""
    life_outlines: UInt64Array
    """uint64[⌈A / OUTLINES_PER_WORD⌉]: `Lives.outlines`."""
    life_number: UInt32Array
    """uint32[A]: `Lives.number`."""
    life_until: Int64Array
    """int64[A]: `Lives.until`."""
    life_since: Int64Array
    """int64[A]: `Lives.since`, where `Parameters.redial_ms` is not 0."""
    redial_phase: Int32Array
    """int32[A]: when an identity that nobody can dial first dials again [ms], and -1 for others; as `life_since`."""
    identity: Int64Array
    """int64[N, SEEN + W]: the columns above, in rows of whole cache lines."""
    sender: Int64Array
    """int64[N, SENDER_COLUMNS]: the columns above."""
    asked_row: Int32Array
    """int32[N]: which row of `asked` an identity has, -1 for none; one row where there is no hot host."""
    asked: UInt64Array
    """uint64[rows, 1 + W]: see `cold.asked_kernels`."""
    identity_of_rank: Int32Array
    """int32[N]: identities by client kind and phase."""
    rank_of_phase: Int32Array
    """int32[K, columns]: of each kind of client, its first rank with a phase not below `column` << PHASE_SHIFT."""
    needed: UInt64Array
    """uint64[N / 64 + 1]: a bit by phase rank: the next heartbeat has something to do."""
    needed_words: UInt64Array
    """uint64[N / 4096 + 1]: a bit by word of `needed`: it is not 0."""

    # The overlay.
    neighbours: UInt32Array
    """uint32[edges]: HostId | node << host_bits of each peer, ascending by HostId in each row."""
    dialled: UInt8Array
    """uint8[edges / 8]: `Overlay.dialled_bits`; ask `membership_kernels.is_outbound`."""
    topic_place: Int32Array
    """int32[T]: the topic's place: first come those to which all subscribe, then others; -1 if it is not exact."""
    topic_of_place: Int32Array
    subscribed: UInt64Array
    """uint64[A, P / 64]: a bit for each topic to which some do not subscribe, by its place behind the others."""
    mesh: PlaceArray
    """place[M, width]: number of members, RECENT counts, and the members' places in the order in which they joined."""
    told_of: UInt32Array
    """uint32[M, mcache_gossip]: a bit for each slot that was cached in an interval between heartbeats, by the
    interval's number modulo `mcache_gossip`; no rows unless `Parameters.tallies`."""
    mesh_peer: UInt32Array
    """uint32[N * F, largest D_high]: of the F topics that all have, by identity and then topic, the members of the mesh
    as in `neighbours`: what is pushed to them need not look for them there."""
    rank: UInt16Array
    """uint16[Q]: number of the identity among those of its block of 1 << RANK_BLOCK_SHIFT that subscribe."""
    rank_before: UInt32Array
    """uint32[blocks, P]: how many of this shard's identities before each such block subscribe; ask
    `membership_kernels.rank_in`."""
    known_count: PlaceArray
    """place[Q]: how many of the identity's cold peers subscribe too."""
    known: PlaceArray
    """place[...]: their places, ascending; by identity, see the column NODE, and then by membership."""
    mesh_score: Int64Array
    """int64[M, largest D_high, 3]: see `cold.score_kernels`; one row where nobody is scored."""
    score_rules: Int64Array
    """int64[14]: `cold.gossip.score`, in the order of `score_kernels.RULES`; zeros without it."""
    link_head: Int32Array
    """int32[N]: newest link of the identity to a hot peer, or -1; one row without hot hosts. Ask
    `membership_kernels.newest_link`."""
    link: Int32Array
    """int32[links, 4]: hot peer, topic, next link or -1, known."""
    backoff_head: Int32Array
    """int32[N]: newest backoff, or -1."""
    backoff: Int64Array
    """int64[backoffs, 4]: peer, topic, next or -1, end [ns]."""
    fanout_head: Int32Array
    """int32[N]: newest fanout of the identity, or -1; one entry where everybody has all topics."""
    fanout: Int64Array
    """int64[fanouts, FIRST_PEER + largest D]: see `cold.fanout_kernels`."""
    unwanted_head: Int32Array
    """int32[N]: newest message that a peer does not want from the identity, or -1; one entry where nobody says so."""
    unwanted: Int64Array
    """int64[capacity, 2]: see `cold.unwanted_kernels`."""

    # Messages.
    message_id: UInt64Array
    """uint64[S]."""
    message_topic: Int32Array
    """int32[S]: topic index, -1 for a free slot."""
    message_origin: Int64Array
    """int64[S]: HostId of the publisher, -1 if it is none of ours."""
    message_size: Int64Array
    message_expiry: Int64Array
    last_reference: Int64Array
    """int64[S]: when nothing can refer to the message any more, as far as is known."""
    named_until: Int64Array
    """int64[S]: when no membership names the slot any more, see `membership_kernels.recent`."""
    was_another: UInt8Array
    """uint8[S]: whether one may name the slot and mean the message that had it before."""
    reached: Int64Array
    """int64[S]: members that have the message."""
    tally: Int64Array
    """int64[S, TALLIED]: what this shard's identities have done with the message so far."""
    saturated: UInt8Array
    """uint8[S]: every member of this shard has the message."""
    complete: UInt8Array
    """uint8[S, R]: every member of that shard has the message, as far as it has said so."""
    members: Int64Array
    """int64[T]: number of identities of this shard that subscribe."""
    topic_slots: UInt64Array
    """uint64[T, W]: slots in use."""
    lacking: UInt64Array
    """uint64[T, W]: slots in use of messages that some member on any shard had not when the window began."""
    seen_elsewhere: UInt64Array
    """uint64[A - N, W]: messages that identities of other shards have, as far as what they sent here tells; no rows
    where nobody comes or is cut off, so that soon nobody lacks anything."""
    lackers: UInt8Array
    """uint8[S, B]: how many identities of each block lack the message, subscribe to its topic, and are up or change
    soon, see `cold.lacker_kernels`. Rows of free slots say nothing."""
    lacked: UInt64Array
    """uint64[S, ⌈B / 64⌉]: a bit for each block where that is not 0."""
    subscribers_up: UInt8Array
    """uint8[T, B]: how many identities of each block subscribe, and are up or change soon; 0 for topics not exact."""
    counted: UInt64Array
    """uint64[⌈A / OUTLINES_PER_WORD⌉]: `life_outlines` when these were counted last."""
    arrival_start: Int64Array
    """int64[S]: where in `arrival` the topic's members begin."""
    arrival: Int64Array
    """int64[...]: first receipt, time << ARRIVAL_SHIFT | hops of that copy, where seen; ABSENT or more where not."""

    # The calendar and the window at work.
    pool: Int64Array
    """int64[chunks * CHUNK, 3]."""
    chunk_next: Int32Array
    """int32[chunks]: -1 in the last of a bucket."""
    bucket_head: Int32Array
    """int32[buckets + R]: first chunk, or -1."""
    bucket_tail: Int64Array
    """int64[buckets + R]: where in the pool the next record goes; a multiple of CHUNK where that takes a new chunk."""
    message_pool: Int64Array
    """int64[chunks * CHUNK, 2]: copies of messages."""
    message_chunk_next: Int32Array
    message_head: Int32Array
    """int32[buckets + R]: of copies, and of what is for shards."""
    message_tail: Int64Array
    """int64[buckets + R]: of what is for shards in words, not records."""
    last_bundle: Int64Array
    """int64[R]: the word of `message_pool` with the last bundle for each shard; -1 if it has none."""
    bucket_first: Int64Array
    """int64[buckets + R]: earliest time in the bucket, of both pools."""
    bucket_unwanted: Int64Array
    """int64[buckets]: how many of the copies are none, but an IDONTWANT."""
    due: Int64Array
    """int64[capacity, 3]: records of the step; of copies of messages, only the first ones."""
    spare: Int64Array
    """int64[capacity, 3]: the other side of sorting."""
    digits: Int32Array
    """int32[2, 2 ** digit_bits + 1]: how many records have each digit, then where the next goes."""
    pending: Int64Array
    """int64[2 * capacity, 3]: what one identity scheduled for itself in this window, in order."""
    scratch: UInt32Array
    """uint32[peers of the largest row + hot peers]."""
    marks: UInt8Array
    """uint8[places]: 0 between uses; 1 for the places of peers that are not to be chosen."""
    wanted: Int32Array
    """int32[S]."""
    place: Int32Array
    """int32[S]: -1 between uses; the place of a message in the dictionary of a block, see `cold.block_kernels`."""
    out: Int64Array
    """int64[capacity, 6]: records for hot hosts: time, peer << 32 | source, counter << 32 | auxiliary, hops and slot
    and kind, then offset and count of their ids. The counter is the source's count of packets."""
    out_ids: UInt64Array
    protocol: Int64Array
    """int64[U, PROTOCOL_COLUMNS], and so on: see `cold.request_layout`."""
    request_table: Int64Array
    """int64[n]: tables of the protocols' distributions."""
    role: UInt64Array
    """uint64[A]: a bit for each protocol that the identity serves, and above these one for each that it asks; one entry
    where it is the same for all."""
    representative: UInt32Array
    """uint32[K]: HostIds of those that ask in the place of others, ascending for each protocol; one entry at least."""
    representative_weight: Int64Array
    """int64[K]: for how many each of them asks << WEIGHT_SHIFT."""
    open: Int64Array
    """int64[open requests, OPEN_COLUMNS]."""
    meter: Int64Array
    """int64[2**k, METER_COLUMNS]: how much a peer has asked of an identity lately, where there is a limit."""
    letter: Int64Array
    """int64[letters, LETTER_COLUMNS]: what datagrams of hot hosts say that does not fit a record."""
    request_cursor: Int64Array
    """int64[REQUEST_CURSORS]."""
    request_counts: Int64Array
    """int64[U + K, len(REQUEST_COUNTS)]: of each protocol, then of each representative what is not counted there."""
    request_latency: Int64Array
    """int64[U, LATENCY_BUCKETS]: time from asking to the last byte of the response, as in `cold.results`. Where some
    ask in the place of all, each counts as `representative_weight` says."""
    load: Int64Array
    """int64[N, LOAD_COLUMNS], and so on: see `cold.load_kernels`; one row where `Parameters.load` is 0."""
    load_share: UInt16Array
    """uint16[N, kinds]: shares of the streams on the uplink, then on the downlink, cumulated up to 2**16 - 1."""
    load_kind: Int64Array
    """int64[kinds, KIND_COLUMNS]."""
    load_table: Int64Array
    """int64[n]: an exponential distribution, then those of bytes."""
    transaction_rules: Int64Array
    """int64[TRANSACTION_RULES], and so on: see `cold.transaction_kernels`; arrays of one entry without transactions."""
    transaction: Int64Array
    """int64[transactions, TRANSACTION_COLUMNS]: all of the run, by time, then those of hot hosts, as this shard has
    heard of them."""
    hot_number: Int64Array
    """int64[2, n]: numbers of those of hot hosts, ascending, and their rows; one entry at least."""
    hot_peer: Int64Array
    """int64[N, hot peers]: hot hosts that are peers of each identity, -1 in places that are free."""
    transaction_table: Int64Array
    """int64[n]: table of the distribution of validation delays."""
    transaction_row: Int64Array
    """int64[N + 1]: where in `transaction_peers` those of each identity begin."""
    transaction_peers: UInt32Array
    """uint32[edges]: HostIds, ascending in each row."""
    mempool: Int64Array
    """int64[N, slots, KNOWN + 3 * words]."""
    transaction_in: Int64Array
    """int64[slots]: number of the transaction that has the slot, or -1. The last slots are for those of hot hosts."""
    untold: Int64Array
    """int64[N, UNTOLD_SLOTS + slots / 64]."""
    listed: Int64Array
    """int64[slots]: what is announced to one peer."""
    transaction_counts: Int64Array
    """int64[transactions, len(TRANSACTION_COUNTS)]."""
    transaction_load: Int64Array
    """int64[N, LOADS]: bytes of messages sent, but for repetitions, and received."""
    cursor: Int64Array
    counters: Int64Array


#: Of `State`: arrays whose columns are the same in every run.
RECORDS: Final = frozenset(
    (
        *("client", "sender", "link", "backoff", "unwanted", "pool", "message_pool", "due", "spare", "pending"),
        "out",
    )
)

_ONE: Final = uint64(1)
_ZERO: Final = uint64(0)
_ALL: Final = uint64(0xFFFFFFFFFFFFFFFF)
_DE_BRUIJN: Final = uint64(0x03F79D71B4CB0A89)
_DE_BRUIJN_SHIFT: Final = uint64(58)
_DE_BRUIJN_POSITION: Final = np.array(
    [
        *(0, 1, 48, 2, 57, 49, 28, 3, 61, 58, 50, 42, 38, 29, 17, 4),
        *(62, 55, 59, 36, 53, 51, 43, 22, 45, 39, 33, 30, 24, 18, 12, 5),
        *(63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21, 44, 32, 23, 11),
        *(46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9, 13, 8, 7, 6),
    ],
    dtype=np.int64,
)


@kernel
def lowest_bit(word: int) -> int:
    """Position of the lowest set bit of a uint64 that is not 0 (Leiserson, Prokop, Randall 1998)."""
    return _DE_BRUIJN_POSITION[((word & (~word + _ONE)) * _DE_BRUIJN) >> _DE_BRUIJN_SHIFT]


_PAIRS: Final = uint64(0x5555555555555555)
_NIBBLES: Final = uint64(0x3333333333333333)
_BYTES: Final = uint64(0x0F0F0F0F0F0F0F0F)
_SUM: Final = uint64(0x0101010101010101)
_TWO: Final = uint64(2)
_FOUR: Final = uint64(4)
_LAST_BYTE: Final = uint64(56)


@kernel
def count_bits(word: int) -> int:
    """Number of bits that are set in a uint64 (Warren, Hacker's Delight, 2002, section 5-1)."""
    word = word - ((word >> _ONE) & _PAIRS)
    word = (word & _NIBBLES) + ((word >> _TWO) & _NIBBLES)
    word = (word + (word >> _FOUR)) & _BYTES
    return int64((word * _SUM) >> _LAST_BYTE)
