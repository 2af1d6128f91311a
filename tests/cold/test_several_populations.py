"""Identities of several populations at the same places: each is what its own population says, on any shard."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from bridge.directory import HostDirectory
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.population import ports
from cold.publications import listed_publications
from cold.request_askers import choose_representatives
from cold.requests import in_role
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.small_networks import small_network
from cold.transaction_kernels import ORIGIN
from cold.transactions import planned_transactions
from tests.cold import test_boundary
from tests.cold.divided import DividedTail, odd_cuts
from tests.cold.networks import STOP, directory_of_several, publication, three_nodes
from tests.cold.requests_twin import RequestsTwin
from tests.cold.test_boundary import HOT
from tests.cold.test_division import history
from tests.cold.test_requests import agree
from tests.cold.test_twin_boundary import origin_of, packet_of, talk

END = 5 * NS_PER_S
COUNTS = {"steady": 50, "passing": 30, "hidden": 9}
POPULATIONS: dict[str, Any] = {
    "steady": {"count": 50},
    "passing": {
        "count": 30,
        "port": 9100,
        "churn": {
            "sessions": {"kind": "exponential", "mean": "3 s"},
            "absences": ["500 ms", "2 s"],
            "notice": 0.5,
            "detection": "700 ms",
        },
    },
    "hidden": {"count": 9, "reachable": 0.1},
}
KEYS: dict[str, Any] = {
    "populations": POPULATIONS,
    "topics": [1, 7],
    "overlay": {"target": 12, "maximum": 24},
    "gossip": {"heartbeat": "500 ms", "validation_delay": ["1 ms", "40 ms"], "prune_backoff": "1 s"},
    "publications": [
        publication(count=30, interval="90 ms"),
        publication(topic=7, count=9, interval="200 ms", origin=12, size=5000),
    ],
    "requests": [
        {
            "name": "blocks",
            "interval": {"kind": "exponential", "mean": "400 ms"},
            "chunks": [0, 4],
            "chunk_size": ["1 KB", "20 KB"],
            "timeout": "600 ms",
            "retries": 1,
            "askers": {"populations": ["passing", "hidden"]},
            "servers": {"populations": ["steady"]},
        }
    ],
}


def section_of_several(**keys: Any) -> ColdSection:
    return ColdSection.model_validate({**KEYS, **keys})


def cuts_between_places(directory: HostDirectory) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A shard for each place."""
    node = directory.node[directory.hot_count :]
    borders = np.flatnonzero(np.diff(node)) + 1
    assert len(borders) == 2
    return np.array([0, *borders.tolist(), len(node)], dtype=np.int64) + directory.hot_count


def test_the_kernels_agree_with_the_twin_about_several_populations() -> None:
    arguments = (Scenario(section_of_several(), directory_of_several(COUNTS), 11, STOP), three_nodes(0.1))
    twin, engine = RequestsTwin(*arguments), ColdEngine(*arguments)
    twin.run(END)
    engine.run_until(END)
    agree(twin, engine)
    assert engine.counters()["unreachable"] > 0
    assert engine.arrival_digest() == twin.arrival_digest()
    assert np.array_equal(twin.mesh_degrees(), engine.mesh_degrees())


@pytest.mark.parametrize("seed", [4, 5, 10])
def test_several_populations_do_the_same_on_any_number_of_shards(seed: int) -> None:
    """Also where requests are answered just before their deadlines become events, on shards with little to do."""
    directory = directory_of_several(COUNTS)
    arguments = (Scenario(section_of_several(), directory, seed, STOP), three_nodes(0.1))
    whole = history(ColdEngine(*arguments), 2 * NS_PER_MS, [], END)
    for cuts in (*(odd_cuts(directory, shards) for shards in (1, 2, 3)), cuts_between_places(directory)):
        assert history(DividedTail(*arguments, cuts), 2 * NS_PER_MS, [], END) == whole


