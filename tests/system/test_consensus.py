"""A cluster of three etcd servers (Go, gRPC, Raft) elects a leader, survives its death, and keeps what it was told."""

from __future__ import annotations

import re
from typing import Any

from tests.system.experiment import Configuration, Laboratory, Programs, Run, experiment, host, network, shell

NODES = ("node1", "node2", "node3")


def _node(etcd: str, number: int, **keys: object) -> dict[str, Any]:
    name = NODES[number]
    cluster = ",".join(f"{node}=http://{node}:2380" for node in NODES)
    options = (
        f"--name {name} --data-dir data --initial-cluster {cluster} --initial-cluster-state new"
        f" --listen-peer-urls http://0.0.0.0:2380 --initial-advertise-peer-urls http://{name}:2380"
        f" --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls http://{name}:2379"
    )
    # Raft's random time-outs are seeded with the time: nodes that start at one instant would vote for ever.
    return host(shell(f"exec {etcd} {options}", start_time=f"{1000 + 137 * number} ms", **keys))


def _cluster(etcd: str, etcdctl: str, killed: str | None) -> Configuration:
    client = (
        f"e='{etcdctl} --endpoints={','.join(f'http://{node}:2379' for node in NODES)}'; export ETCDCTL_API=3;"
        "$e put before 1; $e member list; sleep 20; $e put after 2; $e get before; $e get after;"
        "$e del before; $e get before"
    )
    running: dict[str, object] = {"expected_final_state": "running"}
    dies: dict[str, object] = {
        "shutdown_time": "15 s",
        "shutdown_signal": "SIGKILL",
        "expected_final_state": {"signaled": "SIGKILL"},
    }
    nodes = {name: _node(etcd, n, **(dies if name == killed else running)) for n, name in enumerate(NODES)}
    hosts = {**nodes, "client": host(shell(client, start_time="10 s"))}
    return experiment(hosts, stop_time="60 s", network=network(latency="10 ms"))


def _leaders(run: Run, node: str) -> list[str]:
    """Ids of the leaders that a node has seen elected, in order."""
    return re.findall(r"elected leader (\w+) at term", run.stderr(node))


def test_three_nodes_elect_a_leader_and_survive_its_death(laboratory: Laboratory, program: Programs) -> None:
    etcd, etcdctl = program("etcd"), program("etcdctl")
    undisturbed = laboratory.run(_cluster(etcd, etcdctl, None), name="undisturbed")
    (leader,) = {tuple(_leaders(undisturbed, node)) for node in NODES}
    assert len(leader) == 1
    (name,) = re.findall(rf"{leader[0]}, started, (\w+),", undisturbed.stdout("client"))

    first, second = (laboratory.run(_cluster(etcd, etcdctl, name), name=run) for run in ("first", "second"))
    survivors = [node for node in NODES if node != name]
    # Until it died, everything was as in the undisturbed run.
    (seen,) = {tuple(_leaders(first, node)) for node in survivors}
    assert seen[0] == leader[0]
    assert len(seen) == 2
    assert seen[1] != leader[0]
    answers = first.stdout("client").splitlines()
    assert [line for line in answers if "started" not in line] == ["OK", "OK", "before", "1", "after", "2", "1"]
    assert first.files == second.files
