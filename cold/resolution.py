"""How finely a topic is modelled, what that costs, and how a budget decides.

Costs are counted in edge events: copies and IHAVEs that identities of the tail receive. They follow from the
configuration alone, never from a measurement, so that every machine and every shard decides alike.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from bridge.simtime import NS_PER_S
from cold.mean_field import mesh_degree
from cold.section import GossipSection


class Resolution(IntEnum):
    """From fine to coarse."""

    EXACT = 0
    """Every message on every edge."""
    SAMPLED = 1
    """Arrivals drawn from what became of representative messages."""
    MEAN_FIELD = 2
    """Arrivals drawn from the solution of equations for populations."""


#: What solving the equations for one group of publishers takes, in edge events of the exact resolution.
MEAN_FIELD_EVENTS: Final = 2_000_000
#: What drawing one message takes where nobody asks when it arrives: its row of the table, its counters.
EVENTS_PER_MESSAGE: Final = 50


class TopicLoad(NamedTuple):
    """What the cost of a topic depends on."""

    topic: int
    members: int
    known_peers: int
    """Peers that a member knows on the topic."""
    messages: int
    """Published before the end of the run."""
    fields: int
    """Groups of publishers times sizes that the configuration tells apart."""


def edge_events(
    load: TopicLoad, resolution: Resolution, gossip: GossipSection, representatives: int, run_ns: int
) -> float:
    """Edge events of a topic in the whole run, or what costs as much.

    Exact: each message comes to each member by D - 1 copies; and in each heartbeat that has something to tell (at most
    `mcache_gossip` for each message, and all of the run) each member sends D_lazy IHAVEs.

    Sampled: the representatives of each field, alone on the mesh, with the IHAVEs of one heartbeat; a constant for
    each message. Mean field: a constant for each field and each message.

    Parameters
    ----------
    load
        The topic.
    resolution
        The resolution to weigh.
    gossip
        The configuration's `cold.gossip`.
    representatives
        Of each field, at the sampled resolution.
    run_ns
        Length of the run [ns].
    """
    if load.messages == 0:
        return 0.0
    degree = mesh_degree(gossip, load.members)
    told = min(gossip.d_lazy, max(load.known_peers - degree, 0))
    if resolution is Resolution.EXACT:
        heartbeats = min(load.messages * gossip.mcache_gossip, run_ns // gossip.heartbeat + 1)
        flooded = load.known_peers if gossip.flood_publish else degree
        copies = load.messages * (load.members * (degree - 1) + flooded)
        return float(copies + heartbeats * load.members * told)
    drawn = load.messages * EVENTS_PER_MESSAGE
    if resolution is Resolution.SAMPLED:
        return float(load.fields * representatives * load.members * (degree - 1 + told) + drawn)
    return float(load.fields * MEAN_FIELD_EVENTS + drawn)


def choose(
    loads: Sequence[TopicLoad], gossip: GossipSection, representatives: int, budget: float, run_ns: int
) -> list[Resolution]:
    """Resolutions of topics, so that together they cost no more than a budget, if that is possible.

    All begin exact. While they cost too much, the topic for which another resolution saves most gets it, the first in
    the list among equals.

    Parameters
    ----------
    loads
        The topics to choose for.
    gossip, representatives, run_ns
        As for `edge_events`.
    budget
        Edge events per simulated second.
    """
    allowed = budget * run_ns / NS_PER_S
    costs = [[edge_events(load, level, gossip, representatives, run_ns) for level in Resolution] for load in loads]
    chosen = [Resolution.EXACT] * len(loads)
    while sum(cost[level] for cost, level in zip(costs, chosen, strict=True)) > allowed:
        savings = [
            (costs[place][chosen[place]] - costs[place][level], -place, level)
            for place in range(len(loads))
            for level in Resolution
            if level > chosen[place]
        ]
        if not savings or max(savings)[0] <= 0:
            break
        _, place, level = max(savings, key=lambda saving: (saving[0], saving[1], -saving[2]))
        chosen[-place] = level
    return chosen
