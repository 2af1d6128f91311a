"""What hot hosts see of identities on coarse topics in networks that change, beside the exact ones."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bridge.batch import EventBatch, pack_payloads
from bridge.paths import PathTable
from bridge.simtime import NEVER, NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.population import client_kinds
from cold.publications import PlannedMessages, PublicationPlan
from cold.rehearsal import Rehearsal
from cold.representatives import NoMessages, Represented
from cold.resolution import resolutions
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.subscriptions import subscriptions
from cold.surroundings import Surroundings, quickest_ways
from cold.tail import build_tail
from tests.cold.divided import DividedTail, odd_cuts
from tests.cold.networks import directory_of, publication, section_of, three_nodes
from tests.cold.test_boundary import (
    ADDRESS,
    GRAFT,
    HELLO,
    HOT,
    IHAVE,
    IWANT,
    LEAVE,
    MESSAGE,
    PRUNE,
    Received,
    datagram,
    ids_datagram,
    message_datagram,
    packet,
    read,
)

COUNT, END, SEED = 90, 14 * NS_PER_S, 5
CHURN = {
    "sessions": {"kind": "exponential", "mean": "6 s"},
    "absences": ["500 ms", "2 s"],
    "notice": 0.5,
    "detection": "1500 ms",
}
CASES: dict[str, dict[str, Any]] = {
    "churn": {"populations": {"tail": {"count": COUNT, "churn": CHURN}}},
    "crash": {"failures": [{"kind": "crash", "time": "5 s", "until": "9 s", "share": 0.4}]},
    "partition": {
        "failures": [{"kind": "partition", "time": "5 s", "until": "9 s", "regions": [1], "detection": "1 s"}]
    },
    "clients": {
        "clients": {
            "many": {"share": 1, "gossip": {"d": 10, "d_high": 16, "idontwant_size": 100}},
            "few": {"share": 2, "gossip": {"d": 4, "d_low": 3, "d_lazy": 3, "heartbeat": "700 ms"}},
        }
    },
    "silence and degradation": {
        "failures": [
            {"kind": "silence", "time": "3 s", "share": 0.3},
            {"kind": "degradation", "time": "6 s", "regions": [0], "latency": "80 ms", "loss": 0.1},
        ]
    },
}
#: HostIds whom each hot host greets.
PEERS = [[HOT + number * 2 + host for number in range(18)] for host in range(HOT)]


def section_of_case(case: str, level: str, **keys: Any) -> ColdSection:
    return section_of(
        COUNT,
        **{
            "overlay": {"degree": 20},
            "gossip": {"seen_ttl": "6 s", "validation_delay": ["1 ms", "5 ms"], "prune_backoff": "2 s"},
            "publications": [publication(time="2 s", count=30, interval="300 ms", size=300)],
            "resolution": {"default": level, "representatives": 2, "epoch": "4 s"},
            **CASES[case],
            **keys,
        },
    )


def said() -> list[tuple[int, int, int, bytes]]:
    """Greetings and GRAFT, again every two seconds; messages of both; questions."""
    result = []
    for host, peers in enumerate(PEERS):
        for number, peer in enumerate(peers):
            for begin in range(NS_PER_S, END, 2 * NS_PER_S):
                at = begin + number * 7 * NS_PER_MS
                result += [(at + kind, host, peer, datagram(kind)) for kind in (HELLO, GRAFT)]
        for number in range(9):
            sent = 2 * NS_PER_S + number * NS_PER_S + host * 500 * NS_PER_MS
            message = message_datagram(ADDRESS[host] << 32 | number + 1, host, sent)
            result += [(sent + 61 * NS_PER_MS + place, host, peer, message) for place, peer in enumerate(peers[:4])]
            asks = ids_datagram(IWANT, ADDRESS[1 - host] << 32 | number + 1)
            result.append((sent + 1700 * NS_PER_MS, host, peers[9], asks))
            tells = ids_datagram(IHAVE, ADDRESS[1 - host] << 32 | number + 1)
            result.append((sent + 30 * NS_PER_MS, host, peers[7], tells))
    return sorted(result)


def tail_of(section: ColdSection, shards: int = 1, paths: PathTable | None = None) -> DividedTail:
    directory = directory_of(COUNT, HOT)
    scenario = Scenario(section, directory, SEED, END)
    make: Any = partial(build_tail, resolution=resolutions(scenario))
    return DividedTail(scenario, paths or three_nodes(), odd_cuts(directory, shards), make)


def run(tail: DividedTail, longest: int = 2 * NS_PER_MS) -> tuple[EventBatch, list[int]]:
    """Run a tail beside the hot hosts; what they got, and when windows began."""
    script, told, batches, starts = said(), 0, [], []
    while (start := min(tail.next_event_time(), script[told][0] if told < len(script) else NEVER)) < END:
        end = min(start + longest, END)
        rows = []
        while told < len(script) and script[told][0] < end:
            rows.append((*script[told], told))
            told += 1
        if rows:
            offset, payload = pack_payloads([packet(source, peer, data) for _, source, peer, data, _ in rows])
            times, sources, events, peers = ([row[place] for row in rows] for place in (0, 1, 4, 2))
            tail.deliver(EventBatch.build(times, sources, events, peers, payload_offset=offset, payload=payload))
        starts.append(start)
        batches.append(tail.run_until(end))
    tail.run_until(END)
    return EventBatch.concatenate(batches), starts


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["sampled", "mean-field"])
def level(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def whole(case: str, level: str) -> tuple[DividedTail, EventBatch, list[int]]:
    tail = tail_of(section_of_case(case, level))
    return tail, *run(tail)


@pytest.fixture(scope="module")
def seen(whole: tuple[DividedTail, EventBatch, list[int]]) -> list[Received]:
    return read(whole[1])


@pytest.fixture(scope="module")
def true(case: str) -> list[Received]:
    return read(run(tail_of(section_of_case(case, "exact")))[0])


def control(packets: list[Received]) -> list[tuple[int, int, int, int]]:
    """What is said about links, whenever it comes: kind, ends, and the second; with its body's length."""
    kinds = (HELLO, LEAVE, GRAFT, PRUNE)
    return sorted((each.kind, each.source, each.destination, len(each.body)) for each in packets if each.kind in kinds)


