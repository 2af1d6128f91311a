"""One message alone on its mesh, and the fields that are made of such messages."""

from typing import Any

import numpy as np
import pytest

from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.message_kernels import delay_bucket
from cold.overlay import build_overlay
from cold.propagation import group_members
from cold.sampled import build_field, lasting_share, mesh_of, receipts, rules_of, spread_message
from cold.sampled_kernels import NEVER, TOTAL_NAMES, Mesh, Rules
from cold.scenario import Scenario
from cold.section import ColdSection
from tests.cold.networks import STOP, directory_of, publication, section_of, three_nodes

SLOW = {"validation_delay": ["1 ms", "2 ms", "80 ms"]}
TELLS = {"idontwant_size": "1000 B"}


def mesh_and_rules(section: ColdSection, count: int, loss: float, seed: int) -> tuple[Mesh, Rules]:
    paths, gossip = three_nodes(loss), section.gossip
    degree = min(section.overlay.degree, count - 1)
    overlay = build_overlay(seed, 0, count, degree, 1, gossip.d, gossip.d_high)
    return mesh_of(directory_of(count), paths, overlay, gossip, seed, 0), rules_of(gossip, paths, seed, 0)


@pytest.mark.parametrize(
    ("count", "loss", "size", "seed", "gossip"),
    [
        (60, 0.0, 1000, 1, {}),
        (60, 0.0, 1000, 2, SLOW | {"flood_publish": False}),
        (400, 0.0, 60_000, 3, {}),
        (400, 0.2, 1000, 4, {}),
        (400, 0.6, 20_000, 5, SLOW),
        (150, 0.5, 1000, 6, {"heartbeat": "100 ms", "mcache_length": 2, "mcache_gossip": 2, "seen_ttl": "250 ms"}),
        (2, 0.0, 1000, 7, {}),
        (3000, 0.05, 1000, 8, SLOW),
        (60, 0.0, 1000, 9, {"idontwant_size": "0 B"}),
        (400, 0.0, 60_000, 10, SLOW | {"idontwant_size": "1 KiB"}),
        (400, 0.3, 20_000, 11, SLOW | {"idontwant_size": "20 KB", "flood_publish": False}),
        (150, 0.5, 1000, 12, SLOW | {"heartbeat": "100 ms", "mcache_length": 2, "mcache_gossip": 2, **TELLS}),
        (3000, 0.05, 1000, 13, SLOW | TELLS),
        (400, 0.0, 1000, 14, SLOW | {"idontwant_size": "1001 B"}),
    ],
)
def test_a_message_alone_spreads_as_in_the_exact_engine(
    count: int, loss: float, size: int, seed: int, gossip: dict[str, Any]
) -> None:
    section = section_of(count, gossip=gossip, publications=[publication(size=size)])
    engine = ColdEngine(Scenario(section, directory_of(count), seed, STOP), three_nodes(loss))
    engine.run_until(STOP)
    row, counters = engine.message_table()[0], engine.counters()
    publisher, published = int(row["origin"]), int(row["publish_time_ns"])

    mesh, rules = mesh_and_rules(section, count, loss, seed)
    spread = spread_message(mesh, rules, int(row["id"]), published, size, publisher=publisher)
    times = receipts(mesh, spread, publisher, size)
    times[publisher] = -1
    delays = times[times >= 0] - published
    assert len(delays) == row["delivered"]
    assert row["max_ns"] == delays.max(initial=-1)
    # All of the histogram of delays, not only its quantiles.
    results = engine.partial_results()
    buckets, counts = np.unique([delay_bucket(delay) for delay in delays.tolist()], return_counts=True)
    assert (results.bucket == buckets).all()
    assert (results.counts == counts).all()
    totals = dict(zip(TOTAL_NAMES, spread.totals.tolist(), strict=True))
    for name in set(TOTAL_NAMES) - {"delivered", "ihave_sent", "ihave_received", "messages_lost"}:
        assert totals[name] == counters[name], name
    least_told = section.gossip.idontwant_size
    assert (totals["copies_spared"] > 0) == (least_told is not None and size >= least_told)
    assert totals["messages_sent"] == totals["messages_received"] + totals["messages_lost"] + totals["expired"]


def test_a_copy_from_outside_spreads_from_where_it_enters() -> None:
    mesh, rules = mesh_and_rules(section_of(300), 300, 0.0, 1)
    one = spread_message(mesh, rules, 5, NS_PER_S, 1000, entries=[(2 * NS_PER_S, 17)])
    assert one.arrival[17] == 2 * NS_PER_S
    assert one.came_from[17] == -1
    others = np.delete(one.arrival, 17)
    assert others.min() >= 2 * NS_PER_S + 2 * NS_PER_MS
    assert others.max() < NEVER
    # A second copy elsewhere can only bring the message earlier, and nowhere before it has come itself.
    later = 2 * NS_PER_S + 20 * NS_PER_MS
    two = spread_message(mesh, rules, 5, NS_PER_S, 1000, entries=[(2 * NS_PER_S, 17), (later, 299)])
    assert (two.arrival <= one.arrival).all()
    changed = two.arrival < one.arrival
    assert changed.any()
    assert two.arrival[changed].min() >= later


def test_a_field_is_a_function_of_its_arguments() -> None:
    mesh, rules = mesh_and_rules(section_of(500), 500, 0.1, 1)
    directory = directory_of(500)
    groups = group_members(directory.node, directory.uplink_bps, directory.downlink_bps)
    fields = [
        build_field(mesh, groups, rules, seed, source, 1000, 3) for seed, source in ((1, 2), (1, 2), (2, 2), (1, 3))
    ]
    assert (fields[0].delay == fields[1].delay).all()
    assert (fields[0].delay != fields[2].delay).any()
    assert (fields[0].delay != fields[3].delay).any()


def test_a_field_holds_what_came_of_its_representatives() -> None:
    mesh, rules = mesh_and_rules(section_of(500), 500, 0.4, 1)
    directory = directory_of(500)
    groups = group_members(directory.node, directory.uplink_bps, directory.downlink_bps)
    field = build_field(mesh, groups, rules, 1, 0, 1000, 4)
    assert field.delay.shape[:2] == (4, len(groups.size))
    assert (np.diff(field.delay, axis=2) >= 0).all()
    # Nothing is quicker than the path from the publisher's node, or than the best detour.
    latency = three_nodes().latency_ns
    best = np.minimum(latency[0], (latency[0][:, None] + latency).min(axis=0))
    assert (field.delay[:, :, 0] >= best[groups.node]).all()
    totals = dict(zip(TOTAL_NAMES, field.totals.T, strict=True))
    assert (totals["messages_sent"] == totals["messages_received"] + totals["messages_lost"] + totals["expired"]).all()
    assert (totals["iwant_received"] <= totals["iwant_sent"]).all()
    assert (totals["ihave_received"] < totals["ihave_sent"]).all()
    np.testing.assert_allclose(field.copies @ groups.size, totals["messages_sent"])
    assert (field.summary[:, 3] == field.delay[:, :, -1].max(axis=1)).all()


def test_places_that_last_are_told_from_places_that_do_not() -> None:
    random = np.random.default_rng(1)
    fresh = random.uniform(size=(6, 20_000))
    assert lasting_share(fresh) < 0.1
    own = np.broadcast_to(random.uniform(size=20_000), fresh.shape)
    assert lasting_share(np.where(random.uniform(size=fresh.shape) < 0.7, own, fresh)) == pytest.approx(0.7, abs=0.02)
    assert lasting_share(own) == pytest.approx(1.0)
    assert lasting_share(fresh[:1]) == 0.0
