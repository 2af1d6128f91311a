"""What the kernels of the mean field in networks that change compute, in numpy, step by step: `cold.spread_kernels`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import comb

from cold.changing_field import Pushed, Terms, Turn
from cold.sparing import Sparing
from cold.spread_kernels import Course, Crowd, Talk

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

_QUIET: Final = 1e-5
_HALF: Final = 0.5
_MANY: Final = 50.0
_ROUNDING: Final = 1e-13


def _some(shares: Float64Array) -> Float64Array:
    return np.where(shares > _ROUNDING, shares, 0.0)


class SparedPushes:
    """Copies on their way out, step by step, as `cold.sparing.SparedPushes`."""

    def __init__(self, sparing: Sparing) -> None:
        self._sparing = sparing
        types, lags = sparing.ready.shape
        most = int(sparing.others.max(initial=0))
        longest = int(np.ceil(sparing.lead + sparing.copy.max() * (most + 1))) + 2
        self._past = lags
        self._room = 1024
        # Rows begin with as many as are looked back on, or end with as many as are looked ahead to.
        self._gained, self._weighted, self._really = (np.zeros((lags + self._room, types)) for _ in range(3))
        self._leaves = np.zeros((self._room + longest, types))
        self._left = np.zeros(types)
        self._number = 0
        self._ready = np.ascontiguousarray(sparing.ready[:, ::-1].T)
        self._whole = np.floor(sparing.after).astype(np.int64)
        self._part = sparing.after - self._whole
        self.looks_back = int(self._whole.max()) + 2
        turns = np.arange(1, most + 2)
        delay = np.maximum(sparing.lead + turns[:, None] * sparing.copy, 1.0)
        self._delay = np.floor(delay).astype(np.int64)
        self._delay_part = delay - self._delay
        # The number of copies that leave is binomial, and of n others that stay each place before them is alike.
        stay = np.arange(most + 1)
        self._stay = stay[:, None]
        self._ways = np.where(stay[:, None] <= sparing.others, comb(sparing.others[None, :], stay[:, None]), 0.0)
        self._alike = np.triu(np.ones((most + 1, most + 1)) / (stay + 1))
        self._pushes, self._needed = np.zeros(types), np.zeros(types)

    @property
    def missing(self) -> Float64Array:
        """Return the share of a mesh, beside who sent the message, that had not told by the time of pushing: [T]."""
        return np.asarray(self._needed / np.maximum(self._pushes, 1e-300))

    def left(self) -> Float64Array:
        """Return the probability that a copy has left by this step: float64[T]."""
        self._left = self._left + self._leaves[self._number]
        return self._left

    def push(self, told_by: Float64Array, at: int, has: Float64Array, theta: Float64Array) -> None:
        """Have those push who are ready in this step."""
        number, sparing = self._number, self._sparing
        if number == self._room:
            more = np.zeros((self._room, len(theta)))
            self._room *= 2
            self._leaves, self._gained, self._weighted, self._really = (
                np.concatenate([rows, more]) for rows in (self._leaves, self._gained, self._weighted, self._really)
            )
        row = number + self._past
        self._gained[row] = told_by[at] - told_by[at - 1]
        self._really[row] = has[at] - has[at - 1]
        self._weighted[row] = self._gained[row] / np.maximum(theta, 1e-12)
        span = slice(row + 1 - self._past, row + 1)
        ready = (self._gained[span] * self._ready).sum(axis=0)
        weighted = (self._weighted[span] * self._ready).sum(axis=0)
        source = np.arange(len(theta))[None, :]
        then = at - self._whole
        heard = (1 - self._part) * told_by[then, source] + self._part * told_by[then - 1, source]
        untold = 1 - (sparing.told * heard).sum(axis=1)
        missing = np.clip(untold * weighted / np.maximum(ready, 1e-300), 0.0, 1.0)
        stays = self._ways * missing**self._stay * (1 - missing) ** np.maximum(sparing.others - self._stay, 0)
        leaving = ready * (self._alike @ stays)
        np.add.at(self._leaves, (number + self._delay, source), leaving * (1 - self._delay_part))
        np.add.at(self._leaves, (number + self._delay + 1, source), leaving * self._delay_part)
        really = (self._really[span] * self._ready).sum(axis=0)
        self._pushes += really
        self._needed += really * missing
        self._number += 1


def solve_push(terms: Terms, members: float, horizon: float, turns: Sequence[Turn] = ()) -> Pushed:
    """Step the first stage's equations: what `cold.changing_field.solve_push` does."""
    types, lags = terms.own.shape
    own = np.ascontiguousarray(terms.own[:, :0:-1].T)
    past = lags - 1
    whole = np.floor(terms.path).astype(np.int64)
    part = terms.path - whole
    asking = np.maximum(np.rint(terms.asking).astype(np.int64), 1)
    mended = np.maximum(np.rint(terms.mended).astype(np.int64), 1)
    spared = None if terms.sparing is None else SparedPushes(terms.sparing)
    before = int(max(past, whole.max() + 1, asking.max(), mended.max(), 0 if spared is None else spared.looks_back))
    first = np.cumsum(terms.first, axis=1)
    powers = np.arange(terms.pushed.shape[1])
    mean = np.maximum(terms.pushed @ powers, 1e-300)[:, None]
    cavity_share = np.where(terms.pushed @ powers[:, None] > 0, terms.pushed * powers / mean, terms.pushed)
    # Of nobody whom somebody pushes to the cavity is that of all.
    lower = np.where(terms.pushed @ powers[:, None] > 0, np.maximum(powers - 1, 0), powers)
    arrives, telling = terms.arrives, terms.telling
    passes = arrives * terms.talking
    came, sent_before = np.zeros((types, types)), np.zeros((types, types))
    turned = last_turn = 0
    # Where packets pass again, an IHAVE is on its way first, and then what is asked for.
    heard_from, mended_from = np.zeros((2, types, types), dtype=np.int64)
    answer = mended - asking
    source = np.arange(types)[None, :]
    most = int(horizon / terms.step) + 1
    room = 1024
    told_by, has, sent = (np.zeros((before + room, types)) for _ in range(3))
    thetas: list[Float64Array] = []
    phi, heard, asked = np.ones(types), np.zeros(types), np.zeros(types)
    hop = past + int(terms.path.max()) + 1
    number = 0
    while number < most:
        while turned < len(turns) and turns[turned].step <= number:
            opens = arrives <= 0
            last_turn, arrives, telling, talking = turns[turned]
            opens &= arrives > 0
            heard_from = np.where(opens, number + answer // 2, heard_from)
            mended_from = np.where(opens, number + answer * 3 // 2, mended_from)
            passes = arrives * talking
            turned += 1
        at = before + number
        if at == len(has):
            told_by, has, sent = (np.concatenate([array, np.zeros_like(array)]) for array in (told_by, has, sent))
        sent[at] = (told_by[at - past : at] * own).sum(axis=0) if spared is None else spared.left()
        there = (1 - part) * sent[at - whole, source] + part * sent[at - whole - 1, source]
        # What was sent to those that were cut off then, or not sent by those that were silent, does not come later.
        came += passes * (there - sent_before)
        sent_before = there
        theta = np.clip(1 - (terms.mixing * came).sum(axis=1), 0.0, 1.0)
        thetas.append(theta)
        sigma_phi = (1 - first[:, min(number, first.shape[1] - 1)]) * phi
        lacking = sigma_phi * (terms.pushed * theta[:, None] ** powers).sum(axis=1)
        told_by[at] = _some(1 - sigma_phi * (cavity_share * theta[:, None] ** lower).sum(axis=1))
        has[at] = _some(1 - lacking)
        if spared is not None:
            spared.push(told_by, at, has, theta)
        number += 1
        if float(lacking @ terms.weight) * members < _HALF:
            break
        if (
            number > max(first.shape[1], last_turn) + hop
            and (thetas[-1 - hop] - theta).max() <= _QUIET * (1 - theta).max()
        ):
            break
        copies = telling * arrives**3 * has[at - mended, source]
        old_enough = (copies * (number >= mended_from)).sum(axis=1)
        phi = phi * np.exp(-terms.step * old_enough)
        ids = telling * arrives * has[at - asking, source]
        told = terms.step * (ids * (number >= heard_from)).sum(axis=1)
        asked += lacking * np.exp(-heard) * told
        heard += told
    missing = np.ones(types) if spared is None else spared.missing
    return Pushed(1 - has[before : before + number], theta, sigma_phi, asked, missing)


class Hearing:
    """How quickly members of T types hear of a message, while what packets meet changes."""

    def __init__(self, arrives: Float64Array, passing: Float64Array, heartbeat: Int64Array, beats: int) -> None:
        self.arrives, self._passing, self._heartbeat, self._beats = arrives, passing, heartbeat, beats
        self._told_before = np.minimum(np.arange(beats)[:, None], np.arange(beats))
        self._long_ago = beats * int(heartbeat.max())
        self._open_since = np.full(arrives.shape, -self._long_ago)

    def meets(self, arrives: Float64Array, number: int) -> None:
        """Have packets arrive with other probabilities from a step on."""
        self._open_since[(self.arrives <= 0) & (arrives > 0)] = number
        self.arrives = arrives

    def passed(self, late: Float64Array) -> Float64Array:
        """Copies that come to a member of each type where a share of each, float64[T], has just got the message."""
        return np.asarray((self._passing * self.arrives) @ late, dtype=np.float64)

    def rates(
        self, each: Float64Array, chosen: Float64Array, by_beat: Float64Array, step: int
    ) -> tuple[Float64Array, Float64Array]:
        """What `cold.spread_kernels.told_rates` returns, in a step."""
        telling = each * by_beat
        open_for = np.minimum((step - self._open_since) // self._heartbeat, self._beats - 1)
        is_new = step - int(self._open_since.max()) <= self._long_ago
        heard, mended = np.zeros((2, self._beats, len(each)))
        for heartbeats in np.unique(open_for) if is_new else (self._beats - 1,):
            left = (1 - chosen) ** np.minimum(self._told_before, heartbeats)[:, :, None]
            told, comes = (left * telling).sum(axis=1), (self.arrives * (open_for == heartbeats)).T
            heard += told @ comes
            mended += told @ comes**3
        return heard, mended


def _told_of(talk: Talk, count: Float64Array, arrives: Float64Array) -> tuple[Float64Array, ...]:
    """What `cold.spread_kernels.told_of` returns."""
    reachable = count @ (arrives > 0)
    known = talk.known_share * reachable
    outside = np.maximum(known - talk.living, 0.0)
    in_a_beat = np.minimum(talk.lazy, outside)
    chosen = np.minimum(talk.lazy / np.maximum(outside, 1.0), 1.0)
    rate = 1 / np.maximum(reachable, 1.0) / talk.beat
    return in_a_beat, in_a_beat * rate, np.maximum(chosen * known, in_a_beat) * rate, chosen


def gossip_steps(
    crowd: Crowd, course: Course, talk: Talk
) -> tuple[Float64Array, Float64Array, float, Float64Array, float]:
    """Follow what is told, and those who come and go: `cold.spread_kernels.gossip_steps`."""
    types, beats = len(talk.lazy), len(talk.ages) - 1
    width, type_of = course.step_ns / 1e9, crowd.kind
    first_steps, cohort = len(talk.progress), crowd.is_meshed
    is_up, lack, by_push = crowd.is_up, crowd.lack, crowd.by_push
    since, grafts, talks = crowd.since, crowd.grafts, crowd.talks
    ages = talk.ages[:, type_of]
    ring = np.zeros((int(ages.max()) + 1, len(lack)))
    place = np.arange(len(lack))
    first_step = talk.first_step[type_of]
    count = np.bincount(type_of[is_up], minlength=types).astype(np.float64)
    hearing = Hearing(talk.arrives, talk.passing, talk.heartbeat, beats)
    each_beat, rate, rate_outside, chosen = _told_of(talk, count, talk.arrives)
    late = late_grafted = np.zeros(types)
    have_meshes = np.minimum(np.arange(beats) + 0.5, 1.0)[:, None]
    flows: list[float] = []
    hazards = np.zeros((len(course.uniform) + talk.answer, beats, types))
    got, known = np.zeros(len(lack)), np.zeros_like(ring)
    heard_then: list[Float64Array] = []
    asked, pushing, sent = 0.0, 0.0, np.zeros(talk.clients)
    applied = met = number = 0
    while number < len(course.uniform):
        ring[number % len(ring)], known[number % len(ring)] = got, 1 - lack
        then = ring[(number - ages) % len(ring), place]
        telling = (then[:-1] - then[1:]) * (is_up & talks)
        by_beat = np.array([np.bincount(type_of, weights=row, minlength=types) for row in telling], dtype=np.float64)
        is_meshed = is_up & (grafts <= course.begin + number * course.step_ns)
        (heard, inside), (heard_outside, outside) = (
            hearing.rates(each, chosen, by_beat, number) for each in (rate, rate_outside)
        )
        inside, outside = width * inside, width * outside
        copies = hearing.passed(late / np.maximum(count, 1.0))
        other_copies = hearing.passed(late_grafted / np.maximum(count, 1.0))
        which = np.minimum((number - since) // talk.heartbeat[type_of], beats - 1), type_of
        told = np.where(is_meshed, inside[which], outside[which]) * is_up
        pressure = told + np.where(is_meshed, copies[type_of], other_copies[type_of]) * is_up
        before = lack.copy()
        lasts = np.divide(-np.expm1(-pressure), pressure, where=pressure > 0, out=np.ones(len(lack)))
        hears, pushed = before * told * lasts, before * (pressure - told) * lasts
        copied = np.zeros(len(before))
        if number < first_steps:
            pushed_to = np.minimum(1 - (1 - crowd.lacking) * talk.progress[number][type_of], before)
            copied = np.where(cohort & is_up, before - pushed_to, 0.0)
            by_push += copied
            hears[cohort] = pushed[cohort] = 0.0
        reached = crowd.is_fresh & is_up & (number == first_step)
        pushed[reached] += (before - hears - pushed)[reached] * talk.reach[type_of[reached]]
        expected = float((hears + pushed).sum()) * talk.scale
        luck = _of_whole_members(expected, course.uniform[number], course.normal[number])
        hazards[number + talk.answer] += (inside * have_meshes + outside * (1 - have_meshes)) * luck
        hazards[number] += (copies * have_meshes + other_copies * (1 - have_meshes)) * luck
        fewer = np.minimum(luck, before / np.maximum(hears + pushed, 1e-300))
        hears, pushed = hears * fewer, pushed * fewer
        heard_then.append(hears)
        comes = heard_then[number - talk.answer] if number >= talk.answer else np.zeros(len(lack))
        lack[:] = np.where(is_up, _some(before - hears - pushed - copied), before + comes)
        gained = (comes + pushed) * is_up
        got += gained + copied
        waiting = before * is_up * (~cohort | (number >= first_steps)) * lasts
        asked += luck * width * float(np.where(is_meshed, heard[which], heard_outside[which]) @ waiting)
        told = width * each_beat / talk.beat * by_beat.sum(axis=0)
        sent += np.bincount(talk.client, weights=told, minlength=len(sent))
        has_grafted = is_meshed & (grafts > course.begin)
        share = np.where(is_meshed, 1.0, float(has_grafted.sum()) / max(float(is_up.sum()), 1.0))
        pushing += float((gained * talks) @ share)
        late, late_grafted = (
            np.bincount(type_of, weights=(gained + copied) * those, minlength=types).astype(np.float64)
            for those in (talks, talks & has_grafted)
        )
        flows.append(float(gained.sum()))
        number += 1
        last = int(np.searchsorted(course.when, course.begin + number * course.step_ns))
        changed = slice(applied, last)
        who = course.who[changed]
        is_up[who], since[who], grafts[who] = course.comes[changed], number, course.grafting[changed]
        applied = last
        while met < len(course.met_from) and course.met_from[met] < course.begin + number * course.step_ns:
            talks[:] = course.met_talks[met]
            hearing.meets(course.met_arrives[met], number)
            met += 1
        count = np.bincount(type_of[is_up], minlength=types).astype(np.float64)
        each_beat, rate, rate_outside, chosen = _told_of(talk, count, hearing.arrives)
        if number > first_steps and float((1 - lack - known[number % len(ring)]).sum()) * talk.scale < _HALF:
            break
    return np.array(flows), hazards[:number], asked, sent, pushing


def _of_whole_members(expected: float, draw: float, normal: float) -> float:
    """What `cold.spread_kernels.of_whole_members` returns."""
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
