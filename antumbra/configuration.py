"""The configuration as a whole: Shadow's format and the sections of ours, each from its own room.

Reading stops at what can be said by looking at the file alone; `antumbra.plan` checks it against the world.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from antumbra.problems import ConfigurationError, Problem, Problems, from_validation
from antumbra.source import Source, SourceError, read_yaml
from bridge.collector import without_collections
from bridge.errors import UserError
from bridge.section import DistributedSection, GeneralSection, NetworkSection, Section
from cold.section import ColdSection
from hot.section import ExperimentalSection, Hostname, HostOptions, HostSection

__all__ = ["Configuration", "Sections", "load_configuration", "read_configuration"]


class Sections(Section):
    """All sections of a configuration file."""

    general: GeneralSection
    network: NetworkSection
    experimental: ExperimentalSection = ExperimentalSection()
    host_option_defaults: HostOptions = HostOptions()
    hosts: dict[Hostname, HostSection] = Field(default_factory=dict)
    cold: ColdSection | None = None
    distributed: DistributedSection = DistributedSection()


@dataclass(frozen=True)
class Configuration:
    """A configuration that was read: its sections, and the file that they came from.

    Attributes
    ----------
    file : str
        The name to use in messages.
    folder : pathlib.Path
        Where the file stands; graph files that are not found from the working directory are looked for here.
    text : str
        The file as it was.
    source : Source
        Its values and their lines.
    sections : Sections
        With the overrides of the command line applied.
    """

    file: str
    folder: Path
    text: str
    source: Source
    sections: Sections


def load_configuration(
    path: str | Path,
    *,
    seed: int | None = None,
    stop_time: str | int | None = None,
    strace_logging_mode: str | None = None,
    partition_file: str | None = None,
) -> Configuration:
    """Read a configuration file.

    Parameters
    ----------
    path
        A YAML file in Shadow's format.
    seed, stop_time, strace_logging_mode, partition_file
        Override `general.seed`, `general.stop_time` ("10 s"; a bare number counts seconds),
        `experimental.strace_logging_mode` and `distributed.partition_file`.

    Raises
    ------
    ConfigurationError
        Every problem found, each with its line and key.
    UserError
        The file cannot be read, or an override is wrong.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"the configuration cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise UserError(f"the configuration is not UTF-8: {error.reason}", where=str(path)) from None
    overrides: dict[str, dict[str, object]] = {"general": {}, "experimental": {}, "distributed": {}}
    if seed is not None:
        overrides["general"]["seed"] = seed
    if stop_time is not None:
        overrides["general"]["stop_time"] = stop_time
    if strace_logging_mode is not None:
        overrides["experimental"]["strace_logging_mode"] = strace_logging_mode
    if partition_file is not None:
        overrides["distributed"]["partition_file"] = partition_file
    return read_configuration(text, str(path), path.absolute().parent, overrides)


@without_collections
def read_configuration(
    text: str, file: str, folder: Path, overrides: dict[str, dict[str, object]] | None = None
) -> Configuration:
    """Read a configuration from its text; `file` is the name to use in messages. See `load_configuration`."""
    try:
        source = read_yaml(text)
    except SourceError as error:
        problems = Problems(file, Source(None))
        problems.add(error.path, str(error), error.line)
        raise ConfigurationError(file, problems.found) from None
    if not isinstance(source.data, dict):
        message = "the file must hold a mapping with general, network and hosts (Shadow's format)"
        raise ConfigurationError(file, [Problem("", message, 1)])
    data = {key: value for key, value in source.data.items() if not str(key).startswith("x-")}
    problems = Problems(file, source)
    try:
        sections = Sections.model_validate(data, context={"folder": folder})
    except ValidationError as error:
        for path, message in from_validation(error, source, Sections):
            problems.add(path, message)
    if not data.get("hosts") and not data.get("cold"):
        problems.add((), "there is nothing to run: give it hosts, or a cold tail", 1)
    problems.stop()
    return Configuration(file, folder, text, source, _overridden(sections, overrides or {}))


def _overridden(sections: Sections, overrides: dict[str, dict[str, object]]) -> Sections:
    """Return the sections with values of the command line in place of theirs, validated like theirs."""
    updated = {}
    for name, values in overrides.items():
        section: Section = getattr(sections, name)
        changes = {key: _override(type(section), key, value) for key, value in values.items()}
        updated[name] = section.model_copy(update=changes)
    return sections.model_copy(update=updated)


def _override(section: type[Section], key: str, value: object) -> object:
    adapter: TypeAdapter[object] = TypeAdapter(section.model_fields[key].rebuild_annotation())
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        raise UserError(error.errors()[0]["msg"], where="--" + key.replace("_", "-")) from None
