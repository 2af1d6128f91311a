"""The equations of the mean field in networks that change: nobody gets a message from nowhere, and nobody twice."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

import cold.changing_field
import cold.miniature
from bridge.simtime import NS_PER_S
from cold.changing_field import ChangingField, Pushed, Terms, Turn, solve_push
from cold.propagation import group_members
from cold.publication_columns import Publications
from cold.publications import PlannedMessages
from cold.representatives import Outcome, Part, Represented
from cold.scenario import Scenario
from cold.section import ColdSection
from cold.sessions import Lives, habits_of
from cold.sparing import Sparing
from cold.spread_kernels import Course, Crowd, Talk, gossip_steps, told_rates
from cold.state_kernels import COUNTER_NAMES
from cold.subscriptions import subscriptions
from tests.cold import spread_twin
from tests.cold.networks import directory_of, section_of, three_nodes

COUNT, END = 600, 40 * NS_PER_S
#: Two in five are gone from the 20th to the 30th second.
CRASH = [{"kind": "crash", "time": "20 s", "until": "30 s", "share": 0.4}]
QUICK = {"sessions": {"kind": "exponential", "mean": "30 s"}, "absences": ["1 s", "20 s"]}


def network(count: int = COUNT, **keys: Any) -> tuple[ColdSection, ChangingField]:
    defaults: dict[str, Any] = {"overlay": {"degree": 30}, "resolution": {"default": "mean-field"}}
    section = section_of(count, **defaults | keys)
    directory = directory_of(count)
    drawn = subscriptions(section, 5, directory)
    group = group_members(directory.node, directory.uplink_bps, directory.downlink_bps).group

    def members(topic: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
        return drawn.member[drawn.start[topic] : drawn.start[topic + 1]]

    return section, ChangingField(Represented(Scenario(section, directory, 5, END), three_nodes(), 0, group, members))


def outcome_at(field: ChangingField, time_s: float, standing: int = 3, missed: int = 0) -> Outcome:
    """What becomes of a message of 1,000 bytes that somebody at the first node publishes at a time."""
    part = Part(round(time_s * NS_PER_S), int(time_s * 10), 0, standing, 1026, missed)
    field.play([part])
    return field.outcome(part)


def counted(outcome: Outcome) -> dict[str, int]:
    return dict(zip(COUNTER_NAMES, outcome.counters.tolist(), strict=True))


def up_at(section: ColdSection, time_s: float) -> int:
    """How many are up, by their lives alone."""
    lives = Lives(habits_of(section, directory_of(section.identity_count), three_nodes().node_ids), 5, 0)
    lives.take(round(time_s * NS_PER_S) + 1)
    lives.advance(round(time_s * NS_PER_S))
    return int(lives.is_up(round(time_s * NS_PER_S)).sum())


def one_type(pushed: list[float], loss: float = 0.0, first: float = 1e-3) -> Terms:
    """A network of one type of members, hops of ten steps, and no gossip."""
    one = np.ones((1, 1))
    own = np.zeros((1, 12))
    own[0, 5] = 1.0
    return Terms(
        0.01,
        np.ones(1),
        np.array([pushed]),
        one,
        one - loss,
        own,
        5.0 * one,
        first * one,
        0 * one,
        one,
        one,
        1.0,
        one[0],
        one[0],
        one[0],
    )


@pytest.mark.parametrize("loss", [0.0, 0.4])
def test_who_is_never_pushed_to_follows_from_the_degrees(loss: float) -> None:
    """In the end theta = loss + (1 - loss) G'(theta) / G'(1), and G(theta) have nothing (Newman 2002, with loss)."""
    degrees = [0.05, 0.05, 0.2, 0.3, 0.4]
    mean = sum(k * share for k, share in enumerate(degrees))

    def excess(x: float) -> float:
        return loss + (1 - loss) * sum(k * p * x ** (k - 1) for k, p in enumerate(degrees) if k) / mean - x

    theta = brentq(excess, 0.0, 0.9)
    spread = solve_push(one_type(degrees, loss, 1e-6), 10**9, 30.0)
    assert spread.theta[0] == pytest.approx(theta, abs=1e-4)
    assert spread.lacking[-1, 0] == pytest.approx(sum(p * theta**k for k, p in enumerate(degrees)), abs=1e-4)
    assert (np.diff(spread.lacking, axis=0) <= 1e-15).all()
    assert 0 <= spread.lacking.min() <= spread.lacking.max() <= 1


def test_nothing_spreads_before_the_first_copy() -> None:
    """Errors of rounding would grow as messages do."""
    terms = one_type([0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.3])
    late = np.zeros((1, 3000))
    late[0, -1] = 1e-3
    spread = solve_push(terms._replace(first=late), 10**6, 60.0)
    assert (spread.lacking[:2999] == 1).all()
    assert spread.lacking[-1, 0] < 0.2


def test_a_message_reaches_those_that_are_up_and_those_that_come_while_it_is_told_of() -> None:
    section, field = network(failures=CRASH)
    some = up_at(section, 25)
    assert 300 < some < 420
    before, during, late, after = (outcome_at(field, time) for time in (10, 25, 28, 31.5))
    assert before.delivered == after.delivered == COUNT - 1
    # Five seconds later no cache tells of it; who comes two seconds later hears of it.
    assert during.delivered == pytest.approx(some * (COUNT - 1) / COUNT, abs=2)
    assert late.delivered > COUNT - 20


def test_nobody_gets_a_message_twice_and_what_is_sent_arrives_or_is_lost() -> None:
    section, field = network(populations={"tail": {"count": COUNT, "churn": QUICK}}, gossip={"seen_ttl": "10 s"})
    for time in (5.0, 9.0, 22.0):
        outcome = outcome_at(field, time)
        counters = counted(outcome)
        # All who are up at once or come in the ten seconds for which a copy is taken, and no more.
        came = sum(
            int(up and not silent) for up, silent in zip(*arrivals_between(section, time, time + 10), strict=True)
        )
        assert up_at(section, time) * 0.98 < outcome.delivered <= up_at(section, time) + came
        assert counters["forwards"] == outcome.delivered
        assert counters["messages_received"] == outcome.delivered + counters["duplicates"]
        lost = counters["packets_lost"] + counters["unreachable"] - counters["iwant_sent"] + counters["iwant_received"]
        assert counters["messages_sent"] == counters["messages_received"] + lost
        assert outcome.summary[0] < outcome.summary[1] <= outcome.summary[2] <= outcome.summary[3] < 10 * NS_PER_S
        assert (np.diff(outcome.overall) >= 0).all()


def arrivals_between(section: ColdSection, begin_s: float, end_s: float) -> tuple[list[bool], list[bool]]:
    lives = Lives(habits_of(section, directory_of(section.identity_count), three_nodes().node_ids), 5, 0)
    lives.take(round(begin_s * NS_PER_S) + 1)
    changes = lives.take(round(end_s * NS_PER_S))
    return changes.is_up.tolist(), changes.is_silent.tolist()


def test_the_other_side_of_a_partition_gets_nothing_and_after_it_everything() -> None:
    cut = {"kind": "partition", "time": "10 s", "until": "20 s", "regions": [0], "detection": "2 s"}
    _, field = network(failures=[cut])
    node = directory_of(COUNT).node
    inside = int((node == node[0]).sum())
    before, young, old, healed = (outcome_at(field, time) for time in (5, 10.5, 15, 25))
    for outcome in (young, old):
        assert outcome.delivered == pytest.approx(inside * (COUNT - 1) / COUNT, abs=2)
    # Before the cut is noticed, copies are sent to the other side, and lost.
    assert counted(young)["packets_lost"] > inside > counted(old)["packets_lost"] == 0
    assert healed.delivered == before.delivered == COUNT - 1


def test_what_is_told_of_when_a_partition_heals_comes_to_the_other_side() -> None:
    cut = {"kind": "partition", "time": "10 s", "until": "20 s", "regions": [0], "detection": "2 s"}
    _, field = network(failures=[cut])
    node = directory_of(COUNT).node
    inside = int((node == node[0]).sum())
    early, late = outcome_at(field, 15), outcome_at(field, 18)
    # After three heartbeats no cache tells of it.
    assert early.delivered < inside < late.delivered == COUNT - 1
    assert counted(late)["iwant_sent"] > 3 * counted(early)["iwant_sent"]
    # Two seconds pass until the cut ends, and one hop is no more than 120 ms.
    assert 2.0 < late.summary[1] / NS_PER_S < 2.6


def test_who_was_silent_tells_of_what_it_got_meanwhile() -> None:
    """Nobody pushes or tells before the 20th second; caches tell of the later message then, of the earlier no more."""
    silent = {"kind": "silence", "time": "1 s", "until": "20 s", "share": 1.0}
    _, field = network(failures=[silent], gossip={"flood_publish": False})
    early, late = outcome_at(field, 15), outcome_at(field, 19.5)
    assert early.delivered <= 8
    assert late.delivered > 0.9 * COUNT
    assert late.summary[0] > 0.5 * NS_PER_S


def test_who_comes_back_to_no_mesh_is_told_rather_than_pushed_to() -> None:
    """Two in five come back at the 30th second, and have a mesh from their next heartbeat on."""
    section, field = network(failures=CRASH)
    back = COUNT - up_at(section, 29)
    told, meshed = (counted(outcome_at(field, time))["iwant_sent"] for time in (29.0, 31.5))
    assert 0.7 * back < told < 1.1 * back
    assert meshed < 0.1 * back


def rates(arrives: float, by_beat: list[list[float]], open_for: int) -> tuple[Any, Any]:
    """Of two types, of which packets pass within each, and from one to the other with a probability, for so long.

    Each holder chooses one in four that it knows.
    """
    ways, since = np.array([[1.0, arrives], [arrives, 1.0]]), np.array([[2, open_for], [open_for, 2]])
    return told_rates(np.array([0.5, 0.5]), np.array([0.25, 0.25]), np.array(by_beat), ways, since)


def test_who_could_not_be_told_has_not_been_told_yet() -> None:
    """Ten holders of the second type are in their third heartbeat."""
    by_beat = [[0.0, 0.0], [0.0, 0.0], [0.0, 10.0]]
    assert rates(0.0, by_beat, 2)[0][:, 0] == pytest.approx([0, 0, 0])
    # Who has been there for no heartbeat, for one, for two.
    long_there = 5.0 * 0.75 ** np.arange(3)
    for column in rates(1.0, by_beat, 2)[0].T:
        assert column == pytest.approx(long_there)
    for open_for in range(3):
        asked, copies = rates(1.0, by_beat, open_for)
        assert asked[:, 1] == pytest.approx(long_there)
        assert asked[:, 0] == pytest.approx(5.0 * 0.75 ** np.minimum(np.arange(3), open_for))
        assert copies == pytest.approx(asked)


def test_copies_that_are_asked_for_take_three_packets() -> None:
    asked, copies = rates(0.5, [[0.0, 8.0]] * 3, 2)
    assert copies[:, 0] == pytest.approx(asked[:, 0] / 4)
    assert copies[:, 1] == pytest.approx(asked[:, 1])


def both_stages(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have each stage of what is solved compared with the twin's; return what will hold their lengths."""
    compared: list[int] = []

    def push(terms: Terms, members: float, horizon: float, turns: Sequence[Turn]) -> Pushed:
        got, wanted = (solve(terms, members, horizon, turns) for solve in (solve_push, spread_twin.solve_push))
        for one, other in zip(got, wanted, strict=True):
            assert one == pytest.approx(other, rel=1e-9, abs=1e-12)
        compared.append(len(got.lacking))
        return got

    def gossip(crowd: Crowd, course: Course, talk: Talk) -> Any:
        twins: Crowd = copy.deepcopy(crowd)
        wanted = spread_twin.gossip_steps(twins, course, copy.deepcopy(talk))
        got = gossip_steps(crowd, course, talk)
        for one, other in zip((*got, *crowd), (*wanted, *twins), strict=True):
            assert np.asarray(one, dtype=float) == pytest.approx(np.asarray(other, dtype=float), rel=1e-9, abs=1e-10)
        compared.append(len(got[0]))
        return got

    monkeypatch.setattr(cold.changing_field, "solve_push", push)
    monkeypatch.setattr(cold.changing_field, "gossip_steps", gossip)
    return compared


