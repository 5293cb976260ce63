"""`sbmrl list`, `sbmrl evaluate` and `sbmrl draw`."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from rich.table import Table

from sbmrl.commands.common import console
from sbmrl.commands.options import Draw, Evaluate
from sbmrl.core import registry
from sbmrl.core.experiment import compose
from sbmrl.core.parts import Part
from sbmrl.display.statistics import mean_interval
from sbmrl.errors import InputError, require
from sbmrl.experiment.presets import presets_of
from sbmrl.sweep import execute
from sbmrl.sweep.load import load


def show_list() -> None:
    """One line for each part and each world, and in brackets where the part comes from."""
    kinds = registry.kinds().values()
    _show("formulations", registry.formulations().values())
    _show("schemes", registry.schemes().values())
    _show("learners", registry.learners().values())
    _show("programmes", registry.programmes().values())
    _show("kinds of games", kinds)
    for kind in kinds:
        own = [row for row in registry.worlds().values() if row.kind == kind.name]
        _show_lines(f"{kind.name}: worlds", {**kind.worlds(), **_told(own)})
        _show_lines(f"{kind.name}: presets", {name: one.summary for name, one in presets_of(kind).items()})


def _show(group: str, parts: Iterable[Part]) -> None:
    _show_lines(group, _told(parts))


def _told(parts: Iterable[Part]) -> dict[str, str]:
    return {part.name: f"{part.summary} [{registry.origin_of(part).text}]" for part in parts}


def _show_lines(group: str, lines: dict[str, str]) -> None:
    print(f"{group}:")
    for name, told in lines.items():
        print(f"  {name:<24} {told}")


def evaluate(config: Evaluate) -> None:
    """Evaluate finished runs again and hold the exact numbers against the stored ones.

    Raises:
        InputError: there is no finished run, or a file is missing, damaged or of another program.
    """
    execute.prepare_devices()
    cells = [cell for cell in load(config.directory).cells.values() if cell.finished]
    require(bool(cells), str(config.directory), "must be the directory of a finished run", "none that is finished")
    table = Table(show_edge=False)
    for column in ("run", "seeds", "exact return", "stored", "largest difference", "sampled [95 %]", "fooled"):
        table.add_column(column, justify="left" if column == "run" else "right")
    for cell in cells:
        stored = cell.results()
        metrics = cell.evaluate(config.num_episodes, config.seed)
        finite = np.flatnonzero(stored["finite"].to_numpy())
        stored = stored.filter(pl.col("finite"))
        exact = metrics["exact_return"][finite]
        sampled = mean_interval(metrics["sampled_return"][finite])
        table.add_row(
            cell.name,
            str(len(finite)),
            f"{exact.mean():.4f}",
            f"{stored['exact_return'].mean():.4f}",
            f"{np.abs(exact - stored['exact_return'].to_numpy()).max(initial=0.0):.1e}",
            f"{sampled.value:.2f} [{sampled.low:.2f}, {sampled.high:.2f}]",
            f"{metrics['fooled'][finite].mean():.0%}",
        )
    console().print(table)
    print(f"sampled: {config.num_episodes} episodes a seed of the greedy policy in the true world")


def draw(config: Draw) -> None:
    """Draw a world, or what a run has learned beside its world."""
    execute.prepare_devices()
    source = Path(config.source)
    try:
        paths = _draw_run(source, config) if source.is_dir() else _draw_world(config)
    except OSError as error:
        raise InputError(f"out: {config.out or source} cannot be written ({error.strerror or error})") from error
    for path in paths:
        print(path)


def _draw_world(config: Draw) -> Sequence[Path]:
    """A world of the first kind of game that has one of that name and can draw it."""
    refused: InputError | None = None
    for kind in registry.kinds().values():
        picture = kind.display().draw_world
        if picture is None:
            continue
        try:
            world = registry.make_world(kind, config.source)
        except InputError as error:
            refused = refused or error
            continue
        stem = config.out or Path(world.name)
        stem.parent.mkdir(parents=True, exist_ok=True)
        return picture(world, stem)
    raise refused or InputError("source: must be a world that can be drawn; no kind of game draws its worlds")


def _draw_run(directory: Path, config: Draw) -> Sequence[Path]:
    cells = list(load(directory).cells.values())
    require(len(cells) == 1, "source", "must be the directory of one run", f"{len(cells)} runs in {directory}")
    (cell,) = cells
    run, num_runs = config.run_seed, len(cell.runs)
    require(run < num_runs, "run_seed", f"must be below the run's {num_runs} seeds", run)
    kind = compose(cell.experiment).kind
    picture = kind.display().draw_run
    if picture is None:
        raise InputError(f"{cell.directory}: {kind.what} has nothing learned that can be drawn")
    stem = config.out or cell.directory / f"model-seed{run}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    return picture(cell, run, stem)
