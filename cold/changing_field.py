"""Mean-field resolution in a network that changes: delay equations for those that are up, and for those that come.

A message spreads in two stages. While it is pushed, some hundreds of milliseconds, nobody comes or goes: the equations
of `cold.mean_field` are solved, with a distribution of the number of peers that push to an identity in place of D, for
types a, b of identities (a group and a kind of client each)::

    S_b(t) = sigma_b(t) phi_b(t) sum over k of p_bk theta_b(t)^k
    C_b(t) = sigma_b(t) phi_b(t) sum over k of p_bk k theta_b(t)^(k - 1) / mean of k
    theta_b'(t) = - sum over a of e_ba talking_a (1 - loss_ab) E_a'(t - path_ab)
    E_a(t) = integral of (1 - C_a(t - d)) K_a(d) dd

p_bk is the share of b that is in the meshes of k others that are up; e_ba the share of those that are of type a; K_a
the distribution of how long a member takes from its receipt to its copy's leaving; talking_a and loss_ab are as they
are at t. Where members tell each other of the message, `cold.sparing` takes the place of K_a and of E_a.

What follows is gossip, for as long as any message cache tells of the message: each identity of a sample lacks it with a
probability, which falls only while it is up, by the hazard of its type: holders of the last `mcache_gossip` heartbeats
that are up tell D_lazy others in each heartbeat, and who gets it so pushes it on. Who joins has the probability that it
left with, or lacks it for certain; it is in no mesh before its own next heartbeat. So whoever has the message has got
it from somebody: mass is conserved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from bridge.rng import draw_uniform_array
from bridge.simtime import NS_PER_MS, NS_PER_S
from cold.arrival_curves import NOBODY_GETS_IT, NOTHING_COMES, Curves, Hazard, Lacking
from cold.mean_field import by_step, validation_delays
from cold.memberships import mean_known_peers
from cold.miniature import Miniature, Snapshot, Ways
from cold.population import client_kinds
from cold.propagation_kernels import LEVELS
from cold.purposes import ColdPurpose
from cold.representatives import Outcome, Part, Represented, Schedule, started_outcome
from cold.resolution import CHANGING_FIELD_EVENTS
from cold.sampled_kernels import ID_PACKET_BYTES, MESSAGE_BYTES
from cold.sessions import Lives, comes_and_goes, habits_of
from cold.sparing import SparedPushes, Sparing, nobody_spares
from cold.spread_kernels import (
    Course,
    Crowd,
    Hops,
    Passing,
    Spread,
    Talk,
    gossip_steps,
    push_steps,
    told_of,
)
from cold.state_kernels import COUNTER_NAMES, MOST_HOPS
from cold.ways_in import Branching, starts_of

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

#: Steps of the first stage in the shortest hop, as long as the longest does not take more than MOST_STEPS.
_STEPS: Final = 4
_MOST_STEPS: Final = 1500
#: Steps of the second stage [ns].
_STEP_NS: Final = 50 * NS_PER_MS
#: For so many steps of the first stage there is room at first.
_ROOM: Final = 1024
#: Tables are rounded to this [ns], far below the error of the model, so that libraries' last bits do not matter.
_GRAIN_NS: Final = 1000
_LEAST: Final = 1e-300
#: Into so many the senders of first copies are divided by their kinds.
_PARTS: Final = 16
_PERCENTILES: Final = (0.5, 0.95, 0.99, 1.0)


class Terms(NamedTuple):
    """What the equations need of a network that stands still. T types.

    Attributes
    ----------
    step
        Of the grid [s].
    weight : float64[T]
        Shares of those that are up.
    pushed : float64[T, K + 1]
        p: shares of the type that k others push to.
    mixing : float64[T, T]
        e: ``mixing[b, a]``.
    arrives : float64[T, T]
        ``arrives[b, a]``: probability that a packet from a comes to b.
    own : float64[T, N]
        K: ``own[a, n]``, of n steps.
    path : float64[T, T]
        ``path[b, a]``: how long from a to b [steps].
    first : float64[T, F]
        Probability that the publisher's copy comes to a member, by steps.
    telling : float64[T, T]
        ``telling[b, a]``: how many IHAVEs of all members of a, once they have the message, come to one of b [1/s].
    asking, mended : float64[T, T]
        How long from the receipt of a to that of its IHAVE at b, and to that of the copy that b asks for [steps].
    copies
        That the publisher sends.
    tellers : float64[T]
        IHAVEs of all members of the type in a heartbeat.
    living : float64[T]
        How many are up and can be reached, of the mesh of a member that tells.
    talking : float64[T]
        Shares of the types that are not silent.
    sparing
        Where members of a type tell each other that they have the message: what takes the place of `own`.
    """

    step: float
    weight: Float64Array
    pushed: Float64Array
    mixing: Float64Array
    arrives: Float64Array
    own: Float64Array
    path: Float64Array
    first: Float64Array
    telling: Float64Array
    asking: Float64Array
    mended: Float64Array
    copies: float
    tellers: Float64Array
    living: Float64Array
    talking: Float64Array
    sparing: Sparing | None = None


class Pushed(NamedTuple):
    """The first stage. N steps, T types."""

    lacking: Float64Array
    """float64[N, T]: S."""
    theta: Float64Array
    """float64[T]: at its end."""
    sigma_phi: Float64Array
    """float64[T]: at its end, the part of S that does not depend on how many push."""
    asked: Float64Array
    """float64[T]: IWANTs of a member."""
    missing: Float64Array
    """float64[T]: share of its mesh, beside who sent it the message, that a member pushes it to."""


class Turn(NamedTuple):
    """A change of what messages meet while one is pushed."""

    step: int
    arrives: Float64Array
    """float64[T, T]: from then on, as in `Terms`."""
    telling: Float64Array
    """float64[T, T]: the same."""
    talking: Float64Array
    """float64[T]: the same."""


def solve_push(terms: Terms, members: float, horizon: float, turns: Sequence[Turn] = ()) -> Pushed:
    """Step the equations until all but nobody has the message, or nothing is under way.

    Parameters
    ----------
    terms
        The network.
    members
        How many are up.
    horizon
        The message's time to live [s].
    turns
        When paths and silences change, by time.
    """
    types = len(terms.weight)
    hops = _hops_of(terms, members)
    spared = None if terms.sparing is None else SparedPushes(terms.sparing)
    before = int(max(len(hops.own), hops.whole.max() + 1, hops.asking.max(), hops.mended.max()))
    before = before if spared is None else max(before, spared.looks_back)
    most = int(horizon / terms.step) + 1
    answer = hops.mended - hops.asking
    always = np.zeros((types, types), dtype=np.int64)
    passing = Passing(
        arrives=_in_rows(terms.arrives),
        telling=_in_rows(terms.telling),
        talking=terms.talking,
        heard_from=always,
        mended_from=always,
        quiet_after=hops.first.shape[1],
    )
    told_by, has, sent, theta = (np.zeros((before + _ROOM, types)) for _ in range(4))
    spread = Spread(
        *(told_by, has, sent, theta),
        came=np.zeros((types, types)),
        sent_before=np.zeros((types, types)),
        sigma_phi=np.ones(types),
        phi=np.ones(types),
        heard=np.zeros(types),
        asked=np.zeros(types),
    )
    number, is_over, ahead = 0, False, list(turns)
    while number < most and not is_over:
        while ahead and ahead[0].step <= number:
            passing = _turned(passing, ahead.pop(0), answer, number)
        if before + number == len(spread.has):
            told_by, has, sent, theta = (np.concatenate([rows, np.zeros((number, types))]) for rows in spread[:4])
            spread = spread._replace(told_by=told_by, has=has, sent=sent, theta=theta)
        end = min(most, len(spread.has) - before, *(turn.step for turn in ahead[:1]))
        if spared is not None:
            spared.make_room(end)
        leaving = nobody_spares() if spared is None else spared.leaving
        number, is_over = push_steps(hops, passing, spread, leaving, before, number, end)
    missing = np.ones(types) if spared is None else spared.missing
    lacking = 1 - spread.has[before : before + number]
    return Pushed(lacking, spread.theta[before + number - 1], spread.sigma_phi, spread.asked, missing)


def _hops_of(terms: Terms, members: float) -> Hops:
    """What the kernel takes of the network, of which so many members are up."""
    powers = np.arange(terms.pushed.shape[1])
    mean = terms.pushed @ powers
    cavity = np.zeros_like(terms.pushed)
    cavity[:, :-1] = (terms.pushed * powers)[:, 1:] / np.maximum(mean, _LEAST)[:, None]
    # Of nobody whom somebody pushes to the cavity is that of all.
    cavity = np.where(mean[:, None] > 0, cavity, terms.pushed)
    whole = np.floor(terms.path)
    asking, mended = (np.maximum(np.rint(lag), 1).astype(np.int64, order="C") for lag in (terms.asking, terms.mended))
    return Hops(
        step=terms.step,
        own=_in_rows(terms.own[:, :0:-1].T),
        whole=whole.astype(np.int64, order="C"),
        part=_in_rows(terms.path - whole),
        mixing=_in_rows(terms.mixing),
        pushed=terms.pushed,
        cavity=_in_rows(cavity),
        first=np.cumsum(terms.first, axis=1),
        asking=asking,
        mended=mended,
        weight=terms.weight,
        members=members,
    )


def _turned(passing: Passing, turn: Turn, answer: Int64Array, number: int) -> Passing:
    """What messages meet after a change, from a step on; copies come so long after the IHAVEs that they answer.

    Where packets pass again, an IHAVE is on its way first, and then what is asked for.
    """
    opens = (passing.arrives <= 0) & (turn.arrives > 0)
    return Passing(
        arrives=_in_rows(turn.arrives),
        telling=_in_rows(turn.telling),
        talking=turn.talking,
        heard_from=np.where(opens, number + answer // 2, passing.heard_from),
        mended_from=np.where(opens, number + answer * 3 // 2, passing.mended_from),
        quiet_after=max(passing.quiet_after, turn.step),
    )


def _in_rows(shares: Float64Array) -> Float64Array:
    """An array as kernels are compiled for it."""
    return np.ascontiguousarray(shares, dtype=np.float64)


class Gossiped(NamedTuple):
    """The second stage. N steps; n subscribers of the small network."""

    time: Float64Array
    """float64[N], since publication [s]."""
    flow: Float64Array
    """float64[N]: receipts in each step but for those of the first stage."""
    pushed: Float64Array
    """float64[n]: probability that each has got the message in the first stage."""
    asked: float
    """IWANTs."""
    told: Float64Array
    """float64[kinds of clients]: IHAVEs."""
    pushing: float
    """Those that get the message in this stage and push it to a mesh."""
    hazard: Float64Array
    """float64[N, M, T]: in each step, of who has been there for m heartbeats."""


class Told(NamedTuple):
    """Whom members of T types tell of a message that they have."""

    in_a_beat: Float64Array
    """float64[T]: IHAVEs of one in a heartbeat."""
    rate: Float64Array
    """float64[T]: those of one to a given one whom packets reach [1/s]."""
    rate_outside: Float64Array
    """float64[T]: the same to one that is in no mesh, and so rather told [1/s]."""
    chosen: Float64Array
    """float64[T]: probability that one tells a given one that it knows in one heartbeat."""


class Moment(NamedTuple):
    """The small network at the time of a representative, and what happens in it afterwards."""

    now: Snapshot
    when: Int64Array
    """int64[C]: of each change [ns]."""
    who: Int64Array
    """int64[C]: a subscriber."""
    comes: npt.NDArray[np.bool_]
    """bool[C]."""
    ways: list[tuple[int, Ways]]
    """From when on messages meet something else [ns], and what."""


class ChangingField:
    """A mean-field topic's representatives in a network that changes. Parameters as for `cold.rehearsal.Rehearsal`."""

    def __init__(self, represented: Represented) -> None:
        (section, directory, seed, _), _, topic, group, members = represented
        self._represented = represented
        self._is_asked, self._first_id = directory.hot_count > 0, directory.hot_count
        self._section, self._gossip, self._clients = section, section.gossip, section.client_gossip
        self.schedule = Schedule(represented)
        self._small = Miniature(represented)
        self._time = 0
        self._moment: dict[int, Moment] = {}
        self._known = mean_known_peers(section, topic, len(members(topic)))
        cold = slice(directory.hot_count, None)
        where = np.zeros((int(group.max()) + 1, 3), dtype=np.int64)
        links = directory.uplink_bps[cold], directory.downlink_bps[cold]
        where[group] = np.stack([directory.node[cold], *links], axis=1)
        self._node, self._up_bps, self._down_bps = where.T
        self._validation = [validation_delays(client) for client in self._clients]
        #: How many have come before a time, and how many have gone, by that time [ns].
        self._came_and_went: dict[int, tuple[int, int]] = {}
        self._seed, self._topic = seed, topic
        self._growth = len(group) / self._small.identities
        self._outcome: dict[Part, Outcome] = {}
        kinds, of_type = np.unique(np.stack([self._small.group, self._small.kind]), axis=1, return_inverse=True)
        self._type_group, self._type_kind = np.ascontiguousarray(kinds)
        self._type = of_type.ravel().astype(np.int64)
        self._type_class = np.zeros(kinds.shape[1], dtype=np.int64)
        self._type_class[self._type] = self._small.klass
        self._lazy = np.array([self._clients[kind].d_lazy for kind in self._type_kind], dtype=np.float64)
        self._beat = np.array([self._clients[kind].heartbeat for kind in self._type_kind]) / NS_PER_S
        self._known_share = self._known / max(len(self._type) - 1, 1)
        self._of_kind = {kind: number for number, kind in enumerate(map(tuple, kinds.T.tolist()))}
        self._everybodys_group = group
        self._everybodys_kind = client_kinds(section, seed, self._first_id, len(group))

    def type_of(self, host: int) -> int:
        """Return whose curve of a representative's is that of an identity, or of one like it in the small network."""
        group, kind = (int(each[host - self._first_id]) for each in (self._everybodys_group, self._everybodys_kind))
        own = self._of_kind.get((group, kind))
        if own is not None:
            return own
        unlike = (self._node[self._type_group] != self._node[group]) * 4
        unlike += (self._type_group != group) * 2 + (self._type_kind != kind)
        return int(np.argmin(unlike))

    def executed_with(self, part: Part) -> list[Part]:
        """What is solved for at once: each representative on its own."""
        return [part]

    def cost_of(self, parts: Sequence[Part]) -> float:
        """What it takes to solve for representatives, in edge events."""
        return float(len(parts) * CHANGING_FIELD_EVENTS)

    def play(self, parts: Iterable[Part]) -> None:
        """Solve for representatives that were not."""
        for part in sorted(set(parts) - self._outcome.keys()):
            outcome = self._solve(part, self._moment_of(part))
            if part.is_relayed and outcome.delivered:
                outcome = started_outcome(outcome, self._start_of(part, self._moment_of(part).now))
            self._outcome[part] = outcome

    def _moment_of(self, part: Part) -> Moment:
        """The small network at the time of a representative.

        Time does not go back there. Hot hosts ask for representatives in the order in which their messages are
        published: so all of an epoch are looked at together.
        """
        if part.time in self._moment:
            return self._moment[part.time]
        times = [part.time]
        if self._is_asked:
            times = [self.schedule.time_of(number) for number in self.schedule.epoch_of(part.number)]
            if times[0] < self._time:
                self._small = Miniature(self._represented)
        else:
            self._moment.clear()
        for time in times:
            now = self._small.at(time)
            end = time + self._gossip.seen_ttl
            self._moment[time] = Moment(now, *self._small.changes_after(time, end), self._small.ways_after(time, end))
            self._time = time
        return self._moment[part.time]

    def outcome(self, part: Part) -> Outcome:
        """Return what became of a representative that was solved for."""
        return self._outcome[part]

    def own_counters(self, end: int) -> dict[str, int]:
        """Return what the network counts without messages before a time after all representatives [ns].

        Who comes and goes is counted for every identity; all else is the small network's, enlarged.
        """
        counted = self._small.counters(end)
        if self._growth != 1.0:
            counted = {name: round(value * self._growth) for name, value in counted.items()}
            if end not in self._came_and_went:
                self._came_and_went[end] = self._count_changes(end)
            counted["joins"], counted["departures"] = self._came_and_went[end]
        return counted

    def _count_changes(self, end: int) -> tuple[int, int]:
        """How many identities come before a time, and how many go [ns]: asked at the end, so that nothing is kept."""
        (section, directory, seed, _), paths, *_ = self._represented
        if not comes_and_goes(section):
            return 0, 0
        comes = Lives(habits_of(section, directory, paths.node_ids), seed, directory.hot_count).take(end).is_up
        return int(comes.sum()), int((~comes).sum())

    def _draws_of(self, part: Part) -> int:
        """Counter of a representative's draws."""
        publisher = part.group << 24 | part.standing << 22 | min(part.missed, 63) << 16
        return part.number << 32 | publisher | self._topic

    def _terms(self, part: Part, now: Snapshot) -> Terms:
        types = len(self._type_group)
        up = now.is_up
        count = np.bincount(self._type[up], minlength=types).astype(np.float64)
        weight = count / max(count.sum(), 1.0)
        node = self._node[self._type_group]
        latency = now.ways.latency_ns[np.ix_(node, node)].T / NS_PER_S
        arrives = self._arrives(now.ways)
        size = (MESSAGE_BYTES + part.size) * 8
        uplink, downlink = size / self._up_bps[self._type_group], size / self._down_bps[self._type_group]
        path = latency + downlink[:, None]
        talks = up & ~now.ways.is_silent
        talking = np.bincount(self._type[talks], minlength=types).astype(np.float64)
        meshes, living = (
            np.bincount(self._type[talks], weights=each[talks], minlength=types) / np.maximum(talking, 1)
            for each in (now.members, now.living)
        )
        own = [
            (self._validation[kind][:, None] + up_time * np.arange(1, max(round(mesh) - 1, 1) + 1)).ravel()
            for kind, up_time, mesh in zip(self._type_kind.tolist(), uplink, meshes, strict=True)
        ]
        # So much of each path is counted with its beginning, so that nothing takes no time.
        common = float(path.min())
        shortest = common + min(float(delays.min()) for delays in own)
        longest = common + max(float(delays.max()) for delays in own)
        step = max(shortest / _STEPS, longest / _MOST_STEPS)
        steps = int(longest / step) + 2

        cohort = now.is_meshed
        pushed = np.zeros((types, int(now.pushers[cohort].max(initial=0)) + 1))
        np.add.at(pushed, (self._type[cohort], now.pushers[cohort]), 1.0)
        pushed /= np.maximum(pushed.sum(axis=1), 1.0)[:, None]
        mixing = now.mixing[np.ix_(self._type_class, self._type_class)] * count
        mixing /= np.maximum(_class_sums(count, self._type_class), 1.0)
        mixing /= np.maximum(mixing.sum(axis=1), 1e-300)[:, None]

        told = self._told(count, living, arrives)
        checking = np.array([self._validation[kind].mean() for kind in self._type_kind])
        pushers, members = (
            np.bincount(self._type[up], weights=each[up], minlength=types) for each in (now.pushers, now.members)
        )
        known_by = np.minimum(pushers / np.maximum(members, 1.0), 1.0)
        share = talking / np.maximum(count, 1.0)
        telling = mixing * known_by[:, None] * share
        sparing = self._sparing(part, telling, arrives, latency, meshes, common, step)
        delays, reach, copies = self._first(part, now, count)
        home = self._node[part.group]
        way = now.ways.latency_ns[home, node] / NS_PER_S + downlink
        if part.standing == 2:
            way = way + (now.ways.latency_ns[home, node] + now.ways.latency_ns[node, home]) / NS_PER_S
        first_steps = int((delays.max() + way.max()) / step) + 2
        reach = reach * (1 - now.ways.loss[home, node]) ** (3 if part.standing == 2 else 1)
        return Terms(
            step=step,
            weight=weight,
            pushed=pushed,
            mixing=mixing,
            arrives=arrives,
            own=np.stack([by_step(delays + common, step, steps) for delays in own]),
            path=(path - common) / step,
            first=reach[:, None] * np.stack([by_step(delays + one, step, first_steps) for one in way]),
            telling=np.where(arrives > 0, told.rate * talking, 0.0),
            asking=(checking + latency) / step,
            mended=(checking + 2 * latency + latency.T + uplink + downlink[:, None]) / step,
            copies=copies,
            tellers=told.in_a_beat * talking,
            living=living,
            talking=share,
            sparing=sparing,
        )

    def _start_of(self, part: Part, now: Snapshot) -> int:
        """How much later a message comes than the equations say for the chance of its first hops [ns].

        Of the representatives of an epoch each has another start, which is random by time.
        """
        numbers = self.schedule.epoch_of(part.number)
        draws = draw_uniform_array(self._seed, np.array(numbers), int(ColdPurpose.REPRESENTATIVE), self._topic)
        place = int(np.argsort(np.argsort(draws))[part.number - numbers.start])
        types = len(self._type_group)
        node = self._node[self._type_group]
        size = (MESSAGE_BYTES + part.size) * 8
        up, talks = now.is_up, now.is_up & ~now.ways.is_silent
        count, talking = (np.bincount(self._type[who], minlength=types).astype(np.float64) for who in (up, talks))
        arrives, path = self._arrives(now.ways).T, now.ways.latency_ns[np.ix_(node, node)] / NS_PER_S
        # By class, to whom members send; there, to types as they are there. Who is cut off is none of the living.
        share = count / np.maximum(_class_sums(count, self._type_class), 1.0)
        to = now.mixing.T[np.ix_(self._type_class, self._type_class)] * share * (arrives > 0)
        to /= np.maximum(to.sum(axis=1), _LEAST)[:, None]
        # A silent member of whoever sends gets a copy that goes no further.
        living = now.living[talks]
        sends = np.zeros((types, int(living.max(initial=0)) + 1))
        np.add.at(sends, (self._type[talks], living), 1.0)
        # Whom a member's copy comes to is the more likely the more members it has itself, and does not send it back.
        others = np.zeros_like(sends)
        others[:, :-1] = (sends * np.arange(sends.shape[1]))[:, 1:]
        branching = Branching(
            validation=[self._validation[kind] for kind in self._type_kind],
            copy=size / self._up_bps[self._type_group],
            goes=to * np.maximum(arrives, 0.0) * (talking / np.maximum(count, 1.0)),
            path=path + size / self._down_bps[self._type_group],
            others=others / np.maximum(others.sum(axis=1), 1.0)[:, None],
            meshes=sends / np.maximum(sends.sum(axis=1), 1.0)[:, None],
        )
        source = talking * (self._type_group == part.group)
        source = source if source.any() else talking
        return int(starts_of(branching, source / max(float(source.sum()), 1.0), len(numbers))[place])

    def _turn(self, part: Part, now: Snapshot, terms: Terms, time: int, ways: Ways) -> Turn:
        """What a change means to those that are up when a representative is published."""
        types, arrives = len(terms.weight), self._arrives(ways)
        count = np.bincount(self._type[now.is_up], minlength=types).astype(np.float64)
        talking = np.bincount(self._type[now.is_up & ~ways.is_silent], minlength=types)
        told = self._told(count, terms.living, arrives)
        step = int((time - part.time) / NS_PER_S / terms.step)
        return Turn(step, arrives, np.where(arrives > 0, told.rate * talking, 0.0), talking / np.maximum(count, 1.0))

    def _arrives(self, ways: Ways) -> Float64Array:
        """Probability that a packet from a type, second index, comes to another: float64[T, T]."""
        node = self._node[self._type_group]
        return np.asarray(1 - ways.loss[np.ix_(node, node)].T, dtype=np.float64)

    def _told(self, count: Float64Array, living: Float64Array, arrives: Float64Array) -> Told:
        """Whom members tell of a message. Parameters as for `cold.spread_kernels.told_of`."""
        return Told(*told_of(count, living, _in_rows(arrives), self._known_share, self._lazy, self._beat))

    def _sparing(
        self,
        part: Part,
        mixing: Float64Array,
        arrives: Float64Array,
        latency: Float64Array,
        meshes: Float64Array,
        common: float,
        step: float,
    ) -> Sparing | None:
        """What members save by telling each other of the message; None if none of them does."""
        least = np.array([self._clients[kind].idontwant_size is not None for kind in self._type_kind])
        tells = np.array([part.size >= (self._clients[kind].idontwant_size or 0) for kind in self._type_kind]) & least
        if not tells.any():
            return None
        uplink = self._up_bps[self._type_group]
        others = np.maximum(np.rint(meshes) - 1, 0)
        told = np.where(tells, ID_PACKET_BYTES * 8 / uplink * others, 0.0)
        waits = [
            np.maximum(self._validation[kind], telling) + step
            for kind, telling in zip(self._type_kind.tolist(), told.tolist(), strict=True)
        ]
        steps = int(max(float(each.max()) for each in waits) / step) + 3
        return Sparing(
            # A step more, and less in what follows: nothing is at step 0.
            ready=np.stack([by_step(each, step, steps) for each in waits]),
            copy=(MESSAGE_BYTES + part.size) * 8 / uplink / step,
            lead=common / step - 1,
            others=np.maximum(others - 1, 0).astype(np.int64),
            told=mixing * arrives.T * tells,
            after=(told / 2 + latency.T) / step,
        )

    def _first(self, part: Part, now: Snapshot, count: Float64Array) -> tuple[Float64Array, Float64Array, float]:
        """When the publisher's copies leave [s], the share of each type that they go to, and how many they are.

        A publisher that is away sends none, but tells of its message in the heartbeats that are left when it is back.
        """
        there = now.ways.loss[self._node[part.group], self._node[self._type_group]] < 1
        reachable = max(float(count[there].sum()), 1.0)
        copy = (MESSAGE_BYTES + part.size) * 8 / self._up_bps[part.group]
        up = now.is_up
        flooded = self._known * reachable / max(len(up) - 1, 1)
        sent, living = (float(each[up].mean()) if up.any() else 0.0 for each in (now.members, now.living))
        if part.is_relayed or part.standing & 1:
            is_flood = self._gossip.flood_publish and not part.is_relayed
            number = min(max(round(flooded if is_flood else sent), 1), max(round(reachable * self._small.scale), 1))
            # Of a mesh some may be away: copies to them take their time, and come to nobody.
            share = min((flooded if is_flood else living) / reachable / self._small.scale, 1.0)
            checking = self._validation_of_senders(now) if part.is_relayed else np.zeros(1)
            moments = (checking[:, None] + copy * np.arange(1, number + 1)).ravel()
            return moments, np.where(there, share, 0.0), float(number)
        beats = self._gossip.mcache_gossip - part.missed if part.standing & 2 else 0
        beat = float(np.mean([client.heartbeat for client in self._clients])) / NS_PER_S
        lazy = float(np.mean([client.d_lazy for client in self._clients]))
        moments = (part.missed + 0.5 + np.arange(max(beats, 1))) * beat + copy
        return moments, np.where(there, min(lazy * beats / reachable / self._small.scale, 1.0), 0.0), 0.0

    def _validation_of_senders(self, now: Snapshot) -> Float64Array:
        """How long members validate a message that they send [s], at equal probabilities, of all that are sent."""
        kinds = len(self._clients)
        sent = np.bincount(self._small.kind[now.is_up], weights=now.living[now.is_up], minlength=kinds)
        parts = np.rint(_PARTS * sent / max(float(sent.sum()), _LEAST)).astype(np.int64) if sent.any() else sent + 1
        each = zip(self._validation, parts.astype(np.int64).tolist(), strict=True)
        return np.concatenate([np.tile(validation, part) for validation, part in each if part])

    def _solve(self, part: Part, moment: Moment) -> Outcome:
        now = moment.now
        terms = self._terms(part, now)
        if not terms.first.any():
            nothing, untold = (np.zeros(count, dtype=np.int64) for count in (len(COUNTER_NAMES), len(self._clients)))
            types = len(terms.weight)
            never = Curves((NOBODY_GETS_IT,) * types, (NOTHING_COMES,) * types, np.zeros(types), 0)
            summary, overall = np.full(4, -1, dtype=np.int64), np.zeros(LEVELS, dtype=np.int64)
            return Outcome(summary, overall, nothing, 0, untold, untold, 0, 0, never)
        up, cohort, scale = now.is_up, now.is_meshed, self._small.scale
        turns = [self._turn(part, now, terms, *change) for change in moment.ways]
        pushed = solve_push(terms, float(cohort.sum()) * scale, self._gossip.seen_ttl / NS_PER_S, turns)
        lacking = np.ones(len(up))
        lacking[cohort] = (pushed.sigma_phi[self._type] * pushed.theta[self._type] ** now.pushers)[cohort]
        late = self._gossip_stage(part, moment, terms, pushed, lacking)

        count = np.bincount(self._type[cohort], minlength=len(terms.weight))
        flow = -np.diff(pushed.lacking, axis=0, prepend=1.0) @ count
        flow *= late.pushed.sum() / max(float(flow.sum()), 1e-300)
        time = np.concatenate([np.arange(len(flow)) * terms.step, late.time])
        order = np.argsort(time, kind="stable")
        mass = np.cumsum(np.concatenate([flow, late.flow])[order])
        # The publisher has the message from the beginning; which of the members it is the equations do not know.
        members = len(up) * scale
        delivered = round(float(mass[-1]) * scale * max(members - 1, 0.0) / members)
        summary, overall = _quantiles(time[order], mass, delivered)

        # Between changes of what messages meet: how many of the first stage's receipts there are.
        until = np.append(0, np.cumsum(flow))
        steps = np.minimum([0, *(turn.step for turn in turns), len(flow)], len(flow))
        share = np.diff(until[steps]) / max(float(until[-1]), 1e-300)
        met = [now.ways, *(ways for _, ways in moment.ways)]
        silent = sum(part * ways.is_silent for part, ways in zip(share.tolist(), met, strict=True))
        severing = sum(part for part, ways in zip(share.tolist(), met, strict=True) if (self._arrives(ways) <= 0).any())
        onward = (1.0 - silent) * np.maximum(now.members - 1.0, 0.0)
        meshed = cohort & (onward > 0)
        mean_onward = float(onward[meshed].mean()) if meshed.any() else 0.0
        # Who came after the others had the message has been told nothing.
        relayed = float(late.pushed @ (onward * pushed.missing[self._type]) + late.pushing * mean_onward) * scale
        spared = round(float(late.pushed @ (onward * (1 - pushed.missing[self._type]))) * scale)
        tells = np.zeros(len(terms.weight))
        if terms.sparing is not None:
            tells[terms.sparing.told.any(axis=0)] = 1.0
        telling = float((late.pushed * tells[self._type]) @ onward + late.pushing * mean_onward * tells.mean())
        told_by = round(telling * scale)
        published = terms.copies if part.standing & 1 else 0.0
        # Who has got a copy from a member of its mesh sends to the others, and that one was there.
        others = float(now.members[meshed].sum()) / float(onward[meshed].sum()) if meshed.any() else 1.0
        away, cut = min(now.away * others, 1.0), min(now.cut * others, 1.0) * severing
        # A flood goes to peers that are there.
        is_flood = self._gossip.flood_publish and not part.is_relayed
        in_vain = 0.0 if is_flood else published
        # Nobody tells or asks those who are cut off.
        pairs = np.outer(terms.weight, terms.weight) * (terms.arrives > 0)
        heard = float((pairs * terms.arrives).sum() / max(float(pairs.sum()), 1e-300))
        asks = round((float(pushed.asked @ count) + late.asked) * scale)
        asked = round(asks * heard)
        pushes = round(relayed + published)
        unreachable = round(relayed * away + in_vain * now.away)
        severed = round(relayed * cut + in_vain * now.cut)
        lost = severed + round((pushes - unreachable - severed) * now.lost)
        lost += asked - round(asked * heard)
        received = max(pushes + asked - lost - unreachable, delivered)
        tells_away, tells_cut = round(told_by * away), round(told_by * cut)
        tells_lost = tells_cut + round((told_by - tells_away - tells_cut) * now.lost)
        counted = {
            "messages_sent": received + lost + unreachable,
            "messages_received": received,
            "forwards": delivered,
            "duplicates": received - delivered,
            "iwant_sent": asks,
            "iwant_received": asked,
            "idontwant_sent": told_by,
            "idontwant_received": told_by - tells_lost - tells_away,
            "copies_spared": spared,
            "packets_lost": lost + asks - asked + tells_lost,
            "unreachable": unreachable + tells_away,
            "edge_events": received + unreachable + asked + told_by - tells_lost,
            "bytes_sent": (received + lost + unreachable) * (MESSAGE_BYTES + part.size)
            + (asks + told_by) * ID_PACKET_BYTES,
        }
        counters = np.array([counted.get(name, 0) for name in COUNTER_NAMES], dtype=np.int64)
        told = np.rint(late.told * scale).astype(np.int64)
        curves = self._curves(terms, pushed, late, float(up.sum()) * scale) if self._is_asked else None
        tellers = np.bincount(self._type_kind, weights=terms.tellers, minlength=len(told)) * scale
        tellers = np.rint(tellers).astype(np.int64)
        heard_of = round(int(told.sum()) * heard)
        there = max(round(float(up.sum()) * scale) - (part.standing == 3), 0)
        return Outcome(summary, overall, counters, delivered, told, tellers, heard_of, there, curves)

    def _curves(self, terms: Terms, pushed: Pushed, late: Gossiped, there: float) -> Curves:
        """When those of each type get the message; a type of which nobody is up is taken for the others at its node.

        `there` is how many identities are up.
        """
        steps, width = len(pushed.lacking), _STEP_NS
        grid = np.rint(np.arange(steps) * terms.step * NS_PER_S).astype(np.int64)
        first_end = int(grid[-1])
        later = np.arange(len(late.hazard) + 1, dtype=np.int64) * width
        totals = np.cumsum(np.concatenate([np.zeros_like(late.hazard[:1]), late.hazard]), axis=0)
        after = later[later > first_end]
        hop = float(
            (terms.own.mean(axis=0) * np.arange(terms.own.shape[1])).sum() / max(terms.own.mean(axis=0).sum(), 1e-300)
        )
        hop = max((hop + float(terms.path.mean())) * terms.step * NS_PER_S, 1.0)
        present, coming = [], []
        node = self._node[self._type_group]
        for number in range(len(terms.weight)):
            alike = [np.arange(len(terms.weight)) == number, node == node[number], np.ones(len(node), dtype=np.bool_)]
            weight = next(terms.weight * rows for rows in alike if (terms.weight * rows).any())
            weight = weight / weight.sum()
            share = np.minimum.accumulate(np.clip(pushed.lacking @ weight, 0.0, 1.0))
            total = totals @ weight
            rest = np.interp(after, later, total[:, -1]) - np.interp(first_end, later, total[:, -1])
            time = np.concatenate([grid, after])
            share = np.concatenate([share, share[-1] * np.exp(-rest)])
            present.append(Lacking(time, share, np.clip(time / hop, 1, MOST_HOPS)))
            coming.append(Hazard(later, total.T.copy()))
        return Curves(tuple(present), tuple(coming), terms.weight * there, int(later[-1]) + 1)

    def _gossip_stage(
        self, part: Part, moment: Moment, terms: Terms, pushed: Pushed, lacking: Float64Array
    ) -> Gossiped:
        """Follow what is told, and those who come and go, until no message cache tells of the message.

        `lacking` is the probability that each subscriber of the small network lacks it at the end of the first stage.
        """
        now = moment.now
        width, types = _STEP_NS / NS_PER_S, len(terms.weight)
        kind = self._type_kind
        first_end = len(pushed.lacking) * terms.step
        first_steps = int(np.ceil(first_end / width))
        ends = np.minimum(np.arange(1, first_steps + 1) * width, first_end)
        grid = np.arange(len(pushed.lacking)) * terms.step
        final = np.maximum(1 - pushed.lacking[-1], 1e-300)
        progress = np.stack(
            [np.interp(ends, grid, 1 - pushed.lacking[:, number]) / final[number] for number in range(types)], axis=1
        )
        checking = np.array([self._validation[each].mean() for each in kind])
        asking, mended = (float(terms.weight @ lag @ terms.weight) * terms.step for lag in (terms.asking, terms.mended))
        hearing = checking + asking - float(terms.weight @ checking)
        # Who gets the message in a step tells of it from the next one on, which is one step later.
        lag = np.maximum(np.rint(hearing / width) - 1, 0).astype(np.int64)
        beats = self._gossip.mcache_gossip
        ages = np.rint((lag * width + np.arange(beats + 1)[:, None] * self._beat) / width).astype(np.int64)
        heartbeat = np.maximum(np.rint(self._beat / width), 1).astype(np.int64)
        # The publisher's copies to these come in this step, in the mean.
        reach = terms.first.sum(axis=1)
        moment_of_first = terms.first @ np.arange(terms.first.shape[1]) / np.maximum(reach, _LEAST)
        pushers = terms.pushed @ np.arange(terms.pushed.shape[1])
        talk = Talk(
            ages=ages,
            answer=round((mended - asking) / width),
            progress=_in_rows(progress),
            first_step=np.rint(moment_of_first * terms.step / width).astype(np.int64),
            reach=reach,
            # It changes.
            arrives=_in_rows(terms.arrives).copy(),
            passing=_in_rows(pushers[:, None] * terms.mixing),
            living=terms.living,
            known_share=self._known_share,
            lazy=self._lazy,
            beat=self._beat,
            heartbeat=heartbeat,
            client=kind,
            clients=len(self._clients),
            scale=self._small.scale,
        )
        members = len(lacking)
        # Who is back grafts at its own next heartbeat; until then only those are in its mesh that are back as well.
        grafts = self._small.heartbeats_after(np.arange(members), part.time + 1)
        crowd = Crowd(
            kind=self._type,
            lacking=lacking,
            is_up=now.is_up.copy(),
            talks=~now.ways.is_silent,
            is_meshed=now.is_meshed,
            is_fresh=now.is_up & ~now.is_meshed,
            grafts=np.where(now.is_meshed, part.time, grafts),
            since=np.full(members, -beats * int(heartbeat.max()), dtype=np.int64),
            lack=np.ones(members),
            by_push=np.zeros(members),
        )
        uniform = draw_uniform_array(
            self._seed,
            np.arange(self._gossip.seen_ttl // _STEP_NS),
            int(ColdPurpose.LATE_RECEIPTS),
            self._draws_of(part),
        )
        met = [(time, self._arrives(ways), ~ways.is_silent) for time, ways in moment.ways]
        types = len(terms.weight)
        course = Course(
            begin=part.time,
            step_ns=_STEP_NS,
            when=moment.when,
            who=moment.who,
            comes=moment.comes,
            grafting=self._small.heartbeats_after(moment.who, moment.when),
            met_from=np.array([time for time, _, _ in met], dtype=np.int64),
            met_arrives=np.array([each for _, each, _ in met], dtype=np.float64).reshape(-1, types, types),
            met_talks=np.array([each for _, _, each in met], dtype=np.bool_).reshape(-1, members),
            uniform=uniform,
            normal=ndtri(np.maximum(uniform, 2.0**-53)),
        )
        flows, hazards, asked, sent, pushing = gossip_steps(crowd, course, talk)
        time = np.asarray((np.arange(len(flows)) + 0.5) * width, dtype=np.float64)
        return Gossiped(time, flows, crowd.by_push, asked, sent, pushing, hazards)


def _class_sums(values: Float64Array, klass: Int64Array) -> Float64Array:
    """For each type the sum of the values of its class."""
    return np.asarray(np.bincount(klass, weights=values)[klass], dtype=np.float64)


def _quantiles(time: Float64Array, mass: Float64Array, delivered: int) -> tuple[Int64Array, Int64Array]:
    """Summary and levels of `Outcome`, of so many receipts by a time [s]; the first and last half a receipt inside."""
    if not delivered:
        return np.full(4, -1, dtype=np.int64), np.zeros(LEVELS, dtype=np.int64)
    half = 0.5 / delivered
    levels = np.clip(np.concatenate([_PERCENTILES, np.linspace(0, 1, LEVELS)]), half, 1 - half)
    seconds = np.interp(levels * mass[-1], mass, time)
    rounded = np.ceil(seconds * NS_PER_S / _GRAIN_NS).astype(np.int64) * _GRAIN_NS
    return rounded[:4], rounded[4:]
