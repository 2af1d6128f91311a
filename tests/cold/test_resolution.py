"""What resolutions cost, and how a budget chooses among them."""

from typing import Any

import pytest
from pydantic import ValidationError

from bridge.simtime import NS_PER_S
from cold.engine import ColdEngine
from cold.resolution import (
    REHEARSAL_EVENTS,
    TopicLoad,
    choose,
    edge_events,
    resolutions,
    small_network_events,
    topic_loads,
)
from cold.resolution_section import Resolution
from cold.scenario import Scenario
from cold.section import ColdSection, GossipSection
from cold.small_networks import small_network
from tests.cold.networks import directory_of, publication, section_of, three_nodes

GOSSIP = GossipSection()
RUN = 12 * NS_PER_S
EXACT, SAMPLED, MEAN_FIELD = Resolution


@pytest.mark.parametrize(("messages", "interval"), [(1, 1), (6, 1), (20, 0)])
def test_the_cost_of_exact_is_what_the_engine_executes(messages: int, interval: int) -> None:
    section = section_of(2000, publications=[publication(count=messages, interval=f"{interval} s")])
    engine = ColdEngine(Scenario(section, directory_of(2000), 1, RUN), three_nodes())
    engine.run_until(RUN)
    load = TopicLoad(1, 2000, 50, messages, 6)
    predicted = edge_events(load, EXACT, section.gossip, 8, RUN)
    # At most all heartbeats from the first message to the last and `mcache_gossip` more have something to tell.
    assert predicted * 0.4 <= engine.counters()["edge_events"] <= predicted * 1.05


def test_a_topic_without_messages_costs_nothing() -> None:
    assert all(edge_events(TopicLoad(1, 10**6, 50, 0, 6), level, GOSSIP, 8, RUN) == 0 for level in Resolution)


def test_a_budget_that_suffices_leaves_everything_exact() -> None:
    loads = [TopicLoad(1, 10_000, 50, 1, 16), TopicLoad(2, 10_000, 50, 2, 16)]
    assert choose(loads, GOSSIP, 8, 1e12, RUN) == [EXACT, EXACT]


def test_what_saves_most_is_made_coarse_first() -> None:
    few, many = TopicLoad(1, 10_000, 50, 1, 16), TopicLoad(2, 10_000, 50, 500, 16)
    all_exact = sum(edge_events(load, EXACT, GOSSIP, 8, RUN) for load in (few, many)) / 12
    assert choose([few, many], GOSSIP, 8, all_exact * 0.5, RUN) == [EXACT, SAMPLED]
    assert choose([many, few], GOSSIP, 8, all_exact * 0.5, RUN) == [SAMPLED, EXACT]


def test_mean_field_is_for_what_representatives_cannot_afford() -> None:
    load = TopicLoad(1, 1_000_000, 50, 5, 16)
    assert edge_events(load, SAMPLED, GOSSIP, 8, RUN) > edge_events(load, EXACT, GOSSIP, 8, RUN)
    assert choose([load], GOSSIP, 8, 1e6, RUN) == [MEAN_FIELD]


def test_in_a_network_that_changes_each_representative_of_the_mean_field_costs() -> None:
    still = TopicLoad(1, 1_000_000, 50, 10_000, 16)
    assert edge_events(still, MEAN_FIELD, GOSSIP, 8, RUN) < edge_events(
        still._replace(changes=True), MEAN_FIELD, GOSSIP, 8, RUN
    )
    assert choose([still._replace(changes=True)], GOSSIP, 8, 1e6, RUN) == [MEAN_FIELD]
    assert choose([still._replace(changes=True, members=10_000)], GOSSIP, 8, 1e6, RUN) == [SAMPLED]


def test_equal_topics_are_chosen_in_their_order() -> None:
    loads = [TopicLoad(number, 10_000, 50, 500, 16) for number in range(4)]
    some = 3.2 * edge_events(loads[0], EXACT, GOSSIP, 8, RUN) / 12
    assert choose(loads, GOSSIP, 8, some, RUN) == [SAMPLED, SAMPLED, EXACT, EXACT]


def test_what_coarse_topics_need_together_may_cost_more_than_they_save() -> None:
    loads = [TopicLoad(number, 10_000, 50, 500, 1) for number in range(2)]
    saved = sum(edge_events(load, EXACT, GOSSIP, 8, RUN) - edge_events(load, SAMPLED, GOSSIP, 8, RUN) for load in loads)
    assert choose(loads, GOSSIP, 8, 1.0, RUN, shared=0.99 * saved) == [SAMPLED, SAMPLED]
    assert choose(loads, GOSSIP, 8, 1.0, RUN, shared=1.01 * saved) == [EXACT, EXACT]


def loaded(count: int, **keys: Any) -> ColdSection:
    """A topic that nothing is cheap enough for, of 40 messages of 30,000 bytes a second on links of 20 Mbit/s."""
    published = [publication(count=120, interval="25 ms", size=30_000)]
    return section_of(count, **{"resolution": {"default": "auto", "budget": 1}, "publications": published, **keys})


