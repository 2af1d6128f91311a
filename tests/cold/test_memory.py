"""What a tail is expected to need of the machine's memory."""

from typing import Any

import pytest

from bridge.simtime import NS_PER_S
from cold.engine import ColdEngine
from cold.memory import estimate_memory
from cold.scenario import Scenario
from tests.cold.networks import STOP, directory_of, publication, section_of, three_nodes

COLUMNS = {"name": "columns", "first": 10, "count": 96, "per_identity": 6}


@pytest.mark.parametrize("topics", [[1], [1, 2, 3], [1, COLUMNS]])
def test_what_is_there_for_each_identity_is_what_was_expected(topics: list[Any]) -> None:
    """Without the copies in flight, and beside what only making the overlay takes."""
    numbers = [1] if len(topics) < 3 else topics
    published = [publication(topic=topic, count=8, interval="1 ms") for topic in numbers]
    section = section_of(4000, topics=topics, publications=published)
    engine = ColdEngine(Scenario(section, directory_of(4000), 1, STOP), three_nodes())
    engine.run_until(2 * NS_PER_S)
    statistics = engine.statistics()
    used = statistics["bytes_per_identity"]
    assert isinstance(used, float)
    expected = estimate_memory(section) / 4000
    assert used <= expected <= 4 * used


def test_more_topics_messages_and_peers_are_expected_to_take_more() -> None:
    few = estimate_memory(section_of(1000))
    assert estimate_memory(section_of(1000, topics=[1, COLUMNS])) > few
    assert estimate_memory(section_of(1000, overlay={"degree": 100})) > few
    assert estimate_memory(section_of(1000, publications=[publication(count=500, interval="0 ms")])) > few


def test_messages_of_topics_that_are_not_exact_take_nothing() -> None:
    attestations = {"validators": {"count": 100_000}, "attestations": {"topics": "columns"}}
    keys: dict[str, Any] = {"topics": [1, COLUMNS], "calendar": attestations}
    exact = estimate_memory(section_of(1000, **keys))
    assert estimate_memory(section_of(1000, **keys, resolution={"topics": {"columns": "sampled"}})) < exact / 2
    assert estimate_memory(section_of(1000, **keys, resolution={"default": "mean-field"})) == 600_000


def test_requests_that_are_not_executed_take_no_limits() -> None:
    """Nor what is open of them, but what they take of the links."""
    ask: dict[str, Any] = {
        "name": "blocks",
        "interval": "2 s",
        "chunks": 8,
        "chunk_size": "20 KB",
        "limit": {"tokens": 8, "period": "10 s"},
    }
    coarse = {**ask, "resolution": {"level": "sampled", "representatives": 100}}
    used = []
    for requests in ([ask], [coarse]):
        section = section_of(4000, requests=requests)
        engine = ColdEngine(Scenario(section, directory_of(4000), 1, STOP), three_nodes())
        engine.run_until(12 * NS_PER_S)
        used.append((engine.statistics()["bytes_per_identity"], estimate_memory(section) / 4000))
        assert isinstance(used[-1][0], float)
        assert used[-1][0] <= used[-1][1] <= 4 * used[-1][0]
    assert used[1][1] < used[0][1]


def test_what_is_known_of_transactions_is_expected() -> None:
    keys: dict[str, Any] = {"transactions": {"rate": 20, "lifetime": "3 s", "degree": 30}}
    section = section_of(2000, **keys)
    engine = ColdEngine(Scenario(section, directory_of(2000), 1, STOP), three_nodes())
    used = engine.statistics()["bytes_per_identity"]
    assert isinstance(used, float)
    assert used <= estimate_memory(section) / 2000 <= 3 * used
    assert estimate_memory(section) > estimate_memory(section_of(2000)) + 2000 * 32 * 80
