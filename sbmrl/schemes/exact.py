"""The exact best response: no learning on the follower's side.

A policy follower plans by backward induction in the model and answers with a clock, π `[T, S, A]`: the best response
among *all* policies. Hard backups have no derivative in the model; soft ones (an entropy bonus τ) are differentiated
through the induction. A model follower knows the true conditionals, or their maximum-likelihood estimate from N
transitions of the leader's data. Source: Gerstgrasser & Parkes (2023), "oracles"; ties as in strong and weak
Stackelberg equilibria (Breton, Alj & Haurie 1988).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.environments.closed_forms import (
    clock_first,
    clock_last,
    expected_reward,
    expected_visits,
    greedy,
    optimal_action_values,
)
from sbmrl.environments.planning import break_ties, extreme_rows
from sbmrl.environments.tabular import with_transition
from sbmrl.formulations import Formulation, Weights
from sbmrl.game import Game, Strategy, at_time
from sbmrl.learners.base import Info
from sbmrl.options import ExactOptions
from sbmrl.payoffs import Profile
from sbmrl.problems import Leaders
from sbmrl.schemes.base import Scheme

_SIGN = {"optimistic": 1.0, "pessimistic": -1.0}  # the leader's favourite, or its worst


def exact(game: Game, formulation: Formulation, options: ExactOptions) -> Scheme:
    """The scheme of a follower whose best response has a closed form.

    Its state is a key, new at each leader step: the maximum-likelihood model is that of the transitions drawn with it.
    """
    respond: Callable[[jax.Array, Profile], Strategy]
    if formulation.follower == "policy":
        respond = lambda key, given: _plan(game, formulation, options, given["model"])  # noqa: E731
    else:
        respond = lambda key, given: _model(key, game, options, given["policy"])  # noqa: E731

    def adapt(key: jax.Array, state: jax.Array, leaders: Leaders) -> tuple[jax.Array, Info]:
        return key, {}

    return Scheme(
        lambda key, leaders: key,
        adapt,
        respond,
        lambda key, given: jnp.zeros(()),
        lambda key: {},
        num_pretrain_steps=0,
        adapts_in_play=options.num_transitions > 0,
    )


def leader_gain(game: Game, wants: Weights, model: Strategy, visits: jax.Array) -> jax.Array:
    """`[S, A]`: what the leader earns at a pair of the world, by the payoffs that depend on the follower's choice.

    Its fit is a ratio, −L / N, L the expected sum of losses and N the expected number of decisions, both of the present
    `visits` `[S, A]`: linearised, a decision is worth (L / N − ℓ(s, a)) / N (Dinkelbach 1967). Where no episode ends
    early N is T. model_return is the same for all best responses, random_fit and data_fit for all policies.
    """
    mdp = game.mdp
    deciding = ~np.array(mdp.terminal)[:, None]
    losses = game.measurement.loss.expected(mdp.transition, model)
    decisions = jnp.sum(jnp.where(deciding, visits, 0.0))
    mean_loss = jnp.sum(jnp.where(deciding, visits * losses, 0.0)) / decisions
    earned = {"fit": (mean_loss - losses) / decisions, "real_return": expected_reward(mdp)}
    total = sum((wants[name] * gain for name, gain in earned.items() if name in wants), jnp.zeros(model.shape[:2]))
    return jnp.where(deciding, total, 0.0)


_DINKELBACH_STEPS = 6  # its convergence is quadratic


def _plan(game: Game, formulation: Formulation, options: ExactOptions, model: Strategy) -> Strategy:
    imagined = with_transition(game.mdp, model)
    if options.backup == "soft":
        action_values = clock_last(optimal_action_values(imagined, options.temperature))
        return clock_first(jax.nn.softmax(action_values / options.temperature, axis=1))
    action_values = optimal_action_values(imagined)
    if options.tie_breaking == "lowest":
        return greedy(action_values)

    def improve(_: int, policy: Strategy) -> Strategy:
        gain = leader_gain(game, formulation.leader_wants, model, expected_visits(game.mdp, policy))
        return break_ties(game.mdp, action_values, _SIGN[options.tie_breaking] * gain, options.tie_tolerance)

    policy = jax.lax.fori_loop(0, _DINKELBACH_STEPS, improve, jax.lax.stop_gradient(greedy(action_values)))
    return jax.lax.stop_gradient(policy)


def _model(key: jax.Array, game: Game, options: ExactOptions, policy: Strategy) -> Strategy:
    mdp = game.mdp
    if options.num_transitions == 0:
        known, rows = (expected_visits(mdp, policy) > 0) | np.array(mdp.terminal)[:, None], mdp.transition
    else:
        counts = game.collect(key, policy, options.num_transitions)
        pairs = jnp.sum(counts, axis=-1)
        known = (pairs > 0) | np.array(mdp.terminal)[:, None]
        uniform = jnp.full_like(counts, 1.0 / mdp.num_states)
        rows = jnp.where(known[..., None], counts / jnp.where(known, pairs, 1.0)[..., None], uniform)
    estimated = with_transition(mdp, rows)
    if options.tie_breaking == "lowest":
        return estimated.transition
    first = jax.lax.stop_gradient(at_time(policy, jnp.int32(0)))
    return with_transition(mdp, extreme_rows(estimated, known, first, _SIGN[options.tie_breaking])).transition
