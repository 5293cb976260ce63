"""`sbmrl list`, `sbmrl evaluate` and `sbmrl draw`."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import polars as pl
from rich.table import Table

from sbmrl.commands.common import console
from sbmrl.commands.options import Draw, Evaluate, List
from sbmrl.core.experiment import SCHEMES
from sbmrl.games.tabular.catalogue import WORLDS
from sbmrl.games.matrix.catalogue import GAMES, VARIANTS
from sbmrl.games.tabular.mdp import make_world
from sbmrl.errors import InputError, require
from sbmrl.core.formulation import FORMULATIONS
from sbmrl.core.options import LEARNERS
from sbmrl.experiment.presets import PRESETS
from sbmrl.experiment.program import make_program
from sbmrl.games.tabular.draw import Panel, draw_panels
from sbmrl.games.tabular.panels import model_panels, world_panel
from sbmrl.display.statistics import mean_interval
from sbmrl.sweep import execute
from sbmrl.sweep.load import load
from sbmrl.sweep.loaded_cell import LoadedCell


def show_list(config: List) -> None:
    """One line for each world, formulation, scheme, learner and preset."""
    del config
    groups = {
        "worlds": {name: summary for name, (summary, _) in WORLDS.items()}
        | {
            "random_S_A_SEED": "a random endless world with S states and A actions",
            "FILE.json, FILE.npz": "your own MDP (docs/worlds.md)",
        },
        "matrix games": {name: row.summary for name, row in GAMES.items()}
        | {f"NAME_{name}": f"the same payoffs, {variant.horizon} steps" for name, variant in VARIANTS.items()}
        | {"FILE.json, FILE.npz": "your own payoffs (docs/matrix_games.md)"},
        "formulations": {name: row.summary for name, row in FORMULATIONS.items()},
        "schemes": SCHEMES,
        "learners": LEARNERS,
        "presets": PRESETS,
    }
    for group, lines in groups.items():
        print(f"{group}:")
        for name, summary in lines.items():
            print(f"  {name:<24} {summary}")


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
        metrics = _evaluate_again(cell, config.num_episodes, config.seed)
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


def _evaluate_again(cell: LoadedCell, num_episodes: int, seed: int) -> dict[str, np.ndarray]:
    """The final metrics `[N]` of a cell's trained states, with `num_episodes` fresh episodes each."""
    program = make_program(dataclasses.replace(cell.experiment, num_eval_episodes=num_episodes), cell.world)
    fixed = execute.traced_values(cell.experiment)
    finish = jax.jit(jax.vmap(lambda key, own, state: program.finish(key, {**fixed, **own}, state).metrics))
    parts = []
    for runs, state in cell.states():
        keys = execute.seed_keys(seed, runs.seeds)
        parts.append(jax.tree.map(np.asarray, finish(keys, dict(runs.hyper), state)))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *parts)


def draw(config: Draw) -> None:
    """Draw a world, or a run's learned model beside its world."""
    execute.prepare_devices()
    source = Path(config.source)
    if source.is_dir():
        panels, stem = _run_panels(source, config.run_seed)
    else:
        mdp = make_world(config.source)
        panels = [world_panel(mdp)]
        stem = Path(mdp.name)
    stem = config.out or stem
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        paths = draw_panels(panels, stem)
    except OSError as error:
        raise InputError(f"out: {stem} cannot be written ({error.strerror or error})") from error
    for path in paths:
        print(path)


def _run_panels(directory: Path, run: int) -> tuple[list[Panel], Path]:
    cells = list(load(directory).cells.values())
    require(len(cells) == 1, "source", "must be the directory of one run", f"{len(cells)} runs in {directory}")
    (cell,) = cells
    num_runs = len(cell.runs)
    require(run < num_runs, "run_seed", f"must be below the run's {num_runs} seeds", run)
    return model_panels(cell, run), cell.directory / f"model-seed{run}"
