"""What tables and reports show of simulated worlds alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from sbmrl.core import registry
from sbmrl.core.displays import GameDisplay
from sbmrl.core.measures import OPTIMAL_FRACTION
from sbmrl.display.tables import median
from sbmrl.games.continuous.pictures import draw_run, sample_pictures
from sbmrl.games.continuous.simulator import known_returns
from sbmrl.games.model_based.display import departure

Row = Mapping[str, Any]


_GAMES = {
    "aggregated": "practical (the data of all policies are kept)",
    "own": "literal (a model is judged by the data of its own policy alone)",
}


def _told(rows: Sequence[Row]) -> str:
    return "; ".join(told for data, told in _GAMES.items() if any(row["data"] == data for row in rows)) + ", "


def _measured(finite: pl.DataFrame) -> dict[str, Any]:
    """Medians over the seeds: real steps, and what a fooled run is told by."""
    own, wide = -finite["fit"].to_numpy(), -finite["random_fit"].to_numpy()
    gap = finite["model_return"].to_numpy() - finite["exact_return"].to_numpy()
    numbers = {"real_steps": finite["real_steps"].to_numpy(), "own_loss": own, "wide_loss": wide, "model_gap": gap}
    return {name: median(values) for name, values in numbers.items()}


def _lines(rows: Sequence[Row]) -> list[str]:
    def text(value: float | None) -> str:
        return "–" if value is None else f"{value:.2g}"

    def line(row: Row) -> str:
        practical, paid = row["data"] == "aggregated", row["real_steps"] or 0
        own = "new data" if practical else "its own policy's data"
        return (
            f"{row['title']}: {f'{paid:,.0f} real steps; ' if practical else ''}the model's loss on {own} "
            f"{text(row['own_loss'])}, on the data of random actions {text(row['wide_loss'])}; return in the model "
            f"minus return in the world {text(row['model_gap'])}"
        )

    worlds = {row["env"]: registry.outline(registry.kind(row["kind"]), row["env"]) for row in rows}
    known = {name: known_returns(world) for name, world in worlds.items()}
    judged = [f"the optimum of {name}: {one.optimal:g}, {one.judge}" for name, one in known.items()]
    return [*(line(row) for row in rows), *judged]


DISPLAY = GameDisplay(
    returns="of each seed's mean policy in the true world, over starts that are the same for all",
    baseline="the uniform policy (and only where the model's loss is small on new data and large elsewhere)",
    responds="within 1.25 % of (optimal − baseline) of the best response on a grid against {leader}, where it is known",
    tolerance=lambda head: OPTIMAL_FRACTION * (head["optimal_return"] - head["uniform_return"]),
    departure=departure,
    told=_told,
    told_apart=("data",),
    measured=_measured,
    lines=_lines,
    pictures=sample_pictures,
    draw_run=draw_run,
)
