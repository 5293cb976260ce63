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
        step_many: `step` of E episodes at once, every argument and result with an axis E in front, where there is a
            better way than one by one, as when a network moves them all.
    """

    reset: Callable[[jax.Array], tuple[Observation, State]]
    step: Callable[[jax.Array, State, jax.Array], Step]
    restart: Callable[[jax.Array, State], tuple[Observation, State]] | None = None
    step_many: Callable[[jax.Array, State, jax.Array], Step] | None = None


def auto_reset(environment: Environment) -> Environment:
    """Start a new episode in the step that ends one.

    The observation that really ended the step is kept as `info["final_observation"]`, so that a learner can
    bootstrap from it.
    """

    def step(key: jax.Array, state: State, action: jax.Array) -> Step:
        key_step, key_reset = jax.random.split(key)
        carry = environment.restart
        restart = environment.reset(key_reset) if carry is None else carry(key_reset, state)
        return _begun_anew(environment.step(key_step, state, action), restart)

    def step_many(keys: jax.Array, states: State, actions: jax.Array) -> Step:
        assert environment.step_many is not None
        keys_step, keys_reset = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        stepped = environment.step_many(keys_step, states, actions)
        return jax.vmap(_begun_anew)(stepped, jax.vmap(environment.reset)(keys_reset))

    many = None if environment.step_many is None else step_many
    return Environment(environment.reset, step, environment.restart, many)


def _begun_anew(stepped: Step, restart: tuple[Observation, State]) -> Step:
    """A step with `restart` in place of what follows, where it ended the episode."""
    observation, state, reward, terminated, truncated, info = stepped
    done = terminated | truncated
    info = info | {"final_observation": observation}
    observation, state = jax.tree.map(lambda new, old: jnp.where(done, new, old), restart, (observation, state))
    return observation, state, reward, terminated, truncated, info
