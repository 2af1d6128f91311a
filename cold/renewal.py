"""How the arrays of one engine become those of another of the same network, without copying all of them."""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cold.renewal_kernels import copy_entries, copy_waiting, copy_wide_rows
from cold.state_kernels import FREE_COUNT, FREE_HEAD, MESSAGE_FREE_COUNT, MESSAGE_FREE_HEAD, State


class RecordPool(NamedTuple):
    """Fields of `State` that make up a pool of records, and entries of its cursor."""

    pool: str
    chunk_next: str
    head: str
    """The first chunk of each bucket."""
    first_free: int
    """The first free chunk."""
    free: int
    """How many chunks are free."""


POOLS: Final = (
    RecordPool("pool", "chunk_next", "bucket_head", FREE_HEAD, FREE_COUNT),
    RecordPool("message_pool", "message_chunk_next", "message_head", MESSAGE_FREE_HEAD, MESSAGE_FREE_COUNT),
)
#: Of `State`: what a run never changes, and copies of an engine share.
CONSTANT_ARRAYS: Final = frozenset(
    (
        *("representative", "representative_weight", "load_share", "load_kind", "load_table"),
        *("node", "cuts", "latency", "loss", "disturbance", "disturbance_loss", "disturbed", "silence", "silenced"),
        *("validation_delay", "client", "identity_of_rank", "rank_of_phase", "redial_phase", "role"),
        *("neighbours", "dialled", "topic_place", "topic_of_place", "subscribed"),
        *("rank", "rank_before", "known_count", "known"),
    )
)
#: Arrays with a row for each identity that only its own events change, and copies of messages to it; those that are not
#: needed have one row.
_IDENTITY_ARRAYS: Final = frozenset(
    (
        *("identity", "sender"),
        *("link_head", "backoff_head", "fanout_head", "unwanted_head"),
    )
)
#: Arrays that `Lives` has; arrivals, of which nobody looks at those of messages that are not there yet; and what is
#: empty between two windows. Each engine has its own.
_ARRAYS_APART: Final = frozenset(
    (
        *("life_number", "life_until", "life_since", "life_outlines", "arrival"),
        *("due", "spare", "pending", "out", "out_ids"),
    )
)
_ARRAYS_OF_POOLS: Final = frozenset(name for each in POOLS for name in (each.pool, each.chunk_next))


def renewed(mine: State, theirs: State, touched: npt.NDArray[np.int64] | None) -> State:
    """The state of an engine as that of another, which has stopped between two windows and has no message.

    Parameters
    ----------
    mine
        Of the engine: its arrays are written to.
    theirs
        Of the other one.
    touched
        Rows of all identities for which either has executed an event since they were the same; None for all.
    """
    arrays: dict[str, Any] = mine._asdict()
    for name, array in theirs._asdict().items():
        if name in CONSTANT_ARRAYS or name in _ARRAYS_APART or name in _ARRAYS_OF_POOLS:
            continue
        if arrays[name].shape != array.shape:
            arrays[name] = array.copy()
        elif name in _IDENTITY_ARRAYS and len(array) == len(theirs.identity) and touched is not None:
            (copy_wide_rows if array.ndim == 2 else copy_entries)(touched, array, arrays[name])
        else:
            np.copyto(arrays[name], array)
    for each in POOLS:
        pool, chunk_next = getattr(theirs, each.pool), getattr(theirs, each.chunk_next)
        if len(arrays[each.chunk_next]) < len(chunk_next):
            arrays[each.pool], arrays[each.chunk_next] = pool.copy(), chunk_next.copy()
            continue
        copy_waiting(getattr(theirs, each.head), chunk_next, pool, arrays[each.pool])
        arrays[each.chunk_next][: len(chunk_next)] = chunk_next
        # The chunks that only this engine has are free.
        add_chunks(arrays[each.chunk_next], len(chunk_next), arrays["cursor"], each)
    return State(**arrays)


def add_chunks(chunk_next: npt.NDArray[np.int32], first: int, cursor: npt.NDArray[np.int64], pool: RecordPool) -> None:
    """Put the chunks from `first` on at the front of a pool's list of free ones."""
    if first == len(chunk_next):
        return
    chunk_next[first:-1] = np.arange(first + 1, len(chunk_next), dtype=np.int32)
    chunk_next[-1] = cursor[pool.first_free]
    cursor[pool.first_free] = first
    cursor[pool.free] += len(chunk_next) - first
