"""Compile all kernels into the cache: ``python -m cold.compile``, so that the first experiment need not."""

import struct
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch, pack_payloads
from bridge.directory import ColdPlacement, HostDirectory, HotPlacement, build_directory
from bridge.graph import parse_gml
from bridge.paths import Paths, PathTable
from bridge.simtime import EPOCH, NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.renewal_kernels import copy_entries, copy_wide_rows
from cold.request_kernels import copy_meters, drop_full_meters
from cold.request_layout import METER_COLUMNS
from cold.resolution import resolutions
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.tail import MixedTail, build_tail

_BANDWIDTH = 10**9
_PORT = 9000
_GRAPH = """graph [
  node [ id 0 ]
  node [ id 1 ]
  edge [ source 0 target 0 latency "1 ms" ]
  edge [ source 0 target 1 latency "1 ms" ]
  edge [ source 1 target 1 latency "1 ms" ]
]"""
#: Late enough for the first messages to have left every message cache, and their slots to be used again.
_END = 12 * NS_PER_S
#: The first publications and heartbeats have come to the other shard.
_DIVIDED_END = 2 * NS_PER_S


def compile_kernels() -> None:
    """Run experiments of a few identities that use every kernel."""
    _run({})
    # Where identities are of kinds with gossip of their own, hot hosts on coarse topics see links that are exact.
    clients = {
        "own": {"share": 1, "gossip": {"d_lazy": 3}},
        "few": {"share": 1, "gossip": {"d": 5, "d_low": 4}},
    }
    _run(
        {
            "clients": clients,
            "topics": [1, 2, {"name": "columns", "first": 3, "count": 2, "per_identity": 1}],
        }
    )
    _run({"clients": clients, "resolution": {"topics": {2: "mean-field"}}})
    _run(
        {
            "populations": {"tail": {"count": 8, "port": _PORT, "churn": "mainnet"}},
            "failures": [{"kind": "partition", "time": "2 s", "until": "5 s", "regions": [0], "detection": "1 s"}],
        }
    )
    _run_divided()
    # Of so few identities a copy of the network has too many that take part to copy their rows alone.
    row, entries = np.zeros(1, dtype=np.int64), np.zeros((2, 1), dtype=np.int32)
    copy_wide_rows(row, np.zeros((1, 8), dtype=np.int64), np.zeros((1, 8), dtype=np.int64))
    copy_entries(row, *entries)
    # So few have no need of a longer table of limits.
    drop_full_meters(np.zeros((2, METER_COLUMNS), dtype=np.int64), 0)
    copy_meters(*np.zeros((2, 2, METER_COLUMNS), dtype=np.int64))


def _scenario(keys: dict[str, Any]) -> tuple[Scenario, PathTable]:
    directory = build_directory(
        [HotPlacement("hot", 0, _BANDWIDTH, _BANDWIDTH)],
        [ColdPlacement("tail", 8, ((0, 1.0),))],
        [(_BANDWIDTH, _BANDWIDTH)],
    )
    paths = Paths(parse_gml(_GRAPH), [0, 1]).table()
    section = ColdSection.model_validate(
        {
            "populations": {"tail": {"count": 8, "port": _PORT}},
            "topics": [1, 2],
            "publications": [
                {"topic": topic, "time": "1 s", "count": 40, "interval": "250 ms", "size": 100} for topic in (1, 2)
            ],
            "resolution": {"topics": {2: "sampled"}},
            "requests": [
                {"name": "ping", "interval": "1 s", "chunk_size": 8},
                {
                    "name": "blocks",
                    "interval": "1 s",
                    "chunk_size": "1 MB",
                    "resolution": {"level": "sampled", "representatives": 2},
                },
            ],
            "transactions": {"rate": 1},
            **keys,
        }
    )
    return Scenario(section, directory, 1, _END), paths


def _tails(scenario: Scenario, paths: PathTable, shards: int) -> list[ColdEngine | MixedTail]:
    cuts = _cuts(scenario.directory, shards)
    levels = resolutions(scenario)
    return [
        build_tail(scenario, paths, levels, owned=range(begin, end), cuts=cuts, shard=shard)
        for shard, (begin, end) in enumerate(pairwise(cuts.tolist()))
    ]


def _cuts(directory: HostDirectory, shards: int) -> npt.NDArray[np.int64]:
    return np.linspace(directory.hot_count, directory.total_count, shards + 1).astype(np.int64)


def _run_divided() -> None:
    """Have two shards tell each other what crosses, for as long as it takes that something of each kind does."""
    scenario, paths = _scenario({})
    tails, border = _tails(scenario, paths, 2), _cuts(scenario.directory, 2)[1]
    for end in range(NS_PER_MS, _DIVIDED_END, NS_PER_MS):
        batch = EventBatch.concatenate([tail.run_until(end) for tail in tails])
        shard = (batch.destination >= border).astype(np.int64)
        for number, tail in enumerate(tails):
            tail.deliver(batch.select(shard == number))


def _run(keys: dict[str, Any]) -> None:
    scenario, paths = _scenario(keys)
    (engine,) = _tails(scenario, paths, 1)
    source, destination = (int(address) for address in scenario.directory.address[:2])
    message = struct.pack(">HBBHHQIQHI", 0x4147, 1, 7, 1, 1, source << 32 | 1, source, EPOCH * NS_PER_S, 0, 0)
    for datagram in (*(struct.pack(">HBBHH", 0x4147, 1, 1, topic, 0) for topic in (1, 2)), message):
        udp = struct.pack(">HHHH", _PORT, _PORT, 8 + len(datagram), 0)
        header = struct.pack(">BBHHHBBHII", 0x45, 0, 28 + len(datagram), 0, 0, 64, 17, 0, source, destination)
        offset, payload = pack_payloads([header + udp + datagram])
        engine.deliver(EventBatch.build([NS_PER_MS], [0], [1], [1], payload_offset=offset, payload=payload))
    engine.run_until(_END)
    engine.message_table()


if __name__ == "__main__":
    compile_kernels()
