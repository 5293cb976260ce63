"""gymnax's Reacher-misc: two joints without inertia of the arm bring the hand to a goal.

Seen: (cos θ₁, cos θ₂, sin θ₁, sin θ₂, θ̇₁, θ̇₂, g_x, g_y); both angles are measured from the same axis, the links have
length 1. With h = 0.05 s and |u| ≤ 1, clipped here although gymnax does not:

    θ̇' = θ̇ + h·torque·u,   θ' = θ + h·θ̇',   hand = Σ_i (cos θ_i, sin θ_i)
    reward = exp(−‖hand' − goal‖²)

It never terminates; T = 100; start angles uniform in ±π, speeds in ±1, goal in [−2, 2]²: a fifth of them out of reach.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.games.continuous.simulator import Box, Known, Physics, Rules, Simulator, clip_action, never
from sbmrl.games.continuous.worlds.angles import angle_of, on_circle, seen

ACTIONS = Box((-1.0, -1.0), (1.0, 1.0))
SECONDS = 0.05
FARTHEST = 2.0
RANGES = (("torque", 0.3, 3.0),)


def _observe(angles: jax.Array, speeds: jax.Array, goal: jax.Array) -> jax.Array:
    return jnp.concatenate([*seen(angles), speeds, goal])


def _start(key: jax.Array, physics: Physics) -> jax.Array:
    key_angles, key_speeds, key_goal = jax.random.split(key, 3)
    angles = jax.random.uniform(key_angles, (2,), minval=-math.pi, maxval=math.pi)
    speeds = jax.random.uniform(key_speeds, (2,), minval=-1.0, maxval=1.0)
    return _observe(angles, speeds, jax.random.uniform(key_goal, (2,), minval=-FARTHEST, maxval=FARTHEST))


def _step(key: jax.Array, physics: Physics, observation: jax.Array, action: jax.Array) -> jax.Array:
    cosines, sines, speeds, goal = jnp.split(observation, 4)
    speeds = speeds + SECONDS * physics["torque"] * clip_action(ACTIONS, action)
    return _observe(angle_of(cosines, sines) + SECONDS * speeds, speeds, goal)


def _reward(physics: Physics, observation: jax.Array, action: jax.Array, following: jax.Array) -> jax.Array:
    cosines, sines, _, goal = jnp.split(following, 4)
    hand = jnp.stack([jnp.sum(cosines), jnp.sum(sines)])
    return jnp.exp(-jnp.sum((hand - goal) ** 2))


def _project(observation: jax.Array) -> jax.Array:
    cosines, sines, speeds, goal = jnp.split(observation, 4)
    return jnp.concatenate([*on_circle(cosines, sines), speeds, jnp.clip(goal, -FARTHEST, FARTHEST)])


KNOWN = Known(64.84, 15.515, "by the best of 8 policy gradient runs of 4,000,000 steps")  # experiments/best_of.py
RULES = Rules(_start, _step, _reward, never, _project, 8, ACTIONS, RANGES)


def reacher() -> Simulator:
    """The reacher of gymnax with two joints."""
    return Simulator({"torque": np.float32(1.0)}, "gymnax:Reacher-misc", 100, RULES, KNOWN)
