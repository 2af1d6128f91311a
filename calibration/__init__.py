"""How wrong the surrogates are, and how sure we are of that.

Here live the observables of a run, distances between samples with their confidence intervals, the comparison of runs
beside the noise floor, and studies that make the runs they compare.

This room imports ``bridge`` and is imported by ``antumbra``. It reads finished runs from their directories and nothing
else: it knows neither engine, and is handed the function that runs an experiment.
"""

from calibration.compare import Comparison, Row, Verdict, compare, compare_command
from calibration.distances import DISTANCES, Estimate, Sample, distances, pool
from calibration.observables import OBSERVABLES, Observable, RunRecords, read_run
from calibration.study import Study, load_study, run_study

__all__ = [
    "DISTANCES",
    "OBSERVABLES",
    "Comparison",
    "Estimate",
    "Observable",
    "Row",
    "RunRecords",
    "Sample",
    "Study",
    "Verdict",
    "compare",
    "compare_command",
    "distances",
    "load_study",
    "pool",
    "read_run",
    "run_study",
]
