"""The two counterexamples as families: MAL's regret grows without bound, PAL's stays 0; what mixing changes.

python experiments/counterexamples.py
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from common import FIGURES, Clock, clean, save
from matplotlib.figure import Figure

from sbmrl.games.tabular.catalogue import WORLDS, counterexample_1, counterexample_2, trembling
from sbmrl.games.tabular.closed_forms import finite_horizon_optimum, finite_horizon_return
from sbmrl.games.tabular.mdp import make_mdp, make_world
from sbmrl.games.tabular.theory.certificates import certify
from sbmrl.games.tabular.theory.equilibria import enumerate_equilibria

DISCOUNT = 0.98  # 1/(1 − γ) is the poster's T
RICH = np.geomspace(1.0, 1000.0, 13)
MIXING = np.linspace(0.0, 1.0, 21)


def equilibria(world: Any) -> dict[str, float]:
    """Returns of MAL's worst equilibria and of PAL's; PAL's regret over T steps and what theorem 2 allows it."""
    mdp = make_mdp(world)
    found = enumerate_equilibria(mdp, DISCOUNT)
    policy = jnp.asarray(found.pal[0], jnp.float32)
    certificate = certify(mdp, policy, mdp.transition, mdp.transition)  # PAL's model is right where its leader goes
    regret = finite_horizon_optimum(mdp).value - finite_horizon_return(mdp, policy)
    return {
        "pal_regret": float(regret),
        "pal_theorem_2": float(certificate.theorem_2),
        "optimistic_worst": float(found.optimistic_returns.min()),
        "pessimistic_worst": float(found.pessimistic_returns.min()),
        "pal": found.pal_return,
        "num_optimistic": len(found.optimistic_returns),
        "num_pessimistic": len(found.pessimistic_returns),
    }


def regrets(points: list[dict[str, float]], which: str = "pessimistic_worst") -> list[float]:
    """PAL's return minus that of MAL's worst equilibrium."""
    return [point["pal"] - point[which] for point in points]


def cheapest_fooling_loss(rich: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """`[…]` nats: the least ℓ of a model of counterexample_1 that still makes a1 a best response.

    With random noise, (s0, a0) is visited with probability ½·(1 − α), by the random policies. The model must say that
    a0 pays at most 1: P̂(s2 | s0, a0) = 1/R, which costs log R there: ℓ = ½ (1 − α) log R, and the truth costs 0.
    """
    return 0.5 * noise * np.log(rich)


def draw(families: dict[str, list[dict[str, float]]], mixed: list[dict[str, float]]) -> Figure:
    """Regret against the hidden reward; regret against trembling; what fooling costs against noise in the data."""
    figure = Figure(figsize=(12.5, 3.6), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    for (name, points), colour in zip(families.items(), ("#0072b2", "#d55e00"), strict=True):
        first.plot(RICH, regrets(points), "o-", ms=4, color=colour, label=f"MAL, {name}")
    for (name, points), line in zip(families.items(), ("-", "--"), strict=True):
        first.plot(
            RICH, [p["pal_theorem_2"] for p in points], line, color="#009e73", lw=2, label=f"PAL's bound, {name}"
        )
    first.set_xscale("log")
    first.set_yscale("symlog", linthresh=1.0)
    first.set_ylim(-0.3, 2e5)
    first.set_yticks([0, 1, 10, 100, 1000, 10_000, 100_000])
    first.set_xlabel("what the hidden step pays, R")
    first.set_ylabel("regret of the worst equilibrium")
    first.legend(frameon=False, fontsize=8)
    relative = [regret / point["pal"] for regret, point in zip(regrets(mixed), mixed, strict=True)]
    second.plot(MIXING, relative, "o-", ms=4, color="#d55e00")
    second.set_xlabel("probability that a random action is done instead")
    second.set_ylabel("regret / optimum, worst equilibrium")
    second.set_title("counterexample 2, trembling hand", fontsize=10)
    noise = np.linspace(0.0, 1.0, 50)
    for rich, colour in ((2.0, "#56b4e9"), (10.0, "#0072b2"), (100.0, "#222222")):
        third.plot(noise, cheapest_fooling_loss(np.array(rich), noise), color=colour, label=f"R = {rich:g}")
    third.set_xlabel("share of random policies in the data, 1 − α")
    third.set_ylabel("least loss of a fooling model, nats")
    third.set_title("counterexample 1, random noise; the truth costs 0", fontsize=10)
    third.legend(frameon=False, fontsize=8)
    for axes in (first, second, third):
        axes.grid(lw=0.4, alpha=0.5)
        clean(axes)
    return figure


def named_worlds() -> str:
    """Every named world's equilibria as Markdown."""
    lines = [
        "| world | MAL optimistic: policies, worst … best | MAL pessimistic: sets of actions, worst … best | PAL |",
        "|---|---|---|---|",
    ]
    for name in WORLDS:
        found = enumerate_equilibria(make_world(name), DISCOUNT)
        ranges = [
            f"{len(returns)}: {returns.min():.2f} … {returns.max():.2f}"
            for returns in (found.optimistic_returns, found.pessimistic_returns)
        ]
        lines.append(f"| `{name}` | {ranges[0]} | {ranges[1]} | {found.pal_return:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Enumerate, keep the numbers and draw."""
    clock = Clock()
    families = {
        "counterexample 1": [equilibria(counterexample_1(rich)) for rich in RICH],
        "counterexample 2": [equilibria(counterexample_2(rich)) for rich in RICH],
    }
    mixed = [equilibria(trembling(counterexample_2(), mixing)) for mixing in MIXING]
    (FIGURES / "equilibria.md").write_text(named_worlds(), encoding="utf-8")
    clock.tick("enumerated")
    numbers = {"rich": RICH.tolist(), "families": families, "mixing": MIXING.tolist(), "trembling": mixed}
    save("counterexamples", draw(families, mixed), numbers)


if __name__ == "__main__":
    main()
