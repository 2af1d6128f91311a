"""Kernels of `cold.changing_field` and `cold.sparing`: the steps of the equations, over all types of members.

A step of either stage is some thousand multiplications, far less than what numpy takes to begin thirty operations.
"""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cold.jit import kernel

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Smaller shares are none: the errors of rounding would grow as a message does.
_ROUNDING: Final = 1e-13
#: The first stage ends where less than this share of all pushes so far has come in the time of the longest hop.
_QUIET: Final = 1e-5
#: Where less than this lacks the message, or gets it while caches tell of it, nobody does.
_HALF: Final = 0.5
#: Of more than these a Poisson number is drawn as a normal one.
_MANY: Final = 50.0
_LEAST: Final = 1e-300


class Leaving(NamedTuple):
    """Copies on their way out, where members tell each other of the message. T types, n others at most.

    The rows of `gained`, `weighted` and `really` begin with as many as are looked back on, those of `leaves` end with
    as many as are looked ahead to.
    """

    ready: Float64Array
    """float64[V, T]: `cold.sparing.Sparing.ready`, the longest time first."""
    told: Float64Array
    """float64[T, T]: that of `cold.sparing.Sparing`."""
    whole: Int64Array
    """int64[T, T]: whole steps of `cold.sparing.Sparing.after`."""
    part: Float64Array
    """float64[T, T]: the rest."""
    others: Int64Array
    """int64[T]: that of `cold.sparing.Sparing`."""
    ways: Float64Array
    """float64[n + 1, T]: to choose so many of the others; 0 of more than there are."""
    delay: Int64Array
    """int64[n + 1, T]: whole steps from pushing to the leaving of the copy at each place."""
    delay_part: Float64Array
    """float64[n + 1, T]: the rest."""
    gained: Float64Array
    """float64[., T]: of a member's cavity, in each step."""
    weighted: Float64Array
    """float64[., T]: the same over theta."""
    really: Float64Array
    """float64[., T]: receipts in each step."""
    leaves: Float64Array
    """float64[., T]: probability that the copy leaves in each step."""
    left: Float64Array
    """float64[T]: that it has left by the last step."""
    pushes: Float64Array
    """float64[T]: members that have pushed."""
    needed: Float64Array
    """float64[T]: the same times the share of their pushes that had not been told of."""


@kernel
def have_left(leaving: Leaving, number: int) -> None:
    """Count the copies that leave in a step."""
    for kind in range(len(leaving.left)):
        leaving.left[kind] += leaving.leaves[number, kind]


@kernel
def push_untold(
    leaving: Leaving, number: int, told_by: Float64Array, has: Float64Array, at: int, theta: Float64Array
) -> None:
    """Have those push who are ready in a step. Parameters as for `cold.sparing.SparedPushes.push`."""
    lags, types = leaving.ready.shape
    row = number + lags
    for kind in range(types):
        gained = told_by[at, kind] - told_by[at - 1, kind]
        leaving.gained[row, kind] = gained
        leaving.weighted[row, kind] = gained / max(theta[kind], 1e-12)
        leaving.really[row, kind] = has[at, kind] - has[at - 1, kind]
    ready, weighted, really = np.zeros(types), np.zeros(types), np.zeros(types)
    for lag in range(lags):
        then = row + 1 - lags + lag
        for kind in range(types):
            share = leaving.ready[lag, kind]
            ready[kind] += leaving.gained[then, kind] * share
            weighted[kind] += leaving.weighted[then, kind] * share
            really[kind] += leaving.really[then, kind] * share
    for kind in range(types):
        untold = 1.0
        for other in range(types):
            then, part = at - leaving.whole[kind, other], leaving.part[kind, other]
            heard = (1 - part) * told_by[then, other] + part * told_by[then - 1, other]
            untold -= leaving.told[kind, other] * heard
        missing = min(max(untold * weighted[kind] / max(ready[kind], _LEAST), 0.0), 1.0)
        leaving.pushes[kind] += really[kind]
        leaving.needed[kind] += really[kind] * missing
        # The number of copies that leave is binomial, and of n others that stay each place before them is alike.
        here = 0.0
        others = leaving.others[kind]
        for place in range(others, -1, -1):
            stays = leaving.ways[place, kind] * missing**place * (1 - missing) ** (others - place)
            here += ready[kind] * stays / (place + 1)
            when, part = number + leaving.delay[place, kind], leaving.delay_part[place, kind]
            leaving.leaves[when, kind] += here * (1 - part)
            leaving.leaves[when + 1, kind] += here * part


