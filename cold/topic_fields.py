"""The fields of one topic, made when they are first needed, and what is drawn from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from bridge.paths import PathTable
from cold.jit import uint64
from cold.mean_field import mean_field
from cold.propagation import MOST_GROUPS, Groups, PropagationField
from cold.propagation_kernels import PROBABILITY_BITS, choose_representative, draw_arrivals, entry_key
from cold.sampled import build_field, rules_of
from cold.sampled_kernels import MESSAGE_BYTES, Mesh
from cold.section import GossipSection

#: Sizes on the wire are rounded to so many significant bits: messages that differ by less share a field.
SIZE_BITS = 5


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
        Of each group of publishers, where the resolution is ``sampled``.
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
            return mean_field(
                self.groups, self._paths, self._gossip, self._known_peers, source_group, size, relayed=relayed
            )
        if self._mesh is None:
            self._mesh = self._make_mesh()
        rules = rules_of(self._gossip, self._paths, self._seed, self._topic)
        return build_field(
            self._mesh, self.groups, rules, self._seed, source_group, size, self._representatives, relayed=relayed
        )

    def representative(
        self, publisher: int, source_group: int, message_id: int, payload_size: int, *, relayed: bool = False
    ) -> int:
        """Which of the field's representatives a message follows. Parameters as for `arrivals`."""
        field = self.field(source_group, payload_size, relayed=relayed)
        key = _key(publisher, message_id, relayed)
        return int(choose_representative(uint64(self._seed), publisher, key, len(field.delay)))

    def arrivals(
        self,
        publisher: int,
        source_group: int,
        message_id: int,
        payload_size: int,
        host: npt.NDArray[np.uint32],
        group: npt.NDArray[np.int32],
        *,
        topic: int | None = None,
        relayed: bool = False,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """How long a message takes to some members, and over how many hops: int64[n], ns, and uint8[n].

        The delay is NEVER where the message does not come.

        Parameters
        ----------
        publisher
            HostId of who publishes, or where the message enters if it is `relayed`.
        source_group
            Its group.
        message_id, payload_size
            Of the message.
        host, group
            uint32[n] and int32[n]: HostIds and groups of the receivers, not the publisher.
        topic
            Index of the topic, which may be another that shares these fields.
        relayed
            The message enters here from outside, and time counts from then.
        """
        field, reached, lasting = self._entry(source_group, payload_size, relayed)
        key = _key(publisher, message_id, relayed)
        number = choose_representative(uint64(self._seed), publisher, key, len(field.delay))
        which = self._topic if topic is None else topic
        return draw_arrivals(
            uint64(self._seed),
            host,
            group,
            which,
            key,
            field.delay[number],
            field.hops[number],
            reached[number],
            lasting,
        )


def _key(publisher: int, message_id: int, relayed: bool) -> int:
    """Counter of a message's draws."""
    return uint64(entry_key(uint64(message_id), publisher) if relayed else message_id)


def typical_size(payload_size: int) -> int:
    """The payload that stands for all of about its size: on the wire within 1 / 2 ** SIZE_BITS of it."""
    wire = MESSAGE_BYTES + payload_size
    grain = 1 << max(wire.bit_length() - SIZE_BITS, 0)
    return max((wire + grain // 2) // grain * grain - MESSAGE_BYTES, 0)
