"""The files of a run: written atomically, never over another run's files, read back with one-line errors.

| file | what |
|---|---|
| config.json | the experiment, seeds, and the command's options |
| world.json | the world's arrays, in the user's MDP format |
| meta.json | versions, devices, git state, seconds |
| results.parquet | one row a seed |
| metrics.parquet | long learning curves: stage, steps, seed, metric, value |
| checkpoint/ | the trained state of all seeds (orbax) |
| table.md, table.json | the row of the table |
"""

import importlib.metadata
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import polars as pl

from sbmrl import __version__
from sbmrl.checks import check
from sbmrl.config import Experiment, from_dict, to_dict
from sbmrl.environments.tabular import TabularMDP
from sbmrl.errors import InputError, require
from sbmrl.options import learner_name
from sbmrl.stackelberg import GameState
from sbmrl.sweep.execute import Cell
from sbmrl.theory.bounds import Certificate

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "distrax", "orbax-checkpoint", "numpy", "polars", "wandb")
RESULT_COLUMNS = (
    "exact_return",
    "exact_return_stochastic",
    "sampled_return",
    "optimal_return",
    "uniform_return",
    "regret",
    "fooled",
    "optimal",
    "follower_gap",
    "follower_gap_random",
    "follower_gap_true",
    "fit",
    "fit_kl",
    "fit_brier",
    "random_fit",
    "model_return",
    "residual",
    *Certificate._fields,
    "finite",
)


def create_directory(out: Path) -> Path:
    """Make an empty directory for a run.

    Raises:
        InputError: it holds files already, is a file, or cannot be written.
    """
    out = out.absolute()
    try:
        if out.exists():
            require(out.is_dir(), "out", "must be a directory", f"the file {out}")
            require(not any(out.iterdir()), "out", "must be a new or empty directory", f"{out}, which holds files")
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(f"out: {out} cannot be written ({error.strerror or error})") from error
    return out


def write_text(path: Path, text: str) -> None:
    """Write through a temporary name, so that a reader sees the old file or the new one, never half of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_parquet(path: Path, frame: pl.DataFrame, metadata: Mapping[str, str]) -> None:
    """Write a frame with the configuration in its metadata, atomically."""
    temporary = path.with_name(path.name + ".tmp")
    frame.write_parquet(temporary, metadata=dict(metadata))
    os.replace(temporary, path)


def describe_machine() -> dict[str, Any]:
    """Versions, devices and git state, for meta.json."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {"sbmrl": __version__} | {name: importlib.metadata.version(name) for name in _PACKAGES},
        "devices": [f"{device.platform}:{device.device_kind}" for device in jax.devices()],
        "git": _git_state(),
    }


def _git_state() -> dict[str, Any] | None:
    """The commit of the checkout this package lies in, if it lies in one."""

    def git(*args: str) -> str:
        root = Path(__file__).resolve().parents[2]
        done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def save_config(out: Path, experiment: Experiment, mdp: TabularMDP, num_seeds: int, root_seed: int) -> None:
    """Write config.json and world.json, before training starts."""
    config = {"num_seeds": num_seeds, "seed": root_seed, "experiment": to_dict(experiment)}
    write_json(out / "config.json", config)
    world = {
        "name": mdp.name,
        "transition": np.asarray(mdp.transition, np.float64).tolist(),
        "reward": np.asarray(mdp.reward, np.float64).tolist(),
        "initial": np.asarray(mdp.initial, np.float64).tolist(),
        "terminal": [state for state, ends in enumerate(mdp.terminal) if ends],
        "horizon": mdp.horizon,
    }
    write_json(out / "world.json", world)


