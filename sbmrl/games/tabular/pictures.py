"""The learned models of a report, drawn as MDPs beside the world: a typical run of each cell, and a fooled one."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from sbmrl.display.frames import median_run
from sbmrl.display.plotting import Drawing
from sbmrl.display.results import Entry
from sbmrl.games.tabular.draw import draw_panels
from sbmrl.games.tabular.panels import model_panels

MOST_STATES = 5  # with more, the arrows cover each other
MOST_PICTURES = 6


class _Wanted(NamedTuple):
    """A run to draw: its entry, its seed, and in words why it."""

    entry: Entry
    seed: int
    why: str


def model_pictures(entries: Sequence[Entry]) -> tuple[list[Drawing], list[str]]:
    """The pictures, and in sentences what is left out.

    Raises:
        InputError: a file is damaged.
    """
    first: dict[tuple[int, str], Entry] = {}
    for entry in entries:
        if len(entry.finite):
            first.setdefault((entry.run, entry.cell.name), entry)
    left_out = []
    large = dict.fromkeys(e.world for e in first.values() if e.cell.world.num_states > MOST_STATES)
    if large:
        left_out.append(f"Worlds of more than {MOST_STATES} states are not drawn: {', '.join(large)}.")
    bare = [key for key, entry in first.items() if not entry.cell.has_profiles]
    if bare:
        left_out.append(f"Without chunks/ there are no models to draw: {', '.join(name for _, name in bare)}.")
    kept = [entry for key, entry in first.items() if entry.world not in large and key not in bare]
    wanted = [run for entry in kept for run in _runs(entry)]
    if len(wanted) > MOST_PICTURES:
        left_out.append(f"Drawn: {MOST_PICTURES} of {len(wanted)} models; `sbmrl draw` draws any other.")
    return [_picture(number, run) for number, run in enumerate(_spread(wanted))], left_out


def _runs(entry: Entry) -> list[_Wanted]:
    """The run at the median exact return, and the first fooled run if that one is not fooled."""
    middle = median_run(entry.finite)
    kind = "fooled, " if middle["fooled"] else ""
    found = [_Wanted(entry, middle["seed"], f"{kind}at the median exact return, {middle['exact_return']:.2f}")]
    others = entry.finite.filter(pl.col("fooled") > 0).sort("seed")
    if len(others) and not middle["fooled"]:
        run = others.row(0, named=True)
        found.append(_Wanted(entry, run["seed"], f"fooled, exact return {run['exact_return']:.2f}"))
    return found


def _spread(wanted: Sequence[_Wanted]) -> list[_Wanted]:
    """The first pictures, where one of each formulation comes before a second one of any."""
    seen: dict[str, int] = {}
    turns = []
    for run in wanted:
        name = run.entry.identity["formulation"]
        turns.append(seen.setdefault(name, 0))
        seen[name] += 1
    chosen = sorted(range(len(wanted)), key=lambda i: (turns[i], i))[:MOST_PICTURES]
    return [wanted[i] for i in sorted(chosen)]


def _picture(number: int, run: _Wanted) -> Drawing:
    entry, cell = run.entry, run.entry.cell
    panels = model_panels(cell, cell.find(run.seed, **entry.point))
    with tempfile.TemporaryDirectory() as where:
        svg, png = (path.read_bytes() for path in draw_panels(panels, Path(where) / "model"))
    note = (
        f"Left the world, right the learned model, both with the run's policy (bold); arrows carry probability and "
        f"(reward). {entry.label}: seed {run.seed}, {run.why}."
    )
    return Drawing(f"model-{number + 1}", f"World and learned model: {entry.label}", note, svg, png)
