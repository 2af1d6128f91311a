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
Float64Array = npt.NDArray[np.float64]
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
#: Where several ways add up, times are multiples of 2 ** this [ns].
_GRID_SHIFT: Final = 10
_LEAST: Final = 2.0**-40
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

    A bijection of 64 bits (the finaliser of SplitMix64) of the message's id and the identity's HostId, so that what
    several entries follow is drawn independently.
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
def _exposure(exposure: Float64Array, delay: Int64Array, since: int) -> float:
    """What one way has exposed a group to at a time since the message came in by it [ns]."""
    if since <= delay[0]:
        return 0.0
    if since >= delay[-1]:
        return exposure[-1]
    segment = np.searchsorted(delay, since, "right") - 1
    low, high = delay[segment], delay[segment + 1]
    return exposure[segment] + (exposure[segment + 1] - exposure[segment]) * ((since - low) / (high - low))


@kernel
def draw_arrivals(
    seed: int,
    host: UInt32Array,
    group: npt.NDArray[np.int32],
    topic: int,
    key: int,
    start: Int64Array,
    delay: Int64Array,
    hops: UInt8Array,
    reached: Int64Array,
    lasting: Int64Array,
    exposure: Float64Array,
) -> tuple[Int64Array, UInt8Array, Int64Array]:
    """When a message that comes in by K ways comes to many identities, over how many hops, and by which way most.

    An identity's place says how much it takes, and what the ways expose it to adds up; by one way alone it is the delay
    at that place. Nothing depends on ways by which nothing can have come yet.

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
        The message's id.
    start
        int64[K]: when the message comes in [ns].
    delay, hops
        int64[K, G, LEVELS] and uint8[K, G, LEVELS]: the representatives'.
    reached
        int64[K, G]: probability that it comes, of 2 ** PROBABILITY_BITS.
    lasting
        int64[K], of 2 ** PROBABILITY_BITS.
    exposure
        float64[G, LEVELS]: `cold.ways_in.exposures`.

    Returns
    -------
    int64[n], uint8[n], int64[n]
        The time [ns] is NEVER where the message does not come.
    """
    times = np.full(len(host), NEVER, dtype=np.int64)
    over = np.zeros(len(host), dtype=np.uint8)
    by = np.zeros(len(host), dtype=np.int64)
    needed = np.empty(len(start))
    for index in range(len(host)):
        own = group[index]
        table = exposure[own]
        first = second = latest = NEVER
        for way in range(len(start)):
            place, reach = draw_place(seed, host[index], topic, key, lasting[way])
            needed[way] = 0.0
            if reach >= reached[way, own]:
                continue
            segment, part = place * (LEVELS - 1) >> 32, place * (LEVELS - 1) & _WORD
            needed[way] = max(table[segment] + (table[segment + 1] - table[segment]) * (part / 2.0**32), _LEAST)
            begins = start[way] + delay[way, own, 0]
            first, second = min(first, begins), min(second, max(first, begins))
            alone = start[way] + read_table(delay[way, own], place)
            if alone < latest:
                latest = alone
                by[index] = way
                over[index] = hops[way, own, (place * (LEVELS - 1) + _HALF_WORD) >> 32]
        times[index] = latest
        # Where two ways add up it is after the second has begun, and before the quickest alone: in steps of a grid.
        low, high = second >> _GRID_SHIFT, latest >> _GRID_SHIFT
        while high - low > 1:
            middle = (low + high) // 2
            share = 0.0
            for way in range(len(start)):
                if needed[way] > 0.0:
                    since = (middle << _GRID_SHIFT) - start[way]
                    share += _exposure(table, delay[way, own], since) / needed[way]
            if share >= 1.0:
                high = middle
                times[index] = middle << _GRID_SHIFT
            else:
                low = middle
    return times, over, by
