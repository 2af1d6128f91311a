"""What `cold.compile` has compiled, an experiment need not."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

STUDIES = Path(__file__).parents[2] / "configs" / "studies"
#: Every shard of each experiment says what it needs of kernels that `cold.compile` does not, in a line for each study.
_RUN = """
import gc, os, sys
from numba.core.dispatcher import Dispatcher
from cold.compile import compile_kernels
from antumbra.cli import main

def needed():
    kernels = [each for each in gc.get_objects() if isinstance(each, Dispatcher)]
    return {(f"{each.__module__}.{each.__name__}", str(kinds)) for each in kernels for kinds in each.signatures}

compile_kernels()
before = needed()
for file in sys.argv[1:]:
    run = os.fork()
    if run:
        assert os.waitpid(run, 0)[1] == 0, file
        continue
    code = 0
    try:
        sys.argv = ["antumbra", "run", file, "-d", file + ".data", "--shards", "2"]
        main()
    except SystemExit as end:
        code = end.code or 0
    print(f"\\n{file} needs: {sorted(needed() - before)}", flush=True)
    os._exit(code)
"""


def test_no_kernel_is_left_to_compile_for_the_studies(tmp_path: Path) -> None:
    files = []
    for study in sorted(STUDIES.glob("*.yaml")):
        experiment: dict[str, Any] = yaml.safe_load(study.read_text())
        graph = experiment["network"]["graph"]["file"]
        graph["path"] = str((STUDIES / graph["path"]).resolve())
        for population in experiment["cold"]["populations"].values():
            population["count"] = 200
        files.append(tmp_path / study.name)
        files[-1].write_text(yaml.safe_dump(experiment))
    done = subprocess.run([sys.executable, "-c", _RUN, *map(str, files)], stdout=subprocess.PIPE, check=True, text=True)
    told = [line for line in done.stdout.splitlines() if " needs: " in line]
    assert len(told) >= len(files)
    assert [line for line in told if not line.endswith(" needs: []")] == []
