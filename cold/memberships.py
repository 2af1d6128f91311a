"""Memberships: who has which topics, whom it knows on them, and the meshes that it starts with.

Everything here is built once, from the configuration and the seed. An identity's connections are those of the overlay;
on each topic to which some do not subscribe, it seeks some more peers that do. Its known peers on such a topic are all
of its connections that subscribe, sought or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from cold.dialing import dialing_of, reachability
from cold.division import Division, Draw
from cold.membership_building_kernels import known_peers, note_subscribers, write_first_meshes, write_places
from cold.overlay import NO_ENDS, Overlay, build_overlay, ends_of_group, ends_of_member, room_for_ends, write_topic
from cold.overlay_kernels import Ends
from cold.population import client_kinds
from cold.purposes import ColdPurpose
from cold.section import ColdSection
from cold.state_kernels import RANK_BLOCK_SHIFT, PlaceArray
from cold.subscriptions import subscriptions
from cold.topics import TopicGroup

#: What identities know is found for so many of them at a time.
_IDENTITIES_AT_A_TIME: Final = 1 << 14


@dataclass
class Connections:
    """The overlay of a tail, and what is known of the topics that it was built for.

    Whoever builds a tail of it uses it up: what is not needed any more makes room for the tail.
    """

    full: list[int]
    """Indices of the topics that every identity subscribes to."""
    partial: list[int]
    """Indices of the others, ascending."""
    members: list[npt.NDArray[np.uint32]]
    """Of each partial topic: HostIds of its subscribers, ascending."""
    sought: Ends
    """Of this shard's identities, a group for each partial topic: the places, in the rows of the overlay, of the peers
    that they sought on it."""
    mesh_room: int
    """The largest D_high."""
    overlay: Overlay
    """Of this shard's identities, with the first meshes of the full topics."""
    transaction_overlay: Overlay | None
    """The connections of execution clients, of this shard's identities; None where there are no transactions."""


def is_partial(section: ColdSection) -> list[bool]:
    """Whether some identities do not subscribe, for each topic by its index."""
    flags: list[bool] = []
    for topic in section.topics:
        flags += [topic.is_partial] * topic.count if isinstance(topic, TopicGroup) else [False]
    return flags


def connections_of(
    section: ColdSection,
    directory: HostDirectory,
    seed: int,
    topics: Sequence[int],
    division: Division | None = None,
) -> Connections:
    """Build the overlay of a shard's identities.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    directory
        Every host of the experiment.
    seed
        Seed of the run.
    topics
        Indices of the topics that are exact, ascending; others need no connections.
    division
        Of the identities among shards, which all have to call this; by default there is one shard.
    """
    first_id, count = directory.hot_count, directory.total_count - directory.hot_count
    division = Division.of(None, 0, first_id, count) if division is None else division
    flags = is_partial(section)
    full = [topic for topic in topics if not flags[topic]]
    partial_topics = [topic for topic in topics if flags[topic]]
    clients = section.client_gossip
    degree = np.array([client.d for client in clients], dtype=np.uint8)[client_kinds(section, seed, first_id, count)]
    room = max(client.d_high for client in clients)
    peers = section.overlay.topic_peers
    is_reachable = reachability(section, directory, seed)
    dialing = dialing_of(section, directory, seed)
    members = _members_of(section, directory, seed, partial_topics)
    identities = [who - np.uint32(first_id) for who in members]
    spans = [list(pairwise(np.searchsorted(identity, division.cuts).tolist())) for identity in identities]
    bounds = [
        _bounds_of_maker(division, len(identity)) if dialing else span
        for identity, span in zip(identities, spans, strict=True)
    ]
    sought = _room_of(identities, peers, [of_topic[division.shard] for of_topic in bounds])
    draws = [
        partial(write_topic, seed, who, identity, topic, peers, peers, degree[identity], is_reachable)
        for who, identity, topic in zip(members, identities, partial_topics, strict=True)
    ]
    division.dealt(
        [
            Draw(write, len(who), of_topic, ends_of_group(sought, number))
            for number, (write, who, of_topic) in enumerate(zip(draws, members, bounds, strict=True))
        ]
    )
    shape = dialing or section.overlay.degree
    overlay = build_overlay(seed, first_id, count, shape, len(full), degree, room, sought, division=division)
    if dialing and not division.is_whole:
        sought = _handed_out(division, sought, _room_of(identities, peers, [span[division.shard] for span in spans]))
    transaction_overlay = None
    if section.transactions is not None:
        purpose = ColdPurpose.TRANSACTION_OVERLAY
        transaction_overlay = build_overlay(
            *(seed, first_id, count, section.transactions.degree, 0, 0, 0), purpose=purpose, division=division
        )
    return Connections(full, partial_topics, members, sought, room, overlay, transaction_overlay)


