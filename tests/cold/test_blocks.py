"""The wire format of events between identities of two shards."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cold.blocks import ABOUT_MESSAGES, ABOUT_REQUESTS, ABOUT_TRANSACTIONS, KINDS, Block, BlockError, Limits
from cold.state_kernels import ANNOUNCEMENT, GRAFT, MESSAGE, REQUEST, RESPONSE

LIMITS = Limits(
    topics=3,
    hosts=1000,
    protocols=2,
    transactions=7,
    sources=range(10, 500),
    destinations=range(500, 1000),
    not_before=100,
)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    ids = draw(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=6))
    count = len(ids)

    def column(strategy: st.SearchStrategy[int], length: int) -> list[int]:
        return draw(st.lists(strategy, min_size=length, max_size=length))

    size = column(st.integers(0, 50), count)
    length = [each if draw(st.booleans()) else 0 for each in size]
    events = draw(st.integers(0, 8))
    kind = column(st.sampled_from(KINDS if count else sorted(set(KINDS) - set(ABOUT_MESSAGES))), events)
    reference, auxiliary = [], []
    for each in kind:
        if each in ABOUT_REQUESTS:
            reference.append(draw(st.integers(0, 2**15 - 1)) << 5 | draw(st.integers(0, LIMITS.protocols - 1)))
        elif each in ABOUT_TRANSACTIONS:
            reference.append(draw(st.integers(0, 2**20 - 1)))
        else:
            reference.append(draw(st.integers(0, (count if each in ABOUT_MESSAGES else LIMITS.topics) - 1)))
        most = LIMITS.transactions if each in ABOUT_TRANSACTIONS else 2**32
        auxiliary.append(draw(st.integers(0, most - 1)))
    columns: dict[str, Any] = {
        "message_id": ids,
        "publish_time": column(st.integers(0, 2**62), count),
        "origin": column(st.integers(-1, LIMITS.hosts - 1), count),
        "origin_address": column(st.integers(0, 2**32 - 1), count),
        "size": size,
        "topic": column(st.integers(0, LIMITS.topics - 1), count),
        "payload_length": length,
        "payload": column(st.integers(0, 255), sum(length)),
        "complete": column(st.integers(0, max(count - 1, 0)), draw(st.integers(0, 3)) if count else 0),
        "time": column(st.integers(LIMITS.not_before, 2**62), events),
        "destination": column(st.integers(500, 999), events),
        "source": column(st.integers(10, 499), events),
        "kind": kind,
        "hops": column(st.integers(0, 255), events),
        "reference": reference,
        "auxiliary": auxiliary,
    }
    types = {"message_id": np.uint64, "origin_address": np.uint32, "payload": np.uint8}
    return Block(**{name: np.array(values, dtype=types.get(name, np.int64)) for name, values in columns.items()})


EXAMPLE = Block(
    message_id=np.array([0x0A0000010000002A], dtype=np.uint64),
    publish_time=np.array([1000]),
    origin=np.array([-1]),
    origin_address=np.array([0x0A000001], dtype=np.uint32),
    size=np.array([2]),
    topic=np.array([1]),
    payload_length=np.array([2]),
    payload=np.array([0xBE, 0xEF], dtype=np.uint8),
    complete=np.array([0]),
    time=np.array([2000, 3000]),
    destination=np.array([500, 501]),
    source=np.array([10, 11]),
    kind=np.array([MESSAGE, GRAFT]),
    hops=np.array([3, 0]),
    reference=np.array([0, 1]),
    auxiliary=np.array([0, 0]),
)
#: As in docs/formats.md.
EXAMPLE_BYTES = bytes.fromhex(
    """
    41475442 0002 0000 00000001 00000002 00000001 00000002
    0a0000010000002a 00000000000003e8 ffffffff 0a000001 00000002 0001 00000002
    beef
    00000000
    00000000000007d0 0000000000000bb8
    000001f4 000001f5
    0000000a 0000000b
    07 03
    03 00
    00000000 00000001
    00000000 00000000
    """
)


def test_the_example_of_the_documentation_is_encoded_as_it_says() -> None:
    assert EXAMPLE.encode() == EXAMPLE_BYTES
    assert_equal(Block.decode(EXAMPLE_BYTES, LIMITS), EXAMPLE)


def assert_equal(left: Block, right: Block) -> None:
    for name in Block._fields:
        assert getattr(left, name).tolist() == getattr(right, name).tolist(), name


@settings(deadline=None)
@given(block=blocks())
def test_what_is_encoded_is_decoded(block: Block) -> None:
    assert_equal(Block.decode(block.encode(), LIMITS), block)


@settings(deadline=None, max_examples=300)
@given(block=blocks(), position=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_block_with_a_changed_byte_is_refused_or_another_block(block: Block, position: int, value: int) -> None:
    data = bytearray(block.encode())
    data[position % len(data)] = value
    try:
        changed = Block.decode(bytes(data), LIMITS)
    except BlockError:
        return
    assert changed.encode() == bytes(data)


@settings(deadline=None)
@given(block=blocks(), cut=st.integers(0, 10**6))
def test_a_block_of_another_length_is_refused(block: Block, cut: int) -> None:
    data = block.encode()
    for wrong in (data[: cut % len(data)], data + b"\0"):
        with pytest.raises(BlockError, match=r"truncated header|take \d+"):
            Block.decode(wrong, LIMITS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"message_id": np.array([5, 5], dtype=np.uint64)}, "message_id of entry 0 is 5, should be one that is not"),
        ({"publish_time": np.array([-1])}, "publish_time of entry 0 is -1"),
        ({"origin": np.array([1000])}, "origin of entry 0 is 1000, should be one of 1000 hosts"),
        ({"topic": np.array([3])}, "topic of entry 0 is 3, should be one of 3 topics"),
        ({"payload_length": np.array([1])}, "payload_length of entry 0 is 1, should be 0 or the size"),
        ({"payload": np.zeros(3, np.uint8)}, "payload lengths add up to 2, the header says 3"),
        ({"complete": np.array([1])}, "complete of entry 0 is 1, should be one of 1 messages"),
        ({"time": np.array([2000, 99])}, "time of entry 1 is 99, should be 100 or later"),
        ({"destination": np.array([500, 499])}, "destination of entry 1 is 499"),
        ({"source": np.array([9, 11])}, "source of entry 0 is 9"),
        ({"kind": np.array([MESSAGE, 16])}, "kind of entry 1 is 16"),
        ({"reference": np.array([1, 1])}, "reference of entry 0 is 1"),
        ({"reference": np.array([0, 3])}, "reference of entry 1 is 3"),
        (
            {"kind": np.array([MESSAGE, REQUEST]), "reference": np.array([0, 34])},
            "reference of entry 1 is 34, should be of one of 2 protocols",
        ),
        (
            {"kind": np.array([MESSAGE, ANNOUNCEMENT]), "auxiliary": np.array([0, 7])},
            "auxiliary of entry 1 is 7, should be one of 7 transactions",
        ),
        ({"kind": np.array([MESSAGE, RESPONSE]), "reference": np.array([0, 2**20])}, "reference of entry 1 is 1048576"),
    ],
)
def test_a_block_that_does_not_fit_the_experiment_is_refused(changes: dict[str, Any], message: str) -> None:
    columns = EXAMPLE._asdict()
    if len(changes.get("message_id", [])) == 2:
        for name in ("publish_time", "origin", "origin_address", "size", "topic", "payload_length"):
            columns[name] = np.concatenate([columns[name]] * 2)
    with pytest.raises(BlockError, match=message):
        Block.decode(Block(**columns | changes).encode(), LIMITS)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [(0, b"x", "magic is"), (5, b"\x01", "version is 1, only 2 is known"), (7, b"\x01", "reserved field is 1")],
)
def test_a_block_of_another_format_is_refused(place: int, value: bytes, message: str) -> None:
    with pytest.raises(BlockError, match=message):
        Block.decode(EXAMPLE_BYTES[:place] + value + EXAMPLE_BYTES[place + 1 :], LIMITS)