def test_the_small_network_of_meetings_costs_what_the_engine_executes_there() -> None:
    section = loaded(4000, publications=[publication(count=120, interval="25 ms", size=10_000)])
    directory = directory_of(4000)
    (load,) = loads = topic_loads(Scenario(section, directory, 1, RUN))
    network = small_network(section, directory, 1024 / 4000)
    engine = ColdEngine(Scenario(network.section, network.directory, 1, RUN), three_nodes())
    engine.run_until(RUN)
    executed = engine.counters()["edge_events"]
    assert small_network_events(loads, section.gossip, RUN) * 0.4 <= executed
    assert executed <= small_network_events(loads, section.gossip, RUN) * 1.05
    # Of five messages in each eighth of a second all are compared; of fifty, sixteen.
    assert load.compared == 120
    (many,) = topic_loads(
        Scenario(loaded(4000, publications=[publication(count=1200, interval="2500 us")]), directory, 1, RUN)
    )
    assert many.compared == pytest.approx(16 * 3 * 8, rel=0.1)


def test_where_nothing_meets_no_small_network_costs_anything() -> None:
    directory = directory_of(4000)
    assert small_network_events(topic_loads(Scenario(loaded(4000), directory, 1, RUN)), GOSSIP, RUN) > 0
    for keys in (
        {"publications": [publication(size=100)]},
        {"resolution": {"default": "auto", "budget": 1, "queues": 0}},
    ):
        assert small_network_events(topic_loads(Scenario(loaded(4000, **keys), directory, 1, RUN)), GOSSIP, RUN) == 0


def test_what_is_compared_in_a_network_that_changes_costs_a_copy_each() -> None:
    failures = [{"kind": "silence", "time": "2 s", "share": 0.1}]
    still, changing = (
        topic_loads(Scenario(loaded(4000, **keys), directory_of(4000), 1, RUN))[0]
        for keys in ({}, {"failures": failures})
    )
    assert changing.small == still.small == 1024
    assert changing.compared == still.compared == 120
    fewer = changing._replace(compared=100)
    more = edge_events(changing, MEAN_FIELD, GOSSIP, 8, RUN) - edge_events(fewer, MEAN_FIELD, GOSSIP, 8, RUN)
    # D - 1 copies to each, and what three heartbeats tell.
    assert more == 20 * (1024 * (7 + 3 * 6) + REHEARSAL_EVENTS)


CRASH: dict[str, Any] = {"failures": [{"kind": "crash", "time": "3 s", "until": "6 s", "share": 0.4}]}


@pytest.mark.parametrize("keys", [{}, CRASH])
def test_few_messages_among_few_identities_stay_exact_whatever_the_budget(keys: dict[str, Any]) -> None:
    few = loaded(200, **keys)
    many = loaded(100_000, publications=[publication(count=3000, interval="1 ms", size=3000)], **keys)
    assert resolutions(Scenario(few, directory_of(200), 1, RUN)) == [EXACT]
    assert resolutions(Scenario(many, directory_of(100_000), 1, RUN)) != [EXACT]


def test_who_comes_and_goes_while_a_representative_is_told_of_costs() -> None:
    churn = {"sessions": {"kind": "exponential", "mean": "20 s"}, "absences": {"kind": "exponential", "mean": "10 s"}}
    section = loaded(2000, populations={"tail": {"count": 2000, "churn": churn}}, gossip={"seen_ttl": "60 s"})
    (load,) = topic_loads(Scenario(section, directory_of(2000), 1, RUN))
    # In a minute each identity comes and goes twice, and its peers hear of that.
    assert load.lives == pytest.approx(2000 * 4 * load.known_peers, rel=1e-4)
    alone = load._replace(lives=0.0)
    more = edge_events(load, SAMPLED, GOSSIP, 16, RUN) - edge_events(alone, SAMPLED, GOSSIP, 16, RUN)
    assert more == pytest.approx(load.fields * 16 * load.lives)


def test_a_budget_too_small_for_anything_gets_the_cheapest() -> None:
    loads = [TopicLoad(1, 1000, 50, 1, 1), TopicLoad(2, 1_000_000, 50, 1000, 16)]
    chosen = choose(loads, GOSSIP, 8, 1e-3, RUN)
    assert chosen == [min(Resolution, key=lambda level: edge_events(load, level, GOSSIP, 8, RUN)) for load in loads]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"resolution": {"default": "auto"}}, "auto needs a budget"),
        ({"resolution": {"default": "sampled", "budget": 1e6}}, "budget is for topics that are auto"),
        ({"resolution": {"default": "auto", "budget": 0}}, "greater than 0"),
        ({"resolution": {"topics": {9: "sampled"}}}, r"resolution\.topics\.9 is none of topics"),
        ({"resolution": {"topics": {"blobs": "sampled"}}}, r"resolution\.topics\.blobs is none of topics"),
        ({"resolution": {"default": "coarse"}}, "'exact', 'sampled', 'mean-field' or 'auto'"),
        ({"resolution": {"representatives": 0}}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_key(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        section_of(100, **keys)


def test_a_topic_s_number_comes_before_its_group_and_its_group_before_the_default() -> None:
    groups: list[Any] = [1, {"name": "subnets", "first": 10, "count": 3}]
    levels = {"default": "mean-field", "topics": {"subnets": "sampled", 11: "exact"}}
    section = section_of(100, topics=groups, resolution=levels)
    assert resolutions(Scenario(section, directory_of(100), 1, RUN)) == [MEAN_FIELD, SAMPLED, EXACT, SAMPLED]
