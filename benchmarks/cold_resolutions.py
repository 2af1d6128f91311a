"""The coarse resolutions of a topic beside the exact one, on the same network: what they say, and what they cost.

    python benchmarks/cold_resolutions.py [--identities 10000] [--messages 24] [--loss 0] [--size 1024] [--idontwant]

Random identities of a tail over eight regions (configs/topologies/regional.gml, D 8, 50 peers) publish a message every
six seconds, so that none meets another: that is what fields are made for. The exact engine executes them. For each
resolution the same messages are drawn for every identity. Times are of the process's CPU; the exact engine's are the
raw baseline.

What is compared, each a mean over the messages: median, 95th and 99th percentile and maximum of the delay; the standard
deviation of the median between messages; the rank correlation of identities' delays, within their groups, between
messages (do the same identities come late?); duplicates, bytes that an identity sends, IHAVE packets and IWANT ids of
one message. With `--idontwant` identities tell their meshes of every message; validation takes 1 to 30 ms then.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from _regional import regional_network  # type: ignore[import-not-found]

from bridge.directory import HostDirectory
from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.overlay import build_overlay
from cold.propagation import Groups, group_members, summarise
from cold.sampled import lasting_share, mesh_of, places_in_groups, receipts, rules_of, spread_message
from cold.sampled_kernels import ID_PACKET_BYTES, MESSAGE_BYTES, NEVER, TOTAL_NAMES, Mesh
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.topic_fields import TopicFields, WayIn

SEED = 1
INTERVAL_NS = 6 * NS_PER_S
REPRESENTATIVES = 32
PEERS = 50


class Network(NamedTuple):
    """An experiment, and its tail in the terms of the fields."""

    section: ColdSection
    directory: HostDirectory
    paths: PathTable
    mesh: Mesh
    groups: Groups


@dataclass(frozen=True)
class Outcome:
    """What one resolution says of the messages. R messages, M members.

    Attributes
    ----------
    summary : int64[R, 4]
        Median, 95th and 99th percentile, maximum of the delay [ns].
    delay : int64[R, M]
        Of each member, -1 where the message did not come [ns].
    per_message : dict of str to float
        Means of the counters of `cold.sampled_kernels.TOTAL_NAMES`.
    payload_size
        Bytes of a message.
    set_up_seconds, seconds
        CPU, before the first message and for all of them.
    """

    summary: npt.NDArray[np.int64]
    delay: npt.NDArray[np.int64]
    per_message: dict[str, float]
    payload_size: int
    set_up_seconds: float
    seconds: float


def build_network(identities: int, messages: int, loss: float, size: int, **gossip: object) -> Network:
    """Lay out the tail and the messages that it publishes."""
    directory, paths = regional_network(identities)
    paths = PathTable(paths.node_ids, paths.latency_ns, np.full(paths.loss.shape, loss), paths.min_latency_ns)
    section = ColdSection.model_validate(
        {
            "populations": {"tail": {"count": identities}},
            "overlay": {"degree": PEERS},
            "gossip": gossip,
            "publications": [{"topic": 1, "time": "1 s", "count": messages, "interval": "6 s", "size": size}],
        }
    )
    rules = section.gossip
    overlay = build_overlay(SEED, 0, identities, min(PEERS, identities - 1), 1, rules.d, rules.d_high)
    mesh = mesh_of(directory, paths, overlay, rules, SEED, 0)
    groups = group_members(directory.node, directory.uplink_bps, directory.downlink_bps)
    return Network(section, directory, paths, mesh, groups)


def measure_exact(network: Network) -> tuple[Outcome, npt.NDArray[np.void]]:
    """Run the exact engine. Arrivals of each identity are computed message by message: they are the same."""
    publication = network.section.publications[0]
    end = publication.time + publication.count * INTERVAL_NS
    started = time.process_time()
    engine = ColdEngine(Scenario(network.section, network.directory, SEED, end), network.paths)
    built = time.process_time()
    engine.run_until(end)
    table = engine.message_table()
    done = time.process_time()
    rules = rules_of(network.section.gossip, network.paths, SEED, 0)
    delays = []
    for row in table:
        publisher, size = int(row["origin"]), int(row["size"])
        spread = spread_message(
            network.mesh, rules, int(row["id"]), int(row["publish_time_ns"]), size, publisher=publisher
        )
        times = receipts(network.mesh, spread, publisher, size)
        times[publisher] = -1
        delays.append(np.where(times >= 0, times - row["publish_time_ns"], -1))
    summary = np.stack([[row[name] for name in ("p50_ns", "p95_ns", "p99_ns", "max_ns")] for row in table])
    counters = engine.counters()
    per_message: dict[str, float] = {name: counters[name] / len(table) for name in TOTAL_NAMES if name in counters}
    per_message["delivered"] = float(table["delivered"].mean())
    return Outcome(summary, np.stack(delays), per_message, int(table["size"][0]), built - started, done - built), table


def measure_drawn(
    network: Network, table: npt.NDArray[np.void], resolution: Literal["sampled", "mean-field"]
) -> Outcome:
    """Draw the messages of the table for every identity."""
    gossip, groups = network.section.gossip, network.groups
    fields = TopicFields(
        groups, network.paths, gossip, PEERS, SEED, 0, resolution, REPRESENTATIVES, lambda: network.mesh
    )
    started = time.process_time()
    sources = groups.group[table["origin"]].tolist()
    for source, size in zip(sources, table["size"].tolist(), strict=True):
        fields.field(source, size)
    built = time.process_time()
    delays, totals = [], []
    for source, row in zip(sources, table, strict=True):
        publisher, message_id, size = int(row["origin"]), int(row["id"]), int(row["size"])
        way = WayIn(0, publisher, source, 0, relayed=False)
        drawn, _ = fields.arrivals(message_id, size, [way], network.mesh.host, groups.group)
        drawn[drawn == NEVER] = -1
        drawn[publisher] = -1
        delays.append(drawn)
        number = fields.representative(publisher, source, message_id, size)
        totals.append(fields.field(source, size).totals[number])
    done = time.process_time()
    per_message = dict(zip(TOTAL_NAMES, np.mean(totals, axis=0).tolist(), strict=True))
    summary = np.stack([summarise(row[row >= 0]) for row in delays])
    return Outcome(summary, np.stack(delays), per_message, int(table["size"][0]), built - started, done - built)


def bytes_sent(network: Network, outcome: Outcome) -> float:
    """Bytes that an identity sends for one message, on average."""
    size = MESSAGE_BYTES + outcome.payload_size
    told = sum(outcome.per_message[name] for name in ("ihave_sent", "iwant_sent", "idontwant_sent"))
    return (outcome.per_message["messages_sent"] * size + told * ID_PACKET_BYTES) / len(network.mesh.host)


def duplicates(outcome: Outcome) -> float:
    """Copies of a message that were not the first at their receivers, on average over the messages."""
    return outcome.per_message["messages_received"] - outcome.per_message["delivered"]


def rank_correlation(network: Network, outcome: Outcome) -> float:
    """Of identities' delays between two messages, within their groups."""
    return lasting_share(np.stack([places_in_groups(row, network.groups.group) for row in outcome.delay])) ** 2


