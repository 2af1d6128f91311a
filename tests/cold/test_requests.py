"""Requests and responses: the kernels agree with the slow twin bit for bit, and do what they are configured to."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.delay_layout import EXACT, SUB_BITS
from cold.engine import ColdEngine
from cold.request_kernels import copy_meters, drop_full_meters, meter_key, meter_place
from cold.request_layout import ASKS_SHIFT, COMMON_ROLES, METER_COLUMNS, METER_FULL_AT, METER_KEY, REQUEST_COUNTS
from cold.request_results import request_table
from cold.requests import request_arrays, roles_of
from cold.scenario import Scenario
from tests.cold.networks import STOP, directory_of, engine_of, publication, section_of, three_nodes
from tests.cold.requests_twin import RequestsTwin

END = 9 * NS_PER_S
PING: dict[str, Any] = {
    "name": "ping",
    "interval": {"kind": "exponential", "mean": "700 ms"},
    "size": 8,
    "chunk_size": 8,
    "timeout": "2 s",
}
BLOCKS: dict[str, Any] = {
    "name": "blocks_by_range",
    "interval": ["500 ms", "3 s"],
    "size": [24, 3000],
    "chunks": [0, 3, 9],
    "chunk_size": {"kind": "lognormal", "median": "20 KB", "sigma": 1, "maximum": "200 KB"},
    "service": {"kind": "mixture", "of": [{"share": 1, "of": "0 ms"}, {"share": 1, "of": ["1 ms", "70 ms"]}]},
    "timeout": "600 ms",
    "retries": 2,
    "retry_delay": "100 ms",
    "limit": {"tokens": 9, "period": "3 s"},
}
STATUS: dict[str, Any] = {
    "name": "status",
    "on_join": True,
    "size": 92,
    "chunk_size": 92,
    "timeout": "1 s",
    "retries": 1,
}
CHURN: dict[str, Any] = {
    "sessions": {"kind": "exponential", "mean": "6 s"},
    "absences": ["500 ms", "2 s"],
    "notice": 0.5,
    "detection": "1500 ms",
}
CASES: dict[str, tuple[int, float, dict[str, Any]]] = {
    "requests alone": (40, 0.0, {"overlay": {"degree": 8}, "requests": [PING, BLOCKS]}),
    "beside gossip, with loss": (
        60,
        0.15,
        {
            "overlay": {"degree": 14},
            "publications": [publication(count=20, interval="300 ms", size=20_000)],
            "requests": [BLOCKS, {**PING, "retries": 3, "timeout": "50 ms"}],
        },
    ),
    "heavy loss": (30, 0.7, {"overlay": {"degree": 6}, "requests": [PING, {**BLOCKS, "timeout": "5 s"}]}),
    "roles, churn and crashes": (
        80,
        0.05,
        {
            "populations": {"tail": {"count": 80, "churn": CHURN}},
            "overlay": {"degree": 16},
            "clients": {"one": {"share": 2}, "other": {"share": 1}},
            "failures": [{"kind": "crash", "time": "3 s", "until": "6 s", "share": 0.3, "regions": [0, 1]}],
            "requests": [
                STATUS,
                {**PING, "servers": {"clients": ["other"]}},
                {**BLOCKS, "askers": {"clients": ["one"]}, "servers": {"populations": ["tail"]}},
                {**STATUS, "name": "metadata", "interval": "900 ms", "service": "10 ms", "retry_delay": "1 ms"},
            ],
        },
    ),
    "a partition and degraded links": (
        50,
        0.02,
        {
            "overlay": {"degree": 10},
            "failures": [
                {"kind": "partition", "time": "2 s", "until": "5 s", "regions": [1], "detection": "1 s"},
                {"kind": "degradation", "time": "4 s", "until": "7 s", "regions": [0], "latency": "70 ms", "loss": 0.3},
            ],
            "publications": [publication(count=16, interval="450 ms")],
            "requests": [PING, BLOCKS],
        },
    ),
    "nobody to ask": (1, 0.0, {"requests": [PING]}),
}


def bucket_of(latency: int) -> int:
    shift = 0
    while latency >> shift >= EXACT:
        shift += 1
    return (shift << SUB_BITS) + (latency >> shift)


@pytest.mark.parametrize("case", CASES)
def test_the_kernels_agree_with_the_twin(case: str) -> None:
    count, loss, keys = CASES[case]
    arguments = (Scenario(section_of(count, **keys), directory_of(count), 11, STOP), three_nodes(loss))
    twin, engine = RequestsTwin(*arguments), ColdEngine(*arguments)
    twin.run(END)
    engine.run_until(END)
    agree(twin, engine)
    assert engine.arrival_digest() == twin.arrival_digest()
    assert np.array_equal(twin.mesh_degrees(), engine.mesh_degrees())


def agree(twin: RequestsTwin, engine: ColdEngine) -> None:
    """Compare all that requests have come to."""
    assert {name: twin.counters[name] for name in engine.counters()} == engine.counters()
    results = engine.partial_results()
    for row, counts in zip(results.requests.tolist(), (*twin.counts, *twin.tallies.values()), strict=True):
        assert dict(zip(REQUEST_COUNTS, row, strict=True)) == {name: counts[name] for name in REQUEST_COUNTS}
    for protocol, latencies in enumerate(twin.latencies):
        histogram: Counter[int] = Counter()
        for latency, weight in latencies:
            histogram[bucket_of(latency)] += weight
        mine = results.request_latency[results.request_latency[:, 0] == protocol]
        assert mine[:, 1:].tolist() == [[bucket, histogram[bucket]] for bucket in sorted(histogram)]


def test_every_request_comes_to_one_end() -> None:
    keys = CASES["roles, churn and crashes"][2]
    engine = engine_of(80, loss=0.05, **keys)
    for end in (END, 2 * END):
        engine.run_until(end)
    table = request_table(engine.partial_results(), [request["name"] for request in keys["requests"]])
    waiting = 0
    for row in table:
        ended = sum(int(row[name]) for name in ("answered", "failed", "abandoned", "unasked"))
        waiting += int(row["asked"]) - ended
        assert row["answered"] > 100
        assert row["asked"] >= ended
        assert 0 < row["p50_ns"] <= row["p95_ns"] <= row["p99_ns"]
    assert waiting < 80
    assert table["abandoned"].sum() > 0
    assert table["refused"].sum() > 0
    assert table["timeouts"].sum() > 0
    assert table["limited"].sum() >= table["refused"].sum()


def test_a_server_answers_a_peer_no_faster_than_its_limit() -> None:
    """Two identities: each is the other's only peer, asks four times a second, and gets one answer a second."""
    ask = {**PING, "interval": "250 ms", "limit": {"tokens": 4, "period": "4 s"}}
    engine = engine_of(2, requests=[ask])
    engine.run_until(41 * NS_PER_S)
    (row,) = request_table(engine.partial_results(), ["ping"])
    assert row["asked"] == pytest.approx(2 * 41 * 4, abs=2)
    assert row["served"] == pytest.approx(2 * (41 + 4), abs=3)
    assert row["failed"] == row["refused"]
    assert row["answered"] + row["refused"] == pytest.approx(row["asked"], abs=2)


