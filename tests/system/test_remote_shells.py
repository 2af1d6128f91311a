"""Logging in to another host and copying to it: OpenSSH's server and client, and rsync by itself and through ssh."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.system.experiment import Laboratory, Programs, experiment, host, network, shell

_SERVER = """
Port 22
HostKey {keys}/host
AuthorizedKeysFile {keys}/client.pub
StrictModes no
UsePAM no
PidFile none
"""

_MODULE = """
use chroot = yes
[files]
path = /srv/server/files
read only = no
uid = root
"""

_CLIENT = """
ssh="{ssh} -i {keys}/client -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
$ssh alice@server 'id -un; hostname; pwd; echo $SSH_CLIENT'
echo what is sent | $ssh alice@server 'tr a-z A-Z; exit 7'
echo exit code $?
seq 100000 > numbers
{rsync} -a --rsync-path={rsync} -e "$ssh" numbers alice@server:through-ssh
$ssh alice@server cat through-ssh | cmp - numbers && echo the same through ssh
{rsync} -a numbers rsync://server/files/alone && {rsync} -a rsync://server/files/ back/
cmp back/alone numbers && echo the same
"""


def _make_key(name: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", name], check=True, timeout=60)


def test_people_log_in_and_copy(laboratory: Laboratory, program: Programs, tmp_path: Path) -> None:
    ssh, sshd, rsync = program("ssh"), program("sshd"), program("rsync")
    keys = tmp_path / "keys"
    keys.mkdir()
    for name in ("host", "client"):
        _make_key(keys / name)
    (keys / "sshd_config").write_text(_SERVER.format(keys=keys))
    (keys / "rsyncd.conf").write_text(_MODULE)
    server = host(
        shell(f"mkdir /run/sshd; exec {sshd} -D -e -f {keys}/sshd_config", expected_final_state="running"),
        shell(
            f"mkdir files; exec {rsync} --daemon --no-detach --config={keys}/rsyncd.conf",
            expected_final_state="running",
        ),
    )
    configuration = experiment(
        {
            "server": {**server, "users": ["sshd", "alice"]},
            "client": host(shell(_CLIENT.format(ssh=ssh, rsync=rsync, keys=keys), start_time="2 s")),
        },
        network=network(latency="20 ms"),
        pcap=True,
    )
    first, second = (laboratory.run(configuration, name=name) for name in ("first", "second"))
    assert first.stdout("client").splitlines() == [
        *("alice", "server", "/srv/server"),
        first.stdout("client").splitlines()[3],
        *("WHAT IS SENT", "exit code 7", "the same through ssh", "the same"),
    ]
    assert first.stdout("client").splitlines()[3].endswith(" 22")
    assert first.files == second.files
