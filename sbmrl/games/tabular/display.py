"""What tables and reports show of model-based RL alone: the poster's numbers, certificates, learned models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sbmrl.core.displays import ExtraTable, GameDisplay, Published
from sbmrl.display.results import Cell
from sbmrl.display.tables import median
from sbmrl.games.model_based.display import departure
from sbmrl.games.tabular.draw import draw_panels
from sbmrl.games.tabular.mdp import TabularMDP
from sbmrl.games.tabular.panels import model_panels, world_panel
from sbmrl.games.tabular.pictures import model_pictures
from sbmrl.games.tabular.presets import ENV
from sbmrl.games.tabular.theory.bounds import Certificate

# Mean and spread of five runs, sampled returns (the poster, section 4): simple_mdp_2, T = 50.
POSTER = {
    "mal": Published(0.97, 0.05),
    "mal_agent_reward": Published(36.93, 0.57),
    "mal_random_noise": Published(36.74, 0.67),
    "pal": Published(36.77, 0.64),
}
_CERTIFICATES = {
    "epsilon_model": "ε_M",
    "epsilon_policy": "ε_π",
    "theorem_1_model": "theorem 1 (model): regret ≤",
    "theorem_1_world": "theorem 1 (world): regret ≤",
    "epsilon_model_2": "theorem 2: ε_M",
    "epsilon_policy_2": "theorem 2: ε_π",
    "theorem_2": "theorem 2: regret ≤",
}
_CERTIFIED = (
    "Every run is certified: from its model's loss ε_M and its policy's error ε_π both theorems bound its regret "
    "from above (docs/theory.md); a right-hand side far above the regret is true and says little. Medians over "
    "the seeds."
)

Row = Mapping[str, Any]


def _told(rows: Sequence[Row]) -> str:
    return f"loss {', '.join(dict.fromkeys(row['loss'] for row in rows))}, "


def _published(head: Row) -> Published | None:
    return POSTER.get(head["formulation"]) if head["env"] == ENV else None


def _measured(finite: pl.DataFrame) -> dict[str, Any]:
    """Medians over the seeds of the certificate."""
    return {"certificate": {name: median(finite[name].to_numpy()) for name in Certificate._fields}}


def _lines(rows: Sequence[Row]) -> list[str]:
    return [_certificate_line(row) for row in rows]


def _certificate_line(row: Row) -> str:
    """The medians over the seeds of what the theorems say of a cell (docs/theory.md)."""
    shown = {name: value if value is None else round(value, 9) for name, value in row["certificate"].items()}
    known = {name: "–" if value is None else f"{value:.3g}" for name, value in shown.items()}
    return (
        f"certificate of {row['title']}: ε_M = {known['epsilon_model']}, ε_π = {known['epsilon_policy']}, regret ≤ "
        f"{known['theorem_1_model']} (theorem 1, distance in the model); ε_M = {known['epsilon_model_2']}, ε_π = "
        f"{known['epsilon_policy_2']}, regret ≤ {known['theorem_2']} (theorem 2)"
    )


def _certificate_table(rows: Sequence[Row]) -> ExtraTable:
    """Medians over the seeds of what the theorems say of each row."""

    def text(value: float | None) -> str:
        return "–" if value is None else f"{round(value, 9) + 0.0:.3g}"

    lines = [
        [row["label"], text(row["regret"]["median"]), *(text(row["certificate"][name]) for name in _CERTIFICATES)]
        for row in rows
    ]
    columns = ("formulation", "median regret", *_CERTIFICATES.values())
    return ExtraTable("Certificates", _CERTIFIED, columns, lines)


def _draw_world(world: TabularMDP, stem: Path) -> list[Path]:
    return draw_panels([world_panel(world)], stem)


def _draw_run(cell: Cell, run: int, stem: Path) -> list[Path]:
    return draw_panels(model_panels(cell, run), stem)


DISPLAY = GameDisplay(
    returns="of each seed's greedy policy in the true world",
    responds="within 0.5 of optimal against {leader} (a model: its loss within 0.5 of the best)",
    departure=departure,
    told=_told,
    told_apart=("loss",),
    published=_published,
    source="poster",
    source_note="Poster: mean ± spread of its five runs, sampled returns.",
    measured=_measured,
    lines=_lines,
    table=_certificate_table,
    pictures=model_pictures,
    draw_world=_draw_world,
    draw_run=_draw_run,
)
