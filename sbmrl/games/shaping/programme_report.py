"""What `sbmrl reproduce hpgd` adds to the report of any run: the table of the paper beside ours, and curves.

Published numbers: Thoma et al. (2024), arXiv 2406.01575, the table of the four rooms: mean and spread over 10 seeds of
the designer's exact value over the last tenth of 10,000 steps, for the best of a grid of step sizes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import polars as pl

from sbmrl.core.displays import Published
from sbmrl.display.files import write_findings
from sbmrl.display.plotting import COLOURS, STYLE, Drawing, clean, new_figure, render
from sbmrl.display.results import Cell, Run
from sbmrl.display.tables import markdown_table
from sbmrl.games.shaping.programme_cells import AXES, BETAS, METHODS, TEMPERATURES

_LAST = 0.1  # share of the records over which a run is scored, as the paper's


def _row(*numbers: float) -> dict[str, Published]:
    """Means and spreads of one setting, in the order of our methods; theirs of the exact gradient is called AMD."""
    return {
        learner: Published(*pair) for learner, pair in zip(METHODS, zip(*[iter(numbers)] * 2, strict=True), strict=True)
    }


PUBLISHED: Mapping[tuple[float, float], Mapping[str, Published]] = {
    (0.001, 1.0): _row(0.91, 0.088, 0.58, 0.000, 0.59, 0.059),
    (0.001, 3.0): _row(0.51, 0.006, 0.51, 0.000, 0.50, 0.005),
    (0.001, 5.0): _row(0.46, 0.006, 0.46, 0.003, 0.46, 0.007),
    (0.003, 1.0): _row(0.95, 0.002, 1.00, 0.000, 0.91, 0.048),
    (0.003, 3.0): _row(0.73, 0.001, 0.39, 0.000, 0.40, 0.028),
    (0.003, 5.0): _row(0.29, 0.003, 0.32, 0.000, 0.32, 0.002),
    (0.005, 1.0): _row(1.17, 0.011, 1.28, 0.003, 1.15, 0.026),
    (0.005, 3.0): _row(1.01, 0.002, 1.13, 0.004, 1.02, 0.027),
    (0.005, 5.0): _row(0.87, 0.003, 0.97, 0.009, 0.79, 0.027),
}


def _learned(cell: Cell, point: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """(steps `[R]`, exact returns `[R, N]`) of the runs at a point of the axes that did not diverge.

    Raises:
        InputError: a file is damaged.
    """
    results, curves = cell.results(), cell.curves()
    for (name, _), value in zip(AXES, point, strict=True):
        results, curves = (one.filter((pl.col(name) - value).abs() < 1e-6) for one in (results, curves))
    seeds = results.filter(pl.col("finite"))["seed"].to_list()
    own = curves.filter((pl.col("metric") == "exact_return") & pl.col("seed").is_in(seeds)).sort("steps", "seed")
    steps = own["steps"].unique().sort().to_numpy()
    return steps, own["value"].to_numpy().reshape(len(steps), len(seeds))


def summarise(run: Run) -> list[dict[str, Any]]:
    """The numbers of each setting and learner.

    Raises:
        InputError: a file is damaged.
    """
    rows = []
    for point in [(temperature, beta) for temperature in TEMPERATURES for beta in BETAS]:
        for learner, cell in run.cells.items():
            steps, returns = _learned(cell, point)
            last = max(round(_LAST * len(steps)), 1)
            scores = returns[-last:].mean(axis=0)
            quantiles = np.quantile(returns, (0.25, 0.5, 0.75), axis=1) if scores.size else np.zeros((3, 0))
            rows.append(
                {
                    "temperature": point[0],
                    "beta": point[1],
                    "learner": learner,
                    "num_seeds": int(scores.size),
                    "mean": float(scores.mean()) if scores.size else None,
                    "spread": float(scores.std(ddof=1)) if scores.size > 1 else None,
                    "best": float(scores.max()) if scores.size else None,
                    "steps": steps.tolist(),
                    "curve": quantiles.tolist(),
                    "published": PUBLISHED[point][learner]._asdict(),
                }
            )
    return rows


def _told(mean: float | None, spread: float | None) -> str:
    return "–" if mean is None else f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.3f}"


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table, with what the reader needs to know."""
    learners = list(dict.fromkeys(row["learner"] for row in rows))
    heads = ["λ", "β"]
    for learner in learners:
        heads += [METHODS[learner], "paper"]
    lines = []
    for point in dict.fromkeys((row["temperature"], row["beta"]) for row in rows):
        line = [f"{point[0]:g}", f"{point[1]:g}"]
        for row in rows:
            if (row["temperature"], row["beta"]) == point:
                line += [
                    _told(row["mean"], row["spread"]),
                    _told(row["published"]["value"], row["published"]["spread"]),
                ]
        lines.append(line)
    seeds = max(row["num_seeds"] for row in rows)
    told = (
        f"The designer's exact value over the last tenth of a run, mean ± standard deviation over {seeds} seeds. "
        "Paper: Thoma et al. (2024), arXiv 2406.01575, 10,000 steps, the best of a grid of step sizes; its exact "
        "gradient is AMD, iterated jointly with 100 soft backups of the agent, its zeroth order a one-sided difference "
        "with a shrinking radius. Ours: one step size for all settings; zeroth order is evolution strategies with one "
        "direction, on exact values as theirs."
    )
    return f"{markdown_table(heads, lines)}\n\n{told}\n"


def figure(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """Exact return against the designer's steps, a panel a setting; dashed: what the paper reports."""
    learners = list(dict.fromkeys(row["learner"] for row in rows))
    points = list(dict.fromkeys((row["temperature"], row["beta"]) for row in rows))
    with matplotlib.rc_context(STYLE):
        drawn = new_figure(10.0, 8.0)
        panels = np.ravel(drawn.subplots(len(TEMPERATURES), len(BETAS), squeeze=False))
        for axes, point in zip(panels, points, strict=True):
            for learner, colour in zip(learners, COLOURS, strict=False):
                row = next(
                    row for row in rows if (row["temperature"], row["beta"], row["learner"]) == (*point, learner)
                )
                low, middle, high = row["curve"]
                share = np.arange(1, len(middle) + 1) / max(len(middle), 1)
                axes.fill_between(share, low, high, color=colour, alpha=0.2, lw=0)
                axes.plot(share, middle, color=colour, lw=1.6, label=METHODS[learner])
                axes.axhline(row["published"]["value"], color=colour, lw=0.9, ls="--")
            axes.set_title(f"λ = {point[0]:g}, β = {point[1]:g}")
            clean(axes)
        drawn.supxlabel("share of the designer's steps", fontsize=10)
        drawn.supylabel("designer's exact return", fontsize=10)
        handles, labels = panels[0].get_legend_handles_labels()
        place: Any = {"loc": "outside upper center"}
        drawn.legend(handles, labels, frameon=False, ncols=3, **place)
    note = "Line: the median over the seeds; band: the middle half of them; dashed: the mean that the paper reports."
    return render("hpgd", "The designer's return in four rooms", note, drawn)


def write(run: Run, out: Path) -> list[Path]:
    """hpgd.json, .md, .svg and .png in `out`; returns their paths.

    Raises:
        InputError: a file is damaged.
    """
    rows = summarise(run)
    return write_findings(out, {"rows": rows}, to_markdown(rows), figure(rows))
