"""What identities are: where they live, how fast their links are, when their heart beats."""

import numpy as np
import numpy.typing as npt

from bridge.directory import HostDirectory
from bridge.rng import draw_u64_array, draw_uniform_array
from bridge.simtime import NS_PER_S
from cold.clocks import Clocks, draw_clocks
from cold.purposes import ColdPurpose
from cold.section import ColdSection
from cold.state_kernels import RATE_SHIFT


def link_rates(bits_per_second: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Nanoseconds per byte in fixed point with RATE_SHIFT bits, rounded up."""
    scaled = 8 * NS_PER_S << RATE_SHIFT
    return -(-scaled // bits_per_second.astype(np.int64))


def client_kinds(section: ColdSection, seed: int, first_id: int, count: int) -> npt.NDArray[np.uint8]:
    """The kind of client of `count` identities from the HostId `first_id` on: uint8[count], as they are listed.

    Each identity's is drawn, so that kinds are spread alike over regions and links, and shares hold in the mean.
    """
    shares = np.cumsum([client.share for client in section.clients.values()] or [1.0])
    draws = draw_uniform_array(seed, np.arange(first_id, first_id + count), ColdPurpose.CLIENT, 0)
    return np.searchsorted(shares / shares[-1], draws, side="right").astype(np.uint8)


def heartbeat_phases(
    seed: int, first_id: int, count: int, heartbeat_ns: npt.NDArray[np.int64] | int
) -> npt.NDArray[np.int64]:
    """Time of the first heartbeat of `count` identities with these intervals: int64[count], in [0, heartbeat_ns)."""
    draws = draw_u64_array(seed, np.arange(first_id, first_id + count), ColdPurpose.PHASE, 0)
    return (draws % np.asarray(heartbeat_ns, dtype=np.uint64)).astype(np.int64)


def ports(section: ColdSection, directory: HostDirectory) -> npt.NDArray[np.uint16]:
    """UDP port of each identity, uint16[identities]."""
    return directory.by_population({name: each.port for name, each in section.populations.items()}, np.uint16)


def clocks(section: ColdSection, directory: HostDirectory, seed: int) -> Clocks:
    """The clock of each identity, drawn from its population's distributions."""
    identities = directory.total_count - directory.hot_count
    result = Clocks(np.zeros(identities, dtype=np.int64), np.zeros(identities, dtype=np.int64))
    for cold in directory.ranges:
        first = cold.first_id - directory.hot_count
        clock = section.populations[cold.population].clock
        if clock is not None:
            drawn = draw_clocks(clock.offset, clock.drift, seed, cold.first_id, cold.count)
            for column, values in zip(result, drawn, strict=True):
                column[first : first + cold.count] = values
    # What is the same for all takes the memory of one.
    return Clocks(*(np.broadcast_to(each[:1].copy(), identities) if np.ptp(each) == 0 else each for each in result))


def stakers(section: ColdSection, directory: HostDirectory) -> npt.NDArray[np.bool_]:
    """Which identities may have validators of the calendar: bool[identities]."""
    named = None if section.calendar is None else section.calendar.validators.populations
    return directory.by_population({name: named is None or name in named for name in section.populations}, np.bool_)
