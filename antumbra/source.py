"""Reading YAML with its positions: every value of the configuration knows the line that it was written on.

Shadow reads YAML 1.2, with merge keys. PyYAML reads 1.1, where `off` is a boolean, `1:30` a number and `010`
an octal; so the scalars are resolved here, by the core schema of YAML 1.2 (section 10.3.2). Duplicate keys
are errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from bridge.collector import without_collections

Path = tuple[str | int, ...]

_MERGE_TAG: Final = "tag:yaml.org,2002:merge"
_COLLECTION_TAGS: Final = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_LARGEST_TREE: Final = 10_000_000
"""Values after aliases are followed. A few lines of nested aliases can ask for more than any memory holds."""


class SourceError(Exception):
    """Text that is not usable YAML; `line` counts from 1."""

    def __init__(self, message: str, line: int, path: Path = ()) -> None:
        super().__init__(message)
        self.line = line
        self.path = path


@dataclass(frozen=True)
class Source:
    """A document as plain Python values, and where each of them stands.

    Attributes
    ----------
    data : object
    lines : dict
        From the path of a value to the line of its key (or of the value itself, in a list).
    text_lines : dict
        From the path of a block scalar (`|` or `>`) to the line of its first text.
    """

    data: Any
    lines: dict[Path, int] = field(default_factory=dict)
    text_lines: dict[Path, int] = field(default_factory=dict)

    def line_of(self, path: Path) -> int:
        """Return the line of the value at `path`, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Loader(yaml.CSafeLoader):
    """PyYAML's loader without its idea of what plain scalars are."""

    # Not a ClassVar to PyYAML's types, though it is one.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


@without_collections
def read_yaml(text: str) -> Source:
    """Read one YAML document.

    Raises
    ------
    SourceError
        Syntax errors, duplicate keys, aliases that contain themselves, tags.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        raise SourceError(f"not YAML: {error.reason}", text.count("\n", 0, error.position) + 1) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise SourceError(f"not YAML: {problem}", mark.line + 1 if mark else 1) from None
    except yaml.YAMLError as error:
        raise SourceError(f"not YAML: {error}", 1) from None
    reader = _Reader()
    data = None if root is None else reader.value(root, (), ())
    return Source(data, reader.lines, reader.text_lines)


class _Reader:
    """Turns nodes into values, and notes positions on the way."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.text_lines: dict[Path, int] = {}
        self._values = 0

    def value(self, node: yaml.Node, path: Path, around: tuple[int, ...]) -> Any:
        line = node.start_mark.line + 1
        self._values += 1
        if self._values > _LARGEST_TREE:
            raise SourceError(f"its aliases come to more than {_LARGEST_TREE} values", line, path)
        if id(node) in around:
            raise SourceError("an alias stands inside the value that it stands for", line, path)
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.ScalarNode):
            if node.style in ("|", ">"):
                self.text_lines[path] = line + 1
            return _scalar(node, path)
        if node.tag not in _COLLECTION_TAGS:
            raise SourceError(f"the tag {node.tag!r} has no meaning here", line, path)
        around = (*around, id(node))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, place), around) for place, item in enumerate(node.value)]
        return self._mapping(node, path, around)

    def _mapping(self, node: yaml.Node, path: Path, around: tuple[int, ...]) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        for key, key_node, value_node in _entries(node, path):
            if key in mapping:
                first = self.lines[(*path, key)]
                line = key_node.start_mark.line + 1
                raise SourceError(f"the key is written twice; first in line {first}", line, (*path, key))
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            mapping[key] = self.value(value_node, (*path, key), around)
        for key, key_node, value_node in _merged_entries(node, path, around):
            if key not in mapping:
                self.lines[(*path, key)] = key_node.start_mark.line + 1
                mapping[key] = self.value(value_node, (*path, key), around)
        return mapping


def _entries(node: yaml.Node, path: Path) -> Iterator[tuple[Any, yaml.Node, yaml.Node]]:
    """Yield the mapping's own entries, without merge keys."""
    for key_node, value_node in node.value:
        if key_node.tag == _MERGE_TAG:
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            raise SourceError("a key must be a plain string or number", key_node.start_mark.line + 1, path)
        yield _scalar(key_node, path), key_node, value_node


def _merged_entries(node: yaml.Node, path: Path, around: tuple[int, ...]) -> Iterator[tuple[Any, yaml.Node, yaml.Node]]:
    """Yield what `<<` brings in: the earlier of several mappings first, each with its own merges."""
    for key_node, value_node in node.value:
        if key_node.tag != _MERGE_TAG:
            continue
        sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
        for source in sources:
            line = key_node.start_mark.line + 1
            if not isinstance(source, yaml.MappingNode):
                raise SourceError("'<<' takes a mapping or a list of mappings", line, path)
            if id(source) in around:
                raise SourceError("an alias stands inside the value that it stands for", line, path)
            yield from _entries(source, path)
            yield from _merged_entries(source, path, (*around, id(source)))


def _scalar(node: yaml.ScalarNode, path: Path) -> Any:
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    text: str = node.value
    if kind in ("str", "merge"):
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int" and re.fullmatch(r"[-+]?[0-9]{1,4000}", text, re.ASCII):
        return int(text)
    if kind == "int" and re.fullmatch(r"0o[0-7]+|0x[0-9a-fA-F]+", text):
        return int(text, 0)
    if kind == "float":
        try:
            return float(re.sub(r"\.(inf|nan)$", r"\1", text.lower()))
        except ValueError:
            return math.nan
    raise SourceError(f"the tag {node.tag!r} has no meaning here", node.start_mark.line + 1, path)
