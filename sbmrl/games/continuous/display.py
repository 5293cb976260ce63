"""What tables and reports show of simulated worlds alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from sbmrl.core import registry
from sbmrl.core.displays import GameDisplay
from sbmrl.display.tables import median
from sbmrl.games.continuous.simulator import known_returns

Row = Mapping[str, Any]


def _told(rows: Sequence[Row]) -> str:
    del rows
    return "practical (the data of all policies are kept), "


def _measured(finite: pl.DataFrame) -> dict[str, Any]:
    """Medians over the seeds: real steps, and what a fooled run is told by."""
    own, wide = -finite["fit"].to_numpy(), -finite["random_fit"].to_numpy()
    gap = finite["model_return"].to_numpy() - finite["exact_return"].to_numpy()
    numbers = {"real_steps": finite["real_steps"].to_numpy(), "own_loss": own, "wide_loss": wide, "model_gap": gap}
    return {name: median(values) for name, values in numbers.items()}


def _lines(rows: Sequence[Row]) -> list[str]:
    def text(value: float | None) -> str:
        return "–" if value is None else f"{value:.2g}"

    measured = [
        f"{row['title']}: {row['real_steps'] or 0:,.0f} real steps; the model's loss on new data "
        f"{text(row['own_loss'])}, on the data of random actions {text(row['wide_loss'])}; return in the model minus "
        f"return in the world {text(row['model_gap'])}"
        for row in rows
    ]
    worlds = {row["env"]: registry.outline(registry.kind(row["kind"]), row["env"]) for row in rows}
    known = {name: known_returns(world) for name, world in worlds.items()}
    judged = [f"the optimum of {name}: {one.optimal:g}, {one.judge}" for name, one in known.items()]
    return [*measured, *judged]


DISPLAY = GameDisplay(
    returns="of each seed's mean policy in the true world, over starts that are the same for all",
    baseline="the uniform policy (and only where the model's loss is small on new data and large elsewhere)",
    responds="nobody knows in simulated worlds",
    told=_told,
    measured=_measured,
    lines=_lines,
)
