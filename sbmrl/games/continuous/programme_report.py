"""What `sbmrl reproduce continuous` adds to the report of any run: returns against real samples, and a line a cell."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.ticker import MaxNLocator

from sbmrl.display.files import write_findings
from sbmrl.display.plotting import STYLE, Drawing, clean, in_lines, new_figure, render
from sbmrl.display.results import Cell, Run
from sbmrl.display.statistics import mean_interval
from sbmrl.display.tables import bounds_of, markdown_table, with_interval
from sbmrl.errors import require
from sbmrl.games.continuous.programme_cells import CHANGED
from sbmrl.games.continuous.sample_curves import TOLD_OF_RETURNS, draw_returns, quartiles, read_curves
from sbmrl.games.continuous.simulator import Simulator, known_returns

_CLOSE = 0.95  # of the way from the uniform policy to the optimum


def _judged(cell: Cell) -> dict[str, Any]:
    """A cell's returns against the real samples that they cost."""
    results = cell.results()
    real, metrics = read_curves(cell.curves(), results.filter(pl.col("finite")))
    returns = metrics["exact_return"]
    known = known_returns(cell.world)
    goal = known.uniform + _CLOSE * (known.optimal - known.uniform)
    reached = returns.mean(axis=1) >= goal
    first = int(np.argmax(reached)) if reached.any() else None
    late = slice(len(returns) // 2, None)
    return {
        "formulation": results["formulation"][0],
        "changed": cell.static.get(CHANGED, ""),
        "num_seeds": len(results),
        "num_diverged": len(results) - returns.shape[1],
        "goal": goal,
        "steps_to_goal": None if first is None else float(real[first]),
        "final_return": bounds_of(mean_interval(returns[-1])),
        "worst_late": float(returns[late].min()),
        "share_relapsed": float((returns[late] < known.uniform + 0.8 * (known.optimal - known.uniform)).mean()),
        "real_steps": real.tolist(),
        "middle": quartiles(returns).tolist(),
        "mean": returns.mean(axis=1).tolist(),
        "own_loss": float(np.median(-metrics["fit"][-1])),
        "wide_loss": float(np.median(-metrics["random_fit"][-1])),
        "model_gap": float(np.median(metrics["model_return"][-1] - returns[-1])),
        "num_fooled": int(results["fooled"].sum()),
    }


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table, with what the reader needs to know."""
    heads = ["formulation", "with", "real steps to the goal", "return at the end [95 %]", "worst seed late"]
    heads += ["relapsed", "own loss", "wide loss", "model − world", "fooled"]
    goal, seeds = rows[0]["goal"], max(row["num_seeds"] for row in rows)
    places = max(0, 2 - math.floor(math.log10(abs(goal)))) if goal else 2  # three digits of what is aimed at
    lines = [
        [
            row["formulation"],
            row["changed"] or "–",
            "not reached" if row["steps_to_goal"] is None else f"{row['steps_to_goal']:,.0f}",
            with_interval(row["final_return"], f"{{:.{places}f}}"),
            f"{row['worst_late']:.{places}f}",
            f"{row['share_relapsed']:.0%}",
            f"{row['own_loss']:.1e}",
            f"{row['wide_loss']:.1e}",
            f"{row['model_gap']:.{places}f}",
            f"{row['num_fooled']}",
        ]
        for row in rows
    ]
    told = (
        f"{seeds} seeds a line. Goal: {goal:.{places}f}, 95 % of the way from the uniform policy to the optimum, as "
        "reached first by the mean over the seeds. Late: the second half of the iterations. Relapsed: the share of "
        "seeds and late iterations below 80 % of that way. Own loss: of the model on the newest transitions, wide "
        "loss: on those of random actions, both of normalised differences, medians. Model − world: return in the "
        "model minus return in the world, median."
    )
    return f"{markdown_table(heads, lines)}\n\n{told}\n"


def figure(rows: Sequence[Mapping[str, Any]], world: Simulator) -> Drawing:
    """Small multiples, a panel for each cell: the return against the real samples."""
    known = known_returns(world)
    columns = min(4, len(rows))
    with matplotlib.rc_context(STYLE):
        drawn = new_figure(2.7 * columns + 0.6, 2.4 * -(-len(rows) // columns) + 0.6)
        panels = np.ravel(drawn.subplots(-(-len(rows) // columns), columns, squeeze=False, sharey=True))
        for axes in panels[len(rows) :]:
            axes.axis("off")
        for axes, row in zip(panels, rows, strict=False):
            draw_returns(axes, row["real_steps"], row["middle"], row["mean"], known.optimal)
            title = f"{row['formulation']}, {row['changed']}" if row["changed"] else row["formulation"]
            axes.set_title(in_lines(title), fontsize=8)
            axes.xaxis.set_major_formatter(lambda steps, place: f"{steps / 1000:g}")
            axes.xaxis.set_major_locator(MaxNLocator(4))
            clean(axes)
        drawn.supxlabel("thousands of real samples", fontsize=10)
        drawn.supylabel("return in the world", fontsize=10)
    note = f"{TOLD_OF_RETURNS} The optimum is known {known.judge}."
    return render("continuous", f"Return against real samples in {world.name}", note, drawn)


def write(run: Run, out: Path) -> list[Path]:
    """continuous.json, .md, .svg and .png in `out`; returns their paths. Cells without a seed that is finite are named.

    Raises:
        InputError: a file is damaged, or no cell has a finite seed.
    """
    kept = {name: cell for name, cell in run.cells.items() if cell.results()["finite"].any()}
    lost = [name for name in run.cells if name not in kept]
    require(bool(kept), "reproduce continuous", "must have a seed that did not diverge", "none")
    rows = [_judged(cell) for cell in kept.values()]
    told = f"\nAll seeds diverged: {', '.join(lost)}.\n" if lost else ""
    world = next(iter(kept.values())).world
    return write_findings(out, {"rows": rows, "diverged": lost}, to_markdown(rows) + told, figure(rows, world))
