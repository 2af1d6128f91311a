"""Representatives that are executed on copies of a network that changes."""

import json
import pickle
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bridge.batch import EventBatch, pack_payloads
from bridge.bus import Bus
from bridge.errors import InternalError
from bridge.simtime import NEVER, NS_PER_S
from cold.changing_field import ChangingField
from cold.coarse import CoarseEngine
from cold.division import Division
from cold.engine import ColdEngine
from cold.meetings import Meetings
from cold.publication_columns import Publications
from cold.publications import PlannedMessages
from cold.rehearsal import Rehearsal
from cold.representatives import NoMessages, Part, Represented, Schedule, epochs_of, is_unsteady
from cold.resolution import resolutions
from cold.resolution_section import Resolution
from cold.results import merge, message_table
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.state_kernels import CHUNK, FREE_COUNT, State
from cold.subscriptions import subscriptions
from cold.tail import build_tail, rehearse_together
from tests.cold.divided import DividedTail as Tail
from tests.cold.divided import odd_cuts
from tests.cold.networks import directory_of, publication, section_of, three_nodes
from tests.cold.test_boundary import ADDRESS, datagram, message_datagram, packet
from tests.cold.test_drawing_together import told_by_shards

COUNT, END = 90, 12 * NS_PER_S
CHURN = {
    "sessions": {"kind": "exponential", "mean": "6 s"},
    "absences": ["500 ms", "2 s"],
    "notice": 0.5,
    "detection": "1500 ms",
}
KEYS: dict[str, Any] = {
    "populations": {"tail": {"count": COUNT, "churn": CHURN}},
    "overlay": {"degree": 20},
    "topics": [1, {"name": "subnets", "first": 10, "count": 4, "per_identity": 2}],
    "gossip": {"seen_ttl": "6 s"},
    "failures": [{"kind": "partition", "time": "4 s", "until": "7 s", "regions": [1], "detection": "1 s"}],
    "publications": [publication(count=6), publication(topic=12, count=8, interval="900 ms")],
    "resolution": {"default": "sampled", "representatives": 2, "epoch": "5 s"},
}


def section_with(**keys: Any) -> ColdSection:
    return section_of(COUNT, **{**KEYS, **keys})


def engines(section: ColdSection, shards: int, levels: dict[int, Resolution]) -> list[CoarseEngine]:
    directory = directory_of(COUNT)
    cuts: npt.NDArray[np.int64] = odd_cuts(directory, shards)
    return [
        CoarseEngine(
            Scenario(section, directory, 5, END),
            three_nodes(),
            levels,
            owned=range(int(cuts[shard]), int(cuts[shard + 1])),
            cuts=cuts,
            shard=shard,
        )
        for shard in range(shards)
        if cuts[shard] < cuts[shard + 1]
    ]


def test_epochs_end_where_the_network_changes_and_before_they_are_too_long() -> None:
    section = section_with(
        failures=[
            {"kind": "partition", "time": "14 s", "until": "30 s", "regions": [1], "detection": "2 s"},
            {"kind": "crash", "time": "31 s", "share": 0.1},
        ]
    )
    ends = epochs_of(section, 40 * NS_PER_S).border / NS_PER_S
    assert ends.tolist() == [0, 5, 10, 14, 16, 18, 20, 25, 26, 27, 30, 31, 32.5, 34, 35, 36.5, 40]


def test_what_is_told_of_while_the_network_breaks_or_heals_has_an_epoch_of_its_own() -> None:
    section = section_with(
        failures=[
            {"kind": "partition", "time": "20 s", "until": "50 s", "regions": [1], "detection": "15 s"},
            {"kind": "degradation", "time": "80 s", "until": "90 s", "latency": "10 ms"},
        ],
        gossip={"mcache_gossip": 2, "heartbeat": "2 s", "seen_ttl": "20 s"},
        resolution={"default": "sampled", "representatives": 2, "epoch": "60 s"},
    )
    epochs = epochs_of(section, 100 * NS_PER_S)
    borders = [0, 14, 20, 26, 35, 41, 44, 50, 56, 80, 90, 100]
    assert (epochs.border / NS_PER_S).tolist() == borders
    passing = [begin for begin, is_so in zip(borders[:-1], epochs.is_passing, strict=True) if is_so]
    assert passing == [14, 20, 35, 44, 50]


