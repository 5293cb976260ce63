"""Do two devices, or two versions of the code, compute the same? Runs of the same cells, held against each other.

Training amplifies how a device rounds, so seeds of sampled training agree one by one only where it converges. What has
to agree is the exact value of a given profile, and what the seeds of a training are drawn from.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy

from sbmrl.core.experiment import from_dict
from sbmrl.errors import InputError
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.sweep import execute
from sbmrl.sweep.load import LoadedRun
from sbmrl.sweep.plan import CellPlan, Plan
from sbmrl.sweep.run import run_plan

METRICS = ("exact_return", "model_return", "fit", "follower_gap_true", "follower_gap_random")
_DRAWN = ("follower_gap_random",)  # by the random leaders of an evaluation, so of its seed
FORMULATIONS = ("pal", "mal", "mal_agent_reward", "mal_random_noise")  # the poster's four
_EXACT = "-exact"  # what the cells end in whose training draws no samples
LEVEL = 0.01  # of a wrong alarm in one whole comparison
TOLERANCE = 1e-4  # of an exact value, relative where it is above 1


class Samples(NamedTuple):
    """A metric of a cell in two runs, as samples of the same distribution.

    Attributes:
        cell: its name.
        metric: its name.
        first: the first run's mean over seeds.
        second: the other's.
        probability: p-value of the two-sided Kolmogorov–Smirnov test, asymptotic because returns tie; 1 where the
            sorted samples are the same within `TOLERANCE`, which a test of ties would take for two points apart.
    """

    cell: str
    metric: str
    first: float
    second: float
    probability: float


class Difference(NamedTuple):
    """A metric of a cell, number by number.

    Attributes:
        cell: its name.
        metric: its name.
        largest: difference, relative to the value where that is above 1.
        within: share of the seeds whose difference is within `TOLERANCE`.
    """

    cell: str
    metric: str
    largest: float
    within: float


def correctness_plan(num_seeds: int) -> Plan:
    """What is trained on both devices: preset fast, the poster's formulations contextual, and both leaders exactly."""
    exact = [CellPlan(f"{name}{_EXACT}", preset("fast", name, "exact"), ()) for name in FORMULATIONS[:2]]
    return Plan((*exact, *(CellPlan(name, preset("fast", name, "contextual"), ()) for name in FORMULATIONS)), num_seeds)


def compare_samples(first: LoadedRun, second: LoadedRun) -> list[Samples]:
    """Every metric of every cell as samples.

    Raises:
        InputError: a cell is in one of them only.
    """
    found = []
    for name in first.cells:
        if name not in second.cells:
            raise InputError(f"runs: {name} is in one of them only")
        samples = [run.cells[name].results() for run in (first, second)]
        for metric in METRICS:
            if all(metric in sample.columns for sample in samples):
                ours, theirs = (sample[metric].drop_nulls().to_numpy() for sample in samples)
                probability = _probability(np.sort(ours), np.sort(theirs))
                found.append(Samples(name, metric, float(ours.mean()), float(theirs.mean()), float(probability)))
    return found


def _probability(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The p-value of two sorted samples."""
    if len(ours) == len(theirs) and (_relative(ours, theirs) <= TOLERANCE).all():
        return 1.0
    return scipy.stats.ks_2samp(ours, theirs, method="asymp").pvalue


def alike(rows: list[Samples]) -> bool:
    """No p-value is below `LEVEL` divided by the number of tests (Bonferroni)."""
    return all(row.probability >= LEVEL / len(rows) for row in rows)


def compare_values(run: LoadedRun) -> list[Difference]:
    """The exact values that a run has stored against those of the same profiles, computed here."""
    found = []
    for cell in run.cells.values():
        stored, again = cell.results(), cell.evaluate(cell.experiment.num_eval_episodes, seed=1)
        for metric in METRICS:
            if metric in stored.columns and metric in again and metric not in _DRAWN:
                found.append(_difference(cell.name, metric, stored[metric].to_numpy(), again[metric]))
    return found


def compare_seeds(first: LoadedRun, second: LoadedRun) -> list[Difference]:
    """Both runs seed by seed, in the cells whose training draws no samples."""
    found = []
    for name in (name for name in first.cells if name.endswith(_EXACT)):
        one, other = (run.cells[name].results() for run in (first, second))
        for metric in METRICS:
            if metric in one.columns and metric in other.columns:
                found.append(_difference(name, metric, one[metric].to_numpy(), other[metric].to_numpy()))
    return found


def _difference(cell: str, metric: str, one: np.ndarray, other: np.ndarray) -> Difference:
    difference = _relative(one, other)
    return Difference(cell, metric, float(difference.max()), float((difference <= TOLERANCE).mean()))


def _relative(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """|one − other|, relative to |one| where that is above 1."""
    one, other = np.asarray(one, float), np.asarray(other, float)
    return np.abs(one - other) / np.maximum(np.abs(one), 1.0)


def run_here(plan: Plan, out: Path) -> None:
    """Train a plan on this process' devices."""
    execute.prepare_devices()
    run_plan(plan, out)


def read_plan(text: str) -> Plan:
    """The inverse of `Plan.to_dict` for a plan without axes, as JSON."""
    plan = json.loads(text)
    cells = (CellPlan(cell["name"], check(from_dict(cell["experiment"])), ()) for cell in plan["cells"])
    return Plan(tuple(cells), plan["num_seeds"], plan["seed"], plan["chunk_size"])


if __name__ == "__main__":  # in a process of its own, whose environment chooses the devices: the plan by standard input
    run_here(read_plan(sys.stdin.read()), Path(sys.argv[1]))