class Hops(NamedTuple):
    """What the first stage's equations need of the network, that does not change meanwhile. T types."""

    step: float
    """Of the grid [s]."""
    own: Float64Array
    """float64[L, T]: distribution of the time from a receipt to the copy's leaving, from L steps down to one."""
    whole: Int64Array
    """int64[T, T]: ``whole[b, a]``, whole steps from a to b."""
    part: Float64Array
    """float64[T, T]: the rest."""
    mixing: Float64Array
    """float64[T, T]: as in `cold.changing_field.Terms`."""
    pushed: Float64Array
    """float64[T, K + 1]: the same."""
    cavity: Float64Array
    """float64[T, K + 1]: shares of those whom k others push to beside the one who asks."""
    first: Float64Array
    """float64[T, F]: probability that the publisher's copy has come to a member, by steps."""
    asking: Int64Array
    """int64[T, T]: as in `cold.changing_field.Terms`."""
    mended: Int64Array
    """int64[T, T]: the same."""
    weight: Float64Array
    """float64[T]: the same."""
    members: float
    """How many are up."""


class Passing(NamedTuple):
    """What messages meet from a step on. T types."""

    arrives: Float64Array
    """float64[T, T]: as in `cold.changing_field.Terms`."""
    telling: Float64Array
    """float64[T, T]: the same."""
    talking: Float64Array
    """float64[T]: the same."""
    heard_from: Int64Array
    """int64[T, T]: ``heard_from[b, a]``: step from which on b gets IHAVEs of a."""
    mended_from: Int64Array
    """int64[T, T]: and the copies that it asks for."""
    quiet_after: int
    """The first stage does not end for being quiet before this step."""


class Spread(NamedTuple):
    """Where the first stage stands. Rows are steps, after `before` of nothing; T types."""

    told_by: Float64Array
    """float64[., T]: 1 - C."""
    has: Float64Array
    """float64[., T]: 1 - S."""
    sent: Float64Array
    """float64[., T]: probability that a member's copy has left."""
    theta: Float64Array
    """float64[., T]."""
    came: Float64Array
    """float64[T, T]: probability that a copy of the second type has come to one of the first."""
    sent_before: Float64Array
    """float64[T, T]: that it had left in the last step."""
    sigma_phi: Float64Array
    """float64[T]."""
    phi: Float64Array
    """float64[T]."""
    heard: Float64Array
    """float64[T]: IHAVEs that have come to a member."""
    asked: Float64Array
    """float64[T]: IWANTs of a member."""


@kernel
def _polynomial(shares: Float64Array, row: int, value: float) -> float:
    total = 0.0
    for power in range(shares.shape[1] - 1, -1, -1):
        total = total * value + shares[row, power]
    return total


