"""Programs that make terminals and programs that want one: the same bytes and calls in every run."""

from __future__ import annotations

import pytest

from tests.system.experiment import Laboratory, Programs, experiment, host, python, shell

_DRIVE = r"""
import os, pty, select, sys, termios, time
script = sys.argv[1].encode().decode("unicode_escape").encode("latin-1").split(b"|")
child, master = pty.fork()
if child == 0:
    os.environ.update(PS1="$ ", TERM="dumb", HISTFILE="/dev/null", ENV="")
    os.execvp(sys.argv[2], sys.argv[2:])
def hear(seconds):
    while select.select([master], [], [], seconds)[0]:
        try:
            got = os.read(master, 4096)
        except OSError:
            return
        if not got:
            return
        sys.stdout.buffer.write(got)
        sys.stdout.flush()
hear(0.5)
for part in script:
    os.write(master, part)
    hear(1.5)
os.close(master)
print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def drive(keys: str, *command: str) -> dict[str, object]:
    """Run a command in a terminal and type keys, parted by |, with pauses."""
    return python(_DRIVE, keys, *command)


def twice(laboratory: Laboratory, process: dict[str, object]) -> str:
    """What a process prints, in two runs that make the same calls."""
    configuration = experiment({"only": host(process)}, experimental={"strace_logging_mode": "deterministic"})
    first, second = (laboratory.run(configuration, name=name) for name in ("first", "second"))
    assert first.manifest["digests"] == second.manifest["digests"], first.story()
    assert not first.statistics["hot"]["unsupported_calls"]
    return first.stdout("only")


def test_an_interactive_bash_controls_its_jobs(laboratory: Laboratory) -> None:
    keys = r"tty; stty size\n|sleep 100\n|\x1a|jobs\n|fg\n|\x03|echo code $?\n|cat\n|typed\x7fd\n|\x04|exit 3\n"
    output = twice(laboratory, drive(keys, "bash", "--norc", "--noprofile", "--noediting", "-i"))
    assert "/dev/pts/0\n0 0\n" in output
    assert "no job control" not in output
    assert "Stopped                 sleep 100" in output
    assert "^C" in output
    assert "code 130" in output
    assert "typed\b \bd\ntyped\n" in output
    assert output.endswith("status 3\n")


def test_a_shell_whose_terminal_is_closed_is_hung_up(laboratory: Laboratory) -> None:
    output = twice(laboratory, drive(r"sleep 1000\n", "bash", "--norc", "--noprofile", "--noediting", "-i"))
    assert output.endswith("status -1\n")


def test_script_records_a_session(laboratory: Laboratory, program: Programs) -> None:
    command = f"{program('script')} -q -e -c 'tty; stty -a | head -1; test -t 0 && exit 5' record; echo code $?"
    output = twice(laboratory, shell(f"{command}; tr -d '\\r' < record | grep -c pts"))
    assert "/dev/pts/0\nspeed 38400 baud;" in output
    assert output.endswith("code 5\n1\n")


def test_tmux_shows_what_a_shell_prints(laboratory: Laboratory, program: Programs) -> None:
    tmux = f"TERM=xterm {program('tmux')} -f /dev/null -S $PWD/socket"
    script = (
        f"export LC_ALL=C.UTF-8; {tmux} new-session -d -x 60 -y 5 'sh -i'; sleep 1;"
        f" {tmux} send-keys 'tty; stty size' Enter; sleep 1; {tmux} capture-pane -p; {tmux} kill-server"
    )
    output = twice(laboratory, shell(script))
    assert "/dev/pts/0\n4 60\n" in output or "/dev/pts/0\n5 60\n" in output


@pytest.mark.parametrize("rows", [24, 50])
def test_a_new_size_reaches_the_foreground(laboratory: Laboratory, rows: int) -> None:
    code = f"""
import fcntl, os, pty, signal, struct, termios, time
child, master = pty.fork()
if child == 0:
    def tell(*_):
        print(os.get_terminal_size(), flush=True)
    signal.signal(signal.SIGWINCH, tell)
    print("ready", flush=True)
    signal.pause()
    os._exit(0)
print(os.read(master, 100))
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", {rows}, 80, 0, 0))
print(os.read(master, 100))
os.waitpid(child, 0)
"""
    output = twice(laboratory, python(code))
    assert f"os.terminal_size(columns=80, lines={rows})" in output
