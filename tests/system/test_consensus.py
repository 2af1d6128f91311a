"""Servers of etcd (Go, Raft) and of ZooKeeper (Java) elect a leader, survive its death, and keep what they know."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

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


ZOOKEEPER = Path("/usr/share/java/zookeeper.jar")


def _ensemble(java: str) -> Configuration:
    # What else is compiled in the two seconds that a server works here would not be used again.
    start = f"{java} -XX:TieredStopAtLevel=1 -cp {ZOOKEEPER}"
    settings = [
        *("tickTime=500", "initLimit=10", "syncLimit=5", "dataDir=data", "clientPort=2181", "admin.enableServer=false"),
        "4lw.commands.whitelist=srvr",
        *(f"server.{number}={node}:2888:3888" for number, node in enumerate(NODES, 1)),
    ]
    server = "org.apache.zookeeper.server.quorum.QuorumPeerMain zoo.cfg"
    running: dict[str, object] = {"expected_final_state": "running"}
    # Of servers that know the same, the one with the greatest number leads.
    dies: dict[str, object] = {
        "shutdown_time": "6 s",
        "shutdown_signal": "SIGKILL",
        "expected_final_state": {"signaled": "SIGKILL"},
    }
    nodes = {
        node: host(
            shell(
                f"mkdir data; echo {number} > data/myid; printf '%s\\n' {' '.join(settings)} > zoo.cfg;"
                f" exec {start} -Dzookeeper.jmx.log4j.disable=true {server}",
                start_time=f"{1000 + 137 * number} ms",
                **(dies if number == len(NODES) else running),
            )
        )
        for number, node in enumerate(NODES, 1)
    }
    mode = """
import socket
for node in "node1", "node2", "node3":
    try:
        with socket.create_connection((node, 2181)) as stream:
            stream.sendall(b"srvr")
            print(node, next(line for line in stream.makefile() if line.startswith("Mode")), end="")
    except ConnectionRefusedError:
        print(node, "is gone")
"""
    commands = "echo create /key before; sleep 4; echo get /key; echo set /key after; echo get /key"
    addresses = ",".join(f"{node}:2181" for node in NODES)
    client = (
        f"python3 -c '{mode}'; ({commands}) | {start} org.apache.zookeeper.ZooKeeperMain -server {addresses};"
        f" python3 -c '{mode}'"
    )
    hosts = {**nodes, "client": host(shell(client, start_time="4 s"))}
    return experiment(hosts, stop_time="15 s", network=network(latency="10 ms"))


def test_an_ensemble_of_zookeeper_survives_the_death_of_its_leader(laboratory: Laboratory, program: Programs) -> None:
    java = program("java")
    if not ZOOKEEPER.exists():
        pytest.skip(f"{ZOOKEEPER} is not installed (tests/install-programs.sh)")
    run = laboratory.run_twice(_ensemble(java))
    told = [line for line in run.stdout("client").splitlines() if re.match("node|before|after|WatchedEvent", line)]
    assert told == [
        *("node1 Mode: follower", "node2 Mode: follower", "node3 Mode: leader"),
        "WatchedEvent state:SyncConnected type:None path:null",
        *(f"WatchedEvent state:{state} type:None path:null" for state in ("Disconnected", "SyncConnected")),
        *("before", "after"),
        *("node1 Mode: follower", "node2 Mode: leader", "node3 is gone"),
    ]
