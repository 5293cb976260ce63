"""What several commands need: where output goes, and progress."""

import contextlib
import datetime
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sbmrl.sweep import execute

PLAIN_WIDTH = 160  # columns of a table that goes to a file


def console(stderr: bool = False) -> Console:
    """The terminal, or plain text of a fixed width."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr) if stream.isatty() else Console(stderr=stderr, width=PLAIN_WIDTH)


def default_directory(name: str) -> Path:
    """A new directory for the files of a command that was not told where."""
    return Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


@contextlib.contextmanager
def bar(name: str, total: int) -> Iterator[Callable[[execute.Progress], None]]:
    """A progress bar on a terminal; elsewhere a plain line at the end of each stage. Yields "one record is done"."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown = Progress(*columns, TimeRemainingColumn(), console=console(stderr=True), disable=not sys.stderr.isatty())
    task, start = shown.add_task(f"{name} compiling", total=total), time.perf_counter()

    def advance(progress: execute.Progress) -> None:
        shown.update(task, advance=1, description=f"{name} {progress.stage}")
        if shown.disable and progress.record == progress.num_records:
            seconds = time.perf_counter() - start
            steps = progress.steps * len(next(iter(progress.metrics.values())))
            print(f"{name}: {progress.stage} done, {steps:,} steps, {seconds:.0f} s", file=sys.stderr, flush=True)

    with shown:
        yield advance
