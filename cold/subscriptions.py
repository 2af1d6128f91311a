"""Who subscribes to which topic: a function of configuration and seed."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from cold.jit import uint64
from cold.purposes import ColdPurpose
from cold.section import ColdSection
from cold.subscription_kernels import subscribers_by_share, subscribers_of_some
from cold.topics import TopicGroup


class Subscriptions(NamedTuple):
    """Subscribers of every topic, topic by topic. A membership is a row of `member`."""

    start: npt.NDArray[np.int64]
    """int64[T + 1]: where each topic's subscribers begin, by topic index."""
    member: npt.NDArray[np.uint32]
    """uint32[M]: HostIds, ascending in each topic."""


def subscriptions(section: ColdSection, seed: int, directory: HostDirectory) -> Subscriptions:
    """Draw who subscribes to what.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    seed
        Seed of the run.
    directory
        Every host of the experiment.
    """
    first_id, identities = directory.hot_count, directory.total_count - directory.hot_count
    everybody = np.arange(first_id, first_id + identities, dtype=np.uint32)
    purpose = int(ColdPurpose.SUBSCRIPTION)
    counts: list[npt.NDArray[np.int64]] = []
    members: list[npt.NDArray[np.uint32]] = []
    index = 0
    for topic in section.topics:
        count = topic.count if isinstance(topic, TopicGroup) else 1
        if not isinstance(topic, TopicGroup) or not topic.is_partial:
            counts.append(np.full(count, identities, dtype=np.int64))
            members.extend([everybody] * count)
        elif topic.per_identity is not None:
            start, member = subscribers_of_some(
                uint64(seed), purpose, first_id, identities, index, count, topic.per_identity
            )
            counts.append(np.diff(start))
            members.append(member)
        else:
            start, member = subscribers_by_share(
                uint64(seed), purpose, first_id, identities, index, count, topic.share or 1.0
            )
            counts.append(np.diff(start))
            members.append(member)
        index += count
    start = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.concatenate(counts))])
    return Subscriptions(start, np.concatenate(members))
