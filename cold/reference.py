"""A named tuple of arrays or of integers, passed to kernels as one pointer.

Numba passes a tuple by value: a call with forty arrays copies three hundred words, and LLVM takes minutes to compile a
program of such calls. And numba leaves out the atomic counting of references only in functions whose arguments own
nothing, or are plain arrays. So kernels get the address of a table with each integer, and the address and shape of each
array, and see it as a type of its own, whose attributes own nothing. The `Reference` owns them.

Kernels are written, and type-checked, as if they got the tuple itself, which is what they get without a compiler. But
no index of theirs may be negative: the arrays are of a type of their own, for which the compiler leaves out what makes
an index count from the end, three instructions for every access. And where an array's columns are the fields of a
record, their number is a constant to the compiler, so that the place of an element takes no multiplication.
"""

# Numba's extension interface has no types.
# mypy: disable-error-code="no-untyped-call, untyped-decorator, misc, override, attr-defined, import-untyped"

import functools
import hashlib
import operator
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types, typing
from numba.core.imputils import lower_builtin, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    models,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np.arrayobj import getitem_array_tuple, getitem_arraynd_intp, populate_array, setitem_array

Fields = TypeVar("Fields", bound=tuple[Any, ...])

_WORD = ir.IntType(64)


class PlainArray(types.Array):
    """Numba's type of a C-contiguous array of which no index is negative.

    Parameters
    ----------
    array
        The type of the array.
    columns
        The length of its second axis, if that is a constant.
    """

    def __init__(self, array: Any, columns: int | None = None) -> None:
        self.columns = columns
        name = f"Plain{columns or ''}{array.name}"
        super().__init__(array.dtype, array.ndim, array.layout, readonly=not array.mutable, name=name)

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes it the same type as another."""
        return (*super().key, self.columns)


@register_model(PlainArray)
class _PlainArrayModel(models.ArrayModel):
    pass


def _unsigned(context: Any, builder: Any, kind: Any, index: Any) -> tuple[Any, Any]:
    """Type and value of an index, an integer or a tuple of them, as numbers that cannot be negative."""
    if isinstance(kind, types.Integer):
        return types.uintp, context.cast(builder, index, kind, types.intp if kind.signed else types.uintp)
    if isinstance(kind, types.BaseTuple) and all(isinstance(part, types.Integer) for part in kind.types):
        parts = cgutils.unpack_tuple(builder, index)
        words = [_unsigned(context, builder, part, word)[1] for part, word in zip(kind.types, parts, strict=True)]
        unsigned = types.UniTuple(types.uintp, len(words))
        return unsigned, context.make_tuple(builder, unsigned, words)
    return kind, index


@lower_builtin(operator.getitem, PlainArray, types.Integer)
@lower_builtin(operator.getitem, PlainArray, types.BaseTuple)
def _get_item(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, kind = signature.args
    kind, index = _unsigned(context, builder, kind, arguments[1])
    lower = getitem_array_tuple if isinstance(kind, types.BaseTuple) else getitem_arraynd_intp
    return lower(context, builder, typing.signature(signature.return_type, array, kind), (arguments[0], index))


@lower_builtin(operator.setitem, PlainArray, types.Any, types.Any)
def _set_item(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, kind, value = signature.args
    kind, index = _unsigned(context, builder, kind, arguments[1])
    changed = typing.signature(signature.return_type, array, kind, value)
    return setitem_array(context, builder, changed, (arguments[0], index, arguments[2]))


class ReferenceType(types.Type):
    """Numba's type of a reference: what fields there are, and where in the table each one's words begin."""

    def __init__(self, fields: tuple[tuple[str, Any], ...]) -> None:
        self.kind = dict(fields)
        self.place: dict[str, int] = {}
        words = 0
        for name, kind in fields:
            self.place[name] = words
            words += 1 + kind.ndim if isinstance(kind, types.Array) else 1
        digest = hashlib.sha256(repr(fields).encode()).hexdigest()[:16]
        super().__init__(name=f"Reference{digest}")


class Reference:
    """Python's side: the table, and what it points to."""

    def __init__(self, fields: tuple[Any, ...], records: frozenset[str]) -> None:
        names: tuple[str, ...] = fields._fields
        self._fields = fields
        self._table = np.array([word for field in fields for word in _words_of(field)], dtype=np.int64)
        self.address = self._table.ctypes.data
        described = (_described(field, name in records) for name, field in zip(names, fields, strict=True))
        self.type = _reference_type(names, tuple(described))