def test_hot_hosts_may_gossip_with_identities_of_all_populations_on_any_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = directory_of_several({"steady": 25, "passing": 15}, HOT)
    assert directory.total_count == len(test_boundary.ADDRESS)
    assert directory.address[:HOT].tolist() == test_boundary.ADDRESS[:HOT]
    monkeypatch.setattr(test_boundary, "ADDRESS", directory.address.tolist())
    draw = random.Random(1)
    publish_time = {
        int(directory.address[number % HOT]) << 32 | 1000 + number: draw.randrange(NS_PER_S, END - NS_PER_S)
        for number in range(60)
    }
    spoken = [each for each in talk(draw, publish_time) if each.time < END]
    said = [packet_of(each, event, publish_time) for event, each in enumerate(spoken)]
    told = {
        (directory.name_of(each.destination).partition("[")[0], directory.node[each.destination]) for each in spoken
    }
    assert len(told) == 6
    assert {origin_of(number) for number in publish_time} == set(range(HOT))
    populations = {"steady": {"count": 25}, "passing": {**POPULATIONS["passing"], "count": 15, "port": 9000}}
    section = section_of_several(
        populations=populations, overlay={"degree": 14}, topics=[1], requests=[], publications=KEYS["publications"][:1]
    )
    arguments = (Scenario(section, directory, 1, STOP), three_nodes(0.05))
    whole = history(ColdEngine(*arguments), 2 * NS_PER_MS, said, END)
    for cuts in (odd_cuts(directory, 2), cuts_between_places(directory)):
        assert history(DividedTail(*arguments, cuts), 2 * NS_PER_MS, said, END) == whole


def test_what_a_population_has_its_identities_have_wherever_they_live() -> None:
    directory, section = directory_of_several(COUNTS, 2), section_of_several()
    population = np.array([directory.name_of(host).partition("[")[0] for host in range(2, directory.total_count)])
    assert np.count_nonzero(np.diff((population == "passing").astype(int)) > 0) == 3
    assert np.array_equal(ports(section, directory), np.where(population == "passing", 9100, 9000))
    kinds = np.zeros(len(population), dtype=np.uint8)
    asks = in_role(section.requests[0].askers, section, directory, kinds)
    assert np.array_equal(asks, population != "steady")


def test_an_origin_is_counted_through_the_populations() -> None:
    """Those of `hidden` are the first 9, those of `passing` the next 30: whatever ids they have."""
    origins = {0: "hidden[0]", 12: "passing[3]", 38: "passing[29]", 39: "steady[0]", 88: "steady[49]"}
    directory = directory_of_several(COUNTS, 2)
    section = section_of_several(
        publications=[publication(origin=origin) for origin in origins],
        transactions={"listed": [{"time": "1 s", "size": 200, "origin": origin} for origin in origins]},
    )
    scenario = Scenario(section, directory, 1, STOP)
    published, submitted = listed_publications(scenario).origin, planned_transactions(scenario)[:, ORIGIN]
    for found in (published, submitted):
        assert [directory.name_of(host) for host in found.tolist()] == list(origins.values())


def test_strata_of_askers_are_of_one_population_place_and_pair_of_bandwidths() -> None:
    directory = directory_of_several({"one": 400, "two": 800}, 2)
    section = section_of_several(
        populations={"one": {"count": 400}, "two": {"count": 800}},
        publications=[],
        requests=[
            {
                "name": "ping",
                "interval": "1 s",
                "chunk_size": 8,
                "resolution": {"level": "sampled", "representatives": 60},
            }
        ],
    )
    everybody = np.ones(1200, dtype=np.bool_)
    chosen = choose_representatives(section.requests, [everybody], directory, 1)
    place: dict[int, tuple[str, int, int]] = {}
    for host in range(2, directory.total_count):
        name = directory.name_of(host).partition("[")[0]
        place[host] = (name, int(directory.node[host]), int(directory.uplink_bps[host]))
    size = Counter(place.values())
    assert len(size) == 12
    found: dict[int, tuple[str, int, int]] = {}
    for host, (_, askers, stratum) in zip(chosen.host.tolist(), chosen.stratum.tolist(), strict=True):
        assert askers == size[place[host]]
        assert found.setdefault(stratum, place[host]) == place[host]
    assert sorted(found.values()) == sorted(size)


def test_a_small_network_has_populations_and_places_in_proportion() -> None:
    counts = {"a": 6000, "b": 3000, "few": 4}
    directory = directory_of_several(counts, 2)
    section = section_of_several(populations={name: {"count": count} for name, count in counts.items()}, requests=[])
    small = small_network(section, directory, 0.1)
    assert {cold.name: cold.count for cold in small.directory.populations} == {"a": 600, "b": 300, "few": 1}
    assert {name: each.count for name, each in small.section.populations.items()} == {"a": 600, "b": 300, "few": 1}
    assert small.directory.total_count == len(small.host) == 901
    assert (np.diff(small.host) > 0).all()
    for number, host in enumerate(small.host.tolist()):
        assert small.directory.node[number] == directory.node[host]
        assert small.directory.name_of(number).partition("[")[0] == directory.name_of(host).partition("[")[0]
    for cold in small.directory.ranges:
        (large,) = (
            each
            for each in directory.ranges
            if each.population == cold.population
            and directory.node[each.first_id] == small.directory.node[cold.first_id]
        )
        assert cold.count == pytest.approx(large.count / 10, abs=1)
