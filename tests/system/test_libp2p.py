"""A network of js-libp2p, whose gossipsub the tail's surrogates stand for: unmodified, over TCP, noise and yamux."""

from __future__ import annotations

import subprocess

import pytest

from tests.system.experiment import ROOT, Laboratory, Programs, experiment, host, network, process

_PEERS = 6
_MESSAGES = 3
_LATENCY_MS = 30
_NPM = ROOT / "tests" / "npm"


def test_peers_of_libp2p_gossip(laboratory: Laboratory, program: Programs) -> None:
    node = program("node")
    if not (_NPM / "node_modules" / "libp2p").is_dir():
        pytest.skip("libp2p is not installed (tests/install-programs.sh)")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    if int(version[1:].split(".")[0]) < 20:
        pytest.skip(f"libp2p needs Node.js 20, and this is {version.strip()}")
    peers = {
        f"peer{number}": host(process(node, str(_NPM / "gossip.mjs"), str(number), str(_PEERS), str(_MESSAGES)))
        for number in range(_PEERS)
    }
    configuration = experiment(peers, stop_time="60 s", network=network(latency=f"{_LATENCY_MS} ms"), pcap=True)
    first, second = (laboratory.run(configuration, name=name) for name in ("first", "second"))
    for peer in list(peers)[1:]:
        received = [[int(word) for word in line.split()] for line in first.stdout(peer).splitlines()]
        assert [message for message, _, _ in received] == list(range(_MESSAGES))
        assert {size for _, size, _ in received} == {50_000}
        # At least a round trip and a half: 50 kB do not fit into the first flight.
        assert min(after for _, _, after in received) >= 3 * _LATENCY_MS
    assert first.stdout("peer0") == ""
    assert first.files == second.files
