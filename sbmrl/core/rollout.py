"""Playing many copies of an environment for a fixed number of steps, all inside `lax.scan`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.environment import Environment


class Running(NamedTuple):
    """Environments in play, leading axis E: `observation` `[E, D]` and the environments' states."""

    observation: jax.Array
    state: Any


class Trajectory(NamedTuple):
    """A rollout of T steps in E environments.

    Attributes:
        observation: `[T, E, D]` what the player saw.
        answer: `[T, E, ...]` what it answered.
        reward: `[T, E]`.
        next_observation: `[T, E, D]` what followed, before any reset.
        terminated: `[T, E]` bool.
        truncated: `[T, E]` bool.
        info: further arrays `[T, E, ...]` of the environment.
    """

    observation: jax.Array
    answer: jax.Array
    reward: jax.Array
    next_observation: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    info: dict[str, jax.Array]


def start(key: jax.Array, environment: Environment, num_environments: int) -> Running:
    """Reset `num_environments` copies."""
    return Running(*jax.vmap(environment.reset)(jax.random.split(key, num_environments)))


def rollout(
    key: jax.Array,
    environment: Environment,
    answer: Callable[[jax.Array, jax.Array], jax.Array],
    running: Running,
    num_steps: int,
) -> tuple[Running, Trajectory]:
    """Play on for `num_steps`; `environment` must reset itself (`auto_reset`).

    Args:
        key: random key.
        environment: unbatched, vmapped here over the E running copies.
        answer: (key, observation `[E, D]`) -> answers `[E, ...]`.
        running: where the environments stand.
        num_steps: T.
    """

    def step(running: Running, key: jax.Array):
        key_answer, key_step = jax.random.split(key)
        answers = answer(key_answer, running.observation)
        keys = jax.random.split(key_step, running.observation.shape[0])
        step_many = environment.step_many or jax.vmap(environment.step)
        observation, state, reward, terminated, truncated, info = step_many(keys, running.state, answers)
        final = info.pop("final_observation")
        step_data = Trajectory(running.observation, answers, reward, final, terminated, truncated, info)
        return Running(observation, state), step_data

    return jax.lax.scan(step, running, jax.random.split(key, num_steps))


def episode_returns(
    key: jax.Array,
    environment: Environment,
    answer: Callable[[jax.Array, jax.Array], jax.Array],
    num_episodes: int,
    num_steps: int,
) -> jax.Array:
    """`[num_episodes]`: undiscounted returns of whole episodes, of at most `num_steps` steps each.

    Episodes follow one another as in training, so what carries over from one to the next does so here.
    """

    def episode(start: tuple[jax.Array, Any], key: jax.Array):
        key_steps, key_restart = jax.random.split(key)

        def step(carry, key: jax.Array):
            observation, state, alive, total = carry
            key_answer, key_step = jax.random.split(key)
            observation, state, reward, terminated, truncated, _ = environment.step(
                key_step, state, answer(key_answer, observation)
            )
            total = total + jnp.where(alive, reward, 0.0)
            return (observation, state, alive & ~(terminated | truncated), total), None

        carry = (*start, jnp.array(True), jnp.zeros(()))
        (_, state, _, total), _ = jax.lax.scan(step, carry, jax.random.split(key_steps, num_steps))
        again = (
            environment.reset(key_restart) if environment.restart is None else environment.restart(key_restart, state)
        )
        return again, total

    key_reset, key_episodes = jax.random.split(key)
    return jax.lax.scan(episode, environment.reset(key_reset), jax.random.split(key_episodes, num_episodes))[1]
