"""Weights & Biases: one run per cell, a group per sweep, aggregates against environment steps. Never in the way."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from sbmrl.core.experiment import to_dict
from sbmrl.sweep.execute import Progress
from sbmrl.sweep.plan import CellPlan

Mode = Literal["disabled", "offline", "online"]
ESTIMATES = ("exact_return", "sampled_return", "fraction_fooled", "fraction_optimal")


class Tracker:
    """Logs one cell into the group of its sweep. Whatever fails, it warns once on stderr, logs no more, and the run
    goes on.
    """

    def __init__(self, mode: Mode, group: str, cell: CellPlan, directory: Path) -> None:
        self._run = None
        if mode != "disabled":
            config = to_dict(cell.experiment) | {"axes": {axis.name: list(axis.values) for axis in cell.axes}}
            name = group if cell.name == "." else cell.name
            self._guard(lambda: self._start(mode, group, name, config, directory))

    def _start(self, mode: Mode, group: str, name: str, config: Mapping[str, Any], directory: Path) -> None:
        run = _open(mode, group, name, "cell", directory, config)
        for stage in ("pretrain", "play"):
            run.define_metric(f"{stage}/steps")
            run.define_metric(f"{stage}/*", step_metric=f"{stage}/steps")
        self._run = run

    def _guard(self, action: Callable[[], None]) -> None:
        if not _guarded(action):
            self._run = None

    def log(self, progress: Progress) -> None:
        """Log the mean, quartiles and count of the finite runs of one record."""
        run = self._run
        if run is not None:
            self._guard(lambda: run.log(aggregate(progress)))

    def finish(self, directory: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the runs' finals and the cell's rows as tables, results and curves as an artifact, and close the run."""
        run = self._run
        if run is not None:
            self._guard(lambda: _finish(run, directory, rows))


def track_report(mode: Mode, group: str, directory: Path) -> None:
    """Log the report in `directory` as an artifact of the group."""

    def log() -> None:
        run = _open(mode, group, f"{group} report", "report", directory.parent, {})
        _log_artifact(run, group, "report", sorted(directory.iterdir()))
        run.finish()

    if mode != "disabled":
        _guarded(log)


def _open(mode: Mode, group: str, name: str, kind: str, directory: Path, config: Mapping[str, Any]) -> Any:
    import wandb

    settings = wandb.Settings(console="off", init_timeout=30, silent=True)
    return wandb.init(
        project="sbmrl",
        group=group,
        name=name,
        job_type=kind,
        config=dict(config),
        dir=str(directory),
        mode=mode,
        settings=settings,
    )


def _guarded(action: Callable[[], None]) -> bool:
    """Whether the action went well; if not, the reason is told."""
    try:
        action()
    except Exception as error:  # a logger may fail in any way; the run it watches must not
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        print(f"warning: wandb: {reason}; going on without it", file=sys.stderr)
        return False
    return True


def _finish(run: Any, directory: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import wandb

    results = pl.read_parquet(directory / "results.parquet")
    run.log({"results": wandb.Table(columns=[*results.columns], data=[list(line) for line in results.iter_rows()])})
    points = [
        {**row["point"], **{f"{name}_{bound}": row[name][bound] for name in ESTIMATES for bound in row[name]}}
        for row in rows
    ]
    run.log({"points": wandb.Table(columns=list(points[0]), data=[list(point.values()) for point in points])})
    run.summary.update({name: rows[0][name]["value"] for name in ESTIMATES} if len(rows) == 1 else {})
    files = ("results.parquet", "metrics.parquet", "table.md", "table.json", "config.json", "world.json")
    _log_artifact(run, run.name, "results", [directory / name for name in files])
    run.finish()


def _log_artifact(run: Any, name: str, kind: str, files: Sequence[Path]) -> None:
    import wandb

    artifact = wandb.Artifact(re.sub(r"[^\w.-]", "-", f"{name}-{kind}"), type=kind)
    for path in files:
        if path.is_dir():
            artifact.add_dir(str(path), name=path.name)
        elif path.is_file():
            artifact.add_file(str(path))
    run.log_artifact(artifact)


def aggregate(progress: Progress) -> dict[str, float]:
    """Mean and quartiles over the finite seeds of one record, under "stage/metric/…"."""
    logged: dict[str, float] = {f"{progress.stage}/steps": progress.steps}
    for name, values in progress.metrics.items():
        finite = values[np.isfinite(values)]
        where = f"{progress.stage}/{name}"
        logged[f"{where}/num_finite"] = len(finite)
        if len(finite):
            quartiles = np.quantile(finite, [0.25, 0.5, 0.75])
            logged |= {f"{where}/mean": float(finite.mean())}
            logged |= {f"{where}/{q}": float(v) for q, v in zip(("lower", "median", "upper"), quartiles, strict=True)}
    return logged
