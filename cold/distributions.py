"""Distributions that the configuration names, and the tables of integers that draws are made from.

A field of a section says in its type what is distributed::

    validation_delay: Annotated[Distribution, Drawn(Duration)]

and in a file it is written as one value, as a list of quantiles, or as a mapping with a `kind`. A draw takes 64 random
bits as the number u in [0, 1) and gives the quantile of u. Quantiles are tabulated once, in integers of the base unit
(ns, bytes, ...), and interpolated linearly in integer arithmetic.

The resolution of the table is part of the model. Known quantiles stay as they are. Everything else is tabulated over
octaves of the probability, from both ends: [1/4, 1/2), [1/8, 1/4), ... each in 64 steps, down to 2**-33, so that the
probability of a table's step is at most 1/64 of that of its tail. What lies beyond the probability 2**-34 on an
unbounded side is drawn as the quantile there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, Self, TypeVar, Union

import numpy as np
import numpy.typing as npt
from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from bridge.section import Section
from cold.quantile_layout import CHOICE_BITS, OCTAVES, STEP_BITS

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
Quantity = TypeVar("Quantity")
"""An int of the base unit, with the validator that reads it."""

#: A larger value could not be added to a time without overflow.
LARGEST: Final = 2**62 - 1
#: Longer lists of quantiles are tabulated by octaves like any distribution.
_MOST_QUANTILES: Final = 4097
_Parameter = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class Distribution(Section):
    """What all kinds of distributions have in common. Quantities are integers of the field's base unit."""

    def parts(self) -> list[tuple[float, Int64Array]]:
        """Return the table of each part of a mixture with its weight: one, for everything that is no mixture."""
        return [(1.0, self._tabulated())]

    def table(self) -> Int64Array:
        """Return what `cold.distribution_kernels.draw_value` draws from: int64[n], documented there."""
        return self._table

    @cached_property
    def _table(self) -> Int64Array:
        return _table_of_parts(self.parts())

    def bounds(self) -> tuple[int, int]:
        """Return the smallest and the largest value that can be drawn."""
        values = [form[1:] for _, form in self.parts()]
        return min(int(part[0]) for part in values), max(int(part[-1]) for part in values)

    def expectation(self) -> float:
        """Return the mean of what is drawn, in the base unit."""
        weights, means = zip(*((share, _mean_of_form(form)) for share, form in self.parts()), strict=True)
        return float(np.average(means, weights=weights))

    def length_biased_table(self) -> Int64Array:
        """Return the table of the distribution of an interval that covers a given moment.

        Where intervals with this distribution follow each other, a moment is covered by one of length x with a density
        in proportion to x times that of x (Cox, Renewal Theory, 1962, section 5.5).
        """
        return _table_of_parts([(share * _mean_of_form(form), _length_biased(form)) for share, form in self.parts()])

    def _tabulated(self) -> Int64Array:
        below = _octave_probabilities()
        lower, upper = self._quantiles(below, 1.0 - below), self._quantiles(1.0 - below, below)[::-1]
        whole = np.concatenate([lower, upper[1:]])
        return np.concatenate([np.zeros(1, dtype=np.int64), np.rint(whole).astype(np.int64)])

    def _quantiles(self, below: Float64Array, above: Float64Array) -> Float64Array:
        """Return the quantiles of the probabilities `below`; `above` are their complements, without cancellation."""
        raise NotImplementedError


def _table_of_parts(parts: list[tuple[float, Int64Array]]) -> Int64Array:
    if len(parts) == 1:
        form = parts[0][1]
        return form if form[0] < 0 else np.concatenate([np.array([1, 1 << CHOICE_BITS, 3], dtype=np.int64), form])
    shares = np.cumsum([share for share, _ in parts])
    limits = np.rint(shares / max(shares[-1], 1e-300) * (1 << CHOICE_BITS)).astype(np.int64)
    limits[-1] = 1 << CHOICE_BITS
    head = [len(parts)]
    offset = 1 + 2 * len(parts)
    for limit, (_, form) in zip(limits.tolist(), parts, strict=True):
        head += [limit, offset]
        offset += len(form)
    return np.concatenate([np.array(head, dtype=np.int64), *(form for _, form in parts)])


