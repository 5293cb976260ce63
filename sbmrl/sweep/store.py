"""The files of a cell and of its chunks.

| file | what |
|---|---|
| config.json | the experiment, its axes, seeds |
| world.json | the world's arrays, in the format of the user's own files |
| width.json | runs side by side |
| chunks/<first run>/ | a finished chunk: results, curves, evaluated strategies, trained state (orbax), checksums |
| meta.json | versions, devices, git state, seconds |
| results.parquet | one row a run |
| metrics.parquet | long learning curves: stage, steps, seed, metric, value |
| table.md, table.json | a row of the table for each point |
"""

import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import polars as pl

from sbmrl.core.experiment import compose, to_dict
from sbmrl.core.files import write_json
from sbmrl.core.parts import World
from sbmrl.errors import InputError
from sbmrl.experiment.plugins import plugins_of
from sbmrl.sweep.checkpoint import damage, write_manifest, write_state
from sbmrl.sweep.execute import Cell, Progress, Runs
from sbmrl.sweep.files import describe_machine, write_parquet
from sbmrl.sweep.plan import CellPlan, Plan
from sbmrl.sweep.processes import on_first

# What the results of every kind of game have; what one kind has beside them stands behind.
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
    "residual",
    "finite",
)


def save_config(directory: Path, cell: CellPlan, plan: Plan, world: World) -> None:
    """Write config.json and world.json, before training starts."""
    config = {
        "num_seeds": plan.num_seeds,
        "seed": plan.seed,
        "axes": [[axis.name, list(axis.values)] for axis in cell.axes],
        "static": [list(pair) for pair in cell.static],
        "experiment": to_dict(cell.experiment),
        "plugins": plugins_of(cell.experiment),
    }
    write_json(directory / "config.json", config)
    write_json(directory / "world.json", compose(cell.experiment).kind.world_fields(world))


def results_frame(finished: Cell, runs: Runs, cell: CellPlan, world: World) -> pl.DataFrame:
    """One row a run: what the cell is, the values of its axes, the seed, the final numbers."""
    composition, count = compose(cell.experiment), len(runs)
    told = {
        "formulation": composition.row.name,
        "scheme": composition.scheme.name,
        "env": world.name,
        **composition.kind.columns(cell.experiment.game),
        "learner": composition.leader.name,
    }
    columns: dict[str, Any] = {name: [value] * count for name, value in told.items()}
    axes = {name: values.astype(np.float64) for name, values in runs.hyper.items()}
    others = sorted(set(finished.metrics) - set(RESULT_COLUMNS))
    numbers = {name: finished.metrics[name] for name in (*RESULT_COLUMNS, *others)}
    return pl.DataFrame(columns | axes | {"seed": runs.seeds} | numbers)


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


_CURVES = "curves.npz"


def curves_file(curves: Sequence[Progress]) -> dict[str, bytes]:
    """The records so far as an npz file: "stage/record/of/steps/metric" -> `[N]`."""
    file = io.BytesIO()
    arrays = {
        f"{p.stage}/{p.record}/{p.num_records}/{p.steps}/{name}": value
        for p in curves
        for name, value in p.metrics.items()
    }
    np.savez(file, allow_pickle=False, **arrays)
    return {_CURVES: file.getvalue()}


def read_curves(checkpoint: Path) -> list[Progress]:
    """The inverse of `curves_file`."""
    found: dict[tuple[str, int, int, int], dict[str, np.ndarray]] = {}
    with np.load(checkpoint / _CURVES) as arrays:
        for key in arrays.files:
            stage, record, num_records, steps, metric = key.split("/")
            found.setdefault((stage, int(record), int(num_records), int(steps)), {})[metric] = arrays[key]
    return [
        Progress(stage, record, num_records, steps, metrics)
        for (stage, record, num_records, steps), metrics in found.items()
    ]


def chunk_directory(directory: Path, start: int) -> Path:
    """Where the chunk that begins with run `start` lies."""
    return directory / "chunks" / f"{start:08d}"


def checkpoint_directory(directory: Path, start: int) -> Path:
    """Where the checkpoints of a chunk lie while it is running."""
    return directory / "checkpoints" / f"{start:08d}"


def write_width(directory: Path, width: int) -> None:
    """Keep how many runs of a cell go side by side, so that a resumed cell has the same chunks."""
    write_json(directory / "width.json", width)


