"""What the statements on the repairs ask for in each named world: exact, by enumeration of its deterministic policies.

python experiments/named_bounds.py

C of random noise, over 65,536 random policies, the α that is best by the bound, and the excess cost e at
which that bound on the regret is 1; the largest α at which a leader that is paid in the world by a raw loss still wants
the best policy.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES

import sbmrl
from sbmrl.core.game import random_rows
from sbmrl.games.tabular.catalogue import WORLDS
from sbmrl.games.tabular.closed_forms import (
    expected_visits,
    finite_horizon_occupancy,
    finite_horizon_return,
    mean_occupancy,
)
from sbmrl.games.tabular.mdp import TabularMDP
from sbmrl.games.tabular.payoffs import LOSSES
from sbmrl.games.tabular.theory import bounds

NUM_RANDOM = 65_536
RAW = ("cross_entropy", "brier")


def policies(mdp: TabularMDP) -> jax.Array:
    """`[A^S, S, A]` all deterministic stationary policies; in a terminal state the action is the first."""
    choices = [(0,) if over else range(mdp.num_actions) for over in mdp.terminal]
    return jax.nn.one_hot(np.array(list(itertools.product(*choices))), mdp.num_actions)


def largest_alpha(returns: np.ndarray, costs: np.ndarray) -> float:
    """The largest α at which the policy of the best return also has the largest (1 − α)·J − α·V."""
    best = returns.argmax()
    cheaper = costs < costs[best] - 1e-9
    if not cheaper.any():
        return 1.0
    least = ((returns[best] - returns) / np.where(cheaper, costs[best] - costs, 1.0))[cheaper].min()
    return float(least / (1.0 + least))


def row(name: str) -> str:
    """A world's line."""
    mdp = sbmrl.make_world(name)
    every = policies(mdp)
    returns = np.asarray(jax.vmap(lambda policy: finite_horizon_return(mdp, policy))(every), float)
    best = every[returns.argmax()]
    own = jnp.where(~np.array(mdp.terminal)[:, None], expected_visits(mdp, best) / mdp.horizon, 0.0)
    drawn = random_rows(jax.random.key(0), (NUM_RANDOM, mdp.num_states, mdp.num_actions))
    cover = float(bounds.concentrability(own, mean_occupancy(mdp, drawn)))
    gap = float(bounds.simulation_gap(1.0, bounds.half_span(mdp.reward), mdp.horizon))
    needed = (gap * (1.0 + math.sqrt(cover))) ** -2
    alphas = []
    for loss in RAW:
        at_truth = LOSSES[loss].expected(mdp.transition, mdp.transition)
        costs = jax.vmap(lambda policy, v=at_truth: jnp.sum(finite_horizon_occupancy(mdp, policy) * v))(every)
        alphas.append(largest_alpha(returns, np.asarray(costs, float)))
    told = [f"{alpha:.4f}" if alpha < 1.0 else "any" for alpha in alphas]
    return f"| `{name}` | {cover:.1f} | {float(bounds.best_share(cover)):.2f} | {needed:.1e} | {' | '.join(told)} |"


def main() -> None:
    """Write the table."""
    lines = ["| world | C | best α | e for a regret of 1 | α, cross-entropy | α, Brier |", "|---" * 6 + "|"]
    table = "\n".join([*lines, *map(row, WORLDS)]) + "\n"
    print(table)
    (FIGURES / "named_bounds.md").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
