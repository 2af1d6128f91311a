"""Kernels of requests that are not executed: their streams take their time on the links all the same.

On each link of an identity such streams come as a Poisson process (`cold.request_load` has the rates). It is drawn when
somebody needs to know when the link is free, from where it was drawn last, and never further back than what can matter.
"""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

import numpy as np
import numpy.typing as npt

from cold.distribution_kernels import draw_value
from cold.draw_kernels import draw_words
from cold.jit import inlined_kernel, int64, kernel, uint64
from cold.membership_kernels import count_neighbours, first_peer, newest_link
from cold.purposes import ColdPurpose
from cold.request_layout import (
    KIND_IS_OWN,
    KIND_TABLE,
    LINK_COLUMNS,
    LOAD_DRAWS,
    LOAD_GAP,
    LOAD_MEMORY,
    LOAD_NEXT,
    LOAD_UNIT,
)
from cold.state_kernels import (
    DOWNLINK_FREE,
    DOWNLINK_RATE,
    RATE_SHIFT,
    UPLINK_FREE,
    UPLINK_RATE,
    Int64Array,
    Parameters,
    State,
)

_LOAD: Final = int(ColdPurpose.LOAD)
_WORD_BITS: Final = uint64(32)
_UNIT_BITS: Final = LOAD_UNIT.bit_length() - 1
#: The last cumulated share of a link's kinds.
WHOLE: Final = 0xFFFF


@kernel
def scaled(mean: int, draw: int) -> int:
    """`mean` * `draw` / LOAD_UNIT, rounded down, without an overflow on the way."""
    return (mean >> _UNIT_BITS) * draw + ((mean & (LOAD_UNIT - 1)) * draw >> _UNIT_BITS)


@kernel
def pass_streams(
    state: State, parameters: Parameters, time: int, identity: int, link: int, free: int, rate: int
) -> int:
    """Let the streams that come before `time` take a link, 0 up or 1 down, of this rate, free at `free` but for them.

    Returns when it is free then [ns].
    """
    columns, kinds = link * LINK_COLUMNS, state.load_share.shape[1] // 2
    came, gap = state.load[identity, columns + LOAD_NEXT], state.load[identity, columns + LOAD_GAP]
    since = max(time - state.load[identity, columns + LOAD_MEMORY], int64(0))
    # What came before has left the link long since.
    is_new = came < since
    if is_new:
        came = since
    while came < time:
        number = state.load[identity, columns + LOAD_DRAWS]
        state.load[identity, columns + LOAD_DRAWS] = number + 1
        words = draw_words(parameters, identity + parameters.first_id, _LOAD, 2 * number + link)
        if not is_new:
            share, kind = max(int64(words[2]) & WHOLE, int64(1)), link * kinds
            while int64(state.load_share[identity, kind]) < share:
                kind += 1
            if state.load_kind[kind, KIND_IS_OWN] == 0 or newest_link(state, parameters, identity) < 0:
                size = draw_value(state.load_table, state.load_kind[kind, KIND_TABLE], uint64(words[3]) << _WORD_BITS)
                free = max(free, came) + (size * rate >> RATE_SHIFT)
        is_new = False
        came += scaled(gap, draw_value(state.load_table, 0, uint64(words[0]) | uint64(words[1]) << _WORD_BITS))
    state.load[identity, columns + LOAD_NEXT] = came
    return free


@inlined_kernel
def uplink_free(state: State, parameters: Parameters, time: int, identity: int) -> int:
    """When what an identity sends at `time` can begin to leave [ns]."""
    if parameters.load != 0 and state.load[identity, LOAD_NEXT] < time:
        sender = state.sender
        sender[identity, UPLINK_FREE] = pass_streams(
            state, parameters, time, identity, 0, sender[identity, UPLINK_FREE], sender[identity, UPLINK_RATE]
        )
    return max(state.sender[identity, UPLINK_FREE], time)


@inlined_kernel
def pass_answers(state: State, parameters: Parameters, time: int, identity: int) -> None:
    """Let answers that come before `time` take the downlink: before anything is added that came then."""
    if parameters.load != 0 and state.load[identity, LINK_COLUMNS + LOAD_NEXT] < time:
        link = state.identity
        link[identity, DOWNLINK_FREE] = pass_streams(
            state, parameters, time, identity, 1, link[identity, DOWNLINK_FREE], link[identity, DOWNLINK_RATE]
        )


@inlined_kernel
def downlink_free(state: State, parameters: Parameters, time: int, identity: int) -> int:
    """When what arrives at `time`, and does not pass at once, can begin to come in [ns]."""
    pass_answers(state, parameters, time, identity)
    return max(state.identity[identity, DOWNLINK_FREE], time)


@kernel
def count_peers_in(
    state: State, parameters: Parameters, identities: int, chosen: npt.NDArray[np.uint8], count: Int64Array
) -> None:
    """Count the cold peers of each identity of the shard, int64[N], that are among those chosen of all, uint8[A]."""
    for identity in range(identities):
        first = first_peer(state, identity)
        found = int64(0)
        for place in range(first, first + count_neighbours(state, identity)):
            peer = int64(state.neighbours[place]) & parameters.host_mask
            found += int64(chosen[peer - parameters.hot_count])
        count[identity] = found
