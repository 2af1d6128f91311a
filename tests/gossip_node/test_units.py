"""The C tests of the parts of gossip-node, and its fuzz target, under the sanitizers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gossip_node.conftest import SANITIZERS, SOURCES


@pytest.mark.parametrize(
    ("test", "parts"),
    [
        ("test_wire", ["wire.c"]),
        ("test_cache", ["cache.c", "memory.c", "random.c"]),
        ("test_requests", ["requests.c", "wire.c", "memory.c"]),
        ("test_limits", ["limits.c", "memory.c"]),
        ("test_pool", ["pool.c", "wire.c", "memory.c"]),
        ("test_mesh", ["mesh.c", "cache.c", "memory.c", "random.c"]),
    ],
)
def test_the_c_unit_tests_pass(compile_c: Callable[..., Path], test: str, parts: list[str]) -> None:
    sources = [Path(__file__).parent / f"{test}.c", *(SOURCES / part for part in parts)]
    program = compile_c(test, *sources, flags=SANITIZERS)
    result = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("seed", [1, 2])
def test_the_decoder_survives_mutated_datagrams(fuzz_target: Path, seed: int) -> None:
    command = [str(fuzz_target), "100000", str(seed)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "100000 inputs\n"
