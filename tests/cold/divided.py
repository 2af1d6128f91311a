"""A tail divided among engines that exchange blocks by hand, in one process."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.batch import EventBatch, EventKind
from bridge.directory import HostDirectory
from bridge.paths import PathTable
from cold.engine import ColdEngine
from cold.results import TailResults, merge, message_table
from cold.scenario import Scenario


def odd_cuts(directory: HostDirectory, shards: int) -> npt.NDArray[np.int64]:
    """Cuts into ranges of different lengths, one of them empty where there are more than two."""
    count = directory.total_count - directory.hot_count
    inner = [count * (2 * number + 1) // (2 * shards) - number % 2 for number in range(1, shards)]
    if shards > 2:
        inner[1] = inner[0]
    return np.array([0, *inner, count], dtype=np.int64) + directory.hot_count


class DividedTail:
    """Several engines as one: the same verbs, and the results put together."""

    def __init__(
        self,
        scenario: Scenario,
        paths: PathTable,
        cuts: npt.NDArray[np.int64],
        make: Callable[..., Any] = ColdEngine,
    ) -> None:
        self._first = cuts
        self.engines: dict[int, ColdEngine] = {
            shard: make(
                scenario,
                paths,
                owned=range(int(cuts[shard]), int(cuts[shard + 1])),
                cuts=cuts,
                shard=shard,
            )
            for shard in range(len(cuts) - 1)
            if cuts[shard] < cuts[shard + 1]
        }
        self.blocks = 0

    def next_event_time(self) -> int:
        return min(engine.next_event_time() for engine in self.engines.values())

    def run_until(self, window_end: int) -> EventBatch:
        batch = EventBatch.concatenate([engine.run_until(window_end) for engine in self.engines.values()])
        is_block = batch.kind != EventKind.PACKET
        self.blocks += int(np.count_nonzero(is_block))
        self.deliver(batch.select(is_block))
        return batch.select(~is_block)

    def deliver(self, batch: EventBatch) -> None:
        shards = np.searchsorted(self._first, batch.destination, side="right") - 1
        for shard, engine in self.engines.items():
            engine.deliver(batch.select(shards == shard))

    def events_executed(self) -> int:
        return sum(engine.events_executed() for engine in self.engines.values())

    def event_fingerprint(self) -> int:
        return sum(engine.event_fingerprint() for engine in self.engines.values()) % 2**64

    def counters(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        for engine in self.engines.values():
            total.update(engine.counters())
        return dict(total)

    def results(self) -> TailResults:
        return merge([TailResults.decode(engine.partial_results().encode()) for engine in self.engines.values()])

    def message_table(self) -> npt.NDArray[np.void]:
        return message_table(self.results())

    def arrival_digest(self) -> bytes:
        return self.results().digest.astype(">u8").tobytes()

    def mesh_degrees(self) -> npt.NDArray[np.uint8]:
        degrees: Sequence[npt.NDArray[np.uint8]] = [engine.mesh_degrees() for engine in self.engines.values()]
        return np.concatenate(degrees, axis=1)