def firsts(packets: list[Received], *, of_hosts: bool) -> dict[tuple[int, int], int]:
    """By message and hot host: when the first copy came, after the publication [ns]."""
    found: dict[tuple[int, int], int] = {}
    for each in packets:
        if each.kind == MESSAGE:
            message_id = int.from_bytes(each.body[:8])
            if (message_id >> 32 in {int(address) for address in ADDRESS[:HOT]}) == of_hosts:
                published = int.from_bytes(each.body[12:20]) - 946_684_800 * NS_PER_S
                key = (message_id, each.destination)
                found[key] = min(found.get(key, NEVER), each.time - published)
    return found


def test_what_is_said_of_links_is_what_exact_identities_say(seen: list[Received], true: list[Received]) -> None:
    assert control(seen) == control(true)
    assert len(control(seen)) >= 30


@pytest.mark.parametrize("of_hosts", [False, True])
def test_messages_come_when_they_come_from_exact_identities(
    seen: list[Received], true: list[Received], of_hosts: bool
) -> None:
    """To within what a sample of two representatives an epoch allows; the benchmark has many more."""
    drawn, exact = firsts(seen, of_hosts=of_hosts), firsts(true, of_hosts=of_hosts)
    assert len(exact) >= 14
    assert len(drawn) == pytest.approx(len(exact), rel=0.15, abs=2)
    for percent in (25, 50):
        quick, expected = (np.percentile(list(found.values()), percent) for found in (drawn, exact))
        assert quick == pytest.approx(expected, rel=0.35, abs=6 * NS_PER_MS)