@functools.cache
def _reference_type(names: tuple[str, ...], described: tuple[Any, ...]) -> ReferenceType:
    """The type of a reference to fields of which these are the descriptions: to work it out takes milliseconds."""
    kinds = [
        PlainArray(types.Array(numba.from_dtype(what[0]), what[1], "C", readonly=not what[2]), what[3])
        if isinstance(what, tuple)
        else what
        for what in described
    ]
    return ReferenceType(tuple(zip(names, kinds, strict=True)))


def _described(field: Any, is_records: bool) -> Any:
    """What the type of a field depends on."""
    if not isinstance(field, np.ndarray):
        return numba.typeof(field)
    assert field.flags.c_contiguous, "the table has no strides"
    return field.dtype, field.ndim, field.flags.writeable, field.shape[1] if is_records else None


def _words_of(field: Any) -> tuple[int, ...]:
    return (field.ctypes.data, *field.shape) if isinstance(field, np.ndarray) else (int(field),)


def by_reference(fields: Fields, records: frozenset[str] = frozenset()) -> Fields:
    """A reference to the C-contiguous arrays, or the integers, of a named tuple, for kernels only.

    Kernels are compiled anew for another number of columns of those arrays, of two axes, that are named in `records`.
    """
    if numba.config.DISABLE_JIT:
        return fields
    return cast(Fields, Reference(fields, records))


@typeof_impl.register(Reference)
def _type_of(value: Reference, _context: object) -> ReferenceType:
    return value.type


@register_model(ReferenceType)
class _ReferenceModel(models.PrimitiveModel):
    def __init__(self, manager: Any, front_end_type: Any) -> None:
        super().__init__(manager, front_end_type, _WORD)


@unbox(ReferenceType)
def _unbox(_type: Any, value: Any, context: Any) -> Any:
    address = context.pyapi.object_getattr_string(value, "address")
    native = context.pyapi.long_as_longlong(address)
    context.pyapi.decref(address)
    return NativeValue(native)


@infer_getattr
class _ReferenceAttributes(AttributeTemplate):
    key = ReferenceType

    def generic_resolve(self, reference: ReferenceType, name: str) -> Any:
        """Type of a field, or None."""
        return reference.kind.get(name)


@lower_getattr_generic(ReferenceType)
def _load_field(context: Any, builder: Any, reference: ReferenceType, value: Any, name: str) -> Any:
    table = builder.inttoptr(value, _WORD.as_pointer())

    def word(index: int) -> Any:
        loaded = builder.load(builder.gep(table, [ir.Constant(_WORD, index)]))
        # The table is never written to while a kernel runs, so LLVM may load its words once.
        loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
        return loaded

    kind, first = reference.kind[name], reference.place[name]
    if not isinstance(kind, types.Array):
        return word(first)
    shape = [word(first + 1 + axis) for axis in range(kind.ndim)]
    if kind.columns is not None:
        shape[1] = ir.Constant(_WORD, kind.columns)
    item_size = ir.Constant(_WORD, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides = [item_size]
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    array = context.make_array(kind)(context, builder)
    populate_array(
        array,
        data=builder.inttoptr(word(first), array.data.type),
        shape=shape,
        strides=strides,
        itemsize=item_size,
        meminfo=None,
    )
    return array._getvalue()
