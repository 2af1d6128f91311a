"""Studies: which runs they ask for, which they do not ask for again, and what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

from bridge.errors import ExperimentFailed, UserError
from bridge.rundir import RunDirectory
from calibration import Study, Verdict, load_study, run_study
from calibration.study import code_digest, simulator_digest

STUDY = """
reference: direct.yaml
hybrid: hybrid.yaml
inputs: ["graphs/*.gml"]
seeds: [1, 2]
held_out_seeds: [3, 4]
observables: [delivery_delay]
resamples: 200
"""


class Experiments:
    """Stands in for the simulator: a configuration says how much slower than another it is."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.status = "complete"

    def run(self, configuration: Path, seed: int, directory: Path) -> None:
        self.asked.append((configuration.name, seed))
        stretch = json.loads(configuration.read_text())["stretch"]
        generator = np.random.default_rng([seed, len(configuration.name)])
        with RunDirectory(directory) as run:
            run.describe({}, seed=seed)
            lines = ['{"event":"start","time_ns":0,"topics":[1]}']
            for message in range(200):
                delay_ns = int(stretch * 1e8 * generator.uniform(0.95, 1.05))
                lines.append(
                    f'{{"event":"deliver","time_ns":{delay_ns},"topic":1,"id":"{message}","hops":1,'
                    f'"delay_ns":{delay_ns},"ok":true}}'
                )
            (run.host_directory("peer") / "gossip-node.1000.stdout").write_text("\n".join(lines) + "\n")
            run.finish(self.status)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    (folder / "graphs").mkdir(parents=True)
    (folder / "graphs" / "world.gml").write_text("graph []")
    (folder / "direct.yaml").write_text('{"stretch": 1}')
    (folder / "hybrid.yaml").write_text('{"stretch": 1.01}')
    (folder / "study.yaml").write_text(STUDY)
    return folder


def run(folder: Path, experiments: Experiments, simulator: str = "v1") -> Verdict:
    study = load_study(folder / "study.yaml")
    return run_study(study, experiments.run, folder / "results", folder=folder, simulator=simulator).verdict


def test_a_study_compares_held_out_seeds_with_the_reference(folder: Path) -> None:
    experiments = Experiments()
    verdict = run(folder, experiments)
    assert experiments.asked == [(f"{name}.yaml", seed) for name, seed in _runs()]
    content = json.loads((folder / "results" / "comparison.json").read_text())
    assert content["verdict"] == str(verdict)
    seeds = {role: [made["seed"] for made in runs] for role, runs in content["runs"].items()}
    assert seeds == {"reference": [1, 2], "candidate": [3, 4], "noise": [3, 4]}


def _runs() -> list[tuple[str, int]]:
    return [("direct", 1), ("direct", 2), ("hybrid", 3), ("hybrid", 4), ("direct", 3), ("direct", 4)]


def test_a_surrogate_that_is_wrong_is_found(folder: Path) -> None:
    (folder / "hybrid.yaml").write_text('{"stretch": 1.2}')
    assert run(folder, Experiments()) is Verdict.OUTSIDE


def test_runs_are_made_once_and_again_only_where_something_changed(folder: Path) -> None:
    experiments = Experiments()
    run(folder, experiments)
    first = (folder / "results" / "comparison.json").read_bytes()
    experiments.asked.clear()
    run(folder, experiments)
    assert experiments.asked == []
    assert (folder / "results" / "comparison.json").read_bytes() == first

    (folder / "hybrid.yaml").write_text('{"stretch": 1.02}')
    run(folder, experiments)
    assert experiments.asked == [("hybrid.yaml", 3), ("hybrid.yaml", 4)]

    for change in (
        lambda: run(folder, experiments, simulator="v2"),
        lambda: ((folder / "graphs" / "world.gml").write_text("graph [ ]"), run(folder, experiments)),
    ):
        experiments.asked.clear()
        change()
        assert len(experiments.asked) == 6


def test_a_run_that_was_cut_short_is_made_again(folder: Path) -> None:
    experiments = Experiments()
    run(folder, experiments)
    experiments.asked.clear()
    (cut,) = (folder / "results" / "runs").glob("hybrid-3-*")
    manifest = json.loads((cut / "manifest.json").read_text())
    (cut / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    run(folder, experiments)
    assert experiments.asked == [("hybrid.yaml", 3)]


def test_a_run_that_fails_ends_the_study(folder: Path) -> None:
    experiments = Experiments()
    experiments.status = "failed"
    with pytest.raises(ExperimentFailed, match=r"direct\.yaml with seed 1 did not end as it should"):
        run(folder, experiments)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: [1, 2]", "seeds: [1, 3]", "seed 3 is listed twice"),
        ("seeds: [1, 2]", "seeds: []", r"seeds: .*at least 1"),
        ("[delivery_delay]", "[delay]", "no observable 'delay'; there are delivery_delay"),
        ("hybrid:", "hybird:", "hybird: "),
        ("resamples: 200", "resamples: many", "resamples: "),
        ("seeds: [1, 2]", "seeds: [1, 2", "not YAML"),
        ("graphs/*.gml", "maps/*.gml", "no file matches 'maps/"),
        ("direct.yaml", "nowhere.yaml", r"nowhere\.yaml: the file cannot be read"),
    ],
)
def test_mistakes_in_a_study_are_told(folder: Path, old: str, new: str, message: str) -> None:
    (folder / "study.yaml").write_text(STUDY.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        run(folder, Experiments())


def test_a_study_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"study\.yaml: the study cannot be read: No such file"):
        load_study(tmp_path / "study.yaml")


def test_a_study_compares_everything_unless_told_otherwise() -> None:
    study = Study(reference="a", hybrid="b", seeds=[1], held_out_seeds=[2])
    assert {"delivery_delay", "duplicates", "control", "coverage"} <= set(study.observables)
    assert study.tolerance == 0.05


def test_the_digest_of_code_changes_with_the_code_and_with_nothing_else(tmp_path: Path) -> None:
    room = tmp_path / "cold"
    (room / "bin").mkdir(parents=True)
    (room / "engine.py").write_text("speed = 1")
    found = [code_digest({"cold": room})]
    (room / "notes.txt").write_text("it could be faster")
    assert code_digest({"cold": room}) == found[0]
    for name, text in (("engine.py", "speed = 2"), ("kernel.c", "int x;"), ("bin/program", "\x7fELF")):
        (room / name).write_text(text)
        found.append(code_digest({"cold": room}))
    assert len(set(found)) == 4


def test_the_simulators_digest_covers_every_room() -> None:
    root = Path(__file__).parents[2]
    rooms = {room: root / room for room in ("antumbra", "bridge", "cold", "hot", "shim")}
    assert simulator_digest() == code_digest(rooms)
