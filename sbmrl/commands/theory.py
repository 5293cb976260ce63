"""`sbmrl theory`."""

import sys
import time

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sbmrl.commands.common import console, default_directory
from sbmrl.commands.options import Theory
from sbmrl.core.files import write_json, write_text
from sbmrl.games.tabular.theory import report
from sbmrl.games.tabular.theory.check import check_theorems
from sbmrl.games.tabular.theory.judge import THEOREMS
from sbmrl.games.tabular.theory.search import tightest
from sbmrl.sweep import execute
from sbmrl.sweep.files import create_directory, describe_machine

_RANGES = {f"γ in ({low:g}, {high:g})": (low, high) for low, high in ((0.0, 0.99), (0.9, 0.99))}


def theory(config: Theory) -> None:
    """Judge random instances, look for the tightest, and leave theory.json, theory.md and a figure.

    A violation of a theorem ends the program with exit code 1, after everything is written.
    """
    execute.prepare_devices()
    out = create_directory(config.out or default_directory("theory"))
    screen = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("instances", total=config.num_instances)
        survey = check_theorems(config.num_instances, config.seed, lambda done: progress.update(task, completed=done))
    print(f"theory: {survey.num_instances:,} instances, {survey.seconds:.0f} s", file=sys.stderr, flush=True)
    start = time.perf_counter()
    found = {
        theorem: {name: tightest(theorem, config.seed, discounts=between) for name, between in _RANGES.items()}
        for theorem in THEOREMS
    }
    print(f"theory: tightest instances, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    summary = report.to_json(survey, found)
    write_json(out / "theory.json", summary | {"machine": describe_machine()})
    text = report.to_markdown(summary)
    write_text(out / "theory.md", text)
    report.save_figure(report.draw(survey, summary), out / "theory")
    print(text)
    print(f"files: {out}")
    if any(summary["violations"].values()):
        print(f"sbmrl: a theorem was violated: {summary['violations']}", file=sys.stderr)
        raise SystemExit(1)
