"""Compiled kernels are found again, unless a file has changed that they are made of."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import cold.gossip_kernels
import cold.jit
from cold.jit import sources_of

_CALLEE = '''"""A kernel that another one calls."""

from cold.jit import kernel


@kernel
def step() -> int:
    return {step}
'''
_CALLER = '''"""A kernel that calls one of another file."""

from cold.callee_kernels import step
from cold.jit import kernel


@kernel
def twice() -> int:
    return 2 * step()


print(twice(), sum(twice.stats.cache_hits.values()))
'''


def test_sources_are_those_of_all_imports() -> None:
    names = {path.stem for path in sources_of(Path(cold.gossip_kernels.__file__))}
    assert {"gossip_kernels", "receipt_kernels", "distribution_kernels", "score_layout", "purposes", "rng"} <= names
    assert not {"sampled_kernels", "session_kernels", "engine"} & names


def test_a_change_in_a_called_kernel_is_noticed(tmp_path: Path) -> None:
    room = tmp_path / "project" / "cold"
    room.mkdir(parents=True)
    shutil.copy(cold.jit.__file__, room / "jit.py")
    (room / "caller_kernels.py").write_text(_CALLER)

    def run(step: int) -> str:
        (room / "callee_kernels.py").write_text(_CALLEE.format(step=step))
        # Without the site, whose hooks would find the installed project's `cold`.
        path = os.pathsep.join([str(room.parent), sysconfig.get_path("purelib")])
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": path}
        environment.pop("NUMBA_CACHE_DIR", None)
        command = [sys.executable, "-S", "-m", "cold.caller_kernels"]
        return subprocess.run(
            command, cwd=room.parent, env=environment, stdout=subprocess.PIPE, check=True, text=True
        ).stdout.strip()

    assert run(3) == "6 0"
    assert run(3) == "6 1"
    assert run(5) == "10 0"
