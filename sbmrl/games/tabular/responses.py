"""The exact best responses of model-based RL: plans in a model, and models of a policy's data.

A policy plans by backward induction in the model and answers with a clock, π `[T, S, A]`: the best response among *all*
policies. Hard backups have no derivative in the model; soft ones (an entropy bonus τ) are differentiated through the
induction. A model knows the true conditionals, or their maximum-likelihood estimate from N transitions of the leader's
data. Source: Gerstgrasser & Parkes (2023), "oracles"; ties as in strong and weak Stackelberg equilibria (Breton, Alj &
Haurie 1988).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.core.formulation import Formulation, Weights
from sbmrl.core.game import Profile, SoftResponse, Strategy, at_time, greedy, sample_row
from sbmrl.games.tabular.closed_forms import (
    clock_first,
    clock_last,
    expected_reward,
    expected_visits,
    finite_horizon_occupancy,
    optimal_action_values,
)
from sbmrl.games.tabular.mdp import TabularMDP, imagined, with_transition
from sbmrl.games.tabular.options import ConditionalsOptions, PlanOptions, SoftOptions
from sbmrl.games.tabular.payoffs import Measurement, pair_losses
from sbmrl.games.tabular.planning import SoftOptimum, break_ties, extreme_rows, soft_optimum

_SIGN = {"optimistic": 1.0, "pessimistic": -1.0}  # the leader's favourite, or its worst


def sample_transitions(key: jax.Array, mdp: TabularMDP, policy: Strategy, num_transitions: int) -> jax.Array:
    """`[S, A, S]`: counts of transitions, each drawn from the policy's own in the world."""
    flow = finite_horizon_occupancy(mdp, policy)[..., None] * mdp.transition
    keys = jax.random.split(key, num_transitions)
    drawn = jax.vmap(sample_row, (0, None))(keys, jax.lax.stop_gradient(flow).ravel())
    return jnp.bincount(drawn, length=flow.size).astype(flow.dtype).reshape(flow.shape)


def best_response(
    measurement: Measurement, formulation: Formulation, options: PlanOptions | ConditionalsOptions
) -> Callable[[jax.Array, Profile], Strategy]:
    """The follower's: a policy's plan or a model's conditionals, whose key draws maximum-likelihood transitions."""
    if isinstance(options, PlanOptions):
        return lambda key, given: _plan(measurement, formulation, options, given["model"])
    return lambda key, given: _fitted(key, measurement.mdp, options, given["policy"])


def soft_response(mdp: TabularMDP, formulation: Formulation, options: SoftOptions) -> SoftResponse:
    """A policy's, over an infinite horizon: the optimum of the discounted problem with entropy bonus τ.

    Its residual is that of the soft Bellman equation, in units of return. A model's soft best response is the exact
    one: with all the data there is nothing to trade off.
    """
    if formulation.follower == "model":
        return SoftResponse(lambda given: mdp.transition, lambda given: jnp.zeros(()))

    def solve(given: Profile) -> SoftOptimum:
        world = imagined(mdp, given["model"])
        return soft_optimum(world, options.discount, options.temperature, options.max_iterations)

    return SoftResponse(lambda given: solve(given).policy, lambda given: solve(given).residual)


def leader_gain(measurement: Measurement, wants: Weights, model: Strategy, visits: jax.Array) -> jax.Array:
    """`[T, S, A]`: what the leader earns at a pair of the world, by the payoffs that depend on the follower's choice.

    Its fit is a ratio, −L / N, L the expected sum of losses and N the expected number of decisions, both of the present
    `visits` `[S, A]`: linearised, a decision is worth (L / N − ℓ(s, a)) / N (Dinkelbach 1967). Where no episode ends
    early N is T. model_return is the same for all best responses, random_fit and data_fit for all policies.
    """
    mdp = measurement.mdp
    deciding = ~np.array(mdp.terminal)[:, None]
    losses = pair_losses(measurement, model)
    decisions = jnp.sum(jnp.where(deciding, visits, 0.0))
    mean_loss = jnp.sum(jnp.where(deciding, visits * losses, 0.0)) / decisions
    weights = mdp.discount ** jnp.arange(mdp.horizon)[:, None, None]
    earned = {"fit": (mean_loss - losses) / decisions, "real_return": weights * expected_reward(mdp)}
    none = jnp.zeros((mdp.horizon, *losses.shape))
    total = sum((wants[name] * gain for name, gain in earned.items() if name in wants), none)
    return jnp.where(deciding, total, 0.0)


_DINKELBACH_STEPS = 6  # its convergence is quadratic


def _plan(measurement: Measurement, formulation: Formulation, options: PlanOptions, model: Strategy) -> Strategy:
    mdp = measurement.mdp
    world = imagined(mdp, model)
    if options.backup == "soft":
        action_values = clock_last(optimal_action_values(world, options.temperature))
        return clock_first(jax.nn.softmax(action_values / options.temperature, axis=1))
    action_values = optimal_action_values(world)
    if options.tie_breaking == "lowest":
        return greedy(action_values)

    def improve(_: int, policy: Strategy) -> Strategy:
        gain = leader_gain(measurement, formulation.leader_wants, model, expected_visits(mdp, policy))
        return break_ties(mdp, action_values, _SIGN[options.tie_breaking] * gain, options.tie_tolerance)

    policy = jax.lax.fori_loop(0, _DINKELBACH_STEPS, improve, jax.lax.stop_gradient(greedy(action_values)))
    return jax.lax.stop_gradient(policy)


def _fitted(key: jax.Array, mdp: TabularMDP, options: ConditionalsOptions, policy: Strategy) -> Strategy:
    if options.num_transitions == 0:
        known, rows = (expected_visits(mdp, policy) > 0) | np.array(mdp.terminal)[:, None], mdp.transition
    else:
        counts = sample_transitions(key, mdp, policy, options.num_transitions)
        pairs = jnp.sum(counts, axis=-1)
        known = (pairs > 0) | np.array(mdp.terminal)[:, None]
        uniform = jnp.full_like(counts, 1.0 / mdp.num_states)
        rows = jnp.where(known[..., None], counts / jnp.where(known, pairs, 1.0)[..., None], uniform)
    estimated = with_transition(mdp, rows)
    if options.tie_breaking == "lowest":
        return estimated.transition
    first = jax.lax.stop_gradient(at_time(policy, jnp.int32(0)))
    return with_transition(mdp, extreme_rows(estimated, known, first, _SIGN[options.tie_breaking])).transition
