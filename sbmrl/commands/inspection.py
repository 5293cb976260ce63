"""`sbmrl list`, `sbmrl evaluate` and `sbmrl draw`."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import polars as pl
from rich.table import Table

from sbmrl.commands.common import console
from sbmrl.commands.options import Draw, Evaluate, List
from sbmrl.config import SCHEMES, Experiment
from sbmrl.environments.catalogue import WORLDS
from sbmrl.environments.closed_forms import finite_horizon_optimum
from sbmrl.environments.files import load_world
from sbmrl.environments.tabular import TabularMDP, make_mdp, make_world
from sbmrl.errors import InputError, require
from sbmrl.formulations import FORMULATIONS
from sbmrl.game import at_time
from sbmrl.options import LEARNERS
from sbmrl.presets import PRESETS
from sbmrl.program import Final, make_program
from sbmrl.report.draw import Panel, draw_panels
from sbmrl.report.statistics import mean_interval
from sbmrl.sweep import execute, load


def show_list(config: List) -> None:
    """One line for each world, formulation, scheme, learner and preset."""
    del config
    groups = {
        "worlds": {name: summary for name, (summary, _) in WORLDS.items()}
        | {
            "random_S_A_SEED": "a random endless world with S states and A actions",
            "FILE.json, FILE.npz": "your own MDP (docs/worlds.md)",
        },
        "formulations": {name: row.summary for name, row in FORMULATIONS.items()},
        "schemes": SCHEMES,
        "learners": {name: summary for name, (_, summary) in LEARNERS.items()},
        "presets": PRESETS,
    }
    for group, lines in groups.items():
        print(f"{group}:")
        for name, summary in lines.items():
            print(f"  {name:<24} {summary}")


class _Reloaded(NamedTuple):
    """A finished run, evaluated again."""

    experiment: Experiment
    mdp: TabularMDP
    final: Final


def _reload(run: Path, num_episodes: int, seed: int) -> _Reloaded:
    """Evaluate a run's checkpoint again, each seed with `num_episodes` fresh episodes.

    Raises:
        InputError: a file of the run is missing, damaged or of another program.
    """
    config = load.load_config(run)
    experiment = dataclasses.replace(config.experiment, num_eval_episodes=num_episodes)
    mdp = make_mdp(load_world(run / "world.json"))
    program = make_program(experiment, mdp)
    fixed = execute.traced_values(experiment)
    like = jax.eval_shape(program.init, jax.random.key(0), fixed)
    finish = jax.jit(jax.vmap(lambda key, own, state: program.finish(key, {**fixed, **own}, state)))
    finals = []
    for chunk in load.load_chunks(run, config, like):
        keys = execute.seed_keys(seed, chunk.runs.seeds)
        finals.append(jax.tree.map(np.asarray, finish(keys, dict(chunk.runs.hyper), chunk.state)))
    return _Reloaded(experiment, mdp, jax.tree.map(lambda *parts: np.concatenate(parts), *finals))


def evaluate(config: Evaluate) -> None:
    """Evaluate finished runs again and hold the exact numbers against the stored ones."""
    execute.prepare_devices()
    runs = load.find_runs(config.directory)
    table = Table(show_edge=False)
    for column in ("run", "seeds", "exact return", "stored", "largest difference", "sampled [95 %]", "fooled"):
        table.add_column(column, justify="left" if column == "run" else "right")
    for run in runs:
        stored = load.load_results(run)
        metrics = _reload(run, config.num_episodes, config.seed).final.metrics
        finite = np.flatnonzero(stored["finite"].to_numpy())
        stored = stored.filter(pl.col("finite"))
        exact = np.asarray(metrics["exact_return"])[finite]
        sampled = mean_interval(np.asarray(metrics["sampled_return"])[finite])
        table.add_row(
            run.name,
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
    """Draw a world, or a run's learned model beside its world."""
    execute.prepare_devices()
    source = Path(config.source)
    if source.is_dir():
        panels, stem = _run_panels(source, config.run_seed)
    else:
        mdp = make_world(config.source)
        panels = [_panel(mdp.name, mdp, mdp.transition, finite_horizon_optimum(mdp).policy)]
        stem = Path(mdp.name)
    stem = config.out or stem
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        paths = draw_panels(panels, stem)
    except OSError as error:
        raise InputError(f"out: {stem} cannot be written ({error.strerror or error})") from error
    for path in paths:
        print(path)


def _run_panels(directory: Path, seed: int) -> tuple[list[Panel], Path]:
    runs = load.find_runs(directory)
    require(len(runs) == 1, "source", "must be the directory of one run", f"{len(runs)} runs in {directory}")
    _, mdp, final = _reload(runs[0], num_episodes=1, seed=0)
    num_seeds = len(final.policy)
    require(seed < num_seeds, "run_seed", f"must be below the run's {num_seeds} seeds", seed)
    model, policy = final.model[seed], at_time(final.policy[seed], 0)
    world = _panel(f"{mdp.name}: the world", mdp, mdp.transition, policy)
    return [world, _panel(f"learned model, seed {seed}", mdp, model, policy)], runs[0] / f"model-seed{seed}"


def _panel(title: str, mdp: TabularMDP, transition: Any, policy: Any) -> Panel:
    terminal = tuple(state for state, ends in enumerate(mdp.terminal) if ends)
    return Panel(
        title,
        transition=np.asarray(transition),
        reward=np.asarray(mdp.reward),
        initial=np.asarray(mdp.initial),
        terminal=terminal,
        policy=np.asarray(policy),
    )
