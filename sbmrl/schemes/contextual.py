"""The contextualized follower: pretrained on random leaders given their description ω, then frozen.

Source: Gerstgrasser & Parkes (2023), "Oracles & Followers"; the poster, section 1. The follower's answer to a leader
is net(θ, ω(leader)), so it changes with the leader without any further training.
"""

from collections.abc import Callable
from typing import Any

import jax

from sbmrl.core.game import Profile, Strategy
from sbmrl.core.learner import Learner
from sbmrl.core.problems import Leaders
from sbmrl.core.scheme import Scheme, no_residual


def pooled(key: jax.Array, leaders: Leaders, pool_size: int) -> Leaders:
    """A sampler that picks among `pool_size` leaders drawn here."""
    pool = jax.vmap(leaders)(jax.random.split(key, pool_size))
    return lambda key: jax.tree.map(lambda x: x[jax.random.randint(key, (), 0, pool_size)], pool)


def contextual(
    follower: Learner,
    strategy: Callable[[Any, jax.Array], Strategy],
    describe: Callable[[Profile], jax.Array],
    num_pretrain_steps: int,
    pool_size: int,
) -> Scheme:
    """The scheme around a follower's learner.

    Args:
        follower: learner of a problem whose opponent is a sampler of leaders.
        strategy: (θ, ω) -> the follower's strategy.
        describe: (given) -> ω, of the leader's strategy as heard.
        num_pretrain_steps: follower updates before play.
        pool_size: random leaders drawn for each update. Episodes pick among them, because an environment that
            resets itself under `vmap` would otherwise draw a whole new leader at every step.
    """

    def init(key: jax.Array, leaders: Leaders):
        return follower.init(key, leaders)

    def adapt(key: jax.Array, state, leaders: Leaders):
        key_pool, key_update = jax.random.split(key)
        return follower.update(key_update, state, pooled(key_pool, leaders, pool_size))

    def respond(state, given: Profile) -> Strategy:
        return strategy(follower.params(state), describe(given))

    return Scheme(init, adapt, respond, no_residual, follower.params, num_pretrain_steps, adapts_in_play=False)
