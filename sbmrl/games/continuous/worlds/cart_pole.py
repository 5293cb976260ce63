"""gymnax's CartPole-v1: a pole on a cart is kept upright, by two pushes or by a force of any strength.

Seen: (x, ẋ, θ, θ̇). With masses m_c, m_p, their sum M, half-length l of the pole, force f and h = 0.02 s:

    b = (f + m_p·l·θ̇²·sin θ) / M
    θ̈ = (g·sin θ − b·cos θ) / (l·(4/3 − m_p·cos² θ / M)),   ẍ = b − m_p·l·θ̈·cos θ / M

and an explicit Euler step. A step pays 1; |x| > 2.4 or |θ| > 12° ends the episode; T = 500, which is the optimum.
Discrete: action 0 pushes with −force, 1 with +force. Continuous: f = force·u, u in [−1, 1].
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.games.continuous.simulator import (
    BY_CONSTRUCTION,
    Box,
    Discrete,
    Known,
    Physics,
    Rules,
    Simulator,
    clip_action,
)

PUSHES = Discrete(2)
FORCES = Box((-1.0,), (1.0,))
SECONDS = 0.02
WIDEST, STEEPEST = 2.4, math.radians(12)
TRUE = {"cart_mass": 1.0, "pole_mass": 0.1, "length": 0.5, "gravity": 9.8, "force": 10.0}
RANGES = (
    ("cart_mass", 0.3, 3.0),
    ("pole_mass", 0.03, 0.3),
    ("length", 0.25, 1.0),
    ("gravity", 5.0, 15.0),
    ("force", 3.0, 30.0),
)


def _start(key: jax.Array, physics: Physics) -> jax.Array:
    return jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)


def _pushed(physics: Physics, observation: jax.Array, share: jax.Array) -> jax.Array:
    """The next observation under share·force."""
    _, speed, angle, turning = observation
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    total = physics["cart_mass"] + physics["pole_mass"]
    moment = physics["pole_mass"] * physics["length"]
    bare = (physics["force"] * share + moment * turning**2 * sine) / total
    inertia = physics["length"] * (4 / 3 - physics["pole_mass"] * cosine**2 / total)
    turn = (physics["gravity"] * sine - bare * cosine) / inertia
    pull = bare - moment * turn * cosine / total
    return observation + SECONDS * jnp.stack([speed, pull, turning, turn])


def _step_discrete(key: jax.Array, physics: Physics, observation: jax.Array, action: jax.Array) -> jax.Array:
    return _pushed(physics, observation, 2.0 * clip_action(PUSHES, action) - 1)


def _step_continuous(key: jax.Array, physics: Physics, observation: jax.Array, action: jax.Array) -> jax.Array:
    return _pushed(physics, observation, clip_action(FORCES, action)[0])


def _reward(physics: Physics, observation: jax.Array, action: jax.Array, following: jax.Array) -> jax.Array:
    return jnp.ones((), observation.dtype)


def _terminated(physics: Physics, following: jax.Array) -> jax.Array:
    return (jnp.abs(following[0]) > WIDEST) | (jnp.abs(following[2]) > STEEPEST)


def _project(observation: jax.Array) -> jax.Array:
    return observation


RULES = Rules(_start, _step_discrete, _reward, _terminated, _project, 4, PUSHES, RANGES)
RULES_CONTINUOUS = RULES._replace(step=_step_continuous, actions=FORCES)
KNOWN = Known(500.0, 22.5, BY_CONSTRUCTION)


def cart_pole() -> Simulator:
    """The cart-pole of gymnax with its two actions."""
    physics = {name: np.float32(value) for name, value in TRUE.items()}
    return Simulator(physics, "gymnax:CartPole-v1", 500, RULES, KNOWN)


def cart_pole_continuous() -> Simulator:
    """The same with a force of any strength up to gymnax's."""
    known = KNOWN._replace(uniform=28.4)
    return cart_pole().replace(name="gymnax:CartPole-v1:continuous", rules=RULES_CONTINUOUS, known=known)
