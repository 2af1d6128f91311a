"""The fields of one topic, made when they are first needed, and what is drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.paths import PathTable
from cold.jit import uint64
from cold.mean_field import mean_field
from cold.propagation import MOST_GROUPS, Groups, PropagationField, put_off, started
from cold.propagation_kernels import PROBABILITY_BITS, choose_representative, draw_arrivals, entry_key
from cold.sampled import build_field, rules_of
from cold.sampled_kernels import MESSAGE_BYTES, MOST_HOPS, Mesh
from cold.section import GossipSection
from cold.ways_in import delays_of_starts, exposures, shapes

#: Sizes on the wire are rounded to so many significant bits: messages that differ by less share a field.
SIZE_BITS = 5


class WayIn(NamedTuple):
    """How a message comes to a topic's members: it is published, or enters from outside."""

    start: int
    """When [ns]."""
    source: int
    """HostId of the publisher, or of the identity where it enters."""
    group: int
    """Its group, or the one whose fields its messages follow."""
    hops: int
    """That the message has made until then."""
    relayed: bool
    """Whether it enters."""
    later: npt.NDArray[np.int64] | None = None
    """How much later it comes for meeting others: int64[`cold.propagation.SHARES`], ns."""


class TopicFields:
    """When messages of one topic are where: a pure function of configuration and seed, whoever asks first.

    Parameters
    ----------
    groups
        The topic's members.
    paths
        Latency and loss.
    gossip
        The configuration's `cold.gossip`.
    known_peers
        Peers that a member knows on the topic.
    seed
        Seed of the run.
    topic
        Index of the topic.
    resolution
        How fields are made.
    representatives
        Of each group of publishers, where the resolution is ``sampled``, and of each in which messages enter.
    mesh
        Makes the topic's mesh; called at most once, and only where the resolution needs it.
    """

    def __init__(
        self,
        groups: Groups,
        paths: PathTable,
        gossip: GossipSection,
        known_peers: int,
        seed: int,
        topic: int,
        resolution: Literal["sampled", "mean-field"],
        representatives: int,
        mesh: Callable[[], Mesh],
    ) -> None:
        if len(groups.size) > MOST_GROUPS:
            raise ValueError(f"{len(groups.size)} groups, more than {MOST_GROUPS}")
        self.groups = groups
        self._paths, self._gossip, self._known_peers = paths, gossip, known_peers
        self._seed, self._topic, self._resolution = seed, topic, resolution
        self._representatives = representatives
        self._make_mesh = mesh
        self._mesh: Mesh | None = None
        self._fields: dict[tuple[int, int, bool], tuple[PropagationField, npt.NDArray[np.int64], int]] = {}
        self._exposures: dict[int, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = {}

    def field(self, source_group: int, payload_size: int, *, relayed: bool = False) -> PropagationField:
        """The field of messages of about this size that members of a group publish, or pass on from outside."""
        return self._entry(source_group, payload_size, relayed)[0]

    def _entry(
        self, source_group: int, payload_size: int, relayed: bool
    ) -> tuple[PropagationField, npt.NDArray[np.int64], int]:
        size = typical_size(payload_size)
        key = (source_group, size, relayed)
        if key not in self._fields:
            field = self._build(source_group, size, relayed)
            reached = np.rint(field.reached * 2**PROBABILITY_BITS).astype(np.int64)
            self._fields[key] = field, reached, round(field.lasting * 2**PROBABILITY_BITS)
        return self._fields[key]

    def _build(self, source_group: int, size: int, relayed: bool) -> PropagationField:
        if self._resolution == "mean-field":
            field = mean_field(
                self.groups, self._paths, self._gossip, self._known_peers, source_group, size, relayed=relayed
            )
            if not relayed:
                return field
            tail = (self.groups, self._paths, self._gossip)
            return started(field, delays_of_starts(*tail, source_group, size, self._representatives))
        if self._mesh is None:
            self._mesh = self._make_mesh()
        rules = rules_of(self._gossip, self._paths, self._seed, self._topic)
        return build_field(
            self._mesh, self.groups, rules, self._seed, source_group, size, self._representatives, relayed=relayed
        )

    def representative(
        self, publisher: int, source_group: int, message_id: int, payload_size: int, *, relayed: bool = False
    ) -> int:
        """Which of the field's representatives a message follows, from its publisher or from where it enters."""
        field = self.field(source_group, payload_size, relayed=relayed)
        key = uint64(entry_key(uint64(message_id), publisher) if relayed else message_id)
        return int(choose_representative(uint64(self._seed), publisher, key, len(field.delay)))

    def arrivals(
        self,
        message_id: int,
        payload_size: int,
        ways: Sequence[WayIn],
        host: npt.NDArray[np.uint32],
        group: npt.NDArray[np.int32],
        *,
        topic: int | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """When a message comes to some members, and over how many hops.

        Parameters
        ----------
        message_id, payload_size
            Of the message.
        ways
            By which it comes in, one or more.
        host, group
            uint32[n] and int32[n]: HostIds and groups of the receivers, nobody where it comes in.
        topic
            Index of the topic, which may be another that shares these fields.

        Returns
        -------
        int64[n], int64[n]
            The time [ns], NEVER where it does not come; and hops.
        """
        entries = [self._entry(way.group, payload_size, way.relayed) for way in ways]
        numbers = [
            self.representative(way.source, way.group, message_id, payload_size, relayed=way.relayed) for way in ways
        ]
        chosen = list(zip(entries, numbers, strict=True))
        times, over, by = draw_arrivals(
            uint64(self._seed),
            host,
            group,
            self._topic if topic is None else topic,
            uint64(message_id),
            np.array([way.start for way in ways], dtype=np.int64),
            np.stack([_delays(field, number, way) for ((field, _, _), number), way in zip(chosen, ways, strict=True)]),
            np.stack([field.hops[number] for (field, _, _), number in chosen]),
            np.stack([reached[number] for (_, reached, _), number in chosen]),
            np.array([lasting for _, _, lasting in entries], dtype=np.int64),
            self._ways_in(payload_size)[1],
        )
        before = np.array([way.hops for way in ways], dtype=np.int64)
        return times, np.minimum(before[by] + over, MOST_HOPS)

    def shapes(self, payload_size: int) -> npt.NDArray[np.float64]:
        """Return `cold.ways_in.shapes` for messages of about this size: float64[G]."""
        return self._ways_in(payload_size)[0]

    def _ways_in(self, payload_size: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Shapes, and what groups have been exposed to at the levels of tables."""
        size = typical_size(payload_size)
        if size not in self._exposures:
            shape = shapes(self.groups, self._paths, self._gossip, size)
            self._exposures[size] = shape, exposures(shape)
        return self._exposures[size]


def _delays(field: PropagationField, number: int, way: WayIn) -> npt.NDArray[np.int64]:
    """Tables of the delay to each group of what comes in by a way and follows a representative: int64[G, LEVELS]."""
    delay = field.delay[number]
    return delay if way.later is None else put_off(delay, field.overall[number], way.later)


def typical_size(payload_size: int) -> int:
    """The payload that stands for all of about its size: on the wire within 1 / 2 ** SIZE_BITS of it."""
    wire = MESSAGE_BYTES + payload_size
    grain = 1 << max(wire.bit_length() - SIZE_BITS, 0)
    return max((wire + grain // 2) // grain * grain - MESSAGE_BYTES, 0)
