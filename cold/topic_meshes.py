"""The mesh of one topic in a network that stands still, as an exact topic has it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bridge.paths import PathTable
from cold.dialing import dialing_of, reachability
from cold.memberships import is_partial, mean_known_peers
from cold.overlay import build_overlay, topic_overlay
from cold.sampled import mesh_of
from cold.sampled_kernels import Mesh
from cold.scenario import Scenario


def standing_mesh(scenario: Scenario, paths: PathTable, topic: int, members: npt.NDArray[np.uint32]) -> Mesh:
    """The mesh of a topic's subscribers.

    Parameters
    ----------
    scenario
        What the tail is.
    paths
        Latency and loss from the places of identities.
    topic
        Index of the topic.
    members
        uint32[M]: HostIds of its subscribers, ascending.
    """
    section, directory, seed, _ = scenario
    gossip, first = section.gossip, directory.hot_count
    if is_partial(section)[topic]:
        sought, known = section.overlay.topic_peers, mean_known_peers(section, topic, len(members))
        reachable = reachability(section, directory, seed)[members - np.uint32(first)]
        overlay = topic_overlay(seed, members, topic, first, sought, known, gossip.d, gossip.d_high, reachable)
    else:
        shape = dialing_of(section, directory, seed) or section.overlay.degree
        overlay = build_overlay(seed, first, len(members), shape, 1, gossip.d, gossip.d_high)
    return mesh_of(directory, paths, overlay, gossip, seed, 0, members)
