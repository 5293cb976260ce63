"""Weighted sums of a game's payoffs: exactly, and as something that can be played."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Weights
from sbmrl.core.game import Payoff, Play, Profile

Payoffs = Mapping[str, Payoff]


def exact_payoff(payoffs: Payoffs, wants: Weights, profile: Profile) -> jax.Array:
    """`[]`: Σ_j wants[j] · payoff_j, exactly."""
    return sum((w * payoffs[name].exact(profile) for name, w in wants.items()), jnp.zeros(()))


class Objective(NamedTuple):
    """A weighted sum of payoffs as something that can be played.

    `Σ_j w_j E[g_j]` is estimated by drawing a kind of episode k with probability q_k ∝ Σ_{j in k} |w_j| and paying
    `Σ_{j in k} (w_j / q_k) g_j` in it. Payoffs earned in the same kind of episode share it, so a weight of 0 on the
    only payoff of a kind means that this kind is never played: α = 1 is MAL exactly, not approximately.

    Attributes:
        draw: (key) -> index of the kind of episode `[]`.
        play: (index) -> the kind.
        reward: (index, step rewards) -> `[]`.
    """

    draw: Callable[[jax.Array], jax.Array]
    play: Callable[[jax.Array], Play]
    reward: Callable[[jax.Array, Mapping[str, jax.Array]], jax.Array]


def objective(payoffs: Payoffs, wants: Weights) -> Objective:
    """The playable form of `Σ_j wants[j] · payoff_j`; each payoff must have a kind of episode."""
    kinds = {payoffs[name].play for name in wants}
    plays = sorted(kind for kind in kinds if kind is not None)
    shares = jnp.stack([sum(jnp.abs(w) for n, w in wants.items() if payoffs[n].play == play) for play in plays])
    probabilities = shares / jnp.sum(shares)
    scale = jnp.where(probabilities > 0, 1.0 / jnp.where(probabilities > 0, probabilities, 1.0), 0.0)

    def weight(name: str, play: Play, earned: str) -> jax.Array:
        mine = payoffs[name].play == play and payoffs[name].earned == earned
        return jnp.asarray(wants[name] if mine else 0.0, dtype=float)

    weights = {
        earned: jnp.stack([sum(weight(name, play, earned) for name in wants) for play in plays])
        for earned in sorted({payoffs[name].earned for name in wants})
    }

    def draw(key: jax.Array) -> jax.Array:
        if len(plays) == 1:
            return jnp.int32(0)
        return jax.random.categorical(key, jnp.log(probabilities))

    def play(index: jax.Array) -> Play:
        return jax.tree.map(lambda *values: jnp.array(values)[index], *plays)

    def reward(index: jax.Array, earned: Mapping[str, jax.Array]) -> jax.Array:
        return scale[index] * sum(weight[index] * earned[name] for name, weight in weights.items())

    return Objective(draw, play, reward)
