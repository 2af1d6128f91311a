"""Kernels that tell whom an identity is connected to on a topic, and who is in its mesh."""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

import numpy as np
import numpy.typing as npt

from cold.disturbance_kernels import can_reach
from cold.jit import int64, kernel
from cold.membership_kernels import mesh_row, peer_of_place
from cold.mesh_kernels import cold_peers_start, count_cold_peers, count_peers, place_at
from cold.state_kernels import MESH_COUNT, Parameters, State

Int64Array = npt.NDArray[np.int64]


@kernel
def members_of(state: State, parameters: Parameters, identity: int, topic: int, members: Int64Array) -> int:
    """List the HostIds in an identity's mesh, in the order in which they joined; returns how many they are."""
    row = mesh_row(state, parameters, identity, topic)
    count = int64(state.mesh[row, MESH_COUNT])
    for position in range(count):
        place = int64(state.mesh[row, parameters.first_member + position])
        members[position] = peer_of_place(state, parameters, identity, place)
    return count


@kernel
def peers_of(
    state: State,
    parameters: Parameters,
    time: int,
    identity: int,
    topic: int,
    peers: Int64Array,
    in_reach: npt.NDArray[np.uint8],
) -> int:
    """List the HostIds of the peers that an identity knows, cold ones first, and who can be reached; how many."""
    row = mesh_row(state, parameters, identity, topic)
    count = count_peers(state, parameters, identity, topic, row)
    cold = count_cold_peers(state, parameters, identity, topic, row)
    start = cold_peers_start(state, parameters, identity, topic, row)
    for index in range(count):
        place = place_at(state, parameters, identity, topic, start, cold, index)
        peer = peer_of_place(state, parameters, identity, place)
        peers[index] = peer
        in_reach[index] = 1 if can_reach(state, parameters, time, identity, peer) else 0
    return count
