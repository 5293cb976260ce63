"""The files of a run: written atomically, never over another run's files, read back with one-line errors.

| file | what |
|---|---|
| config.json | the experiment, its axes, seeds |
| world.json | the world's arrays, in the user's MDP format |
| chunks/<first run>/ | a finished chunk: results, curves, trained state (orbax), checksums |
| meta.json | versions, devices, git state, seconds |
| results.parquet | one row a run |
| metrics.parquet | long learning curves: stage, steps, seed, metric, value |
| table.md, table.json | a row of the table for each point |
"""

import importlib.metadata
import io
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl

from sbmrl import __version__
from sbmrl.config import to_dict
from sbmrl.environments.tabular import TabularMDP
from sbmrl.errors import InputError, require
from sbmrl.options import learner_name
from sbmrl.program import Program
from sbmrl.sweep.checkpoint import damage, write_manifest, write_state
from sbmrl.sweep.execute import Cell, Progress, Runs
from sbmrl.sweep.plan import CellPlan, Plan
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


def save_config(directory: Path, cell: CellPlan, plan: Plan, mdp: TabularMDP) -> None:
    """Write config.json and world.json, before training starts."""
    config = {
        "num_seeds": plan.num_seeds,
        "seed": plan.seed,
        "axes": [[axis.name, list(axis.values)] for axis in cell.axes],
        "experiment": to_dict(cell.experiment),
    }
    write_json(directory / "config.json", config)
    world = {
        "name": mdp.name,
        "transition": np.asarray(mdp.transition, np.float64).tolist(),
        "reward": np.asarray(mdp.reward, np.float64).tolist(),
        "initial": np.asarray(mdp.initial, np.float64).tolist(),
        "terminal": [state for state, ends in enumerate(mdp.terminal) if ends],
        "horizon": mdp.horizon,
    }
    write_json(directory / "world.json", world)


def results_frame(finished: Cell, runs: Runs, cell: CellPlan, mdp: TabularMDP) -> pl.DataFrame:
    """One row a run: what the cell is, the values of its axes, the seed, the final numbers."""
    experiment, count = cell.experiment, len(runs)
    columns: dict[str, Any] = {
        "formulation": [experiment.formulation] * count,
        "scheme": [experiment.scheme] * count,
        "env": [mdp.name] * count,
        "alpha": np.full(count, experiment.alpha),
        "loss": [experiment.loss] * count,
        "agent_reward": [experiment.agent_reward] * count,
        "learner": [learner_name(experiment.leader)] * count,
    }
    axes = {name: values.astype(np.float64) for name, values in runs.hyper.items()}
    return pl.DataFrame(
        columns | axes | {"seed": runs.seeds} | {name: finished.final.metrics[name] for name in RESULT_COLUMNS}
    )


def metrics_frame(curves: Sequence[Progress], runs: Runs) -> pl.DataFrame:
    """The learning curves, long: one row per stage, record, run and metric."""
    own = {"seed": runs.seeds} | {name: values.astype(np.float64) for name, values in runs.hyper.items()}
    frames = [
        pl.DataFrame(own | {"value": value.astype(np.float32)}).with_columns(
            pl.lit(progress.stage).alias("stage"), pl.lit(progress.steps).alias("steps"), pl.lit(name).alias("metric")
        )
        for progress in curves
        for name, value in progress.metrics.items()
    ]
    return pl.concat(frames).select("stage", "steps", *own, "metric", "value")


CURVES = "curves.npz"


def curves_bytes(curves: Sequence[Progress]) -> bytes:
    """The records so far as an npz file: "stage/record/metric" -> `[N]`."""
    file = io.BytesIO()
    arrays = {f"{p.stage}/{p.record}/{name}": value for p in curves for name, value in p.metrics.items()}
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def read_curves(checkpoint: Path, program: Program) -> list[Progress]:
    """The inverse of `curves_bytes`."""
    with np.load(checkpoint / CURVES) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    curves = []
    for stage in program.stages:
        for record in range(1, stage.num_records + 1):
            prefix = f"{stage.name}/{record}/"
            metrics = {name.removeprefix(prefix): v for name, v in found.items() if name.startswith(prefix)}
            if metrics:
                steps = record * stage.steps_per_record
                curves.append(Progress(stage.name, record, stage.num_records, steps, metrics))
    return curves


def chunk_directory(directory: Path, start: int) -> Path:
    """Where the chunk that begins with run `start` lies."""
    return directory / "chunks" / f"{start:08d}"


def chunk_size(directory: Path, start: int, warn: Callable[[str], None]) -> int:
    """The runs of a finished chunk whose checksums hold, else 0; a damaged one is named and put away."""
    path = chunk_directory(directory, start)
    if not path.is_dir():
        return 0
    wrong = damage(path)
    if wrong is None:
        return pl.scan_parquet(path / "results.parquet").select(pl.len()).collect().item()
    warn(f"{path}: damaged ({wrong}); it is run again")
    remove(path)
    return 0


def save_chunk(
    directory: Path,
    start: int,
    finished: Cell,
    runs: Runs,
    cell: CellPlan,
    mdp: TabularMDP,
    seconds: Mapping[str, float],
) -> None:
    """Write a finished chunk under a temporary name, with the checksum of every file, then give it its name.

    Raises:
        InputError: it cannot be written, as on a full disk; what was finished before is intact, and so are the numbers
            of this chunk if it was the trained states that found no room.
    """
    final = chunk_directory(directory, start)
    temporary = final.with_name(final.name + ".tmp")
    try:
        remove(temporary)
        temporary.mkdir(parents=True)
        results_frame(finished, runs, cell, mdp).write_parquet(temporary / "results.parquet")
        metrics_frame(finished.curves, runs).write_parquet(temporary / "metrics.parquet")
        write_state(temporary / "state", finished.state)
        write_json(temporary / "seconds.json", dict(seconds))
        write_manifest(temporary)
        temporary.rename(final)
    except OSError as error:
        numbers = temporary / "metrics.parquet"  # written second: the trained states are what is too large
        kept = f"; its numbers are in {temporary}" if numbers.is_file() else ""
        raise InputError(f"{final}: cannot be written ({error.strerror or error}){kept}") from error


def finish_cell(directory: Path) -> None:
    """Put the chunks of a cell together: results.parquet, metrics.parquet, and meta.json with the seconds of all."""
    metadata = {"config": (directory / "config.json").read_text(encoding="utf-8")}
    chunks = sorted((directory / "chunks").glob("????????"))
    for name in ("results.parquet", "metrics.parquet"):
        write_parquet(directory / name, pl.concat([pl.read_parquet(chunk / name) for chunk in chunks]), metadata)
    parts = [json.loads((chunk / "seconds.json").read_text(encoding="utf-8")) for chunk in chunks]
    seconds = {name: sum(part[name] for part in parts) for name in ("compile", "run")}
    write_json(directory / "meta.json", describe_machine() | {"seconds": seconds})


def remove(path: Path) -> None:
    """Remove a directory if it is there."""
    shutil.rmtree(path, ignore_errors=True)
