"""The natural gradient of a policy (Amari 1998, Kakade 2001): its Fisher information, and a step in that metric."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.game import Head
from sbmrl.core.players import Params


def _inner(left: Params, right: Params) -> jax.Array:
    """`[]`: the inner product of two trees."""
    return jnp.asarray(optax.tree.vdot(left, right))


def conjugate_gradient(product: Callable[[Params], Params], vector: Params, num_iterations: int) -> Params:
    """Solve A x = b by conjugate gradients from x = 0 (Hestenes & Stiefel 1952), always in `num_iterations` steps.

    Where the residual r is down to rounding, |r| ≤ ε |b|, x is kept; b = 0 gives x = 0, and NaN in b gives NaN.

    Args:
        product: (v) -> A v for a symmetric positive definite A.
        vector: b, any pytree of arrays.
        num_iterations: steps; as many as b has numbers are enough but for rounding.
    """
    squared = _inner(vector, vector)
    least = jnp.finfo(squared.dtype).eps ** 2 * squared

    def step(carry: tuple[Params, Params, Params, jax.Array], _):
        x, residual, direction, squared = carry
        image = product(direction)
        curvature = _inner(direction, image)
        done = (squared <= least) | (curvature <= 0.0)
        length = jnp.where(done, 0.0, squared / jnp.where(done, 1.0, curvature))
        x = optax.tree.add_scale(x, length, direction)
        residual = optax.tree.add_scale(residual, -length, image)
        new_squared = _inner(residual, residual)
        turn = jnp.where(done, 0.0, new_squared / jnp.where(done, 1.0, squared))
        return (x, residual, optax.tree.add_scale(residual, turn, direction), new_squared), None

    (x, *_), _ = jax.lax.scan(step, (optax.tree.zeros_like(vector), vector, vector, squared), length=num_iterations)
    return x


def categorical_metric(logits: jax.Array, tangent: jax.Array) -> jax.Array:
    """`[..., N]`: (diag p − p pᵀ) t, p = softmax(logits): the Fisher information of logits `[..., N]` times t."""
    probabilities = jax.nn.softmax(logits)
    along = probabilities * tangent
    return along - probabilities * jnp.sum(along, axis=-1, keepdims=True)


def gaussian_metric(
    parameters: tuple[jax.Array, jax.Array], tangent: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """(σ⁻² t_μ, 2 t_log σ): the Fisher information of mean and log σ, `[..., N]` each, times their tangents."""
    (_, log_standard_deviation), (mean_tangent, spread_tangent) = parameters, tangent
    return jnp.exp(-2.0 * log_standard_deviation) * mean_tangent, 2.0 * spread_tangent


METRICS: dict[Head, Callable[[Any, Any], Any]] = {"categorical": categorical_metric, "gaussian": gaussian_metric}


def fisher_vector_product(
    distribution_parameters: Callable[[Params], Any],
    head: Head,
    params: Params,
    weight: jax.Array | None = None,
) -> Callable[[Params], Params]:
    """(v) -> F v, F = E_s[J(s)ᵀ G(s) J(s)]: the Fisher information of the policy at θ, in Gauss–Newton form.

    J is the derivative of the distribution's own parameters, G their Fisher information (`METRICS`). So F is exact, the
    Hessian at θ of the mean KL divergence from π_θ to another policy, without a second derivative of the network.

    Args:
        distribution_parameters: (θ) -> of the distributions at B states, `[B, N]` each (see `Player`).
        head: the distribution.
        params: θ.
        weight: `[B]` of the states in the mean; all alike where there is none.
    """
    outputs, pullback = jax.vjp(distribution_parameters, params)
    # J is the transpose of Jᵀ: the networks' own derivative rules go backwards only, so jvp cannot be had from them.
    push = jax.linear_transpose(pullback, outputs)
    count = len(jax.tree.leaves(outputs)[0])
    share = jnp.full(count, 1.0 / count) if weight is None else weight / jnp.maximum(jnp.sum(weight), 1.0)

    def product(vector: Params) -> Params:
        (tangent,) = push((vector,))
        return pullback(jax.tree.map(lambda x: share[:, None] * x, METRICS[head](outputs, tangent)))[0]

    return product


def natural_step(
    product: Callable[[Params], Params],
    gradient: Params,
    step_size: jax.typing.ArrayLike,
    damping: jax.typing.ArrayLike,
    num_iterations: int,
) -> Params:
    """√(δ / |g·x|) x, x = (F + damping·I)⁻¹ g; 0 where g is 0, and not finite where g is not.

    For a small damping its squared length stepᵀ F step is δ, which is twice the KL divergence it makes.

    Args:
        product: (v) -> F v.
        gradient: g of what is maximised.
        step_size: δ.
        damping: added to F's diagonal.
        num_iterations: of conjugate gradients.
    """
    direction = conjugate_gradient(lambda v: optax.tree.add_scale(product(v), damping, v), gradient, num_iterations)
    rise = jnp.abs(_inner(gradient, direction))
    flat = rise == 0.0
    return optax.tree.scale(jnp.where(flat, 0.0, jnp.sqrt(step_size / jnp.where(flat, 1.0, rise))), direction)
