"""A host whose memory its own process damages is given up alike on any number of shards."""

from __future__ import annotations

import json
from pathlib import Path

from tests.distributed.shards import differences
from tests.system.experiment import Laboratory, build_apps
from tests.system.test_hostile_programs import attack, with_bystanders

HOSTS = 6


def test_hosts_that_are_given_up_leave_the_same_results_on_any_number_of_shards(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    apps = build_apps(tmp_path, "[uh]*")
    configuration = with_bystanders(apps, {str(seed): attack(apps, "wipe", str(seed)) for seed in range(HOSTS)})
    # Where a host's memory lies depends on the shard, and who looks for it tells strace what was found.
    configuration["experimental"]["strace_logging_mode"] = "off"
    names = sorted(configuration["hosts"])
    divided = laboratory.folder / "divided.json"
    content = {"format": "antumbra-partition", "version": 2, "shards": 2, "populations": {}, "identities": [0, 0, 0]}
    divided.write_text(json.dumps(content | {"hosts": {name: number % 2 for number, name in enumerate(names)}}))
    options = {"one": (), "two": ("--shards", "2", "--partition-file", str(divided))}
    runs = [laboratory.run(configuration, *more, name=name, expect=None) for name, more in options.items()]
    for run in runs:
        # Not why: which of the checks finds the damage first is not the same on every partition.
        told = [line.split(":")[1].split()[-1] for line in run.errors.splitlines() if "the host is given up" in line]
        assert sorted(told) == [f"zz-{number}" for number in range(HOSTS)], run.story()
    assert not differences(*runs)
    assert runs[0].endings()["client"] == "{exited: 0}"
    assert sum(map(sum, runs[1].statistics["cut"]["events"])) > 0
