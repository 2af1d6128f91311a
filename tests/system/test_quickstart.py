"""The configuration that `make demo` runs shows what it promises."""

from __future__ import annotations

import json
import re

import pytest

from tests.system.experiment import ROOT, Laboratory, Programs


@pytest.mark.slow
def test_the_quickstart_reaches_every_peer_and_the_whole_tail(laboratory: Laboratory, program: Programs) -> None:
    program("curl")
    run = laboratory.run(ROOT / "configs" / "quickstart.yaml")
    assert run.stdout("curl", "bash").strip() == "identical"
    assert run.stdout("urllib", "python3").startswith("identical")

    peers = sorted(name for name in run.manifest["hosts"] if name.startswith("peer"))
    assert len(peers) >= 16
    published: set[str] = set()
    delivered: dict[str, set[str]] = {}
    for name in peers:
        delivered[name] = set()
        for line in run.stdout(name, "gossip-node").splitlines():
            event = json.loads(line)
            if event["event"] == "publish":
                published.add(event["id"])
                delivered[name].add(event["id"])
            elif event["event"] == "deliver":
                assert event["ok"] is True
                delivered[name].add(event["id"])
    everything = set[str]().union(*delivered.values())
    assert len(published) >= 2, "messages of hot peers"
    assert len(everything - published) >= 2, "messages of the tail"
    for name in peers:
        assert delivered[name] == everything

    assert set(re.findall(r"\(([0-9.]+%)\)", run.output)) == {"100.00%"}
    assert run.manifest["status"] == "complete"
    assert run.statistics["cold_identities"] == 100_000
