"""The corridor, where the optimum is known and a model that is right on its own data costs nearly all of it.

    x' = min(x + v·clip(u, −1, 1), w − 1),   v = ¼,   w = 4,   start −¾,   T = 50

x' ≤ −1 pays 1 and ends the episode; each step with x' ≥ 1 pays 1. Seven steps to the right, then staying: 44 is the
optimum; leaving at the left earns 1, staying 0. The physics is the speed v and w, how far from the left end a wall
stands: here behind all that matters. A model whose wall is nearer than 2 knows of nothing better than to leave: its
best response earns 1, and on the data of that response the model has no error.

With D > 1 the other D − 1 numbers seen are noise of variance 1, n' = 0.9·n + √0.19·ε, which nothing depends on, and the
start is uniform in [−0.75, −0.65]: still seven steps from the right end, so the optimum is 44 from all of them.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.games.continuous.simulator import BY_CONSTRUCTION, Box, Chart, Known, Physics, Rules, Simulator, clip_action

ACTIONS = Box((-1.0,), (1.0,))
HORIZON = 50
RANGES = (("speed", 0.1, 0.5), ("wall", 0.5, 8.0))
MEMORY = 0.9
SPREAD = 0.1
KNOWN = Known(44.0, 1.33, BY_CONSTRUCTION)


class _Start(NamedTuple):
    """`start` for a number of dimensions; equal for equal numbers."""

    size: int

    def __call__(self, key: jax.Array, physics: Physics) -> jax.Array:
        if self.size == 1:
            return jnp.array([-0.75])
        key_place, key_noise = jax.random.split(key)
        place = -0.75 + SPREAD * jax.random.uniform(key_place, (1,))
        return jnp.concatenate([place, jax.random.normal(key_noise, (self.size - 1,))])


class _Observe(NamedTuple):
    """`observe` of the chart, the noise being 0; equal for equal numbers of dimensions."""

    size: int

    def __call__(self, state: jax.Array) -> jax.Array:
        return jnp.pad(state, (0, self.size - 1))


def _step(key: jax.Array, physics: Physics, observation: jax.Array, action: jax.Array) -> jax.Array:
    place, noise = observation[:1], observation[1:]
    drawn = jnp.sqrt(1 - MEMORY**2) * jax.random.normal(key, noise.shape)
    moved = jnp.minimum(place + physics["speed"] * clip_action(ACTIONS, action), physics["wall"] - 1)
    return jnp.concatenate([moved, MEMORY * noise + drawn])


def _reward(physics: Physics, observation: jax.Array, action: jax.Array, following: jax.Array) -> jax.Array:
    return (jnp.abs(following[0]) >= 1).astype(following.dtype)


def _terminated(physics: Physics, following: jax.Array) -> jax.Array:
    return following[0] <= -1


def _project(observation: jax.Array) -> jax.Array:
    return observation


def _place(observation: jax.Array) -> jax.Array:
    return observation[:1]


def make_corridor(size: int, name: str) -> Simulator:
    """The corridor seen as `size` numbers, all but the first of which are noise."""
    # Behind 2 nothing changes: one step back is still at the right end.
    chart = Chart((-1.0,), (2.0,), (False,), _Observe(size), _place, ("place",))
    rules = Rules(_Start(size), _step, _reward, _terminated, _project, size, ACTIONS, RANGES, chart, (0,))
    return Simulator({"speed": np.float32(0.25), "wall": np.float32(4.0)}, name, HORIZON, rules, KNOWN)


corridor = partial(make_corridor, 1, "corridor")
