"""What a linear-quadratic world is, and how it is made of arrays."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct


class LinearQuadraticSystem(struct.PyTreeNode):
    """x' = A x + B u + w; the return is −Σ_t γᵗ (xᵀQx + uᵀRu) over an infinite horizon.

    Attributes:
        truth: [A B] `[n, n + m]`, the true model.
        state_cost: Q `[n, n]`, positive definite.
        control_cost: R `[m, m]`, positive definite.
        noise: W `[n, n]`, covariance of w.
        initial: S₀ `[n, n]`, covariance of x₀, whose mean is 0.
        discount: γ in (0, 1).
        name: of the world.
    """

    truth: jax.Array
    state_cost: jax.Array
    control_cost: jax.Array
    noise: jax.Array
    initial: jax.Array
    discount: float = struct.field(pytree_node=False)
    name: str = struct.field(pytree_node=False)

    @property
    def num_states(self) -> int:
        """n, numbers in a state."""
        return self.state_cost.shape[0]

    @property
    def num_controls(self) -> int:
        """m, numbers in an action."""
        return self.control_cost.shape[0]


def state_part(model: jax.Array) -> jax.Array:
    """Â `[n, n]` of a model [Â B̂] `[n, n + m]`."""
    return model[:, : model.shape[0]]


def control_part(model: jax.Array) -> jax.Array:
    """B̂ `[n, m]` of a model [Â B̂] `[n, n + m]`."""
    return model[:, model.shape[0] :]


class SystemArrays(NamedTuple):
    """A world as numpy arrays in float64, with the names that a user's file has."""

    name: str
    A: np.ndarray
    B: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    noise: np.ndarray
    initial: np.ndarray
    discount: float


def make_system(arrays: SystemArrays) -> LinearQuadraticSystem:
    """The world of these arrays, in jax's floats."""

    def floats(array: np.ndarray) -> jax.Array:
        return jnp.asarray(array, float)

    truth = floats(np.concatenate([arrays.A, arrays.B], axis=1))
    costs = (floats(arrays.Q), floats(arrays.R))
    return LinearQuadraticSystem(
        truth, *costs, floats(arrays.noise), floats(arrays.initial), arrays.discount, arrays.name
    )
