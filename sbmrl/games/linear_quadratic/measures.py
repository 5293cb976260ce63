"""What is measured on a linear-quadratic world: all of it exactly, and sampled returns beside it."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Formulation
from sbmrl.core.game import Measures, Metrics, Outcome, Profile, Strategy
from sbmrl.core.measures import verdict
from sbmrl.games.linear_quadratic.closed_forms import closed_loop, cost, riccati, square_root
from sbmrl.games.linear_quadratic.payoffs import Measurement, payoffs
from sbmrl.games.linear_quadratic.system import LinearQuadraticSystem


def follower_regret(measurement: Measurement, formulation: Formulation, profile: Profile) -> jax.Array:
    """`[]` ≥ 0: a policy's cost in the model above the optimum there, or a model's loss on the policy's data."""
    if formulation.follower == "model":
        return -payoffs(measurement)["fit"].exact(profile)
    system, model = measurement.system, profile["model"]
    return cost(system, model, profile["policy"]) - cost(system, model, riccati(system, model).gain)


def measure_profile(measurement: Measurement, formulation: Formulation, leader: Strategy, outcome: Outcome):
    """The exact numbers of the profile that results when the leader plays `leader`, and the profile.

    `exact_return` is that of the policy's mean action, `exact_return_stochastic` with the noise of its data.
    """
    profile = outcome(leader)
    evaluated = {role: profile[role] for role in ("policy", "model")}
    system, policy, model = measurement.system, evaluated["policy"], evaluated["model"]
    exact = {name: payoff.exact(evaluated) for name, payoff in payoffs(measurement).items()}
    return {
        "exact_return": exact["real_return"],
        "exact_return_stochastic": -cost(system, system.truth, policy, measurement.action_noise),
        "model_return": exact["model_return"],
        "fit": exact["fit"],
        "random_fit": exact["random_fit"],
        "model_error": jnp.sqrt(jnp.sum((model - system.truth) ** 2)),
        "follower_gap": follower_regret(measurement, formulation, profile),
    }, evaluated


def make_measures(
    measurement: Measurement, formulation: Formulation, prior: Callable[[jax.Array], Strategy]
) -> Measures:
    """All of it for one formulation; `prior` is the leader's."""
    system, leader = measurement.system, formulation.leader

    def regret(profile: Profile) -> jax.Array:
        return follower_regret(measurement, formulation, profile)

    def follower(key: jax.Array, outcome: Outcome, num_leaders: int) -> Metrics:
        """Over random leaders the mean of the finite regrets, and the share of the others: of models in which the
        follower's policy is not stable, or of policies that are not stable in the world.
        """
        right = system.truth if leader == "model" else riccati(system, system.truth).gain
        regrets = jax.vmap(lambda key: regret(outcome(prior(key))))(jax.random.split(key, num_leaders))
        finite = jnp.isfinite(regrets)
        return {
            "follower_gap_true": regret(outcome(right)),
            "follower_gap_random": jnp.sum(jnp.where(finite, regrets, 0.0)) / jnp.maximum(jnp.sum(finite), 1),
            "share_unstable_random": jnp.mean(~finite),
        }

    def at_the_end(evaluated: Profile, metrics: Metrics, outcome: Outcome) -> Metrics:
        """Regret is held against the optimal cost: the baseline is whoever pays it twice."""
        optimal = -cost(system, system.truth, riccati(system, system.truth).gain)
        return verdict(metrics["exact_return"], optimal, 2.0 * optimal)

    return Measures(
        profile=lambda strategy, outcome: measure_profile(measurement, formulation, strategy, outcome),
        follower=follower,
        verdict=at_the_end,
        sampled_returns=lambda key, evaluated, num: sampled_returns(key, system, evaluated["policy"], num),
    )


def sampled_returns(key: jax.Array, system: LinearQuadraticSystem, gain: jax.Array, num_episodes: int) -> jax.Array:
    """`[N]`: returns of a policy in N episodes of the true world, cut where the discount is below 1e-6."""
    num_steps = math.ceil(math.log(1e-6) / math.log(system.discount))
    loop = closed_loop(system.truth, gain)
    paid = system.state_cost + gain.T @ system.control_cost @ gain
    roots = [square_root(covariance) for covariance in (system.initial, system.noise)]

    def episode(key: jax.Array) -> jax.Array:
        key_start, key_steps = jax.random.split(key)
        start = roots[0] @ jax.random.normal(key_start, (system.num_states,))
        noise = jax.random.normal(key_steps, (num_steps, system.num_states)) @ roots[1].T

        def step(carry, noise):
            state, discount, total = carry
            total = total - discount * (state @ paid @ state)
            return (loop @ state + noise, discount * system.discount, total), None

        return jax.lax.scan(step, (start, jnp.ones(()), jnp.zeros(())), noise)[0][2]

    return jax.vmap(episode)(jax.random.split(key, num_episodes))
