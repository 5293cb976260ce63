"""The sections of a report's page: what stands in each, in words, tables and figures."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sbmrl.core import registry
from sbmrl.display.plotting import Drawing
from sbmrl.report import figures
from sbmrl.report.entries import Entry
from sbmrl.report.summary import (
    Summary,
    Table,
    cost_table,
    difference_table,
    extra_tables,
    formulation_table,
    group_table,
    state_table,
)
from sbmrl.report.table import RESIDUAL_TOLERANCE, caption, kind_of, published_by

_NOTHING = "No run has finished yet."
_PAIRS = (
    "Runs of one seed share their random numbers across cells and points, so rows are compared seed by seed. "
    "Difference: the mean over the pairs of the row's exact return less the other's. P(improvement): P(X > Y) + ½ "
    "P(X = Y) over the pairs; returns count as equal within 0.001 % of (optimal − baseline). Intervals: "
    "2,000 bootstrap resamples of the pairs. Left out: seeds that diverged on either side."
)
_SCORES = (
    "Normalised score: (exact return − baseline) / (optimal − baseline). IQM: the mean of the middle "
    "half of all runs. Median and mean: over worlds, of each world's mean. Optimality gap: how much runs miss 1 "
    "by, on average; less is better. Intervals: 2,000 bootstrap resamples, seeds drawn inside every world. After "
    "Agarwal et al. (2021), “Deep reinforcement learning at the edge of the statistical precipice”."
)


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        id: its anchor.
        title: its heading.
        before: paragraphs that come first.
        table: its table, if it has one.
        table_id: the table's anchor.
        what: what the lines of the table are, plural.
        after: captions below the table.
        pictures: its figures.
        commands: each with the "command" and what is "told" of it.
    """

    id: str
    title: str
    before: Sequence[str] = ()
    table: Table | None = None
    table_id: str = ""
    what: str = "rows"
    after: Sequence[str] = ()
    pictures: Sequence[Drawing] = ()
    commands: Sequence[dict[str, str]] = ()


def title(data: dict[str, Any]) -> str:
    """The heading of the page."""
    verb = "Comparison of " if data["compare"] else "Report on "
    return verb + ", ".join(entry["label"] for entry in data["directories"])


def overview(data: dict[str, Any]) -> str:
    """What was run and how far it is, in two sentences."""

    def of_all(name: str) -> list[str]:
        return list(dict.fromkeys(cell[name] for cell in data["cells"]))

    names = ", ".join(registry.formulation(name).title for name in of_all("formulation"))
    worlds = of_all("world")
    done, total = (sum(cell[name] for cell in data["cells"]) for name in ("runs_finished", "runs"))
    state = f"Finished: {total:,} runs." if done == total else f"Not finished: {done:,} of {total:,} runs finished."
    return f"{names} in {'the worlds' if len(worlds) > 1 else 'the world'} {', '.join(worlds)}. {state}"


def sections(summary: Summary) -> list[Section]:
    """All sections, in order; those without anything to say yet say that.

    Raises:
        InputError: a file of a model is damaged.
    """
    data = summary.data
    rows = data["rows"]
    curves = figures.learning_curves(summary.entries)
    effects = figures.axis_effects(summary.entries)
    models, left_out = _pictures(summary.entries)
    found = [Section("state", "What was run", table=state_table(data), table_id="cells", what="cells")]
    if not rows:
        found.append(Section("table", "Formulations", [_NOTHING]))
    else:
        found += [
            Section(
                "table",
                "Formulations",
                table=formulation_table(data),
                table_id="formulations",
                after=_below_table(data),
            ),
            _differences(data),
            Section("fooled", "Probability of being fooled", pictures=[figures.fooled(rows)]),
            _over_worlds(data),
        ]
    found.append(
        Section("curves", "Learning curves", [] if curves else ["No record is on disk yet."], pictures=_some(curves))
    )
    if effects:
        found.append(Section("axes", "Effects of the axes", pictures=effects))
    if models or left_out:
        found.append(Section("models", "Learned models", left_out, pictures=models))
    for extra in extra_tables(data):
        table, name = Table(extra.columns, extra.lines), extra.heading.lower()
        found.append(Section(name, extra.heading, [extra.explanation], table=table, table_id=f"{name}-table"))
    found.append(_cost(data))
    found.append(_commands(data))
    return found


