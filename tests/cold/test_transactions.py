"""Transactions: the kernels and the slow twin agree bit for bit, and do what clients do."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.engine import ColdEngine
from cold.results import merge
from cold.scenario import Scenario
from cold.transaction_kernels import TRANSACTION_COUNTS
from cold.transaction_results import load_summary, transaction_table
from tests.cold.networks import STOP, directory_of, publication, section_of, three_nodes
from tests.cold.transactions_twin import TransactionsTwin

END = 9 * NS_PER_S
CHURN = {"sessions": {"kind": "exponential", "mean": "3 s"}, "absences": ["300 ms", "2 s"]}
PUBLICATIONS = [publication(count=10, interval="300 ms", size=20_000)]
CASES: dict[str, tuple[int, float, dict[str, Any]]] = {
    "pushed and announced": (60, 0.0, {"transactions": {"rate": 20, "degree": 20}}),
    "large ones and blobs, beside gossip": (
        50,
        0.1,
        {
            "publications": PUBLICATIONS,
            "transactions": {
                "interval": ["1 ms", "90 ms"],
                "size": ["100 B", "9 KB", "120 KB"],
                "blob_share": 0.3,
                "degree": 12,
                "announce_interval": "70 ms",
                "validation_delay": ["0 ms", "3 ms", "40 ms"],
                "fetch_delay": "200 ms",
                "lifetime": "3 s",
            },
        },
    ),
    "identities that come and go, of which some are silent": (
        70,
        0.2,
        {
            "populations": {"tail": {"count": 70, "churn": CHURN}},
            "publications": PUBLICATIONS,
            "failures": [
                {"kind": "silence", "time": "1 s", "share": 0.4},
                {"kind": "partition", "time": "3 s", "until": "5 s", "regions": [1]},
                {"kind": "degradation", "time": "2 s", "latency": "30 ms", "loss": 0.2},
            ],
            "transactions": {
                "rate": 10,
                "size": ["100 B", "300 B", "6 KB"],
                "degree": 15,
                "announce_interval": "25 ms",
                "fetch_delay": "100 ms",
                "fetch_timeout": "300 ms",
                "validation_delay": ["0 ms", "10 ms"],
                "lifetime": "2 s",
            },
        },
    ),
    "more peers than a word has bits": (90, 0.0, {"transactions": {"degree": 80, "rate": 2}}),
    "a burst of more than fit a packet": (
        12,
        0.0,
        {
            "populations": {"tail": {"count": 12, "churn": CHURN}},
            "transactions": {
                "degree": 6,
                "announce_interval": "900 ms",
                "lifetime": "5 s",
                "listed": [{"time": "1 s", "size": 200, "origin": number % 3} for number in range(600)],
            },
        },
    ),
    "two identities": (2, 0.0, {"transactions": {"rate": 5, "size": "5 KB"}}),
    "one identity": (1, 0.0, {"transactions": {"rate": 5}}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_kernels_agree_with_the_twin(case: str) -> None:
    count, loss, keys = CASES[case]
    arguments = (Scenario(section_of(count, **keys), directory_of(count), 11, STOP), three_nodes(loss))
    twin, engine = TransactionsTwin(*arguments), ColdEngine(*arguments)
    twin.run(END)
    engine.run_until(END)
    results = merge([engine.partial_results()])
    assert [
        [each[name] for name in TRANSACTION_COUNTS] for each in twin.spread.values()
    ] == results.transactions.tolist()
    assert {name: twin.counters[name] for name in engine.counters()} == engine.counters()
    assert engine._state.transaction_load.tolist() == twin.load[twin.hot :]
    table = transaction_table(results)
    for row in table:
        number = int(row["number"])
        arrivals = {v: twin.knows[v][number].arrival for v in range(count) if number in twin.knows[v]}
        delays = [time - row["time_ns"] for v, time in arrivals.items() if time is not None and v != row["origin"]]
        assert row["delivered"] == len(delays)
        assert row["max_ns"] == max(delays, default=-1)
    assert table["delivered"].sum() > 0 or count == 1


def run(count: int, *, end: int = END, loss: float = 0.0, **keys: Any) -> npt.NDArray[np.void]:
    engine = ColdEngine(Scenario(section_of(count, **keys), directory_of(count), 3, STOP), three_nodes(loss))
    engine.run_until(end)
    return transaction_table(merge([engine.partial_results()]))


def test_what_may_not_be_pushed_is_asked_for_after_a_wait() -> None:
    listed = [
        {"time": "1 s", "size": 4096},
        {"time": "1 s", "size": 4097},
        {"time": "1 s", "size": 100, "blobs": True},
    ]
    small, large, blobs = run(60, transactions={"listed": listed, "degree": 20})
    assert (small["delivered"], large["delivered"], blobs["delivered"]) == (59, 59, 59)
    assert small["pushed"] > 0
    assert small["p50_ns"] < 500 * NS_PER_MS
    for row in (large, blobs):
        assert row["pushed"] == row["got_pushed"] == row["duplicates"] == 0
        assert row["asked"] >= row["served"] == 59
        assert row["p50_ns"] > 500 * NS_PER_MS


def test_who_gets_no_answer_asks_the_next_one() -> None:
    rules = {"listed": [{"time": "2 s", "size": 9000}], "degree": 20, "fetch_timeout": "400 ms"}
    (row,) = run(60, transactions=rules, failures=[{"kind": "silence", "time": "1 s", "share": 0.5}])
    # Silent ones announce nothing, so nobody asks them.
    assert (row["delivered"], row["timeouts"]) == (59, 0)
    # After the origin's peers have it and have announced it to the others.
    (row,) = run(60, transactions=rules, failures=[{"kind": "silence", "time": "2900 ms", "share": 0.9}])
    assert row["timeouts"] > 0
    assert row["asked"] >= row["served"] + row["timeouts"]
    assert row["delivered"] > 20


def test_announcements_that_wait_for_each_other_share_packets() -> None:
    rules = {"rate": 50, "size": "300 B", "degree": 20, "lifetime": "3 s"}
    loads = []
    for interval in ("0 s", "200 ms"):
        section = section_of(60, transactions=rules | {"announce_interval": interval})
        engine = ColdEngine(Scenario(section, directory_of(60), 3, STOP), three_nodes())
        engine.run_until(END)
        results = merge([engine.partial_results()])
        assert (transaction_table(results)["delivered"][:300] == 59).all()
        loads.append(load_summary(results)["sent"]["mean"])
    assert loads[1] < 0.9 * loads[0]


def test_nothing_is_told_after_the_lifetime() -> None:
    (row,) = run(60, transactions={"listed": [{"time": "1 s", "size": 9000}], "lifetime": "520 ms", "degree": 20})
    assert 0 < row["delivered"] < 59
    assert row["max_ns"] < 600 * NS_PER_MS
    assert row["late"] > 0


def test_who_comes_is_told_of_what_is_in_the_pools() -> None:
    crash = [{"kind": "crash", "time": "1 s", "until": "4 s", "share": 0.5}]
    (row,) = run(
        60, transactions={"listed": [{"time": "1500 ms", "size": 200, "origin": 1}], "degree": 20}, failures=crash
    )
    if row["unsubmitted"]:
        (row,) = run(
            60, transactions={"listed": [{"time": "1500 ms", "size": 200, "origin": 2}], "degree": 20}, failures=crash
        )
    assert row["delivered"] == 59
    assert row["max_ns"] > 2 * NS_PER_S


def test_transactions_are_what_the_configuration_says() -> None:
    rules = {"rate": 200, "size": ["1 B", "9 B"], "blob_share": 0.25, "blob_size": "1 MB"}
    table = run(40, end=1, transactions=rules)
    assert (np.diff(table["time_ns"]) >= 0).all()
    assert set(table["size"][table["blobs"]]) == {1_000_000}
    assert set(table["size"][~table["blobs"]]) <= set(range(1, 10))
    assert 0.2 < table["blobs"].mean() < 0.3
    assert set(table["origin"]) == set(range(40))
    clients = {"a": {"share": 1}, "b": {"share": 1}}
    named = run(40, end=1, transactions={"rate": 9, "origins": {"clients": ["a"]}}, clients=clients)
    assert 1 < len(set(named["origin"])) < 40
