"""Weights & Biases: one run per cell, aggregates over seeds against environment steps. Never in a run's way."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sbmrl.sweep.execute import Progress

Mode = Literal["disabled", "offline", "online"]


class Tracker:
    """Logs one cell. Whatever fails, it warns once on stderr, logs no more, and the run goes on."""

    def __init__(self, mode: Mode, name: str, config: Mapping[str, Any], directory: Path) -> None:
        self._run = None
        if mode != "disabled":
            self._guard(lambda: self._start(mode, name, config, directory))

    def _start(self, mode: Mode, name: str, config: Mapping[str, Any], directory: Path) -> None:
        import wandb

        settings = wandb.Settings(console="off", init_timeout=30, silent=True)
        run = wandb.init(
            project="sbmrl", name=name, config=dict(config), dir=str(directory), mode=mode, settings=settings
        )
        for stage in ("pretrain", "play"):
            run.define_metric(f"{stage}/steps")
            run.define_metric(f"{stage}/*", step_metric=f"{stage}/steps")
        self._run = run

    def _guard(self, action: Any) -> None:
        try:
            action()
        except Exception as error:  # a logger may fail in any way; the run it watches must not
            self._run = None
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            print(f"warning: wandb: {reason}; going on without it", file=sys.stderr)

    def log(self, progress: Progress) -> None:
        """Log the mean, quartiles and count of the finite seeds of one record."""
        run = self._run
        if run is not None:
            self._guard(lambda: run.log(aggregate(progress)))

    def finish(self, results: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the per-seed finals as a table and the cell's rows as the summary, and close the run."""
        run = self._run
        if run is not None:
            self._guard(lambda: _finish(run, results, rows))


def _finish(run: Any, results: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    import wandb

    run.log({"results": wandb.Table(columns=results.columns, data=[list(line) for line in results.iter_rows()])})
    run.summary.update({"table": [dict(row) for row in rows]})
    run.finish()


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
