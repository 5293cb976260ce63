"""`sbmrl train`, `sbmrl reproduce` and `sbmrl sweep`: plans, run cell by cell."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.table import Table

from sbmrl.commands.cluster import CellJob, Cluster
from sbmrl.commands.common import console, output_directory
from sbmrl.commands.options import Reproduce, RunOptions, SweepOptions
from sbmrl.commands.watch import Watcher, save_table
from sbmrl.core import registry
from sbmrl.core.experiment import Experiment
from sbmrl.core.options import with_traced
from sbmrl.errors import InputError, require
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.report.table import RESIDUAL_TOLERANCE, TOLD_OF_SECONDS, Row, caption, cells, columns, lines_below
from sbmrl.report.tracking import track_report
from sbmrl.sweep import execute
from sbmrl.sweep.load import load
from sbmrl.sweep.plan import Axis, CellPlan, Plan, make_plan, parse_axis
from sbmrl.sweep.processes import REQUEUE, PeerError, connected, is_first, stop_on_sigterm
from sbmrl.sweep.run import PreemptedError, opened, run_plan

_MOST_LINES = 4  # below the table on the screen; table.md has all of them


def train(experiment: Experiment, options: RunOptions) -> None:
    """One cell, its files, its row of the table."""
    plan = Plan((CellPlan(".", experiment, ()),), options.num_seeds, options.seed, options.chunk_size)
    name = f"{experiment.formulation}-{experiment.env}".replace("/", "_")
    with output_directory(options.out, name) as out:
        _run(plan, out, options)


def reproduce(config: Reproduce) -> None:
    """The cells of a programme, each in its own sub-directory, then its figure and tables."""
    programme = registry.programme(config.programme)
    name = config.preset or programme.presets[0]
    made = programme.cells(partial(preset, name, env=config.env or programme.env), config.env)
    require(bool(made), f"programme {programme.name}", "must have a cell", "none")
    cells = tuple(
        CellPlan(cell.name, check(cell.experiment), tuple(Axis(*axis) for axis in cell.axes), tuple(cell.static))
        for cell in made
    )
    for cell in cells:
        for point in cell.points():
            check(with_traced(cell.experiment, point))
    plan = Plan(cells, config.num_seeds, config.seed, config.chunk_size)
    with output_directory(config.out, "reproduce") as out:
        if _run(plan, out, config) and programme.write is not None:
            for path in programme.write(load(out), out):
                print(path)


def sweep(experiments: Sequence[Experiment], options: SweepOptions) -> None:
    """Every formulation over the whole grid; a sub-directory a cell."""
    grid = [parse_axis(text) for text in options.grid]
    plan = make_plan(experiments, grid, options.num_seeds, options.seed, options.chunk_size)
    with output_directory(options.out, "sweep") as out:
        if options.cluster == "off":
            _run(plan, out, options)
        else:
            _sweep_on_cluster(plan, out.absolute(), options)


def _sweep_on_cluster(plan: Plan, out: Path, options: SweepOptions) -> None:
    """Each cell that is missing as a job of its own, then the results of all."""
    how = options.distributed_as
    if isinstance(how, tuple):
        raise InputError(f"distributed: must be off or auto with a cluster, got {options.distributed}")
    cluster = Cluster(options.cluster, options.cluster_options)
    try:
        with stop_on_sigterm() as should_stop, opened(plan, out, options.resume):
            missing = [cell for cell in plan.cells if not (out / cell.name / "table.json").is_file()]
            cluster.run(
                [CellJob.of(plan, cell, out, options, how) for cell in missing],
                out / "jobs",
                should_stop,
            )
    except PreemptedError:
        print(f"sbmrl: stopped; the jobs go on; collect them with --resume --out {out}", file=sys.stderr)
        raise SystemExit(REQUEUE) from None
    _finish(plan, out, options)


def _run(plan: Plan, out: Path, options: RunOptions) -> bool:
    """Run a plan; whether this is the process that has put its results together."""
    execute.prepare_devices()
    try:
        with connected(options.distributed_as), stop_on_sigterm() as should_stop:
            with Watcher(plan, options.wandb, out.name, should_stop) as watcher:
                seconds = options.checkpoint_seconds
                out = run_plan(plan, out, watcher, resume=options.resume, checkpoint_seconds=seconds)
            first = is_first()
    except PreemptedError:
        print(f"sbmrl: stopped and saved; go on with --resume --out {out}", file=sys.stderr)
        raise SystemExit(REQUEUE) from None
    except PeerError:
        raise SystemExit(2) from None
    if first:
        _finish(plan, out, options)
    return first


def _finish(plan: Plan, out: Path, options: RunOptions) -> None:
    """The table of all cells, on the screen and as files, and the report."""
    tables = [(out / cell.name / "table.json").read_text(encoding="utf-8") for cell in plan.cells]
    rows = [row for table in tables for row in json.loads(table)]
    save_table(out, rows)
    _print_table(rows)
    if options.report:
        from sbmrl.report.page import write_report  # here, so that a run does not wait for matplotlib

        page = write_report([load(out)], out / "report")
        track_report(options.wandb, out.name, page.parent)
        print(f"report: {page}")
    print(f"files: {out}")


def _print_table(rows: Sequence[Row]) -> None:
    table = Table(show_edge=False)
    for number, column in enumerate(columns(rows)):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        table.add_row(*cells(row, rows))
    screen = console()
    screen.print(table)
    screen.print(f"{caption(rows)} {TOLD_OF_SECONDS}")
    if len(rows) <= _MOST_LINES:
        for line in lines_below(rows):
            screen.print(line)
    for row in rows:
        if row["num_diverged"]:
            screen.print(f"{row['formulation']}: {row['num_diverged']} of {row['num_seeds']} seeds diverged")
        if row["num_unconverged"]:
            told = f"{row['num_unconverged']} of {row['num_seeds']} seeds: inner solver not converged"
            screen.print(f"{row['formulation']}: {told} (residual above {RESIDUAL_TOLERANCE:g})")
