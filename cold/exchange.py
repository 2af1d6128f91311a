"""What the shards of one tail tell each other: events of identities, and which messages all of theirs have.

At the end of a window, a shard sends each other shard one block at most. What all of its identities have got it tells
at once: which heartbeats of the next window cause events depends on it. A block names messages by their ids, because
slots differ from shard to shard, and says what is known of those of which it has not told that shard yet.
"""

from collections import Counter
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch, EventKind
from bridge.errors import InternalError
from cold.block_kernels import EVENT_BYTES, WORD_BYTES, count_waiting, write_ids, write_rows
from cold.blocks import HEADER_BYTES, MOST_BYTES_PER_MESSAGE, TOLD_BYTES, Block, Limits, around
from cold.messages import Description, MessageTable
from cold.state_kernels import NEVER, Parameters, State
from cold.transactions import Told, Transactions

#: To numpy plain numbers are far cheaper to take than members of an enumeration.
_TAIL: Final = int(EventKind.TAIL)
_NEWS: Final = int(EventKind.NEWS)
_NO_PLACES: Final = np.empty(0, dtype=np.int64)


class Arrival(NamedTuple):
    """A block that has come, for `cold.block_kernels.take_rows`."""

    block: Block
    first_source: int
    """HostId of the first identity of the sending shard."""
    slots: npt.NDArray[np.int64]
    """int64[m]: slots of the messages of the dictionary, -1 for those whose events are to be dropped."""


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
        Those of the run; None where there are none.

    Attributes
    ----------
    dropped : Counter
        Events that were dropped: those whose message contradicts what this shard knows under its id.
    """

    def __init__(
        self,
        cuts: npt.NDArray[np.int64],
        shard: int,
        topics: int,
        hosts: int,
        protocols: int,
        transactions: Transactions | None,
    ) -> None:
        self._ranges = [range(first, last) for first, last in pairwise(cuts.tolist())]
        self._shard = shard
        self._topics = topics
        self._hosts = hosts
        self._protocols = protocols
        self._transactions = transactions
        self._waiting = np.zeros((len(self._ranges), 3), dtype=np.int64)
        self._sent = 0
        self._conflicting: set[tuple[int, int]] = set()
        self.dropped: Counter[str] = Counter()

    def encode(
        self, messages: MessageTable, state: State, reference: State, parameters: Parameters, window_end: int
    ) -> EventBatch:
        """Turn the records for other shards into a block for each, which also says what is new about messages.

        A block for a shard without records has the kind ``NEWS``. `reference` is the kernels' `state`.
        """
        messages.note_complete(state)
        count_waiting(reference, parameters, self._waiting)
        # In the order of their times, in which the batch will have them.
        due = sorted(
            (window_end if first == NEVER else first, shard, words, events)
            for shard, (words, events, first) in enumerate(self._waiting.tolist())
            if first < NEVER or messages.incomplete[shard]
        )
        if not due:
            return EventBatch.empty()
        if due[0][0] < window_end:
            raise InternalError(
                f"an event among identities is for {due[0][0]} ns, before the window's end, {window_end} ns",
                where="cold engine",
            )
        # Rows are written where they remain. What is said around them is not known yet, but not much.
        besides = HEADER_BYTES + MOST_BYTES_PER_MESSAGE * len(state.message_id)
        besides += sum(len(payload) for payload in messages.payload.values())
        told: list[list[Told]] = [[] for _ in due]
        if self._transactions is not None:
            told = [self._transactions.news_for(state, shard) for _, shard, _, _ in due]
        besides += TOLD_BYTES * max(len(news) for news in told)
        room = sum(WORD_BYTES * words + EVENT_BYTES * events + besides for _, _, words, events in due)
        payload = np.empty(room, dtype=np.uint8)
        written = payload.data
        offset = [0]
        for (start, shard, words, events), news in zip(due, told, strict=True):
            begin = offset[-1] + HEADER_BYTES
            ids = begin + WORD_BYTES * words + EVENT_BYTES * events
            referenced = write_rows(reference, parameters, shard, start, payload, begin)
            named, complete = _name_others(shard, referenced, messages, state)
            said: dict[str, npt.NDArray[Any]] = {}
            if write_ids(reference, messages.told, shard, named, payload, ids):
                said |= _described(state.wanted[:named], shard, messages, state)
            if len(complete):
                said["complete"] = complete
            if news:
                columns = np.array(news, dtype=np.int64).T
                said |= {f"told_{name}": column for name, column in zip(Told._fields, columns, strict=True)}
            header, rest = around(start, words, events, named, referenced, said)
            end = ids + WORD_BYTES * named
            written[offset[-1] : begin] = header
            written[end : end + len(rest)] = rest
            offset.append(end + len(rest))
        self._sent += 1
        return EventBatch(
            np.array([start for start, _, _, _ in due], dtype=np.int64),
            np.full(len(due), self._ranges[self._shard].start, dtype=np.uint32),
            np.full(len(due), self._sent, dtype=np.uint64),
            np.array([self._ranges[shard].start for _, shard, _, _ in due], dtype=np.uint32),
            np.array([_TAIL if words + events else _NEWS for _, _, words, events in due], dtype=np.uint16),
            np.array(offset, dtype=np.int64),
            payload[: offset[-1]],
        )

    def decode(self, batch: EventBatch, messages: MessageTable, state: State, now: int) -> tuple[State, list[Arrival]]:
        """Read the blocks of other shards, in the order in which their rows are to be taken; messages get their slots.

        That of one shard is the order in which it sent them, which is the order of the packets of each source.
        """
        payload = batch.payload if batch.payload.flags.writeable else batch.payload.copy()
        arrivals = []
        for position in np.lexsort((batch.source_event, batch.source)).tolist() if len(batch) > 1 else (0,):
            shard = self._shard_that_begins_at(int(batch.source[position]))
            owned = self._ranges[shard]
            limits = Limits(
                *(self._topics, self._hosts, self._protocols),
                0 if self._transactions is None else self._transactions.planned,
                self._ranges[0].start,
                *(len(owned), len(self._ranges[self._shard]), now),
            )
            block = Block.decode(payload[batch.payload_offset[position] : batch.payload_offset[position + 1]], limits)
            state = self._take_transactions(block, shard, state, now)
            state, slots = self._take_messages(block, shard, messages, state, now)
            arrivals.append(Arrival(block, owned.start, slots))
        return state, arrivals

    def _shard_that_begins_at(self, first_id: int) -> int:
        for shard, owned in enumerate(self._ranges):
            if owned and owned.start == first_id:
                return shard
        raise InternalError(f"host {first_id} sent tail events, and no shard's identities begin with it")

    def _take_transactions(self, block: Block, shard: int, state: State, now: int) -> State:
        """Take what a block says of transactions of hot hosts; it must say of all that its events are about."""
        if self._transactions is None or not self._transactions.from_hosts:
            return state
        columns = (block.told_origin, block.told_sequence, block.told_time, block.told_size, block.told_blobs)
        for told in zip(*(column.tolist() for column in columns), strict=True):
            state, _ = self._transactions.hear(state, Told(*told), now, shard)
        unknown = set(block.hot_numbers().tolist()).difference(self._transactions.numbers())
        if unknown:
            raise InternalError(f"shard {shard} has events of transactions of hot hosts, of which it has not told")
        return state

    def _take_messages(
        self, block: Block, shard: int, messages: MessageTable, state: State, now: int
    ) -> tuple[State, npt.NDArray[np.int64]]:
        """Slot of each message of the dictionary, -1 for those that contradict what is known here, or nobody needs."""
        ids = block.message_id.tolist()
        slots = np.array([messages.slot_of.get(message_id, -1) for message_id in ids], dtype=np.int64)
        here = slots[slots >= 0]
        # While they are in use, other messages may get slots.
        state.last_reference[here] = np.maximum(state.last_reference[here], now)
        news = {place: row for row, place in enumerate(block.place.tolist())}
        unknown = {place for place, slot in enumerate(slots[: block.referenced].tolist()) if slot < 0}
        carried = np.cumsum(block.payload_length) - block.payload_length if news else block.payload_length
        for place in sorted({*news, *unknown}):
            message_id, row = ids[place], news.get(place)
            known = messages.known(state, message_id)
            said = known if row is None else _description(block, row)
            if said is None:
                raise InternalError(f"shard {shard} has events of message {message_id:#x}, of which it has not told")
            if known is not None and said._replace(origin=known.origin) != known:
                self._conflicting.add((shard, message_id))
                continue
            if place >= block.referenced and messages.is_past(message_id):
                continue
            state, slot = messages.reserve(state, message_id, said.topic, now, now)
            slots[place] = slot
            if known is None:
                state = messages.describe(state, slot, *said)
                if row is not None and block.payload_length[row]:
                    begin = int(carried[row])
                    messages.payload[slot] = block.payload[begin : begin + said.size].tobytes()
        if self._conflicting:
            for place, message_id in enumerate(ids):
                if (shard, message_id) in self._conflicting:
                    slots[place] = -1
        for message_id in block.message_id[block.complete].tolist():
            messages.take_complete(state, shard, message_id)
        return state, slots

    def note_dropped(self, count: int) -> None:
        """Count events that were dropped when their rows were taken."""
        if count:
            self.dropped["conflicting_message"] += count


def _description(block: Block, row: int) -> Description:
    return Description(
        int(block.topic[row]),
        int(block.publish_time[row]),
        int(block.origin[row]),
        int(block.origin_address[row]),
        int(block.size[row]),
    )


def _name_others(shard: int, known: int, messages: MessageTable, state: State) -> tuple[int, npt.NDArray[np.int64]]:
    """Give places to messages that no row names, of which a shard is to be told; `known` have places already.

    Returns how many have then, and the places of those that are complete, ascending.
    """
    untold, incomplete = messages.untold[shard], messages.incomplete[shard]
    if not untold and not incomplete:
        return known, _NO_PLACES
    for slot in sorted(untold | incomplete):
        if state.place[slot] < 0:
            state.place[slot] = known
            state.wanted[known] = slot
            known += 1
    complete = np.sort(state.place[list(incomplete)]).astype(np.int64)
    untold.clear()
    incomplete.clear()
    return known, complete


def _described(
    slots: npt.NDArray[np.int32], shard: int, messages: MessageTable, state: State
) -> dict[str, npt.NDArray[Any]]:
    """What is known of those messages of a dictionary of which a shard has not been told: columns of `Block`."""
    place = np.flatnonzero(messages.told[slots, shard] == 0)
    fresh = slots[place]
    messages.told[fresh, shard] = 1
    payloads = [messages.payload.get(slot, b"") for slot in fresh.tolist()]
    return {
        "place": place,
        "publish_time": messages.publish_time[fresh],
        "origin": state.message_origin[fresh],
        "origin_address": messages.origin_address[fresh],
        "size": state.message_size[fresh],
        "topic": state.message_topic[fresh],
        "payload_length": np.array([len(payload) for payload in payloads]),
        "payload": np.frombuffer(b"".join(payloads), dtype=np.uint8),
    }