def _probabilities(form: Int64Array) -> Float64Array:
    """The probabilities of a form's quantiles."""
    if form[0] != 0:
        return np.linspace(0.0, 1.0, len(form) - 1)
    below = _octave_probabilities()
    return np.concatenate([[0.0], below[1:], (1.0 - below)[::-1][1:-1], [1.0]])


def _mean_of_form(form: Int64Array) -> float:
    if form[0] < 0:
        return float(form[1])
    return float(np.trapezoid(form[1:].astype(np.float64), _probabilities(form)))


def _length_biased(form: Int64Array) -> Int64Array:
    """The form of a distribution whose density is in proportion to x times that of a form's.

    Its quantile at q is Q(u), with u such that the integral of the form's quantiles Q up to u is the share q of that up
    to 1. Q is linear between its entries, so that the integral is quadratic there.
    """
    if form[0] < 0:
        return form
    at, values = _probabilities(form), form[1:].astype(np.float64)
    width, rise = np.diff(at), np.diff(values)
    reached = np.concatenate([[0.0], np.cumsum(width * (values[:-1] + values[1:]) / 2)])
    if reached[-1] == 0.0:
        return np.array([-1, 0], dtype=np.int64)
    below = _octave_probabilities()
    wanted = np.concatenate([below, (1.0 - below)[::-1][1:]]) * reached[-1]
    place = np.clip(np.searchsorted(reached, wanted, side="right") - 1, 0, len(width) - 1)
    # values + rise * part, where width * (values * part + rise * part**2 / 2) is what is missing.
    missing = np.maximum(wanted - reached[place], 0.0)
    slope = 2.0 * rise[place] / np.maximum(width[place], 1e-300)
    quantiles = np.sqrt(values[place] ** 2 + slope * missing)
    biased = np.maximum.accumulate(np.clip(quantiles, values[place], values[place + 1]))
    return np.concatenate([np.zeros(1, dtype=np.int64), np.rint(biased).astype(np.int64)])


def _number(quantity: Any) -> float:
    return float(quantity)


def _octave_probabilities() -> Float64Array:
    """The borders of the table's steps, ascending, from 2**-34 to 1/2: float64[(OCTAVES + 1) * 64 + 1]."""
    steps = 1 << STEP_BITS
    first = np.maximum(np.arange(steps) * 2.0 ** -(OCTAVES + 1 + STEP_BITS), 2.0 ** -(OCTAVES + 2))
    octaves = [2.0 ** -(OCTAVES + 1 - number) * (1 + np.arange(steps) / steps) for number in range(OCTAVES)]
    return np.concatenate([first, *octaves, [0.5]])


class Constant(Distribution, Generic[Quantity]):
    """Always `value`. In a file it may be written as the value alone."""

    kind: Literal["constant"] = "constant"
    value: Quantity

    def _tabulated(self) -> Int64Array:
        return np.array([-1, self.value], dtype=np.int64)


class Uniform(Distribution, Generic[Quantity]):
    """Uniform between `low` and `high`."""

    kind: Literal["uniform"] = "uniform"
    low: Quantity
    high: Quantity

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.high:  # type: ignore[operator]
            raise PydanticCustomError("distribution", "low must not be above high")
        return self

    def _tabulated(self) -> Int64Array:
        return np.array([1, self.low, self.high], dtype=np.int64)


