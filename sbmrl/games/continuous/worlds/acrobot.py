"""gymnax's Acrobot-v1: two links hang from a hinge, a motor between them swings the tip up.

Seen: (cos θ₁, sin θ₁, cos θ₂, sin θ₂, θ̇₁, θ̇₂); θ₁ = 0 hangs down, θ₂ is the second link's angle to the first. With
r_i = l_i/2 the centres of mass, I = 1 the moment of each link, u the torque and p = m₂·l₁·r₂, q = m₂·r₂² + I:

    [ m₁r₁² + m₂l₁² + I + q + 2p·cos θ₂    q + p·cos θ₂ ] [θ̈₁]   [ p·(θ̇₂² + 2·θ̇₁·θ̇₂)·sin θ₂ − G₁ ]
    [ q + p·cos θ₂                          q            ] [θ̈₂] = [ u − p·θ̇₁²·sin θ₂ − G₂          ]
    G₂ = m₂·r₂·g·sin(θ₁ + θ₂),   G₁ = (m₁r₁ + m₂l₁)·g·sin θ₁ + G₂

One Runge–Kutta step of 0.2 s, then |θ̇₁| ≤ 4π, |θ̇₂| ≤ 9π. Actions 0, 1, 2 are the torques −1, 0, 1. A step pays −1
until −cos θ₁ − cos(θ₁ + θ₂) > 1, which ends the episode and pays 0; T = 500; start all four uniform in ±0.1.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.games.continuous.simulator import Discrete, Known, Physics, Rules, Simulator, clip_action
from sbmrl.games.continuous.worlds.angles import angle_of, on_circle, seen

ACTIONS = Discrete(3)
SECONDS = 0.2
MOMENT = 1.0
FASTEST = (4 * math.pi, 9 * math.pi)
TRUE = {"mass_1": 1.0, "mass_2": 1.0, "length_1": 1.0, "length_2": 1.0, "gravity": 9.8}
RANGES = (
    ("mass_1", 0.5, 2.0),
    ("mass_2", 0.5, 2.0),
    ("length_1", 0.5, 2.0),
    ("length_2", 0.5, 2.0),
    ("gravity", 5.0, 15.0),
)


def _observe(state: jax.Array) -> jax.Array:
    return jnp.stack([*seen(state[0]), *seen(state[1]), state[2], state[3]])


def _start(key: jax.Array, physics: Physics) -> jax.Array:
    return _observe(jax.random.uniform(key, (4,), minval=-0.1, maxval=0.1))


def _derivative(physics: Physics, torque: jax.Array, state: jax.Array) -> jax.Array:
    """d/dt of (θ₁, θ₂, θ̇₁, θ̇₂)."""
    angle_1, angle_2, speed_1, speed_2 = state
    mass_1, mass_2, length_1 = physics["mass_1"], physics["mass_2"], physics["length_1"]
    centre_1, centre_2, gravity = length_1 / 2, physics["length_2"] / 2, physics["gravity"]
    coupling, second = mass_2 * length_1 * centre_2, mass_2 * centre_2**2 + MOMENT
    cosine, sine = seen(angle_2)
    shared = second + coupling * cosine
    first = mass_1 * centre_1**2 + mass_2 * length_1**2 + MOMENT + second + 2 * coupling * cosine
    weight_2 = mass_2 * centre_2 * gravity * jnp.sin(angle_1 + angle_2)
    weight_1 = (mass_1 * centre_1 + mass_2 * length_1) * gravity * jnp.sin(angle_1) + weight_2
    push_1 = coupling * (speed_2**2 + 2 * speed_1 * speed_2) * sine - weight_1
    push_2 = torque - coupling * speed_1**2 * sine - weight_2
    determinant = first * second - shared**2
    turn_1 = (second * push_1 - shared * push_2) / determinant
    turn_2 = (first * push_2 - shared * push_1) / determinant
    return jnp.stack([speed_1, speed_2, turn_1, turn_2])


def _runge_kutta(slope: Callable[[jax.Array], jax.Array], state: jax.Array, seconds: float) -> jax.Array:
    """The classical step of order 4."""
    one = slope(state)
    two = slope(state + seconds / 2 * one)
    three = slope(state + seconds / 2 * two)
    four = slope(state + seconds * three)
    return state + seconds / 6 * (one + 2 * two + 2 * three + four)


def _step(key: jax.Array, physics: Physics, observation: jax.Array, action: jax.Array) -> jax.Array:
    cosine_1, sine_1, cosine_2, sine_2, speed_1, speed_2 = observation
    torque = clip_action(ACTIONS, action) - 1.0
    state = jnp.stack([angle_of(cosine_1, sine_1), angle_of(cosine_2, sine_2), speed_1, speed_2])
    moved = _runge_kutta(lambda state: _derivative(physics, torque, state), state, SECONDS)
    fastest = jnp.asarray(FASTEST)
    return _observe(jnp.concatenate([moved[:2], jnp.clip(moved[2:], -fastest, fastest)]))


def _terminated(physics: Physics, following: jax.Array) -> jax.Array:
    cosine_1, sine_1, cosine_2, sine_2 = following[:4]
    return -cosine_1 - (cosine_1 * cosine_2 - sine_1 * sine_2) > 1


def _reward(physics: Physics, observation: jax.Array, action: jax.Array, following: jax.Array) -> jax.Array:
    return _terminated(physics, following) - jnp.ones((), following.dtype)


def _project(observation: jax.Array) -> jax.Array:
    cosine_1, sine_1, cosine_2, sine_2 = observation[:4]
    fastest = jnp.asarray(FASTEST)
    speeds = jnp.clip(observation[4:], -fastest, fastest)
    return jnp.stack([*on_circle(cosine_1, sine_1), *on_circle(cosine_2, sine_2), *speeds])


KNOWN = Known(-65.409, -498.886, "by the best of 8 policy gradient runs of 4,000,000 steps")  # experiments/best_of.py
RULES = Rules(_start, _step, _reward, _terminated, _project, 6, ACTIONS, RANGES)


def acrobot() -> Simulator:
    """The acrobot of gymnax: masses and lengths 1, g = 9.8."""
    physics = {name: np.float32(value) for name, value in TRUE.items()}
    return Simulator(physics, "gymnax:Acrobot-v1", 500, RULES, KNOWN)