@kernel
def push_steps(
    hops: Hops,
    passing: Passing,
    spread: Spread,
    leaving: Leaving,
    before: int,
    first: int,
    end: int,
) -> tuple[int, bool]:
    """Step the first stage's equations from a step on.

    Parameters
    ----------
    hops, passing, spread
        The network, what messages meet, and where the stage stands.
    leaving
        Where members tell each other of the message, and of no types where they do not.
    before
        Rows of `spread` that precede that of step 0.
    first, end
        The first step, and the one after the last for which there is room, or before a change.

    Returns
    -------
    int, bool
        How many steps there have been in all, and whether the stage has ended.
    """
    past, types = hops.own.shape
    hop = past + hops.whole.max() + 1
    is_told = len(leaving.left) > 0
    theta = np.empty(types)
    has, told_by, sent = spread.has, spread.told_by, spread.sent
    for number in range(first, end):
        at = before + number
        if is_told:
            have_left(leaving, number)
            for kind in range(types):
                sent[at, kind] = leaving.left[kind]
        else:
            for lag in range(past):
                for kind in range(types):
                    sent[at, kind] += told_by[at - past + lag, kind] * hops.own[lag, kind]
        lacks = 0.0
        for kind in range(types):
            delivered = 0.0
            for other in range(types):
                then, part = at - hops.whole[kind, other], hops.part[kind, other]
                there = (1 - part) * sent[then, other] + part * sent[then - 1, other]
                # What was sent to those cut off then, or not sent by those that were silent, does not come later.
                passes = passing.arrives[kind, other] * passing.talking[other]
                spread.came[kind, other] += passes * (there - spread.sent_before[kind, other])
                spread.sent_before[kind, other] = there
                delivered += hops.mixing[kind, other] * spread.came[kind, other]
            theta[kind] = min(max(1 - delivered, 0.0), 1.0)
            spread.theta[at, kind] = theta[kind]
            sigma = 1 - hops.first[kind, min(number, hops.first.shape[1] - 1)]
            spread.sigma_phi[kind] = sigma * spread.phi[kind]
            lacking = spread.sigma_phi[kind] * _polynomial(hops.pushed, kind, theta[kind])
            told = 1 - spread.sigma_phi[kind] * _polynomial(hops.cavity, kind, theta[kind])
            told_by[at, kind] = told if told > _ROUNDING else 0.0
            has[at, kind] = 1 - lacking if 1 - lacking > _ROUNDING else 0.0
            lacks += lacking * hops.weight[kind]
        if is_told:
            push_untold(leaving, number, told_by, has, at, theta)
        if lacks * hops.members < _HALF:
            return number + 1, True
        if number + 1 > passing.quiet_after + hop:
            came, least = 0.0, 1.0
            for kind in range(types):
                came = max(came, spread.theta[at - hop, kind] - theta[kind])
                least = min(least, theta[kind])
            if came <= _QUIET * (1 - least):
                return number + 1, True
        for kind in range(types):
            copies = ids = 0.0
            for other in range(types):
                arrives = passing.arrives[kind, other]
                told = passing.telling[kind, other] * arrives
                if number + 1 >= passing.mended_from[kind, other]:
                    copies += told * arrives * arrives * has[at - hops.mended[kind, other], other]
                if number + 1 >= passing.heard_from[kind, other]:
                    ids += told * has[at - hops.asking[kind, other], other]
            spread.phi[kind] *= math.exp(-hops.step * copies)
            spread.asked[kind] += (1 - has[at, kind]) * math.exp(-spread.heard[kind]) * hops.step * ids
            spread.heard[kind] += hops.step * ids
    return end, False


