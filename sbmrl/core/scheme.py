"""What a scheme is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.game import Info, Profile, Strategy
from sbmrl.core.learner import Trainee
from sbmrl.core.oracles import Oracle
from sbmrl.core.problems import Leaders

SchemeState = Any


class Scheme(NamedTuple):
    """How the follower comes to answer a leader.

    What is *given* to the follower is a profile without its own strategy: the leader's strategy as heard, and the
    data where the game collects any.

    Attributes:
        init: (key, leaders) -> state.
        adapt: (key, state, leaders) -> (state, info); one round of learning against a distribution of leaders.
        respond: (state, given) -> the follower's strategy.
        residual: (state, given) -> `[]` how far the answer is from solving the equation that its solver solves; NaN
            where the follower is a learner without one, whose regret says how good it is.
        params: (state) -> the follower's parameters.
        num_pretrain_steps: rounds against random leaders, before play.
        adapts_in_play: whether there is a round against the present leader before each of the leader's steps.
        steps_per_round: environment steps of a round before play.
        oracle: how the follower finds out about its leader inside the leader's episodes; without one it asks each query
            once.
        follower: the follower with its learner, where it keeps what it learns.
    """

    init: Callable[[jax.Array, Leaders], SchemeState]
    adapt: Callable[[jax.Array, SchemeState, Leaders], tuple[SchemeState, Info]]
    respond: Callable[[SchemeState, Profile], Strategy]
    residual: Callable[[SchemeState, Profile], jax.Array]
    params: Callable[[SchemeState], Any]
    num_pretrain_steps: int
    adapts_in_play: bool
    steps_per_round: int = 0
    oracle: Oracle | None = None
    follower: Trainee | None = None


def no_residual(state: SchemeState, given: Profile) -> jax.Array:
    """NaN: there is no equation to be solved."""
    del state, given
    return jnp.array(jnp.nan)


def answering(respond: Callable[[jax.Array, Profile], Strategy], draws: bool) -> Scheme:
    """The scheme of a follower that answers by a function and learns nothing that it keeps.

    Its state is a key, where the response draws anything new at each leader step.

    Args:
        respond: (key, given) -> the follower's strategy.
        draws: whether it draws anything with its key, as a maximum-likelihood model draws its transitions.
    """

    def adapt(key: jax.Array, state: jax.Array, leaders: Leaders) -> tuple[jax.Array, Info]:
        return key, {}

    return Scheme(
        lambda key, leaders: key,
        adapt,
        respond,
        lambda key, given: jnp.zeros(()),
        lambda key: {},
        num_pretrain_steps=0,
        adapts_in_play=draws,
    )