class _Unbounded(Distribution, Generic[Quantity]):
    """A distribution without a largest value; one with a `maximum` is conditioned on the values up to it."""

    maximum: Quantity | None = None

    @model_validator(mode="after")
    def _representable(self) -> Self:
        if self.maximum is not None and not self._reaches_up_to() > 0.0:
            raise PydanticCustomError("distribution", "maximum leaves nothing to draw")
        tail = 2.0 ** -(OCTAVES + 2)
        if not self._quantiles(np.array([1 - tail]), np.array([tail]))[0] <= LARGEST:
            raise PydanticCustomError("distribution", "its largest values do not fit 62 bits; give it a maximum")
        return self

    def _quantiles(self, below: Float64Array, above: Float64Array) -> Float64Array:
        with np.errstate(over="ignore"):
            if self.maximum is None:
                return self._all_quantiles(below, above)
            part = self._reaches_up_to()
            values = self._all_quantiles(below * part, above * part + (1.0 - part))
            return np.minimum(values, _number(self.maximum))

    def _reaches_up_to(self) -> float:
        """Return the probability of a value up to `maximum` if there were none."""
        raise NotImplementedError

    def _all_quantiles(self, below: Float64Array, above: Float64Array) -> Float64Array:
        raise NotImplementedError


class Exponential(_Unbounded[Quantity], Generic[Quantity]):
    """Exponential with this `mean` (before it is cut at `maximum`)."""

    kind: Literal["exponential"] = "exponential"
    mean: Quantity

    def _reaches_up_to(self) -> float:
        return -float(np.expm1(-_number(self.maximum) / max(_number(self.mean), 1e-9)))

    def _all_quantiles(self, below: Float64Array, above: Float64Array) -> Float64Array:
        return _exponential(below, above) * _number(self.mean)


class Weibull(_Unbounded[Quantity], Generic[Quantity]):
    """Weibull: P(X > x) = exp(-(x / scale) ** shape). A shape below 1 has many short and a few very long values."""

    kind: Literal["weibull"] = "weibull"
    shape: _Parameter
    scale: Quantity

    def _reaches_up_to(self) -> float:
        ratio = _number(self.maximum) / max(_number(self.scale), 1e-9)
        return -float(np.expm1(-(ratio**self.shape)))

    def _all_quantiles(self, below: Float64Array, above: Float64Array) -> Float64Array:
        return _exponential(below, above) ** (1.0 / self.shape) * _number(self.scale)


class LogNormal(_Unbounded[Quantity], Generic[Quantity]):
    """Log-normal with this `median`; `sigma` is the standard deviation of the logarithm."""

    kind: Literal["lognormal"] = "lognormal"
    median: Quantity
    sigma: _Parameter

    def _reaches_up_to(self) -> float:
        if not _number(self.maximum) > 0:
            return 0.0
        from scipy import special

        logarithm = np.log(_number(self.maximum) / max(_number(self.median), 1e-9))
        return float(special.ndtr(logarithm / self.sigma))

    def _all_quantiles(self, below: Float64Array, above: Float64Array) -> Float64Array:
        return np.exp(self.sigma * _normal(below, above)) * _number(self.median)


class Pareto(_Unbounded[Quantity], Generic[Quantity]):
    """Pareto: P(X > x) = (minimum / x) ** alpha for x above `minimum`."""

    kind: Literal["pareto"] = "pareto"
    minimum: Quantity
    alpha: _Parameter

    def _reaches_up_to(self) -> float:
        if not self.maximum > self.minimum:  # type: ignore[operator]
            return 0.0
        ratio = _number(self.minimum) / _number(self.maximum)
        return 1.0 - float(ratio**self.alpha)

    def _all_quantiles(self, below: Float64Array, above: Float64Array) -> Float64Array:  # noqa: ARG002
        return above ** (-1.0 / self.alpha) * _number(self.minimum)


