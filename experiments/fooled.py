"""How often each formulation is fooled: scheme × learner × initial leader × loss, over named and 1,000 random worlds.

python experiments/fooled.py [NUMBER OF RANDOM WORLDS] [OF THE CONTEXTUALIZED FOLLOWER]

`other_leaders.py` writes the table.
"""

import itertools
import sys
from typing import Any

from common import FIGURES, GROUPS, Clock, clean, fooled, fraction, random_worlds, repeated, save, stacked
from common import finals as final_metrics
from matplotlib.figure import Figure

import sbmrl
from sbmrl.games.model_based import formulations
from sbmrl.games.tabular.options import PlanOptions
from sbmrl.games.tabular.payoffs import LOSSES
from sbmrl.games.tabular.programme import FORMULATIONS
from sbmrl.learners.evolution import EvolutionOptions
from sbmrl.learners.gradient import GradientOptions

NUM_RANDOM, NUM_CONTEXTUAL, SEEDS = 1000, 200, 64
INITIALS = ("uniform", "random", "truth")
# loss -> colour, marker, offset; blue for excess losses, orange for raw ones
STYLES = {
    "kl": ("#0072b2", "o", -0.24),
    "excess_brier": ("#0072b2", "D", -0.08),
    "cross_entropy": ("#d55e00", "o", 0.08),
    "brier": ("#d55e00", "D", 0.24),
}
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
    """(scheme, learner, initial, loss): the exact response from every start, all else from random models."""
    exact = itertools.product(("exact",), ("gradient",), INITIALS, STYLES)
    others = itertools.product(("implicit", "inner_outer"), ("gradient",), ("random",), STYLES)
    return [*exact, *others, *itertools.product(("exact",), ("evolution",), ("random",), STYLES)]


def on_random_worlds(clock: Clock, num_random: int, num_contextual: int) -> list[dict[str, Any]]:
    """One run in each of the random worlds, for every formulation and cell."""
    rows = []
    jobs = [(cell, num_random) for cell in cells()]
    jobs += [(("contextual", "gradient", "uniform", loss), num_contextual) for loss in STYLES]
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


def draw(rows: list[dict[str, Any]], num_random: int, num_contextual: int) -> Figure:
    """A panel a formulation: the fooled share with its interval, by cell and loss; colours tell excess from raw."""
    figure = Figure(figsize=(11.0, 6.6), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    groups = list(dict.fromkeys((row["scheme"], row["learner"], row["initial"]) for row in rows))
    for axes, formulation in zip(panels, FORMULATIONS, strict=True):
        for row in rows:
            if row["formulation"] != formulation:
                continue
            place = groups.index((row["scheme"], row["learner"], row["initial"]))
            colour, marker, offset = STYLES[row["loss"]]
            share = row["fooled"]
            error = [[share["value"] - share["low"]], [share["high"] - share["value"]]]
            style: Any = {"color": colour, "fmt": marker, "ms": 5, "capsize": 2, "lw": 1}
            axes.errorbar(place + offset, share["value"], yerr=error, **style)
        axes.set_title(TITLES[formulation], fontsize=10)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xticks(range(len(groups)), [f"{s}\n{lear}\n{i}" for s, lear, i in groups], fontsize=7)
        axes.grid(axis="y", lw=0.4, alpha=0.5)
        clean(axes)
    for loss, (colour, marker, _) in STYLES.items():
        kind = "excess" if LOSSES[loss].excess else "raw"
        panels[0].plot([], [], marker, color=colour, ms=5, label=f"{loss.replace('_', '-')} ({kind})")
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=4
    )
    told = f"fooled, share of {num_random:,} random worlds (contextual: {num_contextual})"
    figure.supylabel(told, fontsize=9)
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
    clock, told = Clock(), [int(word) for word in sys.argv[1:]]
    num_random, num_contextual = (*told, *(NUM_RANDOM, NUM_CONTEXTUAL)[len(told) :])
    rows = on_random_worlds(clock, num_random, num_contextual)
    named = on_named_worlds(clock)
    (FIGURES / "fooled_named.md").write_text(to_markdown(named), encoding="utf-8")
    save("fooled", draw(rows, num_random, num_contextual), {"random": rows, "named": named})


if __name__ == "__main__":
    main()
