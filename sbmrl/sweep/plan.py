"""What a sweep consists of: cells (static configurations) × points (traced hyper-parameters) × seeds."""

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sbmrl.core.belonging import belonging
from sbmrl.core.experiment import Experiment, compose, to_dict
from sbmrl.core.options import require_count, static_fields, traced_fields, with_traced, with_values
from sbmrl.errors import InputError, require, require_known
from sbmrl.experiment.checks import check
from sbmrl.experiment.plugins import plugins_of


class Axis(NamedTuple):
    """One line of a grid: a field by its dotted name, and its values in order."""

    name: str
    values: tuple[Any, ...]


def parse_axis(text: str) -> Axis:
    """`name=1,2,3`, `name=start:stop:count` (evenly spaced) or `name=log:start:stop:count` (evenly in the logarithm).

    Values stay texts where they are no numbers.

    Raises:
        InputError: no name, no value, or a range that is none.
    """
    name, equals, right = text.partition("=")
    require(bool(name and equals), "grid", "must look like alpha=0:1:11 or leader.learning_rate=1e-4,3e-4", repr(text))
    values = _range(name, right) if ":" in right else tuple(_value(part) for part in right.split(",") if part.strip())
    require(len(values) > 0, f"grid {name}", "must have at least one value", repr(right))
    require(len(set(values)) == len(values), f"grid {name}", "must not repeat a value", right)
    return Axis(name.strip().replace("-", "_"), values)


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip()


def _range(name: str, text: str) -> tuple[float, ...]:
    parts = text.split(":")
    logarithmic = parts[0] == "log"
    numbers = parts[1:] if logarithmic else parts
    try:
        start, stop, count = float(numbers[0]), float(numbers[1]), int(numbers[2])
    except (ValueError, IndexError):
        start, stop, count = math.nan, math.nan, 0
    proper = len(numbers) == 3 and math.isfinite(start + stop) and (not logarithmic or min(start, stop) > 0)
    require(proper, f"grid {name}", "must be start:stop:count, or log:start:stop:count with positive ends", repr(text))
    require_count(count, f"grid {name}: count")
    if logarithmic:
        return tuple(math.exp(x) for x in _even(math.log(start), math.log(stop), count))
    return tuple(_even(start, stop, count))


def _even(start: float, stop: float, count: int) -> Iterable[float]:
    return (start + (stop - start) * (i / (count - 1) if count > 1 else 0.0) for i in range(count))


class CellPlan(NamedTuple):
    """One cell: a static configuration and the points of its traced axes.

    Attributes:
        name: its directory.
        experiment: the configuration; its traced fields are those of no axis.
        axes: the traced axes that this cell has.
        static: the values of the static axes, by name.
    """

    name: str
    experiment: Experiment
    axes: tuple[Axis, ...]
    static: tuple[tuple[str, Any], ...] = ()

    def points(self) -> list[dict[str, float]]:
        """Every combination of the axes' values, the last axis fastest; one empty point without axes."""
        names = [axis.name for axis in self.axes]
        return [dict(zip(names, p, strict=True)) for p in itertools.product(*(axis.values for axis in self.axes))]


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep. A run is (cell, point, seed), and its key is fold_in(root, seed): all points and all cells of a seed
    share their random numbers, so that they can be compared in pairs.

    Attributes:
        cells: the static configurations.
        num_seeds: seeds of each point.
        seed: root of all random numbers.
        chunk_size: runs side by side; None lets the memory decide.
    """

    cells: tuple[CellPlan, ...]
    num_seeds: int = 16
    seed: int = 0
    chunk_size: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain data, what plan.json holds."""
        cells = [
            {
                "name": cell.name,
                "experiment": to_dict(cell.experiment),
                "axes": [[axis.name, list(axis.values)] for axis in cell.axes],
                "plugins": plugins_of(cell.experiment),
            }
            for cell in self.cells
        ]
        return {"num_seeds": self.num_seeds, "seed": self.seed, "chunk_size": self.chunk_size, "cells": cells}


