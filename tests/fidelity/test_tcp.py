"""The simulator's TCP takes as long as Linux's for the same transfers over the same network.

A few cells of the grid of `tests.fidelity.report`, without random loss: there, one schedule more or less of the
processor on the machine that runs the tests can lose another packet. The bounds leave room for a busy machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fidelity.grid import NotPossibleError, build_relay, cells, run_in_simulator, run_on_linux
from tests.fidelity.report import STOP_TIME_S, TRANSFER_PROGRAMS, compare, draw, median_error
from tests.system.experiment import Laboratory, build_apps


def test_transfers_take_as_long_as_on_linux(tmp_path: Path) -> None:
    apps, relay = build_apps(tmp_path, TRANSFER_PROGRAMS), build_relay(tmp_path)
    grid = cells((20, 160), (5_000_000, 50_000_000), (0.0,), (30_000, 1_000_000), 1)
    try:
        on_linux = run_on_linux(grid, relay, apps, at_once=4)
    except NotPossibleError as error:
        pytest.skip(f"no network namespaces with TUN devices here: {error}")
    comparisons = compare(grid, on_linux, run_in_simulator(grid, Laboratory(tmp_path), apps, STOP_TIME_S))
    assert median_error(comparisons) < 0.1, comparisons
    draw(comparisons, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_loss_schedules_are_the_same(tmp_path: Path) -> None:
    """Until a connection stands, both send the same packets, and which of them are lost decides how long it takes."""
    apps, relay = build_apps(tmp_path, TRANSFER_PROGRAMS), build_relay(tmp_path)
    grid = cells((20,), (50_000_000,), (0.35,), (1000,), 12)
    try:
        on_linux = run_on_linux(grid, relay, apps, at_once=6)
    except NotPossibleError as error:
        pytest.skip(f"no network namespaces with TUN devices here: {error}")
    simulated = run_in_simulator(grid, Laboratory(tmp_path), apps, STOP_TIME_S)
    # The first SYN waits a second for its answer, the next twice as long. Linux's long timers are coarse, and client
    # and server repeat themselves at the same moments: who is first is chance where time is real.
    agreed = [
        linux.connected == pytest.approx(simulator.connected, rel=0.13, abs=0.3)
        for linux, simulator in zip(on_linux, simulated, strict=True)
    ]
    assert agreed.count(True) >= 9, (on_linux, simulated)
    assert len({round(times.connected) for times in simulated}) > 2