def test_as_many_copies_come(seen: list[Received], true: list[Received]) -> None:
    copies, expected = (sum(each.kind == MESSAGE for each in packets) for packets in (seen, true))
    assert copies == pytest.approx(expected, rel=0.1)
    told, expected = (sum(each.kind == IHAVE for each in packets) for packets in (seen, true))
    assert told == pytest.approx(expected, rel=0.5, abs=15)


def test_nobody_says_anything_while_it_is_away(case: str, level: str, seen: list[Received]) -> None:
    directory, paths = directory_of(COUNT, HOT), three_nodes()
    surroundings = Surroundings(Scenario(section_of_case(case, level), directory, SEED, END), paths)
    checked = 0
    for each in seen:
        extra = 80 * NS_PER_MS if case.startswith("silence") and each.time > 6 * NS_PER_S else 0
        way = int(paths.latency_ns[directory.node[each.source], directory.node[each.destination]])
        # Packets queue for a moment before they leave.
        assert any(
            surroundings.is_up(each.source, each.time - way - late) for late in (0, extra, NS_PER_MS, 3 * NS_PER_MS)
        )
        checked += 1
    assert checked > 300


def test_nothing_is_back_before_it_can_be(seen: list[Received]) -> None:
    """A message of one host comes to the other over two identities at least, or over one that both know."""
    directory, paths = directory_of(COUNT, HOT), three_nodes()
    quickest = quickest_ways(paths)
    for (message_id, destination), delay in firsts(seen, of_hosts=True).items():
        host = list(ADDRESS[:HOT]).index(message_id >> 32)
        assert host != destination
        ways = [int(quickest[directory.node[peer], directory.node[destination]]) for peer in PEERS[host][:4]]
        assert delay >= 61 * NS_PER_MS + NS_PER_MS + min(ways)


def test_no_copy_comes_twice_by_one_way_but_when_it_is_asked_for(seen: list[Received]) -> None:
    ways = [(each.body[:8], each.source, each.destination) for each in seen if each.kind == MESSAGE]
    assert len(ways) - len(set(ways)) <= 18


def test_a_region_that_is_cut_off_says_nothing_across(seen: list[Received], case: str) -> None:
    if case != "partition":
        pytest.skip("only where a region is cut off")
    directory, latency = directory_of(COUNT, HOT), three_nodes().latency_ns
    across = 0
    for each in seen:
        ends = int(directory.node[each.source]), int(directory.node[each.destination])
        if (ends[0] == 1) != (ends[1] == 1):
            across += 1
            assert not 5 * NS_PER_S <= each.time - int(latency[ends]) < 9 * NS_PER_S
    assert across > 50


@pytest.mark.parametrize("shards", [2, 3])
def test_any_number_of_shards_says_the_same(
    whole: tuple[DividedTail, EventBatch, list[int]], case: str, level: str, shards: int
) -> None:
    one, batch, starts = whole
    several = tail_of(section_of_case(case, level), shards)
    other, other_starts = run(several)
    assert other.digest() == batch.digest()
    assert other_starts == starts
    assert several.message_table().tobytes() == one.message_table().tobytes()
    assert several.counters() == one.counters()
    assert several.arrival_digest() == one.arrival_digest()


def test_the_length_of_windows_changes_nothing(
    whole: tuple[DividedTail, EventBatch, list[int]], case: str, level: str
) -> None:
    assert run(tail_of(section_of_case(case, level)), 700_000)[0].digest() == whole[1].digest()


def test_messages_of_hot_hosts_are_in_the_table(whole: tuple[DividedTail, EventBatch, list[int]]) -> None:
    table = whole[0].message_table()
    own = table[table["origin"] < HOT]
    assert len(table) == 30 + len(own)
    assert len(own) >= 16
    assert np.median(own["delivered"]) > COUNT * 0.5
    assert (own["delivered"] <= COUNT).all()
    assert (own["p50_ns"] <= own["p95_ns"]).all()
    assert (own["p95_ns"] <= own["max_ns"]).all()


