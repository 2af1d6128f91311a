"""The kernels and the slow twin agree bit for bit."""

from typing import Any

import numpy as np
import pytest

from bridge.simtime import NS_PER_S
from cold.engine import ColdEngine
from cold.scenario import Scenario
from tests.cold.networks import (
    BEHIND_NAT,
    FANOUTS_KEPT,
    FANOUTS_WHOSE_PEERS_LEAVE,
    PARTIAL_TOPICS,
    STOP,
    directory_of,
    publication,
    section_of,
    three_nodes,
)
from tests.cold.twin import Twin

CASES: dict[str, tuple[int, float, dict[str, Any]]] = {
    "plain": (60, 0.0, {"overlay": {"degree": 20}, "publications": [publication(count=3)]}),
    "loss": (80, 0.2, {"overlay": {"degree": 24}, "publications": [publication(count=6, interval="300 ms")]}),
    "heavy loss, short memory": (
        40,
        0.6,
        {
            "overlay": {"degree": 14},
            "gossip": {"heartbeat": "200 ms", "mcache_length": 2, "mcache_gossip": 2, "seen_ttl": "400 ms"},
            "publications": [publication(count=20, interval="70 ms", size=60000)],
        },
    ),
    "validation takes time": (
        60,
        0.05,
        {
            "overlay": {"degree": 20},
            "gossip": {"validation_delay": ["1 ms", "2 ms", "80 ms"], "flood_publish": False},
            "publications": [publication(count=5, interval="10 ms")],
        },
    ),
    "two topics and a burst of one publisher": (
        50,
        0.1,
        {
            "topics": [1, 7],
            "overlay": {"degree": 20},
            "publications": [
                publication(count=40, interval="0 ms", origin=3, size=3000),
                publication(count=40, interval="1 ms", topic=7),
            ],
        },
    ),
    "meshes that must be filled": (
        70,
        0.02,
        {
            "overlay": {"degree": 20},
            "gossip": {"d": 9, "d_low": 9, "d_high": 9, "prune_backoff": "2 s"},
            "publications": [publication(count=3)],
        },
    ),
    "clients of four kinds": (
        90,
        0.1,
        {
            "overlay": {"degree": 24},
            "gossip": {"heartbeat": "700 ms", "validation_delay": "2 ms", "prune_backoff": "3 s"},
            "clients": {
                "default": {"share": 2},
                "lighthouse": {
                    "share": 3,
                    "gossip": {"d": 5, "d_low": 3, "d_high": 10, "d_lazy": 3, "heartbeat": "1 s"},
                },
                "slow": {
                    "share": 1,
                    "gossip": {
                        "heartbeat": "1300 ms",
                        "validation_delay": {"kind": "lognormal", "median": "30 ms", "sigma": 0.8},
                    },
                },
                "nobody's": {"share": 1e-9, "gossip": {"heartbeat": "100 ms"}},
            },
            "publications": [publication(count=8, interval="300 ms")],
        },
    ),
    "churn and crashes": (
        90,
        0.1,
        {
            "populations": {
                "tail": {
                    "count": 90,
                    "churn": {
                        "sessions": {"kind": "exponential", "mean": "6 s"},
                        "absences": ["500 ms", "2 s"],
                        "notice": 0.5,
                        "detection": "1500 ms",
                    },
                }
            },
            "topics": [1, 5],
            "overlay": {"degree": 24},
            "gossip": {"prune_backoff": "3 s", "validation_delay": ["2 ms", "30 ms"]},
            "failures": [{"kind": "crash", "time": "3 s", "until": "6 s", "share": 0.3, "regions": [0, 1]}],
            "publications": [publication(count=12, interval="500 ms"), publication(topic=5, count=4, interval="2 s")],
        },
    ),
    "a partition, degraded links, and a crash": (
        80,
        0.05,
        {
            "overlay": {"degree": 20},
            "gossip": {"prune_backoff": "1 s", "validation_delay": ["2 ms", "30 ms"], "mcache_length": 5},
            "failures": [
                {"kind": "partition", "time": "2 s", "until": "5 s", "regions": [1], "detection": "1 s"},
                {"kind": "degradation", "time": "4 s", "until": "7 s", "regions": [0], "latency": "70 ms", "loss": 0.3},
                {"kind": "crash", "time": "3 s", "until": "6 s", "share": 0.2},
                {"kind": "silence", "time": "1 s", "until": "4 s", "share": 0.3, "regions": [0, 1]},
                {"kind": "withholding", "time": "2 s", "share": 0.4, "delay": "1500 ms"},
                {"kind": "silence", "time": "3 s", "share": 0.2},
            ],
            "publications": [publication(count=16, interval="450 ms")],
        },
    ),
    "a partition while nobody says anything": (
        80,
        0.0,
        {
            "overlay": {"degree": 24},
            "gossip": {"d_low": 7},
            "failures": [{"kind": "partition", "time": "2 s", "until": "7 s", "regions": [1], "detection": "1 s"}],
        },
    ),
    "identities behind NAT that come and go": (
        90,
        0.1,
        {
            **BEHIND_NAT,
            "gossip": {"prune_backoff": "1 s", "validation_delay": ["2 ms", "30 ms"]},
            "publications": [publication(count=16, interval="450 ms")],
        },
    ),
    "members of meshes are scored, and some tell nobody anything": (
        80,
        0.1,
        {
            "topics": [1, 7],
            "overlay": {"degree": 20},
            "gossip": {
                "heartbeat": "300 ms",
                "prune_backoff": "2 s",
                "d_out": 4,
                "score": {
                    "time_quantum": "1 s",
                    "first_cap": 3.5,
                    "first_decay": 0.9,
                    "delivery_threshold": 2.25,
                    "delivery_activation": "1500 ms",
                    "opportunistic_threshold": 0.75,
                    "opportunistic_beats": 7,
                },
            },
            "failures": [
                {"kind": "silence", "time": "1 s", "share": 0.3},
                {"kind": "partition", "time": "2 s", "until": "4 s", "regions": [1], "detection": "800 ms"},
            ],
            "publications": [
                publication(count=60, interval="90 ms"),
                publication(count=50, interval="110 ms", topic=7),
                publication(count=30, interval="0 ms", time="5 s", size=3000, origin=3),
            ],
        },
    ),
    "scores, outbound quotas and churn": (
        90,
        0.05,
        {
            "populations": {
                "tail": {
                    "count": 90,
                    "churn": {"sessions": {"kind": "exponential", "mean": "4 s"}, "absences": ["500 ms", "2 s"]},
                }
            },
            "overlay": {"target": 14, "maximum": 20},
            "clients": {"careful": {"share": 2, "gossip": {"d_out": 3}}, "careless": {"share": 1}},
            "gossip": {
                "idontwant_size": "0 B",
                "prune_backoff": "1 s",
                "score": {
                    "delivery_threshold": 1,
                    "delivery_weight": 0.5,
                    "delivery_decay": 0.8,
                    "delivery_activation": "2 s",
                    "first_weight": 0.1,
                    "time_weight": 0,
                    "opportunistic_threshold": 1,
                    "opportunistic_beats": 2,
                    "opportunistic_peers": 3,
                },
            },
            "topics": [1, {"name": "some", "first": 20, "count": 3, "share": 0.5}],
            "publications": [
                publication(count=60, interval="110 ms", size=5000),
                publication(count=50, interval="120 ms", topic=21),
            ],
        },
    ),
    "large messages that peers are told not to send": (
        80,
        0.1,
        {
            "topics": [1, 7],
            "overlay": {"degree": 20},
            "gossip": {"idontwant_size": "1 KiB", "validation_delay": ["0 ms", "5 ms", "60 ms"]},
            "failures": [{"kind": "silence", "time": "1 s", "share": 0.2}],
            "publications": [
                publication(count=12, interval="30 ms", size=20000),
                publication(count=6, interval="50 ms", size=1023),
                publication(count=6, interval="50 ms", size=1024, topic=7),
            ],
        },
    ),
    "some clients tell what they need not be sent, and come and go": (
        90,
        0.05,
        {
            "populations": {
                "tail": {
                    "count": 90,
                    "churn": {"sessions": {"kind": "exponential", "mean": "4 s"}, "absences": ["500 ms", "2 s"]},
                }
            },
            "overlay": {"degree": 24},
            "gossip": {"idontwant_size": "0 B", "flood_publish": False, "seen_ttl": "2 s", "mcache_length": 2}
            | {"mcache_gossip": 2, "prune_backoff": "3 s"},
            "clients": {"new": {"share": 2}, "old": {"share": 1, "gossip": {"idontwant_size": None}}},
            "publications": [publication(count=40, interval="170 ms", size=5000)],
        },
    ),
    "topics that some have": (
        150,
        0.4,
        {
            "topics": PARTIAL_TOPICS,
            "overlay": {"degree": 20, "topic_peers": 6},
            "gossip": {"validation_delay": ["1 ms", "40 ms"]},
            "publications": [
                publication(count=6, interval="300 ms"),
                *(publication(topic=topic, count=3, interval="400 ms", origin=5) for topic in (*range(10, 80, 6), 201)),
                publication(topic=202, count=20, interval="90 ms"),
            ],
        },
    ),
    "topics that some have, churn, cuts and no flooding": (
        150,
        0.1,
        {
            "populations": {"tail": {"count": 150, "churn": {"sessions": "6 s", "absences": ["500 ms", "2 s"]}}},
            "clients": {
                "default": {"share": 2},
                "lighthouse": {"share": 1, "gossip": {"d": 5, "d_low": 3, "d_high": 10, "heartbeat": "700 ms"}},
            },
            "topics": PARTIAL_TOPICS,
            "overlay": {"degree": 12},
            "gossip": {"flood_publish": False, "prune_backoff": "1 s"},
            "failures": [
                {"kind": "partition", "time": "2 s", "until": "4 s", "regions": [1], "detection": "1 s"},
                {"kind": "crash", "time": "3 s", "until": "6 s", "share": 0.2},
            ],
            "publications": [
                publication(count=6, interval="300 ms"),
                *(publication(topic=topic, count=3, interval="400 ms", origin=5) for topic in (*range(10, 80, 6), 201)),
                publication(topic=202, count=20, interval="90 ms"),
            ],
        },
    ),
    "publishers that keep fanouts for a while": FANOUTS_KEPT,
    "fanouts whose peers come and go": FANOUTS_WHOSE_PEERS_LEAVE,
    "everybody knows everybody": (7, 0.0, {"publications": [publication(count=2)]}),
    "two identities": (2, 0.0, {"publications": [publication()]}),
    "one identity": (1, 0.0, {"publications": [publication()]}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_kernels_agree_with_the_twin(case: str) -> None:
    count, loss, keys = CASES[case]
    arguments = (Scenario(section_of(count, **keys), directory_of(count), 11, STOP), three_nodes(loss))
    twin, engine = Twin(*arguments), ColdEngine(*arguments)
    end = 9 * NS_PER_S
    twin.run(end)
    engine.run_until(end)

    assert {name: twin.counters[name] for name in engine.counters()} == engine.counters()
    assert np.array_equal(twin.mesh_degrees(), engine.mesh_degrees())
    table = engine.message_table()
    assert len(table) == sum(message.time < end for message in twin.message.values())
    for row in table:
        arrivals = np.array(twin.arrivals(int(row["id"])), dtype=np.int64)
        got = [
            arrival - int(row["publish_time_ns"])
            for identity, arrival in enumerate(arrivals.tolist())
            if arrival >= 0 and identity != row["origin"]
        ]
        assert row["delivered"] == len(got)
        assert row["max_ns"] == max(got, default=-1)
        for percentile in (50, 95, 99):
            exact = sorted(got)[-(-len(got) * percentile // 100) - 1] if got else -1
            assert row[f"p{percentile}_ns"] == pytest.approx(exact, rel=2**-11)
    assert engine.arrival_digest() == twin.arrival_digest()
