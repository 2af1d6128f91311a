"""Some identities ask in the place of all: they do what they would do, and what they tell is right in the mean."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from bridge.errors import UserError
from bridge.rng import draw_u64_array
from bridge.simtime import NS_PER_S
from cold.engine import ColdEngine
from cold.purposes import ColdPurpose
from cold.representatives import NoMessages
from cold.request_askers import Representatives, choose_representatives
from cold.request_layout import ASKED, LATENCY_SUM, REQUEST_COUNTS, WEIGHT_SHIFT
from cold.request_results import ESTIMATE_TABLE_TYPE, estimate, request_table
from cold.scenario import Scenario
from tests.cold.divided import DividedTail, odd_cuts
from tests.cold.hot_hosts import run_beside
from tests.cold.networks import STOP, directory_of, engine_of, publication, section_of, three_nodes
from tests.cold.requests_twin import Load, RequestsTwin
from tests.cold.test_boundary import COUNT, HOT
from tests.cold.test_requests import BLOCKS, CASES, CHURN, PING, STATUS, agree
from tests.cold.test_requests_boundary import KEYS, REQUEST, Hosts

END = 6 * NS_PER_S


def sampled(representatives: int, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """The same protocols, each with so many representatives."""
    return [{**each, "resolution": {"level": "sampled", "representatives": representatives}} for each in requests]


def chosen_by(engine: ColdEngine) -> Representatives:
    return engine._representatives


def twin_of(scenario: Scenario, loss: float, engine: ColdEngine) -> RequestsTwin:
    """A twin that draws the same load."""
    twin = RequestsTwin(scenario, three_nodes(loss), chosen_by(engine))
    if len(engine._state.load) > 1:
        twin.unexecuted = Load(engine._state._asdict())
    return twin


HEAVY = {**BLOCKS, "interval": {"kind": "exponential", "mean": "400 ms"}}
CHURNING = CASES["roles, churn and crashes"][2]
SAMPLED: dict[str, tuple[int, float, dict[str, Any]]] = {
    "requests alone": (40, 0.0, {"overlay": {"degree": 8}, "requests": sampled(8, PING, BLOCKS)}),
    "beside gossip, with loss, and one of them exact": (
        60,
        0.15,
        {
            "overlay": {"degree": 14},
            "gossip": {"idontwant_size": 1000},
            "publications": [publication(count=20, interval="300 ms", size=20_000)],
            "requests": [*sampled(20, HEAVY), PING],
        },
    ),
    "roles, churn and crashes": (
        80,
        0.05,
        {
            **CASES["roles, churn and crashes"][2],
            "requests": sampled(24, *CASES["roles, churn and crashes"][2]["requests"]),
        },
    ),
}


@pytest.mark.parametrize("case", SAMPLED)
def test_the_kernels_agree_with_the_twin(case: str) -> None:
    count, loss, keys = SAMPLED[case]
    scenario = Scenario(section_of(count, **keys), directory_of(count), 11, STOP)
    engine = ColdEngine(scenario, three_nodes(loss))
    twin = twin_of(scenario, loss, engine)
    assert len(chosen_by(engine).host) > 0
    twin.run(END)
    engine.run_until(END)
    agree(twin, engine)
    assert engine.arrival_digest() == twin.arrival_digest()
    assert case != "beside gossip, with loss, and one of them exact" or twin.unexecuted is not None


@pytest.mark.parametrize("case", CASES)
def test_with_as_many_representatives_as_askers_everything_is_exact(case: str) -> None:
    count, loss, keys = CASES[case]
    exact = engine_of(count, 7, loss, **keys)
    same = engine_of(count, 7, loss, **{**keys, "requests": sampled(max(count, 2), *keys["requests"])})
    for engine in (exact, same):
        engine.run_until(END)
    mine, theirs = same.partial_results(), exact.partial_results()
    for name in mine._fields:
        assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name
    assert same.counters() == exact.counters()
    names = [request["name"] for request in keys["requests"]]
    assert request_table(mine, names).dtype.names == request_table(theirs, names).dtype.names


@pytest.mark.parametrize("shards", [2, 3])
def test_estimates_are_the_same_on_any_number_of_shards(shards: int) -> None:
    """Beside hot hosts, whose packets meet representatives and others."""
    directory = directory_of(COUNT, HOT)
    keys = {**KEYS, "requests": sampled(12, *KEYS["requests"])}
    arguments = (Scenario(section_of(COUNT, **keys), directory, 3, STOP), three_nodes(0.1))
    engine = ColdEngine(*arguments)
    whole = run_beside(engine, Hosts(3), END)
    divided = DividedTail(*arguments, odd_cuts(directory, shards))
    assert run_beside(divided, Hosts(3), END) == whole
    assert divided.counters() == engine.counters()
    mine, theirs = divided.results(), engine.partial_results()
    for name in mine._fields:
        assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name
    table = request_table(mine, ["ping", "blocks"])
    assert table.dtype == ESTIMATE_TABLE_TYPE
    assert table.tolist() == request_table(theirs, ["ping", "blocks"]).tolist()


@pytest.mark.parametrize(("seed", "loss"), [(1, 0.0), (2, 0.1)])
def test_the_kernels_agree_with_the_twin_about_hot_hosts(seed: int, loss: float) -> None:
    keys = {**KEYS, "requests": sampled(8, *KEYS["requests"])}
    scenario = Scenario(section_of(COUNT, **keys), directory_of(COUNT, HOT), seed, STOP)
    engine, hosts = ColdEngine(scenario, three_nodes(loss)), Hosts(seed)
    twin = twin_of(scenario, loss, engine)
    run_beside(engine, hosts, END)
    for time, source, event, destination, name, item, _ in hosts.said:
        twin.deliver(time, source, event, destination, name, [item])
    twin.run(END)
    agree(twin, engine)
    # Who has met a hot host asks by itself, and counts as one.
    assert twin.counts[0]["asked"] > 50
    assert sum(tally["asked"] for tally in twin.tallies.values()) > 50


def test_hot_hosts_are_asked_as_often_as_where_everybody_asks() -> None:
    asked = []
    for requests in (KEYS["requests"], sampled(8, *KEYS["requests"])):
        counts = []
        for seed in range(1, 9):
            engine = engine_of(COUNT, seed, hot=HOT, **{**KEYS, "requests": requests})
            packets = run_beside(engine, Hosts(seed), END)
            counts.append(sum(each.kind == REQUEST for each in packets))
        asked.append(counts)
    exact, coarse = (np.array(counts) for counts in asked)
    assert exact.mean() > 100
    assert coarse.mean() == pytest.approx(exact.mean(), abs=4 * np.sqrt((exact.var() + coarse.var()) / 8) + 1)


def test_every_stratum_has_representatives_who_stand_for_all_of_it() -> None:
    directory = directory_of(500)
    section = section_of(500, requests=sampled(60, PING))
    asks = np.ones(500, dtype=bool)
    asks[::7] = False
    chosen = choose_representatives(section.requests, [asks], directory, 5)
    assert asks[chosen.host].all()
    assert np.all(np.diff(chosen.host.astype(np.int64)) > 0)
    assert len(chosen.host) == pytest.approx(60, abs=6)
    place = np.stack([directory.node, directory.uplink_bps], axis=1)
    for number in np.unique(chosen.stratum[:, 2]):
        mine = chosen.stratum[:, 2] == number
        (like,) = np.unique(place[chosen.host[mine]], axis=0)
        askers = np.count_nonzero(asks & (place == like).all(axis=1))
        assert mine.sum() >= 2
        assert set(chosen.stratum[mine, 1].tolist()) == {askers}
        assert chosen.weight[mine].sum() / (1 << WEIGHT_SHIFT) == pytest.approx(askers, abs=1e-3)
        # They have the smallest keys.
        keys = draw_u64_array(5, np.flatnonzero(asks & (place == like).all(axis=1)), ColdPurpose.ASKER, 0)
        own = draw_u64_array(5, chosen.host[mine], ColdPurpose.ASKER, 0)
        assert sorted(own.tolist()) == sorted(keys.tolist())[: mine.sum()]


def test_a_stratum_of_one_is_its_own_representative() -> None:
    chosen = choose_representatives(
        section_of(9, requests=sampled(2, PING)).requests, [np.ones(9, dtype=bool)], directory_of(9), 1
    )
    sizes = {tuple(row) for row in chosen.stratum[:, 1:].tolist()}
    assert sum(size for size, _ in sizes) == 9
    for size, number in sizes:
        assert np.count_nonzero(chosen.stratum[:, 2] == number) == min(size, 2)


def test_estimates_and_their_errors_are_right_in_the_mean() -> None:
    """Counts that depend on the place: the mean over seeds is the sum over all, and the errors are the deviation."""
    directory = directory_of(300)
    requests = section_of(300, requests=sampled(40, PING)).requests
    draw = np.random.default_rng(1)
    counts = np.zeros((300, len(REQUEST_COUNTS)), dtype=np.int64)
    counts[:, ASKED] = draw.poisson(20, 300) + 30 * directory.node + directory.uplink_bps // 10**8
    counts[:, LATENCY_SUM] = draw.exponential(1e6, 300)
    totals, errors = [], []
    for seed in range(600):
        chosen = choose_representatives(requests, [np.ones(300, dtype=bool)], directory, seed)
        total, error, _ = estimate(np.zeros(len(REQUEST_COUNTS), np.int64), counts[chosen.host], chosen.stratum)
        totals.append([total[ASKED], total[LATENCY_SUM]])
        errors.append([error[ASKED], error[LATENCY_SUM]])
    true = counts[:, [ASKED, LATENCY_SUM]].sum(axis=0)
    spread = np.std(totals, axis=0)
    assert np.all(np.abs(np.mean(totals, axis=0) - true) < 4 * spread / np.sqrt(600))
    assert np.sqrt(np.mean(np.square(errors), axis=0)) == pytest.approx(spread, rel=0.1)
    # Strata take out what is a matter of place.
    assert spread[0] < 0.7 * 300 * counts[:, ASKED].std() / np.sqrt(40)


def test_who_joins_asks_everybody_also_where_some_ask_in_the_place_of_all() -> None:
    keys: dict[str, Any] = {"populations": {"tail": {"count": 300, "churn": CHURN}}, "overlay": {"degree": 10}}
    (exact,), (coarse,) = (
        request_table(ran(300, 20, requests=requests, **keys), ["status"])
        for requests in ([STATUS], sampled(80, STATUS))
    )
    assert coarse["executed"] < 90
    for name in ("asked", "answered"):
        assert 0 < coarse[f"{name}_error"] < 0.3 * exact[name]
        assert coarse[name] == pytest.approx(int(exact[name]), abs=4 * int(coarse[f"{name}_error"]))


def test_a_limit_is_of_each_pair_whoever_else_asks() -> None:
    """Four peers, and four requests a second to all: each pair is allowed half of what it asks."""
    ask = {**PING, "interval": "250 ms", "limit": {"tokens": 1, "period": "2 s"}}
    (exact,), (coarse,) = (
        request_table(ran(200, 20, requests=requests, overlay={"degree": 4}), ["ping"])
        for requests in ([ask], sampled(50, ask))
    )
    for name in ("asked", "answered", "refused", "limited"):
        assert coarse[name] == pytest.approx(int(exact[name]), abs=max(4 * int(coarse[f"{name}_error"]), 1))
    assert exact["refused"] > 0.3 * exact["asked"]


def ran(count: int, seconds: int, **keys: Any) -> Any:
    """Results of an engine after so many seconds."""
    engine = engine_of(count, 5, **keys)
    engine.run_until(seconds * NS_PER_S)
    return engine.partial_results()


def test_a_copy_of_an_engine_asks_what_the_engine_asks() -> None:
    keys: dict[str, Any] = {
        "overlay": {"degree": 8},
        "requests": [*sampled(10, HEAVY, PING), {**STATUS, "interval": "1 s"}],
    }
    engine = engine_of(60, 3, **keys)
    engine.run_until(2 * NS_PER_S)
    copy, again = engine.fork(NoMessages()), engine.fork(NoMessages())
    for one in (copy, engine):
        one.run_until(4 * NS_PER_S)
    again.renew(engine, NoMessages(), np.arange(60))
    for one in (again, engine, copy):
        one.run_until(END)
    for one in (copy, again):
        for name in engine.partial_results()._fields:
            assert np.array_equal(getattr(one.partial_results(), name), getattr(engine.partial_results(), name)), name


def test_what_never_asks_takes_no_memory() -> None:
    """Of small requests, which hold nobody up: the times of representatives, and no rates."""
    exact, coarse = (engine_of(4000, requests=requests) for requests in ([PING], sampled(100, PING)))
    assert exact._asking is not None
    assert coarse._asking is not None
    assert exact._asking.bytes_taken() == 8 * 4000
    assert coarse._asking.bytes_taken() < 16 * 110
    assert len(coarse._state.load) == 1


@pytest.mark.parametrize(
    ("resolution", "message"),
    [
        ({"level": "sampled", "representatives": 1}, "representatives"),
        ({"level": "sampled", "representatives": 65537}, "representatives"),
        ({"level": "mean-field"}, "level"),
        ({"representatives": 50}, "representatives belong to level: sampled"),
        ({"level": "sampled", "share": 0.1}, "share"),
    ],
)
def test_what_cannot_be_meant_is_refused(resolution: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        section_of(10, requests=[{**PING, "resolution": resolution}])


def test_more_than_links_carry_is_refused() -> None:
    """Two megabytes a second from each, over 20 Mbit/s: where queues grow for ever an expectation tells nothing."""
    ask = {**PING, "name": "blocks", "interval": "100 ms", "chunks": 10, "chunk_size": "50 KB"}
    with pytest.raises(UserError, match=r"times what a link carries") as raised:
        engine_of(100, requests=[PING, *sampled(10, ask)])
    assert raised.value.where == "cold.requests[1].resolution"
