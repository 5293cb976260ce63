"""Agent reward in the model, the printed repair: which learner makes it work by the leader's payoff, without the truth.

python experiments/repairs.py [NUMBER OF RANDOM WORLDS]
"""

import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import Clock, clean, fraction, random_worlds, repeated, save
from matplotlib.figure import Figure

import sbmrl
from sbmrl.core.devices import make_mesh, map_over_devices
from sbmrl.core.game import greedy
from sbmrl.experiment.program import finish_key, make_program
from sbmrl.games.tabular.closed_forms import finite_horizon_occupancy, finite_horizon_return, optimal_action_values
from sbmrl.games.tabular.mdp import TabularMDP
from sbmrl.games.tabular.options import PlanOptions
from sbmrl.games.tabular.payoffs import LOSSES as LOSS_TABLE
from sbmrl.learners.evolution import EvolutionOptions
from sbmrl.learners.gradient import GradientOptions
from sbmrl.sweep.execute import seed_keys

NUM_RANDOM, RECORDS = 1000, 25
STARTS = (1, 4, 16)  # the best of so many by the leader's own payoff
LOSSES = ("kl", "excess_brier", "cross_entropy")  # the truth known; two next states; one
LAST = 0.999


def held(alpha: float) -> np.ndarray:
    """One α in every record."""
    return np.full(RECORDS, alpha)


def annealed(start: float) -> np.ndarray:
    """`[RECORDS]`: 1 − α falls geometrically from 1 − `start` to 1 − LAST by half of the run, and stays."""
    half = RECORDS // 2
    return np.concatenate([1.0 - np.geomspace(1.0 - start, 1.0 - LAST, half), held(LAST)[half:]])


class Arm(NamedTuple):
    """A way to learn: the leader's options, α `[RECORDS]` in each record, and of how many starts the best is taken."""

    leader: Any
    alphas: np.ndarray
    starts: tuple[int, ...] = STARTS


LOCAL = GradientOptions(initial="random", num_updates=1000)
WIDE = EvolutionOptions(
    initial="random", num_updates=300, population_size=32, standard_deviation=2.0, learning_rate=0.3
)
FEW = STARTS[:2]  # evolution is dear
ARMS = {
    "gradient, α = .5": Arm(LOCAL, held(0.5)),
    "gradient, α = .999": Arm(LOCAL, held(LAST)),
    "gradient, α from .5 to .999": Arm(LOCAL, annealed(0.5)),
    "gradient, α from .9 to .999": Arm(LOCAL, annealed(0.9)),
    "wide evolution, α = .999": Arm(WIDE, held(LAST), FEW),
    "wide evolution, α from .9 to .999": Arm(WIDE, annealed(0.9), FEW),
}


def experiment(arm: Arm, loss: str) -> sbmrl.Experiment:
    """The printed variant with the exact response, soft where the leader looks through it."""
    by_gradient = isinstance(arm.leader, GradientOptions)
    cell = sbmrl.preset("poster", "mal_agent_reward", "exact", "gradient" if by_gradient else "evolution")
    cell = cell.replace(agent_reward="model", loss=loss, leader=arm.leader, num_records=RECORDS)
    cell = cell.replace(follower=PlanOptions(backup="soft" if by_gradient else "hard"))
    return cell.replace(num_random_leaders=1, num_eval_episodes=1)


