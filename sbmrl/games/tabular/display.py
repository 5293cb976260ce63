"""What tables and reports show of model-based RL alone: the poster's numbers, certificates, learned models."""

import math
from collections.abc import Collection, Mapping, Sequence
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
from sbmrl.games.tabular.theory.certificates import Certificate

# Mean and spread of five runs, sampled returns (the poster, section 4): simple_mdp_2, T = 50.
POSTER = {
    "mal": Published(0.97, 0.05),
    "mal_agent_reward": Published(36.93, 0.57),
    "mal_random_noise": Published(36.74, 0.67),
    "pal": Published(36.77, 0.64),
}
_CERTIFICATES = {
    "epsilon_model": "ε_M",
    "simulation_gap": "gap of π: |J(M) − J(M̂)| ≤",
    "epsilon_policy": "ε_π",
    "theorem_1_model": "theorem 1 (model): regret ≤",
    "theorem_1_world": "theorem 1 (world): regret ≤",
    "epsilon_model_2": "theorem 2: ε_M",
    "epsilon_policy_2": "theorem 2: ε_π",
    "theorem_2": "theorem 2: regret ≤",
}
# What is certified beyond theorems 1 and 2, where it applies: column of the bound, its name, what it is made of.
_FURTHER = {
    "reward_in_world": ("agent reward in the world: regret =", {"excess_cost": "e", "epsilon_truth": "ε₀"}),
    "reward_in_model": ("agent reward in the model: regret ≤", {"excess_cost": "e", "epsilon_truth": "ε₀"}),
    "random_noise": (
        "random noise: regret ≤",
        {"excess_cost": "e", "concentrability": "C", "best_alpha": "best α"},
    ),
    "any_data": (
        "any data: regret ≤",
        {"data_loss": "ℓ_D", "concentrability": "C_D", "concentrability_policy": "C_D^π"},
    ),
}
_CERTIFIED = (
    "Every run is certified: from its model's loss ε_M and its policy's error ε_π both theorems bound its regret "
    "from above, and the repairs and collected data have a statement of their own (documentation, Theory); a "
    "right-hand side far above the regret is true and says little. Medians over the seeds."
)

Row = Mapping[str, Any]


def _told(rows: Sequence[Row]) -> str:
    return f"loss {', '.join(dict.fromkeys(row['loss'] for row in rows))}, "


def _published(head: Row) -> Published | None:
    return POSTER.get(head["formulation"]) if head["env"] == ENV else None


def _measured(finite: pl.DataFrame) -> dict[str, Any]:
    """Medians over the seeds of the certificate; where a bound is infinite no number, and the reason in words."""
    parts = {part for bound in _FURTHER if bound in finite.columns for part in (bound, *_FURTHER[bound][1])}
    medians = {name: median(finite[name].to_numpy()) for name in (*Certificate._fields, *sorted(parts))}
    infinite = {name for name, value in medians.items() if value is not None and math.isinf(value)}
    return {
        "certificate": {name: None if name in infinite else value for name, value in medians.items()},
        "no_bound": {name: _reason(name, infinite, finite) for name in sorted(infinite)},
    }


def _reason(name: str, infinite: Collection[str], finite: pl.DataFrame) -> str:
    """Why a number of the certificate is infinite."""
    missing = {"concentrability": "π* visits", "concentrability_policy": "π visits"}
    if name in (*_FURTHER, *missing):
        for column, whose in missing.items():
            if column in infinite and (name == column or name not in missing):
                return f"∞: the data leave out a pair that {whose}"
        return f"no bound at α = {finite['alpha'][0]:g}"
    return "∞: the model gives probability 0 to a transition of the world"


def _lines(rows: Sequence[Row]) -> list[str]:
    return [_certificate_line(row) for row in rows]


def _text(row: Row, name: str) -> str:
    return row["no_bound"].get(name) or _known(row["certificate"][name])


def _certificate_line(row: Row) -> str:
    """The medians over the seeds of what the theorems say of a cell (docs/theory.md)."""
    known = {name: _text(row, name) for name in row["certificate"]}
    line = (
        f"certificate of {row['title']}: ε_M = {known['epsilon_model']}, ε_π = {known['epsilon_policy']}, regret ≤ "
        f"{known['theorem_1_model']} (theorem 1, distance in the model); ε_M = {known['epsilon_model_2']}, ε_π = "
        f"{known['epsilon_policy_2']}, regret ≤ {known['theorem_2']} (theorem 2)"
    )
    return "; ".join((line, *_further(row)))


def _further(row: Row) -> list[str]:
    """What is certified beyond theorems 1 and 2, in words."""
    return [
        f"{title} {_text(row, bound)} ({', '.join(f'{symbol} = {_text(row, name)}' for name, symbol in parts.items())})"
        for bound, (title, parts) in _FURTHER.items()
        if bound in row["certificate"]
    ]


def _certificate_table(rows: Sequence[Row]) -> ExtraTable:
    """Medians over the seeds of what the theorems say of each row."""
    lines = [
        [
            row["label"],
            _known(row["regret"]["median"]),
            *(_text(row, name) for name in _CERTIFICATES),
            "; ".join(_further(row)) or "–",
        ]
        for row in rows
    ]
    columns = ("formulation", "median regret", *_CERTIFICATES.values(), "of the repair, or of the data")
    return ExtraTable("Certificates", _CERTIFIED, columns, lines)


def _known(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 9) + 0.0:.3g}"


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
