"""Quantities with units, as Shadow's configuration and GML graphs write them: "10 ms", "50 Mbit", "100 MB".

A bare number counts base units: seconds, bits per second, bytes. Decimals are accepted when they come to a
whole number of the unit that the program keeps (nanoseconds, bits per second, bytes), so that nothing is
rounded silently.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any, Final

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

_NS_PER_UNIT: Final[dict[str, int]] = {
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), 1),
    **dict.fromkeys(("us", "\u03bcs", "\u00b5s", "microsecond", "microseconds"), 10**3),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 10**6),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 10**9),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60 * 10**9),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600 * 10**9),
}

_PREFIXES: Final[dict[str, int]] = {
    "": 1,
    **dict.fromkeys(("K", "kilo"), 10**3),
    **dict.fromkeys(("Ki", "kibi"), 2**10),
    **dict.fromkeys(("M", "mega"), 10**6),
    **dict.fromkeys(("Mi", "mebi"), 2**20),
    **dict.fromkeys(("G", "giga"), 10**9),
    **dict.fromkeys(("Gi", "gibi"), 2**30),
    **dict.fromkeys(("T", "tera"), 10**12),
    **dict.fromkeys(("Ti", "tebi"), 2**40),
}

_BITS_PER_UNIT: Final[dict[str, int]] = {
    prefix + suffix: factor for suffix in ("bit", "bits", "") for prefix, factor in _PREFIXES.items()
}
_BYTES_PER_UNIT: Final[dict[str, int]] = {
    prefix + suffix: factor for suffix in ("B", "byte", "bytes", "") for prefix, factor in _PREFIXES.items()
}

_PPB_PER_UNIT: Final[dict[str, int]] = {"ppb": 1, "ppm": 1000}

_QUANTITY: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([^\s0-9.+-]*)\s*", re.ASCII)
_LARGEST: Final = 2**63 - 1


class UnitError(ValueError):
    """A quantity that cannot be read; the message says what was written and what would be right."""


def _parse(value: object, units: dict[str, int], noun: str, example: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise UnitError(f"{value!r} is not a {noun}; write it as {example}")
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        raise UnitError(f"{value!r} is not a {noun}; write it as {example}")
    number, unit = match.groups()
    factor = units.get(unit)
    if factor is None:
        raise UnitError(f"{unit!r} is not a unit of {noun}; write it as {example}")
    amount = Fraction(number) * factor
    if amount.denominator != 1:
        raise UnitError(f"{value!r} is finer than the smallest {noun} that is kept")
    if amount > _LARGEST:
        raise UnitError(f"{value!r} is larger than the largest {noun} that fits 63 bits")
    return int(amount)


def parse_time(value: object) -> int:
    """Read a time span.

    Parameters
    ----------
    value : str or int
        "10 ms", "2 min", ...; a bare number counts seconds.

    Returns
    -------
    int
        Nanoseconds.
    """
    return _parse(value, _NS_PER_UNIT, "time", "'10 ms', '5 s' or '2 min' (ns, us, ms, s, min, h)")


def parse_signed_time(value: object) -> int:
    """Read a time span that may be negative ("-50 ms") as nanoseconds."""
    sign, magnitude = _split_sign(value)
    return sign * parse_time(magnitude)


def parse_drift(value: object) -> int:
    """Read the drift of a clock, which may be negative ("20 ppm", "-500 ppb"), as parts per billion."""
    sign, magnitude = _split_sign(value)
    return sign * _parse(magnitude, _PPB_PER_UNIT, "drift", "'20 ppm' or '500 ppb'")


def _split_sign(value: object) -> tuple[int, object]:
    if isinstance(value, str) and value.lstrip().startswith("-"):
        return -1, value.lstrip()[1:]
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        return -1, -value
    return 1, value


def parse_bandwidth(value: object) -> int:
    """Read a bandwidth ("50 Mbit", "1 Gibit"; a bare number counts bits per second) as bits per second."""
    return _parse(value, _BITS_PER_UNIT, "bandwidth", "'50 Mbit' or '1 Gbit' (per second)")


def parse_size(value: object) -> int:
    """Read an amount of data ("100 MB", "64 KiB"; a bare number counts bytes) as bytes."""
    return _parse(value, _BYTES_PER_UNIT, "size", "'64 KiB' or '100 MB'")


def format_time(nanoseconds: int) -> str:
    """Write a time span with the largest unit that keeps it a whole number; `parse_time` reads it back."""
    return _format(
        nanoseconds,
        (("h", 3600 * 10**9), ("min", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 10**3)),
        "ns",
    )


def format_bandwidth(bits_per_second: int) -> str:
    """Write a bandwidth with the largest decimal prefix that keeps it a whole number."""
    return _format(bits_per_second, (("Tbit", 10**12), ("Gbit", 10**9), ("Mbit", 10**6), ("Kbit", 10**3)), "bit")


def format_size(size: int) -> str:
    """Write an amount of data for a person: three significant digits and a binary prefix."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.4g} {unit}"
        amount /= 1024
    return f"{amount:.4g} TiB"


def _format(value: int, units: tuple[tuple[str, int], ...], smallest: str) -> str:
    for name, factor in units:
        if value and value % factor == 0:
            return f"{value // factor} {name}"
    return f"{value} {smallest}"


def _validator(parse: Any) -> BeforeValidator:
    def validate(value: object) -> int:
        try:
            result: int = parse(value)
        except UnitError as error:
            raise PydanticCustomError("unit", "{reason}", {"reason": str(error)}) from None
        return result

    return BeforeValidator(validate, json_schema_input_type=str | int)


Duration = Annotated[int, _validator(parse_time)]
"""A field that holds nanoseconds and is written as a time."""
SignedDuration = Annotated[int, _validator(parse_signed_time)]
"""A field that holds nanoseconds and is written as a time, which may be negative."""
Drift = Annotated[int, _validator(parse_drift)]
"""A field that holds parts per billion and is written in ppm or ppb; it may be negative."""
Bandwidth = Annotated[int, _validator(parse_bandwidth)]
"""A field that holds bits per second and is written as a bandwidth."""
Size = Annotated[int, _validator(parse_size)]
"""A field that holds bytes and is written as a size."""