def _members_of(
    section: ColdSection, directory: HostDirectory, seed: int, topics: list[int]
) -> list[npt.NDArray[np.uint32]]:
    """HostIds of the subscribers of each topic, ascending."""
    if not topics:
        return []
    subscribed = subscriptions(section, seed, directory)
    return [subscribed.member[slice(*subscribed.start[[topic, topic + 1]])].copy() for topic in topics]


def _room_of(identities: list[npt.NDArray[np.uint32]], peers: int, bounds: list[tuple[int, int]]) -> Ends:
    """Room for the ends of some members of each topic."""
    groups = [(number, ends_of_member(len(identity), peers)) for number, identity in enumerate(identities)]
    return room_for_ends([each[slice(*span)] for each, span in zip(identities, bounds, strict=True)], groups)


def _bounds_of_maker(division: Division, members: int) -> list[tuple[int, int]]:
    """All rows for the shard that makes the whole graph, where identities dial; see `Division.handed_out`."""
    maker = 0 if division.bus.shard_count > 1 else division.shard
    return [(0, members if shard == maker else 0) for shard in range(len(division.cuts) - 1)]


def _handed_out(division: Division, whole: Ends, own: Ends) -> Ends:
    """Fill in the ends of a shard's own identities from those of all, which the shard has that made the graph."""

    def of_shard(first: int, past: int) -> list[npt.NDArray[np.uint32]]:
        groups = [ends_of_group(whole, group) for group in range(len(whole.width))]
        rows = [
            entries[slice(*np.searchsorted(whole.identity[slice(*span)], [first, past]))]
            for entries, span in zip(groups, whole.span.tolist(), strict=True)
        ]
        return [np.concatenate([np.empty(0, dtype=np.uint32), *(each.ravel() for each in rows)])]

    return own._replace(entry=division.handed_out(of_shard)[0])


def mean_known_peers(section: ColdSection, topic: int, members: int) -> int:
    """Peers that a subscriber knows on a topic in the mean, if it is the only one that not everybody has; rounded.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    topic
        Index of the topic.
    members
        How many subscribe to it.
    """
    identities, overlay = section.identity_count, section.overlay
    known = section.mean_degree
    if is_partial(section)[topic]:
        others = max(members - 1 - overlay.topic_peers, 0) / max(identities - 1 - overlay.topic_peers, 1)
        known = overlay.topic_peers + round(min(section.mean_degree, identities - 1) * others)
    return min(known, max(members - 1, 0))


class Memberships(NamedTuple):
    """What a shard knows of them: the fields of `cold.state_kernels.State` of these names, and their sizes."""

    topic_place: npt.NDArray[np.int32]
    topic_of_place: npt.NDArray[np.int32]
    subscribed: npt.NDArray[np.uint64]
    mesh: PlaceArray
    rank: npt.NDArray[np.uint16]
    rank_before: npt.NDArray[np.uint32]
    known_count: PlaceArray
    known: PlaceArray
    known_start: npt.NDArray[np.int64]
    """int64[N]: where each identity's peers begin in `known`."""
    first_row: npt.NDArray[np.int64]
    """int64[N]: `FIRST_ROW` of each identity."""
    full_topics: int
    most: int
    """The most topics of one identity."""
    members: npt.NDArray[np.int64]
    """int64[topics, shards]: how many subscribers of each topic the shards have; 0 if it is not exact."""


