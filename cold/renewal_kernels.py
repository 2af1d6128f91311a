"""Kernels of `cold.renewal`."""

from typing import Final

from cold.jit import int64, kernel
from cold.prefetch_kernels import prefetch
from cold.state_kernels import CHUNK, CHUNK_SHIFT, Int32Array, Int64Array

#: Rows are anywhere: each is fetched so many rows ahead of its turn.
_AHEAD: Final = 24


@kernel
def copy_wide_rows(rows: Int64Array, original: Int64Array, copy: Int64Array) -> None:
    """Copy these rows of a table, int64[N, columns]."""
    columns = original.shape[1]
    for index in range(len(rows)):
        if index + _AHEAD < len(rows):
            prefetch(original, rows[index + _AHEAD] * columns)
            prefetch(copy, rows[index + _AHEAD] * columns)
        row = rows[index]
        for column in range(columns):
            copy[row, column] = original[row, column]


@kernel
def copy_entries(rows: Int64Array, original: Int32Array, copy: Int32Array) -> None:
    """Copy these entries of an array, int32[N]."""
    for index in range(len(rows)):
        if index + _AHEAD < len(rows):
            prefetch(original, rows[index + _AHEAD])
            prefetch(copy, rows[index + _AHEAD])
        copy[rows[index]] = original[rows[index]]


@kernel
def copy_waiting(head: Int32Array, chunk_next: Int32Array, pool: Int64Array, copy: Int64Array) -> None:
    """Copy the records that wait in any bucket to the same places of another pool, which is as long at least."""
    for bucket in range(len(head)):
        chunk = int64(head[bucket])
        while chunk >= 0:
            begin = chunk << CHUNK_SHIFT
            for position in range(begin, begin + CHUNK):
                for column in range(pool.shape[1]):
                    copy[position, column] = pool[position, column]
            chunk = int64(chunk_next[chunk])
