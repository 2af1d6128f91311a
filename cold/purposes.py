"""What the cold room draws random numbers for. Numbers never change: a draw's purpose is part of every result."""

from enum import IntEnum


class ColdPurpose(IntEnum):
    """Purposes of draws by a cold identity, beside those of `bridge.rng.Purpose`."""

    OVERLAY = 100
    """Sort key of an identity in the n-th random cycle; counter n."""
    PHASE = 101
    """Phase of an identity's heartbeat; counter 0."""
    VALIDATION = 102
    """Validation delay of a message at an identity; counter the message id."""
    FORWARD = 103
    """First peer in the order of sending a message; counter the message id."""
    GOSSIP_PEERS = 104
    """Peers that get IHAVE at a heartbeat; counter heartbeat << 32 | topic << 16 | block."""
    GRAFT_PEERS = 105
    """Peers grafted at a heartbeat; counter as GOSSIP_PEERS."""
    ORIGIN = 106
    """Publisher of a message; entity the number of the publication, counter that of the message in it."""
    SUBSCRIPTION = 107
    """Topics that an identity subscribes to; counter index of the group's first topic << 32 | number of the choice, or
    index of the topic << 32."""
    CLOCK_OFFSET = 108
    """Offset of an identity's clock; counter 0."""
    CLOCK_DRIFT = 109
    """Drift of an identity's clock; counter 0."""
    MESSAGE_SIZE = 110
    """Size of a listed publication's message; entity and counter as ORIGIN."""
    STAKE = 111
    """Weight of an identity in the distribution of validators; counter 0."""
    SHUFFLE = 112
    """Sort key of a validator (the entity) in an epoch (the counter)."""
    PROPOSER = 113
    """Validator that proposes in a slot (the entity); counter 0."""
    SYNC_COMMITTEE = 114
    """Validator at a position (the entity) of the sync committee of a period (the counter)."""
    BLOCK = 115
    """Delay (counter 1) and size (2) of the block of a slot (the entity)."""
    BLOBS = 116
    """Blobs of the block of a slot (the entity); counter 0."""
    COLUMN = 117
    """Delay of a data column of a slot (the entity); counter its number."""
    ATTESTATION = 118
    """A validator (the entity) in an epoch; counter 4 * epoch, and 1 for the delay, 2 for the size."""
    AGGREGATE = 119
    """As ATTESTATION, and 0 for whether the validator aggregates."""
    SYNC_MESSAGE = 120
    """A position (the entity) of the sync committee in a slot; counter 4 * slot, and as ATTESTATION."""
    CONTRIBUTION = 121
    """As SYNC_MESSAGE, and 0 for whether there is a contribution."""
    SESSION_START = 122
    """The interval that an identity is in at time 0: whether it is up (counter 0), its length (1), what is left (2)."""
    SESSION = 123
    """Length of an interval of an identity's life; counter its number."""
    NOTICE = 124
    """Whether an identity tells its peers that it goes; counter the number of the session."""
    CRASH = 125
    """Whether an identity is one of those that crash; counter the number of the crash."""
    CLIENT = 126
    """Kind of client of an identity; counter 0."""
    MISBEHAVIOUR = 127
    """Whether a silence or withholding concerns an identity; counter the number of the failure."""
    FANOUT = 128
    """Subscribers that a publisher without the topic discovers; counter topic << 32 | block."""
    DIAL_ORDER = 140
    """Sort key of an identity in the n-th round of dialling; counter n."""
    DIAL = 141
    """Whom an identity dials; counter round << 32 | number of the attempt / 2, whose lower half is the even one's."""
    PRUNE_CONNECTION = 142
    """Which connections an identity closes; counter round << 32 | number of the draw."""
    REACHABLE = 143
    """Whether an identity can be dialled; counter 0."""
    REDIAL = 144
    """Phase of the times at which an identity dials again; counter 0."""
    FIRST_MESH = 145
    """Whom an identity takes into its first mesh; counter topic << 32 | turn << 16 | number of the draw."""
    REPRESENTATIVE = 150
    """Publisher of a representative message; entity the topic's index, counter field << 32 | number; in a network
    that changes 1 << 63 | number << 10 | group << 2 | the publisher's standing."""
    FIELD_CHOICE = 151
    """Which representative a message follows; entity its publisher, counter the message id."""
    SAMPLED_ARRIVAL = 152
    """An identity's place in the field of a message; counter the message id."""
    LASTING_PLACE = 153
    """The part of an identity's place that all messages of a topic share; counter the topic's index."""
    REHEARSAL_TIME = 154
    """When a representative of a network that changes is published; entity the topic's index, counter its number."""
    LATE_RECEIPTS = 155
    """How many get a message in a step of the gossip that follows its pushing; entity the number of the step, counter
    number of the representative << 32 | group << 24 | publisher's standing << 22 | missed heartbeats << 16 | topic."""
    COLD_TELLS = 156
    """Whether a cold member of an identity's mesh has told it that it need not be sent a message, where the identity is
    one that hot hosts talk to on a coarse topic; counter the message id mixed with the member's place."""
    ASK_START = 170
    """Time of the first request of a protocol; counter 2 * protocol for the interval that covers time 0, and one more
    for the part of it that is left."""
    ASK_INTERVAL = 171
    """Time to the next request; counter protocol << 40 | number of the interval."""
    REQUEST_SERVER = 172
    """Who is asked; counter number of the request << 4 | attempt."""
    REQUEST_SIZE = 173
    """Size of a request; counter its number."""
    RESPONSE_CHUNKS = 174
    """Chunks of the response to the request of the entity; counter the request's number."""
    CHUNK_SIZE = 175
    """Size of a chunk; entity as RESPONSE_CHUNKS, counter number of the request << 10 | chunk."""
    SERVICE = 176
    """How long the server takes; entity as RESPONSE_CHUNKS, counter number of the request << 4 | attempt."""
    STREAM_LOSS = 177
    """How often a stream must repeat itself; entity the sender, counter as that of a packet."""
    FANOUT_PEERS = 178
    """Peers taken into a fanout; counter (2 * heartbeat, and 1 more at the heartbeat) << 24 | topic << 8 | turn."""
    TRANSACTION_OVERLAY = 179
    """As OVERLAY, of the network in which transactions spread."""
    TRANSACTION_TIME = 180
    """Time from a transaction to the next; entity 0, counter the number of the interval."""
    TRANSACTION_ORIGIN = 181
    """To whom a transaction (the entity: its number among those that are drawn, or 10**7 + its place in the list) is
    submitted; counter 0, as of the next two."""
    TRANSACTION_SIZE = 182
    """Size of a transaction."""
    TRANSACTION_BLOBS = 183
    """Whether a transaction carries blobs."""
    TRANSACTION_VALIDATION = 184
    """How long an identity takes to validate a transaction; counter the transaction's number."""
    TRANSACTION_PUSH = 185
    """To whom an identity pushes a transaction; counter number << 8 | block of four draws."""
    TRANSACTION_FETCH = 186
    """Whom an identity asks for a transaction; counter number << 16 | attempt."""
    ASKER = 187
    """Sort key of an identity among those of which some ask in the place of all; counter 0."""
    LOAD = 188
    """A stream of a request that is not executed: when it comes, what it is, and its bytes; counter 2 * number of the
    draw, and one more on the downlink."""
    LOAD_SIZE = 189
    """Responses of which the sizes of such streams are taken; entity the protocol, counter number of the draw, and
    1 << 32 more for the numbers of chunks, 2 << 32 for their sizes, 3 << 32 for their order."""