def test_messages_follow_a_representative_of_their_own_time_where_the_network_is_about_to_change() -> None:
    """Elsewhere, a random one of the epoch."""
    section = section_with(resolution={"default": "sampled", "representatives": 4, "epoch": "60 s"})
    directory = directory_of(COUNT)
    everybody = np.arange(COUNT, dtype=np.uint32) + np.uint32(directory.hot_count)
    group = np.zeros(COUNT, dtype=np.int32)
    network = Represented(Scenario(section, directory, 5, 60 * NS_PER_S), three_nodes(), 0, group, lambda _: everybody)
    count = 60
    # A partition from 4 s to 7 s, noticed after a second: epochs begin at 4, 5, 7, 8, 9 and 11 s.
    for begin, length, follows_its_own in ((4.0, 1.0, True), (5.0, 2.0, True), (11.0, 49.0, False)):
        time = ((begin + (np.arange(count) + 0.5) / count * length) * NS_PER_S).astype(np.int64)
        columns = (time, np.zeros(count, dtype=np.int64), everybody[:count].astype(np.int64), np.full(count, 100))
        planned = PlannedMessages(np.arange(count, dtype=np.uint64), Publications(*columns))
        parts = Schedule(network).parts_of(planned)
        nearest = [abs(part.time - its) < length / 4 * NS_PER_S for part, its in zip(parts, time.tolist(), strict=True)]
        assert all(nearest) == follows_its_own
        assert len({part.number for part in parts}) == 4


def test_a_copy_of_an_engine_goes_its_own_way() -> None:
    section = section_with(publications=[])
    engine = ColdEngine(Scenario(section, directory_of(COUNT), 5, END), three_nodes())
    engine.run_until(3 * NS_PER_S)

    class Nothing:
        def next_time(self) -> int:
            return 2**63 - 1

        def take(self, _end: int) -> Any:
            raise AssertionError

    first, second = engine.fork(Nothing()), engine.fork(Nothing())
    before = engine.counters()
    first.run_until(END)
    assert engine.counters() == before
    engine.run_until(END)
    second.run_until(END)
    assert first.counters() == engine.counters() == second.counters()
    assert first.meshes() == engine.meshes()
    assert first.counters()["departures"] > before["departures"]


class _OneMessage:
    """A plan of one message of an identity."""

    def __init__(self, time: int, topic: int, origin: int) -> None:
        self._row: list[int] | None = [time, topic, origin, 1000]

    def next_time(self) -> int:
        return NEVER if self._row is None else self._row[0]

    def take(self, end: int) -> PlannedMessages:
        if self.next_time() >= end:
            return NoMessages().take(end)
        assert self._row is not None
        columns = (np.array([value], dtype=np.int64) for value in self._row)
        self._row = None
        return PlannedMessages(np.array([1 << 63], dtype=np.uint64), Publications(*columns))


def waiting(state: State) -> list[list[int]]:
    """Return all records in a state's calendar, bucket by bucket."""
    found = []
    for head, tail, following, pool in (
        (state.bucket_head, state.bucket_tail, state.chunk_next, state.pool),
        (state.message_head, state.message_tail, state.message_chunk_next, state.message_pool),
    ):
        for bucket, first in enumerate(head.tolist()):
            chunk = first
            while chunk >= 0:
                last = int(tail[bucket]) if following[chunk] < 0 else (chunk + 1) * CHUNK
                found += pool[chunk * CHUNK : last].tolist()
                chunk = int(following[chunk])
    return found


