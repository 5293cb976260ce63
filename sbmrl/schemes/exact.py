"""The exact best response: no learning on the follower's side.

Source: Gerstgrasser & Parkes (2023), "oracles". What the best response is, is the game's own knowledge.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from sbmrl.core.game import Profile, Strategy
from sbmrl.core.learner import Info
from sbmrl.core.problems import Leaders
from sbmrl.core.scheme import Scheme


def exact(respond: Callable[[jax.Array, Profile], Strategy], draws: bool) -> Scheme:
    """The scheme of a follower whose best response has a closed form.

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