class Normal(Distribution, Generic[Quantity]):
    """Normal with this `mean` and standard `deviation`: only for quantities that may be negative."""

    kind: Literal["normal"] = "normal"
    mean: Quantity
    deviation: Quantity

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if not self.deviation >= 0:  # type: ignore[operator]
            raise PydanticCustomError("distribution", "deviation must not be negative")
        return self

    def _quantiles(self, below: Float64Array, above: Float64Array) -> Float64Array:
        return _number(self.mean) + _number(self.deviation) * _normal(below, above)


class Quantiles(Distribution, Generic[Quantity]):
    """Known quantiles at equal steps of the probability, the smallest value first, the largest last.

    In a file it may be written as the list alone. A sorted sample is such a list.
    """

    kind: Literal["quantiles"] = "quantiles"
    values: list[Quantity] = Field(min_length=1, max_length=65536)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.values != sorted(self.values):  # type: ignore[type-var]
            raise PydanticCustomError("distribution", "quantiles must ascend")
        return self

    def _tabulated(self) -> Int64Array:
        return _table_of_sorted(np.array(self.values, dtype=np.int64))

    def _quantiles(self, below: Float64Array, above: Float64Array) -> Float64Array:
        raise NotImplementedError


class Sample(Distribution, Generic[Quantity]):
    """A measured sample: `column` of a CSV or Parquet file, where a number stands for that many times `unit`.

    The file is looked for from the working directory, then beside the configuration.
    """

    kind: Literal["sample"] = "sample"
    path: str = Field(min_length=1)
    column: str = Field(min_length=1)
    unit: Quantity
    _sorted: Int64Array = PrivateAttr()

    @model_validator(mode="after")
    def _read(self, info: ValidationInfo) -> Self:
        import pyarrow as pa

        path = Path(self.path)
        folder = (info.context or {}).get("folder")
        if not path.exists() and folder is not None:
            path = Path(folder) / path
        try:
            values = _read_column(path, self.column)
        except (OSError, pa.ArrowException) as error:
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise _problem("{path} cannot be read: {reason}", path=self.path, reason=reason) from None
        if len(values) == 0 or not np.isfinite(values).all():
            raise _problem("column {column} of {path} must hold numbers", column=self.column, path=self.path)
        scaled = np.rint(values * _number(self.unit))
        if np.abs(scaled).max() > LARGEST:
            raise _problem("column {column} of {path} has values beyond 62 bits", column=self.column, path=self.path)
        self._sorted = np.sort(scaled.astype(np.int64))
        return self

    def _tabulated(self) -> Int64Array:
        return _table_of_sorted(self._sorted)


def _problem(message: str, **context: Any) -> PydanticCustomError:
    return PydanticCustomError("distribution", message, context)


def _read_column(path: Path, column: str) -> Float64Array:
    # Here, as scipy elsewhere: most configurations can be checked without.
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if path.suffix == ".parquet":
        schema = pyarrow.parquet.read_schema(path)
        if column in schema.names:
            table = pyarrow.parquet.read_table(path, columns=[column])
    else:
        table = pyarrow.csv.read_csv(path)
        schema = table.schema
    if column not in schema.names:
        raise _problem(
            "{path} has no column {column}; it has {columns}",
            path=str(path),
            column=column,
            columns=", ".join(schema.names[:12]),
        )
    kind = schema.field(column).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise _problem("column {column} of {path} must hold numbers", column=column, path=str(path))
    values: Float64Array = table[column].cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values


def _exponential(below: Float64Array, above: Float64Array) -> Float64Array:
    """Quantiles of the exponential distribution with mean 1."""
    return np.where(below < 0.5, -np.log1p(-below), -np.log(above))


def _normal(below: Float64Array, above: Float64Array) -> Float64Array:
    """Quantiles of the standard normal distribution."""
    from scipy import special

    values: Float64Array = np.where(below < 0.5, special.ndtri(below), -special.ndtri(above))
    return values


