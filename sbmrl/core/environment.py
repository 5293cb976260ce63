"""What an environment is: a pair of pure functions in gymnax's step shape.

A step returns six values, `(observation, state, reward, terminated, truncated, info)`. Terminated means that
no reward can follow; truncated means that the episode was only cut, so the return goes on behind it and a
learner bootstraps. Whatever an opponent plays is closed over when the environment is built.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

State = Any
Observation = jax.Array
Info = dict[str, jax.Array]
Step = tuple[Observation, State, jax.Array, jax.Array, jax.Array, Info]


class Environment(NamedTuple):
    """A single-agent decision problem. Unbatched; batch with `jax.vmap`.

    Attributes:
        reset: (key) -> (observation `[D]`, state).
        step: (key, state, action) -> (observation `[D]`, state, reward `[]`, terminated `[]`, truncated `[]`, info).
        restart: (key, state at the end of an episode) -> (observation `[D]`, state) of the next one, where something
            carries over; else episodes begin by `reset`.
    """

    reset: Callable[[jax.Array], tuple[Observation, State]]
    step: Callable[[jax.Array, State, jax.Array], Step]
    restart: Callable[[jax.Array, State], tuple[Observation, State]] | None = None


def auto_reset(environment: Environment) -> Environment:
    """Start a new episode in the step that ends one.

    The observation that really ended the step is kept as `info["final_observation"]`, so that a learner can
    bootstrap from it.
    """

    def step(key: jax.Array, state: State, action: jax.Array) -> Step:
        key_step, key_reset = jax.random.split(key)
        observation, state, reward, terminated, truncated, info = environment.step(key_step, state, action)
        carry = environment.restart
        restart = environment.reset(key_reset) if carry is None else carry(key_reset, state)
        done = terminated | truncated
        info = info | {"final_observation": observation}
        observation, state = jax.tree.map(lambda new, old: jnp.where(done, new, old), restart, (observation, state))
        return observation, state, reward, terminated, truncated, info

    return Environment(environment.reset, step, environment.restart)
