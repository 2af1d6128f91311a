"""A peer graph that identities make by dialling each other: what each wants, and what comes of it.

It is a sequence of rounds. In each, identities with more connections than their target close some, all at the same
time; then, one after another in an order that is drawn for the round, each dials random reachable identities until
it has what it wants. Everything is drawn by (seed, identity, round, attempt), and what an identity finds depends on who
had its turn before: so all of it is made, before or after shards part, and each keeps the rows of its own identities.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.rng import draw_u64_array, draw_uniform_array
from bridge.simtime import NS_PER_MS
from cold.dialing_kernels import Connections, Wishes, dial, prune
from cold.jit import uint64
from cold.overlay_kernels import ascending_order, draw_keys
from cold.population import client_kinds
from cold.purposes import ColdPurpose
from cold.section import ColdSection


class Dialing(NamedTuple):
    """How A identities connect."""

    wishes: Wishes
    is_reachable: npt.NDArray[np.bool_]
    """bool[A]: whether others can dial an identity."""
    rounds: int

    def of(self, identity: npt.NDArray[np.integer]) -> Dialing:
        """Return the same for some of the identities, by their indices."""
        return Dialing(Wishes(*(column[identity] for column in self.wishes)), self.is_reachable[identity], self.rounds)


def reachability(section: ColdSection, directory: HostDirectory, seed: int) -> npt.NDArray[np.bool_]:
    """Which identities can be dialled, drawn with the share of their population: bool[A]."""
    hot = directory.hot_count
    result = np.ones(directory.total_count - hot, dtype=np.bool_)
    for cold in directory.ranges:
        share = section.populations[cold.population].reachable
        if share < 1.0:
            first = cold.first_id
            hosts = np.arange(first, first + cold.count)
            draws = draw_uniform_array(seed, hosts, ColdPurpose.REACHABLE, 0)
            result[first - hot : first - hot + cold.count] = draws < share
    return result


def redial_phases(section: ColdSection, directory: HostDirectory, seed: int) -> npt.NDArray[np.int32]:
    """When those that nobody can dial first dial again: int32[A], ms, and -1 for others; empty if there are none."""
    is_reachable = reachability(section, directory, seed)
    if is_reachable.all():
        return np.empty(0, dtype=np.int32)
    hosts = np.arange(directory.hot_count, directory.total_count)
    draws = draw_u64_array(seed, hosts, ColdPurpose.REDIAL, 0) % np.uint64(section.overlay.redial // NS_PER_MS)
    return np.where(is_reachable, -1, draws.astype(np.int64)).astype(np.int32)


def dialing_of(section: ColdSection, directory: HostDirectory, seed: int) -> Dialing | None:
    """How the identities dial; None where the overlay is a regular one."""
    overlays = section.client_overlay
    if overlays[0].target is None:
        return None
    kinds = client_kinds(section, seed, directory.hot_count, directory.total_count - directory.hot_count)
    target = np.array([overlay.target for overlay in overlays], dtype=np.uint16)
    maximum = np.array([overlay.most for overlay in overlays], dtype=np.uint16)
    outbound = np.array([math.ceil((overlay.target or 0) * overlay.outbound) for overlay in overlays], dtype=np.uint16)
    wishes = Wishes(target[kinds], maximum[kinds], outbound[kinds])
    return Dialing(wishes, reachability(section, directory, seed), section.overlay.rounds)


def connect(dialing: Dialing, seed: int, first_id: int) -> Connections:
    """Let identities dial each other.

    Parameters
    ----------
    dialing
        Of all of them.
    seed
        Seed of the run.
    first_id
        HostId of identity 0.
    """
    count = len(dialing.is_reachable)
    connections = Connections(
        np.zeros((count, int(dialing.wishes.target.max())), dtype=np.uint32),
        np.zeros(count, dtype=np.uint16),
        np.zeros(count, dtype=np.uint16),
    )
    candidates = np.flatnonzero(dialing.is_reachable).astype(np.uint32)
    for number in range(dialing.rounds):
        if number > 0:
            prune(connections, dialing.wishes, uint64(seed), first_id, number)
        dial(
            connections,
            dialing.wishes,
            uint64(seed),
            first_id,
            number,
            order_of(seed, first_id, count, number),
            candidates,
        )
    return connections


def order_of(seed: int, first_id: int, count: int, number: int) -> npt.NDArray[np.uint32]:
    """Whose turn is when in a round: uint32[count]."""
    keys = draw_keys(uint64(seed), first_id, count, int(ColdPurpose.DIAL_ORDER), number)
    return ascending_order(keys)
