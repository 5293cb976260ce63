"""`sbmrl train`, `sbmrl reproduce` and `sbmrl sweep`: plans, run cell by cell."""

import dataclasses
import json
import signal
import sys
import threading
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from sbmrl.commands.common import Bar, console, default_directory
from sbmrl.commands.options import Reproduce, RunOptions, SweepOptions
from sbmrl.config import Experiment, to_dict
from sbmrl.environments.tabular import TabularMDP, make_world
from sbmrl.errors import InputError, require
from sbmrl.formulations import POSTER_FORMULATIONS
from sbmrl.presets import preset
from sbmrl.program import make_program
from sbmrl.report.table import COLUMNS, RESIDUAL_TOLERANCE, Row, caption, cells, certificate_line, make_row, to_markdown
from sbmrl.report.tracking import Tracker
from sbmrl.sweep import execute, load, store
from sbmrl.sweep.lock import locked
from sbmrl.sweep.plan import CellPlan, Plan, difference, make_plan, parse_axis
from sbmrl.sweep.run import Listener, PreemptedError, run_cell

_MOST_CERTIFICATES = 4  # lines on the screen; table.md has all of them
REQUEUE = 75  # exit code after SIGTERM: everything is saved, run the same command with --resume


def train(experiment: Experiment, options: RunOptions) -> None:
    """One cell, its files, its row of the table."""
    cell = CellPlan(experiment.formulation, experiment, ())
    plan = Plan((cell,), options.num_seeds, options.seed, options.chunk_size)
    out = options.out or default_directory(f"{experiment.formulation}-{experiment.env}".replace("/", "_"))
    _execute(plan, out, lambda cell: out, options)


def reproduce(config: Reproduce) -> None:
    """All rows of the poster's table, each a cell in its own sub-directory, and the table."""
    experiments = [dataclasses.replace(preset(config.preset, name), env=config.env) for name in POSTER_FORMULATIONS]
    cells = tuple(CellPlan(e.formulation, e, ()) for e in experiments)
    plan = Plan(cells, config.num_seeds, config.seed, config.chunk_size)
    out = config.out or default_directory("reproduce")
    _execute(plan, out, lambda cell: out / cell.name, config)


def sweep(experiments: Sequence[Experiment], options: SweepOptions) -> None:
    """Every formulation over the whole grid; a sub-directory a cell."""
    grid = [parse_axis(text) for text in options.grid]
    plan = make_plan(experiments, grid, options.num_seeds, options.seed, options.chunk_size)
    out = options.out or default_directory("sweep")
    _execute(plan, out, lambda cell: out / cell.name, options)


def _execute(plan: Plan, out: Path, where: Callable[[CellPlan], Path], options: RunOptions) -> None:
    execute.prepare_devices()
    worlds = {cell.name: make_world(cell.experiment.env) for cell in plan.cells}
    out = _open_directory(out, plan, options.resume)
    rows: list[Row] = []
    with locked(out), _stop_on_sigterm() as should_stop:
        for number, cell in enumerate(plan.cells, start=1):
            heading = f"{number}/{len(plan.cells)} " if len(plan.cells) > 1 else ""
            try:
                rows += _run(cell, plan, where(cell).absolute(), worlds[cell.name], options, heading, should_stop)
            except PreemptedError:
                print(f"sbmrl: stopped and saved; go on with --resume --out {out}", file=sys.stderr)
                raise SystemExit(REQUEUE) from None
        if out not in [where(cell).absolute() for cell in plan.cells]:
            frames = [pl.read_parquet(where(cell) / "results.parquet") for cell in plan.cells]
            store.write_parquet(out / "results.parquet", pl.concat(frames, how="diagonal_relaxed"), {})
        _save_table(out, rows)
    _print_table(rows, out)


def _open_directory(out: Path, plan: Plan, resume: bool) -> Path:
    """The directory of a new plan, or of the same plan to be resumed.

    Raises:
        InputError: it holds something else, or another plan; then what differs.
    """
    path = out.absolute() / "plan.json"
    fields = json.loads(json.dumps(plan.to_dict()))
    if not resume:
        out = store.create_directory(out)
        store.write_json(path, fields)
        return out
    require(path.is_file(), "resume", "needs the directory of an earlier run (--out)", f"no plan.json in {out}")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        changed = difference(stored, fields)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no plan of this program ({error})") from error
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise InputError(f"resume: the plan in {out} is another one: {'; '.join(changed[:3])}{more}")
    return out.absolute()


class _stop_on_sigterm:  # noqa: N801  # read as a word in a with statement
    """While it is held, SIGTERM only asks the run to save and stop. Yields "has it been asked?"."""

    def __enter__(self) -> Callable[[], bool]:
        asked = threading.Event()
        self.previous: Any = None

        def ask(number: int, frame: types.FrameType | None) -> None:
            asked.set()

        if threading.current_thread() is threading.main_thread():
            self.previous = signal.signal(signal.SIGTERM, ask)
        return asked.is_set

    def __exit__(self, *error: object) -> None:
        if self.previous is not None:
            signal.signal(signal.SIGTERM, self.previous)


def _run(
    cell: CellPlan,
    plan: Plan,
    directory: Path,
    mdp: TabularMDP,
    options: RunOptions,
    heading: str,
    should_stop: Callable[[], bool],
) -> list[Row]:
    directory.mkdir(parents=True, exist_ok=True)
    store.save_config(directory, cell, plan, mdp)
    tracker = Tracker(options.wandb, f"{cell.name}-{mdp.name}", to_dict(cell.experiment), directory)
    num_runs = plan.num_seeds * len(cell.points())
    records = len(make_program(cell.experiment, mdp).stages) * cell.experiment.num_records
    with Bar(f"{heading}{cell.name}", num_runs, records) as bar:

        def record(progress: execute.Progress, done: int) -> None:
            tracker.log(progress)
            bar.record(progress, done)

        run_cell(cell, plan, directory, mdp, Listener(record, bar.warn, should_stop), options.checkpoint_seconds)
    results = load.load_results(directory)
    seconds = json.loads((directory / "meta.json").read_text(encoding="utf-8"))["seconds"]
    rows = [make_row(_at(results, point), sum(seconds.values()), point) for point in cell.points()]
    _save_table(directory, rows)
    tracker.finish(results, rows)
    return rows


def _at(results: pl.DataFrame, point: dict[str, float]) -> pl.DataFrame:
    """The runs of one point; the axes were stored as float32."""
    for name, value in point.items():
        results = results.filter((pl.col(name) - value).abs() <= 1e-6 * (abs(value) + 1e-6))
    return results


def _save_table(out: Path, rows: Sequence[Row]) -> None:
    store.write_text(out / "table.md", to_markdown(rows))
    store.write_json(out / "table.json", list(rows))


def _print_table(rows: Sequence[Row], out: Path) -> None:
    table = Table(show_edge=False)
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        table.add_row(*cells(row))
    screen = console()
    screen.print(table)
    screen.print(caption(rows))
    for row in rows:
        if len(rows) <= _MOST_CERTIFICATES:
            screen.print(certificate_line(row))
        if row["num_diverged"]:
            screen.print(f"{row['formulation']}: {row['num_diverged']} of {row['num_seeds']} seeds diverged")
        if row["num_unconverged"]:
            told = f"{row['num_unconverged']} of {row['num_seeds']} seeds: inner solver not converged"
            screen.print(f"{row['formulation']}: {told} (residual above {RESIDUAL_TOLERANCE:g})")
    screen.print(f"files: {out}")
