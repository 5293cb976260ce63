"""The right-hand sides of the theorems, with the constants derived in docs/theory.md.

Symbols: R half of the reward's span, (max R − min R) / 2 ≤ max |R|; H the horizon, 1/(1 − γ) for discounted returns
and T for returns over T steps; c the gap's coefficient, so that |J(π, M) − J(π, M̂)| ≤ c·√ℓ for every policy π, with ℓ
the *excess* loss of M̂ on π's data: what it costs above the truth. All occupancies are averaged over time.

Every function takes scalars, possibly traced. Where a bound says nothing (α at an end that it divides by, an infinite
concentrability) it is ∞, never NaN.

Sources: Rajeswaran et al. (2020), arXiv 2004.07804, for theorem 1; the poster for theorem 2; Ross & Bagnell (2012),
arXiv 1203.1007, for aggregated data. The constants are this project's.
"""

import jax
import jax.numpy as jnp

Scalar = jax.typing.ArrayLike


def half_span(reward: jax.Array) -> jax.Array:
    """`[]` R = (max − min) / 2 of a reward `[S, A, S]`: a constant added to all rewards changes no difference."""
    return 0.5 * (jnp.max(reward) - jnp.min(reward))


def squared_horizon(num_steps: Scalar) -> jax.Array:
    """T·√((T + 1)(2T + 1)/6), between T²/√3 and T²: over T steps, what H² is for the discounted Brier gap."""
    steps = jnp.asarray(num_steps)
    return steps * jnp.sqrt((steps + 1.0) * (2.0 * steps + 1.0) / 6.0)


def simulation_gap(epsilon_model: Scalar, reward_bound: Scalar, horizon: Scalar) -> jax.Array:
    """|J(π, M) − J(π, M̂)| ≤ √2·R·H^{3/2}·√ε_M, ε_M = E_μ KL(P ‖ P̂); c is its value at ε_M = 1."""
    return jnp.sqrt(2.0 * jnp.asarray(epsilon_model)) * reward_bound * jnp.asarray(horizon) ** 1.5


def simulation_gap_brier(
    squared_error: Scalar, reward_bound: Scalar, horizon_squared: Scalar, num_states: int
) -> jax.Array:
    """|J(π, M) − J(π, M̂)| ≤ √(S − [S odd]/S)·R·H²·√d, d = E_μ Σ(P̂ − P)²; c is its value at d = 1.

    Over T steps `squared_horizon(T)` stands for H².
    """
    widest = num_states - (num_states % 2) / num_states  # (Σ|x|)² ≤ this · Σx² where Σx = 0
    return jnp.sqrt(widest * jnp.asarray(squared_error)) * reward_bound * horizon_squared


def theorem_1(
    epsilon_policy: Scalar, gap: Scalar, distance: Scalar, reward_bound: Scalar, horizon: Scalar
) -> jax.Array:
    """J(π*, M) − J(π, M) ≤ ε_π + gap + 2RH·D_TV, in both readings of the distance; `gap` = c√ℓ on π's data."""
    return jnp.asarray(epsilon_policy) + gap + 2.0 * reward_bound * horizon * jnp.asarray(distance)


def theorem_2(epsilon_policy: Scalar, gap: Scalar) -> jax.Array:
    """J(π*, M) − J(π, M) ≤ ε_π + 2·gap, `gap` = c√ℓ with ℓ the larger loss of M̂(π) on π's data and M̂(π*) on π*'s."""
    return jnp.asarray(epsilon_policy) + 2.0 * jnp.asarray(gap)


def reward_in_world(
    excess: Scalar, loss: Scalar, alpha: Scalar, epsilon_truth: Scalar, noise: Scalar = 0.0
) -> jax.Array:
    """J(π*, M) − J(π, M) = ε₀ + (e − α·ℓ + α·noise)/(1 − α), of MAL + agent reward paid in the world.

    Args:
        excess: e = L(M̂, π) − L(M, π₀), L the leader's cost; at most ε for an ε-optimal leader.
        loss: ℓ, the excess loss of M̂ on π's data.
        alpha: α, weight of the loss.
        epsilon_truth: ε₀ = J(π*, M) − J(π₀, M), π₀ what the follower answers to the truth.
        noise: what the raw loss has beyond the excess one, V(μ^π₀) − V(μ^π), V(μ) = ℓ_raw(M, μ); 0 for excess losses.
    """
    numerator = jnp.asarray(excess) - alpha * jnp.asarray(loss) + alpha * jnp.asarray(noise)
    return jnp.asarray(epsilon_truth) + _over(numerator, 1.0 - jnp.asarray(alpha))


def reward_in_model(
    excess: Scalar, alpha: Scalar, coefficient: Scalar, epsilon_truth: Scalar, noise: Scalar = 0.0
) -> jax.Array:
    """J(π*, M) − J(π, M) ≤ ε₀ + (e + α·noise)/(1 − α) + (1 − α)·c²/(4α), of MAL + agent reward paid in the model.

    With KL the last term is (1 − α)·R²·H³/(2α). Arguments as `reward_in_world`'s; `coefficient` is c.
    """
    kept = jnp.asarray(alpha)
    own = _over(jnp.asarray(excess) + kept * jnp.asarray(noise), 1.0 - kept)
    return jnp.asarray(epsilon_truth) + own + _over((1.0 - kept) * jnp.asarray(coefficient) ** 2, 4.0 * kept)


