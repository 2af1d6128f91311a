"""How runs scale over shards: PHOLD over the real window loop, buses and codec, then hot and cold experiments.

    python benchmarks/scaling.py [--repeats 3] [--only strong,weak,remote,window,overhead,experiments]

Speed-ups are those of wall-clock time, with those of CPU time (of one shard over that of the busiest of several)
beside them, which other programs on the machine disturb less. Medians of the repeats. `overhead` has windows with next
to nothing in them, beside MPI's two reductions and a message alone in the same job, and prints the constants of the
cost model in docs/scaling.md with the number of ranks where it says that runs saturate.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

HERE: Final = Path(__file__).parent
RANK: Final = HERE / "_phold_rank.py"
ANTUMBRA: Final = Path(sys.executable).parent / "antumbra"
MPIEXEC: Final = Path(sys.executable).parent / "mpiexec"
MPI_ENVIRONMENT: Final = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
US, MS = 10**3, 10**6

#: About a microsecond of work per event, as the engines have, and some thousand events a window.
BASE: Final[dict[str, Any]] = {
    "hosts": 4096,
    "population": 4,
    "remote_share": 0.1,
    "latency_ns": 10 * MS,
    "spread_ns": 40 * MS,
    "work": 1000,
    "window_ns": 10 * MS,
    "simulated_ns": 2000 * MS,
}

NEIGHBOURS: Final = 30
"""Ranks that a rank has something for in a window, of many."""

Shards = list[dict[str, Any]]
"""What each shard measured in one run."""

console = Console(width=130)


def phold(shards: int, runs: Sequence[dict[str, Any]], *, mpi: bool = False) -> list[Any]:
    """Run PHOLD in processes of their own; returns a list per run of what each shard measured."""
    command = [sys.executable, str(RANK), "mpi" if mpi else str(shards), json.dumps(list(runs))]
    if mpi:
        command = [str(MPIEXEC), "-n", str(shards), *command]
    environment = os.environ | MPI_ENVIRONMENT
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:6])} failed:\n{done.stderr}")
    results: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return results


def apart(processes: int, runs: Sequence[dict[str, Any]]) -> list[Shards]:
    """Run PHOLD in processes that never meet, side by side, each on a core of its own; returns what each measured."""
    cores = os.sched_getaffinity(0)
    command = [sys.executable, str(RANK), "1", json.dumps(list(runs))]
    started = []
    for number in range(processes):
        os.sched_setaffinity(0, {sorted(cores)[number % len(cores)]})
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL))
    os.sched_setaffinity(0, cores)
    told = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"{' '.join(command[:3])} failed")
    results = [json.loads(text.splitlines()[-1]) for text in told]
    return [[measured for (measured,) in run] for run in zip(*results, strict=True)]


def same_events(runs: Iterable[Shards]) -> None:
    """Stop unless all runs have executed the same events."""
    found = {(sum(s["events"] for s in run), sum(s["checksum"] for s in run) % 2**64) for run in runs}
    if len(found) != 1:
        raise SystemExit(f"runs that should be the same have executed different events: {found}")


def of_runs(runs: Sequence[Shards], field: str) -> float:
    """Return the median over repeats of what the slowest shard measured."""
    return float(median(max(shard[field] for shard in run) for run in runs))


def print_scaling(title: str, rows: Sequence[tuple[str, int, list[Shards]]], *, weak: bool) -> None:
    """Print a table of speed-ups (strong) or efficiencies (weak) over the first row."""
    table = Table(title=title, title_justify="left")
    headings = ["bus", "shards", "events", "windows", "wall s", "CPU s, busiest", "M events/s"]
    for heading in [*headings, *(["efficiency", "by CPU"] if weak else ["speed-up", "by CPU"])]:
        table.add_column(heading, justify="right")
    wall_of_one, cpu_of_one = of_runs(rows[0][2], "wall_s"), of_runs(rows[0][2], "cpu_s")
    for bus, shards, runs in rows:
        wall, cpu = of_runs(runs, "wall_s"), of_runs(runs, "cpu_s")
        events = sum(shard["events"] for shard in runs[0])
        table.add_row(
            bus,
            str(shards),
            f"{events:,}",
            f"{runs[0][0]['windows']:,}",
            f"{wall:.2f}",
            f"{cpu:.2f}",
            f"{events / wall / 1e6:.2f}",
            f"{wall_of_one / wall:.2f}",
            f"{cpu_of_one / cpu:.2f}",
        )
    console.print(table)


def strong_and_weak(repeats: int, *, weak: bool) -> None:
    """The same load on 1, 2 and 4 shards, beside halves of it that never meet; or a load that grows with them."""
    rows = []
    for bus, shards in (("in process", 1), ("local", 2), ("local", 4), ("MPI", 2), ("MPI", 4)):
        load = BASE | ({"hosts": BASE["hosts"] // 2 * shards} if weak else {})
        rows.append((bus, shards, phold(shards, [load] * repeats, mpi=bus == "MPI")))
    if not weak:
        same_events(run for _, _, runs in rows for run in runs)
        # What this machine gives two processes that have nothing to do with each other: no bus can do better.
        rows.insert(1, ("none", 2, apart(2, [BASE | {"hosts": BASE["hosts"] // 2}] * repeats)))
    print_scaling("Weak scaling, PHOLD" if weak else "Strong scaling, PHOLD", rows, weak=weak)


def remote(repeats: int) -> None:
    """The share of events that are for the other shard, swept."""
    shares = (0.0, 0.01, 0.1, 0.25, 0.5, 1.0)
    runs = [BASE | {"groups": 2, "remote_share": share} for share in shares for _ in range(repeats)]
    one, two = phold(1, runs), phold(2, runs)
    table = Table(title="Remote share, PHOLD on 2 shards (local bus)", title_justify="left")
    for heading in (
        "remote",
        "events sent",
        "wall s",
        "speed-up",
        "by CPU",
        "exchange µs/window",
        "meeting µs",
        "ns per event sent",
    ):
        table.add_column(heading, justify="right")
    none_sent = of_runs(two[:repeats], "cpu_s")
    for number, share in enumerate(shares):
        alone, both = (runs[number * repeats : (number + 1) * repeats] for runs in (one, two))
        same_events([*alone, *both])
        sent = both[0][0]["sent"]
        more = of_runs(both, "cpu_s") - none_sent
        table.add_row(
            f"{share:.0%}",
            f"{sum(shard['sent'] for shard in both[0]):,}",
            f"{of_runs(both, 'wall_s'):.2f}",
            f"{of_runs(alone, 'wall_s') / of_runs(both, 'wall_s'):.2f}",
            f"{of_runs(alone, 'cpu_s') / of_runs(both, 'cpu_s'):.2f}",
            f"{of_runs(both, 'exchange_us'):.0f}",
            f"{median(min(shard['meeting_us'] for shard in run) for run in both):.0f}",
            f"{more / sent * 1e9:.0f}" if share >= 0.1 else "-",
        )
    console.print(table)


def window(repeats: int) -> None:
    """The length of windows, swept with the same density of events."""
    table = Table(title="Window length, PHOLD on 2 shards (local bus), remote share 10 %", title_justify="left")
    for heading in ("window", "events per window", "windows", "wall s", "speed-up", "by CPU"):
        table.add_column(heading, justify="right")
    for length in (100 * US, 500 * US, 2 * MS, 10 * MS, 50 * MS):
        load = BASE | {"groups": 2, "window_ns": length, "latency_ns": length, "spread_ns": 60 * MS - length}
        load["simulated_ns"] = 1000 * MS if length >= MS else 300 * MS
        one, two = phold(1, [load] * repeats), phold(2, [load] * repeats)
        same_events([*one, *two])
        events, windows = sum(shard["events"] for shard in two[0]), two[0][0]["windows"]
        table.add_row(
            f"{length / MS:g} ms",
            f"{events / windows:.0f}",
            f"{windows:,}",
            f"{of_runs(two, 'wall_s'):.2f}",
            f"{of_runs(one, 'wall_s') / of_runs(two, 'wall_s'):.2f}",
            f"{of_runs(one, 'cpu_s') / of_runs(two, 'cpu_s'):.2f}",
        )
    console.print(table)


def overhead(repeats: int) -> None:
    """What a window costs that has next to nothing in it, and the cost model that follows."""
    empty = BASE | {"hosts": 64, "population": 1, "remote_share": 0.5, "work": 1, "simulated_ns": 10_000 * MS}
    table = Table(
        title="Overhead of a window, in µs: its 20 % quantile (about 18 events a window)", title_justify="left"
    )
    for heading in (
        "bus",
        "shards",
        "meeting",
        "exchange",
        "Python",
        "in all",
        "raw MPI: 2 allreduces",
        "a message",
        "meeting / raw",
    ):
        table.add_column(heading, justify="right")
    found: dict[tuple[str, int], dict[str, float]] = {}
    for bus, shards in (("in process", 1), ("local", 2), ("local", 4), ("MPI", 2), ("MPI", 4)):
        runs: list[dict[str, Any]] = [empty] * repeats
        if bus == "MPI":
            runs = [*runs, {"raw_mpi": 1000, "rounds": 2000}]
        results = phold(shards, runs, mpi=bus == "MPI")
        # The last shard to arrive waits for nobody: what it measures is the collective's own cost.
        cost = {
            field: median(min(shard[field] for shard in run) for run in results[:repeats])
            for field in ("meeting_us", "exchange_us", "python_us")
        }
        cells = [bus, str(shards), *(f"{value:.1f}" for value in cost.values()), f"{sum(cost.values()):.1f}"]
        if bus == "MPI":
            raw = results[repeats][0]
            cost |= {f"raw_{name}": us for name, us in raw.items()}
            ratio = cost["meeting_us"] / sum(raw.values())
            cells += [f"{raw['reduce_us']:.1f}", f"{raw['message_us']:.1f}", f"{ratio:.1f}"]
        found[bus, shards] = cost
        table.add_row(*cells)
    console.print(table)
    busy = phold(1, [BASE] * repeats)
    codec = median(run[0] for run in phold(1, [{"codec": 1000}] * repeats))
    event = min(sum(shard["cpu_s"] for shard in run) / sum(shard["events"] for shard in run) for run in busy)
    print_model(found["MPI", 2], event * 1e9, codec)


def print_model(two: dict[str, float], event_ns: float, codec_ns: float) -> None:
    """Print the constants of docs/scaling.md's model, and where it says that runs saturate."""
    reduce_us, message_us = two["raw_reduce_us"], two["raw_message_us"]
    own_us = max(two["meeting_us"] + two["exchange_us"] + two["python_us"] - reduce_us - message_us, 0.0)
    console.print(
        f"model: c_event = {event_ns:.0f} ns, c_sent = {codec_ns:.0f} ns, c_window = {own_us:.0f} µs, "
        f"c_reduce = {reduce_us:.1f} µs, c_message = {message_us:.1f} µs"
    )
    table = Table(title="Saturation: where a window's overhead is as long as its events", title_justify="left")
    for heading in ("ranks", "overhead of a window µs", "events per window and rank", "of all ranks"):
        table.add_column(heading, justify="right")
    for ranks in (2, 16, 128, 1024):
        window_us = own_us + reduce_us * (ranks - 1).bit_length() + message_us * min(ranks - 1, NEIGHBOURS)
        events = window_us * 1000 / event_ns
        table.add_row(f"{ranks:,}", f"{window_us:,.0f}", f"{events:,.0f}", f"{events * ranks:,.0f}")
    console.print(table)


