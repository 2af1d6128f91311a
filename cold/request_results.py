"""What a tail has to tell of its requests at the end: a row for each protocol.

Where some ask in the place of all, counts are estimates: each of these counts for as many as it stands for. How far an
estimate may be wrong is told by how much those of one stratum differ (Cochran, Sampling Techniques, 1977, section 5.3).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from cold.request_askers import Representatives
from cold.request_layout import ANSWERED, ASKS_SHIFT, LATENCY_SUM, PROTOCOLS, REQUEST_COUNTS, WEIGHT_SHIFT
from cold.requests import roles_of
from cold.results import PERCENTILES, TailResults, percentile_of
from cold.state_kernels import State

Int64Array = npt.NDArray[np.int64]

_COLUMNS: Final = [
    ("protocol", np.str_, 64),
    *((name, np.int64) for name in REQUEST_COUNTS[:LATENCY_SUM]),
    ("mean_ns", np.int64),
    *((f"p{percentile}_ns", np.int64) for percentile in PERCENTILES),
]
#: Counts whose standard errors are told.
_ERRORS: Final = ("asked", "answered", "failed", "timeouts", "refused", "limited", "request_bytes", "response_bytes")
#: What `request_table` returns: latencies count from the first attempt to the last byte of the answer; -1 without any.
REQUEST_TABLE_TYPE: Final = np.dtype(_COLUMNS)
#: The same where some ask in the place of all, at one protocol or more: with standard errors, 0 of what is exact.
ESTIMATE_TABLE_TYPE: Final = np.dtype(
    [
        *_COLUMNS,
        ("askers", np.int64),
        ("executed", np.int64),
        *((f"{name}_error", np.int64) for name in _ERRORS),
        ("mean_error_ns", np.int64),
    ]
)


def request_results(results: TailResults, state: State, representatives: Representatives, owned: range) -> TailResults:
    """A shard's results, with what its arrays have counted of requests.

    Parameters
    ----------
    results
        Without.
    state
        The arrays.
    representatives
        Who asks in the place of others.
    owned
        HostIds of the shard's identities.
    """
    protocols = int(state.request_cursor[PROTOCOLS])
    if protocols == 0:
        return results
    protocol, bucket = np.nonzero(state.request_latency)
    entries = np.stack([protocol, bucket, state.request_latency[protocol, bucket]], axis=1)
    askers = np.zeros((protocols, 2), dtype=np.int64)
    first, past = int(state.cuts[0]), int(state.cuts[-1])
    role = roles_of(state.role, past - first)[owned.start - first : owned.stop - first]
    for number in range(protocols):
        asks = role >> np.uint64(number + ASKS_SHIFT) & np.uint64(1) == 1
        executed = asks
        chosen = representatives.of(number).astype(np.int64)
        if len(chosen):
            executed = asks & (state.link_head >= 0)
            executed[chosen[(chosen >= owned.start) & (chosen < owned.stop)] - owned.start] = True
        askers[number] = asks.sum(), executed.sum()
    return results._replace(
        requests=state.request_counts.copy(),
        request_latency=entries.astype(np.int64),
        request_askers=askers,
        request_strata=representatives.stratum,
    )


def request_table(results: TailResults, names: Sequence[str]) -> npt.NDArray[np.void]:
    """One row for each protocol of the configuration, in its order.

    It is of `ESTIMATE_TABLE_TYPE` where some ask in the place of all, else of `REQUEST_TABLE_TYPE`.
    """
    is_estimate = len(results.request_strata) > 0
    table = np.zeros(len(names), dtype=ESTIMATE_TABLE_TYPE if is_estimate else REQUEST_TABLE_TYPE)
    for row, name in enumerate(names):
        table["protocol"][row] = name
        strata = results.request_strata[:, 0] == row
        counted = results.requests[len(names) :][strata]
        counts, errors, mean_error = estimate(results.requests[row], counted, results.request_strata[strata])
        for column, count in zip(REQUEST_COUNTS[:LATENCY_SUM], counts, strict=False):
            table[column][row] = count
        table["mean_ns"][row] = counts[LATENCY_SUM] // counts[ANSWERED] if counts[ANSWERED] else -1
        mine = results.request_latency[results.request_latency[:, 0] == row]
        for percentile in PERCENTILES:
            table[f"p{percentile}_ns"][row] = percentile_of(mine[:, 1], mine[:, 2], percentile)
        if is_estimate:
            table["askers"][row], table["executed"][row] = results.request_askers[row]
            for column in _ERRORS:
                table[f"{column}_error"][row] = round(errors[REQUEST_COUNTS.index(column)])
            table["mean_error_ns"][row] = round(mean_error)
    return table


def estimate(own: Int64Array, counted: Int64Array, stratum: Int64Array) -> tuple[list[int], list[float], float]:
    """Estimate the counts of a protocol, by `REQUEST_COUNTS`, the standard errors, and that of the mean latency [ns].

    Parameters
    ----------
    own
        int64[counts]: of identities that stand for themselves, and hot hosts.
    counted
        int64[K, counts]: of each representative.
    stratum
        int64[K, 3]: `Representatives.stratum`.
    """
    numbers, place = np.unique(stratum[:, 2], return_inverse=True)
    total = [count << WEIGHT_SHIFT for count in own.tolist()]
    rows = [np.flatnonzero(place == number) for number in range(len(numbers))]
    for mine in rows:
        askers, chosen = int(stratum[mine[0], 1]), len(mine)
        for column, count in enumerate(counted[mine].sum(axis=0).tolist()):
            total[column] += (count * askers << WEIGHT_SHIFT) // chosen
    counts = [(count + (1 << WEIGHT_SHIFT - 1)) >> WEIGHT_SHIFT for count in total]
    answered = max(counts[ANSWERED], 1)
    mean = counts[LATENCY_SUM] / answered
    # The last column is what makes the latencies of one differ from what the mean says: its sum is that of a ratio.
    values = np.column_stack([counted, counted[:, LATENCY_SUM] - mean * counted[:, ANSWERED]])
    variance = np.zeros(values.shape[1], dtype=np.float64)
    for mine in rows:
        askers, chosen = int(stratum[mine[0], 1]), len(mine)
        if chosen < askers:
            variance += askers * (askers - chosen) / chosen * values[mine].var(axis=0, ddof=1)
    errors = np.sqrt(variance)
    return counts, errors[:-1].tolist(), float(errors[-1]) / answered
