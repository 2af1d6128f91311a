"""Kernels of disturbed paths: what partitions and degradations do to a packet, and to who reaches whom."""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

from typing import Final

from cold.jit import inlined_kernel, kernel
from cold.life_kernels import are_dialled, is_up
from cold.state_kernels import Parameters, State

# Columns of `disturbance`.
BEGIN: Final = 0
END: Final = 1
EXTRA_LATENCY: Final = 2
"""ns."""
DETECTION: Final = 3
"""How long after the beginning peers notice that they are cut off from each other [ns]."""
DISTURBANCE_COLUMNS: Final = 4


@kernel
def is_disturbed(state: State, number: int, time: int, a: int, b: int) -> bool:
    """Whether a disturbance concerns packets that leave node `a` for node `b` at a time."""
    return (
        state.disturbance[number, BEGIN] <= time < state.disturbance[number, END] and state.disturbed[number, a, b] != 0
    )


@inlined_kernel
def path_loss(state: State, parameters: Parameters, time: int, a: int, b: int) -> float:
    """Probability that a packet from node `a` to node `b` is lost that leaves at a time."""
    if parameters.lossy == 0:
        return 0.0
    loss = state.loss[a, b]
    for number in range(parameters.disturbances):
        if is_disturbed(state, number, time, a, b):
            loss += (1.0 - loss) * state.disturbance_loss[number]
    return loss


@inlined_kernel
def path_latency(state: State, parameters: Parameters, time: int, a: int, b: int) -> int:
    """How long a packet from node `a` to node `b` travels that leaves at a time [ns]."""
    latency = state.latency[a, b]
    for number in range(parameters.disturbances):
        if is_disturbed(state, number, time, a, b):
            latency += state.disturbance[number, EXTRA_LATENCY]
    return latency


@kernel
def is_cut(state: State, parameters: Parameters, time: int, a: int, b: int) -> bool:
    """Whether no packet passes between two nodes."""
    for number in range(parameters.disturbances):
        if state.disturbance_loss[number] >= 1.0 and is_disturbed(state, number, time, a, b):
            return True
    return False


@kernel
def is_known_cut(state: State, parameters: Parameters, time: int, a: int, b: int) -> bool:
    """Whether peers at two nodes have noticed that no packet passes between them."""
    for number in range(parameters.disturbances):
        if (
            state.disturbance_loss[number] >= 1.0
            and is_disturbed(state, number, time, a, b)
            and time >= state.disturbance[number, BEGIN] + state.disturbance[number, DETECTION]
        ):
            return True
    return False


@kernel
def can_reach(state: State, parameters: Parameters, time: int, identity: int, peer: int) -> bool:
    """Whether a peer is up, is connected to an identity that is up, and packets pass between them."""
    if not is_up(state, parameters, peer, time):
        return False
    if not are_dialled(state, parameters, identity + parameters.first_id, peer, time):
        return False
    if parameters.disturbances == 0:
        return True
    return not is_cut(state, parameters, time, state.node[identity + parameters.first_id], state.node[peer])
