"""Angles are seen as (cos, sin): no jump at ±π, and a prediction off the circle can be put back onto it."""

import jax
import jax.numpy as jnp


def seen(angle: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(cos, sin) of an angle in radians."""
    return jnp.cos(angle), jnp.sin(angle)


def angle_of(cosine: jax.Array, sine: jax.Array) -> jax.Array:
    """The angle in radians, −π..π."""
    return jnp.arctan2(sine, cosine)


def on_circle(cosine: jax.Array, sine: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The nearest (cos, sin); the angle 0 for the middle of the circle, which has no nearest."""
    square = cosine**2 + sine**2
    lost = square < 1e-12
    # The inner `where` keeps the gradient finite where the outer one throws the value away.
    norm = jnp.sqrt(jnp.where(lost, 1.0, square))
    return jnp.where(lost, 1.0, cosine / norm), jnp.where(lost, 0.0, sine / norm)
