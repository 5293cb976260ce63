"""Both theorems on many random instances: violations, and how tight the bounds are. Host side.

A violation is a regret above the right-hand side by more than rounding: a relative 1e-9 and an absolute 1e-10.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from sbmrl.core.devices import make_mesh, map_over_devices
from sbmrl.games.tabular.theory.instances import FAMILIES, Draws
from sbmrl.games.tabular.theory.judge import THEOREMS, Instance, Verdict, judge

SHAPES = ((3, 2), (5, 3), (8, 2))  # (S, A)
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-9, 1e-10
QUANTILES = (0.5, 0.9, 0.99, 0.999)
NUM_BINS = 10_000
_BATCH = 4_096  # always, so that a program is compiled once for any number of instances
_CPU_OPTIONS = {"xla_backend_optimization_level": 1}  # most of the time is spent in LAPACK


class Tally:
    """Counts of one theorem over all instances seen so far.

    Attributes:
        violations: instances whose regret is above the right-hand side.
        tightness: histogram of regret / right-hand side over [0, 1], `[NUM_BINS]`.
        rest: histogram of (regret − ε_π) / (right-hand side − ε_π): the part that ε_π does not already explain.
        largest: the largest of both.
    """

    def __init__(self) -> None:
        self.violations = 0
        self.tightness = np.zeros(NUM_BINS, np.int64)
        self.rest = np.zeros(NUM_BINS, np.int64)
        self.largest = {"tightness": 0.0, "rest": 0.0}

    def add(self, regret: np.ndarray, bound: np.ndarray, epsilon: np.ndarray) -> int:
        """Count a batch `[N]`; returns its violations."""
        violations = int(np.sum(~(regret <= bound * (1.0 + RELATIVE_TOLERANCE) + ABSOLUTE_TOLERANCE)))
        self.violations += violations
        # Where nothing is at stake but rounding, neither share means anything.
        self._count("tightness", _share(regret, bound))
        self._count("rest", _share(regret - epsilon, bound - epsilon))
        return violations

    def _count(self, name: str, share: np.ndarray) -> None:
        bins = np.minimum((share * NUM_BINS).astype(np.int64), NUM_BINS - 1)
        getattr(self, name).__iadd__(np.bincount(bins, minlength=NUM_BINS))
        self.largest[name] = max(self.largest[name], float(share.max(initial=0.0)))

    def quantiles(self, name: str) -> dict[str, float]:
        """Quantiles of "tightness" or "rest", exact to one bin (1e-4), and the largest value."""
        shares = np.cumsum(getattr(self, name)) / max(getattr(self, name).sum(), 1)
        found = {f"{q:g}": float((np.searchsorted(shares, q) + 1) / NUM_BINS) for q in QUANTILES}
        return found | {"max": self.largest[name]}


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    meaningful = whole > 1e-7
    share = np.where(meaningful, part / np.where(meaningful, whole, 1.0), 0.0)
    return np.clip(np.nan_to_num(share), 0.0, 1.0)


class Survey(NamedTuple):
    """The result of `check_theorems`.

    Attributes:
        num_instances: how many instances were judged.
        seconds: wall-clock of all of it, compilation included.
        tallies: theorem -> tally over all families.
        violations: family -> theorem -> violations.
        printed_violations: family -> instances above theorem 2's right-hand side with the poster's constant.
    """

    num_instances: int
    seconds: float
    tallies: dict[str, Tally]
    violations: dict[str, dict[str, int]]
    printed_violations: dict[str, int]


def check_theorems(
    num_instances: int, seed: int = 0, report: Callable[[int], None] = lambda num_judged: None
) -> Survey:
    """Judge exactly `num_instances` instances, spread evenly over the families and `SHAPES`.

    Runs in float64 whatever the global setting, on all local devices; `report` is told the number judged so far.
    """
    start = time.perf_counter()
    tallies = {theorem: Tally() for theorem in THEOREMS}
    violations = {family: dict.fromkeys(THEOREMS, 0) for family in FAMILIES}
    printed = dict.fromkeys(FAMILIES, 0)
    judged = 0
    with jax.enable_x64(True):
        for family, batch in _batches(num_instances, jax.random.key(seed)):
            for theorem, tally in tallies.items():
                bound, epsilon = getattr(batch, theorem), getattr(batch, THEOREMS[theorem])
                violations[family][theorem] += tally.add(np.asarray(batch.regret), bound, epsilon)
            limit = batch.theorem_2_printed * (1.0 + RELATIVE_TOLERANCE) + ABSOLUTE_TOLERANCE
            printed[family] += int(np.sum(batch.regret > limit))
            judged += len(batch.regret)
            report(judged)
    return Survey(judged, time.perf_counter() - start, tallies, violations, printed)


def _batches(num_instances: int, key: jax.Array) -> Iterator[tuple[str, Verdict]]:
    """(family, verdicts `[N]` as numpy) until `num_instances` are judged."""
    mesh = make_mesh(jax.local_devices())
    judge_all = map_over_devices(judge, mesh, (True,), _CPU_OPTIONS)  # one compiled judge for all families of a shape
    cells = list(itertools.product(SHAPES, FAMILIES))
    for number, (shape, family) in enumerate(cells):
        share = num_instances // len(cells) + (number < num_instances % len(cells))
        size = -(-_BATCH // mesh.size) * mesh.size
        own_key = jax.random.fold_in(key, number)

        def draw_one(key: jax.Array, family: str = family, shape: tuple[int, int] = shape) -> Instance:
            return FAMILIES[family](Draws(key, *shape))

        draw = map_over_devices(draw_one, mesh, (True,), _CPU_OPTIONS)
        judged = 0
        while judged < share:
            keys = jax.random.split(jax.random.fold_in(own_key, judged), size)
            verdict = judge_all(draw(keys))
            kept = min(size, share - judged)
            yield family, jax.tree.map(lambda x, kept=kept: np.asarray(x)[:kept], verdict)
            judged += kept
