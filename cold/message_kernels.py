"""Kernels of `cold.messages`: passes over all identities for one message, or for all that are gone."""

import numpy as np
import numpy.typing as npt

from cold.delay_layout import EXACT, SUB_BITS
from cold.jit import int64, kernel, uint64
from cold.state_kernels import ABSENT, ARRIVAL_SHIFT, SEEN, Int32Array, Int64Array, UInt64Array

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
def list_subscribers(subscribed: UInt64Array, first: int, identities: int, number: int) -> Int32Array:
    """List who of `identities` subscribes to a topic, by their index, ascending: int32[n].

    Parameters
    ----------
    subscribed
        uint64[A, words]: `State.subscribed`.
    first
        Row of the first of them.
    identities
        How many there are.
    number
        Of the topic's bit; negative if all subscribe.
    """
    listed = np.empty(identities, dtype=np.int32)
    count = int64(0)
    for index in range(identities):
        listed[count] = index
        if number < 0:
            count += 1
        else:
            count += int64(subscribed[first + index, number >> 6] >> uint64(number & 63) & uint64(1))
    return listed[:count].copy()


@kernel
def spread(
    arrival: Int64Array,
    members: Int32Array,
    message_id: int,
    first_id: int,
    origin: int,
    publish_time: int,
    histogram: Int32Array,
) -> tuple[Int32Array, Int64Array, int, int, int]:
    """What became of a message at the identities of a shard.

    Parameters
    ----------
    arrival
        int64[...]: the part of `State.arrival` that begins with its first member; ABSENT or more where it did not come.
    members
        int32[n]: who subscribes, by their index.
    message_id
        uint64.
    first_id
        HostId of the first identity.
    origin
        HostId of the publisher; it got the message from nobody.
    publish_time
        ns.
    histogram
        int32[BUCKETS]: all 0, before and after.

    Returns
    -------
    bucket
        int32[b]: buckets of delays, ascending.
    counts
        int64[b]: how many there are in each.
    longest
        The largest delay, -1 if there is none [ns].
    first, second
        Sums of two hashes of each arrival, modulo 2**64; that of a publisher that subscribes counts.
    """
    longest = int64(-1)
    first, second = uint64(0), uint64(0)
    message = mixed(uint64(0), uint64(message_id))
    lowest, highest, used = int64(len(histogram)), int64(-1), int64(0)
    for rank in range(len(members)):
        if arrival[rank] < ABSENT:
            host = first_id + int64(members[rank])
            hashed = mixed(mixed(message, uint64(host)), uint64(arrival[rank]))
            first += hashed
            second += mixed(hashed, _SECOND)
            if host != origin:
                delay = (arrival[rank] >> ARRIVAL_SHIFT) - publish_time
                longest = max(longest, delay)
                bucket = delay_bucket(max(delay, 0))
                used += int64(histogram[bucket] == 0)
                histogram[bucket] += 1
                lowest, highest = min(lowest, bucket), max(highest, bucket)
    buckets, counts = np.empty(used, dtype=np.int32), np.empty(used, dtype=np.int64)
    found = int64(0)
    for bucket in range(lowest, highest + 1):
        if histogram[bucket] > 0:
            buckets[found], counts[found] = bucket, histogram[bucket]
            histogram[bucket] = 0
            found += 1
    return buckets, counts, longest, first, second


@kernel
def forget(identity: Int64Array, asked: npt.NDArray[np.uint64], gone: UInt64Array) -> None:
    """Clear the bits of the slots in `gone`, uint64[W], at every identity, and in every row of `State.asked`."""
    for index in range(len(identity)):
        for word in range(len(gone)):
            identity[index, SEEN + word] &= int64(~gone[word])
    for index in range(len(asked)):
        for word in range(len(gone)):
            asked[index, 1 + word] &= ~gone[word]