def memberships(
    connections: Connections,
    topics: int,
    cuts: npt.NDArray[np.int64],
    owned: range,
    hot_count: int,
    first_member: int,
) -> Memberships:
    """Make the memberships of a shard.

    Parameters
    ----------
    connections
        Of this shard. Its members, and what they sought, are gone afterwards.
    topics
        Number of all topics.
    cuts
        First HostIds of the ranges of all shards, and one past the last identity: int64[shards + 1].
    owned
        HostIds of this shard's identities.
    hot_count
        Number of hot hosts.
    first_member
        `Parameters.first_member`.
    """
    full, overlay = connections.full, connections.overlay
    place = np.full(topics, -1, dtype=np.int32)
    place[full] = np.arange(len(full))
    place[connections.partial] = len(full) + np.arange(len(connections.partial))
    counts = np.zeros((topics, len(cuts) - 1), dtype=np.int64)
    counts[full] = np.diff(cuts)
    subscribed = np.zeros((int(cuts[-1] - cuts[0]), max(-(-len(connections.partial) // 64), 1)), dtype=np.uint64)
    for number, members in enumerate(connections.members):
        note_subscribers(members, hot_count, number, subscribed)
        counts[connections.partial[number]] = np.diff(np.searchsorted(members, cuts))

    own = subscribed[owned.start - hot_count : owned.stop - hot_count]
    lengths = np.bitwise_count(own).sum(axis=1, dtype=np.int64)
    partial_start = np.concatenate([[0], np.cumsum(lengths)])
    first_row = partial_start[:-1] + len(full) * np.arange(len(owned))
    lengths += len(full)

    longest = int(np.diff(overlay.row_start).max(initial=0))
    # There may be as many known peers as neighbours, and their number has this type too.
    places: type[np.unsignedinteger] = _smallest(longest + max(hot_count, 1))
    mesh = np.zeros((int(lengths.sum()), first_member + connections.mesh_room), dtype=places)
    for number in range(len(full)):
        ends = (overlay.row_start, overlay.neighbours, overlay.mesh[number], overlay.mesh_count[number])
        write_places(mesh, first_row + number, *ends, first_member)
    rank = np.zeros(int(partial_start[-1]), dtype=np.uint16)
    blocks = ((len(owned) - 1) >> RANK_BLOCK_SHIFT) + 1
    rank_before = np.zeros((blocks, max(len(connections.partial), 1)), dtype=np.uint32)
    write_first_meshes(own, connections.sought, len(full), first_member, mesh, rank, rank_before)
    connections.members.clear()
    connections.sought = NO_ENDS
    known_start, known_count = np.zeros(len(owned), dtype=np.int64), np.zeros(len(rank), dtype=places)
    known: PlaceArray = np.zeros(0, dtype=places)
    if connections.partial:
        known = _known_peers(overlay, subscribed, owned, hot_count, partial_start, longest, known_start, known_count)
    return Memberships(
        place,
        np.array([*full, *connections.partial], dtype=np.int32),
        subscribed,
        mesh,
        rank,
        rank_before,
        known_count,
        known,
        known_start,
        first_row,
        len(full),
        int(lengths.max(initial=1)),
        counts,
    )


def _smallest(count: int) -> type[np.unsignedinteger]:
    """The smallest type that holds so many numbers from 0 on."""
    return next(kind for kind in (np.uint8, np.uint16, np.uint32) if count <= np.iinfo(kind).max + 1)


def _known_peers(
    overlay: Overlay,
    subscribed: npt.NDArray[np.uint64],
    owned: range,
    hot_count: int,
    partial_start: npt.NDArray[np.int64],
    longest: int,
    known_start: npt.NDArray[np.int64],
    known_count: PlaceArray,
) -> PlaceArray:
    """Make `Memberships.known`, and fill in `known_start` and `known_count`.

    The array is numpy's own, which asks for huge pages: kernels look up known peers at random.
    """
    places = known_count.dtype
    known: npt.NDArray[Any] = np.empty(0, dtype=places)
    found: npt.NDArray[Any] = np.empty(0, dtype=places)
    used = 0
    ends = (overlay.row_start, overlay.neighbours, subscribed, owned.start, hot_count, partial_start)
    for first in range(0, len(owned), _IDENTITIES_AT_A_TIME):
        past = min(first + _IDENTITIES_AT_A_TIME, len(owned))
        most = int((np.diff(partial_start[first : past + 1]) * np.diff(overlay.row_start[first : past + 1])).sum())
        if most > len(found):
            found = np.empty(most + most // 4, dtype=places)
        count = known_peers(first, past, *ends, longest, used, known_start, known_count, found)
        if used + count > len(known):
            # As many as there will be if the others are like these, and a little more.
            longer = np.empty((used + count) * len(owned) // past * 51 // 50 + 1, dtype=places)
            longer[:used] = known[:used]
            known = longer
        known[used : used + count] = found[:count]
        used += count
    return known[:used]
