"""What is measured in every run: exact values of the final profile, sampled ones beside them, and regrets."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sbmrl.environments.closed_forms import (
    finite_horizon_occupancy,
    finite_horizon_optimum,
    finite_horizon_return,
    safe_log,
    uniform_policy,
)
from sbmrl.environments.tabular import TabularMDP, tabular_environment, with_transition
from sbmrl.formulations import Formulation
from sbmrl.game import Game, Outcome, Strategy, at_time, played
from sbmrl.payoffs import LOSSES, PAYOFFS, Profile, exact_payoff, expected_loss
from sbmrl.theory.bounds import certify

Metrics = dict[str, jax.Array]

MEASURED_PAYOFFS = ("model_return", "real_return", "fit", "random_fit")

FOOLED_FRACTION = 0.05  # fooled: regret above this part of (optimal − uniform policy)
OPTIMAL_FRACTION = 0.0125  # optimal: regret at most this part; 36.02 or better on simple_mdp_2


def best_response_value(game: Game, formulation: Formulation, given: Profile) -> jax.Array:
    """`[]`: the largest payoff that a follower can have against what is given.

    A policy's, by backward induction in the model; a model's that only fits, by the rows that minimise both proper
    losses: the true ones, or those of the collected data. A model that wants more has no closed form: from those rows
    it ascends its payoff, so its best value, and with it the regret, is a lower bound.
    """
    wants = formulation.follower_wants
    if formulation.follower == "policy":
        return finite_horizon_optimum(with_transition(game.mdp, given["model"])).value
    rows = game.mdp.transition
    if "data_fit" in wants:
        pairs = jnp.sum(given["data"], axis=-1, keepdims=True)
        rows = jnp.where(pairs > 0, given["data"] / jnp.where(pairs > 0, pairs, 1.0), rows)

    def value(rows: jax.Array) -> jax.Array:
        return exact_payoff(game.measurement, wants, {**given, "model": rows})

    if len(wants) == 1:
        return value(rows)
    return _ascend(lambda logits: value(with_transition(game.mdp, jax.nn.softmax(logits)).transition), rows)


_ASCENT_STEPS = 60
_ASCENT_RATE = 0.3


def _ascend(value: Callable[[jax.Array], jax.Array], rows: jax.Array) -> jax.Array:
    """`[]`: the largest value met by Adam from the logits of `rows` and from uniform ones."""
    optimizer = optax.adam(_ASCENT_RATE)

    def step(carry, _):
        logits, state, best = carry
        now, slope = jax.value_and_grad(value)(logits)
        updates, state = optimizer.update(-slope, state, logits)
        return (optax.apply_updates(logits, updates), state, jnp.maximum(best, now)), None

    def ascend(logits: jax.Array) -> jax.Array:
        start = (logits, optimizer.init(logits), value(logits))
        return jax.lax.scan(step, start, length=_ASCENT_STEPS)[0][2]

    return jnp.max(jax.vmap(ascend)(jnp.stack([safe_log(jnp.maximum(rows, 1e-4)), jnp.zeros_like(rows)])))


def follower_regret(game: Game, formulation: Formulation, profile: Profile) -> jax.Array:
    """`[]` ≥ 0: payoff of the exact best response to the leader minus that of the follower (greedy where a policy)."""
    role = formulation.follower
    value = exact_payoff(game.measurement, formulation.follower_wants, {**profile, role: played(role, profile[role])})
    return best_response_value(game, formulation, profile) - value


def regret_over_random_leaders(
    key: jax.Array, game: Game, formulation: Formulation, outcome: Outcome, num_leaders: int
) -> jax.Array:
    """`[]`: the follower's mean regret over leaders drawn as in its pretraining."""
    role = formulation.leader

    def regret(key: jax.Array) -> jax.Array:
        key_leader, key_heard = jax.random.split(key)
        leader = game.priors[role](key_leader)
        return follower_regret(game, formulation, {**outcome(game.heard[role](key_heard, leader)), role: leader})

    return jnp.mean(jax.vmap(regret)(jax.random.split(key, num_leaders)))


def regret_at_truth(game: Game, formulation: Formulation, outcome: Outcome) -> jax.Array:
    """`[]`: the follower's regret at the leader it should meet: the true model, or the optimal policy."""
    return follower_regret(game, formulation, outcome(leader_at_truth(game, formulation)))


def leader_at_truth(game: Game, formulation: Formulation) -> Strategy:
    """The leader that there should be: the true model, or the policy that is optimal at the first decision."""
    return game.mdp.transition if formulation.leader == "model" else finite_horizon_optimum(game.mdp).policy


def certificate(game: Game, formulation: Formulation, outcome: Outcome, evaluated: Profile) -> Metrics:
    """The exact certificate of an evaluated profile (`sbmrl.theory.bounds`)."""
    at_optimum = evaluated["model"]
    if formulation.leader == "policy":
        at_optimum = outcome(leader_at_truth(game, formulation))["model"]
    return certify(game.mdp, evaluated["policy"], evaluated["model"], at_optimum)._asdict()


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
    exact = {name: PAYOFFS[name].exact(game.measurement, evaluated) for name in MEASURED_PAYOFFS}
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
        "follower_gap": follower_regret(game, formulation, profile),
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
    """`[N]`: undiscounted returns of `policy` `[(T,) S, A]` in N episodes of the true world."""
    environment = tabular_environment(mdp)

    def episode(key: jax.Array) -> jax.Array:
        key_reset, key_steps = jax.random.split(key)
        observation, state = environment.reset(key_reset)

        def step(carry, key: jax.Array):
            observation, state, alive, total = carry
            key_action, key_step = jax.random.split(key)
            action = jax.random.categorical(key_action, jnp.log(observation @ at_time(policy, state.time)))
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
