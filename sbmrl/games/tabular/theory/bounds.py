"""The right-hand sides of the two theorems, with the constants derived in docs/theory.md.

Symbols: ε_M = ℓ_KL(M̂, μ_M^π) in nats, ε_π the policy's regret in its model, D_TV ∈ [0, 1] a total variation distance of
occupancies, R = max |R(s, a, s')|, H the horizon: 1/(1 − γ) for discounted returns, T for returns over T steps. All
occupancies are averaged over time, terminal states included.

Source: Rajeswaran et al. (2020), arXiv 2004.07804, theorem 1; the poster, theorem 2. Neither publishes the constants
used here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.game import greedy
from sbmrl.games.tabular.closed_forms import (
    expected_visits,
    finite_horizon_optimum,
    finite_horizon_return,
    optimal_action_values,
)
from sbmrl.games.tabular.mdp import TabularMDP, with_transition

Scalar = jax.typing.ArrayLike


def simulation_gap(epsilon_model: Scalar, reward_bound: Scalar, horizon: Scalar) -> jax.Array:
    """|J(π, M) − J(π, M̂)| ≤ √2 · R H² √ε_M: the simulation lemma with Pinsker's inequality."""
    return jnp.sqrt(2.0 * jnp.asarray(epsilon_model)) * reward_bound * jnp.asarray(horizon) ** 2


def theorem_1(
    epsilon_policy: Scalar, epsilon_model: Scalar, distance: Scalar, reward_bound: Scalar, horizon: Scalar
) -> jax.Array:
    """J(π*, M) − J(π, M) ≤ ε_π + √2 R H² √ε_M + 2 R H D_TV, in both readings of the distance."""
    return (
        jnp.asarray(epsilon_policy)
        + simulation_gap(epsilon_model, reward_bound, horizon)
        + 2.0 * reward_bound * horizon * jnp.asarray(distance)
    )


def theorem_2(epsilon_policy: Scalar, epsilon_model: Scalar, reward_bound: Scalar, horizon: Scalar) -> jax.Array:
    """J(π*, M) − J(π, M) ≤ ε_π + 2√2 R H² √ε_M, where M̂(π) and M̂(π*) both have a loss of at most ε_M."""
    return jnp.asarray(epsilon_policy) + 2.0 * simulation_gap(epsilon_model, reward_bound, horizon)


def total_variation(left: jax.Array, right: jax.Array) -> jax.Array:
    """`[]` ½ Σ |p − q| over all entries of two distributions."""
    return 0.5 * jnp.sum(jnp.abs(left - right))


def kl_loss(occupancy: jax.Array, transition: jax.Array, model: jax.Array) -> jax.Array:
    """`[]` ε_M = Σ μ KL(P ‖ P̂), `occupancy` `[S, A]`, as Σ P (x − log(1 + x)) with x = P̂ / P − 1, and P̂ where P = 0.

    Nothing cancels where the model is nearly right: √ε_M is what counts, and it would be that of the rounding error.
    """
    present = transition > 0
    safe = jnp.where(present, transition, 1.0)
    deviation = jnp.where(present, (model - safe) / safe, 0.0)
    deviation = jnp.maximum(deviation, -1.0 + jnp.finfo(model.dtype).eps)  # P̂ = 0 is a large loss, not an infinite one
    divergence = jnp.where(present, transition * (deviation - jnp.log1p(deviation)), model)
    return jnp.sum(occupancy * jnp.sum(divergence, axis=-1))


class Certificate(NamedTuple):
    """What is known of a profile (π, M̂) over T undiscounted steps; `[]` each.

    Attributes:
        epsilon_model: ε_M = ℓ_KL(M̂, μ_M^π).
        epsilon_policy: ε_π = max_π' J(π', M̂) − J(π, M̂).
        distance_world: D_TV(μ_M^{π*}, μ_M^π), the seed text's reading of theorem 1.
        distance_model: D_TV of μ_M^{π*} ⊗ P and μ_M̂^{π*} ⊗ P̂ over (s, a, s'), the poster's reading.
        theorem_1_world: right-hand side of theorem 1 in the first reading.
        theorem_1_model: right-hand side in the second.
        epsilon_model_2: ε_M of theorem 2, the larger loss of M̂(π) and M̂(π°).
        epsilon_policy_2: ε_π of theorem 2, J(π°, M̂(π°)) − J(π, M̂(π)), or 0.
        stationary_gap: what the stationary π° lacks to the optimum over all policies.
        theorem_2: right-hand side of theorem 2, stationary_gap added.
    """

    epsilon_model: jax.Array
    epsilon_policy: jax.Array
    distance_world: jax.Array
    distance_model: jax.Array
    theorem_1_world: jax.Array
    theorem_1_model: jax.Array
    epsilon_model_2: jax.Array
    epsilon_policy_2: jax.Array
    stationary_gap: jax.Array
    theorem_2: jax.Array


def certify(mdp: TabularMDP, policy: jax.Array, model: jax.Array, model_at_optimum: jax.Array) -> Certificate:
    """The certificate of a profile.

    Args:
        mdp: the world M.
        policy: `[(T,) S, A]` π.
        model: `[S, A, S]` M̂ = M̂(π).
        model_at_optimum: `[S, A, S]` M̂(π°), the model that would answer the stationary policy π° that is optimal at the
            first decision; M̂ itself where the model leads. Theorem 2 compares with π°, and what π° lacks to the
            optimum over all policies is added to its right-hand side.
    """
    reward_bound, horizon = jnp.max(jnp.abs(mdp.reward)), float(mdp.horizon)
    imagined, imagined_at_optimum = with_transition(mdp, model), with_transition(mdp, model_at_optimum)
    optimal = greedy(optimal_action_values(mdp))
    best = finite_horizon_optimum(mdp)

    def flow(world: TabularMDP, policy: jax.Array) -> jax.Array:
        return (expected_visits(world, policy) / horizon)[..., None] * world.transition

    def loss(world: TabularMDP, policy: jax.Array) -> jax.Array:
        return kl_loss(expected_visits(mdp, policy) / horizon, mdp.transition, world.transition)

    model_return = finite_horizon_return(imagined, policy)
    epsilon_model = loss(imagined, policy)
    epsilon_policy = jnp.maximum(finite_horizon_optimum(imagined).value - model_return, 0.0)
    distance_world = total_variation(flow(mdp, optimal), flow(mdp, policy))
    distance_model = total_variation(flow(mdp, optimal), flow(imagined, optimal))
    preferred = jnp.maximum(finite_horizon_return(imagined_at_optimum, best.policy) - model_return, 0.0)
    worst_loss = jnp.maximum(epsilon_model, loss(imagined_at_optimum, best.policy))
    stationary_gap = best.value - finite_horizon_return(mdp, best.policy)
    return Certificate(
        epsilon_model,
        epsilon_policy,
        distance_world,
        distance_model,
        theorem_1(epsilon_policy, epsilon_model, distance_world, reward_bound, horizon),
        theorem_1(epsilon_policy, epsilon_model, distance_model, reward_bound, horizon),
        worst_loss,
        preferred,
        stationary_gap,
        theorem_2(preferred, worst_loss, reward_bound, horizon) + stationary_gap,
    )
