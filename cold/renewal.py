"""How the arrays of one engine become those of another of the same network, without copying all of them."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cold.renewal_kernels import copy_entries, copy_waiting, copy_wide_rows
from cold.state_kernels import FREE_COUNT, FREE_HEAD, MESSAGE_FREE_COUNT, MESSAGE_FREE_HEAD, State

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
#: Pools of records: their prefix, and where the cursor has their first free chunk, and how many are free.
POOLS: Final = (("", FREE_HEAD, FREE_COUNT), ("message_", MESSAGE_FREE_HEAD, MESSAGE_FREE_COUNT))
_ARRAYS_OF_POOLS: Final = frozenset(prefix + name for prefix, _, _ in POOLS for name in ("pool", "chunk_next"))


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
    for prefix, first_free, free in POOLS:
        pool, chunk_next = arrays[f"{prefix}pool"], arrays[f"{prefix}chunk_next"]
        their_pool, their_next = getattr(theirs, f"{prefix}pool"), getattr(theirs, f"{prefix}chunk_next")
        head = theirs.bucket_head if not prefix else theirs.message_head
        chunks, more = len(their_next), len(chunk_next) - len(their_next)
        if more < 0:
            arrays[f"{prefix}pool"], arrays[f"{prefix}chunk_next"] = their_pool.copy(), their_next.copy()
            continue
        copy_waiting(head, their_next, their_pool, pool)
        chunk_next[:chunks] = their_next
        # The chunks that only this engine has are free.
        cursor = arrays["cursor"]
        add_chunks(chunk_next, chunks, cursor, first_free, free)
    return State(**arrays)


def add_chunks(
    chunk_next: npt.NDArray[np.int32], first: int, cursor: npt.NDArray[np.int64], first_free: int, free: int
) -> None:
    """Put the chunks from `first` on at the front of the list of free ones, of a pool as in `POOLS`."""
    if first == len(chunk_next):
        return
    chunk_next[first:-1] = np.arange(first + 1, len(chunk_next), dtype=np.int32)
    chunk_next[-1] = cursor[first_free]
    cursor[first_free] = first
    cursor[free] += len(chunk_next) - first
