"""What `sbmrl reproduce oracles-followers` adds to the report of any run: returns against all steps, conditions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from sbmrl.display.files import write_findings
from sbmrl.display.plotting import COLOURS, STYLE, Drawing, clean, new_figure, render
from sbmrl.display.results import Cell, Run
from sbmrl.display.statistics import fraction_interval, mean_interval
from sbmrl.display.tables import bounds_of, markdown_table, with_interval
from sbmrl.games.matrix.programme_cells import CONTEXTUAL, GIVEN_UP, Q_LEARNING

TOLERANCE = 0.1  # in leader return: at the optimum
_FOLLOWERS = {CONTEXTUAL: "contextual", Q_LEARNING: "tabular Q-learning"}
_COLUMNS = 4  # panels beside each other
_WHY = {
    "nothing": "–",
    "queries hidden from PPO": "answers that cost a little now and change what the follower does get no credit",
    "queries hidden from evolution strategies": "does not matter: only the whole episode's return is used",
    "leader told the phase": "it answers as it would like to be taken and plays as it likes",
    "follower not reset": "what an answer changes comes in the next episode, so it gets no credit",
    "answers paid, 5 of 15 steps": "the optimum of the augmented episode moves; here not far enough",
    "answers paid, 800 of 810 steps": "the answers are worth more than the game behind them",
    "γ = 0.5 across 5 queries": "what an answer changes is discounted away",
    "γ = 0.9 across 800 queries": "what an answer changes is discounted away",
}


class Curve(NamedTuple):
    """A cell's runs in play: `steps` `[T]`, all of them, pretraining and queries counted; `returns` `[T, N]`."""

    steps: np.ndarray
    returns: np.ndarray


def curve_of(cell: Cell, metric: str = "exact_return") -> Curve:
    """The leader's return against all environment steps of a run.

    Raises:
        InputError: a file is damaged.
    """
    curves = cell.curves()
    before = curves.filter(pl.col("stage") == "pretrain")["steps"].max() or 0
    play = curves.filter((pl.col("stage") == "play") & (pl.col("metric") == metric)).sort("steps", "seed")
    steps = play["steps"].unique().sort().to_numpy()
    return Curve(steps + before, play["value"].to_numpy().reshape(len(steps), -1))  # pyright: ignore[reportOperatorIssue]


def steps_to(curve: Curve, optimum: float, share: float) -> int | None:
    """All steps until for the first time this share of the seeds is at the optimum; None if that does not happen."""
    reached = np.mean(np.abs(curve.returns - optimum) <= TOLERANCE, axis=1) >= share
    return int(curve.steps[np.argmax(reached)]) if reached.any() else None


def _judged(cell: Cell) -> dict[str, Any]:
    """What became of a cell's seeds."""
    results = cell.results()
    finite = results.filter(pl.col("finite"))
    optimum = float(results["optimal_return"][0])
    returns = finite["exact_return"].to_numpy()
    found: dict[str, Any] = {
        "game": results["env"][0],
        "num_seeds": len(results),
        "num_diverged": len(results) - len(finite),
        "optimum": optimum,
        "leader_return": bounds_of(mean_interval(returns)),
        "at_optimum": bounds_of(fraction_interval(int(np.sum(np.abs(returns - optimum) <= TOLERANCE)), len(finite))),
        "follower_regret": float(finite["follower_gap"].mean()),  # pyright: ignore[reportArgumentType]
        "steps": int(curve_of(cell).steps[-1]),
    }
    for metric in ("exact_return", "best_response_return"):
        curve = curve_of(cell, metric)
        found[f"steps_by_{metric}"] = {f"{share:g}": steps_to(curve, optimum, share) for share in (0.5, 0.9)}
    return found


def summarise(run: Run) -> dict[str, Any]:
    """The numbers of the programme: of each game with both followers, and of each demonstration.

    Raises:
        InputError: a file is damaged.
    """
    games = [name.removesuffix(f"-{CONTEXTUAL}") for name in run.cells if name.endswith(f"-{CONTEXTUAL}")]
    return {
        "games": [{name: _judged(run.cells[f"{game}-{name}"]) for name in _FOLLOWERS} for game in games],
        "demonstrations": [
            _judged(cell) | {"given_up": cell.static[GIVEN_UP], "why": _WHY[cell.static[GIVEN_UP]]}
            for cell in run.cells.values()
            if GIVEN_UP in cell.static
        ],
    }


def _steps(value: int | None, most: int) -> str:
    return f"> {most:,}" if value is None else f"{value:,}"


