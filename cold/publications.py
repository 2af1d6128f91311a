"""What cold identities publish, and when: the configuration's list, written out message by message."""

from typing import NamedTuple

from bridge.directory import HostDirectory
from bridge.rng import draw_u64
from cold.purposes import ColdPurpose
from cold.section import ColdSection


class PlannedMessage(NamedTuple):
    """One message that an identity will publish."""

    time: int
    """ns."""
    message_id: int
    topic: int
    """Index of the topic."""
    origin: int
    """HostId."""
    size: int


def plan_publications(
    section: ColdSection, directory: HostDirectory, seed: int, stop_time_ns: int
) -> list[PlannedMessage]:
    """All messages published before the end, in order of time; ids count each publisher's messages from 1."""
    first_id, count = directory.hot_count, directory.total_count - directory.hot_count
    wanted: list[tuple[int, int, int, int, int]] = []
    for index, publication in enumerate(section.publications):
        for number in range(publication.count):
            time = publication.time + number * publication.interval
            if time >= stop_time_ns:
                break
            if publication.origin == "random":
                identity = int(draw_u64(seed, index, int(ColdPurpose.ORIGIN), number)) * count >> 64
            else:
                identity = publication.origin
            topic = section.topics.index(publication.topic)
            wanted.append((time, index, first_id + identity, topic, publication.size))
    published: dict[int, int] = {}
    planned = []
    for time, _, origin, topic, size in sorted(wanted):
        published[origin] = published.get(origin, 0) + 1
        message_id = int(directory.address[origin]) << 32 | published[origin]
        planned.append(PlannedMessage(time, message_id, topic, origin, size))
    return planned
