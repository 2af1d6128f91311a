"""The run directory: what it accepts, what it replaces, and what a full or unwritable disk looks like."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bridge.errors import UserError
from bridge.rundir import RunDirectory, RunDirectoryError, write_atomically


def manifest_of(path: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((path / "manifest.json").read_text())
    return content


def finished_run(path: Path, *, seed: int = 1) -> None:
    with RunDirectory(path) as directory:
        directory.describe({"general": {"stop_time": "1 s"}}, seed=seed, partition={"shards": 1})
        (directory.host_directory("client") / "stdout").write_text("hello")
        (directory.path / "windows.log").write_text("0 1 2\n")
        directory.write_statistics({"windows": np.int64(3), "sizes": np.arange(2)})
        directory.finish("complete")


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


def test_a_run_leaves_the_documented_layout(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run"
    finished_run(path, seed=7)
    assert names(path) == {"manifest.json", "hosts", "metrics", "windows.log", "sim-stats.json"}
    manifest = manifest_of(path)
    assert manifest["status"] == "complete"
    assert manifest["seed"] == 7
    assert manifest["configuration"] == {"general": {"stop_time": "1 s"}}
    assert manifest["partition"] == {"shards": 1}
    assert set(manifest) >= {"versions", "platform", "digests"}
    assert json.loads((path / "sim-stats.json").read_text()) == {"windows": 3, "sizes": [0, 1]}


def test_equal_runs_leave_equal_manifests_and_digests_tell_others_apart(tmp_path: Path) -> None:
    finished_run(tmp_path / "a")
    finished_run(tmp_path / "b")
    assert (tmp_path / "a/manifest.json").read_bytes() == (tmp_path / "b/manifest.json").read_bytes()
    with RunDirectory(tmp_path / "c") as directory:
        (directory.host_directory("client") / "stdout").write_text("other")
        directory.finish("complete")
    assert manifest_of(tmp_path / "c")["digests"] != manifest_of(tmp_path / "a")["digests"]


def test_the_manifest_tells_how_far_a_run_came(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run") as directory:
        assert manifest_of(directory.path)["status"] == "preparing"
        directory.describe({}, seed=1)
        assert manifest_of(directory.path)["status"] == "running"
        directory.finish("interrupted")
        assert manifest_of(directory.path)["status"] == "interrupted"


def test_an_empty_directory_is_used(tmp_path: Path) -> None:
    RunDirectory(tmp_path).close()
    assert "manifest.json" in names(tmp_path)


@pytest.mark.parametrize("manifest", [None, "not json", '{"name": "a web app"}', "[]"])
def test_a_directory_that_is_not_a_run_is_refused_and_left_alone(tmp_path: Path, manifest: str | None) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    before = names(tmp_path)
    with pytest.raises(RunDirectoryError, match="not that of an earlier run") as caught:
        RunDirectory(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.exit_code == 2
    assert isinstance(caught.value, UserError)
    assert names(tmp_path) == before


def test_an_earlier_run_is_replaced_and_what_is_not_of_a_run_stays(tmp_path: Path) -> None:
    finished_run(tmp_path)
    (tmp_path / "notes.txt").write_text("keep me")
    (tmp_path / ".sim-stats.json.partial").write_text("half")
    outside = tmp_path.parent / "outside"
    outside.mkdir()
    (outside / "file").write_text("not of the run")
    (tmp_path / "hosts" / "link").symlink_to(outside)
    with RunDirectory(tmp_path) as directory:
        assert names(tmp_path) == {"manifest.json", "hosts", "metrics", "notes.txt"}
        assert list((directory.path / "hosts").iterdir()) == []
    assert (outside / "file").exists()


def test_a_removal_that_was_cut_short_is_taken_up_again(tmp_path: Path) -> None:
    finished_run(tmp_path)
    (tmp_path / "sim-stats.json").unlink()
    (tmp_path / "windows.log").unlink()
    RunDirectory(tmp_path).close()
    assert manifest_of(tmp_path)["status"] == "preparing"


def test_two_runs_cannot_write_to_one_directory_at_once(tmp_path: Path) -> None:
    with RunDirectory(tmp_path), pytest.raises(RunDirectoryError, match="another run"):
        RunDirectory(tmp_path)
    RunDirectory(tmp_path).close()


def test_a_path_through_a_file_is_an_error_with_path_and_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match=r"run: Not a directory \[ENOTDIR\]"):
        RunDirectory(tmp_path / "file" / "run")
    with pytest.raises(RunDirectoryError, match=r"file: File exists \[EEXIST\]"):
        RunDirectory(tmp_path / "file")


def test_a_directory_nobody_can_write_to_is_an_error_with_path_and_reason() -> None:
    with pytest.raises(RunDirectoryError, match=r"/proc/antumbra: No such file or directory \[ENOENT\]"):
        RunDirectory("/proc/antumbra")


def test_a_directory_that_vanishes_under_the_run_is_an_error(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run") as directory:
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        with pytest.raises(RunDirectoryError, match="ENOENT"):
            directory.write_statistics({})
        with pytest.raises(RunDirectoryError, match="ENOENT"):
            directory.host_directory("client")
        with pytest.raises(RunDirectoryError, match="ENOENT"):
            directory.finish("failed")


@pytest.mark.parametrize("hostname", ["", ".", "..", "a/b"])
def test_a_hostname_cannot_lead_out_of_the_directory(tmp_path: Path, hostname: str) -> None:
    with RunDirectory(tmp_path) as directory, pytest.raises(ValueError, match="not a hostname"):
        directory.host_directory(hostname)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "table"
    write_atomically(target, b"old")
    # A real refusal by the kernel: files of this process may not grow beyond 100 bytes.
    script = (
        "import resource, sys; from pathlib import Path; from bridge.rundir import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: write_atomically(Path(sys.argv[1]), bytes(1000))\n"
        "except RunDirectoryError as error: print(error)\n"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", script, str(target)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == f"{target}: File too large [EFBIG]\n"
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == {"table"}
