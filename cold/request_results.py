"""What a tail has to tell of its requests at the end: a row for each protocol."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from cold.request_layout import ANSWERED, LATENCY_SUM, PROTOCOLS, REQUEST_COUNTS
from cold.results import PERCENTILES, TailResults, percentile_of
from cold.state_kernels import State

#: What `request_table` returns: latencies count from the first attempt to the last byte of the answer; -1 without any.
REQUEST_TABLE_TYPE: Final = np.dtype(
    [
        ("protocol", np.str_, 64),
        *((name, np.int64) for name in REQUEST_COUNTS[:LATENCY_SUM]),
        ("mean_ns", np.int64),
        *((f"p{percentile}_ns", np.int64) for percentile in PERCENTILES),
    ]
)


def request_results(results: TailResults, state: State) -> TailResults:
    """A shard's results, with what its arrays have counted of requests."""
    if state.request_cursor[PROTOCOLS] == 0:
        return results
    protocol, bucket = np.nonzero(state.request_latency)
    entries = np.stack([protocol, bucket, state.request_latency[protocol, bucket]], axis=1)
    return results._replace(requests=state.request_counts.copy(), request_latency=entries.astype(np.int64))


def request_table(results: TailResults, names: Sequence[str]) -> npt.NDArray[np.void]:
    """One row of `REQUEST_TABLE_TYPE` for each protocol of the configuration, in its order."""
    table = np.zeros(len(results.requests), dtype=REQUEST_TABLE_TYPE)
    for row, (name, counts) in enumerate(zip(names, results.requests.tolist(), strict=True)):
        table["protocol"][row] = name
        for column, count in zip(REQUEST_COUNTS[:LATENCY_SUM], counts, strict=False):
            table[column][row] = count
        table["mean_ns"][row] = counts[LATENCY_SUM] // counts[ANSWERED] if counts[ANSWERED] else -1
        mine = results.request_latency[results.request_latency[:, 0] == row]
        for percentile in PERCENTILES:
            table[f"p{percentile}_ns"][row] = percentile_of(mine[:, 1], mine[:, 2], percentile)
    return table
