"""Four ranks on two "machines": network namespaces with addresses and names of their own, and MPI over TCP."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.distributed.shards import BASELINES, MPI_ENVIRONMENT, MPIEXEC, differences
from tests.system.experiment import ROOT, TIMEOUT_S, Laboratory, Programs, Run, environment

RANKS = 4

#: What ssh would do: start a command on the other machine.
AGENT = """#!/bin/bash
shift
exec ip netns exec {namespace} unshare --uts bash -c 'hostname {name}; exec bash -c "$0"' "$*"
"""


@dataclass(frozen=True)
class Machine:
    """A namespace, its end of the cable, and its address."""

    namespace: str
    device: str
    address: str

    def bytes_sent(self) -> int:
        """How much it has sent through the cable."""
        counter = f"/sys/class/net/{self.device}/statistics/tx_bytes"
        return int(_run("ip", "netns", "exec", self.namespace, "cat", counter))


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    """Make two machines with a cable between them; without the right to do so, the test is skipped."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare"))):
        pytest.skip("network namespaces need root, iproute2 and util-linux")
    unique = os.getpid() % 100_000
    pair = tuple(Machine(f"antumbra-{unique}-{n}", f"an{unique}-{n}", f"10.77.0.{n + 1}") for n in range(2))
    one, other = pair
    try:
        try:
            for machine in pair:
                _run("ip", "netns", "add", machine.namespace)
            cable = ("type", "veth", "peer", "name", other.device, "netns", other.namespace)
            _run("ip", "link", "add", one.device, "netns", one.namespace, *cable)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr}")
        for machine in pair:
            _run("ip", "-n", machine.namespace, "addr", "add", f"{machine.address}/24", "dev", machine.device)
            for device in ("lo", machine.device):
                _run("ip", "-n", machine.namespace, "link", "set", device, "up")
        yield one, other
    finally:
        for machine in pair:
            subprocess.run(["ip", "netns", "del", machine.namespace], check=False, capture_output=True)


def run_on_both(
    laboratory: Laboratory, machines: tuple[Machine, Machine], configuration: Path, name: str, *options: str
) -> Run:
    """Run an experiment with two ranks on each machine."""
    one, other = machines
    agent = laboratory.folder / "agent.sh"
    agent.write_text(AGENT.format(namespace=other.namespace, name="second"))
    agent.chmod(0o755)
    hosts = laboratory.folder / "hosts.txt"
    hosts.write_text("".join(f"{machine.address} slots=2\n" for machine in machines))
    launch = ("--hostfile", str(hosts), "-n", str(RANKS), "--map-by", "ppr:2:node:oversubscribe", "--bind-to", "none")
    variables = {
        **{key: value for key, value in MPI_ENVIRONMENT.items() if not key.startswith("PRTE_MCA_rmaps")},
        "PRTE_MCA_plm_ssh_agent": str(agent),
        "PRTE_MCA_prte_if_include": "10.77.0.0/24",
        "OMPI_MCA_btl_tcp_if_include": "10.77.0.0/24",
        "OMPI_MCA_pml": "ob1",
        "OMPI_MCA_btl": "tcp,self",
    }
    done = subprocess.run(
        [
            *("ip", "netns", "exec", one.namespace, "unshare", "--uts"),
            *("bash", "-c", 'hostname first; exec "$@"', "first"),
            *(str(MPIEXEC), *launch, *laboratory.command(configuration, *options, name=name)),
        ],
        capture_output=True,
        text=True,
        env=environment(**variables),
        cwd=laboratory.folder,
        timeout=TIMEOUT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Run(laboratory.folder / name, done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
def test_two_machines_give_the_results_of_one(laboratory: Laboratory, machines: tuple[Machine, Machine]) -> None:
    if not MPIEXEC.exists():
        pytest.skip("there is no mpiexec beside the interpreter")
    file = BASELINES / "tcp-three-hosts-loss.yaml"
    alone = laboratory.run(file, name="alone")
    for name in ("once", "twice"):
        before = [machine.bytes_sent() for machine in machines]
        together = run_on_both(laboratory, machines, file, name)
        assert together.exit_code == 0, together.story()
        assert not differences(alone, together)
        assert together.manifest["partition"]["shards"] == RANKS
        # What crossed went through the cable: the server and the clients are on different machines.
        crossed = sum(map(sum, together.statistics["cut"]["bytes"]))
        sent = sum(machine.bytes_sent() for machine in machines) - sum(before)
        assert sent > crossed / 2


@pytest.mark.slow
def test_two_machines_share_one_cold_tail(
    laboratory: Laboratory, program: Programs, machines: tuple[Machine, Machine]
) -> None:
    program("curl")
    if not MPIEXEC.exists():
        pytest.skip("there is no mpiexec beside the interpreter")
    # Hot peers and a hundred thousand identities, some of both on each of the four ranks.
    until = ("--stop-time", "12 s")
    file = ROOT / "configs" / "quickstart.yaml"
    alone = laboratory.run(file, *until, name="alone", expect=None)
    together = run_on_both(laboratory, machines, file, "together", *until)
    assert not differences(alone, together)
    assert sum(map(sum, together.statistics["cut"]["events"])) > 1000


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
