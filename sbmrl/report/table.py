"""The formulation table: one row a cell, beside the poster's numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from sbmrl.core.formulation import FORMULATIONS
from sbmrl.display.statistics import Estimate, fraction_interval, interquartile_mean, mean_interval
from sbmrl.sweep.loaded_cell import LoadedCell
from sbmrl.games.tabular.theory.bounds import Certificate

# Mean and spread of five runs, sampled returns (the poster, section 4): simple_mdp_2, T = 50.
POSTER_ENV = "simple_mdp_2"
POSTER = {
    "mal": (0.97, 0.05),
    "mal_agent_reward": (36.93, 0.57),
    "mal_random_noise": (36.74, 0.67),
    "pal": (36.77, 0.64),
}
FOLLOWER_TOLERANCE = 0.5  # a follower this close to optimal at the right leader is said to best-respond

RESIDUAL_TOLERANCE = 0.01  # an inner solver further from its equation than this is said not to have converged

Row = dict[str, Any]


def cell_rows(cell: LoadedCell) -> list[Row]:
    """A row for each point of a cell that has finished runs; a point's seconds are its runs' share of the cell's."""
    results, seconds = cell.results(), sum(cell.seconds().values())
    rows = []
    for point in cell.plan.points():
        own = at_point(results, point)
        if len(own):
            rows.append(make_row(own, seconds * len(own) / len(results), point, dict(cell.plan.static)))
    return rows


def at_point(frame: pl.DataFrame, point: Mapping[str, float]) -> pl.DataFrame:
    """The rows of a point of the axes, whose values were stored as float32."""
    for name, value in point.items() if len(frame) else ():
        frame = frame.filter((pl.col(name) - value).abs() <= 1e-5 * abs(value) + 1e-9)
    return frame


