"""The codec of gossip-node and that of the cold tail agree about every datagram, byte for byte."""

import struct
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bridge.batch import pack_payloads
from bridge.simtime import NS_PER_S
from cold.boundary_kernels import ACCEPTED, parse
from cold.engine import ColdEngine
from cold.scenario import Scenario
from tests.cold.hot_hosts import run_beside
from tests.cold.networks import STOP, directory_of, section_of, three_nodes
from tests.cold.test_boundary import ADDRESS, COUNT, GRAFT, HELLO, HOT, MESSAGE, datagram, packet
from tests.cold.test_requests_boundary import KEYS as REQUESTS
from tests.cold.test_requests_boundary import REQUEST, RESPONSE
from tests.cold.test_transactions_boundary import KEYS, RULES, hosts_of
from tests.gossip_node.conftest import ROOT


def framed(datagrams: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack(">I", len(data)) + data for data in datagrams)


def judged(fuzz_target: Path, datagrams: Sequence[bytes]) -> list[bool]:
    """Whether gossip-node's codec accepts each, and makes the same bytes again of what it has read."""
    result = subprocess.run([fuzz_target, "--judge"], input=framed(datagrams), capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    return [byte == 1 for byte in result.stdout]


def accepted_by_the_tail(datagrams: Sequence[bytes]) -> list[bool]:
    """The verdicts of the cold tail's codec, for which all come from host 0 to identity 1."""
    offset, payload = pack_payloads([packet(0, HOT, data) for data in datagrams])
    hosts = np.zeros(len(datagrams), dtype=np.uint32), np.full(len(datagrams), HOT, dtype=np.uint32)
    port = np.full(1, 9000, dtype=np.uint16)
    addresses, prefix6 = np.array(ADDRESS, dtype=np.uint32), np.zeros(2, dtype=np.uint64)
    verdicts = parse(offset, payload, *hosts, addresses, np.zeros((HOT, 2), dtype=np.uint64), prefix6, port, HOT)
    return [verdict == ACCEPTED for verdict in verdicts[:, 0].tolist()]


def test_the_corpus_has_a_datagram_of_each_type_that_both_codecs_accept(fuzz_target: Path) -> None:
    corpus = [path.read_bytes() for path in sorted((ROOT / "tests" / "fuzz" / "corpus" / "gossip_wire").iterdir())]
    assert {data[3] for data in corpus} == set(range(1, 16))
    assert all(judged(fuzz_target, corpus))
    assert all(accepted_by_the_tail(corpus))


def test_the_tail_accepts_the_same_datagrams_as_gossip_node(fuzz_target: Path) -> None:
    made = subprocess.run([fuzz_target, "--make", "8000", "7"], capture_output=True, check=True).stdout
    datagrams, at = [], 0
    while at < len(made):
        (length,) = struct.unpack_from(">I", made, at)
        # No packet carries more.
        if length <= 65_507:
            datagrams.append(made[at + 4 : at + 4 + length])
        at += 4 + length
    verdicts = accepted_by_the_tail(datagrams)
    assert verdicts == judged(fuzz_target, datagrams)
    of_type = Counter((data[3], verdict) for data, verdict in zip(datagrams, verdicts, strict=True) if len(data) > 3)
    assert all(of_type[kind, verdict] > 10 for kind in (*range(1, 8), *range(9, 16)) for verdict in (False, True))


def test_gossip_node_understands_every_datagram_that_the_tail_sends(fuzz_target: Path) -> None:
    rules = RULES | {"hot_peers": 2}
    section = section_of(COUNT, **KEYS | {"transactions": rules, "requests": REQUESTS["requests"]})
    engine = ColdEngine(Scenario(section, directory_of(COUNT, HOT), 1, STOP), three_nodes(0.0))
    hosts = hosts_of(engine, 1)
    for number, kind in enumerate((HELLO, GRAFT) * 2):
        hosts.say(NS_PER_S + number, number // 2, HOT + number, "", [], datagram(kind))
    asked = struct.pack(">IBH", 7, 0, 0)
    hosts.say(2 * NS_PER_S, 0, HOT + 1, "", [], datagram(REQUEST, asked, 3, 0))
    received = run_beside(engine, hosts, 5 * NS_PER_S, by_time=True)
    datagrams = [datagram(each.kind, each.body, each.count, each.topic) for each in received]
    assert {data[3] for data in datagrams} >= {HELLO, GRAFT, MESSAGE, REQUEST, RESPONSE, *range(11, 16)}
    assert all(judged(fuzz_target, datagrams))
