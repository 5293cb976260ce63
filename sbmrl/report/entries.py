"""What a report is about: the points of all cells of one or more runs, in order, each under a name of its own."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from sbmrl.core.experiment import compose
from sbmrl.display.frames import at_point
from sbmrl.display.statistics import interquartile_mean_interval
from sbmrl.display.tables import bounds_of
from sbmrl.errors import InputError
from sbmrl.report.table import Row, cell_rows, kind_of, title
from sbmrl.sweep.load import LoadedRun
from sbmrl.sweep.loaded_cell import LoadedCell
from sbmrl.sweep.plan import read_plan

_TOLD_APART_BY = ("env", "scheme", "learner")  # added to the names where entries differ in it


@dataclasses.dataclass(frozen=True)
class Entry:
    """A point of a cell: a row of the table once a run of it is finished.

    Attributes:
        run: which of the report's directories, by its place.
        cell: the cell.
        point: the values of the traced axes.
        identity: what makes it comparable with an entry of another directory: formulation, scheme, learner, env, what
            the game is played with, static, point.
        label: its name in the report.
        group: its name without the world.
        row: its row of the table, None without a finished run.
        results: its finished runs, one row each.
        curve: "steps", "middle", "low", "high" of the exact return in play: median and quartiles over the seeds.
    """

    run: int
    cell: LoadedCell
    point: Mapping[str, float]
    identity: Mapping[str, Any]
    label: str
    group: str
    row: Row | None
    results: pl.DataFrame
    curve: pl.DataFrame

    @property
    def world(self) -> str:
        """The name of the true world."""
        return self.identity["env"]

    @property
    def finite(self) -> pl.DataFrame:
        """The finished runs that did not diverge."""
        return self.results.filter(pl.col("finite")) if len(self.results) else self.results


@dataclasses.dataclass(frozen=True)
class CellState:
    """How far a cell is, and what it cost.

    Attributes:
        run: which of the report's directories, by its place.
        name: its name.
        formulation: the formulation's key.
        world: the name of the true world.
        total: runs planned.
        done: runs finished.
        begun: whether there is anything of it on disk.
        compile_seconds: spent compiling, over the finished chunks.
        run_seconds: spent running, over the finished chunks.
        steps: of one run, all stages together; None where there are no curves yet.
    """

    run: int
    name: str
    formulation: str
    world: str
    total: int
    done: int
    begun: bool
    compile_seconds: float
    run_seconds: float
    steps: int | None


def run_labels(runs: Sequence[LoadedRun]) -> list[str]:
    """A name for each directory: its last part, or all of its path, or that and a number, whatever tells them apart."""
    names = [run.directory.absolute().name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.directory) for run in runs]
    count = Counter(names)
    return [f"{name} ({names[: i + 1].count(name)})" if count[name] > 1 else name for i, name in enumerate(names)]


def read_runs(runs: Sequence[LoadedRun]) -> tuple[list[Entry], list[CellState]]:
    """The entries and the states of all cells, in the order of their plans.

    Raises:
        InputError: a file is damaged or of another program.
    """
    entries: list[Entry] = []
    states: list[CellState] = []
    for number, run in enumerate(runs):
        for name, planned in _planned(run).items():
            if name in run.cells:
                own, state = _read_cell(number, run.cells[name])
                entries += own
                states.append(state)
            else:
                formulation, world, total = planned
                states.append(CellState(number, name, formulation, world, total, 0, False, 0.0, 0.0, None))
    return _labelled(entries, run_labels(runs)), states


def _planned(run: LoadedRun) -> dict[str, tuple[str, str, int]]:
    """Formulation, world and number of runs of each cell, in the order they were asked for."""
    path = run.directory / "plan.json"
    begun = {
        name: (cell.plan.experiment.formulation, cell.world.name, len(cell.runs)) for name, cell in run.cells.items()
    }
    if not path.is_file() or run.directory in {cell.directory for cell in run.cells.values()}:
        return begun
    plan, planned = read_plan(path), {}
    try:
        for cell in plan["cells"]:
            total = plan["num_seeds"]
            for _, values in cell["axes"]:
                total *= len(values)
            planned[cell["name"]] = (cell["experiment"]["formulation"], cell["experiment"]["env"], total)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is no plan of this program ({error})") from error
    return planned | begun


def _read_cell(number: int, cell: LoadedCell) -> tuple[list[Entry], CellState]:
    results, curves, seconds, experiment = cell.results(), cell.curves(), cell.seconds(), cell.experiment
    composition = compose(experiment)
    middle = _middle(curves, [axis.name for axis in cell.plan.axes])
    rows = iter(cell_rows(cell))
    entries = []
    for point in cell.plan.points():
        own = at_point(results, point)
        row = next(rows) if len(own) else None
        if row is not None:
            returns = own.filter(pl.col("finite"))["exact_return"].to_numpy()
            row["interquartile_mean_interval"] = bounds_of(interquartile_mean_interval(returns))
        played_with = composition.kind.columns(experiment.game)
        identity = {
            "kind": composition.kind.name,
            "formulation": experiment.formulation,
            "scheme": composition.scheme.name,
            "learner": composition.leader.name,
            "env": cell.world.name,
            **{name: point.get(name, value) for name, value in played_with.items()},
            "static": dict(cell.plan.static),
            "point": point,
        }
        entries.append(Entry(number, cell, point, identity, "", "", row, own, at_point(middle, point)))
    steps = int(curves.group_by("stage").agg(pl.col("steps").max())["steps"].sum()) if len(curves) else None
    state = CellState(
        run=number,
        name=cell.name,
        formulation=experiment.formulation,
        world=cell.world.name,
        total=len(cell.runs),
        done=len(results),
        begun=True,
        compile_seconds=seconds["compile"],
        run_seconds=seconds["run"],
        steps=steps,
    )
    return entries, state


def _middle(curves: pl.DataFrame, axes: Sequence[str]) -> pl.DataFrame:
    """Median and quartiles of the exact return in play, over the seeds that have not diverged."""
    if not len(curves):
        return pl.DataFrame()
    value = pl.col("value")
    play = curves.filter((pl.col("stage") == "play") & (pl.col("metric") == "exact_return") & value.is_finite())
    quartiles = [value.quantile(q, "linear").alias(n) for n, q in (("low", 0.25), ("middle", 0.5), ("high", 0.75))]
    return play.group_by(*axes, "steps").agg(quartiles).sort("steps")


def _labelled(entries: Sequence[Entry], runs: Sequence[str]) -> list[Entry]:
    """The entries, each under names that say in what it differs from the others."""
    settings = [name for entry in entries for name in kind_of(entry.identity).display().told_apart]
    candidates = dict.fromkeys((*_TOLD_APART_BY, *settings))
    differing = [name for name in candidates if len({entry.identity.get(name) for entry in entries}) > 1]
    found = []
    for entry in entries:
        static = entry.identity["static"]
        without_world = {name: value for name, value in static.items() if name != "env"}
        told = {
            name: f", {name} {entry.identity[name]}"
            for name in differing
            if name not in static and name in entry.identity
        }
        where = f" ({runs[entry.run]})" if len(runs) > 1 else ""
        label = title(entry.identity) + "".join(told.values()) + where
        told.pop("env", None)
        group = title({**entry.identity, "static": without_world}) + "".join(told.values()) + where
        found.append(dataclasses.replace(entry, label=label, group=group))
    return found
