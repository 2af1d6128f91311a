"""A tail of a bounded number of identities that is like a larger one: places, links and kinds in proportion."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory, lay_out
from bridge.simtime import NS_PER_S
from cold.mean_field import mesh_degree
from cold.publication_columns import Publications
from cold.sampled_kernels import MESSAGE_BYTES
from cold.section import ColdSection

#: Where no link is ever busier than this share of a second, nothing meets.
_IDLE: Final = 0.01


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
    # The identities of a population are numbered by node and link, so that each so-manieth is a sample of all.
    numbers = {
        cold.name: (np.arange(counts[cold.name]) * 2 + 1) * cold.count // (2 * counts[cold.name])
        for cold in directory.populations
    }
    index = {cold.name: place for place, cold in enumerate(directory.populations)}
    picked, runs = [], []
    for each in directory.ranges:
        of_all = numbers[each.population] - each.first_number
        chosen = of_all[(of_all >= 0) & (of_all < each.count)]
        picked.append(each.first_id + chosen)
        runs.append((index[each.population], len(chosen)))
    host = np.concatenate(picked)
    small_populations = [replace(cold, count=counts[cold.name]) for cold in directory.populations]
    reduced = replace(
        directory,
        hostnames=(),
        total_count=len(host),
        address=directory.address[host],
        node=directory.node[host],
        uplink_bps=directory.uplink_bps[host],
        downlink_bps=directory.downlink_bps[host],
        populations=tuple(small_populations),
        ranges=lay_out(0, small_populations, runs),
    )
    return SmallNetwork(small, reduced, host.astype(np.int64))


def is_idle(
    section: ColdSection, directory: HostDirectory, published: Publications, members: npt.NDArray[np.int64]
) -> bool:
    """Whether no link is ever so busy that messages meet to speak of.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    directory
        Every host of the experiment.
    published
        What is published.
    members
        int64[topics]: subscribers of each topic, by index.
    """
    first = directory.hot_count
    identities = directory.total_count - first
    degree = max(mesh_degree(client, identities) for client in section.client_gossip)
    copies = max(degree - 1, 1) * members / max(identities, 1)
    bits = copies[published.topic] * (MESSAGE_BYTES + published.size) * 8
    slowest = min(int(bps[first:].min()) for bps in (directory.uplink_bps, directory.downlink_bps))
    return float(np.bincount(published.time // NS_PER_S, weights=bits).max(initial=0.0)) < _IDLE * slowest
