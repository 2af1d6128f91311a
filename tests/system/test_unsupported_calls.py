"""A system call that the simulated kernel lacks is refused, told once with its caller, and counted."""

from __future__ import annotations

import re

from tests.system.experiment import Laboratory, experiment, host, python

# 246: kexec_load. Nobody will ever need it inside a simulation.
CALL = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
for _ in range(3):
    print(libc.syscall(246, 1, 2, 3, 4), errno.errorcode[ctypes.get_errno()])
"""


def test_an_unsupported_call_is_told_once_with_its_caller_and_counted(laboratory: Laboratory) -> None:
    hosts = {"first": host(python(CALL)), "second": host(python("print('nothing unusual')"))}
    run = laboratory.run(experiment(hosts))
    assert run.stdout("first") == "-1 ENOSYS\n" * 3
    (warning,) = [line for line in run.errors.splitlines() if "unsupported system call" in line]
    assert re.search(r"first: .*246 \(0x1, 0x2, 0x3, 0x4, .*ENOSYS", warning)
    assert re.search(r"pid 1000 tid 1000 at libc\S*\+0x[0-9a-f]+", warning)
    assert run.statistics["hot"]["unsupported_calls"] == 3
