"""`sbmrl train` and `sbmrl reproduce`."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from sbmrl.commands.common import bar, console, default_directory
from sbmrl.commands.options import Reproduce, RunOptions
from sbmrl.config import Experiment, to_dict
from sbmrl.environments.tabular import TabularMDP, make_world
from sbmrl.formulations import POSTER_FORMULATIONS
from sbmrl.presets import preset
from sbmrl.program import make_program
from sbmrl.report.table import COLUMNS, RESIDUAL_TOLERANCE, Row, caption, cells, certificate_line, make_row, to_markdown
from sbmrl.report.tracking import Tracker
from sbmrl.sweep import execute, store


def train(experiment: Experiment, options: RunOptions) -> None:
    """One cell, its files, its row of the table."""
    execute.prepare_devices()
    mdp = make_world(experiment.env)
    name = f"{experiment.formulation}-{mdp.name}"
    out = store.create_directory(options.out or default_directory(name))
    row = _train_cell(experiment, mdp, out, options.num_seeds, options.seed, options.wandb)
    _print_table([row], out)


def reproduce(config: Reproduce) -> None:
    """All rows of the poster's table, each a cell in its own sub-directory, and the table."""
    execute.prepare_devices()
    experiments = [dataclasses.replace(preset(config.preset, name), env=config.env) for name in POSTER_FORMULATIONS]
    mdp = make_world(config.env)
    out = store.create_directory(config.out or default_directory("reproduce"))
    rows = []
    for number, experiment in enumerate(experiments, start=1):
        where = store.create_directory(out / experiment.formulation)
        heading = f"{number}/{len(experiments)} "
        rows.append(_train_cell(experiment, mdp, where, config.num_seeds, config.seed, config.wandb, heading))
    _save_table(out, rows)
    frames = [pl.read_parquet(out / experiment.formulation / "results.parquet") for experiment in experiments]
    store.write_parquet(out / "results.parquet", pl.concat(frames), {})
    _print_table(rows, out)


def _train_cell(
    experiment: Experiment, mdp: TabularMDP, out: Path, num_seeds: int, seed: int, wandb: Any, heading: str = ""
) -> Row:
    store.save_config(out, experiment, mdp, num_seeds, seed)
    tracker = Tracker(wandb, f"{experiment.formulation}-{mdp.name}", to_dict(experiment), out)
    start = time.perf_counter()
    program = make_program(experiment, mdp)
    with bar(f"{heading}{experiment.formulation}", len(program.stages) * experiment.num_records) as advance:

        def report(progress: execute.Progress) -> None:
            tracker.log(progress)
            advance(progress)

        cell = execute.run_cell(experiment, program, num_seeds, seed, report)
    results = store.save_results(out, cell, experiment, mdp)
    row = make_row(results, time.perf_counter() - start)
    _save_table(out, [row])
    store.save_checkpoint(out, cell)
    tracker.finish(results, row)
    return row


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
        screen.print(certificate_line(row))
        if row["num_diverged"]:
            screen.print(f"{row['formulation']}: {row['num_diverged']} of {row['num_seeds']} seeds diverged")
        if row["num_unconverged"]:
            told = (
                f"{row['num_unconverged']} of {row['num_seeds']} seeds end with an inner solver that has not converged"
            )
            screen.print(f"{row['formulation']}: {told} (residual above {RESIDUAL_TOLERANCE:g})")
    screen.print(f"files: {out}")
