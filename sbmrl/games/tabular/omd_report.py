"""What `sbmrl reproduce omd` adds to the report of any run: returns and prediction errors at each bound."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import polars as pl

from sbmrl.display.files import write_findings
from sbmrl.display.plotting import COLOURS, STYLE, Drawing, clean, new_figure, render
from sbmrl.display.results import Cell, Run
from sbmrl.display.statistics import mean_interval
from sbmrl.display.tables import bounds_of, markdown_table, median, with_interval
from sbmrl.games.tabular.omd_cells import BY_ARRAY, CONTROL, JOINT, KNOWN, LIKELIHOOD, MODEL, READING

_BOUND = "leader.norm_bound"
_TITLES = {
    JOINT: "norm of all outputs together",
    BY_ARRAY: "norm of each array, as published",
    KNOWN: "all together, true rewards",
}
_MARKERS = {LIKELIHOOD: "o", CONTROL: "^"}


def _judged(cell: Cell) -> list[dict[str, Any]]:
    """What became of a cell's seeds, a row for each bound."""
    rows = []
    for (bound,), results in cell.results().group_by(_BOUND, maintain_order=True):
        finite = results.filter(pl.col("finite"))
        rows.append(
            {
                "model": cell.static[MODEL],
                "norm": cell.static[READING],
                "bound": bound,
                "num_seeds": len(results),
                "num_not_finite": len(results) - len(finite),
                "optimal_return": float(results["optimal_return"][0]),
                "return": bounds_of(mean_interval(finite["exact_return_stochastic"].to_numpy())),
                "error": median(-finite["random_fit"].to_numpy()),
            }
        )
    return sorted(rows, key=lambda row: row["bound"])


def summarise(run: Run) -> list[dict[str, Any]]:
    """The numbers of each cell and bound, in the order of the plan.

    Raises:
        InputError: a file is damaged.
    """
    return [row for cell in run.cells.values() for row in _judged(cell)]


def _of(rows: Sequence[Mapping[str, Any]], model: str, norm: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if (row["model"], row["norm"]) == (model, norm)]


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each reading and bound, both models beside each other, with what the reader needs to know."""
    heads = ["norm", "bound", "return: maximum likelihood", "return: OMD", "error: maximum likelihood", "error: OMD"]
    lines = []
    for norm in _TITLES:
        for fitted, serving in zip(_of(rows, LIKELIHOOD, norm), _of(rows, CONTROL, norm), strict=True):
            both = (fitted, serving)
            returns = [with_interval(row["return"], "{:.2f}") for row in both]
            errors = ["–" if row["error"] is None else f"{row['error']:.3g}" for row in both]
            lines.append([norm, f"{fitted['bound']:.2f}", *returns, *errors])
    seeds, optimum = max(row["num_seeds"] for row in rows), rows[0]["optimal_return"]
    lost = sum(row["num_not_finite"] for row in rows)
    told = (
        f"{seeds} seeds a number, {lost} runs not finite and left out. Return: the mean of the soft policy's, "
        f"discounted and exact; optimum {optimum:.4f}. Error: KL of the rows, and where they are learned the squared "
        "error of the rewards, averaged over all pairs; median."
    )
    return f"{markdown_table(heads, lines)}\n\n{told}\n"


def figure(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """Above the returns, below the prediction errors; a column for each reading of the norm."""
    with matplotlib.rc_context(STYLE):
        drawn = new_figure(10.5, 5.4)
        above, below = drawn.subplots(2, len(_TITLES), sharex=True, sharey="row")
        for column, (norm, title) in enumerate(_TITLES.items()):
            for model, colour in zip(_MARKERS, COLOURS, strict=False):
                own = _of(rows, model, norm)
                bounds = [row["bound"] for row in own]
                middle, low, high = (
                    [np.nan if row["return"][name] is None else row["return"][name] for row in own]
                    for name in ("value", "low", "high")
                )
                style: Any = {"color": colour, "lw": 1.6, "ms": 5}
                above[column].plot(bounds, middle, f"{_MARKERS[model]}-", label=model, **style)
                above[column].fill_between(bounds, low, high, color=colour, alpha=0.15, lw=0)
                errors = [np.nan if row["error"] is None else row["error"] for row in own]
                below[column].plot(bounds, errors, f"{_MARKERS[model]}-", **style)
            above[column].axhline(rows[0]["optimal_return"], color="#222222", lw=0.8, ls="--")
            above[column].set_title(title)
            below[column].set_yscale("log")
            below[column].set_xlabel("bound of the norm")
            for axes in (above[column], below[column]):
                axes.grid(axis="y", color="#dddddd", lw=0.6)
                clean(axes)
        above[0].set_ylabel("return in the world")
        below[0].set_ylabel("prediction error")
        above[0].legend(frameon=False, loc="lower right")
    note = "Lines: means (bands: 95 % intervals) of returns, medians of errors over all pairs; dashed: the optimum."
    return render("omd", "Models of a bounded norm: the one that fits, and the one that serves control", note, drawn)


def write(run: Run, out: Path) -> list[Path]:
    """omd.json, .md, .svg and .png in `out`; returns their paths.

    Raises:
        InputError: a file is damaged.
    """
    rows = summarise(run)
    return write_findings(out, {"rows": rows}, to_markdown(rows), figure(rows))
