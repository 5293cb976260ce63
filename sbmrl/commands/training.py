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

from rich.table import Table

from sbmrl.games.matrix import programme as oracles_followers
from sbmrl.commands.cluster import CellJob, Cluster
from sbmrl.commands.common import console, default_directory
from sbmrl.commands.options import Reproduce, RunOptions, SweepOptions, parse_distributed
from sbmrl.commands.watch import Watcher, save_table
from sbmrl.core.experiment import Experiment
from sbmrl.games.matrix.catalogue import TWELVE_GAMES
from sbmrl.errors import InputError
from sbmrl.core.formulation import POSTER_FORMULATIONS
from sbmrl.experiment.presets import preset
from sbmrl.report.table import COLUMNS, POSTER_ENV, RESIDUAL_TOLERANCE, Row, caption, cells, certificate_lines
from sbmrl.report.tracking import track_report
from sbmrl.sweep import execute
from sbmrl.sweep.load import load
from sbmrl.sweep.plan import CellPlan, Plan, make_plan, parse_axis
from sbmrl.sweep.processes import REQUEUE, PeerError, connected, is_first
from sbmrl.sweep.run import PreemptedError, opened, run_plan

_MOST_CERTIFICATES = 4  # lines on the screen; table.md has all of them


def train(experiment: Experiment, options: RunOptions) -> None:
    """One cell, its files, its row of the table."""
    plan = Plan((CellPlan(".", experiment, ()),), options.num_seeds, options.seed, options.chunk_size)
    name = f"{experiment.formulation}-{experiment.env}".replace("/", "_")
    _run(plan, options.out or default_directory(name), options)


def reproduce(config: Reproduce) -> None:
    """The poster's table or the games of "Oracles & Followers", each row a cell in its own sub-directory."""
    out = config.out or default_directory("reproduce")
    if config.programme == "poster":
        name, env = config.preset or "poster", config.env or POSTER_ENV
        experiments = [dataclasses.replace(preset(name, row), env=env) for row in POSTER_FORMULATIONS]
        cells = tuple(CellPlan(e.formulation, e, ()) for e in experiments)
        _run(Plan(cells, config.num_seeds, config.seed, config.chunk_size), out, config)
        return
    name = config.preset or "oracles_followers"
    cells = oracles_followers.cells(name, (config.env,) if config.env else TWELVE_GAMES)
    if _run(Plan(cells, config.num_seeds, config.seed, config.chunk_size), out, config):
        from sbmrl.games.matrix.programme_report import write  # here, so that a run does not wait for matplotlib

        for path in write(load(out), name, out):
            print(path)


def sweep(experiments: Sequence[Experiment], options: SweepOptions) -> None:
    """Every formulation over the whole grid; a sub-directory a cell."""
    grid = [parse_axis(text) for text in options.grid]
    plan = make_plan(experiments, grid, options.num_seeds, options.seed, options.chunk_size)
    out = (options.out or default_directory("sweep")).absolute()
    if options.cluster == "off":
        _run(plan, out, options)
        return
    how = parse_distributed(options.distributed)
    if isinstance(how, tuple):
        raise InputError(f"distributed: must be off or auto with a cluster, got {options.distributed}")
    cluster = Cluster(options.cluster, options.cluster_options)
    try:
        with _stop_on_sigterm() as should_stop, opened(plan, out, options.resume):
            missing = [cell for cell in plan.cells if not (out / cell.name / "table.json").is_file()]
            cluster.run(
                [CellJob(plan, cell, out, options.wandb, options.checkpoint_seconds, how) for cell in missing],
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
        with connected(parse_distributed(options.distributed)), _stop_on_sigterm() as should_stop:
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


def _print_table(rows: Sequence[Row]) -> None:
    table = Table(show_edge=False)
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        table.add_row(*cells(row))
    screen = console()
    screen.print(table)
    screen.print(caption(rows))
    if len(rows) <= _MOST_CERTIFICATES:
        for line in certificate_lines(rows):
            screen.print(line)
    for row in rows:
        if row["num_diverged"]:
            screen.print(f"{row['formulation']}: {row['num_diverged']} of {row['num_seeds']} seeds diverged")
        if row["num_unconverged"]:
            told = f"{row['num_unconverged']} of {row['num_seeds']} seeds: inner solver not converged"
            screen.print(f"{row['formulation']}: {told} (residual above {RESIDUAL_TOLERANCE:g})")