@pytest.mark.parametrize(("keys", "entries"), [({}, 1), ({"servers": {"clients": ["other"]}}, 40)])
def test_roles_take_an_entry_for_each_identity_only_where_they_are_not_the_same(
    keys: dict[str, Any], entries: int
) -> None:
    section = section_of(40, clients={"one": {"share": 2}, "other": {"share": 1}}, requests=[{**PING, **keys}])
    kinds = np.arange(40, dtype=np.uint8) % 2
    arrays, _ = request_arrays(section, directory_of(40), kinds, 1)
    assert len(arrays["role"]) == entries
    roles = roles_of(arrays["role"], 40)
    assert np.array_equal(roles & np.uint64(1), kinds if keys else np.ones(40, dtype=np.uint8))
    assert (roles >> np.uint64(ASKS_SHIFT) == 1).all()
    assert int(arrays["request_cursor"][COMMON_ROLES]) == 1 << ASKS_SHIFT | (not keys)


def test_limits_of_many_servers_and_peers_are_spread_over_the_table() -> None:
    """As many keys as half of the rows come to nearly as many places as random ones would."""
    meter = np.zeros((1 << 17, METER_COLUMNS), dtype=np.int64)
    draw = np.random.default_rng(3)
    for askers in (np.arange(60_000), draw.integers(0, 1 << 26, 60_000)):
        keys = [meter_key(number & 4095, int(asker), number % 3) for number, asker in enumerate(askers)]
        assert len(set(keys)) == len(keys)
        places = {meter_place(meter, key) for key in keys}
        assert all(0 <= place < len(meter) for place in places)
        assert len(places) > 0.98 * len(meter) * -np.expm1(-len(keys) / len(meter))


def found(meter: npt.NDArray[np.int64], key: int) -> int | None:
    """When the bucket of a key is full, as whoever looks for it finds it."""
    row = meter_place(meter, key)
    while meter[row, METER_KEY] not in (0, key):
        row = (row + 1) % len(meter)
    return int(meter[row, METER_FULL_AT]) if meter[row, METER_KEY] == key else None


