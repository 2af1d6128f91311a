"""The messages that the tail holds: their slots in the kernels' arrays, and what became of those that are gone.

A message has a slot from when it enters the tail until no event refers to it any more, and every identity has it or its
`seen_ttl` has passed. Then its spread is summarised, the slot is free for another, and of the message remains what is
known of it as a whole: that is enough to answer whatever hot hosts may still say about it. So when a slot is freed
cannot be seen from outside: nobody asks for the message, copies are duplicates until its time to live ends, and a
request comes too late for the message cache, for as long as which there was a reference to it.

Every shard of a tail has slots of its own. A message has one on each shard that has heard of it, until the identities
of all shards have it: a shard tells the others when its own do, after what these have asked for has been sent.
"""

import mmap
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.errors import UserError
from cold.delay_layout import BUCKETS
from cold.lacker_kernels import begin_lackers
from cold.message_kernels import forget, list_subscribers, spread
from cold.results import SPREAD_TYPE, TailResults
from cold.state_kernels import NEVER, SEEN, SLOT_MASK, TALLIED, State
from cold.unwanted_kernels import forget_unwanted

#: The bits of so many messages fill a cache line of `State.identity`.
_SLOTS_AT_FIRST: Final = 192
_ARRIVALS_AT_FIRST: Final = 4096
#: Slots are looked through for some to free when as many are in use, and then when a share more are.
_FEW: Final = 16
_MASK: Final = 2**64 - 1


class Description(NamedTuple):
    """What a message's publisher says about it."""

    topic: int
    """Index of the topic."""
    publish_time: int
    """ns."""
    origin: int
    """HostId, or -1 if unknown."""
    origin_address: int
    size: int


class _Spread(NamedTuple):
    """What became of a message on this shard: a row of `SPREAD_TYPE`, and the histogram of its delays."""

    row: tuple[int, ...]
    bucket: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]


