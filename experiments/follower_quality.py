"""How good the follower is against how often MAL is fooled: pretraining budgets of the contextualized follower.

python experiments/follower_quality.py
"""

from typing import Any

import numpy as np
from common import Clock, clean, finals, fooled, repeated, save, stacked
from matplotlib.figure import Figure

import sbmrl
from sbmrl.learners.gradient import GradientOptions

SEEDS = 64
BUDGETS = (2_048, 10_240, 30_720, 81_920, 250_000)


def run(budget: int, initial: str) -> dict[str, Any]:
    """MAL with a gradient leader and a follower pretrained for `budget` steps; and one that best-responds."""
    experiment = sbmrl.preset("poster", "mal", "contextual", "gradient").replace(
        follower__total_steps=budget,
        leader=GradientOptions(initial="random" if initial == "random" else "uniform"),
        loss="brier",
    )
    metrics = finals(experiment, repeated(stacked(["simple_mdp_2"]), SEEDS))
    gap = metrics["follower_gap_true"]
    return {
        "budget": budget,
        "initial": initial,
        "fooled": fooled(metrics),
        "follower_gap_true": np.quantile(gap, [0.25, 0.5, 0.75]).tolist(),
        "best_responds_at_the_truth": float((gap <= 0.5).mean()),
        "follower_gap_at_the_leader": float(np.median(metrics["follower_gap"])),
    }


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Left the follower's share of best responses at the truth, right the share of fooled leaders."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    quality, outcome = figure.subplots(1, 2)
    own = [row for row in rows if row["initial"] == "uniform"]
    quality.plot(BUDGETS, [row["best_responds_at_the_truth"] for row in own], "o-", color="#0072b2")
    quality.set_ylabel("follower within 0.5 of optimal at the truth")
    for initial, colour in (("uniform", "#0072b2"), ("random", "#e69f00")):
        own = [row for row in rows if row["initial"] == initial]
        value, low, high = ([row["fooled"][name] for row in own] for name in ("value", "low", "high"))
        outcome.plot(BUDGETS, value, "o-", color=colour, label=f"leader starts {initial}")
        outcome.fill_between(BUDGETS, low, high, color=colour, alpha=0.15, lw=0)
    outcome.set_ylabel("MAL fooled, share of seeds")
    outcome.legend(frameon=False, fontsize=8)
    for axes in (quality, outcome):
        axes.set_xscale("log")
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("pretraining steps of the follower")
        axes.grid(lw=0.4, alpha=0.5)
        clean(axes)
    return figure


def main() -> None:
    """Run every budget, keep the numbers and draw."""
    clock, rows = Clock(), []
    for initial in ("uniform", "random"):
        for budget in BUDGETS:
            rows.append(run(budget, initial))
            share, best = rows[-1]["fooled"]["value"], rows[-1]["best_responds_at_the_truth"]
            clock.tick(f"{budget} steps, {initial}: best-responds {best:.0%}, fooled {share:.0%}")
    save("follower_quality", draw(rows), rows)


if __name__ == "__main__":
    main()