def read_width(directory: Path) -> int:
    """How many runs of a cell go side by side; 0 where that has not been chosen.

    Raises:
        InputError: width.json holds something else than a whole number.
    """
    path = directory / "width.json"
    try:
        return int(path.read_text(encoding="utf-8")) if path.is_file() else 0
    except ValueError as error:
        raise InputError(f"{path}: must hold a whole number ({error})") from error


class Chunk(NamedTuple):
    """What chunk.json holds: the runs of a chunk, the width of its state, and the seconds it took."""

    num_runs: int
    width: int
    seconds: Mapping[str, float]


def read_chunk(path: Path) -> Chunk:
    """What a good chunk says of itself."""
    return Chunk(**json.loads((path / "chunk.json").read_text(encoding="utf-8")))


def chunk_size(directory: Path, start: int, warn: Callable[[str], None]) -> int:
    """The runs of a finished chunk whose checksums hold, else 0; a damaged one is named and put away."""
    path = chunk_directory(directory, start)
    if not path.is_dir():
        return 0
    wrong = damage(path)
    if wrong is None:
        return read_chunk(path).num_runs
    warn(f"{path}: damaged ({wrong}); it is run again")
    remove(path)
    return 0


def _flat(profile: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Role -> array `[N, ...]`, or role/0, role/1, … for the leaves of a strategy that is a pytree."""
    found = {}
    for role, strategy in profile.items():
        leaves = jax.tree.leaves(strategy)
        whole = len(leaves) == 1 and leaves[0] is strategy
        found |= {role: strategy} if whole else {f"{role}/{i}": leaf for i, leaf in enumerate(leaves)}
    return found


def save_chunk(
    directory: Path,
    start: int,
    finished: Cell,
    runs: Runs,
    cell: CellPlan,
    world: World,
    seconds: Mapping[str, float],
) -> None:
    """Write a finished chunk under a temporary name, with the checksum of every file, then give it its name.

    With several processes each of them calls this, and writes its part of the trained states.

    Raises:
        InputError: it cannot be written, as on a full disk; what was finished before is intact, and so are the numbers
            of this chunk if it was the trained states that found no room.
    """
    final = chunk_directory(directory, start)
    temporary = final.with_name(final.name + ".tmp")
    width = len(jax.tree.leaves(finished.state)[0])

    def write_numbers() -> None:
        remove(temporary)
        temporary.mkdir(parents=True)
        results_frame(finished, runs, cell, world).write_parquet(temporary / "results.parquet")
        np.savez(temporary / "profiles.npz", allow_pickle=False, **_flat(finished.profile))
        write_json(temporary / "chunk.json", Chunk(len(runs), width, dict(seconds))._asdict())
        metrics_frame(finished.curves, runs).write_parquet(temporary / "metrics.parquet")

    def give_name() -> None:
        write_manifest(temporary)
        temporary.rename(final)

    try:
        on_first(write_numbers)
        write_state(temporary / "state", finished.state)
        on_first(give_name)
    except OSError as error:
        numbers = temporary / "metrics.parquet"  # written last of the numbers: the trained states are what is too large
        kept = f"; its numbers are in {temporary}" if numbers.is_file() else ""
        raise InputError(f"{final}: cannot be written ({error.strerror or error}){kept}") from error


def finished_chunks(directory: Path) -> list[Path]:
    """The chunks of a cell that have their name, in order."""
    return sorted(path for path in (directory / "chunks").glob("????????") if path.is_dir())


def next_chunk(directory: Path, start: int, num_runs: int) -> int:
    """Where the first finished chunk behind run `start` begins; `num_runs` where there is none."""
    return min((int(path.name) for path in finished_chunks(directory) if int(path.name) > start), default=num_runs)


def seconds_of(chunks: Sequence[Path]) -> dict[str, float]:
    """What chunks took together: "compile" and "run"."""
    parts = [read_chunk(path).seconds for path in chunks]
    return {name: sum(part[name] for part in parts) for name in ("compile", "run")}


def finish_cell(directory: Path) -> None:
    """Put the chunks of a cell together: results.parquet, metrics.parquet, and meta.json with the seconds of all."""
    metadata = {"config": (directory / "config.json").read_text(encoding="utf-8")}
    chunks = finished_chunks(directory)
    for name in ("results.parquet", "metrics.parquet"):
        write_parquet(directory / name, pl.concat([pl.scan_parquet(chunk / name) for chunk in chunks]), metadata)
    write_json(directory / "meta.json", describe_machine() | {"seconds": seconds_of(chunks)})


def remove(path: Path) -> None:
    """Remove a directory if it is there."""
    shutil.rmtree(path, ignore_errors=True)
