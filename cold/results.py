"""What a tail has to tell of its messages at the end, and how the parts of several shards become a whole.

Delays of a message are kept as a log-linear histogram: exact below 2,048 ns, and in buckets of a relative width of at
most 2**-10 above. Bucket b stands for the delays d with ``delay_bucket(d) == b``, which is d below 2,048, and
``1024 * s + (d >> s)`` above, where s is the number that leaves 1,024 to 2,047 of ``d >> s``. Counts of shards add up,
so that quantiles do not depend on who has which identity. The form is that of HdrHistogram
(http://hdrhistogram.org), with 11 significant bits.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cold.delay_layout import EXACT, SUB_BITS

_COMMON: Final = [
    ("id", np.uint64),
    ("origin", np.int64),
    ("origin_address", np.uint32),
    ("topic", np.int64),
    ("size", np.int64),
    ("publish_time_ns", np.int64),
    ("delivered", np.int64),
]
#: A message's spread on one shard: one row per message, by (publish time, id). `max_ns` is -1 where nobody got it.
SPREAD_TYPE: Final = np.dtype([*_COMMON, ("max_ns", np.int64)])
#: What `message_table` returns: one row per message, by (publish time, id). Delays are ns from publication to the first
#: receipt; -1 where nobody got it. Quantiles are the middle of the bucket that has them: at most 2**-11 away.
TABLE_TYPE: Final = np.dtype(
    [*_COMMON, ("p50_ns", np.int64), ("p95_ns", np.int64), ("p99_ns", np.int64), ("max_ns", np.int64)]
)
PERCENTILES: Final = (50, 95, 99)


class TailResults(NamedTuple):
    """Of m messages on one shard, or on several."""

    spread: npt.NDArray[np.void]
    """`SPREAD_TYPE`[m]."""
    start: npt.NDArray[np.int64]
    """int64[m + 1]: the histogram of message i is in the entries from ``start[i]`` to ``start[i + 1]``."""
    bucket: npt.NDArray[np.int32]
    """int32[entries]: ascending in each message."""
    counts: npt.NDArray[np.int64]
    """int64[entries]."""
    digest: npt.NDArray[np.uint64]
    """uint64[2]: sums of two hashes of each arrival, modulo 2**64."""
    requests: npt.NDArray[np.int64] = np.zeros((0, 0), dtype=np.int64)
    """int64[P + K, counts]: what became of the requests of each protocol, then, where some ask in the place of all, of
    those of each of these; no rows where nobody asks."""
    request_latency: npt.NDArray[np.int64] = np.zeros((0, 3), dtype=np.int64)
    """int64[entries, 3]: protocol, bucket and count, ascending; counts are `cold.request_askers.weights_of` where some
    ask in the place of all."""
    request_askers: npt.NDArray[np.int64] = np.zeros((0, 2), dtype=np.int64)
    """int64[P, 2]: identities that should ask, and how many of them do so by themselves."""
    request_strata: npt.NDArray[np.int64] = np.zeros((0, 3), dtype=np.int64)
    """int64[K, 3]: `cold.request_askers.Representatives.stratum`, on every shard."""
    submitted: npt.NDArray[np.int64] = np.zeros((0, 0), dtype=np.int64)
    """int64[K, `cold.transaction_results.SUBMITTED`]: all transactions of the run, and those of hot hosts of which the
    shard has heard, for which the first column is 1; no rows where there are none."""
    transactions: npt.NDArray[np.int64] = np.zeros((0, 0), dtype=np.int64)
    """int64[K, counts]: what became of each."""
    transaction_longest: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    """int64[K]: the largest delay [ns], -1 where nobody got it."""
    transaction_delay: npt.NDArray[np.int64] = np.zeros((0, 3), dtype=np.int64)
    """int64[entries, 3]: transaction, bucket and count, ascending."""
    transaction_load: npt.NDArray[np.int64] = np.zeros((0, 3), dtype=np.int64)
    """int64[entries, 3]: what of it, bucket of the bytes, and count of identities, ascending."""

    def encode(self) -> bytes:
        """Return it as a numpy archive, which `decode` reads."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **self._asdict())
        return buffer.getvalue()

    @staticmethod
    def decode(data: bytes) -> "TailResults":
        """Read what `encode` made."""
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return TailResults(**{name: archive[name] for name in TailResults._fields})


