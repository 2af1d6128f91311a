"""Loops over the columns of an event batch: their order, their selection, their wire format, their fingerprints.

The signatures are explicit so that read-only arrays and writable ones share one compiled function: a column
decoded from the wire may be either.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

import numba as nb
import numpy as np
import numpy.typing as npt
from numba import types

from bridge.simtime import NEVER


def _readonly(dtype: types.Type) -> types.Array:
    return types.Array(dtype, 1, "C", readonly=True)


_INT64: Final = _readonly(types.int64)
_UINT64: Final = _readonly(types.uint64)
_UINT32: Final = _readonly(types.uint32)
_UINT16: Final = _readonly(types.uint16)
_UINT8: Final = _readonly(types.uint8)
#: deliver_time, source, source_event, destination, kind, payload_offset, payload.
_COLUMNS: Final = (_INT64, _UINT32, _UINT64, _UINT32, _UINT16, _INT64, _UINT8)

Columns: TypeAlias = tuple[
    npt.NDArray[np.int64],
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint64],
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint16],
    npt.NDArray[np.int64],
    npt.NDArray[np.uint8],
]
"""deliver_time, source, source_event, destination, kind, payload_offset, payload of a batch."""

#: Conversions inside kernels. They are numpy's; to the type checker every integer of a kernel is an int.
_int64: Final = cast(Callable[[Any], int], np.int64)
_uint64: Final = cast(Callable[[Any], int], np.uint64)
_MULTIPLIER: Final = _uint64(0x9E3779B97F4A7C15)
_SHIFT: Final = _uint64(32)

#: What `decode` may find wrong, in the order in which it looks.
GOOD, LENGTHS, ORDER, NEGATIVE, KIND = range(5)


# ---- Order ----


@nb.njit(cache=True, inline="always")
def _precedes(
    deliver_time: npt.NDArray[np.int64],
    source: npt.NDArray[np.uint32],
    source_event: npt.NDArray[np.uint64],
    destination: npt.NDArray[np.uint32],
    one: int,
    other: int,
) -> bool:
    if deliver_time[one] != deliver_time[other]:
        return bool(deliver_time[one] < deliver_time[other])
    if source[one] != source[other]:
        return bool(source[one] < source[other])
    if source_event[one] != source_event[other]:
        return bool(source_event[one] < source_event[other])
    return bool(destination[one] < destination[other])


@nb.njit(types.int64[::1](_INT64, _UINT32, _UINT64, _UINT32), cache=True)
def order_of(
    deliver_time: npt.NDArray[np.int64],
    source: npt.NDArray[np.uint32],
    source_event: npt.NDArray[np.uint64],
    destination: npt.NDArray[np.uint32],
) -> npt.NDArray[np.int64]:
    """Positions of the events in their order, equal ones as they stand: int64[n]; int64[0] if they are in order.

    A merge sort that begins with the stretches that are in order already: batches that were put one after the other
    are merged.
    """
    count = deliver_time.shape[0]
    ends = np.empty(count, np.int64)
    runs = 0
    for i in range(1, count):
        if _precedes(deliver_time, source, source_event, destination, i, i - 1):
            ends[runs] = i
            runs += 1
    if runs == 0:
        return np.empty(0, np.int64)
    ends[runs] = count
    runs += 1
    order, merged = np.arange(count), np.empty(count, np.int64)
    while runs > 1:
        start = left_runs = 0
        for run in range(0, runs - 1, 2):
            middle, end = ends[run], ends[run + 1]
            left, right = start, middle
            for place in range(start, end):
                from_right = left == middle or (
                    right < end
                    and _precedes(deliver_time, source, source_event, destination, order[right], order[left])
                )
                if from_right:
                    merged[place] = order[right]
                    right += 1
                else:
                    merged[place] = order[left]
                    left += 1
            ends[left_runs] = start = end
            left_runs += 1
        if runs % 2:
            merged[start:] = order[start:]
            ends[left_runs] = count
            left_runs += 1
        runs = left_runs
        order, merged = merged, order
    return order


@nb.njit((_INT64, types.int64, _INT64), cache=True)
def group(
    places: npt.NDArray[np.int64], count: int, payload_offset: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions of the events by their places, 0 <= place < `count`.

    Returns
    -------
    positions : int64[n]
        By place, ascending at each. Events whose place is none are left out.
    groups : int64[places that have events, 4]
        Place, where its positions begin and end, and payload bytes of its events.
    """
    following, sizes = np.zeros(count + 1, np.int64), np.zeros(count, np.int64)
    filled = 0
    for i in range(places.shape[0]):
        place = places[i]
        if 0 <= place < count:
            filled += following[place + 1] == 0
            following[place + 1] += 1
            sizes[place] += payload_offset[i + 1] - payload_offset[i]
    groups = np.empty((filled, 4), np.int64)
    row = 0
    for place in range(count):
        first = following[place]
        if following[place + 1]:
            groups[row, 0], groups[row, 1], groups[row, 3] = place, first, sizes[place]
            groups[row, 2] = first + following[place + 1]
            row += 1
        following[place + 1] += first
    positions = np.empty(following[count], np.int64)
    for i in range(places.shape[0]):
        place = places[i]
        if 0 <= place < count:
            positions[following[place]] = i
            following[place] += 1
    return positions, groups


