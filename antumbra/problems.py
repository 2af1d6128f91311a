"""Problems of a configuration, and how they are told: file, line, key, what is wrong, what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from antumbra.source import Path, Source
from bridge.errors import UserError

_PLAIN: Final[Mapping[str, str]] = {
    "missing": "is required, and missing",
    "string_type": "must be a string (put it in quotes)",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}


_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `line` is None where it is no line's fault (a limit of the machine)."""

    key: str
    message: str
    line: int | None = None

    def describe(self, file: str) -> str:
        """Return the problem as one line for a person."""
        where = file if self.line is None else f"{file}:{self.line}"
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class ConfigurationError(UserError):
    """Everything that is wrong with a configuration, told at once."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        ordered = sorted(set(problems), key=lambda p: (p.line is None, p.line or 0, p.key, p.message))
        self.file = file
        self.problems: tuple[Problem, ...] = tuple(ordered)
        super().__init__("\n".join(problem.describe(file) for problem in self.problems))


@dataclass
class Problems:
    """Collects problems against a source; `stop` ends the checks if there are any."""

    file: str
    source: Source
    found: list[Problem] = field(default_factory=list)

    def add(self, path: Path, message: str, line: int | None = None) -> None:
        """Note a problem with the value at `path`, at its own line unless another is given."""
        self.found.append(Problem(format_path(path), message, line or self.source.line_of(path)))

    def add_machine(self, message: str) -> None:
        """Note that the machine is too small; no line of the file is to blame."""
        self.found.append(Problem("", message))

    def stop(self) -> None:
        """Raise everything that was found, if anything was."""
        if self.found:
            raise ConfigurationError(self.file, self.found)


def format_path(path: Path) -> str:
    """Write a path as a person would: `hosts.client1.processes[0].path`."""
    text = ""
    for element in path:
        text += f"[{element}]" if isinstance(element, int) else f".{element}" if text else str(element)
    return text


def from_validation(error: ValidationError, source: Source, root: type[BaseModel]) -> Iterator[tuple[Path, str]]:
    """Yield (path, message) of every error that pydantic found."""
    for detail in error.errors(include_url=False):
        path = _path_in_source(detail["loc"], source.data, detail["type"] == "missing")
        yield path, _message(detail, path, root)


def suggest(name: object, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest known name, or the list of names where there are few."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known here: {', '.join(names)}" if 0 < len(names) <= 12 else ""


def _path_in_source(location: tuple[int | str, ...], data: Any, missing: bool) -> Path:
    """Keep what exists in the file of pydantic's location: the rest names branches of its schema."""
    path: list[int | str] = []
    for place, element in enumerate(location):
        inside = _child(data, element)
        if inside is _ABSENT and not (missing and place == len(location) - 1):
            continue
        data = inside
        path.append(element)
    return tuple(path)


def _child(data: Any, element: int | str) -> Any:
    if isinstance(data, dict):
        return data.get(element, _ABSENT)
    if isinstance(data, list) and isinstance(element, int) and element < len(data):
        return data[element]
    return _ABSENT


def _message(detail: ErrorDetails, path: Path, root: type[BaseModel]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return "unknown key" + suggest(path[-1], _fields_at(root, path[:-1]))
    if kind in _PLAIN:
        return _PLAIN[kind]
    context = detail.get("ctx", {})
    if kind == "literal_error":
        return f"{detail['input']!r} is not one of {context['expected']}" + suggest_literal(detail["input"], context)
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        ((_, bound),) = context.items()
        relation = {
            "greater_than": "more than",
            "greater_than_equal": "at least",
            "less_than": "less than",
            "less_than_equal": "at most",
        }[kind]
        return f"must be {relation} {bound}"
    message = detail["msg"]
    return message[0].lower() + message[1:] if message[:2].istitle() else message


def suggest_literal(value: object, context: Mapping[str, Any]) -> str:
    """Return "; did you mean ...?" for a value that is nearly one of those expected."""
    expected = [word.strip("' ") for word in str(context["expected"]).replace(" or ", ",").split(",")]
    near = difflib.get_close_matches(str(value), expected, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _fields_at(model: type[BaseModel], path: Path) -> list[str]:
    """Return the keys that the section at `path` knows."""
    annotation: Any = model
    for element in path:
        annotation = _section_in(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            info = annotation.model_fields.get(str(element))
            annotation = info.annotation if info else None
        else:
            arguments = get_args(annotation)
            annotation = arguments[-1] if arguments else None
    annotation = _section_in(annotation)
    return list(annotation.model_fields) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def _section_in(annotation: Any) -> Any:
    """Look through Annotated and Optional to the type that holds sections."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        arguments = [part for part in get_args(annotation) if part is not type(None)]
        annotation = arguments[0]
    return annotation