@pytest.mark.parametrize("seed", range(20))
def test_limits_that_have_run_out_are_dropped_and_no_others(seed: int) -> None:
    """In a table that is nearly full searches are long, and go on from its end at its beginning."""
    draw = np.random.default_rng(seed)
    meter = np.zeros((64, METER_COLUMNS), dtype=np.int64)
    kept: dict[int, int] = {}
    for number, asker in enumerate(draw.choice(1 << 20, 60, replace=False)):
        key, full_at = meter_key(number % 7, int(asker), number % 3), int(draw.integers(1, 100))
        row = meter_place(meter, key)
        while meter[row, METER_KEY] != 0:
            row = (row + 1) % len(meter)
        meter[row] = key, full_at
        kept[key] = full_at
    for now in (0, 20, 50, 90, 100):
        dropped = [key for key, full_at in kept.items() if full_at <= now]
        for key in dropped:
            del kept[key]
        assert drop_full_meters(meter, now) == len(kept) == np.count_nonzero(meter[:, METER_KEY])
        assert {key: found(meter, key) for key in kept} == kept
        assert all(found(meter, key) is None for key in dropped)
        longer = np.zeros((128, METER_COLUMNS), dtype=np.int64)
        copy_meters(meter, longer)
        assert {key: found(longer, key) for key in kept} == kept


def test_deadlines_come_in_time_where_nothing_else_happens() -> None:
    """All that is asked is lost; each deadline, of seconds, is an event of its own, whatever the windows."""
    lost = {**STATUS, "on_join": False, "interval": "30 s", "timeout": "4 s", "retries": 2, "retry_delay": "3 s"}
    runs = []
    for window in (NS_PER_MS, 700 * NS_PER_MS, 60 * NS_PER_S):
        engine = engine_of(6, loss=1.0, overlay={"degree": 3}, requests=[lost])
        while (start := engine.next_event_time()) < 60 * NS_PER_S:
            engine.run_until(min(start + window, 60 * NS_PER_S))
        (row,) = request_table(engine.partial_results(), ["status"])
        runs.append(row.tolist())
        # Three attempts, 3 s apart, that take 4 s each.
        assert row["timeouts"] > 2 * row["failed"] > 0
    assert runs[0] == runs[1] == runs[2]


def test_a_response_takes_two_latencies_its_bytes_on_both_links_and_slow_start() -> None:
    """One asks one other, over 20 Mbit/s: every term of the model by hand."""
    size = 100_000
    engine = engine_of(2, requests=[{**PING, "interval": "1 s", "chunk_size": size, "size": 100}])
    engine.run_until(20 * NS_PER_S)
    directory = directory_of(2)
    assert directory.uplink_bps.tolist() == [20_000_000] * 2
    latency = int(three_nodes().latency_ns[directory.node[0], directory.node[1]])
    bytes_ns = 400
    segments = -(-size // 1448)
    wire = size + 52 * segments
    slow_start, window, sent = 0, 10, 10
    while sent < segments and window * 1500 * bytes_ns < 2 * latency:
        slow_start += 2 * latency - window * 1500 * bytes_ns
        window *= 2
        sent += window
    expected = 152 * bytes_ns + 2 * latency + 2 * wire * bytes_ns + slow_start
    (row,) = request_table(engine.partial_results(), ["ping"])
    assert row["answered"] > 30
    assert row["mean_ns"] == pytest.approx(expected, rel=1e-4)


def test_requests_and_gossip_share_the_uplink() -> None:
    """A publisher that is busy with responses publishes later, and the other way round."""
    quiet = engine_of(30, publications=[publication(count=5, size=50_000)])
    asks = [{**PING, "interval": "120 ms", "chunks": 3, "chunk_size": "50 KB", "timeout": "5 s"}]
    busy = engine_of(30, publications=[publication(count=5, size=50_000)], requests=asks)
    alone = engine_of(30, requests=asks)
    for engine in (quiet, busy, alone):
        engine.run_until(6 * NS_PER_S)
    assert busy.message_table()["p50_ns"].mean() > 1.2 * quiet.message_table()["p50_ns"].mean()
    (beside,), (without,) = (request_table(engine.partial_results(), [""]) for engine in (busy, alone))
    assert beside["mean_ns"] > without["mean_ns"] + NS_PER_MS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interval": None}, "nobody ever asks"),
        ({"interval": "10 us"}, "at least a millisecond"),
        ({"chunks": 1025}, "at most 1024"),
        ({"chunk_size": "11 MiB"}, "at most 10485760"),
        ({"size": "70 KB"}, "at most 60000"),
        ({"limit": {"tokens": 0, "period": "1 s"}}, "tokens"),
        ({"limit": {"tokens": 10**6 + 1, "period": "1 s"}}, "tokens"),
        ({"retries": 16}, "retries"),
        ({"timeout": "1 us"}, "timeout"),
        ({"servers": {"populations": ["fish"]}}, r"requests\[0\].servers.populations: there is no fish"),
        ({"askers": {"clients": ["nimbus"]}}, r"requests\[0\].askers.clients: there is no nimbus"),
        ({"interval": None, "on_join": True}, r"requests\[0\].on_join: nobody joins"),
        ({"shape": 1}, "shape"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        section_of(10, requests=[{**PING, **changes}])


def test_two_protocols_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"requests\[1\].name: 'ping' is there twice"):
        section_of(10, requests=[PING, PING])
