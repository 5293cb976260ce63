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
from sbmrl.games.tabular.catalogue import HORIZON
from sbmrl.games.tabular.options import PlanOptions
from sbmrl.learners.gradient import GradientOptions

# Up to 1 − 10⁻⁴: the return is a sum over T = 50 steps and the loss a mean; α = 0.98 weighs a step of both alike.
SHARES = np.concatenate([np.linspace(1.0, 0.1, 10), np.geomspace(0.1, 1e-4, 13)[1:]])  # 1 − α
ALPHAS = np.concatenate([1.0 - SHARES, [1.0]])
MAL_AT = 3e-5  # where α = 1 stands on the logarithmic axis
SEEDS, NUM_RANDOM = 64, 256
LINES = {"kl": "-", "excess_brier": "-.", "cross_entropy": ":", "brier": "--"}  # loss -> line
MARKERS = {"kl": "o", "excess_brier": "D", "cross_entropy": "^", "brier": "s"}  # loss -> where α = 1
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
            value, low, high = ([s[part] for s in share] for part in ("value", "low", "high"))
            axes.plot(SHARES, value[:-1], line, color=colour, lw=1.6)
            axes.fill_between(SHARES, low[:-1], high[:-1], color=colour, alpha=0.12, lw=0)
            axes.plot(MAL_AT, value[-1], MARKERS[curve["loss"]], ms=4, color=colour)
        axes.axvline(1.0 / (1.0 + HORIZON), color="#222222", lw=0.8, ls=":")
        axes.set_xscale("log")
        axes.set_xlim(1.3, 0.7 * MAL_AT)
        axes.set_xticks([1.0, 0.1, 0.01, 1e-3, 1e-4, MAL_AT], ["1", "0.1", "0.01", "10⁻³", "10⁻⁴", "0: MAL"])
        axes.set_xlabel("1 − α, weight of the repair (dotted: 1/(1 + T))")
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
