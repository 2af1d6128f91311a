"""The source distribution builds, and the wheel built from it works where nothing else of ours is."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("antumbra", "bridge", "calibration", "cold", "hot", "shim")
PROGRAMS = ("antumbra/bin/gossip-node", "shim/bin/antumbra-shim")
C_FOLDERS = ("configs/apps/gossip_node", "hot/engine", "hot/kernel", "shim")


def _run(*command: str | Path, cwd: Path) -> str:
    # A rebuild of the editable installation, which an import may start, is not what is tested here.
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        command, cwd=cwd, env=os.environ | {"PATH": tools}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone of the tree as it is now, because meson packs only what git has."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("the source distribution is packed from a git checkout")
    folder = tmp_path_factory.mktemp("checkout")
    listed = _run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    _run("git", "init", "--quiet", cwd=folder)
    _run("git", "add", "--all", cwd=folder)
    _run("git", *identity, "commit", "--quiet", "--no-verify", "--message", "snapshot", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def unpacked_sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    _run(sys.executable, "-c", f"import mesonpy; mesonpy.build_sdist({str(folder)!r})", cwd=checkout)
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder)
    (source,) = (path for path in folder.iterdir() if path.is_dir())
    return source


@pytest.fixture(scope="module")
def wheel(unpacked_sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # As in a folder where the packages have been used before.
    _run(sys.executable, "-m", "compileall", "-q", *PACKAGES, cwd=unpacked_sdist)
    _run(sys.executable, "-c", f"import mesonpy; mesonpy.build_wheel({str(folder)!r})", cwd=unpacked_sdist)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment: the wheel is installed, the dependencies are borrowed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    _run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=folder)
    site_packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    # A path in a .pth file brings packages, but not the .pth files there: no editable installation.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.mark.slow
def test_the_wheel_holds_the_python_files_of_the_tree_and_no_sources(wheel: Path, unpacked_sdist: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    in_tree = [path for package in PACKAGES for path in (unpacked_sdist / package).rglob("*.py")]
    expected = {str(path.relative_to(unpacked_sdist)) for path in in_tree}
    assert {name for name in names if name.endswith(".py")} == expected
    assert not [name for name in names if re.search(r"__pycache__|meson\.build$|\.[chS]$", name)]


@pytest.mark.slow
def test_the_wheel_holds_the_native_parts(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    for program in PROGRAMS:
        assert archive.getinfo(program).external_attr >> 16 & 0o111, f"{program} is not executable"
    assert any(re.fullmatch(r"hot/_engine\..*\.so", name) for name in archive.namelist())


@pytest.mark.slow
def test_an_installed_wheel_imports_and_finds_its_programs(installed_python: Path, tmp_path: Path) -> None:
    script = (
        f"import {', '.join(PACKAGES)}, hot._engine\n"
        "from antumbra import programs\n"
        "paths = hot._engine.__file__, programs.find('gossip-node'), programs.find('antumbra-shim')\n"
        "print(*paths, sep='\\n')\n"
    )
    environment = str(installed_python.parents[1])
    found = _run(installed_python, "-c", script, cwd=tmp_path).splitlines()
    assert len(found) == 3
    assert all(path.startswith(environment) for path in found), found


@pytest.mark.slow
def test_an_installed_wheel_brings_the_command(installed_python: Path, tmp_path: Path) -> None:
    assert re.search(r"\d+\.\d+", _run(installed_python.with_name("antumbra"), "--version", cwd=tmp_path))


@pytest.mark.slow
def test_the_shim_is_static_and_lies_at_its_fixed_address(installed_python: Path, tmp_path: Path) -> None:
    script = "from antumbra import programs; print(programs.find('antumbra-shim'))"
    shim = _run(installed_python, "-c", script, cwd=tmp_path).strip()
    headers = _run("readelf", "--program-headers", "--wide", shim, cwd=tmp_path)
    addresses = [int(address, 16) for address in re.findall(r"^ *LOAD +\S+ (\S+)", headers, re.MULTILINE)]
    assert min(addresses) == 0x6000_0000_0000
    assert not re.search(r"\b(INTERP|DYNAMIC|TLS)\b", headers)


@pytest.mark.parametrize("folder", C_FOLDERS)
def test_every_c_file_is_listed_for_the_build(folder: str) -> None:
    listed = set(re.findall(r"'([\w./]+\.[cS])'", (ROOT / folder / "meson.build").read_text()))
    assert listed == {path.name for path in (ROOT / folder).iterdir() if path.suffix in {".c", ".S"}}