def merge(parts: Sequence[TailResults]) -> TailResults:
    """Put together what the shards of one tail have to tell; the result does not depend on how it was divided."""
    everything = np.concatenate([part.spread for part in parts])
    _, first, message = np.unique(everything["id"], return_index=True, return_inverse=True)
    spread = everything[first]
    spread["delivered"] = 0
    np.add.at(spread["delivered"], message, everything["delivered"])
    np.maximum.at(spread["max_ns"], message, everything["max_ns"])
    rank = np.empty(len(spread), dtype=np.int64)
    order = np.lexsort((spread["id"], spread["publish_time_ns"]))
    rank[order] = np.arange(len(spread))

    lengths = np.concatenate([np.zeros(0, np.int64), *(np.diff(part.start) for part in parts)])
    owner = np.repeat(rank[message], lengths)
    bucket = np.concatenate([part.bucket for part in parts])
    keys, entry = np.unique(owner << 32 | bucket, return_inverse=True)
    count = np.zeros(len(keys), dtype=np.int64)
    np.add.at(count, entry, np.concatenate([part.counts for part in parts]))
    start = np.searchsorted(keys >> 32, np.arange(len(spread) + 1)).astype(np.int64)
    digest = np.zeros(2, dtype=np.uint64)
    for part in parts:
        digest += part.digest
    asked = [part.requests for part in parts if len(part.requests)]
    requests = np.sum(asked, axis=0) if asked else np.zeros((0, 0), dtype=np.int64)
    askers = [part.request_askers for part in parts if len(part.requests)]
    strata = max((part.request_strata for part in parts), key=len)
    latency = added_up(np.concatenate([part.request_latency for part in parts]))
    knowing = _aligned([part for part in parts if len(part.submitted)] or [parts[0]])
    return TailResults(
        spread[order],
        start,
        (keys & 0xFFFFFFFF).astype(np.int32),
        count,
        digest,
        requests,
        latency,
        np.sum(askers, axis=0) if askers else np.zeros((0, 2), dtype=np.int64),
        strata,
        knowing[0].submitted,
        np.sum([part.transactions for part in knowing], axis=0),
        np.max([part.transaction_longest for part in knowing], axis=0),
        added_up(np.concatenate([part.transaction_delay for part in knowing])),
        added_up(np.concatenate([part.transaction_load for part in parts])),
    )


def _aligned(parts: Sequence[TailResults]) -> Sequence[TailResults]:
    """The same, with the rows of all their transactions in each, in order."""
    if not any(part.submitted.shape[1] and part.submitted[:, 0].any() for part in parts):
        return parts
    every, row = np.unique(np.concatenate([part.submitted for part in parts]), axis=0, return_inverse=True)
    own = np.split(row.reshape(-1), np.cumsum([len(part.submitted) for part in parts])[:-1])
    aligned = []
    for part, rows in zip(parts, own, strict=True):
        counts = np.zeros((len(every), part.transactions.shape[1]), dtype=np.int64)
        counts[rows] = part.transactions
        longest = np.full(len(every), -1, dtype=np.int64)
        longest[rows] = part.transaction_longest
        delay = part.transaction_delay.copy()
        delay[:, 0] = rows[delay[:, 0]]
        aligned.append(
            part._replace(submitted=every, transactions=counts, transaction_longest=longest, transaction_delay=delay)
        )
    return aligned


