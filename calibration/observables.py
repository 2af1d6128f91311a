"""What is compared: observables of a run, read from its directory.

Peers are the processes that write gossip-node's lines of JSON (docs/gossip-datagram.md names the protocol). What the
cold tail measured of itself is in ``metrics/messages.parquet``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bridge.errors import UserError
from bridge.rundir import HOSTS, MANIFEST, METRICS
from bridge.simtime import EPOCH, NS_PER_MS, NS_PER_S
from calibration.distances import Sample, pool

StructuredArray = npt.NDArray[np.void]

#: Of clocks: nanoseconds of Unix time, as peers write them.
MESSAGE_TYPE: Final = np.dtype(
    [("id", np.uint64), ("topic", np.int64), ("publish_time_ns", np.int64), ("publisher", np.int64)]
)
DELIVERY_TYPE: Final = np.dtype([("message", np.int64), ("peer", np.int64), ("delay_ns", np.int64), ("hops", np.int64)])
TAIL_TYPE: Final = np.dtype(
    [
        ("id", np.uint64),
        ("topic", np.int64),
        ("publish_time_ns", np.int64),
        ("delivered", np.int64),
        ("p50_ns", np.int64),
        ("p95_ns", np.int64),
        ("p99_ns", np.int64),
    ]
)
_CONTROL: Final = ("hello", "leave", "graft", "prune", "ihave", "iwant")
_NEVER_ENDS: Final = 2**63 - 1


@dataclass(frozen=True)
class Totals:
    """What a peer counted from its start to its end."""

    published: int
    delivered: int
    duplicates: int
    control_sent: int
    bytes_sent: int

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> Totals:
        """Take the totals from a peer's summary."""
        return cls(
            published=int(summary["published"]),
            delivered=int(summary["delivered"]),
            duplicates=int(summary["duplicates"]),
            control_sent=sum(int(summary["sent"][kind]) for kind in _CONTROL),
            bytes_sent=int(summary["bytes_sent"]),
        )


@dataclass
class Peer:
    """A peer, as its own log tells of it.

    Attributes
    ----------
    name : str
        ``<host>/<file>``.
    topics : frozenset of int
        The topics that it subscribed to.
    start_ns, end_ns : int
        When it started and when it wrote its summary [ns of Unix time].
    totals : Totals or None
        What its summary says; None if it was killed before it wrote one.
    counted : bool
        Whether it is one of those to be compared peer by peer.
    """

    name: str
    counted: bool = True
    topics: frozenset[int] = frozenset()
    start_ns: int = 0
    end_ns: int = _NEVER_ENDS
    totals: Totals | None = None


@dataclass(frozen=True)
class RunRecords:
    """What a run's directory holds for calibration.

    Attributes
    ----------
    directory : pathlib.Path
    seed : int
    peers : tuple of Peer
        By name.
    messages : structured ndarray of `MESSAGE_TYPE`
        By id. `publisher` is the place of a peer, or -1.
    deliveries : structured ndarray of `DELIVERY_TYPE`
        Undamaged first deliveries: places of a message and of a peer, by (message, peer).
    tail : structured ndarray of `TAIL_TYPE`
        The cold tail's own summary of each message; empty without a tail.
    """

    directory: Path
    seed: int
    peers: tuple[Peer, ...]
    messages: StructuredArray
    deliveries: StructuredArray
    tail: StructuredArray


@dataclass(frozen=True)
class Observable:
    """Something measured of a run.

    Attributes
    ----------
    name, unit, description : str
    measure : callable
        From a run's records to a sample.
    """

    name: str
    unit: str
    description: str
    measure: Callable[[RunRecords], Sample]

    def sample(self, runs: Sequence[RunRecords]) -> Sample:
        """Return the values of all runs together."""
        return pool([self.measure(run) for run in runs])


