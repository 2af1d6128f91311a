"""Telling the processor what will be touched soon: LLVM's prefetch, which numba does not offer."""

# Numba's extension interface has no types.
# mypy: disable-error-code="untyped-decorator, import-untyped, no-untyped-call, attr-defined, assignment"

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_FOR_WRITING = 1
_INTO_ALL_CACHES = 3
_DATA = 1


@intrinsic
def _prefetch(_context: Any, array: Any, _index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        word = ir.IntType(32)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, word, word, word]), "llvm.prefetch.p0i8"
        )
        builder.call(function, [address, word(_FOR_WRITING), word(_INTO_ALL_CACHES), word(_DATA)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


def _ignore(_array: npt.NDArray[Any], _index: int) -> None:
    """Without a compiler there is nothing to tell."""


#: ``prefetch(array, index)``: fetch the cache line of the element with this index, counted through a C-contiguous
#: array, for writing.
prefetch: Final[Callable[[npt.NDArray[Any], int], None]] = _ignore if numba.config.DISABLE_JIT else _prefetch
