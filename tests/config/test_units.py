"""Quantities with units: what is read, what is refused, and that writing and reading agree."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.units import (
    UnitError,
    format_bandwidth,
    format_size,
    format_time,
    parse_bandwidth,
    parse_drift,
    parse_signed_time,
    parse_size,
    parse_time,
)

TIME_UNITS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "sec": 10**9,
    "min": 60 * 10**9,
    "hours": 3600 * 10**9,
}


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("10 ms", 10_000_000),
        ("10ms", 10_000_000),
        ("2 min", 120 * 10**9),
        ("10m", 600 * 10**9),
        ("1.5 s", 1_500_000_000),
        ("3 \u03bcs", 3_000),
        ("7", 7 * 10**9),
        (7, 7 * 10**9),
        ("1 microseconds", 1_000),
        ("0 sec", 0),
    ],
)
def test_times_are_read_as_nanoseconds(text: object, nanoseconds: int) -> None:
    assert parse_time(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "bits"),
    [("50 Mbit", 50 * 10**6), ("1 Gibit", 2**30), ("10 kilobits", 10**4), (9, 9), ("1 T", 10**12)],
)
def test_bandwidths_are_read_as_bits_per_second(text: object, bits: int) -> None:
    assert parse_bandwidth(text) == bits


@pytest.mark.parametrize(
    ("text", "size"),
    [("100 MB", 10**8), ("65535 B", 65535), ("4 KiB", 4096), ("2 megabytes", 2 * 10**6), (5, 5)],
)
def test_sizes_are_read_as_bytes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(("text", "time"), [("-50 ms", -50 * 10**6), ("3 s", 3 * 10**9), (-2, -2 * 10**9), (0, 0)])
def test_signed_times_may_be_negative(text: object, time: int) -> None:
    assert parse_signed_time(text) == time


@pytest.mark.parametrize(
    ("text", "drift"), [("20 ppm", 20_000), ("-500 ppb", -500), ("0.5 ppm", 500), (" - 1 ppm", -1000)]
)
def test_drifts_are_read_as_parts_per_billion(text: object, drift: int) -> None:
    assert parse_drift(text) == drift


@pytest.mark.parametrize("parse", [parse_signed_time, parse_drift])
@pytest.mark.parametrize("wrong", ["", "-", "--1 s", "--1 ppm", "1", True, None, 1.5, "-1 parsec"])
def test_what_is_not_a_signed_quantity_is_refused(parse: Callable[[object], int], wrong: object) -> None:
    if parse is parse_signed_time and wrong == "1":
        wrong = "1 ppm"
    with pytest.raises(UnitError):
        parse(wrong)


@pytest.mark.parametrize("parse", [parse_time, parse_bandwidth, parse_size])
@pytest.mark.parametrize(
    "wrong", ["", "ms", "-1 s", "1 parsec", "1e3", "1 2", True, None, 1.5, "99999999999999 T", "1..2"]
)
def test_what_is_not_a_quantity_is_refused(parse: Callable[[object], int], wrong: object) -> None:
    with pytest.raises(UnitError):
        parse(wrong)


@pytest.mark.parametrize(("parse", "text"), [(parse_time, "1 Mbit"), (parse_bandwidth, "1 ms"), (parse_size, "1 Mbit")])
def test_units_of_something_else_are_refused(parse: Callable[[object], int], text: str) -> None:
    with pytest.raises(UnitError, match="is not a unit"):
        parse(text)


def test_a_fraction_of_a_nanosecond_is_refused() -> None:
    with pytest.raises(UnitError, match="finer"):
        parse_time("0.5 ns")


@given(
    st.integers(min_value=0, max_value=10**6),
    st.sampled_from(sorted(TIME_UNITS)),
    st.sampled_from(["", " ", "  "]),
)
def test_a_time_is_its_number_times_its_unit(number: int, unit: str, space: str) -> None:
    assert parse_time(f"{number}{space}{unit}") == number * TIME_UNITS[unit]


@given(st.integers(min_value=0, max_value=2**62))
def test_what_is_written_reads_back_as_the_same(value: int) -> None:
    assert parse_time(format_time(value)) == value
    assert parse_bandwidth(format_bandwidth(value)) == value


@given(st.integers(min_value=1, max_value=10**6), st.integers(min_value=1, max_value=9))
def test_decimals_are_exact(number: int, digits: int) -> None:
    whole, fraction = divmod(number, 10**digits)
    assert parse_time(f"{whole}.{fraction:0{digits}} s") == number * 10 ** (9 - digits)


def test_sizes_are_written_for_people() -> None:
    assert format_size(1536) == "1.5 KiB"
    assert format_size(3 * 2**40) == "3 TiB"
