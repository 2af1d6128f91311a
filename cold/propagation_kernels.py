"""Kernels of `cold.propagation`: when an identity gets a message, drawn from a field.

Draws are integers throughout, so that they are the same on every machine.
"""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

import numpy as np
import numpy.typing as npt

from bridge.rng import philox4x32
from cold.jit import int64, kernel, uint64
from cold.purposes import ColdPurpose

Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]
UInt32Array = npt.NDArray[np.uint32]
UInt64Array = npt.NDArray[np.uint64]

#: Quantiles in a table: one more than a power of two.
LEVELS: Final = 129
#: Probabilities are fixed-point numbers with so many bits.
PROBABILITY_BITS: Final = 32
NEVER: Final = 2**63 - 1

_ARRIVAL: Final = int(ColdPurpose.SAMPLED_ARRIVAL)
_LASTING: Final = int(ColdPurpose.LASTING_PLACE)
_CHOICE: Final = int(ColdPurpose.FIELD_CHOICE)
_WORD: Final = 0xFFFFFFFF
_HALF_WORD: Final = 1 << 31
_WORD_BITS: Final = uint64(32)
_GOLDEN: Final = uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = uint64(0x94D049BB133111EB)


@kernel
def _words(seed: int, entity: int, purpose: int, counter: int) -> tuple[int, int, int, int]:
    wide, key = uint64(counter), uint64(seed)
    w0, w1, w2, w3 = philox4x32(
        wide & uint64(_WORD),
        wide >> _WORD_BITS,
        uint64(entity),
        uint64(purpose),
        key & uint64(_WORD),
        key >> _WORD_BITS,
    )
    return w0, w1, w2, w3


@kernel
def entry_key(message_id: int, entry: int) -> int:
    """Counter of the draws for what a message does from an identity on where it entered the tail.

    A bijection of 64 bits (the finaliser of SplitMix64) of the message's id and the identity's HostId, so that the
    draws of several entries are independent.
    """
    mixed = uint64(message_id) + uint64(entry + 1) * _GOLDEN
    mixed = (mixed ^ (mixed >> uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> uint64(27))) * _MIX_2
    return mixed ^ (mixed >> uint64(31))


@kernel
def choose_representative(seed: int, publisher: int, key: int, representatives: int) -> int:
    """Number of the representative that a message follows."""
    return int64(_words(seed, publisher, _CHOICE, key)[0]) * representatives >> 32


@kernel
def choose_representatives(seed: int, publisher: Int64Array, key: UInt64Array, representatives: int) -> Int64Array:
    """`choose_representative` for n messages: int64[n]."""
    chosen = np.empty(len(key), dtype=np.int64)
    for index in range(len(key)):
        chosen[index] = choose_representative(seed, publisher[index], key[index], representatives)
    return chosen


@kernel
def draw_place(seed: int, host: int, topic: int, key: int, lasting: int) -> tuple[int, int]:
    """Where an identity stands among its group for a message: two 32-bit words.

    The first is its place, uniform over the group; with probability `lasting` / 2 ** 32 the identity's lasting one.
    The second says whether it is among those that get the message at all.
    """
    place, choice, reach, _ = _words(seed, host, _ARRIVAL, key)
    if int64(choice) < lasting:
        place = _words(seed, host, _LASTING, topic)[0]
    return int64(place), int64(reach)


@kernel
def read_table(delay: Int64Array, place: int) -> int:
    """Delay at a 32-bit place in a table of quantiles, int64[LEVELS], by linear interpolation [ns]."""
    scaled = place * (len(delay) - 1)
    segment, part = scaled >> 32, (scaled & _WORD) >> 12
    low, high = delay[segment], delay[segment + 1]
    return low + ((high - low) * part >> 20)


@kernel
def draw_arrivals(
    seed: int,
    host: UInt32Array,
    group: npt.NDArray[np.int32],
    topic: int,
    key: int,
    delay: Int64Array,
    hops: UInt8Array,
    reached: Int64Array,
    lasting: int,
) -> tuple[Int64Array, UInt8Array]:
    """When one message comes to many identities, and over how many hops: int64[n], ns, and uint8[n].

    The time is NEVER where it does not come.

    Parameters
    ----------
    seed
        Of the run.
    host
        uint32[n]: HostIds.
    group
        int32[n].
    topic
        Its index.
    key
        The message's id, or `entry_key`.
    delay, hops
        int64[G, LEVELS] and uint8[G, LEVELS]: the representative's.
    reached
        int64[G]: probability that it comes, of 2 ** PROBABILITY_BITS.
    lasting
        Of 2 ** PROBABILITY_BITS.
    """
    times = np.empty(len(host), dtype=np.int64)
    ways = np.zeros(len(host), dtype=np.uint8)
    for index in range(len(host)):
        place, reach = draw_place(seed, host[index], topic, key, lasting)
        if reach >= reached[group[index]]:
            times[index] = NEVER
        else:
            times[index] = read_table(delay[group[index]], place)
            ways[index] = hops[group[index], (place * (LEVELS - 1) + _HALF_WORD) >> 32]
    return times, ways