# ---- Selection ----


@nb.njit(cache=True, inline="always")
def _copy(source: npt.NDArray[np.uint8], start: int, end: int, target: npt.NDArray[np.uint8], at: int) -> None:
    # Unsigned indices cannot count from an array's end, so nothing is checked.
    shift = _uint64(at - start)
    for i in range(_uint64(start), _uint64(end)):
        target[i + shift] = source[i]


@nb.njit((*_COLUMNS, _INT64), cache=True)
def gather(
    deliver_time: npt.NDArray[np.int64],
    source: npt.NDArray[np.uint32],
    source_event: npt.NDArray[np.uint64],
    destination: npt.NDArray[np.uint32],
    kind: npt.NDArray[np.uint16],
    payload_offset: npt.NDArray[np.int64],
    payload: npt.NDArray[np.uint8],
    positions: npt.NDArray[np.int64],
) -> Columns:
    """Columns of the events at `positions`, in this order."""
    count = positions.shape[0]
    time, event = np.empty(count, np.int64), np.empty(count, np.uint64)
    from_host, to_host = np.empty(count, np.uint32), np.empty(count, np.uint32)
    kinds, offset = np.empty(count, np.uint16), np.empty(count + 1, np.int64)
    total = _int64(0)
    for i in range(count):
        at = _uint64(positions[i])
        time[i], event[i] = deliver_time[at], source_event[at]
        from_host[i], to_host[i] = source[at], destination[at]
        kinds[i], offset[i] = kind[at], total
        total += payload_offset[at + _uint64(1)] - payload_offset[at]
    offset[count] = total
    data = np.empty(total, np.uint8)
    for i in range(count):
        at = _uint64(positions[i])
        _copy(payload, payload_offset[at], payload_offset[at + _uint64(1)], data, offset[i])
    return time, from_host, event, to_host, kinds, offset, data


@nb.njit((_INT64, _INT64, _INT64), cache=True)
def count_between(
    source_place: npt.NDArray[np.int64], destination_place: npt.NDArray[np.int64], payload_offset: npt.NDArray[np.int64]
) -> tuple[int, int]:
    """Count the events, and their payload bytes, whose source and destination have different places."""
    events = size = 0
    for i in range(source_place.shape[0]):
        if source_place[i] != destination_place[i]:
            events += 1
            size += payload_offset[i + 1] - payload_offset[i]
    return events, size


