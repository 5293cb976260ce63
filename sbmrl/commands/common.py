"""What several commands need: where output goes, and progress."""

import datetime
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sbmrl.sweep import execute

PLAIN_WIDTH = 160  # columns of a table that goes to a file


def console(stderr: bool = False) -> Console:
    """The terminal, or plain text of a fixed width."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr) if stream.isatty() else Console(stderr=stderr, width=PLAIN_WIDTH)


def default_directory(name: str) -> Path:
    """A new directory for the files of a command that was not told where."""
    return Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


class Bar:
    """The progress of one cell: a bar on a terminal, elsewhere a plain line a chunk."""

    def __init__(self, name: str, num_runs: int, num_records: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
        self.shown = Progress(
            *columns,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self.name, self.num_runs, self.num_records = name, num_runs, num_records
        self.task = self.shown.add_task(f"{name} compiling", total=num_runs * num_records, told="")
        self.start, self.steps = time.perf_counter(), 0
        self.previous: execute.Progress | None = None

    def __enter__(self) -> "Bar":
        self.shown.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shown.stop()

    def record(self, progress: execute.Progress, done: int) -> None:
        """One record of a chunk is done, `done` runs in earlier chunks."""
        count = len(next(iter(progress.metrics.values())))
        before = self.previous
        same = before is not None and before.stage == progress.stage and before.record == progress.record - 1
        self.steps += (progress.steps - (before.steps if same and before is not None else 0)) * count
        self.previous = progress
        rate = self.steps / max(time.perf_counter() - self.start, 1e-9)
        told = f"{done:,} of {self.num_runs:,} runs, {rate:,.0f} steps/s"
        self.shown.update(self.task, advance=count, description=f"{self.name} {progress.stage}", told=told)
        if self.shown.disable and progress.record == progress.num_records:
            seconds = time.perf_counter() - self.start
            line = f"{self.name}: {progress.stage} done, runs {done:,} to {done + count:,} of {self.num_runs:,}"
            print(f"{line}, {rate:,.0f} steps/s, {seconds:.0f} s", file=sys.stderr, flush=True)

    def warn(self, line: str) -> None:
        """Say something that does not stop the run."""
        print(f"warning: {line}", file=sys.stderr, flush=True)
