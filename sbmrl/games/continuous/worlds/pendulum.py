"""gymnax's Pendulum-v1: a rod that hangs from one end is swung up and held; θ = 0 is upright.

Seen: (cos θ, sin θ, θ̇). With h = 0.05 s, a rod of mass m and length l has the moment ml²/3 about its end:

    θ̇' = clip(θ̇ + h·(3g/(2l)·sin θ + 3/(ml²)·u), ±8),   θ' = θ + h·θ̇',   |u| ≤ 2
    reward = −(θ² + 0.1·θ̇² + 0.001·u²)   of the state *before* the step, θ in −π..π

It never terminates; T = 200; start θ uniform in ±π, θ̇ in ±1.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.games.continuous.simulator import ON_A_GRID, Box, Chart, Known, Physics, Rules, Simulator, clip_action, never
from sbmrl.games.continuous.worlds.angles import angle_of, on_circle, seen

ACTIONS = Box((-2.0,), (2.0,))
SECONDS = 0.05
FASTEST = 8.0
RANGES = (("mass", 0.5, 2.0), ("length", 0.5, 2.0), ("gravity", 5.0, 15.0))


def _observe(state: jax.Array) -> jax.Array:
    return jnp.stack([*seen(state[0]), state[1]])


def _state_of(observation: jax.Array) -> jax.Array:
    return jnp.stack([angle_of(observation[0], observation[1]), observation[2]])


def _start(key: jax.Array, physics: Physics) -> jax.Array:
    edge = jnp.array([math.pi, 1.0])
    return _observe(jax.random.uniform(key, (2,), minval=-edge, maxval=edge))


def _step(key: jax.Array, physics: Physics, observation: jax.Array, action: jax.Array) -> jax.Array:
    angle, speed = _state_of(observation)
    mass, length, gravity = physics["mass"], physics["length"], physics["gravity"]
    torque = clip_action(ACTIONS, action)[0]
    pull = 3 * gravity / (2 * length) * observation[1] + 3 / (mass * length**2) * torque
    speed = jnp.clip(speed + SECONDS * pull, -FASTEST, FASTEST)
    return _observe(jnp.stack([angle + SECONDS * speed, speed]))


def _reward(physics: Physics, observation: jax.Array, action: jax.Array, following: jax.Array) -> jax.Array:
    angle, speed = _state_of(observation)
    return -(angle**2 + 0.1 * speed**2 + 0.001 * clip_action(ACTIONS, action)[0] ** 2)


def _project(observation: jax.Array) -> jax.Array:
    cosine, sine, speed = observation
    return jnp.stack([*on_circle(cosine, sine), jnp.clip(speed, -FASTEST, FASTEST)])


NAMES = ("angle [rad]", "angular velocity [rad/s]")
CHART = Chart((-math.pi, -FASTEST), (math.pi, FASTEST), (True, False), _observe, _state_of, NAMES)
RULES = Rules(_start, _step, _reward, never, _project, 3, ACTIONS, RANGES, CHART)
KNOWN = Known(-137.5, -1224.1, ON_A_GRID)


def pendulum() -> Simulator:
    """The pendulum of gymnax: m = l = 1, g = 10."""
    physics = {"mass": np.float32(1.0), "length": np.float32(1.0), "gravity": np.float32(10.0)}
    return Simulator(physics, "gymnax:Pendulum-v1", 200, RULES, KNOWN)
