"""gymnax's environments behind this package's `Environment`, so that the learners can be tried on known tasks."""

import jax

from sbmrl.core.environment import Environment


def from_gymnax(name: str) -> tuple[Environment, int, int]:
    """The environment `name` without gymnax's own reset, with the size of its observation and its number of actions.

    Flat observations and discrete actions only. gymnax is imported here, because importing it takes seconds.
    """
    import gymnax

    environment, params = gymnax.make(name)
    (size,) = environment.observation_space(params).shape
    num_actions = environment.action_space(params).n

    def reset(key: jax.Array):
        return environment.reset_env(key, params)

    def step(key: jax.Array, state, action: jax.Array):
        observation, state, reward, terminated, info = environment.step_env(key, state, action, params)
        return observation, state, reward, terminated, environment.is_truncated(state, params), info

    return Environment(reset, step), size, num_actions
