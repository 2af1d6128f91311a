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
    """Peers that get IHAVE at a heartbeat; counter heartbeat << 24 | topic << 16 | block."""
    GRAFT_PEERS = 105
    """Peers grafted at a heartbeat; counter as GOSSIP_PEERS."""
    ORIGIN = 106
    """Publisher of a message; entity the number of the publication, counter that of the message in it."""
    SUBSCRIPTION = 107
    """Topics that an identity subscribes to; counter index of the group's first topic << 32 | number of the choice, or
    index of the topic << 32."""
