"""`sbmrl theory`."""

import sys
import time
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sbmrl.commands.common import console, output_directory
from sbmrl.commands.options import Theory
from sbmrl.core.files import write_json, write_text
from sbmrl.games.tabular.theory import report
from sbmrl.games.tabular.theory.check import check_statements
from sbmrl.games.tabular.theory.judge import LOSSES, STATEMENTS, name_of
from sbmrl.games.tabular.theory.search import tightest
from sbmrl.sweep import execute
from sbmrl.sweep.files import create_directory, describe_machine

_BOUNDS = [name_of(key, loss) for key, statement in STATEMENTS.items() for loss in LOSSES if not statement.identity]
_RANGES = {f"γ in ({low:g}, {high:g})": (low, high) for low, high in ((0.0, 0.99), (0.9, 0.99))}


def theory(config: Theory) -> None:
    """Judge random instances, look for the tightest, and leave theory.json, theory.md and a figure.

    A violation of a statement ends the program with exit code 1, after everything is written.
    """
    execute.prepare_devices()
    with output_directory(config.out, "theory") as out:
        _survey(config, create_directory(out))


def _survey(config: Theory, out: Path) -> None:
    screen = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("instances", total=config.num_instances)
        survey = check_statements(config.num_instances, config.seed, lambda done: progress.update(task, completed=done))
    print(f"theory: {config.num_instances:,} instances, {survey.seconds:.0f} s", file=sys.stderr, flush=True)
    start = time.perf_counter()
    by_range = dict(zip(_RANGES, tightest(_BOUNDS, config.seed, discounts=tuple(_RANGES.values())), strict=True))
    found = {name: {title: best[name] for title, best in by_range.items()} for name in _BOUNDS}
    print(f"theory: tightest instances, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    summary = report.to_json(survey, found)
    write_json(out / "theory.json", summary | {"machine": describe_machine()})
    text = report.to_markdown(summary)
    write_text(out / "theory.md", text)
    report.save_figure(report.draw(survey, summary), out / "theory")
    print(text)
    print(f"files: {out}")
    violated = {name: count for name, count in summary["violations"].items() if count}
    if violated:
        print(f"sbmrl: a statement was violated: {violated}", file=sys.stderr)
        raise SystemExit(1)
