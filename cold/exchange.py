"""What the shards of one tail tell each other: events of identities, and which messages all of theirs have.

At the end of a window, a shard sends each other shard one block at most. A block names messages by their ids and says
what is known of them, because slots differ from shard to shard.
"""

from collections import Counter
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch, EventKind, pack_payloads
from bridge.errors import InternalError
from cold.blocks import ABOUT_MESSAGES, Block, Limits
from cold.messages import MessageTable
from cold.state_kernels import (
    AUXILIARY_SHIFT,
    CROSSING_COUNT,
    HOPS_SHIFT,
    KIND_MASK,
    MESSAGE,
    SLOT_MASK,
    SLOT_SHIFT,
    WORD,
    State,
)


class Exchange:
    """One shard's end.

    Parameters
    ----------
    cuts
        First HostIds of the identities of all shards, and one past the last: int64[shards + 1].
    shard
        This shard.
    topics
        Number of topics.
    hosts
        Number of all hosts.
    protocols
        Number of protocols of requests.
    transactions
        Number of transactions.

    Attributes
    ----------
    dropped : Counter
        Events that were dropped: those whose message contradicts what this shard knows under its id.
    """

    def __init__(
        self, cuts: npt.NDArray[np.int64], shard: int, topics: int, hosts: int, protocols: int, transactions: int
    ) -> None:
        self._ranges = [range(first, last) for first, last in pairwise(cuts.tolist())]
        self._shard = shard
        self._topics = topics
        self._hosts = hosts
        self._protocols = protocols
        self._transactions = transactions
        self._sent = 0
        self.dropped: Counter[str] = Counter()

    def encode(self, messages: MessageTable, state: State, window_end: int) -> EventBatch:
        """Turn the crossing records into a block for each shard, which also says what is new about messages.

        Where no events cross, nothing is said: it can wait for some that do.
        """
        count = int(state.cursor[CROSSING_COUNT])
        messages.note_complete(state)
        if not count:
            return EventBatch.empty()
        records = state.crossing[:count]
        if int(records[:, 0].min()) < window_end:
            raise InternalError(
                f"an event among identities is for {records[:, 0].min()} ns, before the window's end, {window_end} ns",
                where="cold engine",
            )
        destinations = records[:, 1] >> 32
        times, shards, blocks = [], [], []
        for shard, owned in enumerate(self._ranges):
            if shard == self._shard or not owned:
                continue
            mine = records[(destinations >= owned.start) & (destinations < owned.stop)]
            if len(mine):
                blocks.append(_block(mine, shard, messages, state).encode())
                shards.append(shard)
                times.append(int(mine[:, 0].min()))
        self._sent += 1
        offset, payload = pack_payloads(blocks)
        return EventBatch.build(
            times,
            np.full(len(blocks), self._ranges[self._shard].start),
            np.full(len(blocks), self._sent),
            [self._ranges[shard].start for shard in shards],
            EventKind.TAIL,
            offset,
            payload,
        )

    def decode(
        self, batch: EventBatch, messages: MessageTable, state: State, now: int
    ) -> tuple[State, npt.NDArray[np.int64]]:
        """Turn blocks of other shards into records for the calendar, int64[n, 3]; messages get their slots."""
        # Those of one shard in the order in which it sent them: that is the order of the packets of each source.
        order = np.lexsort((batch.source_event, batch.source))
        records = [np.empty((0, 3), dtype=np.int64)]
        for position in order.tolist():
            shard = self._shard_that_begins_at(int(batch.source[position]))
            limits = Limits(
                *(self._topics, self._hosts, self._protocols, self._transactions),
                *(self._ranges[shard], self._ranges[self._shard], now),
            )
            block = Block.decode(batch.payload_of(position), limits)
            state, slots = self._take_messages(block, shard, messages, state, now)
            records.append(self._records(block, slots, state))
        return state, np.concatenate(records)

    def _shard_that_begins_at(self, first_id: int) -> int:
        for shard, owned in enumerate(self._ranges):
            if owned and owned.start == first_id:
                return shard
        raise InternalError(f"host {first_id} sent tail events, and no shard's identities begin with it")

    def _take_messages(
        self, block: Block, shard: int, messages: MessageTable, state: State, now: int
    ) -> tuple[State, npt.NDArray[np.int64]]:
        """Slot of each message of the dictionary, -1 for those that contradict what is known here, or nobody needs."""
        slots = np.full(len(block.message_id), -1, dtype=np.int64)
        needed = set(block.reference[np.isin(block.kind, ABOUT_MESSAGES)].tolist())
        ends = np.cumsum(block.payload_length)
        columns = (block.message_id, block.topic, block.publish_time, block.origin, block.origin_address, block.size)
        for place, (message_id, *description) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            if place not in needed and messages.is_past(message_id):
                continue
            topic, publish_time, _, origin_address, size = description
            state, slot = messages.reserve(state, message_id, topic, now, now)
            if not messages.is_published(slot):
                state = messages.describe(state, slot, *description)
            elif not messages.agrees(state, slot, publish_time, origin_address, topic, size):
                continue
            length = int(block.payload_length[place])
            if length and not messages.is_returned(slot):
                messages.payload[slot] = block.payload[int(ends[place]) - length : int(ends[place])].tobytes()
            slots[place] = slot
        for message_id in block.message_id[block.complete].tolist():
            messages.take_complete(state, shard, message_id)
        return state, slots

    def _records(self, block: Block, slots: npt.NDArray[np.int64], state: State) -> npt.NDArray[np.int64]:
        about_messages = np.isin(block.kind, ABOUT_MESSAGES)
        slot = block.reference.copy()
        slot[about_messages] = slots[block.reference[about_messages]]
        good = slot >= 0
        if not good.all():
            self.dropped["conflicting_message"] += int(np.count_nonzero(~good))
        about_messages &= good
        np.maximum.at(state.last_reference, slot[about_messages], block.time[about_messages])
        records = np.empty((len(block.time), 3), dtype=np.int64)
        records[:, 0] = block.time
        records[:, 1] = block.destination << 32 | block.source
        auxiliary = np.where(block.kind == MESSAGE, block.hops, block.auxiliary)
        records[:, 2] = auxiliary << AUXILIARY_SHIFT | slot << SLOT_SHIFT | block.kind
        return records if good.all() else records[good]


