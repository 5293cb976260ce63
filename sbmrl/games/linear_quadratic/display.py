"""What tables and reports show of linear-quadratic worlds alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from sbmrl.core.displays import GameDisplay
from sbmrl.display.tables import median
from sbmrl.games.model_based.display import departure

Row = Mapping[str, Any]


def _told(rows: Sequence[Row]) -> str:
    noise = ", ".join(dict.fromkeys(f"{row['action_noise']:g}" for row in rows))
    return f"loss {', '.join(dict.fromkeys(row['loss'] for row in rows))}, action noise {noise}, "


def _measured(finite: pl.DataFrame) -> dict[str, Any]:
    """Medians over the seeds: what a fooled run is told by (own loss small, wide loss large, regret large)."""
    own, wide = -finite["fit"].to_numpy(), -finite["random_fit"].to_numpy()
    gap = finite["model_return"].to_numpy() - finite["exact_return"].to_numpy()
    return {"own_loss": median(own), "wide_loss": median(wide), "model_gap": median(gap)}


def _lines(rows: Sequence[Row]) -> list[str]:
    def text(value: float | None) -> str:
        return "–" if value is None else f"{value:.2g}"

    return [
        f"{row['title']}: loss on its own data {text(row['own_loss'])}, on data of random policies "
        f"{text(row['wide_loss'])}, return in the model minus return in the world {text(row['model_gap'])}"
        for row in rows
    ]


DISPLAY = GameDisplay(
    returns="of each seed's policy in the true world, −(expected discounted cost)",
    baseline="whoever pays twice the optimal cost",
    responds="within 1 % of the optimal cost at {leader} (a model: its loss below that)",
    tolerance=lambda head: 0.01 * abs(head["optimal_return"]),
    departure=departure,
    told=_told,
    told_apart=("loss", "action_noise"),
    measured=_measured,
    lines=_lines,
)
