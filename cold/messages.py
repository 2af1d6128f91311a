"""The messages that the tail holds: their slots in the kernels' arrays, and what became of those that are gone.

A message has a slot from when it enters the tail until `seen_ttl` after its publication, when no event refers to it any
more: then its spread is summarised and the slot is free for another. When that happens cannot be seen from outside: a
copy that arrives after the time to live is dropped, slot or not.
"""

import hashlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cold.state_kernels import NEVER, State

#: What `MessageTable.table` returns: one row per message, by (publish time, id). Delays are ns; -1 where nobody got it.
TABLE_TYPE: Final = np.dtype(
    [
        ("id", np.uint64),
        ("origin", np.int64),
        ("origin_address", np.uint32),
        ("topic", np.int64),
        ("size", np.int64),
        ("publish_time_ns", np.int64),
        ("delivered", np.int64),
        ("p50_ns", np.int64),
        ("p95_ns", np.int64),
        ("p99_ns", np.int64),
        ("max_ns", np.int64),
    ]
)
_SLOTS_AT_FIRST: Final = 64


class MessageTable:
    """Which message is in which slot.

    The arrays that kernels read are in `State`; those here have the same rows.

    Attributes
    ----------
    slot_of : dict of int to int
        Slot by message id.
    publish_time : int64[S]
        Simulated time [ns].
    origin_address : uint32[S]
    payload : dict of int to bytes
        By slot: payloads that are not those that the ids stand for.
    most_alive : int
        The most slots in use at once so far.
    """

    def __init__(self, topics: list[int], seen_ttl_ns: int) -> None:
        self.slot_of: dict[int, int] = {}
        self.publish_time = np.zeros(_SLOTS_AT_FIRST, dtype=np.int64)
        self.origin_address = np.zeros(_SLOTS_AT_FIRST, dtype=np.uint32)
        self.payload: dict[int, bytes] = {}
        self.most_alive = 0
        self._published = np.zeros(_SLOTS_AT_FIRST, dtype=np.bool_)
        self._release = np.zeros(_SLOTS_AT_FIRST, dtype=np.int64)
        self._free = list(range(_SLOTS_AT_FIRST - 1, -1, -1))
        self._topics = topics
        self._seen_ttl_ns = seen_ttl_ns
        self._finished: list[tuple[tuple[int | float, ...], bytes]] = []

    @staticmethod
    def arrays(identities: int, topics: int) -> dict[str, npt.NDArray[np.generic]]:
        """The arrays of `State` that have rows or bits per slot, for the first slots."""
        slots, words = _SLOTS_AT_FIRST, _SLOTS_AT_FIRST // 64
        return {
            "message_id": np.zeros(slots, dtype=np.uint64),
            "message_topic": np.full(slots, -1, dtype=np.int32),
            "message_origin": np.full(slots, -1, dtype=np.int64),
            "message_size": np.zeros(slots, dtype=np.int64),
            "message_expiry": np.full(slots, NEVER, dtype=np.int64),
            "last_reference": np.zeros(slots, dtype=np.int64),
            "wanted": np.zeros(slots, dtype=np.int32),
            "topic_slots": np.zeros((topics, words), dtype=np.uint64),
            "seen": np.zeros((identities, words), dtype=np.uint64),
            "recent": np.zeros((identities, words), dtype=np.uint64),
            "asked": np.zeros((identities, words), dtype=np.uint64),
            "arrival": np.zeros((slots, identities), dtype=np.int64),
            "hops": np.zeros((slots, identities), dtype=np.uint8),
        }

    def is_published(self, slot: int) -> bool:
        """Whether more is known of the message than its id."""
        return bool(self._published[slot])

    def reserve(self, state: State, message_id: int, topic: int, now: int, time: int) -> tuple[State, int]:
        """Give a message a slot, if it has none.

        Parameters
        ----------
        state
            The kernels' arrays; those returned replace them.
        message_id
            Id on the wire.
        topic
            Index of the topic.
        now
            Events before this time have been executed [ns].
        time
            When the tail hears of it [ns].
        """
        slot = self.slot_of.get(message_id)
        if slot is not None:
            return state, slot
        if not self._free:
            self._recycle(state, now)
        if not self._free:
            state = self._grow(state)
        slot = self._free.pop()
        self.slot_of[message_id] = slot
        self.most_alive = max(self.most_alive, len(self.slot_of))
        self._published[slot] = False
        self._release[slot] = time + self._seen_ttl_ns
        state.message_id[slot] = message_id
        state.message_topic[slot] = topic
        state.message_origin[slot] = -1
        state.message_size[slot] = 0
        state.message_expiry[slot] = NEVER
        state.last_reference[slot] = time
        state.topic_slots[topic, slot >> 6] |= np.uint64(1 << (slot & 63))
        return state, slot

    def describe(self, state: State, slot: int, publish_time: int, origin: int, origin_address: int, size: int) -> None:
        """Record what a message's publisher said about it: times in ns of the simulation, `origin` -1 if unknown."""
        self._published[slot] = True
        self.publish_time[slot] = publish_time
        self.origin_address[slot] = origin_address
        self._release[slot] = publish_time + self._seen_ttl_ns
        state.message_expiry[slot] = publish_time + self._seen_ttl_ns
        state.message_origin[slot] = origin
        state.message_size[slot] = size

    def agrees(self, state: State, slot: int, publish_time: int, origin_address: int, topic: int, size: int) -> bool:
        """Whether another copy of a described message says the same about it."""
        return (
            int(self.publish_time[slot]) == publish_time
            and int(self.origin_address[slot]) == origin_address
            and int(state.message_topic[slot]) == topic
            and int(state.message_size[slot]) == size
        )

    def table(self, state: State) -> npt.NDArray[np.void]:
        """The spread of every message so far, as `TABLE_TYPE`."""
        return np.array([row for row, _ in self._all(state)], dtype=TABLE_TYPE)

    def digest(self, state: State) -> bytes:
        """SHA-256 over the first arrival of every message at every identity."""
        whole = hashlib.sha256()
        for row, arrivals in self._all(state):
            whole.update(f"{row[0]} {row[5]} {row[6]}\n".encode())
            whole.update(arrivals)
        return whole.digest()

    def _all(self, state: State) -> list[tuple[tuple[int | float, ...], bytes]]:
        live = [self._summarise(state, slot) for slot in self.slot_of.values() if self._published[slot]]
        return sorted([*self._finished, *live], key=lambda entry: (entry[0][5], entry[0][0]))

    def _summarise(self, state: State, slot: int) -> tuple[tuple[int | float, ...], bytes]:
        got = (state.seen[:, slot >> 6] >> np.uint64(slot & 63) & np.uint64(1)).astype(np.bool_)
        arrivals = np.where(got, state.arrival[slot], -1)
        origin = int(state.message_origin[slot])
        identities = len(got)
        first_id = len(state.node) - identities
        if origin >= first_id:
            got[origin - first_id] = False
        delays = arrivals[got] - self.publish_time[slot]
        quantiles: list[int] = [-1] * 4
        if len(delays):
            quantiles = [int(q) for q in np.percentile(delays, [50, 95, 99, 100], method="inverted_cdf")]
        row = (
            int(state.message_id[slot]),
            origin,
            int(self.origin_address[slot]),
            self._topics[int(state.message_topic[slot])],
            int(state.message_size[slot]),
            int(self.publish_time[slot]),
            len(delays),
            *quantiles,
        )
        return row, hashlib.sha256(arrivals.astype(">i8").tobytes()).digest()

    def _recycle(self, state: State, now: int) -> None:
        for message_id, slot in list(self.slot_of.items()):
            if max(int(state.last_reference[slot]), int(self._release[slot])) >= now:
                continue
            if self._published[slot]:
                self._finished.append(self._summarise(state, slot))
            word, mask = slot >> 6, np.uint64(~(1 << (slot & 63)) & 0xFFFFFFFFFFFFFFFF)
            for bits in (state.seen, state.recent, state.asked):
                bits[:, word] &= mask
            state.topic_slots[:, word] &= mask
            state.message_topic[slot] = -1
            self.payload.pop(slot, None)
            del self.slot_of[message_id]
            self._free.append(slot)

    def _grow(self, state: State) -> State:
        """Double the number of slots."""
        slots = len(state.message_id)
        for name in ("publish_time", "origin_address", "_published", "_release"):
            setattr(self, name, _lengthened(getattr(self, name), 0, slots))
        self._free = list(range(2 * slots - 1, slots - 1, -1))
        rows = (
            *("message_id", "message_topic", "message_origin", "message_size", "message_expiry"),
            *("last_reference", "wanted", "arrival", "hops"),
        )
        words = ("topic_slots", "seen", "recent", "asked")
        grown: dict[str, Any] = {name: _lengthened(getattr(state, name), 0, slots) for name in rows}
        grown |= {name: _lengthened(getattr(state, name), 1, slots // 64) for name in words}
        return state._replace(**grown)


def _lengthened(array: npt.NDArray[np.generic], axis: int, more: int) -> npt.NDArray[np.generic]:
    """A copy with `more` zero entries at the end of `axis`; untouched rows cost no memory until they are used."""
    shape = list(array.shape)
    shape[axis] += more
    longer = np.zeros(shape, dtype=array.dtype)
    longer[tuple(slice(0, size) for size in array.shape)] = array
    return longer
