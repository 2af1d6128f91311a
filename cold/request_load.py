"""What requests that are not executed take of the links, where some ask in the place of all.

The streams of these requests, of an identity's own and of those that its peers ask it, come to its links as a Poisson
process with the rates that are expected, and with bytes as the protocol draws them. `cold.load_kernels` draws them.
What would hold nobody up by as much as `NEGLIGIBLE_NS` is left out.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.errors import UserError
from bridge.rng import draw_u64_array
from bridge.simtime import NEVER
from cold.distribution_kernels import draw_values
from cold.distributions import Exponential, join_tables, table_of_sample
from cold.load_kernels import WHOLE, count_peers_in
from cold.population import link_rates
from cold.purposes import ColdPurpose
from cold.request_askers import Representatives
from cold.request_kernels import LEAST_RESPONSE, SEGMENT_DATA, SEGMENT_HEADERS
from cold.request_layout import (
    ASKS_SHIFT,
    KIND_IS_OWN,
    KIND_TABLE,
    LINK_COLUMNS,
    LOAD_COLUMNS,
    LOAD_GAP,
    LOAD_MEMORY,
    LOAD_NEXT,
    LOAD_UNIT,
)
from cold.request_section import RequestSection
from cold.section import ColdSection
from cold.sessions import mean_lengths
from cold.state_kernels import DOWNLINK_RATE, PEERS, PEERS_MASK, RATE_SHIFT, UPLINK_RATE, Parameters, State

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

#: Streams that delay what comes to a link by less in the mean are left out [ns].
NEGLIGIBLE_NS: Final = 10_000
#: Of the relaxation time of a link's queue, so many are remembered.
_TIMES_REMEMBERED: Final = 32
#: The memory of a link does not grow beyond that of one with this load.
_FULLEST: Final = 0.98
_LONGEST_MEMORY: Final = 2.0**50
_SAMPLES: Final = 2049


class ProtocolLoad(NamedTuple):
    """What is expected of a protocol."""

    number: int
    left: float
    """Share of the askers that ask, but are not executed."""
    per_ns: float
    """Requests of an asker, but for those on joining."""
    joins_per_ns: float
    """How often an asker joins, and asks everybody; in the mean over the askers."""
    serving: float
    """Share of the identities that serve it."""
    most_per_ns: float
    """Requests that the limit lets one peer have answered."""
    request: Int64Array
    response: Int64Array
    """int64[_SAMPLES]: bytes on the wire, ascending."""

    def answered(self, peers: npt.ArrayLike) -> Any:
        """Requests of an asker with so many peers to each of them that are answered [1/ns]."""
        asked = np.maximum(np.asarray(peers) * self.serving, 1.0)
        return np.minimum(self.per_ns / asked + self.joins_per_ns, self.most_per_ns)


class RequestLoad:
    """The load of the requests of a tail that are not executed.

    Parameters
    ----------
    section
        The configuration's `cold` section.
    directory
        Every host of the experiment.
    role
        uint64[A]: `cold.requests.roles_of` all identities.
    representatives
        Who asks in the place of others.
    seed
        Seed of the run.
    owned
        HostIds of the identities of the shard.

    Raises
    ------
    UserError
        If links could not carry what is expected.
    """

    def __init__(
        self,
        section: ColdSection,
        directory: HostDirectory,
        role: npt.NDArray[np.uint64],
        representatives: Representatives,
        seed: int,
        owned: range,
    ) -> None:
        self._owned, self._first_cold = owned, directory.hot_count
        self._role, self._representatives = role, representatives
        if not len(representatives.host):
            self._protocols: list[ProtocolLoad] = []
            return
        cold = slice(directory.hot_count, None)
        self._up_ns, self._down_ns = (
            link_rates(bps[cold]) / (1 << RATE_SHIFT) for bps in (directory.uplink_bps, directory.downlink_bps)
        )
        joins = {
            name: 0.0 if population.churn is None else 1 / sum(mean_lengths(population.churn))
            for name, population in section.populations.items()
        }
        self._joins = directory.by_population(joins, np.float64)
        self._protocols = self._that_matter(
            [
                self._expected(number, request, count, seed)
                for number, request in enumerate(section.requests)
                if (count := len(representatives.of(number)))
            ],
            section,
        )
        del self._up_ns, self._down_ns

    @property
    def is_there(self) -> bool:
        """Return whether anything is to be taken into account."""
        return bool(self._protocols)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the fields of `State`; `fill` puts into them how much comes to each identity."""
        if not self._protocols:
            return {
                "load": np.zeros((1, LOAD_COLUMNS), dtype=np.int64),
                "load_share": np.zeros((1, 1), dtype=np.uint16),
                "load_kind": np.zeros((1, 2), dtype=np.int64),
                "load_table": np.zeros(1, dtype=np.int64),
            }
        samples = [sample for load in self._protocols for sample in (load.request, load.response)]
        unit: Any = Exponential[int].model_validate({"mean": LOAD_UNIT})
        table, begins = join_tables([unit.table(), *map(table_of_sample, samples)])
        kind = np.zeros((2, len(self._protocols), 2, 2), dtype=np.int64)
        kind[..., KIND_TABLE] = begins[1:].reshape(-1, 2)
        # What comes down to an identity are the answers to its own requests, which have the first place there.
        kind[1, :, 0, KIND_TABLE] = begins[2::2]
        kind[..., 0, KIND_IS_OWN] = 1
        return {
            "load": np.zeros((len(self._owned), LOAD_COLUMNS), dtype=np.int64),
            "load_share": np.zeros((len(self._owned), 4 * len(self._protocols)), dtype=np.uint16),
            "load_kind": kind.reshape(-1, 2),
            "load_table": table,
        }

    def fill(self, state: State, reference: State, parameters: Parameters) -> None:
        """Put into the arrays what comes to each identity of the shard.

        Parameters
        ----------
        state
            With the shard's arrays.
        reference, parameters
            As kernels take them.
        """
        if not self._protocols:
            return
        count = len(self._owned)
        own = slice(self._owned.start - self._first_cold, self._owned.stop - self._first_cold)
        peers = (state.sender[:, PEERS] & PEERS_MASK).astype(np.float64)
        asking = np.zeros(count, dtype=np.int64)
        rates = np.zeros((2, count, len(self._protocols), 2), dtype=np.float64)
        for place, load in enumerate(self._protocols):
            hosts = self._representatives.of(load.number).astype(np.int64)
            # Those that are executed are no expectation: a server that one of them asks has one peer less that is not.
            left = (self._role >> np.uint64(load.number + ASKS_SHIFT) & np.uint64(1)).astype(np.uint8)
            left[hosts - self._first_cold] = 0
            count_peers_in(reference, parameters, count, left, asking)
            rates[..., place, :] = self._rates(load, own, peers, asking)
            mine = hosts[(hosts >= self._owned.start) & (hosts < self._owned.stop)] - self._owned.start
            rates[:, mine, place, 0] = 0.0
        links = (state.sender[:, UPLINK_RATE], state.identity[:, DOWNLINK_RATE])
        moments = np.array([[_moments(load.request), _moments(load.response)] for load in self._protocols])
        for link, (rate, ns) in enumerate(zip(rates, links, strict=True)):
            # What comes down are answers, each to a request.
            sizes = moments if link == 0 else moments[:, [1, 1]]
            total = rate.sum(axis=(1, 2))
            there = total > 0
            byte_ns = ns[there] / (1 << RATE_SHIFT)
            first, second = ((rate[there] * sizes[..., which]).sum(axis=(1, 2)) for which in (0, 1))
            busy = np.minimum(first * byte_ns, _FULLEST)
            memory = _TIMES_REMEMBERED * second / first * byte_ns / (1 - busy) ** 2
            state.load[:, link * LINK_COLUMNS + LOAD_NEXT] = np.where(there, -1, NEVER)
            state.load[there, link * LINK_COLUMNS + LOAD_GAP] = np.maximum(np.rint(1 / total[there]), 1)
            state.load[there, link * LINK_COLUMNS + LOAD_MEMORY] = np.rint(np.minimum(memory, _LONGEST_MEMORY))
            shares = np.cumsum(rate[there].reshape(-1, 2 * len(self._protocols)), axis=1)
            kinds = shares.shape[1]
            cumulated = np.rint(shares / shares[:, -1:] * WHOLE).astype(np.uint16)
            state.load_share[there, link * kinds : (link + 1) * kinds] = cumulated

    def _rates(self, load: ProtocolLoad, own: slice, peers: Any, asking: Any) -> Float64Array:
        """Streams [1/ns] up and down of an identity's own requests, and of those that it is asked: float64[2, n, 2].

        Parameters
        ----------
        load
            The protocol.
        own
            Which identities.
        peers, asking
            Number of peers of each, and of those who ask and are not executed.
        """
        role = self._role[own]
        asks = role >> np.uint64(load.number + ASKS_SHIFT) & np.uint64(1)
        serves = role >> np.uint64(load.number) & np.uint64(1)
        answered = load.answered(peers)
        joins = self._joins[own] if load.joins_per_ns > 0 else 0.0
        rates = np.zeros((2, len(role), 2), dtype=np.float64)
        servers = np.asarray(peers) * load.serving
        rates[0, :, 0] = asks * (load.per_ns + joins * servers)
        rates[0, :, 1] = serves * np.asarray(asking) * answered
        rates[1, :, 0] = asks * np.minimum(load.per_ns + joins * servers, load.most_per_ns * np.maximum(servers, 1.0))
        return rates

    def _expected(self, number: int, request: RequestSection, chosen: int, seed: int) -> ProtocolLoad:
        """What is expected of a protocol with so many representatives."""
        asks = self._role >> np.uint64(number + ASKS_SHIFT) & np.uint64(1) == 1
        serves = self._role >> np.uint64(number) & np.uint64(1) == 1
        limit = request.limit
        return ProtocolLoad(
            number,
            1.0 - chosen / int(asks.sum()),
            0.0 if request.interval is None else 1 / request.interval.expectation(),
            float(self._joins[asks].mean()) if request.on_join else 0.0,
            max(float(serves.mean()), 1 / len(asks)),
            np.inf if limit is None else limit.tokens / limit.period / max(request.chunks.expectation(), 1.0),
            *_samples(request, number, seed),
        )

    def _that_matter(self, expected: list[ProtocolLoad], section: ColdSection) -> list[ProtocolLoad]:
        """Those that hold anybody up; raises where links would be full."""
        links = (self._up_ns, self._down_ns)
        busy = np.zeros((2, len(self._role)), dtype=np.float64)
        matter = []
        for load in expected:
            asking = np.count_nonzero(self._role >> np.uint64(load.number + ASKS_SHIFT) & np.uint64(1))
            peers = min(section.mean_degree, len(self._role) - 1)
            share = asking / len(self._role)
            rates = self._rates(load, slice(None), float(peers), peers * share * load.left)
            waits = 0.0
            for link, (rate, ns) in enumerate(zip(rates, links, strict=True)):
                request, response = _moments(load.request), _moments(load.response)
                for column, (first, second) in enumerate(((request if link == 0 else response), response)):
                    busy[link] += rate[:, column] * first * ns
                    waits = max(waits, float((rate[:, column] * second * ns * ns).max()) / 2)
            if waits >= NEGLIGIBLE_NS:
                matter.append(load)
            if busy.max() >= 1.0:
                raise UserError(
                    f"requests that are not executed would take {busy.max():.3g} times what a link carries, or more; "
                    "where links are full, requests can only be exact",
                    where=f"cold.requests[{load.number}].resolution",
                )
        return matter


