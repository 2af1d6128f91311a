"""What hot hosts see of a tail that changes, whose topic is coarse, beside the same tail at exact resolution.

    python benchmarks/changing_hot_hosts.py [--identities 600] [--case churn] [--shards 1]

The networks are those of `benchmarks/changing_resolutions.py`. Two hot hosts greet twenty identities each and ask into
their meshes, again every five seconds, as clients do that redial; each publishes a message every three seconds, which
it pushes to those. The tail publishes a message every 0.3 s.

What is compared: how long messages take to their first copy at a hot host, of the tail's and of the other host's (mean
of those that come while they are pushed, 95th percentile); how many come; and the datagrams of each kind that hot
hosts get.
"""

import argparse
import functools
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch, pack_payloads
from bridge.directory import BandwidthShare, ColdPlacement, HostDirectory, HotPlacement, build_directory
from bridge.paths import PathTable
from bridge.simtime import EPOCH, NEVER, NS_PER_MS, NS_PER_S
from cold.resolution import resolutions
from cold.resolution_section import Resolution
from cold.results import merge, message_table
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.tail import build_tail

# The cases are found beside this file, whoever imports it.
sys.path.append(str(Path(__file__).resolve().parent))
from changing_resolutions import CASES  # type: ignore[import-not-found]

IDENTITIES: Final = 600
STOP: Final = 100 * NS_PER_S
HOT: Final = 2
PEERS: Final = 20
#: What takes longer came by gossip, or from a publisher that was away [ms].
PUSHED_MS: Final = 500.0
_SEED: Final = 3
_PORT: Final = 9000
_PAYLOAD: Final = 1000
_HELLO, _GRAFT, _MESSAGE = 1, 3, 7
_KINDS: Final = dict(enumerate(("HELLO", "LEAVE", "GRAFT", "PRUNE", "IHAVE", "IWANT", "MESSAGE", "IDONTWANT"), 1))


class Seen(NamedTuple):
    """What the hot hosts of one run have seen."""

    tails: npt.NDArray[np.float64]
    """float64[n]: from the publication of each of the tail's messages to its first copy at each hot host [ms]."""
    hosts: npt.NDArray[np.float64]
    """float64[n]: the same of the other host's messages."""
    kinds: dict[str, int]
    """Datagrams that they got."""
    digest: bytes
    """Of all packets."""
    table: npt.NDArray[np.void]
    """`cold.results.TABLE_TYPE`."""
    seconds: float
    """CPU."""


def network(case: str, resolution: str, identities: int) -> tuple[ColdSection, HostDirectory, PathTable]:
    """One of the cases of `changing_resolutions`, with hot hosts."""
    keys = dict(CASES[case])
    latency = np.array([[2, 40, 90], [40, 2, 60], [90, 60, 2]], dtype=np.int64) * NS_PER_MS
    paths = PathTable((0, 1, 2), latency, np.zeros((3, 3)), 2 * NS_PER_MS)
    share = BandwidthShare(1.0, 10**9, 10**9)
    directory = build_directory(
        [HotPlacement(f"hot{number}", number, 10**9, 10**9) for number in range(HOT)],
        [ColdPlacement("tail", identities, ((0, 2.0), (1, 1.0), (2, 1.0)), (share,))],
    )
    population = {"count": identities, **{name: keys.pop(name) for name in ("churn",) if name in keys}}
    section = ColdSection.model_validate(
        {
            "populations": {"tail": population},
            "overlay": {"degree": 30},
            "gossip": {
                "validation_delay": {"kind": "uniform", "low": "1 ms", "high": "20 ms"},
                "prune_backoff": "5 s",
                **keys.pop("gossip", {}),
            },
            "publications": [{"topic": 1, "time": "10 s", "count": 260, "interval": "300 ms", "size": _PAYLOAD}],
            "resolution": {"default": resolution, "representatives": 8, "epoch": "20 s"},
            **keys,
        }
    )
    return section, directory, paths


def _datagram(directory: HostDirectory, source: int, destination: int, kind: int, body: bytes = b"") -> bytes:
    """A whole IPv4 packet about topic 1, see docs/gossip-datagram.md."""
    data = struct.pack(">HBBHH", 0x4147, 1, kind, 1, int(kind == _MESSAGE)) + body
    ends = struct.pack(">II", int(directory.address[source]), int(directory.address[destination]))
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(data), 0, 0x4000, 64, 17, 0) + ends
    return ip + struct.pack(">HHHH", _PORT, _PORT, 8 + len(data), 0) + data