def random_noise(
    epsilon_policy: Scalar,
    excess: Scalar,
    alpha: Scalar,
    concentration: Scalar,
    coefficient: Scalar,
    noise: Scalar = 0.0,
) -> jax.Array:
    """J(π*, M) − J(π, M) ≤ ε_π + c·√((e + α·noise)·(C/(1 − α) + 1/α)), of MAL + random noise.

    Args:
        epsilon_policy: ε_π ≥ J(π*, M̂) − J(π, M̂).
        excess: e = L(M̂, π) − L(M, π₀).
        alpha: α, the share of π's own data.
        concentration: C = max μ^{π*}/ν, ν the wide data.
        coefficient: c.
        noise: as in `reward_in_world`.
    """
    total = jnp.maximum(jnp.asarray(excess) + alpha * jnp.asarray(noise), 0.0)  # never negative but by rounding
    return aggregated(epsilon_policy, total, alpha, concentration, coefficient)


def any_data(
    epsilon_policy: Scalar, loss: Scalar, concentration: Scalar, concentration_policy: Scalar, coefficient: Scalar
) -> jax.Array:
    """J(π*, M) − J(π, M) ≤ ε_π + c·(√C + √C^π)·√ℓ_D, ℓ_D the excess loss of M̂ on any data D.

    `concentration` is C = max μ^{π*}/D, `concentration_policy` C^π = max μ^π/D.
    """
    cover = jnp.sqrt(jnp.asarray(concentration)) + jnp.sqrt(jnp.asarray(concentration_policy))
    return _finite_or_infinite(jnp.asarray(epsilon_policy) + coefficient * cover * jnp.sqrt(jnp.asarray(loss)), cover)


def aggregated(
    epsilon_policy: Scalar, mean_loss: Scalar, alpha: Scalar, concentration: Scalar, coefficient: Scalar
) -> jax.Array:
    """Mean over rounds of J(π*, M) − J(π_n, M) ≤ ε_π + c·√(ε̄·(C/(1 − α) + 1/α)), of practical MAL.

    `mean_loss` is ε̄, the mean of ℓ(M̂_n, D_n), D_n = α·μ^{π_n} + (1 − α)·ν; `epsilon_policy` the mean of the ε_π.
    """
    kept = jnp.asarray(alpha)
    cover = _over(jnp.asarray(concentration), 1.0 - kept) + _over(jnp.ones_like(kept), kept)
    return _finite_or_infinite(
        jnp.asarray(epsilon_policy) + coefficient * jnp.sqrt(jnp.asarray(mean_loss) * cover), cover
    )


def best_share(concentration: Scalar) -> jax.Array:
    """α = 1/(1 + √C), at which `random_noise` is least: ε_π + c·(1 + √C)·√e."""
    return 1.0 / (1.0 + jnp.sqrt(jnp.asarray(concentration)))


def counting_loss(num_states: int, num_actions: int, num_rounds: Scalar) -> jax.Array:
    """E ε̄ ≤ S·A·(S − 1)·log(1 + N/(S·A))/N, of tables that count, one added everywhere; a draw from D_n a round."""
    pairs, rounds = num_states * num_actions, jnp.asarray(num_rounds)
    return pairs * (num_states - 1) * jnp.log1p(rounds / pairs) / rounds


def concentrability(occupancy: jax.Array, data: jax.Array) -> jax.Array:
    """`[]` C = max occupancy/data over the pairs `[S, A]` that are visited; ∞ if the data leave one of them out.

    Terminal pairs must have no occupancy here: nothing is to be predicted there.
    """
    visited, seen = occupancy > 0, data > 0
    ratio = jnp.where(seen, occupancy / jnp.where(seen, data, 1.0), jnp.inf)
    return jnp.max(jnp.where(visited, ratio, 0.0))


def _over(part: jax.Array, whole: jax.Array) -> jax.Array:
    """`part / whole`, and ∞ where `whole` is 0."""
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1.0), jnp.inf)


def _finite_or_infinite(bound: jax.Array, cover: jax.Array) -> jax.Array:
    """The bound, and ∞ where nothing is covered: also where the loss is 0, since ∞ · 0 is not known to be 0."""
    return jnp.where(jnp.isinf(cover), jnp.inf, bound)


def total_variation(left: jax.Array, right: jax.Array) -> jax.Array:
    """`[]` ½ Σ |p − q| over all entries of two distributions."""
    return 0.5 * jnp.sum(jnp.abs(left - right))


def kl_rows(transition: jax.Array, model: jax.Array) -> jax.Array:
    """`[S, A]` KL(P ‖ P̂) of each row, as Σ P (x − log(1 + x)) with x = P̂ / P − 1, and P̂ where P = 0.

    Nothing cancels where the model is nearly right: the root of the loss is what counts, and it would be that of the
    rounding error.
    """
    present = transition > 0
    safe = jnp.where(present, transition, 1.0)
    deviation = jnp.where(present, (model - safe) / safe, 0.0)
    deviation = jnp.maximum(deviation, -1.0 + jnp.finfo(model.dtype).eps)  # P̂ = 0 is a large loss, not an infinite one
    divergence = jnp.where(present, transition * (deviation - jnp.log1p(deviation)), model)
    return jnp.sum(divergence, axis=-1)