CLIENTS = {
    "many": {"share": 1, "gossip": {"d": 12, "d_high": 16, "validation_delay": "3 ms"}},
    "few": {"share": 2, "gossip": {"d": 4, "d_low": 3, "d_lazy": 3, "heartbeat": "700 ms"}},
}
CUT = {"kind": "partition", "time": "10 s", "until": "20 s", "regions": [0], "detection": "2 s"}


@pytest.mark.parametrize(
    "keys",
    [
        {"populations": {"tail": {"count": 200, "churn": QUICK}}, "clients": CLIENTS, "gossip": {"seen_ttl": "10 s"}},
        # What is published 100 ms before packets cannot pass, or can again, or identities fall silent.
        {"failures": [CUT, {"kind": "silence", "time": "19980 ms", "share": 0.3}], "gossip": {"seen_ttl": "10 s"}},
        {"gossip": {"idontwant_size": 500, "d_out": 2, "seen_ttl": "10 s"}, "failures": CRASH},
    ],
)
def test_the_steps_are_those_of_the_twin(keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _, field = network(200, **keys)
    compared = both_stages(monkeypatch)
    outcomes = [outcome_at(field, time) for time in (5.0, 9.9, 19.9, 29.0)]
    outcomes.append(outcome_at(field, 29.5, standing=2, missed=1))
    assert len(compared) == 10
    assert min(compared) > 10
    assert all(outcome.delivered > 20 for outcome in outcomes)


def test_a_first_stage_of_many_steps_is_the_twin_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than there is room for at first."""
    late = np.zeros((1, 2900))
    late[0, -1] = 1e-3
    compared = both_stages(monkeypatch)
    sparing = Sparing(np.array([[0.0, 0.5, 0.5]]), np.ones(1), 2.0, np.array([3]), np.ones((1, 1)), np.ones((1, 1)))
    for each in (None, sparing):
        terms = one_type([0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.3])._replace(first=late, sparing=each)
        cold.changing_field.solve_push(terms, 10**6, 60.0, ())
    assert min(compared) > 2900


def test_a_publisher_that_is_away_tells_when_it_is_back_or_nobody() -> None:
    _, field = network(failures=CRASH)
    gone, back = outcome_at(field, 22, standing=2, missed=3), outcome_at(field, 23, standing=2, missed=1)
    assert gone.delivered == 0
    assert (gone.summary == -1).all()
    assert not gone.counters.any()
    assert back.delivered > 300
    assert back.summary[0] > 1.5 * NS_PER_S


def test_silent_identities_get_messages_and_push_none() -> None:
    _, field = network(failures=[{"kind": "silence", "time": "10 s", "share": 0.3}])
    before, after = outcome_at(field, 5), outcome_at(field, 15)
    assert after.delivered == before.delivered == COUNT - 1
    assert counted(after)["messages_sent"] == pytest.approx(0.7 * counted(before)["messages_sent"], rel=0.1)
    assert after.summary[0] > before.summary[0]
    assert after.told == pytest.approx(0.7 * before.told, rel=0.1)


def test_a_sample_of_the_network_stands_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: dict[str, Any] = {"populations": {"tail": {"count": 2000, "churn": QUICK}}}
    _, whole = network(2000, **keys)
    monkeypatch.setattr(cold.miniature, "_MEMBERS", 500)
    _, sample = network(2000, **keys)
    for time in (5.0, 20.0):
        one, other = outcome_at(whole, time), outcome_at(sample, time)
        assert other.delivered == pytest.approx(one.delivered, rel=0.08)
        assert other.summary[0] == pytest.approx(one.summary[0], rel=0.08)
        assert counted(other)["messages_sent"] == pytest.approx(counted(one)["messages_sent"], rel=0.08)
    every, some = whole.own_counters(END), sample.own_counters(END)
    assert some["joins"] == every["joins"] > 0
    assert some["departures"] == every["departures"] > 0
    assert some["control_sent"] == pytest.approx(every["control_sent"], rel=0.1)


def test_messages_of_publishers_that_are_away_are_told_apart_by_their_return() -> None:
    section, field = network(failures=CRASH)
    published = Publications(
        np.full(COUNT, 28 * NS_PER_S - 500_000_000, dtype=np.int64),
        np.zeros(COUNT, dtype=np.int64),
        np.arange(COUNT, dtype=np.int64),
        np.full(COUNT, 1000, dtype=np.int64),
    )
    parts = field.schedule.parts_of(PlannedMessages(np.arange(COUNT, dtype=np.uint64), published))
    away = [part for part in parts if part.standing == 2]
    assert len(away) == COUNT - up_at(section, 27.5)
    # Half of them have two heartbeats in these two and a half seconds, and the others three.
    assert {part.missed for part in away} == {2, 3}
    assert all(part.missed == 0 for part in parts if part.standing == 3)
