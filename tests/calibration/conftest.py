"""Run directories made by hand: what a run of peers with chosen delays would have left."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from bridge.rundir import RunDirectory
from bridge.simtime import EPOCH, NS_PER_MS, NS_PER_S

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

START_NS = EPOCH * NS_PER_S
PUBLISHER = 0x0B000001


def message_id(number: int) -> str:
    return f"0x{PUBLISHER << 32 | number:016x}"


@dataclass
class MadeRun:
    """A run of one publisher, at host ``publisher``, and of peers ``peer0``, ``peer1``, ... that got its messages."""

    #: One row for each message, one column for each peer; a delay below zero is a message that the peer did not get.
    delays_ms: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    seed: int = 1
    status: str = "complete"
    duplicates: int = 0
    #: Further lines, by host.
    lines: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tail: pa.Table | None = None

    def write(self, path: Path) -> Path:
        with RunDirectory(path) as directory:
            directory.describe({}, seed=self.seed)
            for host, lines in self._logs().items():
                text = "".join(f"{line}\n" for line in [*lines, *self.lines.get(host, ())])
                (directory.host_directory(host) / "gossip-node.1000.stdout").write_text(text)
            for host in self.lines.keys() - self._logs().keys():
                text = "".join(f"{line}\n" for line in self.lines[host])
                (directory.host_directory(host) / "program.1000.stdout").write_text(text)
            if self.tail is not None:
                pq.write_table(self.tail, directory.metrics / "messages.parquet")
            directory.finish(self.status)
        return path

    def _logs(self) -> dict[str, list[str]]:
        messages, peers = self.delays_ms.shape
        published = [START_NS + (number + 1) * NS_PER_S for number in range(messages)]
        end_ns = START_NS + (messages + 10) * NS_PER_S
        logs = {"publisher": [self._start()]}
        for number, time_ns in enumerate(published):
            logs["publisher"].append(
                json.dumps(
                    {"event": "publish", "time_ns": time_ns, "topic": 1, "id": message_id(number), "size": 8},
                    separators=(",", ":"),
                )
            )
        logs["publisher"].append(self._summary(end_ns, published=messages, delivered=0))
        for peer in range(peers):
            lines = [self._start()]
            got = 0
            for number, time_ns in enumerate(published):
                delay_ns = round(self.delays_ms[number, peer] * NS_PER_MS)
                if delay_ns >= 0:
                    got += 1
                    lines.append(deliver(number, time_ns, delay_ns, hops=peer % 3))
            logs[f"peer{peer}"] = [*lines, self._summary(end_ns, published=0, delivered=got)]
        return logs

    def _start(self) -> str:
        return f'{{"event":"start","time_ns":{START_NS},"name":"x","topics":[1],"peers":3}}'

    def _summary(self, time_ns: int, published: int, delivered: int) -> str:
        sent = dict.fromkeys(("hello", "leave", "graft", "prune", "ihave", "iwant"), 2) | {"message": 1000}
        summary = {
            "event": "summary",
            "time_ns": time_ns,
            "published": published,
            "delivered": delivered,
            "duplicates": self.duplicates,
            "bytes_sent": 125_000,
            "sent": sent,
        }
        return json.dumps(summary, separators=(",", ":"))


def deliver(number: int, published_ns: int, delay_ns: int, *, hops: int = 0, ok: bool = True) -> str:
    event = {
        "event": "deliver",
        "time_ns": published_ns + delay_ns,
        "topic": 1,
        "id": message_id(number),
        "from": "11.0.0.2:9000",
        "hops": hops,
        "delay_ns": delay_ns,
        "size": 8,
        "ok": ok,
    }
    return json.dumps(event, separators=(",", ":"))


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a `MadeRun` to a directory of its own: ``make_run(delays_ms, seed=2, ...)``."""
    made = 0

    def make(delays_ms: object, **options: object) -> Path:
        nonlocal made
        made += 1
        run = MadeRun(np.asarray(delays_ms, dtype=np.float64), **options)  # type: ignore[arg-type]
        return run.write(tmp_path / f"run{made}")

    return make
