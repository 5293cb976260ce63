"""What is measured in every run: exact values of the final profile, sampled ones beside them, and regrets."""

from typing import Any

import jax
import jax.numpy as jnp

from sbmrl.environments.closed_forms import (
    finite_horizon_occupancy,
    finite_horizon_optimum,
    finite_horizon_return,
    uniform_policy,
)
from sbmrl.environments.tabular import TabularMDP, tabular_environment, with_transition
from sbmrl.formulations import Formulation, Role
from sbmrl.game import Game, Outcome, Strategy, played
from sbmrl.payoffs import LOSSES, PAYOFFS, Profile, expected_loss

Metrics = dict[str, jax.Array]

FOOLED_FRACTION = 0.05  # fooled: regret above this part of (optimal − uniform policy)
OPTIMAL_FRACTION = 0.0125  # optimal: regret at most this part; 36.02 or better on simple_mdp_2


def best_response_value(game: Game, follower: Role, leader: Strategy) -> jax.Array:
    """`[]`: the largest payoff a follower can have. A policy's, by backward induction in the model; a model's, by
    the true rows, which minimise both proper losses on any data.
    """
    if follower == "policy":
        return finite_horizon_optimum(with_transition(game.mdp, leader)).value
    truth = {"policy": leader, "model": game.mdp.transition}
    return PAYOFFS["fit"].exact(game.measurement, truth)


def follower_regret(game: Game, formulation: Formulation, leader: Strategy, follower: Strategy) -> jax.Array:
    """`[]` ≥ 0: payoff of the exact best response to `leader` minus that of `follower` (greedy where a policy)."""
    profile = {formulation.leader: leader, formulation.follower: played(formulation.follower, follower)}
    value = sum(w * PAYOFFS[n].exact(game.measurement, profile) for n, w in formulation.follower_wants.items())
    return best_response_value(game, formulation.follower, leader) - value


def regret_over_random_leaders(
    key: jax.Array, game: Game, formulation: Formulation, outcome: Outcome, num_leaders: int
) -> jax.Array:
    """`[]`: the follower's mean regret over leaders drawn as in its pretraining."""

    def regret(key: jax.Array) -> jax.Array:
        key_leader, key_heard = jax.random.split(key)
        leader = game.priors[formulation.leader](key_leader)
        heard = game.heard[formulation.leader](key_heard, leader)
        return follower_regret(game, formulation, leader, outcome(heard)[formulation.follower])

    return jnp.mean(jax.vmap(regret)(jax.random.split(key, num_leaders)))


def regret_at_truth(game: Game, formulation: Formulation, outcome: Outcome) -> jax.Array:
    """`[]`: the follower's regret at the leader it should meet: the true model, or the optimal policy."""
    truth = {"model": game.mdp.transition, "policy": finite_horizon_optimum(game.mdp).policy}[formulation.leader]
    return follower_regret(game, formulation, truth, outcome(truth)[formulation.follower])


def measure_profile(
    game: Game, formulation: Formulation, leader: Strategy, outcome: Outcome
) -> tuple[Metrics, Profile]:
    """The exact numbers of the profile that results when the leader plays `leader` greedily.

    Returns the metrics and the evaluated profile; `exact_return` is the greedy policy's, `exact_return_stochastic`
    that of the policy as it is.
    """
    leader_played = played(formulation.leader, leader)
    profile = outcome(leader_played)
    follower = profile[formulation.follower]
    stochastic = leader if formulation.leader == "policy" else follower
    evaluated = {role: played(role, strategy) for role, strategy in profile.items()}
    exact = {name: payoff.exact(game.measurement, evaluated) for name, payoff in PAYOFFS.items()}
    occupancy = finite_horizon_occupancy(game.mdp, evaluated["policy"])
    losses = {
        f"fit_{name}": -expected_loss(game.measurement._replace(loss=loss), occupancy, evaluated["model"])
        for name, loss in LOSSES.items()
    }
    return losses | {
        "exact_return": exact["real_return"],
        "exact_return_stochastic": finite_horizon_return(game.mdp, stochastic),
        "model_return": exact["model_return"],
        "fit": exact["fit"],
        "random_fit": exact["random_fit"],
        "follower_gap": follower_regret(game, formulation, leader_played, follower),
    }, evaluated


def verdict(mdp: TabularMDP, exact_return: jax.Array) -> Metrics:
    """Regret against the optimum, and whether the run was fooled or optimal."""
    optimal, uniform = finite_horizon_optimum(mdp).value, finite_horizon_return(mdp, uniform_policy(mdp))
    regret = optimal - exact_return
    return {
        "optimal_return": optimal,
        "uniform_return": uniform,
        "regret": regret,
        "fooled": regret > FOOLED_FRACTION * (optimal - uniform),
        "optimal": regret <= OPTIMAL_FRACTION * (optimal - uniform),
    }


def sampled_returns(key: jax.Array, mdp: TabularMDP, policy: jax.Array, num_episodes: int) -> jax.Array:
    """`[N]`: undiscounted returns of `policy` `[S, A]` in N episodes of the true world."""
    environment = tabular_environment(mdp)

    def episode(key: jax.Array) -> jax.Array:
        key_reset, key_steps = jax.random.split(key)
        observation, state = environment.reset(key_reset)

        def step(carry, key: jax.Array):
            observation, state, alive, total = carry
            key_action, key_step = jax.random.split(key)
            action = jax.random.categorical(key_action, jnp.log(observation @ policy))
            observation, state, reward, terminated, truncated, _ = environment.step(key_step, state, action)
            total = total + jnp.where(alive, reward, 0.0)
            return (observation, state, alive & ~(terminated | truncated), total), None

        start = (observation, state, jnp.array(True), jnp.zeros_like(mdp.initial[0]))
        (_, _, _, total), _ = jax.lax.scan(step, start, jax.random.split(key_steps, mdp.horizon))
        return total

    return jax.vmap(episode)(jax.random.split(key, num_episodes))


def all_finite(tree: Any) -> jax.Array:
    """`[]` bool: no NaN and no infinity in any floating array of `tree`."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
