"""The closed forms of a linear-quadratic world.

The world moves as x' = A x + B u + w, w ~ (0, W), from x₀ ~ (0, S₀), and costs Σ_t γᵗ (xᵀQx + uᵀRu) over an infinite
horizon. A policy is u = −K x, a model M̂ = [Â B̂]. F = A − B K is the closed loop; a cost is finite if and only if
√γ·ρ(F) < 1.

Nothing here inverts more than an `[n, n]` or `[m, m]` matrix, so all of it can be mapped over thousands of systems.
Sources: Anderson & Moore (1990), *Optimal Control*, for the equations; Anderson (1978), Int. J. Control 28, for the
doubling of Riccati's.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.games.linear_quadratic.system import LinearQuadraticSystem, control_part, state_part

NUM_DOUBLINGS = 14  # 2¹⁴ = 16,384 steps: exact to rounding unless √γ·ρ(F) is within 1e-4 of 1


def lyapunov(transition: jax.Array, constant: jax.Array) -> jax.Array:
    """`[n, n]` X = F X Fᵀ + C = Σ_k Fᵏ C Fᵀᵏ by doubling; infinite where the sum does not converge.

    Args:
        transition: F `[n, n]`.
        constant: C `[n, n]`.
    """

    def double(carry: tuple[jax.Array, jax.Array], _: None):
        total, power = carry
        return (total + power @ total @ power.T, power @ power), None

    (total, power), _ = jax.lax.scan(double, (constant, transition), length=NUM_DOUBLINGS)
    decays = jnp.sum(power**2) < 1.0  # the power is F to the 16,384th: it vanishes or explodes
    return jnp.where(decays, total, jnp.inf)


class RiccatiSolution(NamedTuple):
    """The optimal control of a system that is known.

    Attributes:
        value: P `[n, n]`, the optimal cost from x is xᵀPx and what the noise adds.
        gain: K `[m, n]`, the optimal policy is u = −K x.
        residual: `[]` how far P is from its equation, in parts of P.
    """

    value: jax.Array
    gain: jax.Array
    residual: jax.Array


def gain_of(system: LinearQuadraticSystem, model: jax.Array, value: jax.Array) -> jax.Array:
    """`[m, n]` K = (R + γ B̂ᵀPB̂)⁻¹ γ B̂ᵀPÂ: the best policy for one step, if xᵀPx is what follows.

    Args:
        system: for its costs.
        model: [Â B̂] `[n, n + m]`.
        value: P `[n, n]`.
    """
    a, b, discount = state_part(model), control_part(model), system.discount
    return jnp.linalg.solve(system.control_cost + discount * b.T @ value @ b, discount * b.T @ value @ a)


def riccati(system: LinearQuadraticSystem, model: jax.Array, num_doublings: int = NUM_DOUBLINGS) -> RiccatiSolution:
    """The optimal control in a model, P = Q + γÂᵀPÂ − γÂᵀPB̂ (R + γB̂ᵀPB̂)⁻¹ γB̂ᵀPÂ, by structured doubling.

    With A₀ = √γÂ, G₀ = γB̂R⁻¹B̂ᵀ, H₀ = Q and V = I + GH: A ← A V⁻¹ A, G ← G + A V⁻¹ G Aᵀ, H ← H + Aᵀ H V⁻¹ A; H → P.

    Args:
        system: for its costs.
        model: [Â B̂] `[n, n + m]`.
        num_doublings: k, which look 2ᵏ steps ahead.
    """
    discount, size = system.discount, model.shape[0]
    a, b = state_part(model), control_part(model)

    def double(carry: tuple[jax.Array, jax.Array, jax.Array], _: None):
        power, spread, value = carry
        inverse = jnp.linalg.inv(jnp.eye(size, dtype=model.dtype) + spread @ value)
        through = power @ inverse
        wider, further = spread + through @ spread @ power.T, value + power.T @ value @ inverse @ power
        return (through @ power, wider, further), None

    start = (discount**0.5 * a, discount * b @ jnp.linalg.solve(system.control_cost, b.T), system.state_cost)
    (_, _, value), _ = jax.lax.scan(double, start, length=num_doublings)
    value = (value + value.T) / 2
    gain = gain_of(system, model, value)
    again = system.state_cost + discount * a.T @ value @ (a - b @ gain)
    residual = jnp.sqrt(jnp.sum((again - value) ** 2) / jnp.sum(value**2))
    return RiccatiSolution(value, gain, residual)


def evaluate(system: LinearQuadraticSystem, model: jax.Array, gain: jax.Array) -> jax.Array:
    """`[n, n]` P_K = (Q + KᵀRK) + γ F̂ᵀ P_K F̂: the cost of a policy in a model from x is xᵀP_Kx, noise apart."""
    loop = closed_loop(model, gain)
    return lyapunov(system.discount**0.5 * loop.T, system.state_cost + gain.T @ system.control_cost @ gain)


def best_response(
    system: LinearQuadraticSystem, model: jax.Array, num_doublings: int = NUM_DOUBLINGS
) -> RiccatiSolution:
    """The optimal control in a model, with its exact first derivative in the model.

    The derivative needs no rule of its own. P_K at the optimal gain has ∂P/∂K = 0, so the policy is held fixed and its
    evaluation and one improvement are differentiated: dP = lyap(√γF̂ᵀ, H + Hᵀ), H = γ dF̂ᵀPF̂ at fixed K, then dK through
    `gain_of`. Second derivatives would be wrong.
    """
    solved = jax.lax.stop_gradient(riccati(system, model, num_doublings))
    value = evaluate(system, model, solved.gain)
    return RiccatiSolution(value, gain_of(system, model, value), solved.residual)


def closed_loop(model: jax.Array, gain: jax.Array) -> jax.Array:
    """`[n, n]` F̂ = Â − B̂ K."""
    return state_part(model) - control_part(model) @ gain


def second_moment(
    system: LinearQuadraticSystem, model: jax.Array, gain: jax.Array, action_noise: jax.typing.ArrayLike = 0.0
) -> jax.Array:
    """`[n, n]` M = Σ_t γᵗ E[x_t x_tᵀ] = lyap(√γF̂, S₀ + γ/(1−γ)·(W + σ²B̂B̂ᵀ)) of a policy in a model.

    Args:
        system: for its noise, start and discount.
        model: [Â B̂] `[n, n + m]`.
        gain: K `[m, n]`.
        action_noise: σ², the variance of what is added to each action.
    """
    discount, b = system.discount, control_part(model)
    noise = system.noise + action_noise * b @ b.T
    return lyapunov(discount**0.5 * closed_loop(model, gain), system.initial + discount / (1.0 - discount) * noise)


def cost(
    system: LinearQuadraticSystem, model: jax.Array, gain: jax.Array, action_noise: jax.typing.ArrayLike = 0.0
) -> jax.Array:
    """`[]` J(K, M̂) = tr((Q + KᵀRK) M) + σ²·tr(R)/(1−γ), the expected discounted cost; infinite if unstable."""
    moment = second_moment(system, model, gain, action_noise)
    paid = jnp.sum((system.state_cost + gain.T @ system.control_cost @ gain) * moment)
    noise = action_noise * jnp.trace(system.control_cost) / (1.0 - system.discount)
    return jnp.where(jnp.isnan(paid), jnp.inf, paid) + noise  # ∞ − ∞ where the moment is infinite


def occupancy(system: LinearQuadraticSystem, gain: jax.Array, action_noise: jax.typing.ArrayLike) -> jax.Array:
    """`[n + m, n + m]` Z = (1−γ) Σ_t γᵗ E[z_t z_tᵀ], z = (x, u), of a policy in the world: what its data tell.

    Z = (1−γ) G M Gᵀ + diag(0, σ²I) with G = [I; −K].
    """
    size, num_controls = system.num_states, system.num_controls
    moment = (1.0 - system.discount) * second_moment(system, system.truth, gain, action_noise)
    both = jnp.concatenate([jnp.eye(size, dtype=gain.dtype), -gain])
    own = jnp.concatenate([jnp.zeros(size, gain.dtype), jnp.ones(num_controls, gain.dtype)])
    return both @ moment @ both.T + action_noise * jnp.diag(own)


def squared_error(system: LinearQuadraticSystem, model: jax.Array, data: jax.Array) -> jax.Array:
    """`[]` ℓ = E‖(M̂ − M) z‖² = tr(D Z Dᵀ), D = M̂ − M; relative to the truth, so the world's noise is not in it.

    Args:
        system: the world M.
        model: [Â B̂] `[n, n + m]`.
        data: Z `[n + m, n + m]`.
    """
    error = model - system.truth
    return jnp.sum((error @ data) * error)


def kl_divergence(system: LinearQuadraticSystem, model: jax.Array, data: jax.Array) -> jax.Array:
    """`[]` ℓ = E KL(N(Mz, W) ‖ N(M̂z, W)) = ½ tr(W⁻¹ D Z Dᵀ): for Gaussian noise of known covariance W."""
    error = model - system.truth
    return 0.5 * jnp.sum(jnp.linalg.solve(system.noise, error @ data) * error)


def self_confirming_model(system: LinearQuadraticSystem, gain: jax.Array) -> jax.Array:
    """`[n, n + m]`: the one model with loss 0 on a policy's own data in which that policy is optimal.

    B̂ = (γ P_K F)⁻ᵀ KᵀR, Â = A + (B̂ − B) K, P_K the world's, F invertible (docs/theory.md, "Linear-quadratic worlds"):
    the closed loop is the world's, so the costs agree, and the condition of optimality R K = γ B̂ᵀ P_K F holds.
    """
    a, b = state_part(system.truth), control_part(system.truth)
    ahead = system.discount * evaluate(system, system.truth, gain) @ closed_loop(system.truth, gain)
    believed = jnp.linalg.solve(ahead.T, gain.T @ system.control_cost)
    return jnp.concatenate([a + (believed - b) @ gain, believed], axis=1)


def policy_gradient(system: LinearQuadraticSystem, model: jax.Array, gain: jax.Array) -> jax.Array:
    """`[m, n]` ∂J/∂K = 2 [(R + γB̂ᵀPB̂) K − γB̂ᵀPÂ] M in a model (Fazel et al. 2018, lemma 1)."""
    return 2.0 * natural_policy_gradient(system, model, gain) @ second_moment(system, model, gain)


def natural_policy_gradient(system: LinearQuadraticSystem, model: jax.Array, gain: jax.Array) -> jax.Array:
    """`[m, n]` (R + γB̂ᵀPB̂) K − γB̂ᵀPÂ: the policy gradient without 2·M, which is the metric of the data."""
    a, b = state_part(model), control_part(model)
    value = system.discount * evaluate(system, model, gain)
    return (system.control_cost + b.T @ value @ b) @ gain - b.T @ value @ a


def square_root(covariance: jax.Array) -> jax.Array:
    """`[n, n]` S with S Sᵀ = covariance, which may be singular."""
    values, vectors = jnp.linalg.eigh(covariance)
    return vectors * jnp.sqrt(jnp.maximum(values, 0.0))
