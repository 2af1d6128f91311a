"""What a tail is expected to need of the machine's memory, from its configuration alone."""

from __future__ import annotations

import math
from typing import Final

from cold.calendar_section import CalendarSection
from cold.lacker_layout import LACKER_BLOCK_SHIFT
from cold.request_layout import ASKED_AHEAD_NS
from cold.request_section import RoleSection
from cold.score_layout import SCORE_COLUMNS
from cold.section import ColdSection
from cold.topics import TopicGroup, indices_of

#: Rows of `identity` and `sender` (128), order of phases, heads of lists, places and links of the directory.
_BYTES_PER_IDENTITY: Final = 248
#: The directory, clocks, groups and subscriptions.
_BYTES_WHERE_NOTHING_IS_EXACT: Final = 600
#: A neighbour and who dialled it; while the overlay is made, the end of the connection besides. Where identities dial,
#: there are the connections by who dialled, and the rows before and after others come in.
_BYTES_PER_PEER: Final = 4.125
_BYTES_PER_PEER_AT_FIRST: Final = 9
_BYTES_PER_PEER_WHERE_THEY_DIAL: Final = 22
#: Rank and number of the known peers.
_BYTES_PER_PARTIAL_MEMBERSHIP: Final = 3
_ARRIVAL_BYTES: Final = 8
_COPY_BYTES: Final = 16
_RECORD_BYTES: Final = 24
#: Where an identity's connections begin, what it sent and received, when it tells next, and a word of slots.
_TRANSACTION_BYTES: Final = 40
#: Which protocols an identity serves and asks for, where that is not the same for all.
_ROLE_BYTES: Final = 8
#: A request, in a table that was doubled when it was full.
_OPEN_BYTES: Final = 128
#: The limit of a peer and a protocol; between a quarter and three quarters of a table's rows have one.
_LIMIT_BYTES: Final = 64
#: Of requests that are not executed: when they come to the links, and, of a protocol, which shares of them are its.
_LOAD_BYTES: Final = 64
_LOAD_SHARE_BYTES: Final = 8
#: What is counted of a representative of a protocol, on each shard.
_TALLY_BYTES: Final = 192
#: Slots of transactions are given again so long after the last one has ended [ns].
_SLOT_SLACK_NS: Final = 10**9
#: Slots whose bits fill a row of `State.identity`, and what one more costs.
_SLOTS_IN_A_ROW: Final = 192
_BITS_PER_SLOT: Final = 1
#: For each slot, and for each topic, it is counted in so many identities together who lacks what, or is up.
_IDENTITIES_PER_COUNT: Final = 1 << LACKER_BLOCK_SHIFT
#: Of the copies of messages of one moment, so many are in flight or being looked through at the same time.
_SHARE_IN_FLIGHT: Final = 0.25
#: Messages of one moment are those published within the time that one takes to spread [ns].
_MOMENT_NS: Final = 500_000_000


def estimate_memory(section: ColdSection) -> int:
    """Return the bytes that the tail is expected to need at most.

    That is while the overlay is made, or when all that is published in a slot of the calendar is alive, and all listed
    messages for as long as `seen_ttl`, with those copies in flight that are published at about the same time.
    `sim-stats.json` tells what a run took.
    """
    subscribed = _subscribed(section)
    if not subscribed:
        besides = _requests(section) + _transactions(section)
        return round(section.identity_count * (_BYTES_WHERE_NOTHING_IS_EXACT + besides))
    gossip = section.gossip
    clients = section.client_gossip
    row = 1 + 2 * gossip.mcache_gossip + max(client.d_high for client in clients)
    if gossip.score is not None:
        row += 8 * SCORE_COLUMNS * max(client.d_high for client in clients)
    partial = {topic: share for topic, share in subscribed.items() if share < 1.0}
    sought = section.overlay.topic_peers * sum(partial.values())
    peers = min(section.mean_degree + sought, section.identity_count - 1)
    known = sum(share * (section.overlay.topic_peers + section.mean_degree * share) for share in partial.values())
    alive, here, at_once = _messages(section, subscribed)

    running = _BYTES_PER_IDENTITY + _BYTES_PER_PEER * peers
    running += sum(subscribed.values()) * row + sum(partial.values()) * _BYTES_PER_PARTIAL_MEMBERSHIP + known
    running += len(partial) / 8 + _BITS_PER_SLOT * max(alive - _SLOTS_IN_A_ROW, 0) / 8
    running += (max(alive, _SLOTS_IN_A_ROW) + len(subscribed)) / _IDENTITIES_PER_COUNT
    running += _ARRIVAL_BYTES * here
    running += _requests(section) + _transactions(section)
    running += _COPY_BYTES * at_once * max(client.d for client in clients) * _SHARE_IN_FLIGHT
    first_meshes = 4 * max(client.d_high for client in clients) * (len(subscribed) - len(partial) + 1)
    at_first = _BYTES_PER_PEER_AT_FIRST if section.client_overlay[0].target is None else _BYTES_PER_PEER_WHERE_THEY_DIAL
    building = _BYTES_PER_IDENTITY + at_first * peers + first_meshes
    return round(section.identity_count * max(running, building))


