"""Where the tests of gossip-node find the program and build its C tests."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from antumbra import programs

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "configs" / "apps" / "gossip_node"
WARNINGS = (
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wconversion",
    "-Wshadow",
    "-Wmissing-prototypes",
    "-Wstrict-prototypes",
)

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

Compile = Callable[..., Path]


@pytest.fixture(scope="session")
def compile_c(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compile C files to a program: ``compile_c("name", *sources, flags=(...))``."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    folder = tmp_path_factory.mktemp("programs")

    def compile_program(name: str, *sources: Path, flags: tuple[str, ...] = ()) -> Path:
        program = folder / name
        command = [compiler, "-std=gnu11", "-O1", "-g", *WARNINGS, *flags, f"-I{SOURCES}"]
        subprocess.run([*command, *map(str, sources), "-o", str(program)], check=True, timeout=120)
        return program

    return compile_program


@pytest.fixture(scope="session")
def gossip_node(compile_c: Compile) -> Path:
    """The program: from the build folder in ANTUMBRA_BUILD, as installed, or compiled for the test."""
    build = os.environ.get("ANTUMBRA_BUILD")
    if build is not None:
        return Path(build) / "configs" / "apps" / "gossip_node" / "gossip-node"
    try:
        return programs.find("gossip-node")
    except FileNotFoundError:
        return compile_c("gossip-node", *sorted(SOURCES.glob("*.c")))


@pytest.fixture(scope="session")
def fuzz_target(compile_c: Compile) -> Path:
    """The fuzz target of the datagrams, with its own driver."""
    sources = [ROOT / "tests" / "fuzz" / "fuzz_gossip_wire.c", SOURCES / "wire.c"]
    return compile_c("fuzz_gossip_wire", *sources, flags=("-DSTANDALONE", *SANITIZERS))
