"""The simulator's TCP takes as long as Linux's for the same transfers over the same network.

A few cells of the grid of `tests.fidelity.report`, without random loss: there, one schedule more or less of the
processor on the machine that runs the tests can lose another packet. The bounds leave room for a busy machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fidelity.grid import NotPossibleError, build_relay, cells, run_in_simulator, run_on_linux
from tests.fidelity.report import STOP_TIME_S, build_programs, compare, draw, median_error
from tests.system.experiment import Laboratory


def test_transfers_take_as_long_as_on_linux(tmp_path: Path) -> None:
    apps, relay = build_programs(tmp_path), build_relay(tmp_path)
    grid = cells((20, 160), (5_000_000, 50_000_000), (0.0,), (30_000, 1_000_000), 1)
    try:
        linux_s = run_on_linux(grid, relay, apps, at_once=4)
    except NotPossibleError as error:
        pytest.skip(f"no network namespaces with TUN devices here: {error}")
    comparisons = compare(grid, linux_s, run_in_simulator(grid, Laboratory(tmp_path), apps, STOP_TIME_S))
    assert median_error(comparisons) < 0.1, comparisons
    draw(comparisons, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_loss_schedules_are_the_same(tmp_path: Path) -> None:
    """With 35 % loss and one segment of data, the schedule alone decides when the data gets through."""
    apps, relay = build_programs(tmp_path), build_relay(tmp_path)
    grid = cells((20,), (50_000_000,), (0.35,), (1000,), 6)
    try:
        linux_s = run_on_linux(grid, relay, apps, at_once=6)
    except NotPossibleError as error:
        pytest.skip(f"no network namespaces with TUN devices here: {error}")
    simulator_s = run_in_simulator(grid, Laboratory(tmp_path), apps, STOP_TIME_S)
    # How many time-outs there were shows: the third takes four seconds. Linux's long timers are coarse.
    assert linux_s == pytest.approx(simulator_s, rel=0.13, abs=0.5)
    assert max(simulator_s) > 3
