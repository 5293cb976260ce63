"""Whole episodes played in a model: reward and termination are the world's, known; only the step is the model's.

Each member plays the same starts. With `fixed` a trajectory stays with its member, which is a strategy by itself; with
`random` it moves to another one at every step, each drawn uniformly (TS∞ and TS1 of Chua et al. 2018).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.games.continuous.family import Model, Predict, Prediction
from sbmrl.games.continuous.simulator import Simulator

Propagation = Literal["fixed", "random"]
# (key, observation [..., D]) -> action: of all trajectories at once, so that their noise is drawn at once.
ActMany = Callable[[jax.Array, jax.Array], jax.Array]


class Imagined(NamedTuple):
    """H steps of S trajectories with each of M members. Where it is not alive a trajectory stands still, unpaid.

    Attributes:
        observation: `[H, M, S, D]` before each step.
        action: `[H, M, S, ...]` what was done, as the policy gave it.
        next_observation: `[H, M, S, D]` after it.
        reward: `[H, M, S]` of the step; 0 behind the end.
        alive: `[H, M, S]` bool, the step was made: the trajectory had not ended before it.
        terminated: `[H, M, S]` bool, this step ended it.
        clamped: `[H, M, S]` bool, what the model said had to be clamped.
    """

    observation: jax.Array
    action: jax.Array
    next_observation: jax.Array
    reward: jax.Array
    alive: jax.Array
    terminated: jax.Array
    clamped: jax.Array


def imagine(
    key: jax.Array,
    predict: Predict,
    model: Model,
    num_members: int,
    simulator: Simulator,
    act: ActMany,
    starts: jax.Array,
    num_steps: int,
    propagation: Propagation = "fixed",
) -> Imagined:
    """Play H steps from each start in each member.

    Args:
        key: of the policy's noise, the model's and the choice of members.
        predict: of the model's family.
        model: with M members.
        num_members: M.
        simulator: whose reward and termination are known.
        act: the policy.
        starts: `[S, D]` first observations.
        num_steps: H.
        propagation: whether a trajectory keeps its member.
    """
    rules, physics = simulator.rules, simulator.physics
    reward = jax.vmap(jax.vmap(rules.reward, (None, 0, 0, 0)), (None, 0, 0, 0))
    terminated = jax.vmap(jax.vmap(rules.terminated, (None, 0)), (None, 0))
    follow = predict if propagation == "fixed" else _dealt(predict)

    def play(carry, key: jax.Array):
        observation, alive = carry
        key_act, key_model = jax.random.split(key)
        action = act(key_act, observation)
        following, clamped = follow(key_model, model, observation, action)
        following = jnp.where(alive[..., None], following, observation)
        paid = jnp.where(alive, reward(physics, observation, action, following), 0.0)
        ended = alive & terminated(physics, following)
        step = Imagined(observation, action, following, paid, alive, ended, clamped & alive)
        return (following, alive & ~ended), step

    first = jnp.broadcast_to(starts, (num_members, *starts.shape))
    carry = first, jnp.ones(first.shape[:-1], bool)
    return jax.lax.scan(play, carry, jax.random.split(key, num_steps))[1]


def _dealt(predict: Predict) -> Callable[[jax.Array, Model, jax.Array, jax.Array], Prediction]:
    """Each trajectory to a member drawn uniformly, as many to each: trajectory m of start s to (m + r_s) mod M."""

    def dealt(key: jax.Array, model: Model, observation: jax.Array, action: jax.Array) -> Prediction:
        key_deal, key_model = jax.random.split(key)
        num_members, num_starts = observation.shape[:2]
        shift = jax.random.randint(key_deal, (num_starts,), 0, num_members)
        members = jnp.arange(num_members)[:, None]

        def moved(x: jax.Array, by: jax.Array) -> jax.Array:
            return x[(members + by) % num_members, jnp.arange(num_starts)]

        prediction = predict(key_model, model, moved(observation, -shift), moved(action, -shift))
        return jax.tree.map(lambda x: moved(x, shift), prediction)

    return dealt