def make_plan(
    experiments: Sequence[Experiment],
    grid: Sequence[Axis] = (),
    num_seeds: int = 16,
    seed: int = 0,
    chunk_size: int | None = None,
) -> Plan:
    """The plan of every experiment over the whole grid.

    An axis over a traced field becomes points of one compiled program; one over a static field becomes cells. A cell
    without the field, as MAL has no α, has no such axis.

    Raises:
        InputError: an unknown field (with the nearest one), a value out of range, an axis twice or without effect, two
            cells that are the same, or a count below 1.
    """
    require_count(num_seeds, "num_seeds")
    if chunk_size is not None:
        require_count(chunk_size, "chunk_size")
    require(0 <= seed < 2**31, "seed", "must be a whole number of at least 0", seed)
    names = [axis.name for axis in grid]
    for name in names:
        require(names.count(name) == 1, f"grid {name}", "must be given once", f"{names.count(name)} times")
    fields = dict.fromkeys(name for one in experiments for name in (*traced_fields(one), *static_axes(one)))
    for name in names:
        if name not in fields:
            told = belonging(name)
            if told:
                raise InputError(f"grid {name}: must change one of the formulations, and has no meaning here; {told}")
            require_known(name, "grid", fields)
    compositions = [compose(one) for one in experiments]
    several = len({one.leader.name for one in compositions}) > 1
    cells: list[CellPlan] = []
    for one in compositions:
        cells += _cells(one.experiment, grid, (one.scheme.name, *([one.leader.name] if several else [])))
    directories = [cell.name for cell in cells]
    for directory in directories:
        require(directories.count(directory) == 1, "plan", "must not have a cell twice", directory)
    return Plan(tuple(cells), num_seeds, seed, chunk_size)


def _cells(experiment: Experiment, grid: Sequence[Axis], parts: Sequence[str]) -> list[CellPlan]:
    """The cells of an experiment; `parts` are the names of its parts that stand in theirs."""
    static = [axis for axis in grid if axis.name in static_axes(experiment)]
    axes = tuple(a for a in grid if a.name in traced_fields(experiment))
    found = []
    for values in itertools.product(*(axis.values for axis in static)):
        own = experiment
        for axis, value in zip(static, values, strict=True):
            own = _with_static(own, axis.name, value)
        for axis in axes:
            for value in axis.values:
                require(isinstance(value, int | float), f"grid {axis.name}", "must be numbers", repr(value))
                check(with_traced(own, {axis.name: float(value)}))
        check(own)
        chosen = tuple((axis.name, value) for axis, value in zip(static, values, strict=True))
        world = own.env.replace("/", "_")
        extra = [f"{field}={value}" for field, value in chosen if field != "env"]
        name = "-".join([own.formulation, *parts, world, *extra])
        numbers = tuple(Axis(a.name, tuple(float(v) for v in a.values)) for a in axes)
        found.append(CellPlan(name.replace("/", "_"), own, numbers, chosen))
    return found


def static_axes(experiment: Experiment) -> dict[str, type]:
    """The fields that can be an axis of cells, with their types; the formulation decides what fields there are."""
    return {name: kind for name, kind in static_fields(experiment).items() if name != "formulation"}


def _with_static(experiment: Experiment, name: str, value: Any) -> Experiment:
    kind = static_axes(experiment)[name]
    if kind is bool:
        value = {"true": True, "false": False}.get(str(value).lower(), value)
    if not isinstance(value, kind):
        raise InputError(f"grid {name}: must be of type {kind.__name__}, got {value!r}")
    return with_values(experiment, {name: value})


def read_plan(path: Path) -> dict[str, Any]:
    """What a plan.json holds.

    Raises:
        InputError: it is no plan.
    """
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        names = [cell["name"] for cell in plan["cells"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no plan of this program ({error})") from error
    require(len(set(names)) == len(names), str(path), "must not have a cell twice", names)
    return plan


def difference(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "") -> list[str]:
    """What changed between two plans as plain data, one line a field: "num_seeds: 16 -> 32"."""
    lines: list[str] = []
    for name in sorted(set(old) | set(new)):
        left, right, path = old.get(name, "nothing"), new.get(name, "nothing"), f"{where}{name}"
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            lines += difference(left, right, f"{path}.")
        elif isinstance(left, list) and isinstance(right, list) and path == "cells":
            by_name = ({cell["name"]: cell for cell in cells} for cells in (left, right))
            lines += difference(*by_name, where="cells.")
        elif left != right:
            lines.append(f"{path}: {left} -> {right}")
    return lines