@pytest.mark.parametrize("few", [True, False])
def test_a_copy_that_is_renewed_is_as_a_fresh_one(few: bool) -> None:
    """Whatever it and the network have done since, where only subscribers of one topic did anything."""
    count = COUNT * 10 if few else COUNT
    population = {"count": count, "churn": {**CHURN, "sessions": {"kind": "exponential", "mean": "90 s"}}}
    topics = [1, {"name": "subnets", "first": 10, "count": 16 if few else 4, "per_identity": 2}]
    section = section_with(publications=[], populations={"tail": population}, topics=topics)
    directory, topic, second = directory_of(count), 3, NS_PER_S
    members = subscriptions(section, 5, directory)
    members_of = members.member[members.start[topic] : members.start[topic + 1]].astype(np.int64)
    engine = ColdEngine(Scenario(section, directory, 5, END), three_nodes(), topics=[topic])
    stage, published = engine.fork(NoMessages()), 0
    for turn in range(1, 5):
        origin = int(np.setdiff1d(np.arange(count), members_of)[turn]) if turn % 2 else int(members_of[turn])
        # The network goes on, and the copy has gone ahead of it, and has more room since.
        stage._ensure_chunks(int(stage._state.cursor[FREE_COUNT]) + 1)
        engine.run_until(turn * second)
        stage.renew(engine, _OneMessage(turn * second, topic, origin), np.append(members_of, published))
        published = origin
        fresh = engine.fork(_OneMessage(turn * second, topic, origin))
        # Of records those that wait are the same, and so is the order in which they are; free room is not.
        apart = {"arrival", "cursor", "pool", "chunk_next", "message_pool", "message_chunk_next"}
        for name, array in fresh._state._asdict().items():
            if name not in apart | {"due", "spare", "pending", "out", "out_ids"}:
                assert (getattr(stage._state, name)[: len(array)] == array).all(), name
        assert waiting(stage._state) == waiting(fresh._state)
        assert len(stage._state.pool) > len(fresh._state.pool)
        free = int(stage._state.cursor[FREE_COUNT]) - int(fresh._state.cursor[FREE_COUNT])
        assert free == len(stage._state.chunk_next) - len(fresh._state.chunk_next)
        for copy in (stage, fresh):
            copy.run_until((turn + 3) * second)
        assert stage.counters() == fresh.counters()
        assert stage.arrival_digest() == fresh.arrival_digest()
        assert stage.meshes(topic) == fresh.meshes(topic)
        assert stage.counters()["messages_received"] > 0
    assert stage.counters()["departures"] > 5
    assert (len(members_of) * 4 < count) == few


def test_nobody_hears_of_what_is_published_by_one_who_is_away_and_does_not_subscribe() -> None:
    """As the exact engine finds, which need not execute it; also of when hot hosts hear of it."""
    rehearsal = rehearsal_of(section_with(publications=[]), hot=2, topic=2)
    first, compared = Part(rehearsal.schedule.time_of(1), 1, 0, 0, 1000), 0
    rehearsal._go_to(first)
    moment = rehearsal._moment(first.time)
    for number in range(3):
        part = first._replace(group=number)
        for origin in moment.candidates(number, 0)[:3].tolist():
            if moment.standing[origin] == 0:
                compared += 1
                (found,) = rehearsal._executed({part: origin + 2}, moment)
                assert found.curves is not None
                assert pickle.dumps(rehearsal._unsent(part, moment)) == pickle.dumps(found)
    assert compared > 1
    assert rehearsal._play([first], moment)[0].delivered == 0
    assert rehearsal._play([first._replace(standing=3)], moment)[0].delivered > 10


def rehearsal_of(section: ColdSection, hot: int = 0, topic: int = 0, end: int = END) -> Rehearsal:
    """Return what executes the representatives of a topic; groups are nodes."""
    directory = directory_of(COUNT, hot=hot)
    drawn = subscriptions(section, 5, directory)
    members = [drawn.member[begin:end] for begin, end in pairwise(drawn.start.tolist())]
    group = directory.node[hot:].astype(np.int32)
    return Rehearsal(
        Represented(Scenario(section, directory, 5, end), three_nodes(), topic, group, members.__getitem__)
    )


