"""The directory that a run leaves behind.

    manifest.json       configuration, seed, versions, platform, digests; says how the run ended
    hosts/<name>/       stdout, stderr, strace, pcap and the processes' own files
    metrics/*.parquet   tables, see ``bridge/metrics.py``
    windows.log         decisions and digests per window, see ``bridge/window_log.py``
    sim-stats.json      totals
    shard-<n>/          what shard n wrote, where there is more than one; its hosts are moved to hosts/ at the end

A file appears under its name only when it is whole: it is written beside it and renamed. What grows during
the run (``windows.log``, parts of metrics) is readable up to its last complete entry, however the run ends.
Whatever the disk refuses is a `RunDirectoryError`.
"""

import errno
import fcntl
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import orjson

from bridge.digests import file_digest, tree_digest
from bridge.errors import UserError

MANIFEST: Final = "manifest.json"
HOSTS: Final = "hosts"
METRICS: Final = "metrics"
WINDOWS_LOG: Final = "windows.log"
STATISTICS: Final = "sim-stats.json"
#: Tables: of windows; of what shards exchanged; of what belongs to the machine.
WINDOWS: Final = "windows"
SHARDS: Final = "shards"
LINKS: Final = "links"
WALLTIME: Final = "walltime"
USAGE: Final = "usage"
PROCESSES: Final = "processes"
REPORT: Final = "report.html"

_FORMAT: Final = "antumbra-run"
_FORMAT_VERSION: Final = 1
_VERSIONED_PACKAGES: Final = ("antumbra", "numba", "numpy", "pyarrow", "scipy")
#: What a new run removes of an old one. The manifest stays until the new one takes its place: it allows
#: the removal, and a removal that was cut short must be allowed again.
_REPLACED: Final = (HOSTS, METRICS, WINDOWS_LOG, STATISTICS, REPORT)
_SHARD_DIRECTORY: Final = "shard-"
#: Tables that depend on the partition or the machine: they have no part in the digests.
_NOT_DIGESTED: Final = (SHARDS, LINKS, WALLTIME, USAGE, PROCESSES)


class RunDirectoryError(UserError):
    """The run directory cannot be used or written to."""


