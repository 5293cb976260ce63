"""What is measured of every game: regret of the leader and of the follower, and whether all of it is finite."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Formulation, Role
from sbmrl.core.game import Measures, Metrics, Outcome, Profile, Strategy

FOOLED_FRACTION = 0.05  # fooled: regret above this part of (optimal − baseline)
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


class ExactGame(NamedTuple):
    """A game in which both players act and everything that is to be measured has a closed form.

    Attributes:
        value: (profile, role) -> `[]` that role's return.
        regret: (profile) -> `[]` what the follower's best response would earn it more.
        played: role -> (strategy) -> what is evaluated of it.
        prior: (key) -> a random leader.
        heard: (key, strategy) -> the leader as its answers tell it.
        optimum: () -> the leader's best strategy and its return.
        uniform: `[]` the leader's return where both act at random.
        sampled_returns: (key, evaluated profile, N) -> `[N]` the leader's returns in played episodes.
        more: (evaluated profile) -> what is measured beside all this.
    """

    value: Callable[[Profile, Role], jax.Array]
    regret: Callable[[Profile], jax.Array]
    played: Mapping[Role, Callable[[Strategy], Strategy]]
    prior: Callable[[jax.Array], Strategy]
    heard: Callable[[jax.Array, Strategy], Strategy]
    optimum: Callable[[], tuple[Strategy, jax.Array]]
    uniform: Callable[[], jax.Array]
    sampled_returns: Callable[[jax.Array, Profile, int], jax.Array]
    more: Callable[[Profile], Metrics] = lambda evaluated: {}


def exact_measures(game: ExactGame, formulation: Formulation) -> Measures:
    """Everything that a run is judged by, from the closed forms of its game."""
    leader, follower, played = formulation.leader, formulation.follower, game.played

    def measure(strategy: Strategy, outcome: Outcome) -> tuple[Metrics, Profile]:
        profile = outcome(played[leader](strategy))
        evaluated = {role: played[role](profile[role]) for role in (leader, follower)}
        stochastic = {leader: strategy, follower: played[follower](outcome(strategy)[follower])}
        return {
            "exact_return": game.value(evaluated, leader),
            "exact_return_stochastic": game.value(stochastic, leader),
            "follower_return": game.value(evaluated, follower),
            "follower_gap": game.regret(evaluated),
            **game.more(evaluated),
        }, evaluated

    def regret(profile: Profile) -> jax.Array:
        return game.regret({**profile, follower: played[follower](profile[follower])})

    def at_leaders(key: jax.Array, outcome: Outcome, num_leaders: int) -> Metrics:
        return {
            "follower_gap_true": regret(outcome(game.optimum()[0])),
            "follower_gap_random": mean_regret(key, leader, game.prior, game.heard, outcome, regret, num_leaders),
        }

    def at_the_end(evaluated: Profile, metrics: Metrics, outcome: Outcome) -> Metrics:
        return verdict(metrics["exact_return"], game.optimum()[1], game.uniform())

    return Measures(measure, at_leaders, at_the_end, game.sampled_returns)


def all_finite(tree: Any) -> jax.Array:
    """`[]` bool: no NaN and no infinity in any floating array of `tree`."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