def make_row(
    results: pl.DataFrame,
    seconds: float,
    point: Mapping[str, float] | None = None,
    static: Mapping[str, Any] | None = None,
) -> Row:
    """The statistics of one point of a cell. Diverged seeds (`finite = false`) are counted, but in no other number."""
    finite = results.filter(pl.col("finite"))
    returns, count = finite["exact_return"].to_numpy(), len(finite)
    head = results.row(0, named=True)
    poster = POSTER.get(head["formulation"]) if head["env"] == POSTER_ENV else None
    # A follower that learns against one leader is judged at that leader, one that knows all at the right one.
    gap = "follower_gap" if head["scheme"] == "inner_outer" else "follower_gap_true"
    best_responding = int((finite[gap] <= FOLLOWER_TOLERANCE).sum())
    return {
        **{name: head[name] for name in ("formulation", "scheme", "learner", "env", "alpha", "loss", "agent_reward")},
        "static": dict(static or {}),
        "point": dict(point or {}),
        "num_seeds": len(results),
        "num_diverged": len(results) - count,
        "exact_return": bounds_of(mean_interval(returns)),
        "interquartile_mean": _number(interquartile_mean(returns)),
        "sampled_return": bounds_of(mean_interval(finite["sampled_return"].to_numpy())),
        "optimal_return": _number(head["optimal_return"]),
        "fraction_fooled": bounds_of(fraction_interval(int(finite["fooled"].sum()), count)),
        "fraction_optimal": bounds_of(fraction_interval(int(finite["optimal"].sum()), count)),
        "fraction_follower_best_responds": bounds_of(fraction_interval(best_responding, count)),
        "num_unconverged": int((finite["residual"].fill_nan(0.0) > RESIDUAL_TOLERANCE).sum()),
        "certificate": {n: _median(finite[n].to_numpy()) for n in Certificate._fields if n in finite.columns},
        "seconds": round(seconds, 1),
        "poster": None if poster is None else {"value": poster[0], "spread": poster[1]},
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None


def bounds_of(estimate: Estimate) -> dict[str, float | None]:
    """An estimate as plain data; None for what is not known."""
    return {name: _number(value) for name, value in estimate._asdict().items()}


COLUMNS = (
    "formulation",
    "poster",
    "exact return [95 %]",
    "IQM",
    "sampled [95 %]",
    "fooled [95 %]",
    "optimal",
    "follower best-responds",
    "seeds",
    "seconds",
)


def cells(row: Row) -> list[str]:
    """A row as the texts of `COLUMNS`."""
    poster, diverged = row["poster"], row["num_diverged"]
    return [
        title(row),
        "–" if poster is None else f"{poster['value']:.2f} ± {poster['spread']:.2f}",
        with_interval(row["exact_return"], "{:.2f}"),
        "–" if row["interquartile_mean"] is None else f"{row['interquartile_mean']:.2f}",
        with_interval(row["sampled_return"], "{:.2f}"),
        with_interval(row["fraction_fooled"], "{:.0%}"),
        _value(row["fraction_optimal"], "{:.0%}"),
        _value(row["fraction_follower_best_responds"], "{:.0%}"),
        f"{row['num_seeds']}" + (f" ({diverged} diverged, left out)" if diverged else ""),
        f"{row['seconds']:.0f}",
    ]


def title(row: Mapping[str, Any]) -> str:
    """The formulation's name in print, with what departs from the default."""
    where = " (paid in the model)" if row["agent_reward"] == "model" else ""
    axes = "".join(f", {name} {value}" for name, value in row["static"].items())
    axes += "".join(f", {name} {value:g}" for name, value in row["point"].items())
    return FORMULATIONS[row["formulation"]].title + where + axes


def _value(bounds: Mapping[str, float | None], form: str) -> str:
    return "–" if bounds["value"] is None else form.format(bounds["value"])


def with_interval(bounds: Mapping[str, float | None], form: str) -> str:
    """An estimate and its interval in print: 0.50 [0.40, 0.60]; only what is known of it."""
    if bounds["low"] is None or bounds["high"] is None:
        return _value(bounds, form)
    return f"{_value(bounds, form)} [{form.format(bounds['low'])}, {form.format(bounds['high'])}]"


def certificate_lines(rows: Sequence[Row]) -> list[str]:
    """A line for each row that has a certificate, as those of model-based RL have."""
    return [_certificate_line(row) for row in rows if row["certificate"]]


def _certificate_line(row: Row) -> str:
    """The medians over the seeds of what the theorems say of a cell (docs/theory.md)."""
    shown = {name: value if value is None else round(value, 9) for name, value in row["certificate"].items()}
    known = {name: "–" if value is None else f"{value:.3g}" for name, value in shown.items()}
    return (
        f"certificate of {title(row)}: ε_M = {known['epsilon_model']}, ε_π = {known['epsilon_policy']}, regret ≤ "
        f"{known['theorem_1_model']} (theorem 1, distance in the model); ε_M = {known['epsilon_model_2']}, ε_π = "
        f"{known['epsilon_policy_2']}, regret ≤ {known['theorem_2']} (theorem 2)"
    )


def caption(rows: Sequence[Row]) -> str:
    """What the reader needs to know to read the table."""

    def of_all(name: str) -> str:
        return ", ".join(dict.fromkeys(str(row[name]) for row in rows))

    optima = dict.fromkeys(f"{row['optimal_return']:.2f}" for row in rows)
    known = f"the optimum is {next(iter(optima))}" if len(optima) == 1 else "optima differ from row to row"
    leaders = {"inner_outer": "its last leader"}
    leader = " or ".join(dict.fromkeys(leaders.get(row["scheme"], "the right leader") for row in rows))
    kinds = {FORMULATIONS[row["formulation"]].kind for row in rows}
    loss = f"loss {of_all('loss')}, " if "model_based" in kinds else ""
    of_whom = {"model_based": "of each seed's greedy policy in the true world", "matrix": "the leader's"}
    told = {
        "model_based": "within 0.5 of optimal against {leader} (a model: its loss within 0.5 of the best)",
        "matrix": "within 0.5 of the best strategy without a clock against {leader}",
    }
    returns = " or ".join(of_whom[kind] for kind in sorted(kinds, reverse=True))
    responds = "; ".join(told[kind].format(leader=leader) for kind in sorted(kinds, reverse=True))
    return (
        f"World {of_all('env')}, {loss}scheme {of_all('scheme')}, leader by {of_all('learner')}; "
        f"{known}. Exact return: {returns}. "
        f"Fooled: regret above 5 % of (optimal − uniform policy). Follower best-responds: {responds}. "
        f"Seconds: the row's share of its cell's, compilation included."
    )


def markdown_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (columns, ["---"] * len(columns), *lines))


def to_markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown, caption below."""
    parts = [markdown_table(COLUMNS, [cells(row) for row in rows]), caption(rows)]
    certificates = certificate_lines(rows)
    if certificates:
        parts += ["Medians over the seeds:", "\n".join(f"- {line}" for line in certificates)]
    return "\n\n".join(parts) + "\n"
