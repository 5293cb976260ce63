"""gymnax's MountainCarContinuous-v0: a weak car swings itself out of a valley.

Seen: (x, v), and all of it is bounded:

    v̂ = clip(v + power·u − gravity·cos 3x, ±0.07),   x' = clip(x + v̂, −1.2, 0.6),   |u| ≤ 1
    v' = 0 if x' ≥ 0.45 and v̂ < 0, else v̂

x' ≥ 0.45 ends the episode and pays 100; every step pays −0.1·u², of the clipped u. T = 999; start x uniform in
[−0.6, −0.4], at rest.
"""

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.games.continuous.simulator import ON_A_GRID, Box, Chart, Known, Physics, Rules, Simulator, clip_action

ACTIONS = Box((-1.0,), (1.0,))
LOW, HIGH = (-1.2, -0.07), (0.6, 0.07)
GOAL = 0.45
RANGES = (("power", 0.0005, 0.005), ("gravity", 0.001, 0.005))


def _start(key: jax.Array, physics: Physics) -> jax.Array:
    return jnp.stack([jax.random.uniform(key, (), minval=-0.6, maxval=-0.4), jnp.zeros(())])


def _step(key: jax.Array, physics: Physics, observation: jax.Array, action: jax.Array) -> jax.Array:
    place, speed = observation
    force = clip_action(ACTIONS, action)[0]
    speed = speed + physics["power"] * force - physics["gravity"] * jnp.cos(3 * place)
    speed = jnp.clip(speed, LOW[1], HIGH[1])
    place = jnp.clip(place + speed, LOW[0], HIGH[0])
    return jnp.stack([place, jnp.where((place >= GOAL) & (speed < 0), 0.0, speed)])


def _terminated(physics: Physics, following: jax.Array) -> jax.Array:
    return (following[0] >= GOAL) & (following[1] >= 0)


def _reward(physics: Physics, observation: jax.Array, action: jax.Array, following: jax.Array) -> jax.Array:
    return 100.0 * _terminated(physics, following) - 0.1 * clip_action(ACTIONS, action)[0] ** 2


def _project(observation: jax.Array) -> jax.Array:
    return jnp.clip(observation, jnp.asarray(LOW), jnp.asarray(HIGH))


def _same(vector: jax.Array) -> jax.Array:
    return vector


CHART = Chart(LOW, HIGH, (False, False), _same, _same, ("position", "velocity"))
RULES = Rules(_start, _step, _reward, _terminated, _project, 2, ACTIONS, RANGES, CHART)
KNOWN = Known(99.64, -33.2, ON_A_GRID)


def mountain_car() -> Simulator:
    """The car of gymnax."""
    physics = {"power": np.float32(0.0015), "gravity": np.float32(0.0025)}
    return Simulator(physics, "gymnax:MountainCarContinuous-v0", 999, RULES, KNOWN)
