"""Records the digests of the baselines anew: ``python -m tests.distributed.record_digests``.

To be run when a change is meant to change what the baselines show, and reviewed like the change itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.distributed.shards import BASELINES, DIGESTS, recorded
from tests.system.experiment import Laboratory


def main() -> None:
    """Run every baseline on one shard, and write the file of digests."""
    with TemporaryDirectory() as folder:
        laboratory = Laboratory(Path(folder))
        digests = {
            path.stem: recorded(laboratory.run(path, name=path.stem, fresh=True))
            for path in sorted(BASELINES.glob("*.yaml"))
        }
    DIGESTS.write_text(json.dumps(digests, indent=2) + "\n")


if __name__ == "__main__":
    main()
