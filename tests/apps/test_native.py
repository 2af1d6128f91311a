"""The test programs as native programs: what they print here is what they have to print in the simulator."""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
TIMEOUT_S = 30


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with every program of this folder, compiled."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    folder = tmp_path_factory.mktemp("apps")
    for source in sorted(FOLDER.glob("*.c")):
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
        subprocess.run([compiler, *flags, str(source), "-o", str(folder / source.stem)], check=True, timeout=120)
    return folder


def run(programs: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [programs / command[0], *command[1:]],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=programs,
    )


@pytest.mark.parametrize(
    ("command", "last_line"),
    [
        ("threads", "timed wait ok"),
        ("forker", "no children left"),
        ("timers", "select, poll and epoll ok"),
        ("signals", "signals to threads ok"),
        ("unixpair", "descriptors ok"),
        ("spinner 1000000", "spun 1000000"),
    ],
)
def test_a_program_succeeds_and_says_the_same_twice(programs: Path, command: str, last_line: str) -> None:
    first, second = run(programs, *command.split()), run(programs, *command.split())
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == last_line
    assert (first.stdout, first.stderr) == (second.stdout, "")


@pytest.mark.parametrize(
    "command",
    [
        "sleeper 0.05",
        "sleeper 0.05 monotonic",
        "sleeper 0.05 realtime",
        "time_spinner",
        "time_spinner rdtsc 100000",
        "time_spinner poll",
        "time_spinner child",
        "time_spinner ticks",
    ],
)
def test_a_program_sees_time_pass(programs: Path, command: str) -> None:
    result = run(programs, *command.split())
    assert result.returncode == 0, result.stderr


def test_two_native_runs_differ_in_what_they_can_tell_apart(programs: Path) -> None:
    first, second = (
        dict(line.split(" ", 1) for line in run(programs, "randomness").stdout.splitlines()) for _ in range(2)
    )
    assert first.keys() == second.keys()
    for name in ("getrandom", "/dev/urandom", "AT_RANDOM", "rdtsc", "pid", "realtime_ns", "temporary_file"):
        assert first[name] != second[name]


@pytest.mark.parametrize(
    ("how", "ending"),
    [
        ("abort", -signal.SIGABRT),
        ("segv", -signal.SIGSEGV),
        ("fpe", -signal.SIGFPE),
        ("ill", -signal.SIGILL),
        ("kill", -signal.SIGKILL),
        ("term", -signal.SIGTERM),
        ("exit 9", 9),
        ("nonsense", 2),
    ],
)
def test_crash_ends_as_it_was_told(programs: Path, how: str, ending: int) -> None:
    assert run(programs, "crash", *how.split()).returncode == ending


def free_port(kind: socket.SocketKind) -> str:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def start_server(programs: Path, port: str, table: str, *command: str) -> subprocess.Popen[str]:
    """Start a server and return when the kernel's table of sockets shows its port."""
    server = subprocess.Popen([programs / command[0], *command[1:]], stdout=subprocess.PIPE, text=True)
    entry = f":{int(port):04X} 00000000:0000 " + ("0A" if table == "tcp" else "07")
    deadline = time.monotonic() + TIMEOUT_S
    while entry not in Path(f"/proc/net/{table}").read_text():
        assert time.monotonic() < deadline, "the server does not listen"
        time.sleep(0.01)
    return server


def finish(server: subprocess.Popen[str]) -> str:
    try:
        output, _ = server.communicate(timeout=TIMEOUT_S)
    finally:
        server.kill()
        server.wait()
    assert server.returncode == 0
    return output


def test_udp_echoes_come_back_whole(programs: Path) -> None:
    port = free_port(socket.SOCK_DGRAM)
    server = start_server(programs, port, "udp", "udp_echo_server", port, "30")
    client = run(programs, "udp_client", "localhost", port, "30", "60000")
    assert client.returncode == 0, client.stderr
    assert client.stdout.splitlines()[-1] == "ok 30 datagrams, 0 sent again"
    assert finish(server).startswith("echoed 30 datagrams")


@pytest.mark.parametrize("server_options", [[], ["--epoll", "--chunk", "777"]])
@pytest.mark.parametrize("client_options", [[], ["--epoll", "--chunk", "100"]])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_tcp_transfers_are_whole(
    programs: Path, server_options: list[str], client_options: list[str], direction: str
) -> None:
    port = free_port(socket.SOCK_STREAM)
    server = start_server(programs, port, "tcp", "tcp_server", port, *server_options)
    client = run(programs, "tcp_client", "127.0.0.1", port, direction, "1000003", *client_options)
    assert client.returncode == 0, client.stderr
    assert client.stdout.startswith(f"{direction} bytes 1000003 ok 1 ")
    assert finish(server) == f"served {direction} 1000003 bytes ok\n"