def _pictures(entries: Sequence[Entry]) -> tuple[list[Drawing], list[str]]:
    """What each kind of game draws of its runs, and what it leaves out."""
    drawings, left_out = [], []
    for kind in registry.kinds().values():
        own = [entry for entry in entries if kind_of(entry.identity).name == kind.name]
        drawn, missing = kind.display().pictures(own) if own else ([], [])
        drawings += drawn
        left_out += missing
    return drawings, left_out


def _some(drawing: Drawing | None) -> list[Drawing]:
    return [] if drawing is None else [drawing]


def _below_table(data: dict[str, Any]) -> list[str]:
    stuck = [f"{row['label']}: {row['num_unconverged']}" for row in data["rows"] if row["num_unconverged"]]
    told = f"Seeds whose inner solver had not converged (residual above {RESIDUAL_TOLERANCE:g}): {'; '.join(stuck)}."
    more = "IQM: the mean of the middle half of the seeds. Intervals: bootstrap, of shares Clopper–Pearson."
    more += "".join(f" {source}" for source in published_by(data["rows"]))
    return [f"{caption(data['rows'])} {more}", *([told] if stuck else [])]


def _differences(data: dict[str, Any]) -> Section:
    if data["compare"]:
        first = data["directories"][0]["label"]
        before = [f"Every row of a further directory against the same cell and point of the first directory, {first}."]
        if data["without_partner"]:
            before.append(f"Without a partner: {'; '.join(data['without_partner'])}.")
    else:
        before = ["Every row against the first row of its world and root seed, the baseline."]
        if not data["differences"]:
            before.append("There is one row in each world: nothing to compare.")
    if data["differences"] and all(_alike(line) for line in data["differences"]):
        before.append("All rows ended alike: no seed's return differs from its partner's.")
    table = difference_table(data) if data["differences"] else None
    return Section(
        "differences", "Paired differences", before, table, "paired", "differences", [_PAIRS] if table else []
    )


def _alike(line: Mapping[str, Any]) -> bool:
    """Whether the two rows of a line returned the same in every seed."""
    return line["pairs"] > 0 and line["probability"] == {"value": 0.5, "low": 0.5, "high": 0.5}


def _flat(data: dict[str, Any]) -> list[str]:
    flat = data["worlds_without_scale"]
    told = f"Left out, because every policy earns what the uniform one does: {', '.join(flat)}."
    return [told] if flat else []


def _over_worlds(data: dict[str, Any]) -> Section:
    groups = data["groups"]
    if not groups:
        return Section("worlds", "Normalised scores", [*_flat(data), "No run has a score yet."])
    return Section(
        "worlds",
        "Normalised scores",
        _flat(data),
        group_table(data),
        "aggregates",
        "formulations",
        [_SCORES],
        [figures.aggregate_scores(groups), figures.profiles(groups)],
    )


def _cost(data: dict[str, Any]) -> Section:
    compiling, running = (sum(cell["seconds"][name] for cell in data["cells"]) for name in ("compile", "run"))
    before = f"{compiling:,.0f} s compiling and {running:,.0f} s running, together, in the chunks that are finished."
    after = (
        "Steps: of all stages; environment steps of learners that sample, payoffs computed by those of exact payoffs. "
        "Steps per second: runs × steps per run / run seconds."
    )
    return Section("cost", "Wall-clock and cost", [before], cost_table(data), "costs", "cells", [after])


def _commands(data: dict[str, Any]) -> Section:
    commands = []
    for command in data["commands"]:
        packages = ", ".join(f"{name} {version}" for name, version in command["packages"].items())
        git = command["git"]
        commit = f" Commit {git['commit']}{' with changes' if git['changed'] else ''}." if git else ""
        devices = ", ".join(command["devices"])
        told = (
            f"{command['run']}: started {command['started']}, Python {command['python']} on {command['platform']}, "
            f"devices {devices}; {packages}.{commit}"
        )
        commands.append({"command": command["command"], "told": told})
    nothing = [] if commands else ["None is recorded: these are directories of single cells."]
    return Section("commands", "Commands and versions", nothing, commands=commands)
