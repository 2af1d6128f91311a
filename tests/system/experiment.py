"""Experiments for tests: their configuration, their run through the command line, and what they leave behind."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from bridge.digests import tree_entries

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-c", "from antumbra.cli import main; main()")

#: Only to end a test that would never end: nothing is measured with it.
TIMEOUT_S = 300

Configuration = dict[str, Any]


def build_apps(folder: Path, names: str = "*") -> Path:
    """Compile the programs of tests/apps whose names match a pattern into a folder; returns it."""
    for source in sorted((ROOT / "tests" / "apps").glob(f"{names}.c")):
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
        subprocess.run(["gcc", *flags, str(source), "-o", str(folder / source.stem)], check=True, timeout=120)
    return folder


def network(
    *,
    latency: str = "10 ms",
    loss: float = 0.0,
    up: str = "1 Gbit",
    down: str = "1 Gbit",
) -> dict[str, Any]:
    """Two places, 0 and 1. Latency and loss are those of any path; the bandwidths are those of hosts at place 1."""
    path = f'latency "{latency}" packet_loss {loss}'
    text = f"""graph [
        node [ id 0 host_bandwidth_up "1 Gbit" host_bandwidth_down "1 Gbit" ]
        node [ id 1 host_bandwidth_up "{up}" host_bandwidth_down "{down}" ]
        edge [ source 0 target 0 {path} ]
        edge [ source 0 target 1 {path} ]
        edge [ source 1 target 1 {path} ]
    ]"""
    return {"graph": {"type": "gml", "inline": text}}


def process(path: str | Path, *args: str, **keys: object) -> dict[str, Any]:
    """One entry of `processes`; keys as in the configuration (start_time, expected_final_state, ...)."""
    return {"path": str(path), "args": list(args), **keys}


def python(code: str, *args: str, **keys: object) -> dict[str, Any]:
    """A process that runs Python code."""
    return process("python3", "-c", code, *args, **keys)


def shell(script: str, **keys: object) -> dict[str, Any]:
    """A process that runs a script in bash."""
    return process("bash", "-c", script, **keys)


def host(*processes: dict[str, Any], node: int = 0, **keys: object) -> dict[str, Any]:
    """One entry of `hosts`."""
    return {"network_node_id": node, "processes": list(processes), **keys}


def experiment(
    hosts: Mapping[str, dict[str, Any]],
    *,
    stop_time: str = "60 s",
    network: Mapping[str, Any] | None = None,
    experimental: Mapping[str, Any] | None = None,
    pcap: bool = False,
    **general: object,
) -> Configuration:
    """Return a configuration; without a network, hosts are on Shadow's built-in switch."""
    return {
        "general": {"stop_time": stop_time, **general},
        "network": dict(network or {"graph": {"type": "1_gbit_switch"}}),
        "experimental": dict(experimental or {}),
        "host_option_defaults": {"pcap_enabled": pcap},
        "hosts": dict(hosts),
    }


def write(configuration: Configuration, path: Path) -> Path:
    """Write a configuration as YAML."""
    path.write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    return path


def _environment() -> dict[str, str]:
    return environment()


def environment(**more: str) -> dict[str, str]:
    """Environment of the command line: `python3` is the interpreter that runs the tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "TERM": "dumb", **more}


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    directory: Path
    exit_code: int
    output: str
    errors: str

    def path(self, host: str, name: str) -> Path:
        """The only file of a host whose name matches a pattern."""
        found = sorted((self.directory / "hosts" / host).glob(name))
        assert len(found) == 1, f"{host}/{name}: found {[path.name for path in found]}\n{self.story()}"
        return found[0]

    def stdout(self, host: str, program: str = "*") -> str:
        """What the only process of a host (or of a program on it) wrote to its standard output."""
        return self.path(host, f"{program}.*.stdout").read_text(encoding="utf-8")

    def stderr(self, host: str, program: str = "*") -> str:
        """What the only process of a host (or of a program on it) wrote to its standard error."""
        return self.path(host, f"{program}.*.stderr").read_text(encoding="utf-8")

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """What sim-stats.json holds."""
        content: dict[str, Any] = json.loads((self.directory / "sim-stats.json").read_text(encoding="utf-8"))
        return content

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What manifest.json holds."""
        content: dict[str, Any] = json.loads((self.directory / "manifest.json").read_text(encoding="utf-8"))
        return content

    @cached_property
    def files(self) -> dict[str, str]:
        """Digests of everything below hosts/."""
        return tree_entries(self.directory / "hosts")

    def endings(self) -> dict[str, str]:
        """How the processes ended, by host; for experiments with one process on each."""
        return {entry["host"]: entry["actual"] for entry in self.statistics["processes"]}

    def story(self) -> str:
        """Everything that helps to see why a run went otherwise than expected."""
        parts = [f"exit code {self.exit_code}", self.errors, self.output]
        for path in sorted(self.directory.glob("hosts/*/*.std*")):
            text = path.read_text(encoding="utf-8", errors="backslashreplace")
            if text:
                parts.append(f"--- {path.relative_to(self.directory)}\n{text[-2000:]}")
        return "\n".join(parts)