@kernel
def told_of(
    count: Float64Array,
    living: Float64Array,
    arrives: Float64Array,
    known_share: float,
    lazy: Float64Array,
    beat: Float64Array,
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Whom members of each type tell of a message that they have.

    Parameters
    ----------
    count
        float64[T]: members of each type that are up.
    living
        float64[T]: how many are up and can be reached, of the mesh of a member that tells.
    arrives
        float64[T, T]: as in `cold.changing_field.Terms`.
    known_share
        Peers that a member knows, of all others.
    lazy, beat
        float64[T]: `d_lazy` and heartbeat [s] of each type.

    Returns
    -------
    float64[T] four times
        The columns of `cold.changing_field.Told`.
    """
    types = len(count)
    in_a_beat, rate, rate_outside, chosen = (np.zeros(types), np.zeros(types), np.zeros(types), np.zeros(types))
    for kind in range(types):
        reachable = 0.0
        for other in range(types):
            if arrives[other, kind] > 0:
                reachable += count[other]
        known = known_share * reachable
        outside = max(known - living[kind], 0.0)
        in_a_beat[kind] = min(lazy[kind], outside)
        chosen[kind] = min(lazy[kind] / max(outside, 1.0), 1.0)
        each = 1 / max(reachable, 1.0) / beat[kind]
        rate[kind] = in_a_beat[kind] * each
        rate_outside[kind] = max(chosen[kind] * known, in_a_beat[kind]) * each
    return in_a_beat, rate, rate_outside, chosen


@kernel
def told_rates(
    each: Float64Array,
    chosen: Float64Array,
    by_beat: Float64Array,
    arrives: Float64Array,
    open_for: Int64Array,
) -> tuple[Float64Array, Float64Array]:
    """IHAVEs that come to a member of each type, and copies, if it asks for them [1/s]: float64[M, T] both.

    Row m is of those that have been there for m heartbeats: whom a holder has told already lacks the message no more,
    so that of those that could hear it then, fewer are left.

    Parameters
    ----------
    each, chosen
        float64[T]: `Told.rate` or `Told.rate_outside` of `cold.changing_field`, and `Told.chosen`, as they are now.
    by_beat
        float64[M, T]: how many of each type tell of the message for the first, second, ... time.
    arrives
        float64[T, T]: as in `cold.changing_field.Terms`.
    open_for
        int64[T, T]: ``open_for[b, a]``: for how many heartbeats packets have passed from a to b, M - 1 at most.
    """
    beats, types = by_beat.shape
    heard, mended = np.zeros((beats, types)), np.zeros((beats, types))
    told, left = np.zeros((beats, types)), np.ones((beats, types))
    for beat in range(1, beats):
        for kind in range(types):
            left[beat, kind] = left[beat - 1, kind] * (1 - chosen[kind])
    for there in range(beats):
        # By all that have told for so many heartbeats at most those that were there, and could hear it.
        for opened in range(beats):
            for kind in range(types):
                told[opened, kind] = 0.0
                for beat in range(beats):
                    told[opened, kind] += left[min(beat, there, opened), kind] * each[kind] * by_beat[beat, kind]
        for kind in range(types):
            for other in range(types):
                comes = arrives[kind, other]
                its = told[open_for[kind, other], other]
                heard[there, kind] += its * comes
                mended[there, kind] += its * comes * comes * comes
    return heard, mended


class Crowd(NamedTuple):
    """The subscribers of the small network in the second stage, and what becomes of them. n subscribers, T types."""

    kind: Int64Array
    """int64[n]: type of each."""
    lacking: Float64Array
    """float64[n]: probability that each lacks the message at the end of the first stage."""
    is_up: BoolArray
    """bool[n]; it changes."""
    talks: BoolArray
    """bool[n]: tells others' messages on; it changes."""
    is_meshed: BoolArray
    """bool[n]: was up, and in a mesh, at the publication."""
    is_fresh: BoolArray
    """bool[n]: was up then, and in no mesh."""
    grafts: Int64Array
    """int64[n]: time of the heartbeat from which on it has a mesh [ns]; it changes."""
    since: Int64Array
    """int64[n]: step in which it came; it changes."""
    lack: Float64Array
    """float64[n]: probability that it lacks the message and has not heard of it, 1 at first; it changes."""
    by_push: Float64Array
    """float64[n]: that it has got it in the first stage; it changes."""


class Course(NamedTuple):
    """What happens while a message is told of. C changes of subscribers, W of what messages meet."""

    begin: int
    """Time of the publication [ns]."""
    step_ns: int
    """Of the stage [ns]."""
    when: Int64Array
    """int64[C]: by time [ns]."""
    who: Int64Array
    """int64[C]: subscriber."""
    comes: BoolArray
    """bool[C]."""
    grafting: Int64Array
    """int64[C]: its first heartbeat from then on [ns]."""
    met_from: Int64Array
    """int64[W]: by time [ns]."""
    met_arrives: Float64Array
    """float64[W, T, T]: `cold.changing_field.Terms.arrives` from then on."""
    met_talks: BoolArray
    """bool[W, n]: who tells others' messages on from then on."""
    uniform: Float64Array
    """float64[S]: a draw of each step, in [0, 1)."""
    normal: Float64Array
    """float64[S]: the same as quantiles of a normal distribution."""


class Talk(NamedTuple):
    """How members tell each other of a message in the second stage. T types, K kinds of clients."""

    ages: Int64Array
    """int64[M + 1, T]: steps since a holder got what others hear of from its first, second, ... heartbeat now."""
    answer: int
    """Steps from hearing of a message to getting it."""
    progress: Float64Array
    """float64[F, T]: share of the first stage's receipts by the end of each step of this stage."""
    first_step: Int64Array
    """int64[T]: step in which the publisher's copies come."""
    reach: Float64Array
    """float64[T]: share of the type that they come to."""
    arrives: Float64Array
    """float64[T, T]: as in `cold.changing_field.Terms`; it changes."""
    passing: Float64Array
    """float64[T, T]: ``passing[b, a]``: in how many meshes one of b is, of all of a."""
    living: Float64Array
    """float64[T]: as in `cold.changing_field.Terms`."""
    known_share: float
    """Peers that a member knows, of all others."""
    lazy: Float64Array
    """float64[T]: `d_lazy`."""
    beat: Float64Array
    """float64[T]: heartbeat [s]."""
    heartbeat: Int64Array
    """int64[T]: heartbeat [steps]."""
    client: Int64Array
    """int64[T]: kind of client."""
    clients: int
    """K."""
    scale: float
    """Subscribers for each of the small network's."""


@kernel
def of_whole_members(expected: float, draw: float, normal: float) -> float:
    """How many get a message of whom so many are expected to, a Poisson number, relative to the expectation.

    `draw` is uniform in [0, 1), and `normal` the quantile of a normal distribution at it.
    """
    if expected <= 0:
        return 1.0
    if expected > _MANY:
        return max(1.0 + normal / math.sqrt(expected), 0.0)
    number, probability = 0, math.exp(-expected)
    below = probability
    while below <= draw and number < 4 * _MANY:
        number += 1
        probability *= expected / number
        below += probability
    return number / expected


@kernel
def gossip_steps(
    crowd: Crowd, course: Course, talk: Talk
) -> tuple[Float64Array, Float64Array, float, Float64Array, float]:
    """Follow what is told, and those who come and go, until no message cache tells of the message.

    Returns
    -------
    float64[N], float64[N, M, T], float, float64[K], float
        By steps: receipts but for those of the first stage, and the hazard of who has been there for m heartbeats; then
        IWANTs, IHAVEs by kinds of clients, and how many get the message in this stage and push it to a mesh.
    """
    members, types = len(crowd.kind), len(talk.lazy)
    beats = len(talk.ages) - 1
    first_steps, most = len(talk.progress), len(course.uniform)
    width = course.step_ns / 1e9
    oldest, slowest = 0, 0
    for kind in range(types):
        oldest = max(oldest, talk.ages[beats, kind])
        slowest = max(slowest, talk.heartbeat[kind])
    rows = oldest + 1
    ring, had = np.zeros((rows, members)), np.zeros(rows)
    then = np.empty((types, beats + 1), dtype=np.int64)
    open_since = np.full((types, types), -beats * slowest)
    open_for = np.empty((types, types), dtype=np.int64)
    flows, hazards = np.zeros(most), np.zeros((most + talk.answer, beats, types))
    sent = np.zeros(talk.clients)
    # Of each: that it gets the message in this step, and that it hears of it in this step or in one of the last ones.
    copied, pushed = np.zeros(members), np.zeros(members)
    hears = np.zeros((talk.answer + 1, members))
    got = np.zeros(members)
    grafted = np.zeros(members, dtype=np.bool_)
    gain, gain_outside = np.zeros((beats, types)), np.zeros((beats, types))
    by_told, by_told_outside = np.zeros((beats, types)), np.zeros((beats, types))
    late, late_grafted = np.zeros(types), np.zeros(types)
    meshed_copies, other_copies = np.zeros(types), np.zeros(types)
    count = np.zeros(types)
    for member in range(members):
        if crowd.is_up[member]:
            count[crowd.kind[member]] += 1
    each_beat, rate, rate_outside, chosen = told_of(
        count, talk.living, talk.arrives, talk.known_share, talk.lazy, talk.beat
    )
    asked = pushing = 0.0
    applied = met = number = 0
    while number < most:
        now = course.begin + number * course.step_ns
        row = number % rows
        by_beat = np.zeros((beats, types))
        for kind in range(types):
            for beat in range(beats + 1):
                then[kind, beat] = (number - talk.ages[beat, kind]) % rows
        had[row] = 0.0
        up = there = 0
        for member in range(members):
            ring[row, member] = got[member]
            had[row] += 1 - crowd.lack[member]
            if not crowd.is_up[member]:
                continue
            up += 1
            grafted[member] = course.begin < crowd.grafts[member] <= now
            there += grafted[member]
            if crowd.talks[member]:
                kind = crowd.kind[member]
                later = ring[then[kind, 0], member]
                for beat in range(beats):
                    earlier = ring[then[kind, beat + 1], member]
                    by_beat[beat, kind] += later - earlier
                    later = earlier
        for kind in range(types):
            for other in range(types):
                since_then = (number - open_since[kind, other]) // talk.heartbeat[other]
                open_for[kind, other] = min(since_then, beats - 1)
            holders = 0.0
            for beat in range(beats):
                holders += by_beat[beat, kind]
            sent[talk.client[kind]] += width * each_beat[kind] / talk.beat[kind] * holders
        # Who has not grafted yet is in the meshes of those that have since it is back.
        heard, inside = told_rates(rate, chosen, by_beat, talk.arrives, open_for)
        heard_outside, outside = told_rates(rate_outside, chosen, by_beat, talk.arrives, open_for)
        for kind in range(types):
            copies = copies_outside = 0.0
            for other in range(types):
                passes = talk.passing[kind, other] * talk.arrives[kind, other] / max(count[other], 1.0)
                copies += passes * late[other]
                copies_outside += passes * late_grafted[other]
            for beat in range(beats):
                told, told_outside = width * inside[beat, kind], width * outside[beat, kind]
                gain[beat, kind] = -math.expm1(-told - copies)
                gain_outside[beat, kind] = -math.expm1(-told_outside - copies_outside)
                # Who gets the message in this step lacks it, and asks for it, in a part of the step only.
                lasts = gain[beat, kind] / max(told + copies, _LEAST)
                lasts_outside = gain_outside[beat, kind] / max(told_outside + copies_outside, _LEAST)
                heard[beat, kind] *= lasts
                heard_outside[beat, kind] *= lasts_outside
                by_told[beat, kind], by_told_outside[beat, kind] = told * lasts, told_outside * lasts_outside
                inside[beat, kind], outside[beat, kind] = told, told_outside
            meshed_copies[kind], other_copies[kind] = copies, copies_outside

        expected = asks = 0.0
        now_hears, now_gets = hears[number % (talk.answer + 1)], hears[(number + 1) % (talk.answer + 1)]
        for member in range(members):
            now_hears[member] = pushed[member] = copied[member] = 0.0
            if not crowd.is_up[member]:
                continue
            kind, lack = crowd.kind[member], crowd.lack[member]
            if crowd.is_meshed[member] and number < first_steps:
                left = min(1 - (1 - crowd.lacking[member]) * talk.progress[number, kind], lack)
                copied[member] = lack - left
                crowd.by_push[member] += lack - left
                continue
            beat = min((number - crowd.since[member]) // talk.heartbeat[kind], beats - 1)
            if crowd.grafts[member] <= now:
                now_hears[member] = lack * by_told[beat, kind]
                pushed[member] = lack * (gain[beat, kind] - by_told[beat, kind])
                asks += lack * heard[beat, kind]
            else:
                now_hears[member] = lack * by_told_outside[beat, kind]
                pushed[member] = lack * (gain_outside[beat, kind] - by_told_outside[beat, kind])
                asks += lack * heard_outside[beat, kind]
            if crowd.is_fresh[member] and number == talk.first_step[kind]:
                pushed[member] += (lack - now_hears[member] - pushed[member]) * talk.reach[kind]
            expected += now_hears[member] + pushed[member]
        # Where few are left that tell, it is chance that decides whether a message lives on.
        luck = of_whole_members(expected * talk.scale, course.uniform[number], course.normal[number])
        asked += luck * width * asks
        for beat in range(beats):
            # Of those that have been there for less than a heartbeat, half have grafted.
            have_meshes = min(beat + 0.5, 1.0)
            for kind in range(types):
                told = inside[beat, kind] * have_meshes + outside[beat, kind] * (1 - have_meshes)
                copies = meshed_copies[kind] * have_meshes + other_copies[kind] * (1 - have_meshes)
                hazards[number + talk.answer, beat, kind] += told * luck
                hazards[number, beat, kind] += copies * luck
        late[:] = 0.0
        late_grafted[:] = 0.0
        share = there / max(up, 1)
        flow = has = 0.0
        for member in range(members):
            # Who has left meanwhile gets nothing.
            if not crowd.is_up[member]:
                crowd.lack[member] += now_gets[member]
            else:
                fewer = min(luck, crowd.lack[member] / max(now_hears[member] + pushed[member], _LEAST))
                now_hears[member] *= fewer
                pushed[member] *= fewer
                left = crowd.lack[member] - now_hears[member] - pushed[member] - copied[member]
                crowd.lack[member] = left if left > _ROUNDING else 0.0
                its = now_gets[member] + pushed[member]
                got[member] += its + copied[member]
                flow += its
                if crowd.talks[member]:
                    kind = crowd.kind[member]
                    pushing += its if crowd.grafts[member] <= now else its * share
                    late[kind] += its + copied[member]
                    if grafted[member]:
                        late_grafted[kind] += its + copied[member]
            has += 1 - crowd.lack[member]
        flows[number] = flow
        number += 1

        has_changed = False
        next_time = course.begin + number * course.step_ns
        while applied < len(course.when) and course.when[applied] < next_time:
            member = course.who[applied]
            if crowd.is_up[member] != course.comes[applied]:
                count[crowd.kind[member]] += 1 if course.comes[applied] else -1
            crowd.is_up[member] = course.comes[applied]
            crowd.since[member] = number
            crowd.grafts[member] = course.grafting[applied]
            has_changed = True
            applied += 1
        while met < len(course.met_from) and course.met_from[met] < next_time:
            crowd.talks[:] = course.met_talks[met]
            for kind in range(types):
                for other in range(types):
                    arrives = course.met_arrives[met, kind, other]
                    if talk.arrives[kind, other] <= 0 and arrives > 0:
                        open_since[kind, other] = number
                    talk.arrives[kind, other] = arrives
            has_changed = True
            met += 1
        if has_changed:
            each_beat, rate, rate_outside, chosen = told_of(
                count, talk.living, talk.arrives, talk.known_share, talk.lazy, talk.beat
            )
        if number > first_steps and (has - had[number % rows]) * talk.scale < _HALF:
            break
    return flows[:number].copy(), hazards[:number].copy(), asked, sent, pushing
