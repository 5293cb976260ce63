"""Every statement on many random instances: violations, and how tight the bounds are. Host side.

A violation is a left side above the right one by more than rounding: a relative 1e-9, an absolute 1e-10, and what the
judge says it may be off by. An identity is violated on either side.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.core.devices import make_mesh, map_over_devices
from sbmrl.games.tabular.theory.instances import FAMILIES, Draws
from sbmrl.games.tabular.theory.judge import (
    LOSSES,
    PRINTED,
    STATEMENTS,
    WIDE_DATA,
    Instance,
    Sides,
    judge,
    name_of,
    share_of,
)

SHAPES = ((3, 2), (5, 3), (8, 2))  # (S, A)
HORIZONS = (None, 1, 5, 20, 50)  # T; None is discounted, and has as many instances as all others together
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-9, 1e-10
QUANTILES = (0.5, 0.9, 0.99, 0.999)
NUM_BINS = 10_000
_BATCH = 2_048  # always, so that a program is compiled once for any number of instances
_GROUP = 256  # judged side by side: what they need fits a core's cache
_CPU_OPTIONS = {"xla_backend_optimization_level": 1}  # most of the time is spent in LAPACK
SETTINGS: tuple[str, str] = ("discounted", "over T steps")


def setting_of(horizon: int | None) -> str:
    """Which of SETTINGS a horizon belongs to."""
    return SETTINGS[0] if horizon is None else SETTINGS[1]


class Tally:
    """Counts of one statement over all instances seen so far.

    Attributes:
        violations: instances whose left side is above the right one.
        num_bounded: instances on which the right-hand side is finite.
        tightness: histogram of left / right over [0, 1], `[NUM_BINS]`.
        rest: histogram of (left − own) / (right − own): the part that the players' own errors do not already explain.
        largest: the largest of both.
    """

    def __init__(self) -> None:
        self.violations = 0
        self.num_bounded = 0
        self.tightness = np.zeros(NUM_BINS, np.int64)
        self.rest = np.zeros(NUM_BINS, np.int64)
        self.largest = {"tightness": 0.0, "rest": 0.0}

    def add(self, sides: Sides, identity: bool = False) -> int:
        """Count a batch `[N]`; returns its violations."""
        left, right, own, rounding = (np.asarray(x) for x in sides)
        tolerance = RELATIVE_TOLERANCE * np.where(np.isinf(right), 0.0, np.abs(right)) + ABSOLUTE_TOLERANCE + rounding
        holds = left <= right + tolerance  # what cannot be compared does not pass either
        if identity:
            holds &= left >= right - tolerance
        violations = int(np.sum(~holds))
        self.violations += violations
        self.num_bounded += int(np.sum(np.isfinite(right)))
        self._count("tightness", sides._replace(own=np.zeros_like(own)))
        self._count("rest", sides)
        return violations

    def _count(self, name: str, sides: Sides) -> None:
        share = np.clip(np.nan_to_num(np.asarray(share_of(sides))), 0.0, 1.0)
        bins = np.minimum((share * NUM_BINS).astype(np.int64), NUM_BINS - 1)
        getattr(self, name).__iadd__(np.bincount(bins, minlength=NUM_BINS))
        self.largest[name] = max(self.largest[name], float(share.max(initial=0.0)))

    def quantiles(self, name: str) -> dict[str, float]:
        """Quantiles of "tightness" or "rest", exact to one bin (1e-4), and the largest value."""
        shares = np.cumsum(getattr(self, name)) / max(getattr(self, name).sum(), 1)
        found = {f"{q:g}": float((np.searchsorted(shares, q) + 1) / NUM_BINS) for q in QUANTILES}
        return found | {"max": self.largest[name]}


class Survey(NamedTuple):
    """The result of `check_statements`.

    Attributes:
        num_instances: setting -> how many instances were judged.
        seconds: wall-clock of all of it, compilation included.
        tallies: setting -> name of statement and loss -> tally over all families.
        violations: family -> name of statement and loss -> violations, in both settings.
        printed_violations: family -> discounted instances above theorem 2's right-hand side with the poster's constant.
    """

    num_instances: dict[str, int]
    seconds: float
    tallies: dict[str, dict[str, Tally]]
    violations: dict[str, dict[str, int]]
    printed_violations: dict[str, int]


def check_statements(
    num_instances: int, seed: int = 0, report: Callable[[int], None] = lambda num_judged: None
) -> Survey:
    """Judge exactly `num_instances` instances: half discounted and half over T steps, spread over families and shapes.

    Every instance is judged by every statement under both losses. Runs in float64 whatever the global setting, on all
    local devices; `report` is told the number judged so far.
    """
    start = time.perf_counter()
    identity = {name_of(s, loss): statement.identity for s, statement in STATEMENTS.items() for loss in LOSSES}
    tallies = {setting: {name: Tally() for name in identity} for setting in SETTINGS}
    violations = {family: dict.fromkeys(identity, 0) for family in FAMILIES}
    printed, judged = dict.fromkeys(FAMILIES, 0), dict.fromkeys(SETTINGS, 0)
    with jax.enable_x64(True):
        for setting, family, batch in _batches(num_instances, jax.random.key(seed)):
            for name, tally in tallies[setting].items():
                violations[family][name] += tally.add(batch[name], identity[name])
            if setting == "discounted":
                printed[family] += Tally().add(batch[PRINTED])
            judged[setting] += len(batch[PRINTED].left)
            report(sum(judged.values()))
    return Survey(judged, time.perf_counter() - start, tallies, violations, printed)


class _Cell(NamedTuple):
    """Instances of one shape, family and horizon, and how many of them."""

    shape: tuple[int, int]
    family: str
    horizon: int | None
    count: int


def _cells(num_instances: int) -> list[_Cell]:
    pairs = list(itertools.product(SHAPES, FAMILIES))
    finite = [horizon for horizon in HORIZONS if horizon is not None]
    discounted = num_instances - (num_instances // 2 if finite else 0)

    def spread(total: int, horizons: list[int | None]) -> list[_Cell]:
        own = [(*pair, horizon) for pair in pairs for horizon in horizons]
        return [_Cell(*cell, total // len(own) + (n < total % len(own))) for n, cell in enumerate(own)]

    return spread(discounted, [None]) + (spread(num_instances - discounted, [*finite]) if finite else [])


def _batches(num_instances: int, key: jax.Array) -> Iterator[tuple[str, str, Mapping[str, Sides]]]:
    """(setting, family, sides `[N]` as numpy) until `num_instances` are judged.

    Cells of one shape and horizon share a compiled judge, and those of one shape and family a compiled draw.
    """
    mesh = make_mesh(jax.local_devices())
    judges, draws = {}, {}
    groups = -(-_BATCH // (mesh.size * _GROUP))
    size = groups * mesh.size * min(_GROUP, -(-_BATCH // mesh.size))
    for number, cell in enumerate(_cells(num_instances)):
        own_key = jax.random.fold_in(key, number)

        def judge_one(instance: Instance, which: jax.Array, horizon: int | None = cell.horizon) -> dict[str, Sides]:
            return judge(instance, which, horizon)

        def draw_one(key: jax.Array, family: str = cell.family, shape: tuple[int, int] = cell.shape) -> Instance:
            return FAMILIES[family](Draws(key, *shape))

        if (cell.shape, cell.horizon) not in judges:
            judges[cell.shape, cell.horizon] = map_over_devices(judge_one, mesh, (True, False), _CPU_OPTIONS, groups)
        if (cell.shape, cell.family) not in draws:
            draws[cell.shape, cell.family] = map_over_devices(draw_one, mesh, (True,), _CPU_OPTIONS)
        judged = 0
        while judged < cell.count:
            keys = jax.random.split(jax.random.fold_in(own_key, judged), size)
            which = jnp.int32((number + judged // size) % len(WIDE_DATA))  # ν's kinds take turns
            sides = judges[cell.shape, cell.horizon](draws[cell.shape, cell.family](keys), which)
            kept = min(size, cell.count - judged)
            yield setting_of(cell.horizon), cell.family, jax.tree.map(lambda x, kept=kept: np.asarray(x)[:kept], sides)
            judged += kept