class Programs:
    """Finds programs that not every machine has."""

    def __call__(self, name: str) -> str:
        """Return the path of a program, or skip the test that needs it."""
        found = shutil.which(name, path=f"{environment()['PATH']}:/usr/sbin:/sbin")
        if found is None:
            pytest.skip(f"{name} is not installed (tests/install-programs.sh)")
        return found

    def package(self, name: str) -> None:
        """Skip a test whose managed processes import a Python package that is missing."""
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"Python's {name} is not installed (tests/install-programs.sh)")


class Laboratory:
    """Runs experiments in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, configuration: Configuration | Path, *options: str, name: str = "run") -> list[str]:
        """Return the command line that runs a configuration, which is written if it is not a file."""
        if not isinstance(configuration, Path):
            configuration = write(configuration, self.folder / f"{name}.yaml")
        return [*COMMAND, "run", str(configuration), "-d", str(self.folder / name), *options]

    def run(
        self,
        configuration: Configuration | Path,
        *options: str,
        name: str = "run",
        expect: int | None = 0,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        prefix: Sequence[str] = (),
        fresh: bool = False,
    ) -> Run:
        """Run an experiment to its end.

        Parameters
        ----------
        configuration
            What `experiment` returned, or a file.
        options
            Further options of the command line.
        name
            Of the run's directory.
        expect
            The exit code it must have; None if any will do.
        environment, cwd, prefix
            Environment and working directory of the simulator, and a command to run it under.
        fresh
            Start an interpreter for it, instead of forking one that has everything imported.
        """
        command = self.command(configuration, *options, name=name)
        variables = dict(environment or _environment())
        place = cwd or self.folder
        if fresh or prefix:
            done = subprocess.run(
                [*prefix, *command],
                capture_output=True,
                text=True,
                env=variables,
                cwd=place,
                timeout=TIMEOUT_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            run = Run(self.folder / name, done.returncode, done.stdout, done.stderr)
        else:
            code, output, errors = _run_in_fork(command[len(COMMAND) :], variables, place)
            run = Run(self.folder / name, code, output, errors)
        assert expect is None or run.exit_code == expect, run.story()
        return run

    def run_twice(self, configuration: Configuration) -> Run:
        """Run an experiment twice, and return the first run if all that both left of hosts has the same bytes.

        That is what processes wrote, all of their system calls, and all packets of their hosts.
        """
        watched = {**configuration, "host_option_defaults": {"pcap_enabled": True}}
        first, second = (
            self.run(watched, "--strace-logging-mode", "deterministic", name=name) for name in ("first", "second")
        )
        assert {path.rpartition(".")[2] for path in first.files} >= {"stdout", "strace", "pcap"}
        differing = {path for path, _ in first.files.items() ^ second.files.items()}
        assert not differing, f"two runs differ in {sorted(differing)}"
        return first

    def start(self, configuration: Configuration | Path, *, name: str = "run") -> subprocess.Popen[str]:
        """Start an experiment; its output is a pipe."""
        return subprocess.Popen(
            self.command(configuration, name=name),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=_environment(),
            cwd=self.folder,
        )


def _run_in_fork(arguments: list[str], variables: dict[str, str], place: Path) -> tuple[int, str, str]:
    """Run a command line in a fork of a server that has imported everything, which takes longer than most runs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["antumbra.assembly", "antumbra.cli", "cold.engine", "hot.shard", __name__])
    with TemporaryDirectory() as folder:
        output, errors = Path(folder) / "stdout", Path(folder) / "stderr"
        child = context.Process(target=_in_fork, args=(arguments, variables, place, output, errors))
        child.start()
        child.join(TIMEOUT_S)
        code = child.exitcode
        if code is None:
            child.kill()
            child.join()
        texts = [path.read_text(encoding="utf-8") for path in (output, errors)]
    assert code is not None, f"no end within {TIMEOUT_S} s\n" + "\n".join(texts)
    return code, texts[0], texts[1]


def _in_fork(arguments: list[str], variables: dict[str, str], place: Path, output: Path, errors: Path) -> None:
    from antumbra.cli import run_command

    os.environ.clear()
    os.environ.update(variables)
    os.chdir(place)
    for number, path in ((0, Path(os.devnull)), (1, output), (2, errors)):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    sys.exit(run_command(arguments))


def processes_of(directory: Path) -> dict[int, str]:
    """Find the real processes that work in a run's directory: their real ids and what they run.

    Managed processes have their host's directory as real working directory, and files in it open.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            places = [entry / "cwd", *(entry / "fd").iterdir()]
            if any(place.readlink().is_relative_to(directory / "hosts") for place in places):
                found[int(entry.name)] = (entry / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found
