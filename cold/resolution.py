"""How finely a topic is modelled, what that costs, and how a budget decides.

Costs are counted in edge events: copies and IHAVEs that identities of the tail receive. They follow from the
configuration alone, never from a measurement, so that every machine and every shard decides alike.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from bridge.simtime import NS_PER_S
from cold.mean_field import mesh_degree
from cold.memberships import mean_known_peers
from cold.propagation import group_members
from cold.publications import PublicationPlan
from cold.representatives import epochs_of, is_unsteady
from cold.resolution_section import Resolution
from cold.scenario import Scenario
from cold.section import ColdSection, GossipSection
from cold.small_networks import is_idle, most_at_once
from cold.subscriptions import subscriptions
from cold.topic_fields import typical_size
from cold.topics import TopicGroup

#: What solving the equations for one group of publishers takes, in edge events of the exact resolution.
MEAN_FIELD_EVENTS: Final = 2_000_000
#: The same in a network that changes, for each representative.
CHANGING_FIELD_EVENTS: Final = 350_000
#: What drawing one message takes where nobody asks when it arrives: its row of the table, its counters.
EVENTS_PER_MESSAGE: Final = 50


#: Messages of topics that share fields, and of one size, that are published within 2 ** this [ns], an eighth of a
#: second, lose by meeting others (`cold.meetings`) ...
BIN_SHIFT: Final = 27
#: ... what so many of them do.
COMPARED: Final = 16
#: An edge event in a copy of a network, or in the small one, where few are executed at a time, takes so many times one
#: of the exact engine.
FEW_AT_A_TIME: Final = 2.5
#: What copying a network that changes, and stepping the copies, takes for each representative, or message compared.
REHEARSAL_EVENTS: Final = 80_000

#: A load is taken from the plan of this long at most, and is the same in the rest of the run [ns].
_LOOKED_AT_NS: Final = 60 * NS_PER_S
_BY_NAME: Final = {resolution.written: resolution for resolution in Resolution}


class TopicLoad(NamedTuple):
    """What the cost of a topic depends on."""

    topic: int
    """Index of the topic."""
    members: int
    known_peers: int
    """Peers that a member knows on the topic."""
    messages: float
    """Published before the end of the run."""
    fields: float
    """Groups of publishers times sizes that the plan tells apart, over the topics that share them."""
    changes: bool = False
    """Whether the network changes, so that each representative of a field has equations of its own."""
    lives: float = 0.0
    """What identities that come and go cost while a representative is told of, in edge events; 0 if none do."""
    small: float = 0.0
    """Members in the small network that shows what messages lose by meeting others; 0 if nothing meets."""
    compared: float = 0.0
    """Messages that are propagated there on their own besides, if the topic is coarse."""
    at_once: float = 1.0
    """Representatives that share a copy of a network that changes."""


def edge_events(
    load: TopicLoad, resolution: Resolution, gossip: GossipSection, representatives: int, run_ns: int
) -> float:
    """Edge events of a topic in the whole run, or what costs as much.

    Exact: each message comes to each member by D - 1 copies; and in each heartbeat that has something to tell (at most
    `mcache_gossip` for each message, and all of the run) each member sends D_lazy IHAVEs.

    Sampled: the representatives of each field, alone on the mesh, with the IHAVEs of one heartbeat; a constant for
    each message. In a network that changes, each representative costs what an exact message does, and those that share
    a copy of the network cost the copy, and who comes and goes meanwhile. Mean field: a constant for each field, in a
    network that changes for each of its representatives, and for each message. Both: messages that are compared with
    those that meet others, in a network that changes each in a copy of the small one.

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
    if load.messages == 0 or load.members == 0:
        return 0.0
    degree = mesh_degree(gossip, load.members)
    told = min(gossip.d_lazy, max(load.known_peers - degree, 0))
    if resolution is Resolution.EXACT:
        return _executed(load, load.members, gossip, run_ns)
    of_each = degree - 1 + told * (gossip.mcache_gossip if load.changes else 1)
    copying = REHEARSAL_EVENTS if load.changes else 0
    drawn = load.messages * EVENTS_PER_MESSAGE + load.compared * (load.small * of_each + copying)
    if resolution is Resolution.SAMPLED:
        each = load.members * of_each + (load.lives + copying) / load.at_once
        return float(load.fields * representatives * each + drawn)
    each_solution = representatives * CHANGING_FIELD_EVENTS if load.changes else MEAN_FIELD_EVENTS
    return float(load.fields * each_solution + drawn)


