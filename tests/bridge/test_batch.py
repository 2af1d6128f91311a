"""Event batches: their order, and their one encoding."""

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.batch import DecodeError, EventBatch, EventKind, pack_payloads

Event = tuple[int, int, int, int, int, bytes]

# Small ranges beside the full ones: ties in each column must occur.
events = st.tuples(
    st.one_of(st.integers(0, 3), st.integers(0, 2**63 - 1)),
    st.one_of(st.integers(0, 2), st.integers(0, 2**32 - 1)),
    st.one_of(st.integers(0, 2), st.integers(0, 2**64 - 1)),
    st.one_of(st.integers(0, 2), st.integers(0, 2**32 - 1)),
    st.sampled_from(list(EventKind)),
    st.binary(max_size=40),
)
event_lists = st.lists(events, max_size=30, unique_by=lambda event: event[:4])


def batch_of(rows: list[Event]) -> EventBatch:
    """Build a batch of (deliver time, source, source event, destination, kind, payload)."""
    offset, payload = pack_payloads([row[5] for row in rows])
    return EventBatch.build(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.uint32),
        np.array([row[2] for row in rows], np.uint64),
        np.array([row[3] for row in rows], np.uint32),
        np.array([row[4] for row in rows], np.uint16),
        offset,
        payload,
    )


def rows_of(batch: EventBatch) -> list[Event]:
    columns = (batch.deliver_time, batch.source, batch.source_event, batch.destination, batch.kind)
    return [
        (*(int(column[i]) for column in columns), batch.payload_of(i))  # type: ignore[misc]
        for i in range(len(batch))
    ]


def assert_decodes_or_is_refused(data: bytes) -> None:
    try:
        batch = EventBatch.decode(data)
    except DecodeError as refusal:
        offset = refusal.offset
    else:
        assert batch.encode() == data
        offset = len(data)
    assert 0 <= offset <= len(data)


def in_order(rows: list[Event]) -> list[Event]:
    return sorted(rows, key=lambda row: row[:4])


@given(event_lists)
def test_a_batch_is_in_order_however_it_was_built(rows: list[Event]) -> None:
    assert rows_of(batch_of(rows)) == in_order(rows)


