"""Loops over the columns of an event batch that numpy would need large temporaries for.

The signatures are explicit so that read-only arrays and writable ones share one compiled function: a column
decoded from the wire may be either.
"""

from typing import Final

import numba as nb
import numpy as np
import numpy.typing as npt
from numba import types


def _readonly(dtype: types.Type) -> types.Array:
    return types.Array(dtype, 1, "C", readonly=True)


_INT64: Final = _readonly(types.int64)
_UINT64: Final = _readonly(types.uint64)
_UINT32: Final = _readonly(types.uint32)
_UINT8: Final = _readonly(types.uint8)


@nb.njit(types.int64(_INT64, _UINT32, _UINT64, _UINT32), cache=True)
def first_out_of_order(
    deliver_time: npt.NDArray[np.int64],
    source: npt.NDArray[np.uint32],
    source_event: npt.NDArray[np.uint64],
    destination: npt.NDArray[np.uint32],
) -> int:
    """Index of the first event that sorts before its predecessor, or -1."""
    for i in range(1, deliver_time.shape[0]):
        if deliver_time[i] != deliver_time[i - 1]:
            ordered = deliver_time[i] > deliver_time[i - 1]
        elif source[i] != source[i - 1]:
            ordered = source[i] > source[i - 1]
        elif source_event[i] != source_event[i - 1]:
            ordered = source_event[i] > source_event[i - 1]
        else:
            ordered = destination[i] >= destination[i - 1]
        if not ordered:
            return i
    return -1


@nb.njit(types.void(_INT64, _UINT8, _INT64, types.int64[::1], types.uint8[::1]), cache=True)
def gather_payload(
    payload_offset: npt.NDArray[np.int64],
    payload: npt.NDArray[np.uint8],
    index: npt.NDArray[np.int64],
    gathered_offset: npt.NDArray[np.int64],
    gathered: npt.NDArray[np.uint8],
) -> None:
    """Copy the payloads of the events at `index` one after the other into `gathered`."""
    for i in range(index.shape[0]):
        start = payload_offset[index[i]]
        end = payload_offset[index[i] + 1]
        gathered[gathered_offset[i] : gathered_offset[i + 1]] = payload[start:end]


_UINT16: Final = _readonly(types.uint16)
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFT: Final = np.uint64(32)
#: How much of a payload has part in a fingerprint: the headers of any packet, and the begin of its data.
FINGERPRINTED_BYTES: Final = 64


@nb.njit(types.uint64(types.uint64, types.uint64), cache=True, inline="always")
def _mixed(state: np.uint64, word: np.uint64) -> np.uint64:
    state = (state ^ word) * _MULTIPLIER
    return state ^ (state >> _SHIFT)


@nb.njit(types.uint64(_INT64, _UINT32, _UINT64, _UINT32, _UINT16, _INT64, _UINT8), cache=True)
def fingerprint(
    deliver_time: npt.NDArray[np.int64],
    source: npt.NDArray[np.uint32],
    source_event: npt.NDArray[np.uint64],
    destination: npt.NDArray[np.uint32],
    kind: npt.NDArray[np.uint16],
    payload_offset: npt.NDArray[np.int64],
    payload: npt.NDArray[np.uint8],
) -> np.uint64:
    """Sum over the events of a 64-bit hash of each, modulo 2**64: the same whatever their order or grouping."""
    total = np.uint64(0)
    for i in range(deliver_time.shape[0]):
        start, end = payload_offset[i], payload_offset[i + 1]
        state = _mixed(np.uint64(0), np.uint64(deliver_time[i]))
        state = _mixed(state, np.uint64(source[i]) << _SHIFT | np.uint64(destination[i]))
        state = _mixed(state, source_event[i])
        state = _mixed(state, np.uint64(kind[i]) << _SHIFT | np.uint64(end - start))
        end = min(end, start + FINGERPRINTED_BYTES)
        for first in range(start, end, 8):
            word = np.uint64(0)
            for place in range(first, min(first + 8, end)):
                word |= np.uint64(payload[place]) << np.uint64(8 * (place - first))
            state = _mixed(state, word)
        total += state
    return total
