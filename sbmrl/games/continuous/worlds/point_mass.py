"""A point mass in the plane that is pushed to a goal: the small task of ref. 1.

Seen: place (x, y), velocity (v_x, v_y), goal (g_x, g_y). With h = 0.05 s a decision, M = mass, c = damping, F = force:

    M·v̇ = F·u − c·v,   solved exactly over h:   k = c/M,  w = F·u/c,  d = 1 − e^(−k·h)
    v' = v + d·(w − v),   x' = x + w·h + (v − w)·d/k

reward = −‖x' − g‖₁ − ½·‖x' − g‖₂; T = 25; start and goal uniform in [−1, 1]², at rest. Places end at ±1.4, where the
velocity is lost; ref. 1's simulator has soft stops there.

Source: Rajeswaran, Mordatch & Kumar (2020), "A game theoretic framework for model based reinforcement learning", and
the numbers of its released code: a ball of radius 5 cm and density 1,000 kg/m³, armature 0.01, damping 0.1, force 10.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.games.continuous.simulator import Box, Known, Physics, Rules, Simulator, clip_action, never

ACTIONS = Box((-1.0, -1.0), (1.0, 1.0))
HORIZON = 25
SECONDS = 0.05
EDGE = 1.4
MASS = 4 / 3 * math.pi * 0.05**3 * 1000 + 0.01
RANGES = (("mass", 0.2, 2.0), ("damping", 0.03, 0.3), ("force", 3.0, 30.0))


def _start(key: jax.Array, physics: Physics) -> jax.Array:
    place, goal = jax.random.uniform(key, (2, 2), minval=-1.0, maxval=1.0)
    return jnp.concatenate([place, jnp.zeros(2), goal])


def _step(key: jax.Array, physics: Physics, observation: jax.Array, action: jax.Array) -> jax.Array:
    place, velocity, goal = jnp.split(observation, 3)
    rate = physics["damping"] / physics["mass"]
    last = physics["force"] * clip_action(ACTIONS, action) / physics["damping"]
    lost = -jnp.expm1(-rate * SECONDS)
    moved = place + last * SECONDS + (velocity - last) * lost / rate
    velocity = velocity + lost * (last - velocity)
    stopped = jnp.abs(moved) >= EDGE
    return jnp.concatenate([jnp.clip(moved, -EDGE, EDGE), jnp.where(stopped, 0.0, velocity), goal])


def _reward(physics: Physics, observation: jax.Array, action: jax.Array, following: jax.Array) -> jax.Array:
    place, _, goal = jnp.split(following, 3)
    away = jnp.abs(place - goal)
    # The tiny number keeps the gradient at the goal finite.
    return -jnp.sum(away) - 0.5 * jnp.sqrt(jnp.sum(away**2) + 1e-12)


def _project(observation: jax.Array) -> jax.Array:
    place, velocity, goal = jnp.split(observation, 3)
    return jnp.concatenate([jnp.clip(place, -EDGE, EDGE), velocity, jnp.clip(goal, -1.0, 1.0)])


KNOWN = Known(-7.544, -56.475, "by the best of 8 policy gradient runs of 4,000,000 steps")  # experiments/best_of.py
RULES = Rules(_start, _step, _reward, never, _project, 6, ACTIONS, RANGES)


def point_mass() -> Simulator:
    """The point mass with ref. 1's numbers."""
    physics = {"mass": np.float32(MASS), "damping": np.float32(0.1), "force": np.float32(10.0)}
    return Simulator(physics, "point_mass", HORIZON, RULES, KNOWN)