def _subscribed(section: ColdSection) -> dict[int, float]:
    """The share of identities that subscribe to each topic that may be exact, by its index."""
    wanted = section.resolution
    names = dict.fromkeys(range(len(section.topic_numbers)), wanted.default)
    for name, resolution in sorted(wanted.topics.items(), key=lambda item: isinstance(item[0], int)):
        names.update(dict.fromkeys(indices_of(section.topics, name) or (), resolution))
    shares: list[float] = []
    for topic in section.topics:
        shares += [topic.mean_subscriptions / topic.count] * topic.count if isinstance(topic, TopicGroup) else [1.0]
    return {index: shares[index] for index, name in names.items() if name in ("exact", "auto")}


def _messages(section: ColdSection, subscribed: dict[int, float]) -> tuple[float, float, float]:
    """How many messages are alive at once, how many of these an identity gets, and how many of these at one moment."""
    alive = here = at_once = 0.0
    for publication in section.publications:
        (topic,) = indices_of(section.topics, publication.topic) or range(0)
        share = subscribed.get(topic, 0.0)
        interval = max(publication.interval, 1)
        lasting = min(publication.count, section.gossip.seen_ttl // interval + 1)
        alive += lasting * (share > 0)
        here += lasting * share
        at_once += min(publication.count, _MOMENT_NS // interval + 1) * share
    if section.calendar is not None:
        for key, topics in section.calendar_topics.items():
            count = _per_slot(section.calendar, key.split(".")[0], len(topics)) / len(topics)
            shares = [subscribed[topic] for topic in topics if topic in subscribed]
            alive += count * len(shares)
            here += count * sum(shares)
            at_once += count * sum(shares)
    return alive, here, at_once


def _requests(section: ColdSection) -> float:
    """Bytes of an identity for its requests: roles, when to ask next, what is open, limits that run.

    Where some ask in the place of all, it has in place of these a part of theirs, and rates of what is not executed.
    """
    if not section.requests:
        return 0.0
    result = 0.0
    if any(role != RoleSection() for request in section.requests for role in (request.askers, request.servers)):
        result += _ROLE_BYTES
    if any(request.resolution.level == "sampled" for request in section.requests):
        result += _LOAD_BYTES
    for request in section.requests:
        if request.interval is not None:
            rate = 1 / max(request.interval.expectation(), 1.0)
            share = 1.0
            if request.resolution.level == "sampled":
                share = min(request.resolution.representatives / section.identity_count, 1.0)
                result += _LOAD_SHARE_BYTES + _TALLY_BYTES * share
            rate *= share
            result += 8 * share + _RECORD_BYTES * rate * ASKED_AHEAD_NS + _OPEN_BYTES * rate * _MOMENT_NS
            if request.limit is not None:
                limits = rate * request.chunks.expectation() * request.limit.period / request.limit.tokens
                result += _LIMIT_BYTES * min(limits, rate * request.limit.period)
    return result


def _transactions(section: ColdSection) -> float:
    """Bytes of an identity for its transactions: connections, what it knows of those alive, records in flight."""
    wanted = section.transactions
    if wanted is None:
        return 0.0
    peers = min(wanted.degree, section.identity_count - 1)
    lasting = wanted.lifetime + _SLOT_SLACK_NS
    drawn = lasting / wanted.mean_interval
    alive = drawn + 4 * math.sqrt(drawn) + len(wanted.listed) + 1
    row = _ARRIVAL_BYTES * (1 + 3 * -(-peers // 64))
    in_flight = _RECORD_BYTES * peers * _MOMENT_NS / wanted.mean_interval
    return _BYTES_PER_PEER * peers + _TRANSACTION_BYTES + row * alive + in_flight


def _per_slot(calendar: CalendarSection, kind: str, topics: int) -> float:
    """How many messages of a kind are published in a slot, on all of its topics."""
    attesting = calendar.validators.count / calendar.slots_per_epoch
    if kind == "blocks":
        return 1
    if kind == "columns":
        return topics
    if kind == "attestations":
        return attesting
    if kind == "sync_messages":
        return calendar.sync_committee_size
    if kind == "aggregates" and calendar.aggregates is not None:
        committees = attesting / calendar.target_committee_size
        committees = max(1.0, min(committees, calendar.most_committees_per_slot))
        return min(committees * calendar.aggregates.per_committee, attesting)
    per_subcommittee = 0 if calendar.contributions is None else calendar.contributions.per_subcommittee
    return min(calendar.sync_subcommittees * per_subcommittee, calendar.sync_committee_size)
