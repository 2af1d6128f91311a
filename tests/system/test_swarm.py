"""A swarm of BitTorrent: aria2 shares a file by way of opentracker."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.system.experiment import Laboratory, Programs, experiment, host, network, shell

SIZE = 2_000_000
UPLINK_BPS = 4_000_000  # of the seed
PEERS = ("peer1", "peer2", "peer3")

#: Makes the torrent, the tracker's list of what it serves, and, if asked to, what is shared (BEP 3).
_MAKE = f"""
import hashlib, random, sys

def encoded(value):
    if isinstance(value, dict):
        return b"d" + b"".join(encoded(part) for item in sorted(value.items()) for part in item) + b"e"
    if isinstance(value, int):
        return b"i%de" % value
    text = value if isinstance(value, bytes) else value.encode()
    return b"%d:%s" % (len(text), text)

data, piece = random.Random(1).randbytes({SIZE}), 65536
sums = b"".join(hashlib.sha1(data[at : at + piece]).digest() for at in range(0, len(data), piece))
info = {{"length": len(data), "name": "shared", "piece length": piece, "pieces": sums}}
open("shared.torrent", "wb").write(encoded({{"announce": "http://tracker:6969/announce", "info": info}}))
open("served", "w").write(hashlib.sha1(encoded(info)).hexdigest() + "\\n")
if sys.argv[1:]:
    open("shared", "wb").write(data)
"""


def _client(aria2: str, number: int, minutes: float, *, seed: bool = False) -> dict[str, Any]:
    options = (
        "--no-conf --disable-ipv6 --enable-dht=false --enable-dht6=false --bt-enable-lpd=false --file-allocation=none"
        " --enable-color=false --show-console-readout=false --summary-interval=0 --check-integrity --listen-port=6881"
        f" --seed-ratio=0 --seed-time={minutes}"
    )
    script = (
        f"python3 -c '{_MAKE}' {'shared' if seed else ''}; {aria2} {options} shared.torrent; sha256sum shared;"
        f" stat -c %y shared"
    )
    return host(shell(script, start_time=f"{number + 1} s"), node=int(seed))


# Its programs draw from the processor, if they find that it can.
@pytest.mark.usefixtures("fixed_processor")
def test_a_swarm_has_a_file_before_its_seed_alone_could_have_sent_it(laboratory: Laboratory, program: Programs) -> None:
    aria2, opentracker = program("aria2c"), program("opentracker")
    # It leaves for a root directory and a user of its own.
    tracker = shell(
        f"python3 -c '{_MAKE}'; exec {opentracker} -p 6969 -P 6969 -u nobody -d /srv/tracker -w served",
        expected_final_state="running",
    )
    hosts = {
        "tracker": {**host(tracker), "users": ["nobody"]},
        "seed": _client(aria2, 0, 0.5, seed=True),
        **{name: _client(aria2, number, 0.2) for number, name in enumerate(PEERS, 1)},
    }
    run = laboratory.run_twice(
        experiment(hosts, stop_time="45 s", network=network(latency="20 ms", loss=0.01, up=f"{UPLINK_BPS} bit"))
    )
    told = {name: run.stdout(name) for name in ("seed", *PEERS)}
    assert len({tuple(re.findall(r"^([0-9a-f]{64})  shared$", text, re.MULTILINE)) for text in told.values()}) == 1
    shares = {name: float(re.findall(r"share ratio was ([0-9.]+)", text)[0]) for name, text in told.items()}
    assert sum(shares.values()) == pytest.approx(len(PEERS), abs=0.2)
    # When each wrote its last byte; the seed's uplink is busy for longer with as many copies.
    (*_, last) = sorted(re.findall(r"00:00:([0-9.]+) \+0000$", told[name], re.MULTILINE) for name in PEERS)
    assert float(last[0]) - 2 < len(PEERS) * SIZE * 8 / UPLINK_BPS
