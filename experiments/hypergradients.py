"""Hypergradients from real samples: how well each learner's step points, and where it leads.

python experiments/hypergradients.py

A model leads and is paid in the world alone (agent reward, α = 0); its policy is the soft optimum in the model. Steps
by sampled hypergradients, by zeroth order (evolution strategies, whose candidates play their episodes by the same
random numbers) and by PPO are held against the exact hypergradient. Real steps are counted, and queries are none.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import Clock, clean, save
from matplotlib.figure import Figure

import sbmrl
from sbmrl.core.stackelberg import GameState
from sbmrl.core.tasks import leader_task
from sbmrl.experiment.program import make_train
from sbmrl.experiment.solver import make_solver
from sbmrl.games.tabular.options import SoftOptions
from sbmrl.sweep.execute import seed_keys

WORLDS = ("random_4_2_1", "simple_mdp_2_endless")  # endless: every episode has all its steps
FOLLOWER = SoftOptions(discount=0.9, temperature=0.3)
EPISODES = (2, 10, 50, 200, 1000)
NUM_MODELS, NUM_KEYS = 10, 2  # random models in each world, and steps from each of them
NUM_SEEDS, NUM_EPISODES, NUM_UPDATES, NUM_RECORDS = 16, 20, 200, 20  # of the learning curves


PPO = {"learning_rate": 0.03, "num_epochs": 10}  # of its table; at the preset's 0.002 it gets nowhere


class Method(NamedTuple):
    """A line of the figure: its learner, and (episodes) -> what is set of it for a step that plays so many."""

    learner: str
    colour: str
    options: Any


METHODS = {
    "sampled hypergradient": Method("hyper_policy_gradient", "#0072b2", lambda count: {"num_episodes": count}),
    "zeroth order, one direction": Method(
        "evolution",
        "#e69f00",
        lambda count: {"population_size": 2, "num_episodes": count // 2, "standard_deviation": 0.1},
    ),
    "zeroth order, a direction for two episodes": Method(
        "evolution", "#d55e00", lambda count: {"population_size": count, "num_episodes": 1, "standard_deviation": 0.1}
    ),
    "PPO": Method("ppo", "#009e73", lambda count: {"num_environments": count, "parametrization": "table", **PPO}),
}


def experiment(method: Method, world: str, count: int) -> sbmrl.Experiment:
    """The game with a learner whose step plays `count` episodes."""
    cell = sbmrl.preset("fast", "mal_agent_reward", "implicit", method.learner, world)
    options = method.options(count)
    if method.learner == "ppo":
        made = sbmrl.make_world(world)
        length = len(made.decision_states) * made.num_actions + made.horizon
        options |= {"num_steps": length, "minibatch_size": length * count, "total_steps": NUM_UPDATES * count * length}
    else:
        options |= {"num_updates": NUM_UPDATES}
    own = {f"leader__{name}": value for name, value in options.items()}
    cell = cell.replace(alpha=0.0, follower=FOLLOWER, response="sampled", num_records=NUM_RECORDS, **own)
    return cell.replace(num_eval_episodes=1, num_random_leaders=1)


def start_at(state: Any, logits: jax.Array) -> Any:
    """A learner's state with a table of `logits`."""

    def moved(leaf: jax.Array) -> jax.Array:
        same = leaf.shape in (logits.shape, (logits.size,))
        return logits.reshape(leaf.shape) if same else leaf

    if hasattr(state, "strategy_state"):
        mean = state.strategy_state.replace(mean=logits.ravel())
        return state._replace(params=jax.tree.map(moved, state.params), strategy_state=mean)
    return state._replace(params=jax.tree.map(moved, state.params))


def table_of(params: Any, shape: tuple[int, ...]) -> jax.Array:
    """The one array among a leader's parameters that is its table."""
    (table,) = [leaf for leaf in jax.tree.leaves(params) if leaf.shape == shape]
    return table