def flood_configuration(folder: Path, pairs: int) -> Path:
    """Write an experiment of pairs of hosts, of which one floods the other with datagrams; return its file."""
    program = folder / "udp_flood"
    subprocess.run(["gcc", "-O2", "-o", program, HERE / "apps" / "udp_flood.c"], check=True)
    lines = ["general: {stop_time: 30 s}", "network: {graph: {type: 1_gbit_switch}}", "hosts:"]
    for pair in range(pairs):
        for role, arguments in (("a", "receive 9000"), ("b", f"send pair{pair}a 9000 300000 500")):
            start = ", start_time: 1 s" if role == "b" else ""
            lines.append(f"  pair{pair}{role}: {{network_node_id: 0, processes: [")
            lines.append(f"    {{path: {program}, args: {arguments}{start}}}]}}")
    file = folder / "flood.yaml"
    file.write_text("\n".join(lines) + "\n")
    return file


def cold_configuration(folder: Path) -> Path:
    """Write an experiment of a cold tail of 200,000 identities in eight regions; return its file."""
    edges = [
        f'edge [ source {a} target {b} latency "{20 + 7 * (b - a)} ms" packet_loss 0.0 ]'
        for a in range(8)
        for b in range(a, 8)
    ]
    nodes = [f'node [ id {n} host_bandwidth_up "100 Mbit" host_bandwidth_down "100 Mbit" ]' for n in range(8)]
    graph = folder / "regions.gml"
    graph.write_text("\n".join(["graph [", *nodes, *edges, "]"]) + "\n")
    file = folder / "tail.yaml"
    file.write_text(
        f"general: {{stop_time: 20 s}}\nnetwork: {{graph: {{type: gml, file: {{path: {graph}}}}}}}\n"
        "cold:\n  populations: {tail: {count: 200000}}\n"
        "  publications: [{topic: 1, time: 1 s, count: 36, interval: 500 ms, size: 1000}]\n"
    )
    return file


