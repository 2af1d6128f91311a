"""The C tests of the parts of gossip-node, and its fuzz target, under the sanitizers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "configs" / "apps" / "gossip_node"
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.mark.parametrize(
    ("test", "parts"),
    [
        ("test_wire", ["wire.c"]),
        ("test_cache", ["cache.c", "memory.c", "random.c"]),
        ("test_requests", ["requests.c", "wire.c", "memory.c"]),
        ("test_mesh", ["mesh.c", "cache.c", "memory.c", "random.c"]),
    ],
)
def test_the_c_unit_tests_pass(compile_c: Callable[..., Path], test: str, parts: list[str]) -> None:
    sources = [Path(__file__).parent / f"{test}.c", *(SOURCES / part for part in parts)]
    program = compile_c(test, *sources, flags=SANITIZERS)
    result = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("seed", [1, 2])
def test_the_decoder_survives_mutated_datagrams(compile_c: Callable[..., Path], seed: int) -> None:
    sources = [ROOT / "tests" / "fuzz" / "fuzz_gossip_wire.c", SOURCES / "wire.c"]
    program = compile_c(f"fuzz_gossip_wire_{seed}", *sources, flags=("-DSTANDALONE", *SANITIZERS))
    result = subprocess.run([program, "100000", str(seed)], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "100000 inputs\n"
