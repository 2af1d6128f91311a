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
from cold.state_kernels import MOST_TALLIED

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
    identities = directory.total_count - directory.hot_count
    copies = copies_carried(section, identities) * members / max(identities, 1)
    bits = copies[published.topic] * (MESSAGE_BYTES + published.size) * 8
    return float(np.bincount(published.time // NS_PER_S, weights=bits).max(initial=0.0)) < _IDLE * _slowest(directory)


def most_at_once(section: ColdSection, directory: HostDirectory, members: int, size: int) -> int:
    """How many messages may be published at once without meeting to speak of: one at least.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    directory
        Every host of the experiment.
    members
        Subscribers of their topic.
    size
        Of each [bytes].
    """
    bits = copies_carried(section, members) * (MESSAGE_BYTES + size) * 8
    return min(max(int(_IDLE * _slowest(directory) / bits), 1), MOST_TALLIED)


def copies_carried(section: ColdSection, members: int) -> float:
    """How many copies of a message a link of one of so many subscribers carries, either way."""
    return max(max(mesh_degree(client, members) for client in section.client_gossip) - 1.0, 1.0)


def _slowest(directory: HostDirectory) -> int:
    """The rate of the slowest link of an identity [bit/s]."""
    cold = slice(directory.hot_count, None)
    return min(int(bps[cold].min()) for bps in (directory.uplink_bps, directory.downlink_bps))