def _moments(sample: Int64Array) -> tuple[float, float]:
    """Mean, and mean of the squares."""
    # Sums of integers, which do not depend on the order.
    return int(sample.sum()) / len(sample), sum(value * value for value in sample.tolist()) / len(sample)


def _samples(request: RequestSection, number: int, seed: int) -> tuple[Int64Array, Int64Array]:
    """Bytes on the wire of as many requests and responses of a protocol, ascending: int64[_SAMPLES] both.

    Of what they are made of, each part is drawn from one of equal parts of the probability, so that means are right.
    """

    def words(which: int, count: int) -> npt.NDArray[np.uint64]:
        drawn = draw_u64_array(seed, number, ColdPurpose.LOAD_SIZE, which << 32 | np.arange(count))
        spaced = np.arange(count, dtype=np.uint64) * np.uint64((1 << 64) // max(count, 2))
        # The low bits choose the part of a mixture.
        return spaced + drawn // np.uint64(max(count, 2))

    size = draw_values(request.size.table(), words(0, _SAMPLES))
    chunks = draw_values(request.chunks.table(), words(1, _SAMPLES))
    response = np.repeat(np.arange(_SAMPLES), chunks)
    order = np.argsort(draw_u64_array(seed, number, ColdPurpose.LOAD_SIZE, 3 << 32 | np.arange(len(response))))
    drawn = draw_values(request.chunk_size.table(), words(2, len(response)))[order]
    answer = np.zeros(_SAMPLES, dtype=np.int64)
    np.add.at(answer, response, drawn)
    sizes = (size, np.maximum(answer, LEAST_RESPONSE))
    wire = [each + SEGMENT_HEADERS * np.maximum(-(-each // SEGMENT_DATA), 1) for each in sizes]
    return np.sort(wire[0]), np.sort(wire[1])
