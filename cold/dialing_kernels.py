"""Kernels of `cold.dialing`: who dials whom, whom it takes, and which connections are closed again."""

# To the type checker an element of an array is Any.
# mypy: disable-error-code="no-any-return"

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.rng import draw_u64
from cold.jit import int64, kernel, uint64
from cold.purposes import ColdPurpose

Int64Array = npt.NDArray[np.int64]
UInt16Array = npt.NDArray[np.uint16]
UInt32Array = npt.NDArray[np.uint32]

#: In one round an identity tries so many candidates for each connection that it wants.
TRIES: Final = 4
#: Marks a connection that an end of it has closed: the highest bit of an entry of `Connections.dialled`.
_CLOSED: Final = 1 << 31
_PEER: Final = _CLOSED - 1

_DIAL: Final = int(ColdPurpose.DIAL)
_PRUNE: Final = int(ColdPurpose.PRUNE_CONNECTION)
_LOW: Final = uint64(0xFFFFFFFF)
_HIGH: Final = uint64(32)


class Wishes(NamedTuple):
    """What A identities want of their connections. 0 <= outbound <= target <= maximum."""

    target: UInt16Array
    """uint16[A]: they dial while they have fewer connections, and close what is above it."""
    maximum: UInt16Array
    """uint16[A]: they take nobody in when they have so many."""
    outbound: UInt16Array
    """uint16[A]: they dial while they have fewer connections that they dialled themselves."""


class Connections(NamedTuple):
    """Connections of A identities, kept by the one that dialled."""

    dialled: UInt32Array
    """uint32[A, largest target]: indices of identities, in the order of dialling."""
    made: UInt16Array
    """uint16[A]: how many of a row are valid."""
    degree: UInt16Array
    """uint16[A]: connections in both directions."""


@kernel
def are_connected(connections: Connections, one: int, other: int) -> bool:
    """Whether one of two identities has dialled the other."""
    found = False
    for position in range(connections.made[one]):
        if connections.dialled[one, position] == other:
            found = True
    for position in range(connections.made[other]):
        if connections.dialled[other, position] == one:
            found = True
    return found


@kernel
def dial(
    connections: Connections,
    wishes: Wishes,
    seed: int,
    first_id: int,
    number: int,
    order: UInt32Array,
    candidates: UInt32Array,
) -> None:
    """Let every identity dial once, one after another.

    Parameters
    ----------
    connections, wishes
        Of all identities.
    seed, first_id
        Of the draws.
    number
        Of the round.
    order
        uint32[A]: whose turn is when.
    candidates
        uint32[n]: identities that can be dialled.
    """
    for turn in range(len(order)):
        identity = int64(order[turn])
        target, outbound = int64(wishes.target[identity]), int64(wishes.outbound[identity])
        wanted = max(
            target - int64(connections.degree[identity]), outbound - int64(connections.made[identity]), int64(0)
        )
        word = uint64(0)
        for attempt in range(TRIES * wanted if len(candidates) > 0 else 0):
            degree, count = int64(connections.degree[identity]), int64(connections.made[identity])
            if (degree >= target and count >= outbound) or degree >= wishes.maximum[identity]:
                break
            if attempt & 1 == 0:
                word = uint64(draw_u64(seed, first_id + identity, _DIAL, number << 32 | attempt >> 1))
            else:
                word >>= _HIGH
            peer = int64(candidates[int64((word & _LOW) * uint64(len(candidates)) >> _HIGH)])
            if (
                peer != identity
                and connections.degree[peer] < wishes.maximum[peer]
                and not are_connected(connections, identity, peer)
            ):
                connections.dialled[identity, count] = peer
                connections.made[identity] = count + 1
                connections.degree[identity] = degree + 1
                connections.degree[peer] += 1


