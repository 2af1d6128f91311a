"""A tail of a bounded number of identities that is like a larger one: places, links and kinds in proportion."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.directory import ColdRange, HostDirectory
from cold.section import ColdSection


class SmallNetwork(NamedTuple):
    """A small tail without hot hosts, whose identities neither ask for anything nor submit transactions."""

    section: ColdSection
    directory: HostDirectory
    host: npt.NDArray[np.int64]
    """int64[n]: whom each of its identities stands for, a HostId of the large one."""


def small_network(section: ColdSection, directory: HostDirectory, share: float) -> SmallNetwork:
    """Take a share of the identities of every population, one at least.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    directory
        Every host of the experiment.
    share
        In (0, 1].
    """
    counts = {cold.name: max(int(cold.count * share), 1) for cold in directory.populations}
    populations = {
        name: population.model_copy(update={"count": counts[name]}) for name, population in section.populations.items()
    }
    small = section.model_copy(update={"populations": populations, "requests": [], "transactions": None})
    picked, ranges, first = [], [], 0
    for cold in directory.populations:
        count = counts[cold.name]
        # Identities are laid out by node and link, so that each so-manieth is a sample of all.
        picked.append(cold.first_id + (np.arange(count) * 2 + 1) * cold.count // (2 * count))
        ranges.append(ColdRange(cold.name, first, count, cold.first_address))
        first += count
    host = np.concatenate(picked)
    reduced = replace(
        directory,
        hostnames=(),
        total_count=len(host),
        address=directory.address[host],
        node=directory.node[host],
        uplink_bps=directory.uplink_bps[host],
        downlink_bps=directory.downlink_bps[host],
        populations=tuple(ranges),
    )
    return SmallNetwork(small, reduced, host.astype(np.int64))
