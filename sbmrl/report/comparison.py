"""Rows against rows: seed by seed in one world, and groups of rows over several worlds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import polars as pl

from sbmrl.display.statistics import aggregates, paired_improvement, performance_profile
from sbmrl.display.tables import bounds_of
from sbmrl.errors import InputError
from sbmrl.report.entries import Entry

# Two programs round the same policy's value differently; this part of (optimal − baseline) is no difference.
EQUAL_FRACTION = 1e-5
THRESHOLDS = np.linspace(-0.05, 1.05, 111)  # of a performance profile

Plain = dict[str, Any]


def _key(entry: Entry, without: Sequence[str] = ()) -> tuple[Any, ...]:
    """What identifies an entry apart from its directory, as something that can be looked up.

    The value of an axis counts once, whether it was an axis or an option: α = 0.8 is α = 0.8.
    """
    parts: list[Any] = []
    for name, value in entry.identity.items():
        if isinstance(value, Mapping):
            others = {axis: chosen for axis, chosen in value.items() if axis not in entry.identity}
            parts.append(tuple(sorted((axis, _rounded(chosen)) for axis, chosen in others.items())))
        elif name not in without:
            parts.append(_rounded(value))
    return tuple(parts)


def _rounded(value: Any) -> Any:
    """Numbers as they are printed: 1 is 1.0, and the values of a range carry its rounding."""
    return f"{value:.6g}" if isinstance(value, int | float) and not isinstance(value, bool) else value


def _world(entry: Entry) -> tuple[Any, ...]:
    """The world itself: two files may give different worlds one name."""
    world = entry.cell.world
    static = jax.tree.structure(world)
    return (static, *(np.asarray(array).tobytes() for array in jax.tree.leaves(world)))


def to_baselines(entries: Sequence[Entry]) -> list[Plain]:
    """Every entry with finished runs against the first such entry of its world and root seed, seed by seed."""
    first: dict[tuple[Any, ...], Entry] = {}
    found = []
    for entry in entries:
        if not len(entry.results):
            continue
        baseline = first.setdefault((*_world(entry), entry.cell.seed), entry)
        if baseline is not entry:
            found.append(_paired(entry, baseline))
    return found


class Partners(NamedTuple):
    """Entries of further directories against the same ones of the first, and the labels of those without a partner."""

    differences: list[Plain]
    without: list[str]


def to_first_directory(entries: Sequence[Entry]) -> Partners:
    """Every entry of a further directory against the same cell and point of the first directory, seed by seed.

    Raises:
        InputError: no entry has a partner.
    """

    def where(entry: Entry) -> tuple[Any, ...]:
        return (*_key(entry), *_world(entry), entry.cell.seed)

    first = {where(entry): entry for entry in entries if entry.run == 0}
    found, paired = [], set()
    for entry in entries:
        partner = first.get(where(entry)) if entry.run else None
        if partner is not None:
            found.append(_paired(entry, partner))
            paired |= {id(entry), id(partner)}
    if not any(line["pairs"] for line in found):
        raise InputError(
            "compare: the directories must share a cell and point (formulation, scheme, learner, env, settings of the "
            "game, values of the axes) with the same --seed and finished runs, got none"
        )
    return Partners(found, [entry.label for entry in entries if id(entry) not in paired])


def _paired(entry: Entry, baseline: Entry) -> Plain:
    """X of `entry` against y of `baseline`; a seed that diverged on either side is left out and counted."""
    line: Plain = {"label": entry.label, "baseline": baseline.label, "world": entry.world}
    if not len(entry.results) or not len(baseline.results):
        return line | {"pairs": 0, "diverged": 0, "difference": None, "probability": None}
    columns = ["seed", "exact_return", "finite", "optimal_return", "uniform_return"]
    pairs = entry.results.select(columns).join(baseline.results.select(columns), on="seed", suffix="_y").sort("seed")
    good = pairs.filter(pl.col("finite") & pl.col("finite_y"))
    line |= {"pairs": len(good), "diverged": len(pairs) - len(good)}
    if not len(good):
        return line | {"difference": None, "probability": None}
    tolerance = EQUAL_FRACTION * abs(float(pairs["optimal_return"][0] - pairs["uniform_return"][0]))
    x, y = (good[name].to_numpy().astype(np.float64) for name in ("exact_return", "exact_return_y"))
    found = paired_improvement(x - y, tolerance)
    return line | {name: bounds_of(estimate) for name, estimate in found._asdict().items()}


def over_worlds(entries: Sequence[Entry]) -> tuple[list[Plain], list[str]]:
    """Aggregate scores and performance profile of every group of entries that differ in the world only.

    Returns:
        The groups, and the worlds left out because their optimal policy earns no more than the uniform one.
    """
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    flat: dict[str, None] = {}
    for entry in entries:
        if len(entry.finite) and _spread(entry) <= 0:
            flat[entry.world] = None
        elif len(entry.finite):
            groups.setdefault((entry.run, *_key(entry, without=("env",))), []).append(entry)
    found = []
    for members in groups.values():
        scores = [normalised(entry) for entry in members]
        profile = performance_profile(scores, THRESHOLDS)
        found.append(
            {
                "label": members[0].group,
                "worlds": [entry.world for entry in members],
                "runs": sum(map(len, scores)),
                **{name: bounds_of(estimate) for name, estimate in aggregates(scores)._asdict().items()},
                "profile": {name: np.round(values, 6).tolist() for name, values in profile._asdict().items()},
            }
        )
    return found, list(flat)


def _spread(entry: Entry) -> float:
    return float(entry.results["optimal_return"][0] - entry.results["uniform_return"][0])


def normalised(entry: Entry) -> np.ndarray:
    """`[N]` (exact return − baseline) / (optimal − baseline) of the runs that did not diverge."""
    finite = entry.finite
    uniform = float(finite["uniform_return"][0])
    return (finite["exact_return"].to_numpy().astype(np.float64) - uniform) / _spread(entry)