def results_frame(cell: Cell, experiment: Experiment, mdp: TabularMDP) -> pl.DataFrame:
    """One row a seed."""
    num_seeds = len(cell.final.metrics["exact_return"])
    columns: dict[str, Any] = {
        "formulation": [experiment.formulation] * num_seeds,
        "scheme": [experiment.scheme] * num_seeds,
        "env": [mdp.name] * num_seeds,
        "alpha": [float(experiment.alpha)] * num_seeds,
        "loss": [experiment.loss] * num_seeds,
        "agent_reward": [experiment.agent_reward] * num_seeds,
        "learner": [learner_name(experiment.leader)] * num_seeds,
        "seed": np.arange(num_seeds),
    }
    return pl.DataFrame(columns | {name: cell.final.metrics[name] for name in RESULT_COLUMNS})


def metrics_frame(cell: Cell) -> pl.DataFrame:
    """The learning curves, long: one row per stage, record, seed and metric."""
    frames = [
        pl.DataFrame({"seed": np.arange(len(value)), "value": value.astype(np.float32)}).select(
            pl.lit(progress.stage).alias("stage"),
            pl.lit(progress.steps).alias("steps"),
            "seed",
            pl.lit(name).alias("metric"),
            "value",
        )
        for progress in cell.curves
        for name, value in progress.metrics.items()
    ]
    return pl.concat(frames)


def save_results(out: Path, cell: Cell, experiment: Experiment, mdp: TabularMDP) -> pl.DataFrame:
    """Write the numbers of a finished cell but its table; returns the results."""
    results = results_frame(cell, experiment, mdp)
    metadata = {"config": (out / "config.json").read_text(encoding="utf-8")}
    write_parquet(out / "metrics.parquet", metrics_frame(cell), metadata)
    write_parquet(out / "results.parquet", results, metadata)
    write_json(out / "meta.json", describe_machine() | {"seconds": cell.seconds})
    return results


def save_checkpoint(out: Path, cell: Cell) -> None:
    """Write the trained state of all seeds, last: it is the largest, and the numbers are safe by then.

    Raises:
        InputError: it cannot be written, as on a full disk.
    """
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(out / "checkpoint", cell.state)
    except Exception as error:  # orbax passes on whatever its storage raises
        raise InputError(f"{out / 'checkpoint'}: cannot be written ({str(error).splitlines()[0][:120]})") from error


def find_runs(directory: Path) -> list[Path]:
    """The finished runs in a directory: itself, or its sub-directories.

    Raises:
        InputError: there is none.
    """
    candidates = [directory, *sorted(p for p in directory.glob("*") if p.is_dir())] if directory.is_dir() else []
    runs = [path for path in candidates if (path / "config.json").is_file() and (path / "checkpoint").is_dir()]
    require(bool(runs), str(directory), "must be the directory of a finished run", "no config.json and checkpoint")
    return runs


def load_config(run: Path) -> tuple[Experiment, int, int]:
    """The experiment of a run, its number of seeds and its root seed.

    Raises:
        InputError: config.json is missing, damaged or of another program.
    """
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        return check(from_dict(config["experiment"])), int(config["num_seeds"]), int(config["seed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run / 'config.json'}: is no configuration of this program ({error})") from error


def load_state(run: Path, like: GameState) -> GameState:
    """The trained state of all seeds.

    Args:
        run: the run's directory.
        like: the state's structure, shapes and dtypes (`jax.eval_shape` of the program's init).

    Raises:
        InputError: the checkpoint is missing, damaged or of another shape.
    """
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), like)
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore((run / "checkpoint").absolute(), target)
    except Exception as error:  # orbax and tensorstore raise many kinds for a damaged checkpoint
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(f"{run / 'checkpoint'}: cannot be restored ({reason})") from error


def load_results(run: Path) -> pl.DataFrame:
    """One row a seed.

    Raises:
        InputError: results.parquet is missing, damaged or of another program.
    """
    path = run / "results.parquet"
    try:
        results = pl.read_parquet(path)
    except Exception as error:  # polars raises many kinds for a damaged file
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    missing = [name for name in RESULT_COLUMNS if name not in results.columns]
    require(not missing, str(path), f"must have the columns {', '.join(RESULT_COLUMNS)}", f"none of {missing}")
    return results
