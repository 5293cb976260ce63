"""A report as plain data: what table.json holds and the page shows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sbmrl.core.displays import ExtraTable
from sbmrl.display.statistics import Aggregates
from sbmrl.display.tables import markdown_table, with_interval
from sbmrl.errors import require
from sbmrl.report.comparison import THRESHOLDS, over_worlds, to_baselines, to_first_directory
from sbmrl.report.entries import CellState, Entry, read_runs, run_labels
from sbmrl.report.table import IQM, SECONDS, Row, by_kind, caption, cells, columns
from sbmrl.sweep.load import LoadedRun

Plain = dict[str, Any]


class Table(NamedTuple):
    """A table in print."""

    columns: Sequence[str]
    lines: Sequence[Sequence[str]]


class Summary(NamedTuple):
    """Everything a report says in numbers.

    Attributes:
        entries: the points of all cells, of which those with finished runs are rows.
        states: of the cells.
        data: what table.json holds.
    """

    entries: list[Entry]
    states: list[CellState]
    data: Plain


def summarise(runs: Sequence[LoadedRun], compare: bool) -> Summary:
    """The numbers of one or more runs.

    Args:
        runs: finished or not.
        compare: whether further runs are paired with the first one, instead of rows with the first row of their world.

    Raises:
        InputError: a file is damaged, or there is nothing to compare.
    """
    require(len(runs) > 0, "directories", "must be at least one", "none")
    require(not compare or len(runs) > 1, "compare", "needs at least two directories", len(runs))
    entries, states = read_runs(runs)
    labels = run_labels(runs)
    differences, without = to_first_directory(entries) if compare else (to_baselines(entries), [])
    groups, flat = over_worlds(entries)
    commands = [{"run": label, **command} for label, run in zip(labels, runs, strict=True) for command in run.commands]
    data: Plain = {
        "date": max((command["started"] for command in commands), default=None),
        "directories": [
            {"label": label, "directory": str(run.directory)} for label, run in zip(labels, runs, strict=True)
        ],
        "cells": [_state(state, labels) for state in states],
        "rows": [_row(entry, labels) for entry in entries if entry.row is not None],
        "compare": compare,
        "differences": differences,
        "without_partner": without,
        "groups": groups,
        "profile_thresholds": THRESHOLDS.round(6).tolist(),
        "worlds_without_scale": flat,
        "commands": commands,
    }
    return Summary(entries, states, data)


def _row(entry: Entry, labels: Sequence[str]) -> Row:
    finite = entry.finite
    regret = float(finite["regret"].to_numpy().astype(float).mean()) if len(finite) else None
    median = float(finite["regret"].median()) if len(finite) else None  # pyright: ignore[reportArgumentType]
    own = {"label": entry.label, "run": labels[entry.run], "cell": entry.cell.name}
    return own | dict(entry.row or {}) | {"regret": {"mean": regret, "median": median}}


def _state(state: CellState, labels: Sequence[str]) -> Plain:
    """A cell's progress and cost; of what is not known yet, None."""
    running = state.run_seconds if state.done and state.run_seconds > 0 else None
    return {
        "run": labels[state.run],
        "cell": state.name,
        "formulation": state.formulation,
        "world": state.world,
        "begun": state.begun,
        "runs_finished": state.done,
        "runs": state.total,
        "seconds": {"compile": round(state.compile_seconds, 2), "run": round(state.run_seconds, 2)},
        "seconds_per_run": None if running is None else running / state.done,
        "steps_per_run": state.steps,
        "steps_per_second": None if running is None or state.steps is None else state.done * state.steps / running,
    }


def formulation_table(data: Plain) -> Table:
    """The columns of table.md without the seconds, which have a table of their own; the IQM has its interval."""
    heads, lines = columns(data["rows"]), []
    for row in data["rows"]:
        texts = cells(row, data["rows"])
        texts[0] = row["label"]
        texts[heads.index(IQM)] = with_interval(row["interquartile_mean_interval"], "{:.2f}")
        del texts[heads.index(SECONDS)]
        lines.append(texts)
    return Table([f"{head} [95 %]" if head == IQM else head for head in heads if head != SECONDS], lines)


def extra_tables(data: Plain) -> list[ExtraTable]:
    """What each kind of game adds of its rows."""
    tables = [display.table(own) for display, own in by_kind(data["rows"])]
    return [table for table in tables if table is not None and table.lines]


def difference_table(data: Plain) -> Table:
    """The paired differences."""
    lines = []
    for line in data["differences"]:
        known = line["difference"] is not None
        lines.append(
            [
                line["label"],
                line["baseline"],
                with_interval(line["difference"], "{:+z.3f}") if known else "–",
                with_interval(line["probability"], "{:.2f}") if known else "–",
                f"{line['pairs']}",
                f"{line['diverged']}",
            ]
        )
    columns = ("row", "against", "difference of exact return [95 %]", "P(improvement) [95 %]", "pairs", "left out")
    return Table(columns, lines)


def group_table(data: Plain) -> Table:
    """The aggregate scores over worlds."""
    lines = [
        [
            group["label"],
            *(with_interval(group[name], "{:z.3f}") for name in Aggregates._fields),
            f"{len(group['worlds'])}",
            f"{group['runs']}",
        ]
        for group in data["groups"]
    ]
    titles = ("IQM [95 %]", "median [95 %]", "mean [95 %]", "optimality gap [95 %]")
    return Table(("formulation", *titles, "worlds", "runs"), lines)


def state_table(data: Plain) -> Table:
    """How far every cell is."""
    several = len(data["directories"]) > 1
    lines = []
    for cell in data["cells"]:
        done, total = cell["runs_finished"], cell["runs"]
        told = f"finished, {total:,} runs" if done == total else f"{done:,} of {total:,} runs finished"
        told = told if cell["begun"] else f"not begun, 0 of {total:,} runs finished"
        lines.append([*([cell["run"]] if several else []), cell["cell"], cell["world"], told])
    return Table((*(["directory"] if several else []), "cell", "world", "state"), lines)


def cost_table(data: Plain) -> Table:
    """What every cell took."""
    several = len(data["directories"]) > 1
    lines = []
    for cell in data["cells"]:
        each, rate = cell["seconds_per_run"], cell["steps_per_second"]
        lines.append(
            [
                *([cell["run"]] if several else []),
                cell["cell"],
                f"{cell['seconds']['compile']:,.1f}",
                f"{cell['seconds']['run']:,.1f}",
                f"{cell['runs_finished']:,}",
                "–" if each is None else f"{each:.3g}",
                "–" if cell["steps_per_run"] is None else f"{cell['steps_per_run']:,}",
                "–" if rate is None else f"{rate:,.0f}",
            ]
        )
    columns = ("compile s", "run s", "runs", "run s per run", "steps per run", "steps per second")
    return Table((*(["directory"] if several else []), "cell", *columns), lines)


def to_markdown(data: Plain) -> str:
    """table.md: the formulation table with its caption, and the tables computed from it."""
    if not data["rows"]:
        return "No run has finished yet.\n"
    parts, extras = [markdown_table(*formulation_table(data)), caption(data["rows"])], extra_tables(data)
    for heading, table in (
        ("Paired differences", difference_table(data)),
        ("Normalised scores", group_table(data)),
        *((f"{extra.heading} (medians over the seeds)", Table(extra.columns, extra.lines)) for extra in extras),
        ("Cost", cost_table(data)),
    ):
        parts += [f"## {heading}", markdown_table(*table)] if table.lines else []
    return "\n\n".join(parts) + "\n"