def cosines(method: Method, world: str, count: int) -> np.ndarray:
    """`[M · R]`: cosine of a plain step by one estimate with the exact hypergradient, at random models."""
    cell = experiment(method, world, count)
    cell = cell.replace(leader__num_epochs=1) if method.learner == "ppo" else cell.replace(leader__optimizer="sgd")
    solver = make_solver(cell, sbmrl.make_world(world))
    learner, outcome = solver.leader.learner, solver.algorithm.outcome(GameState(None, (), {}))
    task = leader_task(solver.game, solver.formulation, cell.game, None)
    rows = solver.game.starts["model"]["uniform"](jax.random.key(0))

    def of_model(logits: jax.Array, key: jax.Array) -> jax.Array:
        exact = jax.grad(lambda x: task.payoff(outcome(task.seat.table(x))))(logits)
        state = start_at(learner.init(key, outcome), logits)
        after, _ = learner.update(key, state, outcome)
        step = table_of(learner.params(after), rows.shape) - logits
        size = jnp.linalg.norm(step)
        return jnp.where(size > 0, jnp.sum(step * exact) / jnp.linalg.norm(exact) / jnp.where(size > 0, size, 1.0), 0.0)

    keys = jax.random.split(jax.random.key(1), (NUM_MODELS, NUM_KEYS))
    models = jax.vmap(lambda key: jax.random.normal(key, rows.shape))(jax.random.split(jax.random.key(0), NUM_MODELS))
    pairs = jnp.repeat(models, NUM_KEYS, axis=0), keys.ravel()
    return np.asarray(jax.jit(lambda pairs: jax.lax.map(lambda pair: of_model(*pair), pairs))(pairs))


def returns(method: Method, world: str) -> np.ndarray:
    """`[records, seeds]`: exact return of the follower as it plays, after equal numbers of real steps."""
    train = make_train(experiment(method, world, NUM_EPISODES))
    curve = jax.jit(jax.vmap(lambda key: train(key).curves["play"]["exact_return_stochastic"]))
    return np.asarray(curve(seed_keys(0, NUM_SEEDS))).T


def draw(rows: list[dict[str, Any]]) -> Figure:
    """A row of panels a world: cosine of a step with the exact one, and returns, both against real steps."""
    figure = Figure(figsize=(10.5, 6.4), layout="constrained")
    panels = figure.subplots(len(WORLDS), 2)
    for row in rows:
        name, colour = row["method"], METHODS[row["method"]].colour
        left, right = panels[WORLDS.index(row["world"])]
        left.plot(row["steps"], row["cosine"], "o-", ms=3, color=colour, label=name)
        if row["return"]:
            steps = np.arange(1, NUM_RECORDS + 1) * NUM_UPDATES // NUM_RECORDS * row["steps_per_update"] / 1000
            low, middle, high = row["return"]
            right.plot(steps, middle, color=colour, lw=1.6)
            right.fill_between(steps, low, high, color=colour, alpha=0.15, lw=0)
    for world, (left, right) in zip(WORLDS, panels, strict=True):
        best = next(row["best"] for row in rows if row["world"] == world)
        right.axhline(best, color="#222222", lw=0.8, ls="--")
        left.set(title=world, xscale="log", ylim=(-0.1, 1.05), ylabel="cosine of a step with the exact one")
        right.set(title=world, ylabel="return of the follower in the world")
        left.set_xlabel("real steps of one step of the leader")
        right.set_xlabel("real steps of the whole run, thousands")
        for axes in (left, right):
            axes.title.set_fontsize(10)
            axes.grid(lw=0.4, alpha=0.5)
            clean(axes)
    handles, labels = panels[0][0].get_legend_handles_labels()
    place: Any = {"loc": "outside upper center"}
    figure.legend(handles, labels, frameon=False, fontsize=9, ncols=4, **place)
    return figure


def best_return(world: str) -> float:
    """What the exact gradient reaches from the same start, the best of the seeds."""
    cell = sbmrl.preset("fast", "mal_agent_reward", "implicit", "gradient", world)
    cell = cell.replace(alpha=0.0, follower=FOLLOWER, leader__num_updates=1000, num_records=1)
    train = make_train(cell.replace(num_eval_episodes=1, num_random_leaders=1))
    ends = jax.jit(jax.vmap(lambda key: train(key).final.metrics["exact_return_stochastic"]))(seed_keys(0, NUM_SEEDS))
    return float(ends.max())


def main() -> None:
    """Run everything, keep the numbers and draw."""
    clock, rows = Clock(), []
    for world in WORLDS:
        best, horizon = best_return(world), sbmrl.make_world(world).horizon
        for name, method in METHODS.items():
            found = [cosines(method, world, count) for count in EPISODES]
            curve = returns(method, world)
            rows.append(
                {
                    "world": world,
                    "method": name,
                    "steps": [count * horizon for count in EPISODES],
                    "cosine": [float(np.mean(one)) for one in found],
                    "steps_per_update": NUM_EPISODES * horizon,
                    "return": [np.quantile(curve, q, axis=1).tolist() for q in (0.25, 0.5, 0.75)],
                    "best": best,
                }
            )
            clock.tick(f"{world} {name}: cosine {rows[-1]['cosine']}, median return {rows[-1]['return'][1][-1]:.2f}")
    save("hypergradients", draw(rows), rows)


if __name__ == "__main__":
    main()
