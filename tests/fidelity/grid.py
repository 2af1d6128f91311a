"""TCP transfers over a grid of networks, run twice: by Linux in real time and by the simulator.

Both run the same two programs over the same model of a network (`two_hosts.c` links the simulator's own token buckets,
router queue and random numbers), so that what differs is TCP. The bottleneck is the receiver's downlink, with its CoDel
queue; the loss schedule of a pair of hosts is keyed by their ids, the same in both.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from tests.system.experiment import ROOT, Configuration, Laboratory, experiment, host, process

SEED: Final = 1
CONGESTION: Final = ("--congestion", "cubic")
_ACCESS_BPS: Final = 1_000_000_000
_PORT: Final = "5000"
_SERVER_ADDRESS: Final = "11.0.0.2"
_CONNECT_AT: Final = "1 s"
_NOT_POSSIBLE: Final = 77
#: Only to end a transfer that would never end.
_TIMEOUT_S: Final = 600


class NotPossibleError(Exception):
    """The machine cannot make network namespaces or TUN devices."""


@dataclass(frozen=True)
class Cell:
    """One transfer.

    Attributes
    ----------
    rtt_ms : int
        Twice the latency of the path.
    rate_bps : int
        Of the receiver's downlink; every other link has 1 Gbit/s.
    loss : float
        Probability of a packet's loss, in each direction.
    size : int
        Bytes that the client sends.
    repeat : int
        Tells transfers apart that differ in nothing but their loss schedules.
    """

    rtt_ms: int
    rate_bps: int
    loss: float
    size: int
    repeat: int

    @property
    def latency_ns(self) -> int:
        """Of the path in one direction."""
        return self.rtt_ms * 500_000

    def first_repeat(self) -> Cell:
        """Return what tells this kind of transfer from others."""
        return replace(self, repeat=0)


class Times(NamedTuple):
    """What a client measured [s]."""

    connected: float
    """Until the connection stood."""
    completed: float
    """Until the server had everything, and said so."""


def cells(
    rtts_ms: Sequence[int], rates_bps: Sequence[int], losses: Sequence[float], sizes: Sequence[int], repeats: int
) -> list[Cell]:
    """Return all combinations; without loss there is nothing to repeat."""
    return [
        Cell(rtt_ms, rate_bps, loss, size, repeat)
        for rtt_ms, rate_bps, loss, size in itertools.product(rtts_ms, rates_bps, losses, sizes)
        for repeat in range(repeats if loss > 0 else 1)
    ]


def build_relay(folder: Path) -> Path:
    """Compile `two_hosts.c` with the simulator's model of the network."""
    sources = ("hot/kernel/relay.c", "hot/kernel/router.c", "hot/kernel/rng.c")
    program = folder / "two_hosts"
    flags = ("-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-I.")
    command = ["gcc", *flags, "tests/fidelity/two_hosts.c", *sources, "-o", str(program)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return program


def run_on_linux(grid: Sequence[Cell], relay: Path, apps: Path, at_once: int) -> list[Times]:
    """Run each transfer natively, some at once; return what their clients measured.

    Raises
    ------
    NotPossibleError
        There is no right to make network namespaces or TUN devices.
    """

    def run(numbered: tuple[int, Cell]) -> Times:
        number, cell = numbered
        network = {
            "latency": cell.latency_ns,
            "loss": cell.loss,
            "seed": SEED,
            "rate": cell.rate_bps,
            "access": _ACCESS_BPS,
            "ids": f"{number},{len(grid) + number}",
        }
        options = [text for name, value in network.items() for text in (f"--{name}", str(value))]
        server = [str(apps / "tcp_server"), _PORT, *CONGESTION]
        client = [str(apps / "tcp_client"), _SERVER_ADDRESS, _PORT, "up", str(cell.size), *CONGESTION]
        done = subprocess.run(
            [str(relay), *options, "--", *server, "--", *client],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode == _NOT_POSSIBLE:
            raise NotPossibleError(done.stderr.strip())
        assert done.returncode == 0, f"{cell}: exit code {done.returncode}\n{done.stderr}"
        return _times(done.stdout)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(run, enumerate(grid)))


def run_in_simulator(grid: Sequence[Cell], laboratory: Laboratory, apps: Path, stop_time_s: int) -> list[Times]:
    """Run all transfers in one experiment, each between two hosts of its own; return what their clients measured."""
    done = laboratory.run(_experiment(grid, apps, stop_time_s), name="fidelity")
    return [_times(done.stdout(_client(number))) for number in range(len(grid))]


def _times(output: str) -> Times:
    words = output.split()
    return Times(*(int(words[words.index(name) + 1]) / 1e9 for name in ("connect_ns", "elapsed_ns")))


def _client(number: int) -> str:
    return f"client{number:05}"


def _server(number: int) -> str:
    return f"server{number:05}"


def _experiment(grid: Sequence[Cell], apps: Path, stop_time_s: int) -> Configuration:
    # HostIds are given in the order of names: clients from 0, servers from len(grid).
    hosts = {}
    for number in range(len(grid)):
        hosts[_client(number)] = host(
            process(
                apps / "tcp_client",
                *(_server(number), _PORT, "up", str(grid[number].size), *CONGESTION),
                start_time=_CONNECT_AT,
            ),
            node=2 * number,
        )
        hosts[_server(number)] = host(process(apps / "tcp_server", _PORT, *CONGESTION), node=2 * number + 1)
    network = {"graph": {"type": "gml", "inline": "\n".join(_graph(grid))}}
    return experiment(hosts, stop_time=f"{stop_time_s} s", network=network, seed=SEED)


def _graph(grid: Sequence[Cell]) -> Iterator[str]:
    # Every pair of hosts must have a path: those that do not talk have one through a place far away.
    hub = 2 * len(grid)
    yield "graph ["
    yield f"node [ id {hub} ]"
    for number, cell in enumerate(grid):
        ends = (2 * number, 2 * number + 1)
        for node, down in zip(ends, (_ACCESS_BPS, cell.rate_bps), strict=True):
            yield f'node [ id {node} host_bandwidth_up "{_ACCESS_BPS} bit" host_bandwidth_down "{down} bit" ]'
        for source, target in ((ends[0], ends[0]), ends, (ends[1], ends[1])):
            path = f'latency "{cell.latency_ns} ns" packet_loss {cell.loss}'
            yield f"edge [ source {source} target {target} {path} ]"
        for end in ends:
            yield f'edge [ source {end} target {hub} latency "10 s" ]'
    yield "]"
