"""Arrays of rows that kernels take from a list of free ones, and give back: how they are made longer."""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cold.request_layout import FREE_LETTER, FREE_LETTER_COUNT, FREE_OPEN, FREE_OPEN_COUNT
from cold.state_kernels import FANOUT_FREE_COUNT, FANOUT_FREE_HEAD, State

Int64Array = npt.NDArray[np.int64]

_ROWS_AT_FIRST: Final = 256


class RowList(NamedTuple):
    """Where the list of an array's free rows begins, whose first column is the next row of the list."""

    cursor: str
    """Field of `State` that has the next two entries."""
    head: int
    """Entry: the first free row, or -1."""
    free: int
    """Entry: how many free rows there are."""


ROW_LISTS: Final = {
    "open": RowList("request_cursor", FREE_OPEN, FREE_OPEN_COUNT),
    "letter": RowList("request_cursor", FREE_LETTER, FREE_LETTER_COUNT),
    "fanout": RowList("cursor", FANOUT_FREE_HEAD, FANOUT_FREE_COUNT),
}


def first_rows(name: str, columns: int, cursor: Int64Array) -> Int64Array:
    """The array of a name in `ROW_LISTS`, with its first rows, which are free: `cursor` says so."""
    cursor[ROW_LISTS[name].head] = -1
    return _longer(np.zeros((0, columns), dtype=np.int64), cursor, ROW_LISTS[name], _ROWS_AT_FIRST)


def with_free_rows(state: State, name: str, wanted: int) -> State:
    """The state, with at least so many free rows in one of `ROW_LISTS`."""
    rows = ROW_LISTS[name]
    cursor: Int64Array = getattr(state, rows.cursor)
    if cursor[rows.free] >= wanted:
        return state
    array: Int64Array = getattr(state, name)
    more = max(len(array), wanted - int(cursor[rows.free]))
    fields: dict[str, Any] = {name: _longer(array, cursor, rows, more)}
    return state._replace(**fields)


def _longer(array: Int64Array, cursor: Int64Array, rows: RowList, more: int) -> Int64Array:
    """The array with `more` rows, which are put at the front of its list of free rows."""
    used = len(array)
    longer = np.zeros((used + more, array.shape[1]), dtype=np.int64)
    longer[:used] = array
    longer[used:, 0] = np.arange(used + 1, used + more + 1)
    longer[-1, 0] = cursor[rows.head]
    cursor[rows.head] = used
    cursor[rows.free] += more
    return longer
