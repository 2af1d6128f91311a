"""Blocks of tail events in plain Python, field by field as docs/formats.md has them."""

from typing import NamedTuple

LEAVE, GRAFT, PRUNE, IWANT, MESSAGE, IDONTWANT, REQUEST, RESPONSE, IHAVE_ID = 2, 3, 4, 6, 7, 8, 9, 10, 32
TRANSACTION, ANNOUNCEMENT, TRANSACTION_ASK, POOLED, GREETING = 11, 12, 13, 14, 15
ABOUT_TOPICS, ABOUT_MESSAGES, ABOUT_REQUESTS = (
    (LEAVE, GRAFT, PRUNE),
    (IWANT, MESSAGE, IDONTWANT, IHAVE_ID),
    (REQUEST, RESPONSE),
)
ABOUT_TRANSACTIONS = (TRANSACTION, ANNOUNCEMENT, TRANSACTION_ASK, POOLED, GREETING)
KINDS = (*ABOUT_TOPICS, *ABOUT_MESSAGES, *ABOUT_REQUESTS, *ABOUT_TRANSACTIONS)
NOBODY = 0xFFFFFFFF
NOT_WANTED = 128


class Copy(NamedTuple):
    """A copy of a message, or an IDONTWANT."""

    destination: int
    offset: int


class Bundle(NamedTuple):
    """Copies of a message of one identity, or as many IDONTWANT where `mark` is NOT_WANTED."""

    message: int
    source: int
    hops: int
    mark: int
    copies: list[Copy]


class Event(NamedTuple):
    """Another event."""

    time: int
    destination: int
    source: int
    kind: int
    reference: int
    auxiliary: int


class News(NamedTuple):
    """What is said of a message."""

    place: int
    publish_time: int
    origin: int
    origin_address: int
    size: int
    topic: int
    payload: bytes


class Told(NamedTuple):
    """What is said of a hot host's transaction."""

    origin: int
    sequence: int
    time: int
    size: int
    blobs: int


class Twin(NamedTuple):
    """A block."""

    start: int
    bundles: list[Bundle]
    events: list[Event]
    referenced: int
    message_id: list[int]
    news: list[News]
    complete: list[int]
    told: list[Told]


BUNDLE_SIZES, COPY_SIZES, EVENT_SIZES = (3, 3, 1, 1), (3, 5), (8, 3, 3, 1, 3, 4)
NEWS_SIZES = (4, 8, 4, 4, 4, 2, 4)
TOLD_SIZES = (4, 4, 8, 4, 1)
COUNTS = 8


def encode(block: Twin) -> bytes:
    """Return the wire format."""
    payload = b"".join(each.payload for each in block.news)
    words = []
    for bundle in block.bundles:
        head = (bundle.message, bundle.source, bundle.hops, bundle.mark | len(bundle.copies))
        words += list(zip(head, BUNDLE_SIZES, strict=True))
        words += [pair for copy in bundle.copies for pair in zip(copy, COPY_SIZES, strict=True)]
    counts = (
        *(
            sum(1 + len(bundle.copies) for bundle in block.bundles),
            len(block.events),
            len(block.message_id),
            block.referenced,
        ),
        *(len(block.news), len(block.complete), len(block.told), len(payload)),
    )
    columns = [(*each[:-1], len(each.payload)) for each in block.news]
    return b"".join(
        [
            b"AGTB\0\5\0\0",
            block.start.to_bytes(8, signed=True),
            *(count.to_bytes(4) for count in counts),
            *(value.to_bytes(size) for value, size in words),
            *(value.to_bytes(size) for row in block.events for value, size in zip(row, EVENT_SIZES, strict=True)),
            *(each.to_bytes(8) for each in block.message_id),
            *(row[column].to_bytes(size) for column, size in enumerate(NEWS_SIZES) for row in columns),
            *(each.to_bytes(4) for each in block.complete),
            *(row[column].to_bytes(size) for column, size in enumerate(TOLD_SIZES) for row in block.told),
            payload,
        ]
    )


def decode(data: bytes) -> Twin:
    """Read a block that is known to be one."""
    at = 16

    def numbers(*sizes: int) -> list[int]:
        nonlocal at
        found = []
        for size in sizes:
            found.append(int.from_bytes(data[at : at + size]))
            at += size
        return found

    words, events, messages, referenced, news, complete, transactions, payload = numbers(*[4] * COUNTS)
    rows = []
    end = at + 8 * words
    while at < end:
        message, source, hops, last = numbers(*BUNDLE_SIZES)
        copies = [Copy(*numbers(*COPY_SIZES)) for _ in range(last & ~NOT_WANTED)]
        rows.append(Bundle(message, source, hops, last & NOT_WANTED, copies))
    assert at == end
    others = [Event(*numbers(*EVENT_SIZES)) for _ in range(events)]
    ids = numbers(*[8] * messages)
    columns = list(zip(*(numbers(*[size] * news) for size in NEWS_SIZES), strict=True))
    whole = numbers(*[4] * complete)
    said = [Told(*row) for row in zip(*(numbers(*[size] * transactions) for size in TOLD_SIZES), strict=True)]
    told = []
    for place, publish_time, origin, address, size, topic, length in columns:
        told.append(News(place, publish_time, origin, address, size, topic, data[at : at + length]))
        at += length
    assert data[:8] == b"AGTB\0\5\0\0"
    assert at == len(data)
    assert sum(len(each.payload) for each in told) == payload
    return Twin(int.from_bytes(data[8:16], signed=True), rows, others, referenced, ids, told, whole, said)
