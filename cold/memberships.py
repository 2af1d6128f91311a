"""Memberships: who has which topics, whom it knows on them, and the meshes that it starts with.

Everything here is built once, from the configuration and the seed. An identity's connections are those of the overlay;
on each topic to which some do not subscribe, it seeks some more peers that do. Its known peers on such a topic are all
of its connections that subscribe, sought or not.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from cold.dialing import dialing_of, reachability
from cold.division import Division
from cold.membership_building_kernels import known_peers, write_places
from cold.overlay import Overlay, build_overlay, topic_cycles, topic_edges, topic_mesh
from cold.population import client_kinds
from cold.purposes import ColdPurpose
from cold.section import ColdSection
from cold.state_kernels import PlaceArray
from cold.subscriptions import subscriptions
from cold.topics import TopicGroup


class Connections(NamedTuple):
    """The overlay of a tail, and what is known of the topics that it was built for."""

    full: list[int]
    """Indices of the topics that every identity subscribes to."""
    partial: list[int]
    """Indices of the others, ascending."""
    members: list[npt.NDArray[np.uint32]]
    """Of each partial topic: HostIds of its subscribers, ascending."""
    cycles: list[list[npt.NDArray[np.uint32]]]
    """Of each partial topic: its cycles, see `cold.overlay.topic_cycles`."""
    degree: npt.NDArray[np.uint8]
    """uint8[identities]: D of each."""
    mesh_room: int
    """The largest D_high."""
    is_reachable: npt.NDArray[np.bool_]
    """bool[identities]: whether others can dial an identity."""
    overlay: Overlay
    """Of this shard's identities, with the first meshes of the full topics."""
    transaction_overlay: Overlay | None
    """The connections of execution clients, of this shard's identities; None where there are no transactions."""

    def first_mesh(self, number: int, first_id: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
        """The first mesh of a partial topic, by its number among them: see `cold.overlay.topic_mesh`."""
        members = self.members[number]
        identity = members - np.uint32(first_id)
        reachable = self.is_reachable[identity]
        return topic_mesh(members, self.cycles[number], self.degree[identity], self.mesh_room, reachable)


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
    partial = [topic for topic in topics if flags[topic]]
    clients = section.client_gossip
    degree = np.array([client.d for client in clients], dtype=np.uint8)[client_kinds(section, seed, first_id, count)]
    room = max(client.d_high for client in clients)
    peers = section.overlay.topic_peers
    members: list[npt.NDArray[np.uint32]] = []
    cycles: list[list[npt.NDArray[np.uint32]]] = []
    if partial:
        subscribed = subscriptions(section, seed, directory)
        members = [subscribed.member[slice(*subscribed.start[[topic, topic + 1]])].copy() for topic in partial]
        del subscribed
        draws = [
            functools.partial(_joined_cycles, seed, who, topic, peers)
            for who, topic in zip(members, partial, strict=True)
        ]
        for who, orders in zip(members, division.drawn(draws), strict=True):
            cycles.append(list(orders.reshape(-1, len(who))) if len(orders) else [])
    is_reachable = reachability(section, directory, seed)
    dialing = dialing_of(section, directory, seed)
    # Where identities dial, the shard that makes the whole graph needs all edges.
    own = None if division.is_whole or dialing else range(first_id + division.first, first_id + division.past)
    sought = [
        topic_edges(who, orders, peers, first_id, is_reachable[who - np.uint32(first_id)], own)
        for who, orders in zip(members, cycles, strict=True)
    ]
    shape = dialing or section.overlay.degree
    overlay = build_overlay(seed, first_id, count, shape, len(full), degree, room, sought, division=division)
    del sought
    transaction_overlay = None
    if section.transactions is not None:
        purpose = ColdPurpose.TRANSACTION_OVERLAY
        transaction_overlay = build_overlay(
            *(seed, first_id, count, section.transactions.degree, 0, 0, 0), purpose=purpose, division=division
        )
    return Connections(full, partial, members, cycles, degree, room, is_reachable, overlay, transaction_overlay)


def _joined_cycles(seed: int, members: npt.NDArray[np.uint32], topic: int, peers: int) -> npt.NDArray[np.uint32]:
    """`topic_cycles` one after another."""
    return np.concatenate([np.empty(0, dtype=np.uint32), *topic_cycles(seed, members, topic, peers)])


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
    rank: npt.NDArray[np.uint32]
    known_start: npt.NDArray[np.uint32]
    known: PlaceArray
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
        Of this shard.
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
    full, partial, overlay = connections.full, connections.partial, connections.overlay
    place = np.full(topics, -1, dtype=np.int32)
    place[full] = np.arange(len(full))
    place[partial] = len(full) + np.arange(len(partial))
    counts = np.zeros((topics, len(cuts) - 1), dtype=np.int64)
    counts[full] = np.diff(cuts)
    subscribed = np.zeros((int(cuts[-1] - cuts[0]), max(-(-len(partial) // 64), 1)), dtype=np.uint64)
    for number, members in enumerate(connections.members):
        subscribed[members - np.uint32(hot_count), number >> 6] |= np.uint64(1 << (number & 63))
        counts[partial[number]] = np.diff(np.searchsorted(members, cuts))

    own = subscribed[owned.start - hot_count : owned.stop - hot_count]
    lengths = np.bitwise_count(own).sum(axis=1, dtype=np.int64)
    partial_start = np.concatenate([[0], np.cumsum(lengths)])
    first_row = partial_start[:-1] + len(full) * np.arange(len(owned))
    lengths += len(full)

    row_lengths = np.diff(overlay.row_start)
    places: type[np.unsignedinteger] = _smallest(int(row_lengths.max(initial=0)) + hot_count)
    mesh = np.zeros((int(lengths.sum()), first_member + connections.mesh_room), dtype=places)
    identity = np.arange(len(owned))
    for number in range(len(full)):
        rows, members_of = overlay.mesh[number], overlay.mesh_count[number]
        _write(mesh, first_row + number, identity, overlay, rows, members_of, first_member)
    rank = np.zeros(int(partial_start[-1]), dtype=np.uint32)
    fill = partial_start[:-1].copy()
    for number, members in enumerate(connections.members):
        rows, members_of = connections.first_mesh(number, hot_count)
        first, last = np.searchsorted(members, [owned.start, owned.stop])
        identity = members[first:last].astype(np.int64) - owned.start
        row = fill[identity]
        fill[identity] += 1
        rank[row] = np.arange(len(identity))
        row += len(full) * (identity + 1)
        _write(mesh, row, identity, overlay, rows[first:last], members_of[first:last], first_member)
    known_start, known = np.zeros(len(rank) + 1, dtype=np.uint32), np.zeros(0, dtype=places)
    if partial:
        ends = (overlay.row_start, overlay.neighbours, subscribed, owned.start, hot_count, partial_start)
        found, used = known_peers(*ends, int(row_lengths.max(initial=0)), known_start, known)
        # A copy of numpy's, which asks for huge pages: the kernels look up known peers at random.
        known = found[:used].copy()
        del found
    return Memberships(
        place,
        np.array([*full, *partial], dtype=np.int32),
        subscribed,
        mesh,
        rank,
        known_start,
        known,
        first_row,
        len(full),
        int(lengths.max(initial=1)),
        counts,
    )


def _smallest(count: int) -> type[np.unsignedinteger]:
    """The smallest type that holds so many numbers from 0 on."""
    return next(kind for kind in (np.uint8, np.uint16, np.uint32) if count <= np.iinfo(kind).max + 1)


def _write(
    mesh: PlaceArray,
    row: npt.NDArray[np.int64],
    identity: npt.NDArray[np.int64],
    overlay: Overlay,
    members: npt.NDArray[np.uint32],
    count: npt.NDArray[np.uint8],
    first_member: int,
) -> None:
    """Write first meshes, as HostIds, into the rows `row` of `State.mesh`, as places."""
    write_places(
        mesh, row, identity, overlay.row_start, overlay.neighbours, np.ascontiguousarray(members), count, first_member
    )