def _executed(load: TopicLoad, members: float, gossip: GossipSection, run_ns: int) -> float:
    """Edge events of a topic whose messages all come to so many members."""
    degree = mesh_degree(gossip, load.members)
    told = min(gossip.d_lazy, max(load.known_peers - degree, 0))
    heartbeats = min(load.messages * gossip.mcache_gossip, run_ns // gossip.heartbeat + 1)
    flooded = load.known_peers if gossip.flood_publish else degree
    return float(load.messages * (members * (degree - 1) + flooded) + heartbeats * members * told)


def small_network_events(loads: Sequence[TopicLoad], gossip: GossipSection, run_ns: int) -> float:
    """Edge events of the small network in which the messages of all topics meet, if any topic is coarse."""
    return sum(_executed(load, load.small, gossip, run_ns) for load in loads if load.small and load.messages)


def choose(
    loads: Sequence[TopicLoad],
    gossip: GossipSection,
    representatives: int,
    budget: float,
    run_ns: int,
    shared: float = 0.0,
) -> list[Resolution]:
    """Resolutions of topics, so that together they cost no more than a budget, if that is possible.

    All begin exact. While they cost too much, the topic for which another resolution saves most gets it, the first in
    the list among equals. If that saves less than what coarse topics need together, all stay exact.

    Parameters
    ----------
    loads
        The topics to choose for.
    gossip, representatives, run_ns
        As for `edge_events`.
    budget
        Edge events per simulated second.
    shared
        Edge events in the whole run if any of the topics is coarse.
    """
    allowed = budget * run_ns / NS_PER_S
    costs = [[edge_events(load, level, gossip, representatives, run_ns) for level in Resolution] for load in loads]
    chosen = [Resolution.EXACT] * len(loads)
    exact = total = sum(cost[Resolution.EXACT] for cost in costs)
    while total + (shared if total < exact else 0.0) > allowed:
        savings = [
            (costs[place][chosen[place]] - costs[place][level], -place, -level)
            for place in range(len(loads))
            for level in Resolution
            if level > chosen[place]
        ]
        saving, place, level = max(savings, default=(0.0, 0, 0))
        if saving <= 0:
            break
        chosen[-place] = Resolution(-level)
        total -= saving
    return chosen if total + shared < exact else [Resolution.EXACT] * len(loads)


def topic_loads(scenario: Scenario) -> list[TopicLoad]:
    """What each topic's cost depends on, by topic index: of the first minute's plan, as if the rest were like it.

    Parameters
    ----------
    scenario
        What the tail is.
    """
    section, directory, seed, stop_time_ns = scenario
    looked_at = min(stop_time_ns, _LOOKED_AT_NS)
    published = PublicationPlan(scenario._replace(stop_time_ns=looked_at)).take(looked_at).published
    topics = len(section.topic_numbers)
    messages = np.bincount(published.topic, minlength=topics) * (stop_time_ns / looked_at)
    first = directory.hot_count
    groups = group_members(directory.node[first:], directory.uplink_bps[first:], directory.downlink_bps[first:])
    sizes = np.array([typical_size(size) for size in published.size.tolist()], dtype=np.int64)
    members = np.diff(subscriptions(section, seed, directory).start)
    fields, at_once = np.zeros(topics), np.ones(topics)
    for family in topic_families(section):
        ours = (published.topic >= family.start) & (published.topic < family.stop)
        kinds = np.unique(np.stack([groups.group[published.origin[ours] - first], sizes[ours]]), axis=1)
        fields[family.start : family.stop] = kinds.shape[1] / len(family)
        its_sizes, its_groups = np.unique(kinds[1], return_counts=True)
        most = [most_at_once(section, directory, int(members[family.start]), size) for size in its_sizes.tolist()]
        at_once[family.start : family.stop] = kinds.shape[1] / max(np.ceil(its_groups / most).sum(), 1)
    small, compared, lives = np.zeros((3, topics))
    if is_unsteady(section):
        # Each epoch has its own, of those that a message follows.
        epochs = len(epochs_of(section, stop_time_ns).is_passing)
        fields = np.minimum(fields * epochs, messages / section.resolution.representatives)
        known = [mean_known_peers(section, topic, int(members[topic])) for topic in range(topics)]
        lives = members * np.array(known) * _changes_while_told(section)
    if section.resolution.queues and len(published.time) and not is_idle(section, directory, published, members):
        small = members * min(section.resolution.queues / max(directory.total_count - first, 1), 1.0)
        for family in topic_families(section):
            ours = (published.topic >= family.start) & (published.topic < family.stop)
            bins = np.unique(np.stack([published.time[ours] >> BIN_SHIFT, sizes[ours]]), axis=1, return_counts=True)[1]
            compared[family.start : family.stop] = np.minimum(bins, COMPARED).sum() / len(family)
        compared *= stop_time_ns / looked_at
    return [
        TopicLoad(
            topic,
            int(members[topic]),
            mean_known_peers(section, topic, int(members[topic])),
            float(messages[topic]),
            float(fields[topic]),
            is_unsteady(section),
            *(float(column[topic]) for column in (lives, small, compared, at_once)),
        )
        for topic in range(topics)
    ]


def _changes_while_told(section: ColdSection) -> float:
    """How often an identity comes or goes, in the mean, while a representative is told of: to `seen_ttl` at worst."""
    changes = 0.0
    for population in section.populations.values():
        if population.churn is not None:
            cycle = population.churn.sessions.expectation() + population.churn.absences.expectation()
            changes += 2 * section.gossip.seen_ttl / cycle * population.count
    return changes / section.identity_count


def topic_families(section: ColdSection) -> list[range]:
    """Indices of topics that differ in nothing but who subscribes: groups of the configuration, and single topics."""
    families = []
    index = 0
    for topic in section.topics:
        count = topic.count if isinstance(topic, TopicGroup) else 1
        families.append(range(index, index + count))
        index += count
    return families


def resolutions(scenario: Scenario) -> list[Resolution]:
    """The resolution of every topic, by its index: a function of the configuration and the seed.

    Parameters
    ----------
    scenario
        What the tail is.
    """
    section, stop_time_ns = scenario.section, scenario.stop_time_ns
    wanted = section.resolution
    names = section.resolution_names
    chosen = [_BY_NAME.get(name, Resolution.EXACT) for name in names]
    automatic = [index for index, name in enumerate(names) if name == "auto"]
    if automatic:
        assert wanted.budget is not None, "the section has checked it"
        loads = topic_loads(scenario)
        # Where a topic is coarse anyway the small network is there anyway.
        is_coarse = any(level is not Resolution.EXACT for level in chosen)
        levels = choose(
            [loads[index] for index in automatic],
            section.gossip,
            wanted.representatives,
            wanted.budget,
            stop_time_ns,
            0.0 if is_coarse else small_network_events(loads, section.gossip, stop_time_ns),
        )
        for index, level in zip(automatic, levels, strict=True):
            chosen[index] = level
    return chosen