@kernel
def prune(connections: Connections, wishes: Wishes, seed: int, first_id: int, number: int) -> None:
    """Let every identity that has more connections than its target close random ones, all at the same time.

    Those that it dialled itself are closed only while more than `Wishes.outbound` of them are left. Parameters are
    those of `dial`.
    """
    start, inbound = inbound_of_excessive(connections, wishes)
    longest = int64(0)
    for identity in range(len(connections.degree)):
        longest = max(longest, int64(connections.degree[identity]))
    several = np.empty(longest, dtype=np.uint32)
    for identity in range(len(connections.degree)):
        degree, excess = int64(connections.degree[identity]), int64(connections.degree[identity])
        excess -= int64(wishes.target[identity])
        if excess <= 0:
            continue
        own = int64(connections.made[identity])
        for place in range(degree):
            several[place] = place
        left = own
        for turn in range(degree):
            word = uint64(draw_u64(seed, first_id + identity, _PRUNE, number << 32 | turn)) & _LOW
            pick = turn + int64(word * uint64(degree - turn) >> _HIGH)
            place = int64(several[pick])
            several[pick] = several[turn]
            if place >= own:
                close(connections, int64(inbound[start[identity] + place - own]), identity)
            elif left > wishes.outbound[identity]:
                connections.dialled[identity, place] |= _CLOSED
                left -= 1
            else:
                continue
            excess -= 1
            if excess == 0:
                break
    forget_closed(connections)


@kernel
def inbound_of_excessive(connections: Connections, wishes: Wishes) -> tuple[Int64Array, UInt32Array]:
    """Who dialled those that have more connections than they want: int64[A + 1] and uint32[n], ascending in rows."""
    identities = len(connections.degree)
    start = np.zeros(identities + 1, dtype=np.int64)
    for identity in range(identities):
        degree = int64(connections.degree[identity])
        rest = degree - int64(connections.made[identity]) if degree > wishes.target[identity] else 0
        start[identity + 1] = start[identity] + rest
    fill = start[:identities].copy()
    inbound = np.empty(start[identities], dtype=np.uint32)
    for identity in range(identities):
        for position in range(connections.made[identity]):
            peer = connections.dialled[identity, position]
            if connections.degree[peer] > wishes.target[peer]:
                inbound[fill[peer]] = identity
                fill[peer] += 1
    return start, inbound


@kernel
def close(connections: Connections, dialler: int, peer: int) -> None:
    """Mark a connection as closed."""
    for position in range(connections.made[dialler]):
        if connections.dialled[dialler, position] & _PEER == peer:
            connections.dialled[dialler, position] |= _CLOSED


@kernel
def forget_closed(connections: Connections) -> None:
    """Take closed connections out of the rows; the others keep their order."""
    for identity in range(len(connections.degree)):
        kept = 0
        for position in range(connections.made[identity]):
            entry = int64(connections.dialled[identity, position])
            if entry & _CLOSED == 0:
                connections.dialled[identity, kept] = entry
                kept += 1
            else:
                connections.degree[identity] -= 1
                connections.degree[entry & _PEER] -= 1
        connections.made[identity] = kept


@kernel
def rows_of_connections(connections: Connections) -> tuple[Int64Array, UInt32Array, npt.NDArray[np.bool_]]:
    """Rows of every identity's neighbours.

    Returns
    -------
    row_start, neighbours, dialled
        As `cold.overlay.rows_of_edges` has them.
    """
    identities = len(connections.degree)
    row_start = np.zeros(identities + 1, dtype=np.int64)
    for identity in range(identities):
        row_start[identity + 1] = row_start[identity] + int64(connections.degree[identity])
    neighbours = np.empty(row_start[identities], dtype=np.uint32)
    fill = row_start[:identities].copy()
    for identity in range(identities):
        for position in range(connections.made[identity]):
            peer = int64(connections.dialled[identity, position])
            neighbours[fill[peer]] = identity
            fill[peer] += 1
    dialled = np.zeros(len(neighbours), dtype=np.bool_)
    for identity in range(identities):
        # Whoever dialled the identity is there, in order. Those that it dialled are merged in from the back, so that
        # what is there has moved before its place is taken.
        hole, inbound = row_start[identity + 1] - 1, fill[identity] - 1
        own = np.sort(connections.dialled[identity, : connections.made[identity]])
        position = len(own) - 1
        while position >= 0:
            if inbound >= row_start[identity] and neighbours[inbound] > own[position]:
                neighbours[hole] = neighbours[inbound]
                inbound -= 1
            else:
                neighbours[hole] = own[position]
                dialled[hole] = True
                position -= 1
            hole -= 1
    return row_start, neighbours, dialled
