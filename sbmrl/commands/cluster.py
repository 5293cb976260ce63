"""Cells as jobs of a cluster, through submitit: one job a cell, each resumable by itself."""

import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from sbmrl.commands.options import RunOptions
from sbmrl.commands.watch import Watcher
from sbmrl.core.experiment import from_dict
from sbmrl.errors import InputError, require
from sbmrl.experiment.plugins import find_plugins
from sbmrl.experiment.solver import world_of
from sbmrl.report.tracking import Mode
from sbmrl.sweep import execute
from sbmrl.sweep.files import locked
from sbmrl.sweep.plan import Axis, CellPlan, Plan
from sbmrl.sweep.processes import connected
from sbmrl.sweep.run import PreemptedError, run_cell

_SECONDS = 1.0  # between two looks at the jobs
_DEFAULTS = {"timeout_min": 24 * 60}


@dataclasses.dataclass(frozen=True)
class CellJob:
    """What a job does: one cell, from what lies on disk.

    It is plain data, so that a job finds its parts and their plug-ins again by itself. Where the scheduler takes the
    job off the machine, submitit calls `checkpoint` and puts the same job back into the queue; it goes on from the
    newest checkpoint.
    """

    cell: dict[str, Any]
    num_seeds: int
    seed: int
    chunk_size: int | None
    out: Path
    wandb: Mode
    checkpoint_seconds: float
    distributed: Literal["off", "auto"]

    @classmethod
    def of(
        cls, plan: Plan, cell: CellPlan, out: Path, options: RunOptions, distributed: Literal["off", "auto"]
    ) -> "CellJob":
        """The job of a cell of a plan."""
        alone = dataclasses.replace(plan, cells=(cell,)).to_dict()
        told = alone["cells"][0] | {"static": [list(pair) for pair in cell.static]}
        sizes = (plan.num_seeds, plan.seed, plan.chunk_size)
        return cls(told, *sizes, out, options.wandb, options.checkpoint_seconds, distributed)

    def plan(self) -> Plan:
        """The plan of this cell alone.

        Raises:
            InputError: a plug-in that it needs is missing, or has changed.
        """
        find_plugins(self.cell["plugins"])
        axes = tuple(Axis(name, tuple(values)) for name, values in self.cell["axes"])
        static = tuple((name, value) for name, value in self.cell["static"])
        cell = CellPlan(self.cell["name"], from_dict(self.cell["experiment"]), axes, static)
        return Plan((cell,), self.num_seeds, self.seed, self.chunk_size)

    def __call__(self) -> None:
        """Run what is missing of the cell; one process at a time."""
        execute.prepare_devices()
        plan = self.plan()
        (cell,) = plan.cells
        directory = self.out / cell.name
        directory.mkdir(parents=True, exist_ok=True)
        with (
            connected(self.distributed),
            locked(directory),
            Watcher(plan, self.wandb, self.out.name, lambda: False) as watcher,
        ):
            run_cell(cell, plan, directory, world_of(cell.experiment), watcher, self.checkpoint_seconds)

    def checkpoint(self) -> Any:
        """The job to be put back into the queue."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def parse_options(text: str) -> dict[str, Any]:
    """`timeout_min=60,slurm_partition=gpu` as keyword arguments; whole numbers become numbers.

    Raises:
        InputError: no `name=value`.
    """
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        require(
            bool(name and equals), "cluster_options", "must look like timeout_min=60,slurm_partition=gpu", repr(text)
        )
        options[name.strip()] = int(value) if value.strip().isdigit() else value.strip()
    return options


class Cluster:
    """Runs the cells of a plan as jobs and waits for them."""

    def __init__(self, name: str, options: str) -> None:
        """`name` is a cluster that submitit knows ("slurm", "local"), `options` what it is told of the jobs.

        Raises:
            InputError: submitit is not installed, or does not know the cluster or one of the options.
        """
        self.name, self.options = name, _DEFAULTS | parse_options(options)
        with tempfile.TemporaryDirectory() as folder:  # to be refused, if so, before anything is written
            self._executor(Path(folder))

    def _executor(self, folder: Path) -> Any:
        """Submits jobs and keeps their logs in `folder`."""
        os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")  # else its import closes everybody's log handlers
        try:
            import submitit
        except ImportError as error:
            raise InputError("cluster: needs submitit; install 'sbmrl[cluster]'") from error
        try:
            executor = submitit.AutoExecutor(folder=folder, cluster=self.name)
            executor.update_parameters(**self.options)
        except (RuntimeError, ValueError, NameError, AssertionError) as error:
            raise InputError(f"cluster: {str(error).splitlines()[0]}") from error
        return executor

    def run(self, work: Sequence[CellJob], folder: Path, should_stop: Callable[[], bool]) -> None:
        """Submit the jobs, which leave their logs in `folder`, and wait until all have ended.

        Raises:
            PreemptedError: it should stop; the jobs go on.
            InputError: a job failed; the others were waited for.
        """
        executor = self._executor(folder)
        jobs = {one.cell["name"]: executor.submit(one) for one in work}
        for name, job in jobs.items():
            print(f"{name}: job {job.job_id}, log {job.paths.stderr}", file=sys.stderr, flush=True)
        waiting = set(jobs)
        while waiting:
            if should_stop():
                raise PreemptedError
            for name in [name for name in waiting if jobs[name].done()]:
                waiting.remove(name)
                told = f"{len(jobs) - len(waiting)} of {len(jobs)} jobs have ended"
                print(f"{name}: {told}", file=sys.stderr, flush=True)
            time.sleep(_SECONDS if waiting else 0.0)
        failed = [f"{name} (log {job.paths.stderr})" for name, job in jobs.items() if job.exception() is not None]
        require(not failed, "cluster", "every job must end well (--resume runs the others again)", ", ".join(failed))
