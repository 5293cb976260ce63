"""Exact values of finite MDPs: returns, occupancies, optimal values, losses.

Symbols: π `[S, A]` policy (with a clock `[T, S, A]`, where said), P `[S, A, S]` transition, R `[S, A, S]` reward,
ρ `[S]` initial distribution, T horizon, γ discount. Returns over T steps are discounted by the world's own γ, which
is 1 unless it says otherwise; occupancies never are. Terminal states are absorbing and pay 0 (`TabularMDP`). Everything
is differentiable in the policy, the transition and the reward, and unbatched; batch with `jax.vmap`.
"""

import functools
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
    """P_π `[S, S]` and r_π `[S]` of a policy without a clock."""
    chex.assert_shape(policy, (mdp.num_states, mdp.num_actions))
    return jnp.einsum("sa,sat->st", policy, mdp.transition), jnp.sum(policy * expected_reward(mdp), axis=-1)


def clock_last(x: jax.Array) -> jax.Array:
    """`[T, ...] -> [..., T]`: T is long and the other axes are not, so work on all times at once wants it last."""
    return jnp.moveaxis(x, 0, -1)


def clock_first(x: jax.Array) -> jax.Array:
    """`[..., T] -> [T, ...]`."""
    return jnp.moveaxis(x, -1, 0)


_UNROLL = 5  # steps of a backward induction in one loop body: the matrices are tiny, the loop's overhead is not


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _iterated(transition: jax.Array, reward: jax.Array, num_steps: int) -> jax.Array:
    """`[S]`: V_T with V_0 = 0, V_{k+1} = r + P V_k, for P `[S, S]` and r `[S]`."""
    return _iterated_forward(transition, reward, num_steps)[0]


def _iterated_forward(transition: jax.Array, reward: jax.Array, num_steps: int):
    def step(values: jax.Array, _):
        return reward + transition @ values, values

    values, before = jax.lax.scan(step, jnp.zeros_like(reward), length=num_steps, unroll=_UNROLL)
    return values, (transition, before)


def _iterated_backward(num_steps: int, kept: tuple[jax.Array, jax.Array], slope: jax.Array):
    """The adjoint of values is the occupancy: m ← m P; with all of both, dP = Σ_k m_k ⊗ V_k is one product."""
    transition, before = kept

    def step(visits: jax.Array, _):
        return visits @ transition, visits

    _, visits = jax.lax.scan(step, slope, length=num_steps, unroll=_UNROLL)
    return visits.T @ before[::-1], jnp.sum(visits, axis=0)


_iterated.defvjp(_iterated_forward, _iterated_backward)


@jax.custom_vjp
def _followed(policy: jax.Array, transition: jax.Array, reward: jax.Array) -> jax.Array:
    """`[S]`: V_0 with V_T = 0, V_t(s) = Σ_a π_t(a|s) (r(s, a) + Σ_s' P(s'|s, a) V_{t+1}(s')), for π `[T, S, A]`."""
    return _followed_forward(policy, transition, reward)[0]


def _followed_forward(policy: jax.Array, transition: jax.Array, reward: jax.Array):
    def step(values: jax.Array, now: jax.Array):
        return jnp.sum(now * (reward + transition @ values), axis=-1), values

    start = jnp.zeros(policy.shape[1], reward.dtype)
    values, after = jax.lax.scan(step, start, policy, reverse=True, unroll=_UNROLL)
    return values, (policy, transition, reward, after)


def _followed_backward(kept: tuple[jax.Array, ...], slope: jax.Array):
    """As `_iterated`'s: occupancies forwards, then dP as one product over all times; dπ_t(a|s) = m_t(s) Q_t(s, a)."""
    policy, transition, reward, after = kept

    def step(visits: jax.Array, now: jax.Array):
        pairs = visits[:, None] * now
        return jnp.tensordot(pairs, transition, 2), (visits, pairs)

    _, (visits, pairs) = jax.lax.scan(step, slope, policy, unroll=_UNROLL)
    action_values = reward + jnp.tensordot(after, transition, (1, 2))
    return visits[..., None] * action_values, jnp.tensordot(pairs, after, (0, 0)), jnp.sum(pairs, axis=0)


_followed.defvjp(_followed_forward, _followed_backward)


def finite_horizon_values(mdp: TabularMDP, policy: jax.Array) -> jax.Array:
    """`[S]`: V_T with V_0 = 0, V_{k+1} = r_π + γ P_π V_k; the return over T steps of `policy` `[(T,) S, A]`."""
    if policy.ndim == 2:
        transition, reward = _policy_matrices(mdp, policy)
        return _iterated(mdp.discount * transition, reward, mdp.horizon)
    chex.assert_shape(policy, (mdp.horizon, mdp.num_states, mdp.num_actions))
    return _followed(policy, mdp.discount * mdp.transition, expected_reward(mdp))


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
    start = mdp.initial.astype(mdp.transition.dtype)
    if policy.ndim == 2:
        transition, _ = _policy_matrices(mdp, policy)
        _, states = jax.lax.scan(lambda m, _: (m @ transition, m), start, length=mdp.horizon, unroll=_UNROLL)
        return jnp.sum(states, axis=0)[:, None] * policy
    chex.assert_shape(policy, (mdp.horizon, mdp.num_states, mdp.num_actions))

    def step(carry: tuple[jax.Array, jax.Array], now: jax.Array):
        states, visits = carry
        pairs = states[:, None] * now
        return (jnp.tensordot(pairs, mdp.transition, 2), visits + pairs), None

    none = jnp.zeros(policy.shape[1:], start.dtype)
    return jax.lax.scan(step, (start, none), policy, unroll=_UNROLL)[0][1]


