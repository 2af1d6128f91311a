"""Counter-based random numbers: Philox4x32-10 of Random123 (doi:10.1145/2063384.2063405).

A draw is a function of (seed, entity, purpose, counter) and of nothing else, so it does not matter which
shard makes it, when, or after how many others. ``hot/kernel/rng.c`` computes the same function.

The key is (seed low, seed high); the four counter words are (counter low, counter high, entity, purpose). An
entity is a HostId, whether of a hot host or of a cold identity.

``philox4x32``, ``draw_u64`` and ``draw_uniform`` are scalar and meant to be called from numba kernels. They
are inlined there because the rounds are one long chain of multiplications: only inlined can those of several
draws overlap. The ``_array`` functions draw for whole arrays, for set-up code.
"""

from enum import IntEnum
from typing import Any, Final, TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

Integer: TypeAlias = int | np.integer[Any]
UInt64Array: TypeAlias = npt.NDArray[np.uint64]

_ROUNDS: Final = 10
_MULTIPLIER_0: Final = np.uint64(0xD2511F53)
_MULTIPLIER_1: Final = np.uint64(0xCD9E8D57)
_WEYL_0: Final = np.uint64(0x9E3779B9)
_WEYL_1: Final = np.uint64(0xBB67AE85)
_LOW_WORD: Final = np.uint64(0xFFFFFFFF)
_WORD_BITS: Final = np.uint64(32)
# A double has 53 significant bits: dropping the other 11 leaves every value in [0, 1) equally likely and 1.0
# impossible.
_UNIFORM_SHIFT: Final = np.uint64(11)
_UNIFORM_SCALE: Final = np.float64(2.0**-53)


class Purpose(IntEnum):
    """What a draw is for. Two draws of one entity for different purposes are independent.

    Purposes from 100 on belong to ``cold/purposes.py``.
    """

    HOST_RANDOM = 1
    PACKET_LOSS = 2
    TCP = 3
    KERNEL = 4


@nb.njit("UniTuple(uint64, 4)(uint64, uint64, uint64, uint64, uint64, uint64)", cache=True, inline="always")
def philox4x32(
    counter_0: Integer,
    counter_1: Integer,
    counter_2: Integer,
    counter_3: Integer,
    key_0: Integer,
    key_1: Integer,
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """The block function: four 32-bit counter words and two key words in, four random words out.

    Words are held in uint64, where a 32 by 32 bit product needs no widening. Every argument is converted
    first: numba would make a float of a signed and an unsigned integer.
    """
    c0 = np.uint64(counter_0) & _LOW_WORD
    c1 = np.uint64(counter_1) & _LOW_WORD
    c2 = np.uint64(counter_2) & _LOW_WORD
    c3 = np.uint64(counter_3) & _LOW_WORD
    k0 = np.uint64(key_0) & _LOW_WORD
    k1 = np.uint64(key_1) & _LOW_WORD
    for _ in range(_ROUNDS):
        product_0 = _MULTIPLIER_0 * c0
        product_1 = _MULTIPLIER_1 * c2
        c0 = (product_1 >> _WORD_BITS) ^ c1 ^ k0
        c1 = product_1 & _LOW_WORD
        c2 = (product_0 >> _WORD_BITS) ^ c3 ^ k1
        c3 = product_0 & _LOW_WORD
        k0 = (k0 + _WEYL_0) & _LOW_WORD
        k1 = (k1 + _WEYL_1) & _LOW_WORD
    return c0, c1, c2, c3


@nb.njit("uint64(uint64, uint64, uint64, uint64)", cache=True, inline="always")
def draw_u64(seed: Integer, entity: Integer, purpose: Integer, counter: Integer) -> np.uint64:
    """64 random bits, uint64."""
    wide_counter = np.uint64(counter)
    key = np.uint64(seed)
    w0, w1, _, _ = philox4x32(
        wide_counter & _LOW_WORD,
        wide_counter >> _WORD_BITS,
        np.uint64(entity),
        np.uint64(purpose),
        key & _LOW_WORD,
        key >> _WORD_BITS,
    )
    return w0 | (w1 << _WORD_BITS)


@nb.njit("float64(uint64, uint64, uint64, uint64)", cache=True, inline="always")
def draw_uniform(seed: Integer, entity: Integer, purpose: Integer, counter: Integer) -> float:
    """A double in [0, 1), with 53 random bits."""
    return np.float64(draw_u64(seed, entity, purpose, counter) >> _UNIFORM_SHIFT) * _UNIFORM_SCALE


@nb.njit("void(uint64, uint64[::1], uint64[::1], uint64[::1], uint64[::1])", cache=True)
def _draw_each(
    seed: Integer, entity: UInt64Array, purpose: UInt64Array, counter: UInt64Array, words: UInt64Array
) -> None:
    for index in range(len(words)):
        words[index] = draw_u64(seed, entity[index], purpose[index], counter[index])


def draw_u64_array(seed: int, entity: npt.ArrayLike, purpose: npt.ArrayLike, counter: npt.ArrayLike) -> UInt64Array:
    """`draw_u64` for arrays; entity, purpose and counter broadcast against each other."""
    entities, purposes, counters = np.broadcast_arrays(
        np.asarray(entity, dtype=np.uint64),
        np.asarray(purpose, dtype=np.uint64),
        np.asarray(counter, dtype=np.uint64),
    )
    words = np.empty(entities.shape, dtype=np.uint64)
    # Flat copies: an array that is broadcast has other strides, and numba compiles for one kind.
    _draw_each(
        np.uint64(seed),
        entities.flatten(),
        purposes.flatten(),
        counters.flatten(),
        words.reshape(-1),
    )
    return words


def draw_uniform_array(
    seed: int, entity: npt.ArrayLike, purpose: npt.ArrayLike, counter: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """`draw_uniform` for arrays: doubles in [0, 1)."""
    bits = draw_u64_array(seed, entity, purpose, counter) >> _UNIFORM_SHIFT
    return bits.astype(np.float64) * _UNIFORM_SCALE