def _ratio(contextual: Mapping[str, Any], inner: Mapping[str, Any]) -> str:
    mine, theirs = contextual["steps_by_exact_return"]["0.5"], inner["steps_by_exact_return"]["0.5"]
    if mine is None:
        return "–"
    return f"> {inner['steps'] / mine:.0f}" if theirs is None else f"{theirs / mine:.1f}"


def to_markdown(data: Mapping[str, Any]) -> str:
    """Both tables, with what the reader needs to know."""
    lines = []
    for game in data["games"]:
        line = [game[CONTEXTUAL]["game"], f"{game[CONTEXTUAL]['optimum']:.1f}"]
        for name in _FOLLOWERS:
            one = game[name]
            line += [
                with_interval(one["at_optimum"], "{:.0%}"),
                with_interval(one["leader_return"], "{:.2f}"),
                f"{one['follower_regret']:.2f}",
                _steps(one["steps_by_exact_return"]["0.5"], one["steps"]),
            ]
        lines.append([*line, _ratio(game[CONTEXTUAL], game[Q_LEARNING])])
    titles = ["at the optimum [95 %]", "leader's return [95 %]", "follower's regret", "steps to it"]
    columns = ["game", "optimum", *(f"{name}: {title}" for name in _FOLLOWERS.values() for title in titles), "ratio"]
    shown = [
        [
            one["game"],
            one["given_up"],
            f"{one['optimum']:.1f}",
            with_interval(one["leader_return"], "{:.2f}"),
            with_interval(one["at_optimum"], "{:.0%}"),
            one["why"],
        ]
        for one in data["demonstrations"]
    ]
    heads = ["game", "given up", "optimum", "leader's return [95 %]", "at the optimum [95 %]", "why"]
    seeds = max(one["num_seeds"] for one in data["demonstrations"])
    told = (
        f"{seeds} seeds a line. Optimum: the best deterministic commitment, brute force, against a follower without a "
        f"clock, ties in the leader's favour. At the optimum: exact return within {TOLERANCE} of it. Regret: what the "
        "follower's best strategy without a clock would earn more. Steps to it: all environment steps, pretraining and "
        "queries counted, until for the first time half of the seeds are at the optimum. Ratio: of these steps."
    )
    return f"{markdown_table(columns, lines)}\n\n{told}\n\n## Conditions given up\n\n{markdown_table(heads, shown)}\n"


def figure(run: Run) -> Drawing:
    """Small multiples: the leader's return against all environment steps, a panel for each game."""
    games = [name.removesuffix(f"-{CONTEXTUAL}") for name in run.cells if name.endswith(f"-{CONTEXTUAL}")]
    columns = min(_COLUMNS, len(games))
    rows = -(-len(games) // columns)
    with matplotlib.rc_context(STYLE):
        drawn = new_figure(max(2.6 * columns + 0.8, 4.8), 2.1 * rows + 1.0)
        panels: list[Axes] = list(np.ravel(drawn.subplots(rows, columns, squeeze=False)))
        for unused in panels[len(games) :]:
            unused.axis("off")
        for axes, game in zip(panels, games, strict=False):
            for (name, label), colour in zip(_FOLLOWERS.items(), COLOURS, strict=False):
                cell = run.cells[f"{game}-{name}"]
                curve = curve_of(cell)
                low, middle, high = np.quantile(curve.returns, [0.25, 0.5, 0.75], axis=1)
                axes.fill_between(curve.steps, low, high, color=colour, alpha=0.15, lw=0)
                top = 4 if name == CONTEXTUAL else 3  # the shorter curve would be hidden
                axes.plot(curve.steps, middle, color=colour, lw=1.6, label=label, zorder=top)
                axes.axhline(float(cell.results()["optimal_return"][0]), color="#222222", lw=0.8, ls="--", zorder=1)
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_title(game)
            clean(axes)
        drawn.supxlabel("environment steps, pretraining and queries counted", fontsize=10)
        drawn.supylabel("leader's exact return", fontsize=10)
        handles, labels = panels[0].get_legend_handles_labels()
        place: Any = {"loc": "outside upper center"}
        drawn.legend(handles, labels, frameon=False, ncols=2, **place)
    note = "Line: the median over the seeds; band: the middle half of them; dashed: the optimum."
    return render("oracles_followers", "Leader's return against all environment steps", note, drawn)


def write(run: Run, out: Path) -> list[Path]:
    """oracles_followers.json, .md, .svg and .png in `out`; returns their paths.

    Raises:
        InputError: a file is damaged.
    """
    data = summarise(run)
    return write_findings(out, data, to_markdown(data), figure(run))