def finals(arm: Arm, loss: str, worlds: TabularMDP) -> dict[str, np.ndarray]:
    """The final metrics `[N · starts]` of each start in each of N stacked worlds, with α as the arm says."""
    worlds = repeated(worlds, max(arm.starts))
    cell, count = experiment(arm, loss), len(worlds.initial)
    mesh = make_mesh(jax.local_devices())
    padded = -(-count // mesh.size) * mesh.size
    worlds = jax.tree.map(lambda x: jnp.concatenate([x, x[: padded - count]]), worlds)

    def train(key: jax.Array, mdp: TabularMDP, alphas: jax.Array) -> dict[str, jax.Array]:
        program = make_program(cell, mdp)
        (stage,) = program.stages

        def record(state: Any, now: tuple[jax.Array, jax.Array]):
            number, alpha = now
            return stage.record(key, {"alpha": alpha}, state, number)[0], None

        last = {"alpha": alphas[-1]}
        schedule = jnp.arange(RECORDS), alphas
        state, _ = jax.lax.scan(record, program.init(key, last), schedule)
        return program.finish(finish_key(key), last, state).metrics

    # α is an argument, so that the compilation cache knows the program of an arm with another one
    found = map_over_devices(train, mesh, (True, True, False))(seed_keys(0, padded), worlds, arm.alphas.astype("f4"))
    return {name: np.asarray(value)[:count] for name, value in found.items()}


def payoff_at_truth(arm: Arm, loss: str, worlds: TabularMDP) -> np.ndarray:
    """`[N]`: (1 − α)·J* − α·ℓ(P, μ^π*), what the leader earns that plays the truth, answered by the optimal policy."""

    def one(mdp: TabularMDP) -> jax.Array:
        policy = greedy(optimal_action_values(mdp))
        cost = jnp.sum(
            finite_horizon_occupancy(mdp, policy) * LOSS_TABLE[loss].expected(mdp.transition, mdp.transition)
        )
        return (1.0 - arm.alphas[-1]) * finite_horizon_return(mdp, policy) - arm.alphas[-1] * cost

    return np.asarray(jax.jit(jax.vmap(one))(worlds))


def judge(arm: Arm, metrics: dict[str, np.ndarray], at_truth: np.ndarray) -> list[dict[str, Any]]:
    """For each number of starts: the share fooled, and how the leader's payoff compares with that at the truth.

    The payoff is that of the evaluated profile. A fooled leader that earns no less than the truth does was paid
    for it, one that earns less has not found the truth.
    """
    alpha = float(arm.alphas[-1])
    shaped = {name: value.reshape(len(at_truth), max(arm.starts)) for name, value in metrics.items()}
    payoff = alpha * shaped["fit"] + (1.0 - alpha) * shaped["model_return"]
    payoff = np.where(shaped["finite"], payoff, -np.inf)
    rows = []
    for starts in arm.starts:
        best = payoff[:, :starts].argmax(1)[:, None]
        own = {name: np.take_along_axis(value, best, 1)[:, 0] for name, value in shaped.items()}
        paid = np.take_along_axis(payoff, best, 1)[:, 0] >= at_truth - 1e-6
        rows.append(
            {
                "starts": starts,
                "fooled": fraction(own["fooled"], own["finite"]),
                "fooled_and_paid": fraction(own["fooled"] & paid, own["finite"]),
                "median_loss": float(-np.median(own["fit"][own["finite"]])),
            }
        )
    return rows


def draw(rows: list[dict[str, Any]], num_worlds: int) -> Figure:
    """A line for each arm, a panel for each loss: the share fooled of one start, and of the best of several."""
    figure = Figure(figsize=(10.0, 0.42 * len(ARMS) + 1.4), layout="constrained")
    panels = figure.subplots(1, len(LOSSES), sharey=True)
    colours = dict(zip(STARTS, ("#d55e00", "#e69f00", "#0072b2"), strict=True))
    for axes, loss in zip(panels, LOSSES, strict=True):
        places = {name: number for number, name in enumerate(ARMS)}
        shifts = dict(zip(STARTS, (-0.2, 0.0, 0.2), strict=True))
        for row in rows:
            if row["loss"] != loss:
                continue
            share, colour, place = row["fooled"], colours[row["starts"]], places[row["arm"]] + shifts[row["starts"]]
            axes.plot([share["low"], share["high"]], [place] * 2, color=colour, lw=1.6)
            axes.plot(share["value"], place, "o", color=colour, ms=4.5)
        axes.set_title(f"loss {loss.replace('_', '-')}", fontsize=10)
        axes.set_xlim(-0.02, 1.02)
        axes.set_yticks(range(len(ARMS)), list(ARMS))
        axes.grid(axis="x", lw=0.4, alpha=0.5)
        clean(axes)
    panels[0].invert_yaxis()
    for starts, colour in colours.items():
        label = "one start" if starts == 1 else f"the best of {starts} by the leader's payoff"
        panels[0].plot([], [], "o-", color=colour, ms=4.5, label=label)
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside upper center", ncols=3
    )
    figure.supxlabel(f"share fooled of {num_worlds:,} random worlds with 4 states and 2 actions", fontsize=9)
    return figure


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """Fooled, and of all worlds fooled at a payoff of at least that of the truth, by the number of starts."""
    heads = " | ".join(f"best of {starts}" if starts > 1 else "one start" for starts in STARTS)
    lines = [f"| loss | learner | {heads} |", "|---" * (2 + len(STARTS)) + "|"]
    for loss in LOSSES:
        for arm in ARMS:
            own = [row for row in rows if (row["arm"], row["loss"]) == (arm, loss)]
            shares = [f"{row['fooled']['value']:.1%} ({row['fooled_and_paid']['value']:.1%})" for row in own]
            shares += ["–"] * (len(STARTS) - len(own))
            lines.append(f"| {loss} | {arm} | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run everything, keep the numbers and draw."""
    clock, count = Clock(), int(sys.argv[1]) if len(sys.argv) > 1 else NUM_RANDOM
    worlds, rows = random_worlds(count), []
    for loss in LOSSES:
        for name, arm in ARMS.items():
            judged = judge(arm, finals(arm, loss, worlds), payoff_at_truth(arm, loss, worlds))
            rows += [{"arm": name, "loss": loss} | row for row in judged]
            clock.tick(f"{loss}, {name}: fooled " + ", ".join(f"{row['fooled']['value']:.1%}" for row in judged))
    table = to_markdown(rows)
    print(table)
    save("repairs", draw(rows, count), {"num_worlds": count, "rows": rows, "table": table})


if __name__ == "__main__":
    main()