@contextmanager
def disk_errors_reported(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a RunDirectoryError about `path`."""
    try:
        yield
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "I/O error")
        raise RunDirectoryError(f"{error.strerror or error} [{code}]", where=str(path)) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that under its name there is never half of it."""
    partial = path.with_name(f".{path.name}.partial")
    with disk_errors_reported(path):
        try:
            partial.write_bytes(data)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


class RunDirectory:
    """One run's directory, claimed for as long as the object is open.

    Parameters
    ----------
    path
        Made if it is not there. If it is the directory of an earlier run, that run is removed; files that no
        run makes are left alone.

    Raises
    ------
    RunDirectoryError
        If `path` holds something that is not a run, another run is using it, or it cannot be written to.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._manifest: dict[str, object] = {
            "format": _FORMAT,
            "format_version": _FORMAT_VERSION,
            "status": "preparing",
        }
        with disk_errors_reported(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with disk_errors_reported(self.path):
                self._claim()
                self._remove_earlier_run()
            self._write_manifest()
            with disk_errors_reported(self.path):
                (self.path / HOSTS).mkdir()
                (self.path / METRICS).mkdir()
        except BaseException:
            self.close()
            raise

    @property
    def metrics(self) -> Path:
        """Directory of the metrics' tables."""
        return self.path / METRICS

    def host_directory(self, hostname: str) -> Path:
        """Make (once) and return the directory of a host."""
        if hostname in {"", ".", ".."} or "/" in hostname:
            raise ValueError(f"{hostname!r} is not a hostname")
        path = self.path / HOSTS / hostname
        with disk_errors_reported(path):
            path.mkdir(exist_ok=True)
        return path

    def describe(self, configuration: Mapping[str, object], *, seed: int, **more: object) -> None:
        """Say in the manifest what is being run.

        Parameters
        ----------
        configuration
            The whole configuration, of JSON's types.
        seed
            The seed in use, which may have come from the command line.
        more
            Further entries, such as ``partition``.
        """
        self._manifest.update(
            status="running",
            configuration=configuration,
            seed=seed,
            versions=_versions(),
            platform=_platform(),
            **more,
        )
        self._write_manifest()

    def shard_directory(self, shard: int) -> Path:
        """Return where a shard has its own run directory."""
        return self.path / f"{_SHARD_DIRECTORY}{shard}"

    def take_hosts(self, shard: Path) -> None:
        """Move the hosts' directories of a shard's run directory here."""
        for host in sorted((shard / HOSTS).iterdir()):
            target = self.path / HOSTS / host.name
            with disk_errors_reported(target):
                place = host.resolve()
                host.rename(target)
                _point_links_to(target.resolve(), before=place)

    def finish(self, status: str, *, digests: bool = True) -> None:
        """Say in the manifest how the run ended, with the digests by which it is compared with others.

        Called after everything else is written: the digests cover the files as they are then.

        Parameters
        ----------
        status
            ``complete``, ``failed`` or ``interrupted``.
        digests
            Not for the directory of one shard of several, whose files are a part that means nothing by itself.
        """
        self._manifest.update(status=status)
        if digests:
            self._manifest.update(digests=self._digests())
        self._write_manifest()

    def _digests(self) -> dict[str, str]:
        with disk_errors_reported(self.path):
            digests = {HOSTS: tree_digest(self.path / HOSTS)}
            for file in (self.path / WINDOWS_LOG, *sorted(self.metrics.iterdir())):
                if file.exists() and not file.name.startswith(_NOT_DIGESTED):
                    digests[str(file.relative_to(self.path))] = file_digest(file)
        return digests

    def write_statistics(self, statistics: Mapping[str, object]) -> None:
        """Write ``sim-stats.json``."""
        self.write_json(STATISTICS, statistics)

    def write_json(self, name: str, value: Mapping[str, object]) -> None:
        """Write a JSON file; numpy's scalars and arrays are written as numbers and lists."""
        # A manifest repeats the whole configuration, and so has millions of lines where hosts are many.
        style = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
        write_atomically(self.path / name, orjson.dumps(value, default=_plain, option=style))

    def close(self) -> None:
        """Give up the claim to the directory."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_manifest(self) -> None:
        self.write_json(MANIFEST, self._manifest)

    def _claim(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunDirectoryError(
                "another run is writing here", where=str(self.path), hint="choose another directory with -d"
            ) from error
        except OSError as error:
            # Some network file systems know no locks. Then two runs in one directory are the user's to avoid.
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL):
                raise

    def _remove_earlier_run(self) -> None:
        if not any(self.path.iterdir()):
            return
        if not _is_run_manifest(self.path / MANIFEST):
            raise RunDirectoryError(
                "the directory is not empty, and it is not that of an earlier run",
                where=str(self.path),
                hint="choose another directory with -d, or remove it",
            )
        for partial in self.path.glob(".*.partial"):
            partial.unlink()
        for entry in [*(self.path / name for name in _REPLACED), *self.path.glob(f"{_SHARD_DIRECTORY}[0-9]*")]:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)


def _is_run_manifest(path: Path) -> bool:
    try:
        content = orjson.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == _FORMAT


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _VERSIONED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed as a package"
    return versions


def _platform() -> dict[str, object]:
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "libc": "-".join(platform.libc_ver()),
        "processors": os.cpu_count(),
    }


def _plain(value: Any) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (Path, bytes)):
        return value.hex() if isinstance(value, bytes) else str(value)
    raise TypeError(f"{type(value).__name__} has no place in a JSON file")


def _point_links_to(place: Path, *, before: Path) -> None:
    """Mend the symbolic links of a moved directory that lead into it by its name before."""
    for folder, folder_names, file_names in os.walk(place):
        for name in folder_names + file_names:
            link = Path(folder) / name
            if link.is_symlink() and (target := link.readlink()).is_relative_to(before):
                link.unlink()
                link.symlink_to(place / target.relative_to(before))
