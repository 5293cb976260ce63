"""How often each formulation is fooled: scheme × learner × initial leader × loss, over named and 1,000 random worlds.

python experiments/fooled.py
"""

import itertools
from typing import Any

from common import FIGURES, GROUPS, Clock, clean, fooled, fraction, random_worlds, repeated, save, stacked
from common import finals as final_metrics
from matplotlib.figure import Figure

import sbmrl
from sbmrl.games.model_based import formulations
from sbmrl.games.tabular.options import PlanOptions
from sbmrl.games.tabular.programme import FORMULATIONS
from sbmrl.learners.evolution import EvolutionOptions
from sbmrl.learners.gradient import GradientOptions

NUM_RANDOM, NUM_CONTEXTUAL, SEEDS = 1000, 200, 64
INITIALS = ("uniform", "random", "truth")
LOSSES = ("kl", "brier")
TITLES = {row.name: row.title for row in formulations.FORMULATIONS}


def experiment(formulation: str, scheme: str, learner: str, initial: str, loss: str) -> sbmrl.Experiment:
    """The preset of a cell, with the same response for every formulation: one that agent reward can move."""
    cell = sbmrl.preset("fast" if scheme == "contextual" else "poster", formulation, scheme, learner)
    options = EvolutionOptions(num_updates=200, population_size=16) if learner == "evolution" else GradientOptions()
    cell = cell.replace(loss=loss, leader=options).replace(leader__initial=initial)
    if scheme == "exact" and learner == "gradient" and isinstance(cell.scheme.follower, PlanOptions):
        cell = cell.replace(follower=PlanOptions(backup="soft"))
    if scheme == "inner_outer":
        cell = cell.replace(unroll=cell.scheme.num_inner_steps)
    return cell


def cells() -> list[tuple[str, str, str, str]]:
    """(scheme, learner, initial, loss): all of them by gradient, evolution strategies with the exact response."""
    by_gradient = itertools.product(("exact", "implicit", "inner_outer"), ("gradient",), INITIALS, LOSSES)
    return [*by_gradient, *itertools.product(("exact",), ("evolution",), INITIALS, ("kl",))]


def on_random_worlds(clock: Clock) -> list[dict[str, Any]]:
    """One run in each of the random worlds, for every formulation and cell."""
    rows = []
    jobs = [(cell, NUM_RANDOM) for cell in cells()]
    jobs += [(("contextual", "gradient", "uniform", loss), NUM_CONTEXTUAL) for loss in LOSSES]
    for (cell, count), formulation in itertools.product(jobs, FORMULATIONS):
        metrics = final_metrics(experiment(formulation, *cell), random_worlds(count))
        keys = ("scheme", "learner", "initial", "loss")
        row: dict[str, Any] = dict(zip(keys, cell, strict=True)) | {
            "formulation": formulation,
            "fooled": fooled(metrics),
        }
        row["optimal"] = fraction(metrics["optimal"], metrics["finite"])
        row["diverged"] = int((~metrics["finite"]).sum())
        rows.append(row)
        clock.tick(f"{formulation} {' '.join(cell)}: fooled {row['fooled']['value']:.1%}, diverged {row['diverged']}")
    return rows


def on_named_worlds(clock: Clock) -> list[dict[str, Any]]:
    """64 runs in each named world: exact response, gradient leader, uniform and random start, KL."""
    rows = []
    for formulation, initial, names in itertools.product(FORMULATIONS, ("uniform", "random"), GROUPS):
        metrics = final_metrics(
            experiment(formulation, "exact", "gradient", initial, "kl"), repeated(stacked(names), SEEDS)
        )
        for number, name in enumerate(names):
            own = {key: value[number * SEEDS : (number + 1) * SEEDS] for key, value in metrics.items()}
            rows.append({"formulation": formulation, "initial": initial, "world": name, "fooled": fooled(own)})
        clock.tick(f"{formulation} {initial} {', '.join(names)}")
    return rows


def draw(rows: list[dict[str, Any]]) -> Figure:
    """A panel a formulation: bars of the fooled share with intervals, one group a scheme and learner."""
    figure = Figure(figsize=(11.0, 6.2), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    groups = [("exact", "gradient"), ("implicit", "gradient"), ("inner_outer", "gradient"), ("exact", "evolution")]
    groups.append(("contextual", "gradient"))
    colours = {"uniform": "#0072b2", "random": "#e69f00", "truth": "#009e73"}
    for axes, formulation in zip(panels, FORMULATIONS, strict=True):
        for (place, group), (shift, initial) in itertools.product(
            enumerate(groups), zip((-0.26, 0.0, 0.26), INITIALS, strict=True)
        ):
            for row in rows:
                found = (row["scheme"], row["learner"], row["initial"], row["formulation"])
                if found != (*group, initial, formulation):
                    continue
                share, offset = row["fooled"], 0.06 if row["loss"] == "brier" else -0.06
                error = [[share["value"] - share["low"]], [share["high"] - share["value"]]]
                marker = "o" if row["loss"] == "kl" else "D"
                style = {"color": colours[initial], "fmt": marker, "ms": 5, "capsize": 2, "lw": 1}
                axes.errorbar(place + shift + offset, share["value"], yerr=error, **style)
        axes.set_title(TITLES[formulation], fontsize=10)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xticks(range(len(groups)), [f"{scheme}\n{learner}" for scheme, learner in groups], fontsize=8)
        axes.grid(axis="y", lw=0.4, alpha=0.5)
        clean(axes)
    for initial, colour in colours.items():
        panels[0].plot([], [], "o", color=colour, ms=5, label=f"leader starts {initial}")
    panels[0].plot([], [], "o", color="#444444", ms=5, label="KL")
    panels[0].plot([], [], "D", color="#444444", ms=5, label="Brier")
    panels[0].legend(frameon=False, fontsize=8)
    figure.supylabel(f"fooled, share of {NUM_RANDOM:,} random worlds (contextual: {NUM_CONTEXTUAL})", fontsize=9)
    return figure


def to_markdown(named: list[dict[str, Any]]) -> str:
    """Fooled seeds of 64 by world, uniform / random start."""
    worlds = [name for group in GROUPS for name in group]
    lines = [
        "| world | " + " | ".join(TITLES[name] for name in FORMULATIONS) + " |",
        "|---" * (1 + len(FORMULATIONS)) + "|",
    ]
    for world in worlds:
        entries = []
        for formulation in FORMULATIONS:
            own = [row for row in named if (row["world"], row["formulation"]) == (world, formulation)]
            entries.append(" / ".join(f"{row['fooled']['value']:.0%}" for row in own))
        lines.append(f"| `{world}` | " + " | ".join(entries) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run everything, keep the numbers and draw."""
    clock = Clock()
    named = on_named_worlds(clock)
    (FIGURES / "fooled_named.md").write_text(to_markdown(named), encoding="utf-8")
    rows = on_random_worlds(clock)
    save("fooled", draw(rows), {"random": rows, "named": named})


if __name__ == "__main__":
    main()