def script(directory: HostDirectory) -> list[tuple[int, int, int, bytes]]:
    """What the hot hosts say: times [ns], sources, destinations and packets, by time."""
    said = []
    first, count = directory.hot_count, directory.total_count - directory.hot_count
    for source in range(HOT):
        peers = [first + (source * 7 + number * count // PEERS) % count for number in range(PEERS)]
        for round_number in range(STOP // (5 * NS_PER_S)):
            for place, peer in enumerate(peers):
                at = NS_PER_S + round_number * 5 * NS_PER_S + place * 50 * NS_PER_MS
                said += [
                    (at + kind, source, peer, _datagram(directory, source, peer, kind)) for kind in (_HELLO, _GRAFT)
                ]
        for number in range(26):
            at = 10 * NS_PER_S + number * 3 * NS_PER_S + source * 1100 * NS_PER_MS
            address = int(directory.address[source])
            message_id = address << 32 | number + 1
            head = struct.pack(">QIQHI", message_id, address, EPOCH * NS_PER_S + at, 0, _PAYLOAD)
            for place, peer in enumerate(peers[:8]):
                body = head + bytes(_PAYLOAD)
                # One after another leaves, and takes its way.
                there = at + (2 + 40 * (place % 3)) * NS_PER_MS + place
                said.append((there, source, peer, _datagram(directory, source, peer, _MESSAGE, body)))
    return sorted(said)


class _Tail:
    """The shards of a tail, which tell each other what they have to."""

    def __init__(self, section: ColdSection, directory: HostDirectory, paths: PathTable, shards: int) -> None:
        scenario = Scenario(section, directory, _SEED, STOP)
        make = partial(build_tail, scenario, paths, resolutions(scenario))
        first, count = directory.hot_count, directory.total_count - directory.hot_count
        self._cuts = np.array([first + count * number // shards for number in range(shards + 1)], dtype=np.int64)
        self.parts = [
            make(owned=range(int(self._cuts[shard]), int(self._cuts[shard + 1])), cuts=self._cuts, shard=shard)
            for shard in range(shards)
        ]

    def deliver(self, batch: EventBatch) -> None:
        shards = np.searchsorted(self._cuts, batch.destination, side="right") - 1
        for shard, part in enumerate(self.parts):
            part.deliver(batch.select(shards == shard))

    def run_until(self, end: int) -> EventBatch:
        batch = EventBatch.concatenate([part.run_until(end) for part in self.parts])
        is_packet = batch.destination < HOT
        self.deliver(batch.select(~is_packet))
        return batch.select(is_packet)

    def next_event_time(self) -> int:
        return min(part.next_event_time() for part in self.parts)


@functools.cache
def measure(case: str, resolution: str, identities: int = IDENTITIES, shards: int = 1) -> Seen:
    """Run a case at a resolution."""
    started = time.process_time()
    section, directory, paths = network(case, resolution, identities)
    tail = _Tail(section, directory, paths, shards)
    said = script(directory)
    told = 0
    heard = []
    while True:
        start = min(tail.next_event_time(), said[told][0] if told < len(said) else NEVER)
        if start >= STOP:
            break
        end = min(start + 2 * NS_PER_MS, STOP)
        last = told
        while last < len(said) and said[last][0] < end:
            last += 1
        if last > told:
            rows = said[told:last]
            offset, payload = pack_payloads([row[3] for row in rows])
            times, sources, destinations = (list(column) for column in list(zip(*rows, strict=True))[:3])
            tail.deliver(
                EventBatch.build(
                    times, sources, list(range(told, last)), destinations, payload_offset=offset, payload=payload
                )
            )
            told = last
        heard.append(tail.run_until(end))
    tail.run_until(STOP)
    whole = EventBatch.concatenate(heard)
    kinds: Counter[str] = Counter()
    first_copy: dict[tuple[int, int], float] = {}
    for row in range(len(whole)):
        data = whole.payload_of(row)
        kind, host = data[31], int(whole.destination[row])
        kinds[_KINDS[kind]] += 1
        if kind == _MESSAGE:
            message_id, _, published = struct.unpack_from(">QIQ", data, 36)
            delay = (int(whole.deliver_time[row]) - (published - EPOCH * NS_PER_S)) / NS_PER_MS
            key = host, message_id
            first_copy[key] = min(first_copy.get(key, delay), delay)
    own = {int(directory.address[host]) for host in range(HOT)}
    tails = [delay for (_, message), delay in sorted(first_copy.items()) if message >> 32 not in own]
    hosts = [delay for (_, message), delay in sorted(first_copy.items()) if message >> 32 in own]
    table = message_table(merge([part.partial_results() for part in tail.parts]))
    return Seen(
        *(np.array(tails), np.array(hosts), dict(sorted(kinds.items())), whole.digest(), table),
        time.process_time() - started,
    )


def _rows() -> list[tuple[str, Callable[[Seen], float]]]:
    def mean(which: str) -> Callable[[Seen], float]:
        return lambda seen: float(getattr(seen, which)[getattr(seen, which) < PUSHED_MS].mean())

    def quantile(which: str, percent: float) -> Callable[[Seen], float]:
        return lambda seen: float(np.percentile(getattr(seen, which), percent, method="inverted_cdf"))

    return [
        ("tail's messages: mean, ms", mean("tails")),
        ("95th percentile, ms", quantile("tails", 95)),
        ("come to hot hosts", lambda seen: len(seen.tails)),
        ("other host's: mean, ms", mean("hosts")),
        ("95th percentile, ms", quantile("hosts", 95)),
        ("come to hot hosts", lambda seen: len(seen.hosts)),
        (
            "receivers of hosts' messages",
            lambda seen: float(seen.table["delivered"][seen.table["origin"] < HOT].mean()),
        ),
        *((f"{kind} datagrams", lambda seen, kind=kind: seen.kinds.get(kind, 0)) for kind in _KINDS.values()),
        ("CPU s", lambda seen: seen.seconds),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="what hot hosts see of coarse topics in networks that change")
    parser.add_argument("--identities", type=int, default=IDENTITIES)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--case", action="append", choices=list(CASES))
    arguments = parser.parse_args()
    levels = [level.written for level in Resolution]
    for case in arguments.case or list(CASES):
        seen: list[Any] = [measure(case, level, arguments.identities, arguments.shards) for level in levels]
        print(f"{case:30}" + "".join(f"{level:>22}" for level in levels))
        for name, value in _rows():
            true, *others = (value(each) for each in seen)
            changes = "".join(f"{other:12,.2f} {_change(other, true):>9}" for other in others)
            print(f"  {name:28}{true:22,.2f}{changes}")


def _change(value: float, true: float) -> str:
    return f"{(value / true - 1) * 100:+.1f} %" if true else ""


if __name__ == "__main__":
    main()
