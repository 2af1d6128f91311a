"""What the peer graph of the cold tail takes: time and memory of one shard, beside a bare scatter of its edges.

    python benchmarks/cold_overlay.py [--identities 100000 1000000] [--peers 50]

Every case runs in a process of its own, once to compile, and once with the identities asked for. Times are of the
process's CPU; memory is the most that was resident beyond what was there before. The baseline writes both ends of as
many random edges into rows, which no graph can do without.
"""

import argparse
import multiprocessing
import resource
import time

import numpy as np
import numpy.typing as npt

from cold.dialing import Dialing
from cold.dialing_kernels import Wishes
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


def bare(identities: int, peers: int) -> float:
    draw = np.random.default_rng(SEED)
    left, right = (draw.integers(0, identities, identities * peers // 2, dtype=np.uint32) for _ in range(2))
    rows = np.zeros(identities * peers, dtype=np.uint32)
    begin = time.process_time()
    scatter(left, right, rows, peers)
    return time.process_time() - begin


def regular(identities: int, peers: int) -> float:
    begin = time.process_time()
    build_overlay(SEED, 0, identities, peers, 1, D, D_HIGH)
    return time.process_time() - begin


def dialled(identities: int, peers: int) -> float:
    """Three in ten cannot be dialled; the maximum is a tenth above the target."""
    wanted = peers, peers * 11 // 10, peers * 3 // 10
    wishes = Wishes(*(np.full(identities, each, dtype=np.uint16) for each in wanted))
    reachable = np.random.default_rng(SEED).random(identities) < 0.7
    begin = time.process_time()
    build_overlay(SEED, 0, identities, Dialing(wishes, reachable, 4), 1, D, D_HIGH)
    return time.process_time() - begin


CASES = {"bare scatter": bare, "regular": regular, "dialled": dialled}


def measure(case: str, identities: int, peers: int) -> tuple[float, int]:
    """Seconds, and bytes."""
    CASES[case](1000, peers)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = CASES[case](identities, peers)
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--peers", type=int, default=50)
    arguments = parser.parse_args()
    print(f"{'':14}{'identities':>12}{'s':>8}{'ns an edge':>12}{'bytes an identity':>20}")
    for identities in arguments.identities:
        for case in CASES:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, size = pool.apply(measure, (case, identities, arguments.peers))
            edges = identities * arguments.peers / 2
            print(f"{case:14}{identities:12,}{seconds:8.2f}{seconds / edges * 1e9:12.0f}{size / identities:20.0f}")


if __name__ == "__main__":
    main()
