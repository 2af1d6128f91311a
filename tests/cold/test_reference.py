"""What kernels get through a reference is what the named tuple has."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from cold.jit import inlined_kernel, kernel
from cold.reference import by_reference


class Arrays(NamedTuple):
    """Two arrays of a kernel."""

    table: npt.NDArray[np.int64]
    place: npt.NDArray[np.int32]


@inlined_kernel
def add(arrays: Arrays, row: int, column: int, value: int) -> None:
    """Add to an element of the table."""
    arrays.table[row, column] += value


@kernel
def shuffle(arrays: Arrays) -> int:
    """Add 1000 to the last column of the rows that `place` names, and return the sum of all elements."""
    for index in range(len(arrays.place)):
        add(arrays, arrays.place[index], arrays.table.shape[1] - 1, 1000)
    total = 0
    for row in range(len(arrays.table)):
        for column in range(arrays.table.shape[1]):
            total += arrays.table[row, column]
    return total


@pytest.mark.parametrize("records", [frozenset[str](), frozenset(("table",))])
@pytest.mark.parametrize("columns", [3, 4])
def test_a_kernel_reads_and_writes_the_elements_of_the_arrays(columns: int, records: frozenset[str]) -> None:
    table = np.arange(5 * columns, dtype=np.int64).reshape(5, columns)
    place = np.array([4, 0, 4], dtype=np.int32)
    wanted = table.copy()
    np.add.at(wanted[:, -1], place, 1000)

    total = shuffle(by_reference(Arrays(table, place), records))

    assert table.tolist() == wanted.tolist()
    assert total == wanted.sum()
