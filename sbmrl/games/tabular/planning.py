"""Best responses beyond the plain optimum: ties broken for or against somebody, soft fixed points, rows left open.

Symbols as in `closed_forms`. Unbatched and pure; batch with `jax.vmap`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.core.game import greedy
from sbmrl.games.tabular.closed_forms import expected_reward
from sbmrl.games.tabular.mdp import TabularMDP


def break_ties(
    mdp: TabularMDP, action_values: jax.Array, gain: jax.Array, tolerance: jax.typing.ArrayLike
) -> jax.Array:
    """`[T, S, A]` one-hot: among the best actions, those that earn the most `gain` in the world `mdp`.

    Lexicographic backward induction: G_t(s) = max over {a : Q_t(s, a) ≥ max Q_t(s, ·) − tolerance} of
    g_t(s, a) + Σ_s' P(s'|s, a) G_{t+1}(s'). What still ties goes to the lowest action.

    Args:
        mdp: the world in which the gain is earned.
        action_values: `[T, S, A]` Q_t of whoever chooses.
        gain: `[(T,) S, A]` what is earned by whoever breaks the ties.
        tolerance: how far from the best an action may be, in units of Q.
    """

    def step(gains: jax.Array, now: tuple[jax.Array, jax.Array]):
        action_values, gain = now
        tied = action_values >= jnp.max(action_values, axis=-1, keepdims=True) - tolerance
        total: jax.Array = jnp.where(tied, gain + mdp.transition @ gains, -jnp.inf)
        return jnp.max(total, axis=-1), greedy(total)

    start = jnp.zeros(mdp.num_states, gain.dtype)
    gains = jnp.broadcast_to(gain, action_values.shape)
    _, policy = jax.lax.scan(step, start, (action_values, gains), reverse=True)
    return policy


def extreme_rows(mdp: TabularMDP, known: jax.Array, policy: jax.Array, sign: float) -> jax.Array:
    """`[S, A, S]`: `mdp.transition` where `known` `[S, A]`; elsewhere the next state that backward induction finds best
    (sign 1) or worst (sign −1) at the first decision, for the return of `policy` `[S, A]` over T steps.

    With T decisions left that choice is the extreme one; kept for all of them, as a stationary model must, it need not
    be. Pairs of terminal states must be known.
    """

    def open_values(values: jax.Array) -> jax.Array:
        return mdp.reward + mdp.discount * values  # [S, A, S']

    def step(values: jax.Array, _):
        kept = expected_reward(mdp) + mdp.discount * (mdp.transition @ values)
        free = sign * jnp.max(sign * open_values(values), axis=-1)
        return jnp.sum(policy * jnp.where(known, kept, free), axis=-1), None

    values, _ = jax.lax.scan(step, jnp.zeros_like(mdp.initial), length=mdp.horizon)
    rows = greedy(sign * open_values(values))
    return jnp.where(known[..., None], mdp.transition, rows)


class SoftOptimum(NamedTuple):
    """The soft optimum of a discounted problem.

    Attributes:
        policy: `[S, A]` softmax(Q / τ).
        residual: `[]` max_s |(T V)(s) − V(s)|, in units of return.
    """

    policy: jax.Array
    residual: jax.Array


def soft_optimum(
    mdp: TabularMDP, discount: jax.typing.ArrayLike, temperature: jax.typing.ArrayLike, max_iterations: int
) -> SoftOptimum:
    """The fixed point of (T V)(s) = τ log Σ_a exp(Q_V(s, a) / τ), Q_V = r + γ P V, with V = 0 in terminal states.

    Solved by Newton's method, which here is soft policy iteration: V ← V − (T' − I)⁻¹ (T V − V). Its derivative in the
    transition, the reward, γ and τ is that of the fixed point, by the implicit function theorem: no iteration is
    differentiated (`jax.lax.custom_root`, with a dense S × S solve).
    """
    deciding = ~np.array(mdp.terminal)

    def action_values(values: jax.Array) -> jax.Array:
        return expected_reward(mdp) + discount * mdp.transition @ values

    def backup(values: jax.Array) -> jax.Array:
        soft = temperature * jax.nn.logsumexp(action_values(values) / temperature, axis=-1)
        return jnp.where(deciding, soft, 0.0)

    def excess(values: jax.Array) -> jax.Array:
        return backup(values) - values

    # Rounding leaves a residual of some units in the last place of the values, which are at most r_max / (1 − γ).
    scale = jnp.max(jnp.abs(mdp.reward)) / (1.0 - jnp.asarray(discount)) + temperature
    tolerance = 8.0 * jnp.finfo(mdp.transition.dtype).eps * jax.lax.stop_gradient(scale)

    def newton(function, start: jax.Array) -> jax.Array:
        def unfinished(carry):
            values, iteration = carry
            return (jnp.max(jnp.abs(function(values))) > tolerance) & (iteration < max_iterations)

        def step(carry):
            values, iteration = carry
            return values - jnp.linalg.solve(jax.jacobian(function)(values), function(values)), iteration + 1

        return jax.lax.while_loop(unfinished, step, (start, 0))[0]

    def solve_linear(linear, right_side: jax.Array) -> jax.Array:
        return jnp.linalg.solve(jax.jacobian(linear)(right_side), right_side)

    start = jnp.zeros(mdp.num_states, mdp.transition.dtype)
    values = jax.lax.custom_root(excess, start, newton, solve_linear)
    policy = jax.nn.softmax(action_values(values) / temperature, axis=-1)
    return SoftOptimum(policy, jax.lax.stop_gradient(jnp.max(jnp.abs(excess(values)))))
