"""Watching a plan run: one bar for all of it, W&B, and the table of each cell when it is done."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import override

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sbmrl.commands.common import console
from sbmrl.core.files import write_json, write_text
from sbmrl.report.table import Row, cell_rows, to_markdown
from sbmrl.report.tracking import Mode, Tracker
from sbmrl.sweep import execute
from sbmrl.sweep.load import load
from sbmrl.sweep.plan import CellPlan, Plan
from sbmrl.sweep.run import Listener


class Watcher(Listener):
    """A bar on a terminal, elsewhere a plain line a chunk; the time spent compiling is told apart."""

    def __init__(self, plan: Plan, wandb: Mode, group: str, should_stop: Callable[[], bool]) -> None:
        self.plan, self.group = plan, group
        self.wandb: Mode = wandb
        self.should_stop = should_stop
        self.tracker: Tracker | None = None
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self.task = self.bar.add_task("", total=1.0, told="")
        self.total = sum(plan.num_seeds * len(cell.points()) for cell in plan.cells)
        self.name, self.earlier, self.runs, self.done = "", 0, 0, 0  # runs of earlier cells, of this one, on disk
        self.began, self.compiling, self.steps = time.perf_counter(), 0.0, 0  # seconds, and steps made in this cell
        self.last = ("", 0)  # stage and steps of the last record of this chunk

    def __enter__(self) -> "Watcher":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    @override
    def begin(self, cell: CellPlan, directory: Path) -> None:
        self.earlier += self.runs
        number = self.plan.cells.index(cell) + 1
        name = cell.experiment.formulation if cell.name == "." else cell.name
        self.name = f"{number}/{len(self.plan.cells)} {name}" if len(self.plan.cells) > 1 else name
        self.runs, self.done, self.last = self.plan.num_seeds * len(cell.points()), 0, ("", 0)
        self.began, self.compiling, self.steps = time.perf_counter(), 0.0, 0
        self.tracker = Tracker(self.wandb, self.group, cell, directory)
        self._show("compiling", 0.0)

    @override
    def compiled(self, part: execute.Compiled) -> None:
        self.compiling += part.seconds

    @override
    def record(self, progress: execute.Progress, share: float) -> None:
        count = len(next(iter(progress.metrics.values())))
        stage, steps = self.last
        self.steps += count * (progress.steps - (steps if stage == progress.stage else 0))
        self.last = (progress.stage, progress.steps)
        if self.tracker is not None and self.done == 0:  # the first chunk stands for the others while they run
            self.tracker.log(progress)
        self._show(progress.stage, share * count)

    @override
    def chunk(self, num_done: int) -> None:
        self.done, self.last = num_done, ("", 0)
        self._show("", 0.0)
        if self.bar.disable:
            seconds = time.perf_counter() - self.began
            told = f"{num_done:,} of {self.runs:,} runs, {self._rate():,.0f} steps/s, {seconds:.0f} s"
            print(f"{self.name}: {told}, {self.compiling:.0f} s of them compiling", file=sys.stderr, flush=True)

    @override
    def end(self, cell: CellPlan, directory: Path) -> None:
        rows = [row for cell in load(directory).cells.values() for row in cell_rows(cell)]
        save_table(directory, rows)
        if self.tracker is not None:
            self.tracker.finish(directory, rows)

    @override
    def warn(self, line: str) -> None:
        print(f"warning: {line}", file=sys.stderr, flush=True)

    def _rate(self) -> float:
        """Environment steps per second of running."""
        return self.steps / max(time.perf_counter() - self.began - self.compiling, 1e-9)

    def _show(self, stage: str, running: float) -> None:
        done = self.earlier + self.done
        told = f"{done:,} of {self.total:,} runs, {self._rate():,.0f} steps/s, compiling {self.compiling:.0f} s"
        share = (done + running) / self.total
        self.bar.update(self.task, completed=share, description=f"{self.name} {stage}", told=told)


def save_table(out: Path, rows: Sequence[Row]) -> None:
    """table.md and table.json."""
    write_text(out / "table.md", to_markdown(rows))
    write_json(out / "table.json", list(rows))
