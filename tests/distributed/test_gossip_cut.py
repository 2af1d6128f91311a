"""A gossip run whose cross-shard cut is chosen by its partition file: the same bytes at any cut, on any bus, again."""

from __future__ import annotations

import pytest

from tests.distributed.shards import differences, results, run_mpi, window_totals, with_experimental
from tests.system.experiment import ROOT, Laboratory, Run

FILE = ROOT / "configs" / "examples" / "gossip-cut.yaml"
CUTS = (0, 50, 100)


def options(shards: int, cut: int) -> tuple[str, ...]:
    path = FILE.with_suffix("") / f"{shards}-shards-{cut}.json"
    return ("--shards", str(shards), "--partition-file", str(path))


def cut_share(run: Run) -> float:
    """Return the share of the packets between hosts that crossed, in per cent."""
    crossed, sent = sum(map(sum, run.statistics["cut"]["events"])), run.statistics["hot"]["packets_sent"]
    return 100 * float(crossed) / float(sent)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run on one shard."""
    run = Laboratory(tmp_path_factory.mktemp("alone")).run(FILE, name="alone")
    assert run.statistics["hot"]["packets_sent"] > 2000
    return run


@pytest.mark.parametrize("cut", CUTS)
def test_a_gossip_run_is_the_same_whatever_share_of_it_crosses(laboratory: Laboratory, alone: Run, cut: int) -> None:
    for shards, label in ((2, "two"), (2, "two-again"), (4, "four")):
        run = laboratory.run(FILE, *options(shards, cut), name=label)
        assert not differences(alone, run)
        assert cut_share(run) == pytest.approx(cut, abs=2)


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "cut"), [(2, 50), (4, 100)])
def test_a_gossip_run_is_the_same_under_mpi(laboratory: Laboratory, alone: Run, ranks: int, cut: int) -> None:
    run = run_mpi(laboratory, ranks, FILE, *options(ranks, cut), name="ranks")
    assert not differences(alone, run)
    assert cut_share(run) == pytest.approx(cut, abs=2)


@pytest.mark.parametrize("cut", [0, 100])
def test_windows_follow_the_cut_and_results_do_not(laboratory: Laboratory, alone: Run, cut: int) -> None:
    file = with_experimental(laboratory, FILE, "partition", lookahead="partition")
    run = laboratory.run(file, *options(2, cut), name="run")
    assert not differences(alone, run, windows=False)
    assert window_totals(alone) == window_totals(run)
    windows = results(run)["windows"] / results(alone)["windows"]
    # Circles that stay together are 60 ms from each other, and 2 ms wide; torn apart they need windows of 2 ms.
    assert windows < 0.5 if cut == 0 else windows == 1
