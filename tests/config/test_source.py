"""YAML with positions: the core schema of YAML 1.2, merge keys, duplicates, aliases."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from antumbra.source import SourceError, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("yes", "yes"),
        ("1:30", "1:30"),
        ("010", 10),
        ("0o10", 8),
        ("0x1f", 31),
        ("-3", -3),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        (".inf", math.inf),
        ("2001-01-01", "2001-01-01"),
        ("null", None),
        ("~", None),
        ("", None),
        ("TRUE", True),
        ("'5'", "5"),
        ("5 ms", "5 ms"),
        ("<<", "<<"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert read_yaml(f"key: {text}").data == {"key": value}


def test_merge_keys_give_way_to_own_keys_and_to_earlier_merges() -> None:
    source = read_yaml("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  <<: [*a, *b]\n  x: 3\nd: {<<: *b}\n")
    assert source.data["c"] == {"x": 3, "y": 1, "z": 2}
    assert source.data["d"] == {"y": 2, "z": 2}
    assert source.line_of(("c", "x")) == 5
    assert source.line_of(("c", "z")) == 2


def test_every_value_knows_its_line() -> None:
    source = read_yaml("a:\n  b:\n  - one\n  - c: 1\n    d: |\n      text\n")
    assert source.line_of(("a", "b", 1, "c")) == 4
    assert source.line_of(("a", "b", 0)) == 3
    assert source.line_of(("a", "b", 1, "missing", "deeper")) == 4
    assert source.text_lines[("a", "b", 1, "d")] == 6


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "written twice; first in line 1"),
        ("a: [1, 2\n", 2, "not YAML"),
        ("a: 1\n b: 2\n", 2, "not YAML"),
        ("a: &a\n  b: *a\n", 1, "inside the value"),
        ("a: &a\n  <<: *a\n", 2, "inside the value"),
        ("a: !!python/object:os.system {}\n", 1, "no meaning"),
        ("a: !mine 3\n", 1, "no meaning"),
        ("a: 1\n<<: 3\n", 2, "takes a mapping"),
        ("? [1, 2]\n: 3\n", 1, "a key must be"),
        ("a: 1\n---\nb: 2\n", 2, "not YAML"),
        ("a: \x01\n", 1, "not YAML"),
        ("a: *nowhere\n", 1, "not YAML"),
    ],
)
def test_text_that_is_not_usable_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read_yaml(text)
    assert caught.value.line == line


def test_aliases_that_multiply_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antumbra.source._LARGEST_TREE", 10_000)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(SourceError, match="aliases come to more than"):
        read_yaml("\n".join(lines))


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]))
_VALUES = st.recursive(
    _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(_VALUES)
def test_quoted_text_reads_back_as_it_was(value: object) -> None:
    text = yaml.safe_dump({"key": value}, default_style='"', allow_unicode=True)
    assert read_yaml(text).data == {"key": value}


@given(st.integers(-(2**70), 2**70))
def test_whole_numbers_read_back_as_they_were(value: int) -> None:
    assert read_yaml(f"[{value}]").data == [value]