def _block(
    records: npt.NDArray[np.int64],
    shard: int,
    messages: MessageTable,
    state: State,
) -> Block:
    """The block for one shard: its records, and what it has not been told of messages."""
    fresh, complete = (
        np.array(sorted(slots), dtype=np.int64) for slots in (messages.untold[shard], messages.incomplete[shard])
    )
    messages.untold[shard].clear()
    messages.incomplete[shard].clear()
    what = records[:, 2]
    kind = what & KIND_MASK
    about_messages = np.isin(kind, ABOUT_MESSAGES)
    reference = (what >> SLOT_SHIFT) & SLOT_MASK
    slots = np.unique(np.concatenate([reference[about_messages], complete, fresh]))
    place = np.zeros(len(state.message_id), dtype=np.int64)
    place[slots] = np.arange(len(slots))
    reference[about_messages] = place[reference[about_messages]]
    payloads = []
    for slot in slots.tolist():
        told = messages.payload_told.setdefault(slot, set()) if slot in messages.payload else {shard}
        payloads.append(b"" if shard in told else messages.payload[slot])
        told.add(shard)
    return Block(
        message_id=state.message_id[slots],
        publish_time=messages.publish_time[slots],
        origin=state.message_origin[slots],
        origin_address=messages.origin_address[slots],
        size=state.message_size[slots],
        topic=state.message_topic[slots].astype(np.int64),
        payload_length=np.array([len(payload) for payload in payloads], dtype=np.int64),
        payload=np.frombuffer(b"".join(payloads), dtype=np.uint8),
        complete=place[complete],
        time=records[:, 0],
        destination=records[:, 1] >> 32,
        source=records[:, 1] & WORD,
        kind=kind,
        hops=np.where(kind == MESSAGE, what >> HOPS_SHIFT, 0),
        reference=reference,
        auxiliary=np.where(kind == MESSAGE, 0, (what >> AUXILIARY_SHIFT) & WORD),
    )