@nb.njit((_INT64, _UINT16, types.int64), cache=True)
def first_awaited(deliver_time: npt.NDArray[np.int64], kind: npt.NDArray[np.uint16], telling: int) -> tuple[int, int]:
    """Time of the first event of a kind below `telling`, `NEVER` if there is none; how many are of the others."""
    first, others = NEVER, 0
    for i in range(deliver_time.shape[0]):
        if kind[i] >= telling:
            others += 1
        elif first == NEVER:
            first = deliver_time[i]
    return first, others


# ---- Fingerprints ----


@nb.njit(types.uint64(types.uint64, types.uint64), cache=True, inline="always")
def _mixed(state: int, word: int) -> int:
    state = (state ^ word) * _MULTIPLIER
    return state ^ (state >> _SHIFT)


@nb.njit(cache=True, inline="always")
def _get(data: npt.NDArray[np.uint8], at: int, size: int, big_endian: bool) -> int:
    """Return a number of so many bytes; where these are a constant, the compiler makes one load of it."""
    value = _uint64(0)
    for place in range(size):
        value |= _uint64(data[at + _uint64(place)]) << _uint64(8 * (size - 1 - place if big_endian else place))
    return value


@nb.njit(cache=True, inline="always")
def _words(state: int, payload: npt.NDArray[np.uint8], start: int, end: int) -> int:
    """Take in the bytes from `start` to `end`, in four lanes, none of which waits for another."""
    lane_0, lane_1, lane_2, lane_3 = state, ~state, state >> _SHIFT, ~(state >> _SHIFT)
    at = start
    while at + _uint64(32) <= end:
        lane_0 = _mixed(lane_0, _get(payload, at, 8, False))
        lane_1 = _mixed(lane_1, _get(payload, at + _uint64(8), 8, False))
        lane_2 = _mixed(lane_2, _get(payload, at + _uint64(16), 8, False))
        lane_3 = _mixed(lane_3, _get(payload, at + _uint64(24), 8, False))
        at += _uint64(32)
    state = _mixed(_mixed(_mixed(_mixed(state, lane_0), lane_1), lane_2), lane_3)
    while at + _uint64(8) <= end:
        state = _mixed(state, _get(payload, at, 8, False))
        at += _uint64(8)
    return _mixed(state, _get(payload, at, end - at, False)) if at < end else state


@nb.njit(types.uint64(*_COLUMNS), cache=True)
def fingerprint(
    deliver_time: npt.NDArray[np.int64],
    source: npt.NDArray[np.uint32],
    source_event: npt.NDArray[np.uint64],
    destination: npt.NDArray[np.uint32],
    kind: npt.NDArray[np.uint16],
    payload_offset: npt.NDArray[np.int64],
    payload: npt.NDArray[np.uint8],
) -> int:
    """Sum over the events of a 64-bit hash of each, modulo 2**64: the same whatever their order or grouping."""
    total = _uint64(0)
    for i in range(deliver_time.shape[0]):
        start, end = payload_offset[i], payload_offset[i + 1]
        state = _mixed(_uint64(0), _uint64(deliver_time[i]))
        state = _mixed(state, _uint64(source[i]) << _SHIFT | _uint64(destination[i]))
        state = _mixed(state, source_event[i])
        state = _mixed(state, _uint64(kind[i]) << _SHIFT | _uint64(end - start))
        total += _words(state, payload, _uint64(start), _uint64(end))
    return total


# ---- Wire format ----


@nb.njit(cache=True, inline="always")
def _put(out: npt.NDArray[np.uint8], at: int, value: int, size: int) -> None:
    for place in range(size):
        out[at + _uint64(place)] = np.uint8(value >> _uint64(8 * (size - 1 - place)))