def _table_of_sorted(values: Int64Array) -> Int64Array:
    """The table of a piecewise linear quantile function with `values` at equal steps."""
    if len(values) == 1:
        return np.array([-1, values[0]], dtype=np.int64)
    if len(values) <= _MOST_QUANTILES:
        return np.concatenate([np.array([len(values) - 1], dtype=np.int64), values])
    below = _octave_probabilities()
    probabilities = np.concatenate([below, (1.0 - below)[::-1][1:]])
    places = np.linspace(0.0, 1.0, len(values))
    table = np.rint(np.interp(probabilities, places, values.astype(np.float64))).astype(np.int64)
    table[0], table[-1] = values[0], values[-1]
    return np.concatenate([np.zeros(1, dtype=np.int64), table])


def table_of_sample(values: Int64Array) -> Int64Array:
    """The table of a distribution that has these values, which ascend, as quantiles at equal steps."""
    if values[0] == values[-1]:
        values = values[:1]
    return _table_of_parts([(1.0, _table_of_sorted(values))])


def _written_short(value: Any) -> Any:
    if isinstance(value, list):
        return {"kind": "quantiles", "values": value}
    return value if isinstance(value, dict | Distribution) else {"kind": "constant", "value": value}


class MixturePart(Section, Generic[Quantity]):
    """One part of a mixture: any distribution that is none itself, drawn from in this share of the draws."""

    share: _Parameter
    of: Annotated[
        Constant[Quantity]
        | Uniform[Quantity]
        | Exponential[Quantity]
        | Weibull[Quantity]
        | LogNormal[Quantity]
        | Pareto[Quantity]
        | Normal[Quantity]
        | Quantiles[Quantity]
        | Sample[Quantity],
        Field(discriminator="kind"),
        BeforeValidator(_written_short),
    ]


class Mixture(Distribution, Generic[Quantity]):
    """One of several distributions in each draw. Shares are any positive weights, kept to one part in a million."""

    kind: Literal["mixture"] = "mixture"
    of: list[MixturePart[Quantity]] = Field(min_length=1, max_length=256)

    def parts(self) -> list[tuple[float, Int64Array]]:
        """Return the parts' tables."""
        return [(part.share, form) for part in self.of for _, form in part.of.parts()]


_KINDS: Final = (Constant, Uniform, Exponential, Weibull, LogNormal, Pareto, Normal, Quantiles, Sample, Mixture)


class Drawn:
    """Says in an annotation in which unit a field's distribution is written, and which values it may draw.

    Parameters
    ----------
    unit
        What one quantity is read as: `bridge.units.Duration`, `bridge.units.Size`, ...
    least, most
        Bounds of the values, in the base unit; a distribution that can leave them is refused.
    """

    def __init__(self, unit: Any, *, least: int = 0, most: int = LARGEST) -> None:
        self.unit, self.least, self.most = unit, least, most

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build pydantic's schema: all kinds with this unit, told apart by their `kind`."""
        kinds: Any = Union[tuple(kind[self.unit] for kind in _KINDS)]  # noqa: UP007
        schema = handler.generate_schema(Annotated[kinds, Field(discriminator="kind")])
        schema = core_schema.no_info_before_validator_function(_written_short, schema)
        return core_schema.no_info_after_validator_function(self._within_bounds, schema)

    def _within_bounds(self, value: Distribution) -> Distribution:
        smallest, largest = value.bounds()
        if smallest < self.least:
            raise _problem(
                "draws go down to {smallest}; they must be at least {least}", smallest=smallest, least=self.least
            )
        if largest > self.most:
            raise _problem(
                "draws go up to {largest}, and must be at most {most}; give it a maximum",
                largest=largest,
                most=self.most,
            )
        return value


def join_tables(tables: Sequence[Int64Array]) -> tuple[Int64Array, Int64Array]:
    """Put several tables into one array; the second is where each of them begins: int64[tables]."""
    lengths = np.array([len(table) for table in tables], dtype=np.int64)
    return np.concatenate(list(tables)), np.cumsum(lengths) - lengths
