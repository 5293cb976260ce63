"""α-sweeps of both repairs, one compile each: agent reward in the world and in the model, random noise; all losses.

python experiments/alpha_sweep.py
"""

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
from common import Clock, clean, finals, fooled, random_worlds, repeated, save, stacked
from matplotlib.figure import Figure

import sbmrl
from sbmrl.games.tabular.options import PlanOptions
from sbmrl.learners.gradient import GradientOptions

ALPHAS = np.concatenate([[0.0], np.linspace(0.05, 0.95, 19), [0.99, 0.999, 1.0]])
SEEDS, NUM_RANDOM = 64, 256
LINES = {"kl": "-", "excess_brier": "-.", "cross_entropy": ":", "brier": "--"}  # loss -> line
REPAIRS = {
    "agent reward in the world": ("mal_agent_reward", "world", "#0072b2"),
    "agent reward in the model": ("mal_agent_reward", "model", "#d55e00"),
    "random noise": ("mal_random_noise", "", "#009e73"),
}


def sweep(formulation: str, agent_reward: str, loss: str, on_random: bool) -> list[dict[str, Any]]:
    """The share fooled at each α, leaders starting at random: all α and worlds in one compiled program."""
    experiment = sbmrl.preset("poster", formulation, "exact").replace(
        loss=loss, leader=GradientOptions(initial="random"), follower=PlanOptions(backup="soft")
    )
    if agent_reward:
        experiment = experiment.replace(agent_reward=agent_reward)
    worlds = random_worlds(NUM_RANDOM) if on_random else repeated(stacked(["simple_mdp_2"]), SEEDS)
    count = len(worlds.initial)
    metrics = finals(experiment, repeated(worlds, len(ALPHAS)), {"alpha": jnp.tile(jnp.asarray(ALPHAS), count)})
    by_alpha = {name: value.reshape(count, len(ALPHAS)) for name, value in metrics.items()}
    points = []
    for number, alpha in enumerate(ALPHAS):
        own = {name: value[:, number] for name, value in by_alpha.items()}
        regret = (own["regret"] / (own["optimal_return"] - own["uniform_return"]))[own["finite"]]
        points.append({"alpha": float(alpha), "fooled": fooled(own), "mean_relative_regret": float(regret.mean())})
    return points


def draw(curves: list[dict[str, Any]]) -> Figure:
    """Left the poster's world, right the random ones; a line style a loss; bands are intervals."""
    figure = Figure(figsize=(10.0, 4.1), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, place in zip(panels, ("simple_mdp_2", "random"), strict=True):
        for curve in curves:
            if curve["worlds"] != place:
                continue
            share = [point["fooled"] for point in curve["points"]]
            colour, line = REPAIRS[curve["repair"]][2], LINES[curve["loss"]]
            axes.plot(ALPHAS, [s["value"] for s in share], line, color=colour, lw=1.6)
            low, high = ([s[end] for s in share] for end in ("low", "high"))
            axes.fill_between(ALPHAS, low, high, color=colour, alpha=0.12, lw=0)
        axes.set_xlabel("α (1 is MAL)")
        axes.set_ylim(-0.02, 1.02)
        axes.grid(axis="y", lw=0.4, alpha=0.5)
        clean(axes)
    panels[0].set_title(f"simple_mdp_2, {SEEDS} random initial models", fontsize=10)
    panels[1].set_title(f"{NUM_RANDOM} random worlds with 4 states and 2 actions", fontsize=10)
    panels[0].set_ylabel("share fooled")
    for name, (_, _, colour) in REPAIRS.items():
        panels[0].plot([], [], color=colour, label=name)
    for loss, line in LINES.items():
        panels[0].plot([], [], line, color="#444444", label=loss.replace("_", "-"))
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=5
    )
    return figure


def main() -> None:
    """Run the sweeps, keep the numbers and draw."""
    clock, curves = Clock(), []
    for (repair, (formulation, where, _)), loss, on_random in itertools.product(REPAIRS.items(), LINES, (False, True)):
        points = sweep(formulation, where, loss, on_random)
        worlds = "random" if on_random else "simple_mdp_2"
        curves.append({"repair": repair, "loss": loss, "worlds": worlds, "points": points})
        clock.tick(f"{repair}, {loss}, {worlds}")
    save("alpha_sweep", draw(curves), curves)


if __name__ == "__main__":
    main()
