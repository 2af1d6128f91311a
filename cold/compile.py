"""Compile all kernels into the cache: ``python -m cold.compile``, so that the first experiment need not."""

import struct
from typing import Any

import numpy as np

from bridge.batch import EventBatch, pack_payloads
from bridge.directory import ColdPlacement, HotPlacement, build_directory
from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.renewal_kernels import copy_entries, copy_wide_rows
from cold.resolution import resolutions
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.tail import build_tail

_BANDWIDTH = 10**9
_PORT = 9000
#: Late enough for the first messages to have left every message cache, and their slots to be used again.
_END = 12 * NS_PER_S


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
    # Of so few identities a copy of the network has too many that take part to copy their rows alone.
    row, entries = np.zeros(1, dtype=np.int64), np.zeros((2, 1), dtype=np.int32)
    copy_wide_rows(row, np.zeros((1, 8), dtype=np.int64), np.zeros((1, 8), dtype=np.int64))
    copy_entries(row, *entries)


def _run(keys: dict[str, Any]) -> None:
    directory = build_directory(
        [HotPlacement("hot", 0, _BANDWIDTH, _BANDWIDTH)],
        [ColdPlacement("tail", 8, ((0, 1.0),))],
        [(_BANDWIDTH, _BANDWIDTH)],
    )
    paths = PathTable((0,), np.array([[NS_PER_MS]]), np.zeros((1, 1)), NS_PER_MS)
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
    scenario = Scenario(section, directory, 1, _END)
    levels = resolutions(scenario)
    everybody = range(directory.hot_count, directory.total_count)
    cuts = np.array([everybody.start, everybody.stop], dtype=np.int64)
    engine = build_tail(scenario, paths, levels, owned=everybody, cuts=cuts, shard=0)
    source, destination = (int(address) for address in directory.address[:2])
    message = struct.pack(">HBBHHQIQHI", 0x4147, 1, 7, 1, 1, source << 32 | 1, source, 0, 0, 0)
    for datagram in (*(struct.pack(">HBBHH", 0x4147, 1, 1, topic, 0) for topic in (1, 2)), message):
        udp = struct.pack(">HHHH", _PORT, _PORT, 8 + len(datagram), 0)
        header = struct.pack(">BBHHHBBHII", 0x45, 0, 28 + len(datagram), 0, 0, 64, 17, 0, source, destination)
        offset, payload = pack_payloads([header + udp + datagram])
        engine.deliver(EventBatch.build([NS_PER_MS], [0], [1], [1], payload_offset=offset, payload=payload))
    engine.run_until(_END)
    engine.message_table()


if __name__ == "__main__":
    compile_kernels()
