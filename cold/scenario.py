"""What a tail is, as all that stands for its identities, or a part of them, is told."""

from __future__ import annotations

from typing import NamedTuple

from bridge.directory import HostDirectory
from cold.section import ColdSection


class Scenario(NamedTuple):
    """The tail of an experiment: what is the same on all shards, whatever they are to execute of it.

    Attributes
    ----------
    section
        The configuration's `cold` section.
    directory
        Every host of the experiment.
    seed
        Seed of the run.
    stop_time_ns
        Nothing is published or submitted at this time or later [ns].
    """

    section: ColdSection
    directory: HostDirectory
    seed: int
    stop_time_ns: int
