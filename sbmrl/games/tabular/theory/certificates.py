"""What the statements say of a run's own policy and model, over T undiscounted steps."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.core.formulation import Weights
from sbmrl.core.game import Metrics, greedy
from sbmrl.games.tabular.closed_forms import (
    excess_brier_score,
    expected_visits,
    finite_horizon_occupancy,
    finite_horizon_optimum,
    finite_horizon_return,
    optimal_action_values,
)
from sbmrl.games.tabular.mdp import TabularMDP, with_transition
from sbmrl.games.tabular.payoffs import Measurement
from sbmrl.games.tabular.theory import bounds


class Certificate(NamedTuple):
    """Theorems 1 and 2 at a profile (π, M̂) over T undiscounted steps; `[]` each.

    Attributes:
        epsilon_model: ε_M = ℓ_KL(M̂, μ_M^π).
        simulation_gap: what bounds |J(π, M) − J(π, M̂)|, √2·R·H^{3/2}·√ε_M.
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
    simulation_gap: jax.Array
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
    """Theorems 1 and 2 at a profile.

    Args:
        mdp: the world M.
        policy: `[(T,) S, A]` π.
        model: `[S, A, S]` M̂ = M̂(π).
        model_at_optimum: `[S, A, S]` M̂(π°), the model that would answer the stationary policy π° that is optimal at the
            first decision; M̂ itself where the model leads. Theorem 2 compares with π°, and what π° lacks to the
            optimum over all policies is added to its right-hand side.
    """
    reward_bound, horizon = bounds.half_span(mdp.reward), float(mdp.horizon)
    imagined, imagined_at_optimum = with_transition(mdp, model), with_transition(mdp, model_at_optimum)
    optimal = greedy(optimal_action_values(mdp))
    best = finite_horizon_optimum(mdp)

    def flow(world: TabularMDP, policy: jax.Array) -> jax.Array:
        return (expected_visits(world, policy) / horizon)[..., None] * world.transition

    def loss(world: TabularMDP, policy: jax.Array) -> jax.Array:
        occupancy = expected_visits(mdp, policy) / horizon
        return jnp.sum(occupancy * bounds.kl_rows(mdp.transition, world.transition))

    def gap(loss: jax.Array) -> jax.Array:
        return bounds.simulation_gap(loss, reward_bound, horizon)

    model_return = finite_horizon_return(imagined, policy)
    epsilon_model, epsilon_policy = loss(imagined, policy), _policy_error(mdp, policy, model)
    distance_world = bounds.total_variation(flow(mdp, optimal), flow(mdp, policy))
    distance_model = bounds.total_variation(flow(mdp, optimal), flow(imagined, optimal))
    preferred = jnp.maximum(finite_horizon_return(imagined_at_optimum, best.policy) - model_return, 0.0)
    worst_loss = jnp.maximum(epsilon_model, loss(imagined_at_optimum, best.policy))
    stationary_gap = best.value - finite_horizon_return(mdp, best.policy)
    return Certificate(
        epsilon_model,
        gap(epsilon_model),
        epsilon_policy,
        distance_world,
        distance_model,
        bounds.theorem_1(epsilon_policy, gap(epsilon_model), distance_world, reward_bound, horizon),
        bounds.theorem_1(epsilon_policy, gap(epsilon_model), distance_model, reward_bound, horizon),
        worst_loss,
        preferred,
        stationary_gap,
        bounds.theorem_2(preferred, gap(worst_loss)) + stationary_gap,
    )


# What may be infinite of a certificate, where a bound says nothing (docs/theory.md).
UNBOUNDED = frozenset(
    {"reward_in_world", "reward_in_model", "random_noise", "any_data", "concentrability", "concentrability_policy"}
)


def certify_reward(
    measurement: Measurement, wants: Weights, policy: jax.Array, model: jax.Array, reply: jax.Array
) -> Metrics:
    """The statement on MAL + agent reward, where a model leads that wants it, with what goes into it; {} elsewhere.

    Args:
        measurement: the world and the loss.
        wants: what the leader wants, payoff -> weight.
        policy: `[(T,) S, A]` π, what the follower plays in M̂.
        model: `[S, A, S]` M̂.
        reply: `[(T,) S, A]` π₀, what the follower plays in the truth.
    """
    paid = [name for name in ("real_return", "model_return") if set(wants) == {"fit", name}]
    if not paid:
        return {}
    mdp, alpha = measurement.mdp, _share_of_fit(wants)
    loss, noise = _loss_and_noise(measurement, policy, model, reply)
    at_truth = finite_horizon_return(mdp, reply)
    epsilon_truth = finite_horizon_optimum(mdp).value - at_truth
    paid_in = mdp if paid == ["real_return"] else with_transition(mdp, model)
    excess = alpha * (loss - noise) + (1.0 - alpha) * (at_truth - finite_horizon_return(paid_in, policy))
    if paid == ["real_return"]:
        bound = {"reward_in_world": bounds.reward_in_world(excess, loss, alpha, epsilon_truth, noise)}
    else:
        coefficient = _coefficient(mdp, measurement.loss.divergence)
        bound = {"reward_in_model": bounds.reward_in_model(excess, alpha, coefficient, epsilon_truth, noise)}
    return {"excess_cost": excess, "noise": noise, "epsilon_truth": epsilon_truth, **bound}