class _Passage:
    """What summaries of messages share that are made one after the other.

    Attributes
    ----------
    histogram : ndarray of int32, shape (BUCKETS,)
        All 0.
    members : dict
        int32[n], by topics that were met: who of this shard subscribes, by their index.
    """

    def __init__(self) -> None:
        self.histogram = np.zeros(BUCKETS, dtype=np.int32)
        self.members: dict[int, npt.NDArray[np.int32]] = {}


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
    told : uint8[S, R]
        Whether a shard has been told what is known of the message, its payload included.
    untold : list of set of int
        By shard: slots of messages from hot hosts that it has not been told of.
    incomplete : list of set of int
        By shard: slots of messages that it has not been told to be complete here.
    arrivals_used : int
        The most entries of `State.arrival` in use at once so far.

    Parameters
    ----------
    topics
        Topic numbers, by topic index.
    seen_ttl_ns
        How long copies of a message are taken after its publication.
    first_id
        HostId of the first identity of this shard.
    hot_count
        HostId of the first identity of all.
    full_topics
        `Parameters.full_topics`.
    shard
        This shard.
    members
        How many subscribers of each topic the shards have: int64[topics, shards]. Topics that are not exact have none.
    present
        Which shards have identities: bool[shards].
    """

    def __init__(
        self,
        topics: list[int],
        seen_ttl_ns: int,
        first_id: int,
        hot_count: int,
        full_topics: int,
        shard: int,
        members: npt.NDArray[np.int64],
        present: npt.NDArray[np.bool_],
    ) -> None:
        self.slot_of: dict[int, int] = {}
        self.publish_time = np.zeros(_SLOTS_AT_FIRST, dtype=np.int64)
        self.origin_address = np.zeros(_SLOTS_AT_FIRST, dtype=np.uint32)
        self.payload: dict[int, bytes] = {}
        self.told = np.zeros((_SLOTS_AT_FIRST, len(present)), dtype=np.uint8)
        self._others = [other for other in np.flatnonzero(present).tolist() if other != shard]
        self.untold: list[set[int]] = [set() for _ in present]
        self.incomplete: list[set[int]] = [set() for _ in present]
        self._is_complete = np.zeros(_SLOTS_AT_FIRST, dtype=np.uint8)
        self.arrivals_used = 0
        self._first_id = first_id
        self._hot_count = hot_count
        self._full_topics = full_topics
        self._subscribers = members[:, shard]
        self._members = self._subscribers.tolist()
        self._absent = (members == 0).astype(np.uint8)
        self._arrivals = _Arrivals()
        self._published = np.zeros(_SLOTS_AT_FIRST, dtype=np.bool_)
        self._release = np.zeros(_SLOTS_AT_FIRST, dtype=np.int64)
        self._free = list(range(_SLOTS_AT_FIRST - 1, -1, -1))
        self._topics = topics
        self._seen_ttl_ns = seen_ttl_ns
        self._finished: list[_Spread] = []
        self._digest = (0, 0)
        self._past: dict[int, Description] = {}
        self._returned: set[int] = set()
        self._enough = _FEW

    def arrays(
        self, identities: int, watched: int, topics: int, shards: int, blocks: int
    ) -> dict[str, npt.NDArray[np.generic]]:
        """The arrays of `State` that have rows or bits per slot, for the first slots.

        `identities` are those of this shard; `watched` are those of others, or 0 where nobody asks who elsewhere has
        what; `blocks` are those of `State.lackers`.
        """
        slots, words = _SLOTS_AT_FIRST, _SLOTS_AT_FIRST // 64
        return {
            "message_id": np.zeros(slots, dtype=np.uint64),
            "message_topic": np.full(slots, -1, dtype=np.int32),
            "message_origin": np.full(slots, -1, dtype=np.int64),
            "message_size": np.zeros(slots, dtype=np.int64),
            "message_expiry": np.full(slots, NEVER, dtype=np.int64),
            "last_reference": np.zeros(slots, dtype=np.int64),
            "named_until": np.zeros(slots, dtype=np.int64),
            "was_another": np.zeros(slots, dtype=np.uint8),
            "wanted": np.zeros(slots, dtype=np.int32),
            "place": np.full(slots, -1, dtype=np.int32),
            "reached": np.zeros(slots, dtype=np.int64),
            "tally": np.zeros((slots, TALLIED), dtype=np.int64),
            "saturated": np.zeros(slots, dtype=np.uint8),
            "complete": np.zeros((slots, shards), dtype=np.uint8),
            "lackers": np.zeros((slots, blocks), dtype=np.uint8),
            "lacked": np.zeros((slots, -(-blocks // 64)), dtype=np.uint64),
            "lacking": np.zeros((topics, words), dtype=np.uint64),
            "topic_slots": np.zeros((topics, words), dtype=np.uint64),
            "identity": aligned_zeros(identities, SEEN + words),
            "asked": np.zeros((0, 1 + words), dtype=np.uint64),
            "seen_elsewhere": np.zeros((watched, words), dtype=np.uint64),
            "members": np.array(self._members, dtype=np.int64),
            "arrival_start": np.zeros(slots, dtype=np.int64),
            "arrival": aligned_zeros(1, _ARRIVALS_AT_FIRST)[0],
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
        self._published[slot] = False
        self._release[slot] = time + self._seen_ttl_ns
        state.message_id[slot] = message_id
        state.message_topic[slot] = topic
        state.message_origin[slot] = -1
        state.message_size[slot] = 0
        state.message_expiry[slot] = NEVER
        state.last_reference[slot] = time
        state.was_another[slot] = state.named_until[slot] > now
        state.reached[slot] = 0
        state.tally[slot] = 0
        state.saturated[slot] = 0
        self._is_complete[slot] = 0
        self.told[slot] = 0
        state.complete[slot] = self._absent[topic]
        self._set_topic(state, slot, topic)
        past = self._past.get(message_id)
        if past is not None:
            self._returned.add(slot)
            state.saturated[slot] = 1
            self._is_complete[slot] = 1
            state.complete[slot] = 1
            state = self.describe(state, slot, *past)
        return state, slot

    def describe(
        self, state: State, slot: int, topic: int, publish_time: int, origin: int, origin_address: int, size: int
    ) -> State:
        """Record what a message's publisher said about it, see `Description`: from now on members may receive it.

        Returns the kernels' arrays, which replace those that were passed.
        """
        if slot not in self._returned:
            if topic != state.message_topic[slot]:
                state.complete[slot] = self._absent[topic]
            members = self._members[topic]
            state.saturated[slot] = members == 0
            place = self._arrivals.take(members)
            self.arrivals_used = self._arrivals.used
            if self._arrivals.used > len(state.arrival):
                longer = aligned_zeros(1, max(self._arrivals.used, len(state.arrival) * 5 // 4))[0]
                longer[: len(state.arrival)] = state.arrival
                state = state._replace(arrival=longer)
            state.arrival[place : place + members] = NEVER
            state.arrival_start[slot] = place
        self._set_topic(state, slot, topic)
        self._published[slot] = True
        self.publish_time[slot] = publish_time
        self.origin_address[slot] = origin_address
        self._release[slot] = publish_time + self._seen_ttl_ns
        state.message_expiry[slot] = publish_time + self._seen_ttl_ns
        state.message_origin[slot] = origin
        state.message_size[slot] = size
        return state

    def agrees(self, state: State, slot: int, publish_time: int, origin_address: int, topic: int, size: int) -> bool:
        """Whether another copy of a described message says the same about it."""
        return (
            int(self.publish_time[slot]) == publish_time
            and int(self.origin_address[slot]) == origin_address
            and int(state.message_topic[slot]) == topic
            and int(state.message_size[slot]) == size
        )

    def count(self) -> int:
        """Number of messages that the tail has heard of."""
        live = sum(bool(self._published[slot]) and slot not in self._returned for slot in self.slot_of.values())
        return len(self._finished) + live

    def description(self, state: State, slot: int) -> Description:
        """What is known of a described message."""
        return Description(
            int(state.message_topic[slot]),
            int(self.publish_time[slot]),
            int(state.message_origin[slot]),
            int(self.origin_address[slot]),
            int(state.message_size[slot]),
        )

    def is_returned(self, slot: int) -> bool:
        """Whether the slot stands for a message whose spread is over: every copy of it is a duplicate."""
        return slot in self._returned

    def is_past(self, message_id: int) -> bool:
        """Whether the message's spread on this shard is over, and its slot was freed."""
        return message_id in self._past

    def known(self, state: State, message_id: int) -> Description | None:
        """What a message's publisher has said about it, as far as the tail has heard."""
        slot = self.slot_of.get(message_id)
        if slot is not None and self._published[slot]:
            return self.description(state, slot)
        return self._past.get(message_id)

    def take_complete(self, state: State, shard: int, message_id: int) -> None:
        """Note that every identity of another shard has a message."""
        slot = self.slot_of.get(message_id)
        if slot is not None:
            state.complete[slot, shard] = 1

    def note_complete(self, state: State) -> None:
        """Note what messages all identities of this shard have, so that the others are told."""
        slots = np.flatnonzero(state.saturated > self._is_complete)
        if not len(slots):
            return
        self._is_complete[slots] = 1
        # Where no identity subscribes that is known without being told.
        news = slots[self._subscribers[state.message_topic[slots]] > 0].tolist()
        for other in self._others:
            self.incomplete[other].update(news)

    def note_fresh(self, slot: int) -> None:
        """Note a message that a hot host has told of, so that the other shards are told."""
        for other in self._others:
            self.untold[other].add(slot)

    def results(self, state: State) -> TailResults:
        """The spread of every message so far on this shard, by (publish time, id), and the sums of all arrivals."""
        digest = self._digest
        live, passage = [], _Passage()
        for slot in self.slot_of.values():
            if self._published[slot] and slot not in self._returned:
                found, digest = self._summarise(state, slot, digest, passage)
                live.append(found)
        every = sorted([*self._finished, *live], key=lambda entry: (entry.row[5], entry.row[0]))
        ends = np.cumsum([0, *(len(entry.bucket) for entry in every)])
        return TailResults(
            np.array([entry.row for entry in every], dtype=SPREAD_TYPE),
            ends.astype(np.int64),
            np.concatenate([np.zeros(0, np.int32), *(entry.bucket for entry in every)]),
            np.concatenate([np.zeros(0, np.int64), *(entry.counts for entry in every)]),
            np.array(digest, dtype=np.uint64),
        )

    def _summarise(
        self, state: State, slot: int, digest: tuple[int, int], passage: _Passage
    ) -> tuple[_Spread, tuple[int, int]]:
        topic, publish_time, origin, origin_address, size = self.description(state, slot)
        if topic not in passage.members:
            number = int(state.topic_place[topic]) - self._full_topics
            begin = self._first_id - self._hot_count
            passage.members[topic] = list_subscribers(state.subscribed, begin, len(state.identity), number)
        bucket, count, longest, first, second = spread(
            state.arrival[state.arrival_start[slot] :],
            passage.members[topic],
            state.message_id[slot],
            self._first_id,
            origin,
            publish_time,
            passage.histogram,
        )
        row = (
            int(state.message_id[slot]),
            origin,
            origin_address,
            self._topics[topic],
            size,
            publish_time,
            int(count.sum()),
            int(longest),
        )
        sums = ((digest[0] + int(first)) & _MASK, (digest[1] + int(second)) & _MASK)
        return _Spread(row, bucket, count), sums

    def _set_topic(self, state: State, slot: int, topic: int) -> None:
        word, bit = slot >> 6, np.uint64(1 << (slot & 63))
        state.message_topic[slot] = topic
        state.topic_slots[:, word] &= ~bit
        state.topic_slots[topic, word] |= bit
        begin_lackers(state.subscribers_up, state.lackers, state.lacked, topic, slot)
        state.lacking[:, word] &= ~bit
        if not state.saturated[slot] or not state.complete[slot, self._others].all():
            state.lacking[topic, word] |= bit

    def _is_everywhere(self, state: State, slot: int) -> bool:
        """Whether all identities of all shards had the message when the window began, and so all have been told."""
        lacking = int(state.lacking[state.message_topic[slot], slot >> 6])
        return lacking >> (slot & 63) & 1 == 0

    def _recycle(self, state: State, now: int) -> None:
        gone = np.zeros(state.topic_slots.shape[1], dtype=np.uint64)
        passage = _Passage()
        for message_id, slot in list(self.slot_of.items()):
            is_over = self._is_everywhere(state, slot) or int(self._release[slot]) < now
            if not is_over or int(state.last_reference[slot]) >= now:
                continue
            if self._published[slot] and slot not in self._returned:
                finished, self._digest = self._summarise(state, slot, self._digest, passage)
                self._finished.append(finished)
                self._past[message_id] = self.description(state, slot)
                self._arrivals.give_back(int(state.arrival_start[slot]), self._members[state.message_topic[slot]])
            self._returned.discard(slot)
            gone[slot >> 6] |= np.uint64(1 << (slot & 63))
            state.message_topic[slot] = -1
            self.payload.pop(slot, None)
            for other in self._others:
                self.untold[other].discard(slot)
                self.incomplete[other].discard(slot)
            del self.slot_of[message_id]
            self._free.append(slot)
        if gone.any():
            forget(state.identity, state.asked, gone)
            state.seen_elsewhere[:] &= ~gone
            forget_unwanted(state.unwanted_head, state.unwanted, state.cursor, gone)
            state.topic_slots[:] &= ~gone
            state.lacking[:] &= ~gone
        self._enough = max(_FEW, len(self.slot_of) * 5 // 4)

    def _grow(self, state: State) -> State:
        """Have about twice as many slots: as many as twice the cache lines of an identity's row have bits for."""
        slots, words = len(state.message_id), state.topic_slots.shape[1]
        more = words + SEEN
        if slots + 64 * more > SLOT_MASK + 1:
            raise UserError(f"more than {slots:,} messages are alive at once", hint="lower cold.gossip.seen_ttl")
        for name in ("publish_time", "origin_address", "told", "_published", "_release", "_is_complete"):
            setattr(self, name, _lengthened(getattr(self, name), 0, 64 * more))
        self._free = list(range(slots + 64 * more - 1, slots - 1, -1))
        rows = (
            *("message_id", "message_topic", "message_origin", "message_size", "message_expiry"),
            *(
                "last_reference",
                "named_until",
                "was_another",
                "reached",
                "tally",
                "saturated",
                "complete",
                "wanted",
                "arrival_start",
                "lackers",
                "lacked",
            ),
        )
        grown: dict[str, Any] = {name: _lengthened(getattr(state, name), 0, 64 * more) for name in rows}
        words_of = ("topic_slots", "lacking", "asked", "seen_elsewhere")
        grown |= {name: _lengthened(getattr(state, name), 1, more) for name in words_of}
        grown["place"] = np.full(slots + 64 * more, -1, dtype=np.int32)
        grown["identity"] = aligned_zeros(len(state.identity), SEEN + words + more)
        grown["identity"][:, : SEEN + words] = state.identity
        return state._replace(**grown)


class _Arrivals:
    """Which part of `State.arrival` belongs to which message.

    Parts are as long as a topic has members, rounded up to one of a few lengths, so that what a message leaves another
    can take.
    """

    def __init__(self) -> None:
        self.used = 0
        self._free: dict[int, list[int]] = {}

    @staticmethod
    def _length(members: int) -> int:
        grain = 1 << max(members.bit_length() - 4, 3)
        return -(-members // grain) * grain

    def take(self, members: int) -> int:
        """Return where a part for so many members begins; all parts are within the first `used` entries."""
        length = self._length(members)
        if free := self._free.get(length):
            return free.pop()
        self.used += length
        return self.used - length

    def give_back(self, place: int, members: int) -> None:
        """Free the part that begins at a place."""
        self._free.setdefault(self._length(members), []).append(place)


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