def test_what_a_hot_host_brings_in_comes_to_one_who_passes_it_on() -> None:
    """Which messages follow that come to such: at any other, they go no further."""
    silence = {"kind": "silence", "time": "1 s", "share": 0.6}
    rehearsal = rehearsal_of(section_with(publications=[], failures=[silence]), hot=2)
    parts = {
        rehearsal.schedule.entry_of(time * NS_PER_S // 2, 2 + host, 100 * time + host, 300)
        for time in range(3, 20)
        for host in range(COUNT)
    }
    rehearsal.play(parts)
    assert len(parts) == 12
    assert all(rehearsal.outcome(part).delivered > 10 for part in parts)


def messages_of(origins: list[int], times: list[int], topic: int) -> PlannedMessages:
    count = len(origins)
    columns = (times, [topic] * count, origins, [100] * count)
    published = Publications(*(np.array(column, dtype=np.int64) for column in columns))
    return PlannedMessages(np.arange(count, dtype=np.uint64), published)


def test_kinds_of_which_there_are_few_messages_have_few_representatives() -> None:
    """The more subscribers publish among all, the more representatives they have, and at least one of each group."""
    churn = {**CHURN, "sessions": {"kind": "exponential", "mean": "60 s"}}
    up = 60 / (60 + 1.25)
    for count in (4, 2):
        topics = [1, {"name": "subnets", "first": 10, "count": count, "per_identity": 1}]
        resolution = {"default": "sampled", "representatives": 16, "epoch": "60 s"}
        keys = {"populations": {"tail": {"count": COUNT, "churn": churn}}, "failures": [], "publications": []}
        section = section_with(topics=topics, resolution=resolution, **keys)
        rehearsal = rehearsal_of(section, topic=1, end=60 * NS_PER_S)
        schedule, subscribed = rehearsal.schedule, len(rehearsal._members(1)) / COUNT
        wanted = {1: np.ceil(16 * up * (1 - subscribed)), 3: np.ceil(16 * up * subscribed)}
        assert wanted[1] > wanted[3] if count == 4 else wanted[3] > 6
        origins = list(range(COUNT)) * 40
        times = [number * NS_PER_S // 100 for number in range(len(origins))]
        parts = schedule.parts_of(messages_of(origins, times, 1))
        several: dict[tuple[int, int, int], set[int]] = {}
        for part in parts:
            several.setdefault((part.group, part.standing, part.missed), set()).add(part.number)
        for (_, standing, _), numbers in several.items():
            assert len(numbers) == wanted.get(standing, 1)
        # What is executed at once is the same, whichever of them it is asked for.
        for part in set(parts):
            for most in (1, 2, 3):
                batch = schedule.parts_in(part, most)
                assert part in batch
                assert len(batch) <= most
                assert batch == sorted(set(batch))
                assert {schedule.parts_in(each, most)[0] for each in batch} == {batch[0]}
                assert all(schedule.parts_in(each, most) == batch for each in batch)
        # Nothing is executed that no message could follow.
        assert {each for part in set(parts) for each in schedule.parts_in(part, 3)} - set(parts) == set()


def test_representatives_that_share_a_copy_fare_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    section = section_with(publications=[], gossip={"seen_ttl": "6 s", "validation_delay": ["1 ms", "5 ms"]})
    together, alone = rehearsal_of(section), rehearsal_of(section)
    assert together._most_at_once(300) > 3
    assert together._most_at_once(10**6) == 1
    monkeypatch.setattr(alone, "_most_at_once", lambda _: 1)
    # As many as load the slowest link for a hundredth of a second wait for that long at the most.
    for which, standing, most, wait in ((0, 1, 32, NS_PER_S // 100), (1, 1, 3, 0), (1, 3, 3, 0)):
        time = together.schedule.time_of(which)
        (*parts,) = together.schedule.parts_in(Part(time, which, 0, standing, 300), most)
        assert len(parts) > 1
        # Who is up shares a copy with all who are.
        assert {part.standing for part in parts} == {1, 3}
        together.play(parts[:1])
        alone.play(parts)
        for part in parts:
            one, other = together.outcome(part), alone.outcome(part)
            assert one.delivered == pytest.approx(other.delivered, abs=2)
            assert one.summary == pytest.approx(other.summary, rel=0.02, abs=wait)
            assert one.counters == pytest.approx(other.counters, rel=0.01, abs=3)
            assert one.told == pytest.approx(other.told, rel=0.01)
            assert one.heard == pytest.approx(other.heard, rel=0.01)
        sums = [sum(each.outcome(part).counters for part in parts) for each in (together, alone)]
        assert sums[0] == pytest.approx(sums[1], rel=0.01, abs=3)


def test_an_engine_with_messages_is_not_copied() -> None:
    engine = ColdEngine(Scenario(section_with(), directory_of(COUNT), 5, END), three_nodes())
    with pytest.raises(InternalError, match="without messages"):
        engine.fork(engine._plan)


@pytest.mark.parametrize("level", [Resolution.SAMPLED, Resolution.MEAN_FIELD])
def test_a_divided_tail_tells_of_the_same_messages_as_the_whole(level: Resolution) -> None:
    section, levels = section_with(), dict.fromkeys(range(5), level)
    tables, counters = [], []
    for shards in (1, 2, 3):
        several = engines(section, shards, levels)
        for engine in several:
            engine.run_until(END)
        tables.append(message_table(merge([engine.partial_results() for engine in several])))
        whole = [engine.counters() for engine in several]
        counters.append({name: sum(each[name] for each in whole) for name in whole[0]})
    assert len(tables[0]) == 14
    assert (tables[0] == tables[1]).all()
    assert (tables[0] == tables[2]).all()
    assert counters[0] == counters[1] == counters[2]
    assert counters[0]["published"] == 14
    assert counters[0]["joins"] > 0
    # Messages of the first topic reach most identities, those of a subnet its subscribers: as many as the first subnet
    # has, which stands for all of them.
    on_all = tables[0]["topic"] == 1
    assert np.median(tables[0]["delivered"][on_all]) > COUNT * 3 / 4
    subscribers = np.diff(subscriptions(section, 5, directory_of(COUNT)).start)[1]
    assert subscribers / 2 < np.median(tables[0]["delivered"][~on_all]) <= tables[0]["delivered"][~on_all].max()
    assert tables[0]["delivered"][~on_all].max() <= subscribers


@pytest.mark.parametrize("level", [Resolution.SAMPLED, Resolution.MEAN_FIELD])
def test_connected_shards_execute_each_representative_once_and_tell_of_the_same_messages(
    monkeypatch: pytest.MonkeyPatch, level: Resolution
) -> None:
    """Also beside a shard without identities; which shard executes which cannot be seen in any result.

    What messages lose by meeting others is worked out by the first alone.
    """
    executed: list[tuple[int, ...]] = []

    def noting(execute: Callable[..., Any]) -> Callable[..., Any]:
        def noted(self: Any, what: Part | list[Part], *others: Any) -> Any:
            executed.extend((self.schedule._topic, *part) for part in ([what] if isinstance(what, Part) else what))
            return execute(self, what, *others)

        return noted

    monkeypatch.setattr(Rehearsal, "_play", noting(Rehearsal._play))
    monkeypatch.setattr(ChangingField, "_solve", noting(ChangingField._solve))
    measured = Meetings._measured

    def noting_measured(self: Meetings, layout: Any) -> Any:
        executed.append((-1,))
        return measured(self, layout)

    monkeypatch.setattr(Meetings, "_measured", noting_measured)
    large = [publication(count=6, size=40_000, interval="10 ms"), publication(topic=12, count=8, interval="900 ms")]
    section, directory, levels = section_with(publications=large), directory_of(COUNT), [level] * 5

    def work(bus: Bus) -> bytes:
        cuts = odd_cuts(directory, bus.shard_count)
        owned = range(int(cuts[bus.shard]), int(cuts[bus.shard + 1]))
        told: dict[str, Any] = {"rows": [], "counters": {}}
        tail = None
        if owned:
            scenario = Scenario(section, directory, 5, END)
            tail = build_tail(scenario, three_nodes(), levels, owned=owned, cuts=cuts, shard=bus.shard)
            tail.run_until(END)
        rehearse_together(tail, section, levels, Division.of(cuts, bus.shard, 0, COUNT, bus))
        if tail is not None:
            results = tail.partial_results()
            told = {"rows": message_table(results).tolist(), "counters": tail.counters()}
            told["digest"] = results.digest.tolist()
        return json.dumps({**told, "executed": executed}).encode()

    seen = []
    for shards in (1, 2, 4):
        executed.clear()
        told = [json.loads(data) for data in told_by_shards(shards, work)]
        rows = sorted(row for shard in told for row in shard["rows"])
        counters = sum((Counter(shard["counters"]) for shard in told), Counter())
        digests = np.array([shard["digest"] for shard in told if "digest" in shard], dtype=np.uint64).sum(axis=0)
        seen.append((rows, counters, digests.tolist(), sorted(part for shard in told for part in shard["executed"])))
        busy = [shard for shard in told if shard["rows"]]
        assert [[-1] in shard["executed"] for shard in busy] == [True] + [False] * (len(busy) - 1)
        assert all(shard["executed"] for shard in busy)
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0][0]) == 14
    assert len(seen[0][3]) == len({tuple(part) for part in seen[0][3]}) > 8


def test_who_comes_and_goes_is_counted_once_beside_exact_topics() -> None:
    some = engines(section_with(), 1, dict.fromkeys(range(1, 5), Resolution.SAMPLED))[0]
    some.run_until(END)
    counters = some.counters()
    assert counters["joins"] == counters["departures"] == 0
    assert counters["control_sent"] > 0


def test_only_what_differs_by_time_or_kind_is_unsteady() -> None:
    steady = {"populations": {"tail": {"count": COUNT}}, "failures": []}
    assert not is_unsteady(section_with(**steady))
    withheld = {"kind": "withholding", "time": "2 s", "share": 0.1}
    assert not is_unsteady(section_with(**steady | {"failures": [withheld]}))
    assert is_unsteady(section_with(failures=[]))
    assert is_unsteady(section_with(populations={"tail": {"count": COUNT}}))
    assert is_unsteady(section_with(**steady, clients={"own": {"share": 1, "gossip": {"d_lazy": 3}}}))


HOT = 2
HELLO, GRAFT, MESSAGE = 1, 3, 7


def say(tail: Tail, time: int, data: bytes, identity: int, source: int = 0) -> None:
    """Have a hot host send a datagram to an identity, which gets it at a time [ns]."""
    offset, payload = pack_payloads([packet(source, identity, data)])
    tail.deliver(EventBatch.build([time], [source], [time], [identity], payload_offset=offset, payload=payload))


def tail_of(section: ColdSection, shards: int) -> Tail:
    directory = directory_of(COUNT, HOT)
    scenario = Scenario(section, directory, 5, END)
    make: Any = partial(build_tail, resolution=resolutions(scenario))
    return Tail(scenario, three_nodes(), odd_cuts(directory, shards), make)


def talk(tail: Tail) -> list[bytes]:
    """Have hot hosts join the mesh of topic 1 and publish there; return what they are sent."""
    for number in range(12):
        say(tail, NS_PER_S // 2 + number, datagram(HELLO), HOT + 3 * number, number % HOT)
        say(tail, NS_PER_S // 2 + 100 + number, datagram(GRAFT), HOT + 3 * number, number % HOT)
    received = []
    times = [second * NS_PER_S for second in range(2, 6)]
    while (start := min([tail.next_event_time(), *times])) < END:
        end = min(start + 2_000_000, END)
        while times and times[0] < end:
            time = times.pop(0)
            message_id = ADDRESS[0] << 32 | len(times) + 1
            say(tail, time, message_datagram(message_id, 0, time), HOT + 3 * len(times))
        batch = tail.run_until(end)
        order = np.lexsort((batch.source_event, batch.source, batch.deliver_time))
        received += [batch.payload_of(row) for row in order]
    tail.run_until(END)
    return received


@pytest.mark.parametrize("level", ["sampled", "mean-field"])
def test_hot_hosts_talk_on_exact_topics_beside_coarse_ones_in_a_network_that_changes(level: str) -> None:
    wanted = {"default": level, "representatives": 2, "epoch": "5 s", "topics": {1: "exact"}}
    section = section_with(resolution=wanted)
    one, two = tail_of(section, 1), tail_of(section, 2)
    received = talk(one)
    kinds = [data[31] for data in received]
    # Some are away when they are greeted.
    assert kinds.count(HELLO) > 5
    assert kinds.count(MESSAGE) > 5
    assert talk(two) == received
    assert np.array_equal(one.message_table(), two.message_table())
    assert one.arrival_digest() == two.arrival_digest()
    # However much is published on coarse topics, it loads no links of exact ones.
    larger = [KEYS["publications"][0], KEYS["publications"][1] | {"size": 50_000}]
    assert talk(tail_of(section_with(resolution=wanted, publications=larger), 1)) == received
    # And what they say changes nothing there.
    silent = tail_of(section, 1)
    silent.run_until(END)
    rows, quiet = one.message_table(), silent.message_table()
    assert np.array_equal(rows[rows["topic"] == 12], quiet[quiet["topic"] == 12])
    # Those of publishers that are away come to nobody.
    assert (rows["delivered"][rows["topic"] == 12] > 20).sum() >= 4
    own = rows[rows["origin"] == 0]
    assert len(own) == 4
    assert (own["delivered"] > COUNT // 2).all()
