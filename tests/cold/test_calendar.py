"""The calendar of duties: agrees with its twin, and with what the consensus specs say of it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.directory import ColdPlacement, HotPlacement, build_directory
from bridge.errors import UserError
from bridge.simtime import NEVER, NS_PER_MS, NS_PER_S
from cold.calendar import Calendar
from cold.clocks import Clocks, draw_clocks, moment
from cold.population import clocks, stakers
from cold.publication_columns import Publications
from cold.publications import PublicationPlan
from cold.scenario import Scenario
from cold.section import ColdSection
from tests.cold.calendar_twin import CalendarTwin, Duty
from tests.cold.networks import MBIT, engine_of

SLOT = 12 * NS_PER_S
TOPICS = [
    1,
    {"name": "columns", "first": 100, "count": 8, "per_identity": 2},
    {"name": "subnets", "first": 200, "count": 4, "per_identity": 2},
    3,
    {"name": "sync", "first": 300, "count": 2},
    5,
]
CALENDAR: dict[str, Any] = {
    "slots_per_epoch": 4,
    "target_committee_size": 4,
    "sync_committee_size": 16,
    "epochs_per_sync_period": 2,
    "validators": {"count": 200, "per_identity": {"kind": "weibull", "shape": 0.5, "scale": 10}},
    "blocks": {
        "topic": 1,
        "delay": {"kind": "lognormal", "median": "400 ms", "sigma": 0.5},
        "size": {"kind": "uniform", "low": "20 KB", "high": "200 KB"},
    },
    "columns": {"topics": "columns", "delay": ["0 ms", "30 ms"], "blobs": {"kind": "uniform", "low": 0, "high": 9}},
    "attestations": {"topics": "subnets", "delay": {"kind": "exponential", "mean": "80 ms"}},
    "aggregates": {"topic": 3, "per_committee": 3, "size": ["400 B", "600 B"]},
    "sync_messages": {"topics": "sync", "delay": "5 ms"},
    "contributions": {"topic": 5, "per_subcommittee": 2},
}
CLOCK = {"offset": {"kind": "normal", "mean": "-20 ms", "deviation": "200 ms"}, "drift": ["-100 ppm", "300 ppm"]}
DIRECTORY = build_directory(
    [HotPlacement("hot", 0, MBIT, MBIT)],
    [ColdPlacement("exact", 10, ((0, 1.0), (1, 4.0))), ColdPlacement("tail", 40, ((0, 1.0), (1, 1.0)))],
    [(MBIT, MBIT)] * 2,
)


def section_with(calendar: dict[str, Any], clock: dict[str, Any] | None = CLOCK) -> ColdSection:
    tail = {"count": 40} if clock is None else {"count": 40, "clock": clock}
    return ColdSection.model_validate(
        {"populations": {"exact": {"count": 10}, "tail": tail}, "topics": TOPICS, "calendar": calendar}
    )


def calendar_of(section: ColdSection, seed: int) -> Calendar:
    assert section.calendar is not None
    return Calendar(
        section.calendar,
        section.calendar_topics,
        clocks(section, DIRECTORY, seed),
        stakers(section, DIRECTORY),
        seed,
        1,
    )


def rows(publications: Publications) -> list[Duty]:
    return sorted(Duty(*row) for row in zip(*(column.tolist() for column in publications), strict=True))


@pytest.mark.parametrize("seed", [1, 2**40 + 5])
def test_the_calendar_agrees_with_its_twin(seed: int) -> None:
    section = section_with(CALENDAR)
    calendar, twin = calendar_of(section, seed), CalendarTwin(section, DIRECTORY, seed)
    assert (calendar.owners() + 1).tolist() == twin.owner
    for slot in (0, 1, 2, 3, 4, 7, 8, 9, 41):
        assert rows(calendar.publications(slot)) == twin.slot(slot)


@pytest.mark.parametrize("kind", ["blocks", "attestations", "aggregates", "sync_messages", "contributions"])
def test_a_calendar_of_one_kind_agrees_too(kind: str) -> None:
    section = section_with({**{key: CALENDAR[key] for key in ("slots_per_epoch", "validators", kind)}}, clock=None)
    calendar, twin = calendar_of(section, 3), CalendarTwin(section, DIRECTORY, 3)
    for slot in (0, 5):
        assert rows(calendar.publications(slot)) == twin.slot(slot)


def test_validators_may_be_those_of_some_populations_only() -> None:
    validators = {"count": 77, "populations": ["exact"]}
    section = section_with({**CALENDAR, "validators": validators})
    calendar, twin = calendar_of(section, 3), CalendarTwin(section, DIRECTORY, 3)
    assert (calendar.owners() + 1).tolist() == twin.owner
    assert set(calendar.owners().tolist()) <= {0, 1, *range(22, 30)}
    assert len(set(calendar.owners().tolist())) > 2


def test_every_validator_attests_once_an_epoch() -> None:
    calendar = calendar_of(section_with(CALENDAR), 4)
    for epoch in (0, 1, 5):
        committees = [member for slot in range(epoch * 4, epoch * 4 + 4) for member in calendar.committees(slot)]
        assert sorted(np.concatenate(committees).tolist()) == list(range(200))
        sizes = [len(committee) for committee in committees]
        assert max(sizes) - min(sizes) <= 1


def test_a_slot_of_a_million_validators_has_the_mainnets_numbers() -> None:
    """31,250 attestations over 64 subnets; aggregators of a committee are binomial, (488 or 489) times 1 / 30."""
    section = ColdSection.model_validate(
        {
            "populations": {"tail": {"count": 1000}},
            "topics": [
                1,
                {"name": "subnets", "first": 100, "count": 64},
                {"name": "columns", "first": 200, "count": 128},
            ],
            "calendar": {
                "validators": {"count": 1_000_000},
                "blocks": {"topic": 1},
                "columns": {"topics": "columns"},
                "attestations": {"topics": "subnets"},
                "aggregates": {"topic": 1},
            },
        }
    )
    assert section.calendar is not None
    idle = Clocks(np.zeros(1000, dtype=np.int64), np.zeros(1000, dtype=np.int64))
    calendar = Calendar(section.calendar, section.calendar_topics, idle, np.ones(1000, dtype=np.bool_), 1, 0)
    published = calendar.publications(33)
    attestations = published.taken(published.time == 33 * SLOT + SLOT // 3)
    assert len(attestations.time) == 31_250
    assert (np.bincount(attestations.topic)[1:65] >= 488).all()
    aggregates = int((published.time == 33 * SLOT + SLOT * 2 // 3).sum())
    expected = 31_250 / 30
    assert abs(aggregates - expected) < 4.5 * np.sqrt(expected)
    assert (published.time == 33 * SLOT).sum() == 1 + 128
    assert (np.bincount(calendar.owners()) == 1000).all()


@settings(max_examples=200, deadline=None)
@given(
    shown=st.integers(0, 10**15),
    offset=st.integers(-(10**12), 10**12),
    drift=st.integers(-1_000_000, 1_000_000),
)
def test_a_clock_shows_what_it_should_at_the_moment_it_should(shown: int, offset: int, drift: int) -> None:
    when = int(moment(shown, np.array([offset]), np.array([drift]))[0])
    if shown >= offset:
        assert abs(when + offset + when * drift / 10**9 - shown) < 2
    else:
        assert when == 0


def test_no_slot_publishes_before_its_earliest_moment() -> None:
    calendar = calendar_of(section_with(CALENDAR), 6)
    for slot in range(0, 200, 13):
        assert calendar.publications(slot).time.min() >= calendar.earliest(slot)
        assert calendar.earliest(slot + 1) > calendar.earliest(slot)


@pytest.mark.parametrize(
    "ends", [[NEVER], [SLOT // 3, 3 * SLOT, 3 * SLOT + 1, NEVER], [*range(0, 6 * SLOT, SLOT // 7), NEVER]]
)
def test_a_plan_with_a_calendar_is_the_same_however_it_is_taken(ends: list[int]) -> None:
    stop = 5 * SLOT + 3 * NS_PER_S
    section, seed = section_with(CALENDAR), 9
    twin = CalendarTwin(section, DIRECTORY, seed)
    expected = sorted(duty for slot in range(7) for duty in twin.slot(slot) if duty.time < stop)
    scenario = Scenario(section, DIRECTORY, seed, stop)
    plan = PublicationPlan(scenario)
    taken: list[Duty] = []
    ids: list[int] = []
    for end in ends:
        following = plan.next_time()
        assert following == (expected[len(taken)].time if len(taken) < len(expected) else NEVER)
        planned = plan.take(end)
        ids += planned.message_id.tolist()
        taken += [Duty(*row) for row in zip(*(column.tolist() for column in planned.published), strict=True)]
    assert [duty.time for duty in taken] == [duty.time for duty in expected]
    assert sorted(taken) == expected
    assert len(set(ids)) == len(ids)
    assert sorted(ids) == sorted(PublicationPlan(scenario).take(NEVER).message_id.tolist())


def test_a_calendar_in_which_nobody_has_validators_is_refused() -> None:
    section = section_with({"validators": {"count": 3, "per_identity": 0}, "blocks": {"topic": 1}})
    with pytest.raises(UserError, match=r"cold\.calendar\.validators\.per_identity"):
        calendar_of(section, 1)


def test_clocks_are_drawn_for_each_identity() -> None:
    section = section_with(CALENDAR)
    drawn = clocks(section, DIRECTORY, 5)
    exact = [0, 1, *range(22, 30)]
    assert not drawn.offset[exact].any()
    clock = section.populations["tail"].clock
    assert clock is not None
    part = draw_clocks(clock.offset, clock.drift, 5, 1 + 30, 20)
    assert np.array_equal(drawn.offset[30:], part.offset)
    assert np.array_equal(drawn.drift[30:], part.drift)
    assert len(np.unique(np.delete(drawn.offset, exact))) == 40


def test_blocks_of_a_calendar_spread_through_the_tail() -> None:
    engine = engine_of(
        60,
        calendar={
            "slot": "2 s",
            "genesis": "500 ms",
            "validators": {"count": 300},
            "blocks": {"topic": 1, "delay": "100 ms", "size": "100 KiB"},
        },
    )
    engine.run_until(10 * NS_PER_S)
    table = engine.message_table()
    assert table["publish_time_ns"].tolist() == [600 * NS_PER_MS + slot * 2 * NS_PER_S for slot in range(5)]
    assert (table["delivered"] == 59).all()
    assert (table["size"] == 102_400).all()