def rehearsal_of(topic: int, **keys: Any) -> tuple[Rehearsal, PlannedMessages, ColdSection]:
    section, directory = section_of_case("churn", "sampled", **keys), directory_of(COUNT, HOT)
    drawn = subscriptions(section, SEED, directory)
    members = [drawn.member[drawn.start[each] : drawn.start[each + 1]] for each in range(len(section.topic_numbers))]
    group: npt.NDArray[np.int32] = directory.node[HOT:].astype(np.int32)
    scenario = Scenario(section, directory, SEED, END)
    represented = Represented(scenario, three_nodes(), topic, group, lambda index: members[index].astype(np.uint32))
    planned = PublicationPlan(scenario).take(END)
    ours = planned.published.topic == topic
    return Rehearsal(represented), PlannedMessages(planned.message_id[ours], planned.published.taken(ours)), section


def test_a_representative_is_the_same_whenever_it_is_asked_for() -> None:
    forwards, planned, _ = rehearsal_of(0)
    parts = sorted({*forwards.schedule.parts_of(planned), forwards.schedule.entry_of(5 * NS_PER_S, HOT + 3, 77, 300)})
    assert any(part.is_relayed for part in parts)
    forwards.play(parts)
    backwards, _, _ = rehearsal_of(0)
    for part in reversed(parts):
        backwards.play([part])
    for part in parts:
        one, other = forwards.outcome(part), backwards.outcome(part)
        assert (one.counters == other.counters).all()
        assert (one.overall == other.overall).all()
        assert one.curves is not None
        assert other.curves is not None
        for mine, its in zip(one.curves.present, other.curves.present, strict=True):
            assert all((a == b).all() for a, b in zip(mine, its, strict=True))


@pytest.mark.parametrize("topics", [[1], [3, {"name": "some", "first": 10, "count": 4, "per_identity": 2}, 1]])
def test_receipts_are_those_that_the_table_counts(topics: list[Any]) -> None:
    published = [publication(topic=1 if topics == [1] else 12, time="2 s", origin=7)]
    section = section_of_case("churn", "exact", topics=topics, publications=published)
    engine = ColdEngine(Scenario(section, directory_of(COUNT, HOT), SEED, END), three_nodes())
    engine.run_until(END)
    (row,) = engine.message_table()
    host, time, hops = engine.receipts(int(row["id"]))
    drawn = subscriptions(section, SEED, directory_of(COUNT, HOT))
    topic = section.topic_numbers.index(int(row["topic"]))
    assert (host == drawn.member[drawn.start[topic] : drawn.start[topic + 1]]).all()
    got = (time != NEVER) & (host != row["origin"])
    assert got.sum() == row["delivered"] > 10
    assert time[got].max() - 2 * NS_PER_S == row["max_ns"]
    assert (hops[got] >= 0).all()


def test_an_identity_s_links_are_those_of_its_mesh() -> None:
    section = section_of_case("churn", "exact", publications=[])
    engine = ColdEngine(Scenario(section, directory_of(COUNT, HOT), SEED, END), three_nodes(), plan=NoMessages())
    engine.run_until(7 * NS_PER_S)
    is_up = engine.is_up(7 * NS_PER_S)
    for number, mesh in enumerate(engine.meshes()):
        host = HOT + number
        assert engine.mesh_of(host, 0) == mesh
        peers = dict(engine.peers_of(host, 0, 7 * NS_PER_S))
        assert set(mesh) <= set(peers)
        assert all(is_in_reach == is_up[peer - HOT] for peer, is_in_reach in peers.items())
    assert client_kinds(section, SEED, HOT, COUNT).max() == 0
