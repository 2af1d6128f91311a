"""Requests of which only some are executed, beside all of them, in the same network.

    python benchmarks/sampled_requests.py [--identities 10000] [--representatives 1000] [--seconds 30] [--loads 0.1,0.5]
        [--timeout 10] [--seed 1]

Identities of a tail over eight regions (configs/topologies/regional.gml, 50 peers), one in five with 1 Gbit/s and the
others with 50 Mbit/s, ping each other twice a second and ask each other for blocks: 0 to 15 chunks of 70 KB in the
median. The load is the share of time for which the answers take an uplink of 50 Mbit/s. Beside that the tail gossips,
a message of 4 KB every 100 ms; `none` is the same without requests.
What is compared: what the table of requests says, with the standard errors of what is estimated; the means over the
messages of percentiles of their delay; and the time of the process's CPU.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from _regional import regional_network  # type: ignore[import-not-found]

from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.request_kernels import wire_bytes
from cold.request_results import request_table
from cold.scenario import Scenario
from cold.section import ColdSection

SLOW_BPS: Final = 50_000_000
#: Mean bytes of an answer on the wire: 7.5 chunks (numbers are rounded down), log-normal with sigma 0.5.
_ANSWER_BYTES: Final = wire_bytes(round(7.5 * 70_000 * np.exp(0.5**2 / 2)))
_COUNTS: Final = ("asked", "answered", "failed", "timeouts", "refused", "limited", "request_bytes", "response_bytes")
_TIMES: Final = ("mean_ns", "p50_ns", "p95_ns", "p99_ns")


class Outcome(NamedTuple):
    """What one run says."""

    requests: npt.NDArray[np.void] | None
    """Rows of `cold.request_results.request_table`."""
    messages: npt.NDArray[np.void]
    """Rows of `cold.results.TABLE_TYPE`."""
    seconds: float
    """CPU."""


def protocols(load: float, timeout: float = 10.0) -> list[dict[str, Any]]:
    """Return what is asked, where blocks take this share of the time of an uplink of 50 Mbit/s, up to a timeout [s]."""
    interval = round(_ANSWER_BYTES * 8 * NS_PER_S / SLOW_BPS / load)
    ping = {"interval": {"kind": "exponential", "mean": "500 ms"}, "size": 8, "chunk_size": 8}
    return [
        {"name": "ping", **ping, "limit": {"tokens": 2, "period": "30 s"}},
        {
            "name": "blocks",
            "interval": {"kind": "exponential", "mean": f"{interval} ns"},
            "size": 24,
            "chunks": [0, 8, 16],
            "chunk_size": {"kind": "lognormal", "median": "70 KB", "sigma": 0.5, "maximum": "1 MB"},
            "service": ["1 ms", "5 ms", "20 ms"],
            "timeout": f"{round(timeout * 1000)} ms",
            "retries": 1,
        },
    ]


def measure(identities: int, seconds: float, seed: int, requests: Sequence[dict[str, Any]]) -> Outcome:
    """Run a tail whose identities ask this."""
    directory, paths = regional_network(identities)
    section = ColdSection.model_validate(
        {
            "populations": {"tail": {"count": identities}},
            "overlay": {"degree": 50},
            "gossip": {"validation_delay": ["1 ms", "2 ms", "10 ms"]},
            "publications": [
                {"topic": 1, "time": "2 s", "count": round(10 * seconds) - 40, "interval": "100 ms", "size": "4 KB"}
            ],
            "requests": requests,
        }
    )
    stop = round(seconds * NS_PER_S)
    started = time.process_time()
    engine = ColdEngine(Scenario(section, directory, seed, stop), paths)
    engine.run_until(stop)
    results = engine.partial_results()
    table = request_table(results, [each["name"] for each in requests]) if requests else None
    return Outcome(table, engine.message_table(), time.process_time() - started)


def _compare(exact: Outcome, sampled: Outcome, none: Outcome) -> None:
    assert exact.requests is not None
    assert sampled.requests is not None
    for true, row in zip(exact.requests, sampled.requests, strict=True):
        print(f"  {row['protocol']}, {row['executed']:,} of {row['askers']:,} execute")
        for name in (*_COUNTS, *_TIMES):
            unit = NS_PER_MS if name in _TIMES else 1
            error = {"mean_ns": "mean_error_ns"}.get(name, f"{name}_error")
            known = f"± {row[error] / unit:,.{_digits(unit)}f}" if error in (sampled.requests.dtype.names or ()) else ""
            _line(name.replace("_ns", ", ms").replace("_", " "), true[name] / unit, row[name] / unit, known, unit)
    print("  gossip")
    for name in ("p50_ns", "p95_ns", "p99_ns"):
        alone, true, row = (float(each.messages[name].mean()) / NS_PER_MS for each in (none, exact, sampled))
        _line(f"{name[:3]} of the delay, ms", true, row, f"{alone:,.1f} none", NS_PER_MS)
    _line("CPU s", exact.seconds, sampled.seconds, f"{none.seconds:,.1f} none", NS_PER_MS)


def _digits(unit: int) -> int:
    return 0 if unit == 1 else 1


def _line(name: str, true: float, estimate: float, beside: str, unit: int) -> None:
    digits = _digits(unit)
    change = f"{(estimate / true - 1) * 100:+.1f} %" if true else ""
    print(f"    {name:22} {true:18,.{digits}f} {estimate:18,.{digits}f} {change:>9} {beside:>18}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="requests of which only some are executed, beside all of them")
    parser.add_argument("--identities", type=int, default=10_000)
    parser.add_argument("--representatives", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--loads", default="0.1,0.5")
    parser.add_argument("--timeout", type=float, default=10.0, help="after which blocks are asked for once more [s]")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    asked = protocols(0.1)
    for requests in ([], asked):
        measure(100, 5.0, 1, requests)
    for load in (float(text) for text in arguments.loads.split(",")):
        asked = protocols(load, arguments.timeout)
        resolution = {"level": "sampled", "representatives": arguments.representatives}
        levels: tuple[list[dict[str, Any]], ...] = ([], asked, [{**each, "resolution": resolution} for each in asked])
        none, exact, sampled = (
            measure(arguments.identities, arguments.seconds, arguments.seed, requests) for requests in levels
        )
        print(f"load {load} {'':19} {'exact':>18} {'sampled':>18}")
        _compare(exact, sampled, none)


if __name__ == "__main__":
    main()