@given(event_lists, st.randoms(use_true_random=False))
def test_the_encoding_does_not_depend_on_the_order_of_arrival(rows: list[Event], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert batch_of(shuffled).encode() == batch_of(rows).encode()
    assert batch_of(shuffled).digest() == batch_of(rows).digest()


@given(event_lists)
def test_decoding_gives_back_what_was_encoded(rows: list[Event]) -> None:
    encoded = batch_of(rows).encode()
    decoded = EventBatch.decode(encoded)
    assert rows_of(decoded) == in_order(rows)
    assert decoded.encode() == encoded
    original = batch_of(rows)
    for name in (
        "deliver_time",
        "source",
        "source_event",
        "destination",
        "kind",
        "payload_offset",
        "payload",
    ):
        assert getattr(decoded, name).dtype == getattr(original, name).dtype
        assert getattr(decoded, name).dtype.isnative


@given(event_lists, st.integers(1, 4))
def test_concatenating_the_parts_gives_the_whole(rows: list[Event], parts: int) -> None:
    batches = [batch_of(rows[part::parts]) for part in range(parts)]
    assert EventBatch.concatenate(batches).encode() == batch_of(rows).encode()
    assert EventBatch.concatenate(batches[::-1]).encode() == batch_of(rows).encode()


@given(event_lists, st.data())
def test_selecting_keeps_exactly_the_chosen_events(rows: list[Event], data: st.DataObject) -> None:
    batch = batch_of(rows)
    chosen = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    mask = np.array(chosen, dtype=np.bool_)
    expected = [row for row, keep in zip(in_order(rows), chosen, strict=True) if keep]
    assert rows_of(batch.select(mask)) == expected
    assert rows_of(batch.select(np.flatnonzero(mask))) == expected


@given(st.binary(max_size=120))
@example(b"")
@example(EventBatch.empty().encode())
def test_any_bytes_are_a_batch_or_a_decode_error(data: bytes) -> None:
    assert_decodes_or_is_refused(data)


@given(event_lists.filter(bool), st.data())
def test_a_damaged_encoding_never_decodes_to_a_batch_that_encodes_differently(
    rows: list[Event], data: st.DataObject
) -> None:
    damaged = bytearray(batch_of(rows).encode())
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    assert_decodes_or_is_refused(bytes(damaged))


@given(event_lists, st.data())
def test_a_truncated_encoding_is_refused(rows: list[Event], data: st.DataObject) -> None:
    encoded = bytes(batch_of(rows).encode())
    length = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(DecodeError):
        EventBatch.decode(encoded[:length])
    with pytest.raises(DecodeError):
        EventBatch.decode(encoded + b"\0")


def hand_made(
    *, magic: bytes = b"AGEB", version: int = 1, reserved: int = 0, times: tuple[int, int] = (10, 20),
    lengths: tuple[int, int] = (1, 2), kinds: tuple[int, int] = (1, 1),
) -> bytes:  # fmt: skip
    return struct.pack(
        ">4sHHQQ" + "qq" + "II" + "QQ" + "II" + "HH" + "II" + "3s",
        magic, version, reserved, 2, 3, *times, 1, 2, 3, 4, 5, 6, *kinds, *lengths, b"abc",
    )  # fmt: skip


def test_the_wire_format_is_the_documented_one() -> None:
    batch = batch_of([(20, 2, 4, 6, 1, b"bc"), (10, 1, 3, 5, 1, b"a")])
    assert batch.encode() == hand_made()
    assert batch.digest() == hashlib.sha256(hand_made()).digest()


@pytest.mark.parametrize(
    ("data", "offset", "message"),
    [
        (b"AGEB", 4, "truncated header"),
        (hand_made(magic=b"AGEX"), 0, "magic"),
        (hand_made(version=2), 4, "version is 2"),
        (hand_made(reserved=1), 6, "reserved"),
        (hand_made()[:-1], len(hand_made()) - 1, "take"),
        (hand_made() + b"x", len(hand_made()), "take"),
        (hand_made(times=(20, 10)), 32, "out of order"),
        (hand_made(times=(-1, 10)), 24, "negative"),
        (hand_made(kinds=(1, 77)), 24 + 2 * 24 + 2, r"event 1 has kind 77, known are 1 \(PACKET\), 2 \(TAIL\)"),
        (hand_made(lengths=(1, 1)), 24 + 2 * 26, "add up to 2"),
        (struct.pack(">4sHHQQ", b"AGEB", 1, 0, 2**63, 0), 24, "take"),
    ],
)
def test_a_decode_error_says_what_is_wrong_and_where(data: bytes, offset: int, message: str) -> None:
    with pytest.raises(DecodeError, match=message) as caught:
        EventBatch.decode(data)
    assert caught.value.offset == offset
    assert f"byte {offset}" in str(caught.value)


def test_decoding_reads_from_any_buffer_and_leaves_nothing_but_payloads_there() -> None:
    buffer = bytearray(hand_made())
    batch = EventBatch.decode(memoryview(buffer))
    buffer[: -len(batch.payload)] = bytes(len(buffer) - len(batch.payload))
    assert batch.encode() == hand_made()
    assert np.shares_memory(batch.payload, np.frombuffer(buffer, np.uint8))


def test_the_empty_batch_is_one_object() -> None:
    empty = EventBatch.empty()
    assert len(empty) == 0
    assert EventBatch.concatenate([empty, empty]) is empty
    assert EventBatch.build([], [], [], []) is empty
    assert batch_of([(1, 1, 1, 1, 1, b"")]).select(np.array([False])) is empty


def test_events_built_without_kind_or_payload_are_bare_packets() -> None:
    batch = EventBatch.build([5], [1], [2], [3])
    assert rows_of(batch) == [(5, 1, 2, 3, EventKind.PACKET, b"")]


@pytest.mark.parametrize(
    "columns",
    [
        {"source": [1, 2]},
        {"kind": [1, 1]},
        {"payload_offset": [0]},
        {"payload_offset": [0, 2], "payload": [7]},
        {"payload_offset": [1, 1], "payload": [7]},
    ],
)
def test_columns_that_do_not_fit_together_are_refused(columns: dict[str, list[int]]) -> None:
    fitting: dict[str, list[int]] = {
        "deliver_time": [1], "source": [1], "source_event": [1], "destination": [1]
    }  # fmt: skip
    with pytest.raises(ValueError):
        EventBatch.build(**(fitting | columns))


def test_payload_offsets_that_decrease_are_refused() -> None:
    with pytest.raises(ValueError, match="decrease"):
        EventBatch.build([1, 2], [1, 1], [1, 2], [1, 1], 1, [0, 3, 2], [1, 2])


def test_fingerprints_of_parts_add_up_to_that_of_the_whole() -> None:
    times, sources = np.arange(10, 60), np.arange(50) % 7
    offsets, payload = pack_payloads([bytes(range(length)) for length in range(50, 100)])
    whole = EventBatch.build(times, sources, times, sources, EventKind.PACKET, offsets, payload)
    odd = whole.select(np.arange(50) % 2 == 1)
    even = whole.select(np.arange(50) % 2 == 0)
    assert (odd.fingerprint() + even.fingerprint()) % 2**64 == whole.fingerprint()
    assert EventBatch.empty().fingerprint() == 0
    changed = payload.copy()
    changed[3] ^= 1
    other = EventBatch.build(times, sources, times, sources, EventKind.PACKET, offsets, changed)
    assert other.fingerprint() != whole.fingerprint()


@given(st.lists(st.lists(st.integers(0, 3), max_size=80), max_size=6), st.booleans())
def test_batches_that_are_merged_are_in_order_whatever_their_lengths(batches: list[list[int]], presorted: bool) -> None:
    """Ties in time and host everywhere, and stretches that are in order already, of any lengths."""
    number, parts, rows = 0, [], []
    for times in batches:
        of_batch: list[Event] = []
        for time in sorted(times) if presorted else times:
            of_batch.append((time, number % 2, number % 5, number, 1, bytes([number % 251])))
            number += 1
        parts.append(batch_of(of_batch))
        rows += of_batch
    assert rows_of(EventBatch.concatenate(parts)) == in_order(rows)


def _documented_fingerprint(event: Event) -> int:
    time, source, number, destination, kind, payload = event
    multiplier, bits = 0x9E3779B97F4A7C15, 2**64 - 1

    def mixed(state: int, word: int) -> int:
        state = (state ^ word) * multiplier & bits
        return state ^ state >> 32

    state = 0
    for word in (time, source << 32 | destination, number, kind << 32 | len(payload)):
        state = mixed(state, word)
    words = [int.from_bytes(payload[at : at + 8], "little") for at in range(0, len(payload), 8)]
    lanes = [state, ~state & bits, state >> 32, ~(state >> 32) & bits]
    in_fours = len(payload) // 32 * 4
    for place, word in enumerate(words[:in_fours]):
        lanes[place % 4] = mixed(lanes[place % 4], word)
    for word in lanes + words[in_fours:]:
        state = mixed(state, word)
    return state


def test_fingerprints_are_as_documented() -> None:
    """Payloads of every length around a word's and around four words', at every place in memory."""
    for shift in range(9):
        rows: list[Event] = [(1, 0, 0, 0, 1, b"x" * shift)]
        rows += [(2 + length, 1, 2, 3, 1, bytes(range(length))) for length in range(140)]
        assert batch_of(rows).fingerprint() == sum(map(_documented_fingerprint, rows)) % 2**64


def test_fingerprints_tell_any_bit_of_a_payload() -> None:
    payload = bytes(range(100))
    seen = {batch_of([(1, 2, 3, 4, 1, payload)]).fingerprint()}
    for place in range(800):
        other = bytearray(payload)
        other[place // 8] ^= 1 << place % 8
        seen.add(batch_of([(1, 2, 3, 4, 1, bytes(other))]).fingerprint())
    assert len(seen) == 801


def test_the_worked_example_of_the_format_is_right() -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    example = text.split("Example: ")[1].split("## ")[0]
    lines = [line[4:49] for line in example.splitlines() if line.startswith("    ")]
    data = bytes.fromhex("".join(lines))
    offsets, payload = pack_payloads([bytes.fromhex("deadbeef")])
    batch = EventBatch.build([1000], [2], [7], [5], EventKind.PACKET, offsets, payload)
    assert batch.encode() == data
    assert EventBatch.decode(data).encode() == data