def added_up(entries: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Entries (row, bucket, count) of several histograms as those of one: int64[n, 3], ascending."""
    keys, place = np.unique(entries[:, 0] << 32 | entries[:, 1], return_inverse=True)
    count = np.zeros(len(keys), dtype=np.int64)
    np.add.at(count, place, entries[:, 2])
    return np.stack([keys >> 32, keys & 0xFFFFFFFF, count], axis=1)


def message_table(results: TailResults) -> npt.NDArray[np.void]:
    """One row of `TABLE_TYPE` for each message, with quantiles from the histograms."""
    table = np.zeros(len(results.spread), dtype=TABLE_TYPE)
    for name in SPREAD_TYPE.names or ():
        table[name] = results.spread[name]
    for percentile in PERCENTILES:
        found = percentiles_of(results.start, results.bucket, results.counts, percentile)
        table[f"p{percentile}_ns"] = np.minimum(found, table["max_ns"])
    return table


def rows_of(results: TailResults, message_id: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Rows of messages in `spread`, by their ids: int64[n]."""
    order = np.argsort(results.spread["id"], kind="stable")
    return np.asarray(order[np.searchsorted(results.spread["id"], message_id, sorter=order)], dtype=np.int64)


def delays_at(
    results: TailResults, message_id: npt.NDArray[np.uint64], rank: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Delays of messages at ranks of their receivers, int64[n, R] from 1 on, middles of buckets: int64[n, R], ns."""
    until = np.concatenate([[0], np.cumsum(results.counts)])
    begin = until[results.start[rows_of(results, message_id)]]
    entry = np.searchsorted(until, begin[:, None] + rank) - 1
    return np.asarray(np.append(bucket_middles(results.bucket), 0)[np.minimum(entry, len(results.bucket))])


def percentiles_of(
    start: npt.NDArray[np.int64],
    bucket: npt.NDArray[np.integer[Any]],
    count: npt.NDArray[np.int64],
    percentile: int,
) -> npt.NDArray[np.int64]:
    """The middles of the buckets of n histograms that have a percentile: int64[n], ns; -1 of an empty one.

    Parameters
    ----------
    start
        int64[n + 1]: where the entries of each begin.
    bucket, count
        Of each entry: buckets are ascending in a histogram.
    percentile
        From 1 to 100.
    """
    reached = np.concatenate([[0], np.cumsum(count)])
    before, total = reached[start[:-1]], np.diff(reached[start])
    rank = (total * percentile + 99) // 100
    found = np.full(len(total), -1, dtype=np.int64)
    there = total > 0
    place = np.searchsorted(reached, (before + rank)[there]) - 1
    found[there] = bucket_middles(bucket[place])
    return found


def percentile_of(bucket: npt.NDArray[np.integer[Any]], count: npt.NDArray[np.int64], percentile: int) -> int:
    """`percentiles_of` one histogram."""
    return int(percentiles_of(np.array([0, len(bucket)]), bucket, count, percentile)[0])


def merge_statistics(parts: Sequence[Mapping[str, Any]], messages: int) -> dict[str, Any]:
    """Put together the statistics of a tail's shards: totals add up, what is per identity is averaged.

    Parameters
    ----------
    parts
        What each shard's engine returned.
    messages
        Number of messages of the whole tail.
    """
    whole = _added_up(parts)
    identities = max(whole["identities"], 1)
    total = sum(part["bytes_per_identity"] * part["identities"] for part in parts)
    return whole | {"messages": messages, "bytes_per_identity": round(total / identities, 1)}


def _added_up(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for part in parts for name in part)
    total: dict[str, Any] = {}
    for name in names:
        values = [part[name] for part in parts if name in part]
        total[name] = _added_up(values) if isinstance(values[0], Mapping) else sum(values)
    return total


def bucket_middles(bucket: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """The middles of buckets: int64[n], ns."""
    wide = bucket.astype(np.int64)
    shift = np.maximum((wide >> SUB_BITS) - 1, 0)
    middles: npt.NDArray[np.int64] = ((wide - (shift << SUB_BITS)) << shift) + ((1 << shift) >> 1)
    return middles


def delay_buckets(delays: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`cold.message_kernels.delay_bucket` of many delays [ns]."""
    shift = np.maximum(np.frexp(delays.astype(np.float64))[1] - EXACT.bit_length() + 1, 0)
    return np.asarray((shift << SUB_BITS) + (delays >> shift), dtype=np.int64)
