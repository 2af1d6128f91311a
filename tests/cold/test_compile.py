"""What `cold.compile` has compiled, an experiment need not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

STUDIES = Path(__file__).parents[2] / "configs" / "studies"
#: Prints what an experiment needs of kernels that `cold.compile` does not: this process is the first of its shards.
_RUN = """
import gc, json
from numba.core.dispatcher import Dispatcher
from cold.compile import compile_kernels
from antumbra.cli import main

def needed():
    kernels = [each for each in gc.get_objects() if isinstance(each, Dispatcher)]
    return {(f"{each.__module__}.{each.__name__}", str(kinds)) for each in kernels for kinds in each.signatures}

compile_kernels()
before = needed()
try:
    main()
except SystemExit as end:
    assert not end.code
print(json.dumps(sorted(needed() - before)))
"""


@pytest.mark.parametrize("study", sorted(file.stem for file in STUDIES.glob("*.yaml")))
def test_no_kernel_is_left_to_compile_for_a_study(study: str, tmp_path: Path) -> None:
    experiment: dict[str, Any] = yaml.safe_load((STUDIES / f"{study}.yaml").read_text())
    graph = experiment["network"]["graph"]["file"]
    graph["path"] = str((STUDIES / graph["path"]).resolve())
    for population in experiment["cold"]["populations"].values():
        population["count"] = 400
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(experiment))
    command = [sys.executable, "-c", _RUN, "run", str(file), "-d", str(tmp_path / "data"), "--shards", "2"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
