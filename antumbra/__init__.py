"""Antumbra: network experiments with real programs in virtual time, and a computed tail of a million peers.

    import antumbra

    configuration = antumbra.load_configuration("experiment.yaml", seed=7)
    result = antumbra.run(configuration, "results/seed-7")
    print(result.exit_code, result.statistics["wall_seconds_per_simulated_minute"])

This room is the face: the command line, the configuration as a whole, the assembly of a shard from its
participants, and the report. Every other room may be imported from here; nothing imports this one.
"""

from typing import TYPE_CHECKING

from antumbra.configuration import Configuration, load_configuration
from antumbra.plan import Plan, make_plan
from antumbra.problems import ConfigurationError, Problem

if TYPE_CHECKING:
    from antumbra.assembly import RunResult, run

__all__ = [
    "Configuration",
    "ConfigurationError",
    "Plan",
    "Problem",
    "RunResult",
    "load_configuration",
    "make_plan",
    "run",
]


def __getattr__(name: str) -> object:
    """Import what runs experiments, numba and pyarrow among it, only for those who run one."""
    if name in ("RunResult", "run"):
        from antumbra import assembly

        return getattr(assembly, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
