"""Why the practical MAL of Rajeswaran et al. works: from their loop to the literal game, one argument at a time.

python experiments/practical.py
"""

from typing import Any

from common import Clock, clean, finals, fooled, random_worlds, repeated, save, stacked
from matplotlib.figure import Figure

import sbmrl
from sbmrl.games.tabular.options import TabularOptions
from sbmrl.learners.gradient import GradientOptions

SEEDS, NUM_RANDOM = 64, 256
RANDOM_START = GradientOptions(learning_rate=0.05, initial="random")
# What is changed in the practical preset; each line stands alone.
CHANGES: dict[str, dict[str, Any]] = {
    "the practical preset": {},
    "starts at a random model": {"leader": RANDOM_START},
    "… little wide data (10 transitions)": {"leader": RANDOM_START, "num_initial_transitions": 10},
    "… and keeps only the newest data": {
        "leader": RANDOM_START,
        "num_initial_transitions": 10,
        "buffer_size": 500,
    },
    "… own data only (literal, first-order)": {"leader": RANDOM_START, "data": "own"},
    "… own data, response unrolled (literal)": {"leader": RANDOM_START, "data": "own", "unroll": 20},
    "… one follower step (K = 1)": {"leader": RANDOM_START, "num_inner_steps": 1},
    "… Brier instead of KL": {"leader": RANDOM_START, "loss": "brier"},
}


def run(formulation: str, changes: dict[str, Any], on_random: bool) -> dict[str, Any]:
    """The share fooled in one variant."""
    experiment = sbmrl.preset("practical", formulation)
    if formulation == "pal":  # the leader is the policy there: the model that starts at random is the follower
        changes = {("follower" if name == "leader" else name): value for name, value in changes.items()}
        if "unroll" in changes:
            changes["unroll"] = experiment.scheme.num_inner_steps
    if changes.get("data") == "own":  # then nothing can be said of aggregated data
        fields = ("num_initial_transitions", "num_new_transitions", "buffer_size")
        changes |= {name: getattr(TabularOptions, name) for name in fields}
    worlds = random_worlds(NUM_RANDOM) if on_random else repeated(stacked(["simple_mdp_2"]), SEEDS)
    return fooled(finals(experiment.replace(**changes), worlds))


def draw(rows: list[dict[str, Any]]) -> Figure:
    """One line a variant: fooled share with its interval, in the poster's world and in random ones."""
    figure = Figure(figsize=(11.0, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, formulation in zip(panels, ("mal", "pal"), strict=True):
        for shift, worlds, colour in ((0.12, "simple_mdp_2", "#0072b2"), (-0.12, "random", "#e69f00")):
            own = [row for row in rows if (row["formulation"], row["worlds"]) == (formulation, worlds)]
            for place, row in enumerate(own):
                share = row["fooled"]
                error = [[share["value"] - share["low"]], [share["high"] - share["value"]]]
                axes.errorbar(share["value"], -place + shift, xerr=error, fmt="o", color=colour, ms=5, capsize=2, lw=1)
        axes.set_title(f"practical {formulation.upper()}", fontsize=10)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel("share fooled")
        axes.set_yticks([-place for place in range(len(CHANGES))], list(CHANGES), fontsize=8)
        axes.grid(axis="x", lw=0.4, alpha=0.5)
        clean(axes)
    panels[1].plot([], [], "o", color="#0072b2", label=f"simple_mdp_2, {SEEDS} seeds")
    panels[1].plot([], [], "o", color="#e69f00", label=f"{NUM_RANDOM} random worlds")
    panels[1].legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    """Run every variant, keep the numbers and draw."""
    clock, rows = Clock(), []
    for formulation in ("mal", "pal"):
        for name, changes in CHANGES.items():
            for worlds in ("simple_mdp_2", "random"):
                share = run(formulation, dict(changes), worlds == "random")
                rows.append({"formulation": formulation, "variant": name, "worlds": worlds, "fooled": share})
                clock.tick(f"{formulation}, {name}, {worlds}: {share['value']:.1%}")
    save("practical", draw(rows), rows)


if __name__ == "__main__":
    main()
