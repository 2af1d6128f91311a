"""What meeting others costs messages of coarse topics, beside the twin, queueing theory and other divisions."""

from typing import Any

import numpy as np
import pytest

from bridge.directory import BandwidthShare, ColdPlacement, build_directory
from bridge.paths import PathTable
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.meetings import Meetings
from cold.propagation import PER_MILLE, SHARES, SUMMARY, all_put_off, group_members, put_off
from cold.publications import PublicationPlan
from cold.results import bucket_middles, delay_buckets
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.small_networks import small_network
from cold.subscriptions import subscriptions
from tests.cold.divided import DividedTail, odd_cuts
from tests.cold.networks import PARTIAL_TOPICS, STOP, directory_of, publication, section_of, three_nodes
from tests.cold.test_boundary import COUNT, HOT
from tests.cold.test_coarse import KEYS, make_tail, tail_of, talk_to
from tests.cold.twin import Twin

SEED = 1


def meetings_of(section: ColdSection, directory: Any, paths: PathTable, coarse: list[int]) -> Meetings:
    first = directory.hot_count
    groups = group_members(directory.node[first:], directory.uplink_bps[first:], directory.downlink_bps[first:])
    members = np.diff(subscriptions(section, SEED, directory).start)
    leaders = dict.fromkeys(coarse, coarse[0])
    return Meetings(Scenario(section, directory, SEED, STOP), paths, groups.group, members, leaders)


def planned_ids(section: ColdSection, directory: Any) -> Any:
    return PublicationPlan(Scenario(section, directory, SEED, STOP)).take(STOP).message_id


#: Identities come and go, some cannot be reached, and there are two kinds of clients.
CHANGING: dict[str, Any] = {
    "populations": {
        "tail": {
            "count": 40,
            "churn": {"sessions": {"kind": "exponential", "mean": "15 s"}, "absences": ["1 s", "6 s"], "notice": 0.5},
        }
    },
    "clients": {"default": {"share": 2}, "few": {"share": 1, "gossip": {"d": 5, "d_low": 4, "heartbeat": "600 ms"}}},
    "failures": [{"kind": "partition", "time": "1 s", "until": "2020 ms", "regions": [1], "detection": "400 ms"}],
}


def twin_of(section: ColdSection, directory: Any) -> Twin:
    twin = Twin(Scenario(section, directory, SEED, STOP), three_nodes())
    twin.run(8 * NS_PER_S)
    return twin


def twin_delays(twin: Twin, message_id: int, time: int, origin: int) -> list[int]:
    """Middles of the buckets of a message's delays, by rank, from the twin."""
    received = sorted(
        arrived - time for who, arrived in enumerate(twin.arrivals(message_id)) if who != origin and arrived >= 0
    )
    return [int(bucket_middles(delay_buckets(np.array([delay])))[0]) for delay in received]