def _rows(network: Network) -> list[tuple[str, Callable[[Outcome], float]]]:
    def delay(column: int) -> Callable[[Outcome], float]:
        return lambda outcome: float(outcome.summary[:, column].mean()) / NS_PER_MS

    return [
        ("median delay, ms", delay(0)),
        ("95th percentile, ms", delay(1)),
        ("99th percentile, ms", delay(2)),
        ("maximum, ms", delay(3)),
        ("deviation of the median, ms", lambda outcome: float(outcome.summary[:, 0].std(ddof=1)) / NS_PER_MS),
        ("rank correlation", lambda outcome: rank_correlation(network, outcome)),
        ("delivered", lambda outcome: outcome.per_message["delivered"]),
        ("duplicates", duplicates),
        ("bytes sent by an identity", lambda outcome: bytes_sent(network, outcome)),
        ("IHAVE packets", lambda outcome: outcome.per_message["ihave_sent"]),
        ("IWANT ids", lambda outcome: outcome.per_message["iwant_sent"]),
        ("IDONTWANT packets", lambda outcome: outcome.per_message["idontwant_sent"]),
        ("copies spared", lambda outcome: outcome.per_message["copies_spared"]),
        ("set-up, CPU s", lambda outcome: outcome.set_up_seconds),
        ("a message, CPU ms", lambda outcome: outcome.seconds / len(outcome.summary) * 1000),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="the coarse resolutions beside the exact one")
    parser.add_argument("--identities", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=24)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--idontwant", action="store_true")
    arguments = parser.parse_args()
    gossip: dict[str, object] = {}
    if arguments.idontwant:
        gossip = {"idontwant_size": 0, "validation_delay": {"kind": "uniform", "low": "1 ms", "high": "30 ms"}}
    warm = build_network(200, 2, arguments.loss, 100)
    _, table = measure_exact(warm)
    measure_drawn(warm, table, "sampled")

    network = build_network(arguments.identities, arguments.messages, arguments.loss, arguments.size, **gossip)
    exact, table = measure_exact(network)
    sampled, mean = (measure_drawn(network, table, resolution) for resolution in ("sampled", "mean-field"))
    print(f"{'':30} {'exact':>12} {'sampled':>12} {'':>8} {'mean field':>12} {'':>8}")
    for name, value in _rows(network):
        true, *others = (value(outcome) for outcome in (exact, sampled, mean))
        text = "".join(f" {other:12,.2f} {_change(other, true):>8}" for other in others)
        print(f"{name:30} {true:12,.2f}{text}")


def _change(value: float, true: float) -> str:
    return f"{(value / true - 1) * 100:+.1f} %" if true else ""


if __name__ == "__main__":
    main()
