"""A plugin of pytest: arrays that kernels get by reference refuse negative indices, where nothing is compiled."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

import cold.reference

Fields = TypeVar("Fields", bound=tuple[Any, ...])


class _Guarded(np.ndarray[Any, Any]):
    def _check(self, index: Any) -> None:
        for part in index if isinstance(index, tuple) else (index,):
            if isinstance(part, int | np.integer) and part < 0:
                raise IndexError(f"{index} is negative")

    def __getitem__(self, index: Any) -> Any:
        self._check(index)
        got = super().__getitem__(index)
        return got.view(np.ndarray) if isinstance(got, np.ndarray) else got

    def __setitem__(self, index: Any, value: Any) -> None:
        self._check(index)
        super().__setitem__(index, value)


def _guarded(fields: Fields, records: frozenset[str] = frozenset()) -> Fields:
    del records  # what columns are constant is a matter of the compiler
    of_names: Any = fields
    arrays = {name: value for name, value in of_names._asdict().items() if isinstance(value, np.ndarray)}
    guarded: Fields = of_names._replace(**{name: array.view(_Guarded) for name, array in arrays.items()})
    return guarded


cold.reference.by_reference = _guarded
np.seterr(all="ignore")  # kernels count modulo 2**64
