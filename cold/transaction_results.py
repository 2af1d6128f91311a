"""What a tail has to tell of its transactions at the end: a row for each."""

from typing import Final

import numpy as np
import numpy.typing as npt

from cold.message_kernels import delay_bucket
from cold.results import PERCENTILES, TailResults, bucket_middles, percentile_of, percentiles_of
from cold.state_kernels import State
from cold.transaction_kernels import (
    BLOBS,
    GOT_FETCHED,
    GOT_PUSHED,
    HOPS_SUM,
    LOADS,
    ORIGIN,
    RECEIVED,
    SENT,
    SEQUENCE,
    SIZE,
    TIME,
    TRANSACTION_COUNTS,
)
from cold.transactions import Transactions

#: The first column of `TailResults.submitted`: 1 for those of hot hosts, else 0. The others are these of
#: `State.transaction`, by which the rows are in order.
IS_HOT: Final = 0
SUBMITTED: Final = [IS_HOT, TIME, SEQUENCE, ORIGIN, SIZE, BLOBS]
#: What `transaction_table` returns: one row for each, by time. Delays are from submission to the last byte of the first
#: copy, -1 where nobody got one; `mean_hops` is of first copies, 0 without any.
TRANSACTION_TABLE_TYPE: Final = np.dtype(
    [
        ("number", np.int64),
        ("time_ns", np.int64),
        ("origin", np.int64),
        ("size", np.int64),
        ("blobs", np.bool_),
        ("delivered", np.int64),
        *((name, np.int64) for name in TRANSACTION_COUNTS[:HOPS_SUM]),
        ("mean_hops", np.float64),
        *((f"p{percentile}_ns", np.int64) for percentile in PERCENTILES),
        ("max_ns", np.int64),
    ]
)


def transaction_results(results: TailResults, state: State, transactions: Transactions) -> TailResults:
    """A shard's results, with what it knows of transactions."""
    spreads, digest = transactions.spreads(state)
    table, counts = transactions.table(state)
    entries = [np.stack([np.full(len(each.bucket), each.row), each.bucket, each.counts], axis=1) for each in spreads]
    longest = np.full(len(table), -1, dtype=np.int64)
    for each in spreads:
        longest[each.row] = each.longest
    submitted = np.zeros((len(table), len(SUBMITTED)), dtype=np.int64)
    submitted[transactions.planned :, IS_HOT] = 1
    submitted[:, IS_HOT + 1 :] = table[:, SUBMITTED[IS_HOT + 1 :]]
    load: list[npt.NDArray[np.int64]] = []
    for which in range(LOADS):
        buckets = np.array([delay_bucket(size) for size in state.transaction_load[:, which].tolist()], dtype=np.int64)
        bucket, count = np.unique(buckets, return_counts=True)
        load.append(np.stack([np.full(len(bucket), which), bucket, count], axis=1))
    return results._replace(
        digest=results.digest + np.array(digest, dtype=np.uint64),
        submitted=submitted,
        transactions=counts.copy(),
        transaction_longest=longest,
        transaction_delay=np.concatenate([np.zeros((0, 3), dtype=np.int64), *entries]),
        transaction_load=np.concatenate(load),
    )


def transaction_table(results: TailResults) -> npt.NDArray[np.void]:
    """One row of `TRANSACTION_TABLE_TYPE` for each transaction: those that were planned, then those of hot hosts."""
    counts = results.transactions
    table = np.zeros(len(counts), dtype=TRANSACTION_TABLE_TYPE)
    table["number"] = np.arange(len(counts))
    for name, column in (("time_ns", TIME), ("origin", ORIGIN), ("size", SIZE), ("blobs", BLOBS)):
        table[name] = results.submitted[:, SUBMITTED.index(column, IS_HOT + 1)]
    for column, name in enumerate(TRANSACTION_COUNTS[:HOPS_SUM]):
        table[name] = counts[:, column]
    table["delivered"] = counts[:, GOT_PUSHED] + counts[:, GOT_FETCHED]
    table["mean_hops"] = counts[:, HOPS_SUM] / np.maximum(table["delivered"], 1)
    table["max_ns"] = results.transaction_longest
    start = np.searchsorted(results.transaction_delay[:, 0], np.arange(len(counts) + 1))
    for percentile in PERCENTILES:
        found = percentiles_of(start, results.transaction_delay[:, 1], results.transaction_delay[:, 2], percentile)
        table[f"p{percentile}_ns"] = np.minimum(found, table["max_ns"])
    return table


def load_summary(results: TailResults) -> dict[str, dict[str, int]]:
    """Bytes of transactions' messages that identities sent and received: their mean and percentiles over identities."""
    summary: dict[str, dict[str, int]] = {}
    for name, which in (("sent", SENT), ("received", RECEIVED)):
        mine = results.transaction_load[results.transaction_load[:, 0] == which]
        total = int((bucket_middles(mine[:, 1]) * mine[:, 2]).sum())
        summary[name] = {"mean": total // max(int(mine[:, 2].sum()), 1)}
        for percentile in PERCENTILES:
            summary[name][f"p{percentile}"] = percentile_of(mine[:, 1], mine[:, 2], percentile)
    return summary
