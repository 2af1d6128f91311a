"""What the peer graph of the cold tail takes: time and memory of each shard, beside a bare scatter of its edges.

    python benchmarks/cold_overlay.py [--identities 100000 1000000] [--peers 50] [--shards 1 2 4]

Every case runs in processes of its own, one for each shard, once to compile, and once with the identities asked for;
shards make the graph together (`cold.division`). Times are of a process's CPU; memory is the most that was resident
beyond what was there before; of both, those of the shard that took most, and of the one that took least. The baseline
writes both ends of as many random edges into rows, which no graph can do without.
"""

import argparse
import json
import multiprocessing
import os
import resource
import time

import numpy as np
import numpy.typing as npt

from bridge.bus import Bus, InProcessBus
from bridge.local_bus import fork_shards
from cold.dialing import Dialing
from cold.dialing_kernels import Wishes
from cold.division import Division
from cold.jit import int64, kernel
from cold.overlay import build_overlay

SEED = 1
D, D_HIGH = 8, 12


@kernel
def scatter(
    left: npt.NDArray[np.uint32], right: npt.NDArray[np.uint32], rows: npt.NDArray[np.uint32], peers: int
) -> None:
    """Write both ends of each edge into the other's row, wherever in it."""
    for edge in range(len(left)):
        a, b = int64(left[edge]), int64(right[edge])
        rows[a * peers + edge % peers] = b
        rows[b * peers + edge % peers] = a


def bare(identities: int, peers: int, _: Bus) -> float:
    draw = np.random.default_rng(SEED)
    left, right = (draw.integers(0, identities, identities * peers // 2, dtype=np.uint32) for _ in range(2))
    rows = np.zeros(identities * peers, dtype=np.uint32)
    begin = time.process_time()
    scatter(left, right, rows, peers)
    return time.process_time() - begin


def build(identities: int, shape: int | Dialing, bus: Bus) -> float:
    cuts = np.linspace(0, identities, bus.shard_count + 1).astype(np.int64)
    begin = time.process_time()
    division = Division.of(cuts, bus.shard, 0, identities, bus)
    build_overlay(SEED, 0, identities, shape, 1, D, D_HIGH, division=division)
    return time.process_time() - begin


def regular(identities: int, peers: int, bus: Bus) -> float:
    return build(identities, peers, bus)


def dialled(identities: int, peers: int, bus: Bus) -> float:
    """Three in ten cannot be dialled; the maximum is a tenth above the target."""
    wanted = peers, peers * 11 // 10, peers * 3 // 10
    wishes = Wishes(*(np.full(identities, each, dtype=np.uint16) for each in wanted))
    reachable = np.random.default_rng(SEED).random(identities) < 0.7
    return build(identities, Dialing(wishes, reachable, 4), bus)


CASES = {"bare scatter": bare, "regular": regular, "dialled": dialled}


def measure(case: str, identities: int, peers: int, shards: int) -> list[tuple[float, int]]:
    """Seconds and bytes of each shard."""
    CASES[case](1000, peers, InProcessBus())
    bus = fork_shards(shards, patience_s=60) if shards > 1 else InProcessBus()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = CASES[case](identities, peers, bus)
    size = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    told = bus.share(json.dumps((seconds, size)).encode())
    if bus.shard > 0:
        os._exit(0)
    bus.close()
    return [tuple(json.loads(own)) for own in told]


def span(values: list[float], digits: int) -> str:
    """The largest and the smallest value, or the only one."""
    return " to ".join(f"{value:.{digits}f}" for value in (max(values), min(values))[: len(values)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--peers", type=int, default=50)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4])
    arguments = parser.parse_args()
    print(f"{'':14}{'identities':>12}{'shards':>8}{'s':>16}{'ns an edge, all':>17}{'MB':>14}{'bytes an identity':>19}")
    for identities in arguments.identities:
        for case, shards in ((case, shards) for case in CASES for shards in arguments.shards):
            if case == "bare scatter" and shards > 1:
                continue
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                told = pool.apply(measure, (case, identities, arguments.peers, shards))
            seconds, sizes = [each[0] for each in told], [each[1] for each in told]
            edges = identities * arguments.peers / 2
            print(
                f"{case:14}{identities:12,}{shards:8}{span(seconds, 2):>16}{sum(seconds) / edges * 1e9:17.0f}"
                f"{span([size / 1e6 for size in sizes], 0):>14}{max(sizes) / identities:19.0f}"
            )


if __name__ == "__main__":
    main()