def certify_noise(
    measurement: Measurement, wants: Weights, policy: jax.Array, model: jax.Array, reply: jax.Array
) -> Metrics:
    """The statement on MAL + random noise, where a model leads that wants it; arguments as `certify_reward`'s."""
    if set(wants) != {"fit", "random_fit"}:
        return {}
    mdp, alpha, wide = measurement.mdp, _share_of_fit(wants), measurement.random_occupancy
    loss, noise = _loss_and_noise(measurement, policy, model, reply)
    rows = _EXCESS[measurement.loss.divergence](mdp.transition, model)
    excess = alpha * (loss - noise) + (1.0 - alpha) * jnp.sum(wide * rows)
    covered = bounds.concentrability(_time_deciding(mdp, greedy(optimal_action_values(mdp))), wide)
    coefficient, epsilon = _coefficient(mdp, measurement.loss.divergence), _policy_error(mdp, policy, model)
    return {
        "excess_cost": excess,
        "noise": noise,
        "concentrability": covered,
        "best_alpha": bounds.best_share(covered),
        "random_noise": bounds.random_noise(epsilon, excess, alpha, covered, coefficient, noise),
    }


def certify_data(mdp: TabularMDP, policy: jax.Array, model: jax.Array, counts: jax.Array) -> Metrics:
    """The statement on any data, for the transitions that a run has collected.

    Args:
        mdp: the world M.
        policy: `[(T,) S, A]` π.
        model: `[S, A, S]` M̂.
        counts: `[S, A, S]` the transitions.
    """
    data = jnp.sum(counts, axis=-1) / jnp.sum(counts)
    loss = jnp.sum(data * bounds.kl_rows(mdp.transition, model))
    covered = [
        bounds.concentrability(_time_deciding(mdp, p), data) for p in (greedy(optimal_action_values(mdp)), policy)
    ]
    epsilon, coefficient = _policy_error(mdp, policy, model), _coefficient(mdp, "kl")
    return {
        "data_loss": loss,
        "concentrability": covered[0],
        "concentrability_policy": covered[1],
        "any_data": bounds.any_data(epsilon, loss, covered[0], covered[1], coefficient),
    }


_EXCESS: Mapping[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "kl": bounds.kl_rows,
    "brier": excess_brier_score,
}


def _share_of_fit(wants: Weights) -> jax.Array:
    """`[]` α: the leader's weights, made to sum to 1."""
    return wants["fit"] / sum(wants.values(), jnp.zeros(()))


def _loss_and_noise(
    measurement: Measurement, policy: jax.Array, model: jax.Array, reply: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """ℓ, the excess of the run's own loss on π's data, and V(μ^π₀) − V(μ^π), V(μ) the loss of the truth on μ."""
    mdp, loss = measurement.mdp, measurement.loss
    own, of_reply = (finite_horizon_occupancy(mdp, p) for p in (policy, reply))
    at_truth = loss.expected(mdp.transition, mdp.transition)
    return jnp.sum(own * _EXCESS[loss.divergence](mdp.transition, model)), jnp.sum((of_reply - own) * at_truth)


def _policy_error(mdp: TabularMDP, policy: jax.Array, model: jax.Array) -> jax.Array:
    """`[]` ε_π = max_π' J(π', M̂) − J(π, M̂)."""
    imagined = with_transition(mdp, model)
    return jnp.maximum(finite_horizon_optimum(imagined).value - finite_horizon_return(imagined, policy), 0.0)


def _coefficient(mdp: TabularMDP, divergence: str) -> jax.Array:
    """`[]` c of the simulation gap over T steps."""
    reward_bound, horizon = bounds.half_span(mdp.reward), float(mdp.horizon)
    if divergence == "kl":
        return bounds.simulation_gap(1.0, reward_bound, horizon)
    return bounds.simulation_gap_brier(1.0, reward_bound, bounds.squared_horizon(horizon), mdp.num_states)


def _time_deciding(mdp: TabularMDP, policy: jax.Array) -> jax.Array:
    """`[S, A]` the share of the T steps in which π decides in each pair."""
    deciding = ~np.array(mdp.terminal)[:, None]
    return jnp.where(deciding, expected_visits(mdp, policy) / mdp.horizon, 0.0)
