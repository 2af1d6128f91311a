"""Kernels of `cold.messages`: passes over all identities for one message, or for all that are gone."""

import numpy as np
import numpy.typing as npt

from cold.delay_layout import EXACT, SUB_BITS
from cold.jit import int64, kernel, uint64
from cold.state_kernels import ABSENT, ARRIVAL_SHIFT, SEEN, Int64Array, UInt64Array

_GOLDEN = uint64(0x9E3779B97F4A7C15)
_HALF = uint64(32)
_SECOND = uint64(0xD1B54A32D192ED03)


@kernel
def mixed(state: int, word: int) -> int:
    """Take one 64-bit word into the hash of an arrival, see ``docs/models.md``."""
    state = (state ^ word) * _GOLDEN
    return state ^ (state >> _HALF)


@kernel
def delay_bucket(delay: int) -> int:
    """Bucket of a delay [ns, 0 or more] in the histogram of `cold.results`."""
    shift = 0
    while delay >> shift >= EXACT:
        shift += 1
    return (shift << SUB_BITS) + (delay >> shift)


@kernel
def spread(
    arrival: Int64Array,
    subscribed: UInt64Array,
    number: int,
    identities: int,
    message_id: int,
    first_id: int,
    hot_count: int,
    origin: int,
    publish_time: int,
) -> tuple[Int64Array, int, int, int]:
    """What became of a message at the identities of a shard.

    Parameters
    ----------
    arrival
        int64[...]: the part of `State.arrival` that begins with its first member; ABSENT or more where it did not come.
    subscribed
        uint64[A, words]: `State.subscribed`.
    number
        Of the topic's bit in `subscribed`; negative if all subscribe.
    identities
        How many there are.
    message_id
        uint64.
    first_id
        HostId of the first identity.
    hot_count
        HostId of the first identity of all shards.
    origin
        HostId of the publisher; it got the message from nobody.
    publish_time
        ns.

    Returns
    -------
    counts
        int64[buckets]: histogram of the delays.
    longest
        The largest delay, -1 if there is none [ns].
    first, second
        Sums of two hashes of each arrival, modulo 2**64; that of a publisher that subscribes counts.
    """
    longest = int64(-1)
    first, second = uint64(0), uint64(0)
    message = mixed(uint64(0), uint64(message_id))
    delays = np.empty(identities, dtype=np.int64)
    rank = reached = int64(0)
    for index in range(identities):
        if (
            number >= 0
            and subscribed[first_id - hot_count + index, number >> 6] >> uint64(number & 63) & uint64(1) == 0
        ):
            continue
        if arrival[rank] < ABSENT:
            hashed = mixed(mixed(message, uint64(first_id + index)), uint64(arrival[rank]))
            first += hashed
            second += mixed(hashed, _SECOND)
            if first_id + index != origin:
                delays[reached] = (arrival[rank] >> ARRIVAL_SHIFT) - publish_time
                longest = max(longest, delays[reached])
                reached += 1
        rank += 1
    counts = np.zeros(delay_bucket(max(longest, 0)) + 1, dtype=np.int64)
    for index in range(reached):
        counts[delay_bucket(delays[index])] += 1
    return counts, longest, first, second


@kernel
def forget(identity: Int64Array, asked: npt.NDArray[np.uint64], gone: UInt64Array) -> None:
    """Clear the bits of the slots in `gone`, uint64[W], at every identity, and in every row of `State.asked`."""
    for index in range(len(identity)):
        for word in range(len(gone)):
            identity[index, SEEN + word] &= int64(~gone[word])
    for index in range(len(asked)):
        for word in range(len(gone)):
            asked[index, 1 + word] &= ~gone[word]
