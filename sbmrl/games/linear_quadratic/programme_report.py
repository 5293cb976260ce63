"""What `sbmrl reproduce lqr` adds to the report of any run: a line for each cell, and regrets as a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import polars as pl

from sbmrl.display.files import write_findings
from sbmrl.display.plotting import COLOURS, STYLE, Drawing, clean, new_figure, render
from sbmrl.display.results import Cell, Run
from sbmrl.display.statistics import fraction_interval
from sbmrl.display.tables import bounds_of, markdown_table, with_interval
from sbmrl.games.linear_quadratic.programme_cells import CHANGED, EXACT, NOTHING, SEES, START

_QUANTILES = (0.05, 0.5, 0.95)
_LEAST = 1e-6  # smaller relative regrets are rounding in float32


def _judged(cell: Cell) -> dict[str, Any]:
    """What became of a cell's seeds; regret in parts of the optimal cost."""
    results = cell.results()
    finite = results.filter(pl.col("finite"))
    optimum = -float(results["optimal_return"][0])
    regret = finite["regret"].to_numpy() / optimum
    found: dict[str, Any] = {
        "formulation": results["formulation"][0],
        "start": cell.static[START],
        "sees": cell.static.get(SEES, EXACT),
        "changed": cell.static.get(CHANGED, NOTHING),
        "num_seeds": len(results),
        "num_not_finite": len(results) - len(finite),
        "optimal_cost": optimum,
        "fooled": bounds_of(fraction_interval(int(finite["fooled"].sum()), len(finite))),
        "regret": {f"{q:g}": float(np.quantile(regret, q)) for q in _QUANTILES} if len(regret) else {},
    }
    for name, column in (("own_loss", "fit"), ("wide_loss", "random_fit")):
        loss = -finite[column].to_numpy()
        found[name] = max(float(np.median(loss)), 0.0) if len(loss) else None
    return found


def summarise(run: Run) -> list[dict[str, Any]]:
    """The numbers of each cell, in the order of the plan.

    Raises:
        InputError: a file is damaged.
    """
    return [_judged(cell) for cell in run.cells.values()]


def _small(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"


def _share(value: float) -> str:
    """A relative regret in percent, to two digits."""
    return f"{value:.0%}" if value >= 0.095 else f"{100.0 * value:.2g} %" if value > 1e-6 else "0 %"


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table, with what the reader needs to know."""
    heads = ["formulation", "start", "leader sees", "with", "fooled [95 %]", "regret: 5 %, median, 95 %"]
    heads += ["own loss", "wide loss", "not finite"]
    lines = [
        [
            row["formulation"],
            row["start"],
            row["sees"],
            row["changed"] or "–",
            with_interval(row["fooled"], "{:.0%}"),
            ", ".join(_share(value) for value in row["regret"].values()) or "–",
            _small(row["own_loss"]),
            _small(row["wide_loss"]),
            f"{row['num_not_finite']}",
        ]
        for row in rows
    ]
    seeds = max(row["num_seeds"] for row in rows)
    told = (
        f"{seeds} seeds a line. Regret: in parts of the optimal cost; fooled: above 5 % of it. Own loss: of the model "
        "on its policy's data, median; wide loss: on the data of random policies. Not finite: seeds left out, whose "
        "cost was or became infinite. Start of a model: weak, its actuator scaled by .03–.6; random, every entry off "
        "by up to .05. Of a policy: weak, the optimal gain scaled by .03–.6; random, the best for such a model."
    )
    return f"{markdown_table(heads, lines)}\n\n{told}\n"


def figure(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """A line for each cell: the median of the relative regret, and where 90 % of the seeds are; a panel a start."""
    starts = list(dict.fromkeys(row["start"] for row in rows))
    with matplotlib.rc_context(STYLE):
        most = max(sum(row["start"] == start for row in rows) for start in starts)
        drawn = new_figure(11.0, 0.26 * most + 1.2)
        panels = np.ravel(drawn.subplots(1, len(starts), squeeze=False))
        for axes, start, colour in zip(panels, starts, COLOURS, strict=False):
            own = [row for row in rows if row["start"] == start and row["regret"]]
            labels = [_label(row) for row in own]
            for place, row in enumerate(own):
                low, middle, high = (max(value, _LEAST) for value in row["regret"].values())
                axes.plot([low, high], [place, place], color=colour, lw=2.0, alpha=0.4)
                axes.plot([middle], [place], "o", color=colour, ms=4)
            axes.axvline(0.05, color="#222222", lw=0.8, ls="--")
            axes.set_xscale("log")
            axes.set_yticks(range(len(own)), labels)
            axes.invert_yaxis()
            axes.set_title(f"from a {start} start")
            clean(axes)
        drawn.supxlabel("regret, in parts of the optimal cost", fontsize=10)
    note = "Dot: the median over the seeds; line: where 90 % of them are; dashed: 5 %, above which a run is fooled."
    return render("lqr", "Regret in a linear-quadratic world", note, drawn)


def _label(row: Mapping[str, Any]) -> str:
    changed = "" if row["changed"] == NOTHING else f", {row['changed']}"
    held = " (fixed response)" if "fixed" in row["sees"] else ""
    return f"{row['formulation'].removesuffix('_agent_reward').removesuffix('_random_noise')}{changed}{held}"


def write(run: Run, out: Path) -> list[Path]:
    """lqr.json, .md, .svg and .png in `out`; returns their paths.

    Raises:
        InputError: a file is damaged.
    """
    rows = summarise(run)
    return write_findings(out, {"rows": rows}, to_markdown(rows), figure(rows))
