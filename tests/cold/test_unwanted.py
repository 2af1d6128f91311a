"""What IDONTWANT saves, where theory says it."""

import numpy as np

from bridge.directory import BandwidthShare, ColdPlacement, build_directory
from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.scenario import Scenario
from tests.cold.networks import MBIT, STOP, publication, section_of

COUNT = 300


def flat_network(idontwant_size: int | None) -> ColdEngine:
    """Everybody is 10 ms from everybody, and takes 30 ms to validate a message: generation by generation."""
    directory = build_directory(
        [], [ColdPlacement("tail", COUNT, ((0, 1.0),), (BandwidthShare(1.0, 1000 * MBIT, 1000 * MBIT),))]
    )
    latency = np.array([[10 * NS_PER_MS]], dtype=np.int64)
    section = section_of(
        COUNT,
        overlay={"degree": 20},
        gossip={"flood_publish": False, "d_lazy": 0, "validation_delay": "30 ms", "idontwant_size": idontwant_size},
        publications=[publication(size=2000)],
    )
    return ColdEngine(Scenario(section, directory, 3, STOP), PathTable((0,), latency, np.zeros((1, 1)), 10 * NS_PER_MS))


def generations(meshes: list[list[int]], origin: int) -> list[int]:
    """How many hops every identity is from the origin."""
    generation = [-1] * len(meshes)
    generation[origin] = 0
    reached = [origin]
    for identity in reached:
        for peer in meshes[identity]:
            if generation[peer] < 0:
                generation[peer] = generation[identity] + 1
                reached.append(peer)
    return generation


def test_copies_only_pass_from_one_generation_to_the_next_where_validation_takes_longer_than_a_packet() -> None:
    told, untold = flat_network(2000), flat_network(2001)
    meshes = told.meshes()
    for engine in (told, untold):
        engine.run_until(NS_PER_S + 900 * NS_PER_MS)
        assert engine.meshes() == meshes
    (row,) = told.message_table()
    origin = int(row["origin"])
    generation = generations(meshes, origin)
    edges = [(generation[one], generation[other]) for one in range(COUNT) for other in meshes[one]]
    forward = sum(later == earlier + 1 for earlier, later in edges)
    pushed = len(edges) - (COUNT - 1)

    assert row["delivered"] == COUNT - 1
    assert told.counters()["messages_sent"] == forward
    assert told.counters()["duplicates"] == forward - (COUNT - 1)
    assert told.counters()["copies_spared"] == pushed - forward
    assert told.counters()["idontwant_sent"] == pushed - len(meshes[origin])
    assert untold.counters()["messages_sent"] == pushed
    assert untold.counters()["idontwant_sent"] == 0
