"""Exact values of finite MDPs: returns, occupancies, optimal values, losses.

Symbols: π `[S, A]` policy (with a clock `[T, S, A]`, where said), P `[S, A, S]` transition, R `[S, A, S]` reward,
ρ `[S]` initial distribution, T horizon, γ discount. Returns over T steps are discounted by the world's own γ, which
is 1 unless it says otherwise; occupancies never are. Terminal states are absorbing and pay 0 (`TabularMDP`). Everything
is differentiable in the policy, the transition and the reward, and unbatched; batch with `jax.vmap`.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.core.game import greedy
from sbmrl.games.tabular.mdp import TabularMDP


def expected_reward(mdp: TabularMDP) -> jax.Array:
    """`[S, A]`: r(s, a) = Σ_s' P(s'|s, a) R(s, a, s')."""
    return jnp.sum(mdp.transition * mdp.reward, axis=-1)


def _policy_matrices(mdp: TabularMDP, policy: jax.Array) -> tuple[jax.Array, jax.Array]:
    """P_π `[(T,) S, S]` and r_π `[(T,) S]`."""
    clock = (mdp.horizon,) if policy.ndim == 3 else ()
    chex.assert_shape(policy, (*clock, mdp.num_states, mdp.num_actions))
    if not clock:
        return jnp.einsum("sa,sat->st", policy, mdp.transition), jnp.sum(policy * expected_reward(mdp), axis=-1)
    chosen = clock_last(policy)
    transition = jnp.sum(chosen[:, :, None, :] * mdp.transition[..., None], axis=1)
    reward = jnp.sum(chosen * expected_reward(mdp)[..., None], axis=1)
    return clock_first(transition), clock_first(reward)


def clock_last(x: jax.Array) -> jax.Array:
    """`[T, ...] -> [..., T]`: T is long and the other axes are not, so work on all times at once wants it last."""
    return jnp.moveaxis(x, 0, -1)


def clock_first(x: jax.Array) -> jax.Array:
    """`[..., T] -> [T, ...]`."""
    return jnp.moveaxis(x, -1, 0)


_UNROLL = 5  # steps of a backward induction in one loop body: the matrices are tiny, the loop's overhead is not


def finite_horizon_values(mdp: TabularMDP, policy: jax.Array) -> jax.Array:
    """`[S]`: V_T with V_0 = 0, V_{k+1} = r_π + γ P_π V_k; the return over T steps of `policy` `[(T,) S, A]`."""
    matrices = _policy_matrices(mdp, policy)

    def step(values: jax.Array, now: tuple[jax.Array, jax.Array] | None):
        transition, reward = matrices if now is None else now
        return reward + mdp.discount * (transition @ values), None

    start = jnp.zeros(mdp.num_states, matrices[1].dtype)
    clock = matrices if policy.ndim == 3 else None
    return jax.lax.scan(step, start, clock, length=mdp.horizon, reverse=True, unroll=_UNROLL)[0]


def finite_horizon_return(mdp: TabularMDP, policy: jax.Array) -> jax.Array:
    """J_T(π, M) = ρᵀ V_T, the return over T steps; π `[(T,) S, A]`."""
    return mdp.initial @ finite_horizon_values(mdp, policy)


def discounted_return(mdp: TabularMDP, policy: jax.Array, discount: jax.typing.ArrayLike) -> jax.Array:
    """J_γ(π, M) = ρᵀ (I − γ P_π)⁻¹ r_π, over an infinite horizon, γ < 1."""
    transition, reward = _policy_matrices(mdp, policy)
    return mdp.initial @ jnp.linalg.solve(jnp.eye(mdp.num_states) - discount * transition, reward)


def _over_decisions(mdp: TabularMDP, visits: jax.Array) -> jax.Array:
    deciding = ~np.array(mdp.terminal)
    weight = jnp.where(deciding[:, None], visits, 0.0)
    return weight / jnp.sum(weight)


def expected_visits(mdp: TabularMDP, policy: jax.Array) -> jax.Array:
    """`[S, A]`: Σ_{t<T} P(s_t = s, a_t = a) for π `[(T,) S, A]`, time spent in terminal states included; sums to T."""
    transition, _ = _policy_matrices(mdp, policy)

    def step(state: jax.Array, now: jax.Array | None):
        return state @ (transition if now is None else now), state

    clock = transition if policy.ndim == 3 else None
    start = mdp.initial.astype(transition.dtype)
    _, states = jax.lax.scan(step, start, clock, length=mdp.horizon, unroll=_UNROLL)
    if policy.ndim == 3:
        return jnp.sum(clock_last(states)[:, None, :] * clock_last(policy), axis=-1)
    return jnp.sum(states, axis=0)[:, None] * policy


def finite_horizon_occupancy(mdp: TabularMDP, policy: jax.Array) -> jax.Array:
    """`[S, A]`: μ_M^π(s, a) ∝ Σ_{t<T} P(s_t = s, a_t = a), over the pairs in which somebody decides; sums to 1.

    The poster's definition, (1/T) Σ_t. Where an episode can end early the sum is divided by the expected number
    of decisions instead of T: μ is the distribution of the data that π causes. π `[(T,) S, A]`.
    """
    return _over_decisions(mdp, expected_visits(mdp, policy))


def discounted_occupancy(mdp: TabularMDP, policy: jax.Array, discount: jax.typing.ArrayLike) -> jax.Array:
    """`[S, A]`: μ_γ(s, a) ∝ Σ_t γᵗ P(s_t = s, a_t = a) = [(I − γ P_πᵀ)⁻¹ ρ](s) π(a|s); sums to 1 over decisions."""
    transition, _ = _policy_matrices(mdp, policy)
    total = jnp.linalg.solve((jnp.eye(mdp.num_states) - discount * transition).T, mdp.initial)
    return _over_decisions(mdp, total[:, None] * policy)


class OptimalPlan(NamedTuple):
    """The best that can be done.

    Attributes:
        value: `[]` optimal expected return from the initial distribution.
        values: `[S]` optimal values at the first decision.
        policy: `[S, A]` greedy policy at the first decision (ties go to the lowest action).
    """

    value: jax.Array
    values: jax.Array
    policy: jax.Array


def optimal_action_values(mdp: TabularMDP, temperature: jax.typing.ArrayLike | None = None) -> jax.Array:
    """`[T, S, A]`: Q_t by backward induction, Q_t = r + γ P V_{t+1}, V_T = 0.

    V = max_a Q, or with a temperature τ the soft maximum V = τ log Σ_a exp(Q / τ) of the problem with entropy bonus τ.
    """
    reward = expected_reward(mdp)

    def best(action_values: jax.Array) -> jax.Array:
        if temperature is None:
            return jnp.max(action_values, axis=-1)
        soft = temperature * jax.nn.logsumexp(action_values / temperature, axis=-1)
        return jnp.where(np.array(mdp.terminal), 0.0, soft)  # nobody chooses in a terminal state

    def step(values: jax.Array, _):
        action_values = reward + mdp.discount * (mdp.transition @ values)
        return best(action_values), action_values

    start = jnp.zeros(mdp.num_states, reward.dtype)
    _, action_values = jax.lax.scan(step, start, length=mdp.horizon, unroll=_UNROLL)
    return action_values[::-1]


def finite_horizon_optimum(mdp: TabularMDP) -> OptimalPlan:
    """Backward induction over T steps: V_{k+1}(s) = max_a r(s, a) + γ Σ_s' P(s'|s, a) V_k(s').

    The value is the maximum over *all* policies, time-dependent ones included.
    """
    action_values = optimal_action_values(mdp)[0]
    values = jnp.max(action_values, axis=-1)
    return OptimalPlan(mdp.initial @ values, values, greedy(action_values))


def discounted_optimum(mdp: TabularMDP, discount: jax.typing.ArrayLike) -> OptimalPlan:
    """Policy iteration to its fixed point: max_π J_γ(π, M), exact up to the linear solve.

    The value is differentiable: an optimum has the derivative that it has with the optimal policy held fixed.
    """
    identity = jnp.eye(mdp.num_states)

    def improve(mdp: TabularMDP, policy: jax.Array, discount: jax.typing.ArrayLike):
        transition, policy_reward = _policy_matrices(mdp, policy)
        values = jnp.linalg.solve(identity - discount * transition, policy_reward)
        return expected_reward(mdp) + discount * mdp.transition @ values, values

    fixed = jax.lax.stop_gradient((mdp, discount))

    def unfinished(carry):
        policy, previous, iteration = carry
        # Rounding can make two equal policies alternate for ever; A·S improvements always suffice in practice.
        return jnp.any(policy != previous) & (iteration < mdp.num_states * mdp.num_actions + 1)

    def step(carry):
        policy, _, iteration = carry
        return better(policy), policy, iteration + 1

    def better(policy: jax.Array) -> jax.Array:
        return greedy(improve(fixed[0], policy, fixed[1])[0])

    start = greedy(expected_reward(fixed[0]))
    policy, _, _ = jax.lax.while_loop(unfinished, step, (better(start), start, 0))
    action_values, values = improve(mdp, policy, discount)
    return OptimalPlan(mdp.initial @ values, values, greedy(action_values))


def uniform_policy(mdp: TabularMDP) -> jax.Array:
    """`[S, A]`: every action equally likely."""
    return jnp.full((mdp.num_states, mdp.num_actions), 1.0 / mdp.num_actions)


def kl_divergence(true_rows: jax.Array, predicted_rows: jax.Array) -> jax.Array:
    """`[...]`: KL(P ‖ P̂) = Σ_s' P(s') log(P(s') / P̂(s')) over the last axis, in nats; 0 log 0 = 0."""
    return jnp.sum(true_rows * (safe_log(true_rows) - safe_log(predicted_rows)), axis=-1)


def cross_entropy(true_rows: jax.Array, predicted_rows: jax.Array) -> jax.Array:
    """`[...]`: −Σ_s' P(s') log P̂(s') = KL(P ‖ P̂) + the entropy of P, in nats; 0 log 0 = 0."""
    return -jnp.sum(true_rows * safe_log(predicted_rows), axis=-1)


def brier_score(true_rows: jax.Array, predicted_rows: jax.Array) -> jax.Array:
    """`[...]`: E_{s'∼P} Σ_i (P̂(i) − 1[i = s'])² = Σ(P̂ − P)² + 1 − ΣP². A correct stochastic row scores 1 − ΣP² > 0."""
    return excess_brier_score(true_rows, predicted_rows) + 1.0 - jnp.sum(true_rows**2, axis=-1)


def excess_brier_score(true_rows: jax.Array, predicted_rows: jax.Array) -> jax.Array:
    """`[...]`: Σ_i (P̂(i) − P(i))²: the Brier score without what a correct row costs."""
    return jnp.sum((predicted_rows - true_rows) ** 2, axis=-1)


def safe_log(probabilities: jax.Array) -> jax.Array:
    """Log p, cut off at the smallest normal float (−87.3 in float32) so that a 0 stays a finite, huge loss."""
    return jnp.log(jnp.maximum(probabilities, jnp.finfo(probabilities.dtype).tiny))
