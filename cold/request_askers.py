"""Who asks in the place of whom, where a protocol's resolution is `sampled`.

The askers of a protocol fall into strata: those of one population, one node and one pair of bandwidths. In each some
are drawn, their representatives, in proportion to its size and two at least, so that it can be told from them how far
they may be wrong. Each stands for equally many of its stratum. Who they are is a function of configuration and seed,
the same on every shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.rng import draw_u64_array
from cold.purposes import ColdPurpose
from cold.request_layout import WEIGHT_SHIFT
from cold.request_section import RequestSection

Int64Array = npt.NDArray[np.int64]

#: In each stratum that has as many askers.
_LEAST: Final = 2


class Representatives(NamedTuple):
    """K of them, protocol by protocol, by HostId."""

    host: npt.NDArray[np.uint32]
    """uint32[K]: HostIds."""
    stratum: Int64Array
    """int64[K, 3]: protocol, askers of the stratum, and its number among those of the protocol."""
    begins: Int64Array
    """int64[U + 1]: where those of each protocol begin, and K; none where everybody asks."""

    @property
    def weight(self) -> Int64Array:
        """Return for how many each stands, itself included: int64[K], in fixed point."""
        return weights_of(self.stratum)

    def of(self, protocol: int) -> npt.NDArray[np.uint32]:
        """Return the HostIds of those of a protocol, ascending."""
        return self.host[self.begins[protocol] : self.begins[protocol + 1]]


def weights_of(stratum: Int64Array) -> Int64Array:
    """For how many each representative stands, itself included: int64[K], in fixed point.

    Parameters
    ----------
    stratum
        `Representatives.stratum`.
    """
    _, place, count = np.unique(stratum[:, [0, 2]], axis=0, return_inverse=True, return_counts=True)
    chosen = count[place.reshape(-1)]
    return ((stratum[:, 1] << WEIGHT_SHIFT) + chosen // 2) // chosen


def choose_representatives(
    requests: Sequence[RequestSection],
    asks: Sequence[npt.NDArray[np.bool_]],
    directory: HostDirectory,
    seed: int,
) -> Representatives:
    """Draw the representatives of every protocol.

    Parameters
    ----------
    requests
        The protocols.
    asks
        Of each, bool[A]: which identities have the role of askers.
    directory
        Every host of the experiment.
    seed
        Seed of the run.
    """
    hosts = [np.zeros(0, dtype=np.uint32)]
    strata = [np.zeros((0, 3), dtype=np.int64)]
    drawn: list[tuple[int, npt.NDArray[np.bool_], Int64Array, Int64Array]] = []
    key: npt.NDArray[np.uint64] | None = None
    group: Int64Array | None = None
    for number, (request, role) in enumerate(zip(requests, asks, strict=True)):
        chosen = np.zeros(0, dtype=np.int64)
        stratum = np.zeros((0, 3), dtype=np.int64)
        if request.resolution.level == "sampled" and role.sum() > request.resolution.representatives:
            if key is None or group is None:
                identities = np.arange(directory.hot_count, directory.total_count)
                # The same for all protocols: what a representative asks meets what else it asks.
                key = draw_u64_array(seed, identities, ColdPurpose.ASKER, 0)
                group = _groups(directory)
            wanted = request.resolution.representatives
            # Sorting all askers takes a second for a million, and most protocols have the same.
            before = next((each for each in drawn if each[0] == wanted and np.array_equal(each[1], role)), None)
            if before is None:
                before = wanted, role, *_drawn(np.flatnonzero(role), key, group, wanted)
                drawn.append(before)
            chosen, stratum = before[2], before[3].copy()
            stratum[:, 0] = number
        hosts.append((chosen + directory.hot_count).astype(np.uint32))
        strata.append(stratum)
    begins = np.cumsum([len(chosen) for chosen in hosts]).astype(np.int64)
    return Representatives(np.concatenate(hosts), np.concatenate(strata), begins)


def _drawn(
    askers: Int64Array, key: npt.NDArray[np.uint64], group: Int64Array, wanted: int
) -> tuple[Int64Array, Int64Array]:
    """About so many of the askers, ascending, and `Representatives.stratum` of each but for the protocol."""
    _, stratum, size = np.unique(group[askers], return_inverse=True, return_counts=True)
    shares = (2 * wanted * size + len(askers)) // (2 * len(askers))
    count = np.minimum(np.maximum(shares, _LEAST), size)
    order = np.lexsort((key[askers], stratum))
    first = np.cumsum(size) - size
    is_chosen = np.arange(len(askers)) - np.repeat(first, size) < np.repeat(count, size)
    place = np.sort(order[is_chosen])
    columns = [np.zeros(len(place), dtype=np.int64), size[stratum[place]], stratum[place]]
    return askers[place], np.stack(columns, axis=1).astype(np.int64)


def _groups(directory: HostDirectory) -> Int64Array:
    """Number of the population, node and bandwidths that each identity has: int64[A]."""
    first = directory.hot_count
    numbers = {each.name: number for number, each in enumerate(directory.populations)}
    result = directory.by_population(numbers, np.int64)
    for column in (directory.node[first:], directory.uplink_bps[first:], directory.downlink_bps[first:]):
        values, place = np.unique(column, return_inverse=True)
        result = result * len(values) + place
    return result
