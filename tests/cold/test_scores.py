"""What peer scores and outbound quotas do to meshes."""

from typing import Any

import numpy as np

from bridge.simtime import NS_PER_S
from cold.engine import ColdEngine
from cold.memberships import connections_of
from cold.misbehaviour import silences_of
from cold.scenario import Scenario
from tests.cold.networks import STOP, directory_of, publication, section_of, three_nodes

COUNT = 240
SCORE = {"delivery_threshold": 5, "delivery_decay": 0.9, "delivery_activation": "2 s"}


def members_that_are_silent(silent_share: float = 0.25, **gossip: Any) -> tuple[float, float, ColdEngine]:
    """The share of silent identities in the meshes of others, before and after a while; and the engine."""
    section = section_of(
        COUNT,
        overlay={"degree": 20},
        gossip=gossip,
        failures=[{"kind": "silence", "time": "1 s", "share": silent_share}],
        publications=[publication(count=179, interval="100 ms", time="100 ms", size=200)],
    )
    directory, paths = directory_of(COUNT), three_nodes()
    concerned = silences_of(section, directory, paths.node_ids, 4).concerned
    silent = (concerned != 0).tolist()
    engine = ColdEngine(Scenario(section, directory, 4, STOP), paths)

    def share() -> float:
        honest = [mesh for identity, mesh in enumerate(engine.meshes()) if not silent[identity]]
        return float(np.mean([silent[peer] for mesh in honest for peer in mesh]))

    before = share()
    engine.run_until(18 * NS_PER_S)
    return before, share(), engine


def test_those_that_deliver_nothing_are_put_out_of_meshes_and_nobody_else() -> None:
    before, after, engine = members_that_are_silent(score=SCORE)
    assert 0.15 < before < 0.35
    assert after < 0.05
    prunes = engine.counters()["score_prunes"]
    before, after, _ = members_that_are_silent()
    assert after > 0.8 * before
    *_, engine = members_that_are_silent(1e-9, score=SCORE)
    # Some links are so slow that a peer hardly ever is the first to have something.
    assert engine.counters()["score_prunes"] < prunes / 50


def test_a_mesh_whose_median_is_low_gets_more_members() -> None:
    lively = {"first_decay": 0.9, "opportunistic_beats": 3, "opportunistic_peers": 1}
    sizes = []
    for threshold in (0.0, 100.0):
        _, _, engine = members_that_are_silent(score=lively | {"opportunistic_threshold": threshold})
        sizes.append(float(engine.mesh_degrees().mean()))
    assert sizes[0] < 8.1
    assert sizes[1] > 10


def test_every_mesh_has_its_outbound_members() -> None:
    directory = directory_of(COUNT)
    fewest = []
    for quota in (3, 0):
        section = section_of(COUNT, overlay={"target": 30, "maximum": 60}, gossip={"d_out": quota})
        engine = ColdEngine(Scenario(section, directory, 2, STOP), three_nodes())
        engine.run_until(6 * NS_PER_S)
        overlay = connections_of(section, directory, 2, [0]).overlay
        outbound = []
        for identity, mesh in enumerate(engine.meshes()):
            first, last = overlay.row_start[identity], overlay.row_start[identity + 1]
            dialled = overlay.neighbours[first:last][overlay.dialled[first:last]]
            outbound.append(len(set(mesh) & set(dialled.tolist())))
        fewest.append(min(outbound))
    assert fewest == [3, 0]