@nb.njit(types.void(*_COLUMNS, _INT64, types.int64, types.uint8[::1]), cache=True)
def encode(
    deliver_time: npt.NDArray[np.int64],
    source: npt.NDArray[np.uint32],
    source_event: npt.NDArray[np.uint64],
    destination: npt.NDArray[np.uint32],
    kind: npt.NDArray[np.uint16],
    payload_offset: npt.NDArray[np.int64],
    payload: npt.NDArray[np.uint8],
    positions: npt.NDArray[np.int64],
    header: int,
    out: npt.NDArray[np.uint8],
) -> None:
    """Write the columns of the events at `positions` behind a header of `header` bytes.

    `out` is exactly as long as the header, the columns and the payloads.
    """
    count = _uint64(positions.shape[0])
    times = _uint64(header)
    sources, events = times + count * _uint64(8), times + count * _uint64(12)
    destinations, kinds = times + count * _uint64(20), times + count * _uint64(24)
    lengths = times + count * _uint64(26)
    data = _int64(times + count * _uint64(30))
    for i in range(count):
        at = _uint64(positions[i])
        start, end = payload_offset[at], payload_offset[at + _uint64(1)]
        _put(out, times + i * _uint64(8), _uint64(deliver_time[at]), 8)
        _put(out, sources + i * _uint64(4), _uint64(source[at]), 4)
        _put(out, events + i * _uint64(8), source_event[at], 8)
        _put(out, destinations + i * _uint64(4), _uint64(destination[at]), 4)
        _put(out, kinds + i * _uint64(2), _uint64(kind[at]), 2)
        _put(out, lengths + i * _uint64(4), _uint64(end - start), 4)
        _copy(payload, start, end, out, data)
        data += end - start


@nb.njit(
    (
        _UINT8,
        types.int64,
        types.int64[::1],
        types.uint32[::1],
        types.uint64[::1],
        types.uint32[::1],
        types.uint16[::1],
        types.int64[::1],
        types.int64,
        _readonly(types.boolean),
    ),
    cache=True,
)
def decode(
    data: npt.NDArray[np.uint8],
    header: int,
    deliver_time: npt.NDArray[np.int64],
    source: npt.NDArray[np.uint32],
    source_event: npt.NDArray[np.uint64],
    destination: npt.NDArray[np.uint32],
    kind: npt.NDArray[np.uint16],
    payload_offset: npt.NDArray[np.int64],
    payload_size: int,
    is_kind: npt.NDArray[np.bool_],
) -> tuple[int, int]:
    """Read columns from behind a header; `data` is as long as they and `payload_size` bytes behind them are.

    Returns
    -------
    wrong : int
        ``GOOD``, or what is wrong first.
    event : int
        With which event; for ``LENGTHS`` the sum of all.
    """
    count = _uint64(deliver_time.shape[0])
    times = _uint64(header)
    sources, events = times + count * _uint64(8), times + count * _uint64(12)
    destinations, kinds = times + count * _uint64(20), times + count * _uint64(24)
    lengths = times + count * _uint64(26)
    total = _int64(0)
    misplaced = unknown = _int64(-1)
    for i in range(count):
        place = _int64(i)
        deliver_time[i] = _int64(_get(data, times + i * _uint64(8), 8, True))
        source[i] = _get(data, sources + i * _uint64(4), 4, True)
        source_event[i] = _get(data, events + i * _uint64(8), 8, True)
        destination[i] = _get(data, destinations + i * _uint64(4), 4, True)
        kind[i] = _get(data, kinds + i * _uint64(2), 2, True)
        payload_offset[i] = total
        total += _int64(_get(data, lengths + i * _uint64(4), 4, True))
        if misplaced < 0 and place > 0 and _precedes(deliver_time, source, source_event, destination, place, place - 1):
            misplaced = place
        if unknown < 0 and not is_kind[kind[i]]:
            unknown = place
    payload_offset[count] = total
    if total != payload_size:
        return LENGTHS, total
    if misplaced >= 0:
        return ORDER, misplaced
    if count > 0 and deliver_time[0] < 0:
        return NEGATIVE, 0
    if unknown >= 0:
        return KIND, unknown
    return GOOD, 0
