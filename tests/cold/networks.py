"""Small experiments for tests of the cold engine."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bridge.directory import BandwidthShare, ColdPlacement, HostDirectory, HotPlacement, build_directory
from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.scenario import Scenario
from cold.section import ColdSection

MBIT = 1_000_000
STOP = 60 * NS_PER_S
#: Keys of a tail of 90, four in ten of them behind NAT, that come and go on connections that were dialled.
BEHIND_NAT: dict[str, Any] = {
    "populations": {
        "tail": {
            "count": 90,
            "reachable": 0.6,
            "churn": {
                "sessions": {"kind": "exponential", "mean": "5 s"},
                "absences": ["500 ms", "2 s"],
                "notice": 0.5,
                "detection": "700 ms",
            },
        }
    },
    "overlay": {"target": 14, "maximum": 16, "redial": "2500 ms", "rounds": 3},
    "clients": {
        "default": {"share": 2},
        "small": {"share": 1, "gossip": {"d": 5, "d_low": 3}, "overlay": {"target": 8, "outbound": 0.5}},
    },
}


#: 74 topics: everybody has one, and six of seventy; three are had with the probability 0.3.
PARTIAL_TOPICS: list[Any] = [
    {"name": "columns", "first": 10, "count": 70, "per_identity": 6},
    1,
    {"name": "some", "first": 200, "count": 3, "share": 0.3},
]


def three_nodes(loss: float = 0.0) -> PathTable:
    """Three places, 2 to 61 ms apart."""
    latency = np.array([[2, 20, 61], [20, 3, 35], [60, 35, 4]], dtype=np.int64) * NS_PER_MS
    return PathTable((0, 1, 2), latency, np.full((3, 3), loss), 2 * NS_PER_MS)


def directory_of(count: int, hot: int = 0) -> HostDirectory:
    """`count` identities over the three places, a fifth of them fast, and `hot` hosts."""
    return directory_of_several({"tail": count}, hot)


def directory_of_several(counts: Mapping[str, int], hot: int = 0) -> HostDirectory:
    """As `directory_of`, with populations that live at the three places alike."""
    links = (BandwidthShare(0.2, 1024 * MBIT, 1024 * MBIT), BandwidthShare(0.8, 20 * MBIT, 20 * MBIT))
    return build_directory(
        [HotPlacement(f"hot{number}", number % 3, 1000 * MBIT, 1000 * MBIT) for number in range(hot)],
        [ColdPlacement(name, count, ((0, 5.0), (1, 2.0), (2, 1.0)), links) for name, count in counts.items()],
    )


def section_of(count: int, **keys: Any) -> ColdSection:
    """A `cold` section with one population."""
    return ColdSection.model_validate({"populations": {"tail": {"count": count}}, **keys})


def engine_of(count: int, seed: int = 1, loss: float = 0.0, hot: int = 0, **keys: Any) -> ColdEngine:
    """An engine over `three_nodes`."""
    return ColdEngine(Scenario(section_of(count, **keys), directory_of(count, hot), seed, STOP), three_nodes(loss))


def publication(**keys: Any) -> dict[str, Any]:
    """One entry of `publications`."""
    return {"topic": 1, "time": "1 s", "size": 1000, **keys}


#: Identities, loss and keys of a network in which some publish on topics that they do not have.
FANOUTS_KEPT: tuple[int, float, dict[str, Any]] = (
    150,
    0.1,
    {
        "topics": PARTIAL_TOPICS,
        "overlay": {"degree": 12, "topic_peers": 4},
        "gossip": {"flood_publish": False, "fanout_ttl": "900 ms", "heartbeat": "300 ms"},
        "publications": [
            *(publication(topic=topic, count=9, interval="400 ms", origin=5) for topic in (*range(10, 80, 6), 201)),
            publication(topic=202, count=20, interval="90 ms"),
            publication(topic=40, count=5, interval="1300 ms", origin=7, size=4000),
        ],
    },
)
#: The same where identities come and go.
FANOUTS_WHOSE_PEERS_LEAVE: tuple[int, float, dict[str, Any]] = (
    150,
    0.05,
    {
        "populations": {
            "tail": {
                "count": 150,
                "churn": {"sessions": {"kind": "exponential", "mean": "3 s"}, "absences": ["500 ms", "2 s"]},
            }
        },
        "clients": {"default": {"share": 2}, "small": {"share": 1, "gossip": {"d": 5, "d_low": 3, "d_high": 10}}},
        "topics": PARTIAL_TOPICS,
        "overlay": {"degree": 40, "topic_peers": 4},
        "gossip": {"flood_publish": False, "fanout_ttl": "1500 ms", "heartbeat": "300 ms", "prune_backoff": "1 s"},
        "failures": [{"kind": "partition", "time": "2 s", "until": "3 s", "regions": [1], "detection": "1 s"}],
        "publications": [
            *(publication(topic=topic, count=9, interval="400 ms", origin=5) for topic in (*range(10, 80, 6), 201)),
            publication(topic=202, count=40, interval="90 ms"),
            publication(topic=40, count=5, interval="1700 ms", origin=7, size=4000),
        ],
    },
)