def read_run(directory: Path | str, peers: Sequence[str] = ("*",)) -> RunRecords:
    """Read a run's directory.

    Parameters
    ----------
    directory
        That of a run that is complete.
    peers
        Patterns (as of a shell) of the hosts whose peers are compared peer by peer. Who compares a hybrid run with a
        direct one names those that are hot in both. How messages spread is measured over the whole network.

    Raises
    ------
    UserError
        It is not the directory of a run, the run did not end well, or a log is not what it should be.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    if manifest.get("status") != "complete":
        raise UserError(
            f"this run is {manifest.get('status')!r}, not 'complete'",
            where=str(directory),
            hint="an experiment that did not end as it should says nothing about accuracy",
        )
    reader = _LogReader()
    for log in sorted((directory / HOSTS).glob("*/*.stdout")):
        reader.read(log, counted=any(fnmatchcase(log.parent.name, pattern) for pattern in peers))
    tail = _read_tail(directory / METRICS / "messages.parquet")
    for row in tail:
        message = reader.messages.setdefault(int(row["id"]), _Message(int(row["topic"])))
        message.publish_time_ns = int(row["publish_time_ns"]) + EPOCH * NS_PER_S
    messages, deliveries = reader.arrays()
    return RunRecords(directory, int(manifest.get("seed", 0)), tuple(reader.peers), messages, deliveries, tail)


def read_manifest(directory: Path) -> dict[str, Any]:
    """Read the manifest of a run's directory."""
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except OSError as error:
        raise UserError(
            f"this is not the directory of a run: {MANIFEST} cannot be read ({error.strerror})", where=str(directory)
        ) from None
    except ValueError:
        raise UserError(f"{MANIFEST} is not JSON", where=str(directory)) from None
    if not isinstance(manifest, dict):
        raise UserError(f"{MANIFEST} is not that of a run", where=str(directory))
    return manifest


@dataclass
class _Message:
    topic: int
    publish_time_ns: int = 0
    publisher: int = -1
    #: Delay and hops by place of the peer.
    deliveries: dict[int, tuple[int, int]] = field(default_factory=dict)


class _LogReader:
    """Collects what the logs of a run say."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.messages: dict[int, _Message] = {}

    def read(self, log: Path, *, counted: bool) -> None:
        """Read the log of one process; one that does not begin as a peer's does adds nothing."""
        peer: Peer | None = None
        for line, event in _events(log):
            if peer is None:
                if event["event"] != "start" or "topics" not in event:
                    return
                peer = Peer(f"{log.parent.name}/{log.stem}", counted)
                self.peers.append(peer)
            try:
                self._take(peer, event)
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(
                    f"a {event['event']!r} event that cannot be read ({type(error).__name__}: {error})",
                    where=f"{log}:{line}",
                ) from None

    def arrays(self) -> tuple[StructuredArray, StructuredArray]:
        """Return messages by id, and deliveries by (message, peer)."""
        ordered = sorted(self.messages.items())
        messages = [(number, message.topic, message.publish_time_ns, message.publisher) for number, message in ordered]
        deliveries = [
            (place, peer, *message.deliveries[peer])
            for place, (_, message) in enumerate(ordered)
            for peer in sorted(message.deliveries)
        ]
        return np.array(messages, dtype=MESSAGE_TYPE), np.array(deliveries, dtype=DELIVERY_TYPE)

    def _take(self, peer: Peer, event: Mapping[str, Any]) -> None:
        time_ns = int(event["time_ns"])
        match event["event"]:
            case "start":
                peer.start_ns = time_ns
                peer.topics = frozenset(int(topic) for topic in event["topics"])
            case "publish":
                message = self._message(event)
                message.publish_time_ns = time_ns
                message.publisher = len(self.peers) - 1
            case "deliver" if event["ok"]:
                message = self._message(event)
                delay_ns = int(event["delay_ns"])
                message.publish_time_ns = time_ns - delay_ns
                # A peer that outlived its memory of a message can deliver it again.
                message.deliveries.setdefault(len(self.peers) - 1, (delay_ns, int(event["hops"])))
            case "summary":
                peer.end_ns = time_ns
                peer.totals = Totals.of(event)

    def _message(self, event: Mapping[str, Any]) -> _Message:
        return self.messages.setdefault(int(event["id"], 0), _Message(int(event["topic"])))


