"""Publishers without the topic, which do not flood: to whom they send."""

from itertools import pairwise
from typing import Any

from bridge.simtime import NS_PER_S
from cold.engine import ColdEngine
from cold.scenario import Scenario
from tests.cold.networks import STOP, directory_of, publication, section_of, three_nodes
from tests.cold.twin import Twin

COUNT = 200
#: Half of the identities have the topic, and nobody passes anything on before the end.
KEYS: dict[str, Any] = {
    "topics": [{"name": "some", "first": 3, "count": 1, "share": 0.5}],
    "overlay": {"degree": 40, "topic_peers": 4},
    "gossip": {"flood_publish": False, "fanout_ttl": "5 s", "d_lazy": 0, "validation_delay": "100 s"},
}
LEAVING = {"tail": {"count": COUNT, "churn": {"sessions": {"kind": "exponential", "mean": "8 s"}, "absences": "2 s"}}}


def receivers(twin: Twin) -> list[set[int]]:
    """Who got each message, in the order of publication."""
    ordered = sorted(twin.message, key=lambda message_id: twin.message[message_id].time)
    return [{v for v in range(COUNT) if message_id in twin.seen[v]} for message_id in ordered]


def publisher(**keys: Any) -> int:
    """An identity that lacks the topic."""
    twin = Twin(Scenario(section_of(COUNT, **KEYS | keys), directory_of(COUNT), 2, STOP), three_nodes())
    return min(set(range(COUNT)) - twin.members[0])


def twin_of(end: int, publications: list[dict[str, Any]], **keys: Any) -> Twin:
    section = section_of(COUNT, **KEYS | keys, publications=publications)
    arguments = (Scenario(section, directory_of(COUNT), 2, STOP), three_nodes())
    twin, engine = Twin(*arguments), ColdEngine(*arguments)
    twin.run(end)
    engine.run_until(end)
    assert engine.arrival_digest() == twin.arrival_digest()
    assert engine.counters() == {name: twin.counters[name] for name in engine.counters()}
    return twin


def test_a_fanout_lasts_for_its_time_to_live_after_the_last_publication() -> None:
    origin = publisher()
    published = [publication(topic=3, time=f"{second} s", origin=origin) for second in (1, 5, 9, 17)]
    twin = twin_of(20 * NS_PER_S, published)
    first, second, third, last = receivers(twin)
    assert len(first) == len(last) == 8
    assert first == second == third
    assert first != last
    assert all(group <= twin.members[0] & set(twin.cold_peers[origin]) for group in (first, last))


def test_who_leaves_a_fanout_is_replaced_by_others() -> None:
    origin = publisher(populations=LEAVING)
    published = [publication(topic=3, time="1 s", interval="500 ms", count=30, origin=origin)]
    twin = twin_of(16 * NS_PER_S, published, populations=LEAVING)
    groups = [group for group in receivers(twin) if group]
    changes = sum(before != after for before, after in pairwise(groups))
    assert 0 < changes < len(groups) - 1
    # At a publication somebody may just have gone, and the heartbeat not yet been.
    assert sum(len(group) for group in groups) > 7 * len(groups)
    assert all(len(group) <= 8 for group in groups)


def test_a_publisher_that_knows_too_few_discovers_the_others() -> None:
    few = {"overlay": {"degree": 4, "topic_peers": 2}}
    origin = publisher(**few)
    (group,) = receivers(twin_of(3 * NS_PER_S, [publication(topic=3, origin=origin)], **few))
    assert len(group) == 8
