"""The probability distributions of the players. The only module that imports distrax, and only where one is made: that
takes half a second.
"""

from typing import Any

import jax
import jax.numpy as jnp

Distribution = Any


def categorical(logits: jax.Array) -> Distribution:
    """A choice among N actions, from logits `[..., N]`."""
    import distrax

    return distrax.Categorical(logits=logits)


def diagonal_gaussian(mean: jax.Array, log_standard_deviation: jax.Array) -> Distribution:
    """A vector in `R^N`, from its mean `[..., N]` and a log standard deviation `[N]` that all states share."""
    import distrax

    scale = jnp.broadcast_to(jnp.exp(log_standard_deviation), mean.shape)
    return distrax.Independent(distrax.Normal(mean, scale), reinterpreted_batch_ndims=1)