def _events(log: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the events of a log with their lines; a killed peer may leave half a line, other programs anything."""
    with log.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.startswith(b'{"event"'):
                continue
            try:
                event = json.loads(line)
            except ValueError:
                continue
            yield number, event


def _read_tail(path: Path) -> StructuredArray:
    if not path.exists():
        return np.empty(0, dtype=TAIL_TYPE)
    try:
        table = pq.read_table(path, columns=list(TAIL_TYPE.names or ()))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"the table cannot be read: {error}", where=str(path)) from None
    missing = set(TAIL_TYPE.names or ()) - set(table.column_names)
    if missing:
        raise UserError(f"the table lacks {', '.join(sorted(missing))}", where=str(path))
    tail = np.empty(table.num_rows, dtype=TAIL_TYPE)
    for name in table.column_names:
        tail[name] = table[name].to_numpy()
    return tail


def _per_delivery(column: str, per_unit: int) -> Callable[[RunRecords], Sample]:
    """Make a measure that gives one value for each message and peer; those of one message belong together."""

    def measure(run: RunRecords) -> Sample:
        counted = np.array([peer.counted for peer in run.peers], dtype=np.bool_)
        deliveries = run.deliveries[counted[run.deliveries["peer"]]]
        return Sample.of(deliveries[column] / per_unit, deliveries["message"])

    return measure


def _spread(quantile: float, column: str) -> Callable[[RunRecords], Sample]:
    """Make the measure of how long messages take to reach a share of those that they reach at all.

    Those are the tail's identities where there is a tail, and all peers where there is none.
    """

    def measure(run: RunRecords) -> Sample:
        if len(run.tail):
            times = run.tail[column][run.tail["delivered"] > 0]
        else:
            message, first = np.unique(run.deliveries["message"], return_index=True)
            groups = np.split(run.deliveries["delay_ns"], first[1:]) if len(message) else []
            times = np.array([np.quantile(group, quantile, method="inverted_cdf") for group in groups])
        return Sample.of(times / NS_PER_MS)

    return measure


def _coverage(run: RunRecords) -> Sample:
    """Of the messages published while a peer ran, on its topics and not by itself: the share that it got."""
    shares = []
    for place, peer in enumerate(run.peers):
        time = run.messages["publish_time_ns"]
        due = (peer.start_ns <= time) & (time <= peer.end_ns) & (run.messages["publisher"] != place)
        due &= np.isin(run.messages["topic"], list(peer.topics))
        got = np.zeros(len(run.messages), dtype=np.bool_)
        got[run.deliveries["message"][run.deliveries["peer"] == place]] = True
        if peer.counted and due.any():
            shares.append(np.count_nonzero(got & due) / np.count_nonzero(due))
    return Sample.of(shares)


def _per_peer(measure: Callable[[Totals, float], float]) -> Callable[[RunRecords], Sample]:
    """Make a measure that gives one value for each peer, of its totals and the seconds that it ran."""

    def measure_all(run: RunRecords) -> Sample:
        values = [
            measure(peer.totals, (peer.end_ns - peer.start_ns) / NS_PER_S)
            for peer in run.peers
            if peer.counted and peer.totals is not None and peer.end_ns > peer.start_ns
        ]
        return Sample.of(values)

    return measure_all


def _duplicates(totals: Totals, _: float) -> float:
    return totals.duplicates / max(totals.delivered + totals.published, 1)


def _control(totals: Totals, seconds: float) -> float:
    return totals.control_sent / seconds


def _upload(totals: Totals, seconds: float) -> float:
    return totals.bytes_sent * 8 / 1000 / seconds


_ALL: Final = (
    Observable(
        "delivery_delay",
        "ms",
        "from publication to delivery, for each message and peer",
        _per_delivery("delay_ns", NS_PER_MS),
    ),
    Observable("hops", "hops", "times a message was passed on, for each message and peer", _per_delivery("hops", 1)),
    Observable("spread_p50", "ms", "time to half of those that a message reaches", _spread(0.50, "p50_ns")),
    Observable("spread_p95", "ms", "time to 95 % of those that a message reaches", _spread(0.95, "p95_ns")),
    Observable("spread_p99", "ms", "time to 99 % of those that a message reaches", _spread(0.99, "p99_ns")),
    Observable("coverage", "share", "messages that a peer got of those it was due, for each peer", _coverage),
    Observable("duplicates", "per message", "duplicates for each message that a peer has", _per_peer(_duplicates)),
    Observable("control", "1/s", "control messages sent, for each peer", _per_peer(_control)),
    Observable("upload", "kbit/s", "gossip datagrams sent, for each peer", _per_peer(_upload)),
)
OBSERVABLES: Final[Mapping[str, Observable]] = {observable.name: observable for observable in _ALL}
