"""The messages that the tail holds: their slots in the kernels' arrays, and what became of those that are gone.

A message has a slot from when it enters the tail until no event refers to it any more, and every identity has it or its
`seen_ttl` has passed. Then its spread is summarised, the slot is free for another, and of the message remains what is
known of it as a whole: that is enough to answer whatever hot hosts may still say about it. So when a slot is freed
cannot be seen from outside: nobody asks for the message, copies are duplicates until its time to live ends, and a
request comes too late for the message cache, for as long as which there was a reference to it.
"""

import hashlib
import mmap
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.errors import UserError
from cold.message_kernels import first_arrivals, forget
from cold.state_kernels import NEVER, SEEN, SLOT_MASK, State

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
#: Slots are looked through for some to free when as many are in use, and then when a share more are.
_FEW: Final = 16


class _Description(NamedTuple):
    """What a message's publisher says about it."""

    topic: int
    publish_time: int
    origin: int
    origin_address: int
    size: int


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
        self._past: dict[int, _Description] = {}
        self._returned: set[int] = set()
        self._enough = _FEW

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
            "reached": np.zeros(slots, dtype=np.int64),
            "saturated": np.zeros(slots, dtype=np.uint8),
            "topic_slots": np.zeros((topics, words), dtype=np.uint64),
            "open_slots": np.zeros((topics, words), dtype=np.uint64),
            "identity": aligned_zeros(identities, SEEN + words),
            "asked": np.zeros((identities, words), dtype=np.uint64),
            "arrival": np.zeros((slots, identities), dtype=np.int64),
        }

    def is_known(self, message_id: int) -> bool:
        """Whether the message was ever published, as far as the tail has heard."""
        return message_id in self._past or (message_id in self.slot_of and self.is_published(self.slot_of[message_id]))

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
        if not self._free or len(self.slot_of) >= self._enough:
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
        state.reached[slot] = 0
        state.saturated[slot] = 0
        state.topic_slots[topic, slot >> 6] |= np.uint64(1 << (slot & 63))
        past = self._past.get(message_id)
        if past is not None:
            self._returned.add(slot)
            state.message_topic[slot] = past.topic
            state.saturated[slot] = 1
            self.describe(state, slot, past.publish_time, past.origin, past.origin_address, past.size)
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
        live = [
            self._summarise(state, slot)
            for slot in self.slot_of.values()
            if self._published[slot] and slot not in self._returned
        ]
        return sorted([*self._finished, *live], key=lambda entry: (entry[0][5], entry[0][0]))

    def _summarise(self, state: State, slot: int) -> tuple[tuple[int | float, ...], bytes]:
        arrivals = first_arrivals(state.identity, slot, state.arrival[slot])
        got = arrivals >= 0
        origin = int(state.message_origin[slot])
        first_id = len(state.node) - len(got)
        if origin >= first_id:
            got[origin - first_id] = False
        delays = arrivals[got] - self.publish_time[slot]
        quantiles = [-1] * 4
        if len(delays):
            ranks = [(len(delays) * percent + 99) // 100 - 1 for percent in (50, 95, 99, 100)]
            quantiles = np.partition(delays, ranks)[ranks].tolist()
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
        gone = np.zeros(state.asked.shape[1], dtype=np.uint64)
        for message_id, slot in list(self.slot_of.items()):
            is_over = state.saturated[slot] or int(self._release[slot]) < now
            if not is_over or int(state.last_reference[slot]) >= now:
                continue
            if self._published[slot] and slot not in self._returned:
                self._finished.append(self._summarise(state, slot))
                self._past[message_id] = _Description(
                    int(state.message_topic[slot]),
                    int(self.publish_time[slot]),
                    int(state.message_origin[slot]),
                    int(self.origin_address[slot]),
                    int(state.message_size[slot]),
                )
            self._returned.discard(slot)
            gone[slot >> 6] |= np.uint64(1 << (slot & 63))
            state.message_topic[slot] = -1
            self.payload.pop(slot, None)
            del self.slot_of[message_id]
            self._free.append(slot)
        if gone.any():
            forget(state.identity, state.asked, gone)
            state.topic_slots[:] &= ~gone
            state.open_slots[:] &= ~gone
        self._enough = max(_FEW, len(self.slot_of) * 5 // 4)

    def _grow(self, state: State) -> State:
        """Double the number of slots."""
        slots, words = len(state.message_id), state.asked.shape[1]
        if 2 * slots > SLOT_MASK + 1:
            raise UserError(f"more than {slots:,} messages are alive at once", hint="lower cold.gossip.seen_ttl")
        for name in ("publish_time", "origin_address", "_published", "_release"):
            setattr(self, name, _lengthened(getattr(self, name), 0, slots))
        self._free = list(range(2 * slots - 1, slots - 1, -1))
        rows = (
            *("message_id", "message_topic", "message_origin", "message_size", "message_expiry"),
            *("last_reference", "reached", "saturated", "wanted", "arrival"),
        )
        grown: dict[str, Any] = {name: _lengthened(getattr(state, name), 0, slots) for name in rows}
        grown |= {name: _lengthened(getattr(state, name), 1, words) for name in ("topic_slots", "open_slots", "asked")}
        grown["identity"] = aligned_zeros(len(state.identity), SEEN + 2 * words)
        grown["identity"][:, : SEEN + words] = state.identity
        return state._replace(**grown)


def aligned_zeros(rows: int, columns: int) -> npt.NDArray[np.int64]:
    """Zeros, int64[rows, columns], that begin at a page, in huge pages where the machine has them.

    Events come to rows at random, so that with small pages each would cost a walk through the page tables besides.
    """
    memory = mmap.mmap(-1, max(rows * columns * 8, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype=np.int64, count=rows * columns).reshape(rows, columns)


def _lengthened(array: npt.NDArray[np.generic], axis: int, more: int) -> npt.NDArray[np.generic]:
    """A copy with `more` zero entries at the end of `axis`; untouched rows cost no memory until they are used."""
    shape = list(array.shape)
    shape[axis] += more
    longer = np.zeros(shape, dtype=array.dtype)
    longer[tuple(slice(0, size) for size in array.shape)] = array
    return longer