def experiments(repeats: int) -> None:
    """Balanced experiments on one shard and on two: processes that flood each other in pairs, and a cold tail."""
    table = Table(
        title="Experiments, 1 shard against 2 (local bus): the window loop without start and end", title_justify="left"
    )
    for heading in ("experiment", "shards", "windows", "loop s", "CPU s in all", "barrier idle", "speed-up", "by CPU"):
        table.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what, file in (("8 floods", flood_configuration(folder, 8)), ("cold tail", cold_configuration(folder))):
            alone: tuple[float, float] | None = None
            for shards in (1, 2):
                results = [experiment(file, shards, folder / f"run-{shards}") for _ in range(repeats)]
                wall = median(statistics["wall_seconds"] for statistics, _ in results)
                cpu = median(used for _, used in results)
                alone = alone or (wall, cpu)
                statistics = results[0][0]
                table.add_row(
                    what,
                    str(shards),
                    f"{statistics['windows']:,}",
                    f"{wall:.2f}",
                    f"{cpu:.2f}",
                    f"{statistics['barrier_idle_fraction']:.0%}",
                    f"{alone[0] / wall:.2f}",
                    f"{alone[1] / cpu * shards:.2f}",
                )
    console.print(table)


def experiment(file: Path, shards: int, directory: Path) -> tuple[dict[str, Any], float]:
    """Run an experiment; returns its statistics, and the CPU time of all its processes [s]."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(ANTUMBRA), "run", str(file), "--shards", str(shards), "-d", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    statistics: dict[str, Any] = json.loads((directory / "sim-stats.json").read_text())
    return statistics, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def processor_time() -> tuple[int, int]:
    """Return what other guests took of this machine's processors, and all of their time (Linux's jiffies, proc(5))."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return fields[7], sum(fields)


def main() -> None:
    """Print all tables."""
    parts = {
        "strong": lambda repeats: strong_and_weak(repeats, weak=False),
        "weak": lambda repeats: strong_and_weak(repeats, weak=True),
        "remote": remote,
        "window": window,
        "overhead": overhead,
        "experiments": experiments,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default=",".join(parts))
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - set(parts)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    load = os.getloadavg()[0]
    console.print(
        f"{len(os.sched_getaffinity(0))} cores, load average {load:.1f} at the start, {options.repeats} repeats"
    )
    for part in options.only.split(","):
        started, before = time.monotonic(), processor_time()
        parts[part](options.repeats)
        stolen, passed = (now - then for now, then in zip(processor_time(), before, strict=True))
        console.print(
            f"{time.monotonic() - started:.0f} s, of which other guests of the machine took {stolen / passed:.0%}"
        )


if __name__ == "__main__":
    main()
