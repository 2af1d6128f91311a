"""The wire format of events between identities of two shards, beside one in plain Python."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.batch import EventBatch, EventKind
from cold.blocks import Block, BlockError, Limits
from cold.scenario import Scenario
from cold.state_kernels import HOT_NUMBERS
from tests.cold.blocks_twin import (
    ABOUT_MESSAGES,
    ABOUT_REQUESTS,
    ABOUT_TRANSACTIONS,
    ANNOUNCEMENT,
    GRAFT,
    GREETING,
    IDONTWANT,
    KINDS,
    MESSAGE,
    NOBODY,
    NOT_WANTED,
    PRUNE,
    REQUEST,
    Bundle,
    Copy,
    Event,
    News,
    Told,
    Twin,
    decode,
    encode,
)
from tests.cold.divided import DividedTail
from tests.cold.networks import STOP, directory_of, publication, section_of, three_nodes

LIMITS = Limits(
    topics=3, hosts=1000, protocols=2, transactions=7, first_cold=9, sources=490, destinations=500, not_before=100
)


def read(data: bytes) -> Block:
    """Decode a block that came on a bus."""
    return Block.decode(np.frombuffer(bytearray(data), dtype=np.uint8), LIMITS)


@st.composite
def blocks(draw: st.DrawFn) -> Twin:
    def number(bound: int) -> int:
        return draw(st.integers(0, bound - 1))

    ids = draw(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=6))
    places = st.lists(st.integers(0, len(ids) - 1), unique=True).map(sorted) if ids else st.just([])
    referenced = number(len(ids) + 1)
    bundles, events, news = [], [], []
    for _ in range(number(5) if referenced else 0):
        mark = draw(st.sampled_from([0, NOT_WANTED]))
        copies = [Copy(number(LIMITS.destinations), number(2**40)) for _ in range(1 + number(4))]
        bundles.append(Bundle(number(referenced), number(LIMITS.sources), 0 if mark else number(256), mark, copies))
    for _ in range(number(5)):
        kind = draw(st.sampled_from(KINDS if referenced else sorted(set(KINDS) - set(ABOUT_MESSAGES))))
        reference = number(referenced if kind in ABOUT_MESSAGES else LIMITS.topics)
        if kind in ABOUT_REQUESTS:
            reference = number(2**15) << 5 | number(LIMITS.protocols)
        if kind in ABOUT_TRANSACTIONS:
            reference = number(2**20)
        bounds = {MESSAGE: 256, IDONTWANT: 1} | dict.fromkeys(ABOUT_TRANSACTIONS, LIMITS.transactions)
        auxiliary = number(bounds.get(kind, 2**32))
        if kind in ABOUT_TRANSACTIONS and draw(st.booleans()):
            auxiliary = HOT_NUMBERS + number(HOT_NUMBERS)
        ends = (number(LIMITS.destinations), number(LIMITS.sources))
        events.append(Event(draw(st.integers(LIMITS.not_before, 2**62)), *ends, kind, reference, auxiliary))
    for place in draw(places):
        size = number(50)
        payload = draw(st.binary(min_size=size, max_size=size)) if draw(st.booleans()) else b""
        origin = draw(st.sampled_from([NOBODY, 0, 999]))
        news.append(News(place, number(2**62), origin, number(2**32), size, number(LIMITS.topics), payload))
    told = [
        Told(number(LIMITS.first_cold), 1 + number(2**32 - 1), number(2**63), 1 + number(2**32 - 1), number(2))
        for _ in range(number(4))
    ]
    return Twin(draw(st.integers(100, 2**62)), bundles, events, referenced, ids, news, draw(places), told)


EXAMPLE = Twin(
    start=1500,
    bundles=[Bundle(0, 1, 3, 0, [Copy(2, 500), Copy(4, 700)])],
    events=[Event(3000, 3, 0, GRAFT, 1, 0)],
    referenced=1,
    message_id=[0x0A0000010000002A],
    news=[News(0, 1000, NOBODY, 0x0A000001, 2, 1, b"\xbe\xef")],
    complete=[0],
    told=[Told(0, 7, 1200, 300, 0)],
)
#: As in docs/formats.md.
EXAMPLE_BYTES = bytes.fromhex(
    """
    41475442 0005 0000 00000000000005dc
    00000003 00000001 00000001 00000001 00000001 00000001 00000001 00000002
    000000 000001 03 02  000002 00000001f4  000004 00000002bc
    0000000000000bb8 000003 000000 03 000001 00000000
    0a0000010000002a
    00000000 00000000000003e8 ffffffff 0a000001 00000002 0001 00000002
    00000000
    00000000 00000007 00000000000004b0 0000012c 00
    beef
    """
)


def test_the_example_of_the_documentation_is_encoded_as_it_says() -> None:
    assert encode(EXAMPLE) == EXAMPLE_BYTES
    assert_same(read(EXAMPLE_BYTES), EXAMPLE)


def assert_same(block: Block, twin: Twin) -> None:
    """Whether a block says what another does; rows are as on the wire."""
    words = sum(1 + len(bundle.copies) for bundle in twin.bundles)
    data = encode(twin)
    assert block.rows.tobytes() == data[48 : 48 + len(block.rows)]
    assert (block.start, block.words, block.events) == (twin.start, words, len(twin.events))
    assert len(block.rows) == 8 * words + 22 * len(twin.events)
    assert block.referenced == twin.referenced
    assert block.message_id.tolist() == twin.message_id
    assert block.complete.tolist() == twin.complete
    columns = ("place", "publish_time", "origin", "origin_address", "size", "topic")
    for name in columns:
        expected = [getattr(each, name) for each in twin.news]
        if name == "origin":
            expected = [-1 if each == NOBODY else each for each in expected]
        assert getattr(block, name).tolist() == expected
    for name in Told._fields:
        assert getattr(block, f"told_{name}").tolist() == [getattr(each, name) for each in twin.told]
    hot = {each.auxiliary for each in twin.events if each.kind in ABOUT_TRANSACTIONS and each.kind != GREETING}
    assert block.hot_numbers().tolist() == sorted(number for number in hot if number >= HOT_NUMBERS)
    assert block.payload_length.tolist() == [len(each.payload) for each in twin.news]
    assert block.payload.tobytes() == b"".join(each.payload for each in twin.news)


@settings(deadline=None)
@given(twin=blocks())
def test_what_is_encoded_is_decoded(twin: Twin) -> None:
    data = encode(twin)
    block = read(data)
    assert_same(block, twin)
    assert block.encode() == data
    assert decode(data) == twin


@settings(deadline=None, max_examples=300)
@given(twin=blocks(), position=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_block_with_a_changed_byte_is_refused_or_another_block(twin: Twin, position: int, value: int) -> None:
    data = bytearray(encode(twin))
    data[position % len(data)] = value
    try:
        changed = read(bytes(data))
    except BlockError:
        return
    assert changed.encode() == bytes(data)


@settings(deadline=None)
@given(twin=blocks(), cut=st.integers(0, 10**6))
def test_a_block_of_another_length_is_refused(twin: Twin, cut: int) -> None:
    data = encode(twin)
    for wrong in (data[: cut % len(data)], data + b"\0"):
        with pytest.raises(BlockError, match=r"truncated header|take \d+"):
            read(wrong)


def copy(**changes: int) -> dict[str, Any]:
    first, second = EXAMPLE.bundles[0].copies
    return bundle(copies=[first, second._replace(**changes)])


def bundle(**changes: Any) -> dict[str, Any]:
    return {"bundles": [EXAMPLE.bundles[0]._replace(**changes)]}


def event(**changes: int) -> dict[str, Any]:
    return {"events": [EXAMPLE.events[0], EXAMPLE.events[0]._replace(**changes)]}


def told(**changes: int) -> dict[str, Any]:
    return {"told": [EXAMPLE.told[0]._replace(**changes)]}


def news(**changes: Any) -> dict[str, Any]:
    return {"news": [EXAMPLE.news[0]._replace(**changes)]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": 99}, "byte 8: start is 99, should be 100 or later"),
        ({"referenced": 2}, "byte 28: referenced is 2, should be 1 messages at most"),
        ({"message_id": [5, 5]}, "byte 94: message_id of entry 0 is 5, should be one that is not"),
        (news(place=1), "place of entry 0 is 1, should be one of 1 messages, ascending"),
        ({"news": EXAMPLE.news * 2}, "place of entry 1 is 0, should be one of 1 messages, ascending"),
        (news(publish_time=2**63), "publish_time of entry 0 is -"),
        (news(origin=1000), "origin of entry 0 is 1000, should be one of 1000 hosts"),
        (news(topic=3), "topic of entry 0 is 3, should be one of 3 topics"),
        (news(payload=b"a"), "payload_length of entry 0 is 1, should be 0 or the size"),
        ({"complete": [1]}, "complete of entry 0 is 1, should be one of 1 messages"),
        (told(origin=9), "told_origin of entry 0 is 9, should be one of 9 hot hosts"),
        (told(sequence=0), "told_sequence of entry 0 is 0, should be 1 or more"),
        (told(time=2**63), "told_time of entry 0 is -"),
        (told(size=0), "told_size of entry 0 is 0"),
        (told(blobs=2), "told_blobs of entry 0 is 2, should be 0 or 1"),
        ({"complete": [0, 0]}, "complete of entry 1 is 0, should be one of 1 messages, ascending"),
        (
            copy(destination=500),
            "byte 64: word 2, 0001f400000002bc: the destination should be one of 500",
        ),
        (bundle(source=490), "word 0, .*: the source should be one of 490 identities"),
        (bundle(message=1), "word 0, .*: the message should be one of 1"),
        (bundle(mark=NOT_WANTED), "word 0, .*: an IDONTWANT has no hops"),
        (bundle(copies=[]), "word 0, .*: a bundle should have one copy or more, all of them here"),
        (bundle(mark=1, copies=EXAMPLE.bundles[0].copies[:2]), "word 0, .*: a bundle should have one copy or more"),
        (event(time=99), "byte 94: event 1, 0000000000000063.*: the time should be 100 or later"),
        (event(time=2**63), "event 1, .*: the time should be 100 or later"),
        (event(destination=500), "event 1, .*: the destination"),
        (event(source=490), "event 1, .*: the source"),
        (event(kind=16), "event 1, .*: the kind is unknown"),
        (event(kind=MESSAGE, reference=1), "event 1, .*: the message should be one of 1"),
        (event(kind=MESSAGE, reference=0, auxiliary=256), "event 1, .*: an IDONTWANT has no hops, and a copy has 255"),
        (event(kind=IDONTWANT, reference=0, auxiliary=1), "event 1, .*: an IDONTWANT has no hops"),
        (event(kind=PRUNE, reference=3), "event 1, .*: the reference should be one of 3 topics, or of 20 bits"),
        (event(kind=6, reference=1), "event 1, .*: the message should be one of 1"),
        (event(kind=REQUEST, reference=34), "event 1, .*: the protocol should be one of 2"),
        (event(kind=REQUEST, reference=2**20), "event 1, .*: the reference"),
        (event(kind=ANNOUNCEMENT, reference=2**20), "event 1, .*: the reference"),
        (event(kind=ANNOUNCEMENT, auxiliary=7), "event 1, .*: the transaction should be one of 7"),
    ],
)
def test_a_block_that_does_not_fit_the_experiment_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BlockError, match=message):
        read(encode(EXAMPLE._replace(**changes)))


def test_payloads_that_the_header_does_not_announce_are_refused() -> None:
    wrong = bytearray(EXAMPLE_BYTES)
    wrong[47] = 3
    with pytest.raises(BlockError, match="payload lengths add up to 2, the header says 3"):
        read(bytes(wrong) + b"\0")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [(0, b"x", "magic is"), (5, b"\x02", "version is 2, only 5 is known"), (7, b"\x01", "reserved field is 1")],
)
def test_a_block_of_another_format_is_refused(place: int, value: bytes, message: str) -> None:
    with pytest.raises(BlockError, match=message):
        read(EXAMPLE_BYTES[:place] + value + EXAMPLE_BYTES[place + 1 :])


def test_what_engines_send_is_what_the_format_says() -> None:
    """Blocks of a run, read in plain Python: who, when, and messages told of once, before anything else of them."""
    directory = directory_of(300)
    section = section_of(
        300,
        publications=[publication(count=6, interval="300 ms", size=3000)],
        gossip={"idontwant_size": "1 KiB", "validation_delay": ["0 ms", "40 ms"], "heartbeat": "500 ms"},
    )
    tail = DividedTail(Scenario(section, directory, 1, STOP), three_nodes(), np.array([0, 100, 300]))
    kinds: Counter[int] = Counter()
    told: set[tuple[int, int]] = set()
    bundles = 0
    while (start := tail.next_event_time()) < STOP:
        end = start + 2_000_000
        sent = EventBatch.concatenate([engine.run_until(end) for engine in tail.engines.values()])
        for position in np.flatnonzero(sent.kind == EventKind.TAIL).tolist():
            block = decode(sent.payload_of(position))
            source = int(sent.source[position])
            bounds = (200, 100) if source == 0 else (100, 200)
            assert block.start == sent.deliver_time[position]
            copies = [copy for bundle in block.bundles for copy in bundle.copies]
            times = [block.start + copy.offset for copy in copies] + [event.time for event in block.events]
            assert sent.deliver_time[position] == min(times) >= end
            ends = [(copy.destination, bundle.source) for bundle in block.bundles for copy in bundle.copies]
            ends += [(row.destination, row.source) for row in block.events]
            assert all(destination < bounds[0] and origin < bounds[1] for destination, origin in ends)
            named = [bundle.message for bundle in block.bundles]
            named += [event.reference for event in block.events if event.kind in ABOUT_MESSAGES]
            assert set(named) == set(range(block.referenced))
            kinds.update(event.kind for event in block.events)
            kinds.update(8 if bundle.mark else 7 for bundle in block.bundles for _ in bundle.copies)
            bundles += len(block.bundles)
            for each in block.news:
                assert (source, block.message_id[each.place]) not in told
                assert each.size == 3000
                told.add((source, block.message_id[each.place]))
            assert {(source, message_id) for message_id in block.message_id} <= told
        tail.deliver(sent)
    assert {6, 7, 8, 32} <= set(kinds)
    assert kinds[7] + kinds[8] > max(1000, 2 * bundles)
    assert len(told) == 12
