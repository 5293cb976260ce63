"""Finished runs read back, with one-line errors."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import polars as pl

from sbmrl.checks import check
from sbmrl.config import Experiment, from_dict
from sbmrl.errors import InputError, require
from sbmrl.stackelberg import GameState
from sbmrl.sweep.checkpoint import damage, read_state
from sbmrl.sweep.execute import Runs, all_runs, part
from sbmrl.sweep.plan import Axis, CellPlan
from sbmrl.sweep.store import RESULT_COLUMNS, chunk_directory


def find_runs(directory: Path) -> list[Path]:
    """The finished cells in a directory: itself, or its sub-directories.

    Raises:
        InputError: there is none.
    """
    candidates = [directory, *sorted(p for p in directory.glob("*") if p.is_dir())] if directory.is_dir() else []
    runs = [path for path in candidates if (path / "config.json").is_file() and (path / "results.parquet").is_file()]
    require(bool(runs), str(directory), "must be the directory of a finished run", "no config.json and results.parquet")
    return runs


class Config(NamedTuple):
    """What config.json holds: the experiment, its axes, seeds a point, and the root seed."""

    experiment: Experiment
    axes: tuple[Axis, ...]
    num_seeds: int
    seed: int


def load_config(run: Path) -> Config:
    """The configuration of a cell.

    Raises:
        InputError: config.json is missing, damaged or of another program.
    """
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        axes = tuple(Axis(name, tuple(values)) for name, values in config["axes"])
        return Config(check(from_dict(config["experiment"])), axes, int(config["num_seeds"]), int(config["seed"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run / 'config.json'}: is no configuration of this program ({error})") from error


class Chunk(NamedTuple):
    """A finished chunk read back: its runs, and their trained state `[N, ...]`."""

    runs: Runs
    state: GameState


def load_chunks(run: Path, config: Config, like: GameState) -> Iterator[Chunk]:
    """The chunks of a finished cell in order.

    Args:
        run: the cell's directory.
        config: its configuration.
        like: structure, shapes and dtypes of one run's state (`jax.eval_shape` of the program's init).

    Raises:
        InputError: a chunk is missing or damaged.
    """
    runs = all_runs(config.num_seeds, CellPlan("", config.experiment, config.axes).points())
    start = 0
    while start < len(runs):
        path = chunk_directory(run, start)
        wrong = damage(path)
        require(wrong is None, str(path), "must be a finished chunk", wrong)
        count = pl.scan_parquet(path / "results.parquet").select(pl.len()).collect().item()
        target = jax.tree.map(lambda x, count=count: jax.ShapeDtypeStruct((count, *x.shape), x.dtype), like)
        try:
            yield Chunk(part(runs, start, count), read_state(path / "state", target))
        except Exception as error:  # orbax and tensorstore raise many kinds for a state of another shape
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise InputError(f"{path}: cannot be restored ({reason})") from error
        start += count


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