@pytest.mark.parametrize("changes", [{}, CHANGING])
def test_what_meeting_costs_is_what_the_twin_says(changes: dict[str, Any]) -> None:
    """In a network as small as that, each message alone and all of them together, of a coarse and an exact topic.

    Where identities come and go, delays are compared at shares of those that were there.
    """
    count = 40
    published = [
        publication(topic=1 if number % 3 else 2, time=f"{2000 + 4 * number} ms", size=20_000, origin=number * 3)
        for number in range(12)
    ]
    keys: dict[str, Any] = {"topics": [1, 2], "gossip": {"flood_publish": False}, **changes}
    directory = directory_of(count)
    section = section_of(count, publications=published, **keys)
    ids = planned_ids(section, directory)
    found = meetings_of(section, directory, three_nodes(), [0]).of_planned(ids)
    lost = compared = 0
    whole = twin_of(section, directory)
    for number, (message_id, each) in enumerate(zip(ids.tolist(), published, strict=True)):
        time, origin = (2000 + 4 * number) * NS_PER_MS, number * 3
        if each["topic"] == 2:
            assert not found[number].any()
            continue
        if not whole.is_up(origin, time):
            # It spreads later; until then it follows another.
            continue
        together = twin_delays(whole, message_id, time, origin)
        alone = twin_delays(
            twin_of(section_of(count, publications=[each], **keys), directory), message_id, time, origin
        )
        there = sum(whole.is_up(other, time) for other in range(count)) - 1
        assert changes or len(together) == len(alone) == there == count - 1
        least = min(there, len(alone), len(together))
        for place, share in enumerate(PER_MILLE):
            rank = max(-(-least * share // 1000), 1) - 1
            assert found[number, place] == max(together[rank] - alone[rank], 0)
        lost += int(found[number].max())
        compared += 1
    assert compared >= 5
    assert lost > 100 * NS_PER_MS


@pytest.mark.parametrize("failures", [[], [{"kind": "crash", "time": "3 s", "until": "15 s", "share": 0.3}]])
def test_messages_that_meet_nobody_lose_nothing(failures: list[Any]) -> None:
    section = section_of(300, publications=[publication(count=6, interval="6 s", size=60_000)], failures=failures)
    directory = directory_of(300)
    assert not meetings_of(section, directory, three_nodes(), [0]).of_planned(planned_ids(section, directory)).any()


def test_without_a_small_network_nobody_meets() -> None:
    published = [publication(count=40, interval="5 ms", size=20_000)]
    directory = directory_of(300)
    for queues, is_met in ((0, False), (100, True)):
        section = section_of(300, publications=published, resolution={"queues": queues})
        found = meetings_of(section, directory, three_nodes(), [0])
        assert found.of_planned(planned_ids(section, directory)).any() == is_met
        assert found.around(NS_PER_S + 100 * NS_PER_MS).any() == is_met
        # Nothing of the plan is published then.
        assert not found.around(20 * NS_PER_S).any()


def test_one_link_is_a_queue_with_poisson_arrivals_and_equal_services() -> None:
    """Of two identities one publishes. Each message waits as Lindley's recursion says, and Pollaczek and Khinchine."""
    rate, size, load, count = 20_000_000, 60_000, 0.6, 1300
    service = (62 + size) * 8 / rate
    gaps = np.random.default_rng(3).exponential(service / load, count)
    times = np.rint((1 + np.cumsum(gaps)) * NS_PER_S).astype(np.int64).tolist()
    published = [publication(time=f"{time} ns", size=size, origin=0) for time in times]
    section = section_of(2, publications=published)
    share = BandwidthShare(1.0, rate, 1000 * rate)
    directory = build_directory([], [ColdPlacement("tail", 2, ((0, 1.0),), (share,))])
    paths = PathTable((0,), np.array([[5 * NS_PER_MS]]), np.zeros((1, 1)), 5 * NS_PER_MS)
    found = meetings_of(section, directory, paths, [0]).of_planned(planned_ids(section, directory))
    free = 0.0
    for number, time in enumerate(times):
        wait = max(free - time, 0.0)
        # Delays are told to 2 ** -10 of themselves.
        delay = wait + (service + 0.005) * NS_PER_S
        assert found[number] == pytest.approx(np.full(len(SHARES), wait), abs=delay / 512)
        free = time + wait + service * NS_PER_S
    assert found[:, 0].mean() / NS_PER_S == pytest.approx(load * service / (2 * (1 - load)), rel=0.3)
    assert (found[:, 0] == 0).mean() == pytest.approx(1 - load, abs=0.04)


def test_a_small_network_has_places_links_and_subscribers_in_proportion() -> None:
    directory, section = directory_of(9000, 2), section_of(9000, topics=PARTIAL_TOPICS)
    small = small_network(section, directory, 0.1)
    assert small.directory.hot_count == 0
    assert small.directory.total_count == small.section.identity_count == len(small.host) == 900
    for node in range(3):
        for bps in np.unique(directory.uplink_bps[2:]).tolist():
            many, few = (
                int(((each.node == node) & (each.uplink_bps == bps))[hot:].sum())
                for each, hot in ((directory, 2), (small.directory, 0))
            )
            assert few == pytest.approx(many / 10, abs=2)
    assert (directory.node[small.host] == small.directory.node).all()


def test_what_comes_later_comes_in_the_same_order() -> None:
    overall = np.linspace(10, 300, 129).astype(np.int64) * NS_PER_MS
    tables = np.stack([overall // 2 + 5 * NS_PER_MS, overall])
    later = np.array([0, 1, 2, 3, 40, 3, 2, 50, 60, 61, 100], dtype=np.int64) * NS_PER_MS
    put = put_off(tables, overall, later)
    assert (np.diff(put, axis=1) >= 0).all()
    assert (put >= tables).all()
    # At the shares that are told, of the tables of all.
    for share, added in ((0.0, 0), (0.5, 40), (1.0, 100)):
        assert put[1, int(share * 128)] == tables[1, int(share * 128)] + added * NS_PER_MS
    assert put_off(tables, overall, np.zeros(len(SHARES), dtype=np.int64)) is tables
    assert [SHARES[place] for place in SUMMARY] == [0.5, 0.95, 0.99, 1.0]


CHURNING: dict[str, Any] = {
    "populations": {
        "tail": {
            "count": COUNT,
            "churn": {"sessions": {"kind": "exponential", "mean": "30 s"}, "absences": ["1 s", "6 s"]},
        }
    }
}
BUSY: dict[str, Any] = {
    **KEYS,
    "publications": [
        *KEYS["publications"],
        publication(time="1900 ms", count=24, interval="4 ms", size=20_000),
        publication(time="1900 ms", topic=7, count=12, interval="8 ms", size=20_000),
    ],
}


def test_what_comes_later_to_those_who_were_there_comes_as_late_to_those_who_came() -> None:
    """Of 300 receivers 200 were there: the first two thirds, in the order of their delays."""
    delay = np.linspace(10, 300, 129).astype(np.int64) * NS_PER_MS
    later = np.array([0, 1, 2, 3, 40, 3, 2, 50, 60, 61, 100], dtype=np.int64) * NS_PER_MS
    put = put_off(delay, delay, later, 1.5)
    for place, added in ((0, 0), (32, 3), (112, 100), (128, 100)):
        assert put[place] == delay[place] + added * NS_PER_MS
    assert (np.diff(put) >= 0).all()
    several = np.stack([later, later * 0, later * 2])
    assert (all_put_off(delay, delay, several, 1.5) == [put_off(delay, delay, one, 1.5) for one in several]).all()


@pytest.mark.parametrize(
    ("levels", "changes"),
    [
        ({"default": "sampled", "representatives": 3}, {}),
        ({"topics": {7: "mean-field"}}, {}),
        ({"default": "mean-field"}, {}),
        ({"default": "sampled", "representatives": 2}, CHURNING),
        ({"default": "mean-field", "representatives": 2}, CHURNING),
    ],
)
def test_a_divided_tail_with_busy_links_says_what_an_undivided_one_says(
    levels: dict[str, Any], changes: dict[str, Any]
) -> None:
    directory, paths = directory_of(COUNT, HOT), three_nodes(0.05)
    results = []
    delays: list[float] = []
    for queues, cuts in (
        (1024, np.array([HOT, HOT + COUNT])),
        (1024, odd_cuts(directory, 3)),
        (0, np.array([HOT, HOT + COUNT])),
    ):
        section = section_of(COUNT, resolution={**levels, "queues": queues}, **BUSY, **changes)
        tail = DividedTail(Scenario(section, directory, 1, STOP), paths, cuts, make_tail)
        packets = talk_to(tail)
        table = tail.message_table()
        results.append((packets.digest(), table.tobytes(), tail.counters(), tail.arrival_digest()))
        delays.append(float(table["p50_ns"][table["topic"] == 7].mean()))
    assert results[0] == results[1]
    # It is the meeting that is compared.
    assert delays[0] > 1.2 * delays[2]


def test_exact_topics_load_the_links_of_coarse_ones() -> None:
    def delay(with_others: bool) -> float:
        others = [publication(topic=2, time="1900 ms", count=80, interval="5 ms", size=20_000)]
        tail = tail_of(
            300,
            hot=0,
            topics=[1, 2],
            resolution={"default": "exact", "topics": {1: "mean-field"}},
            publications=[publication(time="2 s", count=8, interval="30 ms", size=20_000), *(others * with_others)],
        )
        tail.run_until(6 * NS_PER_S)
        table = tail.message_table()
        return float(table["p50_ns"][table["topic"] == 1].mean())

    assert delay(with_others=True) > 1.3 * delay(with_others=False)


def test_the_end_of_a_run_cuts_what_is_under_way_and_waits() -> None:
    published = [publication(count=60, interval="2 ms", size=20_000)]
    tail = tail_of(400, hot=0, resolution={"default": "mean-field"}, publications=published)
    before = np.zeros(60, dtype=np.int64)
    for end in range(1000, 9000, 100):
        tail.run_until(end * NS_PER_MS)
        table = tail.message_table()
        now = np.zeros(60, dtype=np.int64)
        now[: len(table)] = table["delivered"]
        assert (now >= before).all()
        assert (table["max_ns"] <= end * NS_PER_MS - table["publish_time_ns"] + NS_PER_MS).all()
        before = now
    assert list(before) == [399] * 60


def test_messages_of_topics_that_the_small_network_lacks_follow_those_that_it_has() -> None:
    """Of sixteen topics, of which each identity has two, 256 identities have two, with as many messages for each."""
    topics: list[Any] = [{"name": "subnets", "first": 10, "count": 16, "per_identity": 2}]
    published = [
        publication(topic=10 + number % 16, time=f"{2_000_000 + 1500 * number} us", size=20_000)
        for number in range(320)
    ]
    section = section_of(3000, topics=topics, publications=published, resolution={"queues": 256})
    directory = directory_of(3000)
    found = meetings_of(section, directory, three_nodes(), list(range(16))).of_planned(planned_ids(section, directory))
    lost = found[:, SUMMARY[0]].reshape(20, 16)
    # Forty messages of 20 KB for each, in half a second: those that come last wait longest, on whatever topic.
    assert (lost[10:] > 20 * NS_PER_MS).all()
    assert lost[-1].mean() > 3 * lost[1].mean() > 0


def test_what_is_published_long_after_the_others_follows_none_of_them() -> None:
    topics: list[Any] = [{"name": "subnets", "first": 10, "count": 16, "per_identity": 2}]
    published = [
        publication(topic=10, time="2 s", count=20, interval="1 ms", size=20_000),
        publication(topic=11, time="2100 ms", size=20_000),
        publication(topic=11, time="3 s", size=20_000),
    ]
    section = section_of(3000, topics=topics, publications=published, resolution={"queues": 256})
    directory = directory_of(3000)
    found = meetings_of(section, directory, three_nodes(), list(range(16))).of_planned(planned_ids(section, directory))
    # The small network has the topic 10 and not 11.
    assert found[19].any()
    assert found[20].any()
    assert not found[21].any()
