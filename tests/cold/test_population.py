"""What identities are: kinds of clients."""

import numpy as np

from cold.population import client_kinds, heartbeat_phases
from tests.cold.networks import section_of

CLIENTS = {"a": {"share": 5}, "b": {"share": 3, "gossip": {"d": 6}}, "c": {"share": 2}}


def test_kinds_of_clients_have_their_shares() -> None:
    """Counts are binomial: within 4.5 standard deviations, with probability 1 - 10**-5."""
    count = 50_000
    kinds = client_kinds(section_of(count, clients=CLIENTS), 7, 3, count)
    for kind, share in enumerate((0.5, 0.3, 0.2)):
        assert abs((kinds == kind).sum() - share * count) < 4.5 * np.sqrt(count * share * (1 - share))


def test_a_kind_belongs_to_the_identity_whoever_asks() -> None:
    section = section_of(100, clients=CLIENTS)
    whole = client_kinds(section, 7, 10, 100)
    assert np.array_equal(whole[30:60], client_kinds(section, 7, 40, 30))
    assert not client_kinds(section_of(100), 7, 10, 100).any()


def test_a_client_keeps_what_it_does_not_say() -> None:
    section = section_of(9, gossip={"d_high": 14}, clients=CLIENTS)
    assert [(gossip.d, gossip.d_high) for gossip in section.client_gossip] == [(8, 14), (6, 14), (8, 14)]


def test_the_first_heartbeat_is_within_the_clients_own_interval() -> None:
    intervals = np.array([10**9, 7 * 10**8] * 500, dtype=np.int64)
    phases = heartbeat_phases(1, 5, 1000, intervals)
    assert (phases < intervals).all()
    assert phases[::2].max() > 9 * 10**8
    assert np.array_equal(phases[::2], heartbeat_phases(1, 5, 1000, 10**9)[::2])