def finite_horizon_occupancy(mdp: TabularMDP, policy: jax.Array) -> jax.Array:
    """`[S, A]`: μ_M^π(s, a) ∝ Σ_{t<T} P(s_t = s, a_t = a), over the pairs in which somebody decides; sums to 1.

    The poster's definition, (1/T) Σ_t. Where an episode can end early the sum is divided by the expected number
    of decisions instead of T: μ is the distribution of the data that π causes. π `[(T,) S, A]`.
    """
    return _over_decisions(mdp, expected_visits(mdp, policy))


def mean_occupancy(mdp: TabularMDP, policies: jax.Array) -> jax.Array:
    """`[S, A]`: the mean of `finite_horizon_occupancy` over policies π `[N, S, A]`.

    One product `[N, S·A] × [S·A, S]` a time step moves them all. The matrices P_π `[S, S]` by which one policy alone is
    moved cheaply would be N·S² numbers, read at every step.
    """
    start = jnp.broadcast_to(mdp.initial.astype(mdp.transition.dtype), policies.shape[:2])

    def step(carry: tuple[jax.Array, jax.Array], _: None):
        states, total = carry
        following = jnp.einsum("nsa,sat->nt", states[..., None] * policies, mdp.transition)
        return (following, total + states), None

    (_, total), _ = jax.lax.scan(step, (start, jnp.zeros_like(start)), length=mdp.horizon)
    return jnp.mean(jax.vmap(_over_decisions, (None, 0))(mdp, total[..., None] * policies), axis=0)


def discounted_occupancy(mdp: TabularMDP, policy: jax.Array, discount: jax.typing.ArrayLike) -> jax.Array:
    """`[S, A]`: μ_γ(s, a) ∝ Σ_t γᵗ P(s_t = s, a_t = a) = ((I − γ P_πᵀ)⁻¹ ρ)(s) π(a|s); sums to 1 over decisions."""
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


def _best(deciding: np.ndarray, action_values: jax.Array, temperature: jax.Array | None) -> jax.Array:
    """`[S]`: max_a Q, or τ log Σ_a exp(Q / τ); nobody chooses in a terminal state."""
    if temperature is None:
        return jnp.max(action_values, axis=-1)
    soft = temperature * jax.nn.logsumexp(action_values / temperature, axis=-1)
    return jnp.where(deciding, soft, 0.0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _induced(
    transition: jax.Array, reward: jax.Array, temperature: jax.Array | None, terminal: tuple[bool, ...], num_steps: int
) -> jax.Array:
    """`[T, S, A]`: Q_t = r + P V_{t+1}, V_T = 0, V = `_best` of Q."""
    return _induced_forward(transition, reward, temperature, terminal, num_steps)[0]


def _induced_forward(transition, reward, temperature, terminal, num_steps):
    deciding = ~np.array(terminal)

    def step(values: jax.Array, _):
        action_values = reward + transition @ values
        return _best(deciding, action_values, temperature), (action_values, values)

    start = jnp.zeros(len(terminal), reward.dtype)
    _, (action_values, after) = jax.lax.scan(step, start, length=num_steps, unroll=_UNROLL)
    return action_values[::-1], (transition, temperature, action_values[::-1], after[::-1])


def _induced_backward(terminal, num_steps, kept, slopes: jax.Array):
    """Forwards in time: what moves Q_t moves V_t, and by P all of Q_{t−1}; then dP = Σ_t dQ_t ⊗ V_{t+1} at once."""
    transition, temperature, action_values, after = kept
    deciding = ~np.array(terminal)

    def step(carry, now):
        slope_of_values, slope_of_temperature = carry
        slope, own = now
        _, pull = jax.vjp(lambda q, t: _best(deciding, q, t), own, temperature)
        more, heat = pull(slope_of_values)
        total = slope + more
        heat = None if temperature is None else slope_of_temperature + heat
        return (jnp.tensordot(total, transition, 2), heat), total

    start = jnp.zeros(len(terminal), slopes.dtype), None if temperature is None else jnp.zeros_like(temperature)
    (_, heat), total = jax.lax.scan(step, start, (slopes, action_values), unroll=_UNROLL)
    return jnp.tensordot(total, after, (0, 0)), jnp.sum(total, axis=0), heat


_induced.defvjp(_induced_forward, _induced_backward)


def optimal_action_values(mdp: TabularMDP, temperature: jax.typing.ArrayLike | None = None) -> jax.Array:
    """`[T, S, A]`: Q_t by backward induction, Q_t = r + γ P V_{t+1}, V_T = 0.

    V = max_a Q, or with a temperature τ the soft maximum V = τ log Σ_a exp(Q / τ) of the problem with entropy bonus τ.
    """
    reward = expected_reward(mdp)
    given = None if temperature is None else jnp.asarray(temperature, reward.dtype)
    return _induced(mdp.discount * mdp.transition, reward, given, mdp.terminal, mdp.horizon)


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
