"""A Tor network of its own: authorities that vote, relays, an onion service, and a client that goes through them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from tests.system.experiment import Laboratory, Programs, experiment, host, network, process, shell

RUNNING = {"expected_final_state": "running"}
AUTHORITIES: Final = ("authority1", "authority2", "authority3")
RELAYS: Final = ("relay1", "relay2", "exit1", "exit2")
ADDRESS: Final = {
    name: f"11.0.0.{number}" for number, name in enumerate((*AUTHORITIES, *RELAYS, "client", "service", "web"), start=1)
}
_OR_PORT: Final = 9001
_DIRECTORY_PORT: Final = 7000

_OF_ALL: Final = """\
DataDirectory /srv/{name}/tor
Address {address}
Log notice stdout
TestingTorNetwork 1
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingDirAuthVoteHSDir *
TestingMinExitFlagThreshold 0
V3AuthNIntervalsValid 2
PathsNeededToBuildCircuits 0.67
"""
_OF_AUTHORITIES: Final = f"""\
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
ContactInfo nobody@test
DirPort {_DIRECTORY_PORT}
ORPort {_OR_PORT}
SocksPort 0
ExitPolicy reject *:*
AssumeReachable 1
TestingV3AuthInitialVotingInterval 20
TestingV3AuthInitialVoteDelay 4
TestingV3AuthInitialDistDelay 4
V3AuthVotingInterval 20
V3AuthVoteDelay 4
V3AuthDistDelay 4
"""


def _identity(tor: str, gencert: str, name: str, folder: Path) -> str:
    """Make an authority's keys in its data directory, and return the line by which the others know it."""
    keys = folder / "keys"
    keys.mkdir(parents=True)
    folder.chmod(0o700)
    files = {"-i": "authority_identity_key", "-s": "authority_signing_key", "-c": "authority_certificate"}
    places = [word for option, file in files.items() for word in (option, str(keys / file))]
    subprocess.run(
        [gencert, "--create-identity-key", "--passphrase-fd", "0", "-a", f"{ADDRESS[name]}:{_DIRECTORY_PORT}", *places],
        input=b"secret\n",
        check=True,
        capture_output=True,
    )
    certificate = (keys / "authority_certificate").read_text(encoding="ascii")
    identity = re.search(r"^fingerprint (\w+)$", certificate, re.MULTILINE)
    assert identity is not None, certificate
    # It must know that it is an authority: then it has a key of the kind that has a fingerprint.
    itself = f"nobody orport=1 v3ident={identity[1]} 192.0.2.1:1 {'F' * 40}"
    options = {"-f": "/dev/null", "--DataDirectory": str(folder), "--Nickname": name, "--ORPort": str(_OR_PORT)}
    words = [word for pair in (options | {"--DirAuthority": itself}).items() for word in pair]
    told = subprocess.run(
        [tor, "--quiet", "--list-fingerprint", "--ignore-missing-torrc", *words],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    fingerprint = re.search(r"((?:[0-9A-F]{4} ?){10})$", told.strip())
    assert fingerprint is not None, told
    return (
        f"DirAuthority {name} orport={_OR_PORT} v3ident={identity[1]} "
        f"{ADDRESS[name]}:{_DIRECTORY_PORT} {fingerprint[1].replace(' ', '')}\n"
    )


def test_a_client_of_tor_reaches_a_web_server_and_an_onion_service(laboratory: Laboratory, program: Programs) -> None:
    tor, gencert, curl = program("tor"), program("tor-gencert"), program("curl")
    template = laboratory.folder / "template"
    known = "".join(_identity(tor, gencert, name, template / "hosts" / name / "tor") for name in AUTHORITIES)
    roles = {
        **{name: f"Nickname {name}\n{_OF_AUTHORITIES}" for name in AUTHORITIES},
        **{
            name: f"Nickname {name}\nORPort {_OR_PORT}\nSocksPort 0\n"
            + ("ExitRelay 1\nExitPolicy accept *:*\n" if name.startswith("exit") else "ExitPolicy reject *:*\n")
            for name in RELAYS
        },
        "client": "SocksPort 9050\n",
        "service": "SocksPort 0\nHiddenServiceDir /srv/service/onion\nHiddenServicePort 80 127.0.0.1:80\n",
    }
    for name, role in roles.items():
        folder = template / "hosts" / name
        folder.mkdir(exist_ok=True)
        (folder / "torrc").write_text(_OF_ALL.format(name=name, address=ADDRESS[name]) + role + known)
    page = "through three relays\n" * 1000
    for name in ("web", "service"):
        folder = template / "hosts" / name
        folder.mkdir(exist_ok=True)
        (folder / "page").write_text(page)
    relay = process(tor, "-f", "torrc", start_time="1 s", **RUNNING)
    by_tor = f"{curl} -sS -m 30 --socks5-hostname 127.0.0.1:9050"
    fetch = f"{by_tor} http://web/page; {by_tor} http://$({curl} -s http://service/onion/hostname)/page"
    server = process("python3", "-u", "-m", "http.server", "80", **RUNNING)
    fetching = shell(fetch, start_time="80 s")
    processes = {name: [relay] for name in roles} | {"web": [server]}
    processes["client"].append(fetching)
    processes["service"].append(server)
    run = laboratory.run_twice(
        experiment(
            {name: host(*started, ip_addr=ADDRESS[name]) for name, started in processes.items()},
            network=network(latency="20 ms"),
            stop_time="100 s",
            template_directory=str(template),
        )
    )
    assert run.stdout("client", "bash") == 2 * page
    # The web server saw an exit, not the client; who asked the service came by way of its own tor.
    asked_web = {line.split()[0] for line in run.stderr("web").splitlines() if "/page" in line}
    assert asked_web
    assert asked_web <= {ADDRESS["exit1"], ADDRESS["exit2"]}
    assert "127.0.0.1 - - " in run.stderr("service", "python3")
    assert run.statistics["hot"]["unsupported_calls"] == 0
