"""Both sides of both theorems for one world, policy and model in the discounted setting.

Everything is computed by dense linear solves and unbatched; batch with `jax.vmap`, and use float64: where a model is
right to the last bits, √ε_M is as large as the square root of the rounding error.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.games.tabular.closed_forms import (
    discounted_occupancy,
    discounted_optimum,
    discounted_return,
    expected_reward,
)
from sbmrl.games.tabular.mdp import TabularMDP, with_transition
from sbmrl.games.tabular.theory.bounds import kl_loss, theorem_1, theorem_2, total_variation


class Instance(NamedTuple):
    """A world M, a discount, a policy, and the models that answer it and the optimal policy π*.

    Attributes:
        world: M, without terminal states; its horizon is not used.
        discount: `[]` γ in [0, 1).
        policy: `[S, A]` π.
        model: `[S, A, S]` M̂(π).
        model_at_optimum: `[S, A, S]` M̂(π*).
    """

    world: TabularMDP
    discount: jax.Array
    policy: jax.Array
    model: jax.Array
    model_at_optimum: jax.Array


class Verdict(NamedTuple):
    """What the theorems say of an instance; `[]` each.

    Attributes:
        regret: J(π*, M) − J(π, M).
        theorem_1_world: right-hand side of theorem 1, distance between μ_M^{π*} and μ_M^π.
        theorem_1_model: the same, distance between μ_M^{π*} ⊗ P and μ_M̂^{π*} ⊗ P̂.
        theorem_2: right-hand side of theorem 2.
        theorem_2_printed: its right-hand side with the poster's constant, 4γ instead of 2√2.
        epsilon_1: ε_π of theorem 1, max_π' J(π', M̂) − J(π, M̂).
        epsilon_2: ε_π of theorem 2, J(π*, M̂(π*)) − J(π, M̂(π)), or 0.
    """

    regret: jax.Array
    theorem_1_world: jax.Array
    theorem_1_model: jax.Array
    theorem_2: jax.Array
    theorem_2_printed: jax.Array
    epsilon_1: jax.Array
    epsilon_2: jax.Array


# right-hand side -> the part of it that is the policy's own error
THEOREMS = {"theorem_1_world": "epsilon_1", "theorem_1_model": "epsilon_1", "theorem_2": "epsilon_2"}


def judge(instance: Instance) -> Verdict:
    """Both sides of both theorems."""
    world, discount, policy, model, model_at_optimum = instance
    reward_bound, horizon = jnp.max(jnp.abs(world.reward)), 1.0 / (1.0 - discount)
    imagined = with_transition(world, model)
    optimal = discounted_optimum(world, discount).policy
    occupancy, occupancy_optimal = (discounted_occupancy(world, p, discount) for p in (policy, optimal))
    regret = horizon * jnp.sum((occupancy_optimal - occupancy) * expected_reward(world))
    own_return = discounted_return(imagined, policy, discount)
    epsilon_policy = jnp.maximum(discounted_optimum(imagined, discount).value - own_return, 0.0)
    epsilon_model = kl_loss(occupancy, world.transition, model)
    flow = occupancy_optimal[..., None] * world.transition
    imagined_flow = discounted_occupancy(imagined, optimal, discount)[..., None] * model
    at_optimum = discounted_return(with_transition(world, model_at_optimum), optimal, discount)
    preferred = jnp.maximum(at_optimum - own_return, 0.0)
    worst_loss = jnp.maximum(epsilon_model, kl_loss(occupancy_optimal, world.transition, model_at_optimum))
    distance_world = total_variation(occupancy_optimal, occupancy)
    return Verdict(
        regret,
        theorem_1(epsilon_policy, epsilon_model, distance_world, reward_bound, horizon),
        theorem_1(epsilon_policy, epsilon_model, total_variation(flow, imagined_flow), reward_bound, horizon),
        theorem_2(preferred, worst_loss, reward_bound, horizon),
        preferred + 4.0 * discount * jnp.sqrt(worst_loss) * reward_bound * horizon**2,
        epsilon_policy,
        preferred,
    )
