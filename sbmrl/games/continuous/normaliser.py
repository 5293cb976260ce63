"""Centres and scales of what a model reads and predicts, taken from a replay."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.games.continuous.replay import Replay, Transitions, is_filled

Deviation = Literal["absolute", "standard"]
_LEAST = 1e-8  # added to every deviation
_ROUNDING = 1e-6  # a deviation below this share of the mean is float32's, from summing equal numbers


class Normaliser(NamedTuple):
    """Means and scales; a number x is read as (x − mean) / scale.

    A number that never varies has the scale 1, so that one which moves later is not blown up.

    Attributes:
        observation_mean: `[D]`, in the world's units, as are all but `moves`.
        observation_scale: `[D]`.
        action_mean: `[A]`.
        action_scale: `[A]`.
        difference_mean: `[D]` of next observation − observation.
        difference_scale: `[D]`.
        moves: `[D]` bool, the difference varies; where it does not, its mean is predicted: 0 of what stands still.
    """

    observation_mean: jax.Array
    observation_scale: jax.Array
    action_mean: jax.Array
    action_scale: jax.Array
    difference_mean: jax.Array
    difference_scale: jax.Array
    moves: jax.Array


def identity(observation_size: int, action_size: int) -> Normaliser:
    """Means 0 and scales 1: nothing has been seen."""
    seen, acted = jnp.zeros(observation_size), jnp.zeros(action_size)
    return Normaliser(seen, seen + 1, acted, acted + 1, seen, seen + 1, jnp.ones(observation_size, bool))


def statistics(replay: Replay, deviation: Deviation) -> Normaliser:
    """Of the filled slots: mean, and mean |x − mean| (Rajeswaran et al.'s code) or standard deviation, plus 1e-8."""
    filled = is_filled(replay)[:, None]
    num = jnp.maximum(jnp.sum(filled), 1)

    def measure(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        mean = jnp.sum(jnp.where(filled, x, 0.0), axis=0) / num
        away = jnp.where(filled, x - mean, 0.0)
        spread = jnp.sum(jnp.abs(away), axis=0) / num
        if deviation == "standard":
            spread = jnp.sqrt(jnp.sum(away**2, axis=0) / num)
        varies = spread >= _LEAST + _ROUNDING * jnp.abs(mean)
        return mean, jnp.where(varies, spread + _LEAST, 1.0), varies

    observation, action, following = replay.transitions
    seen, seen_scale, _ = measure(observation)
    acted, acted_scale, _ = measure(action)
    return Normaliser(seen, seen_scale, acted, acted_scale, *measure(following - observation))


def inputs_of(normaliser: Normaliser, observation: jax.Array, action: jax.Array) -> jax.Array:
    """`[..., D + A]`: what a model reads of `[..., D]` and `[..., A]`."""
    seen = (observation - normaliser.observation_mean) / normaliser.observation_scale
    acted = (action - normaliser.action_mean) / normaliser.action_scale
    return jnp.concatenate([seen, acted], axis=-1)


def targets_of(normaliser: Normaliser, transitions: Transitions) -> jax.Array:
    """`[..., D]`: the differences as a model predicts them, 0 where they do not vary."""
    difference = transitions.next_observation - transitions.observation
    target = (difference - normaliser.difference_mean) / normaliser.difference_scale
    return jnp.where(normaliser.moves, target, 0.0)


def following_of(normaliser: Normaliser, observation: jax.Array, target: jax.Array) -> jax.Array:
    """`[..., D]`: the next observation where `target` is predicted; the inverse of `targets_of`."""
    moved = jnp.where(normaliser.moves, normaliser.difference_scale * target, 0.0)
    return observation + normaliser.difference_mean + moved
