"""A study: which experiments say how accurate the surrogates are, and what they said.

The function that runs an experiment is handed in: this room does not know how that is done. A run that is complete is
not made again while nothing that it depends on has changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Self

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from bridge.digests import file_digest
from bridge.errors import ExperimentFailed, InternalError, UserError
from bridge.rundir import MANIFEST, disk_errors_reported
from bridge.section import Section
from calibration.compare import Comparison, compare, find_observables
from calibration.observables import OBSERVABLES, RunRecords, read_manifest, read_run

#: Runs a configuration with a seed, and leaves a run's directory.
RunExperiment = Callable[[Path, int, Path], None]
Seed = Annotated[int, Field(ge=0, lt=2**64)]

#: The packages whose code decides what a run does, and the files in them that are code.
_ROOMS: Final = ("antumbra", "bridge", "cold", "hot", "shim")
_CODE: Final = (".py", ".c", ".h", ".S", ".so")


class Study(Section):
    """A study's file.

    Attributes
    ----------
    reference : str
        Configuration in which every host is direct. Paths are relative to the study's file.
    hybrid : str
        Configuration whose accuracy is in question.
    inputs : list of str
        Patterns of further files that the runs depend on: graphs, programs. Runs are made again when one changes.
    seeds : list of int
        Seeds of the reference. Parameters may be fitted to these runs.
    held_out_seeds : list of int
        Seeds for validation: of the hybrid runs, and of the direct runs that give the noise floor.
    observables : list of str
        Names; all by default.
    peers : list of str
        Patterns of the hosts whose peers count: those that are hot in both configurations.
    tolerance, confidence : float
    resamples : int
        See `calibration.compare.compare`.
    """

    reference: str = Field(min_length=1)
    hybrid: str = Field(min_length=1)
    inputs: list[str] = Field(default_factory=list)
    seeds: list[Seed] = Field(min_length=1)
    held_out_seeds: list[Seed] = Field(min_length=1)
    observables: list[str] = Field(default_factory=lambda: list(OBSERVABLES), min_length=1)
    peers: list[str] = Field(default=["*"], min_length=1)
    tolerance: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    resamples: int = Field(default=1000, ge=100)

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        ordered = sorted(self.seeds + self.held_out_seeds)
        twice = [seed for seed, following in pairwise(ordered) if seed == following]
        if twice:
            raise PydanticCustomError(
                "seeds",
                "seed {seed} is listed twice; seeds and held_out_seeds must have none in common",
                {"seed": twice[0]},
            )
        return self

    @model_validator(mode="after")
    def _observables_exist(self) -> Self:
        for name in self.observables:
            if name not in OBSERVABLES:
                raise PydanticCustomError(
                    "observables",
                    "there is no observable {name}; there are {known}",
                    {"name": repr(name), "known": ", ".join(OBSERVABLES)},
                )
        return self


def load_study(path: Path | str) -> Study:
    """Read a study's file (YAML).

    Raises
    ------
    UserError
        With every key that is wrong.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"the study cannot be read: {error.strerror}", where=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"not YAML: {error}", where=str(path)) from None
    try:
        return Study.model_validate(data)
    except ValidationError as error:
        problems = [
            ": ".join([*filter(None, [".".join(map(str, detail["loc"]))]), detail["msg"]]) for detail in error.errors()
        ]
        raise UserError("; ".join(problems), where=str(path)) from None


def run_study(
    study: Study,
    run_experiment: RunExperiment,
    directory: Path | str,
    *,
    folder: Path | str = ".",
    simulator: str | None = None,
) -> Comparison:
    """Make the runs of a study, as far as they are not there yet, and compare them.

    Direct runs with `seeds` are the reference. Direct and hybrid runs with `held_out_seeds` are compared with it, so
    that noise floor and result differ in nothing but the surrogates.

    Parameters
    ----------
    study
        What to do.
    run_experiment
        Called with a configuration's path, a seed and the directory to leave the run in.
    directory
        Where runs (in ``runs/``) and the comparison go.
    folder
        Where the study's file is: its paths are relative to this.
    simulator
        Tells one version of the simulator from another: runs by another are not used. `simulator_digest` by default.

    Raises
    ------
    UserError
        A file of the study is missing.
    ExperimentFailed
        A run did not end as it should.
    """
    folder, directory = Path(folder), Path(directory)
    simulator = simulator or simulator_digest()
    inputs = _inputs(study, folder)

    def runs(name: str, configuration: str, seeds: Sequence[int]) -> list[RunRecords]:
        path = folder / configuration
        key = _digest_of([path, *inputs], simulator)
        return [
            read_run(_run(run_experiment, path, seed, directory / "runs" / f"{name}-{seed}-{key[:16]}"), study.peers)
            for seed in seeds
        ]

    result = compare(
        runs("direct", study.reference, study.seeds),
        runs("hybrid", study.hybrid, study.held_out_seeds),
        runs("direct", study.reference, study.held_out_seeds),
        observables=find_observables(study.observables),
        tolerance=study.tolerance,
        confidence=study.confidence,
        resamples=study.resamples,
    )
    result.write(directory)
    return result


def simulator_digest() -> str:
    """SHA-256 over the simulator's own code, in hex: surrogates are what a study tests, so their code counts."""
    roots = {}
    for room in _ROOMS:
        spec = importlib.util.find_spec(room)
        if spec is None or spec.origin is None:
            raise InternalError(f"the package {room} is not installed")
        # Not the package's search path: in an editable installation that names no folder.
        roots[room] = Path(spec.origin).parent
    return code_digest(roots)


def code_digest(roots: Mapping[str, Path]) -> str:
    """SHA-256 over the code in some folders, by the names of the folders, in hex."""
    total = hashlib.sha256()
    for name, root in sorted(roots.items()):
        for file in sorted(root.rglob("*")):
            if file.is_file() and (file.suffix in _CODE or file.parent.name == "bin"):
                total.update(f"{name}/{file.relative_to(root)}\0{file_digest(file)}\0".encode())
    return total.hexdigest()


def _inputs(study: Study, folder: Path) -> list[Path]:
    found: list[Path] = []
    for pattern in study.inputs:
        matches = sorted(path for path in folder.glob(pattern) if path.is_file())
        if not matches:
            raise UserError(f"no file matches {pattern!r} in {folder}", where="inputs")
        found.extend(matches)
    return found


def _digest_of(files: Sequence[Path], simulator: str) -> str:
    total = hashlib.sha256(simulator.encode())
    for file in files:
        try:
            total.update(bytes.fromhex(file_digest(file)))
        except OSError as error:
            raise UserError(f"the file cannot be read: {error.strerror}", where=str(file)) from None
    return total.hexdigest()


def _run(run_experiment: RunExperiment, configuration: Path, seed: int, directory: Path) -> Path:
    """Make one run, unless it is there; returns its directory."""
    if not _is_complete(directory):
        with disk_errors_reported(directory):
            directory.parent.mkdir(parents=True, exist_ok=True)
        run_experiment(configuration, seed, directory)
        if not _is_complete(directory):
            raise ExperimentFailed(f"{configuration} with seed {seed} did not end as it should", where=str(directory))
    return directory


def _is_complete(directory: Path) -> bool:
    return (directory / MANIFEST).exists() and read_manifest(directory).get("status") == "complete"
