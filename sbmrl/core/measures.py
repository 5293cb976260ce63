"""What is measured of every game: regret of the leader and of the follower, and whether all of it is finite."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Role
from sbmrl.core.game import Metrics, Outcome, Profile, Strategy

FOOLED_FRACTION = 0.05  # fooled: regret above this part of (optimal − uniform policy)
OPTIMAL_FRACTION = 0.0125  # optimal: regret at most this part; 36.02 or better on simple_mdp_2


def verdict(exact_return: jax.Array, optimal: jax.Array, uniform: jax.Array) -> Metrics:
    """Regret against the optimum, and whether the run was fooled or optimal, on the scale of (optimal − uniform)."""
    regret = optimal - exact_return
    return {
        "optimal_return": optimal,
        "uniform_return": uniform,
        "regret": regret,
        "fooled": regret > FOOLED_FRACTION * (optimal - uniform),
        "optimal": regret <= OPTIMAL_FRACTION * (optimal - uniform),
    }


def mean_regret(
    key: jax.Array,
    role: Role,
    prior: Callable[[jax.Array], Strategy],
    heard: Callable[[jax.Array, Strategy], Strategy],
    outcome: Outcome,
    regret: Callable[[Profile], jax.Array],
    num_leaders: int,
) -> jax.Array:
    """`[]`: the follower's mean regret over leaders drawn as in its pretraining.

    Args:
        key: of the leaders and of what is heard of them.
        role: the leader's.
        prior: (key) -> a random leader.
        heard: (key, strategy) -> the leader as its answers tell it.
        outcome: of what is heard.
        regret: (profile) -> `[]` the follower's regret at the leader as it is.
        num_leaders: how many are drawn.
    """

    def one(key: jax.Array) -> jax.Array:
        key_leader, key_heard = jax.random.split(key)
        leader = prior(key_leader)
        return regret({**outcome(heard(key_heard, leader)), role: leader})

    return jnp.mean(jax.vmap(one)(jax.random.split(key, num_leaders)))


def all_finite(tree: Any) -> jax.Array:
    """`[]` bool: no NaN and no infinity in any floating array of `tree`."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
