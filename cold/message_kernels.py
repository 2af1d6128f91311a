"""Kernels of `cold.messages`: passes over all identities for one message, or for all that are gone."""

import numpy as np
import numpy.typing as npt

from cold.jit import int64, kernel
from cold.state_kernels import ARRIVAL_SHIFT, SEEN, Int64Array, UInt64Array


@kernel
def first_arrivals(identity: Int64Array, slot: int, arrival: Int64Array) -> Int64Array:
    """Time of a message's first arrival at each identity, -1 where it did not come: int64[N], ns.

    Parameters
    ----------
    identity
        int64[N, columns]: `State.identity`.
    slot
        The message.
    arrival
        int64[N]: its row of `State.arrival`.
    """
    times = np.empty(len(identity), dtype=np.int64)
    column = SEEN + (slot >> 6)
    for index in range(len(identity)):
        if identity[index, column] >> (slot & 63) & 1 != 0:
            times[index] = arrival[index] >> ARRIVAL_SHIFT
        else:
            times[index] = -1
    return times


@kernel
def forget(identity: Int64Array, asked: npt.NDArray[np.uint64], gone: UInt64Array) -> None:
    """Clear the bits of the slots in `gone`, uint64[W], at every identity."""
    for index in range(len(identity)):
        for word in range(len(gone)):
            identity[index, SEEN + word] &= int64(~gone[word])
            asked[index, word] &= ~gone[word]
